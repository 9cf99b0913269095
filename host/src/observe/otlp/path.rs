//! The path to exactly one URL of a receiver, with nothing of it in any trace.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use tracing::instrument::WithSubscriber as _;
use tracing::subscriber::NoSubscriber;

use crate::account::SecretSource;
use crate::auth::Credential;
use crate::connection::Limits;
use crate::error::{Error, Kind, Result};
use crate::manifest::Purpose;
use crate::observe::policy::ObservePolicy;
use crate::outbound::address::Resolver;
use crate::outbound::scope::{OriginScope, PathPattern, Scope};
use crate::outbound::transport::Transport;
use crate::outbound::{CallContext, Method, Outbound, Repeat, Request};
use crate::time::Clock;
use crate::vault::{Granted, Means, Secrets};

/// Milliseconds for sending one message, waits and further attempts included.
const SEND_MS: u64 = 30_000;

/// The name of the one origin, credential and secret.
const NAME: &str = "otlp";

/// What a receiver is reached with.
pub(crate) struct Way {
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) resolver: Arc<Resolver>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) means: Means,
}

/// The path to the URL that the operator wrote and this end of it.
pub(super) struct Path {
    pub(super) clock: Arc<dyn Clock>,
    outbound: Outbound,
    url: String,
}

impl Path {
    /// Nothing where no receiver is named.
    pub(super) fn new(policy: &ObservePolicy, end: &str, way: &Way) -> Result<Option<Self>> {
        let Some(base) = &policy.otlp else { return Ok(None) };
        let limits = path_limits();
        let mut url = base.clone();
        url.set_path(&format!("{}{end}", base.path().trim_end_matches('/')));
        let secret = policy.otlp_secret.as_ref();
        let credential = secret.map(|_| Credential::header(NAME, vec![NAME.to_owned()], &policy.otlp_header, NAME));
        let secrets = Secrets::new(NAME, "observe", secret.map(granted).unwrap_or_default()).with(way.means.clone());
        let scope = scope(&url, credential.is_some(), &limits)?;
        let outbound = Outbound {
            scope,
            private_addresses: policy.private_addresses.clone(),
            credentials: credential.into_iter().map(Arc::new).collect(),
            limits,
            resolver: way.resolver.clone(),
            transport: way.transport.clone(),
            ..Outbound::nowhere(Arc::new(secrets), way.clock.clone())
        };
        Ok(Some(Self { clock: way.clock.clone(), outbound, url: url.into() }))
    }

    /// Sends a message. What that does is no part of any trace: it would be sent, and so on for ever.
    pub(super) async fn send(&self, message: Vec<u8>) -> Result<()> {
        let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let request = Request {
            method: Method::Post,
            headers: vec![header("content-type", "application/x-protobuf"), header("accept", "application/x-protobuf")],
            body: Some(Bytes::from(message)),
            // What comes twice is the same.
            repeat: Repeat::Safe,
            ..Request::get(&self.url)
        };
        let deadline = self.clock.now().plus(SEND_MS);
        let context = CallContext { deadline, observer: None, event: None, operation: None };
        self.outbound.send(&context, request.into()).with_subscriber(NoSubscriber::default()).await.map(drop)
    }
}

/// What failed, with what would help.
pub(super) fn why(error: &Error) -> String {
    match error.kind() {
        Kind::PolicyDenied(_) => {
            format!("{}; to allow it, in wharfage.toml:   [observe] private_addresses = [\"…\"]", error.message())
        }
        Kind::CredentialUnavailable => format!("{error}"),
        _ => error.message().to_owned(),
    }
}

/// The limits of the path to a receiver.
pub(crate) fn path_limits() -> Limits {
    Limits { attempts: 3, redirects: 0, attempt_ms: 10_000, response_body_bytes: 64 << 10, ..Limits::default() }
}

fn granted(source: &SecretSource) -> BTreeMap<String, Granted> {
    let granted = Granted { purpose: Purpose::Credential, source: Some(source.clone()), max_age_days: None };
    BTreeMap::from([(NAME.to_owned(), granted)])
}

/// A grant of one method at one path of one origin.
fn scope(url: &url::Url, has_credential: bool, limits: &Limits) -> Result<Scope> {
    let path = PathPattern::parse(url.path())
        .map_err(|why| Error::configuration("[observe]: the path of otlp cannot be granted").with_details(why))?;
    let mut base = url.clone();
    base.set_path("");
    let mut origin = OriginScope::new(NAME, base, vec![Method::Post], vec![path]);
    origin.credential = has_credential.then(|| NAME.to_owned());
    Ok(Scope::of_own("[observe]", "observe", origin, limits))
}
