//! Has large answers kept for ever, each under another name, or asks again for the last of them and for the first.

use wharfage_guests::http::{self, Keep, Request};
use wharfage_guests::{get, read_input, tally};

wharfage_guests::attack!(input => {
    let again = read_input(&input)?["again"].as_bool() == Some(true);
    let numbers: Vec<u32> = if again { vec![63, 0] } else { (0..64).collect() };
    let sent = |number: u32| http::send(&Request { keep: Keep::Immutable, ..get(&format!("{{api}}/{number}")) });
    tally(numbers.into_iter().map(sent))
});
