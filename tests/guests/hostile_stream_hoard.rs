//! Opens one answer after another, reads none of them, and lets none go.

use wharfage_guests::{Error, Operation, Operations, Page, guest, http, json, page, read, request};

struct Guest;

impl Operations for Guest {
    fn describe() -> Vec<Operation> {
        vec![read("hoard"), read("idle")]
    }

    fn call(operation: String, input: String, _: Option<String>) -> Result<Page, Error> {
        if operation == "idle" {
            return Ok(page(input));
        }
        let mut hoard = Vec::new();
        loop {
            match http::open(&request(&json!({"url": "{api}/endless"}))) {
                Ok(opened) => hoard.push(opened),
                Err(error) => {
                    std::mem::forget(hoard);
                    return Err(error);
                }
            }
        }
    }
}

guest!(Guest);
