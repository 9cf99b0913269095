//! What arrives and leaves, in the state file.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{SqliteStore, changed, failed, number, signed, time, unsigned};
use crate::error::{Error, Result};
use crate::store::Seal;
use crate::store::arrival::{
    Arrival, Arrivals, Backlog, Claimed, Commit, Committed, DeadLetter, EventState, Excess, Filter, NAMES_AT_ONCE,
    Outgoing, READER, Refused, Room, SinkStanding, Standing, Stored, Sweep,
};
use crate::store::rules::{PUT_OFF_MS_MAX, believed};
use crate::time::{BoxFuture, Timestamp};

/// The columns that [`stored`] reads.
const COLUMNS: &str = "id, connection, trigger_name, key, ordering, at_ms, known_until_ms, state, attempts, due_ms, why, \
                       sealed IS NOT NULL";

impl Arrivals for SqliteStore {
    fn claim(&self, arrival: Arrival, room: Room) -> BoxFuture<'_, Result<Claimed>> {
        self.write(move |write, seal| claim(write, seal, &arrival, room))
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
        let (connection, holder, works_on) = (connection.to_owned(), holder.to_owned(), works_on.to_vec());
        Box::pin(async move {
            // Whoever asks again and again while nothing is there keeps no other from writing.
            let (of, but) = (connection.clone(), works_on.clone());
            let due = self.read(move |read, _| due(read, &of, now, until, limit, &but).map_err(failed)).await?;
            if due.is_empty() {
                return Ok(Vec::new());
            }
            self.write(move |write, seal| {
                let ids = free(write, &connection, now, until, limit, &works_on).map_err(failed)?;
                let held = |id: &u64| hold_new(write, *id, &holder, until);
                ids.iter().try_for_each(held).map_err(failed)?;
                let rows = ids.iter().filter_map(|id| sealed(write, *id).transpose());
                let rows: Vec<_> = rows.collect::<rusqlite::Result<_>>().map_err(failed)?;
                let opened = rows.iter().map(|(event, sealed)| open(seal, event, sealed));
                let contents = each(opened.collect(), "what waits")?;
                let whole = rows.into_iter().zip(contents).map(|((mut event, _), content)| {
                    event.arrival.content = content;
                    event
                });
                Ok(whole.collect())
            })
            .await
        })
    }

    fn hold<'a>(&'a self, id: u64, holder: &'a str, until: Timestamp) -> BoxFuture<'a, Result<bool>> {
        let holder = holder.to_owned();
        self.write(move |write, _| {
            changed(
                write,
                "UPDATE event SET held_until_ms = ?3 WHERE id = ?1 AND holder = ?2 AND state = 0",
                params![number(id), holder, signed(until)],
            )
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
        let (holder, why) = (holder.to_owned(), why.to_owned());
        self.write(move |write, _| {
            let (state, given_back) = (if due.is_some() { 0 } else { 2 }, i64::from(!counts));
            changed(
                write,
                "UPDATE event SET state = ?3, due_ms = coalesce(?4, due_ms), why = ?5, holder = NULL, held_until_ms = 0,
                     attempts = attempts - ?6
                 WHERE id = ?1 AND holder = ?2 AND state = 0",
                params![number(id), holder, state, due.map(signed), why, given_back],
            )
        })
    }

    fn commit(&self, commit: Commit) -> BoxFuture<'_, Result<Committed>> {
        let swept = self.0.swept.lock().unwrap_or_else(PoisonError::into_inner).clone();
        self.write(move |write, seal| match obstacle(write, &commit, swept.as_deref()).map_err(failed)? {
            Some(obstacle) => Ok(obstacle),
            None => keep(write, seal, &commit),
        })
    }

    fn cursor<'a>(&'a self, connection: &'a str, trigger: &'a str) -> BoxFuture<'a, Result<Standing>> {
        let (connection, trigger) = (connection.to_owned(), trigger.to_owned());
        self.read(move |read, seal| {
            let row: Option<(i64, Option<Vec<u8>>)> = read
                .prepare_cached("SELECT version, sealed FROM cursor WHERE connection = ?1 AND trigger_name = ?2")
                .and_then(|mut query| {
                    query.query_row(params![connection, trigger], |row| Ok((row.get(0)?, row.get(1)?))).optional()
                })
                .map_err(failed)?;
            let Some((version, sealed)) = row else { return Ok(Standing::default()) };
            let cursor = sealed.map(|sealed| {
                let plain = seal.open(&["cursor", &connection, &trigger], &sealed);
                plain
                    .and_then(|plain| String::from_utf8(plain).ok())
                    .ok_or_else(|| changed_from_outside(&format!("the cursor of {trigger}")))
            });
            Ok(Standing { version: version.unsigned_abs(), cursor: cursor.transpose()? })
        })
    }

    fn events(&self, filter: Filter) -> BoxFuture<'_, Result<Vec<Stored>>> {
        self.read(move |read, _| {
            let text = format!(
                "SELECT {COLUMNS} FROM event WHERE id > ?1 AND id < ?5 AND (?2 IS NULL OR connection = ?2)
                 AND (?3 IS NULL OR state = ?3) AND (?6 IS NULL OR instr(lower(trigger_name), ?6)
                 OR instr(lower(key), ?6) OR instr(lower(why), ?6)) ORDER BY id {order} LIMIT ?4",
                order = if filter.before.is_some() { "DESC" } else { "ASC" }
            );
            let state = filter.state.map(|state| state as i64);
            let before = filter.before.map_or(i64::MAX, number);
            let held = filter.text.map(|text| text.to_ascii_lowercase());
            read.prepare_cached(&text)
                .and_then(|mut query| {
                    let (after, limit) = (number(filter.after), number(filter.limit));
                    query.query_map(params![after, filter.connection, state, limit, before, held], stored)?.collect()
                })
                .map_err(failed)
        })
    }

    fn emitted_for(&self, id: u64) -> BoxFuture<'_, Result<Vec<u64>>> {
        self.read(move |read, _| {
            read.prepare_cached("SELECT number FROM emitted_for WHERE event = ?1 ORDER BY number")
                .and_then(|mut query| query.query_map([number(id)], |row| unsigned(row, 0))?.collect())
                .map_err(failed)
        })
    }

    fn event(&self, id: u64) -> BoxFuture<'_, Result<Option<Stored>>> {
        self.read(move |read, seal| whole(read, seal, id))
    }

    fn replay(&self, id: u64, at: Timestamp) -> BoxFuture<'_, Result<bool>> {
        self.write(move |write, _| {
            changed(
                write,
                "UPDATE event SET state = 0, attempts = 0, due_ms = ?2, holder = NULL, held_until_ms = 0
                 WHERE id = ?1 AND sealed IS NOT NULL AND held_until_ms <= ?2",
                params![number(id), signed(at)],
            )
        })
    }

    fn outbox(&self, after: u64, limit: u64) -> BoxFuture<'_, Result<Vec<Outgoing>>> {
        self.read(move |read, seal| {
            let rows: Vec<(i64, String, String, Vec<u8>)> = read
                .prepare_cached(
                    "SELECT number, connection, name, sealed FROM emitted
                     WHERE number > ?1 AND sealed IS NOT NULL ORDER BY number LIMIT ?2",
                )
                .and_then(|mut query| {
                    let row = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?));
                    query.query_map(params![number(after), number(limit)], row)?.collect()
                })
                .map_err(failed)?;
            let opened = rows.iter().map(|(_, of, name, sealed)| seal.open(&["emitted", of, name], sealed));
            let contents = each(opened.collect(), "what was emitted")?;
            let numbers = rows.iter().map(|(number, ..)| number.unsigned_abs());
            Ok(numbers.zip(contents).map(|(number, content)| Outgoing { number, content }).collect())
        })
    }

    fn last_emitted(&self) -> BoxFuture<'_, Result<u64>> {
        self.read(move |read, _| {
            read.prepare_cached("SELECT coalesce(max(number), 0) FROM emitted")
                .and_then(|mut query| query.query_row([], |row| unsigned(row, 0)))
                .map_err(failed)
        })
    }

    fn sink_place<'a>(&'a self, sink: &'a str) -> BoxFuture<'a, Result<Option<SinkStanding>>> {
        let sink = sink.to_owned();
        self.read(move |read, _| {
            read.prepare_cached(
                "SELECT sink.position, coalesce(sink_rewound.position, 0), coalesce(at_ms, 0)
                 FROM sink LEFT JOIN sink_rewound ON sink_rewound.sink = sink.name WHERE sink.name = ?1",
            )
            .and_then(|mut query| {
                let place = |row: &Row<'_>| {
                    Ok(SinkStanding {
                        position: unsigned(row, 0)?,
                        again_to: unsigned(row, 1)?,
                        again_at: time(row, 2)?,
                    })
                };
                query.query_row([sink], place).optional()
            })
            .map_err(failed)
        })
    }

    fn rewind_sink<'a>(&'a self, sink: &'a str, to: u64, at: Timestamp) -> BoxFuture<'a, Result<()>> {
        let sink = sink.to_owned();
        self.write(move |write, _| {
            changed(
                write,
                "INSERT INTO sink_rewound (sink, position, at_ms) SELECT name, position, ?2 FROM sink WHERE name = ?1
                 ON CONFLICT (sink) DO UPDATE SET position = max(position, excluded.position), at_ms = excluded.at_ms",
                params![sink, signed(at)],
            )?;
            advance(write, &sink, to)
        })
    }

    fn advance_sink<'a>(&'a self, sink: &'a str, to: u64, refused: Option<Refused>) -> BoxFuture<'a, Result<()>> {
        let sink = sink.to_owned();
        self.write(move |write, _| {
            advance(write, &sink, to)?;
            if let Some(Refused { at, why }) = refused {
                changed(
                    write,
                    "INSERT OR REPLACE INTO dead_letter (number, sink, at_ms, why) VALUES (?1, ?2, ?3, ?4)",
                    params![number(to), sink, signed(at), why],
                )?;
            }
            Ok(())
        })
    }

    fn dead_letters(&self, after: u64, limit: u64) -> BoxFuture<'_, Result<Vec<DeadLetter>>> {
        self.read(move |read, _| {
            read.prepare_cached(
                "SELECT number, sink, at_ms, why FROM dead_letter WHERE number > ?1 ORDER BY number, sink LIMIT ?2",
            )
            .and_then(|mut query| {
                let letter = |row: &Row<'_>| {
                    let refused = Refused { at: time(row, 2)?, why: row.get(3)? };
                    Ok(DeadLetter { number: unsigned(row, 0)?, sink: row.get(1)?, refused })
                };
                query.query_map(params![number(after), number(limit)], letter)?.collect()
            })
            .map_err(failed)
        })
    }

    fn backlog(&self) -> BoxFuture<'_, Result<Backlog>> {
        self.read(move |read, _| {
            let counts = |text: &str| -> rusqlite::Result<BTreeMap<String, u64>> {
                let row = |row: &Row<'_>| Ok((row.get(0)?, unsigned(row, 1)?));
                read.prepare_cached(text)?.query_map([], row)?.collect()
            };
            let all = || {
                Ok(Backlog {
                    waiting: counts(
                        "SELECT connection, SUM(events) FROM waiting GROUP BY connection HAVING SUM(events) > 0",
                    )?,
                    dead: counts("SELECT connection, COUNT(*) FROM event WHERE state = 2 GROUP BY connection")?,
                    letters: counts("SELECT sink, COUNT(*) FROM dead_letter GROUP BY sink")?,
                })
            };
            all().map_err(failed)
        })
    }

    fn sweep(&self, sweep: Sweep) -> BoxFuture<'_, Result<u64>> {
        *self.0.swept.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(sweep.clone()));
        self.write(move |write, _| forget(write, &sweep).map_err(failed))
    }
}

