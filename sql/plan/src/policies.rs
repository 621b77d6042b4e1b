//! What statements about row-level security do to the catalog, and who may.

use std::collections::BTreeSet;

use datafusion::sql::sqlparser::{ast::Expr, parser::Parser};
use ebap_catalog::{Catalog, Object, ObjectId, PUBLIC, Policy, RoleId, Securable};

use crate::{
    Error, Result,
    alter::find,
    macros::functions_used,
    parser::{Grantee, PolicyAction, PolicyChange, Postgres},
    rights::{check_owner, described},
    roles::{Actor, resolve_role},
};

/// Policies of one relation, at the most.
const POLICIES_MAX: usize = 1_000;

/// Gives the tag of the statement.
pub(crate) fn apply(
    next: &mut Catalog,
    change: &PolicyChange,
    actor: &Actor,
    notices: &mut Vec<String>,
) -> Result<String> {
    let relation = relation(next, change)?;
    check_owner(next, actor, &relation)?;
    let missing =
        |name: &str| Error::new("42704", format!("policy \"{name}\" for table \"{}\" does not exist", relation.name));
    let exists =
        |name: &str| Error::new("42710", format!("policy \"{name}\" for table \"{}\" already exists", relation.name));
    let tag = match &change.action {
        PolicyAction::Create { name, restrictive, for_select, roles, condition } => {
            let roles = roles_of(next, roles, actor)?;
            let policies = &mut next.policies.of_mut(relation.id).policies;
            if policies.contains_key(name) {
                return Err(exists(name));
            }
            if policies.len() >= POLICIES_MAX {
                return Err(Error::new("54000", format!("a relation has no more than {POLICIES_MAX} policies")));
            }
            let policy =
                Policy { restrictive: *restrictive, for_select: *for_select, roles, condition: condition.clone() };
            policies.insert(name.clone(), policy);
            "CREATE POLICY".to_owned()
        }
        PolicyAction::Alter { name, rename, roles, condition } => {
            let roles = roles.as_ref().map(|roles| roles_of(next, roles, actor)).transpose()?;
            let policies = &mut next.policies.of_mut(relation.id).policies;
            if let Some(other) = rename.as_ref().filter(|other| policies.contains_key(*other)) {
                return Err(exists(other));
            }
            let mut policy = policies.remove(name).ok_or_else(|| missing(name))?;
            if let Some(roles) = roles {
                policy.roles = roles;
            }
            if condition.is_some() {
                policy.condition.clone_from(condition);
            }
            policies.insert(rename.as_ref().unwrap_or(name).clone(), policy);
            "ALTER POLICY".to_owned()
        }
        PolicyAction::Drop { name, if_exists } => {
            if next.policies.of_mut(relation.id).policies.remove(name).is_none() {
                if !if_exists {
                    return Err(missing(name));
                }
                notices.push(format!("policy \"{name}\" for relation \"{}\" does not exist, skipping", relation.name));
            }
            "DROP POLICY".to_owned()
        }
        PolicyAction::Security { kind, enabled, forced } => {
            let security = next.policies.of_mut(relation.id);
            security.enabled = enabled.unwrap_or(security.enabled);
            security.forced = forced.unwrap_or(security.forced);
            format!("ALTER {}", kind.to_string().to_uppercase())
        }
    };
    next.policies.tidy(relation.id);
    Ok(tag)
}

fn relation(catalog: &Catalog, change: &PolicyChange) -> Result<Object> {
    match &change.action {
        PolicyAction::Security { kind, .. } => find(catalog, *kind, &change.relation).cloned(),
        PolicyAction::Create { .. } | PolicyAction::Alter { .. } | PolicyAction::Drop { .. } => {
            let found = catalog.relation(&change.relation).cloned();
            found.ok_or_else(|| Error::new("42P01", format!("relation \"{}\" does not exist", change.relation)))
        }
    }
}

fn roles_of(catalog: &Catalog, grantees: &[Grantee], actor: &Actor) -> Result<BTreeSet<RoleId>> {
    let one = |grantee: &Grantee| match grantee {
        Grantee::Public => Ok(PUBLIC),
        Grantee::Role(name) => resolve_role(&catalog.roles, name, actor),
    };
    match grantees {
        [] => Ok(BTreeSet::from([PUBLIC])),
        grantees => grantees.iter().map(one).collect(),
    }
}

/// # Errors
/// 42501 where policies say which rows of the relations the role sees: what it makes would read all of them, for everybody.
pub(crate) fn check_unrestricted(catalog: &Catalog, actor: &Actor, needs: &[ObjectId]) -> Result<()> {
    match needs.iter().find(|id| catalog.has_row_security(actor.current, **id)) {
        Some(id) => {
            let name = described(catalog, &Securable::Object(*id));
            Err(Error::new("42501", format!("permission denied for all rows of {name}"))
                .detail("Row-level security says which of its rows the role sees.")
                .hint("Its owner, and roles with BYPASSRLS, can make what reads all of its rows."))
        }
        None => Ok(()),
    }
}

/// Another function of its name could take its place, and let other rows through.
///
/// # Errors
/// 2BP01 where a policy calls the function, also with `CASCADE`.
pub(crate) fn check_uncalled(catalog: &Catalog, function: &Object) -> Result<()> {
    let calls = |policy: &Policy| {
        let expr = policy.condition.as_deref().and_then(parsed_condition);
        expr.is_some_and(|expr| functions_used(catalog, &expr).contains(&function.id))
    };
    let mut all = catalog
        .policies
        .iter()
        .flat_map(|(id, security)| security.policies.iter().map(move |(name, policy)| (id, name, policy)));
    match all.find(|(_, _, policy)| calls(policy)) {
        Some((id, name, _)) => {
            let message = format!("cannot drop function \"{}\" because other objects depend on it", function.name);
            let relation = described(catalog, &Securable::Object(id));
            Err(Error::new("2BP01", message)
                .detail(format!("policy {name} on {relation} depends on function {}", function.name))
                .hint("Change or drop the policy before."))
        }
        None => Ok(()),
    }
}

fn parsed_condition(text: &str) -> Option<Expr> {
    Parser::new(&Postgres).try_with_sql(text).ok()?.parse_expr().ok()
}

/// Uses of a role by policies, as messages have them.
pub(crate) fn uses(catalog: &Catalog, role: RoleId) -> Vec<String> {
    let of = |(id, name): (ObjectId, &str)| {
        format!("target of policy {name} on {}", described(catalog, &Securable::Object(id)))
    };
    catalog.policies.naming(role).map(of).collect()
}
