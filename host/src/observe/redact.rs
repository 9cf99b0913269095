//! What a line of a log may hold: the door that every text passes before it is written anywhere.
//!
//! First go the secrets that are open in this process, in every form that a mask looks for (`mask.rs`). Then go
//! shapes, by [`RULES`]: credentials in headers, forms, JSON and URLs, tokens, keys, addresses of mail, numbers of cards and
//! the like. What a rule keeps is as deliberate as what it takes: a masked `apikey=` leaves the rest of its URL, and a
//! number of sixteen digits is a card only where its check digit says so.
//!
//! It is best effort and no boundary: a secret that nobody told the host, in a shape that no rule knows, passes. The
//! boundary is that the host logs no bodies, and of URLs no queries.

use std::borrow::Cow;
use std::io;
use std::ops::Range;
use std::sync::LazyLock;

use regex::{Captures, Regex};

use crate::mask::{self, MASKED};
use crate::text::is_unshowable;

/// The text without secrets: the values that this process knows, then shapes of credentials and of personal data.
///
/// For an embedder's own log. Text that comes in pieces goes through [`Redacted`].
///
/// ```
/// let line = wharfage::observe::redact("GET /orders?apikey=k3y-0f-acme&page=2 as bo@acme.example");
/// assert_eq!(line, "GET /orders?apikey=[masked]&page=2 as [email]");
/// ```
pub fn redact(text: &str) -> Cow<'_, str> {
    Redactor::default().text(text)
}

/// The value of a header field as it may be logged: only that of a name which is known to be harmless.
pub fn redact_header<'a>(name: &str, value: &'a str) -> Cow<'a, str> {
    let name = name.to_ascii_lowercase();
    let is_harmless = HARMLESS.contains(&name.as_str()) || HARMLESS_STARTS.iter().any(|start| name.starts_with(start));
    if is_harmless { redact(value) } else { Cow::Borrowed(MASKED) }
}

/// [`redact`] with its switches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Redactor {
    phone_numbers: bool,
}

impl Redactor {
    /// Takes telephone numbers too, as E.164 writes them: a plus sign and 8 to 15 digits. Off by default, for many a
    /// number begins with a plus sign.
    pub fn phone_numbers(mut self, are_taken: bool) -> Self {
        self.phone_numbers = are_taken;
        self
    }

    /// The text without what must not be logged.
    pub fn text<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let mut text = mask::all(text);
        for (rule, shape) in SHAPES.iter() {
            if rule.name == PHONE && !self.phone_numbers {
                continue;
            }
            if let Some(redacted) = rule.redacted(shape, &text) {
                text = Cow::Owned(redacted);
            }
        }
        text
    }
}

/// Whether a field of this name holds a credential, whatever its value looks like.
#[cfg(any(feature = "trace", test))]
pub(crate) fn is_secret_name(name: &str) -> bool {
    SECRET_NAME.as_ref().is_some_and(|shape| shape.is_match(name)) && !is_place_in_a_list(name)
}

/// Text that stays on its line and shows what is there: control characters, line ends and marks that turn the direction of
/// writing are written as escapes.
pub(crate) fn one_line(text: &str) -> Cow<'_, str> {
    if !text.contains(is_unshowable) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_unshowable(c) { out.extend(c.escape_default()) } else { out.push(c) }
    }
    Cow::Owned(out)
}

/// One shape: what it looks like, and what stands in its place.
struct Rule {
    name: &'static str,
    /// The group `v` is what goes; without one, all of it.
    shape: &'static str,
    instead: &'static str,
    /// What a shape alone cannot say.
    fits: fn(&Found<'_>) -> bool,
}

/// What a rule has found.
struct Found<'a> {
    text: &'a str,
    groups: &'a Captures<'a>,
    value: Range<usize>,
}

