//! Every kind of state an aggregate can have: merged step by step, into windows of several sizes,
//! written down and read back, it gives what one query over all rows gives.

use super::rig::Rig;

const READINGS: &str = "CREATE STREAM readings (
    id BIGINT NOT NULL, host TEXT, on_call BOOLEAN, load DOUBLE, cents BIGINT, price DECIMAL(12, 2),
    seen TIMESTAMPTZ, day DATE, timestamp TIMESTAMPTZ NOT NULL,
    WATERMARK FOR timestamp AS timestamp - INTERVAL '10 minutes'
) WITH (connector = 'test', idle_timeout = '1 hour')";

/// Sums of doubles are of quarters, which are exact in any order.
const AGGREGATES: &str =
    "count(*) AS n, count(load) AS loads, sum(cents) AS cents, sum(load) AS load, sum(price) AS price,
    avg(load) AS mean, avg(price) AS mean_price, min(load) AS least, max(load) AS most, min(cents) AS least_cents,
    max(price) AS most_price, min(host) AS first_host, max(seen) AS newest, min(day) AS first_day,
    count(DISTINCT host) AS hosts, count(DISTINCT cents) AS amounts, count(DISTINCT seen) AS moments,
    count(DISTINCT load) AS distinct_loads, count(DISTINCT host) FILTER (WHERE on_call) AS hosts_on_call,
    sum(DISTINCT cents) AS distinct_cents, count(*) FILTER (WHERE load > 10) AS high, bool_or(on_call) AS any_on_call,
    median(cents) AS middle, bit_xor(cents) AS bits, var_pop(load) AS variance, covar_samp(load, cents) AS together,
    regr_slope(load, cents) AS slope, last_value(id ORDER BY id) AS last_id, approx_distinct(host) AS about_hosts, stddev(load) AS spread, first_value(id ORDER BY id) AS first_id,
    array_agg(DISTINCT cents ORDER BY cents) AS all_cents";

/// Values with NULLs, the empty string, and signs, over two hours.
fn reading(at: i64) -> String {
    let null_or = |every: i64, text: String| if at % every == 0 { "null".to_owned() } else { text };
    let second = at * 7 % 7200;
    format!(
        r#"{{"id":{at},"host":{},"on_call":{},"load":{},"cents":{},"price":"{}.{:02}","seen":{},"day":"2026-01-{:02}",
            "timestamp":"2026-01-01T{:02}:{:02}:{:02}Z"}}"#,
        null_or(11, if at % 5 == 0 { "\"\"".to_owned() } else { format!("\"host-{}\"", at % 37) }),
        null_or(7, (at % 3 == 0).to_string()),
        null_or(13, format!("{}.25", at % 29 - 9)),
        null_or(17, (at % 41 - 20).to_string()),
        at % 97,
        at % 100,
        null_or(19, format!("\"2026-01-01T00:00:{:02}Z\"", at % 60)),
        at % 28 + 1,
        second / 3600,
        second / 60 % 60,
        second % 60,
    )
}

#[tokio::test]
async fn every_aggregate_in_every_size_equals_the_batch_also_when_killed() {
    let mut rig = Rig::new();
    rig.sql(READINGS).await;
    rig.sql(&format!(
        "CREATE MATERIALIZED VIEW live AS SELECT on_call AS k, {AGGREGATES} FROM readings GROUP BY on_call
         WINDOW TUMBLE (timestamp, INTERVAL '5 minutes', INTERVAL '15 minutes', INTERVAL '1 hour')"
    ))
    .await;
    rig.sql(&format!("CREATE MATERIALIZED VIEW total AS SELECT {AGGREGATES} FROM readings")).await;
    for round in 0..8 {
        rig.outside.produce("0", (round * 300..(round + 1) * 300).map(reading));
        if round % 2 == 1 {
            rig.flush().await;
        }
        rig.kill();
        rig.start().await;
    }
    rig.flush().await;
    let names: Vec<&str> = AGGREGATES.split(" AS ").skip(1).filter_map(|rest| rest.split([',', '\n']).next()).collect();
    let names = names.join(", ");
    for minutes in [5, 15, 60] {
        let live = format!(
            "SELECT window_start, k, {names} FROM live
             WHERE window_end - window_start = INTERVAL '{minutes} minutes' ORDER BY window_start, k"
        );
        let batch = format!(
            "SELECT date_bin(INTERVAL '{minutes} minutes', timestamp) AS window_start, on_call AS k, {AGGREGATES}
             FROM readings WHERE NOT (_late AND date_bin(INTERVAL '5 minutes', timestamp) + INTERVAL '5 minutes' <= _watermark)
             GROUP BY 1, 2 ORDER BY 1, 2"
        );
        let (live, batch) = (rig.query(&live).await, rig.query(&batch).await);
        assert!(live.lines().count() > 6, "{live}");
        assert_same(&live, &batch);
    }
    assert_same(
        &rig.query("SELECT * FROM total").await,
        &rig.query(&format!("SELECT {AGGREGATES} FROM readings")).await,
    );
}

/// Equal but for the last digits of a standard deviation, which depend on the order of the rows.
fn assert_same(live: &str, batch: &str) {
    let rounded = |table: &str| -> Vec<Vec<String>> {
        let cell = |cell: &str| match cell.trim().parse::<f64>() {
            Ok(number) if cell.len() > 14 => format!("{number:.9}"),
            _ => cell.trim().to_owned(),
        };
        let rows = table.lines().filter(|line| line.starts_with('|'));
        rows.map(|line| line.split('|').map(cell).collect()).collect()
    };
    assert_eq!(rounded(live), rounded(batch));
}

#[tokio::test]
async fn distinct_values_that_no_window_has_any_more_are_let_go() {
    let mut rig = Rig::new();
    rig.sql(&READINGS.replace("10 minutes", "0 seconds")).await;
    rig.sql(
        "CREATE MATERIALIZED VIEW hosts AS SELECT count(DISTINCT id) AS ids FROM readings
         WINDOW TUMBLE (timestamp, INTERVAL '1 minute', INTERVAL '1 hour')",
    )
    .await;
    let at =
        |id: i64, hour: i64| format!(r#"{{"id":{id},"timestamp":"2026-01-01T{hour:02}:{:02}:00Z"}}"#, id / 60 % 60);
    // More values than a sweep waits for, hour after hour, and some of them again and again.
    for hour in 0..6 {
        rig.outside.produce("0", (0..900).map(|id| at(if id % 2 == 0 { id } else { id + hour * 10_000 }, hour)));
        rig.flush().await;
    }
    let live = rig.query("SELECT window_start, ids FROM hosts ORDER BY window_start, ids").await;
    let batch = |unit: &str| {
        format!(
            "SELECT date_trunc('{unit}', timestamp) AS window_start, count(DISTINCT id) AS ids FROM readings WHERE NOT _late GROUP BY 1"
        )
    };
    let batch = rig
        .query(&format!("SELECT * FROM ({} UNION ALL {}) ORDER BY window_start, ids", batch("minute"), batch("hour")))
        .await;
    assert_eq!(live, batch);
}
