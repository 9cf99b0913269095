//! Requests to the provider, within what the connection grants.
//!
//! The host checks the target, waits for a permit, attaches the credential, retries what is safe to repeat and caps every
//! size. A plugin says what it wants and reads the answer:
//!
//! ```no_run
//! # fn main() -> Result<(), wharfage_sdk::Error> {
//! use wharfage_sdk::Request;
//!
//! let orders: wharfage_sdk::serde_json::Value = Request::get("{api}/orders/")
//!     .query("limit", 100)
//!     .query_some("status", Some("Submitted"))
//!     .send()?
//!     .json()?;
//! # Ok(())
//! # }
//! ```

use std::fmt::{self, Display};

use serde::{Serialize, de::DeserializeOwned};
use serde_json::value::RawValue;

use crate::bindings::wharfage::plugin::http as wire;
use crate::bindings::wharfage::plugin::types::Header;
use crate::json::{self, Kept};
use crate::{Error, ErrorKind};

pub use wire::{Credential, Keep, Method, Repeat, Source};

#[cfg(target_arch = "wasm32")]
use crate::bindings::wharfage::plugin::http as import;
#[cfg(not(target_arch = "wasm32"))]
use crate::testing::host::http as import;

/// How much of a body that was not the JSON it should be is kept in the error.
const BODY_KEPT_BYTES_MAX: usize = 500;

const NOT_JSON: &str = "the answer is not JSON";

/// One request, built step by step. Defaults: the declared credential, repeated as the method says, the connection's timeout.
#[derive(Clone, Debug)]
#[must_use = "a request does nothing until it is sent"]
pub struct Request(Box<wire::Request>);

impl Request {
    /// A request; `url` is absolute or begins with `{name}`, an origin of the manifest.
    pub fn new(method: Method, url: impl Into<String>) -> Self {
        Self::at(method, url.into())
    }

    #[inline(never)]
    fn at(method: Method, url: String) -> Self {
        Self(Box::new(wire::Request {
            method,
            url,
            headers: Vec::new(),
            body: None,
            credential: Credential::Declared,
            repeat: Repeat::ByMethod,
            costs: Vec::new(),
            timeout_ms: None,
            keep: wire::Keep::AsAnswered,
        }))
    }

    /// Reads.
    pub fn get(url: impl Into<String>) -> Self {
        Self::new(Method::Get, url)
    }

    /// Reads the header only.
    pub fn head(url: impl Into<String>) -> Self {
        Self::new(Method::Head, url)
    }

    /// Creates, or whatever the provider makes of it.
    pub fn post(url: impl Into<String>) -> Self {
        Self::new(Method::Post, url)
    }

    /// Replaces.
    pub fn put(url: impl Into<String>) -> Self {
        Self::new(Method::Put, url)
    }

    /// Changes.
    pub fn patch(url: impl Into<String>) -> Self {
        Self::new(Method::Patch, url)
    }

    /// Removes.
    pub fn delete(url: impl Into<String>) -> Self {
        Self::new(Method::Delete, url)
    }

    /// Appends `name=value`, percent-encoded.
    pub fn query(mut self, name: &str, value: impl Display) -> Self {
        append(&mut self.0.url, name, &value);
        self
    }

    /// Appends `name=value` if there is a value.
    pub fn query_some(self, name: &str, value: Option<impl Display>) -> Self {
        match value {
            Some(value) => self.query(name, value),
            None => self,
        }
    }

