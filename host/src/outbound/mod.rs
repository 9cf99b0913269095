//! How anything leaves this process: one path, in one order, on one screen.
//!
//! `send` asks for an answer, `send_over_attempts` goes over attempts and hops, and `attempt` is the way there and back.
//! Each step takes the type that the step before made, so leaving one out does not compile. A retry and a redirect hop
//! start again at scope; nothing signed is used twice. Nothing here knows of WebAssembly.
//!
//! Each step has its file. Beside them are what they hand on (`request.rs`), whom it is for (`context.rs`), what is
//! remembered over attempts (`sending.rs`) and what is told (`tell.rs`).

pub(crate) mod address;
pub(crate) mod admit;
mod audience;
mod body;
pub(crate) mod breaker;
pub(crate) mod buckets;
pub(crate) mod cache;
pub(crate) mod circuit;
pub(crate) mod classify;
pub(crate) mod client;
mod context;
mod fields;
pub(crate) mod graphql;
pub(crate) mod hints;
pub(crate) mod key_sets;
mod object;
#[cfg(any(feature = "serve", feature = "trace"))]
pub(crate) mod own;
pub(crate) mod path_pattern;
mod place;
#[cfg(feature = "internals")]
#[doc(hidden)]
pub mod pure;
mod ready;
mod request;
pub(crate) mod retry;
pub(crate) mod scope;
pub(crate) mod secret_url;
mod sending;
pub(crate) mod session;
pub(crate) mod sign;
pub(crate) mod stream;
pub mod tape;
mod tell;
pub(crate) mod transport;
pub(crate) mod upgrade;
#[cfg(feature = "internals")]
mod walk;
mod wires;

use std::pin::pin;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};

use ipnet::IpNet;
use tokio::sync::Semaphore;
use url::Url;

use crate::auth::Credential;
use crate::error::{Error, Kind, RequestSent, Result};
use crate::limits::Limits;
use crate::manifest::RateHeaders;
use crate::observe::audit::{AuditContext, AuditEntry};
use crate::observe::metrics::Meter;
use crate::observe::refusals::Ring;
use crate::observe::trace::Here;
use crate::time::Clock;
use crate::vault::Secrets;

use self::address::Resolver;
use self::admit::BucketQueues;
use self::cache::Cache;
use self::circuit::{Circuits, Verdict};
use self::classify::{Answers, Outcome};
use self::key_sets::KeySets;
use self::ready::Ready;
use self::retry::RetryBudget;
use self::scope::Scope;
use self::sending::{CredentialVerdict, Next, Sending};
use self::session::Session;
use self::sign::SignedRequest;
use self::stream::Rest;
use self::tape::Tape;
use self::tell::{request_span, tell_attempt, tell_request};
use self::transport::{Answered, Transport};
use crate::mask::Mask;

pub use self::context::PathEvent;
pub(crate) use self::context::{CallContext, Observer, Running};
pub use self::request::Method;
pub(crate) use self::request::{CredentialChoice, KeyPlace, Made, Repeat, Request, Response};
pub use crate::observe::states::AnswerSource;

/// The outbound path of one connection.
pub(crate) struct Outbound {
    pub(crate) scope: Scope,
    pub(crate) private_addresses: Vec<IpNet>,
    pub(crate) credentials: Vec<Arc<Credential>>,
    pub(crate) answers: Answers,
    pub(crate) rate_headers: Vec<RateHeaders>,
    pub(crate) retry_header: Option<String>,
    pub(crate) idempotency: Option<KeyPlace>,
    /// Where the provider puts its id of a request, if not where most do.
    pub(crate) request_id_header: Option<String>,
    pub(crate) limits: Limits,
    /// Whether requests say which trace they are a part of.
    pub(crate) trace_context: bool,
    pub(crate) queues: BucketQueues,
    /// What is kept of the answers; nothing where the operator wants no cache, or with a tape.
    pub(crate) cache: Option<Cache>,
    pub(crate) circuits: Circuits,
    pub(crate) retry_budget: Mutex<RetryBudget>,
    /// Places for streams of events, which hold no other permit.
    pub(crate) event_streams: Arc<Semaphore>,
    /// Answers that held a secret.
    pub(crate) leaks: AtomicU64,
    /// For what must be the same again after a restart and guessable by nobody.
    pub(crate) key: [u8; 32],
    pub(crate) resolver: Arc<Resolver>,
    pub(crate) transport: Arc<dyn Transport>,
    /// Whether it sends bodies that come piece by piece: the host's own does.
    pub(crate) takes_uploads: bool,
    pub(crate) secrets: Arc<Secrets>,
    /// Where the use of credentials is told.
    pub(crate) audit_context: AuditContext,
    /// Where the connection's numbers are added to.
    pub(crate) meter: Option<Arc<Meter>>,
    /// Where refusals are told.
    pub(crate) refusals: Arc<Ring>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) tape: Option<Tape>,
    /// The tokens of its OAuth 2.0 credentials, by their names.
    pub(crate) sessions: Vec<(String, Arc<Session>)>,
    /// The provider's public keys, where its manifest says where they are.
    pub(crate) key_sets: Option<Arc<KeySets>>,
    /// Whether it is the host's own, whose answers no guest sees: tokens come in them.
    pub(crate) is_authority: bool,
    /// Whether it leads to an address of the operator's, which may hold a key in its path: of that only the origin is told.
    pub(crate) hides_path: bool,
}

