//! Says another thing each time it is asked.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;

use wharfage_guests::read;

wharfage_guests::describes!(vec![read(&format!("n{}", RandomState::new().hash_one(1)))]);