    /// Adds a header field. The host owns Host, Content-Length, the credential's field and their like and refuses them here.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.0.headers.push(Header { name: name.into(), value: value.into() });
        self
    }

    /// Sends `body` as JSON.
    ///
    /// # Errors
    /// `internal` when `body` has no JSON form.
    pub fn json<T: Serialize + ?Sized>(self, body: &T) -> Result<Self, Error> {
        let text = json::to_text(&body)?;
        Ok(self.body("application/json", text))
    }

    /// Sends pairs as an HTML form does.
    pub fn form<N: AsRef<str>, V: AsRef<str>>(self, pairs: &[(N, V)]) -> Self {
        let mut text = String::new();
        for (name, value) in pairs {
            if !text.is_empty() {
                text.push('&');
            }
            push_pair(&mut text, name.as_ref(), value.as_ref());
        }
        self.body("application/x-www-form-urlencoded", text)
    }

    /// Sends these bytes.
    pub fn body(mut self, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        self.0.body = Some(body.into());
        self.header("Content-Type", content_type)
    }

    /// Says whether the host may send it a second time. With [`Repeat::Safe`] a POST counts as a query: no answer that is
    /// kept is given up because of it, so what it changes must not be kept.
    pub fn repeat(mut self, repeat: Repeat) -> Self {
        self.0.repeat = repeat;
        self
    }

    /// Asks for another credential than the one declared for the origin.
    pub fn credential(mut self, credential: Credential) -> Self {
        self.0.credential = credential;
        self
    }

    /// Sends it without a credential.
    pub fn anonymous(self) -> Self {
        self.credential(Credential::Anonymous)
    }

    /// Spends so many units of a bucket, instead of what its budget takes for the request; 0 counts as not stated.
    pub fn cost(mut self, bucket: impl Into<String>, units: u32) -> Self {
        self.0.costs.push(wire::Cost { bucket: bucket.into(), units });
        self
    }

    /// Bounds one attempt, if this is less than the connection allows.
    pub fn timeout_ms(mut self, ms: u32) -> Self {
        self.0.timeout_ms = Some(ms);
        self
    }

    /// Says how long the answer holds, where the plugin knows better than the provider's headers say.
    pub fn keep(mut self, keep: Keep) -> Self {
        self.0.keep = keep;
        self
    }

    pub(crate) fn into_wire(self) -> wire::Request {
        *self.0
    }

    /// The URL as it stands now.
    pub fn url(&self) -> &str {
        &self.0.url
    }

    /// Sends it and waits for an answer with a status below 400.
    ///
    /// # Errors
    /// Everything from 400 on, what the manifest's `[[answers]]` make of a body, and each way in which no answer came.
    pub fn send(self) -> Result<Response, Error> {
        import::send(&self.0).map(|response| Response::from_wire(&self.0, response)).map_err(Error::from_wire)
    }
}

/// Sends several requests side by side and answers in their order. One failure does not stop the others.
pub fn send_all(requests: Vec<Request>) -> Vec<Result<Response, Error>> {
    let requests: Vec<wire::Request> = requests.into_iter().map(Request::into_wire).collect();
    let answers = import::send_all(&requests);
    let pairs = requests.iter().zip(answers);
    pairs
        .map(|(request, answer)| {
            answer.map(|response| Response::from_wire(request, response)).map_err(Error::from_wire)
        })
        .collect()
}

/// One answer with a status below 400.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Response {
    /// The HTTP status.
    pub status: u16,
    /// Its header fields, without those that carry credentials or cookies.
    pub headers: Vec<(String, String)>,
    /// The decoded body.
    pub body: Vec<u8>,
    /// The URL that answered, after redirects, masked.
    pub url: String,
    /// Where the answer came from.
    pub source: Source,
    /// How old it is; 0 when live.
    pub age_ms: u64,
    /// How many requests it cost.
    pub attempts: u32,
    /// The provider's id of the request.
    pub request_id: Option<String>,
    method: Method,
}

impl Response {
    pub(crate) fn from_wire(request: &wire::Request, response: wire::Response) -> Self {
        Self {
            status: response.status,
            headers: response.headers.into_iter().map(|header| (header.name, header.value)).collect(),
            body: response.body,
            url: response.url,
            source: response.source,
            age_ms: response.age_ms,
            attempts: response.attempts,
            request_id: response.request_id,
            method: request.method,
        }
    }

