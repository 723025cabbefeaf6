//! `/api/openapi.json` and `/api/docs/...`: the document, the page, and the page in a browser.

use std::io::Read;

use flate2::read::GzDecoder;
use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::answer::{Answer, id};
use crate::harness::environment::{chromium, directory, root};
use crate::harness::openapi::document;
use crate::harness::origins::ALLOWED_ORIGIN;
use crate::harness::{App, Setup, User, node, shared};

const DOCUMENT: &str = "/api/openapi.json";
const PAGE: &str = "/api/docs";

/// Where the page's files come from; those in text are sent compressed.
const FILES: [(&str, &str); 5] = [
    ("favicon-32x32.png", "node_modules/swagger-ui-dist"),
    ("page.css", "page"),
    ("page.js", "page"),
    ("swagger-ui-bundle.js", "node_modules/swagger-ui-dist"),
    ("swagger-ui.css", "node_modules/swagger-ui-dist"),
];

/// Nobody needs a token here.
async fn get(app: &App, path: &str) -> Answer {
    Answer::to(app.user().anonymous(Method::GET, path)).await
}

fn not_found(answer: &Answer) {
    answer.plain_error(404, "NOT_FOUND", "Not found");
}

#[tokio::test]
async fn the_document_is_served_with_the_version_of_the_release() {
    let mut expected = document().root.clone();
    expected["info"]["version"] = json!(env!("CARGO_PKG_VERSION"));
    let app = shared();
    for path in [DOCUMENT, "/api/openapi.json/"] {
        assert_eq!(get(&app, path).await.ok(200), expected);
    }
}

