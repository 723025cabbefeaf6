//! Where things are in this clone.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// This clone of the repository.
pub(crate) struct Project {
    root: PathBuf,
}

impl Project {
    /// Looks for the repository from the current directory upwards.
    pub(crate) fn find() -> Result<Self> {
        let here = env::current_dir().context("find the current directory")?;
        let is_root =
            |directory: &&Path| directory.join("spin.toml").exists() && directory.join("dev/xtask").exists();
        match here.ancestors().find(is_root) {
            Some(root) => Ok(Self { root: root.to_owned() }),
            None => {
                bail!("run this inside a clone of taskcast: there is no spin.toml above {}", here.display())
            }
        }
    }

    /// A path inside the clone.
    pub(crate) fn path(&self, relative: impl AsRef<Path>) -> PathBuf {
        self.root.join(relative)
    }

    /// A path below `.local`, where everything lives that must outlast a run; git ignores it.
    pub(crate) fn local(&self, relative: impl AsRef<Path>) -> PathBuf {
        self.root.join(".local").join(relative)
    }

    /// A log file that starts empty; its directory is made with it.
    pub(crate) fn fresh_log(&self, name: &str) -> PathBuf {
        let file = self.local("logs").join(name);
        // Usually it was not there; if it cannot be removed, appending to it is no harm.
        let _ = fs::remove_file(&file);
        file
    }

    /// The components that `spin.toml` names; each is a package of the same name.
    pub(crate) fn components(&self) -> Result<Vec<String>> {
        let manifest = fs::read_to_string(self.path("spin.toml")).context("read spin.toml")?;
        let manifest: toml::Table = manifest.parse().context("spin.toml")?;
        let components = manifest
            .get("component")
            .and_then(toml::Value::as_table)
            .context("spin.toml has no components")?;
        Ok(components.keys().cloned().collect())
    }
}
