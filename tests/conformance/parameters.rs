//! Parameters of the extended protocol: as text and in binary, with a declared type and without, and broken ones.

use std::sync::Arc;

use ebap_tests::{
    random::Random,
    wire::{Answer, Parameter, hex},
};
use ebap_values::PgType;

use super::{
    Run,
    compare::{Strictness, difference, on_purpose, sorted},
    expression::Operation,
    expressions,
    findings::{Finding, Findings, shape_with_codes},
    forms::meaningful,
    operations,
    servers::{Pair, Servers},
    values::{TYPES, literal, oid_of, sql_name, values},
};

/// Values whose binary form is asked for so often that they are kept.
#[derive(Default)]
pub(crate) struct Binary(std::collections::HashMap<(PgType, String), Option<Vec<u8>>>);

impl Binary {
    /// The value as PostgreSQL sends it.
    fn of(&mut self, pair: &mut Pair<'_>, of: &PgType, text: &str) -> Option<Vec<u8>> {
        let key = (of.clone(), text.to_owned());
        if let Some(kept) = self.0.get(&key) {
            return kept.clone();
        }
        let sql = format!("SELECT {}", literal(of, text));
        let answer = pair.on_postgres(&|session| session.execute(&sql, &[], true));
        let found = match answer {
            Answer::Rows(rows) => rows.rows.into_iter().next().and_then(|row| row.into_iter().next()).flatten(),
            _ => None,
        };
        self.0.insert(key, found.clone());
        found
    }
}

/// A call whose arguments are parameters.
pub(crate) fn random(servers: &Servers, run: Run) -> anyhow::Result<()> {
    let operations: Vec<Arc<Operation>> = operations::all();
    let operations: Vec<Arc<Operation>> = operations.into_iter().filter(|op| !op.args.is_empty()).collect();
    expressions::in_each_zone("parameters", |zone, at| {
        let mut pair = servers.pair(zone)?;
        let mut findings = Findings::default();
        let mut binary = Binary::default();
        for number in (at..run.statements).step_by(expressions::ZONES.len()) {
            let mut random = Random::new(run.seed.wrapping_mul(32_452_843).wrapping_add(number as u64));
            let ask = match random.one_in(3) {
                true => value(&mut random, &mut pair, &mut binary),
                false => {
                    let operation = Arc::clone(random.of(&operations));
                    call(&mut random, &operation, &mut pair, &mut binary)
                }
            };
            compare(&mut pair, &ask, &format!("{} of {zone}", run.seed), &mut findings);
        }
        Ok(findings)
    })
}

/// One statement with its parameters.
pub(crate) struct Ask {
    pub(crate) sql: String,
    pub(crate) shape: String,
    pub(crate) parameters: Vec<Parameter>,
    pub(crate) as_binary: bool,
}

/// A parameter by itself, or beside a column.
fn value(random: &mut Random, pair: &mut Pair<'_>, binary: &mut Binary) -> Ask {
    let of = random.of(&TYPES).clone();
    let parameter = parameter(random, &of, None, pair, binary);
    let name = sql_name(&of);
    let column = super::data::columns().into_iter().find(|(_, _, kind)| *kind == of).map(|(name, ..)| name);
    let sql = match (random.below(4), column) {
        (0, _) => "SELECT $1".to_owned(),
        (1, Some(column)) => format!("SELECT id FROM d WHERE {column} = $1"),
        (2, Some(column)) => format!("SELECT id, {column} < $1 FROM d"),
        _ => format!("SELECT $1::{name}"),
    };
    let shape = format!("parameter <{name}> {}: {sql}", how(&parameter));
    Ask { sql, shape, parameters: vec![parameter], as_binary: random.one_in(2) }
}

