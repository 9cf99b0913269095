//! Answers its input, and lists the numbers up to `count`, two a page, with the number itself as cursor.

use wharfage_guests::{
    Error, ErrorKind, Operation, Operations, Page, Value, error, guest, list, page, read, read_input,
};

struct Guest;

impl Operations for Guest {
    fn describe() -> Vec<Operation> {
        let strict = r#"{"type":"object","properties":{"count":{"type":"integer","minimum":0,"maximum":1000},
            "shop":{"type":"string"}},"additionalProperties":false}"#;
        vec![
            read("echo"),
            Operation { input_schema: strict.to_owned(), ..read("echo.strict") },
            Operation {
                input_schema: strict.to_owned(),
                output_schema: r#"{"type":"integer"}"#.to_owned(),
                ..list("numbers.list")
            },
            list("numbers.broken"),
            read("text"),
        ]
    }

    fn call(operation: String, input: String, cursor: Option<String>) -> Result<Page, Error> {
        match operation.as_str() {
            "numbers.list" => {}
            "numbers.broken" => return Ok(page(r#"{"not":"an array"}"#)),
            "text" => return Ok(page("this is no JSON")),
            _ => return Ok(page(input)),
        }
        let count = read_input(&input)?["count"].as_u64().unwrap_or_default();
        let start = match cursor {
            None => 0,
            Some(cursor) => cursor.parse().map_err(|_| error(ErrorKind::CursorInvalid, "no cursor of mine"))?,
        };
        let end = count.min(start + 2);
        let numbers: Vec<u64> = (start..end).collect();
        Ok(Page { output: Value::from(numbers).to_string(), next: (end < count).then(|| end.to_string()) })
    }
}

guest!(Guest);
