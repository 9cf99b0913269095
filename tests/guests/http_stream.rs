//! Reads an answer and writes a request piece by piece, as its input says, and tells what it saw.
//!
//! `open` reads up to `reads` pieces of at most `max` bytes and keeps the answer open while it does `then`, a list of
//! requests to send. `up` writes `pieces` times `bytes` bytes, does `then`, and ends the request.

use wharfage_guests::http::{self, Body, Upload};
use wharfage_guests::{
    Error, Operation, Operations, Page, Value, guest, json, page, read, read_input, request, told, write,
};

struct Guest;

const SHOWN_BYTES_MAX: usize = 8 << 10;

impl Operations for Guest {
    fn describe() -> Vec<Operation> {
        vec![read("open"), write("up")]
    }

    fn call(operation: String, input: String, _: Option<String>) -> Result<Page, Error> {
        let input = read_input(&input)?;
        if operation == "up" { up(&input) } else { open(&input) }
    }
}

fn number(input: &Value, field: &str, otherwise: u64) -> u64 {
    input[field].as_u64().unwrap_or(otherwise)
}

fn open(input: &Value) -> Result<Page, Error> {
    let opened = http::open(&request(input))?;
    // Several at once, for what is shared between them.
    let more = (0..number(input, "more", 0)).map(|_| http::open(&request(input))).collect::<Result<Vec<_>, _>>()?;
    let max = u32::try_from(number(input, "max", 64 << 10)).unwrap_or(u32::MAX);
    let mut body = Some(opened.body);
    let seen = read_up_to(body.as_ref(), number(input, "reads", u64::MAX), max);
    if input["drop"].as_bool() == Some(true) {
        body = None;
    }
    let then = then(input)?;
    drop((body, more));
    let mut seen = seen?;
    seen["status"] = json!(opened.status);
    seen["url"] = json!(opened.url);
    seen["attempts"] = json!(opened.attempts);
    seen["headers"] = opened.headers.iter().map(|header| json!([&header.name, &header.value])).collect();
    seen["then"] = json!(then);
    Ok(page(seen))
}

/// Sends the requests that come in between.
fn then(input: &Value) -> Result<Vec<Value>, Error> {
    let requests = input["then"].as_array().cloned().unwrap_or_default();
    requests.iter().map(|next| Ok(told(http::send(&request(next))?))).collect()
}

fn read_up_to(body: Option<&Body>, reads: u64, max: u32) -> Result<Value, Error> {
    let (mut bytes, mut pieces, mut largest, mut is_over) = (0, 0, 0, false);
    let mut text = Vec::new();
    let mut shown = Vec::new();
    while let Some(body) = body.filter(|_| pieces < reads) {
        let piece = body.read(max)?;
        if piece.is_empty() {
            is_over = true;
            break;
        }
        pieces += 1;
        bytes += piece.len();
        largest = largest.max(piece.len());
        if text.len() + piece.len() <= SHOWN_BYTES_MAX {
            text.extend_from_slice(&piece);
            shown.push(String::from_utf8_lossy(&piece).into_owned());
        }
    }
    Ok(json!({
        "bytes": bytes, "pieces": pieces, "largest": largest, "is_over": is_over,
        "text": String::from_utf8_lossy(&text), "shown": shown,
    }))
}

fn up(input: &Value) -> Result<Page, Error> {
    let upload = http::start(&request(input), input["length"].as_u64())?;
    let piece: Vec<u8> = (0..number(input, "bytes", 1)).map(|at| b'a' + (at % 23) as u8).collect();
    let mut failed_at = None;
    for at in 0..number(input, "pieces", 1) {
        if let Err(error) = upload.write(&piece) {
            if input["finish_anyway"].as_bool() != Some(true) {
                return Err(error);
            }
            failed_at = Some(at);
            break;
        }
    }
    if input["drop"].as_bool() == Some(true) {
        return Ok(page(json!("dropped")));
    }
    then(input)?;
    let mut seen = told(Upload::finish(upload)?);
    seen["failed_at"] = json!(failed_at);
    Ok(page(seen))
}

guest!(Guest);
