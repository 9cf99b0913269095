//! Answers a million brackets.

use wharfage_guests::page;

wharfage_guests::attack!(_input => {
    const DEPTH: usize = 1_000_000;
    Ok(page("[".repeat(DEPTH) + &"]".repeat(DEPTH)))
});
