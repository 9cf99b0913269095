//! As much of `plugin.toml` as decides what a request may be and what an answer means.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::fixture::Response;
use super::rules;
use crate::bindings::wharfage::plugin::{http as wire, types};
use crate::events::{Emission, Trigger};
use crate::http::Name;
use crate::{Error, ErrorKind};

#[derive(Clone, Default, Deserialize)]
pub(super) struct Manifest {
    #[serde(default)]
    origins: BTreeMap<String, Origin>,
    #[serde(default)]
    credentials: BTreeMap<String, toml::Value>,
    #[serde(default)]
    budgets: BTreeMap<String, toml::Value>,
    #[serde(default)]
    idempotency: Option<toml::Value>,
    #[serde(default)]
    answers: Vec<Answer>,
    #[serde(default)]
    pub(super) operations: BTreeMap<String, Facts>,
    /// A header with the provider's id of a request.
    #[serde(default)]
    request_id: BTreeMap<String, String>,
    #[serde(default)]
    polls: BTreeMap<String, toml::Value>,
    #[serde(default)]
    webhooks: BTreeMap<String, toml::Value>,
    #[serde(default)]
    sockets: BTreeMap<String, toml::Value>,
    #[serde(default)]
    events: BTreeMap<String, toml::Value>,
    /// Whether it is a plugin's: one that a unit test stands on knows no names.
    #[serde(skip)]
    is_whole: bool,
}

#[derive(Clone, Deserialize)]
struct Origin {
    methods: Vec<String>,
    paths: Vec<String>,
    /// Whether no request of the plugin's goes there.
    #[serde(default)]
    host_only: bool,
    /// The header field whose URL stays in the host.
    #[serde(default)]
    kept_header: Option<String>,
}

#[derive(Clone, Deserialize)]
pub(super) struct Facts {
    pub(super) effect: String,
}

/// A rule about what an answer means. What only the host needs, as the budget, is passed over.
#[derive(Clone, Deserialize)]
struct Answer {
    #[serde(default)]
    origin: Option<String>,
    #[serde(default)]
    status: Vec<u16>,
    #[serde(flatten)]
    condition: Condition,
    #[serde(default)]
    and: Vec<Condition>,
    kind: String,
    #[serde(default)]
    retry_after_s: Option<u32>,
    #[serde(default)]
    retry_at: Option<String>,
    #[serde(default)]
    code: Option<String>,
}

/// What a rule makes of an answer.
pub(super) struct Judged {
    pub(super) error: Error,
    /// For how many seconds to stay away.
    pub(super) retry_after_s: Option<u32>,
    /// Whether the body says until when, which only the host reads.
    pub(super) says_when: bool,
}

#[derive(Clone, Deserialize)]
struct Condition {
    #[serde(default)]
    pointer: Option<String>,
    #[serde(default)]
    header: Option<String>,
    #[serde(default)]
    contains: Option<String>,
    #[serde(default)]
    equals: Option<String>,
    #[serde(default)]
    any_of: Vec<String>,
}

impl Manifest {
    pub(super) fn read(text: &str) -> Result<Self, String> {
        let manifest: Self = toml::from_str(text).map_err(|error| format!("plugin.toml cannot be read: {error}"))?;
        match manifest.answers.iter().find(|answer| ErrorKind::named(&answer.kind).is_none()) {
            Some(answer) => Err(format!("plugin.toml: an answer is of the unknown kind `{}`", answer.kind)),
            None => Ok(Self { is_whole: true, ..manifest }),
        }
    }

    /// Refuses a trigger and emissions that are not declared, or that nothing identifies, as the host does.
    pub(super) fn declares(&self, trigger: &Trigger, emit: &[Emission]) -> Result<(), String> {
        let (table, name, is_declared) = match trigger {
            Trigger::Poll(poll) => ("polls", &poll.name, self.polls.contains_key(&poll.name)),
            Trigger::Webhook(webhook) => ("webhooks", &webhook.endpoint, self.webhooks.contains_key(&webhook.endpoint)),
            Trigger::Message((socket, _)) | Trigger::Gap(socket) => {
                ("sockets", socket, self.sockets.contains_key(socket))
            }
        };
        if !is_declared {
            return Err(format!("plugin.toml has no [{table}.{name}]"));
        }
        if let Some(emission) = emit.iter().find(|emission| !self.events.contains_key(&emission.event_type)) {
            return Err(format!("plugin.toml has no [events.\"{}\"]", emission.event_type));
        }
        match emit.iter().find(|emission| emission.key.is_empty()) {
            Some(emission) => Err(format!("an event `{}` was emitted with an empty key", emission.event_type)),
            None => Ok(()),
        }
    }

    /// Whether there is a budget of this name.
    pub(super) fn has_budget(&self, name: &str) -> bool {
        !self.is_whole || self.budgets.contains_key(name)
    }

