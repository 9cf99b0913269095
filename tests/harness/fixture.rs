//! Fixtures of a plugin's folder, played by a provider on loopback against the plugin's real component.
//!
//! A fixture says what is asked, what is answered and what comes of it. Here its exchanges are put where the provider would
//! be, `{name}` stands for where they are, and the call runs through the whole host. What was asked for and not there,
//! what was there and not asked for are both told, and how many requests came with the credential that the manifest declares.
//!
//! A play can break one request, to see what comes of that.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures_util::StreamExt;
use serde_json::{Value, json};
use wharfage::stand_in::{captured, is_made_key, signed_in, value_of};
use wharfage::tape::{Answered, Content, Exchange, Expect, Fixture, Tape, TapeMode, Wanted, placed};
use wharfage::transport::{ResponseHead, SignedRequest, TransportError};
use wharfage::{
    Account, BoxFuture, Connection, Error, FieldError, Files, Host, HostBuilder, Kind, ManualClock, Needs,
    NetworkStage, RequestSent, Severity, Transport,
};

use crate::{API_KEY, PluginFolder, Provider, Reply, Seen, component};

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
}

/// What every provider of a play shares.
struct Stage {
    exchanges: Vec<(Exchange, bool)>,
    broken: Option<Break>,
    requests: usize,
    signed: usize,
    troubles: Vec<String>,
    /// The query parameter into which the host puts idempotency keys.
    key_parameter: Option<String>,
}

impl Theatre {
    /// Opens a plugin's folder.
    pub async fn of(plugin: PluginFolder) -> Self {
        let bytes = component::built(plugin.name, || plugin.compiled(), &plugin.manifest()).await;
        let needs = Needs::read(&bytes).unwrap_or_else(|error| panic!("{}: {error}", plugin.name));
        Self { plugin, bytes, needs }
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
        self.play_on(text, broken, Host::builder()).await
    }

    /// Plays one fixture, and records what comes of it in a file.
    ///
    /// # Panics
    /// When nothing is written.
    pub async fn record(&self, text: &str, path: &std::path::Path) -> Played {
        let tape = Tape::open(path, TapeMode::Record).unwrap_or_else(|error| panic!("{error}"));
        let (_, played) = self.play_on(text, None, Host::builder().tape(tape.clone())).await;
        tape.finish().unwrap_or_else(|error| panic!("{}: {error:?}", path.display()));
        played
    }

    /// Replays one fixture from its tape: there is no provider, no key and no socket.
    pub async fn replay(&self, text: &str) -> (Fixture, Played) {
        let origins = &self.needs.manifest.origins;
        let base_of = |name: &str| Some(origins.get(name)?.url.trim_end_matches('/').to_owned());
        let expected = Fixture::parse(&placed(text, &base_of)).unwrap_or_else(|error| panic!("the fixture: {error}"));
        let tape = Tape::of(Fixture::parse(text).unwrap_or_else(|error| panic!("the fixture: {error}")));
        let host = Host::builder().code_dir(crate::compiled_code()).transport(Closed).tape(tape.clone());
        let host = host.build().unwrap_or_else(|error| panic!("{error}"));
        let connection = Connection::granting(&self.needs);
        let plugin = host.connect("tape", &self.bytes, &connection, None).await;
        let plugin = plugin.unwrap_or_else(|error| panic!("{}: {error}", self.plugin.name));
        let handed = Handed::over(&expected);
        let (outcome, pages) = self.run(&plugin.with_files(handed.files.clone()), &expected).await;
        let unused = tape.unused().into_iter().map(|asked| format!("{asked} was never asked for"));
        let troubles = unused.chain(handed.misfits(&expected)).collect();
        (expected, Played { outcome, pages, troubles, requests: 0, signed: 0 })
    }

