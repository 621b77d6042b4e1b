//! Owners and privileges: who may do what with which object, as PostgreSQL keeps it in its access control lists.
//!
//! # Invariants
//! - A list says who has granted what to whom. What nobody has granted or revoked on has the default list of its kind.
//! - Whoever has granted a privilege was its owner, or had it with the grant option.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::{BOOTSTRAP_ROLE, Catalog, MONITOR, ObjectId, ObjectKind, READ_ALL_DATA, RoleId};

/// Stands for everybody where a privilege is granted.
pub const PUBLIC: RoleId = RoleId(0);

/// In the order in which PostgreSQL writes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Privilege {
    Insert,
    Select,
    Update,
    Delete,
    Truncate,
    References,
    Trigger,
    Execute,
    Usage,
    Create,
    Temporary,
    Connect,
    /// To see personal data as it is. PostgreSQL has none such; the name is SQL Server's.
    Unmask,
}

impl Privilege {
    pub const ALL: [Self; 13] = [
        Self::Insert,
        Self::Select,
        Self::Update,
        Self::Delete,
        Self::Truncate,
        Self::References,
        Self::Trigger,
        Self::Execute,
        Self::Usage,
        Self::Create,
        Self::Temporary,
        Self::Connect,
        Self::Unmask,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Insert => "INSERT",
            Self::Select => "SELECT",
            Self::Update => "UPDATE",
            Self::Delete => "DELETE",
            Self::Truncate => "TRUNCATE",
            Self::References => "REFERENCES",
            Self::Trigger => "TRIGGER",
            Self::Execute => "EXECUTE",
            Self::Usage => "USAGE",
            Self::Create => "CREATE",
            Self::Temporary => "TEMPORARY",
            Self::Connect => "CONNECT",
            Self::Unmask => "UNMASK",
        }
    }

    /// In the text of an `aclitem`.
    pub fn letter(self) -> char {
        match self {
            Self::Insert => 'a',
            Self::Select => 'r',
            Self::Update => 'w',
            Self::Delete => 'd',
            Self::Truncate => 'D',
            Self::References => 'x',
            Self::Trigger => 't',
            Self::Execute => 'X',
            Self::Usage => 'U',
            Self::Create => 'C',
            Self::Temporary => 'T',
            Self::Connect => 'c',
            Self::Unmask => 'p',
        }
    }

    /// Any case; `TEMP` is `TEMPORARY`.
    pub fn parse(word: &str) -> Option<Self> {
        let word = if word.eq_ignore_ascii_case("TEMP") { "TEMPORARY" } else { word };
        Self::ALL.into_iter().find(|one| one.name().eq_ignore_ascii_case(word))
    }
}

/// Something that privileges are granted on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Securable {
    Database,
    /// The schema `public`.
    Schema,
    Object(ObjectId),
    Column(ObjectId, String),
    /// A table of the schema `ebap`.
    System(String),
}

/// A kind of securable: by it privileges differ, and who has them at first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SecurableKind {
    Database,
    Schema,
    /// A stream, a table or a view.
    Relation,
    Column,
    Function,
    /// A secret or a connection.
    Server,
    /// A sink or an alert: for its owner alone.
    Owned,
}

impl SecurableKind {
    pub fn of(kind: ObjectKind) -> Self {
        match kind {
            ObjectKind::Stream | ObjectKind::Table | ObjectKind::MaterializedView => Self::Relation,
            ObjectKind::Function => Self::Function,
            ObjectKind::Secret | ObjectKind::Connection => Self::Server,
            ObjectKind::Sink | ObjectKind::Alert => Self::Owned,
        }
    }

    /// All that `ALL PRIVILEGES` stands for.
    pub fn privileges(self) -> &'static [Privilege] {
        match self {
            Self::Database => &[Privilege::Create, Privilege::Temporary, Privilege::Connect],
            Self::Schema => &[Privilege::Usage, Privilege::Create],
            Self::Relation => &[
                Privilege::Insert,
                Privilege::Select,
                Privilege::Update,
                Privilege::Delete,
                Privilege::Truncate,
                Privilege::References,
                Privilege::Trigger,
            ],
            Self::Column => &[Privilege::Insert, Privilege::Select, Privilege::Update, Privilege::References],
            Self::Function => &[Privilege::Execute],
            Self::Server => &[Privilege::Usage],
            Self::Owned => &[],
        }
    }

    /// Whether the privilege can be granted on it. `ALL PRIVILEGES` does not grant `UNMASK`, which is said by its name.
    pub fn allows(self, privilege: Privilege) -> bool {
        match privilege {
            Privilege::Unmask => matches!(self, Self::Relation | Self::Column),
            other => self.privileges().contains(&other),
        }
    }

    /// Privileges that everybody has where nobody has said otherwise.
    fn of_public(self) -> &'static [Privilege] {
        match self {
            Self::Database => &[Privilege::Temporary, Privilege::Connect],
            Self::Schema => &[Privilege::Usage],
            Self::Function => &[Privilege::Execute],
            Self::Relation | Self::Column | Self::Server | Self::Owned => &[],
        }
    }
}

