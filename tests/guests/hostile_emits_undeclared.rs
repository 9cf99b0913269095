//! Emits an event of a type that nobody declared, with a name that moves the cursor of a terminal.

use wharfage_guests::{emission, events::Emission, outcome};

wharfage_guests::handles!(_event => {
    let event_type = "\u{1b}[2Jthing.seen".to_owned();
    Ok(outcome(vec![Emission { event_type, ..emission("k", "{}".to_owned()) }], "x"))
});
