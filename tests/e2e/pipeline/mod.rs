//! A million events from Kafka into a view, Redis and Iceberg, against a batch query over the same records.

mod batch;
mod events;
mod outside;

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context, bail, ensure};
use ebap_connector::time;
use ebap_tests::{Ebap, EbapOptions, Service, Stack, kafka::Kafka, rows, server::generate, wait};
use tokio::sync::Mutex;
use tokio_postgres::Client;

use batch::{Answer, answer_of_view, batch_answer};
use events::Topic;

const TOPIC: &str = "events-million";
const PARTITIONS: i32 = 4;
const ROWS: usize = 1_000_000;
/// Long enough for a million rows on a machine that does other things too.
const CATCH_UP: Duration = Duration::from_secs(900);
const OUTAGE: Duration = Duration::from_secs(20);

/// Services, and the topic of a million events, made when first asked for.
pub(crate) struct Shared {
    stack: Mutex<Stack>,
    topic: Mutex<Option<std::sync::Arc<Topic>>>,
}

impl Shared {
    pub(crate) fn new() -> anyhow::Result<Self> {
        Ok(Self { stack: Mutex::new(Stack::new()?), topic: Mutex::new(None) })
    }

    /// Kafka alone; gives its address.
    pub(crate) async fn kafka(&self) -> anyhow::Result<String> {
        let mut stack = self.stack.lock().await;
        stack.need(&[Service::Kafka])?;
        Ok(stack.bootstrap())
    }

    /// Redis alone; gives its address.
    pub(crate) async fn redis(&self) -> anyhow::Result<String> {
        let mut stack = self.stack.lock().await;
        stack.need(&[Service::Redis])?;
        Ok(stack.redis_url())
    }

    /// Kafka, PostgreSQL and Kafka Connect between them; gives the addresses of the three.
    pub(crate) async fn cdc(&self) -> anyhow::Result<(String, String, String)> {
        let mut stack = self.stack.lock().await;
        stack.need(&[Service::Kafka, Service::Postgres, Service::Connect])?;
        Ok((stack.bootstrap(), stack.postgres_url(), stack.connect_url()))
    }

    /// Kafka and a schema registry; gives their addresses.
    pub(crate) async fn registry(&self) -> anyhow::Result<(String, String)> {
        let mut stack = self.stack.lock().await;
        stack.need(&[Service::Kafka, Service::SchemaRegistry])?;
        Ok((stack.bootstrap(), stack.registry_url()))
    }

    /// Runs its script with these arguments; gives what that printed.
    pub(crate) async fn registry_does(&self, args: &[&str]) -> anyhow::Result<String> {
        self.stack.lock().await.run(Service::SchemaRegistry, args)
    }

    /// S3 alone; gives its endpoint.
    pub(crate) async fn s3(&self) -> anyhow::Result<String> {
        let mut stack = self.stack.lock().await;
        stack.need(&[Service::Minio])?;
        Ok(stack.s3_endpoint())
    }

    /// Prometheus alone; gives its address.
    pub(crate) async fn prometheus(&self) -> anyhow::Result<String> {
        let mut stack = self.stack.lock().await;
        stack.need(&[Service::Prometheus])?;
        Ok(stack.prometheus_url())
    }

    /// Kafka, Redis and Alertmanager; gives their addresses.
    pub(crate) async fn alerts(&self) -> anyhow::Result<(String, String, String)> {
        let mut stack = self.stack.lock().await;
        stack.need(&[Service::Kafka, Service::Redis, Service::Alertmanager])?;
        Ok((stack.bootstrap(), stack.redis_url(), stack.alertmanager_url()))
    }

    /// What Alertmanager has, as JSON.
    pub(crate) async fn alertmanager_has(&self) -> anyhow::Result<String> {
        self.stack.lock().await.run(Service::Alertmanager, &["alerts"])
    }

    /// What it answers to an instant query, as JSON.
    pub(crate) async fn ask_prometheus(&self, query: &str) -> anyhow::Result<String> {
        self.stack.lock().await.run(Service::Prometheus, &["query", query])
    }

