//! Scoped -> Missed: a fresh kept answer ends here, and the last good one waits for trouble.
//!
//! What may be kept and for how long is RFC 9111's, for a cache of one user; what the plugin says of a request (that its
//! answer never changes, or holds for so long) comes before it, and `no-store` before everything. A kept answer that is no
//! longer fresh is asked about with its validators. When the path ends in trouble that may pass, the last good answer
//! serves, marked with its source and age; never where the provider has refused.
//!
//! The key of an answer is account, connection, plugin digest, grant, version of the credential, method and URL (R4), as
//! a keyed hash: who gets another key, another grant or another component meets nothing that was kept before, and no name
//! or URL lies anywhere in the clear. Answers are kept as the plugin gets them, masked. The hot ones are in memory; with a
//! state folder all are written, off the path of the call and sealed, and what does not open any more is merely gone.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use aws_lc_rs::hmac;
use futures_util::future::join_all;
use http::header::{AGE, CACHE_CONTROL, EXPIRES, PRAGMA};
use http_cache_semantics::{BeforeRequest, CacheOptions, CachePolicy as Rules};
use serde::{Deserialize, Serialize};
use tokio::sync::{OwnedMutexGuard, mpsc, oneshot};
use url::Url;

use super::ready;
use super::scope::Scoped;
use super::{CallContext, CredentialChoice, Method, Outbound, Repeat, Response, Source, Step};
use crate::connection::Limits;
use crate::error::{Error, Kind, RequestSent};
use crate::manifest::Purpose;
use crate::store::Store;
use crate::time::Timestamp;

/// `[connections.<name>.cache]`: what of the provider's answers is kept, and when it serves. The times are the guide's.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct CachePolicy {
    /// Whether anything is kept.
    pub enabled: bool,
    /// Whether the last good answer serves while the provider is in trouble.
    pub fall_back: bool,
    /// Milliseconds from which on an answer that serves in trouble is called stale.
    pub stale_from_ms: u64,
    /// Milliseconds up to which it serves.
    pub kept_ms: u64,
    /// Whether an older one serves all the same, for as long as there is room for it.
    pub beyond: bool,
}

impl Default for CachePolicy {
    fn default() -> Self {
        Self { enabled: true, fall_back: true, stale_from_ms: 300_000, kept_ms: 3_600_000, beyond: false }
    }
}

/// What the plugin says of how long an answer holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Keep {
    /// As the provider's headers say.
    #[default]
    AsAnswered,
    /// For so many seconds.
    Seconds(u32),
    /// For ever.
    Immutable,
    /// Not at all.
    Never,
}

/// A request no kept answer serves.
pub(super) struct Missed(Scoped);

impl Missed {
    /// What is asked.
    pub(super) fn scoped(&self) -> &Scoped {
        &self.0
    }

    pub(super) fn into_scoped(self) -> Scoped {
        self.0
    }
}

/// What looking gave.
pub(super) enum Looked {
    /// An answer that is still fresh.
    Fresh(Box<Response>),
    /// None.
    Missed(Missed),
}

/// For what is read or written piece by piece, of which nothing is kept.
pub(super) fn pass_by(scoped: Scoped) -> Missed {
    Missed(scoped)
}

/// The kept answers of one connection.
pub(crate) struct Cache {
    policy: CachePolicy,
    key: hmac::Key,
    /// A hash of everything a key is made of that does not differ from request to request.
    place: String,
    /// Where the answers to each credential are, as it was used last.
    shelves: Mutex<Vec<Shelf>>,
    bytes_max: u64,
    entry_bytes_max: u64,
    hot: Mutex<Hot>,
    /// Where answers are written, if anywhere.
    disk: Option<Arc<dyn Store>>,
    /// What is to be written, in order; made when there is something.
    desk: Mutex<Option<mpsc::UnboundedSender<Job>>>,
    /// How many answers wait to be written.
    waiting: Arc<AtomicUsize>,
    /// How many writes succeeded or may have: an answer that was asked for before one is not kept after it.
    writes: AtomicU64,
}

/// Something for the disk. One after another, so that what is forgotten stays so.
enum Job {
    Keep { lineage: Arc<str>, namespace: Arc<str>, key: Arc<str>, kept: Arc<Kept>, bytes_max: u64 },
    Forget { namespace: Arc<str>, key: Arc<str> },
    ForgetAll { lineage: Arc<str> },
    Tell(oneshot::Sender<()>),
}

#[derive(Default)]
struct Hot {
    entries: HashMap<Arc<str>, (Arc<Kept>, u64)>,
    /// By when it was last used.
    order: BTreeMap<u64, Arc<str>>,
    clock: u64,
    bytes: u64,
    /// The keys that are on the disk, by namespace.
    on_disk: HashMap<Arc<str>, OnDisk>,
    /// The namespaces that answers were looked for in, one for each credential, with their lineages.
    namespaces: HashMap<Arc<str>, Arc<str>>,
    /// Who asks for something that will be kept; others wait for it.
    flights: HashMap<Arc<str>, Arc<Flight>>,
}

/// The keys of a namespace that are on the disk, as far as is known.
#[derive(Default)]
struct OnDisk {
    keys: HashSet<Arc<str>>,
    /// Those that were forgotten before any were read.
    forgotten: HashSet<Arc<str>>,
    /// How many may be noted before they are read again, for the disk lets old answers go; nothing before they were read.
    most: Option<usize>,
    /// How often the list began anew.
    round: u64,
}

/// What is to be forgotten on the disk.
#[derive(Debug, PartialEq, Eq)]
enum Forgets {
    Nothing,
    One,
    All,
}

/// Where the answers to one version of a credential are.
#[derive(Clone)]
struct Shelf {
    credential: Option<String>,
    /// What says which version it is: of secrets a hash, of tokens the connecting that they are of.
    versions: Vec<Arc<str>>,
    lineage: Arc<str>,
    namespace: Arc<str>,
}

/// One that asks, and those that wait for its answer.
#[derive(Default)]
struct Flight {
    turn: Arc<tokio::sync::Mutex<()>>,
    /// Its answer serves nobody else, so nobody waits any more: in trouble, or where a provider has changed its mind, the
    /// others would stand in line behind one failure after the other.
    is_in_vain: AtomicBool,
}

/// How far a kept answer may be from the future: clocks of two processes differ a little.
const AHEAD_MS: u64 = 5_000;

/// Answers that wait to be written; beyond, one is kept in memory only.
const WAITING_MAX: usize = 64;

