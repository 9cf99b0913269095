//! Names of header fields: which are the same, and which only the host sets.
//!
//! A gateway may read another name than the one that was written, so names are compared as the loosest reader would.

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

pub(super) const HOST_HEADERS: &[&str] = &[
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
