//! What must not come back to the guest.
//!
//! A provider may send back what it was sent: an echo, an error that quotes a header, a page with the URL. A [`Mask`]
//! knows the secrets of a connection and replaces them, in whatever common form they come: as they are,
//! percent-encoded, in JSON's escapes, in hexadecimal and in base64, also in the middle of something longer. Case does
//! not count. This is best effort and no boundary: a provider that works for the guest can always find a form that is
//! not looked for. The boundary is that a credential goes to nobody but its provider.
//!
//! Values of fewer than [`SEARCHED_BYTES_MIN`] bytes are not searched: they would be found everywhere. The searcher
//! holds the forms in memory for as long as it lives; they are not wiped when it goes.

pub(crate) mod prefilter;

use std::borrow::Cow;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, RwLock, Weak};

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use zeroize::Zeroizing;

use crate::hex::hex;
use crate::mask::prefilter::Prefilter;
use crate::percent;

/// Finds and replaces the secrets of a connection.
#[derive(Clone, Default)]
pub(crate) struct Mask {
    search: Search,
    /// One for each form that is searched, in the searcher's order.
    reaches: Vec<Reach>,
}

#[derive(Clone, Default)]
enum Search {
    /// There are no secrets.
    #[default]
    Nothing,
    Forms(Box<Searcher>),
    /// The searcher could not be built; nothing passes.
    Everything,
}

/// Finds forms: most texts hold none, which the prefilter tells in a fraction of the time.
#[derive(Clone)]
struct Searcher {
    prefilter: Option<Prefilter>,
    forms: AhoCorasick,
}

impl Searcher {
    /// Every occurrence, in order of their ends.
    fn all<'a>(&'a self, bytes: &'a [u8]) -> impl Iterator<Item = aho_corasick::Match> + 'a {
        let may_hold = self.prefilter.as_ref().is_none_or(|prefilter| prefilter.may_hold(bytes));
        may_hold.then(|| self.forms.find_overlapping_iter(bytes)).into_iter().flatten()
    }
}

/// How far a found form reaches.
#[derive(Clone, Copy)]
struct Reach {
    /// Bytes from where it was found; more than were compared if the secret is long.
    bytes: usize,
    /// Whether the base64 digits before and after hold a few bits of the secret.
    before: bool,
    after: bool,
}

/// One way to write a secret.
struct Form {
    text: Zeroizing<String>,
    before: bool,
    after: bool,
}

impl Form {
    /// What is compared of it.
    fn compared(&self) -> &[u8] {
        let bytes = self.text.as_bytes();
        bytes.get(..bytes.len().min(COMPARED_BYTES_MAX)).unwrap_or_default()
    }
}

/// What stands for a secret.
pub(crate) const MASKED: &str = "[masked]";

/// Shorter values are not searched.
pub(crate) const SEARCHED_BYTES_MIN: usize = 6;

/// So many bytes of a form are compared; of a longer one this start is enough to mask all of it.
const COMPARED_BYTES_MAX: usize = 512;

impl Mask {
    /// Knows these values. Building takes time and memory in proportion to their number; searching does not.
    pub(crate) fn new(values: Vec<Zeroizing<String>>) -> Self {
        let searched = values.iter().filter(|value| value.len() >= SEARCHED_BYTES_MIN);
        let mut forms: Vec<Form> = searched.flat_map(|value| forms(value)).collect();
        forms.sort_by(|a, b| (&*a.text, a.before, a.after).cmp(&(&*b.text, b.before, b.after)));
        forms.dedup_by(|a, b| (&*a.text, a.before, a.after) == (&*b.text, b.before, b.after));
        if forms.is_empty() {
            return Self::default();
        }
        let reach = |form: &Form| Reach { bytes: form.text.len(), before: form.before, after: form.after };
        let reaches = forms.iter().map(reach).collect();
        let compared = || forms.iter().map(Form::compared);
        let mut searcher = AhoCorasick::builder();
        searcher.ascii_case_insensitive(true).match_kind(MatchKind::Standard);
        // It is small, and hardly ever asked.
        let searcher = searcher.kind(Some(AhoCorasickKind::ContiguousNFA)).build(compared());
        let search = searcher.map_or(Search::Everything, |forms| {
            Search::Forms(Box::new(Searcher { prefilter: Prefilter::new(compared()), forms }))
        });
        Self { search, reaches }
    }

