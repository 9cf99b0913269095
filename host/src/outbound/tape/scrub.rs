//! What may stand on a tape.
//!
//! Recording happens above signing, so the credential that the host places is never there. Here goes what a provider
//! sends back of it, and what it sends of its own: known secrets in every form the mask knows, cookies and whatever
//! header is not on the list of those that a replay needs. URLs are written from the origin's name, so that a tape plays
//! wherever that origin is, also on loopback.

use std::collections::BTreeMap;

use http::HeaderMap;
use serde_json::Value;
use serde_json::value::RawValue;

use super::fixture::{Answered, Asked, encoded, placed};
use crate::mask::{MASKED, Mask, header_is_secret};
use crate::outbound::classify::REQUEST_ID_HEADERS;
use crate::outbound::scope::Scope;

/// The header fields of an answer that stay, besides those whose name holds one of [`KEPT_PARTS`].
const KEPT: &[&str] = &[
    "age",
    "cache-control",
    "content-language",
    "content-range",
    "content-type",
    "date",
    "etag",
    "expires",
    "last-modified",
    "link",
    "location",
    "range",
    "retry-after",
    "vary",
    "warning",
];

/// Families of header fields: limits in every dialect, whether to try again, and pages.
const KEPT_PARTS: &[&str] =
    &["ratelimit", "rate-limit", "call-limit", "quota", "throttl", "should-retry", "-page", "total", "cursor"];

/// The end of a query parameter's name that makes its value a credential: links that were signed.
const SECRET_PARAMETER_ENDS: &[&str] = &[
    "signature",
    "security-token",
    "access_token",
    "refresh_token",
    "id_token",
    "secret",
    "password",
    "apikey",
    "api_key",
    "api-key",
];

/// Where the origins of a connection are.
#[derive(Clone, Debug, Default)]
pub(super) struct Places(Vec<(String, String)>);

impl Places {
    pub(super) fn of(scope: &Scope) -> Self {
        let mut places: Vec<(String, String)> = Vec::new();
        for origin in &scope.origins {
            if places.iter().all(|(name, _)| *name != origin.name) {
                let path = origin.base.path().trim_end_matches('/');
                places.push((origin.name.clone(), format!("{}{path}", origin.base.origin().ascii_serialization())));
            }
        }
        // The longest first, so that a base below another is not taken for it.
        places.sort_by(|a, b| b.1.len().cmp(&a.1.len()).then_with(|| a.0.cmp(&b.0)));
        Self(places)
    }

    /// The base of an origin.
    pub(super) fn base_of(&self, name: &str) -> Option<String> {
        self.0.iter().find(|(own, _)| own == name).map(|(_, base)| base.clone())
    }

    /// The text with `{name}` for each base, also where its slashes are escaped.
    pub(super) fn shortened(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, (name, base)| {
            let short = format!("{{{name}}}");
            replaced(&replaced(&text, base, &short), &base.replace('/', "\\/"), &short)
        })
    }

    /// Whether the text holds the very words that a tape uses for an origin, and so would come back as something else.
    pub(super) fn are_in(&self, text: &str) -> bool {
        placed(text, &|name| self.base_of(name).map(|_| String::new())) != text
    }
}

/// Replaces a base, but not the beginning of a longer host, port or segment.
fn replaced(text: &str, base: &str, short: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(base) {
        let (before, found) = rest.split_at(at);
        let after = &found[base.len()..];
        let goes_on = after.starts_with(|c: char| c.is_alphanumeric() || "-_.:%@~".contains(c));
        out.push_str(before);
        out.push_str(if goes_on { base } else { short });
        rest = after;
    }
    out.push_str(rest);
    out
}

/// A request as it may be kept.
pub(super) fn asked(
    method: &str,
    url: &str,
    headers: &[(String, String)],
    body: &[u8],
    mask: &Mask,
    places: &Places,
) -> Asked {
    let matter = |name: &str| matches!(name, "accept" | "content-range" | "content-type") || name.starts_with("if-");
    let headers: BTreeMap<String, String> = headers
        .iter()
        .map(|(name, value)| (name.to_ascii_lowercase(), places.shortened(&mask.text(value))))
        .filter(|(name, _)| matter(name))
        .collect();
    let asked = Asked { method: method.to_owned(), url: url_for(url, mask, places), ..Asked::default() };
    let content_type = headers.get("content-type").map(String::as_str).unwrap_or_default();
    let asked = match Body::of(body, content_type, mask, places) {
        Body::None => asked,
        Body::Json(json) => Asked { json: Some(json), ..asked },
        Body::Form(text) => {
            Asked { form: Some(url::form_urlencoded::parse(text.as_bytes()).into_owned().collect()), ..asked }
        }
        Body::Text(text) => Asked { text: Some(text), ..asked },
        Body::Bytes(bytes) => Asked { base64: Some(encoded(&bytes)), ..asked },
    };
    Asked { headers, ..asked }
}

