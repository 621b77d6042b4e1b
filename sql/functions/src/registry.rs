//! The functions by name, each with the overloads that PostgreSQL has.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, LazyLock};

use arrow::array::ArrayRef;
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion_expr::ScalarUDF;
use ebap_values::{PgType, Result};

use crate::array::combine::item_field;
use crate::array::item_type;
use crate::kernel::{Args, Output, each_row, each_row_with};
use crate::library;
use crate::session::Session;
use crate::types::{arrow_field, arrow_type, pg_type, with_metadata};
use crate::udf::{Body, FieldOf, PgFunction, always};
use crate::values::as_type;

/// What an overload takes in one place.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Arg {
    /// Exactly this type.
    Of(PgType),
    /// Every type, as it is.
    Any,
    /// An array. Its elements and every `AnyElement` of the overload have one type.
    AnyArray,
    /// A value. All of an overload have one type, made common as in a CASE.
    AnyElement,
}

/// What an overload gives.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Returns {
    Of(PgType),
    SameAsArg(usize),
    /// An element of the array that this argument is.
    ElementOf(usize),
    /// An array of values such as this argument.
    ArrayOf(usize),
}

/// One function under a name.
#[derive(Clone, Debug)]
pub struct Overload {
    pub args: Vec<Arg>,
    /// Any number of these may follow the arguments; at least one, as in PostgreSQL.
    pub variadic: Option<Arg>,
    pub returns: Returns,
    pub udf: Arc<ScalarUDF>,
}

/// All overloads of a name.
#[derive(Clone, Debug)]
pub struct Function {
    pub name: &'static str,
    pub overloads: Vec<Overload>,
}

static FUNCTIONS: LazyLock<Vec<Function>> = LazyLock::new(|| {
    let mut book = Book::default();
    library::register(&mut book);
    book.functions.into_iter().map(|(name, overloads)| Function { name, overloads }).collect()
});

static BY_NAME: LazyLock<HashMap<&'static str, &'static Function>> =
    LazyLock::new(|| FUNCTIONS.iter().map(|function| (function.name, function)).collect());

/// The function of this name, in lower case.
pub fn function(name: &str) -> Option<&'static Function> {
    BY_NAME.get(name).copied()
}

/// Every function, by name.
pub fn functions() -> &'static [Function] {
    &FUNCTIONS
}

/// What an overload with other than typed arguments says of itself.
pub(crate) struct Shape {
    pub(crate) args: Vec<Arg>,
    pub(crate) variadic: Option<Arg>,
    pub(crate) returns: Returns,
}

/// The functions while they are gathered.
#[derive(Default)]
pub(crate) struct Book {
    functions: BTreeMap<&'static str, Vec<Overload>>,
}

impl Book {
    /// A function of each row alone.
    pub(crate) fn add<A: Args + 'static, R: Output + 'static>(
        &mut self,
        name: &'static str,
        f: impl Fn(A::Items<'_>) -> Result<R::Value> + Send + Sync + 'static,
    ) {
        let shape = Shape { args: A::args(), variadic: None, returns: R::returns() };
        self.add_body(name, shape, Arc::new(move |call| each_row::<A, R>(call, &f)));
    }

    /// A function with something that is made once per call.
    pub(crate) fn add_with<A: Args + 'static, R: Output + 'static, S: 'static>(
        &mut self,
        name: &'static str,
        state: impl Fn(&Session<'_>) -> Result<S> + Send + Sync + 'static,
        f: impl Fn(&mut S, A::Items<'_>) -> Result<R::Value> + Send + Sync + 'static,
    ) {
        let shape = Shape { args: A::args(), variadic: None, returns: R::returns() };
        self.add_body(name, shape, Arc::new(move |call| each_row_with::<A, R, S>(call, state(call.session)?, &f)));
    }

    /// A function that computes whole columns.
    pub(crate) fn add_body(&mut self, name: &'static str, shape: Shape, body: Body) {
        let field = field_of(shape.returns.clone());
        self.add_with_field(name, shape, field, body);
    }

    /// A function whose result has a narrower Arrow type than `returns` says.
    pub(crate) fn add_with_field(&mut self, name: &'static str, shape: Shape, field: FieldOf, body: Body) {
        let key = format!("{:?} {:?}", shape.args, shape.variadic);
        let udf = PgFunction::new(name, &key, field, body).into_udf();
        let Shape { args, variadic, returns } = shape;
        self.functions.entry(name).or_default().push(Overload { args, variadic, returns, udf });
    }
}

/// The field of a result, by those of the arguments.
fn field_of(returns: Returns) -> FieldOf {
    if let Returns::Of(of) = &returns {
        return always(of);
    }
    FieldOf::ByArguments(Arc::new(move |fields| match &returns {
        Returns::Of(of) => arrow_field("", of, true),
        Returns::SameAsArg(at) => fields.get(*at).map_or_else(null_field, canonical),
        Returns::ElementOf(at) => match fields.get(*at).map(|field| field.data_type()) {
            Some(DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _)) => {
                canonical(item)
            }
            _ => null_field(),
        },
        Returns::ArrayOf(at) => {
            let item = fields.get(*at).map_or_else(null_field, canonical);
            Field::new("", DataType::List(Arc::new(item.with_name(Field::LIST_FIELD_DEFAULT_NAME))), true)
        }
    }))
}

fn null_field() -> Field {
    Field::new("", DataType::Null, true)
}

/// The type that values of a field are computed in. A decimal stays one, as its values do.
pub(crate) fn canonical(field: &FieldRef) -> Field {
    let of = pg_type(field);
    let kept = match (field.data_type(), &of) {
        (list, PgType::Array(of)) => DataType::List(item_field(item_type(list), of)),
        (decimal @ (DataType::Decimal128(..) | DataType::Decimal256(..)), _) => decimal.clone(),
        _ => arrow_type(&of),
    };
    with_metadata(Field::new("", kept, true), &of)
}

/// The values in the type that `canonical` says.
pub(crate) fn canonical_array(array: &ArrayRef, of: &PgType) -> Result<ArrayRef> {
    let wanted = match (array.data_type(), of) {
        (DataType::Decimal128(..) | DataType::Decimal256(..), _) => return Ok(array.clone()),
        (list, PgType::Array(of)) => DataType::List(item_field(item_type(list), of)),
        _ => arrow_type(of),
    };
    as_type(array, &wanted)
}
