//! The one error of this crate.
//!
//! It answers five questions, in fields: which kind, may it be tried again and when, was anything sent, a sentence for
//! the person who wrote the call, and details for the operator. Programs read the kind; the texts are for people and
//! may change. The sentence holds no secret, no query and no foreign body; the details may hold what the operator
//! configured, and the line that would allow what was refused.

use std::fmt;

use crate::time::Timestamp;

/// What this crate's functions answer.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, who can help, and what is known about it.
///
/// # Who may see what
///
/// - [`message`](Self::message) is for whoever wrote the call: one sentence, which may name connections, plugins and
///   origins.
/// - `Display` and `Debug` are for operators and their logs. They add method, path and status, and on further lines
///   [`details`](Self::details), which may hold places of files and lines of a `wharfage.toml`. Answer no client with
///   `to_string()`.
/// - [`body`](Self::body) is for whoever may see the provider's answer.
/// - The name of the kind ([`Kind::name`]) is for everybody.
///
/// ```
/// use wharfage::{Error, Kind};
///
/// let error = Error::new(Kind::NotFound, "no such order").with_details("asked by connection `acme`");
/// assert_eq!((error.kind().name(), error.message()), ("not-found", "no such order"));
/// assert_eq!(error.to_string(), "no such order\nasked by connection `acme`");
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Error(Box<Fields>);

/// Everything known about an error. Build one with [`Error::new`] and the `with_` methods.
#[derive(Clone, PartialEq, Eq)]
struct Fields {
    kind: Kind,
    message: String,
    details: Option<String>,
    retry_at: Option<Timestamp>,
    request_sent: RequestSent,
    status: Option<u16>,
    provider_code: Option<String>,
    request_id: Option<String>,
    endpoint: Option<String>,
    body: Option<String>,
    attempts: u32,
}

/// Which kind of error, ordered by who can help: see [`Kind::blame`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// The input does not fit: what is wrong, field by field.
    InvalidRequest(Vec<FieldError>),
    /// What was asked for does not exist.
    NotFound,
    /// It exists in another state than the call assumed.
    Conflict,
    /// The cursor is too old, or not one of this operation on this connection.
    CursorInvalid,
    /// The plugin has no operation of that name.
    UnknownOperation,
    /// The grant does not hold this: the [`rule`] that refused it. A plugin's own error may name another.
    PolicyDenied(String),
    /// A credential is missing or cannot be read.
    CredentialUnavailable,
    /// The provider did not accept the credential.
    Unauthorized,
    /// Only a person signing in again can help.
    ReauthorizationNeeded,
    /// The credential is known and not allowed to do this.
    Forbidden,
    /// A limit of the host was reached: its name.
    LimitExceeded(String),
    /// The host does as much at once as a limit allows: its name.
    Busy(String),
    /// A configuration file or value does not fit.
    Configuration,
    /// A component is not a plugin this host can run, or not the one that was pinned.
    Component,
    /// Too many requests; [`Error::retry_at`] says when to come back.
    RateLimited,
    /// A quota over a long time is spent; [`Error::retry_at`] says until when.
    QuotaExhausted,
    /// The host has stopped asking a provider that keeps failing.
    CircuitOpen,
    /// The provider had a passing trouble.
    Transient,
    /// No answer in time.
    Timeout,
    /// The call as a whole ran out of time.
    Deadline,
    /// The caller went away.
    Cancelled,
    /// The connection failed at this stage.
    Network(NetworkStage),
    /// A write left the host and its answer was lost: it may have happened.
    OutcomeUnknown,
    /// The provider answered something it does not document.
    SchemaViolation,
    /// The answer was larger than the limit allows.
    TooLarge,
    /// The provider refused in words of its own; see [`Error::provider_code`].
    ProviderReported,
    /// A defect of the plugin or the host.
    Internal(String),
}

/// What is wrong with one field of an input.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FieldError {
    /// Where, as a JSON Pointer (RFC 6901); empty for the whole input.
    pub path: String,
    /// What was expected there.
    pub message: String,
}

impl FieldError {
    /// What was expected at `path`.
    pub fn new(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { path: path.into(), message: message.into() }
    }
}

/// How a connection failed before an answer came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NetworkStage {
    /// The name did not resolve.
    Dns,
    /// No connection came about.
    Connect,
    /// The TLS handshake failed or the certificate is not trusted.
    Tls,
    /// The connection broke after the request began to leave.
    Reset,
}

