//! Privileges as clients ask for them: `has_table_privilege` and its like, and access control lists as text.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, ListBuilder, RecordBatch, StringBuilder},
    datatypes::DataType,
};
use datafusion::{
    error::{DataFusionError, Result as DataFusionResult},
    logical_expr::{ScalarUDF, Volatility},
};
use ebap_catalog::{
    Acl, AclItem, Catalog, DefaultsOf, ObjectKind, PUBLIC, Privilege, RoleId, Securable, SecurableKind,
};

use super::{
    DATABASE,
    functions::{Function, number, truth},
    is_system_table,
    pg_catalog::{Described, PUBLIC_SCHEMA, batch, ints},
    roles,
    search_path::SearchPath,
    strings,
};
use crate::pgwire::sqlstate::SqlError;

/// The lists of a relation's columns as one text, by its number: what `psql` makes of a subquery.
pub(super) const COLUMN_LISTS: &str = "pg_column_lists";

type Answer = Result<Option<bool>, SqlError>;

/// The places where a function looks things up.
struct Lookup {
    path: SearchPath,
    described: Arc<Described>,
}

fn unknown(what: &str, name: &str) -> SqlError {
    let code = match what {
        "relation" => "42P01",
        "column" => "42703",
        "schema" => "3F000",
        "database" => "3D000",
        "function" => "42883",
        _ => "42704",
    };
    SqlError::new(code, format!("{what} \"{name}\" does not exist"))
}

fn folded(name: &str) -> String {
    match name.strip_prefix('"').and_then(|name| name.strip_suffix('"')) {
        Some(quoted) => quoted.replace("\"\"", "\""),
        None => name.to_lowercase(),
    }
}

/// `SELECT, INSERT WITH GRANT OPTION`: what is asked for, any of it.
fn wanted(text: &str) -> Result<Vec<(Privilege, bool)>, SqlError> {
    let one = |word: &str| {
        let upper = word.trim().to_uppercase();
        let (name, option) = match upper.strip_suffix("WITH GRANT OPTION") {
            Some(name) => (name.trim(), true),
            None => (upper.as_str(), false),
        };
        let unrecognized = || SqlError::new("22023", format!("unrecognized privilege type: \"{}\"", word.trim()));
        Privilege::parse(name).map(|privilege| (privilege, option)).ok_or_else(unrecognized)
    };
    text.split(',').map(one).collect()
}

impl Lookup {
    fn catalog(&self) -> Arc<Catalog> {
        self.described.app.catalog()
    }

    /// The role that is named, by its name or its oid; the current one where the function has no argument for it.
    fn role(&self, catalog: &Catalog, named: Option<&str>) -> Result<RoleId, SqlError> {
        let Some(name) = named else { return Ok(self.path.settings.actor(catalog).current) };
        if name == "public" {
            return Ok(PUBLIC);
        }
        if let Ok(oid) = name.parse::<u32>() {
            return Ok(RoleId(oid));
        }
        catalog.roles.find(name).map(|role| role.id).ok_or_else(|| unknown("role", name))
    }

    /// A relation by its name or its oid; `None` for an oid of none.
    fn relation(&self, catalog: &Catalog, named: &str) -> Result<Option<Relation>, SqlError> {
        let parts: Vec<String> = match named.parse::<i32>() {
            Ok(oid) => match self.described.name_of(oid) {
                Some((schema, name)) => vec![schema, name],
                None => return Ok(None),
            },
            Err(_) => named.split('.').map(folded).collect(),
        };
        let exists =
            |schema: &str, name: &str| self.path.schemas.schema(schema).is_some_and(|schema| schema.table_exist(name));
        let found = match &parts[..] {
            [name] => {
                let mut schemas = self.path.effective(true).into_iter();
                schemas.find(|schema| exists(schema, name)).and_then(|schema| in_schema(catalog, &schema, name))
            }
            [schema, name] if exists(schema, name) => in_schema(catalog, schema, name),
            _ => None,
        };
        found.map(Some).ok_or_else(|| unknown("relation", named))
    }

    fn may(&self, catalog: &Catalog, role: RoleId, of: &Securable, wanted: &[(Privilege, bool)]) -> bool {
        let has = |(privilege, option): &(Privilege, bool)| match option {
            false => catalog.may(role, *privilege, of),
            true => {
                let own = catalog.roles.inherited(role);
                let acl = catalog.acl(of);
                catalog.may_act_as_owner(role, of) || own.iter().any(|one| acl.has_option(*one, *privilege))
            }
        };
        wanted.iter().any(has)
    }
}

enum Relation {
    Of(Securable),
    /// A relation that everybody reads, as in `pg_catalog`.
    Public,
}

fn in_schema(catalog: &Catalog, schema: &str, name: &str) -> Option<Relation> {
    let base = name.rsplit_once('$').map_or(name, |(base, _)| base);
    match schema {
        "public" => catalog.relation(base).map(|object| Relation::Of(Securable::Object(object.id))),
        "ebap" => is_system_table(name).then(|| Relation::Of(Securable::System(name.to_owned()))),
        "pg_catalog" | "information_schema" => Some(Relation::Public),
        _ => None,
    }
}

