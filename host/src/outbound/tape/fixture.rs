//! The file: one call, the exchanges it leads to, and what comes of it.
//!
//! It is the same file whether a person wrote it after a provider's documentation or a host recorded it, and whoever
//! plays it reads it so: the host, the stand-in, the SDK's native replay and the conformance suite. `{name}` in a URL, a
//! header or a body stands for the base of that origin. Numbers stay as they are written: no body, input or output
//! passes a float. Whatever does not fit is refused with its place, and reading is bounded by [`TAPE_BYTES_MAX`] and
//! [`EXCHANGES_MAX`].

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::json::same_json;
use crate::error::{Error, Kind, Result};
use crate::outbound::Method;
use crate::text::shown_lines;
use crate::time::Timestamp;

/// Most bytes of a file.
pub const TAPE_BYTES_MAX: usize = 64 << 20;

/// Most exchanges of a file.
pub const EXCHANGES_MAX: usize = 10_000;

/// What the clock shows where a file does not say: 2026-01-01T00:00:00Z.
pub const NOW: Timestamp = Timestamp::from_millis(1_767_225_600_000);

/// One call: what is called, what the provider answers, what comes of it.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Fixture {
    /// The operation.
    pub operation: String,
    /// Its input, as written.
    pub input: Box<RawValue>,
    /// Where the answers are from.
    pub from: Provenance,
    /// Who says so; of a recording, the origins that answered.
    pub source: String,
    /// When that was read, as `2026-01-31`.
    pub date: String,
    /// The time that the clock shows, RFC 3339; [`NOW`] when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub now: Option<String>,
    /// Names of the secrets that are there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secrets: Option<Vec<String>>,
    /// The files that are given to the call; of a recording there are none, for its requests hold what was read.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub files: BTreeMap<String, Content>,
    /// What is asked and answered.
    pub exchanges: Vec<Exchange>,
    /// What comes of it.
    pub expect: Expect,
}

/// Where the answers of a fixture are from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Provenance {
    /// A provider gave them to a host that kept them.
    Recorded,
    /// Made after a machine-readable description.
    FromSpec,
    /// Made after a documentation.
    FromDocs,
}

impl fmt::Display for Provenance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Recorded => "recorded",
            Self::FromSpec => "from-spec",
            Self::FromDocs => "from-docs",
        })
    }
}

/// A request with its answer.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Exchange {
    /// What is asked.
    pub request: Asked,
    /// What is answered.
    pub response: Answered,
}

/// A request, with one body or none.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    /// The method.
    pub method: String,
    /// The URL; the order of its query does not matter.
    pub url: String,
    /// Header fields that must be on it.
    #[serde(default, deserialize_with = "headers", skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// The body, compared as JSON.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub json: Option<Box<RawValue>>,
    /// The body, compared as pairs of a form.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub form: Option<Vec<(String, String)>>,
    /// The body as text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// The body, where it is no text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base64: Option<String>,
}

/// An answer, with one body or none.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Answered {
    /// The status.
    pub status: u16,
    /// The header fields.
    #[serde(default, deserialize_with = "headers", skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// The body as JSON, sent as it is written here.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub json: Option<Box<RawValue>>,
    /// The body as text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// The body, where it is no text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base64: Option<String>,
}

/// What a file holds.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "lowercase")]
pub enum Content {
    /// Text.
    Text(String),
    /// Bytes that are no text.
    Base64(String),
}

impl Content {
    /// The bytes.
    pub fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Text(text) => text.clone().into_bytes(),
            // Reading has looked that it can be decoded.
            Self::Base64(encoded) => decoded(Some(encoded)).unwrap_or_default(),
        }
    }
}

/// What comes of the call: an output or an error.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Expect {
    /// The output, or all items of all pages.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub output: Option<Box<RawValue>>,
    /// How many pages.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pages: Option<usize>,
    /// Whether the list goes on after these pages, which were all that was read.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub goes_on: bool,
    /// What the files hold that are taken from the call.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub files: BTreeMap<String, Content>,
    /// The error: its kind and whatever else is said of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Map<String, Value>>,
}

