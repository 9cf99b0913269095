//! Takes memory while it only should say what it can do.

use std::hint::black_box;

wharfage_guests::describes!({
    let mut hoard: Vec<Vec<u8>> = Vec::new();
    loop {
        hoard.push(black_box(vec![1; 1 << 20]));
    }
});
