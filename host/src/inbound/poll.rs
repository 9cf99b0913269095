//! Runs one polled trigger of one connection.
//!
//! Cursor and events are kept together by whoever hands a page over ([`Pages`]); what is left here is when to hand over
//! the next. How a schedule stands is kept in the store beside the cursor, so that restarts neither forget nor repeat a
//! run, and of several processes over one state folder one runs it. Being dropped anywhere loses nothing: the page under
//! way comes again, with the same id.

use std::pin::pin;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tokio::sync::watch;

use crate::error::{Error, Kind, Result};
use crate::event::{Poll, PollStart, Trigger};
use crate::inbound::RETRY_AT_MS_MAX;
use crate::inbound::handler::{Handled, Handler};
use crate::manifest::{PollFacts, Recovery};
use crate::observe::trace::Here;
use crate::outbound::retry::{RetryPolicy, backoff_ms};
use crate::policy::poll::PollPolicy;
use crate::policy::schedule::Schedule;
use crate::random;
use crate::store::Store;
use crate::store::arrival::Standing;
use crate::time::{BoxFuture, Clock, Timestamp};

/// What hands pages to a plugin and keeps what comes of them: a [`Handler`], or one that a test can interrupt.
pub(crate) trait Pages: Send + Sync + 'static {
    /// As [`Handler::handle`].
    fn hand<'a>(&'a self, name: &'a str, id: &'a str, trigger: Trigger) -> BoxFuture<'a, Result<Handled>>;

    /// As [`Handler::cursor`].
    fn cursor<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Standing>>;

    /// As [`Handler::set_cursor`].
    fn set_cursor<'a>(&'a self, name: &'a str, expected: u64, cursor: Option<String>) -> BoxFuture<'a, Result<bool>>;

    /// As [`Handler::keep_pace`].
    fn room(&self) -> BoxFuture<'_, ()>;
}

impl Pages for Handler {
    fn hand<'a>(&'a self, name: &'a str, id: &'a str, trigger: Trigger) -> BoxFuture<'a, Result<Handled>> {
        Box::pin(self.handle(name, id, trigger))
    }

    fn cursor<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Standing>> {
        Box::pin(Self::cursor(self, name))
    }

    fn set_cursor<'a>(&'a self, name: &'a str, expected: u64, cursor: Option<String>) -> BoxFuture<'a, Result<bool>> {
        Box::pin(Self::set_cursor(self, name, expected, cursor))
    }

    fn room(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.keep_pace())
    }
}

/// A polled trigger that runs.
pub(crate) struct Poller<P> {
    connection: String,
    name: String,
    /// What its cursor is kept under.
    trigger: String,
    /// What its schedule is kept under.
    schedule_name: String,
    lease: String,
    holder: String,
    schedule: Schedule,
    first: PollStart,
    recovery: Recovery,
    input: Map<String, Value>,
    pages_max: u32,
    pages: P,
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    /// Since when there is somebody to run it.
    made_at: Timestamp,
}

/// How a polled trigger is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PollHealth {
    /// When the last run began that came to its end.
    pub succeeded_at: Option<Timestamp>,
    /// When a run failed last, and how.
    pub failed: Option<(Timestamp, String)>,
    /// How many failed since one succeeded.
    pub failures: u32,
    /// When the next is due.
    pub due: Timestamp,
    /// For how long it has been due.
    pub lag_ms: u64,
    /// Whether the last run had more to read than it may.
    pub is_behind: bool,
}

/// How far a schedule has come; what the store keeps of it.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
struct Progress {
    ran_at_ms: Option<u64>,
    due_ms: u64,
    failures: u32,
    not_before_ms: u64,
    failed_at_ms: u64,
    why: String,
    is_behind: bool,
}

/// How a run ended.
enum Ran {
    /// There is nothing more to read.
    Whole,
    /// There is, and the run has taken its number of pages.
    Behind,
    /// It was asked to stop, or somebody else runs it. The run is not over.
    Left,
}

/// A run's lease, which is renewed while a page is handled: whoever died makes room after this.
const LEASE_MS: u64 = 30_000;
const RENEW_MS: u64 = 10_000;

/// Nobody sleeps longer than this without looking: another process may have run it, and a machine may have slept.
const LOOK_MS: u64 = 60_000;
/// While another process runs it.
const STAND_BY_MS: u64 = 10_000;

/// The first wait after a failure that may pass by itself, and after another. Each further one doubles it.
const WAIT_MS: u64 = 10_000;
const WAIT_LONG_MS: u64 = 60_000;
/// The longest, jitter included.
const WAIT_MS_MAX: u64 = 900_000;
/// How much of what went wrong is kept.
const WHY_CHARS_MAX: usize = 500;

