//! What the tables of schema `ebap` say, as Prometheus reads it.
//!
//! Made when it is asked for, so that a job that was dropped is gone here too. What happens between two
//! looks (records, checkpoints) is counted where it happens, by the recorder.

use std::{collections::BTreeMap, fmt::Write};

use arrow::{
    array::{Array, ArrayRef, AsArray, RecordBatch},
    compute::cast,
    datatypes::{DataType, Float64Type},
};
use ebap_stream::Engine;

struct Metric {
    table: &'static str,
    column: &'static str,
    name: &'static str,
    /// One more label, where several columns are one metric.
    label: Option<(&'static str, &'static str)>,
    /// From the unit of the table to that of Prometheus.
    factor: f64,
    help: &'static str,
}

const fn metric(
    (table, column): (&'static str, &'static str),
    name: &'static str,
    factor: f64,
    help: &'static str,
) -> Metric {
    Metric { table, column, name, label: None, factor, help }
}

const fn left_out(reason: &'static str) -> Metric {
    let label = Some(("reason", reason));
    let (name, help) = ("ebap_sink_left_out_rows_total", "Rows that are not outside although the sink went on");
    Metric { table: "sinks", column: reason, name, label, factor: 1.0, help }
}

const fn records(outcome: &'static str) -> Metric {
    let label = Some(("outcome", outcome));
    let (name, help) = ("ebap_accounting_records_total", "Where every record of a job went");
    Metric { table: "accounting", column: outcome, name, label, factor: 1.0, help }
}

/// Those of one name stand together.
const METRICS: [Metric; 22] = [
    metric(("jobs", "epoch"), "ebap_job_epoch", 1.0, "Newest durable epoch"),
    metric(("jobs", "rows"), "ebap_job_rows", 1.0, "Rows of the view or table"),
    metric(("jobs", "groups"), "ebap_job_groups", 1.0, "Groups of open windows"),
    metric(("jobs", "memory_bytes"), "ebap_job_memory_bytes", 1.0, "State and rows"),
    metric(("jobs", "lag"), "ebap_job_lag_records", 1.0, "Records the source has and the job has not read"),
    metric(("jobs", "progress"), "ebap_job_progress_ratio", 0.01, "Of a catch-up; 1 where it has joined"),
    metric(("jobs", "watermark"), "ebap_job_watermark_seconds", 1e-6, "Watermark, since 1970"),
    metric(
        ("jobs", "backpressure_ms"),
        "ebap_job_backpressure_seconds_total",
        1e-3,
        "Time its sinks were too slow for it",
    ),
    metric(("splits", "offset"), "ebap_split_offset", 1.0, "Offset of the next record"),
    metric(("splits", "lag"), "ebap_split_lag_records", 1.0, "Records of the split that are not read"),
    metric(("splits", "future_rows"), "ebap_split_future_rows_total", 1.0, "Rows too far ahead of the clock"),
    metric(("splits", "watermark"), "ebap_split_watermark_seconds", 1e-6, "Watermark of the split, since 1970"),
    metric(
        ("sinks", "backpressure_ms"),
        "ebap_sink_backpressure_seconds_total",
        1e-3,
        "Time it was too slow for its job",
    ),
    left_out("refused"),
    left_out("skipped"),
    records("consumed"),
    records("emitted"),
    records("late"),
    records("dead_lettered"),
    records("filtered"),
    records("failed"),
    records("missed"),
];

/// Of an alert.
const STATES: [&str; 3] = ["normal", "pending", "firing"];

/// Text columns that say which row it is.
const LABELS: [(&str, &[&str]); 4] = [
    ("jobs", &["name", "kind", "source"]),
    ("splits", &["source", "split"]),
    ("sinks", &["name", "connector", "source"]),
    ("accounting", &["job", "source", "split"]),
];

