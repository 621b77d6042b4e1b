//! TLS with a user of the server's own, a cluster of three masters, a master that a sentinel names.

use std::path::PathBuf;

use ebap_connector::{Error, Sink};
use redis::{AsyncTypedCommands, aio::MultiplexedConnection, cluster_async::ClusterConnection};

use crate::{ask, at, changes, connect, hash, sink_with, stack, start};

/// Of `redis-tls.sh`.
fn issuer() -> String {
    let home = std::env::var_os("STACK_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache/ebap-stack")));
    home.expect("a home").join("data/redis-16483/tls/ca.crt").to_string_lossy().into_owned()
}

#[tokio::test]
async fn a_user_writes_over_tls_what_he_may() {
    // As the server does for the whole process.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    start("redis-tls.sh");
    let ca = issuer();
    let options =
        [("ca_cert", ca.as_str()), ("user", "ebap"), ("password", "p@ss: word"), ("key", "tls:{window_size}:{region}")];
    let mut sink = sink_with("rediss://127.0.0.1:16484/2", 1, &options);
    let mut redis = connect("redis://127.0.0.1:16483/2").await;
    redis.flushdb().await.expect("flush");
    sink.open().await.expect("open");
    sink.write(changes(&[], &[("eu", Some(7))]), &at(1)).await.expect("write");
    sink.write(changes(&[("eu", Some(7))], &[("us", Some(8))]), &at(2)).await.expect("write");
    sink.sweep(&at(2)).await.expect("sweep");
    assert_eq!(redis.keys("tls:*").await.expect("keys"), ["tls:1m:us"]);

    let mut elsewhere = sink_with("rediss://127.0.0.1:16484/2", 2, &options[..3]);
    elsewhere.open().await.expect("open");
    let refused = elsewhere.write(changes(&[], &[("eu", Some(7))]), &at(3)).await;
    assert!(matches!(refused, Err(Error::Refused { .. })), "a key the user may not touch: {refused:?}");
    let wrong = [options[0], options[1], ("password", "wrong")];
    let refused = sink_with("rediss://127.0.0.1:16484", 1, &wrong).open().await.expect_err("a wrong password");
    assert!(matches!(refused, Error::Refused { .. }), "{refused:?}");
    let unknown = sink_with("rediss://127.0.0.1:16484", 1, &options[1..3]).open().await;
    assert!(matches!(unknown, Err(Error::Unreachable { .. })), "an issuer nobody knows: {unknown:?}");
}

struct Cluster {
    nodes: Vec<MultiplexedConnection>,
    redis: ClusterConnection,
}

pub(crate) const NODES: &str = "redis://127.0.0.1:16480,redis://127.0.0.1:16481, redis://127.0.0.1:16482";

/// One cluster for all tests: each has keys and sinks of its own, and nothing of them is there.
async fn cluster(sinks: &[&str]) -> Cluster {
    start("redis-cluster.sh");
    let urls = NODES.split(',').map(str::trim);
    let mut nodes = Vec::new();
    for url in urls.clone() {
        nodes.push(connect(url).await);
    }
    let client = redis::cluster::ClusterClient::new(urls.collect::<Vec<_>>()).expect("urls");
    let mut cluster = Cluster { nodes, redis: client.get_async_connection().await.expect("a cluster") };
    for sink in sinks {
        for key in cluster.keys(&format!("*{sink}*")).await {
            cluster.redis.del(&key).await.expect("del");
        }
    }
    cluster
}

impl Cluster {
    /// On whichever node.
    async fn keys(&mut self, pattern: &str) -> Vec<String> {
        let mut all = Vec::new();
        for node in &mut self.nodes {
            all.extend(node.keys(pattern).await.expect("keys"));
        }
        all.sort();
        all
    }

    async fn everything_expires(&mut self) {
        for node in &mut self.nodes {
            crate::everything_expires(node).await;
        }
    }

    async fn field(&mut self, key: &str, field: &str) -> Option<String> {
        self.redis.hget(key, field).await.expect("hget")
    }
}

