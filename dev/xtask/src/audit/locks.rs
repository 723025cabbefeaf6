//! What is fetched is exactly what was reviewed: every lock file is committed, and names versions with their hashes, all of them from
//! the public registry of the language. Go's go.sum is checked by Go, with each build.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::Value;

use super::{Outcome, output, text};
use crate::project::Project;

const CRATES_IO: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// Names of files that say which packages are used.
const NAMES: [&str; 4] = ["Cargo.lock", "package.json", "package-lock.json", "requirements*.txt"];

/// Says what is wrong with a file's text.
type Rule = fn(&str) -> Result<Vec<String>>;

const FILES: [(&str, Rule); 8] = [
    ("Cargo.lock", cargo_lock),
    ("fuzz/Cargo.lock", cargo_lock),
    ("components/reference/package.json", package_json),
    ("components/reference/package-lock.json", package_lock),
    ("tests/node/client/package.json", package_json),
    ("tests/node/package.json", package_json),
    ("tests/node/package-lock.json", package_lock),
    ("tests/python/requirements.txt", requirements),
];

pub(super) fn check(project: &Project) -> Result<Vec<Outcome>> {
    let mut wrong = Vec::new();
    for (file, rule) in FILES {
        match fs::read_to_string(project.path(file)) {
            Ok(text) => {
                let found = rule(&text).with_context(|| format!("read {file}"))?;
                wrong.extend(found.into_iter().map(|what| Outcome::Bad(format!("{file}: {what}"))));
            }
            Err(error) => wrong.push(Outcome::Bad(format!("{file} can't be read: {error}"))),
        }
    }
    let committed = committed(project)?;
    wrong.extend(committed.iter().flat_map(not_listed).map(Outcome::Bad));
    if wrong.is_empty() {
        wrong.push(Outcome::Good(format!(
            "{} lock files and lists of packages: exact versions, with hashes",
            FILES.len()
        )));
    }
    if committed.is_none() {
        wrong.push(Outcome::NotChecked(
            "whether lock files are committed: this is no clone of git's".to_owned(),
        ));
    }
    Ok(wrong)
}

/// The files with one of those names that are committed; `None` where git does not know.
fn committed(project: &Project) -> Result<Option<BTreeSet<String>>> {
    if stack::programs::find("git").is_none() {
        return Ok(None);
    }
    let mut git = Command::new("git");
    git.current_dir(project.path(""))
        .args(["ls-files", "--"])
        .args(NAMES)
        .args(NAMES.map(|name| format!("**/{name}")));
    let output = output(&mut git)?;
    Ok(output.status.success().then(|| text(&output.stdout).lines().map(str::to_owned).collect()))
}

/// What is wrong with the list of files here.
fn not_listed(committed: &BTreeSet<String>) -> Vec<String> {
    let listed = BTreeSet::from(FILES.map(|(file, _)| file.to_owned()));
    let missing = listed.difference(committed).map(|file| format!("{file} is not committed"));
    let new = committed
        .difference(&listed)
        .map(|file| format!("{file} is looked at by nobody: list it in audit/locks.rs"));
    missing.chain(new).collect()
}

fn cargo_lock(text: &str) -> Result<Vec<String>> {
    let lock: toml::Table = text.parse()?;
    let packages = lock.get("package").and_then(toml::Value::as_array).context("there are no packages")?;
    let mut wrong = Vec::new();
    for package in packages {
        let value = |name| package.get(name).and_then(toml::Value::as_str);
        let name = value("name").unwrap_or_default();
        match value("source") {
            // Our own.
            None => {}
            Some(CRATES_IO) if value("checksum").is_some() => {}
            Some(CRATES_IO) => wrong.push(format!("{name} has no checksum")),
            Some(source) => wrong.push(format!("{name} comes from {source}: take it from crates.io")),
        }
    }
    Ok(wrong)
}

fn package_json(text: &str) -> Result<Vec<String>> {
    let package: Value = serde_json::from_str(text)?;
    let kinds = ["dependencies", "devDependencies", "optionalDependencies"];
    let dependencies = kinds.iter().filter_map(|kind| package.get(kind)?.as_object()).flatten();
    let loose = dependencies.filter(|(_, version)| !version.as_str().is_some_and(is_exact));
    Ok(loose.map(|(name, version)| format!("{name} is {version}: write one exact version")).collect())
}

fn is_exact(version: &str) -> bool {
    version.starts_with(|first: char| first.is_ascii_digit())
        && version.chars().all(|letter| letter.is_ascii_alphanumeric() || ".-+".contains(letter))
        && version.split('.').count() >= 3
        && !version.contains(".x")
}

