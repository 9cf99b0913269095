//! Reads every clock there is, over and over, for the finest step that it can see.

use std::time::{Instant, SystemTime};

use wharfage_guests::{clock, json, page};

wharfage_guests::attack!(_input => {
    const READINGS: usize = 20_000;
    let began = Instant::now();
    let mut finest_ns = u128::MAX;
    let mut see = |ns: u128| {
        if ns > 0 {
            finest_ns = finest_ns.min(ns);
        }
    };
    for _ in 0..READINGS {
        see(began.elapsed().as_nanos());
        see(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_nanos() % 1_000_000));
        see(u128::from(clock::now()) * 1_000_000);
    }
    Ok(page(json!({"finer than a millisecond": finest_ns < 1_000_000})))
});
