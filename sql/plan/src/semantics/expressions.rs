//! Expressions whose parts have their types: the operator, function and conversions that PostgreSQL would choose.

use datafusion::{
    common::{
        ScalarValue,
        tree_node::{Transformed, TreeNode},
    },
    error::DataFusionError,
    logical_expr::{Between, BinaryExpr, Case, Expr, Like, Operator, expr::InList},
};
use ebap_functions::{CastContext, Target, between_udf};
use ebap_values::PgType;

use super::{
    aggregates, calls,
    deferred::waiting,
    guards, operators,
    overload::common_type,
    scope::{Scope, called, is_unknown},
};
use crate::{Error, Result, parser::BETWEEN_SYMMETRIC};

impl Scope<'_> {
    /// The expression with every choice made.
    pub(super) fn resolved(&self, expr: Expr) -> Result<Expr> {
        let changed = expr.transform_up(|expr| {
            self.node(expr).map(Transformed::yes).map_err(|error| DataFusionError::External(Box::new(error)))
        });
        changed.map(|changed| changed.data).map_err(|error| crate::error::from_datafusion(error, ""))
    }

    /// One node, whose children are resolved.
    fn node(&self, expr: Expr) -> Result<Expr> {
        match expr {
            Expr::Literal(value, None) => Ok(Expr::Literal(integer(value), None)),
            Expr::ScalarFunction(call) => match waiting(&call) {
                Some(name) => {
                    let name = name.to_owned();
                    self.call(&name, call.args)
                }
                None => self.foreign(call),
            },
            Expr::BinaryExpr(binary) => self.native_binary(binary),
            Expr::Not(inner) => Ok(Expr::Not(Box::new(self.boolean(*inner, "NOT")?))),
            Expr::IsTrue(inner) => Ok(is_same_as(self.boolean(*inner, "IS TRUE")?, true)),
            Expr::IsFalse(inner) => Ok(is_same_as(self.boolean(*inner, "IS FALSE")?, false)),
            Expr::IsUnknown(inner) => Ok(self.boolean(*inner, "IS UNKNOWN")?.is_null()),
            Expr::IsNotTrue(inner) => Ok(is_other_than(self.boolean(*inner, "IS NOT TRUE")?, true)),
            Expr::IsNotFalse(inner) => Ok(is_other_than(self.boolean(*inner, "IS NOT FALSE")?, false)),
            Expr::IsNotUnknown(inner) => Ok(self.boolean(*inner, "IS NOT UNKNOWN")?.is_not_null()),
            Expr::Between(between) => self.between(between),
            Expr::InList(list) => self.in_list(list),
            Expr::Like(like) => {
                let Like { negated, expr, pattern, escape_char, case_insensitive } = self.like(like)?;
                if escape_char.is_none() && calls::like_needs_own(&pattern, case_insensitive) {
                    let op = if case_insensitive { "~~*" } else { "~~" };
                    let found = calls::binary(self, op, *expr, *pattern)?;
                    return Ok(if negated { Expr::Not(Box::new(found)) } else { found });
                }
                Ok(Expr::Like(Like { negated, expr, pattern, escape_char, case_insensitive }))
            }
            Expr::SimilarTo(like) => Ok(Expr::SimilarTo(self.like(like)?)),
            Expr::Case(case) => self.case(case),
            Expr::AggregateFunction(call) => aggregates::resolved(self, call),
            Expr::WindowFunction(call) => aggregates::resolved_window(self, *call),
            other => Ok(other),
        }
    }

    /// As a condition.
    pub(super) fn boolean(&self, expr: Expr, of: &str) -> Result<Expr> {
        // A chain of thousands of conditions must not be walked again for each of them.
        if is_condition(&expr) {
            return Ok(expr);
        }
        match self.of(&expr)? {
            PgType::Bool => Ok(expr),
            PgType::Unknown => self.to(expr, &PgType::Bool),
            other => Err(Error::new("42804", format!("argument of {of} must be type boolean, not type {other}"))),
        }
    }

    pub(super) fn call(&self, name: &str, mut args: Vec<Expr>) -> Result<Expr> {
        if name == BETWEEN_SYMMETRIC
            && let (Some(high), Some(low), Some(expr)) = (args.pop(), args.pop(), args.pop())
        {
            let [expr, low, high] = self.sides(expr, low, high, false)?;
            let forth = self.range(copied(&expr)?, copied(&low)?, copied(&high)?)?;
            return Ok(or(forth, self.range(expr, high, low)?));
        }
        calls::resolved(self, name, args)
    }

    /// `AND`, `OR` and `IS DISTINCT FROM`, which DataFusion has as PostgreSQL does, once the sides fit.
    fn native_binary(&self, binary: BinaryExpr) -> Result<Expr> {
        let BinaryExpr { left, op, right } = binary;
        match op {
            Operator::And | Operator::Or => {
                let of = if op == Operator::And { "AND" } else { "OR" };
                Ok(pair(self.boolean(*left, of)?, op, self.boolean(*right, of)?))
            }
            Operator::IsDistinctFrom | Operator::IsNotDistinctFrom => {
                let operation = operators::binary("=", &self.of(&left)?, &self.of(&right)?)?;
                self.compared(*left, op, *right, &operators::compared_as(&operation))
            }
            _ => Ok(pair(*left, op, *right)),
        }
    }

    /// Both sides in one form, in which equal values are equal bits.
    pub(super) fn compared(&self, left: Expr, op: Operator, right: Expr, of: &PgType) -> Result<Expr> {
        let mut sides = self.comparable(vec![left, right], of)?;
        match (sides.pop(), sides.pop()) {
            (Some(right), Some(left)) => Ok(pair(left, op, right)),
            _ => Err(Error::new("XX000", "a comparison has two sides")),
        }
    }

    fn between(&self, between: Between) -> Result<Expr> {
        let Between { expr, negated, low, high } = between;
        let [expr, low, high] = self.sides(*expr, *low, *high, negated)?;
        let found = self.range(expr, low, high)?;
        Ok(if negated { Expr::Not(Box::new(found)) } else { found })
    }

    /// Gives the parameters among the sides of `BETWEEN` the types that their first uses give them.
    ///
    /// # Errors
    /// 42883 where there is no such comparison; PostgreSQL reads what is negated as `expr < low OR expr > high`.
    fn sides(&self, mut expr: Expr, mut low: Expr, mut high: Expr, negated: bool) -> Result<[Expr; 3]> {
        let (least, most) = if negated { ("<", ">") } else { (">=", "<=") };
        for (op, bound) in [(least, &mut low), (most, &mut high)] {
            let operation = operators::binary(op, &self.of(&expr)?, &self.of(bound)?)?;
            for (side, of) in [(&mut expr, &operation.left), (bound, &operation.right)] {
                if matches!(side, Expr::Placeholder(_)) && is_unknown(side) {
                    *side = self.to(side.clone(), of)?;
                }
            }
        }
        Ok([expr, low, high])
    }

    /// `low <= expr AND expr <= high`
    fn range(&self, expr: Expr, low: Expr, high: Expr) -> Result<Expr> {
        let types = self.types(&[expr.clone(), low.clone(), high.clone()])?;
        let [of, low_of, high_of] = &types[..] else { return Err(Error::new("XX000", "BETWEEN has three sides")) };
        let above = operators::binary(">=", of, low_of)?;
        let below = operators::binary("<=", of, high_of)?;
        let key = operators::compared_as(&above);
        if !is_simple(&expr) && key == operators::compared_as(&below) {
            return Ok(called(&between_udf(), self.comparable(vec![expr, low, high], &key)?));
        }
        let above = calls::binary(self, ">=", copied(&expr)?, low)?;
        let below = calls::binary(self, "<=", expr, high)?;
        Ok(pair(above, Operator::And, below))
    }

    fn in_list(&self, list: InList) -> Result<Expr> {
        let InList { expr, list, negated } = list;
        let mut all = vec![*expr];
        all.extend(list);
        let types = self.types(&all)?;
        let Some(of) = common_type(&types) else {
            let other = types.iter().find(|of| **of != types[0] && **of != PgType::Unknown).unwrap_or(&types[0]);
            return Err(Error::new("42883", format!("operator does not exist: {} = {other}", types[0])).hint(
                "No operator matches the given name and argument types. You might need to add explicit type casts.",
            ));
        };
        let mut all = self.comparable(all, &of)?.into_iter();
        let Some(expr) = all.next() else { return Err(Error::new("XX000", "IN has a left side")) };
        // DataFusion takes a value for a constant that it can compute of no rows, as it can a CASE.
        let (plain, computed): (Vec<Expr>, Vec<Expr>) = all.partition(is_plain);
        if computed.is_empty() || expr.is_volatile() {
            let list = plain.into_iter().chain(computed).collect();
            return Ok(Expr::InList(InList { expr: Box::new(expr), list, negated }));
        }
        let mut found = match plain.is_empty() {
            true => None,
            false => Some(Expr::InList(InList { expr: Box::new(copied(&expr)?), list: plain, negated: false })),
        };
        for item in computed {
            let equal = pair(copied(&expr)?, Operator::Eq, item);
            found = Some(match found {
                Some(before) => or(before, equal),
                None => equal,
            });
        }
        let found = found.ok_or_else(|| Error::new("XX000", "IN has a right side"))?;
        Ok(if negated { Expr::Not(Box::new(found)) } else { found })
    }

    fn like(&self, like: Like) -> Result<Like> {
        let Like { negated, expr, pattern, escape_char, case_insensitive } = like;
        for side in [&expr, &pattern] {
            let of = self.of(side)?;
            if !matches!(of, PgType::Text | PgType::Bpchar | PgType::Unknown) {
                let op = if case_insensitive { "~~*" } else { "~~" };
                let (left, right) = (self.of(&expr)?, self.of(&pattern)?);
                return Err(Error::new("42883", format!("operator does not exist: {left} {op} {right}")));
            }
        }
        let expr = match self.of(&expr)? {
            PgType::Bpchar => Box::new(called(&ebap_functions::padded_text_udf(), vec![*expr])),
            _ => Box::new(self.to(*expr, &PgType::Text)?),
        };
        let pattern = Box::new(self.to(*pattern, &PgType::Text)?);
        Ok(Like { negated, expr, pattern, escape_char, case_insensitive })
    }

    fn case(&self, case: Case) -> Result<Expr> {
        let Case { expr, when_then_expr, else_expr } = case;
        let (mut whens, thens): (Vec<Expr>, Vec<Expr>) =
            when_then_expr.into_iter().map(|(when, then)| (*when, *then)).unzip();
        let operand = match expr {
            None => {
                whens = whens.into_iter().map(|when| self.boolean(when, "CASE/WHEN")).collect::<Result<_>>()?;
                None
            }
            Some(operand) => {
                whens.insert(0, *operand);
                let types = self.types(&whens)?;
                let of = common_type(&types).ok_or_else(|| mismatch("CASE/WHEN", &types))?;
                whens = self.comparable(whens, &of)?;
                Some(Box::new(whens.remove(0)))
            }
        };
        let mut values = thens;
        let has_else = else_expr.is_some();
        values.extend(else_expr.map(|expr| *expr));
        let types = self.types(&values)?;
        let of = common_type(&types).ok_or_else(|| mismatch("CASE", &types))?;
        let mut values = self.unified(values, &of)?;
        let else_expr = if has_else { values.pop().map(Box::new) } else { None };
        let when_then_expr = whens.into_iter().map(Box::new).zip(values.into_iter().map(Box::new)).collect();
        let case = Case { expr: operand, when_then_expr, else_expr };
        let risky = of == PgType::Bool && case.when_then_expr.iter().any(|(_, then)| guards::may_fail(then));
        let case = if risky && case.expr.is_none() { guards::kept(case) } else { Expr::Case(case) };
        Ok(self.marked(case, Some(&of)))
    }

    /// A function of DataFusion's own: what it takes is its own matter, but the values of one array share a type.
    fn foreign(&self, call: datafusion::logical_expr::expr::ScalarFunction) -> Result<Expr> {
        let mut call = call;
        match call.func.name() {
            // DataFusion counts negative places from the end.
            "struct" if self.records => {
                let args = call.args.into_iter().map(|arg| self.output(arg)).collect::<Result<_>>()?;
                return Ok(called(&ebap_functions::record_udf(), args));
            }
            "array_element" => return calls::library(self, "array_subscript", call.args),
            "array_slice" => {
                // Behind the bounds may stand a step of one, which SQL has no other than.
                call.args.truncate(3);
                return calls::library(self, "array_slice", call.args);
            }
            _ => {}
        }
        if call.func.name() == "make_array" && !call.args.is_empty() {
            let types = self.types(&call.args)?;
            let of = common_type(&types).ok_or_else(|| mismatch("ARRAY", &types))?;
            call.args = self.unified(call.args, &of)?;
            return Ok(self.marked(Expr::ScalarFunction(call), Some(&PgType::Array(Box::new(of)))));
        }
        Ok(Expr::ScalarFunction(call))
    }

    /// What a column of an answer is: a quoted literal is text.
    pub(super) fn output(&self, expr: Expr) -> Result<Expr> {
        match expr {
            Expr::Alias(mut alias) => {
                alias.expr = Box::new(self.output(*alias.expr)?);
                Ok(Expr::Alias(alias))
            }
            expr if is_unknown(&expr) => {
                self.cast(expr, &Target { of: PgType::Text, typmod: None }, CastContext::Implicit)
            }
            expr => Ok(expr),
        }
    }
}

