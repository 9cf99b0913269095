//! The verbs for what arrives and what leaves: an event is claimed once and stored before it is acknowledged; a cursor and
//! the events that were emitted with it are kept together or not at all; sinks read what was emitted, each from its own
//! place.

#![cfg_attr(not(feature = "serve"), allow(dead_code, reason = "what arrives and leaves belongs to what serves"))]

use std::collections::BTreeMap;

use crate::error::Result;
use crate::time::{BoxFuture, Timestamp};

/// Events that wait, cursors, and events that leave.
pub(crate) trait Arrivals: Send + Sync + 'static {
    /// Stores an event if none of its key is known, durable when this ends. Of any number that try at once, in any number
    /// of processes, one stores it.
    fn claim(&self, arrival: Arrival, room: Room) -> BoxFuture<'_, Result<Claimed>>;

    /// Up to `limit` events of a connection that are due and that nobody holds, each held from now on. Of those with one
    /// order, only the first that is not over. What was written down on a clock that was ahead holds none up for longer
    /// than its holder lives (see [`super::rules::ends_at`]), or than an event is put off at most. None of those that the
    /// holder works on, whatever another clock says of how long they are held. One that was changed from outside has no
    /// content; where several are due and none of them opens, that is an error, for the key is another.
    fn take_others<'a>(
        &'a self,
        connection: &'a str,
        holder: &'a str,
        now: Timestamp,
        until: Timestamp,
        limit: u64,
        works_on: &'a [u64],
    ) -> BoxFuture<'a, Result<Vec<Stored>>>;

    /// The same, for one who works on none.
    #[cfg(test)]
    fn take<'a>(
        &'a self,
        connection: &'a str,
        holder: &'a str,
        now: Timestamp,
        until: Timestamp,
        limit: u64,
    ) -> BoxFuture<'a, Result<Vec<Stored>>> {
        self.take_others(connection, holder, now, until, limit, &[])
    }

    /// Goes on holding an event; false where it is not this holder's any more.
    fn hold<'a>(&'a self, id: u64, holder: &'a str, until: Timestamp) -> BoxFuture<'a, Result<bool>>;

    /// Lets an event go that was not handled: to be tried again at `due`, or never where there is none. `counts` is false
    /// where that was no attempt. False where it is not this holder's any more.
    fn put_off<'a>(
        &'a self,
        id: u64,
        holder: &'a str,
        due: Option<Timestamp>,
        why: &'a str,
        counts: bool,
    ) -> BoxFuture<'a, Result<bool>>;

    /// Keeps what came of a trigger, all of it or nothing.
    fn commit(&self, commit: Commit) -> BoxFuture<'_, Result<Committed>>;

    /// Where a trigger stands; version 0 is: there never was a cursor.
    fn cursor<'a>(&'a self, connection: &'a str, trigger: &'a str) -> BoxFuture<'a, Result<Standing>>;

    /// Stored events in order of their ids, or against it, without their content.
    fn events(&self, filter: Filter) -> BoxFuture<'_, Result<Vec<Stored>>>;

    /// The numbers of what was emitted for one of them, in order, as long as it is known.
    fn emitted_for(&self, id: u64) -> BoxFuture<'_, Result<Vec<u64>>>;

    /// One of them, with its content as long as it is kept.
    fn event(&self, id: u64) -> BoxFuture<'_, Result<Option<Stored>>>;

    /// Makes an event due once more; false where its content is not there any more, or somebody is handling it.
    fn replay(&self, id: u64, at: Timestamp) -> BoxFuture<'_, Result<bool>>;

    /// Emitted events after this number, in order. One that was changed from outside has no content; where none of several
    /// opens, that is an error, for the key is another.
    fn outbox(&self, after: u64, limit: u64) -> BoxFuture<'_, Result<Vec<Outgoing>>>;

    /// The number of the last event that was emitted; 0 where none is known.
    fn last_emitted(&self) -> BoxFuture<'_, Result<u64>>;

    /// Where a sink stands; nothing, where nothing is known of it.
    fn sink_place<'a>(&'a self, sink: &'a str) -> BoxFuture<'a, Result<Option<SinkStanding>>>;

    /// The number of the last event that a sink is done with; 0 for one that nothing is known of.
    fn sink_position<'a>(&'a self, sink: &'a str) -> BoxFuture<'a, Result<u64>> {
        Box::pin(async move { Ok(self.sink_place(sink).await?.map_or(0, |place| place.position)) })
    }

    /// A sink is done with everything up to this number; going back repeats, and what comes again is no dead letter any
    /// more. With `refused`, it did not take that last one, which becomes a dead letter of its own.
    fn advance_sink<'a>(&'a self, sink: &'a str, to: u64, refused: Option<Refused>) -> BoxFuture<'a, Result<()>>;

    /// A sink goes back at this time. What comes again is kept as if it had been emitted then.
    fn rewind_sink<'a>(&'a self, sink: &'a str, to: u64, at: Timestamp) -> BoxFuture<'a, Result<()>>;

    /// What sinks refused: sink, number, and why, after this number.
    fn dead_letters(&self, after: u64, limit: u64) -> BoxFuture<'_, Result<Vec<DeadLetter>>>;

    /// How much waits and how much was given up.
    fn backlog(&self) -> BoxFuture<'_, Result<Backlog>>;

    /// Forgets what is over. Answers how many rows went.
    fn sweep(&self, sweep: Sweep) -> BoxFuture<'_, Result<u64>>;
}

