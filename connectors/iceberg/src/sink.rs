//! The sink itself: opening the table, keeping files and position together, committing when it is time.

use std::{collections::HashMap, time::Instant};

use async_trait::async_trait;
use ebap_connector::{Epoch, Error, Position, Result, Sink, SinkContext, SinkInput, SinkOpened, time};
use iceberg::{Catalog, ErrorKind, TableCreation, table::Table};
use iceberg_catalog_rest::RestCatalog;
use uuid::Uuid;

use crate::{
    commit::{Committer, bounded},
    options::IcebergOptions,
    schema,
    summary::{self, Mark},
    writer::TableWriter,
};

/// # Errors
/// `Option` and `Schema` for whatever the user wrote that cannot work; nothing is contacted before `open`.
pub fn sink(context: &SinkContext) -> Result<Box<dyn Sink>> {
    if context.on_view {
        let message = "an iceberg sink needs a stream: it appends rows and cannot change them";
        return Err(Error::option("connector", message));
    }
    let options = IcebergOptions::parse(&context.options)?;
    let columns = schema::table_schema(&context.schema)?;
    schema::partition_spec(&context.partitions, &columns)?;
    Ok(Box::new(IcebergSink { context: context.clone(), options, opened: None }))
}

struct IcebergSink {
    context: SinkContext,
    options: IcebergOptions,
    opened: Option<Opened>,
}

struct Opened {
    catalog: RestCatalog,
    table: Table,
    /// The newest commit of this sink that we know of.
    known: Option<Mark>,
    writer: TableWriter,
    last_commit: Instant,
}

#[async_trait]
impl Sink for IcebergSink {
    async fn open(&mut self) -> Result<SinkOpened> {
        self.opened = None;
        let catalog = self.options.catalog().await?;
        let table = load_or_create(&catalog, &self.options, &self.context).await?;
        let columns = schema::table_schema(&self.context.schema)?;
        schema::check_fits(&columns, table.metadata().current_schema())?;
        self.warn_of_other_partitions(&table);
        let known = summary::newest(&table, &self.context.id)?;
        if let Some(newer) = known.as_ref().filter(|mark| mark.incarnation > self.context.incarnation) {
            let (table, ours, theirs) = (&self.options.table, self.context.incarnation, newer.incarnation);
            let message = format!("incarnation {theirs} writes to \"{table}\", newer than {ours}");
            return Err(Error::Fenced { message });
        }
        let time_column = self.context.time_column.map(|column| self.context.schema.field(column).name().as_str());
        let writer = TableWriter::new(&table, &self.options, time_column)?;
        let position = known.as_ref().map(|mark| mark.position.clone());
        self.opened = Some(Opened { catalog, table, known, writer, last_commit: time::instant() });
        Ok(SinkOpened { position })
    }

    async fn write(&mut self, input: SinkInput, _position: &Position) -> Result<()> {
        let SinkInput::Rows(rows) = input else {
            return Err(Error::internal("an iceberg sink was given changes of a view"));
        };
        self.opened.as_mut().ok_or_else(not_open)?.writer.write(&rows).await
    }

    async fn checkpoint(&mut self, epoch: Epoch, position: &Position, force: bool) -> Result<Option<Position>> {
        let opened = self.opened.as_mut().ok_or_else(not_open)?;
        if opened.writer.rows() == 0 {
            // Everything up to here is visible: nothing of it had to be written.
            return Ok(Some(position.clone()));
        }
        if !force && opened.last_commit.elapsed() < self.options.commit_interval {
            return Ok(None);
        }
        let mark = Mark {
            commit: Uuid::now_v7().to_string(),
            incarnation: self.context.incarnation,
            epoch,
            position: position.clone(),
        };
        match self.commit_pending(mark).await {
            Ok(()) => Ok(Some(position.clone())),
            Err(error) => {
                // Files are out of the writer's hands now, so going on would lose their rows. Open again.
                self.opened = None;
                Err(error)
            }
        }
    }
}

fn not_open() -> Error {
    Error::internal("an iceberg sink was used before it was opened, or after it failed")
}

impl IcebergSink {
    async fn commit_pending(&mut self, mark: Mark) -> Result<()> {
        let opened = self.opened.as_mut().ok_or_else(not_open)?;
        let files = opened.writer.finish().await?;
        let committer = Committer {
            catalog: &opened.catalog,
            options: &self.options,
            sink_id: &self.context.id,
            opened: &opened.table,
            known: opened.known.as_ref(),
        };
        committer.commit(&files, &mark).await?;
        opened.known = Some(mark);
        opened.last_commit = time::instant();
        Ok(())
    }

    /// A table may be partitioned anew by its owner, so that is no error; the table's own way is followed.
    fn warn_of_other_partitions(&self, table: &Table) {
        let metadata = table.metadata();
        let schema = metadata.current_schema();
        let existing = metadata.default_partition_spec().fields().iter().map(|field| {
            let column = schema.name_by_field_id(field.source_id).unwrap_or_default();
            (column.to_owned(), field.transform.to_string())
        });
        let wanted = self.context.partitions.iter().map(|part| (part.column.clone(), part.transform.clone()));
        if !existing.eq(wanted) {
            tracing::warn!(sink = %self.context.name, table = %self.options.table,
                "the iceberg table is partitioned otherwise than the sink declares; its own way is followed");
        }
    }
}

async fn load_or_create(catalog: &RestCatalog, options: &IcebergOptions, context: &SinkContext) -> Result<Table> {
    let failed = |error: iceberg::Error| options.failed(&error);
    match bounded(catalog.load_table(&options.table)).await {
        Ok(table) => return Ok(table),
        Err(error) if matches!(error.kind(), ErrorKind::TableNotFound | ErrorKind::NamespaceNotFound) => {}
        Err(error) => return Err(failed(error)),
    }
    let namespace = options.table.namespace();
    if !bounded(catalog.namespace_exists(namespace)).await.map_err(failed)? {
        match bounded(catalog.create_namespace(namespace, HashMap::new())).await {
            Err(error) if error.kind() != ErrorKind::NamespaceAlreadyExists => return Err(failed(error)),
            _ => {}
        }
    }
    let columns = schema::table_schema(&context.schema)?;
    let partition_spec = schema::partition_spec(&context.partitions, &columns)?;
    let properties = [
        ("write.parquet.compression-codec".to_owned(), "zstd".to_owned()),
        ("write.target-file-size-bytes".to_owned(), options.target_file_bytes.to_string()),
    ];
    let creation = TableCreation::builder()
        .name(options.table.name().to_owned())
        .schema(columns)
        .partition_spec(partition_spec)
        .properties(properties)
        .build();
    match bounded(catalog.create_table(namespace, creation)).await {
        Err(error) if error.kind() != ErrorKind::TableAlreadyExists => Err(failed(error)),
        // Also where we created it: what `load` says is what every later step sees.
        _ => bounded(catalog.load_table(&options.table)).await.map_err(failed),
    }
}