impl Fixture {
    /// Reads a fixture.
    ///
    /// # Errors
    /// [`Kind::Configuration`](crate::Kind::Configuration) with place and reason.
    pub fn parse(text: &str) -> Result<Self> {
        let wrong = |why: String| Error::configuration("the fixture cannot be read").with_details(shown_lines(&why));
        if text.len() > TAPE_BYTES_MAX {
            return Err(wrong(format!("it is longer than {TAPE_BYTES_MAX} bytes, the most that is read")));
        }
        let fixture: Self = serde_json::from_str(text).map_err(|error| wrong(error.to_string()))?;
        fixture.check().map_err(wrong)?;
        Ok(fixture)
    }

    /// The text, for a file.
    ///
    /// # Errors
    /// [`Kind::Internal`](crate::Kind::Internal) when it cannot be written as JSON.
    pub fn to_text(&self) -> Result<String> {
        let text = serde_json::to_string_pretty(self);
        text.map(|text| text + "\n").map_err(|error| Error::internal(format!("a tape is no JSON: {error}")))
    }

    /// What the clock shows.
    pub fn clock(&self) -> Timestamp {
        self.now.as_deref().and_then(Timestamp::parse).unwrap_or(NOW)
    }

    /// What the types do not say.
    fn check(&self) -> Result<(), String> {
        if self.source.is_empty() || Timestamp::parse(&format!("{}T00:00:00Z", self.date)).is_none() {
            return Err("it does not say where it is from: `source` and `date` (YYYY-MM-DD)".to_owned());
        }
        if self.now.as_deref().is_some_and(|now| Timestamp::parse(now).is_none()) {
            return Err("now: a time is written as 2026-01-31T12:00:00Z".to_owned());
        }
        if self.exchanges.len() > EXCHANGES_MAX {
            return Err(format!("exchanges: more than {EXCHANGES_MAX}, the most that is read"));
        }
        for (at, exchange) in self.exchanges.iter().enumerate() {
            exchange.request.check().map_err(|why| format!("exchanges[{at}].request: {why}"))?;
            exchange.response.check().map_err(|why| format!("exchanges[{at}].response: {why}"))?;
        }
        for (name, content) in self.files.iter().chain(&self.expect.files) {
            if let Content::Base64(encoded) = content {
                decoded(Some(encoded)).map_err(|why| format!("files.{name}: {why}"))?;
            }
        }
        readable(self.expect.output.as_deref()).map_err(|why| format!("expect.output: {why}"))?;
        match (&self.expect.output, &self.expect.error) {
            (Some(_), None) | (None, Some(_)) => Ok(()),
            _ => Err("`expect` needs either `output` or `error`".to_owned()),
        }
    }
}

impl Asked {
    fn check(&self) -> Result<(), String> {
        if Method::parse(&self.method).is_none() {
            return Err(format!("{} is no method", crate::text::shown(&self.method)));
        }
        readable(self.json.as_deref())?;
        one_body([self.json.is_some(), self.form.is_some(), self.text.is_some(), self.base64.is_some()])?;
        decoded(self.base64.as_deref()).map(drop)
    }
}

/// Method and URL.
impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, self.url)
    }
}

impl Answered {
    fn check(&self) -> Result<(), String> {
        if !(100..=599).contains(&self.status) {
            return Err(format!("{} is no status", self.status));
        }
        one_body([self.json.is_some(), self.text.is_some(), self.base64.is_some()])?;
        decoded(self.base64.as_deref()).map(drop)
    }

    /// The body's bytes, with what `base_of` says for each `{name}`.
    pub fn body(&self, base_of: &dyn Fn(&str) -> Option<String>) -> Vec<u8> {
        match (&self.json, &self.text, &self.base64) {
            (Some(json), ..) => placed(json.get(), base_of).into_bytes(),
            (None, Some(text), _) => placed(text, base_of).into_bytes(),
            // Reading has looked that it can be decoded.
            (None, None, encoded) => decoded(encoded.as_deref()).unwrap_or_default(),
        }
    }
}

