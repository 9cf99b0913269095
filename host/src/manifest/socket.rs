//! `[sockets.<name>]` of a manifest.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::{Manifest, dated};
use crate::text::shown;

/// A socket that the host keeps open for the plugin.
///
/// ```toml
/// [sockets.trades]
/// description = "Trades of one market, as they happen"
/// origin = "stream"                    # an origin with a base of https://, which is spoken to as wss://
/// path = "/ws/v1"                      # below the base; GET must be among the origin's methods
/// parameters = ["market"]              # what a connection says, for {market} in path and messages
/// subscribe = ['{"op":"subscribe","channel":"trades","market":"{market}"}']
/// ping = { message = '{"type":"ping"}', answer = '{"type":"pong"}', every_s = 30 }
/// stop_codes = [4003]
/// sign_in_codes = [4401]
/// source = "https://docs.example.org/stream"
/// date = "2026-11-24"
/// ```
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct SocketFacts {
    /// What it tells of, in a sentence.
    #[serde(default)]
    pub description: String,
    /// The origin that it is opened at.
    pub origin: String,
    /// Path and query below the origin's base, beginning with `/`; `{name}` stands for a parameter.
    pub path: String,
    /// What a connection may say, for `{name}` in the path and in messages that are sent at once.
    #[serde(default)]
    pub parameters: Vec<String>,
    /// The messages that are sent first, in this order, each time that it is opened.
    #[serde(default)]
    pub subscribe: Vec<String>,
    /// The subprotocol (RFC 6455, 1.9), where the provider wants one.
    pub protocol: Option<String>,
    /// Whether what the plugin sends are binary messages; they are text where this is left out.
    #[serde(default)]
    pub binary: bool,
    /// Seconds of silence after which the host asks whether anybody is there.
    #[serde(default = "thirty")]
    pub ping_s: u64,
    /// Seconds in which an answer to that must come, and in which the provider must take what is sent.
    #[serde(default = "ten")]
    pub pong_s: u64,
    /// The provider's own way of asking, beside that of the protocol.
    pub ping: Option<PingFacts>,
    /// Codes of a close after which it stays closed.
    #[serde(default)]
    pub stop_codes: Vec<u16>,
    /// Codes of a close that mean the credential ended: it is renewed once, and then the socket stays closed.
    #[serde(default)]
    pub sign_in_codes: Vec<u16>,
    /// Seconds after which an open socket counts as stable, so that the next wait is a short one again.
    #[serde(default = "thirty")]
    pub stable_after_s: u64,
    /// Who says so.
    #[serde(default)]
    pub source: String,
    /// When that was read.
    #[serde(default)]
    pub date: String,
}

/// A message that keeps a socket open.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct PingFacts {
    /// What the host sends.
    pub message: String,
    /// What comes back: the same text, or a JSON object that has these members among others. It is not handed to the
    /// plugin. Without it no answer is waited for.
    pub answer: Option<String>,
    /// Seconds between two of them.
    pub every_s: u64,
}

/// Most seconds of anything here: an hour.
const SECONDS_MAX: u64 = 3_600;

/// Most messages that are sent at once, and most parameters.
const MESSAGES_MAX: usize = 100;

/// Most bytes of one such message.
const MESSAGE_BYTES_MAX: usize = 16 << 10;

fn ten() -> u64 {
    10
}

fn thirty() -> u64 {
    30
}

