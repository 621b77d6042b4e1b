//! One commit: look, check, compare-and-set; never a blind repetition.
//!
//! `Transaction::commit` of the iceberg crate loads the table anew and rebases, by itself and again on errors it takes
//! for passing ones. Both would undo what was checked here. [`Pinned`] stands between it and the catalog: it answers
//! "load" with the table that was checked and lets one single update through.

use std::{collections::HashMap, future::Future, time::Duration};

use async_trait::async_trait;
use ebap_connector::{Error, Result};
use iceberg::{
    Catalog, ErrorKind, Namespace, NamespaceIdent, TableCommit, TableCreation, TableIdent,
    spec::DataFile,
    table::Table,
    transaction::{ApplyTransactionAction, Transaction},
};

use crate::{
    options::IcebergOptions,
    summary::{self, Mark},
};

const ATTEMPTS_MAX: usize = 3;
/// For one request to the catalog.
pub(crate) const CATALOG_TIMEOUT: Duration = Duration::from_secs(60);

pub(crate) struct Committer<'a> {
    pub(crate) catalog: &'a dyn Catalog,
    pub(crate) options: &'a IcebergOptions,
    pub(crate) sink_id: &'a str,
    /// The table as `open` found it, and our commit that was the newest then or that we made since.
    pub(crate) opened: &'a Table,
    pub(crate) known: Option<&'a Mark>,
}

impl Committer<'_> {
    /// Returns when the files are part of the table, once.
    pub(crate) async fn commit(&self, files: &[DataFile], mark: &Mark) -> Result<()> {
        let mut last = String::new();
        for _ in 0..ATTEMPTS_MAX {
            let table = self.load().await?;
            if self.is_committed(&table, mark)? {
                return Ok(());
            }
            match bounded(append(self.catalog, table, files, mark.properties(self.sink_id)?)).await {
                Ok(()) => return Ok(()),
                Err(error) => {
                    tracing::warn!(sink = self.sink_id, error = %error, "an iceberg commit did not answer with success; looking before trying again");
                    last = error.to_string();
                }
            }
        }
        if self.is_committed(&self.load().await?, mark)? {
            return Ok(());
        }
        Err(Error::unreachable(&self.options.system, format!("no commit in {ATTEMPTS_MAX} attempts: {last}")))
    }

    async fn load(&self) -> Result<Table> {
        let loaded = bounded(self.catalog.load_table(&self.options.table)).await;
        let table = loaded.map_err(|error| self.options.failed(&error))?;
        if table.metadata().uuid() == self.opened.metadata().uuid() {
            Ok(table)
        } else {
            // The engine opens again and starts from what the new table has.
            Err(Error::unreachable(&self.options.system, format!("table \"{}\" was replaced", self.options.table)))
        }
    }

    /// # Errors
    /// `Fenced` where a newer incarnation writes. `Unreachable` where an older attempt of our own (or of a predecessor)
    /// landed after `open`: its position is not the one we count from, and opening again finds the right one.
    fn is_committed(&self, table: &Table, mark: &Mark) -> Result<bool> {
        let newest = summary::newest(table, self.sink_id)?;
        match newest {
            Some(newest) if newest.commit == mark.commit => Ok(true),
            Some(newest) if newest.incarnation > mark.incarnation => {
                let (table, ours, theirs) = (&self.options.table, mark.incarnation, newest.incarnation);
                Err(Error::Fenced { message: format!("incarnation {theirs} writes to \"{table}\", newer than {ours}") })
            }
            newest if newest.as_ref().map(|mark| &mark.commit) == self.known.map(|mark| &mark.commit) => Ok(false),
            _ => Err(Error::unreachable(
                &self.options.system,
                "the position in the table is not the one it was opened at",
            )),
        }
    }
}

async fn append(
    catalog: &dyn Catalog,
    table: Table,
    files: &[DataFile],
    properties: HashMap<String, String>,
) -> iceberg::Result<()> {
    let transaction = Transaction::new(&table);
    // The crate's check for duplicates reads every manifest of the table; `is_committed` knows already.
    let action = transaction
        .fast_append()
        .with_check_duplicate(false)
        .add_data_files(files.iter().cloned())
        .set_snapshot_properties(properties);
    let transaction = action.apply(transaction)?;
    transaction.commit(&Pinned { catalog, table }).await.map(drop)
}

pub(crate) async fn bounded<T>(call: impl Future<Output = iceberg::Result<T>>) -> iceberg::Result<T> {
    match tokio::time::timeout(CATALOG_TIMEOUT, call).await {
        Ok(answer) => answer,
        Err(_) => Err(iceberg::Error::new(ErrorKind::Unexpected, format!("no answer in {CATALOG_TIMEOUT:?}"))),
    }
}

#[derive(Debug)]
struct Pinned<'a> {
    catalog: &'a dyn Catalog,
    table: Table,
}

fn not_in_a_commit<T>() -> iceberg::Result<T> {
    Err(iceberg::Error::new(ErrorKind::FeatureUnsupported, "a commit loads and updates its table, nothing else"))
}

#[async_trait]
impl Catalog for Pinned<'_> {
    async fn load_table(&self, _table: &TableIdent) -> iceberg::Result<Table> {
        Ok(self.table.clone())
    }

    async fn update_table(&self, commit: TableCommit) -> iceberg::Result<Table> {
        self.catalog.update_table(commit).await.map_err(|error| error.with_retryable(false))
    }

    async fn list_namespaces(&self, _parent: Option<&NamespaceIdent>) -> iceberg::Result<Vec<NamespaceIdent>> {
        not_in_a_commit()
    }

    async fn create_namespace(
        &self,
        _namespace: &NamespaceIdent,
        _properties: HashMap<String, String>,
    ) -> iceberg::Result<Namespace> {
        not_in_a_commit()
    }

    async fn get_namespace(&self, _namespace: &NamespaceIdent) -> iceberg::Result<Namespace> {
        not_in_a_commit()
    }

    async fn namespace_exists(&self, _namespace: &NamespaceIdent) -> iceberg::Result<bool> {
        not_in_a_commit()
    }

    async fn update_namespace(
        &self,
        _namespace: &NamespaceIdent,
        _properties: HashMap<String, String>,
    ) -> iceberg::Result<()> {
        not_in_a_commit()
    }

    async fn drop_namespace(&self, _namespace: &NamespaceIdent) -> iceberg::Result<()> {
        not_in_a_commit()
    }

    async fn list_tables(&self, _namespace: &NamespaceIdent) -> iceberg::Result<Vec<TableIdent>> {
        not_in_a_commit()
    }

    async fn create_table(&self, _namespace: &NamespaceIdent, _creation: TableCreation) -> iceberg::Result<Table> {
        not_in_a_commit()
    }

    async fn drop_table(&self, _table: &TableIdent) -> iceberg::Result<()> {
        not_in_a_commit()
    }

    async fn purge_table(&self, _table: &TableIdent) -> iceberg::Result<()> {
        not_in_a_commit()
    }

    async fn table_exists(&self, _table: &TableIdent) -> iceberg::Result<bool> {
        not_in_a_commit()
    }

    async fn rename_table(&self, _from: &TableIdent, _to: &TableIdent) -> iceberg::Result<()> {
        not_in_a_commit()
    }

    async fn register_table(&self, _table: &TableIdent, _metadata_location: String) -> iceberg::Result<Table> {
        not_in_a_commit()
    }
}
