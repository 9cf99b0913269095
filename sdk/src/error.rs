//! The one error: which kind, may it be tried again and when, was anything sent, a sentence for people.
//!
//! Programs read the fields, people read the message, and the message holds no secret, no query and no foreign body.

use std::fmt;
use std::ops::{Deref, DerefMut};

use serde_json::{Value, json};

use crate::Timestamp;
use crate::bindings::wharfage::plugin::types as wire;

pub use wire::NetworkStage;

/// An error with everything a caller decides by. Its fields are those of [`Details`]; the box keeps every `Result` small.
#[derive(Clone, PartialEq)]
pub struct Error(Box<Details>);

/// What an [`Error`] holds.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Details {
    /// Which kind.
    pub kind: ErrorKind,
    /// A sentence for people.
    pub message: String,
    /// When trying again can help; absent where it cannot or nobody knows.
    pub retry_at: Option<Timestamp>,
    /// Whether the last attempt reached the provider.
    pub request_sent: RequestSent,
    /// The HTTP status, where there was an answer.
    pub status: Option<u16>,
    /// The provider's own code for the error.
    pub provider_code: Option<String>,
    /// The provider's id of the request, to quote in a support case.
    pub request_id: Option<String>,
    /// Method and path of the request, without query.
    pub endpoint: Option<String>,
    /// The start of the answer's body.
    pub body: Option<String>,
    /// How many requests left the host for this.
    pub attempts: u32,
}

/// Which kind of error, ordered by who can act on it: caller, operator, time, provider, us. The contract describes each case.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[allow(missing_docs)] // one sentence each stands in wit/types.wit, and only there
pub enum ErrorKind {
    InvalidRequest(Vec<FieldError>),
    NotFound,
    Conflict,
    CursorInvalid,
    UnknownOperation,
    PolicyDenied(String),
    CredentialUnavailable,
    Unauthorized,
    ReauthorizationNeeded,
    Forbidden,
    LimitExceeded(String),
    RateLimited,
    QuotaExhausted,
    CircuitOpen,
    Transient,
    Timeout,
    Deadline,
    Cancelled,
    Network(NetworkStage),
    OutcomeUnknown,
    SchemaViolation,
    TooLarge,
    ProviderReported,
    Internal(String),
}

/// What is wrong with one field of an input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldError {
    /// Where, as a JSON Pointer (RFC 6901); empty for the whole input.
    pub path: String,
    /// A sentence that says what was expected there.
    pub message: String,
}

/// Whether the request of a failed attempt reached the provider.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RequestSent {
    /// Nothing left the host: repeating is safe.
    #[default]
    No,
    /// The provider may have acted on it.
    Maybe,
    /// The provider answered, so it did arrive.
    Yes,
}

/// How long an error is likely to last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// It passes by itself: the same request may succeed later.
    Transient,
    /// It stays until somebody changes something.
    Permanent,
    /// Nobody can tell from here.
    Unknown,
}

