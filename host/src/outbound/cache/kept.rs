//! A kept answer, as RFC 9111 sees it: whether it may be kept, whether it is fresh and an answer to this request, how it is
//! asked about, and what it is after "not modified".

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use http::header::{AGE, CACHE_CONTROL, EXPIRES, PRAGMA};
use http_cache_semantics::{BeforeRequest, CacheOptions, CachePolicy as Rules};
use serde::{Deserialize, Serialize};

use super::{Keep, Ticket};
use crate::outbound::{AnswerSource, Method, Outbound, Response};
use crate::time::Timestamp;

/// How far a kept answer may be from the future: clocks of two processes differ a little.
const AHEAD_MS: u64 = 5_000;

/// The greatest age that an answer is believed to have come with: ten years.
const AGE_S_MAX: u64 = 10 * 365 * 86_400;

/// A kept answer.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct CachedAnswer {
    /// What the request said, where the answer has a `Vary` that may ask for it.
    asked: Vec<(String, String)>,
    status: u16,
    headers: Vec<(String, String)>,
    url: String,
    pub(super) at_ms: u64,
    request_id: Option<String>,
    /// Whether it was asked for as what never changes.
    #[serde(default)]
    is_immutable: bool,
    #[serde(skip)]
    body: Arc<Vec<u8>>,
    /// RFC 9111's view of it, made when somebody asks.
    #[serde(skip)]
    rules: OnceLock<Option<Box<Rules>>>,
}

impl Ticket {
    /// What is asked, as the rules read it.
    fn request(&self) -> Option<&http::Request<()>> {
        let read = || {
            let mut request = http::Request::new(());
            *request.method_mut() = match self.sent.method {
                Method::Head => http::Method::HEAD,
                _ => http::Method::GET,
            };
            *request.uri_mut() = self.url.as_str().parse().ok()?;
            *request.headers_mut() = fields(&self.sent.headers);
            Some(Box::new(request))
        };
        self.asked.get_or_init(read).as_deref()
    }
}

impl CachedAnswer {
    pub(super) fn of(ticket: &Ticket, response: &Response, now: Timestamp) -> Self {
        let varies = has_any(&response.headers, &["vary"]);
        Self {
            asked: if varies { ticket.sent.headers.clone() } else { Vec::new() },
            status: response.status,
            headers: response.headers.clone(),
            url: response.url.clone(),
            at_ms: now.as_millis(),
            request_id: response.request_id.clone(),
            is_immutable: ticket.sent.keep == Keep::Immutable,
            body: response.body.clone(),
            rules: OnceLock::new(),
        }
    }

    /// The same with these headers, as of now.
    pub(super) fn refreshed(&self, ticket: &Ticket, headers: Vec<(String, String)>, now: Timestamp) -> Self {
        Self {
            asked: self.asked.clone(),
            status: self.status,
            headers,
            url: self.url.clone(),
            at_ms: now.as_millis(),
            request_id: self.request_id.clone(),
            is_immutable: self.is_immutable || ticket.sent.keep == Keep::Immutable,
            body: self.body.clone(),
            rules: OnceLock::new(),
        }
    }

    pub(super) fn weight(&self) -> u64 {
        let pair = |(name, value): &(String, String)| name.len() + value.len() + 48;
        let heads: usize = self.headers.iter().chain(&self.asked).map(pair).sum();
        (self.body.len() + heads + self.url.len() + 200) as u64
    }

