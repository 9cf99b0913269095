//! How anything leaves this process: one path, in one order, on one screen.
//!
//! Each step takes the type that the step before made, so leaving one out does not compile. A retry and a redirect hop
//! start again at scope; nothing signed is used twice. Nothing here knows of WebAssembly.

pub(crate) mod address;
pub(crate) mod admit;
mod audience;
pub(crate) mod breaker;
pub(crate) mod buckets;
pub(crate) mod cache;
pub(crate) mod circuit;
pub(crate) mod classify;
pub(crate) mod client;
pub(crate) mod graphql;
pub(crate) mod hints;
pub(crate) mod kept;
pub(crate) mod key_sets;
pub(crate) mod mask;
mod object;
#[cfg(any(feature = "serve", feature = "trace"))]
pub(crate) mod own;
mod place;
#[doc(hidden)]
pub mod pure;
mod ready;
pub(crate) mod retry;
pub(crate) mod scope;
pub(crate) mod session;
mod sieve;
pub(crate) mod sign;
pub(crate) mod stream;
pub mod tape;
pub(crate) mod transport;
pub(crate) mod upgrade;
mod wires;

use std::borrow::Cow;
use std::fmt;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use ipnet::IpNet;
use tokio::sync::Semaphore;
use tracing::Span;
use tracing::field::{self, Empty};
use url::{Position, Url};
use zeroize::Zeroizing;

use crate::auth::Credential;
use crate::connection::Limits;
use crate::error::{Error, Kind, RequestSent, Result};
use crate::hex::hex;
use crate::manifest::{Idempotency, RateHeaders};
use crate::observe::audit::{AuditEntry, Book, Deed};
use crate::observe::health::PROBE;
use crate::observe::metrics::{Meter, OperationMeter};
use crate::observe::redact::redact;
use crate::observe::refusals::Ring;
use crate::observe::trace::Here;
use crate::time::{Clock, Timestamp};
use crate::vault::Secrets;

use self::address::Resolver;
use self::admit::Lanes;
use self::cache::{Cache, Keep};
use self::circuit::{Circuits, Verdict};
use self::classify::{Answers, Outcome, shown_path};
use self::kept::Kept;
use self::key_sets::KeySets;
use self::mask::Mask;
use self::retry::{Decision, Failed, RetryBudget, RetryPolicy};
use self::scope::Scope;
use self::session::Session;
use self::stream::{Pour, Rest};
use self::tape::Tape;
use self::transport::Transport;
use self::upgrade::Upgrade;

/// The method of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Method {
    /// Read.
    Get,
    /// Read the header only.
    Head,
    /// Create, or whatever the provider makes of it.
    Post,
    /// Replace.
    Put,
    /// Change.
    Patch,
    /// Remove.
    Delete,
}

impl Method {
    /// All there are.
    pub const ALL: [Self; 6] = [Self::Get, Self::Head, Self::Post, Self::Put, Self::Patch, Self::Delete];

    /// As it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
        }
    }

    /// The method written so.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|method| method.as_str() == text)
    }

    /// Whether sending it twice is as sending it once (RFC 9110, 9.2.2).
    pub const fn is_idempotent(self) -> bool {
        !matches!(self, Self::Post | Self::Patch)
    }
}

impl std::fmt::Display for Method {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Whether a request may be sent a second time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Repeat {
    /// As the method says.
    #[default]
    ByMethod,
    /// It does no harm.
    Safe,
    /// The host makes an idempotency key and keeps it over all attempts.
    Keyed,
    /// Never, unless the provider provably did not act.
    Never,
}

/// Which credential goes on a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum CredentialChoice {
    /// The one the manifest declares for the origin.
    #[default]
    Declared,
    /// None.
    Anonymous,
    /// The one of this name.
    Named(String),
    /// A token that the plugin had made in this call.
    Made(Arc<Made>),
}

/// A token that a plugin had made, and where it may go. The plugin knows it by the credential's name alone (R13).
pub(crate) struct Made {
    pub(crate) credential: Arc<Credential>,
    pub(crate) token: Zeroizing<String>,
}

impl std::fmt::Debug for Made {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Made({})", self.credential.name)
    }
}

impl PartialEq for Made {
    fn eq(&self, other: &Self) -> bool {
        self.credential.name == other.credential.name && self.token == other.token
    }
}

impl Eq for Made {}

/// One request, as a plugin wants it. It has no `Debug`: that of a token's renewal holds what it is renewed with.
#[derive(Clone)]
pub(crate) struct Request {
    /// The method.
    pub method: Method,
    /// An absolute URL, or `{origin}/path?query`.
    pub url: String,
    /// Header fields.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Option<Bytes>,
    /// The body, where it is written piece by piece.
    pub(crate) upload: Option<Pour>,
    /// Which credential.
    pub credential: CredentialChoice,
    /// May it be repeated.
    pub repeat: Repeat,
    /// Further costs, by name of the bucket.
    pub costs: Vec<(String, u32)>,
    /// Milliseconds for one attempt, if less than the limit.
    pub timeout_ms: Option<u64>,
    /// Which request of its call it is; the first is 0.
    pub(crate) number: u64,
    /// The key that the host made for all attempts of a keyed request.
    pub(crate) idempotency_key: Option<String>,
    /// Whether it belongs to an exchange of secrets, which no tape may hold and no cache keep.
    pub(crate) is_confidential: bool,
    /// What the plugin says of how long the answer holds.
    pub(crate) keep: Keep,
    /// What the connection is to become, where it is to carry something else after the answer.
    pub(crate) upgrade: Option<Upgrade>,
    /// The URL that it goes to, where that stays in the host.
    pub(crate) kept: Option<Arc<Kept>>,
}