fn claim(write: &Connection, seal: &Seal, arrival: &Arrival, room: Room) -> Result<Claimed> {
    let Arrival { connection, trigger, key, .. } = arrival;
    let known: Option<(i64, i64)> = write
        .prepare_cached(
            "SELECT state, known_until_ms FROM event WHERE connection = ?1 AND trigger_name = ?2 AND key = ?3",
        )
        .and_then(|mut query| {
            query.query_row(params![connection, trigger, key], |row| Ok((row.get(0)?, row.get(1)?))).optional()
        })
        .map_err(failed)?;
    if known.is_some_and(|(state, until)| state == EventState::Waiting as i64 || until > signed(arrival.at)) {
        return Ok(Claimed::Repeated);
    }
    let (events, bytes): (i64, i64) = write
        .prepare_cached("SELECT events, bytes FROM waiting WHERE connection = ?1 AND trigger_name = ?2")
        .and_then(|mut query| {
            query.query_row(params![connection, trigger], |row| Ok((row.get(0)?, row.get(1)?))).optional()
        })
        .map_err(failed)?
        .unwrap_or_default();
    let length = arrival.content.len() as u64;
    if let Some(limit) = room.over(events.unsigned_abs(), bytes.unsigned_abs(), length) {
        return Ok(Claimed::Full(limit));
    }
    let sealed = seal.seal(&["event", connection, trigger, key], &arrival.content)?;
    // One that was forgotten makes room for the new one.
    write
        .prepare_cached(
            "INSERT OR REPLACE INTO event (connection, trigger_name, key, ordering, at_ms, known_until_ms, state,
                 attempts, due_ms, held_until_ms, why, bytes, sealed)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, 0, 0, ?5, 0, '', ?7, ?8)",
        )
        .and_then(|mut query| {
            query.execute(params![
                connection,
                trigger,
                key,
                arrival.order,
                signed(arrival.at),
                signed(arrival.known_until),
                number(length),
                sealed
            ])
        })
        .map_err(failed)?;
    Ok(Claimed::New(write.last_insert_rowid().unsigned_abs()))
}

