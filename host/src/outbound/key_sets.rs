//! A provider's public keys (RFC 7517): fetched over the host's own path, held, and asked for again seldom.
//!
//! Whoever sends a token with a key id that nobody knows makes the host ask the provider for its keys, so it does so at
//! most once a minute, whatever the number of tokens (R20). A set is read anew after an hour, so that a key that the
//! provider took back goes; while the provider is in trouble the keys that were there serve on, for a day at most.
//! Asking runs as a task of its own: a token with a known key does not wait for it, and whoever goes away does not end
//! it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use url::Url;

use super::scope::Asked;
use super::session::resolve;
use super::{CallContext, CredentialChoice, Outbound, Request};
use crate::auth::jwt::Keys;
use crate::error::{Error, Kind, Result};
use crate::observe::trace::carry;
use crate::time::Timestamp;

/// Milliseconds between two questions for the same set.
const ASKED_MS_MIN: u64 = 60_000;
/// Milliseconds after which a set is asked for again.
const FRESH_MS: u64 = 60 * 60_000;
/// Milliseconds that a set serves where it cannot be asked for.
const SERVES_MS: u64 = 24 * 60 * 60_000;

/// The key sets of one connection.
pub(crate) struct KeySets {
    /// The host's own path to where they are.
    authority: Outbound,
    places: Vec<(String, Url)>,
    held: Mutex<BTreeMap<String, Held>>,
}

#[derive(Default)]
struct Held {
    set: Option<(Timestamp, Arc<Vec<u8>>)>,
    asked_at: Option<Timestamp>,
    /// Closed as soon as nobody asks.
    asking: Option<watch::Receiver<()>>,
}

/// What is known of a key.
enum Looked {
    /// All that is to be had now.
    Keys(Keys),
    /// Somebody asks.
    Asking(watch::Receiver<()>),
    /// Whoever looked asks, and closes this at the end. Until then these are known.
    Ask(Option<Keys>, watch::Sender<()>),
}

impl Held {
    /// What closes when whoever asks is done; nothing where nobody asks.
    fn asking(&self) -> Option<&watch::Receiver<()>> {
        self.asking.as_ref().filter(|asking| asking.has_changed().is_ok())
    }
}

impl KeySets {
    pub(crate) fn new(authority: Outbound, asked: &[Asked]) -> Self {
        let places = asked.iter().map(|asked| (asked.name.clone(), asked.base.clone())).collect();
        Self { authority, places, held: Mutex::default() }
    }

    /// The keys at an endpoint that are for this algorithm, asked for again if none has this id.
    ///
    /// # Errors
    /// [`Kind::Transient`] when they were asked for in vain a moment ago; else whatever a request can end with.
    pub(crate) async fn keys(
        self: &Arc<Self>,
        context: &CallContext,
        endpoint: &str,
        algorithm: &str,
        id: Option<&str>,
    ) -> Result<Keys> {
        loop {
            let (known, done) = match self.look(endpoint, algorithm, id)? {
                Looked::Keys(keys) => return Ok(keys),
                Looked::Asking(mut asking) => {
                    let is_in_time = tokio::select! {
                        biased;
                        // Nothing is ever sent: it ends.
                        _ = asking.changed() => true,
                        () = self.authority.clock.alarm(context.deadline) => false,
                    };
                    if is_in_time {
                        continue;
                    }
                    return Err(Error::new(Kind::Deadline, "the provider's keys were not there in time"));
                }
                Looked::Ask(known, done) => (known, done),
            };
            let asking = self.clone().ask(context.clone(), endpoint.to_owned(), algorithm.to_owned(), done);
            let asked = tokio::spawn(carry(asking)).await;
            let asked = asked.unwrap_or_else(|_| Err(Error::internal("asking for the provider's keys failed")));
            return match (asked, known) {
                (Ok(keys), _) => Ok(keys),
                (Err(_), Some(known)) if known.has(id) => Ok(known),
                (Err(error), _) => Err(error),
            };
        }
    }

    /// Looks without waiting. A set that is old serves whoever has a key of it while another asks.
    fn look(&self, endpoint: &str, algorithm: &str, id: Option<&str>) -> Result<Looked> {
        let mut all = self.held();
        let held = all.entry(endpoint.to_owned()).or_default();
        let now = self.authority.clock.now();
        let age_ms = held.set.as_ref().map_or(u64::MAX, |(at, _)| now.since(*at));
        let set = held.set.as_ref().filter(|_| age_ms < SERVES_MS);
        let known = set.map(|(_, set)| Keys::of_set(algorithm, set)).transpose()?;
        let known = match known {
            Some(keys) if keys.has(id) && (age_ms < FRESH_MS || held.asking().is_some()) => {
                return Ok(Looked::Keys(keys));
            }
            known => known,
        };
        if let Some(asking) = held.asking() {
            return Ok(Looked::Asking(asking.clone()));
        }
        if let Some(next) = held.asked_at.map(|at| at.plus(ASKED_MS_MIN)).filter(|next| now < *next) {
            return known.map(Looked::Keys).ok_or_else(|| {
                Error::new(Kind::Transient, "the provider's keys could not be had a moment ago")
                    .with_retry_at(Some(next))
            });
        }
        let (done, asking) = watch::channel(());
        held.asked_at = Some(now);
        held.asking = Some(asking);
        Ok(Looked::Ask(known, done))
    }

    /// Asks for a set and holds it. `_done` closes after that, however it ends.
    async fn ask(
        self: Arc<Self>,
        context: CallContext,
        endpoint: String,
        algorithm: String,
        _done: watch::Sender<()>,
    ) -> Result<Keys> {
        let now = self.authority.clock.now();
        let set = self.fetch(&context, &endpoint).await?;
        let keys = Keys::of_set(&algorithm, &set)?;
        self.held().entry(endpoint).or_default().set = Some((now, Arc::new(set)));
        Ok(keys)
    }

