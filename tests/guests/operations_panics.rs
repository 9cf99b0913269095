//! Panics with its input, or answers an error of its own that is larger and dirtier than it should be.

use wharfage_guests::{Error, ErrorKind, Operation, Operations, Page, error, guest, read};

struct Guest;

impl Operations for Guest {
    fn describe() -> Vec<Operation> {
        vec![read("panic"), read("exit"), read("err")]
    }

    fn call(operation: String, input: String, _: Option<String>) -> Result<Page, Error> {
        match operation.as_str() {
            "panic" => panic!("the guest gave up on {input}"),
            "exit" => std::process::exit(7),
            _ => Err(Error {
                endpoint: Some("x".repeat(100_000)),
                body: Some("\u{1b}[2J".repeat(10_000)),
                ..error(ErrorKind::PolicyDenied("y".repeat(100_000)), &"z\u{7}".repeat(100_000))
            }),
        }
    }
}

guest!(Guest);
