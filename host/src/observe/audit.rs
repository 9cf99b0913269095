//! The audit trail: who used which secret, for which connection, operation and origin, when, and what came of it; and
//! what was handed over once more because somebody asked for it.
//!
//! It holds names and outcomes and never a value, nothing of a path, a query or a body. An entry is queued without
//! waiting and without I/O, and written down by somebody else: after a second or a hundred entries, at
//! [`Plugin::flush`](crate::Plugin::flush), and when the host ends. So a process that is killed loses at most its last
//! second or its last hundred entries. Each row is chained to the one before (`store/chain.rs`), whichever process wrote it.
//!
//! Auditing fails open: where nothing can be written (a full disk), calls go on and entries wait. Of more than
//! [`WAITING_MAX`] the oldest are lost; how many stands in the trail as an entry of its own ([`AuditAction::Lost`]).

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::trace;
use crate::error::{Error, Kind, Result};
use crate::store::{Anchor, Break, Chain, Link, Place, Store};
use crate::time::{Clock, Timestamp, rfc3339};

/// How long an entry waits at most before it is written down.
const FLUSH_MS: u64 = 1_000;

/// So many entries are written down without waiting any longer.
const FLUSH_ENTRIES: usize = 100;

/// Entries that wait to be written down; beyond it the oldest are lost and counted.
const WAITING_MAX: usize = 10_000;

/// Entries of one transaction.
const BATCH_MAX: usize = 1_000;

/// Rows read at once.
const PAGE_ROWS: u64 = 1_000;

/// Rows kept by default; the oldest go first. Some hundred bytes each.
pub(crate) const AUDIT_ROWS: u64 = 1_000_000;

/// Rows kept where they end with the host anyway.
pub(crate) const AUDIT_ROWS_IN_MEMORY: u64 = 10_000;

/// What was done, mostly with a secret or a credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum AuditAction {
    /// A credential left on a request.
    Placed,
    /// A plugin had something signed.
    Sign,
    /// A plugin had a signature checked.
    Verify,
    /// The host asked for a new access token.
    Refresh,
    /// An account was connected.
    Connect,
    /// An account was disconnected.
    Disconnect,
    /// A secret was set.
    Set,
    /// A secret got a new version.
    Rotate,
    /// A secret was removed.
    Remove,
    /// Somebody had an event handed over once more.
    Replay,
    /// Entries before this one were lost, as many as [`AuditEntry::times`] says.
    Lost,
    /// Something that this version does not know.
    #[serde(other)]
    Unknown,
}

impl AuditAction {
    /// Its name in the trail.
    pub fn name(self) -> &'static str {
        match self {
            Self::Placed => "placed",
            Self::Sign => "sign",
            Self::Verify => "verify",
            Self::Refresh => "refresh",
            Self::Connect => "connect",
            Self::Disconnect => "disconnect",
            Self::Set => "set",
            Self::Rotate => "rotate",
            Self::Remove => "remove",
            Self::Replay => "replay",
            Self::Lost => "lost",
            Self::Unknown => "unknown",
        }
    }
}

/// One use of a secret, or a replay. What does not apply is empty.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct AuditEntry {
    /// When.
    #[serde(with = "rfc3339")]
    pub at: Timestamp,
    /// What was done.
    #[serde(alias = "deed")]
    pub action: AuditAction,
    /// The plugin that had it done.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub plugin: String,
    /// The connection it was done for.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub connection: String,
    /// The connection's account.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub account: String,
    /// The operation that was running.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub operation: String,
    /// The credential.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub credential: String,
    /// The names of the secrets.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<String>,
    /// The method of the request.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub method: String,
    /// Scheme, host and port that it went to. Nothing of a path.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub origin: String,
    /// The status of the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// The kind of the error; empty where it went well.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub error: String,
    /// The number of the event that was handed over once more; with a sink, of the first that it is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<u64>,
    /// The sink that it is given to.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub sink: String,
    /// The id of the trace that it is a part of.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub trace: String,
    /// How often in a row, for what is only counted.
    #[serde(default = "once", skip_serializing_if = "is_once")]
    pub times: u64,
}

fn once() -> u64 {
    1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "what serde wants")]
fn is_once(times: &u64) -> bool {
    *times == 1
}

