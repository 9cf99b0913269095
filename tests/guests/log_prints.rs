//! Prints, both ways, and panics with many words.

use wharfage_guests::{Error, Operation, Operations, Page, guest, page, read};

struct Guest;

impl Operations for Guest {
    fn describe() -> Vec<Operation> {
        vec![read("print"), read("panic"), read("idle")]
    }

    fn call(operation: String, input: String, _: Option<String>) -> Result<Page, Error> {
        Ok(match operation.as_str() {
            "print" => {
                println!("one way");
                eprintln!("the other way");
                page("null")
            }
            "panic" => panic!("{}", "word ".repeat(10_000)),
            _ => page(input),
        })
    }
}

guest!(Guest);