    /// The bytes without secrets, and whether there were any. Without any they are the same bytes, not copied.
    pub(crate) fn bytes(&self, bytes: Vec<u8>) -> (Vec<u8>, bool) {
        let spans = self.spans(&bytes);
        if spans.is_empty() {
            return (bytes, false);
        }
        let mut masked = Vec::with_capacity(bytes.len());
        let mut from = 0;
        for Span { start, end } in spans {
            masked.extend_from_slice(bytes.get(from..start).unwrap_or_default());
            masked.extend_from_slice(MASKED.as_bytes());
            from = end;
        }
        masked.extend_from_slice(bytes.get(from..).unwrap_or_default());
        (masked, true)
    }

    /// The text without secrets.
    pub(crate) fn text<'a>(&self, text: &'a str) -> Cow<'a, str> {
        masked(text, self.spans(text.as_bytes()))
    }

    /// Where secrets are: in order, apart from each other. Every occurrence counts, also where several overlap: what is
    /// left of one must not stay.
    fn spans(&self, bytes: &[u8]) -> Vec<Span> {
        let searcher = match &self.search {
            Search::Nothing => return Vec::new(),
            Search::Everything => return vec![Span { start: 0, end: bytes.len() }],
            Search::Forms(searcher) => searcher,
        };
        let is_digit = |at: usize| bytes.get(at).copied().is_some_and(is_digit);
        let mut spans: Vec<Span> = Vec::new();
        for found in searcher.all(bytes) {
            let Some(reach) = self.reaches.get(found.pattern().as_usize()) else { continue };
            let end = found.start().saturating_add(reach.bytes).min(bytes.len());
            let mut span = Span {
                start: found.start() - usize::from(reach.before && found.start() > 0 && is_digit(found.start() - 1)),
                end: end + usize::from(reach.after && is_digit(end)),
            };
            // Occurrences come in order of their ends as compared, so only the last spans can touch.
            while let Some(last) = spans.pop_if(|last| last.end >= span.start) {
                span = Span { start: span.start.min(last.start), end: span.end.max(last.end) };
            }
            spans.push(span);
        }
        spans
    }
}

/// The text with what these hold masked.
fn masked(text: &str, spans: Vec<Span>) -> Cow<'_, str> {
    if spans.is_empty() {
        return Cow::Borrowed(text);
    }
    let mut masked = String::with_capacity(text.len());
    let mut from = 0;
    for Span { start, end } in spans {
        // A span begins and ends between characters, except where a long secret's end was not compared.
        masked.push_str(text.get(from..start).unwrap_or_default());
        masked.push_str(MASKED);
        from = (end..text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(text.len());
    }
    masked.push_str(text.get(from..).unwrap_or_default());
    Cow::Owned(masked)
}

/// A value that goes out with one request and never again, as a signature. To ask whether it came back is far cheaper than a
/// mask that knows it.
pub(crate) struct Once {
    pub(crate) value: Zeroizing<String>,
    prefilter: Option<Prefilter>,
}

impl Once {
    /// This one.
    pub(crate) fn new(value: Zeroizing<String>) -> Self {
        let forms = forms(&value);
        let prefilter = Prefilter::new(forms.iter().map(Form::compared));
        Self { value, prefilter }
    }

    /// Whether a text may hold it in a form that is searched. If not, it does not.
    pub(crate) fn may_be_in(&self, text: &[u8]) -> bool {
        self.prefilter.as_ref().is_none_or(|prefilter| prefilter.may_hold(text))
    }
}

/// The mask of one connection as it is now. As long as it lives, [`all`] knows it.
#[derive(Debug, Default)]
pub(crate) struct Current(Mutex<Arc<Mask>>);

/// Those of every connection that is open in this process. A log is the process's, whichever host writes to it.
static OPEN: RwLock<Vec<Weak<Current>>> = RwLock::new(Vec::new());

impl Current {
    /// Knows nothing yet.
    pub(crate) fn open() -> Arc<Self> {
        let current = Arc::new(Self::default());
        let mut open = OPEN.write().unwrap_or_else(PoisonError::into_inner);
        open.retain(|other| other.strong_count() > 0);
        open.push(Arc::downgrade(&current));
        current
    }

