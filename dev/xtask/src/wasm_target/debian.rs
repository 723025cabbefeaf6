//! The standard library from Debian's packages `rust-src` (its source, which must be exactly the compiler's version)
//! and `wasi-libc` (the C library below it), without installing either.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use stack::{Launch, OnLine};

use super::{TARGET, rustc};
use crate::project::Project;

/// The newest compilers come with backports and sid.
const SUITES: [&str; 3] = ["trixie", "trixie-backports", "sid"];

/// Builds the standard library and puts it where the compiler looks for it.
pub(super) fn install(
    project: &Project,
    libraries: &Path,
    log: &Path,
    follow: impl Fn() -> Option<OnLine>,
) -> Result<()> {
    let work = Work { directory: project.local("wasm-target"), log, follow };
    work.prepare().context("to build the wasm32-wasip2 target")?;
    let version = release(&rustc(project, &["--version"])?)?;
    work.unpack(&version)?;
    let sysroot = PathBuf::from(rustc(project, &["--print", "sysroot"])?);
    install_c_library(&work.directory, libraries)?;
    let linked = link_source(&work.directory, &sysroot, &version)?;
    let built = work.build(project);
    if let Some(link) = linked {
        fs::remove_file(link)?;
    }
    copy(&built?, libraries, |name| name.ends_with(".rlib"))?;
    fs::remove_dir_all(&work.directory).context("remove what was built with")
}

struct Work<'a, F> {
    directory: PathBuf,
    log: &'a Path,
    follow: F,
}

impl<F: Fn() -> Option<OnLine>> Work<'_, F> {
    /// Empty directories, and package sources of its own for apt, so that the system's are not touched.
    fn prepare(&self) -> Result<()> {
        for tool in ["apt-get", "apt-cache", "dpkg"] {
            if stack::programs::find(tool).is_none() {
                bail!(
                    "{tool} is missing: add the target with `rustup target add {TARGET}` where rustup can download"
                );
            }
        }
        if self.directory.exists() {
            fs::remove_dir_all(&self.directory)?;
        }
        for directory in ["lists/partial", "cache/archives/partial", "packages", "unpacked", "empty/src"] {
            fs::create_dir_all(self.directory.join(directory))?;
        }
        let source = |suite| format!("deb http://deb.debian.org/debian {suite} main\n");
        fs::write(self.directory.join("sources.list"), SUITES.map(source).concat())?;
        Ok(())
    }

    fn unpack(&self, version: &str) -> Result<()> {
        self.launch("apt-get").args(self.apt_options()).args(["update", "-q"]).run()?;
        let rust_src = self.find_package(version)?;
        let packages = self.directory.join("packages");
        let download =
            self.launch("apt-get").args(self.apt_options()).args(["download", "-q", &rust_src, "wasi-libc"]);
        download.current_dir(&packages).run()?;
        for package in fs::read_dir(&packages)? {
            self.launch("dpkg").arg("-x").arg(package?.path()).arg(self.directory.join("unpacked")).run()?;
        }
        Ok(())
    }

    /// `rust-src=1.95.0+dfsg1-1`
    fn find_package(&self, version: &str) -> Result<String> {
        let madison =
            Command::new("apt-cache").args(self.apt_options()).args(["madison", "rust-src"]).output()?;
        let listed = String::from_utf8_lossy(&madison.stdout).into_owned();
        let mut versions = listed.lines().filter_map(|line| line.split('|').nth(1)).map(str::trim);
        match versions
            .find(|found| found.strip_prefix(version).is_some_and(|rest| rest.starts_with(['+', '-'])))
        {
            Some(found) => Ok(format!("rust-src={found}")),
            None => bail!(
                "Debian has no rust-src {version}: install a Rust that rustup manages and run `rustup target add {TARGET}`"
            ),
        }
    }

    /// Compiles an empty crate together with the standard library, and returns where the libraries then are.
    fn build(&self, project: &Project) -> Result<PathBuf> {
        let empty = self.directory.join("empty");
        // A workspace of its own: it lies inside ours.
        let manifest =
            "[package]\nname = \"empty\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\n[workspace]\n";
        fs::write(empty.join("Cargo.toml"), manifest)?;
        fs::write(empty.join("src/lib.rs"), "#![no_std]\n")?;
        let target = self.directory.join("target");
        self.launch("cargo")
            .args(["build", "--release", "-Zbuild-std=std,panic_abort,proc_macro", "--target", TARGET])
            .arg("--manifest-path")
            .arg(empty.join("Cargo.toml"))
            .current_dir(project.path(""))
            .env("CARGO_TARGET_DIR", &target)
            .env("CARGO_TERM_COLOR", "never")
            // A stable compiler refuses -Z otherwise; the standard library is built with it everywhere.
            .env("RUSTC_BOOTSTRAP", "1")
            // The components are built with LTO, which needs the bitcode in the libraries.
            .env("RUSTFLAGS", "-Cembed-bitcode=yes")
            .run()?;
        Ok(target.join(TARGET).join("release/deps"))
    }

    fn launch(&self, program: &str) -> Launch {
        Launch::new(program, program).log(self.log).on_line((self.follow)())
    }

    fn apt_options(&self) -> Vec<String> {
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

/// `rustc 1.95.0 (59807616e 2026-04-14)`
fn release(version: &str) -> Result<String> {
    version.split_whitespace().nth(1).map(str::to_owned).context("`rustc --version` did not print a version")
}

fn install_c_library(work: &Path, libraries: &Path) -> Result<()> {
    let into = libraries.join("self-contained");
    fs::create_dir_all(&into)
        .with_context(|| format!("create {}: run as the owner of the toolchain", into.display()))?;
    copy(&work.join("unpacked/usr/lib").join(TARGET), &into, |_| true)
}

/// Puts the source where cargo expects it; `None` when the toolchain has it already.
fn link_source(work: &Path, sysroot: &Path, version: &str) -> Result<Option<PathBuf>> {
    let link = sysroot.join("lib/rustlib/src/rust/library");
    if link.exists() {
        return Ok(None);
    }
    let source = work.join(format!("unpacked/usr/src/rustc-{version}/library"));
    fs::create_dir_all(link.with_file_name(""))?;
    // A link that an interrupted run left behind leads nowhere.
    let _ = fs::remove_file(&link);
    symlink(source, &link).with_context(|| format!("link {}", link.display()))?;
    Ok(Some(link))
}

fn copy(from: &Path, into: &Path, wanted: impl Fn(&str) -> bool) -> Result<()> {
    for file in fs::read_dir(from).with_context(|| format!("read {}", from.display()))? {
        let file = file?;
        let name = file.file_name().to_string_lossy().into_owned();
        if file.path().is_file() && wanted(&name) {
            fs::copy(file.path(), into.join(&name))
                .with_context(|| format!("copy {name} to {}", into.display()))?;
        }
    }
    Ok(())
}
