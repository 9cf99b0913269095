//! Emits an event whose key is a megabyte.

use wharfage_guests::{emission, outcome};

wharfage_guests::handles!(_event => Ok(outcome(vec![emission(&"k".repeat(1 << 20), "{}".to_owned())], "x")));
