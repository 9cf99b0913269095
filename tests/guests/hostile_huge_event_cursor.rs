//! Keeps a megabyte in the cursor of a poll.

wharfage_guests::handles!(_event => Ok(wharfage_guests::outcome(Vec::new(), &"c".repeat(1 << 20))));
