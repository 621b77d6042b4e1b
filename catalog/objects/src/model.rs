//! The catalog as a value.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use serde::{Deserialize, Serialize};

use crate::{BOOTSTRAP_ROLE, Error, Join, Joins, Policies, Privileges, Result, RoleId, Roles};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ObjectId(pub u64);

impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ObjectKind {
    Secret,
    Connection,
    Stream,
    Table,
    MaterializedView,
    Sink,
    /// An expression over its arguments, put in the place of its calls.
    Function,
    /// A condition over the rows of a view, and who is told when it holds.
    Alert,
}

impl ObjectKind {
    /// Streams, tables and materialized views share one name space, as relations do in PostgreSQL.
    pub fn is_relation(self) -> bool {
        matches!(self, Self::Stream | Self::Table | Self::MaterializedView)
    }

    /// Kinds in which a name may stand once.
    fn shares_names_with(self, other: Self) -> bool {
        self == other || (self.is_relation() && other.is_relation())
    }
}

impl fmt::Display for ObjectKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Secret => "secret",
            Self::Connection => "connection",
            Self::Stream => "stream",
            Self::Table => "table",
            Self::MaterializedView => "materialized view",
            Self::Sink => "sink",
            Self::Function => "function",
            Self::Alert => "alert",
        })
    }
}

/// Where a stream goes on whose next records are not there any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ResumeFrom {
    /// With the first record that there is.
    Earliest,
    /// With what comes from now on.
    Latest,
}

/// A named thing. `sql` is its canonical `CREATE` statement and the only definition there is:
/// planning starts from it at every start of the server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Object {
    pub id: ObjectId,
    pub kind: ObjectKind,
    pub name: String,
    pub sql: String,
    pub depends_on: Vec<ObjectId>,
    pub comment: Option<String>,
    #[serde(default)]
    pub column_comments: BTreeMap<String, String>,
    pub created_at_us: i64,
    /// `ALTER … PAUSE`: its job does not run.
    #[serde(default)]
    pub paused: bool,
    /// How often `ALTER … RESUME` was said: a job that has failed starts again when this rises.
    #[serde(default)]
    pub resumes: u64,
    /// `ALTER … RESUME FROM`: which of the `resumes` it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resume_from: Option<(u64, ResumeFrom)>,
    /// Of an alert: nobody is told before this processing time (`ALTER ALERT … SILENCE FOR`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub silenced_until_us: Option<i64>,
    /// How often `ALTER SINK … REBUILD` was said.
    #[serde(default)]
    pub rebuilds: u64,
    /// The role that it belongs to.
    #[serde(default = "bootstrap", skip_serializing_if = "is_bootstrap")]
    pub owner: RoleId,
}

fn bootstrap() -> RoleId {
    BOOTSTRAP_ROLE
}

fn is_bootstrap(role: &RoleId) -> bool {
    *role == BOOTSTRAP_ROLE
}

/// A migration file that has been applied.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Migration {
    pub name: String,
    pub checksum: String,
    pub applied_at_us: i64,
}

/// Everything that exists. A change makes a new value; `CatalogStore::replace` makes it durable.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Catalog {
    /// Rises by one with every durable change.
    pub version: u64,
    next_id: u64,
    objects: BTreeMap<ObjectId, Object>,
    #[serde(default)]
    pub migrations: Vec<Migration>,
    /// Not known of a catalog of an older version.
    #[serde(default)]
    joins: Option<Joins>,
    /// At random, once: no other catalog has it. None in those that older versions have begun.
    #[serde(default)]
    origin: Option<String>,
    #[serde(default, skip_serializing_if = "Policies::is_untouched")]
    pub policies: Policies,
    /// At random, once: what personal data is hashed with for those who may not see it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    mask_salt: Option<String>,
    #[serde(default, skip_serializing_if = "Roles::is_untouched")]
    pub roles: Roles,
    #[serde(default, skip_serializing_if = "Privileges::is_untouched")]
    pub privileges: Privileges,
}

