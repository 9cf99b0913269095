//! The host's rules about any request and any answer, whatever a manifest says: the native kit refuses what the host refuses
//! in every configuration, and hands over what it hands over. And its limits on what is kept, as they are by default.
//!
//! The SDK must not depend on the host, so these are copies, to the letter, which `tests/all/tidy.rs` holds together. Only
//! [`check_url`] is shorter than the host's own: here a URL begins with an origin that is made up.

use std::borrow::Cow;

/// Most bytes of a key of state, as the contract says.
pub(super) const KEY_BYTES_MAX: usize = 256;

/// Most bytes of an emitted event's type, and of its key.
pub(super) const EVENT_NAME_BYTES_MAX: usize = 1_024;

/// What the host takes of the outcome of one event, and of a connection's state, where the connection says nothing else.
const LIMITS: [(&str, usize); 7] = [
    ("emitted_events", 1_000),
    ("emitted_bytes", 4 << 20),
    ("messages", 100),
    ("message_bytes", 1 << 20),
    ("cursor_bytes", 16 << 10),
    ("state_bytes", 1 << 20),
    ("state_keys", 1_000),
];

/// Why the host would keep nothing where there is so much of it.
pub(super) fn check_limit(limit: &str, value: usize) -> Result<(), String> {
    match LIMITS.iter().find(|(name, most)| *name == limit && value > *most) {
        Some((_, most)) => Err(format!("{value} are more than the limit {limit}, which is {most} by default")),
        None => Ok(()),
    }
}

/// Why the host would send nothing to this URL, behind its origin; completes "a URL that ...".
pub(super) fn check_url(url: &str) -> Result<(), &'static str> {
    if url.bytes().any(|byte| byte <= b' ' || byte == 0x7f) {
        return Err("holds a space or a control character");
    }
    if url.contains('#') {
        return Err("has a fragment");
    }
    let (_, rest) = url.split_once("://").ok_or("is not absolute")?;
    let place = rest.split('?').next().unwrap_or("");
    check_path(place.find('/').map_or("", |at| &place[at..]))
}

/// Refuses what servers and proxies are known to read in more than one way.
fn check_path(path: &str) -> Result<(), &'static str> {
    if path.contains('\\') {
        return Err("has a backslash in its path");
    }
    for segment in path.split('/') {
        // `..;x` is `..` to servers that take off path parameters first.
        if matches!(segment.split(';').next(), Some("." | "..")) {
            return Err("has a dot segment in its path");
        }
    }
    for escape in path.split('%').skip(1) {
        let byte = escape.get(..2).and_then(|digits| match digits.bytes().all(|b| b.is_ascii_hexdigit()) {
            true => u8::from_str_radix(digits, 16).ok(),
            false => None,
        });
        match byte {
            None => return Err("has a `%` in its path that is no escape"),
            Some(b'/' | b'\\' | b'.') => return Err("has an encoded slash, backslash or dot in its path"),
            Some(0..=0x1f | 0x7f) => return Err("has an encoded control character in its path"),
            Some(_) => {}
        }
    }
    Ok(())
}

/// Whether a header can be called so (RFC 9110, 5.6.2).
pub(super) fn is_token(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

/// Names that servers behind a gateway read as one: case does not count, nor does `_` against `-`.
pub(super) fn is_same_header(one: &str, other: &str) -> bool {
    let plain = |b: u8| if b == b'_' { b'-' } else { b.to_ascii_lowercase() };
    one.bytes().map(plain).eq(other.bytes().map(plain))
}

/// Whether a header belongs to the host: framing, routing, identity, and what rewrites method or path behind the check.
pub(super) fn is_host_header(name: &str) -> bool {
    HOST_HEADERS.iter().any(|h| is_same_header(h, name))
        || HOST_HEADER_PREFIXES.iter().any(|p| name.get(..p.len()).is_some_and(|start| is_same_header(p, start)))
}

const HOST_HEADERS: &[&str] = &[
    "accept-encoding",
    "authorization",
    "connection",
    "content-length",
    "cookie",
    "cookie2",
    "expect",
    "forwarded",
    "host",
    "http2-settings",
    "keep-alive",
    "origin",
    "referer",
    "set-cookie",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "via",
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
    "x-original-url",
    "x-real-ip",
    "x-rewrite-url",
];

const HOST_HEADER_PREFIXES: &[&str] = &["proxy-", "x-forwarded-"];

/// Whether a header of an answer carries something like a credential, which a plugin has no use for. Names in any case.
pub(super) fn header_is_secret(name: &str) -> bool {
    let name = match name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        true => Cow::Owned(name.to_ascii_lowercase()),
        false => Cow::Borrowed(name),
    };
    let is_suspect = SECRET_ENDS.iter().any(|end| name.ends_with(end));
    SECRET_HEADERS.binary_search(&&*name).is_ok()
        || (is_suspect && SECRET_HEADER_ENDS.iter().any(|end| name.ends_with(end)))
}

/// Sorted.
const SECRET_HEADERS: &[&str] = &[
    "api-key",
    "authentication-info",
    "authorization",
    "cookie",
    "cookie2",
    "proxy-authenticate",
    "proxy-authentication-info",
    "proxy-authorization",
    "set-authorization",
    "set-cookie",
    "set-cookie2",
    "token",
    "x-api-key",
    "x-authorization",
    "x-token",
];

/// How each of the next ends.
const SECRET_ENDS: [&str; 3] = ["token", "secret", "session-id"];

const SECRET_HEADER_ENDS: &[&str] = &[
    "access-token",
    "auth-token",
    "csrf-token",
    "id-token",
    "refresh-token",
    "secret",
    "security-token",
    "session-id",
    "session-token",
    "xsrf-token",
];