/// An operation whose arguments are all parameters.
pub(crate) fn call(random: &mut Random, operation: &Operation, pair: &mut Pair<'_>, binary: &mut Binary) -> Ask {
    let numbers: Vec<String> = (1..=operation.args.len()).map(|at| format!("${at}")).collect();
    let parameters = operation.args.iter().enumerate().map(|(at, of)| {
        let known = meaningful(&operation.template, at);
        let text = if known.is_empty() { None } else { Some(plain(random.of::<&str>(known))) };
        parameter(random, of, text, pair, binary)
    });
    let parameters: Vec<Parameter> = parameters.collect();
    let typed = parameters.iter().map(|parameter| if parameter.of == 0 { "?" } else { "typed" });
    let shape = format!("parameters {}: {}", typed.collect::<Vec<_>>().join(" "), operation.shape());
    let sql = format!("SELECT {}", operation.written(&numbers));
    Ask { sql, shape, parameters, as_binary: random.one_in(2) }
}

/// The text that a literal of `meaningful` stands for.
fn plain(literal: &str) -> String {
    let text = literal.trim_start_matches('(').trim_end_matches(')');
    text.trim_start_matches('\'').trim_end_matches('\'').replace("''", "'")
}

fn how(parameter: &Parameter) -> &'static str {
    match (parameter.of, parameter.binary) {
        (0, false) => "untyped as text",
        (0, true) => "untyped in binary",
        (_, false) => "as text",
        (_, true) => "in binary",
    }
}

fn parameter(
    random: &mut Random,
    of: &PgType,
    text: Option<String>,
    pair: &mut Pair<'_>,
    binary: &mut Binary,
) -> Parameter {
    let declared = if random.one_in(3) { 0 } else { oid_of(of).unwrap_or_default() };
    let as_binary = random.one_in(2);
    let text = text.unwrap_or_else(|| (*random.of(values(of))).to_owned());
    let mut value = match as_binary {
        true => binary.of(pair, of, &text),
        false => Some(text.into_bytes()),
    };
    if random.one_in(12) {
        value = None;
    }
    // What no client sends but a broken one.
    if random.one_in(8)
        && let Some(bytes) = &mut value
    {
        match random.below(4) {
            0 => drop(bytes.pop()),
            1 => bytes.push(0),
            2 if !bytes.is_empty() => {
                let at = random.below(bytes.len());
                bytes[at] ^= 1 << random.below(8);
            }
            _ => *bytes = (0..random.below(20)).map(|_| random.number() as u8).collect(),
        }
    }
    Parameter { of: declared, binary: as_binary, value }
}

pub(crate) fn compare(pair: &mut Pair<'_>, ask: &Ask, seed: &str, findings: &mut Findings) {
    let right = sorted(pair.on_postgres(&|session| session.execute(&ask.sql, &ask.parameters, ask.as_binary)));
    let ours = sorted(pair.on_ebap(&|session| session.execute(&ask.sql, &ask.parameters, ask.as_binary)));
    findings.compared += 1;
    let Some(kind) = difference(&right, &ours, Strictness::Exact) else {
        *(if matches!(right, Answer::Error(..)) { &mut findings.both_refuse } else { &mut findings.equal }) += 1;
        return;
    };
    if let Some(reason) = on_purpose(kind, &ask.shape, &right, &ours) {
        findings.on_purpose(reason, &ask.sql);
        return;
    }
    let given: Vec<String> = ask.parameters.iter().map(shown).collect();
    let results = if ask.as_binary { "binary" } else { "text" };
    findings.add(Finding {
        kind,
        shape: shape_with_codes(kind, &ask.shape, &right, &ours),
        statement: format!("{} with {}, results in {results}", ask.sql, given.join("; ")),
        whole: ask.sql.clone(),
        seed: seed.to_owned(),
        right: right.to_string(),
        ours: ours.to_string(),
    });
}

fn shown(parameter: &Parameter) -> String {
    let value = parameter.value.as_ref().map_or_else(
        || "NULL".to_owned(),
        |value| {
            if parameter.binary { format!("0x{}", hex(value)) } else { format!("{:?}", String::from_utf8_lossy(value)) }
        },
    );
    format!("{value} (type {}, {})", parameter.of, if parameter.binary { "binary" } else { "text" })
}
