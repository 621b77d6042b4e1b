//! The Redis sink: the rows of a view as values that are replaced only by values at least as new.
//!
//! ```text
//! options     what the user wrote                connection  a server, a cluster, what sentinels name
//! template    `key` and `member`                 script      the Lua, one text per type and kind of server
//! kind        rows as arguments of the Lua       change      what waits, by what it changes; in slots of a cluster
//! sink        the contract: open, buffer, flush, sweep
//! ```
//!
//! # What is stored
//!
//! `{K}` stands for braces around the key, which put a companion where the key is in a cluster; a key that has such a
//! tag itself is appended as it is.
//!
//! | key | Redis type | content | expires |
//! |---|---|---|---|
//! | `key` filled in | hash, string, set, sorted set, stream | the row, the members, or the changelog | `ttl` after the last write |
//! | `ebap:version:{K}` | string, or for sets a hash by member | version and writer of what is there; a hash has `_version` itself | as the key |
//! | `ebap:gone:{K}` | string, or for sets a sorted set by time | in a cluster: version and writer of what was deleted | 10 minutes |
//! | `ebap:sink:{ID}` | hash | `writer`, and `split:<id>` = published position | 30 days after the last write |
//! | `ebap:sink:{ID}:rows` | sorted set | what the sink has written, by when it may be forgotten | 3 × `ttl` |
//! | `ebap:sink:{ID.n}`, `…:rows` | | in a cluster: 15 more of the two, so that no node has all of the index | the same |
//!
//! # Invariants
//! - The position is stored before the values it covers, and the index before the rows it names: what a crash leaves is
//!   a position that is too far and entries without a row, and neither does harm.
//! - A *writer* is one opening of the sink: the incarnation and a number that rises within the process.
//! - On one server every script first looks whether the writer still holds the control key, so a fenced writer changes
//!   nothing, and a key that a row left does not exist in any form.
//! - In a cluster a script reaches one slot only. A fenced writer is stopped where it stores its position and where it
//!   writes its index. What it sent before that is at most as new as the position that its successor found, so it
//!   loses against every value of the successor: by version, at equal versions by writer. What the successor deleted
//!   is kept as a version for ten minutes; a writer that was held up for longer than half of that sends nothing more.

mod alert;
mod change;
mod connection;
mod kind;
mod options;
mod script;
mod sink;
mod template;

pub use alert::{ALERT_OPTIONS, notifier};
pub use sink::sink;
