//! Answers megabytes, as output or as an endless list of pages.

use wharfage_guests::{Error, Operation, Operations, Page, guest, list, page, read};

struct Guest;

impl Operations for Guest {
    fn describe() -> Vec<Operation> {
        vec![read("output"), list("pages")]
    }

    fn call(operation: String, _: String, _: Option<String>) -> Result<Page, Error> {
        if operation == "pages" {
            return Ok(Page { output: "[]".to_owned(), next: Some("on and on".to_owned()) });
        }
        Ok(page(format!("\"{}\"", "x".repeat(8 << 20))))
    }
}

guest!(Guest);
