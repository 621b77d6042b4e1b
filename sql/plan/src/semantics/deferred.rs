//! Calls whose function is chosen once the types of all arguments are known. DataFusion's planner asks them for the
//! type of their answer meanwhile; none of them ever runs.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::{
    common::{DFSchema, ScalarValue},
    error::{DataFusionError, Result as DataFusionResult},
    logical_expr::{
        Accumulator, AggregateUDF, AggregateUDFImpl, ColumnarValue, Expr, ExprSchemable, GetFieldAccess,
        ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
        expr::{AggregateFunctionParams, ScalarFunction},
        function::AccumulatorArgs,
        planner::{ExprPlanner, PlannerResult, RawBinaryExpr, RawFieldAccessExpr},
    },
    sql::sqlparser::ast::BinaryOperator,
};
use ebap_functions::{Target, arrow_field, pg_type};
use ebap_values::PgType;

use super::{aggregates, calls, targets};

/// Names that only quotes could write, of forms that are no functions in SQL.
pub(super) const CAST: &str = "cast as";
pub(super) const NUMBER: &str = "number literal";
pub(super) const INTERVAL: &str = "interval literal";
pub(super) const SIMILAR: &str = "similar to";
/// A value of `VALUES`, and others of its column.
pub(super) const VALUE: &str = "value of";
/// A call that is made for itself, and its number.
pub(super) const EACH_TIME: &str = "each time";
pub(super) const UNARY: &str = "unary ";
pub(super) const BINARY: &str = "binary ";
pub(super) const ANY: &str = "any ";
pub(super) const ALL: &str = "all ";
pub(super) const ROW: &str = "row ";
pub(super) const ARRAY: &str = "array literal";
pub(super) const DISTINCT: &str = "is distinct from";
pub(super) const NOT_DISTINCT: &str = "is not distinct from";

/// A scalar call that waits.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Deferred {
    name: String,
    signature: Signature,
}

impl Deferred {
    fn udf(name: &str) -> Arc<ScalarUDF> {
        let signature = Signature::user_defined(Volatility::Immutable);
        Arc::new(ScalarUDF::new_from_impl(Self { name: name.to_owned(), signature }))
    }
}

/// The name of the call, where it waits for its types.
pub(super) fn waiting(function: &ScalarFunction) -> Option<&str> {
    function.func.inner().downcast_ref::<Deferred>().map(|deferred| deferred.name.as_str())
}

/// Every scalar function that waits for its types.
pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    let comparisons = ["=", "<>", "<", "<=", ">", ">="];
    let matches = ["~", "~*", "!~", "!~*", "~~", "~~*", "!~~", "!~~*"];
    let mut names: Vec<String> = ebap_functions::functions().iter().map(|function| function.name.to_owned()).collect();
    names.extend(calls::SPECIAL.iter().map(|name| (*name).to_owned()));
    names.extend(
        [
            CAST,
            NUMBER,
            INTERVAL,
            SIMILAR,
            ARRAY,
            DISTINCT,
            NOT_DISTINCT,
            VALUE,
            EACH_TIME,
            crate::parser::BETWEEN_SYMMETRIC,
        ]
        .map(str::to_owned),
    );
    names.extend(["+", "-", "~", "@", "|/", "||/"].map(|op| format!("{UNARY}{op}")));
    names.extend(comparisons.iter().map(|op| format!("{ROW}{op}")));
    for op in comparisons.iter().chain(&matches) {
        names.extend([format!("{ANY}{op}"), format!("{ALL}{op}")]);
    }
    names.sort_unstable();
    names.dedup();
    names.iter().map(|name| Deferred::udf(name)).collect()
}

impl ScalarUDFImpl for Deferred {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> DataFusionResult<DataType> {
        Ok(DataType::Null)
    }