impl AuditEntry {
    /// Something that was done and went well, until something else is said of it.
    pub(crate) fn new(action: AuditAction) -> Self {
        Self {
            at: Timestamp::default(),
            action,
            plugin: String::new(),
            connection: String::new(),
            account: String::new(),
            operation: String::new(),
            credential: String::new(),
            secrets: Vec::new(),
            method: String::new(),
            origin: String::new(),
            status: None,
            error: String::new(),
            event: None,
            sink: String::new(),
            trace: String::new(),
            times: 1,
        }
    }

    /// With what came of it.
    pub(crate) fn came_to(mut self, outcome: std::result::Result<(), &Error>) -> Self {
        if let Err(error) = outcome {
            self.status = error.status();
            self.error = error.kind().name().to_owned();
        }
        self
    }

    /// What an entry that is only counted says, but for when: of what a plugin may do as often as it likes. It must not
    /// push out what others did.
    fn said(&self) -> Option<Said> {
        let is_counted = matches!(self.action, AuditAction::Sign | AuditAction::Verify);
        let of = || (self.connection.clone(), self.operation.clone(), self.action.name());
        is_counted.then(|| (of(), self.secrets.clone(), self.error.clone()))
    }
}

/// Connection, operation and action; the secrets; what came of it.
type Said = ((String, String, &'static str), Vec<String>, String);

/// One row of the trail.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AuditRow {
    /// Its number, from 1 without a gap.
    pub number: u64,
    /// What it says; nothing where this version cannot read it.
    pub entry: Option<AuditEntry>,
    /// The text that the hash is over.
    pub text: String,
    /// The keyed hash over the row before and this one, in hexadecimal digits.
    pub hash: String,
}

/// What following the whole chain found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct AuditCheck {
    /// How many rows fit their chain.
    pub rows: u64,
    /// Rows up to this number have aged out; 0 if none has.
    pub aged_out: u64,
    /// Number and hash of the last row that fits. Note it elsewhere: a chain cannot tell that its end was cut off, unless
    /// somebody knows where it was.
    pub head: Option<(u64, String)>,
    /// Where the chain breaks, and what that means.
    pub broken: Option<(u64, String)>,
    /// How many entries the trail says were lost.
    pub lost: u64,
}

/// The audit trail of a host. Clones are the same trail.
#[derive(Clone)]
pub struct Audit(Arc<Trail>);

debug_shows!(Audit);

/// Ends the writer and writes down what waits, when nobody holds the trail any more.
struct Trail {
    queue: Arc<AuditQueue>,
    clock: Arc<dyn Clock>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

/// What waits, and where it goes.
struct AuditQueue {
    waiting: Mutex<Waiting>,
    /// Held by whoever writes, so that entries keep their order.
    turn: Mutex<()>,
    has_some: Notify,
    has_many: Notify,
    /// Whether it could not be written the last time, which is told once.
    is_failing: AtomicBool,
    store: Arc<dyn Store>,
    chain: Chain,
    rows_max: u64,
}

#[derive(Default)]
struct Waiting {
    entries: VecDeque<AuditEntry>,
    /// Those that are counted, and where each stands.
    counted: Vec<AuditEntry>,
    places: HashMap<Said, usize>,
    /// Lost and not yet told in the trail.
    lost: u64,
}

impl Audit {
    /// A trail in this store, chained with this key.
    pub(crate) fn new(store: Arc<dyn Store>, key: &[u8; 32], rows_max: u64, clock: Arc<dyn Clock>) -> Self {
        let queue = AuditQueue {
            waiting: Mutex::default(),
            turn: Mutex::default(),
            has_some: Notify::new(),
            has_many: Notify::new(),
            is_failing: AtomicBool::new(false),
            store,
            chain: Chain::new(key),
            rows_max: rows_max.max(1),
        };
        Self(Arc::new(Trail { queue: Arc::new(queue), clock, writer: Mutex::default() }))
    }

    /// Queues an entry, as of now. Neither waits nor fails.
    pub(crate) fn tell(&self, mut entry: AuditEntry) {
        let queue = &self.0.queue;
        entry.at = self.0.clock.now();
        let count = {
            let mut waiting = queue.waiting();
            match entry.said() {
                Some(said) => waiting.count(said, entry),
                None => {
                    waiting.entries.push_back(entry);
                    waiting.cap();
                }
            }
            waiting.entries.len()
        };
        self.0.wake_writer();
        queue.has_some.notify_one();
        if count >= FLUSH_ENTRIES {
            queue.has_many.notify_one();
        }
    }

