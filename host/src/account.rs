//! An account: credentials at a provider and the budgets they draw on.
//!
//! Several plugins may share one (one consent, one set of quotas), and many accounts of one provider stand side by
//! side. It says where each secret comes from; it never holds one.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Error as _, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use zeroize::Zeroizing;

use crate::error::Result;
use crate::manifest::BudgetFacts;
use crate::time::BoxFuture;

/// `[accounts.<name>]` of a `wharfage.toml`.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Account {
    /// Where each secret comes from, by the name the manifest gives it. What is not named here comes from the chain:
    /// `{SERVICE}_{SECRET}` in the environment, then `~/.config/<service>/<secret>`, then the sealed store.
    #[serde(default)]
    pub secrets: BTreeMap<String, SecretSource>,
    /// Budgets that differ from the manifest's, by its names.
    #[serde(default)]
    pub budgets: BTreeMap<String, BudgetOverride>,
    /// The person whose quotas it draws on, where several accounts are the same one's.
    pub user: Option<String>,
    /// The project whose quotas it draws on, where several accounts belong to one.
    pub project: Option<String>,
    /// The address that a sign-in leads back to, as it is registered at the provider: on loopback the host listens there,
    /// and any other is pasted back. Without it, a free port of 127.0.0.1 and the path `/callback`.
    pub redirect: Option<String>,
    /// The scopes that a sign-in asks for, instead of those that the plugins' manifests name.
    #[serde(default)]
    pub scopes: Vec<String>,
    /// Access tokens that the embedding program holds, by the names of the credentials that they are for. No file can say
    /// this.
    #[serde(skip)]
    pub access: BTreeMap<String, ExternalToken>,
}

/// An access token that the embedding program got and renews itself, as from a token service of its own. The host asks no
/// token endpoint for it; open the connection again to give another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExternalToken {
    /// The access token.
    pub token: SecretValue,
    /// What the sign-in left behind besides, by the names of the manifest's `capture`.
    pub captured: BTreeMap<String, String>,
}

/// Where a secret comes from: one source, or several that are asked in turn.
///
/// A source that does not have the secret (no such variable, file or record) is passed over; one that has it and cannot
/// be used, as a file that others can read or a program that fails, ends the search with an error, so that no other value
/// is taken unnoticed.
///
/// ```toml
/// [accounts.acme.secrets]
/// api_key = { env = "ACME_KEY" }                        # the host's own environment
/// other_key = { env_file = "secrets.env", name = "ACME_KEY" }   # KEY=VALUE lines, beside this file
/// file_key = { file = "/run/secrets/acme" }             # its text, trimmed; 0600 and this user's own
/// kept_key = { sealed = true }                          # what `wharfage secret set` keeps, sealed
/// asked_key = { program = ["op", "read", "op://ops/acme/key"], env = ["HOME"] }   # what it prints
/// any_key = [{ env = "ACME_KEY" }, { sealed = true }]   # the first one that has it
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SecretSource {
    /// This environment variable, trimmed. What stands in the environment can be read in `/proc` by whoever is this user.
    Env(String),
    /// This name's value in a file of `KEY=VALUE` lines. It is read from the file each time and never becomes part of the
    /// environment, where every child would inherit it.
    EnvFile {
        /// The file. It must be its owner's alone (0600).
        path: PathBuf,
        /// The name before the equals sign.
        name: String,
    },
    /// This file's text, trimmed. It must be its owner's alone (0600), and its folder no symbolic link.
    File(PathBuf),
    /// The sealed store: what `wharfage secret set` put there.
    Sealed,
    /// What this program prints.
    Program(SecretProgram),
    /// What a store of the embedding program's own gives. No file can say this.
    Ask(SecretAsk),
    /// Several, asked in turn.
    Chain(Vec<SecretSource>),
    /// A value that the embedding program holds. No file can say this.
    Value(SecretValue),
}

