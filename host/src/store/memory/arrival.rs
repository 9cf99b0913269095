//! What arrives and leaves, as long as the host lives.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Bound;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::MemoryStore;
use crate::error::Result;
use crate::store::arrival::{
    Arrival, Arrivals, Backlog, Claimed, Commit, Committed, DeadLetter, EventState, Excess, Filter, NAMES_AT_ONCE,
    Outgoing, READER, Refused, Room, SinkStanding, Standing, Step, Stored, Sweep,
};
use crate::store::rules::{PUT_OFF_MS_MAX, believed, ends_at};
use crate::time::{BoxFuture, Timestamp};

/// Everything that arrived and that leaves.
#[derive(Default)]
pub(super) struct MemoryEvents(Mutex<Content>);

#[derive(Default)]
struct Content {
    last_id: u64,
    events: BTreeMap<u64, Event>,
    claimed: HashMap<(String, String, String), u64>,
    cursors: HashMap<(String, String), Standing>,
    last_number: u64,
    outbox: BTreeMap<u64, Emitted>,
    emitted: HashMap<(String, String), u64>,
    emitted_for: BTreeMap<u64, Vec<u64>>,
    positions: HashMap<String, u64>,
    /// Where sinks stood that went back, and when that was.
    rewound: HashMap<String, (u64, Timestamp)>,
    dead: Vec<DeadLetter>,
    /// The last sweep, whose rule holds also where room is needed.
    swept: Option<Sweep>,
}

struct Event {
    stored: Stored,
    held: Option<(String, Timestamp)>,
}

struct Emitted {
    of: (String, String),
    at: Timestamp,
    known_until: Timestamp,
    /// Nothing, where it is only known by name.
    content: Option<Vec<u8>>,
}

impl Emitted {
    fn bytes(&self) -> u64 {
        self.content.as_ref().map_or(0, |content| content.len() as u64)
    }
}

impl Event {
    fn is_held_by(&self, holder: &str) -> bool {
        self.stored.state == EventState::Waiting && self.held.as_ref().is_some_and(|(by, _)| by == holder)
    }

    fn bare(&self) -> Stored {
        Stored { arrival: Arrival { content: Vec::new(), ..self.stored.arrival.clone() }, ..self.stored.clone() }
    }
}

impl MemoryEvents {
    fn lock(&self) -> MutexGuard<'_, Content> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Content {
    fn claim(&mut self, arrival: Arrival, room: Room) -> Claimed {
        let claim = (arrival.connection.clone(), arrival.trigger.clone(), arrival.key.clone());
        let known = self.claimed.get(&claim).and_then(|id| self.events.get(id)).map(|event| &event.stored);
        if known.is_some_and(|known| known.state == EventState::Waiting || known.arrival.known_until > arrival.at) {
            return Claimed::Repeated;
        }
        let waiting = self.events.values().map(|event| &event.stored).filter(|stored| {
            stored.state == EventState::Waiting
                && (&stored.arrival.connection, &stored.arrival.trigger) == (&arrival.connection, &arrival.trigger)
        });
        let (events, bytes) =
            waiting.fold((0, 0), |(events, bytes), stored| (events + 1, bytes + stored.arrival.content.len() as u64));
        if let Some(limit) = room.over(events, bytes, arrival.content.len() as u64) {
            return Claimed::Full(limit);
        }
        self.last_id += 1;
        let id = self.last_id;
        let due = arrival.at;
        let stored =
            Stored { id, arrival, has_content: true, state: EventState::Waiting, attempts: 0, due, why: String::new() };
        self.events.insert(id, Event { stored, held: None });
        if let Some(forgotten) = self.claimed.insert(claim, id) {
            self.events.remove(&forgotten);
        }
        Claimed::New(id)
    }

