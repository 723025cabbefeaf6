//! What `cargo xtask test` hands to the suite. A missing part fails the test; nothing is skipped.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use stack::Host;

/// The value of an environment variable that `cargo xtask test` sets.
pub(crate) fn required(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: run `cargo xtask test`"))
}

/// Address of a database in which others may be created.
pub(crate) fn admin_url() -> String {
    required("TASKCAST_TEST_DATABASE")
}

/// The real sidecar's binary.
pub(crate) fn daprd() -> PathBuf {
    required("TASKCAST_TEST_DAPRD").into()
}

/// `host:port` of the running Kafka.
pub(crate) fn kafka() -> String {
    required("TASKCAST_TEST_KAFKA")
}

/// The directory with Kafka's jars, for a broker of a test's own.
pub(crate) fn kafka_libraries() -> PathBuf {
    required("TASKCAST_TEST_KAFKA_LIBRARIES").into()
}

/// The browser.
pub(crate) fn chromium() -> PathBuf {
    required("TASKCAST_TEST_CHROMIUM").into()
}

/// What checks metrics, alerting rules and dashboards.
pub(crate) fn observability() -> PathBuf {
    required("TASKCAST_TEST_OBSERVABILITY").into()
}

/// The interpreter that has the packages of tests/python/requirements.txt.
pub(crate) fn python() -> PathBuf {
    required("TASKCAST_TEST_PYTHON").into()
}

/// A number that `cargo xtask fuzz` asks for; without it, what is enough beside all the other tests.
pub(crate) fn number_or(name: &str, enough: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|error| panic!("{name} is {text}: {error}")),
        Err(_) => enough,
    }
}

/// What serves the components: `embedded:<path>` or `spin:<path>`.
pub(crate) fn host() -> Host {
    let text = required("TASKCAST_TEST_HOST");
    text.parse().unwrap_or_else(|error| panic!("TASKCAST_TEST_HOST {error}: run `cargo xtask test`"))
}

/// The root of the repository.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// The repository's `spin.toml`.
pub(crate) fn manifest() -> toml::Table {
    std::fs::read_to_string(root().join("spin.toml")).unwrap().parse().unwrap()
}

/// A new empty directory for one running part's files. Those of a host's last run stay to be read; older ones go.
pub(crate) fn directory(purpose: &str) -> PathBuf {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    static RUN: OnceLock<PathBuf> = OnceLock::new();
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let directory = RUN.get_or_init(new_run).join(format!("{number}-{purpose}"));
    std::fs::create_dir_all(&directory).unwrap();
    directory
}

fn new_run() -> PathBuf {
    let host = match host() {
        Host::Embedded(_) => "embedded",
        Host::Spin(_) => "spin",
    };
    let runs = Path::new(env!("CARGO_TARGET_TMPDIR")).join("end_to_end").join(host);
    // Nothing is there before the first run; what cannot be removed is in nobody's way.
    let _ = std::fs::remove_dir_all(&runs);
    runs.join(std::process::id().to_string())
}
