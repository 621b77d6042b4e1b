//! Whether a query may read what it reads, and what it sees of it. Every door runs its queries through here.

use std::collections::BTreeMap;

use datafusion::logical_expr::{Expr, LogicalPlan, TableScan};
use ebap_catalog::{Catalog, ObjectId, RoleId};
use ebap_sql::{Guard, PersonalColumns, Reads, Statement, check_read, condition_of, guarded, quoted, scans};
use ebap_stream::{Scanned, scanned};

use super::{Result, Session, SqlError, from_query, parse};

/// The plan with the rows that policies let through, and with masks over the personal data that the session's current
/// role may not see.
///
/// # Errors
/// 42501 where the role may not read a relation, or a column of it.
pub(super) async fn permitted(session: &Session, plan: LogicalPlan, text: &str) -> Result<LogicalPlan> {
    let catalog = session.app.catalog();
    let actor = session.settings.actor(&catalog);
    if catalog.roles.is_superuser(actor.current) {
        return Ok(plan);
    }
    let failed = |error| from_query(error, text);
    let personal = session.app.personal_columns(&catalog)?;
    let mut guards: BTreeMap<ObjectId, Option<Guard>> = BTreeMap::new();
    for scan in scans(&plan).map_err(failed)? {
        let reads = match scanned(&scan.source) {
            Some(Scanned::Relation(id)) => {
                guards.entry(id).or_default();
                Reads::Columns(id, &scan.columns)
            }
            Some(Scanned::Beside(id)) => {
                check_read(&catalog, &actor, &Reads::Raw(id))?;
                refuse_raw(&catalog, &personal, actor.current, id)?;
                refuse_rows_beside(&catalog, actor.current, id)?;
                continue;
            }
            Some(Scanned::System(name)) => Reads::System(name),
            // What `pg_catalog` and `information_schema` say is for everybody.
            None => continue,
        };
        check_read(&catalog, &actor, &reads)?;
    }
    for (id, guard) in &mut guards {
        let masks = personal.masked_for(&catalog, actor.current, *id);
        let masks: Vec<_> = masks.into_iter().map(|(name, personal)| (name.to_owned(), personal)).collect();
        let condition = match catalog.row_condition(actor.current, *id) {
            Some(condition) => Some(self::condition(session, &catalog, *id, &condition).await?),
            None => None,
        };
        *guard = (condition.is_some() || !masks.is_empty()).then_some(Guard { condition, masks });
    }
    if guards.values().all(Option::is_none) {
        return Ok(plan);
    }
    let of_scan = |scan: &TableScan| match scanned(&scan.source) {
        Some(Scanned::Relation(id)) => guards.get(&id).cloned().flatten(),
        Some(Scanned::Beside(_) | Scanned::System(_)) | None => None,
    };
    guarded(plan, &of_scan, catalog.mask_salt()).map_err(failed)
}

/// The condition of policies, as the session understands it now: `current_user` is its own.
async fn condition(session: &Session, catalog: &Catalog, id: ObjectId, condition: &str) -> Result<Expr> {
    let name = catalog.get(id).map(|object| object.name.clone()).unwrap_or_default();
    planned_condition(session, &name, condition).await.map_err(|error| {
        let message = format!("a policy of \"{name}\" cannot be used: {}", error.message);
        SqlError::new(error.code, message).hint("Its owner can change it with ALTER POLICY.")
    })
}

/// # Errors
/// As a query with this condition would have them.
pub(super) async fn planned_condition(session: &Session, relation: &str, condition: &str) -> Result<Expr> {
    // With its schema: a search path must not put another table in its place.
    let text = format!("SELECT 1 FROM public.{} WHERE {condition}", quoted(relation));
    let parsed = parse(&text)?.into_iter().next();
    let Some(Statement::Query(query)) = parsed.map(|parsed| parsed.statement) else {
        return Err(SqlError::new("XX000", "a policy is no condition"));
    };
    let planned = session.plan(&query, &text, &[]).await;
    let planned = planned.map_err(|error| SqlError { position: None, ..error })?;
    condition_of(&planned.plan).ok_or_else(|| SqlError::new("XX000", "a policy is no condition"))
}

/// No policy can say whose the rows beside a relation are.
fn refuse_rows_beside(catalog: &Catalog, role: RoleId, id: ObjectId) -> Result<()> {
    match catalog.has_row_security(role, id) {
        true => Err(SqlError::new("42501", format!("permission denied for rows beside {}", described(catalog, id)))
            .hint("Row-level security says which rows of it the role sees, and these are as they came in.")),
        false => Ok(()),
    }
}

fn described(catalog: &Catalog, id: ObjectId) -> String {
    catalog.get(id).map(|object| format!("{} {}", object.kind, object.name)).unwrap_or_default()
}

/// Records as they came in are not taken apart, so nothing of them can be masked.
fn refuse_raw(catalog: &Catalog, personal: &PersonalColumns, role: RoleId, id: ObjectId) -> Result<()> {
    let Some((column, _)) = personal.masked_for(catalog, role, id).into_iter().next() else { return Ok(()) };
    let name = described(catalog, id);
    let hint = format!("They are as they came in, and hold personal data: ask for UNMASK on column \"{column}\".");
    Err(SqlError::new("42501", format!("permission denied for rows beside {name}")).hint(hint))
}