    async fn topic(&self) -> anyhow::Result<std::sync::Arc<Topic>> {
        let bootstrap = self.kafka().await?;
        let mut topic = self.topic.lock().await;
        if topic.is_none() {
            let kafka = Kafka::new(&bootstrap);
            kafka.create_topic(TOPIC, PARTITIONS).await?;
            // Event times over 2.8 hours, so that hours close and late rows find closed windows.
            let args = ["--rows", "1000000", "--event-rate", "100", "--disorder", "2s", "--late-share", "0.01"];
            generate(&bootstrap, TOPIC, &[&args[..], &["--bad-share", "0.005", "--seed", "42"]].concat())?;
            *topic = Some(std::sync::Arc::new(Topic::new(kafka.read_all(TOPIC)?)));
        }
        topic.clone().context("just made")
    }
}

/// Everything that one run owns outside.
struct Run {
    name: &'static str,
    bootstrap: String,
    redis_url: String,
    catalog_uri: String,
    s3_endpoint: String,
}

impl Run {
    async fn new(shared: &Shared, name: &'static str) -> anyhow::Result<Self> {
        let mut stack = shared.stack.lock().await;
        stack.need(&[Service::Redis, Service::Minio, Service::IcebergRest, Service::Kafka, Service::Trino])?;
        let run = Self {
            name,
            bootstrap: stack.bootstrap(),
            redis_url: stack.redis_url(),
            catalog_uri: stack.catalog_uri(),
            s3_endpoint: stack.s3_endpoint(),
        };
        drop(stack);
        Kafka::new(&run.bootstrap).create_topic(&run.dead_letter_topic(), 1).await?;
        Ok(run)
    }

    fn dead_letter_topic(&self) -> String {
        format!("dead-letters-{}", self.name)
    }

    fn table(&self) -> String {
        format!("ebap.events_{}", self.name)
    }

    fn key_prefix(&self) -> String {
        format!("ebap:{}:", self.name)
    }

    fn statements(&self) -> Vec<String> {
        let Self { name, bootstrap, redis_url, catalog_uri, s3_endpoint } = self;
        let (dead_letters, table, prefix) = (self.dead_letter_topic(), self.table(), self.key_prefix());
        vec![
            format!("CREATE CONNECTION kafka_{name} TO KAFKA (bootstrap_servers = '{bootstrap}')"),
            format!(
                "CREATE STREAM events (
                    id UUID NOT NULL,
                    user_id TEXT NOT NULL,
                    action TEXT NOT NULL CHECK (action IN ('purchase', 'view', 'cart', 'login')),
                    metadata STRUCT<amount DOUBLE, item_id TEXT, platform TEXT>,
                    timestamp TIMESTAMPTZ NOT NULL,
                    platform TEXT AS (metadata['platform']),
                    WATERMARK FOR timestamp AS timestamp - INTERVAL '5 seconds'
                 ) WITH (connection = kafka_{name}, topic = '{TOPIC}', format = 'json', start = 'earliest',
                         dead_letter_topic = '{dead_letters}', idle_timeout = '30 seconds')"
            ),
            "CREATE MATERIALIZED VIEW activity AS
             SELECT platform, action, count(*) AS events, count(DISTINCT user_id) AS users, sum(metadata['amount']) AS revenue
             FROM events GROUP BY platform, action
             WINDOW TUMBLE (timestamp, INTERVAL '1 minute', INTERVAL '5 minutes', INTERVAL '1 hour')"
                .to_owned(),
            format!(
                "CREATE SINK activity_hot FROM activity WITH (connector = 'redis', url = '{redis_url}', ttl = '24 hours',
                    key = '{prefix}{{window_size}}:{{window_start}}:{{window_end}}:{{platform}}:{{action}}')"
            ),
            format!(
                "CREATE SINK events_cold FROM events PARTITIONED BY (day(timestamp), platform)
                 WITH (connector = 'iceberg', table = '{table}', catalog_uri = '{catalog_uri}',
                    warehouse = 's3://warehouse/', \"s3.endpoint\" = '{s3_endpoint}',
                    \"s3.access-key-id\" = 'ebapminio', \"s3.secret-access-key\" = 'ebapminio-secret',
                    \"s3.region\" = 'us-east-1', \"s3.path-style-access\" = 'true', commit_interval = '5 seconds')"
            ),
        ]
    }

    async fn create(&self, client: &Client) -> anyhow::Result<()> {
        let statements = self.statements();
        rows::execute(client, &statements.iter().map(String::as_str).collect::<Vec<_>>()).await
    }
}

