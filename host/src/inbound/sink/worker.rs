//! One sink at work: events wait in line before it and are given to it one after the other.
//!
//! Its place in the outbox is written down only after it took an event, so that a kill at any moment costs at most a
//! repetition. It waits longer after each failure, as long as the sink itself says where it does, and nothing that happens
//! here is felt by another sink. At most one process gives to a sink at a time: it holds a lease for as long as it works.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

use super::SinkPolicy;
use crate::error::{Error, Result};
use crate::inbound::envelope::Emitted;
use crate::store::Store;
use crate::store::arrival::{Outgoing, Refused, SinkStanding};
use crate::time::{BoxFuture, Clock, Timestamp};

/// Events read from the outbox at once.
const ROWS: u64 = 100;

/// Bytes given to a sink at once, where it takes several events.
const BATCH_BYTES: usize = 1 << 20;

/// How often somebody looks for events that another process emitted, in milliseconds.
const LOOK_MS: u64 = 1_000;

/// How long a lease holds. Whoever was killed holds it for no longer than this.
const LEASE_MS: u64 = 15_000;

/// A lease is renewed when it holds for no longer than this.
const RENEW_MS: u64 = 10_000;

/// How often somebody looks whether what waits for a disabled sink is too old to wait on, in milliseconds.
const DISABLED_MS: u64 = 60_000;

/// What gives events away.
pub(crate) trait SinkTarget: Send {
    /// How many it takes at once.
    fn batch(&self) -> usize;

    /// Gives these away: all of them, or none as far as the sink is concerned. Dropped, nobody knows.
    fn give<'a>(&'a mut self, events: &'a [Emitted]) -> BoxFuture<'a, Result<(), Trouble>>;
}

/// Why a sink did not take an event. The sentences are for the operator and begin with "it" in mind: `answered 503`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// It may pass; the sink says when, where it does.
    Passing { why: String, until: Option<Timestamp> },
    /// The sink does not want this event.
    Refused { why: String },
    /// The sink wants no event any more.
    Gone { why: String },
}

/// How a worker is to stop.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Stop {
    /// It goes on.
    #[default]
    No,
    /// After what is being given: another worker gives what follows, if any does.
    Soon,
    /// After what was emitted until now, as far as the sink takes it.
    Last,
}

/// How a sink does, as it stands in health.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SinkState {
    /// Its name.
    pub name: String,
    /// What it does now.
    pub doing: SinkDoing,
    /// Events it took since the start.
    pub given: u64,
    /// Events that went to its dead letters since the start.
    pub dead: u64,
    /// The number of the last event that it is done with.
    pub position: u64,
}

/// What a sink does now.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SinkDoing {
    /// It takes what comes.
    Well,
    /// Another process gives to it, or what gave to it before a reload finishes.
    Elsewhere,
    /// It failed and is asked again at this time.
    Waiting {
        /// When.
        until: Timestamp,
        /// Why, in a sentence with what would help.
        why: String,
    },
    /// It is asked no more until the next start. Its events wait.
    Disabled {
        /// Why, in a sentence with what would help.
        why: String,
    },
}

impl SinkDoing {
    /// In a word: `well`, `elsewhere`, `waiting` or `disabled`.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Well => "well",
            Self::Elsewhere => "elsewhere",
            Self::Waiting { .. } => "waiting",
            Self::Disabled { .. } => "disabled",
        }
    }
}

/// Wakes sinks when something was emitted. Clones are the same signal.
#[derive(Clone, Debug)]
pub(crate) struct WakeSignal(watch::Sender<()>);

impl WakeSignal {
    /// A signal that nobody gave.
    pub(crate) fn new() -> Self {
        Self(watch::channel(()).0)
    }

    /// Something was emitted.
    pub(crate) fn ring(&self) {
        self.0.send_replace(());
    }

    /// Hears from now on.
    pub(super) fn listen(&self) -> watch::Receiver<()> {
        self.0.subscribe()
    }
}

/// What a worker works with.
#[derive(Clone)]
pub(crate) struct SinkContext {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) wake: WakeSignal,
}

/// One sink at work.
pub(crate) struct SinkWorker {
    name: String,
    policy: SinkPolicy,
    target: Box<dyn SinkTarget>,
    context: SinkContext,
    holder: String,
    /// Until when the lease holds; nothing where it is not held.
    held_until: Option<Timestamp>,
    /// What is done, here and in the store. Between the two, nothing is given.
    position: u64,
    written: u64,
    /// Where it stood when the lease came.
    found: SinkStanding,
    /// Failures in a row, of whatever kind.
    failures: u32,
    /// Refusals of the event at the head.
    refusals: u64,
    is_disabled: bool,
    state: Arc<Mutex<SinkState>>,
}