/// What is due and free for one who holds it until then and works on these, or is held until a time that is not believed,
/// and whether that is so. What arrived on a clock that was ahead is due, unless one that is right has put it off; and so
/// is what one that was ahead has put off.
fn due(
    read: &Connection,
    connection: &str,
    now: Timestamp,
    until: Timestamp,
    limit: u64,
    works_on: &[u64],
) -> rusqlite::Result<Vec<(u64, bool)>> {
    // So many may be among them.
    let most = limit.saturating_add(works_on.len() as u64);
    let (put_off, held) = (believed(now.plus(PUT_OFF_MS_MAX)), believed(until));
    read.prepare_cached(
        "SELECT id, held_until_ms > ?5 FROM event AS this WHERE connection = ?1 AND state = 0
             AND (due_ms <= ?2 OR due_ms > ?6 OR (due_ms >= at_ms AND at_ms > ?4))
             AND (held_until_ms <= ?2 OR held_until_ms > ?5)
             AND (ordering IS NULL OR NOT EXISTS (
                 SELECT 1 FROM event AS before WHERE before.connection = this.connection
                     AND before.trigger_name = this.trigger_name AND before.ordering = this.ordering
                     AND before.ordering IS NOT NULL AND before.state = 0 AND before.id < this.id
             )) ORDER BY id LIMIT ?3",
    )?
    .query_map(
        params![connection, signed(now), number(most), signed(believed(now)), signed(held), signed(put_off)],
        |row| Ok((unsigned(row, 0)?, row.get(1)?)),
    )?
    .filter(|row| !matches!(row, Ok((id, _)) if works_on.contains(id)))
    .take(usize::try_from(limit).unwrap_or(usize::MAX))
    .collect()
}

