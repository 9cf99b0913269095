//! Outcome -> done, or wait this long and go through all of it again.
//!
//! A pure decision about one failed attempt: whether another is allowed, and when. It never allows what could do a
//! write twice. A provider's own hint is followed exactly, never undercut; a hint too far away ends the call, so that
//! its caller hears when to come back instead of waiting. What a new attempt needs (scope, permit, signature) is made
//! anew by whoever asked.

use crate::error::{Kind, RequestSent};
use crate::time::Timestamp;

/// How often and how patiently. The defaults are the guide's: 5 attempts, 1 s doubling up to 60 s, ±25 %.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct RetryPolicy {
    /// The most attempts, the first one included.
    pub(crate) attempts_max: u32,
    /// The wait after the first failure; it doubles with each further one.
    pub(crate) base_ms: u64,
    /// The longest wait, jitter included. What a provider asks beyond it is not waited for.
    pub(crate) delay_ms_max: u64,
    /// How far a wait of ours may be from its middle, as a share of it.
    pub(crate) jitter: f64,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self { attempts_max: 5, base_ms: 1_000, delay_ms_max: 60_000, jitter: 0.25 }
    }
}

/// An attempt that failed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Failed<'a> {
    /// Which attempt it was; the first is 1.
    pub(crate) attempt: u32,
    /// How it failed.
    pub(crate) kind: &'a Kind,
    /// Whether it reached the provider.
    pub(crate) sent: RequestSent,
    /// Whether doing it twice does no harm: a safe or idempotent method, or a key that the provider honours.
    pub(crate) safe_to_repeat: bool,
    /// When the provider said to come back.
    pub(crate) hint_at: Option<Timestamp>,
    /// Whether the provider said that trying again is of use: it knows best, but never makes a write safe.
    pub(crate) advice: Option<bool>,
}

/// What follows a failed attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// The failure is the answer.
    Give,
    /// Another attempt, not before this time.
    After(Timestamp),
}

/// How many retries there may be beside the requests that are not: so that an outage does not multiply traffic.
///
/// Each request adds a share of a retry, each retry takes a whole one, and a few are always there again after some
/// seconds, so that whoever asks seldom is not refused for it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RetryBudget {
    /// Thousandths of a retry.
    balance: u64,
    refilled_at: Timestamp,
}

/// So many retries are there at the beginning, and again after as many seconds.
const RETRIES_ALWAYS: u64 = 10;

/// More than so many are not saved up.
const RETRIES_SAVED_MAX: u64 = 100;

impl RetryBudget {
    /// A full one.
    pub(crate) fn new(now: Timestamp) -> Self {
        Self { balance: RETRIES_ALWAYS * 1_000, refilled_at: now }
    }

    /// A request that is no retry leaves: `percent` of a retry more.
    pub(crate) fn deposit(&mut self, percent: u64) {
        self.balance = self.balance.saturating_add(percent.saturating_mul(10)).min(RETRIES_SAVED_MAX * 1_000);
    }

    /// Takes one retry, if there is one.
    pub(crate) fn withdraw(&mut self, now: Timestamp) -> bool {
        let (passed_ms, always) = (now.since(self.refilled_at), RETRIES_ALWAYS * 1_000);
        if self.balance < always {
            self.balance = self.balance.saturating_add(passed_ms).min(always);
        }
        self.refilled_at = self.refilled_at.max(now);
        match self.balance.checked_sub(1_000) {
            Some(rest) => {
                self.balance = rest;
                true
            }
            None => false,
        }
    }
}

/// The most that is added to a provider's hint, so that those who heard the same do not come back together.
const HINT_SPREAD_MS: f64 = 250.0;

/// Decides what follows. `jitter` is drawn evenly from -1 to 1; whoever is due at or after `deadline` gives up now.
pub(crate) fn decide(
    policy: &RetryPolicy,
    failed: &Failed<'_>,
    now: Timestamp,
    deadline: Timestamp,
    jitter: f64,
) -> Decision {
    let may_pass = failed.advice.unwrap_or_else(|| may_pass(failed.kind));
    if failed.attempt >= policy.attempts_max || !may_pass || !may_repeat(failed) {
        return Decision::Give;
    }
    let jitter = if jitter.is_finite() { jitter.clamp(-1.0, 1.0) } else { 0.0 };
    let hint_ms = failed.hint_at.map(|at| at.since(now)).filter(|ms| *ms > 0);
    let delay_ms = match hint_ms {
        Some(ms) if ms > policy.delay_ms_max => return Decision::Give,
        Some(ms) => ms.saturating_add(scaled(HINT_SPREAD_MS, (jitter + 1.0) / 2.0)).min(policy.delay_ms_max),
        None => backoff_ms(policy, failed.attempt, jitter),
    };
    let at = now.plus(delay_ms);
    if at < deadline { Decision::After(at) } else { Decision::Give }
}