impl Found<'_> {
    fn value(&self) -> &str {
        &self.text[self.value.clone()]
    }

    fn group(&self, name: &str) -> &str {
        self.groups.name(name).map_or("", |group| group.as_str())
    }

    /// Whether it is the name of something that follows, as in `bearer expires_in=60`.
    fn is_name(&self) -> bool {
        let mut after = self.text[self.value.end..].chars();
        self.value().ends_with('=')
            && after.next().is_some_and(|c| c.is_alphanumeric() || matches!(c, '"' | '[' | '\\'))
    }

    /// Whether it stands by itself, and is no part of a longer number or name.
    fn is_alone(&self) -> bool {
        let joins = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-');
        let before = self.text[..self.value.start].chars().next_back();
        let mut after = self.text[self.value.end..].chars();
        let after = (after.next(), after.next());
        let is_fraction = matches!(after, (Some('.'), Some(next)) if next.is_ascii_digit());
        !before.is_some_and(|c| joins(c) || c == '.') && !after.0.is_some_and(joins) && !is_fraction
    }
}

impl Rule {
    /// The text with what was found replaced; nothing where nothing was found.
    fn redacted(&self, shape: &Regex, text: &str) -> Option<String> {
        let mut out = String::new();
        let (mut from, mut at) = (0, 0);
        while let Some(groups) = shape.captures_at(text, at) {
            let Some(whole) = groups.get(0) else { break };
            at = whole.end();
            let found = groups.name("v").unwrap_or(whole).range();
            let Some(value) = self.fitting(text, &groups, found) else {
                // The number that is looked for may begin behind the first gap.
                if let Some(gap) = whole.as_str().find(GAPS).filter(|_| self.has_gaps()) {
                    at = whole.start() + gap + 1;
                }
                continue;
            };
            if self.has_gaps() {
                at = value.end;
            }
            // Quotation marks around a value stay, so that what is JSON stays JSON.
            let inner = ["\\\"", "\"", "'"].into_iter().find_map(|quote| {
                let opened = text[value.clone()].strip_prefix(quote)?;
                let closed = opened.strip_suffix(quote).unwrap_or(opened);
                Some((value.start + quote.len(), value.start + quote.len() + closed.len()))
            });
            let (start, end) = inner.unwrap_or((value.start, value.end));
            out.push_str(&text[from..start]);
            out.push_str(self.instead);
            from = end;
        }
        if from == 0 {
            return None;
        }
        out.push_str(&text[from..]);
        Some(out)
    }

    /// What of a value fits: all of it, or of a number with gaps what stands before one of them, the longest first.
    fn fitting(&self, text: &str, groups: &Captures<'_>, value: Range<usize>) -> Option<Range<usize>> {
        let mut end = value.end;
        loop {
            let part = value.start..end;
            if !part.is_empty() && (self.fits)(&Found { text, groups, value: part.clone() }) {
                return Some(part);
            }
            end = part.start + text[part].rfind(GAPS).filter(|_| self.has_gaps())?;
        }
    }

    /// Whether it looks for a number that may be written in groups: what stands beside it may look like one more of them.
    fn has_gaps(&self) -> bool {
        matches!(self.name, ACCOUNT | CARD)
    }
}

const ACCOUNT: &str = "account number";
const CARD: &str = "card";
const PHONE: &str = "telephone number";

/// What stands between the groups of a number.
const GAPS: [char; 2] = [' ', '-'];

/// The names of what is secret, in forms, JSON, headers and queries: `_`, `-` and nothing at all join their words alike.
macro_rules! names {
    () => {
        concat!(
            r"(?:[\w.-]*(?:api[_-]?(?:key|secret|token)|access[_-]?key(?:[_-]?id)?|(?:app|auth|signing|private|secret|encryption|master|license|subscription|shared)[_-]?key",
            r"|token|secret|password|passwd|passphrase|passcode|session[_-]?id|code[_-]?verifier|device[_-]?code|signature|credential-value)",
            r"|\b(?:[\w.-]*[_.-])?(?:pwd|jwt|sig|otp|cvv|cvc|pin|ssn|assertion))"
        )
    };
}

/// What stands between a name and its value.
macro_rules! between {
    () => {
        r#"\\?["']?\s*(?:=>|[:=])\s*"#
    };
}

/// `name=value` once or several times, as the schemes have it that send more than one word.
macro_rules! parameters {
    () => {
        r#"[\w.-]+\s*=\s*(?:\\?"[^"\\\r\n]*\\?"|[^\s,"'\\]+)(?:\s*,\s*[\w.-]+\s*=\s*(?:\\?"[^"\\\r\n]*\\?"|[^\s,"'\\]+))*"#
    };
}

