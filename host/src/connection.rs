//! `wharfage.toml`: which plugins there are, which accounts, and which connections between them.
//!
//! A connection is an account used by one plugin under one policy. What it does not state is not granted. Reading is
//! all that happens here: whether the two fit is judged in `grant.rs`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use ipnet::IpNet;
use serde::Deserialize;

use crate::account::Account;
use crate::alerts::AlertPolicy;
use crate::drift::DriftPolicy;
use crate::engine::EnginePolicy;
use crate::error::{Error, Result};
use crate::limits::Limits;
use crate::observe::policy::ObservePolicy;
use crate::outbound::breaker::BreakerPolicy;
use crate::outbound::cache::CachePolicy;
use crate::outbound::graphql::GraphqlLimit;
use crate::policy::poll::PollPolicy;
use crate::policy::serve::ServePolicy;
use crate::policy::sink::SinkPolicy;
use crate::policy::socket::SocketPolicy;
use crate::policy::webhook::EndpointPolicy;
use crate::text::{shown, shown_lines, suggestion};
use crate::warm::WarmPolicy;

/// A whole `wharfage.toml`.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Config {
    /// The plugins, by the name that connections use.
    #[serde(default)]
    pub plugins: BTreeMap<String, PluginSource>,
    /// The accounts.
    #[serde(default)]
    pub accounts: BTreeMap<String, Account>,
    /// The connections.
    #[serde(default)]
    pub connections: BTreeMap<String, Connection>,
    /// The webhooks that `wharfage serve` takes, by the id in their path.
    #[serde(default)]
    pub endpoints: BTreeMap<String, EndpointPolicy>,
    /// How `wharfage serve` listens, keeps and gives up.
    #[serde(default)]
    pub serve: ServePolicy,
    /// Where emitted events go.
    #[serde(default)]
    pub sinks: BTreeMap<String, SinkPolicy>,
    /// What is watched while `wharfage serve` runs, and who is told.
    #[serde(default)]
    pub alerts: AlertPolicy,
    /// Where what the host sees of itself goes.
    #[serde(default)]
    pub observe: ObservePolicy,
    /// What all plugins share, and how much of it there is. It counts from the next start on.
    #[serde(default)]
    pub engine: EnginePolicy,
}

/// `[plugins.<name>]`: where a component lies, and which bytes it must be.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct PluginSource {
    /// The component's file, relative to the `wharfage.toml`.
    pub component: PathBuf,
    /// `sha256:` and 64 hexadecimal digits; a component with another digest is refused.
    pub digest: Option<String>,
}

/// `[connections.<name>]`: an account used by one plugin under one policy.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Connection {
    /// The plugin's name under `[plugins]`.
    #[serde(default)]
    pub plugin: String,
    /// The account's name under `[accounts]`; without one, only the chain of secrets serves.
    pub account: Option<String>,
    /// The interfaces of the contract that are linked; `clock`, `files` and `log` always are.
    #[serde(default)]
    pub imports: Vec<String>,
    /// The operations that may be called; all where it is left out. A sign-in asks for the scopes of these, and no more.
    /// What one of them may send is not said here, but by `origins` and `allow`.
    pub operations: Option<Vec<String>>,
    /// The credential that goes on requests, where the plugin has several for an origin; the manifest's choice where it is
    /// left out.
    pub credential: Option<String>,
    /// Origins granted with the methods and paths that the manifest asks for there.
    #[serde(default)]
    pub origins: Vec<String>,
    /// Origins granted more narrowly, instead of in `origins`.
    #[serde(default)]
    pub allow: Vec<Allow>,
    /// Another base URL for an origin of the manifest, as a sandbox; it is granted like the original only if stated.
    #[serde(default)]
    pub base: BTreeMap<String, String>,
    /// Secrets the plugin may have used for it.
    #[serde(default)]
    pub secrets: Vec<String>,
    /// Addresses outside the public internet that may be dialled, as `127.0.0.1/32`.
    #[serde(default)]
    pub private_addresses: Vec<IpNet>,
    /// Fields of an operation's input that are filled in where the caller leaves them out; each is of one operation at least.
    #[serde(default)]
    pub defaults: BTreeMap<String, toml::Value>,
    /// When the host stops asking an origin that keeps failing.
    #[serde(default)]
    pub breaker: BreakerPolicy,
    /// What of the provider's answers is kept, and when it serves.
    #[serde(default)]
    pub cache: CachePolicy,
    /// What happens when an answer differs from the operation's schema: `strict`, `warn` (the default) or `off`.
    #[serde(default)]
    pub drift: DriftPolicy,
    /// The polled triggers that `wharfage serve` runs, by the name in the manifest.
    #[serde(default)]
    pub polls: BTreeMap<String, PollPolicy>,
    /// The sockets that `wharfage serve` keeps open, by the name in the manifest.
    #[serde(default)]
    pub sockets: BTreeMap<String, SocketPolicy>,
    /// Whether the provider is told which trace a request is a part of, by a header field `traceparent`.
    #[serde(default)]
    pub trace_context: bool,
    /// Whether instances stay between calls. They do not, unless it is stated.
    #[serde(default)]
    pub warm: WarmPolicy,
    /// Limits that differ from the defaults.
    #[serde(default)]
    pub limits: Limits,
}

