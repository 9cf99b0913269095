//! What a component says about itself, read before any of it is compiled or run.
//!
//! `wharfage build` writes two custom sections at the component's top level: the text of `plugin.toml`, and the
//! operations with their JSON Schemas. One file so says all: what the plugin needs, and what it can do. A component
//! without them, with two of one, or with one hidden inside a nested module is refused, for what an operator read must
//! be what the host enforces. Nothing here runs guest code; everything here is untrusted text with a size limit.
//!
//! [`Manifest`] has a field for each table of `plugin.toml`. What a table may say and what is wrong with it has its own
//! file, as `manifest/origin.rs`.

mod answer;
mod budget;
mod credential;
mod health;
mod operation;
mod origin;
mod poll;
mod secret;
mod socket;
mod webhook;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::auth::scopes::Needed;
use crate::component::Outline;
use crate::error::{Error, Kind, Result};
use crate::text::{is_token, shown, shown_lines, suggestion};

pub(crate) use crate::auth::facts::endpoint_parts;
pub use crate::auth::facts::{
    AssertionFacts, AwsFacts, BodyForm, ClientAuth, CredentialFacts, Oauth2Facts, Oauth2Flow, SelfSignedFacts,
    TokenAnswerFacts,
};
pub use answer::{AnswerRule, Condition, Idempotency, RequestIdHeader, RetryHeader};
pub use budget::{BudgetFacts, BudgetScope, RateHeaders, WeightFacts};
pub use health::HealthFacts;
use operation::operations_from_bytes;
pub use operation::{Effect, Operation, OperationFacts};
pub(crate) use operation::{OPERATIONS_BYTES_MAX, OPERATIONS_MAX, check_operations, check_operations_size};
pub use origin::OriginFacts;
pub(crate) use poll::EVERY_S_MAX;
pub use poll::{PollFacts, Recovery};
pub use secret::{JwtFacts, Purpose, SecretFacts};
pub use socket::{PingFacts, SocketFacts};
pub(crate) use webhook::Piece;
pub use webhook::{
    AnswerFacts, ChallengeFacts, ConditionFacts, JwtWebhookFacts, PartFacts, SecretEncoding, SignatureAlgorithm,
    SignatureEncoding, SignatureFacts, SignatureForm, Template, TimeFacts, TimeForm, TokenFacts, VerifyFacts,
    WebhookFacts,
};

/// Most bytes of a manifest.
pub(crate) const MANIFEST_BYTES_MAX: usize = 256 << 10;

/// Most origins of a manifest.
const ORIGINS_MAX: usize = 32;
/// Most budgets of a manifest.
const BUDGETS_MAX: usize = 64;
/// Most rows of `rate_headers`.
const RATE_HEADERS_MAX: usize = 32;
/// Most rows of `answers`: each is asked about every answer.
const ANSWERS_MAX: usize = 64;

/// Most bytes of an event's type.
const EVENT_TYPE_BYTES_MAX: usize = 128;

/// Most scopes that an operation or a poll names.
const SCOPES_MAX: usize = 32;
/// Most bytes of one of them.
const SCOPE_BYTES_MAX: usize = 1 << 10;

