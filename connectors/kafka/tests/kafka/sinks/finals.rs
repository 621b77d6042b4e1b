//! On a view that gives its rows when their windows are closed.

use std::sync::Arc;

use ebap_connector::{Error, SinkContext};

use super::{at, changes, context, epoch, json, sink, values, write_all};
use crate::{broker::Broker, ensure_eq};

fn view(broker: &Broker, topic: &str, incarnation: u64) -> SinkContext {
    let context = context(broker, topic, incarnation);
    SinkContext { on_view: true, on_close: true, upsert_key: vec![0, 1], ..context }
}

pub(crate) async fn each_window_is_written_once_whatever_is_written_again(broker: Arc<Broker>) -> anyhow::Result<()> {
    let topic = broker.unused_name("sink-finals");
    let mut first = sink(&view(&broker, &topic, 1))?;
    first.open().await?;
    write_all(&mut first, &[("eu", 1, 1), ("us", 1, 2)], &at(2)).await?;
    epoch(&mut first, 1, &at(2)).await?;
    let mut expected = vec![json(("eu", 1, 1)), json(("us", 1, 2))];
    ensure_eq(values(&broker, &topic)?, expected.clone(), "the first window")?;
    // Given, but in no durable epoch: a crash.
    first.write(changes(&[], &[("eu", 2, 3)]), &at(3)).await?;
    std::mem::forget(first);

    let mut second = sink(&view(&broker, &topic, 2))?;
    second.open().await?;
    write_all(&mut second, &[("eu", 1, 1), ("us", 1, 2), ("eu", 2, 4)], &at(3)).await?;
    epoch(&mut second, 2, &at(3)).await?;
    expected.push(json(("eu", 2, 4)));
    ensure_eq(values(&broker, &topic)?, expected.clone(), "the second as it was decided in the end")?;

    // The oldest window is not kept any more, and what waited is given again: the sink was behind.
    second.write(changes(&[("eu", 1, 1), ("us", 1, 2)], &[("eu", 3, 5)]), &at(4)).await?;
    write_all(&mut second, &[("eu", 2, 4), ("us", 3, 6), ("eu", 3, 5)], &at(5)).await?;
    epoch(&mut second, 3, &at(5)).await?;
    expected.extend([json(("us", 3, 6)), json(("eu", 3, 5))]);
    ensure_eq(values(&broker, &topic)?, expected, "the third, whole and once")
}

pub(crate) async fn a_row_for_a_window_that_is_outside_is_refused(broker: Arc<Broker>) -> anyhow::Result<()> {
    let topic = broker.unused_name("sink-late");
    let mut view = sink(&view(&broker, &topic, 1))?;
    view.open().await?;
    write_all(&mut view, &[("eu", 2, 1)], &at(1)).await?;
    epoch(&mut view, 1, &at(1)).await?;
    let refused = view.write(changes(&[], &[("us", 2, 1)]), &at(2)).await;
    anyhow::ensure!(matches!(&refused, Err(Error::Schema { message }) if message.contains("upsert")), "{refused:?}");
    ensure_eq(values(&broker, &topic)?, vec![json(("eu", 2, 1))], "nothing of it")
}
