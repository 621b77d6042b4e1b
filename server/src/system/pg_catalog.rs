//! `pg_catalog`: what exists here, as PostgreSQL's own tables would have it. What is not about this
//! server (types, operators, collations) comes from datafusion-pg-catalog.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, BooleanArray, Float32Array, Int16Array, Int32Array, RecordBatch, StringArray, new_null_array},
    datatypes::{DataType, Field, FieldRef, Schema, SchemaRef},
};
use async_trait::async_trait;
use datafusion::{
    catalog::{SchemaProvider, TableProvider},
    error::Result as DataFusionResult,
};
use ebap_catalog::{BOOTSTRAP_ROLE, Catalog, Object, ObjectId, ObjectKind, RoleId, Securable};
use ebap_sql::printable_sql;
use ebap_stream::Engine;
use ebap_values::PgType;
use postgres_types::{Kind, Type};

use super::{DATABASE, MIGRATIONS, memory, migrations_schema, policies, privileges, roles, strings};
use crate::{app::App, wire_types};

pub(super) const PUBLIC_SCHEMA: i32 = 2_200;
/// Oids of the schemas, as PostgreSQL has them where it has them.
const SCHEMAS: [(&str, i32); 4] =
    [("pg_catalog", 11), ("public", PUBLIC_SCHEMA), ("information_schema", 13_000), ("ebap", 16_384)];
/// Relations are numbered from here by their ids, which are given once: a number means one relation for ever.
const FIRST_RELATION: i32 = 20_000;
/// Tables of the schema `ebap`, in order of their names.
const FIRST_SYSTEM: i32 = 13_500;
const CLASS_OF_RELATIONS: i32 = 1_259;
/// Tables that `pg_description` and `pg_depend` name by oid.
const CATALOGS: [(&str, i32); 12] = [
    ("pg_attrdef", 2_604),
    ("pg_attribute", 1_249),
    ("pg_class", CLASS_OF_RELATIONS),
    ("pg_constraint", 2_606),
    ("pg_database", 1_262),
    ("pg_extension", 3_079),
    ("pg_index", 2_610),
    ("pg_namespace", 2_615),
    ("pg_proc", 1_255),
    ("pg_rewrite", 2_618),
    ("pg_trigger", 2_620),
    ("pg_type", 1_247),
];

/// A relation with all that the catalogs say of it.
struct Relation {
    oid: i32,
    schema: &'static str,
    name: String,
    kind: &'static str,
    columns: SchemaRef,
    /// Of a stream: what a query can name and `*` leaves out.
    virtual_columns: Vec<FieldRef>,
    object: Option<Object>,
}

impl Relation {
    fn namespace(&self) -> i32 {
        SCHEMAS.iter().find(|(name, _)| *name == self.schema).map_or(0, |(_, oid)| *oid)
    }

    fn comment(&self) -> Option<&String> {
        self.object.as_ref()?.comment.as_ref()
    }

    fn owner(&self) -> RoleId {
        self.object.as_ref().map_or(BOOTSTRAP_ROLE, |object| object.owner)
    }

    fn securable(&self) -> Securable {
        match &self.object {
            Some(object) => Securable::Object(object.id),
            None => Securable::System(self.name.clone()),
        }
    }
}

pub(super) fn relation_oid(id: ObjectId) -> i32 {
    i32::try_from(id.0).ok().and_then(|id| FIRST_RELATION.checked_add(id)).unwrap_or(i32::MAX)
}

/// Relations by their oids, and what is known of them.
pub(super) struct Described {
    pub(super) app: Arc<App>,
}

impl std::fmt::Debug for Described {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Described").finish_non_exhaustive()
    }
}

impl Described {
    pub(super) fn new(app: Arc<App>) -> Self {
        Self { app }
    }

    /// The schema that is named, by its name or its oid.
    pub(super) fn schema_named(name: &str) -> Option<&'static str> {
        let is = |(schema, oid): &&(&'static str, i32)| *schema == name || oid.to_string() == name;
        SCHEMAS.iter().find(is).map(|(schema, _)| *schema)
    }

