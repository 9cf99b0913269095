//! AWS Signature Version 4: a signature over method, path, query, some headers and the body's hash.
//!
//! Pure: the time is handed in, and every attempt is signed anew, for a signature holds for some minutes only. A body that
//! is written piece by piece is not hashed but named `UNSIGNED-PAYLOAD`; the connection's own encryption covers it.
//! (AWS, "Create a signed AWS API request", read 2026-11-24.)

use aws_lc_rs::digest;
use http::HeaderMap;
use url::Url;
use zeroize::Zeroizing;

use super::{Outgoing, Payload};
use crate::hex::hex;
use crate::percent::{self, decoded};
use crate::time::Timestamp;

/// What a signature is for and made with.
pub(crate) struct Signing<'a> {
    pub(crate) access_key: &'a str,
    pub(crate) secret: &'a str,
    pub(crate) session: Option<&'a str>,
    pub(crate) region: &'a str,
    pub(crate) service: &'a str,
}

const ALGORITHM: &str = "AWS4-HMAC-SHA256";

impl Signing<'_> {
    /// The headers that make a request a signed one; the last is `authorization`. With them, the signature alone.
    pub(crate) fn headers(
        &self,
        outgoing: &Outgoing<'_>,
    ) -> (Vec<(&'static str, Zeroizing<String>)>, Zeroizing<String>) {
        let payload = hash_of(&outgoing.payload);
        let mut added = vec![
            ("x-amz-content-sha256", Zeroizing::new(payload.clone())),
            ("x-amz-date", Zeroizing::new(date(outgoing.now))),
        ];
        if let Some(session) = self.session {
            added.push(("x-amz-security-token", Zeroizing::new(session.to_owned())));
        }
        let mut signed = signed_headers(outgoing.url, outgoing.headers);
        signed.extend(added.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
        let (authorization, signature) = self.authorization(outgoing, signed, &payload);
        added.push(("authorization", authorization));
        (added, signature)
    }

    fn authorization(
        &self,
        outgoing: &Outgoing<'_>,
        mut signed: Vec<(String, Zeroizing<String>)>,
        payload: &str,
    ) -> (Zeroizing<String>, Zeroizing<String>) {
        signed.sort_by(|a, b| a.0.cmp(&b.0));
        let names = signed.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(";");
        let mut canonical = Zeroizing::new(format!(
            "{}\n{}\n{}\n",
            outgoing.method,
            canonical_path(outgoing.url, self.service),
            canonical_query(outgoing.url)
        ));
        for (name, value) in &signed {
            let value = Zeroizing::new(value.split_ascii_whitespace().collect::<Vec<_>>().join(" "));
            canonical.push_str(&format!("{name}:{}\n", *value));
        }
        canonical.push_str(&format!("\n{names}\n{payload}"));
        let date = date(outgoing.now);
        let day = date.get(..8).unwrap_or_default();
        let scope = format!("{day}/{}/{}/aws4_request", self.region, self.service);
        let to_sign = format!(
            "{ALGORITHM}\n{date}\n{scope}\n{}",
            hex(digest::digest(&digest::SHA256, canonical.as_bytes()).as_ref())
        );
        let first = Zeroizing::new(format!("AWS4{}", self.secret));
        let mut key = Zeroizing::new(first.as_bytes().to_vec());
        for part in [day, self.region, self.service, "aws4_request"] {
            key = Zeroizing::new(mac(&key, part));
        }
        let signature = Zeroizing::new(hex(&mac(&key, &to_sign)));
        let authorization = format!(
            "{ALGORITHM} Credential={}/{scope}, SignedHeaders={names}, Signature={}",
            self.access_key, *signature
        );
        (Zeroizing::new(authorization), signature)
    }
}

/// The headers of a request that are signed: where it goes, what its body is, and everything of the service's own.
fn signed_headers(url: &Url, headers: &HeaderMap) -> Vec<(String, Zeroizing<String>)> {
    let host = match (url.host_str(), url.port()) {
        (Some(host), Some(port)) => format!("{host}:{port}"),
        (host, _) => host.unwrap_or_default().to_owned(),
    };
    let mut signed = vec![("host".to_owned(), Zeroizing::new(host))];
    for (name, value) in headers {
        if name == "content-type" || name.as_str().starts_with("x-amz-") {
            signed.push((name.as_str().to_owned(), Zeroizing::new(value.to_str().unwrap_or_default().to_owned())));
        }
    }
    signed
}

/// The path with each segment encoded once more, as every service but S3 has it; S3 takes it encoded once.
fn canonical_path(url: &Url, service: &str) -> String {
    let path = url.path();
    if service == "s3" {
        return encoded(&decoded(path), b"/");
    }
    let mut plain = String::with_capacity(path.len());
    for byte in path.chars() {
        // Slashes side by side count as one.
        if !(byte == '/' && plain.ends_with('/')) {
            plain.push(byte);
        }
    }
    encoded(plain.as_bytes(), b"/")
}

/// The query, encoded strictly and in the order of its bytes.
fn canonical_query(url: &Url) -> String {
    let pairs = url.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
    let mut pairs: Vec<(String, String)> = pairs
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (encoded(&decoded(name), b""), encoded(&decoded(value), b""))
        })
        .collect();
    pairs.sort();
    pairs.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&")
}

