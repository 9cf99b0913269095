//! Fixtures of a plugin's folder, played by a provider on loopback against the plugin's real component.
//!
//! A fixture says what is asked, what is answered and what comes of it. Here its exchanges are put where the provider would
//! be, `{name}` stands for where they are, and the call runs through the whole host. What was asked for and not there,
//! what was there and not asked for are both told, and how many requests came with the credential that the manifest declares.
//!
//! A play can break one request, to see what comes of that.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::StreamExt;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use tempfile::TempDir;
use wharfage::{
    Account, Connection, Error, FieldError, Host, Kind, ManualClock, Needs, NetworkStage, RequestSent, Severity,
};
use wharfage::{SecretSource, SecretValue, Timestamp};

use crate::{API_KEY, PluginFolder, Provider, Reply, Seen, component};

/// One case of a plugin.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fixture {
    /// What is called.
    pub operation: String,
    /// With what.
    pub input: Box<RawValue>,
    /// `recorded`, `from-spec` or `from-docs`.
    pub from: String,
    /// Who says so.
    pub source: String,
    /// When that was read.
    pub date: String,
    /// What the clock shows.
    pub now: Option<String>,
    /// Names of the secrets that are there; all when absent.
    pub secrets: Option<Vec<String>>,
    /// What is asked and answered.
    pub exchanges: Vec<Exchange>,
    /// What comes of it.
    pub expect: Expect,
}

/// A request with its answer.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exchange {
    request: Asked,
    response: Answered,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    method: String,
    url: String,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    json: Option<Value>,
    form: Option<Vec<(String, String)>>,
    text: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Answered {
    status: u16,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    /// As text, so that `12.30` arrives as it stands in the file.
    json: Option<Box<RawValue>>,
    text: Option<String>,
}

/// What comes of a case.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expect {
    /// The output; of a list all items of all pages.
    #[serde(default, deserialize_with = "present")]
    pub output: Option<Value>,
    /// How many pages.
    pub pages: Option<usize>,
    /// Fields of the error.
    pub error: Option<Map<String, Value>>,
}

/// An `output` of null is an output.
fn present<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

/// What came of a play.
#[derive(Debug)]
pub struct Played {
    /// The output, all pages of a list together, or the error.
    pub outcome: Result<Value, Error>,
    /// How many pages were read.
    pub pages: usize,
    /// What was asked for and not there, or there and not asked for.
    pub troubles: Vec<String>,
    /// How many requests the provider saw.
    pub requests: usize,
    /// How many of them carried the credential that the manifest declares.
    pub signed: usize,
}

/// A reply instead of the one that the fixture holds.
#[derive(Clone)]
pub struct Break {
    /// Which request of the play; the first is 1.
    pub at: usize,
    /// What it gets.
    pub reply: Reply,
}

/// A plugin with everything it takes to play its fixtures.
pub struct Theatre {
    plugin: PluginFolder,
    bytes: Arc<Vec<u8>>,
    /// What the component says about itself.
    pub needs: Needs,
    state: TempDir,
}

/// What every provider of a play shares.
struct Stage {
    exchanges: Vec<(Exchange, bool)>,
    broken: Option<Break>,
    requests: usize,
    signed: usize,
    troubles: Vec<String>,
}

/// What the clock shows where a fixture does not say: 2026-01-01T00:00:00Z, as in a native replay.
const NOW: Timestamp = Timestamp::from_millis(1_767_225_600_000);

impl Theatre {
    /// Opens a plugin's folder.
    pub async fn of(plugin: PluginFolder) -> Self {
        let bytes = component::built(plugin.name, || plugin.compiled(), &plugin.manifest()).await;
        let needs = Needs::read(&bytes).unwrap_or_else(|error| panic!("{}: {error}", plugin.name));
        Self { plugin, bytes, needs, state: tempfile::tempdir().expect("a folder") }
    }

    /// The names and texts of all fixtures, in order.
    pub fn fixtures(&self) -> Vec<(String, String)> {
        let folder = std::path::Path::new(self.plugin.folder).join("fixtures");
        let entries = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        let mut paths: Vec<_> = entries.filter_map(Result::ok).map(|entry| entry.path()).collect();
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
        paths.sort();
        let read = |path: std::path::PathBuf| {
            let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            (name, text)
        };
        paths.into_iter().map(read).collect()
    }

