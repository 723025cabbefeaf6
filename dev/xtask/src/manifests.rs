//! `cargo xtask manifests`: finds what is wrong with the manifests for Kubernetes, without a cluster.
//!
//! `dev/manifests` builds them and checks each object against the definition of its kind ([`built`]). What no definition knows
//! is checked here: that they agree with each other, with `spin.toml`, the code and the documents.
//!
//! | what | where |
//! |---|---|
//! | the variables that a SpinApp sets | [`variables`] |
//! | components, ports, version and annotations of a SpinApp | [`apps`] |
//! | who may connect to whom | [`network`] |
//! | what is reachable from outside | [`routes`] |
//! | topics, and who may publish and read them | [`topics`] |
//! | what must be as in development | [`development`] |
//! | the migrations' Job | [`database`] |
//! | Secrets and their keys | [`secrets`] |
//! | versions of images and actions | [`versions`] |
//! | how pods end, and how many there are | [`lifecycle`] |
//! | files that nobody applies | [`files`] |

mod apps;
mod built;
mod database;
mod development;
mod files;
mod findings;
mod json;
mod lifecycle;
mod network;
mod routes;
mod secrets;
mod spin;
mod spin_app;
mod topics;
mod variables;
mod versions;

use std::fs;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result, bail};

use crate::progress::Progress;
use crate::project::Project;
use crate::steps;
use built::{Built, Target};
use findings::Findings;
use spin::Spin;
use spin_app::SpinApp;

/// Where the manifests are.
pub(crate) const DIRECTORY: &str = "deploy";

/// The arguments of `cargo xtask manifests`.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// The directory with the kustomizations, from the root of the clone
    #[arg(long, default_value = DIRECTORY)]
    directory: String,
}

/// Prints what is wrong, a line for each mistake.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let project = Project::find()?;
    Progress::show(|progress| check(&project, progress, &options.directory))?;
    Ok(ExitCode::SUCCESS)
}

/// Prints what was checked and what is wrong. Errors: something is.
pub(crate) fn check(project: &Project, progress: &Arc<Progress>, directory: &str) -> Result<()> {
    let checker = steps::checker::prepare(project, progress)?;
    let mut findings = Findings::default();
    let summary = progress.step("manifests checked", || {
        let directory = directory.trim_end_matches('/');
        let built = Built::build(project, &checker, directory, &mut findings)?;
        let annotations = checker.dapr_annotations()?;
        let spin = Spin::parse(&fs::read_to_string(project.path("spin.toml")).context("read spin.toml")?)?;
        let manifests = Manifests { project, directory, built, spin, annotations };
        manifests.check(&mut findings)?;
        Ok(manifests.built.summary())
    })?;
    let lines = findings.lines();
    for line in summary.iter().chain(&lines) {
        progress.say(line);
    }
    match lines.len() {
        0 => Ok(()),
        1 => bail!("there is a mistake in the manifests"),
        count => bail!("there are {count} mistakes in the manifests"),
    }
}

/// What the checks look at.
struct Manifests<'a> {
    project: &'a Project,
    directory: &'a str,
    built: Built,
    spin: Spin,
    annotations: Vec<String>,
}

impl Manifests<'_> {
    fn check(&self, findings: &mut Findings) -> Result<()> {
        variables::check(self, findings)?;
        apps::check(self, findings);
        network::check(self, findings);
        routes::check(self, findings);
        topics::check(self, findings);
        development::check(self, findings);
        database::check(self, findings)?;
        secrets::check(self, findings)?;
        versions::check(self, findings)?;
        lifecycle::check(self, findings);
        files::check(self, findings)
    }

    /// What can be applied to run the app: the overlays, and one of them with each optional component.
    fn overlays(&self) -> impl Iterator<Item = &Target> {
        let prefix = format!("{}/overlays/", self.directory);
        self.built.targets.iter().filter(move |target| target.path.starts_with(&prefix))
    }

    /// A kustomization by its path below `deploy`; it is a mistake that it is not there.
    fn kustomization(&self, path: &str, findings: &mut Findings) -> Option<&Target> {
        let path = format!("{}/{path}", self.directory);
        let found = self.built.targets.iter().find(|target| target.path == path);
        if found.is_none() {
            findings.add(&path, "is missing: it is a part of the installation (docs/operations.md)");
        }
        found
    }

    /// The SpinApps of all overlays.
    fn apps(&self) -> impl Iterator<Item = SpinApp<'_>> {
        self.overlays().flat_map(SpinApp::all_in)
    }

    /// A file of the repository.
    fn read(&self, path: &str) -> Result<String> {
        fs::read_to_string(self.project.path(path)).with_context(|| format!("read {path}"))
    }

    /// The names in a directory of the repository.
    fn names_in(&self, directory: &str) -> Result<Vec<String>> {
        let entries =
            fs::read_dir(self.project.path(directory)).with_context(|| format!("read {directory}"))?;
        entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
    }
}
