//! The fixture file: an input, the exchanges it leads to, and what comes out.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::manifest::Manifest;
use crate::Timestamp;
use crate::bindings::wharfage::plugin::http as wire;
use crate::http::Name;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Fixture {
    pub(super) operation: String,
    pub(super) input: Box<RawValue>,
    #[serde(rename = "from")]
    _from: Provenance,
    source: String,
    date: String,
    #[serde(default)]
    pub(super) now: Option<Timestamp>,
    /// Names of the secrets that are there.
    #[serde(default)]
    pub(super) secrets: Vec<String>,
    pub(super) exchanges: Vec<Exchange>,
    pub(super) expect: Expect,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Provenance {
    Recorded,
    FromSpec,
    FromDocs,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Exchange {
    pub(super) request: Request,
    pub(super) response: Response,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Request {
    method: String,
    pub(super) url: String,
    /// Header fields that must be there.
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(default)]
    json: Option<Value>,
    #[serde(default)]
    form: Option<Vec<(String, String)>>,
    #[serde(default)]
    text: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Response {
    pub(super) status: u16,
    #[serde(default)]
    pub(super) headers: BTreeMap<String, String>,
    /// Kept as text, so that `12.30` reaches the plugin as it stands there.
    #[serde(default)]
    json: Option<Box<RawValue>>,
    #[serde(default)]
    text: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Expect {
    #[serde(default, deserialize_with = "present")]
    pub(super) output: Option<Value>,
    #[serde(default)]
    pub(super) pages: Option<usize>,
    /// The fields of the error that must be so.
    #[serde(default)]
    pub(super) error: Option<Map<String, Value>>,
}

/// An `output` of null is an output.
fn present<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

impl Fixture {
    pub(super) fn read(manifest: &Manifest, text: &str) -> Result<Self, String> {
        let fixture: Self =
            serde_json::from_str(&manifest.expand(text)).map_err(|error| format!("it cannot be read: {error}"))?;
        let is_date = Timestamp::parse(&format!("{}T00:00:00Z", fixture.date)).is_some();
        if fixture.source.is_empty() || !is_date {
            return Err("it does not say where it is from: `source` and `date` (YYYY-MM-DD)".to_owned());
        }
        Ok(fixture)
    }
}

impl Request {
    /// Whether this is the request: method, path, query in any order, body, and at least these headers.
    pub(super) fn is(&self, request: &wire::Request, url: &str) -> bool {
        self.method == Name(request.method).to_string()
            && taken_apart(&self.url) == taken_apart(url)
            && self.has_body_of(request)
            && self.headers.iter().all(|(name, value)| {
                request.headers.iter().any(|own| own.name.eq_ignore_ascii_case(name) && own.value == *value)
            })
    }

    fn has_body_of(&self, request: &wire::Request) -> bool {
        let body = request.body.as_deref();
        match (&self.json, &self.form, &self.text) {
            (Some(json), _, _) => {
                body.and_then(|body| serde_json::from_slice::<Value>(body).ok()).as_ref() == Some(json)
            }
            (_, Some(form), _) => {
                let own = body.and_then(|body| std::str::from_utf8(body).ok()).map(pairs);
                own.as_ref() == Some(form)
            }
            (_, _, Some(text)) => body == Some(text.as_bytes()),
            (None, None, None) => body.is_none(),
        }
    }
}

impl std::fmt::Display for Request {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.method, self.url)
    }
}

impl Response {
    pub(super) fn body(&self) -> Vec<u8> {
        let text = self.json.as_ref().map(|json| json.get()).or(self.text.as_deref());
        text.unwrap_or_default().as_bytes().to_vec()
    }
}

/// The place, and the query's pairs sorted.
fn taken_apart(url: &str) -> (String, Vec<(String, String)>) {
    let (place, query) = url.split_once('?').unwrap_or((url, ""));
    let mut query = pairs(query);
    query.sort();
    (decoded(place), query)
}

fn pairs(text: &str) -> Vec<(String, String)> {
    let parts = text.split('&').filter(|part| !part.is_empty());
    parts
        .map(|part| {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            (decoded(&name.replace('+', " ")), decoded(&value.replace('+', " ")))
        })
        .collect()
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let escaped = match (first, after) {
            (b'%', [high, low, ..]) => {
                let digit = |byte: u8| char::from(byte).to_digit(16);
                digit(*high).zip(digit(*low)).map(|(high, low)| (high * 16 + low) as u8)
            }
            _ => None,
        };
        bytes.push(escaped.unwrap_or(*first));
        rest = if escaped.is_some() { &after[2..] } else { after };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
