//! What a user sees who starts the host with something missing or wrong: one line that says what to do.

#![cfg(test)]

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Command, Output};

const MANIFEST: &str = r#"
    spin_manifest_version = 2
    [application]
    name = "app"
    [variables]
    database_url = { required = true }
    [[trigger.http]]
    route = "/a"
    component = "one"
    [component.one]
    source = "not-built.wasm"
"#;

fn host(manifest: &str, name: &str, listen: &str) -> Command {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(&path, manifest).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_taskcast-host"));
    command.arg("--from").arg(path).args(["--listen", listen]).env_remove("SPIN_VARIABLE_DATABASE_URL");
    command
}

fn error_line(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(output.stdout.is_empty(), "{output:?}");
    let text = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(text.lines().count(), 1, "{text}");
    text.trim_end().to_owned()
}

#[test]
fn a_missing_required_variable_is_named_with_its_environment_variable() {
    let output = host(MANIFEST, "variable.toml", "127.0.0.1:0").output().unwrap();
    assert_eq!(
        error_line(&output),
        "error: variable \"database_url\" is required: set SPIN_VARIABLE_DATABASE_URL"
    );
}

#[test]
fn a_component_that_is_not_built_is_named() {
    let output =
        host(MANIFEST, "source.toml", "127.0.0.1:0").env("SPIN_VARIABLE_DATABASE_URL", "x").output().unwrap();
    let line = error_line(&output);
    assert!(line.contains("not-built.wasm: build the components first"), "{line}");
}

#[test]
fn a_taken_port_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let output = host(MANIFEST, "port.toml", &address.to_string()).output().unwrap();
    let port = address.port();
    let expected = format!("error: port {port} on 127.0.0.1 is already in use: choose another with --listen");
    assert_eq!(error_line(&output), expected);
}

#[test]
fn a_manifest_that_needs_more_than_this_host_has_is_refused() {
    let manifest = format!("{MANIFEST}\n    sqlite_databases = [\"default\"]");
    let output = host(&manifest, "unsupported.toml", "127.0.0.1:0").output().unwrap();
    let line = error_line(&output);
    assert!(
        line.ends_with("has `sqlite_databases`, which this host does not implement: run it with spin"),
        "{line}"
    );
}