    /// The value of a header field, its name compared without regard to case; the first, if there are several.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(own, _)| own.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The body as `T`.
    ///
    /// # Errors
    /// `transient` when a read was answered with no JSON at all, as from a proxy in between; `schema-violation` when it is
    /// JSON of another shape, or no JSON after a write or in a redirect to nowhere. All keep the start of the body, and no
    /// message repeats a value from it.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Error> {
        // By way of text, as everything here that reads JSON: for each further kind of source, a component holds the code of
        // all its types once more.
        let text = std::str::from_utf8(&self.body).map_err(|_| self.not_json())?;
        json::read(text).map_err(|misfit| self.unreadable(text, "", &misfit))
    }

    /// A part of the body as `T`, its own text beside it: `raw` as it was found at `place`, a JSON Pointer.
    ///
    /// # Errors
    /// `schema-violation`, as [`json`](Self::json).
    pub fn part<T: DeserializeOwned>(&self, raw: Box<RawValue>, place: &str) -> Result<Kept<T>, Error> {
        match json::read(raw.get()) {
            Ok(value) => Ok(Kept { value, raw }),
            Err(misfit) => Err(self.unreadable(raw.get(), place, &misfit)),
        }
    }

    /// The body as text.
    ///
    /// # Errors
    /// `schema-violation` when it is not UTF-8.
    pub fn text(&self) -> Result<&str, Error> {
        std::str::from_utf8(&self.body)
            .map_err(|_| self.error(ErrorKind::SchemaViolation, "the answer is not UTF-8 text"))
    }

    /// Refuses an answer that says something where there is nothing to say: that is 204 or `{}`, and a page of somebody in
    /// between is neither.
    ///
    /// # Errors
    /// `schema-violation`.
    pub fn must_be_empty(&self) -> Result<(), Error> {
        if self.status == 204 || self.body.trim_ascii() == b"{}" {
            return Ok(());
        }
        Err(self.error(ErrorKind::SchemaViolation, "the answer has another shape: expected none"))
    }

    /// An error about this answer: its status, endpoint, request id and the start of its body are filled in.
    pub fn error(&self, kind: ErrorKind, message: impl Into<String>) -> Error {
        self.refusal(kind, message.into())
    }

    #[cold]
    #[inline(never)]
    fn refusal(&self, kind: ErrorKind, message: String) -> Error {
        let mut error = Error::new(kind, message)
            .with_status(self.status)
            .with_endpoint(endpoint(self.method, &self.url))
            .with_body(json::beginning(&self.body, BODY_KEPT_BYTES_MAX));
        error.request_id.clone_from(&self.request_id);
        error.attempts = self.attempts;
        error
    }

    /// A proxy's page may be gone when a read is made again. A write that was answered is not made again for the sake of its
    /// answer, and a redirect to nowhere stays one.
    #[cold]
    #[inline(never)]
    fn not_json(&self) -> Error {
        let may_pass = self.status < 300 && matches!(self.method, Method::Get | Method::Head);
        self.error(if may_pass { ErrorKind::Transient } else { ErrorKind::SchemaViolation }, NOT_JSON)
    }

    #[cold]
    #[inline(never)]
    fn unreadable(&self, text: &str, place: &str, misfit: &json::Misfit) -> Error {
        let Some(expected) = &misfit.expected else { return self.not_json() };
        let within = json::place(text.as_bytes(), misfit);
        let top = if place.is_empty() && within.is_empty() { "its top" } else { "" };
        let message = ["the answer has another shape at ", top, place, &within, ": ", expected].concat();
        self.error(ErrorKind::SchemaViolation, message)
    }
}

/// A text, such as an id, as one segment of a path, percent-encoded. `field` is the JSON Pointer of the input that it came from.
///
/// # Errors
/// `invalid-request` when it is empty or would mean another path: `.` and `..` survive no encoding, and a slash, a backslash
/// or a control character is refused by the host even where it is encoded, for not every server reads it alike.
pub fn segment(field: &str, value: impl Display) -> Result<String, Error> {
    segment_of(field, &value)
}

const NO_SEGMENT: &str =
    "expected something that can stand in a path: without `/`, `\\` and control characters, and not `.` or `..`";

#[inline(never)]
fn segment_of(field: &str, value: &dyn Display) -> Result<String, Error> {
    let value = value.to_string();
    let is_odd = |byte: u8| matches!(byte, b'/' | b'\\') || byte.is_ascii_control();
    if matches!(value.as_str(), "" | "." | "..") || value.bytes().any(is_odd) {
        return Err(Error::invalid_request(field, NO_SEGMENT));
    }
    let mut segment = String::new();
    push_encoded(&mut segment, &value);
    Ok(segment)
}

