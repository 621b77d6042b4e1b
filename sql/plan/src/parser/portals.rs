//! Statements about what a session keeps by name: `DECLARE`, `FETCH`, `MOVE`, `CLOSE`, `PREPARE` and `EXECUTE`.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::{
    ast::{self, CastKind, DataType, ExactNumberInfo, Expr, Value, ValueWithSpan, VisitMut, VisitorMut},
    parser::Parser,
    tokenizer::Token,
};

use super::{Postgres, Statement, cursor::Cursor, query};
use crate::{Error, Result, error::from_parser};

/// `DECLARE name CURSOR FOR query`
#[derive(Clone, Debug)]
pub struct Declare {
    pub name: String,
    /// Its rows come in the binary format, whatever the client asks for.
    pub binary: bool,
    /// `SCROLL`: it is to be read backwards too.
    pub scroll: bool,
    /// `WITH HOLD`: it outlives its transaction.
    pub hold: bool,
    pub query: Box<ast::Statement>,
}

/// Which rows `FETCH` and `MOVE` go over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// The next so many.
    Forward(u64),
    ForwardAll,
    /// The row of this number alone, from 1.
    Absolute(u64),
    /// The row so many further on alone.
    Relative(u64),
    /// Any that goes back.
    Backward,
}

/// `PREPARE name (type, …) AS query`
#[derive(Clone, Debug)]
pub struct Prepare {
    pub name: String,
    /// Each parameter is cast to its type, where the statement names one.
    pub query: Box<ast::Statement>,
}

pub(super) fn declare(cursor: &mut Cursor<'_>) -> Result<Statement> {
    cursor.skip(1);
    let name = cursor.identifier()?;
    let (mut binary, mut scroll) = (false, false);
    loop {
        if cursor.take(&["BINARY"]) {
            binary = true;
        } else if cursor.take(&["NO", "SCROLL"]) {
            scroll = false;
        } else if cursor.take(&["SCROLL"]) {
            scroll = true;
        } else if !(cursor.take(&["INSENSITIVE"]) || cursor.take(&["ASENSITIVE"])) {
            break;
        }
    }
    cursor.expect(&["CURSOR"])?;
    let hold = cursor.take(&["WITH", "HOLD"]);
    if !hold {
        cursor.take(&["WITHOUT", "HOLD"]);
    }
    cursor.expect(&["FOR"])?;
    let query = rows(cursor)?;
    Ok(Statement::Declare(Box::new(Declare { name, binary, scroll, hold, query })))
}

/// The rest of the statement as a query.
pub(super) fn rows(cursor: &mut Cursor<'_>) -> Result<Box<ast::Statement>> {
    if cursor.finished() {
        return Err(cursor.unexpected());
    }
    let unexpected = cursor.unexpected();
    if let Statement::Query(query) = query(cursor)?
        && matches!(query.as_ref(), ast::Statement::Query(_))
    {
        return Ok(query);
    }
    Err(unexpected)
}

/// `FETCH`, and `MOVE`, which tells nothing of the rows.
pub(super) fn fetch(cursor: &mut Cursor<'_>) -> Result<Statement> {
    let moves = cursor.at(&["MOVE"]);
    cursor.skip(1);
    // The name may be what is a direction elsewhere.
    let direction = if cursor.rest().len() == 1 { Direction::Forward(1) } else { direction(cursor)? };
    if !cursor.take(&["FROM"]) {
        cursor.take(&["IN"]);
    }
    let name = cursor.identifier()?;
    cursor.end()?;
    Ok(Statement::Fetch { name, direction, moves })
}

fn direction(cursor: &mut Cursor<'_>) -> Result<Direction> {
    if cursor.take(&["NEXT"]) {
        return Ok(Direction::Forward(1));
    }
    if cursor.take(&["FIRST"]) {
        return Ok(Direction::Absolute(1));
    }
    if cursor.take(&["PRIOR"]) || cursor.take(&["LAST"]) {
        return Ok(Direction::Backward);
    }
    if cursor.take(&["ALL"]) || cursor.take(&["FORWARD", "ALL"]) {
        return Ok(Direction::ForwardAll);
    }
    if cursor.take(&["BACKWARD"]) {
        if !cursor.take(&["ALL"]) {
            count(cursor)?;
        }
        return Ok(Direction::Backward);
    }
    let of = |count: Option<i64>, forward: fn(u64) -> Direction| match count {
        None => forward(1),
        Some(count) => u64::try_from(count).map_or(Direction::Backward, forward),
    };
    if cursor.take(&["ABSOLUTE"]) {
        return Ok(of(Some(count(cursor)?.ok_or_else(|| cursor.unexpected())?), Direction::Absolute));
    }
    if cursor.take(&["RELATIVE"]) {
        return Ok(of(Some(count(cursor)?.ok_or_else(|| cursor.unexpected())?), Direction::Relative));
    }
    cursor.take(&["FORWARD"]);
    Ok(of(count(cursor)?, Direction::Forward))
}

