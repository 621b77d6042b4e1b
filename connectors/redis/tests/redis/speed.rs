//! That the cost of a row is low, as a bound that even a debug build on a busy machine keeps by far.

use ebap_connector::time;

use crate::{at, changes, database, sink};

/// Prints what it measured; `cargo test --release … speed -- --nocapture` gives a figure to quote.
#[tokio::test]
async fn many_keys_are_written_in_a_second() {
    const KEYS: usize = 20_000;
    let (url, mut redis) = database(16).await;
    let mut sink = sink(&url, 1);
    sink.open().await.expect("open");
    let names: Vec<_> = (0..KEYS).map(|n| format!("r{n}")).collect();
    let values: Vec<_> = names.iter().map(|name| (name.as_str(), Some(1))).collect();
    let mut rates = Vec::new();
    for round in 1..=5 {
        let input = changes(&[], &values);
        let began = time::instant();
        sink.write(input, &at(round)).await.expect("write");
        rates.push(KEYS as f64 / began.elapsed().as_secs_f64());
    }
    let cpu: String = crate::ask(&mut redis, &["INFO", "cpu"]).await;
    println!("changed keys per second, the first all new: {rates:.0?}\n{cpu}");
    assert!(rates.iter().any(|rate| *rate > 2_000.0), "{rates:?}");
}
