//! The breakers of one connection: one for each origin that its grant names.
//!
//! The arithmetic is in `breaker.rs`; here it gets its clock and its lock, and a pass becomes something that gives itself
//! back when it is dropped. So a call that is cancelled, or ends before the provider's answer was judged, leaves no probe
//! behind.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use url::Url;

use super::breaker::{Breaker, BreakerPolicy, Pass};
use super::scope::OriginScope;
use crate::error::{Error, Kind, RequestSent};
use crate::observe::states::CircuitState;
use crate::time::{Clock, Timestamp};

/// One origin's breaker.
pub(crate) struct Circuit {
    origin: String,
    connection: String,
    breaker: Mutex<Breaker>,
    /// How often it opened.
    openings: AtomicU64,
    clock: Arc<dyn Clock>,
}

/// The breakers of a connection; none where the operator wants none.
#[derive(Clone, Default)]
pub(crate) struct Circuits {
    all: Vec<Arc<Circuit>>,
    /// Which one stands for each of the scope's origins.
    places: Vec<usize>,
}

/// Leave to ask an origin. Dropping it frees its place and says nothing about the provider.
pub(crate) struct Leave {
    circuit: Arc<Circuit>,
    pass: Option<Pass>,
}

/// What an attempt says about the provider's health.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It answered as one that is well.
    Well,
    /// It failed in a way that may pass.
    Failing,
    /// Neither: a limit of its or ours, or nobody waited for it.
    Nothing,
}

impl Verdict {
    /// What a failed attempt says. What is wrong with a request or its credential says that the provider is well enough
    /// to judge it; too many requests are the limiter's business.
    pub(crate) fn of(kind: &Kind) -> Self {
        match kind {
            Kind::Transient | Kind::Timeout | Kind::Network(_) => Self::Failing,
            Kind::InvalidRequest(_)
            | Kind::NotFound
            | Kind::Conflict
            | Kind::CursorInvalid
            | Kind::Unauthorized
            | Kind::ReauthorizationNeeded
            | Kind::Forbidden
            | Kind::SchemaViolation
            | Kind::ProviderReported => Self::Well,
            _ => Self::Nothing,
        }
    }
}

impl Circuits {
    /// A closed breaker for each origin; origins of one scheme, host and port share theirs.
    pub(crate) fn new(
        connection: &str,
        policy: BreakerPolicy,
        origins: &[OriginScope],
        clock: &Arc<dyn Clock>,
    ) -> Self {
        if !policy.enabled {
            return Self::default();
        }
        let mut circuits = Self::default();
        for origin in origins {
            let name = name_of(&origin.base);
            let place = circuits.all.iter().position(|circuit| circuit.origin == name).unwrap_or_else(|| {
                circuits.all.push(Arc::new(Circuit {
                    origin: name,
                    connection: connection.to_owned(),
                    breaker: Mutex::new(Breaker::new(policy)),
                    openings: AtomicU64::new(0),
                    clock: clock.clone(),
                }));
                circuits.all.len() - 1
            });
            circuits.places.push(place);
        }
        circuits
    }

    /// The breaker of the scope's origin with this index.
    pub(crate) fn of(&self, origin: usize) -> Option<&Arc<Circuit>> {
        self.all.get(*self.places.get(origin)?)
    }

    /// Every origin with what its breaker does now.
    pub(crate) fn states(&self) -> Vec<(String, CircuitState)> {
        self.readings().map(|(origin, state, _)| (origin, state)).collect()
    }

    /// The same, with how often each opened.
    pub(crate) fn readings(&self) -> impl Iterator<Item = (String, CircuitState, u64)> + '_ {
        self.all.iter().map(|circuit| {
            let state = circuit.breaker().state(circuit.clock.now());
            (circuit.origin.clone(), state, circuit.openings.load(Ordering::Relaxed))
        })
    }
}

fn name_of(base: &Url) -> String {
    base.origin().ascii_serialization()
}

impl Circuit {
    /// Refuses while it is open, so that nobody queues for a permit in vain.
    ///
    /// # Errors
    /// [`Kind::CircuitOpen`] with the time when it lets somebody try.
    pub(crate) fn check(&self) -> Result<(), Error> {
        match self.breaker().refuses_until(self.clock.now()) {
            Some(until) => Err(self.open(until)),
            None => Ok(()),
        }
    }

    /// Asks for leave, right before sending.
    ///
    /// # Errors
    /// [`Kind::CircuitOpen`] with the time when asking again may help.
    pub(crate) fn ask(self: &Arc<Self>) -> Result<Leave, Error> {
        let asked = self.breaker().ask(self.clock.now());
        match asked {
            Ok(pass) => Ok(Leave { circuit: self.clone(), pass: Some(pass) }),
            Err(until) => Err(self.open(until)),
        }
    }

    fn open(&self, until: Timestamp) -> Error {
        Error::new(Kind::CircuitOpen, format!("{} keeps failing, so the host has stopped asking it", self.origin))
            .with_retry_at(Some(until))
            .with_request_sent(RequestSent::No)
            .with_details(format!(
                "It is asked again from {until} on. When the host stops is set in [connections.{}.breaker]",
                self.connection
            ))
    }

    fn breaker(&self) -> MutexGuard<'_, Breaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Leave {
    /// Gives it back with what came of it. Answers until when the breaker is open, if this opened it.
    pub(crate) fn conclude(mut self, verdict: Verdict) -> Option<Timestamp> {
        let pass = self.pass.take()?;
        let now = self.circuit.clock.now();
        let mut breaker = self.circuit.breaker();
        let before = breaker.state(now);
        match verdict {
            Verdict::Well => breaker.succeed(pass, now),
            Verdict::Failing => breaker.fail(pass, now, self.circuit.clock.jitter()),
            Verdict::Nothing => breaker.release(pass),
        }
        match breaker.state(now) {
            CircuitState::Open { until } if before != (CircuitState::Open { until }) => {
                self.circuit.openings.fetch_add(1, Ordering::Relaxed);
                Some(until)
            }
            _ => None,
        }
    }

    /// The origin it is for.
    pub(crate) fn origin(&self) -> String {
        self.circuit.origin.clone()
    }
}

impl Drop for Leave {
    fn drop(&mut self) {
        if let Some(pass) = self.pass.take() {
            self.circuit.breaker().release(pass);
        }
    }
}
