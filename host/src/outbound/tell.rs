//! What is told of a request on its way: spans, lines of the log, numbers, and the audit trail. Nothing here decides
//! anything.

use std::borrow::Cow;
use std::fmt;
use std::sync::atomic::Ordering;

use tracing::Span;
use tracing::field::{self, Empty};
use url::{Position, Url};

use super::classify::Outcome;
use super::ready::Ready;
use super::scope::Scoped;
use super::sending::Sending;
use super::sign::SignedRequest;
use super::stream::Rest;
use super::{AnswerSource, CallContext, Method, Outbound, PathEvent, Response, bare};
use crate::auth::Credential;
use crate::error::{Error, Result};
use crate::observe::audit::{AuditAction, AuditEntry, UnderWay};
use crate::observe::metrics::{BudgetMetrics, CircuitMetrics, OperationMeter, Paced};
use crate::observe::trace::Here;
use crate::time::Timestamp;

/// An attempt that has left, until it is told what it came to. Dropped before that, it is told as cancelled.
pub(super) struct Sent<'a> {
    service: &'a str,
    method: Method,
    url: Option<String>,
    began: Timestamp,
    used: Option<UnderWay<'a>>,
}

impl Paced for Outbound {
    fn circuits(&self) -> Vec<CircuitMetrics> {
        let circuit = |(origin, state, openings)| CircuitMetrics { origin, state, openings };
        self.circuits.readings().map(circuit).collect()
    }

    fn budgets(&self, now: Timestamp) -> Vec<BudgetMetrics> {
        self.queues.readings(now).collect()
    }
}

impl Outbound {
    /// The span of an attempt, as OpenTelemetry names things
    /// (<https://opentelemetry.io/docs/specs/semconv/http/http-spans/>, read 2026-11-29). Nothing of a query stands in it.
    pub(super) fn attempt_span(&self, here: &Here, scoped: &Scoped, sending: &Sending) -> Span {
        let (method, url) = (scoped.request().method.as_str(), scoped.shown_url());
        let origin = self.scope.origin_of(scoped);
        let template = if self.hides_path { None } else { origin.template(scoped.url().path()) };
        let name = fmt::from_fn(|f| match template {
            Some(template) => write!(f, "{method} {template}"),
            None => f.write_str(method),
        });
        tracing::info_span!(
            target: "wharfage::outbound", "attempt", otel.kind = "client", otel.name = %name,
            trace_id = %here.trace_id(), span_id = %here.span_id(), parent_id = here.parent_id(),
            http.request.method = method, server.address = url.host_str(), server.port = url.port_or_known_default(),
            url.full = %self.shown(url), url.template = template.map(field::display),
            http.request.resend_count = (sending.attempts > 0).then_some(sending.attempts),
            http.response.status_code = Empty, error.type = Empty
        )
    }

    /// A URL as a log may hold it. It stands on every attempt's path, so what is no secret of this connection is for whoever
    /// writes a line to redact.
    fn shown(&self, url: &Url) -> String {
        if self.hides_path {
            return url.origin().ascii_serialization();
        }
        let url = String::from(bare(url.clone()));
        match self.secrets.mask().text(&url) {
            Cow::Owned(masked) => masked,
            Cow::Borrowed(_) => url,
        }
    }

