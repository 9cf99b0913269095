//! Where emitted events go: `[sinks.<name>]` of a `wharfage.toml`.
//!
//! Every sink reads the outbox from a position of its own and moves it only after it took an event: at least once, in the
//! order in which the events were committed, and held back by nobody but itself. What it will not take goes to its dead
//! letters, and the worker goes on.

#[cfg(feature = "serve")]
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use ipnet::IpNet;
use serde::Deserialize;
use url::Url;

use crate::account::SecretSource;
use crate::error::{Error, Result};
use crate::limits::limits;
use crate::text::shown;

/// `[sinks.<name>]` of a `wharfage.toml`: emitted events go here too.
///
/// ```toml
/// [sinks.log]
/// kind = "file"                                # or "stdout"
/// path = "events.jsonl"                        # beside this file
/// connections = ["acme*"]                      # all where nothing is said
/// types = ["order.*"]
/// limits.rotate_bytes = 10000000
///
/// [sinks.billing]
/// kind = "http"
/// url = "https://billing.example/events"
/// secret = { env = "BILLING_SECRET" }          # whsec_…; BILLING_SECRET_PREVIOUS signs too while it is there
/// ```
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(try_from = "Written")]
#[non_exhaustive]
pub struct SinkPolicy {
    /// What kind of sink it is.
    pub place: SinkPlace,
    /// Only events of these connections; a `*` at the end stands for anything. All where empty.
    pub connections: Vec<String>,
    /// Only events of these types, likewise.
    pub types: Vec<String>,
    /// Limits that differ from the defaults.
    pub limits: SinkLimits,
}

/// What kind of sink it is.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum SinkPlace {
    /// A line of JSON for each event on standard output.
    Stdout,
    /// A line of JSON for each event in a file.
    File {
        /// The file.
        path: PathBuf,
        /// Whether an event counts as taken only when it is on the disk. Without it, a power failure may lose some.
        fsync: bool,
    },
    /// A signed POST for each event.
    Http {
        /// Where to: exactly this URL is granted, and nothing else.
        url: Url,
        /// What it is signed with, as Standard Webhooks writes it: `whsec_` and base64. A next and a previous version sign
        /// as well, so that the receiver can change it without losing one.
        secret: SecretSource,
        /// Addresses outside the public internet that may be dialled for it, as `127.0.0.1/32`.
        private_addresses: Vec<IpNet>,
    },
}

limits! {
    /// Everything about a sink that has a limit. Units stand last in the names.
    SinkLimits;

    attempts: 12, "Times that the sink may refuse one event (an answer 4xx) before it goes to the sink's dead letters.";
    attempt_ms: 30_000, "Milliseconds for one request to the sink, from connecting to the last byte.";
    retry_ms: 1_000, "Milliseconds before the second attempt; each further wait is twice as long.";
    retry_wait_ms: 300_000, "Milliseconds that one wait before another attempt may last.";
    hold_ms: 3_600_000, "Milliseconds that the sink's own word (Retry-After) may hold its events back.";
    retention_ms: 259_200_000, "Milliseconds that an event waits for the sink before it goes to the sink's dead letters.";
    rotate_bytes: 64 << 20, "Bytes of a file after which the next one begins.";
    files: 10, "Files kept, the one being written included; the oldest go first.";
}

/// A sink as it stands in a file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    kind: String,
    path: Option<PathBuf>,
    fsync: Option<bool>,
    url: Option<String>,
    secret: Option<SecretSource>,
    private_addresses: Option<Vec<IpNet>>,
    #[serde(default)]
    connections: Vec<String>,
    #[serde(default)]
    types: Vec<String>,
    #[serde(default)]
    limits: SinkLimits,
}

/// Which sinks there are.
const KINDS: &str = "a sink is kind = \"stdout\", kind = \"file\" with path (and fsync), or kind = \"http\" with url and \
                     secret (and private_addresses)";

impl TryFrom<Written> for SinkPolicy {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        let Written { kind, path, fsync, url, secret, private_addresses, connections, types, limits } = written;
        let place = match (kind.as_str(), path, fsync, url, secret, private_addresses) {
            ("stdout", None, None, None, None, None) => SinkPlace::Stdout,
            ("file", Some(path), fsync, None, None, None) => {
                if path.file_name().is_none() {
                    return Err("the path of a sink names a file".to_owned());
                }
                SinkPlace::File { path, fsync: fsync.unwrap_or(true) }
            }
            ("http", None, None, Some(url), Some(secret), addresses) => {
                if secret.each().contains(&&SecretSource::Sealed) {
                    return Err(
                        "the sealed store keeps the secrets of connections; that of a sink comes from env, env_file, \
                                file or program"
                            .to_owned(),
                    );
                }
                let private_addresses = addresses.unwrap_or_default();
                SinkPlace::Http { url: address(&url, &private_addresses)?, secret, private_addresses }
            }
            ("http", None, None, Some(_), None, _) => {
                return Err(
                    "an http sink signs what it sends: secret = { env = \"NAME\" }, or another source; make one \
                            with `openssl rand -base64 32` and write whsec_ before it"
                        .to_owned(),
                );
            }
            _ => return Err(KINDS.to_owned()),
        };
        for pattern in connections.iter().chain(&types) {
            check_pattern(pattern)?;
        }
        limits.check().map_err(|error| error.to_string())?;
        if limits.retry_wait_ms < limits.retry_ms {
            return Err("limits.retry_wait_ms must not be less than limits.retry_ms".to_owned());
        }
        Ok(Self { place, connections, types, limits })
    }
}

