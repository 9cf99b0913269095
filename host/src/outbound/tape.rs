//! Record and replay, above ready.rs and behind the mask.
//!
//! A [`Tape`] stands where a request has passed scope and cache and no credential is on it yet. In a replay an answer of
//! the tape enters at classify, so that it means what it meant live: a taped 429 is waited out, a taped redirect is
//! judged and followed, and nothing of credentials, permits, addresses and network is reached. In a recording every
//! answer is kept as `scrub.rs` lets it, one exchange for each attempt and hop that was answered; attempts that broke
//! leave none.
//!
//! The file is a [`Fixture`]: one call with all its pages, the same that a plugin keeps in its folder. It is written when
//! the call has ended and [`Tape::finish`] is called: whole or not at all, for its owner's eyes, and never with a known
//! secret in it. A host with a tape begins with empty state and an empty cache and keeps neither, and its plugins see a
//! clock that stands still, so that what a call asks for depends on the tape alone.
//!
//! ```no_run
//! # async fn example() -> wharfage::Result<()> {
//! use wharfage::tape::{Tape, TapeMode};
//! use wharfage::{Config, Host};
//!
//! let config = Config::parse(&std::fs::read_to_string("wharfage.toml").unwrap_or_default(), "wharfage.toml".as_ref())?;
//! let tape = Tape::open("orders.list.json", TapeMode::FailOnNew)?; // recorded the first time, replayed from then on
//! let host = Host::builder().tape(tape.clone()).build()?;
//! let orders = host.open(&config, "acme").await?.page("orders.list", "{}", None).await?;
//! tape.finish()?; // writes the recording
//! assert_eq!(tape.unused(), [] as [&str; 0]); // of a replay: what was never asked for
//! # drop(orders);
//! # Ok(())
//! # }
//! ```

mod fixture;
mod json;
mod matching;
mod scrub;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use bytes::Bytes;
use cap_std::ambient_authority;
use cap_std::fs::{Dir, OpenOptions};
use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;
use serde_json::value::RawValue;
use url::Url;

use super::scope::Scoped;
use super::secret_url::SecretUrl;
use super::transport::{self, Raw};
use super::{Method, Outbound, without_query};
use crate::error::{Error, Kind, Result, rule};
use crate::mask::header_is_secret;
use crate::time::{Clock, ManualClock, Timestamp};
use crate::vault::Secrets;

use self::scrub::Places;

pub use self::fixture::{
    Answered, Asked, Content, EXCHANGES_MAX, Exchange, Expect, Fixture, NOW, Provenance, TAPE_BYTES_MAX, placed,
};
pub use self::matching::Wanted;

/// What every secret is in a replay, where nobody needs its value. What is signed with it stands in fixtures, so whoever plays
/// them against a provider signs with the same.
pub const NO_SECRET: &str = "a-tape-holds-no-secret";

/// The seed of everything random in a replay.
pub(crate) const SEED: u64 = 1;

/// What a tape does with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TapeMode {
    /// Every request goes out; the tape is written anew.
    Record,
    /// No request goes out. What is not on the tape is an error that names the nearest there.
    Replay,
    /// What is on the tape is played; what is new goes out and is added. Without a file it records.
    ReplayOrRecord,
    /// Like [`TapeMode::Replay`]; only where there is no file yet, it is recorded first.
    FailOnNew,
}

/// A recording or a replay of one call. Clones are the same tape.
#[derive(Clone)]
pub struct Tape(Arc<Reel>);

debug_shows!(Tape, |this| path = this.0.path);

struct Reel {
    path: Option<PathBuf>,
    plays: bool,
    records: bool,
    /// What was on it.
    fixture: Option<Fixture>,
    /// When the call began, as its plugin sees it.
    began: OnceLock<Timestamp>,
    film: Mutex<Film>,
}

/// What has happened so far.
#[derive(Default)]
struct Film {
    /// Of the fixture's exchanges, which were played.
    used: Vec<bool>,
    /// New exchanges in the order in which they set out.
    taken: BTreeMap<usize, Exchange>,
    begun: usize,
    taken_bytes: usize,
    call: Option<Called>,
    /// Why nothing can be written.
    unwritable: Option<Error>,
}

/// The call that is recorded.
struct Called {
    operation: String,
    input: String,
    /// The items of a list's pages, or the one output.
    outputs: Vec<Box<RawValue>>,
    is_list: bool,
    pages: usize,
    goes_on: bool,
    error: Option<Expect>,
    ended: Timestamp,
    secrets: Arc<Secrets>,
    places: Places,
}