    /// Plays one fixture, with one request broken if `broken` says so.
    pub async fn play(&self, text: &str, broken: Option<Break>) -> (Fixture, Played) {
        let stage =
            Arc::new(Mutex::new(Stage { exchanges: Vec::new(), broken, requests: 0, signed: 0, troubles: Vec::new() }));
        let mut providers = Vec::new();
        let mut connection = Connection::default();
        let mut text = text.to_owned();
        for (name, facts) in &self.needs.manifest.origins {
            let path = url::Url::parse(&facts.url).expect("an origin is a URL").path().trim_end_matches('/').to_owned();
            let credential = self.declared_credential(name);
            let provider = Provider::answering({
                let stage = stage.clone();
                move |seen| lock(&stage).answer(seen, credential.as_ref())
            })
            .await;
            let base = format!("{}{path}", provider.url());
            text = text.replace(&format!("{{{name}}}"), &base);
            connection.origins.push(provider.url());
            connection.base.insert(name.clone(), base);
            providers.push(provider);
        }
        let fixture: Fixture = serde_json::from_str(&text).unwrap_or_else(|error| panic!("the fixture: {error}"));
        lock(&stage).exchanges = fixture.exchanges.iter().map(|exchange| (exchange.clone(), false)).collect();
        connection.plugin = self.needs.manifest.plugin.name.clone();
        connection.imports = crate::scene::imports(&self.bytes).expect("it was built");
        connection.private_addresses = vec!["127.0.0.1/32".parse().expect("an address")];
        connection.secrets = match &fixture.secrets {
            Some(names) => names.clone(),
            None => self.needs.manifest.secrets.keys().cloned().collect(),
        };
        let account = connection.secrets.iter().fold(Account::default(), |account, name| {
            account.with_secret(name, SecretSource::Value(SecretValue::new(API_KEY)))
        });

        let now = fixture.now.as_deref().map_or(NOW, timestamp);
        // Only compiled code is kept between plays; each has a host and a connection of its own.
        let host =
            Host::builder().state_dir(self.state.path().join("state")).clock(ManualClock::skipping(now, 1)).build();
        let host = host.unwrap_or_else(|error| panic!("{error}"));
        let name = format!("play-{}", providers.first().map_or(0, Provider::port));
        let plugin = host.connect(&name, &self.bytes, &connection, Some(&account)).await;
        let plugin = plugin.unwrap_or_else(|error| panic!("{}: {error}", self.plugin.name));
        let (outcome, pages) = self.run(&plugin, &fixture).await;

        let stage = lock(&stage);
        let left = stage.exchanges.iter().filter(|(_, is_used)| !is_used);
        let left = left
            .map(|(exchange, _)| format!("{} {} was never asked for", exchange.request.method, exchange.request.url));
        let troubles = stage.troubles.iter().cloned().chain(left).collect();
        let (requests, signed) = (stage.requests, stage.signed);
        drop(stage);
        (fixture, Played { outcome, pages, troubles, requests, signed })
    }

    async fn run(&self, plugin: &wharfage::Plugin, fixture: &Fixture) -> (Result<Value, Error>, usize) {
        const PAGES_MAX: usize = 1_000;
        let operation = self.needs.operations.iter().find(|operation| operation.name == fixture.operation);
        let is_list = operation.is_some_and(|operation| operation.is_list);
        let mut pages =
            std::pin::pin!(plugin.pages(&fixture.operation, fixture.input.get().to_owned(), None).take(PAGES_MAX));
        let mut items = Vec::new();
        let mut count = 0;
        while let Some(page) = pages.next().await {
            count += 1;
            let output = match page {
                Ok(page) => serde_json::from_str(page.output.get()).expect("an output is JSON"),
                Err(error) => return (Err(error), count),
            };
            match output {
                Value::Array(page) if is_list => items.extend(page),
                output => return (Ok(output), count),
            }
        }
        (Ok(Value::Array(items)), count)
    }

