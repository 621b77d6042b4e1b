//! `UNION`, `INTERSECT` and `EXCEPT`: each column has one type on all sides, and `ALL` counts the rows.

use std::sync::Arc;

use datafusion::{
    common::{Column, NullEquality, Result, TableReference},
    functions_window::expr_fn::row_number,
    logical_expr::{
        Distinct, Expr, ExprFunctionExt, Join, JoinConstraint, JoinType, LogicalPlan, Projection, Union, Window,
    },
};
use ebap_values::PgType;

use super::{
    expressions::mismatch,
    overload::common_type,
    plan::{Resolver, external},
    scope::is_unknown,
};

/// True for a join that DataFusion has made of `INTERSECT` or `EXCEPT`: no other join takes two NULLs for equal here.
pub(super) fn is_set_operation(join: &Join) -> bool {
    join.null_equality == NullEquality::NullEqualsNull
        && join.filter.is_none()
        && matches!(join.join_type, JoinType::LeftSemi | JoinType::LeftAnti)
}

impl Resolver {
    pub(super) fn union(&self, node: Union) -> Result<LogicalPlan> {
        let inputs = node.inputs.iter().map(Arc::as_ref).collect::<Vec<_>>();
        let rows = self.unified("UNION", &inputs)?;
        let mut sides = Vec::with_capacity(rows.len());
        for (row, input) in rows.into_iter().zip(&node.inputs) {
            let named = row.into_iter().zip(node.schema.fields()).map(|(expr, field)| expr.alias(field.name()));
            sides.push(Arc::new(project(named.collect(), Arc::clone(input))?));
        }
        Union::try_new_with_loose_types(sides).map(LogicalPlan::Union)
    }

    /// `INTERSECT` and `EXCEPT`, with or without `ALL`.
    pub(super) fn set_operation(&self, node: Join) -> Result<LogicalPlan> {
        let what = if node.join_type == JoinType::LeftSemi { "INTERSECT" } else { "EXCEPT" };
        // Of a side without equal rows, `ALL` takes the same rows as the operation without it.
        let (all, left) = match node.left.as_ref() {
            LogicalPlan::Distinct(Distinct::All(input)) => (false, Arc::clone(input)),
            _ => (true, Arc::clone(&node.left)),
        };
        let names: Vec<(Option<TableReference>, String)> =
            left.schema().iter().map(|(relation, field)| (relation.cloned(), field.name().clone())).collect();
        let mut rows = self.unified(what, &[left.as_ref(), node.right.as_ref()])?.into_iter();
        let (row, other) = (rows.next().unwrap_or_default(), rows.next().unwrap_or_default());
        let row =
            row.into_iter().zip(&names).map(|(expr, (relation, name))| expr.alias_qualified(relation.clone(), name));
        let other = other.into_iter().enumerate().map(|(at, expr)| expr.alias(format!("right column {at}")));
        let left = project(row.collect(), left)?;
        let right = project(other.collect(), Arc::clone(&node.right))?;
        let left = if all { left } else { self.distinct(Arc::new(left))? };
        let (mut left_keys, mut right_keys) = (self.keys(&left)?, self.keys(&right)?);
        let (left, right) = match all {
            false => (left, right),
            true => {
                let (left, left_number) = numbered(left, &left_keys, "left row")?;
                let (right, right_number) = numbered(right, &right_keys, "right row")?;
                left_keys.push(left_number);
                right_keys.push(right_number);
                (left, right)
            }
        };
        let on = left_keys.into_iter().zip(right_keys).collect();
        let join = LogicalPlan::Join(Join::try_new(
            Arc::new(left),
            Arc::new(right),
            on,
            None,
            node.join_type,
            JoinConstraint::On,
            NullEquality::NullEqualsNull,
            false,
        )?);
        if !all {
            return Ok(join);
        }
        let columns = names.into_iter().map(|(relation, name)| Expr::Column(Column::new(relation, name)));
        project(columns.collect(), Arc::new(join))
    }

    /// What stands for each column where rows are compared.
    fn keys(&self, plan: &LogicalPlan) -> Result<Vec<Expr>> {
        let scope = self.scope(plan.schema());
        plan.schema().iter().map(|column| scope.key(Expr::from(column)).map_err(external)).collect()
    }

    /// The columns of each side, with one type and one representation over all sides.
    fn unified(&self, what: &str, inputs: &[&LogicalPlan]) -> Result<Vec<Vec<Expr>>> {
        let width = inputs.first().map_or(0, |input| input.schema().fields().len());
        let mut rows: Vec<Vec<Expr>> = vec![Vec::with_capacity(width); inputs.len()];
        for at in 0..width {
            let column: Vec<Expr> = inputs.iter().map(|input| shown(input, at)).collect();
            let mut types = Vec::with_capacity(column.len());
            for (expr, input) in column.iter().zip(inputs) {
                types.push(self.scope(input.schema()).of(expr).map_err(external)?);
            }
            let of = common_type(&types).ok_or_else(|| external(mismatch(what, &types)))?;
            let one = self.one_representation(&column, inputs, &of)?;
            for (row, (expr, input)) in rows.iter_mut().zip(column.into_iter().zip(inputs)) {
                let scope = self.scope(input.schema());
                let expr = scope.to(expr, &of).map_err(external)?;
                row.push(if one || of != PgType::Numeric { expr } else { scope.dynamic(expr).map_err(external)? });
            }
        }
        Ok(rows)
    }

    /// Whether the sides already have one Arrow type.
    fn one_representation(&self, column: &[Expr], inputs: &[&LogicalPlan], of: &PgType) -> Result<bool> {
        let mut found = None;
        for (expr, input) in column.iter().zip(inputs) {
            let scope = self.scope(input.schema());
            let expr = scope.to(expr.clone(), of).map_err(external)?;
            let of = scope.field(&expr).map_err(external)?.data_type().clone();
            if *found.get_or_insert_with(|| of.clone()) != of {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

fn project(exprs: Vec<Expr>, input: Arc<LogicalPlan>) -> Result<LogicalPlan> {
    Projection::try_new(exprs, input).map(LogicalPlan::Projection)
}

/// The rows with a number among those that are equal, so that the second of two is another row than the first.
fn numbered(plan: LogicalPlan, keys: &[Expr], name: &str) -> Result<(LogicalPlan, Expr)> {
    let number = row_number().partition_by(keys.to_vec()).build()?.alias(name);
    let plan = LogicalPlan::Window(Window::try_new(vec![number], Arc::new(plan))?);
    Ok((plan, Expr::Column(Column::new_unqualified(name))))
}

/// The expression that a column of the answer shows; a literal waits there for its type.
fn shown(plan: &LogicalPlan, at: usize) -> Expr {
    if let LogicalPlan::Projection(node) = plan
        && let Some(expr) = node.expr.get(at).map(|expr| expr.clone().unalias())
        && is_unknown(&expr)
    {
        return expr;
    }
    Expr::from(plan.schema().qualified_field(at))
}
