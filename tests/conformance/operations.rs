//! Every operation that is compared: the functions of the registry, the operators between all types, casts, and the
//! forms that are written like no function.

use std::sync::Arc;

use ebap_functions::{Arg, Overload, Returns, functions};
use ebap_values::PgType;

use super::{
    expression::Operation,
    forms,
    values::{ELEMENTS, TYPES, sql_name},
};

/// Written otherwise than as calls, in SQL; `forms` has them.
const FORMS: [&str; 9] = [
    "array_slice",
    "array_subscript",
    "similar_to_regex",
    "extract",
    "position",
    "overlaps",
    "normalize",
    "date_bin",
    "generate series",
];

/// Functions that PostgreSQL does not have.
const OURS: [&str; 4] = ["geo_lat", "geo_lng", "geo_distance", "geo_nearest"];

/// Operators between two values.
pub(crate) const BINARY: [&str; 30] = [
    "+", "-", "*", "/", "%", "^", "&", "|", "#", "<<", ">>", "||", "^@", "=", "<>", "<", "<=", ">", ">=", "~", "~*",
    "!~", "!~*", "~~", "~~*", "!~~", "!~~*", "&&", "@>", "<@",
];

/// Operators before a value.
pub(crate) const UNARY: [&str; 6] = ["-", "+", "~", "@", "|/", "||/"];

/// All operations that some type answers to.
pub(crate) fn all() -> Vec<Arc<Operation>> {
    let mut all = of_registry();
    all.extend(operators());
    all.extend(casts());
    all.extend(forms::forms());
    all.into_iter().map(Arc::new).collect()
}

/// One for each overload of each function, and for each type where an overload takes any.
pub(crate) fn of_registry() -> Vec<Operation> {
    let mut found = Vec::new();
    for function in
        functions().iter().filter(|function| !FORMS.contains(&function.name) && !OURS.contains(&function.name))
    {
        for overload in &function.overloads {
            found.extend(of_overload(function.name, overload));
        }
    }
    found
}

fn of_overload(name: &str, overload: &Overload) -> Vec<Operation> {
    let more = overload.variadic.iter().cycle().take(2).filter(|_| overload.variadic.is_some());
    let args: Vec<&Arg> = overload.args.iter().chain(more).collect();
    let holes: Vec<&str> = args.iter().map(|_| "{}").collect();
    let template = format!("{name}({})", holes.join(", "));
    let open = args.iter().any(|arg| !matches!(arg, Arg::Of(_)));
    let arrays = args.iter().any(|arg| matches!(arg, Arg::AnyArray | Arg::AnyElement));
    let choices: Vec<PgType> = match (open, arrays) {
        (false, _) => vec![PgType::Bool],
        (true, true) => ELEMENTS.to_vec(),
        (true, false) => TYPES.to_vec(),
    };
    let of_choice = |choice: &PgType| {
        let given: Vec<PgType> = args.iter().map(|arg| given(arg, choice)).collect();
        let returns = match &overload.returns {
            Returns::Of(of) => of.clone(),
            Returns::SameAsArg(at) => given.get(*at).cloned()?,
            Returns::ElementOf(_) => choice.clone(),
            Returns::ArrayOf(at) => PgType::Array(Box::new(given.get(*at).cloned()?)),
        };
        Some(Operation::new(template.clone(), &given, returns))
    };
    choices.iter().filter_map(of_choice).collect()
}

fn given(arg: &Arg, choice: &PgType) -> PgType {
    match arg {
        Arg::Of(of) => of.clone(),
        Arg::Any | Arg::AnyElement => choice.clone(),
        Arg::AnyArray => PgType::Array(Box::new(choice.clone())),
    }
}

