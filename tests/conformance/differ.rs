//! One expression on both servers: over all rows, then over the row at which they differ, then its parts.

use ebap_tests::wire::{Answer, Rows};

use super::{
    compare::{Kind, Strictness, difference, on_purpose, sorted},
    expression::Expression,
    findings::{Finding, Findings, shape_with_codes},
    servers::Pair,
    values::{quoted, sql_name, type_of},
};

/// Compares the values of an expression over the rows of `d`.
pub(crate) fn expression(pair: &mut Pair<'_>, whole: &Expression, seed: &str, findings: &mut Findings) {
    let sql = format!("SELECT id, {} FROM d", whole.sql());
    let (right, ours) = both_sorted(pair, &sql);
    findings.compared += 1;
    let Some(kind) = difference(&right, &ours, Strictness::Exact) else {
        *(if matches!(right, Answer::Error(..)) { &mut findings.both_refuse } else { &mut findings.equal }) += 1;
        return;
    };
    let Some(row) = row_that_differs(pair, &whole.sql(), &right, &ours) else {
        // Each row by itself is the same, so both refuse some row, and began with another one.
        if matches!((&right, &ours), (Answer::Error(..), Answer::Error(..))) {
            findings.both_refuse += 1;
            return;
        }
        findings.add(Finding {
            kind,
            shape: shape_with_codes(kind, &format!("over several rows: {}", whole.shape()), &right, &ours),
            statement: sql.clone(),
            whole: sql,
            seed: seed.to_owned(),
            right: right.to_string(),
            ours: ours.to_string(),
        });
        return;
    };
    let parts = whole.parts();
    let differs = |pair: &mut Pair<'_>, part: &Expression| {
        let (right, ours) = pair.both(&at_row(&part.sql(), row));
        difference(&right, &ours, Strictness::Exact).map(|kind| (kind, right, ours))
    };
    let smallest = parts.iter().find_map(|part| Some((*part, differs(pair, part)?)));
    let Some((part, (kind, right, ours))) = smallest else { return };
    let reason = on_purpose(kind, &part.shape(), &right, &ours).or_else(|| left_out(pair, part, row, &right, &ours));
    if let Some(reason) = reason {
        findings.on_purpose(reason, &at_row(&part.sql(), row));
        return;
    }
    let (statement, right, ours) =
        alone(pair, part, row, kind).unwrap_or_else(|| (at_row(&part.sql(), row), right, ours));
    findings.add(Finding {
        kind,
        shape: shape_with_codes(kind, &part.shape(), &right, &ours),
        statement,
        whole: sql,
        seed: seed.to_owned(),
        right: right.to_string(),
        ours: ours.to_string(),
    });
}

fn at_row(expression: &str, row: i64) -> String {
    format!("SELECT {expression} FROM d WHERE id = {row}")
}

fn both_sorted(pair: &mut Pair<'_>, sql: &str) -> (Answer, Answer) {
    let (right, ours) = pair.both(sql);
    (sorted(right), sorted(ours))
}

/// The first row whose value differs.
fn row_that_differs(pair: &mut Pair<'_>, expression: &str, right: &Answer, ours: &Answer) -> Option<i64> {
    if let (Answer::Rows(right), Answer::Rows(ours)) = (right, ours) {
        if right.rows.len() != ours.rows.len() {
            return None;
        }
        let pairs = right.rows.iter().zip(&ours.rows);
        let at = pairs.into_iter().position(|(right, ours)| right != ours).unwrap_or_default();
        return id_of(right, at);
    }
    let with_rows = [right, ours].into_iter().find_map(|answer| match answer {
        Answer::Rows(rows) => Some((0..rows.rows.len()).filter_map(|at| id_of(rows, at)).collect::<Vec<i64>>()),
        _ => None,
    });
    let ids = with_rows.unwrap_or_else(|| (0..40).collect());
    ids.into_iter().find(|id| {
        let (right, ours) = pair.both(&at_row(expression, *id));
        difference(&right, &ours, Strictness::Exact).is_some()
    })
}

