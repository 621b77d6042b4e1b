//! Alerts: decided on event time from what changes in a view, kept in the checkpoint, told when that is durable.
//!
//! ```text
//! explain    why it is as it is
//! instance   one key: when its condition held, and what follows from it
//! tell       who is told, beside the loop
//! ```
//!
//! The time of an alert is how far the stream has come: the newest event time of its slowest split. It runs ahead of
//! the watermark by the delay that rows are waited for, as a page must not wait for rows that may still come; what
//! they change is decided again when they do. A view that shows windows when they close is decided by the watermark,
//! and what has no event time by the clock.

mod explain;
mod instance;
mod tell;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    sync::Arc,
};

use arrow::{
    array::{Array, ArrayRef, AsArray, RecordBatch},
    datatypes::{Float64Type, TimestampMicrosecondType},
    row::{RowConverter, SortField},
};
use ebap_connector::{AlertEvent, AlertStatus, ChangeBatch, ConnectorRegistry, NotifierContext, Options, time::Clock};
use ebap_sql::{AlertPlan, TemplatePart};
use serde::{Deserialize, Serialize};

pub(crate) use self::explain::explain;

pub(crate) use self::instance::State;
use self::{
    instance::{Change, Instance, Key, Rules},
    tell::Tell,
};
use crate::{EngineConfig, Error, Result, rows::RowOps, sinks::Spawn, text::text_of};

/// Keys of one alert, at the most.
const KEYS_MAX: usize = 100_000;
/// Changes of state that are remembered of one alert.
const HISTORY_MAX: usize = 1_000;
/// How often it is looked whether data are missing, at the most.
const SILENCE_LOOK_US: i64 = 1_000_000;
/// How long after a failure the rows of a view are read again.
const AGAIN_US: i64 = 10_000_000;
/// How often those who forget are told again of what fires still.
const REPEAT_US: i64 = 60_000_000;

/// A change of state, for `ebap.alert_history`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Transition {
    pub(crate) key: String,
    pub(crate) from: State,
    pub(crate) to: State,
    /// Event time.
    pub(crate) at_us: i64,
    /// Processing time.
    pub(crate) decided_us: i64,
    pub(crate) value: Option<f64>,
    pub(crate) no_data: bool,
    pub(crate) silenced: bool,
}

/// What a manifest keeps of an alert.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct SavedAlert {
    instances: Vec<Instance>,
    /// How far the stream had come.
    at_us: Option<i64>,
    history: VecDeque<Transition>,
    waiting: VecDeque<tell::Waiting>,
    seq: u64,
}

/// A key as `ebap.alerts` shows it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct AlertRow {
    pub(crate) key: String,
    pub(crate) state: State,
    pub(crate) since_us: Option<i64>,
    pub(crate) value: Option<f64>,
    pub(crate) changed_us: Option<i64>,
    /// None where it is normal: there is nothing to say.
    pub(crate) summary: Option<String>,
    pub(crate) no_data: bool,
    pub(crate) held_us: Option<i64>,
    pub(crate) fires_us: Option<i64>,
    pub(crate) told: bool,
}

/// An alert as the tables of schema `ebap` show it.
#[derive(Clone, Debug)]
pub(crate) struct AlertInfo {
    pub(crate) plan: Arc<AlertPlan>,
    pub(crate) rows: Arc<Vec<AlertRow>>,
    pub(crate) history: Arc<Vec<Transition>>,
    /// How far the stream has come.
    pub(crate) at_us: Option<i64>,
    /// Events that wait to be told.
    pub(crate) waits: usize,
    /// Nothing is decided, so that nobody knows whether a key is normal.
    pub(crate) undecided: bool,
    pub(crate) message: Option<String>,
}

/// Keys and history as they were last given to readers.
type Shown = (Arc<Vec<AlertRow>>, Arc<Vec<Transition>>);

