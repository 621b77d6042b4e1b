//! The tables of schema `ebap`, made from what the pipelines say of themselves.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray},
    datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit},
};

use crate::{
    Result,
    alerts::{AlertInfo, AlertRow, State, Transition},
    status::Info,
};

pub(crate) const NAMES: [&str; 7] = ["accounting", "alert_history", "alerts", "checkpoints", "jobs", "sinks", "splits"];

fn text(name: &str) -> Field {
    Field::new(name, DataType::Utf8, true)
}

fn number(name: &str) -> Field {
    Field::new(name, DataType::Int64, true)
}

fn real(name: &str) -> Field {
    Field::new(name, DataType::Float64, true)
}

fn time(name: &str) -> Field {
    Field::new(name, DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into())), true)
}

pub(crate) fn schema(name: &str) -> Option<SchemaRef> {
    let fields = match name {
        "jobs" => vec![
            text("name"),
            text("kind"),
            text("source"),
            text("state"),
            number("epoch"),
            number("rows"),
            number("groups"),
            number("memory_bytes"),
            number("lag"),
            real("progress"),
            time("watermark"),
            real("backpressure_ms"),
            text("message"),
        ],
        "splits" => vec![
            text("source"),
            text("split"),
            number("offset"),
            number("end_offset"),
            number("lag"),
            time("watermark"),
            text("state"),
            text("error"),
            number("future_rows"),
            number("missed"),
        ],
        "accounting" => vec![
            text("job"),
            text("source"),
            text("split"),
            number("consumed"),
            number("emitted"),
            number("late"),
            number("dead_lettered"),
            number("filtered"),
            number("failed"),
            number("missed"),
        ],
        "checkpoints" => {
            vec![text("source"), number("epoch"), time("at"), real("duration_ms"), number("bytes")]
        }
        "sinks" => vec![
            text("name"),
            text("connector"),
            text("source"),
            text("state"),
            text("position"),
            real("backpressure_ms"),
            number("refused"),
            number("skipped"),
            text("message"),
        ],
        "alerts" => vec![
            text("name"),
            text("key"),
            text("state"),
            time("since"),
            real("value"),
            text("colour"),
            text("severity"),
            text("summary"),
            text("view"),
            time("last_transition"),
            time("silenced_until"),
            text("message"),
        ],
        "alert_history" => vec![
            text("name"),
            text("key"),
            text("from_state"),
            text("to_state"),
            time("at"),
            time("decided_at"),
            real("value"),
            text("reason"),
        ],
        _ => return None,
    };
    Some(Arc::new(Schema::new(fields)))
}

fn texts<T: AsRef<str>>(values: impl Iterator<Item = Option<T>>) -> ArrayRef {
    Arc::new(values.collect::<StringArray>())
}

fn numbers(values: impl Iterator<Item = Option<i64>>) -> ArrayRef {
    Arc::new(values.collect::<Int64Array>())
}

fn reals(values: impl Iterator<Item = Option<f64>>) -> ArrayRef {
    Arc::new(values.collect::<Float64Array>())
}

fn millis(us: i64) -> Option<f64> {
    Some(us as f64 / 1e3)
}

fn times(values: impl Iterator<Item = Option<i64>>) -> ArrayRef {
    let values = values.map(|value| value.filter(|value| *value != i64::MIN));
    Arc::new(values.collect::<TimestampMicrosecondArray>().with_timezone("+00:00"))
}

/// Rows of a system table, over all pipelines by name of their stream.
pub(crate) fn rows(name: &str, infos: &[(String, Info)]) -> Result<RecordBatch> {
    let columns = match name {
        "jobs" => jobs(infos),
        "splits" => splits(infos),
        "accounting" => accounting(infos),
        "checkpoints" => checkpoints(infos),
        "alerts" => alerts(infos),
        "alert_history" => alert_history(infos),
        _ => sinks(infos),
    };
    let schema = schema(name).unwrap_or_else(|| Arc::new(Schema::empty()));
    Ok(RecordBatch::try_new(schema, columns)?)
}

