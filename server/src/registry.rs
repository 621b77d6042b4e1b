//! Connectors by name: the one place that knows which there are.

use std::sync::Arc;

use ebap_connector::{
    ConnectorRegistry, DeadLetterWriter, DecodeSpec, Decoder, Error, Notifier, NotifierContext, Result, Sink,
    SinkContext, Source, SourceContext, csv::CsvOptions,
};

#[derive(Debug, Default)]
pub(crate) struct Connectors;

impl Connectors {
    /// Refuses options that would do nothing. A stream that was created with them before goes on.
    ///
    /// # Errors
    /// `Option` for the first of them.
    pub(crate) fn check_new(context: &SourceContext) -> Result<()> {
        let options = &context.options;
        let format = options.get("format").unwrap_or("json");
        for option in options.0.keys().filter(|name| name.starts_with("csv.")) {
            if format != "csv" {
                return Err(Error::option(option, format!("needs format = 'csv', not '{format}'")));
            }
            if !CsvOptions::NAMES.contains(&option.as_str()) {
                return Err(Error::option(
                    option,
                    format!("is not known here; there are {}", CsvOptions::NAMES.join(", ")),
                ));
            }
        }
        if context.connector != "file" && options.bool("csv.header", false)? {
            let message = format!(
                "needs connector = 'file', not '{}': a record there is one of CSV, whose fields go by position",
                context.connector
            );
            return Err(Error::option("csv.header", message));
        }
        if format == "raw" && options.get("timestamp_unit").is_some() {
            return Err(Error::option("timestamp_unit", "means nothing to format 'raw', which has no times"));
        }
        Ok(())
    }
}

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