/// How a page of a call ended, for the recording.
pub(crate) struct Ended<'a> {
    pub(crate) operation: &'a str,
    pub(crate) is_list: bool,
    /// The input as the plugin got it.
    pub(crate) input: &'a str,
    /// Whether it went on from a cursor.
    pub(crate) is_continued: bool,
    /// The output and whether there is more, or the error.
    pub(crate) result: Result<(&'a RawValue, bool), &'a Error>,
}

impl Tape {
    /// A tape in a file. It is read now and written by [`Tape::finish`]; recording over an existing file replaces it.
    ///
    /// # Errors
    /// [`Kind::Configuration`] when the file cannot be read, with its place; in [`TapeMode::Replay`] also when there is
    /// none.
    pub fn open(path: impl Into<PathBuf>, mode: TapeMode) -> Result<Self> {
        let path = path.into();
        let found = if mode == TapeMode::Record { None } else { read(&path)? };
        let (plays, records) = match (mode, &found) {
            (TapeMode::Replay | TapeMode::FailOnNew, Some(_)) => (true, false),
            (TapeMode::Replay, None) => {
                return Err(Error::configuration(format!("there is no tape {}", path.display()))
                    .with_details(format!("To record one:   wharfage call … --record {}", path.display())));
            }
            (TapeMode::ReplayOrRecord, Some(_)) => (true, true),
            (TapeMode::Record, _) | (TapeMode::ReplayOrRecord | TapeMode::FailOnNew, None) => (false, true),
        };
        let fixture = match found {
            Some(text) => Some(Fixture::parse(&text).map_err(|error| error.context(path.display()))?),
            None => None,
        };
        if records {
            folder_of(&path)?;
        }
        Ok(Self::new(Some(path), plays, records, fixture))
    }

    /// A strict replay of what is in memory.
    pub fn of(fixture: Fixture) -> Self {
        Self::new(None, true, false, Some(fixture))
    }

    fn new(path: Option<PathBuf>, plays: bool, records: bool, fixture: Option<Fixture>) -> Self {
        let began = OnceLock::new();
        let film = Film::default();
        if let Some(fixture) = &fixture {
            let _ = began.set(fixture.clock());
        }
        Self(Arc::new(Reel { path, plays, records, fixture, began, film: Mutex::new(film) }))
    }

    /// What was on the tape when it was opened.
    pub fn fixture(&self) -> Option<&Fixture> {
        self.0.fixture.as_ref()
    }

    /// Whether nothing goes out.
    pub fn is_strict(&self) -> bool {
        self.0.plays && !self.0.records
    }

    /// The requests on the tape that were never asked for.
    pub fn unused(&self) -> Vec<String> {
        let film = self.0.film();
        let exchanges = self.0.exchanges().iter().enumerate();
        let unused = exchanges.filter(|(at, _)| !film.used.get(*at).copied().unwrap_or(false));
        unused.map(|(_, exchange)| exchange.request.to_string()).collect()
    }

    /// Ends the tape: a recording is written, if the call brought anything new. A replay has nothing to do.
    ///
    /// # Errors
    /// [`Kind::PolicyDenied`] with the rule `tape` when a known secret would stand in the file, or the call cannot be
    /// replayed; [`Kind::LimitExceeded`] when it is too long; [`Kind::Configuration`] when the file cannot be written.
    /// Nothing is written then.
    pub fn finish(&self) -> Result<()> {
        let (true, Some(path)) = (self.0.records, &self.0.path) else { return Ok(()) };
        let film = self.0.film();
        if let Some(error) = &film.unwritable {
            return Err(error.clone());
        }
        let Some(call) = &film.call else {
            return Err(refused("no call ended while the tape ran, so there is nothing to write"));
        };
        let fixture = self.0.develop(&film, call)?;
        if film.taken.is_empty() && self.0.fixture.as_ref().is_some_and(|old| old.expect.is(&fixture.expect)) {
            return Ok(());
        }
        let text = fixture.to_text()?;
        if text.len() > TAPE_BYTES_MAX || fixture.exchanges.len() > EXCHANGES_MAX {
            return Err(too_long());
        }
        // What was kept is scrubbed. This looks again at every byte, the input and the output included, with all that
        // is known by now; and once more at every string as a reader will see it, for what was escaped twice.
        let mask = call.secrets.mask();
        let (_, found) = mask.bytes(text.clone().into_bytes());
        let value =
            serde_json::from_str(&text).map_err(|error| Error::internal(format!("a tape is no JSON: {error}")))?;
        if found || any_string(&value, &|string| matches!(mask.text(string), Cow::Owned(_))) {
            return Err(refused("a known secret would stand on the tape, so it is not written").with_details(
                "It is in the call's input or output, it became known only after it was seen, or the provider sent it \
                 back in a form that cannot be masked.",
            ));
        }
        if let Some(name) = call.secrets.short_one_in(&text) {
            return Err(refused(format!(
                "the secret `{name}` is too short to be masked and its value stands on the tape, so it is not written"
            )));
        }
        // What was written is what a replay will read.
        Fixture::parse(&text).map_err(|error| error.context("the tape as it would be written"))?;
        write(path, &text)
    }

