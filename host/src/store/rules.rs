//! The two rules that processes which share a store live by. Pure, so that a model can go over every order of events with
//! them (`outbound/session/model.rs`); a store in SQL says the same in SQL, and the contract's tests hold it to that.

use crate::time::Timestamp;

/// Whether a record may be written: only by who has seen the version that is there.
pub(crate) fn may_write(there: u64, expected: u64) -> bool {
    there == expected
}

/// Whether a lease may be taken: it is free, it has ended, or it is the holder's own.
pub(crate) fn may_hold(held: Option<(&str, Timestamp)>, holder: &str, now: Timestamp) -> bool {
    held.is_none_or(|(other, until)| other == holder || until <= now)
}
