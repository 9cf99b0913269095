//! The events that this connection knows of: id, last change, and the round in which it was seen last.
//!
//! Kept as lines of text, because that is the shortest. There is room for some ten thousand, and for fewer where their ids are
//! long; what is beyond that is told when it changes like everything else, and only its disappearance without a word would go
//! unseen.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::json;
use wharfage_sdk::events::Emission;
use wharfage_sdk::{Timestamp, log};

/// What is known, by id.
#[derive(Default)]
pub(crate) struct Known {
    events: BTreeMap<String, Seen>,
    /// About how many bytes their lines have.
    bytes: usize,
}

#[derive(Clone, Copy, PartialEq)]
struct Seen {
    round: u32,
    /// Milliseconds since 1970; 0 where Google did not say, [`LEFT`] until a round is over.
    updated_ms: i64,
}

/// An event as a sync tells it. Of one that was deleted only its id is promised.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Change {
    id: String,
    #[serde(default)]
    status: Option<String>,
    #[serde(default)]
    updated: Option<Timestamp>,
    #[serde(default)]
    recurring_event_id: Option<String>,
    /// Of a series, by which rules it comes again.
    #[serde(default)]
    recurrence: Vec<String>,
    /// Asked for only where it matters; of a series it is that of its first event.
    #[serde(default)]
    end: Option<End>,
}

/// When an event ends: a time, or a day that it does not include.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct End {
    #[serde(default)]
    date_time: Option<String>,
    #[serde(default)]
    date: Option<String>,
}

/// Bytes of lines that fit into a connection's state beside other things.
const BYTES_MAX: usize = 500_000;
/// Bytes of a line beside its id: a round of up to four digits, a time of thirteen, and what separates them.
const BESIDE_ID: usize = 20;
/// How much of both ends of an id stands in a key where the id is longer than these: Google allows an id 1024 letters, and
/// as many bytes are all that the host takes of a key.
const ENDS: usize = 200;
/// What was deleted, or moved to where no full reading sees it.
const LEFT: i64 = -1;

impl Known {
    pub(crate) fn read(text: &str) -> Self {
        let line = |line: &str| {
            let mut parts = line.split(' ');
            let (id, round, updated) = (parts.next()?, parts.next()?, parts.next()?);
            Some((id.to_owned(), Seen { round: round.parse().ok()?, updated_ms: updated.parse().ok()? }))
        };
        let events: BTreeMap<String, Seen> = text.lines().filter_map(line).collect();
        Self { bytes: bytes_of(&events), events }
    }

    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        for (id, seen) in &self.events {
            text.extend([id.as_str(), " ", &seen.round.to_string(), " ", &seen.updated_ms.to_string(), "\n"]);
        }
        text
    }

    /// Notes an event of a full reading, and tells whether that is news: not so where an earlier round saw it as it is now.
    ///
    /// What this very round has noted counts as news too: it may be the trace of a run that ended before its events were
    /// kept. One that was deleted and that nobody knew of is none.
    pub(crate) fn note(&mut self, change: &Change, round: u32) -> bool {
        let updated_ms = if change.is_deleted() { LEFT } else { change.updated.map_or(0, Timestamp::as_ms) };
        let Some(before) = self.events.get(&change.id).copied() else {
            if !change.is_deleted() {
                self.add(&change.id, Seen { round, updated_ms });
            }
            return !change.is_deleted();
        };
        self.events.insert(change.id.clone(), Seen { round, updated_ms });
        before.round == round || before.updated_ms != updated_ms
    }

    /// Follows what happened since.
    pub(crate) fn follow(&mut self, change: &Change, round: u32) {
        if change.is_deleted() {
            if self.events.remove(&change.id).is_some() {
                self.bytes -= change.id.len() + BESIDE_ID;
            }
        } else {
            self.add(&change.id, Seen { round, updated_ms: change.updated.map_or(0, Timestamp::as_ms) });
        }
    }

    /// Marks an event that no full reading will see, though it is there, and tells whether it was known.
    ///
    /// It is forgotten with the next round only: a step that comes again must say the same.
    pub(crate) fn leave(&mut self, change: &Change, round: u32) -> bool {
        let Some(seen) = self.events.get_mut(&change.id) else { return false };
        *seen = Seen { round, updated_ms: LEFT };
        true
    }

    fn add(&mut self, id: &str, seen: Seen) {
        let bytes = id.len() + BESIDE_ID;
        if let Some(known) = self.events.get_mut(id) {
            *known = seen;
        } else if self.bytes + bytes <= BYTES_MAX {
            self.events.insert(id.to_owned(), seen);
            self.bytes += bytes;
        } else {
            log::warn("there are more events than can be remembered", &[("bytes_max", &BYTES_MAX)]);
        }
    }

    /// The newest ones, the oldest of them first.
    pub(crate) fn newest(&self, events: u32) -> Vec<Change> {
        let there = self.events.iter().filter(|(_, seen)| seen.updated_ms != LEFT);
        let mut all: Vec<(i64, &String)> = there.map(|(id, seen)| (seen.updated_ms, id)).collect();
        all.sort_unstable();
        let skipped = all.len().saturating_sub(usize::try_from(events).unwrap_or(usize::MAX));
        let change = |(updated_ms, id): (i64, &String)| Change {
            id: id.clone(),
            status: None,
            updated: (updated_ms != 0).then(|| Timestamp::from_ms(updated_ms)),
            recurring_event_id: None,
            recurrence: Vec::new(),
            end: None,
        };
        all.into_iter().skip(skipped).map(change).collect()
    }

    /// Ids that the round did not see and should have, after this one, in their order.
    pub(crate) fn gone(&self, round: u32, after: &str, most: usize) -> Vec<String> {
        let is_missing = |seen: &Seen| seen.round != round && seen.updated_ms != LEFT;
        let gone = self.events.iter().filter(|(id, seen)| is_missing(seen) && id.as_str() > after);
        gone.map(|(id, _)| id.clone()).take(most).collect()
    }

    /// Forgets what the round did not see, and what it saw deleted.
    pub(crate) fn forget(&mut self, round: u32) {
        self.events.retain(|_, seen| seen.round == round && seen.updated_ms != LEFT);
        self.bytes = bytes_of(&self.events);
    }
}

