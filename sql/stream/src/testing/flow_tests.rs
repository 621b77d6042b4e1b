//! Views that are more than one aggregate over one stream: at every moment they are the answer of the same query over
//! the rows read so far, also when the engine was killed.

use super::rig::Rig;

pub(super) const EVENTS: &str = "CREATE STREAM events (
    id BIGINT NOT NULL, user_id TEXT, kind TEXT, amount BIGINT, price DOUBLE, timestamp TIMESTAMPTZ NOT NULL,
    WATERMARK FOR timestamp AS timestamp - INTERVAL '10 seconds'
) WITH (connector = 'test', idle_timeout = '1 hour');";

/// Over ten minutes, mostly in order; some far behind; NULLs and equal times among them.
pub(super) fn event(at: i64) -> String {
    let second = (at / 4 + if at % 37 == 0 { -60 } else { at * 7 % 9 }).max(0);
    let user = if at % 23 == 0 { "null".to_owned() } else { format!("\"user-{}\"", at * at % 11) };
    let kind = ["view", "cart", "buy"][(at % 3) as usize];
    let amount = if at % 19 == 0 { "null".to_owned() } else { (at * 31 % 50 - 10).to_string() };
    format!(
        r#"{{"id":{at},"user_id":{user},"kind":"{kind}","amount":{amount},"price":{}.25,"timestamp":"2026-01-01T00:{:02}:{:02}Z"}}"#,
        at % 17 - 5,
        second / 60 % 60,
        second % 60
    )
}

/// What a view is, and the query it answers over the rows of the stream.
struct Case {
    view: &'static str,
    batch: &'static str,
}

/// Rows that are not late for windows of ten seconds, or at all.
const PANE: &str = "(NOT _late OR date_bin(INTERVAL '10 seconds', timestamp) + INTERVAL '10 seconds' > _watermark)";

