//! Schemas by id, within a bound. A registered schema never changes, so that one that is known is never asked for again.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use crate::Schema;

/// Schemas kept, at the most; the one that came first goes first.
const SCHEMAS_MAX: usize = 1_000;

#[derive(Debug, Default)]
pub(crate) struct Cache {
    known: HashMap<u32, Arc<Schema>>,
    order: VecDeque<u32>,
}

impl Cache {
    pub(crate) fn get(&self, id: u32) -> Option<Arc<Schema>> {
        self.known.get(&id).cloned()
    }

    pub(crate) fn put(&mut self, schema: Arc<Schema>) {
        let id = schema.id;
        if self.known.insert(id, schema).is_some() {
            return;
        }
        self.order.push_back(id);
        if self.order.len() > SCHEMAS_MAX
            && let Some(first) = self.order.pop_front()
        {
            self.known.remove(&first);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Kind;

    #[test]
    fn however_many_come_the_newest_are_kept() {
        let mut cache = Cache::default();
        for id in 0..SCHEMAS_MAX as u32 + 10 {
            cache.put(Arc::new(Schema { id, kind: Kind::Avro, text: String::new(), references: Vec::new() }));
        }
        assert_eq!((cache.known.len(), cache.order.len()), (SCHEMAS_MAX, SCHEMAS_MAX));
        assert!(cache.get(9).is_none() && cache.get(10).is_some());
    }
}
