//! Every file is applied with something, or by itself as docs/operations.md says.

use anyhow::Result;

use super::Manifests;
use super::findings::Findings;

const DOCUMENT: &str = "docs/operations.md";

pub(super) fn check(manifests: &Manifests<'_>, findings: &mut Findings) -> Result<()> {
    let document = manifests.read(DOCUMENT)?;
    for target in manifests.built.targets.iter().filter(|target| target.path.ends_with(".yaml")) {
        if !document.contains(&target.path) {
            let what =
                format!("is in no kustomization: list it in one, or say in {DOCUMENT} when to apply it");
            findings.add(&target.path, what);
        }
    }
    Ok(())
}