fn cases() -> Vec<Case> {
    let same = |query: &'static str| Case { view: query, batch: query };
    vec![
        same("SELECT DISTINCT user_id, kind FROM events"),
        same("SELECT user_id, kind FROM events WHERE amount > 10 UNION ALL SELECT kind, user_id FROM events WHERE amount < 0"),
        same("SELECT n, count(*) AS users FROM (SELECT user_id, count(*) AS n FROM events GROUP BY user_id) GROUP BY n"),
        same("SELECT max(n) AS most, min(n) AS least, avg(n) AS mean, count(DISTINCT n) AS kinds, sum(n) AS total
              FROM (SELECT user_id, count(*) AS n FROM events WHERE amount > 0 GROUP BY user_id)"),
        same("WITH spent AS (SELECT user_id, sum(amount) AS s FROM events GROUP BY user_id HAVING sum(amount) > 20)
              SELECT s / 10 AS bin, count(*) AS n, array_agg(DISTINCT user_id ORDER BY user_id) AS who FROM spent GROUP BY s / 10"),
        same("SELECT id, amount FROM events ORDER BY amount DESC NULLS LAST, id LIMIT 7"),
        same("SELECT id, price FROM events ORDER BY price, id DESC LIMIT 5 OFFSET 3"),
        same("SELECT user_id, n FROM (SELECT user_id, count(*) AS n FROM events GROUP BY user_id) ORDER BY n DESC, user_id LIMIT 3"),
        same("SELECT user_id, id, n FROM (SELECT user_id, id, ROW_NUMBER() OVER (PARTITION BY user_id ORDER BY amount DESC NULLS LAST, id) AS n
              FROM events) WHERE n <= 2"),
        same("SELECT user_id, id, kind FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY user_id ORDER BY id DESC) AS n FROM events) WHERE n = 1"),
        same("SELECT user_id, id, n FROM (SELECT user_id, id, ROW_NUMBER() OVER (PARTITION BY user_id ORDER BY amount, id) AS n
              FROM events) WHERE n BETWEEN 2 AND 3"),
        same("SELECT user_id, id, r FROM (SELECT user_id, id, RANK() OVER (PARTITION BY user_id ORDER BY amount DESC NULLS LAST) AS r
              FROM events) WHERE r <= 2"),
        same("SELECT kind, id, r FROM (SELECT kind, id, DENSE_RANK() OVER (PARTITION BY kind ORDER BY price DESC) AS r FROM events) WHERE r IN (1, 2)"),
        same("SELECT user_id, n, r FROM (SELECT user_id, n, RANK() OVER (ORDER BY n DESC) AS r
              FROM (SELECT user_id, count(*) AS n FROM events WHERE id % 4 > 0 GROUP BY user_id)) WHERE r <= 3"),
        same("SELECT bin, user_id, r FROM (SELECT bin, user_id, DENSE_RANK() OVER (PARTITION BY bin ORDER BY n) AS r
              FROM (SELECT user_id, count(*) AS n, count(*) % 3 AS bin FROM events GROUP BY user_id)) WHERE r < 3"),
        same("SELECT user_id, id, n, m FROM (SELECT user_id, id, n, ROW_NUMBER() OVER (PARTITION BY n ORDER BY amount DESC NULLS LAST, id) AS m
              FROM (SELECT user_id, id, amount, ROW_NUMBER() OVER (PARTITION BY user_id ORDER BY price, id) AS n FROM events) WHERE n <= 4) WHERE m <= 2"),
        same("SELECT id, user_id, n, m FROM (SELECT id, user_id, ROW_NUMBER() OVER (PARTITION BY user_id ORDER BY amount DESC NULLS LAST, id) AS n,
              ROW_NUMBER() OVER (PARTITION BY kind ORDER BY price, id) AS m FROM events) WHERE n <= 9 AND m <= 40"),
        same("SELECT id, r, d FROM (SELECT id, RANK() OVER (ORDER BY price) AS r, DENSE_RANK() OVER (ORDER BY price) AS d FROM events)
              WHERE r <= 100 AND d BETWEEN 1 AND 2"),
        same("SELECT user_id, kind, n, m FROM (SELECT user_id, kind, ROW_NUMBER() OVER (PARTITION BY user_id ORDER BY kind) AS n,
              DENSE_RANK() OVER (ORDER BY user_id NULLS LAST) AS m FROM events) WHERE n <= 5 AND m <= 4"),
        same("SELECT user_id, n, a, b, c FROM (SELECT user_id, n, ROW_NUMBER() OVER (ORDER BY n DESC, user_id) AS a,
              ROW_NUMBER() OVER (PARTITION BY n % 2 ORDER BY user_id) AS b, RANK() OVER (ORDER BY n) AS c
              FROM (SELECT user_id, count(*) AS n FROM events GROUP BY user_id)) WHERE a <= 9 AND b <= 5 AND c < 12"),
        same("SELECT DISTINCT ON (user_id) user_id, id, amount FROM events ORDER BY user_id, amount, id"),
        same("SELECT user_id, kind, count(*) AS n, sum(price) AS p FROM events GROUP BY ROLLUP (user_id, kind)"),
        same("SELECT kind, user_id, grouping(kind) AS g, max(amount) AS m FROM events GROUP BY GROUPING SETS ((kind), (user_id), ())"),
        same("SELECT a.user_id, a.n, b.m FROM (SELECT user_id, count(*) AS n FROM events GROUP BY user_id) a
              JOIN (SELECT user_id, max(amount) AS m FROM events WHERE kind = 'buy' GROUP BY user_id) b ON a.user_id = b.user_id"),
        same("SELECT a.user_id, a.n, b.m FROM (SELECT user_id, count(*) AS n FROM events GROUP BY user_id) a
              LEFT JOIN (SELECT user_id, max(amount) AS m FROM events WHERE kind = 'buy' AND amount > 30 GROUP BY user_id) b
              ON a.user_id = b.user_id AND a.n > b.m"),
        same("SELECT a.user_id AS u, a.n, b.user_id AS v, b.n AS w FROM (SELECT user_id, count(*) AS n FROM events WHERE id % 2 = 0 GROUP BY user_id) a
              FULL JOIN (SELECT user_id, count(*) AS n FROM events WHERE id % 5 = 0 GROUP BY user_id) b ON a.n = b.n"),
        same("SELECT user_id, n FROM (SELECT user_id, count(*) AS n FROM events GROUP BY user_id) a
              WHERE EXISTS (SELECT 1 FROM (SELECT user_id, sum(amount) AS s FROM events GROUP BY user_id) b WHERE b.user_id = a.user_id AND b.s > 100)"),
        same("SELECT user_id, n FROM (SELECT user_id, count(*) AS n FROM events GROUP BY user_id) a
              WHERE NOT EXISTS (SELECT 1 FROM (SELECT user_id, sum(amount) AS s FROM events GROUP BY user_id) b WHERE b.user_id = a.user_id AND b.s > 100)"),
        same("SELECT user_id, n FROM (SELECT user_id, count(*) AS n FROM events GROUP BY user_id) WHERE n > (SELECT avg(amount) FROM events)"),
        same("SELECT user_id, count(*) FILTER (WHERE k > 1) AS many FROM (SELECT user_id, kind, count(*) AS k FROM events GROUP BY user_id, kind) GROUP BY user_id"),
        same("SELECT id, part FROM (SELECT id, unnest(string_to_array(kind || ',' || user_id, ',')) AS part FROM events) WHERE id % 10 = 1"),
        Case {
            view: "SELECT e.id, t.part, upper(e.kind) AS kind FROM events e, unnest(string_to_array(e.kind || ',' || e.user_id, ',')) AS t(part)
                   WHERE e.id % 10 = 1 AND t.part <> 'buy'",
            batch: "SELECT id, part, upper(kind) AS kind FROM (SELECT id, kind, unnest(string_to_array(kind || ',' || user_id, ',')) AS part FROM events)
                    WHERE id % 10 = 1 AND part <> 'buy'",
        },
        Case {
            view: "SELECT id, one, two FROM events CROSS JOIN LATERAL unnest(array_remove(string_to_array(kind, ','), 'buy')) AS one
                   CROSS JOIN UNNEST(string_to_array(user_id, '-')) AS t(two)",
            batch: "SELECT id, kind AS one, unnest(string_to_array(user_id, '-')) AS two FROM events WHERE kind <> 'buy'",
        },
        Case {
            view: "SELECT e.id, part FROM events e LEFT JOIN LATERAL unnest(array_remove(string_to_array(kind || ',' || user_id, ','), 'view')) AS part ON true",
            batch: "SELECT id, unnest(array_remove(string_to_array(kind || ',' || coalesce(user_id, 'view'), ','), 'view')) AS part FROM events WHERE user_id IS NOT NULL
                    UNION ALL SELECT id, NULL FROM events WHERE user_id IS NULL",
        },
        same("SELECT user_id, n FROM (SELECT user_id, count(*) AS n FROM events GROUP BY user_id) a
              WHERE user_id NOT IN (SELECT user_id FROM (SELECT user_id, sum(amount) AS s FROM events GROUP BY user_id) b WHERE user_id IS NOT NULL AND s % 3 = 0)"),
        // A NULL in the sub-query comes and goes with the count, and takes all rows with it.
        same("SELECT user_id, n FROM (SELECT user_id, count(*) AS n FROM events GROUP BY user_id) a
              WHERE user_id NOT IN (SELECT CASE WHEN k % 2 = 0 THEN kind END FROM (SELECT kind, count(*) AS k FROM events WHERE id % 5 = 0 GROUP BY kind) b)
              UNION ALL SELECT 'all', count(*) FROM events"),
        Case {
            view: "SELECT user_id, n FROM (SELECT user_id, count(amount) AS n FROM events GROUP BY user_id) a
                   WHERE n NOT IN (SELECT m FROM (SELECT user_id, kind, max(amount) + 1 AS m FROM events WHERE id % 3 = 0 GROUP BY user_id, kind) b WHERE b.user_id = a.user_id)",
            batch: "SELECT user_id, n FROM (SELECT user_id, count(amount) AS n FROM events GROUP BY user_id) a
                    WHERE NOT EXISTS (SELECT 1 FROM (SELECT user_id, kind, max(amount) + 1 AS m FROM events WHERE id % 3 = 0 GROUP BY user_id, kind) b
                                      WHERE b.user_id = a.user_id AND (b.m = a.n OR b.m IS NULL))",
        },
        Case {
            view: "SELECT a.id, a.kind FROM events a WHERE a.kind = 'view' AND EXISTS (SELECT 1 FROM events b
                   WHERE b.user_id = a.user_id AND b.kind = 'buy' AND b.timestamp BETWEEN a.timestamp AND a.timestamp + INTERVAL '20 seconds')",
            batch: "SELECT a.id, a.kind FROM events a WHERE a.kind = 'view' AND NOT a._late AND EXISTS (SELECT 1 FROM events b
                    WHERE b.user_id = a.user_id AND b.kind = 'buy' AND NOT b._late AND b.timestamp BETWEEN a.timestamp AND a.timestamp + INTERVAL '20 seconds')",
        },
        Case {
            view: "SELECT a.id, a.kind FROM events a WHERE a.kind <> 'buy' AND NOT EXISTS (SELECT 1 FROM events b
                   WHERE b.user_id = a.user_id AND b.kind = 'buy' AND b.amount > a.amount
                   AND b.timestamp >= a.timestamp - INTERVAL '3 seconds' AND b.timestamp <= a.timestamp + INTERVAL '9 seconds')",
            batch: "SELECT a.id, a.kind FROM events a WHERE a.kind <> 'buy' AND NOT a._late AND NOT EXISTS (SELECT 1 FROM events b
                    WHERE b.user_id = a.user_id AND b.kind = 'buy' AND NOT b._late AND b.amount > a.amount
                    AND b.timestamp >= a.timestamp - INTERVAL '3 seconds' AND b.timestamp <= a.timestamp + INTERVAL '9 seconds')",
        },
        Case {
            view: "SELECT a.id, a.kind FROM events a WHERE a.kind = 'cart' AND a.amount NOT IN (SELECT b.amount FROM events b
                   WHERE b.user_id = a.user_id AND b.kind = 'buy' AND b.timestamp BETWEEN a.timestamp AND a.timestamp + INTERVAL '30 seconds')",
            batch: "SELECT a.id, a.kind FROM events a WHERE a.kind = 'cart' AND NOT a._late AND NOT EXISTS (SELECT 1 FROM events b
                    WHERE b.user_id = a.user_id AND b.kind = 'buy' AND NOT b._late AND b.timestamp BETWEEN a.timestamp AND a.timestamp + INTERVAL '30 seconds'
                    AND (a.amount = b.amount OR a.amount IS NULL OR b.amount IS NULL))",
        },
        same("SELECT kind, corr(id, amount) AS c FROM events GROUP BY kind"),
        same("SELECT coalesce(user_id, kind) AS u, sum(coalesce(amount, 1)) AS s, count(*) AS n FROM events WHERE coalesce(user_id, 'x') <> 'y'
              GROUP BY coalesce(user_id, kind)"),
        same("SELECT coalesce(user_id, 'none') AS u, count(*) AS n FROM events GROUP BY ROLLUP (coalesce(user_id, 'none'))"),
        same("SELECT DISTINCT ifnull(user_id, kind) AS u, nvl2(user_id, 1, 0) AS known FROM events"),
        same("SELECT stddev(n) AS spread, median(n) AS middle FROM (SELECT user_id, count(*) AS n FROM events GROUP BY user_id)"),
        Case {
            view: "SELECT window_start, window_end, kind, count(*) AS n, sum(amount) AS s, count(DISTINCT user_id) AS u
                   FROM HOP(events, timestamp, INTERVAL '10 seconds', INTERVAL '30 seconds') GROUP BY window_start, window_end, kind",
            batch: "SELECT w AS window_start, w + INTERVAL '30 seconds' AS window_end, kind, count(*) AS n, sum(amount) AS s, count(DISTINCT user_id) AS u
                    FROM (SELECT *, date_bin(INTERVAL '10 seconds', timestamp) - o AS w FROM events
                          CROSS JOIN (SELECT INTERVAL '0 seconds' AS o UNION ALL SELECT INTERVAL '10 seconds' UNION ALL SELECT INTERVAL '20 seconds')) WHERE {PANE} GROUP BY w, kind",
        },
        // Nexmark's seventh query: the rows that are the highest of their window, whatever was the highest before.
        Case {
            view: "SELECT a.id, a.amount, b.w FROM events a
                   JOIN (SELECT max(amount) AS top, window_end AS w FROM TUMBLE(events, timestamp, INTERVAL '10 seconds')
                         GROUP BY window_start, window_end) b
                   ON a.amount = b.top AND a.timestamp BETWEEN b.w - INTERVAL '10 seconds' AND b.w WHERE a.id % 37 <> 0",
            batch: "SELECT a.id, a.amount, b.w FROM events a
                    JOIN (SELECT max(amount) AS top, date_bin(INTERVAL '10 seconds', timestamp) + INTERVAL '10 seconds' AS w FROM events
                          WHERE {PANE} GROUP BY 2) b
                    ON a.amount = b.top AND a.timestamp BETWEEN b.w - INTERVAL '10 seconds' AND b.w
                    WHERE a.id % 37 <> 0 AND NOT a._late",
        },
        Case {
            view: "SELECT user_id, count(*) AS n, max(amount) AS m FROM events GROUP BY user_id
                   WINDOW HOP (timestamp, INTERVAL '10 seconds', INTERVAL '20 seconds')",
            batch: "SELECT w AS window_start, w + INTERVAL '20 seconds' AS window_end, INTERVAL '20 seconds' AS window_size, user_id, count(*) AS n, max(amount) AS m
                    FROM (SELECT *, date_bin(INTERVAL '10 seconds', timestamp) - o AS w FROM events
                          CROSS JOIN (SELECT INTERVAL '0 seconds' AS o UNION ALL SELECT INTERVAL '10 seconds')) WHERE {PANE} GROUP BY w, user_id",
        },
        Case {
            view: "SELECT user_id, window_start, window_end, count(*) AS n, sum(price) AS p, min(amount) AS m, count(DISTINCT kind) AS k
                   FROM SESSION(events, timestamp, INTERVAL '5 seconds') GROUP BY user_id, window_start, window_end",
            batch: "SELECT user_id, min(timestamp) AS window_start, max(timestamp) + INTERVAL '5 seconds' AS window_end, count(*) AS n,
                           sum(price) AS p, min(amount) AS m, count(DISTINCT kind) AS k
                    FROM (SELECT *, sum(f) OVER (PARTITION BY user_id ORDER BY timestamp, id) AS s
                          FROM (SELECT *, CASE WHEN timestamp - lag(timestamp) OVER (PARTITION BY user_id ORDER BY timestamp, id) < INTERVAL '5 seconds'
                                          THEN 0 ELSE 1 END AS f FROM events WHERE NOT _late)) GROUP BY user_id, s",
        },
        Case {
            view: "SELECT a.id, b.id AS other FROM events a JOIN events b ON a.user_id = b.user_id AND a.kind = 'view' AND b.kind = 'buy'
                   AND b.timestamp BETWEEN a.timestamp AND a.timestamp + INTERVAL '20 seconds'",
            batch: "SELECT a.id, b.id AS other FROM events a JOIN events b ON a.user_id = b.user_id AND a.kind = 'view' AND b.kind = 'buy'
                    AND b.timestamp >= a.timestamp AND b.timestamp <= a.timestamp + INTERVAL '20 seconds' AND NOT a._late AND NOT b._late",
        },
        Case {
            view: "SELECT a.id, b.id AS other FROM (SELECT * FROM events WHERE kind = 'view') a LEFT JOIN (SELECT * FROM events WHERE kind = 'cart') b
                   ON a.user_id = b.user_id AND a.timestamp >= b.timestamp - INTERVAL '3 seconds' AND a.timestamp <= b.timestamp + INTERVAL '8 seconds'
                   AND a.amount < b.amount",
            batch: "SELECT a.id, b.id AS other FROM (SELECT * FROM events WHERE kind = 'view' AND NOT _late) a
                    LEFT JOIN (SELECT * FROM events WHERE kind = 'cart' AND NOT _late) b
                    ON a.user_id = b.user_id AND a.timestamp >= b.timestamp - INTERVAL '3 seconds' AND a.timestamp <= b.timestamp + INTERVAL '8 seconds'
                    AND a.amount < b.amount",
        },
        Case {
            view: "SELECT a.window_start, a.kind, a.n, b.m FROM
                   (SELECT window_start, kind, count(*) AS n FROM TUMBLE(events, timestamp, INTERVAL '10 seconds') GROUP BY window_start, kind) a
                   JOIN (SELECT window_start, max(amount) AS m FROM TUMBLE(events, timestamp, INTERVAL '10 seconds') GROUP BY window_start) b
                   ON a.window_start = b.window_start",
            batch: "SELECT a.window_start, a.kind, a.n, b.m FROM
                    (SELECT date_bin(INTERVAL '10 seconds', timestamp) AS window_start, kind, count(*) AS n FROM events WHERE {PANE} GROUP BY 1, 2) a
                    JOIN (SELECT date_bin(INTERVAL '10 seconds', timestamp) AS window_start, max(amount) AS m FROM events WHERE {PANE} GROUP BY 1) b
                    ON a.window_start = b.window_start",
        },
        Case {
            view: "SELECT window_start, kind, n FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY window_start ORDER BY n DESC, kind) AS r FROM
                   (SELECT window_start, window_end, kind, count(*) AS n FROM TUMBLE(events, timestamp, INTERVAL '10 seconds')
                    GROUP BY window_start, window_end, kind)) WHERE r <= 1",
            batch: "SELECT window_start, kind, n FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY window_start ORDER BY n DESC, kind) AS r FROM
                    (SELECT date_bin(INTERVAL '10 seconds', timestamp) AS window_start, kind, count(*) AS n FROM events WHERE {PANE} GROUP BY 1, 2)) WHERE r <= 1",
        },
        Case {
            view: "SELECT DISTINCT ON (kind) kind, window_start, n FROM (SELECT window_start, kind, count(*) AS n
                   FROM TUMBLE(events, timestamp, INTERVAL '10 seconds') GROUP BY window_start, kind) ORDER BY kind, window_start DESC",
            batch: "SELECT DISTINCT ON (kind) kind, window_start, n FROM (SELECT date_bin(INTERVAL '10 seconds', timestamp) AS window_start,
                    kind, count(*) AS n FROM events WHERE {PANE} GROUP BY 1, 2) ORDER BY kind, window_start DESC",
        },
        Case {
            view: "SELECT kind, n, window_end, r FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY kind ORDER BY n, window_end) AS r FROM
                   (SELECT window_end, kind, count(*) AS n FROM TUMBLE(events, timestamp, INTERVAL '10 seconds') GROUP BY window_end, kind)) WHERE r BETWEEN 2 AND 4",
            batch: "SELECT kind, n, window_end, r FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY kind ORDER BY n, window_end) AS r FROM
                    (SELECT date_bin(INTERVAL '10 seconds', timestamp) + INTERVAL '10 seconds' AS window_end, kind, count(*) AS n FROM events
                     WHERE {PANE} GROUP BY 1, 2)) WHERE r BETWEEN 2 AND 4",
        },
        Case {
            view: "SELECT window_start, sum(n) AS n, max(n) AS most FROM TUMBLE((SELECT window_start AS w, kind, count(*) AS n
                   FROM TUMBLE(events, timestamp, INTERVAL '10 seconds') GROUP BY window_start, kind), w, INTERVAL '1 minute') GROUP BY window_start",
            batch: "SELECT date_bin(INTERVAL '1 minute', w) AS window_start, sum(n) AS n, max(n) AS most FROM
                    (SELECT date_bin(INTERVAL '10 seconds', timestamp) AS w, kind, count(*) AS n FROM events WHERE {PANE} GROUP BY 1, 2) GROUP BY 1",
        },
    ]
}

