//! A plugin's operations, run natively against fixtures: milliseconds, no network, no component.
//!
//! A fixture is one file `fixtures/<operation>[-case].json`: an input, the exchanges it leads to, and what comes out. Here
//! it stands in for host and provider, which answer as the real host would: statuses become errors, `[[answers]]` of the
//! manifest are applied, 429 and 5xx are tried again while the fixture holds another answer, redirects within the origins
//! are followed, nothing sleeps. Of what the host refuses whatever was granted, this is refused here too: header fields that
//! are its own, `Range` beside a credential, URLs that not everybody reads alike, names that `plugin.toml` does not have.
//! `retry_at` is what a rule or `Retry-After` says in seconds, or after a minute; where an answer says it in another way, there
//! is none here. `wharfage call … --record FILE` writes such a file from a provider's real answers.
//!
//! ```ignore
//! wharfage_sdk::testing::replay_all!(wharfage_leaflink::OPERATIONS); // the whole of tests/fixtures.rs
//! ```
//!
//! # What stands in a fixture
//!
//! A JSON object; no other fields are taken. `{name}` stands for the base URL of the origin `name` wherever it is written:
//! in URLs, header fields and bodies, asked or answered, and in what is expected.
//!
//! | field | |
//! |---|---|
//! | `operation`, `input` | what is called, and with what |
//! | `from`, `source`, `date` | where the answers are from: `recorded`, `from-spec` or `from-docs`; a URL or a name; `YYYY-MM-DD` |
//! | `now` | the time of the call (RFC 3339); 2026-01-01T00:00:00Z where it is left out |
//! | `secrets` | the names of the secrets that are there |
//! | `files` | the files that are given to the call, by name: `{"text": …}` or `{"base64": …}` |
//! | `exchanges` | a list of `{"request": …, "response": …}`; each is used once, and all must be |
//! | `expect` | what comes of it |
//!
//! A `request` is `method` and `url`, the query in any order; `headers` are fields that must be there, others may be; the body
//! is one of `json`, `form` (a list of pairs), `text` and `base64`, or there is none. A `response` is `status`, `headers`,
//! and one of `json`, `text` and `base64`, or none. Credentials and keys of idempotency are the host's, and stand nowhere.
//!
//! `expect` is `output`, of a list all pages together, or `error`, of which the fields that stand there must be so: `kind`,
//! `message`, `status`, `fields` and the others of [`Error::to_json`]. With an `output` of a list, `pages` says how many pages
//! there are, and `goes_on` that there would be more after them. `files` holds what is taken from the call, as above: a plugin
//! can write only files that are named here.
//!
//! Every secret that signs has one value wherever a fixture is played, and here it signs with HMAC and SHA-256. A plugin that signs
//! otherwise, or makes tokens, tests that part through the host.

mod fixture;
#[doc(hidden)]
pub mod host;
mod manifest;
mod rules;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::Value;

use crate::events::{Event, Outcome};
use crate::operations::{self, Effect, Operation};
use crate::{Cursor, Error, Timestamp};

use fixture::{Content, Exchange, Expect, Fixture};
use manifest::Manifest;

/// How many pages a fixture may have.
const PAGES_MAX: usize = 1000;

/// A test named `fixtures` that runs [`replay_folder`] on the folder of the crate it stands in.
#[macro_export]
#[doc(hidden)]
macro_rules! __replay_all {
    ($operations:expr) => {
        #[test]
        fn fixtures() {
            $crate::testing::replay_folder(env!("CARGO_MANIFEST_DIR"), $operations);
        }
    };
}

pub use __replay_all as replay_all;

/// Runs one fixture, all pages of it, and compares.
///
/// # Panics
/// With a readable account when manifest or fixture cannot be read, the operation asks for what the fixture does not hold
/// or the manifest does not allow, the outcome differs, or an exchange is left over.
pub fn replay(manifest: &str, operations: &[Operation], fixture: &str) {
    if let Err(account) = try_replay(manifest, operations, fixture) {
        panic!("\n{account}\n");
    }
}