/// Keys of the disk that are noted in any case before they are read again.
const NOTED_MIN: usize = 1_024;

/// Keys that are forgotten one by one before any were read; beyond, all are forgotten at once.
const FORGOTTEN_MAX: usize = 1_024;

/// Fields of an answer that are read for the places that it names.
const PLACES_MAX: usize = 4;

/// A kept answer.
#[derive(Debug, Deserialize, Serialize)]
struct Kept {
    /// What the request said, where the answer has a `Vary` that may ask for it.
    asked: Vec<(String, String)>,
    status: u16,
    headers: Vec<(String, String)>,
    url: String,
    at_ms: u64,
    request_id: Option<String>,
    /// Whether it was asked for as what never changes.
    #[serde(default)]
    is_immutable: bool,
    #[serde(skip)]
    body: Arc<Vec<u8>>,
    /// RFC 9111's view of it, made when somebody asks.
    #[serde(skip)]
    rules: OnceLock<Option<Box<Rules>>>,
}

/// What is known of a request that concerns the cache.
pub(super) struct Ticket {
    lineage: Arc<str>,
    namespace: Arc<str>,
    key: Arc<str>,
    method: Method,
    url: Url,
    headers: Vec<(String, String)>,
    /// The same as the rules read it, made when somebody asks.
    asked: OnceLock<Option<Box<http::Request<()>>>>,
    keep: Keep,
    /// The count of writes when it was asked for.
    writes: u64,
    /// What was asked about with its validators.
    asked_about: Option<Arc<Kept>>,
    lead: Option<(Arc<Flight>, OwnedMutexGuard<()>)>,
}

impl Ticket {
    /// What is asked, as the rules read it.
    fn request(&self) -> Option<&http::Request<()>> {
        let read = || {
            let mut request = http::Request::new(());
            *request.method_mut() = match self.method {
                Method::Head => http::Method::HEAD,
                _ => http::Method::GET,
            };
            *request.uri_mut() = self.url.as_str().parse().ok()?;
            *request.headers_mut() = fields(&self.headers);
            Some(Box::new(request))
        };
        self.asked.get_or_init(read).as_deref()
    }

    /// Lets those that wait for this answer go: it will serve none of them.
    pub(super) fn in_vain(&self) {
        if let Some((flight, _)) = &self.lead {
            flight.is_in_vain.store(true, Ordering::Release);
        }
    }
}

/// An answer that was kept, and what it took the place of.
#[derive(Clone, Debug)]
pub(crate) struct Mark {
    lineage: Arc<str>,
    namespace: Arc<str>,
    key: Arc<str>,
    kept: Arc<Kept>,
    before: Option<Arc<Kept>>,
}

impl Mark {
    /// Bytes of what it remembers.
    pub(crate) fn weight(&self) -> u64 {
        self.before.as_ref().map_or(0, |before| before.weight())
    }

    /// The same, without what was there before.
    pub(crate) fn without_before(self) -> Self {
        Self { before: None, ..self }
    }
}

impl Cache {
    /// An empty one. `place` is everything that a key is made of but the request and its credential: account, connection,
    /// digest, grant.
    pub(crate) fn new(
        policy: CachePolicy,
        key: &[u8; 32],
        place: &[String],
        limits: &Limits,
        disk: Option<Arc<dyn Store>>,
    ) -> Self {
        let key = hmac::Key::new(hmac::HMAC_SHA256, key);
        let place: Vec<&str> = std::iter::once("place").chain(place.iter().map(String::as_str)).collect();
        Self {
            policy,
            place: hashed(&key, &place),
            shelves: Mutex::default(),
            key,
            bytes_max: limits.cache_bytes,
            entry_bytes_max: limits.cache_entry_bytes,
            hot: Mutex::default(),
            disk,
            desk: Mutex::default(),
            waiting: Arc::default(),
            writes: AtomicU64::new(0),
        }
    }

    /// Waits until everything is written that was to be.
    pub(crate) async fn settle(&self) {
        let desk = self.desk.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let (told, is_done) = oneshot::channel();
        if desk.is_some_and(|desk| desk.send(Job::Tell(told)).is_ok()) {
            _ = is_done.await;
        }
    }

    /// Hands something to whoever writes.
    fn write(&self, disk: &Arc<dyn Store>, job: Job) {
        _ = self.desk(disk).send(job);
    }

    /// Where whoever writes takes what is to be written; they begin with the first and end with the cache.
    fn desk(&self, disk: &Arc<dyn Store>) -> mpsc::UnboundedSender<Job> {
        let mut desk = self.desk.lock().unwrap_or_else(PoisonError::into_inner);
        let desk = desk.get_or_insert_with(|| {
            let (desk, jobs) = mpsc::unbounded_channel();
            tokio::spawn(work_off(disk.clone(), jobs, self.waiting.clone()));
            desk
        });
        desk.clone()
    }

    fn hot(&self) -> MutexGuard<'_, Hot> {
        self.hot.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A keyed hash of these parts; no two lists of parts read alike.
    fn hashed(&self, parts: &[&str]) -> String {
        hashed(&self.key, parts)
    }

    /// The answer under a key: from memory, else from the disk if it is there.
    async fn find(&self, ticket: &Ticket) -> Option<Arc<Kept>> {
        {
            let mut hot = self.hot();
            if !hot.namespaces.contains_key(&ticket.namespace) {
                hot.namespaces.insert(ticket.namespace.clone(), ticket.lineage.clone());
            }
            if let Some(kept) = hot.touch(&ticket.key) {
                return Some(kept);
            }
        }
        let disk = self.disk.as_ref()?;
        let writes = self.writes.load(Ordering::SeqCst);
        let round = self.hot().on_disk.entry(ticket.namespace.clone()).or_default().wanted_round();
        if let Some(round) = round {
            // What is still to be forgotten must not be found there.
            self.settle().await;
            // What was kept under another credential, grant or component of this connection goes now.
            let keys = disk.open_cache(&ticket.lineage, &ticket.namespace).await.unwrap_or_default();
            self.hot().on_disk.entry(ticket.namespace.clone()).or_default().read(round, keys);
        }
        if !self.hot().on_disk.get(&ticket.namespace)?.keys.contains(&ticket.key) {
            return None;
        }
        let kept =
            disk.recall(&ticket.namespace, &ticket.key).await.ok().flatten().and_then(|bytes| Kept::read(&bytes));
        match kept {
            Some(kept) => {
                let kept = Arc::new(kept);
                let mut hot = self.hot();
                // A write meanwhile may have made it wrong.
                let is_right = self.writes.load(Ordering::SeqCst) == writes;
                is_right.then(|| {
                    hot.put(&ticket.key, kept.clone(), self.bytes_max);
                    kept
                })
            }
            None => {
                self.hot().on_disk.entry(ticket.namespace.clone()).or_default().keys.remove(&ticket.key);
                None
            }
        }
    }

