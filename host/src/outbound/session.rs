//! The tokens of a connected account: read, renewed once for everybody who needs them, and never lost.
//!
//! One [`Tokens`] stands for one account and credential in this process, whatever the number of connections; other
//! processes share the sealed record. Whoever renews holds a lease, and what comes back is stored before anybody uses it.
//! A renewal runs as a task of its own: a call that is cancelled in the middle does not take the provider's answer along,
//! and a program that ends in order waits for it.
//! The refresh token that was used stays behind the new one until that has worked, for a process may end between the
//! provider's answer and the store. Where a provider accepts an old refresh token until the new one was used (RFC 9700,
//! 4.14.2, lets it), nothing can be lost; where it does not, that moment is the one that no client can close.
//! `session/model.rs` goes over every order of events with two renewers; a test kills processes at every step.

#[cfg(test)]
mod model;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use serde_json::Value;
use url::{Url, form_urlencoded};
use zeroize::Zeroizing;

use super::scope::Asked;
use super::sending::SECRET_VERSIONS;
use super::{CallContext, CredentialChoice, Made, Method, Outbound, Repeat, Request, place};
use crate::account::ExternalToken;
use crate::auth::oauth2::{self, Connected, Consent, Due, Exchange, Fixed, TokenAnswer, TokenSet};
use crate::auth::scopes::Needed;
use crate::auth::{Credential, self_signed};
use crate::error::{Error, Kind, RequestSent, Result};
use crate::manifest::{BodyForm, Oauth2Facts, Oauth2Flow, Purpose, endpoint_parts};
use crate::observe::audit::{AuditAction, AuditEntry};
use crate::observe::trace::carry;
use crate::text::{shown, toml_list};
use crate::time::{BoxFuture, Clock, Timestamp};
use crate::vault::{Sealed, Secrets};

/// Milliseconds after a renewal that failed, or whose token is refused like the one before, in which nobody tries another.
const COOL_DOWN_MS: u64 = 30_000;
/// Milliseconds for one exchange with the token endpoint, its retries included.
const EXCHANGE_MS: u64 = 60_000;
/// Seconds that an assertion is good for.
const ASSERTION_S: u64 = 300;
/// Milliseconds that a process which renews keeps others from doing so: longer than an exchange takes.
const LEASE_MS: u64 = EXCHANGE_MS + 15_000;
/// Milliseconds to wait for another process that renews, before its work is looked for again.
const LOOK_MS: u64 = 200;
/// Milliseconds that a call waits for the renewal of a token that still serves.
const PATIENCE_MS: u64 = 2_000;
/// How often a renewal begins anew because somebody else was faster.
const ROUNDS_MAX: u32 = 1_000;

/// The name of the client's own proof on the host's path to the token endpoint.
pub(crate) const CLIENT: &str = "client";

/// The tokens of one account and credential, as this process knows them.
pub(crate) struct Tokens {
    owner: String,
    credential: String,
    /// The name of the record that holds them.
    record: String,
    /// Who this process is, among those that share the store.
    holder: String,
    sealed: Sealed,
    clock: Arc<dyn Clock>,
    held: Mutex<Option<(u64, Arc<TokenSet>)>>,
    /// How often they became those of another connecting, or were gone.
    changes: AtomicU64,
    /// Held by whoever renews; in it, the last renewal that failed.
    single: Arc<tokio::sync::Mutex<Option<Failure>>>,
    /// The last version that came because the provider refused the one before it, and when.
    replaced: Mutex<Option<(u64, Timestamp)>>,
}

/// The right to renew.
type Turn = tokio::sync::OwnedMutexGuard<Option<Failure>>;

struct Failure {
    at: Timestamp,
    version: u64,
    error: Error,
}

/// An access token with the version of the record it stands in.
pub(crate) struct Access {
    pub(crate) token: Zeroizing<String>,
    /// None of one that was handed in: nobody here can renew it.
    pub(crate) version: Option<u64>,
    /// What the redirect said besides.
    pub(crate) captured: BTreeMap<String, String>,
}

/// One connection's use of an account's tokens.
pub(crate) struct Session {
    tokens: Arc<Tokens>,
    facts: Oauth2Facts,
    connection: String,
    scopes: Vec<String>,
    /// The account whose `scopes` these are, where it states them.
    stated_by: Option<String>,
    /// The host's own path to the provider's endpoints.
    authority: Outbound,
    secrets: Arc<Secrets>,
    fixed: Fixed,
    places: Vec<(String, Url)>,
    /// The version of the tokens that the mask knows; 0 for none.
    masked: AtomicU64,
    /// A token that was handed in, and a name for the answers to it.
    given: Option<(ExternalToken, String)>,
}

/// What wants scopes.
pub(crate) enum What<'a> {
    /// An operation.
    Operation(&'a str),
    /// A poll.
    Poll(&'a str),
}

/// What became of tokens that were to be revoked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Revoked {
    /// The provider revoked them, and they are gone here.
    Told,
    /// They are gone here; the provider has no endpoint for it.
    RemovedLocally,
    /// There were none.
    Nothing,
}

/// How the tokens of a connection stand.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TokenState {
    /// They serve, until then where that is known.
    Ready {
        /// The end of the access token, which is renewed before.
        until: Option<Timestamp>,
    },
    /// A person must connect the account: why.
    NeedsConnecting {
        /// A sentence.
        why: String,
    },
    /// Renewing fails, and it is tried again at that time.
    Failing {
        /// A sentence.
        why: String,
        /// Not before.
        retry_at: Timestamp,
    },
}