/// Whether the text of the arguments begins with the role: one argument more than without.
fn split<'a>(args: &[Option<&'a str>], without: usize) -> Option<(Option<&'a str>, Vec<&'a str>)> {
    let values: Option<Vec<&str>> = args.iter().copied().collect();
    let values = values?;
    match values.len() > without {
        true => Some((values.first().copied(), values[1..].to_vec())),
        false => Some((None, values)),
    }
}

fn of_table(lookup: &Lookup, role: Option<&str>, rest: &[&str]) -> Answer {
    let [table, privileges] = rest else { return Ok(None) };
    let (catalog, wanted) = (lookup.catalog(), wanted(privileges)?);
    let role = lookup.role(&catalog, role)?;
    Ok(lookup.relation(&catalog, table)?.map(|relation| match relation {
        Relation::Of(of) => lookup.may(&catalog, role, &of, &wanted),
        Relation::Public => wanted.contains(&(Privilege::Select, false)),
    }))
}

fn of_column(lookup: &Lookup, role: Option<&str>, rest: &[&str]) -> Answer {
    let [table, column, privileges] = rest else { return Ok(None) };
    let (catalog, wanted) = (lookup.catalog(), wanted(privileges)?);
    let role = lookup.role(&catalog, role)?;
    Ok(lookup.relation(&catalog, table)?.map(|relation| match relation {
        Relation::Of(Securable::Object(id)) => {
            let column = match column.parse::<i32>() {
                Ok(number) => lookup.described.column_name(id, number).unwrap_or_default(),
                Err(_) => (*column).to_owned(),
            };
            lookup.may(&catalog, role, &Securable::Object(id), &wanted)
                || lookup.may(&catalog, role, &Securable::Column(id, column), &wanted)
        }
        Relation::Of(of) => lookup.may(&catalog, role, &of, &wanted),
        Relation::Public => wanted.contains(&(Privilege::Select, false)),
    }))
}

fn of_any_column(lookup: &Lookup, role: Option<&str>, rest: &[&str]) -> Answer {
    let [table, privileges] = rest else { return Ok(None) };
    let (catalog, wanted) = (lookup.catalog(), wanted(privileges)?);
    let role = lookup.role(&catalog, role)?;
    Ok(lookup.relation(&catalog, table)?.map(|relation| match relation {
        Relation::Of(Securable::Object(id)) => {
            let mut columns = catalog.privileges.columns(id);
            lookup.may(&catalog, role, &Securable::Object(id), &wanted)
                || columns
                    .any(|(column, _)| lookup.may(&catalog, role, &Securable::Column(id, column.to_owned()), &wanted))
        }
        Relation::Of(of) => lookup.may(&catalog, role, &of, &wanted),
        Relation::Public => wanted.contains(&(Privilege::Select, false)),
    }))
}

fn of_schema(lookup: &Lookup, role: Option<&str>, rest: &[&str]) -> Answer {
    let [schema, privileges] = rest else { return Ok(None) };
    let (catalog, wanted) = (lookup.catalog(), wanted(privileges)?);
    let role = lookup.role(&catalog, role)?;
    match Described::schema_named(schema) {
        Some("public") => Ok(Some(lookup.may(&catalog, role, &Securable::Schema, &wanted))),
        Some(_) => Ok(Some(wanted.contains(&(Privilege::Usage, false)))),
        None if schema.parse::<i32>().is_ok() => Ok(None),
        None => Err(unknown("schema", schema)),
    }
}

fn of_database(lookup: &Lookup, role: Option<&str>, rest: &[&str]) -> Answer {
    let [database, privileges] = rest else { return Ok(None) };
    let (catalog, wanted) = (lookup.catalog(), wanted(privileges)?);
    let role = lookup.role(&catalog, role)?;
    match *database == DATABASE || database.parse::<i32>().is_ok() {
        true => Ok(Some(lookup.may(&catalog, role, &Securable::Database, &wanted))),
        false => Err(unknown("database", database)),
    }
}

fn of_function(lookup: &Lookup, role: Option<&str>, rest: &[&str]) -> Answer {
    let [function, privileges] = rest else { return Ok(None) };
    let (catalog, wanted) = (lookup.catalog(), wanted(privileges)?);
    let role = lookup.role(&catalog, role)?;
    let name = function.split('(').next().unwrap_or_default().rsplit('.').next().unwrap_or_default();
    match catalog.find(ObjectKind::Function, &folded(name)) {
        Some(object) => Ok(Some(lookup.may(&catalog, role, &Securable::Object(object.id), &wanted))),
        // Those that the server has are for everybody.
        None => Ok(Some(wanted.contains(&(Privilege::Execute, false)))),
    }
}

