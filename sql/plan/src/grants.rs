//! What `GRANT`, `REVOKE`, `ALTER DEFAULT PRIVILEGES`, `REASSIGN OWNED` and `DROP OWNED` do to the catalog, and who may.
//!
//! The rules are PostgreSQL's: an owner grants what he likes, others what they have with the grant option.

use std::collections::{BTreeMap, BTreeSet};

use ebap_catalog::{
    Acl, BOOTSTRAP_ROLE, Catalog, DefaultsOf, ObjectId, ObjectKind, PUBLIC, Privilege, RoleId, Securable, SecurableKind,
};

use crate::{
    Error, Result,
    apply::relation,
    error::unknown,
    parser::{Grant, Granted, Grantee, On, RoleName},
    planner, policies,
    rights::{denied_on, described},
    roles::{Actor, denied, resolve_role},
};

/// `GRANT … ON …` and `REVOKE … ON …`
pub(crate) fn privileges(
    catalog: &mut Catalog,
    grant: &Grant,
    on: &On,
    actor: &Actor,
    notices: &mut Vec<String>,
) -> Result<()> {
    let grantees = grantees(catalog, grant, actor)?;
    for securable in securables(catalog, on)? {
        let kind = catalog.securable_kind(&securable);
        let (of_whole, of_columns): (Vec<&Granted>, Vec<&Granted>) =
            grant.granted.iter().partition(|granted| granted.columns.is_empty());
        if !of_whole.is_empty() {
            let wanted = wanted(&of_whole, kind, grant.revokes)?;
            change(catalog, &securable, &wanted, grant, &grantees, actor, notices)?;
            // What is taken away of the whole is taken away of its columns.
            if let (Securable::Object(id), true) = (&securable, grant.revokes) {
                revoke_of_columns(catalog, *id, &wanted.privileges, grant, &grantees, actor)?;
            }
        }
        for (column, granted) in by_column(catalog, &securable, &of_columns)? {
            let wanted = wanted(&granted, SecurableKind::Column, grant.revokes)?;
            change(catalog, &column, &wanted, grant, &grantees, actor, notices)?;
        }
    }
    Ok(())
}

/// The privileges that the statement names of each column.
fn by_column<'a>(
    catalog: &Catalog,
    securable: &Securable,
    granted: &[&'a Granted],
) -> Result<BTreeMap<Securable, Vec<&'a Granted>>> {
    let mut found: BTreeMap<Securable, Vec<&Granted>> = BTreeMap::new();
    if granted.is_empty() {
        return Ok(found);
    }
    let Securable::Object(id) = securable else {
        return Err(Error::new("0LP01", "column privileges are only valid for relations"));
    };
    let schema = planner::relation_schema(catalog, *id)?;
    for one in granted {
        for column in &one.columns {
            if schema.field_with_name(column).is_err() {
                let relation = catalog.get(*id).map(|object| object.name.clone()).unwrap_or_default();
                let message = format!("column \"{column}\" of relation \"{relation}\" does not exist");
                return Err(Error::new("42703", message));
            }
            found.entry(Securable::Column(*id, column.clone())).or_default().push(one);
        }
    }
    Ok(found)
}

fn grantees(catalog: &Catalog, grant: &Grant, actor: &Actor) -> Result<Vec<RoleId>> {
    let one = |grantee: &Grantee| match grantee {
        Grantee::Public if grant.option && !grant.revokes => {
            Err(Error::new("0LP01", "grant options can only be granted to roles"))
        }
        Grantee::Public => Ok(PUBLIC),
        Grantee::Role(name) => resolve_role(&catalog.roles, name, actor),
    };
    grant.grantees.iter().map(one).collect()
}

fn check_schemas(names: &[String]) -> Result<()> {
    match names.iter().find(|name| *name != "public") {
        Some(name) => Err(Error::new("3F000", format!("schema \"{name}\" does not exist"))
            .hint("Privileges are granted on schema public; the others are for everybody.")),
        None => Ok(()),
    }
}

