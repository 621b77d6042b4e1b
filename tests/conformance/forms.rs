//! Expressions that SQL writes in words, and what arguments of functions have to look like to mean something.

use ebap_values::PgType;

use super::{
    expression::Operation,
    values::{ELEMENTS, TYPES},
};

/// The fields of a moment; some of them fit some types alone.
const FIELDS: [&str; 21] = [
    "century",
    "day",
    "decade",
    "dow",
    "doy",
    "epoch",
    "hour",
    "isodow",
    "isoyear",
    "julian",
    "microseconds",
    "millennium",
    "milliseconds",
    "minute",
    "month",
    "quarter",
    "second",
    "timezone",
    "timezone_hour",
    "week",
    "year",
];

pub(crate) fn forms() -> Vec<Operation> {
    let mut found = of_any_type();
    found.extend(of_truth());
    found.extend(of_text());
    found.extend(of_time());
    found.extend(of_arrays());
    found
}

fn of_any_type() -> Vec<Operation> {
    let mut found = Vec::new();
    for of in TYPES {
        let args = |count: usize| vec![of.clone(); count];
        let mut add = |template: &str, count: usize, returns: &PgType| {
            found.push(Operation::new(template, &args(count), returns.clone()));
        };
        for template in ["coalesce({}, {})", "nullif({}, {})", "greatest({}, {}, {})", "least({}, {})"] {
            add(template, template.matches("{}").count(), &of);
        }
        for template in ["({} IS NULL)", "({} IS NOT NULL)", "({} IS DISTINCT FROM {})", "({} IS NOT DISTINCT FROM {})"]
        {
            add(template, template.matches("{}").count(), &PgType::Bool);
        }
        for template in [
            "({} BETWEEN {} AND {})",
            "({} NOT BETWEEN {} AND {})",
            "({} BETWEEN SYMMETRIC {} AND {})",
            "({} IN ({}, {}, NULL))",
            "({} NOT IN ({}, {}))",
            "(({}, {}) = ({}, {}))",
            "(({}, {}) < ({}, {}))",
            "(({}, {}) >= ({}, {}))",
            "(({}, {}) IS DISTINCT FROM ({}, {}))",
            "(ROW({}, {}) IS NULL)",
            "({} = ANY (ARRAY[{}, {}]))",
            "({} < ALL (ARRAY[{}, NULL]))",
        ] {
            add(template, template.matches("{}").count(), &PgType::Bool);
        }
        found.push(Operation::new(
            "CASE WHEN {} THEN {} ELSE {} END",
            &[PgType::Bool, of.clone(), of.clone()],
            of.clone(),
        ));
        let searched = [of.clone(), of.clone(), PgType::Int4];
        found.push(Operation::new("CASE {} WHEN {} THEN {} END", &searched, PgType::Int4));
    }
    found
}

fn of_truth() -> Vec<Operation> {
    let bool = PgType::Bool;
    let tests = ["TRUE", "FALSE", "UNKNOWN", "NOT TRUE", "NOT FALSE", "NOT UNKNOWN"];
    let tests = tests.iter().map(|test| format!("({{}} IS {test})"));
    let one =
        tests.chain(["(NOT {})".to_owned()]).map(|t| Operation::new(t, std::slice::from_ref(&bool), PgType::Bool));
    let two = ["({} AND {})", "({} OR {})"].map(|t| Operation::new(t, &[PgType::Bool, PgType::Bool], PgType::Bool));
    one.chain(two).collect()
}

