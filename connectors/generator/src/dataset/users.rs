//! `ebap.users`: a profile for each user, then newer ones with another tier.

use super::{COUNTRIES, RowShape, TIERS, put, put_time, put_user};
use crate::{BadKind, FIXED_START_US, draw::Draw, text};

pub(super) const BAD_KINDS: [BadKind; 4] =
    [BadKind::BrokenJson, BadKind::MissingField, BadKind::TextForNumber, BadKind::EmptyValue];

/// Accounts were created in the year before [`FIXED_START_US`].
const CREATED_WITHIN_US: u64 = 365 * 86_400_000_000;

pub(super) fn write(row: &RowShape, draw: &mut Draw, key: &mut Vec<u8>, out: &mut Vec<u8>) {
    // Not drawn: after the first `users` rows every user has exactly one profile.
    let user = row.row % row.users;
    let round = row.row / row.users;
    let mut profile = row.of_user(user);
    let tier = (profile.below(TIERS.len() as u64) + round) as usize % TIERS.len();
    let country = *profile.pick(&COUNTRIES);
    let created_us = FIXED_START_US.saturating_sub_unsigned(1 + profile.below(CREATED_WITHIN_US));
    put_user(key, user);

    out.push(b'{');
    if !row.is_bad(BadKind::MissingField) {
        put(out, "\"id\":");
        if row.is_bad(BadKind::TextForNumber) {
            put(out, "\"number ");
            text::integer(out, draw.below(row.users));
            out.push(b'"');
        } else {
            text::integer(out, user);
        }
        out.push(b',');
    }
    put(out, "\"user_id\":\"");
    put_user(out, user);
    put(out, "\",\"email\":\"");
    put_user(out, user);
    put(out, "@example.com\",\"tier\":\"");
    put(out, TIERS[tier]);
    put(out, "\",\"country\":\"");
    put(out, country);
    put(out, "\",\"created_at\":\"");
    put_time(out, created_us);
    put(out, "\",\"updated_at\":\"");
    put_time(out, row.event_time_us);
    put(out, "\"}");
}
