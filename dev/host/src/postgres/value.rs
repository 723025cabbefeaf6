//! A row's values as a guest receives them.

use anyhow::{Result, bail};
use chrono::{Datelike as _, NaiveDate, NaiveDateTime, NaiveTime, Timelike as _};
use tokio_postgres::Row;
use tokio_postgres::types::{FromSql, Type};

use crate::bindings::spin::postgres::postgres::{Column, DbDataType, DbValue};

/// The names and types of a row's columns.
pub(super) fn columns(row: &Row) -> Vec<Column> {
    let column = |column: &tokio_postgres::Column| Column {
        name: column.name().to_owned(),
        data_type: data_type(column.type_()),
    };
    row.columns().iter().map(column).collect()
}

fn data_type(ty: &Type) -> DbDataType {
    match *ty {
        Type::BOOL => DbDataType::Boolean,
        Type::BYTEA => DbDataType::Binary,
        Type::FLOAT4 => DbDataType::Floating32,
        Type::FLOAT8 => DbDataType::Floating64,
        Type::INT2 => DbDataType::Int16,
        Type::INT4 => DbDataType::Int32,
        Type::INT8 => DbDataType::Int64,
        Type::TEXT | Type::VARCHAR | Type::BPCHAR => DbDataType::Str,
        Type::TIMESTAMP | Type::TIMESTAMPTZ => DbDataType::Datetime,
        Type::DATE => DbDataType::Date,
        Type::TIME => DbDataType::Time,
        Type::UUID => DbDataType::Uuid,
        Type::JSONB => DbDataType::Jsonb,
        Type::INT4_ARRAY => DbDataType::ArrayInt32,
        Type::INT8_ARRAY => DbDataType::ArrayInt64,
        Type::TEXT_ARRAY | Type::VARCHAR_ARRAY | Type::BPCHAR_ARRAY => DbDataType::ArrayStr,
        _ => DbDataType::Other(ty.name().to_owned()),
    }
}

/// Converts a row, or fails for the first column that Spin could not read either.
pub(super) fn convert(row: &Row) -> Result<Vec<DbValue>> {
    (0..row.len()).map(|index| value(row, index)).collect()
}

fn value(row: &Row, index: usize) -> Result<DbValue> {
    let Some(column) = row.columns().get(index) else { bail!("the row has no column {index}") };
    Ok(match *column.type_() {
        Type::BOOL => read(row, index, DbValue::Boolean)?,
        Type::BYTEA => read(row, index, DbValue::Binary)?,
        Type::FLOAT4 => read(row, index, DbValue::Floating32)?,
        Type::FLOAT8 => read(row, index, DbValue::Floating64)?,
        Type::INT2 => read(row, index, DbValue::Int16)?,
        Type::INT4 => read(row, index, DbValue::Int32)?,
        Type::INT8 => read(row, index, DbValue::Int64)?,
        Type::TEXT | Type::VARCHAR | Type::BPCHAR => read(row, index, DbValue::Str)?,
        // A type without time zone reads both: that timestamptz fails here is Spin's doing, and kept.
        Type::TIMESTAMP | Type::TIMESTAMPTZ => read(row, index, datetime)?,
        Type::DATE => read(row, index, |date| DbValue::Date(date_parts(date)))?,
        Type::TIME => read(row, index, |time| DbValue::Time(time_parts(time)))?,
        Type::UUID => read(row, index, |uuid: uuid::Uuid| DbValue::Uuid(uuid.to_string()))?,
        Type::JSONB => {
            read(row, index, |json: serde_json::Value| DbValue::Jsonb(json.to_string().into_bytes()))?
        }
        Type::INT4_ARRAY => read(row, index, DbValue::ArrayInt32)?,
        Type::INT8_ARRAY => read(row, index, DbValue::ArrayInt64)?,
        Type::TEXT_ARRAY | Type::VARCHAR_ARRAY | Type::BPCHAR_ARRAY => read(row, index, DbValue::ArrayStr)?,
        Type::NUMERIC
        | Type::NUMERIC_ARRAY
        | Type::INTERVAL
        | Type::INT4_RANGE
        | Type::INT8_RANGE
        | Type::NUM_RANGE => bail!(
            "column {:?} is a {}: this host implements no decimals, ranges and intervals, use spin",
            column.name(),
            column.type_().name()
        ),
        _ => read(row, index, |Undecoded(bytes)| DbValue::Unsupported(bytes))?,
    })
}

fn read<'a, T: FromSql<'a>>(row: &'a Row, index: usize, wrap: impl FnOnce(T) -> DbValue) -> Result<DbValue> {
    Ok(row.try_get::<_, Option<T>>(index)?.map_or(DbValue::DbNull, wrap))
}

/// The bytes of a value whose type Spin does not know.
struct Undecoded(Vec<u8>);

impl<'a> FromSql<'a> for Undecoded {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Self(raw.to_vec()))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

fn datetime(value: NaiveDateTime) -> DbValue {
    let (year, month, day) = date_parts(value.date());
    let (hour, minute, second, nano) = time_parts(value.time());
    DbValue::Datetime((year, month, day, hour, minute, second, nano))
}

fn date_parts(date: NaiveDate) -> (i32, u8, u8) {
    (date.year(), byte(date.month()), byte(date.day()))
}

fn time_parts(time: NaiveTime) -> (u8, u8, u8, u32) {
    (byte(time.hour()), byte(time.minute()), byte(time.second()), time.nanosecond())
}

/// Months, days, hours, minutes and seconds all fit.
fn byte(part: u32) -> u8 {
    u8::try_from(part).unwrap_or(u8::MAX)
}
