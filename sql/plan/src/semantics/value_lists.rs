//! `VALUES` whose columns hold values of several kinds. Each value names the others of its column, with which it shares
//! its type, since DataFusion would find another type by itself.

use datafusion::sql::sqlparser::ast::{Expr, SetExpr, UnaryOperator, Value, Values};

use super::deferred::VALUE;
use crate::{column_names::has_subquery, parser::call};

/// Rows up to which values are compared that are no literals.
const ROWS_MAX: usize = 100;

/// What a value is by its form.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    Null,
    Integer,
    Number,
    Text,
    Cast(String),
    Other,
}

/// Rewrites the lists of one query, without its sub-queries.
pub(super) fn rewrite(body: &mut SetExpr) {
    match body {
        SetExpr::Values(values) => shared(values),
        SetExpr::SetOperation { left, right, .. } => {
            rewrite(left);
            rewrite(right);
        }
        _ => {}
    }
}

fn shared(values: &mut Values) {
    let Some(width) = values.rows.first().map(|row| row.len()).filter(|_| values.rows.len() > 1) else { return };
    if values.rows.iter().any(|row| row.len() != width) {
        return;
    }
    for column in 0..width {
        let cells: Vec<Expr> = values.rows.iter().map(|row| row[column].clone()).collect();
        let Some(samples) = samples(&cells) else { continue };
        for row in &mut values.rows {
            let mut args = vec![row[column].clone()];
            args.extend(samples.iter().cloned());
            row[column] = call(VALUE, args);
        }
    }
}

/// One value of each kind. None where all are of one kind or NULL, and where one has a sub-query.
fn samples(cells: &[Expr]) -> Option<Vec<Expr>> {
    // Each value names its samples, so that lists in sub-queries of lists would grow without bound.
    if cells.iter().any(has_subquery) {
        return None;
    }
    let mut found: Vec<(Kind, Expr)> = Vec::new();
    for cell in cells {
        let kind = kind(cell);
        if kind != Kind::Null && (kind == Kind::Other || found.iter().all(|(own, _)| *own != kind)) {
            found.push((kind, cell.clone()));
        }
    }
    let many = found.iter().filter(|(kind, _)| *kind == Kind::Other).count();
    if found.len() < 2 || many > 0 && cells.len() > ROWS_MAX {
        return None;
    }
    Some(found.into_iter().map(|(_, cell)| cell).collect())
}

fn kind(expr: &Expr) -> Kind {
    match expr {
        Expr::Nested(inner) => kind(inner),
        Expr::UnaryOp { op: UnaryOperator::Minus | UnaryOperator::Plus, expr } => match kind(expr) {
            found @ (Kind::Integer | Kind::Number) => found,
            _ => Kind::Other,
        },
        Expr::Value(value) => match &value.value {
            Value::Null => Kind::Null,
            Value::Number(digits, _) if digits.replace('_', "").parse::<i32>().is_ok() => Kind::Integer,
            Value::Number(..) => Kind::Number,
            Value::SingleQuotedString(_) => Kind::Text,
            Value::Boolean(_) => Kind::Cast("boolean".to_owned()),
            _ => Kind::Other,
        },
        Expr::Cast { data_type, .. } => Kind::Cast(data_type.to_string().to_lowercase()),
        Expr::TypedString(typed) => Kind::Cast(typed.data_type.to_string().to_lowercase()),
        Expr::Interval(_) => Kind::Cast("interval".to_owned()),
        Expr::Array(_) => Kind::Cast("array".to_owned()),
        _ => Kind::Other,
    }
}
