//! Logs the line of its input at each level, with one field, and prints it as well.

use wharfage_guests::log::{Level, write};
use wharfage_guests::{Error, Operation, Operations, Page, guest, page, read, read_input, text};

struct Guest;

impl Operations for Guest {
    fn describe() -> Vec<Operation> {
        vec![read("log")]
    }

    fn call(_: String, input: String, _: Option<String>) -> Result<Page, Error> {
        let line = text(&read_input(&input)?, "line").unwrap_or_default();
        for level in [Level::Trace, Level::Debug, Level::Info, Level::Warn, Level::Error] {
            write(level, &line, &[("field".to_owned(), line.clone())]);
        }
        println!("printed {line}");
        Ok(page("null"))
    }
}

guest!(Guest);
