//! The same for what is in Redis, where the server and Redis are killed in turn, and somebody reads meanwhile.
//!
//! Redis writes its append-only file here. One that loses its memory begins again from nothing, and then the versions
//! somebody sees do too.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use anyhow::{Context, ensure};
use ebap_tests::{Ebap, Service, Stack, rows};
use redis::{AsyncTypedCommands, aio::MultiplexedConnection};

use super::{ROWS, STREAM, compare, options, read_at_least, rows_before};

const PREFIX: &str = "ebap:recovery:";
/// Users who come and go again, and the ten most active of each platform.
const VIEWS: [&str; 2] = [
    "CREATE MATERIALIZED VIEW counts AS
     SELECT user_id, count(*) AS events, sum(CAST(round(metadata['amount'] * 100) AS BIGINT)) AS cents
     FROM events GROUP BY user_id",
    "CREATE MATERIALIZED VIEW actions AS SELECT metadata['platform'] AS platform, action, count(*) AS events
     FROM events GROUP BY metadata['platform'], action",
];
/// One restart of Redis for so many of the server, and at least three.
const KILLS_PER_RESTART: i64 = 4;
const RESTARTS_MIN: i64 = 3;
const KEYS_AT_ONCE: usize = 1_000;

pub(crate) async fn run(kills: i64) -> anyhow::Result<()> {
    let mut stack = Stack::new()?;
    stack.redis_keeps = true;
    stack.need(&[Service::Redis])?;
    let url = stack.redis_url();
    let data = tempfile::tempdir().context("a data directory")?;
    let mut ebap = Ebap::start_with(options(&data)).await?;
    let sinks = [
        format!(
            "CREATE SINK counts_hot FROM counts WITH (connector = 'redis', url = '{url}', key = '{PREFIX}user:{{user_id}}')"
        ),
        format!(
            "CREATE SINK actions_hot FROM actions WITH (connector = 'redis', url = '{url}', type = 'sorted set',
                key = '{PREFIX}top:{{platform}}', member = '{{action}}', score = 'events')"
        ),
    ];
    let client = ebap.connect().await?;
    rows::execute(&client, &[STREAM, VIEWS[0], VIEWS[1], &sinks[0], &sinks[1]]).await?;

    let ends = Arc::new(AtomicBool::new(false));
    let reader = tokio::spawn(read_until(Arc::clone(&ends), url.clone()));
    let restarts = (kills / KILLS_PER_RESTART).max(RESTARTS_MIN);
    let rounds = kills.max(restarts);
    for round in 1..=rounds {
        let client = ebap.connect().await?;
        let part = ROWS / (rounds + 2);
        let wanted = rows_before(round, rounds);
        read_at_least(&client, wanted).await?;
        if round * restarts / rounds > (round - 1) * restarts / rounds {
            stack.run(Service::Redis, &["kill"])?;
            stack.run(Service::Redis, &["start"])?;
            // The server that finds it again, and one that starts beside it.
            read_at_least(&client, (wanted + part / 2).min(ROWS)).await?;
        }
        if round <= kills {
            ebap.kill()?;
            ebap.start_again().await?;
        }
    }
    let client = ebap.connect().await?;
    read_at_least(&client, ROWS).await?;
    rows::execute(&client, &["FLUSH"]).await?;
    ends.store(true, Ordering::Relaxed);
    let (polls, keys) = reader.await.context("the reader")??;
    ensure!(polls > rounds.unsigned_abs() && keys > 0, "nobody has read anything: {polls} polls, {keys} keys");
    verify(&client, &mut connect(&url).await?).await
}

async fn connect(url: &str) -> anyhow::Result<MultiplexedConnection> {
    let client = redis::Client::open(url).context("the address of Redis")?;
    client.get_multiplexed_async_connection().await.context("connect to Redis")
}

/// Polls the versions of all keys: no key may go back. Gives how often it saw all of them, and how many.
async fn read_until(ends: Arc<AtomicBool>, url: String) -> anyhow::Result<(u64, usize)> {
    let mut seen: BTreeMap<String, u64> = BTreeMap::new();
    let mut polls = 0;
    while !ends.load(Ordering::Relaxed) {
        // While Redis is away there is nothing to see.
        let Ok(mut redis) = connect(&url).await else {
            tokio::task::yield_now().await;
            continue;
        };
        while !ends.load(Ordering::Relaxed) {
            let Ok(found) = versions(&mut redis).await else { break };
            for (key, version) in found {
                let last = seen.entry(key.clone()).or_default();
                ensure!(version >= *last, "{key} went back from version {last} to {version}");
                *last = version;
            }
            polls += 1;
        }
    }
    Ok((polls, seen.len()))
}

async fn versions(redis: &mut MultiplexedConnection) -> anyhow::Result<Vec<(String, u64)>> {
    let keys = keys(redis, &format!("{PREFIX}user:*")).await?;
    let mut found = Vec::new();
    for keys in keys.chunks(KEYS_AT_ONCE) {
        let mut pipeline = redis::pipe();
        for key in keys {
            pipeline.hget(key, "_version");
        }
        let versions: Vec<Option<u64>> = pipeline.query_async(redis).await?;
        found.extend(keys.iter().cloned().zip(versions).filter_map(|(key, version)| Some((key, version?))));
    }
    Ok(found)
}

async fn keys(redis: &mut MultiplexedConnection, pattern: &str) -> anyhow::Result<Vec<String>> {
    let (mut cursor, mut keys) = (0_u64, Vec::new());
    loop {
        let mut scan = redis::cmd("SCAN");
        scan.arg(cursor).arg("MATCH").arg(pattern).arg("COUNT").arg(KEYS_AT_ONCE);
        let (next, found): (u64, Vec<String>) = scan.query_async(redis).await?;
        keys.extend(found);
        if next == 0 {
            return Ok(keys);
        }
        cursor = next;
    }
}

/// Redis has what a batch query over the same records gives, no more and no less, and all of it expires.
async fn verify(client: &tokio_postgres::Client, redis: &mut MultiplexedConnection) -> anyhow::Result<()> {
    let batch = "SELECT user_id, count(*) AS events, sum(CAST(round(metadata['amount'] * 100) AS BIGINT)) AS cents
                 FROM events GROUP BY user_id";
    let mut expected =
        rows::texts(client, &format!("SELECT user_id, events, coalesce(cents, -1) FROM ({batch}) AS b")).await?;
    let mut found = Vec::new();
    for key in keys(redis, &format!("{PREFIX}user:*")).await? {
        let hash = redis.hgetall(&key).await?;
        let field = |name: &str| hash.get(name).cloned().unwrap_or_else(|| "-1".to_owned());
        found.push(vec![field("user_id"), field("events"), field("cents")]);
    }
    compare("users", &mut expected, &mut found)?;

    let batch =
        "SELECT coalesce(metadata['platform'], 'null') AS platform, action, count(*) AS n FROM events GROUP BY 1, 2";
    let mut expected = rows::texts(client, batch).await?;
    let mut found = Vec::new();
    for key in keys(redis, &format!("{PREFIX}top:*")).await? {
        let platform = key.trim_start_matches(&format!("{PREFIX}top:")).to_owned();
        for (action, events) in redis.zrange_withscores(&key, 0, -1).await? {
            found.push(vec![platform.clone(), action, events.to_string()]);
        }
    }
    compare("actions", &mut expected, &mut found)?;
    for key in keys(redis, "*").await? {
        let ttl_ms: i64 = redis::cmd("PTTL").arg(&key).query_async(redis).await?;
        ensure!(ttl_ms != -1, "\"{key}\" never expires");
    }
    Ok(())
}