impl What<'_> {
    /// The line of a `wharfage.toml` that states it.
    fn line(&self, connection: &str) -> String {
        match self {
            Self::Operation(name) => format!("operations = [\"{}\"]", shown(name)),
            Self::Poll(name) => format!("[connections.{connection}.polls.{}]", shown(name)),
        }
    }
}

impl std::fmt::Display for What<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Operation(name) => f.write_str(&shown(name)),
            Self::Poll(name) => write!(f, "the poll {}", shown(name)),
        }
    }
}

impl Tokens {
    /// Those of an owner, as `account acme`.
    pub(crate) fn new(owner: &str, credential: &str, sealed: Sealed, clock: Arc<dyn Clock>) -> Result<Self> {
        Ok(Self {
            owner: owner.to_owned(),
            credential: credential.to_owned(),
            record: format!("oauth2 {credential}"),
            holder: crate::random::name()?,
            sealed,
            clock,
            held: Mutex::default(),
            changes: AtomicU64::new(0),
            single: Arc::default(),
            replaced: Mutex::default(),
        })
    }

    fn held(&self) -> Option<(u64, Arc<TokenSet>)> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn hold(&self, version: u64, set: &Arc<TokenSet>) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        // What was read before somebody wrote is not put in the place of what they wrote.
        if held.as_ref().is_none_or(|(known, _)| *known < version) {
            let before = held.replace((version, set.clone()));
            if before.is_some_and(|(_, before)| before.identity != set.identity) {
                self.changes.fetch_add(1, Ordering::Release);
            }
        }
    }

    fn drop_held(&self) {
        if self.held.lock().unwrap_or_else(PoisonError::into_inner).take().is_some() {
            self.changes.fetch_add(1, Ordering::Release);
        }
    }

    fn replaced(&self) -> MutexGuard<'_, Option<(u64, Timestamp)>> {
        self.replaced.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn read(&self) -> Result<Option<(u64, Arc<TokenSet>)>> {
        let Some(record) = self.sealed.read(&self.owner, &self.record).await? else {
            self.drop_held();
            return Ok(None);
        };
        let set = serde_json::from_slice(&record.value).map_err(|_| {
            Error::new(Kind::CredentialUnavailable, format!("the tokens of {} cannot be read", self.owner))
                .with_details("They were written by another version of this program. Nothing was taken away")
        })?;
        let set = Arc::new(set);
        self.hold(record.version, &set);
        Ok(Some((record.version, set)))
    }

    async fn write(&self, expected: u64, set: &Arc<TokenSet>) -> Result<Option<u64>> {
        let text = Zeroizing::new(serde_json::to_vec(&**set).map_err(|_| Error::internal("tokens have no JSON"))?);
        let version = self.sealed.write(&self.owner, &self.record, expected, &text).await?;
        if let Some(version) = version {
            self.hold(version, set);
        }
        Ok(version)
    }

    /// Waits until no renewal is under way; it ends by itself. What the provider gives is lost to a process that ends before.
    pub(crate) async fn settled(&self) {
        drop(self.single.lock().await);
    }

    fn lease_name(&self) -> String {
        format!("{}/{}", self.owner, self.record)
    }
}

impl Session {
    /// A connection's use of `tokens`. `authority` is the host's own path, over which only the provider's endpoints are
    /// reached; `asked` says where the manifest's origins are.
    pub(crate) fn new(
        tokens: Arc<Tokens>,
        facts: &Oauth2Facts,
        connection: &str,
        scopes: Vec<String>,
        authority: Outbound,
        asked: &[Asked],
    ) -> Result<Self> {
        let places: Vec<(String, Url)> = asked.iter().map(|asked| (asked.name.clone(), asked.base.clone())).collect();
        let fixed = fixed(facts, &places)?;
        let secrets = authority.secrets.clone();
        let facts = facts.clone();
        let (connection, masked) = (connection.to_owned(), AtomicU64::new(0));
        let (given, stated_by) = (None, None);
        Ok(Self { tokens, facts, connection, scopes, stated_by, authority, secrets, fixed, places, masked, given })
    }

    /// With scopes that this account states.
    pub(crate) fn stated_by(mut self, account: Option<String>) -> Self {
        self.stated_by = account;
        self
    }

    /// With a token that was handed in, which goes before whatever is stored.
    pub(crate) fn with_access(mut self, given: Option<ExternalToken>) -> Result<Self> {
        if let Some(given) = given {
            self.secrets.learn(&self.tokens.record, [&given.token.0]);
            self.given = Some((given, crate::random::name()?));
        }
        Ok(self)
    }

    /// What the manifest says of it.
    pub(crate) fn facts(&self) -> &Oauth2Facts {
        &self.facts
    }

    /// Of which connecting the tokens are: answers that were kept for another serve nobody.
    pub(crate) async fn identity(&self) -> Result<Option<String>> {
        if let Some(known) = self.known_identity() {
            return Ok(Some(known));
        }
        self.tokens.read().await?;
        Ok(self.known_identity())
    }

    /// The same, if the tokens were read before.
    pub(crate) fn known_identity(&self) -> Option<String> {
        if let Some((_, identity)) = &self.given {
            return Some(identity.clone());
        }
        self.tokens.held().map(|(_, set)| set.identity.clone())
    }

