//! The inbox: what has arrived is stored before anybody is told that it has, and is handed to its plugin until it is
//! handled or given up.
//!
//! One inbox serves one connection. Several processes may serve the same: an event is held by one of them, which goes on
//! holding it while it works and lets go when it dies. Events of one order are handled one after the other; the others
//! side by side.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;

use super::RETRY_AT_MS_MAX;
use super::handler::{Handler, is_outbox_full};
use crate::error::{Error, Kind, Result};
use crate::event::Trigger;
use crate::observe::trace::{Here, Trace};
use crate::outbound::retry::{RetryPolicy, backoff_ms};
use crate::policy::serve::ServeLimits;
use crate::store::arrival::{Arrival, Claimed, Room, Stored};
use crate::time::Timestamp;

/// How often an event is handled anew at once because another moved the cursor.
const CONFLICTS_MAX: u32 = 16;

/// How often it is looked at least for what others left or had done once more, in milliseconds.
const LOOK_MS: u64 = 5_000;

/// For how long nothing is handed over where the outbox had no room, in milliseconds.
const FULL_MS: u64 = 60_000;

/// How patiently events are handed over, and how much may wait.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct InboxPolicy {
    /// Waits between attempts, and how many there are.
    pub(crate) retry: RetryPolicy,
    /// Events handled side by side.
    pub(crate) side_by_side: usize,
    /// How much may wait of one webhook.
    pub(crate) room: Room,
    /// Milliseconds for which an event is held without word from its holder.
    pub(crate) held_ms: u64,
}

impl ServeLimits {
    /// For inboxes.
    pub(crate) fn inbox(&self) -> InboxPolicy {
        InboxPolicy {
            retry: RetryPolicy {
                attempts_max: u32::try_from(self.attempts).unwrap_or(u32::MAX),
                base_ms: self.retry_ms,
                delay_ms_max: self.retry_wait_ms,
                jitter: RetryPolicy::default().jitter,
            },
            side_by_side: usize::try_from(self.side_by_side).unwrap_or(usize::MAX),
            held_ms: self.held_ms,
            room: Room { events_max: self.waiting_events, bytes_max: self.waiting_bytes },
        }
    }
}

impl InboxPolicy {
    /// How often a holder says that it is still there.
    fn beat_ms(&self) -> u64 {
        (self.held_ms / 6).max(1)
    }
}

/// Where a connection's events wait. Clones are the same one.
#[derive(Clone)]
pub(crate) struct Inbox(Arc<Parts>);

struct Parts {
    handler: Handler,
    policy: InboxPolicy,
    /// This process, among others.
    holder: String,
    wake: Notify,
    /// Events given up since the start.
    dead: AtomicU64,
    /// When events are due that were put off here, as far as that is still to come.
    dues: Mutex<BTreeSet<Timestamp>>,
    /// Until then nothing is handed over, in milliseconds: the outbox had no room.
    full_until: AtomicU64,
    /// The events that are worked on here, until they are put off.
    at_work: Mutex<BTreeSet<u64>>,
}

/// An event that is worked on here, until this is dropped. Another process, whose clock is behind this one's, may write
/// down a hold that looks over from here, and it is not taken a second time for that.
struct AtWork(Inbox, u64);

impl AtWork {
    fn on(inbox: &Inbox, id: u64) -> Self {
        inbox.at_work().insert(id);
        Self(inbox.clone(), id)
    }
}

impl Drop for AtWork {
    fn drop(&mut self) {
        self.0.at_work().remove(&self.1);
    }
}

/// A webhook that has been verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Webhook {
    /// Its name in the manifest.
    pub(crate) name: String,
    /// What identifies it.
    pub(crate) key: String,
    /// Those with the same are handled one after the other.
    pub(crate) order: Option<String>,
    /// For how long its key is known, in milliseconds.
    pub(crate) known_ms: u64,
    /// Its header fields, without those that carry signatures.
    pub(crate) headers: Vec<(String, String)>,
    /// The body as received.
    pub(crate) body: Vec<u8>,
}

/// What is stored of a webhook before its body.
#[derive(Deserialize, Serialize)]
struct Head {
    webhook: String,
    headers: Vec<(String, String)>,
    /// Which trace its handling is a part of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    trace: Option<String>,
}

/// The last of these alone.
#[derive(Deserialize)]
struct Traced {
    trace: Option<String>,
}