impl Request {
    /// A plain GET.
    pub(crate) fn get(url: &str) -> Self {
        Self {
            method: Method::Get,
            url: url.to_owned(),
            headers: Vec::new(),
            body: None,
            upload: None,
            credential: CredentialChoice::Declared,
            repeat: Repeat::ByMethod,
            costs: Vec::new(),
            timeout_ms: None,
            number: 0,
            idempotency_key: None,
            is_confidential: false,
            keep: Keep::default(),
            upgrade: None,
            kept: None,
        }
    }

    /// Whether sending it twice does no harm.
    fn may_repeat(&self) -> bool {
        match self.repeat {
            Repeat::ByMethod => self.method.is_idempotent(),
            Repeat::Safe | Repeat::Keyed => true,
            Repeat::Never => false,
        }
    }
}

/// Where an answer came from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// The provider, now.
    #[default]
    Live,
    /// A kept answer that is still fresh.
    Cache,
    /// The last good answer, because the provider is in trouble.
    Stale,
}

/// An answer with a status below 400. It has no `Debug`: a token comes in one.
#[derive(Clone)]
pub(crate) struct Response {
    /// The status.
    pub status: u16,
    /// Header fields, without those that carry credentials.
    pub headers: Vec<(String, String)>,
    /// The decoded body; what is kept of an answer has the same bytes.
    pub body: Arc<Vec<u8>>,
    /// The URL that answered, masked.
    pub url: String,
    /// Where it came from.
    pub source: Source,
    /// Its age in milliseconds.
    pub age_ms: u64,
    /// How many requests it cost.
    pub attempts: u32,
    /// The provider's id of the request.
    pub request_id: Option<String>,
    /// Whether nothing on it forbids to keep it, as a cookie would.
    pub(crate) may_be_kept: bool,
    /// Where it was kept, for the case that the plugin finds it to be an error.
    pub(crate) mark: Option<cache::Mark>,
    /// The URL in it that stays in the host.
    pub(crate) kept: Option<Arc<Kept>>,
}

/// Where the host puts an idempotency key that it made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum KeyPlace {
    /// Into this header.
    Header(String),
    /// Into this parameter of the query.
    Query(String),
}

impl KeyPlace {
    /// The place that a manifest names.
    pub(crate) fn of(facts: &Idempotency) -> Option<Self> {
        let query = || facts.query.clone().map(Self::Query);
        facts.header.clone().map(Self::Header).or_else(query)
    }
}

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
    pub(crate) lanes: Lanes,
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
    pub(crate) secrets: Arc<Secrets>,
    /// Where the use of credentials is told.
    pub(crate) book: Book,
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
}

/// What happens on the path, for whoever wants to see it: the demo, a log, an audit.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Step {
    /// Waited this many milliseconds for a permit.
    Paced {
        /// Milliseconds.
        waited_ms: u64,
    },
    /// A credential was placed.
    Signed {
        /// Its name.
        credential: String,
        /// Where it was placed, without its value.
        place: String,
    },
    /// An attempt failed and another follows.
    Retrying {
        /// Which attempt failed.
        attempt: u32,
        /// The kind's name.
        kind: &'static str,
        /// Milliseconds until the next.
        wait_ms: u64,
    },
    /// A redirect is judged and followed.
    Redirected {
        /// The URL without query.
        to: String,
    },
    /// A breaker opened: the host stops asking an origin.
    Opened {
        /// The origin.
        origin: String,
        /// Until then.
        until: Timestamp,
    },
    /// An answer differs from its schema in a place and a way that were not seen before.
    Drifted {
        /// The operation.
        operation: String,
        /// Where, as a JSON Pointer with `*` for array indices.
        path: String,
        /// In which way.
        kind: &'static str,
        /// How often in this answer.
        count: u64,
    },
    /// The provider sent a secret back. It was masked.
    Leaked {
        /// The URL that answered, without query.
        path: String,
    },
    /// A kept answer serves.
    Served {
        /// Because it is fresh, or because the provider is in trouble.
        source: Source,
        /// Its age in milliseconds.
        age_ms: u64,
    },
    /// The path refused.
    Refused {
        /// The sentence.
        message: String,
    },
}

/// Who listens to steps.
pub(crate) type Observer = Arc<dyn Fn(&Step) + Send + Sync>;