    /// Its head in a line of JSON, then its body.
    pub(super) fn written(&self) -> Vec<u8> {
        let mut bytes = serde_json::to_vec(self).unwrap_or_default();
        bytes.push(b'\n');
        bytes.extend_from_slice(&self.body);
        bytes
    }

    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let end = bytes.iter().position(|byte| *byte == b'\n')?;
        let (head, body) = bytes.split_at(end);
        let kept: Self = serde_json::from_slice(head).ok()?;
        Some(Self { body: body.get(1..)?.to_vec().into(), ..kept })
    }

    /// Whether the provider says nothing of how long it holds, as most APIs do. It is kept then, and never fresh.
    fn is_silent(&self) -> bool {
        !has_any(&self.headers, &[CACHE_CONTROL.as_str(), PRAGMA.as_str(), EXPIRES.as_str()])
    }

    /// Whether it may be kept.
    pub(super) fn is_storable(&self, ticket: &Ticket) -> bool {
        self.is_silent() || self.rules(ticket).is_some_and(Rules::is_storable)
    }

    /// RFC 9111's view of it.
    fn rules(&self, ticket: &Ticket) -> Option<&Rules> {
        self.rules.get_or_init(|| self.read_rules(ticket).map(Box::new)).as_deref()
    }

    fn read_rules(&self, ticket: &Ticket) -> Option<Rules> {
        let mut request = ticket.request()?.clone();
        *request.headers_mut() = fields(&self.asked);
        let mut response = http::Response::new(());
        *response.status_mut() = http::StatusCode::from_u16(self.status).ok()?;
        *response.headers_mut() = readable(fields(&self.headers));
        // Without a word of the provider nothing is fresh: what an API answers has no age one could guess by, and that it
        // does not change while it is fresh does not say for how long that is (RFC 8246).
        let options = CacheOptions {
            shared: false,
            cache_heuristic: 0.0,
            immutable_min_time_to_live: Duration::ZERO,
            ..CacheOptions::default()
        };
        Some(Rules::new_options(&request, &response, Timestamp::from_millis(self.at_ms).into(), options))
    }

    /// Whether it was fresh when it came.
    pub(super) fn was_fresh(&self, ticket: &Ticket) -> bool {
        let at = Timestamp::from_millis(self.at_ms).into();
        !self.is_silent() && self.rules(ticket).is_some_and(|rules| !rules.time_to_live(at).is_zero())
    }

    pub(super) fn response(&self, source: AnswerSource, age_ms: u64) -> Response {
        Response {
            status: self.status,
            headers: self.headers.clone(),
            body: self.body.clone(),
            url: self.url.clone(),
            source,
            age_ms,
            attempts: 0,
            request_id: self.request_id.clone(),
            may_be_kept: false,
            mark: None,
            secret_url: None,
        }
    }
}

/// Headers as the rules read them: directives in lower case, since their case does not count (RFC 9111, 5.2), and an age
/// that the crate can add to without looking.
fn readable(mut headers: http::HeaderMap) -> http::HeaderMap {
    // What is no text forbids, rather than being overlooked.
    let unreadable = http::HeaderValue::from_static("no-store");
    let lower = |value: &http::HeaderValue| {
        let text = value.to_str().ok().map(str::to_ascii_lowercase);
        text.and_then(|text| http::HeaderValue::from_str(&text).ok()).unwrap_or_else(|| unreadable.clone())
    };
    for name in [CACHE_CONTROL, PRAGMA] {
        let values: Vec<_> = headers.get_all(&name).iter().map(lower).collect();
        headers.remove(&name);
        for value in values {
            headers.append(&name, value);
        }
    }
    if let Some(age) = headers.remove(AGE) {
        let is_number = |text: &&str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        // A number too long to be read is a great one; what is none says nothing.
        let age_s = age.to_str().ok().map(str::trim).filter(is_number).map(|text| text.parse().unwrap_or(AGE_S_MAX));
        if let Some(age_s) = age_s {
            headers.insert(AGE, http::HeaderValue::from(age_s.min(AGE_S_MAX)));
        }
    }
    headers
}

fn fields(pairs: &[(String, String)]) -> http::HeaderMap {
    let mut map = http::HeaderMap::with_capacity(pairs.len());
    for (name, value) in pairs {
        let name = http::HeaderName::from_bytes(name.as_bytes());
        if let (Ok(name), Ok(value)) = (name, http::HeaderValue::from_bytes(value.as_bytes())) {
            map.append(name, value);
        }
    }
    map
}

/// Whether one of these header fields is there; they are written in lower case.
pub(super) fn has_any(headers: &[(String, String)], wanted: &[&str]) -> bool {
    headers.iter().any(|(name, _)| wanted.iter().any(|wanted| name.eq_ignore_ascii_case(wanted)))
}

