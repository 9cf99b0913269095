//! Describes itself with a schema that is no JSON.

use wharfage_guests::{Error, Operation, Operations, Page, guest, page, read};

struct Guest;

impl Operations for Guest {
    fn describe() -> Vec<Operation> {
        vec![Operation { input_schema: "{\"type\":".to_owned(), ..read("odd\u{1b}[2J") }]
    }

    fn call(_: String, input: String, _: Option<String>) -> Result<Page, Error> {
        Ok(page(input))
    }
}

guest!(Guest);
