//! Sends credentials to where they do not belong, and tokens that were never made.

use wharfage_guests::http::{self, Credential, Request};
use wharfage_guests::{get, tally};

wharfage_guests::attack!(_input => {
    let names = ["key", "bearer", "pair", "in-query", "jwt:1", "jwt:0", "api_key", "", "KEY"];
    let send = |url: &str, name: &str| {
        http::send(&Request { credential: Credential::Named(name.to_owned()), ..get(url) }).map(drop)
    };
    let elsewhere = names.map(|name| send("{other}/", name));
    let unknown = ["jwt:1", "jwt:18446744073709551616", "no-such"].map(|name| send("{api}/", name));
    tally(elsewhere.into_iter().chain(unknown))
});