    async fn play_on(&self, text: &str, broken: Option<Break>, builder: HostBuilder) -> (Fixture, Played) {
        let key_parameter = self.needs.manifest.idempotency.as_ref().and_then(|place| place.query.clone());
        let (exchanges, troubles) = (Vec::new(), Vec::new());
        let stage = Stage { exchanges, broken, requests: 0, signed: 0, troubles, key_parameter };
        let stage = Arc::new(Mutex::new(stage));
        let mut providers = Vec::new();
        let mut connection = Connection::default();
        let mut bases: Vec<(String, String)> = Vec::new();
        for (name, facts) in &self.needs.manifest.origins {
            let path = url::Url::parse(&facts.url).expect("an origin is a URL").path().trim_end_matches('/').to_owned();
            let credential = self.declared_credential(name);
            let provider = Provider::answering({
                let stage = stage.clone();
                move |seen| lock(&stage).answer(seen, credential.as_ref())
            })
            .await;
            let base = format!("{}{path}", provider.url());
            connection.origins.push(provider.url());
            connection.base.insert(name.clone(), base.clone());
            bases.push((name.clone(), base));
            providers.push(provider);
        }
        // What a sign-in would have left behind stands in paths.
        bases.extend(captured(&self.needs));
        let base_of = |name: &str| bases.iter().find(|(own, _)| own == name).map(|(_, base)| base.clone());
        let fixture = Fixture::parse(&placed(text, &base_of)).unwrap_or_else(|error| panic!("the fixture: {error}"));
        lock(&stage).exchanges = fixture.exchanges.iter().map(|exchange| (exchange.clone(), false)).collect();
        connection.plugin = self.needs.manifest.plugin.name.clone();
        connection.imports = crate::scene::imports(&self.bytes).expect("it was built");
        connection.private_addresses = vec!["127.0.0.1/32".parse().expect("an address")];
        connection.secrets = match &fixture.secrets {
            Some(names) => names.clone(),
            None => self.needs.manifest.secrets.keys().cloned().collect(),
        };
        let account = connection
            .secrets
            .iter()
            .fold(Account::default(), |account, name| account.with_secret(name, value_of(&self.needs, name, API_KEY)));
        // Where a person would sign in, the play has done so.
        let account = signed_in(account, &self.needs, API_KEY);

        let now = fixture.clock();
        // Only compiled code is kept between plays. State would meet another play's: the system gives ports again, and an
        // answer that was kept for one would serve the other.
        let host = builder.code_dir(crate::compiled_code()).clock(ManualClock::skipping(now, 1)).build();
        let host = host.unwrap_or_else(|error| panic!("{error}"));
        let plugin = host.connect("play", &self.bytes, &connection, Some(&account)).await;
        let plugin = plugin.unwrap_or_else(|error| panic!("{}: {error}", self.plugin.name));
        let handed = Handed::over(&fixture);
        let (outcome, pages) = self.run(&plugin.with_files(handed.files.clone()), &fixture).await;

        let stage = lock(&stage);
        let left = stage.exchanges.iter().filter(|(_, is_used)| !is_used);
        let left = left
            .map(|(exchange, _)| format!("{} {} was never asked for", exchange.request.method, exchange.request.url));
        let troubles = stage.troubles.iter().cloned().chain(left).chain(handed.misfits(&fixture)).collect();
        let (requests, signed) = (stage.requests, stage.signed);
        drop(stage);
        (fixture, Played { outcome, pages, troubles, requests, signed })
    }

