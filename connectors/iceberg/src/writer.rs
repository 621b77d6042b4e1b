//! Rows to Parquet files, one open file per partition, within fixed bounds. Nothing here is visible to a reader.

use std::collections::HashMap;

use arrow::{
    array::{RecordBatch, new_null_array},
    compute::{cast, sort_to_indices, take_record_batch},
    datatypes::SchemaRef,
};
use ebap_connector::{Error, Result};
use iceberg::{
    arrow::{RecordBatchPartitionSplitter, schema_to_arrow_schema},
    spec::{DataFile, DataFileFormat, PartitionKey, Struct},
    table::Table,
    writer::{
        IcebergWriter, IcebergWriterBuilder,
        base_writer::data_file_writer::{DataFileWriter, DataFileWriterBuilder},
        file_writer::{
            ParquetWriterBuilder,
            location_generator::{DefaultFileNameGenerator, DefaultLocationGenerator, LocationGenerator},
            rolling_writer::RollingFileWriterBuilder,
        },
    },
};
use parquet::{
    basic::{Compression, ZstdLevel},
    file::properties::WriterProperties,
};
use uuid::Uuid;

use crate::options::IcebergOptions;

/// Above it the fullest file is closed early, which makes small files where a stream has very many partitions.
const OPEN_FILES_MAX: usize = 256;
/// Rows as Arrow holds them, over all open files, that may wait in memory for their row group.
const BUFFERED_BYTES_MAX: usize = 256 << 20;
/// A file never holds more than one row group in memory.
const ROW_GROUP_BYTES: usize = 16 << 20;

type FileBuilder = DataFileWriterBuilder<ParquetWriterBuilder, Locations, DefaultFileNameGenerator>;
type FileWriter = DataFileWriter<ParquetWriterBuilder, Locations, DefaultFileNameGenerator>;

struct OpenFile {
    writer: FileWriter,
    /// Arrow bytes since it was opened.
    bytes: usize,
}

impl OpenFile {
    fn buffered_bytes(&self) -> usize {
        self.bytes.min(ROW_GROUP_BYTES)
    }
}

pub(crate) struct TableWriter {
    options: IcebergOptions,
    schema: SchemaRef,
    unpartitioned: Option<PartitionKey>,
    splitter: Option<RecordBatchPartitionSplitter>,
    /// Column of the table by which the rows of a batch are sorted.
    sort_column: Option<usize>,
    builder: FileBuilder,
    open: HashMap<Struct, OpenFile>,
    closed: Vec<DataFile>,
    rows: usize,
}

impl TableWriter {
    pub(crate) fn new(table: &Table, options: &IcebergOptions, sort_column: Option<&str>) -> Result<Self> {
        let failed = |error: iceberg::Error| options.failed(&error);
        let metadata = table.metadata();
        let (table_schema, spec) = (metadata.current_schema().clone(), metadata.default_partition_spec().clone());
        let schema: SchemaRef = schema_to_arrow_schema(&table_schema).map_err(failed)?.into();
        let (unpartitioned, splitter) = if spec.is_unpartitioned() {
            (Some(PartitionKey::new(spec.as_ref().clone(), table_schema.clone(), Struct::empty())), None)
        } else {
            let splitter = RecordBatchPartitionSplitter::try_new_with_computed_values(table_schema.clone(), spec);
            (None, Some(splitter.map_err(failed)?))
        };
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .set_max_row_group_bytes(Some(ROW_GROUP_BYTES))
            .build();
        let rolling = RollingFileWriterBuilder::new(
            ParquetWriterBuilder::new(properties, table_schema),
            options.target_file_bytes,
            table.file_io().clone(),
            Locations(DefaultLocationGenerator::new(metadata).map_err(failed)?),
            // Unique over all writers, so that a restart never writes over a file that a snapshot names.
            DefaultFileNameGenerator::new(Uuid::now_v7().to_string(), None, DataFileFormat::Parquet),
        );
        Ok(Self {
            sort_column: sort_column.and_then(|name| schema.index_of(name).ok()),
            options: options.clone(),
            schema,
            unpartitioned,
            splitter,
            builder: DataFileWriterBuilder::new(rolling),
            open: HashMap::new(),
            closed: Vec::new(),
            rows: 0,
        })
    }

