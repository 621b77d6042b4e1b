//! What PostgreSQL 15 answered. An error is its SQLSTATE.

use proptest::prelude::*;

use super::*;
use crate::time::{Interval, Zone, parse_interval, parse_timestamp, parse_timestamptz, print_date, print_timestamptz};

fn shown(result: Result<String>) -> String {
    result.unwrap_or_else(|error| error.sqlstate.into())
}

fn shown_or_null(result: Result<Option<String>>) -> String {
    shown(result.map(|text| text.unwrap_or_else(|| "NULL".into())))
}

fn berlin() -> Zone {
    Zone::parse("Europe/Berlin").expect("a zone")
}

#[test]
fn a_timestamp_fills_its_template() {
    let cases = [
        ("2026-08-02 03:04:05.678912", "YYYY-MM-DD HH24:MI:SS.US", "2026-08-02 03:04:05.678912"),
        ("2026-08-02 03:04:05.678912", "Y,YYY YYYY YYY YY Y", "2,026 2026 026 26 6"),
        ("2026-08-02 03:04:05.678912", "IYYY IYY IY I IW ID IDDD", "2026 026 26 6 31 7 217"),
        ("2026-08-02 03:04:05.678912", "HH HH12 AM pm A.M. p.m.", "03 03 AM am A.M. a.m."),
        (
            "2026-08-02 03:04:05.678912",
            "MS US FF1 FF2 FF3 FF4 FF5 FF6 SSSS SSSSS",
            "678 678912 6 67 678 6789 67891 678912 11045 11045",
        ),
        ("2026-08-02 03:04:05.678912", "MONTH|Month|month|MON|Mon|mon", "AUGUST   |August   |august   |AUG|Aug|aug"),
        ("2026-08-02 03:04:05.678912", "FMMONTH|TMMonth|FMDay", "AUGUST|August|Sunday"),
        ("2026-08-02 03:04:05.678912", "DAY|Day|day|DY|Dy|dy", "SUNDAY   |Sunday   |sunday   |SUN|Sun|sun"),
        ("2026-08-02 03:04:05.678912", "DDD DD D W WW Q CC J", "214 02 1 1 31 3 21 2461255"),
        ("2026-08-02 03:04:05.678912", "RM|rm|FMRM", "VIII|viii|VIII"),
        ("2026-08-02 03:04:05.678912", "BC AD b.c. a.d.", "AD AD a.d. a.d."),
        ("2026-08-02 03:04:05.678912", "DDth DDTH FMDDth YYYYth", "02nd 02ND 2nd 2026th"),
        ("2026-08-02 03:04:05.678912", "TZ tz TZH TZM OF", "  +00 00 +00"),
        ("2026-08-02 03:04:05.678912", "\"quoted MM\" \\\"MM\\\" x", "quoted MM \"08\" x"),
        ("2026-08-02 03:04:05.678912", "FX YYYY SP", " 2026 SP"),
        ("2026-08-02 03:04:05.678912", "", "NULL"),
        ("2026-08-02 03:04:05.678912", "é YYYY", "é 2026"),
        ("0044-03-15 BC", "YYYY BC CC IYYY", "0044 BC -01 0044"),
        ("infinity", "YYYY", "NULL"),
        ("12026-01-01", "YYYY Y,YYY", "12026 12,026"),
        ("2026-01-01 00:00", "HH12 AM", "12 AM"),
    ];
    for (at, pattern, expected) in cases {
        assert_eq!(
            shown_or_null(parse_timestamp(at).and_then(|at| to_char_timestamp(at, None, pattern))),
            expected,
            "{at} {pattern}"
        );
    }
}

#[test]
fn a_zone_shows_its_abbreviation_and_offset() {
    let cases = [
        ("2026-07-01 12:00+00", "HH24 TZ tz TZH:TZM OF", "14 CEST cest +02:00 +02"),
        ("1850-07-01 12:00+00", "HH24 TZ OF", "12 LMT +00:53"),
    ];
    for (at, pattern, expected) in cases {
        let text = parse_timestamptz(at, &berlin())
            .and_then(|utc| to_char_timestamp(berlin().to_local(utc), Some((&berlin(), utc)), pattern));
        assert_eq!(shown_or_null(text), expected, "{at} {pattern}");
    }
}

