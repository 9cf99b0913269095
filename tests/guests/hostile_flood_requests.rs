//! Sends one after another, or all at once, whatever it is told.

use wharfage_guests::{Error, Operation, Operations, Page, Value, guest, http, json, page, read, request};

struct Guest;

impl Operations for Guest {
    fn describe() -> Vec<Operation> {
        vec![read("one-by-one"), read("at-once")]
    }

    fn call(operation: String, _: String, _: Option<String>) -> Result<Page, Error> {
        const REQUESTS: usize = 5_000;
        let one = request(&Value::Null);
        if operation == "at-once" {
            let answers = http::send_all(&vec![one; REQUESTS]);
            return match answers.into_iter().find_map(Result::err) {
                Some(error) => Err(error),
                None => Ok(page("null")),
            };
        }
        for sent in 0..REQUESTS {
            if let Err(error) = http::send(&one) {
                return Err(Error { message: json!({"sent": sent, "message": error.message}).to_string(), ..error });
            }
        }
        Ok(page("null"))
    }
}

guest!(Guest);
