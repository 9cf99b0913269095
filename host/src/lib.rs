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
//! Start at [`Host::builder`]. A `wharfage.toml` is read with [`Config::parse`], and a connection of it opened with
//! [`Host::open`]; `Host::serve` runs all that it declares. Errors are one type with a [`Kind`] that programs decide by.
//! Time comes through a [`Clock`] and the network through a [`Transport`], so that tests turn the one by hand and replace
//! the other. A call that was recorded on a [`tape`] is replayed without either. The tables of a `plugin.toml` are the
//! types of [`manifest`].
//!
//! # Features
//!
//! All are on by default; a library user turns them off with `default-features = false`. Another one, `internals`, is for
//! the tests and benches of this repository.
//!
//! | feature | of the API | crates |
//! |---|---|---|
//! | `serve` | What starts a plugin by itself, and what becomes of its events: `Host::serve`, `Host::emitted`, `Host::event_log`, `Host::alerts`, `Host::health`, `Plugin::socket`. Where a sign-in comes back to: `Authorization::listen`. The stand-in provider: `stand_in` | `axum`, `croner`, `tokio-websockets` |
//! | `store-sqlite` | Nothing. With it, what [`HostBuilder::state_dir`] keeps outlives the process; without it, compiled code alone does | `rusqlite` |
//! | `trace` | `Lines`, `Spans` and `Host::export` | `tracing-subscriber` |
//! | `cli` | Nothing: the program `wharfage`, which wants `serve` as well | `clap`, `notify` and others |
//!
//! # Runtime
//!
//! Futures of this crate are polled in a [tokio](https://docs.rs/tokio) runtime with time and I/O, of one thread or of
//! several. Connections, renewals of tokens and what is written behind are tasks of it, so a [`Host`] stays with one runtime;
//! [`HostBuilder::build`] alone needs none. Compiling and the store are on its threads for blocking work.
//! [`Host::secrets`] and [`read_component`] read a file on the thread that calls them.
//!
//! Any of these futures may be dropped before it ends. What that leaves stands under "Cancellation" where it matters, as in
//! [`Plugin::call`].
//!
//! # Public dependencies
//!
//! Types of these crates are in the API, so that another major version of one is another of this crate. They are here under
//! their names: [`bytes`], [`http`], [`ipnet`], [`semver`], [`serde`], [`serde_json`], [`toml`], [`url`]. Of others it has
//! traits only: `Stream` of `futures-core`, `AsyncRead` and `AsyncWrite` of `tokio`, `Layer` of `tracing-subscriber` 0.3.
//! To read a stream as above, depend on `futures-util`.

#![cfg_attr(docsrs, feature(doc_cfg))]

/// `Debug` for a type that holds secrets, or what nobody reads: its name, and the fields that are named here.
macro_rules! debug_shows {
    ($type:ident) => {
        debug_shows!($type, |_this|);
    };
    ($type:ident, |$this:ident| $($field:ident = $value:expr),*) => {
        impl std::fmt::Debug for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                let $this = self;
                f.debug_struct(stringify!($type))$(.field(stringify!($field), &$value))*.finish_non_exhaustive()
            }
        }
    };
}

mod account;
mod artifact;
mod auth;
mod bindings;
mod capability;
mod component;
mod connect;
mod connection;
mod drift;
mod engine;
mod errand;
mod error;
mod event;
mod explain;
mod files;
#[cfg(feature = "internals")]
#[doc(hidden)]
pub mod fuzz;
mod grant;
mod hex;
mod host;
mod inbound;
pub mod manifest;
mod observe;
mod outbound;
mod percent;
mod plugin;
mod random;
mod schema;
#[cfg(feature = "serve")]
mod serve;
mod store;
mod text;
mod time;
mod vault;
mod warm;

pub use {bytes, http, ipnet, semver, serde, serde_json, toml, url};

pub use account::{Account, BudgetOverride, GivenAccess, SecretProgram, SecretSource, SecretValue};
pub use artifact::{Compiling, Digest};
pub use auth::oauth2::Connected;
#[cfg(feature = "serve")]
pub use connect::Listening;
pub use connect::{Authorization, DeviceSignIn, Disconnected, SignIn, Way};
pub use connection::{Allow, Config, Connection, GraphqlLimit, Limit, Limits, PluginSource};
pub use drift::{Drift, DriftKind, DriftPolicy, Drifts};
pub use engine::{EngineLimits, EnginePolicy};
pub use error::{Blame, Error, FieldError, Kind, NetworkStage, RequestSent, Result, Severity, rule};
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
#[cfg(feature = "internals")]
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

// Threads may share what an embedder keeps.
const _: () = {
    const fn is_shared<T: Send + Sync + 'static>() {}
    is_shared::<Host>();
    is_shared::<Plugin>();
    is_shared::<Secrets>();
    is_shared::<Error>();
    #[cfg(feature = "serve")]
    is_shared::<Serving>();
};
