//! Rows of a table of PostgreSQL, by way of its log, Debezium and Kafka: what goes there goes here.

use std::sync::Arc;

use anyhow::{Context, ensure};
use ebap_tests::{Ebap, cdc, kafka::Kafka, rows, wait};
use serde_json::{Value, json};
use tokio_postgres::{Client, NoTls};

use crate::pipeline::Shared;

const CLICKS: &str = "clicks-cdc";

/// Both databases order and print these alike.
const ALL: &str = "SELECT user_id, name, tier, balance, since, seen, born FROM users ORDER BY user_id";

struct Scene {
    kafka: Kafka,
    postgres: Client,
    connect_url: String,
}

impl Scene {
    async fn set(shared: &Shared) -> anyhow::Result<Self> {
        let (bootstrap, postgres_url, connect_url) = shared.cdc().await?;
        let (postgres, connection) = tokio_postgres::connect(&postgres_url, NoTls).await.context("PostgreSQL")?;
        // Ends with the client; a lost connection shows in its next call.
        tokio::spawn(connection);
        Ok(Self { kafka: Kafka::new(bootstrap), postgres, connect_url })
    }

    fn register(&self, name: &str, config: &Value) -> anyhow::Result<()> {
        cdc::register(&self.connect_url, name, config)
    }

    /// Waits until EBAP shows what PostgreSQL holds.
    async fn equal(&self, ebap: &Client, table: &str) -> anyhow::Result<()> {
        let expected = rows::texts(&self.postgres, ALL).await?;
        let sql = ALL.replace("FROM users", &format!("FROM {table}"));
        let mut found = Vec::new();
        let outcome = wait::until("the table is what PostgreSQL has", wait::PATIENCE, async || {
            found = rows::texts(ebap, &sql).await?;
            Ok((found == expected).then_some(()))
        })
        .await;
        outcome.with_context(|| format!("{table}: expected {expected:?}, found {found:?}"))
    }

    /// A third connector writes Avro, by schemas that it registers; the table takes its columns from there.
    async fn in_avro(&self, shared: &Shared, ebap: &Client) -> anyhow::Result<()> {
        let (bootstrap, registry) = shared.registry().await?;
        // The address of the same registry for its own clients.
        let own = registry.replace("/apis/ccompat/v7", "/apis/registry/v2");
        let mut config = cdc::users_json()?;
        for (name, value) in [
            ("slot.name", "ebap_avro"),
            ("publication.name", "ebap_avro"),
            ("topic.prefix", "inavro"),
            ("transforms.route.regex", r"inavro\.public\.(.*)"),
            ("transforms.route.replacement", "inavro.cdc.$1"),
            ("decimal.handling.mode", "precise"),
        ] {
            config[name] = json!(value);
        }
        for of in ["key", "value"] {
            config[format!("{of}.converter")] = json!("io.apicurio.registry.utils.converter.AvroConverter");
            for (name, value) in [
                ("url", own.as_str()),
                ("auto-register", "true"),
                ("find-latest", "true"),
                ("as-confluent", "true"),
                ("use-id", "contentId"),
                ("headers.enabled", "false"),
            ] {
                config[format!("{of}.converter.apicurio.registry.{name}")] = json!(value);
            }
        }
        self.register("ebap-avro", &config)?;
        wait::until("the third snapshot is in its topic", wait::PATIENCE, async || {
            Ok(self.holds("inavro.cdc.users", 3).then_some(()))
        })
        .await?;
        let table = format!(
            "CREATE TABLE inavro (*, since TIMESTAMPTZ NOT NULL, seen TIMESTAMP, PRIMARY KEY (user_id))
             WITH (connector = 'kafka', bootstrap_servers = '{bootstrap}', topic = 'inavro.cdc.users',
                   format = 'debezium-avro', schema_registry = '{registry}')"
        );
        rows::execute(ebap, &[&table]).await?;
        let changes = [
            "DELETE FROM users WHERE user_id = 6",
            "UPDATE users SET balance = 1234567.89, born = '1815-12-10' WHERE user_id = 1",
            "UPDATE users SET user_id = 8 WHERE user_id = 1",
            "INSERT INTO users (user_id, name, seen) VALUES (9, 'Barbara', '1969-12-31 23:59:59.5')",
        ];
        rows::execute(&self.postgres, &changes).await?;
        self.equal(ebap, "users").await?;
        self.equal(ebap, "inavro").await
    }

    /// Brokers cannot be asked about a topic that is just being made.
    fn holds(&self, topic: &str, records: usize) -> bool {
        self.kafka.read_all(topic).is_ok_and(|found| found.len() == records)
    }

