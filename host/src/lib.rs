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
//! the other. A call that was recorded on a [`tape`] is replayed without either.
//!
//! What most programs name stands here, at the root; the rest is in a module for each thing: [`sign_in`], [`secrets`],
//! [`serving`], [`events`], [`health`], [`alerts`], [`metrics`], [`observe`], [`audit`], [`transport`]. The tables of a
//! `plugin.toml` are the types of [`manifest`].
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
//! | `trace` | `observe::Lines`, `observe::Spans` and `Host::export` | `tracing-subscriber` |
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
pub mod alerts;
mod artifact;
mod auth;
mod bindings;
mod capability;
mod component;
mod connect;
mod connection;
mod drift;
mod engine;
mod error;
mod event;
mod explain;
mod files;
#[cfg(feature = "internals")]
#[doc(hidden)]
pub mod fuzz;
mod grant;
pub mod health;
mod hex;
mod host;
mod inbound;
mod limits;
pub mod manifest;
mod mask;
pub mod observe;
mod off_stack;
#[cfg(feature = "trace")]
pub mod otlp;
mod outbound;
#[cfg(unix)]
mod ownership;
mod percent;
mod plugin;
mod policy;
mod random;
mod schema;
#[cfg(feature = "serve")]
mod serve;
mod store;
#[cfg(feature = "serve")]
mod supervisor;
mod text;
mod time;
mod vault;
mod warm;

pub use {bytes, http, ipnet, semver, serde, serde_json, toml, url};

pub use account::{Account, BudgetOverride, SecretAsk, SecretProgram, SecretSource, SecretValue};
pub use artifact::{Compiling, Digest};
pub use connect::Authorization;
pub use connection::{Allow, Config, Connection, PluginSource};
pub use drift::{Drift, DriftKind, DriftPolicy, Drifts};
#[cfg(feature = "internals")]
#[doc(hidden)]
pub use engine::engine_config;
pub use engine::{EngineLimits, EnginePolicy};
pub use error::{Blame, Error, FieldError, Kind, NetworkStage, RequestSent, Result, Severity, rule};
pub use event::{Emission, Event, Outcome, Poll, Trigger};
pub use explain::{explain, explain_change, explain_host, explain_starts};
pub use files::Files;
pub use grant::{Grant, Missing, suggest};
pub use host::{Host, HostBuilder, default_state_dir, read_component};
pub use limits::{Limit, Limits};
pub use manifest::{Effect, Manifest, Needs, Operation};
pub use outbound::breaker::BreakerPolicy;
pub use outbound::cache::CachePolicy;
pub use outbound::graphql::GraphqlLimit;
#[cfg(feature = "internals")]
#[doc(hidden)]
pub use outbound::pure;
pub use outbound::tape;
pub use outbound::transport::Transport;
pub use outbound::{AnswerSource, Method, PathEvent};
pub use plugin::{Answer, Cursor, Plugin};
#[cfg(feature = "serve")]
pub use serve::stand_in;
#[cfg(feature = "serve")]
pub use supervisor::Serving;
pub use time::{BoxFuture, Clock, ManualClock, SystemClock, Timestamp};
pub use vault::Secrets;
pub use warm::WarmPolicy;

/// The audit trail: which secret was used for what, when, and what came of it. [`Host::audit`] reads it, and checks that
/// no row was changed.
pub mod audit {
    pub use crate::observe::audit::{Audit, AuditAction, AuditCheck, AuditEntry, AuditRow};
}

/// What came in and what was emitted: the log of both, whoever reads on from where they were, and where a poll begins.
/// `Host::event_log` and `Host::emitted` give them; what a plugin handles is an [`Event`].
pub mod events {
    pub use crate::event::PollStart;
    #[cfg(feature = "serve")]
    pub use crate::inbound::envelope::Emitted;
    #[cfg(feature = "serve")]
    pub use crate::inbound::log::{ArrivedEvent, EventContent, EventFilter, EventLog, EventSearch, SinkLetter};
    #[cfg(feature = "serve")]
    pub use crate::inbound::sink::channel::{Delivery, Events};
    pub use crate::store::arrival::EventState;
}

/// The numbers of a host, as values and in Prometheus's text: calls, requests, waits, budgets, what serves.
/// [`Host::metrics`] reads them.
pub mod metrics {
    pub use crate::observe::metrics::{
        AnswerCounts, BOUNDS_MS, BudgetMetrics, CircuitMetrics, ConnectionMetrics, EndpointMetrics, Histogram, Metrics,
        OperationMetrics, PollMetrics, RecentCalls, SinkMetrics, SocketMetrics, WindowMetrics,
    };
}

/// What is known about the secrets of a connection, never a value, and which version a new one becomes.
/// [`Secrets`] takes and tells it; [`Host::change_sealing_key`] seals all of them anew.
pub mod secrets {
    pub use crate::vault::{KeyChange, SecretSlot, SecretState};
}

/// What runs by itself: how each part of it is set (`[serve]`, webhooks, polls, sockets, sinks of a `wharfage.toml`), and
/// how it stands. `Host::serve` starts all of it, `Plugin::socket` one socket.
pub mod serving {
    #[cfg(feature = "serve")]
    pub use crate::inbound::poll::PollHealth;
    #[cfg(feature = "serve")]
    pub use crate::inbound::sink::worker::{SinkDoing, SinkState};
    #[cfg(feature = "serve")]
    pub use crate::inbound::socket::{Socket, SocketHandler, SocketState, SocketStatus};
    #[cfg(feature = "serve")]
    pub use crate::inbound::webhook::WebhookCounts;
    pub use crate::policy::poll::PollPolicy;
    pub use crate::policy::serve::{ConsoleLimits, ConsolePolicy, ServeLimits, ServePolicy};
    pub use crate::policy::sink::{SinkLimits, SinkPlace, SinkPolicy};
    pub use crate::policy::socket::{Overflow, SocketPolicy};
    pub use crate::policy::webhook::{EndpointLimits, EndpointPolicy};
    #[cfg(feature = "serve")]
    pub use crate::supervisor::{ConsoleAddress, Reloaded, ServingState};
}

/// Connecting an account: the sign-ins that an [`Authorization`] begins, how they end, and how the tokens stand.
/// [`Host::authorize`] gives the one, [`Plugin::token_states`] tells the other.
pub mod sign_in {
    pub use crate::account::ExternalToken;
    pub use crate::auth::oauth2::Connected;
    #[cfg(feature = "serve")]
    pub use crate::connect::LoopbackSignIn;
    pub use crate::connect::{DeviceSignIn, Disconnected, SignIn, SignInKind};
    pub use crate::outbound::session::TokenState;
}

/// What a [`Transport`] of your own takes and gives back: the request as it leaves, and the answer as it comes.
/// [`HostBuilder::transport`] puts one in the place of the host's.
pub mod transport {
    pub use crate::outbound::sign::SignedRequest;
    pub use crate::outbound::transport::{ResponseBody, ResponseHead, TransportError, UpgradedIo};
}

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