/// `plugin.toml`: a provider's facts.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Manifest {
    /// What it is.
    pub plugin: PluginFacts,
    /// Where it talks to, by the name that `{name}` stands for in request URLs.
    #[serde(default)]
    pub origins: BTreeMap<String, OriginFacts>,
    /// The secrets it uses, by name.
    #[serde(default)]
    pub secrets: BTreeMap<String, SecretFacts>,
    /// How secrets become credentials, by name.
    #[serde(default)]
    pub credentials: BTreeMap<String, CredentialFacts>,
    /// How fast the provider allows requests, by name of the bucket.
    #[serde(default)]
    pub budgets: BTreeMap<String, BudgetFacts>,
    /// What the body of an answer means, first match wins.
    #[serde(default)]
    pub answers: Vec<AnswerRule>,
    /// Headers that say how much is left, where they are not the usual ones.
    #[serde(default)]
    pub rate_headers: Vec<RateHeaders>,
    /// Where the host places an idempotency key it made.
    pub idempotency: Option<Idempotency>,
    /// A header by which the provider says whether trying again is of use.
    pub retry: Option<RetryHeader>,
    /// A header with the provider's id of a request, where it is not one of the usual ones.
    pub request_id: Option<RequestIdHeader>,
    /// What the operations do.
    #[serde(default)]
    pub operations: BTreeMap<String, OperationFacts>,
    /// The webhooks it takes, by name.
    #[serde(default)]
    pub webhooks: BTreeMap<String, WebhookFacts>,
    /// What it asks for anew from time to time, by name.
    #[serde(default)]
    pub polls: BTreeMap<String, PollFacts>,
    /// The sockets whose messages it takes, by name.
    #[serde(default)]
    pub sockets: BTreeMap<String, SocketFacts>,
    /// The events it emits, by type; nothing else leaves it.
    #[serde(default)]
    pub events: BTreeMap<String, EventFacts>,
    /// How a connection is probed.
    pub health: Option<HealthFacts>,
}

/// A type of event that a plugin emits.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct EventFacts {
    /// When it is emitted and what its data say, in a sentence.
    pub description: String,
}

/// The head of a manifest.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct PluginFacts {
    /// Its name: lower-case letters, digits and hyphens, beginning with a letter.
    pub name: String,
    /// Its version.
    pub version: semver::Version,
    /// The version of the contract it was made for.
    pub contract: semver::Version,
    /// The remote service's name.
    pub provider: String,
    /// A sentence.
    #[serde(default)]
    pub description: String,
}

/// Everything a component says before it runs: what it needs.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Needs {
    /// The facts.
    pub manifest: Manifest,
    /// The operations, in the order the plugin names them.
    pub operations: Vec<Operation>,
    /// The interfaces of the contract it imports, as `http`.
    pub imports: BTreeSet<String>,
    /// Everything else it imports, as `wasi:cli/stderr@0.2.6`.
    pub foreign_imports: BTreeSet<String>,
}

impl Needs {
    /// Reads what a component says about itself.
    ///
    /// # Errors
    /// [`Kind::Component`] where it is no plugin or says nothing; [`Kind::Configuration`] where its manifest is wrong.
    pub fn read(bytes: &[u8]) -> Result<Self> {
        let outline = Outline::read(bytes)?;
        outline.check_contract()?;
        let manifest = Manifest::from_bytes(outline.manifest()?)?;
        let operations = operations_from_bytes(outline.operations()?)?;
        let (imports, foreign_imports) = outline.imports();
        if let Some(stranger) = foreign_imports.iter().find(|name| !name.starts_with("wasi:")) {
            return Err(Error::component(format!(
                "the component imports `{}`, which no host of this contract offers",
                shown(stranger)
            )));
        }
        manifest.check_against(&operations)?;
        Ok(Self { manifest, operations, imports, foreign_imports })
    }

    /// Reads the schemas of all operations, as a host does with each when it needs it first.
    ///
    /// # Errors
    /// [`Kind::Component`] for the first that cannot be used.
    pub fn check_schemas(&self) -> Result<()> {
        self.operations.iter().try_for_each(Operation::check_schemas)
    }

    /// The scopes of a credential that are asked for in any case.
    pub(crate) fn scopes_always(&self, credential: &str) -> &[String] {
        match self.manifest.credentials.get(credential) {
            Some(CredentialFacts::Oauth2(facts)) => &facts.scopes,
            _ => &[],
        }
    }

    /// Which scopes an operation needs, in words: `scope a; or b, c`. Nothing where it needs none.
    pub fn scope_line(&self, operation: &str) -> Option<String> {
        let needed = self.manifest.scopes_of_operation(operation)?;
        let (first, others) = needed.any_of.split_first()?;
        let mut line = format!("scope {}", shown(first));
        for (what, list) in [("or", others), ("in part", needed.in_part)] {
            if !list.is_empty() {
                line += &format!("; {what} {}", list.iter().map(|scope| shown(scope)).collect::<Vec<_>>().join(", "));
            }
        }
        Some(line)
    }