fn jobs(infos: &[(String, Info)]) -> Vec<ArrayRef> {
    let all: Vec<_> =
        infos.iter().flat_map(|(source, info)| info.jobs.iter().map(move |job| (source, info.epoch, job))).collect();
    vec![
        texts(all.iter().map(|(_, _, job)| Some(&job.name))),
        texts(all.iter().map(|(_, _, job)| Some(job.kind))),
        texts(all.iter().map(|(source, _, _)| Some(source))),
        texts(all.iter().map(|(_, _, job)| Some(&job.state))),
        numbers(all.iter().map(|(_, epoch, _)| Some(*epoch as i64))),
        numbers(all.iter().map(|(_, _, job)| job.rows.map(|rows| rows as i64))),
        numbers(all.iter().map(|(_, _, job)| job.groups.map(|groups| groups as i64))),
        numbers(all.iter().map(|(_, _, job)| job.memory_bytes.map(|bytes| bytes as i64))),
        numbers(all.iter().map(|(_, _, job)| job.lag.map(|lag| lag as i64))),
        reals(all.iter().map(|(_, _, job)| job.progress)),
        times(all.iter().map(|(_, _, job)| job.watermark)),
        reals(all.iter().map(|(_, _, job)| millis(job.behind_us))),
        texts(all.iter().map(|(_, _, job)| job.message.as_ref())),
    ]
}

fn splits(infos: &[(String, Info)]) -> Vec<ArrayRef> {
    let all: Vec<_> = infos
        .iter()
        .flat_map(|(source, info)| info.splits.iter().map(move |(split, one)| (source, split, one)))
        .collect();
    vec![
        texts(all.iter().map(|(source, _, _)| Some(source))),
        texts(all.iter().map(|(_, split, _)| Some(split.as_str()))),
        numbers(all.iter().map(|(_, _, one)| Some(one.offset))),
        numbers(all.iter().map(|(_, _, one)| one.end)),
        numbers(all.iter().map(|(_, _, one)| one.end.map(|end| end - one.offset))),
        times(all.iter().map(|(_, _, one)| one.watermark)),
        texts(all.iter().map(|(_, _, one)| Some(&one.state))),
        texts(all.iter().map(|(_, _, one)| one.error.as_ref())),
        numbers(all.iter().map(|(_, _, one)| Some(one.future as i64))),
        numbers(all.iter().map(|(_, _, one)| Some(one.missed as i64))),
    ]
}

fn accounting(infos: &[(String, Info)]) -> Vec<ArrayRef> {
    let jobs = infos.iter().flat_map(|(source, info)| info.jobs.iter().map(move |job| (source, job)));
    let all: Vec<_> = jobs
        .flat_map(|(source, job)| job.accounting.0.iter().map(move |(split, counts)| (source, job, split, counts)))
        .collect();
    let count = |pick: fn(&crate::accounting::Counts) -> u64| {
        numbers(all.iter().map(|(_, _, _, counts)| Some(pick(counts) as i64)))
    };
    vec![
        texts(all.iter().map(|(_, job, _, _)| Some(&job.name))),
        texts(all.iter().map(|(source, _, _, _)| Some(source))),
        texts(all.iter().map(|(_, _, split, _)| Some(split.as_str()))),
        count(|counts| counts.consumed),
        count(|counts| counts.emitted),
        count(|counts| counts.late),
        count(|counts| counts.dead_lettered),
        count(|counts| counts.filtered),
        count(|counts| counts.failed),
        count(|counts| counts.missed),
    ]
}

fn checkpoints(infos: &[(String, Info)]) -> Vec<ArrayRef> {
    let all: Vec<_> =
        infos.iter().flat_map(|(source, info)| info.checkpoints.iter().map(move |one| (source, one))).collect();
    vec![
        texts(all.iter().map(|(source, _)| Some(source))),
        numbers(all.iter().map(|(_, one)| Some(one.epoch as i64))),
        times(all.iter().map(|(_, one)| Some(one.at_us))),
        reals(all.iter().map(|(_, one)| Some(one.duration_us as f64 / 1e3))),
        numbers(all.iter().map(|(_, one)| Some(one.bytes as i64))),
    ]
}

