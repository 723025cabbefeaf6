//! TLS to PostgreSQL: what `sslmode` in `database_url` asks for, and whose certificates are believed (docs/operations.md).

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;

use serde_json::Value;
use stack::service_user::ServiceUser;

use crate::harness::database::{APP, Database};
use crate::harness::environment::directory;
use crate::harness::program::Ended;
use crate::harness::server::Server;
use crate::harness::{Route, Setup, python, wait};

/// Whose certificates OpenSSL, and with it Spin, believes instead of the machine's.
const AUTHORITIES: &str = "SSL_CERT_FILE";

/// Makes a certificate authority, and for the server a certificate of it, for 127.0.0.1 and no other name. Returns the file with
/// the authority's own.
async fn turn_tls_on(server: &Server) -> PathBuf {
    let made = Ended::of(python::python().arg(python::file("certificates.py")).arg("127.0.0.1"));
    let made: Value = serde_json::from_str(&made.success("certificates.py")).unwrap();
    let pem = |name: &str| made[name].as_str().unwrap();
    let file = directory("authority").join("ca.crt");
    fs::write(&file, pem("authority")).unwrap();
    for (name, text) in [("server.crt", pem("certificate")), ("server.key", pem("key"))] {
        let path = server.data().join(name);
        fs::write(&path, text).unwrap();
        // PostgreSQL refuses a key that others may read.
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        if let Some(user) = ServiceUser::for_root().unwrap() {
            user.take(&path).unwrap();
        }
    }
    let url = server.admin_url();
    for sql in ["alter system set ssl = on", "select pg_reload_conf()"] {
        stack::database::run(&url, sql).unwrap();
    }
    wait::until(wait::SOON, "a server with TLS", async || {
        (stack::database::run(&url, "show ssl").unwrap().trim() == "on").then_some(())
    })
    .await;
    file
}

/// The app's address of the database with other options.
fn url(database: &Database, options: &str) -> String {
    format!("{}{options}", database.url_of(APP).split('?').next().unwrap())
}

#[tokio::test]
async fn with_an_authority_of_ones_own_every_session_is_encrypted() {
    let server = Server::start();
    let authority = turn_tls_on(&server).await;
    let database = Database::migrated_on(&server);
    let url = url(&database, "?sslmode=require");
    let setup = Setup::new().with_dapr().database(database).variable("database_url", url);
    let app = setup.environment(AUTHORITIES, authority.to_str().unwrap()).start();
    let user = app.user();
    let id = user.new_task_id().await;
    for route in Route::ALL {
        assert_eq!(user.call(route, &id).await.status, route.success(), "{route:?}");
    }
    app.heard(&user).await.assert_each_once(6);
    let sql =
        "SELECT count(*), count(*) FILTER (WHERE NOT ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)
        WHERE usename = $1::text::name AND datname = current_database()";
    let sessions = app.database.client().await.query_one(sql, &[&APP]).await.unwrap();
    assert!(sessions.get::<_, i64>(0) > 0, "the app has sessions");
    assert_eq!(sessions.get::<_, i64>(1), 0, "sessions without TLS");
}

/// What the app must refuse, and what its log says of it.
#[tokio::test]
async fn a_server_that_may_be_another_is_refused() {
    let server = Server::start();
    let authority = turn_tls_on(&server).await;
    let database = Arc::new(Database::migrated_on(&server));
    let of = |setup: Setup, host: &str, options: &str| {
        let address = database.host_port().replace("127.0.0.1", host);
        let url = url(&database, options).replace(&database.host_port(), &address);
        setup.database(database.clone()).variable("database_url", url).variable("database_host", address)
    };
    let believing = || Setup::new().environment(AUTHORITIES, authority.to_str().unwrap());
    for (what, setup, said) in [
        (
            "an authority that nobody believes",
            of(Setup::new(), "127.0.0.1", "?sslmode=require"),
            "certificate",
        ),
        ("the same, where TLS is only preferred", of(Setup::new(), "127.0.0.1", ""), "certificate"),
        (
            "a certificate of another name",
            of(believing(), "postgres.internal", "?sslmode=require&hostaddr=127.0.0.1"),
            "certificate",
        ),
        ("a word of libpq's", of(believing(), "127.0.0.1", "?sslmode=verify-full"), "invalid"),
    ] {
        let app = setup.start();
        app.user().call(Route::List, "").await.database_unavailable();
        let log = app.log().text();
        assert!(log.contains(said), "{what}: {log}");
    }
}

#[tokio::test]
async fn a_server_without_tls_is_refused_where_tls_is_required() {
    let database = Database::migrated();
    let url = url(&database, "?sslmode=require");
    let app = Setup::new().database(database).variable("database_url", url).start();
    app.user().call(Route::List, "").await.database_unavailable();
    let log = app.log().text();
    assert!(log.contains("server does not support TLS"), "{log}");
}