/// The address of an http sink. It may hold a key in its path or query, so no message shows it.
fn address(written: &str, private_addresses: &[IpNet]) -> Result<Url, String> {
    let url = Url::parse(written).map_err(|error| format!("the url of a sink cannot be read: {error}"))?;
    match url.scheme() {
        "https" => {}
        "http" if !private_addresses.is_empty() => {}
        "http" => {
            return Err("the url of a sink begins with https://; http:// is for a network of your own, which \
                        private_addresses = [\"10.1.2.3/32\"] names"
                .to_owned());
        }
        _ => return Err("the url of a sink begins with https://".to_owned()),
    }
    if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
        return Err(
            "the url of a sink holds neither a user nor a fragment; it is told who sends by the signature".to_owned()
        );
    }
    if url.path().contains('*') {
        return Err("the path of a sink's url is exact: write %2A for a `*`".to_owned());
    }
    Ok(url)
}

pub(crate) fn check_pattern(pattern: &str) -> Result<(), String> {
    let name = pattern.strip_suffix('*').unwrap_or(pattern);
    if pattern.is_empty() || name.contains('*') {
        return Err(format!("`{}` is no pattern of a sink: a name, or its beginning and one `*`", shown(pattern)));
    }
    Ok(())
}

/// Whether a list of patterns means a name; an empty one means all.
#[cfg(feature = "serve")]
pub(crate) fn is_meant(patterns: &[String], name: &str) -> bool {
    patterns.is_empty()
        || patterns.iter().any(|pattern| match pattern.strip_suffix('*') {
            Some(beginning) => name.starts_with(beginning),
            None => pattern == name,
        })
}

impl SinkPolicy {
    /// Reads one sink's body, as an embedder writes it: the keys below `[sinks.<name>]`.
    ///
    /// # Errors
    /// [`Kind::Configuration`](crate::Kind::Configuration) with what was expected.
    pub fn parse(text: &str) -> Result<Self> {
        toml::from_str(text).map_err(|error| {
            // The text may hold what should not stand there, so it is not quoted.
            Error::configuration("the sink cannot be read").with_details(shown(error.message()))
        })
    }

    /// Says where the file lies that named this sink: paths are relative to it, and programs need leave.
    pub(crate) fn found_in(&mut self, file: &Path) {
        match &mut self.place {
            SinkPlace::Stdout => {}
            SinkPlace::File { path, .. } => *path = file.parent().unwrap_or(Path::new("")).join(&*path),
            SinkPlace::Http { secret, .. } => secret.found_in(file),
        }
    }

    /// The kind, as it is written.
    pub fn kind(&self) -> &'static str {
        match self.place {
            SinkPlace::Stdout => "stdout",
            SinkPlace::File { .. } => "file",
            SinkPlace::Http { .. } => "http",
        }
    }
}