fn bytes_of(events: &BTreeMap<String, Seen>) -> usize {
    events.keys().map(|id| id.len() + BESIDE_ID).sum()
}

impl Change {
    fn is_deleted(&self) -> bool {
        self.status.as_deref() == Some("cancelled")
    }

    /// Whether it ended at this time or before; a series is taken to go on. A day ends last of all twelve hours behind UTC.
    pub(crate) fn has_ended(&self, at: Timestamp) -> bool {
        let Some(end) = self.end.as_ref().filter(|_| self.recurrence.is_empty()) else { return false };
        let day = || Timestamp::parse(&[end.date.as_deref()?, "T12:00:00Z"].concat());
        end.date_time.as_deref().and_then(Timestamp::parse).or_else(day).is_some_and(|end| end <= at)
    }

    /// The event of it. `when` tells one change from another where Google does not say when it was.
    pub(crate) fn emission(&self, calendar: &str, when: &str) -> Emission {
        let updated = self.updated.map(|updated| updated.to_string());
        let (event_type, word) =
            if self.is_deleted() { ("event.deleted", " deleted ") } else { ("event.changed", " changed ") };
        let key = [calendar, " ", &in_key(&self.id), word, updated.as_deref().unwrap_or(when)].concat();
        let mut data = json!({"calendar": calendar, "id": self.id, "series_id": self.recurring_event_id});
        if self.is_deleted() {
            data["found_missing"] = json!(false);
        } else {
            data["updated"] = json!(updated);
        }
        Emission { event_type: event_type.to_owned(), key, data }
    }
}

/// An id as it stands in a key.
fn in_key(id: &str) -> Cow<'_, str> {
    match (id.get(..ENDS), id.get(id.len().saturating_sub(ENDS)..)) {
        (Some(first), Some(last)) if id.len() > 2 * ENDS => Cow::Owned([first, "...", last].concat()),
        _ => Cow::Borrowed(id),
    }
}

