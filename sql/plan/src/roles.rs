//! What `CREATE ROLE`, `GRANT role` and their like do to the catalog, and who may.
//!
//! The rules are those of PostgreSQL 16: `CREATEROLE` lets a role change the roles that it is an admin of, and makes it one of
//! those it creates.

use ebap_catalog::{BOOTSTRAP_ROLE, Catalog, Membership, Role, RoleId, Roles};

use crate::{
    Applied, Error, Result, grants,
    parser::{NewPassword, RoleChange, RoleName, RoleOption, RoleStatement},
    policies,
};

/// On whose behalf a statement runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Actor {
    /// `current_user`: whose rights count.
    pub current: RoleId,
    /// `session_user`: who has logged in.
    pub session: RoleId,
}

impl Actor {
    /// May do everything.
    pub const SUPERUSER: Self = Self { current: BOOTSTRAP_ROLE, session: BOOTSTRAP_ROLE };
}

pub(crate) fn apply(catalog: &Catalog, statement: &RoleStatement, actor: &Actor) -> Result<Applied> {
    let mut next = catalog.clone();
    let mut notices = Vec::new();
    let tag = match &statement.0 {
        RoleChange::Privileges { grant, on } => {
            grants::privileges(&mut next, grant, on, actor, &mut notices)?;
            if grant.revokes { "REVOKE" } else { "GRANT" }
        }
        RoleChange::Defaults { grant, kind, owners, schemas } => {
            grants::defaults(&mut next, grant, *kind, owners, schemas, actor)?;
            "ALTER DEFAULT PRIVILEGES"
        }
        RoleChange::ReassignOwned { roles, to } => {
            grants::reassign(&mut next, roles, to, actor)?;
            "REASSIGN OWNED"
        }
        RoleChange::DropOwned { roles, cascade } => {
            grants::drop_owned(&mut next, roles, *cascade, actor, &mut notices)?;
            "DROP OWNED"
        }
        RoleChange::Policy(change) => {
            let tag = policies::apply(&mut next, change, actor, &mut notices)?;
            return Ok(Applied { catalog: next, tag, notices });
        }
        RoleChange::Create { .. }
        | RoleChange::Alter { .. }
        | RoleChange::Drop { .. }
        | RoleChange::Grant { .. }
        | RoleChange::Revoke { .. } => return of_roles(catalog, statement, actor),
    };
    Ok(Applied { catalog: next, tag: tag.to_owned(), notices })
}

/// Statements about roles and memberships alone.
fn of_roles(catalog: &Catalog, statement: &RoleStatement, actor: &Actor) -> Result<Applied> {
    let mut next = catalog.clone();
    let mut change = Change { roles: &mut next.roles, actor, notices: Vec::new() };
    let tag = match &statement.0 {
        RoleChange::Create { name, if_not_exists, options } => {
            change.create(name, *if_not_exists, options)?;
            "CREATE ROLE"
        }
        RoleChange::Alter { name, if_exists, options } => {
            change.alter(name, *if_exists, options)?;
            "ALTER ROLE"
        }
        RoleChange::Drop { names, if_exists } => {
            for name in names {
                change.drop(catalog, name, *if_exists)?;
            }
            "DROP ROLE"
        }
        RoleChange::Grant { roles, members, admin } => {
            for (role, member) in pairs(roles, members) {
                change.grant(role, member, *admin)?;
            }
            "GRANT ROLE"
        }
        RoleChange::Revoke { roles, members, admin_only } => {
            for (role, member) in pairs(roles, members) {
                change.revoke(role, member, *admin_only)?;
            }
            "REVOKE ROLE"
        }
        RoleChange::Privileges { .. }
        | RoleChange::Defaults { .. }
        | RoleChange::ReassignOwned { .. }
        | RoleChange::DropOwned { .. }
        | RoleChange::Policy(_) => return Err(Error::new("XX000", "the statement is not about roles")),
    };
    let notices = change.notices;
    Ok(Applied { catalog: next, tag: tag.to_owned(), notices })
}

fn pairs<'a>(roles: &'a [String], members: &'a [RoleName]) -> impl Iterator<Item = (&'a str, &'a RoleName)> {
    roles.iter().flat_map(move |role| members.iter().map(move |member| (role.as_str(), member)))
}

/// 42704
pub(crate) fn unknown_role(name: &str) -> Error {
    Error::new("42704", format!("role \"{name}\" does not exist"))
}

/// The role that is named.
pub(crate) fn resolve_role(roles: &Roles, name: &RoleName, actor: &Actor) -> Result<RoleId> {
    match name {
        RoleName::Named(name) => roles.find(name).map(|role| role.id).ok_or_else(|| unknown_role(name)),
        RoleName::CurrentUser => Ok(actor.current),
        RoleName::SessionUser => Ok(actor.session),
    }
}

pub(crate) fn denied(message: impl Into<String>, detail: impl Into<String>) -> Error {
    Error::new("42501", message).detail(detail)
}

struct Change<'a> {
    roles: &'a mut Roles,
    actor: &'a Actor,
    notices: Vec<String>,
}

