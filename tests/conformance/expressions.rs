//! Expressions: each operation by itself, operators between all types, and random trees of them.

use ebap_values::PgType;

use super::{
    Run,
    compare::Strictness,
    differ,
    findings::Findings,
    generate::{Generator, Operations},
    operations::{BINARY, UNARY, all},
    servers::Servers,
    values::{ELEMENTS, TYPES, literal, sql_name, values},
};

/// The zone of each session; half of the statements run in one, half in the other.
pub(crate) const ZONES: [&str; 2] = ["UTC", "Europe/Berlin"];
const DEPTH: usize = 3;

/// Does the same in a session of each zone at once, and judges what both have found.
pub(crate) fn in_each_zone(
    what: &str,
    compared: impl Fn(&str, usize) -> anyhow::Result<Findings> + Sync,
) -> anyhow::Result<()> {
    in_zones(ZONES, what, compared)
}

/// For views, which have no session and compute in UTC.
pub(crate) fn in_utc(
    what: &str,
    compared: impl Fn(&str, usize) -> anyhow::Result<Findings> + Sync,
) -> anyhow::Result<()> {
    in_zones(["UTC"; 2], what, compared)
}

fn in_zones(
    zones: [&str; 2],
    what: &str,
    compared: impl Fn(&str, usize) -> anyhow::Result<Findings> + Sync,
) -> anyhow::Result<()> {
    let mut all = Findings::default();
    let found = std::thread::scope(|scope| {
        let threads = zones.iter().enumerate().map(|(at, zone)| {
            let compared = &compared;
            scope.spawn(move || compared(zone, at))
        });
        let threads: Vec<_> = threads.collect();
        threads.into_iter().map(std::thread::ScopedJoinHandle::join).collect::<Vec<_>>()
    });
    for one in found {
        all.merge(one.map_err(|_| anyhow::anyhow!("{what}: a thread has panicked"))??);
    }
    all.judge(what)
}

/// Every operation over columns and literals of its types, so that none is forgotten by chance.
pub(crate) fn every_operation(servers: &Servers, run: Run) -> anyhow::Result<()> {
    let operations = Operations::new(all());
    in_each_zone("every operation", |zone, at| {
        let mut pair = servers.pair(zone)?;
        let mut findings = Findings::default();
        for (number, operation) in operations.all.iter().enumerate().skip(at).step_by(ZONES.len()) {
            for round in 0..run.statements {
                let seed = run.seed.wrapping_mul(1_000_003).wrapping_add((number * 1000 + round) as u64);
                let mut generator = Generator::new(seed, &operations);
                let call = generator.call(operation, 1);
                differ::expression(&mut pair, &call, &format!("{} of {zone}", run.seed), &mut findings);
            }
        }
        Ok(findings)
    })
}

/// Operators between values of any two types: the same operator is chosen, or none, as in PostgreSQL.
pub(crate) fn every_pair_of_types(servers: &Servers, run: Run) -> anyhow::Result<()> {
    let arrays = ELEMENTS.iter().map(|of| PgType::Array(Box::new(of.clone())));
    let mut types: Vec<Option<PgType>> = TYPES.iter().cloned().chain(arrays).map(Some).collect();
    // A literal without a type.
    types.push(None);
    let (operations, unary) = (Operations::new(Vec::new()), UNARY.len() * types.len());
    let most = BINARY.len() * types.len() * types.len() + unary;
    in_each_zone("operators between all types", |zone, at| {
        let mut pair = servers.pair(zone)?;
        let mut findings = Findings::default();
        for number in (at..run.statements).step_by(ZONES.len()) {
            let mut generator = Generator::new(run.seed.wrapping_mul(7_919).wrapping_add(number as u64), &operations);
            // More statements than there are pairs go through all of them, with other values each time.
            let chosen = if run.statements >= most { number % most } else { generator.random.below(most) };
            let mut value = |of: &Option<PgType>| {
                let text = *generator.random.of(values(of.as_ref().unwrap_or(&PgType::Int4)));
                match of {
                    Some(of) => (literal(of, text), sql_name(of)),
                    None => (format!("'{text}'"), "unknown".to_owned()),
                }
            };
            let (sql, shape) = match chosen.checked_sub(unary) {
                None => {
                    let op = UNARY[chosen % UNARY.len()];
                    let (of, name) = value(&types[chosen / UNARY.len()]);
                    (format!("SELECT {op} ({of})"), format!("({op} <{name}>)"))
                }
                Some(chosen) => {
                    let (op, rest) = (BINARY[chosen % BINARY.len()], chosen / BINARY.len());
                    let (left, left_of) = value(&types[rest % types.len()]);
                    let (right, right_of) = value(&types[rest / types.len()]);
                    (format!("SELECT ({left}) {op} ({right})"), format!("(<{left_of}> {op} <{right_of}>)"))
                }
            };
            let seed = format!("{} of {zone}", run.seed);
            differ::statement(&mut pair, &sql, &shape, &seed, Strictness::Exact, &mut findings);
        }
        Ok(findings)
    })
}

/// Random trees.
pub(crate) fn random(servers: &Servers, run: Run) -> anyhow::Result<()> {
    let operations = Operations::new(all());
    in_each_zone("expressions", |zone, at| {
        let mut pair = servers.pair(zone)?;
        let mut findings = Findings::default();
        for number in (at..run.statements).step_by(ZONES.len()) {
            let seed = run.seed.wrapping_mul(104_729).wrapping_add(number as u64);
            let mut generator = Generator::new(seed, &operations);
            generator.hostile = generator.random.one_in(3);
            let of = generator.random.of(&TYPES).clone();
            let depth = 1 + generator.random.below(DEPTH);
            let tree = generator.expression(&of, depth);
            differ::expression(&mut pair, &tree, &format!("{} of {zone}", run.seed), &mut findings);
        }
        Ok(findings)
    })
}