pub(super) fn sorted(table: &str) -> Vec<String> {
    let cell = |cell: &str| match cell.trim().parse::<f64>() {
        Ok(number) if cell.trim().len() > 14 => format!("{number:.9}"),
        _ => cell.trim().to_owned(),
    };
    let rows = table.lines().filter(|line| line.starts_with('|')).skip(1);
    let mut rows: Vec<String> = rows.map(|line| line.split('|').map(cell).collect::<Vec<_>>().join("|")).collect();
    rows.sort();
    rows
}

/// The names of all cases whose view is not the answer, with both.
async fn compare(rig: &Rig, cases: &[Case], moment: &str) {
    let mut wrong = Vec::new();
    for (at, case) in cases.iter().enumerate() {
        let live = sorted(&rig.query(&format!("SELECT * FROM v{at}")).await);
        let batch = sorted(&rig.query(&case.batch.replace("{PANE}", PANE)).await);
        if live != batch || batch.is_empty() {
            let only = |a: &[String], b: &[String]| {
                a.iter().filter(|row| !b.contains(row)).take(5).cloned().collect::<Vec<_>>().join("\n")
            };
            wrong.push(format!(
                "{}\nonly live:\n{}\nonly batch:\n{}",
                case.view,
                only(&live, &batch),
                only(&batch, &live)
            ));
        }
    }
    assert!(wrong.is_empty(), "{moment}: {} of {} differ\n\n{}", wrong.len(), cases.len(), wrong.join("\n\n"));
}

