//! Calls of `random()` and its like that PostgreSQL makes each by itself: `sum(random())` twice is two sums, and
//! `(SELECT random())` twice two sub-queries.
//!
//! DataFusion takes aggregates and sub-queries that are written alike for one. So each such call within them is
//! numbered, and no two are alike. What is grouped or ordered by is the column that is written like it, as in PostgreSQL.

use std::{convert::Infallible, ops::ControlFlow};

use datafusion::sql::sqlparser::ast::{
    self, Expr, GroupByExpr, OrderBy, OrderByKind, Query, SelectItem, SetExpr, Value, Visit, VisitMut, Visitor,
    VisitorMut, WindowType,
};

use super::{calls, deferred::EACH_TIME};
use crate::{
    macros::{is_volatile, is_volatile_call},
    parser::call,
};

pub(super) fn number(statement: &mut ast::Statement) {
    if has_volatile(statement) {
        let _ = VisitMut::visit(statement, &mut Numbering::default());
    }
}

fn has_volatile(statement: &ast::Statement) -> bool {
    struct Find;
    impl Visitor for Find {
        type Break = ();

        fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
            if is_volatile_call(expr) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        }
    }
    Visit::visit(statement, &mut Find).is_break()
}

#[derive(Default)]
struct Numbering {
    /// Aggregates and sub-queries around.
    around: usize,
    /// Calls around that have their number.
    numbered: usize,
    last: usize,
    /// Windows of the calls around: those that are written alike are one.
    windows: Vec<Option<WindowType>>,
}

impl VisitorMut for Numbering {
    type Break = Infallible;

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<Infallible> {
        self.share(query);
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Infallible> {
        self.around += usize::from(is_one_to_datafusion(expr));
        self.numbered += usize::from(has_number(expr));
        if let Expr::Function(function) = expr {
            self.windows.push(function.over.take());
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Infallible> {
        if let Expr::Function(function) = expr {
            function.over = self.windows.pop().flatten();
        }
        self.around -= usize::from(is_one_to_datafusion(expr));
        self.numbered -= usize::from(has_number(expr));
        if self.around > 0 && self.numbered == 0 && is_volatile_call(expr) {
            self.last += 1;
            let number = Expr::Value(Value::SingleQuotedString(self.last.to_string()).into());
            *expr = call(EACH_TIME, vec![expr.clone(), number]);
        }
        ControlFlow::Continue(())
    }
}

impl Numbering {
    /// Gives an expression of `GROUP BY` or `ORDER BY`, and the columns that are written like it, the same numbers.
    fn share(&mut self, query: &mut Query) {
        let SetExpr::Select(select) = query.body.as_mut() else { return };
        let mut keys: Vec<&mut Expr> = Vec::new();
        if let GroupByExpr::Expressions(exprs, _) = &mut select.group_by {
            keys.extend(exprs);
        }
        if let Some(OrderBy { kind: OrderByKind::Expressions(exprs), .. }) = &mut query.order_by {
            keys.extend(exprs.iter_mut().map(|by| &mut by.expr));
        }
        for at in 0..keys.len() {
            let written = keys[at].clone();
            if !is_volatile(&written) {
                continue;
            }
            let mut numbered = written.clone();
            let _ = VisitMut::visit(&mut numbered, self);
            for item in &mut select.projection {
                if let SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } = item
                    && *expr == written
                {
                    *expr = numbered.clone();
                }
            }
            keys.iter_mut().filter(|key| ***key == written).for_each(|key| **key = numbered.clone());
        }
    }
}

/// Whether those that are written alike are one to DataFusion. What is no function of ours may be an aggregate.
fn is_one_to_datafusion(expr: &Expr) -> bool {
    match expr {
        Expr::Subquery(_) | Expr::Exists { .. } | Expr::InSubquery { .. } => true,
        Expr::Function(_) if is_volatile_call(expr) || has_number(expr) => false,
        Expr::Function(function) => {
            let name = function.name.to_string().to_lowercase();
            ebap_functions::function(&name).is_none() && !calls::SPECIAL.contains(&name.as_str())
        }
        _ => false,
    }
}

fn has_number(expr: &Expr) -> bool {
    matches!(expr, Expr::Function(function) if function.name.to_string() == format!("\"{EACH_TIME}\""))
}
