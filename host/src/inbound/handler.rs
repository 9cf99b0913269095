//! Hands triggers to a plugin and keeps what comes of them: the new cursor and the emitted events together, or neither.
//!
//! Whatever a plugin answers is judged before any of it is kept: the types are declared, and numbers and sizes are within
//! their limits. Whoever hands the same event over again, because the process died or the plugin failed, does nothing
//! twice: events that were emitted are known by name, and a cursor only moves from where it stood. Over time a connection
//! emits no more than its limit a second: who emitted more waits before the next is handled, so that nothing is lost.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::envelope::Emitter;
use crate::error::{Error, Kind, Result};
use crate::event::{EVENT_NAME_BYTES_MAX, Emission, Event, Outcome, Trigger};
use crate::limits::Limits;
use crate::plugin::Plugin;
use crate::policy::serve::ServeLimits;
use crate::store::Store;
use crate::store::arrival::{Commit, Committed, Emit, Standing, Step};
use crate::text::shown;
use crate::time::{BoxFuture, Clock, Timestamp};

/// Whoever handles events: a plugin, or a script in a test.
pub(crate) trait Handles: Send + Sync + 'static {
    /// Handles one.
    fn handle(&self, event: Event) -> BoxFuture<'_, Result<Outcome>>;
}

impl Handles for Plugin {
    fn handle(&self, event: Event) -> BoxFuture<'_, Result<Outcome>> {
        Box::pin(Self::handle(self, event))
    }
}

/// Hands triggers of one connection to its plugin. Clones are the same one.
#[derive(Clone)]
pub(crate) struct Handler(Arc<Parts>, Arc<Outflow>);

/// What holds up what is next.
#[derive(Default)]
struct Outflow {
    /// When the outbox had no room last, in milliseconds; 0 where it always had.
    full_at: AtomicU64,
    pace: Mutex<Pace>,
}

/// How much the connection emitted, as far as that was more than a second holds.
#[derive(Debug, Default)]
struct Pace {
    /// The second that is being counted.
    second: u64,
    /// What was emitted in it, and before it beyond the limit.
    events: u64,
    /// Until when the next had to wait last.
    waited: Option<Timestamp>,
}

/// Who has not waited for as long is told of it once more.
const TOLD_AGAIN_MS: u64 = 60_000;

impl Pace {
    /// Until when the next has to wait, where a second holds so many; nothing where it has not. Whether that is to be told.
    fn wait(&mut self, now: Timestamp, most: u64) -> Option<(Timestamp, bool)> {
        let (second, most) = (now.as_millis() / 1_000, most.max(1));
        self.events = self.events.saturating_sub(most.saturating_mul(second.saturating_sub(self.second)));
        self.second = self.second.max(second);
        let more = self.events / most;
        if more == 0 {
            return None;
        }
        let at = Timestamp::from_millis(self.second.saturating_add(more).saturating_mul(1_000));
        let before = self.waited.replace(at);
        Some((at, before.is_none_or(|before| now.since(before) > TOLD_AGAIN_MS)))
    }

    fn spend(&mut self, events: u64) {
        self.events = self.events.saturating_add(events);
    }
}

/// What a handler is made of.
pub(crate) struct Parts {
    /// Who handles.
    pub(crate) handles: Arc<dyn Handles>,
    /// In whose name events are emitted.
    pub(crate) emitter: Emitter,
    /// The types of events that may be.
    pub(crate) event_types: BTreeSet<String>,
    /// The connection's limits.
    pub(crate) limits: Limits,
    /// For how long emitted events are known and kept.
    pub(crate) keeping: Keeping,
    /// Where everything is kept.
    pub(crate) store: Arc<dyn Store>,
    /// What time it is.
    pub(crate) clock: Arc<dyn Clock>,
    /// Told when something was emitted.
    pub(crate) told: Arc<dyn Fn() + Send + Sync>,
}

/// For how long emitted events are known, and how much of them is kept.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Keeping {
    /// Milliseconds that an emitted event is known by name, so that it is not emitted again.
    pub(crate) known_ms: u64,
    /// Bytes of all emitted events that sinks have not read.
    pub(crate) bytes_max: u64,
}

impl ServeLimits {
    /// For handlers.
    pub(crate) fn keeping(&self) -> Keeping {
        Keeping { known_ms: self.emitted_known_ms, bytes_max: self.outbox_bytes }
    }
}

impl Keeping {
    /// There is no room for what is emitted, so called.
    pub(crate) fn exceeded(&self, what: &str) -> Error {
        let most = self.bytes_max;
        let message =
            format!("{what} would exceed the limit outbox_bytes: {most} bytes of all connections, half of them of one");
        Error::limit(OUTBOX, message).with_details(
            "Sinks have not taken what waits there, or there is none; look at `wharfage status`. To keep more, set \
             serve.limits.outbox_bytes",
        )
    }

