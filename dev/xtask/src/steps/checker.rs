//! What checks the manifests: a program built once from `dev/manifests`, and Dapr's own definitions beside it, from the
//! module that `dev/daprd` builds the sidecar of.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use anyhow::{Context, Result, bail};

use crate::cache;
use crate::progress::Progress;
use crate::project::Project;
use crate::steps::go;

const ADVICE: &str = "what checks the manifests is built with Go; install Go from https://go.dev/dl";
const DAPR: &str = "github.com/dapr/dapr";

/// Where its parts are.
pub(crate) struct Checker {
    directory: PathBuf,
}

impl Checker {
    /// The program.
    pub(crate) fn program(&self) -> PathBuf {
        self.directory.join("manifests")
    }

    /// The directory with Dapr's CustomResourceDefinitions.
    pub(crate) fn dapr_definitions(&self) -> PathBuf {
        self.directory.join("dapr")
    }

    /// Every annotation of a pod that Dapr knows. It ignores others silently.
    pub(crate) fn dapr_annotations(&self) -> Result<Vec<String>> {
        let text = fs::read_to_string(self.directory.join("dapr/annotations.go"))?;
        Ok(text.split('"').filter(|text| text.starts_with("dapr.io/")).map(str::to_owned).collect())
    }
}

/// Builds or finds it.
pub(crate) fn prepare(project: &Project, progress: &Arc<Progress>) -> Result<Checker> {
    let mut inputs = files_below(&project.path("dev/manifests"))?;
    inputs.push(project.path("dev/daprd/go.mod"));
    let directory = cache::entry("manifests", &inputs, |directory| {
        go::ensure(project, progress, ADVICE)?;
        let program = directory.join("manifests");
        go::build(project, progress, "checker of manifests built", "manifests", &program)?;
        copy_definitions(&dapr_module(project, progress)?, &directory.join("dapr"))
    })?;
    Ok(Checker { directory })
}

/// Where Go keeps the module in the version that `dev/daprd` pins; it is fetched when it is not there yet.
fn dapr_module(project: &Project, progress: &Arc<Progress>) -> Result<PathBuf> {
    const STEP: &str = "definitions of Dapr fetched";
    let fetch = go::go(project, "daprd").args(["mod", "download", DAPR]);
    let fetch = fetch.log(project.fresh_log("dapr-definitions.log")).on_line(progress.follow(STEP));
    progress.step(STEP, || fetch.run())?;
    let output = Command::new("go")
        .args(["list", "-m", "-f", "{{.Dir}}", DAPR])
        .current_dir(project.path("dev/daprd"))
        .env("GOTOOLCHAIN", "auto")
        .output()
        .context("run go list")?;
    match String::from_utf8_lossy(&output.stdout).trim() {
        "" => bail!("go list does not say where {DAPR} is: {}", String::from_utf8_lossy(&output.stderr)),
        directory => Ok(directory.into()),
    }
}

fn copy_definitions(module: &Path, directory: &Path) -> Result<()> {
    fs::create_dir_all(directory)?;
    let mut sources = files_below(&module.join("charts/dapr/crds"))?;
    sources.push(module.join("pkg/injector/annotations/annotations.go"));
    for source in sources {
        let text = fs::read(&source).with_context(|| format!("read {}", source.display()))?;
        fs::write(directory.join(source.file_name().unwrap_or_default()), text)?;
    }
    Ok(())
}

/// Every file below a directory, in a fixed order.
pub(crate) fn files_below(directory: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).with_context(|| format!("read {}", directory.display()))? {
        let path = entry?.path();
        if path.is_dir() { files.extend(files_below(&path)?) } else { files.push(path) }
    }
    files.sort();
    Ok(files)
}

/// SpinKube's definitions, which are in no Go module: beside the clone, where there are some.
pub(crate) fn spinkube_definitions(project: &Project) -> Option<PathBuf> {
    let directory = project.path("../shared/crds");
    directory.is_dir().then_some(directory)
}
