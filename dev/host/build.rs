//! Writes the call that generates the host side of Spin's interfaces.
//!
//! The WIT files belong to the `spin-sdk` package: they are read where Cargo put it, so that guest and host always agree
//! and no copy can grow old here. The path is known only now, which is why the `bindgen!` call is written to a file.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

/// The packages of spin-sdk's `wit/deps` that this host implements.
const PACKAGES: [&str; 2] = ["spin-postgres@4.2.0", "spin-variables@3.0.0"];

fn main() -> Result<()> {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=../../Cargo.lock");
    let out_dir = PathBuf::from(std::env::var("OUT_DIR").context("Cargo sets OUT_DIR")?);
    let deps = spin_sdk_directory()?.join("wit/deps");
    std::fs::write(out_dir.join("bindings.rs"), bindgen_call(&deps)?)?;
    Ok(())
}

fn spin_sdk_directory() -> Result<PathBuf> {
    let cargo = std::env::var("CARGO").context("Cargo sets CARGO")?;
    // For the guests' platform only: for all of them, Cargo would fetch every package of every system first.
    let arguments = ["metadata", "--format-version=1", "--locked", "--filter-platform=wasm32-wasip2"];
    let output = Command::new(cargo).args(arguments).output()?;
    ensure!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout)?;
    let packages =
        metadata.get("packages").and_then(Value::as_array).context("cargo metadata lists packages")?;
    let sdk = packages
        .iter()
        .find(|package| package.get("name").is_some_and(|name| name == "spin-sdk"))
        .context("spin-sdk is locked")?;
    let manifest =
        sdk.get("manifest_path").and_then(Value::as_str).context("a package has a manifest path")?;
    Ok(Path::new(manifest).parent().context("a manifest is in a directory")?.to_path_buf())
}

fn bindgen_call(deps: &Path) -> Result<String> {
    let mut paths = String::new();
    for package in PACKAGES {
        let path = deps.join(package);
        ensure!(path.is_dir(), "this version of spin-sdk has no {package}: adapt the host to what it has");
        paths.push_str(&format!("{path:?}, "));
    }
    Ok(format!(
        r#"wasmtime::component::bindgen!({{
            inline: "package taskcast:host;
                world imports {{
                    import spin:postgres/postgres@4.2.0;
                    import spin:variables/variables@3.0.0;
                }}",
            path: [{paths}],
            imports: {{ default: async | trappable }},
            with: {{
                "spin:postgres/postgres.connection": crate::postgres::Connection,
                "spin:postgres/postgres.connection-builder": crate::postgres::ConnectionBuilder,
            }},
        }});"#
    ))
}