impl Inbox {
    /// Of a handler's connection.
    ///
    /// # Errors
    /// [`Kind::Internal`] when the operating system gives no random bytes.
    pub(crate) fn new(handler: Handler, policy: InboxPolicy) -> Result<Self> {
        let holder = crate::random::name()?;
        Ok(Self(Arc::new(Parts {
            handler,
            policy,
            holder,
            wake: Notify::new(),
            dead: AtomicU64::new(0),
            dues: Mutex::default(),
            full_until: AtomicU64::new(0),
            at_work: Mutex::default(),
        })))
    }

    /// Events that were given up since the start.
    pub(crate) fn dead(&self) -> u64 {
        self.0.dead.load(Ordering::Relaxed)
    }

    /// When what was emitted for the connection found no room last.
    pub(crate) fn full_at(&self) -> Option<Timestamp> {
        self.0.handler.full_at()
    }

    /// Stores a webhook, durable when this ends, unless its key is known.
    ///
    /// # Errors
    /// What the store says; then nothing was stored.
    pub(crate) async fn receive(&self, webhook: Webhook) -> Result<Claimed> {
        let Parts { handler, policy, wake, .. } = &*self.0;
        let at = handler.clock().now();
        let Webhook { name, key, order, known_ms, headers, body } = webhook;
        let arrival = Arrival {
            connection: handler.connection().to_owned(),
            trigger: format!("webhook {name}"),
            key,
            order,
            at,
            known_until: at.plus(known_ms),
            content: write(&Head { webhook: name, headers, trace: Trace::current().map(Trace::traceparent) }, &body)?,
        };
        let claimed = handler.store().claim(arrival, policy.room).await?;
        if matches!(claimed, Claimed::New(_)) {
            wake.notify_one();
        }
        Ok(claimed)
    }

    /// The connection.
    pub(crate) fn connection(&self) -> &str {
        self.0.handler.connection()
    }

    /// Looks at once for what is due, as after a replay.
    pub(crate) fn wake(&self) {
        self.0.wake.notify_one();
    }

    /// Hands events over until `stop` is true; then it begins nothing new, and ends when what it holds is over. What the
    /// store does not answer is asked for again.
    pub(crate) async fn run(&self, mut stop: watch::Receiver<bool>) {
        let clock = self.0.handler.clock().clone();
        let mut working = JoinSet::new();
        let mut held: HashMap<tokio::task::Id, u64> = HashMap::new();
        let mut beat = clock.now().plus(self.0.policy.beat_ms());
        loop {
            let now = clock.now();
            let free = self.0.policy.side_by_side.saturating_sub(working.len());
            // Where nobody can say so any more, it is the same.
            let is_over = *stop.borrow() || stop.has_changed().is_err();
            if free > 0 && !is_over {
                for stored in self.due(free).await {
                    let (inbox, id) = (self.clone(), stored.id);
                    let at_work = AtWork::on(self, id);
                    let task = working.spawn(async move { inbox.work(stored, at_work).await });
                    held.insert(task.id(), id);
                }
            }
            if working.is_empty() && is_over {
                return;
            }
            tokio::select! {
                Some(done) = working.join_next_with_id() => {
                    held.remove(&match done {
                        Ok((id, ())) => id,
                        Err(failed) => failed.id(),
                    });
                }
                () = self.0.wake.notified(), if !is_over && working.len() < self.0.policy.side_by_side => {}
                _ = stop.changed(), if !is_over => {}
                () = clock.alarm(beat.min(self.looks_at(now))) => {
                    if clock.now() < beat {
                        continue;
                    }
                    beat = clock.now().plus(self.0.policy.beat_ms());
                    for id in held.values() {
                        let until = clock.now().plus(self.0.policy.held_ms);
                        // Where it is not ours any more, nothing is kept of what comes of it.
                        let _ = self.0.handler.store().hold(*id, &self.0.holder, until).await;
                    }
                }
            }
        }
    }

    /// When it is looked again for what is due, where it was now.
    fn looks_at(&self, now: Timestamp) -> Timestamp {
        let mut dues = self.dues();
        *dues = dues.split_off(&now.plus(1));
        let room_at = self.0.handler.room_at().unwrap_or(Timestamp::MAX);
        dues.first().copied().unwrap_or(Timestamp::MAX).min(room_at).min(now.plus(LOOK_MS))
    }

