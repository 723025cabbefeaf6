//! The project's manifest with absolute paths, and for creating tasks the build that has fault points.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// Writes it into `directory`, with the runtime configuration beside it.
pub(crate) fn write(project: &Path, directory: &Path) -> Result<PathBuf> {
    let text = fs::read_to_string(project.join("spin.toml")).context("read spin.toml")?;
    let target = project.join("target/wasm32-wasip2");
    let (release, faulty) = (target.join("release"), target.join("faults/tasks.wasm"));
    let text = text
        .replace("\"target/wasm32-wasip2/release/tasks.wasm\"", &format!("\"{}\"", faulty.display()))
        .replace("\"target/wasm32-wasip2/release", &format!("\"{}", release.display()));
    fs::create_dir_all(directory).with_context(|| format!("create {}", directory.display()))?;
    let manifest = directory.join("spin.toml");
    fs::write(&manifest, text).context("write the manifest")?;
    fs::copy(project.join("runtime-config.toml"), directory.join("runtime-config.toml"))
        .context("copy runtime-config.toml")?;
    Ok(manifest)
}