    /// The operation of that name.
    ///
    /// # Errors
    /// [`Kind::UnknownOperation`] with the nearest names.
    pub fn operation(&self, name: &str) -> Result<&Operation> {
        self.operations.iter().find(|operation| operation.name == name).ok_or_else(|| {
            let names: Vec<&str> = self.operations.iter().map(|operation| operation.name.as_str()).collect();
            Error::new(
                Kind::UnknownOperation,
                format!("{} has no operation `{}`", self.manifest.plugin.name, shown(name)),
            )
            .with_details(suggestion(name, &names))
        })
    }
}

impl Manifest {
    /// Reads a `plugin.toml`.
    ///
    /// # Errors
    /// [`Kind::Configuration`] with line, caret and what was expected.
    pub fn parse(text: &str) -> Result<Self> {
        let manifest: Self = toml::from_str(text).map_err(|error| {
            Error::configuration("plugin.toml cannot be read").with_details(shown_lines(&error.to_string()))
        })?;
        manifest.check().map_err(|why| Error::configuration(format!("plugin.toml: {why}")))?;
        Ok(manifest)
    }

    /// The credential that goes on requests to an origin unless the plugin asks for another.
    pub fn declared_credential(&self, origin: &str) -> Option<&str> {
        let first = || {
            let covers = |facts: &&CredentialFacts| facts.origins().iter().any(|name| name == origin);
            self.credentials.iter().find(|(_, facts)| covers(facts)).map(|(name, _)| name.as_str())
        };
        self.origins.get(origin)?.credential.as_deref().or_else(first)
    }

    /// Whether a person's or a client's consent is asked for, which has scopes.
    pub fn has_consent(&self) -> bool {
        self.credentials.values().any(CredentialFacts::has_scopes)
    }