fn of_text() -> Vec<Operation> {
    let (text, int) = (PgType::Text, PgType::Int4);
    let mut found = Vec::new();
    for (template, ints, returns) in [
        ("substring({} FROM {} FOR {})", 2, &text),
        ("substring({} FROM {})", 1, &text),
        ("substring({} FOR {})", 1, &text),
        ("overlay({} PLACING 'zz' FROM {} FOR {})", 2, &text),
        ("overlay({} PLACING 'zz' FROM {})", 1, &text),
    ] {
        let args: Vec<PgType> = std::iter::once(text.clone()).chain(vec![int.clone(); ints]).collect();
        found.push(Operation::new(template, &args, returns.clone()));
    }
    for template in [
        "trim({})",
        "trim(BOTH 'a ' FROM {})",
        "trim(LEADING FROM {})",
        "trim(TRAILING 'c' FROM {})",
        "substring({} FROM '[a-c]+')",
        "substring({} FROM '(.)b')",
        "substring({} SIMILAR '%#\"_b#\"%' ESCAPE '#')",
        "normalize({})",
        "normalize({}, NFD)",
        "normalize({}, NFKC)",
        "({} COLLATE \"C\")",
    ] {
        found.push(Operation::new(template, std::slice::from_ref(&text), text.clone()));
    }
    for template in [
        "({} LIKE 'a%')",
        "({} LIKE '_b%')",
        "({} NOT LIKE '%\\_%')",
        "({} LIKE 'a#%' ESCAPE '#')",
        "({} LIKE '%\\\\')",
        "({} ILIKE 'Ä%')",
        "({} NOT ILIKE 'A%')",
        "({} SIMILAR TO '%(b|d)%')",
        "({} NOT SIMILAR TO 'a{{1,2}}')",
        "({} ~ '^[a-c]+$')",
        "({} ~* 'STRASSE|Ä')",
        "({} ~ '\\d')",
        "({} ~ '^$')",
        "({} IS NORMALIZED)",
        "({} = ANY ('{{a,abc}}'))",
        "({} LIKE ANY (ARRAY['a%', '%c']))",
        "({} IN ('a', 'b', ''))",
    ] {
        found.push(Operation::new(
            template.replace("{{", "{").replace("}}", "}"),
            std::slice::from_ref(&text),
            PgType::Bool,
        ));
    }
    found.push(Operation::new("position({} IN {})", &[text.clone(), text.clone()], int));
    found.push(Operation::new("position({} IN {})", &[PgType::Bytea, PgType::Bytea], PgType::Int4));
    found.push(Operation::new("overlay({} PLACING '\\x00' FROM {})", &[PgType::Bytea, PgType::Int4], PgType::Bytea));
    found.push(Operation::new("trim(BOTH '\\x00' FROM {})", &[PgType::Bytea], PgType::Bytea));
    found
}

fn of_time() -> Vec<Operation> {
    use PgType::{Date, Interval, Time, Timestamp, Timestamptz};
    let mut found = Vec::new();
    for of in [Date, Timestamp, Timestamptz, Time, Interval] {
        for field in FIELDS {
            let template = format!("extract({field} FROM {{}})");
            found.push(Operation::new(template, std::slice::from_ref(&of), PgType::Numeric));
        }
    }
    for zone in ["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "-03:30", "EST", "Nowhere/City"] {
        let template = format!("({{}} AT TIME ZONE '{zone}')");
        found.push(Operation::new(template.clone(), &[Timestamp], Timestamptz));
        found.push(Operation::new(template, &[Timestamptz], Timestamp));
    }
    for stride in ["15 minutes", "7 days", "1 month", "0.5 seconds", "-1 hour", "0 seconds", "100000 years"] {
        for (of, origin) in [(Timestamp, "timestamp '2001-01-01'"), (Timestamptz, "timestamptz '2001-01-01 00:00+00'")]
        {
            let template = format!("date_bin('{stride}', {{}}, {origin})");
            found.push(Operation::new(template, std::slice::from_ref(&of), of.clone()));
        }
    }
    for literal in [
        "INTERVAL '1' YEAR",
        "INTERVAL '1-2' YEAR TO MONTH",
        "INTERVAL '1 02:03' DAY TO MINUTE",
        "INTERVAL '3' SECOND",
        "INTERVAL 'P1Y2M3DT4H5M6.7S'",
        "INTERVAL '1.5 months'",
        "INTERVAL '-1 day +02:03'",
    ] {
        found.push(Operation::new(literal, &[], Interval));
    }
    for of in [Date, Timestamp, Timestamptz, Time] {
        let args = vec![of.clone(); 4];
        found.push(Operation::new("(({}, {}) OVERLAPS ({}, {}))", &args, PgType::Bool));
    }
    found.push(Operation::new(
        "(({}, {}) OVERLAPS ({}, {}))",
        &[Timestamp, Interval, Timestamp, Interval],
        PgType::Bool,
    ));
    found
}

fn of_arrays() -> Vec<Operation> {
    let mut found = Vec::new();
    for element in ELEMENTS {
        let array = PgType::Array(Box::new(element.clone()));
        let two = [element.clone(), element.clone()];
        found.push(Operation::new("ARRAY[{}, {}]", &two, array.clone()));
        let mut add = |template: &str, more: &[PgType], returns: &PgType| {
            let args: Vec<PgType> = std::iter::once(array.clone()).chain(more.iter().cloned()).collect();
            found.push(Operation::new(template, &args, returns.clone()));
        };
        add("({})[{}]", &[PgType::Int4], &element);
        add("({})[2:3]", &[], &array);
        add("({})[:1]", &[], &array);
        add("({})[{}:{}]", &[PgType::Int4, PgType::Int4], &array);
        let args = [element.clone(), array.clone()];
        for (template, returns) in
            [("({} = ANY ({}))", PgType::Bool), ("({} <> ALL ({}))", PgType::Bool), ("({} > ANY ({}))", PgType::Bool)]
        {
            found.push(Operation::new(template, &args, returns));
        }
    }
    found
}