/// An answer as it may be kept.
pub(super) fn answered(status: u16, fields: &HeaderMap, body: &[u8], mask: &Mask, places: &Places) -> Answered {
    let mut headers: BTreeMap<String, String> = BTreeMap::new();
    for (name, value) in fields.iter().filter(|(name, _)| stays(name.as_str())) {
        let value: String = value.as_bytes().iter().map(|byte| char::from(*byte)).collect();
        let value = match name.as_str() {
            "location" => url_for(&value, mask, places),
            _ => places.shortened(&mask.text(&value)),
        };
        match headers.get_mut(name.as_str()) {
            // Of the fields that stay, those that come twice are lists.
            Some(own) => *own = format!("{own}, {value}"),
            None => drop(headers.insert(name.as_str().to_owned(), value)),
        }
    }
    let answered = Answered { status, ..Answered::default() };
    let content_type = headers.get("content-type").map(String::as_str).unwrap_or_default();
    let answered = match Body::of(body, content_type, mask, places) {
        Body::None => answered,
        Body::Json(json) => Answered { json: Some(json), ..answered },
        Body::Bytes(bytes) => Answered { base64: Some(encoded(&bytes)), ..answered },
        // An answer is sent as it is written, and a form is text.
        Body::Text(text) | Body::Form(text) => Answered { text: Some(text), ..answered },
    };
    Answered { headers, ..answered }
}

fn stays(name: &str) -> bool {
    let is_kept = KEPT.contains(&name)
        || REQUEST_ID_HEADERS.iter().any(|known| known == name)
        || KEPT_PARTS.iter().any(|part| name.contains(part));
    is_kept && !header_is_secret(name)
}

pub(super) fn url_for(url: &str, mask: &Mask, places: &Places) -> String {
    places.shortened(&unsigned(&mask.text(url)))
}

/// A URL whose query holds no credential of its own: what a provider signed for a while stays with the provider.
pub(super) fn unsigned(url: &str) -> String {
    let Some((place, query)) = url.split_once('?') else { return url.to_owned() };
    let pairs: Vec<String> = query
        .split('&')
        .map(|pair| {
            let name = pair.split('=').next().unwrap_or_default();
            let lower = name.to_ascii_lowercase();
            let is_secret = lower == "sig" || SECRET_PARAMETER_ENDS.iter().any(|end| lower.ends_with(end));
            if is_secret { format!("{name}={MASKED}") } else { pair.to_owned() }
        })
        .collect();
    format!("{place}?{}", pairs.join("&"))
}

/// A body as it is written: JSON as it stands, a form and other text, other bytes.
enum Body {
    None,
    Json(Box<RawValue>),
    Form(String),
    Text(String),
    Bytes(Vec<u8>),
}

