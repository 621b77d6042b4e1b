//! Fields, truncation and zones.

use super::*;

#[test]
fn a_time_starts_its_unit() {
    let cases = [
        ("microseconds", "2026-08-19 13:14:15.678912", "2026-08-19 13:14:15.678912"),
        ("milliseconds", "2026-08-19 13:14:15.678912", "2026-08-19 13:14:15.678"),
        ("second", "2026-08-19 13:14:15.678912", "2026-08-19 13:14:15"),
        ("minute", "2026-08-19 13:14:15.678912", "2026-08-19 13:14:00"),
        ("hour", "2026-08-19 13:14:15.678912", "2026-08-19 13:00:00"),
        ("day", "2026-08-19 13:14:15.678912", "2026-08-19 00:00:00"),
        ("week", "2026-08-19 13:14:15.678912", "2026-08-17 00:00:00"),
        ("month", "2026-08-19 13:14:15.678912", "2026-08-01 00:00:00"),
        ("quarter", "2026-08-19 13:14:15.678912", "2026-07-01 00:00:00"),
        ("year", "2026-08-19 13:14:15.678912", "2026-01-01 00:00:00"),
        ("decade", "2026-08-19 13:14:15.678912", "2020-01-01 00:00:00"),
        ("century", "2026-08-19 13:14:15.678912", "2001-01-01 00:00:00"),
        ("millennium", "2026-08-19 13:14:15.678912", "2001-01-01 00:00:00"),
        ("century", "0044-03-15 BC", "0100-01-01 00:00:00 BC"),
        ("decade", "0005-01-01 BC", "0011-01-01 00:00:00 BC"),
        ("dow", "2026-01-01", "22023"),
        ("nonsense", "2026-01-01", "22023"),
        ("hour", "infinity", "infinity"),
        ("week", "4714-11-24 BC", "4714-11-24 00:00:00 BC"),
    ];
    for (unit, at, expected) in cases {
        assert_eq!(
            shown(parse_timestamp(at).and_then(|at| trunc_timestamp(unit, at)).map(print_timestamp)),
            expected,
            "{unit} {at}"
        );
    }
}

#[test]
fn a_day_starts_at_the_zones_midnight() {
    let cases = [
        ("day", "2026-03-29 12:00", "Europe/Berlin", "2026-03-29 00:00:00+01"),
        ("hour", "2026-10-25 01:30+00", "Europe/Berlin", "2026-10-25 02:00:00+01"),
        ("month", "2026-10-31 12:00", "Europe/Berlin", "2026-10-01 00:00:00+02"),
    ];
    for (unit, at, name, expected) in cases {
        assert_eq!(
            shown(
                parse_timestamptz(at, &zone(name))
                    .and_then(|at| trunc_timestamptz(unit, at, &zone(name)))
                    .map(|at| print_timestamptz(at, &zone(name)))
            ),
            expected,
            "{unit} {at} {name}"
        );
    }
}

#[test]
fn an_interval_is_truncated_field_by_field() {
    let cases = [
        ("millennium", "1234 years 5 mons 6 days 07:08:09.123456", "1000 years"),
        ("decade", "1234 years 5 mons 6 days 07:08:09.123456", "1230 years"),
        ("quarter", "1234 years 5 mons 6 days 07:08:09.123456", "1234 years 3 mons"),
        ("month", "1234 years 5 mons 6 days 07:08:09.123456", "1234 years 5 mons"),
        ("day", "1234 years 5 mons 6 days 07:08:09.123456", "1234 years 5 mons 6 days"),
        ("hour", "1234 years 5 mons 6 days 07:08:09.123456", "1234 years 5 mons 6 days 07:00:00"),
        ("second", "1234 years 5 mons 6 days 07:08:09.123456", "1234 years 5 mons 6 days 07:08:09"),
        ("week", "1234 years 5 mons 6 days 07:08:09.123456", "0A000"),
        ("dow", "1234 years 5 mons 6 days 07:08:09.123456", "22023"),
    ];
    for (unit, text, expected) in cases {
        assert_eq!(
            shown(interval(text).and_then(|span| trunc_interval(unit, &span)).map(|span| print_interval(&span))),
            expected,
            "{unit} {text}"
        );
    }
}

