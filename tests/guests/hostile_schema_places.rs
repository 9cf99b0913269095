//! Describes its input by nineteen thousand schemas below one long name.

use wharfage_guests::{Operation, read};

wharfage_guests::describes!({
    let fields: Vec<String> = (0..19_000).map(|at| format!("\"{at}\":{{}}")).collect();
    let below = format!("{{\"properties\":{{{}}}}}", fields.join(","));
    let input_schema = format!("{{\"properties\":{{\"{}\":{below}}}}}", "~".repeat(600_000));
    vec![Operation { input_schema, ..read("attack") }]
});
