//! What the micro benchmarks share: records as they come from Kafka, and a clock that others on the
//! machine do not disturb.

use std::{sync::Arc, time::Duration};

use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef, TimeUnit};
use cpu_time::ThreadTime;
use criterion::{
    Throughput,
    measurement::{Measurement, ValueFormatter, WallTime},
};
use ebap_connector::{Offset, Records, SplitId};
use ebap_generator::{Dataset, Generator, GeneratorOptions};
/// Records of a step.
pub const ROWS: usize = 8_192;

/// `ROWS` records of the data set `ebap.events`, 244 bytes each on average.
pub fn events() -> Records {
    let generator = Generator::new(GeneratorOptions::new(Dataset::Events)).expect("the options are the default ones");
    let mut records = Records::new(SplitId::new("0"), 0, Offset(0));
    let (mut key, mut value) = (Vec::new(), Vec::new());
    for offset in 0..ROWS as i64 {
        generator.write_record(0, Offset(offset), &mut key, &mut value);
        records.push(offset, -1, Some(&key), Some(&value));
    }
    records
}

/// The columns of `ebap.events` as a migration declares them.
pub fn events_schema() -> SchemaRef {
    let uuid = [("ebap.type".to_owned(), "uuid".to_owned())].into();
    let text = |name: &str, nullable: bool| Field::new(name, DataType::Utf8, nullable);
    let metadata: Fields = [
        Field::new("amount", DataType::Float64, true),
        text("item_id", true),
        text("platform", true),
        text("email", true),
        text("payment_hash", true),
    ]
    .into_iter()
    .collect();
    Arc::new(Schema::new(vec![
        text("id", false).with_metadata(uuid),
        text("user_id", false),
        text("action", false),
        Field::new("metadata", DataType::Struct(metadata), true),
        text("location", true),
        Field::new("timestamp", DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into())), false),
    ]))
}

/// `ROWS` records of 30 columns, `c00` to `c29`: integers, doubles and text in turn.
pub fn wide() -> Records {
    let mut records = Records::new(SplitId::new("0"), 0, Offset(0));
    for row in 0..ROWS as i64 {
        let fields: Vec<String> = (0..30)
            .map(|column| match column % 3 {
                0 => format!("\"c{column:02}\":{}", row * 31 + column),
                1 => format!("\"c{column:02}\":{}.{:02}", row % 1_000, column),
                _ => format!("\"c{column:02}\":\"value {} of {column}\"", row % 100),
            })
            .collect();
        records.push(row, -1, None, Some(format!("{{{}}}", fields.join(",")).as_bytes()));
    }
    records
}

/// Those of the 30 columns that `declared` accepts.
pub fn wide_schema(declared: impl Fn(usize) -> bool) -> SchemaRef {
    let field = |column: usize| {
        let of = [DataType::Int64, DataType::Float64, DataType::Utf8][column % 3].clone();
        Field::new(format!("c{column:02}"), of, true)
    };
    Arc::new(Schema::new((0..30).filter(|column| declared(*column)).map(field).collect::<Vec<_>>()))
}

/// The processor time of this thread: on a machine with neighbours the clock on the wall tells of them.
#[derive(Clone, Copy, Debug, Default)]
pub struct CpuTime;

impl Measurement for CpuTime {
    type Intermediate = ThreadTime;
    type Value = Duration;

    fn start(&self) -> ThreadTime {
        ThreadTime::now()
    }

    fn end(&self, start: ThreadTime) -> Duration {
        start.elapsed()
    }

    fn add(&self, one: &Duration, other: &Duration) -> Duration {
        *one + *other
    }

    fn zero(&self) -> Duration {
        Duration::ZERO
    }

    fn to_f64(&self, value: &Duration) -> f64 {
        WallTime.to_f64(value)
    }

    fn formatter(&self) -> &dyn ValueFormatter {
        WallTime.formatter()
    }
}

/// So that figures come as records a second.
pub fn throughput() -> Throughput {
    Throughput::Elements(ROWS as u64)
}
