//! Random bytes: keys, names and everything that nobody may guess come from the operating system's generator, through here.

use crate::error::{Error, Result};
use crate::hex::hex;

/// Fills this with random bytes.
///
/// # Errors
/// [`Kind::Internal`](crate::Kind::Internal) when the operating system gives none.
pub(crate) fn fill(bytes: &mut [u8]) -> Result<()> {
    aws_lc_rs::rand::fill(bytes).map_err(|_| Error::internal("the operating system gave no random bytes"))
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