    /// Knows these values from now on.
    pub(crate) fn renew(&self, values: Vec<Zeroizing<String>>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(Mask::new(values));
    }

    /// What it knows now.
    pub(crate) fn mask(&self) -> Arc<Mask> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The text without any secret of a connection that is open in this process: for what is nobody's own, as a log. It takes
/// time in proportion to the number of connections, and stands on no call's path unless a line is written.
pub(crate) fn all(text: &str) -> Cow<'_, str> {
    if text.len() < SEARCHED_BYTES_MIN {
        return Cow::Borrowed(text);
    }
    let open = OPEN.read().unwrap_or_else(PoisonError::into_inner);
    let mut spans: Vec<Span> = Vec::new();
    for current in open.iter().filter_map(Weak::upgrade) {
        spans.extend(current.mask().spans(text.as_bytes()));
    }
    drop(open);
    spans.sort_unstable_by_key(|span| span.start);
    spans.dedup_by(|next, span| {
        let touches = next.start <= span.end;
        if touches {
            span.end = span.end.max(next.end);
        }
        touches
    });
    masked(text, spans)
}

/// Whether base64 writes it.
fn is_digit(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"+/-_".contains(&byte)
}

/// Masks a text that comes in pieces, cut anywhere, as [`Mask::bytes`] masks it as a whole.
///
/// What could be the beginning of a form is held back: all after the last line end, and of that at most as much as is
/// compared of a form. It is the same whatever the secrets are, so that what comes with a piece depends on the text alone
/// and on forms that are there whole. If it depended on how a form begins, whoever has a text sent could guess one byte by
/// byte.
///
/// No form goes on after a line end but that of a value which holds one itself, and no place of a request carries such a
/// value. It is found where it comes in one piece.
pub(crate) struct MaskStream {
    mask: Arc<Mask>,
    /// What is held back.
    held: Vec<u8>,
    /// A secret that reaches into what is held back or comes next, and is masked already.
    open: Option<Reaching>,
    /// Whether there were any secrets.
    pub(crate) has_found: bool,
}

/// How far a secret reaches, counted from the start of what is held back.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Reaching {
    end: usize,
    /// Whether a base64 digit after it goes too, once it is there.
    after: bool,
}

impl MaskStream {
    /// At the beginning of a text.
    pub(crate) fn new(mask: Arc<Mask>) -> Self {
        Self { mask, held: Vec::new(), open: None, has_found: false }
    }

    /// Takes the next piece and answers what is certain by now.
    pub(crate) fn push(&mut self, piece: &[u8]) -> Vec<u8> {
        self.held.extend_from_slice(piece);
        // A form that begins before it is there whole, and a base64 digit before one that is not is held back with it.
        let most = self.held.len().saturating_sub(COMPARED_BYTES_MAX);
        let line_end = self.held[most..].iter().rposition(|byte| matches!(byte, b'\n' | b'\r'));
        match line_end.map_or(most, |at| most + at + 1) {
            0 => Vec::new(),
            certain => self.give(certain),
        }
    }

    /// The text is over: the rest.
    pub(crate) fn finish(&mut self) -> Vec<u8> {
        self.give(self.held.len())
    }

