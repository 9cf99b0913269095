//! Sends all requests of its input side by side and answers, in their order, each answer or the name of its error.

use wharfage_guests::{
    Error, Operation, Operations, Page, Value, guest, http, json, page, read, read_input, request, told,
};

struct Guest;

impl Operations for Guest {
    fn describe() -> Vec<Operation> {
        vec![read("send-all")]
    }

    fn call(_: String, input: String, _: Option<String>) -> Result<Page, Error> {
        let input = read_input(&input)?;
        let requests: Vec<_> = input["requests"].as_array().into_iter().flatten().map(request).collect();
        let answers: Vec<Value> = http::send_all(&requests)
            .into_iter()
            .map(|answer| match answer {
                Ok(response) => told(response),
                Err(error) => json!({"error": format!("{:?}", error.kind), "message": error.message}),
            })
            .collect();
        Ok(page(Value::from(answers)))
    }
}

guest!(Guest);
