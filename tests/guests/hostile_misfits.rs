//! Answers what takes long to compare with its schema, and long to write down, or much memory to read.

use wharfage_guests::{Error, Operation, Operations, Page, guest, read};

struct Guest;

/// Every misfit lies below it.
fn name() -> String {
    "~".repeat(600_000)
}

impl Operations for Guest {
    fn describe() -> Vec<Operation> {
        let output_schema = format!("{{\"properties\":{{\"{}\":{{\"items\":{{\"type\":\"string\"}}}}}}}}", name());
        let lists = r#"{"type":"array","items":{"type":"object"}}"#.to_owned();
        vec![Operation { output_schema, ..read("misfits") }, Operation { output_schema: lists, ..read("maps") }]
    }

    fn call(operation: String, _: String, _: Option<String>) -> Result<Page, Error> {
        let output = match operation.as_str() {
            "misfits" => format!("{{\"{}\":[{}1]}}", name(), "1,".repeat(300_000)),
            _ => format!("[{}1]", "{\"\":1},".repeat(1_000_000)),
        };
        Ok(Page { output, next: None })
    }
}

guest!(Guest);