/// The moment at which it is looked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    /// How far the stream has come; none where it has no event time or nothing was read.
    pub(crate) front_us: Option<i64>,
    pub(crate) watermark_us: Option<i64>,
    /// The stream has event time at all.
    pub(crate) timed: bool,
    pub(crate) now_us: i64,
}

impl Moment {
    fn of(self, plan: &AlertPlan) -> Option<i64> {
        match (self.timed, plan.closed_only) {
            (false, _) => Some(self.now_us),
            (true, true) => self.watermark_us,
            (true, false) => self.front_us,
        }
    }
}

pub(crate) struct AlertJob {
    pub(crate) plan: Arc<AlertPlan>,
    /// Whether the condition holds, and its number.
    rows: RowOps,
    converter: RowConverter,
    /// Keys of rows to the names of their instances.
    names: HashMap<Box<[u8]>, Arc<str>>,
    instances: BTreeMap<Arc<str>, Instance>,
    /// Keys that time alone may change: those that are not normal, or have a row that meets the condition.
    active: BTreeSet<Arc<str>>,
    /// Keys whose last row went.
    emptied: BTreeSet<Arc<str>>,
    /// When it is looked next whether data are missing.
    silence_us: i64,
    /// Fires where there is no key at all.
    nothing: Option<Instance>,
    tell: Tell,
    history: VecDeque<Transition>,
    at_us: Option<i64>,
    /// The rows are to be read from the view: it has changed without this being told.
    stale: bool,
    /// It could not be decided, and is not before this time.
    failed_until_us: Option<i64>,
    /// Rows have come since it was last decided.
    fresh: bool,
    /// Something the newest manifest does not say.
    pub(crate) dirty: bool,
    repeat_us: i64,
    /// As it was last looked.
    silenced: bool,
    shown: Option<Shown>,
    message: Option<String>,
    /// Why its view has failed.
    starved: Option<String>,
}

impl AlertJob {
    /// `begins`: nothing has been read yet, so that nothing of what comes is history.
    pub(crate) fn new(plan: Arc<AlertPlan>, saved: Option<SavedAlert>, begins: bool, now_us: i64) -> Result<Self> {
        let rows = RowOps::build(&plan.rows, &plan.schema)?;
        let types = plan.by.iter().map(|at| SortField::new(plan.schema.field(*at).data_type().clone()));
        let converter = RowConverter::new(types.collect())?;
        let fresh = || SavedAlert { at_us: begins.then_some(i64::MIN), ..SavedAlert::default() };
        let saved = saved.unwrap_or_else(fresh);
        let mut instances: BTreeMap<Arc<str>, Instance> = BTreeMap::new();
        let mut nothing = None;
        for mut instance in saved.instances {
            // What came while the server was down was not missed.
            instance.data_us = now_us;
            match instance.key.is_empty() && !plan.by.is_empty() {
                true => nothing = Some(instance),
                false => {
                    instances.insert(name_of(&instance.key), instance);
                }
            }
        }
        Ok(Self {
            rows,
            converter,
            names: HashMap::new(),
            active: instances.keys().cloned().collect(),
            emptied: BTreeSet::new(),
            silence_us: i64::MIN,
            instances,
            nothing,
            tell: Tell::restore(saved.waiting, saved.seq),
            history: saved.history,
            at_us: saved.at_us,
            stale: true,
            failed_until_us: None,
            fresh: true,
            dirty: false,
            repeat_us: now_us,
            silenced: false,
            shown: None,
            message: None,
            starved: None,
            plan,
        })
    }

    /// Builds those who are told.
    pub(crate) fn open(
        &mut self,
        connectors: &dyn ConnectorRegistry,
        config: &EngineConfig,
        clock: &Arc<dyn Clock>,
        spawn: Spawn<'_>,
    ) {
        let context = NotifierContext { alert: self.plan.name.clone(), options: Options(self.plan.options.clone()) };
        match connectors.notifiers(&context) {
            Ok(notifiers) => self.tell.start(notifiers, config, clock, spawn),
            Err(error) => self.message = Some(error.to_string()),
        }
    }