fn id_of(rows: &Rows, at: usize) -> Option<i64> {
    rows.text(at, 0)?.parse().ok()
}

/// Which of several arguments that fail is computed, and whether, is not part of what an expression means: PostgreSQL
/// leaves out what a constant NULL beside it makes needless.
fn left_out(pair: &mut Pair<'_>, part: &Expression, row: i64, right: &Answer, ours: &Answer) -> Option<&'static str> {
    let code = match (right, ours) {
        (Answer::Rows(found), Answer::Error(code, _)) if is_null(found) => code,
        (Answer::Error(code, _), Answer::Rows(_)) => code,
        (Answer::Error(..), Answer::Error(code, _)) => code,
        _ => return None,
    };
    let fails = part.args().iter().any(|arg| {
        let (right, ours) = pair.both(&at_row(&arg.sql(), row));
        matches!((right, ours), (Answer::Error(right, _), Answer::Error(ours, _)) if ours == *code && right == ours)
    });
    fails.then_some("which of the arguments is computed first")
}

fn is_null(rows: &Rows) -> bool {
    rows.rows.iter().all(|row| row.last() == Some(&None))
}

/// The operation on constants in place of columns and of its parts, where that still differs in this way.
fn alone(pair: &mut Pair<'_>, part: &Expression, row: i64, kind: Kind) -> Option<(String, Answer, Answer)> {
    let constants = part.args().iter().map(|arg| constant(pair, arg, row)).collect::<Option<Vec<_>>>()?;
    let part = match part {
        Expression::Leaf { of, .. } => {
            let text = pair.postgres(&at_row(part.sql().split("::").next()?, row));
            Expression::leaf(format!("{}::{}", first_literal(&text)?, sql_name(of)), of)
        }
        Expression::Call { .. } => part.with_args(constants),
    };
    let sql = format!("SELECT {}", part.sql());
    let (right, ours) = pair.both(&sql);
    (difference(&right, &ours, Strictness::Exact) == Some(kind)).then_some((sql, right, ours))
}

fn constant(pair: &mut Pair<'_>, arg: &Expression, row: i64) -> Option<Expression> {
    let of = match arg {
        Expression::Leaf { of, .. } => of,
        Expression::Call { operation, .. } => &operation.returns,
    };
    let Answer::Rows(found) = pair.postgres(&at_row(&arg.sql(), row)) else { return None };
    let of_value = type_of(*found.types.first()?).unwrap_or_else(|| of.clone());
    let literal = match found.rows.first()?.first()? {
        Some(_) => quoted(&found.text(0, 0)?),
        None => "NULL".to_owned(),
    };
    // A literal that has no type yet keeps having none.
    let is_open = arg.args().is_empty() && arg.sql().starts_with('\'') && !arg.sql().contains("::");
    let sql = if is_open { literal } else { format!("{literal}::{}", sql_name(&of_value)) };
    Some(Expression::leaf(sql, &of_value))
}

fn first_literal(answer: &Answer) -> Option<String> {
    let Answer::Rows(rows) = answer else { return None };
    Some(quoted(&rows.text(0, 0)?))
}

/// Compares one statement as it is.
pub(crate) fn statement(
    pair: &mut Pair<'_>,
    sql: &str,
    shape: &str,
    seed: &str,
    strictness: Strictness,
    findings: &mut Findings,
) {
    let (right, ours) = both_sorted(pair, sql);
    findings.compared += 1;
    let Some(kind) = difference(&right, &ours, strictness) else {
        *(if matches!(right, Answer::Error(..)) { &mut findings.both_refuse } else { &mut findings.equal }) += 1;
        return;
    };
    if let Some(reason) = on_purpose(kind, shape, &right, &ours) {
        findings.on_purpose(reason, sql);
        return;
    }
    findings.add(Finding {
        kind,
        shape: shape_with_codes(kind, shape, &right, &ours),
        statement: sql.to_owned(),
        whole: sql.to_owned(),
        seed: seed.to_owned(),
        right: right.to_string(),
        ours: ours.to_string(),
    });
}
