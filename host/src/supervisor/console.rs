//! The private listener: the console, health and metrics, for whoever operates this host (R20).
//!
//! It shares nothing with the webhooks' listener. It is asked under a name of this machine, by no other page, and what
//! tells or changes anything wants the token, which stands in no address and no log. What it shows of plugins and
//! providers is text and stays text: it travels as JSON, and the page puts it into text nodes.

mod access;
mod history;
mod page;
mod views;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};

use axum::body::{Body, Bytes};
use axum::http::request::Parts;
use axum::http::{HeaderValue, Method, Request, StatusCode, header};
use axum::response::Response;
use futures_util::{Stream, stream};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use url::form_urlencoded;

use crate::error::{Error, Kind, Result};
use crate::inbound::log::EventSearch;
use crate::observe::metrics::Metrics;
use crate::policy::serve::{ConsoleLimits, ConsolePolicy};
use crate::serve::listener::{Answers, Incoming, Line, Listener, ListenerLimits, another};
use crate::store::arrival::EventState;
use crate::supervisor::ask::{PROOF_PATH, proof};
use crate::supervisor::console::access::{Token, names_this, other_page};
use crate::supervisor::console::history::{History, STEP_MS};
use crate::supervisor::console::page::Page;
use crate::supervisor::{ConsoleAddress, ServingView};
use crate::text::shown;
use crate::time::{Clock, Timestamp};

/// Milliseconds that an answer may take, as while a change of the configuration is taken up.
const ANSWER_MS: u64 = 10_000;

/// Milliseconds that one page is kept up to date before it has to ask again.
const STREAM_LIFE_MS: u64 = 3_600_000;

/// Milliseconds that requests under way have to end when the listener closes.
const DRAIN_MS: u64 = 2_000;

/// The private listener at work; dropping it closes it.
pub(crate) struct Console {
    listener: Listener,
    shared: Arc<Shared>,
    token_file: Option<PathBuf>,
    sampler: Sampler,
}

/// What takes a sample now and then, for as long as the listener is there.
struct Sampler(JoinHandle<()>);

struct Shared {
    policy: RwLock<Arc<ConsolePolicy>>,
    token: Token,
    /// Where it listens, as soon as it does.
    address: OnceLock<SocketAddr>,
    view: ServingView,
    page: Page,
    history: Mutex<History>,
    /// Held by every page that is kept up to date.
    streams: Arc<()>,
    /// The state as it was told last: several pages look at the same one.
    told: tokio::sync::Mutex<(Timestamp, Arc<str>)>,
    clock: Arc<dyn Clock>,
}

impl Console {
    /// Listens as the policy says; port 0 stands for a free one.
    ///
    /// # Errors
    /// [`Kind::Configuration`] when somebody else listens there, or the token's file cannot be used.
    pub(crate) async fn listen(policy: ConsolePolicy, view: ServingView) -> Result<Self> {
        let address = policy.listen;
        let (token, token_file) = view.host().console_token()?;
        let clock = view.host().clock().clone();
        let history = History::new(&view.host().metrics());
        let shared = Arc::new(Shared {
            streams: Arc::default(),
            policy: RwLock::new(Arc::new(policy)),
            token: Token::new(token),
            address: OnceLock::new(),
            page: Page::new()?,
            history: Mutex::new(history),
            told: tokio::sync::Mutex::default(),
            clock,
            view,
        });
        let listener = Listener::open(address, shared.clone()).await.map_err(|error| {
            Error::configuration(format!("the console cannot be listened for at {address}: {error}"))
                .with_details(another(&error, "serve.console"))
        })?;
        let _ = shared.address.set(listener.address());
        let sampler = Sampler(tokio::spawn(sample(shared.clone())));
        Ok(Self { listener, shared, token_file, sampler })
    }

    /// Where it is reached.
    pub(crate) fn address(&self) -> ConsoleAddress {
        let token = self.shared.token.text().to_owned();
        ConsoleAddress::new(self.listener.address(), self.token_file.clone(), token)
    }

    /// Goes by this policy from now on.
    pub(crate) fn replace(&self, policy: ConsolePolicy) {
        *self.shared.policy.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(policy);
    }

    /// Takes no more requests, and ends when those under way are answered.
    pub(crate) async fn close(self) {
        drop(self.sampler);
        self.listener.close().await;
    }
}