    /// So many bytes at once find no room, however much sinks take.
    fn never_fits(&self, bytes: u64) -> Error {
        let half = self.bytes_max / 2;
        let message = format!("{bytes} bytes of events were emitted at once, and one connection has room for {half}");
        Error::limit("emitted_bytes", message).with_details("That is half of serve.limits.outbox_bytes; raise it")
    }
}

/// The limit on what was emitted and is kept.
const OUTBOX: &str = "outbox_bytes";

/// Whether nothing is wrong but that sinks have not taken what was emitted.
pub(crate) fn is_outbox_full(error: &Error) -> bool {
    matches!(error.kind(), Kind::LimitExceeded(limit) if limit == OUTBOX)
}

/// What a plugin ended with. Of the outbox it knows nothing: where it says that there is no room, that is a defect.
fn of_plugin(error: Error) -> Error {
    match is_outbox_full(&error) {
        true => Error::internal(error.message()).with_retry_at(error.retry_at()),
        false => error,
    }
}

/// A trigger that was handled and kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Handled {
    /// Messages to send on the socket that it came from: now, and never again.
    pub(crate) send: Vec<Vec<u8>>,
    /// Whether the cursor is another than before.
    pub(crate) has_moved: bool,
    /// Whether the plugin says that there is more at once.
    pub(crate) more: bool,
    /// How many events were emitted that had not been before.
    pub(crate) emitted: u64,
}

impl Handler {
    /// Over these parts.
    pub(crate) fn new(parts: Parts) -> Self {
        Self(Arc::new(parts), Arc::default())
    }

    /// When what was emitted found no room last.
    pub(crate) fn full_at(&self) -> Option<Timestamp> {
        let at = self.1.full_at.load(Ordering::Relaxed);
        (at > 0).then(|| Timestamp::from_millis(at))
    }

    /// The connection.
    pub(crate) fn connection(&self) -> &str {
        &self.0.emitter.connection
    }

    /// The store that it keeps things in.
    pub(crate) fn store(&self) -> &Arc<dyn Store> {
        &self.0.store
    }

    /// The clock it goes by.
    pub(crate) fn clock(&self) -> &Arc<dyn Clock> {
        &self.0.clock
    }

    /// Where a trigger stands; version 0 is: there never was a cursor.
    pub(crate) async fn cursor(&self, name: &str) -> Result<Standing> {
        self.0.store.cursor(self.connection(), name).await
    }

    /// Sets a cursor from outside, or forgets it: false where it moved meanwhile.
    pub(crate) async fn set_cursor(&self, name: &str, expected: u64, cursor: Option<String>) -> Result<bool> {
        let step = Step { trigger: name.to_owned(), expected, cursor };
        Ok(self.commit(None, Some(step), Vec::new()).await? != Committed::Stale)
    }

    /// Hands a trigger over. `name` is what its cursor is kept under, as `poll transfers`; `id` is the event's, the same
    /// over all attempts.
    ///
    /// # Errors
    /// The plugin's own; [`Kind::Internal`] for an answer that is none; [`Kind::LimitExceeded`] for one that is too much;
    /// [`Kind::Conflict`] when somebody else moved the cursor meanwhile. Nothing is kept then.
    pub(crate) async fn handle(&self, name: &str, id: &str, trigger: Trigger) -> Result<Handled> {
        self.keep_pace().await;
        let handled = self.handle_held(name, id, trigger, None).await?;
        handled.ok_or_else(|| {
            let message = format!("{name} moved on while this was handled; nothing was kept of it");
            Error::new(Kind::Conflict, message)
        })
    }

