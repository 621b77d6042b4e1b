//! `SET`, `RESET` and `SHOW` of settings.

use datafusion::sql::sqlparser::ast::{
    self, ContextModifier, Expr, Reset, Set, SetSessionAuthorizationParamKind, Value,
};

use super::{Output, Result, Session, Settings, change::folded, show::texts};
use crate::pgwire::sqlstate::SqlError;

impl Session {
    pub(super) fn set_statement(&self, set: &Set) -> Result<Output> {
        match set {
            Set::SingleAssignment { scope, variable, values, .. } => {
                let local = matches!(scope, Some(ContextModifier::Local));
                self.assign(&name(&variable.to_string()), values, local)?;
            }
            Set::SetTimeZone { local, value } => self.assign("timezone", std::slice::from_ref(value), *local)?,
            Set::SetNames { charset_name, .. } => {
                self.settings.set("client_encoding", &charset_name.value, false)?;
            }
            Set::SetNamesDefault {} => self.settings.reset("client_encoding")?,
            // One statement sees one state of each view, whatever the level.
            Set::SetTransaction { .. } => {}
            Set::SetRole { context_modifier, role_name } => {
                let local = matches!(context_modifier, Some(ContextModifier::Local));
                match role_name {
                    Some(role) => self.set_role(&folded(role), local)?,
                    None => self.set_role("none", local)?,
                }
            }
            Set::SetSessionAuthorization(of) => self.set_session_authorization(&of.kind)?,
            Set::SetSessionParam(_) | Set::MultipleAssignments { .. } | Set::ParenthesizedAssignments { .. } => {
                return Err(SqlError::new("0A000", "this form of SET is not supported").hint("Use SET name = value."));
            }
        }
        Ok(Output::Done("SET".to_owned()))
    }

    fn assign(&self, name: &str, values: &[Expr], local: bool) -> Result<()> {
        if local && self.transaction.lock().is_none() {
            self.notice("SET LOCAL can only be used in transaction blocks");
        }
        let is_default = |expr: &Expr| {
            matches!(expr, Expr::Identifier(word) if word.quote_style.is_none()
                && ["default", "local"].contains(&word.value.to_lowercase().as_str()))
        };
        if let [one] = values
            && is_default(one)
        {
            return self.settings.reset(name);
        }
        let is_list = name == "search_path";
        if let ("role", [Expr::Identifier(role)]) = (name, values) {
            return self.set_role(&folded(role), local);
        }
        let value = values.iter().map(|expr| word(expr, is_list)).collect::<Vec<_>>().join(", ");
        if name == "role" {
            return self.set_role(&value, local);
        }
        self.settings.set(name, &value, local).map(drop)
    }

    /// `SET ROLE`; `none` is who has logged in.
    fn set_role(&self, role: &str, local: bool) -> Result<()> {
        let catalog = self.catalog();
        let session = self.settings.actor(&catalog).session;
        let found = match role {
            "none" => session,
            name => {
                let found = catalog.roles.find(name).map(|role| role.id);
                found.ok_or_else(|| SqlError::new("22023", format!("role \"{name}\" does not exist")))?
            }
        };
        if !catalog.roles.may_become(session, found) {
            return Err(SqlError::new("42501", format!("permission denied to set role \"{role}\"")));
        }
        self.settings.set_role(role, catalog.roles.is_superuser(found), local)
    }

    /// Whoever has logged in stays who he is; clients reset it as they take a connection out of a pool.
    fn set_session_authorization(&self, to: &SetSessionAuthorizationParamKind) -> Result<()> {
        match to {
            SetSessionAuthorizationParamKind::Default => Ok(()),
            SetSessionAuthorizationParamKind::User(name)
                if self.settings.get("session_authorization")? == folded(name) =>
            {
                Ok(())
            }
            SetSessionAuthorizationParamKind::User(_) => {
                Err(SqlError::new("0A000", "SET SESSION AUTHORIZATION is not supported").hint("Use SET ROLE."))
            }
        }
    }

    pub(super) fn reset(&self, what: &Reset) -> Result<Output> {
        match what {
            Reset::ALL => self.settings.reset_all(),
            Reset::ConfigurationParameter(variable) => match name(&variable.to_string()).as_str() {
                "role" => self.set_role("none", false)?,
                name => self.settings.reset(name)?,
            },
        }
        Ok(Output::Done("RESET".to_owned()))
    }

    pub(super) fn show_setting(&self, variable: &[ast::Ident]) -> Result<Output> {
        let columns = shown_columns(variable);
        let [column] = &columns[..] else {
            let (names, values) =
                self.settings.all().into_iter().map(|(name, value)| (Some(name.to_owned()), Some(value))).unzip();
            return texts(&columns, vec![names, values], "SHOW");
        };
        let value = self.settings.get(column)?;
        texts(&columns, vec![vec![Some(value)]], "SHOW")
    }
}

/// Columns of `SHOW`.
pub(super) fn shown_columns(variable: &[ast::Ident]) -> Vec<String> {
    let words: Vec<&str> = variable.iter().map(|part| part.value.as_str()).collect();
    match name(&words.join("_")).as_str() {
        "all" => vec!["name".to_owned(), "setting".to_owned()],
        name => vec![Settings::canonical(name)],
    }
}

/// The setting that is meant.
fn name(written: &str) -> String {
    match written.to_lowercase().as_str() {
        "time_zone" => "timezone".to_owned(),
        "transaction_isolation_level" => "transaction_isolation".to_owned(),
        "session_authorization_default" => "session_authorization".to_owned(),
        other => other.replace('"', ""),
    }
}

/// A value as the setting has it. In a list, names keep the quotes that they need.
fn word(expr: &Expr, is_list: bool) -> String {
    match expr {
        Expr::Value(value) => match &value.value {
            Value::SingleQuotedString(text)
            | Value::EscapedStringLiteral(text)
            | Value::DoubleQuotedString(text)
            | Value::UnicodeStringLiteral(text) => text.clone(),
            other => other.to_string(),
        },
        Expr::Identifier(word) if is_list => word.to_string(),
        Expr::Identifier(word) => word.value.clone(),
        other => other.to_string(),
    }
}
