//! Emits a thousand events that all have one key, each with another content.

use wharfage_guests::{emission, outcome};

wharfage_guests::handles!(_event => {
    Ok(outcome((0..1_000).map(|number: u32| emission("the same", number.to_string())).collect(), "x"))
});