    /// Tells that an attempt leaves, and which credential is used in it.
    pub(super) fn tell_sent(
        &self,
        context: &CallContext,
        signed: &SignedRequest,
        used: Option<AuditEntry>,
    ) -> Sent<'_> {
        let used = used.map(|entry| self.audit_context.begin(entry));
        self.count(context, |meter| meter.attempted(signed.body_bytes()));
        let (method, began) = (signed.method(), self.clock.now());
        let service = self.scope.plugin.as_str();
        let is_heard = tracing::enabled!(target: "wharfage::outbound", tracing::Level::DEBUG);
        let url = is_heard.then(|| self.shown(&signed.plain_url));
        tracing::debug!(target: "wharfage::outbound", service, %method, url = url.as_deref(), "api_request");
        Sent { service, method, url, began, used }
    }

    /// What the audit trail says of a credential that is about to leave.
    pub(super) fn used(&self, context: &CallContext, ready: &Ready, credential: &Credential) -> AuditEntry {
        AuditEntry {
            credential: credential.name.clone(),
            secrets: credential.secrets.clone(),
            method: ready.scoped.request().method.as_str().to_owned(),
            origin: self.scope.origin_of(&ready.scoped).base[..Position::BeforePath].to_owned(),
            ..self.audit_context.entry(AuditAction::Placed, context.operation.as_deref())
        }
    }

    /// Tells the audit trail of a secret that a plugin had used without sending anything. A name that is not granted is
    /// the plugin's own text, so it is not kept.
    pub(crate) fn tell_use(&self, context: &CallContext, name: &str, action: AuditAction, outcome: Result<(), &Error>) {
        let name = if self.secrets.is_granted(name) { name } else { "(not granted)" };
        let entry = self.audit_context.entry(action, context.operation.as_deref());
        self.audit_context.tell(AuditEntry { secrets: vec![name.to_owned()], ..entry }.came_to(outcome));
    }

    /// Counts an answer that held a secret, and tells it.
    pub(super) fn tell_leak(&self, context: &CallContext, path: &str) {
        // Told once for each answer.
        if path.is_empty() {
            return;
        }
        self.leaks.fetch_add(1, Ordering::Relaxed);
        self.count(context, OperationMeter::leaked);
        let path = if self.hides_path { self.scope.plugin.as_str() } else { path };
        tracing::warn!(target: "wharfage::outbound", path, "the provider sent a secret back; it was masked");
        context.observe(|| PathEvent::Leaked { path: path.to_owned() });
    }

    /// Where the numbers of a request are added to. What is asked outside of a call opens a socket, or is the host's own.
    pub(super) fn meter_of<'a>(&'a self, context: &'a CallContext) -> Option<&'a OperationMeter> {
        let own = self.meter.as_deref();
        if self.is_authority {
            return own.map(|meter| &**meter.sign_in());
        }
        context.meter().or_else(|| own.map(|meter| &**meter.socket()))
    }

    pub(super) fn count(&self, context: &CallContext, add: impl FnOnce(&OperationMeter)) {
        if let Some(meter) = self.meter_of(context) {
            add(meter);
        }
    }
}

impl Sent<'_> {
    /// Tells what it came to.
    pub(super) fn tell_outcome(self, now: Timestamp, outcome: &Outcome) {
        let Self { service, method, url, began, used } = self;
        let (status, error) = outcome.told();
        let duration_ms = now.since(began);
        match error {
            None => tracing::debug!(
                target: "wharfage::outbound", service, %method, url = url.as_deref(), status, duration_ms,
                "api_response"
            ),
            Some(error) => tracing::debug!(
                target: "wharfage::outbound", service, %method, url = url.as_deref(), status, duration_ms,
                error = error.name(), "api_error"
            ),
        }
        if let Some(used) = used {
            used.ended(status, error);
        }
    }
}

/// The span of a request over all its attempts and hops.
pub(super) fn request_span(sending: &Sending) -> Span {
    tracing::info_span!(
        target: "wharfage::outbound", "request", http.request.method = sending.request.method.as_str(),
        http.response.status_code = Empty, attempts = Empty, source = Empty, error.type = Empty
    )
}

/// What a request came to, in its span.
pub(super) fn tell_request(span: &Span, sending: &Sending, answered: &Result<(Response, Option<Rest>)>) {
    span.record("attempts", sending.attempts);
    match answered {
        Ok((response, _)) => {
            span.record("http.response.status_code", response.status);
            if response.source != AnswerSource::Live {
                span.record("source", field::debug(response.source));
            }
        }
        Err(error) => drop(span.record("error.type", error.kind().name())),
    }
}

/// What an attempt came to, in its span. The kind of an error is one of the contract's, so that there are few.
pub(super) fn tell_attempt(span: &Span, outcome: &Result<Outcome>) {
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