/// In the text format of Prometheus. What cannot be read is left out.
pub(crate) fn render(engine: &Engine) -> String {
    let mut out = String::new();
    for (table, labels) in LABELS {
        let Ok(rows) = engine.system_rows(table) else { continue };
        let labels = labels_of(&rows, labels);
        let mut last = "";
        for metric in METRICS.iter().filter(|metric| metric.table == table) {
            let values = rows.column_by_name(metric.column).and_then(numbers);
            let Some(values) = values else { continue };
            if metric.name != last {
                let kind = if metric.name.ends_with("_total") { "counter" } else { "gauge" };
                let _ = writeln!(out, "# HELP {} {}\n# TYPE {} {kind}", metric.name, metric.help, metric.name);
                last = metric.name;
            }
            let more = metric.label.map(|(name, value)| format!(",{name}=\"{value}\"")).unwrap_or_default();
            for (labels, value) in labels.iter().zip(values) {
                if let Some(value) = value {
                    let _ = writeln!(out, "{}{{{labels}{more}}} {}", metric.name, value * metric.factor);
                }
            }
        }
        if table == "jobs" {
            states(&mut out, &rows, &labels);
        }
    }
    if let Ok(rows) = engine.system_rows("alerts") {
        alerts(&mut out, &rows);
    }
    out
}

/// How many keys of each alert are in each state; of an alert without keys nothing.
fn alerts(out: &mut String, rows: &RecordBatch) {
    let text = |name: &str| rows.column_by_name(name).map(|column| column.as_string::<i32>().clone());
    let (Some(names), Some(states)) = (text("name"), text("state")) else { return };
    let mut counts: BTreeMap<&str, [usize; 3]> = BTreeMap::new();
    for (name, state) in names.iter().zip(&states) {
        let at = STATES.iter().position(|known| Some(*known) == state);
        if let (Some(name), Some(at)) = (name, at) {
            counts.entry(name).or_default()[at] += 1;
        }
    }
    let _ = writeln!(out, "# HELP ebap_alert_keys Keys of the alert in this state\n# TYPE ebap_alert_keys gauge");
    for (name, counts) in counts {
        for (state, count) in STATES.iter().zip(counts) {
            let _ = writeln!(out, "ebap_alert_keys{{alert=\"{}\",state=\"{state}\"}} {count}", escaped(name));
        }
    }
}

fn states(out: &mut String, rows: &RecordBatch, labels: &[String]) {
    let Some(states) = rows.column_by_name("state") else { return };
    let _ = writeln!(out, "# HELP ebap_job_state What the job does, as a label\n# TYPE ebap_job_state gauge");
    for (labels, state) in labels.iter().zip(states.as_string::<i32>()) {
        let _ = writeln!(out, "ebap_job_state{{{labels},state=\"{}\"}} 1", escaped(state.unwrap_or_default()));
    }
}

/// Numbers as they are, times as microseconds.
fn numbers(column: &ArrayRef) -> Option<Vec<Option<f64>>> {
    let column = match column.data_type() {
        DataType::Timestamp(..) => cast(column, &DataType::Int64).ok()?,
        _ => std::sync::Arc::clone(column),
    };
    Some(cast(&column, &DataType::Float64).ok()?.as_primitive::<Float64Type>().iter().collect())
}

fn labels_of(rows: &RecordBatch, names: &[&str]) -> Vec<String> {
    let columns: Vec<_> = names.iter().filter_map(|name| Some((name, rows.column_by_name(name)?))).collect();
    let one = |row: usize| {
        let parts = columns.iter().map(|(name, column)| {
            let texts = column.as_string::<i32>();
            let value = if texts.is_valid(row) { texts.value(row) } else { "" };
            // As `jobs` has it: a metric of a job is found by the same label everywhere.
            let name = if **name == "name" { "job" } else { name };
            format!("{name}=\"{}\"", escaped(value))
        });
        parts.collect::<Vec<_>>().join(",")
    };
    (0..rows.num_rows()).map(one).collect()
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_is_escaped() {
        assert_eq!(escaped("a\"b\\c\nd"), "a\\\"b\\\\c\\nd");
    }
}