/// The fields of a form, in their order (WHATWG URL, "application/x-www-form-urlencoded parsing"). Whatever the body is, this
/// reads it: what is no UTF-8 becomes U+FFFD, and a `%` that begins no escape stays one.
pub fn form_pairs(body: &[u8]) -> Vec<(String, String)> {
    let pairs = body.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let at = pair.iter().position(|byte| *byte == b'=');
            let (name, value) = pair.split_at(at.unwrap_or(pair.len()));
            (decoded(name, b' '), decoded(value.get(1..).unwrap_or_default(), b' '))
        })
        .collect()
}

/// A part of a URL without its escapes, as [`segment`] made it: `%2B` becomes `+`, and a `+` stays one. Read as leniently as
/// [`form_pairs`] reads.
pub fn percent_decode(text: &str) -> String {
    decoded(text.as_bytes(), b'+')
}

fn decoded(text: &[u8], plus: u8) -> String {
    let digit = |at: usize| text.get(at).and_then(|byte| char::from(*byte).to_digit(16));
    let mut bytes = Vec::with_capacity(text.len());
    let mut at = 0;
    while let Some(byte) = text.get(at) {
        match (byte, digit(at + 1), digit(at + 2)) {
            // Two hexadecimal digits are one byte.
            (b'%', Some(high), Some(low)) => {
                bytes.push((high * 16 + low) as u8);
                at += 2;
            }
            (b'+', ..) => bytes.push(plus),
            (byte, ..) => bytes.push(*byte),
        }
        at += 1;
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Method and path of a request, without query.
pub(crate) fn endpoint(method: Method, url: &str) -> String {
    let path = match url.split_once("://") {
        Some((_, rest)) => rest.find('/').map_or("/", |at| &rest[at..]),
        None => url,
    };
    format!("{} {}", Name(method), path.split(['?', '#']).next().unwrap_or_default())
}

pub(crate) struct Name(pub(crate) Method);

impl Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Method::Get => "GET",
            Method::Head => "HEAD",
            Method::Post => "POST",
            Method::Put => "PUT",
            Method::Patch => "PATCH",
            Method::Delete => "DELETE",
        })
    }
}

/// Once for all types that are shown: what is said of each of them is code of every component.
#[inline(never)]
fn append(url: &mut String, name: &str, value: &dyn Display) {
    url.push(if url.contains('?') { '&' } else { '?' });
    push_pair(url, name, &value.to_string());
}

#[inline(never)]
fn push_pair(text: &mut String, name: &str, value: &str) {
    push_encoded(text, name);
    text.push('=');
    push_encoded(text, value);
}

