//! Roles and memberships, as `pg_catalog` has them.

use std::sync::Arc;

use arrow::array::AsArray;
use arrow::{
    array::{ArrayRef, BooleanArray, Int32Array, ListBuilder, RecordBatch, StringBuilder, TimestampMicrosecondArray},
    compute::cast,
    datatypes::{DataType, Field, Int32Type},
};
use datafusion::{
    error::Result as DataFusionResult,
    logical_expr::{ColumnarValue, ScalarUDF, Volatility, create_udf},
};
use ebap_catalog::{Catalog, Role, RoleId};

use super::{
    pg_catalog::{Same, batch, ints},
    strings,
};
use crate::app::App;

/// Tables that `pg_catalog` of the library lacks.
pub(super) const TABLES: [&str; 1] = ["pg_user"];
/// Names of the roles that a role is a member of, by its number: what `psql` makes of a subquery.
pub(super) const MEMBER_OF: &str = "pg_role_memberof";

pub(super) fn oid(id: RoleId) -> i32 {
    i32::try_from(id.0).unwrap_or(i32::MAX)
}

/// The name of a role, as `pg_get_userbyid` gives it.
pub(super) fn name(catalog: &Catalog, oid: i32) -> String {
    let role = u32::try_from(oid).ok().and_then(|id| catalog.roles.get(RoleId(id)));
    role.map_or_else(|| format!("unknown (OID={oid})"), |role| role.name.clone())
}

fn truths(all: &[&Role], of: impl Fn(&Role) -> bool) -> ArrayRef {
    Arc::new(all.iter().map(|role| Some(of(role))).collect::<BooleanArray>())
}

fn valid_until(all: &[&Role]) -> ArrayRef {
    let times = all.iter().map(|role| role.valid_until_us).collect::<TimestampMicrosecondArray>();
    Arc::new(times.with_timezone("+00:00"))
}

/// `pg_roles`, and `pg_authid` with the same columns: nobody is shown a verifier.
pub(super) fn roles(catalog: &Catalog) -> DataFusionResult<RecordBatch> {
    let all: Vec<&Role> = catalog.roles.iter().collect();
    let same = Same(all.len());
    let limit = |role: &&Role| role.connection_limit.map_or(-1, |limit| i32::try_from(limit).unwrap_or(i32::MAX));
    batch(vec![
        ("oid", ints(all.iter().map(|role| oid(role.id)))),
        ("rolname", strings(all.iter().map(|role| &role.name))),
        ("rolsuper", truths(&all, |role| role.superuser)),
        ("rolinherit", truths(&all, |role| role.inherit)),
        ("rolcreaterole", truths(&all, |role| role.create_role)),
        ("rolcreatedb", truths(&all, |role| role.create_db)),
        ("rolcanlogin", truths(&all, |role| role.can_login)),
        ("rolreplication", truths(&all, |role| role.replication)),
        ("rolconnlimit", ints(all.iter().map(limit))),
        ("rolpassword", same.text("********")),
        ("rolvaliduntil", valid_until(&all)),
        ("rolbypassrls", truths(&all, |role| role.bypass_rls)),
        ("rolconfig", same.no_list()),
    ])
}

pub(super) fn users(catalog: &Catalog) -> DataFusionResult<RecordBatch> {
    let all: Vec<&Role> = catalog.roles.iter().filter(|role| role.can_login).collect();
    let same = Same(all.len());
    batch(vec![
        ("usename", strings(all.iter().map(|role| &role.name))),
        ("usesysid", ints(all.iter().map(|role| oid(role.id)))),
        ("usecreatedb", truths(&all, |role| role.create_db)),
        ("usesuper", truths(&all, |role| role.superuser)),
        ("userepl", truths(&all, |role| role.replication)),
        ("usebypassrls", truths(&all, |role| role.bypass_rls)),
        ("passwd", same.text("********")),
        ("valuntil", valid_until(&all)),
        ("useconfig", same.no_list()),
    ])
}

pub(super) fn memberships(catalog: &Catalog) -> DataFusionResult<RecordBatch> {
    let all: Vec<_> = catalog.roles.memberships().collect();
    let admin = all.iter().map(|one| Some(one.admin)).collect::<BooleanArray>();
    batch(vec![
        ("roleid", ints(all.iter().map(|one| oid(one.role)))),
        ("member", ints(all.iter().map(|one| oid(one.member)))),
        ("grantor", ints(all.iter().map(|one| oid(one.grantor)))),
        ("admin_option", Arc::new(admin)),
    ])
}

/// The function `MEMBER_OF`.
pub(super) fn member_of(app: &Arc<App>) -> ScalarUDF {
    let app = Arc::clone(app);
    let run = move |args: &[ColumnarValue]| {
        let arrays = ColumnarValue::values_to_arrays(args)?;
        let oids = cast(&arrays[0], &DataType::Int32)?;
        let oids: &Int32Array = oids.as_primitive::<Int32Type>();
        let catalog = app.catalog();
        let mut lists = ListBuilder::new(StringBuilder::new());
        for member in oids {
            let of = catalog.roles.memberships().filter(|one| Some(oid(one.member)) == member);
            lists.append_value(of.map(|one| Some(name(&catalog, oid(one.role)))));
        }
        Ok(ColumnarValue::Array(Arc::new(lists.finish())))
    };
    let names = DataType::List(Arc::new(Field::new("item", DataType::Utf8, true)));
    create_udf(MEMBER_OF, vec![DataType::Int32], names, Volatility::Stable, Arc::new(run))
}
