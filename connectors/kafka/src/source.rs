//! A topic as a source.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use ebap_connector::{Error, Offset, Result, Source, SourceContext, SourceReader, SplitBounds, SplitId};
use rdkafka::{
    Offset as KafkaOffset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
};

use crate::{
    options::{KafkaOptions, Start},
    reader::{KafkaReader, SERVED_MAX},
};

/// How long a question to the brokers may take.
pub(crate) const ASK_MAX: Duration = Duration::from_secs(5);

struct KafkaSource {
    options: Arc<KafkaOptions>,
    /// For questions only; never assigned.
    asker: Arc<BaseConsumer>,
}

/// A source over one topic; connects when it is asked something.
///
/// # Errors
/// `Option` for a bad option.
pub fn source(context: &SourceContext) -> Result<Arc<dyn Source>> {
    let options = KafkaOptions::parse(context)?;
    let asker = options.consumer_config().create().map_err(|error| Error::option("kafka", error.to_string()))?;
    Ok(Arc::new(KafkaSource { options: Arc::new(options), asker: Arc::new(asker) }))
}

impl KafkaSource {
    async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&BaseConsumer, &KafkaOptions) -> rdkafka::error::KafkaResult<T> + Send + 'static,
    ) -> Result<T> {
        let (asker, options) = (Arc::clone(&self.asker), Arc::clone(&self.options));
        let system = self.options.system();
        let answer = tokio::task::spawn_blocking(move || {
            // Errors told meanwhile would pile up in the client.
            for _ in 0..SERVED_MAX {
                let _ = asker.poll(Duration::ZERO);
            }
            question(&asker, &options)
        })
        .await;
        answer.map_err(Error::internal)?.map_err(|error| Error::unreachable(system, error))
    }
}

pub(crate) fn partition_of(split: &SplitId) -> Result<i32> {
    split.as_str().parse().map_err(|_| Error::internal(format!("\"{split}\" is no partition")))
}

#[async_trait]
impl Source for KafkaSource {
    async fn splits(&self) -> Result<Vec<SplitId>> {
        let found = self
            .ask(|asker, options| {
                let metadata = asker.fetch_metadata(Some(&options.topic), ASK_MAX)?;
                let topic = metadata.topics().iter().find(|topic| topic.name() == options.topic);
                Ok(topic.map(|topic| topic.partitions().iter().map(|partition| partition.id()).collect::<Vec<i32>>()))
            })
            .await?;
        let mut partitions = found.unwrap_or_default();
        if partitions.is_empty() {
            return Err(Error::unreachable(
                self.options.system(),
                format!("topic \"{}\" does not exist", self.options.topic),
            ));
        }
        partitions.sort_unstable();
        Ok(partitions.into_iter().map(|partition| SplitId::new(partition.to_string())).collect())
    }

    async fn bounds(&self, split: &SplitId) -> Result<SplitBounds> {
        let partition = partition_of(split)?;
        // Under `read_committed` the high one is the last stable offset.
        let (low, high) =
            self.ask(move |asker, options| asker.fetch_watermarks(&options.topic, partition, ASK_MAX)).await?;
        Ok(SplitBounds { earliest: Offset(low), end: Offset(high) })
    }

    async fn start(&self, split: &SplitId, found_while_running: bool) -> Result<Offset> {
        let partition = partition_of(split)?;
        let bounds = self.bounds(split).await?;
        Ok(match &self.options.start {
            _ if found_while_running => bounds.earliest,
            Start::Earliest => bounds.earliest,
            Start::Latest => bounds.end,
            Start::Offsets(offsets) => match offsets.iter().find(|(number, _)| *number == partition) {
                Some((_, offset)) => Offset(*offset),
                None => bounds.earliest,
            },
            Start::TimestampMs(ms) => {
                let ms = *ms;
                let found = self
                    .ask(move |asker, options| {
                        let mut list = TopicPartitionList::new();
                        list.add_partition_offset(&options.topic, partition, KafkaOffset::Offset(ms))?;
                        asker.offsets_for_times(list, ASK_MAX)
                    })
                    .await?;
                match found.elements().first().map(|element| element.offset()) {
                    Some(KafkaOffset::Offset(offset)) => Offset(offset),
                    // No record is that new.
                    _ => bounds.end,
                }
            }
        })
    }

    async fn reader(&self) -> Result<Box<dyn SourceReader>> {
        Ok(Box::new(KafkaReader::new(Arc::clone(&self.options))?))
    }
}
