//! `ebap.metrics`: telemetry of the services behind the events.

use super::{HOSTS, REGIONS, RowShape, SERVICES, put, put_time};
use crate::{BadKind, draw::Draw, text};

pub(super) const BAD_KINDS: [BadKind; 4] =
    [BadKind::BrokenJson, BadKind::MissingField, BadKind::TextForNumber, BadKind::EmptyValue];

/// A metric and the range of its values, in units of `10^-decimals`.
struct Series {
    name: &'static str,
    /// None: any of them.
    service: Option<&'static str>,
    lowest: u64,
    highest: u64,
    decimals: u32,
}

const SERIES: [Series; 6] = [
    Series { name: "checkout.error_rate", service: Some("checkout"), lowest: 0, highest: 500, decimals: 4 },
    Series { name: "checkout.latency_ms", service: Some("checkout"), lowest: 2_000, highest: 40_000, decimals: 2 },
    Series { name: "payment.success_rate", service: Some("payment"), lowest: 9_500, highest: 10_000, decimals: 4 },
    Series { name: "api.requests", service: None, lowest: 10, highest: 2_000, decimals: 1 },
    Series { name: "cpu.usage", service: None, lowest: 50, highest: 950, decimals: 3 },
    Series { name: "memory.used_bytes", service: None, lowest: 1 << 28, highest: 1 << 32, decimals: 0 },
];

pub(super) fn write(row: &RowShape, draw: &mut Draw, key: &mut Vec<u8>, out: &mut Vec<u8>) {
    let series = draw.pick(&SERIES);
    put(key, series.name);
    out.push(b'{');
    if !row.is_bad(BadKind::MissingField) {
        put(out, "\"name\":\"");
        put(out, series.name);
        put(out, "\",");
    }
    put(out, "\"value\":");
    let units = series.lowest + draw.below(series.highest - series.lowest + 1);
    if row.is_bad(BadKind::TextForNumber) {
        put(out, "\"a lot\"");
    } else {
        text::decimal(out, units, series.decimals);
    }
    put(out, ",\"labels\":{\"service\":\"");
    put(out, series.service.unwrap_or_else(|| *draw.pick(&SERVICES)));
    put(out, "\",\"region\":\"");
    let region = draw.pick(&REGIONS);
    put(out, region);
    put(out, "\",\"host\":\"host-");
    text::integer(out, draw.below(HOSTS));
    put(out, "\"},\"timestamp\":\"");
    put_time(out, row.event_time_us);
    put(out, "\"}");
}
