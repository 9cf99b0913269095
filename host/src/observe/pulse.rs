//! What calls said of late, by kind: counted in cells of 30 s over five minutes.
//!
//! A cell is one number that holds its time and its count, so counting needs no lock, loses nothing, and costs a call one
//! exchange of a number that is seldom contended.

use serde::Serialize;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::error::{Error, Kind, RequestSent};
use crate::observe::states::AnswerSource;
use crate::time::Timestamp;

/// Milliseconds after which what was seen last says nothing any more.
pub(crate) const FRESH_MS: u64 = 300_000;

/// What a probe is called in the audit trail, and how the path knows one.
pub(crate) const PROBE: &str = "(health)";

/// Milliseconds from one probe of a connection to the next.
pub(crate) const PROBE_EVERY_MS: u64 = 60_000;

/// What a call says of its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sign {
    /// The provider answered as one that is well; also where it refused what was asked for in words of its own.
    Well,
    /// It failed in a way that may pass, or gave no answer in time.
    Failing,
    /// It was asked too often.
    Limited,
    /// A quota over a long time is spent.
    Quota,
    /// It did not accept the credential.
    Refused,
    /// There is no credential.
    NoSecret,
    /// The credential may not do that.
    Forbidden,
    /// The grant does not hold what the plugin wanted.
    Denied,
    /// A limit of the host was reached.
    Limit,
    /// It answered something that it does not document.
    Odd,
    /// The plugin has a defect.
    Defect,
    /// A kept answer served in its place.
    Stale,
    /// The call took long. It is counted beside what else it says.
    Slow,
}

const SIGNS: usize = Sign::Slow as usize + 1;

/// Those that only a provider's answer, or its silence, brings about.
const SEEN: [Sign; 7] =
    [Sign::Well, Sign::Failing, Sign::Limited, Sign::Quota, Sign::Refused, Sign::Forbidden, Sign::Odd];

/// Milliseconds of a cell.
const CELL_MS: u64 = 30_000;
/// Cells of the window, and the one that is being filled.
const CELLS: u64 = FRESH_MS / CELL_MS + 1;

/// Milliseconds above which a call took long.
const SLOW_MS: u64 = 10_000;

/// What calls of one connection said of late.
#[derive(Default)]
pub(crate) struct Pulse {
    /// The upper half of a cell is its time in cells, the lower one its count.
    cells: [[AtomicU64; SIGNS]; CELLS as usize],
    last_ms: [AtomicU64; SIGNS],
    row: AtomicU32,
}

/// The same at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Traffic {
    counts: [u64; SIGNS],
    last: [Option<Timestamp>; SIGNS],
    row: u32,
}

impl Sign {
    /// What a call's end says; nothing where it never came to ask.
    pub(crate) fn of(error: &Error) -> Option<Self> {
        let has_asked = error.attempts() > 0 || error.request_sent() != RequestSent::No;
        match error.kind() {
            Kind::InvalidRequest(_)
            | Kind::NotFound
            | Kind::Conflict
            | Kind::CursorInvalid
            | Kind::ProviderReported => has_asked.then_some(Self::Well),
            Kind::Transient | Kind::Timeout | Kind::Deadline | Kind::Network(_) | Kind::OutcomeUnknown => {
                Some(Self::Failing)
            }
            Kind::RateLimited => Some(Self::Limited),
            Kind::QuotaExhausted => Some(Self::Quota),
            Kind::Unauthorized | Kind::ReauthorizationNeeded => Some(Self::Refused),
            Kind::CredentialUnavailable => Some(Self::NoSecret),
            Kind::Forbidden => Some(Self::Forbidden),
            Kind::PolicyDenied(_) => Some(Self::Denied),
            Kind::LimitExceeded(_) | Kind::Busy(_) => Some(Self::Limit),
            Kind::SchemaViolation | Kind::TooLarge => Some(Self::Odd),
            Kind::Internal(_) => Some(Self::Defect),
            // The breaker tells for itself; the others say nothing of the provider.
            Kind::CircuitOpen | Kind::UnknownOperation | Kind::Cancelled | Kind::Configuration | Kind::Component => {
                None
            }
        }
    }

    /// What an answer says: one from the cache that is still fresh says nothing, nor does one that nobody was asked for.
    pub(crate) fn of_answer(source: AnswerSource, attempts: u32) -> Option<Self> {
        match source {
            AnswerSource::Live => (attempts > 0).then_some(Self::Well),
            AnswerSource::Cache => None,
            AnswerSource::Stale => Some(Self::Stale),
        }
    }
}

impl Pulse {
    /// A call that began then is over.
    pub(crate) fn ended(&self, began: Timestamp, now: Timestamp, sign: Option<Sign>) {
        let Some(sign) = sign else { return };
        match sign {
            Sign::Failing => drop(self.row.fetch_add(1, Ordering::Relaxed)),
            Sign::Stale | Sign::Denied | Sign::Limit | Sign::NoSecret => {}
            _ => self.row.store(0, Ordering::Relaxed),
        }
        self.count(sign, now);
        if now.since(began) > SLOW_MS && SEEN.contains(&sign) {
            self.count(Sign::Slow, now);
        }
    }

    fn count(&self, sign: Sign, now: Timestamp) {
        let at = now.as_millis() / CELL_MS;
        let cell = &self.cells[(at % CELLS) as usize][sign as usize];
        let counted = |old: u64| {
            let count = if old >> 32 == at { old as u32 } else { 0 };
            Some((at << 32) | u64::from(count.saturating_add(1)))
        };
        let _ = cell.fetch_update(Ordering::Relaxed, Ordering::Relaxed, counted);
        self.last_ms[sign as usize].fetch_max(now.as_millis(), Ordering::Relaxed);
    }

