//! Lists, page by page: what to ask next, decided from what came, without any I/O.
//!
//! A paginator is a small state. It says what to ask for, and `advance` makes the next state from the facts of an answer,
//! or `None` at the end. Kept in a [`Cursor`] it goes on in a fresh instance, after a crash or tomorrow.
//!
//! Each has the same three guards, because each of these has happened: the provider hands out the same place twice in a
//! row, a `next` URL points to another origin, a list has no end.
//!
//! ```
//! use wharfage_sdk::{Cursor, Page, page::Offset};
//!
//! # fn fetch(_: u64, _: u32) -> Vec<u32> { vec![1, 2, 3] }
//! fn list(cursor: Option<Cursor>) -> Result<Page<u32>, wharfage_sdk::Error> {
//!     let at = Offset::resume(cursor, 100)?;
//!     let items = fetch(at.offset(), at.limit());
//!     let next = at.advance(items.len(), None)?;
//!     Page::new(items, next.as_ref())
//! }
//! assert_eq!(list(None)?.next, None); // fewer than asked for: the last page
//! # Ok::<(), wharfage_sdk::Error>(())
//! ```

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::http::Response;
use crate::{Error, ErrorKind, Request, json};

/// How many pages one list may have.
pub const PAGES_MAX: u32 = 10_000;

/// How many items of one page may share a key for [`Keyset`]. Their ids stand in its cursor, of which the host bounds the bytes
/// (`cursor_bytes`, 16 KiB where nobody says otherwise): 400 ids of 36 letters, some thousands of short ones.
pub const SEEN_MAX: usize = 10_000;

/// One page of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T> {
    /// Its items.
    pub items: Vec<T>,
    /// Where the next page begins; absent on the last one.
    pub next: Option<Cursor>,
}

impl<T> Page<T> {
    /// A page, and the state to go on from.
    ///
    /// # Errors
    /// `internal` when the state has no JSON form.
    pub fn new<S: Serialize>(items: Vec<T>, next: Option<&S>) -> Result<Self, Error> {
        Ok(Self { items, next: next.map(Cursor::encode).transpose()? })
    }

    /// The only page there is.
    pub fn whole(items: Vec<T>) -> Self {
        Self { items, next: None }
    }
}

/// Where a list stands: text to everybody but the operation that made it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor(String);

impl Cursor {
    /// Keeps a state.
    ///
    /// # Errors
    /// `internal` when the state has no JSON form.
    pub fn encode<S: Serialize>(state: &S) -> Result<Self, Error> {
        json::to_text(state).map(Self)
    }

