//! Where webhooks arrive: a listener of its own, which serves nothing else (R20).
//!
//! Nobody out there is known, so beyond what `listener.rs` bounds, a body has an end by time and by size. What is refused
//! is refused before more is read than must be, and in the same words and after the same work whatever the reason: a
//! delivery to an endpoint that is not there is read and hashed like one to an endpoint that is (S37 of the guide's
//! defects).

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, PoisonError, RwLock};

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Method, Request, StatusCode, header};
use axum::response::Response;
use futures_util::StreamExt as _;
use tokio::sync::Semaphore;

use super::listener::{Answers, Incoming, Line, Listener, ListenerLimits, another, bounded};
use crate::error::{Error, Result};
use crate::inbound::verify::check_in_vain;
use crate::inbound::webhook::{Endpoint, Reply};
use crate::manifest::AnswerFacts;
use crate::policy::serve::ServeLimits;
use crate::policy::webhook::EndpointLimits;
use crate::time::{Clock, Timestamp};

/// What an endpoint's path begins with.
const PATH: &str = "/webhooks/";
/// Seconds after which a delivery that is turned away may come again.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("5");

/// The listener; dropping it closes it.
pub(crate) struct Webhooks {
    listener: Listener,
    shared: Arc<Shared>,
}

struct Shared {
    served: RwLock<Arc<Served>>,
    /// Places for deliveries to endpoints that are not there.
    strangers: Semaphore,
    clock: Arc<dyn Clock>,
}

/// What is served now, and within which limits.
struct Served {
    endpoints: BTreeMap<String, Arc<Endpoint>>,
    limits: ServeLimits,
}

impl Webhooks {
    /// Listens at `address`; port 0 stands for a free one.
    ///
    /// # Errors
    /// [`Kind::Configuration`](crate::Kind::Configuration) when somebody else listens there.
    pub(crate) async fn listen(
        address: SocketAddr,
        endpoints: Vec<Arc<Endpoint>>,
        limits: ServeLimits,
        clock: Arc<dyn Clock>,
    ) -> Result<Self> {
        let cannot = |error: std::io::Error| {
            Error::configuration(format!("webhooks cannot be listened for at {address}: {error}"))
                .with_details(another(&error, "serve"))
        };
        let strangers = Semaphore::new(bounded(EndpointLimits::default().in_flight));
        let served = RwLock::new(Arc::new(Served::new(endpoints, limits)));
        let shared = Arc::new(Shared { served, strangers, clock });
        let listener = Listener::open(address, shared.clone()).await.map_err(cannot)?;
        Ok(Self { listener, shared })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.listener.address()
    }

    /// What takes connections, to see whether it still does.
    pub(crate) fn worker(&self) -> tokio::task::AbortHandle {
        self.listener.worker()
    }

    /// Serves these endpoints from now on, within these limits; what is under way at others is finished.
    pub(crate) fn replace(&self, endpoints: Vec<Arc<Endpoint>>, limits: ServeLimits) {
        let served = Arc::new(Served::new(endpoints, limits));
        *self.shared.served.write().unwrap_or_else(PoisonError::into_inner) = served;
    }

    /// The endpoints that are served.
    pub(crate) fn endpoints(&self) -> BTreeMap<String, Arc<Endpoint>> {
        self.shared.served().endpoints.clone()
    }

    /// Takes no more deliveries, and ends when those under way are answered or their time to drain is over.
    pub(crate) async fn close(self) {
        self.listener.close().await;
    }
}