/// RFC 3986's unreserved characters stay, and what is kept beside them.
fn encoded(bytes: &[u8], kept: &[u8]) -> String {
    let stays = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) || kept.contains(&byte);
    percent::encoded(bytes, stays)
}

fn hash_of(payload: &Payload<'_>) -> String {
    match payload {
        Payload::Whole(bytes) => hex(digest::digest(&digest::SHA256, bytes).as_ref()),
        Payload::InPieces => "UNSIGNED-PAYLOAD".to_owned(),
    }
}

/// `20150830T123600Z`
fn date(now: Timestamp) -> String {
    let whole = Timestamp::from_millis(now.as_millis() / 1000 * 1000);
    whole.to_string().replace(['-', ':'], "")
}

fn mac(key: &[u8], text: &str) -> Vec<u8> {
    super::hmac::Function::Sha256.mac(key, text.as_bytes())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    /// The key of AWS's published test suite for Signature Version 4.
    fn suite<'a>() -> Signing<'a> {
        Signing {
            access_key: "AKIDEXAMPLE",
            secret: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
            session: None,
            region: "us-east-1",
            service: "service",
        }
    }

    fn at() -> Timestamp {
        Timestamp::parse("2015-08-30T12:36:00Z").unwrap()
    }

    /// Signed as the suite does it: host and date, and no hash of the body in a header.
    fn signature(method: &str, url: &str) -> String {
        let (url, headers) = (Url::parse(url).unwrap(), HeaderMap::new());
        let outgoing = Outgoing { now: at(), method, url: &url, headers: &headers, payload: Payload::Whole(b"") };
        let mut signed = signed_headers(&url, &headers);
        signed.push(("x-amz-date".to_owned(), Zeroizing::new(date(at()))));
        suite().authorization(&outgoing, signed, &hash_of(&outgoing.payload)).0.to_string()
    }

    #[test]
    fn the_published_examples_hold() {
        // get-vanilla
        assert_eq!(
            signature("GET", "https://example.amazonaws.com/"),
            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, \
             SignedHeaders=host;x-amz-date, Signature=5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"
        );
        // get-vanilla-query-order-key-case, post-vanilla
        for (method, target, expected) in [
            (
                "GET",
                "/?Param2=value2&Param1=value1",
                "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
            ),
            ("POST", "/", "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"),
        ] {
            let said = signature(method, &format!("https://example.amazonaws.com{target}"));
            assert!(said.ends_with(expected), "{method} {target}: {said}");
        }
    }

    #[test]
    fn what_a_request_says_is_signed() {
        let url = Url::parse("https://bucket.test:8443/a%20b//c?x=1&list").unwrap();
        let headers = HeaderMap::from_iter([
            (http::header::CONTENT_TYPE, HeaderValue::from_static("text/plain")),
            (http::HeaderName::from_static("x-amz-meta-a"), HeaderValue::from_static(" a   b ")),
            (http::header::ACCEPT, HeaderValue::from_static("*/*")),
        ]);
        let of = |payload, method| Outgoing { now: at(), method, url: &url, headers: &headers, payload };
        let signing = Signing { session: Some("temporary"), service: "s3", ..suite() };
        let (added, signature) = signing.headers(&of(Payload::Whole(b"body"), "PUT"));
        let names: Vec<&str> = added.iter().map(|(name, _)| *name).collect();
        assert_eq!(names, ["x-amz-content-sha256", "x-amz-date", "x-amz-security-token", "authorization"]);
        let authorization = added[3].1.as_str();
        let signed =
            "SignedHeaders=content-type;host;x-amz-content-sha256;x-amz-date;x-amz-meta-a;x-amz-security-token,";
        assert!(authorization.contains(signed) && authorization.ends_with(signature.as_str()), "{authorization}");
        assert!(!authorization.contains(signing.secret));
        // Another body, method or time is another signature, and a body in pieces is said to be unsigned.
        for (payload, method) in
            [(Payload::Whole(b"bodx"), "PUT"), (Payload::Whole(b"body"), "POST"), (Payload::InPieces, "PUT")]
        {
            assert_ne!(*signing.headers(&of(payload, method)).1, *signature);
        }
        assert_eq!(signing.headers(&of(Payload::InPieces, "PUT")).0[0].1.as_str(), "UNSIGNED-PAYLOAD");
        assert_eq!(
            (canonical_path(&url, "s3"), canonical_path(&url, "other")),
            ("/a%20b//c".into(), "/a%2520b/c".into())
        );
        assert_eq!(canonical_query(&url), "list=&x=1");
        assert_eq!(decoded("%41%zz%4"), b"A%zz%4");
    }
}
