//! Computes for ever.

use std::hint::black_box;

use wharfage_guests::{Error, Operation, Operations, Page, guest, page, read};

struct Guest;

impl Operations for Guest {
    fn describe() -> Vec<Operation> {
        vec![read("spin"), read("idle")]
    }

    fn call(operation: String, input: String, _: Option<String>) -> Result<Page, Error> {
        if operation == "idle" {
            return Ok(page(input));
        }
        let mut rounds = 0u64;
        loop {
            rounds = black_box(rounds.wrapping_add(1));
        }
    }
}

guest!(Guest);
