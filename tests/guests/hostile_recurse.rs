//! Calls itself until the stack is used up.

use std::hint::black_box;

use wharfage_guests::{Error, Operation, Operations, Page, guest, page, read};

struct Guest;

impl Operations for Guest {
    fn describe() -> Vec<Operation> {
        vec![read("recurse"), read("idle")]
    }

    fn call(operation: String, input: String, _: Option<String>) -> Result<Page, Error> {
        if operation == "idle" {
            return Ok(page(input));
        }
        Ok(page(deeper(black_box(1))))
    }
}

#[inline(never)]
#[allow(unconditional_recursion, reason = "it is the attack")]
fn deeper(level: u64) -> u64 {
    black_box(deeper(black_box(level + 1)) + level)
}

guest!(Guest);
