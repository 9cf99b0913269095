//! Logs and prints without end in sight.

use wharfage_guests::log::{Level, write};
use wharfage_guests::{Error, Operation, Operations, Page, guest, page, read};

struct Guest;

impl Operations for Guest {
    fn describe() -> Vec<Operation> {
        vec![read("flood")]
    }

    fn call(_: String, _: String, _: Option<String>) -> Result<Page, Error> {
        let line = "flood ".repeat(100);
        for _ in 0..20_000 {
            write(Level::Info, &line, &[]);
            println!("{line}");
        }
        Ok(page("null"))
    }
}

guest!(Guest);