/// The answer of an unbroken run equals the batch answer, inside and outside.
pub(crate) async fn equals_the_batch_answer(shared: std::sync::Arc<Shared>) -> anyhow::Result<()> {
    let topic = shared.topic().await?;
    let run = Run::new(&shared, "unbroken").await?;
    let ebap = Ebap::start().await?;
    let client = ebap.connect().await?;
    run.create(&client).await?;
    flush(&client).await?;
    verify(&shared, &run, &topic, &client).await
}

/// Killed at a quarter and at three quarters, without Kafka for a while in the middle: nothing of it shows.
pub(crate) async fn survives_kills_and_outage(shared: std::sync::Arc<Shared>) -> anyhow::Result<()> {
    let topic = shared.topic().await?;
    let run = Run::new(&shared, "broken").await?;
    let data = tempfile::tempdir().context("a data directory")?;
    let options = EbapOptions { data_dir: Some(data.path().join("data")), ..EbapOptions::default() };
    let mut ebap = Ebap::start_with(options).await?;
    let mut client = ebap.connect().await?;
    run.create(&client).await?;

    read_at_least(&client, ROWS / 4).await?;
    ebap.kill()?;
    ebap.start_again().await?;
    client = ebap.connect().await?;

    read_at_least(&client, ROWS / 2).await?;
    kafka_away(&shared, &client).await?;

    read_at_least(&client, ROWS * 3 / 4).await?;
    ebap.kill()?;
    ebap.start_again().await?;
    client = ebap.connect().await?;
    flush(&client).await?;
    verify(&shared, &run, &topic, &client).await
}

async fn flush(client: &Client) -> anyhow::Result<()> {
    let flushed = async { client.simple_query("FLUSH").await.context("FLUSH") };
    tokio::time::timeout(CATCH_UP, flushed).await.context("FLUSH did not return")??;
    Ok(())
}

/// Waits until so many records are read; that it is not all of them makes what follows a test.
async fn read_at_least(client: &Client, wanted: usize) -> anyhow::Result<()> {
    let sql = "SELECT CAST(coalesce(sum(\"offset\"), 0) AS BIGINT) FROM ebap.splits WHERE source = 'events'";
    let read = wait::until("so many records are read", CATCH_UP, async || {
        let read = rows::number(client, sql).await?;
        Ok(usize::try_from(read).ok().filter(|read| *read >= wanted))
    });
    let read = read.await?;
    ensure!(read < ROWS, "all {ROWS} records were read before the test could break anything");
    Ok(())
}

/// Stops the broker for a while; meanwhile `ebap.splits` says so and the view answers.
async fn kafka_away(shared: &Shared, client: &Client) -> anyhow::Result<()> {
    let stack = shared.stack.lock().await;
    stack.run(Service::Kafka, &["stop-node", "1"])?;
    let began = time::instant();
    let away = "SELECT count(*) FROM ebap.splits WHERE source = 'events' AND state = 'retrying' AND error IS NOT NULL";
    wait::until("ebap.splits says that Kafka is away", wait::PATIENCE, async || {
        Ok(Some(rows::number(client, away).await?).filter(|away| *away > 0))
    })
    .await?;
    wait::until("the outage is over", OUTAGE * 2, async || {
        ensure!(
            rows::number(client, "SELECT count(*) FROM activity").await? > 0,
            "the view is empty during the outage"
        );
        Ok((began.elapsed() >= OUTAGE).then_some(()))
    })
    .await?;
    ensure!(rows::number(client, away).await? > 0, "ebap.splits no longer says that Kafka is away");
    stack.run(Service::Kafka, &["start-node", "1"])?;
    Ok(())
}

