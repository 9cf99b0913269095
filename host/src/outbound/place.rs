//! Putting a value where a credential goes: pure, one function for each place.
//!
//! A plugin never sets what the host sets: where it did, the request is refused instead of one of the two being sent.
//! A value with characters that its place cannot carry is refused too, and never shown.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, header};
use url::{Position, Url, form_urlencoded};
use zeroize::Zeroizing;

use super::object::Object;
use super::sign::header_name;
use crate::error::{Error, Kind, Result, rule};
use crate::percent;

/// Into a header.
pub(super) fn header(headers: &mut HeaderMap, credential: &str, name: &str, value: &str) -> Result<()> {
    let mut value = HeaderValue::from_str(value).map_err(|_| unusable(credential, "header"))?;
    value.set_sensitive(true);
    match headers.insert(header_name(name)?, value) {
        Some(_) => Err(set_by_guest(&format!("header {name}"))),
        None => Ok(()),
    }
}

/// Into a cookie (RFC 6265, 4.1.1).
pub(super) fn cookie(headers: &mut HeaderMap, credential: &str, name: &str, value: &str) -> Result<()> {
    let is_octet = |byte: u8| matches!(byte, 0x21 | 0x23..=0x2b | 0x2d..=0x3a | 0x3c..=0x5b | 0x5d..=0x7e);
    if !value.bytes().all(is_octet) {
        return Err(unusable(credential, "cookie"));
    }
    header(headers, credential, header::COOKIE.as_str(), &Zeroizing::new(format!("{name}={value}")))
}

/// Into the query.
pub(super) fn query(url: &Url, credential: &str, name: &str, value: &str) -> Result<Zeroizing<String>> {
    check_printable(credential, "query", value)?;
    if url.query_pairs().any(|(key, _)| key == name) {
        return Err(set_by_guest(&format!("query parameter {name}")));
    }
    let mut signed = url.clone();
    signed.query_pairs_mut().append_pair(name, value);
    Ok(Zeroizing::new(signed.into()))
}

/// An idempotency key, which is no secret, into the query.
pub(super) fn key(url: &mut Url, name: &str, key: &str) -> Result<()> {
    if url.query_pairs().any(|(own, _)| own == name) {
        return Err(Error::denied(
            rule::IDEMPOTENCY,
            format!("the plugin set the query parameter {name} itself and asked the host for a key as well"),
            "One of the two: a key of its own, with a request that is safe to repeat, or the host's.",
        ));
    }
    url.query_pairs_mut().append_pair(name, key);
    Ok(())
}

/// Into the path, where the marker stands.
pub(super) fn path(url: &Url, credential: &str, marker: &str, value: &str) -> Result<Zeroizing<String>> {
    check_printable(credential, "path", value)?;
    let value = Zeroizing::new(segment(value));
    let (before, after) = url.path().split_once(&written(marker)).ok_or_else(|| unusable(credential, "path"))?;
    let path = Zeroizing::new(format!("{before}{}{after}", *value));
    // A segment of dots is another path (RFC 3986, 5.2.4).
    if path.split('/').any(|part| matches!(part, "." | "..")) {
        return Err(unusable(credential, "path"));
    }
    Ok(Zeroizing::new(format!("{}{}{}", &url[..Position::BeforePath], *path, &url[Position::AfterPath..])))
}

/// Into a field of the body, which is a form or a JSON object by the request's content type. What else stands there
/// stays as it is, to the byte.
pub(super) fn body(
    headers: &HeaderMap,
    body: Option<&Bytes>,
    credential: &str,
    field: &str,
    value: &str,
) -> Result<Bytes> {
    check_printable(credential, "body", value)?;
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match (body, kind.as_str()) {
        (Some(body), "application/x-www-form-urlencoded") => form(body, field, value),
        (Some(body), kind) if kind == "application/json" || kind.ends_with("+json") => object(body, field, value),
        _ => Err(Error::denied(
            rule::CREDENTIAL,
            format!(
                "the credential `{credential}` goes into the body field {field}, and this request has no such body"
            ),
            "It takes a body that is there as a whole, with content-type application/x-www-form-urlencoded or application/json.",
        )),
    }
}