fn alerts(infos: &[(String, Info)]) -> Vec<ArrayRef> {
    let alerts = infos.iter().flat_map(|(_, info)| &info.alerts);
    // One without keys is shown where nothing is decided.
    let rows = |alert: &AlertInfo| match alert.rows.is_empty() && alert.undecided {
        true => vec![None],
        false => alert.rows.iter().cloned().map(Some).collect(),
    };
    let all: Vec<(&AlertInfo, Option<AlertRow>)> =
        alerts.flat_map(|alert| rows(alert).into_iter().map(move |row| (alert, row))).collect();
    let state = |alert: &AlertInfo, row: &Option<AlertRow>| match row.as_ref().map(|row| row.state) {
        None | Some(State::Normal) if alert.undecided => ("unknown", "grey"),
        state => (state.unwrap_or_default().name(), state.unwrap_or_default().colour()),
    };
    let of = |pick: fn(&AlertRow) -> Option<i64>| times(all.iter().map(|(_, row)| row.as_ref().and_then(pick)));
    vec![
        texts(all.iter().map(|(alert, _)| Some(&alert.plan.name))),
        texts(all.iter().map(|(_, row)| Some(row.as_ref().map_or("{}", |row| row.key.as_str())))),
        texts(all.iter().map(|(alert, row)| Some(state(alert, row).0))),
        of(|row| row.since_us),
        reals(all.iter().map(|(_, row)| row.as_ref().and_then(|row| row.value))),
        texts(all.iter().map(|(alert, row)| Some(state(alert, row).1))),
        texts(all.iter().map(|(alert, _)| alert.plan.severity.as_ref())),
        texts(all.iter().map(|(_, row)| row.as_ref().and_then(|row| row.summary.as_ref()))),
        texts(all.iter().map(|(alert, _)| Some(&alert.plan.from_name))),
        of(|row| row.changed_us),
        times(all.iter().map(|(alert, _)| alert.plan.silenced_until_us)),
        texts(all.iter().map(|(alert, _)| alert.message.as_ref())),
    ]
}

fn alert_history(infos: &[(String, Info)]) -> Vec<ArrayRef> {
    let alerts = infos.iter().flat_map(|(_, info)| &info.alerts);
    let all: Vec<_> = alerts.flat_map(|alert| alert.history.iter().map(move |one| (&alert.plan.name, one))).collect();
    let reason = |one: &Transition| match (one.no_data, one.silenced) {
        (true, true) => "no data, silenced",
        (true, false) => "no data",
        (false, true) => "condition, silenced",
        (false, false) => "condition",
    };
    vec![
        texts(all.iter().map(|(name, _)| Some(name))),
        texts(all.iter().map(|(_, one)| Some(&one.key))),
        texts(all.iter().map(|(_, one)| Some(one.from.name()))),
        texts(all.iter().map(|(_, one)| Some(one.to.name()))),
        times(all.iter().map(|(_, one)| Some(one.at_us))),
        times(all.iter().map(|(_, one)| Some(one.decided_us))),
        reals(all.iter().map(|(_, one)| one.value)),
        texts(all.iter().map(|(_, one)| Some(reason(one)))),
    ]
}

fn sinks(infos: &[(String, Info)]) -> Vec<ArrayRef> {
    let all: Vec<_> = infos.iter().flat_map(|(source, info)| info.sinks.iter().map(move |one| (source, one))).collect();
    vec![
        texts(all.iter().map(|(_, one)| Some(&one.name))),
        texts(all.iter().map(|(_, one)| Some(&one.connector))),
        texts(all.iter().map(|(source, _)| Some(source))),
        texts(all.iter().map(|(_, one)| Some(&one.state))),
        texts(all.iter().map(|(_, one)| one.position.as_ref())),
        reals(all.iter().map(|(_, one)| millis(one.behind_us))),
        numbers(all.iter().map(|(_, one)| Some(one.left_out.refused as i64))),
        numbers(all.iter().map(|(_, one)| Some(one.left_out.skipped as i64))),
        texts(all.iter().map(|(_, one)| one.message.as_ref())),
    ]
}
