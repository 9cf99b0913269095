//! `wharfage.toml`: which plugins there are, which accounts, and which connections between them.
//!
//! A connection is an account used by one plugin under one policy. What it does not state is not granted. Reading is
//! all that happens here: whether the two fit is judged in `grant.rs`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use ipnet::IpNet;
use serde::Deserialize;

use crate::account::Account;
use crate::drift::DriftPolicy;
use crate::engine::{self, EnginePolicy};
use crate::error::{Error, Result};
use crate::inbound::policy::ServePolicy;
use crate::inbound::poll::PollPolicy;
use crate::inbound::sink::SinkPolicy;
use crate::inbound::socket::SocketPolicy;
use crate::inbound::webhook::EndpointPolicy;
use crate::observe::alerts::AlertPolicy;
use crate::observe::policy::ObservePolicy;
use crate::outbound::breaker::BreakerPolicy;
use crate::outbound::cache::CachePolicy;
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

/// What of a GraphQL endpoint is granted. What is set must hold together.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct GraphqlLimit {
    /// Neither mutations nor subscriptions.
    #[serde(default)]
    pub queries_only: bool,
    /// Operations of these names. A name is what the plugin calls it: `fields` is what the provider acts on.
    pub operations: Option<Vec<String>>,
    /// Only these fields at the top of an operation, whatever they are renamed to.
    pub fields: Option<Vec<String>>,
}

