//! State in one SQLite file, which several processes may have open at once.

mod arrival;
mod writer;

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OptionalExtension, Row, TransactionBehavior, params};
use tokio::sync::oneshot;

use zeroize::Zeroizing;

use super::arrival::Sweep;
use super::rules::{believed, may_write};
use super::{Anchor, Chain, Link, Listed, Place, Record, Reserved, Seal, Store, Wish, over};
use crate::error::{Error, Result};
use crate::time::{BoxFuture, Timestamp};
use writer::Writer;

/// How long one process waits for another's write.
const BUSY: Duration = Duration::from_secs(5);

/// A store in a file.
pub(crate) struct SqliteStore(Arc<Inner>);

struct Inner {
    reader: Mutex<Connection>,
    writer: Writer,
    seal: Arc<Seal>,
    /// The last sweep, whose rule holds also where room is needed.
    swept: Mutex<Option<Arc<Sweep>>>,
}

impl SqliteStore {
    /// Opens the file, making it if it is not there.
    pub(crate) fn open(path: &Path, seal: Seal) -> Result<Self> {
        let unusable = |error: &dyn std::fmt::Display| {
            Error::configuration(format!("the state file {} cannot be used: {error}", path.display()))
        };
        #[cfg(unix)]
        make(path).map_err(|error| unusable(&error))?;
        let open = || -> Result<Connection> {
            let opened = prepare(path).map_err(|error| match mend(&error, path) {
                Some(help) => unusable(&error).with_details(help),
                None => unusable(&error),
            })?;
            let connection = opened.ok_or_else(|| {
                Error::configuration(format!("the state file {} was written by a later version", path.display()))
                    .with_details("Nothing in it was changed. Run that version again, or name another state folder")
            })?;
            match connection.is_readonly("main") {
                Ok(false) => Ok(connection),
                Ok(true) => Err(unusable(&"it may not be written").with_details(let_write(path))),
                Err(error) => Err(unusable(&error)),
            }
        };
        let seal = Arc::new(seal);
        let writer = Writer::start(open()?, seal.clone())?;
        Ok(Self(Arc::new(Inner { reader: Mutex::new(open()?), writer, seal, swept: Mutex::default() })))
    }

    fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection, &Seal) -> Result<T> + Send + 'static,
    ) -> BoxFuture<'static, Result<T>> {
        let inner = self.0.clone();
        Box::pin(async move {
            tokio::task::spawn_blocking(move || {
                let mut connection = inner.reader.lock().unwrap_or_else(PoisonError::into_inner);
                work(&mut connection, &inner.seal)
            })
            .await
            .map_err(|_| writer::gone())?
        })
    }

    /// In one transaction with whatever else is written at that time; durable when it ends.
    fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection, &Seal) -> Result<T> + Send + 'static,
    ) -> BoxFuture<'static, Result<T>> {
        let inner = self.0.clone();
        Box::pin(async move {
            let (tell, told) = oneshot::channel();
            inner.writer.add(work, move |done| drop(tell.send(done)))?;
            told.await.map_err(|_| writer::gone())?
        })
    }
}

/// Makes the file as its owner's alone, before anything is in it; SQLite gives those beside it the same mode. Made beside
/// and linked: to close a file that SQLite has open in this process would end its locks.
#[cfg(unix)]
fn make(path: &Path) -> std::io::Result<()> {
    use std::io::ErrorKind::AlreadyExists;

    use cap_std::fs::{Dir, OpenOptions, OpenOptionsExt as _, Permissions, PermissionsExt as _};

    let (Some(folder), Some(name)) = (path.parent(), path.file_name().and_then(|name| name.to_str())) else {
        return Ok(());
    };
    let dir = Dir::open_ambient_dir(folder, cap_std::ambient_authority())?;
    if let Ok(found) = dir.metadata(name) {
        // One of an earlier version, which others can read.
        return match found.permissions().mode() & 0o077 {
            0 => Ok(()),
            _ => dir.set_permissions(name, Permissions::from_mode(0o600)),
        };
    }
    let beside = format!("{name}.{}", crate::random::name().map_err(std::io::Error::other)?);
    drop(dir.open_with(&beside, OpenOptions::new().write(true).create_new(true).mode(0o600))?);
    let linked = dir.hard_link(&beside, &dir, name);
    dir.remove_file(&beside)?;
    linked.or_else(|error| if error.kind() == AlreadyExists { Ok(()) } else { Err(error) })
}