    /// The clock that plugins see.
    pub(crate) fn guest_clock(&self, clock: &Arc<dyn Clock>) -> Arc<dyn Clock> {
        Arc::new(ManualClock::new(*self.0.began.get_or_init(|| clock.now()), SEED))
    }

    /// The clock of a host that only replays: at the tape's time, with every wait over at once.
    pub(crate) fn host_clock(&self) -> Option<ManualClock> {
        let now = self.0.began.get().copied().unwrap_or(NOW);
        self.is_strict().then(|| ManualClock::skipping(now, SEED))
    }

    /// Refuses a call that could not be added to what is on the tape, before anything of it is sent.
    pub(crate) fn begins(&self, outbound: &Outbound, operation: &str, input: &str) -> Result<()> {
        let Some(old) = self.0.fixture.as_ref().filter(|_| self.0.records) else { return Ok(()) };
        let other = match json::same_json(&old.input, &written(&Places::of(&outbound.scope), input)?) {
            _ if old.operation != operation => "",
            true => return Ok(()),
            false => " with another input",
        };
        let message = format!("the tape is of {}{other}; a tape holds one call", old.operation);
        Err(refused(message).with_details("To record this one on a tape of its own:   wharfage call … --record FILE"))
    }

    /// A page of a call has ended.
    pub(crate) fn ended(&self, outbound: &Outbound, ended: &Ended<'_>) {
        if self.0.records {
            let mut film = self.0.film();
            if let Err(error) = film.note(outbound, ended) {
                film.unwritable = Some(error);
            }
        }
    }
}

impl Reel {
    fn film(&self) -> MutexGuard<'_, Film> {
        self.film.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn exchanges(&self) -> &[Exchange] {
        self.fixture.as_ref().map(|fixture| fixture.exchanges.as_slice()).unwrap_or_default()
    }

    fn shown_path(&self) -> String {
        self.path.as_deref().map_or_else(|| "in memory".to_owned(), |path| path.display().to_string())
    }

    /// The first exchange that fits and was not played yet.
    fn play(&self, wanted: &Wanted<'_>, places: &Places) -> Option<&Answered> {
        let base_of = |name: &str| places.base_of(name);
        let mut film = self.film();
        film.used.resize(self.exchanges().len(), false);
        let fitting = |(at, exchange): &(usize, &Exchange)| !film.used[*at] && exchange.request.is(wanted, &base_of);
        let (at, exchange) = self.exchanges().iter().enumerate().find(fitting)?;
        film.used[at] = true;
        Some(&exchange.response)
    }

    /// What is said of a request that is not on the tape.
    fn missing(&self, outbound: &Outbound, wanted: &Wanted<'_>, places: &Places) -> Error {
        let base_of = |name: &str| places.base_of(name);
        let film = self.film();
        let nearest = self.exchanges().iter().enumerate().rev();
        let nearest = nearest.max_by_key(|(_, exchange)| exchange.request.likeness(wanted, &base_of));
        let nearest = match nearest {
            None => "There is nothing on it.".to_owned(),
            Some((at, exchange)) => {
                let is_played = film.used.get(at).copied().unwrap_or(false);
                let bare = Asked {
                    method: exchange.request.method.clone(),
                    url: exchange.request.url.clone(),
                    ..Asked::default()
                };
                let why = match (is_played, bare.is(&Wanted { body: b"", ..*wanted }, &base_of)) {
                    (true, true) => ", which was played already",
                    (false, true) => ", with another body or other header fields",
                    _ => "",
                };
                format!("The nearest there is {}{why}", exchange.request)
            }
        };
        let mask = outbound.mask();
        let shown = |url: &str| places.shortened(&mask.text(url));
        let (plugin, method) = (&outbound.scope.plugin, wanted.method);
        Error::denied(
            rule::TAPE,
            format!(
                "{plugin} wanted {method} {}, which is not on the tape {}.",
                shown(&without_query(wanted.url)),
                self.shown_path()
            ),
            format!(
                "It asked for {method} {}\n{nearest}\nTo add what is new:   wharfage call … --record-new {}",
                shown(wanted.url),
                self.path.as_deref().unwrap_or(Path::new("FILE")).display()
            ),
        )
    }

