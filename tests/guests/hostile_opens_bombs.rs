//! Asks for answers that are small on the way and large when they are here, or that never end.

use wharfage_guests::{get, http, tally};

wharfage_guests::attack!(_input => {
    let bombs = ["gzip", "layers", "unknown", "endless", "declared", "heads", "long-head"];
    tally(bombs.map(|bomb| http::send(&get(&format!("{{api}}/{bomb}")))))
});