impl Outbound {
    /// How often the connection got other credentials since it was opened. What was learned before is another's, perhaps.
    pub(crate) fn credential_changes(&self) -> u64 {
        self.sessions.iter().fold(self.secrets.changes(), |sum, (_, session)| sum.wrapping_add(session.changes()))
    }

    /// Sends one request and waits for its answer: the whole path.
    ///
    /// Cancel-safe: dropping the future gives every permit back.
    ///
    /// # Errors
    /// Any [`Kind`] of the contract, with what was sent and when trying again can help.
    pub(crate) async fn send(&self, context: &CallContext, request: Arc<Request>) -> Result<Response> {
        let mut sending = Sending::begin(self, context, request)?;
        let first = sending.request.clone();
        match self.send_traced(context, &mut sending).await {
            Ok((response, _)) => Ok(response),
            // No kept answer says what became of an upload, or of what only this call can ask.
            Err(error) if sending.passes_cache() => Err(sending.count(error)),
            // What was kept says nothing of how the provider is now.
            Err(error) if context.is_probe() => Err(sending.count(error)),
            Err(error) => {
                let error = sending.count(error);
                let served = cache::fall_back(self, context, first, sending.attempts, error).await;
                served.inspect(|response| self.count(context, |meter| meter.answered(response.source)))
            }
        }
    }

    /// Sends several requests side by side and answers in their order.
    pub(crate) async fn send_all(&self, context: &CallContext, requests: Vec<Arc<Request>>) -> Vec<Result<Response>> {
        use futures_util::StreamExt;
        let width = usize::try_from(self.limits.side_by_side).unwrap_or(usize::MAX).max(1);
        futures_util::stream::iter(requests).map(|request| self.send(context, request)).buffered(width).collect().await
    }

    /// The path itself, over attempts and hops, as a span of its own.
    async fn send_traced(&self, context: &CallContext, sending: &mut Sending) -> Result<(Response, Option<Rest>)> {
        use tracing::Instrument as _;
        let span = request_span(sending);
        let answered = {
            // It is large, and each layer around it would move it: it stays where it is.
            let send_over_attempts = pin!(self.send_over_attempts(context, sending));
            send_over_attempts.instrument(span.clone()).await
        };
        tell_request(&span, sending, &answered);
        answered
    }

    /// Each round is an attempt, or what was kept or recorded of one.
    async fn send_over_attempts(
        &self,
        context: &CallContext,
        sending: &mut Sending,
    ) -> Result<(Response, Option<Rest>)> {
        loop {
            let (scoped, without) = ready::settle(self, self.scope.check(sending.request.clone())?).await;
            sending.without = without;
            let wish = tape::wish(self, &scoped);
            let mut ticket = None;
            let missed = if sending.passes_cache() || context.is_probe() {
                cache::pass_by(scoped)
            } else {
                ticket = cache::ticket(self, &scoped).await;
                match cache::look(self, context, &mut ticket, scoped).await {
                    cache::Looked::Fresh(response) => {
                        self.count(context, |meter| meter.answered(response.source));
                        return Ok((Response { attempts: sending.attempts, ..*response }, None));
                    }
                    cache::Looked::Missed(missed) => missed,
                }
            };
            let outcome = match tape::look(self, wish)? {
                tape::Looked::Played(answered) => {
                    sending.tries += 1;
                    sending.attempts += 1;
                    self.outcome(context, sending, *answered, None)
                }
                tape::Looked::Live(slot) => {
                    let here = Here::begin();
                    let span = self.attempt_span(&here, missed.scoped(), sending);
                    // Apart, for it is large, and what is large is copied wherever a future goes.
                    let attempt = Box::pin(self.attempt(context, sending, missed, slot));
                    let outcome = here.run(span.clone(), attempt).await;
                    tell_attempt(&span, &outcome);
                    outcome.inspect_err(|error| cache::failed(self, ticket.as_ref(), error))?
                }
            };
            let outcome = self.keep(ticket.as_ref(), sending, outcome);
            if let Outcome::Failure { error, .. } = &outcome {
                self.count(context, |meter| meter.attempt_failed(error));
            }
            let verdict = CredentialVerdict::of(&outcome);
            if self.has_another_credential(sending, verdict).await {
                continue;
            }
            match self.after(context, sending, outcome)? {
                Next::Done(response, rest) => {
                    self.count(context, |meter| meter.answered(response.source));
                    return Ok((response, rest));
                }
                Next::At(at) => {
                    // Those that wait for this answer go on by themselves.
                    drop(ticket);
                    self.clock.sleep_until(at).await;
                }
                Next::Hop => sending.tries = 0,
            }
        }
    }