/// The layout that this version reads and writes; its number stands in the file as `user_version`. A version that finds
/// a greater one refuses the file, so the number grows only with a change that earlier versions cannot go on with; what
/// is added to `schema.sql` needs no other number. A change takes away nothing that the version before reads, and gives
/// nothing another meaning: its processes may have the file open, and an operator may go back to it.
const LAYOUT: i64 = 1;

/// All tables, where they are not there yet.
const SCHEMA: &str = include_str!("sqlite/schema.sql");

/// Counts what was emitted before each connection's was counted by itself. The count of all together, `emitted_bytes`,
/// stays with its triggers: the version before reads it.
const COUNTED: &str = "
    DELETE FROM emitted_bytes_of;
    INSERT INTO emitted_bytes_of
        SELECT connection, SUM(bytes) FROM emitted WHERE sealed IS NOT NULL GROUP BY connection;";

/// The number of the file's layout; 0 where none was written down.
fn layout(connection: &Connection) -> rusqlite::Result<i64> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}

/// Opens the file and makes what is missing in it; nothing where a later version has changed its layout.
fn prepare(path: &Path) -> rusqlite::Result<Option<Connection>> {
    let mut connection = Connection::open(path)?;
    connection.busy_timeout(BUSY)?;
    let found = layout(&connection)?;
    if found > LAYOUT {
        return Ok(None);
    }
    // All there are, so that each is prepared once.
    connection.set_prepared_statement_cache_capacity(64);
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    if found < LAYOUT {
        let change = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        // Another process may have done it meanwhile.
        if layout(&change)? < LAYOUT {
            change.execute_batch(SCHEMA)?;
            change.execute_batch(COUNTED)?;
            change.pragma_update(None, "user_version", LAYOUT)?;
        }
        change.commit()?;
    }
    connection.execute_batch(SCHEMA)?;
    Ok(Some(connection))
}

/// What mends a file that could not be made ready.
fn mend(error: &rusqlite::Error, path: &Path) -> Option<String> {
    match error.sqlite_error_code()? {
        // What lies beside the file and grows with it fails first.
        ErrorCode::SystemIoFailure | ErrorCode::DiskFull => Some("The disk may be full: make room on it".to_owned()),
        // Something was missing in it, as in one of an earlier version.
        ErrorCode::ReadOnly => Some(let_write(path)),
        _ => None,
    }
}

fn let_write(path: &Path) -> String {
    format!("Let its owner write it:   chmod 600 {}*", path.display())
}

fn failed(error: rusqlite::Error) -> Error {
    Error::internal("the state file could not be read or written").with_details(error.to_string())
}

/// Writes, and says whether that changed a row.
fn changed(write: &Connection, text: &str, values: &[&dyn rusqlite::ToSql]) -> Result<bool> {
    write.prepare_cached(text).and_then(|mut query| query.execute(values)).map(|rows| rows > 0).map_err(failed)
}

fn unsigned(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    Ok(row.get::<_, i64>(column)?.unsigned_abs())
}

fn time(row: &Row<'_>, column: usize) -> rusqlite::Result<Timestamp> {
    unsigned(row, column).map(Timestamp::from_millis)
}