    /// How often the tokens became those of another connecting, as far as this process has seen it.
    pub(crate) fn changes(&self) -> u64 {
        self.tokens.changes.load(Ordering::Acquire)
    }

    /// An endpoint that a manifest writes `{origin}/path`, as it is over this connection.
    pub(crate) fn endpoint(&self, written: &str) -> Result<Url> {
        resolve(&self.places, written)
    }

    /// Refuses where the connection does not grant what a sign-in ends with: asking the token endpoint.
    ///
    /// # Errors
    /// [`Kind::PolicyDenied`] with the line that would allow it.
    pub(crate) fn check(&self) -> Result<()> {
        let request = Request { method: Method::Post, ..Request::get(&self.facts.token) };
        self.authority.scope.check(request).map(drop)
    }

    /// The client's id.
    pub(crate) async fn client_id(&self) -> Result<Zeroizing<String>> {
        self.secrets.value(&self.facts.client_id, Purpose::Credential).await
    }

    /// Refuses what needs scopes that were not granted. Where nothing was granted yet, a request says so.
    ///
    /// # Errors
    /// [`Kind::ReauthorizationNeeded`] with the line that would allow it.
    pub(crate) async fn check_scopes(&self, what: &What<'_>, needed: Needed<'_>) -> Result<()> {
        if self.given.is_some() || self.tokens.held().is_some_and(|(_, set)| needed.is_served(&set.granted)) {
            return Ok(());
        }
        // Another process may have connected the account anew.
        let Some((_, set)) = self.tokens.read().await? else { return Ok(()) };
        if needed.is_served(&set.granted) {
            return Ok(());
        }
        let lacking: Vec<String> = needed.lacking(&set.granted).into_iter().map(shown).collect();
        let (connect, name) = (format!("wharfage connect {}", self.connection), &self.connection);
        let help = match &self.stated_by {
            Some(account) if !needed.is_served(&self.scopes) => {
                let asked: Vec<String> = self.scopes.iter().chain(&lacking).cloned().collect();
                format!(
                    "To allow it, set in [accounts.{account}] of wharfage.toml, and ask for it:   scopes = {}\n{connect}",
                    toml_list(&asked)
                )
            }
            None if !needed.is_served(&self.scopes) => {
                let line = what.line(name);
                format!("To allow it, add to wharfage.toml, and ask for it:   {line}\n{connect}")
            }
            _ => format!("To allow it, ask for it:   {connect}"),
        };
        let plural = if lacking.len() > 1 { "s" } else { "" };
        let message = format!(
            "{what} needs the scope{plural} `{}`, which connection `{name}` was not granted",
            lacking.join("`, `")
        );
        Err(Error::new(Kind::ReauthorizationNeeded, message).with_details(help))
    }

    /// As [`Tokens::settled`].
    pub(crate) async fn settled(&self) {
        self.tokens.settled().await;
    }

    /// How the tokens stand, without asking the provider.
    pub(crate) async fn state(&self) -> Result<TokenState> {
        if self.given.is_some() {
            return Ok(TokenState::Ready { until: None });
        }
        let needs = |error: &Error| TokenState::NeedsConnecting { why: error.message().to_owned() };
        let Some((version, set)) = self.tokens.read().await? else {
            return Ok(match self.needs_person() {
                true => needs(&self.not_connected()),
                false => TokenState::Ready { until: None },
            });
        };
        if let Err(error) = self.check_fixed(&set) {
            return Ok(needs(&error));
        }
        if let Some(why) = &set.refused {
            return Ok(needs(&self.connect_again(why)));
        }
        if let Ok(failure) = self.tokens.single.try_lock()
            && let Some(failure) = failure.as_ref().filter(|failure| failure.version == version)
        {
            let why = failure.error.message().to_owned();
            return Ok(TokenState::Failing { why, retry_at: failure.at.plus(COOL_DOWN_MS) });
        }
        Ok(TokenState::Ready { until: Connected::of(&set).until })
    }

