//! When an event begins or ends: a moment, or a whole day.
//!
//! A time without an offset means something only with its zone beside it, and nobody here guesses one: what has neither
//! is refused. Google itself falls back to the calendar's zone only where an offset was given.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use wharfage_sdk::{Error, Timestamp};

/// A moment, or a whole day, as Google answers it.
#[derive(Default, Deserialize, Serialize, JsonSchema)]
pub(crate) struct Moment {
    /// The moment; null for a whole day.
    #[serde(rename(deserialize = "dateTime"), default)]
    at: Option<Timestamp>,
    /// The day, as `2026-03-01`; null for a moment. A last day is the one after the event.
    #[serde(default)]
    date: Option<String>,
    /// The zone it was said in, as `Europe/Zurich`; null where it is the calendar's.
    #[serde(rename(deserialize = "timeZone"), default)]
    time_zone: Option<String>,
}

/// When an event begins or ends: `at`, or `date`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct When {
    /// A moment: `2026-03-01T09:00:00-09:00`, or `2026-03-01T09:00:00` with `time_zone`.
    #[serde(default)]
    at: Option<String>,
    /// A whole day, as `2026-03-01`. An event ends on the day after its last one.
    #[serde(default)]
    date: Option<String>,
    /// An IANA zone, as `Europe/Zurich`. A series needs it; a single event only where `at` has no offset.
    #[serde(default)]
    time_zone: Option<String>,
}

impl When {
    /// As Google wants it. `field` is the JSON Pointer of the input. A change takes away what an event of the other kind
    /// has there.
    pub(crate) fn to_json(&self, field: &str, is_change: bool) -> Result<Value, Error> {
        let wrong = |message: &str| Err(Error::invalid_request(field, message));
        let (name, value, other) = match (&self.at, &self.date) {
            (None, Some(date)) => match Timestamp::parse(&[date, "T00:00:00Z"].concat()) {
                Some(_) => ("date", date, "dateTime"),
                None => return wrong("expected a day as 2026-03-01"),
            },
            (Some(at), None) => {
                let has_offset = Timestamp::parse(at).is_some();
                if !has_offset && Timestamp::parse(&[at, "Z"].concat()).is_none() {
                    return wrong("expected a time as 2026-03-01T09:00:00-09:00");
                }
                if !has_offset && self.time_zone.is_none() {
                    return wrong("expected a time with an offset, or `time_zone` beside it");
                }
                ("dateTime", at, "date")
            }
            _ => return wrong("expected either `at` or `date`"),
        };
        let mut fields = Map::new();
        fields.insert(name.to_owned(), Value::from(value.as_str()));
        if is_change {
            fields.insert(other.to_owned(), Value::Null);
        }
        if let Some(zone) = &self.time_zone {
            fields.insert("timeZone".to_owned(), Value::from(zone.as_str()));
        }
        Ok(Value::Object(fields))
    }

    /// Whether it says its zone.
    pub(crate) fn has_zone(&self) -> bool {
        self.time_zone.is_some() || self.date.is_some()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn when(text: &str) -> Result<Value, Error> {
        serde_json::from_str::<When>(text).unwrap().to_json("/start", false)
    }

    // What went wrong: every event was written with timeZone America/Anchorage, wherever its calendar was. A time says its
    // offset or its zone, and what says neither is refused instead of being somewhere.
    #[test]
    fn guide_s40_a_time_zone_was_written_into_the_code() {
        assert_eq!(
            when(r#"{"at": "2026-03-01T09:00:00-09:00"}"#).unwrap(),
            json!({"dateTime": "2026-03-01T09:00:00-09:00"})
        );
        assert_eq!(
            when(r#"{"at": "2026-03-01T09:00:00", "time_zone": "Europe/Zurich"}"#).unwrap()["timeZone"],
            json!("Europe/Zurich")
        );
        let refused = when(r#"{"at": "2026-03-01T09:00:00"}"#).err().unwrap();
        assert_eq!(refused.message, "/start: expected a time with an offset, or `time_zone` beside it");
    }

    #[test]
    fn a_change_to_a_whole_day_takes_the_time_away() {
        let day: When = serde_json::from_str(r#"{"date": "2026-03-01"}"#).unwrap();
        assert_eq!(day.to_json("/start", true).unwrap(), json!({"date": "2026-03-01", "dateTime": null}));
    }

    #[test]
    fn a_day_is_a_day_and_nothing_else_is_taken() {
        assert_eq!(when(r#"{"date": "2026-03-01"}"#).unwrap()["date"], json!("2026-03-01"));
        for wrong in [
            r#"{}"#,
            r#"{"date": "1 March"}"#,
            r#"{"at": "noon"}"#,
            r#"{"at": "2026-03-01T09:00:00Z", "date": "2026-03-01"}"#,
        ] {
            assert!(when(wrong).is_err(), "{wrong}");
        }
    }
}
