//! What runs and what builds it has a version of its own, so that the same commit means the same thing tomorrow.

use anyhow::Result;

use super::Manifests;
use super::findings::Findings;
use super::json::walk;

const WORKFLOWS: &str = ".github/workflows";

/// A directory each.
const ACTIONS: &str = ".github/actions";

pub(super) fn check(manifests: &Manifests<'_>, findings: &mut Findings) -> Result<()> {
    for object in manifests.built.targets.iter().flat_map(|target| &target.objects) {
        walk(&object.value, &mut |name, value| {
            if matches!(name, "image" | "spinImage")
                && let Some(image) = value.as_str()
                && !is_pinned(image)
            {
                let what = format!(
                    "has the image {image}, which can be another one tomorrow: give it a version or a digest"
                );
                object.wrong(what, findings);
            }
        });
    }
    check_actions(manifests, findings)
}

fn check_actions(manifests: &Manifests<'_>, findings: &mut Findings) -> Result<()> {
    let workflows = manifests.names_in(WORKFLOWS)?.into_iter().map(|name| format!("{WORKFLOWS}/{name}"));
    let actions = manifests.names_in(ACTIONS)?.into_iter().map(|name| format!("{ACTIONS}/{name}/action.yml"));
    let mut count = 0;
    for file in workflows.chain(actions) {
        for action in manifests.read(&file)?.lines().filter_map(action) {
            count += 1;
            if !is_pinned_action(action) {
                findings.add(
                    &file,
                    format!("uses {action}, where a tag can be moved: name the commit, and in a comment its version"),
                );
            }
        }
    }
    if count == 0 {
        findings.add(WORKFLOWS, "no action is used: is this still how a workflow is written?");
    }
    Ok(())
}

/// The tag of an image; none where a digest names it.
pub(super) fn tag(image: &str) -> Option<&str> {
    let name = image.rsplit('/').next()?;
    if name.contains('@') { None } else { Some(name.split_once(':')?.1) }
}

/// A version in numbers, or a digest.
fn is_pinned(image: &str) -> bool {
    let digest = image.split_once("@sha256:").is_some_and(|(_, digest)| is_hex(digest, 64));
    digest
        || tag(image).is_some_and(|tag| tag != "latest" && tag.chars().any(|letter| letter.is_ascii_digit()))
}

/// What follows `uses:`.
fn action(line: &str) -> Option<&str> {
    let line = line.trim_start().trim_start_matches("- ");
    Some(line.strip_prefix("uses:")?.trim())
}

/// A file of this repository, or a commit with its version behind it.
fn is_pinned_action(action: &str) -> bool {
    let Some((_, version)) = action.split_once('@') else { return action.starts_with("./") };
    let Some((commit, version)) = version.split_once(" # v") else { return false };
    let numeric = |number: &str| !number.is_empty() && number.chars().all(|digit| digit.is_ascii_digit());
    is_hex(commit, 40) && version.split('.').count() == 3 && version.split('.').all(numeric)
}

fn is_hex(text: &str, length: usize) -> bool {
    text.len() == length && text.chars().all(|letter| letter.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_needs_a_version_or_a_digest() {
        let digest = format!("registry:5000/a@sha256:{}", "0".repeat(64));
        for pinned in ["a:1.2", "registry:5000/a/b:17.6-bookworm", &digest] {
            assert!(is_pinned(pinned), "{pinned}");
        }
        for open in ["a", "a:latest", "a:stable", "registry:5000/a", "a@sha256:12"] {
            assert!(!is_pinned(open), "{open}");
        }
    }

    #[test]
    fn an_action_needs_a_commit_and_its_version() {
        let commit = "c".repeat(40);
        for pinned in ["./.github/workflows/ci.yml", &format!("a/b/c@{commit} # v1.2.3")] {
            assert!(is_pinned_action(pinned), "{pinned}");
        }
        for open in ["a/b", "a/b@main", "a/b@v4", "a/b@v1.2.3", "a/b@main # v1.2.3", &format!("a/b@{commit}")]
        {
            assert!(!is_pinned_action(open), "{open}");
        }
        assert!(!is_pinned_action(&format!("a/b@{commit} # v4")));
        assert_eq!(action("      - uses: a/b@v1 # v1.0.0"), Some("a/b@v1 # v1.0.0"));
        assert_eq!(action("    uses: ./c.yml"), Some("./c.yml"));
        assert_eq!(action("      # uses: a/b@v1"), None);
    }
}
