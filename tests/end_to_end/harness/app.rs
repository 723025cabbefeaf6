//! A running app with everything that belongs to it.

use std::collections::BTreeMap;
use std::ops::{Deref, DerefMut};
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use reqwest::Method;
use stack::AppOptions;
use uuid::Uuid;

use crate::harness::answer::Answer;
use crate::harness::collector::{Dapr, Heard};
use crate::harness::database::Database;
use crate::harness::log::Log;
use crate::harness::origins::ALLOWED_ORIGIN;
use crate::harness::proxy::Proxy;
use crate::harness::{Setup, User, environment, secrets, turn, wait};

/// What the host is started with, each time.
pub(crate) struct Launch {
    pub(crate) manifest: PathBuf,
    pub(crate) port: u16,
    pub(crate) variables: BTreeMap<String, String>,
    pub(crate) environment: BTreeMap<String, String>,
    pub(crate) log: PathBuf,
    /// Whether a component may write what Rust says of a panic.
    pub(crate) panics: bool,
}

/// A running app. The parts end in the order in which they stand here.
pub(crate) struct App {
    host: stack::App,
    launch: Launch,
    log: Log,
    proxy: Option<Proxy>,
    dapr: Option<Dapr>,
    pub(crate) database: Arc<Database>,
}

impl App {
    pub(crate) fn start(
        launch: Launch,
        database: Arc<Database>,
        proxy: Option<Proxy>,
        dapr: Option<Dapr>,
    ) -> Self {
        let log = Log::new(&launch.log, secrets::of_log(&launch.variables));
        Self { host: start_host(&launch), log, launch, proxy, dapr, database }
    }

    /// Kills the host as a crash would and starts it again on the same port.
    pub(crate) fn crash_and_restart(&mut self) {
        self.host.process().kill().unwrap();
        self.host = start_host(&self.launch);
    }

    /// Freezes the host: it keeps its connections and does nothing.
    pub(crate) fn pause(&self) {
        self.host.process().pause().unwrap();
    }

    /// Lets a frozen host go on.
    pub(crate) fn resume(&self) {
        self.host.process().resume().unwrap();
    }

    pub(crate) fn url(&self) -> String {
        self.host.url()
    }

    /// `host:port` of the API.
    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.launch.port)
    }

    /// The port of the API.
    pub(crate) fn port(&self) -> u16 {
        self.launch.port
    }

    /// Where the app looks for its sidecar.
    pub(crate) fn dapr_port(&self) -> u16 {
        let url = &self.launch.variables["dapr_url"];
        url.rsplit(':').next().unwrap().parse().unwrap()
    }

    /// A user whom the app has never seen.
    pub(crate) fn user(&self) -> User {
        User::new(&self.url())
    }

    pub(crate) fn users(&self, count: usize) -> Vec<User> {
        (0..count).map(|_| self.user()).collect()
    }

    pub(crate) fn user_with_id(&self, id: Uuid) -> User {
        User::with_id(&self.url(), id)
    }

    /// Asks for its health, with that correlation id, until it is not well: what was found before is told for a second.
    pub(crate) async fn wait_unhealthy(&self, correlation_id: &str) -> Answer {
        let user = self.user();
        wait::until(wait::SOON, "an app that is not well", async || {
            let request =
                user.anonymous(Method::GET, "/api/v1/health").header("x-correlation-id", correlation_id);
            let answer = Answer::to(request).await;
            (answer.status == 503).then_some(answer)
        })
        .await
    }

    pub(crate) fn log(&self) -> &Log {
        &self.log
    }

    /// The sidecar it was started with.
    pub(crate) fn dapr(&self) -> &Dapr {
        self.dapr.as_ref().expect("an app that was set up with_dapr")
    }

    /// The road to the database it was started with.
    pub(crate) fn proxy(&self) -> &Proxy {
        self.proxy.as_ref().expect("an app that was set up behind_proxy")
    }

    /// Everything that the user's changes so far gave.
    pub(crate) async fn heard(&self, user: &User) -> Heard {
        self.dapr().heard(user).await
    }

    /// What it has written so far must show no secret; where no component may panic, none has, and all that it has written is
    /// documented. A test that has failed already says enough.
    fn assert_log_is_right(&self) {
        if std::thread::panicking() {
            return;
        }
        self.log.assert_no_secrets();
        if !self.launch.panics {
            self.log.assert_no_panic();
            self.log.assert_documented();
        }
    }
}

impl Drop for App {
    fn drop(&mut self) {
        self.assert_log_is_right();
    }
}

fn start_host(launch: &Launch) -> stack::App {
    stack::App::start(AppOptions {
        host: &environment::host(),
        manifest: launch.manifest.clone(),
        listen_port: launch.port,
        variables: launch.variables.clone(),
        environment: launch.environment.clone(),
        log: launch.log.clone(),
        on_log: None,
    })
    .expect("start the app")
}

/// The app that most tests share. It has a real sidecar; nobody may disturb it.
pub(crate) fn shared() -> Shared {
    static APP: OnceLock<App> = OnceLock::new();
    let turn = turn::beside();
    let app = APP.get_or_init(|| Setup::new().with_dapr().variable("cors_origins", ALLOWED_ORIGIN).launch());
    Shared { app, _turn: turn }
}

/// The shared app, for as long as a test has its turn.
pub(crate) struct Shared {
    app: &'static App,
    _turn: turn::Beside,
}

impl Deref for Shared {
    type Target = App;

    fn deref(&self) -> &App {
        self.app
    }
}

impl Drop for Shared {
    /// The app itself is never dropped.
    fn drop(&mut self) {
        self.app.assert_log_is_right();
    }
}

/// An app of a test's own.
pub(crate) struct Own {
    app: App,
    _turn: turn::Beside,
}

impl Own {
    pub(crate) fn new(app: App, turn: turn::Beside) -> Self {
        Self { app, _turn: turn }
    }
}

impl Deref for Own {
    type Target = App;

    fn deref(&self) -> &App {
        &self.app
    }
}

impl DerefMut for Own {
    fn deref_mut(&mut self) -> &mut App {
        &mut self.app
    }
}