/// View, accounting, dead letters, Redis and Iceberg, all against what the topic holds.
async fn verify(shared: &Shared, run: &Run, topic: &Topic, client: &Client) -> anyhow::Result<()> {
    let late = late_watermarks(client).await?;
    ensure!(!late.is_empty(), "the generator was asked for late rows and none was late");
    let expected = batch_answer(topic, &late).await?;
    let view = answer_of_view(client).await?;
    same(&expected, &view, "the view and the batch query")?;
    accounting_adds_up(client, topic, &late).await?;
    outside::dead_letters_are_the_bad_records(&Kafka::new(&run.bootstrap), &run.dead_letter_topic(), topic)?;
    let redis = outside::answer_of_redis(&run.redis_url, &run.key_prefix()).await?;
    same(&view, &redis, "the view and Redis")?;
    let stack = shared.stack.lock().await;
    outside::iceberg_has_each_row_once(&stack, &run.table(), topic)
}

fn same(left: &Answer, right: &Answer, what: &str) -> anyhow::Result<()> {
    ensure!(!left.is_empty(), "{what}: nothing to compare");
    let differs = |(key, value): (&batch::Key, &batch::Value)| (right.get(key) != Some(value)).then(|| key.clone());
    let Some(key) = left.iter().find_map(differs).or_else(|| right.keys().find(|key| !left.contains_key(key)).cloned())
    else {
        return Ok(());
    };
    bail!(
        "{what} differ ({} and {} rows), first at {key:?}: {:?} and {:?}",
        left.len(),
        right.len(),
        left.get(&key),
        right.get(&key)
    )
}

/// The watermark under which each late row was read, by partition and offset.
async fn late_watermarks(client: &Client) -> anyhow::Result<BTreeMap<(i32, i64), i64>> {
    let sql = "SELECT _partition, _offset, _watermark FROM events WHERE _late";
    let rows = client.query(sql, &[]).await.context(sql)?;
    let late = rows.iter().map(|row| Ok(((row.try_get(0)?, row.try_get(1)?), rows::micros(row.try_get(2)?))));
    let late: BTreeMap<(i32, i64), i64> = late.collect::<anyhow::Result<_>>()?;
    let counted = rows::number(client, "SELECT count(*) FROM events$late").await?;
    ensure!(late.len() as i64 == counted, "events has {} late rows, events$late {counted}", late.len());
    Ok(late)
}

/// Per partition `consumed = emitted + late + dead_lettered + filtered`, each as the topic says.
async fn accounting_adds_up(client: &Client, topic: &Topic, late: &BTreeMap<(i32, i64), i64>) -> anyhow::Result<()> {
    let sql = "SELECT CAST(split AS INT), consumed, emitted, late, dead_lettered, filtered
               FROM ebap.accounting WHERE job = 'activity' ORDER BY 1";
    let rows = client.query(sql, &[]).await.context(sql)?;
    ensure!(rows.len() == usize::try_from(PARTITIONS)?, "{} partitions in ebap.accounting", rows.len());
    let mut all = 0;
    for row in rows {
        let partition: i32 = row.try_get(0)?;
        let counts: Vec<i64> = (1..=5).map(|at| row.try_get(at)).collect::<Result<_, _>>()?;
        let expected = topic.counts(partition, late);
        ensure!(counts == expected, "partition {partition}: accounting {counts:?}, topic {expected:?}");
        ensure!(counts[0] == counts[1..].iter().sum::<i64>(), "partition {partition} does not add up: {counts:?}");
        all += counts[0];
    }
    ensure!(all == i64::try_from(ROWS)?, "{all} records in ebap.accounting");
    Ok(())
}
