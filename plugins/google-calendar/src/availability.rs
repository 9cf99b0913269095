//! When calendars are busy, without a word about why.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use wharfage_sdk::http::Repeat;
use wharfage_sdk::{Cursor, Error, Page, Request, Timestamp};

use crate::{Range, primary};

/// Which calendars, and when.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Input {
    /// Ids of calendars, 50 at most; the account's own unless stated. A person's calendar has the person's address as id.
    #[serde(default = "own")]
    calendars: Vec<String>,
    /// The beginning; now unless stated.
    #[serde(default)]
    from: Option<Timestamp>,
    /// The end. Instead of it, `days`.
    #[serde(default)]
    to: Option<Timestamp>,
    /// How many days from the beginning; 7 unless `to` or this is stated.
    #[serde(default)]
    days: Option<u32>,
}

/// A busy time, or a calendar about which nothing is known.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Busy {
    /// The calendar's id.
    calendar: String,
    /// When it begins to be busy; null where nothing is known.
    start: Option<Timestamp>,
    /// When that ends.
    end: Option<Timestamp>,
    /// Why nothing is known: `notFound` for a calendar that does not exist or that the account may not see.
    trouble: Option<String>,
}

#[derive(Deserialize)]
struct Answer {
    kind: String,
    #[serde(default)]
    calendars: BTreeMap<String, Record>,
}

#[derive(Deserialize)]
struct Record {
    #[serde(default)]
    busy: Vec<Time>,
    #[serde(default)]
    errors: Vec<Trouble>,
}

#[derive(Deserialize)]
struct Time {
    start: Timestamp,
    end: Timestamp,
}

#[derive(Deserialize)]
struct Trouble {
    #[serde(default)]
    reason: Option<String>,
}

/// As many as Google takes in one question.
const CALENDARS_MAX: usize = 50;

fn own() -> Vec<String> {
    vec![primary()]
}

/// One request, which is the only page.
pub(crate) fn find(input: Input, _: Option<Cursor>) -> Result<Page<Busy>, Error> {
    if input.calendars.is_empty() || input.calendars.len() > CALENDARS_MAX {
        return Err(Error::invalid_request("/calendars", "expected 1 to 50 ids of calendars"));
    }
    let range = Range::new(input.from, input.to, input.days)?;
    let items: Vec<Value> = input.calendars.iter().map(|id| json!({"id": id})).collect();
    let question = json!({"timeMin": range.from, "timeMax": range.to, "items": items});
    let response = Request::post("{api}/freeBusy").json(&question)?.repeat(Repeat::Safe).send()?;
    let answer: Answer = response.json()?;
    if answer.kind != "calendar#freeBusy" {
        return Err(response.error(wharfage_sdk::ErrorKind::SchemaViolation, "the answer tells no busy times"));
    }
    let mut rows = Vec::new();
    for calendar in input.calendars {
        // What was asked for and is in no answer is not free: nothing is known of it.
        let record = answer.calendars.get(&calendar);
        let trouble = match record {
            None => Some("missing".to_owned()),
            Some(record) => {
                let first = record.errors.first();
                first.map(|trouble| trouble.reason.clone().unwrap_or_else(|| "unknown".to_owned()))
            }
        };
        if trouble.is_some() {
            rows.push(Busy { calendar: calendar.clone(), start: None, end: None, trouble });
        }
        for time in record.into_iter().flat_map(|record| &record.busy) {
            rows.push(Busy { calendar: calendar.clone(), start: Some(time.start), end: Some(time.end), trouble: None });
        }
    }
    Ok(Page::whole(rows))
}
