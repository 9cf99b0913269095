//! Reads and writes its state without end.

use wharfage_guests::state;

wharfage_guests::attack!(_input => loop {
    let _ = state::set("a", &[7; 64]);
    let _ = state::get("a");
    let _ = state::keys("");
    let _ = state::delete("a");
});
