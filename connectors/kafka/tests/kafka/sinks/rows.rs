//! On a stream.

use std::sync::Arc;

use ebap_connector::{Epoch, Error, Sink, SinkContext, SinkInput};

use super::{Row, at, batch, context, json, records, sink, values};
use crate::{broker::Broker, ensure_eq};

async fn write(sink: &mut Box<dyn Sink>, rows: &[Row], offset: i64) -> anyhow::Result<()> {
    Ok(sink.write(SinkInput::Rows(batch(rows)), &at(offset)).await?)
}

async fn commit(sink: &mut Box<dyn Sink>, offset: i64) -> anyhow::Result<()> {
    let visible = sink.checkpoint(Epoch(1), &at(offset), true).await?;
    ensure_eq(visible, Some(at(offset)), "what is visible")
}

pub(crate) async fn rows_become_visible_with_their_position(broker: Arc<Broker>) -> anyhow::Result<()> {
    let topic = broker.unused_name("sink-rows");
    let mut context = context(&broker, &topic, 1);
    context.options.set("timestamp_column", "window_end");
    let mut rows = sink(&context)?;
    ensure_eq(rows.open().await?.position, None, "nothing was written")?;
    write(&mut rows, &[("eu", 1, 1), ("us", 2, 2)], 2).await?;
    ensure_eq(values(&broker, &topic)?, vec![], "before the commit")?;
    commit(&mut rows, 2).await?;
    let expected = vec![json(("eu", 1, 1)), json(("us", 2, 2))];
    ensure_eq(values(&broker, &topic)?, expected.clone(), "after it")?;
    ensure_eq(broker.times(&topic)?, [60_000, 120_000].map(|ms| 1_767_225_600_000 + ms).to_vec(), "event times")?;

    let mut again = sink(&context)?;
    ensure_eq(again.open().await?.position, Some(at(2)), "the position of what is there")?;
    ensure_eq(values(&broker, &topic)?, expected, "opening writes no row")
}

/// The first sink is let go as a process is that was killed: nobody aborts what it has begun.
pub(crate) async fn what_a_crash_left_open_is_never_seen(broker: Arc<Broker>) -> anyhow::Result<()> {
    let topic = broker.unused_name("sink-crash");
    let mut first = sink(&context(&broker, &topic, 1))?;
    first.open().await?;
    write(&mut first, &[("eu", 1, 1)], 1).await?;
    commit(&mut first, 1).await?;
    write(&mut first, &[("eu", 2, 2)], 2).await?;
    std::mem::forget(first);

    let mut second = sink(&context(&broker, &topic, 2))?;
    ensure_eq(second.open().await?.position, Some(at(1)), "only what was committed")?;
    write(&mut second, &[("eu", 2, 2), ("eu", 3, 3)], 3).await?;
    commit(&mut second, 3).await?;
    let expected: Vec<_> = (1..=3).map(|n| json(("eu", n, n))).collect();
    ensure_eq(values(&broker, &topic)?, expected, "each row once")
}

pub(crate) async fn of_two_instances_the_newer_one_writes(broker: Arc<Broker>) -> anyhow::Result<()> {
    let topic = broker.unused_name("sink-fenced");
    let mut older = sink(&context(&broker, &topic, 1))?;
    older.open().await?;
    write(&mut older, &[("eu", 1, 1)], 1).await?;
    let mut newer = sink(&context(&broker, &topic, 2))?;
    newer.open().await?;
    write(&mut newer, &[("us", 1, 1)], 1).await?;

    let refused = older.checkpoint(Epoch(1), &at(1), true).await;
    anyhow::ensure!(matches!(refused, Err(Error::Unreachable { .. })), "it may open again: {refused:?}");
    drop(older);
    let mut older = sink(&context(&broker, &topic, 1))?;
    let fenced = older.open().await;
    anyhow::ensure!(matches!(fenced, Err(Error::Fenced { .. })), "{fenced:?}");
    // It has noticed nothing.
    commit(&mut newer, 1).await?;
    ensure_eq(values(&broker, &topic)?, vec![json(("us", 1, 1))], "rows of the newer one")
}

pub(crate) async fn a_key_is_in_the_partition_where_java_puts_it(broker: Arc<Broker>) -> anyhow::Result<()> {
    let topic = broker.unused_name("sink-keys");
    let mut context = context(&broker, &topic, 1);
    context.options.set("key", "region, n");
    context.options.set("partitions", "7");
    let mut rows = sink(&context)?;
    rows.open().await?;
    let regions = ["eu", "us", "apac", "latam", "mea"];
    let written: Vec<Row> = (0..40).map(|n| (regions[n as usize % 5], 1, n)).collect();
    write(&mut rows, &written, 40).await?;
    commit(&mut rows, 40).await?;
    // Kafka's own test vectors.
    ensure_eq((murmur2(b"21"), murmur2(b"foobar")), (-973_932_308, -790_332_482), "murmur2")?;
    let seen = broker.read_committed(&topic)?;
    ensure_eq(seen.len(), 40, "records")?;
    for record in seen {
        let key = record.key.ok_or_else(|| anyhow::anyhow!("no key"))?;
        let partition = (murmur2(&key) & i32::MAX) % 7;
        ensure_eq(record.partition, partition, &String::from_utf8_lossy(&key))?;
    }
    Ok(())
}

