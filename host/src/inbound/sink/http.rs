//! A signed POST for each event, after Standard Webhooks
//! (<https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>, read 2026-11-24).
//!
//! It leaves by the path that every request takes, in a scope that holds this one URL. The path makes one attempt and
//! follows no redirect: when to try again is the line's business, and a redirected POST would arrive as something else.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use bytes::Bytes;
use tokio::sync::Semaphore;
use url::Url;
use zeroize::Zeroizing;

use super::line::{Outlet, Trouble};
use super::{SinkLimits, SinkPlace, SinkPolicy};
use crate::account::SecretSource;
use crate::connection::Limits;
use crate::error::{Error, Kind, Result};
use crate::inbound::envelope::Emitted;
use crate::manifest::Purpose;
use crate::outbound::address::Resolver;
use crate::outbound::retry::RetryBudget;
use crate::outbound::scope::{OriginScope, PathPattern, Scope};
use crate::outbound::transport::Transport;
use crate::outbound::{CallContext, CredentialChoice, Method, Outbound, Repeat, Request};
use crate::time::{BoxFuture, Clock, Timestamp};
use crate::vault::{Granted, Secrets};

/// The name of the one secret.
const SECRET: &str = "secret";

/// Fewest bytes of a secret, as Standard Webhooks has it.
const SECRET_BYTES_MIN: usize = 24;

/// Most bytes of an event. Nothing larger leaves a plugin.
const EVENT_BYTES_MAX: u64 = 64 << 20;

/// Most bytes of an answer, of which nothing but the status matters.
const ANSWER_BYTES_MAX: u64 = 64 << 10;

/// What an http sink works with, from its host.
pub(crate) struct Way {
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) resolver: Arc<Resolver>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) secrets: Arc<Secrets>,
}

/// A sink that is posted to.
pub(crate) struct Posts {
    url: String,
    outbound: Outbound,
    attempt_ms: u64,
}

/// The secret of an http sink, as its policy grants it.
pub(crate) fn granted(source: &SecretSource) -> BTreeMap<String, Granted> {
    let granted = Granted { purpose: Purpose::Sign, source: Some(source.clone()), max_age_days: None };
    BTreeMap::from([(SECRET.to_owned(), granted)])
}

/// The limits of the path to a sink.
pub(crate) fn path_limits(limits: &SinkLimits) -> Limits {
    Limits {
        attempts: 1,
        redirects: 0,
        attempt_ms: limits.attempt_ms,
        connect_ms: limits.attempt_ms,
        request_body_bytes: EVENT_BYTES_MAX,
        response_body_bytes: ANSWER_BYTES_MAX,
        ..Limits::default()
    }
}

impl Posts {
    /// The path to exactly the URL that the operator wrote (R21).
    ///
    /// # Errors
    /// [`Kind::Configuration`] where a path of the URL could be read in two ways.
    pub(crate) fn new(name: &str, policy: &SinkPolicy, way: Way) -> Result<Self> {
        let SinkPlace::Http { url, private_addresses, .. } = &policy.place else {
            return Err(Error::internal("a sink of another kind is posted to"));
        };
        let limits = path_limits(&policy.limits);
        let outbound = Outbound {
            scope: scope(name, url, &limits)?,
            private_addresses: private_addresses.clone(),
            limits,
            resolver: way.resolver,
            transport: way.transport,
            retry_budget: Mutex::new(RetryBudget::new(way.clock.now())),
            event_streams: Arc::new(Semaphore::new(0)),
            ..Outbound::nowhere(way.secrets, way.clock)
        };
        Ok(Self { url: url.to_string(), outbound, attempt_ms: policy.limits.attempt_ms })
    }

    /// Whether it can sign: before anything is started.
    ///
    /// # Errors
    /// [`Kind::CredentialUnavailable`] where there is no secret, [`Kind::Configuration`] where it is none of Standard
    /// Webhooks.
    pub(crate) async fn check(&self) -> Result<()> {
        self.keys().await.map(drop)
    }

    /// The current key, and beside it the next and the previous one while there is one.
    async fn keys(&self) -> Result<Vec<hmac::Key>> {
        let values = self.outbound.secrets.versions(SECRET, Purpose::Sign).await?;
        values.iter().map(|value| key(value)).collect()
    }

