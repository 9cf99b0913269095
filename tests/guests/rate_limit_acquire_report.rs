//! Takes `units` of a `bucket`, or reports `blocked_until` and `remaining` of one.

use wharfage_guests::rate_limit::{Feedback, acquire, report};
use wharfage_guests::{Error, Operation, Operations, Page, clock, guest, json, page, read, read_input, text};

struct Guest;

impl Operations for Guest {
    fn describe() -> Vec<Operation> {
        vec![read("acquire"), read("report")]
    }

    fn call(operation: String, input: String, _: Option<String>) -> Result<Page, Error> {
        let input = read_input(&input)?;
        let number = |field: &str| input[field].as_u64().map(|number| u32::try_from(number).unwrap_or(u32::MAX));
        match operation.as_str() {
            "acquire" => acquire(&text(&input, "bucket").unwrap_or_default(), number("units").unwrap_or(1))?,
            _ => report(&Feedback {
                bucket: text(&input, "bucket"),
                blocked_until: input["blocked_until"].as_u64(),
                remaining: number("remaining"),
            })?,
        }
        Ok(page(json!({"now": clock::now()})))
    }
}

guest!(Guest);
