//! That the cost of a row is low, as a bound that even a debug build on a busy machine keeps by far.

use ebap_connector::{Sink, time};

use crate::{at, changes, database, servers::in_cluster, sink};

/// Prints what it measured; `cargo test --release … speed -- --nocapture` gives a figure to quote.
#[tokio::test]
async fn many_keys_are_written_in_a_second() {
    const KEYS: usize = 20_000;
    let (url, mut redis) = database(16).await;
    let rates = rates(sink(&url, 1), KEYS, 1).await;
    let cpu: String = crate::ask(&mut redis, &["INFO", "cpu"]).await;
    println!("changed keys per second, the first all new: {rates:.0?}\n{cpu}");
    assert!(rates.iter().any(|rate| *rate > 2_000.0), "{rates:?}");
}

/// Here each key is in another slot, and each row a script of its own.
#[tokio::test]
async fn many_keys_are_written_in_a_second_to_a_cluster() {
    const KEYS: usize = 5_000;
    crate::start("redis-cluster.sh");
    // Newer than an earlier run of this test: nobody empties the cluster.
    let now = time::now_us();
    let incarnation = u64::try_from(now).expect("after 1970");
    let rates = rates(in_cluster("fast", incarnation, &[("ttl", "1 minute")]), KEYS, now).await;
    println!("changed keys per second in a cluster: {rates:.0?}");
    assert!(rates.iter().any(|rate| *rate > 500.0), "{rates:?}");
}

async fn rates(mut sink: Box<dyn Sink>, keys: usize, from: i64) -> Vec<f64> {
    sink.open().await.expect("open");
    let names: Vec<_> = (0..keys).map(|n| format!("r{n}")).collect();
    let values: Vec<_> = names.iter().map(|name| (name.as_str(), Some(1))).collect();
    let mut rates = Vec::new();
    for round in 0..5 {
        let input = changes(&[], &values);
        let began = time::instant();
        sink.write(input, &at(from + round)).await.expect("write");
        rates.push(keys as f64 / began.elapsed().as_secs_f64());
    }
    rates
}
