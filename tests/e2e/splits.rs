//! Partitions that come, that are silent, and views that come later.

use std::sync::Arc;

use anyhow::ensure;
use ebap_tests::{Ebap, kafka::Kafka, rows, server::generate, wait};
use tokio_postgres::Client;

use crate::pipeline::Shared;

fn stream(bootstrap: &str, topic: &str) -> String {
    format!(
        "CREATE STREAM clicks (n BIGINT NOT NULL, page TEXT, at TIMESTAMPTZ NOT NULL,
             WATERMARK FOR at AS at - INTERVAL '1 second')
         WITH (connector = 'kafka', bootstrap_servers = '{bootstrap}', topic = '{topic}', format = 'json',
               idle_timeout = '2 seconds')"
    )
}

fn click(n: u32, minute: u32) -> String {
    format!(r#"{{"n":{n},"page":"p{}","at":"2026-01-01T00:{minute:02}:30Z"}}"#, n % 3)
}

pub(crate) async fn an_added_partition_is_read(shared: Arc<Shared>) -> anyhow::Result<()> {
    let bootstrap = shared.kafka().await?;
    let kafka = Kafka::new(&bootstrap);
    kafka.create_topic("clicks-growing", 2).await?;
    let ebap = Ebap::start().await?;
    let client = ebap.connect().await?;
    let view = "CREATE MATERIALIZED VIEW seen AS SELECT count(*) AS clicks, sum(n) AS total FROM clicks";
    rows::execute(&client, &[&stream(&bootstrap, "clicks-growing"), view]).await?;
    kafka.produce("clicks-growing", 0, [click(1, 0).as_str(), &click(2, 0)])?;
    kafka.produce("clicks-growing", 1, [click(4, 0).as_str()])?;
    rows::execute(&client, &["FLUSH"]).await?;
    ensure!(rows::texts(&client, "SELECT clicks, total FROM seen").await? == [["3", "7"]], "before");

    kafka.add_partitions("clicks-growing", 3).await?;
    kafka.produce("clicks-growing", 2, [click(8, 0).as_str()])?;
    // The broker may say so a little later to other clients; `FLUSH` looks for partitions each time.
    wait::until("the new partition is read", wait::PATIENCE, async || {
        rows::execute(&client, &["FLUSH"]).await?;
        let seen = rows::texts(&client, "SELECT clicks, total FROM seen").await?;
        Ok((seen == [["4", "15"]]).then_some(()))
    })
    .await?;
    let splits = rows::texts(&client, "SELECT split, \"offset\" FROM ebap.splits ORDER BY split").await?;
    ensure!(splits == [["0", "2"], ["1", "1"], ["2", "1"]], "{splits:?}");
    Ok(())
}

pub(crate) async fn an_idle_partition_holds_nothing(shared: Arc<Shared>) -> anyhow::Result<()> {
    let bootstrap = shared.kafka().await?;
    let kafka = Kafka::new(&bootstrap);
    kafka.create_topic("clicks-idle", 2).await?;
    let ebap = Ebap::start().await?;
    let client = ebap.connect().await?;
    let view = "CREATE MATERIALIZED VIEW closed AS SELECT count(*) AS clicks FROM clicks
                GROUP BY page WINDOW TUMBLE (at, INTERVAL '1 minute') EMIT ON WINDOW CLOSE";
    rows::execute(&client, &[&stream(&bootstrap, "clicks-idle"), view]).await?;
    // Partition 1 never has a record.
    kafka.produce("clicks-idle", 0, [click(3, 0).as_str(), &click(3, 1), &click(3, 5)])?;
    let closed = wait::until("the windows below the newest record close", wait::PATIENCE, async || {
        let closed = rows::texts(&client, "SELECT sum(clicks) FROM closed").await?;
        Ok((closed == [["2"]]).then_some(()))
    });
    closed.await?;
    // The table is brought up to date a little after the views.
    wait::until("the silent partition is shown as idle", wait::PATIENCE, async || {
        let states = rows::texts(&client, "SELECT state FROM ebap.splits WHERE split = '1'").await?;
        Ok((states == [["idle"]]).then_some(()))
    })
    .await
}

/// Also where rows were late: they are late for both.
pub(crate) async fn a_later_view_is_equal(shared: Arc<Shared>) -> anyhow::Result<()> {
    let bootstrap = shared.kafka().await?;
    Kafka::new(&bootstrap).create_topic("events-twice", 3).await?;
    let args =
        ["--rows", "100000", "--event-rate", "20", "--late-share", "0.02", "--bad-share", "0.01", "--late-by", "10m"];
    generate(&bootstrap, "events-twice", &args)?;
    let ebap = Ebap::start().await?;
    let client = ebap.connect().await?;
    let stream = format!(
        "CREATE STREAM events (user_id TEXT NOT NULL, action TEXT NOT NULL, timestamp TIMESTAMPTZ NOT NULL,
             WATERMARK FOR timestamp AS timestamp - INTERVAL '3 seconds')
         WITH (connector = 'kafka', bootstrap_servers = '{bootstrap}', topic = 'events-twice', format = 'json')"
    );
    rows::execute(&client, &[&stream, &view("before"), "FLUSH", &view("after"), "FLUSH"]).await?;
    let before = content(&client, "before").await?;
    ensure!(before.len() > 100, "only {} rows to compare", before.len());
    ensure!(before == content(&client, "after").await?, "the later view differs");
    let accounting = "SELECT split, consumed, emitted, late, dead_lettered, filtered FROM ebap.accounting WHERE job =";
    let counts = rows::texts(&client, &format!("{accounting} 'before' ORDER BY split")).await?;
    ensure!(counts.iter().any(|row| row[3] != "0"), "no row was late: {counts:?}");
    ensure!(
        counts == rows::texts(&client, &format!("{accounting} 'after' ORDER BY split")).await?,
        "accounting differs"
    );
    Ok(())
}

fn view(name: &str) -> String {
    format!(
        "CREATE MATERIALIZED VIEW {name} AS
         SELECT action, count(*) AS events, count(DISTINCT user_id) AS users FROM events GROUP BY action
         WINDOW TUMBLE (timestamp, INTERVAL '1 minute', INTERVAL '10 minutes')"
    )
}

async fn content(client: &Client, view: &str) -> anyhow::Result<Vec<Vec<String>>> {
    let sql = format!("SELECT window_start, window_end, action, events, users FROM {view} ORDER BY 1, 2, 3");
    rows::texts(client, &sql).await
}