/// The privileges that one role has granted to another; by each, whether with the grant option.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AclItem {
    pub grantee: RoleId,
    pub grantor: RoleId,
    pub privileges: BTreeMap<Privilege, bool>,
}

/// An access control list.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acl(Vec<AclItem>);

impl Acl {
    /// As a securable of the kind has it at first.
    pub fn default_of(kind: SecurableKind, owner: RoleId) -> Self {
        let mut acl = Self::default();
        acl.grant(PUBLIC, owner, kind.of_public(), false);
        if kind != SecurableKind::Column {
            acl.grant(owner, owner, kind.privileges(), false);
        }
        acl
    }

    pub fn items(&self) -> &[AclItem] {
        &self.0
    }

    pub fn grant(&mut self, grantee: RoleId, grantor: RoleId, privileges: &[Privilege], option: bool) {
        if privileges.is_empty() {
            return;
        }
        let at = self.0.iter().position(|item| item.grantee == grantee && item.grantor == grantor);
        let at = at.unwrap_or_else(|| {
            self.0.push(AclItem { grantee, grantor, privileges: BTreeMap::new() });
            self.0.len() - 1
        });
        for privilege in privileges {
            let has = self.0[at].privileges.entry(*privilege).or_default();
            *has |= option;
        }
    }

    /// Takes a privilege away, or the grant option of it alone, and what rested on that. Gives whether anything did rest on it.
    pub fn revoke(
        &mut self,
        grantee: RoleId,
        grantor: RoleId,
        privilege: Privilege,
        option_only: bool,
        owner: RoleId,
    ) -> bool {
        for item in self.0.iter_mut().filter(|item| item.grantee == grantee && item.grantor == grantor) {
            if !option_only {
                item.privileges.remove(&privilege);
            } else if let Some(option) = item.privileges.get_mut(&privilege) {
                *option = false;
            }
        }
        self.0.retain(|item| !item.privileges.is_empty());
        if grantee == owner || self.has_option(grantee, privilege) {
            return false;
        }
        let resting: Vec<RoleId> = self
            .0
            .iter()
            .filter(|item| item.grantor == grantee && item.privileges.contains_key(&privilege))
            .map(|item| item.grantee)
            .collect();
        for other in &resting {
            self.revoke(*other, grantee, privilege, false, owner);
        }
        !resting.is_empty()
    }

    /// Whether this very role has the privilege.
    pub fn has(&self, grantee: RoleId, privilege: Privilege) -> bool {
        self.0.iter().any(|item| item.grantee == grantee && item.privileges.contains_key(&privilege))
    }

    /// Whether this very role may grant it. The owner may always.
    pub fn has_option(&self, grantee: RoleId, privilege: Privilege) -> bool {
        self.0.iter().any(|item| item.grantee == grantee && item.privileges.get(&privilege) == Some(&true))
    }

    /// Whether what `grantor` has comes from `grantee`, so that a grant would close a circle.
    pub fn rests_on(&self, grantor: RoleId, grantee: RoleId, privilege: Privilege) -> bool {
        let (mut seen, mut next) = (BTreeSet::from([grantor]), vec![grantor]);
        while let Some(role) = next.pop() {
            let from =
                self.0.iter().filter(|item| item.grantee == role && item.privileges.get(&privilege) == Some(&true));
            for item in from {
                if item.grantor == grantee {
                    return true;
                }
                if seen.insert(item.grantor) {
                    next.push(item.grantor);
                }
            }
        }
        false
    }

    /// Another role in the place of the owner.
    fn hand_over(&mut self, from: RoleId, to: RoleId) {
        let items = std::mem::take(&mut self.0);
        let other = |role| if role == from { to } else { role };
        for item in items {
            for (privilege, option) in item.privileges {
                self.grant(other(item.grantee), other(item.grantor), &[privilege], option);
            }
        }
    }

