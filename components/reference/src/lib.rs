//! `/api/openapi.json` and `/api/docs/...`: docs/openapi.yaml as JSON, and a page to read it and to try the API (GET).
//!
//! `build.rs` makes the files. Nobody needs a token for them, and the variable `api_docs` turns them off.

use std::io::Read;

use flate2::read::GzDecoder;
use shared::config;
use shared::error::Error;
use shared::http::{Call, Reply, serve_read_only};
use spin_sdk::http::{IntoResponse, Request};

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
    /// Whether `body` is compressed by gzip.
    compressed: bool,
}

static FILES: [File; 8] = [
    File {
        path: "/api/openapi.json",
        media_type: "application/json",
        headers: &[("cache-control", REVALIDATE)],
        body: include_bytes!(concat!(env!("OUT_DIR"), "/openapi.json")),
        compressed: false,
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
        compressed: false,
    },
    File {
        path: "/api/docs/favicon-32x32.png",
        media_type: "image/png",
        headers: &[("cache-control", FOR_EVER)],
        body: include_bytes!(concat!(env!("OUT_DIR"), "/favicon-32x32.png")),
        compressed: false,
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
    let headers = &[("cache-control", FOR_EVER), ("vary", "accept-encoding")];
    File { path, media_type, headers, body, compressed: true }
}

#[spin_sdk::http_service]
async fn reference(request: Request) -> impl IntoResponse {
    serve_read_only(request, async |call| show(call).await).await
}

async fn show(call: &Call) -> Result<Reply, Error> {
    if !config::api_docs().await? {
        return Err(Error::NotFound);
    }
    let path = call.path().trim_end_matches('/');
    let file = FILES.iter().find(|file| file.path == path).ok_or(Error::NotFound)?;
    let reply = reply(call, file)?.with("x-content-type-options", "nosniff");
    Ok(file.headers.iter().fold(reply, |reply, (name, value)| reply.with(name, value)))
}

/// Compressed files are decompressed for the few clients that do not ask for gzip.
fn reply(call: &Call, file: &File) -> Result<Reply, Error> {
    if !file.compressed {
        return Ok(Reply::file(file.media_type, file.body));
    }
    if call.accepts_encoding("gzip") {
        return Ok(Reply::file(file.media_type, file.body).with("content-encoding", "gzip"));
    }
    let mut text = String::new();
    let read = GzDecoder::new(file.body).read_to_string(&mut text);
    read.map_err(|error| Error::Internal(format!("decompressing {}: {error}", file.path)))?;
    Ok(Reply::text(file.media_type, text))
}