    /// The type where it is known by now, else that of NULL, which goes with any other.
    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> DataFusionResult<FieldRef> {
        let given: Vec<PgType> = args
            .arg_fields
            .iter()
            .zip(args.scalar_arguments)
            .map(|(field, value)| match value {
                Some(ScalarValue::Utf8(_) | ScalarValue::Null) => PgType::Unknown,
                _ => pg_type(field),
            })
            .collect();
        let text = |at: usize| match args.scalar_arguments.get(at) {
            Some(Some(ScalarValue::Utf8(Some(text)))) => Some(text.as_str()),
            _ => None,
        };
        let found = match self.name.as_str() {
            CAST => text(1).and_then(|of| targets::parsed(of).ok()).map(|of| of.arrow_field("", true)),
            name => calls::answer(name, &given).map(|of| match of {
                PgType::Composite | PgType::Record => Field::new("", DataType::Null, true),
                of => arrow_field("", &of, true),
            }),
        };
        let field = found.unwrap_or_else(|| Field::new("", DataType::Null, true));
        Ok(Arc::new(field.with_name(&self.name).with_nullable(true)))
    }

    fn coerce_types(&self, types: &[DataType]) -> DataFusionResult<Vec<DataType>> {
        Ok(types.to_vec())
    }

    fn invoke_with_args(&self, _: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        Err(DataFusionError::Internal(format!("\"{}\" was not given its types", self.name)))
    }

    fn display_name(&self, args: &[Expr]) -> DataFusionResult<String> {
        self.written(args, |arg| Ok(arg.to_string()))
    }

    fn schema_name(&self, args: &[Expr]) -> DataFusionResult<String> {
        self.written(args, |arg| Ok(arg.schema_name().to_string()))
    }
}

impl Deferred {
    /// As it stands in SQL: a column without a name is called so.
    fn written(&self, args: &[Expr], name: impl Fn(&Expr) -> DataFusionResult<String>) -> DataFusionResult<String> {
        if let (Some(op), [left, right]) = (self.name.strip_prefix(BINARY), args) {
            return Ok(format!("{} {op} {}", name(left)?, name(right)?));
        }
        if let (Some(op), [of]) = (self.name.strip_prefix(UNARY), args) {
            return Ok(format!("{op} {}", name(of)?));
        }
        if let (CAST, [of, Expr::Literal(ScalarValue::Utf8(Some(to)), _)]) = (self.name.as_str(), args) {
            return Ok(format!("{}::{}", name(of)?, to.to_lowercase()));
        }
        if let (DISTINCT | NOT_DISTINCT, [left, right]) = (self.name.as_str(), args) {
            return Ok(format!("{} {} {}", name(left)?, self.name.to_uppercase(), name(right)?));
        }
        let args = args.iter().map(name).collect::<DataFusionResult<Vec<_>>>()?;
        if self.name == ARRAY {
            return Ok(format!("ARRAY[{}]", args.join(",")));
        }
        Ok(format!("{}({})", self.name, args.join(",")))
    }
}

/// Makes a waiting call of every operator that is PostgreSQL's.
#[derive(Debug)]
pub(super) struct OperatorPlanner;

impl ExprPlanner for OperatorPlanner {
    fn plan_binary_op(&self, expr: RawBinaryExpr, _: &DFSchema) -> DataFusionResult<PlannerResult<RawBinaryExpr>> {
        let Some(op) = spelled(&expr.op) else { return Ok(PlannerResult::Original(expr)) };
        let udf = Deferred::udf(&format!("{BINARY}{op}"));
        Ok(PlannerResult::Planned(Expr::ScalarFunction(ScalarFunction::new_udf(udf, vec![expr.left, expr.right]))))
    }

    fn plan_field_access(
        &self,
        expr: RawFieldAccessExpr,
        schema: &DFSchema,
    ) -> DataFusionResult<PlannerResult<RawFieldAccessExpr>> {
        Ok(match member_of(&expr.expr, &expr.field_access, schema) {
            Some(member) => PlannerResult::Planned(member),
            None => PlannerResult::Original(expr),
        })
    }
}

/// The member of a `jsonb` that `value['key']` and `value[0]` are, as a waiting call of `->`; None of another type.
fn member_of(expr: &Expr, access: &GetFieldAccess, schema: &DFSchema) -> Option<Expr> {
    let (_, field) = expr.to_field(schema).ok()?;
    if pg_type(&field) != PgType::Jsonb {
        return None;
    }
    let key = match access {
        GetFieldAccess::NamedStructField { name } => Expr::Literal(name.clone(), None),
        GetFieldAccess::ListIndex { key } => key.as_ref().clone(),
        GetFieldAccess::ListRange { .. } => return None,
    };
    let udf = Deferred::udf(&format!("{BINARY}->"));
    Some(Expr::ScalarFunction(ScalarFunction::new_udf(udf, vec![expr.clone(), key])))
}

