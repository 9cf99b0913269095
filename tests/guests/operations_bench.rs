//! What the benches measure: nothing at all, an import many times over, an answer parsed where the call is made, and
//! requests one after another.

use wharfage_guests::{
    Error, ErrorKind, Operation, Operations, Page, Value, clock, error, guest, http, page, read, read_input, request,
};

struct Guest;

impl Operations for Guest {
    fn describe() -> Vec<Operation> {
        ["nothing", "clock", "parse", "send"].map(read).to_vec()
    }

    fn call(operation: String, input: String, _: Option<String>) -> Result<Page, Error> {
        if operation == "nothing" {
            return Ok(page("null"));
        }
        let input = read_input(&input)?;
        let times = input["times"].as_u64().unwrap_or_default();
        match operation.as_str() {
            "clock" => Ok(page((0..times).fold(0, |latest, _| latest.max(clock::now())))),
            "parse" => {
                let answer = http::send(&request(&input))?;
                // As the SDK does it: that it is UTF-8 is looked at once, and not string by string.
                let wrong = |wrong: &dyn ToString| error(ErrorKind::SchemaViolation, &wrong.to_string());
                let text = std::str::from_utf8(&answer.body).map_err(|error| wrong(&error))?;
                let body: Value = serde_json::from_str(text).map_err(|error| wrong(&error))?;
                Ok(page(body["orders"].as_array().map_or(0, Vec::len)))
            }
            _ => {
                let request = request(&input);
                let mut bytes = 0;
                for _ in 0..times {
                    bytes += http::send(&request)?.body.len();
                }
                Ok(page(bytes))
            }
        }
    }
}

guest!(Guest);