async fn created(cases: &[Case]) -> Rig {
    let mut rig = Rig::new();
    rig.config.checkpoint_interval = std::time::Duration::from_millis(20);
    rig.declare(EVENTS);
    for (at, case) in cases.iter().enumerate() {
        rig.declare(&format!("CREATE MATERIALIZED VIEW v{at} AS {}", case.view));
    }
    rig.start().await;
    rig
}

#[tokio::test]
async fn every_form_is_the_answer_of_its_query_at_every_flush() {
    let cases = cases();
    let rig = created(&cases).await;
    for round in 0..4_i64 {
        for split in 0..2 {
            let lines = (round * 300..(round + 1) * 300).filter(|at| at % 2 == split).map(event);
            rig.outside.produce(&split.to_string(), lines);
        }
        rig.flush().await;
        compare(&rig, &cases, &format!("round {round}")).await;
    }
}

#[tokio::test]
async fn every_form_is_the_answer_of_its_query_also_when_killed() {
    let cases = cases();
    let mut rig = created(&cases).await;
    for round in 0..8_i64 {
        for split in 0..2 {
            let lines = (round * 150..(round + 1) * 150).filter(|at| at % 2 == split).map(event);
            rig.outside.produce(&split.to_string(), lines);
        }
        if round % 2 == 1 {
            rig.flush().await;
        }
        rig.kill();
        rig.start().await;
    }
    rig.flush().await;
    compare(&rig, &cases, "killed eight times").await;
}