/// Every shape there is, in the order in which they are looked for.
const RULES: &[Rule] = &[
    Rule {
        name: "private key",
        shape: r"(?s)-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----(?P<v>.*?)(?:-----END|\z)",
        instead: MASKED,
        fits: |_| true,
    },
    Rule {
        name: "authorization",
        shape: concat!(
            r#"(?i)\b(?:proxy-|x-)?authorization(?:"#,
            between!(),
            r#"|\\?["']\s*,\s*)\\?["']?(?P<v>(?:bearer|basic|app|token|digest|negotiate|ntlm|hawk|mac|oauth|api-?key|key|sso-key|signature|hmac[\w-]*|aws4-hmac-sha256)\s+(?:"#,
            parameters!(),
            r#"|[^\s"'\\,;<>\[]+)|[a-z][a-z0-9-]*\s+[A-Za-z0-9._~+/:-]{16,}=*|[^\s"'\\,;<>\[]+)"#
        ),
        instead: MASKED,
        fits: |_| true,
    },
    Rule {
        name: "scheme",
        shape: r"(?i)\b(?P<n>bearer|basic|app|token|api-?key)\s+(?P<v>[A-Za-z0-9._~+/-]{6,}=*)",
        instead: MASKED,
        fits: |found| {
            let is_certain = matches!(&*found.group("n").to_ascii_lowercase(), "bearer" | "basic");
            !found.is_name() && is_random(found.value()) && (is_certain || found.value().len() >= 16)
        },
    },
    Rule {
        name: "cookie",
        shape: concat!(
            r#"(?i)\b(?:set-)?cookie2?(?:"#,
            between!(),
            r#"|\\?["']\s*,\s*)\\?["']?(?P<v>[^\s=;,"'\\\[]+=[^\s;,"'\\]*(?:;\s*[^\s=;,"'\\]+(?:=[^\s;,"'\\]*)?)*)"#
        ),
        instead: MASKED,
        fits: |_| true,
    },
    Rule {
        name: "named",
        shape: concat!(
            r#"(?i)(?P<n>"#,
            names!(),
            ")",
            between!(),
            r#"(?:Some\()?(?P<v>\\"(?:[^"\\\r\n]|\\\\[^"\r\n])*(?:\\")?|"(?:[^"\\\r\n]|\\[^\r\n])*"?|'[^'\r\n]*'?|[^\s"'\\&,;<>(){}\[\]#|]+)"#
        ),
        instead: MASKED,
        fits: |found| is_value(found.value()) && !is_place_in_a_list(found.group("n")),
    },
    Rule {
        name: "named in a URL inside another",
        shape: concat!(
            "(?i)(?P<n>",
            names!(),
            r#")%3[ad](?P<v>(?:[^\s"'\\&,;<>(){}\[\]#|%]|%(?:[013-9a-f][0-9a-f]|2[0-2457-9a-f]))+)"#
        ),
        instead: MASKED,
        fits: |found| is_value(found.value()) && !is_place_in_a_list(found.group("n")),
    },
    Rule {
        name: "pair",
        shape: concat!(r#"(?i)\\?["'](?P<n>"#, names!(), r#")\\?["']\s*,\s*(?:Some\()?\\?["'](?P<v>[^"'\\\r\n]+)"#),
        instead: MASKED,
        fits: |found| is_value(found.value()) && !is_place_in_a_list(found.group("n")),
    },
    Rule {
        name: "user of a URL",
        shape: r#"(?i)\b[a-z][a-z0-9+.-]*://(?P<v>[^\s/?#"'\\<>\[]+)@"#,
        instead: MASKED,
        fits: |_| true,
    },
    Rule {
        name: "query",
        shape: r#"(?i)[?&;](?P<n>key|code|state|nonce|hmac|auth|pass)=(?P<v>[^&#\s"'\\<>;\[]+)"#,
        instead: MASKED,
        fits: |found| {
            matches!(&*found.group("n").to_ascii_lowercase(), "key" | "auth" | "pass")
                || (found.value().len() >= 8 && is_random(found.value()))
        },
    },
    Rule {
        name: "token",
        shape: r"\beyJ[A-Za-z0-9_-]{4,}\.[A-Za-z0-9_-]{4,}(?:\.[A-Za-z0-9_-]*){1,3}",
        instead: MASKED,
        fits: |_| true,
    },
    Rule {
        name: "address of mail",
        shape: r"\b[A-Za-z0-9._%+-]+(?:@|%40)[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*\.[A-Za-z]{2,24}\b",
        instead: "[email]",
        fits: |_| true,
    },
    Rule {
        name: ACCOUNT,
        shape: r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,4})?\b",
        instead: "[iban]",
        fits: |found| found.is_alone() && is_iban(found.value()),
    },
    Rule {
        name: CARD,
        shape: r"\b\d(?:[ -]?\d){12,18}\b",
        instead: "[card]",
        fits: |found| found.is_alone() && is_card(found.value()),
    },
    Rule {
        name: "social security number",
        shape: r"\b\d{3}-\d{2}-\d{4}\b",
        instead: "[ssn]",
        fits: |found| found.is_alone() && is_ssn(found.value()),
    },
    Rule { name: PHONE, shape: r"\+[1-9](?:[ .-]?\d){7,14}\b", instead: "[phone]", fits: |found| found.is_alone() },
];