    /// The file's content.
    fn develop(&self, film: &Film, call: &Called) -> Result<Fixture> {
        let raw = |text: &str| written(&call.places, text);
        let expect = match &call.error {
            Some(expect) => expect.clone(),
            None if call.is_list => {
                let items: Vec<&str> = call.outputs.iter().map(|item| item.get()).collect();
                let output = match items.as_slice() {
                    [] => raw("[]")?,
                    items => raw(&format!("[\n      {}\n    ]", items.join(",\n      ")))?,
                };
                Expect { output: Some(output), pages: Some(call.pages), goes_on: call.goes_on, ..Expect::default() }
            }
            None => {
                let output = call.outputs.first().map(|output| raw(output.get())).transpose()?;
                Expect { output, ..Expect::default() }
            }
        };
        let began = self.began.get().copied().unwrap_or(call.ended);
        let input = raw(&call.input)?;
        let taken = film.taken.values().cloned();
        let old = self.fixture.as_ref();
        let secrets: BTreeSet<String> = call.secrets.known_names().into_iter().collect();
        let asked = || self.exchanges().iter().chain(film.taken.values());
        let origins: BTreeSet<String> =
            asked().filter_map(|exchange| origin_of(&exchange.request, &call.places)).collect();
        let source = origins.into_iter().collect::<Vec<_>>().join(", ");
        Ok(Fixture {
            operation: call.operation.clone(),
            input,
            from: Provenance::Recorded,
            source: if source.is_empty() { "no request left the host".to_owned() } else { source },
            date: call.ended.to_string().chars().take(10).collect(),
            now: Some(old.and_then(|old| old.now.clone()).unwrap_or_else(|| began.to_string())),
            secrets: Some(match old.and_then(|old| old.secrets.as_ref()) {
                Some(old) => {
                    secrets.into_iter().chain(old.iter().cloned()).collect::<BTreeSet<_>>().into_iter().collect()
                }
                None => secrets.into_iter().collect(),
            }),
            files: old.map(|old| old.files.clone()).unwrap_or_default(),
            exchanges: self.exchanges().iter().cloned().chain(taken).collect(),
            expect,
        })
    }
}

/// Scheme, host and port of where a request went.
fn origin_of(asked: &Asked, places: &Places) -> Option<String> {
    let url = placed(&asked.url, &|name| places.base_of(name));
    Url::parse(&url).ok().map(|url| url.origin().ascii_serialization())
}

impl Film {
    fn note(&mut self, outbound: &Outbound, ended: &Ended<'_>) -> Result<()> {
        let now = outbound.clock.now();
        let call = match (&mut self.call, ended.is_continued) {
            (Some(call), true) if call.operation == ended.operation && call.input == ended.input => call,
            (Some(_), _) => return Err(refused("more than one call was made; a tape holds one, with all its pages")),
            (None, true) => return Err(refused("the call went on from a cursor; a tape begins with the first page")),
            (none, false) => none.insert(Called {
                operation: ended.operation.to_owned(),
                input: ended.input.to_owned(),
                outputs: Vec::new(),
                is_list: ended.is_list,
                pages: 0,
                goes_on: false,
                error: None,
                ended: now,
                secrets: outbound.secrets.clone(),
                places: Places::of(&outbound.scope),
            }),
        };
        call.ended = now;
        match ended.result {
            Ok((output, goes_on)) => {
                call.pages += 1;
                call.goes_on = goes_on;
                match ended.is_list {
                    true => call.outputs.extend(
                        serde_json::from_str::<Vec<Box<RawValue>>>(output.get())
                            .map_err(|error| Error::internal(format!("a page is no array: {error}")))?,
                    ),
                    false => call.outputs = vec![output.to_owned()],
                }
                self.taken_bytes = self.taken_bytes.saturating_add(output.get().len());
                if self.taken_bytes > TAPE_BYTES_MAX {
                    return Err(too_long());
                }
            }
            Err(error) => {
                // What the host ended by itself would end otherwise in a replay, where none of it is reached.
                let is_unanswered = match error.kind() {
                    Kind::Network(_) | Kind::Deadline | Kind::Cancelled => true,
                    Kind::CredentialUnavailable | Kind::CircuitOpen => true,
                    Kind::Timeout | Kind::OutcomeUnknown | Kind::RateLimited | Kind::QuotaExhausted => {
                        error.status().is_none()
                    }
                    _ => false,
                };
                if is_unanswered {
                    return Err(refused(format!(
                        "the call ended without an answer of the provider ({}), so there is nothing to replay",
                        error.kind().name()
                    )));
                }
                call.error = Some(Expect::failed(error));
            }
        }
        Ok(())
    }

