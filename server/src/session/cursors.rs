//! Cursors: queries that are declared by a name and read bit by bit, forward alone. Their rows are computed as they are
//! asked for, so that what is read in parts costs the memory of one part.

use std::{collections::HashMap, sync::Arc};

use arrow::{array::RecordBatch, datatypes::SchemaRef};
use datafusion::common::ParamValues;
use ebap_sql::{Declare, Direction};
use futures::{StreamExt, stream::BoxStream};
use parking_lot::Mutex;

use super::{Output, Planned, Result, Session};
use crate::pgwire::sqlstate::{SqlError, from_query};

/// Each is a query that runs.
const CURSORS_MAX: usize = 500;

#[derive(Default)]
pub(super) struct Cursors {
    by_name: HashMap<String, Cursor>,
    last: u64,
}

struct Cursor {
    /// No other cursor of the session has it, as names are used again.
    number: u64,
    schema: SchemaRef,
    binary: bool,
    hold: bool,
    /// It was declared in the transaction that is open, behind so many of its savepoints.
    savepoints: Option<usize>,
    /// None while a statement reads them, and behind an error.
    rows: Option<Rows>,
}

struct Rows {
    stream: BoxStream<'static, Result<RecordBatch>>,
    /// Came with the last batch, and was not asked for.
    rest: Option<RecordBatch>,
    /// Rows behind which it stands.
    read: u64,
    ended: bool,
}

impl Cursors {
    pub(super) fn schema(&self, name: &str) -> Option<SchemaRef> {
        self.by_name.get(name).map(|cursor| Arc::clone(&cursor.schema))
    }

    /// The transaction has ended.
    pub(super) fn end(&mut self, committed: bool) {
        self.by_name.retain(|_, cursor| cursor.savepoints.is_none() || (committed && cursor.hold));
        self.by_name.values_mut().for_each(|cursor| cursor.savepoints = None);
    }

    /// Ends cursors that were declared behind one savepoint more than so many.
    pub(super) fn roll_back_to(&mut self, savepoints: usize) {
        self.by_name.retain(|_, cursor| cursor.savepoints.is_none_or(|behind| behind <= savepoints));
    }

    /// There are so many savepoints now.
    pub(super) fn release(&mut self, savepoints: usize) {
        self.by_name
            .values_mut()
            .filter_map(|cursor| cursor.savepoints.as_mut())
            .for_each(|behind| *behind = savepoints.min(*behind));
    }

    pub(super) fn close_all(&mut self) {
        self.by_name.clear();
    }
}

/// Rows that a statement has taken to read them; they go back when it has.
struct Lease {
    cursors: Arc<Mutex<Cursors>>,
    name: String,
    number: u64,
    rows: Option<Rows>,
    skip: u64,
    take: u64,
}

