//! What needs nothing to run: formatting and lints, of Rust natively and as compiled for the components, and of Go.

use anyhow::Result;
use stack::Launch;

use super::cargo;
use super::tally::Tally;
use crate::project::Project;

pub(super) fn run(project: &Project, tally: &mut Tally) -> Result<()> {
    tally.check("formatting", cargo(project, ["fmt", "--all", "--check"]))?;
    let native = cargo(project, ["clippy", "--workspace", "--all-targets"]);
    tally.check("lints", native.args(["--", "-D", "warnings"]))?;
    let components = cargo(project, ["clippy", "--target", "wasm32-wasip2"]);
    let components =
        project.components()?.iter().fold(components, |launch, name| launch.args(["--package", name]));
    tally.check("lints of the components", components.args(["--", "-D", "warnings"]))?;
    match stack::programs::find("go") {
        Some(go) => tally.check("lints of the sidecar", vet(project, &go)),
        None => {
            println!("there is no Go here: dev/daprd is not checked");
            Ok(())
        }
    }
}

fn vet(project: &Project, go: &std::path::Path) -> Launch {
    let launch = Launch::new("go vet", go).args(["vet", "./..."]).current_dir(project.path("dev/daprd"));
    launch.env("CGO_ENABLED", "0").env("GOTOOLCHAIN", "auto")
}
