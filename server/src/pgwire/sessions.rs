//! Who is connected, so that a cancel request finds the session it is for.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicI32, Ordering},
    },
};

use ebap_catalog::{Role, RoleId};
use parking_lot::Mutex;
use uuid::Uuid;

use super::sqlstate::SqlError;
use crate::session::Interrupts;

type Key = (i32, i32);

#[derive(Debug, Default)]
pub(super) struct Sessions {
    open: Mutex<HashMap<Key, Open>>,
    last: AtomicI32,
}

#[derive(Debug)]
struct Open {
    interrupts: Arc<Interrupts>,
    role: Option<RoleId>,
}

impl Sessions {
    /// Process id and secret key, which the client needs to cancel, and what keeps the entry.
    ///
    /// # Errors
    /// 53300 where the role has as many sessions as it may.
    pub(super) fn enter(
        self: &Arc<Self>,
        interrupts: Arc<Interrupts>,
        role: Option<&Role>,
    ) -> Result<(i32, i32, Entry), SqlError> {
        let pid = self.last.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
        let bytes = Uuid::new_v4().into_bytes();
        let secret = i32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        let mut open = self.open.lock();
        if let Some((role, limit)) =
            role.filter(|role| !role.superuser).and_then(|role| Some((role, role.connection_limit?)))
            && open.values().filter(|other| other.role == Some(role.id)).count()
                >= usize::try_from(limit).unwrap_or(usize::MAX)
        {
            return Err(SqlError::new("53300", format!("too many connections for role \"{}\"", role.name)));
        }
        open.insert((pid, secret), Open { interrupts, role: role.map(|role| role.id) });
        Ok((pid, secret, Entry { sessions: Arc::clone(self), key: (pid, secret) }))
    }

    /// Ends the statement that this session runs. A wrong key is ignored, as the protocol wants it.
    pub(super) fn cancel(&self, pid: i32, secret: i32) {
        if let Some(open) = self.open.lock().get(&(pid, secret)) {
            open.interrupts.cancel();
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