    /// A plan that differs in who is told, or in the words.
    pub(crate) fn set_plan(&mut self, plan: Arc<AlertPlan>) {
        if self.plan.silenced_until_us != plan.silenced_until_us || self.plan.name != plan.name {
            self.shown = None;
            self.fresh = true;
        }
        if plan.from != self.plan.from {
            self.stale = true;
        }
        self.plan = plan;
    }

    /// The view has changed without this being told.
    pub(crate) fn reload(&mut self) {
        self.stale = true;
    }

    pub(crate) fn wants_changes(&self) -> bool {
        !self.plan.run.paused && !self.stale
    }

    fn rules(&self) -> Rules {
        Rules { hold_us: self.plan.hold_us, keep_us: self.plan.keep_us, windows: self.plan.window.is_some() }
    }

    /// Takes what changed in the view.
    pub(crate) fn changed(&mut self, changes: &[ChangeBatch], now_us: i64) -> Result<()> {
        for change in changes {
            self.count(&change.deletes, -1, now_us)?;
            self.count(&change.inserts, 1, now_us)?;
        }
        Ok(())
    }

    fn load(&mut self, view: &[RecordBatch], now_us: i64) -> Result<()> {
        for instance in self.instances.values_mut() {
            instance.forget_rows();
        }
        for batch in view {
            self.count(batch, 1, now_us)?;
        }
        let empty = self.instances.iter().filter(|(_, instance)| instance.rows <= 0);
        self.emptied.extend(empty.map(|(name, _)| Arc::clone(name)));
        self.stale = false;
        Ok(())
    }

