//! The programs that a whole system runs on, apart from PostgreSQL's.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Result;
use stack::Host;

use crate::progress::Progress;
use crate::project::Project;
use crate::steps::host::Choice;
use crate::{steps, wasm_target};

/// Where they are.
pub(crate) struct Programs {
    /// The sidecar.
    pub(crate) daprd: PathBuf,
    /// The directory with Kafka's jars.
    pub(crate) libraries: PathBuf,
    /// What runs the components.
    pub(crate) host: Host,
}

/// Builds or installs what is missing, PostgreSQL's server and the components with fault points included.
pub(crate) fn prepare(project: &Project, progress: &Arc<Progress>, host: Option<Choice>) -> Result<Programs> {
    steps::postgresql::ensure_server(project, progress)?;
    let ((daprd, libraries), host) = steps::side_by_side(
        || Ok((steps::daprd::prepare(project, progress)?, steps::kafka::prepare(project, progress)?)),
        || {
            wasm_target::ensure(project, progress)?;
            steps::node::modules_of_components(project, progress)?;
            steps::components::build(project, progress)?;
            steps::components::build_with_faults(project, progress)?;
            steps::host::prepare(project, progress, host)
        },
    )?;
    Ok(Programs { daprd, libraries, host })
}