impl Lease {
    /// Some of the rows that were asked for; none where all of them have come. After an error the cursor gives nothing.
    async fn next(&mut self) -> Result<Option<RecordBatch>> {
        loop {
            let Some(rows) = self.rows.as_mut().filter(|rows| !rows.ended && self.skip + self.take > 0) else {
                return Ok(None);
            };
            let batch = match rows.rest.take() {
                Some(batch) => batch,
                None => match rows.stream.next().await {
                    Some(Ok(batch)) => batch,
                    Some(Err(error)) => {
                        self.rows = None;
                        return Err(error);
                    }
                    None => {
                        rows.ended = true;
                        return Ok(None);
                    }
                },
            };
            let count = batch.num_rows();
            let skipped = count.min(usize::try_from(self.skip).unwrap_or(usize::MAX));
            let taken = (count - skipped).min(usize::try_from(self.take).unwrap_or(usize::MAX));
            (self.skip, self.take) = (self.skip - skipped as u64, self.take - taken as u64);
            rows.read += (skipped + taken) as u64;
            if skipped + taken < count {
                rows.rest = Some(batch.slice(skipped + taken, count - skipped - taken));
            }
            if taken > 0 {
                return Ok(Some(batch.slice(skipped, taken)));
            }
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let Some(rows) = self.rows.take() else { return };
        let mut cursors = self.cursors.lock();
        // It may have been closed meanwhile, and its name given to another one.
        if let Some(cursor) = cursors.by_name.get_mut(&self.name).filter(|cursor| cursor.number == self.number) {
            cursor.rows = Some(rows);
        }
    }
}

fn unknown(name: &str) -> SqlError {
    SqlError::new("34000", format!("cursor \"{name}\" does not exist"))
}

impl Rows {
    /// Counts the rows to pass over, and those to give behind them.
    ///
    /// # Errors
    /// 55000 for what lies behind.
    fn reach(&self, direction: Direction) -> Result<(u64, u64)> {
        let stands = self.read > 0 && !self.ended;
        match direction {
            Direction::Forward(0) | Direction::Relative(0) if !stands => Ok((0, 0)),
            Direction::Absolute(0) if self.read == 0 => Ok((0, 0)),
            Direction::Forward(count) if count > 0 => Ok((0, count)),
            Direction::ForwardAll => Ok((0, u64::MAX)),
            Direction::Absolute(row) if row > self.read => Ok((row - self.read - 1, 1)),
            Direction::Relative(rows) if rows > 0 => Ok((rows - 1, 1)),
            Direction::Forward(_) | Direction::Absolute(_) | Direction::Relative(_) | Direction::Backward => {
                Err(SqlError::new("55000", "cursor can only scan forward")
                    .hint("Declare it again, or take all rows and sort them there."))
            }
        }
    }
}

impl Session {
    /// Starts the query. `planned`: its plan, where the extended protocol has made it already.
    pub(super) async fn declare(
        &self,
        declare: &Declare,
        planned: Option<(Planned, ParamValues)>,
        text: &str,
    ) -> Result<Output> {
        let savepoints = self.transaction.lock().as_ref().map(super::Transaction::savepoints);
        if savepoints.is_none() && !declare.hold {
            return Err(SqlError::new("25P01", "DECLARE CURSOR can only be used in transaction blocks")
                .hint("Begin one, or declare it WITH HOLD."));
        }
        if declare.scroll {
            return Err(SqlError::new("0A000", "a cursor that scrolls is not supported")
                .hint("Leave SCROLL out: rows are read forward."));
        }
        if self.cursors.lock().by_name.contains_key(&declare.name) {
            return Err(SqlError::new("42P03", format!("cursor \"{}\" already exists", declare.name)));
        }
        if self.cursors.lock().by_name.len() >= CURSORS_MAX {
            return Err(SqlError::new("53400", "too many cursors in this session").hint("Close some first."));
        }
        let planned = match planned {
            Some((Planned { plan, schema, zone, generation }, values)) => {
                let plan = plan.with_param_values(values).map_err(|error| from_query(error, text))?;
                Planned { plan, schema, zone, generation }
            }
            None => self.plan(&declare.query, text, &[]).await?,
        };
        if let Output::Rows { schema, rows, .. } = self.execute(planned, text).await? {
            let rows = Some(Rows { stream: rows, rest: None, read: 0, ended: false });
            let mut cursors = self.cursors.lock();
            cursors.last += 1;
            let (number, binary, hold) = (cursors.last, declare.binary, declare.hold);
            let cursor = Cursor { number, schema, binary, hold, savepoints, rows };
            cursors.by_name.insert(declare.name.clone(), cursor);
        }
        Ok(Output::Done("DECLARE CURSOR".to_owned()))
    }

    /// `FETCH`, or `MOVE`, which gives the number of rows alone.
    pub(super) async fn fetch(&self, name: &str, direction: Direction, moves: bool) -> Result<Output> {
        let mut lease = {
            let mut cursors = self.cursors.lock();
            let cursor = cursors.by_name.get_mut(name).ok_or_else(|| unknown(name))?;
            let rows = cursor.rows.as_ref().ok_or_else(|| {
                SqlError::new("55000", format!("cursor \"{name}\" is read by another portal, or its query has failed"))
                    .hint("Close the other portal, or the cursor.")
            })?;
            let (skip, take) = rows.reach(direction)?;
            let (rows, number) = (cursor.rows.take(), cursor.number);
            Lease { cursors: Arc::clone(&self.cursors), name: name.to_owned(), number, rows, skip, take }
        };
        if moves {
            let mut moved = 0;
            while let Some(batch) = lease.next().await? {
                moved += batch.num_rows();
            }
            return Ok(Output::Done(format!("MOVE {moved}")));
        }
        let (schema, binary) = match self.cursors.lock().by_name.get(name) {
            Some(cursor) => (Arc::clone(&cursor.schema), cursor.binary),
            None => return Err(unknown(name)),
        };
        let rows = futures::stream::unfold(Some(lease), |lease| async {
            let mut lease = lease?;
            match lease.next().await {
                Ok(Some(batch)) => Some((Ok(batch), Some(lease))),
                Ok(None) => None,
                Err(error) => Some((Err(error), None)),
            }
        });
        Ok(Output::Rows { schema, rows: rows.boxed(), tag: "FETCH".to_owned(), binary })
    }

    pub(super) fn close(&self, name: Option<&str>) -> Result<Output> {
        let mut cursors = self.cursors.lock();
        match name {
            None => {
                cursors.close_all();
                Ok(Output::Done("CLOSE CURSOR ALL".to_owned()))
            }
            Some(name) => match cursors.by_name.remove(name) {
                Some(_) => Ok(Output::Done("CLOSE CURSOR".to_owned())),
                None => Err(unknown(name)),
            },
        }
    }

    /// Columns of an open cursor.
    pub(crate) fn cursor_schema(&self, name: &str) -> Option<SchemaRef> {
        self.cursors.lock().schema(name)
    }
}