impl Drop for Sampler {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn sample(shared: Arc<Shared>) {
    loop {
        shared.clock.alarm(shared.clock.now().plus(STEP_MS)).await;
        let metrics = shared.view.host().metrics();
        shared.history().sample(&metrics);
    }
}

impl Answers for Shared {
    fn limits(&self) -> ListenerLimits {
        let ConsoleLimits { connections, head_ms, idle_ms, head_bytes, headers, .. } = self.policy().limits;
        ListenerLimits { connections, head_ms, idle_ms, head_bytes, headers, drain_ms: DRAIN_MS }
    }

    fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    async fn answer(self: &Arc<Self>, request: Request<Incoming>, line: &Line) -> Response {
        // Whatever body there is, nobody reads it: the HTTP crate ends such a connection after the answer.
        let (head, _) = request.into_parts();
        let late = self.clock.alarm(self.clock.now().plus(ANSWER_MS));
        let mut response = tokio::select! {
            biased;
            response = self.route(&head, line) => response,
            () = late => refused(
                StatusCode::SERVICE_UNAVAILABLE,
                "this takes too long, as while a change of the configuration is taken up",
                "Ask again in a moment",
            ),
        };
        let headers = response.headers_mut();
        for (name, value) in ALWAYS {
            headers.insert(name, HeaderValue::from_static(value));
        }
        headers.entry(header::CONTENT_SECURITY_POLICY).or_insert(NOTHING_LOADS);
        response
    }
}

/// What a scraper accepts that reads OpenMetrics.
const OPENMETRICS: &str = "application/openmetrics-text";

/// On every answer: nobody keeps it, guesses what it is, shows it inside another page or learns where it was.
const ALWAYS: [(header::HeaderName, &str); 6] = [
    (header::CACHE_CONTROL, "no-store"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (header::HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
];

const NOTHING_LOADS: HeaderValue = HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'");

impl Shared {
    fn policy(&self) -> Arc<ConsolePolicy> {
        self.policy.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn history(&self) -> std::sync::MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Who asks, what for, and the answer.
    async fn route(self: &Arc<Self>, head: &Parts, line: &Line) -> Response {
        let policy = self.policy();
        let Some(host) = names_this(head, &policy) else {
            return refused(
                StatusCode::MISDIRECTED_REQUEST,
                "this is not a name of this listener",
                "Ask for it as 127.0.0.1 or localhost. For a name of a proxy before it, set in [serve.console]:   \
                 hosts = [\"ops.example.org\"]",
            );
        };
        let path = head.uri.path();
        let wants_token = match path {
            "/" | "/healthz" | "/readyz" | PROOF_PATH => false,
            "/metrics" => !policy.metrics_open,
            _ => true,
        };
        if other_page(head, &host, path == "/") {
            return refused(StatusCode::FORBIDDEN, "another page asks", "Open the console itself");
        }
        if wants_token && !self.token.is_on(&head.headers) {
            let mut response = refused(
                StatusCode::UNAUTHORIZED,
                "the token is missing or another one",
                "Send it as `Authorization: Bearer …`; it is in console.token in the state folder",
            );
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            return response;
        }
        let event = path.strip_prefix("/api/events/");
        let is_replay = event.is_some_and(|rest| rest.ends_with("/replay"));
        let (may, allow) = match is_replay {
            true => (head.method == Method::POST, "POST"),
            false => (matches!(head.method, Method::GET | Method::HEAD), "GET, HEAD"),
        };
        if !may {
            let mut response = refused(StatusCode::METHOD_NOT_ALLOWED, "this is asked for in another way", allow);
            response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allow));
            return response;
        }
        let query = Query::of(head);
        let answer = match (path, event) {
            ("/", _) => return self.page.response(),
            ("/healthz" | "/readyz", _) => {
                let has_token = self.token.is_on(&head.headers);
                return self.health(path == "/readyz", has_token).await;
            }
            (PROOF_PATH, _) => self.shown(query.get("of").unwrap_or_default()),
            ("/metrics", _) => return self.exposed(head).await,
            ("/api/metrics", _) => return self.measured().await,
            ("/api/state", _) => {
                let state = self.state_text().await;
                return answered(format!("{{\"at\":\"{}\",\"state\":{state}}}", self.clock.now()));
            }
            ("/api/history", _) => Ok(self.points(query.get("connection"))),
            ("/api/events", _) => self.events(&query, &policy.limits).await,
            ("/api/dead", _) => self.dead(&query, &policy.limits).await,
            ("/api/refusals", _) => Ok(json!({ "refusals": self.view.host().refusals() })),
            ("/api/stream", _) => return self.stream(&query, &policy.limits, line),
            (_, Some(event)) => match is_replay {
                true => self.replay(event.trim_end_matches("/replay")).await,
                false => self.event(event, query.get("body") == Some("1")).await,
            },
            _ => return refused(StatusCode::NOT_FOUND, "there is nothing here", "The console is at /"),
        };
        answer.map_or_else(wrong, |value| answered(value.to_string()))
    }

    /// Whether the process lives, and whether everything that is declared runs. Whoever has no token hears the causes by
    /// their names, and not whose they are.
    async fn health(&self, is_ready: bool, has_token: bool) -> Response {
        let (status, mut text) = self.view.told(is_ready).await;
        if !has_token && let Ok(told) = serde_json::from_str::<Value>(&text) {
            text = views::without_names(told).to_string();
        }
        said(StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), text)
    }

    /// That it has the token, for whoever would send it only here.
    fn shown(&self, drawn: &str) -> Result<Value> {
        let address = self.address.get().ok_or_else(|| Error::internal("it does not listen yet"))?;
        Ok(json!({ "proof": proof(self.token.text(), *address, drawn) }))
    }

    /// The numbers as text, in the format that is asked for.
    async fn exposed(&self, head: &Parts) -> Response {
        let metrics = self.view.metrics().await;
        let accepted = head.headers.get_all(header::ACCEPT).iter();
        let is_open = accepted.filter_map(|value| value.to_str().ok()).any(|value| value.contains(OPENMETRICS));
        let (kind, text) = match is_open {
            true => (Metrics::OPENMETRICS, metrics.openmetrics()),
            false => (Metrics::PROMETHEUS, metrics.prometheus()),
        };
        let mut response = Response::new(Body::from(text));
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        response
    }

    /// The same numbers as JSON.
    async fn measured(&self) -> Response {
        let text = serde_json::to_string(&self.view.metrics().await);
        text.map_or_else(|_| wrong(Error::internal("the numbers could not be written")), answered)
    }

    /// The state, no older than pages are told it.
    async fn state_text(&self) -> Arc<str> {
        let mut told = self.told.lock().await;
        let now = self.clock.now();
        if told.1.is_empty() || now.since(told.0) >= self.policy().limits.stream_ms {
            let text = views::state(&self.view).await.to_string();
            *told = (now, text.into());
        }
        told.1.clone()
    }

    /// How calls went, step by step.
    fn points(&self, connection: Option<&str>) -> Value {
        let metrics = self.view.host().metrics();
        json!({ "step_ms": STEP_MS, "points": self.history().points(&metrics, connection) })
    }

    async fn events(&self, query: &Query, limits: &ConsoleLimits) -> Result<Value> {
        let state = query.get("state").map(|wanted| {
            let found = EventState::ALL.iter().copied().find(|state| state.name() == wanted);
            found.ok_or_else(|| Error::invalid("", "a state is waiting, handled or dead"))
        });
        let search = EventSearch {
            connection: query.get("connection").map(str::to_owned),
            state: state.transpose()?,
            text: query.get("text").map(str::to_owned),
            before: query.number("before")?,
        };
        let most = query.number("limit")?.unwrap_or(limits.rows).clamp(1, limits.rows);
        let found = self.view.host().event_log().search(&search, most).await?;
        // What comes before the last one here, where there may be more.
        let before = found.last().filter(|_| found.len() as u64 == most).map(|event| event.id);
        Ok(json!({ "events": found.iter().map(views::arrived).collect::<Vec<_>>(), "before": before }))
    }

    async fn event(&self, id: &str, with_body: bool) -> Result<Value> {
        let id = id.parse().map_err(|_| nothing(id))?;
        views::story(&self.view, id, with_body).await
    }

    async fn replay(&self, id: &str) -> Result<Value> {
        let id: u64 = id.parse().map_err(|_| nothing(id))?;
        let view = self.view.clone();
        // Whoever asked may go away meanwhile.
        let replayed = tokio::spawn(async move {
            view.host().event_log().replay(id).await?;
            view.wake().await;
            tracing::info!(target: "wharfage::serve", id, "an event is handed over once more: somebody asked for it on the console");
            Ok::<_, Error>(json!({ "replayed": id }))
        });
        replayed.await.map_err(|_| Error::internal("a replay ended in a defect of wharfage"))?
    }

    async fn dead(&self, query: &Query, limits: &ConsoleLimits) -> Result<Value> {
        let log = self.view.host().event_log();
        let search =
            EventSearch { state: Some(EventState::Dead), before: query.number("before")?, ..EventSearch::default() };
        let events = log.search(&search, limits.rows).await?;
        let before = events.last().filter(|_| events.len() as u64 == limits.rows).map(|event| event.id);
        let letters = log.letters(query.number("after")?.unwrap_or(0), limits.rows).await?;
        let after = letters.last().filter(|_| letters.len() as u64 >= limits.rows).map(|letter| letter.number);
        Ok(json!({
            "events": events.iter().map(views::arrived).collect::<Vec<_>>(),
            "before": before,
            "letters": letters.iter().map(views::letter).collect::<Vec<_>>(),
            "after": after,
        }))
    }

    /// Keeps a page up to date with server-sent events (HTML Standard, 9.2).
    fn stream(self: &Arc<Self>, query: &Query, limits: &ConsoleLimits, line: &Line) -> Response {
        let place = self.streams.clone();
        // Itself, and the one that all of them are clones of.
        if Arc::strong_count(&place) as u64 - 2 >= limits.streams {
            return refused(
                StatusCode::SERVICE_UNAVAILABLE,
                "as many pages are kept up to date as may be",
                "Close one, or set in [serve.console]:   limits.streams = 16",
            );
        }
        let now = self.clock.now();
        let updater = PageUpdater {
            shared: self.clone(),
            connection: query.get("connection").map(str::to_owned),
            next: now,
            end: now.plus(STREAM_LIFE_MS),
            every_ms: limits.stream_ms,
            last: Arc::default(),
            _place: place,
        };
        let mut response = Response::new(line.pour(updater.tell()));
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
        response
    }
}

/// What keeps one page up to date.
struct PageUpdater {
    shared: Arc<Shared>,
    /// Whose calls it shows; everybody's where nothing is said.
    connection: Option<String>,
    next: Timestamp,
    end: Timestamp,
    every_ms: u64,
    last: Arc<str>,
    _place: Arc<()>,
}

impl PageUpdater {
    /// The state where it is another than before, and how the latest calls went.
    fn tell(self) -> impl Stream<Item = Bytes> + Send {
        stream::unfold(self, |mut updater| async move {
            let shared = updater.shared.clone();
            shared.clock.alarm(updater.next).await;
            let now = shared.clock.now();
            if now >= updater.end {
                return None;
            }
            updater.next = now.plus(updater.every_ms);
            let mut text = String::new();
            let state = shared.state_text().await;
            if state != updater.last {
                text.push_str(&format!("event: state\ndata: {state}\n\n"));
                updater.last = state;
            }
            let metrics = shared.view.host().metrics();
            let points = shared.history().latest(&metrics, updater.connection.as_deref());
            text.push_str(&format!("event: points\ndata: {}\n\n", json!({ "at": now.to_string(), "points": points })));
            Some((Bytes::from(text), updater))
        })
    }
}

/// What stands behind the `?`; the last of a name counts, and one without a value is none.
struct Query(Vec<(String, String)>);

impl Query {
    fn of(head: &Parts) -> Self {
        let pairs = form_urlencoded::parse(head.uri.query().unwrap_or_default().as_bytes());
        Self(pairs.into_owned().filter(|(_, value)| !value.is_empty()).collect())
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().rev().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    fn number(&self, name: &str) -> Result<Option<u64>> {
        let number = |text: &str| text.parse().map_err(|_| Error::invalid("", format!("{name} is no number")));
        self.get(name).map(number).transpose()
    }
}

fn nothing(id: &str) -> Error {
    Error::new(Kind::NotFound, format!("there is no event {}", shown(id)))
}

fn answered(text: String) -> Response {
    said(StatusCode::OK, text)
}

fn said(status: StatusCode, text: String) -> Response {
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// A refusal says what would help.
fn refused(status: StatusCode, message: &str, help: &str) -> Response {
    said(status, json!({ "error": message, "help": help }).to_string())
}

/// An error of the host's, for whoever has the token.
fn wrong(error: Error) -> Response {
    let status = match error.kind() {
        Kind::NotFound => StatusCode::NOT_FOUND,
        Kind::Conflict => StatusCode::CONFLICT,
        Kind::InvalidRequest(_) => StatusCode::BAD_REQUEST,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    };
    said(status, views::trouble(&error).to_string())
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpStream;

    use super::*;
    use crate::host::Host;
    use crate::store::arrival::{Arrival, Claimed, Commit, Emit, Room};
    use crate::time::ManualClock;

    struct Scene {
        clock: ManualClock,
        host: Host,
        console: Console,
        folder: tempfile::TempDir,
    }

    async fn open(policy: &str) -> Scene {
        let clock = ManualClock::new(Timestamp::from_millis(1_764_000_000_000), 1);
        let folder = tempfile::tempdir().unwrap();
        let host = Host::builder().clock(clock.clone()).state_dir(folder.path().join("state")).build().unwrap();
        let policy: ConsolePolicy = toml::from_str(&format!("listen='127.0.0.1:0'\n{policy}")).unwrap();
        let console = Console::listen(policy, ServingView::idle(host.clone())).await.unwrap();
        Scene { clock, host, console, folder }
    }

    impl Scene {
        /// What is answered to these lines of a head, with the token if it is wanted.
        async fn asks(&self, line: &str, more: &str, with_token: bool) -> String {
            let mut stream = self.send(line, more, with_token).await;
            let mut text = Vec::new();
            let _ = stream.read_to_end(&mut text).await;
            String::from_utf8_lossy(&text).into_owned()
        }

        async fn send(&self, line: &str, more: &str, with_token: bool) -> TcpStream {
            let mut stream = TcpStream::connect(self.console.address().address).await.unwrap();
            let host = if more.to_lowercase().contains("host:") { "" } else { "host: localhost\r\n" };
            let token = match with_token {
                true => format!("authorization: Bearer {}\r\n", self.console.shared.token.text()),
                false => String::new(),
            };
            let text = format!("{line} HTTP/1.1\r\n{host}{token}connection: close\r\n{more}\r\n");
            stream.write_all(text.as_bytes()).await.unwrap();
            stream
        }

        async fn get(&self, path: &str) -> Value {
            let answer = self.asks(&format!("GET {path}"), "", true).await;
            assert!(answer.starts_with("HTTP/1.1 200"), "{path}: {answer}");
            serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap()
        }

        /// A stored webhook of this key, and what its handling emitted.
        async fn arrived(&self, key: &str, emitted: &[&str]) -> u64 {
            let store = self.host.store();
            let now = self.clock.now();
            let head = br#"{"webhook":"orders","headers":[["x-a","1"],["authorization","Bearer s3cret"]]}"#;
            let content = [&(head.len() as u32).to_be_bytes()[..], head, b"<b>body</b>"].concat();
            let arrival = Arrival {
                connection: "acme".into(),
                trigger: "webhook orders".into(),
                key: key.into(),
                order: None,
                at: now,
                known_until: now.plus(1_000_000),
                content,
            };
            let room = Room { events_max: 100, bytes_max: 1 << 20 };
            let Claimed::New(id) = store.claim(arrival, room).await.unwrap() else { panic!("it is not new") };
            store.take("acme", "me", now, now.plus(10), 10).await.unwrap();
            let emit = emitted.iter().map(|name| Emit { name: (*name).into(), content: event(name) });
            let commit = Commit {
                connection: "acme".into(),
                at: now,
                event: Some((id, "me".into())),
                step: None,
                emit: emit.collect(),
                known_until: now.plus(1_000_000),
                bytes_max: u64::MAX,
            };
            store.commit(commit).await.unwrap();
            id
        }
    }

    fn event(name: &str) -> Vec<u8> {
        let event = json!({
            "id": name, "event_type": "order.paid", "connection": "acme", "plugin": "shop",
            "at": "2026-11-24T00:00:00Z", "key": format!("<i>{name}"), "data": {"total": 7},
        });
        event.to_string().into_bytes()
    }

    fn status(answer: &str) -> &str {
        answer.split(' ').nth(1).unwrap_or(answer)
    }

    #[tokio::test]
    async fn what_tells_or_changes_anything_wants_the_token() {
        let scene = open("").await;
        for (line, without, with) in [
            ("GET /", "200", "200"),
            ("HEAD /", "200", "200"),
            ("GET /healthz", "200", "200"),
            ("GET /readyz", "503", "503"),
            ("GET /api/proof?of=1", "200", "200"),
            ("POST /api/proof?of=1", "405", "405"),
            ("GET /metrics", "401", "200"),
            ("GET /api/metrics", "401", "200"),
            ("GET /api/state", "401", "200"),
            ("GET /api/history", "401", "200"),
            ("GET /api/events", "401", "200"),
            ("GET /api/events/7", "401", "404"),
            ("POST /api/events/7/replay", "401", "404"),
            ("GET /api/events/seven", "401", "404"),
            ("GET /api/events?state=lost", "401", "400"),
            ("GET /api/events?before=x", "401", "400"),
            ("GET /api/dead", "401", "200"),
            ("GET /api/refusals", "401", "200"),
            ("GET /api/events/7/replay", "401", "405"),
            ("POST /api/state", "401", "405"),
            ("POST /", "405", "405"),
            ("DELETE /healthz", "405", "405"),
            ("GET /nothing", "401", "404"),
            ("GET /webhooks/orders", "401", "404"),
        ] {
            let (bare, full) = (scene.asks(line, "", false).await, scene.asks(line, "", true).await);
            assert_eq!((status(&bare), status(&full)), (without, with), "{line}: {bare} {full}");
            for answer in [bare, full] {
                assert!(answer.contains("cache-control: no-store") && answer.contains("nosniff"), "{line}: {answer}");
                assert!(answer.contains("content-security-policy: default-src 'none'"), "{line}: {answer}");
                assert!(!answer.contains(scene.console.shared.token.text()), "{line} tells the token");
            }
        }
        // In the query it is in logs and histories, and lets nobody in.
        let query = format!("GET /api/state?token={}", scene.console.shared.token.text());
        assert_eq!(status(&scene.asks(&query, "", false).await), "401");
        let answer = scene.asks("GET /api/state", "", false).await;
        assert!(answer.contains("www-authenticate: Bearer") && answer.contains("console.token"), "{answer}");
        let kept = std::fs::read_to_string(scene.folder.path().join("state/console.token")).unwrap();
        assert_eq!(kept.trim(), scene.console.shared.token.text());
    }

    #[tokio::test]
    async fn it_shows_that_it_has_the_token_for_its_own_address_and_what_is_asked() {
        let scene = open("").await;
        let (address, token) = (scene.console.address().address, scene.console.shared.token.text());
        let shown = scene.asks("GET /api/proof?of=1", "", false).await;
        let shown: Value = serde_json::from_str(shown.split_once("\r\n\r\n").unwrap().1).unwrap();
        assert_eq!(shown["proof"], proof(token, address, "1"));
        let elsewhere = SocketAddr::new(address.ip(), address.port() ^ 1);
        for other in [proof(token, elsewhere, "1"), proof(token, address, "2"), proof("another", address, "1")] {
            assert_ne!(shown["proof"], other);
        }
    }

    #[tokio::test]
    async fn r20_another_name_or_another_page_is_refused_with_the_line_that_would_allow_it() {
        let scene = open("hosts=['ops.example.org']").await;
        for path in ["/", "/healthz", "/metrics", "/api/state"] {
            let answer = scene.asks(&format!("GET {path}"), "host: evil.test\r\n", true).await;
            assert!(status(&answer) == "421" && answer.contains("hosts = ["), "{path}: {answer}");
            let other = scene.asks(&format!("GET {path}"), "origin: http://evil.test\r\n", true).await;
            assert_eq!(status(&other), "403", "{path}");
        }
        for fields in
            ["host: ops.example.org\r\norigin: https://ops.example.org\r\n", "sec-fetch-site: same-origin\r\n"]
        {
            assert_eq!(status(&scene.asks("GET /api/state", fields, true).await), "200", "{fields}");
        }
        assert_eq!(status(&scene.asks("GET /api/state", "sec-fetch-site: cross-site\r\n", true).await), "403");
        assert_eq!(status(&scene.asks("GET /", "sec-fetch-site: cross-site\r\n", false).await), "200");
    }

    #[tokio::test]
    async fn metrics_are_open_where_a_line_says_so() {
        let scene = open("metrics_open=true").await;
        let text = scene.asks("GET /metrics", "", false).await;
        assert!(status(&text) == "200" && text.contains("text/plain; version=0.0.4"), "{text}");
        let open = scene.asks("GET /metrics", "accept: application/openmetrics-text; version=1.0.0\r\n", false).await;
        assert!(open.contains("application/openmetrics-text") && open.trim_end().ends_with("# EOF"), "{open}");
        assert_eq!(status(&scene.asks("GET /api/metrics", "", false).await), "401");
    }

    #[tokio::test]
    async fn an_events_story_goes_from_its_arrival_to_the_sinks() {
        let scene = open("limits.rows=2").await;
        let first = scene.arrived("k1", &["e1", "e2"]).await;
        let _second = scene.arrived("<img src=x onerror=alert(1)>", &[]).await;
        let third = scene.arrived("k3", &["e3"]).await;
        scene.host.store().advance_sink("out", 2, None).await.unwrap();

        let page = scene.get("/api/events").await;
        let ids = |page: &Value| {
            page["events"].as_array().unwrap().iter().map(|row| row["id"].as_u64().unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(ids(&page), [third, third - 1]);
        assert_eq!(page["events"][1]["key"], "<img src=x onerror=alert(1)>");
        let earlier = scene.get(&format!("/api/events?before={}", page["before"])).await;
        assert_eq!((ids(&earlier), &earlier["before"]), (vec![first], &Value::Null));
        assert_eq!(ids(&scene.get("/api/events?text=ONERROR&state=handled&connection=acme").await), [third - 1]);
        assert!(ids(&scene.get("/api/events?connection=other").await).is_empty());
        assert_eq!(ids(&scene.get("/api/events?limit=1").await), [third]);

        let story = scene.get(&format!("/api/events/{first}")).await;
        assert_eq!(story["event"]["state"], "handled");
        assert_eq!(story["content"]["headers"], json!([["x-a", "1"], ["authorization", "[left out]"]]));
        assert_eq!((&story["content"]["body"], &story["content"]["bytes"]), (&Value::Null, &json!(11)));
        let numbers: Vec<_> = story["emitted"].as_array().unwrap().iter().map(|out| out["number"].as_u64()).collect();
        assert_eq!(numbers, [Some(1), Some(2)]);
        assert_eq!((&story["emitted"][1]["key"], &story["emitted"][1]["data"]), (&json!("<i>e2"), &Value::Null));
        let whole = scene.get(&format!("/api/events/{first}?body=1")).await;
        assert_eq!(whole["content"]["body"], "<b>body</b>");
        assert_eq!(whole["emitted"][0]["data"], "{\"total\":7}");
        assert!(scene.get(&format!("/api/events/{}", third - 1)).await["emitted"].as_array().unwrap().is_empty());

        let replayed = scene.asks(&format!("POST /api/events/{first}/replay"), "content-length: 0\r\n", true).await;
        assert_eq!(status(&replayed), "200", "{replayed}");
        assert_eq!(scene.get(&format!("/api/events/{first}")).await["event"]["state"], "waiting");
        let now = scene.clock.now();
        scene.host.store().take("acme", "me", now, now.plus(10_000), 10).await.unwrap();
        let again = scene.asks(&format!("POST /api/events/{first}/replay"), "", true).await;
        assert!(status(&again) == "409" && again.contains("is being handled"), "{again}");
    }

    #[tokio::test]
    async fn dead_letters_of_both_kinds_are_told() {
        let scene = open("").await;
        scene.arrived("k1", &["e1"]).await;
        let refused = crate::store::arrival::Refused { at: scene.clock.now(), why: "it answered 404\u{1b}[2J".into() };
        scene.host.store().advance_sink("out", 1, Some(refused)).await.unwrap();
        let dead = scene.get("/api/dead").await;
        assert_eq!((dead["events"].as_array().unwrap().len(), dead["letters"][0]["sink"].as_str()), (0, Some("out")));
        assert_eq!(dead["letters"][0]["why"], "it answered 404\u{fffd}[2J");
        assert_eq!(dead["letters"][0]["type"], "order.paid");
    }

    #[tokio::test]
    async fn refusals_are_told_with_the_line_that_would_allow_them() {
        let scene = open("").await;
        assert!(scene.get("/api/refusals").await["refusals"].as_array().unwrap().is_empty());
        let error = Error::denied("origin", "acme wanted <b>more</b>", "To allow it, add:   origins = []");
        scene.host.refusals_of("acme").note(&error, Some("orders.list"), scene.clock.now());
        let told = scene.get("/api/refusals").await;
        assert_eq!(told["refusals"][0]["message"], "acme wanted <b>more</b>");
        assert!(told["refusals"][0]["help"].as_str().unwrap().contains("origins = []"));
    }

    /// What is known without it is shown all the same.
    #[cfg(feature = "store-sqlite")]
    #[tokio::test]
    async fn a_state_file_that_cannot_be_read_takes_nothing_else_away() {
        let scene = open("").await;
        let file = std::fs::read_dir(scene.folder.path().join("state")).unwrap().map(|entry| entry.unwrap().path());
        let file = file.into_iter().find(|path| path.extension().is_some_and(|end| end == "sqlite")).unwrap();
        rusqlite::Connection::open(file).unwrap().execute_batch("ALTER TABLE event RENAME TO away").unwrap();
        let told = scene.get("/api/state").await;
        assert_eq!((&told["state"]["latest_event"], &told["state"]["refusals"]), (&Value::Null, &json!(0)));
        assert_eq!(status(&scene.asks("GET /api/events", "", true).await), "500");
    }

    /// A page is told once how it stands, then only of changes, with a sign of life each second.
    #[tokio::test]
    async fn a_page_is_kept_up_to_date_and_only_so_many_are() {
        let scene = open("limits.streams=1").await;
        let mut stream = scene.send("GET /api/stream", "", true).await;
        let heard = hear(&mut stream, &scene.clock, 3).await;
        assert!(
            heard.contains("content-type: text/event-stream") && heard.matches("event: state").count() == 1,
            "{heard}"
        );
        let refused = scene.asks("GET /api/stream", "", true).await;
        assert!(status(&refused) == "503" && refused.contains("limits.streams"), "{refused}");
        scene.arrived("k1", &[]).await;
        let changed = hear(&mut stream, &scene.clock, 2).await;
        assert!(changed.contains("\"latest_event\":1"), "{changed}");
        // Whoever goes makes room, once that is noticed.
        drop(stream);
        let mut last = String::new();
        for _ in 0..1_000 {
            scene.clock.advance(1_000);
            tokio::task::yield_now().await;
            last = first_line(&mut scene.send("GET /api/stream", "", true).await, &scene.clock).await;
            if last.contains("200") {
                return;
            }
        }
        panic!("no room: {last}");
    }

    /// What comes until so many signs of life, while time passes.
    async fn hear(stream: &mut TcpStream, clock: &ManualClock, signs: usize) -> String {
        let mut text = String::new();
        let mut chunk = vec![0; 64 << 10];
        while text.matches("event: points").count() < signs {
            let mut reading = pin!(stream.read(&mut chunk));
            let read = loop {
                tokio::select! {
                    biased;
                    read = reading.as_mut() => break read.unwrap(),
                    () = tokio::task::yield_now() => { clock.advance(100); }
                }
            };
            assert!(read > 0, "it ended: {text}");
            text.push_str(&String::from_utf8_lossy(&chunk[..read]));
        }
        text
    }

    async fn first_line(stream: &mut TcpStream, clock: &ManualClock) -> String {
        let mut chunk = [0; 64];
        let mut reading = pin!(stream.read(&mut chunk));
        let read = loop {
            tokio::select! {
                biased;
                read = reading.as_mut() => break read.unwrap(),
                () = tokio::task::yield_now() => { clock.advance(10); }
            }
        };
        String::from_utf8_lossy(&chunk[..read]).lines().next().unwrap_or_default().to_owned()
    }

    #[tokio::test]
    async fn closing_ends_pages_that_are_kept_up_to_date() {
        let scene = open("").await;
        let mut stream = scene.send("GET /api/stream", "", true).await;
        hear(&mut stream, &scene.clock, 1).await;
        let address = scene.console.address().address;
        scene.console.close().await;
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).await.unwrap();
        assert!(TcpStream::connect(address).await.is_err(), "it still listens");
    }

    #[tokio::test]
    async fn a_place_that_is_taken_is_told_with_the_line_for_another() {
        let scene = open("").await;
        let address = scene.console.address().address;
        let policy: ConsolePolicy = toml::from_str(&format!("listen='{address}'")).unwrap();
        let error = Console::listen(policy, ServingView::idle(scene.host.clone())).await.err().unwrap().to_string();
        assert!(error.contains("[serve.console]") && error.contains("listen = "), "{error}");
        let link = scene.console.address().link();
        assert!(link.starts_with(&format!("http://{address}/#token=")), "{link}");
    }
}
