//! Where secrets live: one file per vault, asked in the order of a chain.
//!
//! A value leaves this folder only as [`Zeroizing`](zeroize::Zeroizing) text towards `outbound/sign.rs` and the keyed
//! hashes, and every value that leaves is first told to the [`Mask`](crate::mask::Mask), which keeps it out of
//! whatever goes back. Nothing here has a `Debug` that shows one.

mod chain;
mod env;
mod env_file;
mod exec;
mod file;
mod known;
mod own;
mod ring;
mod sealed;
mod secrets;
mod source;
mod versions;

pub(crate) use env::variable;
#[cfg(unix)]
pub use sealed::KeyChange;
pub(crate) use sealed::Sealed;
pub(crate) use secrets::{Granted, SecretsContext};
pub use secrets::{SecretSlot, SecretState, Secrets};

/// Most bytes of a secret.
pub(crate) const SECRET_BYTES_MAX: usize = 64 << 10;