fn securables(catalog: &Catalog, on: &On) -> Result<Vec<Securable>> {
    let all_of = |is: fn(ObjectKind) -> bool| {
        catalog.objects().filter(move |object| is(object.kind)).map(|object| Securable::Object(object.id)).collect()
    };
    match on {
        On::Relations(names) => {
            let one = |(schema, name): &(Option<String>, String)| match schema.as_deref() {
                Some("ebap") => Ok(Securable::System(name.clone())),
                Some("public") | None => relation(catalog, name).map(Securable::Object),
                Some(schema) => check_schemas(&[schema.to_owned()]).map(|()| Securable::Schema),
            };
            names.iter().map(one).collect()
        }
        On::Objects(kind, names) => {
            let one = |name: &String| {
                let found = catalog.find(*kind, name).ok_or_else(|| unknown(*kind, name))?;
                Ok(Securable::Object(found.id))
            };
            names.iter().map(one).collect()
        }
        On::AllRelations(schemas) => check_schemas(schemas).map(|()| all_of(ObjectKind::is_relation)),
        On::AllFunctions(schemas) => {
            check_schemas(schemas).map(|()| all_of(|kind: ObjectKind| kind == ObjectKind::Function))
        }
        On::Schemas(names) => check_schemas(names).map(|()| vec![Securable::Schema]),
        On::Databases(names) => match names.iter().find(|name| *name != "ebap") {
            Some(name) => Err(Error::new("3D000", format!("database \"{name}\" does not exist"))),
            None => Ok(vec![Securable::Database]),
        },
    }
}

fn kind_name(kind: SecurableKind) -> &'static str {
    match kind {
        SecurableKind::Database => "database",
        SecurableKind::Schema => "schema",
        SecurableKind::Relation => "relation",
        SecurableKind::Column => "column",
        SecurableKind::Function => "function",
        SecurableKind::Server => "secret or connection",
        SecurableKind::Owned => "sink or alert",
    }
}

/// Privileges that a statement names.
struct Wanted {
    privileges: Vec<Privilege>,
    /// It says `ALL`, and is content with less.
    is_all: bool,
}

fn wanted(granted: &[&Granted], kind: SecurableKind, revokes: bool) -> Result<Wanted> {
    let is_all = granted.iter().any(|one| one.privilege.is_none());
    if is_all && kind == SecurableKind::Owned {
        let hint = "ALTER … OWNER TO gives it to another role.";
        return Err(Error::unsupported("privileges on a sink or an alert", hint));
    }
    let mut privileges = Vec::new();
    for privilege in granted.iter().filter_map(|one| one.privilege) {
        if !kind.allows(privilege) {
            // A sequence, which is a relation too, could have it.
            let is_of_sequences = (kind, privilege) == (SecurableKind::Relation, Privilege::Usage);
            let kind = if is_of_sequences { "table" } else { kind_name(kind) };
            let message = format!("invalid privilege type {} for {kind}", privilege.name());
            return Err(Error::new("0LP01", message));
        }
        if !privileges.contains(&privilege) {
            privileges.push(privilege);
        }
    }
    if is_all {
        privileges = kind.privileges().to_vec();
        // Who takes all away leaves nobody with personal data.
        privileges.extend(Some(Privilege::Unmask).filter(|unmask| revokes && kind.allows(*unmask)));
    }
    Ok(Wanted { privileges, is_all })
}

/// In whose name the role grants or revokes, and which of the privileges it may.
fn grantor(catalog: &Catalog, securable: &Securable, wanted: &[Privilege], actor: &Actor) -> (RoleId, Vec<Privilege>) {
    let (owner, role) = (catalog.owner(securable), actor.current);
    if catalog.roles.has_rights_of(role, owner) {
        return (owner, wanted.to_vec());
    }
    let acl = catalog.acl(securable);
    let whole = match securable {
        Securable::Column(id, _) => Some(catalog.acl(&Securable::Object(*id))),
        Securable::Database | Securable::Schema | Securable::Object(_) | Securable::System(_) => None,
    };
    let options = |of: RoleId| -> Vec<Privilege> {
        let has = |privilege: &Privilege| {
            acl.has_option(of, *privilege) || whole.as_ref().is_some_and(|whole| whole.has_option(of, *privilege))
        };
        wanted.iter().copied().filter(has).collect()
    };
    let others = catalog.roles.inherited(role).into_iter().filter(|other| *other != role);
    // The role itself comes first where it may as much as another.
    let mut best = (role, options(role));
    for other in others {
        let of_other = options(other);
        if of_other.len() > best.1.len() {
            best = (other, of_other);
        }
    }
    best
}