impl SocketFacts {
    /// Refuses what could not run; the sentence goes on after the socket's name.
    pub(super) fn check(&self, manifest: &Manifest) -> Result<(), String> {
        dated(&self.source, &self.date)?;
        let origin = match manifest.origins.get(&self.origin) {
            Some(origin) if !origin.host_only => origin,
            _ => return Err(format!("is at `{}`, which is no origin the plugin asks", shown(&self.origin))),
        };
        if origin.url.starts_with("ws") {
            let url = origin.url.replacen("ws", "http", 1);
            return Err(format!("begins as a request: in [origins.{}] write   url = \"{}\"", self.origin, shown(&url)));
        }
        if !origin.methods.iter().any(|method| method == "GET") {
            return Err(format!("begins as a GET, which is not among the methods of origins.{}", shown(&self.origin)));
        }
        if !self.path.starts_with('/') {
            return Err("has a path that does not begin with `/`".to_owned());
        }
        let texts = self.subscribe.iter().chain(self.ping.iter().map(|ping| &ping.message));
        if self.subscribe.len() > MESSAGES_MAX
            || self.parameters.len() > MESSAGES_MAX
            || texts.into_iter().any(|text| text.is_empty() || text.len() > MESSAGE_BYTES_MAX)
        {
            return Err(format!(
                "sends more than {MESSAGES_MAX} messages at once, or one that is not of 1 to {MESSAGE_BYTES_MAX} bytes"
            ));
        }
        let is_name = |name: &String| !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        if let Some(name) = self.parameters.iter().find(|name| !is_name(name)) {
            return Err(format!("has the parameter `{}`: letters, digits and `_` only", shown(name)));
        }
        let is_token =
            |name: &String| !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b));
        if self.protocol.as_ref().is_some_and(|name| !is_token(name)) {
            return Err("has a protocol that is no name: letters, digits, `-`, `.` and `_` only".to_owned());
        }
        let every_s = self.ping.as_ref().map_or(1, |ping| ping.every_s);
        let spans = [("ping_s", self.ping_s), ("pong_s", self.pong_s), ("ping.every_s", every_s)];
        let spans = spans.into_iter().chain([("stable_after_s", self.stable_after_s)]);
        if let Some((name, _)) = spans.into_iter().find(|(_, seconds)| !(1..=SECONDS_MAX).contains(seconds)) {
            return Err(format!("has a {name} that is not 1 to {SECONDS_MAX} seconds"));
        }
        let is_code = |code: &&u16| (1000..=4999).contains(*code);
        if let Some(code) = self.stop_codes.iter().chain(&self.sign_in_codes).find(|code| !is_code(code)) {
            return Err(format!("names the close code {code}; they are 1000 to 4999"));
        }
        match self.stop_codes.iter().find(|code| self.sign_in_codes.contains(code)) {
            Some(code) => Err(format!("has the code {code} among stop_codes and among sign_in_codes")),
            None => Ok(()),
        }
    }

    /// The URL that it is opened at, with these values in it.
    ///
    /// # Errors
    /// What the connection has to say, or may not.
    pub(crate) fn url(&self, values: &BTreeMap<String, String>) -> Result<String, String> {
        let is_plain = |value: &str| value.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~".contains(&b));
        let path = self.filled(&self.path, values, |name, value| match is_plain(value) && !value.is_empty() {
            true => Ok(value.to_owned()),
            false => Err(format!("values.{name} stands in a URL: letters, digits and `-._~` only")),
        })?;
        Ok(format!("{{{}}}{path}", self.origin))
    }

    /// The messages that are sent first, with these values in them. A value stands within a JSON string.
    ///
    /// # Errors
    /// As for [`SocketFacts::url`].
    pub(crate) fn first_messages(&self, values: &BTreeMap<String, String>) -> Result<Vec<String>, String> {
        let fill = |text: &String| self.filled(text, values, |_, value| Ok(escaped(value)));
        self.subscribe.iter().map(fill).collect()
    }

    /// What a connection says and nobody asks for.
    pub(crate) fn stranger<'a>(&self, values: &'a BTreeMap<String, String>) -> Option<&'a String> {
        values.keys().find(|name| !self.parameters.contains(name))
    }

    /// One pass from left to right, so that no value is read as a place for another.
    fn filled(
        &self,
        text: &str,
        values: &BTreeMap<String, String>,
        write: impl Fn(&str, &str) -> Result<String, String>,
    ) -> Result<String, String> {
        let mut filled = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(at) = rest.find('{') {
            filled.push_str(&rest[..at]);
            rest = &rest[at..];
            let named = self
                .parameters
                .iter()
                .find(|name| rest[1..].strip_prefix(name.as_str()).is_some_and(|after| after.starts_with('}')));
            match named {
                Some(name) => {
                    let value = values.get(name).ok_or_else(|| format!("needs   values.{name} = \"…\""))?;
                    filled.push_str(&write(name, value)?);
                    rest = &rest[name.len() + 2..];
                }
                None => {
                    filled.push('{');
                    rest = &rest[1..];
                }
            }
        }
        filled.push_str(rest);
        Ok(filled)
    }
}

impl PingFacts {
    /// Whether a message is the answer that is waited for.
    #[cfg_attr(not(feature = "serve"), allow(dead_code, reason = "sockets are kept open by what listens"))]
    pub(crate) fn is_answer(&self, message: &[u8]) -> bool {
        let Some(answer) = &self.answer else { return false };
        if message == answer.as_bytes() {
            return true;
        }
        // What is much longer says more than that somebody is there.
        if message.len() > answer.len().saturating_mul(4).saturating_add(256) {
            return false;
        }
        match (serde_json::from_slice(message), serde_json::from_str(answer)) {
            (Ok(Value::Object(message)), Ok(Value::Object(answer))) => {
                !answer.is_empty() && answer.iter().all(|(name, value)| message.get(name) == Some(value))
            }
            _ => false,
        }
    }
}

