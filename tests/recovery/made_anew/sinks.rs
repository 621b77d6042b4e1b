//! Sinks that are made again with their view and its stream: in Redis and at the keys of a topic there is what the view
//! has now, also where the stream is shorter than before, and where the server begins from nothing.

use std::{collections::BTreeMap, sync::Arc};

use anyhow::{Context, ensure};
use ebap_tests::{Ebap, Service, kafka::Kafka, rows};
use redis::AsyncTypedCommands;

use super::{Feed, Services, event, rounds};
use crate::options;

const PREFIX: &str = "ebap:anew:";
const TOPIC: &str = "made-anew";
/// Kafka takes seconds where others take none.
const ROUNDS_PART: u64 = 3;

pub(crate) async fn sinks_made_anew_have_the_whole_view(services: Arc<Services>) -> anyhow::Result<()> {
    let (bootstrap, url) = services.started(&[Service::Redis, Service::Kafka]).await?;
    let kafka = Kafka::new(bootstrap.clone());
    let redis = redis::Client::open(url.as_str()).context("the address of Redis")?;
    let mut redis = redis.get_multiplexed_async_connection().await.context("connect to Redis")?;
    let folder = tempfile::tempdir().context("a folder for files")?;
    let mut feeds = [Feed::new(folder.path(), "long", event)?, Feed::new(folder.path(), "short", event)?];
    feeds[0].append(200)?;
    feeds[1].append(50)?;
    let stream = |feed: &Feed| {
        format!(
            "CREATE STREAM a (n BIGINT NOT NULL, k TEXT NOT NULL, v BIGINT NOT NULL, at TIMESTAMPTZ NOT NULL)
             WITH (connector = 'file', path = '{}', format = 'json', follow = 'true')",
            feed.path.display()
        )
    };
    let sinks = [
        format!("CREATE SINK hot FROM v WITH (connector = 'redis', url = '{url}', key = '{PREFIX}{{k}}')"),
        format!(
            "CREATE SINK topic FROM v WITH (connector = 'kafka', bootstrap_servers = '{bootstrap}', topic = '{TOPIC}')"
        ),
    ];
    let mut data = tempfile::tempdir().context("a data directory")?;
    let mut ebap = Ebap::start_with(options(&data)).await?;
    let mut client = ebap.connect().await?;
    for round in 0..rounds().div_ceil(ROUNDS_PART) {
        match round % 4 {
            1 => {
                let (killed, _) = tokio::join!(async { ebap.kill() }, client.simple_query("DROP SINK topic"));
                killed?;
                ebap.start_again().await?;
                client = ebap.connect().await?;
            }
            3 => {
                ebap.kill()?;
                data = tempfile::tempdir().context("a data directory")?;
                ebap = Ebap::start_with(options(&data)).await?;
                client = ebap.connect().await?;
            }
            _ => {}
        }
        let feed = &mut feeds[usize::from(round % 4 >= 2)];
        feed.append(1)?;
        // Other numbers at the same keys each time, greater ones and smaller ones.
        let view = format!(
            "CREATE MATERIALIZED VIEW v AS SELECT k, count(*) AS c, sum(v) AS s FROM a WHERE n % 5 <> {} GROUP BY k",
            round % 5
        );
        let drop = "DROP STREAM IF EXISTS a CASCADE";
        rows::execute(&client, &[drop, &stream(feed), &view, &sinks[0], &sinks[1]]).await?;
        feed.append(1)?;
        rows::execute(&client, &["FLUSH"]).await?;
        let shown = rows::texts(&client, "SELECT k, c, s FROM v").await?;
        ensure!(shown.len() == 7, "round {round}: {} keys", shown.len());
        for row in &shown {
            let hash = redis.hgetall(format!("{PREFIX}{}", row[0])).await?;
            let found: Vec<String> =
                ["k", "c", "s"].iter().map(|field| hash.get(*field).cloned().unwrap_or_default()).collect();
            ensure!(*row == found, "round {round}, in Redis: {found:?} for {row:?}");
        }
        let newest: BTreeMap<_, _> =
            kafka.read_committed(TOPIC)?.into_iter().map(|record| (record.key, record.value)).collect();
        let mut found = Vec::new();
        for value in newest.into_values().flatten() {
            let value: serde_json::Value = serde_json::from_slice(&value).context("JSON of the sink")?;
            found.push(
                ["k", "c", "s"]
                    .map(|field| value[field].as_str().map_or(value[field].to_string(), str::to_owned))
                    .to_vec(),
            );
        }
        super::super::compare(&format!("round {round}, the topic"), &mut shown.clone(), &mut found)?;
        let odd = rows::texts(&client, "SELECT name, state, message FROM ebap.sinks WHERE state <> 'running'").await?;
        ensure!(odd.is_empty(), "round {round}: {odd:?}");
    }
    drop(data);
    Ok(())
}
