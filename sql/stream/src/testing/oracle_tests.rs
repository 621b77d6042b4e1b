//! Queries made from a seed over rows made from a seed: the view of each is what DataFusion answers over all rows at
//! once, after kills and restarts.
//!
//! `EBAP_ORACLE_QUERIES=20000` makes more of them (500 else), `EBAP_ORACLE_SEED=17` plays one lot.

use std::{env, fmt::Write};

use super::rig::Rig;

/// Views that one engine runs.
const LOT: u64 = 25;
const ROWS: i64 = 240;

const EVENTS: &str = "CREATE STREAM events (
    id BIGINT NOT NULL, user_id TEXT, kind TEXT, amount BIGINT, price DOUBLE, timestamp TIMESTAMPTZ NOT NULL,
    WATERMARK FOR timestamp AS timestamp - INTERVAL '5 seconds'
) WITH (connector = 'test', idle_timeout = '1 hour');";

/// Rows that no window of ten seconds has closed before.
const PANE: &str = "(NOT _late OR date_bin(INTERVAL '10 seconds', timestamp) + INTERVAL '10 seconds' > _watermark)";

/// SplitMix64 (Steele, Lea, Flood, 2014).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, most: u64) -> u64 {
        self.next() % most
    }

    fn one_in(&mut self, many: u64) -> bool {
        self.below(many) == 0
    }

    fn of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len() as u64) as usize]
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Type {
    Int,
    Text,
    /// Quarters, whose sums are exact in any order.
    Float,
    /// Depends on the order in its last digits: shown, and nothing is made of it.
    Rough,
    Time,
}

/// A query in two forms: as the view has it, and over the rows as they lie in the stream.
#[derive(Clone, Debug)]
struct Relation {
    live: String,
    batch: String,
    columns: Vec<(String, Type)>,
    /// One row for certain: an aggregate without keys, and what is made of one.
    single: bool,
}

impl Relation {
    fn names(&self, kinds: &[Type]) -> Vec<String> {
        let fits = self.columns.iter().filter(|(_, of)| kinds.contains(of));
        fits.map(|(name, _)| name.clone()).collect()
    }

    /// The same around both forms; `{}` is where they stand.
    fn around(&self, text: &str, columns: Vec<(String, Type)>) -> Self {
        let put = |inner: &str| text.replace("{}", &format!("({inner})"));
        Self { live: put(&self.live), batch: put(&self.batch), columns, single: self.single }
    }
}

fn base(random: &mut Random) -> Relation {
    let columns = [
        ("id", Type::Int),
        ("user_id", Type::Text),
        ("kind", Type::Text),
        ("amount", Type::Int),
        ("price", Type::Float),
    ];
    let columns: Vec<(String, Type)> = columns.iter().map(|(name, of)| ((*name).to_owned(), *of)).collect();
    let filter = match random.below(6) {
        0 => " WHERE amount > 5",
        1 => " WHERE kind <> 'cart'",
        2 => " WHERE id % 3 <> 1 AND user_id IS NOT NULL",
        3 => " WHERE amount BETWEEN -5 AND 20 OR kind = 'buy'",
        _ => "",
    };
    let text = format!("SELECT id, user_id, kind, amount, price FROM events{filter}");
    Relation { live: text.clone(), batch: text, columns, single: false }
}

/// `GROUP BY`, with or without a window when it is over the stream itself.
fn grouped(random: &mut Random, input: &Relation, least: u64) -> Relation {
    let mut keys = input.names(&[Type::Int, Type::Text]);
    let count = (least + random.below(3 - least)) as usize;
    while keys.len() > count {
        let at = random.below(keys.len() as u64) as usize;
        keys.remove(at);
    }
    let (mut select, mut columns, mut groups) = (Vec::new(), Vec::new(), Vec::new());
    for (at, key) in keys.iter().enumerate() {
        let of = input.columns.iter().find(|(name, _)| name == key).map_or(Type::Text, |(_, of)| *of);
        let expr = if of == Type::Int { format!("{key} % 4") } else { key.clone() };
        select.push(format!("{expr} AS k{at}"));
        groups.push(expr);
        columns.push((format!("k{at}"), of));
    }
    for at in 0..1 + random.below(3) {
        let (expr, of) = aggregate(random, input);
        select.push(format!("{expr} AS a{at}"));
        columns.push((format!("a{at}"), of));
    }
    let having = if random.one_in(4) { " HAVING count(*) > 2" } else { "" };
    let by = if groups.is_empty() { String::new() } else { format!(" GROUP BY {}", groups.join(", ")) };
    let single = input.single || groups.is_empty();
    let having = if groups.is_empty() { "" } else { having };
    let made = input.around(&format!("SELECT {} FROM {{}}{by}{having}", select.join(", ")), columns);
    Relation { single, ..made }
}