/// An event before anybody handled it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Arrival {
    /// Whose it is.
    pub connection: String,
    /// What it arrived by, as `webhook orders`.
    pub trigger: String,
    /// What identifies it there.
    pub key: String,
    /// Those with the same are handled one after the other.
    pub order: Option<String>,
    /// When it arrived.
    pub at: Timestamp,
    /// Until when the same key is a repetition.
    pub known_until: Timestamp,
    /// What arrived.
    pub content: Vec<u8>,
}

/// How much may wait of one trigger of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Room {
    /// Events.
    pub events_max: u64,
    /// Bytes of their content.
    pub bytes_max: u64,
}

impl Room {
    /// The limit that so much more would break, where so much waits.
    pub(super) fn over(self, events: u64, bytes: u64, more: u64) -> Option<&'static str> {
        match (events < self.events_max, bytes.saturating_add(more) <= self.bytes_max) {
            (false, _) => Some("waiting_events"),
            (_, false) => Some("waiting_bytes"),
            _ => None,
        }
    }
}

/// What came of a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Claimed {
    /// It is stored under this id.
    New(u64),
    /// It was there before.
    Repeated,
    /// The limit of this name holds it back.
    Full(&'static str),
}

/// How it stands with an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EventState {
    /// It is to be handled.
    Waiting,
    /// It was.
    Handled,
    /// It will not be, unless somebody asks for it.
    Dead,
}

impl EventState {
    /// In the order of their numbers in a store.
    pub const ALL: &'static [Self] = &[Self::Waiting, Self::Handled, Self::Dead];

    /// In a word.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Handled => "handled",
            Self::Dead => "dead",
        }
    }
}

/// How much waits and how much was given up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Backlog {
    /// Events that wait, by connection.
    pub waiting: BTreeMap<String, u64>,
    /// Events that were given up, by connection.
    pub dead: BTreeMap<String, u64>,
    /// What sinks refused, by sink.
    pub letters: BTreeMap<String, u64>,
}

/// An event in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stored {
    /// Its number; later ones are higher.
    pub id: u64,
    /// What arrived. The content is empty where it was not asked for or is not kept any more.
    pub arrival: Arrival,
    /// Whether the content is kept.
    pub has_content: bool,
    /// How it stands.
    pub state: EventState,
    /// How often it was handed over.
    pub attempts: u64,
    /// When it is due.
    pub due: Timestamp,
    /// What went wrong last.
    pub why: String,
}

/// Where a trigger stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Standing {
    /// Counts up with each change, from 1.
    pub version: u64,
    /// The cursor, unless it was forgotten.
    pub cursor: Option<String>,
}

/// What came of a trigger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Commit {
    /// Whose it is.
    pub connection: String,
    /// When.
    pub at: Timestamp,
    /// The stored event that was handled, with who holds it.
    pub event: Option<(u64, String)>,
    /// The step that a cursor makes.
    pub step: Option<Step>,
    /// What was emitted.
    pub emit: Vec<Emit>,
    /// Until when an emitted name is known.
    pub known_until: Timestamp,
    /// Most bytes of everything emitted that is still kept, beyond which nothing is. One connection fills half of it.
    pub bytes_max: u64,
}

impl Commit {
    /// How many bytes too many there would be, where so many are kept of all that was emitted and of this connection's.
    pub(super) fn excess(&self, all: u64, own: u64) -> Excess {
        let more: u64 = self.emit.iter().map(|emit| emit.content.len() as u64).sum();
        if more == 0 {
            return Excess::default();
        }
        let beyond = |kept: u64, most: u64| kept.saturating_add(more).saturating_sub(most);
        Excess { all: beyond(all, self.bytes_max), own: beyond(own, self.bytes_max / 2) }
    }
}

/// Bytes that have to go before there is room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Excess {
    /// Of all that was emitted.
    pub all: u64,
    /// Of what the connection emitted.
    pub own: u64,
}

impl Excess {
    /// Whether there is room.
    pub(super) fn is_none(self) -> bool {
        self == Self::default()
    }

    /// Counts so many bytes as gone. False where that would help nothing.
    pub(super) fn less(&mut self, bytes: u64, is_own: bool) -> bool {
        let helps = self.all > 0 || (is_own && self.own > 0);
        if helps {
            self.all = self.all.saturating_sub(bytes);
            self.own = self.own.saturating_sub(if is_own { bytes } else { 0 });
        }
        helps
    }
}

/// A cursor's step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    /// The trigger.
    pub trigger: String,
    /// The version it stands at.
    pub expected: u64,
    /// Where it goes; nothing forgets it.
    pub cursor: Option<String>,
}

