//! Types of expressions over the columns of one node of a plan, and conversions between them.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, TimeUnit};
use datafusion::{
    common::{DFSchema, ScalarValue},
    logical_expr::{
        BinaryExpr, Cast, Expr, ExprSchemable, Operator, ScalarUDF,
        expr::{FieldMetadata, Placeholder, ScalarFunction},
    },
};
use ebap_functions::{
    CastContext, Target, bpchar_key_udf, can_cast, cast_udf, fixed_result, interval_canonical_udf, jsonb_key_udfs,
    key_udf, marked_record_udf, pg_type, unknown_literal,
};
use ebap_values::PgType;

use super::{expressions::is_condition, value_error};
use crate::{Error, Result, error::from_datafusion};

/// What expressions of one node see.
pub(super) struct Scope<'a> {
    pub(super) schema: &'a DFSchema,
    /// The session's zone is UTC, in which a day always has 24 hours.
    pub(super) utc: bool,
    /// `ROW(…)` is a record; in views it is a column with fields, as their state has it.
    pub(super) records: bool,
}

pub(super) fn called(udf: &Arc<ScalarUDF>, args: Vec<Expr>) -> Expr {
    Expr::ScalarFunction(ScalarFunction::new_udf(Arc::clone(udf), args))
}

/// A quoted literal, NULL, or a parameter without a type.
pub(super) fn is_unknown(expr: &Expr) -> bool {
    match expr {
        Expr::Literal(ScalarValue::Utf8(_) | ScalarValue::Null, None) => true,
        Expr::Placeholder(placeholder) => placeholder.field.is_none(),
        _ => false,
    }
}

/// The text of a quoted literal.
pub(super) fn literal_text(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Literal(ScalarValue::Utf8(Some(text)), None) => Some(text),
        _ => None,
    }
}

/// A literal of this type; that of UUID and JSON says so beside it.
pub(super) fn literal(value: ScalarValue, of: &PgType) -> Expr {
    let field = ebap_functions::arrow_field("", of, true);
    let metadata = (!field.metadata().is_empty()).then(|| FieldMetadata::from(&field));
    Expr::Literal(value, metadata)
}

