//! What `ALTER` does to the catalog.
//!
//! `PAUSE` and `RESUME` are facts of the catalog, so a restart keeps them; the engine does what they say.
//! So is `REBUILD`: a number that rises, which a restart in between does not lose.
//! `SWAP WITH` exchanges the names of two views. What is defined by a name follows the name: queries, and
//! sinks `FROM` it, which go on with the rows of the view that now has it.

use arrow::datatypes::{Field, Schema};
use ebap_catalog::{Catalog, Object, ObjectId, ObjectKind, Privilege, RoleId, Securable};

use crate::{
    AlterAction, Applied, Error, Result, ViewPlan,
    apply::{canonical, reparse, wrong_kind},
    error::{postgres_type, unknown},
    planner::plan_catalog,
    rights::{check_owner, denied_on},
    roles::{Actor, resolve_role},
};

pub(crate) fn alter(
    catalog: &Catalog,
    kind: ObjectKind,
    name: &str,
    if_exists: bool,
    action: &AlterAction,
    now_us: i64,
    actor: &Actor,
) -> Result<Applied> {
    let tag = format!("ALTER {}", kind.to_string().to_uppercase());
    let mut next = catalog.clone();
    let mut notices = Vec::new();
    if if_exists && catalog.find(kind, name).is_none() && catalog.relation(name).is_none() {
        notices.push(format!("{kind} \"{name}\" does not exist, skipping"));
        return Ok(Applied { catalog: next, tag, notices });
    }
    let object = find(catalog, kind, name)?;
    check_owner(catalog, actor, object)?;
    let id = object.id;
    match action {
        AlterAction::Pause => {
            if let Some(object) = next.get_mut(id) {
                if object.paused {
                    notices.push(format!("{kind} \"{name}\" is paused already"));
                }
                object.paused = true;
            }
        }
        AlterAction::Resume => {
            if let Some(object) = next.get_mut(id) {
                object.paused = false;
                object.resumes += 1;
            }
        }
        AlterAction::ResumeFrom(from) => {
            if let Some(object) = next.get_mut(id) {
                object.paused = false;
                object.resumes += 1;
                object.resume_from = Some((object.resumes, *from));
            }
        }
        AlterAction::Silence(length_us) => {
            if let Some(object) = next.get_mut(id) {
                object.silenced_until_us = length_us.map(|us| now_us.saturating_add(us));
            }
        }
        AlterAction::Rebuild => {
            check_rebuild(catalog, id)?;
            if let Some(object) = next.get_mut(id) {
                object.rebuilds += 1;
                if object.paused {
                    notices.push(format!("{kind} \"{name}\" is paused, and is rebuilt when it is resumed"));
                }
            }
        }
        AlterAction::SwapWith(other) => {
            let other = find(catalog, kind, other)?;
            check_owner(catalog, actor, other)?;
            swap(&mut next, id, other.id)?;
        }
        AlterAction::OwnerTo(role) => {
            let owner = resolve_role(&catalog.roles, role, actor)?;
            check_new_owner(catalog, owner, actor)?;
            next.set_owner(id, owner);
        }
    }
    Ok(Applied { catalog: next, tag, notices })
}

/// # Errors
/// 42501 where the role cannot become the new owner, or that one may create nothing.
fn check_new_owner(catalog: &Catalog, owner: RoleId, actor: &Actor) -> Result<()> {
    if catalog.roles.is_superuser(actor.current) {
        return Ok(());
    }
    if !catalog.roles.may_become(actor.current, owner) {
        let name = catalog.roles.get(owner).map(|role| role.name.clone()).unwrap_or_default();
        return Err(Error::new("42501", format!("must be member of role \"{name}\"")));
    }
    match catalog.may(owner, Privilege::Create, &Securable::Schema) {
        true => Ok(()),
        false => Err(denied_on(catalog, &Securable::Schema)),
    }
}

