//! `CREATE`, `ALTER` and `DROP POLICY`, and `ALTER TABLE … ROW LEVEL SECURITY`.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::{
    ast::{Expr, Query, Visit, Visitor},
    tokenizer::Token,
};
use ebap_catalog::ObjectKind;

use super::{
    cursor::Cursor,
    grant::{Grantee, grantees},
    role::RoleChange,
};
use crate::{Error, Result};

/// A change of the policies of one relation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PolicyChange {
    pub(crate) relation: String,
    pub(crate) action: PolicyAction,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PolicyAction {
    Create {
        name: String,
        restrictive: bool,
        for_select: bool,
        /// Without any for everybody.
        roles: Vec<Grantee>,
        condition: Option<String>,
    },
    Alter {
        name: String,
        rename: Option<String>,
        roles: Option<Vec<Grantee>>,
        condition: Option<String>,
    },
    Drop {
        name: String,
        if_exists: bool,
    },
    /// `ALTER kind … ENABLE | DISABLE | FORCE | NO FORCE ROW LEVEL SECURITY`
    Security {
        kind: ObjectKind,
        enabled: Option<bool>,
        forced: Option<bool>,
    },
}

impl PolicyChange {
    /// The condition that it gives a policy.
    pub(crate) fn condition(&self) -> Option<&str> {
        match &self.action {
            PolicyAction::Create { condition, .. } | PolicyAction::Alter { condition, .. } => condition.as_deref(),
            PolicyAction::Drop { .. } | PolicyAction::Security { .. } => None,
        }
    }
}

/// `CREATE POLICY name ON relation [AS …] [FOR …] [TO …] [USING (…)]`, and its like.
pub(super) fn policy(cursor: &mut Cursor<'_>) -> Result<RoleChange> {
    let verb = cursor.word(0).unwrap_or_default();
    cursor.skip(2);
    let if_exists = verb == "DROP" && cursor.take(&["IF", "EXISTS"]);
    let name = cursor.identifier()?;
    cursor.expect(&["ON"])?;
    let relation = cursor.object_name()?;
    let action = match verb.as_str() {
        "CREATE" => create(cursor, name)?,
        "ALTER" => alter(cursor, name)?,
        _ => {
            let _ = cursor.take(&["CASCADE"]) || cursor.take(&["RESTRICT"]);
            PolicyAction::Drop { name, if_exists }
        }
    };
    Ok(RoleChange::Policy(PolicyChange { relation, action }))
}

fn create(cursor: &mut Cursor<'_>, name: String) -> Result<PolicyAction> {
    let restrictive = match cursor.take(&["AS"]) {
        true if cursor.take(&["RESTRICTIVE"]) => true,
        true => {
            cursor.expect(&["PERMISSIVE"])?;
            false
        }
        false => false,
    };
    let for_select = match cursor.take(&["FOR"]) {
        true if cursor.take(&["SELECT"]) => true,
        true if cursor.take(&["ALL"]) => false,
        true => {
            let what = format!("a policy for {}", cursor.word(0).unwrap_or_default());
            return Err(Error::unsupported(what, "Relations are read: use FOR SELECT.").at(cursor.position()));
        }
        false => false,
    };
    let roles = if cursor.take(&["TO"]) { grantees(cursor)? } else { Vec::new() };
    Ok(PolicyAction::Create { name, restrictive, for_select, roles, condition: using(cursor)? })
}

fn alter(cursor: &mut Cursor<'_>, name: String) -> Result<PolicyAction> {
    if cursor.take(&["RENAME", "TO"]) {
        let rename = Some(cursor.identifier()?);
        return Ok(PolicyAction::Alter { name, rename, roles: None, condition: None });
    }
    let roles = if cursor.take(&["TO"]) { Some(grantees(cursor)?) } else { None };
    let condition = using(cursor)?;
    match roles.is_none() && condition.is_none() {
        true => Err(cursor.unexpected()),
        false => Ok(PolicyAction::Alter { name, rename: None, roles, condition }),
    }
}

/// The condition, as it is kept.
fn using(cursor: &mut Cursor<'_>) -> Result<Option<String>> {
    let mut condition = None;
    if cursor.take(&["USING"]) {
        if !cursor.is(&Token::LParen) {
            return Err(cursor.unexpected());
        }
        let position = cursor.position();
        let inside = cursor.group()?;
        let mut list = cursor.inside(inside);
        let expr = list.expr()?;
        list.end()?;
        if has_query(&expr) {
            let hint = "Compare columns with current_user, pg_has_role(…) or values.";
            return Err(Error::unsupported("a sub-query in a policy", hint).at(position));
        }
        condition = Some(expr.to_string());
    }
    if cursor.at(&["WITH", "CHECK"]) {
        let hint = "Relations are read: use USING.";
        return Err(Error::unsupported("WITH CHECK in a policy", hint).at(cursor.position()));
    }
    Ok(condition)
}

fn has_query(expr: &Expr) -> bool {
    struct Queries;
    impl Visitor for Queries {
        type Break = ();

        fn pre_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
            ControlFlow::Break(())
        }
    }
    Visit::visit(expr, &mut Queries).is_break()
}

/// `None` where the statement changes something else.
pub(super) fn security(cursor: &mut Cursor<'_>, kind: ObjectKind, length: usize) -> Result<Option<RoleChange>> {
    let of_rows = ["ROW", "LEVEL", "SECURITY"];
    let words: Vec<String> = (0..cursor.rest().len()).map_while(|ahead| cursor.word(ahead)).collect();
    if !kind.is_relation() || !words.ends_with(&of_rows.map(str::to_owned)) {
        return Ok(None);
    }
    cursor.skip(1 + length);
    let relation = cursor.object_name()?;
    let (enabled, forced) = if cursor.take(&["ENABLE"]) {
        (Some(true), None)
    } else if cursor.take(&["DISABLE"]) {
        (Some(false), None)
    } else if cursor.take(&["NO", "FORCE"]) {
        (None, Some(false))
    } else {
        cursor.expect(&["FORCE"])?;
        (None, Some(true))
    };
    cursor.expect(&of_rows)?;
    let action = PolicyAction::Security { kind, enabled, forced };
    Ok(Some(RoleChange::Policy(PolicyChange { relation, action })))
}