    /// Keeps an exchange, while there is room.
    fn keep(&mut self, at: usize, exchange: Exchange, bytes: usize) {
        self.taken_bytes = self.taken_bytes.saturating_add(bytes);
        if self.taken_bytes > TAPE_BYTES_MAX || self.taken.len() >= EXCHANGES_MAX {
            self.taken.clear();
            self.unwritable = Some(too_long());
        } else {
            self.taken.insert(at, exchange);
        }
    }
}

/// A request, as far as a tape is concerned.
pub(super) struct Wish {
    method: Method,
    url: Url,
    /// As it may be shown and kept.
    shown: Url,
    origin: usize,
    headers: Vec<(String, String)>,
    body: Option<Bytes>,
    is_confidential: bool,
}

/// What a tape says to a request.
pub(super) enum Looked {
    /// It has the answer.
    Played(Box<transport::Answered>),
    /// It goes out.
    Live(Option<Slot>),
}

/// A place on the tape for the answer to come.
pub(super) struct Slot {
    reel: Arc<Reel>,
    at: usize,
    wish: Box<Wish>,
}

/// The request, where there is a tape.
pub(super) fn wish(outbound: &Outbound, scoped: &Scoped) -> Option<Box<Wish>> {
    outbound.tape.as_ref()?;
    let request = scoped.request();
    Some(Box::new(Wish {
        method: request.method,
        url: scoped.url().clone(),
        shown: scoped.shown_url().clone(),
        origin: scoped.origin(),
        headers: request.headers.clone(),
        body: request.body.clone(),
        is_confidential: request.is_confidential,
    }))
}

/// Plays the request's answer, or lets it go out, or refuses where nothing may.
pub(super) fn look(outbound: &Outbound, wish: Option<Box<Wish>>) -> Result<Looked> {
    let (Some(Tape(reel)), Some(wish)) = (&outbound.tape, wish) else { return Ok(Looked::Live(None)) };
    let places = Places::of(&outbound.scope);
    let url = scrub::unsigned(wish.url.as_str());
    let wanted = Wanted {
        method: wish.method.as_str(),
        url: &url,
        headers: &wish.headers,
        body: wish.body.as_deref().unwrap_or_default(),
    };
    if wish.is_confidential {
        return match reel.records {
            true => Ok(Looked::Live(None)),
            false => Err(refused(format!(
                "{} is confidential: it is on no tape, and a replay sends nothing",
                without_query(&url)
            ))),
        };
    }
    if reel.plays {
        if let Some(answered) = reel.play(&wanted, &places) {
            return Ok(Looked::Played(played(outbound, &wish, answered, &places).into()));
        }
        if !reel.records {
            let shown = scrub::unsigned(wish.shown.as_str());
            return Err(reel.missing(outbound, &Wanted { url: &shown, ..wanted }, &places));
        }
    }
    let at = {
        let mut film = reel.film();
        film.begun += 1;
        film.begun
    };
    Ok(Looked::Live(Some(Slot { reel: reel.clone(), at, wish })))
}