    fn dues(&self) -> std::sync::MutexGuard<'_, BTreeSet<Timestamp>> {
        self.0.dues.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn at_work(&self) -> std::sync::MutexGuard<'_, BTreeSet<u64>> {
        self.0.at_work.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn due(&self, limit: usize) -> Vec<Stored> {
        let Parts { handler, holder, full_until, .. } = &*self.0;
        let now = handler.clock().now();
        // What nobody has taken is tried no time, and is another's to take.
        if now.as_millis() < full_until.load(Ordering::Relaxed) || handler.room_at().is_some() {
            return Vec::new();
        }
        let (connection, until) = (handler.connection(), now.plus(self.0.policy.held_ms));
        let at_work: Vec<u64> = self.at_work().iter().copied().collect();
        let taken = handler.store().take_others(connection, holder, now, until, limit as u64, &at_work).await;
        taken.unwrap_or_else(|error| {
            tracing::error!(target: "wharfage::inbound", connection, "events cannot be read: {error}");
            Vec::new()
        })
    }

    /// Hands one event over, as a part of the trace of its delivery, and lets it go.
    async fn work(&self, stored: Stored, at_work: AtWork) {
        let trace = head(&stored.arrival.content).and_then(|(head, _)| serde_json::from_slice::<Traced>(head).ok());
        let here = Here::after(trace.and_then(|traced| Trace::parse(&traced.trace?)));
        let span = tracing::error_span!(
            target: "wharfage::inbound", "event", otel.kind = "consumer",
            trace_id = %here.trace_id(), span_id = %here.span_id(), parent_id = here.parent_id(),
            connection = self.0.handler.connection(), trigger = stored.arrival.trigger, id = stored.id, attempts = stored.attempts
        );
        here.run(span, self.work_on(stored, at_work)).await;
    }

    async fn work_on(&self, stored: Stored, at_work: AtWork) {
        let Parts { handler, holder, wake, .. } = &*self.0;
        let Stored { id, attempts, arrival, .. } = stored;
        let handled = self.hand_over(id, &arrival).await;
        let connection = handler.connection();
        let Err(error) = handled else {
            tracing::debug!(target: "wharfage::inbound", connection, id, "an event was handled");
            drop(at_work);
            // Whoever waited for the order is free now.
            wake.notify_one();
            return;
        };
        let is_full = is_outbox_full(&error);
        let due = match is_full {
            true => Some(self.full()),
            false => self.again(&error, u32::try_from(attempts).unwrap_or(u32::MAX)),
        };
        match due {
            Some(at) => tracing::warn!(
                target: "wharfage::inbound", connection, id, attempts, again = %at, "an event was not handled: {error}"
            ),
            None => tracing::error!(
                target: "wharfage::inbound", connection, id, attempts,
                "an event is given up: {error}; to try it again: wharfage events replay {id}"
            ),
        }
        let why = error.to_string();
        // It may be taken again as soon as it is put off, which is before this ends.
        drop(at_work);
        match handler.store().put_off(id, holder, due, &why, !is_full).await {
            Ok(is_ours) => {
                self.dues().extend(due);
                self.0.dead.fetch_add(u64::from(is_ours && due.is_none()), Ordering::Relaxed);
            }
            // It is let go when its time is over.
            Err(error) => {
                tracing::error!(target: "wharfage::inbound", connection, id, "an event cannot be put off: {error}");
            }
        }
        wake.notify_one();
    }

    async fn hand_over(&self, id: u64, arrival: &Arrival) -> Result<()> {
        let Parts { handler, holder, .. } = &*self.0;
        let (head, body) = read(&arrival.content)?;
        let trigger = Trigger::Webhook { endpoint: head.webhook, headers: head.headers, body: body.to_vec() };
        let event = format!("{} {id}", arrival.trigger);
        for _ in 0..CONFLICTS_MAX {
            let held = Some((id, holder.clone()));
            if handler.handle_held(&arrival.trigger, &event, trigger.clone(), held).await?.is_some() {
                return Ok(());
            }
            // Another event moved the cursor, and nothing is wrong with this one; or it is another process's by now.
            let until = handler.clock().now().plus(self.0.policy.held_ms);
            if !handler.store().hold(id, holder, until).await? {
                return Ok(());
            }
        }
        Err(Error::new(Kind::Conflict, format!("the cursor moved {CONFLICTS_MAX} times while this was handled")))
    }