impl Expect {
    /// The output as a value.
    pub fn output_value(&self) -> Option<Value> {
        serde_json::from_str(self.output.as_deref()?.get()).ok()
    }

    /// Compares what came of a call: the items of all pages (or the output) and the number of pages.
    ///
    /// # Errors
    /// A sentence that says how the two differ.
    pub fn compare(&self, result: &Result<(Value, usize)>) -> std::result::Result<(), String> {
        match (&self.error, result) {
            (None, Ok((output, pages))) => {
                if let Some(expected) = self.output_value().filter(|expected| expected != output) {
                    return Err(format!("the output differs.\nexpected {expected}\ngot      {output}"));
                }
                match self.pages.filter(|expected| expected != pages) {
                    Some(expected) => Err(format!("{expected} pages expected, {pages} read")),
                    None => Ok(()),
                }
            }
            (Some(expected), Err(error)) => compare_error(expected, error),
            (Some(expected), Ok(_)) => Err(format!("it should have ended with {}", Value::Object(expected.clone()))),
            (None, Err(error)) => Err(format!("it ended with {error:?}")),
        }
    }

    /// What came of a call that failed, as far as programs decide by it and wherever the origin is: an endpoint is told
    /// with the base's path or without it, depending on who made the error.
    pub(super) fn failed(error: &Error) -> Self {
        let said = fields(error).into_iter().filter(|(name, _)| *name != "endpoint");
        let said = said.filter_map(|(name, said)| Some((name.to_owned(), said?)));
        Self { error: Some(said.collect()), ..Self::default() }
    }

    /// Whether both say the same.
    pub(super) fn is(&self, other: &Self) -> bool {
        let outputs = match (&self.output, &other.output) {
            (Some(own), Some(other)) => same_json(own, other),
            (own, other) => own.is_none() && other.is_none(),
        };
        outputs && (self.pages, self.goes_on, &self.error) == (other.pages, other.goes_on, &other.error)
    }
}

