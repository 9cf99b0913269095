//! Takes memory until there is none.

use std::hint::black_box;

use wharfage_guests::{Error, Operation, Operations, Page, guest, page, read};

struct Guest;

impl Operations for Guest {
    fn describe() -> Vec<Operation> {
        vec![read("allocate"), read("idle")]
    }

    fn call(operation: String, input: String, _: Option<String>) -> Result<Page, Error> {
        if operation == "idle" {
            return Ok(page(input));
        }
        let mut hoard: Vec<Vec<u8>> = Vec::new();
        loop {
            hoard.push(black_box(vec![1; 1 << 20]));
        }
    }
}

guest!(Guest);
