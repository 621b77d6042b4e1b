//! Expressions that are the same on both servers in every row: what larger statements are made of, so that a difference
//! of one is a difference of the statement.

use std::collections::HashMap;

use ebap_tests::{random::Random, wire::Answer};
use ebap_values::PgType;

use super::{
    compare::{Strictness, difference, sorted},
    data,
    generate::{Generator, Operations},
    servers::Pair,
};

/// Expressions of each type.
const OF_TYPE: usize = 8;
/// Until there are as many, so often are others tried.
const TRIES: usize = 40;

pub(crate) const POOLED: [PgType; 12] = [
    PgType::Bool,
    PgType::Int4,
    PgType::Int8,
    PgType::Float8,
    PgType::Numeric,
    PgType::Text,
    PgType::Date,
    PgType::Timestamp,
    PgType::Timestamptz,
    PgType::Interval,
    PgType::Uuid,
    PgType::Bytea,
];

pub(crate) struct Pool(HashMap<PgType, Vec<String>>);

impl Pool {
    pub(crate) fn new(pair: &mut Pair<'_>, seed: u64, operations: &Operations) -> Self {
        let mut generator = Generator::new(seed, operations);
        let mut pool = HashMap::new();
        for of in POOLED {
            let mut found = Vec::new();
            for round in 0..TRIES {
                if found.len() == OF_TYPE {
                    break;
                }
                // Sums of floats at their limits depend on the order of the rows.
                generator.hostile = of != PgType::Float8 && generator.random.one_in(3);
                let sql = generator.expression(&of, if round < 2 { 0 } else { 2 }).sql();
                // Queries of constants are other queries: the optimizer answers them.
                if has_column(&sql) && same(pair, &sql) {
                    found.push(sql);
                }
            }
            pool.insert(of, found);
        }
        Self(pool)
    }

    pub(crate) fn of(&self, random: &mut Random, of: &PgType) -> String {
        let found = self.0.get(of).filter(|found| !found.is_empty());
        found.map_or_else(|| super::values::null(of), |found| random.of(found).clone())
    }
}

fn has_column(sql: &str) -> bool {
    let names: Vec<&str> = data::columns().into_iter().map(|(name, ..)| name).collect();
    let words = sql.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
    words.into_iter().any(|word| names.contains(&word) || word.starts_with("h_"))
}

fn same(pair: &mut Pair<'_>, sql: &str) -> bool {
    let (right, ours) = pair.both(&format!("SELECT id, {sql} FROM d"));
    let (right, ours) = (sorted(right), sorted(ours));
    matches!(right, Answer::Rows(_)) && difference(&right, &ours, Strictness::Exact).is_none()
}
