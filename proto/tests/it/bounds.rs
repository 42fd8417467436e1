//! The grammar of bounds, which the build reads options with.

#[path = "../../build/bounds.rs"]
mod grammar;

use grammar::{Bounds, parse_timestamp_range};

#[test]
fn numeric_bounds_have_six_forms() {
    let forms = [
        ("<=50", "Bounds { min: i64::MIN, max: 50 }"),
        ("<50", "Bounds { min: i64::MIN, max: 49 }"),
        (">=1", "Bounds { min: 1, max: i64::MAX }"),
        (">0", "Bounds { min: 1, max: i64::MAX }"),
        ("7", "Bounds { min: 7, max: 7 }"),
        ("1-1000", "Bounds { min: 1, max: 1000 }"),
    ];
    for (text, code) in forms {
        assert_eq!(Bounds::parse(text).map(Bounds::code), Ok(code.to_owned()));
    }
}

#[test]
fn anything_else_is_an_error() {
    for text in ["", "<=", "=5", "1-", "5-1", "one", "<=1k", "1..5", ">9223372036854775807"] {
        assert!(Bounds::parse(text).is_err(), "{text}");
    }
}

#[test]
fn timestamp_ranges_are_read_to_the_nanosecond() {
    let range = parse_timestamp_range("20000229T000001.000000002-21051231T235959.999999999");
    assert_eq!(range, Ok([(951_782_401, 2), (4_291_747_199, 999_999_999)]));
    let bad = [
        "20000101T000000.000000000",
        "20000101-20010101",
        "20001301T000000.000000000-20010101T000000.000000000",
        "20010101T000000.000000000-20000101T000000.000000000",
    ];
    for text in bad {
        assert!(parse_timestamp_range(text).is_err(), "{text}");
    }
}
