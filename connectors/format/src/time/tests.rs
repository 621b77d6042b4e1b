use super::*;

const NEW_YEAR: i64 = 1_767_225_600_000_000;

fn moments(unit: &str) -> Moments {
    let mut options = Options::default();
    if !unit.is_empty() {
        options.set("timestamp_unit", unit);
    }
    Moments::of(&options).expect("a unit")
}

fn text(text: &str) -> Result<i64, NoMoment> {
    moments("").of_text(text)
}

fn number(unit: &str, text: &str) -> Result<i64, NoMoment> {
    moments(unit).of_number(text)
}

#[test]
fn text_is_read_in_every_form_that_producers_write() {
    for form in [
        "2026-01-01T00:00:00Z",
        "2026-01-01t00:00:00z",
        "2026-01-01T00:00:00",
        "2026-01-01 00:00:00",
        "2026-01-01",
        "2026-01-01T00:00:00.0",
        "2026-01-01T00:00:00.000000000",
        "2026-01-01T02:00:00+02",
        "2026-01-01T02:00:00+0200",
        "2026-01-01T02:00:00+02:00",
        "2026-01-01 02:00:00+02",
        "2025-12-31 18:30:00-0530",
        "2025-12-31T18:30:00.000-05:30",
        // What the short way leaves to the long one.
        "2026-1-1 0:0:0",
        "2026-01-01 02:00:00 +02:00",
        "2026-01-01T00:00:00.00000000000Z",
    ] {
        assert_eq!(text(form), Ok(NEW_YEAR), "{form}");
    }
}

#[test]
fn fractions_of_one_to_nine_digits_are_cut_behind_the_microseconds() {
    const DIGITS: &str = "987654321";
    for length in 1..=DIGITS.len() {
        let expected = format!("{:0<6}", &DIGITS[..length.min(6)]).parse::<i64>().expect("digits");
        for zone in ["", "Z", "+00", "+0000", "+00:00"] {
            for separator in ["T", " "] {
                let form = format!("2026-01-01{separator}00:00:00.{}{zone}", &DIGITS[..length]);
                assert_eq!(text(&form), Ok(NEW_YEAR + expected), "{form}");
            }
        }
    }
}

#[test]
fn what_is_no_time_is_refused() {
    for form in [
        "",
        " ",
        "yesterday",
        "NaN",
        "Infinity",
        "infinity",
        "-infinity",
        "now",
        "epoch",
        "2026-02-29T00:00:00Z",
        "2026-13-01",
        "2026-00-01",
        "2026-01-01T24:00:00Z",
        "2026-01-01T00:60:00Z",
        "2026-01-01T00:00:00.Z",
        "2026-01-01T00:00:00.5x",
        "2026-01-01T00:00:00+24",
        "2026-01-01T00:00:00+02:60",
        "2026-01-01T00:00:00+2",
        "2026-01-01T00:00:00Zulu",
        "2026-01-01T",
        "2026-01-01x00:00:00",
        "20260101",
        "1767225600",
        "01/02/2026",
        "２０２６-01-01",
    ] {
        assert_eq!(text(form), Err(NoMoment::Syntax), "{form}");
    }
}

#[test]
fn what_no_timestamp_can_be_is_out_of_range() {
    assert_eq!(text("-4713-11-24T00:00:00Z"), Ok(FIRST_MICROS));
    assert_eq!(text("-4713-11-23T23:59:59Z"), Err(NoMoment::Range));
    assert_eq!(text("-200000-01-01T00:00:00Z"), Err(NoMoment::Range));
    for (unit, form) in [
        ("s", "9223372036854775807"),
        ("us", "9223372036854775807"),
        ("us", "-9223372036854775808"),
        ("ms", "9223372036854776"),
        ("ns", "1e300"),
        ("auto", "99999999999999999999999999999999999999999999999999"),
        ("auto", "-1e19"),
    ] {
        assert_eq!(number(unit, form), Err(NoMoment::Range), "{unit} {form}");
        assert_eq!(moments(unit).of_text(form), Err(NoMoment::Range), "{unit} {form}");
    }
    assert_eq!(moments("us").of_integer(i64::MAX), None, "PostgreSQL's infinity");
    assert_eq!(moments("us").of_integer(i64::MAX - 1), Some(i64::MAX - 1));
}