    /// One attempt over the network, from the credential to what the answer means.
    async fn attempt(
        &self,
        context: &CallContext,
        sending: &mut Sending,
        missed: cache::Missed,
        slot: Option<tape::Slot>,
    ) -> Result<Outcome> {
        let (ready, used) = self.ready(context, sending, missed).await?;
        let admitted = admit::acquire(self, context, ready).await.map_err(|error| sending.after_failures(error))?;
        sending.tries += 1;
        let pinned = match address::pin(self, context, admitted).await {
            Ok(pinned) => pinned,
            // A name that does not resolve may in a moment; an address that is not granted never will.
            Err(error) if matches!(error.kind(), Kind::Network(_)) => return Ok(Outcome::failure(error)),
            Err(error) => return Err(error),
        };
        let signed = sign::attach(self, context, pinned)?;
        sending.attempts += 1;
        let sent = self.tell_sent(context, &signed, used);
        let write = cache::WriteInFlight::of(self, &sending.request);
        let answered = self.exchange(context, signed, sending.is_opened).await;
        let outcome = self.outcome(context, sending, answered, slot);
        sent.tell_outcome(self.clock.now(), &outcome);
        self.write_down().await;
        write.heard();
        Ok(outcome)
    }

    /// The credential, with what the audit trail will say of it. Whatever the connection knows is masked from here on.
    async fn ready(
        &self,
        context: &CallContext,
        sending: &mut Sending,
        missed: cache::Missed,
    ) -> Result<(Ready, Option<AuditEntry>)> {
        let ready = ready::ensure(self, missed, sending.rejected).await?;
        self.secrets.know_all().await;
        let used = ready.credential.as_ref().filter(|_| !self.audit_context.is_closed());
        let used = used.map(|used| self.used(context, &ready, &used.credential));
        sending.carried.clone_from(&ready.credential);
        Ok((ready, used))
    }

    /// Out and back.
    async fn exchange(&self, context: &CallContext, signed: Box<SignedRequest>, is_opened: bool) -> Answered {
        // A tape holds whole answers, so with one they are read here.
        let answered = transport::exchange(self, context, signed, is_opened && self.tape.is_none()).await;
        if let Ok(raw) = &answered.result {
            self.count(context, |meter| meter.received(raw.body.len()));
        }
        answered
    }

    /// Writes down what is left of quotas. What was answered is answered, whether that can be done or not.
    async fn write_down(&self) {
        if let Err(error) = self.queues.write_down().await {
            tracing::error!(target: "wharfage::outbound", "what is left of a quota cannot be written down: {error}");
        }
    }

    /// What an answer means, after what stays in the host was taken out of it.
    fn outcome(
        &self,
        context: &CallContext,
        sending: &Sending,
        mut answered: transport::Answered,
        slot: Option<tape::Slot>,
    ) -> Outcome {
        let secret_url = secret_url::take(self, &mut answered, sending.request.number);
        if let Some(slot) = slot {
            slot.keep(self, &answered, secret_url.as_deref());
        }
        match (secret_url, classify::classify(self, context, answered, sending.is_opened)) {
            (Some(secret_url), Outcome::Answer(response, rest)) => match secret_url.refused() {
                Some(error) => Outcome::failure(error),
                None => {
                    Outcome::Answer(Response { secret_url: Some(secret_url), may_be_kept: false, ..response }, rest)
                }
            },
            (_, outcome) => outcome,
        }
    }

    /// What an answer means for what is kept.
    fn keep(&self, ticket: Option<&cache::Ticket>, sending: &Sending, outcome: Outcome) -> Outcome {
        match outcome {
            Outcome::Answer(response, rest) => match cache::keep(self, ticket, &sending.request, response) {
                Ok(response) => Outcome::Answer(response, rest),
                Err(error) => Outcome::failure(error),
            },
            Outcome::Failure { error, hint_at, advice } => {
                cache::failed(self, ticket, &error);
                // What was sent and not refused may have been done.
                if error.request_sent() != RequestSent::No && Verdict::of(error.kind()) != Verdict::Well {
                    cache::forget_written(self, &sending.request, &[]);
                }
                Outcome::Failure { error, hint_at, advice }
            }
            Outcome::Redirect { .. } => {
                if let Some(ticket) = ticket {
                    ticket.in_vain();
                }
                cache::forget_written(self, &sending.request, &[]);
                outcome
            }
        }
    }