    /// What must be on a request to this origin, by the text of `plugin.toml`.
    fn declared_credential(&self, origin: &str) -> Option<Mark> {
        let manifest: toml::Table = self.plugin.manifest().parse().expect("it was built");
        let credentials = manifest.get("credentials")?.as_table()?;
        let goes_here = |facts: &&toml::Value| {
            facts["origins"].as_array().is_some_and(|names| names.iter().any(|name| name.as_str() == Some(origin)))
        };
        let facts = match manifest["origins"][origin].get("credential").and_then(toml::Value::as_str) {
            Some(name) => credentials.get(name)?,
            None => credentials.values().find(goes_here)?,
        };
        let named = |key: &str| facts.get(key).and_then(toml::Value::as_str).map(str::to_owned);
        Some(match named("query") {
            Some(name) => Mark::Query(name),
            None => Mark::Header(named("header").unwrap_or_else(|| "authorization".to_owned())),
        })
    }
}

/// Where a credential must be.
enum Mark {
    Header(String),
    Query(String),
}

fn lock(stage: &Mutex<Stage>) -> MutexGuard<'_, Stage> {
    stage.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Stage {
    fn answer(&mut self, seen: &Seen, credential: Option<&Mark>) -> Reply {
        self.requests += 1;
        let host = seen.header("host").unwrap_or_default();
        let mut url = url::Url::parse(&format!("http://{host}{}", seen.target)).expect("a target is a URL");
        let is_signed = match credential {
            None => true,
            Some(Mark::Header(name)) => seen.header(name).is_some_and(|value| value.contains(API_KEY)),
            Some(Mark::Query(hidden)) => {
                let pairs: Vec<(String, String)> = url.query_pairs().into_owned().collect();
                let (marks, kept): (Vec<_>, Vec<_>) = pairs.into_iter().partition(|(name, _)| name == hidden);
                url.set_query(None);
                if !kept.is_empty() {
                    url.query_pairs_mut().extend_pairs(&kept);
                }
                marks.iter().any(|(_, value)| value == API_KEY)
            }
        };
        self.signed += usize::from(is_signed);
        if let Some(broken) = self.broken.take_if(|broken| broken.at == self.requests) {
            return broken.reply;
        }
        let fitting = self.exchanges.iter_mut().find(|(exchange, is_used)| !is_used && exchange.request.is(seen, &url));
        match fitting {
            Some((exchange, is_used)) => {
                *is_used = true;
                exchange.response.reply()
            }
            None => {
                self.troubles.push(format!("{} {url} is in no exchange that is left", seen.method));
                Reply::status(501)
            }
        }
    }
}

impl Asked {
    /// Whether it is this request: method, path, query in any order, these headers, and the body.
    fn is(&self, seen: &Seen, url: &url::Url) -> bool {
        let Ok(own) = url::Url::parse(&self.url) else { return false };
        let sorted =
            |url: &url::Url| url.query_pairs().into_owned().collect::<Vec<_>>().into_iter().collect::<BTreeSet<_>>();
        let counted = |url: &url::Url| url.query_pairs().count();
        let body = seen.body.as_slice();
        let has_body = match (&self.json, &self.form, &self.text) {
            (Some(json), _, _) => serde_json::from_slice::<Value>(body).is_ok_and(|seen| seen == *json),
            (_, Some(form), _) => url::form_urlencoded::parse(body).into_owned().eq(form.iter().cloned()),
            (_, _, Some(text)) => body == text.as_bytes(),
            (None, None, None) => body.is_empty(),
        };
        self.method == seen.method
            && (own.origin(), own.path(), sorted(&own), counted(&own))
                == (url.origin(), url.path(), sorted(url), counted(url))
            && self.headers.iter().all(|(name, value)| seen.header(name) == Some(value))
            && has_body
    }
}

impl Answered {
    fn reply(&self) -> Reply {
        let text = self.json.as_ref().map(|json| json.get()).or(self.text.as_deref()).unwrap_or_default();
        let headers = self.headers.iter().filter(|(name, _)| !name.eq_ignore_ascii_case("content-length"));
        headers.fold(Reply::status(self.status), |reply, (name, value)| reply.header(name, value)).body(text)
    }
}