impl Scope<'_> {
    /// Name and nullability are not those of a column of a plan.
    pub(super) fn field(&self, expr: &Expr) -> Result<FieldRef> {
        // DataFusion walks to the leaves each time, so a chain of operators would take its length squared.
        if let Some(field) = self.known(expr) {
            return Ok(field);
        }
        expr.to_field(self.schema).map(|(_, field)| field).map_err(|error| from_datafusion(error, ""))
    }

    pub(super) fn of(&self, expr: &Expr) -> Result<PgType> {
        if is_unknown(expr) { Ok(PgType::Unknown) } else { Ok(pg_type(self.field(expr)?.as_ref())) }
    }

    /// The field of an expression whose form tells its type.
    fn known(&self, expr: &Expr) -> Option<FieldRef> {
        let of = |of: DataType| Some(Arc::new(Field::new("", of, true)));
        match expr {
            Expr::ScalarFunction(call) => fixed_result(&call.func).cloned(),
            Expr::Cast(cast) if cast.field.metadata().is_empty() => of(cast.field.data_type().clone()),
            expr if is_condition(expr) => of(DataType::Boolean),
            Expr::BinaryExpr(BinaryExpr { op: Operator::StringConcat, .. }) => of(DataType::Utf8),
            // Both sides have one type, and the right side of a chain is short.
            Expr::BinaryExpr(BinaryExpr {
                op: Operator::Plus | Operator::Minus | Operator::Multiply | Operator::Divide,
                right,
                ..
            }) => self.field(right).ok().filter(|field| field.data_type().is_floating()),
            _ => None,
        }
    }

    pub(super) fn types(&self, exprs: &[Expr]) -> Result<Vec<PgType>> {
        exprs.iter().map(|expr| self.of(expr)).collect()
    }

    /// The expression as a value of this type. How NUMERIC is represented stays as it is.
    pub(super) fn to(&self, expr: Expr, of: &PgType) -> Result<Expr> {
        self.cast(expr, &Target { of: of.clone(), typmod: None }, CastContext::Implicit)
    }

    /// # Errors
    /// 42846 where there is no such cast; that of the literal where it is no value of the type.
    pub(super) fn cast(&self, expr: Expr, to: &Target, context: CastContext) -> Result<Expr> {
        match expr {
            Expr::Placeholder(Placeholder { id, field: None }) => {
                // A parameter has a type without a length: `$1::varchar(2)` cuts it afterwards.
                let plain = Target { of: to.of.clone(), typmod: None };
                let field = Arc::new(plain.arrow_field("", true));
                let parameter = Expr::Placeholder(Placeholder { id, field: Some(field) });
                if to.typmod.is_some() { self.converted(parameter, to, context) } else { Ok(parameter) }
            }
            Expr::Literal(ScalarValue::Null | ScalarValue::Utf8(None), None) => null(to, context),
            Expr::Literal(ScalarValue::Utf8(Some(text)), None) => self.quoted(text, to, context),
            expr => self.converted(expr, to, context),
        }
    }

    fn quoted(&self, text: String, to: &Target, context: CastContext) -> Result<Expr> {
        if to.of == PgType::Text && to.typmod.is_none() {
            let literal = Expr::Literal(ScalarValue::Utf8(Some(text)), None);
            return Ok(match context {
                // Else `'9'::text` would be taken for a literal without a type again.
                CastContext::Explicit => Expr::Cast(Cast::new(Box::new(literal), DataType::Utf8)),
                CastContext::Implicit | CastContext::Assignment => literal,
            });
        }
        let zoned = matches!(to.of, PgType::Timestamptz) && !self.utc;
        if zoned || matches!(to.typmod, Some(ebap_functions::Typmod::Varchar(_) | ebap_functions::Typmod::Char(_))) {
            let literal = Expr::Literal(ScalarValue::Utf8(Some(text)), None);
            return Ok(called(&cast_udf(to, true), vec![literal]));
        }
        let value = unknown_literal(&text, to).map_err(value_error)?;
        Ok(literal(value, &to.of))
    }

    fn converted(&self, expr: Expr, to: &Target, context: CastContext) -> Result<Expr> {
        let field = self.field(&expr)?;
        let from = pg_type(&field);
        if from == to.of && to.typmod.is_none() {
            return Ok(self.microseconds(expr, field.data_type()));
        }
        if from != to.of && from != PgType::Unknown && !can_cast(&from, &to.of, context) {
            let message = format!("cannot cast type {from} to {}", to.of);
            return Err(Error::new("42846", message));
        }
        if to.typmod.is_none()
            && let Some(native) = widened(&from, &to.of)
        {
            if let Expr::Literal(value, None) = &expr
                && let Ok(value) = value.cast_to(&literal_type(value, &native))
            {
                return Ok(Expr::Literal(value, None));
            }
            return Ok(Expr::Cast(Cast::new(Box::new(expr), native)));
        }
        Ok(called(&cast_udf(to, context == CastContext::Explicit), vec![expr]))
    }

    /// Times are kept in microseconds, as PostgreSQL has them; `now()` comes in nanoseconds.
    fn microseconds(&self, expr: Expr, of: &DataType) -> Expr {
        match of {
            DataType::Timestamp(TimeUnit::Microsecond, _) => expr,
            DataType::Timestamp(_, zone) => {
                Expr::Cast(Cast::new(Box::new(expr), DataType::Timestamp(TimeUnit::Microsecond, zone.clone())))
            }
            _ => expr,
        }
    }

    /// The expressions as values of one type in one representation.
    pub(super) fn unified(&self, exprs: Vec<Expr>, of: &PgType) -> Result<Vec<Expr>> {
        let exprs = exprs.into_iter().map(|expr| self.to(expr, of)).collect::<Result<Vec<_>>>()?;
        match of {
            PgType::Numeric => self.one_numeric(exprs, false),
            _ => Ok(exprs),
        }
    }

    /// As `unified`, where how many digits are shown does not matter, as in a comparison.
    pub(super) fn comparable(&self, exprs: Vec<Expr>, of: &PgType) -> Result<Vec<Expr>> {
        let exprs = exprs.into_iter().map(|expr| self.to(expr, of)).collect::<Result<Vec<_>>>()?;
        let exprs = match of {
            PgType::Numeric => self.one_numeric(exprs, true)?,
            _ => exprs,
        };
        exprs.into_iter().map(|expr| self.key(expr)).collect()
    }

    /// Decimals of one scale stay decimals; else each value has the digits that it has.
    fn one_numeric(&self, exprs: Vec<Expr>, rescale: bool) -> Result<Vec<Expr>> {
        let mut decimals: Option<Vec<(u8, i8)>> = Some(Vec::new());
        for expr in &exprs {
            let field = self.field(expr)?;
            match (field.data_type(), &mut decimals) {
                (DataType::Decimal128(precision, scale), Some(found)) => found.push((*precision, *scale)),
                _ => decimals = None,
            }
        }
        let common = decimals.as_deref().and_then(|found| common_decimal(found, rescale));
        exprs
            .into_iter()
            .map(|expr| match &common {
                Some(of) => self.native(expr, of),
                None => self.dynamic(expr),
            })
            .collect()
    }

    fn native(&self, expr: Expr, of: &DataType) -> Result<Expr> {
        if self.field(&expr)?.data_type() == of {
            return Ok(expr);
        }
        if let Expr::Literal(value, None) = &expr
            && let Ok(value) = value.cast_to(of)
        {
            return Ok(Expr::Literal(value, None));
        }
        Ok(Expr::Cast(Cast::new(Box::new(expr), of.clone())))
    }

    /// NUMERIC whose values each have digits of their own.
    pub(super) fn dynamic(&self, expr: Expr) -> Result<Expr> {
        if *self.field(&expr)?.data_type() == DataType::LargeBinary {
            return Ok(expr);
        }
        Ok(called(&cast_udf(&Target { of: PgType::Numeric, typmod: None }, false), vec![expr]))
    }

    /// A value of UUID or JSON says so beside it, which DataFusion's own forms leave out.
    pub(super) fn marked(&self, expr: Expr, of: Option<&PgType>) -> Expr {
        let element = match of {
            Some(PgType::Array(element)) => Some(element.as_ref()),
            other => other,
        };
        match (of, element) {
            (Some(PgType::Record), _) => called(&marked_record_udf(), vec![expr]),
            (Some(of), Some(PgType::Bpchar | PgType::Uuid | PgType::Json | PgType::Jsonb)) => {
                called(&cast_udf(&Target { of: of.clone(), typmod: None }, true), vec![expr])
            }
            _ => expr,
        }
    }

    /// What stands for the value where it is grouped, joined or compared: equal values have equal bits.
    pub(super) fn key(&self, expr: Expr) -> Result<Expr> {
        if is_plain_literal(&expr) {
            return Ok(expr);
        }
        let field = self.field(&expr)?;
        let udf = match pg_type(&field) {
            PgType::Jsonb => Some(jsonb_key_udfs().0),
            PgType::Bpchar => Some(bpchar_key_udf()),
            of @ PgType::Json => return Err(no_equality(&of)),
            _ => key_udf(field.data_type()),
        };
        Ok(match udf {
            Some(udf) if !is_call_of(&expr, &udf) => called(&udf, vec![expr]),
            Some(_) | None => expr,
        })
    }
}

