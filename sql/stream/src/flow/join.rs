//! Joins, both sides kept by key or one of them looked up.
//!
//! What a change of the left side adds is met with the right side as it was, what a change of the right side adds with
//! the left as it then is: each pair comes once (the bilinear form of Gupta & Mumick, "Maintenance of Materialized
//! Views", 1995). For outer, semi and anti joins each row knows how many it meets; where that number
//! leaves or reaches 0, the row that stands alone goes or comes.

use std::sync::Arc;

use arrow::{
    array::{
        Array, ArrayRef, AsArray, BooleanArray, RecordBatch, TimestampMicrosecondArray, UInt32Array, new_null_array,
    },
    compute::take_record_batch,
    datatypes::{SchemaRef, TimestampMicrosecondType},
};
use datafusion::{common::JoinType, physical_expr::PhysicalExpr};
use ebap_sql::{Expiry, OnError};
use hashbrown::HashMap;

use super::{
    Gathered,
    arrangement::{Arrangement, Keep, Keys},
    delta::Delta,
    time_range::TimeRange,
};
use crate::{
    Result,
    failed_rows::{Failing, without},
    rows::{physical, record_batch},
};

/// Pairs that the condition is asked about at once.
const TRIED_MAX: usize = 65_536;
/// Rows that meet the other side at once when a state is read back.
const SETTLED_ROWS: usize = 4_096;

#[derive(Debug)]
pub(crate) struct JoinOp {
    left: Arrangement,
    right: Arrangement,
    kind: JoinType,
    lookup: bool,
    null_equals_null: bool,
    /// Where the condition bounds the times of a pair.
    range: Option<TimeRange>,
    filter: Option<(Arc<dyn PhysicalExpr>, SchemaRef)>,
    schema: SchemaRef,
    joined: SchemaRef,
}

/// Pairs that meet: rows of both sides in one batch, and which rows they are.
struct Pairs {
    batch: RecordBatch,
    weights: Vec<i64>,
    /// Row of the change.
    of: Vec<u32>,
    /// Number of the other side's row.
    others: Vec<u32>,
}

/// Pairs whose keys are equal.
#[derive(Default)]
struct Tried {
    of: Vec<u32>,
    others: Vec<u32>,
    weights: Vec<i64>,
}

impl Tried {
    fn put(&mut self, of: u32, other: u32, weight: i64) {
        self.of.push(of);
        self.others.push(other);
        self.weights.push(weight);
    }
}

impl JoinOp {
    pub(crate) fn new(plan: &ebap_sql::Join, schema: &SchemaRef) -> Result<Self> {
        let (mut left_keys, mut right_keys) = (Vec::new(), Vec::new());
        for (left, right) in &plan.on {
            left_keys.push(physical(left, &plan.left_schema)?);
            right_keys.push(physical(right, &plan.right_schema)?);
        }
        let both = plan.left.schema.fields().iter().chain(plan.right.schema.fields());
        let joined = Arc::new(arrow::datatypes::Schema::new(
            both.map(|field| field.as_ref().clone().with_nullable(true)).collect::<Vec<_>>(),
        ));
        let range = if plan.lookup { None } else { TimeRange::of(plan) };
        let filter = match &plan.filter {
            Some(_) if range.is_some_and(|range| range.is_all) => None,
            None => None,
            Some((filter, schema)) => Some((physical(filter, schema)?, Arc::clone(&joined))),
        };
        let mut left = Arrangement::new(&plan.left.schema, left_keys, keep(plan.left_expiry, plan.left_ttl_us))?;
        let mut right = Arrangement::new(&plan.right.schema, right_keys, keep(plan.right_expiry, plan.right_ttl_us))?;
        if let Some(range) = range {
            left.order_by(range.left);
            right.order_by(range.right);
        }
        Ok(Self {
            left,
            right,
            range,
            kind: plan.kind,
            lookup: plan.lookup,
            null_equals_null: plan.null_equals_null,
            filter,
            schema: Arc::clone(schema),
            joined,
        })
    }