/// What one call brings along: its deadline, who listens, and the event it is for.
#[derive(Clone)]
pub(crate) struct CallContext {
    /// When the call must be over.
    pub deadline: Timestamp,
    /// Who listens.
    pub observer: Option<Observer>,
    /// The id of the event that is handled.
    pub event: Option<Arc<str>>,
    /// The operation that runs.
    pub operation: Option<Running>,
}

/// The operation that a call runs: as the audit trail calls it, and where its numbers are added to.
#[derive(Clone)]
pub(crate) struct Running {
    name: Arc<str>,
    meter: Option<Arc<OperationMeter>>,
}

impl From<String> for Running {
    fn from(name: String) -> Self {
        Self { name: name.into(), meter: None }
    }
}

/// Its name is what most want of it.
impl std::ops::Deref for Running {
    type Target = str;

    fn deref(&self) -> &str {
        &self.name
    }
}

impl Running {
    /// Of a plugin.
    pub(crate) fn metered(name: &str, meter: &Arc<OperationMeter>) -> Self {
        Self { name: name.into(), meter: Some(meter.clone()) }
    }
}

impl CallContext {
    /// What the audit trail calls the operation that runs.
    pub(crate) fn name(&self) -> Option<&str> {
        self.operation.as_ref().map(|running| &*running.name)
    }

    /// Where the numbers of the operation that runs are added to.
    pub(crate) fn meter(&self) -> Option<&OperationMeter> {
        self.operation.as_ref()?.meter.as_deref()
    }

    /// Whether this is the host's own question how a provider is: it asks once, passes the cache by and gives way.
    pub(crate) fn is_probe(&self) -> bool {
        self.name() == Some(PROBE)
    }

    fn observe(&self, step: impl FnOnce() -> Step) {
        if let Some(observer) = &self.observer {
            observer(&step());
        }
    }