/// The rules, compiled. That each of them can be is a test.
static SHAPES: LazyLock<Vec<(&'static Rule, Regex)>> =
    LazyLock::new(|| RULES.iter().filter_map(|rule| Some((rule, Regex::new(rule.shape).ok()?))).collect());

#[cfg(any(feature = "trace", test))]
static SECRET_NAME: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(concat!("(?i)^(?:", names!(), "|(?:proxy-|x-)?authorization|(?:set-)?cookie2?)$")).ok()
});

/// Names of header fields whose values say nothing that somebody must not know.
const HARMLESS: &[&str] = &[
    "accept",
    "accept-encoding",
    "accept-language",
    "age",
    "cache-control",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "date",
    "etag",
    "expires",
    "host",
    "last-modified",
    "request-id",
    "retry-after",
    "server",
    "traceparent",
    "transfer-encoding",
    "user-agent",
    "vary",
    "x-correlation-id",
    "x-request-id",
];

const HARMLESS_STARTS: &[&str] = &["ratelimit", "x-ratelimit-", "x-rate-limit-"];

/// Whether a text has what a credential has and a word has not.
fn is_random(text: &str) -> bool {
    let has = |is: fn(&u8) -> bool| text.bytes().skip(1).any(|byte| is(&byte));
    text.len() >= 20
        || text.bytes().any(|byte| byte.is_ascii_digit() || byte == b'=')
        || (has(u8::is_ascii_lowercase) && has(u8::is_ascii_uppercase))
}

/// Whether it is a value at all, and not a word for there being none.
fn is_value(text: &str) -> bool {
    let text = text.trim_matches(['"', '\'', '\\']).to_ascii_lowercase();
    !matches!(&*text, "" | "null" | "none" | "nil" | "true" | "false" | "undefined" | "some" | "ok")
        && !text.bytes().all(|byte| byte == b'*')
}

/// Whether a token says where a list goes on, which is nobody's secret.
fn is_place_in_a_list(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    name.ends_with("token") && ["page", "next", "sync", "continuation", "cursor"].iter().any(|word| name.contains(word))
}

/// ISO/IEC 7812: a number of a scheme that exists, with the check digit that it must have (Luhn).
fn is_card(text: &str) -> bool {
    let digits: Vec<u32> = text.chars().filter_map(|c| c.to_digit(10)).collect();
    let start = |count: usize| digits.iter().take(count).fold(0, |number, digit| number * 10 + digit);
    let is_known = match digits.len() {
        13 => start(1) == 4,
        14 => matches!(start(2), 36 | 38 | 39) || matches!(start(3), 300..=305),
        15 => matches!(start(2), 34 | 37),
        16..=19 => {
            start(1) == 4
                || matches!(start(2), 51..=55 | 62 | 65)
                || matches!(start(3), 644..=649)
                || matches!(start(4), 2221..=2720 | 3528..=3589 | 6011)
        }
        _ => false,
    };
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(at, digit)| match at % 2 {
            0 => *digit,
            _ if *digit > 4 => digit * 2 - 9,
            _ => digit * 2,
        })
        .sum();
    is_known && sum.is_multiple_of(10)
}

