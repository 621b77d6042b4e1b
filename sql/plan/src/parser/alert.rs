//! `CREATE ALERT name ON view WHEN condition [FOR interval] [KEEP FIRING FOR interval] [NO DATA AFTER interval]
//! [BY (columns)] [WITH (options)]`, the optional parts in any order.

use datafusion::sql::sqlparser::tokenizer::Token;

use super::{AlertBody, cursor::Cursor, object::options};
use crate::{Error, Result, planner::interval_us};

pub(super) fn alert(cursor: &mut Cursor<'_>) -> Result<AlertBody> {
    cursor.expect(&["ON"])?;
    let from = cursor.object_name()?;
    cursor.expect(&["WHEN"])?;
    let condition = cursor.expr()?;
    let mut body = AlertBody { from, condition, hold: None, keep: None, no_data: None, by: None, options: Vec::new() };
    let mut with = false;
    while !cursor.finished() {
        let position = cursor.position();
        let once = |given: bool, clause: &str| match given {
            true => Err(Error::syntax(format!("{clause} is said twice")).at(position)),
            false => Ok(()),
        };
        if cursor.take(&["FOR"]) {
            once(body.hold.is_some(), "FOR")?;
            body.hold = Some(duration(cursor)?);
        } else if cursor.take(&["KEEP", "FIRING", "FOR"]) {
            once(body.keep.is_some(), "KEEP FIRING FOR")?;
            body.keep = Some(duration(cursor)?);
        } else if cursor.take(&["NO", "DATA", "AFTER"]) {
            once(body.no_data.is_some(), "NO DATA AFTER")?;
            body.no_data = Some(duration(cursor)?);
        } else if cursor.take(&["BY"]) {
            once(body.by.is_some(), "BY")?;
            body.by = Some(columns(cursor)?);
        } else if cursor.take(&["WITH"]) {
            once(with, "WITH")?;
            with = true;
            body.options = options(cursor)?;
        } else {
            let expected = "Expected FOR, KEEP FIRING FOR, NO DATA AFTER, BY or WITH.";
            return Err(cursor.unexpected().detail(expected));
        }
    }
    Ok(body)
}

fn columns(cursor: &mut Cursor<'_>) -> Result<Vec<String>> {
    let inside = cursor.group()?;
    let mut list = cursor.inside(inside);
    let mut found = Vec::new();
    while !list.finished() {
        found.push(list.identifier()?);
        if !list.take_token(&Token::Comma) {
            break;
        }
    }
    list.end()?;
    Ok(found)
}

/// `INTERVAL '5 minutes'`: as it was written, and in microseconds.
pub(super) fn duration(cursor: &mut Cursor<'_>) -> Result<(String, i64)> {
    let position = cursor.position();
    let interval = cursor.expr()?;
    match interval_us(&interval) {
        Some((us, _)) if us >= 0 => Ok((interval.to_string(), us)),
        _ => Err(Error::new("22023", format!("{interval} is no length of time"))
            .at(position)
            .hint("Write an interval of days and less, such as INTERVAL '5 minutes'.")),
    }
}
