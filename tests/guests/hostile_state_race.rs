//! Many of it keep values at once, to get past the limit together; then it counts.

use wharfage_guests::{json, page, read_input, state};

wharfage_guests::attack!(input => {
    let input = read_input(&input)?;
    if input["count"].as_bool() == Some(true) {
        return Ok(page(json!({"within the limit": state::keys("")?.len() <= 100})));
    }
    for number in 0..50 {
        let _ = state::set(&format!("{} {number}", input["who"]), b"x");
    }
    Ok(page("null"))
});
