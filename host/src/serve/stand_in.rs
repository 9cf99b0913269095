//! A provider on loopback that answers from a plugin's fixtures.
//!
//! The demo, the conformance suite and authors who try a plugin by hand put it where the real provider would be: the
//! whole outbound path runs, sockets included, and nothing leaves the machine. It answers only what a fixture holds, in
//! the order in which it holds it, and remembers what it was asked.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::Response;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::account::{Account, SecretSource, SecretValue};
use crate::connection::Connection;
use crate::error::{Error, Kind, Result};
use crate::manifest::Needs;

/// Most bytes of a request that are read.
const REQUEST_BYTES_MAX: usize = 16 << 20;

/// One case of a plugin: what is called, what the provider answers, what comes of it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Fixture {
    /// The operation.
    pub operation: String,
    /// Its input, as written.
    pub input: Box<RawValue>,
    /// `recorded`, `from-spec` or `from-docs`.
    pub from: String,
    /// Who says so.
    pub source: String,
    /// When that was read.
    pub date: String,
    /// The time that the clock shows, RFC 3339; any when absent.
    pub now: Option<String>,
    /// Secrets that the plugin may ask keyed hashes of.
    #[serde(default)]
    pub secrets: Vec<String>,
    /// What is asked and answered.
    pub exchanges: Vec<Exchange>,
    /// What comes of it.
    pub expect: Expect,
}

/// A request with its answer.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exchange {
    /// What is asked.
    pub request: Asked,
    /// What is answered.
    pub response: Answered,
}

/// A request of a fixture. `{name}` in the URL stands for the base of that origin.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    /// The method.
    pub method: String,
    /// The URL; the order of its query does not matter.
    pub url: String,
    /// The body, compared as JSON.
    pub json: Option<Value>,
    /// Header fields that must be on it.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// The body, compared as pairs of a form.
    pub form: Option<Vec<(String, String)>>,
    /// The body as text.
    pub text: Option<String>,
}

/// An answer of a fixture. `{name}` in it stands for the base of that origin.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answered {
    /// The status.
    pub status: u16,
    /// The header fields.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// The body as JSON, sent as it is written here.
    pub json: Option<Box<RawValue>>,
    /// The body as text.
    pub text: Option<String>,
}

/// What comes of a fixture's call.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expect {
    /// The output, or all items of all pages.
    pub output: Option<Value>,
    /// How many pages.
    pub pages: Option<usize>,
    /// The error: its kind and whatever else is said of it.
    pub error: Option<Map<String, Value>>,
}

impl Expect {
    /// Compares what came of a call: the items of all pages (or the output) and the number of pages.
    ///
    /// # Errors
    /// A sentence that says how the two differ.
    pub fn compare(&self, result: &Result<(Value, usize)>) -> std::result::Result<(), String> {
        match (&self.error, result) {
            (None, Ok((output, pages))) => {
                if let Some(expected) = self.output.as_ref().filter(|expected| *expected != output) {
                    return Err(format!("the output differs.\nexpected {expected}\ngot      {output}"));
                }
                match self.pages.filter(|expected| expected != pages) {
                    Some(expected) => Err(format!("{expected} pages expected, {pages} read")),
                    None => Ok(()),
                }
            }
            (Some(expected), Err(error)) => compare_error(expected, error),
            (Some(expected), Ok(_)) => Err(format!("it should have ended with {}", Value::Object(expected.clone()))),
            (None, Err(error)) => Err(format!("it ended with {error:?}")),
        }
    }
}

/// The fields that programs decide by; sentences may differ between the plugin alone and the host.
fn compare_error(expected: &Map<String, Value>, error: &Error) -> std::result::Result<(), String> {
    let got = [
        ("kind", Some(error.kind().name().to_owned())),
        ("status", error.status().map(|status| status.to_string())),
        ("provider_code", error.provider_code().map(str::to_owned)),
        ("request_id", error.request_id().map(str::to_owned)),
        ("endpoint", error.endpoint().map(str::to_owned)),
    ];
    for (name, got) in got {
        let Some(expected) = expected.get(name) else { continue };
        let expected = expected.as_str().map_or_else(|| expected.to_string(), str::to_owned);
        if got.as_deref() != Some(expected.as_str()) {
            return Err(format!("{name} should be {expected} and is {got:?}, in {error:?}"));
        }
    }
    let Kind::InvalidRequest(fields) = error.kind() else { return Ok(()) };
    let paths: Vec<&str> = fields.iter().map(|field| field.path.as_str()).collect();
    let wanted = expected.get("fields").and_then(Value::as_array).into_iter().flatten();
    for path in wanted.filter_map(|field| field.get("path").and_then(Value::as_str)) {
        if !paths.contains(&path) {
            return Err(format!("the field {path} should be wrong; wrong are {paths:?}"));
        }
    }
    Ok(())
}