fn count(cursor: &mut Cursor<'_>) -> Result<Option<i64>> {
    let minus = cursor.take_token(&Token::Minus);
    if !minus {
        cursor.take_token(&Token::Plus);
    }
    let position = cursor.position();
    let Some(Token::Number(digits, _)) = cursor.rest().first().map(|token| token.token.clone()) else {
        return if minus { Err(cursor.unexpected()) } else { Ok(None) };
    };
    cursor.skip(1);
    let number: i32 =
        digits.parse().map_err(|_| Error::syntax(format!("syntax error at or near \"{digits}\"")).at(position))?;
    Ok(Some(i64::from(if minus { -number } else { number })))
}

pub(super) fn close(cursor: &mut Cursor<'_>) -> Result<Statement> {
    cursor.skip(1);
    let name = if cursor.take(&["ALL"]) { None } else { Some(cursor.identifier()?) };
    cursor.end()?;
    Ok(Statement::Close { name })
}

pub(super) fn prepare(cursor: &mut Cursor<'_>) -> Result<Statement> {
    cursor.skip(1);
    let name = cursor.identifier()?;
    let mut types = Vec::new();
    if cursor.is(&Token::LParen) {
        let (inside, mut depth) = (cursor.group()?, 0);
        let parts = inside.split(|token| {
            depth += i32::from(token.token == Token::LParen) - i32::from(token.token == Token::RParen);
            depth == 0 && token.token == Token::Comma
        });
        for part in parts {
            if part.is_empty() {
                return Err(cursor.unexpected());
            }
            let mut parser = Parser::new(&Postgres).with_tokens_with_locations(part.to_vec());
            let of = parser.parse_data_type().map_err(|error| from_parser(&error, cursor.text()))?;
            types.push(without_length(of));
            let next = parser.peek_token();
            if next.token != Token::EOF {
                return Err(cursor.near(&next));
            }
        }
    }
    cursor.expect(&["AS"])?;
    let mut query = rows(cursor)?;
    let _ = VisitMut::visit(&mut query, &mut Typed(&types));
    Ok(Statement::Prepare(Box::new(Prepare { name, query })))
}

/// A parameter has a type without its length, as in PostgreSQL.
fn without_length(of: DataType) -> DataType {
    match of {
        DataType::Numeric(_) | DataType::Decimal(_) | DataType::Dec(_) => DataType::Numeric(ExactNumberInfo::None),
        DataType::Varchar(_) | DataType::CharVarying(_) | DataType::CharacterVarying(_) => DataType::Varchar(None),
        DataType::Timestamp(_, zone) => DataType::Timestamp(None, zone),
        DataType::Time(_, zone) => DataType::Time(None, zone),
        other => other,
    }
}

/// Gives parameters their types.
struct Typed<'a>(&'a [DataType]);

impl VisitorMut for Typed<'_> {
    type Break = ();

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        let Expr::Value(ValueWithSpan { value: Value::Placeholder(name), .. }) = &*expr else {
            return ControlFlow::Continue(());
        };
        let number = name.strip_prefix('$').and_then(|digits| digits.parse::<usize>().ok());
        let named = number.and_then(|number| self.0.get(number.checked_sub(1)?));
        // `unknown` leaves the type to the statement.
        if let Some(data_type) = named.filter(|of| !of.to_string().eq_ignore_ascii_case("unknown")).cloned() {
            *expr = Expr::Cast {
                kind: CastKind::Cast,
                expr: Box::new(expr.clone()),
                data_type,
                array: false,
                format: None,
            };
        }
        ControlFlow::Continue(())
    }
}