impl Shared {
    fn served(&self) -> Arc<Served> {
        self.served.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Served {
    fn new(endpoints: Vec<Arc<Endpoint>>, limits: ServeLimits) -> Self {
        let endpoints = endpoints.into_iter().map(|endpoint| (endpoint.id().to_owned(), endpoint)).collect();
        Self { endpoints, limits }
    }
}

impl Answers for Shared {
    fn limits(&self) -> ListenerLimits {
        let ServeLimits { connections, head_ms, idle_ms, head_bytes, headers, drain_ms, .. } = self.served().limits;
        ListenerLimits { connections, head_ms, idle_ms, head_bytes, headers, drain_ms }
    }

    fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    async fn answer(self: &Arc<Self>, request: Request<Incoming>, _: &Line) -> Response {
        answer(self, request).await
    }
}

/// Answers one request.
async fn answer(shared: &Shared, request: Request<Incoming>) -> Response {
    let (head, body) = request.into_parts();
    let Some(id) = head.uri.path().strip_prefix(PATH) else { return refused(StatusCode::NOT_FOUND) };
    if head.method != Method::POST {
        let mut response = refused(StatusCode::METHOD_NOT_ALLOWED);
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("POST"));
        return response;
    }
    if is_encoded(&head.headers) {
        return refused(StatusCode::UNSUPPORTED_MEDIA_TYPE);
    }
    let served = shared.served();
    let endpoint = served.endpoints.get(id);
    let place = match endpoint {
        Some(endpoint) => endpoint.admit(),
        None => shared.strangers.try_acquire().ok(),
    };
    let Some(_place) = place else { return busy() };
    let limits = endpoint.map_or_else(EndpointLimits::default, |endpoint| *endpoint.limits());
    let body = match read(body, &head.headers, &limits, &*shared.clock).await {
        Ok(body) => body,
        Err(status) => return refused(status),
    };
    let Some(endpoint) = endpoint else {
        check_in_vain(&body);
        return refused(StatusCode::NOT_FOUND);
    };
    match endpoint.take(&head.headers, head.uri.query(), body).await {
        Reply::Received => received(endpoint.answer()),
        Reply::Challenge(answer) => said(StatusCode::OK, "text/plain; charset=utf-8", answer),
        Reply::Unauthorized => refused(StatusCode::UNAUTHORIZED),
        Reply::Malformed => refused(StatusCode::BAD_REQUEST),
        Reply::Busy => busy(),
    }
}

/// Whether a body is packed in some way: what is signed is what was sent, and nothing is unpacked for strangers.
fn is_encoded(headers: &HeaderMap) -> bool {
    let mut encodings = headers.get_all(header::CONTENT_ENCODING).iter();
    encodings.any(|encoding| !encoding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"identity"))
}

/// Reads a body, as far and as long as it may be.
async fn read(
    body: Incoming,
    headers: &HeaderMap,
    limits: &EndpointLimits,
    clock: &dyn Clock,
) -> std::result::Result<Vec<u8>, StatusCode> {
    let length = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if length.is_some_and(|length| length > limits.body_bytes) {
        return Err(StatusCode::PAYLOAD_TOO_LARGE);
    }
    let end: Timestamp = clock.now().plus(limits.body_ms);
    let mut late = clock.alarm(end);
    let mut chunks = Body::new(body).into_data_stream();
    let mut read = Vec::new();
    loop {
        let chunk = tokio::select! {
            biased;
            chunk = chunks.next() => chunk,
            () = &mut late => return Err(StatusCode::REQUEST_TIMEOUT),
        };
        match chunk {
            None => return Ok(read),
            Some(Err(_)) => return Err(StatusCode::BAD_REQUEST),
            Some(Ok(chunk)) if (read.len() + chunk.len()) as u64 > limits.body_bytes => {
                return Err(StatusCode::PAYLOAD_TOO_LARGE);
            }
            Some(Ok(chunk)) => read.extend_from_slice(&chunk),
        }
    }
}

