//! Writes. LeafLink knows no idempotency keys, so nothing is sent twice where it may have been done: the host repeats a POST
//! or PATCH only when LeafLink says that it was not taken (429) or nothing has left. Where an answer is lost, a look at
//! what was to be changed tells whether it was.

use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use wharfage_sdk::json::Kept;
use wharfage_sdk::money::Decimal;
use wharfage_sdk::{Error, ErrorKind, Request, Response, log};

use crate::plain;

/// Sends a write once and reads the record that it answers. Where it is not known whether it was done, `look` asks for the
/// record, and `is_done` says whether it stands there as it should.
///
/// # Errors
/// LeafLink's refusal; or how the answer was lost, when a look afterwards does not show what was asked for.
pub(crate) fn once<T: DeserializeOwned>(
    write: Request,
    look: Request,
    is_done: impl FnOnce(&T) -> bool,
) -> Result<Kept<T>, Error> {
    let mut lost = match read(write) {
        Ok(record) => return Ok(record),
        Err(error) if is_open(&error.kind) => error,
        Err(error) => return Err(error),
    };
    match read(look) {
        Ok(record) if is_done(&record.value) => {
            log::info(
                "the answer to a write was lost, and a look shows that it was done",
                &[("kind", &lost.kind.name())],
            );
            return Ok(record);
        }
        Ok(_) => lost.message.push_str("; a look afterwards does not show the change"),
        Err(_) => lost.message.push_str("; a look afterwards failed too"),
    }
    Err(lost)
}

/// A record and its own text.
pub(crate) fn read<T: DeserializeOwned>(request: Request) -> Result<Kept<T>, Error> {
    let response: Response = request.send()?;
    response.part(response.json()?, "")
}

/// Whether an amount in an answer, number or text, is this one: `100` is `100.0000`.
pub(crate) fn is_amount(raw: Option<&RawValue>, wanted: Decimal) -> bool {
    raw.is_some_and(|raw| Decimal::from_str_exact(&plain(raw)) == Ok(wanted))
}

/// Whether an error leaves open that the write was done. A server that fails has perhaps only failed to say so.
fn is_open(kind: &ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::OutcomeUnknown
            | ErrorKind::Transient
            | ErrorKind::Timeout
            | ErrorKind::SchemaViolation
            | ErrorKind::TooLarge
    )
}