fn package_lock(text: &str) -> Result<Vec<String>> {
    let lock: Value = serde_json::from_str(text)?;
    let packages = lock.get("packages").and_then(Value::as_object).context("there are no packages")?;
    let mut wrong = Vec::new();
    // The first one is the project itself.
    for (path, package) in packages.iter().filter(|(path, _)| !path.is_empty()) {
        let value = |name| package.get(name).and_then(Value::as_str);
        if !value("integrity").is_some_and(|hash| hash.starts_with("sha512-")) {
            wrong.push(format!("{path} has no SHA-512"));
        }
        if let Some(from) = value("resolved").filter(|from| !from.starts_with("https://registry.npmjs.org/"))
        {
            wrong.push(format!("{path} comes from {from}: take it from npm's registry"));
        }
    }
    Ok(wrong)
}

/// One package in a line that may be continued, with its hashes.
fn requirements(text: &str) -> Result<Vec<String>> {
    let joined = text.replace("\\\n", " ");
    let lines = joined.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    Ok(lines
        .filter(|line| !is_pinned(line))
        .map(|line| format!("{line:.60}: write name==version with its hashes"))
        .collect())
}

/// `name==version`, perhaps for some platforms only (`; …`), and hashes.
fn is_pinned(line: &str) -> bool {
    let Some((what, hashes)) = line.split_once(" --hash=sha256:") else { return false };
    let what = what.split(';').next().unwrap_or_default().trim();
    let is_word = |word: &str| {
        word.starts_with(|first: char| first.is_ascii_alphanumeric())
            && word.chars().all(|letter| letter.is_ascii_alphanumeric() || "._-".contains(letter))
    };
    what.split_once("==").is_some_and(|(name, version)| is_word(name) && is_word(version))
        && hashes.split_whitespace().all(|part| is_word(part.trim_start_matches("--hash=sha256:")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crate_from_elsewhere_or_without_a_checksum_is_named() {
        let lock = |lines: &str| cargo_lock(&format!("[[package]]\nname = \"evil\"\n{lines}")).unwrap();
        assert!(lock("version = \"1.0.0\"").is_empty());
        assert!(lock(&format!("source = \"{CRATES_IO}\"\nchecksum = \"00\"")).is_empty());
        assert_eq!(lock(&format!("source = \"{CRATES_IO}\"")), ["evil has no checksum"]);
        for source in ["git+https://example.com/evil#00", "registry+https://example.com/index"] {
            assert!(lock(&format!("source = \"{source}\"\nchecksum = \"00\""))[0].contains(source));
        }
    }

    #[test]
    fn a_lock_file_that_is_not_committed_or_not_listed_is_named() {
        let mut committed = BTreeSet::from(FILES.map(|(file, _)| file.to_owned()));
        assert!(not_listed(&committed).is_empty());
        committed.insert("tests/go/package.json".to_owned());
        committed.remove("fuzz/Cargo.lock");
        let wrong = not_listed(&committed);
        assert!(
            wrong[0].starts_with("fuzz/Cargo.lock is not")
                && wrong[1].starts_with("tests/go/package.json is")
        );
        assert_eq!(wrong.len(), 2);
    }

    #[test]
    fn an_npm_package_that_is_not_pinned_is_named() {
        let package = |version: &str| {
            package_json(&format!(r#"{{"devDependencies": {{"evil": "{version}"}}}}"#)).unwrap()
        };
        for exact in ["1.2.3", "26.6.6-rc.1+build"] {
            assert!(package(exact).is_empty(), "{exact}");
        }
        for loose in
            ["^1.2.3", "~1.2.3", "*", "1.2", "1.2.x", "latest", "git+https://example.com/evil", ">=1.2.3", ""]
        {
            assert!(package(loose)[0].starts_with("evil is"), "{loose}");
        }
    }

    #[test]
    fn an_npm_package_without_a_hash_or_from_elsewhere_is_named() {
        let lock = |package: &str| {
            package_lock(&format!(r#"{{"packages": {{"": {{}}, "node_modules/evil": {package}}}}}"#)).unwrap()
        };
        assert!(lock(r#"{"integrity": "sha512-AA=="}"#).is_empty());
        assert_eq!(lock("{}"), ["node_modules/evil has no SHA-512"]);
        assert_eq!(lock(r#"{"integrity": "sha1-AA=="}"#).len(), 1);
        assert!(
            lock(r#"{"integrity": "sha512-AA==", "resolved": "https://example.com/evil.tgz"}"#)[0]
                .contains("comes from")
        );
    }

    #[test]
    fn a_python_package_without_version_or_hash_is_named() {
        let good = "# ours\nanyio==4.16.0 \\\n    --hash=sha256:00 \\\n    --hash=sha256:01\n    # via x\n";
        assert_eq!(requirements(good).unwrap(), [""; 0]);
        for bad in [
            "evil",
            "evil>=1 --hash=sha256:00",
            "evil==1",
            "evil @ https://example.com/?v==1 --hash=sha256:00",
            "evil==1 --hash=sha256:00 --index-url=https://example.com",
            "--extra-index-url https://example.com",
            "-e .",
        ] {
            assert_eq!(requirements(bad).unwrap().len(), 1, "{bad}");
        }
    }
}
