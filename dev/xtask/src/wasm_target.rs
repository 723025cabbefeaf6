//! The standard library for `wasm32-wasip2`: by rustup, or built from Debian's source packages where rustup is
//! missing or cannot download.

mod debian;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use stack::Launch;

use crate::progress::Progress;
use crate::project::Project;

const TARGET: &str = "wasm32-wasip2";

/// Makes sure that the components can be compiled.
pub(crate) fn ensure(project: &Project, progress: &Arc<Progress>) -> Result<()> {
    let libraries = libraries(project)?;
    if is_installed(&libraries) {
        return Ok(());
    }
    let log = project.fresh_log("wasm-target.log");
    if stack::programs::find("rustup").is_some() {
        let rustup =
            Launch::new("rustup", "rustup").args(["target", "add", TARGET]).current_dir(project.path(""));
        let added = progress.step("wasm32-wasip2 by rustup", || rustup.log(&log).run());
        if added.is_ok() && is_installed(&libraries) {
            return Ok(());
        }
        stack::interrupt::check()?;
        progress.say("rustup could not add it, so it is built from Debian's sources");
    }
    const STEP: &str = "wasm32-wasip2 from Debian";
    progress.step(STEP, || debian::install(project, &libraries, &log, || progress.follow(STEP)))?;
    if !is_installed(&libraries) {
        bail!("the standard library for {TARGET} is still missing in {}", libraries.display());
    }
    Ok(())
}

/// Where the compiler looks for it, of the toolchain that the repository's directory selects.
fn libraries(project: &Project) -> Result<PathBuf> {
    rustc(project, &["--print", "target-libdir", "--target", TARGET]).map(PathBuf::from)
}

fn is_installed(libraries: &Path) -> bool {
    let Ok(files) = fs::read_dir(libraries) else { return false };
    files.flatten().any(|file| {
        let name = file.file_name().to_string_lossy().into_owned();
        name.starts_with("libstd-") && name.ends_with(".rlib")
    })
}

fn rustc(project: &Project, arguments: &[&str]) -> Result<String> {
    let output = Command::new("rustc")
        .args(arguments)
        .current_dir(project.path(""))
        .output()
        .context("start rustc")?;
    if !output.status.success() {
        bail!("rustc {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