    /// Masks and lets go of the first `certain` bytes of what is held back.
    fn give(&mut self, certain: usize) -> Vec<u8> {
        let held = std::mem::take(&mut self.held);
        let settled = |reaching: Reaching| match held.get(reaching.end) {
            Some(byte) => Reaching { end: reaching.end + usize::from(reaching.after && is_digit(*byte)), after: false },
            None => reaching,
        };
        // Every secret by its start; the first may have been masked before.
        let mut found: Vec<(usize, Reaching)> = match &self.mask.search {
            Search::Nothing => Vec::new(),
            Search::Everything if held.is_empty() => Vec::new(),
            Search::Everything => vec![(0, Reaching { end: usize::MAX, after: false })],
            Search::Forms(searcher) => {
                let reach = |found: aho_corasick::Match| {
                    let reach = self.mask.reaches.get(found.pattern().as_usize())?;
                    let before = found.start().checked_sub(1).and_then(|at| held.get(at)).copied();
                    let start = found.start() - usize::from(reach.before && before.is_some_and(is_digit));
                    let end = found.start().saturating_add(reach.bytes);
                    Some((start, settled(Reaching { end, after: reach.after })))
                };
                searcher.all(&held).filter_map(reach).collect()
            }
        };
        found.sort_unstable();
        self.has_found |= !found.is_empty();
        let mut given = Vec::with_capacity(certain);
        let mut from = 0;
        let mut open = self.open.take().map(settled);
        for (start, reaching) in found {
            match &mut open {
                Some(open) if open.end >= start => *open = (*open).max(reaching),
                _ if start >= certain => break,
                _ => {
                    from = open.map_or(from, |open| open.end);
                    given.extend_from_slice(held.get(from..start).unwrap_or_default());
                    given.extend_from_slice(MASKED.as_bytes());
                    open = Some(reaching);
                }
            }
        }
        from = open.map_or(from, |open| open.end);
        given.extend_from_slice(held.get(from..certain).unwrap_or_default());
        self.open = open.filter(|open| open.end >= certain).map(|open| Reaching { end: open.end - certain, ..open });
        self.held = held.get(certain..).unwrap_or_default().to_vec();
        given
    }
}

#[derive(Clone, Copy)]
struct Span {
    start: usize,
    end: usize,
}

/// Without anything of what it knows.
impl fmt::Debug for Mask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Mask({} forms)", self.reaches.len())
    }
}

