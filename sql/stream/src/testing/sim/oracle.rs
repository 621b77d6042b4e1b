//! The answer by another way: the script's records, the late log's decisions, and plain DataFusion
//! over one table in memory. Nothing of the loop is in it.

use std::{collections::BTreeMap, sync::Arc};

use arrow::{
    array::{ArrayRef, BooleanArray, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray},
    datatypes::{DataType, Field, Schema, TimeUnit},
    util::pretty::pretty_format_batches,
};
use datafusion::{
    datasource::MemTable,
    physical_plan::{ExecutionPlan, collect},
    prelude::SessionContext,
};
use ebap_connector::{EventTime, Position, SplitId};
use ebap_sql::{session_config, session_state};

use super::{
    cases::Case,
    script::{Row, SplitScript},
};
use crate::late_log::{LateRun, LateRuns};

/// The watermark a record was read under, as the log says; none where it was on time.
fn mark(runs: &[LateRun], offset: i64, row: &Row) -> Option<i64> {
    let run = runs.iter().find(|run| (run.start..run.end).contains(&offset))?;
    (row.time_us < run.watermark).then_some(run.watermark)
}

/// Good records below the position, each with its split and the watermark it was late under.
pub(super) fn rows<'a>(
    splits: &'a [SplitScript],
    position: &'a Position,
    late: &'a LateRuns,
) -> impl Iterator<Item = (&'a SplitScript, i64, &'a Row, Option<i64>)> {
    let below = splits.iter().flat_map(move |split| {
        let id = SplitId::new(split.name.as_str());
        let end = position.get(&id).map_or(0, |offset| offset.0);
        let runs: &[LateRun] = late.get(&id).map_or(&[], Vec::as_slice);
        let records = split.records.iter().take_while(move |record| record.offset < end);
        records.map(move |record| (split, runs, record))
    });
    below.filter_map(|(split, runs, record)| {
        let row = record.row.as_ref()?;
        Some((split, record.offset, row, mark(runs, record.offset, row)))
    })
}

/// The rows of the stream with their lateness, as a table of them.
pub(super) fn table(splits: &[SplitScript], position: &Position, late: &LateRuns) -> RecordBatch {
    let time = || DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into()));
    let schema = Schema::new(vec![
        Field::new("id", DataType::Int64, false),
        Field::new("region", DataType::Utf8, true),
        Field::new("amount", DataType::Int64, true),
        Field::new("timestamp", time(), false),
        Field::new("_late", DataType::Boolean, false),
        Field::new("_watermark", time(), true),
    ]);
    let all: Vec<(&Row, Option<i64>)> = rows(splits, position, late).map(|(_, _, row, mark)| (row, mark)).collect();
    let times = TimestampMicrosecondArray::from_iter_values(all.iter().map(|(row, _)| row.time_us));
    let marks: TimestampMicrosecondArray = all.iter().map(|(_, mark)| *mark).collect();
    let columns: Vec<ArrayRef> = vec![
        Arc::new(all.iter().map(|(row, _)| Some(row.id)).collect::<Int64Array>()),
        Arc::new(all.iter().map(|(row, _)| row.region).collect::<StringArray>()),
        Arc::new(all.iter().map(|(row, _)| row.amount).collect::<Int64Array>()),
        Arc::new(times.with_timezone("+00:00")),
        Arc::new(all.iter().map(|(_, mark)| Some(mark.is_some())).collect::<BooleanArray>()),
        Arc::new(marks.with_timezone("+00:00")),
    ];
    RecordBatch::try_new(Arc::new(schema), columns).expect("columns as the schema says")
}

/// The answers of a view's batch queries at this moment of the stream.
pub(super) async fn answers(
    case: &Case,
    splits: &[SplitScript],
    position: &Position,
    late: &LateRuns,
    watermark: EventTime,
) -> Vec<String> {
    let batch = table(splits, position, late);
    let mut out = Vec::new();
    for (_, sql) in case.compare {
        // Before the first watermark nothing has closed.
        let watermark = watermark.0.max(0);
        let sql = sql.replace("{watermark}", &format!("to_timestamp_micros({watermark})"));
        out.push(ask(&BTreeMap::from([("events", vec![batch.clone()])]), &sql).await);
    }
    out
}

/// How a view answers its own queries, from the rows that readers saw.
pub(super) async fn shown(case: &Case, rows: Arc<dyn ExecutionPlan>) -> Vec<String> {
    let schema = rows.schema();
    let mut batches = collect(rows, SessionContext::new().task_ctx()).await.expect("rows in memory");
    if batches.is_empty() {
        batches.push(RecordBatch::new_empty(schema));
    }
    let mut out = Vec::new();
    for (sql, _) in case.compare {
        let sql = sql.replace("{view}", case.name);
        out.push(ask(&BTreeMap::from([(case.name, batches.clone())]), &sql).await);
    }
    out
}

/// What a query gives over these tables, as text; nothing where there are no rows.
pub(super) async fn ask(tables: &BTreeMap<&str, Vec<RecordBatch>>, sql: &str) -> String {
    let rows = rows_of(tables, sql).await;
    if rows.iter().all(|batch| batch.num_rows() == 0) {
        return String::new();
    }
    pretty_format_batches(&crate::testing::query::readable(&rows)).expect("it prints").to_string()
}

pub(super) async fn rows_of(tables: &BTreeMap<&str, Vec<RecordBatch>>, sql: &str) -> Vec<RecordBatch> {
    let context = SessionContext::new_with_state(session_state(session_config(), Arc::default()));
    for (name, batches) in tables {
        let table = MemTable::try_new(batches[0].schema(), vec![batches.clone()]).expect("batches of one schema");
        context.register_table(datafusion::sql::TableReference::bare(*name), Arc::new(table)).expect("a free name");
    }
    let frame = crate::testing::query::frame(&context, sql).await.expect("the oracle's query plans");
    frame.collect().await.expect("it runs")
}

/// The first line in which two answers differ, for a message.
pub(super) fn difference(shown: &str, wanted: &str) -> Option<String> {
    if shown == wanted {
        return None;
    }
    let mut pairs = shown.lines().zip(wanted.lines());
    let line = pairs.find(|(shown, wanted)| shown != wanted);
    let (rows, expected) = (shown.lines().count(), wanted.lines().count());
    Some(match line {
        Some((shown, wanted)) => format!("shown {shown:?}, wanted {wanted:?} ({rows} and {expected} lines)"),
        None => format!("{rows} and {expected} lines"),
    })
}
