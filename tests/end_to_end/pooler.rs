//! PgBouncer between the app and PostgreSQL, set up as docs/capacity.md says.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use futures::future::join_all;
use stack::service_user::ServiceUser;
use stack::{Launch, Process, free_port, probe};

use crate::harness::database::{APP, Database, waiting_for_locks};
use crate::harness::environment::{directory, pgbouncer, root};
use crate::harness::{Own, Route, Setup, wait};

const PAGE: &str = "docs/capacity.md";

/// `default_pool_size` of the recipe.
const SESSIONS: i64 = 20;

/// How long a call may take whatever the database does: what a statement is given, and what a busy machine adds.
const LONGEST_CALL: Duration = Duration::from_secs(8);

/// A running PgBouncer; its files go with it.
struct PgBouncer {
    process: Process,
    port: u16,
    files: PathBuf,
}

impl PgBouncer {
    /// Starts it by the recipe, for a database whose sessions get the recipe's time-outs.
    async fn start(database: &Database) -> Self {
        let (user, port) = (ServiceUser::for_root().unwrap(), free_port().unwrap());
        let name = database.url_of(APP).rsplit_once('/').unwrap().1.split('?').next().unwrap().to_owned();
        database.execute(&block("sql").replace("database taskcast", &format!("database {name}"))).await;

        let files = directory("pgbouncer");
        let readable = stack::postgres::data_directory(&files).unwrap();
        std::fs::create_dir_all(&readable).unwrap();
        let (settings, users) = (readable.join("pgbouncer.ini"), readable.join("userlist.txt"));
        std::fs::write(&users, format!("\"{APP}\" \"{}\"\n", database.password())).unwrap();
        let server = database.host_port().replace(':', " port=");
        let filled = [
            ("taskcast = host=postgres.internal port=5432", format!("{name} = host={server}")),
            ("listen_addr = *", "listen_addr = 127.0.0.1\nunix_socket_dir =".to_owned()),
            ("listen_port = 6432", format!("listen_port = {port}")),
            ("/etc/pgbouncer/userlist.txt", users.display().to_string()),
        ];
        let recipe = filled.iter().fold(block("ini"), |recipe, (written, here)| {
            assert!(recipe.contains(written), "{PAGE} has no {written:?}");
            recipe.replace(written, here)
        });
        std::fs::write(&settings, recipe).unwrap();
        if let Some(user) = &user {
            for file in [&readable, &settings, &users] {
                user.take(file).unwrap();
            }
        }
        let launch = Launch::new("PgBouncer", pgbouncer()).arg(&settings).user(user);
        let process = launch.current_dir("/").log(files.join("pgbouncer.log")).start().unwrap();
        process.wait_until(wait::SOON, || probe::accepts(port)).unwrap();
        Self { process, port, files }
    }

    /// An app that reaches its database by way of this.
    fn app(&self, database: Database) -> Own {
        let address = format!("127.0.0.1:{}", self.port);
        let url = database.url_of(APP).replacen(&database.host_port(), &address, 1);
        let setup = Setup::new().with_dapr().database(database);
        setup.variable("database_url", url).variable("database_host", address).start()
    }
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        // One that is left over ends with the test's process.
        let _ = self.process.stop();
        let _ = stack::postgres::remove(&self.files);
    }
}

/// The page's only block of a language.
fn block(language: &str) -> String {
    let text = std::fs::read_to_string(root().join(PAGE)).unwrap();
    let start = format!("```{language}\n");
    let mut blocks = text.split(&start).skip(1);
    let block = blocks.next().unwrap_or_else(|| panic!("{PAGE} has no block of {language}"));
    assert!(blocks.next().is_none(), "{PAGE} has several blocks of {language}");
    block.split("```").next().unwrap().to_owned()
}

async fn sessions(app: &Own) -> i64 {
    let sql = format!(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND usename = '{APP}'"
    );
    app.database.client().await.query_one(&sql, &[]).await.unwrap().get(0)
}

