//! Forms of SQL that are calls in all but spelling, as calls: casts, typed literals, `AT TIME ZONE`, `= ANY (…)`,
//! rows, `SIMILAR TO`. DataFusion then sees calls of functions that wait for their types.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::{
    ast::{
        self, AccessExpr, BinaryOperator, CastKind, CeilFloorKind, DateTimeField, Distinct, Expr, FunctionArg,
        FunctionArgExpr, FunctionArguments, Interval, OrderBy, OrderByKind, Query, Select, SelectItem, SetExpr,
        Subscript, TableFactor, TrimWhereField, TypedString, UnaryOperator, Value, VisitMut, VisitorMut, WindowFrame,
        WindowFrameBound, WindowType,
    },
    parser::Parser,
};

use super::{
    clock,
    deferred::{ALL, ANY, ARRAY, CAST, DISTINCT, INTERVAL, NOT_DISTINCT, NUMBER, ROW, SIMILAR, UNARY},
    limits, lists, named_args, ordering, row_subqueries, series, targets, using, value_lists, volatile_calls,
    with_names,
};
use crate::{
    Error, Result,
    column_names::name_columns,
    parser::{Postgres, call},
};

/// Rewrites the statement in place.
///
/// # Errors
/// 0A000 for what DataFusion would answer otherwise, and those of each rewriting.
pub(super) fn desugar(statement: &mut ast::Statement) -> Result<()> {
    with_names::rewrite(statement)?;
    volatile_calls::number(statement);
    match VisitMut::visit(statement, &mut Desugar) {
        ControlFlow::Break(error) => Err(error),
        ControlFlow::Continue(()) => Ok(()),
    }
}

struct Desugar;

