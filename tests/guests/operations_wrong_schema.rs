//! Describes itself with a schema that is JSON and no schema.

use wharfage_guests::{Error, Operation, Operations, Page, guest, page, read};

struct Guest;

impl Operations for Guest {
    fn describe() -> Vec<Operation> {
        vec![Operation { input_schema: r#"{"type": 7}"#.to_owned(), ..read("odd") }]
    }

    fn call(_: String, input: String, _: Option<String>) -> Result<Page, Error> {
        Ok(page(input))
    }
}

guest!(Guest);
