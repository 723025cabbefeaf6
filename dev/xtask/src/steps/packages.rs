//! Installing Debian packages, when we may.

use anyhow::{Result, bail};
use stack::Launch;

use crate::project::Project;

/// Installs packages with apt. Errors: not root, or not Debian; then what the user should run.
pub(crate) fn install(project: &Project, what: &str, packages: &[&str]) -> Result<()> {
    let names = packages.join(" ");
    if stack::programs::find("apt-get").is_none() {
        bail!(
            "{what} is missing, and so is apt-get: install it in your system's way (Debian calls it {names})"
        );
    }
    if !stack::service_user::is_root() {
        bail!("{what} is missing: install it with `sudo apt-get install {names}`");
    }
    let apt = || {
        let launch = Launch::new("apt-get", "apt-get").env("DEBIAN_FRONTEND", "noninteractive");
        launch.log(project.local("logs/apt.log"))
    };
    apt().args(["update", "-q"]).run()?;
    apt().args(["install", "-q", "-y", "--no-install-recommends"]).args(packages).run()
}
