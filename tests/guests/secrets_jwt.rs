//! Has tokens made, sends them by the names it gets, and has tokens checked; answers everything it learned.

use wharfage_guests::secrets::{is_available, make_jwt, verify_jwt};
use wharfage_guests::{
    Error, Operation, Operations, Page, guest, http, json, page, read, read_input, request, text, told,
};

struct Guest;

impl Operations for Guest {
    fn describe() -> Vec<Operation> {
        vec![read("is-available"), read("make"), read("make-and-send"), read("verify")]
    }

    fn call(operation: String, input: String, _: Option<String>) -> Result<Page, Error> {
        let mut input = read_input(&input)?;
        let name = text(&input, "name").unwrap_or_default();
        let claims = input["claims"].to_string();
        let output = match operation.as_str() {
            "is-available" => json!(is_available(&name)),
            "verify" => json!(verify_jwt(&name, &text(&input, "token").unwrap_or_default())?),
            "make" => {
                let times = input["times"].as_u64().unwrap_or(1);
                json!((0..times).map(|_| make_jwt(&name, &claims)).collect::<Result<Vec<_>, _>>()?)
            }
            _ => {
                let handle = make_jwt(&name, &claims)?;
                input["credential"] = json!(handle);
                let told = told(http::send(&request(&input))?);
                json!({"handle": handle, "told": told})
            }
        };
        Ok(page(output))
    }
}

guest!(Guest);
