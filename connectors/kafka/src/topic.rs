//! Making topics.

use ebap_connector::{Error, Result};
use rdkafka::{
    ClientConfig,
    admin::{AdminClient, AdminOptions, NewTopic, TopicReplication},
    client::DefaultClientContext,
    consumer::{BaseConsumer, Consumer},
    types::RDKafkaErrorCode,
};

use crate::source::ASK_MAX;

/// Makes the topic where it is missing; one that is there stays as it is. `partitions` and the number of copies are the
/// broker's defaults where nothing else is said.
pub(crate) async fn ensure(
    config: &ClientConfig,
    system: &str,
    (name, partitions): (&str, Option<i32>),
    settings: &[(&str, &str)],
) -> Result<()> {
    let admin: AdminClient<DefaultClientContext> =
        config.create().map_err(|error| Error::option("kafka", error.to_string()))?;
    let mut topic = NewTopic::new(name, partitions.unwrap_or(-1), TopicReplication::Fixed(-1));
    for (name, value) in settings {
        topic = topic.set(name, value);
    }
    // Asked for at once: to look first would have a broker make it by itself, with other settings.
    let made = admin.create_topics([&topic], &AdminOptions::new().operation_timeout(Some(ASK_MAX))).await;
    let missing = |reason: RDKafkaErrorCode| {
        Error::refused(system, format!("topic \"{name}\" does not exist, and may not be created: {reason}"))
    };
    for outcome in made.map_err(|error| Error::unreachable(system, format!("topic \"{name}\": {error}")))? {
        match outcome {
            Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
            Err((
                _,
                code @ (RDKafkaErrorCode::TopicAuthorizationFailed | RDKafkaErrorCode::ClusterAuthorizationFailed),
            )) => {
                if !exists(config.clone(), name.to_owned()).await {
                    return Err(missing(code));
                }
            }
            Err((
                _,
                code @ (RDKafkaErrorCode::InvalidConfig
                | RDKafkaErrorCode::InvalidPartitions
                | RDKafkaErrorCode::InvalidReplicationFactor
                | RDKafkaErrorCode::InvalidTopic
                | RDKafkaErrorCode::PolicyViolation),
            )) => return Err(missing(code)),
            Err((_, code)) => return Err(Error::unreachable(system, format!("topic \"{name}\": {code}"))),
        }
    }
    Ok(())
}

/// Whether whoever may not create it can see it.
async fn exists(config: ClientConfig, name: String) -> bool {
    let look = tokio::task::spawn_blocking(move || {
        let consumer: BaseConsumer = config.create().ok()?;
        let metadata = consumer.fetch_metadata(Some(&name), ASK_MAX).ok()?;
        Some(metadata.topics().iter().any(|topic| topic.name() == name && !topic.partitions().is_empty()))
    });
    look.await.ok().flatten().unwrap_or(false)
}