/// What a round came to.
enum Round {
    /// There may be more at once.
    More,
    /// Nothing is there to do before this time, or before the wake signal.
    Idle,
    /// Nothing is to be done before this time, whatever happens.
    Until(Timestamp),
}

impl SinkWorker {
    /// A sink that has not begun.
    ///
    /// # Errors
    /// Where the operating system gives no random name.
    pub(crate) fn new(
        name: &str,
        policy: SinkPolicy,
        target: Box<dyn SinkTarget>,
        context: SinkContext,
    ) -> Result<Self> {
        let state = SinkState { name: name.to_owned(), doing: SinkDoing::Well, given: 0, dead: 0, position: 0 };
        Ok(Self {
            name: name.to_owned(),
            policy,
            target,
            context,
            holder: crate::random::name()?,
            held_until: None,
            position: 0,
            written: 0,
            found: SinkStanding::default(),
            failures: 0,
            refusals: 0,
            is_disabled: false,
            state: Arc::new(Mutex::new(state)),
        })
    }

    /// The same, which counts on from the worker of its name before it.
    pub(crate) fn after(mut self, before: &[Arc<Mutex<SinkState>>]) -> Self {
        let is_own =
            |state: &&Arc<Mutex<SinkState>>| state.lock().unwrap_or_else(PoisonError::into_inner).name == self.name;
        if let Some(state) = before.iter().find(is_own) {
            self.state = state.clone();
            // Also where that one was disabled: this one asks again.
            self.set(|state| state.doing = SinkDoing::Well);
        }
        self
    }

    /// How it does, to be asked while it works.
    pub(crate) fn state(&self) -> Arc<Mutex<SinkState>> {
        self.state.clone()
    }

    /// Works until it is told to stop or nobody can say so any more. What is being given then is waited for, and the lease
    /// goes back. Dropped, it may repeat the last events when it begins again, and loses none.
    pub(crate) async fn run(mut self, mut stop: watch::Receiver<Stop>) {
        let mut wake = self.context.wake.listen();
        while *stop.borrow_and_update() == Stop::No {
            let now = self.context.clock.now();
            let round = match self.round(now).await {
                Ok(round) => round,
                // The store has trouble, and with it all that wait; where it was is where it goes on.
                Err(error) => self.wait(&format!("the outbox cannot be read or written: {error}"), None),
            };
            let (until, may_wake) = match round {
                Round::More => continue,
                Round::Idle => (self.context.clock.now().plus(LOOK_MS), true),
                Round::Until(at) => (at, false),
            };
            tokio::select! {
                biased;
                changed = stop.changed() => if changed.is_err() { break },
                _ = wake.changed(), if may_wake => {}
                () = self.context.clock.sleep_until(until) => {}
            }
        }
        let is_last = *stop.borrow() != Stop::Soon;
        if is_last {
            // What another process emits meanwhile is that one's to give.
            let last = self.context.store.last_emitted().await.unwrap_or(0);
            while self.position < last && matches!(self.round(self.context.clock.now()).await, Ok(Round::More)) {}
        }
        self.end().await;
    }

    /// One step: what is read, given and written down belongs together.
    async fn round(&mut self, now: Timestamp) -> Result<Round> {
        if self.written < self.position {
            self.settle().await?;
        }
        // Reading costs nobody anything, so a quiet sink writes nothing.
        let after = match self.held_until {
            Some(_) => self.position,
            None => match self.context.store.sink_place(&self.name).await? {
                Some(place) => place.position,
                None => return self.begin(now).await,
            },
        };
        let rows = self.context.store.outbox(after, ROWS).await?;
        if rows.is_empty() {
            self.rest(now).await?;
            return Ok(Round::Idle);
        }
        if !self.hold(now).await? {
            self.set(|state| state.doing = SinkDoing::Elsewhere);
            return Ok(Round::Until(now.plus(LOOK_MS)));
        }
        if self.position != after {
            // Another process went on from where this one had looked.
            return Ok(Round::More);
        }
        let plan = self.plan(rows, now);
        if let Some((row, why)) = plan.dead {
            self.bury(row, why, now).await?;
        } else if plan.batch.is_empty() {
            if plan.to == self.position {
                // The next one is for a sink that is asked no more.
                return Ok(Round::Until(now.plus(DISABLED_MS)));
            }
            self.position = plan.to;
        } else if let Err(round) = self.give(&plan, now).await? {
            return Ok(round);
        }
        self.settle().await?;
        Ok(Round::More)
    }

