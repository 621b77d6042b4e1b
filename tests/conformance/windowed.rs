//! Windows, joins of streams, and tables whose rows change: views in EBAP, and the same as plain SQL over all rows in
//! PostgreSQL.

use std::path::Path;

use ebap_tests::{random::Random, wire::Answer};
use serde_json::{Map, Value, json};

use super::{
    Run, expressions,
    findings::Findings,
    servers::{Servers, created},
    whole::{View, compare_views},
};

const LOT: usize = 12;
const EVENTS: usize = 300;
const CHANGES: usize = 240;

const EVENT_COLUMNS: &str = "id BIGINT NOT NULL, k TEXT, g INTEGER, v INTEGER, m NUMERIC(12,2), f DOUBLE PRECISION, \
                             b BOOLEAN, at TIMESTAMPTZ NOT NULL";
const ROW_COLUMNS: &str = "k BIGINT PRIMARY KEY, c TEXT, v INTEGER, m NUMERIC(12,2), f DOUBLE PRECISION, s TEXT";

/// As the view has it, and as PostgreSQL writes it.
const AGGREGATES: [(&str, &str); 22] = [
    ("count(*)", ""),
    ("count(v)", ""),
    ("sum(v)", ""),
    ("sum(m)", ""),
    ("avg(f)", ""),
    ("avg(v)", ""),
    ("min(v)", ""),
    ("max(f)", ""),
    ("min(k)", ""),
    ("max(at)", ""),
    ("count(DISTINCT k)", ""),
    ("count(DISTINCT v)", ""),
    ("bool_and(b)", ""),
    ("string_agg(k, ',' ORDER BY id)", ""),
    ("array_to_string(array_agg(v ORDER BY id DESC), ',')", ""),
    ("sum(v) FILTER (WHERE b)", ""),
    ("count(*) FILTER (WHERE v > 0)", ""),
    ("max(m) - min(m)", ""),
    ("stddev_pop(f)", ""),
    ("first_value(v ORDER BY id)", "(array_agg(v ORDER BY id))[1]"),
    ("last_value(k ORDER BY id)", "(array_agg(k ORDER BY id DESC))[1]"),
    ("round(avg(m), 2)", ""),
];

const CONDITIONS: [&str; 6] = [
    "",
    " WHERE v > 0",
    " WHERE k IS NOT NULL",
    " WHERE b IS DISTINCT FROM false AND g < 3",
    " WHERE k IN ('a', 'b')",
    " WHERE f <> 0.5 OR v IS NULL",
];

/// Streams `w1` and `w2` whose rows are all on time, `w3` with late ones, and tables `t` and `u`.
fn load(servers: &Servers) -> anyhow::Result<()> {
    for (name, seed) in [("w1", 1), ("w2", 2)] {
        let declared = format!("{EVENT_COLUMNS}, WATERMARK FOR at AS at - INTERVAL '30 days'");
        servers.relation(name, EVENT_COLUMNS, &|path| created("STREAM", name, &declared, path), &events(seed))?;
    }
    // Rows are late behind what was read before: the file grows while the stream stands.
    let declared = format!("{EVENT_COLUMNS}, WATERMARK FOR at AS at - INTERVAL '1 minute'");
    let create =
        |path: &Path| created("STREAM", "w3", &declared, path).replace("format =", "follow = 'true', format =");
    servers.growing("w3", EVENT_COLUMNS, &create, &events(3), 6)?;
    for (name, seed) in [("t", 4), ("u", 5)] {
        let rows = changes(seed);
        let newest: std::collections::BTreeMap<i64, Map<String, Value>> =
            rows.iter().map(|row| (row["k"].as_i64().unwrap_or_default(), row.clone())).collect();
        let newest: Vec<Map<String, Value>> = newest.into_values().collect();
        servers.loaded(name, ROW_COLUMNS, &|path| created("TABLE", name, ROW_COLUMNS, path), &rows, &newest)?;
    }
    // Which rows were late, and behind which watermark, is EBAP's to say.
    let mut pair = servers.pair("UTC")?;
    let late = pair.ebap("SELECT id, _late, _watermark FROM w3 WHERE _late");
    let Answer::Rows(late) = late else { anyhow::bail!("{late}") };
    pair.postgres("ALTER TABLE w3 ADD COLUMN late BOOLEAN, ADD COLUMN watermark TIMESTAMPTZ");
    for at in 0..late.rows.len() {
        let (id, watermark) = (late.text(at, 0).unwrap_or_default(), late.text(at, 2).unwrap_or_default());
        pair.postgres(&format!("UPDATE w3 SET late = true, watermark = '{watermark}' WHERE id = {id}"));
    }
    anyhow::ensure!(!late.rows.is_empty(), "no row of w3 is late");
    Ok(())
}