/// Arguments that mean something in this place of a function, as SQL; nothing where every value of the type does.
pub(crate) fn meaningful(template: &str, at: usize) -> &'static [&'static str] {
    let name = template.split('(').next().unwrap_or_default();
    match (name, at) {
        ("repeat", 1) | ("lpad" | "rpad", 1) => {
            &["0", "1", "-1", "3", "5", "100", "2147483647", "(-2147483648)", "NULL::int4"]
        }
        ("chr", 0) => &["0", "1", "65", "228", "8364", "128512", "55296", "1114111", "1114112", "(-1)"],
        ("factorial", 0) => &["0", "1", "20", "21", "100", "1000", "(-1)", "40000"],
        ("to_char", 1) => &[
            "'YYYY-MM-DD HH24:MI:SS.US'",
            "'FM999990.00'",
            "'Dy DD Mon YYYY'",
            "'FMDay, FMMonth DDth'",
            "'IYYY-IW-ID'",
            "'HH12 AM TZ OF'",
            "'999D99S'",
            "'$9,999.99MI'",
            "'RN'",
            "'9.99EEEE'",
            "'SSSSS MS J Q WW CC'",
            "'Y,YYY BC'",
            "'000PR'",
            "'\"lit\" V99'",
            "''",
        ],
        ("to_date" | "to_timestamp", 0) => {
            &["'2026-02-03'", "'03/02/2026'", "'Feb 3 26'", "''", "'2026-13-01'", "'20260203'", "'2026 044'", "'x'"]
        }
        ("to_date" | "to_timestamp", 1) => {
            &["'YYYY-MM-DD'", "'DD/MM/YYYY'", "'Mon DD YY'", "'YYYYMMDD'", "'YYYY DDD'", "'HH24:MI'", "''", "'IYYY IW'"]
        }
        ("to_number", 0) => &["'1,234.5'", "'-12'", "'12-'", "'<5>'", "''", "'abc'", "'1e5'"],
        ("to_number", 1) => &["'9,999.9'", "'S99'", "'99S'", "'999PR'", "''", "'99D9'", "'9V9'"],
        ("date_trunc", 0) => {
            &["'hour'", "'week'", "'MONTH'", "'quarter'", "'millennium'", "'microseconds'", "'dow'", "'x'"]
        }
        ("date_part", 0) => &["'epoch'", "'isodow'", "'second'", "'week'", "'timezone'", "'julian'", "'x'", "''"],
        ("date_trunc", 2) | ("timezone", 0) | ("make_timestamptz", 6) => {
            &["'UTC'", "'Europe/Berlin'", "'America/New_York'", "'+02'", "'Nowhere/City'", "''", "'asia/tokyo'"]
        }
        ("encode" | "decode", 1) => &["'hex'", "'base64'", "'escape'", "'x'", "'HEX'"],
        ("decode", 0) => &["'00ff'", "'zz'", "'YWJj'", "'a\\\\000'", "'YW Jj'", "'abc'", "''"],
        ("convert_to" | "convert_from", 1) => &["'UTF8'", "'LATIN1'", "'utf-8'", "'x'"],
        ("format", 0) => &["'%s-%s'", "'%1$s %I'", "'%L'", "'%%'", "'%-5s|'", "'%*s'", "'%z'", "'%3$s'", "'%'"],
        (
            "regexp_like"
            | "regexp_replace"
            | "regexp_match"
            | "regexp_count"
            | "regexp_instr"
            | "regexp_substr"
            | "regexp_split_to_array",
            1,
        ) => &[
            "'[a-c]+'",
            "'(a)(b)?'",
            "'.'",
            "''",
            "'('",
            "'\\d+'",
            "'^a|c$'",
            "'(?i)A'",
            "'a{2,1}'",
            "'[[:alpha:]]'",
            "'\\m\\w'",
            "'x*'",
            "'(?=a)'",
            "'(a)\\1'",
        ],
        ("regexp_replace", 2) => &["'<\\1>'", "'\\&\\&'", "''", "'$1'", "'\\'"],
        ("regexp_replace", 3) => &["'g'", "'gi'", "'z'", "''", "1", "2"],
        ("regexp_like" | "regexp_match" | "regexp_split_to_array", 2) => &["'i'", "'g'", "'x'", "'z'", "''", "'ni'"],
        ("width_bucket", 3) => &["1", "5", "0", "(-1)", "2147483647"],
        ("power" | "^", 1) => &["2", "0.5", "(-1)", "0", "10", "1000"],
        ("get_byte" | "set_byte" | "get_bit" | "set_bit", 1) => &["0", "1", "7", "(-1)", "100"],
        ("round" | "trunc", 1) => &["0", "1", "2", "(-1)", "(-5)", "20", "2147483647", "(-2147483648)"],
        ("exp", 0) => &["0", "1", "(-1)", "2.5", "709", "5999", "(-5999)"],
        _ => &[],
    }
}