    fn take(
        &mut self,
        connection: &str,
        holder: &str,
        now: Timestamp,
        until: Timestamp,
        limit: u64,
        works_on: &[u64],
    ) -> Vec<Stored> {
        let mut orders = HashSet::new();
        let mut taken = Vec::new();
        let waiting = self
            .events
            .values_mut()
            .filter(|event| event.stored.state == EventState::Waiting && event.stored.arrival.connection == connection);
        for event in waiting {
            if taken.len() as u64 >= limit {
                break;
            }
            let arrival = &event.stored.arrival;
            let is_first =
                arrival.order.as_ref().is_none_or(|order| orders.insert((arrival.trigger.clone(), order.clone())));
            // What arrived on a clock that was ahead is due, unless one that is right has put it off; and so is what one
            // that was ahead has put off.
            let is_ahead = (event.stored.due >= arrival.at && arrival.at > believed(now))
                || event.stored.due > believed(now.plus(PUT_OFF_MS_MAX));
            if !is_first || (event.stored.due > now && !is_ahead) || works_on.contains(&event.stored.id) {
                continue;
            }
            if let Some((_, ends)) = &mut event.held {
                *ends = ends_at(*ends, until);
                if *ends > now {
                    continue;
                }
            }
            event.held = Some((holder.to_owned(), until));
            event.stored.attempts += 1;
            taken.push(event.stored.clone());
        }
        taken
    }

    fn commit(&mut self, commit: Commit) -> Committed {
        if let Some((id, holder)) = &commit.event
            && !self.events.get(id).is_some_and(|event| event.is_held_by(holder))
        {
            return Committed::Stale;
        }
        if let Some(Step { trigger, expected, .. }) = &commit.step {
            let standing = self.cursors.get(&(commit.connection.clone(), trigger.clone()));
            if standing.map_or(0, |standing| standing.version) != *expected {
                return Committed::Stale;
            }
        }
        if !self.makes_room(&commit) {
            return Committed::Full;
        }
        if let Some(event) = commit.event.as_ref().and_then(|(id, _)| self.events.get_mut(id)) {
            event.stored.state = EventState::Handled;
            event.stored.due = commit.at;
            event.stored.why.clear();
            event.held = None;
        }
        if let Some(step) = commit.step {
            let key = (commit.connection.clone(), step.trigger);
            self.cursors.insert(key, Standing { version: step.expected + 1, cursor: step.cursor });
        }
        let mut emitted = 0;
        for emit in commit.emit {
            let of = (commit.connection.clone(), emit.name);
            if self.emitted.contains_key(&of) {
                continue;
            }
            self.last_number += 1;
            self.emitted.insert(of.clone(), self.last_number);
            let content = Some(emit.content);
            let out = Emitted { of, at: commit.at, known_until: commit.known_until, content };
            self.outbox.insert(self.last_number, out);
            if let Some((id, _)) = &commit.event {
                self.emitted_for.entry(*id).or_default().push(self.last_number);
            }
            emitted += 1;
        }
        Committed::Kept { emitted }
    }

    fn excess(&self, commit: &Commit) -> Excess {
        let (mut all, mut own) = (0, 0);
        for out in self.outbox.values() {
            let bytes = out.bytes();
            all += bytes;
            own += if out.of.0 == commit.connection { bytes } else { 0 };
        }
        commit.excess(all, own)
    }

    /// Whether there is room for what is emitted, after what may go has gone.
    fn makes_room(&mut self, commit: &Commit) -> bool {
        if self.excess(commit).is_none() {
            return true;
        }
        let Some(sweep) = self.swept.as_ref().map(|swept| swept.at(commit.at)) else { return false };
        self.release(&sweep);
        let mut excess = self.excess(commit);
        let mut letters = Vec::new();
        for (number, out) in &self.outbox {
            let is_old = out.content.is_some() && out.at < sweep.emitted_before;
            let is_own = out.of.0 == commit.connection;
            if is_old && !self.comes_again(*number, &sweep) && excess.less(out.bytes(), is_own) {
                letters.push(*number);
            }
        }
        if excess.is_none() {
            for number in letters {
                if let Some(out) = self.outbox.get_mut(&number) {
                    out.content = None;
                }
            }
        }
        excess.is_none()
    }