    fn forget(&mut self, role: RoleId) {
        self.0.retain(|item| item.grantee != role && item.grantor != role);
    }

    pub fn names(&self, role: RoleId) -> bool {
        self.0.iter().any(|item| item.grantee == role || item.grantor == role)
    }
}

/// The new objects that `ALTER DEFAULT PRIVILEGES` is about: of this owner and kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct DefaultsOf {
    pub owner: RoleId,
    pub kind: SecurableKind,
    /// `IN SCHEMA public`: besides the others.
    pub in_schema: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Saved", into = "Saved")]
pub struct Privileges {
    lists: BTreeMap<Securable, Acl>,
    defaults: BTreeMap<DefaultsOf, Acl>,
}

#[derive(Serialize, Deserialize)]
struct Saved {
    lists: Vec<(Securable, Acl)>,
    defaults: Vec<(DefaultsOf, Acl)>,
}

impl From<Saved> for Privileges {
    fn from(saved: Saved) -> Self {
        Self { lists: saved.lists.into_iter().collect(), defaults: saved.defaults.into_iter().collect() }
    }
}

impl From<Privileges> for Saved {
    fn from(all: Privileges) -> Self {
        Self { lists: all.lists.into_iter().collect(), defaults: all.defaults.into_iter().collect() }
    }
}

impl Privileges {
    pub fn is_untouched(&self) -> bool {
        *self == Self::default()
    }

    /// `None` where the default holds.
    pub fn list(&self, of: &Securable) -> Option<&Acl> {
        self.lists.get(of)
    }

    pub fn set_list(&mut self, of: Securable, acl: Acl) {
        self.lists.insert(of, acl);
    }

    /// Lists of the columns that somebody has granted on.
    pub fn columns(&self, of: ObjectId) -> impl Iterator<Item = (&str, &Acl)> {
        let first = Securable::Column(of, String::new());
        self.lists.range(first..).map_while(move |(securable, acl)| match securable {
            Securable::Column(id, name) => (*id == of).then_some((name.as_str(), acl)),
            Securable::Database | Securable::Schema | Securable::Object(_) | Securable::System(_) => None,
        })
    }

    pub fn defaults(&self) -> impl Iterator<Item = (&DefaultsOf, &Acl)> {
        self.defaults.iter()
    }

    /// The list that new objects begin with.
    pub fn default_list(&self, of: DefaultsOf) -> Acl {
        match (self.defaults.get(&of), of.in_schema) {
            (Some(acl), _) => acl.clone(),
            (None, true) => Acl::default(),
            (None, false) => Acl::default_of(of.kind, of.owner),
        }
    }

    pub fn set_default(&mut self, of: DefaultsOf, acl: Acl) {
        let untouched = if of.in_schema { Acl::default() } else { Acl::default_of(of.kind, of.owner) };
        match acl == untouched {
            true => self.defaults.remove(&of),
            false => self.defaults.insert(of, acl),
        };
    }

    /// Gives a new object the list that its owner's defaults say.
    fn begin(&mut self, id: ObjectId, kind: SecurableKind, owner: RoleId) {
        let of = |in_schema| DefaultsOf { owner, kind, in_schema };
        if !self.defaults.contains_key(&of(false)) && !self.defaults.contains_key(&of(true)) {
            return;
        }
        let mut acl = self.default_list(of(false));
        for item in self.default_list(of(true)).0 {
            for (privilege, option) in item.privileges {
                acl.grant(item.grantee, item.grantor, &[privilege], option);
            }
        }
        self.lists.insert(Securable::Object(id), acl);
    }

    /// Gives an object the lists that another one had, with its columns: it takes its place.
    fn take_over(&mut self, before: &Self, from: ObjectId, to: ObjectId) {
        let of_other = before.lists.iter().filter(|(of, _)| of.object() == Some(from));
        self.lists.extend(of_other.map(|(of, acl)| (of.with_object(to), acl.clone())));
    }

    pub(crate) fn drop_object(&mut self, id: ObjectId) {
        self.lists.retain(|of, _| of.object() != Some(id));
    }

    fn hand_over(&mut self, id: ObjectId, from: RoleId, to: RoleId) {
        for (_, acl) in self.lists.iter_mut().filter(|(of, _)| of.object() == Some(id)) {
            acl.hand_over(from, to);
        }
    }