    async fn fetch(&self, context: &CallContext, endpoint: &str) -> Result<Vec<u8>> {
        let request = Request {
            headers: vec![("accept".to_owned(), "application/json".to_owned())],
            credential: CredentialChoice::Anonymous,
            is_confidential: true,
            ..Request::get(resolve(&self.places, endpoint)?.as_str())
        };
        match self.authority.send(context, request.into()).await {
            Ok(response) => Ok(Arc::unwrap_or_clone(response.body)),
            // No guest sees what only the host asked for.
            Err(error) => Err(error.with_body(None)),
        }
    }

    fn held(&self) -> MutexGuard<'_, BTreeMap<String, Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use bytes::Bytes;
    use http::HeaderMap;
    use tokio::sync::Semaphore;

    use super::*;
    use crate::outbound::Method;
    use crate::outbound::path_pattern::PathPattern;
    use crate::outbound::scope::{OriginScope, Scope};
    use crate::outbound::sign::SignedRequest;
    use crate::outbound::transport::{ResponseHead, Transport, TransportError};
    use crate::time::{BoxFuture, ManualClock};
    use crate::vault::Secrets;

    /// Answers a question where there is a permit for it, and holds the others back.
    struct Endpoint {
        asked: AtomicUsize,
        permits: Semaphore,
    }

    impl Transport for Endpoint {
        fn send<'a>(&'a self, _: &'a SignedRequest) -> BoxFuture<'a, Result<ResponseHead, TransportError>> {
            Box::pin(async move {
                self.asked.fetch_add(1, Ordering::SeqCst);
                self.permits.acquire().await.unwrap().forget();
                let set = br#"{"keys": [{"kty": "RSA", "kid": "k1", "n": "AQAB", "e": "AQAB"}]}"#;
                let body = Box::new(Some(Bytes::from_static(set)));
                Ok(ResponseHead { status: 200, headers: HeaderMap::new(), body })
            })
        }
    }

    impl Endpoint {
        async fn asked(&self, times: usize) {
            while self.asked.load(Ordering::SeqCst) < times {
                tokio::task::yield_now().await;
            }
        }
    }

    fn scene(permits: usize) -> (Arc<KeySets>, Arc<Endpoint>, ManualClock) {
        let endpoint = Arc::new(Endpoint { asked: AtomicUsize::new(0), permits: Semaphore::new(permits) });
        let clock = ManualClock::new(Timestamp::from_millis(1_500_000), 1);
        let secrets = Arc::new(Secrets::new("p", "acme", Default::default()));
        let nowhere = Outbound::nowhere(secrets, Arc::new(clock.clone()));
        let base = Url::parse("http://127.0.0.1:1").unwrap();
        let (methods, paths) = (vec![Method::Get], vec![PathPattern::parse("/jwks").unwrap()]);
        let origins = vec![OriginScope::new("keys", base.clone(), methods.clone(), paths.clone())];
        let asked = Asked { name: "keys".to_owned(), base, methods, paths };
        let scope = Scope {
            origins,
            url_bytes_max: 1_000,
            header_count_max: 10,
            header_bytes_max: 1_000,
            ..nowhere.scope.clone()
        };
        let private_addresses = vec!["127.0.0.1/32".parse().unwrap()];
        let transport: Arc<dyn Transport> = endpoint.clone();
        let authority = Outbound { scope, private_addresses, transport, is_authority: true, ..nowhere };
        (Arc::new(KeySets::new(authority, &[asked])), endpoint, clock)
    }

    /// Whether the keys that are had for a token have this id.
    async fn has(sets: Arc<KeySets>, id: &'static str) -> Result<bool> {
        let deadline = sets.authority.clock.now().plus(10_000);
        let context = CallContext { deadline, observer: None, event: None, operation: None };
        Ok(sets.keys(&context, "{keys}/jwks", "RS256", Some(id)).await?.has(Some(id)))
    }

    #[tokio::test]
    async fn a_known_key_serves_while_a_stranger_s_is_asked_for() {
        let (sets, endpoint, clock) = scene(1);
        assert!(has(sets.clone(), "k1").await.unwrap());
        clock.advance(FRESH_MS);
        let strangers = [tokio::spawn(has(sets.clone(), "k2")), tokio::spawn(has(sets.clone(), "k3"))];
        endpoint.asked(2).await;
        assert!(has(sets.clone(), "k1").await.unwrap());
        endpoint.permits.add_permits(1);
        for stranger in strangers {
            assert!(!stranger.await.unwrap().unwrap());
        }
        assert_eq!(endpoint.asked.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn what_was_asked_for_comes_although_its_asker_has_gone() {
        let (sets, endpoint, _clock) = scene(0);
        let asker = tokio::spawn(has(sets.clone(), "k1"));
        endpoint.asked(1).await;
        asker.abort();
        assert!(asker.await.unwrap_err().is_cancelled());
        endpoint.permits.add_permits(1);
        assert!(has(sets, "k1").await.unwrap());
        assert_eq!(endpoint.asked.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn who_waits_for_another_s_question_waits_no_longer_than_it_may() {
        let (sets, endpoint, clock) = scene(0);
        let asker = tokio::spawn(has(sets.clone(), "k1"));
        endpoint.asked(1).await;
        let mut waiting = Box::pin(has(sets, "k2"));
        tokio::select! {
            biased;
            had = &mut waiting => panic!("it did not wait: {had:?}"),
            () = tokio::task::yield_now() => {}
        }
        clock.advance(10_000);
        assert_eq!(*waiting.await.unwrap_err().kind(), Kind::Deadline);
        asker.abort();
    }
}
