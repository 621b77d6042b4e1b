//! Roles: who may log in, with which attributes, and who is a member of whom.
//!
//! # Invariants
//! - The role `ebap` is always there and always a superuser, as PostgreSQL's bootstrap role is.
//! - An id is given once. Memberships have no cycles.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
};

use serde::{Deserialize, Serialize};

use crate::Verifier;

/// A role's number, which is its oid in `pg_roles`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RoleId(pub u32);

/// The role that owns what no other role has made.
pub const BOOTSTRAP_ROLE: RoleId = RoleId(10);
const BOOTSTRAP_NAME: &str = "ebap";
/// Below it are the oids that PostgreSQL gives its own.
const FIRST_ID: u32 = 16_384;
/// Reads all relations.
pub const READ_ALL_DATA: RoleId = RoleId(6_181);
/// Makes the server read its files and its environment, by streams, tables and secrets.
pub const READ_SERVER_FILES: RoleId = RoleId(4_569);
/// Reads all that the server says about itself.
pub const MONITOR: RoleId = RoleId(3_373);
/// Roles that are always there, for their rights to be granted. Oids and names are PostgreSQL's.
const PREDEFINED: [(RoleId, &str); 3] =
    [(MONITOR, "pg_monitor"), (READ_SERVER_FILES, "pg_read_server_files"), (READ_ALL_DATA, "pg_read_all_data")];

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Role {
    pub id: RoleId,
    pub name: String,
    pub can_login: bool,
    pub superuser: bool,
    /// Has the rights of the roles it is a member of, without `SET ROLE`.
    pub inherit: bool,
    pub create_role: bool,
    pub create_db: bool,
    pub replication: bool,
    pub bypass_rls: bool,
    /// Sessions at once; `None` for any number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection_limit: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verifier: Option<Verifier>,
    /// From this processing time on the password is not taken any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_until_us: Option<i64>,
}

impl Role {
    /// As `CREATE ROLE` makes one without options.
    pub fn new(name: &str) -> Self {
        Self {
            id: RoleId(0),
            name: name.to_owned(),
            can_login: false,
            superuser: false,
            inherit: true,
            create_role: false,
            create_db: false,
            replication: false,
            bypass_rls: false,
            connection_limit: None,
            verifier: None,
            valid_until_us: None,
        }
    }

    /// Nobody changes it or drops it.
    pub fn is_predefined(&self) -> bool {
        PREDEFINED.iter().any(|(id, _)| *id == self.id)
    }

    fn bootstrap() -> Self {
        Self {
            id: BOOTSTRAP_ROLE,
            can_login: true,
            superuser: true,
            create_role: true,
            create_db: true,
            replication: true,
            bypass_rls: true,
            ..Self::new(BOOTSTRAP_NAME)
        }
    }
}

/// `GRANT role TO member`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Membership {
    pub role: RoleId,
    pub member: RoleId,
    /// The member may grant the role to others.
    pub admin: bool,
    pub grantor: RoleId,
}

/// Key of the salts that unknown users are shown.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MockKey(String);

impl MockKey {
    /// `text` must be random and known to nobody.
    pub fn new(text: String) -> Self {
        Self(text)
    }

    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl fmt::Debug for MockKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MockKey(***)")
    }
}

/// Cloned with every change of the catalog, so each role is shared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Saved", into = "Saved")]
pub struct Roles {
    last_id: u32,
    by_id: BTreeMap<RoleId, Arc<Role>>,
    names: BTreeMap<Arc<str>, RoleId>,
    /// By member, then role.
    memberships: BTreeMap<(RoleId, RoleId), Membership>,
    mock_key: Option<MockKey>,
}

#[derive(Serialize, Deserialize)]
struct Saved {
    last_id: u32,
    roles: Vec<Role>,
    memberships: Vec<Membership>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    mock_key: Option<MockKey>,
}

impl Default for Roles {
    fn default() -> Self {
        Saved { last_id: FIRST_ID, roles: Vec::new(), memberships: Vec::new(), mock_key: None }.into()
    }
}

impl From<Saved> for Roles {
    fn from(saved: Saved) -> Self {
        let Saved { last_id, roles, memberships, mock_key } = saved;
        let mut all = Self {
            last_id,
            by_id: BTreeMap::new(),
            names: BTreeMap::new(),
            memberships: memberships.into_iter().map(|one| ((one.member, one.role), one)).collect(),
            mock_key,
        };
        let predefined = PREDEFINED.map(|(id, name)| Role { id, ..Role::new(name) });
        for role in [Role::bootstrap()].into_iter().chain(predefined).chain(roles) {
            all.insert(role);
        }
        all
    }
}

impl From<Roles> for Saved {
    fn from(all: Roles) -> Self {
        Self {
            last_id: all.last_id,
            roles: all.by_id.into_values().filter(|role| !role.is_predefined()).map(Arc::unwrap_or_clone).collect(),
            memberships: all.memberships.into_values().collect(),
            mock_key: all.mock_key,
        }
    }
}

impl Roles {
    /// Whether nobody has made or changed one: such a catalog says nothing of roles.
    pub fn is_untouched(&self) -> bool {
        *self == Self::default()
    }

    /// By rising id.
    pub fn iter(&self) -> impl Iterator<Item = &Role> {
        self.by_id.values().map(Arc::as_ref)
    }

    pub fn memberships(&self) -> impl Iterator<Item = &Membership> {
        self.memberships.values()
    }

    pub fn get(&self, id: RoleId) -> Option<&Role> {
        self.by_id.get(&id).map(Arc::as_ref)
    }

    pub fn get_mut(&mut self, id: RoleId) -> Option<&mut Role> {
        self.by_id.get_mut(&id).map(Arc::make_mut)
    }