impl Change<'_> {
    fn create(&mut self, name: &str, if_not_exists: bool, options: &[RoleOption]) -> Result<()> {
        if self.roles.find(name).is_some() {
            if if_not_exists {
                self.notices.push(format!("role \"{name}\" already exists, skipping"));
                return Ok(());
            }
            return Err(Error::new("42710", format!("role \"{name}\" already exists")));
        }
        if !self.is_superuser() && !self.has_create_role() {
            let detail = "Only roles with the CREATEROLE attribute may create roles.";
            return Err(denied("permission denied to create role", detail));
        }
        self.check_attributes(options, "create")?;
        let mut role = Role::new(name);
        for option in options {
            set(&mut role, option)?;
        }
        let id = self.roles.create(role);
        if !self.is_superuser() {
            let (role, member) = (id, self.actor.current);
            self.roles.grant(Membership { role, member, admin: true, grantor: BOOTSTRAP_ROLE });
        }
        for option in options {
            match option {
                RoleOption::InRoles(names) => {
                    for one in names {
                        let RoleName::Named(role) = one else { return Err(unknown_role("current_user")) };
                        self.grant(role, &RoleName::Named(name.to_owned()), false)?;
                    }
                }
                RoleOption::Members { names, admin } => {
                    for member in names {
                        self.grant(name, member, *admin)?;
                    }
                }
                RoleOption::Login(_)
                | RoleOption::Superuser(_)
                | RoleOption::Inherit(_)
                | RoleOption::CreateRole(_)
                | RoleOption::CreateDb(_)
                | RoleOption::Replication(_)
                | RoleOption::BypassRls(_)
                | RoleOption::ConnectionLimit(_)
                | RoleOption::Password(_)
                | RoleOption::ValidUntil(_) => {}
            }
        }
        Ok(())
    }

    fn alter(&mut self, name: &RoleName, if_exists: bool, options: &[RoleOption]) -> Result<()> {
        let Some(id) = self.existing(name, if_exists)? else { return Ok(()) };
        if self.is_predefined(id) {
            let message = format!("role name \"{}\" is reserved", self.name(id));
            return Err(Error::new("42939", message).detail("Cannot alter reserved roles."));
        }
        // A password of one's own is all that one may change without a right.
        let own_password = id == self.actor.current && matches!(options, [RoleOption::Password(_)]);
        if !own_password {
            self.check_may_change(id, "alter")?;
            self.check_attributes(options, "alter")?;
        }
        for option in options {
            if id == BOOTSTRAP_ROLE && *option == RoleOption::Superuser(false) {
                let error = denied(
                    "permission denied to alter role",
                    "The bootstrap superuser must have the SUPERUSER attribute.",
                );
                return Err(Error { sqlstate: "0A000", ..error });
            }
            if let Some(role) = self.roles.get_mut(id) {
                set(role, option)?;
            }
        }
        Ok(())
    }

    fn drop(&mut self, catalog: &Catalog, name: &RoleName, if_exists: bool) -> Result<()> {
        let Some(id) = self.existing(name, if_exists)? else { return Ok(()) };
        let in_use = |message: &str| Err(Error::new("55006", message));
        if id == self.actor.current {
            return in_use("current user cannot be dropped");
        }
        if id == self.actor.session {
            return in_use("session user cannot be dropped");
        }
        self.check_may_change(id, "drop")?;
        let name = self.name(id);
        if id == BOOTSTRAP_ROLE || self.is_predefined(id) {
            let message = format!("cannot drop role {name} because it is required by the database system");
            return Err(Error::new("2BP01", message));
        }
        grants::check_unused(catalog, id, &name)?;
        self.roles.remove(id);
        Ok(())
    }

    fn grant(&mut self, role: &str, member: &RoleName, admin: bool) -> Result<()> {
        let (role, member) = (self.named(role)?, resolve_role(self.roles, member, self.actor)?);
        self.check_admin(role, "grant")?;
        if self.roles.is_member(role, member) {
            let (role, member) = (self.name(role), self.name(member));
            return Err(Error::new("0LP01", format!("role \"{role}\" is a member of role \"{member}\"")));
        }
        if let Some(already) = self.roles.membership(role, member)
            && (already.admin || !admin)
        {
            let (role, member) = (self.name(role), self.name(member));
            self.notices.push(format!("role \"{member}\" is already a member of role \"{role}\""));
            return Ok(());
        }
        self.roles.grant(Membership { role, member, admin, grantor: self.actor.current });
        Ok(())
    }

    fn revoke(&mut self, role: &str, member: &RoleName, admin_only: bool) -> Result<()> {
        let (role, member) = (self.named(role)?, resolve_role(self.roles, member, self.actor)?);
        self.check_admin(role, "revoke")?;
        let Some(found) = self.roles.membership(role, member).copied() else {
            let (role, member) = (self.name(role), self.name(member));
            self.notices.push(format!("role \"{member}\" is not a member of role \"{role}\""));
            return Ok(());
        };
        match admin_only {
            true => self.roles.grant(Membership { admin: false, ..found }),
            false => self.roles.revoke(role, member),
        }
        Ok(())
    }

    fn existing(&mut self, name: &RoleName, if_exists: bool) -> Result<Option<RoleId>> {
        match (resolve_role(self.roles, name, self.actor), name) {
            (Ok(id), _) => Ok(Some(id)),
            (Err(_), RoleName::Named(name)) if if_exists => {
                self.notices.push(format!("role \"{name}\" does not exist, skipping"));
                Ok(None)
            }
            (Err(error), _) => Err(error),
        }
    }

    fn named(&self, name: &str) -> Result<RoleId> {
        self.roles.find(name).map(|role| role.id).ok_or_else(|| unknown_role(name))
    }

    fn name(&self, id: RoleId) -> String {
        self.roles.get(id).map(|role| role.name.clone()).unwrap_or_default()
    }

    fn is_predefined(&self, id: RoleId) -> bool {
        self.roles.get(id).is_some_and(Role::is_predefined)
    }

    fn is_superuser(&self) -> bool {
        self.roles.is_superuser(self.actor.current)
    }

    fn has_create_role(&self) -> bool {
        self.roles.get(self.actor.current).is_some_and(|role| role.create_role)
    }

    fn check_superuser(&self, verb: &str) -> Result<()> {
        if self.is_superuser() {
            return Ok(());
        }
        let detail = format!("Only roles with the SUPERUSER attribute may {verb} roles with the SUPERUSER attribute.");
        Err(denied(format!("permission denied to {verb} role"), detail))
    }

    /// Nobody gives an attribute that he has not.
    fn check_attributes(&self, options: &[RoleOption], verb: &str) -> Result<()> {
        let Some(own) = self.roles.get(self.actor.current).filter(|role| !role.superuser) else { return Ok(()) };
        for option in options {
            let missing = match option {
                RoleOption::Superuser(_) => Some("SUPERUSER"),
                RoleOption::CreateDb(_) => (!own.create_db).then_some("CREATEDB"),
                RoleOption::Replication(_) => (!own.replication).then_some("REPLICATION"),
                RoleOption::BypassRls(_) => (!own.bypass_rls).then_some("BYPASSRLS"),
                RoleOption::Login(_)
                | RoleOption::Inherit(_)
                | RoleOption::CreateRole(_)
                | RoleOption::ConnectionLimit(_)
                | RoleOption::Password(_)
                | RoleOption::ValidUntil(_)
                | RoleOption::InRoles(_)
                | RoleOption::Members { .. } => None,
            };
            if let Some(attribute) = missing {
                let detail = format!("Only roles with the {attribute} attribute may change the {attribute} attribute.");
                return Err(denied(format!("permission denied to {verb} role"), detail));
            }
        }
        Ok(())
    }

    fn check_may_change(&self, id: RoleId, verb: &str) -> Result<()> {
        if self.roles.is_superuser(id) {
            return self.check_superuser(verb);
        }
        if self.is_superuser() || (self.has_create_role() && self.roles.is_admin_of(self.actor.current, id)) {
            return Ok(());
        }
        let name = self.name(id);
        let detail = format!(
            "Only roles with the CREATEROLE attribute and the ADMIN option on role \"{name}\" may {verb} this role."
        );
        Err(denied(format!("permission denied to {verb} role"), detail))
    }

    fn check_admin(&self, role: RoleId, verb: &str) -> Result<()> {
        let name = self.name(role);
        if self.roles.is_superuser(role) && !self.is_superuser() {
            let detail =
                format!("Only roles with the SUPERUSER attribute may {verb} roles with the SUPERUSER attribute.");
            return Err(denied(format!("permission denied to {verb} role \"{name}\""), detail));
        }
        if self.roles.is_admin_of(self.actor.current, role) {
            return Ok(());
        }
        let detail = format!("Only roles with the ADMIN option on role \"{name}\" may {verb} this role.");
        Err(denied(format!("permission denied to {verb} role \"{name}\""), detail))
    }
}

fn set(role: &mut Role, option: &RoleOption) -> Result<()> {
    match option {
        RoleOption::Login(on) => role.can_login = *on,
        RoleOption::Superuser(on) => role.superuser = *on,
        RoleOption::Inherit(on) => role.inherit = *on,
        RoleOption::CreateRole(on) => role.create_role = *on,
        RoleOption::CreateDb(on) => role.create_db = *on,
        RoleOption::Replication(on) => role.replication = *on,
        RoleOption::BypassRls(on) => role.bypass_rls = *on,
        RoleOption::ConnectionLimit(limit) => role.connection_limit = *limit,
        RoleOption::Password(NewPassword::Null) => role.verifier = None,
        RoleOption::Password(NewPassword::Verifier(verifier)) => role.verifier = Some(verifier.clone()),
        RoleOption::Password(NewPassword::Clear(_)) => {
            return Err(Error::new("XX000", "a password in clear text cannot be kept"));
        }
        RoleOption::ValidUntil(until) => role.valid_until_us = *until,
        RoleOption::InRoles(_) | RoleOption::Members { .. } => {}
    }
    Ok(())
}