    /// The same for an event of the store, which is over when what comes of it is kept; nothing where the cursor moved, or
    /// the event is another's by now. It waits for no pace: whoever takes events asks [`Self::room_at`] before.
    pub(crate) async fn handle_held(
        &self,
        name: &str,
        id: &str,
        trigger: Trigger,
        held: Option<(u64, String)>,
    ) -> Result<Option<Handled>> {
        let Standing { version, cursor } = self.cursor(name).await?;
        let event = Event { id: id.to_owned(), trigger, cursor: cursor.clone() };
        let outcome = self.0.handles.handle(event).await.map_err(of_plugin)?;
        self.check(&outcome)?;
        let has_moved = outcome.cursor.is_some() && outcome.cursor != cursor;
        let step = outcome.cursor.clone().filter(|_| has_moved);
        let step = step.map(|cursor| Step { trigger: name.to_owned(), expected: version, cursor: Some(cursor) });
        let emit = self.emit(outcome.emit, outcome.cursor.as_deref())?;
        let bytes: u64 = emit.iter().map(|emit| emit.content.len() as u64).sum();
        let events = emit.len() as u64;
        let keeping = &self.0.keeping;
        match self.commit(held, step, emit).await? {
            Committed::Kept { emitted } => {
                self.pace().spend(events);
                if emitted > 0 {
                    (self.0.told)();
                }
                Ok(Some(Handled { send: outcome.send, has_moved, more: outcome.more, emitted }))
            }
            Committed::Stale => Ok(None),
            Committed::Full if bytes > keeping.bytes_max / 2 => Err(keeping.never_fits(bytes)),
            Committed::Full => {
                self.1.full_at.store(self.0.clock.now().as_millis(), Ordering::Relaxed);
                Err(keeping.exceeded("emitted events"))
            }
        }
    }

    /// Until when there is no room for what this connection would emit next; nothing where there is.
    pub(crate) fn room_at(&self) -> Option<Timestamp> {
        let most = self.0.limits.emitted_second_events;
        let (at, is_new) = self.pace().wait(self.0.clock.now(), most)?;
        if is_new {
            let connection = self.connection();
            tracing::warn!(
                target: "wharfage::inbound", connection,
                "emitted_second_events {most} is reached: what is next waits until {at}"
            );
        }
        Some(at)
    }

    /// Waits until there is room.
    pub(crate) async fn keep_pace(&self) {
        while let Some(at) = self.room_at() {
            self.0.clock.sleep_until(at).await;
        }
    }

    fn pace(&self) -> std::sync::MutexGuard<'_, Pace> {
        self.1.pace.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn commit(&self, event: Option<(u64, String)>, step: Option<Step>, emit: Vec<Emit>) -> Result<Committed> {
        let at = self.0.clock.now();
        let Keeping { known_ms, bytes_max } = self.0.keeping;
        let connection = self.connection().to_owned();
        let commit = Commit { connection, at, event, step, emit, known_until: at.plus(known_ms), bytes_max };
        self.0.store.commit(commit).await
    }

    fn emit(&self, emissions: Vec<Emission>, cursor: Option<&str>) -> Result<Vec<Emit>> {
        let at = self.0.clock.now();
        let emit = emissions.into_iter().map(|emission| {
            let emitted = self.0.emitter.emitted(emission, at, cursor);
            let content = serde_json::to_vec(&emitted);
            let content = content.map_err(|_| Error::internal("an emitted event could not be written"))?;
            Ok(Emit { name: emitted.id, content })
        });
        emit.collect()
    }