    pub fn find(&self, name: &str) -> Option<&Role> {
        self.get(*self.names.get(name)?)
    }

    pub fn mock_key(&self) -> Option<&MockKey> {
        self.mock_key.as_ref()
    }

    pub fn set_mock_key(&mut self, key: MockKey) {
        self.mock_key = Some(key);
    }

    fn insert(&mut self, role: Role) {
        self.names.insert(role.name.as_str().into(), role.id);
        self.by_id.insert(role.id, Arc::new(role));
    }

    /// Gives the role its id. The caller has looked that the name is free.
    pub fn create(&mut self, role: Role) -> RoleId {
        self.last_id += 1;
        let id = RoleId(self.last_id);
        self.insert(Role { id, ..role });
        id
    }

    /// Takes a role away, with its memberships. The bootstrap role stays.
    pub fn remove(&mut self, id: RoleId) {
        if id == BOOTSTRAP_ROLE || self.get(id).is_none_or(Role::is_predefined) {
            return;
        }
        if let Some(role) = self.by_id.remove(&id) {
            self.names.remove(role.name.as_str());
        }
        self.memberships.retain(|_, one| one.role != id && one.member != id);
    }

    pub fn membership(&self, role: RoleId, member: RoleId) -> Option<&Membership> {
        self.memberships.get(&(member, role))
    }

    /// The caller has looked that this closes no cycle: see `is_member`.
    pub fn grant(&mut self, membership: Membership) {
        self.memberships.insert((membership.member, membership.role), membership);
    }

    pub fn revoke(&mut self, role: RoleId, member: RoleId) {
        self.memberships.remove(&(member, role));
    }

    /// Whether `member` is the role, or a member of it, however far. Superusers are members of every role.
    pub fn may_become(&self, member: RoleId, role: RoleId) -> bool {
        self.is_superuser(member) || self.is_member(member, role)
    }

    /// Whether there is a chain of memberships from one to the other.
    pub fn is_member(&self, member: RoleId, role: RoleId) -> bool {
        self.reachable(member, |_| true).contains(&role)
    }

    /// The role and those whose rights it has without `SET ROLE`: the roles that it inherits from.
    pub fn inherited(&self, member: RoleId) -> BTreeSet<RoleId> {
        self.reachable(member, |role| role.inherit)
    }

    /// Whether the rights of `role` are among those of `member`.
    pub fn has_rights_of(&self, member: RoleId, role: RoleId) -> bool {
        self.is_superuser(member) || member == role || self.inherited(member).contains(&role)
    }

    /// Whether `member` may grant the role, and change it where it may change roles at all.
    pub fn is_admin_of(&self, member: RoleId, role: RoleId) -> bool {
        let through = self.inherited(member);
        let admin = |of: &RoleId| self.membership(role, *of).is_some_and(|one| one.admin);
        self.is_superuser(member) || through.iter().any(admin)
    }

    pub fn is_superuser(&self, id: RoleId) -> bool {
        self.get(id).is_some_and(|role| role.superuser)
    }

    fn reachable(&self, from: RoleId, passes: impl Fn(&Role) -> bool) -> BTreeSet<RoleId> {
        let (mut found, mut next) = (BTreeSet::from([from]), vec![from]);
        while let Some(member) = next.pop() {
            if !self.get(member).is_some_and(&passes) {
                continue;
            }
            let of_member = (member, RoleId(0))..=(member, RoleId(u32::MAX));
            for (_, role) in self.memberships.range(of_member).map(|(key, _)| key) {
                if found.insert(*role) {
                    next.push(*role);
                }
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn role(roles: &mut Roles, name: &str, inherit: bool) -> RoleId {
        roles.create(Role { inherit, ..Role::new(name) })
    }

    fn grant(roles: &mut Roles, role: RoleId, member: RoleId, admin: bool) {
        roles.grant(Membership { role, member, admin, grantor: BOOTSTRAP_ROLE });
    }

    #[test]
    fn rights_come_through_roles_that_inherit() {
        let mut roles = Roles::default();
        let [a, b, c] = ["a", "b", "c"].map(|name| role(&mut roles, name, name != "b"));
        grant(&mut roles, b, a, false);
        grant(&mut roles, c, b, true);
        assert!(roles.is_member(a, c) && roles.may_become(a, c) && !roles.is_member(c, a));
        assert!(roles.has_rights_of(a, b) && !roles.has_rights_of(a, c), "b inherits nothing");
        assert!(!roles.is_admin_of(a, b) && roles.is_admin_of(a, c) && roles.is_admin_of(BOOTSTRAP_ROLE, c));
        roles.remove(b);
        assert!(!roles.is_member(a, c) && roles.memberships().count() == 0);
    }

    #[test]
    fn roles_are_saved_whole_and_an_id_is_given_once() {
        let mut roles = Roles::default();
        assert!(roles.is_untouched() && roles.is_superuser(BOOTSTRAP_ROLE));
        let first = role(&mut roles, "first", true);
        roles.remove(first);
        let second = role(&mut roles, "second", true);
        assert!(second > first && !roles.is_untouched());
        roles.set_mock_key(MockKey::new("k".to_owned()));
        grant(&mut roles, second, BOOTSTRAP_ROLE, false);
        roles.remove(BOOTSTRAP_ROLE);
        let bytes = serde_json::to_vec(&roles).expect("it can be written");
        let read: Roles = serde_json::from_slice(&bytes).expect("and read");
        assert_eq!(read, roles);
        let own = read.iter().filter(|role| !role.is_predefined());
        assert_eq!(own.map(|role| role.name.as_str()).collect::<Vec<_>>(), ["ebap", "second"]);
    }
}