    /// Keeps an answer, in memory now and on the disk soon.
    fn put(&self, ticket: &Ticket, kept: Kept) -> Mark {
        let kept = Arc::new(kept);
        let Ticket { lineage, namespace, key, .. } = ticket;
        let mut hot = self.hot();
        let before = hot.entries.get(key).map(|(before, _)| before.clone());
        hot.put(key, kept.clone(), self.bytes_max);
        self.put_on_disk(&mut hot, lineage, namespace, key, &kept);
        Mark { lineage: lineage.clone(), namespace: namespace.clone(), key: key.clone(), kept, before }
    }

    fn put_on_disk(&self, hot: &mut Hot, lineage: &Arc<str>, namespace: &Arc<str>, key: &Arc<str>, kept: &Arc<Kept>) {
        let Some(disk) = &self.disk else { return };
        if self.waiting.fetch_add(1, Ordering::SeqCst) >= WAITING_MAX {
            self.waiting.fetch_sub(1, Ordering::SeqCst);
            // What is there may be an older one. It is forgotten once, so that these do not pile up either.
            self.forget_on_disk(hot, lineage, namespace, key);
            return;
        }
        let (lineage, namespace, key) = (lineage.clone(), namespace.clone(), key.clone());
        hot.on_disk.entry(namespace.clone()).or_default().keys.insert(key.clone());
        let bytes_max = self.bytes_max;
        self.write(disk, Job::Keep { lineage, namespace, key, kept: kept.clone(), bytes_max });
    }

    /// Puts back what these answers took the place of, the last one first: the plugin found them to be no good ones.
    pub(crate) fn take_back(&self, marks: Vec<Mark>) {
        for Mark { lineage, namespace, key, kept, before } in marks.into_iter().rev() {
            let mut hot = self.hot();
            match (hot.entries.get(&key), before) {
                (Some((now, _)), _) if !Arc::ptr_eq(now, &kept) => {}
                (Some(_), Some(before)) => {
                    hot.put(&key, before.clone(), self.bytes_max);
                    self.put_on_disk(&mut hot, &lineage, &namespace, &key, &before);
                }
                _ => {
                    drop(hot);
                    self.forget(&lineage, &namespace, &key);
                }
            }
        }
    }

    fn forget(&self, lineage: &Arc<str>, namespace: &Arc<str>, key: &Arc<str>) {
        let mut hot = self.hot();
        hot.remove(key);
        self.forget_on_disk(&mut hot, lineage, namespace, key);
    }

    fn forget_on_disk(&self, hot: &mut Hot, lineage: &Arc<str>, namespace: &Arc<str>, key: &Arc<str>) {
        let Some(disk) = &self.disk else { return };
        match hot.on_disk.entry(namespace.clone()).or_default().forget(key) {
            Forgets::Nothing => {}
            Forgets::One => self.write(disk, Job::Forget { namespace: namespace.clone(), key: key.clone() }),
            Forgets::All => self.write(disk, Job::ForgetAll { lineage: lineage.clone() }),
        }
    }
}

/// Writes one thing after another. What is forgotten one after the other is handed over together, for a store to commit
/// at once.
async fn work_off(disk: Arc<dyn Store>, mut jobs: mpsc::UnboundedReceiver<Job>, waiting: Arc<AtomicUsize>) {
    let mut next = None;
    loop {
        let job = match next.take() {
            Some(job) => job,
            None => match jobs.recv().await {
                Some(job) => job,
                None => return,
            },
        };
        let done = match job {
            Job::Keep { lineage, namespace, key, kept, bytes_max } => {
                let at = Timestamp::from_millis(kept.at_ms);
                let done = disk.keep(&lineage, &namespace, &key, kept.written(), at, bytes_max).await;
                waiting.fetch_sub(1, Ordering::SeqCst);
                done
            }
            Job::Forget { namespace, key } => {
                let mut all = vec![(namespace, key)];
                while let Ok(job) = jobs.try_recv() {
                    match job {
                        Job::Forget { namespace, key } => all.push((namespace, key)),
                        other => {
                            next = Some(other);
                            break;
                        }
                    }
                }
                let forgets: Vec<_> = all.iter().map(|(namespace, key)| disk.forget(namespace, key)).collect();
                join_all(forgets).await.into_iter().collect()
            }
            Job::ForgetAll { lineage } => disk.open_cache(&lineage, "").await.map(drop),
            Job::Tell(told) => {
                _ = told.send(());
                Ok(())
            }
        };
        if let Err(error) = done {
            tracing::debug!(target: "wharfage::outbound", "a kept answer was not written: {error}");
        }
    }
}

fn hashed(key: &hmac::Key, parts: &[&str]) -> String {
    crate::hex::hex(&super::keyed_hash(key, parts.iter().map(|part| part.as_bytes())).as_ref()[..20])
}

impl Hot {
    fn touch(&mut self, key: &str) -> Option<Arc<Kept>> {
        self.clock += 1;
        let (kept, used) = self.entries.get_mut(key)?;
        if let Some(key) = self.order.remove(used) {
            self.order.insert(self.clock, key);
        }
        *used = self.clock;
        Some(kept.clone())
    }

    fn put(&mut self, key: &Arc<str>, kept: Arc<Kept>, bytes_max: u64) {
        self.remove(key);
        self.clock += 1;
        self.bytes += kept.weight();
        self.order.insert(self.clock, key.clone());
        self.entries.insert(key.clone(), (kept, self.clock));
        while self.bytes > bytes_max {
            let Some((_, oldest)) = self.order.first_key_value().map(|(used, key)| (*used, key.clone())) else { break };
            self.remove(&oldest);
        }
    }

    fn remove(&mut self, key: &str) {
        if let Some((kept, used)) = self.entries.remove(key) {
            self.order.remove(&used);
            self.bytes = self.bytes.saturating_sub(kept.weight());
        }
    }
}

impl OnDisk {
    /// The round in which the keys are to be read, where they are. A list that has grown too long begins anew.
    fn wanted_round(&mut self) -> Option<u64> {
        if self.most.is_some_and(|most| self.keys.len() > most) {
            *self = Self { round: self.round + 1, ..Self::default() };
        }
        self.most.is_none().then_some(self.round)
    }

