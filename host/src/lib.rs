//! An embeddable WebAssembly plugin host for API integrations.
//!
//! A plugin is a component that holds one provider's quirks and nothing else. The host holds everything that breaks in
//! production, once, for all of them: which origins may be asked, the credentials, the pace, what is repeated and when,
//! and a limit for everything. What a plugin imports is its request; what a [`Connection`] states is its [`Grant`].
//!
//! ```no_run
#![doc = include_str!("../examples/embed.rs")]
//! ```
//!
//! Start at [`Host::builder`]. Errors are one type with a [`Kind`] that programs decide by. Time comes through a
//! [`Clock`] and the network through a [`Transport`], so that tests turn the one by hand and replace the other. A call that
//! was recorded on a [`tape`] is replayed without either.
//!
//! # Features
//!
//! `cli` the program `wharfage` · `serve` listening sockets, such as [`stand_in`] · `store-sqlite` durable state of
//! plugins in one file · `trace` lines of a log, and spans for OpenTelemetry. All are on by default; a library user turns them off with `default-features = false`.

mod account;
mod artifact;
mod auth;
mod bindings;
mod capability;
mod connect;
mod connection;
mod drift;
mod engine;
mod errand;
mod error;
mod event;
mod explain;
mod files;
#[doc(hidden)]
pub mod fuzz;
mod grant;
mod hex;
mod host;
mod inbound;
mod manifest;
mod observe;
mod outbound;
mod percent;
mod plugin;
mod random;
mod schema;
#[cfg(feature = "serve")]
mod serve;
mod store;
mod time;
mod vault;
mod warm;

pub use account::{Account, BudgetOverride, GivenAccess, SecretProgram, SecretSource, SecretValue};
pub use artifact::{Compiling, Digest};
pub use auth::oauth2::Connected;
#[cfg(feature = "serve")]
pub use connect::Listening;
pub use connect::{Authorization, DeviceSignIn, Disconnected, SignIn, Way};
pub use connection::{Allow, Config, Connection, GraphqlLimit, Limit, Limits, PluginSource};
pub use drift::{Drift, DriftKind, DriftPolicy, Drifts};
pub use engine::{EngineLimits, EnginePolicy};
pub use error::{Blame, Error, FieldError, Kind, NetworkStage, RequestSent, Result, Severity};
pub use event::{Emission, Event, Outcome, Poll, Start, Trigger};
pub use explain::{explain, explain_change, explain_host, explain_starts};
pub use files::Files;
pub use grant::{Grant, Missing, suggest};
pub use host::{Host, HostBuilder, default_state_dir, read_component};
#[cfg(feature = "serve")]
pub use inbound::envelope::Emitted;
#[cfg(feature = "serve")]
pub use inbound::log::{ArrivedEvent, EventContent, EventFilter, EventLog, EventSearch, SinkLetter};
pub use inbound::policy::{ConsoleLimits, ConsolePolicy, ServeLimits, ServePolicy};
pub use inbound::poll::PollPolicy;
#[cfg(feature = "serve")]
pub use inbound::poll::run::PollHealth;
#[cfg(feature = "serve")]
pub use inbound::serving::{ConsoleAddress, Reloaded, Serving, ServingState};
#[cfg(feature = "serve")]
pub use inbound::sink::channel::{Delivery, Events};
#[cfg(feature = "serve")]
pub use inbound::sink::line::{SinkDoing, SinkState};
pub use inbound::sink::{SinkLimits, SinkPlace, SinkPolicy};
#[cfg(feature = "serve")]
pub use inbound::socket::{Listener, Socket, SocketState, SocketStatus};
pub use inbound::socket::{Overflow, SocketPolicy};
#[cfg(feature = "serve")]
pub use inbound::webhook::Counts;
pub use inbound::webhook::{EndpointLimits, EndpointPolicy};
pub use manifest::{
    AnswerFacts, ChallengeFacts, ConditionFacts, Effect, EventFacts, HealthFacts, JwtWebhookFacts, Manifest, Needs,
    Operation, PartFacts, PingFacts, PollFacts, Recovery, SecretEncoding, SignatureAlgorithm, SignatureEncoding,
    SignatureFacts, SignatureForm, SocketFacts, Template, TimeFacts, TimeForm, TokenFacts, VerifyFacts, WebhookFacts,
};
pub use observe::alerts::prometheus::prometheus_rules;
pub use observe::alerts::{
    Alert, AlertLimit, AlertPolicy, AlertRule, AlertSeverity, AlertState, AlertSubject, AvailabilityAlert,
    BreakerOpenAlert, DeadLettersAlert, ErrorsAlert, LatencyAlert, NeedsConnectingAlert, RUNBOOK, RateLimitedAlert,
    SinkDisabledAlert, StaleAlert, runbook,
};
pub use observe::audit::{Audit, AuditCheck, AuditEntry, AuditRow, Deed};
#[cfg(feature = "serve")]
pub use observe::health::HealthReport;
pub use observe::health::{Cause, Finding, Health, HealthState, Probe, Subject};
#[cfg(feature = "trace")]
pub use observe::lines::{LineFormat, Lines};
pub use observe::metrics::{
    AnswerCounts, BOUNDS_MS, BudgetMetrics, CircuitMetrics, ConnectionMetrics, EndpointMetrics, Histogram, Metrics,
    OperationMetrics, PollMetrics, RecentCalls, SinkMetrics, SocketMetrics, WindowMetrics,
};
#[cfg(feature = "trace")]
pub use observe::otlp::{Exporting, Spans};
pub use observe::policy::ObservePolicy;
pub use observe::redact::{LINE_BYTES_MAX, Redacted, Redactor, redact, redact_header};
pub use observe::refusals::{REFUSALS_PER_CONNECTION, Refusal};
pub use observe::trace::Trace;
pub use outbound::breaker::{BreakerPolicy, CircuitState};
pub use outbound::cache::CachePolicy;
#[doc(hidden)]
pub use outbound::pure;
pub use outbound::session::TokenState;
pub use outbound::sign::Signed;
pub use outbound::tape;
pub use outbound::transport::{Body, Head, Lost, Transport, Wire};
pub use outbound::{Method, Source, Step};
pub use plugin::{Answer, Cursor, Plugin};
#[cfg(feature = "serve")]
pub use serve::stand_in;
pub use store::arrival::EventState;
pub use time::{BoxFuture, Clock, ManualClock, SystemClock, Timestamp};
pub use vault::{KeyChange, SecretState, Secrets, Stage};
pub use warm::WarmPolicy;
