//! Answers what the test says, whatever the schema of the operation promises.

use wharfage_guests::{Error, Operation, Operations, Page, guest, http, list, page, read, read_input, request};

struct Guest;

const ORDER: &str = r##"{
    "type": "object",
    "required": ["id"],
    "properties": {
        "id": {"type": "string"},
        "total": {"$ref": "#/$defs/money"},
        "status": {"enum": ["open", "closed"]},
        "at": {"type": ["string", "null"], "format": "date-time"},
        "lines": {"type": "array", "maxItems": 3, "items": {"type": "object", "properties": {"sku": {"type": "string"}}}}
    },
    "$defs": {"money": {"type": "object", "properties": {"amount": {"type": "string"}}, "required": ["amount"]}}
}"##;

impl Operations for Guest {
    fn describe() -> Vec<Operation> {
        let told = |operation: Operation| Operation { output_schema: ORDER.to_owned(), ..operation };
        vec![told(read("order.get")), told(list("orders.list")), told(read("order.fetch")), read("anything")]
    }

    fn call(operation: String, input: String, _: Option<String>) -> Result<Page, Error> {
        let input = read_input(&input)?;
        if operation == "order.fetch" {
            let response = http::send(&request(&input))?;
            return Ok(page(String::from_utf8_lossy(&response.body)));
        }
        // As text, so that a test chooses every digit.
        Ok(page(input["answer"].as_str().unwrap_or("null")))
    }
}

guest!(Guest);
