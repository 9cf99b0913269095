//! Reads a packed answer piece by piece, as much of it as there is.

use wharfage_guests::{get, http, page};

wharfage_guests::attack!(_input => {
    let opened = http::open(&get("{api}/gzip"))?;
    while !opened.body.read(u32::MAX)?.is_empty() {}
    Ok(page("null"))
});
