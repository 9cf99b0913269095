//! Has signed and checked without end, a message a time.

use wharfage_guests::secrets::{Algorithm, is_available, sign, verify};

wharfage_guests::attack!(_input => {
    let mut guess = [0; 32];
    for round in 0_u64.. {
        let _ = sign("signing", Algorithm::HmacSha256, format!("data {round}").as_bytes());
        guess[..8].copy_from_slice(&round.to_le_bytes());
        let _ = verify("verifying", Algorithm::HmacSha256, b"data", &guess);
        let _ = is_available("no-such");
    }
    unreachable!("there is always another number")
});