macro_rules! limits {
    ($(#[doc = $doc:literal])* $all:ident; $($name:ident: $default:expr $(=> $most:expr)?, $about:literal;)*) => {
        $(#[doc = $doc])*
        #[derive(Clone, Copy, Debug, serde::Deserialize, PartialEq, Eq)]
        #[serde(deny_unknown_fields, default)]
        #[non_exhaustive]
        pub struct $all {
            $(#[doc = $about] pub $name: u64,)*
        }

        impl Default for $all {
            fn default() -> Self {
                Self { $($name: $default,)* }
            }
        }

        impl $all {
            /// Every limit as it stands here.
            pub fn all(&self) -> Vec<$crate::Limit> {
                let default = Self::default();
                vec![$($crate::Limit {
                    name: stringify!($name),
                    value: self.$name,
                    default: default.$name,
                    most: [u64::MAX $(, $most)?].into_iter().min().unwrap_or(u64::MAX),
                    about: $about,
                },)*]
            }

            /// Refuses what would let nothing pass, and more than there can be.
            pub(crate) fn check(&self) -> $crate::Result<()> {
                self.all().iter().try_for_each($crate::Limit::check)
            }
        }
    };
}
pub(crate) use limits;

/// One limit as it stands. Its unit stands last in its name, and first in the sentence about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limit {
    /// The name, as it is set and as errors have it.
    pub name: &'static str,
    /// What it is.
    pub value: u64,
    /// What it is where nobody sets it.
    pub default: u64,
    /// The most that it can be set to.
    pub most: u64,
    /// What it limits.
    pub about: &'static str,
}

impl Limit {
    pub(crate) fn check(&self) -> Result<()> {
        let Self { name, value, most, .. } = *self;
        if value == 0 {
            return Err(Error::configuration(format!("limits.{name} is 0, which would let nothing pass"))
                .with_details("Leave it out for the default, or take what it limits away"));
        }
        if value > most {
            return Err(Error::configuration(format!("limits.{name} is {value}, and the host allows {most} at most"))
                .with_details(format!("Leave it out for the default, or write less:   limits.{name} = {most}")));
        }
        Ok(())
    }

    /// For messages and lists: name, value, the default where it is another, what it limits, and how far it goes.
    pub(crate) fn line(&self) -> String {
        let Self { name, value, default, most, about } = self;
        let set = if value == default { String::new() } else { format!(" (default {default})") };
        let most = if *most == u64::MAX { String::new() } else { format!(" At most {most}.") };
        format!("{name:<20} {value:>10}{set}  {about}{most}")
    }
}

limits! {
    /// Everything a plugin can use up, with its limit. Units stand last in the names.
    Limits;

    call_ms: 120_000, "Milliseconds for one call, waiting included.";
    compute_ms: 10_000, "Milliseconds of computing in one call.";
    memory_bytes: 64 << 20 => engine::MEMORY_BYTES_MAX, "Bytes of all memories of one instance.";
    memories: 4 => engine::MEMORIES_MAX, "Memories of one instance.";
    table_elements: 20_000 => engine::TABLE_ELEMENTS_MAX, "Elements of all tables of one instance.";
    tables: 20 => engine::TABLES_MAX, "Tables of one instance.";
    instances: 32 => engine::CORE_INSTANCES_MAX, "Core instances inside one component.";
    resources: 256, "Handles an instance holds at once, of the host's resources and of its own.";
    hostcall_bytes: 32 << 20, "Bytes that one call of an import, or one answer, may carry out of the plugin.";
    random_bytes: 64 << 10, "Bytes of randomness that a plugin gets at once.";
    printed_bytes: 8 << 10, "Bytes that are kept of what one call prints; more is dropped.";
    output_bytes: 16 << 20, "Bytes of one operation's output.";
    cursor_bytes: 16 << 10, "Bytes of a cursor.";
    calls: 64, "Calls running side by side on the connection.";
    calls_waiting: 1_000, "Calls waiting for one of these to end; further ones are refused as busy.";
    requests: 1_000, "Requests of one call, attempts and redirects not counted.";
    side_by_side: 16, "Requests of one call under way at once.";
    connect_ms: 10_000, "Milliseconds to connect.";
    attempt_ms: 30_000, "Milliseconds for one attempt, from connecting to the last byte.";
    attempts: 5, "Attempts of one request.";
    redirects: 5, "Redirects followed for one request.";
    retry_wait_ms: 60_000, "Milliseconds that one wait before another attempt may last.";
    retry_percent: 10, "Retries in percent of requests, beyond ten that may always be under way.";
    block_ms: 3_600_000, "Milliseconds that a provider's word may stop a budget.";
    url_bytes: 8_192, "Bytes of a URL.";
    headers: 100 => 10_000, "Header fields of one request or answer.";
    header_bytes: 32 << 10, "Bytes of all header fields of one request or answer.";
    request_body_bytes: 8 << 20, "Bytes of a request's body.";
    response_body_bytes: 16 << 20, "Bytes of an answer's body, after decoding.";
    streams: 4, "Bodies of one call that are read or written piece by piece at once.";
    stream_bytes: 1 << 30, "Bytes of one body that is read piece by piece, after decoding, and of a file that is taken from a call.";
    stream_idle_ms: 30_000, "Milliseconds that the provider may neither send nor take anything of such a body.";
    upload_bytes: 1 << 30, "Bytes of one body that is written piece by piece, and of a file that is given to a call.";
    event_streams: 4, "Streams of server-sent events that the connection reads at once.";
    cache_bytes: 16 << 20, "Bytes of all kept answers of the connection, in memory and again on the disk.";
    cache_entry_bytes: 1 << 20, "Bytes of an answer that is kept.";
    claims_bytes: 8 << 10, "Bytes of the claims of one token that a plugin has made.";
    log_lines: 200, "Lines that one call may log; more are dropped, as for the next three.";
    log_bytes: 64 << 10, "Bytes that one call may log.";
    log_second_bytes: 256 << 10, "Bytes that all calls of the connection may log in one second, 256 of them for each line besides its text.";
    log_fields: 32, "Fields of one such line.";
    emitted_events: 1_000, "Events that the handling of one event may emit.";
    emitted_bytes: 4 << 20, "Bytes of the content of all these.";
    messages: 100, "Messages that the handling of one event may send on its socket.";
    message_bytes: 1 << 20, "Bytes of all these.";
    state_bytes: 1 << 20, "Bytes of all state values of the connection.";
    state_keys: 1_000, "Number of state values of the connection.";
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