/// The fields that programs decide by; sentences may differ between the plugin alone and the host.
fn fields(error: &Error) -> [(&'static str, Option<Value>); 5] {
    [
        ("kind", Some(error.kind().name().into())),
        ("status", error.status().map(Value::from)),
        ("provider_code", error.provider_code().map(Value::from)),
        ("request_id", error.request_id().map(Value::from)),
        ("endpoint", error.endpoint().map(Value::from)),
    ]
}

fn compare_error(expected: &Map<String, Value>, error: &Error) -> std::result::Result<(), String> {
    for (name, got) in fields(error) {
        let Some(expected) = expected.get(name) else { continue };
        if got.as_ref().unwrap_or(&Value::Null) != expected {
            return Err(format!("{name} should be {expected} and is {got:?}, in {error:?}"));
        }
    }
    let Kind::InvalidRequest(fields) = error.kind() else { return Ok(()) };
    let paths: Vec<&str> = fields.iter().map(|field| field.path.as_str()).collect();
    let wanted = expected.get("fields").and_then(Value::as_array).into_iter().flatten();
    for path in wanted.filter_map(|field| field.get("path").and_then(Value::as_str)) {
        if !paths.contains(&path) {
            return Err(format!("the field {path} should be wrong; wrong are {paths:?}"));
        }
    }
    Ok(())
}

/// `{name}` replaced by what `base_of` says for it; what it does not know stays. JSON's own braces are never followed by
/// a bare name and a closing brace.
pub fn placed(text: &str, base_of: &dyn Fn(&str) -> Option<String>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(open) = rest.find('{') {
        let (before, inside) = rest.split_at(open);
        out.push_str(before);
        let is_part = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        let name = inside[1..].split(|c| !is_part(c)).next().unwrap_or_default();
        let is_closed = !name.is_empty() && inside[1 + name.len()..].starts_with('}');
        match base_of(name).filter(|_| is_closed) {
            Some(base) => {
                out.push_str(&base);
                rest = &inside[name.len() + 2..];
            }
            None => {
                out.push('{');
                rest = &inside[1..];
            }
        }
    }
    out.push_str(rest);
    out
}

/// The bytes of a `base64` field.
pub(super) fn decoded(text: Option<&str>) -> Result<Vec<u8>, String> {
    let text = text.unwrap_or_default();
    STANDARD.decode(text).map_err(|error| format!("base64: {error}"))
}

/// How bytes are written that are no text.
pub(super) fn encoded(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

fn one_body(there: impl IntoIterator<Item = bool>) -> Result<(), String> {
    match there.into_iter().filter(|is_there| *is_there).count() {
        0 | 1 => Ok(()),
        _ => Err("it has more than one body".to_owned()),
    }
}

/// Whether it can be compared as a value: neither too deep nor with numbers that no program holds.
fn readable(json: Option<&RawValue>) -> Result<(), String> {
    let Some(json) = json else { return Ok(()) };
    serde_json::from_str::<Value>(json.get()).map(drop).map_err(|error| error.to_string())
}

/// An `output` of null is an output.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Box<RawValue>>, D::Error> {
    Box::<RawValue>::deserialize(deserializer).map(Some)
}

/// Header fields; a name stands once, whatever its case.
fn headers<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, String>, D::Error> {
    struct Fields;
    impl<'de> Visitor<'de> for Fields {
        type Value = BTreeMap<String, String>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("header fields")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut fields: Self::Value = BTreeMap::new();
            while let Some((name, value)) = map.next_entry::<String, String>()? {
                if fields.keys().any(|own| own.eq_ignore_ascii_case(&name)) {
                    return Err(A::Error::custom(format!("duplicate header `{}`", crate::text::shown(&name))));
                }
                fields.insert(name, value);
            }
            Ok(fields)
        }
    }
    deserializer.deserialize_map(Fields)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::outbound::tape::Wanted;

    fn whole(exchanges: &str, expect: &str) -> String {
        format!(
            r#"{{"operation":"a.b","input":{{"n":1.10}},"from":"from-docs","source":"s","date":"2026-01-31","exchanges":[{exchanges}],"expect":{expect}}}"#
        )
    }

    fn refusal(text: &str) -> String {
        let error = Fixture::parse(text).unwrap_err();
        assert_eq!(error.kind(), &Kind::Configuration);
        error.details().unwrap().to_owned()
    }

    #[test]
    fn what_is_read_is_written_again_digit_by_digit() {
        let exchange = r#"{"request":{"method":"POST","url":"{api}/x","json":{"n":12345678901234567890123.450}},
            "response":{"status":200,"json":{"n":1.0e2,"n":0.10}}}"#;
        let text = Fixture::parse(&whole(exchange, r#"{"output":null,"pages":2}"#)).unwrap().to_text().unwrap();
        for verbatim in ["12345678901234567890123.450", r#"{"n":1.0e2,"n":0.10}"#, r#"{"n":1.10}"#, "\"output\": null"]
        {
            assert!(text.contains(verbatim), "{verbatim} is missing in {text}");
        }
        assert_eq!(Fixture::parse(&text).unwrap().to_text().unwrap(), text);
    }

    #[test]
    fn what_does_not_fit_is_refused_with_its_place() {
        let asked = r#""request":{"method":"GET","url":"{api}/"}"#;
        let answered = |body: &str| format!(r#"{{{asked},"response":{{"status":200{body}}}}}"#);
        let output = r#"{"output":1}"#;
        for (text, said) in [
            ("".to_owned(), "line 1 column 0"),
            ("<html>".to_owned(), "line 1 column 1"),
            ("[]".to_owned(), "line 1"),
            (whole("", output)[..60].to_owned(), "EOF while parsing"),
            (whole("", output) + "x", "trailing characters"),
            (whole("", output).replacen('{', "{\"operation\":\"x\",", 1), "duplicate field `operation`"),
            (whole("", output).replace("from-docs", "made-up"), "unknown variant `made-up`"),
            (whole("", output).replace("2026-01-31", "2026-02-31"), "`source` and `date`"),
            (whole("", output).replacen('{', "{\"now\":\"today\",", 1), "now: "),
            (whole("", "{}"), "either `output` or `error`"),
            (whole("", r#"{"output":1,"error":{}}"#), "either `output` or `error`"),
            (whole("", r#"{"output":1e999}"#), "expect.output: number out of range"),
            (whole("", &format!(r#"{{"output":{}1{}}}"#, "[".repeat(500), "]".repeat(500))), "recursion limit"),
            (whole("", &format!(r#"{{"error":{}1{}}}"#, "[".repeat(500), "]".repeat(500))), "invalid type"),
            (whole(&answered(r#","text":"a","json":1"#), output), "exchanges[0].response: it has more than one body"),
            (whole(&answered(r#","base64":"a b""#), output), "exchanges[0].response: base64: "),
            (whole(&answered(r#","headers":{"a":"1","A":"2"}"#), output), "duplicate header `A`"),
            (whole(&answered(r#","headers":{"a":1}"#), output), "invalid type"),
            (whole(&answered("").replace("200", "70000"), output), "line 1"),
            (whole(&answered("").replace("200", "42"), output), "exchanges[0].response: 42 is no status"),
            (whole(&answered("").replace("GET", "BREW"), output), "exchanges[0].request: BREW is no method"),
            (whole(&answered(r#","cookies":[]"#), output), "unknown field `cookies`"),
        ] {
            let refusal = refusal(&text);
            assert!(refusal.contains(said), "{said} is missing in {refusal}");
        }
    }

    /// Reads bytes as a file, and does with it whatever is done with a file.
    fn handle(bytes: &[u8]) {
        let Ok(text) = std::str::from_utf8(bytes) else { return };
        let base_of = |name: &str| (name == "api").then(|| "https://h/v1".to_owned());
        let Ok(fixture) = Fixture::parse(&placed(text, &base_of)).and_then(|_| Fixture::parse(text)) else { return };
        for exchange in &fixture.exchanges {
            let wanted = Wanted { method: "POST", url: "https://h/v1/x?a=1", headers: &[], body: b"{\"n\":1}" };
            exchange.request.is(&wanted, &base_of);
            exchange.request.likeness(&wanted, &base_of);
            exchange.response.body(&base_of);
        }
        let again = Fixture::parse(&fixture.to_text().unwrap()).unwrap();
        assert!(again.expect.is(&fixture.expect) && again.clock() == fixture.clock());
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            handle(&bytes);
        }

        #[test]
        fn nor_does_a_good_file_that_was_damaged(
            changes in proptest::collection::vec((any::<prop::sample::Index>(), "[\\PC]|[{}\\[\\]\",:0-9eE+-]{1,3}", 0usize..4), 1..4)
        ) {
            let exchange = r#"{"request":{"method":"POST","url":"{api}/x?a=1","json":{"n":1.0,"m":[null,"\\u00e4"]},"headers":{"a":"b"}},
                "response":{"status":200,"headers":{"link":"<{api}/y>"},"base64":"/w=="}}"#;
            let mut text: Vec<char> = whole(exchange, r#"{"output":{"n":12345678901234567890},"pages":2,"goes_on":true}"#).chars().collect();
            for (at, put, taken) in changes {
                let at = at.index(text.len());
                let end = (at + taken).min(text.len());
                text.splice(at..end, put.chars());
            }
            handle(text.into_iter().collect::<String>().as_bytes());
        }
    }

    #[test]
    fn a_name_in_braces_is_a_place_and_nothing_else_is() {
        let base_of = |name: &str| (name == "api").then(|| "https://h/v1".to_owned());
        for (text, placed_text) in [
            ("{api}/x", "https://h/v1/x"),
            (r#"{"next":"{api}/x?p=2","a":{"b":{}}}"#, r#"{"next":"https://h/v1/x?p=2","a":{"b":{}}}"#),
            ("{other}/{api", "{other}/{api"),
            ("{{api}}", "{https://h/v1}"),
            ("{api ä}", "{api ä}"),
        ] {
            assert_eq!(placed(text, &base_of), placed_text);
        }
    }
}
