//! An oracle for atomicity: whether PostgreSQL wrote each task and its change in one transaction.

use anyhow::{Context, Result};

use crate::database;

/// The result of one look at the database.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Atomicity {
    /// Number of tasks whose last change was still in the outbox.
    pub compared: usize,
    /// Changes that are not of the transaction that wrote their task.
    pub torn: Vec<String>,
}

impl Atomicity {
    /// Looks at all tasks and changes in one snapshot.
    pub fn look(database_url: &str) -> Result<Self> {
        parse(&database::run(database_url, include_str!("atomicity.sql"))?)
    }
}

/// `2|task … created;task … updated`
fn parse(row: &str) -> Result<Atomicity> {
    let (compared, torn) = row.trim().split_once('|').context("the oracle returned no row")?;
    let compared = compared.parse().context("count the compared tasks")?;
    Ok(Atomicity {
        compared,
        torn: torn.split(';').filter(|name| !name.is_empty()).map(str::to_owned).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn torn_changes_are_listed() {
        assert_eq!(parse("3|\n").unwrap(), Atomicity { compared: 3, torn: Vec::new() });
        let torn = vec!["task a".to_owned(), "task b".to_owned()];
        assert_eq!(parse("3|task a;task b\n").unwrap(), Atomicity { compared: 3, torn });
        assert!(parse("").is_err());
    }
}