    /// The scopes that an operation needs, where it needs some.
    pub(crate) fn scopes_of_operation(&self, name: &str) -> Option<Needed<'_>> {
        let facts = self.operations.get(name)?;
        self.needed(facts.credential.as_deref(), &facts.scopes, &facts.partial_scopes)
    }

    /// The scopes that a poll needs, where it needs some.
    pub(crate) fn scopes_of_poll(&self, name: &str) -> Option<Needed<'_>> {
        let facts = self.polls.get(name)?;
        self.needed(facts.credential.as_deref(), &facts.scopes, &facts.partial_scopes)
    }

    fn needed<'a>(&'a self, named: Option<&'a str>, any_of: &'a [String], in_part: &'a [String]) -> Option<Needed<'a>> {
        let credential = named.or_else(|| self.consented())?;
        (!any_of.is_empty()).then_some(Needed { credential, any_of, in_part })
    }

    /// The credential that a consent with scopes is for, if there is one such.
    fn consented(&self) -> Option<&str> {
        let mut all = self.credentials.iter().filter(|(_, facts)| facts.has_scopes());
        let first = all.next().map(|(name, _)| name.as_str());
        first.filter(|_| all.next().is_none())
    }

    /// Checks what an operation or a poll says of scopes.
    fn check_scopes(
        &self,
        credential: Option<&String>,
        any_of: &[String],
        in_part: &[String],
        (source, date): (&str, &str),
    ) -> std::result::Result<(), String> {
        if any_of.is_empty() {
            return match credential.is_some() || !in_part.is_empty() {
                true => Err("says nothing about `scopes`, and something about which".to_owned()),
                false => Ok(()),
            };
        }
        if any_of.len() + in_part.len() > SCOPES_MAX {
            return Err(format!("names more than {SCOPES_MAX} scopes"));
        }
        let is_octet = |byte: u8| matches!(byte, 0x21 | 0x23..=0x5b | 0x5d..=0x7e);
        let is_scope = |part: &str| !part.is_empty() && part.bytes().all(is_octet);
        let is_good = |written: &String| written.len() <= SCOPE_BYTES_MAX && written.split(' ').all(is_scope);
        if let Some(wrong) = any_of.iter().chain(in_part).find(|written| !is_good(written)) {
            return Err(format!("has the scope `{}`: it is written as RFC 6749, 3.3, has it", shown(wrong)));
        }
        dated(source, date).map_err(|_| "has scopes, which are facts: say their source and date".to_owned())?;
        let named = credential.map(String::as_str).or_else(|| self.consented());
        match named.map(|name| (name, self.credentials.get(name))) {
            Some((_, Some(CredentialFacts::Oauth2(facts)))) if facts.has_scopes() => Ok(()),
            Some((name, _)) => {
                Err(format!("has scopes of the credential `{}`, which is none that a consent is for", shown(name)))
            }
            None => Err("has scopes: say of which credential of the scheme oauth2:   credential = \"…\"".to_owned()),
        }
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self> {
        if bytes.len() > MANIFEST_BYTES_MAX {
            return Err(Error::component(format!(
                "the manifest is {} bytes long; the limit manifest_bytes_max is {MANIFEST_BYTES_MAX}",
                bytes.len()
            )));
        }
        let text = std::str::from_utf8(bytes).map_err(|_| Error::component("the manifest is not UTF-8 text"))?;
        Self::parse(text)
    }

    /// What is wrong with it, if anything is: mostly a name that points at nothing.
    fn check(&self) -> std::result::Result<(), String> {
        if !is_name(&self.plugin.name) {
            return Err(format!(
                "plugin.name `{}` must be 1 to 64 lower-case letters, digits and hyphens, beginning with a letter",
                shown(&self.plugin.name)
            ));
        }
        self.check_names()?;
        self.check_numbers()?;
        for (name, facts) in &self.origins {
            facts.check(name, self).map_err(|why| format!("origins.{name} {why}"))?;
        }
        for (name, facts) in &self.secrets {
            facts.check(self).map_err(|why| format!("secrets.{name} {why}"))?;
        }
        for (name, facts) in &self.credentials {
            facts.check(name, self)?;
        }
        for (name, facts) in &self.webhooks {
            if !is_name(name) {
                return Err(format!(
                    "webhooks.{} must be called in lower-case letters, digits and hyphens",
                    shown(name)
                ));
            }
            facts.check(self).map_err(|why| format!("webhooks.{name} {why}"))?;
        }
        for (name, facts) in &self.budgets {
            facts.check(self).map_err(|why| format!("budgets.{name} {why}"))?;
        }
        for (name, facts) in &self.polls {
            check_name("polls", name)?;
            let from = (facts.source.as_str(), facts.date.as_str());
            let scopes = || self.check_scopes(facts.credential.as_ref(), &facts.scopes, &facts.partial_scopes, from);
            facts.check().and_then(|()| scopes()).map_err(|why| format!("polls.{name} {why}"))?;
        }
        if let Some(health) = &self.health {
            health.check().map_err(|why| format!("[health] {why}"))?;
        }
        for (name, facts) in &self.sockets {
            check_name("sockets", name)?;
            facts.check(self).map_err(|why| format!("sockets.{name} {why}"))?;
        }
        if let Some(name) = self.events.keys().find(|name| name.starts_with("wharfage.")) {
            return Err(format!("events.\"{}\" begins like the host's own events; call it otherwise", shown(name)));
        }
        for (name, facts) in &self.operations {
            let from = (facts.source.as_str(), facts.date.as_str());
            self.check_scopes(facts.credential.as_ref(), &facts.scopes, &facts.partial_scopes, from)
                .map_err(|why| format!("operations.\"{}\" {why}", shown(name)))?;
        }
        for (index, rule) in self.answers.iter().enumerate() {
            rule.check(index, self)?;
        }
        if self.idempotency.as_ref().is_some_and(|place| place.header.is_some() == place.query.is_some()) {
            return Err("idempotency needs one place for its key: `header` or `query`".to_owned());
        }
        for (index, named) in self.rate_headers.iter().enumerate() {
            named.check(self).map_err(|why| format!("rate_headers[{index}] {why}"))?;
        }
        Ok(())
    }

    /// Checks what things are called: a name becomes a line of configuration, a file and a text that people read.
    fn check_names(&self) -> std::result::Result<(), String> {
        let mut names = self
            .origins
            .keys()
            .map(|name| ("origins", name))
            .chain(self.secrets.keys().map(|name| ("secrets", name)))
            .chain(self.credentials.keys().map(|name| ("credentials", name)))
            .chain(self.budgets.keys().map(|name| ("budgets", name)));
        if let Some((table, name)) = names.find(|(_, name)| !is_word(name)) {
            return Err(format!("{table}: `{}` must be 1 to 64 letters, digits, `-` and `_`", shown(name)));
        }
        let is_type = |name: &String| name.len() <= EVENT_TYPE_BYTES_MAX && name.split('.').all(is_word);
        if let Some(name) = self.events.keys().find(|name| !is_type(name)) {
            return Err(format!(
                "events: `{}` must be words of letters, digits, `-` and `_`, joined by dots, at most \
                 {EVENT_TYPE_BYTES_MAX} bytes together",
                shown(name)
            ));
        }
        let single = [
            self.idempotency.as_ref().and_then(|place| place.header.as_deref()),
            self.retry.as_ref().map(|retry| retry.header.as_str()),
            self.request_id.as_ref().map(|id| id.header.as_str()),
        ];
        let mut headers = single.into_iter().flatten().chain(self.rate_headers.iter().flat_map(RateHeaders::names));
        match headers.find(|name| !is_token(name)) {
            Some(name) => Err(format!("`{}` is no name that a header can have", shown(name))),
            None => Ok(()),
        }
    }

    /// Checks how many there are of what every request or answer is asked about.
    fn check_numbers(&self) -> std::result::Result<(), String> {
        let numbers = [
            ("origins", self.origins.len(), ORIGINS_MAX),
            ("budgets", self.budgets.len(), BUDGETS_MAX),
            ("rate_headers", self.rate_headers.len(), RATE_HEADERS_MAX),
            ("answers", self.answers.len(), ANSWERS_MAX),
        ];
        match numbers.into_iter().find(|(_, number, most)| number > most) {
            Some((table, number, most)) => Err(format!("{number} {table} are more than the {most} there may be")),
            None => Ok(()),
        }
    }

    /// Checks that manifest and operations speak of the same.
    pub(crate) fn check_against(&self, operations: &[Operation]) -> Result<()> {
        for (name, facts) in &self.operations {
            match operations.iter().find(|operation| &operation.name == name) {
                None => {
                    return Err(Error::component(format!(
                        "the manifest speaks of the operation `{}`, which the plugin does not have",
                        shown(name)
                    )));
                }
                Some(operation) if operation.effect != facts.effect => {
                    return Err(Error::component(format!(
                        "the manifest says that `{}` is {:?}, the plugin says {:?}",
                        shown(name),
                        facts.effect,
                        operation.effect
                    )));
                }
                Some(_) => {}
            }
        }
        if let Some(health) = &self.health
            && let Err(why) = health.check_against(operations)
        {
            return Err(Error::component(format!("the manifest's [health] {why}")));
        }
        Ok(())
    }
}