/// What is due and free, after every hold before it whose end is not believed was brought down (see `rules::ends_at`).
fn free(
    write: &Connection,
    connection: &str,
    now: Timestamp,
    until: Timestamp,
    limit: u64,
    works_on: &[u64],
) -> rusqlite::Result<Vec<u64>> {
    loop {
        let due = due(write, connection, now, until, limit, works_on)?;
        let ahead: Vec<u64> = due.iter().filter(|(_, is_ahead)| *is_ahead).map(|(id, _)| *id).collect();
        if ahead.is_empty() {
            return Ok(due.into_iter().map(|(id, _)| id).collect());
        }
        for id in ahead {
            write
                .prepare_cached("UPDATE event SET held_until_ms = ?2 WHERE id = ?1")?
                .execute(params![number(id), signed(until)])?;
        }
    }
}

fn hold_new(write: &Connection, id: u64, holder: &str, until: Timestamp) -> rusqlite::Result<()> {
    write
        .prepare_cached("UPDATE event SET holder = ?2, held_until_ms = ?3, attempts = attempts + 1 WHERE id = ?1")?
        .execute(params![number(id), holder, signed(until)])?;
    Ok(())
}

/// An event with its content.
fn whole(read: &Connection, seal: &Seal, id: u64) -> Result<Option<Stored>> {
    let Some((mut event, sealed)) = sealed(read, id).map_err(failed)? else { return Ok(None) };
    if event.has_content {
        let content = open(seal, &event, &sealed);
        event.arrival.content = content.ok_or_else(|| changed_from_outside(&format!("the event {id}")))?;
    }
    Ok(Some(event))
}

