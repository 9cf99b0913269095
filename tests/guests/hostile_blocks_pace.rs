//! Tells the host that its provider takes nothing more until the end of time, and then sends a request.

use wharfage_guests::rate_limit::{Feedback, report};
use wharfage_guests::{get, http, page};

wharfage_guests::attack!(_input => {
    report(&Feedback { bucket: None, blocked_until: Some(u64::MAX), remaining: Some(0) })?;
    report(&Feedback { bucket: Some("credits".to_owned()), blocked_until: Some(0), remaining: Some(u32::MAX) })?;
    http::send(&get("{api}/"))?;
    Ok(page("null"))
});
