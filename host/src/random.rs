//! Random bytes: keys, names and everything that nobody may guess come from the operating system's generator, through here.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::{Error, Result};
use crate::hex::hex;

/// Fills this with random bytes.
///
/// # Errors
/// [`Kind::Internal`](crate::Kind::Internal) when the operating system gives none.
pub(crate) fn fill(bytes: &mut [u8]) -> Result<()> {
    getrandom::fill(bytes).map_err(|_| Error::internal("the operating system gave no random bytes"))
}

/// So many random bytes.
///
/// # Errors
/// As for [`fill`].
pub(crate) fn bytes<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    fill(&mut bytes)?;
    Ok(bytes)
}

/// 128 random bits as hexadecimal digits: what is named so, nobody else has named.
///
/// # Errors
/// As for [`fill`].
pub(crate) fn name() -> Result<String> {
    bytes::<16>().map(|bytes| hex(&bytes))
}

/// A number unlike any other that was given out, to tell things apart. It keeps nothing secret: whoever has seen some can
/// guess others.
pub(crate) fn unlike() -> u64 {
    static START: OnceLock<u64> = OnceLock::new();
    static COUNT: AtomicU64 = AtomicU64::new(1);
    const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
    let start = *START.get_or_init(|| bytes().map(u64::from_le_bytes).unwrap_or(STEP));
    // SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014) over a counter.
    loop {
        let mut mixed = start.wrapping_add(COUNT.fetch_add(1, Ordering::Relaxed).wrapping_mul(STEP));
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        if mixed != 0 {
            return mixed;
        }
    }
}