/// The event of one that is there no more.
pub(crate) fn missing(calendar: &str, id: &str, round: u32) -> Emission {
    let key = [calendar, " ", &in_key(id), " missing in round ", &round.to_string()].concat();
    let data = json!({"calendar": calendar, "id": id, "series_id": null, "found_missing": true});
    Emission { event_type: "event.deleted".to_owned(), key, data }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(text: &str) -> Change {
        serde_json::from_str(text).unwrap()
    }

    fn at(id: &str, second: u32) -> Change {
        change(&format!(r#"{{"id": "{id}", "status": "confirmed", "updated": "2026-03-01T00:00:0{second}Z"}}"#))
    }

    #[test]
    fn a_full_reading_tells_what_is_different_and_what_is_gone() {
        let mut known = Known::default();
        for id in ["same", "changed", "gone", "deleted"] {
            known.follow(&at(id, 1), 1);
        }
        let mut known = Known::read(&known.text());
        let deleted = change(r#"{"id": "deleted", "status": "cancelled"}"#);
        let never_known = change(r#"{"id": "other", "status": "cancelled"}"#);
        let mut news = |change: &Change| known.note(change, 2);
        assert!(!news(&at("same", 1)) && news(&at("changed", 2)) && news(&at("new", 1)));
        assert!(news(&deleted) && !news(&never_known));
        assert_eq!(known.gone(2, "", 9), ["gone"]);
        known.forget(2);
        assert_eq!(Vec::from_iter(known.events.keys()), ["changed", "new", "same"]);
    }

    #[test]
    fn an_event_that_moved_out_of_sight_is_not_missed() {
        let mut known = Known::default();
        known.follow(&at("moved", 1), 1);
        assert!(known.leave(&at("moved", 2), 1) && known.leave(&at("moved", 2), 1), "a step may come again");
        assert!(!known.leave(&at("never known", 2), 1));
        assert!(known.gone(2, "", 9).is_empty() && known.newest(9).is_empty());
        known.forget(2);
        assert!(known.events.is_empty());
    }

    // A run may end after its notes and before its events are kept. Then the same page comes again, and must say the same.
    #[test]
    fn a_page_that_comes_again_says_the_same() {
        let mut known = Known::default();
        known.follow(&at("deleted", 1), 1);
        let page = [at("new", 1), change(r#"{"id": "deleted", "status": "cancelled"}"#)];
        for _ in 0..2 {
            assert!(page.iter().all(|change| known.note(change, 2)));
        }
    }

    // An import makes ids of hundreds of letters: what is kept is bounded by its bytes, not by how many there are.
    #[test]
    fn of_events_with_long_ids_fewer_are_remembered() {
        let mut known = Known::default();
        let id = |number: u32| format!("{number:0200}");
        for number in 0..2_300 {
            known.follow(&at(&id(number), 1), 1);
        }
        assert_eq!(known.events.len(), BYTES_MAX / 220);
        assert!(known.text().len() <= BYTES_MAX);
        // What is known is followed all the same, and what is deleted or forgotten makes room.
        let mut known = Known::read(&known.text());
        known.follow(&at(&id(1), 2), 2);
        known.follow(&change(&format!(r#"{{"id": "{}", "status": "cancelled"}}"#, id(0))), 2);
        for number in 2_297..2_299 {
            known.follow(&at(&id(number), 1), 2);
        }
        known.forget(2);
        assert_eq!(Vec::from_iter(known.events.keys()), [&id(1), &id(2_297)]);
        known.follow(&at(&id(2_299), 1), 2);
        assert_eq!(known.events.len(), 3);
    }

    #[test]
    fn the_newest_are_told_the_oldest_of_them_first() {
        let mut known = Known::default();
        for (id, second) in [("c", 3), ("a", 1), ("b", 2)] {
            known.note(&at(id, second), 1);
        }
        let ids: Vec<String> = known.newest(2).into_iter().map(|change| change.id).collect();
        assert_eq!(ids, ["b", "c"]);
    }

    /// The host takes no key of more than 1024 bytes, and would refuse whatever stands beside it as well.
    #[test]
    fn an_event_with_a_long_id_has_a_key_that_the_host_takes() {
        let id = |last: char| "a".repeat(1_023) + &last.to_string();
        let keys = |last| [at(&id(last), 1).emission("primary", "t").key, missing("primary", &id(last), 1).key];
        assert!(keys('x').iter().all(|key| key.len() <= 1_024));
        assert!(keys('x').iter().zip(keys('y')).all(|(x, y)| *x != y));
        let short = "b".repeat(2 * ENDS);
        assert!(missing("primary", &short, 1).key.contains(&short));
    }

    #[test]
    fn a_change_without_a_time_is_known_by_its_token() {
        let deleted = change(r#"{"id": "a", "status": "cancelled"}"#);
        assert_ne!(deleted.emission("primary", "t1").key, deleted.emission("primary", "t2").key);
        assert_eq!(at("a", 1).emission("primary", "t1"), at("a", 1).emission("primary", "t2"));
    }
}