/// A program that prints a secret. It runs without a shell, in an environment that holds what is named here and nothing
/// else, within a time and a length; nothing of what it prints is ever shown.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct SecretProgram {
    /// The program and its arguments.
    pub argv: Vec<String>,
    /// Variables of the host's environment that it gets.
    pub env: Vec<String>,
    /// Milliseconds it may take.
    pub timeout_ms: u64,
    /// The `wharfage.toml` that names it. Such a program runs only with leave:
    /// [`HostBuilder::run_programs`](crate::HostBuilder::run_programs).
    pub found_in: Option<PathBuf>,
}

/// A store of the embedding program's own, as of a cloud's secrets: it is asked for one secret.
///
/// It is asked when the secret is needed for the first time, once for all who wait for it, and again when the provider
/// refuses a request that carries what it gave: a key that was changed there is taken up by itself. What deliveries are
/// checked with, and what a sink signs with, is asked for again after a minute, except in a chain with a program. All else
/// is asked for again when the connection is opened anew: what a plugin signs with, the audience or the address that a
/// delivery's token must name, and, of OAuth, the key of an assertion and what stands in the path of a
/// token endpoint. `None` says that the store does not have the secret. After that, and after an
/// error, a panic or an answer that did not come in time, it is left alone for half a minute. A question goes on where
/// whoever asked it goes away, and the next one waits for the same answer.
///
/// ```
/// use wharfage::{Account, Error, Kind, SecretAsk, SecretSource, SecretValue};
///
/// /// By whatever client the program has.
/// async fn look_up(id: &str) -> std::io::Result<Option<String>> {
/// #   let _ = id;
///     Ok(Some("the-key".to_owned()))
/// }
///
/// let ask = SecretAsk::new(|| async {
///     let failed = |error: std::io::Error| {
///         Error::new(Kind::CredentialUnavailable, "the store does not answer").with_details(error.to_string())
///     };
///     look_up("prod/acme/api-key").await.map(|found| found.map(SecretValue::new)).map_err(failed)
/// });
/// let account = Account::default().with_secret("api_key", SecretSource::Ask(ask));
/// ```
///
/// Two are equal where one is a clone of the other. A reload whose account has another one opens the connection anew, so
/// make it once and clone it.
#[derive(Clone)]
pub struct SecretAsk {
    ask: Arc<dyn Fn() -> Asked + Send + Sync>,
    /// Milliseconds until an answer that has not come is given up; 30,000 unless it is set. An answer must wait without
    /// holding up its thread.
    pub timeout_ms: u64,
}

/// What a store of the embedding program's own gives.
type Asked = BoxFuture<'static, Result<Option<SecretValue>>>;

debug_shows!(SecretAsk);

impl SecretAsk {
    /// Asks so. The text of an error is for the operator, and is shown: it must hold no secret.
    pub fn new<F, A>(ask: F) -> Self
    where
        F: Fn() -> A + Send + Sync + 'static,
        A: Future<Output = Result<Option<SecretValue>>> + Send + 'static,
    {
        Self { ask: Arc::new(move || -> Asked { Box::pin(ask()) }), timeout_ms: SOURCE_MS }
    }

    /// Asks.
    pub(crate) fn answer(&self) -> Asked {
        (self.ask)()
    }
}

impl PartialEq for SecretAsk {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.ask, &other.ask) && self.timeout_ms == other.timeout_ms
    }
}

impl Eq for SecretAsk {}

/// How long a program, or a store of the embedding program's own, may take where nothing else is said.
const SOURCE_MS: u64 = 30_000;

/// Most sources of one secret.
const SOURCES_MAX: usize = 16;

impl SecretProgram {
    /// A program that the embedding program chose.
    pub fn new<T: Into<String>>(argv: impl IntoIterator<Item = T>) -> Self {
        let argv = argv.into_iter().map(Into::into).collect();
        Self { argv, env: Vec::new(), timeout_ms: SOURCE_MS, found_in: None }
    }

    /// As a person would write it.
    pub fn shown(&self) -> String {
        crate::text::shown(&self.argv.join(" "))
    }
}

impl SecretSource {
    /// This source and, of a chain, each of its own.
    pub(crate) fn each(&self) -> Vec<&Self> {
        match self {
            Self::Chain(sources) => sources.iter().flat_map(Self::each).collect(),
            source => vec![source],
        }
    }