    fn count(&mut self, batch: &RecordBatch, by: i64, now_us: i64) -> Result<()> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        self.fresh = true;
        let (decided, _) = self.rows.run(batch.clone())?;
        let holds = decided.column(0).as_boolean_opt().cloned();
        let values = decided.column(1).as_primitive_opt::<Float64Type>().cloned();
        let columns: Vec<ArrayRef> = self.plan.by.iter().map(|at| Arc::clone(batch.column(*at))).collect();
        let keys = match columns.is_empty() {
            true => None,
            false => Some(self.converter.convert_columns(&columns)?),
        };
        let slices = slices(&self.plan, batch)?;
        let (rules, at_us) = (self.rules(), self.at_us);
        for row in 0..batch.num_rows() {
            let name = match &keys {
                None => Arc::from("{}"),
                Some(keys) => self.name(keys.row(row).as_ref(), &columns, row)?,
            };
            let known = self.instances.len();
            let instance = match self.instances.get_mut(&name) {
                Some(instance) => instance,
                None if known >= KEYS_MAX => {
                    return Err(Error::Memory {
                        job: self.plan.name.clone(),
                        message: format!("the limit is {KEYS_MAX} keys"),
                    });
                }
                None => {
                    let key = key_of(&self.plan, &columns, row)?;
                    self.instances.entry(Arc::clone(&name)).or_insert_with(|| Instance::new(key))
                }
            };
            instance.rows += by;
            if instance.rows <= 0 {
                self.emptied.insert(Arc::clone(&name));
            }
            if by > 0 {
                instance.data_us = now_us;
            }
            let slice = slices.as_ref().map(|slices| slices[row]);
            let holds = holds.as_ref().is_some_and(|holds| holds.is_valid(row) && holds.value(row));
            if holds && !slice.is_some_and(|slice| Instance::is_past(rules, slice, at_us)) {
                instance.count(slice, by);
                self.active.insert(Arc::clone(&name));
            }
            let end_us = slice.map_or(i64::MAX, |(end_us, _)| end_us);
            if by <= 0 {
                continue;
            }
            let value = values.as_ref().and_then(|values| values.is_valid(row).then(|| values.value(row)));
            if end_us >= instance.shown_us {
                (instance.shown_us, instance.value) = (end_us, value);
            }
            // Not for every row that comes: most are of keys that are normal, and to write it costs.
            if holds && end_us >= instance.met_us {
                (instance.met_us, instance.met_value) = (end_us, value);
                instance.summary = summary(&self.plan.summary, batch, row, value)?;
            }
        }
        Ok(())
    }

    fn name(&mut self, key: &[u8], columns: &[ArrayRef], row: usize) -> Result<Arc<str>> {
        if let Some(name) = self.names.get(key) {
            return Ok(Arc::clone(name));
        }
        let name = name_of(&key_of(&self.plan, columns, row)?);
        self.names.insert(Box::from(key), Arc::clone(&name));
        Ok(name)
    }

    /// Decides as of this moment. `view` gives the rows of the view, where they are needed.
    pub(crate) fn decide(&mut self, moment: Moment, view: impl FnOnce() -> Result<Vec<RecordBatch>>) -> Result<()> {
        if self.plan.run.paused {
            self.stale = true;
            return Ok(());
        }
        if self.failed_until_us.is_some_and(|until_us| moment.now_us < until_us) {
            return Ok(());
        }
        self.starved = None;
        if self.stale {
            self.load(&view()?, moment.now_us)?;
            if self.failed_until_us.take().is_some() {
                self.message = None;
            }
        }
        if self.tell.tend() {
            self.dirty = true;
        }
        if let Some(at_us) = moment.of(&self.plan)
            && (self.fresh || self.at_us.is_none_or(|before_us| at_us > before_us))
        {
            self.advance(at_us, moment.now_us);
        }
        self.look_for_silence(moment);
        let silenced = self.is_silenced(moment.now_us);
        if std::mem::replace(&mut self.silenced, silenced) && !silenced {
            self.tell_fired(moment.now_us);
        }
        self.repeat(moment.now_us);
        Ok(())
    }

    /// Its view has failed: what fires goes on firing, that no data come is noticed, and nothing else is known.
    pub(crate) fn starve(&mut self, moment: Moment, reason: &str) {
        self.stale = true;
        if self.plan.run.paused {
            return;
        }
        if self.starved.as_deref() != Some(reason) {
            self.starved = Some(reason.to_owned());
        }
        if self.tell.tend() {
            self.dirty = true;
        }
        self.look_for_silence(moment);
        self.repeat(moment.now_us);
    }

    fn advance(&mut self, at_us: i64, now_us: i64) {
        let (rules, from_us) = (self.rules(), self.at_us);
        // Replayed steps are of a time that has been decided about.
        let at_us = from_us.map_or(at_us, |from_us| from_us.max(at_us));
        let mut changes = Vec::new();
        // Most keys are normal, and time alone does not change that.
        self.active.retain(|name| {
            let Some(instance) = self.instances.get_mut(name) else { return false };
            let decided = instance.advance(rules, from_us, at_us);
            changes.extend(decided.into_iter().map(|change| (Arc::clone(name), change)));
            !instance.is_quiet()
        });
        self.at_us = Some(at_us);
        self.fresh = false;
        self.shown = None;
        for (name, change) in changes {
            self.note(&name, change, now_us);
        }
        self.tell_fired(now_us);
        self.forget_gone();
        self.forget_nothing();
    }

    /// Keys without a row whose alert is normal.
    fn forget_gone(&mut self) {
        let watched = self.plan.no_data_us.is_some();
        let before = self.instances.len();
        for name in std::mem::take(&mut self.emptied) {
            match self.instances.get(&name) {
                Some(instance) if instance.rows > 0 || watched => {}
                // It is looked at again when it is normal.
                Some(instance) if !instance.is_quiet() => drop(self.emptied.insert(name)),
                Some(_) => drop(self.instances.remove(&name)),
                None => {}
            }
        }
        if self.instances.len() < before {
            let kept = &self.instances;
            self.names.retain(|_, name| kept.contains_key(name));
        }
    }

    /// `NO DATA AFTER`.
    fn look_for_silence(&mut self, moment: Moment) {
        let Some(after_us) = self.plan.no_data_us else { return };
        let now_us = moment.now_us;
        if now_us < self.silence_us {
            return;
        }
        self.silence_us = now_us.saturating_add(SILENCE_LOOK_US.min(after_us));
        let at_us = moment.of(&self.plan).or(self.at_us).unwrap_or(now_us);
        let rules = self.rules();
        if self.instances.is_empty() && self.nothing.is_none() {
            let mut nothing = Instance::new(Key::new());
            nothing.data_us = now_us;
            self.nothing = Some(nothing);
        }
        let mut changes = Vec::new();
        if let Some(nothing) = &mut self.nothing {
            let change = match self.instances.is_empty() {
                true if now_us.saturating_sub(nothing.data_us) >= after_us => nothing.miss_data(at_us),
                true => None,
                false => nothing.have_data(rules, at_us),
            };
            changes.extend(change.map(|change| (Arc::from("{}"), change)));
        }
        for (name, instance) in &mut self.instances {
            let change = match now_us.saturating_sub(instance.data_us) >= after_us {
                true => instance.miss_data(at_us),
                false => instance.have_data(rules, at_us),
            };
            if change.is_some() {
                self.active.insert(Arc::clone(name));
            }
            changes.extend(change.map(|change| (Arc::clone(name), change)));
        }
        if !changes.is_empty() {
            for (name, change) in changes {
                self.note(&name, change, now_us);
            }
            self.tell_fired(now_us);
        }
        self.forget_nothing();
    }

    /// The alert itself is watched as long as it has no key.
    fn forget_nothing(&mut self) {
        if !self.instances.is_empty() && self.nothing.take_if(|nothing| nothing.is_quiet()).is_some() {
            self.shown = None;
        }
    }

    fn instance(&mut self, name: &str) -> Option<&mut Instance> {
        match self.instances.get_mut(name) {
            Some(instance) => Some(instance),
            None => self.nothing.as_mut(),
        }
    }

    fn is_silenced(&self, now_us: i64) -> bool {
        self.plan.silenced_until_us.is_some_and(|until_us| until_us > now_us)
    }

    /// Writes a change down, and tells of an end whose beginning was told.
    fn note(&mut self, name: &Arc<str>, change: Change, now_us: i64) {
        let silenced = self.is_silenced(now_us);
        let plan = Arc::clone(&self.plan);
        let Some(instance) = self.instance(name) else { return };
        instance.changed_us = Some(now_us);
        let transition = Transition {
            key: name.to_string(),
            from: change.from,
            to: change.to,
            at_us: change.at_us,
            decided_us: now_us,
            value: instance.told_value(),
            no_data: instance.no_data,
            silenced,
        };
        // A whole run may lie within one step: it is told of its beginning before its end.
        let fires = change.to == State::Firing && !instance.told && !silenced;
        let ends = change.from == State::Firing && change.to == State::Normal && instance.told;
        if fires || ends {
            instance.told = fires;
        }
        let status = match (change.from, change.to) {
            (State::Firing, State::Normal) => AlertStatus::Resolved,
            (_, State::Normal) => AlertStatus::Normal,
            (_, State::Pending) => AlertStatus::Pending,
            (_, State::Firing) => AlertStatus::Firing,
        };
        let event = AlertEvent { page: fires || ends, ..event(&plan, name, instance, status, &change, now_us) };
        tracing::info!(alert = plan.name, key = %name, from = change.from.name(), to = change.to.name(), "alert");
        self.tell.push(event);
        self.history.push_back(transition);
        if self.history.len() > HISTORY_MAX {
            self.history.pop_front();
        }
        (self.dirty, self.shown) = (true, None);
    }

    /// What fires and nobody has been told of: it fired while the alert was silenced.
    fn tell_fired(&mut self, now_us: i64) {
        if self.is_silenced(now_us) {
            return;
        }
        let plan = Arc::clone(&self.plan);
        let mut events = Vec::new();
        let mut tell = |name: &str, instance: &mut Instance| {
            if instance.state == State::Firing && !instance.told {
                instance.told = true;
                events.push(event(&plan, name, instance, AlertStatus::Firing, &fired(instance), now_us));
            }
        };
        for name in &self.active {
            if let Some(instance) = self.instances.get_mut(name) {
                tell(name, instance);
            }
        }
        if let Some(nothing) = &mut self.nothing {
            tell("{}", nothing);
        }
        self.dirty |= !events.is_empty();
        events.into_iter().for_each(|event| self.tell.push(event));
    }

    fn repeat(&mut self, now_us: i64) {
        if now_us < self.repeat_us || !self.tell.has_receivers() {
            return;
        }
        self.repeat_us = now_us.saturating_add(REPEAT_US);
        let silenced = self.is_silenced(now_us);
        let nothing = self.nothing.as_ref().map(|nothing| (Arc::from("{}"), nothing));
        let known = self.active.iter().filter_map(|name| Some((Arc::clone(name), self.instances.get(name)?)));
        let firing = known.chain(nothing).filter(|(_, instance)| instance.state == State::Firing);
        let events = firing.map(|(name, instance)| {
            let event = event(&self.plan, &name, instance, AlertStatus::Firing, &fired(instance), now_us);
            AlertEvent { repeated: true, page: instance.told && !silenced, ..event }
        });
        self.tell.repeat(events.collect());
    }

    /// What an epoch writes of it.
    pub(crate) fn take(&mut self) -> SavedAlert {
        self.tell.taken();
        self.dirty = false;
        let keep = |instance: &&Instance| instance.state != State::Normal || instance.told || instance.no_data;
        let (waiting, seq) = self.tell.saved();
        SavedAlert {
            instances: self.instances.values().chain(&self.nothing).filter(keep).cloned().collect(),
            at_us: self.at_us,
            history: self.history.clone(),
            waiting,
            seq,
        }
    }

    /// What it took is durable.
    pub(crate) fn durable(&mut self) {
        self.tell.durable();
    }

    pub(crate) fn info(&mut self) -> AlertInfo {
        if self.shown.is_none() {
            let (plan, hold_us) = (Arc::clone(&self.plan), self.plan.hold_us);
            let row = |(name, instance): (Arc<str>, &Instance)| AlertRow {
                key: name.to_string(),
                state: instance.state,
                since_us: instance.since_us,
                value: match instance.state {
                    State::Normal => instance.value,
                    State::Pending | State::Firing => instance.told_value(),
                },
                changed_us: instance.changed_us,
                summary: (instance.state != State::Normal).then(|| told_summary(&plan, instance)),
                no_data: instance.no_data,
                held_us: instance.held_us,
                fires_us: match instance.state {
                    State::Pending => instance.since_us.map(|since_us| since_us.saturating_add(hold_us)),
                    State::Firing => instance.fired_us,
                    State::Normal => None,
                },
                told: instance.told,
            };
            let nothing = self.nothing.as_ref().map(|nothing| (Arc::from("{}"), nothing));
            let all = self.instances.iter().map(|(name, instance)| (Arc::clone(name), instance)).chain(nothing);
            self.shown = Some((Arc::new(all.map(row).collect()), Arc::new(self.history.iter().cloned().collect())));
        }
        let (rows, history) = self.shown.clone().unwrap_or_default();
        AlertInfo {
            plan: Arc::clone(&self.plan),
            rows,
            history,
            at_us: self.at_us,
            waits: self.tell.waits(),
            undecided: self.starved.is_some() || self.failed_until_us.is_some(),
            message: self.starved.clone().or_else(|| self.message.clone()).or_else(|| self.tell.message()),
        }
    }

    /// It cannot go on with these rows; it reads them again after a while.
    pub(crate) fn fail(&mut self, error: &Error, now_us: i64) {
        tracing::error!(alert = self.plan.name, error = error.chain(), "the alert cannot be decided");
        self.message = Some(error.reason());
        self.names.clear();
        self.stale = true;
        self.failed_until_us = Some(now_us.saturating_add(AGAIN_US));
    }
}