    /// Waits until everything told so far is written down.
    ///
    /// # Errors
    /// When the store cannot be written; the entries wait on.
    pub async fn flush(&self) -> Result<()> {
        let queue = self.0.queue.clone();
        tokio::task::spawn_blocking(move || queue.flush())
            .await
            .map_err(|_| Error::internal("the audit's thread failed"))?
    }

    /// A page of the trail: at most `limit` rows after the row with this number, in order, with what waited written down
    /// first. It does not check them; [`Audit::check`] does.
    ///
    /// # Errors
    /// When the store cannot be read or written.
    pub async fn page(&self, after: u64, limit: u64) -> Result<Vec<AuditRow>> {
        self.flush().await?;
        let (_, rows) = self.0.queue.store.audit(after, limit).await?;
        Ok(rows.into_iter().map(AuditRow::from).collect())
    }

    /// Follows the chain from its beginning to its end.
    ///
    /// # Errors
    /// When the store cannot be read or written. A broken chain is an answer and no error.
    pub async fn check(&self) -> Result<AuditCheck> {
        self.check_each(|_| ()).await
    }

    /// Follows the chain, and hands over each row as it stands there, also after a break.
    ///
    /// # Errors
    /// When the store cannot be read or written.
    pub async fn check_each(&self, mut each: impl FnMut(AuditRow)) -> Result<AuditCheck> {
        self.flush().await?;
        let mut found = AuditCheck::default();
        let mut place = Place::default();
        let mut read = 0;
        loop {
            let (anchor, rows) = self.0.queue.store.audit(read, PAGE_ROWS).await?;
            if let Some(anchor) = &anchor {
                found.aged_out = anchor.number;
            }
            if found.broken.is_none() {
                found.follow(&self.0.queue.chain, &mut place, anchor.as_ref(), &rows);
            }
            let Some(last) = rows.last() else { break };
            read = last.number;
            for row in rows {
                let row = AuditRow::from(row);
                if let Some(entry) = row.entry.as_ref().filter(|entry| entry.action == AuditAction::Lost) {
                    found.lost = found.lost.saturating_add(entry.times);
                }
                each(row);
            }
        }
        if place.number > 0 {
            found.head = Some((place.number, crate::hex::hex(&place.hash)));
        }
        Ok(found)
    }
}

impl AuditCheck {
    fn follow(&mut self, chain: &Chain, place: &mut Place, anchor: Option<&Anchor>, rows: &[Link]) {
        let broken = chain.follow(place, anchor, rows);
        self.rows += rows.iter().filter(|row| row.number <= place.number).count() as u64;
        self.broken = broken.err().map(|broken| match broken {
            Break::Missing { from, found } => {
                let which = if from + 1 == found { format!("row {from} is") } else { format!("rows {from} to {} are", found - 1) };
                (from, format!("{which} missing: somebody took them out from outside"))
            }
            Break::Changed { number } => (
                number,
                format!(
                    "row {number} does not fit the row before it: one of the two was changed from outside, or the trail was \
                     written with another installation's key"
                ),
            ),
            Break::Anchor => {
                (place.number + 1, "the beginning was cut off from outside: the host did not age out these rows".to_owned())
            }
        });
    }
}

impl From<Link> for AuditRow {
    fn from(link: Link) -> Self {
        Self {
            number: link.number,
            entry: serde_json::from_str(&link.text).ok(),
            text: link.text,
            hash: crate::hex::hex(&link.hash),
        }
    }
}

impl Waiting {
    /// Counts an entry that says this.
    fn count(&mut self, said: Said, entry: AuditEntry) {
        if let Some(known) = self.places.get(&said).and_then(|place| self.counted.get_mut(*place)) {
            known.times = known.times.saturating_add(entry.times);
            known.at = known.at.min(entry.at);
        } else if self.counted.len() < WAITING_MAX {
            self.places.insert(said, self.counted.len());
            self.counted.push(entry);
        } else {
            self.lost = self.lost.saturating_add(entry.times);
        }
    }