/// Opened, with a key of the test's own, and an `id` too.
pub(crate) fn in_cluster(id: &str, incarnation: u64, options: &[(&str, &str)]) -> Box<dyn Sink> {
    let mut context = crate::context(NODES, incarnation);
    context.id = id.to_owned();
    context.options.set("cluster", "true");
    context.options.set("key", format!("{id}:{{window_size}}:{{region}}"));
    for (name, value) in options {
        context.options.set(*name, *value);
    }
    ebap_redis::sink(&context).expect("options are fine")
}

#[tokio::test]
async fn a_cluster_has_the_rows_of_a_view_over_all_of_its_nodes() {
    let mut cluster = cluster(&["spread"]).await;
    let names: Vec<_> = (0..2_000).map(|n| format!("r{n}")).collect();
    let values: Vec<_> = names.iter().map(|name| (name.as_str(), Some(1))).collect();
    let mut old = in_cluster("spread", 1, &[]);
    old.open().await.expect("open");
    old.write(changes(&[], &values), &at(10)).await.expect("write");
    assert_eq!(cluster.keys("spread:*").await.len(), 2_000);
    for node in &mut cluster.nodes {
        assert!(node.keys("spread:*").await.expect("keys").len() > 400, "every node has its part");
    }
    let mut new = in_cluster("spread", 2, &[]);
    assert_eq!(new.open().await.expect("open").position, Some(at(10)));
    new.write(changes(&[], &values[..3]), &at(10)).await.expect("write");
    new.sweep(&at(10)).await.expect("sweep");
    assert_eq!(cluster.keys("spread:*").await, ["spread:1m:r0", "spread:1m:r1", "spread:1m:r2"]);
    let late = old.write(changes(&[], &values), &at(11)).await;
    assert!(matches!(late, Err(Error::Fenced { .. })), "{late:?}");
    cluster.everything_expires().await;
}

/// The script of a writer that was held up between storing its position and writing its rows: it reaches Redis when a
/// newer writer has been there.
#[tokio::test]
async fn an_older_writer_in_a_cluster_brings_nothing_back() {
    let mut cluster = cluster(&["held", "late"]).await;
    let mut old = in_cluster("held", 1, &[]);
    old.open().await.expect("open");
    old.write(changes(&[], &[("kept", Some(1)), ("gone", Some(1)), ("swept", Some(1))]), &at(10)).await.expect("write");
    let mut new = in_cluster("held", 2, &[]);
    new.open().await.expect("open");
    new.write(changes(&[("gone", Some(1))], &[("kept", Some(2))]), &at(10)).await.expect("write");
    new.sweep(&at(10)).await.expect("sweep");
    assert_eq!(cluster.keys("held:*").await, ["held:1m:kept"]);

    // The old writer's rows once more, by a sink of another name: its own position and index are not in the way.
    let mut late = in_cluster("late", 1, &[("key", "held:{window_size}:{region}")]);
    late.open().await.expect("open");
    late.write(changes(&[], &[("kept", Some(1)), ("gone", Some(1)), ("swept", Some(1))]), &at(10))
        .await
        .expect("write");
    assert_eq!(cluster.keys("held:*").await, ["held:1m:kept"], "what was deleted stays deleted");
    assert_eq!(
        cluster.field("held:1m:kept", "count").await.as_deref(),
        Some("2"),
        "at one version the newer writer wins"
    );
    new.write(changes(&[], &[("gone", Some(3))]), &at(11)).await.expect("write");
    assert_eq!(cluster.field("held:1m:gone", "count").await.as_deref(), Some("3"), "a newer value comes all the same");
    cluster.everything_expires().await;
}

