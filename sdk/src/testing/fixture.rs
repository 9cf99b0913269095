//! The fixture file: an input, the exchanges it leads to, and what comes out.

use std::collections::BTreeMap;

use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::manifest::Manifest;
use crate::bindings::wharfage::plugin::http as wire;
use crate::http::{Name, form_pairs, percent_decode};
use crate::{Timestamp, base64};

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
    /// The files that are given to the call.
    #[serde(default)]
    pub(super) files: BTreeMap<String, Content>,
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
    #[serde(default, deserialize_with = "headers")]
    headers: BTreeMap<String, String>,
    #[serde(default, deserialize_with = "present")]
    json: Option<Value>,
    #[serde(default)]
    form: Option<Vec<(String, String)>>,
    #[serde(default)]
    text: Option<String>,
    /// Bytes that are no text.
    #[serde(default)]
    base64: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Response {
    pub(super) status: u16,
    #[serde(default, deserialize_with = "headers")]
    pub(super) headers: BTreeMap<String, String>,
    /// Kept as text, so that `12.30` reaches the plugin as it stands there.
    #[serde(default, deserialize_with = "present_text")]
    json: Option<Box<RawValue>>,
    #[serde(default)]
    text: Option<String>,
    /// Bytes that are no text.
    #[serde(default)]
    base64: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Expect {
    #[serde(default, deserialize_with = "present")]
    pub(super) output: Option<Value>,
    #[serde(default)]
    pub(super) pages: Option<usize>,
    /// Whether the list goes on after these pages.
    #[serde(default)]
    pub(super) goes_on: bool,
    /// What the files hold that are taken from the call.
    #[serde(default)]
    pub(super) files: BTreeMap<String, Content>,
    /// The fields of the error that must be so.
    #[serde(default)]
    pub(super) error: Option<Map<String, Value>>,
}

/// What a file holds.
#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Content {
    Text(String),
    Base64(String),
}

impl Content {
    pub(super) fn bytes(&self) -> Option<Vec<u8>> {
        match self {
            Self::Text(text) => Some(text.clone().into_bytes()),
            Self::Base64(encoded) => base64::decode(encoded),
        }
    }
}

/// An `output` of null is an output.
fn present<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

/// The same for text.
fn present_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Box<RawValue>>, D::Error> {
    Box::<RawValue>::deserialize(deserializer).map(Some)
}

/// Header fields; a name stands once, whatever its case.
fn headers<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, String>, D::Error> {
    struct Fields;
    impl<'de> Visitor<'de> for Fields {
        type Value = BTreeMap<String, String>;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("header fields")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut fields = BTreeMap::new();
            while let Some((name, value)) = map.next_entry::<String, String>()? {
                if fields.keys().any(|own: &String| own.eq_ignore_ascii_case(&name)) {
                    return Err(A::Error::custom(format!("duplicate header `{name}`")));
                }
                fields.insert(name, value);
            }
            Ok(fields)
        }
    }
    deserializer.deserialize_map(Fields)
}

/// Most bytes and exchanges of a file, as the host has them.
const FILE_BYTES_MAX: usize = 64 << 20;
const EXCHANGES_MAX: usize = 10_000;

impl Fixture {
    /// Reads what the host reads too (`wharfage::tape`), and refuses what it refuses; a test holds the two together.
    pub(super) fn read(manifest: &Manifest, text: &str) -> Result<Self, String> {
        if text.len() > FILE_BYTES_MAX {
            return Err(format!("it is longer than {FILE_BYTES_MAX} bytes"));
        }
        let fixture: Self =
            serde_json::from_str(&manifest.expand(text)).map_err(|error| format!("it cannot be read: {error}"))?;
        let is_date = Timestamp::parse(&format!("{}T00:00:00Z", fixture.date)).is_some();
        if fixture.source.is_empty() || !is_date {
            return Err("it does not say where it is from: `source` and `date` (YYYY-MM-DD)".to_owned());
        }
        if fixture.exchanges.len() > EXCHANGES_MAX {
            return Err(format!("it has more than {EXCHANGES_MAX} exchanges"));
        }
        for (at, exchange) in fixture.exchanges.iter().enumerate() {
            exchange.check().map_err(|why| format!("exchanges[{at}].{why}"))?;
        }
        let mut contents = fixture.files.values().chain(fixture.expect.files.values());
        if contents.any(|content| content.bytes().is_none()) {
            return Err("files: base64: padded, with + and /".to_owned());
        }
        match (&fixture.expect.output, &fixture.expect.error) {
            (Some(_), None) | (None, Some(_)) => Ok(fixture),
            _ => Err("`expect` needs either `output` or `error`".to_owned()),
        }
    }
}

impl Exchange {
    /// What the types do not say.
    fn check(&self) -> Result<(), String> {
        let Self { request, response } = self;
        let bodies = |there: &[bool]| there.iter().filter(|is_there| **is_there).count();
        let methods = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"];
        if !methods.contains(&request.method.as_str()) {
            return Err(format!("request: {} is no method", request.method));
        }
        if !(100..=599).contains(&response.status) {
            return Err(format!("response: {} is no status", response.status));
        }
        let asked = [request.json.is_some(), request.form.is_some(), request.text.is_some(), request.base64.is_some()];
        let answered = [response.json.is_some(), response.text.is_some(), response.base64.is_some()];
        if bodies(&asked) > 1 || bodies(&answered) > 1 {
            return Err("request and response: one body each, or none".to_owned());
        }
        for encoded in [&request.base64, &response.base64].into_iter().flatten() {
            base64::decode(encoded).ok_or("base64: padded, with + and /")?;
        }
        Ok(())
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
            _ if self.base64.is_some() => body == self.base64.as_deref().and_then(base64::decode).as_deref(),
            (Some(json), _, _) => {
                body.and_then(|body| serde_json::from_slice::<Value>(body).ok()).as_ref() == Some(json)
            }
            (_, Some(form), _) => body.map(form_pairs).as_ref() == Some(form),
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
        if let Some(encoded) = &self.base64 {
            return base64::decode(encoded).unwrap_or_default();
        }
        let text = self.json.as_ref().map(|json| json.get()).or(self.text.as_deref());
        text.unwrap_or_default().as_bytes().to_vec()
    }
}

/// The place, and the query's pairs sorted.
fn taken_apart(url: &str) -> (String, Vec<(String, String)>) {
    let (place, query) = url.split_once('?').unwrap_or((url, ""));
    let mut query = form_pairs(query.as_bytes());
    query.sort();
    (percent_decode(place), query)
}
