//! Panics when it is asked what it can do.

wharfage_guests::describes!(panic!("\u{1b}[2J"));