    /// R21: what a plugin emits is declared and bounded.
    fn check(&self, outcome: &Outcome) -> Result<()> {
        let plugin = &self.0.emitter.plugin;
        outcome.check(plugin, &self.0.limits)?;
        for Emission { event_type, key, .. } in &outcome.emit {
            let cut: String = event_type.chars().take(100).collect();
            if key.is_empty() {
                return Err(Error::internal(format!("{plugin} emitted an event whose key has no bytes")));
            }
            if event_type.len().max(key.len()) > EVENT_NAME_BYTES_MAX {
                let message = format!(
                    "{plugin} emitted an event whose type or key is longer than the limit event_name_bytes of \
                     {EVENT_NAME_BYTES_MAX}"
                );
                return Err(Error::limit("event_name_bytes", message).with_details(crate::limits::FIXED));
            }
            if !self.0.event_types.contains(event_type) {
                return Err(Error::internal(format!(
                    "{plugin} emitted an event of the type `{}`, which its manifest does not declare",
                    shown(&cut)
                ))
                .with_details(format!("In plugin.toml:   [events.\"{}\"]", shown(&cut))));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::value::RawValue;

    use super::*;
    use crate::event::Poll;
    use crate::store::MemoryStore;
    use crate::time::ManualClock;

    /// Answers what it was made with.
    struct Scripted(Outcome);

    impl Handles for Scripted {
        fn handle(&self, _: Event) -> BoxFuture<'_, Result<Outcome>> {
            Box::pin(async { Ok(self.0.clone()) })
        }
    }

    fn emission(event_type: &str, key: &str, data: &str) -> Emission {
        let data = RawValue::from_string(data.into()).unwrap();
        Emission { event_type: event_type.into(), key: key.into(), data }
    }

    fn outcome(emit: Vec<Emission>, cursor: Option<&str>) -> Outcome {
        Outcome { emit, send: vec![b"pong".to_vec()], cursor: cursor.map(str::to_owned), more: false }
    }

    fn handler(store: &Arc<dyn Store>, connection: &str, limits: Limits, outcome: Outcome) -> Handler {
        handler_on(&ManualClock::new(Timestamp::from_millis(5), 1), store, connection, limits, outcome)
    }

    fn handler_on(
        clock: &ManualClock,
        store: &Arc<dyn Store>,
        connection: &str,
        limits: Limits,
        outcome: Outcome,
    ) -> Handler {
        Handler::new(Parts {
            handles: Arc::new(Scripted(outcome)),
            emitter: Emitter { connection: connection.into(), account: None, plugin: "shop".into() },
            event_types: ["order.paid".to_owned()].into(),
            limits,
            keeping: Keeping { known_ms: 1_000, bytes_max: 4_000 },
            store: store.clone(),
            clock: Arc::new(clock.clone()),
            told: Arc::new(|| ()),
        })
    }

    async fn tried(limits: Limits, outcome: Outcome) -> Result<Handled> {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::default());
        let handler = handler(&store, "acme", limits, outcome);
        let handled = handler.handle("poll orders", "e-1", Trigger::Poll(Poll::new("orders"))).await;
        let kept = (handler.cursor("poll orders").await.unwrap(), store.outbox(0, 10).await.unwrap().len());
        if handled.is_err() {
            assert_eq!(kept, (Standing::default(), 0), "something was kept of what was refused");
        }
        handled
    }

    /// R21: what is not declared is not emitted, and nothing else of that answer is kept either.
    #[tokio::test]
    async fn r21_an_undeclared_type_is_refused_with_the_line_that_declares_it() {
        let all = vec![emission("order.paid", "1", "{}"), emission("order.\u{1b}lost", "1", "{}")];
        let error = tried(Limits::default(), outcome(all, Some("7"))).await.unwrap_err();
        assert!(error.message().contains("does not declare"), "{error}");
        let details = error.details().unwrap();
        assert!(details.contains("[events.\"order.") && !details.contains('\u{1b}'), "{details:?}");
    }

    /// R21: numbers and sizes are capped, each under its name.
    #[tokio::test]
    async fn r21_what_is_emitted_is_bounded() {
        let two = || vec![emission("order.paid", "1", "\"12345678\""), emission("order.paid", "2", "{}")];
        for (limits, name) in [
            (Limits { emitted_events: 1, ..Limits::default() }, "emitted_events"),
            (Limits { emitted_bytes: 11, ..Limits::default() }, "emitted_bytes"),
            (Limits { messages: 0, ..Limits::default() }, "messages"),
            (Limits { message_bytes: 3, ..Limits::default() }, "message_bytes"),
            (Limits { cursor_bytes: 2, ..Limits::default() }, "cursor_bytes"),
        ] {
            let error = tried(limits, outcome(two(), Some("123"))).await.unwrap_err();
            assert_eq!(*error.kind(), Kind::LimitExceeded(name.into()), "{error}");
            assert!(error.details().unwrap().contains(name), "{error:?}");
        }
        for key in [String::new(), "k".repeat(EVENT_NAME_BYTES_MAX + 1)] {
            tried(Limits::default(), outcome(vec![emission("order.paid", &key, "{}")], None)).await.unwrap_err();
        }
        let fine = tried(Limits::default(), outcome(two(), Some("123"))).await.unwrap();
        assert_eq!(fine, Handled { send: vec![b"pong".to_vec()], has_moved: true, emitted: 2, more: false });
    }

    /// R21: three events at one a second have had their time after three seconds, and what is next only waits.
    #[tokio::test]
    async fn r21_who_emits_more_than_a_second_holds_waits_before_the_next() {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::default());
        let clock = ManualClock::new(Timestamp::from_millis(5), 1);
        let limits = Limits { emitted_second_events: 1, ..Limits::default() };
        let three = ["1", "2", "3"].map(|key| emission("order.paid", key, "{}")).to_vec();
        let handler = handler_on(&clock, &store, "acme", limits, outcome(three, None));
        let poll = || Trigger::Poll(Poll::new("orders"));
        assert_eq!(handler.handle("poll orders", "e-1", poll()).await.unwrap().emitted, 3);
        assert_eq!(clock.now(), Timestamp::from_millis(5), "it waited for itself");
        let next = async {
            handler.handle("poll orders", "e-2", poll()).await.unwrap();
            clock.now()
        };
        let turns = async {
            for _ in 0..5 {
                tokio::task::yield_now().await;
                clock.advance(999);
            }
        };
        let (at, ()) = tokio::join!(next, turns);
        assert!(at >= Timestamp::from_millis(3_000), "{at:?}");

        let mut pace = Pace { second: 7, events: 4, waited: None };
        let at = Timestamp::from_millis;
        assert_eq!(pace.wait(at(7_999), 2), Some((at(9_000), true)));
        assert_eq!(pace.wait(at(8_000), 2), Some((at(9_000), false)), "it is told once");
        assert_eq!(pace.wait(at(9_000), 2), None);
        pace.spend(2);
        assert_eq!(pace.wait(at(9_500), 2), Some((at(10_000), false)), "it goes on, and was told");
        assert_eq!(pace.wait(at(80_000), 2), None);
        pace.spend(2);
        assert_eq!(pace.wait(at(80_000), 2), Some((at(81_000), true)));
    }