fn events(seed: u64) -> Vec<Map<String, Value>> {
    let mut random = Random::new(seed);
    let mut rows: Vec<(i64, Map<String, Value>)> = (0..EVENTS)
        .map(|id| {
            // Two hours in all, with many rows at the edges of windows.
            let millis = match random.below(3) {
                0 => random.below(7_200_000),
                1 => random.below(120) * 60_000,
                _ => (1 + random.below(24)) * 300_000 - random.below(2),
            };
            let text = |random: &mut Random| *random.of(&[Some("a"), Some("b"), Some("c"), Some(""), None, Some("ä")]);
            let row = json!({
                "id": id,
                "k": text(&mut random),
                "g": random.of(&[Some(0), Some(1), Some(2), Some(3), None]),
                "v": random.of(&[Some(0), Some(1), Some(-1), Some(5), Some(7), Some(100), None, Some(2_147_483_647)]),
                "m": random.of(&[Some("1.10"), Some("-2.25"), Some("0"), Some("1000000.01"), None]),
                "f": random.of(&[Some(0.5), Some(-1.5), Some(2.25), Some(0.0), Some(1e6), None]),
                "b": random.of(&[Some(true), Some(false), None]),
                "at": time(millis),
            });
            // Nearly in order, so that some rows come behind the watermark of a short delay.
            let place = millis as i64 + random.below(900_000) as i64;
            (place, row.as_object().cloned().unwrap_or_default())
        })
        .collect();
    rows.sort_by_key(|(place, _)| *place);
    rows.into_iter().map(|(_, row)| row).collect()
}

