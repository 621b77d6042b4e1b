//! The SQL a simulation runs, and for every view the batch query it must equal.

/// A view: what makes it, how it is read, and the same as a batch over `events` with the columns
/// `_late` and `_watermark`. `{watermark}` is the stream's watermark at the moment compared.
#[derive(Clone, Copy, Debug)]
pub(super) struct Case {
    pub(super) name: &'static str,
    pub(super) create: &'static str,
    pub(super) compare: &'static [(&'static str, &'static str)],
}

pub(super) const EVENTS: &str = "CREATE STREAM events (
    id BIGINT NOT NULL, region TEXT CHECK (region <> 'nowhere'), amount BIGINT, timestamp TIMESTAMPTZ NOT NULL,
    WATERMARK FOR timestamp AS timestamp - INTERVAL '1 second'
) WITH (connector = 'sim', idle_timeout = '3 seconds')";

pub(super) const USERS: &str = "CREATE TABLE users (id BIGINT PRIMARY KEY, tier TEXT) WITH (connector = 'sim')";

const THIN_2: &str = "SELECT window_start, region, events, revenue, least, most, mean FROM {view}
    WHERE window_size = INTERVAL '2 seconds' ORDER BY 1, 2";
const THIN_6: &str = "SELECT window_start, region, events, revenue, least, most, mean FROM {view}
    WHERE window_size = INTERVAL '6 seconds' ORDER BY 1, 2";
const THIN_2_BATCH: &str =
    "SELECT date_bin(INTERVAL '2 seconds', timestamp) AS window_start, region, count(*) AS events,
        sum(amount) AS revenue, min(amount) AS least, max(amount) AS most, avg(amount) AS mean
    FROM events WHERE NOT (_late AND date_bin(INTERVAL '2 seconds', timestamp) + INTERVAL '2 seconds' <= _watermark)
    GROUP BY 1, 2 ORDER BY 1, 2";
const THIN_6_BATCH: &str =
    "SELECT date_bin(INTERVAL '6 seconds', timestamp) AS window_start, region, count(*) AS events,
        sum(amount) AS revenue, min(amount) AS least, max(amount) AS most, avg(amount) AS mean
    FROM events WHERE NOT (_late AND date_bin(INTERVAL '2 seconds', timestamp) + INTERVAL '2 seconds' <= _watermark)
    GROUP BY 1, 2 ORDER BY 1, 2";

/// Two sizes, states of fixed length.
const THIN: Case = Case {
    name: "thin",
    create: "CREATE MATERIALIZED VIEW thin AS SELECT region, count(*) AS events, sum(amount) AS revenue,
            min(amount) AS least, max(amount) AS most, avg(amount) AS mean
        FROM events GROUP BY region WINDOW TUMBLE (timestamp, INTERVAL '2 seconds', INTERVAL '6 seconds')",
    compare: &[(THIN_2, THIN_2_BATCH), (THIN_6, THIN_6_BATCH)],
};

/// The same, created while the stream runs.
pub(super) const LATER: Case = Case {
    name: "later",
    create: "CREATE MATERIALIZED VIEW later AS SELECT region, count(*) AS events, sum(amount) AS revenue,
            min(amount) AS least, max(amount) AS most, avg(amount) AS mean
        FROM events GROUP BY region WINDOW TUMBLE (timestamp, INTERVAL '2 seconds', INTERVAL '6 seconds')",
    compare: &[(THIN_2, THIN_2_BATCH), (THIN_6, THIN_6_BATCH)],
};

