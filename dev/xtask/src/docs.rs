//! `cargo xtask docs`: writes docs/configuration.md, whose one source is `spin.toml`.

use std::fmt::Write as _;
use std::fs;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use toml::{Table, Value};

use crate::project::Project;

const PAGE: &str = "docs/configuration.md";

const HEAD: &str = "\
<!-- Written by `cargo xtask docs` from the comments in spin.toml: change them and not this page. -->

# Configuration

What can be set, and how? Each of these variables of [spin.toml](../spin.toml) is set by an environment variable of the host, its name in
capitals after `SPIN_VARIABLE_`, or by any other variable provider of Spin's. They are read when a component starts.
White space at the ends of a value does not count. `GET /api/v1/health` names the variables that are broken, and the log says what is wrong with them.

";

const FOOT: &str = "
A component that is not named can't read the variable, so that the relay, for instance, has no secret that signs tokens.

[Kubernetes](operations.md#secrets): secrets come from Secrets, the others from the overlay's ConfigMap `taskcast-settings`; `cargo xtask
manifests` checks that none is missing. The pool of database connections and the limits of Spin itself are in
[runtime-config.toml](../runtime-config.toml). What `cargo xtask up` and
`outbox` take from the environment is said by their `--help`.
";

/// Writes the page.
pub(crate) fn run() -> Result<ExitCode> {
    let project = Project::find()?;
    let manifest = fs::read_to_string(project.path("spin.toml")).context("read spin.toml")?;
    fs::write(project.path(PAGE), page(&manifest)?).with_context(|| format!("write {PAGE}"))?;
    println!("{PAGE} is as spin.toml says");
    Ok(ExitCode::SUCCESS)
}

fn page(manifest: &str) -> Result<String> {
    let table: Table = manifest.parse().context("spin.toml")?;
    let section = |name: &str| table.get(name).and_then(Value::as_table).context("spin.toml lacks a section");
    let (variables, components) = (section("variables")?, section("component")?);
    let mut rows = String::new();
    for (name, comment) in comments(manifest)? {
        let variable =
            variables.get(&name).and_then(Value::as_table).context("spin.toml: a variable is a table")?;
        let read_by = read_by(&name, components);
        let _ = writeln!(rows, "| `{name}` | {} | {read_by} | {comment} |", default(variable));
    }
    Ok(format!("{HEAD}| variable | default | read by | what it is |\n|---|---|---|---|\n{rows}{FOOT}"))
}

/// The variables in their order, each with what is said above it. Errors: nothing is said above one.
fn comments(manifest: &str) -> Result<Vec<(String, String)>> {
    let lines = manifest.lines().skip_while(|line| *line != "[variables]").skip(1);
    let mut all = Vec::new();
    let mut comment: Vec<&str> = Vec::new();
    for line in lines.take_while(|line| !line.starts_with('[')) {
        if let Some(text) = line.strip_prefix('#') {
            comment.push(text.trim());
        } else if let Some((name, _)) = line.split_once('=') {
            let name = name.trim().to_owned();
            if comment.is_empty() {
                bail!("spin.toml: say in a comment above {name} what it is");
            }
            all.push((name, comment.join(" ")));
            comment.clear();
        }
    }
    Ok(all)
}

fn default(variable: &Table) -> String {
    let secret = variable.get("secret").and_then(Value::as_bool).unwrap_or_default();
    let default = match variable.get("default").and_then(Value::as_str) {
        None => "required".to_owned(),
        Some("") => "none".to_owned(),
        Some(value) => format!("`{value}`"),
    };
    if secret { format!("{default}, secret") } else { default }
}

/// The components that have the variable; the manifest itself uses it where hosts are allowed.
fn read_by(name: &str, components: &Table) -> String {
    let has =
        |component: &Value| component.get("variables").is_some_and(|variables| variables.get(name).is_some());
    let readers: Vec<&str> =
        components.iter().filter(|(_, component)| has(component)).map(|(name, _)| name.as_str()).collect();
    match readers.len() {
        0 => "Spin".to_owned(),
        count if count == components.len() => "all".to_owned(),
        _ => readers.join(", "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(file: &str) -> String {
        fs::read_to_string(format!("{}/../../{file}", env!("CARGO_MANIFEST_DIR"))).unwrap()
    }

    #[test]
    fn the_page_is_what_spin_toml_says() {
        assert_eq!(read(PAGE), page(&read("spin.toml")).unwrap(), "run `cargo xtask docs`");
    }

    #[test]
    fn a_variable_is_a_line_with_what_is_said_above_it() {
        let manifest = "\
            # Not this.\n[variables]\n# One line\n# and another.\na = { default = \"\", secret = true }\n\n# B.\nb = { required = true }\n# C.\n\
            c = { default = \"1\" }\n[component.x.variables]\na = \"{{ a }}\"\nb = \"{{ b }}\"\n[component.y.variables]\nb = \"{{ b }}\"\n";
        let page = page(manifest).unwrap();
        let rows: Vec<&str> = page.lines().filter(|line| line.starts_with("| `")).collect();
        assert_eq!(
            rows,
            [
                "| `a` | none, secret | x | One line and another. |",
                "| `b` | required | all | B. |",
                "| `c` | `1` | Spin | C. |"
            ]
        );
    }

    #[test]
    fn a_variable_of_which_nothing_is_said_is_named() {
        let error = page("[variables]\na = { default = \"\" }\n[component]\n").unwrap_err();
        assert!(error.to_string().contains("above a "), "{error}");
    }
}
