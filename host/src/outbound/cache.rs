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

mod hot;
mod kept;

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use aws_lc_rs::hmac;
use serde::Deserialize;
use tokio::sync::{OwnedMutexGuard, mpsc};
use url::Url;

use self::hot::{Flight, Hot, Job};
use self::kept::{CachedAnswer, conditions, fresh, has_any, matches, refreshed};
use super::ready;
use super::scope::Scoped;
use super::{AnswerSource, CallContext, CredentialChoice, Method, Outbound, PathEvent, Repeat, Response};
use crate::error::{Error, Kind, RequestSent};
use crate::limits::Limits;
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
    writer: Mutex<Option<mpsc::UnboundedSender<Job>>>,
    /// How many answers wait to be written.
    waiting: Arc<AtomicUsize>,
    /// How many writes succeeded or may have: an answer that was asked for before one is not kept after it.
    writes: AtomicU64,
}

/// Where the answers to one version of a credential are.
struct Shelf {
    credential: Option<String>,
    /// What says which version it is: of secrets a hash, of tokens the connecting that they are of.
    versions: Vec<Arc<str>>,
    lineage: Arc<str>,
    namespace: Arc<str>,
}

/// Fields of an answer that are read for the places that it names.
const PLACES_MAX: usize = 4;

/// What is known of a request that concerns the cache.
pub(super) struct Ticket {
    lineage: Arc<str>,
    namespace: Arc<str>,
    key: Arc<str>,
    sent: Arc<super::Request>,
    url: Url,
    /// The same as the rules read it, made when somebody asks.
    asked: OnceLock<Option<Box<http::Request<()>>>>,
    /// The count of writes when it was asked for.
    writes: u64,
    /// What was asked about with its validators.
    asked_about: Option<Arc<CachedAnswer>>,
    lead: Option<(Arc<Flight>, OwnedMutexGuard<()>)>,
}

impl Ticket {
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
    kept: Arc<CachedAnswer>,
    before: Option<Arc<CachedAnswer>>,
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
            writer: Mutex::default(),
            waiting: Arc::default(),
            writes: AtomicU64::new(0),
        }
    }

    fn hot(&self) -> MutexGuard<'_, Hot> {
        self.hot.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A keyed hash of these parts; no two lists of parts read alike.
    fn hashed(&self, parts: &[&str]) -> String {
        hashed(&self.key, parts)
    }

    /// The answer under a key: from memory, else from the disk if it is there.
    async fn find(&self, ticket: &Ticket) -> Option<Arc<CachedAnswer>> {
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
            self.flush().await;
            // What was kept under another credential, grant or component of this connection goes now.
            let keys = disk.open_cache(&ticket.lineage, &ticket.namespace).await.unwrap_or_default();
            self.hot().on_disk.entry(ticket.namespace.clone()).or_default().read(round, keys);
        }
        if !self.hot().on_disk.get(&ticket.namespace)?.keys.contains(&ticket.key) {
            return None;
        }
        let kept = disk
            .recall(&ticket.namespace, &ticket.key)
            .await
            .ok()
            .flatten()
            .and_then(|bytes| CachedAnswer::read(&bytes));
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
    fn put(&self, ticket: &Ticket, kept: CachedAnswer) -> Mark {
        let kept = Arc::new(kept);
        let Ticket { lineage, namespace, key, .. } = ticket;
        let mut hot = self.hot();
        let before = hot.entries.get(key).map(|(before, _)| before.clone());
        hot.put(key, kept.clone(), self.bytes_max);
        self.put_on_disk(&mut hot, lineage, namespace, key, &kept);
        Mark { lineage: lineage.clone(), namespace: namespace.clone(), key: key.clone(), kept, before }
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
}

fn hashed(key: &hmac::Key, parts: &[&str]) -> String {
    crate::hex::hex(&super::keyed_hash(key, parts.iter().map(|part| part.as_bytes())).as_ref()[..20])
}

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
    let mut identity = None;
    if let Some(credential) = outbound.chosen(scoped) {
        for secret in &credential.secrets {
            outbound.secrets.value(secret, Purpose::Credential).await.ok()?;
        }
        if credential.is_oauth2() {
            identity = Some(outbound.session(credential).ok()?.identity().await.ok()??);
        }
    }
    let (lineage, namespace) = shelf(outbound, scoped, identity)?;
    Some(Ticket {
        key: cache.hashed(&[&namespace, request.method.as_str(), scoped.url().as_str()]).into(),
        lineage,
        namespace,
        sent: request.clone(),
        url: scoped.url().clone(),
        asked: OnceLock::new(),
        writes: cache.writes.load(Ordering::SeqCst),
        asked_about: None,
        lead: None,
    })
}

