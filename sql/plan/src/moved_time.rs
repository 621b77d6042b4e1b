//! `time + interval` and `time - interval`, as the planner and the operators of flows look for them.

use datafusion::logical_expr::{BinaryExpr, Expr, Operator};

/// Both operands of `+` or `-`, and which of the two it is: DataFusion's own, or the function that knows `infinity`.
pub fn moved_time(expr: &Expr) -> Option<(&Expr, Operator, &Expr)> {
    match expr {
        Expr::BinaryExpr(BinaryExpr { left, op: op @ (Operator::Plus | Operator::Minus), right }) => {
            Some((left, *op, right))
        }
        Expr::ScalarFunction(call) => match (call.name(), call.args.as_slice()) {
            ("+", [left, right]) => Some((left, Operator::Plus, right)),
            ("-", [left, right]) => Some((left, Operator::Minus, right)),
            _ => None,
        },
        _ => None,
    }
}