/// Runs every fixture of a plugin's folder, and checks that each operation has one and that `plugin.toml` and `OPERATIONS`
/// agree on names and effects.
///
/// # Panics
/// As [`replay`], with all accounts together.
pub fn replay_folder(plugin: impl AsRef<Path>, operations: &[Operation]) {
    let plugin = plugin.as_ref();
    let read = |path: &Path| {
        std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{} cannot be read: {error}", path.display()))
    };
    let manifest = read(&plugin.join("plugin.toml"));
    let folder = plugin.join("fixtures");
    let entries = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<_> = entries.filter_map(Result::ok).map(|entry| entry.path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    paths.sort();

    let mut accounts = Vec::new();
    let mut names = BTreeSet::new();
    if let Err(account) = Manifest::read(&manifest).and_then(|manifest| agree(&manifest, operations)) {
        accounts.push(format!("plugin.toml: {account}"));
    }
    for path in paths {
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let outcome = try_replay(&manifest, operations, &read(&path)).and_then(|operation| {
            let is_named_after_it = name == operation || name.starts_with(&format!("{operation}-"));
            names.insert(operation);
            if is_named_after_it { Ok(()) } else { Err("its name does not begin with its operation".to_owned()) }
        });
        if let Err(account) = outcome {
            accounts.push(format!("fixtures/{name}.json: {account}"));
        }
    }
    for operation in operations.iter().filter(|operation| !names.contains(operation.name)) {
        accounts.push(format!("{} has no fixture that could be run", operation.name));
    }
    assert!(accounts.is_empty(), "\n{}\n", accounts.join("\n\n"));
}

fn agree(manifest: &Manifest, operations: &[Operation]) -> Result<(), String> {
    let ours: BTreeSet<(&str, &str)> =
        operations.iter().map(|operation| (operation.name, effect_name(operation.effect))).collect();
    let theirs: BTreeSet<(&str, &str)> =
        manifest.operations.iter().map(|(name, facts)| (name.as_str(), facts.effect.as_str())).collect();
    match ours.symmetric_difference(&theirs).next() {
        Some((name, effect)) => Err(format!("it and OPERATIONS do not agree on {name} ({effect})")),
        None => Ok(()),
    }
}

fn effect_name(effect: Effect) -> &'static str {
    match effect {
        Effect::Read => "read",
        Effect::Idempotent => "idempotent",
        Effect::Write => "write",
    }
}

fn try_replay(manifest: &str, operations: &[Operation], fixture: &str) -> Result<String, String> {
    let manifest = Manifest::read(manifest)?;
    let fixture = Fixture::read(&manifest, fixture)?;
    let Fixture { operation, input, expect, .. } = fixture;
    let bytes = |files: &BTreeMap<String, Content>| {
        files.iter().map(|(name, content)| (name.clone(), content.bytes().unwrap_or_default())).collect()
    };
    let mut stage = host::Stage::new(manifest, fixture.exchanges, fixture.now, fixture.secrets);
    stage.files = bytes(&fixture.files);
    let taken = bytes(&expect.files);
    let ((outcome, pages), _, troubles) = host::on(stage, &taken, || run(operations, &operation, input.get(), &expect));
    let compared = compare(&expect, &outcome, pages);
    let troubles: Vec<String> = troubles.into_iter().chain(compared.err()).collect();
    if troubles.is_empty() { Ok(operation) } else { Err(troubles.join("\n")) }
}

/// The whole output (all pages of a list, or as many as a fixture has that goes on) and how many pages there were.
fn run(operations: &[Operation], name: &str, input: &str, expect: &Expect) -> (Result<Value, Error>, usize) {
    let most = expect.pages.filter(|_| expect.goes_on).unwrap_or(PAGES_MAX);
    let read = |text: &str| serde_json::from_str::<Value>(text).map_err(|error| Error::internal(error.to_string()));
    let mut items = Vec::new();
    let mut cursor: Option<Cursor> = None;
    for page in 1..=most {
        let operation = match operations::find(operations, name) {
            Ok(operation) => operation,
            Err(error) => return (Err(error), 0),
        };
        let answer = operation.run(input, cursor.take()).and_then(|answer| Ok((read(&answer.output)?, answer.next)));
        match answer {
            Ok((Value::Array(page_items), next)) if operation.is_list => {
                items.extend(page_items);
                cursor = next;
                if cursor.is_none() && expect.goes_on {
                    return (Err(Error::internal("the list should go on and ends")), page);
                }
                if cursor.is_none() || (expect.goes_on && page == most) {
                    return (Ok(Value::Array(items)), page);
                }
            }
            Ok((output, _)) => return (Ok(output), page),
            Err(error) => return (Err(error), page),
        }
    }
    (Err(Error::internal("the list does not end")), PAGES_MAX)
}

