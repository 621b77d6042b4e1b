//! Statements: those of the documentation with words changed, and some that are nested without measure.

use std::time::Duration;

use ebap_connector::time;
use ebap_tests::{
    hostile_records::mutated,
    random::Random,
    wire::{Answer, Session},
};

use anyhow::{Context, bail};

use crate::{Target, corpus, print, seeds};

/// Statements that take longer are shown.
const SLOW: Duration = Duration::from_secs(5);
/// Inputs of `make test`, at the most.
const USUAL: u64 = 25_000;
const LOOK_EVERY: u64 = 100;

/// Parts of messages of faults that are known and wait to be mended.
const KNOWN: [&str; 2] = ["args should not be empty", "is no array"];

const WORDS: [&str; 60] = [
    "(",
    ")",
    ",",
    "SELECT",
    "FROM",
    "WHERE",
    "GROUP BY",
    "CASE",
    "WHEN",
    "END",
    "AND",
    "OR",
    "NOT",
    "NULL",
    "IN",
    "BETWEEN",
    "LIKE",
    "UNION ALL",
    "JOIN",
    "ON",
    "OVER (",
    "PARTITION BY",
    "ORDER BY",
    "LIMIT",
    "EXISTS (",
    "WITH x AS (",
    "WINDOW",
    "TUMBLE (",
    "HOP (",
    "INTERVAL '1 minute'",
    "INTERVAL '-178956970 years'",
    "::",
    "::numeric",
    "'",
    "\"",
    "$1",
    "$99999",
    "--",
    "/*",
    "*",
    "+",
    "-",
    "/ 0",
    "%",
    "||",
    "=",
    "<",
    "[",
    "]",
    "ARRAY[",
    "9223372036854775808",
    "1e1000000",
    "'\u{0}'",
    "E'\\u0000'",
    "$$",
    ";",
    "CAST(",
    "AS",
    "FILTER (WHERE",
    "\u{202e}ä",
];

/// Something that is put around, so many times.
const NESTS: [(&str, &str, &str); 18] = [
    ("(", "1", ")"),
    ("(SELECT ", "1", ")"),
    ("CASE WHEN true THEN ", "1", " END"),
    ("CASE WHEN true THEN ", "1", ""),
    ("NOT ", "true", ""),
    ("- ", "1", ""),
    ("abs(", "1", ")"),
    ("CAST(", "1", " AS INT)"),
    ("ARRAY[", "1", "]"),
    ("1 + ", "1", ""),
    ("true AND ", "true", ""),
    ("", "1", "::int"),
    ("", "1", " IN (1)"),
    ("(1, ", "2", ")"),
    ("'a' || ", "'b'", ""),
    ("", "(ARRAY[1])", "[1]"),
    ("coalesce(NULL, ", "1", ")"),
    ("EXISTS (SELECT ", "1", ")"),
];

pub(crate) async fn run() -> anyhow::Result<()> {
    let target = Target::start().await?;
    let mut session = opened(&target)?;
    for (name, input) in corpus::kept("statements")? {
        let outcome = send(&mut session, &input).and_then(|()| target.stands());
        outcome.with_context(|| format!("corpus/statements/{name}"))?;
    }
    let seeds = seeds::statements()?;
    let mut count = 0;
    while target.goes_on(count, USUAL) {
        let mut random = Random::new(target.seed.wrapping_mul(122_949_829).wrapping_add(count));
        let input = input(&mut random, &seeds);
        let began = time::instant();
        let sent = send(&mut session, &input);
        if began.elapsed() > SLOW {
            let text: String = String::from_utf8_lossy(&input).chars().take(200).collect();
            print(&format!("{} ms for {} bytes: {text}", began.elapsed().as_millis(), input.len()));
        }
        count += 1;
        let outcome = if count % LOOK_EVERY == 0 { sent.and_then(|()| target.stands()) } else { sent };
        if let Err(why) = outcome {
            return corpus::find("statements", &format!("seed-{}-{count}", target.seed), &input, &why);
        }
    }
    target.stands()?;
    print(&format!("statements: {count} of {} seeds", seeds.len()));
    Ok(())
}

