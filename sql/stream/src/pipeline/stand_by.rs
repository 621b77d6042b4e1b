//! A stream that another process runs: no failure, and nothing that this one could answer.
//!
//! The last to open a pipeline runs it; whoever finds its epoch taken stands by. So does a server that hears of a stream
//! which was created on another one. `ALTER … RESUME` takes it over, on the server that it is said to: if the others did
//! the same when they hear of it, they would take it back.

use super::{JobSet, runtime::SourceRuntime};
use crate::Error;

/// The state in `ebap.jobs`.
const STATE: &str = "superseded";

impl Error {
    /// Another process runs the pipeline.
    pub(crate) fn is_superseded(&self) -> bool {
        matches!(self, Self::Fenced { .. } | Self::Elsewhere { .. })
    }
}

/// Tells whoever asks for the stream and its views where they are, and how to have them here.
pub(super) fn stand_by(runtime: &SourceRuntime, jobs: &JobSet, error: &Error) {
    let (name, kind) = (&runtime.plan.name, runtime.kind());
    let way = way_out(runtime);
    runtime.status.set_state(name, kind, STATE, &format!("{error}; {way}, said to this server, takes it over"));
    let elsewhere = |what: &str| -> Error {
        let message = format!("{what} is not up to date here: {error}");
        let hint = format!("Ask the other server, or say {way} to this one, which takes it over.");
        ebap_sql::Error::new("55000", message).hint(hint).into()
    };
    if runtime.members.is_empty() {
        *runtime.elsewhere.write() = Some(elsewhere(&format!("{kind} \"{name}\"")));
    }
    if let Some(table) = &jobs.table {
        table.set_failure(Some(elsewhere(&format!("table \"{name}\""))));
    }
    for (plan, store) in &jobs.views {
        store.set_failure(Some(elsewhere(&format!("materialized view \"{}\"", plan.name))));
    }
}

/// The statement that takes it over.
fn way_out(runtime: &SourceRuntime) -> String {
    let first = &runtime.plans()[0];
    format!("ALTER {} {} RESUME", super::kind_text(first.kind).to_uppercase(), first.name)
}
