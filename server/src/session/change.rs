//! Statements that change what exists, and the transaction blocks around them.

use datafusion::sql::sqlparser::ast::{self, SetExpr, Value};
use ebap_catalog::{Catalog, Migration, ObjectKind};
use ebap_connector::time;
use ebap_sql::{AlterAction, Applied, Parsed, Statement, apply_by, built_in_function, check_write};

use super::{Output, Result, Session, Transaction, rights};
use crate::{
    app::SERIALIZATION_FAILURE,
    auth, columns,
    pgwire::sqlstate::SqlError,
    system::{MIGRATIONS, is_system_table},
};

impl Session {
    /// Begins the implicit transaction of a query of several statements.
    pub(crate) fn begin_implicit(&self) {
        let mut transaction = self.transaction.lock();
        if transaction.is_none() {
            *transaction = Some(Transaction::begin(&self.app.catalog(), &self.settings, true));
        }
    }

    /// Ends it; `ok` is false where a statement failed.
    pub(crate) async fn end_implicit(&self, ok: bool) -> Result<()> {
        let block = {
            let mut transaction = self.transaction.lock();
            if transaction.as_ref().is_none_or(|block| !block.implicit) { None } else { transaction.take() }
        };
        match block {
            Some(block) if ok => self.make_durable(block).await,
            Some(_) => {
                self.roll_back_all();
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// Marks an open block as failed.
    pub(crate) fn failed(&self) {
        if let Some(block) = self.transaction.lock().as_mut() {
            block.failed = true;
        }
    }

    async fn make_durable(&self, block: Transaction) -> Result<()> {
        let Some((base, catalog)) = block.into_change() else {
            self.commit_all();
            return Ok(());
        };
        match self.app.commit(base, catalog).await {
            Ok(()) => {
                self.commit_all();
                Ok(())
            }
            Err(error) => {
                self.roll_back_all();
                Err(if error.code == SERIALIZATION_FAILURE { error.hint("Run the transaction again.") } else { error })
            }
        }
    }

    /// A transaction is durable: its settings stay, and so do cursors `WITH HOLD`.
    fn commit_all(&self) {
        self.settings.commit();
        self.cursors.lock().end(true);
    }

    fn roll_back_all(&self) {
        self.settings.roll_back();
        self.cursors.lock().end(false);
    }

    pub(super) fn begin(&self) -> Output {
        let mut transaction = self.transaction.lock();
        match transaction.as_mut() {
            Some(block) if !block.implicit => self.notice("there is already a transaction in progress"),
            Some(block) => block.implicit = false,
            None => *transaction = Some(Transaction::begin(&self.app.catalog(), &self.settings, false)),
        }
        Output::Begun("BEGIN".to_owned())
    }

    pub(super) async fn commit(&self) -> Result<Output> {
        let block = self.transaction.lock().take();
        match block {
            Some(block) if block.failed => {
                self.roll_back_all();
                return Ok(Output::Ended("ROLLBACK".to_owned()));
            }
            Some(block) => self.make_durable(block).await?,
            None => self.notice("there is no transaction in progress"),
        }
        Ok(Output::Ended("COMMIT".to_owned()))
    }

    pub(super) fn roll_back(&self, to: Option<&ast::Ident>) -> Result<Output> {
        let mut transaction = self.transaction.lock();
        if let Some(name) = to {
            let block = block(transaction.as_mut(), "ROLLBACK TO SAVEPOINT")?;
            block.roll_back_to(&folded(name), &self.settings)?;
            // The savepoint itself stays.
            self.cursors.lock().roll_back_to(block.savepoints().saturating_sub(1));
            return Ok(Output::Begun("ROLLBACK".to_owned()));
        }
        if transaction.take().is_none() {
            self.notice("there is no transaction in progress");
        }
        self.roll_back_all();
        Ok(Output::Ended("ROLLBACK".to_owned()))
    }

    pub(super) fn savepoint(&self, name: &ast::Ident) -> Result<Output> {
        block(self.transaction.lock().as_mut(), "SAVEPOINT")?.savepoint(&folded(name), &self.settings)?;
        Ok(Output::Done("SAVEPOINT".to_owned()))
    }

    pub(super) fn release(&self, name: &ast::Ident) -> Result<Output> {
        let mut transaction = self.transaction.lock();
        let block = block(transaction.as_mut(), "RELEASE SAVEPOINT")?;
        block.release(&folded(name))?;
        self.cursors.lock().release(block.savepoints());
        Ok(Output::Done("RELEASE".to_owned()))
    }

    pub(super) async fn change(&self, parsed: &Parsed) -> Result<Output> {
        let now_us = time::now_us();
        self.refuse_built_in(&parsed.statement)?;
        self.refuse_resume_from(&parsed.statement)?;
        let staged = self.transaction.lock().as_ref().map(|block| block.catalog().clone());
        let catalog = staged.map_or_else(|| self.app.catalog(), std::sync::Arc::new);
        let statement = columns::complete(&catalog, parsed.statement.clone()).await?;
        let (statement, notice) = auth::hashed(statement)?;
        self.refuse_unknown_system(&statement)?;
        self.check_policy(&statement).await?;
        let applied = self
            .changed(|catalog| {
                let actor = self.settings.actor(catalog);
                let applied = apply_by(catalog, &statement, &parsed.text, now_us, &actor)?;
                Ok((applied.catalog.clone(), applied))
            })
            .await?;
        let Applied { catalog, tag, notices } = applied;
        if notices.is_empty() {
            self.tell_of_catch_up(&catalog, &parsed.statement);
        }
        self.notices.lock().extend(notices.into_iter().chain(notice.map(str::to_owned)));
        Ok(Output::Done(tag))
    }

    /// A session has functions that planning a view knows nothing of.
    fn refuse_built_in(&self, statement: &Statement) -> Result<()> {
        let Statement::Create(create) = statement else { return Ok(()) };
        let is_function = create.kind() == ObjectKind::Function;
        match is_function && self.surroundings.context.state().scalar_functions().contains_key(create.name()) {
            true => Err(built_in_function(create.name()).into()),
            false => Ok(()),
        }
    }

    /// Planning knows nothing of the tables of the schema `ebap`.
    fn refuse_unknown_system(&self, statement: &Statement) -> Result<()> {
        let Statement::Role(role) = statement else { return Ok(()) };
        match role.system_tables().into_iter().find(|name| !is_system_table(name)) {
            Some(name) => Err(SqlError::new("42P01", format!("relation \"ebap.{name}\" does not exist"))),
            None => Ok(()),
        }
    }

    /// Functions such as `current_user` are of a session, so a policy is tried here.
    async fn check_policy(&self, statement: &Statement) -> Result<()> {
        let Statement::Role(role) = statement else { return Ok(()) };
        let Some((relation, condition)) = role.policy_condition() else { return Ok(()) };
        // One that the transaction makes cannot be read yet. What is wrong is said when the policy is used.
        if self.app.catalog().relation(relation).is_none() {
            return Ok(());
        }
        rights::planned_condition(self, relation, condition).await.map(drop).map_err(|error| SqlError {
            message: error.message.replace("argument of WHERE", "argument of POLICY"),
            ..error
        })
    }

    /// Only where something is missing: otherwise what is there would be left out.
    fn refuse_resume_from(&self, statement: &Statement) -> Result<()> {
        let Statement::Alter { kind, name, action: AlterAction::ResumeFrom(_), .. } = statement else { return Ok(()) };
        let catalog = self.catalog();
        let Some(object) = catalog.find(*kind, name).filter(|object| !self.app.engine.misses_records(object.id)) else {
            return Ok(());
        };
        let message = format!("{kind} \"{name}\" has not stopped for want of records that are gone");
        let hint = format!("ALTER {} {} RESUME goes on where it stands.", kind.to_string().to_uppercase(), object.name);
        Err(SqlError::new("55000", message).hint(hint))
    }

    /// A new view of a stream that has been read is not up to date yet.
    fn tell_of_catch_up(&self, made: &Catalog, statement: &Statement) {
        let Statement::Create(create) = statement else { return };
        let durable = self.app.catalog();
        let view = made.find(ObjectKind::MaterializedView, create.name());
        // In a transaction block it starts at COMMIT.
        let Some(view) = view.filter(|view| durable.get(view.id).is_some()) else { return };
        let behind: u64 = view.depends_on.iter().map(|id| self.app.engine.records_behind(*id)).sum();
        if behind > 0 {
            self.notice(format!("catching up with {behind} records; see progress in ebap.jobs"));
        }
    }

    /// Makes a change: in the open block, whose catalog is checked now and durable at `COMMIT`, else
    /// durable at once. Outside of a block no other session can come between, so that two sessions
    /// that create things at the same time both succeed.
    async fn changed<T>(&self, mut make: impl FnMut(&Catalog) -> Result<(Catalog, T)>) -> Result<T> {
        let staged = self.transaction.lock().as_ref().map(|block| block.catalog().clone());
        let Some(catalog) = staged else { return self.app.change(make).await };
        let (next, made) = make(&catalog)?;
        if next != catalog {
            self.app.check(&next)?;
            if let Some(block) = self.transaction.lock().as_mut() {
                block.change(next);
            }
        }
        Ok(made)
    }

    /// `INSERT INTO ebap.schema_migrations (name, checksum) VALUES (…)`: what `ebap migrate` writes.
    pub(super) async fn insert(&self, insert: &ast::Insert) -> Result<Output> {
        let refused = || {
            SqlError::new("0A000", "INSERT is not supported")
                .hint("Data come in through streams and tables; see CREATE STREAM.")
        };
        if insert.table.to_string().to_lowercase() != "ebap.schema_migrations" {
            return Err(refused());
        }
        let body = insert.source.as_ref().map(|source| source.body.as_ref());
        let Some(SetExpr::Values(values)) = body else { return Err(refused()) };
        let mut rows = Vec::new();
        for row in &values.rows {
            let [name, checksum] = &row.iter().filter_map(text).collect::<Vec<_>>()[..] else { return Err(refused()) };
            rows.push(Migration { name: name.clone(), checksum: checksum.clone(), applied_at_us: time::now_us() });
        }
        let count = rows.len();
        self.changed(|catalog| {
            check_write(catalog, &self.settings.actor(catalog), MIGRATIONS)?;
            if let Some(twice) = rows.iter().find(|row| catalog.migrations.iter().any(|other| other.name == row.name)) {
                return Err(SqlError::new("23505", format!("migration \"{}\" is applied already", twice.name)));
            }
            let mut next = catalog.clone();
            next.migrations.extend(rows.iter().cloned());
            Ok((next, ()))
        })
        .await?;
        Ok(Output::Done(format!("INSERT 0 {count}")))
    }
}

fn text(expr: &ast::Expr) -> Option<String> {
    match expr {
        ast::Expr::Value(value) => match &value.value {
            Value::SingleQuotedString(text) => Some(text.clone()),
            _ => None,
        },
        _ => None,
    }
}

pub(super) fn folded(name: &ast::Ident) -> String {
    if name.quote_style.is_some() { name.value.clone() } else { name.value.to_lowercase() }
}

fn block<'a>(transaction: Option<&'a mut Transaction>, statement: &str) -> Result<&'a mut Transaction> {
    transaction
        .filter(|block| !block.implicit)
        .ok_or_else(|| SqlError::new("25P01", format!("{statement} can only be used in transaction blocks")))
}