#[tokio::test]
async fn the_document_keeps_its_order() {
    let text = get(&shared(), DOCUMENT).await.text();
    assert!(text.starts_with(r#"{"openapi":"3.1.0","info":{"title":"taskcast""#), "{}", &text[..80]);
}

#[tokio::test]
async fn the_document_may_be_read_by_pages_of_an_allowed_origin() {
    let app = shared();
    let request = app.user().anonymous(Method::GET, DOCUMENT).header("origin", ALLOWED_ORIGIN);
    let answer = Answer::to(request).await;
    assert_eq!(answer.header("access-control-allow-origin"), Some(ALLOWED_ORIGIN));
}

#[tokio::test]
async fn the_page_lets_nothing_in_from_elsewhere() {
    let app = shared();
    for path in [PAGE, "/api/docs/"] {
        let page = get(&app, path).await;
        assert_eq!(page.status, 200);
        assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
        let policy = page.header("content-security-policy").unwrap();
        let expected = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
                        connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
        assert_eq!(policy, expected);
        for (name, value) in [
            ("referrer-policy", "no-referrer"),
            ("x-content-type-options", "nosniff"),
            ("cache-control", "no-cache"),
        ] {
            assert_eq!(page.header(name), Some(value), "{name}");
        }
        assert!(!page.text().contains("http"), "{}", page.text());
    }
}

#[tokio::test]
async fn the_pages_files_are_compressed_and_kept_for_ever_under_an_address_of_their_content() {
    let app = shared();
    let page = get(&app, PAGE).await.text();
    for (name, directory) in FILES {
        let file = root().join("components/reference").join(directory).join(name);
        let original = std::fs::read(&file).unwrap();
        let address = format!("{PAGE}/{name}?{}", checksum(&original));
        assert!(page.contains(&format!("\"{address}\"")), "{address} is not in {page}");
        let request = app.user().anonymous(Method::GET, &address).header("accept-encoding", "br, gzip");
        let answer = Answer::to(request).await;
        assert_eq!(answer.status, 200, "{name}");
        assert_eq!(answer.header("cache-control"), Some("public, max-age=31536000, immutable"), "{name}");
        let compressed = !name.ends_with(".png");
        assert_eq!(answer.header("content-encoding"), compressed.then_some("gzip"), "{name}");
        let vary = if compressed { "accept-encoding, origin" } else { "origin" };
        assert_eq!(answer.header("vary"), Some(vary), "{name}");
        let body = if compressed { unpacked(&answer.body) } else { answer.body };
        assert!(body == original, "{name} is not {}", file.display());
    }
}

#[tokio::test]
async fn a_file_is_sent_as_it_is_to_who_does_not_ask_for_gzip() {
    let app = shared();
    let original = |directory: &str, name: &str| {
        std::fs::read(root().join("components/reference").join(directory).join(name)).unwrap()
    };
    for (name, directory) in FILES {
        for asked in [None, Some("identity"), Some("gzip;q=0"), Some("br")] {
            let request = app.user().anonymous(Method::GET, &format!("{PAGE}/{name}"));
            let answer =
                Answer::to(asked.iter().fold(request, |r, asked| r.header("accept-encoding", *asked))).await;
            assert_eq!(answer.header("content-encoding"), None, "{name} {asked:?}");
            assert!(answer.body == original(directory, name), "{name} {asked:?}");
        }
    }
}

fn unpacked(bytes: &[u8]) -> Vec<u8> {
    let mut unpacked = Vec::new();
    GzDecoder::new(bytes).read_to_end(&mut unpacked).unwrap();
    unpacked
}

fn checksum(bytes: &[u8]) -> String {
    let mut crc = flate2::Crc::new();
    crc.update(bytes);
    format!("{:08x}", crc.sum())
}

#[tokio::test]
async fn a_file_that_does_not_exist_is_not_found() {
    let app = shared();
    for path in ["/api/docs/index.html", "/api/docs/swagger-ui.js"] {
        not_found(&get(&app, path).await);
    }
}

#[tokio::test]
async fn the_document_and_the_page_can_be_turned_off() {
    for value in ["false", ""] {
        let app = Setup::new().variable("api_docs", value).start();
        for path in [DOCUMENT, PAGE, "/api/docs/", "/api/docs/swagger-ui.css"] {
            not_found(&get(&app, path).await);
        }
        app.user().create("The API goes on").await;
    }
}

/// What tests/node/api_page.mjs saw.
fn use_page(app: &App, user: &User, title: &str) -> Value {
    let screenshots = directory("api-page");
    let address = format!("{}{PAGE}", app.url());
    let arguments = [
        chromium().as_os_str(),
        address.as_ref(),
        user.token.as_ref(),
        title.as_ref(),
        screenshots.as_os_str(),
    ]
    .map(ToOwned::to_owned);
    let printed = node::succeed(&root().join("tests/node"), &node::file("api_page.mjs"), arguments);
    serde_json::from_str(&printed).unwrap()
}

#[tokio::test]
async fn a_person_authorizes_on_the_page_and_creates_a_task() {
    let app = shared();
    let user = app.user();
    let seen = use_page(&app, &user, "From the page");
    assert_undisturbed(&seen, &app.url());
    for operation in ["listTasks", "createTask", "updateTask", "getHealth"] {
        let shown = seen["operations"].as_array().unwrap();
        assert!(shown.iter().any(|id| id.as_str().unwrap().ends_with(operation)), "{operation}: {shown:?}");
    }
    assert_eq!(seen["status"], "201", "{seen}");
    let task: Value = serde_json::from_str(seen["body"].as_str().unwrap()).unwrap();
    assert_eq!(task["title"], "From the page");
    assert_eq!(user.list().await, std::slice::from_ref(&task));
    let sql = "SELECT title FROM tasks WHERE id = $1::text::uuid AND user_id = $2::text::uuid";
    let row = app.database.client().await.query_one(sql, &[&id(&task), &user.id.to_string()]).await.unwrap();
    assert_eq!(row.get::<_, String>(0), "From the page");
}

/// The browser complains of nothing, and nobody else was called.
fn assert_undisturbed(seen: &Value, url: &str) {
    for nothing in ["console", "failures", "violations"] {
        assert_eq!(seen[nothing], json!([]), "{nothing}");
    }
    let requests = seen["requests"].as_array().unwrap();
    assert!(requests.len() >= FILES.len() + 3, "{requests:?}");
    for request in requests {
        let (_, address) = request.as_str().unwrap().split_once(' ').unwrap();
        assert!(address.starts_with(url) || address.starts_with("data:"), "{address}");
    }
    for (address, status) in seen["statuses"].as_object().unwrap() {
        assert!(matches!(status.as_u64(), Some(200 | 201)), "{address}: {status}");
    }
}