impl Scope<'_> {
    /// As `key`, where the value is shown too: equal values become one of them.
    pub(super) fn canonical(&self, expr: Expr) -> Result<Expr> {
        let field = self.field(&expr)?;
        match field.data_type() {
            _ if pg_type(&field) == PgType::Bpchar => Ok(expr),
            // Their keys cannot be shown.
            DataType::List(item) if !item.data_type().is_floating() => Ok(expr),
            _ if pg_type(&field) == PgType::Jsonb => Ok(called(&jsonb_key_udfs().1, vec![expr])),
            DataType::LargeBinary => super::calls::library(self, "trim_scale", vec![expr]),
            // The column of a window is known by its form, and has few values.
            DataType::Interval(_) if matches!(&expr, Expr::Column(column) if column.name == "window_size") => Ok(expr),
            DataType::Interval(_) => Ok(called(&interval_canonical_udf(), vec![expr])),
            _ => self.key(expr),
        }
    }
}

fn no_equality(of: &PgType) -> Error {
    Error::new("42883", format!("could not identify an equality operator for type {of}"))
}

fn is_call_of(expr: &Expr, udf: &ScalarUDF) -> bool {
    matches!(expr, Expr::ScalarFunction(call) if call.func.as_ref() == udf)
}

/// A float other than zero and NaN has one form only.
fn is_plain_literal(expr: &Expr) -> bool {
    match expr {
        Expr::Literal(ScalarValue::Float64(Some(value)), None) => *value != 0.0 && !value.is_nan(),
        Expr::Literal(ScalarValue::Float32(Some(value)), None) => *value != 0.0 && !value.is_nan(),
        _ => false,
    }
}