    /// Tables of the schema `ebap`.
    fn system() -> Vec<&'static str> {
        let mut names: Vec<&str> = Engine::system_table_names().to_vec();
        names.push(MIGRATIONS);
        names.sort_unstable();
        names
    }

    /// A column of a relation, counted from 1.
    pub(super) fn column_name(&self, id: ObjectId, number: i32) -> Option<String> {
        let catalog = self.app.catalog();
        let columns = self.app.engine.relation(&catalog.get(id)?.name)?.schema();
        let at = usize::try_from(number).ok()?.checked_sub(1)?;
        columns.fields().get(at).map(|field| field.name().clone())
    }

    /// Declared columns of a stream.
    pub(super) fn declared(&self, name: &str) -> Option<SchemaRef> {
        self.app.engine.stream_columns(name)
    }

    fn relations(&self) -> Vec<Relation> {
        let catalog = self.app.catalog();
        let mut names = self.app.engine.relation_names();
        names.sort();
        let mut all = Vec::new();
        for name in names {
            let Some(provider) = self.app.engine.relation(&name) else { continue };
            let Some(object) = catalog.relation(&name).cloned() else { continue };
            let kind = if object.kind == ObjectKind::MaterializedView { "m" } else { "r" };
            let (oid, whole) = (relation_oid(object.id), provider.schema());
            let object = Some(object);
            let columns = self.declared(&name).unwrap_or_else(|| Arc::clone(&whole));
            let virtual_columns = whole.fields()[columns.fields().len()..].to_vec();
            all.push(Relation { oid, schema: "public", name, kind, columns, virtual_columns, object });
        }
        for (oid, name) in (FIRST_SYSTEM..).zip(Self::system()) {
            let columns = match name {
                MIGRATIONS => Some(migrations_schema()),
                name => self.app.engine.system_table(name).map(|table| table.schema()),
            };
            let Some(columns) = columns else { continue };
            let (name, virtual_columns) = (name.to_owned(), Vec::new());
            all.push(Relation { oid, schema: "ebap", name, kind: "v", columns, virtual_columns, object: None });
        }
        all
    }

    /// Of a relation that exists, or of a table of `pg_catalog` that others refer to.
    pub(super) fn oid_of(&self, schema: &str, name: &str) -> Option<i32> {
        if schema == "pg_catalog" {
            return CATALOGS.iter().find(|(other, _)| *other == name).map(|(_, oid)| *oid);
        }
        self.relations().into_iter().find(|one| one.schema == schema && one.name == name).map(|one| one.oid)
    }

    fn by_oid(&self, oid: i32) -> Option<(&'static str, String)> {
        if let Some(id) = oid.checked_sub(FIRST_RELATION).and_then(|id| u64::try_from(id).ok()) {
            let catalog = self.app.catalog();
            let object = catalog.get(ObjectId(id)).filter(|object| object.kind.is_relation())?;
            return Some(("public", object.name.clone()));
        }
        let at = usize::try_from(oid.checked_sub(FIRST_SYSTEM)?).ok()?;
        Self::system().get(at).map(|name| ("ebap", (*name).to_owned()))
    }

    /// Schema and name of a relation, or of a table of `pg_catalog` that others refer to.
    pub(super) fn name_of(&self, oid: i32) -> Option<(String, String)> {
        let catalog = CATALOGS.iter().find(|(_, other)| *other == oid);
        catalog
            .map(|(name, _)| ("pg_catalog".to_owned(), (*name).to_owned()))
            .or_else(|| self.by_oid(oid).map(|(schema, name)| (schema.to_owned(), name)))
    }

    pub(super) fn schema_of(&self, oid: i32) -> Option<String> {
        self.by_oid(oid).map(|(schema, _)| schema.to_owned())
    }

    pub(super) fn comment(&self, oid: i32) -> Option<String> {
        let (_, name) = self.by_oid(oid).filter(|(schema, _)| *schema == "public")?;
        self.app.catalog().relation(&name)?.comment.clone()
    }

    /// The query of a materialized view.
    pub(super) fn view_query(&self, oid: i32) -> Option<String> {
        let (_, name) = self.by_oid(oid).filter(|(schema, _)| *schema == "public")?;
        let catalog = self.app.catalog();
        let view = catalog.find(ObjectKind::MaterializedView, &name)?;
        view.sql.split_once(" AS\n").map(|(_, query)| query.to_owned())
    }

    /// Of a column, counted from 1.
    pub(super) fn column_comment(&self, oid: i32, column: i32) -> Option<String> {
        let (_, name) = self.by_oid(oid).filter(|(schema, _)| *schema == "public")?;
        let columns = self.app.engine.relation(&name)?.schema();
        let field = columns.fields().get(usize::try_from(column).ok()?.checked_sub(1)?)?.clone();
        self.app.catalog().relation(&name)?.column_comments.get(field.name()).cloned()
    }
}

