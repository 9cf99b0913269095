//! Sends more than the host lets out, in every part of a request.

use wharfage_guests::http::{self, Method, Request};
use wharfage_guests::{Header, get, tally};

wharfage_guests::attack!(_input => {
    let header = |name: String, bytes| Header { name, value: "x".repeat(bytes) };
    let requests = [
        Request { method: Method::Post, body: Some(vec![b'x'; (8 << 20) + 1]), ..get("{api}/") },
        get(&format!("{{api}}/{}", "x".repeat(8_192))),
        Request { headers: (0..101).map(|number| header(format!("x-{number}"), 1)).collect(), ..get("{api}/") },
        Request { headers: vec![header("x-a".to_owned(), 33 << 10)], ..get("{api}/") },
        Request { headers: vec![header("x".repeat(33 << 10), 1)], ..get("{api}/") },
    ];
    tally(requests.iter().map(http::send))
});
