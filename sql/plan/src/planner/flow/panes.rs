//! Aggregates over windows that share panes: a row is counted once, in its pane, and panes make the windows.

use datafusion::{common::DFSchemaRef, logical_expr::Expr};

use super::{mentions, windows::Spec};
use crate::flow::{Flow, Node, Panes, RowOp, column_of};

/// Lets the windows below be made by this aggregate, where nothing between the two looks at them.
pub(super) fn by_panes(input: &mut Flow, schema: &DFSchemaRef, groups: &[Expr], aggregates: &[Expr]) -> Option<Panes> {
    let frames = match window(input)? {
        Node::Window { frames, .. } => frames.clone(),
        _ => return None,
    };
    let windows: i64 = frames.iter().map(|frame| frame.size_us / frame.slide_us).sum();
    if windows < 2 {
        return None;
    }
    let marks = marks(input)?;
    let marked: Vec<usize> = (0..marks.len()).filter(|at| marks[*at].is_some()).collect();
    let pane_us = Spec::pane_us(&frames);
    let mut panes = Panes { frames, pane_us, starts: Vec::new(), ends: Vec::new(), sizes: Vec::new() };
    for (at, expr) in groups.iter().enumerate() {
        match column_of(expr, schema).and_then(|column| marks[column]) {
            Some(0) => panes.starts.push(at),
            Some(1) => panes.ends.push(at),
            Some(_) => panes.sizes.push(at),
            None if mentions(expr, schema, &marked) => return None,
            None => {}
        }
    }
    // By them the aggregate knows the pane of a row.
    let without_bounds = panes.starts.is_empty() && panes.ends.is_empty();
    if without_bounds || aggregates.iter().any(|expr| mentions(expr, schema, &marked)) {
        return None;
    }
    if let Some(Node::Window { panes, .. }) = window_mut(input) {
        *panes = true;
    }
    Some(panes)
}

fn window(flow: &Flow) -> Option<&Node> {
    match &flow.node {
        Node::Rows { input, .. } => window(input),
        node @ Node::Window { .. } => Some(node),
        _ => None,
    }
}

fn window_mut(flow: &mut Flow) -> Option<&mut Node> {
    match &mut flow.node {
        Node::Rows { input, .. } => window_mut(input),
        node @ Node::Window { .. } => Some(node),
        _ => None,
    }
}

/// Of each column which of a window's three it is. `None` where an expression looks at one.
fn marks(flow: &Flow) -> Option<Vec<Option<usize>>> {
    match &flow.node {
        Node::Window { .. } => {
            let own = flow.schema.fields().len().checked_sub(3)?;
            Some((0..own + 3).map(|at| at.checked_sub(own)).collect())
        }
        Node::Rows { input, ops } => {
            let mut marks = marks(input)?;
            for op in ops {
                let marked: Vec<usize> = (0..marks.len()).filter(|at| marks[*at].is_some()).collect();
                match op {
                    RowOp::Filter { predicate, input } if mentions(predicate, input, &marked) => return None,
                    RowOp::Filter { .. } => {}
                    RowOp::Project { exprs, input, .. } => {
                        let of = |expr: &Expr| match column_of(expr, input) {
                            Some(at) => Some(marks[at]),
                            None if mentions(expr, input, &marked) => None,
                            None => Some(None),
                        };
                        marks = exprs.iter().map(of).collect::<Option<_>>()?;
                    }
                }
            }
            Some(marks)
        }
        _ => None,
    }
}