/// `pg_catalog`, its tables about relations made from what exists now.
#[derive(Debug)]
pub(super) struct PgCatalog {
    pub(super) inner: Arc<dyn SchemaProvider>,
    pub(super) described: Arc<Described>,
}

#[async_trait]
impl SchemaProvider for PgCatalog {
    fn table_names(&self) -> Vec<String> {
        let own = roles::TABLES.iter().chain(&policies::TABLES).map(|name| (*name).to_owned());
        self.inner.table_names().into_iter().chain(own).collect()
    }

    async fn table(&self, name: &str) -> DataFusionResult<Option<Arc<dyn TableProvider>>> {
        let relations = || self.described.relations();
        let catalog = || self.described.app.catalog();
        let batch = match name {
            "pg_namespace" => namespaces(&catalog()),
            "pg_class" => classes(&relations(), &catalog()),
            "pg_attribute" => attributes(&relations(), &catalog()),
            "pg_description" => descriptions(&relations()),
            "pg_database" => databases(&catalog()),
            "pg_default_acl" => privileges::default_lists(&catalog()),
            "pg_policy" => policies::policies(&catalog()),
            "pg_policies" => policies::listed(&catalog()),
            "pg_roles" | "pg_authid" => roles::roles(&catalog()),
            "pg_user" => roles::users(&catalog()),
            "pg_auth_members" => roles::memberships(&catalog()),
            "pg_tables" => tables(&relations(), &catalog()),
            "pg_views" => views(&relations(), "v", &catalog()),
            "pg_matviews" => views(&relations(), "m", &catalog()),
            name => return self.inner.table(name).await,
        };
        Ok(Some(memory(batch?)?))
    }

    fn table_exist(&self, name: &str) -> bool {
        roles::TABLES.contains(&name) || policies::TABLES.contains(&name) || self.inner.table_exist(name)
    }
}

