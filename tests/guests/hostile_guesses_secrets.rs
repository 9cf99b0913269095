//! Guesses the names of secrets, for every use there is, and answers all the different things it was told.

use std::collections::BTreeSet;

use wharfage_guests::http::{self, Credential, Request};
use wharfage_guests::secrets::{Algorithm, is_available, make_jwt, sign, verify, verify_jwt};
use wharfage_guests::{get, json, page};

wharfage_guests::attack!(_input => {
    // The first two are there, and not granted.
    let names = [
        "api_key", "user", "API_KEY", "password", "aws_secret_access_key", "../api_key", "*", "", "acme/api_key", "GITHUB_TOKEN",
        "/etc/shadow", "env:HOME", "key",
    ];
    let mut told = BTreeSet::new();
    for name in names {
        told.insert(format!("available: {}", is_available(name)));
        for (what, answer) in [
            ("sign", sign(name, Algorithm::HmacSha256, b"data").map(drop)),
            ("verify", verify(name, Algorithm::HmacSha256, b"data", b"mac").map(drop)),
            ("make", make_jwt(name, "{}").map(drop)),
            ("check", verify_jwt(name, "a.b.c").map(drop)),
            ("send", http::send(&Request { credential: Credential::Named(name.to_owned()), ..get("{other}/") }).map(drop)),
        ] {
            let said = answer.map_or_else(|error| error.message.replace(&format!("`{name}`"), "it"), |()| "passed".to_owned());
            told.insert(format!("{what}: {said}"));
        }
    }
    Ok(page(json!(told)))
});
