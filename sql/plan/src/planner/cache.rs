//! Plans of objects that have not changed since they were planned last.
//!
//! Every DDL statement plans the whole catalog, and a plan of a view takes a millisecond or more. What a plan is made of
//! is the object itself and all that it depends on, which is its key here.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    hash::{DefaultHasher, Hash, Hasher},
    sync::{Arc, LazyLock},
};

use ebap_catalog::{Object, ObjectId};
use parking_lot::Mutex;

use crate::{AlertPlan, SinkPlan, SourcePlan, ViewPlan};

/// Plans kept of objects that the newest catalog does not have: of another catalog, or of a statement that failed.
const OTHERS_MAX: usize = 100;

/// The plan of one object.
#[derive(Clone, Debug)]
pub(super) enum Planned {
    /// A secret, a connection or a function.
    Nothing,
    Source(Arc<SourcePlan>),
    View(Arc<ViewPlan>),
    Sink(Arc<SinkPlan>),
    Alert(Arc<AlertPlan>),
}

/// The object as it was planned, for when two have the same hash.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Key {
    object: Object,
    /// The hash of each object that it depends on, directly or not.
    needs: Vec<u64>,
}

static PLANS: LazyLock<Mutex<HashMap<u64, (Key, Planned)>>> = LazyLock::new(Mutex::default);

/// Keys of the objects of one catalog, which come in the order of their dependencies.
#[derive(Debug, Default)]
pub(super) struct Keys(BTreeMap<ObjectId, u64>);

impl Keys {
    /// The plan of this object, where nothing that it is made of has changed; `plan` makes it otherwise.
    pub(super) fn planned<E>(
        &mut self,
        object: &Object,
        plan: impl FnOnce() -> Result<Planned, E>,
    ) -> Result<Planned, E> {
        let needs = object.depends_on.iter().filter_map(|id| self.0.get(id)).copied().collect();
        let key = Key { object: object.clone(), needs };
        let hash = key.hash();
        self.0.insert(object.id, hash);
        if let Some((known, planned)) = PLANS.lock().get(&hash)
            && *known == key
        {
            return Ok(planned.clone());
        }
        let planned = plan()?;
        PLANS.lock().insert(hash, (key, planned.clone()));
        Ok(planned)
    }

    /// Lets go of what is not of this catalog, which is whole.
    pub(super) fn keep_these(&self) {
        let mut plans = PLANS.lock();
        if plans.len() > self.0.len() + OTHERS_MAX {
            let these: HashSet<u64> = self.0.values().copied().collect();
            plans.retain(|hash, _| these.contains(hash));
        }
    }
}

impl Key {
    fn hash(&self) -> u64 {
        let Object { id, kind, name, sql, depends_on, comment, column_comments, created_at_us, .. } = &self.object;
        let Object { paused, resumes, resume_from, silenced_until_us, rebuilds, .. } = &self.object;
        let mut hasher = DefaultHasher::new();
        (id, kind.to_string(), name, sql, depends_on, comment, column_comments, created_at_us).hash(&mut hasher);
        (paused, resumes, resume_from, silenced_until_us, rebuilds, &self.needs).hash(&mut hasher);
        hasher.finish()
    }
}
