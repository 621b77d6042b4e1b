//! The batch answers to t1, t3 and d1: plain DataFusion over the same topic, decoded with arrow-json.
//!
//! Sums are compared in whole cents, as floats added in another order differ in the last bits. The file
//! is also what `benchmarks/peers` compares the other engines with.

use std::{collections::BTreeMap, fs, path::Path, sync::Arc};

use anyhow::{Context, ensure};
use arrow::{
    array::{Array, AsArray, RecordBatch, StringArray},
    datatypes::{DataType, Int64Type},
};
use datafusion::{datasource::MemTable, prelude::SessionContext};
use serde::{Deserialize, Serialize};

use crate::{
    bench::Bench,
    ceiling::{JsonDecoder, needed_by_all},
    consumer::Pass,
    events::FLUSH_REGION,
    topic,
};

/// Name of a size in the file, and as SQL.
pub(crate) const SIZES: [(&str, &str); 3] = [("1m", "1 minute"), ("5m", "5 minutes"), ("1h", "1 hour")];

/// Start of the window in milliseconds, region, action, rows, cents.
type WindowRow = (i64, String, String, i64, i64);
/// Start of the window in milliseconds, region, action.
pub(crate) type WindowKey = (i64, String, String);
/// Rows and cents of each window and key.
pub(crate) type Windows = BTreeMap<WindowKey, (i64, i64)>;
/// Distinct users of each one-minute window and region.
pub(crate) type Users = BTreeMap<(i64, String), i64>;

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Expected {
    /// Without the flush records.
    pub(crate) events: u64,
    /// By size.
    windows: BTreeMap<String, Vec<WindowRow>>,
    /// `[start ms, region, distinct users]` each.
    users: Vec<(i64, String, i64)>,
}

impl Expected {
    pub(crate) fn windows(&self, size: &str) -> Windows {
        let rows = self.windows.get(size).into_iter().flatten().cloned();
        rows.map(|(start, region, action, rows, cents)| ((start, region, action), (rows, cents))).collect()
    }

    pub(crate) fn users(&self) -> Users {
        self.users.iter().cloned().map(|(start, region, users)| ((start, region), users)).collect()
    }
}

/// Fills the topic and writes the file.
pub(crate) async fn run(bench: &Bench) -> anyhow::Result<()> {
    let expected = of(bench).await?;
    let rows: usize = expected.windows.values().map(Vec::len).sum();
    let figures =
        serde_json::json!({ "events": expected.events, "window_rows": rows, "user_rows": expected.users.len() });
    bench.report("batch", "topic", figures)
}

/// The answers from `--expected`, or computed now and kept there.
pub(crate) async fn of(bench: &Bench) -> anyhow::Result<Expected> {
    topic::ensure_events(bench).await?;
    if let Some(file) = bench.args.expected.as_deref().filter(|file| file.is_file()) {
        let text = fs::read_to_string(file).with_context(|| file.display().to_string())?;
        let expected: Expected = serde_json::from_str(&text).with_context(|| file.display().to_string())?;
        ensure!(expected.events == bench.args.rows(), "{} is of another topic: delete it", file.display());
        return Ok(expected);
    }
    let expected = compute(bench).await?;
    ensure!(expected.events == bench.args.rows(), "the topic holds {} events", expected.events);
    if let Some(file) = &bench.args.expected {
        write(&expected, file)?;
    }
    Ok(expected)
}

fn write(expected: &Expected, file: &Path) -> anyhow::Result<()> {
    // A run that is interrupted leaves no half of a file under the name.
    let partly = file.with_extension("partly");
    fs::write(&partly, serde_json::to_vec(expected)?).with_context(|| partly.display().to_string())?;
    fs::rename(&partly, file).with_context(|| file.display().to_string())
}

