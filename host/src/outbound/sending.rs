//! One request on its way over attempts and hops: what it remembers of them, and what follows each: an answer, another
//! attempt, another hop, another credential, or an error.

use std::borrow::Cow;
use std::sync::{Arc, PoisonError};

use url::Url;

use super::classify::{Outcome, shown_path};
use super::ready::ReadyCredential;
use super::retry::{self, Decision, Failed, RetryBudget, RetryPolicy};
use super::stream::Rest;
use super::{
    CallContext, CredentialChoice, KeyPlace, Method, Outbound, PathEvent, Repeat, Request, Response, keyed_hash,
    without_query,
};
use crate::error::{Error, Kind, RequestSent, Result, rule};
use crate::hex::hex;
use crate::mask::{self, Mask};
use crate::observe::metrics::OperationMeter;
use crate::time::Timestamp;

/// How many versions of a secret there may be: the next, the current and the previous one.
pub(super) const SECRET_VERSIONS: u32 = 3;

/// What the operator reads when a failure is not tried again although it might pass.
const BUDGET_SPENT: &str = "It was not tried again: more requests fail than limits.retry_percent allows to be repeated";

/// What the provider thought of a secret.
#[derive(Clone, Copy)]
pub(super) enum CredentialVerdict {
    Taken,
    Refused,
    Unknown,
}

impl CredentialVerdict {
    pub(super) fn of(outcome: &Outcome) -> Self {
        match outcome {
            Outcome::Answer(..) => Self::Taken,
            Outcome::Failure { error, .. } if *error.kind() == Kind::Unauthorized => Self::Refused,
            _ => Self::Unknown,
        }
    }
}

#[expect(clippy::large_enum_variant, reason = "made once an attempt and taken apart at once")]
pub(super) enum Next {
    Done(Response, Option<Rest>),
    At(Timestamp),
    Hop,
}

/// One request on its way over attempts and hops.
pub(super) struct Sending {
    pub(super) request: Arc<Request>,
    /// How often it set out.
    pub(super) tries: u32,
    /// How often it left the host.
    pub(super) attempts: u32,
    hops: u64,
    may_repeat: bool,
    /// Whether the body of the answer is left to be read.
    pub(super) is_opened: bool,
    /// What the last attempt went with.
    pub(super) carried: Option<Arc<ReadyCredential>>,
    /// The same once its fate is known, for a socket, which may be closed because of it.
    pub(super) used: Option<Arc<ReadyCredential>>,
    /// The version of the tokens that the provider did not accept, on this way or before it.
    pub(super) rejected: Option<u64>,
    /// Whether another token was asked for on this way.
    has_renewed: bool,
    /// How often another version of a secret was taken instead.
    replaced: u32,
    /// What is known of the attempts before the last.
    reached: RequestSent,
    /// The last failure that was to be tried again.
    last: Option<Error>,
    /// Where a credential that is optional was left away: what would help to have it.
    pub(super) without: Option<String>,
}

