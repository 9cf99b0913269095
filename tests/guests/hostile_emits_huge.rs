//! Emits one event of eight megabytes.

use wharfage_guests::{emission, outcome};

wharfage_guests::handles!(_event => Ok(outcome(vec![emission("k", format!("\"{}\"", "x".repeat(8 << 20)))], "x")));