    /// Tells that the path refused.
    pub(crate) fn refused(&self, error: &Error) {
        if let Some(meter) = self.meter() {
            meter.refused();
        }
        self.observe(|| Step::Refused { message: error.message().to_owned() });
    }
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
        let mut trip = Trip::begin(self, context, request)?;
        let first = trip.request.clone();
        match self.travel(context, &mut trip).await {
            Ok((response, _)) => Ok(response),
            // No kept answer says what became of an upload, or of what only this call can ask.
            Err(error) if trip.passes_cache() => Err(trip.count(error)),
            // What was kept says nothing of how the provider is now.
            Err(error) if context.is_probe() => Err(trip.count(error)),
            Err(error) => {
                let error = trip.count(error);
                let served = cache::fall_back(self, context, first, trip.attempts, error).await;
                served.inspect(|response| self.count(context, |meter| meter.answered(response.source)))
            }
        }
    }

    /// The first so many steps of the path and no more: for the benches, which take what a step costs from the difference.
    pub(crate) async fn walk(&self, context: &CallContext, request: Request, steps: usize) -> Result<()> {
        let mut trip = Trip::begin(self, context, request.into())?;
        if steps == 0 {
            return Ok(());
        }
        let scoped = self.scope.check(trip.request.clone())?;
        if steps == 1 {
            return Ok(());
        }
        let (scoped, _) = ready::settle(self, scoped).await;
        let mut ticket = cache::ticket(self, &scoped).await;
        let missed = match cache::look(self, context, &mut ticket, scoped).await {
            cache::Looked::Missed(missed) if steps > 2 => missed,
            _ => return Ok(()),
        };
        let ready = ready::ensure(self, missed, None).await?;
        if steps == 3 {
            return Ok(());
        }
        let admitted = admit::acquire(self, context, ready).await?;
        if steps == 4 {
            return Ok(());
        }
        let pinned = address::pin(self, context, admitted).await?;
        if steps == 5 {
            return Ok(());
        }
        let signed = sign::attach(self, context, pinned)?;
        if steps == 6 {
            return Ok(());
        }
        let answered = transport::exchange(self, context, signed, false).await;
        if steps == 7 {
            return Ok(());
        }
        let outcome = classify::classify(self, context, answered);
        if steps == 8 {
            return Ok(());
        }
        let outcome = self.keep(ticket.as_ref(), &trip, outcome);
        self.after(context, &mut trip, outcome).map(drop)
    }

    /// The path itself, over attempts and hops, as a span of its own.
    async fn travel(&self, context: &CallContext, trip: &mut Trip) -> Result<(Response, Option<Rest>)> {
        use tracing::Instrument as _;
        let span = tracing::info_span!(
            target: "wharfage::outbound", "request", http.request.method = trip.request.method.as_str(),
            http.response.status_code = Empty, attempts = Empty, source = Empty, error.type = Empty
        );
        let answered = {
            // It is large, and each layer around it would move it: it stays where it is.
            let journey = pin!(self.journey(context, trip));
            journey.instrument(span.clone()).await
        };
        span.record("attempts", trip.attempts);
        match &answered {
            Ok((response, _)) => {
                span.record("http.response.status_code", response.status);
                if response.source != Source::Live {
                    span.record("source", field::debug(response.source));
                }
            }
            Err(error) => drop(span.record("error.type", error.kind().name())),
        }
        answered
    }

    async fn journey(&self, context: &CallContext, trip: &mut Trip) -> Result<(Response, Option<Rest>)> {
        loop {
            let (scoped, without) = ready::settle(self, self.scope.check(trip.request.clone())?).await;
            trip.without = without;
            let wish = tape::wish(self, &scoped);
            let mut ticket = None;
            let missed = if trip.passes_cache() || context.is_probe() {
                cache::pass_by(scoped)
            } else {
                ticket = cache::ticket(self, &scoped).await;
                match cache::look(self, context, &mut ticket, scoped).await {
                    cache::Looked::Fresh(response) => {
                        self.count(context, |meter| meter.answered(response.source));
                        return Ok((Response { attempts: trip.attempts, ..*response }, None));
                    }
                    cache::Looked::Missed(missed) => missed,
                }
            };
            let outcome = match tape::look(self, wish)? {
                tape::Looked::Played(answered) => {
                    trip.tries += 1;
                    trip.attempts += 1;
                    self.outcome(context, trip, *answered, None)
                }
                tape::Looked::Live(slot) => {
                    let here = Here::begin();
                    let span = self.span(&here, missed.scoped(), trip);
                    // Apart, for it is large, and what is large is copied wherever a future goes.
                    let attempt = Box::pin(self.attempt(context, trip, missed, slot));
                    let outcome = here.run(span.clone(), attempt).await;
                    tell_span(&span, &outcome);
                    outcome.inspect_err(|error| cache::failed(self, ticket.as_ref(), error))?
                }
            };
            let outcome = self.keep(ticket.as_ref(), trip, outcome);
            if let Outcome::Failure { error, .. } = &outcome {
                self.count(context, |meter| meter.attempt_failed(error));
            }
            let fate = Fate::of(&outcome);
            if self.has_another_credential(trip, fate).await {
                continue;
            }
            match self.after(context, trip, outcome)? {
                Next::Done(response, rest) => {
                    self.count(context, |meter| meter.answered(response.source));
                    return Ok((response, rest));
                }
                Next::At(at) => self.clock.sleep_until(at).await,
                Next::Hop => trip.tries = 0,
            }
        }
    }

    /// Whether what the provider refused can go once more with another credential, for what was refused so was not done: a
    /// secret with a version that was not refused yet, or a token, which may have ended before its time and is renewed
    /// once. A secret that was taken is in use from now on.
    async fn has_another_credential(&self, trip: &mut Trip, fate: Fate) -> bool {
        let Some(carried) = trip.carried.take() else { return false };
        trip.used = Some(carried.clone());
        let secrets = carried.credential.secrets.iter().zip(&carried.values);
        match (fate, carried.version) {
            (Fate::Refused, _) if trip.request.upload.as_ref().is_some_and(|body| !body.take_back()) => false,
            (Fate::Refused, Some(version)) => {
                let is_first = trip.rejected.replace(version).is_none();
                is_first && self.session(&carried.credential).is_ok_and(|session| session.may_renew(version))
            }
            (Fate::Refused, None) if trip.replaced == SECRET_VERSIONS => false,
            (Fate::Refused, None) => {
                trip.replaced += 1;
                let mut has_another = false;
                for (name, value) in secrets {
                    has_another |= self.secrets.try_next(name, value).await;
                }
                has_another
            }
            (Fate::Taken, None) => {
                for (name, value) in secrets {
                    self.secrets.worked(name, value).await;
                }
                false
            }
            (Fate::Taken, Some(_)) | (Fate::Unknown, _) => false,
        }
    }

    /// The span of an attempt, as OpenTelemetry names things
    /// (<https://opentelemetry.io/docs/specs/semconv/http/http-spans/>, read 2026-11-29). Nothing of a query stands in it.
    fn span(&self, here: &Here, scoped: &scope::Scoped, trip: &Trip) -> Span {
        let (method, url) = (scoped.request().method.as_str(), scoped.shown_url());
        let template = self.scope.origin_of(scoped).template(scoped.url().path());
        let name = fmt::from_fn(|f| match template {
            Some(template) => write!(f, "{method} {template}"),
            None => f.write_str(method),
        });
        tracing::info_span!(
            target: "wharfage::outbound", "attempt", otel.kind = "client", otel.name = %name,
            trace_id = %here.trace_id(), span_id = %here.span_id(), parent_id = here.parent_id(),
            http.request.method = method, server.address = url.host_str(), server.port = url.port_or_known_default(),
            url.full = %self.shown(url.as_str()), url.template = template.map(field::display),
            http.request.resend_count = (trip.attempts > 0).then_some(trip.attempts),
            http.response.status_code = Empty, error.type = Empty
        )
    }

    /// A URL as a log may hold it.
    fn shown(&self, url: &str) -> String {
        redact(&self.mask().text(&without_query(url))).into_owned()
    }

    /// One attempt over the network, from the credential to what the answer means.
    async fn attempt(
        &self,
        context: &CallContext,
        trip: &mut Trip,
        missed: cache::Missed,
        slot: Option<tape::Slot>,
    ) -> Result<Outcome> {
        let ready = ready::ensure(self, missed, trip.rejected).await?;
        self.secrets.know_all().await;
        let used = ready.credential.as_ref().map(|used| self.used(context, &ready, &used.credential));
        trip.carried.clone_from(&ready.credential);
        let admitted = admit::acquire(self, context, ready).await.map_err(|error| trip.after_failures(error))?;
        trip.tries += 1;
        match address::pin(self, context, admitted).await {
            Ok(pinned) => {
                let signed = sign::attach(self, context, pinned)?;
                trip.attempts += 1;
                let used = used.map(|entry| self.book.begin(entry));
                self.count(context, |meter| meter.attempted(signed.body_bytes()));
                let (method, began) = (signed.method(), self.clock.now());
                let url = signed.plain_url.clone();
                let service = self.scope.plugin.as_str();
                tracing::debug!(target: "wharfage::outbound", service, %method, url = self.shown(url.as_str()), "api_request");
                // A tape holds whole answers, so with one they are read here.
                let is_opened = trip.is_opened && self.tape.is_none();
                let unheard = cache::Unheard::of(self, &trip.request);
                let answered = transport::exchange(self, context, signed, is_opened).await;
                if let Ok(raw) = &answered.result {
                    self.count(context, |meter| meter.received(raw.body.len()));
                }
                let outcome = self.outcome(context, trip, answered, slot);
                let (status, error) = outcome.told();
                let duration_ms = self.clock.now().since(began);
                match error {
                    None => tracing::debug!(
                        target: "wharfage::outbound", service, %method, url = self.shown(url.as_str()), status, duration_ms,
                        "api_response"
                    ),
                    Some(error) => tracing::debug!(
                        target: "wharfage::outbound", service, %method, url = self.shown(url.as_str()), status, duration_ms,
                        error = error.name(), "api_error"
                    ),
                }
                if let Some(used) = used {
                    used.ended(status, error);
                }
                // What was answered is answered, whether a quota's end can be written down or not.
                if let Err(error) = self.lanes.write_down().await {
                    tracing::error!(target: "wharfage::outbound", "what is left of a quota cannot be written down: {error}");
                }
                unheard.heard();
                Ok(outcome)
            }
            // A name that does not resolve may in a moment; an address that is not granted never will.
            Err(error) if matches!(error.kind(), Kind::Network(_)) => Ok(Outcome::failure(error)),
            Err(error) => Err(error),
        }
    }

    /// What an answer means, after what stays in the host was taken out of it.
    fn outcome(
        &self,
        context: &CallContext,
        trip: &Trip,
        mut answered: transport::Answered,
        slot: Option<tape::Slot>,
    ) -> Outcome {
        let kept = kept::take(self, &mut answered, trip.request.number);
        if let Some(slot) = slot {
            slot.keep(self, &answered, kept.as_deref());
        }
        match (kept, classify::classify(self, context, answered)) {
            (Some(kept), Outcome::Answer(response, rest)) => match kept.refused() {
                Some(error) => Outcome::failure(error),
                None => Outcome::Answer(Response { kept: Some(kept), may_be_kept: false, ..response }, rest),
            },
            (_, outcome) => outcome,
        }
    }

    /// What the audit trail says of a credential that is about to leave.
    fn used(&self, context: &CallContext, ready: &ready::Ready, credential: &Credential) -> AuditEntry {
        AuditEntry {
            credential: credential.name.clone(),
            secrets: credential.secrets.clone(),
            method: ready.scoped.request().method.as_str().to_owned(),
            origin: self.scope.origin_of(&ready.scoped).base[..Position::BeforePath].to_owned(),
            ..self.book.entry(Deed::Placed, context.operation.as_deref())
        }
    }

    /// Tells the audit trail of a secret that a plugin had used without sending anything. A name that is not granted is
    /// the plugin's own text, so it is not kept.
    pub(crate) fn tell_use(&self, context: &CallContext, name: &str, deed: Deed, outcome: Result<(), &Error>) {
        let name = if self.secrets.is_granted(name) { name } else { "(not granted)" };
        let entry = self.book.entry(deed, context.operation.as_deref());
        self.book.tell(AuditEntry { secrets: vec![name.to_owned()], ..entry }.came_to(outcome));
    }

    /// What an answer means for what is kept.
    fn keep(&self, ticket: Option<&cache::Ticket>, trip: &Trip, outcome: Outcome) -> Outcome {
        match outcome {
            Outcome::Answer(response, rest) => match cache::keep(self, ticket, &trip.request, response) {
                Ok(response) => Outcome::Answer(response, rest),
                Err(error) => Outcome::failure(error),
            },
            Outcome::Failure { error, hint_at, advice } => {
                cache::failed(self, ticket, &error);
                // What was sent and not refused may have been done.
                if error.request_sent() != RequestSent::No && Verdict::of(error.kind()) != Verdict::Well {
                    cache::forget_written(self, &trip.request, &[]);
                }
                Outcome::Failure { error, hint_at, advice }
            }
            Outcome::Redirect { .. } => {
                if let Some(ticket) = ticket {
                    ticket.in_vain();
                }
                cache::forget_written(self, &trip.request, &[]);
                outcome
            }
        }
    }

    /// Sends several requests side by side and answers in their order.
    pub(crate) async fn send_all(&self, context: &CallContext, requests: Vec<Arc<Request>>) -> Vec<Result<Response>> {
        use futures_util::StreamExt;
        let width = usize::try_from(self.limits.side_by_side).unwrap_or(usize::MAX).max(1);
        futures_util::stream::iter(requests).map(|request| self.send(context, request)).buffered(width).collect().await
    }

    /// What follows an attempt: done, another one, another hop, or an error.
    fn after(&self, context: &CallContext, trip: &mut Trip, outcome: Outcome) -> Result<Next> {
        match outcome {
            Outcome::Answer(mut response, rest) => {
                response.attempts = trip.attempts;
                Ok(Next::Done(response, rest))
            }
            Outcome::Redirect { status, .. } if trip.request.upload.is_some() => Err(not_followed(
                status,
                "the provider redirected an upload, whose body cannot be sent a second time",
                "Where a provider does so, ask for the place first and begin the upload there.",
            )),
            Outcome::Redirect { status, .. } if trip.request.kept.is_some() => Err(not_followed(
                status,
                "the provider redirected a request to a URL that stays in the host, which is never followed",
                "",
            )),
            Outcome::Redirect { status, location, from } => {
                trip.reached = RequestSent::Yes;
                trip.hop(self, context, status, &location, &from)?;
                self.count(context, OperationMeter::redirected);
                context.observe(|| Step::Redirected { to: without_query(&trip.request.url) });
                Ok(Next::Hop)
            }
            Outcome::Failure { error, hint_at, advice } => {
                // Whoever keeps a socket open waits by rules of its own; a probe wants to know how it is now.
                let is_once = trip.request.upgrade.is_some() || context.is_probe();
                let attempts = if is_once { 1 } else { self.limits.attempts };
                let policy = RetryPolicy {
                    attempts_max: u32::try_from(attempts).unwrap_or(u32::MAX),
                    delay_ms_max: self.limits.retry_wait_ms,
                    ..RetryPolicy::default()
                };
                let now = self.clock.now();
                let failed = Failed {
                    attempt: trip.tries,
                    kind: error.kind(),
                    sent: error.request_sent(),
                    safe_to_repeat: trip.may_repeat,
                    hint_at,
                    advice,
                };
                if trip.request.upload.as_ref().is_some_and(|body| !body.take_back()) {
                    return Err(trip.lost_write(error));
                }
                match retry::decide(&policy, &failed, now, context.deadline, self.clock.jitter()) {
                    Decision::After(_) if !self.retry_budget().withdraw(now) => {
                        Err(trip.lost_write(error.with_details(BUDGET_SPENT)))
                    }
                    Decision::After(at) => {
                        // Who says "too many requests" has not acted.
                        if *error.kind() != Kind::RateLimited {
                            trip.reached = trip.reached.max(error.request_sent());
                        }
                        let kind = error.kind().name();
                        self.count(context, OperationMeter::retried);
                        context.observe(|| Step::Retrying { attempt: trip.tries, kind, wait_ms: at.since(now) });
                        tracing::debug!(target: "wharfage::outbound", attempt = trip.tries, kind, wait_ms = at.since(now), "retrying");
                        trip.last = Some(error);
                        Ok(Next::At(at))
                    }
                    Decision::Give => Err(trip.lost_write(error)),
                }
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
            lanes: Lanes::default(),
            cache: None,
            circuits: Circuits::default(),
            retry_budget: Mutex::new(RetryBudget::new(clock.now())),
            event_streams: Arc::new(Semaphore::new(0)),
            leaks: AtomicU64::new(0),
            key: [0; 32],
            resolver: Arc::new(Resolver::new(clock.clone())),
            transport: Arc::new(transport::Nowhere),
            secrets,
            book: Book::closed(),
            meter: None,
            refusals: Arc::default(),
            clock,
            tape: None,
            sessions: Vec::new(),
            key_sets: None,
            is_authority: false,
        }
    }

    /// The idempotency key of an event's request: the same whenever the event is handled again, and told by nobody who
    /// does not have the host's key (R8).
    fn derived_key(&self, event: &str, number: u64) -> String {
        let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, &self.key);
        let parts = [&b"idempotency"[..], self.scope.connection.as_bytes(), event.as_bytes(), &number.to_be_bytes()];
        hex(&keyed_hash(&key, parts).as_ref()[..16])
    }

    /// Where the numbers of a request are added to. What is asked outside of a call opens a socket, or is the host's own.
    fn meter_of<'a>(&'a self, context: &'a CallContext) -> Option<&'a OperationMeter> {
        let own = self.meter.as_deref();
        if self.is_authority {
            return own.map(|meter| &**meter.sign_in());
        }
        context.meter().or_else(|| own.map(|meter| &**meter.socket()))
    }

    fn count(&self, context: &CallContext, add: impl FnOnce(&OperationMeter)) {
        if let Some(meter) = self.meter_of(context) {
            add(meter);
        }
    }

    fn retry_budget(&self) -> std::sync::MutexGuard<'_, RetryBudget> {
        self.retry_budget.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The clock that the plugin sees: with a tape it stands still, so that a replay asks for the same.
    pub(crate) fn guest_clock(&self) -> Arc<dyn Clock> {
        self.tape.as_ref().map_or_else(|| self.clock.clone(), |tape| tape.guest_clock(&self.clock))
    }

    /// Takes out of the query of a URL what the host itself puts there, and puts there again.
    fn take_out(&self, request: &Request, mask: &Mask, url: &mut Url) {
        let is_hosts = |name: &str, value: &str| match &self.idempotency {
            Some(KeyPlace::Query(own)) if own == name => request.idempotency_key.as_deref() == Some(value),
            _ => {
                let mut own = self.credentials.iter().filter_map(|credential| credential.query_name());
                own.any(|own| own == name) && matches!(mask.text(value), Cow::Owned(_))
            }
        };
        if !url.query_pairs().any(|(name, value)| is_hosts(&name, &value)) {
            return;
        }
        let others = url.query_pairs().filter(|(name, value)| !is_hosts(name, value));
        let others: Vec<_> = others.map(|(name, value)| (name.into_owned(), value.into_owned())).collect();
        url.set_query(None);
        if !others.is_empty() {
            url.query_pairs_mut().extend_pairs(others);
        }
    }

    /// Counts an answer that held a secret, and tells it.
    fn tell_leak(&self, context: &CallContext, path: &str) {
        // Told once for each answer.
        if path.is_empty() {
            return;
        }
        self.leaks.fetch_add(1, Ordering::Relaxed);
        self.count(context, OperationMeter::leaked);
        tracing::warn!(target: "wharfage::outbound", path, "the provider sent a secret back; it was masked");
        context.observe(|| Step::Leaked { path: path.to_owned() });
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

/// How many versions of a secret there may be: the next, the current and the previous one.
const SECRET_VERSIONS: u32 = 3;

/// What the operator reads when a failure is not tried again although it might pass.
const BUDGET_SPENT: &str = "It was not tried again: more requests fail than limits.retry_percent allows to be repeated";

/// What the provider thought of a secret.
#[derive(Clone, Copy)]
enum Fate {
    Taken,
    Refused,
    Unknown,
}

impl Fate {
    fn of(outcome: &Outcome) -> Self {
        match outcome {
            Outcome::Answer(..) => Self::Taken,
            Outcome::Failure { error, .. } if *error.kind() == Kind::Unauthorized => Self::Refused,
            _ => Self::Unknown,
        }
    }
}

#[expect(clippy::large_enum_variant, reason = "made once an attempt and taken apart at once")]
enum Next {
    Done(Response, Option<Rest>),
    At(Timestamp),
    Hop,
}

/// One request on its way over attempts and hops.
struct Trip {
    request: Arc<Request>,
    /// How often it set out.
    tries: u32,
    /// How often it left the host.
    attempts: u32,
    hops: u64,
    may_repeat: bool,
    /// Whether the body of the answer is left to be read.
    is_opened: bool,
    /// What the last attempt went with.
    carried: Option<Arc<ready::ReadyCredential>>,
    /// The same once its fate is known, for a socket, which may be closed because of it.
    used: Option<Arc<ready::ReadyCredential>>,
    /// The version of the tokens that the provider did not accept.
    rejected: Option<u64>,
    /// How often another version of a secret was taken instead.
    replaced: u32,
    /// What is known of the attempts before the last.
    reached: RequestSent,
    /// The last failure that was to be tried again.
    last: Option<Error>,
    /// Where a credential that is optional was left away: what would help to have it.
    without: Option<String>,
}

impl Trip {
    fn begin(outbound: &Outbound, context: &CallContext, mut request: Arc<Request>) -> Result<Self> {
        outbound.count(context, OperationMeter::requested);
        let (may_repeat, number) = (request.may_repeat(), request.number);
        if request.repeat == Repeat::Keyed {
            if outbound.idempotency.is_none() {
                return Err(Error::invalid(
                    "/repeat",
                    "a keyed request needs [idempotency] header = \"…\" or query = \"…\" in plugin.toml",
                ));
            }
            Arc::make_mut(&mut request).idempotency_key = Some(match &context.event {
                Some(event) => outbound.derived_key(event, number),
                None => crate::random::name()?,
            });
        }
        outbound.retry_budget().deposit(outbound.limits.retry_percent);
        Ok(Self {
            request,
            tries: 0,
            attempts: 0,
            hops: 0,
            reached: RequestSent::No,
            may_repeat,
            is_opened: false,
            carried: None,
            used: None,
            rejected: None,
            replaced: 0,
            last: None,
            without: None,
        })
    }

    /// Whether a body comes or goes piece by piece.
    fn is_in_pieces(&self) -> bool {
        self.is_opened || self.request.upload.is_some()
    }

    /// Whether no answer is kept or taken from what is kept.
    fn passes_cache(&self) -> bool {
        self.is_in_pieces() || self.request.kept.is_some()
    }

    /// What the whole trip came to: an attempt that never left does not undo one before it that may have arrived.
    fn count(&self, error: Error) -> Error {
        let sent = error.request_sent().max(self.reached);
        let error = error.with_attempts(self.attempts).with_request_sent(sent);
        let helps = matches!(
            error.kind(),
            Kind::Unauthorized | Kind::Forbidden | Kind::NotFound | Kind::RateLimited | Kind::QuotaExhausted
        );
        match self.without.as_ref().filter(|_| helps) {
            Some(without) => error.with_details(without.as_str()),
            None => error,
        }
    }

    /// What keeps a further attempt from leaving, with what made it necessary.
    fn after_failures(&self, error: Error) -> Error {
        match &self.last {
            Some(last) => error.with_details(format!("The attempt before ended with: {}", last.message())),
            None => error,
        }
    }

    fn lost_write(&self, error: Error) -> Error {
        lost_write(self.may_repeat, error)
    }

    /// Turns into the request that a redirect asks for; it is judged from the start like any other.
    fn hop(
        &mut self,
        outbound: &Outbound,
        context: &CallContext,
        status: u16,
        location: &str,
        from: &Url,
    ) -> Result<()> {
        self.hops += 1;
        if self.hops > outbound.limits.redirects {
            return Err(Error::limit(
                "redirects",
                format!("the provider redirected more than {} times", outbound.limits.redirects),
            )
            .with_more("redirects")
            .with_request_sent(RequestSent::Yes));
        }
        let mut to = from.join(location).map_err(|_| {
            Error::new(Kind::SchemaViolation, "the provider redirected to something that is no URL")
                .with_request_sent(RequestSent::Yes)
                .with_status(Some(status))
        })?;
        if from.scheme() == "https" && to.scheme() != "https" {
            return Err(not_followed(
                status,
                "the provider redirected from https to http, which is never followed",
                "",
            ));
        }
        let same_origin = from.origin() == to.origin();
        let mask = outbound.mask();
        if same_origin {
            outbound.take_out(&self.request, &mask, &mut to);
        }
        if matches!(mask.text(to.as_str()), Cow::Owned(_)) {
            outbound.tell_leak(context, &shown_path(&mask, from));
            return Err(not_followed(status, "the provider redirected to a URL that has a secret in it", ""));
        }
        let request = Arc::make_mut(&mut self.request);
        let keeps_method = matches!(status, 307 | 308) || request.method == Method::Head;
        if keeps_method {
            let carries = request.body.is_some() || !matches!(request.method, Method::Get | Method::Head);
            if !same_origin && carries {
                let message = format!(
                    "the provider redirected a {} to another origin, where its body is never sent",
                    request.method
                );
                return Err(not_followed(status, message, ""));
            }
        } else if request.method != Method::Get {
            request.method = Method::Get;
            request.body = None;
            request.headers.retain(|(name, _)| !name.to_ascii_lowercase().starts_with("content-"));
            self.may_repeat = true;
        }
        if !same_origin {
            request.credential = CredentialChoice::Anonymous;
            request.idempotency_key = None;
        }
        to.set_fragment(None);
        request.url = to.into();
        Ok(())
    }
}

/// A redirect that ends the request.
fn not_followed(status: u16, message: impl Into<String>, details: &str) -> Error {
    Error::denied("redirect", message, details).with_request_sent(RequestSent::Yes).with_status(Some(status))
}

/// What an attempt came to, in its span. The kind of an error is one of the contract's, so that there are few.
fn tell_span(span: &Span, outcome: &Result<Outcome>) {
    let (status, error) = match outcome {
        Ok(outcome) => outcome.told(),
        Err(error) => (error.status(), Some(error.kind())),
    };
    if let Some(status) = status {
        span.record("http.response.status_code", status);
    }
    match (status, error) {
        (Some(status @ 400..), Some(_)) => drop(span.record("error.type", field::display(status))),
        (_, Some(error)) => drop(span.record("error.type", error.name())),
        (_, None) => {}
    }
}

/// A write that may have happened is not a mere time-out.
fn lost_write(may_repeat: bool, error: Error) -> Error {
    let is_lost = matches!(error.kind(), Kind::Timeout | Kind::Network(_)) && error.request_sent() != RequestSent::No;
    if may_repeat || !is_lost {
        return error;
    }
    Error::new(
        Kind::OutcomeUnknown,
        format!(
            "the answer to a write was lost ({}); look whether it happened before sending it again",
            error.message()
        ),
    )
    .with_request_sent(RequestSent::Maybe)
    .with_endpoint(error.endpoint().map(str::to_owned))
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
        Ok(mut url) => {
            url.set_query(None);
            url.set_fragment(None);
            let _ = url.set_username("");
            let _ = url.set_password(None);
            url.into()
        }
        Err(_) => url.split(['?', '#']).next().unwrap_or_default().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::ManualClock;

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
