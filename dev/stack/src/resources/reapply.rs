//! Applying a resource again while its sidecar runs, as `kubectl apply` with another value does.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use super::write;

/// A resource file of [`super::write_resources`]. The original is written again when this value is dropped.
pub struct Reapply {
    file: PathBuf,
    original: String,
    kind: Kind,
}

#[derive(Clone, Copy)]
enum Kind {
    Component,
    Resiliency,
}

impl Kind {
    /// The text that stands in the file once, and what it becomes: a value that makes no difference to what the sidecar does.
    fn change(self, number: u64) -> (&'static str, String) {
        match self {
            Self::Component => {
                ("  version: v1\n", format!("  version: v1\n  initTimeout: {}ms\n", 30_000 + number))
            }
            Self::Resiliency => ("publish: 2s\n", format!("publish: {}ms\n", 2_001 + number % 100)),
        }
    }
}

impl Reapply {
    /// The pub/sub component. The sidecar closes the component and initializes it anew.
    pub fn pubsub(directory: &Path) -> Result<Self> {
        Self::new(directory.join("pubsub.yaml"), Kind::Component)
    }

    /// The cron binding that calls the relay.
    pub fn ticks(directory: &Path) -> Result<Self> {
        Self::new(directory.join("relay.yaml"), Kind::Component)
    }

    /// The Resiliency. The sidecar raises SIGHUP, for which it starts its whole runtime anew.
    pub fn resiliency(directory: &Path) -> Result<Self> {
        Self::new(directory.join("resiliency.yaml"), Kind::Resiliency)
    }

    fn new(file: PathBuf, kind: Kind) -> Result<Self> {
        let original = fs::read_to_string(&file).with_context(|| format!("read {}", file.display()))?;
        let (value, _) = kind.change(0);
        ensure!(original.matches(value).count() == 1, "{} does not have `{value}` once", file.display());
        Ok(Self { file, original, kind })
    }

    /// Writes the resource with a value of its own for each number.
    pub fn apply(&self, number: u64) -> Result<()> {
        let (value, another) = self.kind.change(number);
        self.replace(&self.original.replace(value, &another))
    }

    /// The file is replaced at once: a sidecar that reads it sees a whole resource.
    fn replace(&self, text: &str) -> Result<()> {
        // The sidecar reads only files that end in .yaml.
        let unfinished = self.file.with_extension("unfinished");
        write(&unfinished, text)?;
        fs::rename(&unfinished, &self.file).with_context(|| format!("replace {}", self.file.display()))
    }
}

impl Drop for Reapply {
    fn drop(&mut self) {
        // The directory may be gone with the system.
        let _ = self.replace(&self.original);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Broker, Deliver, write_resources};

    #[test]
    fn an_applied_resource_differs_each_time_and_is_the_original_at_the_end() {
        let directory = std::env::temp_dir().join(format!("stack-reapply-{}", std::process::id()));
        write_resources(&directory, &Broker::InMemory, Deliver::Ticks).unwrap();
        for (new, name) in [
            (Reapply::pubsub as fn(&Path) -> Result<Reapply>, "pubsub.yaml"),
            (Reapply::ticks, "relay.yaml"),
            (Reapply::resiliency, "resiliency.yaml"),
        ] {
            let read = || fs::read_to_string(directory.join(name)).unwrap();
            let original = read();
            let resource = new(&directory).unwrap();
            resource.apply(1).unwrap();
            let first = read();
            resource.apply(2).unwrap();
            assert!(first != original && read() != first && read() != original, "{name}");
            drop(resource);
            assert_eq!(read(), original, "{name}");
        }
        fs::remove_dir_all(directory).unwrap();
    }
}
