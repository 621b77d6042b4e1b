//! The topic as a table of plain DataFusion, and what it answers to a query.

use std::{collections::HashSet, sync::Arc};

use anyhow::{Context, ensure};
use arrow::{
    array::{ArrayRef, AsArray, RecordBatch, TimestampMicrosecondArray},
    datatypes::{DataType, Field, FieldRef, Fields, Schema, SchemaRef, TimeUnit},
};
use datafusion::{
    config::Dialect,
    datasource::MemTable,
    prelude::{SessionConfig, SessionContext},
};

use super::queries::Query;
use crate::{ceiling::JsonDecoder, consumer::Pass};

pub(crate) struct Batch {
    context: SessionContext,
}

/// What a view must show. A row is the text of its columns.
pub(crate) struct Answer {
    columns: Vec<Column>,
    /// In order.
    rows: Vec<String>,
    /// Of a query with ties: columns of a whole row, and all rows that may be there.
    allowed: Option<(Vec<Column>, HashSet<String>)>,
}

#[derive(Clone)]
struct Column {
    name: String,
    /// In the answer of the batch.
    of: DataType,
}

impl Batch {
    pub(crate) async fn read(bootstrap: &str, topic: &str) -> anyhow::Result<Self> {
        let mut config = SessionConfig::new();
        let options = config.options_mut();
        options.sql_parser.dialect = Dialect::PostgreSQL;
        options.sql_parser.map_string_types_to_utf8view = false;
        options.execution.time_zone = Some("+00:00".to_owned());
        let context = SessionContext::new_with_config(config);
        let (schema, batches) = tokio::task::block_in_place(|| table(bootstrap, topic))?;
        let table = MemTable::try_new(schema, vec![batches]).context("a table of the topic")?;
        context.register_table("nexmark", Arc::new(table)).context("a table of the topic")?;
        Ok(Self { context })
    }

    pub(crate) async fn answer(&self, query: &Query) -> anyhow::Result<Answer> {
        let batch = query.batch();
        let all = self.columns(&batch).await?;
        let Some(ties) = &query.ties else {
            let rows = self.rows(&all, &batch).await?;
            return Ok(Answer { columns: all, rows, allowed: None });
        };
        let decided = |column: &&Column| ties.decided.split(' ').any(|name| name == column.name);
        let columns: Vec<Column> = all.iter().filter(decided).cloned().collect();
        let rows = self.rows(&columns, &batch).await?;
        let whole = self.columns(ties.rows).await?;
        let allowed = self.rows(&whole, ties.rows).await?.into_iter().collect();
        Ok(Answer { columns, rows, allowed: Some((whole, allowed)) })
    }

    async fn columns(&self, query: &str) -> anyhow::Result<Vec<Column>> {
        let plan = self.context.sql(query).await.with_context(|| query.to_owned())?;
        let column = |field: &Arc<Field>| Column { name: field.name().clone(), of: field.data_type().clone() };
        Ok(plan.schema().fields().iter().map(column).collect())
    }

    async fn rows(&self, columns: &[Column], query: &str) -> anyhow::Result<Vec<String>> {
        let sql = as_text(columns, &format!("({query}) AS answer"));
        let batches = self.context.sql(&sql).await.with_context(|| sql.clone())?.collect().await?;
        let mut rows = Vec::new();
        for batch in &batches {
            let texts = arrow::compute::cast(batch.column(0), &DataType::Utf8)?;
            rows.extend(texts.as_string::<i32>().iter().flatten().map(str::to_owned));
        }
        rows.sort_unstable();
        Ok(rows)
    }
}

impl Answer {
    pub(crate) fn rows(&self) -> usize {
        self.rows.len()
    }

    /// Queries whose rows [`Self::wrong`] compares: of what must be equal, and of whole rows where some tie.
    pub(crate) fn questions(&self, view: &str) -> (String, Option<String>) {
        let whole = self.allowed.as_ref().map(|(columns, _)| as_text(columns, view));
        (as_text(&self.columns, view), whole)
    }

    /// In which way rows of the view are not the answer.
    pub(crate) fn wrong(&self, mut rows: Vec<String>, whole: Option<Vec<String>>) -> Option<String> {
        rows.sort_unstable();
        if rows != self.rows {
            let same = rows.iter().zip(&self.rows).take_while(|(got, wanted)| got == wanted).count();
            let (got, wanted) = (rows.get(same), self.rows.get(same));
            return Some(format!(
                "{} rows and not {}; in order, row {same} is {got:?} and not {wanted:?}",
                rows.len(),
                self.rows.len()
            ));
        }
        let (_, allowed) = self.allowed.as_ref()?;
        let stranger = whole.into_iter().flatten().find(|row| !allowed.contains(row))?;
        Some(format!("{stranger} should not be there"))
    }
}

