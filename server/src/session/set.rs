//! `SET`, `RESET` and `SHOW` of settings.

use datafusion::sql::sqlparser::ast::{self, ContextModifier, Expr, Reset, Set, Value};

use super::{Output, Result, Session, Settings, show::texts};
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
            Set::SetRole { .. } | Set::SetSessionAuthorization(_) => {}
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
        let value = values.iter().map(|expr| word(expr, is_list)).collect::<Vec<_>>().join(", ");
        self.settings.set(name, &value, local).map(drop)
    }

    pub(super) fn reset(&self, what: &Reset) -> Result<Output> {
        match what {
            Reset::ALL => self.settings.reset_all(),
            Reset::ConfigurationParameter(variable) => self.settings.reset(&name(&variable.to_string()))?,
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