impl Error {
    /// An error of this kind, with nothing known yet about any request.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(Box::new(Details {
            kind,
            message: message.into(),
            retry_at: None,
            request_sent: RequestSent::No,
            status: None,
            provider_code: None,
            request_id: None,
            endpoint: None,
            body: None,
            attempts: 0,
        }))
    }

    /// The input does not fit at `path`, a JSON Pointer; empty for the whole input.
    pub fn invalid_request(path: impl Into<String>, message: impl Into<String>) -> Self {
        let (path, message) = (path.into(), message.into());
        let sentence = match path.as_str() {
            "" => message.clone(),
            path => format!("{path}: {message}"),
        };
        Self::new(ErrorKind::InvalidRequest(vec![FieldError { path, message }]), sentence)
    }

    /// What was asked for does not exist.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::NotFound, message)
    }

    /// The cursor is too old or not one of this operation's.
    pub fn cursor_invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::CursorInvalid, message)
    }

    /// Too many requests, until `retry_at` if that is known.
    pub fn rate_limited(retry_at: Option<Timestamp>, message: impl Into<String>) -> Self {
        let mut error = Self::new(ErrorKind::RateLimited, message);
        error.retry_at = retry_at;
        error
    }

    /// The provider refused in words of its own.
    pub fn provider_reported(code: impl Into<String>, message: impl Into<String>) -> Self {
        let mut error = Self::new(ErrorKind::ProviderReported, message);
        error.provider_code = Some(code.into());
        error
    }

    /// The provider answered something it does not document.
    pub fn schema_violation(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::SchemaViolation, message)
    }

    /// A defect of the plugin.
    pub fn internal(message: impl Into<String>) -> Self {
        let message = message.into();
        Self::new(ErrorKind::Internal(message.clone()), message)
    }

    /// With the provider's own code.
    pub fn with_provider_code(mut self, code: impl Into<String>) -> Self {
        self.provider_code = Some(code.into());
        self
    }

    /// With the time from which trying again can help.
    pub fn with_retry_at(mut self, at: Timestamp) -> Self {
        self.retry_at = Some(at);
        self
    }

    /// With the HTTP status of an answer, which so did arrive.
    pub fn with_status(mut self, status: u16) -> Self {
        self.status = Some(status);
        self.request_sent = RequestSent::Yes;
        self
    }

    /// With the method and the path of the request, without query.
    pub fn with_endpoint(mut self, endpoint: impl Into<String>) -> Self {
        self.endpoint = Some(endpoint.into());
        self
    }

    /// With the start of the answer's body.
    pub fn with_body(mut self, body: impl Into<String>) -> Self {
        self.body = Some(body.into());
        self
    }

    /// Whether it is likely to pass.
    pub fn severity(&self) -> Severity {
        use ErrorKind::*;
        match self.kind {
            RateLimited | QuotaExhausted | CircuitOpen | Transient | Timeout | Network(_) => Severity::Transient,
            Deadline | Cancelled | OutcomeUnknown | ProviderReported | Internal(_) | SchemaViolation => {
                Severity::Unknown
            }
            InvalidRequest(_)
            | NotFound
            | Conflict
            | CursorInvalid
            | UnknownOperation
            | PolicyDenied(_)
            | CredentialUnavailable
            | Unauthorized
            | ReauthorizationNeeded
            | Forbidden
            | LimitExceeded(_)
            | TooLarge => Severity::Permanent,
        }
    }

    /// Whether the same operation may succeed later. It does not say that repeating a write is safe: see `request_sent`.
    pub fn may_retry(&self) -> bool {
        self.severity() == Severity::Transient
    }

    /// Everything as JSON, with the kind's name in kebab case.
    pub fn to_json(&self) -> Value {
        let mut value = json!({
            "kind": self.kind.name(),
            "message": self.message,
            "severity": self.severity().name(),
            "retry_at": self.retry_at.map(|at| at.to_string()),
            "request_sent": self.request_sent.name(),
            "status": self.status,
            "provider_code": self.provider_code,
            "request_id": self.request_id,
            "endpoint": self.endpoint,
            "body": self.body,
            "attempts": self.attempts,
        });
        match &self.kind {
            ErrorKind::InvalidRequest(fields) => {
                value["fields"] =
                    fields.iter().map(|field| json!({"path": field.path, "message": field.message})).collect();
            }
            ErrorKind::PolicyDenied(detail) | ErrorKind::LimitExceeded(detail) => value["detail"] = json!(detail),
            ErrorKind::Network(stage) => value["detail"] = json!(stage_name(*stage)),
            _ => {}
        }
        value
    }

    pub(crate) fn from_wire(error: wire::Error) -> Self {
        Self(Box::new(Details {
            kind: ErrorKind::from_wire(error.kind),
            message: error.message,
            retry_at: error.retry_at.map(Timestamp::from_wire),
            request_sent: match error.request_sent {
                wire::RequestSent::No => RequestSent::No,
                wire::RequestSent::Maybe => RequestSent::Maybe,
                wire::RequestSent::Yes => RequestSent::Yes,
            },
            status: error.status,
            provider_code: error.provider_code,
            request_id: error.request_id,
            endpoint: error.endpoint,
            body: error.body,
            attempts: error.attempts,
        }))
    }

    pub(crate) fn into_wire(self) -> wire::Error {
        let details = *self.0;
        wire::Error {
            kind: details.kind.into_wire(),
            message: details.message,
            retry_at: details.retry_at.map(Timestamp::to_wire),
            request_sent: match details.request_sent {
                RequestSent::No => wire::RequestSent::No,
                RequestSent::Maybe => wire::RequestSent::Maybe,
                RequestSent::Yes => wire::RequestSent::Yes,
            },
            status: details.status,
            provider_code: details.provider_code,
            request_id: details.request_id,
            endpoint: details.endpoint,
            body: details.body,
            attempts: details.attempts,
        }
    }
}

impl Deref for Error {
    type Target = Details;

    fn deref(&self) -> &Details {
        &self.0
    }
}

