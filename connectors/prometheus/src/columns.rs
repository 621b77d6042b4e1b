//! Which column is what: the metric's name, its value, the labels, the time.
//!
//! | | named by | else |
//! |---|---|---|
//! | name | `metric` (one name for all) or `name_column` | text column `name`, `metric` or `metric_name` |
//! | value | `value_column` | with `metric` each number that is no label, as `metric_column`; otherwise column `value`, or the only number |
//! | labels | `label_columns` | maps (each entry one), texts, booleans, intervals; of a view also what its key has |
//! | time | `timestamp_column` | of a stream its event time, or the only time; of a view `window_end`, or when it is written |

use arrow::{
    array::{Array, ArrayRef, AsArray, Float64Array, Int64Array, RecordBatch, StringArray, types},
    buffer::NullBuffer,
    compute::cast,
    datatypes::{DataType, IntervalUnit, SchemaRef, TimeUnit},
};
use ebap_connector::{Error, Result, SinkContext, numeric::doubles};

use crate::names;

const NAME_COLUMNS: [&str; 3] = ["name", "metric", "metric_name"];

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Columns {
    values: Vec<Value>,
    labels: Vec<Label>,
    time: Time,
}

/// A column of numbers and what its samples are called.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Value {
    column: usize,
    metric: Metric,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Metric {
    Fixed(String),
    Column(usize),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Label {
    Map(usize),
    Column(usize, String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Time {
    Column(usize),
    WhenWritten,
}

impl Columns {
    /// # Errors
    /// `Option`, naming the option that would say what cannot be found.
    pub(crate) fn resolve(context: &SinkContext) -> Result<Self> {
        let find = Finder { context, schema: &context.schema };
        let time = find.time()?;
        let name = find.name()?;
        let labels = find.labels(name)?;
        let values = find.values(name, &labels)?;
        find.check_key(name, &labels, time)?;
        let label = |column: usize| match context.schema.field(column).data_type() {
            DataType::Map(..) => Label::Map(column),
            _ => Label::Column(column, names::label_name(context.schema.field(column).name())),
        };
        Ok(Self { values, labels: labels.into_iter().map(label).collect(), time })
    }
}

impl Columns {
    /// The time is not in the rows.
    pub(crate) fn is_timed_by_writing(&self) -> bool {
        self.time == Time::WhenWritten
    }
}

struct Finder<'a> {
    context: &'a SinkContext,
    schema: &'a SchemaRef,
}

impl Finder<'_> {
    fn of(&self, column: usize) -> &DataType {
        self.schema.field(column).data_type()
    }

    fn called(&self, column: usize) -> &str {
        self.schema.field(column).name()
    }

    fn columns(&self, wanted: impl Fn(&DataType) -> bool) -> impl Iterator<Item = usize> {
        let fields = self.schema.fields().iter().enumerate();
        fields.filter(move |(_, field)| wanted(field.data_type())).map(|(column, _)| column)
    }

    /// The column that the option names, which must be of such a type.
    fn named(&self, option: &str, name: &str, wanted: impl Fn(&DataType) -> bool, what: &str) -> Result<usize> {
        let found = self.schema.column_with_name(name);
        let (column, field) =
            found.ok_or_else(|| Error::option(option, format!("column \"{name}\" does not exist")))?;
        if !wanted(field.data_type()) {
            return Err(Error::option(option, format!("column \"{name}\" is not {what}")));
        }
        Ok(column)
    }

    fn option_column(&self, option: &str, wanted: impl Fn(&DataType) -> bool, what: &str) -> Result<Option<usize>> {
        let name = self.context.options.get(option);
        name.map(|name| self.named(option, name, wanted, what)).transpose()
    }

    /// The column with the name; none where `metric` gives one to all.
    fn name(&self) -> Result<Option<usize>> {
        let options = &self.context.options;
        if let Some(metric) = options.get("metric") {
            if metric.is_empty() {
                return Err(Error::option("metric", "must not be empty"));
            }
            if names::metric_name(metric) != metric {
                let message = format!("\"{metric}\" is no name of a metric; \"{}\" is one", names::metric_name(metric));
                return Err(Error::option("metric", message));
            }
            if options.get("name_column").is_some() {
                return Err(Error::option("name_column", "the name is what metric says"));
            }
            return Ok(None);
        }
        if let Some(column) = self.option_column("name_column", is_text, "of type text")? {
            return Ok(Some(column));
        }
        let usual = NAME_COLUMNS.iter().filter_map(|name| Some(self.schema.column_with_name(name)?.0));
        usual.into_iter().find(|column| is_text(self.of(*column))).map(Some).ok_or_else(|| {
            Error::option(
                "name_column",
                "no text column is called name, metric or metric_name: say which one it is, or give all samples one name with metric = '…'",
            )
        })
    }

    fn labels(&self, name: Option<usize>) -> Result<Vec<usize>> {
        if let Some(list) = self.context.options.get("label_columns") {
            let listed = list.split(',').map(str::trim).filter(|one| !one.is_empty());
            let what = "of a type that a label can be made of: text, boolean, integer, interval or map";
            return listed.map(|one| self.named("label_columns", one, can_be_label, what)).collect();
        }
        let value = self.context.options.get("value_column");
        let key = &self.context.upsert_key;
        let is_label = |column: &usize| is_label(self.of(*column)) || key.contains(column);
        let others = self.columns(can_be_label).filter(|column| Some(*column) != name);
        Ok(others.filter(is_label).filter(|column| Some(self.called(*column)) != value).collect())
    }

    fn values(&self, name: Option<usize>, labels: &[usize]) -> Result<Vec<Value>> {
        let metric = self.context.options.get("metric");
        let one = |column: usize| {
            let fixed = || Metric::Fixed(metric.unwrap_or_default().to_owned());
            Ok(vec![Value { column, metric: name.map_or_else(fixed, Metric::Column) }])
        };
        if let Some(column) = self.option_column("value_column", is_number, "a number")? {
            return one(column);
        }
        let numbers: Vec<usize> = self.columns(is_number).filter(|column| !labels.contains(column)).collect();
        let none = |message: &str| Err(Error::option("value_column", message));
        if let (None, Some(metric)) = (name, metric) {
            if numbers.is_empty() {
                return none("there is no number that is not a label");
            }
            let called = |column: usize| Metric::Fixed(format!("{metric}_{}", names::label_name(self.called(column))));
            return Ok(numbers.into_iter().map(|column| Value { column, metric: called(column) }).collect());
        }
        match numbers.iter().find(|column| self.called(**column) == "value").or(numbers.first()) {
            Some(column) if numbers.len() == 1 || self.called(*column) == "value" => one(*column),
            Some(_) => none("several columns are numbers and none is called value: say which one it is"),
            None => none("there is no number that is not a label"),
        }
    }

    fn time(&self) -> Result<Time> {
        if let Some(column) = self.option_column("timestamp_column", is_time, "a timestamp")? {
            return Ok(Time::Column(column));
        }
        let times: Vec<usize> = self.columns(is_time).collect();
        if self.context.on_view {
            let end = times.into_iter().find(|column| self.called(*column) == "window_end");
            return Ok(end.map_or(Time::WhenWritten, Time::Column));
        }
        match (self.context.time_column, times.as_slice()) {
            (Some(column), _) => Ok(Time::Column(column)),
            (None, [column]) => Ok(Time::Column(*column)),
            (None, []) => Err(Error::option("timestamp_column", "the stream has no timestamp")),
            (None, _) => {
                Err(Error::option("timestamp_column", "the stream has several timestamps: say which one it is"))
            }
        }
    }

    /// Two rows of a view must not be one sample.
    fn check_key(&self, name: Option<usize>, labels: &[usize], time: Time) -> Result<()> {
        for column in &self.context.upsert_key {
            let called = self.called(*column);
            if is_time(self.of(*column)) {
                if time == Time::WhenWritten {
                    let message =
                        format!("rows of several \"{called}\" would be one series: say which column is the time");
                    return Err(Error::option("timestamp_column", message));
                }
            } else if !labels.contains(column) && name != Some(*column) {
                let message = format!("two rows of the view could be one series: \"{called}\" is missing");
                return Err(Error::option("label_columns", message));
            }
        }
        Ok(())
    }
}

fn is_text(of: &DataType) -> bool {
    matches!(of, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
}

fn is_number(of: &DataType) -> bool {
    // Computed values of NUMERIC come in LargeBinary.
    of.is_numeric() || *of == DataType::LargeBinary
}

fn is_time(of: &DataType) -> bool {
    matches!(of, DataType::Timestamp(..))
}

/// What is a label where nobody says anything.
fn is_label(of: &DataType) -> bool {
    is_text(of) || matches!(of, DataType::Boolean | DataType::Interval(_) | DataType::Map(..))
}

fn can_be_label(of: &DataType) -> bool {
    is_label(of) || of.is_integer()
}

/// A batch, read row by row.
pub(crate) struct Rows {
    values: Vec<(Float64Array, Names)>,
    labels: Vec<Texts>,
    times: Times,
}

/// In milliseconds.
enum Times {
    Column(Int64Array),
    Now(i64),
}

enum Names {
    Fixed(String),
    Column(StringArray),
}

enum Texts {
    Map { offsets: Vec<i32>, nulls: Option<NullBuffer>, keys: StringArray, values: StringArray },
    Column(String, StringArray),
}

impl Columns {
    pub(crate) fn rows(&self, batch: &RecordBatch, now_ms: i64) -> Result<Rows> {
        let value = |value: &Value| {
            let name = match &value.metric {
                Metric::Fixed(name) => Names::Fixed(name.clone()),
                Metric::Column(column) => Names::Column(texts(batch.column(*column))?),
            };
            let values = doubles(batch.column(value.column))?;
            Ok((values.as_primitive::<types::Float64Type>().clone(), name))
        };
        let label = |label: &Label| match label {
            Label::Column(column, name) => Ok(Texts::Column(name.clone(), texts(batch.column(*column))?)),
            Label::Map(column) => {
                let map = batch.column(*column).as_map();
                let (keys, values) = (texts(map.keys())?, texts(map.values())?);
                Ok(Texts::Map { offsets: map.value_offsets().to_vec(), nulls: map.nulls().cloned(), keys, values })
            }
        };
        let times = match self.time {
            Time::Column(column) => Times::Column(millis(batch.column(column))?),
            Time::WhenWritten => Times::Now(now_ms),
        };
        let values = self.values.iter().map(value).collect::<Result<_>>()?;
        Ok(Rows { values, labels: self.labels.iter().map(label).collect::<Result<_>>()?, times })
    }
}

impl Rows {
    /// Name, time in milliseconds and value of each sample of a row; none where one of them is NULL.
    pub(crate) fn samples(&self, row: usize) -> impl Iterator<Item = Option<(String, i64, f64)>> {
        let time = match &self.times {
            Times::Column(times) => times.is_valid(row).then(|| times.value(row)),
            Times::Now(now) => Some(*now),
        };
        self.values.iter().map(move |(values, names)| {
            let name = match names {
                Names::Fixed(name) => name.clone(),
                Names::Column(names) => names.is_valid(row).then(|| names::metric_name(names.value(row)))?,
            };
            if name.is_empty() {
                return None;
            }
            Some((name, time?, values.is_valid(row).then(|| values.value(row))?))
        })
    }

    pub(crate) fn labels(&self, row: usize) -> Vec<(String, String)> {
        let mut labels = Vec::new();
        for one in &self.labels {
            match one {
                Texts::Column(name, texts) if texts.is_valid(row) => {
                    labels.push((name.clone(), texts.value(row).to_owned()));
                }
                Texts::Map { offsets, nulls, keys, values }
                    if nulls.as_ref().is_none_or(|nulls| nulls.is_valid(row)) =>
                {
                    // Offsets of Arrow are never negative.
                    let entries = offsets[row] as usize..offsets[row + 1] as usize;
                    let entries = entries.filter(|entry| keys.is_valid(*entry) && values.is_valid(*entry));
                    labels.extend(
                        entries.map(|entry| (names::label_name(keys.value(entry)), values.value(entry).to_owned())),
                    );
                }
                Texts::Column(..) | Texts::Map { .. } => {}
            }
        }
        labels
    }
}

fn texts(column: &ArrayRef) -> Result<StringArray> {
    if let DataType::Interval(IntervalUnit::MonthDayNano) = column.data_type() {
        let intervals = column.as_primitive::<types::IntervalMonthDayNanoType>();
        let text = |value: types::IntervalMonthDayNano| interval(value.months, value.days, value.nanoseconds);
        return Ok(intervals.iter().map(|value| value.map(text)).collect());
    }
    Ok(cast(column, &DataType::Utf8).map_err(Error::internal)?.as_string::<i32>().clone())
}

/// As Prometheus writes durations: `1m`, `1h30m`, `1d`; it has no months, which are `mo` here.
fn interval(months: i32, days: i32, nanos: i64) -> String {
    let millis = nanos / 1_000_000;
    let parts = [
        (i64::from(months), "mo"),
        (i64::from(days), "d"),
        (millis / 3_600_000, "h"),
        (millis / 60_000 % 60, "m"),
        (millis / 1_000 % 60, "s"),
        (millis % 1_000, "ms"),
    ];
    let text: String = parts.iter().filter(|(n, _)| *n != 0).map(|(n, unit)| format!("{n}{unit}")).collect();
    if text.is_empty() { "0s".to_owned() } else { text }
}

/// Finer times go down, also before 1970, so that an order of times stays one.
fn millis(column: &ArrayRef) -> Result<Int64Array> {
    let DataType::Timestamp(unit, _) = column.data_type() else {
        return Err(Error::internal("a time is no timestamp"));
    };
    let numbers = cast(column, &DataType::Int64).map_err(Error::internal)?;
    let numbers = numbers.as_primitive::<types::Int64Type>();
    Ok(match unit {
        TimeUnit::Second => numbers.unary(|time| time.saturating_mul(1_000)),
        TimeUnit::Millisecond => numbers.clone(),
        TimeUnit::Microsecond => numbers.unary(|time| time.div_euclid(1_000)),
        TimeUnit::Nanosecond => numbers.unary(|time| time.div_euclid(1_000_000)),
    })
}

#[cfg(test)]
mod tests;