/// What a TOML text says, as JSON. A date without quotes is none: an object that nobody wrote would come of it.
pub(crate) fn json_of(said: &impl Serialize) -> std::result::Result<serde_json::Value, String> {
    let value = serde_json::to_value(said).map_err(|error| error.to_string())?;
    match bare_date(&value) {
        Some(date) => Err(format!("{date} is a date; write it as text:   \"{date}\"")),
        None => Ok(value),
    }
}

/// The first date without quotes, which is an object of one field by the time it is JSON.
fn bare_date(value: &serde_json::Value) -> Option<&str> {
    match value {
        serde_json::Value::Object(fields) => match fields.get("$__toml_private_datetime") {
            Some(date) => date.as_str(),
            None => fields.values().find_map(bare_date),
        },
        serde_json::Value::Array(items) => items.iter().find_map(bare_date),
        _ => None,
    }
}

/// Whether it is of 1 to 64 letters, digits, `-` and `_`, which no shell, file or line of configuration reads otherwise.
fn is_word(name: &str) -> bool {
    (1..=64).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
}

fn is_name(name: &str) -> bool {
    name.len() <= 64
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
}

/// Refuses a name that is of anything else than lower-case letters, digits and hyphens.
fn check_name(table: &str, name: &str) -> std::result::Result<(), String> {
    match is_name(name) {
        true => Ok(()),
        false => Err(format!("{table}: `{}` must be a name of lower-case letters, digits and hyphens", shown(name))),
    }
}