    /// The state that was kept.
    ///
    /// # Errors
    /// `cursor-invalid` when it is not such a state.
    pub fn decode<S: DeserializeOwned>(&self) -> Result<S, Error> {
        crate::json::read(&self.0)
            .map_err(|_| Error::cursor_invalid("this cursor is not one of this list: begin at its first page"))
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<String> for Cursor {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl From<&str> for Cursor {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl From<Cursor> for String {
    fn from(cursor: Cursor) -> Self {
        cursor.0
    }
}

impl std::fmt::Display for Cursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// The state in `cursor`, or the first one.
fn resume<S: DeserializeOwned>(cursor: Option<Cursor>, first: impl FnOnce() -> S) -> Result<S, Error> {
    cursor.map_or_else(|| Ok(first()), |cursor| cursor.decode())
}

/// Counts pages, and refuses one too many.
fn count(pages: u32) -> Result<u32, Error> {
    if pages >= PAGES_MAX {
        let message = format!("the list has more than {PAGES_MAX} pages");
        return Err(Error::new(ErrorKind::LimitExceeded("pages-max".to_owned()), message));
    }
    Ok(pages + 1)
}

fn looping() -> Error {
    Error::schema_violation("the provider hands out the same place in the list twice")
}

/// `?limit=…&offset=…`. Items that come or go meanwhile shift the rest: for a list that changes, prefer [`Keyset`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offset {
    #[serde(rename = "o")]
    offset: u64,
    #[serde(rename = "l")]
    limit: u32,
    #[serde(rename = "n")]
    pages: u32,
}

impl Offset {
    /// Goes on at `cursor`, or begins.
    ///
    /// # Errors
    /// `cursor-invalid`.
    pub fn resume(cursor: Option<Cursor>, limit: u32) -> Result<Self, Error> {
        resume(cursor, || Self { offset: 0, limit: limit.max(1), pages: 0 })
    }

    /// How many items to skip.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// How many items to ask for.
    pub fn limit(&self) -> u32 {
        self.limit
    }

    /// After a page of `items` items, of `total` in all where the provider says so. Without a total, a page shorter than
    /// asked for is the last.
    ///
    /// # Errors
    /// `limit-exceeded`.
    pub fn advance(&self, items: usize, total: Option<u64>) -> Result<Option<Self>, Error> {
        let offset = self.offset.saturating_add(items as u64);
        let is_last = match total {
            Some(total) => items == 0 || offset >= total,
            None => (items as u64) < u64::from(self.limit),
        };
        if is_last {
            return Ok(None);
        }
        Ok(Some(Self { offset, limit: self.limit, pages: count(self.pages)? }))
    }
}

/// `?page=1`, counted from 1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PageNumber {
    #[serde(rename = "p")]
    page: u32,
    #[serde(rename = "l")]
    size: u32,
}

impl PageNumber {
    /// Goes on at `cursor`, or begins.
    ///
    /// # Errors
    /// `cursor-invalid`.
    pub fn resume(cursor: Option<Cursor>, size: u32) -> Result<Self, Error> {
        resume(cursor, || Self { page: 1, size: size.max(1) })
    }

    /// Which page to ask for.
    pub fn page(&self) -> u32 {
        self.page
    }

    /// How many items to ask for.
    pub fn size(&self) -> u32 {
        self.size
    }

    /// After a page of `items` items, of `pages` pages in all where the provider says so. Without, a page shorter than asked
    /// for is the last.
    ///
    /// # Errors
    /// `limit-exceeded`.
    pub fn advance(&self, items: usize, pages: Option<u32>) -> Result<Option<Self>, Error> {
        let is_last = match pages {
            Some(pages) => items == 0 || self.page >= pages,
            None => (items as u64) < u64::from(self.size),
        };
        if is_last {
            return Ok(None);
        }
        Ok(Some(Self { page: count(self.page)?, size: self.size }))
    }
}

/// An opaque mark that the provider hands out: `?cursor=…`, `?pageToken=…`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opaque {
    #[serde(rename = "m")]
    mark: Option<String>,
    #[serde(rename = "n")]
    pages: u32,
}

impl Opaque {
    /// Goes on at `cursor`, or begins.
    ///
    /// # Errors
    /// `cursor-invalid`.
    pub fn resume(cursor: Option<Cursor>) -> Result<Self, Error> {
        resume(cursor, || Self { mark: None, pages: 0 })
    }

    /// The mark to send; none for the first page.
    pub fn mark(&self) -> Option<&str> {
        self.mark.as_deref()
    }

    /// After an answer that named `next`. An empty one is as none: some providers write it so.
    ///
    /// # Errors
    /// `schema-violation` when it is the mark just used, `limit-exceeded`.
    pub fn advance(&self, next: Option<&str>) -> Result<Option<Self>, Error> {
        let Some(next) = next.filter(|next| !next.is_empty()) else {
            return Ok(None);
        };
        if self.mark.as_deref() == Some(next) {
            return Err(looping());
        }
        Ok(Some(Self { mark: Some(next.to_owned()), pages: count(self.pages)? }))
    }
}

/// Restarts after the last key seen, so that a write in between shifts nothing.
///
/// The provider sorts by a key and can begin at one *inclusively* (`modified__gte=…`). Several items may share a key, so
/// the first items of a page may be known already: [`is_new`](Self::is_new) drops them. Where a whole page shares one
/// key, [`skip`](Self::skip) says how far to step into it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Keyset {
    #[serde(rename = "k")]
    after: Option<String>,
    #[serde(rename = "s")]
    seen: Vec<String>,
    #[serde(rename = "o")]
    skip: u64,
    #[serde(rename = "n")]
    pages: u32,
}

impl Keyset {
    /// Goes on at `cursor`, or begins.
    ///
    /// # Errors
    /// `cursor-invalid`.
    pub fn resume(cursor: Option<Cursor>) -> Result<Self, Error> {
        resume(cursor, Self::default)
    }

    /// The key to begin at, inclusively; none for the first page.
    pub fn after(&self) -> Option<&str> {
        self.after.as_deref()
    }

    /// How many items of that key to step over; 0 unless a whole page shared it.
    pub fn skip(&self) -> u64 {
        self.skip
    }

