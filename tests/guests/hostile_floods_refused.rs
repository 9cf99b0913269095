//! Asks without end for what it may not have, another thing each time.

use wharfage_guests::{get, http};

wharfage_guests::attack!(_input => {
    for number in 0_u64.. {
        let _ = http::send(&get(&format!("https://n{number}.attacker.test/{number}")));
    }
    unreachable!("there is always another number")
});
