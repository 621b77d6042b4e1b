//! What the topic of changes says that a row was, one after the other, and whether what events met is explained by it.

use std::collections::HashMap;

use anyhow::{Context, ensure};
use futures::TryStreamExt;
use serde_json::Value;
use tokio_postgres::Client;

use super::people::Row;

/// Of each id the rows that it had, in the order of the topic; `None` where it had none, as at first.
#[derive(Debug, Default)]
pub struct History {
    states: HashMap<i64, Vec<Option<Row>>>,
}

/// An event, where it stood in its topic, and what it met.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Met {
    pub n: i64,
    pub lane: i32,
    pub offset: i64,
    pub id: i64,
    pub row: Option<Row>,
}

const NEVER: &[Option<Row>] = &[None];

impl History {
    /// Takes the next record of a partition; gives the version that it carries.
    ///
    /// # Errors
    /// Where it is no change event of `people`.
    pub fn add(&mut self, key: Option<&[u8]>, value: Option<&[u8]>) -> anyhow::Result<Option<i64>> {
        let key: Value = serde_json::from_slice(key.context("a change has no key")?).context("the key of a change")?;
        let id = key["user_id"].as_i64().with_context(|| format!("the key {key}"))?;
        // A tombstone says what the delete before it has said.
        let Some(value) = value else { return Ok(None) };
        let change: Value = serde_json::from_slice(value).context("a change")?;
        let row = match &change["after"] {
            Value::Null => None,
            after => {
                let text =
                    |name: &str| after[name].as_str().map(str::to_owned).with_context(|| format!("{name}: {after}"));
                let version = after["version"].as_i64().with_context(|| format!("version: {after}"))?;
                Some(Row { version, name: text("name")?, tier: text("tier")?, balance: text("balance")? })
            }
        };
        let version = row.as_ref().map(|row| row.version);
        self.states.entry(id).or_insert_with(|| vec![None]).push(row);
        Ok(version)
    }

    pub fn states(&self, id: i64) -> &[Option<Row>] {
        self.states.get(&id).map_or(NEVER, Vec::as_slice)
    }

    pub fn last(&self, id: i64) -> Option<&Row> {
        self.states(id).last().and_then(Option::as_ref)
    }

    /// The first place, from this one on, at which the id had this row.
    ///
    /// # Errors
    /// Where it had not, which is a wrong answer: a row that never was, or one from before what another event had met.
    pub fn place(&self, id: i64, row: Option<&Row>, from: usize) -> anyhow::Result<usize> {
        let states = self.states(id);
        let found = states.iter().skip(from).position(|state| state.as_ref() == row);
        found.map(|at| from + at).with_context(|| {
            let known = states.iter().position(|state| state.as_ref() == row);
            format!(
                "user {id} met {row:?}, known at {known:?} of {} and looked for from {from}: {states:?}",
                states.len()
            )
        })
    }
}

/// Rows of a view with columns n, lane, place, user_id, version, name, tier, balance.
///
/// # Errors
/// Where the view cannot be read.
pub async fn all_met(client: &Client, view: &str) -> anyhow::Result<Vec<Met>> {
    let sql = format!("SELECT n, lane, place, user_id, version, name, tier, CAST(balance AS TEXT) FROM {view}");
    let none: [&str; 0] = [];
    let rows = client.query_raw(&sql, none).await.with_context(|| sql.clone())?;
    let met = rows.map_err(anyhow::Error::from).and_then(async |row| {
        let version: Option<i64> = row.try_get(4)?;
        let row_met = version.map(|version| {
            anyhow::Ok(Row { version, name: row.try_get(5)?, tier: row.try_get(6)?, balance: row.try_get(7)? })
        });
        Ok(Met {
            n: row.try_get(0)?,
            lane: row.try_get(1)?,
            offset: row.try_get(2)?,
            id: row.try_get(3)?,
            row: row_met.transpose()?,
        })
    });
    met.try_collect().await.with_context(|| sql.clone())
}

/// Checks that events 0, 1, … are there once each, and that those of a user in a partition have met the user's rows in
/// the order of the topic of changes: nothing that never was, never an older row again, and behind a delete that one of them has
/// met nothing until the next row.
///
/// # Errors
/// The first event that is not so.
pub fn met_once(met: &mut [Met], events: usize, history: &History) -> anyhow::Result<()> {
    met.sort_by_key(|met| met.n);
    for (n, met) in met.iter().enumerate() {
        ensure!(met.n == n as i64, "event {n} is missing or there twice: {met:?}");
    }
    ensure!(met.len() == events, "{} of {events} events", met.len());
    met.sort_by_key(|met| (met.id, met.lane, met.offset));
    let mut before: Option<(&Met, usize)> = None;
    for met in met.iter() {
        let from = before.filter(|(other, _)| (other.id, other.lane) == (met.id, met.lane)).map_or(0, |(_, at)| at);
        let place = history.place(met.id, met.row.as_ref(), from).with_context(|| format!("event {met:?}"))?;
        before = Some((met, place));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn history() -> History {
        let mut history = History::default();
        let mut add =
            |value: Option<&str>| history.add(Some(br#"{"user_id":7}"#), value.map(str::as_bytes)).expect("a change");
        let row = |version| {
            Some(format!(
                r#"{{"op":"u","after":{{"user_id":7,"version":{version},"name":"a","tier":"b","balance":"1.00"}}}}"#
            ))
        };
        assert_eq!(add(row(1).as_deref()), Some(1));
        assert_eq!(add(row(2).as_deref()), Some(2));
        assert_eq!(add(Some(r#"{"op":"d","before":{"user_id":7},"after":null}"#)), None);
        assert_eq!(add(None), None);
        assert_eq!(add(row(5).as_deref()), Some(5));
        history
    }

    /// Of events of user 7 in one partition, in their order; 0 is nobody.
    fn check(versions: &[i64]) -> anyhow::Result<()> {
        let row = |version| Row { version, name: "a".to_owned(), tier: "b".to_owned(), balance: "1.00".to_owned() };
        let mut met: Vec<Met> = versions
            .iter()
            .zip(0..)
            .map(|(version, n)| Met { n, lane: 0, offset: n, id: 7, row: (*version > 0).then(|| row(*version)) })
            .collect();
        met_once(&mut met, versions.len(), &history())
    }

    #[test]
    fn what_was_met_follows_the_topic() {
        check(&[0, 1, 1, 2, 0, 0, 5]).expect("as the topic");
        check(&[0, 5]).expect("what lies between need not be met");
        assert!(check(&[2, 1]).is_err(), "an older row");
        assert!(check(&[1, 0, 2]).is_err(), "a row that was deleted");
        assert!(check(&[5, 0]).is_err(), "no delete is behind it");
        assert!(check(&[3]).is_err(), "never was");
    }
}