#[tokio::test]
async fn a_view_that_is_created_later_is_the_same() {
    let cases = cases();
    let mut rig = Rig::new();
    rig.declare(EVENTS);
    rig.start().await;
    for split in 0..2 {
        rig.outside.produce(&split.to_string(), (0..900).filter(|at| at % 2 == split).map(event));
    }
    rig.flush().await;
    for (at, case) in cases.iter().enumerate() {
        rig.declare(&format!("CREATE MATERIALIZED VIEW v{at} AS {}", case.view));
    }
    rig.start().await;
    rig.outside.produce("0", (900..1_000).map(event));
    rig.flush().await;
    compare(&rig, &cases, "created later").await;
}

#[tokio::test]
async fn views_on_views_are_of_one_step_and_follow_a_swap() {
    let mut rig = Rig::new();
    rig.declare(EVENTS);
    rig.declare(
        "CREATE MATERIALIZED VIEW a AS SELECT user_id, kind, count(*) AS n FROM events GROUP BY user_id, kind;
         CREATE MATERIALIZED VIEW b AS SELECT user_id, sum(n) AS n FROM a GROUP BY user_id;
         CREATE MATERIALIZED VIEW c AS SELECT CAST(sum(n) AS BIGINT) AS n, count(*) AS users FROM b;
         CREATE MATERIALIZED VIEW other AS SELECT user_id, kind, CAST(sum(amount) AS BIGINT) AS n FROM events GROUP BY user_id, kind;",
    );
    rig.start().await;
    rig.outside.produce("0", (0..500).map(event));
    rig.flush().await;
    let c = "SELECT n, users FROM c";
    assert_eq!(
        sorted(&rig.query(c).await),
        sorted(&rig.query("SELECT count(*) AS n, count(DISTINCT coalesce(user_id, '')) AS users FROM events").await)
    );
    rig.sql("ALTER MATERIALIZED VIEW a SWAP WITH other").await;
    rig.flush().await;
    let sums = "SELECT sum(amount) AS n, count(DISTINCT coalesce(user_id, '')) AS users FROM events";
    assert_eq!(sorted(&rig.query(c).await), sorted(&rig.query(sums).await));
    rig.kill();
    rig.start().await;
    rig.outside.produce("0", (500..600).map(event));
    rig.flush().await;
    assert_eq!(sorted(&rig.query(c).await), sorted(&rig.query(sums).await));
}