    /// Nothing is known of it: it begins behind what would be too old for it at once, which was kept for others. From then
    /// on what it does not take in time is a dead letter.
    async fn begin(&mut self, now: Timestamp) -> Result<Round> {
        if !self.hold(now).await? {
            self.set(|state| state.doing = SinkDoing::Elsewhere);
            return Ok(Round::Until(now.plus(LOOK_MS)));
        }
        let store = self.context.store.clone();
        if store.sink_place(&self.name).await?.is_none() {
            let retention_ms = self.policy.limits.retention_ms;
            let mut to = 0;
            loop {
                if !self.hold(self.context.clock.now()).await? {
                    return Ok(Round::Until(now.plus(LOOK_MS)));
                }
                let rows = store.outbox(to, ROWS).await?;
                let is_too_old = |row: &&Outgoing| {
                    let event = serde_json::from_slice::<Emitted>(&row.content);
                    event.is_ok_and(|event| now.since(event.at) > retention_ms)
                };
                let old = rows.iter().take_while(is_too_old).count();
                to = rows[..old].last().map_or(to, |row| row.number);
                if old == 0 || old < rows.len() {
                    break;
                }
            }
            store.advance_sink(&self.name, to, None).await?;
            self.set(|state| state.position = to);
        }
        self.held_until = None;
        store.release(&lease_name(&self.name), &self.holder).await?;
        Ok(Round::More)
    }

    /// What is next: a dead letter, or else events to give, or else only some to pass over.
    fn plan(&self, rows: Vec<Outgoing>, now: Timestamp) -> Plan {
        let mut plan = Plan { batch: Vec::new(), head: None, dead: None, to: self.position };
        let most = self.target.batch();
        let mut bytes = 0;
        for row in rows {
            let number = row.number;
            let event = match serde_json::from_slice::<Emitted>(&row.content) {
                Ok(event) => event,
                // Nobody could say whom it is for; it goes where somebody sees it.
                Err(error) if plan.batch.is_empty() => {
                    plan.dead = Some((row, format!("it cannot be read: {error}")));
                    break;
                }
                Err(_) => break,
            };
            if event.is_for(&self.name, &self.policy) {
                // What comes again waits since somebody asked for it.
                let SinkStanding { again_to, again_at, .. } = self.found;
                let waits_since = if number <= again_to { event.at.max(again_at) } else { event.at };
                if now.since(waits_since) > self.policy.limits.retention_ms {
                    if plan.batch.is_empty() {
                        let limit = self.policy.limits.retention_ms;
                        let why = format!("it waited for the sink longer than limits.retention_ms = {limit}");
                        plan.dead = Some((row, why));
                    }
                    break;
                }
                if self.is_disabled
                    || plan.batch.len() == most
                    || (bytes > 0 && bytes + row.content.len() > BATCH_BYTES)
                {
                    break;
                }
                bytes += row.content.len();
                plan.batch.push(event);
                plan.head.get_or_insert(row);
            }
            plan.to = number;
        }
        plan
    }

    /// Gives a batch, and keeps the lease meanwhile. Answers what to do where it was not taken.
    async fn give(&mut self, plan: &Plan, now: Timestamp) -> Result<Result<(), Round>> {
        let Self { target, context, holder, name, held_until, .. } = self;
        let lease = lease_name(name);
        let mut giving = target.give(&plan.batch);
        let outcome = loop {
            let renew_at = context.clock.now().plus(LEASE_MS - RENEW_MS);
            tokio::select! {
                biased;
                outcome = &mut giving => break outcome,
                () = context.clock.alarm(renew_at) => {
                    let now = context.clock.now();
                    let until = now.plus(LEASE_MS);
                    // Where it cannot be renewed, what is under way goes on all the same: at least once, not at most.
                    if let Ok(true) = context.store.lease(&lease, holder, now, until).await {
                        *held_until = Some(until);
                    }
                }
            }
        };
        drop(giving);
        match outcome {
            Ok(()) => {
                self.position = plan.to;
                (self.failures, self.refusals) = (0, 0);
                let count = plan.batch.len() as u64;
                self.set(|state| {
                    state.given += count;
                    state.doing = SinkDoing::Well;
                });
                Ok(Ok(()))
            }
            Err(trouble) => self.failed(trouble, plan, now).await,
        }
    }

    /// What follows from a failure.
    async fn failed(&mut self, trouble: Trouble, plan: &Plan, now: Timestamp) -> Result<Result<(), Round>> {
        match trouble {
            Trouble::Passing { why, until } => Ok(Err(self.wait(&why, until))),
            Trouble::Refused { why } => {
                self.refusals += 1;
                let limit = self.policy.limits.attempts;
                let Some(row) = plan.head.clone().filter(|_| self.refusals >= limit) else {
                    return Ok(Err(self.wait(&why, None)));
                };
                let why = format!("the sink {why}, and did so limits.attempts = {limit} times");
                self.bury(row, why, now).await?;
                Ok(Ok(()))
            }
            Trouble::Gone { why } => {
                self.is_disabled = true;
                let why = format!("the sink {why}, so it is asked no more until the next start; its events wait");
                tracing::error!(target: "wharfage::sink", sink = self.name, why, "disabled");
                self.set(|state| state.doing = SinkDoing::Disabled { why });
                Ok(Err(Round::More))
            }
        }
    }

