//! Makes whole queries, in batch and as materialized views.

use ebap_tests::random::Random;
use ebap_values::PgType;

use super::{pool::Pool, values::sql_name};

/// A query, and what kind it is of.
pub(crate) struct Query {
    pub(crate) sql: String,
    pub(crate) shape: String,
}

/// Aggregates by the types of their arguments.
const AGGREGATES: [(&str, &[PgType]); 58] = [
    ("count(*)", &[]),
    ("count({})", &[PgType::Text]),
    ("count(DISTINCT {})", &[PgType::Text]),
    ("count(DISTINCT {})", &[PgType::Float8]),
    ("count(DISTINCT {})", &[PgType::Numeric]),
    ("count(*) FILTER (WHERE {})", &[PgType::Bool]),
    ("count({}) FILTER (WHERE {})", &[PgType::Int4, PgType::Bool]),
    ("sum({})", &[PgType::Int4]),
    ("sum({})", &[PgType::Int8]),
    ("sum({})", &[PgType::Numeric]),
    ("sum({})", &[PgType::Float8]),
    ("sum({}) FILTER (WHERE {})", &[PgType::Numeric, PgType::Bool]),
    ("sum(DISTINCT {})", &[PgType::Int4]),
    ("sum(DISTINCT {})", &[PgType::Numeric]),
    ("sum({})", &[PgType::Interval]),
    ("avg({})", &[PgType::Int4]),
    ("avg({})", &[PgType::Int8]),
    ("avg({})", &[PgType::Numeric]),
    ("avg({})", &[PgType::Float8]),
    ("avg({})", &[PgType::Interval]),
    ("min({})", &[PgType::Int8]),
    ("min({})", &[PgType::Text]),
    ("min({})", &[PgType::Numeric]),
    ("min({})", &[PgType::Float8]),
    ("max({})", &[PgType::Float8]),
    ("max({})", &[PgType::Date]),
    ("max({})", &[PgType::Timestamp]),
    ("min({})", &[PgType::Timestamptz]),
    ("max({})", &[PgType::Interval]),
    ("max({})", &[PgType::Text]),
    ("min({})", &[PgType::Uuid]),
    ("min({})", &[PgType::Bytea]),
    ("min({})", &[PgType::Bool]),
    ("bool_and({})", &[PgType::Bool]),
    ("bool_or({})", &[PgType::Bool]),
    ("every({})", &[PgType::Bool]),
    ("bit_and({})", &[PgType::Int4]),
    ("bit_or({})", &[PgType::Int8]),
    ("bit_xor({})", &[PgType::Int4]),
    ("stddev({})", &[PgType::Int4]),
    ("stddev_pop({})", &[PgType::Numeric]),
    ("stddev_samp({})", &[PgType::Float8]),
    ("variance({})", &[PgType::Int8]),
    ("var_pop({})", &[PgType::Float8]),
    ("var_samp({})", &[PgType::Numeric]),
    ("corr({}, {})", &[PgType::Float8, PgType::Float8]),
    ("covar_pop({}, {})", &[PgType::Float8, PgType::Float8]),
    ("covar_samp({}, {})", &[PgType::Float8, PgType::Float8]),
    ("regr_slope({}, {})", &[PgType::Float8, PgType::Float8]),
    ("regr_count({}, {})", &[PgType::Float8, PgType::Float8]),
    ("string_agg({}, ',' ORDER BY id)", &[PgType::Text]),
    ("string_agg({}, {} ORDER BY id DESC)", &[PgType::Text, PgType::Text]),
    ("array_agg({} ORDER BY id)", &[PgType::Int4]),
    ("array_agg({} ORDER BY id)", &[PgType::Timestamptz]),
    ("array_agg(DISTINCT {})", &[PgType::Text]),
    ("percentile_cont(0.5) WITHIN GROUP (ORDER BY {})", &[PgType::Float8]),
    ("percentile_disc(0.25) WITHIN GROUP (ORDER BY {})", &[PgType::Int4]),
    ("mode() WITHIN GROUP (ORDER BY {})", &[PgType::Int4]),
];

const OVER: [(&str, &[PgType]); 16] = [
    ("row_number()", &[]),
    ("rank()", &[]),
    ("dense_rank()", &[]),
    ("percent_rank()", &[]),
    ("cume_dist()", &[]),
    ("ntile(4)", &[]),
    ("lag({})", &[PgType::Int4]),
    ("lead({}, 2, 'none')", &[PgType::Text]),
    ("first_value({})", &[PgType::Text]),
    ("last_value({})", &[PgType::Numeric]),
    ("nth_value({}, 2)", &[PgType::Int4]),
    ("sum({})", &[PgType::Int4]),
    ("avg({})", &[PgType::Numeric]),
    ("count(*)", &[]),
    ("max({})", &[PgType::Date]),
    ("sum({})", &[PgType::Float8]),
];