#[tokio::test]
async fn windows_that_close_come_out_once_and_state_ends() {
    let mut rig = Rig::new();
    rig.declare(EVENTS);
    rig.declare(
        "CREATE MATERIALIZED VIEW hops AS SELECT kind, count(*) AS n, count(DISTINCT user_id) AS u FROM events GROUP BY kind
         WINDOW HOP (timestamp, INTERVAL '10 seconds', INTERVAL '30 seconds') EMIT ON WINDOW CLOSE;
         CREATE MATERIALIZED VIEW sessions AS SELECT user_id, count(*) AS n FROM events GROUP BY user_id
         WINDOW SESSION (timestamp, INTERVAL '5 seconds') EMIT ON WINDOW CLOSE;
         CREATE MATERIALIZED VIEW pairs AS SELECT a.id, b.id AS other FROM events a JOIN events b ON a.user_id = b.user_id
         AND b.timestamp > a.timestamp AND b.timestamp <= a.timestamp + INTERVAL '5 seconds';",
    );
    rig.start().await;
    let mut most = 0;
    for round in 0..10_i64 {
        rig.outside.produce("0", (round * 200..(round + 1) * 200).map(event));
        rig.flush().await;
        if round == 3 {
            rig.kill();
            rig.start().await;
            rig.flush().await;
        }
        let groups = rig.query("SELECT max(groups) FROM jobs WHERE kind = 'materialized view'").await;
        let groups: i64 = sorted(&groups)[0].trim_matches('|').parse().expect("a number");
        if round == 3 {
            most = groups;
        } else if round > 3 {
            assert!(groups < 2 * most + 50, "round {round}: {groups} after {most}");
        }
    }
    let closed = "timestamp < (SELECT max(timestamp) - INTERVAL '10 seconds' FROM events)";
    let hops = format!(
        "SELECT w AS window_start, w + INTERVAL '30 seconds' AS window_end, INTERVAL '30 seconds' AS window_size, kind, count(*) AS n,
                count(DISTINCT user_id) AS u
         FROM (SELECT *, date_bin(INTERVAL '10 seconds', timestamp) - o AS w FROM events
               CROSS JOIN (SELECT INTERVAL '0 seconds' AS o UNION ALL SELECT INTERVAL '10 seconds' UNION ALL SELECT INTERVAL '20 seconds')) WHERE {PANE} AND w + INTERVAL '30 seconds' <= (SELECT max(timestamp) - INTERVAL '10 seconds' FROM events)
         GROUP BY w, kind"
    );
    assert_eq!(sorted(&rig.query("SELECT * FROM hops").await), sorted(&rig.query(&hops).await));
    let sessions = format!(
        "SELECT * FROM (SELECT min(timestamp) AS s, max(timestamp) + INTERVAL '5 seconds' AS e, user_id, count(*) AS n
         FROM (SELECT *, sum(f) OVER (PARTITION BY user_id ORDER BY timestamp, id) AS s
               FROM (SELECT *, CASE WHEN timestamp - lag(timestamp) OVER (PARTITION BY user_id ORDER BY timestamp, id) < INTERVAL '5 seconds'
                               THEN 0 ELSE 1 END AS f FROM events WHERE NOT _late)) GROUP BY user_id, s) WHERE {}",
        closed.replace("timestamp <", "e <=")
    );
    assert_eq!(
        sorted(&rig.query("SELECT window_start, window_end, user_id, n FROM sessions").await),
        sorted(&rig.query(&sessions).await)
    );
}

const USERS: &str = "CREATE TABLE users (user_id TEXT PRIMARY KEY, tier TEXT) WITH (connector = 'test', splits = 'u');";
const CLICKS: &str = "CREATE STREAM clicks (
    id BIGINT NOT NULL, user_id TEXT, timestamp TIMESTAMPTZ NOT NULL, WATERMARK FOR timestamp AS timestamp - INTERVAL '10 seconds'
) WITH (connector = 'test', splits = 'c', idle_timeout = '1 hour');";

