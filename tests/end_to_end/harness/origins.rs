//! Origins of pages that call the API.

/// An origin that the shared app allows besides its own.
pub(crate) const ALLOWED_ORIGIN: &str = "https://app.example.com";

/// An origin that no app allows.
pub(crate) const FOREIGN: &str = "https://evil.example.net";

/// Origins that look like the allowed one.
pub(crate) const LIKE_ALLOWED: [&str; 20] = [
    "null",
    "",
    "*",
    "https://",
    "app.example.com",
    "http://app.example.com",
    "https://app.example.com:443",
    "https://app.example.com:8443",
    "https://app.example.com.",
    "https://example.com",
    "https://sub.app.example.com",
    "https://evil-app.example.com",
    "https://app.example.com.evil.example.net",
    "https://app.example.com@evil.example.net",
    "https://user@app.example.com",
    "https://app.example.com/",
    "https://app.example.com/evil",
    "https://app.example.com#evil",
    "https://app.example.com, https://evil.example.net",
    "https://xn--pp-8ia.example.com",
];