/// As it stands within a JSON string.
fn escaped(value: &str) -> String {
    let quoted = Value::from(value).to_string();
    quoted[1..quoted.len() - 1].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MANIFEST: &str = r#"
        [plugin]
        name = "streamer"
        version = "1.0.0"
        contract = "0.1.0"
        provider = "Stand-in"
        [origins.stream]
        url = "https://stream.test"
        methods = ["GET"]
        paths = ["/**"]
        source = "s"
        date = "d"
        [sockets.trades]
        origin = "stream"
        path = "/ws?market={market}"
        parameters = ["market", "depth"]
        subscribe = ['{"op":"subscribe","market":"{market}","{other}":{}}']
        ping = { message = '{"type":"ping"}', answer = '{"type":"pong"}', every_s = 20 }
        stop_codes = [4003]
        sign_in_codes = [4401]
        source = "s"
        date = "d"
    "#;

    fn facts() -> SocketFacts {
        Manifest::parse(MANIFEST).unwrap().sockets.remove("trades").unwrap()
    }

    fn values(of: &[(&str, &str)]) -> BTreeMap<String, String> {
        of.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn values_stand_where_their_names_do_and_nowhere_else() {
        let facts = facts();
        let good = values(&[("market", "BTC-EUR")]);
        assert_eq!(facts.url(&good).unwrap(), "{stream}/ws?market=BTC-EUR");
        assert_eq!(facts.first_messages(&good).unwrap(), [r#"{"op":"subscribe","market":"BTC-EUR","{other}":{}}"#]);
        let quoted = values(&[("market", "a\"}{depth}"), ("depth", "9")]);
        assert_eq!(
            facts.first_messages(&quoted).unwrap(),
            [r#"{"op":"subscribe","market":"a\"}{depth}","{other}":{}}"#]
        );
        assert!(facts.url(&quoted).unwrap_err().contains("values.market"));
        assert!(facts.url(&values(&[])).unwrap_err().contains("values.market"));
        assert_eq!(facts.stranger(&values(&[("pair", "x")])).unwrap(), "pair");
    }

    #[test]
    fn an_answer_is_known_by_what_it_must_say() {
        let ping = facts().ping.unwrap();
        for (message, is_answer) in [
            (r#"{"type":"pong"}"#, true),
            (r#"{"ts":1,"type":"pong"}"#, true),
            (r#"{"type":"trade","note":"{\"type\":\"pong\"}"}"#, false),
            (r#"[{"type":"pong"}]"#, false),
            ("pong", false),
            ("\u{0}", false),
        ] {
            assert_eq!(ping.is_answer(message.as_bytes()), is_answer, "{message}");
        }
        let text = PingFacts { message: "ping".into(), answer: Some("pong".into()), every_s: 1 };
        assert!(text.is_answer(b"pong") && !text.is_answer(b"pong!"));
        let none = PingFacts { message: "ping".into(), answer: None, every_s: 1 };
        assert!(!none.is_answer(b"pong") && !none.is_answer(b""));
    }

    #[test]
    fn what_could_not_run_is_refused_in_a_sentence() {
        for (from, to, says) in [
            ("date = \"d\"\n    ", "", "source and date"),
            ("origin = \"stream\"", "origin = \"api\"", "no origin"),
            ("https://stream.test", "wss://stream.test", "url = \"https://stream.test\""),
            ("methods = [\"GET\"]", "methods = [\"POST\"]", "GET"),
            ("path = \"/ws", "path = \"ws", "begin with `/`"),
            ("\"depth\"]", "\"de}pth\"]", "parameter"),
            ("every_s = 20", "every_s = 0", "ping.every_s"),
            ("every_s = 20", "every_s = 3601", "ping.every_s"),
            ("[4003]", "[999]", "999"),
            ("[4003]", "[4401]", "4401"),
        ] {
            assert!(MANIFEST.contains(from), "{from}");
            let at = MANIFEST.rfind(from).unwrap();
            let text = format!("{}{to}{}", &MANIFEST[..at], &MANIFEST[at + from.len()..]);
            let error = Manifest::parse(&text).unwrap_err().to_string();
            assert!(error.contains("sockets.trades") && error.contains(says), "{to}: {error}");
        }
        Manifest::parse(MANIFEST).unwrap();
    }
}