    /// Hands nothing over for a while: the next event would find no room either, and its plugin would have worked in vain.
    /// Answers until when.
    fn full(&self) -> Timestamp {
        let until = self.0.handler.clock().now().plus(FULL_MS);
        self.0.full_until.store(until.as_millis(), Ordering::Relaxed);
        until
    }

    /// When an event that was not handled is tried again; never, after so many attempts.
    fn again(&self, error: &Error, attempts: u32) -> Option<Timestamp> {
        let Parts { handler, policy, .. } = &*self.0;
        let clock = handler.clock();
        if attempts >= policy.retry.attempts_max {
            return None;
        }
        let now = clock.now();
        let at = now.plus(backoff_ms(&policy.retry, attempts, clock.jitter()));
        Some(error.retry_at().map_or(at, |said| at.max(said.min(now.plus(RETRY_AT_MS_MAX)))))
    }
}

/// A head's length in four bytes, the head, the body as it came.
fn write(head: &Head, body: &[u8]) -> Result<Vec<u8>> {
    let head = serde_json::to_vec(head).map_err(|_| Error::internal("an event could not be written"))?;
    let length = u32::try_from(head.len()).map_err(|_| Error::internal("an event's head is too long"))?;
    let mut out = Vec::with_capacity(4 + head.len() + body.len());
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(&head);
    out.extend_from_slice(body);
    Ok(out)
}

fn read(content: &[u8]) -> Result<(Head, &[u8])> {
    let parts = head(content).and_then(|(head, body)| Some((serde_json::from_slice(head).ok()?, body)));
    parts.ok_or_else(|| Error::internal("a stored event cannot be read"))
}

/// The head as it was written, and the body.
fn head(content: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = content.split_first_chunk::<4>()?;
    rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)
}

/// Header fields.
pub(crate) type Headers = Vec<(String, String)>;

/// Header fields and body of what was stored, for whoever looks at it.
///
/// # Errors
/// [`Kind::Internal`] where it is something else.
pub(crate) fn opened(content: &[u8]) -> Result<(Headers, Vec<u8>)> {
    read(content).map(|(head, body)| (head.headers, body.to_vec()))
}

#[cfg(test)]
mod tests {
    use serde_json::value::RawValue;

    use super::*;
    use crate::event::{Emission, Event, Outcome};
    use crate::inbound::envelope::Emitter;
    use crate::inbound::handler::{Handles, Keeping, Parts as Made};
    use crate::limits::Limits;
    use crate::store::arrival::{Commit, Emit, EventState, Filter, Sweep};
    use crate::store::{MemoryStore, Store};
    use crate::time::{BoxFuture, Clock, ManualClock};

    /// Emits each body once and counts in its cursor; `script` says how often and how it fails before.
    struct Script<F>(F);

