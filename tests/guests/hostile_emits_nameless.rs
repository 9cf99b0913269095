//! Emits an event without a key.

use wharfage_guests::{emission, outcome};

wharfage_guests::handles!(_event => Ok(outcome(vec![emission("", "{}".to_owned())], "x")));