    /// The programs it names.
    pub fn programs<'a>(&'a self) -> Vec<&'a SecretProgram> {
        let program = |source: &'a Self| match source {
            Self::Program(program) => Some(program),
            _ => None,
        };
        self.each().into_iter().filter_map(program).collect()
    }

    /// Whether asking it runs something that takes its time: it is asked once for all who wait, and seldom.
    pub(crate) fn is_asked_seldom(&self) -> bool {
        matches!(self, Self::Program(_) | Self::Ask(_))
    }

    /// Says where the file lies that named this source: paths are relative to it, and programs need leave.
    pub(crate) fn found_in(&mut self, file: &Path) {
        let folder = file.parent().unwrap_or(Path::new(""));
        match self {
            Self::File(path) | Self::EnvFile { path, .. } => *path = folder.join(&*path),
            Self::Program(program) => program.found_in = Some(file.to_owned()),
            Self::Chain(sources) => sources.iter_mut().for_each(|source| source.found_in(file)),
            Self::Env(_) | Self::Sealed | Self::Value(_) | Self::Ask(_) => {}
        }
    }
}

impl<'de> Deserialize<'de> for SecretSource {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SourceVisitor { is_in_list: false })
    }
}

/// One source of a list.
struct Listed(SecretSource);

impl<'de> Deserialize<'de> for Listed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SourceVisitor { is_in_list: true }).map(Self)
    }
}

/// Reads a source. None of its errors shows what is written there, as the usual ones do: it may be the secret itself.
struct SourceVisitor {
    is_in_list: bool,
}

impl<'de> Visitor<'de> for SourceVisitor {
    type Value = SecretSource;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(SOURCES)
    }

    fn visit_bool<E: serde::de::Error>(self, _: bool) -> Result<SecretSource, E> {
        Err(no_value())
    }

    fn visit_i64<E: serde::de::Error>(self, _: i64) -> Result<SecretSource, E> {
        Err(no_value())
    }

    fn visit_i128<E: serde::de::Error>(self, _: i128) -> Result<SecretSource, E> {
        Err(no_value())
    }

    fn visit_u64<E: serde::de::Error>(self, _: u64) -> Result<SecretSource, E> {
        Err(no_value())
    }

    fn visit_u128<E: serde::de::Error>(self, _: u128) -> Result<SecretSource, E> {
        Err(no_value())
    }

    fn visit_f64<E: serde::de::Error>(self, _: f64) -> Result<SecretSource, E> {
        Err(no_value())
    }

    fn visit_str<E: serde::de::Error>(self, _: &str) -> Result<SecretSource, E> {
        Err(no_value())
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<SecretSource, A::Error> {
        let written = Written::deserialize(MapAccessDeserializer::new(map)).map_err(|_| no_value::<A::Error>())?;
        written.source().map_err(A::Error::custom)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<SecretSource, A::Error> {
        if self.is_in_list {
            return Err(A::Error::custom("a secret's sources are one list, and none of them is another"));
        }
        let mut sources = Vec::new();
        while let Some(Listed(source)) = list.next_element()? {
            sources.push(source);
        }
        if sources.is_empty() || sources.len() > SOURCES_MAX {
            return Err(A::Error::custom(format!("a secret has 1 to {SOURCES_MAX} sources")));
        }
        Ok(SecretSource::Chain(sources))
    }
}

/// What is told of all that is no source.
fn no_value<E: serde::de::Error>() -> E {
    E::custom(format!("a secret's value never stands in this file; where it comes from does: {SOURCES}"))
}

/// How one may write a source.
const SOURCES: &str = "{ env = \"NAME\" }, { env_file = \"FILE\", name = \"NAME\" }, { file = \"FILE\" }, { sealed = true }, \
                       { program = [\"PROGRAM\", \"ARGUMENT\"], env = [\"NAME\"] }, or a list of these";

/// A source as it stands in a file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    env: Option<OneOrMany>,
    env_file: Option<PathBuf>,
    name: Option<String>,
    file: Option<PathBuf>,
    sealed: Option<bool>,
    program: Option<Vec<String>>,
    timeout_ms: Option<u64>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl Written {
    fn source(self) -> Result<SecretSource, String> {
        use OneOrMany::{Many, One};
        let Self { env, env_file, name, file, sealed, program, timeout_ms } = self;
        match (env, env_file, name, file, sealed, program, timeout_ms) {
            (Some(One(name)), None, None, None, None, None, None) if !name.is_empty() => Ok(SecretSource::Env(name)),
            (None, Some(path), Some(name), None, None, None, None) => Ok(SecretSource::EnvFile { path, name }),
            (None, None, None, Some(path), None, None, None) => Ok(SecretSource::File(path)),
            (None, None, None, None, Some(true), None, None) => Ok(SecretSource::Sealed),
            (env @ (None | Some(Many(_))), None, None, None, None, Some(argv), timeout_ms)
                if argv.first().is_some_and(|program| !program.is_empty()) =>
            {
                let env = if let Some(Many(names)) = env { names } else { Vec::new() };
                let timeout_ms = timeout_ms.unwrap_or(SOURCE_MS).max(1);
                // Whoever reads a file says which; until then it is one that nobody vouched for.
                Ok(SecretSource::Program(SecretProgram { argv, env, timeout_ms, found_in: Some(PathBuf::new()) }))
            }
            _ => Err(format!("a secret's source is {SOURCES}")),
        }
    }
}

/// A secret's value, which shows itself to nobody.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretValue(pub(crate) Zeroizing<String>);

impl SecretValue {
    /// Takes the value over.
    pub fn new(value: impl Into<String>) -> Self {
        Self(Zeroizing::new(value.into()))
    }
}

impl std::fmt::Debug for SecretValue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[secret]")
    }
}