    /// Nothing is granted to the role or by it any more, and it has no defaults.
    pub fn forget(&mut self, role: RoleId) {
        self.lists.values_mut().chain(self.defaults.values_mut()).for_each(|acl| acl.forget(role));
        self.defaults.retain(|of, _| of.owner != role);
    }

    /// Securables that have the role in their lists.
    pub fn naming(&self, role: RoleId) -> impl Iterator<Item = &Securable> {
        self.lists.iter().filter(move |(_, acl)| acl.names(role)).map(|(of, _)| of)
    }

    pub fn has_defaults_naming(&self, role: RoleId) -> bool {
        self.defaults.iter().any(|(of, acl)| of.owner == role || acl.names(role))
    }
}

impl Securable {
    fn object(&self) -> Option<ObjectId> {
        match self {
            Self::Object(id) | Self::Column(id, _) => Some(*id),
            Self::Database | Self::Schema | Self::System(_) => None,
        }
    }

    fn with_object(&self, id: ObjectId) -> Self {
        match self {
            Self::Object(_) => Self::Object(id),
            Self::Column(_, name) => Self::Column(id, name.clone()),
            Self::Database | Self::Schema | Self::System(_) => self.clone(),
        }
    }
}

/// Tables of the schema `ebap` that hold what views hold: not for everybody.
const CONFIDENTIAL: [&str; 2] = ["alerts", "alert_history"];

impl Catalog {
    pub fn owner(&self, of: &Securable) -> RoleId {
        of.object().and_then(|id| self.get(id)).map_or(BOOTSTRAP_ROLE, |object| object.owner)
    }

    pub fn securable_kind(&self, of: &Securable) -> SecurableKind {
        match of {
            Securable::Database => SecurableKind::Database,
            Securable::Schema => SecurableKind::Schema,
            Securable::System(_) => SecurableKind::Relation,
            Securable::Column(..) => SecurableKind::Column,
            Securable::Object(id) => {
                self.get(*id).map_or(SecurableKind::Owned, |object| SecurableKind::of(object.kind))
            }
        }
    }

    /// The list that holds.
    pub fn acl(&self, of: &Securable) -> Acl {
        if let Some(acl) = self.privileges.list(of) {
            return acl.clone();
        }
        let mut acl = Acl::default_of(self.securable_kind(of), self.owner(of));
        if let Securable::System(name) = of
            && !CONFIDENTIAL.contains(&name.as_str())
        {
            acl.grant(PUBLIC, BOOTSTRAP_ROLE, &[Privilege::Select], false);
        }
        acl
    }

    /// The list as `pg_class` shows it: none where the default of its kind holds.
    pub fn shown_list(&self, of: &Securable) -> Option<Acl> {
        match (self.privileges.list(of), of) {
            (Some(acl), _) => Some(acl.clone()),
            (None, Securable::System(_)) => Some(self.acl(of)),
            (None, Securable::Database | Securable::Schema | Securable::Object(_) | Securable::Column(..)) => None,
        }
    }

    /// Whether the role has the privilege, by itself, through roles that it inherits from, or as everybody has it.
    pub fn may(&self, role: RoleId, privilege: Privilege, of: &Securable) -> bool {
        if self.roles.is_superuser(role) {
            return true;
        }
        // An owner's list does not name what `ALL PRIVILEGES` leaves out.
        if privilege == Privilege::Unmask && self.may_act_as_owner(role, of) {
            return true;
        }
        let acl = self.acl(of);
        let own = self.roles.inherited(role);
        let everywhere = match of {
            Securable::System(_) => own.contains(&MONITOR) || own.contains(&READ_ALL_DATA),
            Securable::Object(_) | Securable::Column(..) => own.contains(&READ_ALL_DATA),
            Securable::Database | Securable::Schema => false,
        };
        let everywhere =
            everywhere && privilege == Privilege::Select && self.securable_kind(of) == SecurableKind::Relation;
        everywhere || acl.has(PUBLIC, privilege) || own.iter().any(|one| acl.has(*one, privilege))
    }

    /// Whether the role may do what the owner may.
    pub fn may_act_as_owner(&self, role: RoleId, of: &Securable) -> bool {
        self.roles.has_rights_of(role, self.owner(of))
    }