const FRAMES: [&str; 6] = [
    "",
    "ROWS BETWEEN 2 PRECEDING AND CURRENT ROW",
    "ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING",
    "ROWS BETWEEN CURRENT ROW AND 1 FOLLOWING",
    "RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW",
    "GROUPS BETWEEN 1 PRECEDING AND 1 FOLLOWING",
];

/// Keys that are grouped, joined and ordered by.
const KEYS: [PgType; 9] = [
    PgType::Text,
    PgType::Bool,
    PgType::Int4,
    PgType::Numeric,
    PgType::Float8,
    PgType::Date,
    PgType::Timestamptz,
    PgType::Interval,
    PgType::Uuid,
];

pub(crate) struct Queries<'a> {
    pub(crate) random: Random,
    pub(crate) pool: &'a Pool,
    /// The relation that is read: a table whose rows change, or a stream.
    pub(crate) from: &'a str,
}

impl Queries<'_> {
    fn some(&mut self, of: &PgType) -> String {
        self.pool.of(&mut self.random, of)
    }

    fn key(&mut self) -> (String, PgType) {
        let of = self.random.of(&KEYS).clone();
        (self.some(&of), of)
    }

    fn filled(&mut self, template: &str, types: &[PgType]) -> (String, String) {
        let (mut sql, mut shape) = (template.to_owned(), template.to_owned());
        for of in types {
            let expression = self.some(of);
            sql = sql.replacen("{}", &expression.replace("{}", "\u{1}"), 1);
            shape = shape.replacen("{}", &format!("<{}>", sql_name(of)), 1);
        }
        (sql.replace('\u{1}', "{}"), shape)
    }

    fn aggregate(&mut self) -> (String, String) {
        let (template, types) = *self.random.of(&AGGREGATES);
        self.filled(template, types)
    }

    fn condition(&mut self) -> String {
        if self.random.one_in(2) { String::new() } else { format!(" WHERE {}", self.some(&PgType::Bool)) }
    }

    pub(crate) fn query(&mut self, only_views: bool) -> Query {
        let kinds = if only_views { 6 } else { 12 };
        match self.random.below(kinds) {
            0 => self.filter(),
            1 | 2 => self.grouped(),
            3 => self.whole(),
            4 => self.distinct(),
            5 => self.nested(),
            6 => self.over(),
            7 => self.join(),
            8 => self.set(),
            9 => self.sub_query(),
            10 => self.ordered(),
            _ => self.sets_of_groups(),
        }
    }

    fn filter(&mut self) -> Query {
        let ((value, of), from) = (self.key(), self.from);
        let condition = self.some(&PgType::Bool);
        let sql = format!("SELECT id, {value} AS x FROM {from} WHERE {condition}");
        Query { sql, shape: format!("WHERE, <{}>", sql_name(&of)) }
    }

    fn grouped(&mut self) -> Query {
        let ((key, of), (aggregate, shape), from) = (self.key(), self.aggregate(), self.from);
        let condition = self.condition();
        let having = match self.random.below(6) {
            0 => " HAVING count(*) > 1".to_owned(),
            1 => format!(" HAVING bool_or({})", self.some(&PgType::Bool)),
            2 => " HAVING count(*) > 1 AND 10 / (count(*) - 1) > 0".to_owned(),
            _ => String::new(),
        };
        let sql = format!("SELECT {key} AS g, {aggregate} AS a FROM {from}{condition} GROUP BY 1{having}");
        Query { sql, shape: format!("GROUP BY <{}>: {shape}", sql_name(&of)) }
    }

    fn whole(&mut self) -> Query {
        let ((first, shape), (second, other), from) = (self.aggregate(), self.aggregate(), self.from);
        let condition = self.condition();
        let sql = format!("SELECT {first} AS a, {second} AS b FROM {from}{condition}");
        Query { sql, shape: format!("aggregates {shape}, {other}") }
    }

    fn distinct(&mut self) -> Query {
        let ((first, of), (second, other), from) = (self.key(), self.key(), self.from);
        let sql = format!("SELECT DISTINCT {first} AS x, {second} AS y FROM {from}");
        Query { sql, shape: format!("DISTINCT <{}>, <{}>", sql_name(&of), sql_name(&other)) }
    }

    fn nested(&mut self) -> Query {
        let ((key, of), number, from) = (self.key(), self.some(&PgType::Int4), self.from);
        let inner = format!("SELECT {key} AS k, count(*) AS n, sum({number}) AS s FROM {from} GROUP BY 1");
        let sql = match self.random.below(3) {
            0 => format!("SELECT n, count(*) AS m, min(s) AS l FROM ({inner}) z GROUP BY n"),
            1 => format!("SELECT max(n) AS m, sum(s) AS t FROM ({inner}) z"),
            _ => format!("SELECT k, n + 1 AS n, coalesce(s, 0) AS s FROM ({inner}) z WHERE n > 1 OR s IS NULL"),
        };
        Query { sql, shape: format!("GROUP BY of GROUP BY <{}>", sql_name(&of)) }
    }

    fn over(&mut self) -> Query {
        let (template, types) = *self.random.of(&OVER);
        let ((call, shape), (part, part_of), (order, order_of)) =
            (self.filled(template, types), self.key(), self.key());
        let direction = *self.random.of(&["", "DESC", "NULLS FIRST", "DESC NULLS LAST"]);
        let frame = *self.random.of(&FRAMES);
        let sql = format!(
            "SELECT id, {call} OVER (PARTITION BY {part} ORDER BY {order} {direction}, id {frame}) AS w FROM {}",
            self.from
        );
        let shape =
            format!("{shape} OVER (PARTITION BY <{}> ORDER BY <{}> {frame})", sql_name(&part_of), sql_name(&order_of));
        Query { sql, shape }
    }

    fn join(&mut self) -> Query {
        let join = *self.random.of(&["JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN"]);
        let column = *self.random.of(&["i2", "i4", "tx", "bo", "da", "nu", "f8", "uu", "tz", "ts"]);
        let more = if join != "FULL JOIN" && self.random.one_in(3) { " AND a.i4 < b.i8" } else { "" };
        let from = self.from;
        let sql = format!("SELECT a.id AS x, b.id AS y FROM {from} a {join} {from} b ON a.{column} = b.{column}{more}");
        Query { sql, shape: format!("{join} by {column}{more}") }
    }

    fn set(&mut self) -> Query {
        let op = *self.random.of(&["UNION", "UNION ALL", "INTERSECT", "EXCEPT"]);
        let (of, from) = (self.random.of(&KEYS).clone(), self.from);
        let other = match of {
            PgType::Int4 => self.random.of(&[PgType::Int4, PgType::Numeric, PgType::Float8, PgType::Int8]).clone(),
            _ => of.clone(),
        };
        let (left, right) = (self.some(&of), self.some(&other));
        let sql = format!("SELECT {left} AS x FROM {from} {op} SELECT {right} FROM {from}");
        Query { sql, shape: format!("<{}> {op} <{}>", sql_name(&of), sql_name(&other)) }
    }

    fn sub_query(&mut self) -> Query {
        let ((value, of), from) = (self.key(), self.from);
        let other = self.some(&of);
        let template = *self.random.of(&[
            "SELECT id FROM {f} WHERE {v} IN (SELECT {o} FROM {f})",
            "SELECT id FROM {f} WHERE {v} NOT IN (SELECT {o} FROM {f})",
            "SELECT id FROM {f} WHERE {v} NOT IN (SELECT z.o FROM (SELECT {o} AS o FROM {f}) z WHERE z.o IS NOT NULL)",
            "SELECT id FROM {f} a WHERE EXISTS (SELECT 1 FROM {f} b WHERE b.i4 = a.i2 AND b.id <> a.id)",
            "SELECT id FROM {f} a WHERE NOT EXISTS (SELECT 1 FROM {f} b WHERE b.tx = a.ty)",
            "SELECT id, (SELECT max({o}) FROM {f}) AS m FROM {f}",
            "SELECT id, (SELECT count(*) FROM {f} b WHERE b.ty = a.tx) AS m FROM {f} a",
            "WITH w AS (SELECT {v} AS v, id FROM {f}) SELECT a.id, b.id AS o FROM w a JOIN w b ON a.v = b.v AND a.id < b.id",
        ]);
        let sql = template.replace("{f}", from).replace("{v}", &value).replace("{o}", &other);
        Query { sql, shape: format!("{} of <{}>", template.replace("{f}", "d"), sql_name(&of)) }
    }

    fn ordered(&mut self) -> Query {
        let ((value, of), from) = (self.key(), self.from);
        let direction = *self.random.of(&["", "DESC", "NULLS FIRST", "DESC NULLS LAST"]);
        let limit = *self.random.of(&["LIMIT 7", "LIMIT 5 OFFSET 3", "OFFSET 30", "LIMIT ALL"]);
        let sql = match self.random.one_in(3) {
            true => format!("SELECT DISTINCT ON ({value}) {value} AS x, id FROM {from} ORDER BY 1 {direction}, id"),
            false => format!("SELECT id, {value} AS x FROM {from} ORDER BY {value} {direction}, id {limit}"),
        };
        Query { sql, shape: format!("ORDER BY <{}> {direction} {limit}", sql_name(&of)) }
    }

    fn sets_of_groups(&mut self) -> Query {
        let sets = *self.random.of(&["ROLLUP (bo, tx)", "CUBE (bo, ty)", "GROUPING SETS ((bo), (tx), ())"]);
        let ((aggregate, shape), from) = (self.aggregate(), self.from);
        let columns = if sets.contains("ty") { "bo, ty" } else { "bo, tx" };
        let sql = format!("SELECT {columns}, {aggregate} AS a FROM {from} GROUP BY {sets}");
        Query { sql, shape: format!("GROUP BY {sets}: {shape}") }
    }
}