impl DerefMut for Error {
    fn deref_mut(&mut self) -> &mut Details {
        &mut self.0
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        if let Some(status) = self.status {
            write!(f, " [HTTP {status}]")?;
        }
        if let Some(endpoint) = &self.endpoint {
            write!(f, " at {endpoint}")?;
        }
        if let Some(id) = &self.request_id {
            write!(f, " (request_id: {id})")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl std::error::Error for Error {}

/// Declares the cases once: name in Rust, name in JSON, both ways over the wire.
macro_rules! kinds {
    ($($case:ident $name:literal),+; $($with:ident $with_name:literal),+) => {
        impl ErrorKind {
            /// Its name in kebab case, as in the contract.
            pub fn name(&self) -> &'static str {
                match self {
                    $(Self::$case => $name,)+
                    $(Self::$with(_) => $with_name,)+
                    Self::InvalidRequest(_) => "invalid-request",
                }
            }

            fn from_wire(kind: wire::ErrorKind) -> Self {
                match kind {
                    $(wire::ErrorKind::$case => Self::$case,)+
                    $(wire::ErrorKind::$with(detail) => Self::$with(detail),)+
                    wire::ErrorKind::InvalidRequest(fields) => Self::InvalidRequest(
                        fields.into_iter().map(|field| FieldError { path: field.path, message: field.message }).collect(),
                    ),
                }
            }

            fn into_wire(self) -> wire::ErrorKind {
                match self {
                    $(Self::$case => wire::ErrorKind::$case,)+
                    $(Self::$with(detail) => wire::ErrorKind::$with(detail),)+
                    Self::InvalidRequest(fields) => wire::ErrorKind::InvalidRequest(
                        fields.into_iter().map(|field| wire::FieldError { path: field.path, message: field.message }).collect(),
                    ),
                }
            }

            /// The kind of this name, where it has no detail. For rules that are data.
            pub fn named(name: &str) -> Option<Self> {
                match name {
                    $($name => Some(Self::$case),)+
                    "invalid-request" => Some(Self::InvalidRequest(Vec::new())),
                    _ => None,
                }
            }
        }
    };
}

kinds! {
    NotFound "not-found", Conflict "conflict", CursorInvalid "cursor-invalid", UnknownOperation "unknown-operation",
    CredentialUnavailable "credential-unavailable", Unauthorized "unauthorized",
    ReauthorizationNeeded "reauthorization-needed", Forbidden "forbidden", RateLimited "rate-limited",
    QuotaExhausted "quota-exhausted", CircuitOpen "circuit-open", Transient "transient", Timeout "timeout",
    Deadline "deadline", Cancelled "cancelled", OutcomeUnknown "outcome-unknown",
    SchemaViolation "schema-violation", TooLarge "too-large", ProviderReported "provider-reported";
    PolicyDenied "policy-denied", LimitExceeded "limit-exceeded", Network "network", Internal "internal"
}

impl Severity {
    /// Its name in lower case.
    pub fn name(self) -> &'static str {
        match self {
            Self::Transient => "transient",
            Self::Permanent => "permanent",
            Self::Unknown => "unknown",
        }
    }
}

impl RequestSent {
    /// Its name in lower case.
    pub fn name(self) -> &'static str {
        match self {
            Self::No => "no",
            Self::Maybe => "maybe",
            Self::Yes => "yes",
        }
    }
}

fn stage_name(stage: NetworkStage) -> &'static str {
    match stage {
        NetworkStage::Dns => "dns",
        NetworkStage::Connect => "connect",
        NetworkStage::Tls => "tls",
        NetworkStage::Reset => "reset",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_reads_as_the_guide_wants() {
        let mut error = Error::not_found("No such order").with_status(404).with_endpoint("GET /orders/1/");
        error.request_id = Some("req-7".into());
        assert_eq!(error.to_string(), "No such order [HTTP 404] at GET /orders/1/ (request_id: req-7)");
        assert_eq!(Error::not_found("No such order").to_string(), "No such order");
    }

    #[test]
    fn only_what_passes_by_itself_may_be_retried() {
        assert!(Error::rate_limited(None, "slow down").may_retry());
        assert!(Error::new(ErrorKind::Network(NetworkStage::Dns), "no name").may_retry());
        assert!(!Error::not_found("gone").may_retry());
        assert_eq!(Error::new(ErrorKind::OutcomeUnknown, "lost").severity(), Severity::Unknown);
    }

    #[test]
    fn the_wire_keeps_every_field() {
        let mut error = Error::invalid_request("/limit", "expected a number").with_status(400).with_body("{}");
        error.retry_at = Some(Timestamp::from_ms(7));
        error.attempts = 3;
        assert_eq!(Error::from_wire(error.clone().into_wire()), error);
        assert_eq!(error.to_json()["fields"][0]["path"], "/limit");
    }

    #[test]
    fn names_lead_back_to_their_kind() {
        for name in ["rate-limited", "schema-violation", "invalid-request"] {
            assert_eq!(ErrorKind::named(name).unwrap().name(), name);
        }
        assert_eq!(ErrorKind::named("no-such-kind"), None);
    }
}
