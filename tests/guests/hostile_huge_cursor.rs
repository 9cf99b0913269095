//! Keeps its state in the cursor, all megabyte of it.

use wharfage_guests::{Error, Operation, Operations, Page, guest, list};

struct Guest;

impl Operations for Guest {
    fn describe() -> Vec<Operation> {
        vec![list("hoard")]
    }

    fn call(_: String, _: String, _: Option<String>) -> Result<Page, Error> {
        Ok(Page { output: "[1]".to_owned(), next: Some("c".repeat(1 << 20)) })
    }
}

guest!(Guest);
