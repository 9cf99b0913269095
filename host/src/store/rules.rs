//! The rules that processes which share a store live by. Pure, so that a model can go over every order of events with
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

/// How much further ahead than anybody could have asked for a stored time may lie: more than two clocks of one machine
/// differ, and than a hold that was longer before a reload.
pub(crate) const AHEAD_MS: u64 = 600_000;

/// How far ahead the next try of an event may be put off: a day.
pub(crate) const PUT_OFF_MS_MAX: u64 = 86_400_000;

/// The last time that is believed where nobody asks for a later one than `latest` now. A clock that was ahead wrote down
/// what lies beyond it: nobody waits for as long as that clock was wrong.
pub(crate) fn believed(latest: Timestamp) -> Timestamp {
    latest.plus(AHEAD_MS)
}

/// When what is held until `ends` is over, for one who would hold it until `until`. An end that is not believed comes
/// down to that, and is written down so: a holder that lives goes on holding it, on its own clock, and a dead one makes
/// room then.
pub(crate) fn ends_at(ends: Timestamp, until: Timestamp) -> Timestamp {
    if ends > believed(until) { until } else { ends }
}