/// An answer of the tape as if it had come now.
fn played(outbound: &Outbound, wish: &Wish, answered: &Answered, places: &Places) -> transport::Answered {
    let base_of = |name: &str| places.base_of(name);
    let mut headers = HeaderMap::new();
    for (name, value) in &answered.headers {
        let value = placed(value, &base_of);
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(&value)) {
            headers.append(name, value);
        }
    }
    let body = answered.body(&base_of);
    let most = outbound.limits.response_body_bytes;
    let result = if body.len() as u64 > most {
        Err(transport::too_large("response_body_bytes", most, answered.status))
    } else {
        Ok(Raw { status: answered.status, headers, body, received_at: outbound.clock.now() })
    };
    transport::Answered {
        method: wish.method,
        url: wish.shown.clone(),
        origin: wish.origin,
        result,
        rest: None,
        leave: None,
    }
}

impl Slot {
    /// Keeps the answer, if there was one.
    pub(super) fn keep(self, outbound: &Outbound, answered: &transport::Answered, kept: Option<&SecretUrl>) {
        let Ok(raw) = &answered.result else { return };
        let (mask, places) = (outbound.mask(), Places::of(&outbound.scope));
        let Self { reel, at, wish } = self;
        let body = wish.body.as_deref().unwrap_or_default();
        let bytes = wish.url.as_str().len() + body.len() + raw.body.len();
        let request = scrub::asked(wish.method.as_str(), wish.shown.as_str(), &wish.headers, body, &mask, &places);
        let mut response = scrub::answered(raw.status, &raw.headers, &raw.body, &mask, &places);
        // Where the manifest says that the id of a request is, a replay looks for it.
        if let Some(name) = outbound.request_id_header.as_deref().filter(|name| !header_is_secret(name))
            && let Some(id) = raw.headers.get(name).and_then(|id| id.to_str().ok())
        {
            response.headers.insert(name.to_ascii_lowercase(), mask.text(id).into_owned());
        }
        if let Some(kept) = kept {
            let shown = scrub::url_for(kept.shown.as_str(), &mask, &places);
            response.headers.insert(kept.header.as_str().to_owned(), shown);
        }
        reel.film().keep(at, Exchange { request, response }, bytes);
    }
}

