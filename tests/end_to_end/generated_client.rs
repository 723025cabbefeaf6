//! A client in TypeScript whose types are generated from docs/openapi.yaml: it compiles strictly, it works, and it does not
//! compile with a field that the API does not have.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use crate::harness::environment::{directory, root};
use crate::harness::{node, shared};

const COMPILER: &str = "node_modules/typescript/bin/tsc";

/// tests/node/client in a directory of its own, with the generated types beside it.
fn client() -> PathBuf {
    let client = directory("client");
    for entry in fs::read_dir(node::file("client")).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), client.join(entry.file_name())).unwrap();
    }
    symlink(node::file("node_modules"), client.join("node_modules")).unwrap();
    let document = root().join("docs/openapi.yaml");
    let generator = Path::new("node_modules/openapi-typescript/bin/cli.js");
    node::succeed(&client, generator, [document.as_os_str(), "--output".as_ref(), "schema.ts".as_ref()]);
    client
}

#[tokio::test]
async fn a_generated_client_creates_lists_completes_and_deletes_a_task() {
    let app = shared();
    let user = app.user();
    let client = client();
    node::succeed(&client, Path::new(COMPILER), ["--project", "."]);
    let printed = node::succeed(&client, Path::new("program.js"), [&app.url(), &user.token]);
    assert_eq!(printed, "done\n");
    assert!(user.list().await.is_empty());
}

#[test]
fn a_field_that_the_api_does_not_have_does_not_compile() {
    let client = client();
    let program = fs::read_to_string(client.join("program.ts")).unwrap();
    for (right, wrong, found) in [
        (
            "{ title: \"  Water the plants \",",
            "{ titel: \"  Water the plants \",",
            "'titel' does not exist in type",
        ),
        ("{ title: \" \" }", "{ titel: \" \" }", "'titel' does not exist in type"),
        ("completed.data?.created_at", "completed.data?.createdAt", "Property 'createdAt' does not exist"),
        (
            "query: { completed: false }",
            "query: { completed: \"no\" }",
            "'string' is not assignable to type 'boolean",
        ),
        ("\"/api/v1/tasks/{id}/complete\"", "\"/api/v1/tasks/{id}/finish\"", "/api/v1/tasks/{id}/finish"),
    ] {
        assert!(program.contains(right), "{right}");
        fs::write(client.join("program.ts"), program.replacen(right, wrong, 1)).unwrap();
        let ended = node::run(&client, Path::new(COMPILER), ["--project", "."]);
        assert!(!ended.succeeded, "{wrong} was not noticed");
        assert!(ended.printed.contains(found), "{wrong}: {}", ended.printed);
    }
}