    fn cap(&mut self) {
        while self.entries.len() > WAITING_MAX {
            let times = self.entries.pop_front().map_or(0, |entry| entry.times);
            self.lost = self.lost.saturating_add(times);
        }
    }
}

impl AuditQueue {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes down what waits. It blocks.
    fn flush(&self) -> Result<()> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let (batch, lost) = {
                let mut waiting = self.waiting();
                let most = waiting.entries.len().min(BATCH_MAX);
                let mut batch: Vec<_> = waiting.entries.drain(..most).collect();
                if waiting.entries.is_empty() && !waiting.counted.is_empty() {
                    waiting.places.clear();
                    waiting.counted.append(&mut batch);
                    batch = std::mem::take(&mut waiting.counted);
                    batch.sort_by_key(|entry| entry.at);
                }
                (batch, std::mem::take(&mut waiting.lost))
            };
            let Some(first) = batch.first() else { return Ok(()) };
            let told =
                (lost > 0).then(|| AuditEntry { at: first.at, times: lost, ..AuditEntry::new(AuditAction::Lost) });
            let texts: Vec<String> =
                told.iter().chain(&batch).filter_map(|entry| serde_json::to_string(entry).ok()).collect();
            if let Err(error) = self.store.append_audit(&self.chain, &texts, self.rows_max) {
                let mut waiting = self.waiting();
                waiting.lost += lost;
                for entry in batch.into_iter().rev() {
                    match entry.said() {
                        Some(said) => waiting.count(said, entry),
                        None => waiting.entries.push_front(entry),
                    }
                }
                waiting.cap();
                if !self.is_failing.swap(true, Ordering::Relaxed) {
                    tracing::warn!(
                        target: "wharfage::audit", waiting = waiting.entries.len(), lost = waiting.lost,
                        "the audit trail cannot be written; calls go on, and entries wait: {error}"
                    );
                }
                return Err(error);
            }
            if self.is_failing.swap(false, Ordering::Relaxed) {
                tracing::info!(target: "wharfage::audit", lost, "the audit trail is written again");
            }
        }
    }
}

impl Trail {
    /// Makes sure that somebody writes. Where there is no runtime, it happens when the host ends.
    fn wake_writer(&self) {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        if writer.as_ref().is_some_and(|writer| !writer.is_finished()) {
            return;
        }
        if let Ok(runtime) = Handle::try_current() {
            *writer = Some(runtime.spawn(write_down(self.queue.clone(), self.clock.clone())));
        }
    }
}

impl Drop for Trail {
    fn drop(&mut self) {
        let writer = self.writer.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(writer) = writer.take() {
            writer.abort();
        }
        // A writer that is at it right now is waited for; told is what failed, also where that was told before.
        self.queue.is_failing.store(false, Ordering::Relaxed);
        _ = self.queue.flush();
    }
}

async fn write_down(queue: Arc<AuditQueue>, clock: Arc<dyn Clock>) {
    loop {
        queue.has_some.notified().await;
        let mut has_failed = false;
        loop {
            tokio::select! {
                () = clock.alarm(clock.now().plus(FLUSH_MS)) => {}
                () = queue.has_many.notified(), if !has_failed => {}
            }
            let at_it = queue.clone();
            match tokio::task::spawn_blocking(move || at_it.flush()).await {
                Ok(Ok(())) => break,
                // It is tried again when the next second is over, however much waits meanwhile.
                Ok(Err(_)) => has_failed = true,
                Err(_) => return,
            }
        }
    }
}

/// What is the same in every entry of one connection.
#[derive(Clone)]
pub(crate) struct AuditContext {
    audit: Option<Audit>,
    plugin: String,
    connection: String,
    account: String,
}

impl AuditContext {
    /// For a connection.
    pub(crate) fn new(audit: Audit, plugin: &str, connection: &str, account: Option<&str>) -> Self {
        Self {
            audit: Some(audit),
            plugin: plugin.to_owned(),
            connection: connection.to_owned(),
            account: account.unwrap_or_default().to_owned(),
        }
    }

    /// For what has no secrets.
    pub(crate) fn closed() -> Self {
        Self { audit: None, plugin: String::new(), connection: String::new(), account: String::new() }
    }

    /// Whether nothing is told.
    pub(crate) fn is_closed(&self) -> bool {
        self.audit.is_none()
    }

    /// An entry of this connection.
    pub(crate) fn entry(&self, action: AuditAction, operation: Option<&str>) -> AuditEntry {
        AuditEntry {
            plugin: self.plugin.clone(),
            connection: self.connection.clone(),
            account: self.account.clone(),
            operation: operation.unwrap_or_default().to_owned(),
            trace: trace::current_id(),
            ..AuditEntry::new(action)
        }
    }

    /// Queues an entry.
    pub(crate) fn tell(&self, entry: AuditEntry) {
        if let Some(audit) = &self.audit {
            audit.tell(entry);
        }
    }

    /// Waits until everything is written down, as far as it can be.
    pub(crate) async fn flush(&self) {
        if let Some(audit) = &self.audit {
            _ = audit.flush().await;
        }
    }