    impl<F> Handles for Script<F>
    where
        F: Fn(&Event) -> BoxFuture<'static, Result<()>> + Send + Sync + 'static,
    {
        fn handle(&self, event: Event) -> BoxFuture<'_, Result<Outcome>> {
            let scripted = (self.0)(&event);
            Box::pin(async move {
                scripted.await?;
                let Trigger::Webhook { body, .. } = event.trigger else { panic!("no webhook") };
                let count: u64 = event.cursor.map_or(0, |cursor| cursor.parse().unwrap());
                Ok(Outcome {
                    emit: vec![Emission {
                        event_type: "thing.seen".into(),
                        key: String::from_utf8(body).unwrap(),
                        data: RawValue::from_string("{}".into()).unwrap(),
                    }],
                    send: Vec::new(),
                    cursor: Some((count + 1).to_string()),
                    more: false,
                })
            })
        }
    }

    fn inbox<F>(store: &Arc<dyn Store>, clock: &ManualClock, script: F) -> Inbox
    where
        F: Fn(&Event) -> BoxFuture<'static, Result<()>> + Send + Sync + 'static,
    {
        inbox_within(Limits::default(), store, clock, script)
    }

    fn inbox_within<F>(limits: Limits, store: &Arc<dyn Store>, clock: &ManualClock, script: F) -> Inbox
    where
        F: Fn(&Event) -> BoxFuture<'static, Result<()>> + Send + Sync + 'static,
    {
        let handler = Handler::new(Made {
            handles: Arc::new(Script(script)),
            emitter: Emitter { connection: "c".into(), account: None, plugin: "p".into() },
            event_types: ["thing.seen".to_owned()].into(),
            limits,
            keeping: Keeping { known_ms: 1 << 40, bytes_max: 1 << 20 },
            store: store.clone(),
            clock: Arc::new(clock.clone()),
            told: Arc::new(|| ()),
        });
        let retry = RetryPolicy { attempts_max: 3, base_ms: 1_000, delay_ms_max: 60_000, jitter: 0.25 };
        let room = Room { events_max: 1_000, bytes_max: 1 << 20 };
        Inbox::new(handler, InboxPolicy { retry, side_by_side: 4, room, held_ms: 30_000 }).unwrap()
    }

    fn webhook(key: &str, order: Option<&str>) -> Webhook {
        Webhook {
            name: "w".into(),
            key: key.into(),
            order: order.map(str::to_owned),
            known_ms: 86_400_000,
            headers: vec![("x-a".into(), "1".into())],
            body: key.as_bytes().to_vec(),
        }
    }

    async fn emitted(store: &Arc<dyn Store>) -> Vec<String> {
        let outbox = store.outbox(0, 1_000).await.unwrap();
        let key = |out: &crate::store::arrival::Outgoing| {
            serde_json::from_slice::<crate::inbound::envelope::Emitted>(&out.content).unwrap().key
        };
        outbox.iter().map(key).collect()
    }

    async fn states(store: &Arc<dyn Store>) -> Vec<EventState> {
        let all = store.events(Filter { limit: 1_000, ..Filter::default() }).await.unwrap();
        all.iter().map(|stored| stored.state).collect()
    }

    fn fine(_: &Event) -> BoxFuture<'static, Result<()>> {
        Box::pin(async { Ok(()) })
    }

    /// An inbox at work, and what stops it.
    fn running(inbox: &Inbox) -> (watch::Sender<bool>, tokio::task::JoinHandle<()>) {
        let (stop, stopped) = watch::channel(false);
        let inbox = inbox.clone();
        (stop, tokio::spawn(async move { inbox.run(stopped).await }))
    }

    async fn drained((stop, working): (watch::Sender<bool>, tokio::task::JoinHandle<()>)) {
        stop.send_replace(true);
        working.await.unwrap();
    }

    /// Turns the clock until nothing waits any more.
    async fn until_nothing_waits(store: &Arc<dyn Store>, clock: &ManualClock) {
        for _ in 0..10_000 {
            for _ in 0..20 {
                tokio::task::yield_now().await;
            }
            if !states(store).await.contains(&EventState::Waiting) {
                return;
            }
            clock.advance(500);
        }
        panic!("something waits for ever");
    }

    fn parts() -> (Arc<dyn Store>, ManualClock) {
        (Arc::new(MemoryStore::default()), ManualClock::new(Timestamp::from_millis(1_000), 7))
    }

    /// The guide checks whether an event is known, and remembers it afterwards: ten copies at once are all handled.
    #[tokio::test]
    async fn guide_s09_copies_at_once_have_one_effect() {
        let (store, clock) = parts();
        let all: Vec<Inbox> = (0..4).map(|_| inbox(&store, &clock, fine)).collect();
        let received = (0..64).map(|number| all[number % 4].receive(webhook("e", None)));
        let received = futures_util::future::join_all(received).await;
        let new = received.into_iter().filter(|claimed| matches!(claimed, Ok(Claimed::New(_)))).count();
        assert_eq!(new, 1);
        let all: Vec<_> = all.iter().map(running).collect();
        until_nothing_waits(&store, &clock).await;
        assert_eq!(emitted(&store).await, ["e"]);
        for at_work in all {
            drained(at_work).await;
        }
    }

    #[tokio::test]
    async fn what_keeps_failing_becomes_a_dead_letter_and_can_be_replayed() {
        let (store, clock) = parts();
        let tries = Arc::new(AtomicU64::new(0));
        let counted = tries.clone();
        let failing = inbox(&store, &clock, move |_| {
            let number = counted.fetch_add(1, Ordering::Relaxed);
            Box::pin(async move { if number < 3 { Err(Error::internal("it traps")) } else { Ok(()) } })
        });
        failing.receive(webhook("e", None)).await.unwrap();
        let at_work = running(&failing);
        until_nothing_waits(&store, &clock).await;
        assert_eq!((states(&store).await, tries.load(Ordering::Relaxed)), (vec![EventState::Dead], 3));
        let dead = store.events(Filter { limit: 1, ..Filter::default() }).await.unwrap();
        assert!(dead[0].why.contains("it traps"), "{}", dead[0].why);
        assert!(store.replay(dead[0].id, clock.now()).await.unwrap());
        failing.wake();
        until_nothing_waits(&store, &clock).await;
        assert_eq!((states(&store).await, emitted(&store).await), (vec![EventState::Handled], vec!["e".to_owned()]));
        drained(at_work).await;
    }

    /// What the provider answers is the plugin's to judge: it is no cursor that moved.
    #[tokio::test]
    async fn a_conflict_that_the_plugin_tells_of_is_an_attempt_like_another() {
        let (store, clock) = parts();
        let tries = Arc::new(AtomicU64::new(0));
        let counted = tries.clone();
        let conflicting = inbox(&store, &clock, move |_| {
            counted.fetch_add(1, Ordering::Relaxed);
            Box::pin(async { Err(Error::new(Kind::Conflict, "answered 409")) })
        });
        conflicting.receive(webhook("e", None)).await.unwrap();
        let at_work = running(&conflicting);
        until_nothing_waits(&store, &clock).await;
        let dead = store.events(Filter { limit: 1, ..Filter::default() }).await.unwrap();
        assert_eq!((dead[0].state, tries.load(Ordering::Relaxed)), (EventState::Dead, 3));
        assert!(dead[0].why.contains("answered 409"), "{}", dead[0].why);
        drained(at_work).await;
    }

    /// It knows nothing of the outbox, and would be run in vain for ever.
    #[tokio::test]
    async fn a_full_outbox_that_the_plugin_tells_of_is_an_attempt_like_another() {
        let (store, clock) = parts();
        let full = inbox(&store, &clock, |_| Box::pin(async { Err(Error::limit("outbox_bytes", "no room, it says")) }));
        full.receive(webhook("e", None)).await.unwrap();
        let at_work = running(&full);
        until_nothing_waits(&store, &clock).await;
        let dead = store.events(Filter { limit: 1, ..Filter::default() }).await.unwrap();
        assert_eq!((dead[0].state, full.full_at()), (EventState::Dead, None));
        assert!(dead[0].why.contains("no room, it says"), "{}", dead[0].why);
        drained(at_work).await;
    }

    /// Not at the next look for what others left.
    #[tokio::test]
    async fn an_event_that_was_put_off_is_tried_again_when_it_is_due() {
        let (store, clock) = parts();
        let asked_at = Arc::new(Mutex::new(Vec::new()));
        let (noted, now) = (asked_at.clone(), clock.clone());
        let failing = inbox(&store, &clock, move |_| {
            let mut noted = noted.lock().unwrap();
            noted.push(now.now());
            let is_first = noted.len() == 1;
            Box::pin(async move { if is_first { Err(Error::internal("not yet")) } else { Ok(()) } })
        });
        failing.receive(webhook("e", None)).await.unwrap();
        let at_work = running(&failing);
        until_nothing_waits(&store, &clock).await;
        let asked_at = asked_at.lock().unwrap().clone();
        assert!(asked_at[1].since(asked_at[0]) <= 2_000, "{asked_at:?}");
        drained(at_work).await;
    }

    /// A process whose clock is right brings down what one that is ahead holds, and which that one works on all the same.
    #[tokio::test]
    async fn what_another_clock_brought_down_is_worked_on_once() {
        let (store, clock) = parts();
        clock.advance(2 * crate::store::rules::AHEAD_MS);
        let (tries, (go, gone)) = (Arc::new(AtomicU64::new(0)), watch::channel(false));
        let counted = tries.clone();
        let slow = inbox(&store, &clock, move |_| {
            let is_first = counted.fetch_add(1, Ordering::Relaxed) == 0;
            let mut gone = gone.clone();
            Box::pin(async move {
                let _ = gone.wait_for(|gone| *gone).await;
                if is_first { Err(Error::internal("not yet")) } else { Ok(()) }
            })
        });
        slow.receive(webhook("e", None)).await.unwrap();
        let at_work = running(&slow);
        let settle = async || {
            for _ in 0..50 {
                tokio::task::yield_now().await;
            }
        };
        settle().await;
        let now = Timestamp::from_millis(1);
        assert!(store.take("c", "other", now, now.plus(30_000), 10).await.unwrap().is_empty(), "it is held");
        slow.wake();
        settle().await;
        let waiting = store.events(Filter { limit: 1, ..Filter::default() }).await.unwrap();
        assert_eq!((tries.load(Ordering::Relaxed), waiting[0].attempts), (1, 1));
        // Once it is put off it may be taken, and only then.
        go.send_replace(true);
        until_nothing_waits(&store, &clock).await;
        let handled = store.events(Filter { limit: 1, ..Filter::default() }).await.unwrap();
        assert_eq!((tries.load(Ordering::Relaxed), handled[0].attempts), (2, 2));
        drained(at_work).await;
    }

    /// Sinks that take nothing cost no event an attempt, and no plugin its work over and over.
    #[tokio::test]
    async fn events_wait_until_the_outbox_has_room() {
        let (store, clock) = parts();
        let tries = Arc::new(AtomicU64::new(0));
        let counted = tries.clone();
        let waiting = inbox(&store, &clock, move |_| {
            counted.fetch_add(1, Ordering::Relaxed);
            Box::pin(async { Ok(()) })
        });
        let full = Commit {
            connection: "c".into(),
            at: clock.now(),
            event: None,
            step: None,
            emit: vec![Emit { name: "before".into(), content: vec![0; 1 << 19] }],
            known_until: Timestamp::MAX,
            bytes_max: u64::MAX,
        };
        store.commit(full).await.unwrap();
        for number in 0..20 {
            waiting.receive(webhook(&number.to_string(), None)).await.unwrap();
        }
        let at_work = running(&waiting);
        for _ in 0..20 * 60 {
            for _ in 0..20 {
                tokio::task::yield_now().await;
            }
            clock.advance(500);
        }
        let all = store.events(Filter { limit: 100, ..Filter::default() }).await.unwrap();
        assert!(all.iter().all(|stored| (stored.state, stored.attempts) == (EventState::Waiting, 0)), "{all:?}");
        assert!((8..=44).contains(&tries.load(Ordering::Relaxed)), "four a minute, for ten minutes: {tries:?}");
        assert!(clock.now().since(waiting.full_at().unwrap()) <= 120_000, "{:?}", waiting.full_at());
        store.advance_sink("s", 1, None).await.unwrap();
        let read = Sweep { now: clock.now(), sinks: vec!["s".into()], ..Sweep::default() };
        store.sweep(read).await.unwrap();
        until_nothing_waits(&store, &clock).await;
        assert_eq!(states(&store).await, [EventState::Handled; 20]);
        drained(at_work).await;
    }

    /// An event that waits for the pace costs no attempt, is nobody's, and holds up no drain.
    #[tokio::test]
    async fn events_wait_until_there_is_time_for_what_they_emit() {
        let (store, clock) = parts();
        let limits = Limits { emitted_second_events: 1, ..Limits::default() };
        let paced = inbox_within(limits, &store, &clock, fine);
        for number in 0..6 {
            paced.receive(webhook(&number.to_string(), None)).await.unwrap();
        }
        let at_work = running(&paced);
        for _ in 0..50 {
            tokio::task::yield_now().await;
        }
        drained(at_work).await;
        let all = store.events(Filter { limit: 10, ..Filter::default() }).await.unwrap();
        let waiting = all.iter().filter(|stored| stored.state == EventState::Waiting);
        let tried: Vec<u64> = waiting.map(|stored| stored.attempts).collect();
        assert_eq!(tried, [0, 0], "four began together");
        let at_work = running(&paced);
        until_nothing_waits(&store, &clock).await;
        assert_eq!(emitted(&store).await.len(), 6);
        drained(at_work).await;
    }

    #[tokio::test]
    async fn a_plugin_puts_off_an_event_by_a_day_at_most() {
        let (store, clock) = parts();
        let never = inbox(&store, &clock, |_| Box::pin(async { Ok(()) }));
        let error = Error::new(Kind::RateLimited, "x").with_retry_at(Some(Timestamp::MAX));
        assert_eq!(never.again(&error, 1), Some(clock.now().plus(RETRY_AT_MS_MAX)));
        let soon = Error::new(Kind::RateLimited, "x").with_retry_at(Some(clock.now()));
        assert!(never.again(&soon, 1).unwrap() > clock.now(), "sooner than it would be tried anyway");
    }

    /// One that fails holds up its own order and nobody else's.
    #[tokio::test]
    async fn events_of_one_order_are_handled_one_after_the_other() {
        let (store, clock) = parts();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let noted = seen.clone();
        let ordered = inbox(&store, &clock, move |event| {
            let Trigger::Webhook { body, .. } = &event.trigger else { panic!("no webhook") };
            let body = String::from_utf8(body.clone()).unwrap();
            let first_time = !noted.lock().unwrap().contains(&body);
            noted.lock().unwrap().push(body.clone());
            Box::pin(async move {
                tokio::task::yield_now().await;
                if first_time && body == "a1" { Err(Error::internal("not yet")) } else { Ok(()) }
            })
        });
        for (key, order) in [("a1", Some("a")), ("a2", Some("a")), ("b1", Some("b")), ("x", None), ("a3", Some("a"))] {
            ordered.receive(webhook(key, order)).await.unwrap();
        }
        let at_work = running(&ordered);
        until_nothing_waits(&store, &clock).await;
        let emitted = emitted(&store).await;
        let place = |key: &str| emitted.iter().position(|found| found == key).unwrap();
        assert!(place("a1") < place("a2") && place("a2") < place("a3"), "{emitted:?}");
        assert!(place("b1") < place("a1") && place("x") < place("a1"), "others were held up: {emitted:?}");
        drained(at_work).await;
    }

    /// Ten thousand rounds of: events arrive, processes handle them and die anywhere, others go on. Whatever was claimed
    /// has its effect once, and the cursor counts exactly what was emitted, at every moment.
    #[test]
    fn killed_anywhere_nothing_is_lost_and_nothing_done_twice() {
        let die = ManualClock::new(Timestamp::from_millis(0), 11);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a die")]
        let roll = |sides: u64| (((die.jitter() + 1.0) / 2.0) * sides as f64) as u64;
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let mut kills_in_work = 0;
        for round in 0..10_000u64 {
            runtime.block_on(async {
                let (store, clock) = parts();
                let mut claimed = Vec::new();
                let events = 1 + roll(4);
                for process in 0..3 {
                    let (pauses, fails) = (roll(4), roll(3) == 0 && process < 2);
                    let working = inbox(&store, &clock, move |_| {
                        Box::pin(async move {
                            for _ in 0..pauses {
                                tokio::task::yield_now().await;
                            }
                            if fails { Err(Error::internal("scripted")) } else { Ok(()) }
                        })
                    });
                    for number in 0..events {
                        let key = format!("{number}");
                        let order = (number % 2 == 0).then_some("even");
                        match working.receive(webhook(&key, order)).await.unwrap() {
                            Claimed::New(_) => claimed.push(key),
                            other => assert_eq!(other, Claimed::Repeated, "round {round}"),
                        }
                    }
                    let (_stop, killed) = running(&working);
                    for _ in 0..roll(12) {
                        tokio::task::yield_now().await;
                        let standing = store.cursor("c", "webhook w").await.unwrap();
                        let count = emitted(&store).await.len() as u64;
                        assert_eq!(standing.version, count, "round {round}: cursor and events part");
                    }
                    killed.abort();
                    kills_in_work += u64::from(states(&store).await.contains(&EventState::Waiting));
                    clock.advance(30_000);
                }
                let last = inbox(&store, &clock, fine);
                let at_work = running(&last);
                until_nothing_waits(&store, &clock).await;
                drained(at_work).await;
                let mut emitted = emitted(&store).await;
                emitted.sort();
                let dead: Vec<_> = states(&store).await;
                assert!(!dead.contains(&EventState::Dead), "round {round}");
                claimed.sort();
                assert_eq!(emitted, claimed, "round {round}");
            });
        }
        assert!(kills_in_work > 1_000, "the kills hit nothing: {kills_in_work}");
    }

    #[test]
    fn a_stored_event_comes_back_byte_for_byte() {
        let head = Head { webhook: "w".into(), headers: vec![("a".into(), "b".into())], trace: None };
        let body = [0, 255, 10, 13];
        let content = write(&head, &body).unwrap();
        let (read_head, read_body) = read(&content).unwrap();
        assert_eq!((read_head.webhook.as_str(), read_head.headers.len(), read_body), ("w", 1, &body[..]));
        for cut in 0..content.len() - body.len() {
            assert!(read(&content[..cut]).is_err(), "{cut}");
        }
    }
}
