//! Every view is the batch answer over the rows that were not late for it, in the end and at every
//! epoch that was looked at with its views; so are the values outside. No other state is ever shown.

use std::collections::BTreeMap;

use super::super::{
    cases, oracle,
    run::Run,
    script::SplitScript,
    seeds,
    sinks::keyed,
    store::{Seen, Shown},
};

/// The views of one epoch against the batch answer there.
async fn judge(run: &Run, seen: &Seen, shown: &[Shown]) -> Result<(), String> {
    let manifest = &seen.manifest;
    for (name, rows) in shown {
        let Some(case) = cases::case(name) else { continue };
        // One that catches up is in no epoch yet.
        if !run.id(name).is_some_and(|id| manifest.jobs.contains_key(&id)) {
            continue;
        }
        let answers = oracle::shown(&case, std::sync::Arc::clone(rows)).await;
        let watermark = manifest.watermarks.current;
        let wanted = oracle::answers(&case, &run.world.script.events, &manifest.position, &seen.late, watermark).await;
        for (answer, wanted) in answers.iter().zip(&wanted) {
            if let Some(difference) = oracle::difference(answer, wanted) {
                return Err(format!("{name} in epoch {}: {difference}", manifest.epoch.0));
            }
        }
    }
    Ok(())
}

/// The newest row per key.
async fn judge_users(splits: &[SplitScript], shown: &[Shown]) -> Result<(), String> {
    let Some((_, rows)) = shown.iter().find(|(name, _)| name == "users") else { return Err("no users".to_owned()) };
    let mut newest = BTreeMap::new();
    for record in splits.iter().flat_map(|split| &split.records) {
        let row = record.row.as_ref().ok_or("a user that cannot be read")?;
        newest.insert(row.id.to_string(), format!("{}|t{}", row.id, record.offset));
    }
    let context = datafusion::prelude::SessionContext::new().task_ctx();
    let batches = datafusion::physical_plan::collect(std::sync::Arc::clone(rows), context).await;
    let batches = batches.expect("rows in memory");
    let held: BTreeMap<String, String> = batches.iter().flat_map(|batch| keyed(batch, &[0])).collect();
    if held == newest { Ok(()) } else { Err(format!("users are {held:?}, not {newest:?}")) }
}

/// What the sinks on views hold outside, against their views.
async fn judge_sinks(run: &Run) -> Result<(), String> {
    let plans = ebap_sql::plan_catalog(&run.catalog).expect("the catalog plans");
    for plan in plans.sinks.iter().filter(|plan| plan.on_view && !plan.options.contains_key("keeps")) {
        let rows = run.ending.shown.iter().find(|(name, _)| *name == plan.from_name);
        let (_, rows) = rows.ok_or_else(|| format!("{} is not shown", plan.from_name))?;
        let context = datafusion::prelude::SessionContext::new().task_ctx();
        let batches = datafusion::physical_plan::collect(std::sync::Arc::clone(rows), context).await;
        let batches = batches.expect("rows in memory");
        let wanted: BTreeMap<String, String> =
            batches.iter().flat_map(|batch| keyed(batch, &plan.upsert_key)).collect();
        let views = run.world.views.lock();
        let held = views.get(&plan.name).map(|outside| &outside.values);
        let held: BTreeMap<String, String> =
            held.into_iter().flatten().filter_map(|(key, (_, row))| Some((key.clone(), row.clone()?))).collect();
        let missing = wanted.iter().find(|(key, row)| held.get(*key) != Some(row));
        let stale = held.iter().find(|(key, _)| !wanted.contains_key(*key));
        if missing.is_some() || stale.is_some() {
            return Err(format!("{} outside: lacks {missing:?}, has {stale:?} that is not in the view", plan.name));
        }
    }
    Ok(())
}

pub(super) fn check(run: &Run) -> Result<(), String> {
    if let Some(complaint) = run.complaints.first() {
        return Err(complaint.clone());
    }
    if !run.ending.stopped.is_empty() {
        return Err(format!("a job has stopped:\n{}", run.ending.stopped));
    }
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime of one thread");
    let id = run.id("events").ok_or("there is no stream")?;
    let seen = run.world.seen.lock();
    let epochs: Vec<&Seen> = seen.iter().filter(|seen| seen.pipeline == id).collect();
    let last = epochs.last().ok_or("there is no epoch")?;
    runtime.block_on(async {
        for seen in &epochs {
            judge(run, seen, &seen.shown).await?;
        }
        let shown = |wanted: &str| run.ending.shown.iter().any(|(name, _)| name == wanted);
        if let Some(case) = cases::all().find(|case| run.id(case.name).is_some() && !shown(case.name)) {
            return Err(format!("{} is not shown", case.name));
        }
        judge(run, last, &run.ending.shown).await.map_err(|message| format!("in the end, {message}"))?;
        if run.id("users").is_some() {
            judge_users(run.world.script.of("users"), &run.ending.shown).await?;
        }
        judge_sinks(run).await
    })
}

#[test]
fn answer_equals_batch() {
    seeds::assert_holds("answer_equals_batch");
}