fn compare(expect: &Expect, outcome: &Result<Value, Error>, pages: usize) -> Result<(), String> {
    match (outcome, &expect.output, &expect.error) {
        (Ok(output), Some(expected), None) => {
            if output != expected {
                return Err(difference(expected, output));
            }
            match expect.pages {
                Some(expected) if expected != pages => Err(format!("expected {expected} pages, got {pages}")),
                _ => Ok(()),
            }
        }
        (Err(error), None, Some(expected)) => {
            let error = error.to_json();
            let differs = expected.iter().any(|(name, value)| error.get(name) != Some(value));
            if differs { Err(difference(&Value::Object(expected.clone()), &error)) } else { Ok(()) }
        }
        (Ok(output), None, Some(_)) => Err(format!("expected an error, got {output:#}")),
        (Err(error), _, _) => Err(format!("expected an output, got {:#}", error.to_json())),
        (Ok(_), _, _) => Err("`expect` needs either `output` or `error`".to_owned()),
    }
}

/// Both sides up to the first line that differs.
fn difference(expected: &Value, got: &Value) -> String {
    let (expected, got) = (format!("{expected:#}"), format!("{got:#}"));
    let (expected, got): (Vec<&str>, Vec<&str>) = (expected.lines().collect(), got.lines().collect());
    let same = expected.iter().zip(&got).take_while(|(a, b)| a == b).count();
    let show = |sign: char, lines: &[&str]| -> String {
        lines.iter().skip(same).take(12).map(|line| format!("{sign} {line}\n")).collect()
    };
    let before: String = expected[same.saturating_sub(4)..same].iter().map(|line| format!("  {line}\n")).collect();
    format!("the outcome differs in line {}:\n{before}{}{}", same + 1, show('-', &expected), show('+', &got))
}

/// What a handler finds: state that lasts from one event to the next, secrets that are there, and the time.
///
/// ```ignore
/// let mut scene = Scene::of(include_str!("../plugin.toml"));
/// scene.secrets.push("channel_key".to_owned());
/// scene.handle(events::handle, first, "[]")?;
/// let outcome = scene.handle(events::handle, second, EXCHANGES)?; // it finds the state that the first left
/// ```
pub struct Scene {
    manifest: Manifest,
    /// What the plugin keeps in [`state`](crate::state).
    pub state: BTreeMap<String, Vec<u8>>,
    /// The names of the secrets that are there.
    pub secrets: Vec<String>,
    /// The time; 2026-01-01T00:00:00Z where nobody says.
    pub now: Option<Timestamp>,
}

impl std::fmt::Debug for Scene {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scene").field("secrets", &self.secrets).field("now", &self.now).finish_non_exhaustive()
    }
}

impl Scene {
    /// A scene for the plugin with this `plugin.toml`, where nothing was kept yet.
    ///
    /// # Panics
    /// When the manifest cannot be read.
    pub fn of(manifest: &str) -> Self {
        let manifest = Manifest::read(manifest).unwrap_or_else(|why| panic!("{why}"));
        Self { manifest, state: BTreeMap::new(), secrets: Vec::new(), now: None }
    }

    /// Hands an event to a plugin's handler while these exchanges answer: JSON, a list as in a fixture.
    ///
    /// # Errors
    /// What the handler says.
    ///
    /// # Panics
    /// When the exchanges cannot be read, are not all used, or something else was asked for; when the trigger or the type
    /// of an emission is not declared, or its key is empty or too long; when there is more of the outcome, or of the state, than
    /// the host keeps by default.
    pub fn handle(
        &mut self,
        handler: fn(Event) -> Result<Outcome, Error>,
        event: Event,
        exchanges: &str,
    ) -> Result<Outcome, Error> {
        let trigger = event.trigger.clone();
        let exchanges = read_exchanges(&self.manifest, exchanges);
        let mut stage = host::Stage::new(self.manifest.clone(), exchanges, self.now, self.secrets.clone());
        stage.state = std::mem::take(&mut self.state);
        let (outcome, state, troubles) = host::on(stage, &BTreeMap::new(), || handler(event));
        self.state = state;
        let emit = outcome.as_ref().map(|outcome| outcome.emit.as_slice()).unwrap_or_default();
        let undeclared = self.manifest.declares(&trigger, emit).err();
        let outgrown = outcome.as_ref().map_or(Ok(()), check_limits).err();
        let troubles: Vec<String> = troubles.into_iter().chain(undeclared).chain(outgrown).collect();
        assert!(troubles.is_empty(), "\n{}\n", troubles.join("\n"));
        outcome
    }
}