/// An event to emit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Emit {
    /// What identifies it within its connection: it is emitted once.
    pub name: String,
    /// Its content.
    pub content: Vec<u8>,
}

/// Whether what came of a trigger was kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Committed {
    /// It is, with so many events that had not been emitted before.
    Kept {
        /// How many were new.
        emitted: u64,
    },
    /// It is not: the event is not this holder's any more, or the cursor stands elsewhere.
    Stale,
    /// It is not: there is no room for what was emitted, also after what the last sweep's rule lets go has gone, and after
    /// the oldest dead letters' content that would be gone without a letter.
    Full,
}

/// An emitted event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Outgoing {
    /// Its number; later ones are higher.
    pub number: u64,
    /// Its content.
    pub content: Vec<u8>,
}

/// Where a sink stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct SinkStanding {
    /// The number of the last event that it is done with.
    pub position: u64,
    /// Up to this number it was further once: what comes again.
    pub again_to: u64,
    /// When it went back last.
    pub again_at: Timestamp,
}

/// Why a sink did not take an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    /// When.
    pub at: Timestamp,
    /// Why.
    pub why: String,
}

/// An event that a sink refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DeadLetter {
    /// The sink.
    pub sink: String,
    /// The event's number.
    pub number: u64,
    /// When and why.
    pub refused: Refused,
}

/// Which events a list holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Filter {
    /// Of this connection.
    pub connection: Option<String>,
    /// In this state.
    pub state: Option<EventState>,
    /// After this id.
    pub after: u64,
    /// Before this id, and the latest first.
    pub before: Option<u64>,
    /// Whose trigger, key or last trouble holds this, in whatever case its letters are.
    pub text: Option<String>,
    /// At most so many.
    pub limit: u64,
}

/// What the names of sinks that are a program's own readers begin with.
pub(crate) const READER: &str = "program ";

/// What is over, and may be forgotten.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sweep {
    /// Keys known until then are forgotten.
    pub now: Timestamp,
    /// The content of what was handled before this goes.
    pub handled_before: Timestamp,
    /// What became dead before this goes.
    pub dead_before: Timestamp,
    /// What was emitted before this goes, whoever has not read it.
    pub emitted_before: Timestamp,
    /// Of one connection's events that are known by name alone, so many of the newest stay known; all of them where nothing
    /// is stated.
    pub known_events: Option<u64>,
    /// Emitted events go that all of these are done with, and every reader of a program's own that ever was.
    pub sinks: Vec<String>,
}

/// Most names that one sweep forgets beyond those that stay known, so that nobody waits for long to write; the rest goes
/// with the next.
pub(crate) const NAMES_AT_ONCE: u64 = 50_000;

