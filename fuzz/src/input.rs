//! Inputs are text as far as possible, so that a seed can be read and a mutation keeps most of its structure.

use http::{HeaderMap, HeaderName, HeaderValue};

/// Lines of `name: value`, as far as HTTP allows them as headers, in their order.
pub fn headers(input: &[u8]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in input.split(|byte| *byte == b'\n') {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value)) {
            headers.append(name, value);
        }
    }
    headers
}

/// The values of a header that are text, in their order; `None` for those that are not.
pub fn values<'a>(headers: &'a HeaderMap, name: &str) -> Vec<Option<&'a str>> {
    let is_text = |byte: &u8| matches!(byte, b'\t' | b' '..=b'~');
    let all = headers.iter().filter(|(other, _)| other.as_str() == name);
    all.map(|(_, value)| value.as_bytes())
        .map(|bytes| bytes.iter().all(is_text).then(|| std::str::from_utf8(bytes).unwrap_or_default()))
        .collect()
}
