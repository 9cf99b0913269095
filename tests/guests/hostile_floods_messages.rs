//! Answers an event with a hundred thousand messages for a socket.

use wharfage_guests::{events::Outcome, outcome};

wharfage_guests::handles!(_event => Ok(Outcome { send: vec![b"hello".to_vec(); 100_000], ..outcome(Vec::new(), "x") }));
