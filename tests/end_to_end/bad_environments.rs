//! `cargo xtask` where something is wrong: one line that says what to do, and an exit code that is not 0.

use std::net::TcpListener;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::Command;

use stack::{DatabaseAddress, free_port, programs};

use crate::harness::checkout::{Checkout, script};
use crate::harness::environment::{admin_url, directory};

const PASSWORD: &str = "a-password-nobody-may-see";

/// `cargo xtask up` in a directory that looks like a clone, so that the real one's data stays out of it.
fn up() -> Command {
    up_on(free_port().unwrap())
}

fn up_on(port: u16) -> Command {
    let mut command = Checkout::new().xtask();
    command.args(["up", "--port", &port.to_string()]).env_remove("TASKCAST_CACHE");
    command
}

/// Runs it to its end, which must be a failure with one line of advice; returns that line.
#[track_caller]
fn advice(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert_eq!(text.trim_end().lines().count(), 1, "{text}");
    assert!(text.starts_with("error: "), "{text}");
    assert!(!text.contains(PASSWORD), "{text}");
    text
}

#[track_caller]
fn assert_says(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "`{part}` is not in: {text}");
    }
}

#[test]
fn a_taken_port_is_named() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    assert_says(&advice(&mut up_on(port)), &[&port.to_string(), "--port"]);
}

#[test]
fn a_jwt_secret_of_31_bytes_is_refused() {
    let text = advice(up().env("JWT_SECRET", "x".repeat(31)));
    assert_says(&text, &["JWT_SECRET", "31", "32"]);
}

#[test]
fn a_database_that_does_not_answer_is_named_without_its_password() {
    let port = free_port().unwrap();
    let url = format!("postgres://someone:{PASSWORD}@127.0.0.1:{port}/tasks?sslmode=disable");
    assert_says(&advice(up().env("DATABASE_URL", url)), &["DATABASE_URL", &port.to_string()]);
}

#[test]
fn without_an_address_there_is_nothing_to_migrate() {
    let mut command = Checkout::new().xtask();
    assert_says(&advice(command.arg("migrate")), &["DATABASE_URL", "postgres://"]);
}

#[test]
fn a_database_to_migrate_that_does_not_answer_is_named_without_its_password() {
    let port = free_port().unwrap();
    let url = format!("postgres://someone:{PASSWORD}@127.0.0.1:{port}/tasks?sslmode=disable");
    let mut command = Checkout::new().xtask();
    let text = advice(command.arg("migrate").env("DATABASE_URL", url));
    assert_says(&text, &["DATABASE_URL", &port.to_string()]);
}

#[test]
fn an_address_that_is_no_postgres_address_is_refused_without_being_repeated() {
    let url = format!("mysql://someone:{PASSWORD}@127.0.0.1/tasks");
    assert_says(&advice(up().env("DATABASE_URL", url)), &["DATABASE_URL", "postgres://"]);
}

#[test]
fn a_wrong_password_of_the_database_is_said() {
    let server = DatabaseAddress::parse(&admin_url()).unwrap().host_port().to_owned();
    let url = format!("postgres://postgres:{PASSWORD}@{server}/postgres?sslmode=disable");
    assert_says(&advice(up().env("DATABASE_URL", url)), &["DATABASE_URL", "password"]);
}

#[test]
fn without_go_the_way_out_is_said() {
    let cache = directory("empty-cache");
    let mut command = up();
    command.env("PATH", path_without_go()).env("TASKCAST_CACHE", cache).env("DATABASE_URL", admin_url());
    assert_says(&advice(&mut command), &["Go", "--no-dapr"]);
}

#[test]
fn without_a_python_that_fits_the_way_out_is_said() {
    let none = "exit 127";
    let too_old = "echo 3.10.13";
    let without_venv = "echo \"ModuleNotFoundError: No module named 'ensurepip'\" >&2; exit 1";
    for python in [none, too_old, without_venv] {
        let path = directory("path");
        script(&path.join("python3"), &format!("#!/bin/sh\n{python}\n"));
        let mut command = Checkout::new().xtask();
        command.args(["fuzz", "api"]).env("PATH", path);
        assert_says(
            &advice(&mut command),
            &["Python 3.11 or newer", "venv", "https://www.python.org", "apt-get"],
        );
    }
}

/// A PATH with what the steps before Go need, and a cargo that builds for ever.
fn path_without_go() -> PathBuf {
    let path = directory("path");
    for name in ["psql", "setpriv", "rustc", "sleep"] {
        symlink(programs::find(name).unwrap(), path.join(name)).unwrap();
    }
    script(&path.join("cargo"), "#!/bin/sh\nexec sleep 600\n");
    path
}
