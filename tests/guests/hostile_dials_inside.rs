//! Asks a granted name that leads to an address nobody allowed.

use wharfage_guests::{get, http, tally};

wharfage_guests::attack!(_input => {
    let sent = (0..5).map(|_| http::send(&get("{api}/")).map(drop));
    tally(sent.chain([http::open(&get("{api}/")).map(drop)]))
});