/// Kinds that pass by themselves within one call. A spent quota and an open circuit last longer than that.
fn may_pass(kind: &Kind) -> bool {
    matches!(kind, Kind::RateLimited | Kind::Transient | Kind::Timeout | Kind::Network(_))
}

/// Whether another attempt cannot do a write twice. Who answers "too many requests" has not processed one.
fn may_repeat(failed: &Failed<'_>) -> bool {
    failed.safe_to_repeat || failed.sent == RequestSent::No || *failed.kind == Kind::RateLimited
}

/// `base · 2^(attempt - 1)`, moved by the jitter, and only then cut: jitter never leads over the cap.
pub(crate) fn backoff_ms(policy: &RetryPolicy, attempt: u32, jitter: f64) -> u64 {
    let doublings = attempt.saturating_sub(1);
    let middle_ms = 2u64.checked_pow(doublings).map_or(u64::MAX, |factor| policy.base_ms.saturating_mul(factor));
    // Beyond twice the cap the jitter changes nothing, and doubles are exact below.
    #[expect(clippy::cast_precision_loss, reason = "a wait needs no more than a double's 53 bits")]
    let middle_ms = middle_ms.min(policy.delay_ms_max.saturating_mul(2)) as f64;
    scaled(middle_ms, 1.0 + policy.jitter.clamp(0.0, 0.5) * jitter).min(policy.delay_ms_max)
}