    /// Whether this item did not come before.
    pub fn is_new(&self, key: &str, id: &str) -> bool {
        self.after.as_deref() != Some(key) || !self.seen.iter().any(|seen| seen == id)
    }

    /// After a page with these keys and ids in its order, known ones too; `has_more` as the provider says.
    ///
    /// # Errors
    /// `schema-violation` when the page does not begin at the key asked for or is empty and promises more; `limit-exceeded`.
    pub fn advance<'a>(
        &self,
        items: impl IntoIterator<Item = (&'a str, &'a str)>,
        has_more: bool,
    ) -> Result<Option<Self>, Error> {
        let items: Vec<(&str, &str)> = items.into_iter().collect();
        let own = |(key, _): &(&str, &str)| self.after.as_deref() == Some(*key);
        if items.iter().skip_while(|item| own(item)).any(own) {
            return Err(Error::schema_violation("the provider does not list in the order asked for"));
        }
        if !has_more {
            return Ok(None);
        }
        let Some((last, _)) = items.last() else {
            return Err(looping());
        };
        // Whoever is stuck steps over what came before, so the ids of this page are enough.
        let is_stuck = self.after.as_deref() == Some(*last);
        let mut seen: Vec<String> = Vec::new();
        for (key, id) in &items {
            if key == last && !seen.iter().any(|known| known == id) {
                seen.push((*id).to_owned());
            }
        }
        if seen.len() > SEEN_MAX {
            let message = format!("more than {SEEN_MAX} items of a page share one key");
            return Err(Error::new(ErrorKind::LimitExceeded("seen-max".to_owned()), message));
        }
        Ok(Some(Self {
            after: Some((*last).to_owned()),
            seen,
            skip: if is_stuck { self.skip + items.len() as u64 } else { 0 },
            pages: count(self.pages)?,
        }))
    }
}

/// A URL of the next page, in the body or in a `Link` header. It is followed only within the origin that answered, because
/// the credential goes with it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NextUrl {
    #[serde(rename = "u")]
    url: Option<String>,
    #[serde(rename = "n")]
    pages: u32,
}

impl NextUrl {
    /// Goes on at `cursor`, or begins.
    ///
    /// # Errors
    /// `cursor-invalid`.
    pub fn resume(cursor: Option<Cursor>) -> Result<Self, Error> {
        resume(cursor, Self::default)
    }

    /// The request for this page: `first` on the first, else a GET of the URL the provider named.
    pub fn request(&self, first: impl FnOnce() -> Request) -> Request {
        self.url.as_ref().map_or_else(first, Request::get)
    }

    /// After an answer from `answered` (the URL of the [`Response`]) that named `next`, absolute or relative to it.
    ///
    /// # Errors
    /// `policy-denied` when it leaves the origin, `schema-violation` when it is the page just read, `limit-exceeded`.
    pub fn advance(&self, answered: &str, next: Option<&str>) -> Result<Option<Self>, Error> {
        let Some(next) = next.filter(|next| !next.is_empty()) else {
            return Ok(None);
        };
        let url = resolve(answered, next).ok_or_else(|| {
            let rule = "next-url-in-origin".to_owned();
            Error::new(ErrorKind::PolicyDenied(rule), "the next page is said to be at another origin")
        })?;
        if self.url.as_deref() == Some(&url) || answered == url {
            return Err(looping());
        }
        Ok(Some(Self { url: Some(url), pages: count(self.pages)? }))
    }

    /// The same with the `Link` header of an answer (RFC 8288, `rel="next"`).
    ///
    /// # Errors
    /// As [`advance`](Self::advance).
    pub fn advance_by_link(&self, response: &Response) -> Result<Option<Self>, Error> {
        let links: Vec<&str> = response
            .headers
            .iter()
            .filter(|(name, _)| name.eq_ignore_ascii_case("link"))
            .map(|(_, value)| value.as_str())
            .collect();
        self.advance(&response.url, link(&links.join(", "), "next"))
    }
}

/// `pageInfo` of a Relay connection in GraphQL.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PageInfo {
    /// Whether there is more.
    pub has_next_page: bool,
    /// Where it begins.
    pub end_cursor: Option<String>,
}

/// A Relay connection: `after` in the variables, `pageInfo` in the answer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Relay {
    #[serde(rename = "a")]
    after: Option<String>,
    #[serde(rename = "n")]
    pages: u32,
}