/// `{"region":"eu"}`
fn name_of(key: &Key) -> Arc<str> {
    Arc::from(serde_json::to_string(key).unwrap_or_default())
}

fn key_of(plan: &AlertPlan, columns: &[ArrayRef], row: usize) -> Result<Key> {
    let mut key = Key::new();
    for (at, column) in plan.by.iter().zip(columns) {
        key.insert(plan.schema.field(*at).name().clone(), text_of(column, row)?);
    }
    Ok(key)
}

fn text(column: &ArrayRef, row: usize) -> Result<String> {
    Ok(text_of(column, row)?.unwrap_or_else(|| "null".to_owned()))
}

fn summary(parts: &[TemplatePart], batch: &RecordBatch, row: usize, value: Option<f64>) -> Result<String> {
    let mut out = String::new();
    for part in parts {
        match part {
            TemplatePart::Text(text) => out.push_str(text),
            TemplatePart::Column(at) => out.push_str(&text(batch.column(*at), row)?),
            TemplatePart::Value => out.push_str(&value.map_or("null".to_owned(), |value| value.to_string())),
        }
    }
    Ok(out)
}

/// End and length of the slice of each row; none where rows are of no window.
fn slices(plan: &AlertPlan, batch: &RecordBatch) -> Result<Option<Vec<(i64, i64)>>> {
    let Some(window) = plan.window else { return Ok(None) };
    let times = |at: Option<usize>| at.map(|at| batch.column(at).as_primitive::<TimestampMicrosecondType>());
    let (starts, ends) = (times(window.start), times(window.end));
    let slice = |row: usize| {
        let (start, end) = (starts.map(|starts| starts.value(row)), ends.map(|ends| ends.value(row)));
        let size_us = match (window.size_us, start, end) {
            (Some(size_us), _, _) => size_us,
            (None, Some(start), Some(end)) => end - start,
            (None, _, _) => return Err(Error::Internal("a window without a length".to_owned())),
        };
        let end_us = end.or_else(|| start.map(|start| start + size_us)).unwrap_or(i64::MAX);
        Ok((end_us, window.slide_us.unwrap_or(size_us)))
    };
    (0..batch.num_rows()).map(slice).collect::<Result<_>>().map(Some)
}

