//! Begins one request after another and ends none.

use wharfage_guests::get;
use wharfage_guests::http::{self, Method, Request};

wharfage_guests::attack!(_input => {
    let mut hoard = Vec::new();
    loop {
        match http::start(&Request { method: Method::Post, ..get("{api}/") }, None) {
            Ok(upload) => hoard.push(upload),
            Err(error) => {
                std::mem::forget(hoard);
                return Err(error);
            }
        }
    }
});
