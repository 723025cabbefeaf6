//! The pages: each link to a file leads to one, and its anchor to a heading; the SQL in them is SQL.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::json;
use tokio_postgres::{Client, SimpleQueryMessage};
use uuid::Uuid;

use crate::harness::database::Database;
use crate::harness::environment::root;

/// Where there are no pages of ours.
const ELSEWHERE: [&str; 5] = [".git", ".local", ".spin", "node_modules", "target"];

/// Every page of the repository.
fn pages() -> Vec<PathBuf> {
    let mut pages = Vec::new();
    let mut directories = vec![root().to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(directory).unwrap().map(Result::unwrap) {
            let (path, kind) = (entry.path(), entry.file_type().unwrap());
            if kind.is_dir() && !ELSEWHERE.iter().any(|name| path.ends_with(name)) {
                directories.push(path);
            } else if kind.is_file() && path.extension().is_some_and(|extension| extension == "md") {
                pages.push(path);
            }
        }
    }
    pages
}

fn read(page: &Path) -> String {
    std::fs::read_to_string(page).unwrap_or_else(|error| panic!("{}: {error}", page.display()))
}

/// The text without its blocks of code, and those blocks with their languages.
fn parts(text: &str) -> (String, Vec<(&str, String)>) {
    let (mut prose, mut blocks) = (String::new(), Vec::new());
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        match line.trim_start().strip_prefix("```") {
            Some(language) => {
                let code = lines.by_ref().take_while(|line| !line.trim_start().starts_with("```"));
                blocks.push((language, code.map(|line| format!("{line}\n")).collect()));
            }
            None => prose.extend([line, "\n"]),
        }
    }
    (prose, blocks)
}

/// What the links in a page point to, apart from those that leave the repository.
fn links(text: &str) -> Vec<String> {
    let (prose, _) = parts(text);
    let targets = prose.split("](").skip(1).filter_map(|rest| Some(rest.split_once(')')?.0.to_owned()));
    targets.filter(|target| !target.contains("://")).collect()
}

/// The anchors of a page's headings, as GitHub makes them.
fn anchors(text: &str) -> BTreeSet<String> {
    let (prose, _) = parts(text);
    let headings = prose
        .lines()
        .filter_map(|line| line.trim_start_matches('#').strip_prefix(' ').filter(|_| line.starts_with('#')));
    headings.map(anchor).collect()
}

fn anchor(heading: &str) -> String {
    let letters = heading.to_lowercase().replace(' ', "-");
    letters.chars().filter(|letter| letter.is_alphanumeric() || "-_".contains(*letter)).collect()
}

/// The links of a page that lead nowhere.
fn broken_links(page: &Path, text: &str) -> Vec<String> {
    let leads_somewhere = |link: &String| {
        let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
        let file = if file.is_empty() { page.to_owned() } else { page.with_file_name("").join(file) };
        file.exists() && (anchor.is_empty() || anchors(&read(&file)).contains(anchor))
    };
    links(text).into_iter().filter(|link| !leads_somewhere(link)).collect()
}

#[test]
fn every_link_leads_to_a_file_and_a_heading_that_exist() {
    let pages = pages();
    assert!(pages.len() > 10, "{pages:?}");
    for page in pages {
        let broken = broken_links(&page, &read(&page));
        assert!(broken.is_empty(), "{}: {broken:?}", page.display());
    }
}

#[test]
fn a_link_that_leads_nowhere_is_found() {
    let text = "[a](README.md) [b](docs/nowhere.md)\n[c](docs/contract.md#2-events) ![d](docs/contract.md#3-nothing)\n\
                [e](https://example.com/nowhere) [f](#errors)\n```\n[g](code)\n```\n";
    let broken = broken_links(&root().join("README.md"), text);
    assert_eq!(broken, ["docs/nowhere.md", "docs/contract.md#3-nothing", "#errors"]);
}

/// What the SQL of docs/events.md is about, apart from the table that is shown there.
const TABLES: &str = "
    create table open_tasks (task_id uuid primary key, title text);
    create table tasks_seen (task_id uuid primary key, sequence bigint, title text);
";

/// Runs SQL with these values in the place of `$1` and so on; returns how many rows it has written.
async fn written(client: &Client, sql: &str, values: &[&str]) -> u64 {
    let filled = values.iter().enumerate().fold(sql.to_owned(), |sql, (index, value)| {
        sql.replace(&format!("${}", index + 1), &format!("'{value}'"))
    });
    match client.simple_query(&filled).await.expect(&filled).last() {
        Some(SimpleQueryMessage::CommandComplete(rows)) => *rows,
        other => panic!("{other:?}"),
    }
}

async fn title(client: &Client, table: &str) -> String {
    client.query_one(&format!("select title from {table}"), &[]).await.unwrap().get(0)
}

#[tokio::test]
async fn the_sql_for_consumers_does_what_the_page_says() {
    let database = Database::empty();
    let client = database.client().await;
    client.batch_execute(TABLES).await.unwrap();
    let text = read(&root().join("docs/events.md"));
    let sql: Vec<_> = parts(&text).1.into_iter().filter(|(language, _)| *language == "sql").collect();
    let [(_, table), (_, store), (_, newest)] = sql.as_slice() else { panic!("{sql:?}") };
    client.batch_execute(table).await.unwrap();
    let task = Uuid::new_v4().to_string();
    for (id, title, rows) in [("1", "A", 1), ("1", "A", 0), ("2", "B", 1), ("1", "A", 0)] {
        let event = json!({"data": {"task_id": task, "title": title}}).to_string();
        assert_eq!(written(&client, store, &["/taskcast/users/u", id, &event]).await, rows, "event {id}");
    }
    assert_eq!(title(&client, "open_tasks").await, "B");
    for (sequence, title, rows) in [("2", "B", 1), ("1", "A", 0), ("3", "C", 1)] {
        assert_eq!(written(&client, newest, &[&task, sequence, title]).await, rows, "change {sequence}");
    }
    assert_eq!(title(&client, "tasks_seen").await, "C");
}