    /// Expressions that give the key of each row, left and right.
    pub(crate) fn exprs(&self) -> [&[Arc<dyn PhysicalExpr>]; 2] {
        [self.left.exprs(), self.right.exprs()]
    }

    /// Whether the right side is looked up, and brought up to date first.
    pub(crate) fn looks_up(&self) -> bool {
        self.lookup
    }

    /// Changes of one side become what comes out. Pairs are given on as they are found.
    pub(crate) fn apply(
        &mut self,
        is_left: bool,
        deltas: Vec<Delta>,
        failing: &Failing,
        out: &mut Gathered<'_>,
    ) -> Result<()> {
        for delta in deltas {
            if self.lookup && !is_left {
                let keys = self.right.keys(&delta.batch)?;
                self.right.add(&delta, &keys, None)?;
            } else {
                self.side(is_left, &delta, failing, out)?;
            }
        }
        Ok(())
    }

    fn side(&mut self, is_left: bool, delta: &Delta, failing: &Failing, out: &mut Gathered<'_>) -> Result<()> {
        let (own, other) = if is_left { (&self.left, &self.right) } else { (&self.right, &self.left) };
        let keys = own.keys(&delta.batch)?;
        let mut matches = vec![0_i64; delta.rows()];
        let mut met: HashMap<u32, i64> = HashMap::new();
        let shows_pairs = matches!(self.kind, JoinType::Inner | JoinType::Left | JoinType::Right | JoinType::Full);
        let counts_others = !self.lookup && self.shown_alone(is_left).is_some();
        self.pairs((is_left, delta, &keys), other, failing, &mut |pairs| {
            for ((of, other), weight) in pairs.of.iter().zip(&pairs.others).zip(&pairs.weights) {
                let own = delta.weight(*of as usize);
                // How often the other row is there.
                matches[*of as usize] += weight / own;
                if counts_others {
                    *met.entry(*other).or_default() += own;
                }
            }
            if shows_pairs && !pairs.of.is_empty() {
                let rows = pairs.batch.num_rows();
                let batch = record_batch(&self.schema, pairs.batch.columns().to_vec(), rows)?;
                out.put(Delta::weighted(batch, pairs.weights))?;
            }
            Ok(())
        })?;
        // The rows of the change themselves.
        let alone = |count: &i64| match (self.kind, is_left) {
            (JoinType::Left | JoinType::Full, true) | (JoinType::Right | JoinType::Full, false) => *count == 0,
            (JoinType::LeftAnti, true) => *count == 0,
            (JoinType::LeftSemi, true) => *count != 0,
            _ => false,
        };
        let rows: UInt32Array =
            matches.iter().enumerate().filter(|(_, count)| alone(count)).map(|(row, _)| row as u32).collect();
        if !rows.is_empty() {
            let own = delta.take(&rows)?;
            let batch = self.padded(is_left, &own.batch)?;
            out.put(own.with(batch))?;
        }
        // Rows of the other side that stand alone no more, or again.
        if !self.lookup {
            if let Some(changed) = self.count(is_left, met)? {
                out.put(changed)?;
            }
            let own = if is_left { &mut self.left } else { &mut self.right };
            own.add(delta, &keys, Some(&matches))?;
        }
        Ok(())
    }

    /// Columns of one side as the join shows them: NULL for the other side's, or none of them.
    fn padded(&self, is_left: bool, batch: &RecordBatch) -> Result<RecordBatch> {
        let rows = batch.num_rows();
        let mut columns = batch.columns().to_vec();
        if !matches!(self.kind, JoinType::LeftSemi | JoinType::LeftAnti) {
            let other = if is_left { &self.right } else { &self.left };
            let nulls = other.codec.schema().fields().iter().map(|field| new_null_array(field.data_type(), rows));
            if is_left {
                columns.extend(nulls);
            } else {
                columns = nulls.chain(columns).collect();
            }
        }
        record_batch(&self.schema, columns, rows)
    }