    /// The credential that goes on a request, if any does.
    fn chosen<'a>(&'a self, scoped: &'a scope::Scoped) -> Option<&'a Arc<Credential>> {
        let name = match &scoped.request().credential {
            CredentialChoice::Anonymous => None,
            CredentialChoice::Declared => self.scope.origin_of(scoped).credential.as_deref(),
            CredentialChoice::Named(name) => Some(name.as_str()),
            CredentialChoice::Made(made) => return Some(&made.credential),
        }?;
        self.credentials.iter().find(|credential| credential.name == name)
    }

    /// The tokens of an OAuth 2.0 credential.
    fn session(&self, credential: &Credential) -> Result<&Arc<Session>> {
        let found = self.sessions.iter().find(|(name, _)| *name == credential.name);
        found.map(|(_, session)| session).ok_or_else(|| Error::internal("a credential has no tokens"))
    }

    /// A path that leads nowhere, for what must run before any grant.
    pub(crate) fn nowhere(secrets: Arc<Secrets>, clock: Arc<dyn Clock>) -> Self {
        Self {
            scope: Scope::default(),
            private_addresses: Vec::new(),
            credentials: Vec::new(),
            answers: Answers::new(Vec::new()),
            rate_headers: Vec::new(),
            retry_header: None,
            idempotency: None,
            request_id_header: None,
            limits: Limits::default(),
            trace_context: false,
            queues: BucketQueues::default(),
            cache: None,
            circuits: Circuits::default(),
            retry_budget: Mutex::new(RetryBudget::new(clock.now())),
            event_streams: Arc::new(Semaphore::new(0)),
            leaks: AtomicU64::new(0),
            key: [0; 32],
            resolver: Arc::new(Resolver::new(clock.clone())),
            transport: Arc::new(transport::Nowhere),
            takes_uploads: false,
            secrets,
            audit_context: AuditContext::closed(),
            meter: None,
            refusals: Arc::default(),
            clock,
            tape: None,
            sessions: Vec::new(),
            key_sets: None,
            is_authority: false,
            hides_path: false,
        }
    }

    /// The clock that the plugin sees: with a tape it stands still, so that a replay asks for the same.
    pub(crate) fn guest_clock(&self) -> Arc<dyn Clock> {
        self.tape.as_ref().map_or_else(|| self.clock.clone(), |tape| tape.guest_clock(&self.clock))
    }

    /// What must not come back.
    pub(crate) fn mask(&self) -> Arc<Mask> {
        // A token may hold the client's id; a mask would spoil it.
        if self.is_authority {
            return Arc::default();
        }
        self.secrets.mask()
    }
}

/// A keyed hash of these parts; lengths go in as well, so that no two lists of parts read alike.
fn keyed_hash<'a>(key: &aws_lc_rs::hmac::Key, parts: impl IntoIterator<Item = &'a [u8]>) -> aws_lc_rs::hmac::Tag {
    let mut context = aws_lc_rs::hmac::Context::with_key(key);
    for part in parts {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part);
    }
    context.sign()
}

/// A URL as it may be shown: no query, no userinfo, no fragment.
pub(crate) fn without_query(url: &str) -> String {
    match Url::parse(url) {
        Ok(url) => bare(url).into(),
        Err(_) => url.split(['?', '#']).next().unwrap_or_default().to_owned(),
    }
}

/// The same of one that is read already.
fn bare(mut url: Url) -> Url {
    url.set_query(None);
    url.set_fragment(None);
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::{ManualClock, Timestamp};

    /// Every call in flight holds one, and it is copied wherever it goes before it is first asked.
    #[test]
    fn a_request_on_its_way_is_small() {
        const BYTES_MAX: usize = 3 << 10;
        let clock = Arc::new(ManualClock::new(Timestamp::from_millis(0), 1));
        let outbound = Outbound::nowhere(Arc::new(Secrets::new("p", "acme", Default::default())), clock);
        let context = CallContext { deadline: Timestamp::from_millis(1), observer: None, event: None, operation: None };
        let on_its_way = outbound.send(&context, Request::get("{api}/x").into());
        let bytes = size_of_val(&on_its_way);
        assert!(bytes <= BYTES_MAX, "{bytes} bytes");
    }
}
