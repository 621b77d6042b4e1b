//! `ebap.events`: what users do.

use super::{ACTIONS, ITEMS, LOCATIONS, PLATFORMS, RowShape, TITLES, put, put_time, put_user_id};
use crate::{BadKind, draw::Draw, text};

pub(super) const BAD_KINDS: [BadKind; 6] = [
    BadKind::BrokenJson,
    BadKind::MissingField,
    BadKind::UnlistedValue,
    BadKind::MalformedUuid,
    BadKind::TextForNumber,
    BadKind::EmptyValue,
];

/// One user in so many names the region; the others give latitude and longitude.
const NAMED_ONE_IN: u64 = 4;

pub(super) fn write(row: &RowShape, draw: &mut Draw, key: &mut Vec<u8>, out: &mut Vec<u8>) {
    let user = row.draw_user(draw);
    put_user_id(key, user);
    // A user stays in one region and on one platform, so that a cart and its purchase agree.
    let mut home = row.of_user(user);
    let region = home.below(LOCATIONS.len() as u64) as usize;
    let platform = *home.pick(&PLATFORMS);
    let location = if home.below(NAMED_ONE_IN) == 0 { TITLES[region] } else { LOCATIONS[region] };
    let action = *draw.pick(&ACTIONS);

    out.push(b'{');
    if !row.is_bad(BadKind::MissingField) {
        put(out, "\"id\":\"");
        let (high, low) = (draw.word(), draw.word());
        if row.is_bad(BadKind::MalformedUuid) {
            put(out, "event-");
            text::integer(out, row.row);
        } else {
            text::uuid(out, high, low);
        }
        put(out, "\",");
    }
    put(out, "\"user_id\":\"");
    put_user_id(out, user);
    put(out, "\",\"action\":\"");
    put(out, if row.is_bad(BadKind::UnlistedValue) { "refund" } else { action });
    put(out, "\",\"metadata\":{\"amount\":");
    let cents = if action == "login" { 0 } else { 100 + draw.below(49_900) };
    if row.is_bad(BadKind::TextForNumber) {
        put(out, "\"a lot\"");
    } else {
        text::decimal(out, cents, 2);
    }
    put(out, ",\"item_id\":\"item-");
    text::integer(out, draw.below(ITEMS));
    put(out, "\",\"platform\":\"");
    put(out, platform);
    put(out, "\",\"email\":\"");
    put_user_id(out, user);
    put(out, "@example.com\"");
    if action == "purchase" {
        put(out, ",\"payment_hash\":\"");
        for _ in 0..2 {
            text::hex(out, draw.word(), 16);
        }
        out.push(b'"');
    }
    put(out, "},\"location\":\"");
    put(out, location);
    put(out, "\",\"timestamp\":\"");
    put_time(out, row.event_time_us);
    put(out, "\"}");
}
