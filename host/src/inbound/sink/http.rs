//! A signed POST for each event, after Standard Webhooks
//! (<https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>, read 2026-11-24).
//!
//! It leaves by the path that every request takes, in a scope that holds this one URL. The path makes one attempt and
//! follows no redirect: when to try again is the worker's business, and a redirected POST would arrive as something else.

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use bytes::Bytes;
use zeroize::Zeroizing;

use super::worker::{SinkTarget, Trouble};
use crate::error::{Error, Kind, Result};
use crate::inbound::envelope::Emitted;
use crate::limits::Limits;
use crate::manifest::Purpose;
use crate::observe::audit::{AuditAction, AuditEntry};
use crate::outbound::own::{OwnPath, granted};
use crate::outbound::{CallContext, CredentialChoice, Method, Outbound, Repeat, Request};
use crate::policy::sink::{SinkLimits, SinkPlace, SinkPolicy};
use crate::time::{BoxFuture, Timestamp};
use crate::vault::Secrets;

/// The name of the one secret.
const SECRET: &str = "secret";

/// Fewest bytes of a secret, as Standard Webhooks has it.
const SECRET_BYTES_MIN: usize = 24;

/// Most bytes of an event. Nothing larger leaves a plugin.
const EVENT_BYTES_MAX: u64 = 64 << 20;

/// Most bytes of an answer, of which nothing but the status matters.
const ANSWER_BYTES_MAX: u64 = 64 << 10;

/// A sink that is posted to.
pub(crate) struct HttpTarget {
    url: String,
    outbound: Outbound,
    attempt_ms: u64,
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

impl HttpTarget {
    /// The path to exactly the URL that the operator wrote (R21).
    ///
    /// # Errors
    /// [`Kind::Configuration`] where a path of the URL could be read in two ways.
    pub(crate) fn new(name: &str, policy: &SinkPolicy, own_path: &OwnPath) -> Result<Self> {
        let SinkPlace::Http { url, secret, private_addresses } = &policy.place else {
            return Err(Error::internal("a sink of another kind is posted to"));
        };
        let (who, limits) = (format!("sink `{name}`"), path_limits(&policy.limits));
        let secrets = Secrets::new("sink", name, granted(SECRET, Purpose::Sign, secret));
        let mut outbound =
            Outbound::to_url(&who, "sink", Method::Post, url, secrets, own_path, limits).map_err(|why| {
                Error::configuration(format!("{who}: the path of its url cannot be granted")).with_details(why)
            })?;
        outbound.private_addresses.clone_from(private_addresses);
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
        let seconds = (self.outbound.clock.wall().as_millis() / 1000).to_string();
        let keys = self.keys().await;
        let told = self.outbound.audit_context.entry(AuditAction::Sign, None);
        let told = AuditEntry { secrets: vec![SECRET.to_owned()], ..told };
        self.outbound.audit_context.tell(told.came_to(keys.as_ref().map(|_| ())));
        let signature = signature(&keys?, &event.id, &seconds, body.as_bytes());
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
            // The receiver knows a repetition by its id. The path's limits allow one attempt all the same.
            repeat: Repeat::Safe,
            ..Request::get(&self.url)
        };
        let deadline = self.outbound.clock.now().plus(self.attempt_ms.saturating_mul(2));
        let context = CallContext { deadline, observer: None, event: None, operation: None };
        match self.outbound.send(&context, request.into()).await {
            Ok(response) if (200..300).contains(&response.status) => Ok(()),
            Ok(response) => Err(refused(response.status, None)),
            // What the answer said besides its status does not matter, and it took the event.
            Err(error) if error.status().is_some_and(|status| (200..300).contains(&status)) => Ok(()),
            Err(error) => Err(trouble(&error)),
        }
    }
}

