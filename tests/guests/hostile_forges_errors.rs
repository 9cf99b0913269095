//! Fails in the host's own words, at length, with escapes, and with the largest numbers there are.

use wharfage_guests::{Error, ErrorKind, RequestSent, error};

wharfage_guests::attack!(_input => {
    let long = format!("\u{1b}[2J\u{7}\r\nforged: {}", "x".repeat(1 << 20));
    Err(Error {
        retry_at: Some(u64::MAX),
        request_sent: RequestSent::Yes,
        status: Some(u16::MAX),
        provider_code: Some(long.clone()),
        request_id: Some(long.clone()),
        endpoint: Some(long.clone()),
        body: Some(long.clone()),
        attempts: u32::MAX,
        ..error(ErrorKind::LimitExceeded(long.clone()), &long)
    })
});
