//! Row-level security: which rows of a relation a role sees, as PostgreSQL's policies say.
//!
//! # Invariants
//! - A relation whose row security is enabled shows no row that no permissive policy lets through.
//! - Superusers, roles with `BYPASSRLS` and, unless it is forced, owners are not looked at.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::{Catalog, ObjectId, PUBLIC, RoleId, Securable};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// It takes rows away from what the others let through.
    pub restrictive: bool,
    /// It says `FOR SELECT` and not `FOR ALL`, which is the same here.
    pub for_select: bool,
    /// `PUBLIC` is everybody.
    pub roles: BTreeSet<RoleId>,
    /// An expression over the columns; without one all rows pass.
    pub condition: Option<String>,
}

/// Row-level security of one relation: whether it is on, and its policies.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowSecurity {
    #[serde(default)]
    pub enabled: bool,
    /// For the owner too.
    #[serde(default)]
    pub forced: bool,
    /// By name.
    #[serde(default)]
    pub policies: BTreeMap<String, Policy>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policies(BTreeMap<ObjectId, RowSecurity>);

impl Policies {
    pub fn is_untouched(&self) -> bool {
        self.0.is_empty()
    }

    pub fn of(&self, id: ObjectId) -> Option<&RowSecurity> {
        self.0.get(&id)
    }

    pub fn of_mut(&mut self, id: ObjectId) -> &mut RowSecurity {
        self.0.entry(id).or_default()
    }

    /// Forgets the relation where nothing is said of it.
    pub fn tidy(&mut self, id: ObjectId) {
        if self.of(id) == Some(&RowSecurity::default()) {
            self.0.remove(&id);
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = (ObjectId, &RowSecurity)> {
        self.0.iter().map(|(id, security)| (*id, security))
    }

    /// The relation goes, and its policies with it.
    pub fn drop_object(&mut self, id: ObjectId) {
        self.0.remove(&id);
    }

    pub(crate) fn take_over(&mut self, before: &Self, from: ObjectId, to: ObjectId) {
        if let Some(security) = before.of(from) {
            self.0.insert(to, security.clone());
        }
    }

    /// A policy that is of no other role goes.
    pub fn forget(&mut self, role: RoleId) {
        for security in self.0.values_mut() {
            security.policies.retain(|_, policy| !policy.roles.remove(&role) || !policy.roles.is_empty());
        }
    }

    /// Policies that name the role.
    pub fn naming(&self, role: RoleId) -> impl Iterator<Item = (ObjectId, &str)> {
        self.0.iter().flat_map(move |(id, security)| {
            let named = security.policies.iter().filter(move |(_, policy)| policy.roles.contains(&role));
            named.map(|(name, _)| (*id, name.as_str()))
        })
    }
}

impl Catalog {
    /// Whether policies say which rows of the relation the role sees.
    pub fn has_row_security(&self, role: RoleId, id: ObjectId) -> bool {
        let Some(security) = self.policies.of(id).filter(|security| security.enabled) else { return false };
        let exempt = self.roles.is_superuser(role) || self.roles.get(role).is_some_and(|role| role.bypass_rls);
        !exempt && (security.forced || !self.may_act_as_owner(role, &Securable::Object(id)))
    }

    /// The condition on the rows that the role sees, as an expression; `None` for all rows.
    pub fn row_condition(&self, role: RoleId, id: ObjectId) -> Option<String> {
        let security = self.policies.of(id).filter(|_| self.has_row_security(role, id))?;
        let own = self.roles.inherited(role);
        let is_of_role = |policy: &&Policy| policy.roles.iter().any(|one| *one == PUBLIC || own.contains(one));
        let applied: Vec<&Policy> = security.policies.values().filter(is_of_role).collect();
        let texts = |restrictive: bool| -> Vec<String> {
            let chosen = applied.iter().filter(|policy| policy.restrictive == restrictive);
            chosen.map(|policy| format!("({})", policy.condition.as_deref().unwrap_or("true"))).collect()
        };
        let permissive = texts(false);
        let mut all = texts(true);
        match permissive.is_empty() {
            true => return Some("false".to_owned()),
            false => all.insert(0, format!("({})", permissive.join(" OR "))),
        }
        Some(all.join(" AND "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{BOOTSTRAP_ROLE, ObjectKind, Role};

    fn policy(restrictive: bool, roles: &[RoleId], condition: &str) -> Policy {
        let roles = roles.iter().copied().collect();
        Policy { restrictive, for_select: false, roles, condition: Some(condition.to_owned()) }
    }

    #[test]
    fn permissive_policies_add_rows_and_restrictive_ones_take_them_away() {
        let mut catalog = Catalog::default();
        let id = catalog.create(ObjectKind::Stream, "s", String::new(), Vec::new(), 0).expect("a new name");
        let (anna, ben) = (catalog.roles.create(Role::new("anna")), catalog.roles.create(Role::new("ben")));
        let security = catalog.policies.of_mut(id);
        security.policies.insert("a".to_owned(), policy(false, &[PUBLIC], "a"));
        security.policies.insert("b".to_owned(), policy(false, &[anna], "b"));
        security.policies.insert("c".to_owned(), policy(true, &[ben], "c"));
        assert_eq!(catalog.row_condition(anna, id), None, "it is not enabled");
        catalog.policies.of_mut(id).enabled = true;
        assert_eq!(catalog.row_condition(anna, id).as_deref(), Some("((a) OR (b))"));
        assert_eq!(catalog.row_condition(ben, id).as_deref(), Some("((a)) AND (c)"));
        assert_eq!(catalog.row_condition(BOOTSTRAP_ROLE, id), None, "a superuser");
        catalog.set_owner(id, ben);
        assert_eq!(catalog.row_condition(ben, id), None, "the owner");
        catalog.policies.of_mut(id).forced = true;
        assert_eq!(catalog.row_condition(ben, id).as_deref(), Some("((a)) AND (c)"));
        catalog.policies.of_mut(id).policies.remove("a");
        assert_eq!(catalog.row_condition(ben, id).as_deref(), Some("false"), "nothing lets a row through");
        catalog.policies.forget(anna);
        assert_eq!(catalog.policies.of(id).map(|security| security.policies.len()), Some(1));
        catalog.drop(ObjectKind::Stream, "s", false).expect("it is there");
        assert!(catalog.policies.is_untouched());
    }
}