/// ISO 13616: the remainder by 97 is 1.
fn is_iban(text: &str) -> bool {
    let text: Vec<u32> = text.chars().filter(|c| *c != ' ').filter_map(|c| c.to_digit(36)).collect();
    if !(15..=34).contains(&text.len()) {
        return false;
    }
    let turned = text.iter().skip(4).chain(text.iter().take(4));
    turned.fold(0, |rest, value| if *value < 10 { rest * 10 + value } else { rest * 100 + value } % 97) == 1
}

/// Numbers that are never given out are none (Social Security Administration, POMS RM 10201.035).
fn is_ssn(text: &str) -> bool {
    let (area, rest) = text.split_at_checked(3).unwrap_or_default();
    !matches!(area, "000" | "666") && !area.starts_with('9') && !rest.starts_with("-00-") && !rest.ends_with("-0000")
}

/// A writer that takes lines in pieces, cut anywhere, and hands them on redacted.
///
/// What is begun is held back until its line ends, or the writer goes. Of a line longer than
/// [`LINE_BYTES_MAX`] the rest is left out.
///
/// ```
/// use std::io::Write as _;
///
/// let mut log = wharfage::observe::Redacted::new(Vec::new());
/// log.write_all(b"authorization: Bea")?;
/// log.write_all(b"rer 0123456789abcdef\n")?;
/// assert_eq!(log.inner(), b"authorization: [masked]\n");
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct Redacted<W: io::Write> {
    inner: W,
    redactor: Redactor,
    held: Vec<u8>,
    /// Bytes of the line under way that are left out.
    left_out: usize,
    /// How many more lines may be of the private key that was begun.
    key_lines_left: usize,
    /// Whether the line before was a whole line of it, so that the next one may be its last.
    was_in_key: bool,
}

/// The longest line that [`Redacted`] hands on, in bytes.
pub const LINE_BYTES_MAX: usize = 64 << 10;

/// Lines behind the first one of a private key that may be of it; the longest keys have some 200.
const KEY_LINES_MAX: usize = 256;

/// Base64 characters in a row that are a line of a key, whatever a log puts before or behind it. Such lines have 64.
const KEY_LINE_CHARS: usize = 48;

/// Whether a line looks like one between the first and the last of a key: a whole one, and one by itself of any length.
fn looks_like_key(line: &str) -> (bool, bool) {
    let is_other = |c: char| !c.is_ascii_alphanumeric() && !matches!(c, '+' | '/' | '=');
    let line = line.trim();
    let is_whole = line.split(is_other).any(|run| run.len() >= KEY_LINE_CHARS);
    (is_whole, !line.is_empty() && !line.contains(is_other))
}

impl<W: io::Write> Redacted<W> {
    /// Over another writer.
    pub fn new(inner: W) -> Self {
        Self::with(Redactor::default(), inner)
    }

    /// The same with switches.
    pub fn with(redactor: Redactor, inner: W) -> Self {
        Self { inner, redactor, held: Vec::new(), left_out: 0, key_lines_left: 0, was_in_key: false }
    }

    /// What it writes to.
    pub fn inner(&self) -> &W {
        &self.inner
    }

    /// Hands a line on, with its end where it has one.
    fn give(&mut self) -> io::Result<()> {
        let held = std::mem::take(&mut self.held);
        let left_out = std::mem::take(&mut self.left_out);
        let line = String::from_utf8_lossy(&held);
        let (line, end) = match line.strip_suffix('\n') {
            Some(line) => (line, "\n"),
            None => (&*line, ""),
        };
        let begins_key = line.contains("-----BEGIN ") && line.contains("PRIVATE KEY-----");
        let ends_key = line.contains("-----END ");
        let may_be_of_key = self.key_lines_left > 0 && !ends_key;
        let (is_whole, is_by_itself) = if may_be_of_key { looks_like_key(line) } else { (false, false) };
        let text = match is_whole || is_by_itself || (may_be_of_key && self.was_in_key) {
            true => Cow::Borrowed(MASKED),
            false => self.redactor.text(line),
        };
        self.was_in_key = is_whole;
        self.key_lines_left = match (begins_key, ends_key) {
            (_, true) => 0,
            (true, false) => KEY_LINES_MAX,
            (false, false) => self.key_lines_left.saturating_sub(1),
        };
        // What was cut may have been cut in the middle of a secret, which nothing finds any more.
        let kept = if left_out > 0 { text.rfind(char::is_whitespace).unwrap_or(0) } else { text.len() };
        let mut out = text[..kept].to_owned();
        if left_out > 0 {
            out.push_str(&format!(" [the rest of a line of more than {LINE_BYTES_MAX} bytes is left out]"));
        }
        out.push_str(end);
        self.inner.write_all(out.as_bytes())
    }
}