    /// How it stands now.
    pub(crate) fn read(&self, now: Timestamp) -> Traffic {
        let at = now.as_millis() / CELL_MS;
        let mut traffic = Traffic { row: self.row.load(Ordering::Relaxed), ..Traffic::default() };
        for cell in self.cells.iter().flat_map(|signs| signs.iter().enumerate()) {
            let (sign, cell) = (cell.0, cell.1.load(Ordering::Relaxed));
            if at.saturating_sub(cell >> 32) < CELLS {
                traffic.counts[sign] += cell & u64::from(u32::MAX);
            }
        }
        for (last, ms) in traffic.last.iter_mut().zip(&self.last_ms) {
            let ms = ms.load(Ordering::Relaxed);
            *last = (ms > 0).then(|| Timestamp::from_millis(ms));
        }
        traffic
    }
}

impl Traffic {
    /// How often in the last five minutes.
    pub(crate) fn count(&self, sign: Sign) -> u64 {
        self.counts[sign as usize]
    }

    /// When last, however long ago.
    pub(crate) fn last(&self, sign: Sign) -> Option<Timestamp> {
        self.last[sign as usize]
    }

    /// Failures since something else was last said.
    pub(crate) fn row(&self) -> u32 {
        self.row
    }

    /// Calls of the last five minutes of which the provider knew, or should have known.
    pub(crate) fn answered(&self) -> u64 {
        SEEN.iter().map(|sign| self.count(*sign)).sum()
    }

    /// When the provider was seen last.
    pub(crate) fn seen_at(&self) -> Option<Timestamp> {
        SEEN.iter().filter_map(|sign| self.last(*sign)).max()
    }
}

/// What a probe came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Probe {
    /// When it ended.
    #[serde(with = "crate::time::rfc3339")]
    pub at: Timestamp,
    /// How long it took.
    pub latency_ms: u64,
    /// The error's kind by name, where there was one. `not-found` says that the provider is there as well.
    pub error: Option<&'static str>,
    /// Its sentence.
    pub message: Option<String>,
}

/// What a connection keeps of its calls and probes.
#[derive(Default)]
pub(crate) struct Vitals {
    pub(crate) pulse: Pulse,
    /// Held by whoever probes, so that nobody probes beside.
    pub(crate) probing: tokio::sync::Mutex<()>,
    probe: Mutex<Option<Probe>>,
}

impl Vitals {
    /// The last probe.
    pub(crate) fn probe(&self) -> Option<Probe> {
        self.probe.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Keeps what a probe came to.
    pub(crate) fn probed(&self, probe: Probe) {
        *self.probe.lock().unwrap_or_else(PoisonError::into_inner) = Some(probe);
    }

    /// Whether a probe would tell something new: nobody has seen the provider for so long, nor tried to.
    pub(crate) fn is_due(&self, now: Timestamp, after_ms: u64) -> bool {
        let seen = self.pulse.read(now).seen_at().max(self.probe().map(|probe| probe.at));
        seen.is_none_or(|seen| now.since(seen) >= after_ms.max(PROBE_EVERY_MS))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Timestamp {
        Timestamp::from_millis(1_795_337_370_000 + ms)
    }

    #[test]
    fn a_window_forgets_what_is_older_than_five_minutes_and_no_less() {
        let pulse = Pulse::default();
        pulse.ended(at(0), at(0), Some(Sign::Failing));
        pulse.ended(at(0), at(29_999), Some(Sign::Failing));
        assert_eq!(pulse.read(at(300_000)).count(Sign::Failing), 2);
        assert_eq!(pulse.read(at(330_000)).count(Sign::Failing), 0);
        assert_eq!(pulse.read(at(330_000)).last(Sign::Failing), Some(at(29_999)));
        // The cell is used again, with nothing left of what it held.
        pulse.ended(at(330_000), at(330_000), Some(Sign::Failing));
        assert_eq!(pulse.read(at(330_000)).count(Sign::Failing), 1);
    }

    #[test]
    fn a_row_of_failures_ends_with_any_other_answer() {
        let pulse = Pulse::default();
        for _ in 0..3 {
            pulse.ended(at(0), at(0), Some(Sign::Failing));
        }
        pulse.ended(at(0), at(0), None);
        pulse.ended(at(0), at(0), Some(Sign::Stale));
        assert_eq!(pulse.read(at(0)).row(), 3);
        pulse.ended(at(0), at(0), Some(Sign::Refused));
        assert_eq!(pulse.read(at(0)).row(), 0);
    }

    #[test]
    fn what_asked_nobody_says_nothing() {
        assert_eq!(Sign::of_answer(AnswerSource::Live, 0), None);
        assert_eq!(Sign::of_answer(AnswerSource::Cache, 0), None);
        assert_eq!(Sign::of_answer(AnswerSource::Live, 2), Some(Sign::Well));
        assert_eq!(Sign::of(&Error::new(Kind::NotFound, "the host's own")), None);
        assert_eq!(Sign::of(&Error::new(Kind::NotFound, "the provider's").with_attempts(1)), Some(Sign::Well));
        let pulse = Pulse::default();
        pulse.ended(at(0), at(0), Some(Sign::Denied));
        assert_eq!(pulse.read(at(0)).seen_at(), None);
    }

    #[test]
    fn side_by_side_nothing_is_lost() {
        let pulse = Pulse::default();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..10_000).for_each(|ms| pulse.ended(at(ms), at(ms * 20), Some(Sign::Well))));
            }
        });
        assert_eq!(pulse.read(at(200_000)).count(Sign::Well), 40_000);
    }
}
