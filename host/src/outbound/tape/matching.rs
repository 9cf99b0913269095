//! Whether a request is the one that a tape holds.
//!
//! Compared is what the provider would understand, not how it is written: the method; the URL with its percent-encoding
//! undone and its query in any order; the header fields that the tape names; the body as JSON, as pairs of a form, as
//! text or as bytes. Numbers are compared as they are written wherever a float would lose a digit.

use serde_json::value::RawValue;
use url::Url;

use super::fixture::{Asked, decoded, placed};
use super::json::same_json;
use crate::percent;

/// A request that wants an answer.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// The method.
    pub method: &'a str,
    /// The absolute URL, without a credential.
    pub url: &'a str,
    /// Header fields.
    pub headers: &'a [(String, String)],
    /// The body; empty where there is none.
    pub body: &'a [u8],
}

impl Asked {
    /// Whether this is the request. `base_of` says what `{name}` stands for.
    pub fn is(&self, wanted: &Wanted<'_>, base_of: &dyn Fn(&str) -> Option<String>) -> bool {
        self.method == wanted.method
            && Apart::of(&placed(&self.url, base_of)) == Apart::of(wanted.url)
            && self.headers.iter().all(|(name, value)| {
                let value = placed(value, base_of);
                wanted.headers.iter().any(|(own, seen)| own.eq_ignore_ascii_case(name) && *seen == value)
            })
            && self.has_body(wanted.body, base_of)
    }

    fn has_body(&self, body: &[u8], base_of: &dyn Fn(&str) -> Option<String>) -> bool {
        match (&self.json, &self.form, &self.text, &self.base64) {
            (Some(json), ..) => {
                let own = placed(json.get(), base_of);
                match (serde_json::from_str::<&RawValue>(&own), serde_json::from_slice::<&RawValue>(body)) {
                    (Ok(own), Ok(seen)) => same_json(own, seen),
                    _ => false,
                }
            }
            (_, Some(form), ..) => {
                let own = form.iter().map(|(name, value)| (placed(name, base_of), placed(value, base_of)));
                url::form_urlencoded::parse(body).into_owned().eq(own)
            }
            (_, _, Some(text), _) => placed(text, base_of).as_bytes() == body,
            (_, _, _, Some(encoded)) => decoded(Some(encoded)).is_ok_and(|own| own == body),
            (None, None, None, None) => body.is_empty(),
        }
    }

    /// How much this resembles a request that it is not: for a message that names the nearest.
    pub(super) fn likeness(&self, wanted: &Wanted<'_>, base_of: &dyn Fn(&str) -> Option<String>) -> usize {
        let (own, other) = (Apart::of(&placed(&self.url, base_of)), Apart::of(wanted.url));
        let common_start = own.place.iter().zip(&other.place).take_while(|(a, b)| a == b).count();
        let common_pairs = own.query.iter().filter(|pair| other.query.contains(pair)).count();
        let is_place = usize::from(own.place == other.place);
        common_start.min(999)
            + 1_000 * common_pairs.min(999)
            + 1_000_000 * is_place
            + 2_000_000 * usize::from(self.method == wanted.method)
    }
}

/// A URL as it is compared.
#[derive(PartialEq, Eq)]
struct Apart {
    place: Vec<u8>,
    query: Vec<(String, String)>,
}

impl Apart {
    fn of(url: &str) -> Self {
        let url = Url::parse(url).map_or_else(|_| url.to_owned(), String::from);
        let (place, query) = url.split_once('?').unwrap_or((&url, ""));
        let mut query: Vec<_> = url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        query.sort();
        Self { place: percent::decoded(place), query }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base_of(name: &str) -> Option<String> {
        (name == "api").then(|| "https://h/v1".to_owned())
    }

    fn is(asked: &str, method: &str, url: &str, headers: &[(&str, &str)], body: &[u8]) -> bool {
        let asked: Asked = serde_json::from_str(asked).unwrap();
        let headers: Vec<_> = headers.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        asked.is(&Wanted { method, url, headers: &headers, body }, &base_of)
    }

    #[test]
    fn urls_are_compared_as_they_are_understood() {
        let asked = r#"{"method":"GET","url":"{api}/a b/c?x=1&y=a+b&x=2"}"#;
        for (url, fits) in [
            ("https://h/v1/a%20b/c?x=1&y=a+b&x=2", true),
            ("https://h/v1/a%20b/%63?y=a%20b&x=2&x=1", true),
            ("https://h:443/v1/a%20b/c?y=a%20b&x=2&x=1", true),
            ("https://h/v1/a%20b/c?x=1&y=a+b", false),
            ("https://h/v1/a%20b/c?x=1&y=a+b&x=2&x=2", false),
            ("https://h/v1/a%20b/c/?x=1&y=a+b&x=2", false),
            ("http://h/v1/a%20b/c?x=1&y=a+b&x=2", false),
            ("https://i/v1/a%20b/c?x=1&y=a+b&x=2", false),
        ] {
            assert_eq!(is(asked, "GET", url, &[], b""), fits, "{url}");
        }
        assert!(!is(asked, "POST", "https://h/v1/a%20b/c?x=1&y=a+b&x=2", &[], b""));
    }

    #[test]
    fn bodies_are_compared_as_what_they_are() {
        let with = |body: &str, sent: &[u8]| {
            is(&format!(r#"{{"method":"POST","url":"{{api}}/",{body}}}"#), "POST", "https://h/v1/", &[], sent)
        };
        assert!(with(r#""json":{"a":1,"b":[1.50,null]}"#, br#"{ "b": [1.5, null], "a": 1 }"#));
        assert!(!with(r#""json":{"a":1}"#, br#"{"a":1,"a":1}"#));
        assert!(!with(r#""json":{"a":1}"#, br#"{"a":"1"}"#));
        assert!(!with(r#""json":{"a":12345678901234567891}"#, br#"{"a":12345678901234567892.0}"#));
        assert!(!with(r#""json":123456789012345678901"#, b"123456789012345678902"));
        assert!(with(r#""json":"\u0061""#, br#""a""#));
        assert!(with(r#""json":{"u":"{api}/x"}"#, br#"{"u":"https://h/v1/x"}"#));
        assert!(!with(r#""json":{}"#, b"") && !with(r#""json":{}"#, b"{"));
        assert!(with(r#""form":[["a","b c"],["a","2"]]"#, b"a=b+c&a=2") && !with(r#""form":[["a","1"]]"#, b"a=1&b=2"));
        assert!(with(r#""text":"a""#, b"a") && !with(r#""text":"a""#, b"b"));
        assert!(with(r#""base64":"/w==""#, b"\xff") && !with(r#""base64":"/w==""#, b""));
        let none = r#"{"method":"POST","url":"{api}/"}"#;
        assert!(is(none, "POST", "https://h/v1/", &[], b"") && !is(none, "POST", "https://h/v1/", &[], b"a"));
    }

    #[test]
    fn only_the_header_fields_of_the_tape_count() {
        let asked = r#"{"method":"GET","url":"{api}/","headers":{"Accept":"text/csv"}}"#;
        let with = |headers: &[(&str, &str)]| is(asked, "GET", "https://h/v1/", headers, b"");
        assert!(with(&[("x", "y"), ("accept", "text/csv")]) && !with(&[]) && !with(&[("accept", "text/html")]));
    }
}
