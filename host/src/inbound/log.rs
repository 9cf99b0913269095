//! What arrived and what left, for whoever looks after it: to see it, and to have it done once more.

use std::sync::Arc;

use super::envelope::Emitted;
use super::inbox;
use crate::error::{Error, Kind, Result};
use crate::mask::header_is_secret;
use crate::observe::audit::{Audit, AuditAction, AuditEntry};
use crate::store::Store;
use crate::store::arrival::{DeadLetter, EventState, Filter, Stored};
use crate::text::shown;
use crate::time::{Clock, Timestamp};

/// How long a change of a sink's position waits for whoever gives to it, in milliseconds; longer than a lease holds.
const WAIT_MS: u64 = 20_000;

/// How often it asks meanwhile, in milliseconds.
const ASK_MS: u64 = 500;

/// The events of a host's store; see [`Host::event_log`](crate::Host::event_log). Clones are the same log.
#[derive(Clone)]
pub struct EventLog {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    audit: Audit,
}

debug_shows!(EventLog);

/// Which events a list holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventFilter {
    /// Only of this connection.
    pub connection: Option<String>,
    /// Only in this state.
    pub state: Option<EventState>,
    /// Only after this id.
    pub after: u64,
}

/// What is looked for among the events that arrived, from the latest on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventSearch {
    /// Only of this connection.
    pub connection: Option<String>,
    /// Only in this state.
    pub state: Option<EventState>,
    /// Only whose trigger, key or last trouble holds this, in whatever case its letters are.
    pub text: Option<String>,
    /// Only before this id.
    pub before: Option<u64>,
}

/// An event that arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ArrivedEvent {
    /// Its number; later ones are higher.
    pub id: u64,
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
    /// How it stands.
    pub state: EventState,
    /// How often it was handed over.
    pub attempts: u64,
    /// When it is due, while it waits.
    pub due: Timestamp,
    /// What went wrong last.
    pub why: String,
    /// Whether its content is kept.
    pub has_content: bool,
}

/// What an event brought along.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct EventContent {
    /// The header fields; the value of one that may carry a credential is left out.
    pub headers: Vec<(String, String)>,
    /// The body as received.
    pub body: Vec<u8>,
}

/// An event that a sink did not take.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SinkLetter {
    /// The sink.
    pub sink: String,
    /// The event's number in the outbox.
    pub number: u64,
    /// When it was given up.
    pub at: Timestamp,
    /// Why.
    pub why: String,
    /// The event, as long as it is kept.
    pub event: Option<Emitted>,
}

impl EventLog {
    /// Of this store.
    pub(crate) fn new(store: Arc<dyn Store>, clock: Arc<dyn Clock>, audit: Audit) -> Self {
        Self { store, clock, audit }
    }

