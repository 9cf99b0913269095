//! Sends the request that its input describes, and finds an error in every answer whose body begins with `error`, whatever
//! its status is.

use wharfage_guests::{
    Error, ErrorKind, Operation, Operations, Page, error, guest, http, page, read, read_input, request, told,
};

struct Guest;

impl Operations for Guest {
    fn describe() -> Vec<Operation> {
        vec![read("send")]
    }

    fn call(_: String, input: String, _: Option<String>) -> Result<Page, Error> {
        let response = http::send(&request(&read_input(&input)?))?;
        if response.body.starts_with(b"error") {
            return Err(error(ErrorKind::ProviderReported, "the provider reported an error in a good answer"));
        }
        Ok(page(told(response)))
    }
}

guest!(Guest);