/// As forms encode (WHATWG URL, "application/x-www-form-urlencoded"), but a space is `%20`, which every server reads the same.
fn push_encoded(text: &mut String, value: &str) {
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'*' | b'-' | b'.' | b'_') {
            text.push(char::from(byte));
        } else {
            let digit = |value: u8| char::from(b"0123456789ABCDEF"[usize::from(value)]);
            text.extend(['%', digit(byte >> 4), digit(byte & 15)]);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn response(body: &str) -> Response {
        Response {
            status: 200,
            headers: vec![("Content-Type".into(), "application/json".into())],
            body: body.into(),
            url: "https://api.example/v2/orders/?apikey=***".into(),
            source: Source::Live,
            age_ms: 0,
            attempts: 1,
            request_id: Some("req-1".into()),
            method: Method::Get,
        }
    }

    #[test]
    fn a_query_is_encoded_and_appended() {
        let request = Request::get("{api}/orders/?a=1")
            .query("since", "2026-01-01T00:00:00+01:00")
            .query_some("status", None::<&str>)
            .query("name", "Tom & Jerry");
        assert_eq!(request.url(), "{api}/orders/?a=1&since=2026-01-01T00%3A00%3A00%2B01%3A00&name=Tom%20%26%20Jerry");
    }

    #[test]
    fn bodies_carry_their_type() {
        let request = Request::post("{api}/").form(&[("To", "+1 2"), ("Body", "é")]);
        assert_eq!(request.0.body.as_deref(), Some(&b"To=%2B1%202&Body=%C3%A9"[..]));
        let request = Request::post("{api}/").json(&serde_json::json!({"a": 1})).unwrap();
        assert_eq!(request.0.headers[0].value, "application/json");
    }

    #[test]
    fn an_id_cannot_leave_its_segment() {
        assert_eq!(segment("/number", "a..b?c").unwrap(), "a..b%3Fc");
        // What is encoded here the host would refuse, and name no field.
        for value in ["", ".", "..", "a/b", "a/../b?c", "a\\b", "a\nb", "a\u{7f}"] {
            assert_eq!(segment("/number", value).unwrap_err().kind.name(), "invalid-request");
        }
    }

    #[test]
    fn a_form_is_read_as_it_was_written() {
        let read = form_pairs("a=1+2&b=%C3%A9%26&c&=d&e=%&f=%4&&g=%e9".as_bytes());
        let read: Vec<(&str, &str)> = read.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let fields = [("a", "1 2"), ("b", "é&"), ("c", ""), ("", "d"), ("e", "%"), ("f", "%4"), ("g", "\u{fffd}")];
        assert_eq!(read, fields);
        assert_eq!(percent_decode("a+b%20%2B%zz"), "a+b +%zz");
    }

    #[test]
    fn nothing_to_say_is_204_or_an_empty_object() {
        let no_content = Response { status: 204, ..response("") };
        for empty in [no_content, response("{}"), response(" {}\n")] {
            empty.must_be_empty().unwrap();
        }
        for other in ["", "<html></html>", "[]", r#"{"a": 1}"#] {
            assert_eq!(response(other).must_be_empty().unwrap_err().kind, ErrorKind::SchemaViolation, "{other}");
        }
    }

    #[test]
    fn what_is_not_json_passes_and_another_shape_does_not() {
        let error = response("<html>Bad gateway</html>").json::<serde_json::Value>().unwrap_err();
        assert_eq!((error.kind.name(), error.may_retry()), ("transient", true));
        assert_eq!(error.body.as_deref(), Some("<html>Bad gateway</html>"));
        // An order that was made and answered with a page would have been made again by whoever believes `may_retry`.
        let written = Response { method: Method::Post, ..response("") };
        let nowhere = Response { status: 302, ..response("") };
        for odd in [written, nowhere] {
            let error = odd.json::<serde_json::Value>().unwrap_err();
            assert_eq!((error.kind.name(), error.may_retry()), ("schema-violation", false));
        }

        let error = response(r#"{"results": [1, "s3cret"]}"#)
            .json::<std::collections::BTreeMap<String, Vec<u32>>>()
            .unwrap_err();
        assert_eq!(error.message, "the answer has another shape at /results/1: expected u32");
        assert_eq!(error.kind, ErrorKind::SchemaViolation);
        assert_eq!(error.endpoint.as_deref(), Some("GET /v2/orders/"));
    }

    #[test]
    fn a_part_says_where_in_the_whole_it_does_not_fit() {
        let raw = RawValue::from_string(r#"{"limit": "s3cret"}"#.to_owned()).unwrap();
        let kept: Kept<serde_json::Value> = response("{}").part(raw.clone(), "/results/2").unwrap();
        assert_eq!(kept.raw.get(), r#"{"limit": "s3cret"}"#);
        let error = response("{}").part::<std::collections::BTreeMap<String, u8>>(raw, "/results/2").unwrap_err();
        assert_eq!(error.message, "the answer has another shape at /results/2/limit: expected u8");
    }

    #[test]
    fn header_names_have_no_case() {
        assert_eq!(response("{}").header("content-TYPE"), Some("application/json"));
    }

    proptest! {
        #[test]
        fn whatever_is_encoded_stays_one_value(value in "\\PC{1,30}") {
            let request = Request::get("{api}/").query("q", &value);
            let encoded = request.url().strip_prefix("{api}/?q=").unwrap();
            prop_assert_eq!(percent_decode(encoded), value.as_str());
            prop_assert!(!encoded.contains(['&', '=', '#', '?', '/', ' ']));
        }
    }
}