/// From the beginning.
pub(super) const FIRST: [Case; 11] = [
    THIN,
    Case {
        name: "fat",
        create: "CREATE MATERIALIZED VIEW fat AS SELECT region, count(DISTINCT amount) AS amounts,
                array_agg(DISTINCT amount ORDER BY amount) AS all_amounts
            FROM events WHERE id % 3 <> 0 GROUP BY region WINDOW TUMBLE (timestamp, INTERVAL '4 seconds')",
        compare: &[(
            "SELECT window_start, region, amounts, all_amounts FROM fat ORDER BY 1, 2",
            "SELECT date_bin(INTERVAL '4 seconds', timestamp) AS window_start, region, count(DISTINCT amount) AS amounts,
                    array_agg(DISTINCT amount ORDER BY amount) AS all_amounts
             FROM events WHERE id % 3 <> 0
                AND NOT (_late AND date_bin(INTERVAL '4 seconds', timestamp) + INTERVAL '4 seconds' <= _watermark)
             GROUP BY 1, 2 ORDER BY 1, 2",
        )],
    },
    Case {
        name: "final",
        create: "CREATE MATERIALIZED VIEW final AS SELECT window_start, region, count(*) AS events, sum(id) AS ids
            FROM TUMBLE(events, timestamp, INTERVAL '2 seconds') GROUP BY window_start, region EMIT ON WINDOW CLOSE",
        compare: &[(
            "SELECT window_start, region, events, ids FROM final ORDER BY 1, 2",
            "SELECT date_bin(INTERVAL '2 seconds', timestamp) AS window_start, region, count(*) AS events, sum(id) AS ids
             FROM events WHERE date_bin(INTERVAL '2 seconds', timestamp) + INTERVAL '2 seconds' <= {watermark}
                AND NOT (_late AND date_bin(INTERVAL '2 seconds', timestamp) + INTERVAL '2 seconds' <= _watermark)
             GROUP BY 1, 2 ORDER BY 1, 2",
        )],
    },
    Case {
        name: "totals",
        create: "CREATE MATERIALIZED VIEW totals AS SELECT amount, count(*) AS events, sum(id) AS ids
            FROM events GROUP BY amount HAVING count(*) % 3 <> 0",
        compare: &[(
            "SELECT amount, events, ids FROM totals ORDER BY 1",
            "SELECT amount, count(*) AS events, sum(id) AS ids
             FROM events GROUP BY amount HAVING count(*) % 3 <> 0 ORDER BY 1",
        )],
    },
    Case {
        name: "single",
        create: "CREATE MATERIALIZED VIEW single AS SELECT id, region, amount * 2 AS twice FROM events WHERE amount > 3",
        compare: &[(
            "SELECT id, region, twice FROM single ORDER BY 1",
            "SELECT id, region, amount * 2 AS twice FROM events WHERE amount > 3 ORDER BY 1",
        )],
    },
    // Rows and groups that cannot be computed are left out.
    Case {
        name: "ratios",
        create: "CREATE MATERIALIZED VIEW ratios AS SELECT region, sum(100 / amount) AS share, 60 / (count(*) - 3) AS odd
            FROM events GROUP BY region",
        compare: &[(
            "SELECT region, share, odd FROM ratios ORDER BY 1",
            "SELECT region, sum(100 / amount) AS share, 60 / (count(*) - 3) AS odd
             FROM events WHERE amount IS DISTINCT FROM 0 GROUP BY region HAVING count(*) <> 3 ORDER BY 1",
        )],
    },
    // What follows is run as operators over changelogs.
    Case {
        name: "shares",
        create: "CREATE MATERIALIZED VIEW shares AS SELECT n, count(*) AS c FROM
            (SELECT 100 / amount AS share, count(*) AS n FROM events GROUP BY 100 / amount) GROUP BY n",
        compare: &[(
            "SELECT n, c FROM shares ORDER BY 1",
            "SELECT n, count(*) AS c FROM (SELECT 100 / amount AS share, count(*) AS n FROM events
                WHERE amount IS DISTINCT FROM 0 GROUP BY 100 / amount) GROUP BY n ORDER BY 1",
        )],
    },
    Case {
        name: "levels",
        create: "CREATE MATERIALIZED VIEW levels AS SELECT events, count(*) AS n, min(region) AS first, max(ids) AS most
            FROM (SELECT region, amount, count(*) AS events, sum(id) AS ids FROM events GROUP BY region, amount) GROUP BY events",
        compare: &[(
            "SELECT events, n, first, most FROM levels ORDER BY 1",
            "SELECT events, count(*) AS n, min(region) AS first, max(ids) AS most
             FROM (SELECT region, amount, count(*) AS events, sum(id) AS ids FROM events GROUP BY region, amount) GROUP BY events ORDER BY 1",
        )],
    },
    Case {
        name: "firsts",
        create: "CREATE MATERIALIZED VIEW firsts AS SELECT region, id, n FROM (SELECT region, id,
            ROW_NUMBER() OVER (PARTITION BY region ORDER BY amount DESC NULLS LAST, id) AS n FROM events) WHERE n <= 2",
        compare: &[(
            "SELECT region, id, n FROM firsts ORDER BY 1, 3",
            "SELECT region, id, n FROM (SELECT region, id,
             ROW_NUMBER() OVER (PARTITION BY region ORDER BY amount DESC NULLS LAST, id) AS n FROM events) WHERE n <= 2 ORDER BY 1, 3",
        )],
    },
    Case {
        name: "pairs",
        create: "CREATE MATERIALIZED VIEW pairs AS SELECT a.id, b.id AS other FROM events a LEFT JOIN events b
            ON a.region = b.region AND b.timestamp > a.timestamp AND b.timestamp <= a.timestamp + INTERVAL '1 second' AND b.amount < a.amount",
        compare: &[(
            "SELECT id, other FROM pairs ORDER BY 1, 2",
            "SELECT a.id, b.id AS other FROM (SELECT * FROM events WHERE NOT _late) a LEFT JOIN (SELECT * FROM events WHERE NOT _late) b
             ON a.region = b.region AND b.timestamp > a.timestamp AND b.timestamp <= a.timestamp + INTERVAL '1 second' AND b.amount < a.amount
             ORDER BY 1, 2",
        )],
    },
    Case {
        name: "sessions",
        create: "CREATE MATERIALIZED VIEW sessions AS SELECT region, count(*) AS events, min(amount) AS least, count(DISTINCT amount) AS amounts
            FROM events GROUP BY region WINDOW SESSION (timestamp, INTERVAL '1 second')",
        compare: &[(
            "SELECT region, window_start, window_end, events, least, amounts FROM sessions ORDER BY 1, 2",
            "SELECT region, min(timestamp) AS window_start, max(timestamp) + INTERVAL '1 second' AS window_end, count(*) AS events,
                min(amount) AS least, count(DISTINCT amount) AS amounts
             FROM (SELECT *, sum(f) OVER (PARTITION BY region ORDER BY timestamp, id) AS s FROM (SELECT *, CASE WHEN timestamp
                - lag(timestamp) OVER (PARTITION BY region ORDER BY timestamp, id) < INTERVAL '1 second' THEN 0 ELSE 1 END AS f
                FROM events WHERE NOT _late)) GROUP BY region, s ORDER BY 1, 2",
        )],
    },
];