/// A share of so many milliseconds, rounded.
fn scaled(ms: f64, share: f64) -> u64 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "neither negative nor beyond u64")]
    let scaled = (ms * share).round().max(0.0) as u64;
    scaled
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::error::NetworkStage;

    const NOW: Timestamp = Timestamp::from_millis(1_000_000);

    fn failed(attempt: u32, kind: &Kind, sent: RequestSent, safe_to_repeat: bool) -> Failed<'_> {
        Failed { attempt, kind, sent, safe_to_repeat, hint_at: None, advice: None }
    }

    fn after(ms: u64) -> Decision {
        Decision::After(NOW.plus(ms))
    }

    fn kinds() -> Vec<Kind> {
        vec![
            Kind::RateLimited,
            Kind::Transient,
            Kind::Timeout,
            Kind::Network(NetworkStage::Connect),
            Kind::QuotaExhausted,
            Kind::CircuitOpen,
            Kind::NotFound,
            Kind::Unauthorized,
            Kind::OutcomeUnknown,
            Kind::Deadline,
            Kind::Cancelled,
            Kind::SchemaViolation,
            Kind::PolicyDenied("origin".into()),
        ]
    }

    #[test]
    fn waits_double_up_to_the_cap_and_end() {
        let policy = RetryPolicy { attempts_max: 10, ..RetryPolicy::default() };
        let wait = |attempt, jitter| {
            let failed = failed(attempt, &Kind::Transient, RequestSent::Yes, true);
            decide(&policy, &failed, NOW, Timestamp::MAX, jitter)
        };
        assert_eq!([1, 2, 3, 7, 9].map(|n| wait(n, 0.0)), [1_000, 2_000, 4_000, 60_000, 60_000].map(after));
        assert_eq!([-1.0, -0.5, 1.0].map(|j| wait(1, j)), [750, 875, 1_250].map(after));
        assert_eq!(wait(10, 0.0), Decision::Give);
        assert_eq!(wait(1, f64::NAN), after(1_000));
    }

    #[test]
    fn guide_s23_jitter_never_exceeds_the_cap() {
        let policy = RetryPolicy { attempts_max: 100, ..RetryPolicy::default() };
        for attempt in 1..100 {
            let failed = failed(attempt, &Kind::Transient, RequestSent::Yes, true);
            let Decision::After(at) = decide(&policy, &failed, NOW, Timestamp::MAX, 1.0) else {
                panic!("attempt {attempt} gave up");
            };
            assert!(at.since(NOW) <= 60_000, "attempt {attempt} waits {} ms", at.since(NOW));
        }
    }

    #[test]
    fn guide_s22_an_unsafe_write_is_not_repeated() {
        let policy = RetryPolicy::default();
        let write = |kind: &Kind, sent| decide(&policy, &failed(1, kind, sent, false), NOW, Timestamp::MAX, 0.0);
        for kind in [Kind::Transient, Kind::Timeout, Kind::Network(NetworkStage::Reset)] {
            assert_eq!(write(&kind, RequestSent::Maybe), Decision::Give);
            assert_eq!(write(&kind, RequestSent::Yes), Decision::Give);
            assert_eq!(write(&kind, RequestSent::No), after(1_000));
        }
        assert_eq!(write(&Kind::RateLimited, RequestSent::Yes), after(1_000));
    }

    #[test]
    fn a_hint_is_followed_or_handed_on() {
        let policy = RetryPolicy::default();
        let wait = |hint_ms: u64, deadline_ms: u64, jitter| {
            let hint_at = Some(NOW.plus(hint_ms));
            let failed = Failed { hint_at, ..failed(1, &Kind::RateLimited, RequestSent::Yes, false) };
            decide(&policy, &failed, NOW, NOW.plus(deadline_ms), jitter)
        };
        assert_eq!(wait(3_000, 90_000, -1.0), after(3_000));
        assert_eq!(wait(3_000, 90_000, 1.0), after(3_250));
        assert_eq!(wait(60_000, 90_000, 1.0), after(60_000));
        assert_eq!(wait(60_001, 90_000, -1.0), Decision::Give);
        assert_eq!(wait(3_000, 3_000, -1.0), Decision::Give);
        assert_eq!(wait(0, 90_000, 0.0), after(1_000));
    }

    #[test]
    fn the_provider_knows_best_and_never_makes_a_write_safe() {
        let policy = RetryPolicy::default();
        let decide = |kind: &Kind, safe_to_repeat, advice| {
            let failed = Failed { advice, ..failed(1, kind, RequestSent::Yes, safe_to_repeat) };
            decide(&policy, &failed, NOW, Timestamp::MAX, 0.0)
        };
        assert_eq!(decide(&Kind::Transient, true, Some(false)), Decision::Give);
        assert_eq!(decide(&Kind::Conflict, true, None), Decision::Give);
        assert_eq!(decide(&Kind::Conflict, true, Some(true)), after(1_000));
        assert_eq!(decide(&Kind::Conflict, false, Some(true)), Decision::Give);
    }

    /// An outage of a provider that is asked a thousand times a second: a tenth more, not four times as much.
    #[test]
    fn an_outage_does_not_multiply_traffic() {
        let mut budget = RetryBudget::new(NOW);
        let mut retries = 0u64;
        for request in 0..10_000 {
            budget.deposit(10);
            let now = NOW.plus(request);
            retries += (0..4).map(|_| u64::from(budget.withdraw(now))).sum::<u64>();
        }
        assert!((1_000..=1_030).contains(&retries), "{retries} retries of 10,000 requests");
        // Who asks seldom may try again each time.
        for request in 0..100 {
            let now = NOW.plus(100_000 + request * 4_000);
            assert_eq!((0..4).map(|_| u64::from(budget.withdraw(now))).sum::<u64>(), 4, "request {request}");
        }
        for _ in 0..1_000_000 {
            budget.deposit(u64::MAX);
        }
        assert_eq!((0..1_000).filter(|_| budget.withdraw(NOW)).count(), 100, "not more is saved up");
    }

    proptest! {
        #[test]
        fn never_early_never_late_never_twice(
            attempts_max in 0..20u32,
            base_ms in any::<u64>(),
            delay_ms_max in any::<u64>(),
            share in 0.0..2.0f64,
            attempt in any::<u32>(),
            kind in prop::sample::select(kinds()),
            sent in prop::sample::select(vec![RequestSent::No, RequestSent::Maybe, RequestSent::Yes]),
            safe_to_repeat in any::<bool>(),
            hint_ms in prop::option::of(0..200_000u64),
            deadline_ms in 0..200_000u64,
            jitter in any::<f64>(),
        ) {
            let policy = RetryPolicy { attempts_max, base_ms, delay_ms_max, jitter: share };
            let hint_at = hint_ms.map(|ms| NOW.plus(ms));
            let failed = Failed { attempt, kind: &kind, sent, safe_to_repeat, hint_at, advice: None };
            if let Decision::After(at) = decide(&policy, &failed, NOW, NOW.plus(deadline_ms), jitter) {
                prop_assert!(attempt < attempts_max);
                prop_assert!(kind.severity() == crate::error::Severity::Transient);
                prop_assert!(kind != Kind::QuotaExhausted && kind != Kind::CircuitOpen);
                prop_assert!(safe_to_repeat || sent == RequestSent::No || kind == Kind::RateLimited);
                prop_assert!(hint_at.is_none_or(|hint| at >= hint && at.since(hint) <= 250 || hint == NOW));
                prop_assert!(at >= NOW && at < NOW.plus(deadline_ms) && at.since(NOW) <= delay_ms_max);
            }
        }

        #[test]
        fn the_backoff_stays_near_its_middle(attempt in 1..5u32, jitter in -1.0..=1.0f64) {
            let failed = failed(attempt, &Kind::Timeout, RequestSent::No, true);
            let middle_ms = 1_000u64 << (attempt - 1);
            let Decision::After(at) = decide(&RetryPolicy::default(), &failed, NOW, Timestamp::MAX, jitter) else {
                return Err(TestCaseError::fail("gave up"));
            };
            prop_assert!(at.since(NOW).abs_diff(middle_ms) * 4 <= middle_ms);
        }
    }
}