impl VisitorMut for Desugar {
    type Break = Error;

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<Error> {
        for table in query.with.iter_mut().flat_map(|with| &mut with.cte_tables) {
            name_columns(&mut table.query.body);
        }
        ordered_as_selected(query);
        value_lists::rewrite(&mut query.body);
        match using::rewrite(query).and_then(|()| ordering::rewrite(query)).and_then(|()| limits::rewrite(query)) {
            Err(error) => ControlFlow::Break(error),
            Ok(()) => ControlFlow::Continue(()),
        }
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<Error> {
        for condition in [&mut select.selection, &mut select.having].into_iter().flatten() {
            boolean(condition);
        }
        let relation = row_subqueries::only_relation(select);
        let condition = select.selection.as_mut();
        condition
            .map_or(ControlFlow::Continue(()), |condition| row_subqueries::in_condition(condition, relation.as_ref()))
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Error> {
        if let Expr::Function(function) = expr
            && let Some(WindowType::WindowSpec(spec)) = &mut function.over
            && let Some(frame) = &mut spec.window_frame
        {
            restore_bounds(frame);
        }
        if let Err(error) = row_subqueries::refused(expr) {
            return ControlFlow::Break(error);
        }
        let of_call = match expr {
            Expr::Function(function) => named_args::placed(function).and_then(|()| series::in_expression(function)),
            _ => Ok(None),
        };
        match of_call {
            Err(error) => return ControlFlow::Break(error),
            Ok(Some(found)) => *expr = found,
            Ok(None) => {}
        }
        if let Some(found) = clock::rewritten(expr).or_else(|| rewritten(expr)) {
            *expr = found;
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<Error> {
        match series::in_from(factor) {
            Err(error) => return ControlFlow::Break(error),
            Ok(Some(found)) => *factor = found,
            Ok(None) => {}
        }
        if let TableFactor::Derived { subquery, .. } = factor {
            name_columns(&mut subquery.body);
        }
        ControlFlow::Continue(())
    }

    /// A table function reads its arguments as they are written.
    fn post_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<Error> {
        if let TableFactor::Table { args: Some(args), .. } = factor {
            for arg in &mut args.args {
                if let FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) = arg {
                    restore(expr);
                }
            }
        }
        ControlFlow::Continue(())
    }
}

/// `SELECT DISTINCT ON (…) … ORDER BY 1`: DataFusion looks there for the columns of the input alone.
fn ordered_as_selected(query: &mut Query) {
    let Query { body, order_by: Some(OrderBy { kind: OrderByKind::Expressions(order), .. }), .. } = query else {
        return;
    };
    let SetExpr::Select(select) = body.as_mut() else { return };
    if !matches!(select.distinct, Some(Distinct::On(_))) {
        return;
    }
    for by in order {
        let meant = select.projection.iter().enumerate().find_map(|(at, item)| match (item, &by.expr) {
            (SelectItem::ExprWithAlias { expr, alias }, Expr::Identifier(name)) if name == alias => Some(expr),
            (SelectItem::ExprWithAlias { expr, .. } | SelectItem::UnnamedExpr(expr), Expr::Value(value)) => {
                matches!(&value.value, Value::Number(place, _) if *place == (at + 1).to_string()).then_some(expr)
            }
            _ => None,
        });
        if let Some(expr) = meant.cloned() {
            by.expr = expr;
        }
    }
}

pub(super) fn text(value: impl Into<String>) -> Expr {
    Expr::Value(Value::SingleQuotedString(value.into()).into())
}

fn taken(expr: &mut Expr) -> Expr {
    std::mem::replace(expr, Expr::Value(Value::Null.into()))
}

fn negated(expr: Expr, negated: bool) -> Expr {
    match negated {
        true => Expr::UnaryOp { op: UnaryOperator::Not, expr: Box::new(Expr::Nested(Box::new(expr))) },
        false => expr,
    }
}

fn rewritten(expr: &mut Expr) -> Option<Expr> {
    match expr {
        Expr::Value(value) => number(&value.value),
        Expr::Cast { kind: CastKind::Cast | CastKind::DoubleColon, expr, data_type, array: false, format: None } => {
            targets::target(data_type).ok()?;
            if let Expr::Value(value) = expr.as_ref()
                && let Value::SingleQuotedString(value) = &value.value
                && let Some(time) = clock::special(value, data_type)
            {
                return Some(time);
            }
            Some(call(CAST, vec![taken(expr), text(data_type.to_string())]))
        }
        Expr::TypedString(TypedString { data_type, value, .. }) => {
            targets::target(data_type).ok()?;
            let value = value.value.clone().into_string()?;
            if let Some(time) = clock::special(&value, data_type) {
                return Some(time);
            }
            Some(call(CAST, vec![text(value), text(data_type.to_string())]))
        }
        Expr::Interval(interval) => of_interval(interval),
        Expr::UnaryOp { op, expr } => unary(*op, expr),
        Expr::BinaryOp { left, op: op @ BinaryOperator::PGCustomBinaryOperator(_), right } => {
            Some(Expr::BinaryOp { op: named_operator(op)?, left: Box::new(taken(left)), right: Box::new(taken(right)) })
        }
        Expr::BinaryOp { left, op: BinaryOperator::And | BinaryOperator::Or, right } => {
            boolean(left);
            boolean(right);
            None
        }
        Expr::BinaryOp { left, op, right } => of_rows(left, op, right),
        Expr::InList { expr, list, negated: not } => in_rows(expr, list, *not),
        Expr::IsNull(expr) => of_each(expr, Expr::IsNull),
        Expr::IsNotNull(expr) => of_each(expr, Expr::IsNotNull),
        Expr::AnyOp { left, compare_op, right, .. } => quantified(ANY, left, compare_op, right),
        Expr::AllOp { left, compare_op, right } => quantified(ALL, left, compare_op, right),
        Expr::AtTimeZone { timestamp, time_zone } => Some(call("timezone", vec![taken(time_zone), taken(timestamp)])),
        Expr::SimilarTo { negated: not, expr, pattern, escape_char } => {
            let mut args = vec![taken(expr), taken(pattern)];
            args.extend(escape_char.take().map(Expr::Value));
            Some(negated(call(SIMILAR, args), *not))
        }
        Expr::Array(array) if !array.elem.is_empty() => Some(call(ARRAY, array.elem.iter_mut().map(taken).collect())),
        Expr::IsDistinctFrom(left, right) => distinct(left, right, DISTINCT, BinaryOperator::Or),
        Expr::IsNotDistinctFrom(left, right) => distinct(left, right, NOT_DISTINCT, BinaryOperator::And),
        Expr::Function(function) if lists::is_array_of_rows(function) => lists::array_of_rows(function),
        // `(o).id`: a column of a row, or a part of a column.
        Expr::CompoundFieldAccess { root, access_chain } if lists::path(root, access_chain).is_some() => {
            lists::path(root, access_chain)
        }
        Expr::CompoundFieldAccess { access_chain, .. } => {
            access_chain.iter_mut().for_each(bounded);
            None
        }
        Expr::Like { negated: not, expr, pattern, escape_char: None, any } => {
            of_patterns(expr, pattern, if *not { "!~~" } else { "~~" }, *any)
        }
        Expr::ILike { negated: not, expr, pattern, escape_char: None, any } => {
            of_patterns(expr, pattern, if *not { "!~~*" } else { "~~*" }, *any)
        }
        Expr::Like { negated: not, expr, pattern, escape_char: Some(escape), any: false } => {
            let pattern = call("like_escape", vec![taken(pattern), Expr::Value(escape.clone())]);
            Some(matched(
                taken(expr),
                if *not { BinaryOperator::PGNotLikeMatch } else { BinaryOperator::PGLikeMatch },
                pattern,
            ))
        }
        Expr::ILike { negated: not, expr, pattern, escape_char: Some(escape), any: false } => {
            let pattern = call("like_escape", vec![taken(pattern), Expr::Value(escape.clone())]);
            let op = if *not { BinaryOperator::PGNotILikeMatch } else { BinaryOperator::PGILikeMatch };
            Some(matched(taken(expr), op, pattern))
        }
        Expr::Collate { expr, collation } => is_bytewise(collation).then(|| taken(expr)),
        other => spelled(other),
    }
}

/// A slice of an array goes from its first element to its last where it does not say.
fn bounded(access: &mut AccessExpr) {
    let number = |value: i32| Expr::Value(Value::Number(value.to_string(), false).into());
    if let AccessExpr::Subscript(Subscript::Slice { lower_bound, upper_bound, stride: None }) = access {
        lower_bound.get_or_insert_with(|| number(1));
        upper_bound.get_or_insert_with(|| number(i32::MAX));
    }
}

/// `LIKE ANY (patterns)` and `LIKE ALL (patterns)`.
fn of_patterns(expr: &mut Expr, pattern: &mut Expr, op: &str, any: bool) -> Option<Expr> {
    if any {
        return Some(call(&format!("{ANY}{op}"), vec![taken(expr), taken(pattern)]));
    }
    let Expr::Function(function) = &*pattern else { return None };
    let FunctionArguments::List(list) = &function.args else { return None };
    match (&list.args[..], function.name.to_string().eq_ignore_ascii_case("all")) {
        ([FunctionArg::Unnamed(FunctionArgExpr::Expr(patterns))], true) => {
            let patterns = patterns.clone();
            Some(call(&format!("{ALL}{op}"), vec![taken(expr), patterns]))
        }
        _ => None,
    }
}

fn matched(left: Expr, op: BinaryOperator, right: Expr) -> Expr {
    Expr::BinaryOp { left: Box::new(left), op, right: Box::new(right) }
}

/// A quoted literal where a condition stands is one.
fn boolean(expr: &mut Expr) {
    if let Expr::Value(value) = plain(expr)
        && let Some(value) = value.value.clone().into_string()
    {
        *expr = call(CAST, vec![text(value), text("boolean")]);
    }
}

/// `OPERATOR(pg_catalog.+)` is `+`.
fn named_operator(op: &BinaryOperator) -> Option<BinaryOperator> {
    let BinaryOperator::PGCustomBinaryOperator(parts) = op else { return None };
    let name = match &parts[..] {
        [name] => name,
        [schema, name] if schema.eq_ignore_ascii_case("pg_catalog") => name,
        _ => return None,
    };
    let text = format!("a {name} b");
    let parsed = Parser::new(&Postgres).try_with_sql(&text).ok()?.parse_expr().ok()?;
    match parsed {
        Expr::BinaryOp { op, .. } => Some(op),
        _ => None,
    }
}

/// Functions that the standard gives a spelling of their own.
fn spelled(expr: &mut Expr) -> Option<Expr> {
    match expr {
        Expr::Extract { field, expr, .. } => {
            let field = field.to_string().trim_matches('\'').to_lowercase();
            Some(call("extract", vec![text(field), taken(expr)]))
        }
        Expr::Position { expr, r#in } => Some(call("position", vec![taken(r#in), taken(expr)])),
        Expr::Substring { expr, substring_from, substring_for, shorthand, .. } => {
            let mut args = vec![taken(expr)];
            match (substring_from, substring_for) {
                (Some(from), None) => args.push(taken(from)),
                (Some(from), Some(length)) => args.extend([taken(from), taken(length)]),
                (None, Some(length)) => {
                    args.extend([Expr::Value(Value::Number("1".to_owned(), false).into()), taken(length)]);
                }
                (None, None) => {}
            }
            // Patterns are an affair of the longer name.
            Some(call(if *shorthand { "substr" } else { "substring" }, args))
        }
        Expr::Trim { expr, trim_where, trim_what, trim_characters } => {
            let mut args = vec![taken(expr)];
            args.extend(trim_what.iter_mut().map(|what| taken(what)));
            args.extend(trim_characters.iter_mut().flatten().map(taken));
            let name = match trim_where {
                Some(TrimWhereField::Leading) => "ltrim",
                Some(TrimWhereField::Trailing) => "rtrim",
                Some(TrimWhereField::Both) | None => "btrim",
            };
            Some(call(name, args))
        }
        Expr::Overlay { expr, overlay_what, overlay_from, overlay_for } => {
            let mut args = vec![taken(expr), taken(overlay_what), taken(overlay_from)];
            args.extend(overlay_for.iter_mut().map(|length| taken(length)));
            Some(call("overlay", args))
        }
        Expr::Floor { expr, field: CeilFloorKind::DateTimeField(DateTimeField::NoDateTime) } => {
            Some(call("floor", vec![taken(expr)]))
        }
        Expr::Ceil { expr, field: CeilFloorKind::DateTimeField(DateTimeField::NoDateTime) } => {
            Some(call("ceil", vec![taken(expr)]))
        }
        _ => None,
    }
}

/// A number that is no integer of 64 bits is NUMERIC, whose digits must not pass through a float.
fn number(value: &Value) -> Option<Expr> {
    let Value::Number(digits, _) = value else { return None };
    let digits = digits.replace('_', "");
    digits.parse::<i64>().is_err().then(|| call(NUMBER, vec![text(digits)]))
}

fn of_interval(interval: &mut Interval) -> Option<Expr> {
    let value = match interval.value.as_ref() {
        Expr::Value(value) => match &value.value {
            Value::SingleQuotedString(text) | Value::EscapedStringLiteral(text) => text.clone(),
            Value::Number(digits, _) => digits.clone(),
            _ => return None,
        },
        _ => return None,
    };
    let mut fields = interval.leading_field.as_ref().map_or(String::new(), ToString::to_string);
    if let Some(last) = &interval.last_field {
        fields.push_str(&format!(" TO {last}"));
    }
    Some(call(INTERVAL, vec![text(value), text(fields)]))
}

fn unary(op: UnaryOperator, expr: &mut Expr) -> Option<Expr> {
    match op {
        UnaryOperator::Plus => Some(match plain(expr) {
            Expr::Value(value) if matches!(value.value, Value::Number(..)) => taken(expr),
            _ => call(&format!("{UNARY}+"), vec![taken(expr)]),
        }),
        UnaryOperator::Minus => match plain(expr) {
            // An integer stays a literal, as LIMIT and frames want it.
            Expr::Value(value) if matches!(value.value, Value::Number(..)) => None,
            Expr::Function(function) if function.name.to_string() == format!("\"{NUMBER}\"") => {
                let digits = literal_args(function).into_iter().next()?;
                // Two signs are none.
                let negated = digits.strip_prefix('-').map_or_else(|| format!("-{digits}"), str::to_owned);
                Some(call(NUMBER, vec![text(negated)]))
            }
            _ => Some(call(&format!("{UNARY}-"), vec![taken(expr)])),
        },
        UnaryOperator::BitwiseNot | UnaryOperator::PGAbs | UnaryOperator::PGSquareRoot | UnaryOperator::PGCubeRoot => {
            Some(call(&format!("{UNARY}{op}"), vec![taken(expr)]))
        }
        _ => None,
    }
}

fn plain(expr: &Expr) -> &Expr {
    match expr {
        Expr::Nested(inner) => plain(inner),
        other => other,
    }
}

/// The values of `(a, b)` and `ROW(a, b)`.
pub(super) fn row(expr: &Expr) -> Option<Vec<Expr>> {
    match plain(expr) {
        Expr::Tuple(values) => Some(values.clone()),
        Expr::Function(function) if function.name.to_string().eq_ignore_ascii_case("row") => {
            let FunctionArguments::List(list) = &function.args else { return None };
            let value = |arg: &FunctionArg| match arg {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr.clone()),
                _ => None,
            };
            list.args.iter().map(value).collect()
        }
        _ => None,
    }
}

fn of_rows(left: &Expr, op: &BinaryOperator, right: &Expr) -> Option<Expr> {
    let (left, right) = (row(left)?, row(right)?);
    if left.len() != right.len() {
        return None;
    }
    let values: Vec<Expr> = left.into_iter().chain(right).collect();
    match op {
        BinaryOperator::Overlaps => Some(call("overlaps", values)),
        BinaryOperator::Eq
        | BinaryOperator::NotEq
        | BinaryOperator::Lt
        | BinaryOperator::LtEq
        | BinaryOperator::Gt
        | BinaryOperator::GtEq => Some(call(&format!("{ROW}{op}"), values)),
        _ => None,
    }
}

/// `IS DISTINCT FROM` of two values, or of each pair of the values of two rows.
fn distinct(left: &mut Expr, right: &mut Expr, name: &str, between: BinaryOperator) -> Option<Expr> {
    let (Some(lefts), Some(rights)) = (row(left), row(right)) else {
        return Some(call(name, vec![taken(left), taken(right)]));
    };
    if lefts.len() != rights.len() {
        return None;
    }
    let pairs = lefts.into_iter().zip(rights).map(|(left, right)| call(name, vec![left, right]));
    pairs
        .reduce(|left, right| Expr::BinaryOp { left: Box::new(left), op: between.clone(), right: Box::new(right) })
        .map(|all| Expr::Nested(Box::new(all)))
}

/// `(a, b) IN ((1, 2), (3, 4))`
fn in_rows(expr: &Expr, list: &[Expr], not: bool) -> Option<Expr> {
    row(expr)?;
    let mut found: Option<Expr> = None;
    for other in list {
        let equal = of_rows(expr, &BinaryOperator::Eq, other)?;
        found = Some(match found {
            None => equal,
            Some(before) => Expr::BinaryOp { left: Box::new(before), op: BinaryOperator::Or, right: Box::new(equal) },
        });
    }
    found.map(|found| negated(found, not))
}

/// A row is NULL where each of its values is.
fn of_each(expr: &Expr, make: fn(Box<Expr>) -> Expr) -> Option<Expr> {
    let all = row(expr)?.into_iter().map(|value| make(Box::new(value)));
    let all = all.reduce(|left, right| Expr::BinaryOp {
        left: Box::new(left),
        op: BinaryOperator::And,
        right: Box::new(right),
    });
    all.map(|expr| Expr::Nested(Box::new(expr)))
}

/// `left op ANY (array)`; a sub-query is DataFusion's.
fn quantified(name: &str, left: &mut Expr, op: &BinaryOperator, right: &mut Expr) -> Option<Expr> {
    if let Expr::Subquery(subquery) = plain(right) {
        let negated = match (name, op) {
            (ANY, BinaryOperator::Eq) => false,
            (ALL, BinaryOperator::NotEq) => true,
            _ => return None,
        };
        let subquery = subquery.clone();
        return Some(Expr::InSubquery { expr: Box::new(taken(left)), subquery, negated });
    }
    Some(call(&format!("{name}{op}"), vec![taken(left), taken(right)]))
}

/// Texts are compared by their bytes, which these collations ask for.
fn is_bytewise(collation: &ast::ObjectName) -> bool {
    let last = collation.0.last().and_then(|part| part.as_ident()).map(|ident| ident.value.to_lowercase());
    last.is_some_and(|name| ["c", "posix", "default", "ucs_basic", "c.utf-8", "c.utf8"].contains(&name.as_str()))
}

fn literal_args(function: &ast::Function) -> Vec<String> {
    let FunctionArguments::List(list) = &function.args else { return Vec::new() };
    let literal = |arg: &FunctionArg| match arg {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Value(value))) => value.value.clone().into_string(),
        _ => None,
    };
    list.args.iter().filter_map(literal).collect()
}

/// Bounds of a frame are literals to DataFusion.
fn restore_bounds(frame: &mut WindowFrame) {
    for bound in [Some(&mut frame.start_bound), frame.end_bound.as_mut()].into_iter().flatten() {
        if let WindowFrameBound::Preceding(Some(expr)) | WindowFrameBound::Following(Some(expr)) = bound {
            restore(expr);
        }
    }
}

fn restore(expr: &mut Expr) {
    let Expr::Function(function) = &*expr else { return };
    if function.name.to_string() != format!("\"{INTERVAL}\"") {
        return;
    }
    let mut args = literal_args(function).into_iter();
    let (Some(value), Some(fields)) = (args.next(), args.next()) else { return };
    let value = match fields.is_empty() {
        true => value,
        false => format!("{value} {fields}"),
    };
    *expr = Expr::Interval(Interval {
        value: Box::new(text(value)),
        leading_field: None,
        leading_precision: None,
        last_field: None,
        fractional_seconds_precision: None,
    });
}