pub(crate) fn find<'a>(catalog: &'a Catalog, kind: ObjectKind, name: &str) -> Result<&'a Object> {
    catalog.find(kind, name).ok_or_else(|| match catalog.relation(name).filter(|_| kind.is_relation()) {
        Some(other) => wrong_kind(name, kind, other, "ALTER", "change"),
        None => unknown(kind, name),
    })
}

/// What a sink on a stream wrote is not replaced by writing it again.
fn check_rebuild(catalog: &Catalog, id: ObjectId) -> Result<()> {
    let on_view = plan_catalog(catalog)?.sinks.iter().find(|sink| sink.id == id).is_none_or(|sink| sink.on_view);
    if on_view {
        return Ok(());
    }
    let hint = "A sink on a stream has every row once; drop what it wrote and create it again.";
    Err(Error::unsupported("REBUILD of a sink on a stream".to_owned(), hint))
}

fn swap(next: &mut Catalog, one: ObjectId, other: ObjectId) -> Result<()> {
    if one == other {
        return Err(Error::new("42P16", "a materialized view cannot be swapped with itself"));
    }
    check_dependents(next, one, other)?;
    next.swap_names(one, other);
    for id in [one, other] {
        let Some(object) = next.get_mut(id) else { continue };
        let (mut create, _) = reparse(object)?;
        create.name.clone_from(&object.name);
        object.sql = canonical(&create);
    }
    // What follows the names must still have a plan.
    plan_catalog(next).map(|_| ())
}

/// What depends on one of the views goes on with the rows of the other: it must find the same columns there,
/// and positions of the same stream.
fn check_dependents(catalog: &Catalog, one: ObjectId, other: ObjectId) -> Result<()> {
    let first_of = |view: ObjectId| catalog.dependents(view).next().map(|dependent| (view, dependent));
    let Some((of, dependent)) = first_of(one).or_else(|| first_of(other)) else { return Ok(()) };
    let plans = plan_catalog(catalog)?;
    let view = |id| plans.views.iter().find(|view| view.id == id);
    let (Some(first), Some(second)) = (view(one), view(other)) else { return Ok(()) };
    let refused = |code, what: String| {
        let (kind, name) = (dependent.kind, &dependent.name);
        let of = view(of).map(|view| view.name.clone()).unwrap_or_default();
        let error = Error::new(code, format!("cannot swap \"{}\" with \"{}\": {what}", first.name, second.name));
        let error = error.detail(format!("The {kind} \"{name}\" depends on \"{of}\", and would follow the name."));
        error.hint(format!("Drop the {kind}, swap, and create the {kind} again."))
    };
    if first.sources != second.sources {
        let names = |view: &ViewPlan| {
            let sources = plans.sources.iter().filter(|source| view.sources.contains(&source.id));
            sources.map(|source| format!("\"{}\"", source.name)).collect::<Vec<_>>().join(", ")
        };
        let (one, other) = (names(first), names(second));
        return Err(refused("0A000", format!("they read different streams, {one} and {other}")));
    }
    if let Some(difference) = difference(&first.schema, &second.schema) {
        return Err(refused("42P16", difference));
    }
    if first.upsert_key != second.upsert_key {
        return Err(refused("42P16", "their rows are identified by different columns".to_owned()));
    }
    Ok(())
}

fn difference(first: &Schema, second: &Schema) -> Option<String> {
    if first.fields().len() != second.fields().len() {
        return Some(format!("they have {} and {} columns", first.fields().len(), second.fields().len()));
    }
    let type_of = |field: &Field| postgres_type(&field.data_type().to_string());
    first.fields().iter().zip(second.fields()).find_map(|(one, other)| {
        if one.name() != other.name() {
            return Some(format!("column \"{}\" of one is \"{}\" of the other", one.name(), other.name()));
        }
        let different = one.data_type() != other.data_type();
        different.then(|| {
            format!("column \"{}\" is {} in one and {} in the other", one.name(), type_of(one), type_of(other))
        })
    })
}
