//! `ebap.metrics`: telemetry of the services behind the events.

use super::{PLATFORMS, REGIONS, RowShape, put};
use crate::{BadKind, draw::Draw, text};

pub(super) const BAD_KINDS: [BadKind; 4] =
    [BadKind::BrokenJson, BadKind::MissingField, BadKind::TextForNumber, BadKind::EmptyValue];

/// A metric and the range of its values, in units of `10^-decimals`.
struct Series {
    name: &'static str,
    lowest: u64,
    highest: u64,
    decimals: u32,
}

const SERIES: [Series; 6] = [
    Series { name: "system.cpu.load", lowest: 500, highest: 9_500, decimals: 4 },
    Series { name: "system.latency.p99", lowest: 200, highest: 4_000, decimals: 4 },
    Series { name: "checkout.error_rate", lowest: 0, highest: 500, decimals: 4 },
    Series { name: "payment.success_rate", lowest: 9_500, highest: 10_000, decimals: 4 },
    Series { name: "api.requests", lowest: 10, highest: 2_000, decimals: 1 },
    Series { name: "memory.used_bytes", lowest: 1 << 28, highest: 1 << 32, decimals: 0 },
];

pub(super) fn write(row: &RowShape, draw: &mut Draw, key: &mut Vec<u8>, out: &mut Vec<u8>) {
    let series = draw.pick(&SERIES);
    put(key, series.name);
    out.push(b'{');
    if !row.is_bad(BadKind::MissingField) {
        put(out, "\"metric_name\":\"");
        put(out, series.name);
        put(out, "\",");
    }
    let (region, platform) = (*draw.pick(&REGIONS), *draw.pick(&PLATFORMS));
    for (name, label) in [("\"labels\":{\"region\":\"", region), ("\",\"platform\":\"", platform)] {
        put(out, name);
        put(out, label);
    }
    put(out, "\"},\"timestamp\":");
    text::signed(out, row.event_time_us.div_euclid(1_000));
    put(out, ",\"value\":");
    let units = series.lowest + draw.below(series.highest - series.lowest + 1);
    if row.is_bad(BadKind::TextForNumber) {
        put(out, "\"a lot\"");
    } else {
        text::decimal(out, units, series.decimals);
    }
    out.push(b'}');
}
