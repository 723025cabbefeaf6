//! Makes what the component serves: docs/openapi.yaml as JSON, and the page with its files, compressed.

use std::error::Error;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use flate2::write::GzEncoder;
use flate2::{Compression, Crc};
use serde_json::Value;

const DOCUMENT: &str = "../../docs/openapi.yaml";
const PAGE: &str = "page/index.html";

/// The page's own files and Swagger UI's.
const FILES: [&str; 6] = [
    "page/page.css",
    "page/page.js",
    "node_modules/swagger-ui-dist/favicon-32x32.png",
    "node_modules/swagger-ui-dist/swagger-ui.css",
    "node_modules/swagger-ui-dist/swagger-ui-bundle.js",
    "node_modules/swagger-ui-dist/swagger-ui-bundle.js.LICENSE.txt",
];

/// npm writes it with each installation; the files themselves keep the time that they were packed with.
const INSTALLED: &str = "node_modules/.package-lock.json";

const ADVICE: &str = "run `npm ci --prefix components/reference` (Node.js 18 or newer) in the root of the clone; `cargo xtask` does \
                      it by itself";

fn main() {
    for file in ["build.rs", DOCUMENT, PAGE, INSTALLED].iter().chain(&FILES) {
        println!("cargo::rerun-if-changed={file}");
    }
    if let Err(error) = make() {
        println!("cargo::error={error}");
    }
}

fn make() -> Result<(), Box<dyn Error>> {
    let directory = PathBuf::from(std::env::var("OUT_DIR")?);
    fs::write(directory.join("openapi.json"), document()?)?;
    let mut page = fs::read_to_string(PAGE)?;
    for file in FILES {
        let bytes = fs::read(file).map_err(|error| format!("{file}: {error}: {ADVICE}"))?;
        let name =
            Path::new(file).file_name().and_then(|name| name.to_str()).ok_or("a file without a name")?;
        // A browser may keep each file for ever: another one has another address.
        let address = format!("/api/docs/{name}");
        page = page.replace(&address, &format!("{address}?{}", checksum(&bytes)));
        let made = if name.ends_with(".png") { bytes } else { compress(&bytes)? };
        fs::write(directory.join(name), made)?;
    }
    Ok(fs::write(directory.join("index.html"), page)?)
}

/// With the version of the package.
fn document() -> Result<Vec<u8>, Box<dyn Error>> {
    let text = fs::read_to_string(DOCUMENT)?;
    let mut document: Value =
        serde_saphyr::from_str(&text).map_err(|error| format!("{DOCUMENT}: {error}"))?;
    let version = document.pointer_mut("/info/version").ok_or("docs/openapi.yaml has no version")?;
    *version = std::env::var("CARGO_PKG_VERSION")?.into();
    Ok(serde_json::to_vec(&document)?)
}

fn compress(bytes: &[u8]) -> Result<Vec<u8>, std::io::Error> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes)?;
    encoder.finish()
}

fn checksum(bytes: &[u8]) -> String {
    let mut crc = Crc::new();
    crc.update(bytes);
    format!("{:08x}", crc.sum())
}
