//! Never comes back from `handle`.

use std::hint::black_box;

wharfage_guests::handles!(event => {
    let mut rounds = event.id.len() as u64;
    loop {
        rounds = black_box(rounds.wrapping_add(1));
    }
});