/// An event, and its content as it is sealed; no bytes where none is kept.
fn sealed(read: &Connection, id: u64) -> rusqlite::Result<Option<(Stored, Vec<u8>)>> {
    let row = |row: &Row<'_>| Ok((stored(row)?, row.get::<_, Option<Vec<u8>>>(12)?.unwrap_or_default()));
    read.prepare_cached(&format!("SELECT {COLUMNS}, sealed FROM event WHERE id = ?1"))?
        .query_row(params![number(id)], row)
        .optional()
}

fn open(seal: &Seal, event: &Stored, sealed: &[u8]) -> Option<Vec<u8>> {
    let Arrival { connection, trigger, key, .. } = &event.arrival;
    seal.open(&["event", connection, trigger, key], sealed)
}

/// What each was opened to; no bytes for one that was changed from outside, so that it keeps no other waiting. Where none
/// of several opens, the key is another, and they wait for theirs.
fn each(opened: Vec<Option<Vec<u8>>>, what: &str) -> Result<Vec<Vec<u8>>> {
    if opened.len() > 1 && opened.iter().all(Option::is_none) {
        return Err(changed_from_outside(what));
    }
    Ok(opened.into_iter().map(Option::unwrap_or_default).collect())
}

/// Why nothing of a commit can be kept.
fn obstacle(write: &Connection, commit: &Commit, swept: Option<&Sweep>) -> rusqlite::Result<Option<Committed>> {
    if let Some((id, holder)) = &commit.event {
        let is_held: Option<i64> = write
            .prepare_cached("SELECT 1 FROM event WHERE id = ?1 AND holder = ?2 AND state = 0")?
            .query_row(params![number(*id), holder], |row| row.get(0))
            .optional()?;
        if is_held.is_none() {
            return Ok(Some(Committed::Stale));
        }
    }
    if let Some(step) = &commit.step {
        let version: Option<i64> = write
            .prepare_cached("SELECT version FROM cursor WHERE connection = ?1 AND trigger_name = ?2")?
            .query_row(params![commit.connection, step.trigger], |row| row.get(0))
            .optional()?;
        if version.unwrap_or(0).unsigned_abs() != step.expected {
            return Ok(Some(Committed::Stale));
        }
    }
    Ok((!makes_room(write, commit, swept)?).then_some(Committed::Full))
}

fn excess(write: &Connection, commit: &Commit) -> rusqlite::Result<Excess> {
    let all = write
        .prepare_cached("SELECT coalesce(SUM(bytes), 0) FROM emitted_bytes_of")?
        .query_row([], |row| unsigned(row, 0))?;
    let own = write
        .prepare_cached("SELECT bytes FROM emitted_bytes_of WHERE connection = ?1")?
        .query_row([&commit.connection], |row| unsigned(row, 0))
        .optional()?;
    Ok(commit.excess(all, own.unwrap_or(0)))
}

/// Whether there is room for what is emitted, after what may go has gone.
fn makes_room(write: &Connection, commit: &Commit, swept: Option<&Sweep>) -> rusqlite::Result<bool> {
    if commit.emit.is_empty() || excess(write, commit)?.is_none() {
        return Ok(true);
    }
    let Some(sweep) = swept.map(|swept| swept.at(commit.at)) else { return Ok(false) };
    release(write, &sweep)?;
    let mut excess = excess(write, commit)?;
    let old: Vec<(i64, String, u64)> = write
        .prepare_cached(&format!(
            "SELECT number, connection, bytes FROM emitted INDEXED BY emitted_at
                 WHERE sealed IS NOT NULL AND at_ms < ?1 AND NOT EXISTS ({AGAIN}) ORDER BY number"
        ))?
        .query_map([signed(sweep.emitted_before)], |row| Ok((row.get(0)?, row.get(1)?, unsigned(row, 2)?)))?
        .collect::<rusqlite::Result<_>>()?;
    let mut letters = Vec::new();
    for (number, connection, bytes) in old {
        if excess.less(bytes, connection == commit.connection) {
            letters.push(number);
        }
    }
    if excess.is_none() {
        for number in letters {
            write.prepare_cached("UPDATE emitted SET sealed = NULL WHERE number = ?1")?.execute([number])?;
        }
    }
    Ok(excess.is_none())
}

