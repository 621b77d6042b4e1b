//! Alerts: what pages, what does not, and that a crash changes neither.

use std::collections::BTreeSet;

use super::rig::Rig;

const EVENTS: &str = "CREATE STREAM events (
    region TEXT, amount BIGINT, timestamp TIMESTAMPTZ NOT NULL,
    WATERMARK FOR timestamp AS timestamp - INTERVAL '10 minutes'
) WITH (connector = 'test', idle_timeout = '1 hour');";
const LOAD: &str = "CREATE MATERIALIZED VIEW load AS SELECT region, max(amount) AS intensity FROM events
    GROUP BY region WINDOW TUMBLE (timestamp, INTERVAL '10 seconds');";
const ALERT: &str = "CREATE ALERT overload ON load WHEN intensity > 90 FOR INTERVAL '5 minutes'
    WITH (severity = 'page', summary = 'Region {region} at {intensity}', told = 'yes', label.team = 'web');";
/// Looks before something counts as never coming.
const LOOKS_MAX: usize = 20_000;

fn event(second: i64, region: &str, amount: i64) -> String {
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!(r#"{{"region":"{region}","amount":{amount},"timestamp":"2026-01-01T{hour:02}:{minute:02}:{second:02}Z"}}"#)
}

/// One event every five seconds for each region; `hot` says where it is too much.
fn events(seconds: std::ops::Range<i64>, region: &str, hot: &[(i64, i64)]) -> Vec<String> {
    let at = |second: i64| if hot.iter().any(|(from, to)| (*from..*to).contains(&second)) { 95 } else { 40 };
    seconds.step_by(5).map(|second| event(second, region, at(second))).collect()
}

/// What was told, each change once, as `{"region":"eu"} firing 700 since 400`.
fn told(rig: &Rig) -> Vec<String> {
    let start = 1_767_225_600_000_000;
    let mut seen = BTreeSet::new();
    let alerts = rig.outside.alerts.lock().clone();
    let second = |us: i64| (us - start) / 1_000_000;
    let fresh = alerts.into_iter().filter(|event| seen.insert(event.id.clone()));
    let mut all: Vec<(i64, String)> = fresh
        .map(|event| {
            let at = event.id.rsplit('/').nth(2).and_then(|at| at.parse().ok()).unwrap_or(0);
            let (status, region) = (event.status.as_str(), event.key["region"].clone());
            (at, format!("{region} {status} {} since {}", second(at), second(event.since_us)))
        })
        .collect();
    all.sort();
    all.into_iter().map(|(_, text)| text).collect()
}

async fn until(rig: &Rig, sql: &str, wanted: &str) {
    for _ in 0..LOOKS_MAX {
        if rig.query(sql).await.contains(wanted) {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("never {wanted}: {}", rig.query(sql).await);
}

async fn until_told(rig: &Rig, count: usize) -> Vec<String> {
    for _ in 0..LOOKS_MAX {
        if told(rig).len() >= count {
            break;
        }
        rig.query("SELECT count(*) AS n FROM alerts").await;
    }
    told(rig)
}

async fn history(rig: &Rig) -> String {
    rig.query("SELECT key, from_state, to_state, at FROM alert_history ORDER BY key, at, to_state").await
}

/// Spikes of 50 s, one of five minutes and a second in `eu`; `us` is never hot for long.
fn script(from: i64, to: i64) -> (Vec<String>, Vec<String>) {
    let hot = [(100, 150), (400, 701), (900, 950)];
    (events(from..to, "eu", &hot), events(from..to, "us", &[(100, 150), (300, 350), (600, 650)]))
}

const PAGES: [&str; 2] = ["eu firing 700 since 400", "eu resolved 710 since 400"];

#[tokio::test]
async fn a_spike_pages_nobody_and_five_minutes_page_once() {
    let mut rig = Rig::new();
    rig.sql(&format!("{EVENTS}{LOAD}{ALERT}")).await;
    let (eu, us) = script(0, 430);
    rig.outside.produce("0", eu);
    rig.outside.produce("1", us);
    rig.flush().await;
    let now = "SELECT key, state, since, value, colour FROM alerts ORDER BY key";
    until(&rig, now, r#"{"region":"eu"} | pending | 2026-01-01T00:06:40Z | 95.0  | yellow"#).await;
    until(&rig, now, r#"{"region":"us"} | normal  | 2026-01-01T00:05:50Z | 40.0  | green"#).await;
    let (eu, us) = script(430, 1_200);
    rig.outside.produce("0", eu);
    rig.outside.produce("1", us);
    rig.flush().await;
    assert_eq!(until_told(&rig, 2).await, PAGES);
    let event = rig.outside.alerts.lock()[0].clone();
    assert_eq!((event.severity.as_deref(), event.summary.as_str()), (Some("page"), "Region eu at 95"));
    assert_eq!(event.labels["team"], "web");
    until(&rig, now, r#"{"region":"eu"} | normal | 2026-01-01T00:15:50Z | 40.0  | green"#).await;
}

#[tokio::test]
async fn value_and_summary_are_of_one_row() {
    let mut rig = Rig::new();
    let alert = "CREATE ALERT overload ON load WHEN intensity > 90 KEEP FIRING FOR INTERVAL '1 minute'
        WITH (summary = '{region} at {value}', told = 'yes');";
    rig.sql(&format!("{EVENTS}{LOAD}{alert}")).await;
    let now = "SELECT state, value, summary FROM alerts";
    rig.outside.produce("0", events(0..125, "eu", &[(100, 110)]));
    rig.flush().await;
    until(&rig, now, "| firing | 95.0  | eu at 95 |").await;
    rig.outside.produce("0", events(125..300, "eu", &[]));
    rig.flush().await;
    until(&rig, now, "| normal | 40.0  |         |").await;
    until_told(&rig, 2).await;
    let told: Vec<_> = rig.outside.alerts.lock().iter().map(|event| (event.summary.clone(), event.value)).collect();
    assert_eq!(told, vec![("eu at 95".to_owned(), Some(95.0)); 2]);
}

/// A row that comes out of order puts the second half of what was over before it back in.
#[tokio::test]
async fn what_comes_back_as_of_the_same_time_is_told_again() {
    let mut rig = Rig::new();
    let alert = "CREATE ALERT overload ON load WHEN intensity > 90 FOR INTERVAL '10 seconds' WITH (told = 'yes');";
    rig.sql(&format!("{EVENTS}{LOAD}{alert}")).await;
    rig.outside.produce("0", events(0..125, "eu", &[(100, 110)]));
    rig.flush().await;
    assert_eq!(until_told(&rig, 2).await, ["eu firing 110 since 100", "eu resolved 110 since 100"]);
    rig.outside.produce("0", vec![event(115, "eu", 95)]);
    rig.flush().await;
    let all = ["eu firing 110 since 100", "eu firing 110 since 100", "eu resolved 110 since 100"];
    assert_eq!(until_told(&rig, 3).await, all);
    until(&rig, "SELECT state FROM alerts", "| firing |").await;
}

/// The same, killed after each part, before and after what is decided is durable.
#[tokio::test]
async fn a_crash_neither_forgets_what_pends_nor_pages_twice() {
    let mut straight = Rig::new();
    straight.sql(&format!("{EVENTS}{LOAD}{ALERT}")).await;
    let (eu, us) = script(0, 1_200);
    straight.outside.produce("0", eu);
    straight.outside.produce("1", us);
    straight.flush().await;
    until_told(&straight, 2).await;
    let expected = history(&straight).await;
    for durable in [true, false] {
        let mut rig = Rig::new();
        rig.declare(&format!("{EVENTS}{LOAD}{ALERT}"));
        rig.start().await;
        for from in (0..1_200).step_by(50) {
            let (eu, us) = script(from, from + 50);
            rig.outside.produce("0", eu);
            rig.outside.produce("1", us);
            if durable {
                rig.flush().await;
            }
            rig.kill();
            rig.start().await;
        }
        rig.flush().await;
        assert_eq!(until_told(&rig, 2).await, PAGES, "durable: {durable}");
        until(&rig, "SELECT count(*) AS n FROM alert_history", "| 13 |").await;
        assert_eq!(history(&rig).await, expected, "durable: {durable}");
    }
}

#[tokio::test]
async fn who_does_not_listen_is_told_later_and_a_silence_holds_it_back() {
    let mut rig = Rig::new();
    rig.sql(&format!("{EVENTS}{LOAD}{ALERT}")).await;
    *rig.outside.deaf.lock() = true;
    let (eu, us) = script(0, 705);
    rig.outside.produce("0", eu);
    rig.outside.produce("1", us);
    rig.flush().await;
    until(&rig, "SELECT state, message FROM alerts WHERE key LIKE '%eu%'", "nobody listens").await;
    rig.kill();
    rig.start().await;
    *rig.outside.deaf.lock() = false;
    assert_eq!(until_told(&rig, 1).await, PAGES[..1]);

    let mut silent = Rig::new();
    silent.sql(&format!("{EVENTS}{LOAD}{ALERT}")).await;
    silent.sql("ALTER ALERT overload SILENCE FOR INTERVAL '100000 days'").await;
    let (eu, us) = script(0, 705);
    silent.outside.produce("0", eu);
    silent.outside.produce("1", us);
    silent.flush().await;
    until(&silent, "SELECT state FROM alerts WHERE key LIKE '%eu%'", "firing").await;
    until(&silent, "SELECT to_state, reason FROM alert_history", "silenced").await;
    assert_eq!(told(&silent), Vec::<String>::new());
    silent.sql("ALTER ALERT overload SILENCE OFF").await;
    assert_eq!(until_told(&silent, 1).await, PAGES[..1]);
}

#[tokio::test]
async fn an_alert_that_is_created_late_knows_how_long_it_has_been_so() {
    let mut rig = Rig::new();
    rig.sql(&format!("{EVENTS}{LOAD}")).await;
    let (eu, us) = script(0, 705);
    rig.outside.produce("0", eu);
    rig.outside.produce("1", us);
    rig.flush().await;
    rig.sql(ALERT).await;
    assert_eq!(until_told(&rig, 1).await, PAGES[..1]);
}

#[tokio::test]
async fn silence_of_the_data_fires_by_the_clock_and_data_resolve_it() {
    let mut rig = Rig::new();
    let alert =
        "CREATE ALERT quiet ON load WHEN intensity > 90 NO DATA AFTER INTERVAL '300 milliseconds' WITH (told = 'yes');";
    rig.sql(&format!("{EVENTS}{LOAD}{alert}")).await;
    // Nothing has ever come.
    until(&rig, "SELECT key, state, summary FROM alerts", r#"| {}  | firing | quiet: "load" has no new rows |"#).await;
    rig.outside.produce("0", [event(10, "eu", 40)]);
    rig.flush().await;
    until(&rig, "SELECT key, state FROM alerts", r#"{"region":"eu"} | firing"#).await;
    rig.kill();
    rig.start().await;
    until(&rig, "SELECT key, state FROM alerts", r#"{"region":"eu"} | firing"#).await;
    rig.outside.produce("0", [event(20, "eu", 40)]);
    rig.flush().await;
    until(&rig, "SELECT key, to_state, reason FROM alert_history", r#"{"region":"eu"} | normal"#).await;
}

#[tokio::test]
async fn the_alert_itself_is_no_key_any_more_when_there_are_others() {
    let mut rig = Rig::new();
    let alert = "CREATE ALERT quiet ON load WHEN intensity > 90 NO DATA AFTER INTERVAL '1 hour' WITH (told = 'yes');";
    rig.sql(&format!("{EVENTS}{LOAD}{alert}")).await;
    until(&rig, "SELECT key, state FROM alerts", "| {}  | normal |").await;
    rig.outside.produce("0", [event(10, "eu", 40)]);
    rig.flush().await;
    until(&rig, "SELECT count(*) AS keys, max(key) AS key FROM alerts", r#"| 1    | {"region":"eu"} |"#).await;
}

#[tokio::test]
async fn a_key_that_is_null_and_one_that_reads_null_are_two_alerts() {
    let mut rig = Rig::new();
    rig.sql(&format!(
        "{EVENTS}CREATE MATERIALIZED VIEW v AS SELECT region, sum(amount) AS v FROM events GROUP BY region;"
    ))
    .await;
    rig.sql("CREATE ALERT a ON v WHEN v > 50").await;
    let rows = [("null", 1), ("\"null\"", 100), ("\"\"", 70), ("\"{}\"", 2)];
    let line = |(region, amount): (&str, i64)| {
        format!(r#"{{"region":{region},"amount":{amount},"timestamp":"2026-01-01T00:00:01Z"}}"#)
    };
    rig.outside.produce("0", rows.map(line));
    rig.flush().await;
    let now = "SELECT key, state, value FROM alerts ORDER BY key";
    until(&rig, now, r#"{"region":"null"} | firing | 100.0"#).await;
    for row in [
        r#"{"region":null}   | normal | 1.0"#,
        r#"{"region":""}     | firing | 70.0"#,
        r#"{"region":"{}"}   | normal | 2.0"#,
    ] {
        assert!(rig.query(now).await.contains(row), "{}", rig.query(now).await);
    }
    rig.stop().await;
    rig.start().await;
    rig.flush().await;
    until(&rig, now, r#"{"region":null}   | normal | 1.0"#).await;
    until(&rig, now, r#"{"region":"null"} | firing | 100.0"#).await;
}