#[test]
fn an_interval_fills_its_template() {
    let cases = [
        ("1 year 3 mons 5 days 26:05:06.7", "YYYY MM DD HH24:MI:SS.MS", "0001 03 05 26:05:06.700"),
        ("1 year 3 mons 5 days 26:05:06.7", "HH12 AM SSSS RM CC Q DDD", "02 AM 93906 III  00 1 455"),
        ("1 year 3 mons 5 days 26:05:06.7", "Y,YYY YY FMYYYY WW W", "0,001 01 1 65 1"),
        ("-1 year -3 mons -5 days -4:05:06.7", "YYYY MM DD HH24:MI:SS.MS", "-0001 -03 -5 -04:-05:-06.-700"),
        ("-1 year -3 mons -5 days -4:05:06.7", "HH12 AM SSSS RM CC Q DDD", "-04 AM -14706 X    00 0 -455"),
        ("-1 year -3 mons -5 days -4:05:06.7", "Y,YYY YY FMYYYY WW W", "0,-01 -01 -1 -64 1"),
        ("1 day", "Month", "22007"),
        ("1 day", "BC", "22007"),
        ("1 day", "TZ", "22007"),
        ("1 day", "", "NULL"),
    ];
    for (text, pattern, expected) in cases {
        assert_eq!(
            shown_or_null(parse_interval(text).and_then(|span| to_char_interval(&span, pattern))),
            expected,
            "{text} {pattern}"
        );
    }
}

#[test]
fn a_number_fills_its_template() {
    let cases = [
        ("485", "9", " #"),
        ("485", "999", " 485"),
        ("485", "0000", " 0485"),
        ("485", "9999.99", "  485.00"),
        ("485", "FM9999.99", "485."),
        ("485", "FM0999.90", "0485.00"),
        ("485", "9,999", "   485"),
        ("485", "9G999D99", "   485.00"),
        ("485", "S999", "+485"),
        ("485", "999S", "485+"),
        ("485", "MI999", " 485"),
        ("485", "999MI", "485 "),
        ("485", "PL999", "+ 485"),
        ("485", "SG999", "+485"),
        ("485", "999PR", " 485 "),
        ("485", "FM999PR", "485"),
        ("485", "L999", "  485"),
        ("485", "999th", " 485th"),
        ("485", "999TH", " 485TH"),
        ("485", "RN", "        CDLXXXV"),
        ("485", "FMRN", "CDLXXXV"),
        ("485", "rn", "        cdlxxxv"),
        ("485", "9.99EEEE", " 4.85e+02"),
        ("485", "99V99", " ####"),
        ("485", "B999", " 485"),
        ("485", "9.9.9", "42601"),
        ("485", "S9S", "42601"),
        ("485", "9EEEE9", "42601"),
        ("485", "99%", " ##%"),
        ("485", "\"n=\"999", "n= 485"),
        ("485", ".99", " .##"),
        ("485", "FM.99", ".##"),
        ("485", "", ""),
        ("-12.345", "9", "-#"),
        ("-12.345", "999", " -12"),
        ("-12.345", "0000", "-0012"),
        ("-12.345", "9999.99", "  -12.35"),
        ("-12.345", "FM9999.99", "-12.35"),
        ("-12.345", "FM0999.90", "-0012.35"),
        ("-12.345", "9,999", "   -12"),
        ("-12.345", "9G999D99", "   -12.35"),
        ("-12.345", "S999", " -12"),
        ("-12.345", "999S", " 12-"),
        ("-12.345", "MI999", "- 12"),
        ("-12.345", "999MI", " 12-"),
        ("-12.345", "PL999", "  -12"),
        ("-12.345", "SG999", "- 12"),
        ("-12.345", "999PR", " <12>"),
        ("-12.345", "FM999PR", "<12>"),
        ("-12.345", "L999", "  -12"),
        ("-12.345", "999th", " -12"),
        ("-12.345", "999TH", " -12"),
        ("-12.345", "RN", "###############"),
        ("-12.345", "FMRN", "###############"),
        ("-12.345", "rn", "###############"),
        ("-12.345", "9.99EEEE", "-1.23e+01"),
        ("-12.345", "99V99", "-1235"),
        ("-12.345", "B999", " -12"),
        ("-12.345", "9.9.9", "42601"),
        ("-12.345", "S9S", "42601"),
        ("-12.345", "9EEEE9", "42601"),
        ("-12.345", "99%", "-12%"),
        ("-12.345", "\"n=\"999", "n= -12"),
        ("-12.345", ".99", "-.##"),
        ("-12.345", "FM.99", "-.##"),
        ("-12.345", "", ""),
        ("0", "9", " 0"),
        ("0", "999", "   0"),
        ("0", "0000", " 0000"),
        ("0", "9999.99", "     .00"),
        ("0", "FM9999.99", "0."),
        ("0", "FM0999.90", "0000.00"),
        ("0", "9,999", "     0"),
        ("0", "9G999D99", "      .00"),
        ("0", "S999", "  +0"),
        ("0", "999S", "  0+"),
        ("0", "MI999", "   0"),
        ("0", "999MI", "  0 "),
        ("0", "PL999", "+   0"),
        ("0", "SG999", "+  0"),
        ("0", "999PR", "   0 "),
        ("0", "FM999PR", "0"),
        ("0", "L999", "    0"),
        ("0", "999th", "   0th"),
        ("0", "999TH", "   0TH"),
        ("0", "RN", "###############"),
        ("0", "FMRN", "###############"),
        ("0", "rn", "###############"),
        ("0", "9.99EEEE", " 0.00e+00"),
        ("0", "99V99", "    0"),
        ("0", "B999", "   0"),
        ("0", "9.9.9", "42601"),
        ("0", "S9S", "42601"),
        ("0", "9EEEE9", "42601"),
        ("0", "99%", "  0%"),
        ("0", "\"n=\"999", "n=   0"),
        ("0", ".99", " .##"),
        ("0", "FM.99", ".##"),
        ("0", "", ""),
        ("999.5", "9EEEE", " 10e+02"),
        ("NaN", "999", " NaN"),
        ("Infinity", "99.9", " ##.#"),
        ("NaN", "9.9EEEE", " #.#####"),
        ("NaN", "RN", "0A000"),
        ("99999", "99", " ##"),
        ("0.5", "FM9.9", ".5"),
        ("1234567.891", "9,999,999.99", " 1,234,567.89"),
    ];
    for (digits, pattern, expected) in cases {
        assert_eq!(shown(to_char_numeric(digits, pattern)), expected, "{digits} {pattern}");
    }
}