    /// Notes what was read beside what was written meanwhile, without what was forgotten meanwhile. Of several who
    /// read, the first counts: what is forgotten after it, the others may have seen yet.
    fn read(&mut self, round: u64, keys: Vec<String>) {
        if self.most.is_some() || self.round != round {
            return;
        }
        let forgotten = std::mem::take(&mut self.forgotten);
        self.keys.extend(keys.into_iter().map(Arc::<str>::from).filter(|key| !forgotten.contains(key)));
        self.most = Some(NOTED_MIN.max(2 * self.keys.len()));
    }

    /// Takes a key off, and answers what is to be forgotten: what nobody has looked for yet may lie there all the same,
    /// so it is forgotten once. With too many such keys everything is, and then it is known that nothing is there.
    fn forget(&mut self, key: &Arc<str>) -> Forgets {
        if self.keys.remove(key) {
            // Whoever is reading may have seen it yet.
            if self.most.is_none() {
                self.forgotten.insert(key.clone());
            }
            Forgets::One
        } else if self.most.is_some() || self.forgotten.contains(key) {
            Forgets::Nothing
        } else if self.forgotten.len() < FORGOTTEN_MAX {
            self.forgotten.insert(key.clone());
            Forgets::One
        } else {
            *self = Self { most: Some(NOTED_MIN), round: self.round, ..Self::default() };
            Forgets::All
        }
    }
}

impl Kept {
    fn of(ticket: &Ticket, response: &Response, now: Timestamp) -> Self {
        let varies = has_any(&response.headers, &["vary"]);
        Self {
            asked: if varies { ticket.headers.clone() } else { Vec::new() },
            status: response.status,
            headers: response.headers.clone(),
            url: response.url.clone(),
            at_ms: now.as_millis(),
            request_id: response.request_id.clone(),
            is_immutable: ticket.keep == Keep::Immutable,
            body: response.body.clone(),
            rules: OnceLock::new(),
        }
    }

    /// The same with these headers, as of now.
    fn refreshed(&self, ticket: &Ticket, headers: Vec<(String, String)>, now: Timestamp) -> Self {
        Self {
            asked: self.asked.clone(),
            status: self.status,
            headers,
            url: self.url.clone(),
            at_ms: now.as_millis(),
            request_id: self.request_id.clone(),
            is_immutable: self.is_immutable || ticket.keep == Keep::Immutable,
            body: self.body.clone(),
            rules: OnceLock::new(),
        }
    }

    fn weight(&self) -> u64 {
        let pair = |(name, value): &(String, String)| name.len() + value.len() + 48;
        let heads: usize = self.headers.iter().chain(&self.asked).map(pair).sum();
        (self.body.len() + heads + self.url.len() + 200) as u64
    }

    /// Its head in a line of JSON, then its body.
    fn written(&self) -> Vec<u8> {
        let mut bytes = serde_json::to_vec(self).unwrap_or_default();
        bytes.push(b'\n');
        bytes.extend_from_slice(&self.body);
        bytes
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let end = bytes.iter().position(|byte| *byte == b'\n')?;
        let (head, body) = bytes.split_at(end);
        let kept: Self = serde_json::from_slice(head).ok()?;
        Some(Self { body: body.get(1..)?.to_vec().into(), ..kept })
    }

    /// Whether the provider says nothing of how long it holds, as most APIs do. It is kept then, and never fresh.
    fn is_silent(&self) -> bool {
        !has_any(&self.headers, &[CACHE_CONTROL.as_str(), PRAGMA.as_str(), EXPIRES.as_str()])
    }

    /// Whether it may be kept.
    fn is_storable(&self, ticket: &Ticket) -> bool {
        self.is_silent() || self.rules(ticket).is_some_and(Rules::is_storable)
    }

    /// RFC 9111's view of it.
    fn rules(&self, ticket: &Ticket) -> Option<&Rules> {
        self.rules.get_or_init(|| self.read_rules(ticket).map(Box::new)).as_deref()
    }

    fn read_rules(&self, ticket: &Ticket) -> Option<Rules> {
        let mut request = ticket.request()?.clone();
        *request.headers_mut() = fields(&self.asked);
        let mut response = http::Response::new(());
        *response.status_mut() = http::StatusCode::from_u16(self.status).ok()?;
        *response.headers_mut() = readable(fields(&self.headers));
        // Without a word of the provider nothing is fresh: what an API answers has no age one could guess by.
        let options = CacheOptions { shared: false, cache_heuristic: 0.0, ..CacheOptions::default() };
        Some(Rules::new_options(&request, &response, Timestamp::from_millis(self.at_ms).into(), options))
    }

    /// Whether it was fresh when it came.
    fn was_fresh(&self, ticket: &Ticket) -> bool {
        let at = Timestamp::from_millis(self.at_ms).into();
        !self.is_silent() && self.rules(ticket).is_some_and(|rules| !rules.time_to_live(at).is_zero())
    }

    fn response(&self, source: Source, age_ms: u64) -> Response {
        Response {
            status: self.status,
            headers: self.headers.clone(),
            body: self.body.clone(),
            url: self.url.clone(),
            source,
            age_ms,
            attempts: 0,
            request_id: self.request_id.clone(),
            may_be_kept: false,
            mark: None,
            kept: None,
        }
    }
}

/// Headers as the rules read them: directives in lower case, since their case does not count (RFC 9111, 5.2), and an age
/// that the crate can add to without looking.
fn readable(mut headers: http::HeaderMap) -> http::HeaderMap {
    // What is no text forbids, rather than being overlooked.
    let unreadable = http::HeaderValue::from_static("no-store");
    let lower = |value: &http::HeaderValue| {
        let text = value.to_str().ok().map(str::to_ascii_lowercase);
        text.and_then(|text| http::HeaderValue::from_str(&text).ok()).unwrap_or_else(|| unreadable.clone())
    };
    for name in [CACHE_CONTROL, PRAGMA] {
        let values: Vec<_> = headers.get_all(&name).iter().map(lower).collect();
        headers.remove(&name);
        for value in values {
            headers.append(&name, value);
        }
    }
    if let Some(age) = headers.remove(AGE) {
        let is_number = |text: &&str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        // A number too long to be read is a great one; what is none says nothing.
        let age_s = age.to_str().ok().map(str::trim).filter(is_number).map(|text| text.parse().unwrap_or(AGE_S_MAX));
        if let Some(age_s) = age_s {
            headers.insert(AGE, http::HeaderValue::from(age_s.min(AGE_S_MAX)));
        }
    }
    headers
}

