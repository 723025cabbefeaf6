//! What the contract (docs/contract.md) and the standards say of a value.

use std::sync::LazyLock;

use regex::Regex;

/// A character that is neither white space nor default-ignorable by Unicode's properties, and
/// neither a control character nor the blank of braille.
static VISIBLE: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"[^\p{White_Space}\p{Default_Ignorable_Code_Point}\p{Cc}\u{2800}]").expect("a class")
});

/// The title that a text makes: without white space at its ends, 1 to 500 characters, none of them
/// U+0000, and one that can be seen.
pub fn title(text: &str) -> Option<String> {
    let characters: Vec<char> = text.chars().collect();
    let first = characters.iter().position(|character| !character.is_whitespace())?;
    let last = characters.iter().rposition(|character| !character.is_whitespace())?;
    let kept = &characters[first..=last];
    let kept: String = (kept.len() <= 500 && !kept.contains(&'\0')).then(|| kept.iter().collect())?;
    VISIBLE.is_match(&kept).then_some(kept)
}

/// Whether it has the form of RFC 3339 §5.6, with `T` and `Z` in either case or a space for the `T`.
pub fn is_rfc_3339(text: &str) -> bool {
    let (Some(start), Some(rest)) = (text.as_bytes().get(..19), text.as_bytes().get(19..)) else {
        return false;
    };
    let fits = |bytes: &[u8], form: &[u8]| {
        bytes.len() == form.len()
            && bytes.iter().zip(form).all(|(byte, form)| match form {
                b'0' => byte.is_ascii_digit(),
                b'T' => b"Tt ".contains(byte),
                _ => byte == form,
            })
    };
    let offset = match rest.strip_prefix(b".") {
        Some(fraction) => {
            let digits = fraction.iter().take_while(|byte| byte.is_ascii_digit()).count();
            if digits == 0 {
                return false;
            }
            &fraction[digits..]
        }
        None => rest,
    };
    let is_numeric = fits(offset, b"+00:00") || fits(offset, b"-00:00");
    let in_a_day = || offset[1..3] <= b"23"[..] && offset[4..6] <= b"59"[..];
    fits(start, b"0000-00-00T00:00:00") && (matches!(offset, b"Z" | b"z") || (is_numeric && in_a_day()))
}

/// The UUID of a text that is one with hyphens (RFC 9562 §4), also as a URN or in braces, or without any: its 32 digits in lower case.
pub fn uuid_digits(text: &str) -> Option<String> {
    let in_braces = text.strip_prefix('{').and_then(|text| text.strip_suffix('}'));
    let is_urn = text.get(..9).is_some_and(|start| start.eq_ignore_ascii_case("urn:uuid:"));
    let inner = if is_urn { text.get(9..) } else { in_braces };
    let hyphens: Vec<usize> = inner.unwrap_or(text).match_indices('-').map(|(place, _)| place).collect();
    let digits = inner.unwrap_or(text).replace('-', "").to_ascii_lowercase();
    let placed = (hyphens.is_empty() && inner.is_none()) || hyphens == [8, 13, 18, 23];
    let hex = digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    (placed && hex && digits.len() == 32).then_some(digits)
}

/// Whether it is a `traceparent` (W3C Trace Context §3.2): of version 00 exactly, of a later one at least as long.
pub fn is_traceparent(text: &str) -> bool {
    let bytes = text.as_bytes();
    let hex = |from: usize, to: usize| {
        bytes.get(from..to).is_some_and(|part| part.iter().all(|byte| b"0123456789abcdef".contains(byte)))
    };
    let not_zero = |from: usize, to: usize| {
        bytes.get(from..to).is_some_and(|part| part.iter().any(|byte| *byte != b'0'))
    };
    let parts = hex(0, 2) && hex(3, 35) && hex(36, 52) && hex(53, 55);
    let hyphens = [2, 35, 52].iter().all(|place| bytes.get(*place) == Some(&b'-'));
    let end = match bytes.get(..2) {
        Some(b"00") => bytes.len() == 55,
        Some(b"ff") => false,
        _ => bytes.len() == 55 || bytes.get(55) == Some(&b'-'),
    };
    parts && hyphens && not_zero(3, 35) && not_zero(36, 52) && end
}

/// Whether every character may be in an attribute of an event (CloudEvents 1.0 §3.1.1: no control characters).
pub fn is_attribute(text: &str) -> bool {
    text.chars().all(|character| !character.is_control())
}
