//! Describes its input by itself, in circles.

use wharfage_guests::{Operation, read};

wharfage_guests::describes!({
    let schema = |text: &str| text.to_owned();
    vec![
        Operation { input_schema: schema("{\"$ref\":\"#\"}"), ..read("itself") },
        Operation {
            input_schema: schema(
                "{\"$ref\":\"#/$defs/a\",\"$defs\":{\"a\":{\"allOf\":[{\"$ref\":\"#/$defs/b\"}]},\"b\":{\"anyOf\":[{\"$ref\":\"#/$defs/a\"}]}}}",
            ),
            ..read("in-turns")
        },
    ]
});