impl Store for SqliteStore {
    fn get<'a>(&'a self, connection: &'a str, key: &'a str) -> BoxFuture<'a, Result<Option<Vec<u8>>>> {
        let (name, key) = (connection.to_owned(), key.to_owned());
        self.read(move |connection, seal| {
            let sealed: Option<Vec<u8>> = connection
                .prepare_cached("SELECT sealed FROM state WHERE connection = ?1 AND key = ?2")
                .and_then(|mut query| query.query_row(params![name, key], |row| row.get(0)).optional())
                .map_err(failed)?;
            sealed
                .map(|sealed| {
                    seal.open(&["state", &name, &key], &sealed)
                        .ok_or_else(|| Error::internal(format!("the state value `{key}` was changed from outside")))
                })
                .transpose()
        })
    }

    fn set<'a>(
        &'a self,
        connection: &'a str,
        key: &'a str,
        value: Vec<u8>,
        bytes_max: u64,
        keys_max: u64,
    ) -> BoxFuture<'a, Result<()>> {
        let (name, key) = (connection.to_owned(), key.to_owned());
        self.write(move |write, seal| {
            let (keys, bytes): (i64, i64) = write
                .query_row(
                    "SELECT count(*), coalesce(sum(bytes), 0) FROM state WHERE connection = ?1 AND key <> ?2",
                    params![name, key],
                    |row| Ok((row.get(0)?, row.get(1)?)),
                )
                .map_err(failed)?;
            let (keys, bytes) = (keys.unsigned_abs(), bytes.unsigned_abs());
            let length = i64::try_from(value.len()).unwrap_or(i64::MAX);
            if keys + 1 > keys_max {
                return Err(over("state_keys", keys_max));
            }
            if bytes.saturating_add(value.len() as u64) > bytes_max {
                return Err(over("state_bytes", bytes_max));
            }
            let sealed = seal.seal(&["state", &name, &key], &value)?;
            changed(
                write,
                "INSERT OR REPLACE INTO state (connection, key, bytes, sealed) VALUES (?1, ?2, ?3, ?4)",
                params![name, key, length, sealed],
            )
            .map(drop)
        })
    }

    fn delete<'a>(&'a self, connection: &'a str, key: &'a str) -> BoxFuture<'a, Result<()>> {
        let (name, key) = (connection.to_owned(), key.to_owned());
        self.write(move |write, _| {
            changed(write, "DELETE FROM state WHERE connection = ?1 AND key = ?2", params![name, key]).map(drop)
        })
    }

    fn keys<'a>(&'a self, connection: &'a str, prefix: &'a str) -> BoxFuture<'a, Result<Vec<String>>> {
        let (name, prefix) = (connection.to_owned(), prefix.to_owned());
        self.read(move |connection, _| {
            let keys: Vec<String> = connection
                .prepare_cached("SELECT key FROM state WHERE connection = ?1 ORDER BY key")
                .and_then(|mut query| query.query_map([name], |row| row.get(0))?.collect())
                .map_err(failed)?;
            Ok(keys.into_iter().filter(|key| key.starts_with(&prefix)).collect())
        })
    }

    fn reserve<'a>(&'a self, bucket: &'a str, wish: Wish) -> BoxFuture<'a, Result<Reserved>> {
        let bucket = bucket.to_owned();
        self.write(move |write, _| reserve(write, &bucket, &wish).map_err(failed))
    }

    fn block<'a>(&'a self, bucket: &'a str, until: Timestamp) -> BoxFuture<'a, Result<()>> {
        let bucket = bucket.to_owned();
        self.write(move |write, _| {
            changed(
                write,
                "INSERT INTO quota_block (bucket, until_ms) VALUES (?1, ?2)
                 ON CONFLICT (bucket) DO UPDATE SET until_ms = max(until_ms, excluded.until_ms)",
                params![bucket, signed(until)],
            )
            .map(drop)
        })
    }

    fn open_cache<'a>(&'a self, lineage: &'a str, namespace: &'a str) -> BoxFuture<'a, Result<Vec<String>>> {
        let (lineage, namespace) = (lineage.to_owned(), namespace.to_owned());
        self.write(move |write, _| {
            changed(write, "DELETE FROM answer WHERE lineage = ?1 AND namespace <> ?2", params![lineage, namespace])?;
            write
                .prepare_cached("SELECT key FROM answer WHERE namespace = ?1 ORDER BY key")
                .and_then(|mut query| query.query_map([namespace], |row| row.get(0))?.collect())
                .map_err(failed)
        })
    }

    fn keep<'a>(
        &'a self,
        lineage: &'a str,
        namespace: &'a str,
        key: &'a str,
        answer: Vec<u8>,
        at: Timestamp,
        bytes_max: u64,
    ) -> BoxFuture<'a, Result<()>> {
        let (lineage, namespace, key) = (lineage.to_owned(), namespace.to_owned(), key.to_owned());
        self.write(move |write, seal| {
            let bytes = i64::try_from(answer.len()).unwrap_or(i64::MAX);
            let sealed = seal.seal(&["answer", &namespace, &key], &answer)?;
            changed(
                write,
                "INSERT OR REPLACE INTO answer (namespace, key, lineage, at_ms, bytes, sealed)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                params![namespace, key, lineage, signed(at), bytes, sealed],
            )?;
            // From the newest on, what goes over the limit goes.
            changed(
                write,
                "DELETE FROM answer WHERE (namespace, key) IN (
                     SELECT namespace, key FROM (
                         SELECT namespace, key,
                             sum(bytes) OVER (ORDER BY at_ms DESC, key ROWS UNBOUNDED PRECEDING) AS total
                         FROM answer WHERE lineage = ?1
                     ) WHERE total > ?2
                 )",
                params![lineage, number(bytes_max)],
            )
            .map(drop)
        })
    }

    fn recall<'a>(&'a self, namespace: &'a str, key: &'a str) -> BoxFuture<'a, Result<Option<Vec<u8>>>> {
        let (namespace, key) = (namespace.to_owned(), key.to_owned());
        self.read(move |connection, seal| {
            let sealed: Option<Vec<u8>> = connection
                .prepare_cached("SELECT sealed FROM answer WHERE namespace = ?1 AND key = ?2")
                .and_then(|mut query| query.query_row(params![namespace, key], |row| row.get(0)).optional())
                .map_err(failed)?;
            Ok(sealed.and_then(|sealed| seal.open(&["answer", &namespace, &key], &sealed)))
        })
    }

    fn forget<'a>(&'a self, namespace: &'a str, key: &'a str) -> BoxFuture<'a, Result<()>> {
        let (namespace, key) = (namespace.to_owned(), key.to_owned());
        self.write(move |write, _| {
            changed(write, "DELETE FROM answer WHERE namespace = ?1 AND key = ?2", params![namespace, key]).map(drop)
        })
    }

    fn record<'a>(&'a self, owner: &'a str, name: &'a str) -> BoxFuture<'a, Result<Option<Record>>> {
        let (owner, name) = (owner.to_owned(), name.to_owned());
        self.read(move |connection, _| {
            connection
                .prepare_cached("SELECT version, at_ms, value FROM record WHERE owner = ?1 AND name = ?2")
                .and_then(|mut query| {
                    query
                        .query_row(params![owner, name], |row| {
                            Ok(Record {
                                version: unsigned(row, 0)?,
                                at: time(row, 1)?,
                                value: Zeroizing::new(row.get::<_, Option<Vec<u8>>>(2)?.unwrap_or_default()),
                            })
                        })
                        .optional()
                })
                .map_err(failed)
        })
    }

    fn put_record<'a>(
        &'a self,
        owner: &'a str,
        name: &'a str,
        expected: u64,
        at: Timestamp,
        value: Zeroizing<Vec<u8>>,
    ) -> BoxFuture<'a, Result<Option<u64>>> {
        let (owner, name) = (owner.to_owned(), name.to_owned());
        self.write(move |write, _| {
            let last = write
                .prepare_cached("SELECT version FROM record WHERE owner = ?1 AND name = ?2")
                .and_then(|mut query| query.query_row(params![owner, name], |row| unsigned(row, 0)).optional())
                .map_err(failed)?
                .unwrap_or(0);
            if !may_write(last, expected) {
                return Ok(None);
            }
            changed(
                write,
                "INSERT OR REPLACE INTO record (owner, name, version, at_ms, value) VALUES (?1, ?2, ?3, ?4, ?5)",
                params![owner, name, number(last + 1), signed(at), value.as_slice()],
            )?;
            Ok(Some(last + 1))
        })
    }

    fn remove_record<'a>(&'a self, owner: &'a str, name: &'a str) -> BoxFuture<'a, Result<bool>> {
        let (owner, name) = (owner.to_owned(), name.to_owned());
        self.write(move |write, _| {
            changed(
                write,
                "UPDATE record SET value = NULL, version = version + 1
                 WHERE owner = ?1 AND name = ?2 AND value IS NOT NULL",
                params![owner, name],
            )
        })
    }

    fn records(&self) -> BoxFuture<'_, Result<Vec<Listed>>> {
        self.read(move |connection, _| {
            connection
                .prepare_cached(
                    "SELECT owner, name, version, at_ms FROM record WHERE value IS NOT NULL ORDER BY owner, name",
                )
                .and_then(|mut query| {
                    let row = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?, unsigned(row, 2)?, time(row, 3)?));
                    query.query_map([], row)?.collect()
                })
                .map_err(failed)
        })
    }

    fn lease<'a>(
        &'a self,
        name: &'a str,
        holder: &'a str,
        now: Timestamp,
        until: Timestamp,
    ) -> BoxFuture<'a, Result<bool>> {
        let (name, holder) = (name.to_owned(), holder.to_owned());
        self.write(move |write, _| {
            // As `rules::ends_at` has it.
            changed(
                write,
                "UPDATE lease SET until_ms = ?2 WHERE name = ?1 AND until_ms > ?3",
                params![name, signed(until), signed(believed(until))],
            )?;
            changed(
                write,
                "INSERT INTO lease (name, holder, until_ms) VALUES (?1, ?2, ?4)
                 ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, until_ms = excluded.until_ms
                 WHERE holder = excluded.holder OR until_ms <= ?3",
                params![name, holder, signed(now), signed(until)],
            )
        })
    }

    fn release<'a>(&'a self, name: &'a str, holder: &'a str) -> BoxFuture<'a, Result<()>> {
        let (name, holder) = (name.to_owned(), holder.to_owned());
        self.write(move |write, _| {
            changed(write, "DELETE FROM lease WHERE name = ?1 AND holder = ?2", params![name, holder]).map(drop)
        })
    }

    fn append_audit(&self, chain: &Chain, texts: &[String], rows_max: u64) -> Result<()> {
        let (tell, told) = std::sync::mpsc::sync_channel(1);
        let (chain, texts) = (chain.clone(), texts.to_vec());
        let work = move |write: &Connection, _: &Seal| append_audit(write, &chain, &texts, rows_max).map_err(failed);
        self.0.writer.add(work, move |done| drop(tell.send(done)))?;
        told.recv().map_err(|_| writer::gone())?
    }

    fn audit(&self, after: u64, limit: u64) -> BoxFuture<'_, Result<(Option<Anchor>, Vec<Link>)>> {
        self.read(move |connection, _| {
            // One view of both, whoever prunes meanwhile.
            let read = connection.transaction().map_err(failed)?;
            let anchor = anchor(&read).map_err(failed)?;
            let rows = read
                .prepare_cached("SELECT number, entry, hash FROM audit WHERE number > ?1 ORDER BY number LIMIT ?2")
                .and_then(|mut query| {
                    query.query_map(params![number(after), number(limit)], link)?.collect::<rusqlite::Result<Vec<_>>>()
                })
                .map_err(failed)?;
            Ok((anchor, rows))
        })
    }
}