impl Account {
    /// The account with one more secret.
    pub fn with_secret(mut self, name: &str, source: SecretSource) -> Self {
        self.secrets.insert(name.to_owned(), source);
        self
    }

    /// The account with an access token for a credential of the scheme `oauth2`, instead of what connecting it brings.
    pub fn with_access(mut self, credential: &str, given: ExternalToken) -> Self {
        self.access.insert(credential.to_owned(), given);
        self
    }
}

/// What an operator sets of a budget.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct BudgetOverride {
    /// Units per window.
    pub limit: Option<u32>,
    /// The window, in seconds.
    pub window_s: Option<u64>,
    /// Requests at once.
    pub concurrency: Option<u32>,
}

impl BudgetOverride {
    /// What is wrong with it for a budget of these facts, if anything is, with the line that would be right.
    pub(crate) fn check_against(&self, name: &str, facts: &BudgetFacts) -> Result<(), String> {
        let Self { limit, window_s, concurrency } = *self;
        let heaviest = facts.weights.iter().map(|weight| weight.units).fold(1, u32::max);
        let is_at_once = facts.concurrency.is_some();
        let why = match limit.or(concurrency) {
            _ if is_at_once && (limit.is_some() || window_s.is_some()) => {
                "has `limit` or `window_s`, and the plugin's is of requests at once".to_owned()
            }
            Some(_) if !is_at_once && concurrency.is_some() => {
                "has `concurrency`, and the plugin's is of a window".to_owned()
            }
            None if window_s.is_none() => "says nothing".to_owned(),
            Some(units) if units < heaviest => format!("is of {units}, and one request may take {heaviest}"),
            _ if window_s == Some(0) => "has a window_s of 0".to_owned(),
            _ => return Ok(()),
        };
        let units = |set: Option<u32>, own: Option<u32>| set.or(own).unwrap_or(1).max(heaviest);
        let right = if is_at_once {
            format!("concurrency = {}", units(concurrency.or(limit), facts.concurrency))
        } else {
            let window_s = window_s.or(facts.window_s).unwrap_or(1).max(1);
            format!("limit = {}, window_s = {window_s}", units(limit, facts.limit))
        };
        Err(format!("{why}. Write   budgets.{name} = {{ {right} }}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(source: &str) -> Result<SecretSource, toml::de::Error> {
        let account: Account = toml::from_str(&format!("[secrets]\nkey = {source}"))?;
        Ok(account.secrets["key"].clone())
    }

    #[test]
    fn every_source_can_be_written() {
        assert_eq!(read("{ env = 'X' }").unwrap(), SecretSource::Env("X".into()));
        assert_eq!(read("{ sealed = true }").unwrap(), SecretSource::Sealed);
        let env_file = SecretSource::EnvFile { path: "secrets.env".into(), name: "X".into() };
        assert_eq!(read("{ env_file = 'secrets.env', name = 'X' }").unwrap(), env_file);
        let chain = read("[{ env = 'X' }, { file = 'k' }]").unwrap();
        assert_eq!(chain, SecretSource::Chain(vec![SecretSource::Env("X".into()), SecretSource::File("k".into())]));
        let source = read("{ program = ['op', 'read'], env = ['HOME'], timeout_ms = 5 }").unwrap();
        let program = source.programs()[0].clone();
        assert_eq!((program.argv.len(), program.env.as_slice(), program.timeout_ms), (2, &["HOME".to_owned()][..], 5));
        assert!(program.found_in.is_some(), "a program from a text counts as chosen by the embedder");
    }

    #[test]
    fn an_own_store_is_equal_to_its_clones_alone_and_shows_nothing() {
        let ask = || SecretAsk::new(|| async { Ok(Some(SecretValue::new("s3cret-value"))) });
        let (one, other) = (SecretSource::Ask(ask()), SecretSource::Ask(ask()));
        let same = one.clone();
        assert!(one == same && one != other);
        assert_eq!(format!("{one:?}"), "Ask(SecretAsk { .. })");
    }

    #[test]
    fn what_is_no_source_shows_which_there_are() {
        for wrong in [
            "{}",
            "[]",
            "'plain text'",
            "{ env = ['X'] }",
            "{ env = 'X', file = 'k' }",
            "{ sealed = false }",
            "{ env_file = 'f' }",
            "{ program = [] }",
            "{ program = 'op read' }",
            "{ value = 's3cret' }",
            "{ ask = 'store' }",
            "[[]]",
            "{ env = '' }",
            "{ file = 'k', timeout_ms = 5 }",
        ] {
            let told = read(wrong).unwrap_err().to_string();
            assert!(told.contains("line 2"), "{wrong}: {told}");
        }
        for wrong in [
            "'s3cret-value'",
            "['s3cret-value']",
            "[['s3cret-value']]",
            "{ sealed = 's3cret-value' }",
            "[{ env = 'X' }, { file = 53127 }]",
            "{ program = 's3cret-value' }",
            "{ program = ['op'], timeout_ms = 's3cret-value' }",
            "53127",
            "[53127]",
            "53127.5",
            "15312700000000000000",
            "-53127000000000000000000",
            "253127000000000000000000000000000000000",
        ] {
            let told = read(wrong).unwrap_err();
            let message = told.message();
            let is_shown = ["s3cret", "53127"].iter().any(|value| message.contains(value));
            assert!(message.contains("a secret's") && !is_shown, "{wrong}: {message}");
        }
        for wrong in ["'s3cret-value'", "true", "[false]", "{ value = 's3cret' }"] {
            assert!(read(wrong).unwrap_err().message().contains("env_file"), "{wrong}");
        }
    }

    #[test]
    fn paths_lie_beside_the_file_and_programs_remember_it() {
        let mut source = read("[{ file = 'k' }, { env_file = 'e', name = 'X' }, { program = ['op'] }]").unwrap();
        source.found_in(Path::new("/etc/w/wharfage.toml"));
        let SecretSource::Chain(all) = &source else { panic!("no chain") };
        assert_eq!(all[0], SecretSource::File("/etc/w/k".into()));
        assert_eq!(all[1], SecretSource::EnvFile { path: "/etc/w/e".into(), name: "X".into() });
        assert_eq!(source.programs()[0].found_in.as_deref(), Some(Path::new("/etc/w/wharfage.toml")));
    }
}
