//! What `cargo xtask test` hands to the suite. A missing part fails the test; nothing is skipped.

use std::path::{Path, PathBuf};
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

/// What serves the components: `embedded:<path>` or `spin:<path>`.
pub(crate) fn host() -> Host {
    let text = required("TASKCAST_TEST_HOST");
    match text.split_once(':') {
        Some(("embedded", path)) => Host::Embedded(path.into()),
        Some(("spin", path)) => Host::Spin(path.into()),
        _ => panic!(
            "TASKCAST_TEST_HOST is `{text}`, not embedded:<path> or spin:<path>: run `cargo xtask test`"
        ),
    }
}

/// The root of the repository.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// A new empty directory for one running part's files.
pub(crate) fn directory(purpose: &str) -> PathBuf {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let name = format!("{}-{number}-{purpose}", std::process::id());
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("end_to_end").join(name);
    std::fs::create_dir_all(&directory).unwrap();
    directory
}