fn form(body: &Bytes, field: &str, value: &str) -> Result<Bytes> {
    if form_urlencoded::parse(body).any(|(name, _)| name == field) {
        return Err(set_by_guest(&format!("body field {field}")));
    }
    let pair = Zeroizing::new(form_urlencoded::Serializer::new(String::new()).append_pair(field, value).finish());
    let between: &[u8] = if body.is_empty() { b"" } else { b"&" };
    Ok([body, between, pair.as_bytes()].concat().into())
}

fn object(body: &Bytes, field: &str, value: &str) -> Result<Bytes> {
    let refused = || {
        Error::denied(
            rule::CREDENTIAL,
            format!("the credential goes into the field {field} of a JSON object, and the body is none"),
            "Send an object; the host adds the field.",
        )
    };
    let object = Object::read(body, field).map_err(|_| refused())?;
    if object.has_key {
        return Err(set_by_guest(&format!("body field {field}")));
    }
    let opened = body.iter().position(|byte| *byte == b'{').ok_or_else(refused)? + 1;
    let (start, rest) = body.split_at(opened);
    let text = |text: &str| serde_json::to_string(text).map(Zeroizing::new).map_err(|_| refused());
    let pair = Zeroizing::new(format!("{}:{}", *text(field)?, *text(value)?));
    let between: &[u8] = if object.is_empty { b"" } else { b"," };
    Ok([start, pair.as_bytes(), between, rest].concat().into())
}

/// How often a marker stands in a text, as it is or as a URL writes it.
pub(super) fn markers(text: &str, marker: &str) -> usize {
    let (text, marker) = (text.to_ascii_lowercase(), marker.to_ascii_lowercase());
    text.matches(&marker).count() + text.matches(&written(&marker).to_ascii_lowercase()).count()
}

/// A marker as the path of a URL holds it.
fn written(marker: &str) -> String {
    marker.replace('{', "%7B").replace('}', "%7D")
}