fn fields(pairs: &[(String, String)]) -> http::HeaderMap {
    let mut map = http::HeaderMap::with_capacity(pairs.len());
    for (name, value) in pairs {
        let name = http::HeaderName::from_bytes(name.as_bytes());
        if let (Ok(name), Ok(value)) = (name, http::HeaderValue::from_bytes(value.as_bytes())) {
            map.append(name, value);
        }
    }
    map
}

/// Whether one of these header fields is there; they are written in lower case.
fn has_any(headers: &[(String, String)], wanted: &[&str]) -> bool {
    headers.iter().any(|(name, _)| wanted.iter().any(|wanted| name.eq_ignore_ascii_case(wanted)))
}

/// The greatest age that an answer is believed to have come with: ten years.
const AGE_S_MAX: u64 = 10 * 365 * 86_400;

/// Headers by which a plugin asks about an answer that it has itself; such a request passes by.
const CONDITIONAL: [&str; 8] = [
    "if-match",
    "if-none-match",
    "if-modified-since",
    "if-unmodified-since",
    "if-range",
    "range",
    "cache-control",
    "pragma",
];

/// What concerns the cache of a request that it may answer; nothing of one that passes by.
pub(super) async fn ticket(outbound: &Outbound, scoped: &Scoped) -> Option<Ticket> {
    let request = scoped.request();
    let is_own = has_any(&request.headers, &CONDITIONAL);
    let is_read = matches!(request.method, Method::Get | Method::Head) && request.body.is_none();
    // What was answered to a token of one call is for no other.
    let is_made = matches!(request.credential, CredentialChoice::Made(_));
    if !is_read || is_own || is_made || request.keep == Keep::Never || request.is_confidential {
        return None;
    }
    let cache = outbound.cache.as_ref()?;
    if let Some(credential) = outbound.chosen(scoped) {
        if credential.is_oauth2() {
            outbound.session(credential).ok()?.identity().await.ok()??;
        }
        for secret in &credential.secrets {
            outbound.secrets.value(secret, Purpose::Credential).await.ok()?;
        }
    }
    let Shelf { lineage, namespace, .. } = shelf(outbound, scoped)?;
    Some(Ticket {
        key: cache.hashed(&[&namespace, request.method.as_str(), scoped.url().as_str()]).into(),
        lineage,
        namespace,
        method: request.method,
        url: scoped.url().clone(),
        headers: request.headers.clone(),
        asked: OnceLock::new(),
        keep: request.keep,
        writes: cache.writes.load(Ordering::SeqCst),
        asked_about: None,
        lead: None,
    })
}

/// Where the connection's answers under this version of this credential are.
fn shelf(outbound: &Outbound, scoped: &Scoped) -> Option<Shelf> {
    let cache = outbound.cache.as_ref()?;
    let credential = outbound.chosen(scoped);
    let mut versions: Vec<Arc<str>> = Vec::new();
    if let Some(credential) = credential {
        if credential.is_oauth2() {
            versions.push(outbound.session(credential).ok()?.known_identity()?.into());
        }
        for secret in &credential.secrets {
            // Who cannot have the key gets nothing that was answered to it.
            versions.push(outbound.secrets.known_version(secret, |value| cache.hashed(&["version", value]))?);
        }
    }
    let name = credential.map(|credential| credential.name.as_str());
    let mut shelves = cache.shelves.lock().unwrap_or_else(PoisonError::into_inner);
    let last = shelves.iter().position(|shelf| shelf.credential.as_deref() == name);
    if let Some(shelf) = last.and_then(|at| shelves.get(at)).filter(|shelf| shelf.versions == versions) {
        return Some(shelf.clone());
    }
    let hashes: Vec<String> = versions.iter().map(|version| cache.hashed(&["version", version])).collect();
    let mut parts: Vec<&str> = vec!["namespace", &cache.place];
    parts.extend(hashes.iter().map(String::as_str));
    let shelf = Shelf {
        credential: name.map(str::to_owned),
        lineage: lineage_of(&cache.key, &outbound.scope.connection, name).into(),
        namespace: cache.hashed(&parts).into(),
        versions,
    };
    match last.and_then(|at| shelves.get_mut(at)) {
        Some(last) => *last = shelf.clone(),
        None => shelves.push(shelf.clone()),
    }
    Some(shelf)
}

/// Under which name a store keeps what a connection was answered with a credential, whatever its version.
pub(crate) fn lineage(key: &[u8; 32], connection: &str, credential: Option<&str>) -> String {
    lineage_of(&hmac::Key::new(hmac::HMAC_SHA256, key), connection, credential)
}

fn lineage_of(key: &hmac::Key, connection: &str, credential: Option<&str>) -> String {
    hashed(key, &["lineage", connection, credential.unwrap_or_default()])
}

/// Answers that were kept for an account, wherever its connections are open.
pub(crate) struct KeptAnswers {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) lineages: Vec<String>,
}

impl KeptAnswers {
    /// Deletes them. What a running process still has in memory serves nobody without the tokens it was answered to.
    pub(crate) async fn delete(&self) -> Result<(), Error> {
        for lineage in &self.lineages {
            self.store.open_cache(lineage, "").await?;
        }
        Ok(())
    }
}

/// Looks for a kept answer. One that is not fresh any more is asked about with its validators.
pub(super) async fn look(
    outbound: &Outbound,
    context: &CallContext,
    ticket: &mut Option<Ticket>,
    mut scoped: Scoped,
) -> Looked {
    let (Some(cache), Some(ticket)) = (&outbound.cache, ticket) else { return Looked::Missed(Missed(scoped)) };
    let mut found = cache.find(ticket).await;
    let will_be_kept = ticket.keep != Keep::AsAnswered || found.as_ref().is_some_and(|kept| kept.was_fresh(ticket));
    if will_be_kept && fresh(outbound, ticket, found.as_deref()).is_none() {
        // It was kept before or will be: one asks, and the others wait for its answer.
        ticket.lead = join(outbound, context, cache, ticket).await;
        ticket.writes = cache.writes.load(Ordering::SeqCst);
        found = cache.find(ticket).await;
    }
    if let Some((age_ms, kept)) = fresh(outbound, ticket, found.as_deref()) {
        context.observe(|| Step::Served { source: Source::Cache, age_ms });
        return Looked::Fresh(Box::new(kept.response(Source::Cache, age_ms)));
    }
    if let Some(kept) = found
        && let Some(conditions) = conditions(outbound, ticket, &kept)
    {
        scoped.add_conditions(conditions);
        ticket.asked_about = Some(kept);
    }
    Looked::Missed(Missed(scoped))
}