/// Whether the request of a failed attempt reached the provider. Later ones say more. There are these and no others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RequestSent {
    /// Nothing left the host, or the provider did nothing with it.
    No,
    /// The provider may have acted on it.
    Maybe,
    /// The provider answered.
    Yes,
}

/// Who can act on an error: one of these and nobody else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blame {
    /// Whoever made the call: the input, the name, the cursor.
    Caller,
    /// Whoever runs the host: grant, credential, limit, configuration.
    Operator,
    /// Nobody: waiting helps.
    Time,
    /// The provider.
    Provider,
    /// The plugin's author or this project.
    Us,
}

/// How the guide that this project grew from sorts errors: into these and no others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// It may pass by itself.
    Transient,
    /// It will not.
    Permanent,
    /// Nobody knows.
    Unknown,
}

impl Error {
    /// An error of a kind with a sentence for people.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self(Box::new(Fields {
            kind,
            message: message.into(),
            details: None,
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

    /// A refusal by one of the [`rule`]s, with the lines that would allow it.
    pub(crate) fn denied(rule: &str, message: impl Into<String>, allow: impl Into<String>) -> Self {
        Self::new(Kind::PolicyDenied(rule.to_owned()), message).with_details(allow)
    }

    /// A defect of ours or of the plugin.
    pub(crate) fn internal(message: impl Into<String>) -> Self {
        let message = message.into();
        Self::new(Kind::Internal(message.clone()), message)
    }

    /// An input whose field at `path` does not fit.
    pub(crate) fn invalid(path: impl Into<String>, message: impl Into<String>) -> Self {
        let message = message.into();
        let field = FieldError::new(path, message.clone());
        Self::new(Kind::InvalidRequest(vec![field]), message)
    }

    /// A configuration that does not fit.
    pub(crate) fn configuration(message: impl Into<String>) -> Self {
        Self::new(Kind::Configuration, message)
    }

    /// A component that is refused.
    pub(crate) fn component(message: impl Into<String>) -> Self {
        Self::new(Kind::Component, message)
    }

    /// A limit by its name.
    pub(crate) fn limit(name: &str, message: impl Into<String>) -> Self {
        Self::new(Kind::LimitExceeded(name.to_owned()), message)
    }

    /// As much runs as the limit of that name allows.
    pub(crate) fn busy(name: &str, message: impl Into<String>) -> Self {
        Self::new(Kind::Busy(name.to_owned()), message)
    }

    /// Adds the line that allows more of a connection's limit.
    pub(crate) fn with_more(self, name: &str) -> Self {
        self.with_details(format!("To allow more, set limits.{name} on the connection"))
    }

    /// Adds what helps the operator; a second text goes on a new line.
    pub fn with_details(mut self, details: impl Into<String>) -> Self {
        let details = details.into();
        self.0.details = Some(match self.0.details.take() {
            Some(before) => format!("{before}\n{details}"),
            None => details,
        });
        self
    }

    /// Says when trying again can help.
    pub fn with_retry_at(mut self, at: Option<Timestamp>) -> Self {
        self.0.retry_at = at;
        self
    }

    /// Says whether anything reached the provider.
    pub fn with_request_sent(mut self, sent: RequestSent) -> Self {
        self.0.request_sent = sent;
        self
    }

    /// The HTTP status of the answer.
    pub fn with_status(mut self, status: Option<u16>) -> Self {
        self.0.status = status;
        self
    }

    /// The provider's own code.
    pub fn with_provider_code(mut self, code: Option<String>) -> Self {
        self.0.provider_code = code;
        self
    }

    /// The provider's id of the request.
    pub fn with_request_id(mut self, id: Option<String>) -> Self {
        self.0.request_id = id;
        self
    }

    /// Method and path, without query.
    pub fn with_endpoint(mut self, endpoint: Option<String>) -> Self {
        self.0.endpoint = endpoint;
        self
    }

    /// The masked start of the answer's body.
    pub fn with_body(mut self, body: Option<String>) -> Self {
        self.0.body = body;
        self
    }

    /// How many requests left the host for this.
    pub fn with_attempts(mut self, attempts: u32) -> Self {
        self.0.attempts = attempts;
        self
    }

    /// Puts `context` in front of the sentence: the step during which it happened.
    pub(crate) fn context(mut self, context: impl fmt::Display) -> Self {
        self.0.message = format!("{context}: {}", self.0.message);
        self
    }

    /// Which kind.
    pub fn kind(&self) -> &Kind {
        &self.0.kind
    }