    /// R21: what one connection emitted hides nothing of another's.
    #[tokio::test]
    async fn r21_an_event_is_known_within_its_connection() {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::default());
        let once = |connection: &str| {
            let all = outcome(vec![emission("order.paid", "1", "{}")], None);
            let handler = handler(&store, connection, Limits::default(), all);
            async move { handler.handle("poll orders", "e", Trigger::Poll(Poll::new("orders"))).await.unwrap().emitted }
        };
        assert_eq!((once("acme").await, once("acme").await, once("other").await), (1, 0, 1));
    }

    #[tokio::test]
    async fn a_full_outbox_moves_no_cursor_and_says_what_helps() {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::default());
        let long = format!("\"{}\"", "x".repeat(1_200));
        let emits = |key: &str, cursor| {
            let all = outcome(vec![emission("order.paid", key, &long)], cursor);
            handler(&store, "acme", Limits::default(), all)
        };
        let poll = || Trigger::Poll(Poll::new("orders"));
        let first = emits("1", None);
        first.handle("poll orders", "e-1", poll()).await.unwrap();
        assert_eq!(first.full_at(), None);
        let full = emits("2", Some("7"));
        let error = full.handle("poll orders", "e-2", poll()).await.unwrap_err();
        assert!(is_outbox_full(&error) && !is_outbox_full(&Error::limit("emitted_events", "too many")), "{error}");
        assert!(error.details().unwrap().contains("wharfage status"), "{error:?}");
        assert_eq!(full.full_at(), Some(Timestamp::from_millis(5)));
        assert_eq!(full.cursor("poll orders").await.unwrap(), Standing::default());
    }

    /// No sink makes so much room.
    #[tokio::test]
    async fn what_never_finds_room_does_not_wait_for_it() {
        let long = format!("\"{}\"", "x".repeat(3_000));
        let all = outcome(vec![emission("order.paid", "1", &long)], Some("7"));
        let error = tried(Limits::default(), all).await.unwrap_err();
        assert_eq!(error.kind(), &Kind::LimitExceeded("emitted_bytes".into()));
        assert!(error.details().unwrap().contains("serve.limits.outbox_bytes"), "{error:?}");
    }

    #[tokio::test]
    async fn whoever_is_overtaken_keeps_nothing() {
        /// Somebody else moves the cursor while this one works.
        struct Overtaken(Arc<dyn Store>);
        impl Handles for Overtaken {
            fn handle(&self, _: Event) -> BoxFuture<'_, Result<Outcome>> {
                Box::pin(async {
                    let other = handler(&self.0, "acme", Limits::default(), outcome(Vec::new(), None));
                    assert!(other.set_cursor("poll orders", 0, Some("3".into())).await.unwrap());
                    assert!(!other.set_cursor("poll orders", 0, Some("4".into())).await.unwrap());
                    Ok(outcome(vec![emission("order.paid", "1", "{}")], Some("2")))
                })
            }
        }
        let store: Arc<dyn Store> = Arc::new(MemoryStore::default());
        let scripted = handler(&store, "acme", Limits::default(), outcome(Vec::new(), None));
        let Parts { emitter, event_types, limits, keeping, clock, .. } = &*scripted.0;
        let overtaken = Handler::new(Parts {
            handles: Arc::new(Overtaken(store.clone())),
            emitter: emitter.clone(),
            event_types: event_types.clone(),
            limits: *limits,
            keeping: *keeping,
            store: store.clone(),
            clock: clock.clone(),
            told: Arc::new(|| ()),
        });
        let error = overtaken.handle("poll orders", "e", Trigger::Poll(Poll::new("orders"))).await.unwrap_err();
        assert_eq!(*error.kind(), Kind::Conflict);
        assert_eq!(overtaken.cursor("poll orders").await.unwrap().cursor.as_deref(), Some("3"));
        assert!(store.outbox(0, 10).await.unwrap().is_empty());
    }
}