fn aggregate(random: &mut Random, input: &Relation) -> (String, Type) {
    let filter = match (random.one_in(5), input.names(&[Type::Int]).first()) {
        (true, Some(column)) => format!(" FILTER (WHERE {column} > 3)"),
        _ => String::new(),
    };
    let numbers = input.names(&[Type::Int, Type::Float]);
    let simple = input.names(&[Type::Int, Type::Text, Type::Float]);
    let (Some(any), false) = (simple.first(), simple.is_empty()) else { return ("count(*)".to_owned(), Type::Int) };
    let any = if random.one_in(2) { any.clone() } else { random.of(&simple).clone() };
    let of = |name: &str| input.columns.iter().find(|(column, _)| column == name).map_or(Type::Text, |(_, of)| *of);
    let (call, of) = match random.below(9) {
        0 => ("count(*)".to_owned(), Type::Int),
        1 => (format!("count({any})"), Type::Int),
        2 => (format!("count(DISTINCT {any})"), Type::Int),
        3 => (format!("min({any})"), of(&any)),
        4 => (format!("max({any})"), of(&any)),
        5..=7 if !numbers.is_empty() => {
            let number = random.of(&numbers).clone();
            (format!("sum({number})"), of(&number))
        }
        8 if !numbers.is_empty() => (format!("avg({})", random.of(&numbers)), Type::Rough),
        _ => ("count(*)".to_owned(), Type::Int),
    };
    (format!("{call}{filter}"), of)
}

fn windowed(random: &mut Random) -> Relation {
    let (slides, size) = *random.of(&[(1, 10), (2, 20), (3, 30), (1, 20)]);
    let hop = slides > 1;
    let call = match hop {
        true => format!("HOP(events, timestamp, INTERVAL '10 seconds', INTERVAL '{size} seconds')"),
        false => format!("TUMBLE(events, timestamp, INTERVAL '{size} seconds')"),
    };
    let (pane, rows) = match hop {
        true => {
            let offsets: Vec<String> =
                (0..slides).map(|at| format!("SELECT INTERVAL '{} seconds' AS o", at * 10)).collect();
            let rows = format!(
                "(SELECT *, date_bin(INTERVAL '10 seconds', timestamp) - o AS w FROM events CROSS JOIN ({}))",
                offsets.join(" UNION ALL ")
            );
            (PANE.to_owned(), rows)
        }
        false => (
            PANE.replace("10 seconds", &format!("{size} seconds")),
            format!("(SELECT *, date_bin(INTERVAL '{size} seconds', timestamp) AS w FROM events)"),
        ),
    };
    let key = *random.of(&["kind", "user_id"]);
    let aggregates = random.of(&[
        "count(*) AS n, sum(amount) AS s",
        "count(DISTINCT user_id) AS n, max(amount) AS s",
        "count(amount) AS n, min(id) AS s",
    ]);
    let columns = vec![
        ("t".to_owned(), Type::Time),
        (key.to_owned(), Type::Text),
        ("n".to_owned(), Type::Int),
        ("s".to_owned(), Type::Int),
    ];
    Relation {
        live: format!("SELECT window_start AS t, {key}, {aggregates} FROM {call} GROUP BY window_start, {key}"),
        batch: format!("SELECT w AS t, {key}, {aggregates} FROM {rows} WHERE {pane} GROUP BY w, {key}"),
        columns,
        single: false,
    }
}