fn user(at: i64, tier: &str) -> String {
    format!(r#"{{"user_id":"user-{at}","tier":"{tier}"}}"#)
}

#[tokio::test]
async fn a_stream_meets_a_table_as_it_is_and_keeps_what_it_met() {
    let mut rig = Rig::new();
    rig.declare(EVENTS);
    rig.declare(USERS);
    rig.declare(
        "CREATE MATERIALIZED VIEW met AS SELECT e.id, e.user_id, u.tier FROM events e LEFT JOIN users u ON u.user_id = e.user_id;
         CREATE MATERIALIZED VIEW tiers AS SELECT u.tier, count(*) AS n FROM events e JOIN users u ON u.user_id = e.user_id GROUP BY u.tier;
         CREATE MATERIALIZED VIEW activity AS SELECT e.kind, u.tier, count(*) AS n, count(DISTINCT e.user_id) AS users
         FROM events e LEFT JOIN users u ON u.user_id = e.user_id GROUP BY e.kind, u.tier
         WINDOW TUMBLE (e.timestamp, INTERVAL '10 seconds', INTERVAL '1 minute');
         CREATE MATERIALIZED VIEW names AS SELECT tier, count(*) AS n FROM users GROUP BY tier;",
    );
    rig.outside.produce("u0", (0..8).map(|at| user(at, "free")));
    rig.outside.produce("0", (0..200).map(event));
    rig.start().await;
    rig.flush().await;
    rig.kill();
    rig.start().await;
    rig.outside.produce("u0", (0..4).map(|at| user(at, "paid")));
    rig.flush().await;
    rig.outside.produce("0", (200..400).map(event));
    rig.flush().await;
    let met = |columns: &str| {
        format!(
            "SELECT {columns} FROM (SELECT *, CASE WHEN user_id IN ('user-0', 'user-1', 'user-2', 'user-3') AND id >= 200 THEN 'paid'
             WHEN user_id IN ('user-0', 'user-1', 'user-2', 'user-3', 'user-4', 'user-5', 'user-6', 'user-7') THEN 'free' END AS tier FROM events)"
        )
    };
    let tiers = format!("{} WHERE tier IS NOT NULL GROUP BY tier", met("tier, count(*) AS n"));
    let activity = |seconds: i64| {
        let start = format!("date_bin(INTERVAL '{seconds} seconds', timestamp)");
        let columns = format!(
            "{start} AS window_start, {start} + INTERVAL '{seconds} seconds' AS window_end, INTERVAL '{seconds} seconds' AS window_size,
             kind, tier, count(*) AS n, count(DISTINCT user_id) AS users"
        );
        format!("{} WHERE {PANE} GROUP BY {start}, kind, tier", met(&columns))
    };
    for killed in [false, true] {
        if killed {
            rig.kill();
            rig.start().await;
            rig.flush().await;
        }
        assert_eq!(sorted(&rig.query("SELECT * FROM met").await), sorted(&rig.query(&met("id, user_id, tier")).await));
        assert_eq!(sorted(&rig.query("SELECT * FROM tiers").await), sorted(&rig.query(&tiers).await));
        let both = format!("{} UNION ALL {}", activity(10), activity(60));
        assert_eq!(sorted(&rig.query("SELECT * FROM activity").await), sorted(&rig.query(&both).await));
        let names = "SELECT tier, count(*) AS n FROM users GROUP BY tier";
        assert_eq!(sorted(&rig.query("SELECT * FROM names").await), sorted(&rig.query(names).await));
    }
}

#[tokio::test]
async fn two_streams_meet_within_their_bound_and_state_ends() {
    let mut rig = Rig::new();
    rig.declare(EVENTS);
    rig.declare(CLICKS);
    let on = "e.user_id = c.user_id AND c.timestamp BETWEEN e.timestamp - INTERVAL '2 seconds' AND e.timestamp + INTERVAL '6 seconds'";
    let kinds = ["JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN"];
    for (at, kind) in kinds.iter().enumerate() {
        rig.declare(&format!(
            "CREATE MATERIALIZED VIEW j{at} AS SELECT e.id, c.id AS click FROM events e {kind} clicks c ON {on};"
        ));
    }
    let semi = [
        format!("EXISTS (SELECT 1 FROM clicks c WHERE {on})"),
        format!("NOT EXISTS (SELECT 1 FROM clicks c WHERE {on})"),
    ];
    for (at, condition) in semi.iter().enumerate() {
        rig.declare(&format!("CREATE MATERIALIZED VIEW s{at} AS SELECT e.id FROM events e WHERE {condition};"));
    }
    rig.start().await;
    let click = |at: i64| {
        let second = at / 4 + at * 5 % 7;
        format!(
            r#"{{"id":{at},"user_id":"user-{}","timestamp":"2026-01-01T00:{:02}:{:02}Z"}}"#,
            at * 3 % 11,
            second / 60 % 60,
            second % 60
        )
    };
    for round in 0..6 {
        rig.outside.produce("0", (round * 100..(round + 1) * 100).map(event));
        rig.outside.produce("c0", (round * 100..(round + 1) * 100).map(click));
        rig.flush().await;
        if round % 2 == 1 {
            rig.kill();
            rig.start().await;
        }
    }
    rig.flush().await;
    // Every 37th event is a minute behind: whether it is late is decided where it is joined.
    for (at, kind) in kinds.iter().enumerate() {
        let batch = format!(
            "SELECT e.id, c.id AS click FROM (SELECT * FROM events WHERE id % 37 <> 0) e {kind} clicks c ON {on}"
        );
        let live = format!("SELECT id, click FROM j{at} WHERE id % 37 <> 0 OR id IS NULL");
        let (live, batch) = (sorted(&rig.query(&live).await), sorted(&rig.query(&batch).await));
        assert!(live.len() > 200, "{kind}: {}", live.len());
        let only = |a: &[String], b: &[String]| a.iter().filter(|row| !b.contains(row)).cloned().collect::<Vec<_>>();
        let (more, less) = (only(&live, &batch), only(&batch, &live));
        // A click that met only an event that came far too late stands alone in neither.
        assert!(more.is_empty() && less.iter().all(|row| row.starts_with("||")), "{kind}: {more:?} {less:?}");
    }
    for (at, condition) in semi.iter().enumerate() {
        let batch = format!("SELECT e.id FROM events e WHERE e.id % 37 <> 0 AND {condition}");
        let live = rig.query(&format!("SELECT id FROM s{at} WHERE id % 37 <> 0")).await;
        assert_eq!(sorted(&live), sorted(&rig.query(&batch).await), "{condition}");
    }
    let held = rig.query("SELECT max(groups) FROM jobs WHERE kind = 'materialized view'").await;
    let held: i64 = sorted(&held)[0].trim_matches('|').parse().expect("a number");
    assert!(held < 300, "{held} rows are held of 1,200");
}

