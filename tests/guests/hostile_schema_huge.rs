//! Describes its input in two megabytes.

use wharfage_guests::{Operation, read};

wharfage_guests::describes!({
    let fields: Vec<String> = (0..100_000).map(|number| format!("\"f{number}\":{{}}")).collect();
    vec![Operation {
        input_schema: format!("{{\"type\":\"object\",\"properties\":{{{}}}}}", fields.join(",")),
        ..read("attack")
    }]
});
