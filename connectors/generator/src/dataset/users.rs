//! `ebap.users`: a profile for each user, then newer ones with another tier; as rows, or as Debezium tells of them.

use super::{COUNTRIES, RowShape, TIERS, put, put_time, put_user_id};
use crate::{BadKind, FIXED_START_US, draw::Draw, text};

pub(super) const BAD_KINDS: [BadKind; 4] =
    [BadKind::BrokenJson, BadKind::MissingField, BadKind::TextForNumber, BadKind::EmptyValue];

/// Accounts were created in the year before [`FIXED_START_US`].
const CREATED_WITHIN_US: u64 = 365 * 86_400_000_000;
const BALANCE_CENTS_MAX: u64 = 100_000;
const NAMES: [&str; 8] = ["Ada", "Linus", "Grace", "Alan", "Edsger", "Barbara", "Donald", "Radia"];

/// The row of a table, whose key is the number of the user.
pub(super) fn write(row: &RowShape, draw: &mut Draw, key: &mut Vec<u8>, out: &mut Vec<u8>) {
    text::integer(key, user_of(row));
    put_profile(row, draw, out);
}

/// The change event of the same row, as it comes from a table with `decimal.handling.mode = string`.
pub(super) fn write_change(row: &RowShape, draw: &mut Draw, key: &mut Vec<u8>, out: &mut Vec<u8>) {
    put(key, "{\"user_id\":");
    text::integer(key, user_of(row));
    key.push(b'}');
    put(out, "{\"before\":null,\"after\":");
    put_profile(row, draw, out);
    put(out, ",\"source\":{\"connector\":\"postgresql\",\"name\":\"ebap\",\"ts_ms\":");
    let time_ms = row.event_time_us.div_euclid(1_000);
    text::signed(out, time_ms);
    put(out, ",\"snapshot\":\"false\",\"db\":\"ebap\",\"schema\":\"public\",\"table\":\"users\",\"ts_us\":");
    text::signed(out, row.event_time_us);
    put(out, "},\"transaction\":null,\"op\":\"");
    out.push(if row.row < row.users { b'c' } else { b'u' });
    put(out, "\",\"ts_ms\":");
    text::signed(out, time_ms);
    out.push(b'}');
}

/// Not drawn: after the first `users` rows every user has exactly one profile.
fn user_of(row: &RowShape) -> u64 {
    row.row % row.users
}

fn put_profile(row: &RowShape, draw: &mut Draw, out: &mut Vec<u8>) {
    let user = user_of(row);
    let round = row.row / row.users;
    let mut profile = row.of_user(user);
    let tier = (profile.below(TIERS.len() as u64) + round) as usize % TIERS.len();
    let country = *profile.pick(&COUNTRIES);
    let created_us = FIXED_START_US.saturating_sub_unsigned(1 + profile.below(CREATED_WITHIN_US));
    let name = *profile.pick(&NAMES);

    out.push(b'{');
    if !row.is_bad(BadKind::MissingField) {
        put(out, "\"user_id\":");
        if row.is_bad(BadKind::TextForNumber) {
            put(out, "\"number ");
            text::integer(out, draw.below(row.users));
            out.push(b'"');
        } else {
            text::integer(out, user);
        }
        out.push(b',');
    }
    put(out, "\"name\":\"");
    put(out, name);
    put(out, "\",\"email\":\"");
    put_user_id(out, user);
    put(out, "@example.com\",\"country\":\"");
    put(out, country);
    put(out, "\",\"tier\":\"");
    put(out, TIERS[tier]);
    put(out, "\",\"balance\":\"");
    text::decimal(out, profile.below(BALANCE_CENTS_MAX), 2);
    put(out, "\",\"active\":");
    put(out, if profile.below(10) == 0 { "false" } else { "true" });
    put(out, ",\"created_at\":\"");
    put_time(out, created_us);
    put(out, "\",\"updated_at\":\"");
    put_time(out, row.event_time_us);
    put(out, "\"}");
}