/// Whether a fact says who says so, and when that was read.
fn dated(source: &str, date: &str) -> std::result::Result<(), String> {
    match source.is_empty() || date.is_empty() {
        true => Err("is a fact: say its source and date".to_owned()),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::answer::{ANY_OF_MAX, CONDITIONS_MAX};
    use super::budget::WEIGHTS_MAX;
    use super::*;
    use crate::text::is_unshowable;

    const PLAIN: &str = r#"
        [plugin]
        name = "acme"
        version = "1.2.3"
        contract = "0.1.0"
        provider = "Acme"
        [origins.api]
        url = "https://api.test"
        methods = ["GET"]
        paths = ["/**"]
        credential = "key"
        source = "docs"
        date = "2026-01-01"
        [secrets.api_key]
        [credentials.key]
        scheme = "api-key"
        secret = "api_key"
        query = "apikey"
        origins = ["api"]
    "#;

    /// A credential of the flow `exchange`, before the secrets.
    fn signed(more: &str) -> String {
        format!(
            "[origins.host]\nurl='https://h.test'\nmethods=['POST']\npaths=['/**']\nhost_only=true\nsource='s'\ndate='d'\n\
             [credentials.app]\nscheme='oauth2'\nflow = 'exchange'\ntoken='{{host}}/of/{{api_key}}/tokens'\nclient_id='api_key'\n\
             assertion={{ key='api_key', algorithm='RS256' }}\norigins=['api']\nsource='s'\ndate='d'\n{more}\n[secrets.api_key]"
        )
    }

    #[test]
    fn reads_a_plain_manifest() {
        let app = Manifest::parse(&PLAIN.replace("[secrets.api_key]", &signed(""))).unwrap();
        assert!(!app.has_consent() && app.credentials["app"].secrets().len() == 3);
        let manifest = Manifest::parse(PLAIN).unwrap();
        assert_eq!(manifest.plugin.name, "acme");
        assert_eq!(manifest.secrets["api_key"].purpose, Purpose::Credential);
    }

    #[test]
    fn a_wrong_manifest_says_where_and_what() {
        for (from, to, expected) in [
            ("secret = \"api_key\"", "secret = \"other\"", "not declared"),
            ("source = \"docs\"", "source = \"\"", "say its source and date"),
            ("name = \"acme\"", "name = \"Acme Corp\"", "lower-case"),
            ("query = \"apikey\"", "query = \"a\"\nheader = \"b\"", "exactly one place"),
            ("query = \"apikey\"", "body = \"a\"\ncookie = \"b\"\npath = \"{c}\"", "exactly one place"),
            ("query = \"apikey\"", "prefix = \"a\"", "exactly one place"),
            ("query = \"apikey\"", "cookie = \"a=b;c\"", "no name"),
            ("query = \"apikey\"", "header = \"\"", "no name"),
            ("query = \"apikey\"", "body = \"\"", "empty"),
            ("query = \"apikey\"", "path = \"key\"", "in braces"),
            ("query = \"apikey\"", "path = \"{a/b}\"", "in braces"),
            (
                "[credentials.key]",
                "[credentials.\"jwt:1\"]\nscheme = 'bearer'\nsecret = 'api_key'\norigins = []\n[credentials.key]",
                "credentials: `jwt:1` must be",
            ),
            ("[secrets.api_key]", "[secrets.s]\npurpose = 'sign'\n[secrets.api_key]", "algorithms = [\"hmac-sha256\"]"),
            (
                "[secrets.api_key]",
                "[secrets.s]\npurpose = 'sign'\nalgorithms = ['hmac-sha256']\n[secrets.api_key]",
                "template = ",
            ),
            ("[secrets.api_key]", "[secrets.s]\npurpose = 'verify'\nalgorithms = ['md5']\n[secrets.api_key]", "`md5`"),
            ("[secrets.api_key]", "[secrets.api_key]\ntemplate = 'v1*'", "purpose"),
            ("[secrets.api_key]", "[secrets.api_key]\njwt = { algorithm = 'RS256' }", "purpose"),
            (
                "[secrets.api_key]",
                "[secrets.s]\npurpose='sign'\njwt = { algorithm = 'none' }\n[secrets.api_key]",
                "`none`",
            ),
            (
                "[secrets.api_key]",
                "[secrets.s]\npurpose='sign'\njwt = { algorithm = 'RS256' }\n[secrets.api_key]",
                "origins =",
            ),
            (
                "[secrets.api_key]",
                "[secrets.s]\npurpose='verify'\njwt = { algorithm = 'RS256' }\n[secrets.api_key]",
                "issuer =",
            ),
            (
                "[secrets.api_key]",
                "[secrets.s]\npurpose='verify'\njwt = { algorithm = 'RS256', issuer = 'i' }\n[secrets.api_key]",
                "audience =",
            ),
            (
                "[secrets.api_key]",
                "[secrets.s]\npurpose='verify'\njwt = { algorithm = 'RS256', issuer = 'i', audience = ['a'], jwks = '{api}/k' }\n[secrets.api_key]",
                "host_only",
            ),
            ("[secrets.api_key]", "[operations.o]\neffect='read'\nscopes=['a']\n[secrets.api_key]", "source and date"),
            (
                "[secrets.api_key]",
                "[operations.o]\neffect='read'\nscopes=['a']\nsource='s'\ndate='d'\n[secrets.api_key]",
                "credential =",
            ),
            (
                "[secrets.api_key]",
                "[operations.o]\neffect='read'\nscopes=['a']\ncredential='key'\nsource='s'\ndate='d'\n[secrets.api_key]",
                "none that a consent is for",
            ),
            (
                "[secrets.api_key]",
                "[operations.o]\neffect='read'\nscopes=['a  b']\nsource='s'\ndate='d'\n[secrets.api_key]",
                "RFC 6749",
            ),
            (
                "[secrets.api_key]",
                "[operations.o]\neffect='read'\npartial_scopes=['a']\n[secrets.api_key]",
                "nothing about",
            ),
            ("[secrets.api_key]", &signed("token_params = { a = 'b' }"), "sends no form"),
            ("[secrets.api_key]", &signed("scopes = ['a']"), "sends no form"),
            (
                "[secrets.api_key]",
                &signed("flow = 'client-credentials'").replace("flow = 'exchange'\n", ""),
                "flow `exchange`",
            ),
            ("[secrets.api_key]", &signed("").replace("{api_key}", "{other}"), "not declared"),
            ("[secrets.api_key]", &signed("").replace("RS256", "RS265"), "`RS265`; there are"),
            ("[secrets.api_key]", &signed("lifetime_s = 0"), "not of 1 to 316224000"),
            ("[secrets.api_key]", &signed("lifetime_s = 99999999999999999"), "not of 1 to 316224000"),
            (
                "origins = [\"api\"]",
                "origins = [\"o\"]\n[origins.o]\nurl='https://o.test'\nmethods=[]\npaths=[]\nsource='s'\ndate='d'",
                "set in [credentials.key]   origins = [\"o\", \"api\"]",
            ),
            (
                "[secrets.api_key]",
                "[credentials.app]\nscheme='jwt'\nsecret='api_key'\nalgorithm='HS256'\norigins=['api']\nclaims={ since = [2026-01-01] }\n[secrets.api_key]",
                "write it as text:   \"2026-01-01\"",
            ),
            ("methods = [\"GET\"]", "method = [\"GET\"]", "method"),
            (
                "origins = [\"api\"]",
                "origins = []\n[origins.o]\nurl='https://o.test'\nmethods=[]\npaths=[]\nsource='s'\ndate='d'\ncredential_optional = true",
                "credential_optional",
            ),
        ] {
            let error = Manifest::parse(&PLAIN.replace(from, to)).unwrap_err();
            assert!(error.to_string().contains(expected), "{error}");
        }
    }

    /// A name goes into paths, into lines of configuration and onto terminals.
    #[test]
    fn a_name_that_is_no_word_is_refused_in_every_table_and_not_shown_as_it_is() {
        let long = "a".repeat(65);
        for name in ["", "a b", "../key", "/etc/key", "a.b", "a:b", "a\nb", "a\u{1b}[2J", "a\u{202e}b", long.as_str()] {
            // What JSON writes as text is a key to TOML.
            let key = serde_json::Value::from(name);
            for (table, rest) in [
                ("origins", "url='https://o.test'\nmethods=[]\npaths=[]\nsource='s'\ndate='d'"),
                ("secrets", ""),
                ("credentials", "scheme='bearer'\nsecret='api_key'\norigins=[]"),
                ("budgets", "concurrency=1\nsource='s'\ndate='d'"),
                ("events", "description='d'"),
            ] {
                let parsed = Manifest::parse(&format!("{PLAIN}\n[{table}.{key}]\n{rest}"));
                if (table, name) == ("events", "a.b") {
                    parsed.unwrap();
                    continue;
                }
                let error = parsed.unwrap_err();
                assert!(error.message().starts_with(&format!("plugin.toml: {table}: `")), "{name:?}: {error}");
                assert!(!error.to_string().contains(is_unshowable), "{name:?}: {error:?}");
            }
        }
        for more in [
            "[idempotency]\nheader = \"a b\"",
            "[retry]\nheader = \"a\\nb\"",
            "[request_id]\nheader = \"\"",
            "[[rate_headers]]\nreset = \"a:\"",
            "[[answers]]\nheader = \"a b\"\nequals = \"c\"\nkind = \"transient\"",
        ] {
            let error = Manifest::parse(&format!("{PLAIN}\n{more}")).unwrap_err();
            assert!(error.message().contains("header can have"), "{error}");
        }
    }

    #[test]
    fn there_are_only_so_many_of_what_every_answer_is_asked_about() {
        let rule = "\n[[answers]]\npointer='/a'\ncontains='b'\nkind='transient'\n";
        let facts = "source='s'\ndate='d'\n";
        let many = |number: usize, each: &dyn Fn(usize) -> String| (0..number).map(each).collect::<String>();
        let budget = |at: usize| format!("\n[budgets.b{at}]\nconcurrency=1\n{facts}");
        let origin = |at: usize| format!("\n[origins.o{at}]\nurl='https://o{at}.test'\nmethods=[]\npaths=[]\n{facts}");
        let weight = |_: usize| "{units=0},".to_owned();
        let condition = |_: usize| "{pointer='/a',equals='b'},".to_owned();
        let text = |_: usize| "'b',".to_owned();
        let row = |_: usize| "\n[[rate_headers]]\nreset='x'\n".to_owned();
        let weighed = |number| format!("{}weights=[{}]", budget(0), many(number, &weight));
        let conditioned = |number| format!("{rule}and=[{}]", many(number, &condition));
        let any_of = |number| rule.replace("contains='b'", &format!("any_of=[{}]", many(number, &text)));
        for (most, more, told) in [
            (many(ORIGINS_MAX - 1, &origin), many(ORIGINS_MAX, &origin), "33 origins"),
            (many(BUDGETS_MAX, &budget), many(BUDGETS_MAX + 1, &budget), "65 budgets"),
            (many(RATE_HEADERS_MAX, &row), many(RATE_HEADERS_MAX + 1, &row), "33 rate_headers"),
            (rule.repeat(ANSWERS_MAX), rule.repeat(ANSWERS_MAX + 1), "65 answers"),
            (weighed(WEIGHTS_MAX), weighed(WEIGHTS_MAX + 1), "64 weights"),
            (conditioned(CONDITIONS_MAX - 1), conditioned(CONDITIONS_MAX), "8 conditions"),
            (any_of(ANY_OF_MAX), any_of(ANY_OF_MAX + 1), "64 texts"),
            (rule.to_owned(), rule.replace("'b'", "''"), "empty `contains`"),
        ] {
            Manifest::parse(&format!("{PLAIN}{most}")).unwrap();
            let error = Manifest::parse(&format!("{PLAIN}{more}")).unwrap_err();
            assert!(error.message().contains(told), "{error}");
        }
    }
}
