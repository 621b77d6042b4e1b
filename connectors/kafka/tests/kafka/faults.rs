use std::sync::Arc;

use ebap_connector::{Error, Offset, SplitState};

use crate::{WAIT, broker::Broker, ensure_eq, read_all, read_to, rows, source, split, until};

pub(crate) async fn a_topic_that_is_missing_is_said_and_found_once_it_exists(
    broker: Arc<Broker>,
) -> anyhow::Result<()> {
    let missing = source(&broker, &broker.unused_name("missing"), &[])?;
    let error = missing.splits().await.err();
    anyhow::ensure!(matches!(error, Some(Error::Unreachable { .. })), "can be tried again: {error:?}");
    let text = error.map(|error| error.to_string()).unwrap_or_default();
    anyhow::ensure!(text.contains("does not exist") && text.contains(&broker.bootstrap()), "{text}");

    let topic = broker.topic("there", 2).await?;
    ensure_eq(source(&broker, &topic, &[])?.splits().await?.len(), 2, "splits")
}

pub(crate) async fn an_offset_that_has_expired_is_refused_with_its_place(broker: Arc<Broker>) -> anyhow::Result<()> {
    let topic = broker.topic("expired", 1).await?;
    broker.produce(&topic, 0, (0..20).map(|at| at.to_string()))?;
    broker.expire(&topic, 0, 15).await?;
    let source = source(&broker, &topic, &[])?;
    ensure_eq(source.bounds(&split(0)).await?.earliest, Offset(15), "earliest")?;
    ensure_eq(rows(&read_all(&source).await?).len(), 5, "what is left")?;

    let mut reader = source.reader().await?;
    reader.assign(split(0), Offset(3)).await?;
    let error = until("the reader refuses", async || Ok(reader.poll(&[split(0)], 10, WAIT).await.err())).await?;
    anyhow::ensure!(matches!(error, Error::Gone { .. }), "{error}");
    let text = error.to_string();
    anyhow::ensure!(text.contains(&topic) && text.contains("partition 0") && text.contains("offset 3"), "{text}");
    Ok(())
}

pub(crate) async fn a_broker_that_is_away_is_shown_and_nothing_is_lost(broker: Arc<Broker>) -> anyhow::Result<()> {
    let topic = broker.topic("away", 1).await?;
    let value = |at: i64| format!("0-{at}");
    broker.produce(&topic, 0, (0..100).map(value))?;
    let source = source(&broker, &topic, &[])?;
    let mut reader = source.reader().await?;
    reader.assign(split(0), Offset(0)).await?;
    let mut all = read_to(&mut reader, &[(split(0), Offset(100))]).await?;

    broker.stop_node()?;
    let shown = until("status says that the broker is away", async || {
        anyhow::ensure!(reader.poll(&[split(0)], 10, WAIT).await?.is_empty(), "there is nothing to read");
        Ok(reader.status().into_iter().find_map(|status| match status.state {
            SplitState::Retrying(text) => Some(text),
            _ => None,
        }))
    });
    let shown = shown.await?;
    anyhow::ensure!(shown.starts_with(&format!("kafka {}: ", broker.bootstrap())), "{shown}");
    let error = source.splits().await.err();
    anyhow::ensure!(matches!(error, Some(Error::Unreachable { .. })), "{error:?}");

    broker.start_node()?;
    broker.produce(&topic, 0, (100..200).map(value))?;
    all.extend(read_to(&mut reader, &[(split(0), Offset(200))]).await?);
    let expected: Vec<_> = (0..200).map(|at| (0, at, value(at))).collect();
    ensure_eq(rows(&all), expected, "each record once")?;
    until("status says that it runs", async || {
        reader.poll(&[split(0)], 10, WAIT).await?;
        Ok(reader.status().iter().all(|status| status.state == SplitState::Running).then_some(()))
    })
    .await?;
    ensure_eq(source.splits().await?.len(), 1, "splits")
}

pub(crate) async fn a_split_given_again_while_the_broker_is_away_loses_nothing(
    broker: Arc<Broker>,
) -> anyhow::Result<()> {
    let topic = broker.topic("back", 1).await?;
    let value = |at: i64| format!("0-{at}");
    broker.produce(&topic, 0, (0..100).map(value))?;
    let source = source(&broker, &topic, &[])?;
    let mut reader = source.reader().await?;
    reader.assign(split(0), Offset(0)).await?;
    read_to(&mut reader, &[(split(0), Offset(100))]).await?;

    broker.stop_node()?;
    until("status says that the broker is away", async || {
        reader.poll(&[split(0)], 10, WAIT).await?;
        Ok(reader.status().iter().any(|status| status.state != SplitState::Running).then_some(()))
    })
    .await?;
    reader.assign(split(0), Offset(3)).await?;
    for _ in 0..5 {
        let early = reader.poll(&[split(0)], 10, WAIT).await?;
        anyhow::ensure!(early.is_empty(), "nothing is skipped while nothing can be read: {early:?}");
    }
    broker.start_node()?;
    let all = read_to(&mut reader, &[(split(0), Offset(100))]).await?;
    ensure_eq(rows(&all), (3..100).map(|at| (0, at, value(at))).collect(), "each record once")
}