/// A sink that went back before an emitted event, not before `?1`, and has not come to it.
const AGAIN: &str = "SELECT 1 FROM sink_rewound AS again JOIN sink ON again.sink = sink.name
                     WHERE again.at_ms >= ?1 AND emitted.number > sink.position AND emitted.number <= again.position";

/// Lets go of the content that everybody is done with, or that is too old.
fn release(write: &Connection, sweep: &Sweep) -> rusqlite::Result<()> {
    let readers: Vec<String> = write
        .prepare_cached("SELECT name FROM sink WHERE substr(name, 1, length(?1)) = ?1")?
        .query_map([READER], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    let mut done = None;
    for sink in sweep.sinks.iter().chain(&readers) {
        let position: Option<i64> = write
            .prepare_cached("SELECT position FROM sink WHERE name = ?1")?
            .query_row([sink], |row| row.get(0))
            .optional()?;
        let position = position.unwrap_or(0);
        done = Some(done.map_or(position, |done: i64| done.min(position)));
    }
    // Each by an index of its own: a commit that finds no room does this again, and everybody else waits for it.
    let rest = format!("AND number NOT IN (SELECT number FROM dead_letter) AND NOT EXISTS ({AGAIN})");
    let before = signed(sweep.emitted_before);
    write
        .prepare_cached(&format!("UPDATE emitted SET sealed = NULL WHERE sealed IS NOT NULL AND number <= ?2 {rest}"))?
        .execute(params![before, done.unwrap_or(0)])?;
    write
        .prepare_cached(&format!("UPDATE emitted SET sealed = NULL WHERE sealed IS NOT NULL AND at_ms < ?1 {rest}"))?
        .execute(params![before])?;
    Ok(())
}

fn keep(write: &Connection, seal: &Seal, commit: &Commit) -> Result<Committed> {
    let Commit { connection, at, .. } = commit;
    if let Some((id, _)) = &commit.event {
        changed(
            write,
            "UPDATE event SET state = 1, due_ms = ?2, why = '', holder = NULL, held_until_ms = 0 WHERE id = ?1",
            params![number(*id), signed(*at)],
        )?;
    }
    if let Some(step) = &commit.step {
        let seal = |cursor: &String| seal.seal(&["cursor", connection, &step.trigger], cursor.as_bytes());
        let sealed = step.cursor.as_ref().map(seal).transpose()?;
        changed(
            write,
            "INSERT OR REPLACE INTO cursor (connection, trigger_name, version, sealed) VALUES (?1, ?2, ?3, ?4)",
            params![connection, step.trigger, number(step.expected + 1), sealed],
        )?;
    }
    let mut emitted = 0;
    for emit in &commit.emit {
        let sealed = seal.seal(&["emitted", connection, &emit.name], &emit.content)?;
        let (known_until, length) = (signed(commit.known_until), number(emit.content.len() as u64));
        let is_new = changed(
            write,
            "INSERT INTO emitted (connection, name, at_ms, known_until_ms, bytes, sealed) SELECT ?1, ?2, ?3, ?4, ?5, ?6
             WHERE NOT EXISTS (SELECT 1 FROM emitted WHERE connection = ?1 AND name = ?2)",
            params![connection, emit.name, signed(*at), known_until, length, sealed],
        )?;
        emitted += u64::from(is_new);
        if let Some((id, _)) = commit.event.as_ref().filter(|_| is_new) {
            changed(
                write,
                "INSERT INTO emitted_for (event, number) VALUES (?1, ?2)",
                params![number(*id), write.last_insert_rowid()],
            )?;
        }
    }
    Ok(Committed::Kept { emitted })
}

fn advance(write: &Connection, sink: &str, to: u64) -> Result<()> {
    changed(
        write,
        "INSERT INTO sink (name, position) VALUES (?1, ?2)
         ON CONFLICT (name) DO UPDATE SET position = excluded.position",
        params![sink, number(to)],
    )?;
    changed(write, "DELETE FROM dead_letter WHERE number > ?1 AND sink = ?2", params![number(to), sink]).map(drop)
}

fn forget(write: &Connection, sweep: &Sweep) -> rusqlite::Result<u64> {
    let run = |text: &str, values: &[&dyn rusqlite::ToSql]| -> rusqlite::Result<u64> {
        Ok(write.prepare_cached(text)?.execute(values)? as u64)
    };
    let (handled, dead) = (signed(sweep.handled_before), signed(sweep.dead_before));
    run(
        "UPDATE event SET sealed = NULL WHERE sealed IS NOT NULL
             AND ((state = 1 AND due_ms < ?1) OR (state = 2 AND due_ms < ?2))",
        params![handled, dead],
    )?;
    let now = signed(sweep.now);
    let mut gone = run("DELETE FROM event WHERE state > 0 AND sealed IS NULL AND known_until_ms <= ?1", params![now])?;
    run("DELETE FROM emitted_for WHERE event NOT IN (SELECT id FROM event)", params![])?;
    run("DELETE FROM dead_letter WHERE at_ms < ?1", params![dead])?;
    release(write, sweep)?;
    gone += run("DELETE FROM emitted WHERE sealed IS NULL AND known_until_ms <= ?1", params![now])?;
    if let Some(most) = sweep.known_events {
        gone += forget_names(write, most)?;
    }
    Ok(gone)
}

/// Forgets the oldest of what is known by name alone, where that is more than so many of one connection; no more than
/// [`NAMES_AT_ONCE`].
fn forget_names(write: &Connection, most: u64) -> rusqlite::Result<u64> {
    let connections: Vec<String> = write
        .prepare_cached("SELECT connection FROM emitted_bytes_of")?
        .query_map([], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    let mut gone = 0;
    for connection in connections {
        if gone >= NAMES_AT_ONCE {
            break;
        }
        // The newest that is too many. To count to it, only the index is read.
        let last: Option<i64> = write
            .prepare_cached(
                "SELECT number FROM emitted INDEXED BY emitted_named WHERE connection = ?1 AND sealed IS NULL
                     ORDER BY number DESC LIMIT 1 OFFSET ?2",
            )?
            .query_row(params![connection, number(most)], |row| row.get(0))
            .optional()?;
        if let Some(last) = last {
            gone += write
                .prepare_cached(
                    "DELETE FROM emitted WHERE number IN (
                         SELECT number FROM emitted INDEXED BY emitted_named
                             WHERE connection = ?1 AND sealed IS NULL AND number <= ?2 ORDER BY number LIMIT ?3
                     )",
                )?
                .execute(params![connection, last, number(NAMES_AT_ONCE - gone)])? as u64;
        }
    }
    if gone > 0 {
        write
            .prepare_cached("DELETE FROM emitted_for WHERE number NOT IN (SELECT number FROM emitted)")?
            .execute(params![])?;
    }
    Ok(gone)
}

fn changed_from_outside(what: &str) -> Error {
    Error::internal(format!("{what} was changed from outside"))
}

fn stored(row: &Row<'_>) -> rusqlite::Result<Stored> {
    let state = usize::try_from(row.get::<_, i64>(7)?).ok().and_then(|state| EventState::ALL.get(state));
    Ok(Stored {
        id: unsigned(row, 0)?,
        arrival: Arrival {
            connection: row.get(1)?,
            trigger: row.get(2)?,
            key: row.get(3)?,
            order: row.get(4)?,
            at: time(row, 5)?,
            known_until: time(row, 6)?,
            content: Vec::new(),
        },
        state: state.copied().unwrap_or(EventState::Dead),
        attempts: unsigned(row, 8)?,
        due: time(row, 9)?,
        why: row.get(10)?,
        has_content: row.get(11)?,
    })
}