#[test]
fn a_double_fills_its_template() {
    let cases = [
        ("485.8", "999.99", " 485.80"),
        ("-0.0", "9.9", " -.0"),
        ("1e20", "9.9", " #."),
        ("1e20", "9.99EEEE", " 1.00e+20"),
        ("0.1", "9.99999999999999999999", "  .10000000000000"),
        ("NaN", "9.9", " #.#"),
        ("-Infinity", "999", "-###"),
        ("2.5", "9", " 2"),
        ("3.5", "RN", "             IV"),
        ("1e300", "RN", "###############"),
    ];
    for (value, pattern, expected) in cases {
        assert_eq!(shown(to_char_float(value.parse().expect("a number"), pattern)), expected, "{value} {pattern}");
    }
}

#[test]
fn an_integer_fills_its_template() {
    let cases = [
        ("485", "999.99", " 485.00"),
        ("-485", "9.99EEEE", "-4.85e+02"),
        ("485", "RN", "        CDLXXXV"),
        ("9223372036854775807", "9V9", "22003"),
        ("12", "99V9", " 120"),
        ("1234567", "9,999,999", " 1,234,567"),
        ("1", "0000", " 0001"),
    ];
    for (value, pattern, expected) in cases {
        assert_eq!(shown(to_char_int(value.parse().expect("a number"), pattern)), expected, "{value} {pattern}");
    }
}

#[test]
fn text_becomes_a_date() {
    let cases = [
        ("2026-01-02", "YYYY-MM-DD", "2026-01-02"),
        ("20260102", "YYYYMMDD", "2026-01-02"),
        ("2 Jan 2026", "DD Mon YYYY", "2026-01-02"),
        ("02 January, 2026", "DD Month, YYYY", "2026-01-02"),
        ("26-1-2", "YY-MM-DD", "2026-01-02"),
        ("2026-045", "YYYY-DDD", "2026-02-14"),
        ("2026-01-5", "IYYY-IW-ID", "2026-01-02"),
        ("2461043", "J", "2026-01-02"),
        ("44-03-15 BC", "YYYY-MM-DD BC", "0044-03-15 BC"),
        ("21 26", "CC YY", "2026-01-01"),
        ("XII 2026", "RM YYYY", "2026-12-01"),
        ("2026-02-30", "YYYY-MM-DD", "22008"),
        ("2026-13-01", "YYYY-MM-DD", "22008"),
        ("2026 1", "YYYY IW", "22007"),
        ("x", "YYYY", "22007"),
        ("2026-01", "YYYYMM", "22008"),
        ("26", "YYYYMM", "22007"),
        ("2,026-01", "Y,YYY-MM", "2026-01-01"),
        ("", "YYYY", "0001-01-01 BC"),
        ("2nd 2026", "DDth YYYY", "2026-01-02"),
        ("2026 99", "YYYY TZ", "0A000"),
        ("10000-01-02", "YYYY-MM-DD", "10000-01-02"),
        ("100000101", "YYYYMMDD", "22008"),
    ];
    for (text, pattern, expected) in cases {
        assert_eq!(shown(to_date(text, pattern).map(print_date)), expected, "{text} {pattern}");
    }
}