/// Two on the stream, of which one has nothing outside that holds its position, and three on views: one whose rows come and go, one with windows, one on close.
pub(super) const SINKS: [(&str, &str, &str); 6] = [
    ("cold", "events", "CREATE SINK cold FROM events WITH (connector = 'sim')"),
    ("samples", "events", "CREATE SINK samples FROM events WITH (connector = 'sim', forgets = 'true')"),
    ("hot_totals", "totals", "CREATE SINK hot_totals FROM totals WITH (connector = 'sim')"),
    ("hot_thin", "thin", "CREATE SINK hot_thin FROM thin WITH (connector = 'sim')"),
    ("topic", "final", "CREATE SINK topic FROM final WITH (connector = 'sim', keeps = 'true')"),
    ("hot_final", "final", "CREATE SINK hot_final FROM final WITH (connector = 'sim')"),
];

/// On windows that close, on windows that are open, on rows that come and go. Two receivers hear all, each for itself.
pub(super) const ALERTS: [&str; 3] = [
    "CREATE ALERT closing ON final WHEN ids % 3 <> 0 FOR INTERVAL '4 seconds' KEEP FIRING FOR INTERVAL '3 seconds'",
    "CREATE ALERT peaks ON thin WHEN most > 17 FOR INTERVAL '3 seconds' KEEP FIRING FOR INTERVAL '5 seconds'",
    "CREATE ALERT quiet ON totals WHEN events > 8 FOR INTERVAL '2 seconds' NO DATA AFTER INTERVAL '5 seconds'",
];

pub(super) const RECEIVERS: [&str; 2] = ["first", "second"];

/// All views, when the last has been created.
pub(super) fn all() -> impl Iterator<Item = Case> {
    FIRST.into_iter().chain([LATER])
}

pub(super) fn case(name: &str) -> Option<Case> {
    all().find(|case| case.name == name)
}
