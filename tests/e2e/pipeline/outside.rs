//! What readers of the dead-letter topic, of Redis and of Iceberg see.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, ensure};
use arrow::compute::kernels::cast_utils::string_to_timestamp_nanos;
use ebap_tests::{Stack, kafka::Kafka};
use redis::AsyncTypedCommands;

use super::{
    batch::{Answer, Key, Value, cents},
    events::Topic,
};

/// Keys asked for at once.
const SCAN_KEYS: usize = 1_000;

/// Exactly the bad records of the topic, byte for byte, each once.
pub(super) fn dead_letters_are_the_bad_records(kafka: &Kafka, dead_letters: &str, topic: &Topic) -> anyhow::Result<()> {
    let mut found: Vec<_> =
        kafka.read_committed(dead_letters)?.into_iter().map(|letter| (letter.key, letter.value)).collect();
    let mut expected: Vec<_> = topic.bad.iter().map(|record| (record.key.clone(), record.value.clone())).collect();
    found.sort();
    expected.sort();
    ensure!(!expected.is_empty(), "the generator was asked for bad records and made none");
    ensure!(found.len() == expected.len(), "{} dead letters, {} bad records", found.len(), expected.len());
    ensure!(found == expected, "a dead letter differs from its record");
    Ok(())
}

/// Every hash below the prefix, as a row of the view.
pub(super) async fn answer_of_redis(url: &str, prefix: &str) -> anyhow::Result<Answer> {
    let client = redis::Client::open(url).context("the address of Redis")?;
    let mut connection = client.get_multiplexed_async_connection().await.context("connect to Redis")?;
    let mut keys = BTreeSet::new();
    let mut cursor = 0_u64;
    loop {
        let mut scan = redis::cmd("SCAN");
        scan.arg(cursor).arg("MATCH").arg(format!("{prefix}*")).arg("COUNT").arg(SCAN_KEYS);
        let (next, found): (u64, Vec<String>) = scan.query_async(&mut connection).await.context("SCAN")?;
        keys.extend(found);
        cursor = next;
        if cursor == 0 {
            break;
        }
    }
    let mut answer = Answer::new();
    for key in keys {
        let hash = connection.hgetall(&key).await.context("HGETALL")?;
        let (at, value) = row(&hash.into_iter().collect()).with_context(|| key.clone())?;
        ensure!(answer.insert(at, value).is_none(), "{key} holds the row of another key");
    }
    Ok(answer)
}

fn row(hash: &BTreeMap<String, String>) -> anyhow::Result<(Key, Value)> {
    let field = |name: &str| hash.get(name).with_context(|| format!("no field {name}"));
    let time_us = |name: &str| anyhow::Ok(string_to_timestamp_nanos(field(name)?)?.div_euclid(1_000));
    let key =
        (time_us("window_start")?, time_us("window_end")?, hash.get("platform").cloned(), field("action")?.clone());
    let revenue = hash.get("revenue").map(|text| text.parse::<f64>()).transpose()?;
    let value = Value { events: field("events")?.parse()?, users: field("users")?.parse()?, cents: revenue.map(cents) };
    Ok((key, value))
}

/// All decodable rows, late ones included, each once, as Trino reads them.
pub(super) fn iceberg_has_each_row_once(stack: &Stack, table: &str, topic: &Topic) -> anyhow::Result<()> {
    let sql = format!("SELECT count(*), count(DISTINCT id) FROM iceberg.{table}");
    let ids: BTreeSet<_> = topic.events.iter().map(|event| event.id).collect();
    let expected = vec![vec![topic.events.len().to_string(), ids.len().to_string()]];
    let found = stack.trino(&sql)?;
    ensure!(found == expected, "Trino counts rows and ids {found:?}, the topic has {expected:?}");

    let sql = format!(
        "SELECT coalesce(platform, ''), action, count(*), count(DISTINCT user_id), CAST(round(sum(metadata.amount) * 100) AS BIGINT)
         FROM iceberg.{table} GROUP BY 1, 2 ORDER BY 1, 2"
    );
    let mut groups: BTreeMap<(&str, &str), (u64, BTreeSet<&str>, i64)> = BTreeMap::new();
    for event in &topic.events {
        let group = groups.entry((event.platform.as_deref().unwrap_or_default(), &event.action)).or_default();
        group.0 += 1;
        group.1.insert(&event.user);
        group.2 += event.amount.map_or(0, cents);
    }
    let expected: Vec<Vec<String>> = groups
        .iter()
        .map(|((platform, action), (count, users, cents))| {
            vec![
                platform.to_string(),
                action.to_string(),
                count.to_string(),
                users.len().to_string(),
                cents.to_string(),
            ]
        })
        .collect();
    let found = stack.trino(&sql)?;
    ensure!(found == expected, "Trino groups differ: {found:?} and {expected:?}");
    Ok(())
}
