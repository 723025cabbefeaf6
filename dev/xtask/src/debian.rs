//! Packages of Debian's suites other than the machine's own, unpacked into a directory and not installed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use stack::{Launch, OnLine};

/// The programs that this needs.
const TOOLS: [&str; 3] = ["apt-get", "apt-cache", "dpkg"];

/// Some suites' packages, with package lists of their own, so that the system's are not touched.
pub(crate) struct Suites<'a, F> {
    directory: PathBuf,
    log: &'a Path,
    follow: F,
}

/// Whether the machine has what unpacks Debian's packages.
pub(crate) fn missing_tool() -> Option<&'static str> {
    TOOLS.into_iter().find(|tool| stack::programs::find(tool).is_none())
}

impl<'a, F: Fn() -> Option<OnLine>> Suites<'a, F> {
    /// Fetches the lists of what the suites have; `directory` is emptied first.
    pub(crate) fn fetch(directory: &Path, suites: &[&str], log: &'a Path, follow: F) -> Result<Self> {
        if directory.exists() {
            fs::remove_dir_all(directory)?;
        }
        for part in ["lists/partial", "cache/archives/partial", "packages"] {
            fs::create_dir_all(directory.join(part))?;
        }
        let source = |suite: &&str| format!("deb http://deb.debian.org/debian {suite} main\n");
        let sources: String = suites.iter().map(source).collect();
        fs::write(directory.join("sources.list"), sources)?;
        let fetched = Self { directory: directory.to_owned(), log, follow };
        fetched.launch("apt-get").args(fetched.options()).args(["update", "-q"]).run()?;
        Ok(fetched)
    }

    /// The versions of a package, over all suites.
    pub(crate) fn versions(&self, package: &str) -> Result<Vec<String>> {
        let madison = Command::new("apt-cache").args(self.options()).args(["madison", package]).output()?;
        let listed = String::from_utf8_lossy(&madison.stdout).into_owned();
        let versions = listed.lines().filter_map(|line| line.split('|').nth(1));
        Ok(versions.map(|version| version.trim().to_owned()).collect())
    }

    /// Downloads packages, each by its name, or as `name=version` or `name/suite`, and unpacks them into a directory.
    pub(crate) fn unpack(&self, packages: &[&str], into: &Path) -> Result<()> {
        let downloads = self.directory.join("packages");
        let download = self.launch("apt-get").args(self.options()).args(["download", "-q"]).args(packages);
        download.current_dir(&downloads).run()?;
        fs::create_dir_all(into)?;
        let mut count = 0;
        for package in fs::read_dir(&downloads).context("read what apt-get has downloaded")? {
            self.launch("dpkg").arg("-x").arg(package?.path()).arg(into).run()?;
            count += 1;
        }
        if count != packages.len() {
            bail!("apt-get has downloaded {count} of {} packages", packages.len());
        }
        Ok(())
    }

    fn launch(&self, program: &str) -> Launch {
        Launch::new(program, program).log(self.log).on_line((self.follow)())
    }

    fn options(&self) -> Vec<String> {
        let path = |name: &str| self.directory.join(name).display().to_string();
        let settings = [
            format!("Dir::Etc::sourcelist={}", path("sources.list")),
            "Dir::Etc::sourceparts=-".to_owned(),
            format!("Dir::State::lists={}", path("lists")),
            format!("Dir::Cache={}", path("cache")),
            // Its own user may not reach this directory.
            "APT::Sandbox::User=root".to_owned(),
        ];
        settings.into_iter().flat_map(|setting| ["-o".to_owned(), setting]).collect()
    }
}
