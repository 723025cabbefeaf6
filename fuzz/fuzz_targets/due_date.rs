//! A due date has the form of RFC 3339, means the same instant to another library, and is the same when it is read again.

#![no_main]

use fuzz::rules;
use libfuzzer_sys::fuzz_target;
use shared::task::Timestamp;

fuzz_target!(|text: &str| {
    let parsed = Timestamp::parse(text);
    let other: Option<jiff::Timestamp> = text.parse().ok();
    let Some(instant) = parsed else {
        let ours = rules::is_rfc_3339(text) && other.is_some_and(in_range);
        assert!(!ours, "refused, although it is RFC 3339 and within the years 0000 to 9999");
        return;
    };
    assert!(rules::is_rfc_3339(text), "accepted, although it is not RFC 3339");
    let shown = instant.to_string();
    assert_eq!(Timestamp::parse(&shown), Some(instant), "{shown} is another instant");
    assert_eq!(Timestamp::from_micros(instant.micros()), Some(instant));
    assert!(rules::is_rfc_3339(&shown) && shown.ends_with('Z'), "{shown}");
    // jiff takes a leap second for the second before it.
    let is_leap = text.get(17..19) == Some("60");
    if let (Some(other), false) = (other, is_leap) {
        let micros = other.as_nanosecond().div_euclid(1000);
        assert_eq!(i128::from(instant.micros()), micros, "jiff: {other}");
    }
});

/// Whether its year in UTC can be written. Where the leap second at the end of the last year leads is nobody's concern.
fn in_range(instant: jiff::Timestamp) -> bool {
    const SECOND: i128 = 1_000_000_000;
    const FIRST: i128 = -62_167_219_200 * SECOND;
    const LAST: i128 = 253_402_300_799 * SECOND;
    (FIRST..LAST).contains(&instant.as_nanosecond())
}