    /// Rows of the change with those of the other side that they meet, some at a time: memory follows neither the pairs
    /// that are tried nor those that pass.
    fn pairs(
        &self,
        (is_left, delta, keys): (bool, &Delta, &Keys),
        other: &Arrangement,
        failing: &Failing,
        give: &mut dyn FnMut(Pairs) -> Result<()>,
    ) -> Result<()> {
        let times = self.times(is_left, delta);
        let (mut tried, mut met) = (Tried::default(), Vec::new());
        for (row, key) in keys.each().enumerate() {
            if (keys.null[row] && !self.null_equals_null) || delta.weight(row) == 0 {
                continue;
            }
            met.clear();
            match (self.range, &times) {
                (Some(range), Some(times)) => {
                    let within = times.is_valid(row).then(|| range.met(is_left, times.value(row))).flatten();
                    within.into_iter().for_each(|within| other.of_key_within(key, &within, &mut met));
                }
                _ => met.extend(other.of_key(key)),
            }
            for number in met.drain(..) {
                tried.put(row as u32, number, delta.weight(row) * other.entry(number).weight);
                if tried.of.len() >= TRIED_MAX {
                    give(self.met((is_left, delta), std::mem::take(&mut tried), other, failing)?)?;
                }
            }
        }
        if tried.of.is_empty() {
            return Ok(());
        }
        give(self.met((is_left, delta), tried, other, failing)?)
    }

    /// The times by which rows of the change meet the other side.
    fn times(&self, is_left: bool, delta: &Delta) -> Option<TimestampMicrosecondArray> {
        let range = self.range?;
        let column = delta.batch.column(if is_left { range.left } else { range.right });
        column.as_primitive_opt::<TimestampMicrosecondType>().cloned()
    }

    /// The pairs that pass the condition.
    fn met(
        &self,
        (is_left, delta): (bool, &Delta),
        tried: Tried,
        other: &Arrangement,
        failing: &Failing,
    ) -> Result<Pairs> {
        let Tried { of, others, weights } = tried;
        let one_each = of.len() == delta.rows() && of.iter().enumerate().all(|(at, row)| at == *row as usize);
        let own = match one_each {
            true => delta.batch.clone(),
            false => take_record_batch(&delta.batch, &UInt32Array::from(of.clone()))?,
        };
        let met = other.codec.columns(others.iter().map(|number| other.row(*number)))?;
        let columns: Vec<ArrayRef> = match is_left {
            true => own.columns().iter().cloned().chain(met).collect(),
            false => met.into_iter().chain(own.columns().iter().cloned()).collect(),
        };
        let batch = record_batch(&self.joined, columns, of.len())?;
        self.filtered(Pairs { batch, weights, of, others }, failing)
    }

    fn filtered(&self, pairs: Pairs, failing: &Failing) -> Result<Pairs> {
        let Some((filter, _)) = &self.filter else { return Ok(pairs) };
        let mask = passing(filter, &pairs, failing)?;
        if mask.true_count() == mask.len() {
            return Ok(pairs);
        }
        let Pairs { batch, weights, of, others } = pairs;
        let passes = |at: usize| mask.is_valid(at) && mask.value(at);
        let batch = arrow::compute::filter_record_batch(&batch, &mask)?;
        let weights = weights.into_iter().enumerate().filter(|(at, _)| passes(*at)).map(|(_, one)| one).collect();
        let of = of.into_iter().enumerate().filter(|(at, _)| passes(*at)).map(|(_, one)| one).collect();
        let others = others.into_iter().enumerate().filter(|(at, _)| passes(*at)).map(|(_, one)| one).collect();
        Ok(Pairs { batch, weights, of, others })
    }

    /// The weight with which a row of the side that does not change comes (1) or goes (-1) as soon as it meets one; none
    /// where it is not shown by itself.
    fn shown_alone(&self, change_is_left: bool) -> Option<i64> {
        match (self.kind, change_is_left) {
            (JoinType::Left | JoinType::Full, false) | (JoinType::LeftAnti, false) => Some(-1),
            (JoinType::Right | JoinType::Full, true) => Some(-1),
            (JoinType::LeftSemi, false) => Some(1),
            _ => None,
        }
    }