/// Refuses an outcome that the host would refuse: of that it keeps nothing, and a poll would come to the same again.
fn check_limits(outcome: &Outcome) -> Result<(), String> {
    let name = outcome.emit.iter().map(|emission| emission.event_type.len().max(emission.key.len())).max();
    if let Some(bytes) = name.filter(|bytes| *bytes > rules::EVENT_NAME_BYTES_MAX) {
        return Err(format!(
            "the host would keep nothing of this outcome: {bytes} bytes of an event's type or key are more than the limit \
             event_name_bytes, which is {} and cannot be raised",
            rules::EVENT_NAME_BYTES_MAX
        ));
    }
    let sizes = [
        ("emitted_events", outcome.emit.len()),
        ("emitted_bytes", outcome.emit.iter().map(|emission| emission.data.to_string().len()).sum::<usize>()),
        ("messages", outcome.send.len()),
        ("message_bytes", outcome.send.iter().map(Vec::len).sum::<usize>()),
        ("cursor_bytes", outcome.cursor.as_ref().map_or(0, String::len)),
    ];
    sizes
        .into_iter()
        .try_for_each(|(limit, value)| rules::check_limit(limit, value))
        .map_err(|why| format!("the host would keep nothing of this outcome: {why}"))
}

/// What the last run on this thread logged, line by line: level, message and fields, as
/// `info a webhook is about something that is not known here type=menu`.
pub fn logged() -> Vec<String> {
    host::logged()
}

/// Hands one event to a plugin's handler in a [`Scene`] of its own.
///
/// ```ignore
/// let poll = Poll { name: "orders".into(), input: "{}".into(), start: Start::FromNow };
/// let event = Event { id: "1".into(), trigger: Trigger::Poll(poll), cursor: None };
/// let outcome = testing::handle(include_str!("../plugin.toml"), events::handle, event, "[]")?;
/// ```
///
/// # Errors
/// As [`Scene::handle`].
///
/// # Panics
/// As [`Scene::of`] and [`Scene::handle`].
pub fn handle(
    manifest: &str,
    handler: fn(Event) -> Result<Outcome, Error>,
    event: Event,
    exchanges: &str,
) -> Result<Outcome, Error> {
    Scene::of(manifest).handle(handler, event, exchanges)
}

/// Runs `run` while these exchanges answer; for unit tests below the level of an operation. The one origin is `api`.
///
/// # Panics
/// When the exchanges cannot be read, are not all used, or something else was asked for.
pub fn with_exchanges<T>(exchanges: &str, run: impl FnOnce() -> T) -> T {
    let manifest = Manifest::of_one_origin();
    let exchanges = read_exchanges(&manifest, exchanges);
    let stage = host::Stage::new(manifest, exchanges, None, Default::default());
    let (outcome, _, troubles) = host::on(stage, &BTreeMap::new(), run);
    assert!(troubles.is_empty(), "\n{}\n", troubles.join("\n"));
    outcome
}

