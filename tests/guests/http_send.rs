//! Sends the one request that its input describes, and answers what came back or the host's error as it is.

use wharfage_guests::{Error, Operation, Operations, Page, guest, http, page, read, read_input, request, told, write};

struct Guest;

impl Operations for Guest {
    fn describe() -> Vec<Operation> {
        vec![read("send"), write("write")]
    }

    fn call(_: String, input: String, _: Option<String>) -> Result<Page, Error> {
        http::send(&request(&read_input(&input)?)).map(|response| page(told(response)))
    }
}

guest!(Guest);
