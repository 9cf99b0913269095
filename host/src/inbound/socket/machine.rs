//! When a socket is opened, kept and given up: decisions only, on a clock that is told.
//!
//! The guide's client opens a socket anew at once when it was closed in an orderly way: 978 times in three seconds. Here
//! every end is followed by a wait, which doubles, and only a socket that has proven itself (it was open for long enough,
//! or said something) is waited for as shortly as the first time. Jitter only shortens a wait between its own bounds, so
//! that it leads neither below the least nor over the most (the guide's leads over it).

use crate::time::Timestamp;

/// Waits, and what closes mean.
#[derive(Clone, Debug)]
pub(super) struct Pace {
    /// The shortest wait.
    pub(super) wait_ms_min: u64,
    /// The longest wait.
    pub(super) wait_ms_max: u64,
    /// How long it is open until it counts as stable.
    pub(super) stable_ms: u64,
    /// Codes after which it stays closed.
    pub(super) stop_codes: Vec<u16>,
    /// Codes that mean the credential ended.
    pub(super) sign_in_codes: Vec<u16>,
}

/// Where a socket stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// It is being opened.
    Connecting,
    /// It is open since then.
    Open(Timestamp),
    /// It is opened again at that time.
    Backoff(Timestamp),
    /// It stays closed.
    Closed(Why),
}

/// Why a socket stays closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// What it wants is not granted.
    Refused,
    /// The provider said so, by this code.
    Told(u16),
    /// The provider does not take the credential, and said so by this code.
    SignIn(u16),
}

/// How an attempt or an open socket came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// It was closed, with a code where one was given.
    Closed(Option<u16>),
    /// It broke, or was not opened. Not before that time, where the provider named one.
    Lost(Option<Timestamp>),
    /// It was not opened, and what keeps it from being so does not pass by itself.
    Kept,
    /// Nothing but another configuration can help.
    Refused,
}

/// What follows an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Next {
    /// Whether the credential is to be renewed before it is opened again.
    pub(super) signs_in: bool,
}

/// A service that is restarted or overloaded is left alone for this long, and up to that (RFC 6455's registry: a random
/// 5 to 30 seconds).
const REST_MS: (u64, u64) = (5_000, 30_000);

/// A socket's state, and what it remembers of earlier ends.
#[derive(Clone, Debug)]
pub(super) struct Machine {
    pace: Pace,
    state: State,
    /// Ends in a row without a proof that it can be otherwise.
    ends: u32,
    /// Whether the credential was renewed since then.
    has_signed_in: bool,
}

impl Machine {
    pub(super) fn new(pace: Pace) -> Self {
        Self { pace, state: State::Connecting, ends: 0, has_signed_in: false }
    }

    pub(super) fn state(&self) -> &State {
        &self.state
    }

    /// A wait is over.
    pub(super) fn connecting(&mut self) {
        self.state = State::Connecting;
    }

    /// It is open, which proves nothing yet.
    pub(super) fn opened(&mut self, now: Timestamp) {
        self.state = State::Open(now);
    }

    /// A message came that the plugin gets.
    pub(super) fn heard(&mut self) {
        self.ends = 0;
        self.has_signed_in = false;
    }

    /// It ended. `die` is from -1 to 1.
    pub(super) fn ended(&mut self, now: Timestamp, end: End, die: f64) -> Next {
        if let State::Open(since) = self.state
            && now.since(since) >= self.pace.stable_ms
        {
            self.heard();
        }
        self.ends = self.ends.saturating_add(1);
        let share = ((die + 1.0) / 2.0).clamp(0.0, 1.0);
        let waited = now.plus(self.wait_ms(share));
        let at = match end {
            End::Refused => {
                self.state = State::Closed(Why::Refused);
                return Next { signs_in: false };
            }
            End::Closed(Some(code)) if self.pace.stop_codes.contains(&code) => {
                self.state = State::Closed(Why::Told(code));
                return Next { signs_in: false };
            }
            End::Closed(Some(code)) if self.pace.sign_in_codes.contains(&code) => {
                if std::mem::replace(&mut self.has_signed_in, true) {
                    self.state = State::Closed(Why::SignIn(code));
                    return Next { signs_in: false };
                }
                self.state = State::Backoff(waited);
                return Next { signs_in: true };
            }
            End::Closed(Some(1012 | 1013)) => {
                let rest_ms = between(REST_MS.0, REST_MS.1, share);
                waited.max(now.plus(rest_ms.min(self.pace.wait_ms_max)))
            }
            End::Kept => now.plus(between(self.pace.wait_ms_max / 2, self.pace.wait_ms_max, share)).max(waited),
            End::Lost(Some(not_before)) => waited.max(not_before),
            End::Closed(_) | End::Lost(None) => waited,
        };
        self.state = State::Backoff(at);
        Next { signs_in: false }
    }

    /// The credential cannot be renewed: what the provider wanted will not happen.
    pub(super) fn cannot_sign_in(&mut self, code: u16) {
        self.state = State::Closed(Why::SignIn(code));
    }

