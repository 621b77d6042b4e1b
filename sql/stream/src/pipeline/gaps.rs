//! Records that were gone before they were read, and what `ALTER … RESUME FROM` passes over.
//!
//! A gap is a step like any other, in which records were missed: position, accounting and state of all jobs go over it at
//! once, and the next epoch has it. A crash before that leaves the `RESUME FROM` to be done again.

use std::{collections::BTreeMap, sync::Arc};

use ebap_catalog::ResumeFrom;
use ebap_connector::{Offset, Position, Records, SplitId};
use ebap_sql::Run;

use super::{Pipeline, runtime::SourceRuntime};
use crate::{Result, checkpoint::Manifest};

/// First offset and the one behind the last of each gap, in order.
pub(crate) type Gaps = BTreeMap<SplitId, Vec<(i64, i64)>>;

/// Gaps of one split that are remembered, at the most; those behind them become part of the one before.
const GAPS_MAX: usize = 1_000;

/// To be passed over.
#[derive(Debug)]
pub(super) struct Gap {
    split: SplitId,
    from: Offset,
    pub(super) to: Offset,
}

/// Where to go on in each split whose next record is not there any more, if that was asked for and is not done yet.
pub(super) async fn asked(runtime: &SourceRuntime, manifest: &Manifest, run: Run) -> Result<BTreeMap<SplitId, Gap>> {
    let mut found = BTreeMap::new();
    let Some((_, wanted)) = run.resume_from.filter(|(number, _)| *number > manifest.resumed) else { return Ok(found) };
    for (split, from) in &manifest.position.0 {
        let bounds = runtime.source.bounds(split).await?;
        if bounds.earliest <= *from {
            continue;
        }
        let to = match wanted {
            ResumeFrom::Earliest => bounds.earliest,
            ResumeFrom::Latest => bounds.end,
        };
        found.insert(split.clone(), Gap { split: split.clone(), from: *from, to });
    }
    Ok(found)
}

impl Pipeline {
    /// The reader stands behind the gaps already.
    pub(super) async fn pass_over(&mut self, gaps: BTreeMap<SplitId, Gap>, run: Run) -> Result<()> {
        let number = run.resume_from.map_or(0, |(number, _)| number);
        if number <= self.resumed {
            return Ok(());
        }
        (self.resumed, self.dirty) = (number, true);
        let mut missing = Vec::new();
        for Gap { split, from, to } in gaps.into_values() {
            tracing::warn!(stream = self.name(), %split, from = from.0, to = to.0, "records are missed");
            let mut all = self.runtime.gaps.write();
            let own = all.entry(split.clone()).or_default();
            let full = own.len() >= GAPS_MAX;
            match own.last_mut() {
                Some(last) if full => last.1 = to.0,
                Some(_) | None => own.push((from.0, to.0)),
            }
            drop(all);
            missing.push(Records::missing(split, from, to));
        }
        self.step(missing).await
    }
}

/// Records that a new reader from there passes over, as the stream has.
pub(super) async fn behind(runtime: &Arc<SourceRuntime>, from: &Position) -> Result<Vec<Records>> {
    let mut missing = Vec::new();
    for (split, from) in &from.0 {
        let ahead: Vec<i64> = {
            let gaps = runtime.gaps.read();
            let ends = gaps.get(split).into_iter().flatten().map(|(_, to)| *to);
            ends.filter(|to| *to > from.0).collect()
        };
        let Some(last) = ahead.last().copied() else { continue };
        let earliest = runtime.source.bounds(split).await?.earliest;
        if earliest > *from {
            let to = ahead.into_iter().find(|to| *to >= earliest.0).unwrap_or(last);
            missing.push(Records::missing(split.clone(), *from, Offset(to)));
        }
    }
    Ok(missing)
}