    /// Waits until the join would go on behind all that it has read. What is read again meets the table as it is then.
    async fn durable(&self, ebap: &Client) -> anyhow::Result<()> {
        let now = rows::texts(ebap, "SELECT now()").await?.concat().concat();
        let sql = format!("SELECT count(*) FROM ebap.checkpoints WHERE source = 'users + clicks' AND at > '{now}'");
        wait::until("an epoch of the join is durable", wait::PATIENCE, async || {
            // Without something new to read there is no new epoch.
            self.kafka.produce(CLICKS, 0, [json!({"n": 0}).to_string().as_str()])?;
            rows::execute(ebap, &["FLUSH"]).await?;
            Ok((rows::texts(ebap, &sql).await? != [["0"]]).then_some(()))
        })
        .await
    }

    /// One click of each user, numbered from there.
    async fn click(&self, ebap: &Client, first: i64, users: &[i64]) -> anyhow::Result<()> {
        // All that the join has to know is known.
        rows::execute(ebap, &["FLUSH"]).await?;
        let lines = users.iter().zip(first..).map(|(user, n)| json!({"n": n, "user_id": user}).to_string());
        let lines: Vec<String> = lines.collect();
        self.kafka.produce(CLICKS, 0, lines.iter().map(String::as_str))?;
        rows::execute(ebap, &["FLUSH"]).await
    }
}

fn table(name: &str, bootstrap: &str, topic: &str) -> String {
    format!(
        "CREATE TABLE {name} (
             user_id BIGINT PRIMARY KEY, name TEXT NOT NULL, tier TEXT NOT NULL, balance NUMERIC(12, 2) NOT NULL,
             since TIMESTAMPTZ NOT NULL, seen TIMESTAMP, born DATE)
         WITH (connector = 'kafka', bootstrap_servers = '{bootstrap}', topic = '{topic}', format = 'debezium-json')"
    )
}

async fn answers(ebap: &Client) -> anyhow::Result<[Vec<Vec<String>>; 3]> {
    Ok([
        rows::texts(ebap, "SELECT n, name, tier FROM met ORDER BY n").await?,
        rows::texts(ebap, "SELECT n, name FROM known ORDER BY n").await?,
        rows::texts(ebap, "SELECT tier, users, balance FROM tiers ORDER BY tier").await?,
    ])
}