impl<P: Pages> Poller<P> {
    /// A poll as the manifest and the connection have it.
    ///
    /// # Errors
    /// [`Kind::Configuration`] where the two do not fit.
    pub(crate) fn new(
        (connection, name): (&str, &str),
        facts: &PollFacts,
        policy: &PollPolicy,
        pages: P,
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self> {
        let wrong = |why| Error::configuration(format!("[connections.{connection}]: polls.{name} {why}"));
        Ok(Self {
            schedule: policy.schedule(facts).map_err(wrong)?,
            input: policy.input_json().map_err(wrong)?,
            first: policy.first,
            recovery: facts.cursor_invalid,
            pages_max: policy.pages_max,
            trigger: format!("poll {name}"),
            schedule_name: format!("schedule {name}"),
            lease: format!("poll {connection} {name}"),
            holder: random::name()?,
            connection: connection.to_owned(),
            name: name.to_owned(),
            pages,
            store,
            made_at: clock.now(),
            clock,
        })
    }

    /// Runs it whenever it is due, until `stop` is true: then the page under way is the last. No error ends it.
    pub(crate) async fn run(&self, mut stop: watch::Receiver<bool>) {
        while !*stop.borrow() {
            let now = self.clock.now();
            let at = match self.turn(&stop).await {
                Ok(at) => at.min(now.plus(LOOK_MS)),
                Err(error) => {
                    self.warn(&format!("its schedule cannot be kept: {}", error.message()));
                    now.plus(STAND_BY_MS)
                }
            };
            tokio::select! {
                biased;
                _ = stop.wait_for(|stops| *stops) => return,
                () = self.clock.sleep_until(at) => {}
            }
        }
    }

    /// Runs it if it is due and nobody else does. Answers when to look again.
    pub(crate) async fn turn(&self, stop: &watch::Receiver<bool>) -> Result<Timestamp> {
        let due = self.due(&self.progress().await?.1);
        if self.clock.now() < due {
            return Ok(due);
        }
        if !self.hold().await? {
            return Ok(self.clock.now().plus(STAND_BY_MS));
        }
        let here = Here::begin();
        let span = tracing::error_span!(
            target: "wharfage::poll", "poll",
            trace_id = %here.trace_id(), span_id = %here.span_id(), connection = self.connection, poll = self.name
        );
        let due = here.run(span, self.turn_held(stop)).await;
        self.store.release(&self.lease, &self.holder).await?;
        due
    }

    async fn turn_held(&self, stop: &watch::Receiver<bool>) -> Result<Timestamp> {
        // Somebody else may have run it while this one waited for the lease.
        let (version, mut progress) = self.progress().await?;
        let began = self.clock.now();
        let due = self.due(&progress);
        if began < due {
            return Ok(due);
        }
        match self.catch_up(&mut progress, stop).await {
            Ok(Ran::Left) => return Ok(began.plus(STAND_BY_MS)),
            Ok(ran) => {
                progress.ran_at_ms = Some(began.as_millis());
                progress.due_ms = self.schedule.after_with_jitter(began, self.clock.jitter()).as_millis();
                progress.failures = 0;
                progress.not_before_ms = 0;
                progress.is_behind = matches!(ran, Ran::Behind);
                if progress.is_behind {
                    self.warn(&format!(
                        "there is more to read than its {} pages; the next run goes on",
                        self.pages_max
                    ));
                }
            }
            Err(error) => {
                let now = self.clock.now();
                progress.failures = progress.failures.saturating_add(1);
                progress.not_before_ms = not_before(&error, progress.failures, now, self.clock.jitter()).as_millis();
                progress.note(now, error.message());
                self.warn(&format!("it failed, {} in a row: {error}", progress.failures));
            }
        }
        let text = serde_json::to_string(&progress).map_err(|error| Error::internal(error.to_string()))?;
        self.pages.set_cursor(&self.schedule_name, version, Some(text)).await?;
        Ok(self.due(&progress))
    }

    /// Hands over page after page, until there is nothing more.
    async fn catch_up(&self, progress: &mut Progress, stop: &watch::Receiver<bool>) -> Result<Ran> {
        let mut has_recovered = false;
        let mut stop = stop.clone();
        for _ in 0..self.pages_max {
            let room = tokio::select! {
                biased;
                Ok(_) = stop.wait_for(|stops| *stops) => None,
                room = self.while_held(self.pages.room()) => room?,
            };
            if room.is_none() || !self.hold().await? {
                return Ok(Ran::Left);
            }
            let Standing { version, cursor } = self.pages.cursor(&self.trigger).await?;
            let start = match (version, &cursor, self.recovery) {
                (1.., None, Recovery::Restart) => PollStart::All,
                (1.., None, Recovery::FromNow) => PollStart::FromNow,
                _ => self.first,
            };
            let poll = Poll::new(&*self.name).input(self.input.clone()).start(start);
            // The same until the cursor moves: a page that is handed over again repeats no keyed write.
            let id = format!("poll {} {} {version}", self.connection, self.name);
            match self.while_held(self.pages.hand(&self.trigger, &id, Trigger::Poll(poll))).await? {
                None => return Ok(Ran::Left),
                Some(Ok(page)) if page.more && page.has_moved => {}
                Some(Ok(_)) => return Ok(Ran::Whole),
                Some(Err(error)) if *error.kind() == Kind::CursorInvalid && cursor.is_some() && !has_recovered => {
                    let how = match self.recovery {
                        Recovery::Restart => "it starts again with everything there is",
                        Recovery::FromNow => "it goes on from now, and what happened since the last run is lost",
                    };
                    let why = format!("the cursor became invalid ({}); {how}", error.message());
                    self.warn(&why);
                    progress.note(self.clock.now(), &why);
                    if !self.pages.set_cursor(&self.trigger, version, None).await? {
                        return Ok(Ran::Left);
                    }
                    has_recovered = true;
                }
                Some(Err(error)) => return Err(error),
            }
        }
        Ok(Ran::Behind)
    }

    /// How it is doing.
    pub(crate) async fn health(&self) -> Result<PollHealth> {
        let (_, progress) = self.progress().await?;
        let (now, due) = (self.clock.now(), self.due(&progress));
        // The first run is due at once, which is no time that it could be late from.
        let due = if progress.ran_at(now).is_some() { due } else { due.max(self.made_at) };
        Ok(PollHealth {
            succeeded_at: progress.ran_at_ms.map(Timestamp::from_millis),
            failed: (!progress.why.is_empty())
                .then(|| (Timestamp::from_millis(progress.failed_at_ms), progress.why.clone())),
            failures: progress.failures,
            due,
            lag_ms: now.since(due),
            is_behind: progress.is_behind,
        })
    }

    async fn progress(&self) -> Result<(u64, Progress)> {
        let Standing { version, cursor: text } = self.pages.cursor(&self.schedule_name).await?;
        // What another version wrote and this one cannot read is a schedule that begins.
        let progress = text.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
        Ok((version, progress))
    }

    /// When it is due: the first time at once, so that "from now on" begins now.
    fn due(&self, progress: &Progress) -> Timestamp {
        let now = self.clock.now();
        let Some(ran_at) = progress.ran_at(now) else { return sooner(progress.not_before_ms, now) };
        // Whoever shortens the time between two runs does not wait for what the longer one had drawn.
        let latest = self.schedule.after_with_jitter(ran_at, 1.0);
        let due = Timestamp::from_millis(progress.due_ms).clamp(self.schedule.after(ran_at), latest);
        due.max(sooner(progress.not_before_ms, now))
    }

    async fn hold(&self) -> Result<bool> {
        let now = self.clock.now();
        self.store.lease(&self.lease, &self.holder, now, now.plus(LEASE_MS)).await
    }

    /// Works while the lease is held; nothing where it is lost. Then the work is given up.
    async fn while_held<T>(&self, work: impl Future<Output = T>) -> Result<Option<T>> {
        let mut work = pin!(work);
        loop {
            tokio::select! {
                biased;
                done = &mut work => return Ok(Some(done)),
                () = self.clock.alarm(self.clock.now().plus(RENEW_MS)) => {}
            }
            if !self.hold().await? {
                return Ok(None);
            }
        }
    }

    fn warn(&self, what: &str) {
        tracing::warn!(target: "wharfage::poll", connection = %self.connection, poll = %self.name, "{what}");
    }
}

impl Progress {
    /// When the last run began that came to its end, unless no clock of this machine could have said so yet.
    fn ran_at(&self, now: Timestamp) -> Option<Timestamp> {
        self.ran_at_ms.map(Timestamp::from_millis).filter(|ran_at| *ran_at <= now)
    }

    fn note(&mut self, at: Timestamp, why: &str) {
        self.failed_at_ms = at.as_millis();
        self.why = why.chars().take(WHY_CHARS_MAX).collect();
    }
}

/// A time that was put off to, unless no clock of this machine could have said so.
fn sooner(not_before_ms: u64, now: Timestamp) -> Timestamp {
    let at = Timestamp::from_millis(not_before_ms);
    if at.since(now) <= RETRY_AT_MS_MAX { at } else { now }
}

/// When to try again after so many failures in a row: not before the provider says, and ever later.
fn not_before(error: &Error, failures: u32, now: Timestamp, die: f64) -> Timestamp {
    let base_ms = if error.may_retry() { WAIT_MS } else { WAIT_LONG_MS };
    let policy = RetryPolicy { attempts_max: u32::MAX, base_ms, delay_ms_max: WAIT_MS_MAX, jitter: 0.2 };
    let at = now.plus(backoff_ms(&policy, failures, die));
    match error.retry_at() {
        Some(said) => at.max(said.min(now.plus(RETRY_AT_MS_MAX))),
        None => at,
    }
}

#[cfg(test)]
mod tests;
