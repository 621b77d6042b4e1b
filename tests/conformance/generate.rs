//! Random expressions of a wanted type, over the columns of `d` and over literals.

use std::{collections::HashMap, sync::Arc};

use ebap_tests::random::Random;
use ebap_values::PgType;

use super::{
    data,
    expression::{Expression, Operation},
    forms::meaningful,
    values::{literal, null, quoted, sql_name, values},
};

/// All operations, and where those of a type are.
pub(crate) struct Operations {
    pub(crate) all: Vec<Arc<Operation>>,
    by_type: HashMap<PgType, Vec<Arc<Operation>>>,
}

impl Operations {
    pub(crate) fn new(all: Vec<Arc<Operation>>) -> Self {
        let mut by_type: HashMap<PgType, Vec<Arc<Operation>>> = HashMap::new();
        for operation in &all {
            by_type.entry(operation.returns.clone()).or_default().push(Arc::clone(operation));
        }
        Self { all, by_type }
    }
}

pub(crate) struct Generator<'a> {
    pub(crate) random: Random,
    operations: &'a Operations,
    /// Whether columns of `d` may be named.
    pub(crate) columns: bool,
    /// Whether values at the limits of their types are drawn.
    pub(crate) hostile: bool,
}

impl<'a> Generator<'a> {
    pub(crate) fn new(seed: u64, operations: &'a Operations) -> Self {
        Self { random: Random::new(seed), operations, columns: true, hostile: true }
    }

    /// An expression of this type, of at most so many operations above each other.
    pub(crate) fn expression(&mut self, of: &PgType, depth: usize) -> Expression {
        let found = self.operations.by_type.get(of).filter(|_| depth > 0 && !self.random.one_in(7));
        match found {
            Some(operations) => {
                let operation = Arc::clone(self.random.of(operations));
                self.call(&operation, depth)
            }
            None => self.leaf(of),
        }
    }

    pub(crate) fn call(&mut self, operation: &Arc<Operation>, depth: usize) -> Expression {
        let args = operation.args.iter().enumerate();
        let args = args.map(|(at, of)| match meaningful(&operation.template, at) {
            // What makes texts of a given length is not nested, as lengths would multiply.
            known if !known.is_empty() && (is_length(&operation.template) || !self.random.one_in(6)) => {
                Expression::leaf(*self.random.of(known), of)
            }
            _ if is_length(&operation.template) => self.leaf(of),
            _ => self.expression(of, depth.saturating_sub(1)),
        });
        Expression::Call { operation: Arc::clone(operation), args: args.collect() }
    }

    pub(crate) fn leaf(&mut self, of: &PgType) -> Expression {
        if self.columns && !self.random.one_in(3) {
            let plain: Vec<String> = data::columns()
                .into_iter()
                .filter(|(_, _, kind)| kind == of)
                .map(|(name, ..)| name.to_owned())
                .collect();
            let far = self.hostile && self.random.one_in(3);
            if !plain.is_empty() && !far {
                return Expression::leaf(self.random.of(&plain).clone(), of);
            }
            let hostile = data::hostile_columns().into_iter().find(|(_, kind)| kind == of).filter(|_| self.hostile);
            if let Some((name, of)) = hostile {
                return Expression::leaf(format!("{name}::{}", sql_name(&of)), &of);
            }
        }
        Expression::leaf(self.constant(of), of)
    }

    fn constant(&mut self, of: &PgType) -> String {
        let all = values(of);
        let usual = if self.hostile { all.len() } else { all.len().min(4) };
        let text = all[self.random.below(usual)];
        match self.random.below(12) {
            0 => return null(of),
            // A literal whose type is what it stands beside.
            1 => return quoted(text),
            _ => {}
        }
        let bare = self.random.one_in(2);
        match of {
            PgType::Bool => if text == "t" { "true" } else { "false" }.to_owned(),
            PgType::Text => quoted(text),
            PgType::Int4 if bare => bracketed(text),
            PgType::Int8 if bare && text.len() > 11 => bracketed(text),
            PgType::Numeric if bare && text.contains('.') => bracketed(text),
            _ => literal(of, text),
        }
    }
}

/// A negative number in brackets, as `- 1 ^ 2` is another thing than `(-1) ^ 2`.
fn bracketed(text: &str) -> String {
    if text.starts_with('-') { format!("({text})") } else { text.to_owned() }
}

fn is_length(template: &str) -> bool {
    ["repeat(", "lpad(", "rpad(", "factorial("].iter().any(|name| template.starts_with(name))
}