impl Sending {
    pub(super) fn begin(outbound: &Outbound, context: &CallContext, mut request: Arc<Request>) -> Result<Self> {
        outbound.count(context, OperationMeter::requested);
        let (may_repeat, number) = (request.may_repeat(), request.number);
        if let Some(url) = outbound.without_masked(&request.url) {
            Arc::make_mut(&mut request).url = url;
        }
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
            has_renewed: false,
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
    pub(super) fn passes_cache(&self) -> bool {
        self.is_in_pieces() || self.request.secret_url.is_some()
    }

    /// What the whole sending came to: an attempt that never left does not undo one before it that may have arrived.
    pub(super) fn count(&self, error: Error) -> Error {
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
    pub(super) fn after_failures(&self, error: Error) -> Error {
        match &self.last {
            Some(last) => error.with_details(format!("The attempt before ended with: {}", last.message())),
            None => error,
        }
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

impl Outbound {
    /// What follows an attempt: done, another one, another hop, or an error.
    pub(super) fn after(&self, context: &CallContext, sending: &mut Sending, outcome: Outcome) -> Result<Next> {
        match outcome {
            Outcome::Answer(mut response, rest) => {
                response.attempts = sending.attempts;
                Ok(Next::Done(response, rest))
            }
            Outcome::Redirect { status, .. } if sending.request.upload.is_some() => Err(not_followed(
                status,
                "the provider redirected an upload, whose body cannot be sent a second time",
                "Where a provider does so, ask for the place first and begin the upload there.",
            )),
            Outcome::Redirect { status, .. } if sending.request.secret_url.is_some() => Err(not_followed(
                status,
                "the provider redirected a request to a URL that stays in the host, which is never followed",
                "",
            )),
            Outcome::Redirect { status, location, from } => {
                sending.reached = RequestSent::Yes;
                sending.hop(self, context, status, &location, &from)?;
                self.count(context, OperationMeter::redirected);
                context.observe(|| PathEvent::Redirected { to: without_query(&sending.request.url) });
                Ok(Next::Hop)
            }
            Outcome::Failure { error, hint_at, advice } => {
                // Whoever keeps a socket open waits by rules of its own; a probe wants to know how it is now.
                let is_once = sending.request.upgrade.is_some() || context.is_probe();
                let attempts = if is_once { 1 } else { self.limits.attempts };
                let policy = RetryPolicy {
                    attempts_max: u32::try_from(attempts).unwrap_or(u32::MAX),
                    delay_ms_max: self.limits.retry_wait_ms,
                    ..RetryPolicy::default()
                };
                let now = self.clock.now();
                let failed = Failed {
                    attempt: sending.tries,
                    kind: error.kind(),
                    sent: error.request_sent(),
                    safe_to_repeat: sending.may_repeat,
                    hint_at,
                    advice,
                };
                if sending.request.upload.as_ref().is_some_and(|body| !body.take_back()) {
                    return Err(lost_write(sending.may_repeat, error));
                }
                match retry::decide(&policy, &failed, now, context.deadline, self.clock.jitter()) {
                    Decision::After(_) if !self.retry_budget().withdraw(now) => {
                        Err(lost_write(sending.may_repeat, error.with_details(BUDGET_SPENT)))
                    }
                    Decision::After(at) => {
                        // Who says "too many requests" has not acted.
                        if *error.kind() != Kind::RateLimited {
                            sending.reached = sending.reached.max(error.request_sent());
                        }
                        let kind = error.kind().name();
                        self.count(context, OperationMeter::retried);
                        context.observe(|| PathEvent::Retrying {
                            attempt: sending.tries,
                            kind,
                            wait_ms: at.since(now),
                        });
                        tracing::debug!(target: "wharfage::outbound", attempt = sending.tries, kind, wait_ms = at.since(now), "retrying");
                        sending.last = Some(error);
                        Ok(Next::At(at))
                    }
                    Decision::Give => Err(lost_write(sending.may_repeat, error)),
                }
            }
        }
    }

    /// Whether what the provider refused can go once more with another credential, for what was refused so was not done: a
    /// secret with a version that was not refused yet, or a token, which may have ended before its time and is renewed
    /// once. A secret that was taken is in use from now on.
    pub(super) async fn has_another_credential(&self, sending: &mut Sending, verdict: CredentialVerdict) -> bool {
        let Some(carried) = sending.carried.take() else { return false };
        sending.used = Some(carried.clone());
        let secrets = carried.credential.secrets.iter().zip(&carried.values);
        match (verdict, carried.version) {
            (CredentialVerdict::Refused, _)
                if sending.request.upload.as_ref().is_some_and(|body| !body.take_back()) =>
            {
                false
            }
            (CredentialVerdict::Refused, Some(version)) => {
                sending.rejected = Some(version);
                let is_first = !std::mem::replace(&mut sending.has_renewed, true);
                is_first && self.session(&carried.credential).is_ok_and(|session| session.may_renew(version))
            }
            (CredentialVerdict::Refused, None) if sending.replaced == SECRET_VERSIONS => false,
            (CredentialVerdict::Refused, None) => {
                sending.replaced += 1;
                let mut has_another = false;
                for (name, value) in secrets {
                    has_another |= self.secrets.try_next(name, value).await;
                }
                has_another
            }
            (CredentialVerdict::Taken, None) => {
                for (name, value) in secrets {
                    self.secrets.worked(name, value).await;
                }
                false
            }
            (CredentialVerdict::Taken, Some(_)) | (CredentialVerdict::Unknown, _) => false,
        }
    }

    /// The idempotency key of an event's request: the same whenever the event is handled again, and told by nobody who
    /// does not have the host's key (R8).
    fn derived_key(&self, event: &str, number: u64) -> String {
        let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, &self.key);
        let parts = [&b"idempotency"[..], self.scope.connection.as_bytes(), event.as_bytes(), &number.to_be_bytes()];
        hex(&keyed_hash(&key, parts).as_ref()[..16])
    }

    fn retry_budget(&self) -> std::sync::MutexGuard<'_, RetryBudget> {
        self.retry_budget.lock().unwrap_or_else(PoisonError::into_inner)
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

    /// A URL without the parameters whose value the host masked in an answer, as in the URL of a next page, where there are
    /// any: it puts its own there again.
    fn without_masked(&self, url: &str) -> Option<String> {
        let is_own = |name: &str| self.credentials.iter().any(|credential| credential.query_name() == Some(name));
        let is_masked = |pair: &&str| {
            let read = url::form_urlencoded::parse(pair.as_bytes()).next();
            read.is_some_and(|(name, value)| value == mask::MASKED && is_own(&name))
        };
        let (place, query) = url.split_once('?').filter(|(_, query)| query.contains("masked"))?;
        let kept: Vec<&str> = query.split('&').filter(|pair| !is_masked(pair)).collect();
        if kept.len() == query.split('&').count() {
            return None;
        }
        Some(if kept.is_empty() { place.to_owned() } else { [place, "?", &kept.join("&")].concat() })
    }
}

/// A redirect that ends the request.
fn not_followed(status: u16, message: impl Into<String>, details: &str) -> Error {
    Error::denied(rule::REDIRECT, message, details).with_request_sent(RequestSent::Yes).with_status(Some(status))
}

/// A write that may have happened is not a mere time-out.
pub(super) fn lost_write(may_repeat: bool, error: Error) -> Error {
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