/// Where the connection's answers under this version of this credential are: their lineage and their namespace. Of tokens
/// whose identity is not given, the one that is known counts.
fn shelf(outbound: &Outbound, scoped: &Scoped, identity: Option<String>) -> Option<(Arc<str>, Arc<str>)> {
    let cache = outbound.cache.as_ref()?;
    let credential = outbound.chosen(scoped);
    let mut versions: Vec<Arc<str>> = Vec::new();
    if let Some(credential) = credential {
        if credential.is_oauth2() {
            let known = || outbound.session(credential).ok()?.known_identity();
            versions.push(identity.or_else(known)?.into());
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
        return Some((shelf.lineage.clone(), shelf.namespace.clone()));
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
    let found = (shelf.lineage.clone(), shelf.namespace.clone());
    match last.and_then(|at| shelves.get_mut(at)) {
        Some(last) => *last = shelf,
        None => shelves.push(shelf),
    }
    Some(found)
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
    let will_be_kept =
        ticket.sent.keep != Keep::AsAnswered || found.as_ref().is_some_and(|kept| kept.was_fresh(ticket));
    if will_be_kept && fresh(outbound, ticket, found.as_deref()).is_none() {
        // It was kept before or will be: one asks, and the others wait for its answer.
        ticket.lead = join(outbound, context, cache, ticket).await;
        ticket.writes = cache.writes.load(Ordering::SeqCst);
        found = cache.find(ticket).await;
    }
    if let Some((age_ms, kept)) = fresh(outbound, ticket, found.as_deref()) {
        context.observe(|| PathEvent::Served { source: AnswerSource::Cache, age_ms });
        return Looked::Fresh(Box::new(kept.response(AnswerSource::Cache, age_ms)));
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
        response = Response { attempts: response.attempts, ..kept.response(AnswerSource::Live, 0) };
        if may_be_kept {
            response.mark = Some(keep_one(cache, ticket, kept));
        }
        return Ok(response);
    }
    let is_small = response.body.len() as u64 <= cache.entry_bytes_max;
    let kept =
        (response.status == 200 && response.may_be_kept && is_small).then(|| CachedAnswer::of(ticket, &response, now));
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
fn keep_one(cache: &Cache, ticket: &Ticket, kept: CachedAnswer) -> Mark {
    if ticket.sent.keep == Keep::AsAnswered && !kept.was_fresh(ticket) {
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
    namespaces.extend(shelf(outbound, &scoped, None).map(|(lineage, namespace)| (namespace, lineage)));
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

/// Whether it may change something. A POST that may be repeated counts as a query, as the contract says; another method that
/// may be repeated does no harm twice, and changes something all the same.
fn is_write(sent: &super::Request) -> bool {
    match sent.method {
        Method::Get | Method::Head => false,
        Method::Post => sent.repeat != Repeat::Safe,
        Method::Put | Method::Patch | Method::Delete => true,
    }
}

/// A write on its way. Dropped before it was heard of, it may have succeeded: whoever called may have gone.
pub(super) struct WriteInFlight<'a> {
    outbound: &'a Outbound,
    sent: Option<Arc<super::Request>>,
}

impl<'a> WriteInFlight<'a> {
    /// Of a request that leaves now; nothing follows from one that is no write.
    pub(super) fn of(outbound: &'a Outbound, sent: &Arc<super::Request>) -> Self {
        let cache = outbound.cache.as_ref().filter(|_| is_write(sent));
        if let Some((cache, disk)) = cache.and_then(|cache| Some((cache, cache.disk.as_ref()?))) {
            // Whoever writes begins here, for it may be dropped where no task can begin.
            drop(cache.writer(disk));
        }
        Self { outbound, sent: cache.map(|_| sent.clone()) }
    }

    /// What became of it is known.
    pub(super) fn heard(mut self) {
        self.sent = None;
    }
}

impl Drop for WriteInFlight<'_> {
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
    let source = if age_ms < cache.policy.stale_from_ms { AnswerSource::Cache } else { AnswerSource::Stale };
    tracing::debug!(target: "wharfage::outbound", age_ms, kind = error.kind().name(), "the last good answer serves");
    context.observe(|| PathEvent::Served { source, age_ms });
    Ok(Response { attempts, ..kept.response(source, age_ms) })
}

#[cfg(test)]
mod tests {
    use super::hot::{FORGOTTEN_MAX, NOTED_MIN};
    use super::*;
    use crate::store::MemoryStore;

    fn ticket(number: u64) -> Ticket {
        Ticket {
            lineage: "l".into(),
            namespace: "n".into(),
            key: number.to_string().into(),
            sent: super::super::Request::get("https://x.test/").into(),
            url: Url::parse("https://x.test/").unwrap(),
            asked: OnceLock::new(),
            writes: 0,
            asked_about: None,
            lead: None,
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
            cache.put(&ticket, CachedAnswer::empty(number));
            cache.flush().await;
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
        let (cache, (writer, mut jobs)) = (on_disk(Arc::new(MemoryStore::default())), mpsc::unbounded_channel());
        *cache.writer.lock().unwrap() = Some(writer);
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
        store
            .keep("l", "n", "1", CachedAnswer::empty(1).written(), Timestamp::from_millis(1), 1_000_000)
            .await
            .unwrap();
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
