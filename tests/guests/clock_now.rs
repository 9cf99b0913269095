//! Answers the host's time, and what the standard library takes for the time.

use std::time::SystemTime;

use wharfage_guests::{Error, Operation, Operations, Page, clock, guest, json, page, read};

struct Guest;

impl Operations for Guest {
    fn describe() -> Vec<Operation> {
        vec![read("now")]
    }

    fn call(_: String, _: String, _: Option<String>) -> Result<Page, Error> {
        let std_ms =
            SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64);
        Ok(page(json!({"host_ms": clock::now(), "std_ms": std_ms})))
    }
}

guest!(Guest);