fn read_exchanges(manifest: &Manifest, text: &str) -> Vec<Exchange> {
    serde_json::from_str(&manifest.expand(text))
        .unwrap_or_else(|error| panic!("these exchanges cannot be read: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Page, Request};

    #[derive(serde::Deserialize, schemars::JsonSchema)]
    struct Input {}

    fn list(_: Input, cursor: Option<Cursor>) -> Result<Page<u32>, Error> {
        let at = crate::page::NextUrl::resume(cursor)?;
        let response = at.request(|| Request::get("{api}/numbers").query("b", 2).query("a", 1)).send()?;
        let body: Value = response.json()?;
        let next = at.advance(&response.url, body["next"].as_str())?;
        Page::new(vec![body["n"].as_u64().unwrap_or_default() as u32], next.as_ref())
    }

    crate::operations! {
        /// Numbers.
        list "numbers.list" => list;
    }

    const MANIFEST: &str = r#"
        [origins.api]
        url = "https://numbers.example/v1"
        methods = ["GET"]
        paths = ["/numbers"]
        [[answers]]
        origin = "api"
        status = [200]
        pointer = "/result"
        contains = "RATE LIMIT"
        and = [{ pointer = "/status", equals = "0" }]
        kind = "rate-limited"
        code = "/result"
        [operations."numbers.list"]
        effect = "read"
    "#;

    fn outcome(exchanges: &str, expect: &str) -> Result<String, String> {
        outcome_with("", exchanges, expect)
    }

    /// With more lines of the manifest.
    fn outcome_with(lines: &str, exchanges: &str, expect: &str) -> Result<String, String> {
        let fixture = format!(
            r#"{{"operation": "numbers.list", "input": {{}}, "from": "from-docs", "source": "none", "date": "2026-01-01",
                 "exchanges": [{exchanges}], "expect": {expect}}}"#
        );
        try_replay(&format!("{MANIFEST}\n{lines}"), OPERATIONS, &fixture)
    }

    /// What `run` makes with this manifest while these exchanges answer, and what is wrong with what it asked for.
    fn made<T>(manifest: &str, exchanges: &str, run: impl FnOnce() -> T) -> (T, Vec<String>) {
        let manifest = Manifest::read(manifest).unwrap();
        let exchanges = read_exchanges(&manifest, exchanges);
        let taken = BTreeMap::from([("taken".to_owned(), b"x".to_vec())]);
        let (made, _, troubles) = host::on(host::Stage::new(manifest, exchanges, None, Vec::new()), &taken, run);
        (made, troubles)
    }

    /// A manifest that has some of everything.
    const WHOLE: &str = r#"
        [origins.api]
        url = "https://numbers.example/v1"
        methods = ["GET"]
        paths = ["/**"]
        [origins.auth]
        url = "https://auth.example"
        methods = ["GET"]
        paths = ["/**"]
        host_only = true
        [credentials.key]
        scheme = "api-key"
        secret = "key"
        header = "X-Key"
        origins = ["api"]
        [budgets.per-minute]
        limit = 60
        window_s = 60
    "#;

    #[test]
    fn what_no_host_would_send_is_told() {
        use crate::http::{Credential, Repeat};
        let numbers = || Request::get("{api}/numbers");
        let troubles = |request: Request| made(WHOLE, "[]", || request.send().is_err()).1.join("\n");
        for (request, why) in [
            (numbers().header("Authorization", "x"), "which only the host sets"),
            (numbers().header("User_Agent", "x"), "which only the host sets"),
            (numbers().header("x-forwarded-for", "x"), "which only the host sets"),
            (numbers().header("x-key", "x"), "which the host fills"),
            (numbers().header("X-A", "1").header("x-a", "2"), "twice"),
            (numbers().header("X-A", "ä"), "whose value is not visible ASCII"),
            (numbers().header("X A", "1"), "which is not a header name"),
            (numbers().cost("per-mintue", 2), "no [budgets.per-mintue]"),
            (numbers().repeat(Repeat::Keyed), "needs [idempotency]"),
            (numbers().credential(Credential::Named("typo".into())), "no [credentials.typo]"),
            (numbers().header("range", "bytes=0-9"), "with a request that carries a credential"),
            (Request::get("{auth}/token"), "only the host asks"),
            (Request::get("{api}/a/../numbers"), "a dot segment"),
            (Request::get("{api}/a%2Fb"), "an encoded slash"),
            (Request::get("{api}/numbers#1"), "a fragment"),
            (Request::get("{api}/numbers?a=b c"), "a space"),
        ] {
            let troubles = troubles(request);
            assert!(troubles.contains("does not allow GET") && troubles.contains(why), "{why}: {troubles}");
        }
        let well = numbers().header("Accept", "a/b").header("accept", "c/d").cost("per-minute", 2).query("at", "/../#");
        let part = numbers().header("Range", "bytes=0-9").credential(Credential::Anonymous);
        for well in [well.credential(Credential::Named("key".into())), part] {
            let troubles = troubles(well);
            assert!(troubles.contains("no exchange for GET") && !troubles.contains("allow"), "{troubles}");
        }
    }

    #[test]
    fn names_that_the_host_does_not_know_are_refused_as_it_does() {
        use crate::rate_limit::{self, Feedback};
        use crate::{files, state};
        made(WHOLE, "[]", || {
            rate_limit::acquire("per-minute", 1).unwrap();
            rate_limit::report(Feedback::default()).unwrap();
            let typo = Feedback { bucket: Some("typo".into()), ..Feedback::default() };
            for refused in [rate_limit::acquire("typo", 1), rate_limit::report(typo), state::set("", b"x")] {
                assert_eq!(refused.unwrap_err().kind.name(), "invalid-request");
            }
            state::set(&"k".repeat(256), b"x").unwrap();
            assert_eq!(state::get(&"k".repeat(257)).unwrap_err().kind.name(), "limit-exceeded");
            files::write("taken", b"x").unwrap();
            assert_eq!(files::write("other", b"x").unwrap_err().kind.name(), "invalid-request");
        });
        with_exchanges("[]", || rate_limit::acquire("of a plugin that is not here", 1)).unwrap();
    }

    #[test]
    fn header_fields_come_as_from_the_host() {
        let exchanges = r#"[{"request": {"method": "GET", "url": "{api}/numbers"},
            "response": {"status": 200, "headers": {"Link": "</2>", "Set-Cookie": "a=b", "X-Refresh-Token": "c"}}}]"#;
        let response = with_exchanges(exchanges, || Request::get("{api}/numbers").send()).unwrap();
        assert_eq!(response.headers, [("link".to_owned(), "</2>".to_owned())]);
    }

    #[test]
    fn a_key_that_the_host_masked_in_the_url_of_the_next_page_is_its_own() {
        let exchanges = format!(
            r#"{{{FIRST}, "response": {{"status": 200, "json": {{"n": 1, "next": "{{api}}/numbers?k=[masked]&p=2"}}}}}},
               {{"request": {{"method": "GET", "url": "{{api}}/numbers?p=2"}}, "response": {{"status": 200, "json": {{"n": 2}}}}}}"#
        );
        outcome_with("[credentials.key]\nquery = 'k'", &exchanges, r#"{"output": [1, 2]}"#).unwrap();
        assert!(outcome(&exchanges, r#"{"output": [1, 2]}"#).unwrap_err().contains("no exchange"));
    }

    #[test]
    fn a_spent_quota_is_not_tried_again() {
        let exchange = r#"{"request": {"method": "GET", "url": "{api}/numbers"}, "response": "#;
        let exchanges = format!(r#"[{exchange}{{"status": 429}}}}, {exchange}{{"status": 200}}}}]"#);
        let rule = "[[answers]]\nstatus = [429]\nkind = 'quota-exhausted'\n";
        let ((first, second), _) = made(&format!("{WHOLE}\n{rule}"), &exchanges, || {
            let ask = || Request::get("{api}/numbers").send();
            (ask(), ask())
        });
        let first = first.unwrap_err();
        assert_eq!((first.kind.name(), first.attempts, &first.body), ("quota-exhausted", 1, &None));
        assert_eq!(first.retry_at, Timestamp::parse("2026-01-01T00:01:00Z"));
        assert_eq!(second.unwrap().attempts, 1);
    }

    #[test]
    fn a_rule_about_a_body_says_nothing_of_one_that_is_opened() {
        let exchange = |status: u16| {
            format!(
                r#"[{{"request": {{"method": "GET", "url": "{{api}}/numbers"}},
                     "response": {{"status": {status}, "json": {{"status": "0", "result": "rate limit"}}}}}}]"#
            )
        };
        let manifest = format!("{MANIFEST}\n[[answers]]\nstatus = [202]\nkind = 'conflict'\n");
        let open = |status| made(&manifest, &exchange(status), || Request::get("{api}/numbers").open()).0;
        assert!(open(200).unwrap().read(100).unwrap().starts_with(b"{\"status\""));
        let error = open(202).err().unwrap();
        assert_eq!((error.kind.name(), &error.body), ("conflict", &None));
    }

    const FIRST: &str = r#""request": {"method": "GET", "url": "{api}/numbers?a=1&b=2"}"#;

    #[test]
    fn pages_are_followed_and_a_429_is_tried_again() {
        let exchanges = format!(
            r#"{{{FIRST}, "response": {{"status": 429}}}},
               {{{FIRST}, "response": {{"status": 200, "json": {{"n": 1, "next": "{{api}}/numbers?p=2"}}}}}},
               {{"request": {{"method": "GET", "url": "{{api}}/numbers?p=2"}}, "response": {{"status": 200, "json": {{"n": 2}}}}}}"#
        );
        outcome(&exchanges, r#"{"output": [1, 2], "pages": 2}"#).unwrap();
        assert!(outcome(&exchanges, r#"{"output": [1, 3]}"#).unwrap_err().contains("-   3\n"));
        assert!(outcome(&exchanges, r#"{"output": [1, 2], "pages": 1}"#).unwrap_err().contains("2"));
    }

    /// Emits each number that is new, two at most.
    fn numbers(event: Event) -> Result<Outcome, Error> {
        let last = event.kept::<u64>()?.unwrap_or_default();
        let numbers: Vec<u64> = Request::get("{api}/numbers").query("after", last).send()?.json()?;
        let emit = numbers.iter().map(|number| crate::events::Emission {
            event_type: if *number < 10 { "number" } else { "big" }.to_owned(),
            key: number.to_string(),
            data: Value::from(*number),
        });
        Outcome { emit: emit.collect(), ..Outcome::default() }.keep(&numbers.last())
    }

    fn polled(name: &str, answer: &str) -> Outcome {
        use crate::events::{Poll, Start, Trigger};
        let manifest = format!("{MANIFEST}\n[polls.numbers]\n[events.number]\ndescription = 'A number.'\n");
        let poll = Poll { name: name.into(), input: "{}".into(), start: Start::All };
        let event = Event { id: "1".into(), trigger: Trigger::Poll(poll), cursor: Some("3".into()) };
        let exchanges = format!(
            r#"[{{"request": {{"method": "GET", "url": "{{api}}/numbers?after=3"}},
                  "response": {{"status": 200, "json": {answer}}}}}]"#
        );
        handle(&manifest, numbers, event, &exchanges).unwrap()
    }

    #[test]
    fn a_handler_runs_against_exchanges() {
        let outcome = polled("numbers", "[4, 5]");
        assert_eq!((outcome.emit.len(), outcome.cursor.as_deref()), (2, Some("5")));
    }

    /// Counts how often it ran, in its state, and tells what it finds.
    fn counted(event: Event) -> Result<Outcome, Error> {
        let count = crate::state::json::<u32>("count")?.unwrap_or_default() + 1;
        crate::state::set_json("count", &count)?;
        let has_key = crate::secrets::is_available("key");
        let key = if event.id == "nameless" { String::new() } else { event.id };
        let data = serde_json::json!([count, has_key, crate::clock::now()]);
        let emission = crate::events::Emission { event_type: "number".to_owned(), key, data };
        Ok(Outcome { emit: vec![emission], ..Outcome::default() })
    }

    fn delivered(scene: &mut Scene, id: &str) -> Value {
        use crate::events::{Header, Trigger, Webhook};
        let headers = vec![Header { name: "x-id".to_owned(), value: id.to_owned() }];
        let webhook = Webhook { endpoint: "numbers".to_owned(), headers, body: Vec::new() };
        let event = Event { id: id.to_owned(), trigger: Trigger::Webhook(webhook), cursor: None };
        scene.handle(counted, event, "[]").unwrap().emit.remove(0).data
    }

    fn scene() -> Scene {
        Scene::of(&format!("{MANIFEST}\n[webhooks.numbers]\n[events.number]\ndescription = 'A number.'\n"))
    }

    /// Makes what its id says of the limit of that name: so much, or so much and one more.
    fn large(event: Event) -> Result<Outcome, Error> {
        let (limit, most) = event.id.split_once(' ').unwrap_or_default();
        let most: usize = most.parse().unwrap_or_default();
        let emission = |data: Value| crate::events::Emission { event_type: "number".into(), key: "k".into(), data };
        let mut outcome = Outcome::default();
        match limit {
            "emitted_events" => outcome.emit = vec![emission(Value::Null); most],
            // Two of them are the quotes.
            "emitted_bytes" => outcome.emit = vec![emission("x".repeat(most - 2).into())],
            "messages" => outcome.send = vec![Vec::new(); most],
            "message_bytes" => outcome.send = vec![vec![0; most]],
            "cursor_bytes" => outcome.cursor = Some("x".repeat(most)),
            "event_name_bytes" => {
                let key = "k".repeat(most);
                outcome.emit = vec![crate::events::Emission { key, ..emission(Value::Null) }];
            }
            "state_bytes" => crate::state::set("k", &vec![0; most])?,
            _ => (1..=most).try_for_each(|key| crate::state::set(&key.to_string(), b""))?,
        }
        crate::log::info("made", &[("limit", &limit)]);
        Ok(outcome)
    }

    #[test]
    fn what_the_host_keeps_by_default_is_kept_and_no_more() {
        use crate::events::Trigger;
        let manifest = format!("{MANIFEST}\n[sockets.numbers]\n[events.number]\ndescription = 'A number.'\n");
        let run = |limit: &str, most: usize| {
            let event = Event { id: format!("{limit} {most}"), trigger: Trigger::Gap("numbers".into()), cursor: None };
            std::panic::catch_unwind(|| handle(&manifest, large, event, "[]"))
        };
        for (limit, most) in [
            ("emitted_events", 1_000),
            ("emitted_bytes", 4 << 20),
            ("messages", 100),
            ("message_bytes", 1 << 20),
            ("cursor_bytes", 16 << 10),
            ("event_name_bytes", 1_024),
            ("state_bytes", 1 << 20),
            ("state_keys", 1_000),
        ] {
            run(limit, most).unwrap().unwrap();
            assert_eq!(logged(), [format!("info made limit={limit}")]);
            let told = run(limit, most + 1).unwrap_err();
            let told = told.downcast_ref::<String>().unwrap();
            assert!(told.contains(&format!("more than the limit {limit},")), "{told}");
        }
    }

    #[test]
    fn a_scene_lasts_from_one_event_to_the_next() {
        let mut scene = scene();
        assert_eq!(delivered(&mut scene, "1"), serde_json::json!([1, false, "2026-01-01T00:00:00Z"]));
        scene.secrets.push("key".to_owned());
        scene.now = Some(Timestamp::from_unix_s(0));
        assert_eq!(delivered(&mut scene, "2"), serde_json::json!([2, true, "1970-01-01T00:00:00Z"]));
        assert_eq!(scene.state["count"], b"2");
    }

    #[test]
    #[should_panic(expected = "with an empty key")]
    fn an_emission_that_nothing_identifies_is_told() {
        delivered(&mut scene(), "nameless");
    }

    #[test]
    #[should_panic(expected = "plugin.toml has no [polls.letters]")]
    fn a_trigger_that_is_not_declared_is_told() {
        polled("letters", "[]");
    }

    #[test]
    #[should_panic(expected = "plugin.toml has no [events.\"big\"]")]
    fn an_emission_that_is_not_declared_is_told() {
        polled("numbers", "[11]");
    }

    #[test]
    fn what_is_missing_left_over_or_not_allowed_is_told() {
        assert!(outcome("", r#"{"error": {"kind": "internal"}}"#).unwrap_err().contains("no exchange for GET"));
        let one = format!(r#"{{{FIRST}, "response": {{"status": 200, "json": {{"n": 1}}}}}}"#);
        assert!(outcome(&format!("{one}, {one}"), r#"{"output": [1]}"#).unwrap_err().contains("never asked for"));
        let astray =
            format!(r#"{{{FIRST}, "response": {{"status": 200, "json": {{"n": 1, "next": "{{api}}/letters"}}}}}}"#);
        assert!(outcome(&astray, r#"{"output": [1]}"#).unwrap_err().contains("does not allow"));
    }

    #[test]
    fn statuses_and_answers_become_errors() {
        let answer = |response: &str, expect: &str| {
            outcome(&format!(r#"{{{FIRST}, "response": {response}}}"#), expect).unwrap();
        };
        answer(
            r#"{"status": 404, "headers": {"x-request-id": "r1"}, "text": "gone"}"#,
            r#"{"error": {"kind": "not-found", "status": 404, "body": "gone", "endpoint": "GET /numbers", "request_id": "r1"}}"#,
        );
        answer(r#"{"status": 400, "text": "Temporarily away"}"#, r#"{"error": {"kind": "transient"}}"#);
        for status in [501, 505] {
            answer(&format!(r#"{{"status": {status}}}"#), r#"{"error": {"kind": "provider-reported"}}"#);
        }
        answer(
            r#"{"status": 200, "json": {"status": "0", "result": "Max rate limit reached"}}"#,
            r#"{"error": {"kind": "rate-limited", "provider_code": "Max rate limit reached"}}"#,
        );
        answer(
            r#"{"status": 429, "headers": {"Retry-After": "2"}}"#,
            r#"{"error": {"kind": "rate-limited", "retry_at": "2026-01-01T00:00:02Z"}}"#,
        );
        // Nothing is said of when, and there is no body.
        answer(
            r#"{"status": 429}"#,
            r#"{"error": {"kind": "rate-limited", "retry_at": "2026-01-01T00:01:00Z", "body": null}}"#,
        );
        answer(r#"{"status": 503}"#, r#"{"error": {"kind": "transient", "retry_at": null}}"#);
        // It is said in a way that only the host reads.
        for header in [r#""Retry-After": "Thu, 01 Jan 2026 00:02:00 GMT""#, r#""X-RateLimit-Reset": "120""#] {
            let response = format!(r#"{{"status": 429, "headers": {{{header}}}}}"#);
            answer(&response, r#"{"error": {"kind": "rate-limited", "retry_at": null}}"#);
        }
        let until = "[[answers]]\nstatus = [403]\nkind = 'rate-limited'\nretry_at = '/until'\nretry_after_s = 7\n";
        for (body, retry_at) in [(r#"{"until": "in 120 s"}"#, "null"), ("{}", r#""2026-01-01T00:00:07Z""#)] {
            let exchange = format!(r#"{{{FIRST}, "response": {{"status": 403, "json": {body}}}}}"#);
            outcome_with(until, &exchange, &format!(r#"{{"error": {{"retry_at": {retry_at}}}}}"#)).unwrap();
        }
        let later = "[[answers]]\nstatus = [503]\nkind = 'transient'\nretry_after_s = 7\n";
        let exchange = format!(r#"{{{FIRST}, "response": {{"status": 503, "headers": {{"Retry-After": "2"}}}}}}"#);
        outcome_with(later, &exchange, r#"{"error": {"retry_at": "2026-01-01T00:00:07Z"}}"#).unwrap();
    }
}