pub(crate) async fn deletes_in_postgres_are_deletes_here(shared: Arc<Shared>) -> anyhow::Result<()> {
    let scene = Scene::set(&shared).await?;
    let bootstrap = shared.kafka().await?;
    scene.kafka.create_topic(CLICKS, 1).await?;
    let source = "CREATE TABLE users (
        user_id BIGINT PRIMARY KEY, name TEXT NOT NULL, tier TEXT NOT NULL DEFAULT 'free',
        balance NUMERIC(12, 2) NOT NULL DEFAULT 0, since TIMESTAMPTZ NOT NULL DEFAULT now(),
        seen TIMESTAMP(3), born DATE)";
    let first = "INSERT INTO users (user_id, name, tier, balance, since, seen, born) VALUES
        (1, 'Ada', 'gold', 100.50, '2026-01-02 03:04:05.678+00', '2026-01-02 03:04:05.678', '1815-12-10'),
        (2, 'Linus', 'free', 0, '2026-01-03 00:00:00+01', NULL, NULL),
        (3, 'Grace', 'silver', -12.34, now(), '1969-12-31 23:59:59.5', '1906-12-09')";
    rows::execute(&scene.postgres, &[source, first]).await?;
    scene.register("ebap-users", &cdc::users_json()?)?;
    wait::until("the snapshot is in the topic", wait::PATIENCE, async || {
        Ok(scene.holds("ebap.cdc.users", 3).then_some(()))
    })
    .await?;

    let mut server = Ebap::start().await?;
    let ebap = server.connect().await?;
    let clicks = format!(
        "CREATE STREAM clicks (n BIGINT NOT NULL, user_id BIGINT)
         WITH (connector = 'kafka', bootstrap_servers = '{bootstrap}', topic = '{CLICKS}', format = 'json')"
    );
    let views = [
        "CREATE MATERIALIZED VIEW met AS SELECT c.n, u.name, u.tier FROM clicks c LEFT JOIN users u ON u.user_id = c.user_id WHERE c.n > 0",
        "CREATE MATERIALIZED VIEW known AS SELECT c.n, u.name FROM clicks c JOIN users u ON u.user_id = c.user_id",
        "CREATE MATERIALIZED VIEW tiers AS SELECT tier, count(*) AS users, sum(balance) AS balance FROM users GROUP BY tier",
    ];
    rows::execute(&ebap, &[&table("users", &bootstrap, "ebap.cdc.users"), &clicks]).await?;
    rows::execute(&ebap, &views).await?;
    scene.equal(&ebap, "users").await?;
    scene.click(&ebap, 1, &[1, 2, 3, 30]).await?;

    // The identity of a row is its primary key here, so that the log says nothing else of a row that goes.
    let changes = [
        "INSERT INTO users (user_id, name) VALUES (5, 'Edsger')",
        "UPDATE users SET tier = 'gold', balance = balance + 7 WHERE user_id = 2",
        "DELETE FROM users WHERE user_id = 1",
        "UPDATE users SET user_id = 30 WHERE user_id = 3",
    ];
    rows::execute(&scene.postgres, &changes).await?;
    scene.equal(&ebap, "users").await?;
    scene.click(&ebap, 5, &[1, 2, 3, 30, 5]).await?;
    let text = |rows: &[[&str; 3]]| rows.iter().map(|row| row.map(str::to_owned).to_vec()).collect::<Vec<_>>();
    let met = text(&[
        ["1", "Ada", "gold"],
        ["2", "Linus", "free"],
        ["3", "Grace", "silver"],
        ["4", "NULL", "NULL"],
        ["5", "NULL", "NULL"],
        ["6", "Linus", "gold"],
        ["7", "NULL", "NULL"],
        ["8", "Grace", "silver"],
        ["9", "Edsger", "free"],
    ]);
    let tiers = text(&[["free", "1", "0.00"], ["gold", "1", "7.00"], ["silver", "1", "-12.34"]]);
    let before = answers(&ebap).await?;
    ensure!(before[0] == met, "met: {:?}", before[0]);
    let known = met.iter().filter(|row| row[1] != "NULL").map(|row| row[..2].to_vec());
    ensure!(before[1] == known.collect::<Vec<_>>(), "known: {:?}", before[1]);
    ensure!(before[2] == tiers, "tiers: {:?}", before[2]);

    scene.durable(&ebap).await?;
    server.kill()?;
    server.start_again().await?;
    let ebap = server.connect().await?;
    rows::execute(&ebap, &["FLUSH"]).await?;
    ensure!(answers(&ebap).await? == before, "killed: {:?}", answers(&ebap).await?);
    scene.equal(&ebap, "users").await?;

    // From now on the log has whole rows; and another connector says the schema beside each of them.
    rows::execute(&scene.postgres, &["ALTER TABLE users REPLICA IDENTITY FULL"]).await?;
    let mut wrapped = cdc::connector_of("wrapped", "users")?;
    for (name, value) in [
        ("time.precision.mode", "adaptive"),
        ("key.converter.schemas.enable", "true"),
        ("value.converter.schemas.enable", "true"),
    ] {
        wrapped[name] = json!(value);
    }
    scene.register("ebap-wrapped", &wrapped)?;
    wait::until("the second snapshot is in its topic", wait::PATIENCE, async || {
        Ok(scene.holds("wrapped.cdc.users", 3).then_some(()))
    })
    .await?;
    rows::execute(&ebap, &[&table("wrapped", &bootstrap, "wrapped.cdc.users")]).await?;
    let changes = [
        "DELETE FROM users WHERE user_id = 30",
        "INSERT INTO users (user_id, name, seen) VALUES (1, 'Ada again', '2026-05-06 07:08:09.123')",
        "UPDATE users SET user_id = 6 WHERE user_id = 5",
    ];
    rows::execute(&scene.postgres, &changes).await?;
    scene.equal(&ebap, "users").await?;
    scene.equal(&ebap, "wrapped").await?;
    scene.click(&ebap, 10, &[30, 1, 5, 6]).await?;
    let later = rows::texts(&ebap, "SELECT n, name, tier FROM met WHERE n >= 10 ORDER BY n").await?;
    let expected =
        [["10", "NULL", "NULL"], ["11", "Ada again", "free"], ["12", "NULL", "NULL"], ["13", "Edsger", "free"]];
    ensure!(later == text(&expected), "met later: {later:?}");
    scene.in_avro(&shared, &ebap).await?;
    let odd = "SELECT count(*) FROM ebap.accounting
               WHERE dead_lettered > 0 OR consumed <> emitted + late + dead_lettered + filtered";
    ensure!(rows::texts(&ebap, odd).await? == [["0"]], "records of the tables were rejected or lost");
    Ok(())
}