/// Whether a header of an answer carries something like a credential, which a guest has no use for. Names in any case.
///
/// `www-authenticate` stays: it says what is wrong and holds no secret.
pub(crate) fn header_is_secret(name: &str) -> bool {
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

/// The ways to write a secret that are searched.
fn forms(value: &str) -> Vec<Form> {
    let (mut forms, bytes) = (Vec::<Form>::new(), value.as_bytes());
    let mut add = |text: String| forms.push(Form { text: Zeroizing::new(text), before: false, after: false });
    add(value.to_owned());
    for keep in KEPT_RAW {
        add(percent::encoded(bytes, |byte| byte.is_ascii_alphanumeric() || keep.contains(&byte)));
    }
    // Forms write a space as a plus sign.
    add(percent::encoded(bytes, |byte| byte.is_ascii_alphanumeric() || b"*-._ ".contains(&byte)).replace(' ', "+"));
    add(percent::encoded(bytes, |_| false));
    for escapes in
        [JsonEscapes::Few, JsonEscapes::Slash, JsonEscapes::Html, JsonEscapes::Ascii, JsonEscapes::AsciiSlash]
    {
        add(json(value, escapes));
    }
    add(hex(bytes));
    for engine in [STANDARD_NO_PAD, URL_SAFE_NO_PAD] {
        for skip in 0..3 {
            let form = base64_inside(value, &engine, skip);
            let stays = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
            let escaped = percent::encoded(form.text.as_bytes(), stays);
            if escaped != *form.text {
                forms.push(Form { text: Zeroizing::new(escaped), ..form });
            }
            forms.push(form);
        }
    }
    forms
}

/// What else than letters and digits common encoders leave as it is: RFC 3986's unreserved characters; a segment of a
/// URL's path, the path and the query (URL Standard); `encodeURIComponent` and `encodeURI`.
const KEPT_RAW: [&[u8]; 6] = [
    b"-._~",
    b"-._~!$&'()*+,;=:@|[]",
    b"-._~!$&'()*+,;=:@/%|[]\\",
    b"-._~!$&()*+,;=:@/%|[]\\?`{}^",
    b"-._~!'()*",
    b"-._~!'()*;/?:@&=+$,#",
];

/// What encoders of JSON escape besides quotation marks, backslashes and control characters.
#[derive(Clone, Copy, PartialEq, Eq)]
enum JsonEscapes {
    Few,
    Slash,
    Html,
    Ascii,
    AsciiSlash,
}

fn json(value: &str, escapes: JsonEscapes) -> String {
    let mut text = String::with_capacity(value.len() * 2);
    for character in value.chars() {
        let is_escaped = match escapes {
            JsonEscapes::Few | JsonEscapes::Slash => false,
            JsonEscapes::Html => "<>&\u{2028}\u{2029}".contains(character),
            JsonEscapes::Ascii | JsonEscapes::AsciiSlash => !character.is_ascii(),
        };
        match character {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\t' => text.push_str("\\t"),
            '\u{8}' => text.push_str("\\b"),
            '\u{c}' => text.push_str("\\f"),
            '/' if matches!(escapes, JsonEscapes::Slash | JsonEscapes::AsciiSlash) => text.push_str("\\/"),
            _ if is_escaped || character < ' ' => {
                for unit in character.encode_utf16(&mut [0; 2]) {
                    text.push_str(&format!("\\u{unit:04x}"));
                }
            }
            _ => text.push(character),
        }
    }
    text
}

/// The base64 digits that a value alone decides when `skip` bytes (of three) stand before it.
fn base64_inside(value: &str, engine: &impl Engine, skip: usize) -> Form {
    let mut bytes = Zeroizing::new(vec![0; skip]);
    bytes.extend_from_slice(value.as_bytes());
    let whole = Zeroizing::new(engine.encode(&*bytes));
    // Each byte is 8 bits and each digit 6; a digit that also holds a neighbour's bits is not ours.
    let start = (skip * 8).div_ceil(6);
    let end = bytes.len() * 8 / 6;
    let text = Zeroizing::new(whole.get(start..end).unwrap_or_default().to_owned());
    Form { text, before: skip > 0, after: !bytes.len().is_multiple_of(3) }
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::{STANDARD, URL_SAFE};
    use proptest::prelude::*;

    use super::*;

    /// A log knows the secrets of every connection that is open, and forgets them with the connection.
    #[test]
    fn what_is_nobodys_own_is_masked_by_all() {
        let values = |text: &str| vec![Zeroizing::new(text.to_owned())];
        let (one, other) = (Current::open(), Current::open());
        one.renew(values("first-s3cret-of-all"));
        other.renew(values("s3cret-of-all-others"));
        assert_eq!(all("a first-s3cret-of-all-others b"), "a [masked] b");
        assert_eq!(all("Zmlyc3QtczNjcmV0LW9mLWFsbA== c"), "[masked]== c");
        drop(one);
        assert_eq!(all("first-s3cret-of-all"), "first-s3cret-of-all");
        assert_eq!(all("s3cret-of-all-others"), "[masked]");
    }

    /// What the mask would find, in whatever form.
    #[test]
    fn what_goes_out_once_is_seen_in_every_form() {
        let signature = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
        let once = Once::new(Zeroizing::new(signature.to_owned()));
        for form in forms(signature) {
            let text = format!("before {} after", form.text.as_str());
            assert!(once.may_be_in(text.as_bytes()) && once.may_be_in(text.to_ascii_uppercase().as_bytes()), "{text}");
        }
        assert!(!once.may_be_in("an answer about something else ".repeat(100).as_bytes()));
    }

    fn mask(values: &[&str]) -> Mask {
        Mask::new(values.iter().map(|value| Zeroizing::new((*value).to_owned())).collect())
    }

    /// What is looked for is found only so.
    #[test]
    fn names_of_secret_headers_are_in_order() {
        assert!(SECRET_HEADERS.is_sorted());
        assert!(SECRET_HEADER_ENDS.iter().all(|name| SECRET_ENDS.iter().any(|end| name.ends_with(end))));
    }

    #[test]
    fn masks_every_form() {
        let mask = mask(&["p/ss \"wörd\"+1"]);
        for (text, masked) in [
            ("key=p/ss \"wörd\"+1;", "key=[masked];"),
            ("P/SS \"WöRD\"+1", "[masked]"),
            ("?k=p%2Fss%20%22w%C3%B6rd%22%2B1&x", "?k=[masked]&x"),
            ("?k=p%2fss%20%22w%c3%b6rd%22%2b1&x", "?k=[masked]&x"),
            ("?k=p/ss%20%22w%C3%B6rd%22+1&x", "?k=[masked]&x"),
            ("/p%2Fss%20%22w%C3%B6rd%22+1/x", "/[masked]/x"),
            ("?k=p%2Fss+%22w%C3%B6rd%22%2B1&x", "?k=[masked]&x"),
            ("%70%2F%73%73%20%22%77%C3%B6%72%64%22%2B%31", "[masked]"),
            (r#"{"k":"p/ss \"wörd\"+1"}"#, r#"{"k":"[masked]"}"#),
            (r#"{"k":"p\/ss \"w\u00f6rd\"+1"}"#, r#"{"k":"[masked]"}"#),
            (r#"{"k":"p/ss \"w\u00F6rd\"+1"}"#, r#"{"k":"[masked]"}"#),
            ("702f7373202277c3b6726422 2b31", "702f7373202277c3b6726422 2b31"),
            ("0x702f7373202277C3B67264222B31.", "0x[masked]."),
            ("nothing", "nothing"),
        ] {
            assert_eq!(mask.text(text), masked, "{text}");
        }
        let basic = STANDARD.encode("user:p/ss \"wörd\"+1");
        assert_eq!(mask.text(&format!("Basic {basic}")), format!("Basic {}[masked]==", &basic[..6]));
    }

    #[test]
    fn what_is_clean_is_not_copied() {
        let mask = mask(&["secret-value"]);
        let clean = b"nothing here".to_vec();
        let place = clean.as_ptr();
        let (bytes, found) = mask.bytes(clean);
        assert!(!found && bytes.as_ptr() == place);
        assert!(matches!(mask.text("nothing here"), Cow::Borrowed(_)));
        assert_eq!(mask.bytes(b"\xff secret-value \xfe".to_vec()), (b"\xff [masked] \xfe".to_vec(), true));
    }

    #[test]
    fn short_values_and_no_values_are_not_searched() {
        for mask in [Mask::default(), mask(&[]), mask(&["", "a", "12345"])] {
            assert_eq!(mask.text("a 12345"), "a 12345");
        }
        assert_eq!(mask(&["123456"]).text("a 123456"), "a [masked]");
    }

    #[test]
    fn of_overlapping_secrets_nothing_stays() {
        let mask = mask(&["abcdefgh", "abcdefghijkl", "efghijklmnop"]);
        assert_eq!(mask.text("<abcdefghijklmnop>"), "<[masked]>");
        assert_eq!(mask.text("<abcdefgh>"), "<[masked]>");
        assert_eq!(mask.text("abcdefghabcdefgh"), "[masked]");
    }

    #[test]
    fn a_long_secret_is_masked_to_its_end() {
        // Every part of it is found nowhere else in it.
        let long: String = (0..8_000).map(|n| format!("{n:05}")).collect();
        let mask = mask(&[&long]);
        assert_eq!(mask.text(&format!("<{long}>")), "<[masked]>");
        assert_eq!(mask.text(&format!("<{}", &long[..1_000])), "<[masked]");
        // What follows the compared start is taken for the rest, wherever a character of it ends.
        assert_eq!(mask.text(&format!("<{}{}", &long[..1_000], "ä€".repeat(20_000))).chars().next(), Some('<'));
    }

    #[test]
    fn what_cannot_be_searched_does_not_pass() {
        let closed = Mask { search: Search::Everything, reaches: Vec::new() };
        assert_eq!(closed.text("whatever"), MASKED);
        assert_eq!(closed.bytes(b"whatever".to_vec()), (MASKED.as_bytes().to_vec(), true));
    }

    #[test]
    fn shows_nothing_of_what_it_knows() {
        assert!(!format!("{:?}", mask(&["secret-value"])).contains("secret"));
    }

    #[test]
    fn headers_with_credentials() {
        for name in [
            "Set-Cookie",
            "authorization",
            "PROXY-AUTHENTICATE",
            "x-api-key",
            "X-Refreshed-Access-Token",
            "X-CSRF-Token",
        ] {
            assert!(header_is_secret(name), "{name}");
        }
        for name in ["www-authenticate", "content-type", "etag", "x-request-id", "x-next-page-token", "retry-after", ""]
        {
            assert!(!header_is_secret(name), "{name}");
        }
    }

    /// All forms a text may hold a secret in; with bytes around it where these change the form.
    fn written(secret: &str, before: &[u8], after: &[u8]) -> Vec<String> {
        let around: Vec<u8> = [before, secret.as_bytes(), after].concat();
        let mut all = vec![
            secret.to_owned(),
            percent::encoded(secret.as_bytes(), |_| false),
            percent::encoded(secret.as_bytes(), |_| false).to_ascii_lowercase(),
            url::form_urlencoded::byte_serialize(secret.as_bytes()).collect(),
            secret.bytes().map(|b| format!("{b:02x}")).collect(),
            secret.bytes().map(|b| format!("{b:02X}")).collect(),
            json(secret, JsonEscapes::Few),
            json(secret, JsonEscapes::AsciiSlash),
            STANDARD.encode(&around),
            STANDARD_NO_PAD.encode(&around),
            URL_SAFE.encode(&around),
            URL_SAFE_NO_PAD.encode(&around),
            percent::encoded(STANDARD.encode(&around).as_bytes(), |b| b.is_ascii_alphanumeric()),
        ];
        let mut url = url::Url::parse("https://api.test/").unwrap();
        url.query_pairs_mut().append_pair("k", secret);
        all.push(url.query().unwrap().to_owned());
        if !secret.contains(['\t', '\n', '\r', '#']) {
            url.set_query(Some(&format!("k={secret}&")));
            all.push(url.query().unwrap().to_owned());
            url.path_segments_mut().unwrap().push(&format!(":{secret}:"));
            all.push(url.path().to_owned());
        }
        all
    }

    /// Whether any run of the secret that could be used is left: its raw or encoded middle.
    fn shows(text: &str, secret: &str) -> bool {
        let text = text.to_ascii_lowercase();
        forms(secret).iter().any(|form| text.contains(&form.text.to_ascii_lowercase()))
    }

    /// What comes with each piece of the text, cut into these lengths, and at its end; and whether there were secrets.
    fn pieces(mask: &Mask, text: &[u8], cuts: &[usize]) -> (Vec<Vec<u8>>, bool) {
        let mut stream = MaskStream::new(Arc::new(mask.clone()));
        let (mut rest, mut given) = (text, Vec::new());
        for cut in cuts {
            let (piece, after) = rest.split_at((*cut).min(rest.len()));
            given.push(stream.push(piece));
            rest = after;
        }
        given.push(stream.push(rest));
        given.push(stream.finish());
        (given, stream.has_found)
    }

    /// The text in pieces of these lengths, masked as it comes.
    fn in_pieces(mask: &Mask, text: &[u8], cuts: &[usize]) -> (Vec<u8>, bool) {
        let (given, has_found) = pieces(mask, text, cuts);
        (given.concat(), has_found)
    }

    #[test]
    fn a_line_is_held_back_until_it_ends_or_is_longer_than_what_is_compared() {
        let mut stream = MaskStream::new(Arc::new(mask(&["secret-value"])));
        assert_eq!(stream.push(b"data: {\"a\": 1}\n\n"), b"data: {\"a\": 1}\n\n");
        assert!(stream.push(b"data: secret-").is_empty() && stream.push(b"value.").is_empty());
        assert_eq!(stream.push(b"\r\nda"), b"data: [masked].\r\n");
        assert!(stream.push(b"ta: x").is_empty());
        assert_eq!(stream.push(&[b'x'; COMPARED_BYTES_MAX]), b"data: x");
        assert_eq!(stream.finish(), [b'x'; COMPARED_BYTES_MAX]);
        assert!(stream.finish().is_empty() && stream.has_found);
    }

    #[test]
    fn a_long_secret_in_pieces_is_masked_to_its_end() {
        let long: String = (0..800).map(|n| format!("{n:05}")).collect();
        let mask = mask(&[&long]);
        let text = format!("<{long}>{}", &long[..1_000]);
        for cut in [1, 7, 400, 511, 512, 513, 1_000] {
            let cuts = vec![cut; text.len() / cut];
            assert_eq!(in_pieces(&mask, text.as_bytes(), &cuts).0, b"<[masked]>[masked]", "{cut}");
        }
    }

    #[test]
    fn what_cannot_be_searched_does_not_pass_in_pieces_either() {
        let closed = Mask { search: Search::Everything, reaches: Vec::new() };
        assert_eq!(in_pieces(&closed, b"whatever", &[1, 2, 3]), (MASKED.as_bytes().to_vec(), true));
    }

    proptest! {
        #[test]
        fn however_a_text_is_cut_it_is_masked_as_a_whole(
            secrets in prop::collection::vec("[ab+/ ]{6,9}", 1..4),
            around in prop::collection::vec("[abYW+/ =0-9\n]{0,7}", 8),
            (before, after) in (prop::collection::vec(any::<u8>(), 0..4), prop::collection::vec(any::<u8>(), 0..4)),
            picks in prop::collection::vec((any::<usize>(), any::<usize>()), 0..7),
            cuts in prop::collection::vec(0_usize..24, 0..40),
            // So that what is held back begins anywhere in a form.
            filled in 0..COMPARED_BYTES_MAX,
        ) {
            let values: Vec<&str> = secrets.iter().map(String::as_str).collect();
            let mask = mask(&values);
            let mut text = "0".repeat(filled) + &around[0];
            for (picked, between) in picks.iter().zip(around.iter().skip(1)) {
                let forms = written(values[picked.0 % values.len()], &before, &after);
                text.push_str(&forms[picked.1 % forms.len()]);
                text.push_str(between);
            }
            let whole = mask.bytes(text.clone().into_bytes());
            prop_assert_eq!(in_pieces(&mask, text.as_bytes(), &cuts), whole.clone(), "{}", text);
            let bytewise = vec![1; text.len()];
            prop_assert_eq!(in_pieces(&mask, text.as_bytes(), &bytewise), whole, "{}", text);
        }

        /// Whoever has a text sent sees how much of it comes with each piece, and learns nothing of secrets from that.
        #[test]
        fn a_text_without_secrets_comes_in_the_same_pieces_whatever_they_are(
            secrets in prop::array::uniform2("[ab+/ ]{6,9}"),
            filled in 0..COMPARED_BYTES_MAX,
            picks in prop::collection::vec((any::<usize>(), any::<usize>(), any::<bool>()), 0..20),
            cuts in prop::collection::vec(0_usize..24, 0..80),
        ) {
            // Of forms only beginnings: a whole one is found.
            let mut text = "!".repeat(filled);
            for (secret, form, ends_line) in picks {
                let forms = written(&secrets[secret % 2], b"", b"");
                let form = &forms[form % forms.len()];
                text.push_str(&form[..form.len() / 2]);
                text.push(if ends_line { '\n' } else { '!' });
            }
            let [one, other] = secrets.each_ref().map(|secret| mask(&[secret.as_str()]));
            let [one, other, none] = [one, other, Mask::default()].map(|mask| pieces(&mask, text.as_bytes(), &cuts));
            prop_assume!(!one.1 && !other.1);
            prop_assert_eq!(&one, &other, "{}", text);
            prop_assert_eq!(&one, &none, "{}", text);
        }

        #[test]
        fn no_form_in_any_text_stays(
            // No character of `[masked]`, so that what stands for a secret cannot be part of one.
            secret in "[b-zB-Z0-9 !-/:-@{-~äö€😀\t\n&&[^masked]]{8,40}",
            other in "[A-Za-z0-9]{6,12}",
            (before, after) in (prop::collection::vec(any::<u8>(), 0..5), prop::collection::vec(any::<u8>(), 0..5)),
            (left, right) in ("\\PC{0,12}", "\\PC{0,12}"),
        ) {
            let mask = mask(&[&secret, &other]);
            for form in written(&secret, &before, &after) {
                let text = format!("{left}{form}{right}{other}");
                prop_assert!(shows(&text, &secret), "no searched form: {form}");
                let masked = mask.text(&text);
                prop_assert!(masked.contains(MASKED) && !shows(&masked, &secret), "{text} -> {masked}");
                prop_assert_eq!(mask.bytes(text.clone().into_bytes()), (masked.into_owned().into_bytes(), true));
            }
        }

        #[test]
        fn no_input_breaks_it(
            values in prop::collection::vec("\\PC{0,12}", 0..4),
            bytes in prop::collection::vec(any::<u8>(), 0..60),
            text in "\\PC{0,40}",
        ) {
            let values: Vec<&str> = values.iter().map(String::as_str).collect();
            let mask = mask(&values);
            let _ = mask.bytes(bytes);
            let _ = mask.text(&text);
            for value in values.iter().filter(|value| value.len() >= SEARCHED_BYTES_MIN) {
                let echo = format!("{text}{value}{text}");
                prop_assert!(mask.text(&echo).contains(MASKED));
            }
        }

        #[test]
        fn other_text_stays(text in "[0-9 \\[\\]{}.,]{0,200}") {
            prop_assert_eq!(mask(&["secret-value", "another-secret"]).text(&text), text.as_str());
        }
    }
}