fn append_audit(write: &Connection, chain: &Chain, texts: &[String], rows_max: u64) -> rusqlite::Result<()> {
    let anchored = anchor(write)?;
    let last = write
        .prepare_cached("SELECT number, entry, hash FROM audit ORDER BY number DESC LIMIT 1")?
        .query_row([], link)
        .optional()?;
    let begins_at = anchored.as_ref().map_or(0, |anchor| anchor.number);
    let Place { number: mut last, mut hash } = match (last, anchored) {
        (Some(last), _) => Place { number: last.number, hash: last.hash },
        (None, Some(anchor)) => Place { number: anchor.number, hash: anchor.hash },
        (None, None) => Place::default(),
    };
    let mut insert = write.prepare_cached("INSERT INTO audit (number, entry, hash) VALUES (?1, ?2, ?3)")?;
    for text in texts {
        last += 1;
        hash = chain.hash(&hash, last, text).to_vec();
        insert.execute(params![number(last), text, hash])?;
    }
    let gone = last.saturating_sub(rows_max);
    if gone <= begins_at {
        return Ok(());
    }
    let gone_hash: Option<Vec<u8>> = write
        .prepare_cached("SELECT hash FROM audit WHERE number = ?1")?
        .query_row(params![number(gone)], |row| row.get(0))
        .optional()?;
    // Where somebody took that very row away, nothing ages out until the next round finds another.
    if let Some(gone_hash) = gone_hash {
        let anchor = chain.anchor(gone, &gone_hash);
        write
            .prepare_cached("INSERT OR REPLACE INTO audit_anchor (id, number, hash, seal) VALUES (1, ?1, ?2, ?3)")?
            .execute(params![number(gone), anchor.hash, anchor.seal])?;
        write.prepare_cached("DELETE FROM audit WHERE number <= ?1")?.execute(params![number(gone)])?;
    }
    Ok(())
}