/// The operators that PostgreSQL has between our types, for use inside of larger expressions.
fn operators() -> Vec<Operation> {
    use PgType::{
        Bool, Bytea, Date, Float4, Float8, Int2, Int4, Int8, Interval, Jsonb, Numeric, Text, Time, Timestamp,
        Timestamptz, Uuid,
    };
    let mut found = Vec::new();
    let mut add = |op: &str, left: &PgType, right: &PgType, returns: &PgType| {
        let args = [left.clone(), right.clone()];
        found.push(Operation::new(format!("({{}} {op} {{}})"), &args, returns.clone()));
    };
    let numbers = [Int2, Int4, Int8, Numeric, Float4, Float8];
    for (at, left) in numbers.iter().enumerate() {
        for (other, right) in numbers.iter().enumerate() {
            let wider = &numbers[at.max(other)];
            // REAL beside another kind of number is computed in doubles.
            let returns = if *wider == Float4 && at != other { &Float8 } else { wider };
            for op in ["+", "-", "*", "/"] {
                add(op, left, right, returns);
            }
            for op in ["=", "<>", "<", "<=", ">", ">="] {
                add(op, left, right, &Bool);
            }
            if at.max(other) < 4 {
                add("%", left, right, wider);
            }
        }
    }
    for of in [Int2, Int4, Int8] {
        for op in ["&", "|", "#"] {
            add(op, &of, &of, &of);
        }
        add("<<", &of, &Int4, &of);
        add(">>", &of, &Int4, &of);
    }
    add("^", &Numeric, &Numeric, &Numeric);
    add("^", &Float8, &Float8, &Float8);
    for of in [Bool, Text, Bytea, Date, Timestamp, Timestamptz, Time, Interval, Uuid, Jsonb] {
        for op in ["=", "<>", "<", "<=", ">", ">="] {
            add(op, &of, &of, &Bool);
        }
    }
    for (left, right) in [(Date, Timestamp), (Timestamp, Timestamptz), (Date, Timestamptz)] {
        add("<", &left, &right, &Bool);
        add("=", &right, &left, &Bool);
    }
    for op in ["~", "~*", "!~", "!~*", "~~", "~~*", "!~~", "!~~*", "^@"] {
        add(op, &Text, &Text, &Bool);
    }
    for of in [Text, Int4, Float8, Date, Bool, Timestamptz, Uuid, Numeric] {
        add("||", &Text, &of, &Text);
        add("||", &of, &Text, &Text);
    }
    add("||", &Bytea, &Bytea, &Bytea);
    for (left, right, returns) in [
        (&Date, &Int4, &Date),
        (&Date, &Interval, &Timestamp),
        (&Date, &Time, &Timestamp),
        (&Timestamp, &Interval, &Timestamp),
        (&Timestamptz, &Interval, &Timestamptz),
        (&Time, &Interval, &Time),
        (&Interval, &Interval, &Interval),
    ] {
        add("+", left, right, returns);
        add("+", right, left, returns);
        if left != &Date || right != &Time {
            add("-", left, right, returns);
        }
    }
    for (of, returns) in [(Date, Int4), (Timestamp, Interval), (Timestamptz, Interval), (Time, Interval)] {
        add("-", &of, &of, &returns);
    }
    for number in [&Float8, &Int4, &Numeric] {
        add("*", &Interval, number, &Interval);
        add("*", number, &Interval, &Interval);
        add("/", &Interval, number, &Interval);
    }
    for element in ELEMENTS {
        let array = PgType::Array(Box::new(element.clone()));
        for op in ["=", "<>", "<", "<=", ">", ">=", "&&", "@>", "<@"] {
            add(op, &array, &array, &Bool);
        }
        add("||", &array, &array, &array);
        add("||", &array, &element, &array);
        add("||", &element, &array, &array);
    }
    for of in numbers {
        for op in ["-", "+", "@"] {
            found.push(Operation::new(format!("({op} {{}})"), std::slice::from_ref(&of), of.clone()));
        }
    }
    for of in [Int2, Int4, Int8] {
        found.push(Operation::new("(~ {})", std::slice::from_ref(&of), of.clone()));
    }
    found.push(Operation::new("(- {})", &[Interval], Interval));
    found.push(Operation::new("(|/ {})", &[Float8], Float8));
    found.push(Operation::new("(||/ {})", &[Float8], Float8));
    found
}

/// From every type to every other, and into types of limited size.
fn casts() -> Vec<Operation> {
    let mut found = Vec::new();
    for from in TYPES {
        for to in TYPES {
            found.push(Operation::new(format!("({{}})::{}", sql_name(&to)), std::slice::from_ref(&from), to.clone()));
        }
    }
    let limited = [
        ("numeric(20,2)", PgType::Numeric),
        ("numeric(5)", PgType::Numeric),
        ("numeric(38,10)", PgType::Numeric),
        ("varchar(2)", PgType::Text),
        ("char(3)", PgType::Text),
        ("timestamp(0)", PgType::Timestamp),
        ("timestamptz(3)", PgType::Timestamptz),
        ("time(1)", PgType::Time),
        ("interval(2)", PgType::Interval),
    ];
    for (target, of) in limited {
        let kinds = if of == PgType::Numeric { vec![PgType::Int4, PgType::Float8] } else { Vec::new() };
        for from in kinds.into_iter().chain([of.clone(), PgType::Text]) {
            found.push(Operation::new(format!("({{}})::{target}"), &[from], of.clone()));
        }
    }
    for element in ELEMENTS {
        let array = PgType::Array(Box::new(element.clone()));
        found.push(Operation::new("({})::text", std::slice::from_ref(&array), PgType::Text));
        found.push(Operation::new(format!("({{}})::{}[]", sql_name(&element)), &[PgType::Text], array.clone()));
        found.push(Operation::new("({})::text[]", &[array], PgType::Array(Box::new(PgType::Text))));
    }
    found
}
