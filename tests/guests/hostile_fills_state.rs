//! Keeps values until it may keep no more, and then goes on trying.

use wharfage_guests::{state, tally};

wharfage_guests::attack!(_input => {
    let large = state::set("one that is too large", &vec![7; 2 << 20]);
    tally([large].into_iter().chain((0..1_500).map(|number: u32| state::set(&number.to_string(), &[7; 500]))))
});