    /// Whether a sink went back before this, not too long ago, and has not come to it.
    fn comes_again(&self, number: u64, sweep: &Sweep) -> bool {
        self.rewound.iter().any(|(sink, (to, at))| {
            let position = self.positions.get(sink).copied().unwrap_or(0);
            *at >= sweep.emitted_before && number > position && number <= *to
        })
    }

    /// Lets go of the content that everybody is done with, or that is too old.
    fn release(&mut self, sweep: &Sweep) {
        let readers = self.positions.keys().filter(|sink| sink.starts_with(READER));
        let all = sweep.sinks.iter().chain(readers);
        let done = all.map(|sink| self.positions.get(sink).copied().unwrap_or(0)).min();
        let dead: HashSet<u64> = self.dead.iter().map(|dead| dead.number).collect();
        let is_over = |(number, out): &(&u64, &Emitted)| {
            (done.is_some_and(|done| **number <= done) || out.at < sweep.emitted_before)
                && !dead.contains(*number)
                && !self.comes_again(**number, sweep)
        };
        let over: Vec<u64> = self.outbox.iter().filter(is_over).map(|(number, _)| *number).collect();
        for number in over {
            if let Some(out) = self.outbox.get_mut(&number) {
                out.content = None;
            }
        }
    }

    fn advance(&mut self, sink: &str, to: u64) {
        self.positions.insert(sink.to_owned(), to);
        self.dead.retain(|dead| dead.sink != sink || dead.number <= to);
    }

    fn sweep(&mut self, sweep: &Sweep) -> u64 {
        let mut gone = 0;
        for event in self.events.values_mut() {
            let stored = &mut event.stored;
            let is_over = match stored.state {
                EventState::Waiting => false,
                EventState::Handled => stored.due < sweep.handled_before,
                EventState::Dead => stored.due < sweep.dead_before,
            };
            if is_over && stored.has_content {
                stored.arrival.content = Vec::new();
                stored.has_content = false;
            }
        }
        let is_over = |event: &Event| !event.stored.has_content && event.stored.arrival.known_until <= sweep.now;
        let over: Vec<u64> = self.events.iter().filter(|(_, event)| is_over(event)).map(|(id, _)| *id).collect();
        for id in over {
            self.events.remove(&id);
            self.claimed.retain(|_, claimed| *claimed != id);
            gone += 1;
        }
        self.dead.retain(|dead| dead.refused.at >= sweep.dead_before);
        self.release(sweep);
        self.swept = Some(sweep.clone());
        let emitted = &mut self.emitted;
        self.outbox.retain(|_, out| {
            let keeps = out.content.is_some() || out.known_until > sweep.now;
            if !keeps {
                emitted.remove(&out.of);
                gone += 1;
            }
            keeps
        });
        let events = &self.events;
        self.emitted_for.retain(|id, _| events.contains_key(id));
        gone + sweep.known_events.map_or(0, |most| self.forget_names(most))
    }

    /// Forgets the oldest of what is known by name alone, where that is more than so many of one connection; no more than
    /// [`NAMES_AT_ONCE`].
    fn forget_names(&mut self, most: u64) -> u64 {
        let mut known: HashMap<&str, u64> = HashMap::new();
        let mut over = Vec::new();
        for (number, out) in self.outbox.iter().rev().filter(|(_, out)| out.content.is_none()) {
            let known = known.entry(&out.of.0).or_default();
            *known += 1;
            if *known > most {
                over.push(*number);
            }
        }
        let most = usize::try_from(NAMES_AT_ONCE).unwrap_or(usize::MAX);
        let over = &over[over.len().saturating_sub(most)..];
        for number in over {
            if let Some(out) = self.outbox.remove(number) {
                self.emitted.remove(&out.of);
            }
        }
        if !over.is_empty() {
            let outbox = &self.outbox;
            self.emitted_for.values_mut().for_each(|numbers| numbers.retain(|number| outbox.contains_key(number)));
        }
        over.len() as u64
    }
}