fn change(
    catalog: &mut Catalog,
    securable: &Securable,
    wanted: &Wanted,
    grant: &Grant,
    grantees: &[RoleId],
    actor: &Actor,
    notices: &mut Vec<String>,
) -> Result<()> {
    let Wanted { privileges: wanted, is_all } = wanted;
    let (grantor, may) = grantor(catalog, securable, wanted, actor);
    let name = described(catalog, securable);
    if may.is_empty() {
        if !wanted.iter().any(|privilege| catalog.may(actor.current, *privilege, securable)) {
            return Err(denied_on(catalog, securable));
        }
        let verb = if grant.revokes { "could be revoked" } else { "were granted" };
        notices.push(format!("no privileges {verb} for {name}"));
        return Ok(());
    }
    if may.len() < wanted.len() && !*is_all {
        let verb = if grant.revokes { "could be revoked" } else { "were granted" };
        notices.push(format!("not all privileges {verb} for {name}"));
    }
    let owner = catalog.owner(securable);
    let mut acl = catalog.acl(securable);
    for grantee in grantees {
        apply_to(&mut acl, *grantee, grantor, &may, grant, owner)?;
    }
    catalog.privileges.set_list(securable.clone(), acl);
    Ok(())
}

fn apply_to(
    acl: &mut Acl,
    grantee: RoleId,
    grantor: RoleId,
    privileges: &[Privilege],
    grant: &Grant,
    owner: RoleId,
) -> Result<()> {
    for privilege in privileges {
        if grant.revokes {
            let rested = acl.revoke(grantee, grantor, *privilege, grant.option, owner);
            if rested && !grant.cascade {
                return Err(Error::new("2BP01", "dependent privileges exist").hint("Use CASCADE to revoke them too."));
            }
            continue;
        }
        if grant.option && grantor != owner && acl.rests_on(grantor, grantee, *privilege) {
            return Err(Error::new("0LP01", "grant options cannot be granted back to your own grantor"));
        }
        acl.grant(grantee, grantor, &[*privilege], grant.option);
    }
    Ok(())
}

fn revoke_of_columns(
    catalog: &mut Catalog,
    id: ObjectId,
    privileges: &[Privilege],
    grant: &Grant,
    grantees: &[RoleId],
    actor: &Actor,
) -> Result<()> {
    let columns: Vec<String> = catalog.privileges.columns(id).map(|(name, _)| name.to_owned()).collect();
    let of_columns: Vec<Privilege> =
        privileges.iter().copied().filter(|one| SecurableKind::Column.allows(*one)).collect();
    for column in columns {
        let securable = Securable::Column(id, column);
        let (grantor, may) = grantor(catalog, &securable, &of_columns, actor);
        let (owner, mut acl) = (catalog.owner(&securable), catalog.acl(&securable));
        for grantee in grantees {
            apply_to(&mut acl, *grantee, grantor, &may, grant, owner)?;
        }
        catalog.privileges.set_list(securable, acl);
    }
    Ok(())
}

/// `ALTER DEFAULT PRIVILEGES`
pub(crate) fn defaults(
    catalog: &mut Catalog,
    grant: &Grant,
    kind: SecurableKind,
    owners: &[RoleName],
    schemas: &[String],
    actor: &Actor,
) -> Result<()> {
    check_schemas(schemas)?;
    let grantees = grantees(catalog, grant, actor)?;
    let owners = match owners {
        [] => vec![actor.current],
        owners => owners.iter().map(|owner| resolve_role(&catalog.roles, owner, actor)).collect::<Result<_>>()?,
    };
    for owner in owners {
        if !catalog.roles.has_rights_of(actor.current, owner) {
            return Err(Error::new("42501", "permission denied to change default privileges"));
        }
        let of = DefaultsOf { owner, kind, in_schema: !schemas.is_empty() };
        let mut acl = catalog.privileges.default_list(of);
        let wanted = wanted(&grant.granted.iter().collect::<Vec<_>>(), kind, grant.revokes)?;
        for grantee in &grantees {
            apply_to(&mut acl, *grantee, owner, &wanted.privileges, grant, owner)?;
        }
        catalog.privileges.set_default(of, acl);
    }
    Ok(())
}

