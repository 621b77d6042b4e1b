//! Row-level security, as `pg_catalog` has it.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, BooleanArray, Int32Builder, ListBuilder, RecordBatch, StringArray, StringBuilder},
    datatypes::{DataType, Field},
};
use datafusion::error::Result as DataFusionResult;
use ebap_catalog::{Catalog, ObjectId, PUBLIC, Policy, RoleId};

use super::{
    pg_catalog::{Same, batch, ints, relation_oid},
    roles, strings,
};

/// A table that `pg_catalog` of the library lacks.
pub(super) const TABLES: [&str; 1] = ["pg_policies"];

/// Names of the roles that a policy is of, by its number: what `psql` makes of a sub-query.
pub(super) const ROLES: &str = "pg_policy_roles";

/// As `psql` joins them.
pub(super) fn roles_of(catalog: &Catalog, oid: i32) -> Option<String> {
    let at = usize::try_from(oid).ok()?.checked_sub(1)?;
    let all = all(catalog);
    let names = all.get(at)?.policy.roles.iter().filter(|role| **role != PUBLIC);
    Some(names.map(|role| roles::name(catalog, roles::oid(*role))).collect::<Vec<_>>().join(","))
}

struct Named<'a> {
    relation: ObjectId,
    name: &'a str,
    policy: &'a Policy,
}

fn all(catalog: &Catalog) -> Vec<Named<'_>> {
    let of = catalog.policies.iter();
    let named = of.flat_map(|(relation, security)| {
        security.policies.iter().map(move |(name, policy)| Named { relation, name, policy })
    });
    named.collect()
}

fn conditions(all: &[Named<'_>]) -> ArrayRef {
    let shown = |one: &Named<'_>| one.policy.condition.as_ref().map(|condition| format!("({condition})"));
    Arc::new(all.iter().map(shown).collect::<StringArray>())
}

/// `pg_policy`
pub(super) fn policies(catalog: &Catalog) -> DataFusionResult<RecordBatch> {
    let all = all(catalog);
    let same = Same(all.len());
    let item = Field::new_list_field(DataType::Int32, true);
    let mut of = ListBuilder::new(Int32Builder::new()).with_field(item);
    for one in &all {
        // `PUBLIC` stands as 0.
        of.append_value(one.policy.roles.iter().map(|role| Some(roles::oid(*role))));
    }
    batch(vec![
        ("oid", ints((1..).take(all.len()))),
        ("polname", strings(all.iter().map(|one| one.name))),
        ("polrelid", ints(all.iter().map(|one| relation_oid(one.relation)))),
        ("polcmd", strings(all.iter().map(|one| if one.policy.for_select { "r" } else { "*" }))),
        ("polpermissive", Arc::new(all.iter().map(|one| Some(!one.policy.restrictive)).collect::<BooleanArray>())),
        ("polroles", Arc::new(of.finish())),
        ("polqual", conditions(&all)),
        ("polwithcheck", same.null()),
    ])
}

/// The view `pg_policies`.
pub(super) fn listed(catalog: &Catalog) -> DataFusionResult<RecordBatch> {
    let all = all(catalog);
    let same = Same(all.len());
    let name = |role: &RoleId| match *role {
        PUBLIC => "public".to_owned(),
        role => roles::name(catalog, roles::oid(role)),
    };
    let mut of = ListBuilder::new(StringBuilder::new());
    for one in &all {
        of.append_value(one.policy.roles.iter().map(|role| Some(name(role))));
    }
    let relation = |one: &Named<'_>| catalog.get(one.relation).map(|object| object.name.clone()).unwrap_or_default();
    batch(vec![
        ("schemaname", same.text("public")),
        ("tablename", strings(all.iter().map(relation))),
        ("policyname", strings(all.iter().map(|one| one.name))),
        (
            "permissive",
            strings(all.iter().map(|one| if one.policy.restrictive { "RESTRICTIVE" } else { "PERMISSIVE" })),
        ),
        ("roles", Arc::new(of.finish())),
        ("cmd", strings(all.iter().map(|one| if one.policy.for_select { "SELECT" } else { "ALL" }))),
        ("qual", conditions(&all)),
        ("with_check", same.null()),
    ])
}