impl Arrivals for MemoryStore {
    fn claim(&self, arrival: Arrival, room: Room) -> BoxFuture<'_, Result<Claimed>> {
        Box::pin(async move { Ok(self.events.lock().claim(arrival, room)) })
    }

    fn take_others<'a>(
        &'a self,
        connection: &'a str,
        holder: &'a str,
        now: Timestamp,
        until: Timestamp,
        limit: u64,
        works_on: &'a [u64],
    ) -> BoxFuture<'a, Result<Vec<Stored>>> {
        Box::pin(async move { Ok(self.events.lock().take(connection, holder, now, until, limit, works_on)) })
    }

    fn hold<'a>(&'a self, id: u64, holder: &'a str, until: Timestamp) -> BoxFuture<'a, Result<bool>> {
        Box::pin(async move {
            let mut all = self.events.lock();
            let Some(event) = all.events.get_mut(&id).filter(|event| event.is_held_by(holder)) else {
                return Ok(false);
            };
            event.held = Some((holder.to_owned(), until));
            Ok(true)
        })
    }

    fn put_off<'a>(
        &'a self,
        id: u64,
        holder: &'a str,
        due: Option<Timestamp>,
        why: &'a str,
        counts: bool,
    ) -> BoxFuture<'a, Result<bool>> {
        Box::pin(async move {
            let mut all = self.events.lock();
            let Some(event) = all.events.get_mut(&id).filter(|event| event.is_held_by(holder)) else {
                return Ok(false);
            };
            event.held = None;
            event.stored.attempts -= u64::from(!counts);
            why.clone_into(&mut event.stored.why);
            match due {
                Some(due) => event.stored.due = due,
                None => event.stored.state = EventState::Dead,
            }
            Ok(true)
        })
    }

    fn commit(&self, commit: Commit) -> BoxFuture<'_, Result<Committed>> {
        Box::pin(async move { Ok(self.events.lock().commit(commit)) })
    }

    fn cursor<'a>(&'a self, connection: &'a str, trigger: &'a str) -> BoxFuture<'a, Result<Standing>> {
        Box::pin(async move {
            let key = (connection.to_owned(), trigger.to_owned());
            Ok(self.events.lock().cursors.get(&key).cloned().unwrap_or_default())
        })
    }

    fn events(&self, filter: Filter) -> BoxFuture<'_, Result<Vec<Stored>>> {
        Box::pin(async move {
            let all = self.events.lock();
            let text = filter.text.as_ref().map(|text| text.to_ascii_lowercase());
            let is_wanted = |event: &&Event| {
                let Stored { arrival, state, why, .. } = &event.stored;
                let holds = |text: &String| {
                    [&arrival.trigger, &arrival.key, why].iter().any(|field| field.to_ascii_lowercase().contains(text))
                };
                filter.connection.as_ref().is_none_or(|wanted| *wanted == arrival.connection)
                    && filter.state.is_none_or(|wanted| wanted == *state)
                    && text.as_ref().is_none_or(holds)
            };
            let most = usize::try_from(filter.limit).unwrap_or(usize::MAX);
            let between = (Bound::Excluded(filter.after), filter.before.map_or(Bound::Unbounded, Bound::Excluded));
            if filter.before.is_some_and(|before| before <= filter.after) {
                return Ok(Vec::new());
            }
            let found = all.events.range(between).map(|(_, event)| event);
            Ok(match filter.before {
                Some(_) => found.rev().filter(is_wanted).take(most).map(Event::bare).collect(),
                None => found.filter(is_wanted).take(most).map(Event::bare).collect(),
            })
        })
    }

    fn emitted_for(&self, id: u64) -> BoxFuture<'_, Result<Vec<u64>>> {
        Box::pin(async move { Ok(self.events.lock().emitted_for.get(&id).cloned().unwrap_or_default()) })
    }

    fn event(&self, id: u64) -> BoxFuture<'_, Result<Option<Stored>>> {
        Box::pin(async move { Ok(self.events.lock().events.get(&id).map(|event| event.stored.clone())) })
    }

    fn replay(&self, id: u64, at: Timestamp) -> BoxFuture<'_, Result<bool>> {
        Box::pin(async move {
            let mut all = self.events.lock();
            let Some(event) = all
                .events
                .get_mut(&id)
                .filter(|event| event.stored.has_content && event.held.as_ref().is_none_or(|(_, until)| *until <= at))
            else {
                return Ok(false);
            };
            event.held = None;
            event.stored.state = EventState::Waiting;
            event.stored.attempts = 0;
            event.stored.due = at;
            Ok(true)
        })
    }

    fn outbox(&self, after: u64, limit: u64) -> BoxFuture<'_, Result<Vec<Outgoing>>> {
        Box::pin(async move {
            let all = self.events.lock();
            let found = all
                .outbox
                .range(after + 1..)
                .filter_map(|(number, out)| out.content.clone().map(|content| Outgoing { number: *number, content }));
            Ok(found.take(usize::try_from(limit).unwrap_or(usize::MAX)).collect())
        })
    }

    fn last_emitted(&self) -> BoxFuture<'_, Result<u64>> {
        Box::pin(async move { Ok(self.events.lock().outbox.keys().next_back().copied().unwrap_or(0)) })
    }

    fn sink_place<'a>(&'a self, sink: &'a str) -> BoxFuture<'a, Result<Option<SinkStanding>>> {
        Box::pin(async move {
            let all = self.events.lock();
            let (again_to, again_at) = all.rewound.get(sink).copied().unwrap_or_default();
            Ok(all.positions.get(sink).map(|position| SinkStanding { position: *position, again_to, again_at }))
        })
    }

    fn rewind_sink<'a>(&'a self, sink: &'a str, to: u64, at: Timestamp) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let mut all = self.events.lock();
            if let Some(position) = all.positions.get(sink).copied() {
                let (again_to, again_at) = all.rewound.entry(sink.to_owned()).or_default();
                (*again_to, *again_at) = (position.max(*again_to), at);
            }
            all.advance(sink, to);
            Ok(())
        })
    }

    fn advance_sink<'a>(&'a self, sink: &'a str, to: u64, refused: Option<Refused>) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let mut all = self.events.lock();
            all.advance(sink, to);
            if let Some(refused) = refused {
                all.dead.retain(|dead| (dead.number, dead.sink.as_str()) != (to, sink));
                all.dead.push(DeadLetter { sink: sink.to_owned(), number: to, refused });
            }
            Ok(())
        })
    }

    fn dead_letters(&self, after: u64, limit: u64) -> BoxFuture<'_, Result<Vec<DeadLetter>>> {
        Box::pin(async move {
            let mut dead: Vec<_> = self.events.lock().dead.iter().filter(|dead| dead.number > after).cloned().collect();
            dead.sort_by(|a, b| (a.number, &a.sink).cmp(&(b.number, &b.sink)));
            dead.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
            Ok(dead)
        })
    }

    fn backlog(&self) -> BoxFuture<'_, Result<Backlog>> {
        Box::pin(async move {
            let all = self.events.lock();
            let mut backlog = Backlog::default();
            for Event { stored, .. } in all.events.values() {
                let counts = match stored.state {
                    EventState::Waiting => &mut backlog.waiting,
                    EventState::Dead => &mut backlog.dead,
                    EventState::Handled => continue,
                };
                *counts.entry(stored.arrival.connection.clone()).or_default() += 1;
            }
            for letter in &all.dead {
                *backlog.letters.entry(letter.sink.clone()).or_default() += 1;
            }
            Ok(backlog)
        })
    }

    fn sweep(&self, sweep: Sweep) -> BoxFuture<'_, Result<u64>> {
        Box::pin(async move { Ok(self.events.lock().sweep(&sweep)) })
    }
}
