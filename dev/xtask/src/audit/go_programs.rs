//! The programs that are built from Go, by govulncheck, which looks at what is really in them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use anyhow::{Context, Result};
use serde::Deserialize;

use super::{Outcome, output, text};
use crate::cache;
use crate::progress::Progress;
use crate::project::Project;
use crate::steps::{self, go};

const ADVICE: &str = "what looks for vulnerabilities is built with Go; install Go from https://go.dev/dl";

/// What we know of and accept, by program, each with why.
const ACCEPTED: &str = "dev/vulncheck/accepted.toml";

/// How it begins when the database can't be reached.
const UNREACHABLE: &str = "govulncheck: fetching vulnerabilities: Get ";

type Accepted = BTreeMap<String, BTreeMap<String, String>>;

pub(super) fn check(
    project: &Project,
    progress: &Arc<Progress>,
    database: Option<&Path>,
) -> Result<Vec<Outcome>> {
    let govulncheck = prepare(project, progress)?;
    let programs = [
        ("daprd", steps::daprd::prepare(project, progress)?),
        ("manifests", steps::checker::prepare(project, progress)?.program()),
        ("observability", steps::observability::prepare(project, progress)?),
        ("vulncheck", govulncheck.clone()),
    ];
    let accepted = fs::read_to_string(project.path(ACCEPTED)).with_context(|| format!("read {ACCEPTED}"))?;
    let accepted: Accepted = toml::from_str(&accepted).with_context(|| format!("read {ACCEPTED}"))?;
    progress.step("Go programs checked", || {
        let mut outcomes = Vec::new();
        for (name, program) in &programs {
            let mut scan = Command::new(&govulncheck);
            if let Some(database) = database {
                scan.args(["-db", &format!("file://{}", database.canonicalize()?.display())]);
            }
            let output = output(scan.args(["-mode", "binary", "-format", "json"]).arg(program))?;
            let said = text(&output.stderr);
            if let Some(why) = said.strip_prefix(UNREACHABLE) {
                let what = format!(
                    "vulnerabilities of Go programs: {}; --vulnerability-db takes a copy of the database",
                    why.trim()
                );
                return Ok(vec![Outcome::NotChecked(what)]);
            }
            outcomes.push(match output.status.success() {
                true => judge(name, &text(&output.stdout), accepted.get(*name))?,
                false => Outcome::Bad(format!("dev/{name}: govulncheck failed: {said}")),
            });
        }
        Ok(outcomes)
    })
}

fn prepare(project: &Project, progress: &Arc<Progress>) -> Result<PathBuf> {
    let inputs = ["go.mod", "go.sum", "main.go"].map(|file| project.path("dev/vulncheck").join(file));
    let directory = cache::entry("vulncheck", &inputs, |directory| {
        go::ensure(project, progress, ADVICE)?;
        go::build(project, progress, "govulncheck built", "vulncheck", &directory.join("vulncheck"))
    })?;
    Ok(directory.join("vulncheck"))
}

/// Of govulncheck's messages, the one that says what it has found.
#[derive(Deserialize)]
struct Message {
    finding: Option<Finding>,
}

#[derive(Deserialize)]
struct Finding {
    osv: String,
    #[serde(default)]
    fixed_version: String,
    trace: Vec<Frame>,
}

#[derive(Deserialize)]
struct Frame {
    module: String,
    version: Option<String>,
    /// Without one, the module is there, but not what is wrong with it.
    function: Option<String>,
}

fn judge(name: &str, printed: &str, accepted: Option<&BTreeMap<String, String>>) -> Result<Outcome> {
    let mut found = BTreeMap::new();
    for message in serde_json::Deserializer::from_str(printed).into_iter::<Message>() {
        let Some(Finding { osv, fixed_version, trace }) =
            message.context("read what govulncheck says")?.finding
        else {
            continue;
        };
        let affected = trace.first().filter(|frame| frame.function.is_some());
        if let Some(Frame { module, version, .. }) = affected {
            found.insert(
                osv,
                format!("{module} {}, mended in {fixed_version:?}", version.as_deref().unwrap_or_default()),
            );
        }
    }
    let is_accepted = |id: &str| accepted.is_some_and(|accepted| accepted.contains_key(id));
    let new: Vec<_> = found.iter().filter(|(id, _)| !is_accepted(id)).collect();
    let accepted = accepted.into_iter().flatten();
    let gone: Vec<_> = accepted.map(|(id, _)| id.as_str()).filter(|id| !found.contains_key(*id)).collect();
    if !gone.is_empty() {
        return Ok(Outcome::Bad(format!(
            "dev/{name} has {} no more: take it out of {ACCEPTED}",
            gone.join(", ")
        )));
    }
    if new.is_empty() {
        let known = match found.len() {
            0 => String::new(),
            count => format!(" but {count} that {ACCEPTED} accepts"),
        };
        return Ok(Outcome::Good(format!("dev/{name}: no vulnerability of its Go modules{known}")));
    }
    let lines: Vec<_> = new.iter().map(|(id, what)| format!("{id} in {what}")).collect();
    Ok(Outcome::Bad(format!(
        "dev/{name}: update with `go get`, or accept in {ACCEPTED}: {}",
        lines.join("; ")
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(function: &str) -> String {
        format!(
            r#"{{"config": {{}}}} {{"finding": {{"osv": "GO-1", "fixed_version": "v2", "trace": [{{"module": "evil", "version": "v1"{function}}}]}}}}"#
        )
    }

    #[test]
    fn what_is_in_a_program_is_wrong_unless_it_is_accepted() {
        let called = finding(r#", "function": "Parse""#);
        let Outcome::Bad(what) = judge("p", &called, None).unwrap() else { panic!("a vulnerability") };
        assert!(what.contains("GO-1 in evil v1, mended in \"v2\""), "{what}");
        let accepted = BTreeMap::from([("GO-1".to_owned(), "why".to_owned())]);
        assert!(matches!(judge("p", &called, Some(&accepted)).unwrap(), Outcome::Good(_)));
        assert!(matches!(judge("p", &finding(""), None).unwrap(), Outcome::Good(_)));
        let Outcome::Bad(what) = judge("p", &finding(""), Some(&accepted)).unwrap() else {
            panic!("an exception for nothing")
        };
        assert!(what.contains("GO-1 no more"), "{what}");
        assert!(judge("p", "panic: no JSON", None).is_err());
    }
}
