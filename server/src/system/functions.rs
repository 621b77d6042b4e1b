//! Functions of PostgreSQL that clients ask about a server, a session and what exists.

use std::{fmt, sync::Arc, time::Duration};

use arrow::{
    array::{
        Array, ArrayRef, AsArray, BooleanArray, ListBuilder, StringArray, StringBuilder, TimestampMicrosecondArray,
    },
    compute::cast,
    datatypes::{DataType, Field, FieldRef, Float64Type, TimeUnit},
};
use async_trait::async_trait;
use datafusion::{
    error::{DataFusionError, Result as DataFusionResult},
    execution::FunctionRegistry,
    logical_expr::{
        ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TypeSignature,
        Volatility,
        async_udf::{AsyncScalarUDF, AsyncScalarUDFImpl},
    },
    prelude::SessionContext,
    scalar::ScalarValue,
};
use ebap_connector::time;
use ebap_sql::quoted;
use postgres_types::Type;

use super::{
    DATABASE, SERVER_VERSION, pg_catalog::Described, policies, privileges, roles, search_path::SearchPath, types,
};
use crate::{session::probe, wire_types::told_as};

/// The name of a relation by its number, as `regclass` is shown.
pub(super) const REGCLASS_NAME: &str = "regclassout";

/// The name of a type by its number, as `regtype` is shown.
pub(super) const REGTYPE_NAME: &str = "regtypeout";

/// From the arguments of a row, as text, to the value, as text.
type Run = Arc<dyn Fn(&[Option<&str>]) -> DataFusionResult<Option<String>> + Send + Sync>;

/// A function of arguments of any type. These functions are asked of a handful of rows, by clients that
/// write `'16385'` where another writes `16385`.
pub(super) struct Function {
    name: &'static str,
    signature: Signature,
    returns: DataType,
    run: Run,
}

impl Function {
    pub(super) fn new(
        name: &'static str,
        arguments: &[usize],
        returns: DataType,
        run: impl Fn(&[Option<&str>]) -> DataFusionResult<Option<String>> + Send + Sync + 'static,
    ) -> Self {
        Self::with_volatility(name, arguments, returns, Volatility::Stable, run)
    }

    pub(super) fn with_volatility(
        name: &'static str,
        arguments: &[usize],
        returns: DataType,
        volatility: Volatility,
        run: impl Fn(&[Option<&str>]) -> DataFusionResult<Option<String>> + Send + Sync + 'static,
    ) -> Self {
        let counts = arguments.iter().map(|count| match count {
            0 => TypeSignature::Nullary,
            count => TypeSignature::Any(*count),
        });
        Self { name, signature: Signature::one_of(counts.collect(), volatility), returns, run: Arc::new(run) }
    }
}

impl fmt::Debug for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Function").field("name", &self.name).finish_non_exhaustive()
    }
}

impl PartialEq for Function {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && Arc::ptr_eq(&self.run, &other.run)
    }
}

impl Eq for Function {}

impl std::hash::Hash for Function {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl ScalarUDFImpl for Function {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> DataFusionResult<DataType> {
        Ok(self.returns.clone())
    }

    fn return_field_from_args(&self, _: ReturnFieldArgs<'_>) -> DataFusionResult<FieldRef> {
        let field = Field::new(self.name, self.returns.clone(), true);
        Ok(Arc::new(if NAMES.contains(&self.name) { told_as(field, &Type::NAME) } else { field }))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        let is_scalar = args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let rows = if is_scalar { 1 } else { args.number_rows };
        let columns = args.args.into_iter().map(|arg| Ok(cast(&arg.into_array(rows)?, &DataType::Utf8)?));
        let columns = columns.collect::<DataFusionResult<Vec<ArrayRef>>>()?;
        let value = |row: usize| {
            let of = |column: &'_ ArrayRef| {
                let texts = column.as_string::<i32>().clone();
                texts.is_valid(row).then(|| texts.value(row).to_owned())
            };
            let values: Vec<Option<String>> = columns.iter().map(of).collect();
            (self.run)(&values.iter().map(Option::as_deref).collect::<Vec<_>>())
        };
        let values = (0..rows).map(value).collect::<DataFusionResult<StringArray>>()?;
        let values = cast(&values, &self.returns)?;
        Ok(match is_scalar {
            true => ColumnarValue::Scalar(ScalarValue::try_from_array(&values, 0)?),
            false => ColumnarValue::Array(values),
        })
    }
}