#[test]
fn bins_start_at_the_origin() {
    let cases = [
        ("15 min", "2026-01-01 12:34:56", "2000-01-01", "2026-01-01 12:30:00"),
        ("15 min", "1999-12-31 23:59:59", "2000-01-01", "1999-12-31 23:45:00"),
        ("1 day", "2026-01-01 12:00", "2000-01-01 06:00", "2026-01-01 06:00:00"),
        ("1 mon", "2026-01-01", "2000-01-01", "0A000"),
        ("0", "2026-01-01", "2000-01-01", "22008"),
        ("-1 hour", "2026-01-01", "2000-01-01", "22008"),
    ];
    for (stride, at, origin, expected) in cases {
        assert_eq!(
            shown(
                interval(stride)
                    .and_then(|span| date_bin(&span, parse_timestamp(at)?, parse_timestamp(origin)?))
                    .map(print_timestamp)
            ),
            expected,
            "{stride} {at} {origin}"
        );
    }
}

#[test]
fn extract_has_postgresqls_scale() {
    let cases = [
        ("century", "2026-08-19 13:14:15.678912", "21"),
        ("day", "2026-08-19 13:14:15.678912", "19"),
        ("decade", "2026-08-19 13:14:15.678912", "202"),
        ("dow", "2026-08-19 13:14:15.678912", "3"),
        ("doy", "2026-08-19 13:14:15.678912", "231"),
        ("epoch", "2026-08-19 13:14:15.678912", "1787145255.678912"),
        ("hour", "2026-08-19 13:14:15.678912", "13"),
        ("isodow", "2026-08-19 13:14:15.678912", "3"),
        ("isoyear", "2026-08-19 13:14:15.678912", "2026"),
        ("julian", "2026-08-19 13:14:15.678912", "2461272.55157035777777777778"),
        ("microseconds", "2026-08-19 13:14:15.678912", "15678912"),
        ("millennium", "2026-08-19 13:14:15.678912", "3"),
        ("milliseconds", "2026-08-19 13:14:15.678912", "15678.912"),
        ("minute", "2026-08-19 13:14:15.678912", "14"),
        ("month", "2026-08-19 13:14:15.678912", "8"),
        ("quarter", "2026-08-19 13:14:15.678912", "3"),
        ("second", "2026-08-19 13:14:15.678912", "15.678912"),
        ("week", "2026-08-19 13:14:15.678912", "34"),
        ("year", "2026-08-19 13:14:15.678912", "2026"),
        ("timezone", "2026-08-19 13:14:15.678912", "0A000"),
        ("nonsense", "2026-08-19 13:14:15.678912", "22023"),
        ("year", "0044-03-15 BC", "-44"),
        ("century", "0044-03-15 BC", "-1"),
        ("julian", "2026-01-01", "2461042.0000000000000000000000000000"),
        ("julian", "2026-01-01 00:00:01", "2461042.000011574074074074074074"),
        ("epoch", "infinity", "Infinity"),
        ("hour", "infinity", "NULL"),
        ("isoyear", "2027-01-01", "2026"),
    ];
    for (field, at, expected) in cases {
        assert_eq!(
            shown(parse_timestamp(at).and_then(|at| extract_timestamp(field, at)).map(decimal)),
            expected,
            "{field} {at}"
        );
    }
}

#[test]
fn extract_from_an_interval_has_postgresqls_scale() {
    let cases = [
        ("century", "-3 years -5 mons 6 days -07:08:09.123456", "0"),
        ("day", "-3 years -5 mons 6 days -07:08:09.123456", "6"),
        ("decade", "-3 years -5 mons 6 days -07:08:09.123456", "0"),
        ("dow", "-3 years -5 mons 6 days -07:08:09.123456", "0A000"),
        ("doy", "-3 years -5 mons 6 days -07:08:09.123456", "0A000"),
        ("epoch", "-3 years -5 mons 6 days -07:08:09.123456", "-107140089.123456"),
        ("hour", "-3 years -5 mons 6 days -07:08:09.123456", "-7"),
        ("isodow", "-3 years -5 mons 6 days -07:08:09.123456", "0A000"),
        ("isoyear", "-3 years -5 mons 6 days -07:08:09.123456", "0A000"),
        ("julian", "-3 years -5 mons 6 days -07:08:09.123456", "0A000"),
        ("microseconds", "-3 years -5 mons 6 days -07:08:09.123456", "-9123456"),
        ("millennium", "-3 years -5 mons 6 days -07:08:09.123456", "0"),
        ("milliseconds", "-3 years -5 mons 6 days -07:08:09.123456", "-9123.456"),
        ("minute", "-3 years -5 mons 6 days -07:08:09.123456", "-8"),
        ("month", "-3 years -5 mons 6 days -07:08:09.123456", "-5"),
        ("quarter", "-3 years -5 mons 6 days -07:08:09.123456", "0"),
        ("second", "-3 years -5 mons 6 days -07:08:09.123456", "-9.123456"),
        ("week", "-3 years -5 mons 6 days -07:08:09.123456", "0A000"),
        ("year", "-3 years -5 mons 6 days -07:08:09.123456", "-3"),
        ("timezone", "-3 years -5 mons 6 days -07:08:09.123456", "0A000"),
        ("nonsense", "-3 years -5 mons 6 days -07:08:09.123456", "22023"),
    ];
    for (field, text, expected) in cases {
        assert_eq!(
            shown(interval(text).and_then(|span| extract_interval(field, &span)).map(decimal)),
            expected,
            "{field} {text}"
        );
    }
}