impl<W: io::Write> io::Write for Redacted<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let (text, ends) = match piece.strip_suffix(b"\n") {
                Some(text) => (text, true),
                None => (piece, false),
            };
            let room = LINE_BYTES_MAX.saturating_sub(self.held.len()).min(text.len());
            self.held.extend_from_slice(&text[..room]);
            self.left_out += text.len() - room;
            if ends {
                self.held.push(b'\n');
                self.give()?;
            }
        }
        Ok(bytes.len())
    }

    /// What is written down whole. A line that is not over is held back still.
    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl<W: io::Write> Drop for Redacted<W> {
    fn drop(&mut self) {
        if !self.held.is_empty() {
            // Nobody is left who could be told that it failed.
            let _ = self.give();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_rule_can_be_compiled() {
        assert_eq!(SHAPES.len(), RULES.len());
        assert!(SECRET_NAME.is_some());
    }

    /// The guide's `Authorization:\s*\S+` takes the scheme and leaves the token; nor does it know an `App` token, or a token in
    /// JSON.
    #[test]
    fn guide_s05_the_token_stayed_behind_its_scheme() {
        for (text, redacted) in [
            ("Authorization: Bearer abc.def", "Authorization: [masked]"),
            ("Authorization: App 0123456789abcdef", "Authorization: [masked]"),
            ("authorization=App k status=200", "authorization=[masked] status=200"),
            ("Authorization: Basic dXNlcjpwYXNz==, x", "Authorization: [masked], x"),
            (r#"Authorization: Digest username="bo", response="7f" 401"#, "Authorization: [masked] 401"),
            (
                "Authorization: AWS4-HMAC-SHA256 Credential=AK/20261129/x, SignedHeaders=host;date, Signature=0a1b ok",
                "Authorization: [masked] ok",
            ),
            (r#"{"authorization": "Bearer abc"}"#, r#"{"authorization": "[masked]"}"#),
            (r#"("authorization", "App abc")"#, r#"("authorization", "[masked]")"#),
            ("sent as Bearer s3cr3tvalue", "sent as Bearer [masked]"),
            ("with App 0123456789abcdef0123", "with App [masked]"),
            (r#"{"access_token":"abc","expires_in":3600}"#, r#"{"access_token":"[masked]","expires_in":3600}"#),
            (r#"{"refreshToken": "a\"b", "n": 1}"#, r#"{"refreshToken": "[masked]", "n": 1}"#),
            (r#"{\"client_secret\":\"abc\",\"n\":1}"#, r#"{\"client_secret\":\"[masked]\",\"n\":1}"#),
            (r#"{"api_key":"cut off"#, r#"{"api_key":"[masked]"#),
            ("password: hunter2", "password: [masked]"),
            (
                "grant_type=refresh_token&refresh_token=abc&scope=a",
                "grant_type=refresh_token&refresh_token=[masked]&scope=a",
            ),
            ("Cookie: a=b; c=d status=200", "Cookie: [masked] status=200"),
            ("set-cookie: sid=77; Path=/; HttpOnly", "set-cookie: [masked]"),
            ("id eyJhbGciOi.eyJzdWIi.c2ln end", "id [masked] end"),
            (
                r#"Config { api_key: Some("k3y-0f-acme"), token: Some(t0k), n: 1 }"#,
                r#"Config { api_key: Some("[masked]"), token: Some([masked]), n: 1 }"#,
            ),
            (r#"("api_key", Some("k3y"))"#, r#"("api_key", Some("[masked]"))"#),
            ("token: None, secret: Some", "token: None, secret: Some"),
        ] {
            assert_eq!(redact(text), redacted);
        }
    }

    /// The guide's `api[_-]?key…\S+` takes everything up to the next space: the rest of the URL, and the rest of JSON.
    #[test]
    fn guide_s05_the_rest_of_the_url_went_with_the_key() {
        for (text, redacted) in [
            ("GET /api?module=a&apikey=K7&tag=latest", "GET /api?module=a&apikey=[masked]&tag=latest"),
            (r#"{"api-key":"K7","page":2}"#, r#"{"api-key":"[masked]","page":2}"#),
            ("/o?key=abc&page=2#top", "/o?key=[masked]&page=2#top"),
            ("/cb?code=4/0AbCdEf12&state=xyz123456", "/cb?code=[masked]&state=[masked]"),
            ("https://bo:pw@acme.example/x?y=1", "https://[masked]@acme.example/x?y=1"),
            ("https://bo:p%40w@acme.example/x", "https://[masked]@acme.example/x"),
            (
                "/in?next=%2Fcb%3Faccess_token%3Da%2Fc1%26page%3D2&y=1",
                "/in?next=%2Fcb%3Faccess_token%3D[masked]%26page%3D2&y=1",
            ),
        ] {
            assert_eq!(redact(text), redacted);
        }
    }

    /// The guide takes any sixteen digits for a card and any 3-2-4 for a social security number: ids of orders went away.
    #[test]
    fn guide_s05_ids_were_taken_for_numbers_of_cards() {
        for kept in [
            "order 1234567890123456",
            "4111111111111112",
            "id 41111111111111111111111",
            "0.4111111111111111",
            "order-4111111111111111-2",
            "SO-123-45-6789",
            "123-45-6789-1",
            "000-45-6789",
            "a Bearer token is missing, and Basic authentication too",
            "nextPageToken=CAUQAA pageToken: x",
            "token_type=bearer expires_in=3600",
            "state=open&code=USD",
            "?state=open&code=USD",
            "max_tokens: 100",
            r#"{"token": null}"#,
            "signed credential=key place=header",
            "api_key = { env = \"ACME_KEY\" }",
            "secrets = [\"api_key\"]",
            "2026-11-29T13:21:12.123Z 1764422472123 1764422472123000000",
            "0x4111111111111111deadbeef",
            "DE00 3704 0044 0532 0130 00",
            "acme@1.2.3",
        ] {
            assert_eq!(redact(kept), kept);
        }
        for (text, redacted) in [
            ("card 4111 1111 1111 1111, 378282246310005.", "card [card], [card]."),
            ("4111-1111-1111-1111", "[card]"),
            ("4111 1111 1111 1111 12/27", "[card] 12/27"),
            ("4111111111111111 123 378282246310005", "[card] 123 [card]"),
            ("order 7 4111111111111111", "order 7 [card]"),
            ("2026-11-29 4111-1111-1111-1111 7", "2026-11-29 [card] 7"),
            ("1 2 3 4 5 6 7 8 4111111111111111 9 0", "1 2 3 4 5 6 7 8 [card] 9 0"),
            ("ES9121000418450200051332 EUR", "[iban] EUR"),
            ("AB12 CDEF BE68 5390 0754 7034 PAID TO BO", "AB12 CDEF [iban] PAID TO BO"),
            ("ssn is 123-45-6789.", "ssn is [ssn]."),
            ("DE89 3704 0044 0532 0130 00 and GB82WEST12345698765432", "[iban] and [iban]"),
            ("from Bo.Lee+x@mail.acme.example to a%40acme.example", "from [email] to [email]"),
        ] {
            assert_eq!(redact(text), redacted);
        }
    }

    #[test]
    fn telephone_numbers_have_a_switch() {
        let text = "from +14155550123 to +49 30 901820, at 13:00+0100";
        assert_eq!(redact(text), text);
        let redactor = Redactor::default().phone_numbers(true);
        assert_eq!(redactor.text(text), "from [phone] to [phone], at 13:00+0100");
    }

    #[test]
    fn a_header_is_shown_only_if_it_is_known_to_be_harmless() {
        assert_eq!(redact_header("Content-Type", "application/json"), "application/json");
        assert_eq!(redact_header("x-ratelimit-remaining", "7"), "7");
        for name in ["Authorization", "X-Api-Key", "Set-Cookie", "X-Whatever"] {
            assert_eq!(redact_header(name, "7"), MASKED);
        }
    }

    #[test]
    fn names_say_what_is_secret() {
        for name in ["api_key", "apiKey", "x-acme-access-token", "Authorization", "cookie", "client_secret", "pwd"] {
            assert!(is_secret_name(name), "{name}");
        }
        for name in ["plugin", "credential", "trace_id", "key", "next_page_token", "tokens", "code", "path"] {
            assert!(!is_secret_name(name), "{name}");
        }
    }

    #[test]
    fn a_private_key_goes_whole_also_line_by_line() {
        let key = "-----BEGIN RSA PRIVATE KEY-----\nMIIEow\nAKCAQ\n-----END RSA PRIVATE KEY-----\nok\n";
        let whole = redact(key);
        assert!(!whole.contains("MIIEow") && !whole.contains("AKCAQ") && whole.ends_with("ok\n"), "{whole}");
        let mut writer = Redacted::new(Vec::new());
        key.bytes().for_each(|byte| writer.write_all(&[byte]).unwrap());
        let lines = String::from_utf8_lossy(writer.inner()).into_owned();
        assert!(!lines.contains("MIIEow") && !lines.contains("AKCAQ") && lines.ends_with("\nok\n"), "{lines}");
    }

    /// What happened: a sentence of the host's own help turned the rest of a log into `[masked]`.
    #[test]
    fn only_what_looks_like_a_key_goes_after_its_first_line() {
        let whole = "MIIE".repeat(16);
        let text = format!(
            "write a private key in PEM (-----BEGIN PRIVATE KEY-----) here\n12:00 acme did it id=7\n\n\
             12:00 {whole}\n12:00 AKCAQ\n12:00 acme did it once more\n-----END PRIVATE KEY-----\nMIIE\n"
        );
        let mut writer = Redacted::new(Vec::new());
        writer.write_all(text.as_bytes()).unwrap();
        let lines = String::from_utf8_lossy(writer.inner()).into_owned();
        let lines: Vec<&str> = lines.lines().skip(1).collect();
        let kept = ["12:00 acme did it id=7", "", MASKED, MASKED, "12:00 acme did it once more"];
        assert_eq!(lines[..5], kept);
        assert_eq!(lines[5..], ["-----END PRIVATE KEY-----", "MIIE"]);
    }

    #[test]
    fn a_long_line_is_cut_where_no_secret_is_cut_in_two() {
        let mut writer = Redacted::new(Vec::new());
        let line = format!("{}password=hunter2 and more\nnext\n", "x ".repeat(LINE_BYTES_MAX / 2 - 6));
        writer.write_all(line.as_bytes()).unwrap();
        let text = String::from_utf8_lossy(writer.inner()).into_owned();
        assert!(!text.contains("hun") && text.contains("is left out]\nnext\n"), "{}", &text[text.len() - 200..]);
    }

    #[test]
    fn text_stays_on_its_line() {
        assert_eq!(one_line("a\nb\u{1b}[2J\u{202e}c\u{2028}"), "a\\nb\\u{1b}[2J\\u{202e}c\\u{2028}");
        assert!(matches!(one_line("plain ünïcode"), Cow::Borrowed(_)));
    }

    proptest! {
        /// Whatever it is: no panic, the same again when redacted again, and the same however it is cut.
        #[test]
        fn any_text_can_be_redacted_in_any_pieces(
            parts in proptest::collection::vec(
                prop_oneof![
                    "\\PC{0,12}",
                    Just("authorization: Bearer abc123 ".to_owned()),
                    Just("\"token\":\"a\\\"b\",".to_owned()),
                    Just("?apikey=k&x=1".to_owned()),
                    Just("4111111111111111".to_owned()),
                    Just("\\\"password\\\":\\\"p\\\"".to_owned()),
                    Just("bo@acme.example".to_owned()),
                    Just("cookie: a=b; c".to_owned()),
                    Just("\n".to_owned()),
                ],
                0..8,
            ),
            cut in 1_usize..9,
        ) {
            let text = parts.concat();
            let once = redact(&text).into_owned();
            prop_assert_eq!(redact(&once).into_owned(), once.clone());
            let by_line: String = text.split_inclusive('\n').map(|line| {
                let bare = line.strip_suffix('\n').unwrap_or(line);
                redact(bare).into_owned() + &line[bare.len()..]
            }).collect();
            let mut writer = Redacted::new(Vec::new());
            text.as_bytes().chunks(cut).for_each(|piece| writer.write_all(piece).unwrap());
            if text.ends_with('\n') {
                prop_assert_eq!(String::from_utf8_lossy(writer.inner()), by_line);
            }
        }
    }
}
