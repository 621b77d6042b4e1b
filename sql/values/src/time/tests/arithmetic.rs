//! What is computed with times and intervals.

use super::*;

#[test]
fn interval_fields_restrict_what_is_kept() {
    let cases = [
        ("1", "day", "1 day"),
        ("1:30", "hour to minute", "01:30:00"),
        ("1:30", "minute to second", "00:01:30"),
        ("1", "year", "1 year"),
        ("14 months", "year", "1 year"),
        ("1 day 02:03:04.5678", "hour", "1 day 02:00:00"),
        ("1.23456", "second(2)", "00:00:01.23"),
        ("-1.5", "second(0)", "-00:00:02"),
        ("1-2", "year to month", "1 year 2 mons"),
        ("5", "month", "5 mons"),
    ];
    for (text, fields, expected) in cases {
        assert_eq!(
            shown(parse_interval_fields(text, Some(fields)).map(|span| print_interval(&span))),
            expected,
            "{text} {fields}"
        );
    }
}

#[test]
fn a_product_of_an_interval_cascades_down() {
    let cases = [
        ("1 mon", "0.5", "15 days"),
        ("1 mon 1 day", "1.5", "1 mon 16 days 12:00:00"),
        ("1 year 3 mons 5 days 04:05:06", "-0.1", "-1 mons -15 days -12:24:30.6"),
        ("3 days", "0.3333333333333333", "1 day"),
        ("2147483647 mons", "2", "22008"),
        ("1 day", "NaN", "22008"),
    ];
    for (text, factor, expected) in cases {
        assert_eq!(
            shown(
                interval(text)
                    .and_then(|span| span.mul(factor.parse().expect("a number")))
                    .map(|span| print_interval(&span))
            ),
            expected,
            "{text} {factor}"
        );
    }
}

#[test]
fn a_quotient_of_an_interval_cascades_down() {
    let cases = [
        ("1 mon", "2", "15 days"),
        ("1 year", "7", "1 mon 21 days 10:17:08.5344"),
        ("10 days", "3", "3 days 08:00:00"),
        ("1 day", "0", "22012"),
        ("-1 mon 1 day 00:00:01", "3", "-10 days +08:00:00.333333"),
    ];
    for (text, divisor, expected) in cases {
        assert_eq!(
            shown(
                interval(text)
                    .and_then(|span| span.div(divisor.parse().expect("a number")))
                    .map(|span| print_interval(&span))
            ),
            expected,
            "{text} {divisor}"
        );
    }
}

#[test]
fn justified_fields_have_one_sign() {
    let cases = [
        ("1 mon -1 hour", "29 days 23:00:00"),
        ("-1 mon 1 hour", "-29 days -23:00:00"),
        ("35 days 50 hours", "1 mon 7 days 02:00:00"),
        ("1 day -25 hours", "-01:00:00"),
        ("-100 days 3 mons", "-10 days"),
    ];
    for (text, expected) in cases {
        assert_eq!(
            shown(interval(text).and_then(|span| span.justify_interval()).map(|span| print_interval(&span))),
            expected,
            "{text}"
        );
    }
}

#[test]
fn a_month_is_added_within_the_month() {
    let cases = [
        ("2026-01-31", "1 mon", "2026-02-28 00:00:00"),
        ("2024-02-29", "-1 year", "2023-02-28 00:00:00"),
        ("2026-01-01", "-1 mon -1 day -1 hour", "2025-11-29 23:00:00"),
        ("0001-01-01", "-1 day", "0001-12-31 00:00:00 BC"),
        ("infinity", "1 day", "infinity"),
        ("4714-11-24 BC", "-1 us", "22008"),
        ("2026-01-01", "2147483647 mons", "22008"),
    ];
    for (at, span, expected) in cases {
        assert_eq!(
            shown(parse_timestamp(at).and_then(|at| timestamp_add(at, &interval(span)?)).map(print_timestamp)),
            expected,
            "{at} {span}"
        );
    }
}

#[test]
fn a_day_is_added_by_the_zones_clocks() {
    let cases = [
        ("2026-03-28 12:00", "1 day", "Europe/Berlin", "2026-03-29 12:00:00+02"),
        ("2026-03-28 12:00", "24 hours", "Europe/Berlin", "2026-03-29 13:00:00+02"),
        ("2026-02-28 02:30", "1 mon 1 day", "Europe/Berlin", "2026-03-29 03:30:00+02"),
        ("2026-10-24 02:30", "1 day", "Europe/Berlin", "2026-10-25 02:30:00+01"),
    ];
    for (at, span, name, expected) in cases {
        assert_eq!(
            shown(
                parse_timestamptz(at, &zone(name))
                    .and_then(|at| timestamptz_add(at, &interval(span)?, &zone(name)))
                    .map(|at| print_timestamptz(at, &zone(name)))
            ),
            expected,
            "{at} {span} {name}"
        );
    }
}

#[test]
fn a_difference_of_timestamps_has_days() {
    let cases = [
        ("2026-03-01", "2026-01-01 12:00", "58 days 12:00:00"),
        ("2026-01-01 12:00", "2026-03-01", "-58 days -12:00:00"),
        ("infinity", "2026-01-01", "22008"),
    ];
    for (left, right, expected) in cases {
        assert_eq!(
            shown(
                parse_timestamp(left)
                    .and_then(|at| timestamp_sub(at, parse_timestamp(right)?))
                    .map(|span| print_interval(&span))
            ),
            expected,
            "{left} {right}"
        );
    }
}

#[test]
fn an_age_has_years_and_months() {
    let cases = [
        ("2026-03-01", "2025-01-31 12:00", "1 year 1 mon 12:00:00"),
        ("2025-01-31 12:00", "2026-03-01", "-1 years -1 mons -12:00:00"),
        ("2024-03-01", "2024-02-29", "1 day"),
        ("2026-01-01", "0044-03-15 BC", "2068 years 9 mons 17 days"),
        ("2026-03-30", "2026-02-28 00:00:01", "1 mon 1 day 23:59:59"),
    ];
    for (left, right, expected) in cases {
        assert_eq!(
            shown(
                parse_timestamp(left).and_then(|at| age(at, parse_timestamp(right)?)).map(|span| print_interval(&span))
            ),
            expected,
            "{left} {right}"
        );
    }
}