    /// All pages of a call, or as many as a fixture has that goes on.
    ///
    /// # Panics
    /// When an output is no JSON, or such a fixture's list ends.
    async fn run(&self, plugin: &wharfage::Plugin, fixture: &Fixture) -> (Result<Value, Error>, usize) {
        const PAGES_MAX: usize = 1_000;
        let most = fixture.expect.pages.filter(|_| fixture.expect.goes_on).unwrap_or(PAGES_MAX);
        let operation = self.needs.operations.iter().find(|operation| operation.name == fixture.operation);
        let is_list = operation.is_some_and(|operation| operation.is_list);
        let mut pages =
            std::pin::pin!(plugin.pages(&fixture.operation, fixture.input.get().to_owned(), None).take(most));
        let mut items = Vec::new();
        let mut count = 0;
        while let Some(page) = pages.next().await {
            count += 1;
            let output = match page {
                Ok(page) if fixture.expect.goes_on && count == most && page.next.is_none() => {
                    panic!("the list should go on after {count} pages")
                }
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

/// The files of a fixture: what is given, and what is taken.
struct Handed {
    files: Files,
    taken: BTreeMap<String, Taken>,
}

/// What a plugin has written.
#[derive(Clone, Default)]
struct Taken(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Taken {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Handed {
    fn over(fixture: &Fixture) -> Self {
        let give = |files: Files, (name, content): (&String, &Content)| {
            files.give(name, std::io::Cursor::new(content.bytes())).expect("it is in memory")
        };
        let files = fixture.files.iter().fold(Files::default(), give);
        let taken: BTreeMap<String, Taken> =
            fixture.expect.files.keys().map(|name| (name.clone(), Taken::default())).collect();
        let files = taken.iter().fold(files, |files, (name, taken)| files.take(name, taken.clone()));
        Self { files, taken }
    }

    /// Which files do not hold what they should.
    fn misfits(&self, fixture: &Fixture) -> Vec<String> {
        let holds = |(name, content): &(&String, &Content)| {
            let taken = &self.taken[*name];
            *taken.0.lock().unwrap_or_else(PoisonError::into_inner) == content.bytes()
        };
        let misfits = fixture.expect.files.iter().filter(|file| !holds(file));
        misfits.map(|(name, _)| format!("the file {name} does not hold what it should")).collect()
    }
}

/// A transport that nobody may reach.
pub struct Closed;

impl Transport for Closed {
    fn send<'a>(&'a self, _: &'a SignedRequest) -> BoxFuture<'a, Result<ResponseHead, TransportError>> {
        panic!("a replay reached the network")
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
        if let Some(parameter) = &self.key_parameter {
            strip(&mut url, |name, value| name == parameter && is_made_key(value));
        }
        let is_signed = match credential {
            None => true,
            Some(Mark::Header(name)) => seen.header(name).is_some_and(|value| match value.strip_prefix("Basic ") {
                Some(encoded) => {
                    STANDARD.decode(encoded).is_ok_and(|pair| pair == format!("{API_KEY}:{API_KEY}").as_bytes())
                }
                None => value.contains(API_KEY),
            }),
            Some(Mark::Query(hidden)) => {
                let marks = strip(&mut url, |name, _| name == hidden);
                marks.iter().any(|(_, value)| value == API_KEY)
            }
        };
        self.signed += usize::from(is_signed);
        if let Some(broken) = self.broken.take_if(|broken| broken.at == self.requests) {
            return broken.reply;
        }
        let wanted = Wanted { method: &seen.method, url: url.as_str(), headers: &seen.headers, body: &seen.body };
        let fitting =
            self.exchanges.iter_mut().find(|(exchange, is_used)| !is_used && exchange.request.is(&wanted, &nowhere));
        match fitting {
            Some((exchange, is_used)) => {
                *is_used = true;
                reply(&exchange.response)
            }
            None => {
                self.troubles.push(format!("{} {url} is in no exchange that is left", seen.method));
                Reply::status(501)
            }
        }
    }
}

/// Takes parameters out of the query.
fn strip(url: &mut url::Url, is_hidden: impl Fn(&str, &str) -> bool) -> Vec<(String, String)> {
    let pairs: Vec<(String, String)> = url.query_pairs().into_owned().collect();
    let (marks, kept): (Vec<_>, Vec<_>) = pairs.into_iter().partition(|(name, value)| is_hidden(name, value));
    url.set_query(None);
    if !kept.is_empty() {
        url.query_pairs_mut().extend_pairs(&kept);
    }
    marks
}

/// An answer of a fixture, whose places are filled in, as a provider gives it.
fn reply(answered: &Answered) -> Reply {
    let headers = answered.headers.iter().filter(|(name, _)| !name.eq_ignore_ascii_case("content-length"));
    let reply = headers.fold(Reply::status(answered.status), |reply, (name, value)| reply.header(name, value));
    reply.body(answered.body(&nowhere))
}

/// For texts whose places are filled in.
fn nowhere(_: &str) -> Option<String> {
    None
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
                other => panic!("{other:?} has no name in a fixture"),
            });
        }
        _ => {}
    }
    value
}

/// What differs between what a fixture expects and what came.
pub fn compare(expect: &Expect, played: &Played) -> Result<(), String> {
    match (&played.outcome, expect.output_value(), &expect.error) {
        (Ok(output), Some(expected), None) => {
            if *output != expected {
                return Err(difference(&expected, output));
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
