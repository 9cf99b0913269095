//! Emits a hundred thousand events at once.

use wharfage_guests::{emission, outcome};

wharfage_guests::handles!(_event => {
    Ok(outcome((0..100_000).map(|number: u32| emission(&number.to_string(), "{}".to_owned())).collect(), "x"))
});
