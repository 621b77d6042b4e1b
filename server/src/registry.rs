//! Connectors by name: the one place that knows which there are.

use std::sync::Arc;

use ebap_connector::{
    ConnectorRegistry, DeadLetterWriter, DecodeSpec, Decoder, Error, Notifier, NotifierContext, Result, Sink,
    SinkContext, Source, SourceContext,
};

#[derive(Debug, Default)]
pub(crate) struct Connectors;

impl ConnectorRegistry for Connectors {
    fn source(&self, context: &SourceContext) -> Result<Arc<dyn Source>> {
        match context.connector.as_str() {
            "kafka" => ebap_kafka::source(context),
            "generator" => ebap_generator::source(context),
            "file" => ebap_file::source(context),
            other => Err(Error::option(
                "connector",
                format!("\"{other}\" is no source; there are kafka, generator and file"),
            )),
        }
    }

    fn decoder(&self, spec: &DecodeSpec) -> Result<Box<dyn Decoder>> {
        ebap_format::decoder(spec)
    }

    fn dead_letters(&self, context: &SourceContext) -> Result<Option<Box<dyn DeadLetterWriter>>> {
        match (context.connector.as_str(), context.options.get("dead_letter_topic")) {
            (_, None) => Ok(None),
            ("kafka", Some(_)) => ebap_kafka::dead_letters(context),
            (other, Some(_)) => Err(Error::option(
                "dead_letter_topic",
                format!(
                    "needs connector = 'kafka', not '{other}'; rejected records are in the stream's $dlq table all the same"
                ),
            )),
        }
    }

    fn notifiers(&self, context: &NotifierContext) -> Result<Vec<Box<dyn Notifier>>> {
        let known = |name: &str| {
            let http = ebap_alertmanager::OPTIONS.contains(&name);
            http || ebap_redis::ALERT_OPTIONS.contains(&name) || ebap_kafka::is_alert_option(name)
        };
        if let Some(option) = context.options.0.keys().find(|name| !known(name)) {
            return Err(Error::option(option, "is unknown to an alert"));
        }
        let mut all = ebap_alertmanager::notifiers(context)?;
        all.extend(ebap_redis::notifier(context)?);
        all.extend(ebap_kafka::notifier(context)?);
        Ok(all)
    }

    fn sink(&self, connector: &str, context: &SinkContext) -> Result<Box<dyn Sink>> {
        match connector {
            "redis" => ebap_redis::sink(context),
            "iceberg" => ebap_iceberg::sink(context),
            "prometheus" => ebap_prometheus::sink(context),
            "kafka" => ebap_kafka::sink(context),
            other => Err(Error::option(
                "connector",
                format!("\"{other}\" is no sink; there are redis, iceberg, prometheus and kafka"),
            )),
        }
    }
}