    async fn post(&self, event: &Emitted) -> Result<(), Trouble> {
        let body = event.to_cloud_event()?;
        let now = self.outbound.clock.now();
        let seconds = (now.as_millis() / 1000).to_string();
        let signature = signature(&self.keys().await?, &event.id, &seconds, body.as_bytes());
        let header = |name: &str, value: String| (name.to_owned(), value);
        let request = Request {
            method: Method::Post,
            headers: vec![
                header("content-type", "application/cloudevents+json; charset=utf-8".to_owned()),
                header("webhook-id", event.id.clone()),
                header("webhook-timestamp", seconds),
                header("webhook-signature", signature),
            ],
            body: Some(Bytes::from(body)),
            credential: CredentialChoice::Anonymous,
            repeat: Repeat::Never,
            ..Request::get(&self.url)
        };
        let deadline = now.plus(self.attempt_ms.saturating_mul(2));
        let context = CallContext { deadline, observer: None, event: None, operation: None };
        match self.outbound.send(&context, request).await {
            Ok(response) if (200..300).contains(&response.status) => Ok(()),
            Ok(response) => Err(refused(response.status, None)),
            // What the answer said besides its status does not matter, and it took the event.
            Err(error) if error.status().is_some_and(|status| (200..300).contains(&status)) => Ok(()),
            Err(error) => Err(trouble(&error)),
        }
    }
}

impl Outlet for Posts {
    fn batch(&self) -> usize {
        1
    }

    fn give<'a>(&'a mut self, events: &'a [Emitted]) -> BoxFuture<'a, Result<(), Trouble>> {
        Box::pin(async move {
            for event in events {
                self.post(event).await?;
            }
            Ok(())
        })
    }
}

/// A grant of one method at one path of one origin.
fn scope(name: &str, url: &Url, limits: &Limits) -> Result<Scope> {
    let path = PathPattern::parse(url.path()).map_err(|why| {
        Error::configuration(format!("sink `{name}`: the path of its url cannot be granted")).with_details(why)
    })?;
    let mut base = url.clone();
    base.set_path("");
    base.set_query(None);
    let size = |limit: u64| usize::try_from(limit).unwrap_or(usize::MAX);
    Ok(Scope {
        plugin: format!("sink `{name}`"),
        connection: format!("sink {name}"),
        origins: vec![OriginScope {
            name: "sink".to_owned(),
            base,
            methods: vec![Method::Post],
            paths: vec![path],
            narrowed: Vec::new(),
            graphql: None,
            credential: None,
        }],
        asked: Vec::new(),
        stated: Vec::new(),
        credential_headers: Vec::new(),
        url_bytes_max: size(limits.url_bytes),
        request_body_bytes_max: size(limits.request_body_bytes),
        header_count_max: size(limits.headers),
        header_bytes_max: size(limits.header_bytes),
    })
}

/// What a failure of the path means to the line. No sentence holds the URL, which may hold a key.
fn trouble(error: &Error) -> Trouble {
    match (error.status(), error.kind()) {
        (Some(status), _) => refused(status, error.retry_at()),
        (None, Kind::LimitExceeded(limit)) if limit == "redirects" => {
            Trouble::Refused { why: "redirected; write the url where it leads to".to_owned() }
        }
        (None, _) => Trouble::Passing { why: error.message().to_owned(), until: error.retry_at() },
    }
}

/// What a status means.
fn refused(status: u16, until: Option<Timestamp>) -> Trouble {
    let why = format!("answered {status}");
    match status {
        410 => Trouble::Gone { why },
        // It was too slow or too busy: the event itself was not looked at.
        408 | 425 | 429 | 500.. => Trouble::Passing { why, until },
        _ => Trouble::Refused { why },
    }
}

/// `v1,` and a keyed hash over id, time and body, for each key.
fn signature(keys: &[hmac::Key], id: &str, seconds: &str, body: &[u8]) -> String {
    let signed = keys.iter().map(|key| {
        let mut context = hmac::Context::with_key(key);
        for part in [id.as_bytes(), b".", seconds.as_bytes(), b".", body] {
            context.update(part);
        }
        format!("v1,{}", STANDARD.encode(context.sign()))
    });
    signed.collect::<Vec<_>>().join(" ")
}

/// The key that a secret stands for: `whsec_` and base64, with or without its padding.
fn key(secret: &str) -> Result<hmac::Key> {
    let encoded = secret.strip_prefix("whsec_").unwrap_or(secret);
    let bytes = STANDARD.decode(encoded).or_else(|_| STANDARD_NO_PAD.decode(encoded)).map(Zeroizing::new);
    match bytes {
        Ok(bytes) if bytes.len() >= SECRET_BYTES_MIN => Ok(hmac::Key::new(hmac::HMAC_SHA256, &bytes)),
        _ => Err(Error::configuration("the secret of the sink is none of Standard Webhooks").with_details(format!(
            "It is whsec_ and the base64 of at least {SECRET_BYTES_MIN} random bytes:   openssl rand -base64 32"
        ))),
    }
}