    /// Waits longer each time, and as long as the sink says.
    fn wait(&mut self, why: &str, said: Option<Timestamp>) -> Round {
        let limits = &self.policy.limits;
        let now = self.context.clock.now();
        let doubled = limits.retry_ms.saturating_mul(1 << self.failures.min(40));
        self.failures = self.failures.saturating_add(1);
        let wait_ms = lengthened(doubled.min(limits.retry_wait_ms), self.context.clock.jitter());
        let until = now.plus(wait_ms).max(said.unwrap_or_default().min(now.plus(limits.hold_ms)));
        tracing::warn!(target: "wharfage::sink", sink = self.name, why, %until, failures = self.failures, "not taken");
        let why = why.to_owned();
        self.set(|state| state.doing = SinkDoing::Waiting { until, why });
        Round::Until(until)
    }

    /// Puts an event among the dead letters; the worker goes on behind it.
    async fn bury(&mut self, row: Outgoing, why: String, at: Timestamp) -> Result<()> {
        let number = row.number;
        tracing::error!(target: "wharfage::sink", sink = self.name, number, why, "an event goes to the dead letters");
        self.context.store.advance_sink(&self.name, number, Some(Refused { at, why })).await?;
        (self.position, self.written) = (number, number);
        (self.failures, self.refusals) = (0, 0);
        self.set(|state| {
            state.dead += 1;
            state.position = number;
        });
        Ok(())
    }

    /// Writes down what is done.
    async fn settle(&mut self) -> Result<()> {
        if self.written < self.position {
            self.context.store.advance_sink(&self.name, self.position, None).await?;
            self.written = self.position;
            let position = self.position;
            self.set(|state| state.position = position);
        }
        Ok(())
    }

    /// Holds the lease, and knows the position where it was not held before. False while another process holds it.
    async fn hold(&mut self, now: Timestamp) -> Result<bool> {
        if self.held_until.is_some_and(|until| until.since(now) > RENEW_MS) {
            return Ok(true);
        }
        // Where it ended meanwhile, another process may have gone on.
        let was_held = self.held_until.is_some_and(|until| until > now);
        let until = now.plus(LEASE_MS);
        if !self.context.store.lease(&lease_name(&self.name), &self.holder, now, until).await? {
            self.held_until = None;
            return Ok(false);
        }
        if !was_held {
            self.found = self.context.store.sink_place(&self.name).await?.unwrap_or_default();
            let position = self.found.position;
            if position != self.position {
                self.refusals = 0;
            }
            (self.position, self.written) = (position, position);
        }
        self.held_until = Some(until);
        Ok(true)
    }

    /// Nothing waits: a lease that would have to be renewed goes back instead.
    async fn rest(&mut self, now: Timestamp) -> Result<()> {
        if self.held_until.is_some_and(|until| until.since(now) <= RENEW_MS) {
            self.held_until = None;
            self.context.store.release(&lease_name(&self.name), &self.holder).await?;
        }
        if !self.is_disabled {
            self.set(|state| state.doing = SinkDoing::Well);
        }
        Ok(())
    }

    /// Writes down what is left and gives the lease back. What fails here ends by itself.
    async fn end(mut self) {
        let _ = self.settle().await;
        if self.held_until.is_some() {
            let _ = self.context.store.release(&lease_name(&self.name), &self.holder).await;
        }
    }

    fn set(&self, change: impl FnOnce(&mut SinkState)) {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// What is next.
struct Plan {
    /// Events to give, in order.
    batch: Vec<Emitted>,
    /// The first of them, as it was read.
    head: Option<Outgoing>,
    /// An event at the head that is not given any more, and why.
    dead: Option<(Outgoing, String)>,
    /// Everything up to this number is done with it.
    to: u64,
}

fn lease_name(sink: &str) -> String {
    format!("sink {sink}")
}

/// Up to a quarter longer, so that those who failed together do not come back together.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "small")]
fn lengthened(wait_ms: u64, jitter: f64) -> u64 {
    wait_ms + (wait_ms as f64 * 0.25 * jitter.abs()) as u64
}

/// A defect that nobody expects is a failure like any other.
impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        Self::Passing { why: error.message().to_owned(), until: error.retry_at() }
    }
}

#[cfg(test)]
mod tests;
