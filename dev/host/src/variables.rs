//! Application variables: from the environment or the manifest's defaults, and `{{ templates }}` of them.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};

use crate::manifest::Variable;

/// The value of every application variable, by name.
#[derive(Debug)]
pub(crate) struct Variables(BTreeMap<String, String>);

impl Variables {
    /// Takes each value from `environment` (a lookup by name) or else the default; fails when a required one has neither.
    pub(crate) fn resolve(
        declared: &BTreeMap<String, Variable>,
        environment: impl Fn(&str) -> Option<String>,
    ) -> Result<Self> {
        let mut values = BTreeMap::new();
        let mut missing = Vec::new();
        for (name, variable) in declared {
            let key = environment_name(name);
            match environment(&key).or_else(|| variable.default.clone()) {
                Some(value) => drop(values.insert(name.clone(), value)),
                None => missing.push(format!("variable \"{name}\" is required: set {key}")),
            }
        }
        if missing.is_empty() { Ok(Self(values)) } else { bail!("{}", missing.join("; ")) }
    }

    /// Replaces each `{{ name }}` of `template`.
    pub(crate) fn expand(&self, template: &str) -> Result<String> {
        let mut expanded = String::new();
        let mut rest = template;
        while let Some((literal, tail)) = rest.split_once("{{") {
            let (name, after) =
                tail.split_once("}}").with_context(|| format!("{template:?} has a '{{{{' without '}}}}'"))?;
            let name = name.trim();
            let value = self.0.get(name).with_context(|| {
                format!("{template:?} names the variable \"{name}\", which is not in [variables]")
            })?;
            expanded.push_str(literal);
            expanded.push_str(value);
            rest = after;
        }
        expanded.push_str(rest);
        Ok(expanded)
    }

    /// Replaces the templates in each value of `templates`.
    pub(crate) fn expand_all(
        &self,
        templates: &BTreeMap<String, String>,
    ) -> Result<BTreeMap<String, String>> {
        templates.iter().map(|(key, template)| Ok((key.clone(), self.expand(template)?))).collect()
    }
}

fn environment_name(variable: &str) -> String {
    format!("SPIN_VARIABLE_{}", variable.to_ascii_uppercase())
}

/// Spin's rule for variable names; the error says what is wrong, to stand after the name.
pub(crate) fn validate_name(name: &str) -> Result<(), &'static str> {
    let allowed = |character: char| matches!(character, 'a'..='z' | '0'..='9' | '_');
    if !name.starts_with(|first: char| first.is_ascii_lowercase()) {
        Err("must start with a lower-case letter")
    } else if !name.chars().all(allowed) {
        Err("may contain only lower-case letters, digits and underscores")
    } else if name.ends_with('_') || name.contains("__") {
        Err("may have underscores only one at a time, between other characters")
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn declared(table: &str) -> BTreeMap<String, Variable> {
        toml::from_str(table).unwrap()
    }

    #[test]
    fn the_environment_goes_before_the_default() {
        let lookup = |key: &str| (key == "SPIN_VARIABLE_DAPR_URL").then(|| "set".to_owned());
        let variables =
            Variables::resolve(&declared("dapr_url = { default = \"default\" }"), lookup).unwrap();
        assert_eq!(variables.expand("<{{ dapr_url }}>").unwrap(), "<set>");
    }

    #[test]
    fn a_missing_required_variable_is_named_with_its_environment_variable() {
        let error = Variables::resolve(&declared("jwt_secret = { required = true }"), |_| None).unwrap_err();
        assert_eq!(error.to_string(), "variable \"jwt_secret\" is required: set SPIN_VARIABLE_JWT_SECRET");
    }

    #[test]
    fn templates_may_touch_their_braces_and_each_other() {
        let variables = Variables::resolve(&declared("a = { default = \"1\" }"), |_| None).unwrap();
        assert_eq!(variables.expand("{{a}}{{  a }}-{{ a }}").unwrap(), "11-1");
        assert_eq!(variables.expand("plain").unwrap(), "plain");
    }

    #[test]
    fn a_template_of_an_unknown_variable_or_without_an_end_fails() {
        let variables = Variables::resolve(&BTreeMap::new(), |_| None).unwrap();
        variables.expand("{{ b }}").unwrap_err();
        variables.expand("{{ b").unwrap_err();
    }

    #[test]
    fn names_follow_spins_rule() {
        validate_name("dapr_url2").unwrap();
        for wrong in ["", "Upper", "2nd", "a__b", "a_", "a-b"] {
            validate_name(wrong).unwrap_err();
        }
    }
}