#[tokio::test]
async fn every_type_works_in_a_cluster() {
    let mut cluster = cluster(&["cstring", "cset", "ctop", "clog"]).await;
    let member = ("member", "{region}");
    let set = [("type", "set"), ("key", "cset:{window_size}"), member];
    let top = [("type", "zset"), ("key", "ctop:{window_size}"), member, ("score", "count")];
    let kinds: [(&str, &[(&str, &str)]); 4] = [
        ("cstring", &[("type", "string"), ("value", "count")]),
        ("cset", &set),
        ("ctop", &top),
        ("clog", &[("type", "stream"), ("key", "clog:{{tag}}:{window_size}")]),
    ];
    for (id, options) in kinds {
        let mut sink = in_cluster(id, 1, options);
        sink.open().await.expect("open");
        sink.write(changes(&[], &[("eu", Some(1)), ("us", Some(2))]), &at(1)).await.expect("write");
        sink.write(changes(&[("eu", Some(1))], &[("us", Some(3))]), &at(2)).await.expect("write");
        // A replay.
        sink.write(changes(&[], &[("eu", Some(1)), ("us", Some(2))]), &at(1)).await.expect("write");
        let mut next = in_cluster(id, 2, options);
        assert_eq!(next.open().await.expect("open").position, Some(at(2)), "{id}");
    }
    let redis = &mut cluster.redis;
    assert_eq!(redis.get("cstring:1m:us").await.expect("get").as_deref(), Some("3"));
    assert_eq!(redis.get("cstring:1m:eu").await.expect("get"), None);
    assert_eq!(redis.smembers("cset:1m").await.expect("smembers").into_iter().collect::<Vec<_>>(), ["us"]);
    let top = redis.zrange_withscores("ctop:1m", 0, -1).await.expect("zrange");
    assert_eq!(top, [("us".to_owned(), 3.0)]);
    let length: i64 = redis::cmd("XLEN").arg("clog:{tag}:1m").query_async(redis).await.expect("xlen");
    assert_eq!(length, 4, "two rows, a deletion and an update");
    cluster.everything_expires().await;
}

#[tokio::test]
async fn a_node_that_lost_its_memory_is_noticed() {
    let mut cluster = cluster(&["lossy"]).await;
    let mut sink = in_cluster("lossy", 1, &[]);
    sink.open().await.expect("open");
    sink.write(changes(&[], &[("eu", Some(1))]), &at(1)).await.expect("write");
    // Of the index, what one node has of it.
    let part = cluster.keys("ebap:sink:{lossy.*}").await.into_iter().next().expect("a part of the index");
    cluster.redis.del(&part).await.expect("del");
    let lost = sink.write(changes(&[], &[("eu", Some(2))]), &at(2)).await;
    assert!(matches!(lost, Err(Error::Unreachable { .. })), "{lost:?}");
    assert_eq!(sink.open().await.expect("open").position, Some(at(2)));
    sink.write(changes(&[], &[("eu", Some(2))]), &at(2)).await.expect("write");
    assert_eq!(cluster.field("lossy:1m:eu", "count").await.as_deref(), Some("2"));
}

#[tokio::test]
async fn the_master_that_a_sentinel_names_is_written_to_also_after_a_failover() {
    start("redis-sentinel.sh");
    let sentinel = || stack("redis-sentinel.sh", &["cli", "SENTINEL", "GET-MASTER-ADDR-BY-NAME", "ebap"]);
    let before = sentinel();
    let port = |answer: &str| answer.lines().nth(1).expect("a port").to_owned();
    let mut redis = connect(&format!("redis://127.0.0.1:{}", port(&before))).await;
    redis.flushdb().await.expect("flush");
    let mut sink = sink_with("redis://127.0.0.1:16487", 1, &[("sentinel", "ebap")]);
    sink.open().await.expect("open");
    sink.write(changes(&[], &[("eu", Some(1))]), &at(1)).await.expect("write");
    assert_eq!(hash(&mut redis, "activity:1m:eu").await["count"], "1");
    let mut looks = 0;
    while ask::<i64>(&mut redis, &["WAIT", "1", "200"]).await == 0 {
        looks += 1;
        assert!(looks < 150, "the replica does not follow");
    }

    stack("redis-sentinel.sh", &["cli", "SENTINEL", "FAILOVER", "ebap"]);
    // As the engine does: look after it, open it again after an error that may pass, and write all rows.
    for attempt in 2.. {
        assert!(attempt < 2_000, "no failover: {}", sentinel());
        let reached = match sink.write(changes(&[], &[("eu", Some(2))]), &at(attempt)).await {
            Ok(()) => sentinel(),
            Err(Error::Unreachable { .. }) => {
                // It fails until the sentinel has done its work.
                let _ = sink.open().await;
                continue;
            }
            Err(other) => panic!("{other:?}"),
        };
        let mut redis = connect(&format!("redis://127.0.0.1:{}", port(&reached))).await;
        if reached != before && hash(&mut redis, "activity:1m:eu").await["count"] == "2" {
            break;
        }
    }
}
