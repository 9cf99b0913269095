//! Never says what it can do.

use std::hint::black_box;

use wharfage_guests::{Error, Operation, Operations, Page, guest, page};

struct Guest;

impl Operations for Guest {
    fn describe() -> Vec<Operation> {
        let mut rounds = 0u64;
        loop {
            rounds = black_box(rounds.wrapping_add(1));
        }
    }

    fn call(_: String, input: String, _: Option<String>) -> Result<Page, Error> {
        Ok(page(input))
    }
}

guest!(Guest);
