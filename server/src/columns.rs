//! Columns of a stream that a schema registry knows, asked for when the stream is created.

use ebap_catalog::Catalog;
use ebap_connector::Options;
use ebap_sql::{Statement, columns_wanted, with_columns};

use crate::{app, pgwire::sqlstate::SqlError};

/// The statement with all of its columns. Asks a registry where some are not declared.
///
/// # Errors
/// Where the registry does not answer, or what it says has no columns.
pub(crate) async fn complete(catalog: &Catalog, statement: Statement) -> Result<Statement, SqlError> {
    let Some(wanted) = columns_wanted(catalog, &statement)? else { return Ok(statement) };
    let mut options = wanted.options;
    app::resolve(catalog, &mut options)?;
    let columns = ebap_format::columns(&Options(options)).await?;
    Ok(with_columns(statement, &columns)?)
}