/// A step may take all 25 seconds of a round, and a row is held for 60 seconds from the watermark that was before it: pairs of
/// 20 seconds meet for certain.
#[tokio::test]
async fn a_join_without_a_bound_keeps_its_rows_for_the_time_it_says() {
    let mut rig = Rig::new();
    rig.declare(EVENTS);
    rig.declare(CLICKS);
    rig.declare(
        "CREATE MATERIALIZED VIEW j WITH (state_ttl = '60 seconds') AS
         SELECT e.id, c.id AS click FROM events e JOIN clicks c ON e.user_id = c.user_id;
         CREATE MATERIALIZED VIEW earlier WITH (state_ttl = '60 seconds') AS
         SELECT e.id, c.id AS click FROM events e JOIN clicks c ON e.user_id = c.user_id AND c.timestamp >= e.timestamp;",
    );
    rig.start().await;
    let click = |at: i64| {
        let second = at / 4;
        format!(
            r#"{{"id":{at},"user_id":"user-{}","timestamp":"2026-01-01T00:{:02}:{:02}Z"}}"#,
            at * 3 % 11,
            second / 60 % 60,
            second % 60
        )
    };
    for round in 0..8 {
        rig.outside.produce("0", (round * 100..(round + 1) * 100).map(event));
        rig.outside.produce("c0", (round * 100..(round + 1) * 100).map(click));
        rig.flush().await;
        if round % 3 == 2 {
            rig.kill();
            rig.start().await;
            rig.flush().await;
        }
    }
    let pairs = "FROM (SELECT * FROM events WHERE id % 37 <> 0) e JOIN clicks c ON e.user_id = c.user_id";
    for (view, and) in [("j", ""), ("earlier", " AND c.timestamp >= e.timestamp")] {
        let live = sorted(&rig.query(&format!("SELECT id, click FROM {view} WHERE id % 37 <> 0")).await);
        let all = sorted(&rig.query(&format!("SELECT e.id, c.id AS click {pairs}{and}")).await);
        // A side that the condition bounds is held no longer than the watermark is behind.
        let near = "abs(e.id / 100 - c.id / 100) <= 1 AND c.timestamp - e.timestamp < INTERVAL '20 seconds'
                    AND e.timestamp - c.timestamp < INTERVAL '10 seconds'";
        let near = sorted(&rig.query(&format!("SELECT e.id, c.id AS click {pairs}{and} WHERE {near}")).await);
        let only =
            |a: &[String], b: &[String]| a.iter().filter(|row| !b.contains(row)).take(5).cloned().collect::<Vec<_>>();
        assert_eq!((only(&live, &all), only(&near, &live)), (Vec::new(), Vec::new()), "{view}");
        assert!(near.len() > 1_000 && live.len() < all.len());
    }
    let held = rig.query("SELECT max(groups) FROM jobs WHERE kind = 'materialized view'").await;
    let held: i64 = sorted(&held)[0].trim_matches('|').parse().expect("a number");
    assert!(held < 1_100, "{held} rows are held of 1,600");
}

#[tokio::test]
async fn what_nothing_has_met_is_shown_until_something_comes() {
    let mut rig = Rig::new();
    rig.declare(EVENTS);
    rig.declare(CLICKS);
    let clicked = "SELECT 1 FROM clicks c WHERE c.user_id = e.user_id AND c.timestamp BETWEEN e.timestamp AND e.timestamp + INTERVAL '1 minute'";
    rig.declare(&format!(
        "CREATE MATERIALIZED VIEW waiting AS SELECT e.id FROM events e WHERE NOT EXISTS ({clicked});
         CREATE MATERIALIZED VIEW done AS SELECT e.id FROM events e WHERE EXISTS ({clicked});"
    ));
    let event = |id: i64| format!(r#"{{"id":{id},"user_id":"user-{id}","timestamp":"2026-01-01T00:00:{id:02}Z"}}"#);
    let click = |id: i64| format!(r#"{{"id":{id},"user_id":"user-{id}","timestamp":"2026-01-01T00:00:30Z"}}"#);
    rig.start().await;
    rig.outside.produce("0", (1..4).map(event));
    rig.flush().await;
    assert_eq!(sorted(&rig.query("SELECT id FROM waiting").await), ["|1|", "|2|", "|3|"]);
    assert!(sorted(&rig.query("SELECT id FROM done").await).is_empty());
    rig.kill();
    rig.start().await;
    // Two of one user: it is there once, whatever meets it.
    rig.outside.produce("c0", [click(2), click(2)]);
    rig.flush().await;
    assert_eq!(sorted(&rig.query("SELECT id FROM waiting").await), ["|1|", "|3|"]);
    assert_eq!(sorted(&rig.query("SELECT id FROM done").await), ["|2|"]);
}

#[tokio::test]
async fn rows_of_the_last_minutes_are_those_by_the_clock() {
    let mut rig = Rig::new();
    rig.declare(EVENTS);
    rig.declare(
        "CREATE MATERIALIZED VIEW now_active AS SELECT kind, count(*) AS n, count(DISTINCT user_id) AS users FROM events
         WHERE timestamp > now() - INTERVAL '5 minutes' GROUP BY kind;",
    );
    rig.start().await;
    rig.outside.produce("0", (0..100).map(event));
    // These do not leave while the test runs.
    rig.outside.produce("0", (100..160).map(|at| event(at).replace("2026-01", "2126-01")));
    for killed in [false, true] {
        if killed {
            rig.kill();
            rig.start().await;
        }
        rig.flush().await;
        assert_eq!(
            sorted(&rig.query("SELECT * FROM now_active").await),
            sorted(
                &rig.query("SELECT kind, count(*) AS n, count(DISTINCT user_id) AS users FROM events WHERE id >= 100 GROUP BY kind")
                    .await
            )
        );
    }
}