fn anchor(read: &Connection) -> rusqlite::Result<Option<Anchor>> {
    read.prepare_cached("SELECT number, hash, seal FROM audit_anchor WHERE id = 1")?
        .query_row([], |row| Ok(Anchor { number: unsigned(row, 0)?, hash: row.get(1)?, seal: row.get(2)? }))
        .optional()
}

fn link(row: &Row<'_>) -> rusqlite::Result<Link> {
    Ok(Link { number: unsigned(row, 0)?, text: row.get(1)?, hash: row.get(2)? })
}

/// SQLite's integers have a sign.
fn number(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn reserve(write: &Connection, bucket: &str, wish: &Wish) -> rusqlite::Result<Reserved> {
    if let Some((row, units, until)) = wish.settle {
        let mut settle =
            write.prepare_cached("UPDATE quota SET until_ms = ?3, units = ?4 WHERE id = ?1 AND bucket = ?2")?;
        settle.execute(params![row, bucket, signed(until), units])?;
    }
    // As `rules::ends_at` has it.
    write.prepare_cached("UPDATE quota SET until_ms = ?2 WHERE bucket = ?1 AND until_ms > ?3")?.execute(params![
        bucket,
        signed(wish.until),
        signed(believed(wish.until))
    ])?;
    let now = signed(wish.now);
    write
        .prepare_cached("DELETE FROM quota WHERE bucket = ?1 AND (until_ms <= ?2 OR units = 0)")?
        .execute(params![bucket, now])?;
    let blocked_until = write
        .prepare_cached("SELECT until_ms FROM quota_block WHERE bucket = ?1 AND until_ms > ?2")?
        .query_row(params![bucket, now], |row| time(row, 0))
        .optional()?;
    if let Some(until) = blocked_until {
        return Ok(Reserved::Full { until });
    }
    let (used, first): (i64, Option<i64>) = write
        .prepare_cached("SELECT coalesce(sum(units), 0), min(until_ms) FROM quota WHERE bucket = ?1")?
        .query_row(params![bucket], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let left = u64::from(wish.limit).saturating_sub(used.unsigned_abs());
    let units = u32::try_from(left).unwrap_or(u32::MAX).min(wish.most);
    if units < wish.least {
        let until = first.map_or(wish.until, |until| Timestamp::from_millis(until.unsigned_abs()));
        return Ok(Reserved::Full { until });
    }
    write.prepare_cached("INSERT INTO quota (bucket, until_ms, units) VALUES (?1, ?2, ?3)")?.execute(params![
        bucket,
        signed(wish.until),
        units
    ])?;
    Ok(Reserved::Units { row: write.last_insert_rowid(), units })
}

fn signed(at: Timestamp) -> i64 {
    number(at.as_millis())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;
    use crate::store::arrival::tests::{ROOM, arrival, at, commit};
    use crate::store::arrival::{Arrivals as _, NAMES_AT_ONCE};

    /// What a version made that counted all that is emitted together.
    const BEFORE: &str = "
        CREATE TABLE emitted (
            number INTEGER PRIMARY KEY AUTOINCREMENT, connection TEXT NOT NULL, name TEXT NOT NULL,
            at_ms INTEGER NOT NULL, known_until_ms INTEGER NOT NULL, bytes INTEGER NOT NULL, sealed BLOB,
            UNIQUE (connection, name)
        ) STRICT;
        CREATE TABLE emitted_bytes (id INTEGER PRIMARY KEY CHECK (id = 1), bytes INTEGER NOT NULL) STRICT;
        INSERT INTO emitted_bytes VALUES (1, 0);
        CREATE TRIGGER emitted_comes AFTER INSERT ON emitted BEGIN
            UPDATE emitted_bytes SET bytes = bytes + new.bytes;
        END;";

    fn open(path: &Path) -> Result<SqliteStore> {
        SqliteStore::open(path, Seal::new(&[7; 32]))
    }

    fn number_in(connection: &Connection, text: &str) -> i64 {
        connection.query_row(text, [], |row| row.get(0)).unwrap()
    }

    #[test]
    fn a_file_of_a_later_version_is_refused_and_stays_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.sqlite");
        drop(open(&path).unwrap());
        let later = Connection::open(&path).unwrap();
        assert_eq!(layout(&later).unwrap(), LAYOUT);
        later.execute_batch("DROP TABLE quota").unwrap();
        later.pragma_update(None, "user_version", LAYOUT + 1).unwrap();
        let refused = open(&path).err().unwrap();
        assert_eq!(*refused.kind(), Kind::Configuration);
        assert!(refused.message().contains("later version") && refused.details().is_some(), "{refused}");
        let made = number_in(&later, "SELECT count(*) FROM sqlite_schema WHERE name = 'quota'");
        assert_eq!((made, layout(&later).unwrap()), (0, LAYOUT + 1));
    }

    /// A copy that was put back may be such.
    #[cfg(unix)]
    #[test]
    fn a_file_that_may_not_be_written_is_refused_with_the_command_that_mends_it() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.sqlite");
        // Of one in which something is still to be made.
        let before = folder.path().join("before.sqlite");
        Connection::open(&before).unwrap().execute_batch(BEFORE).unwrap();
        let error = prepare(Path::new(&format!("file:{}?mode=ro", before.display()))).unwrap_err();
        assert!(mend(&error, &before).unwrap().contains("chmod 600 "), "{error}");
        drop(open(&path).unwrap());
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o400)).unwrap();
        // Root may write whatever there is.
        if rustix::process::geteuid().is_root() {
            return;
        }
        let refused = open(&path).err().unwrap().to_string();
        assert!(refused.contains("it may not be written") && refused.contains("chmod 600 "), "{refused}");
    }

    /// Nobody waits for long, however many names there are.
    #[tokio::test]
    async fn so_many_names_are_forgotten_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.sqlite");
        let store = open(&path).unwrap();
        let names = format!(
            "INSERT INTO emitted (connection, name, at_ms, known_until_ms, bytes, sealed)
             WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {NAMES_AT_ONCE} + 3)
             SELECT 'c', CAST(i AS TEXT), 0, 1000, 0, NULL FROM n"
        );
        Connection::open(&path).unwrap().execute_batch(&names).unwrap();
        let sweep = || Sweep { now: at(100), known_events: Some(1), ..Sweep::default() };
        assert_eq!(store.sweep(sweep()).await.unwrap(), NAMES_AT_ONCE);
        assert_eq!(store.sweep(sweep()).await.unwrap(), 2, "the newest is known");
        assert_eq!(store.sweep(sweep()).await.unwrap(), 0);
    }

    /// It runs until somebody starts it again, and needs its count meanwhile.
    #[test]
    fn the_version_before_goes_on_beside_this_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.sqlite");
        let before = Connection::open(&path).unwrap();
        before.pragma_update(None, "journal_mode", "WAL").unwrap();
        before.execute_batch(BEFORE).unwrap();
        let emit = |name: &str, bytes: i64| {
            let text = "INSERT INTO emitted (connection, name, at_ms, known_until_ms, bytes, sealed)
                        VALUES ('acme', ?1, 1, 2, ?2, x'00')";
            before.execute(text, params![name, bytes]).unwrap();
        };
        emit("one", 5);
        let _store = open(&path).unwrap();
        emit("two", 7);
        assert_eq!(number_in(&before, "SELECT bytes FROM emitted_bytes"), 12);
        assert_eq!(number_in(&before, "SELECT bytes FROM emitted_bytes_of WHERE connection = 'acme'"), 12);
    }

    /// One row that does not open holds up no other. With another key none does, and all of them wait for theirs.
    #[tokio::test]
    async fn what_was_changed_from_outside_holds_up_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.sqlite");
        let open = |key| SqliteStore::open(&path, Seal::new(&[key; 32])).unwrap();
        let store = open(7);
        for key in ["k1", "k2"] {
            store.claim(arrival(key, None, 0), ROOM).await.unwrap();
        }
        store.commit(commit(None, None, &["a", "b"])).await.unwrap();
        let aside = rusqlite::Connection::open(&path).unwrap();
        aside.execute("UPDATE event SET sealed = zeroblob(40) WHERE id = 1", []).unwrap();
        aside.execute("UPDATE emitted SET sealed = zeroblob(40) WHERE number = 1", []).unwrap();
        let taken = store.take("c", "me", at(1), at(5), 10).await.unwrap();
        let waiting: Vec<&[u8]> = taken.iter().map(|stored| stored.arrival.content.as_slice()).collect();
        assert_eq!(waiting, [b"".as_slice(), b"k2".as_slice()]);
        let outbox = store.outbox(0, 10).await.unwrap();
        let leaving: Vec<&[u8]> = outbox.iter().map(|out| out.content.as_slice()).collect();
        assert_eq!(leaving, [b"".as_slice(), b"b".as_slice()]);
        let other = open(8);
        assert!(other.take("c", "you", at(9), at(20), 10).await.is_err());
        assert!(other.outbox(0, 10).await.is_err());
        let again = store.take("c", "me", at(9), at(20), 10).await.unwrap();
        assert_eq!(again[1].attempts, 2, "that was an attempt");
    }
}