/// A value as one segment of a path (RFC 3986, 3.3).
fn segment(value: &str) -> String {
    percent::encoded(value.as_bytes(), |byte| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@".contains(&byte))
}

fn check_printable(credential: &str, place: &str, value: &str) -> Result<()> {
    if value.chars().any(char::is_control) { Err(unusable(credential, place)) } else { Ok(()) }
}

fn unusable(name: &str, place: &str) -> Error {
    Error::new(Kind::CredentialUnavailable, format!("the credential `{name}` has characters that no {place} can carry"))
}

fn set_by_guest(place: &str) -> Error {
    Error::denied(
        rule::CREDENTIAL,
        format!("the plugin set the {place} itself, where the host places the credential"),
        "Take it out of the request; the host signs.",
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn typed(kind: &str) -> HeaderMap {
        HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_str(kind).unwrap())])
    }

    fn put(kind: &str, text: &str, value: &str) -> Result<String> {
        let bytes = Bytes::copy_from_slice(text.as_bytes());
        body(&typed(kind), Some(&bytes), "c", "key", value).map(|body| String::from_utf8(body.to_vec()).unwrap())
    }

    #[test]
    fn a_form_gets_one_more_field() {
        let kind = "application/x-www-form-urlencoded; charset=utf-8";
        assert_eq!(put(kind, "a=1&b=%20", "x&y=z").unwrap(), "a=1&b=%20&key=x%26y%3Dz");
        assert_eq!(put(kind, "", "x").unwrap(), "key=x");
        for taken in ["key=1", "a=1&%6bey=", "key", "a&key&b"] {
            assert!(matches!(put(kind, taken, "x").unwrap_err().kind(), Kind::PolicyDenied(_)), "{taken}");
        }
    }

    #[test]
    fn an_object_gets_one_more_field_and_stays_as_it_is() {
        let kind = "application/vnd.api+json";
        assert_eq!(
            put(kind, " {\"n\": 1.10, \"n2\":1e400}", "x\"y").unwrap(),
            " {\"key\":\"x\\\"y\",\"n\": 1.10, \"n2\":1e400}"
        );
        assert_eq!(put("application/json", "{ }", "x").unwrap(), "{\"key\":\"x\" }");
        for wrong in ["{\"key\": 1}", "{\"\\u006bey\": null}", "[]", "\"text\"", "", "{", "{} {}"] {
            assert!(matches!(put(kind, wrong, "x").unwrap_err().kind(), Kind::PolicyDenied(_)), "{wrong}");
        }
    }

    #[test]
    fn a_body_of_another_kind_is_refused() {
        for kind in ["text/plain", "multipart/form-data; boundary=x", "application/jsonp", ""] {
            let error = put(kind, "{}", "x").unwrap_err();
            assert!(error.details().unwrap().contains("content-type"), "{kind}: {error}");
        }
        assert!(body(&typed("application/json"), None, "c", "key", "x").is_err());
    }

    #[test]
    fn the_path_gets_the_value_where_the_marker_stood() {
        let url = Url::parse("https://api.test/bot{key}/send?x={key}").unwrap();
        assert_eq!(
            *path(&url, "c", "{key}", "12:aB/?#ä").unwrap(),
            "https://api.test/bot12:aB%2F%3F%23%C3%A4/send?x={key}"
        );
        assert_eq!(
            (markers(url.as_str(), "{key}"), markers("/%7bKEY%7d", "{key}"), markers("/key", "{key}")),
            (2, 1, 0)
        );
        for dots in [".", ".."] {
            let url = Url::parse("https://api.test/a/{key}/b").unwrap();
            assert_eq!(*path(&url, "c", "{key}", dots).unwrap_err().kind(), Kind::CredentialUnavailable);
        }
    }

    #[test]
    fn what_a_place_cannot_carry_is_refused_and_not_shown() {
        let url = Url::parse("https://api.test/{key}").unwrap();
        for value in ["s3cret\nx", "s3cret\0", "s3cret\u{85}"] {
            let refusals = [
                query(&url, "c", "k", value).err(),
                path(&url, "c", "{key}", value).err(),
                put("application/json", "{}", value).err(),
                header(&mut HeaderMap::new(), "c", "x-key", value)
                    .err()
                    .or_else(|| cookie(&mut HeaderMap::new(), "c", "k", value).err()),
            ];
            for refusal in refusals {
                let refusal = refusal.unwrap();
                assert_eq!(*refusal.kind(), Kind::CredentialUnavailable);
                assert!(!refusal.to_string().contains("s3cret"), "{refusal}");
            }
        }
        for value in ["a;b", "a b", "a,b", "a\"b", "a\\b", "ä"] {
            assert!(cookie(&mut HeaderMap::new(), "c", "k", value).is_err(), "{value}");
        }
    }

    /// R6: whoever prints header fields shows none of them.
    #[test]
    fn r6_a_field_that_carries_a_credential_is_sensitive() {
        let mut headers = HeaderMap::new();
        header(&mut headers, "c", "x-key", "s3cret").unwrap();
        cookie(&mut headers, "c", "session", "s3cret").unwrap();
        assert_eq!(headers.len(), 2);
        assert!(headers.values().all(HeaderValue::is_sensitive) && !format!("{headers:?}").contains("s3cret"));
    }

    proptest! {
        /// Whatever the value, the URL is the same but for one segment, and holds the value.
        #[test]
        fn a_path_changes_in_one_segment(value in "[^\\pC]{1,20}") {
            let url = Url::parse("https://api.test/a/x{key}/b?q#").unwrap();
            let signed = path(&url, "c", "{key}", &value).unwrap();
            let read = Url::parse(&signed).unwrap();
            let parts: Vec<&str> = read.path_segments().unwrap().collect();
            prop_assert_eq!((parts.len(), parts[0], parts[2], read.query()), (3, "a", "b", Some("q")));
            let put = parts[1].strip_prefix('x').unwrap();
            let mut decoded = form_urlencoded::parse(put.replace('+', "%2B").replace('&', "%26").replace('=', "%3D").as_bytes()).into_owned().collect::<Vec<_>>();
            prop_assert_eq!(decoded.pop().unwrap().0, value);
        }
    }
}
