//! Paths with wildcards, by which a grant, a budget and a credential say where they hold; and what is no path at all,
//! because two servers would read it in two ways.

use std::fmt;

use url::Url;

use crate::text::short;

/// A full path with wildcards: `*` is one segment that is not empty, `**` at the end any number of segments or none.
///
/// Wildcards stand for whole segments. Elsewhere a trailing slash counts: `/a` is not `/a/`. Literal segments are
/// compared as they are sent, percent-encoded where a URL is.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct PathPattern {
    segments: Vec<Segment>,
    any_rest: bool,
}

#[derive(Clone, PartialEq, Eq)]
enum Segment {
    Literal(String),
    One,
}

impl PathPattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// A sentence that says what is wrong with it. A pattern that no request could match is an error too.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let refuse = |why: &str| Err(format!("path `{}` {why}", short(text)));
        let Some(inner) = text.strip_prefix('/') else {
            return refuse("does not begin with `/`");
        };
        if let Err(why) = check_path(text) {
            return refuse(why);
        }
        let is_as_sent = Url::parse(&format!("http://pattern{text}")).is_ok_and(|u| u.path() == text);
        if !is_as_sent {
            return refuse(
                "is not written as it is sent: percent-encode what a path cannot hold, write `*` for what varies",
            );
        }
        let mut segments = Vec::new();
        let mut parts = inner.split('/').peekable();
        while let Some(part) = parts.next() {
            match part {
                "**" if parts.peek().is_none() => return Ok(Self { segments, any_rest: true }),
                "**" => return refuse("has `**` before its end"),
                "*" => segments.push(Segment::One),
                part if part.contains('*') => return refuse("has `*` as a part of a segment"),
                part => segments.push(Segment::Literal(part.to_owned())),
            }
        }
        Ok(Self { segments, any_rest: false })
    }

    /// Whether a URL's path is one of those meant.
    pub(crate) fn matches(&self, path: &str) -> bool {
        let Some(inner) = path.strip_prefix('/') else {
            return false;
        };
        let mut parts = inner.split('/');
        let all = self.segments.iter().all(|segment| match (segment, parts.next()) {
            (Segment::Literal(literal), Some(part)) => literal == part,
            (Segment::One, Some(part)) => !part.is_empty(),
            (_, None) => false,
        });
        all && (self.any_rest || parts.next().is_none())
    }
}

/// As it was written.
impl fmt::Display for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for segment in &self.segments {
            match segment {
                Segment::Literal(literal) => write!(f, "/{literal}")?,
                Segment::One => write!(f, "/*")?,
            }
        }
        if self.any_rest { write!(f, "/**") } else { Ok(()) }
    }
}

impl fmt::Debug for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PathPattern({self})")
    }
}

/// Refuses what servers and proxies are known to read in more than one way.
pub(super) fn check_path(path: &str) -> Result<(), &'static str> {
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn patterns_match_whole_segments() {
        for (pattern, yes, no) in [
            ("/", &["/"][..], &["", "//", "/a"][..]),
            ("/a", &["/a"], &["/", "/a/", "/A", "/ab", "/a/b", "a"]),
            ("/a/", &["/a/"], &["/a", "/a//", "/a/b"]),
            ("/a/*", &["/a/b", "/a/%20", "/a/*"], &["/a", "/a/", "/a/b/", "/a/b/c"]),
            ("/*/b", &["/a/b"], &["//b", "/b", "/a/b/"]),
            ("/a/**", &["/a", "/a/", "/a/b", "/a/b/", "/a//b"], &["/", "/ab", "/b/a"]),
            ("/**", &["/", "/a", "/a/b"], &["", "a"]),
        ] {
            let parsed = PathPattern::parse(pattern).unwrap();
            assert_eq!(parsed.to_string(), pattern);
            yes.iter().for_each(|path| assert!(parsed.matches(path), "{pattern} {path}"));
            no.iter().for_each(|path| assert!(!parsed.matches(path), "{pattern} {path}"));
        }
        for pattern in
            ["", "a", "*", "/a*", "/**/a", "/***", "/a b", "/ä", "/a?b", "/a#b", "/{id}", "/../a", "/%2e", "/\\"]
        {
            assert!(PathPattern::parse(pattern).is_err(), "{pattern}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn a_pattern_reads_back(text in "(/[a-z*]{0,3}){1,4}") {
            if let Ok(pattern) = PathPattern::parse(&text) {
                prop_assert_eq!(pattern.to_string(), text);
            }
        }
    }
}
