//! The shape of the table: what a stream's columns become in Iceberg, and whether a table that exists fits them.

use arrow::datatypes::Schema as ArrowSchema;
use ebap_connector::{Error, Result, SinkPartition};
use iceberg::{
    arrow::arrow_schema_to_schema_auto_assign_ids,
    spec::{NestedField, Schema, Transform, Type, UnboundPartitionSpec},
};

const FIRST_SPEC_ID: i32 = 0;

/// Field ids are given here and given anew by the catalog: only names and types last.
pub(crate) fn table_schema(columns: &ArrowSchema) -> Result<Schema> {
    // One column at a time first, so that the message can name the one that does not fit.
    for field in columns.fields() {
        let alone = ArrowSchema::new(vec![field.clone()]);
        arrow_schema_to_schema_auto_assign_ids(&alone).map_err(|error| {
            let (name, data_type) = (field.name(), field.data_type());
            Error::schema(format!("column \"{name}\" of type {data_type} has no type in iceberg: {}", error.message()))
        })?;
    }
    arrow_schema_to_schema_auto_assign_ids(columns).map_err(|error| Error::schema(error.message()))
}

/// `day(timestamp)` becomes `timestamp_day`, as other engines name it; an identity keeps the column's name.
pub(crate) fn partition_spec(partitions: &[SinkPartition], schema: &Schema) -> Result<UnboundPartitionSpec> {
    // Catalogs in Java refuse a specification without a number.
    let mut builder = UnboundPartitionSpec::builder().with_spec_id(FIRST_SPEC_ID);
    for SinkPartition { column, transform } in partitions {
        let Some(field) = schema.field_by_name(column) else {
            return Err(Error::schema(format!("partition column \"{column}\" does not exist")));
        };
        let (name, parsed) = match transform.as_str() {
            "identity" => (column.clone(), Transform::Identity),
            "day" => (format!("{column}_day"), Transform::Day),
            "hour" => (format!("{column}_hour"), Transform::Hour),
            "month" => (format!("{column}_month"), Transform::Month),
            "year" => (format!("{column}_year"), Transform::Year),
            other => {
                return Err(Error::schema(format!(
                    "partition transform \"{other}\" is not one of day, hour, month, year"
                )));
            }
        };
        parsed.result_type(&field.field_type).map_err(|_| {
            Error::schema(format!(
                "partition column \"{column}\" of type {} does not fit {transform}",
                field.field_type
            ))
        })?;
        builder = builder
            .add_partition_field(field.id, name, parsed)
            .map_err(|error| Error::schema(format!("partition column \"{column}\": {}", error.message())))?;
    }
    Ok(builder.build())
}

/// Every column has one of the same name and type in the table, and the table wants no value that no column gives.
pub(crate) fn check_fits(columns: &Schema, table: &Schema) -> Result<()> {
    for column in columns.as_struct().fields() {
        let name = &column.name;
        let Some(existing) = table.field_by_name(name) else {
            return Err(Error::schema(format!("column \"{name}\" does not exist in the iceberg table")));
        };
        if !same_type(&column.field_type, &existing.field_type) {
            let (ours, theirs) = (&column.field_type, &existing.field_type);
            return Err(Error::schema(format!("column \"{name}\" is {theirs} in the iceberg table, not {ours}")));
        }
        if existing.required && !column.required {
            return Err(Error::schema(format!("column \"{name}\" can be NULL, and is required in the iceberg table")));
        }
    }
    for existing in table.as_struct().fields() {
        if existing.required && columns.field_by_name(&existing.name).is_none() {
            let name = &existing.name;
            return Err(Error::schema(format!("column \"{name}\" is required in the iceberg table and missing here")));
        }
    }
    Ok(())
}

/// Equal but for field ids and documentation.
fn same_type(ours: &Type, theirs: &Type) -> bool {
    let fits = |ours: &NestedField, theirs: &NestedField| {
        same_type(&ours.field_type, &theirs.field_type) && (ours.required || !theirs.required)
    };
    match (ours, theirs) {
        (Type::Primitive(ours), Type::Primitive(theirs)) => ours == theirs,
        (Type::Struct(ours), Type::Struct(theirs)) => {
            ours.fields().len() == theirs.fields().len()
                && ours.fields().iter().zip(theirs.fields()).all(|(a, b)| a.name == b.name && fits(a, b))
        }
        (Type::List(ours), Type::List(theirs)) => fits(&ours.element_field, &theirs.element_field),
        (Type::Map(ours), Type::Map(theirs)) => {
            fits(&ours.key_field, &theirs.key_field) && fits(&ours.value_field, &theirs.value_field)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::{DataType, Field, TimeUnit};

    use super::*;

    fn schema(fields: Vec<Field>) -> Schema {
        table_schema(&ArrowSchema::new(fields)).expect("schema")
    }

    #[test]
    fn a_table_that_does_not_fit_is_refused_by_the_name_of_the_column() {
        let ours = schema(vec![Field::new("a", DataType::Int64, true), Field::new("b", DataType::Utf8, false)]);
        let message = |fields| check_fits(&ours, &schema(fields)).expect_err("must be refused").to_string();
        assert_eq!(
            message(vec![Field::new("a", DataType::Int64, true)]),
            "column \"b\" does not exist in the iceberg table"
        );
        assert_eq!(
            message(vec![Field::new("a", DataType::Int32, true), Field::new("b", DataType::Utf8, false)]),
            "column \"a\" is int in the iceberg table, not long"
        );
        assert_eq!(
            message(vec![Field::new("a", DataType::Int64, false), Field::new("b", DataType::Utf8, false)]),
            "column \"a\" can be NULL, and is required in the iceberg table"
        );
        let more = vec![
            Field::new("c", DataType::Date32, true),
            Field::new("b", DataType::Utf8, true),
            Field::new("a", DataType::Int64, true),
        ];
        check_fits(&ours, &schema(more)).expect("order and further columns do not matter");
    }

    #[test]
    fn a_partition_must_fit_its_column() {
        let zoned = DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into()));
        let schema = schema(vec![Field::new("timestamp", zoned, true), Field::new("region", DataType::Utf8, true)]);
        let part = |column: &str, transform: &str| SinkPartition { column: column.into(), transform: transform.into() };
        let spec = partition_spec(&[part("timestamp", "day"), part("region", "identity")], &schema).expect("fits");
        assert_eq!(
            spec.fields().iter().map(|field| field.name.as_str()).collect::<Vec<_>>(),
            ["timestamp_day", "region"]
        );
        let message = |part| partition_spec(&[part], &schema).expect_err("must be refused").to_string();
        assert_eq!(message(part("region", "day")), "partition column \"region\" of type string does not fit day");
        assert_eq!(message(part("regoin", "identity")), "partition column \"regoin\" does not exist");
    }
}
