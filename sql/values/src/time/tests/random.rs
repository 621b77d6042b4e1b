//! Random values and text must neither panic nor wrap.

use proptest::prelude::*;

use super::*;

/// Finite timestamps that PostgreSQL has, the ends of the range among them.
fn any_timestamp() -> impl Strategy<Value = i64> {
    prop_oneof![-210_866_803_200_000_000_i64..i64::MAX, -4_000_000_000_000_000_i64..4_000_000_000_000_000]
}

fn any_interval() -> impl Strategy<Value = Interval> {
    (any::<i32>(), any::<i32>(), any::<i64>()).prop_map(|(months, days, micros)| Interval { months, days, micros })
}

proptest! {
    #[test]
    fn a_printed_timestamp_reads_back(at in any_timestamp()) {
        prop_assert_eq!(parse_timestamp(&print_timestamp(at)), Ok(at));
    }

    #[test]
    fn a_printed_interval_reads_back(span in any_interval()) {
        // The least number of microseconds has no positive counterpart, which the text would need.
        prop_assume!(span.micros != i64::MIN);
        prop_assert_eq!(parse_interval(&print_interval(&span)), Ok(span));
    }

    #[test]
    fn no_text_panics(text in "\\PC{0,40}|[-+0-9a-zA-Z:./ ]{0,40}") {
        let berlin = zone("Europe/Berlin");
        let _ = (parse_timestamp(&text), parse_timestamptz(&text, &berlin), parse_date(&text), parse_time(&text));
        let _ = (parse_interval(&text), parse_interval_fields("1", Some(&text)), Zone::parse(&text));
        let _ = (extract_timestamp(&text, 0), trunc_timestamp(&text, 0), Zone::parse_setting(&text));
    }

    #[test]
    fn no_number_panics(a in any::<i64>(), b in any::<i64>(), days in any::<i32>(), span in any_interval(), by in any::<f64>()) {
        let apia = zone("Pacific/Apia");
        let _ = (print_timestamp(a), print_timestamptz(a, &apia), print_date(days), print_time(a), print_interval(&span));
        let _ = (span.add(&span), span.sub(&span), span.neg(), span.mul(by), span.div(by), span.key());
        let _ = (span.justify_hours(), span.justify_days(), span.justify_interval());
        let _ = (timestamp_add(a, &span), timestamptz_add(a, &span, &apia), time_add(a, &span), date_add_days(days, a));
        let _ = (timestamp_sub(a, b), age(a, b), age_timestamptz(a, b, &apia), date_bin(&span, a, b));
        let _ = (to_timestamp_f64(by), date_to_timestamptz(days, &apia), timestamp_to_date(a), apia.to_utc(a));
        for field in ["julian", "epoch", "century", "week", "isoyear", "hour", "timezone", "millennium", "doy"] {
            let _ = (extract_timestamp(field, a), extract_timestamptz(field, a, &apia), extract_date(field, days));
            let _ = (extract_time(field, a), extract_interval(field, &span), date_part_timestamp(field, a));
            let _ = (trunc_timestamp(field, a), trunc_timestamptz(field, a, &apia), trunc_interval(field, &span));
        }
    }

    #[test]
    fn no_part_panics(parts in any::<[i32; 6]>(), seconds in any::<f64>()) {
        let [year, month, day, hour, minute, _] = parts;
        let _ = (make_date(year, month, day), make_time(hour, minute, seconds), make_interval(parts, seconds));
        let _ = make_timestamp(year, month % 14, day % 33, TimeOfDay { hour: hour % 25, minute: minute % 61, seconds });
    }
}
