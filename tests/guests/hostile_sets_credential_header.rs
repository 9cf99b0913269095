//! Sets every header that belongs to the host, one request each, and answers which of them went through.

use wharfage_guests::{
    Error, Header, Operation, Operations, Page, Value, guest, http, page, read, read_input, request,
};

struct Guest;

impl Operations for Guest {
    fn describe() -> Vec<Operation> {
        vec![read("try")]
    }

    fn call(_: String, input: String, _: Option<String>) -> Result<Page, Error> {
        let input = read_input(&input)?;
        let passed: Vec<Value> = input["headers"]
            .as_array()
            .into_iter()
            .flatten()
            .filter(|pair| {
                let text = |index: usize| pair[index].as_str().unwrap_or_default().to_owned();
                let header = Header { name: text(0), value: text(1) };
                http::send(&http::Request { headers: vec![header], ..request(&input) }).is_ok()
            })
            .cloned()
            .collect();
        Ok(page(Value::from(passed)))
    }
}

guest!(Guest);