/// A function whose values a client is told of as another type.
#[derive(Debug, PartialEq, Eq, Hash)]
struct ToldAs {
    inner: ScalarUDF,
    of: Type,
}

impl ScalarUDFImpl for ToldAs {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, args: &[DataType]) -> DataFusionResult<DataType> {
        self.inner.return_type(args)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> DataFusionResult<FieldRef> {
        let field = self.inner.return_field_from_args(args)?;
        Ok(Arc::new(told_as(field.as_ref().clone(), &self.of)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        self.inner.invoke_with_args(args)
    }
}

/// `pg_sleep(seconds)`; it ends with its statement.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Sleep(Signature);

impl ScalarUDFImpl for Sleep {
    fn name(&self) -> &'static str {
        "pg_sleep"
    }

    fn signature(&self) -> &Signature {
        &self.0
    }

    fn return_type(&self, _: &[DataType]) -> DataFusionResult<DataType> {
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, _: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        Err(DataFusionError::Internal("pg_sleep waits for its time".to_owned()))
    }
}

#[async_trait]
impl AsyncScalarUDFImpl for Sleep {
    async fn invoke_async_with_args(&self, args: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        let seconds = cast(&args.args[0].to_array(args.number_rows)?, &DataType::Float64)?;
        let mut all = StringBuilder::new();
        for seconds in seconds.as_primitive::<Float64Type>() {
            let wait = seconds.map(|seconds| Duration::try_from_secs_f64(seconds.max(0.0)));
            if let Some(wait) = wait {
                // More than a duration can be is for ever.
                time::sleep(wait.unwrap_or(Duration::MAX)).await;
            }
            all.append_option(seconds.map(|_| ""));
        }
        Ok(ColumnarValue::Array(Arc::new(all.finish())))
    }
}

/// Functions whose texts are told as type `name`.
const NAMES: [&str; 9] = [
    "current_user",
    "user",
    "current_role",
    "session_user",
    "current_database",
    "current_catalog",
    "current_schema",
    "pg_get_userbyid",
    "getpgusername",
];

fn text_of_now() -> String {
    let now = TimestampMicrosecondArray::from(vec![time::now_us()]).with_timezone("+00:00");
    cast(&now, &DataType::Utf8).map(|text| text.as_string::<i32>().value(0).to_owned()).unwrap_or_default()
}

pub(super) fn truth(value: bool) -> Option<String> {
    Some(value.to_string())
}

/// Functions that are the same for all sessions.
pub(super) fn register(context: &SessionContext, described: &Arc<Described>) {
    let version = format!("PostgreSQL {SERVER_VERSION} (EBAP {})", env!("CARGO_PKG_VERSION"));
    let constants: [(&str, &[usize], Option<String>); 13] = [
        ("version", &[0], Some(version)),
        ("current_database", &[0], Some(DATABASE.to_owned())),
        ("current_catalog", &[0], Some(DATABASE.to_owned())),
        ("pg_get_function_sqlbody", &[1], None),
        ("pg_get_indexdef", &[1, 3], None),
        ("pg_get_serial_sequence", &[2], None),
        ("pg_get_function_result", &[1], None),
        ("pg_get_function_arguments", &[1], None),
        ("pg_get_function_identity_arguments", &[1], None),
        ("pg_get_triggerdef", &[1, 2], None),
        ("pg_tablespace_location", &[1], Some(String::new())),
        ("shobj_description", &[2], None),
        ("pg_size_pretty", &[1], Some("0 bytes".to_owned())),
    ];
    for (name, arguments, value) in constants {
        context.register_udf(Function::new(name, arguments, DataType::Utf8, move |_| Ok(value.clone())).into());
    }
    for name in [
        "pg_type_is_visible",
        "pg_function_is_visible",
        "pg_collation_is_visible",
        "pg_operator_is_visible",
        "pg_opclass_is_visible",
        "pg_ts_config_is_visible",
    ] {
        context.register_udf(Function::new(name, &[1], DataType::Boolean, |_| Ok(truth(true))).into());
    }
    for name in ["pg_table_size", "pg_database_size", "pg_indexes_size"] {
        context.register_udf(Function::new(name, &[1], DataType::Int64, |_| Ok(Some("0".to_owned()))).into());
    }
    let app = Arc::clone(&described.app);
    let user = move |args: &[Option<&str>]| Ok(number(args, 0).map(|oid| roles::name(&app.catalog(), oid)));
    context.register_udf(Function::new("pg_get_userbyid", &[1], DataType::Utf8, user).into());
    context.register_udf(roles::member_of(&described.app));
    let app = Arc::clone(&described.app);
    let of_policy =
        move |args: &[Option<&str>]| Ok(number(args, 0).and_then(|oid| policies::roles_of(&app.catalog(), oid)));
    context.register_udf(Function::new(policies::ROLES, &[1], DataType::Utf8, of_policy).into());
    // What PostgreSQL keeps as a tree is kept as a text here.
    let as_it_is = |args: &[Option<&str>]| Ok(args[0].map(str::to_owned));
    context.register_udf(Function::new("pg_get_expr", &[2, 3], DataType::Utf8, as_it_is).into());
    let of_object = Arc::clone(described);
    context.register_udf(
        Function::new("obj_description", &[1, 2], DataType::Utf8, move |args| {
            Ok(number(args, 0).and_then(|oid| of_object.comment(oid)))
        })
        .into(),
    );
    let of_view = Arc::clone(described);
    context.register_udf(
        Function::new("pg_get_viewdef", &[1, 2], DataType::Utf8, move |args| {
            Ok(number(args, 0).and_then(|oid| of_view.view_query(oid)))
        })
        .into(),
    );
    let of_column = Arc::clone(described);
    context.register_udf(
        Function::new("col_description", &[2], DataType::Utf8, move |args| {
            Ok(number(args, 0).zip(number(args, 1)).and_then(|(oid, column)| of_column.column_comment(oid, column)))
        })
        .into(),
    );
    context.register_udf(probe());
    let format =
        |args: &[Option<&str>]| Ok(number(args, 0).map(|oid| types::format(oid, number(args, 1).unwrap_or(-1))));
    context.register_udf(Function::new("format_type", &[2], DataType::Utf8, format).into());
    let shown = |args: &[Option<&str>]| {
        Ok(match (number(args, 0), args[0]) {
            (Some(0), _) => Some("-".to_owned()),
            (Some(oid), _) => Some(types::format(oid, -1)),
            // `pg_typeof` gives the name at once.
            (None, name) => name.map(str::to_owned),
        })
    };
    context.register_udf(Function::new(REGTYPE_NAME, &[1], DataType::Utf8, shown).into());
    let known = |args: &[Option<&str>]| Ok(args[0].and_then(types::number).map(|oid| oid.to_string()));
    context.register_udf(Function::new("to_regtype", &[1], DataType::Int32, known).into());
    for (name, volatility) in
        [("clock_timestamp", Volatility::Volatile), ("pg_postmaster_start_time", Volatility::Stable)]
    {
        let started = text_of_now();
        let moment = move |_: &[Option<&str>]| {
            Ok(Some(if volatility == Volatility::Volatile { text_of_now() } else { started.clone() }))
        };
        let of = DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into()));
        context.register_udf(Function::with_volatility(name, &[0], of, volatility, moment).into());
    }
    let port = described.app.config.pg_port.map(|port| port.to_string());
    for name in ["inet_server_port", "inet_client_port"] {
        let port = port.clone().filter(|_| name == "inet_server_port");
        context.register_udf(Function::new(name, &[0], DataType::Int32, move |_| Ok(port.clone())).into());
    }
    context.register_udf(Function::new("pg_is_in_recovery", &[0], DataType::Boolean, |_| Ok(truth(false))).into());
    let app = Arc::clone(&described.app);
    let version = move |_: &[Option<&str>]| Ok(Some(app.catalog().version.saturating_add(1).to_string()));
    context.register_udf(Function::new("txid_current", &[0], DataType::Int64, version).into());
    context
        .register_udf(AsyncScalarUDF::new(Arc::new(Sleep(Signature::any(1, Volatility::Volatile)))).into_scalar_udf());
    // There are no temporary schemas, and no locks that an application has.
    context
        .register_udf(Function::new("pg_my_temp_schema", &[0], DataType::Int32, |_| Ok(Some("0".to_owned()))).into());
    context
        .register_udf(Function::new("pg_is_other_temp_schema", &[1], DataType::Boolean, |_| Ok(truth(false))).into());
    context.register_udf(
        Function::new("pg_advisory_unlock_all", &[0], DataType::Utf8, |_| Ok(Some(String::new()))).into(),
    );
}

