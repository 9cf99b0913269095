//! Describes texts by patterns that take for ever to compile, or to match.

use wharfage_guests::{Operation, read};

wharfage_guests::describes!({
    let field = |pattern: &str| {
        format!("{{\"type\":\"object\",\"properties\":{{\"text\":{{\"type\":\"string\",\"pattern\":\"{pattern}\"}}}}}}")
    };
    vec![
        Operation { input_schema: field("^(a+)+$"), ..read("backtracks") },
        Operation { input_schema: field("((((a{99}){99}){99}){99})"), ..read("repeats") },
        Operation { input_schema: field("(?=a)b"), ..read("looks-around") },
    ]
});