#[test]
fn extract_from_a_date_has_no_hours() {
    let cases = [
        ("epoch", "2026-08-19", "1787097600"),
        ("julian", "2026-08-19", "2461272"),
        ("hour", "2026-08-19", "0A000"),
        ("year", "2026-08-19", "2026"),
        ("dow", "2026-08-19", "3"),
        ("epoch", "-infinity", "-Infinity"),
    ];
    for (field, text, expected) in cases {
        assert_eq!(
            shown(parse_date(text).and_then(|date| extract_date(field, date)).map(decimal)),
            expected,
            "{field} {text}"
        );
    }
}

#[test]
fn the_julian_day_of_date_part_is_a_double() {
    let cases = [
        ("julian", "1993-01-19 11:22:12", "2449007.47375"),
        ("epoch", "2026-08-19 13:14:15.678912", "1787145255.678912"),
        ("second", "2026-08-19 13:14:15.678912", "15.678912"),
    ];
    for (field, at, expected) in cases {
        assert_eq!(
            shown(
                parse_timestamp(at)
                    .and_then(|at| date_part_timestamp(field, at))
                    .map(|part| format!("{}", part.unwrap_or(f64::NAN)))
            ),
            expected,
            "{field} {at}"
        );
    }
}

#[test]
fn seconds_become_a_timestamp() {
    let cases = [
        ("0", "1970-01-01 00:00:00+00"),
        ("1284352323.1234567", "2010-09-13 04:32:03.123457+00"),
        ("-1e10", "1653-02-10 06:13:20+00"),
        ("1e13", "22008"),
        ("Infinity", "infinity"),
        ("NaN", "22008"),
        ("0.0000005", "1970-01-01 00:00:00+00"),
    ];
    for (seconds, expected) in cases {
        assert_eq!(
            shown(to_timestamp_f64(seconds.parse().expect("a number")).map(|at| print_timestamptz(at, &Zone::utc()))),
            expected,
            "{seconds}"
        );
    }
}

#[test]
fn a_zone_by_name_abbreviation_or_offset() {
    let cases = [
        ("2026-07-01 12:00", "europe/berlin", "2026-07-01 14:00:00"),
        ("2026-07-01 12:00", "EST", "2026-07-01 07:00:00"),
        ("2026-07-01 12:00", "msk", "2026-07-01 15:00:00"),
        ("2026-07-01 12:00", "+02", "2026-07-01 10:00:00"),
        ("2026-07-01 12:00", "UTC+2", "2026-07-01 10:00:00"),
        ("2026-07-01 12:00", "UTC-5:30", "2026-07-01 17:30:00"),
        ("2026-07-01 12:00", "<x>-2", "2026-07-01 14:00:00"),
        ("2026-07-01 12:00", "Etc/GMT+5", "2026-07-01 07:00:00"),
        ("2026-07-01 12:00", "abc", "22023"),
        ("2026-07-01 12:00", "", "22023"),
        ("2026-07-01 12:00", "GET", "2026-07-01 16:00:00"),
        ("2012-07-01 12:00", "MSK", "2012-07-01 16:00:00"),
    ];
    for (at, name, expected) in cases {
        assert_eq!(
            shown(
                parse_timestamptz(at, &Zone::utc())
                    .and_then(|at| timestamptz_to_timestamp(at, &Zone::parse(name)?))
                    .map(print_timestamp)
            ),
            expected,
            "{at} {name}"
        );
    }
}

/// As NUMERIC prints.
fn decimal(extracted: Extracted) -> String {
    let Extracted::Decimal { unscaled, scale } = extracted else {
        return match extracted {
            Extracted::Null => "NULL".into(),
            Extracted::Infinity => "Infinity".into(),
            _ => "-Infinity".into(),
        };
    };
    let scale = usize::from(scale);
    let digits = format!("{:0>width$}", unscaled.unsigned_abs(), width = scale + 1);
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    let sign = if unscaled < 0 { "-" } else { "" };
    if scale == 0 { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") }
}
