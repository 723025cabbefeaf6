//! A database of a test's own, and what is in it.

use std::sync::atomic::{AtomicU32, Ordering};

use stack::DatabaseAddress;
use tokio_postgres::{Client, NoTls, Row};
use uuid::Uuid;

use crate::harness::environment::{admin_url, root};

/// A database that is dropped with this value.
pub(crate) struct Database {
    name: String,
    pub(crate) url: String,
}

impl Database {
    /// An empty database with every migration applied.
    pub(crate) fn migrated() -> Self {
        let database = Self::empty();
        database.migrate();
        database
    }

    /// A database without any table.
    pub(crate) fn empty() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        Self::create(format!("end_to_end_{}_{number}", std::process::id()))
    }

    fn create(name: String) -> Self {
        let admin_url = admin_url();
        stack::database::create(&admin_url, &name).expect("create a database");
        let url = with_name(&admin_url, &name);
        Self { name, url }
    }

    /// Applies the migrations that are missing; returns how many those were.
    pub(crate) fn migrate(&self) -> usize {
        stack::database::migrate(&self.url, &root().join("migrations")).expect("migrate").len()
    }

    /// `host:port` of the server.
    pub(crate) fn host_port(&self) -> String {
        DatabaseAddress::parse(&self.url).unwrap().host_port().to_owned()
    }

    /// What no answer may show.
    pub(crate) fn password(&self) -> String {
        DatabaseAddress::parse(&self.url).unwrap().password().unwrap_or("no password to show").to_owned()
    }

    pub(crate) async fn client(&self) -> Client {
        let (client, connection) = tokio_postgres::connect(&self.url, NoTls).await.expect("connect");
        tokio::spawn(connection);
        client
    }

    /// Runs SQL, statements separated by semicolons.
    pub(crate) async fn execute(&self, sql: &str) {
        self.client().await.batch_execute(sql).await.expect(sql);
    }

    /// The sequence numbers of the user's changes that are in the outbox.
    pub(crate) async fn outbox_of(&self, user: Uuid) -> Vec<i64> {
        let sql = "SELECT sequence FROM task_changes WHERE user_id = $1::text::uuid ORDER BY sequence";
        let rows = self.client().await.query(sql, &[&user.to_string()]).await.unwrap();
        rows.iter().map(|row: &Row| row.get(0)).collect()
    }

    /// How many changes of all users are in the outbox.
    pub(crate) async fn outbox_size(&self) -> i64 {
        self.client().await.query_one("SELECT count(*) FROM task_changes", &[]).await.unwrap().get(0)
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        // A database that is left over is removed with the whole cluster.
        let _ = stack::database::drop_database(&admin_url(), &self.name);
    }
}

/// The same server's address with another database's name.
fn with_name(url: &str, name: &str) -> String {
    let (address, options) = url.split_once('?').map_or((url, String::new()), |(a, o)| (a, format!("?{o}")));
    let (server, _) = address.rsplit_once('/').expect("the address names a database");
    format!("{server}/{name}{options}")
}