/// The kept answer with its age, if it is fresh.
pub(super) fn fresh<'a>(
    outbound: &Outbound,
    ticket: &Ticket,
    kept: Option<&'a CachedAnswer>,
) -> Option<(u64, &'a CachedAnswer)> {
    let now = outbound.clock.now();
    let kept = kept.filter(|kept| kept.at_ms <= now.plus(AHEAD_MS).as_millis())?;
    // What was kept before anybody said that it never changes may have changed.
    let is_as_answered = match ticket.sent.keep {
        Keep::AsAnswered => true,
        Keep::Immutable => !kept.is_immutable,
        Keep::Seconds(_) | Keep::Never => false,
    };
    if is_as_answered && kept.is_silent() {
        return None;
    }
    let rules = kept.rules(ticket)?;
    let asked = rules.before_request(ticket.request()?, now.into());
    let age_ms = now.since(Timestamp::from_millis(kept.at_ms));
    let (is_same, is_fresh) = match asked {
        BeforeRequest::Fresh(_) => (true, true),
        BeforeRequest::Stale { matches, .. } => (matches, false),
    };
    match ticket.sent.keep {
        _ if !is_same => None,
        _ if is_as_answered => is_fresh.then(|| {
            let age_ms = u64::try_from(rules.age(now.into()).as_millis()).unwrap_or(u64::MAX);
            (age_ms, kept)
        }),
        Keep::Immutable => Some((age_ms, kept)),
        Keep::Seconds(seconds) if age_ms < u64::from(seconds) * 1_000 => Some((age_ms, kept)),
        _ => None,
    }
}

/// The headers that ask about a kept answer, if it has something to be asked by.
pub(super) fn conditions(outbound: &Outbound, ticket: &Ticket, kept: &CachedAnswer) -> Option<Vec<(String, String)>> {
    if !has_any(&kept.headers, &["etag", "last-modified"]) {
        return None;
    }
    let asked = kept.rules(ticket)?.before_request(ticket.request()?, outbound.clock.now().into());
    let BeforeRequest::Stale { request, matches: true } = asked else { return None };
    let header = |name: &str| Some((name.to_owned(), request.headers.get(name)?.to_str().ok()?.to_owned()));
    let conditions: Vec<_> = ["if-none-match", "if-modified-since"].into_iter().filter_map(header).collect();
    (!conditions.is_empty()).then_some(conditions)
}

/// Whether a kept answer is one to this request, whatever its age. One from the future has none.
pub(super) fn matches(ticket: &Ticket, kept: &CachedAnswer, now: Timestamp) -> bool {
    if kept.at_ms > now.plus(AHEAD_MS).as_millis() {
        return false;
    }
    let asked = || Some(kept.rules(ticket)?.before_request(ticket.request()?, now.into()));
    matches!(asked(), Some(BeforeRequest::Fresh(_) | BeforeRequest::Stale { matches: true, .. }))
}

/// The headers of a kept answer after a "not modified", if that spoke of it: every field that the provider sent again
/// takes the place of all of its name (RFC 9111, 3.2). Only one answer was asked about, so only another entity tag says
/// that it is not meant.
pub(super) fn refreshed(kept: &CachedAnswer, response: &Response) -> Option<Vec<(String, String)>> {
    const OF_THE_BODY: [&str; 4] = ["content-length", "content-encoding", "content-range", "transfer-encoding"];
    fn tag(headers: &[(String, String)]) -> Option<&str> {
        let (_, tag) = headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("etag"))?;
        Some(tag.trim().trim_start_matches("W/"))
    }
    if tag(&response.headers).is_some_and(|tag_now| tag(&kept.headers).is_some_and(|tag| tag != tag_now)) {
        return None;
    }
    let is_new = |name: &str| {
        !OF_THE_BODY.iter().any(|own| own.eq_ignore_ascii_case(name))
            && response.headers.iter().any(|(new, _)| new.eq_ignore_ascii_case(name))
    };
    // The age that the kept answer came with is over.
    let old = kept.headers.iter().filter(|(name, _)| !name.eq_ignore_ascii_case("age") && !is_new(name));
    let new = response.headers.iter().filter(|(name, _)| is_new(name));
    Some(old.chain(new).cloned().collect())
}

#[cfg(test)]
impl CachedAnswer {
    /// An answer without anything in it.
    pub(super) fn empty(at_ms: u64) -> Self {
        Self {
            asked: Vec::new(),
            status: 200,
            headers: Vec::new(),
            url: String::new(),
            at_ms,
            request_id: None,
            is_immutable: false,
            body: Arc::default(),
            rules: OnceLock::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_of_an_older_version_reads_as_one_that_may_change() {
        let written = String::from_utf8(CachedAnswer::empty(1).written()).unwrap();
        let older = written.replace(",\"is_immutable\":false", "");
        assert_ne!(older, written);
        assert!(CachedAnswer::read(older.as_bytes()).is_some_and(|kept| !kept.is_immutable && kept.at_ms == 1));
    }
}