fn opened(target: &Target) -> anyhow::Result<Session> {
    let mut session = target.session()?;
    let made = "CREATE STREAM orders (id BIGINT NOT NULL, region TEXT, \"user\" TEXT, amount DOUBLE, at TIMESTAMPTZ NOT NULL,
        WATERMARK FOR at AS at - INTERVAL '10 seconds') WITH (connector = 'file', path = 'fixtures/orders.jsonl', format = 'json')";
    for sql in [made, "SET statement_timeout = '20s'"] {
        if let answer @ (Answer::Lost(_) | Answer::Error(..)) = session.query(sql) {
            bail!("{sql}: {answer}");
        }
    }
    Ok(session)
}

/// In a transaction that is taken back, so that nothing of one is there for the next.
fn send(session: &mut Session, input: &[u8]) -> anyhow::Result<()> {
    for sql in [&b"BEGIN"[..], input, &b"ROLLBACK"[..]] {
        match session.exchange(&simple(sql)) {
            Answer::Lost(why) => bail!("no answer: {why}"),
            // A bug of ours, by its own words.
            Answer::Error(code, message) if code == "XX000" && !KNOWN.iter().any(|known| message.contains(known)) => {
                bail!("{code} {message}")
            }
            _ => {}
        }
    }
    Ok(())
}

/// The message of a statement, which need not be UTF-8; what stands behind a zero would be another message.
fn simple(sql: &[u8]) -> Vec<u8> {
    let sql: Vec<u8> = sql.iter().copied().filter(|byte| *byte != 0).collect();
    let length = u32::try_from(sql.len() + 5).unwrap_or(u32::MAX);
    [&b"Q"[..], &length.to_be_bytes(), &sql, &[0]].concat()
}

fn input(random: &mut Random, seeds: &[String]) -> Vec<u8> {
    match random.below(10) {
        0 => nested(random).into_bytes(),
        1 => {
            let seed = random_seed(random, seeds);
            mutated(random, seed.into_bytes())
        }
        _ => reworded(random, seeds).into_bytes(),
    }
}

fn random_seed(random: &mut Random, seeds: &[String]) -> String {
    match seeds.is_empty() {
        true => "SELECT 1".to_owned(),
        false => random.of(seeds).clone(),
    }
}

fn nested(random: &mut Random) -> String {
    let depth = *random.of(&[5, 10, 20, 30, 40, 60, 100, 300, 1_000, 10_000, 50_000]);
    let (mut before, mut after) = (String::new(), String::new());
    let (open, inner, close) = *random.of(&NESTS);
    let (other, _, other_close) = *random.of(&NESTS);
    let mixed = random.one_in(3);
    for at in 0..depth {
        let (open, close) = if mixed && at % 2 == 1 { (other, other_close) } else { (open, close) };
        before.push_str(open);
        after.insert_str(0, close);
        // Quadratic otherwise.
        if after.len() > 200_000 {
            break;
        }
    }
    if random.one_in(5) {
        after.clear();
    }
    let value = format!("{before}{inner}{after}");
    match random.below(4) {
        0 => format!("CREATE MATERIALIZED VIEW deep AS SELECT id FROM orders WHERE {value} IS NULL"),
        1 => format!("SELECT count(*) FROM orders WHERE id = {value}"),
        2 => before,
        _ => format!("SELECT {value}"),
    }
}

fn reworded(random: &mut Random, seeds: &[String]) -> String {
    let seed = random_seed(random, seeds);
    let mut words: Vec<String> = seed.split_inclusive(&[' ', '(', ')', ',', '\n'][..]).map(str::to_owned).collect();
    for _ in 0..1 + random.below(5) {
        let (at, other) = (random.below(words.len()), random.below(words.len()));
        match random.below(6) {
            0 if words.len() > 1 => drop(words.remove(at)),
            1 => words.swap(at, other),
            2 => words.insert(at, format!("{} ", random.of(&WORDS))),
            3 => words[at] = format!("{} ", random.of(&WORDS)),
            4 => {
                let copy = words[at.min(other)..at.max(other)].to_vec();
                words.splice(at..at, copy);
            }
            _ => {
                let seed = random_seed(random, seeds);
                let more: Vec<&str> = seed.split_inclusive(' ').collect();
                let from = random.below(more.len());
                words.insert(at, more[from..(from + 5).min(more.len())].concat());
            }
        }
    }
    words.concat()
}
