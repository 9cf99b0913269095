//! Does to its connection's state what its input says: `set`, `get`, `delete` or `keys`.

use wharfage_guests::{Error, Operation, Operations, Page, bytes, guest, json, page, read, read_input, state, text};

struct Guest;

impl Operations for Guest {
    fn describe() -> Vec<Operation> {
        vec![read("set"), read("get"), read("delete"), read("keys")]
    }

    fn call(operation: String, input: String, _: Option<String>) -> Result<Page, Error> {
        let input = read_input(&input)?;
        let key = text(&input, "key").unwrap_or_default();
        let output = match operation.as_str() {
            "set" => json!(state::set(&key, &bytes(&input, "value"))?),
            "get" => json!(state::get(&key)?.map(|value| String::from_utf8_lossy(&value).into_owned())),
            "delete" => json!(state::delete(&key)?),
            _ => json!(state::keys(&key)?),
        };
        Ok(page(output))
    }
}

guest!(Guest);
