//! Gives 0, 1 and the largest number wherever the host takes one.

use wharfage_guests::http::{self, Cost, Keep, Request};
use wharfage_guests::rate_limit::{Feedback, acquire, report};
use wharfage_guests::{get, tally};

wharfage_guests::attack!(_input => {
    let mut tries = Vec::new();
    for number in [0, 1, u32::MAX] {
        let cost = |bucket: &str| Cost { bucket: bucket.to_owned(), units: number };
        let send = |request| http::send(&request).map(drop);
        tries.push(send(Request { timeout_ms: Some(number), ..get("{api}/") }));
        tries.push(send(Request { keep: Keep::Seconds(number), ..get("{api}/") }));
        tries.push(send(Request { costs: vec![cost("credits")], ..get("{api}/") }));
        tries.push(send(Request { costs: vec![cost("no-such"); 2], ..get("{api}/") }));
        tries.push(http::open(&get("{api}/")).and_then(|opened| opened.body.read(number).map(drop)));
        tries.push(acquire("credits", number));
        let (bucket, blocked_until) = (Some("credits".to_owned()), Some(u64::from(number)));
        tries.push(report(&Feedback { bucket, blocked_until, remaining: Some(u32::MAX) }));
    }
    for length in [0, 1, u64::MAX] {
        let request = Request { method: http::Method::Post, ..get("{api}/") };
        tries.push(http::start(&request, Some(length)).and_then(http::Upload::finish).map(drop));
    }
    tally(tries)
});