impl Catalog {
    /// An empty one, which `origin` tells apart from all others.
    pub fn begun(origin: String) -> Self {
        Self { origin: Some(origin), joins: Some(Joins::default()), ..Self::default() }
    }

    /// Gives the catalog its salt, where it has none.
    pub fn begin_masks(&mut self, salt: impl FnOnce() -> String) {
        self.mask_salt.get_or_insert_with(salt);
    }

    pub fn mask_salt(&self) -> &str {
        self.mask_salt.as_deref().unwrap_or_default()
    }

    /// The name of an object where objects of other catalogs write too: in Redis, in Kafka, in a lake.
    pub fn name_outside(&self, id: ObjectId) -> String {
        match &self.origin {
            Some(origin) => format!("{origin}-{id}"),
            None => id.to_string(),
        }
    }

    /// The first version of an object's values outside: the nanoseconds of its creation. One that was
    /// created earlier has not come this far, as a position is records or bytes, and fewer than one comes each nanosecond.
    pub fn first_version(&self, id: ObjectId) -> u64 {
        let created_at_us = self.get(id).map_or(0, |object| object.created_at_us);
        let begun = self.origin.as_ref().and_then(|_| u64::try_from(created_at_us).ok());
        begun.unwrap_or(0).saturating_mul(1_000)
    }

    /// Gives each set of streams and tables that a view joins, and that has none, a number that none ever had.
    pub fn number_joins(&mut self, needed: Vec<Vec<ObjectId>>) {
        match &mut self.joins {
            Some(joins) => joins.keep(needed),
            None => self.joins = Some(Joins::of_older_version(needed)),
        }
    }

    pub fn joins(&self) -> impl Iterator<Item = &Join> {
        self.joins.iter().flat_map(Joins::iter)
    }

    /// Whether there was such an object and it is gone, for ever, as ids are given once.
    pub fn has_dropped(&self, id: ObjectId) -> bool {
        (1..=self.next_id).contains(&id.0) && !self.objects.contains_key(&id)
    }

    /// The same of a number of `joins`.
    pub fn has_dropped_join(&self, number: u64) -> bool {
        self.joins.as_ref().is_some_and(|joins| joins.has_let_go(number))
    }

    /// In the order of creation.
    pub fn objects(&self) -> impl Iterator<Item = &Object> {
        self.objects.values()
    }

    /// What an object depends on comes before it. That is not always the order of creation: after a swap a
    /// sink may depend on a view that is younger.
    pub fn in_order(&self) -> Vec<&Object> {
        self.with_needs(self.objects.values())
    }

    /// These objects and all they depend on, which comes first.
    pub fn with_needs<'a>(&'a self, objects: impl IntoIterator<Item = &'a Object>) -> Vec<&'a Object> {
        let (mut found, mut seen) = (Vec::new(), BTreeSet::new());
        for object in objects {
            self.add_with_needs(object, &mut seen, &mut found);
        }
        found
    }