fn time(millis: usize) -> String {
    let (seconds, millis) = (millis / 1000, millis % 1000);
    format!("2026-01-01T{:02}:{:02}:{:02}.{millis:03}Z", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

fn changes(seed: u64) -> Vec<Map<String, Value>> {
    let mut random = Random::new(seed);
    let row = |_| {
        let row = json!({
            "k": random.below(40),
            "c": random.of(&[Some("x"), Some("y"), Some("z"), None]),
            "v": random.of(&[Some(0), Some(1), Some(-1), Some(5), Some(7), Some(100), None]),
            "m": random.of(&[Some("1.10"), Some("-2.25"), Some("0"), Some("33.33"), None]),
            "f": random.of(&[Some(0.5), Some(-1.5), Some(2.25), Some(0.0), Some(1e15), Some(1e-3), None]),
            "s": random.of(&[Some("p"), Some("q"), Some("pq"), Some(""), None]),
        });
        row.as_object().cloned().unwrap_or_default()
    };
    (0..CHANGES).map(row).collect()
}

pub(crate) fn random(servers: &Servers, run: Run) -> anyhow::Result<()> {
    load(servers)?;
    expressions::in_utc("windows, joins and changing tables", |zone, at| {
        let mut pair = servers.pair(zone)?;
        let mut findings = Findings::default();
        let numbers: Vec<usize> = (at..run.statements).step_by(expressions::ZONES.len()).collect();
        for lot in numbers.chunks(LOT) {
            let made = lot.iter().map(|number| {
                let mut random = Random::new(run.seed.wrapping_mul(49_979_687).wrapping_add(*number as u64));
                view(&mut random, format!("x{at}_{number}"))
            });
            let made: Vec<View> = made.collect();
            compare_views(&mut pair, &made, &format!("{} of {zone}", run.seed), &mut findings);
        }
        Ok(findings)
    })
}

fn view(random: &mut Random, name: String) -> View {
    match random.below(9) {
        0 => window(random, name, &Window::tumble),
        1 => window(random, name, &Window::hop),
        2 => window(random, name, &Window::session),
        3 => window(random, name, &Window::late),
        4 => interval_join(random, name),
        5 => semi_join(random, name),
        6 => changed(random, name),
        7 => changed_join(random, name),
        _ => top(random, name),
    }
}

/// A window clause, and the relation that has `b0` and `b1`, its bounds, in PostgreSQL.
struct Window {
    clause: String,
    from: &'static str,
    relation: String,
    /// Which rows of it are in windows that took them.
    taken: &'static str,
    kind: &'static str,
}

impl Window {
    fn tumble(random: &mut Random, _: &str, _: &str) -> Self {
        let size = *random.of(&["1 minute", "5 minutes", "90 seconds", "1 hour", "7 seconds", "1 day"]);
        Self {
            clause: format!("TUMBLE (at, INTERVAL '{size}')"),
            from: "w1",
            relation: tumbled("w1", size),
            taken: "",
            kind: "TUMBLE",
        }
    }

    fn hop(random: &mut Random, _: &str, _: &str) -> Self {
        let (slide, size, count) = *random.of(&[
            ("1 minute", "5 minutes", 5),
            ("30 seconds", "90 seconds", 3),
            ("5 minutes", "10 minutes", 2),
            ("1 hour", "3 hours", 3),
            ("7 seconds", "28 seconds", 4),
        ]);
        let relation = format!(
            "(SELECT p.*, b0 + INTERVAL '{size}' AS b1 FROM (SELECT w1.*, date_bin('{slide}', at, '1970-01-01Z') - i * INTERVAL '{slide}' AS b0 FROM w1, generate_series(0, {}) i) p)",
            count - 1
        );
        Self {
            clause: format!("HOP (at, INTERVAL '{slide}', INTERVAL '{size}')"),
            from: "w1",
            relation,
            taken: "",
            kind: "HOP",
        }
    }

    /// Sessions are numbered from the gaps before rows.
    fn session(random: &mut Random, keys: &str, condition: &str) -> Self {
        let gap = *random.of(&["1 minute", "5 minutes", "30 seconds", "0.5 seconds", "1 hour"]);
        let part = if keys.is_empty() { String::new() } else { format!("PARTITION BY {keys} ") };
        let begun = format!(
            "SELECT *, CASE WHEN at - lag(at) OVER ({part}ORDER BY at, id) < INTERVAL '{gap}' THEN 0 ELSE 1 END AS begun FROM w1{condition}"
        );
        let numbered = format!("SELECT *, sum(begun) OVER ({part}ORDER BY at, id) AS number FROM ({begun}) a");
        let by = if part.is_empty() { "PARTITION BY number".to_owned() } else { format!("{part}, number") };
        let relation = format!(
            "(SELECT *, min(at) OVER ({by}) AS b0, max(at) OVER ({by}) + INTERVAL '{gap}' AS b1 FROM ({numbered}) c)"
        );
        Self { clause: format!("SESSION (at, INTERVAL '{gap}')"), from: "w1", relation, taken: "", kind: "SESSION" }
    }

    /// A row is left out of windows that were closed when it came.
    fn late(random: &mut Random, _: &str, _: &str) -> Self {
        let size = *random.of(&["1 minute", "5 minutes", "1 hour", "15 minutes"]);
        Self {
            clause: format!("TUMBLE (at, INTERVAL '{size}')"),
            from: "w3",
            relation: tumbled("w3", size),
            taken: "(late IS NULL OR b1 > watermark)",
            kind: "TUMBLE with late rows",
        }
    }
}

fn tumbled(from: &str, size: &str) -> String {
    format!(
        "(SELECT p.*, b0 + INTERVAL '{size}' AS b1 FROM (SELECT *, date_bin('{size}', at, '1970-01-01Z') AS b0 FROM {from}) p)"
    )
}

fn window(random: &mut Random, name: String, make: &dyn Fn(&mut Random, &str, &str) -> Window) -> View {
    let chosen: Vec<(&str, &str)> = (0..1 + random.below(3)).map(|_| *random.of(&AGGREGATES)).collect();
    let live: Vec<String> = chosen.iter().enumerate().map(|(at, (ours, _))| format!("{ours} AS a{at}")).collect();
    let right: Vec<&str> =
        chosen.iter().map(|(ours, theirs)| if theirs.is_empty() { *ours } else { *theirs }).collect();
    let keys: &[&str] = random.of::<&[&str]>(&[&[], &["k"], &["g"], &["k", "b"], &["upper(k)"], &["g % 2"]]);
    let condition = *random.of(&CONDITIONS);
    let Window { clause, from, relation, taken, kind } = make(random, &keys.join(", "), condition);
    let named: String = keys.iter().enumerate().map(|(at, key)| format!("{key} AS y{at}, ")).collect();
    let plain: String = keys.iter().map(|key| format!("{key}, ")).collect();
    let group = if keys.is_empty() { String::new() } else { format!(" GROUP BY {}", keys.join(", ")) };
    let outputs: Vec<String> =
        (0..keys.len()).map(|at| format!("y{at}")).chain((0..live.len()).map(|at| format!("a{at}"))).collect();
    let condition_too = match (condition, taken) {
        (condition, "") => condition.to_owned(),
        ("", taken) => format!(" WHERE {taken}"),
        (condition, taken) => format!(" WHERE ({}) AND {taken}", condition.trim_start_matches(" WHERE ")),
    };
    let numbers: String = (3..3 + keys.len()).map(|at| format!(", {at}")).collect();
    View {
        name,
        live: format!("SELECT {named}{} FROM {from}{condition}{group} WINDOW {clause}", live.join(", ")),
        right: format!(
            "SELECT b0, b1, {plain}{} FROM {relation} w{condition_too} GROUP BY 1, 2{numbers}",
            right.join(", ")
        ),
        read: format!("SELECT window_start, window_end, {} FROM {{}}", outputs.join(", ")),
        shape: format!("{kind}: {}", chosen.iter().map(|(ours, _)| *ours).collect::<Vec<_>>().join(", ")),
    }
}

/// A view that is written alike for both.
fn alike(name: String, sql: String, shape: String) -> View {
    View { name, live: sql.clone(), right: sql, read: "SELECT * FROM {}".to_owned(), shape }
}

fn interval_join(random: &mut Random, name: String) -> View {
    let join = *random.of(&["JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN"]);
    let (before, after) = *random.of(&[
        ("1 minute", "1 minute"),
        ("0 seconds", "5 minutes"),
        ("10 minutes", "-1 minute"),
        ("30 seconds", "0 seconds"),
    ]);
    let more = if join == "JOIN" { " AND x.v < y.v" } else { " AND x.v = y.v" };
    let on = *random.of(&["x.k = y.k", "x.k = y.k AND x.g = y.g", "x.g = y.g"]);
    let on = if random.one_in(3) { format!("{on}{more}") } else { on.to_owned() };
    let sql = format!(
        "SELECT x.id AS i, y.id AS j FROM w1 x {join} w2 y ON {on} AND y.at BETWEEN x.at - INTERVAL '{before}' AND x.at + INTERVAL '{after}'"
    );
    alike(name, sql, format!("interval {join} ON {on}"))
}

fn semi_join(random: &mut Random, name: String) -> View {
    let not = *random.of(&["", "NOT "]);
    let on = *random.of(&["x.k = y.k", "x.k = y.k AND y.v > 0", "x.g = y.g AND x.k = y.k"]);
    let after = *random.of(&["0 seconds", "3 minutes"]);
    let sql = format!(
        "SELECT id FROM w1 x WHERE {not}EXISTS (SELECT 1 FROM w2 y WHERE {on} AND y.at BETWEEN x.at - INTERVAL '2 minutes' AND x.at + INTERVAL '{after}')"
    );
    alike(name, sql, format!("{not}EXISTS over streams by {on}"))
}

fn changed(random: &mut Random, name: String) -> View {
    let aggregates = [
        "count(*)",
        "count(v)",
        "sum(v)",
        "sum(m)",
        "avg(v)",
        "sum(f)",
        "avg(f)",
        "min(v)",
        "max(v)",
        "min(s)",
        "max(f)",
        "max(m)",
        "count(DISTINCT s)",
        "string_agg(s, ',' ORDER BY k)",
        "array_to_string(array_agg(v ORDER BY k), ',')",
        "stddev_pop(v)",
        "var_samp(f)",
        "bool_or(v > 0)",
        "sum(DISTINCT v)",
        "corr(v, f)",
    ];
    let chosen: Vec<&str> = (0..3).map(|_| *random.of(&aggregates)).collect();
    let named: Vec<String> = chosen.iter().enumerate().map(|(at, call)| format!("{call} AS a{at}")).collect();
    let condition = *random.of(&["", " WHERE v > 0", " WHERE s IS NOT NULL", " WHERE c <> 'x'"]);
    let keys = *random.of(&["c", "s", "c, s", "v", ""]);
    let (select, group) = match keys {
        "" => (String::new(), String::new()),
        keys => (format!("{keys}, "), format!(" GROUP BY {keys}")),
    };
    let having = *random.of(&["", "", " HAVING count(*) > 1", " HAVING sum(v) > 3"]);
    let sql = format!("SELECT {select}{} FROM t{condition}{group}{having}", named.join(", "));
    alike(name, sql, format!("over rows that change: {}", chosen.join(", ")))
}

fn changed_join(random: &mut Random, name: String) -> View {
    let join = *random.of(&["JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN"]);
    let not = *random.of(&["", "NOT "]);
    let template = *random.of(&[
        "SELECT a.k AS x, b.k AS y, a.v AS p, b.s AS q FROM t a {join} u b ON a.v = b.v",
        "SELECT a.k AS x, b.k AS y FROM t a {join} u b ON a.k = b.k AND a.c = b.c",
        "SELECT a.k AS x FROM t a WHERE {not}EXISTS (SELECT 1 FROM u b WHERE b.v = a.v)",
        "SELECT k AS x FROM t WHERE v {not}IN (SELECT v FROM u)",
        "SELECT k AS x FROM t WHERE v {not}IN (SELECT v FROM u WHERE v IS NOT NULL)",
        "SELECT a.c, a.n, b.n AS o FROM (SELECT c, count(*) AS n FROM t GROUP BY c) a {join} (SELECT c, count(*) AS n FROM u GROUP BY c) b ON a.c = b.c",
        "SELECT c FROM t UNION SELECT c FROM u",
        "SELECT c FROM t UNION ALL SELECT s FROM u",
        "SELECT s FROM t EXCEPT SELECT s FROM u",
        "SELECT s FROM t INTERSECT SELECT s FROM u",
        "SELECT DISTINCT c, v FROM t",
        "SELECT c, sum(q) AS s FROM (SELECT c, v, max(k) AS q FROM t GROUP BY c, v) z GROUP BY c",
        "SELECT v, count(*) AS n FROM (SELECT DISTINCT c, v FROM t) z GROUP BY v",
        "SELECT c, n FROM (SELECT c, count(*) AS n FROM t GROUP BY c) z WHERE n > (SELECT avg(v) FROM t)",
        "SELECT n, count(*) AS m FROM (SELECT k, count(*) AS n FROM w1 GROUP BY k) z GROUP BY n",
        "SELECT k, sum(v) AS s FROM (SELECT k, v FROM w1 UNION ALL SELECT k, v FROM w2) z GROUP BY k",
    ]);
    let sql = template.replace("{join}", join).replace("{not}", not);
    alike(name, sql.clone(), sql)
}

fn top(random: &mut Random, name: String) -> View {
    let rank = *random.of(&["row_number", "rank", "dense_rank"]);
    let part = *random.of(&["c", "s"]);
    let direction = *random.of(&["", "DESC", "NULLS FIRST", "DESC NULLS LAST"]);
    let unique = if rank == "row_number" { ", k" } else { "" };
    let most = 1 + random.below(3);
    let sql = format!(
        "SELECT k, c, v, rn FROM (SELECT k, c, v, {rank}() OVER (PARTITION BY {part} ORDER BY v {direction}{unique}) AS rn FROM t) z WHERE rn <= {most}"
    );
    alike(name, sql, format!("{rank}() <= n ORDER BY {direction}"))
}
