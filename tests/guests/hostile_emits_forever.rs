//! Has always more to tell, and moves its cursor each time.

use wharfage_guests::events::Outcome;
use wharfage_guests::{emission, outcome};

wharfage_guests::handles!(event => {
    let count: u64 = event.cursor.and_then(|cursor| cursor.parse().ok()).unwrap_or(0) + 1;
    let key = count.to_string();
    Ok(Outcome { more: true, ..outcome(vec![emission(&key, "{}".to_owned())], &key) })
});