    /// Rows written since the last `finish`.
    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    pub(crate) async fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        let batch = self.sorted(self.in_table_order(batch)?)?;
        self.rows += batch.num_rows();
        let parts = match (&self.splitter, &self.unpartitioned) {
            (Some(splitter), _) => splitter.split(&batch).map_err(|error| self.options.failed(&error))?,
            (None, Some(key)) => vec![(key.clone(), batch)],
            (None, None) => return Err(Error::internal("a table is neither partitioned nor unpartitioned")),
        };
        for (key, part) in parts {
            self.write_part(key, part).await?;
        }
        Ok(())
    }

    /// Closes all files and gives them away.
    pub(crate) async fn finish(&mut self) -> Result<Vec<DataFile>> {
        let partitions: Vec<_> = self.open.keys().cloned().collect();
        for partition in partitions {
            self.close(&partition).await?;
        }
        self.rows = 0;
        Ok(std::mem::take(&mut self.closed))
    }

    async fn write_part(&mut self, key: PartitionKey, part: RecordBatch) -> Result<()> {
        let bytes = part.get_array_memory_size();
        let is_new = !self.open.contains_key(key.data());
        while !self.open.is_empty() && self.is_full(bytes, is_new) {
            self.close_fullest().await?;
        }
        let partition = key.data().clone();
        if !self.open.contains_key(&partition) {
            let writer = self.builder.build(Some(key)).await.map_err(|error| self.options.failed(&error))?;
            self.open.insert(partition.clone(), OpenFile { writer, bytes: 0 });
        }
        let file = self.open.get_mut(&partition).ok_or_else(|| Error::internal("an open file went away"))?;
        file.bytes += bytes;
        file.writer.write(part).await.map_err(|error| self.options.failed(&error))
    }

    fn is_full(&self, more_bytes: usize, is_new: bool) -> bool {
        let buffered: usize = self.open.values().map(OpenFile::buffered_bytes).sum();
        (is_new && self.open.len() >= OPEN_FILES_MAX) || buffered + more_bytes > BUFFERED_BYTES_MAX
    }

    async fn close_fullest(&mut self) -> Result<()> {
        let fullest = self.open.iter().max_by_key(|(_, file)| file.bytes).map(|(partition, _)| partition.clone());
        match fullest {
            Some(partition) => self.close(&partition).await,
            None => Ok(()),
        }
    }

    async fn close(&mut self, partition: &Struct) -> Result<()> {
        let Some(mut file) = self.open.remove(partition) else { return Ok(()) };
        self.closed.extend(file.writer.close().await.map_err(|error| self.options.failed(&error))?);
        Ok(())
    }

    /// The table's columns in the table's order and types; NULL where it has a column that the stream has not.
    fn in_table_order(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        let columns = self.schema.fields().iter().map(|field| match batch.column_by_name(field.name()) {
            None => Ok(new_null_array(field.data_type(), batch.num_rows())),
            Some(column) => cast(column, field.data_type()),
        });
        columns
            .collect::<Result<_, _>>()
            .and_then(|columns| RecordBatch::try_new(self.schema.clone(), columns))
            .map_err(|error| Error::internal(format!("rows do not fit the iceberg table: {error}")))
    }

    fn sorted(&self, batch: RecordBatch) -> Result<RecordBatch> {
        let Some(column) = self.sort_column else { return Ok(batch) };
        let sorted = sort_to_indices(batch.column(column), None, None);
        sorted.and_then(|indices| take_record_batch(&batch, &indices)).map_err(Error::internal)
    }
}

/// The crate's own locations, made safe: a partition value comes from users and may hold anything.
#[derive(Clone, Debug)]
struct Locations(DefaultLocationGenerator);

impl LocationGenerator for Locations {
    fn generate_location(&self, partition_key: Option<&PartitionKey>, file_name: &str) -> String {
        let Some(key) = partition_key.filter(|key| !PartitionKey::is_effectively_none(Some(*key))) else {
            return self.0.generate_location(None, file_name);
        };
        let types = key.spec().partition_type(key.schema()).ok();
        let folders = key.spec().fields().iter().enumerate().map(|(index, field)| {
            let value = key.data().fields().get(index).and_then(Option::as_ref);
            let field_type = types.as_ref().and_then(|types| types.fields().get(index));
            let text = field_type.map(|field_type| field.transform.to_human_string(&field_type.field_type, value));
            format!("{}={}", escape(&field.name), escape(&text.unwrap_or_default()))
        });
        let path: Vec<String> = folders.collect();
        self.0.generate_location(None, &format!("{}/{file_name}", path.join("/")))
    }
}

/// Percent-encodes all but letters, digits, `-` and `_`.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => out.push(char::from(byte)),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}