/// One narrower grant.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct Allow {
    /// Scheme, host and port.
    pub origin: String,
    /// Methods.
    pub methods: Vec<String>,
    /// Path patterns from the root, at least one: `*` stands for one segment, `**` at the end for any number.
    pub paths: Vec<String>,
    /// Of GraphQL only this. Then every request here is a POST with one GraphQL document that can be judged.
    pub graphql: Option<GraphqlLimit>,
}

impl Config {
    /// Reads a `wharfage.toml` from its text. `path` is for messages and for what the file names relative to itself.
    ///
    /// # Errors
    /// [`Kind::Configuration`](crate::Kind::Configuration) with file, line, caret and what was expected.
    pub fn parse(text: &str, path: &Path) -> Result<Self> {
        let mut config: Self = toml::from_str(text).map_err(|error| {
            Error::configuration(format!("{} cannot be read", path.display())).with_details(place(&error, text))
        })?;
        let folder = path.parent().unwrap_or(Path::new(""));
        for source in config.plugins.values_mut() {
            source.component = folder.join(&source.component);
        }
        for source in config.accounts.values_mut().flat_map(|account| account.secrets.values_mut()) {
            source.found_in(path);
        }
        for sink in config.sinks.values_mut() {
            sink.found_in(path);
        }
        config.serve.check().map_err(|error| error.context(path.display()))?;
        config.engine.limits.check().map_err(|error| error.context(format!("{}: [engine]", path.display())))?;
        let alerts = config.alerts.check().and_then(|()| config.alerts.check_sinks(&config.sinks));
        alerts.map_err(|error| error.context(path.display()))?;
        config.observe.found_in(path);
        for (name, connection) in &config.connections {
            // A file that was found by looking around is as little trusted as a manifest.
            let name = shown(name);
            connection.check().map_err(|error| error.context(format!("{}: [connections.{name}]", path.display())))?;
            let plugins: Vec<&str> = config.plugins.keys().map(String::as_str).collect();
            if !config.plugins.contains_key(&connection.plugin) {
                return Err(Error::configuration(format!(
                    "{}: [connections.{name}] names the plugin `{}`, which [plugins] does not hold",
                    path.display(),
                    shown(&connection.plugin)
                ))
                .with_details(suggestion(&connection.plugin, &plugins)));
            }
            let accounts: Vec<&str> = config.accounts.keys().map(String::as_str).collect();
            if let Some(account) = connection.account.as_ref().filter(|account| !config.accounts.contains_key(*account))
            {
                return Err(Error::configuration(format!(
                    "{}: [connections.{name}] names the account `{}`, which [accounts] does not hold",
                    path.display(),
                    shown(account)
                ))
                .with_details(suggestion(account, &accounts)));
            }
        }
        for (id, endpoint) in &config.endpoints {
            let shown_id = shown(id);
            let here = || format!("{}: [endpoints.{shown_id}]", path.display());
            endpoint.check(id).map_err(|error| error.context(here()))?;
            if !config.connections.contains_key(&endpoint.connection) {
                let names: Vec<&str> = config.connections.keys().map(String::as_str).collect();
                return Err(Error::configuration(format!(
                    "{} names the connection `{}`, which [connections] does not hold",
                    here(),
                    shown(&endpoint.connection)
                ))
                .with_details(suggestion(&endpoint.connection, &names)));
            }
        }
        Ok(config)
    }