/// Waits for whoever asks for the same; answers the leave to be the one that asks, or nothing where all may. Only for what
/// was kept before or is said to be keepable: whether an unknown answer can be kept nobody knows, and a provider may want
/// many at once.
async fn join(
    outbound: &Outbound,
    context: &CallContext,
    cache: &Cache,
    ticket: &Ticket,
) -> Option<(Arc<Flight>, OwnedMutexGuard<()>)> {
    let flight = {
        let mut hot = cache.hot();
        hot.flights.retain(|_, flight| Arc::strong_count(flight) > 1);
        hot.flights.entry(ticket.key.clone()).or_default().clone()
    };
    if flight.is_in_vain.load(Ordering::Acquire) {
        return None;
    }
    tokio::select! {
        biased;
        // Whom it was in vain for lets the next one go at once.
        guard = flight.turn.clone().lock_owned() => {
            (!flight.is_in_vain.load(Ordering::Acquire)).then_some((flight, guard))
        }
        () = outbound.clock.alarm(context.deadline) => None,
    }
}

/// The kept answer with its age, if it is fresh.
fn fresh<'a>(outbound: &Outbound, ticket: &Ticket, kept: Option<&'a Kept>) -> Option<(u64, &'a Kept)> {
    let now = outbound.clock.now();
    let kept = kept.filter(|kept| kept.at_ms <= now.plus(AHEAD_MS).as_millis())?;
    // What was kept before anybody said that it never changes may have changed.
    let is_as_answered = match ticket.keep {
        Keep::AsAnswered => true,
        Keep::Immutable => !kept.is_immutable,
        Keep::Seconds(_) | Keep::Never => false,
    };
    if is_as_answered && kept.is_silent() {
        return None;
    }
    let rules = kept.rules(ticket)?;
    let asked = rules.before_request(ticket.request()?, now.into());
    let age_ms = now.since(Timestamp::from_millis(kept.at_ms));
    let (is_same, is_fresh) = match asked {
        BeforeRequest::Fresh(_) => (true, true),
        BeforeRequest::Stale { matches, .. } => (matches, false),
    };
    match ticket.keep {
        _ if !is_same => None,
        _ if is_as_answered => is_fresh.then(|| {
            let age_ms = u64::try_from(rules.age(now.into()).as_millis()).unwrap_or(u64::MAX);
            (age_ms, kept)
        }),
        Keep::Immutable => Some((age_ms, kept)),
        Keep::Seconds(seconds) if age_ms < u64::from(seconds) * 1_000 => Some((age_ms, kept)),
        _ => None,
    }
}

/// The headers that ask about a kept answer, if it has something to be asked by.
fn conditions(outbound: &Outbound, ticket: &Ticket, kept: &Kept) -> Option<Vec<(String, String)>> {
    if !has_any(&kept.headers, &["etag", "last-modified"]) {
        return None;
    }
    let asked = kept.rules(ticket)?.before_request(ticket.request()?, outbound.clock.now().into());
    let BeforeRequest::Stale { request, matches: true } = asked else { return None };
    let header = |name: &str| Some((name.to_owned(), request.headers.get(name)?.to_str().ok()?.to_owned()));
    let conditions: Vec<_> = ["if-none-match", "if-modified-since"].into_iter().filter_map(header).collect();
    (!conditions.is_empty()).then_some(conditions)
}

/// What an answer means for the cache: it is kept, it refreshes what was kept, or it makes that wrong.
///
/// # Errors
/// `transient` when the provider says "not modified" of something else than what was asked about; that is forgotten, and
/// asked for anew.
pub(super) fn keep(
    outbound: &Outbound,
    ticket: Option<&Ticket>,
    sent: &Arc<super::Request>,
    mut response: Response,
) -> Result<Response, Error> {
    let Some(cache) = &outbound.cache else { return Ok(response) };
    let Some(ticket) = ticket else {
        forget_written(outbound, sent, &response.headers);
        return Ok(response);
    };
    if ticket.writes != cache.writes.load(Ordering::SeqCst) {
        // It may show what was before the write.
        ticket.in_vain();
        if response.status != 304 {
            return Ok(response);
        }
    }
    let now = outbound.clock.now();
    if let (304, Some(kept)) = (response.status, &ticket.asked_about) {
        let Some(headers) = refreshed(kept, &response) else {
            cache.forget(&ticket.lineage, &ticket.namespace, &ticket.key);
            return Err(Error::new(
                Kind::Transient,
                "the provider said that another answer than the kept one still holds",
            )
            .with_status(Some(304))
            .with_request_sent(RequestSent::Yes));
        };
        let may_be_kept = response.may_be_kept && ticket.writes == cache.writes.load(Ordering::SeqCst);
        let kept = kept.refreshed(ticket, headers, now);
        response = Response { attempts: response.attempts, ..kept.response(Source::Live, 0) };
        if may_be_kept {
            response.mark = Some(keep_one(cache, ticket, kept));
        }
        return Ok(response);
    }
    let is_small = response.body.len() as u64 <= cache.entry_bytes_max;
    let kept = (response.status == 200 && response.may_be_kept && is_small).then(|| Kept::of(ticket, &response, now));
    match kept.filter(|kept| kept.is_storable(ticket)) {
        Some(kept) => response.mark = Some(keep_one(cache, ticket, kept)),
        None => {
            ticket.in_vain();
            if response.status < 300 {
                cache.forget(&ticket.lineage, &ticket.namespace, &ticket.key);
            }
        }
    }
    Ok(response)
}

/// Keeps an answer; those that wait for it go on by themselves where it will not serve them.
fn keep_one(cache: &Cache, ticket: &Ticket, kept: Kept) -> Mark {
    if ticket.keep == Keep::AsAnswered && !kept.was_fresh(ticket) {
        ticket.in_vain();
    }
    cache.put(ticket, kept)
}

/// What a failed attempt means: nobody waits for it any more, and who was refused, or told that it is gone, has no last
/// good answer either.
pub(super) fn failed(outbound: &Outbound, ticket: Option<&Ticket>, error: &Error) {
    let (Some(cache), Some(ticket)) = (&outbound.cache, ticket) else { return };
    ticket.in_vain();
    if matches!(error.kind(), Kind::NotFound | Kind::CursorInvalid | Kind::Unauthorized | Kind::Forbidden) {
        cache.forget(&ticket.lineage, &ticket.namespace, &ticket.key);
    }
}

