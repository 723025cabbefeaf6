//! The standard library from Debian's packages `rust-src` (its source, which must be exactly the compiler's version)
//! and `wasi-libc` (the C library below it), without installing either.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use stack::{Launch, OnLine};

use super::{TARGET, rustc};
use crate::debian::{Suites, missing_tool};
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
    let version = release(&rustc(project, &["--version"])?)?;
    work.unpack(&version).context("to build the wasm32-wasip2 target")?;
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
    fn unpack(&self, version: &str) -> Result<()> {
        if let Some(tool) = missing_tool() {
            bail!(
                "{tool} is missing: add the target with `rustup target add {TARGET}` where rustup can download"
            );
        }
        let suites = Suites::fetch(&self.directory, &SUITES, self.log, &self.follow)?;
        let versions = suites.versions("rust-src")?;
        let is_it =
            |found: &&String| found.strip_prefix(version).is_some_and(|rest| rest.starts_with(['+', '-']));
        let Some(found) = versions.iter().find(is_it) else {
            bail!(
                "Debian has no rust-src {version}: install a Rust that rustup manages and run `rustup target add {TARGET}`"
            );
        };
        let rust_src = format!("rust-src={found}");
        suites.unpack(&[&rust_src, "wasi-libc"], &self.directory.join("unpacked"))
    }

    /// Compiles an empty crate together with the standard library, and returns where the libraries then are.
    fn build(&self, project: &Project) -> Result<PathBuf> {
        let empty = self.directory.join("empty");
        fs::create_dir_all(empty.join("src"))?;
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
