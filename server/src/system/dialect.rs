//! What client tools write in queries of the system catalogs and DataFusion cannot read, put in words that
//! it has. Only for statements that `names_catalog`; see there.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    self, ArrayElemTypeDef, CastKind, DataType, Expr, FunctionArguments, Ident, ObjectName, Value, VisitMut, VisitorMut,
};

use super::{pg_catalog::Described, search_path::SearchPath};
use crate::pgwire::sqlstate::SqlError;

/// Answers what a statement asks of the session and of names, before it is planned.
///
/// # Errors
/// 42P01 for a name that is cast to `regclass` and is none of a relation.
pub(super) fn translate(
    statement: &mut ast::Statement,
    path: &SearchPath,
    described: &Described,
) -> Result<(), SqlError> {
    match VisitMut::visit(statement, &mut Translator { path, described }) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(error),
    }
}

struct Translator<'a> {
    path: &'a SearchPath,
    described: &'a Described,
}

impl VisitorMut for Translator<'_> {
    type Break = SqlError;

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<SqlError> {
        let understood = match expr {
            // Grafana takes the path apart with set-returning functions that DataFusion has not.
            Expr::InSubquery { expr: of, subquery, negated }
                if subquery.to_string().contains("current_setting('search_path')") =>
            {
                let names = self.path.effective(false).into_iter().map(text);
                Expr::InList { expr: of.clone(), list: names.collect(), negated: *negated }
            }
            Expr::Cast { expr: of, data_type, .. } if is_regclass(data_type) => match literal(of) {
                Some(name) if name.parse::<i32>().is_err() => match self.oid(name) {
                    Some(oid) => Expr::Value(Value::Number(oid.to_string(), false).into()),
                    None => {
                        let error = SqlError::new("42P01", format!("relation \"{name}\" does not exist"));
                        return ControlFlow::Break(error);
                    }
                },
                _ => return ControlFlow::Continue(()),
            },
            // A list made of a subquery: of roles, options or privileges, and there are none.
            Expr::Function(function)
                if matches!(function.args, FunctionArguments::Subquery(_)) && is_array(&function.name) =>
            {
                Expr::Cast {
                    kind: CastKind::Cast,
                    expr: Box::new(Expr::Value(Value::Null.into())),
                    data_type: DataType::Array(ArrayElemTypeDef::SquareBracket(Box::new(DataType::Text), None)),
                    array: false,
                    format: None,
                }
            }
            _ => return ControlFlow::Continue(()),
        };
        *expr = understood;
        ControlFlow::Continue(())
    }
}

impl Translator<'_> {
    fn oid(&self, name: &str) -> Option<i32> {
        let fold = |part: &str| match part.strip_prefix('"').and_then(|part| part.strip_suffix('"')) {
            Some(quoted) => quoted.to_owned(),
            None => part.to_lowercase(),
        };
        match name.split_once('.') {
            Some((schema, name)) => self.described.oid_of(&fold(schema), &fold(name)),
            None => {
                let name = fold(name);
                self.path.effective(true).iter().find_map(|schema| self.described.oid_of(schema, &name))
            }
        }
    }
}

fn text(value: String) -> Expr {
    Expr::Value(Value::SingleQuotedString(value).into())
}

fn is_regclass(of: &DataType) -> bool {
    ["regclass", "pg_catalog.regclass"].contains(&of.to_string().to_lowercase().as_str())
}

fn is_array(name: &ObjectName) -> bool {
    let last = name.0.last().and_then(|part| part.as_ident());
    last.is_some_and(|Ident { value, .. }| value.eq_ignore_ascii_case("array"))
}

fn literal(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Value(value) => match &value.value {
            Value::SingleQuotedString(text) => Some(text),
            _ => None,
        },
        _ => None,
    }
}
