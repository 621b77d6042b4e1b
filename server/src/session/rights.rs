//! Whether a query may read what it reads, and what it sees of it. Every door runs its queries through here.

use datafusion::logical_expr::{LogicalPlan, TableScan};
use ebap_catalog::Catalog;
use ebap_sql::{Personal, PersonalColumns, Reads, check_read, masked, scans};
use ebap_stream::{Scanned, scanned};

use super::{Result, Settings, SqlError, from_query};
use crate::app::App;

/// The plan with masks over the personal data that the session's current role may not see.
///
/// # Errors
/// 42501 where the role may not read a relation, or a column of it.
pub(super) fn permitted(app: &App, settings: &Settings, plan: LogicalPlan, text: &str) -> Result<LogicalPlan> {
    let catalog = app.catalog();
    let actor = settings.actor(&catalog);
    if catalog.roles.is_superuser(actor.current) {
        return Ok(plan);
    }
    let failed = |error| from_query(error, text);
    let personal = app.personal_columns(&catalog)?;
    let masks = |id| personal.masked_for(&catalog, actor.current, id);
    let mut masks_any = false;
    for scan in scans(&plan).map_err(failed)? {
        let reads = match scanned(&scan.source) {
            Some(Scanned::Relation(id)) => {
                masks_any |= !masks(id).is_empty();
                Reads::Columns(id, &scan.columns)
            }
            Some(Scanned::Beside(id)) => {
                check_read(&catalog, &actor, &Reads::Raw(id))?;
                refuse_raw(&catalog, &personal, actor.current, id)?;
                continue;
            }
            Some(Scanned::System(name)) => Reads::System(name),
            // What `pg_catalog` and `information_schema` say is for everybody.
            None => continue,
        };
        check_read(&catalog, &actor, &reads)?;
    }
    if !masks_any {
        return Ok(plan);
    }
    let of_scan = |scan: &TableScan| -> Vec<(String, Personal)> {
        match scanned(&scan.source) {
            Some(Scanned::Relation(id)) => {
                masks(id).into_iter().map(|(name, personal)| (name.to_owned(), personal)).collect()
            }
            Some(Scanned::Beside(_) | Scanned::System(_)) | None => Vec::new(),
        }
    };
    masked(plan, &of_scan, catalog.mask_salt()).map_err(failed)
}

/// Records as they came in are not taken apart, so nothing of them can be masked.
fn refuse_raw(
    catalog: &Catalog,
    personal: &PersonalColumns,
    role: ebap_catalog::RoleId,
    id: ebap_catalog::ObjectId,
) -> Result<()> {
    let Some((column, _)) = personal.masked_for(catalog, role, id).into_iter().next() else { return Ok(()) };
    let name = catalog.get(id).map(|object| format!("{} {}", object.kind, object.name)).unwrap_or_default();
    let hint = format!("They are as they came in, and hold personal data: ask for UNMASK on column \"{column}\".");
    Err(SqlError::new("42501", format!("permission denied for rows beside {name}")).hint(hint))
}