    /// The sentence for whoever wrote the call, without details.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// What helps the operator, and is for nobody else: causes, places, the line that would allow it.
    pub fn details(&self) -> Option<&str> {
        self.0.details.as_deref()
    }

    /// When trying again can help; `None` where it cannot or nobody knows.
    pub fn retry_at(&self) -> Option<Timestamp> {
        self.0.retry_at
    }

    /// Whether the last attempt reached the provider.
    pub fn request_sent(&self) -> RequestSent {
        self.0.request_sent
    }

    /// The HTTP status, where there was an answer.
    pub fn status(&self) -> Option<u16> {
        self.0.status
    }

    /// The provider's own code for the error.
    pub fn provider_code(&self) -> Option<&str> {
        self.0.provider_code.as_deref()
    }

    /// The provider's id of the request.
    pub fn request_id(&self) -> Option<&str> {
        self.0.request_id.as_deref()
    }

    /// Method and path of the request, without query.
    pub fn endpoint(&self) -> Option<&str> {
        self.0.endpoint.as_deref()
    }

    /// The start of the answer's body, masked.
    pub fn body(&self) -> Option<&str> {
        self.0.body.as_deref()
    }

    /// How many requests left the host for this.
    pub fn attempts(&self) -> u32 {
        self.0.attempts
    }

    /// Whether it may pass by itself.
    pub fn severity(&self) -> Severity {
        self.0.kind.severity()
    }

    /// Whether a caller may try again: it may pass, and nothing speaks against repeating.
    pub fn may_retry(&self) -> bool {
        self.severity() == Severity::Transient
    }
}

impl Kind {
    /// Who can act.
    pub fn blame(&self) -> Blame {
        match self {
            Self::InvalidRequest(_)
            | Self::NotFound
            | Self::Conflict
            | Self::CursorInvalid
            | Self::UnknownOperation
            | Self::Cancelled => Blame::Caller,
            Self::PolicyDenied(_)
            | Self::CredentialUnavailable
            | Self::Unauthorized
            | Self::ReauthorizationNeeded
            | Self::Forbidden
            | Self::LimitExceeded(_)
            | Self::Configuration
            | Self::Component => Blame::Operator,
            Self::Busy(_)
            | Self::RateLimited
            | Self::QuotaExhausted
            | Self::CircuitOpen
            | Self::Transient
            | Self::Timeout
            | Self::Deadline
            | Self::Network(_) => Blame::Time,
            Self::OutcomeUnknown | Self::SchemaViolation | Self::TooLarge | Self::ProviderReported => Blame::Provider,
            Self::Internal(_) => Blame::Us,
        }
    }

    /// The guide's severity.
    pub fn severity(&self) -> Severity {
        match self {
            Self::Busy(_)
            | Self::RateLimited
            | Self::QuotaExhausted
            | Self::CircuitOpen
            | Self::Transient
            | Self::Timeout
            | Self::Network(_) => Severity::Transient,
            Self::Deadline
            | Self::Cancelled
            | Self::OutcomeUnknown
            | Self::ProviderReported
            | Self::SchemaViolation
            | Self::Internal(_) => Severity::Unknown,
            _ => Severity::Permanent,
        }
    }

