//! Describes its input so that checking it takes twice as long with each of forty lines.

use wharfage_guests::{Operation, read};

wharfage_guests::describes!({
    let level = |number: u32| {
        let next = format!("{{\"$ref\":\"#/$defs/d{}\"}}", number + 1);
        format!(
            "\"d{number}\":{{\"anyOf\":[{{\"allOf\":[{next},{{\"not\":{{}}}}]}},{{\"allOf\":[{next},{{\"not\":{{}}}}]}}]}}"
        )
    };
    let levels: Vec<String> = (0..40).map(level).collect();
    let input_schema = format!("{{\"$ref\":\"#/$defs/d0\",\"$defs\":{{{},\"d40\":{{}}}}}}", levels.join(","));
    vec![Operation { input_schema, ..read("attack") }]
});
