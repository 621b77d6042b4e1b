//! `PREPARE`, `EXECUTE` and `DEALLOCATE`: statements that a client names in SQL. They are those of the protocol too: what
//! one of the two prepares, the other runs.

use std::{collections::HashMap, sync::Arc};

use bytes::Bytes;
use datafusion::{
    common::ParamValues,
    sql::sqlparser::ast::{self, Expr},
};
use ebap_sql::{Parsed, Prepare, Statement, select_of_types};
use futures::StreamExt;
use pgwire::api::portal::Format;

use super::{
    copy, encode,
    extended::{Prepared, prepare_query},
    handlers::{Answer, Connection},
    kept::Kept,
    parameters,
    sqlstate::SqlError,
};
use crate::session::{Output, on_own_task, parse};

/// Statements that the client has prepared, by name, within what a session may keep.
pub(super) struct Named {
    pub(super) kept: Kept,
    statements: HashMap<String, Prepared>,
}

impl Named {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self { kept: Kept::new(bytes_max), statements: HashMap::new() }
    }

    /// One of the same name goes.
    pub(super) fn put(&mut self, name: &str, bytes: usize, statement: Prepared) {
        self.kept.statement(name, bytes);
        self.statements.insert(name.to_owned(), statement);
    }

    pub(super) fn get(&self, name: &str) -> Option<Prepared> {
        self.statements.get(name).cloned()
    }

    /// True where there was one.
    pub(super) fn close(&mut self, name: &str) -> bool {
        self.statements.remove(name);
        self.kept.close_statement(name)
    }

    /// Gives the names of all that there were.
    pub(super) fn close_all(&mut self) -> Vec<String> {
        self.statements.clear();
        self.kept.close_statements()
    }
}

fn missing(name: &str) -> SqlError {
    SqlError::new("26000", format!("prepared statement \"{name}\" does not exist"))
}

impl Connection {
    /// `PREPARE`.
    pub(super) async fn prepare(&self, parsed: &Parsed, prepare: &Prepare) -> Result<(), SqlError> {
        {
            let named = self.named.lock();
            if named.kept.has_statement(&prepare.name) {
                let message = format!("prepared statement \"{}\" already exists", prepare.name);
                return Err(SqlError::new("42P05", message));
            }
            named.kept.room_for_statement(&prepare.name, parsed.text.len())?;
        }
        let query = Statement::Query(prepare.query.clone());
        let inner = Parsed { statement: query, text: parsed.text.clone(), start: parsed.start };
        let prepared = on_own_task(prepare_query(Arc::clone(&self.session), inner, Vec::new())).await?;
        self.named.lock().put(&prepare.name, parsed.text.len(), prepared);
        Ok(())
    }

    /// `EXECUTE`: values become parameters as a client would send them.
    pub(super) async fn execute_named(&self, name: &str, values: &[Expr], format: &Format) -> Result<Answer, SqlError> {
        let prepared = self.named.lock().get(name).ok_or_else(|| missing(name))?;
        let (sent, needed) = (values.len(), prepared.parameters.len());
        if sent != needed {
            let message = format!("wrong number of parameters for prepared statement \"{name}\"");
            let detail = Some(format!("Expected {needed} parameters but got {sent}."));
            return Err(SqlError { detail, ..SqlError::new("42601", message) });
        }
        let values = self.bound(values, &prepared).await?;
        let Some(parsed) = &prepared.parsed else { return Ok(Answer::Empty) };
        let planned = match &prepared.planned {
            Some(planned) => Some((self.fresh(planned, &prepared, parsed).await?, values)),
            None => None,
        };
        self.answer(parsed, planned, format).await
    }

    async fn bound(&self, values: &[Expr], prepared: &Prepared) -> Result<ParamValues, SqlError> {
        if values.is_empty() {
            return Ok(ParamValues::List(Vec::new()));
        }
        let types: Vec<String> = prepared.parameters.iter().map(|parameter| written(parameter.wire.name())).collect();
        let text = select_of_types(values, &types);
        let failed = || SqlError::new("XX000", "the values of EXECUTE gave no row");
        let session = Arc::clone(&self.session);
        let given = on_own_task(async move {
            let parsed = parse(&text)?.pop().ok_or_else(failed)?;
            session.run(&parsed, None).await.map_err(|error| SqlError { position: None, ..error })
        });
        let Output::Rows { schema, mut rows, .. } = self.session.interrupts.current().or(given).await? else {
            return Err(failed());
        };
        let batch = loop {
            let batch = rows.next().await.ok_or_else(failed)??;
            if batch.num_rows() > 0 {
                break batch;
            }
        };
        let zone = self.session.settings.zone();
        let fields = encode::fields(&schema, &Format::UnifiedText);
        let row = encode::rows(&batch, &schema, &fields, &zone).next().ok_or_else(failed)?;
        let row = row.map_err(|error| SqlError::new("22023", error.to_string()))?;
        let texts: Vec<_> = copy::values(&row)?.into_iter().map(|value| value.map(Bytes::copy_from_slice)).collect();
        parameters::values(&texts, &Format::UnifiedText, &prepared.parameters, &zone)
    }

    /// Follows `DEALLOCATE` and `DISCARD ALL`: gives the names that the protocol's own store is to forget.
    ///
    /// # Errors
    /// 26000 for a name that was not prepared.
    pub(super) fn forgotten(&self, statement: &Statement) -> Result<Vec<String>, SqlError> {
        let Statement::Query(query) = statement else { return Ok(Vec::new()) };
        let mut named = self.named.lock();
        match query.as_ref() {
            ast::Statement::Deallocate { name, .. }
                if name.quote_style.is_some() || !name.value.eq_ignore_ascii_case("all") =>
            {
                let name = match name.quote_style {
                    Some(_) => name.value.clone(),
                    None => name.value.to_lowercase(),
                };
                if named.close(&name) { Ok(vec![name]) } else { Err(missing(&name)) }
            }
            ast::Statement::Deallocate { .. } | ast::Statement::Discard { object_type: ast::DiscardObject::ALL } => {
                Ok(named.close_all())
            }
            _ => Ok(Vec::new()),
        }
    }
}

/// The name of a type as SQL has it: the protocol's name of an array begins with a line.
fn written(name: &str) -> String {
    match name.strip_prefix('_') {
        Some(of) => format!("{of}[]"),
        None => name.to_owned(),
    }
}
