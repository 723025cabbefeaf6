//! What needs nothing to run: formatting and lints, of Rust natively and as compiled for the components, and of Go; and the
//! manifests, and what all of it is built from.

use anyhow::Result;

use super::cargo;
use super::tally::Tally;
use crate::progress::Progress;
use crate::project::Project;
use crate::{audit, manifests, steps};

pub(super) fn run(project: &Project, tally: &mut Tally) -> Result<()> {
    tally.check("formatting", cargo(project, ["fmt", "--all", "--check"]))?;
    tally.check(
        "formatting of the fuzz targets",
        cargo(project, ["fmt", "--manifest-path", "fuzz/Cargo.toml", "--check"]),
    )?;
    let native = cargo(project, ["clippy", "--workspace", "--all-targets"]);
    tally.check("lints", native.args(["--", "-D", "warnings"]))?;
    let components = cargo(project, ["clippy", "--target", "wasm32-wasip2"]);
    let components =
        project.components()?.iter().fold(components, |launch, name| launch.args(["--package", name]));
    tally.check("lints of the components", components.args(["--", "-D", "warnings"]))?;
    for module in ["daprd", "manifests", "observability", "vulncheck"] {
        vet(project, module, tally)?;
    }
    println!("── audit");
    let asked = audit::Options::default();
    let result = tally.timed("audit", || Progress::show(|progress| audit::check(project, progress, &asked)));
    tally.part(result)?;
    println!("── manifests");
    let checked = || Progress::show(|progress| manifests::check(project, progress, manifests::DIRECTORY));
    let result = tally.timed("manifests", checked);
    tally.part(result)
}

fn vet(project: &Project, module: &str, tally: &mut Tally) -> Result<()> {
    if stack::programs::find("go").is_none() {
        println!("there is no Go here: dev/{module} is not checked");
        return Ok(());
    }
    tally.check(&format!("lints of dev/{module}"), steps::go::go(project, module).args(["vet", "./..."]))
}
