//! Runs whole queries and materialized views on both servers.

use ebap_tests::wire::Answer;

use super::{
    Run,
    compare::{Kind, Strictness, difference, on_purpose, sorted},
    differ, expressions,
    findings::{Finding, Findings, shape_with_codes},
    generate::Operations,
    operations,
    pool::Pool,
    queries::Queries,
    servers::{Pair, Servers},
};

/// Views that are made before their stream is waited for.
const LOT: usize = 12;

/// Queries in batch, over a table and over a stream.
pub(crate) fn queries(servers: &Servers, run: Run) -> anyhow::Result<()> {
    let operations = Operations::new(operations::all());
    expressions::in_each_zone("queries", |zone, at| {
        let mut pair = servers.pair(zone)?;
        let mut findings = Findings::default();
        let pool = Pool::new(&mut pair, run.seed.wrapping_mul(31).wrapping_add(at as u64), &operations);
        let from = if at == 0 { "d" } else { "e" };
        for number in (at..run.statements).step_by(expressions::ZONES.len()) {
            let mut queries = Queries { random: seeded(run.seed, number), pool: &pool, from };
            let query = queries.query(false);
            let seed = format!("{} of {zone}", run.seed);
            differ::statement(&mut pair, &query.sql, &query.shape, &seed, Strictness::Numbers, &mut findings);
        }
        Ok(findings)
    })
}

/// The same queries kept up to date: what the view says is what the query says over all rows.
pub(crate) fn views(servers: &Servers, run: Run) -> anyhow::Result<()> {
    let operations = Operations::new(operations::all());
    expressions::in_utc("views", |zone, at| {
        let mut pair = servers.pair(zone)?;
        let mut findings = Findings::default();
        let pool = Pool::new(&mut pair, run.seed.wrapping_mul(37).wrapping_add(at as u64), &operations);
        let from = if at == 0 { "d" } else { "e" };
        let numbers: Vec<usize> = (at..run.statements).step_by(expressions::ZONES.len()).collect();
        for lot in numbers.chunks(LOT) {
            let made: Vec<View> = lot
                .iter()
                .map(|number| {
                    let mut queries = Queries { random: seeded(run.seed, *number), pool: &pool, from };
                    let query = queries.query(true);
                    View {
                        name: format!("v{at}_{number}"),
                        right: query.sql.clone(),
                        read: "SELECT * FROM {}".to_owned(),
                        live: query.sql,
                        shape: format!("view: {}", query.shape),
                    }
                })
                .collect();
            compare_views(&mut pair, &made, &format!("{} of {zone}", run.seed), &mut findings);
        }
        Ok(findings)
    })
}

/// A view, the query that PostgreSQL answers in its place, and how it is read.
pub(crate) struct View {
    pub(crate) name: String,
    pub(crate) live: String,
    pub(crate) right: String,
    pub(crate) read: String,
    pub(crate) shape: String,
}

/// Makes all, waits once, and compares each.
pub(crate) fn compare_views(pair: &mut Pair<'_>, views: &[View], seed: &str, findings: &mut Findings) {
    let created: Vec<Answer> = views
        .iter()
        .map(|view| {
            pair.ebap(&format!("CREATE MATERIALIZED VIEW {} WITH (on_error = 'stop') AS {}", view.name, view.live))
        })
        .collect();
    let flushed = pair.ebap("FLUSH");
    for (view, created) in views.iter().zip(created) {
        findings.compared += 1;
        let right = sorted(pair.postgres(&view.right));
        let ours = match created {
            Answer::Rows(_) => sorted(pair.ebap(&view.read.replace("{}", &view.name))),
            refused => refused,
        };
        if !matches!(ours, Answer::Lost(_)) {
            let _ = pair.ebap(&format!("DROP MATERIALIZED VIEW IF EXISTS {}", view.name));
        }
        // Not every query streams; `docs/sql/unsupported.md` says which do not.
        let kind = match difference(&right, &ours, Strictness::Numbers) {
            Some(Kind::Unsupported) => {
                findings.on_purpose("not streamed", &view.live);
                continue;
            }
            None => {
                *(if matches!(right, Answer::Error(..)) { &mut findings.both_refuse } else { &mut findings.equal }) +=
                    1;
                continue;
            }
            Some(kind) => kind,
        };
        if let Some(reason) = on_purpose(kind, &view.shape, &right, &ours) {
            findings.on_purpose(reason, &view.live);
            continue;
        }
        let flushed = if matches!(flushed, Answer::Rows(_)) { String::new() } else { format!("; FLUSH: {flushed}") };
        findings.add(Finding {
            kind,
            shape: shape_with_codes(kind, &view.shape, &right, &ours),
            statement: format!("CREATE MATERIALIZED VIEW {} WITH (on_error = 'stop') AS {}", view.name, view.live),
            whole: view.right.clone(),
            seed: seed.to_owned(),
            right: right.to_string(),
            ours: format!("{ours}{flushed}"),
        });
    }
}

fn seeded(seed: u64, number: usize) -> ebap_tests::random::Random {
    ebap_tests::random::Random::new(seed.wrapping_mul(15_485_863).wrapping_add(number as u64))
}