impl SinkTarget for HttpTarget {
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

/// What a failure of the path means to the worker. No sentence holds the URL, which may hold a key.
fn trouble(error: &Error) -> Trouble {
    match (error.status(), error.kind()) {
        (Some(status), _) => refused(status, error.retry_at()),
        (None, Kind::LimitExceeded(limit)) if limit == "redirects" => {
            Trouble::Refused { why: "redirected; write the url where it leads to".to_owned() }
        }
        (None, Kind::PolicyDenied(_)) => {
            let why = format!("{}; what may be dialled for it, its private_addresses say", error.message());
            Trouble::Passing { why, until: None }
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

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Arc, Mutex};

    use serde_json::value::RawValue;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;
    use crate::SecretValue;
    use crate::account::SecretSource;
    use crate::event::Emission;
    use crate::inbound::envelope::Emitter;
    use crate::observe::audit::AuditContext;
    use crate::outbound::address::Resolver;
    use crate::outbound::client::Http;
    use crate::outbound::sign::SignedRequest;
    use crate::outbound::transport::{ResponseHead, Transport, TransportError};
    use crate::time::{Clock, ManualClock};
    use crate::vault::SecretsContext;

    const NOW: Timestamp = Timestamp::from_millis(1_614_265_330_500);
    const KEY: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    fn event() -> Emitted {
        let emitter = Emitter { connection: "acme".into(), account: None, plugin: "shop".into() };
        let data = RawValue::from_string("{\"total\": 10.00}".into()).unwrap();
        emitter.emitted(Emission { event_type: "order".into(), key: "7".into(), data }, NOW, None)
    }

    fn value(text: &str) -> SecretSource {
        SecretSource::Value(SecretValue::new(text))
    }

    const AHEAD_MS: u64 = 3_600_000;

    /// Ahead of the wall clock, which was put right since.
    struct Ahead(ManualClock);

    impl Clock for Ahead {
        fn now(&self) -> Timestamp {
            self.0.now().plus(AHEAD_MS)
        }

        fn wall(&self) -> Timestamp {
            self.0.now()
        }

        fn sleep_until(&self, at: Timestamp) -> BoxFuture<'static, ()> {
            self.0.sleep_until(at)
        }

        fn jitter(&self) -> f64 {
            self.0.jitter()
        }
    }

    /// A sink of this URL, over a transport of one's own or over the network.
    fn posts(url: &str, secret: SecretSource, transport: Option<Arc<dyn Transport>>) -> HttpTarget {
        let private = if url.starts_with("http:") { "private_addresses = ['127.0.0.1/32']" } else { "" };
        let text = format!("kind = 'http'\nurl = '{url}'\nsecret = {{ env = 'X' }}\n{private}");
        let mut policy = SinkPolicy::parse(&text).unwrap();
        if let SinkPlace::Http { secret: source, .. } = &mut policy.place {
            *source = secret;
        }
        let clock: Arc<dyn Clock> = Arc::new(Ahead(ManualClock::new(NOW, 1)));
        let secrets = SecretsContext {
            sealed: None,
            owner: "sink s".into(),
            clock: clock.clone(),
            run_programs: false,
            audit_context: AuditContext::closed(),
        };
        let own_path = OwnPath {
            transport: transport.unwrap_or_else(|| Arc::new(Http::new(&path_limits(&policy.limits)).unwrap())),
            resolver: Arc::new(Resolver::new(clock)),
            secrets,
        };
        HttpTarget::new("s", &policy, &own_path).unwrap()
    }

    /// Answers with a status and a header field, and keeps what it saw.
    struct Inside {
        status: u16,
        field: Option<(&'static str, &'static str)>,
        seen: Mutex<Vec<(String, http::HeaderMap, Bytes)>>,
    }

    impl Inside {
        fn answering(status: u16, field: Option<(&'static str, &'static str)>) -> Arc<Self> {
            Arc::new(Self { status, field, seen: Mutex::default() })
        }
    }

    impl Transport for Inside {
        fn send<'a>(&'a self, signed: &'a SignedRequest) -> BoxFuture<'a, Result<ResponseHead, TransportError>> {
            let body = signed.body().cloned().unwrap_or_default();
            let seen = (format!("{} {}", signed.method(), signed.url()), signed.headers().clone(), body);
            self.seen.lock().unwrap().push(seen);
            let mut headers = http::HeaderMap::new();
            if let Some((name, value)) = self.field {
                headers.insert(name, value.parse().unwrap());
            }
            let head = ResponseHead { status: self.status, headers, body: Box::new(None::<Bytes>) };
            Box::pin(std::future::ready(Ok(head)))
        }
    }

    /// The example that the authors' own libraries are tested with (`standardwebhooks`, read 2026-11-24).
    #[test]
    fn a_signature_is_what_standard_webhooks_says() {
        let signed = |secrets: &[&str]| {
            let keys: Vec<hmac::Key> = secrets.iter().map(|secret| key(secret).unwrap()).collect();
            signature(&keys, "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", b"{\"test\": 2432232314}")
        };
        let expected = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
        assert_eq!(signed(&[KEY]), expected);
        assert_eq!(signed(&[KEY.strip_prefix("whsec_").unwrap()]), expected);
        // While a secret is changed, both sign.
        let other = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
        let both = signed(&[other, KEY]);
        assert!(
            both.starts_with("v1,") && both.ends_with(&format!(" {expected}")) && both.len() == 2 * expected.len() + 1
        );
    }

    #[tokio::test]
    async fn a_secret_that_is_none_is_said_before_anything_is_sent() {
        for wrong in ["hunter2", "whsec_", "whsec_c2hvcnQ=", "whsec_!!!"] {
            let error = posts("https://8.8.8.8/in", value(wrong), None).check().await.unwrap_err();
            assert_eq!(error.kind(), &Kind::Configuration);
            assert!(error.to_string().contains("openssl rand") && !error.to_string().contains("hunter2"), "{error}");
        }
        let missing = SecretSource::Env("WHARFAGE_TEST_NO_SUCH_SECRET".into());
        let error = posts("https://8.8.8.8/in", missing, None).check().await.unwrap_err();
        assert_eq!(error.kind(), &Kind::CredentialUnavailable);
    }

    #[tokio::test]
    async fn an_event_is_posted_signed_and_as_a_cloud_event() {
        let inside = Inside::answering(204, None);
        let mut posts = posts("https://8.8.8.8/in/a?key=1", value(KEY), Some(inside.clone()));
        posts.check().await.unwrap();
        let event = event();
        posts.give(std::slice::from_ref(&event)).await.unwrap();
        let seen = inside.seen.lock().unwrap();
        let (worker, headers, body) = &seen[0];
        assert_eq!(worker, "POST https://8.8.8.8/in/a?key=1");
        assert_eq!(std::str::from_utf8(body).unwrap(), event.to_cloud_event().unwrap());
        assert_eq!(headers["content-type"], "application/cloudevents+json; charset=utf-8");
        assert_eq!(headers["webhook-id"], event.id.as_str());
        assert_eq!(headers["webhook-timestamp"], "1614265330");
        let expected = signature(&[key(KEY).unwrap()], &event.id, "1614265330", body);
        assert_eq!(headers["webhook-signature"], expected.as_str());
    }

    #[tokio::test]
    async fn what_an_answer_means() {
        let passing = |why: &str, until| Trouble::Passing { why: why.into(), until };
        let refused = |why: &str| Trouble::Refused { why: why.into() };
        let after = Some(("retry-after", "90"));
        for (status, field, expected) in [
            (200, None, Ok(())),
            (202, None, Ok(())),
            (304, None, Err(refused("answered 304"))),
            (
                307,
                Some(("location", "https://8.8.4.4/elsewhere")),
                Err(refused("redirected; write the url where it leads to")),
            ),
            (302, Some(("location", "/login")), Err(refused("redirected; write the url where it leads to"))),
            (400, None, Err(refused("answered 400"))),
            (401, None, Err(refused("answered 401"))),
            (404, None, Err(refused("answered 404"))),
            (408, None, Err(passing("answered 408", None))),
            (410, None, Err(Trouble::Gone { why: "answered 410".into() })),
            (429, after, Err(passing("answered 429", Some(NOW.plus(AHEAD_MS + 90_000))))),
            (429, None, Err(passing("answered 429", Some(NOW.plus(AHEAD_MS + 60_000))))),
            (500, None, Err(passing("answered 500", None))),
            (503, after, Err(passing("answered 503", Some(NOW.plus(AHEAD_MS + 90_000))))),
        ] {
            let inside = Inside::answering(status, field);
            let mut posts = posts("https://8.8.8.8/in", value(KEY), Some(inside.clone()));
            let outcome = posts.give(&[event()]).await;
            let about = |trouble: Trouble| match trouble {
                // A hair is added, as to any wait that a provider asks for.
                Trouble::Passing { why, until } => Trouble::Passing {
                    why,
                    until: until.map(|at| Timestamp::from_millis(at.as_millis() / 1000 * 1000 + 500)),
                },
                other => other,
            };
            assert_eq!(outcome.map_err(about), expected, "{status}");
            assert_eq!(inside.seen.lock().unwrap().len(), 1, "{status}: when to try again is the worker's business");
        }
    }

    /// R21: an http sink reaches what its operator wrote and nothing else.
    #[tokio::test]
    async fn r21_an_http_sink_goes_through_send_under_the_operators_grant() {
        let inside = Inside::answering(200, None);
        let posts = posts("https://8.8.8.8/in/a", value(KEY), Some(inside.clone()));
        let context = CallContext { deadline: NOW.plus(60_000), observer: None, event: None, operation: None };
        for (method, url) in [
            (Method::Get, "https://8.8.8.8/in/a"),
            (Method::Post, "https://8.8.8.8/in/b"),
            (Method::Post, "https://8.8.8.8/in/a/"),
            (Method::Post, "https://8.8.4.4/in/a"),
            (Method::Post, "http://8.8.8.8/in/a"),
        ] {
            let request = Request { method, ..Request::get(url) };
            let Err(error) = posts.outbound.send(&context, request.into()).await else {
                panic!("{method} {url} was sent")
            };
            assert!(matches!(error.kind(), Kind::PolicyDenied(_)), "{method} {url}: {error}");
        }
        assert!(inside.seen.lock().unwrap().is_empty());
        // Not into a network of one's own, unless the policy names it.
        for address in ["10.0.0.1", "127.0.0.1", "169.254.169.254", "[::1]"] {
            let mut posts = self::posts(&format!("https://{address}/in"), value(KEY), Some(inside.clone()));
            let Err(Trouble::Passing { why, .. }) = posts.give(&[event()]).await else {
                panic!("{address} was dialled")
            };
            assert!(why.contains("its private_addresses say"), "{why}");
        }
        assert!(inside.seen.lock().unwrap().is_empty());
    }

    /// Over a real socket: an answer, a refusal, a connection that breaks, and nobody there.
    #[tokio::test]
    async fn over_the_network() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let served = Arc::new(AtomicUsize::new(0));
        let count = served.clone();
        let server = tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut seen: Vec<u8> = Vec::new();
                while !seen.windows(7).any(|bytes| bytes == b"10.00}}".as_slice()) {
                    let mut piece = [0; 4096];
                    let length = stream.read(&mut piece).await.unwrap();
                    assert!(length > 0, "the request was cut");
                    seen.extend(&piece[..length]);
                }
                let answer: &[u8] = match count.fetch_add(1, Ordering::SeqCst) {
                    0 => b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok",
                    1 => b"HTTP/1.1 410 Gone\r\nconnection: close\r\ncontent-length: 0\r\n\r\n",
                    _ => b"HTTP/1.1 2",
                };
                stream.write_all(answer).await.unwrap();
            }
        });
        let mut posts = posts(&format!("http://{address}/in"), value(KEY), None);
        assert_eq!(posts.give(&[event()]).await, Ok(()));
        assert_eq!(posts.give(&[event()]).await, Err(Trouble::Gone { why: "answered 410".into() }));
        assert!(matches!(posts.give(&[event()]).await, Err(Trouble::Passing { .. })));
        assert_eq!(served.load(Ordering::SeqCst), 3, "it was posted once more by itself");
        server.abort();
        let _ = server.await;
        assert!(matches!(posts.give(&[event()]).await, Err(Trouble::Passing { .. })));
    }
}
