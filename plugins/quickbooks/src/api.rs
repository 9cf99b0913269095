//! Asking, and what an answer is wrapped in.
//!
//! Each answer is an object whose one member bears the name of what was asked for, beside the time. What is an error is
//! told to the host in `plugin.toml`; here it only gets QuickBooks' own sentence (`Object Not Found`), which is one of a
//! fixed list. Its detail may repeat what somebody typed, so that stays in the body.

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;
use wharfage_sdk::http::{Repeat, segment};
use wharfage_sdk::money::{self, Decimal};
use wharfage_sdk::{Error, Request, Response, Timestamp, json};

use crate::fields::Fields;

/// Where the company's part of the API is; the host puts the id there.
const COMPANY: &str = "{api}/v3/company/{realmId}";

/// The version of answers. Since August 2025 no lower one is served.
const MINOR_VERSION: u32 = 75;

/// Most characters of a key that keeps a write from being done twice.
const REQUEST_ID_MAX: usize = 50;

wharfage_sdk::input! {
    /// Which record.
    pub(crate) struct FindInput {
        /// QuickBooks' id of it, which is no number that is printed.
        pub(crate) id: String,
        /// Also the whole record as QuickBooks wrote it; it may hold addresses, phone numbers and e-mail.
        #[serde(default)]
        pub(crate) raw: bool,
    }
}

/// A request for a part of the company.
pub(crate) fn get(path: &str) -> Request {
    with_version(Request::get([COMPANY, path].concat()))
}

fn with_version(request: Request) -> Request {
    request.query("minorversion", MINOR_VERSION)
}

/// Asks, and puts QuickBooks' own sentence into an error.
pub(crate) fn send(request: Request) -> Result<Response, Error> {
    request.send().map_err(explained)
}

/// Reads one record, `kind` as it stands in the answer, as `Invoice`, and makes something of it.
pub(crate) fn find<T>(kind: &'static str, input: &FindInput, make: Make<T>) -> Result<T, Error> {
    let path = ["/", &kind.to_ascii_lowercase(), "/", &segment("/id", &input.id)?].concat();
    only(kind, &send(get(&path))?, input.raw, make)
}

/// What makes something of a record: its fields, and its text where that is wanted too.
pub(crate) type Make<T> = fn(Fields<'_>, Option<Box<RawValue>>) -> Result<T, Error>;

/// Makes a record. Without a key of the caller's the host makes one and keeps it over all attempts, so that a lost answer
/// is asked for again and nothing is made twice.
pub(crate) fn create<T, B: Serialize>(
    kind: &'static str,
    request_id: Option<&str>,
    body: &B,
    make: Make<T>,
) -> Result<T, Error> {
    let path = [COMPANY, "/", &kind.to_ascii_lowercase()].concat();
    let request = with_version(Request::post(path)).json(body)?;
    let request = match request_id {
        None => request.repeat(Repeat::Keyed),
        Some(key) if key.is_empty() || key.chars().count() > REQUEST_ID_MAX => {
            return Err(Error::invalid_request("/request_id", "expected 1 to 50 characters"));
        }
        Some(key) => request.query("requestid", key).repeat(Repeat::Safe),
    };
    only(kind, &send(request)?, false, make)
}

/// The record in an answer about one.
fn only<T>(kind: &str, response: &Response, with_raw: bool, make: Make<T>) -> Result<T, Error> {
    let mut answer = Fields::of(response)?;
    let raw = answer.take(kind).ok_or_else(|| answer.missing(kind))?;
    let fields = answer.taken(kind, &raw)?;
    make(fields, with_raw.then_some(raw))
}

/// An amount that a caller writes as decimal text.
pub(crate) struct Exact(pub(crate) Decimal);

impl<'de> Deserialize<'de> for Exact {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        money::decimal::deserialize(deserializer).map(Self)
    }
}

/// An amount as a JSON number, digit by digit.
pub(crate) fn number(amount: &Decimal) -> Result<Box<RawValue>, Error> {
    json::raw(amount.to_string()).ok_or_else(|| Error::internal("an amount has no JSON form"))
}

/// `{"value": …}`: how QuickBooks wants another record to be named.
#[derive(Serialize)]
pub(crate) struct Named {
    value: String,
}

/// The record with this id, in words of the API.
pub(crate) fn named(id: impl Into<String>) -> Named {
    Named { value: id.into() }
}

/// A day, as `2026-11-24`, checked before anything is sent.
pub(crate) fn day(field: &str, day: Option<String>) -> Result<Option<String>, Error> {
    let is_day = |day: &String| day.len() == 10 && Timestamp::parse(&[day, "T00:00:00Z"].concat()).is_some();
    match day {
        Some(day) if !is_day(&day) => Err(Error::invalid_request(field, "expected a day, as 2026-11-24")),
        day => Ok(day),
    }
}

wharfage_sdk::answer! {
    struct Faulty {
        fault: Fault = "Fault",
    }
}

wharfage_sdk::answer! {
    struct Fault {
        errors: Vec<Said> = "Error",
    }
}

wharfage_sdk::answer! {
    struct Said {
        message: String = "Message",
    }
}

fn explained(mut error: Error) -> Error {
    let said = error.body.as_deref().and_then(|body| json::parse::<Faulty>(body.as_bytes()));
    let first = said.and_then(|said| said.fault.errors.into_iter().next());
    if let Some(said) = first.filter(|said| is_plain(&said.message)) {
        error.message = [&error.message, ": ", said.message.trim_end_matches('.')].concat();
    }
    error
}

/// One line, not long: a sentence of QuickBooks' list and not somebody's text.
fn is_plain(sentence: &str) -> bool {
    !sentence.is_empty() && sentence.len() <= 120 && !sentence.chars().any(char::is_control)
}