fn null(to: &Target, context: CastContext) -> Result<Expr> {
    if to.of == PgType::Text && context == CastContext::Explicit {
        // Else `NULL::text` would be taken for a literal without a type again.
        let literal = Expr::Literal(ScalarValue::Utf8(None), None);
        return Ok(Expr::Cast(Cast::new(Box::new(literal), DataType::Utf8)));
    }
    let value = ScalarValue::try_from(&to.arrow_type()).map_err(|error| from_datafusion(error, ""))?;
    Ok(literal(value, &to.of))
}

/// Conversions that lose nothing, which Arrow does as PostgreSQL does.
fn widened(from: &PgType, to: &PgType) -> Option<DataType> {
    use PgType::{Float4, Float8, Int2, Int4, Int8, Numeric};
    Some(match (from, to) {
        (Int2, Int4) => DataType::Int32,
        (Int2 | Int4, Int8) => DataType::Int64,
        (Int2 | Int4 | Int8 | Float4, Float8) => DataType::Float64,
        (Int2, Numeric) => DataType::Decimal128(5, 0),
        (Int4, Numeric) => DataType::Decimal128(10, 0),
        (Int8, Numeric) => DataType::Decimal128(19, 0),
        _ => return None,
    })
}

/// A literal needs no more digits than it has, so that products with it stay decimals.
fn literal_type(value: &ScalarValue, of: &DataType) -> DataType {
    let digits = |value: u64| u8::try_from(value.checked_ilog10().unwrap_or(0) + 1).unwrap_or(20);
    match (of, value) {
        (DataType::Decimal128(..), ScalarValue::Int64(Some(value))) => {
            DataType::Decimal128(digits(value.unsigned_abs()), 0)
        }
        (DataType::Decimal128(..), ScalarValue::Int32(Some(value))) => {
            DataType::Decimal128(digits(u64::from(value.unsigned_abs())), 0)
        }
        _ => of.clone(),
    }
}

/// A decimal that holds all values; `rescale`: of any scale.
fn common_decimal(found: &[(u8, i8)], rescale: bool) -> Option<DataType> {
    let scale = found.iter().map(|(_, scale)| *scale).max()?;
    if !rescale && found.iter().any(|(_, other)| *other != scale) {
        return None;
    }
    let whole = found.iter().map(|(precision, scale)| i16::from(*precision) - i16::from(*scale)).max()?;
    let precision = u8::try_from(whole + i16::from(scale)).ok().filter(|precision| *precision <= 38)?;
    Some(DataType::Decimal128(precision.max(1), scale))
}
