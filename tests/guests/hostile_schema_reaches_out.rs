//! Describes its input by a schema that lies elsewhere.

use wharfage_guests::{Operation, read};

wharfage_guests::describes!({
    let from = |place: &str| format!("{{\"$ref\":\"{place}\"}}");
    vec![
        Operation { input_schema: from("http://127.0.0.1:22/schema.json"), ..read("loopback") },
        Operation { input_schema: from("file:///etc/passwd"), ..read("file") },
        Operation { input_schema: from("https://json-schema.org/draft/2020-12/schema"), ..read("known") },
    ]
});