    /// A page of what arrived: at most `limit` events, in order of their ids.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn page(&self, filter: &EventFilter, limit: u64) -> Result<Vec<ArrivedEvent>> {
        let EventFilter { connection, state, after } = filter.clone();
        let stored = self.store.events(Filter { connection, state, after, limit, ..Filter::default() }).await?;
        Ok(stored.into_iter().map(ArrivedEvent::from).collect())
    }

    /// A page of what is looked for: at most `limit` events, the latest first.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn search(&self, search: &EventSearch, limit: u64) -> Result<Vec<ArrivedEvent>> {
        let EventSearch { connection, state, text, before } = search.clone();
        let before = Some(before.unwrap_or(u64::MAX));
        let filter = Filter { connection, state, text, before, limit, after: 0 };
        Ok(self.store.events(filter).await?.into_iter().map(ArrivedEvent::from).collect())
    }

    /// What was emitted for an event, by number: the event itself as long as it is kept.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn emitted_for(&self, id: u64) -> Result<Vec<(u64, Option<Emitted>)>> {
        let mut all = Vec::new();
        for number in self.store.emitted_for(id).await? {
            all.push((number, self.emitted(number).await?));
        }
        Ok(all)
    }

    async fn emitted(&self, number: u64) -> Result<Option<Emitted>> {
        let row = self.store.outbox(number.saturating_sub(1), 1).await?.pop();
        let row = row.filter(|row| row.number == number);
        Ok(row.and_then(|row| serde_json::from_slice(&row.content).ok()))
    }

    /// One event, with what it brought along as long as that is kept.
    ///
    /// # Errors
    /// [`Kind::NotFound`], and when the store cannot be read.
    pub async fn event(&self, id: u64) -> Result<(ArrivedEvent, Option<EventContent>)> {
        let stored = self.store.event(id).await?.ok_or_else(|| unknown(id))?;
        let content = match stored.has_content {
            true => Some(inbox::opened(&stored.arrival.content)?),
            false => None,
        };
        let content = content.map(|(headers, body)| {
            let shown = |(name, value): (String, String)| match header_is_secret(&name) {
                true => (name, "[left out]".to_owned()),
                false => (name, value),
            };
            EventContent { headers: headers.into_iter().map(shown).collect(), body }
        });
        Ok((ArrivedEvent::from(stored), content))
    }

    /// Has an event handed to its plugin once more, by whoever serves its connection. It stands in the audit trail, also
    /// where nobody waits for this any more.
    ///
    /// # Errors
    /// [`Kind::NotFound`]; [`Kind::Conflict`] where its content is not kept any more, or it is being handled.
    pub async fn replay(&self, id: u64) -> Result<()> {
        let event = self.store.event(id).await?.ok_or_else(|| unknown(id))?;
        let log = self.clone();
        to_its_end(async move {
            let replayed = match log.store.replay(id, log.clock.now()).await? {
                true => Ok(()),
                false => {
                    let why = match event.has_content {
                        true => "is being handled",
                        false => "has nothing left to hand over: its content is not kept any more",
                    };
                    Err(Error::new(Kind::Conflict, format!("event {id} {why}")))
                }
            };
            let entry = AuditEntry {
                connection: event.arrival.connection,
                event: Some(id),
                ..AuditEntry::new(AuditAction::Replay)
            };
            log.audit.tell(entry.came_to(replayed.as_ref().copied()));
            replayed
        })
        .await
    }

    /// What sinks did not take, in order of the events' numbers: about `limit` letters of events after this number, and
    /// always all sinks' letters of an event together.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn letters(&self, after: u64, limit: u64) -> Result<Vec<SinkLetter>> {
        let mut letters = Vec::new();
        for letter in self.whole_groups(after, limit.max(1)).await? {
            let event = self.emitted(letter.number).await?;
            let (at, why) = (letter.refused.at, letter.refused.why);
            letters.push(SinkLetter { sink: letter.sink, number: letter.number, at, why, event });
        }
        Ok(letters)
    }

    /// No event's letters are cut apart by the end of a page.
    async fn whole_groups(&self, after: u64, limit: u64) -> Result<Vec<DeadLetter>> {
        let mut limit = limit;
        loop {
            let mut page = self.store.dead_letters(after, limit).await?;
            let Some(last) = page.last().map(|letter| letter.number).filter(|_| page.len() as u64 == limit) else {
                return Ok(page);
            };
            page.retain(|letter| letter.number != last);
            if !page.is_empty() {
                return Ok(page);
            }
            // More sinks than that have one event; there are only so many sinks.
            limit = limit.saturating_mul(2);
        }
    }

    /// Has a sink given everything from the event with this number on, once more, as far as it is kept; dead letters among
    /// it are none any more. Its receiver knows repetitions by their ids. Waits until nobody gives to the sink. It stands in
    /// the audit trail.
    ///
    /// # Errors
    /// [`Kind::InvalidRequest`] where the sink has not come so far, or the event is not kept; [`Kind::Conflict`] while a process keeps giving to it.
    pub async fn rewind(&self, sink: &str, number: u64) -> Result<()> {
        let (lease, holder) = (format!("sink {sink}"), crate::random::name()?);
        let give_up_at = self.clock.now().plus(WAIT_MS);
        loop {
            let now = self.clock.now();
            if self.store.lease(&lease, &holder, now, now.plus(WAIT_MS)).await? {
                break;
            }
            if now >= give_up_at {
                let message = format!("the sink `{sink}` is being given events without a pause");
                return Err(Error::new(Kind::Conflict, message)
                    .with_details("Stop `wharfage serve` for a moment, and run this again"));
            }
            self.clock.sleep_until(now.plus(ASK_MS)).await;
        }
        let (log, sink) = (self.clone(), sink.to_owned());
        to_its_end(async move {
            let moved = log.move_back(&sink, number).await;
            let entry = AuditEntry { sink, event: Some(number), ..AuditEntry::new(AuditAction::Replay) };
            log.audit.tell(entry.came_to(moved.as_ref().copied()));
            log.store.release(&lease, &holder).await?;
            moved
        })
        .await
    }

    async fn move_back(&self, sink: &str, number: u64) -> Result<()> {
        let position = self.store.sink_position(sink).await?;
        if position == 0 {
            let message = format!("there is no sink `{}`, or it is done with nothing yet", shown(sink));
            return Err(Error::new(Kind::InvalidRequest(Vec::new()), message));
        }
        if number == 0 || number > position {
            return Err(Error::invalid(
                "",
                format!("the sink `{sink}` is done with {position} and has not come to {number}"),
            ));
        }
        let first = self.store.outbox(number - 1, 1).await?.first().map(|out| out.number);
        if first != Some(number) {
            let kept =
                first.map_or("nothing after it is either".to_owned(), |first| format!("{first} is the next that is"));
            return Err(Error::invalid("", format!("the emitted event {number} is not kept any more; {kept}")));
        }
        self.store.rewind_sink(sink, number - 1, self.clock.now()).await
    }
}