async fn compute(bench: &Bench) -> anyhow::Result<Expected> {
    let (mut batches, mut decoder) = (Vec::new(), JsonDecoder::new(needed_by_all())?);
    Pass::open(&bench.bootstrap, &bench.args.topic)?.read(|value| decoder.push(value, |batch| batches.push(batch)))?;
    decoder.finish(|batch| batches.push(batch))?;
    let context = SessionContext::new();
    let table = MemTable::try_new(needed_by_all(), vec![batches]).context("a table of the topic")?;
    context.register_table("raw", Arc::new(table)).context("a table of the topic")?;
    let events = format!(
        "CREATE VIEW events AS SELECT user_id, action, metadata['region'] AS region, timestamp AS at,
            CAST(metadata['amount'] * 100 + 0.5 AS BIGINT) AS cents
         FROM raw WHERE metadata['region'] <> '{FLUSH_REGION}'"
    );
    context.sql(&events).await.context("a view of the events")?.collect().await?;
    let mut windows = BTreeMap::new();
    for (name, size) in SIZES {
        let sql = format!(
            "SELECT to_unixtime(date_bin(INTERVAL '{size}', at)) * 1000, region, action, count(*), sum(cents)
             FROM events GROUP BY 1, 2, 3 ORDER BY 1, 2, 3"
        );
        let rows = rows(&context, &sql, 2).await?;
        let rows = rows.into_iter().map(|(numbers, texts)| {
            let [region, action] = <[String; 2]>::try_from(texts).unwrap_or_default();
            (numbers[0], region, action, numbers[1], numbers[2])
        });
        windows.insert(name.to_owned(), rows.collect::<Vec<_>>());
    }
    let sql = "SELECT to_unixtime(date_bin(INTERVAL '1 minute', at)) * 1000, region, count(DISTINCT user_id)
        FROM events GROUP BY 1, 2 ORDER BY 1, 2";
    let users = rows(&context, sql, 1).await?;
    let users = users.into_iter().map(|(numbers, texts)| (numbers[0], texts.concat(), numbers[1])).collect();
    let events = windows.get("1m").map_or(0, |rows| rows.iter().map(|row| row.3.unsigned_abs()).sum());
    Ok(Expected { events, windows, users })
}

/// Each row's numbers and texts, where the first column is a number, then come `texts` texts, then numbers.
async fn rows(context: &SessionContext, sql: &str, texts: usize) -> anyhow::Result<Vec<(Vec<i64>, Vec<String>)>> {
    let batches: Vec<RecordBatch> = context.sql(sql).await.context("the batch answer")?.collect().await?;
    let mut rows = Vec::new();
    for batch in &batches {
        let text = |at: usize| -> anyhow::Result<StringArray> {
            let column = arrow::compute::cast(batch.column(at), &DataType::Utf8)?;
            Ok(column.as_string::<i32>().clone())
        };
        let (text_columns, number_columns) = (1..=texts, (0..1).chain(texts + 1..batch.num_columns()));
        let text_columns = text_columns.map(text).collect::<anyhow::Result<Vec<_>>>()?;
        let number_columns: Vec<_> =
            number_columns.map(|at| batch.column(at).as_primitive::<Int64Type>().clone()).collect();
        for row in 0..batch.num_rows() {
            ensure!(number_columns.iter().all(|column| column.is_valid(row)), "a null in {sql}");
            let numbers = number_columns.iter().map(|column| column.value(row)).collect();
            rows.push((numbers, text_columns.iter().map(|column| column.value(row).to_owned()).collect()));
        }
    }
    Ok(rows)
}

/// Says in which way an answer is not the right one.
pub(crate) fn differences<K: Ord + std::fmt::Debug, V: PartialEq + std::fmt::Debug>(
    got: &BTreeMap<K, V>,
    wanted: &BTreeMap<K, V>,
) -> Option<String> {
    let wrong = wanted.iter().find(|(key, value)| got.get(key) != Some(value));
    let extra = got.keys().find(|key| !wanted.contains_key(key));
    match (wrong, extra) {
        (None, None) => None,
        (Some((key, value)), _) => Some(format!("{key:?} should be {value:?} and is {:?}", got.get(key))),
        (None, Some(key)) => Some(format!("{key:?} should not be there")),
    }
}