#[tokio::test]
async fn the_recipe_for_pgbouncer_serves_every_request_from_a_few_sessions() {
    const USERS: usize = 24;
    const ROUNDS: u64 = 4;
    let database = Database::migrated();
    let pgbouncer = PgBouncer::start(&database).await;
    let app = pgbouncer.app(database);
    let users = app.users(USERS);
    join_all(users.iter().map(async |user| {
        for round in 0..ROUNDS {
            let id = user.new_task_id().await;
            for route in Route::ALL {
                let answer = user.call(route, &id).await;
                assert_eq!(answer.status, route.success(), "{route:?} in round {round}: {}", answer.text());
            }
        }
    }))
    .await;
    let sessions = sessions(&app).await;
    assert!((1..=SESSIONS).contains(&sessions), "{sessions} sessions of the app");
    for user in &users {
        let changes = ROUNDS * (1 + Route::mutations().count() as u64);
        app.heard(user).await.assert_each_once(changes);
    }
}

#[tokio::test]
async fn behind_pgbouncer_a_lock_that_is_kept_piles_up_no_requests() {
    let database = Database::migrated();
    let pgbouncer = PgBouncer::start(&database).await;
    let app = pgbouncer.app(database);
    let user = app.user();
    let id = user.new_task_id().await;
    app.database.wait_delivered(user.id, wait::SOON).await;
    let mut locker = app.database.client().await;
    let lock = locker.transaction().await.unwrap();
    lock.batch_execute("LOCK TABLE tasks IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let started = Instant::now();
    for answer in join_all(Route::ALL.map(|route| user.call(route, &id))).await {
        answer.database_unavailable();
    }
    assert!(started.elapsed() < LONGEST_CALL, "{:?}", started.elapsed());
    let waiting = waiting_for_locks(&app.database.client().await).await;
    assert_eq!(waiting, 0, "the server ends statements by the time-out of the role");
    lock.rollback().await.unwrap();
    wait::until(wait::SOON, "the API after the lock", async || {
        (user.call(Route::Read, &id).await.status == 200).then_some(())
    })
    .await;
}

/// What would be there for the next client of a pooled session: settings, locks, channels, temporary tables, statements, cursors.
const OF_A_SESSION: [&str; 7] = [
    r"\mset_config\M",
    r"(^|;|\mbegin)\s*set\s+(session\s+)?\w+\s*(=|\mto\M)",
    r"\mpg_(try_)?advisory_lock",
    r"\m(un)?listen\M",
    r"\mcreate\s+temp",
    r"\mprepare\M",
    r"\mwith\s+hold\M",
];

/// The statements of the components, and the functions that they call, with names.
async fn statements(database: &Database) -> BTreeMap<String, String> {
    let directory = std::fs::read_dir(root().join("components/shared/src/sql")).unwrap();
    let mut found: BTreeMap<String, String> = directory
        .map(|entry| {
            let path = entry.unwrap().path();
            (path.display().to_string(), std::fs::read_to_string(&path).unwrap())
        })
        .collect();
    // Of several with one name, the others are for the version of before.
    let newest =
        "SELECT proname::text, prosrc FROM pg_proc WHERE pronamespace = 'public'::regnamespace ORDER BY oid";
    let rows = database.client().await.query(newest, &[]).await.unwrap();
    let mut others: BTreeMap<String, String> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    loop {
        let is_called = |name: &String| found.values().any(|text| text.contains(&format!("{name}(")));
        let (called, rest): (BTreeMap<_, _>, _) = others.into_iter().partition(|(name, _)| is_called(name));
        if called.is_empty() {
            return found;
        }
        found.extend(called);
        others = rest;
    }
}

#[tokio::test]
async fn no_statement_leaves_anything_in_its_session() {
    let database = Database::migrated();
    let client = database.client().await;
    let statements = statements(&database).await;
    for called in ["create_task", "left_to_drain", "next_pass", "record_change"] {
        assert!(statements.contains_key(called), "{called} is not among {:?}", statements.keys());
    }
    for (name, text) in &statements {
        for pattern in OF_A_SESSION {
            let found = client.query_one("SELECT $1::text ~* $2::text", &[text, &pattern]).await.unwrap();
            assert!(!found.get::<_, bool>(0), "{name} has {pattern}: it would be left to the next client");
        }
    }
}
