//! Functions that do not exist, with the types of their arguments, as PostgreSQL names them.

use std::ops::ControlFlow;

use arrow::datatypes::DataType;
use datafusion::{
    error::{DataFusionError, Result as DataFusionResult},
    logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility},
    sql::sqlparser::ast::{self, Expr, Ident, ObjectName, VisitMut, VisitorMut},
};

use super::show::of_type;
use crate::pgwire::sqlstate::SqlError;

/// A function that takes anything and refuses it, with the types.
const PROBE: &str = "ebap_probe";
const HINT: &str = "No function matches the given name and argument types. You might need to add explicit type casts.";

/// Name of the function, where the error is that there is none of this name.
pub(super) fn unknown(error: &SqlError) -> Option<String> {
    let name = error.message.strip_prefix("function ")?.strip_suffix(" does not exist")?;
    (error.code == "42883" && !name.contains('(')).then(|| name.to_owned())
}

/// As PostgreSQL says it.
pub(super) fn does_not_exist(name: &str, types: &str, position: Option<usize>) -> SqlError {
    SqlError { position, ..SqlError::new("42883", format!("function {name}({types}) does not exist")).hint(HINT) }
}

/// The statement with the probe in the place of the function.
pub(super) fn probing(name: &str, mut statement: ast::Statement) -> ast::Statement {
    let _ = VisitMut::visit(&mut statement, &mut Probing { name });
    statement
}

struct Probing<'a> {
    name: &'a str,
}

impl VisitorMut for Probing<'_> {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Expr::Function(function) = expr
            && function
                .name
                .0
                .last()
                .and_then(|part| part.as_ident())
                .is_some_and(|ident| ident.value.eq_ignore_ascii_case(self.name))
        {
            function.name = ObjectName::from(vec![Ident::new(PROBE)]);
        }
        ControlFlow::Continue(())
    }
}

/// What the probe has found out.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Probed(String);

pub(super) fn probed(error: &DataFusionError) -> Option<String> {
    match error.find_root() {
        DataFusionError::External(inner) => inner.downcast_ref::<Probed>().map(|found| found.0.clone()),
        _ => None,
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Probe(Signature);

pub(crate) fn probe() -> ScalarUDF {
    ScalarUDF::new_from_impl(Probe(Signature::one_of(
        vec![datafusion::logical_expr::TypeSignature::Nullary, datafusion::logical_expr::TypeSignature::VariadicAny],
        Volatility::Volatile,
    )))
}

impl ScalarUDFImpl for Probe {
    fn name(&self) -> &str {
        PROBE
    }

    fn signature(&self) -> &Signature {
        &self.0
    }

    fn return_type(&self, types: &[DataType]) -> DataFusionResult<DataType> {
        let names: Vec<String> = types.iter().map(of_type).collect();
        Err(DataFusionError::External(Box::new(Probed(names.join(", ")))))
    }

    fn invoke_with_args(&self, _: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        Err(DataFusionError::Internal(format!("{PROBE} is never planned")))
    }
}