    /// A manifest with the origin `api`, where everything is allowed.
    pub(super) fn of_one_origin() -> Self {
        let methods = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"].map(str::to_owned).to_vec();
        let api = Origin { methods, paths: vec!["/**".to_owned()], host_only: false, kept_header: None };
        Self { origins: [("api".to_owned(), api)].into(), ..Self::default() }
    }

    /// Puts the base URL of each origin for its `{name}`.
    pub(super) fn expand(&self, text: &str) -> String {
        self.origins.keys().fold(text.to_owned(), |text, name| text.replace(&format!("{{{name}}}"), &base(name)))
    }

    /// The header that holds the provider's id of a request, where it is not one of the usual ones.
    pub(super) fn request_id_header(&self) -> Option<&str> {
        self.request_id.get("header").map(String::as_str)
    }

    /// The header field of an origin's answers whose URL stays in the host, and where it must lie.
    pub(super) fn kept_header(&self, origin: &str) -> Option<(&str, String)> {
        Some((self.origins.get(origin)?.kept_header.as_deref()?, base(origin)))
    }

    /// The URL without what the host has masked in an answer and puts there again: a key in the query.
    pub(super) fn without_masked(&self, url: &str) -> String {
        let Some((place, query)) = url.split_once('?') else { return url.to_owned() };
        let is_hosts = |pair: &&str| {
            let (name, value) = pair.split_once('=').unwrap_or((*pair, ""));
            let is_own = |facts: &toml::Value| facts.get("query").and_then(toml::Value::as_str) == Some(name);
            matches!(value, "[masked]" | "%5Bmasked%5D") && self.credentials.values().any(is_own)
        };
        let kept: Vec<&str> = query.split('&').filter(|pair| !is_hosts(pair)).collect();
        if kept.is_empty() { place.to_owned() } else { [place, "?", &kept.join("&")].concat() }
    }

    /// Whether a URL leads to one of the origins.
    pub(super) fn has(&self, url: &str) -> bool {
        let mut granted = self.origins.iter().filter(|(_, origin)| !origin.host_only);
        granted.any(|(name, _)| url.strip_prefix(&base(name)).is_some_and(|path| path.starts_with('/')))
    }

    /// The name of the origin that may be asked this, or why not.
    pub(super) fn check(&self, request: &wire::Request, url: &str) -> Result<&str, String> {
        if let Err(why) = self.check_everywhere(request, url) {
            return Err(format!("the host does not allow {} {url}: {why}", Name(request.method)));
        }
        let refused = |why: &str| format!("plugin.toml does not allow {} {url}: {why}", Name(request.method));
        let place = url.split(['?', '#']).next().unwrap_or_default();
        let (name, origin, path) = self
            .origins
            .iter()
            .find_map(|(name, origin)| {
                let path = place.strip_prefix(&base(name))?;
                (path.is_empty() || path.starts_with('/')).then_some((name, origin, path))
            })
            .ok_or_else(|| refused("no origin has this URL"))?;
        if origin.host_only {
            return Err(refused("only the host asks at this origin"));
        }
        if !origin.methods.contains(&Name(request.method).to_string()) {
            return Err(refused("the method is not in the origin's `methods`"));
        }
        let path: Vec<&str> = path.split('/').skip(1).collect();
        let is_allowed = origin.paths.iter().any(|pattern| {
            let pattern: Vec<&str> = pattern.split('/').skip(1).collect();
            fits(&pattern, &path)
        });
        if !is_allowed {
            return Err(refused("the path is not in the origin's `paths`"));
        }
        let is_range = |header: &types::Header| rules::is_same_header(&header.name, "range");
        if self.is_signed(request, name) && request.headers.iter().any(is_range) {
            let method = Name(request.method);
            return Err(format!(
                "the host does not allow {method} {url}: header `Range` with a request that carries a credential"
            ));
        }
        Ok(name)
    }

    /// Whether a request to this origin carries a credential.
    fn is_signed(&self, request: &wire::Request, origin: &str) -> bool {
        let is_for = |facts: &toml::Value| {
            let origins = facts.get("origins").and_then(toml::Value::as_array);
            origins.is_some_and(|origins| origins.iter().any(|own| own.as_str() == Some(origin)))
        };
        match request.credential {
            wire::Credential::Anonymous => false,
            wire::Credential::Declared => self.credentials.values().any(is_for),
            wire::Credential::Named(_) => true,
        }
    }