/// Refuses sinks that do not fit together, or with how long the outbox keeps what was emitted: an event that waited too long
/// is to be a dead letter before it is gone.
///
/// # Errors
/// [`Kind::Configuration`](crate::Kind::Configuration) with what to change.
#[cfg(feature = "serve")]
pub(crate) fn check_together(sinks: &BTreeMap<String, SinkPolicy>, emitted_kept_ms: u64) -> Result<()> {
    let mut files: BTreeMap<&Path, &str> = BTreeMap::new();
    for (name, policy) in sinks {
        let shown_name = shown(name);
        if let SinkPlace::File { path, .. } = &policy.place
            && let Some(other) = files.insert(path, name)
        {
            let message = format!("the sinks `{}` and `{shown_name}` write one file", shown(other));
            return Err(Error::configuration(message).with_details("Give each a path of its own"));
        }
        let retention_ms = policy.limits.retention_ms;
        if retention_ms >= emitted_kept_ms {
            let message = format!(
                "sink `{shown_name}`: limits.retention_ms = {retention_ms} is not less than serve.limits.emitted_kept_ms = \
                 {emitted_kept_ms}, so events would go without a dead letter"
            );
            return Err(Error::configuration(message).with_details("Set one of them otherwise"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HTTP: &str = "kind = 'http'\nurl = 'https://sink.example/in?key=1'\nsecret = { env = 'X' }\n";

    #[test]
    fn every_kind_can_be_written() {
        assert_eq!(SinkPolicy::parse("kind = 'stdout'").unwrap().place, SinkPlace::Stdout);
        let mut file = SinkPolicy::parse("kind = 'file'\npath = 'e.jsonl'\nlimits = { files = 3 }").unwrap();
        file.found_in(Path::new("/etc/w/wharfage.toml"));
        assert_eq!(file.place, SinkPlace::File { path: "/etc/w/e.jsonl".into(), fsync: true });
        assert_eq!((file.limits.files, file.limits.attempts), (3, 12));
        let http = SinkPolicy::parse(HTTP).unwrap();
        assert_eq!(http.kind(), "http");
    }

    #[test]
    fn what_is_no_sink_is_refused_with_what_one_is() {
        let secret = "secret = { env = 'X' }";
        for (wrong, told) in [
            ("kind = 'kafka'".to_owned(), "kind = \"stdout\""),
            ("kind = 'stdout'\npath = 'x'".to_owned(), "kind = \"file\" with path"),
            ("kind = 'file'".to_owned(), "with path"),
            ("kind = 'file'\npath = '/'".to_owned(), "names a file"),
            ("kind = 'http'\nurl = 'https://a.example/'".to_owned(), "openssl rand"),
            (format!("kind = 'http'\nurl = 'http://a.example/'\n{secret}"), "private_addresses"),
            (format!("kind = 'http'\nurl = 'ftp://a.example/'\n{secret}"), "https://"),
            (format!("kind = 'http'\nurl = 'https://u:s3cret@a.example/'\n{secret}"), "neither a user"),
            (format!("kind = 'http'\nurl = 'https://a.example/*'\n{secret}"), "%2A"),
            ("kind = 'http'\nurl = 'https://a.example/'\nsecret = 'whsec_s3cret'".to_owned(), "env_file"),
            ("kind = 'http'\nurl = 'https://a.example/'\nsecret = { sealed = true }".to_owned(), "env_file"),
            (format!("{HTTP}types = ['a*b']"), "no pattern"),
            (format!("{HTTP}connections = ['']"), "no pattern"),
            (format!("{HTTP}limits.attempts = 0"), "limits.attempts is 0"),
            (format!("{HTTP}limits.retry_wait_ms = 10"), "retry_wait_ms"),
            (format!("{HTTP}limits.batch = 10"), "batch"),
            (format!("{HTTP}retries = 10"), "retries"),
        ] {
            let error = SinkPolicy::parse(&wrong).unwrap_err().to_string();
            assert!(error.contains(told) && !error.contains("s3cret"), "{wrong}: {error}");
        }
    }

    /// R22: what a sink may use up, and how long it tries, is written down, with its default and what it limits.
    #[test]
    fn r22_a_sinks_limits_have_defaults_and_messages() {
        let all = SinkLimits::default().all();
        for name in ["retention_ms", "attempts", "rotate_bytes", "files"] {
            let limit = all.iter().find(|limit| limit.name == name).unwrap();
            assert!(limit.value > 0 && limit.value == limit.default && limit.about.ends_with('.'), "{name}");
        }
    }

    /// R22: what goes by age goes with a word.
    #[cfg(feature = "serve")]
    #[test]
    fn r22_an_event_waits_for_a_sink_no_longer_than_the_outbox_keeps_it() {
        let sinks = |names: [&str; 2], text: &str| -> BTreeMap<String, SinkPolicy> {
            names.into_iter().map(|name| (name.to_owned(), SinkPolicy::parse(text).unwrap())).collect()
        };
        let two = sinks(["a", "b"], "kind = 'stdout'\nlimits.retention_ms = 1000");
        check_together(&two, 1_001).unwrap();
        let error = check_together(&two, 1_000).unwrap_err().to_string();
        assert!(error.contains("retention_ms = 1000") && error.contains("emitted_kept_ms = 1000"), "{error}");
        let error = check_together(&sinks(["a", "b"], "kind = 'file'\npath = 'x'"), u64::MAX).unwrap_err();
        assert!(error.to_string().contains("the sinks `a` and `b` write one file"), "{error}");
    }

    #[test]
    fn a_pattern_is_a_name_or_its_beginning() {
        let patterns = |text: &str| vec![text.to_owned()];
        assert!(is_meant(&[], "anything"));
        assert!(is_meant(&patterns("order.*"), "order.paid") && !is_meant(&patterns("order.*"), "orders"));
        assert!(is_meant(&patterns("a"), "a") && !is_meant(&patterns("a"), "ab"));
        assert!(is_meant(&patterns("*"), ""));
    }
}
