//! Gives cursors of one list, to be used on another and on other connections.

use wharfage_guests::{Error, Operation, Operations, Page, guest, list};

struct Guest;

impl Operations for Guest {
    fn describe() -> Vec<Operation> {
        vec![list("attack"), list("victim")]
    }

    fn call(_: String, _: String, cursor: Option<String>) -> Result<Page, Error> {
        Ok(Page { output: format!("[{:?}]", cursor.unwrap_or_default()), next: Some("../../victim".to_owned()) })
    }
}

guest!(Guest);