    /// A use that has begun: it is told however it ends.
    pub(crate) fn begin(&self, entry: AuditEntry) -> UnderWay<'_> {
        UnderWay { audit_context: self, entry: Some(entry) }
    }
}

/// A use of a credential under way. Dropped without an outcome, it was cancelled, and is told as that.
pub(crate) struct UnderWay<'a> {
    audit_context: &'a AuditContext,
    entry: Option<AuditEntry>,
}

impl UnderWay<'_> {
    /// It ended, with this status or this error.
    pub(crate) fn ended(mut self, status: Option<u16>, error: Option<&Kind>) {
        if let Some(entry) = self.entry.take() {
            let error = error.map_or("", Kind::name).to_owned();
            self.audit_context.tell(AuditEntry { status, error, ..entry });
        }
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        if let Some(entry) = self.entry.take() {
            self.audit_context.tell(AuditEntry { error: Kind::Cancelled.name().to_owned(), ..entry });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::MemoryStore;
    use crate::time::ManualClock;

    const NOW: Timestamp = Timestamp::from_millis(1_795_337_377_000);

    fn clock() -> ManualClock {
        ManualClock::new(NOW, 1)
    }

    fn audit(store: &Arc<dyn Store>, clock: &ManualClock) -> Audit {
        Audit::new(store.clone(), &[5; 32], 100_000, Arc::new(clock.clone()))
    }

    fn memory() -> Arc<dyn Store> {
        Arc::new(MemoryStore::default())
    }

    fn placed(name: &str) -> AuditEntry {
        AuditEntry { credential: name.to_owned(), ..AuditEntry::new(AuditAction::Placed) }
    }

    async fn rows(store: &Arc<dyn Store>) -> Vec<AuditRow> {
        store.audit(0, u64::MAX).await.unwrap().1.into_iter().map(AuditRow::from).collect()
    }

    /// Lets the writer do what it can do now.
    async fn until(store: &Arc<dyn Store>, count: usize) {
        while rows(store).await.len() < count {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn it_is_written_after_a_second_or_a_hundred() {
        let (store, clock) = (memory(), clock());
        let audit = audit(&store, &clock);
        audit.tell(placed("a"));
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        assert_eq!(rows(&store).await.len(), 0, "written one by one");
        clock.advance(FLUSH_MS - 1);
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        assert_eq!(rows(&store).await.len(), 0);
        clock.advance(1);
        until(&store, 1).await;
        (0..FLUSH_ENTRIES).for_each(|_| audit.tell(placed("b")));
        until(&store, 1 + FLUSH_ENTRIES).await;
    }

    #[tokio::test]
    async fn settling_and_the_end_write_what_waits() {
        let store = memory();
        let first = audit(&store, &clock());
        first.tell(placed("a"));
        first.flush().await.unwrap();
        assert_eq!(rows(&store).await.len(), 1);
        first.tell(placed("b"));
        drop(first.clone());
        assert_eq!(rows(&store).await.len(), 1, "somebody still holds it");
        drop(first);
        let rows = rows(&store).await;
        assert_eq!(rows.len(), 2);
        assert_eq!(rows[1].entry.as_ref().unwrap(), &AuditEntry { at: NOW, ..placed("b") });
    }

    #[test]
    fn without_a_runtime_the_end_writes() {
        let store = memory();
        let audit = audit(&store, &clock());
        audit.tell(placed("a"));
        drop(audit);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        assert_eq!(runtime.block_on(rows(&store)).len(), 1);
    }

    #[tokio::test]
    async fn what_a_plugin_repeats_is_counted() {
        let (store, clock) = (memory(), clock());
        let audit = audit(&store, &clock);
        let sign = |name: &str| AuditEntry { secrets: vec![name.to_owned()], ..AuditEntry::new(AuditAction::Sign) };
        for _ in 0..500 {
            audit.tell(sign("a"));
            audit.tell(sign("b"));
        }
        audit.tell(placed("c"));
        audit.tell(placed("c"));
        audit.flush().await.unwrap();
        let rows = rows(&store).await;
        let times: Vec<u64> = rows.iter().map(|row| row.entry.as_ref().unwrap().times).collect();
        assert_eq!(times, [500, 500, 1, 1], "each request is an entry of its own");
    }

    #[tokio::test]
    async fn a_use_that_is_given_up_is_told_too() {
        let (store, clock) = (memory(), clock());
        let audit_context = AuditContext::new(audit(&store, &clock), "p", "acme", Some("a"));
        drop(audit_context.begin(audit_context.entry(AuditAction::Placed, Some("orders.list"))));
        audit_context.begin(audit_context.entry(AuditAction::Placed, None)).ended(Some(200), None);
        audit_context.flush().await;
        let rows = rows(&store).await;
        assert!(rows[0].text.contains(r#""operation":"orders.list","error":"cancelled""#), "{}", rows[0].text);
        assert!(rows[1].text.ends_with(r#""connection":"acme","account":"a","status":200}"#), "{}", rows[1].text);
    }

    #[tokio::test]
    async fn a_full_disk_stops_no_call_and_what_is_lost_is_told() {
        let full = Arc::new(MemoryStore::default());
        full.is_full.store(true, Ordering::SeqCst);
        let store: Arc<dyn Store> = full.clone();
        let audit = audit(&store, &clock());
        for number in 0..WAITING_MAX + 7 {
            audit.tell(placed(&number.to_string()));
        }
        assert!(audit.flush().await.is_err());
        audit.tell(placed("last"));
        full.is_full.store(false, Ordering::SeqCst);
        let found = audit.check().await.unwrap();
        // Whether the last one found room depends on what the writer held just then; nothing is lost untold.
        assert!(found.broken.is_none() && matches!(found.lost, 7 | 8), "{found:?}");
        assert_eq!(found.lost + found.rows - 1, WAITING_MAX as u64 + 8);
        let rows = rows(&store).await;
        let first = rows[0].entry.as_ref().unwrap();
        assert_eq!((first.action, first.times), (AuditAction::Lost, found.lost));
        assert_eq!(rows[1].entry.as_ref().unwrap().credential, found.lost.to_string(), "the oldest were lost");
        assert_eq!(rows.last().unwrap().entry.as_ref().unwrap().credential, "last");
    }

    #[tokio::test]
    async fn what_could_not_be_written_is_tried_again_after_a_second() {
        let full = Arc::new(MemoryStore::default());
        full.is_full.store(true, Ordering::SeqCst);
        let store: Arc<dyn Store> = full.clone();
        let clock = clock();
        let audit = audit(&store, &clock);
        (0..FLUSH_ENTRIES).for_each(|_| audit.tell(placed("a")));
        let is_failing = || audit.0.queue.is_failing.load(Ordering::Relaxed);
        while !is_failing() {
            tokio::task::yield_now().await;
        }
        full.is_full.store(false, Ordering::SeqCst);
        for _ in 0..100 {
            audit.tell(placed("b"));
            tokio::task::spawn_blocking(|| ()).await.unwrap();
        }
        assert_eq!(rows(&store).await.len(), 0, "each entry tried it again");
        while rows(&store).await.len() < FLUSH_ENTRIES + 100 {
            clock.advance(FLUSH_MS);
            tokio::task::yield_now().await;
        }
        assert!(!is_failing());
    }

    #[test]
    fn what_was_counted_is_lost_as_often_as_it_was() {
        let mut waiting = Waiting::default();
        for number in 0..=WAITING_MAX {
            let secrets = vec![number.to_string()];
            let entry = AuditEntry { secrets, times: 3, ..AuditEntry::new(AuditAction::Sign) };
            waiting.count(entry.said().unwrap(), entry);
        }
        assert_eq!(waiting.lost, 3);
        waiting.entries.extend((0..=WAITING_MAX).map(|_| AuditEntry { times: 2, ..placed("a") }));
        waiting.cap();
        assert_eq!(waiting.lost, 5);
    }

    #[tokio::test]
    async fn what_a_later_version_writes_is_read_as_far_as_it_is_known() {
        let store = memory();
        let texts = [
            r#"{"at":"2026-11-24T15:00:00Z","action":"teleported","connection":"acme","new":1}"#.to_owned(),
            "no JSON".to_owned(),
        ];
        store.append_audit(&Chain::new(&[5; 32]), &texts, 10).unwrap();
        let audit = audit(&store, &clock());
        let rows = audit.page(0, 10).await.unwrap();
        assert_eq!(rows[0].entry.as_ref().map(|entry| entry.action), Some(AuditAction::Unknown));
        assert_eq!((&rows[1].entry, rows[1].text.as_str()), (&None, "no JSON"));
        let found = audit.check().await.unwrap();
        assert_eq!((found.rows, found.head), (2, Some((2, rows[1].hash.clone()))));
    }
}
