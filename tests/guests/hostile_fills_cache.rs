//! Has large answers kept for ever, each under another name.

use wharfage_guests::http::{self, Keep, Request};
use wharfage_guests::{get, tally};

wharfage_guests::attack!(_input => {
    tally((0..64).map(|number| http::send(&Request { keep: Keep::Immutable, ..get(&format!("{{api}}/{number}")) })))
});