    /// An access token that serves. `rejected` is the version whose token the provider did not accept.
    ///
    /// # Errors
    /// [`Kind::ReauthorizationNeeded`] when only a person can help; else whatever the exchange ended with.
    pub(crate) fn access(self: &Arc<Self>, rejected: Option<u64>) -> BoxFuture<'static, Result<Access>> {
        let session = self.clone();
        Box::pin(async move {
            if let Some((given, _)) = &session.given {
                let (token, captured) = (given.token.0.clone(), given.captured.clone());
                return Ok(Access { token, version: None, captured });
            }
            let now = session.tokens.clock.now();
            let mut held = session.tokens.held();
            if held.as_ref().is_some_and(|(_, set)| session.check_fixed(set).is_err()) {
                // It may have been approved meanwhile, in another process. No renewal is waited for to see that.
                held = session.tokens.read().await?;
                if let Some((_, set)) = &held {
                    session.check_fixed(set)?;
                }
            }
            let mut may_serve = None;
            if let Some((version, set)) = held
                && rejected != Some(version)
            {
                match set.due(now) {
                    Due::No => return Ok(session.give(version, &set)),
                    Due::Soon if set.refused.is_none() => may_serve = Some(session.give(version, &set)),
                    Due::Soon | Due::Now => {}
                }
            }
            // Taken here, so that whoever looks from now on knows of the renewal.
            let turn = session.tokens.single.clone().try_lock_owned().ok();
            // Whoever comes while it is renewed does not wait for it.
            if turn.is_none()
                && let Some(access) = may_serve
            {
                return Ok(access);
            }
            let clock = session.tokens.clock.clone();
            let renewing = async move { session.renew(rejected, turn).await };
            let renewing = tokio::spawn(carry(renewing));
            let failed = |_| Error::internal("the renewal of a token failed");
            let Some(access) = may_serve else { return renewing.await.map_err(failed)? };
            tokio::select! {
                biased;
                renewed = renewing => match renewed.map_err(failed)? {
                    // It did not come as far as the provider, as where the disk is full.
                    Err(error) if *error.kind() != Kind::ReauthorizationNeeded => {
                        serves_on(&error);
                        Ok(access)
                    }
                    renewed => renewed,
                },
                // A provider that does not answer holds nobody up; the renewal goes on.
                () = clock.alarm(now.plus(PATIENCE_MS)) => Ok(access),
            }
        })
    }

    /// Whether another token may help where the provider refused the one of this version. It was not the token where a new
    /// one is refused as well: without a pause, each request would have the tokens renewed.
    pub(crate) fn may_renew(&self, version: u64) -> bool {
        let replaced = *self.tokens.replaced();
        let now = self.tokens.clock.now();
        replaced.is_none_or(|(renewed, at)| renewed != version || now >= at.plus(COOL_DOWN_MS))
    }

    fn give(&self, version: u64, set: &TokenSet) -> Access {
        if self.masked.load(Ordering::Acquire) != version {
            self.secrets.learn(&self.tokens.record, set.values());
            self.masked.store(version, Ordering::Release);
        }
        Access { token: set.access().clone(), version: Some(version), captured: set.extra.clone() }
    }

    async fn renew(&self, rejected: Option<u64>, turn: Option<Turn>) -> Result<Access> {
        let tokens = &self.tokens;
        let mut last = match turn {
            Some(turn) => turn,
            None => tokens.single.clone().lock_owned().await,
        };
        let began = tokens.clock.now();
        for _ in 0..ROUNDS_MAX {
            let now = tokens.clock.now();
            let read = tokens.read().await?;
            let version = read.as_ref().map_or(0, |(version, _)| *version);
            let mut may_serve = None;
            match &read {
                None if self.needs_person() => return Err(self.not_connected()),
                None => {}
                Some((version, set)) => {
                    self.check_fixed(set)?;
                    let due = set.due(now);
                    let is_rejected = rejected == Some(*version);
                    if due == Due::No && !is_rejected {
                        return Ok(self.give(*version, set));
                    }
                    may_serve = (due != Due::Now && !is_rejected).then(|| self.give(*version, set));
                    if let Some(why) = &set.refused {
                        return may_serve.ok_or_else(|| self.connect_again(why));
                    }
                }
            }
            if let Some(failure) = last.as_ref().filter(|failure| {
                failure.version == version && failure.at <= now && now < failure.at.plus(COOL_DOWN_MS)
            }) {
                let error = failure.error.clone().with_retry_at(Some(failure.at.plus(COOL_DOWN_MS)));
                return may_serve.ok_or(error);
            }
            step("due");
            if !tokens.sealed.lease(&tokens.lease_name(), &tokens.holder, LEASE_MS).await? {
                if let Some(access) = may_serve {
                    return Ok(access);
                }
                if now.since(began) > LEASE_MS {
                    return Err(Error::new(Kind::Timeout, "another process has been renewing the token for too long"));
                }
                tokens.clock.sleep_until(now.plus(LOOK_MS)).await;
                continue;
            }
            step("leased");
            // Somebody may have renewed between the reading and the lease.
            let changed = tokens.read().await?.map_or(0, |(version, _)| version) != version;
            let ended = match (changed, &read) {
                (true, _) => Ok(None),
                (false, Some((_, set))) => self.refresh(version, set).await,
                (false, None) => self.obtain(0, None).await,
            };
            // What came of it counts all the same: a lease that was not given back ends by itself.
            let _ = tokens.sealed.release(&tokens.lease_name(), &tokens.holder).await;
            step("given back");
            match ended {
                Ok(Some((renewed, set))) => {
                    *last = None;
                    if rejected == Some(version) {
                        *tokens.replaced() = Some((renewed, tokens.clock.now()));
                    }
                    return Ok(self.give(renewed, &set));
                }
                Ok(None) => {}
                Err(error) => {
                    *last = Some(Failure { at: tokens.clock.now(), version, error: error.clone() });
                    if may_serve.is_some() {
                        serves_on(&error);
                    }
                    return may_serve.ok_or(error);
                }
            }
        }
        Err(Error::internal("the token's record kept changing"))
    }

    /// New tokens for the refresh token of this record; nothing where somebody else was faster.
    async fn refresh(&self, version: u64, set: &Arc<TokenSet>) -> Result<Option<(u64, Arc<TokenSet>)>> {
        // A refusal may repeat them, and after a start nobody has given them yet.
        self.secrets.learn(&self.tokens.record, set.values());
        let refreshes = set.refreshes();
        if refreshes.is_empty() {
            return match self.needs_person() {
                true => Err(self.connect_again("its access token has ended, and the provider gave no refresh token")),
                false => self.obtain(version, Some(set)).await,
            };
        }
        let mut refused = None;
        for token in refreshes {
            match self.exchange(Exchange::Refresh { token: token.clone() }, &self.scopes).await {
                Ok(answer) => {
                    step("answered");
                    let renewed = Arc::new(set.renewed(&token, answer, self.tokens.clock.now()));
                    return self.put(version, set, renewed).await;
                }
                Err(error) if error.provider_code() == Some("invalid_grant") => {
                    // Another process may have used the token first; then what it got is here.
                    if self.tokens.read().await?.map_or(0, |(version, _)| version) != version {
                        return Ok(None);
                    }
                    refused.get_or_insert(error);
                }
                Err(error) => return Err(error),
            }
        }
        let why = refused.map(|error| error.message().to_owned()).unwrap_or_default();
        let mut marked = (**set).clone();
        marked.refused = Some(why.clone());
        match self.tokens.write(version, &Arc::new(marked)).await? {
            Some(_) => Err(self.connect_again(&why)),
            None => Ok(None),
        }
    }

    /// Stores what the provider gave. Where the record changed meanwhile and still holds the token that was used, it was
    /// only marked, and what the provider gave goes over it.
    async fn put(
        &self,
        mut version: u64,
        before: &TokenSet,
        renewed: Arc<TokenSet>,
    ) -> Result<Option<(u64, Arc<TokenSet>)>> {
        loop {
            if let Some(version) = self.tokens.write(version, &renewed).await? {
                step("stored");
                return Ok(Some((version, renewed)));
            }
            match self.tokens.read().await? {
                Some((other, set)) if other != version && set.refreshes() == before.refreshes() => version = other,
                _ => return Ok(None),
            }
        }
    }

    /// First tokens where nobody signs in.
    async fn obtain(&self, version: u64, before: Option<&TokenSet>) -> Result<Option<(u64, Arc<TokenSet>)>> {
        let exchange = Exchange::without_person(self.facts.flow).ok_or_else(|| self.not_connected())?;
        // What was asked for when it was connected is asked for again: other connections of the account live on it.
        let scopes = before.map_or(&self.scopes, |set| &set.asked);
        let answer = self.exchange(exchange, scopes).await?;
        let identity = before.map_or_else(crate::random::name, |set| Ok(set.identity.clone()))?;
        let extra = before.map(|set| set.extra.clone()).unwrap_or_default();
        // What was approved for them stays so.
        let fixed = before.map_or(&self.fixed, |set| &set.fixed).clone();
        let now = self.tokens.clock.now();
        let set = Arc::new(TokenSet::first(answer, scopes.clone(), extra, fixed, identity, now));
        Ok(self.tokens.write(version, &set).await?.map(|version| (version, set)))
    }

    /// Stores the tokens of an account that was connected. They replace whatever was there.
    ///
    /// # Errors
    /// When the store cannot keep them.
    pub(crate) async fn keep(
        &self,
        answer: TokenAnswer,
        consent: Consent,
        extra: BTreeMap<String, String>,
    ) -> Result<Connected> {
        let now = self.tokens.clock.now();
        let Consent { scopes, fixed } = consent;
        let set = Arc::new(TokenSet::first(answer, scopes, extra, fixed, crate::random::name()?, now));
        for _ in 0..ROUNDS_MAX {
            // What is there is replaced whether it opens or not: a person has just signed in.
            let version = self.tokens.sealed.version(&self.tokens.owner, &self.tokens.record).await?;
            if self.tokens.write(version, &set).await?.is_some() {
                *self.tokens.single.lock().await = None;
                self.tell(AuditAction::Connect, Ok(()));
                return Ok(Connected::of(&set));
            }
        }
        Err(Error::internal("the token's record kept changing"))
    }

    /// Revokes the tokens at the provider, where it has an endpoint for that (RFC 7009), and takes them away here.
    ///
    /// # Errors
    /// Whatever the provider answers; then they are still here.
    pub(crate) async fn revoke(&self) -> Result<Revoked> {
        let Some((_, set)) = self.tokens.read().await? else { return Ok(Revoked::Nothing) };
        let endpoint = self.facts.revoke.as_deref();
        if let Some(endpoint) = endpoint {
            self.check_fixed(&set)?;
            self.secrets.learn(&self.tokens.record, set.values());
            let (token, hint) = match set.refreshes().into_iter().next() {
                Some(refresh) => (refresh, "refresh_token"),
                None => (set.access().clone(), "access_token"),
            };
            let mut fields = vec![("token".to_owned(), token)];
            // RFC 7009 has the hint; whoever takes JSON has rules of their own.
            if self.facts.revoke_form == BodyForm::Form {
                fields.push(("token_type_hint".to_owned(), Zeroizing::new(hint.to_owned())));
            }
            self.post(endpoint, fields, self.facts.revoke_form).await?;
        }
        self.forget().await?;
        Ok(if endpoint.is_some() { Revoked::Told } else { Revoked::RemovedLocally })
    }

    /// Takes the tokens away here, whatever the provider thinks.
    pub(crate) async fn forget(&self) -> Result<bool> {
        let removed = self.tokens.sealed.remove(&self.tokens.owner, &self.tokens.record).await?;
        self.tokens.drop_held();
        if removed {
            self.tell(AuditAction::Disconnect, Ok(()));
        }
        Ok(removed)
    }

    /// Asks the token endpoint.
    ///
    /// # Errors
    /// The provider's refusal with its code and words, masked, or whatever a request can end with, without the answer's body.
    pub(crate) async fn exchange(&self, exchange: Exchange, scopes: &[String]) -> Result<TokenAnswer> {
        let assertion = match exchange {
            Exchange::Assertion => Some(self.assertion(scopes).await?),
            _ => None,
        };
        let answered = match exchange {
            Exchange::Signed => self.post_signed().await,
            _ => {
                let form = oauth2::form(&exchange, &self.facts, scopes, assertion);
                self.post(&self.facts.token, form, BodyForm::Form).await
            }
        };
        let mask = |text: &str| self.masked(text);
        let answered = answered.and_then(|body| TokenAnswer::parse(&body, &self.facts, &mask));
        // A sign-in is told when its tokens are kept; a device asks many times until a person has done it.
        if !matches!(exchange, Exchange::Code { .. } | Exchange::Device { .. }) {
            self.tell(AuditAction::Refresh, answered.as_ref().map(|_| ()));
        }
        let answer = answered?;
        self.secrets.learn(&self.tokens.record, answer.values());
        // These may have pushed others out.
        self.masked.store(0, Ordering::Release);
        Ok(answer)
    }

    /// Tells the audit trail what was done with the tokens.
    fn tell(&self, action: AuditAction, outcome: Result<(), &Error>) {
        let credential = self.tokens.credential.clone();
        let secrets = self.facts.secret.iter().cloned().collect();
        let origin = match action {
            AuditAction::Refresh => self.endpoint(&self.facts.token).map(|url| url.origin().ascii_serialization()),
            _ => Ok(String::new()),
        };
        let entry = self.authority.audit_context.entry(action, None);
        let entry = AuditEntry { credential, secrets, origin: origin.unwrap_or_default(), ..entry };
        self.authority.audit_context.tell(entry.came_to(outcome));
    }

    /// Asks another endpoint, as the one that gives device codes.
    ///
    /// # Errors
    /// As for [`Session::exchange`].
    pub(crate) async fn ask(&self, endpoint: &str, form: Vec<(String, Zeroizing<String>)>) -> Result<Value> {
        let body = self.post(endpoint, form, BodyForm::Form).await?;
        let value: Value = serde_json::from_slice(&body)
            .map_err(|_| Error::new(Kind::SchemaViolation, "the provider's endpoint answered no JSON"))?;
        match oauth2::refusal(&value, &|text: &str| self.masked(text)) {
            Some(error) => Err(error),
            None => Ok(value),
        }
    }

    /// What the client asserts, signed for a few minutes (RFC 7523, 3). Some providers read the scopes there.
    async fn assertion(&self, scopes: &[String]) -> Result<Zeroizing<String>> {
        let facts = self.facts.assertion.as_ref().ok_or_else(|| {
            Error::configuration("the manifest says nothing about the assertion: [credentials.x.assertion]")
        })?;
        let value = async |name: &Option<String>| match name {
            Some(name) => self.secrets.value(name, Purpose::Credential).await.map(Some),
            None => Ok(None),
        };
        let key = self.secrets.value(&facts.key, Purpose::Credential).await?;
        let (key_id, subject) = (value(&facts.key_id).await?, value(&facts.subject).await?);
        let issuer = match &facts.issuer {
            Some(issuer) => issuer.clone(),
            None => self.client_id().await?.to_string(),
        };
        let now = self.tokens.clock.wall();
        let key_id = key_id.as_ref().map(|id| id.as_str());
        if self.facts.flow == Oauth2Flow::Exchange {
            // Nothing beyond what is stated: whoever reads these is bound by no RFC to pass over others.
            let mut claims = serde_json::Map::new();
            let named = [("iss", Some(issuer.as_str())), ("aud", facts.audience.as_deref())];
            let named = named.into_iter().chain([("sub", subject.as_ref().map(|subject| subject.as_str()))]);
            claims.extend(named.filter_map(|(claim, value)| Some((claim.to_owned(), value?.into()))));
            self_signed::stamp(&mut claims, ASSERTION_S, now);
            return self.signed(&facts.algorithm, &key, &Value::Object(claims), key_id);
        }
        let now_s = now.as_millis() / 1_000;
        let mut claims = serde_json::json!({
            "iss": issuer,
            "sub": subject.as_ref().map_or(issuer.as_str(), |subject| subject.as_str()),
            "aud": facts.audience.as_deref().unwrap_or(&self.fixed.token),
            "iat": now_s,
            "exp": now_s + ASSERTION_S,
            "jti": crate::random::name()?,
        });
        if !scopes.is_empty() {
            claims["scope"] = scopes.join(oauth2::separator(&self.facts)).into();
        }
        self.signed(&facts.algorithm, &key, &claims, key_id)
    }

    fn signed(&self, algorithm: &str, key: &str, claims: &Value, key_id: Option<&str>) -> Result<Zeroizing<String>> {
        let signed = crate::auth::jwt::sign(algorithm, key, claims, key_id)?;
        self.secrets.learn("assertion", [&signed]);
        Ok(signed)
    }

    /// Asks the token endpoint with what the client asserts, as a bearer token.
    async fn post_signed(&self) -> Result<Zeroizing<Vec<u8>>> {
        let token = self.assertion(&[]).await?;
        let audience = self.authority.scope.origins.iter().map(|origin| origin.name.clone()).collect();
        let credential =
            CredentialChoice::Made(Arc::new(Made { credential: Credential::made(CLIENT, audience), token }));
        let headers = vec![("accept".to_owned(), "application/json".to_owned())];
        self.send(Request { headers, credential, ..Request::get(&self.token_url().await?) }).await
    }

    /// The token endpoint, with values where the names of secrets stand in its path.
    async fn token_url(&self) -> Result<String> {
        let mut url = self.endpoint(&self.facts.token)?;
        for name in self.facts.path_secrets() {
            let value = self.secrets.value(name, Purpose::Credential).await?;
            let filled = place::path(&url, name, &format!("{{{name}}}"), &value)?;
            url = Url::parse(&filled).map_err(|_| Error::internal("a token endpoint cannot be read"))?;
        }
        Ok(url.into())
    }

    /// A client secret in the form that the provider does not know gives way to the next one, as it does in a header.
    async fn post(
        &self,
        endpoint: &str,
        form: Vec<(String, Zeroizing<String>)>,
        body_form: BodyForm,
    ) -> Result<Zeroizing<Vec<u8>>> {
        let secret = self.facts.secret.as_ref().filter(|_| oauth2::client_in_form(&self.facts));
        let Some(secret) = secret else { return self.post_with(endpoint, form, body_form, None).await };
        let mut replaced = 0;
        loop {
            let value = self.secrets.value(secret, Purpose::Credential).await?;
            let answered = self.post_with(endpoint, form.clone(), body_form, Some(&value)).await;
            match &answered {
                Ok(_) => self.secrets.worked(secret, &value).await,
                Err(error) if replaced < SECRET_VERSIONS && error.provider_code() == Some("invalid_client") => {
                    replaced += 1;
                    if self.secrets.try_next(secret, &value).await {
                        continue;
                    }
                }
                Err(_) => {}
            }
            return answered;
        }
    }

    async fn post_with(
        &self,
        endpoint: &str,
        mut form: Vec<(String, Zeroizing<String>)>,
        body_form: BodyForm,
        secret: Option<&Zeroizing<String>>,
    ) -> Result<Zeroizing<Vec<u8>>> {
        let mut credential = CredentialChoice::Anonymous;
        if oauth2::client_in_form(&self.facts) {
            if !form.iter().any(|(name, _)| name == "client_id") {
                form.push(("client_id".to_owned(), self.client_id().await?));
            }
            form.extend(secret.map(|secret| ("client_secret".to_owned(), secret.clone())));
        } else {
            credential = CredentialChoice::Named(CLIENT.to_owned());
        }
        let (kind, body) = match body_form {
            BodyForm::Form => ("application/x-www-form-urlencoded", written(&form)),
            BodyForm::Json => ("application/json", object(&form)?),
        };
        let headers = [("content-type", kind), ("accept", "application/json")];
        let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        let body = Some(Bytes::from_owner(Wiped(body)));
        self.send(Request { headers, body, credential, ..Request::get(endpoint) }).await
    }

    async fn send(&self, request: Request) -> Result<Zeroizing<Vec<u8>>> {
        let request = Request {
            method: Method::Post,
            // A lost answer is worth a second question: the token that was used is not worth more than its answer.
            repeat: Repeat::Safe,
            is_confidential: true,
            ..request
        };
        let context = CallContext {
            deadline: self.tokens.clock.now().plus(EXCHANGE_MS),
            observer: None,
            event: None,
            operation: None,
        };
        match self.authority.send(&context, request.into()).await {
            Ok(response) => Ok(Zeroizing::new(Arc::unwrap_or_clone(response.body))),
            Err(error) => Err(self.told(error)),
        }
    }

    /// What a provider says, without what it was asked with. Its answer itself is not masked: see [`Outbound::mask`].
    fn masked(&self, text: &str) -> String {
        self.secrets.mask().text(text).into_owned()
    }

    /// An error of the token endpoint, with the provider's code and without its body.
    fn told(&self, error: Error) -> Error {
        let body: Option<Value> = error.body().and_then(|body| serde_json::from_str(body).ok());
        let refused = body.as_ref().and_then(|body| oauth2::refusal(body, &|text: &str| self.masked(text)));
        match refused {
            // A refusal to a client in trouble is that, whatever else it says.
            Some(refused) if !matches!(error.kind(), Kind::RateLimited | Kind::Transient) => {
                refused.with_request_sent(RequestSent::Yes).with_status(error.status()).with_attempts(error.attempts())
            }
            _ => {
                let message = format!("the token endpoint did not answer well: {}", self.masked(error.message()));
                let told = Error::new(error.kind().clone(), message)
                    .with_request_sent(error.request_sent())
                    .with_status(error.status())
                    .with_retry_at(error.retry_at())
                    .with_attempts(error.attempts());
                match error.details() {
                    Some(details) => told.with_details(self.masked(details)),
                    None => told,
                }
            }
        }
    }

    fn needs_person(&self) -> bool {
        matches!(self.facts.flow, Oauth2Flow::AuthorizationCode | Oauth2Flow::DeviceCode)
    }

    /// Refuses tokens whose audience or endpoints are not those that were approved (R12).
    fn check_fixed(&self, set: &TokenSet) -> Result<()> {
        let Some(difference) = set.fixed.difference(&self.fixed) else { return Ok(()) };
        let before = match self.needs_person() {
            true => "was approved",
            false => "its tokens were obtained for",
        };
        Err(self.person_needed(
            format!("the plugin of connection `{}` wants other than what {before}: {difference}", self.connection),
            "If that is right, approve it",
        ))
    }

    /// What a request is refused with whose path wants what the sign-in did not leave behind.
    pub(crate) fn has_not_captured(&self, name: &str) -> Error {
        self.connect_again(&format!("its sign-in did not say `{}`, which the plugin needs", crate::text::shown(name)))
    }

    fn not_connected(&self) -> Error {
        self.person_needed(format!("connection `{}` is not connected yet", self.connection), "Connect it")
    }

    fn connect_again(&self, why: &str) -> Error {
        self.person_needed(
            format!("connection `{}` must be connected again: {why}", self.connection),
            "Connect it again",
        )
    }

    /// What only a person can end, with the command for it.
    fn person_needed(&self, message: String, what: &str) -> Error {
        Error::new(Kind::ReauthorizationNeeded, message)
            .with_details(format!("{what}:   wharfage connect {}", self.connection))
    }
}