#[test]
fn text_becomes_a_timestamp() {
    let cases = [
        ("2026-07-01 12:34:56", "YYYY-MM-DD HH24:MI:SS", "2026-07-01 12:34:56+02"),
        ("2026-07-01 12:34:56 PM", "YYYY-MM-DD HH12:MI:SS PM", "2026-07-01 12:34:56+02"),
        ("2026-07-01 13:00 PM", "YYYY-MM-DD HH12:MI PM", "22007"),
        ("2026-07-01 12.25", "YYYY-MM-DD HH24.MS", "2026-07-01 12:00:00.25+02"),
        ("2026-07-01 1.256", "YYYY-MM-DD SS.FF1", "2026-07-01 00:00:01.3+02"),
        ("2026-07-01 12:00-05:30", "YYYY-MM-DD HH24:MITZH:TZM", "2026-07-01 19:30:00+02"),
        ("2026-07-01 12:00+16", "YYYY-MM-DD HH24:MITZH", "22009"),
        ("2026-07-01 86399", "YYYY-MM-DD SSSSS", "2026-07-01 23:59:59+02"),
        ("2026-07-01 25", "YYYY-MM-DD HH24", "22008"),
        ("2026-07-01", "FXYYYY-MM-DD", "2026-07-01 00:00:00+02"),
    ];
    for (text, pattern, expected) in cases {
        let at = to_timestamp(text, pattern, &berlin()).map(|at| print_timestamptz(at, &berlin()));
        assert_eq!(shown(at), expected, "{text} {pattern}");
    }
}

#[test]
fn text_becomes_a_number() {
    let cases = [
        ("1,234.5", "9,999.9", "1234.5"),
        ("-12", "99", "-12"),
        ("12-", "99S", "-12"),
        ("<12>", "99PR", "-12"),
        ("$12", "L99", "12"),
        ("12th", "99th", "12"),
        ("12345", "999V99", "123.4500000000000000"),
        ("1234", "99", "12"),
        ("abc", "999", "22P02"),
        ("12.345", "99.9", "12.3"),
        ("", "9", "22P02"),
        ("IV", "RN", "0A000"),
        ("1e5", "9EEEE", "0A000"),
        ("+5", "SG9", "5"),
        ("12.5-", "99.9MI", "-12.5"),
        ("é12", "D9", "22P02"),
        ("5", "", "NULL"),
        ("12345", "9G999", "1234"),
    ];
    for (text, pattern, expected) in cases {
        assert_eq!(shown_or_null(to_number(text, pattern)), expected, "{text} {pattern}");
    }
}

proptest! {
    #[test]
    fn no_pattern_panics(pattern in any_pattern(), text in "[-+0-9a-zA-Z:., é]{0,30}", at in any::<i64>(), value in any::<f64>()) {
        let zone = berlin();
        let _ = (to_char_timestamp(at, None, &pattern), to_char_timestamp(at, Some((&zone, at)), &pattern));
        let span = Interval { months: at as i32, days: (at >> 32) as i32, micros: at };
        let _ = (to_char_interval(&span, &pattern), to_char_numeric(&text, &pattern));
        let _ = (to_char_float(value, &pattern), to_char_int(at, &pattern), to_char_numeric(&at.to_string(), &pattern));
        let _ = (to_date(&text, &pattern), to_timestamp(&text, &pattern, &zone), to_number(&text, &pattern));
    }

    #[test]
    fn a_date_reads_back_what_it_printed(days in -700_000_i32..2_900_000) {
        let at = i64::from(days) * 86_400_000_000;
        for pattern in ["YYYY-MM-DD BC", "IYYY-IW-ID", "YYYY DDD", "J", "DD Month YYYY"] {
            if days > -719_162 + 366 {
                let text = to_char_timestamp(at, None, pattern).expect("a pattern").expect("a date");
                prop_assert_eq!(to_date(&text, pattern), Ok(days), "{} {}", text, pattern);
            }
        }
    }
}

/// Patterns of dates and numbers, and text that is neither.
fn any_pattern() -> impl Strategy<Value = String> {
    let word = prop_oneof![
        "\\PC{0,3}",
        proptest::sample::select(vec![
            "YYYY", "MM", "DD", "HH24", "MI", "SS", "Y,YYY", "IYYY", "IW", "ID", "IDDD", "J", "W", "WW", "CC", "YY",
            "Q", "FM", "TM", "th", "TH", "TZH", "TZM", "MS", "US", "FF1", "AM", "BC", "Month", "RM", "SSSS", "9", "0",
            ".", ",", "S", "PR", "MI", "PL", "SG", "V", "RN", "EEEE", "L", "G", "D", "FX", "DDD",
        ])
        .prop_map(String::from),
    ];
    proptest::collection::vec(word, 0..8).prop_map(|words| words.concat())
}