fn joined(random: &mut Random, depth: u64) -> Option<Relation> {
    // Both sides change, so that both are kept. Neither is one row, nor made of one: DataFusion takes the columns of
    // such a side for constants behind an outer join too, and numbers and orders rows wrongly by them.
    let several = |random: &mut Random| Some(relation(random, depth)).filter(|input| !input.single);
    let input = several(random)?;
    let left = grouped(random, &input, 1);
    let input = several(random)?;
    let right = grouped(random, &input, 1);
    let pairs: Vec<(String, String)> = left
        .columns
        .iter()
        .flat_map(|(a, of)| {
            let same =
                right.columns.iter().filter(move |(_, other)| other == of && matches!(of, Type::Int | Type::Text));
            same.map(move |(b, _)| (a.clone(), b.clone()))
        })
        .collect();
    let (a, b) = if pairs.is_empty() { return None } else { random.of(&pairs).clone() };
    let numbers = (left.names(&[Type::Int]), right.names(&[Type::Int]));
    let extra = match (random.one_in(3), numbers.0.last(), numbers.1.last()) {
        (true, Some(x), Some(y)) => format!(" AND l.{x} <= r.{y}"),
        _ => String::new(),
    };
    let kind = random.below(7);
    let (text, columns): (String, Vec<(String, Type)>) = if kind < 4 {
        let word = ["JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN"][kind as usize];
        let mut select = Vec::new();
        let mut columns = Vec::new();
        for (at, (name, of)) in left.columns.iter().enumerate() {
            select.push(format!("l.{name} AS l{at}"));
            columns.push((format!("l{at}"), *of));
        }
        for (at, (name, of)) in right.columns.iter().enumerate() {
            select.push(format!("r.{name} AS r{at}"));
            columns.push((format!("r{at}"), *of));
        }
        (format!("SELECT {} FROM {{}} l {word} {{r}} r ON l.{a} = r.{b}{extra}", select.join(", ")), columns)
    } else if kind == 6 {
        let live = format!("SELECT * FROM ({}) l WHERE l.{a} NOT IN (SELECT r.{b} FROM ({}) r)", left.live, right.live);
        // What it means, as some rules of DataFusion do not see the NULLs.
        let batch = format!(
            "SELECT * FROM ({}) l WHERE NOT EXISTS (SELECT 1 FROM ({}) r WHERE l.{a} = r.{b} OR l.{a} IS NULL OR r.{b} IS NULL)",
            left.batch, right.batch
        );
        return Some(Relation { live, batch, columns: left.columns, single: false });
    } else {
        let word = if kind == 4 { "EXISTS" } else { "NOT EXISTS" };
        (
            format!("SELECT * FROM {{}} l WHERE {word} (SELECT 1 FROM {{r}} r WHERE l.{a} = r.{b}{extra})"),
            left.columns.clone(),
        )
    };
    let put = |l: &str, r: &str| text.replace("{}", &format!("({l})")).replace("{r}", &format!("({r})"));
    Some(Relation { live: put(&left.live, &right.live), batch: put(&left.batch, &right.batch), columns, single: false })
}

fn top(random: &mut Random, input: &Relation) -> Relation {
    let exact = input.names(&[Type::Int, Type::Text, Type::Float, Type::Time]);
    if exact.len() != input.columns.len() {
        return input.clone();
    }
    let mut order = exact.clone();
    let turn = random.below(order.len() as u64) as usize;
    order.rotate_left(turn);
    let mut order: Vec<String> = order
        .iter()
        .map(|name| format!("{name} {} NULLS {}", random.of(&["ASC", "DESC"]), random.of(&["FIRST", "LAST"])))
        .collect();
    let count = 1 + random.below(5);
    if random.one_in(2) {
        let offset = if random.one_in(3) { " OFFSET 2" } else { "" };
        return input.around(
            &format!("SELECT * FROM {{}} ORDER BY {} LIMIT {count}{offset}", order.join(", ")),
            input.columns.clone(),
        );
    }
    let partition = random.of(&exact).clone();
    let columns = input.columns.clone();
    let names: Vec<String> = columns.iter().map(|(name, _)| name.clone()).collect();
    let function = *random.of(&["ROW_NUMBER", "ROW_NUMBER", "RANK", "DENSE_RANK"]);
    if function != "ROW_NUMBER" {
        // So that there are equal rows.
        order.truncate(1);
    }
    let text = format!(
        "SELECT {} FROM (SELECT *, {function}() OVER (PARTITION BY {partition} ORDER BY {}) AS rn FROM {{}}) WHERE rn <= {count}",
        names.join(", "),
        order.join(", ")
    );
    input.around(&text, columns)
}

fn union(random: &mut Random, depth: u64) -> Relation {
    let (one, other) = (relation(random, depth), relation(random, depth));
    let pick = |relation: &Relation| {
        let int = relation.names(&[Type::Int]).first().cloned();
        let text = relation.names(&[Type::Text]).first().cloned();
        let or_null = |name: Option<String>, of: &str| name.unwrap_or(format!("CAST(NULL AS {of})"));
        format!("SELECT {} AS u, {} AS v FROM {{}}", or_null(int, "BIGINT"), or_null(text, "TEXT"))
    };
    let columns = vec![("u".to_owned(), Type::Int), ("v".to_owned(), Type::Text)];
    let (a, b) = (one.around(&pick(&one), columns.clone()), other.around(&pick(&other), columns.clone()));
    let all = if random.one_in(3) { "UNION" } else { "UNION ALL" };
    Relation {
        live: format!("{} {all} {}", a.live, b.live),
        batch: format!("{} {all} {}", a.batch, b.batch),
        columns,
        single: false,
    }
}

