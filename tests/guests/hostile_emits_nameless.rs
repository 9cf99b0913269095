//! Emits an event without a key, and one whose key is a megabyte.

use wharfage_guests::{emission, outcome};

wharfage_guests::handles!(event => {
    let key = if event.cursor.is_some() { "k".repeat(1 << 20) } else { String::new() };
    Ok(outcome(vec![emission(&key, "{}".to_owned())], "x"))
});
