//! The answer as a DataFusion batch query gives it over the records of the topic, and as the view gives it.

use std::{collections::BTreeMap, sync::Arc};

use anyhow::Context;
use arrow::{
    array::{
        Array, ArrayRef, AsArray, Float64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
        types::{Float64Type, Int64Type, TimestampMicrosecondType},
    },
    datatypes::{DataType, Field, Schema, TimeUnit},
};
use datafusion::prelude::SessionContext;
use ebap_tests::rows;
use tokio_postgres::Client;

use super::events::{Event, Topic};

/// Window start and end in microseconds, platform, action.
pub(super) type Key = (i64, i64, Option<String>, String);

/// Events, users, and revenue in cents: sums of floats depend on their order, cents do not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Value {
    pub(super) events: i64,
    pub(super) users: i64,
    pub(super) cents: Option<i64>,
}

pub(super) type Answer = BTreeMap<Key, Value>;

const SIZES: [(&str, i64); 3] = [("1 minute", 60_000_000), ("5 minutes", 300_000_000), ("1 hour", 3_600_000_000)];

pub(super) fn cents(amount: f64) -> i64 {
    (amount * 100.0).round() as i64
}

/// `late` names the late rows; those that the smallest window no longer takes are left out.
pub(super) async fn batch_answer(topic: &Topic, late: &BTreeMap<(i32, i64), i64>) -> anyhow::Result<Answer> {
    let on_time: Vec<&Event> = topic.events.iter().filter(|event| !event.is_late(late)).collect();
    let context = SessionContext::new();
    context.register_batch("events", table(&on_time)?).context("register")?;
    let mut answer = Answer::new();
    for (size, size_us) in SIZES {
        let sql = format!(
            "SELECT arrow_cast(date_bin(INTERVAL '{size}', time), 'Timestamp(Microsecond, None)') AS window_start, platform, action, count(*) AS events,
                    count(DISTINCT user) AS users, sum(amount) AS revenue
             FROM events GROUP BY 1, 2, 3"
        );
        for batch in context.sql(&sql).await?.collect().await? {
            let start = batch.column(0).as_primitive::<TimestampMicrosecondType>();
            let (platform, action) = (batch.column(1).as_string::<i32>(), batch.column(2).as_string::<i32>());
            let (events, users) =
                (batch.column(3).as_primitive::<Int64Type>(), batch.column(4).as_primitive::<Int64Type>());
            let revenue = batch.column(5).as_primitive::<Float64Type>();
            for row in 0..batch.num_rows() {
                let platform = platform.is_valid(row).then(|| platform.value(row).to_owned());
                let key = (start.value(row), start.value(row) + size_us, platform, action.value(row).to_owned());
                let cents = revenue.is_valid(row).then(|| cents(revenue.value(row)));
                answer.insert(key, Value { events: events.value(row), users: users.value(row), cents });
            }
        }
    }
    Ok(answer)
}

fn table(events: &[&Event]) -> anyhow::Result<RecordBatch> {
    let schema = Schema::new(vec![
        Field::new("time", DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into())), false),
        Field::new("platform", DataType::Utf8, true),
        Field::new("action", DataType::Utf8, false),
        Field::new("user", DataType::Utf8, false),
        Field::new("amount", DataType::Float64, true),
    ]);
    let time = TimestampMicrosecondArray::from_iter_values(events.iter().map(|event| event.time_us));
    let columns: Vec<ArrayRef> = vec![
        Arc::new(time.with_timezone("+00:00")),
        Arc::new(events.iter().map(|event| event.platform.as_deref()).collect::<StringArray>()),
        Arc::new(StringArray::from_iter_values(events.iter().map(|event| &event.action))),
        Arc::new(StringArray::from_iter_values(events.iter().map(|event| &event.user))),
        Arc::new(events.iter().map(|event| event.amount).collect::<Float64Array>()),
    ];
    RecordBatch::try_new(Arc::new(schema), columns).context("a batch of the topic")
}

pub(super) async fn answer_of_view(client: &Client) -> anyhow::Result<Answer> {
    let sql = "SELECT window_start, window_end, platform, action, events, users, revenue FROM activity";
    let mut answer = Answer::new();
    for row in client.query(sql, &[]).await.context(sql)? {
        let key = (rows::micros(row.try_get(0)?), rows::micros(row.try_get(1)?), row.try_get(2)?, row.try_get(3)?);
        let cents = row.try_get::<_, Option<f64>>(6)?.map(cents);
        let before = answer.insert(key, Value { events: row.try_get(4)?, users: row.try_get(5)?, cents });
        anyhow::ensure!(before.is_none(), "the view has two rows for one window and key");
    }
    Ok(answer)
}
