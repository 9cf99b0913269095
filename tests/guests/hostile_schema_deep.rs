//! Describes its input in a schema a hundred thousand levels deep.

use wharfage_guests::{Operation, read};

wharfage_guests::describes!({
    const DEPTH: usize = 100_000;
    vec![Operation { input_schema: "{\"not\":".repeat(DEPTH) + "{}" + &"}".repeat(DEPTH), ..read("attack") }]
});
