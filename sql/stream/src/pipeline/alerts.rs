//! Alerts on the views of a pipeline.

use std::{collections::BTreeMap, sync::Arc};

use ebap_connector::{ChangeBatch, Epoch, EventTime, Position};

use super::{JobSet, Pipeline, ViewSink, ViewSlot, ViewState, jobs::spawn, persist::json};
use crate::{
    Result,
    alerts::{AlertInfo, AlertJob, Moment, SavedAlert},
    guard::guarded,
};

impl ViewSlot {
    /// Whether anybody has to hear what changes in it.
    pub(super) fn wants_changes(&self) -> bool {
        self.sinks.iter().any(ViewSink::wants_changes) || self.alerts.iter().any(AlertJob::wants_changes)
    }

    /// Tells those who hang on it; the view has the changes already.
    pub(super) fn tell(&mut self, changes: &[ChangeBatch], position: &Position, now_us: i64) {
        for sink in &mut self.sinks {
            sink.write(changes, position, &self.store, now_us);
        }
        for alert in self.alerts.iter_mut().filter(|alert| alert.wants_changes()) {
            if let Err(error) = guarded(|| alert.changed(changes, now_us)) {
                alert.fail(&error, now_us);
            }
        }
    }
}

impl Pipeline {
    /// Those of all views; one whose view is another from now on reads its rows anew.
    pub(super) fn take_alerts(&mut self, jobs: &JobSet) -> BTreeMap<u64, AlertJob> {
        let all = self.views.values_mut().flat_map(|view| view.alerts.drain(..));
        let wanted = all.filter(|alert| jobs.alerts.iter().any(|plan| plan.id == alert.plan.id));
        wanted.map(|alert| (alert.plan.id.0, alert)).collect()
    }

    pub(super) fn set_alerts(&mut self, jobs: &JobSet, mut running: BTreeMap<u64, AlertJob>) -> Result<()> {
        let (runtime, tasks) = (Arc::clone(&self.runtime), Arc::clone(&self.tasks));
        self.saved_alerts.retain(|id, _| jobs.alerts.iter().any(|plan| plan.id.0 == *id));
        for plan in &jobs.alerts {
            let Some(view) = self.views.get_mut(&plan.from.0) else { continue };
            let alert = match running.remove(&plan.id.0) {
                Some(mut alert) => {
                    alert.set_plan(Arc::clone(plan));
                    alert
                }
                None => {
                    let saved = self.saved_alerts.remove(&plan.id.0);
                    let begins = self.watermarks.current() == EventTime::MIN;
                    let mut alert = AlertJob::new(Arc::clone(plan), saved, begins, runtime.clock.now_us())?;
                    let spawn = |run| spawn(&tasks, run);
                    alert.open(runtime.connectors.as_ref(), &runtime.config, &runtime.clock, &spawn);
                    self.alerts_dirty = true;
                    alert
                }
            };
            view.alerts.push(alert);
        }
        Ok(())
    }

    /// Decides what the last step and the time since have made of them.
    pub(super) fn tend_alerts(&mut self) {
        let (now_us, watermark_us) = (self.runtime.clock.now_us(), self.watermarks.current().0);
        let known = (watermark_us != i64::MIN).then_some(watermark_us);
        // Of several streams the shortest: none of them has come less far than that.
        let delays = self.runtime.plans().iter().filter_map(|plan| plan.watermark).map(|watermark| watermark.delay_us);
        let delay_us = delays.min().unwrap_or(0);
        let moment = Moment {
            front_us: known.map(|watermark_us| watermark_us.saturating_add(delay_us)),
            watermark_us: known,
            timed: self.runtime.is_timed(),
            now_us,
        };
        for view in self.views.values_mut() {
            let running = matches!(view.state, ViewState::Running(_)) && !self.paused;
            let failure = view.failure().map(|failed| failed.message());
            for alert in &mut view.alerts {
                if let Some(reason) = &failure {
                    alert.starve(moment, reason);
                    self.alerts_dirty |= std::mem::take(&mut alert.dirty);
                    continue;
                }
                if !running {
                    alert.reload();
                    continue;
                }
                if let Err(error) = guarded(|| alert.decide(moment, || view.store.snapshot())) {
                    alert.fail(&error, now_us);
                }
                self.alerts_dirty |= std::mem::take(&mut alert.dirty);
            }
        }
        self.dirty |= self.alerts_dirty;
    }

    fn alerts(&mut self) -> impl Iterator<Item = &mut AlertJob> {
        self.views.values_mut().flat_map(|view| &mut view.alerts)
    }

    /// What the epoch holds of them, in a file of its own where anything has changed.
    pub(super) fn take_alerts_file(
        &mut self,
        epoch: Epoch,
        beside: &mut Vec<(String, Vec<u8>)>,
    ) -> Result<Option<String>> {
        if !self.alerts_dirty {
            return Ok(self.manifest.as_ref().and_then(|manifest| manifest.alerts.clone()));
        }
        self.alerts_dirty = false;
        let saved: BTreeMap<u64, SavedAlert> = self.alerts().map(|alert| (alert.plan.id.0, alert.take())).collect();
        if saved.is_empty() {
            return Ok(None);
        }
        let file = self.checkpoints.file(epoch, "alerts.json");
        beside.push((file.clone(), json(&saved)?));
        Ok(Some(file))
    }

    /// The epoch that was written last is durable.
    pub(super) fn alerts_are_durable(&mut self) {
        self.alerts().for_each(AlertJob::durable);
    }

    pub(super) fn alert_infos(&mut self) -> Vec<AlertInfo> {
        self.alerts().map(AlertJob::info).collect()
    }
}