impl From<Stored> for ArrivedEvent {
    fn from(stored: Stored) -> Self {
        let Stored { id, arrival, has_content, state, attempts, due, why } = stored;
        Self {
            id,
            connection: arrival.connection,
            trigger: arrival.trigger,
            key: arrival.key,
            order: arrival.order,
            at: arrival.at,
            state,
            attempts,
            due,
            why,
            has_content,
        }
    }
}

/// Does it to its end, also where whoever asked for it goes away meanwhile.
async fn to_its_end(work: impl Future<Output = Result<()>> + Send + 'static) -> Result<()> {
    tokio::spawn(work).await.map_err(|_| Error::internal("it ended in a defect of wharfage"))?
}

fn unknown(id: u64) -> Error {
    Error::new(Kind::NotFound, format!("there is no event {id}, or not any more"))
        .with_details("See which there are:   wharfage events list")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::MemoryStore;
    use crate::store::arrival::{Arrival, Claimed, Commit, Emit, Refused, Room, Sweep};
    use crate::time::ManualClock;

    const ROOM: Room = Room { events_max: 100, bytes_max: 10_000 };

    fn log() -> (Arc<dyn Store>, EventLog) {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::default());
        let clock: Arc<dyn Clock> = Arc::new(ManualClock::skipping(Timestamp::from_millis(1_000), 1));
        let audit = Audit::new(store.clone(), &[3; 32], 100, clock.clone());
        (store.clone(), EventLog::new(store, clock, audit))
    }

    /// A stored webhook, as the inbox writes it.
    async fn arrive(store: &Arc<dyn Store>, connection: &str, key: &str) -> u64 {
        let head = br#"{"webhook":"orders","headers":[["x-a","1"],["authorization","Bearer s3cret"]]}"#;
        let mut content = (head.len() as u32).to_be_bytes().to_vec();
        content.extend_from_slice(head);
        content.extend_from_slice(b"\x1b[2J body");
        let arrival = Arrival {
            connection: connection.into(),
            trigger: "webhook orders".into(),
            key: key.into(),
            order: None,
            at: Timestamp::from_millis(1_000),
            known_until: Timestamp::from_millis(2_000),
            content,
        };
        let Claimed::New(id) = store.claim(arrival, ROOM).await.unwrap() else { panic!("it is not new") };
        id
    }

    #[tokio::test]
    async fn an_event_is_listed_shown_and_replayed() {
        let (store, log) = log();
        let (first, _) = (arrive(&store, "a", "k1").await, arrive(&store, "b", "k2").await);
        let of_a = EventFilter { connection: Some("a".into()), ..EventFilter::default() };
        let page = log.page(&of_a, 10).await.unwrap();
        assert_eq!((page.len(), page[0].id, page[0].key.as_str()), (1, first, "k1"));
        let (event, content) = log.event(first).await.unwrap();
        let content = content.unwrap();
        assert_eq!((event.state, content.body.as_slice()), (EventState::Waiting, b"\x1b[2J body".as_slice()));
        let shown = [("x-a", "1"), ("authorization", "[left out]")];
        assert_eq!(content.headers, shown.map(|(name, value)| (name.to_owned(), value.to_owned())));

        let at = |ms| Timestamp::from_millis(ms);
        store.take("a", "me", at(1_000), at(9_000), 10).await.unwrap();
        let error = log.replay(first).await.unwrap_err();
        assert_eq!(error.message(), format!("event {first} is being handled"));
        store.put_off(first, "me", None, "no", true).await.unwrap();
        log.replay(first).await.unwrap();
        assert_eq!(log.event(first).await.unwrap().0.state, EventState::Waiting);
        assert_eq!(log.replay(99).await.unwrap_err().kind(), &Kind::NotFound);
    }

    /// Whoever looks at what went out twice finds who was asked for it, also where it came to nothing.
    #[tokio::test]
    async fn a_replay_stands_in_the_audit_trail() {
        let (store, log) = log();
        let id = arrive(&store, "a", "k1").await;
        log.replay(id).await.unwrap();
        let at = |ms| Timestamp::from_millis(ms);
        store.take("a", "me", at(1_000), at(9_000), 10).await.unwrap();
        log.replay(id).await.unwrap_err();
        log.rewind("s", 7).await.unwrap_err();
        let rows = log.audit.page(0, 10).await.unwrap();
        let said: Vec<_> = rows.iter().filter_map(|row| row.entry.clone()).collect();
        let said: Vec<_> = said
            .iter()
            .map(|it| (it.action.name(), it.connection.as_str(), it.sink.as_str(), it.event, it.error.as_str()))
            .collect();
        assert_eq!(
            said,
            [
                ("replay", "a", "", Some(id), ""),
                ("replay", "a", "", Some(id), "conflict"),
                ("replay", "", "s", Some(7), "invalid-request")
            ]
        );
    }

    /// As a browser that closes while the state file is written.
    #[tokio::test]
    async fn whoever_goes_away_leaves_no_replay_untold() {
        let (store, log) = log();
        let id = arrive(&store, "a", "k1").await;
        emit(&store, 2).await;
        store.advance_sink("s", 1, None).await.unwrap();
        tokio::select! {
            biased;
            _ = log.replay(id) => panic!("it was waited for"),
            () = std::future::ready(()) => {}
        }
        tokio::select! {
            biased;
            _ = log.rewind("s", 1) => panic!("it was waited for"),
            () = std::future::ready(()) => {}
        }
        let mut rows = Vec::new();
        while rows.len() < 2 {
            rows = log.audit.page(0, 10).await.unwrap();
        }
        assert!(
            rows.iter().all(|row| row.text.contains(r#""action":"replay""#) && !row.text.contains("error")),
            "{rows:?}"
        );
        assert_eq!(store.sink_position("s").await.unwrap(), 0);
        let at = Timestamp::from_millis(1_000);
        while !store.lease("sink s", "other", at, at.plus(1)).await.unwrap() {
            tokio::task::yield_now().await;
        }
    }

    async fn emit(store: &Arc<dyn Store>, count: usize) {
        let emit = (0..count).map(|name| Emit { name: name.to_string(), content: b"{}".to_vec() }).collect();
        let commit = Commit {
            connection: "a".into(),
            at: Timestamp::from_millis(1_000),
            event: None,
            step: None,
            emit,
            known_until: Timestamp::MAX,
            bytes_max: u64::MAX,
        };
        store.commit(commit).await.unwrap();
    }

    #[tokio::test]
    async fn what_sinks_did_not_take_is_listed_page_by_page() {
        let (store, log) = log();
        emit(&store, 4).await;
        for (sink, number) in [("x", 1), ("y", 1), ("z", 1), ("x", 2), ("y", 3), ("z", 3)] {
            let refused = Some(Refused { at: Timestamp::from_millis(5), why: "no".into() });
            store.advance_sink(sink, number, refused).await.unwrap();
        }
        for limit in 1..8 {
            let (mut all, mut after) = (Vec::new(), 0);
            loop {
                let page = log.letters(after, limit).await.unwrap();
                let Some(last) = page.last() else { break };
                after = last.number;
                all.extend(page.into_iter().map(|letter| (letter.number, letter.sink)));
            }
            let all: Vec<(u64, &str)> = all.iter().map(|(number, sink)| (*number, sink.as_str())).collect();
            assert_eq!(all, [(1, "x"), (1, "y"), (1, "z"), (2, "x"), (3, "y"), (3, "z")], "{limit} at once");
        }
    }

    #[tokio::test]
    async fn a_sink_does_not_go_back_to_what_is_kept_no_more() {
        let (store, log) = log();
        emit(&store, 4).await;
        store.advance_sink("s", 3, None).await.unwrap();
        let now = Timestamp::from_millis(1_000);
        store.sweep(Sweep { now, sinks: vec!["s".into()], ..Sweep::default() }).await.unwrap();
        let error = log.rewind("s", 2).await.unwrap_err();
        assert_eq!(error.message(), "the emitted event 2 is not kept any more; 4 is the next that is");
        assert_eq!(store.sink_position("s").await.unwrap(), 3, "it went back all the same");
    }

    #[tokio::test]
    async fn a_sink_goes_back_when_nobody_gives_to_it() {
        let (store, log) = log();
        emit(&store, 4).await;
        store.advance_sink("s", 3, None).await.unwrap();
        let at = |ms| Timestamp::from_millis(ms);
        // Somebody who lets go soon is waited for.
        assert!(store.lease("sink s", "other", at(1_000), at(5_000)).await.unwrap());
        log.rewind("s", 2).await.unwrap();
        assert_eq!(store.sink_position("s").await.unwrap(), 1);
        let error = log.rewind("s", 2).await.unwrap_err();
        assert!(error.message().contains("has not come to 2"), "{error}");
        assert!(log.rewind("s", 0).await.is_err());
        // And somebody who does not is not pushed aside.
        assert!(store.lease("sink s", "other", at(1_000), at(400_000)).await.unwrap(), "it kept the lease");
        assert_eq!(log.rewind("s", 1).await.unwrap_err().kind(), &Kind::Conflict);
    }
}
