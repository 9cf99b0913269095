//! A provider on loopback that answers from a plugin's fixtures.
//!
//! The demo, the conformance suite and authors who try a plugin by hand put it where the real provider would be: the
//! whole outbound path runs, sockets included, and nothing leaves the machine. It answers only what a fixture holds, in
//! the order in which it holds it, and remembers what it was asked.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use url::Url;

use crate::account::{Account, ExternalToken, SecretSource, SecretValue};
use crate::connection::Connection;
use crate::error::{Error, Result};
use crate::manifest::{CredentialFacts, Needs, Purpose};
use crate::tape::{Answered, Exchange, NO_SECRET, Wanted, placed};

/// Most bytes of a request that are read.
const REQUEST_BYTES_MAX: usize = 16 << 20;

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

debug_shows!(StandIn, |this| base = this.shared.base);

struct Shared {
    exchanges: Mutex<Vec<(Exchange, bool)>>,
    seen: Mutex<Vec<Seen>>,
    secret: Option<String>,
    repeats: bool,
    delays_ms: BTreeMap<usize, u64>,
    captured: BTreeMap<String, String>,
    key_parameter: Option<String>,
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
    /// What stands in a path for what a sign-in left behind, by its name.
    pub captured: BTreeMap<String, String>,
    /// The query parameter into which the host puts idempotency keys.
    pub key_parameter: Option<String>,
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

    /// The places in a path and in the query that the host fills, as this plugin's manifest says.
    pub fn filled_for(mut self, needs: &Needs) -> Self {
        self.captured = captured(needs);
        self.key_parameter = needs.manifest.idempotency.as_ref().and_then(|place| place.query.clone());
        self
    }

    /// The answer with this number comes late.
    pub fn delayed(mut self, answer: usize, ms: u64) -> Self {
        self.delays_ms.insert(answer, ms);
        self
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
            captured: manner.captured,
            key_parameter: manner.key_parameter,
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

    /// An account whose every secret and access token has this value.
    pub fn account(needs: &Needs, secret: &str) -> Account {
        let names = needs.manifest.secrets.keys();
        let with = |account: Account, name: &String| account.with_secret(name, value_of(needs, name, secret));
        signed_in(names.fold(Account::default(), with), needs, secret)
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
        let holds = |text: &str| text.contains(secret) || in_clear(text).is_some_and(|clear| clear.contains(secret));
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

/// User and password of `Basic` (RFC 7617).
fn in_clear(header: &str) -> Option<String> {
    let encoded = header.strip_prefix("Basic ")?;
    String::from_utf8(STANDARD.decode(encoded).ok()?).ok()
}

impl Shared {
    /// The first unused exchange that fits, or the last used one where answers repeat.
    fn take(&self, method: &str, target: &str, headers: &HeaderMap, body: &[u8]) -> Option<Exchange> {
        let headers: Vec<(String, String)> = headers
            .iter()
            .map(|(name, value)| (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
            .collect();
        let wanted = Wanted { method, url: &self.without_secret(target), headers: &headers, body };
        let mut exchanges = lock(&self.exchanges);
        let fitting: Vec<usize> = (0..exchanges.len())
            .filter(|index| exchanges[*index].0.request.is(&wanted, &|name| self.base_of(name)))
            .collect();
        let next = fitting.iter().copied().find(|index| !exchanges[*index].1);
        let index = next.or_else(|| fitting.last().copied().filter(|_| self.repeats))?;
        exchanges[index].1 = true;
        Some(exchanges[index].0.clone())
    }

    /// The whole URL, without a query parameter that is the secret or the host's key.
    fn without_secret(&self, target: &str) -> String {
        let url = format!("{}{target}", self.base);
        let Ok(mut parsed) = Url::parse(&url) else { return url };
        let is_hosts = |(name, value): &(String, String)| {
            self.secret.as_ref() == Some(value) || (self.key_parameter.as_ref() == Some(name) && is_made_key(value))
        };
        let pairs: Vec<(String, String)> = parsed.query_pairs().into_owned().collect();
        if !pairs.iter().any(is_hosts) {
            return url;
        }
        let kept: Vec<_> = pairs.into_iter().filter(|pair| !is_hosts(pair)).collect();
        parsed.set_query(None);
        if !kept.is_empty() {
            parsed.query_pairs_mut().extend_pairs(kept);
        }
        parsed.into()
    }

    /// Every origin has a folder of its own here.
    fn base_of(&self, name: &str) -> Option<String> {
        if let Some(value) = self.captured.get(name) {
            return Some(value.clone());
        }
        let is_name = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
        is_name.then(|| format!("{}/{name}", self.base))
    }

    fn respond(&self, answered: &Answered) -> Response {
        let base_of = |name: &str| self.base_of(name);
        let mut response = plain(answered.status, answered.body(&base_of));
        if answered.json.is_some() {
            let json = HeaderValue::from_static("application/json");
            response.headers_mut().insert(header::CONTENT_TYPE, json);
        }
        for (name, value) in &answered.headers {
            let name = HeaderName::from_bytes(name.as_bytes());
            let value = HeaderValue::from_str(&placed(value, &base_of));
            if let (Ok(name), Ok(value)) = (name, value) {
                response.headers_mut().insert(name, value);
            }
        }
        response
    }
}

/// What a secret of this name is while fixtures are played: this value, and for one that signs what it is in every replay, because
/// what it made stands in the fixtures.
pub fn value_of(needs: &Needs, name: &str, secret: &str) -> SecretSource {
    let signs = needs.manifest.secrets.get(name).is_some_and(|facts| facts.purpose == Purpose::Sign);
    SecretSource::Value(SecretValue::new(if signs { NO_SECRET } else { secret }))
}

/// The account as if a person had signed in for every credential that wants it, and got this access token.
pub fn signed_in(account: Account, needs: &Needs, token: &str) -> Account {
    let credentials = needs.manifest.credentials.iter();
    let wanting = credentials.filter(|(_, facts)| matches!(facts, CredentialFacts::Oauth2(_)));
    wanting.fold(account, |account, (name, _)| {
        account.with_access(name, ExternalToken { token: SecretValue::new(token), captured: captured(needs) })
    })
}

/// Whether this can be an idempotency key that the host made, which differs from run to run.
pub fn is_made_key(value: &str) -> bool {
    value.len() == 32 && value.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// What such a sign-in left behind, made up.
pub fn captured(needs: &Needs) -> BTreeMap<String, String> {
    let left_behind = |facts: &CredentialFacts| match facts {
        CredentialFacts::Oauth2(facts) => facts.capture.clone(),
        _ => Vec::new(),
    };
    let names = needs.manifest.credentials.values().flat_map(left_behind);
    names.map(|name| (name.clone(), format!("{name}-of-the-stand-in"))).collect()
}

fn plain(status: u16, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY);
    response
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