/// Of the newest row that met the condition, or that none came.
fn told_summary(plan: &AlertPlan, instance: &Instance) -> String {
    match (instance.missed, instance.key.is_empty()) {
        (false, _) => instance.summary.clone(),
        (true, true) => format!("{}: \"{}\" has no new rows", plan.name, plan.from_name),
        (true, false) => format!("{}: \"{}\" has no new row of {}", plan.name, plan.from_name, name_of(&instance.key)),
    }
}

/// The change by which it fires.
fn fired(instance: &Instance) -> Change {
    let at_us = instance.fired_us.unwrap_or_default();
    let began_us = instance.began_us.unwrap_or(at_us);
    Change { from: State::Pending, to: State::Firing, at_us, began_us }
}

fn event(
    plan: &AlertPlan,
    name: &str,
    instance: &Instance,
    status: AlertStatus,
    change: &Change,
    now_us: i64,
) -> AlertEvent {
    AlertEvent {
        // When it was decided, too: rows out of order may end what fires and bring it back as of the same time.
        id: format!(
            "{}/{name}/{}/{}/{}",
            plan.name,
            change.at_us,
            status.as_str(),
            instance.changed_us.unwrap_or_default()
        ),
        alert: plan.name.clone(),
        // A label has a text or is not there: so NULL is told apart from every text.
        key: instance.key.iter().filter_map(|(name, value)| Some((name.clone(), value.clone()?))).collect(),
        severity: plan.severity.clone(),
        labels: plan.labels.clone(),
        summary: told_summary(plan, instance),
        status,
        page: true,
        repeated: false,
        value: instance.told_value(),
        since_us: change.began_us,
        until_us: (status == AlertStatus::Resolved).then_some(change.at_us),
        decided_us: now_us,
    }
}
