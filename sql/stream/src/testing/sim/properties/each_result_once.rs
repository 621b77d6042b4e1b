//! What was written to a topic is in the end each final row of the view, once, as the view has it: nothing that a crash
//! undid, and nothing before it was durable.

use super::super::{run::Run, seeds, sinks::keyed};

pub(super) fn check(run: &Run) -> Result<(), String> {
    let topic = run.world.topic.lock();
    if let Some(epoch) = topic.early.first() {
        return Err(format!("epoch {epoch} was said to be durable and did not exist"));
    }
    let view = run.ending.shown.iter().find(|(name, _)| name == "final");
    let (_, rows) = view.ok_or("the view is not shown")?;
    let context = datafusion::prelude::SessionContext::new().task_ctx();
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime of one thread");
    let batches = runtime.block_on(datafusion::physical_plan::collect(std::sync::Arc::clone(rows), context));
    let batches = batches.expect("rows in memory");
    let mut wanted: Vec<String> = batches.iter().flat_map(|batch| keyed(batch, &[])).map(|(_, row)| row).collect();
    let mut held = topic.rows.clone();
    wanted.sort();
    held.sort();
    let differs = wanted.iter().zip(&held).find(|(wanted, held)| wanted != held);
    if wanted.len() == held.len() && differs.is_none() {
        return Ok(());
    }
    Err(format!("{} rows in the topic, {} in the view, {differs:?}", held.len(), wanted.len()))
}

#[test]
fn each_result_once() {
    seeds::assert_holds("each_result_once");
}
