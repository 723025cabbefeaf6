//! `/api/openapi.json` and `/api/docs/...`: docs/openapi.yaml as JSON, and a page to read it and to try the API (GET).
//!
//! `build.rs` makes the files. Nobody needs a token for them, and the variable `api_docs` turns them off.

use shared::config;
use shared::error::Error;
use shared::http::{Call, Reply, serve_without_outbox};
use spin_sdk::http::{IntoResponse, Method, Request};

/// To be asked for again each time.
const REVALIDATE: &str = "no-cache";

/// The page asks for each of its files by a checksum, too.
const FOR_EVER: &str = "public, max-age=31536000, immutable";

/// Nothing from elsewhere, nothing inside of the page, and no frame around it.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

struct File {
    path: &'static str,
    media_type: &'static str,
    headers: &'static [(&'static str, &'static str)],
    body: &'static [u8],
}

static FILES: [File; 8] = [
    File {
        path: "/api/openapi.json",
        media_type: "application/json",
        headers: &[("cache-control", REVALIDATE)],
        body: include_bytes!(concat!(env!("OUT_DIR"), "/openapi.json")),
    },
    File {
        path: "/api/docs",
        media_type: "text/html; charset=utf-8",
        headers: &[
            ("cache-control", REVALIDATE),
            ("content-security-policy", POLICY),
            ("referrer-policy", "no-referrer"),
        ],
        body: include_bytes!(concat!(env!("OUT_DIR"), "/index.html")),
    },
    File {
        path: "/api/docs/favicon-32x32.png",
        media_type: "image/png",
        headers: &[("cache-control", FOR_EVER)],
        body: include_bytes!(concat!(env!("OUT_DIR"), "/favicon-32x32.png")),
    },
    compressed("/api/docs/page.css", "text/css", include_bytes!(concat!(env!("OUT_DIR"), "/page.css"))),
    compressed("/api/docs/page.js", "text/javascript", include_bytes!(concat!(env!("OUT_DIR"), "/page.js"))),
    compressed(
        "/api/docs/swagger-ui.css",
        "text/css",
        include_bytes!(concat!(env!("OUT_DIR"), "/swagger-ui.css")),
    ),
    compressed(
        "/api/docs/swagger-ui-bundle.js",
        "text/javascript",
        include_bytes!(concat!(env!("OUT_DIR"), "/swagger-ui-bundle.js")),
    ),
    compressed(
        "/api/docs/swagger-ui-bundle.js.LICENSE.txt",
        "text/plain",
        include_bytes!(concat!(env!("OUT_DIR"), "/swagger-ui-bundle.js.LICENSE.txt")),
    ),
];

const fn compressed(path: &'static str, media_type: &'static str, body: &'static [u8]) -> File {
    let headers = &[("cache-control", FOR_EVER), ("content-encoding", "gzip")];
    File { path, media_type, headers, body }
}

#[spin_sdk::http_service]
async fn reference(request: Request) -> impl IntoResponse {
    serve_without_outbox(request, &[Method::GET], async |call| show(call).await).await
}

async fn show(call: &Call) -> Result<Reply, Error> {
    if !config::api_docs().await? {
        return Err(Error::NotFound);
    }
    let path = call.path().trim_end_matches('/');
    let file = FILES.iter().find(|file| file.path == path).ok_or(Error::NotFound)?;
    let reply = Reply::file(file.media_type, file.body).with("x-content-type-options", "nosniff");
    Ok(file.headers.iter().fold(reply, |reply, (name, value)| reply.with(name, value)))
}
