//! Whether a query may read what it reads. Every door runs its queries through here.

use datafusion::logical_expr::LogicalPlan;
use ebap_catalog::Catalog;
use ebap_sql::{Reads, check_read, scans};
use ebap_stream::{Scanned, scanned};

use super::{Result, Settings, from_query};

/// # Errors
/// 42501 where the session's current role may not read a relation, or a column of it.
pub(super) fn check(catalog: &Catalog, settings: &Settings, plan: &LogicalPlan, text: &str) -> Result<()> {
    let actor = settings.actor(catalog);
    if catalog.roles.is_superuser(actor.current) {
        return Ok(());
    }
    for scan in scans(plan).map_err(|error| from_query(error, text))? {
        let reads = match scanned(&scan.source) {
            Some(Scanned::Relation(id)) => Reads::Columns(id, &scan.columns),
            Some(Scanned::Beside(id)) => Reads::Raw(id),
            Some(Scanned::System(name)) => Reads::System(name),
            // What `pg_catalog` and `information_schema` say is for everybody.
            None => continue,
        };
        check_read(catalog, &actor, &reads)?;
    }
    Ok(())
}