    /// Counts what rows of the other side meet now. Gives those that no longer stand alone, and those that do again.
    fn count(&mut self, change_is_left: bool, changes: HashMap<u32, i64>) -> Result<Option<Delta>> {
        let Some(shows) = self.shown_alone(change_is_left) else { return Ok(None) };
        let other = if change_is_left { &mut self.right } else { &mut self.left };
        let mut moved: Vec<(u32, i64)> = Vec::new();
        for (row, by) in changes {
            let entry = other.entry_mut(row);
            let before = entry.matches;
            entry.matches += by;
            match (before, entry.matches) {
                (0, 0) => {}
                (0, _) => moved.push((row, shows * entry.weight)),
                (_, 0) => moved.push((row, -shows * entry.weight)),
                _ => {}
            }
        }
        if moved.is_empty() {
            return Ok(None);
        }
        let other = if change_is_left { &self.right } else { &self.left };
        let batch = other.codec.batch(moved.iter().map(|(row, _)| other.row(*row)))?;
        let batch = self.padded(!change_is_left, &batch)?;
        Ok(Some(Delta::weighted(batch, moved.into_iter().map(|(_, weight)| weight).collect())))
    }

    pub(crate) fn expire(&mut self, watermark: i64) {
        self.left.expire(watermark);
        self.right.expire(watermark);
    }

    pub(crate) fn sides(&mut self) -> [&mut Arrangement; 2] {
        [&mut self.left, &mut self.right]
    }

    pub(crate) fn size(&self) -> (usize, usize) {
        (self.left.rows() + self.right.rows(), self.left.size() + self.right.size())
    }

    /// Both sides have been taken back: every row meets what it met.
    pub(crate) fn settle(&mut self) -> Result<()> {
        if self.lookup || self.kind == JoinType::Inner {
            return Ok(());
        }
        // Pairs that fail were noted when they met first.
        let silent = Failing::new(OnError::Skip, 0);
        for is_left in [true, false] {
            let rows = if is_left { self.left.live() } else { self.right.live() };
            for part in rows.chunks(SETTLED_ROWS) {
                let own = if is_left { &self.left } else { &self.right };
                let other = if is_left { &self.right } else { &self.left };
                let delta = Delta::came(own.codec.batch(part.iter().map(|row| own.row(*row)))?);
                let keys = own.keys(&delta.batch)?;
                let mut matches = vec![0; part.len()];
                self.pairs((is_left, &delta, &keys), other, &silent, &mut |pairs| {
                    for (of, weight) in pairs.of.iter().zip(&pairs.weights) {
                        matches[*of as usize] += weight;
                    }
                    Ok(())
                })?;
                let own = if is_left { &mut self.left } else { &mut self.right };
                part.iter().zip(matches).for_each(|(row, matches)| own.entry_mut(*row).matches = matches);
            }
        }
        Ok(())
    }
}

/// Which pairs pass the condition. A pair that it cannot be computed for does not meet.
fn passing(filter: &Arc<dyn PhysicalExpr>, pairs: &Pairs, failing: &Failing) -> Result<BooleanArray> {
    let evaluate = |batch: &RecordBatch| -> Result<BooleanArray> {
        Ok(filter.evaluate(batch)?.into_array(batch.num_rows())?.as_boolean().clone())
    };
    let error = match evaluate(&pairs.batch) {
        Ok(mask) => return Ok(mask),
        Err(error) => error,
    };
    let bad = failing.rows_of(&pairs.batch, error, &|part| evaluate(part).map(drop))?;
    let came: Vec<_> = bad.iter().filter(|(row, _)| pairs.weights[*row] > 0).cloned().collect();
    failing.note(&pairs.batch, &came, &|_| None);
    let good = without(pairs.batch.num_rows(), &bad);
    let computed = evaluate(&arrow::compute::filter_record_batch(&pairs.batch, &good)?)?;
    let mut computed = computed.iter();
    Ok(good.values().iter().map(|good| if good { computed.next().flatten() } else { Some(false) }).collect())
}

fn keep(expiry: Option<Expiry>, ttl_us: Option<i64>) -> Keep {
    match (expiry, ttl_us) {
        (Some(expiry), _) => Keep::Until(expiry),
        (None, Some(ttl_us)) => Keep::For(ttl_us),
        (None, None) => Keep::Always,
    }
}