    /// Gives a new object its owner, and what the owner's defaults say.
    pub fn begin_owned(&mut self, id: ObjectId, owner: RoleId) {
        let Some(object) = self.get_mut(id) else { return };
        object.owner = owner;
        let kind = SecurableKind::of(object.kind);
        self.privileges.begin(id, kind, owner);
    }

    /// Gives a new object the owner and the privileges of one that it has replaced. `before`: the catalog that had it.
    pub fn replace_owned(&mut self, id: ObjectId, before: &Self, replaced: ObjectId) {
        if let (Some(object), Some(other)) = (self.get_mut(id), before.get(replaced)) {
            object.owner = other.owner;
            self.privileges.take_over(&before.privileges, replaced, id);
            self.policies.take_over(&before.policies, replaced, id);
        }
    }

    /// Gives an object to another role, with what its owner had.
    pub fn set_owner(&mut self, id: ObjectId, owner: RoleId) {
        let Some(object) = self.get_mut(id) else { return };
        let before = std::mem::replace(&mut object.owner, owner);
        self.privileges.hand_over(id, before, owner);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWNER: RoleId = RoleId(1);
    const A: RoleId = RoleId(2);
    const B: RoleId = RoleId(3);
    const C: RoleId = RoleId(4);
    const SELECT: Privilege = Privilege::Select;

    #[test]
    fn what_rests_on_a_grant_goes_with_it() {
        let mut acl = Acl::default_of(SecurableKind::Relation, OWNER);
        acl.grant(A, OWNER, &[SELECT], true);
        acl.grant(B, A, &[SELECT], true);
        acl.grant(C, B, &[SELECT], false);
        acl.grant(C, OWNER, &[SELECT], false);
        assert!(acl.rests_on(B, A, SELECT) && !acl.rests_on(A, B, SELECT));
        assert!(acl.revoke(A, OWNER, SELECT, true, OWNER), "others rest on the option");
        assert!(acl.has(A, SELECT) && !acl.has_option(A, SELECT) && !acl.has(B, SELECT) && acl.has(C, SELECT));
        assert!(!acl.revoke(C, OWNER, SELECT, false, OWNER) && !acl.has(C, SELECT));
        assert!(!acl.revoke(OWNER, OWNER, SELECT, false, OWNER) && !acl.has(OWNER, SELECT) && acl.has(A, SELECT));
    }

    #[test]
    fn letters_and_names_are_one_each() {
        let letters: BTreeSet<char> = Privilege::ALL.iter().map(|one| one.letter()).collect();
        assert_eq!(letters.len(), Privilege::ALL.len());
        assert!(Privilege::ALL.into_iter().all(|one| Privilege::parse(&one.name().to_lowercase()) == Some(one)));
        assert_eq!(Privilege::parse("temp"), Some(Privilege::Temporary));
    }

    #[test]
    fn an_object_begins_with_its_owners_defaults_and_loses_its_list_with_itself() {
        let mut catalog = Catalog::default();
        let role = catalog.roles.create(crate::Role::new("anna"));
        let of = DefaultsOf { owner: BOOTSTRAP_ROLE, kind: SecurableKind::Relation, in_schema: true };
        let mut acl = Acl::default();
        acl.grant(role, BOOTSTRAP_ROLE, &[SELECT], false);
        catalog.privileges.set_default(of, acl);
        let create = |catalog: &mut Catalog, name| {
            let id = catalog.create(ObjectKind::Stream, name, String::new(), Vec::new(), 0).expect("a new name");
            catalog.begin_owned(id, BOOTSTRAP_ROLE);
            id
        };
        let id = create(&mut catalog, "s");
        assert!(
            catalog.may(role, SELECT, &Securable::Object(id))
                && !catalog.may(role, Privilege::Insert, &Securable::Object(id))
        );
        let text = serde_json::to_string(&catalog).expect("it can be written");
        let read: Catalog = serde_json::from_str(&text).expect("and read");
        assert_eq!(read, catalog);
        let before = catalog.clone();
        catalog.drop(ObjectKind::Stream, "s", false).expect("it is there");
        assert_eq!(catalog.privileges.naming(role).count(), 0);
        let second = create(&mut catalog, "t");
        catalog.set_owner(second, role);
        assert!(catalog.may_act_as_owner(role, &Securable::Object(second)));
        let again = create(&mut catalog, "s");
        catalog.replace_owned(again, &before, id);
        assert!(catalog.may(role, SELECT, &Securable::Object(again)), "what replaces another has its list");
    }
}