/// Tells that a renewal failed which nothing depends on yet.
fn serves_on(error: &Error) {
    tracing::warn!(target: "wharfage::oauth2", "renewing failed, the token serves on: {}", error.message());
}

/// Tells where a renewal stands. A process may end at each of these steps, and no token is lost by it.
fn step(name: &'static str) {
    tracing::trace!(target: "wharfage::oauth2", step = name);
}

fn written(form: &[(String, Zeroizing<String>)]) -> Zeroizing<Vec<u8>> {
    let mut text = form_urlencoded::Serializer::new(String::new());
    for (name, value) in form {
        text.append_pair(name, value);
    }
    Zeroizing::new(text.finish().into_bytes())
}

/// The same as a JSON object.
fn object(form: &[(String, Zeroizing<String>)]) -> Result<Zeroizing<Vec<u8>>> {
    let fields: BTreeMap<&str, &str> = form.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    serde_json::to_vec(&fields).map(Zeroizing::new).map_err(|_| Error::internal("a token has no JSON"))
}

/// A body's bytes, wiped when the last who holds them is done.
struct Wiped(Zeroizing<Vec<u8>>);

impl AsRef<[u8]> for Wiped {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// Where tokens go and are renewed, with the manifest's origins at these places.
pub(crate) fn fixed(facts: &Oauth2Facts, places: &[(String, Url)]) -> Result<Fixed> {
    let at = |name: &String| places.iter().find(|(place, _)| place == name).map(|(_, url)| url.to_string());
    Ok(Fixed {
        audience: facts.origins.iter().filter_map(at).collect(),
        token: resolve(places, &facts.token)?.to_string(),
        revoke: facts.revoke.as_deref().map(|revoke| resolve(places, revoke)).transpose()?.map(String::from),
    })
}

pub(super) fn resolve(places: &[(String, Url)], written: &str) -> Result<Url> {
    let wrong =
        || Error::configuration(format!("`{}` is no endpoint: write {{origin}}/path", crate::text::shown(written)));
    let (name, path) = endpoint_parts(written).ok_or_else(wrong)?;
    let (_, base) = places.iter().find(|(place, _)| place == name).ok_or_else(wrong)?;
    Url::parse(&format!("{}{path}", base.as_str().trim_end_matches('/'))).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::MemoryStore;
    use crate::time::ManualClock;

    /// A renewal takes a lease first, and a full disk has no room for one.
    #[tokio::test]
    async fn a_token_that_serves_is_given_also_where_no_renewal_can_begin() {
        let (store, clock) = (Arc::new(MemoryStore::default()), ManualClock::new(Timestamp::from_millis(1_000), 1));
        let sealed = Sealed::new(store.clone(), None, Arc::new(clock.clone()));
        let tokens = Tokens::new("account acme", "account", sealed, Arc::new(clock.clone())).unwrap();
        let facts: Oauth2Facts = toml::from_str("token = '{auth}/token'\nclient_id = 'id'\norigins = []").unwrap();
        let secrets = Arc::new(Secrets::new("p", "acme", BTreeMap::new()));
        let nowhere = Outbound::nowhere(secrets, Arc::new(clock.clone()));
        let base = Url::parse("https://auth.test").unwrap();
        let asked = Asked { name: "auth".to_owned(), base, methods: Vec::new(), paths: Vec::new() };
        let session = Session::new(Arc::new(tokens), &facts, "acme", Vec::new(), nowhere, &[asked]).unwrap();
        let session = Arc::new(session);
        let answer = br#"{"access_token":"a1","refresh_token":"r1","expires_in":3600}"#;
        let consent = Consent { scopes: Vec::new(), fixed: session.fixed.clone() };
        let answer = TokenAnswer::parse(answer, &facts, &str::to_owned).unwrap();
        session.keep(answer, consent, BTreeMap::new()).await.unwrap();
        store.is_full.store(true, Ordering::SeqCst);
        clock.advance(3_400_000);
        assert_eq!(session.access(None).await.unwrap().token.as_str(), "a1");
        clock.advance(200_000);
        assert!(session.access(None).await.is_err(), "it has ended");
    }
}
