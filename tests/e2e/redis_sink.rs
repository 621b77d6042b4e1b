//! What becomes of a Redis that has lost what a sink wrote.

use std::sync::Arc;

use anyhow::Context;
use ebap_tests::{Ebap, rows, wait};
use redis::{AsyncTypedCommands, aio::MultiplexedConnection};

use crate::pipeline::Shared;

async fn rows_in(redis: &mut MultiplexedConnection) -> anyhow::Result<usize> {
    Ok(redis.keys("ebap:digits:*").await.context("KEYS")?.len())
}

async fn all_are_there(redis: &mut MultiplexedConnection, rows: usize) -> anyhow::Result<()> {
    wait::until("every row is in Redis", wait::PATIENCE, async || Ok((rows_in(redis).await? == rows).then_some(())))
        .await
}

/// Nothing is read any more when it happens: the sink finds out by itself, or is told.
pub(crate) async fn what_redis_lost_is_written_again(shared: Arc<Shared>) -> anyhow::Result<()> {
    let url = shared.redis().await?;
    let ebap = Ebap::start().await?;
    let client = ebap.connect().await?;
    let sink = format!(
        "CREATE SINK digits_hot FROM digits WITH (connector = 'redis', url = '{url}', key = 'ebap:digits:{{digit}}')"
    );
    let statements = [
        "CREATE STREAM numbers (id BIGINT NOT NULL) WITH (connector = 'generator', rows = 1000)",
        "CREATE MATERIALIZED VIEW digits AS SELECT id % 10 AS digit, count(*) AS n FROM numbers GROUP BY id % 10",
        &sink,
        "FLUSH",
    ];
    rows::execute(&client, &statements).await?;
    let redis = redis::Client::open(url.as_str()).context("the address of Redis")?;
    let mut redis = redis.get_multiplexed_async_connection().await.context("connect to Redis")?;
    let digits = usize::try_from(rows::number(&client, "SELECT count(*) FROM digits").await?)?;
    anyhow::ensure!(digits > 1, "the view has {digits} rows");
    all_are_there(&mut redis, digits).await?;

    // What the sink cannot notice: its own keys are there.
    for key in redis.keys("ebap:digits:*").await.context("KEYS")? {
        redis.del(&key).await.context("DEL")?;
    }
    rows::execute(&client, &["ALTER SINK digits_hot REBUILD", "FLUSH"]).await?;
    all_are_there(&mut redis, digits).await?;

    redis.flushall().await.context("FLUSHALL")?;
    all_are_there(&mut redis, digits).await?;

    redis.flushall().await.context("FLUSHALL")?;
    rows::execute(&client, &["ALTER SINK digits_hot REBUILD", "FLUSH"]).await?;
    all_are_there(&mut redis, digits).await
}