    /// The connection of that name.
    ///
    /// # Errors
    /// [`Kind::Configuration`](crate::Kind::Configuration) with the nearest names.
    pub fn connection(&self, name: &str) -> Result<&Connection> {
        self.connections.get(name).ok_or_else(|| {
            let names: Vec<&str> = self.connections.keys().map(String::as_str).collect();
            Error::configuration(format!("there is no connection `{name}`")).with_details(suggestion(name, &names))
        })
    }
}

impl Connection {
    /// Reads one connection's body, as an embedder writes it: the keys below `[connections.<name>]`.
    ///
    /// # Errors
    /// [`Kind::Configuration`](crate::Kind::Configuration) with line, caret and what was expected.
    pub fn parse(text: &str) -> Result<Self> {
        let connection: Self = toml::from_str(text).map_err(|error| {
            Error::configuration("the connection cannot be read").with_details(shown_lines(&error.to_string()))
        })?;
        connection.check()?;
        Ok(connection)
    }

    fn check(&self) -> Result<()> {
        self.breaker.check().map_err(Error::configuration)?;
        for (name, poll) in &self.polls {
            poll.check().map_err(|why| Error::configuration(format!("polls.{} {why}", shown(name))))?;
        }
        for (name, socket) in &self.sockets {
            socket.check().map_err(|why| Error::configuration(format!("sockets.{} {why}", shown(name))))?;
        }
        self.warm.check()?;
        self.limits.check()
    }
}

/// The tables of a `wharfage.toml`.
const TABLES: [&str; 9] =
    ["plugins", "accounts", "connections", "endpoints", "serve", "sinks", "alerts", "observe", "engine"];

/// The table that a line begins. One that begins with a bracket may also be of a list.
fn table_begun(line: &str) -> Option<&'static str> {
    let name = line.trim_start().strip_prefix('[')?.trim_start_matches('[').trim_start();
    let is_it = |table: &&str| name.strip_prefix(*table).is_some_and(|rest| rest.trim_start().starts_with(['.', ']']));
    TABLES.into_iter().find(is_it)
}

/// Where a text is wrong and why. The line itself is shown, unless somebody may have written a secret there in plain: in an
/// account anywhere, elsewhere where a secret is spoken of, which may be some lines before.
fn place(error: &toml::de::Error, text: &str) -> String {
    let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
    let number = before.matches('\n').count() + 1;
    let lines: Vec<&str> = text.lines().take(number).collect();
    let begun = lines.iter().enumerate().rev().find_map(|(at, line)| Some((at, table_begun(line)?)));
    let (at, table) = begun.unwrap_or_default();
    let holds = |lines: &[&str], word: &str| lines.iter().any(|line| line.contains(word));
    // A connection's secrets are names.
    let about_secrets = if table == "connections" { number - 1 } else { at };
    if holds(&lines[at..], "accounts") || holds(lines.get(about_secrets..).unwrap_or_default(), "secret") {
        return format!("line {number}: {}", shown(without_value(error.message())));
    }
    shown_lines(&error.to_string())
}

