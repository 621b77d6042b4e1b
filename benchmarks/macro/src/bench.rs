//! What every job is given: the broker, the command line, and where lines go.

use std::io::Write;

use anyhow::Context;
use ebap_connector::time;
use ebap_tests::{Service, Stack, kafka::Kafka, process, wait};
use serde_json::{Map, Value, json};

use crate::{args::Args, consumer, machine};

pub(crate) struct Bench {
    pub(crate) args: Args,
    pub(crate) bootstrap: String,
    kafka: Kafka,
    /// The broker's process, where it is one of `tests/stack/kafka.sh`.
    pub(crate) broker: Option<u32>,
    /// Stops the broker that was started here.
    _stack: Option<Stack>,
}

impl Bench {
    pub(crate) fn new(args: Args) -> anyhow::Result<Self> {
        let (stack, bootstrap) = match &args.bootstrap {
            Some(bootstrap) => (None, bootstrap.clone()),
            None => {
                let mut stack = Stack::new()?;
                stack.need(&[Service::Kafka])?;
                let bootstrap = stack.bootstrap();
                (Some(stack), bootstrap)
            }
        };
        let (kafka, broker) = (Kafka::new(&bootstrap), machine::broker_pid(&bootstrap));
        Ok(Self { args, bootstrap, kafka, broker, _stack: stack })
    }

    /// Makes a topic, and waits until it can be read: its partitions have no leaders at first.
    pub(crate) async fn create_topic(&self, topic: &str) -> anyhow::Result<()> {
        self.kafka.create_topic(topic, self.args.partitions).await?;
        wait::until("the topic can be read", wait::PATIENCE, async || {
            let records = tokio::task::block_in_place(|| consumer::records(&self.bootstrap, topic));
            Ok(records.ok().flatten())
        })
        .await?;
        Ok(())
    }

    /// One line to stdout: who, which job, the figures, and where they were measured.
    pub(crate) fn report(&self, engine: &str, job: &str, figures: Value) -> anyhow::Result<()> {
        let mut line = Map::new();
        line.insert("benchmark".to_owned(), json!("macro"));
        // `benchmarks/peers/run.sh` measures several engines under one name.
        if let Ok(session) = std::env::var("BENCH_SESSION") {
            line.insert("session".to_owned(), json!(session));
        }
        line.insert("engine".to_owned(), json!(engine));
        line.insert("version".to_owned(), json!(env!("CARGO_PKG_VERSION")));
        line.insert("job".to_owned(), json!(job));
        if let Value::Object(figures) = figures {
            line.extend(figures);
        }
        line.insert("at".to_owned(), json!(machine::now_text()));
        line.insert("at_us".to_owned(), json!(time::now_us()));
        line.insert("commit".to_owned(), json!(machine::commit()));
        line.insert("machine".to_owned(), machine::describe());
        line.insert("profile".to_owned(), json!(profile()));
        writeln!(std::io::stdout(), "{}", Value::Object(line)).context("stdout")
    }
}

/// That of the server which is measured, by the folder it lies in.
fn profile() -> Option<String> {
    let bin = process::ebap_bin().ok()?;
    Some(bin.parent()?.file_name()?.to_string_lossy().into_owned())
}
