//! Distru's envelopes: a page of a list, one record, and what a refusal says about fields.
//!
//! A list is asked for without saying which page and goes on at `next_page`, a whole URL, which may be null or missing at
//! the end. How many records a page has is Distru's to decide.

use serde_json::value::RawValue;
use wharfage_sdk::error::FieldError;
use wharfage_sdk::http::segment;
use wharfage_sdk::page::NextUrl;
use wharfage_sdk::{Cursor, Error, ErrorKind, Page, Request, Response, Timestamp, json};

use crate::FindInput;
use crate::record::{Field, Fields, Picked, Record, Table, Wanted, misfit};

/// How many records Distru may be asked for at once.
const LIMIT_MAX: u32 = 500;

/// One page of an operation that lists: `first` asks for its first page.
pub(crate) fn list<T: Table>(cursor: Option<Cursor>, first: Request, wanted: Wanted) -> Result<Page<Picked<T>>, Error> {
    let (texts, next) = listed(cursor, first, T::FIELDS, wanted)?;
    Ok(Page { items: texts.into_iter().map(Picked::new).collect(), next })
}

/// It stands once for all tables.
fn listed(
    cursor: Option<Cursor>,
    first: Request,
    table: &[Field],
    wanted: Wanted,
) -> Result<(Vec<Box<RawValue>>, Option<Cursor>), Error> {
    let at = NextUrl::resume(cursor)?;
    let (response, records, next) = page(&at, first)?;
    let texts = texts(&records, table, wanted).map_err(|error| about(&response, error))?;
    Ok((texts, next.map(|next| Cursor::encode(&next)).transpose()?))
}

/// What comes out of records.
pub(crate) fn picked<T: Table>(records: &[Record], wanted: Wanted) -> Result<Vec<Picked<T>>, Error> {
    Ok(texts(records, T::FIELDS, wanted)?.into_iter().map(Picked::new).collect())
}

fn texts(records: &[Record], table: &[Field], wanted: Wanted) -> Result<Vec<Box<RawValue>>, Error> {
    records.iter().map(|record| record.pick(table, wanted)).collect()
}

/// One record by its id, with its lines.
pub(crate) fn find<T: Table>(list: &str, input: &FindInput) -> Result<Picked<T>, Error> {
    let request = Request::get(["{api}/", list, "/", &segment("/id", &input.id)?].concat());
    one(request, Wanted { lines: true, raw: input.raw })
}

/// One record, or the one that was written.
pub(crate) fn one<T: Table>(request: Request, wanted: Wanted) -> Result<Picked<T>, Error> {
    text(request, T::FIELDS, wanted).map(Picked::new)
}

fn text(request: Request, table: &[Field], wanted: Wanted) -> Result<Box<RawValue>, Error> {
    let response = request.send().map_err(refined)?;
    let whole = body(&response)?;
    let data = whole.part("data");
    data.as_ref().unwrap_or(&whole).pick(table, wanted).map_err(|error| about(&response, error))
}

/// A page as it came, and where the list goes on.
pub(crate) fn page(at: &NextUrl, first: Request) -> Result<(Response, Vec<Record>, Option<NextUrl>), Error> {
    let response = at.request(|| first).send().map_err(refined)?;
    let whole = body(&response)?;
    let read = match whole.has("data") {
        true => whole.settle((whole.parts("data"), whole.text("next_page"))),
        false => Err(misfit("", "data", "a list, and there is none")),
    };
    let (records, next) = read.map_err(|error| about(&response, error))?;
    let next = at.advance(&response.url, next.as_deref())?;
    Ok((response, records, next))
}

/// An error found in an answer, with what identifies that answer.
pub(crate) fn about(response: &Response, error: Error) -> Error {
    response.error(error.kind.clone(), error.message.clone())
}

/// Of a list, so many records at once. Distru says since 2026-09-16 that it decides that by itself.
pub(crate) fn sized(request: Request, limit: Option<u32>) -> Request {
    request.query_some("page[size]", limit.map(|limit| limit.clamp(1, LIMIT_MAX)))
}

/// Those whose time in this field is at or after that: Distru's ranges are two times with a comma between.
pub(crate) fn since(request: Request, field: &str, since: Option<Timestamp>) -> Request {
    request.query_some(field, since.map(|since| format!("{since},")))
}

/// Those with one of these values: a key with brackets for each.
pub(crate) fn any_of(mut request: Request, key: &str, values: &[String]) -> Request {
    for value in values {
        request = request.query(key, value);
    }
    request
}

fn body(response: &Response) -> Result<Record, Error> {
    let raw: Box<RawValue> = response.json()?;
    Record::read(raw, String::new()).map_err(|error| about(response, error))
}

/// A refusal says which fields it is about: `{"errors": [{"message": "…", "pointer": ["items", 0, "quantity"]}]}`.
fn refined(mut error: Error) -> Error {
    if !matches!(error.kind, ErrorKind::InvalidRequest(_)) {
        return error;
    }
    let Some(fields) = error.body.as_deref().and_then(|body| field_errors(body).ok()) else { return error };
    if !fields.is_empty() {
        error.kind = ErrorKind::InvalidRequest(fields);
    }
    error
}

fn field_errors(body: &str) -> Result<Vec<FieldError>, Error> {
    let fields: Fields = json::parse(body.as_bytes()).ok_or_else(|| misfit("", "", "an object"))?;
    let Some(errors) = fields.get("errors") else { return Ok(Vec::new()) };
    let errors: Vec<Box<RawValue>> =
        json::parse(errors.get().as_bytes()).ok_or_else(|| misfit("", "errors", "a list"))?;
    let field = |raw: Box<RawValue>| {
        let record = Record::read(raw, String::new())?;
        let path = record.path("pointer").iter().fold(String::new(), |path, step| path + "/" + step);
        let message = record.text("message").unwrap_or_default().chars().take(300).collect();
        record.settle(FieldError { path, message })
    };
    errors.into_iter().map(field).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_names_its_fields() {
        let body = r#"{"errors": [{"message": "must be negative", "pointer": ["items", 0, "quantity"], "section": "body"},
            {"message": "is taken"}]}"#;
        let fields = field_errors(body).unwrap();
        assert_eq!((fields[0].path.as_str(), fields[0].message.as_str()), ("/items/0/quantity", "must be negative"));
        assert_eq!((fields[1].path.as_str(), fields[1].message.as_str()), ("", "is taken"));
        // The other envelope that is known names none.
        assert!(field_errors(r#"{"error": "Unprocessable", "message": "x"}"#).unwrap().is_empty());
        for odd in ["[]", "{\"errors\": 7}", "{\"errors\": [7]}", "<html>"] {
            assert!(field_errors(odd).is_err(), "{odd}");
        }
    }
}
