//! A guest's parameters as the driver sends them: each type fits its own column types and no other.

use anyhow::{Context, Result, bail};
use bytes::BytesMut;
use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, Utc};
use tokio_postgres::types::{IsNull, ToSql, Type};

use crate::bindings::spin::postgres::postgres::ParameterValue;

/// A parameter ready to be sent.
pub(super) type Parameter = Box<dyn ToSql + Sync + Send>;

/// Converts all parameters of a statement, or fails for the first that is no value of its type.
pub(super) fn to_sql(values: &[ParameterValue]) -> Result<Vec<Parameter>> {
    values.iter().map(parameter).collect()
}

fn parameter(value: &ParameterValue) -> Result<Parameter> {
    Ok(match value {
        ParameterValue::Boolean(value) => Box::new(*value),
        ParameterValue::Int8(value) => Box::new(*value),
        ParameterValue::Int16(value) => Box::new(*value),
        ParameterValue::Int32(value) => Box::new(*value),
        ParameterValue::Int64(value) => Box::new(*value),
        ParameterValue::Floating32(value) => Box::new(*value),
        ParameterValue::Floating64(value) => Box::new(*value),
        ParameterValue::Str(value) => Box::new(value.clone()),
        ParameterValue::Binary(value) => Box::new(value.clone()),
        ParameterValue::Date((year, month, day)) => Box::new(date(*year, *month, *day)?),
        ParameterValue::Time((hour, minute, second, nano)) => Box::new(time(*hour, *minute, *second, *nano)?),
        ParameterValue::Datetime((year, month, day, hour, minute, second, nano)) => {
            let (date, time) = (date(*year, *month, *day)?, time(*hour, *minute, *second, *nano)?);
            Box::new(NaiveDateTime::new(date, time))
        }
        ParameterValue::Timestamp(seconds) => Box::new(
            DateTime::<Utc>::from_timestamp(*seconds, 0)
                .with_context(|| format!("invalid epoch timestamp {seconds}"))?,
        ),
        ParameterValue::Uuid(value) => {
            Box::new(uuid::Uuid::parse_str(value).with_context(|| format!("invalid UUID {value}"))?)
        }
        ParameterValue::Jsonb(value) => {
            let json: serde_json::Value = serde_json::from_slice(value)
                .with_context(|| format!("invalid JSON {}", String::from_utf8_lossy(value)))?;
            Box::new(json)
        }
        ParameterValue::ArrayInt32(values) => Box::new(values.clone()),
        ParameterValue::ArrayInt64(values) => Box::new(values.clone()),
        ParameterValue::ArrayStr(values) => Box::new(values.clone()),
        ParameterValue::DbNull => Box::new(AnyNull),
        ParameterValue::Decimal(_)
        | ParameterValue::RangeInt32(_)
        | ParameterValue::RangeInt64(_)
        | ParameterValue::RangeDecimal(_)
        | ParameterValue::ArrayDecimal(_)
        | ParameterValue::Interval(_) => {
            bail!("this host implements no decimals, ranges and intervals: use spin")
        }
    })
}

fn date(year: i32, month: u8, day: u8) -> Result<NaiveDate> {
    NaiveDate::from_ymd_opt(year, month.into(), day.into())
        .with_context(|| format!("invalid date y={year}, m={month}, d={day}"))
}

fn time(hour: u8, minute: u8, second: u8, nano: u32) -> Result<NaiveTime> {
    NaiveTime::from_hms_nano_opt(hour.into(), minute.into(), second.into(), nano)
        .with_context(|| format!("invalid time {hour}:{minute}:{second}:{nano}"))
}

/// A NULL for a column of any type: the driver's own has a type, which a guest's has not.
#[derive(Debug)]
struct AnyNull;

impl ToSql for AnyNull {
    fn to_sql(&self, _: &Type, _: &mut BytesMut) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        Ok(IsNull::Yes)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    fn to_sql_checked(
        &self,
        ty: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        self.to_sql(ty, out)
    }
}

#[cfg(test)]
mod tests {
    use tokio_postgres::types::BorrowToSql as _;

    use super::*;

    fn send(value: ParameterValue, ty: &Type) -> bool {
        let parameters = to_sql(&[value]).unwrap();
        parameters[0].borrow_to_sql().to_sql_checked(ty, &mut BytesMut::new()).is_ok()
    }

    #[test]
    fn types_are_strict() {
        assert!(send(ParameterValue::Int64(1), &Type::INT8));
        assert!(!send(ParameterValue::Int64(1), &Type::INT4));
        assert!(!send(ParameterValue::Str("6".into()), &Type::UUID));
        assert!(send(ParameterValue::Jsonb(b"{}".into()), &Type::JSONB));
    }

    #[test]
    fn a_date_and_time_is_not_a_timestamptz() {
        let value = ParameterValue::Datetime((2026, 11, 23, 1, 2, 3, 0));
        assert!(send(value.clone(), &Type::TIMESTAMP));
        assert!(!send(value, &Type::TIMESTAMPTZ));
    }

    #[test]
    fn null_fits_everywhere() {
        for ty in [Type::UUID, Type::INT8, Type::TIMESTAMPTZ, Type::JSONB] {
            assert!(send(ParameterValue::DbNull, &ty));
        }
    }

    #[test]
    fn a_value_that_is_none_of_its_type_is_refused() {
        for wrong in [
            ParameterValue::Uuid("no".into()),
            ParameterValue::Jsonb(b"{".into()),
            ParameterValue::Date((2026, 2, 30)),
            ParameterValue::Time((24, 0, 0, 0)),
        ] {
            assert!(to_sql(&[wrong]).is_err());
        }
    }
}