/// `pg_has_role([user,] role, 'MEMBER' | 'USAGE' | 'SET')`
fn of_role(lookup: &Lookup, member: Option<&str>, rest: &[&str]) -> Answer {
    let [role, how] = rest else { return Ok(None) };
    let catalog = lookup.catalog();
    let (member, role) = (lookup.role(&catalog, member)?, lookup.role(&catalog, Some(role))?);
    let one = |how: &str| match how.trim().to_uppercase().as_str() {
        "MEMBER" | "SET" => Ok(catalog.roles.may_become(member, role)),
        "USAGE" => Ok(catalog.roles.has_rights_of(member, role)),
        option if option.ends_with("OPTION") => Ok(catalog.roles.is_admin_of(member, role)),
        _ => Err(SqlError::new("22023", format!("unrecognized privilege type: \"{how}\""))),
    };
    let found = how.split(',').map(one).collect::<Result<Vec<bool>, SqlError>>()?;
    Ok(Some(found.contains(&true)))
}

/// The functions of one session.
pub(super) fn functions(path: &SearchPath, described: &Arc<Described>) -> Vec<ScalarUDF> {
    type Ask = fn(&Lookup, Option<&str>, &[&str]) -> Answer;
    let all: [(&str, usize, Ask); 7] = [
        ("has_table_privilege", 2, of_table),
        ("has_column_privilege", 3, of_column),
        ("has_any_column_privilege", 2, of_any_column),
        ("has_schema_privilege", 2, of_schema),
        ("has_database_privilege", 2, of_database),
        ("has_function_privilege", 2, of_function),
        ("pg_has_role", 2, of_role),
    ];
    let lookup = Arc::new(Lookup { path: path.clone(), described: Arc::clone(described) });
    let function = |(name, without, ask): (&'static str, usize, Ask)| {
        let lookup = Arc::clone(&lookup);
        let run = move |args: &[Option<&str>]| -> DataFusionResult<Option<String>> {
            // Of NULL the answer is NULL.
            let Some((role, rest)) = split(args, without) else { return Ok(None) };
            let answer = ask(&lookup, role, &rest).map_err(|error| DataFusionError::External(Box::new(error)))?;
            Ok(answer.and_then(truth))
        };
        // A GRANT between two executions counts.
        Function::with_volatility(name, &[without, without + 1], DataType::Boolean, Volatility::Volatile, run).into()
    };
    let lookup = Arc::clone(&lookup);
    let lists = move |args: &[Option<&str>]| Ok(number(args, 0).and_then(|oid| column_lists(&lookup, oid)));
    let lists = Function::with_volatility(COLUMN_LISTS, &[1], DataType::Utf8, Volatility::Volatile, lists);
    all.map(function).into_iter().chain([lists.into()]).collect()
}

fn column_lists(lookup: &Lookup, oid: i32) -> Option<String> {
    let catalog = lookup.catalog();
    let Some(Relation::Of(Securable::Object(id))) = lookup.relation(&catalog, &oid.to_string()).ok()? else {
        return None;
    };
    let one = |(column, acl): (&str, &Acl)| format!("{column}:\n  {}", texts(&catalog, acl).join("\n  "));
    let all: Vec<String> = catalog.privileges.columns(id).filter(|(_, acl)| !acl.items().is_empty()).map(one).collect();
    Some(all.join("\n"))
}

/// A name within the text of an `aclitem`.
fn acl_name(catalog: &Catalog, role: RoleId) -> String {
    if role == PUBLIC {
        return String::new();
    }
    let name = roles::name(catalog, roles::oid(role));
    match name.chars().all(|c| c.is_alphanumeric() || c == '_') {
        true => name,
        false => format!("\"{}\"", name.replace('"', "\"\"")),
    }
}

/// `anna=r*w/ebap`, one text each.
pub(super) fn texts(catalog: &Catalog, acl: &Acl) -> Vec<String> {
    let one = |item: &AclItem| {
        let mut text = format!("{}=", acl_name(catalog, item.grantee));
        for (privilege, option) in &item.privileges {
            text.push(privilege.letter());
            if *option {
                text.push('*');
            }
        }
        format!("{text}/{}", acl_name(catalog, item.grantor))
    };
    acl.items().iter().map(one).collect()
}

/// A column of lists; NULL where the default holds.
pub(super) fn lists<'a>(catalog: &Catalog, all: impl Iterator<Item = Option<&'a Acl>>) -> ArrayRef {
    let mut lists = ListBuilder::new(StringBuilder::new());
    for acl in all {
        match acl {
            Some(acl) => lists.append_value(texts(catalog, acl).into_iter().map(Some)),
            None => lists.append_null(),
        }
    }
    Arc::new(lists.finish())
}

/// `pg_default_acl`
pub(super) fn default_lists(catalog: &Catalog) -> DataFusionResult<RecordBatch> {
    let all: Vec<_> = catalog.privileges.defaults().collect();
    let kind = |of: &DefaultsOf| if of.kind == SecurableKind::Function { "f" } else { "r" };
    let schema = |of: &DefaultsOf| if of.in_schema { PUBLIC_SCHEMA } else { 0 };
    batch(vec![
        ("oid", ints((1..).take(all.len()))),
        ("defaclrole", ints(all.iter().map(|one| roles::oid(one.0.owner)))),
        ("defaclnamespace", ints(all.iter().map(|one| schema(one.0)))),
        ("defaclobjtype", strings(all.iter().map(|one| kind(one.0)))),
        ("defaclacl", lists(catalog, all.iter().map(|one| Some(one.1)))),
    ])
}