    /// The names of all kinds. The contract writes them so, also those that no plugin can meet.
    pub const NAMES: &'static [&'static str] = &[
        "invalid-request",
        "not-found",
        "conflict",
        "cursor-invalid",
        "unknown-operation",
        "policy-denied",
        "credential-unavailable",
        "unauthorized",
        "reauthorization-needed",
        "forbidden",
        "limit-exceeded",
        "busy",
        "configuration",
        "component",
        "rate-limited",
        "quota-exhausted",
        "circuit-open",
        "transient",
        "timeout",
        "deadline",
        "cancelled",
        "network",
        "outcome-unknown",
        "schema-violation",
        "too-large",
        "provider-reported",
        "internal",
    ];

    /// The kind's name, as the contract writes it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::InvalidRequest(_) => "invalid-request",
            Self::NotFound => "not-found",
            Self::Conflict => "conflict",
            Self::CursorInvalid => "cursor-invalid",
            Self::UnknownOperation => "unknown-operation",
            Self::PolicyDenied(_) => "policy-denied",
            Self::CredentialUnavailable => "credential-unavailable",
            Self::Unauthorized => "unauthorized",
            Self::ReauthorizationNeeded => "reauthorization-needed",
            Self::Forbidden => "forbidden",
            Self::LimitExceeded(_) => "limit-exceeded",
            Self::Busy(_) => "busy",
            Self::Configuration => "configuration",
            Self::Component => "component",
            Self::RateLimited => "rate-limited",
            Self::QuotaExhausted => "quota-exhausted",
            Self::CircuitOpen => "circuit-open",
            Self::Transient => "transient",
            Self::Timeout => "timeout",
            Self::Deadline => "deadline",
            Self::Cancelled => "cancelled",
            Self::Network(_) => "network",
            Self::OutcomeUnknown => "outcome-unknown",
            Self::SchemaViolation => "schema-violation",
            Self::TooLarge => "too-large",
            Self::ProviderReported => "provider-reported",
            Self::Internal(_) => "internal",
        }
    }

    /// The kind of that name, for rules that a manifest writes down; only kinds that an answer can have.
    pub(crate) fn from_answer_name(name: &str) -> Option<Self> {
        Some(match name {
            "invalid-request" => Self::InvalidRequest(Vec::new()),
            "not-found" => Self::NotFound,
            "conflict" => Self::Conflict,
            "cursor-invalid" => Self::CursorInvalid,
            "unauthorized" => Self::Unauthorized,
            "reauthorization-needed" => Self::ReauthorizationNeeded,
            "forbidden" => Self::Forbidden,
            "rate-limited" => Self::RateLimited,
            "quota-exhausted" => Self::QuotaExhausted,
            "transient" => Self::Transient,
            "timeout" => Self::Timeout,
            "provider-reported" => Self::ProviderReported,
            _ => return None,
        })
    }
}

/// The guide's string form, for operators: `sentence [HTTP 404] at GET /orders/7/ (request_id: x)`, then the details, if
/// any.
impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.message)?;
        if let Some(status) = self.0.status {
            write!(f, " [HTTP {status}]")?;
        }
        if let Some(endpoint) = &self.0.endpoint {
            write!(f, " at {endpoint}")?;
        }
        if let Some(id) = &self.0.request_id {
            write!(f, " (request_id: {id})")?;
        }
        if let Some(details) = &self.0.details {
            write!(f, "\n{details}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {self}", self.0.kind.name())
    }
}

impl std::error::Error for Error {}

/// The rules that a [`Kind::PolicyDenied`] names, each once.
pub mod rule {
    /// The address is outside the public internet, and the connection does not grant it.
    pub const ADDRESS: &str = "address";
    /// The program was given a component that no connection of its file uses.
    pub const CONNECTION: &str = "connection";
    /// The credential may not go there, cannot be put there, or is none of the connection's.
    pub const CREDENTIAL: &str = "credential";
    /// The GraphQL document is none that the connection grants.
    pub const GRAPHQL: &str = "graphql";
    /// The header field is not the plugin's to set.
    pub const HEADER: &str = "header";
    /// The idempotency key cannot be put where the manifest wants it.
    pub const IDEMPOTENCY: &str = "idempotency";
    /// The interface is not granted.
    pub const IMPORT: &str = "import";
    /// What was kept of an answer is no URL that may be asked.
    pub const KEPT_URL: &str = "kept-url";
    /// The origin and path are granted, and the method is not.
    pub const METHOD: &str = "method";
    /// The operation is not granted.
    pub const OPERATION: &str = "operation";
    /// The origin is not granted.
    pub const ORIGIN: &str = "origin";
    /// The origin is granted, and the path is not.
    pub const PATH: &str = "path";
    /// The program that would give a secret was not allowed to run.
    pub const PROGRAM: &str = "program";
    /// The answer redirects to where the host does not follow.
    pub const REDIRECT: &str = "redirect";
    /// The secret is not granted, or not for this purpose.
    pub const SECRET: &str = "secret";
    /// The tape does not hold this request, or cannot.
    pub const TAPE: &str = "tape";
    /// The URL is none that anybody could grant.
    pub const URL: &str = "url";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn string_form_is_the_guides() {
        let error = Error::new(Kind::NotFound, "no such order")
            .with_status(Some(404))
            .with_endpoint(Some("GET /orders/7/".into()))
            .with_request_id(Some("abc".into()));
        assert_eq!(error.to_string(), "no such order [HTTP 404] at GET /orders/7/ (request_id: abc)");
    }

    #[test]
    fn severity_says_what_may_pass() {
        assert!(Error::new(Kind::RateLimited, "").may_retry());
        assert!(!Error::new(Kind::OutcomeUnknown, "").may_retry());
        assert_eq!(Kind::NotFound.severity(), Severity::Permanent);
    }
}
