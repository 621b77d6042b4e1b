//! What a sink writes to a topic, as a stream of the same columns reads it, and what `ALTER` and `DROP` leave there.

use std::{collections::BTreeMap, sync::Arc};

use anyhow::{Context, ensure};
use ebap_tests::{Ebap, kafka::Kafka, rows, wait};

use crate::pipeline::Shared;

const COLUMNS: &str = "b BOOLEAN, i2 SMALLINT, i4 INT, i8 BIGINT, f4 REAL, f8 DOUBLE, n DECIMAL(30, 4), t TEXT, u UUID, d DATE,
    ts TIMESTAMP, tz TIMESTAMPTZ NOT NULL, by BYTEA, s STRUCT<a BIGINT, b STRUCT<c TEXT>>, l BIGINT[], m MAP<TEXT, BIGINT>, j JSON";

pub(crate) async fn what_is_written_is_read_again_as_it_was(shared: Arc<Shared>) -> anyhow::Result<()> {
    let (bootstrap, registry) = shared.registry().await?;
    let ebap = Ebap::start().await?;
    let client = ebap.connect().await?;
    let connection = format!(
        "CREATE CONNECTION kafka_main TO KAFKA (bootstrap_servers = '{bootstrap}', schema_registry = '{registry}')"
    );
    let written = format!(
        "CREATE STREAM written ({COLUMNS}) WITH (connector = 'file', path = 'fixtures/types.jsonl', format = 'json')"
    );
    rows::execute(&client, &[&connection, &written]).await?;
    let sorted = async |from: &str| {
        let mut rows = rows::texts(&client, &format!("SELECT * FROM {from}")).await?;
        rows.sort();
        anyhow::Ok(rows)
    };
    for format in ["json", "avro"] {
        let with = format!("WITH (connection = kafka_main, topic = 'types-{format}', format = '{format}', ");
        let sink = format!("CREATE SINK types_{format} FROM written {with} key = 'i8, tz')");
        let again = format!("CREATE STREAM again_{format} ({COLUMNS}) {with} start = 'earliest')");
        rows::execute(&client, &[&sink, "FLUSH", &again, "FLUSH"]).await?;
        let (written, again) = (sorted("written").await?, sorted(&format!("again_{format}")).await?);
        ensure!(!written.is_empty() && written == again, "{format}: {written:?} was written, {again:?} read");
        let bad = rows::texts(&client, &format!("SELECT reason FROM \"again_{format}$dlq\"")).await?;
        ensure!(bad.is_empty(), "{format}: a record is no row: {bad:?}");
    }
    // A reader that knows nothing but the registry has the columns of the sink.
    let all = "CREATE STREAM described WITH (connection = kafka_main, topic = 'types-avro', format = 'avro')";
    rows::execute(&client, &[all, "FLUSH"]).await?;
    let shown = rows::texts(&client, "SHOW CREATE STREAM described").await?.concat().concat();
    for column in
        ["i2 INTEGER", "n NUMERIC(30, 4)", "tz TIMESTAMPTZ", "s STRUCT<a BIGINT, b STRUCT<c TEXT>>", "l BIGINT[]"]
    {
        ensure!(shown.contains(column), "{column} in {shown}");
    }
    // The same columns by another sink are the same schema; one that does not fit what is there is refused.
    rows::execute(
        &client,
        &["CREATE MATERIALIZED VIEW narrow AS SELECT t AS tz, count(*) AS n FROM written GROUP BY t"],
    )
    .await?;
    let wrong = "CREATE SINK wrong FROM narrow
        WITH (connection = kafka_main, topic = 'narrow', subject = 'types-avro-value', format = 'avro')";
    rows::execute(&client, &[wrong]).await?;
    let look = "SELECT message FROM ebap.sinks WHERE name = 'wrong' AND state = 'failed'";
    let message = wait::until("the sink says what the registry does not take", wait::PATIENCE, async || {
        Ok(rows::texts(&client, look).await?.concat().pop())
    })
    .await?;
    ensure!(message.starts_with("schema registry 127.0.0.1:") && message.contains("ncompatible"), "{message}");
    Ok(())
}

/// By key the last value there is; none where it is a tombstone.
fn held(kafka: &Kafka, topic: &str) -> anyhow::Result<BTreeMap<String, String>> {
    let mut held = BTreeMap::new();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).context("text");
    for record in kafka.read_committed(topic)? {
        let key = text(record.key.context("a key")?)?;
        match record.value {
            Some(value) => held.insert(key, text(value)?),
            None => held.remove(&key),
        };
    }
    Ok(held)
}

pub(crate) async fn a_topic_follows_its_view_whatever_alter_says(shared: Arc<Shared>) -> anyhow::Result<()> {
    let bootstrap = shared.kafka().await?;
    let kafka = Kafka::new(bootstrap.clone());
    let ebap = Ebap::start().await?;
    let client = ebap.connect().await?;
    kafka.create_topic("digits-in", 1).await?;
    let stream = format!(
        "CREATE STREAM digits_in (id BIGINT NOT NULL) WITH (connector = 'kafka', bootstrap_servers = '{bootstrap}', topic = 'digits-in')"
    );
    let sink = format!(
        "CREATE SINK digits FROM totals WITH (connector = 'kafka', bootstrap_servers = '{bootstrap}', topic = 'digits')"
    );
    let view = "CREATE MATERIALIZED VIEW totals AS SELECT id % 3 AS digit, count(*) AS n FROM digits_in
                GROUP BY id % 3 HAVING count(*) < 3";
    let produce = |ids: &[i64]| {
        let values: Vec<String> = ids.iter().map(|id| format!(r#"{{"id":{id}}}"#)).collect();
        kafka.produce("digits-in", 0, values.iter().map(String::as_str))
    };
    let follows = async |records: usize| {
        rows::execute(&client, &["FLUSH"]).await?;
        let view = rows::texts(&client, "SELECT digit, n FROM totals ORDER BY digit").await?;
        let expected = view
            .into_iter()
            .map(|row| (format!(r#"{{"digit":{}}}"#, row[0]), format!(r#"{{"digit":{},"n":{}}}"#, row[0], row[1])));
        let (expected, found) = (expected.collect::<BTreeMap<_, _>>(), held(&kafka, "digits")?);
        ensure!(found == expected, "{found:?} in the topic, {expected:?} in the view");
        let there = kafka.read_committed("digits")?.len();
        ensure!(there == records, "{there} records, {records} expected");
        anyhow::Ok(())
    };
    produce(&[0, 1])?;
    rows::execute(&client, &[&stream, view, &sink]).await?;
    follows(2).await?;
    // An update is one record.
    produce(&[4])?;
    follows(3).await?;
    // What changed while it was paused is one record more, and a row that went a tombstone.
    rows::execute(&client, &["ALTER SINK digits PAUSE"]).await?;
    produce(&[7, 2])?;
    rows::execute(&client, &["FLUSH", "ALTER SINK digits RESUME"]).await?;
    follows(5).await?;
    rows::execute(&client, &["ALTER SINK digits REBUILD"]).await?;
    follows(5).await?;
    // What it wrote stays, and the next one of its name goes on from there.
    rows::execute(&client, &["DROP SINK digits", &sink]).await?;
    follows(5).await
}