impl Relay {
    /// Goes on at `cursor`, or begins.
    ///
    /// # Errors
    /// `cursor-invalid`.
    pub fn resume(cursor: Option<Cursor>) -> Result<Self, Error> {
        resume(cursor, Self::default)
    }

    /// The variable `after`; none for the first page.
    pub fn after(&self) -> Option<&str> {
        self.after.as_deref()
    }

    /// After an answer with this `pageInfo`.
    ///
    /// # Errors
    /// `schema-violation` when more is promised and no new place named, `limit-exceeded`.
    pub fn advance(&self, info: &PageInfo) -> Result<Option<Self>, Error> {
        if !info.has_next_page {
            return Ok(None);
        }
        if info.end_cursor.is_none() || info.end_cursor == self.after {
            return Err(looping());
        }
        Ok(Some(Self { after: info.end_cursor.clone(), pages: count(self.pages)? }))
    }
}

/// The target of the link with this relation in a `Link` header (RFC 8288).
pub fn link<'a>(header: &'a str, relation: &str) -> Option<&'a str> {
    let mut rest = header;
    while let Some((_, after)) = rest.split_once('<') {
        let (target, parameters) = after.split_once('>')?;
        let (own, others) = parameters.split_at(end_of_link(parameters));
        let is_relation = own.split(';').any(|parameter| {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            name.trim().eq_ignore_ascii_case("rel")
                && value.trim().trim_matches('"').split_whitespace().any(|own| own.eq_ignore_ascii_case(relation))
        });
        if is_relation {
            return Some(target.trim());
        }
        rest = others;
    }
    None
}

/// Where a link's parameters end: at a comma outside of quotes.
fn end_of_link(parameters: &str) -> usize {
    let mut is_quoted = false;
    for (at, letter) in parameters.char_indices() {
        match letter {
            '"' => is_quoted = !is_quoted,
            ',' if !is_quoted => return at,
            _ => {}
        }
    }
    parameters.len()
}

/// `next` resolved against `base` (RFC 3986, section 5, as far as next-page links go), if it stays in the same origin.
fn resolve(base: &str, next: &str) -> Option<String> {
    // Browsers drop some of these and read others as `/`: a URL with one of them means different things to different readers.
    if next.chars().any(|letter| letter.is_control() || letter.is_whitespace() || letter == '\\') {
        return None;
    }
    let base = Parts::of(base)?;
    let next = next.split('#').next().unwrap_or_default();
    let has_scheme = next.find([':', '/', '?']).is_some_and(|at| next[at..].starts_with(':'));
    let absolute = if has_scheme {
        next.to_owned()
    } else if next.starts_with("//") {
        format!("{}:{next}", base.scheme)
    } else {
        let path = base.rest.split(['?', '#']).next().unwrap_or_default();
        let place = if next.starts_with('/') {
            next.to_owned()
        } else if next.starts_with('?') {
            format!("{path}{next}")
        } else {
            format!("{}/{next}", path.rsplit_once('/').map_or("", |(folder, _)| folder))
        };
        format!("{}://{}{place}", base.scheme, base.authority)
    };
    let next = Parts::of(&absolute)?;
    (next.origin() == base.origin()).then_some(absolute)
}

struct Parts<'a> {
    scheme: &'a str,
    authority: &'a str,
    rest: &'a str,
}

impl<'a> Parts<'a> {
    fn of(url: &'a str) -> Option<Self> {
        let (scheme, rest) = url.split_once("://")?;
        let (authority, rest) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        let is_plain = !authority.is_empty() && !authority.contains('@') && authority.is_ascii();
        is_plain.then_some(Self { scheme, authority, rest })
    }