fn owners_of(catalog: &Catalog, names: &[RoleName], actor: &Actor, verb: &str) -> Result<BTreeSet<RoleId>> {
    let mut roles = BTreeSet::new();
    for name in names {
        let role = resolve_role(&catalog.roles, name, actor)?;
        if role == BOOTSTRAP_ROLE {
            let what =
                format!("cannot {verb} objects owned by role ebap because they are required by the database system");
            return Err(Error::new("2BP01", what));
        }
        if !catalog.roles.has_rights_of(actor.current, role) {
            let name = catalog.roles.get(role).map(|role| role.name.clone()).unwrap_or_default();
            let detail = format!("Only roles with privileges of role \"{name}\" may {verb} objects owned by it.");
            return Err(denied(format!("permission denied to {verb} objects"), detail));
        }
        roles.insert(role);
    }
    Ok(roles)
}

fn owned_by(catalog: &Catalog, roles: &BTreeSet<RoleId>) -> Vec<ObjectId> {
    let in_order = catalog.in_order().into_iter();
    in_order.filter(|object| roles.contains(&object.owner)).map(|object| object.id).collect()
}

/// `REASSIGN OWNED BY … TO …`
pub(crate) fn reassign(catalog: &mut Catalog, names: &[RoleName], to: &RoleName, actor: &Actor) -> Result<()> {
    let roles = owners_of(catalog, names, actor, "reassign")?;
    let to = resolve_role(&catalog.roles, to, actor)?;
    if !catalog.roles.has_rights_of(actor.current, to) {
        return Err(denied("permission denied to reassign objects", "The new owner is none of the role's own roles."));
    }
    for id in owned_by(catalog, &roles) {
        catalog.set_owner(id, to);
    }
    Ok(())
}

/// `DROP OWNED BY …`: the objects, and what is granted to the roles.
pub(crate) fn drop_owned(
    catalog: &mut Catalog,
    names: &[RoleName],
    cascade: bool,
    actor: &Actor,
    notices: &mut Vec<String>,
) -> Result<()> {
    let roles = owners_of(catalog, names, actor, "drop")?;
    let owned = owned_by(catalog, &roles);
    owned.iter().for_each(|id| catalog.policies.drop_object(*id));
    // What others depend on goes last.
    for id in owned.into_iter().rev() {
        let Some(object) = catalog.get(id).cloned() else { continue };
        if object.kind == ObjectKind::Function {
            policies::check_uncalled(catalog, &object)?;
        }
        for gone in catalog.drop(object.kind, &object.name, cascade)? {
            if gone.id != id {
                notices.push(format!("drop cascades to {} {}", gone.kind, gone.name));
            }
        }
    }
    for role in roles {
        catalog.privileges.forget(role);
        catalog.policies.forget(role);
    }
    Ok(())
}

/// # Errors
/// 2BP01 where something is the role's, or granted to it or by it.
pub(crate) fn check_unused(catalog: &Catalog, role: RoleId, name: &str) -> Result<()> {
    let owned = catalog.objects().filter(|object| object.owner == role);
    let mut uses: Vec<String> = owned.map(|object| format!("owner of {} {}", object.kind, object.name)).collect();
    let granted = catalog.privileges.naming(role).filter(|of| catalog.owner(of) != role);
    uses.extend(granted.map(|of| format!("privileges for {}", described(catalog, of))));
    if catalog.privileges.has_defaults_naming(role) {
        uses.push("default privileges".to_owned());
    }
    uses.extend(policies::uses(catalog, role));
    if uses.is_empty() {
        return Ok(());
    }
    let message = format!("role \"{name}\" cannot be dropped because some objects depend on it");
    Err(Error::new("2BP01", message).detail(uses.join("\n")).hint("Use REASSIGN OWNED and DROP OWNED before."))
}