/// A message without the value that it is about, as serde has it: `invalid type: string "…", expected a map`.
fn without_value(message: &str) -> &str {
    let is_about_value = ["invalid type: ", "invalid value: "].iter().any(|start| message.starts_with(start));
    match message.rfind("expected ") {
        Some(at) if is_about_value => &message[at..],
        _ => message,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_file_shows_the_place() {
        let text = "[connections.acme]\nplugin = 7\n";
        let error = Config::parse(text, Path::new("wharfage.toml")).unwrap_err().to_string();
        assert!(
            error.contains("wharfage.toml cannot be read") && error.contains("line 2") && error.contains('^'),
            "{error}"
        );
        let beside = "[connections.acme]\nsecrets = ['api_key']\noriginss = []\n";
        let error = Config::parse(beside, Path::new("wharfage.toml")).unwrap_err().to_string();
        assert!(error.contains("3 | originss") && error.contains('^'), "{error}");
    }

    #[test]
    fn a_name_that_points_nowhere_is_refused_with_the_nearest() {
        let text = "[plugins.leaf]\ncomponent='a.wasm'\n[connections.acme]\nplugin = 'leav'\n";
        let error = Config::parse(text, Path::new("wharfage.toml")).unwrap_err().to_string();
        assert!(error.contains("Did you mean leaf?"), "{error}");
    }

    /// Found by the byte fuzzer: an error quoted its line with whatever it held, escape sequences of a terminal included.
    #[test]
    fn a_wrong_file_writes_nothing_but_text() {
        for text in [
            "[plugins.leaf]\ncomponent = \"leaf\u{1b}[2Jwasm\"",
            "[connections.\"\\u001b[2J\"]\nplugin = \"\\u001b[2J\"",
            "[plugins.p]\ncomponent='p'\n[connections.acme]\nplugin='p'\naccount=\"\\u001b[2J\"",
        ] {
            let error = Config::parse(text, Path::new("wharfage.toml")).unwrap_err().to_string();
            assert!(!error.contains('\u{1b}'), "{error:?}");
        }
        assert!(!Connection::parse("plugin = \"\u{1b}[2J\"").unwrap_err().to_string().contains('\u{1b}'));
    }

    /// What a configuration error quotes ends in terminals and logs.
    #[test]
    fn a_secret_written_in_plain_is_not_quoted() {
        for text in [
            "[accounts.a.secrets]\nkey = 's3cret-value'",
            "[accounts.a.secrets]\nkey = { value = 's3cret-value' }",
            "[accounts.a]\nsecrets.key = 's3cret-value'",
            "[accounts.a]\nsecrets = { key = 's3cret-value' }",
            "[accounts.a.secrets]\nkey = s3cret-value",
            "[accounts.a.secrets.key]\nenv = 's3cret-value'\nvalue = 's3cret-value'",
            "[accounts.a.secrets]\nkey = ['s3cret-value']",
            "[accounts.a.secrets]\nkey = { sealed = 's3cret-value' }",
            "[accounts.a]\nsecrets = {\n  key = 's3cret-value',\n}",
            "[accounts.a]\nsecrets = 's3cret-value'",
            "[accounts.a]\nsecrets.key = [\n  's3cret-value',\n]",
            "[accounts.a]\nsecrets.key = [\n  ['x'],\n  s3cret-value,\n]",
            "[accounts.a]\nsecerts.key = 's3cret-value'",
            "[accounts]\na = 's3cret-value'",
            "accounts.a = 's3cret-value'",
            "[sinks.s]\nkind = 'http'\nsecret = {\n  env = 's3cret-value',\n  name = 's3cret-value'\n}",
            "[observe]\notlp_secret = [\n  's3cret-value',\n]",
        ] {
            let error = Config::parse(text, Path::new("wharfage.toml")).unwrap_err().to_string();
            assert!(!error.contains("s3cret") && error.contains("line "), "{text}: {error}");
        }
    }

    #[test]
    fn components_lie_beside_the_file() {
        let config = Config::parse("[plugins.p]\ncomponent='x/p.wasm'", Path::new("/etc/wharfage.toml")).unwrap();
        assert_eq!(config.plugins["p"].component, Path::new("/etc/x/p.wasm"));
    }

    #[test]
    fn every_limit_has_a_default_above_zero() {
        assert!(Limits::default().all().iter().all(|limit| limit.value > 0 && limit.value == limit.default));
    }
}