/// The headers of a kept answer after a "not modified", if that spoke of it: every field that the provider sent again
/// takes the place of all of its name (RFC 9111, 3.2). Only one answer was asked about, so only another entity tag says
/// that it is not meant.
fn refreshed(kept: &Kept, response: &Response) -> Option<Vec<(String, String)>> {
    const OF_THE_BODY: [&str; 4] = ["content-length", "content-encoding", "content-range", "transfer-encoding"];
    fn tag(headers: &[(String, String)]) -> Option<&str> {
        let (_, tag) = headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("etag"))?;
        Some(tag.trim().trim_start_matches("W/"))
    }
    if tag(&response.headers).is_some_and(|tag_now| tag(&kept.headers).is_some_and(|tag| tag != tag_now)) {
        return None;
    }
    let is_new = |name: &str| {
        !OF_THE_BODY.iter().any(|own| own.eq_ignore_ascii_case(name))
            && response.headers.iter().any(|(new, _)| new.eq_ignore_ascii_case(name))
    };
    // The age that the kept answer came with is over.
    let old = kept.headers.iter().filter(|(name, _)| !name.eq_ignore_ascii_case("age") && !is_new(name));
    let new = response.headers.iter().filter(|(name, _)| is_new(name));
    Some(old.chain(new).cloned().collect())
}

/// A write that succeeded, or may have, makes wrong what was kept of its URL, and of the places that its answer names
/// (RFC 9111, 4.4).
pub(super) fn forget_written(outbound: &Outbound, sent: &Arc<super::Request>, headers: &[(String, String)]) {
    let Some(cache) = outbound.cache.as_ref().filter(|_| is_write(sent)) else { return };
    cache.writes.fetch_add(1, Ordering::SeqCst);
    let Ok(scoped) = outbound.scope.check(sent.clone()) else { return };
    let url = scoped.url();
    let named = headers
        .iter()
        .filter(|(name, _)| name.eq_ignore_ascii_case("location") || name.eq_ignore_ascii_case("content-location"));
    let named = named
        .take(PLACES_MAX)
        .filter_map(|(_, place)| url.join(place).ok())
        .filter(|place| place.origin() == url.origin());
    // Whoever wrote, what was answered to the connection's other credentials is wrong too.
    let mut namespaces = cache.hot().namespaces.clone();
    namespaces.extend(shelf(outbound, &scoped).map(|shelf| (shelf.namespace, shelf.lineage)));
    for mut place in std::iter::once(url.clone()).chain(named) {
        place.set_fragment(None);
        for (namespace, lineage) in &namespaces {
            for method in [Method::Get, Method::Head] {
                let key = cache.hashed(&[namespace, method.as_str(), place.as_str()]);
                cache.forget(lineage, namespace, &key.into());
            }
        }
    }
}

fn is_write(sent: &super::Request) -> bool {
    !matches!(sent.method, Method::Get | Method::Head) && sent.repeat != Repeat::Safe
}

/// A write on its way. Dropped before it was heard of, it may have succeeded: whoever called may have gone.
pub(super) struct Unheard<'a> {
    outbound: &'a Outbound,
    sent: Option<Arc<super::Request>>,
}

impl<'a> Unheard<'a> {
    /// Of a request that leaves now; nothing follows from one that is no write.
    pub(super) fn of(outbound: &'a Outbound, sent: &Arc<super::Request>) -> Self {
        let cache = outbound.cache.as_ref().filter(|_| is_write(sent));
        if let Some((cache, disk)) = cache.and_then(|cache| Some((cache, cache.disk.as_ref()?))) {
            // Whoever writes begins here, for it may be dropped where no task can begin.
            drop(cache.desk(disk));
        }
        Self { outbound, sent: cache.map(|_| sent.clone()) }
    }

    /// What became of it is known.
    pub(super) fn heard(mut self) {
        self.sent = None;
    }
}

impl Drop for Unheard<'_> {
    fn drop(&mut self) {
        if let Some(sent) = self.sent.take() {
            forget_written(self.outbound, &sent, &[]);
        }
    }
}

/// The last good answer instead of trouble that may pass; the trouble itself where there is none, or none young enough.
pub(super) async fn fall_back(
    outbound: &Outbound,
    context: &CallContext,
    request: Arc<super::Request>,
    attempts: u32,
    error: Error,
) -> Result<Response, Error> {
    let may_serve = matches!(
        error.kind(),
        Kind::Transient
            | Kind::Timeout
            | Kind::Network(_)
            | Kind::CircuitOpen
            | Kind::RateLimited
            | Kind::QuotaExhausted
    );
    let Some(cache) = outbound.cache.as_ref().filter(|cache| may_serve && cache.policy.fall_back) else {
        return Err(error);
    };
    let Ok(scoped) = outbound.scope.check(request) else { return Err(error) };
    let (scoped, _) = ready::settle(outbound, scoped).await;
    let Some(ticket) = ticket(outbound, &scoped).await else { return Err(error) };
    let Some(kept) = cache.find(&ticket).await.filter(|kept| matches(&ticket, kept, outbound.clock.now())) else {
        return Err(error);
    };
    let age_ms = outbound.clock.now().since(Timestamp::from_millis(kept.at_ms));
    if age_ms > cache.policy.kept_ms && !cache.policy.beyond {
        return Err(error.with_details(format!(
            "The last good answer is {} s old, and none older than {} s serves; cache.beyond = true would allow it",
            age_ms / 1_000,
            cache.policy.kept_ms / 1_000
        )));
    }
    let source = if age_ms < cache.policy.stale_from_ms { Source::Cache } else { Source::Stale };
    tracing::debug!(target: "wharfage::outbound", age_ms, kind = error.kind().name(), "the last good answer serves");
    context.observe(|| Step::Served { source, age_ms });
    Ok(Response { attempts, ..kept.response(source, age_ms) })
}

