//! The path to exactly one URL of a receiver, with nothing of it in any trace.

use std::sync::Arc;

use bytes::Bytes;
use tracing::instrument::WithSubscriber as _;
use tracing::subscriber::NoSubscriber;

use crate::auth::Credential;
use crate::error::{Error, Kind, Result};
use crate::limits::Limits;
use crate::manifest::Purpose;
use crate::observe::policy::ObservePolicy;
use crate::otlp::message::{Rejected, rejected};
use crate::outbound::own::{OwnPath, granted};
use crate::outbound::{CallContext, Method, Outbound, Repeat, Request};
use crate::time::Clock;
use crate::vault::Secrets;

/// Milliseconds for sending one message, waits and further attempts included.
const SEND_MS: u64 = 30_000;

/// The name of the one origin, credential and secret.
const NAME: &str = "otlp";

/// The path to the URL that the operator wrote and this end of it.
pub(super) struct Path {
    pub(super) clock: Arc<dyn Clock>,
    outbound: Outbound,
    url: String,
}

impl Path {
    /// Nothing where no receiver is named.
    pub(super) fn new(policy: &ObservePolicy, end: &str, own_path: &OwnPath) -> Result<Option<Self>> {
        let Some(base) = &policy.otlp else { return Ok(None) };
        let mut url = base.clone();
        url.set_path(&format!("{}{end}", base.path().trim_end_matches('/')));
        let secret = policy.otlp_secret.as_ref();
        let granted = secret.map(|source| granted(NAME, Purpose::Credential, source)).unwrap_or_default();
        let secrets = Secrets::new(NAME, "observe", granted);
        let mut outbound = Outbound::to_url("[observe]", NAME, Method::Post, &url, secrets, own_path, path_limits())
            .map_err(|why| Error::configuration("[observe]: the path of otlp cannot be granted").with_details(why))?;
        outbound.private_addresses.clone_from(&policy.private_addresses);
        if secret.is_some() {
            let credential = Credential::header(NAME, vec![NAME.to_owned()], &policy.otlp_header, NAME);
            outbound.credentials.push(Arc::new(credential));
            outbound.scope.origins.iter_mut().for_each(|origin| origin.credential = Some(NAME.to_owned()));
        }
        Ok(Some(Self { clock: own_path.secrets.clock.clone(), outbound, url: url.into() }))
    }

    /// Sends a message, and says what of it was not taken. What that does is no part of any trace: it would be sent, and so
    /// on for ever.
    pub(super) async fn send(&self, message: Vec<u8>) -> Result<Option<Rejected>> {
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
        let sent = self.outbound.send(&context, request.into()).with_subscriber(NoSubscriber::default()).await;
        sent.map(|response| rejected(&response.body))
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