pub(super) fn execute(cursor: &mut Cursor<'_>) -> Result<Statement> {
    cursor.skip(1);
    let name = cursor.identifier()?;
    let mut values = Vec::new();
    if cursor.take_token(&Token::LParen) {
        loop {
            values.push(cursor.expr()?);
            if !cursor.take_token(&Token::Comma) {
                break;
            }
        }
        cursor.expect_token(&Token::RParen)?;
    }
    cursor.end()?;
    Ok(Statement::Execute { name, values })
}

/// `SELECT` of values, each as one of a type.
pub fn select_of_types(values: &[Expr], types: &[String]) -> String {
    let typed = values.iter().zip(types).map(|(value, of)| format!("CAST(({value}) AS {of})"));
    format!("SELECT {}", typed.collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests {
    use super::{Direction, Statement};
    use crate::parse;

    fn one(text: &str) -> Result<Statement, String> {
        let all = parse(text).map_err(|error| format!("{}: {}", error.sqlstate, error.message))?;
        all.into_iter().next().map(|parsed| parsed.statement).ok_or_else(|| "nothing".to_owned())
    }

    fn fetched(text: &str) -> (String, Direction, bool) {
        match one(text) {
            Ok(Statement::Fetch { name, direction, moves }) => (name, direction, moves),
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn every_form_of_fetch_is_read() {
        let forms = [
            ("FETCH c", Direction::Forward(1)),
            ("FETCH FROM c", Direction::Forward(1)),
            ("FETCH NEXT FROM c", Direction::Forward(1)),
            ("FETCH NEXT c", Direction::Forward(1)),
            ("FETCH 10 IN c", Direction::Forward(10)),
            ("fetch forward 10 from \"c\"", Direction::Forward(10)),
            ("FETCH FORWARD FROM c", Direction::Forward(1)),
            ("FETCH ALL FROM c", Direction::ForwardAll),
            ("FETCH FORWARD ALL FROM c", Direction::ForwardAll),
            ("FETCH 0 FROM c", Direction::Forward(0)),
            ("FETCH FIRST FROM c", Direction::Absolute(1)),
            ("FETCH ABSOLUTE 5 FROM c", Direction::Absolute(5)),
            ("FETCH RELATIVE +2 FROM c", Direction::Relative(2)),
            ("FETCH PRIOR FROM c", Direction::Backward),
            ("FETCH LAST FROM c", Direction::Backward),
            ("FETCH -1 FROM c", Direction::Backward),
            ("FETCH BACKWARD 3 FROM c", Direction::Backward),
            ("FETCH BACKWARD ALL FROM c", Direction::Backward),
        ];
        for (text, direction) in forms {
            assert_eq!(fetched(text), ("c".to_owned(), direction, false), "{text}");
        }
        assert_eq!(fetched("MOVE FORWARD ALL IN c"), ("c".to_owned(), Direction::ForwardAll, true));
        assert_eq!(fetched("FETCH next"), ("next".to_owned(), Direction::Forward(1), false));
        for wrong in ["FETCH", "FETCH 1", "FETCH ABSOLUTE FROM c", "FETCH 99999999999 FROM c", "FETCH ALL FROM c d"] {
            assert!(one(wrong).is_err_and(|error| error.starts_with("42601")), "{wrong}");
        }
    }

    #[test]
    fn a_cursor_is_declared_for_a_query_alone() {
        let Ok(Statement::Declare(found)) =
            one("DECLARE \"C 1\" BINARY NO SCROLL CURSOR WITH HOLD FOR WITH t AS (SELECT 1) SELECT * FROM t")
        else {
            panic!("a cursor");
        };
        assert_eq!((found.name.as_str(), found.binary, found.scroll, found.hold), ("C 1", true, false, true));
        for wrong in ["DECLARE c CURSOR FOR", "DECLARE c CURSOR FOR SET a = 1", "DECLARE c FOR SELECT 1"] {
            assert!(one(wrong).is_err_and(|error| error.starts_with("42601")), "{wrong}");
        }
    }

    #[test]
    fn a_statement_is_prepared_with_the_types_of_its_parameters() {
        let Ok(Statement::Prepare(found)) = one("PREPARE p (int, numeric(10, 2)) AS SELECT $1 + $2 + $3") else {
            panic!("a statement");
        };
        assert_eq!(found.query.to_string(), "SELECT CAST($1 AS INT) + CAST($2 AS NUMERIC) + $3");
        let Ok(Statement::Execute { name, values }) = one("EXECUTE p (1, 'a' || 'b')") else { panic!("a call") };
        assert_eq!((name.as_str(), values.len()), ("p", 2));
    }
}