/// A literal or a column, also where it is cast or made a key.
fn is_plain(item: &Expr) -> bool {
    match item {
        Expr::Literal(..) | Expr::Column(_) | Expr::Placeholder(_) | Expr::OuterReferenceColumn(..) => true,
        Expr::Cast(cast) => is_plain(&cast.expr),
        Expr::ScalarFunction(call) => call.args.len() == 1 && call.args.iter().all(is_plain),
        _ => false,
    }
}

/// What is true, false or NULL by its form.
pub(super) fn is_condition(expr: &Expr) -> bool {
    match expr {
        Expr::BinaryExpr(BinaryExpr { op, .. }) => {
            let compares = [Operator::Eq, Operator::NotEq, Operator::Lt, Operator::LtEq, Operator::Gt, Operator::GtEq];
            let nulls = [Operator::IsDistinctFrom, Operator::IsNotDistinctFrom];
            matches!(op, Operator::And | Operator::Or) || compares.contains(op) || nulls.contains(op)
        }
        Expr::Not(_) | Expr::IsNull(_) | Expr::IsNotNull(_) | Expr::Like(_) | Expr::InList(_) => true,
        _ => false,
    }
}

/// `x IS TRUE` and `x IS FALSE`. DataFusion's own nodes are never NULL in a plan, and may be NULL in what executes it: where
/// `DISTINCT`, an aggregate or a common expression compares the two, the query fails.
pub(super) fn is_same_as(expr: Expr, value: bool) -> Expr {
    compared(expr, Operator::IsNotDistinctFrom, value)
}