    /// Between half of a span that doubles with each end and all of it.
    fn wait_ms(&self, share: f64) -> u64 {
        let Pace { wait_ms_min, wait_ms_max, .. } = self.pace;
        let factor = 2u64.checked_pow(self.ends).unwrap_or(u64::MAX);
        let most = wait_ms_min.saturating_mul(factor).min(wait_ms_max);
        between((most / 2).max(wait_ms_min), most, share)
    }
}

/// So far on the way from one to the other.
fn between(least: u64, most: u64, share: f64) -> u64 {
    #[expect(clippy::cast_precision_loss, reason = "a wait needs no more than a double's 53 bits")]
    let way = most.saturating_sub(least) as f64 * share;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "neither negative nor beyond u64")]
    let way = way as u64;
    least.saturating_add(way)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_000_000);

    fn machine() -> Machine {
        Machine::new(Pace {
            wait_ms_min: 1_000,
            wait_ms_max: 60_000,
            stable_ms: 30_000,
            stop_codes: vec![4003],
            sign_in_codes: vec![4401],
        })
    }

    fn waits(machine: &Machine, now: Timestamp) -> u64 {
        match machine.state() {
            State::Backoff(at) => at.since(now),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn waits_double_from_the_least_to_the_most() {
        for (die, expected) in [
            (1.0, [2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000]),
            (-1.0, [1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]),
        ] {
            let mut machine = machine();
            for wait_ms in expected {
                machine.ended(NOW, End::Lost(None), die);
                assert_eq!(waits(&machine, NOW), wait_ms);
            }
        }
    }

    /// The guide sets its wait back as soon as it is connected, so a server that takes and drops is asked for ever in the
    /// shortest time; and after a clean close it does not wait at all.
    #[test]
    fn guide_s07_being_open_for_a_moment_proves_nothing() {
        let mut machine = machine();
        let mut now = NOW;
        let mut all = Vec::new();
        for _ in 0..8 {
            machine.connecting();
            machine.opened(now);
            now = now.plus(29_999);
            machine.ended(now, End::Closed(Some(1000)), -1.0);
            all.push(waits(&machine, now));
        }
        assert_eq!(all, [1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000, 30_000]);
        machine.opened(now);
        now = now.plus(30_000);
        machine.ended(now, End::Closed(Some(1000)), -1.0);
        assert_eq!(waits(&machine, now), 1_000, "it was stable");
    }

    #[test]
    fn a_message_proves_that_it_works() {
        let mut machine = machine();
        for _ in 0..8 {
            machine.ended(NOW, End::Lost(None), -1.0);
        }
        machine.opened(NOW);
        machine.heard();
        machine.ended(NOW, End::Lost(None), -1.0);
        assert_eq!(waits(&machine, NOW), 1_000);
    }

    #[test]
    fn codes_mean_what_the_manifest_says() {
        let mut machine = machine();
        machine.opened(NOW);
        assert!(machine.ended(NOW, End::Closed(Some(4401)), 0.0).signs_in);
        assert_eq!(waits(&machine, NOW), 1_500);
        machine.opened(NOW);
        assert!(!machine.ended(NOW, End::Closed(Some(4401)), 0.0).signs_in);
        assert_eq!(machine.state(), &State::Closed(Why::SignIn(4401)), "it was renewed already");
        let mut machine = self::machine();
        machine.opened(NOW);
        machine.ended(NOW, End::Closed(Some(4401)), 0.0);
        machine.opened(NOW);
        machine.heard();
        assert!(machine.ended(NOW, End::Closed(Some(4401)), 0.0).signs_in, "that one had worked");
        let mut machine = self::machine();
        machine.ended(NOW, End::Closed(Some(4003)), 0.0);
        assert_eq!(machine.state(), &State::Closed(Why::Told(4003)));
        let mut machine = self::machine();
        machine.ended(NOW, End::Refused, 0.0);
        assert_eq!(machine.state(), &State::Closed(Why::Refused));
        for (end, wait_ms) in [
            (End::Closed(Some(1013)), 5_000),
            (End::Kept, 30_000),
            (End::Lost(Some(NOW.plus(90_000))), 90_000),
            (End::Lost(Some(NOW.plus(10))), 1_000),
            (End::Closed(None), 1_000),
            (End::Closed(Some(1008)), 1_000),
        ] {
            let mut machine = self::machine();
            machine.ended(NOW, end, -1.0);
            assert_eq!(waits(&machine, NOW), wait_ms, "{end:?}");
        }
    }

    proptest! {
        /// S23: the jitter comes before the bounds.
        #[test]
        fn guide_s23_no_die_leads_beyond_the_bounds(dice in proptest::collection::vec(-1.0f64..=1.0, 1..80)) {
            let mut machine = machine();
            for die in dice {
                machine.ended(NOW, End::Lost(None), die);
                prop_assert!((1_000..=60_000).contains(&waits(&machine, NOW)));
            }
        }
    }
}