/// PostgreSQL's spelling of an operator that this layer gives its meaning.
fn spelled(op: &BinaryOperator) -> Option<&'static str> {
    Some(match op {
        BinaryOperator::Plus => "+",
        BinaryOperator::Minus => "-",
        BinaryOperator::Multiply => "*",
        BinaryOperator::Divide => "/",
        BinaryOperator::Modulo => "%",
        BinaryOperator::PGExp => "^",
        BinaryOperator::Eq => "=",
        BinaryOperator::NotEq => "<>",
        BinaryOperator::Lt => "<",
        BinaryOperator::LtEq => "<=",
        BinaryOperator::Gt => ">",
        BinaryOperator::GtEq => ">=",
        BinaryOperator::StringConcat => "||",
        BinaryOperator::BitwiseAnd => "&",
        BinaryOperator::BitwiseOr => "|",
        BinaryOperator::PGBitwiseXor => "#",
        BinaryOperator::PGBitwiseShiftLeft => "<<",
        BinaryOperator::PGBitwiseShiftRight => ">>",
        BinaryOperator::PGRegexMatch => "~",
        BinaryOperator::PGRegexIMatch => "~*",
        BinaryOperator::PGRegexNotMatch => "!~",
        BinaryOperator::PGRegexNotIMatch => "!~*",
        BinaryOperator::PGLikeMatch => "~~",
        BinaryOperator::PGILikeMatch => "~~*",
        BinaryOperator::PGNotLikeMatch => "!~~",
        BinaryOperator::PGNotILikeMatch => "!~~*",
        BinaryOperator::PGStartsWith => "^@",
        BinaryOperator::PGOverlap => "&&",
        BinaryOperator::Arrow => "->",
        BinaryOperator::LongArrow => "->>",
        BinaryOperator::HashArrow => "#>",
        BinaryOperator::HashLongArrow => "#>>",
        BinaryOperator::HashMinus => "#-",
        BinaryOperator::AtArrow => "@>",
        BinaryOperator::ArrowAt => "<@",
        BinaryOperator::Question => "?",
        BinaryOperator::QuestionPipe => "?|",
        BinaryOperator::QuestionAnd => "?&",
        _ => return None,
    })
}

/// An aggregate that waits for the types of its arguments.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct DeferredAggregate {
    inner: Arc<AggregateUDF>,
    signature: Signature,
}

/// DataFusion's aggregate behind one that waits.
pub(super) fn waiting_aggregate(udf: &AggregateUDF) -> Option<&Arc<AggregateUDF>> {
    udf.inner().downcast_ref::<DeferredAggregate>().map(|deferred| &deferred.inner)
}

/// The aggregate, made to wait.
pub(super) fn deferred_aggregate(inner: &Arc<AggregateUDF>) -> AggregateUDF {
    let signature = Signature::user_defined(Volatility::Immutable);
    AggregateUDF::new_from_impl(DeferredAggregate { inner: Arc::clone(inner), signature })
}

impl AggregateUDFImpl for DeferredAggregate {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        self.inner.aliases()
    }

    fn schema_name(&self, params: &AggregateFunctionParams) -> DataFusionResult<String> {
        self.inner.schema_name(params)
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> DataFusionResult<Vec<DataType>> {
        Ok(types.to_vec())
    }

    fn return_type(&self, types: &[DataType]) -> DataFusionResult<DataType> {
        let given: Vec<PgType> = types.iter().map(ebap_functions::pg_type_of).collect();
        let found = aggregates::answer(self.inner.name(), &given);
        Ok(found.map_or(DataType::Null, |of| Target { of, typmod: None }.arrow_type()))
    }

    fn accumulator(&self, _: AccumulatorArgs) -> DataFusionResult<Box<dyn Accumulator>> {
        Err(DataFusionError::Internal(format!("{} was not given its types", self.inner.name())))
    }

    fn supports_null_handling_clause(&self) -> bool {
        self.inner.supports_null_handling_clause()
    }

    fn supports_within_group_clause(&self) -> bool {
        self.inner.supports_within_group_clause()
    }
}