#[test]
fn numbers_count_units_since_1970() {
    for (unit, form) in [
        ("s", "1767225600"),
        ("ms", "1767225600000"),
        ("us", "1767225600000000"),
        ("ns", "1767225600000000000"),
        ("ns", "1767225600000000999"),
        ("auto", "1767225600"),
        ("auto", "1767225600000"),
        ("auto", "1767225600000000"),
        ("auto", "1767225600000000000"),
    ] {
        assert_eq!(number(unit, form), Ok(NEW_YEAR), "{unit} {form}");
        assert_eq!(moments(unit).of_integer(form.parse().expect("a number")), Some(NEW_YEAR), "{unit} {form}");
    }
    assert_eq!(number("ms", "1000"), Ok(1_000_000));
    assert_eq!(moments("ns").of_integer(-1), Some(-1), "cut towards the past, as all else is");
    let fine = moments("auto").never_seconds_by_magnitude();
    assert_eq!(fine.of_integer(1_767_225_600), Some(1_767_225_600_000));
    assert_eq!(moments("s").never_seconds_by_magnitude().of_integer(1), Some(1_000_000));
}

#[test]
fn fractions_of_numbers_are_exact_to_the_microsecond() {
    for (unit, form, expected) in [
        ("", "1767225600.5", NEW_YEAR + 500_000),
        ("", "1767225600.0000019", NEW_YEAR + 1),
        ("", "1767225600.999999999999999999999999999999999999999", NEW_YEAR + 999_999),
        ("", "1767225600123.25", NEW_YEAR + 123_250),
        ("", "1.7672256005e9", NEW_YEAR + 500_000),
        ("", "1.767225600123456e9", NEW_YEAR + 123_456),
        ("", "17672256E+2", NEW_YEAR),
        ("", "17672256000000e-4", NEW_YEAR),
        ("s", "0.000001", 1),
        ("s", "-0.5", -500_000),
        ("s", "-0.0000001", -1),
        ("s", "-0", 0),
        ("s", "-0.0", 0),
        ("s", "0e999999999", 0),
        ("s", "1e-300", 0),
        ("ms", "0.001", 1),
        ("us", "7.9", 7),
        ("ns", "1999.9", 1),
    ] {
        assert_eq!(number(unit, form), Ok(expected), "{unit} {form}");
    }
}

/// Python's `time.time()` and JavaScript's `Date.now() / 1000` print such numbers.
#[test]
fn every_microsecond_of_a_double_comes_back() {
    for micros in (NEW_YEAR..NEW_YEAR + 1_000_000).step_by(997) {
        let seconds = micros as f64 / 1e6;
        assert_eq!(number("", &seconds.to_string()), Ok(micros), "{seconds}");
    }
}

#[test]
fn numbers_in_text_are_times_where_a_unit_is_given() {
    for unit in ["s", "auto"] {
        assert_eq!(moments(unit).of_text("1767225600"), Ok(NEW_YEAR));
        assert_eq!(moments(unit).of_text("1767225600.25"), Ok(NEW_YEAR + 250_000));
        assert_eq!(moments(unit).of_text("2026-01-01"), Ok(NEW_YEAR), "a date is no number");
        for form in ["", "NaN", "1_000", " 1", "0x10", "1e", "-", "--1", "１"] {
            assert_eq!(moments(unit).of_text(form), Err(NoMoment::Syntax), "{form}");
        }
    }
    assert_eq!(moments("").in_text().of_text("1767225600"), Ok(NEW_YEAR));
    assert_eq!(moments("").of_text("1767225600"), Err(NoMoment::Syntax));
}

#[test]
fn another_unit_is_refused_by_name() {
    let mut options = Options::default();
    options.set("timestamp_unit", "minutes");
    let error = Moments::of(&options).expect_err("no unit").to_string();
    assert_eq!(error, "option \"timestamp_unit\": \"minutes\" is not one of s, ms, us, ns, auto");
}

/// The short way is short, and says what the library says.
#[test]
fn both_ways_read_the_same_times() {
    let first = NaiveDate::from_ymd_opt(1, 1, 1).expect("a date");
    let last = NaiveDate::from_ymd_opt(9999, 1, 1).expect("a date");
    for day in first.iter_days().step_by(97).take_while(|day| *day < last) {
        for rest in ["T23:59:59.000001Z", " 00:00:00", "T12:34:56.123456789-11:30", ""] {
            let form = format!("{day}{rest}");
            assert_eq!(plain_moment(form.as_bytes()), rare_moment(&form), "{form}");
        }
        assert_eq!(plain_date(day.to_string().as_bytes()), date(&day.to_string()).map(i64::from), "{day}");
    }
    for form in ["2024-02-29T00:00:00.999999Z", "0000-02-29T00:00:00Z", "9999-12-31T23:59:59.999999+23:59"] {
        let plain = plain_moment(form.as_bytes());
        assert!(plain.is_some() && plain == rare_moment(form), "{form}");
    }
    for form in ["2026-02-29T00:00:00Z", "2026-13-01T00:00:00Z", "2026-01-01T24:00:00Z", "2026-01-01T00:00:00.Z", ""] {
        assert_eq!(plain_moment(form.as_bytes()), None, "{form}");
    }
}