/// `x IS NOT TRUE` and `x IS NOT FALSE`
fn is_other_than(expr: Expr, value: bool) -> Expr {
    compared(expr, Operator::IsDistinctFrom, value)
}

fn compared(expr: Expr, op: Operator, value: bool) -> Expr {
    let value = Expr::Literal(ScalarValue::Boolean(Some(value)), None);
    Expr::BinaryExpr(BinaryExpr { left: Box::new(expr), op, right: Box::new(value) })
}

/// A column, a literal, or little more: computed twice, it costs nothing and gives the same.
///
/// Conditions on such expressions are taken apart, since bounds of time are found in them.
pub(super) fn is_simple(expr: &Expr) -> bool {
    const SIMPLE: usize = 8;
    !expr.is_volatile() && guards::size(expr) <= SIMPLE
}

/// The expression a second time.
///
/// # Errors
/// 54001 where copies of copies would fill the memory.
pub(super) fn copied(expr: &Expr) -> Result<Expr> {
    const COPY_MAX: usize = 2_000;
    if expr.is_volatile() {
        return Err(Error::unsupported(
            "a value that changes with each call, where it is needed twice",
            "Compute it in a sub-query, and name its column here.",
        ));
    }
    match guards::size(expr) <= COPY_MAX {
        true => Ok(expr.clone()),
        false => {
            Err(Error::new("54001", "the statement is nested too deeply").hint("Compute parts of it in sub-queries."))
        }
    }
}

/// "CASE types integer and text cannot be matched"
pub(super) fn mismatch(what: &str, types: &[PgType]) -> Error {
    let known: Vec<&PgType> = types.iter().filter(|of| **of != PgType::Unknown).collect();
    let first = known.first().map_or(String::new(), ToString::to_string);
    let other = known.iter().find(|of| common_type(&[(*known[0]).clone(), (***of).clone()]).is_none());
    let other = other.map_or(String::new(), ToString::to_string);
    Error::new("42804", format!("{what} types {first} and {other} cannot be matched"))
}

/// An integer of 32 bits where it fits, as in PostgreSQL.
fn integer(value: ScalarValue) -> ScalarValue {
    match value {
        ScalarValue::Int64(Some(number)) => match i32::try_from(number) {
            Ok(small) => ScalarValue::Int32(Some(small)),
            Err(_) => ScalarValue::Int64(Some(number)),
        },
        other => other,
    }
}

pub(super) fn pair(left: Expr, op: Operator, right: Expr) -> Expr {
    Expr::BinaryExpr(BinaryExpr { left: Box::new(left), op, right: Box::new(right) })
}

fn or(left: Expr, right: Expr) -> Expr {
    pair(left, Operator::Or, right)
}
