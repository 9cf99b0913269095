//! A provider's public keys (RFC 7517): fetched over the host's own path, held, and asked for again seldom.
//!
//! Whoever sends a token with a key id that nobody knows makes the host ask the provider for its keys, so it does so at
//! most once a minute, whatever the number of tokens (R20). A set is read anew after an hour, so that a key that the
//! provider took back goes; while the provider is in trouble the keys that were there serve on, for a day at most.

use std::collections::BTreeMap;
use std::sync::Arc;

use url::Url;

use super::scope::Asked;
use super::session::resolve;
use super::{CallContext, CredentialChoice, Outbound, Request};
use crate::auth::jwt::Keys;
use crate::error::{Error, Kind, Result};
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
    held: tokio::sync::Mutex<BTreeMap<String, Held>>,
}

#[derive(Default)]
struct Held {
    set: Option<(Timestamp, Arc<Vec<u8>>)>,
    asked_at: Option<Timestamp>,
}

impl KeySets {
    pub(crate) fn new(authority: Outbound, asked: &[Asked]) -> Self {
        let places = asked.iter().map(|asked| (asked.name.clone(), asked.base.clone())).collect();
        Self { authority, places, held: tokio::sync::Mutex::default() }
    }

    /// The keys at an endpoint that are for this algorithm, asked for again if none has this id.
    ///
    /// # Errors
    /// [`Kind::Transient`] when they were asked for in vain a moment ago; else whatever a request can end with.
    pub(crate) async fn keys(
        &self,
        context: &CallContext,
        endpoint: &str,
        algorithm: &str,
        id: Option<&str>,
    ) -> Result<Keys> {
        let mut all = self.held.lock().await;
        let held = all.entry(endpoint.to_owned()).or_default();
        let now = self.authority.clock.now();
        let age_ms = held.set.as_ref().map(|(at, _)| now.since(*at));
        let known = held.set.as_ref().map(|(_, set)| Keys::of_set(algorithm, set)).transpose()?;
        let known = known.filter(|_| age_ms.is_some_and(|age_ms| age_ms < SERVES_MS));
        if let Some(keys) = &known
            && keys.has(id)
            && age_ms.is_some_and(|age_ms| age_ms < FRESH_MS)
        {
            return Ok(keys.clone());
        }
        if let Some(next) = held.asked_at.map(|at| at.plus(ASKED_MS_MIN)).filter(|next| now < *next) {
            return known.ok_or_else(|| {
                Error::new(Kind::Transient, "the provider's keys could not be had a moment ago")
                    .with_retry_at(Some(next))
            });
        }
        held.asked_at = Some(now);
        let fetched = self.fetch(context, endpoint).await.and_then(|set| Ok((Keys::of_set(algorithm, &set)?, set)));
        match (fetched, known) {
            (Ok((keys, set)), _) => {
                held.set = Some((now, Arc::new(set)));
                Ok(keys)
            }
            (Err(_), Some(known)) if known.has(id) => Ok(known),
            (Err(error), _) => Err(error),
        }
    }

    async fn fetch(&self, context: &CallContext, endpoint: &str) -> Result<Vec<u8>> {
        let request = Request {
            headers: vec![("accept".to_owned(), "application/json".to_owned())],
            credential: CredentialChoice::Anonymous,
            is_confidential: true,
            ..Request::get(resolve(&self.places, endpoint)?.as_str())
        };
        Ok(Arc::unwrap_or_clone(self.authority.send(context, request.into()).await?.body))
    }
}
