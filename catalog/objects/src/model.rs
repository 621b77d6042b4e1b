//! The catalog as a value.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

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
        })
    }
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
}

impl Catalog {
    /// In the order of creation, so that what an object depends on comes before it.
    pub fn objects(&self) -> impl Iterator<Item = &Object> {
        self.objects.values()
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
        Ok(doomed.iter().rev().filter_map(|id| self.objects.remove(id)).collect())
    }
}