/// It was taken, in the provider's own words where it reads them.
fn received(answer: Option<&AnswerFacts>) -> Response {
    let Some(answer) = answer else { return said(StatusCode::OK, "application/json", r#"{"status":"received"}"#) };
    let mut response = said(StatusCode::OK, "text/plain; charset=utf-8", answer.body.clone());
    if let Ok(kind) = HeaderValue::from_str(&answer.content_type) {
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
    }
    response
}

/// The same words whatever the reason.
fn refused(status: StatusCode) -> Response {
    said(status, "application/json", r#"{"status":"refused"}"#)
}

/// It was not taken; the provider is to send it again.
fn busy() -> Response {
    let mut response = refused(StatusCode::SERVICE_UNAVAILABLE);
    response.headers_mut().insert(header::RETRY_AFTER, RETRY_AFTER);
    response
}

fn said(status: StatusCode, kind: &'static str, text: impl Into<Body>) -> Response {
    let mut response = Response::new(text.into());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    for (name, value) in
        [(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, "no-store"), (header::X_CONTENT_TYPE_OPTIONS, "nosniff")]
    {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::pin::pin;
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpStream;

    use super::*;
    use crate::account::{SecretSource, SecretValue};
    use crate::auth::hmac::Function;
    use crate::hex::hex;
    use crate::inbound::inbox::Webhook;
    use crate::inbound::webhook::{Receives, WebhookCounts};
    use crate::manifest::{Manifest, Purpose};
    use crate::outbound::Outbound;
    use crate::policy::webhook::EndpointPolicy;
    use crate::store::arrival::Claimed;
    use crate::time::{BoxFuture, ManualClock};
    use crate::vault::{Granted, Secrets};

    const AT_S: u64 = 1_764_000_000;
    const SECRET: &str = "signing-secret";
    const MANIFEST: &str = "[plugin]\nname='acme'\nversion='1.2.3'\ncontract='0.1.0'\nprovider='Acme'\n\
        [secrets.hook]\npurpose='verify'\n\
        [webhooks.w]\nsource='s'\ndate='2026-11-24'\ntime={header='X-Time'}\n\
        keys=[{pointers=['/id']},{hash=true}]\nchallenge={pointer='/type',equals='ask',answer='/challenge'}\n\
        verify={scheme='signature',secret='hook',header='X-Sign',algorithm='hmac-sha256',encoding='hex',content='{timestamp}.{body}'}\n";

    /// Keeps keys, and fails or is full or never done where it is told so.
    #[derive(Default)]
    struct Shelf {
        keys: Mutex<BTreeSet<String>>,
        trouble: Mutex<Option<&'static str>>,
        calls: AtomicUsize,
    }

    impl Receives for Shelf {
        fn receive(&self, webhook: Webhook) -> BoxFuture<'_, Result<Claimed>> {
            self.calls.fetch_add(1, Ordering::SeqCst);
            let trouble = *self.trouble.lock().unwrap();
            Box::pin(async move {
                tokio::task::yield_now().await;
                match trouble {
                    Some("full") => Ok(Claimed::Full("waiting_events")),
                    Some(_) => Err(Error::internal("the disk is full")),
                    None if self.keys.lock().unwrap().insert(webhook.key) => Ok(Claimed::New(1)),
                    None => Ok(Claimed::Repeated),
                }
            })
        }
    }

    struct Scene {
        clock: ManualClock,
        shelf: Arc<Shelf>,
        webhooks: Webhooks,
    }

    fn secrets(value: Option<&str>) -> Arc<Secrets> {
        let source = match value {
            Some(value) => SecretSource::Value(SecretValue::new(value)),
            None => SecretSource::Env("NO_SUCH_VARIABLE".to_owned()),
        };
        let granted = Granted { purpose: Purpose::Verify, source: Some(source), max_age_days: None };
        Arc::new(Secrets::new("acme", "acme-orders", BTreeMap::from([("hook".to_owned(), granted)])))
    }

    async fn endpoint(
        policy: &str,
        manifest: &str,
        secret: Option<&str>,
        shelf: &Arc<Shelf>,
        clock: &ManualClock,
    ) -> Result<Endpoint> {
        let policy: EndpointPolicy =
            toml::from_str(&format!("connection='acme-orders'\nwebhook='w'\n{policy}")).unwrap();
        let manifest = Manifest::parse(manifest).unwrap();
        let outbound = Arc::new(Outbound::nowhere(secrets(secret), Arc::new(clock.clone())));
        Endpoint::over("orders-8c1f", &policy, &manifest.webhooks["w"], None, outbound, shelf.clone()).await
    }

    async fn open(policy: &str, limits: ServeLimits) -> Scene {
        open_with(policy, MANIFEST, limits).await
    }

    async fn open_with(policy: &str, manifest: &str, limits: ServeLimits) -> Scene {
        let clock = ManualClock::new(Timestamp::from_millis(AT_S * 1_000), 1);
        let shelf = Arc::new(Shelf::default());
        let endpoint = endpoint(policy, manifest, Some(SECRET), &shelf, &clock).await.unwrap();
        let here = SocketAddr::from(([127, 0, 0, 1], 0));
        let webhooks = Webhooks::listen(here, vec![endpoint.into()], limits, Arc::new(clock.clone())).await.unwrap();
        Scene { clock, shelf, webhooks }
    }

    async fn plain() -> Scene {
        open("", ServeLimits::default()).await
    }

    impl Scene {
        async fn connect(&self) -> TcpStream {
            TcpStream::connect(self.webhooks.address()).await.unwrap()
        }

        /// Sends this, and reads until the other side closes.
        async fn ask(&self, bytes: &[u8]) -> String {
            let mut stream = self.connect().await;
            // The other side may have heard enough before this is all written.
            let _ = stream.write_all(bytes).await;
            said(&mut stream).await
        }

        fn counts(&self) -> WebhookCounts {
            self.webhooks.endpoints()["orders-8c1f"].counts()
        }

        /// Lets time pass, bit by bit, until `work` is done. Answers how much passed.
        async fn while_time_passes<T>(&self, work: impl Future<Output = T>) -> (T, u64) {
            let mut work = pin!(work);
            let began = self.clock.now();
            for _ in 0..1_000 {
                for _ in 0..20 {
                    tokio::select! {
                        biased;
                        done = work.as_mut() => return (done, self.clock.now().since(began)),
                        () = tokio::task::yield_now() => {}
                    }
                }
                self.clock.advance(100);
            }
            panic!("it never ends");
        }
    }

    /// What comes until the other side closes; a reset after it is a close.
    async fn said(stream: &mut TcpStream) -> String {
        let mut text = Vec::new();
        let mut chunk = [0; 4_096];
        while let Ok(read @ 1..) = stream.read(&mut chunk).await {
            text.extend_from_slice(&chunk[..read]);
        }
        String::from_utf8_lossy(&text).into_owned()
    }

    fn signature(time: &str, body: &[u8]) -> String {
        hex(&Function::Sha256.mac_of(SECRET.as_bytes(), [time.as_bytes(), b".", body]))
    }

    fn request(head: &str, body: &[u8]) -> Vec<u8> {
        let mut bytes = format!("{head}\r\nhost: x\r\nconnection: close\r\n").into_bytes();
        bytes.extend_from_slice(format!("content-length: {}\r\n\r\n", body.len()).as_bytes());
        bytes.extend_from_slice(body);
        bytes
    }

    fn signed_at(path: &str, time_s: u64, body: &[u8]) -> Vec<u8> {
        let sign = signature(&time_s.to_string(), body);
        request(&format!("POST {path} HTTP/1.1\r\nx-time: {time_s}\r\nx-sign: {sign}"), body)
    }

    fn signed(body: &[u8]) -> Vec<u8> {
        signed_at("/webhooks/orders-8c1f", AT_S, body)
    }

    /// Status, and what follows but for the date.
    fn parts(answer: &str) -> (&str, String) {
        let status = answer.get(9..12).unwrap_or_default();
        let rest = answer.split_once("\r\n").unwrap_or_default().1;
        let lines: Vec<&str> = rest.lines().filter(|line| !line.starts_with("date:")).collect();
        (status, lines.join("\n"))
    }

    #[tokio::test]
    async fn a_delivery_is_stored_and_acknowledged_and_one_that_comes_again_too() {
        let scene = plain().await;
        for _ in 0..3 {
            let answer = scene.ask(&signed(br#"{"id":"e1"}"#)).await;
            assert!(
                answer.starts_with("HTTP/1.1 200") && answer.ends_with("\r\n\r\n{\"status\":\"received\"}"),
                "{answer}"
            );
            assert!(answer.contains("cache-control: no-store") && answer.contains("nosniff"), "{answer}");
        }
        assert_eq!(scene.counts(), WebhookCounts { received: 1, repeated: 2, proven: 3, ..WebhookCounts::default() });
        // Bytes are bytes.
        assert!(scene.ask(&signed(b"\xff\xfe\x00")).await.starts_with("HTTP/1.1 200"));
        let asked = scene.ask(&signed(br#"{"type":"ask","challenge":"<b>3eZ"}"#)).await;
        assert!(asked.contains("content-type: text/plain") && asked.ends_with("\r\n\r\n<b>3eZ"), "{asked}");
        assert_eq!(scene.shelf.keys.lock().unwrap().len(), 2);
        let WebhookCounts { received, proven, .. } = scene.counts();
        assert_eq!((received, proven), (2, 5), "a challenge is the provider's own");
    }

    /// Some providers read the answer and do what it says, or complain when it is in no language of theirs.
    #[tokio::test]
    async fn a_provider_that_reads_the_answer_gets_its_own() {
        let answer = "answer={content_type='text/xml',body='<Nothing/>'}\nverify=";
        let scene = open_with("", &MANIFEST.replace("verify=", answer), ServeLimits::default()).await;
        for _ in 0..2 {
            let said = scene.ask(&signed(br#"{"id":"e1"}"#)).await;
            assert!(said.starts_with("HTTP/1.1 200") && said.contains("content-type: text/xml\r\n"), "{said}");
            assert!(said.ends_with("\r\n\r\n<Nothing/>"), "{said}");
        }
        let refused = scene.ask(&request("POST /webhooks/orders-8c1f HTTP/1.1", b"{}")).await;
        assert!(refused.starts_with("HTTP/1.1 401") && !refused.contains("<Nothing/>"), "{refused}");
    }

    /// The defect S9 of the guide, at the door: many at once are one.
    #[tokio::test]
    async fn guide_s09_copies_that_come_at_once_are_one_event() {
        let scene = plain().await;
        let delivery = signed(br#"{"id":"e1"}"#);
        let answers = futures_util::future::join_all((0..60).map(|_| scene.ask(&delivery))).await;
        assert!(answers.iter().all(|answer| answer.starts_with("HTTP/1.1 200")), "{answers:?}");
        assert_eq!((scene.counts().received, scene.counts().repeated), (1, 59));
    }

    #[tokio::test]
    async fn what_is_not_the_providers_own_is_refused_and_not_stored() {
        let scene = plain().await;
        let body = br#"{"id":"e1"}"#;
        let path = "POST /webhooks/orders-8c1f HTTP/1.1";
        let sign = signature(&AT_S.to_string(), body);
        let wrong = format!("{}0", &sign[..63]);
        for (head, status) in [
            (path.to_owned(), "401"),
            (format!("{path}\r\nx-time: {AT_S}"), "401"),
            (format!("{path}\r\nx-sign: {sign}"), "401"),
            (format!("{path}\r\nx-time: {AT_S}\r\nx-sign: {}", wrong.replace(&sign, "ff")), "401"),
            (format!("{path}\r\nx-time: {AT_S}\r\nx-sign: \u{e9}"), "401"),
            (format!("{path}\r\nx-time: soon\r\nx-sign: {sign}"), "400"),
            (format!("{path}\r\nx-time: soon"), "400"),
            ("GET /webhooks/orders-8c1f HTTP/1.1".to_owned(), "405"),
            ("DELETE /webhooks/none HTTP/1.1".to_owned(), "405"),
            (format!("{path}\r\ncontent-encoding: gzip"), "415"),
            (format!("{path}\r\ncontent-encoding: identity"), "401"),
            ("POST /webhooks/none HTTP/1.1".to_owned(), "404"),
            ("POST /webhooks/ HTTP/1.1".to_owned(), "404"),
            ("POST /webhooks/orders-8c1f/ HTTP/1.1".to_owned(), "404"),
            ("POST / HTTP/1.1".to_owned(), "404"),
            ("GET /metrics HTTP/1.1".to_owned(), "404"),
            ("POST /webhooks/../webhooks/orders-8c1f HTTP/1.1".to_owned(), "404"),
            ("nonsense".to_owned(), "400"),
        ] {
            let answer = scene.ask(&request(&head, body)).await;
            assert_eq!(parts(&answer).0, status, "{head}: {answer}");
        }
        let later = scene.ask(&signed_at("/webhooks/orders-8c1f", AT_S - 301, body)).await;
        assert_eq!(parts(&later).0, "401");
        assert!(scene.ask(&request("GET /webhooks/x HTTP/1.1", b"")).await.contains("allow: POST"));
        assert_eq!(scene.shelf.calls.load(Ordering::SeqCst), 0);
        assert!(scene.counts().refused > 5);
    }

    /// The defect S37 of the guide: from what was answered one could tell which providers there are, and why one was refused.
    /// Here an answer tells whether an id is taken, and ids are the operator's own.
    #[tokio::test]
    async fn guide_s37_an_answer_tells_neither_whose_an_endpoint_is_nor_why_one_was_refused() {
        let scene = open("limits.body_bytes = 1048576", ServeLimits::default()).await;
        let body = br#"{"id":"e1"}"#;
        let unlike = "f".repeat(64);
        let heads = [
            String::new(),
            format!("\r\nx-time: {AT_S}\r\nx-sign: {unlike}"),
            format!("\r\nx-time: {}\r\nx-sign: {unlike}", AT_S - 1_000),
            "\r\ncontent-encoding: gzip".to_owned(),
        ];
        let mut told = BTreeSet::new();
        for head in &heads {
            let ask = async |id: &str| scene.ask(&request(&format!("POST /webhooks/{id} HTTP/1.1{head}"), body)).await;
            let (there, not_there) = (ask("orders-8c1f").await, ask("orders-8c20").await);
            let ((one, words), (other, same)) = (parts(&there), parts(&not_there));
            assert_eq!(words, same, "{head}");
            assert!((one, other) == ("401", "404") || (one, other) == ("415", "415"), "{head}: {one} {other}");
            told.insert(words);
        }
        assert_eq!(told.len(), 1, "why it was refused shows: {told:?}");
        for path in ["orders-8c1f", "orders-8c20"] {
            // Too much is too much, and slow is slow, before anybody looks whose it is.
            let large = format!("POST /webhooks/{path} HTTP/1.1\r\nhost: x\r\ncontent-length: 1048577\r\n\r\n");
            assert_eq!(parts(&scene.ask(large.as_bytes()).await).0, "413", "{path}");
            let mut slow = scene.connect().await;
            let head = format!("POST /webhooks/{path} HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n1");
            slow.write_all(head.as_bytes()).await.unwrap();
            let (answer, passed_ms) = scene.while_time_passes(said(&mut slow)).await;
            assert_eq!(parts(&answer).0, "408", "{path}");
            assert!((10_000..10_200).contains(&passed_ms), "{path}: {passed_ms}");
        }
    }

    #[tokio::test]
    async fn what_cannot_be_stored_is_not_acknowledged() {
        let scene = plain().await;
        for trouble in ["full", "broken"] {
            *scene.shelf.trouble.lock().unwrap() = Some(trouble);
            let answer = scene.ask(&signed(br#"{"id":"e1"}"#)).await;
            assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("retry-after: 5"), "{answer}");
            assert!(!answer.contains("disk"), "{answer}");
        }
        *scene.shelf.trouble.lock().unwrap() = None;
        assert!(scene.ask(&signed(br#"{"id":"e1"}"#)).await.starts_with("HTTP/1.1 200"));
        assert_eq!(
            scene.counts(),
            WebhookCounts { received: 1, turned_away: 2, proven: 3, ..WebhookCounts::default() }
        );
    }

    /// R20: header, body and idle timeouts.
    #[tokio::test]
    async fn r20_a_slow_head_a_slow_body_and_a_quiet_connection_end() {
        let scene = plain().await;
        let mut head = scene.connect().await;
        head.write_all(b"POST /webhooks/orders-8c1f HTTP/1.1\r\nx-a: ").await.unwrap();
        let (answer, passed_ms) = scene.while_time_passes(said(&mut head)).await;
        assert!(!answer.contains("200") && passed_ms >= 10_000, "{answer}: {passed_ms}");

        // A byte now and then does not keep it open.
        let mut drip = scene.connect().await;
        let dripping = async {
            let (mut reads, mut writes) = drip.split();
            let mut chunk = [0; 64];
            let writing = async {
                while writes.write_all(b"x").await.is_ok() {
                    scene.clock.alarm(scene.clock.now().plus(1_000)).await;
                }
                std::future::pending::<()>().await;
            };
            tokio::select! {
                read = reads.read(&mut chunk) => drop(read),
                () = writing => {}
            }
        };
        let ((), passed_ms) = scene.while_time_passes(dripping).await;
        assert!((10_000..10_500).contains(&passed_ms), "{passed_ms}");

        let mut idle = scene.connect().await;
        let one = String::from_utf8(signed(br#"{"id":"e1"}"#)).unwrap().replace("connection: close\r\n", "");
        idle.write_all(one.as_bytes()).await.unwrap();
        let (answer, passed_ms) = scene.while_time_passes(said(&mut idle)).await;
        assert!(answer.starts_with("HTTP/1.1 200") || answer.starts_with("HTTP/1.1 401"), "{answer}");
        assert!(passed_ms >= 30_000, "{passed_ms}");
    }

    #[tokio::test]
    async fn several_deliveries_share_a_connection() {
        let scene = plain().await;
        let mut stream = scene.connect().await;
        for number in 0..3 {
            let body = format!(r#"{{"id":"{number}"}}"#);
            let one = String::from_utf8(signed(body.as_bytes())).unwrap();
            let one = if number == 2 { one } else { one.replace("connection: close\r\n", "") };
            stream.write_all(one.as_bytes()).await.unwrap();
        }
        let answers = said(&mut stream).await;
        assert_eq!(answers.matches("HTTP/1.1 200").count(), 3, "{answers}");
    }

    /// R20: sizes.
    #[tokio::test]
    async fn r20_a_flood_of_headers_and_a_hundred_megabytes_end_early() {
        let scene = plain().await;
        let path = "POST /webhooks/orders-8c1f HTTP/1.1\r\n";
        let many: String = (0..200).map(|number| format!("x-{number}: 1\r\n")).collect();
        let long = format!("x-a: {}\r\n", "a".repeat(64 << 10));
        for flood in [many, long] {
            let answer = scene.ask(format!("{path}{flood}\r\n").as_bytes()).await;
            assert_eq!(parts(&answer).0, "431", "{answer}");
        }
        let announced = format!("{path}host: x\r\ncontent-length: {}\r\n\r\n", 100 << 20);
        assert_eq!(parts(&scene.ask(announced.as_bytes()).await).0, "413");
        // Without a word about how much it is, and as packed as it likes.
        for more in ["", "x-time: 1764000000\r\nx-sign: ff\r\n"] {
            let mut stream = scene.connect().await;
            let head = format!("{path}host: x\r\n{more}transfer-encoding: chunked\r\n\r\n");
            stream.write_all(head.as_bytes()).await.unwrap();
            let chunk = [b"10000\r\n".to_vec(), vec![b'a'; 65_536], b"\r\n".to_vec()].concat();
            let (mut reads, mut writes) = stream.split();
            let writing = async {
                let mut written = 0_usize;
                while written < 100 << 20 && writes.write_all(&chunk).await.is_ok() {
                    written += 65_536;
                }
                written
            };
            let reading = async {
                let mut text = vec![0; 256];
                let read = reads.read(&mut text).await.unwrap_or_default();
                String::from_utf8_lossy(&text[..read]).into_owned()
            };
            let (written, answer) = tokio::join!(writing, reading);
            assert_eq!(parts(&answer).0, "413", "{answer}");
            assert!(written < 50 << 20, "it took {written} bytes");
        }
        assert_eq!(scene.shelf.calls.load(Ordering::SeqCst), 0);
    }

    /// R20: quotas of what is under way.
    #[tokio::test]
    async fn r20_no_more_are_taken_at_once_than_may_be() {
        let scene = open("limits.in_flight = 1", ServeLimits::default()).await;
        for (first, second) in [("orders-8c1f", "503"), ("not-there", "200")] {
            let mut slow = scene.connect().await;
            let head = format!(
                "POST /webhooks/{first} HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 9\r\n\r\n"
            );
            slow.write_all(head.as_bytes()).await.unwrap();
            // Once it is told to go on, it has its place.
            let mut told = [0; 12];
            slow.read_exact(&mut told).await.unwrap();
            assert_eq!(&told, b"HTTP/1.1 100");
            let answer = scene.ask(&signed(br#"{"id":"e1"}"#)).await;
            assert_eq!(parts(&answer).0, second, "{answer}");
        }
    }

    #[tokio::test]
    async fn connections_beyond_the_limit_wait_for_a_place() {
        let limits: ServeLimits = toml::from_str("connections = 1").unwrap();
        let scene = open("", limits).await;
        let first = scene.connect().await;
        let delivery = signed(br#"{"id":"e1"}"#);
        let second = scene.ask(&delivery);
        let (answer, passed_ms) = scene.while_time_passes(second).await;
        assert!(passed_ms >= 10_000, "it did not wait: {passed_ms}");
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        drop(first);
    }

    /// More were let in only after the next start, and nobody said so.
    #[tokio::test]
    async fn another_number_of_connections_holds_from_the_next_one_on() {
        let scene = plain().await;
        let limited = |text: &str| toml::from_str::<ServeLimits>(text).unwrap();
        let endpoints = || scene.webhooks.endpoints().into_values().collect::<Vec<_>>();
        scene.webhooks.replace(endpoints(), limited("connections = 1"));
        let first = scene.connect().await;
        let delivery = signed(br#"{"id":"e1"}"#);
        let (_, passed_ms) = scene.while_time_passes(scene.ask(&delivery)).await;
        assert!(passed_ms >= 10_000, "it did not wait: {passed_ms}");
        drop(first);
        scene.webhooks.replace(endpoints(), limited("connections = 2"));
        let _first = scene.connect().await;
        let (answer, passed_ms) = scene.while_time_passes(scene.ask(&delivery)).await;
        assert!(answer.starts_with("HTTP/1.1 200") && passed_ms < 10_000, "it waited: {passed_ms}, {answer}");
    }

    #[tokio::test]
    async fn closing_answers_what_is_under_way_and_frees_the_port() {
        let scene = plain().await;
        let address = scene.webhooks.address();
        let mut idle = scene.connect().await;
        let mut stream = scene.connect().await;
        let delivery = signed(br#"{"id":"e1"}"#);
        let (start, end) = delivery.split_at(delivery.len() - 3);
        let start = String::from_utf8(start.to_vec()).unwrap().replace("connection: close", "expect: 100-continue");
        stream.write_all(start.as_bytes()).await.unwrap();
        let mut told = [0; 12];
        stream.read_exact(&mut told).await.unwrap();
        let closing = tokio::spawn(scene.webhooks.close());
        while TcpStream::connect(address).await.is_ok() {
            tokio::task::yield_now().await;
        }
        assert!(!closing.is_finished());
        stream.write_all(end).await.unwrap();
        assert!(said(&mut stream).await.contains("HTTP/1.1 200"));
        assert_eq!(said(&mut idle).await, "");
        closing.await.unwrap();
    }

    #[tokio::test]
    async fn other_endpoints_are_served_from_the_next_delivery_on() {
        let scene = plain().await;
        assert_eq!(parts(&scene.ask(&signed(b"1")).await).0, "200");
        scene.webhooks.replace(Vec::new(), ServeLimits::default());
        assert_eq!(parts(&scene.ask(&signed(b"1")).await).0, "404");
    }

    /// Capabilities 2.11: without its secret there is no endpoint, and the refusal says what to do.
    #[tokio::test]
    async fn without_the_secret_there_is_no_endpoint() {
        let (shelf, clock) = (Arc::new(Shelf::default()), ManualClock::new(Timestamp::from_millis(1), 1));
        let refused = async |manifest: &str, secret| {
            endpoint("", manifest, secret, &shelf, &clock).await.err().unwrap().to_string()
        };
        let error = refused(MANIFEST, None).await;
        assert!(error.contains("[endpoints.orders-8c1f]") && error.contains("NO_SUCH_VARIABLE"), "{error}");
        let decoded =
            MANIFEST.replace("secret='hook'", "secret='hook',secret_encoding='base64',secret_prefix='whsec_'");
        let error = refused(&decoded, Some("no base64!")).await;
        assert!(error.contains("wharfage secret set acme-orders hook") && error.contains("whsec_"), "{error}");
        assert!(!error.contains("no base64!"), "{error}");
        let with_url = MANIFEST.replace("{timestamp}.{body}", "{timestamp}{url}{body}");
        let error = refused(&with_url, Some(SECRET)).await;
        assert!(error.contains("url = \"https://hooks.example.org/webhooks/orders-8c1f\""), "{error}");
        assert!(endpoint("url = 'https://a.test/w'", &with_url, Some(SECRET), &shelf, &clock).await.is_ok());
    }
}
