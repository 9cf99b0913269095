//! Answers what looks like JSON and is none.

use wharfage_guests::{page, read_input};

wharfage_guests::attack!(input => {
    let odd = ["", " ", "{", "NaN", "nul", "1 2", "{\"a\":1,}", "\"\u{0}\"", "\"\\ud800\"x", "'a'", "[1,]", "\u{feff}null", "01", "// x\nnull"];
    let which = read_input(&input)?["which"].as_u64().unwrap_or_default();
    Ok(page(odd[which as usize % odd.len()]))
});