fn relation(random: &mut Random, depth: u64) -> Relation {
    if depth == 0 {
        return if random.one_in(4) { windowed(random) } else { base(random) };
    }
    match random.below(8) {
        0 | 1 => {
            let input = relation(random, depth - 1);
            grouped(random, &input, 0)
        }
        2 => {
            let input = relation(random, depth - 1);
            top(random, &input)
        }
        3 => union(random, depth - 1),
        4 | 5 => joined(random, depth - 1).unwrap_or_else(|| windowed(random)),
        6 => {
            let input = relation(random, depth - 1);
            input.around("SELECT DISTINCT * FROM {}", input.columns.clone())
        }
        _ => {
            let input = relation(random, depth - 1);
            let columns = input.columns.clone();
            match input.names(&[Type::Int]).first() {
                Some(column) => {
                    let column = column.clone();
                    input.around(&format!("SELECT * FROM {{}} WHERE {column} % 2 = 0 OR {column} IS NULL"), columns)
                }
                None => input,
            }
        }
    }
}

fn event(random: &mut Random, at: i64) -> String {
    let second = at / 4 + random.below(4) as i64 - if random.one_in(20) { 20 } else { 0 };
    let second = second.max(0);
    let text = |random: &mut Random, all: &[&str]| match random.one_in(9) {
        true => "null".to_owned(),
        false => format!("\"{}\"", random.of(all)),
    };
    let user = text(random, &["ann", "bob", "cid", "dee", "eve", ""]);
    let kind = text(random, &["view", "cart", "buy"]);
    let amount = if random.one_in(10) { "null".to_owned() } else { (random.below(40) as i64 - 10).to_string() };
    format!(
        r#"{{"id":{at},"user_id":{user},"kind":{kind},"amount":{amount},"price":{}.25,"timestamp":"2026-01-01T00:{:02}:{:02}Z"}}"#,
        random.below(9) as i64 - 4,
        second / 60 % 60,
        second % 60
    )
}

fn sorted(table: &str) -> Vec<String> {
    // Means differ in their last digits with the order of rows.
    let cell = |cell: &str| match cell.trim().parse::<f64>() {
        Ok(number) if cell.trim().len() > 14 => format!("{number:.7}"),
        _ => cell.trim().to_owned(),
    };
    let rows = table.lines().filter(|line| line.starts_with('|')).skip(1);
    let mut rows: Vec<String> = rows.map(|line| line.split('|').map(cell).collect::<Vec<_>>().join("|")).collect();
    rows.sort();
    rows
}

/// What differs in the lot of this seed, as text, and how many answers have rows.
async fn play(seed: u64) -> (String, u64) {
    let mut random = Random(seed.wrapping_mul(0x2545_f491_4f6c_dd1d));
    let mut rig = Rig::new();
    rig.config.checkpoint_interval = std::time::Duration::from_millis(20);
    rig.declare(EVENTS);
    let mut relations = Vec::new();
    for at in 0..LOT {
        let depth = 1 + random.below(3);
        let relation = relation(&mut random, depth);
        // Two columns of one name are refused, as they should be.
        rig.declare(&format!("CREATE MATERIALIZED VIEW v{at} AS {}", relation.live));
        relations.push(relation);
    }
    rig.start().await;
    let mut next = 0;
    while next < ROWS {
        for split in 0..2 {
            let lines: Vec<String> = (next..next + 20).map(|at| event(&mut random, at)).collect();
            rig.outside.produce(&split.to_string(), lines);
            next += 20;
        }
        if random.one_in(3) {
            rig.flush().await;
        }
        if random.one_in(3) {
            rig.kill();
            rig.start().await;
        }
    }
    rig.flush().await;
    let (mut wrong, mut filled) = (String::new(), 0);
    for (at, relation) in relations.iter().enumerate() {
        let live = sorted(&rig.query(&format!("SELECT * FROM v{at}")).await);
        // Some of its rules fail on some of these queries.
        let Ok(batch) = rig.try_query(&relation.batch).await else { continue };
        let batch = sorted(&batch);
        filled += u64::from(!batch.is_empty());
        if live != batch {
            let only = |a: &[String], b: &[String]| {
                a.iter().filter(|row| a.len() < 9 || !b.contains(row)).take(9).cloned().collect::<Vec<_>>().join("\n")
            };
            let (more, less) = (only(&live, &batch), only(&batch, &live));
            let _ = write!(
                wrong,
                "\n\n{}\nonly live ({}):\n{more}\nonly batch ({}):\n{less}",
                relation.live,
                live.len(),
                batch.len()
            );
        }
    }
    (wrong, filled)
}

#[tokio::test]
async fn views_of_random_queries_are_the_batch_answers() {
    let number = |name: &str| env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seeds = match number("EBAP_ORACLE_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("EBAP_ORACLE_QUERIES").unwrap_or(500).div_ceil(LOT),
    };
    for seed in seeds {
        let (wrong, filled) = play(seed).await;
        assert!(filled > LOT / 2, "seed {seed}: most answers are empty");
        assert!(
            wrong.is_empty(),
            "play it again with: EBAP_ORACLE_SEED={seed} cargo test -p ebap-stream --lib views_of_random_queries{wrong}"
        );
    }
}