/// A request that came.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The method.
    pub method: String,
    /// Path and query.
    pub target: String,
    /// Whether the credential was on it.
    pub is_signed: bool,
    /// The status it was answered with.
    pub status: u16,
}

/// A running stand-in; dropping it closes it.
pub struct StandIn {
    shared: Arc<Shared>,
    server: tokio::task::JoinHandle<()>,
}

struct Shared {
    exchanges: Mutex<Vec<(Exchange, bool)>>,
    seen: Mutex<Vec<Seen>>,
    secret: Option<String>,
    repeats: bool,
    delays_ms: BTreeMap<usize, u64>,
    base: String,
}

/// How a stand-in behaves besides what its exchanges say.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Manner {
    /// The secret that must be on every request: in a header or in the query. Without it the answer is 401.
    pub secret: Option<String>,
    /// Whether the last of equal exchanges answers again and again.
    pub repeats: bool,
    /// Milliseconds before the answer with this number, counted from 1.
    pub delays_ms: BTreeMap<usize, u64>,
}

impl Manner {
    /// Every request must carry this.
    pub fn signed_with(mut self, secret: &str) -> Self {
        self.secret = Some(secret.to_owned());
        self
    }

    /// Equal requests get the last answer again.
    pub fn repeating(mut self) -> Self {
        self.repeats = true;
        self
    }

    /// The answer with this number comes late.
    pub fn delayed(mut self, answer: usize, ms: u64) -> Self {
        self.delays_ms.insert(answer, ms);
        self
    }
}

impl Fixture {
    /// Reads a fixture.
    ///
    /// # Errors
    /// [`Kind::Configuration`](crate::Kind::Configuration) with place and reason.
    pub fn parse(text: &str) -> Result<Self> {
        serde_json::from_str(text)
            .map_err(|error| Error::configuration("the fixture cannot be read").with_details(error.to_string()))
    }
}

impl StandIn {
    /// Starts on a free port of 127.0.0.1.
    ///
    /// # Errors
    /// [`Kind::Internal`](crate::Kind::Internal) when there is none.
    pub async fn start(exchanges: Vec<Exchange>, manner: Manner) -> Result<Self> {
        let failed = |error: std::io::Error| Error::internal(format!("the stand-in cannot listen: {error}"));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let shared = Arc::new(Shared {
            exchanges: Mutex::new(exchanges.into_iter().map(|exchange| (exchange, false)).collect()),
            seen: Mutex::default(),
            secret: manner.secret,
            repeats: manner.repeats,
            delays_ms: manner.delays_ms,
            base: format!("http://{address}"),
        });
        let app = Router::new().fallback(answer).with_state(shared.clone());
        let server = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, app).await {
                tracing::warn!(target: "wharfage::stand_in", %error, "the stand-in ended");
            }
        });
        Ok(Self { shared, server })
    }

    /// Scheme, host and port: what a connection's `origins` say.
    pub fn origin(&self) -> String {
        self.shared.base.clone()
    }

    /// The base URL of an origin: what a connection's `base` says.
    pub fn base(&self, origin: &str) -> String {
        format!("{}/{origin}", self.shared.base)
    }

    /// A connection that grants a plugin everything it asks for, here instead of at its provider.
    pub fn connection(&self, needs: &Needs) -> Connection {
        let names = needs.manifest.origins.keys();
        Connection {
            origins: vec![self.origin()],
            base: names.map(|name| (name.clone(), self.base(name))).collect(),
            private_addresses: vec![IpAddr::from([127, 0, 0, 1]).into()],
            ..Connection::granting(needs)
        }
    }

    /// An account whose every secret has this value.
    pub fn account(needs: &Needs, secret: &str) -> Account {
        let value = || SecretSource::Value(SecretValue::new(secret));
        needs.manifest.secrets.keys().fold(Account::default(), |account, name| account.with_secret(name, value()))
    }

    /// What came so far.
    pub fn seen(&self) -> Vec<Seen> {
        lock(&self.shared.seen).clone()
    }

    /// The requests of exchanges that nobody asked for yet.
    pub fn unused(&self) -> Vec<String> {
        let exchanges = lock(&self.shared.exchanges);
        let unused = exchanges.iter().filter(|(_, used)| !used);
        unused.map(|(exchange, _)| format!("{} {}", exchange.request.method, exchange.request.url)).collect()
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn answer(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, REQUEST_BYTES_MAX).await.unwrap_or_default();
    let target = parts.uri.path_and_query().map(ToString::to_string).unwrap_or_default();
    let is_signed = shared.secret.as_deref().is_none_or(|secret| {
        let holds = |text: &str| text.contains(secret);
        holds(&target) || parts.headers.values().any(|value| value.to_str().is_ok_and(holds))
    });
    let exchange = shared.take(parts.method.as_str(), &target, &parts.headers, &body);
    let number = {
        let mut seen = lock(&shared.seen);
        let status = match &exchange {
            Some(exchange) if !is_signed && exchange.response.status < 400 => 401,
            Some(exchange) => exchange.response.status,
            None => 501,
        };
        let shown = shared.secret.as_deref().map_or(target.clone(), |secret| target.replace(secret, "[secret]"));
        seen.push(Seen { method: parts.method.to_string(), target: shown, is_signed, status });
        seen.len()
    };
    if let Some(ms) = shared.delays_ms.get(&number) {
        tokio::time::sleep(Duration::from_millis(*ms)).await;
    }
    let Some(exchange) = exchange else {
        return plain(501, format!("the stand-in has no answer to {} {target}", parts.method));
    };
    if !is_signed && exchange.response.status < 400 {
        return plain(401, "the credential is missing".to_owned());
    }
    shared.respond(&exchange.response)
}

