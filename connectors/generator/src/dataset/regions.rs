//! `ebap.regions`: the regions with their names and centres, once each.

use super::{LOCATIONS, REGIONS, RowShape, TITLES, put};
use crate::BadKind;

pub(super) const BAD_KINDS: [BadKind; 3] = [BadKind::BrokenJson, BadKind::MissingField, BadKind::EmptyValue];

pub(super) fn write(row: &RowShape, key: &mut Vec<u8>, out: &mut Vec<u8>) {
    let at = (row.row % REGIONS.len() as u64) as usize;
    put(key, REGIONS[at]);
    out.push(b'{');
    if !row.is_bad(BadKind::MissingField) {
        put(out, "\"name\":\"");
        put(out, REGIONS[at]);
        put(out, "\",");
    }
    put(out, "\"title\":\"");
    put(out, TITLES[at]);
    let (lat, lng) = LOCATIONS[at].split_once(',').unwrap_or_default();
    for (name, degrees) in [("\",\"lat\":", lat), (",\"lng\":", lng)] {
        put(out, name);
        put(out, degrees);
    }
    out.push(b'}');
}
