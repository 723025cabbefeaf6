//! The npm packages, by `npm audit`.

use std::process::Command;
use std::sync::Arc;

use anyhow::Result;
use serde_json::Value;

use super::{Outcome, output, text};
use crate::progress::Progress;
use crate::project::Project;
use crate::steps::node;

const DIRECTORIES: [&str; 2] = ["components/reference", "tests/node"];

pub(super) fn check(project: &Project, progress: &Arc<Progress>) -> Result<Vec<Outcome>> {
    node::ensure(project, progress, "audit of npm packages")?;
    progress.step("npm packages checked", || {
        DIRECTORIES.iter().map(|directory| audit(project, directory)).collect()
    })
}

fn audit(project: &Project, directory: &str) -> Result<Outcome> {
    let mut npm = Command::new("npm");
    npm.args(["audit", "--json", "--package-lock-only", "--fetch-retries=0", "--fetch-timeout=20000"]);
    let output = output(npm.current_dir(project.path(directory)))?;
    Ok(judge(directory, &text(&output.stdout), &text(&output.stderr)))
}

fn judge(directory: &str, printed: &str, said: &str) -> Outcome {
    let report: Value = serde_json::from_str(printed).unwrap_or_default();
    if let Some(total) = report.pointer("/metadata/vulnerabilities/total").and_then(Value::as_u64) {
        let names = report.get("vulnerabilities").and_then(Value::as_object);
        let names: Vec<_> = names.into_iter().flatten().map(|(name, _)| name.as_str()).collect();
        return match total {
            0 => Outcome::Good(format!("{directory}: no advisory about its npm packages")),
            _ => Outcome::Bad(format!(
                "{directory}: advisories about {}: see `npm audit` there",
                names.join(", ")
            )),
        };
    }
    let failed = || Outcome::Bad(format!("{directory}: npm audit failed: {printed}{said}"));
    let Some(why) = report.get("message").and_then(Value::as_str) else { return failed() };
    match report.get("statusCode").and_then(Value::as_u64) {
        None if why.starts_with("request to ") => {}
        // A mirror that knows of no advisories, a proxy that asks who we are, too many questions, a registry in trouble.
        Some(404 | 405 | 407 | 429 | 500..) => {}
        _ => return failed(),
    }
    Outcome::NotChecked(format!("{directory}: advisories about npm packages: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_advisory_is_wrong_and_a_registry_that_cant_be_asked_is_not() {
        let clean = r#"{"vulnerabilities": {}, "metadata": {"vulnerabilities": {"total": 0}}}"#;
        assert!(matches!(judge("d", clean, ""), Outcome::Good(_)));
        let found = r#"{"vulnerabilities": {"evil": {}}, "metadata": {"vulnerabilities": {"total": 1}}}"#;
        assert_eq!(
            judge("d", found, ""),
            Outcome::Bad("d: advisories about evil: see `npm audit` there".to_owned())
        );
        let offline = r#"{"message": "request to X failed, reason: getaddrinfo ENOTFOUND", "error": {}}"#;
        assert!(matches!(judge("d", offline, ""), Outcome::NotChecked(why) if why.contains("ENOTFOUND")));
        let answered = |status| format!(r#"{{"message": "POST X", "statusCode": {status}}}"#);
        for status in [405, 503] {
            assert!(matches!(judge("d", &answered(status), ""), Outcome::NotChecked(_)), "{status}");
        }
        let no_lock = r#"{"error": {"code": "ENOLOCK"}}"#;
        for wrong in [answered(400).as_str(), r#"{"message": "Invalid lock"}"#, no_lock, ""] {
            assert!(matches!(judge("d", wrong, "said"), Outcome::Bad(_)), "{wrong}");
        }
    }
}
