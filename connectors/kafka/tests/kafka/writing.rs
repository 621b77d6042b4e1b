use std::{collections::BTreeMap, sync::Arc};

use ebap_connector::Error;
use ebap_kafka::TopicWriter;

use crate::{broker::Broker, ensure_eq, partition_rows, read_all, rows, source};

const RECORDS: i64 = 100_000;

pub(crate) async fn all_records_arrive_in_the_order_of_each_partition(broker: Arc<Broker>) -> anyhow::Result<()> {
    let topic = broker.topic("writing", 3).await?;
    let (bootstrap, name) = (broker.bootstrap(), topic.clone());
    let written = tokio::task::spawn_blocking(move || -> anyhow::Result<i32> {
        let mut writer = TopicWriter::connect(&bootstrap, &BTreeMap::new(), &name)?;
        for at in 0..RECORDS {
            let value = at.to_string();
            writer.send(Some((at % 3) as i32), Some(b"key"), Some(value.as_bytes()), Some(1_767_225_600_000))?;
        }
        writer.flush()?;
        Ok(writer.partitions())
    });
    ensure_eq(written.await??, 3, "partitions")?;

    let all = rows(&read_all(&source(&broker, &topic, &[])?).await?);
    ensure_eq(all.len() as i64, RECORDS, "records")?;
    for partition in 0..3 {
        let got = partition_rows(&all, partition);
        let wrong = got.iter().enumerate().find(|(at, row)| row.1 != (at * 3 + partition as usize).to_string());
        ensure_eq(wrong, None, "first one out of order")?;
    }
    Ok(())
}

pub(crate) async fn a_topic_that_does_not_exist_is_refused(broker: Arc<Broker>) -> anyhow::Result<()> {
    let (bootstrap, name) = (broker.bootstrap(), broker.unused_name("missing"));
    let error =
        tokio::task::spawn_blocking(move || TopicWriter::connect(&bootstrap, &BTreeMap::new(), &name).err()).await?;
    anyhow::ensure!(matches!(error, Some(Error::Refused { .. })), "{error:?}");
    Ok(())
}