/// As `org.apache.kafka.common.utils.Utils` has it.
fn murmur2(data: &[u8]) -> i32 {
    const M: i32 = 0x5bd1_e995;
    let mut hash = 0x9747_b28c_u32.cast_signed() ^ i32::try_from(data.len()).expect("a short key");
    let mut chunks = data.chunks_exact(4);
    for chunk in &mut chunks {
        let mut k = i32::from_le_bytes([chunk[0], chunk[1], chunk[2], chunk[3]]).wrapping_mul(M);
        k ^= (k.cast_unsigned() >> 24).cast_signed();
        hash = hash.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    let rest = chunks.remainder();
    if !rest.is_empty() {
        for (at, byte) in rest.iter().enumerate() {
            hash ^= i32::from(*byte) << (8 * at);
        }
        hash = hash.wrapping_mul(M);
    }
    hash ^= (hash.cast_unsigned() >> 13).cast_signed();
    hash = hash.wrapping_mul(M);
    hash ^ (hash.cast_unsigned() >> 15).cast_signed()
}

pub(crate) async fn a_record_that_is_too_large_is_named(broker: Arc<Broker>) -> anyhow::Result<()> {
    let topic = broker.unused_name("sink-large");
    let small: SinkContext = {
        let mut context = context(&broker, &topic, 1);
        context.options.set("key", "region");
        context.options.set("kafka.message.max.bytes", "1000");
        context
    };
    let mut rows = sink(&small)?;
    rows.open().await?;
    let long: &'static str = Box::leak("x".repeat(2_000).into_boxed_str());
    let refused = write(&mut rows, &[("eu", 1, 1), (long, 1, 1)], 2).await.err();
    let message = refused.map(|error| format!("{error:#}")).unwrap_or_default();
    for part in ["refused", r#"with key {"region":"xxx"#, "kafka.message.max.bytes", "max.message.bytes"] {
        anyhow::ensure!(message.contains(part), "{message}");
    }
    anyhow::ensure!(message.len() < 600, "{message}");
    ensure_eq(records(&broker, &topic)?, vec![], "nothing of it")
}

/// Nothing is lost, and nothing comes twice, where a broker goes in the middle of a transaction.
pub(crate) async fn a_broker_that_goes_and_comes_back_has_each_row_once(broker: Arc<Broker>) -> anyhow::Result<()> {
    let topic = broker.unused_name("sink-away");
    let mut patient = context(&broker, &topic, 1);
    patient.options.set("kafka.transaction.timeout.ms", "5000");
    let mut first = sink(&patient)?;
    first.open().await?;
    write(&mut first, &[("eu", 1, 1)], 1).await?;
    commit(&mut first, 1).await?;
    write(&mut first, &[("eu", 2, 2)], 2).await?;
    broker.stop_node()?;
    let lost = first.checkpoint(Epoch(1), &at(2), true).await;
    anyhow::ensure!(matches!(lost, Err(Error::Unreachable { .. })), "{lost:?}");
    drop(first);
    broker.start_node()?;

    let mut second = sink(&patient)?;
    let position = crate::until("the sink can be opened", async || match second.open().await {
        Ok(opened) => Ok(Some(opened.position)),
        Err(Error::Unreachable { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    });
    ensure_eq(position.await?, Some(at(1)), "the position of what is there")?;
    write(&mut second, &[("eu", 2, 2)], 2).await?;
    commit(&mut second, 2).await?;
    ensure_eq(values(&broker, &topic)?, (1..=2).map(|n| json(("eu", n, n))).collect(), "each row once")
}

/// A machine that slept. The broker answers as if somebody had taken over, and nobody has.
pub(crate) async fn a_transaction_that_took_too_long_is_done_again(broker: Arc<Broker>) -> anyhow::Result<()> {
    let topic = broker.topic("sink-slept", 1).await?;
    let mut hasty = context(&broker, &topic, 1);
    hasty.options.set("kafka.transaction.timeout.ms", "2000");
    let mut first = sink(&hasty)?;
    first.open().await?;
    write(&mut first, &[("eu", 1, 1)], 1).await?;
    crate::until("the row is there", async || Ok((!broker.is_stable(&topic)?).then_some(()))).await?;
    crate::until("the broker has given it up", async || Ok(broker.is_stable(&topic)?.then_some(()))).await?;
    let lost = first.checkpoint(Epoch(1), &at(1), true).await;
    anyhow::ensure!(matches!(lost, Err(Error::Unreachable { .. })), "it may open again: {lost:?}");
    drop(first);

    let mut second = sink(&hasty)?;
    ensure_eq(second.open().await?.position, None, "nothing was committed")?;
    write(&mut second, &[("eu", 1, 1)], 1).await?;
    commit(&mut second, 1).await?;
    ensure_eq(values(&broker, &topic)?, vec![json(("eu", 1, 1))], "the row once")
}