impl Sweep {
    /// The same at another time.
    pub(super) fn at(&self, now: Timestamp) -> Self {
        let kept_ms = self.now.since(self.emitted_before);
        let emitted_before = Timestamp::from_millis(now.as_millis().saturating_sub(kept_ms));
        Self { now, emitted_before, ..self.clone() }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::store::rules::{AHEAD_MS, PUT_OFF_MS_MAX};
    use crate::store::{MemoryStore, Store};

    pub(in crate::store) const ROOM: Room = Room { events_max: 3, bytes_max: 100 };

    pub(in crate::store) fn at(millis: u64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    pub(in crate::store) fn arrival(key: &str, order: Option<&str>, millis: u64) -> Arrival {
        Arrival {
            connection: "c".into(),
            trigger: "webhook w".into(),
            key: key.into(),
            order: order.map(str::to_owned),
            at: at(millis),
            known_until: at(millis + 100),
            content: key.as_bytes().to_vec(),
        }
    }

    pub(in crate::store) fn commit(event: Option<(u64, &str)>, step: Option<Step>, emit: &[&str]) -> Commit {
        let emit = emit.iter().map(|name| Emit { name: (*name).into(), content: name.as_bytes().to_vec() });
        Commit {
            connection: "c".into(),
            at: at(50),
            event: event.map(|(id, holder)| (id, holder.to_owned())),
            step,
            emit: emit.collect(),
            known_until: at(500),
            bytes_max: 20,
        }
    }

    fn step(expected: u64, cursor: &str) -> Option<Step> {
        Some(Step { trigger: "poll p".into(), expected, cursor: Some(cursor.into()) })
    }

    fn ids(stored: &[Stored]) -> Vec<u64> {
        stored.iter().map(|stored| stored.id).collect()
    }

    /// What any store must do with what arrives.
    pub(in super::super) async fn takes_arrivals(store: Arc<dyn Store>) {
        let Claimed::New(first) = store.claim(arrival("k1", Some("o"), 0), ROOM).await.unwrap() else {
            panic!("it is not new")
        };
        assert_eq!(store.claim(arrival("k1", Some("o"), 1), ROOM).await.unwrap(), Claimed::Repeated);
        let elsewhere = Arrival { trigger: "webhook v".into(), ..arrival("k1", None, 0) };
        let Claimed::New(other) = store.claim(elsewhere, ROOM).await.unwrap() else { panic!("it is not new") };
        let Claimed::New(second) = store.claim(arrival("k2", Some("o"), 2), ROOM).await.unwrap() else {
            panic!("it is not new")
        };
        let long = Arrival { content: vec![0; 97], ..arrival("k3", None, 2) };
        assert_eq!(store.claim(long, ROOM).await.unwrap(), Claimed::Full("waiting_bytes"));
        assert!(matches!(store.claim(arrival("k3", None, 2), ROOM).await.unwrap(), Claimed::New(_)));
        assert_eq!(store.claim(arrival("k4", None, 2), ROOM).await.unwrap(), Claimed::Full("waiting_events"));

        // The second of an order waits for the first; nothing is due before its time.
        let taken = store.take("c", "me", at(1), at(60), 10).await.unwrap();
        assert_eq!(ids(&taken), [first, other]);
        assert_eq!((taken[0].arrival.content.as_slice(), taken[0].attempts), (b"k1".as_slice(), 1));
        let taken = store.take("c", "you", at(2), at(60), 10).await.unwrap();
        assert_eq!(taken.len(), 1, "what is held, or waits for what is held, was taken: {taken:?}");
        assert!(store.take("d", "you", at(60), at(90), 10).await.unwrap().is_empty(), "another connection's");
        assert!(!store.hold(first, "you", at(90)).await.unwrap());
        assert!(store.hold(first, "me", at(70)).await.unwrap());
        assert_eq!(store.commit(commit(Some((first, "you")), None, &["e"])).await.unwrap(), Committed::Stale);
        assert!(store.outbox(0, 10).await.unwrap().is_empty(), "something came of an event that another holds");

        // Whoever died lets go by and by.
        let taken = store.take("c", "you", at(65), at(90), 10).await.unwrap();
        assert!(!ids(&taken).contains(&first) && ids(&taken).contains(&other), "{taken:?}");
        assert_eq!(taken.iter().find(|stored| stored.id == other).map(|stored| stored.attempts), Some(2));

        assert!(store.put_off(first, "me", Some(at(80)), "no", true).await.unwrap());
        assert!(!store.put_off(first, "me", Some(at(80)), "no", true).await.unwrap(), "it was let go twice");
        assert!(!ids(&store.take("c", "you", at(75), at(99), 10).await.unwrap()).contains(&second), "overtaken");
        let taken = store.take("c", "me", at(80), at(99), 10).await.unwrap();
        assert_eq!((ids(&taken), taken[0].attempts), (vec![first], 2));
        assert!(store.put_off(first, "me", Some(at(80)), "no room", false).await.unwrap());
        let taken = store.take("c", "me", at(80), at(99), 10).await.unwrap();
        assert_eq!((ids(&taken), taken[0].attempts), (vec![first], 2), "what was no attempt is counted");
        assert!(store.put_off(first, "me", None, "never", true).await.unwrap());
        assert_eq!(ids(&store.take("c", "me", at(80), at(99), 10).await.unwrap()), [second], "the dead hold nobody up");
        let kept = store.commit(commit(Some((second, "me")), None, &["e"])).await.unwrap();
        assert_eq!(kept, Committed::Kept { emitted: 1 });
        assert_eq!(store.commit(commit(Some((second, "me")), None, &["f"])).await.unwrap(), Committed::Stale);
        assert_eq!(store.emitted_for(second).await.unwrap(), [1]);
        assert!(store.emitted_for(first).await.unwrap().is_empty());

        let latest = |before, text: &str| Filter {
            before: Some(before),
            text: Some(text.to_owned()),
            limit: 10,
            ..Filter::default()
        };
        assert!(ids(&store.events(latest(u64::MAX, "WEBHOOK")).await.unwrap()).is_sorted_by(|a, b| a > b));
        assert_eq!(ids(&store.events(latest(u64::MAX, "Never")).await.unwrap()), [first]);
        assert!(store.events(latest(first, "never")).await.unwrap().is_empty());
        assert!(store.events(Filter { after: 9, ..latest(3, "") }).await.unwrap().is_empty());

        let states = |state| Filter { state: Some(state), limit: 10, ..Filter::default() };
        let dead = store.events(states(EventState::Dead)).await.unwrap();
        assert_eq!((ids(&dead), dead[0].why.as_str(), dead[0].has_content), (vec![first], "never", true));
        assert!(dead[0].arrival.content.is_empty(), "a list carries bodies");
        assert_eq!(ids(&store.events(states(EventState::Handled)).await.unwrap()), [second]);
        let of = |count| BTreeMap::from([("c".to_owned(), count)]);
        let backlog = Backlog { waiting: of(2), dead: of(1), letters: BTreeMap::new() };
        assert_eq!(store.backlog().await.unwrap(), backlog);
        assert!(store.replay(first, at(90)).await.unwrap());
        assert!(!store.replay(99, at(90)).await.unwrap());
        assert!(ids(&store.take("c", "me", at(90), at(99), 10).await.unwrap()).contains(&first));
        assert!(!store.replay(first, at(95)).await.unwrap(), "it is being handled");

        // A handled key is known for its time, and its content for another.
        let sweep = |now, before| Sweep { now: at(now), handled_before: at(before), ..Sweep::default() };
        assert_eq!(store.sweep(sweep(101, 51)).await.unwrap(), 0);
        assert!(!store.event(second).await.unwrap().unwrap().has_content);
        assert!(!store.replay(second, at(101)).await.unwrap(), "there is nothing to replay");
        assert_eq!(store.claim(arrival("k2", None, 101), ROOM).await.unwrap(), Claimed::Repeated);
        assert_eq!(store.sweep(sweep(102, 51)).await.unwrap(), 1);
        assert!(matches!(store.claim(arrival("k2", None, 102), ROOM).await.unwrap(), Claimed::New(_)));
    }

    /// Whatever a clock that was ahead wrote down, events are handled when that clock is right, and nobody takes one
    /// from a holder that lives.
    pub(in super::super) async fn believes_no_clock_that_was_ahead(store: Arc<dyn Store>) {
        let (now, ahead) = (at(1_000), at(1_000 + 2 * AHEAD_MS));
        let taken = async |now: Timestamp| ids(&store.take("c", "me", now, now.plus(9), 10).await.unwrap());
        for (key, at_ms) in [("soon", now.as_millis() + AHEAD_MS), ("ahead", ahead.as_millis())] {
            store.claim(arrival(key, None, at_ms), ROOM).await.unwrap();
        }
        assert_eq!(taken(now).await, [2]);
        // It may be held for as long as that.
        assert!(store.hold(2, "me", now.plus(9 + AHEAD_MS)).await.unwrap());
        assert!(taken(now).await.is_empty());
        // One that is held for longer keeps no place from another.
        assert!(store.hold(2, "me", ahead.plus(9)).await.unwrap());
        store.claim(arrival("free", None, now.as_millis()), ROOM).await.unwrap();
        assert_eq!(ids(&store.take("c", "you", now, now.plus(AHEAD_MS), 1).await.unwrap()), [3]);
        // A holder that lives says so again, and a dead one does not.
        for late in [0, 9] {
            assert!(store.hold(2, "me", ahead.plus(late)).await.unwrap());
            assert!(taken(now.plus(late)).await.is_empty(), "it was taken from one who lives");
        }
        assert!(taken(now.plus(17)).await.is_empty());
        assert_eq!(taken(now.plus(18)).await, [2]);
        // It was put off by a clock that is right.
        assert!(store.put_off(2, "me", Some(now.plus(25)), "no", true).await.unwrap());
        assert!(taken(now.plus(18)).await.is_empty(), "it is tried again and again");
        // One that arrived on such a clock was put off by one that was ahead.
        let late = now.plus(PUT_OFF_MS_MAX + AHEAD_MS + 18);
        assert!(store.put_off(3, "you", Some(late), "no", true).await.unwrap());
        assert!(taken(now.plus(18)).await.is_empty(), "it may be put off for as long as that");
        assert_eq!(taken(now.plus(17)).await, [3]);
        assert!(store.put_off(3, "me", Some(now.plus(20)), "no", true).await.unwrap());
        assert_eq!(taken(now.plus(20)).await, [3]);
        // Both are free again, whatever their holder says; it takes none that it works on, nor counts that as an attempt.
        let (free, until) = (now.plus(29), now.plus(40));
        assert_eq!(ids(&store.take_others("c", "me", free, until, 1, &[2]).await.unwrap()), [3]);
        assert!(store.take_others("c", "me", until, until.plus(9), 9, &[2, 3]).await.unwrap().is_empty());
        assert_eq!(store.event(3).await.unwrap().map(|stored| stored.attempts), Some(4));
    }

    /// What any store must do with cursors and with what leaves.
    pub(in super::super) async fn keeps_what_is_emitted(store: Arc<dyn Store>) {
        assert_eq!(store.cursor("c", "poll p").await.unwrap(), Standing::default());
        assert_eq!(store.last_emitted().await.unwrap(), 0);
        let kept = store.commit(commit(None, step(0, "1"), &["a", "b", "a"])).await.unwrap();
        assert_eq!(kept, Committed::Kept { emitted: 2 }, "a name was emitted twice");
        let stale = store.commit(commit(None, step(0, "2"), &["c"])).await.unwrap();
        assert_eq!(stale, Committed::Stale);
        let standing = Standing { version: 1, cursor: Some("1".into()) };
        assert_eq!(store.cursor("c", "poll p").await.unwrap(), standing, "a stale step moved it");
        assert_eq!(store.cursor("d", "poll p").await.unwrap().version, 0, "another connection's");
        let full = store.commit(commit(None, step(1, "2"), &["a very long name of an event"])).await.unwrap();
        assert_eq!(full, Committed::Full);
        assert_eq!(store.cursor("c", "poll p").await.unwrap(), standing, "it moved without its events");
        assert_eq!(
            store.commit(commit(None, step(1, "2"), &["a", "c"])).await.unwrap(),
            Committed::Kept { emitted: 1 }
        );
        let outbox = store.outbox(0, 10).await.unwrap();
        assert_eq!(store.last_emitted().await.unwrap(), outbox[2].number);
        let contents: Vec<&[u8]> = outbox.iter().map(|out| out.content.as_slice()).collect();
        assert_eq!(contents, [b"a", b"b", b"c"]);
        assert_eq!(store.outbox(outbox[0].number, 1).await.unwrap(), outbox[1..2]);

        assert_eq!(store.sink_position("s").await.unwrap(), 0);
        store.advance_sink("s", outbox[0].number, None).await.unwrap();
        let refused = Refused { at: at(3), why: "no".into() };
        store.advance_sink("s", outbox[1].number, Some(refused.clone())).await.unwrap();
        store.advance_sink("s", outbox[2].number, None).await.unwrap();
        let letter = DeadLetter { sink: "s".into(), number: outbox[1].number, refused };
        assert_eq!(store.dead_letters(0, 10).await.unwrap(), std::slice::from_ref(&letter));
        store.advance_sink("other", outbox[0].number, None).await.unwrap();
        assert_eq!(store.dead_letters(0, 10).await.unwrap(), std::slice::from_ref(&letter), "another sink's went");
        store.advance_sink("s", outbox[0].number, None).await.unwrap();
        assert_eq!(store.dead_letters(0, 10).await.unwrap(), [], "it comes again and is dead all the same");
        store.advance_sink("s", outbox[1].number, Some(letter.refused.clone())).await.unwrap();
        store.advance_sink("s", outbox[2].number, None).await.unwrap();
        assert_eq!(store.dead_letters(0, 10).await.unwrap(), [letter]);
        assert_eq!(store.backlog().await.unwrap().letters, BTreeMap::from([("s".to_owned(), 1)]));

        let sweep = |sinks: &[&str], now| Sweep {
            now: at(now),
            sinks: sinks.iter().map(|sink| (*sink).to_owned()).collect(),
            ..Sweep::default()
        };
        store.sweep(sweep(&[], 100)).await.unwrap();
        store.sweep(sweep(&["s", "t"], 100)).await.unwrap();
        assert_eq!(store.outbox(0, 10).await.unwrap().len(), 3, "one that a sink has not read went");
        store.advance_sink("program p", 0, None).await.unwrap();
        store.sweep(sweep(&["s"], 100)).await.unwrap();
        assert_eq!(store.outbox(0, 10).await.unwrap().len(), 3, "one that a program has not read went");
        store.advance_sink("program p", 99, None).await.unwrap();
        store.sweep(sweep(&["s"], 100)).await.unwrap();
        assert_eq!(store.outbox(0, 10).await.unwrap(), outbox[1..2], "all but the refused one are done with");
        store.sweep(Sweep { emitted_before: at(100), ..sweep(&["s"], 100) }).await.unwrap();
        assert_eq!(store.outbox(0, 10).await.unwrap(), outbox[1..2], "a dead letter's content went before the letter");
        let again = store.commit(commit(None, None, &["a"])).await.unwrap();
        assert_eq!(again, Committed::Kept { emitted: 0 }, "what was read is emitted again");
        store.sweep(sweep(&["s"], 500)).await.unwrap();
        let again = store.commit(commit(None, None, &["a"])).await.unwrap();
        assert_eq!(again, Committed::Kept { emitted: 1 }, "a name is known for ever");

        // What comes again is kept from then on, though its letter is gone and it is old.
        assert_eq!(store.sink_place("nobody").await.unwrap(), None);
        store.rewind_sink("s", outbox[0].number, at(600)).await.unwrap();
        let place = SinkStanding { position: outbox[0].number, again_to: outbox[2].number, again_at: at(600) };
        assert_eq!(store.sink_place("s").await.unwrap(), Some(place));
        assert_eq!(store.dead_letters(0, 10).await.unwrap(), []);
        store.sweep(Sweep { emitted_before: at(600), ..sweep(&["s"], 700) }).await.unwrap();
        assert_eq!(store.outbox(0, 10).await.unwrap(), outbox[1..2], "what comes again went before it was given");
        store.sweep(Sweep { emitted_before: at(601), ..sweep(&["s"], 700) }).await.unwrap();
        assert_eq!(store.outbox(0, 10).await.unwrap(), [], "what comes again is kept for ever");
    }

    /// What any store must do with more names than it may know.
    pub(in super::super) async fn forgets_the_oldest_names(store: Arc<dyn Store>) {
        let of = |connection: &str, names: &[&str]| Commit {
            connection: connection.into(),
            bytes_max: 1_000,
            ..commit(None, None, names)
        };
        let is_new = async |connection: &str, name: &str| {
            let kept = store.commit(of(connection, &[name])).await.unwrap();
            kept == Committed::Kept { emitted: 1 }
        };
        let claimed = store.claim(arrival("k", None, 0), ROOM).await.unwrap();
        let Claimed::New(event) = claimed else { panic!("it is not new") };
        assert_eq!(ids(&store.take("c", "me", at(1), at(60), 1).await.unwrap()), [event]);
        let held = Some((event, "me".to_owned()));
        store.commit(Commit { event: held, ..of("c", &["a", "b", "c", "d"]) }).await.unwrap();
        store.commit(of("d", &["a", "b"])).await.unwrap();
        store.advance_sink("s", 3, None).await.unwrap();
        let sweep = |known_events| Sweep { now: at(100), sinks: vec!["s".into()], known_events, ..Sweep::default() };
        // Three have no content any more, the fourth and those of the other connection are not read yet.
        assert_eq!(store.sweep(sweep(None)).await.unwrap(), 0);
        assert_eq!(store.sweep(sweep(Some(3))).await.unwrap(), 0);
        assert_eq!(store.sweep(sweep(Some(2))).await.unwrap(), 1);
        assert_eq!(store.emitted_for(event).await.unwrap(), [2, 3, 4], "the first is not known any more");
        assert_eq!(store.outbox(0, 10).await.unwrap().len(), 3, "what nobody has read went");
        let are_new = (is_new("c", "b").await, is_new("d", "a").await, is_new("c", "a").await);
        assert_eq!(are_new, (false, false, true));
    }

    /// What any store must do where there is no room.
    pub(in super::super) async fn makes_room_for_what_is_emitted(store: Arc<dyn Store>) {
        let of = |connection: &str, now: u64, name: &str| Commit {
            connection: connection.into(),
            at: at(now),
            ..commit(None, None, &[name])
        };
        let kept = Committed::Kept { emitted: 1 };
        // Half of twenty bytes are one connection's.
        assert_eq!(store.commit(of("c", 0, "ten bytes.")).await.unwrap(), kept);
        assert_eq!(store.commit(of("c", 0, "x")).await.unwrap(), Committed::Full);
        assert_eq!(store.commit(of("d", 0, "ten bytes.")).await.unwrap(), kept);
        assert_eq!(store.commit(of("e", 0, "y")).await.unwrap(), Committed::Full);
        let sweep = Sweep { now: at(100), sinks: vec!["s".into()], ..Sweep::default() };
        store.sweep(sweep).await.unwrap();
        assert_eq!(store.commit(of("e", 50, "y")).await.unwrap(), Committed::Full, "what nobody has read went");
        // What every sink has passed goes when its room is needed.
        store.advance_sink("s", 1, None).await.unwrap();
        assert_eq!(store.commit(of("e", 50, "y")).await.unwrap(), kept);
        assert_eq!(store.commit(of("c", 50, "nine byte")).await.unwrap(), kept);
        // Letters count as what waits does, until they are older than that may become; what helps nobody stays.
        let refused = Refused { at: at(60), why: "no".into() };
        store.advance_sink("s", 2, Some(refused)).await.unwrap();
        assert_eq!(store.commit(of("e", 60, "zz")).await.unwrap(), Committed::Full);
        assert_eq!(store.commit(of("c", 120, "zz")).await.unwrap(), Committed::Full);
        let numbers = async || -> Vec<u64> {
            store.outbox(0, 10).await.unwrap().iter().map(|outgoing| outgoing.number).collect()
        };
        assert_eq!(numbers().await, [2, 3, 4]);
        assert_eq!(store.commit(of("e", 120, "zz")).await.unwrap(), kept);
        assert_eq!((numbers().await, store.dead_letters(0, 10).await.unwrap().len()), (vec![3, 4, 5], 1));
    }

    /// One thing that is asked of a store.
    #[derive(Clone, Debug)]
    enum Asked {
        Claim(u8, Option<u8>, u8),
        Take(u8, u8),
        Hold(u8, u8),
        PutOff(u8, u8, bool),
        Commit(Option<(u8, u8)>, Option<(u8, u8)>, Vec<u8>),
        Replay(u8),
        Advance(u8, bool),
        Rewind(u8),
        Sweep(u8, u8),
    }

    fn asked() -> impl Strategy<Value = Asked> {
        prop_oneof![
            4 => (0..6u8, proptest::option::of(0..2u8), 1..40u8).prop_map(|(key, order, length)| Asked::Claim(key, order, length)),
            3 => (0..2u8, 1..4u8).prop_map(|(holder, limit)| Asked::Take(holder, limit)),
            1 => (1..12u8, 0..2u8).prop_map(|(id, holder)| Asked::Hold(id, holder)),
            2 => (1..12u8, 0..2u8, any::<bool>()).prop_map(|(id, holder, again)| Asked::PutOff(id, holder, again)),
            3 => (
                proptest::option::of((1..12u8, 0..2u8)),
                proptest::option::of((0..4u8, any::<u8>())),
                proptest::collection::vec(0..8u8, 0..3)
            )
                .prop_map(|(event, step, emit)| Asked::Commit(event, step, emit)),
            1 => (1..12u8).prop_map(Asked::Replay),
            1 => (0..10u8, any::<bool>()).prop_map(|(to, refused)| Asked::Advance(to, refused)),
            1 => (0..10u8).prop_map(Asked::Rewind),
            1 => (0..60u8, 0..60u8).prop_map(|(handled, emitted)| Asked::Sweep(handled, emitted)),
        ]
    }

    /// Everything a store answers to what is asked of it, each a little later than the one before.
    async fn answers(store: &dyn Store, all: &[Asked]) -> Vec<String> {
        let mut said = Vec::new();
        for (now, asked) in (0..).step_by(7).map(at).zip(all) {
            let holder = |holder: &u8| format!("h{holder}");
            said.push(match asked {
                Asked::Claim(key, order, length) => {
                    let order = order.map(|order| order.to_string());
                    let content = vec![*key; usize::from(*length)];
                    let fresh = arrival(&key.to_string(), order.as_deref(), now.as_millis());
                    format!("{:?}", store.claim(Arrival { content, ..fresh }, ROOM).await.unwrap())
                }
                Asked::Take(by, limit) => {
                    let taken = store.take("c", &holder(by), now, now.plus(30), u64::from(*limit)).await;
                    format!("{:?}", taken.unwrap())
                }
                Asked::Hold(id, by) => {
                    format!("{:?}", store.hold(u64::from(*id), &holder(by), now.plus(40)).await.unwrap())
                }
                Asked::PutOff(id, by, again) => {
                    let due = again.then_some(now.plus(9));
                    let counts = id % 2 == 0;
                    format!("{:?}", store.put_off(u64::from(*id), &holder(by), due, "why", counts).await.unwrap())
                }
                Asked::Commit(event, moved, emit) => {
                    let by = event.map(|(id, by)| (u64::from(id), holder(&by)));
                    let event = by.as_ref().map(|(id, by)| (*id, by.as_str()));
                    let moved = moved.and_then(|(expected, to)| step(u64::from(expected), &to.to_string()));
                    let names: Vec<String> = emit.iter().map(|name| format!("name {name}")).collect();
                    let names: Vec<&str> = names.iter().map(String::as_str).collect();
                    let (known_until, bytes_max) = (now.plus(60), 40);
                    let whole = Commit { at: now, known_until, bytes_max, ..commit(event, moved, &names) };
                    format!("{:?}", store.commit(whole).await.unwrap())
                }
                Asked::Replay(id) => format!("{:?}", store.replay(u64::from(*id), now).await.unwrap()),
                Asked::Advance(to, is_refused) => {
                    let refused = is_refused.then(|| Refused { at: now, why: "no".into() });
                    store.advance_sink("s", u64::from(*to), refused).await.unwrap();
                    format!("{:?}", store.dead_letters(0, 100).await.unwrap())
                }
                Asked::Rewind(to) => {
                    store.rewind_sink("s", u64::from(*to), now).await.unwrap();
                    format!("{:?}", store.sink_place("s").await.unwrap())
                }
                Asked::Sweep(handled, emitted) => {
                    let ago = |ago: &u8| at(now.as_millis().saturating_sub(u64::from(*ago)));
                    let sweep = Sweep {
                        now,
                        handled_before: ago(handled),
                        dead_before: ago(handled),
                        emitted_before: ago(emitted),
                        known_events: (handled % 2 == 0).then_some(u64::from(emitted % 5)),
                        sinks: vec!["s".into()],
                    };
                    format!("{:?}", store.sweep(sweep).await.unwrap())
                }
            });
            let all = Filter { limit: 100, ..Filter::default() };
            said.push(format!("{:?}", store.events(all).await.unwrap()));
            let latest = Filter { before: Some(u64::MAX), text: Some("K1".into()), limit: 3, ..Filter::default() };
            said.push(format!("{:?}", store.events(latest).await.unwrap()));
            for id in 1..8 {
                said.push(format!("{:?}", store.emitted_for(id).await.unwrap()));
            }
            said.push(format!("{:?}", store.outbox(0, 100).await.unwrap()));
            said.push(format!("{:?}", store.last_emitted().await.unwrap()));
            said.push(format!("{:?}", store.dead_letters(0, 100).await.unwrap()));
            said.push(format!("{:?}", store.cursor("c", "poll p").await.unwrap()));
        }
        said
    }

    #[cfg(feature = "store-sqlite")]
    proptest! {
        #![proptest_config(ProptestConfig::with_cases(192))]

        /// Two stores that share no line answer alike, whatever is asked of them.
        #[test]
        fn every_store_answers_alike(all in proptest::collection::vec(asked(), 1..40)) {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("state.sqlite");
            let sqlite = crate::store::SqliteStore::open(&path, crate::store::Seal::new(&[7; 32])).unwrap();
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let (here, there) = runtime.block_on(async {
                (answers(&MemoryStore::default(), &all).await, answers(&sqlite, &all).await)
            });
            prop_assert_eq!(here, there);
        }
    }
}