impl Shared {
    /// The first unused exchange that fits, or the last used one where answers repeat.
    fn take(&self, method: &str, target: &str, headers: &HeaderMap, body: &[u8]) -> Option<Exchange> {
        let mut exchanges = lock(&self.exchanges);
        let fitting: Vec<usize> = (0..exchanges.len())
            .filter(|index| self.fits(&exchanges[*index].0.request, method, target, body))
            .filter(|index| {
                exchanges[*index]
                    .0
                    .request
                    .headers
                    .iter()
                    .all(|(name, value)| headers.get(name).is_some_and(|seen| seen == value))
            })
            .collect();
        let next = fitting.iter().copied().find(|index| !exchanges[*index].1);
        let index = next.or_else(|| fitting.last().copied().filter(|_| self.repeats))?;
        exchanges[index].1 = true;
        Some(exchanges[index].0.clone())
    }

    fn fits(&self, asked: &Asked, method: &str, target: &str, body: &[u8]) -> bool {
        let (path, query) = parts_of(&asked.url.replace('{', "/").replace('}', ""));
        let (seen_path, mut seen_query) = parts_of(target);
        if let Some(secret) = &self.secret {
            seen_query.retain(|(_, value)| value != secret);
        }
        let body_fits = match (&asked.json, &asked.form, &asked.text) {
            (Some(json), ..) => serde_json::from_slice::<Value>(body).is_ok_and(|seen| &seen == json),
            (None, Some(form), _) => {
                let seen: BTreeSet<(String, String)> = url::form_urlencoded::parse(body).into_owned().collect();
                seen == form.iter().cloned().collect()
            }
            (None, None, Some(text)) => body == text.as_bytes(),
            (None, None, None) => true,
        };
        asked.method == method && path == seen_path && query == seen_query && body_fits
    }

    fn respond(&self, answered: &Answered) -> Response {
        let text = match (&answered.json, &answered.text) {
            (Some(json), _) => json.get().to_owned(),
            (None, Some(text)) => text.clone(),
            (None, None) => String::new(),
        };
        let mut response = plain(answered.status, self.placed(&text));
        if answered.json.is_some() {
            let json = HeaderValue::from_static("application/json");
            response.headers_mut().insert(header::CONTENT_TYPE, json);
        }
        for (name, value) in &answered.headers {
            let name = HeaderName::from_bytes(name.as_bytes());
            let value = HeaderValue::from_str(&self.placed(value));
            if let (Ok(name), Ok(value)) = (name, value) {
                response.headers_mut().insert(name, value);
            }
        }
        response
    }

    /// `{name}/path` with the base of that origin. JSON's own braces are never followed by a bare name and a slash.
    fn placed(&self, text: &str) -> String {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(open) = rest.find('{') {
            let (before, inside) = rest.split_at(open);
            out.push_str(before);
            let name = inside[1..].split('}').next().unwrap_or_default();
            let is_name = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
            if is_name && inside[1 + name.len()..].starts_with('}') {
                out.push_str(&format!("{}/{name}", self.base));
                rest = &inside[name.len() + 2..];
            } else {
                out.push('{');
                rest = &inside[1..];
            }
        }
        out.push_str(rest);
        out
    }
}

/// The path, and the pairs of the query in a fixed order.
fn parts_of(target: &str) -> (String, Vec<(String, String)>) {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let pairs: BTreeSet<(String, String)> = url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    (path.to_owned(), pairs.into_iter().collect())
}

fn plain(status: u16, body: String) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY);
    response
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
