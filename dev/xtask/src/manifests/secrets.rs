//! Each Secret that is read is explained in docs/operations.md, since somebody has to create it.

use std::collections::BTreeSet;

use anyhow::Result;
use serde_json::Value;

use super::Manifests;
use super::built::{Object, Target};
use super::findings::Findings;
use super::json::{text, walk};

const DOCUMENT: &str = "docs/operations.md";
/// Which key Dapr reads in the Secrets that its annotations name.
const DAPR_TOKEN_KEY: &str = "token";
/// Which key the SpinKube operator reads in the Secret of an executor.
const CA_KEY: &str = "ca-certificates.crt";

/// A Secret, its namespace and one of its keys.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    secret: String,
    namespace: String,
    key: String,
}

pub(super) fn check(manifests: &Manifests<'_>, findings: &mut Findings) -> Result<()> {
    let documented = table(&manifests.read(DOCUMENT)?);
    let mut read = BTreeSet::new();
    for target in &manifests.built.targets {
        for object in &target.objects {
            for key in keys(object).into_iter().filter(|key| !is_generated(target, key)) {
                if !documented.contains(&key) {
                    let Key { secret, namespace, key } = &key;
                    let what = format!(
                        "reads the key {key} of the Secret {secret} in {namespace}, which {DOCUMENT} does not have: add it there"
                    );
                    object.wrong(what, findings);
                }
                read.insert(key);
            }
        }
    }
    for Key { secret, namespace, key } in documented.difference(&read) {
        findings.add(
            DOCUMENT,
            format!(
                "has the key {key} of the Secret {secret} in {namespace}, which nothing reads: remove it"
            ),
        );
    }
    Ok(())
}

/// The rows of the document's table: the Secret, its namespace, its key, and more.
fn table(document: &str) -> BTreeSet<Key> {
    let rows = document.lines().filter_map(|line| {
        let mut cells = line.strip_prefix('|')?.split('|').map(str::trim);
        let mut name = || Some(cells.next()?.strip_prefix('`')?.strip_suffix('`')?.to_owned());
        Some(Key { secret: name()?, namespace: name()?, key: name()? })
    });
    rows.collect()
}

/// Every key of a Secret that an object has somebody read.
fn keys(object: &Object) -> Vec<Key> {
    let mut found: Vec<(&str, &str)> = Vec::new();
    walk(&object.value, &mut |name, value| match name {
        "secretKeyRef" => found.push((text(value, "/name"), text(value, "/key"))),
        "secretTargetRef" => {
            let references = value.as_array().into_iter().flatten();
            found.extend(references.map(|reference| (text(reference, "/name"), text(reference, "/key"))));
        }
        "dapr.io/api-token-secret" | "dapr.io/app-token-secret" => found.push((whole(value), DAPR_TOKEN_KEY)),
        "caCertSecret" => found.push((whole(value), CA_KEY)),
        "loadFromSecret" => found.push((whole(value), "runtime-config.toml")),
        "secret" if value.get("secretName").is_some() => found.extend(keys_of_volume(value)),
        // A whole Secret, as an environment.
        "secretRef" => found.push((text(value, "/name"), "*")),
        "imagePullSecrets" => {
            let secrets = value.as_array().into_iter().flatten();
            found.extend(secrets.map(|secret| (text(secret, "/name"), ".dockerconfigjson")));
        }
        _ => (),
    });
    let key = |(secret, key): (&str, &str)| Key {
        secret: secret.to_owned(),
        namespace: object.namespace().to_owned(),
        key: key.to_owned(),
    };
    found.into_iter().map(key).collect()
}

/// The keys that are files of a volume; `*` where all of them are.
fn keys_of_volume(secret: &Value) -> Vec<(&str, &str)> {
    let name = text(secret, "/secretName");
    match secret.get("items").and_then(Value::as_array) {
        Some(items) => items.iter().map(|item| (name, text(item, "/key"))).collect(),
        None => vec![(name, "*")],
    }
}

fn whole(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// Whether Kustomize makes it.
fn is_generated(target: &Target, key: &Key) -> bool {
    let secret = target.object("Secret", &key.secret);
    secret
        .is_some_and(|secret| secret.value.pointer("/data").is_some_and(|data| data.get(&key.key).is_some()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_names_secret_namespace_and_key() {
        let document = "| Secret | namespace | key | what |\n|---|---|---|---|\n| `a` | `b` | `c.crt` | text, `d` |\n| `e` | f |\n";
        let rows: Vec<_> =
            table(document).into_iter().map(|row| (row.secret, row.namespace, row.key)).collect();
        assert_eq!(rows, [("a".to_owned(), "b".to_owned(), "c.crt".to_owned())]);
    }
}
