//! Has the provider send it elsewhere: inside, in circles, down to plain text, and to what is no place.

use wharfage_guests::http::{self, Method, Request};
use wharfage_guests::{get, tally};

wharfage_guests::attack!(_input => {
    let places = (0..14).map(|place| http::send(&get(&format!("{{api}}/to/{place}"))).map(drop));
    let write = Request { method: Method::Post, body: Some(b"secret".to_vec()), ..get("{api}/kept") };
    tally(places.chain([http::send(&write).map(drop), http::send(&get("{api}/round")).map(drop)]))
});
