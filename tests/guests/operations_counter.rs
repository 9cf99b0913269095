//! Counts its calls in a global and keeps there what it is told, so that its answer says what an earlier call left behind.

use std::sync::{Mutex, PoisonError};

use wharfage_guests::bindings::exports::wharfage::plugin::events::{Event, Guest as Events, Outcome};
use wharfage_guests::log::{Level, write as log};
use wharfage_guests::{
    Error, ErrorKind, Operation, Operations, Page, Value, bindings, error, http, json, list, page, read, read_input,
    request, state, told,
};

struct Guest;

#[derive(Default)]
struct Kept {
    calls: u64,
    word: Option<String>,
    bytes: Vec<u8>,
}

static KEPT: Mutex<Kept> = Mutex::new(Kept { calls: 0, word: None, bytes: Vec::new() });

impl Operations for Guest {
    fn describe() -> Vec<Operation> {
        vec![
            read("count"),
            Operation { output_schema: r#"{"type":"string"}"#.to_owned(), ..read("wrong") },
            list("pages"),
        ]
    }

    fn call(operation: String, input: String, cursor: Option<String>) -> Result<Page, Error> {
        let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
        kept.calls += 1;
        let input = read_input(&input)?;
        if operation == "pages" {
            return Ok(Page { output: json!([kept.calls]).to_string(), next: cursor.or(Some("on".to_owned())) });
        }
        let before = kept.word.take();
        kept.word = input["word"].as_str().map(str::to_owned);
        kept.bytes.extend(vec![1; number(&input, "grow")]);
        for _ in 0..number(&input, "lines") {
            log(Level::Info, "counted", &[]);
        }
        if let Some(text) = input["print"].as_str() {
            println!("{text}");
        }
        let mut answers = Vec::new();
        for wish in input["send"].as_array().cloned().unwrap_or_default() {
            answers.push(match http::send(&request(&wish)) {
                Ok(response) => told(response),
                Err(error) if input["swallow"].as_bool() == Some(true) => json!(error.message),
                Err(error) => return Err(error),
            });
        }
        if input["open"].as_bool() == Some(true) {
            std::mem::forget(http::open(&request(&json!({"url": "{api}/open"})))?);
        }
        let stored =
            input["store"].as_u64().map(|bytes| state::set("bytes", &vec![1; usize::try_from(bytes).unwrap_or(0)]));
        let mut turns = std::hint::black_box(number(&input, "turns"));
        while turns > 0 {
            turns = std::hint::black_box(turns - 1);
        }
        match input["end"].as_str() {
            Some("trap") => panic!("as it was told"),
            Some("error") => return Err(error(ErrorKind::NotFound, "as it was told")),
            Some("no JSON") => return Ok(page("as it was told")),
            Some("spin") => loop {
                std::hint::black_box(0);
            },
            _ => {}
        }
        let is_stored = stored.map(|stored: Result<(), Error>| stored.is_ok());
        Ok(page(json!({"calls": kept.calls, "before": before, "answers": answers, "is_stored": is_stored})))
    }
}

fn number(input: &Value, field: &str) -> usize {
    usize::try_from(input[field].as_u64().unwrap_or_default()).unwrap_or_default()
}

impl Events for Guest {
    fn handle(_: Event) -> Result<Outcome, Error> {
        let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
        kept.calls += 1;
        Ok(Outcome { emit: vec![], send: vec![], cursor: Some(kept.calls.to_string()), more: false })
    }
}

#[allow(unsafe_code, missing_docs, unreachable_pub, clippy::all)]
mod export {
    use super::{Guest, bindings};
    bindings::export!(Guest with_types_in bindings);
}