/// Whether a string of this value, or a name in it, is such.
fn any_string(value: &Value, is_such: &dyn Fn(&str) -> bool) -> bool {
    match value {
        Value::String(text) => is_such(text),
        Value::Array(items) => items.iter().any(|item| any_string(item, is_such)),
        Value::Object(members) => members.iter().any(|(name, item)| is_such(name) || any_string(item, is_such)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

/// JSON as it stands on a tape.
fn written(places: &Places, text: &str) -> Result<Box<RawValue>> {
    RawValue::from_string(places.shortened(text)).map_err(|error| Error::internal(error.to_string()))
}

fn refused(message: impl Into<String>) -> Error {
    Error::new(Kind::PolicyDenied(rule::TAPE.to_owned()), message)
}

fn too_long() -> Error {
    Error::limit(
        "tape_bytes",
        format!("the tape would be longer than {TAPE_BYTES_MAX} bytes or {EXCHANGES_MAX} exchanges"),
    )
}

/// The folder and the name of a tape's file.
fn folder_of(path: &Path) -> Result<(Dir, PathBuf)> {
    let wrong = |why: String| Error::configuration(format!("the tape {} cannot be used: {why}", path.display()));
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = path.file_name().ok_or_else(|| wrong("that is no file's name".to_owned()))?;
    let dir = Dir::open_ambient_dir(folder, ambient_authority()).map_err(|error| wrong(error.to_string()))?;
    Ok((dir, name.into()))
}

/// The file's text, bounded; nothing where there is no file.
fn read(path: &Path) -> Result<Option<String>> {
    let wrong = |why: String| Error::configuration(format!("the tape {} cannot be read: {why}", path.display()));
    let (dir, name) = folder_of(path)?;
    let file = match dir.open(&name) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(wrong(error.to_string())),
    };
    let mut bytes = Vec::new();
    file.take(TAPE_BYTES_MAX as u64 + 1).read_to_end(&mut bytes).map_err(|error| wrong(error.to_string()))?;
    if bytes.len() > TAPE_BYTES_MAX {
        return Err(wrong(format!("it is longer than {TAPE_BYTES_MAX} bytes, the most that is read")));
    }
    String::from_utf8(bytes).map(Some).map_err(|_| wrong("it is no text".to_owned()))
}

/// Writes beside and renames, so that no half file is ever read.
fn write(path: &Path, text: &str) -> Result<()> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let (dir, name) = folder_of(path)?;
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let beside = format!(".{}.{}-{count}", name.display(), std::process::id());
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    {
        use cap_std::fs::OpenOptionsExt as _;
        options.mode(0o600);
    }
    let written = dir.open_with(&beside, &options).and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        dir.rename(&beside, &dir, &name)
    });
    written.map_err(|error| {
        let _ = dir.remove_file(&beside);
        Error::configuration(format!("the tape {} cannot be written: {error}", path.display()))
    })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;
    use crate::error::Result;
    use crate::outbound::path_pattern::PathPattern;
    use crate::outbound::scope::{OriginScope, Scope};
    use crate::outbound::sign::SignedRequest;
    use crate::outbound::transport::{ResponseHead, Transport, TransportError};
    use crate::outbound::{CallContext, CredentialChoice, Repeat, Request, Response};
    use crate::time::BoxFuture;

    /// Answers every request with a secret that it has just made, as a token endpoint does.
    struct Issues(AtomicUsize);

    impl Transport for Issues {
        fn send<'a>(&'a self, _: &'a SignedRequest) -> BoxFuture<'a, Result<ResponseHead, TransportError>> {
            let body = format!("{{\"access_token\":\"unknown-{}\"}}", self.0.fetch_add(1, Ordering::SeqCst));
            let body = Box::new(Some(Bytes::from(body)));
            Box::pin(std::future::ready(Ok(ResponseHead { status: 200, headers: HeaderMap::new(), body })))
        }
    }

    fn outbound(tape: &Tape, transport: &Arc<Issues>) -> Outbound {
        let secrets = Arc::new(Secrets::new("p", "acme", BTreeMap::new()));
        let clock: Arc<dyn Clock> = Arc::new(ManualClock::skipping(NOW, SEED));
        let nowhere = Outbound::nowhere(secrets, clock);
        let base = Url::parse("http://127.0.0.1:1").unwrap();
        let paths = vec![PathPattern::parse("/**").unwrap()];
        let origin = OriginScope::new("api", base, Method::ALL.to_vec(), paths);
        let scope = Scope {
            origins: vec![origin],
            url_bytes_max: 1_000,
            request_body_bytes_max: 1_000,
            header_count_max: 10,
            header_bytes_max: 1_000,
            ..nowhere.scope.clone()
        };
        let private_addresses = vec!["127.0.0.1/32".parse().unwrap()];
        Outbound { scope, private_addresses, transport: transport.clone(), tape: Some(tape.clone()), ..nowhere }
    }

    async fn send(outbound: &Outbound, path: &str, is_confidential: bool) -> Result<Response> {
        let context = CallContext { deadline: NOW.plus(60_000), observer: None, event: None, operation: None };
        let request = Request {
            method: Method::Post,
            body: Some(Bytes::from_static(b"grant_type=refresh_token")),
            credential: CredentialChoice::Anonymous,
            repeat: Repeat::Never,
            is_confidential,
            ..Request::get(&format!("{{api}}{path}"))
        };
        outbound.send(&context, request.into()).await
    }

    #[tokio::test]
    async fn r14_an_exchange_of_secrets_is_on_no_tape() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tape.json");
        let transport = Arc::new(Issues(AtomicUsize::new(0)));
        let tape = Tape::open(&path, TapeMode::Record).unwrap();
        let recording = outbound(&tape, &transport);
        for (path, is_confidential) in [("/token", true), ("/data", false)] {
            assert!(send(&recording, path, is_confidential).await.unwrap().body.starts_with(b"{\"access_token"));
        }
        let output = RawValue::from_string("1".to_owned()).unwrap();
        let ended =
            Ended { operation: "a.b", is_list: false, input: "{}", is_continued: false, result: Ok((&output, false)) };
        tape.ended(&recording, &ended);
        tape.finish().unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(!text.contains("unknown-0") && !text.contains("/token"), "{text}");
        assert!(text.contains("unknown-1") && text.contains("{api}/data"), "{text}");

        // A replay never sends one either.
        let replaying = outbound(&Tape::open(&path, TapeMode::Replay).unwrap(), &transport);
        assert_eq!(
            send(&replaying, "/token", true).await.err().unwrap().kind(),
            &Kind::PolicyDenied("tape".to_owned())
        );
        assert!(send(&replaying, "/data", false).await.unwrap().body.ends_with(b"unknown-1\"}"));
        assert_eq!(transport.0.load(Ordering::SeqCst), 2);
    }
}