/// Whether a kept answer is one to this request, whatever its age. One from the future has none.
fn matches(ticket: &Ticket, kept: &Kept, now: Timestamp) -> bool {
    if kept.at_ms > now.plus(AHEAD_MS).as_millis() {
        return false;
    }
    let asked = || Some(kept.rules(ticket)?.before_request(ticket.request()?, now.into()));
    matches!(asked(), Some(BeforeRequest::Fresh(_) | BeforeRequest::Stale { matches: true, .. }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::MemoryStore;

    fn ticket(number: u64) -> Ticket {
        Ticket {
            lineage: "l".into(),
            namespace: "n".into(),
            key: number.to_string().into(),
            method: Method::Get,
            url: Url::parse("https://x.test/").unwrap(),
            headers: Vec::new(),
            asked: OnceLock::new(),
            keep: Keep::AsAnswered,
            writes: 0,
            asked_about: None,
            lead: None,
        }
    }

    fn kept(at_ms: u64) -> Kept {
        Kept {
            asked: Vec::new(),
            status: 200,
            headers: Vec::new(),
            url: String::new(),
            at_ms,
            request_id: None,
            is_immutable: false,
            body: Arc::default(),
            rules: OnceLock::new(),
        }
    }

    /// The disk lets the oldest answers go and tells nobody.
    #[tokio::test]
    async fn keys_of_answers_that_the_disk_let_go_do_not_pile_up() {
        const ANSWERS: u64 = 4_000;
        let store: Arc<dyn Store> = Arc::new(MemoryStore::default());
        let limits = Limits { cache_bytes: 20_000, ..Limits::default() };
        let cache = Cache::new(CachePolicy::default(), &[7; 32], &[], &limits, Some(store));
        for number in 0..ANSWERS {
            let ticket = ticket(number);
            assert!(cache.find(&ticket).await.is_none(), "{number}");
            cache.put(&ticket, kept(number));
            cache.settle().await;
            let noted = cache.hot().on_disk["n"].keys.len();
            assert!(noted <= NOTED_MIN + 1, "{noted} after {number}");
        }
        // One that is there is found there, whenever it was written.
        for number in [ANSWERS - 1, ANSWERS - 50] {
            let ticket = ticket(number);
            cache.hot().remove(&ticket.key);
            assert!(cache.find(&ticket).await.is_some(), "{number}");
        }
    }

    fn on_disk(store: Arc<dyn Store>) -> Cache {
        Cache::new(CachePolicy::default(), &[7; 32], &[], &Limits::default(), Some(store))
    }

    /// A plugin that only wrote made the next one who read wait for two jobs of each of its writes.
    #[test]
    fn what_nobody_has_looked_for_is_forgotten_once() {
        let (cache, (desk, mut jobs)) = (on_disk(Arc::new(MemoryStore::default())), mpsc::unbounded_channel());
        *cache.desk.lock().unwrap() = Some(desk);
        let forget = |number| {
            let Ticket { lineage, namespace, key, .. } = ticket(number);
            cache.forget(&lineage, &namespace, &key);
        };
        (0..1_000).for_each(|_| forget(1));
        assert!(matches!(jobs.try_recv(), Ok(Job::Forget { .. })) && jobs.try_recv().is_err());
        (0..5_000).for_each(forget);
        let queued: Vec<Job> = std::iter::from_fn(|| jobs.try_recv().ok()).collect();
        assert_eq!(queued.len(), FORGOTTEN_MAX);
        assert!(matches!(queued.last(), Some(Job::ForgetAll { .. })));
    }

    #[tokio::test]
    async fn the_keys_on_the_disk_are_read_also_while_somebody_writes() {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::default());
        store.keep("l", "n", "1", kept(1).written(), Timestamp::from_millis(1), 1_000_000).await.unwrap();
        let (cache, one, other) = (on_disk(store), ticket(1), ticket(2));
        let write = || {
            cache.writes.fetch_add(1, Ordering::SeqCst);
            cache.forget(&other.lineage, &other.namespace, &other.key);
        };
        write();
        let mut finding = std::pin::pin!(cache.find(&one));
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(finding.as_mut().poll(&mut context).is_pending(), "it waits for what is to be forgotten");
        write();
        assert!(finding.await.is_none(), "what was written may have made it wrong");
        assert!(cache.hot().on_disk["n"].most.is_some());
        assert!(cache.find(&one).await.is_some());
    }

    #[test]
    fn what_was_forgotten_while_the_keys_were_read_is_not_noted() {
        let mut on_disk = OnDisk::default();
        let (round, both) = (on_disk.wanted_round().unwrap(), || vec!["1".to_owned(), "2".to_owned()]);
        assert_eq!(on_disk.forget(&"2".into()), Forgets::One);
        on_disk.read(round, both());
        assert_eq!(on_disk.forget(&"2".into()), Forgets::Nothing);
        assert_eq!(on_disk.forget(&"1".into()), Forgets::One);
        // Whoever began to read at the same time has seen both.
        on_disk.read(round, both());
        assert!(on_disk.keys.is_empty());
        // What was written and forgotten while somebody read is not noted either.
        let (mut on_disk, key) = (OnDisk::default(), Arc::<str>::from("1"));
        on_disk.keys.insert(key.clone());
        assert_eq!(on_disk.forget(&key), Forgets::One);
        on_disk.read(round, both());
        assert!(!on_disk.keys.contains(&key));
    }

    #[test]
    fn an_answer_of_an_older_version_reads_as_one_that_may_change() {
        let written = String::from_utf8(kept(1).written()).unwrap();
        let older = written.replace(",\"is_immutable\":false", "");
        assert_ne!(older, written);
        assert!(Kept::read(older.as_bytes()).is_some_and(|kept| !kept.is_immutable && kept.at_ms == 1));
    }

    #[tokio::test]
    async fn what_was_kept_for_an_account_is_deleted_for_all_its_connections() {
        let (key, store): (_, Arc<dyn Store>) = ([7; 32], Arc::new(MemoryStore::default()));
        for (connection, credential) in [("acme", "sign-in"), ("mail", "sign-in"), ("acme", "key")] {
            let (lineage, at) = (lineage(&key, connection, Some(credential)), Timestamp::from_millis(1));
            let namespace = format!("{connection}, {credential}");
            store.keep(&lineage, &namespace, "k", b"an answer".to_vec(), at, 1_000).await.unwrap();
        }
        let lineages = ["acme", "mail"].map(|connection| lineage(&key, connection, Some("sign-in"))).to_vec();
        KeptAnswers { store: store.clone(), lineages }.delete().await.unwrap();
        assert_eq!(store.recall("acme, sign-in", "k").await.unwrap(), None);
        assert_eq!(store.recall("mail, sign-in", "k").await.unwrap(), None);
        assert!(store.recall("acme, key", "k").await.unwrap().is_some(), "another credential's answers");
    }
}
