//! Every SQL statement of the components is prepared against a migrated database, and the migrations against an old one.

use crate::harness::database::Database;
use crate::harness::environment::root;

#[tokio::test]
async fn every_statement_can_be_prepared() {
    let database = Database::migrated();
    let client = database.client().await;
    let mut count = 0;
    for entry in std::fs::read_dir(root().join("components/shared/src/sql")).unwrap() {
        let path = entry.unwrap().path();
        let sql = std::fs::read_to_string(&path).unwrap();
        if let Err(error) = client.prepare(&sql).await {
            panic!("{}: {:?}", path.display(), error.as_db_error());
        }
        count += 1;
    }
    assert!(count > 0, "no statements found");
}

#[tokio::test]
async fn migrating_twice_applies_nothing_the_second_time() {
    let database = Database::empty();
    assert!(database.migrate() > 0);
    assert_eq!(database.migrate(), 0);
}