    fn add_with_needs<'a>(&'a self, object: &'a Object, seen: &mut BTreeSet<ObjectId>, found: &mut Vec<&'a Object>) {
        if !seen.insert(object.id) {
            return;
        }
        for needed in object.depends_on.iter().filter_map(|id| self.get(*id)) {
            self.add_with_needs(needed, seen, found);
        }
        found.push(object);
    }

    pub fn get(&self, id: ObjectId) -> Option<&Object> {
        self.objects.get(&id)
    }

    pub fn get_mut(&mut self, id: ObjectId) -> Option<&mut Object> {
        self.objects.get_mut(&id)
    }

    pub fn find(&self, kind: ObjectKind, name: &str) -> Option<&Object> {
        self.objects.values().find(|object| object.kind == kind && object.name == name)
    }

    /// The stream, table or materialized view of this name.
    pub fn relation(&self, name: &str) -> Option<&Object> {
        self.objects.values().find(|object| object.kind.is_relation() && object.name == name)
    }

    /// Objects that depend directly on this one.
    pub fn dependents(&self, id: ObjectId) -> impl Iterator<Item = &Object> {
        self.objects.values().filter(move |object| object.depends_on.contains(&id))
    }

    /// # Errors
    /// `Exists` where the name is taken.
    pub fn create(
        &mut self,
        kind: ObjectKind,
        name: &str,
        sql: String,
        depends_on: Vec<ObjectId>,
        created_at_us: i64,
    ) -> Result<ObjectId> {
        let taken = self.objects.values().find(|object| object.kind.shares_names_with(kind) && object.name == name);
        if let Some(taken) = taken {
            return Err(Error::Exists { kind: taken.kind, name: name.to_owned() });
        }
        self.next_id += 1;
        let id = ObjectId(self.next_id);
        let object = Object {
            id,
            kind,
            name: name.to_owned(),
            sql,
            depends_on,
            comment: None,
            column_comments: BTreeMap::new(),
            created_at_us,
            paused: false,
            resumes: 0,
            resume_from: None,
            silenced_until_us: None,
            rebuilds: 0,
            owner: BOOTSTRAP_ROLE,
        };
        self.objects.insert(id, object);
        Ok(id)
    }

    /// Takes the object away and, with `cascade`, all that depends on it; gives what was taken away.
    ///
    /// # Errors
    /// `Unknown`; `DependedOn` without `cascade`.
    pub fn drop(&mut self, kind: ObjectKind, name: &str, cascade: bool) -> Result<Vec<Object>> {
        let unknown = || Error::Unknown { kind, name: name.to_owned() };
        let root = self.find(kind, name).ok_or_else(unknown)?.id;
        let mut doomed = vec![root];
        let mut at = 0;
        while at < doomed.len() {
            for dependent in self.dependents(doomed[at]) {
                if !doomed.contains(&dependent.id) {
                    doomed.push(dependent.id);
                }
            }
            at += 1;
        }
        if doomed.len() > 1 && !cascade {
            let dependents = doomed[1..].iter().filter_map(|id| self.get(*id));
            let dependents = dependents.map(|object| format!("{} {}", object.kind, object.name)).collect();
            return Err(Error::DependedOn { kind, name: name.to_owned(), dependents });
        }
        for id in &doomed {
            self.privileges.drop_object(*id);
            self.policies.drop_object(*id);
        }
        Ok(doomed.iter().rev().filter_map(|id| self.objects.remove(id)).collect())
    }

    /// Exchanges the names of two objects. What depends on one of them by its name depends on the other from
    /// now on. Their statements, which hold the names, are the caller's to write anew.
    pub fn swap_names(&mut self, one: ObjectId, other: ObjectId) {
        let (Some(first), Some(second)) = (self.get(one), self.get(other)) else { return };
        let (first, second) = (first.name.clone(), second.name.clone());
        for object in self.objects.values_mut() {
            match object.id {
                id if id == one => object.name.clone_from(&second),
                id if id == other => object.name.clone_from(&first),
                _ => {}
            }
            for id in &mut object.depends_on {
                *id = match *id {
                    id if id == one => other,
                    id if id == other => one,
                    id => id,
                };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KINDS: [ObjectKind; 8] = [
        ObjectKind::Secret,
        ObjectKind::Connection,
        ObjectKind::Stream,
        ObjectKind::Table,
        ObjectKind::MaterializedView,
        ObjectKind::Sink,
        ObjectKind::Function,
        ObjectKind::Alert,
    ];

    fn create(catalog: &mut Catalog, kind: ObjectKind, name: &str, depends_on: &[ObjectId]) -> ObjectId {
        catalog.create(kind, name, format!("CREATE {name}"), depends_on.to_vec(), 7).expect("a new name")
    }

    /// A stream, two views over it, a sink from the first.
    fn catalog() -> (Catalog, [ObjectId; 4]) {
        let mut catalog = Catalog::default();
        let stream = create(&mut catalog, ObjectKind::Stream, "s", &[]);
        let one = create(&mut catalog, ObjectKind::MaterializedView, "one", &[stream]);
        let sink = create(&mut catalog, ObjectKind::Sink, "out", &[one]);
        let two = create(&mut catalog, ObjectKind::MaterializedView, "two", &[stream]);
        (catalog, [stream, one, two, sink])
    }

    #[test]
    fn relations_share_names_and_nothing_else_does() {
        for first in KINDS {
            for second in KINDS {
                let mut catalog = Catalog::default();
                create(&mut catalog, first, "x", &[]);
                let taken = catalog.create(second, "x", String::new(), vec![], 0);
                let shared = first == second || (first.is_relation() && second.is_relation());
                match taken {
                    Ok(_) => assert!(!shared, "{first} and {second}"),
                    Err(error) => assert_eq!(error.to_string(), format!("{first} \"x\" already exists"), "{second}"),
                }
                assert_eq!(catalog.objects().count(), if shared { 1 } else { 2 });
            }
        }
    }

    #[test]
    fn what_others_depend_on_goes_with_them_or_not_at_all() {
        let (mut catalog, _) = catalog();
        let before = catalog.clone();
        for (name, cascade, gone) in [
            ("s", false, Err("cannot drop stream \"s\" because other objects depend on it")),
            ("nowhere", true, Err("stream \"nowhere\" does not exist")),
            ("s", true, Ok(["out", "two", "one", "s"])),
        ] {
            match (catalog.drop(ObjectKind::Stream, name, cascade), gone) {
                (Ok(dropped), Ok(gone)) => {
                    assert_eq!(dropped.iter().map(|object| object.name.as_str()).collect::<Vec<_>>(), gone);
                }
                (Err(error), Err(message)) => {
                    assert_eq!(error.to_string(), message);
                    assert_eq!(catalog, before, "nothing has changed");
                }
                (dropped, _) => panic!("{name}: {dropped:?}"),
            }
        }
        assert_eq!(catalog.objects().count(), 0);
        let fresh = create(&mut catalog, ObjectKind::Stream, "s", &[]);
        assert_eq!(fresh, ObjectId(5), "an id is given once");
    }

    #[test]
    fn a_swap_exchanges_names_and_what_follows_them() {
        let (mut catalog, [stream, one, two, sink]) = catalog();
        catalog.swap_names(one, two);
        let name = |id| catalog.get(id).map(|object| object.name.as_str());
        assert_eq!((name(one), name(two), name(sink)), (Some("two"), Some("one"), Some("out")));
        assert_eq!(catalog.get(sink).map(|sink| sink.depends_on.clone()), Some(vec![two]));
        assert_eq!(catalog.dependents(stream).count(), 2);
        let order: Vec<&str> = catalog.in_order().into_iter().map(|object| object.name.as_str()).collect();
        assert_eq!(order, ["s", "two", "one", "out"], "the sink comes behind its view, which is younger");
    }

    #[test]
    fn a_catalog_of_an_older_version_can_be_read() {
        let text = r#"{"version":3,"next_id":1,"objects":{"1":{"id":1,"kind":"stream","name":"s","sql":"CREATE STREAM s",
            "depends_on":[],"comment":null,"created_at_us":5}}}"#;
        let catalog: Catalog = serde_json::from_str(text).expect("it is whole");
        let stream = catalog.relation("s").expect("it is there");
        assert_eq!((stream.paused, stream.resumes, catalog.migrations.len()), (false, 0, 0));
        assert!(catalog.roles.is_untouched());
        let written = serde_json::to_string(&catalog).expect("it can be written");
        assert!(!written.contains("roles"), "a version without roles reads it as its own: {written}");
    }
}