pub(super) fn number(args: &[Option<&str>], at: usize) -> Option<i32> {
    args.get(at).copied().flatten()?.trim().parse().ok()
}

/// Functions that answer from the settings of one session.
pub(super) fn register_session(
    registry: &mut dyn FunctionRegistry,
    path: &SearchPath,
    described: &Arc<Described>,
) -> DataFusionResult<()> {
    let mut all: Vec<ScalarUDF> = Vec::new();
    for name in ["current_user", "user", "current_role"] {
        let settings = Arc::clone(&path.settings);
        let user = move |_: &[Option<&str>]| Ok(Some(settings.current_user()));
        all.push(Function::new(name, &[0], DataType::Utf8, user).into());
    }
    let settings = Arc::clone(&path.settings);
    let user = move |_: &[Option<&str>]| Ok(settings.get("session_authorization").ok());
    all.push(Function::new("session_user", &[0], DataType::Utf8, user).into());
    all.extend(privileges::functions(path, described));
    let own = path.clone();
    let schema = move |_: &[Option<&str>]| Ok(own.effective(false).into_iter().next());
    all.push(Function::new("current_schema", &[0], DataType::Utf8, schema).into());
    all.push(current_schemas(path.clone()));
    let (own, known) = (path.clone(), Arc::clone(described));
    let visible = move |args: &[Option<&str>]| {
        let schema = number(args, 0).and_then(|oid| known.schema_of(oid));
        Ok(schema.and_then(|schema| truth(own.effective(true).contains(&schema))))
    };
    all.push(Function::new("pg_table_is_visible", &[1], DataType::Boolean, visible).into());

    let (own, known) = (path.clone(), Arc::clone(described));
    let name = move |args: &[Option<&str>]| {
        let Some(oid) = number(args, 0) else { return Ok(None) };
        let found = known.name_of(oid);
        Ok(Some(match found {
            Some((schema, name)) if own.leads_to(&schema, &name) => quoted(&name),
            Some((schema, name)) => format!("{}.{}", quoted(&schema), quoted(&name)),
            None if oid == 0 => "-".to_owned(),
            None => oid.to_string(),
        }))
    };
    all.push(Function::new(REGCLASS_NAME, &[1], DataType::Utf8, name).into());

    let settings = Arc::clone(&path.settings);
    let current = move |args: &[Option<&str>]| {
        let Some(name) = args[0] else { return Ok(None) };
        match settings.get(name) {
            Err(error) if args.get(1).copied().flatten() != Some("true") => {
                Err(DataFusionError::External(Box::new(error)))
            }
            value => Ok(value.ok()),
        }
    };
    all.push(Function::new("current_setting", &[1, 2], DataType::Utf8, current).into());
    let settings = Arc::clone(&path.settings);
    let set = move |args: &[Option<&str>]| {
        let (Some(name), local) = (args[0], args[2] == Some("true")) else { return Ok(None) };
        let value = settings.set(name, args[1].unwrap_or_default(), local);
        value.map(Some).map_err(|error| DataFusionError::External(Box::new(error)))
    };
    all.push(Function::with_volatility("set_config", &[3], DataType::Utf8, Volatility::Volatile, set).into());
    for function in all {
        registry.register_udf(Arc::new(function))?;
    }
    Ok(())
}

/// `current_schemas(implicit)`, the one of them that gives a list.
fn current_schemas(path: SearchPath) -> ScalarUDF {
    let of = DataType::List(Arc::new(Field::new("item", DataType::Utf8, true)));
    let run = move |args: &[ColumnarValue]| {
        let arrays = ColumnarValue::values_to_arrays(args)?;
        let implicit = cast(&arrays[0], &DataType::Boolean)?;
        let implicit = implicit.as_any().downcast_ref::<BooleanArray>();
        let mut lists = ListBuilder::new(StringBuilder::new());
        for row in 0..arrays[0].len() {
            let implicit = implicit.is_some_and(|values| values.is_valid(row) && values.value(row));
            lists.append_value(path.effective(implicit).into_iter().map(Some));
        }
        Ok(ColumnarValue::Array(Arc::new(lists.finish())))
    };
    let inner = datafusion::logical_expr::create_udf(
        "current_schemas",
        vec![DataType::Boolean],
        of,
        Volatility::Stable,
        Arc::new(run),
    );
    ScalarUDF::new_from_impl(ToldAs { inner, of: Type::NAME_ARRAY })
}
