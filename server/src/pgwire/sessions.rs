//! Who is connected, so that a cancel request finds the session it is for.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicI32, Ordering},
    },
};

use parking_lot::Mutex;
use uuid::Uuid;

use crate::session::Interrupts;

type Key = (i32, i32);

#[derive(Debug, Default)]
pub(super) struct Sessions {
    open: Mutex<HashMap<Key, Arc<Interrupts>>>,
    last: AtomicI32,
}

impl Sessions {
    /// Process id and secret key, which the client needs to cancel, and what keeps the entry.
    pub(super) fn enter(self: &Arc<Self>, interrupts: Arc<Interrupts>) -> (i32, i32, Entry) {
        let pid = self.last.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
        let bytes = Uuid::new_v4().into_bytes();
        let secret = i32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        self.open.lock().insert((pid, secret), interrupts);
        (pid, secret, Entry { sessions: Arc::clone(self), key: (pid, secret) })
    }

    /// Ends the statement that this session runs. A wrong key is ignored, as the protocol wants it.
    pub(super) fn cancel(&self, pid: i32, secret: i32) {
        if let Some(interrupts) = self.open.lock().get(&(pid, secret)) {
            interrupts.cancel();
        }
    }
}

/// Leaves with the connection.
#[derive(Debug)]
pub(super) struct Entry {
    sessions: Arc<Sessions>,
    key: Key,
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.sessions.open.lock().remove(&self.key);
    }
}
