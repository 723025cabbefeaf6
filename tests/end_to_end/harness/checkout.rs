//! A directory that looks like a clone of the repository, for commands of `cargo xtask` that must leave the real one's data
//! alone.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use stack::{Launch, Process, free_port, probe};

use crate::harness::database::{Database, MIGRATOR};
use crate::harness::environment::{directory, required, root};
use crate::harness::user::SECRET;
use crate::harness::{User, wait};

/// What the commands read.
const PARTS: [&str; 7] =
    ["components", "dev/daprd", "dev/kafka", "migrations", "runtime-config.toml", "spin.toml", "target"];

/// What would make a command do something else than it is told here.
const VARIABLES: [&str; 2] = ["DATABASE_URL", "JWT_SECRET"];

/// The directory; each has a `.local` of its own.
pub(crate) struct Checkout {
    pub(crate) path: PathBuf,
}

impl Checkout {
    pub(crate) fn new() -> Self {
        let path = directory("clone");
        std::fs::create_dir_all(path.join("dev/xtask")).unwrap();
        for part in PARTS {
            symlink(root().join(part), path.join(part)).unwrap();
        }
        Self { path }
    }

    /// `cargo xtask` there.
    pub(crate) fn xtask(&self) -> Command {
        let mut command = Command::new(required("TASKCAST_TEST_XTASK"));
        command.current_dir(&self.path);
        for name in VARIABLES {
            command.env_remove(name);
        }
        command
    }

    /// Runs `cargo xtask up` until it answers. `cargo xtask test` has built the components and the host, so that `cargo` has
    /// nothing to do.
    pub(crate) fn up(&self) -> Up {
        let (port, database) = (free_port().unwrap(), Database::empty());
        let tools = self.path.join("tools");
        std::fs::create_dir(&tools).unwrap();
        script(&tools.join("cargo"), "#!/bin/sh\nexit 0\n");
        let path = std::env::var_os("PATH").unwrap();
        let path = std::env::join_paths(std::iter::once(tools).chain(std::env::split_paths(&path)));
        let process = Launch::new("cargo xtask up", required("TASKCAST_TEST_XTASK"))
            .args(["up", "--port", &port.to_string()])
            .env("PATH", path.unwrap())
            .env("DATABASE_URL", database.url_of(MIGRATOR))
            .env("JWT_SECRET", SECRET)
            .current_dir(&self.path)
            .log(self.path.join("up.log"))
            .start()
            .unwrap();
        let answers = || probe::status(port, "/api/v1/health") == Some(200);
        process.wait_until(wait::EVENTUALLY, answers).unwrap();
        Up { port, process, _database: database }
    }
}

/// A running `cargo xtask up`, with the real sidecar and a database of its own.
pub(crate) struct Up {
    port: u16,
    process: Process,
    _database: Database,
}

impl Up {
    /// A user of its API.
    pub(crate) fn user(&self) -> User {
        User::new(&format!("http://127.0.0.1:{}", self.port))
    }

    pub(crate) fn end(self) {
        self.process.stop().unwrap();
    }
}

pub(crate) fn script(file: &Path, text: &str) {
    std::fs::write(file, text).unwrap();
    std::fs::set_permissions(file, PermissionsExt::from_mode(0o755)).unwrap();
}