/// An error as fixtures write it, field by field.
pub fn error_json(error: &Error) -> Value {
    let mut value = json!({
        "kind": error.kind().name(),
        "message": error.message(),
        "severity": match error.severity() {
            Severity::Transient => "transient",
            Severity::Permanent => "permanent",
            Severity::Unknown => "unknown",
        },
        "retry_at": error.retry_at().map(|at| at.to_string()),
        "request_sent": match error.request_sent() {
            RequestSent::No => "no",
            RequestSent::Maybe => "maybe",
            RequestSent::Yes => "yes",
        },
        "status": error.status(),
        "provider_code": error.provider_code(),
        "request_id": error.request_id(),
        "endpoint": error.endpoint(),
        "body": error.body(),
        "attempts": error.attempts(),
    });
    match error.kind() {
        Kind::InvalidRequest(fields) => {
            let told = |field: &FieldError| json!({"path": field.path, "message": field.message});
            value["fields"] = fields.iter().map(told).collect();
        }
        Kind::PolicyDenied(detail) | Kind::LimitExceeded(detail) => value["detail"] = json!(detail),
        Kind::Network(stage) => {
            value["detail"] = json!(match stage {
                NetworkStage::Dns => "dns",
                NetworkStage::Connect => "connect",
                NetworkStage::Tls => "tls",
                NetworkStage::Reset => "reset",
            });
        }
        _ => {}
    }
    value
}

/// What differs between what a fixture expects and what came.
pub fn compare(expect: &Expect, played: &Played) -> Result<(), String> {
    match (&played.outcome, &expect.output, &expect.error) {
        (Ok(output), Some(expected), None) => {
            if output != expected {
                return Err(difference(expected, output));
            }
            match expect.pages {
                Some(pages) if pages != played.pages => Err(format!("expected {pages} pages, got {}", played.pages)),
                _ => Ok(()),
            }
        }
        (Err(error), None, Some(expected)) => {
            let error = error_json(error);
            // Of a wrong input the host's schema may speak before the plugin does; where it is wrong stays the same.
            let paths = |fields: &Value| {
                fields.as_array().map(|fields| fields.iter().map(|field| field["path"].clone()).collect::<Vec<_>>())
            };
            let differs = expected.iter().any(|(name, value)| match name.as_str() {
                "fields" => paths(&error["fields"]) != paths(value),
                _ => error.get(name) != Some(value),
            });
            if differs { Err(difference(&Value::Object(expected.clone()), &error)) } else { Ok(()) }
        }
        (Ok(output), None, Some(_)) => Err(format!("expected an error, got {output:#}")),
        (Err(error), _, _) => Err(format!("expected an output, got {:#}\n{error}", error_json(error))),
        (Ok(_), _, _) => Err("`expect` holds either `output` or `error`".to_owned()),
    }
}

/// Both sides from the first line that differs.
pub fn difference(expected: &Value, got: &Value) -> String {
    let (expected, got) = (format!("{expected:#}"), format!("{got:#}"));
    let (expected, got): (Vec<&str>, Vec<&str>) = (expected.lines().collect(), got.lines().collect());
    let same = expected.iter().zip(&got).take_while(|(a, b)| a == b).count();
    let show = |sign: char, lines: &[&str]| -> String {
        lines.iter().skip(same).take(12).map(|line| format!("{sign} {line}\n")).collect()
    };
    format!("it differs in line {}:\n{}{}", same + 1, show('-', &expected), show('+', &got))
}

/// RFC 3339 in UTC, as fixtures write it.
fn timestamp(text: &str) -> Timestamp {
    let wrong = || -> ! { panic!("{text} is no time of the form 2026-01-01T00:00:00Z") };
    let datetime: toml::value::Datetime = text.parse().unwrap_or_else(|_| wrong());
    let (Some(date), Some(time)) = (datetime.date, datetime.time) else { wrong() };
    // Days from civil, after Howard Hinnant.
    let (year, month) = (i64::from(date.year) - i64::from(date.month <= 2), i64::from(date.month));
    let day_of_year = (153 * (month + if month > 2 { -3 } else { 9 }) + 2) / 5 + i64::from(date.day) - 1;
    let year_of_era = year.rem_euclid(400);
    let days = year.div_euclid(400) * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year
        - 719_468;
    let (minute, second) = (i64::from(time.minute), time.second.map_or(0, i64::from));
    let seconds = ((days * 24 + i64::from(time.hour)) * 60 + minute) * 60 + second;
    let millis = u64::try_from(seconds).unwrap_or_else(|_| wrong()) * 1_000;
    Timestamp::from_millis(millis + time.nanosecond.map_or(0, u64::from) / 1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_host_shows() {
        for text in ["1970-01-01T00:00:00Z", "2024-02-29T12:34:56Z", "2026-11-22T08:49:37.250Z", "2099-12-31T23:59:59Z"]
        {
            assert_eq!(timestamp(text).to_string(), text);
        }
    }
}
