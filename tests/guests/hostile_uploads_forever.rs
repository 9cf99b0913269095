//! Writes a body that does not end.

use wharfage_guests::get;
use wharfage_guests::http::{self, Method, Request};

wharfage_guests::attack!(_input => {
    let upload = http::start(&Request { method: Method::Post, ..get("{api}/") }, None)?;
    let piece = vec![b'x'; 256 << 10];
    loop {
        upload.write(&piece)?;
    }
});
