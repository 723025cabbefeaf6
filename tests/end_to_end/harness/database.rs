//! A database of a test's own, and what is in it. As in production (deploy/postgres), a role owns it and migrates, and
//! the app has another one with only the rights that it uses.

use std::fs;
use std::mem::ManuallyDrop;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{LazyLock, Once};
use std::time::Duration;

use stack::{DatabaseAddress, Postgres};
use tokio_postgres::{Client, NoTls, Row};
use uuid::Uuid;

use crate::harness::environment::{admin_url, root};
use crate::harness::wait;

/// The role that owns the tables.
pub(crate) const MIGRATOR: &str = "taskcast_migrator";

/// The role of the API and the relay.
pub(crate) const APP: &str = "taskcast_app";

/// The role of who watches the outbox.
pub(crate) const MONITOR: &str = "taskcast_monitor";

/// A database that is dropped with this value.
pub(crate) struct Database {
    name: String,
    /// The address of the server's own database, for its administrator.
    admin_url: String,
    /// The administrator's address, for what a test does itself.
    url: String,
}

impl Database {
    /// An empty database with every migration applied.
    pub(crate) fn migrated() -> Self {
        // They are applied once, to a database that is copied from then on.
        static TEMPLATE: LazyLock<String> = LazyLock::new(|| {
            let database = Database::empty();
            database.migrate();
            ManuallyDrop::new(database).name.clone()
        });
        Self::create(admin_url(), Some(&TEMPLATE))
    }

    /// A database without any table.
    pub(crate) fn empty() -> Self {
        static ROLES: Once = Once::new();
        ROLES.call_once(|| create_roles(&admin_url()));
        Self::create(admin_url(), None)
    }

    /// A database with every migration applied, on a server of the test's own.
    pub(crate) fn migrated_on(server: &Postgres) -> Self {
        let admin_url = server.admin_url();
        create_roles(&admin_url);
        let database = Self::create(admin_url, None);
        database.migrate();
        database
    }

    fn create(admin_url: String, template: Option<&str>) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("end_to_end_{}_{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        stack::database::create(&admin_url, &name, template).expect("create a database");
        let url = with_name(&admin_url, &name);
        // What is granted on a database as a whole is not copied.
        run_file(&url, "roles.sql");
        Self { name, admin_url, url }
    }

    /// Applies the migrations that are missing, and says what the roles may do; returns how many migrations those were.
    pub(crate) fn migrate(&self) -> usize {
        let url = self.url_of(MIGRATOR);
        let applied = stack::database::migrate(&url, &root().join("migrations")).expect("migrate");
        run_file(&url, "migrate/grants.sql");
        applied.len()
    }

    /// The administrator's address.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Its address for one of the roles. All of them have the administrator's password.
    pub(crate) fn url_of(&self, role: &str) -> String {
        let (scheme, rest) = self.url.split_once("://").expect("an address");
        let (_, rest) = rest.split_once(':').expect("a password");
        format!("{scheme}://{role}:{rest}")
    }

    /// `host:port` of the server.
    pub(crate) fn host_port(&self) -> String {
        DatabaseAddress::parse(&self.url).unwrap().host_port().to_owned()
    }

    /// What no answer may show.
    pub(crate) fn password(&self) -> String {
        DatabaseAddress::parse(&self.url).unwrap().password().unwrap_or("no password to show").to_owned()
    }

    /// A connection as the administrator.
    pub(crate) async fn client(&self) -> Client {
        connect(&self.url).await
    }

    /// A connection as one of the roles.
    pub(crate) async fn client_of(&self, role: &str) -> Client {
        connect(&self.url_of(role)).await
    }

    /// Runs SQL, statements separated by semicolons.
    pub(crate) async fn execute(&self, sql: &str) {
        self.client().await.batch_execute(sql).await.expect(sql);
    }

    /// From now on, the roles of the app and its operators have no more connections than this.
    pub(crate) async fn limit_connections(&self, limit: u32) {
        self.execute(&format!("ALTER DATABASE {} CONNECTION LIMIT {limit}", self.name)).await;
    }

    /// The sequence numbers of the user's changes that are in the outbox.
    pub(crate) async fn outbox_of(&self, user: Uuid) -> Vec<i64> {
        let sql = "SELECT sequence FROM task_changes WHERE user_id = $1::text::uuid ORDER BY sequence";
        let rows = self.client().await.query(sql, &[&user.to_string()]).await.unwrap();
        rows.iter().map(|row: &Row| row.get(0)).collect()
    }

    /// Waits until nothing of the user is left in the outbox.
    pub(crate) async fn wait_delivered(&self, user: Uuid, deadline: Duration) {
        let what = format!("the delivery of everything of {user}");
        wait::until(deadline, &what, async || self.outbox_of(user).await.is_empty().then_some(())).await;
    }

    /// Parked events: each with its user and the reason.
    pub(crate) async fn parked(&self) -> Vec<(Uuid, String)> {
        let rows = self.client().await.query("SELECT user_id::text, error FROM parked_events", &[]).await;
        let parked = |row: &Row| (row.get::<_, String>(0).parse().unwrap(), row.get(1));
        rows.unwrap().iter().map(parked).collect()
    }

    /// Waits until all of the users are leased: a pass publishes their changes.
    pub(crate) async fn wait_leased(&self, users: &[Uuid]) {
        let sql =
            "SELECT count(*) FROM user_streams WHERE lease_until IS NOT NULL AND user_id::text = ANY($1)";
        let (client, names) = (self.client().await, users.iter().map(Uuid::to_string).collect::<Vec<_>>());
        wait::until(wait::SOON, "the users to be leased", async || {
            let leased: i64 = client.query_one(sql, &[&names]).await.unwrap().get(0);
            (leased == users.len() as i64).then_some(())
        })
        .await;
    }

    /// How many changes of all users are in the outbox.
    pub(crate) async fn outbox_size(&self) -> i64 {
        self.client().await.query_one("SELECT count(*) FROM task_changes", &[]).await.unwrap().get(0)
    }
}

/// How many sessions wait for a lock in the database that this one is connected to: other tests have theirs on the same server.
pub(crate) async fn waiting_for_locks(client: &Client) -> i64 {
    let sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
    client.query_one(sql, &[]).await.unwrap().get(0)
}

/// Roles belong to the server, so that two tests must not create them at the same time.
fn create_roles(admin_url: &str) {
    run_file(admin_url, "roles.sql");
    let address = DatabaseAddress::parse(admin_url).unwrap();
    let password = address.password().expect("the administrator has a password").to_owned();
    for role in [MIGRATOR, APP, MONITOR] {
        stack::database::run(admin_url, &format!("alter role {role} password '{password}'")).unwrap();
    }
}

/// Runs a file of deploy/postgres.
fn run_file(url: &str, name: &str) {
    let path = root().join("deploy/postgres").join(name);
    let sql = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    stack::database::run(url, &sql).unwrap_or_else(|error| panic!("{name}: {error}"));
}

async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.expect("connect");
    tokio::spawn(connection);
    client
}

impl Drop for Database {
    fn drop(&mut self) {
        // A database that is left over is removed with the whole cluster.
        let _ = stack::database::drop_database(&self.admin_url, &self.name);
    }
}

/// The same server's address with another database's name.
fn with_name(url: &str, name: &str) -> String {
    let (address, options) = url.split_once('?').map_or((url, String::new()), |(a, o)| (a, format!("?{o}")));
    let (server, _) = address.rsplit_once('/').expect("the address names a database");
    format!("{server}/{name}{options}")
}
