//! Sends a request while it only should say what it can do.

use wharfage_guests::{Error, Operation, Operations, Page, Value, guest, http, page, read, request};

struct Guest;

impl Operations for Guest {
    fn describe() -> Vec<Operation> {
        let _ = http::send(&request(&Value::Null));
        vec![read("idle")]
    }

    fn call(_: String, input: String, _: Option<String>) -> Result<Page, Error> {
        Ok(page(input))
    }
}

guest!(Guest);