/// One text for each row, which both sides make alike: times as milliseconds, as their texts differ, and doubles, which
/// are averages, as thousandths: EBAP's are exact.
fn as_text(columns: &[Column], from: &str) -> String {
    let text = |Column { name, of }: &Column| match of {
        DataType::Timestamp(..) => {
            format!(", coalesce(CAST(CAST(round(extract(epoch FROM \"{name}\") * 1000) AS BIGINT) AS TEXT), 'NULL')")
        }
        DataType::Float64 => format!(", coalesce(CAST(CAST(round(\"{name}\" * 1000) AS BIGINT) AS TEXT), 'NULL')"),
        _ => format!(", coalesce(CAST(\"{name}\" AS TEXT), 'NULL')"),
    };
    let columns: String = columns.iter().map(text).collect();
    format!("SELECT concat_ws('|'{columns}) AS line FROM {from}")
}

fn table(bootstrap: &str, topic: &str) -> anyhow::Result<(SchemaRef, Vec<RecordBatch>)> {
    let mut with_time = record().fields().to_vec();
    with_time.push(FieldRef::new(time("_ingested_at")));
    let schema = Arc::new(Schema::new(with_time));
    let (mut times_us, mut decoded, mut batches) = (Vec::new(), Vec::new(), Vec::new());
    let mut decoder = JsonDecoder::new(record())?;
    let mut finish = |decoded: &mut Vec<RecordBatch>, times_us: &mut Vec<i64>| -> anyhow::Result<()> {
        for batch in decoded.drain(..) {
            let times: TimestampMicrosecondArray = times_us.drain(..batch.num_rows()).map(Some).collect();
            let mut columns = batch.columns().to_vec();
            columns.push(Arc::new(times.with_timezone("+00:00")) as ArrayRef);
            batches.push(RecordBatch::try_new(Arc::clone(&schema), columns)?);
        }
        Ok(())
    };
    Pass::open(bootstrap, topic)?.read_timed(|at_ms, value| {
        times_us.push(at_ms * 1_000);
        decoder.push(value, |batch| decoded.push(batch))?;
        finish(&mut decoded, &mut times_us)
    })?;
    decoder.finish(|batch| decoded.push(batch))?;
    finish(&mut decoded, &mut times_us)?;
    ensure!(times_us.is_empty(), "{} records have not become rows", times_us.len());
    Ok((schema, batches))
}

/// As `benchmarks/nexmark/stream.sql` declares it.
fn record() -> SchemaRef {
    let number = |name: &str| Field::new(name, DataType::Int64, true);
    let text = |name: &str| Field::new(name, DataType::Utf8, true);
    let structure = |name: &str, fields: Vec<Field>| Field::new(name, DataType::Struct(Fields::from(fields)), true);
    let person = vec![
        number("id"),
        text("name"),
        text("emailAddress"),
        text("creditCard"),
        text("city"),
        text("state"),
        time("dateTime"),
        text("extra"),
    ];
    let auction = vec![
        number("id"),
        text("itemName"),
        text("description"),
        number("initialBid"),
        number("reserve"),
        time("dateTime"),
        time("expires"),
        number("seller"),
        number("category"),
        text("extra"),
    ];
    let bid = vec![
        number("auction"),
        number("bidder"),
        number("price"),
        text("channel"),
        text("url"),
        time("dateTime"),
        text("extra"),
    ];
    Arc::new(Schema::new(vec![
        Field::new("event_type", DataType::Int32, true),
        structure("person", person),
        structure("auction", auction),
        structure("bid", bid),
        time("dateTime"),
    ]))
}

fn time(name: &str) -> Field {
    Field::new(name, DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into())), true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(rows: &[&str]) -> Vec<String> {
        rows.iter().map(|row| (*row).to_owned()).collect()
    }

    #[test]
    fn a_view_is_right_in_any_order_and_wrong_by_one_row() {
        let answer = Answer { columns: Vec::new(), rows: texts(&["1", "2", "2"]), allowed: None };
        assert_eq!(answer.wrong(texts(&["2", "1", "2"]), None), None);
        for rows in [&["1", "2"][..], &["1", "2", "3"], &["1", "1", "2"], &["1", "2", "2", "2"]] {
            assert!(answer.wrong(texts(rows), None).is_some(), "{rows:?}");
        }
    }

    #[test]
    fn of_rows_that_tie_any_is_right_and_no_other() {
        let allowed = Some((Vec::new(), texts(&["1|x", "1|y"]).into_iter().collect()));
        let answer = Answer { columns: Vec::new(), rows: texts(&["1"]), allowed };
        assert_eq!(answer.wrong(texts(&["1"]), Some(texts(&["1|y"]))), None);
        assert!(answer.wrong(texts(&["1"]), Some(texts(&["1|z"]))).is_some());
    }
}