type Columns = Vec<(&'static str, ArrayRef)>;

pub(super) fn batch(columns: Columns) -> DataFusionResult<RecordBatch> {
    let field = |(name, array): &(&'static str, ArrayRef)| {
        let field = Field::new(*name, array.data_type().clone(), true);
        match told(name, array.data_type()) {
            Some(of) => wire_types::told_as(field, &of),
            None => field,
        }
    };
    let schema = Schema::new(columns.iter().map(field).collect::<Vec<_>>());
    Ok(RecordBatch::try_new(Arc::new(schema), columns.into_iter().map(|(_, array)| array).collect())?)
}

/// The type that PostgreSQL tells of a column of this name, where it is neither text nor integer.
fn told(name: &str, of: &DataType) -> Option<Type> {
    match of {
        DataType::Utf8 if name.ends_with("name") || matches!(name, "tableowner" | "viewowner" | "matviewowner") => {
            Some(Type::NAME)
        }
        DataType::Utf8 => {
            let letters = [
                "relkind",
                "relpersistence",
                "relreplident",
                "attidentity",
                "attgenerated",
                "attstorage",
                "attcompression",
                "attalign",
                "typtype",
                "typcategory",
                "typdelim",
                "typalign",
                "typstorage",
                "polcmd",
                "defaclobjtype",
                "prokind",
            ];
            letters.contains(&name).then_some(Type::CHAR)
        }
        DataType::Int32 if name == "oid" || name.ends_with("relid") || name.ends_with("namespace") => Some(Type::OID),
        DataType::Int32 => {
            let oids = [
                "relowner",
                "reltype",
                "reloftype",
                "relam",
                "relfilenode",
                "reltablespace",
                "reltoastrelid",
                "relrewrite",
                "atttypid",
                "attcollation",
                "nspowner",
                "datdba",
                "roleid",
                "member",
                "grantor",
                "objoid",
                "classoid",
                "typowner",
                "typelem",
                "typarray",
                "typbasetype",
                "typcollation",
                "defaclrole",
                "usesysid",
            ];
            oids.contains(&name).then_some(Type::OID)
        }
        _ => None,
    }
}

pub(super) fn ints(values: impl Iterator<Item = i32>) -> ArrayRef {
    Arc::new(Int32Array::from_iter_values(values))
}

/// A column that says the same of every row.
pub(super) struct Same(pub(super) usize);

impl Same {
    pub(super) fn int(&self, value: i32) -> ArrayRef {
        Arc::new(Int32Array::from_value(value, self.0))
    }

    pub(super) fn small(&self, value: i16) -> ArrayRef {
        Arc::new(Int16Array::from_value(value, self.0))
    }

    pub(super) fn truth(&self, value: bool) -> ArrayRef {
        Arc::new(BooleanArray::from(vec![value; self.0]))
    }

    pub(super) fn text(&self, value: &str) -> ArrayRef {
        Arc::new(StringArray::from(vec![value; self.0]))
    }

    pub(super) fn null(&self) -> ArrayRef {
        Arc::new(StringArray::new_null(self.0))
    }

    /// No privileges, no options.
    pub(super) fn no_list(&self) -> ArrayRef {
        new_null_array(&DataType::List(Arc::new(Field::new_list_field(DataType::Utf8, true))), self.0)
    }
}

/// The one role that owns what nobody has made.
fn system_owner() -> i32 {
    roles::oid(BOOTSTRAP_ROLE)
}

fn namespaces(catalog: &Catalog) -> DataFusionResult<RecordBatch> {
    let same = Same(SCHEMAS.len());
    let public = catalog.acl(&Securable::Schema);
    let list = |name: &str| (name == "public").then_some(&public);
    batch(vec![
        ("oid", ints(SCHEMAS.iter().map(|one| one.1))),
        ("nspname", strings(SCHEMAS.iter().map(|one| one.0))),
        ("nspowner", same.int(system_owner())),
        ("nspacl", privileges::lists(catalog, SCHEMAS.iter().map(|one| list(one.0)))),
    ])
}

fn classes(all: &[Relation], catalog: &Catalog) -> DataFusionResult<RecordBatch> {
    let same = Same(all.len());
    let lists: Vec<_> = all.iter().map(|one| catalog.shown_list(&one.securable())).collect();
    let secured = |one: &Relation| one.object.as_ref().and_then(|object| catalog.policies.of(object.id));
    let truths = |of: &dyn Fn(&Relation) -> bool| -> ArrayRef {
        Arc::new(all.iter().map(|one| Some(of(one))).collect::<BooleanArray>())
    };
    let width = |one: &Relation| i16::try_from(one.columns.fields().len()).unwrap_or(i16::MAX);
    let columns = vec![
        ("oid", ints(all.iter().map(|one| one.oid))),
        ("relname", strings(all.iter().map(|one| &one.name))),
        ("relnamespace", ints(all.iter().map(Relation::namespace))),
        ("reltype", same.int(0)),
        ("reloftype", same.int(0)),
        ("relowner", ints(all.iter().map(|one| roles::oid(one.owner())))),
        ("relam", same.int(0)),
        ("relfilenode", ints(all.iter().map(|one| one.oid))),
        ("reltablespace", same.int(0)),
        ("relpages", same.int(0)),
        ("reltuples", Arc::new(Float32Array::from_value(-1.0, all.len())) as ArrayRef),
        ("relallvisible", same.int(0)),
        ("reltoastrelid", same.int(0)),
        ("relhasindex", same.truth(false)),
        ("relisshared", same.truth(false)),
        ("relpersistence", same.text("p")),
        ("relkind", strings(all.iter().map(|one| one.kind))),
        ("relnatts", Arc::new(Int16Array::from_iter_values(all.iter().map(width)))),
        ("relchecks", same.small(0)),
        ("relhasrules", same.truth(false)),
        ("relhastriggers", same.truth(false)),
        ("relhassubclass", same.truth(false)),
        ("relrowsecurity", truths(&|one| secured(one).is_some_and(|security| security.enabled))),
        ("relforcerowsecurity", truths(&|one| secured(one).is_some_and(|security| security.forced))),
        ("relispopulated", same.truth(true)),
        ("relreplident", same.text("d")),
        ("relispartition", same.truth(false)),
        ("relrewrite", same.int(0)),
        ("relfrozenxid", same.int(0)),
        ("relminmxid", same.int(0)),
        ("relacl", privileges::lists(catalog, lists.iter().map(Option::as_ref))),
        ("reloptions", same.no_list()),
        ("relpartbound", same.null()),
    ];
    batch(columns)
}

/// Type and modifier. Nested values travel as JSON.
fn pg_type(field: &Field) -> (Type, i32) {
    match wire_types::of_field(field) {
        PgType::Composite => (Type::JSON, -1),
        of => (wire_types::on_wire(&of), wire_types::modifier(field.data_type())),
    }
}

fn attributes(relations: &[Relation], catalog: &Catalog) -> DataFusionResult<RecordBatch> {
    // Virtual columns are counted down from -1, as PostgreSQL's system columns are.
    let columns = relations.iter().flat_map(|one| {
        let declared = (1_i16..).zip(one.columns.fields());
        let all = declared.chain((1_i16..).map(|at| -at).zip(&one.virtual_columns));
        all.map(move |(number, field)| (one, number, field))
    });
    let all: Vec<_> = columns.map(|(one, number, field)| (one, number, field, pg_type(field))).collect();
    let same = Same(all.len());
    let of_column = |relation: &Relation, field: &Field| match &relation.object {
        Some(object) => catalog.privileges.list(&Securable::Column(object.id, field.name().clone())),
        None => None,
    };
    let length = |of: &Type| match *of {
        Type::BOOL | Type::CHAR => 1,
        Type::INT2 => 2,
        Type::INT4 | Type::FLOAT4 | Type::DATE => 4,
        Type::INT8 | Type::FLOAT8 | Type::TIME | Type::TIMESTAMP | Type::TIMESTAMPTZ => 8,
        Type::INTERVAL | Type::UUID => 16,
        _ => -1,
    };
    let dimensions = |of: &Type| i32::from(matches!(of.kind(), Kind::Array(_)));
    let shorts = |values: Vec<i16>| Arc::new(Int16Array::from(values)) as ArrayRef;
    let truths = |values: Vec<bool>| Arc::new(BooleanArray::from(values)) as ArrayRef;
    batch(vec![
        ("attrelid", ints(all.iter().map(|one| one.0.oid))),
        ("attname", strings(all.iter().map(|one| one.2.name()))),
        ("atttypid", ints(all.iter().map(|one| i32::try_from(one.3.0.oid()).unwrap_or(0)))),
        ("attstattarget", same.int(-1)),
        ("attlen", shorts(all.iter().map(|one| length(&one.3.0)).collect())),
        ("attnum", shorts(all.iter().map(|one| one.1).collect())),
        ("attndims", ints(all.iter().map(|one| dimensions(&one.3.0)))),
        ("attcacheoff", same.int(-1)),
        ("atttypmod", ints(all.iter().map(|one| one.3.1))),
        ("attbyval", truths(all.iter().map(|one| (1..=8).contains(&length(&one.3.0))).collect())),
        ("attalign", same.text("i")),
        ("attstorage", strings(all.iter().map(|one| if length(&one.3.0) < 0 { "x" } else { "p" }))),
        ("attcompression", same.text("")),
        ("attnotnull", truths(all.iter().map(|one| !one.2.is_nullable()).collect())),
        ("atthasdef", same.truth(false)),
        ("atthasmissing", same.truth(false)),
        ("attidentity", same.text("")),
        ("attgenerated", same.text("")),
        ("attisdropped", same.truth(false)),
        ("attislocal", same.truth(true)),
        ("attinhcount", same.int(0)),
        ("attcollation", same.int(0)),
        ("attacl", privileges::lists(catalog, all.iter().map(|one| of_column(one.0, one.2)))),
        ("attoptions", same.no_list()),
        ("attfdwoptions", same.no_list()),
        ("attmissingval", same.null()),
    ])
}

fn descriptions(relations: &[Relation]) -> DataFusionResult<RecordBatch> {
    let mut all: Vec<(i32, i32, &String)> = Vec::new();
    for relation in relations {
        all.extend(relation.comment().map(|comment| (relation.oid, 0, comment)));
        let Some(object) = &relation.object else { continue };
        for (at, field) in relation.columns.fields().iter().enumerate() {
            let number = i32::try_from(at + 1).unwrap_or(i32::MAX);
            all.extend(object.column_comments.get(field.name()).map(|comment| (relation.oid, number, comment)));
        }
    }
    batch(vec![
        ("objoid", ints(all.iter().map(|one| one.0))),
        ("classoid", Same(all.len()).int(CLASS_OF_RELATIONS)),
        ("objsubid", ints(all.iter().map(|one| one.1))),
        ("description", strings(all.iter().map(|one| one.2))),
    ])
}

fn databases(catalog: &Catalog) -> DataFusionResult<RecordBatch> {
    let same = Same(1);
    batch(vec![
        ("oid", same.int(16_383)),
        ("datname", same.text(DATABASE)),
        ("datdba", same.int(system_owner())),
        ("encoding", same.int(6)),
        ("datlocprovider", same.text("c")),
        ("datistemplate", same.truth(false)),
        ("datallowconn", same.truth(true)),
        ("datconnlimit", same.int(-1)),
        ("datfrozenxid", same.int(0)),
        ("datminmxid", same.int(0)),
        ("dattablespace", same.int(1_663)),
        ("datcollate", same.text("C")),
        ("datctype", same.text("C")),
        ("daticulocale", same.null()),
        ("datcollversion", same.null()),
        ("datacl", privileges::lists(catalog, [catalog.privileges.list(&Securable::Database)].into_iter())),
    ])
}

fn tables(relations: &[Relation], catalog: &Catalog) -> DataFusionResult<RecordBatch> {
    let all: Vec<_> = relations.iter().filter(|one| one.kind == "r").collect();
    let same = Same(all.len());
    batch(vec![
        ("schemaname", strings(all.iter().map(|one| one.schema))),
        ("tablename", strings(all.iter().map(|one| &one.name))),
        ("tableowner", owners(&all, catalog)),
        ("tablespace", same.null()),
        ("hasindexes", same.truth(false)),
        ("hasrules", same.truth(false)),
        ("hastriggers", same.truth(false)),
        ("rowsecurity", same.truth(false)),
    ])
}

fn owners(all: &[&Relation], catalog: &Catalog) -> ArrayRef {
    strings(all.iter().map(|one| roles::name(catalog, roles::oid(one.owner()))))
}

fn views(relations: &[Relation], kind: &str, catalog: &Catalog) -> DataFusionResult<RecordBatch> {
    let all: Vec<_> = relations.iter().filter(|one| one.kind == kind).collect();
    let same = Same(all.len());
    let definitions: StringArray = all.iter().map(|one| one.object.as_ref().map(printable_sql)).collect();
    let schemas = ("schemaname", strings(all.iter().map(|one| one.schema)));
    let names = strings(all.iter().map(|one| &one.name));
    let mut columns = vec![schemas];
    match kind {
        "m" => columns.extend([
            ("matviewname", names),
            ("matviewowner", owners(&all, catalog)),
            ("tablespace", same.null()),
            ("hasindexes", same.truth(false)),
            ("ispopulated", same.truth(true)),
        ]),
        _ => columns.extend([("viewname", names), ("viewowner", owners(&all, catalog))]),
    }
    columns.push(("definition", Arc::new(definitions)));
    batch(columns)
}