impl Body {
    fn of(bytes: &[u8], content_type: &str, mask: &Mask, places: &Places) -> Self {
        let (bytes, _) = mask.bytes(bytes.to_vec());
        if bytes.is_empty() {
            return Self::None;
        }
        let text = match std::str::from_utf8(&bytes) {
            // What would read as an origin's name comes back right only as bytes.
            Ok(text) if !places.are_in(text) => places.shortened(text),
            _ => return Self::Bytes(bytes),
        };
        if content_type.starts_with("application/x-www-form-urlencoded") {
            return Self::Form(text);
        }
        let may_be_json = content_type.contains("json") || text.trim_start().starts_with(['{', '[']);
        // Read as a value too, for that is how a request's body is compared.
        match serde_json::from_str::<Box<RawValue>>(&text) {
            Ok(json) if may_be_json && serde_json::from_str::<Value>(&text).is_ok() => Self::Json(json),
            _ => Self::Text(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use zeroize::Zeroizing;

    use super::*;

    fn places() -> Places {
        Places(vec![("api".into(), "https://h/v1".into()), ("files".into(), "https://h".into())])
    }

    fn mask() -> Mask {
        Mask::new(vec![Zeroizing::new("the-secret/0451".to_owned())])
    }

    #[test]
    fn bases_become_names_and_nothing_longer_does() {
        let places = places();
        for (text, shortened) in [
            ("https://h/v1/x", "{api}/x"),
            ("https://h/v1", "{api}"),
            ("https://h/v10/x", "{files}/v10/x"),
            ("https://h.evil/v1", "https://h.evil/v1"),
            ("https://h:444/", "https://h:444/"),
            (r#"{"next":"https:\/\/h\/v1\/x"}"#, r#"{"next":"{api}\/x"}"#),
        ] {
            assert_eq!(places.shortened(text), shortened);
        }
        assert!(places.are_in("a {api}/") && !places.are_in("a {apis} {"));
    }

    #[test]
    fn of_an_answer_only_what_a_replay_needs_stays() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("content-type", "text/plain"),
            ("set-cookie", "a=b"),
            ("x-ratelimit-remaining", "3"),
            ("x-total-count", "9"),
            ("x-should-retry", "false"),
            ("x-auth-token", "t"),
            ("x-ratelimit-access-token", "t"),
            ("server", "s"),
            ("range", "bytes=0-3"),
            ("x-request-id", "r the-secret/0451"),
            ("location", "https://h/v1/y?X-Signature=abc&page=2"),
        ] {
            headers.append(name, value.parse().unwrap());
        }
        headers.append("link", "<https://h/v1/a>; rel=\"next\"".parse().unwrap());
        headers.append("link", "<https://h/v1/b>; rel=\"last\"".parse().unwrap());
        let kept = answered(200, &headers, b"x", &mask(), &places()).headers;
        let kept: Vec<(&str, &str)> = kept.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(
            kept,
            [
                ("content-type", "text/plain"),
                ("link", "<{api}/a>; rel=\"next\", <{api}/b>; rel=\"last\""),
                ("location", "{api}/y?X-Signature=[masked]&page=2"),
                ("range", "bytes=0-3"),
                ("x-ratelimit-remaining", "3"),
                ("x-request-id", "r [masked]"),
                ("x-should-retry", "false"),
                ("x-total-count", "9"),
            ]
        );
    }

    #[test]
    fn a_body_is_written_as_what_it_is() {
        let answer = |body: &[u8]| answered(200, &HeaderMap::new(), body, &mask(), &places());
        assert_eq!(
            answer(br#"{"n": 1.10, "s": "the-secret\/0451"}"#).json.unwrap().get(),
            r#"{"n": 1.10, "s": "[masked]"}"#
        );
        assert_eq!(answer(b"{half").text.unwrap(), "{half");
        assert_eq!(answer(b"7").text.unwrap(), "7");
        assert_eq!(answer(b"\xff the-secret/0451").base64.unwrap(), encoded(b"\xff [masked]"));
        assert_eq!(answer(br#"{"template":"{api}/x"}"#).base64.unwrap(), encoded(br#"{"template":"{api}/x"}"#));
        let mut form = HeaderMap::new();
        form.insert("content-type", "application/x-www-form-urlencoded".parse().unwrap());
        let form = answered(200, &form, b"k=the-secret/0451&u=https://h/v1/x", &mask(), &places());
        assert_eq!(form.text.unwrap(), "k=[masked]&u={api}/x");
        let asked = |body: &[u8], content_type: &str| {
            let headers = [("Content-Type".to_owned(), content_type.to_owned()), ("X-Other".into(), "x".into())];
            asked("POST", "https://h/v1/?a=the-secret%2F0451", &headers, body, &mask(), &places())
        };
        let form = asked(b"a=1+2&u=https%3A%2F%2Fh", "application/x-www-form-urlencoded");
        assert_eq!(form.form.unwrap(), [("a".into(), "1 2".into()), ("u".into(), "https://h".into())]);
        assert_eq!(form.url, "{api}/?a=[masked]");
        assert_eq!(form.headers.len(), 1);
        assert!(asked(b"3", "application/json").json.is_some() && asked(b"3", "text/plain").text.is_some());
    }
}