    fn origin(&self) -> (String, String) {
        let scheme = self.scheme.to_ascii_lowercase();
        let port = if scheme == "https" { ":443" } else { ":80" };
        let authority = self.authority.to_ascii_lowercase();
        let authority = authority.strip_suffix(port).map_or(authority.clone(), str::to_owned);
        (scheme, authority)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    const HERE: &str = "https://app.example/api/v2/orders/?limit=2";

    // What went wrong: the URL in `next` was followed wherever it pointed, with the key in its header. A page naming another
    // host, another port or a host that only looks alike must end the list with a refusal.
    #[test]
    fn guide_s34_next_url_was_followed_anywhere() {
        for hostile in [
            "https://evil.example/api/v2/orders/",
            "http://app.example/api/v2/orders/",
            "https://app.example:8443/api/v2/orders/",
            "//evil.example/",
            "https://app.example@evil.example/",
            "https://app.example.evil.example/",
            "https:\\\\evil.example/",
            "/\\evil.example/",
            "ftp://app.example/",
            "javascript:alert(1)",
            "https://app.example\u{9}.evil.example/",
        ] {
            let error = NextUrl::default().advance(HERE, Some(hostile)).unwrap_err();
            assert_eq!(error.kind.name(), "policy-denied", "{hostile}");
        }
    }

    #[test]
    fn a_next_url_is_resolved_against_the_answer() {
        let next = |next: &str| NextUrl::default().advance(HERE, Some(next)).unwrap().unwrap().url.unwrap();
        assert_eq!(next("https://APP.example:443/x/?offset=2"), "https://APP.example:443/x/?offset=2");
        assert_eq!(next("/api/v2/orders/?offset=2"), "https://app.example/api/v2/orders/?offset=2");
        assert_eq!(next("?offset=2"), "https://app.example/api/v2/orders/?offset=2");
        assert_eq!(next("page/2"), "https://app.example/api/v2/orders/page/2");
        assert_eq!(next("//app.example/x"), "https://app.example/x");
        assert_eq!(NextUrl::default().advance(HERE, None).unwrap(), None);
    }

    #[test]
    fn the_same_place_twice_is_a_loop() {
        let first = NextUrl::default().advance(HERE, Some("?offset=2")).unwrap().unwrap();
        assert_eq!(first.advance(HERE, Some("?offset=2")).unwrap_err().kind.name(), "schema-violation");
        let mark = Opaque::resume(None).unwrap().advance(Some("a")).unwrap().unwrap();
        assert!(mark.advance(Some("a")).is_err());
        let info = PageInfo { has_next_page: true, end_cursor: Some("x".into()) };
        let relay = Relay::default().advance(&info).unwrap().unwrap();
        assert!(relay.advance(&info).is_err());
        assert!(Relay::default().advance(&PageInfo { has_next_page: true, end_cursor: None }).is_err());
    }

    #[test]
    fn no_list_goes_on_for_ever() {
        let mut at = Opaque::resume(None).unwrap();
        for page in 0..PAGES_MAX {
            at = at.advance(Some(&page.to_string())).unwrap().unwrap();
        }
        assert_eq!(at.advance(Some("more")).unwrap_err().kind.name(), "limit-exceeded");
    }

    #[test]
    fn link_headers() {
        let header = r#"<https://a.example/?page=2>; title="a, b"; rel="prev next", </last>; rel=last"#;
        assert_eq!(link(header, "next"), Some("https://a.example/?page=2"));
        assert_eq!(link(header, "last"), Some("/last"));
        assert_eq!(link(header, "first"), None);
    }

    #[test]
    fn a_page_in_another_order_is_refused() {
        let at = Keyset::default().advance([("1", "a"), ("2", "b")], true).unwrap().unwrap();
        assert!(at.advance([("1", "a"), ("2", "b")], true).is_err());
        assert!(at.advance([], true).is_err());
        assert_eq!(at.advance([("2", "b")], false).unwrap(), None);
    }

    #[test]
    fn the_cursor_of_a_keyset_does_not_grow_with_the_items_that_share_a_key() {
        let ids: Vec<String> = (0..5_000).map(|id| format!("{id:036}")).collect();
        let (mut at, mut read) = (Keyset::default(), 0);
        loop {
            let from = usize::try_from(at.skip()).unwrap();
            let page = &ids[from..ids.len().min(from + 100)];
            read += page.iter().filter(|id| at.is_new("k", id)).count();
            let next = at.advance(page.iter().map(|id| ("k", id.as_str())), from + 100 < ids.len()).unwrap();
            let Some(next) = next else { break };
            let bytes = Cursor::encode(&next).unwrap().as_str().len();
            assert!(bytes < 16 << 10, "{bytes} bytes after {from}");
            at = next;
        }
        assert_eq!(read, ids.len());
    }

    proptest! {
        #[test]
        fn offsets_visit_everything_once(total in 0usize..300, limit in 1u32..50, tells_total: bool) {
            let all: Vec<usize> = (0..total).collect();
            let (mut visited, mut at) = (Vec::new(), Some(Offset::resume(None, limit).unwrap()));
            let mut cursors = BTreeSet::new();
            while let Some(here) = at {
                let from = (here.offset() as usize).min(total);
                let page = &all[from..(from + limit as usize).min(total)];
                visited.extend_from_slice(page);
                at = here.advance(page.len(), tells_total.then_some(total as u64)).unwrap();
                if let Some(at) = &at {
                    prop_assert!(cursors.insert(Cursor::encode(at).unwrap().0), "a cursor came twice");
                }
            }
            prop_assert_eq!(visited, all);
        }

        #[test]
        fn page_numbers_visit_everything_once(total in 0usize..300, size in 1u32..50, tells_pages: bool) {
            let all: Vec<usize> = (0..total).collect();
            let pages: Vec<&[usize]> = all.chunks(size as usize).collect();
            let (mut visited, mut at) = (Vec::new(), Some(PageNumber::resume(None, size).unwrap()));
            while let Some(here) = at {
                let page = pages.get(here.page() as usize - 1).copied().unwrap_or_default();
                visited.extend_from_slice(page);
                at = here.advance(page.len(), tells_pages.then_some(pages.len() as u32)).unwrap();
            }
            prop_assert_eq!(visited, all);
        }

        /// Items as (key, id), sorted; between two pages some item that was or was not read yet is written, which moves it
        /// to the end. Everything that is there at the end was read in its last version, and no version twice.
        #[test]
        fn a_keyset_misses_nothing_while_others_write(
            keys in prop::collection::vec(0u32..20, 0..60),
            limit in 1usize..8,
            writes in prop::collection::vec(0usize..60, 0..20),
        ) {
            let mut items: Vec<(String, String)> =
                keys.iter().enumerate().map(|(id, key)| (format!("{key:06}"), id.to_string())).collect();
            items.sort();
            let mut writes = writes.into_iter();
            let mut clock = 100;
            let mut read: Vec<(String, String)> = Vec::new();
            let mut cursors = BTreeSet::new();
            let mut at = Some(Keyset::default());
            while let Some(here) = at {
                let from = here.after().map_or(0, |after| items.partition_point(|(key, _)| key.as_str() < after));
                let rest = &items[(from + here.skip() as usize).min(items.len())..];
                let page = &rest[..limit.min(rest.len())];
                read.extend(page.iter().filter(|(key, id)| here.is_new(key, id)).cloned());
                let pairs = page.iter().map(|(key, id)| (key.as_str(), id.as_str()));
                at = here.advance(pairs, rest.len() > limit).unwrap();
                if let Some(at) = &at {
                    prop_assert!(cursors.insert(Cursor::encode(at).unwrap().0), "a cursor came twice");
                }
                // While a page is stepped into, its key's items stay: that is the one case a keyset cannot guard.
                if at.as_ref().is_some_and(|at| at.skip() == 0)
                    && let Some(index) = writes.next()
                    && index < items.len()
                {
                    let (_, id) = items.remove(index);
                    clock += 1;
                    items.push((format!("{clock:06}"), id));
                }
            }
            let distinct: BTreeSet<_> = read.iter().cloned().collect();
            prop_assert_eq!(distinct.len(), read.len(), "something came twice");
            prop_assert!(items.iter().all(|item| distinct.contains(item)), "something was missed");
        }

        #[test]
        fn garbage_is_an_invalid_cursor(text in "\\PC{0,60}") {
            let cursor = || Some(Cursor::from(text.as_str()));
            for kind in [
                Offset::resume(cursor(), 1).err(), PageNumber::resume(cursor(), 1).err(), Opaque::resume(cursor()).err(),
                Keyset::resume(cursor()).err(), NextUrl::resume(cursor()).err(), Relay::resume(cursor()).err(),
            ] {
                prop_assert_eq!(kind.map(|error| error.kind.clone()), Some(ErrorKind::CursorInvalid));
            }
        }

        #[test]
        fn no_url_and_no_header_makes_it_panic(base in "\\PC{0,40}", next in "\\PC{0,40}") {
            _ = resolve(&base, &next);
            _ = resolve(HERE, &next);
            _ = link(&next, "next");
        }

        #[test]
        fn whatever_is_resolved_stays_here(next in "[a-z:/?#@.\\\\]{0,30}") {
            if let Some(url) = resolve(HERE, &next) {
                prop_assert!(url.starts_with("https://app.example"));
                let rest = &url["https://app.example".len()..];
                prop_assert!(rest.is_empty() || rest.starts_with(['/', '?']), "{}", url);
            }
        }
    }
}