    /// What is refused whatever the origin: how the URL is written, header fields, names that are not declared.
    fn check_everywhere(&self, request: &wire::Request, url: &str) -> Result<(), String> {
        rules::check_url(url).map_err(|why| format!("a URL that {why}"))?;
        for (at, types::Header { name, value }) in request.headers.iter().enumerate() {
            let came_before = request.headers.iter().take(at).any(|other| other.name.eq_ignore_ascii_case(name));
            let why = if !rules::is_token(name) {
                "which is not a header name"
            } else if !value.bytes().all(|byte| matches!(byte, b'\t' | b' '..=b'~')) {
                "whose value is not visible ASCII"
            } else if rules::is_host_header(name) {
                "which only the host sets"
            } else if self.fills(name) {
                "which the host fills"
            } else if came_before && !name.eq_ignore_ascii_case("accept") {
                "twice"
            } else {
                continue;
            };
            return Err(format!("header `{name}`, {why}"));
        }
        if !self.is_whole {
            return Ok(());
        }
        if let Some(cost) = request.costs.iter().find(|cost| !self.has_budget(&cost.bucket)) {
            return Err(format!("plugin.toml has no [budgets.{}]", cost.bucket));
        }
        match &request.credential {
            wire::Credential::Named(name) if !self.credentials.contains_key(name) => {
                Err(format!("plugin.toml has no [credentials.{name}]"))
            }
            _ if self.idempotency.is_none() && matches!(request.repeat, wire::Repeat::Keyed) => {
                Err("a keyed request needs [idempotency] in plugin.toml".to_owned())
            }
            _ => Ok(()),
        }
    }

    /// Whether the host writes this header field: a credential, or a key that it made.
    fn fills(&self, header: &str) -> bool {
        let facts = self.credentials.values().chain(&self.idempotency);
        facts.filter_map(|facts| facts.get("header")?.as_str()).any(|own| rules::is_same_header(own, header))
    }

    /// What a rule makes of this answer with this body.
    pub(super) fn judge(&self, origin: &str, response: &Response, body: &[u8]) -> Option<Judged> {
        let body: Value = serde_json::from_slice(body).unwrap_or(Value::Null);
        let answer = self.answers.iter().find(|answer| {
            answer.origin.as_deref().is_none_or(|name| name == origin)
                && (answer.status.is_empty() || answer.status.contains(&response.status))
                && std::iter::once(&answer.condition)
                    .chain(&answer.and)
                    .all(|condition| condition.holds(response, &body))
        })?;
        let kind = ErrorKind::named(&answer.kind)?;
        let mut error = Error::new(kind, "the provider's answer says so");
        let text = |pointer: &Option<String>| texts_at(&body, pointer.as_deref()?).into_iter().next();
        error.provider_code = text(&answer.code);
        Some(Judged { error, retry_after_s: answer.retry_after_s, says_when: text(&answer.retry_at).is_some() })
    }
}

impl Condition {
    /// Whether it holds. A rule about statuses alone has one that says nothing, which always does.
    fn holds(&self, response: &Response, body: &Value) -> bool {
        let texts = match (&self.header, &self.pointer) {
            (Some(header), _) => {
                let values = response.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case(header));
                values.map(|(_, value)| value.clone()).collect()
            }
            (None, Some(pointer)) => texts_at(body, pointer),
            (None, None) => return true,
        };
        texts.iter().any(|text| match (&self.contains, &self.equals) {
            (Some(part), _) => text.to_ascii_lowercase().contains(&part.to_ascii_lowercase()),
            (None, Some(whole)) => text == whole,
            (None, None) => self.any_of.contains(text),
        })
    }
}

/// The texts, numbers and booleans at a JSON Pointer, in which `*` stands for any one item or member.
fn texts_at(body: &Value, pointer: &str) -> Vec<String> {
    let mut reached = vec![body];
    for segment in pointer.split('/').skip(1) {
        reached = reached
            .into_iter()
            .flat_map(|value| match (segment, value) {
                ("*", Value::Array(items)) => items.iter().collect(),
                ("*", Value::Object(members)) => members.values().collect(),
                _ => value.pointer(&format!("/{segment}")).into_iter().collect::<Vec<_>>(),
            })
            .collect();
    }
    let text = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        scalar @ (Value::Number(_) | Value::Bool(_)) => Some(scalar.to_string()),
        _ => None,
    };
    reached.into_iter().filter_map(text).collect()
}

fn base(origin: &str) -> String {
    format!("https://{origin}.fixture.test")
}

/// `*` is one segment, `**` any number of them.
fn fits(pattern: &[&str], path: &[&str]) -> bool {
    match (pattern, path) {
        ([], []) => true,
        (["**", rest @ ..], _) => (0..=path.len()).any(|skipped| fits(rest, &path[skipped..])),
        (["*", rest @ ..], [segment, path @ ..]) => !segment.is_empty() && fits(rest, path),
        ([own, rest @ ..], [segment, path @ ..]) => own == segment && fits(rest, path),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn patterns() {
        let fits = |pattern: &str, path: &str| {
            let pattern: Vec<&str> = pattern.split('/').skip(1).collect();
            let path: Vec<&str> = path.split('/').skip(1).collect();
            super::fits(&pattern, &path)
        };
        assert!(
            fits("/orders/**", "/orders/") && fits("/orders/**", "/orders/1/lines/") && fits("/orders/**", "/orders")
        );
        assert!(
            fits("/orders/*/", "/orders/1/") && !fits("/orders/*/", "/orders/1") && !fits("/orders/*/", "/orders//")
        );
        assert!(!fits("/orders/**", "/ordersx/"));
    }
}
