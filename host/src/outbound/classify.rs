//! Response -> Outcome: what an answer means, before anybody decides anything.
//!
//! The status speaks first, then the manifest's rules about bodies, so that a rate message inside a 200 is a rate limit
//! to the retry, the buckets and the caller alike. What goes on from here is masked: no known secret, no cookie, and of
//! an error's body no more than its start.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::sync::{Arc, OnceLock};

use aho_corasick::{AhoCorasick, AhoCorasickBuilder};
use http::{HeaderMap, HeaderName};
use serde_json::Value;
use url::Url;

use super::admit::BucketQueue;
use super::circuit::Verdict;
use super::hints::{self, Hint};
use super::stream::Rest;
use super::transport::{Answered, Raw, is_left};
use super::{AnswerSource, CallContext, Outbound, PathEvent, Response};
use crate::error::{Error, Kind, RequestSent};
use crate::manifest::{AnswerRule, Condition};
use crate::mask::prefilter::Prefilter;
use crate::mask::{Mask, MaskStream, header_is_secret};
use crate::text::shown;
use crate::time::Timestamp;

/// Bytes kept of an error's body.
const BODY_BYTES_MAX: usize = 1000;

/// The same where the host itself asks, which reads the whole refusal and hands none of it on.
const OWN_BODY_BYTES_MAX: usize = 16 << 10;

/// What is waited after a 429 that says nothing, for the caller's eyes; the guide's figure.
const RETRY_AFTER_MS: u64 = 60_000;

/// The longest wait that is believed at all: a year.
const WAIT_MS_MAX: u64 = 365 * 86_400_000;

/// How long a spent quota rests where nothing says for how long, at most its window.
const QUOTA_REST_MS: u64 = 3_600_000;

/// Where providers put their id of a request.
pub(super) static REQUEST_ID_HEADERS: [HeaderName; 4] = [
    HeaderName::from_static("x-request-id"),
    HeaderName::from_static("request-id"),
    HeaderName::from_static("x-correlation-id"),
    HeaderName::from_static("x-amzn-requestid"),
];

/// What an attempt came to.
pub(super) enum Outcome {
    /// An answer for the plugin.
    Answer(Response, Option<Rest>),
    /// Ask elsewhere.
    Redirect {
        /// The status.
        status: u16,
        /// Where, as the provider wrote it.
        location: String,
        /// Relative to what, without credentials.
        from: Url,
    },
    /// It failed.
    Failure {
        /// How.
        error: Error,
        /// What the answer says about when to come back.
        hint_at: Option<Timestamp>,
        /// What the answer says about whether to try again at all.
        advice: Option<bool>,
    },
}

impl Outcome {
    /// A failure about which nothing more is known.
    pub(super) fn failure(error: Error) -> Self {
        Self::Failure { error, hint_at: None, advice: None }
    }

    /// What the audit trail is told: the status, and the kind of the error.
    pub(super) fn told(&self) -> (Option<u16>, Option<&Kind>) {
        match self {
            Self::Answer(response, _) => (Some(response.status), None),
            Self::Redirect { status, .. } => (Some(*status), None),
            Self::Failure { error, .. } => (error.status(), Some(error.kind())),
        }
    }

    /// What it says about the provider's health.
    fn verdict(&self) -> Verdict {
        match self {
            Self::Answer(..) | Self::Redirect { .. } => Verdict::Well,
            Self::Failure { error, .. } => Verdict::of(error.kind()),
        }
    }
}

/// Judges an answer, and tells the buckets and the breaker what it said. Of one that is opened, the body has no say.
pub(super) fn classify(outbound: &Outbound, context: &CallContext, mut answered: Answered, is_opened: bool) -> Outcome {
    let leave = answered.leave.take();
    let outcome = judge(outbound, context, answered, is_opened);
    if let Some(leave) = leave {
        let origin = leave.origin();
        if let Some(until) = leave.conclude(outcome.verdict()) {
            tracing::warn!(target: "wharfage::outbound", connection = outbound.scope.connection, origin, %until, "keeps failing; not asked until then");
            context.observe(|| PathEvent::Opened { origin, until });
        }
    }
    outcome
}

fn judge(outbound: &Outbound, context: &CallContext, answered: Answered, is_opened: bool) -> Outcome {
    let Answered { method, url, origin, result, rest, .. } = answered;
    let granted = &outbound.scope.origins[origin];
    // As the provider's documentation writes it: below the base URL.
    let root = granted.base.path().trim_end_matches('/');
    let endpoint = |url: &Url| format!("{method} {}", url.path().strip_prefix(root).unwrap_or(url.path()));
    let mut raw = match result {
        Ok(raw) => raw,
        Err(error) => return Outcome::failure(error.with_endpoint(Some(endpoint(&url)))),
    };
    let origin = granted.name.as_str();
    let hint = hints::read(
        raw.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())),
        &outbound.rate_headers,
        raw.received_at,
        WAIT_MS_MAX,
    );
    // What is to be read piece by piece is not read yet; with a tape it is, and no rule is to find in it what it would find
    // in no other call.
    let unread = (is_opened && is_left(raw.status, &raw.headers)).then(|| std::mem::take(&mut raw.body));
    let ruled = outbound.answers.judge(origin, &raw);
    if let Some(body) = unread.filter(|_| ruled.is_none()) {
        raw.body = body;
    }
    let is_spent = ruled.as_ref().is_some_and(|ruled| ruled.kind == Kind::QuotaExhausted);
    let is_limited = match &ruled {
        Some(ruled) => ruled.kind == Kind::RateLimited,
        None => raw.status == 429,
    };
    let hint_at = ruled.as_ref().and_then(|ruled| ruled.come_back_at(&raw)).max(hint.come_back_at());
    feed_back(outbound, origin, &hint);
    if is_spent || is_limited || raw.status == 503 {
        let bucket = ruled.as_ref().and_then(|ruled| ruled.bucket.as_deref());
        block(outbound, origin, bucket, hint_at, is_spent);
    }
    let advice = outbound.retry_header.as_ref().and_then(|name| raw.headers.get(name)).and_then(|value| {
        match value.as_bytes() {
            b"true" => Some(true),
            b"false" => Some(false),
            _ => None,
        }
    });
    if ruled.is_none()
        && is_redirect(raw.status)
        && let Some(location) = raw.headers.get(http::header::LOCATION).and_then(|value| value.to_str().ok())
    {
        return Outcome::Redirect { status: raw.status, location: location.to_owned(), from: url };
    }
    let request_id = request_id(&raw.headers, outbound.request_id_header.as_deref());
    if ruled.is_none() && raw.status < 400 {
        let (response, has_leaked) = answer(outbound, context, raw, &url, request_id);
        return Outcome::Answer(response, rest.map(|rest| rest.told(has_leaked)));
    }
    let mask = outbound.mask();
    let most = if outbound.is_authority { OWN_BODY_BYTES_MAX } else { BODY_BYTES_MAX };
    let (masked, has_found) = masked_body(&mask, &raw.body, most * 4);
    if has_found {
        outbound.tell_leak(context, &shown_path(&mask, &url));
    }
    let body = masked_start(&masked, most);
    let by_status = || kind_of(raw.status, &masked_start(&body, BODY_BYTES_MAX));
    let kind = ruled.as_ref().map_or_else(by_status, |ruled| ruled.kind.clone());
    let retry_at = match &kind {
        Kind::RateLimited | Kind::QuotaExhausted => hint_at.or_else(|| Some(raw.received_at.plus(RETRY_AFTER_MS))),
        _ => hint_at,
    };
    let error = Error::new(kind.clone(), sentence(&kind))
        .with_status(Some(raw.status))
        .with_endpoint(Some(endpoint(&url)))
        .with_request_id(request_id.map(|id| shown(&mask.text(&id))))
        .with_provider_code(ruled.and_then(|ruled| ruled.code).map(|code| masked_start(&mask.text(&code), 200)))
        .with_request_sent(RequestSent::Yes)
        .with_retry_at(retry_at)
        .with_body((!body.is_empty()).then_some(body));
    Outcome::Failure { error, hint_at, advice }
}

/// Tells the buckets how much the provider says is left. Where it does not say of which window it speaks, it is that of
/// the only window that covers the origin; of one among several, nothing is believed.
fn feed_back(outbound: &Outbound, origin: &str, hint: &Hint) {
    if hint.windows.is_empty() {
        return;
    }
    let queues: Vec<_> = outbound.queues.covering(origin).filter(|queue| queue.spec().is_window()).collect();
    for window in &hint.windows {
        let is_meant = |queue: &&&Arc<BucketQueue>| match (&window.bucket, window.length_ms) {
            (Some(name), _) => queue.spec().name == *name,
            (None, Some(length_ms)) => queue.spec().window_ms() == Some(length_ms),
            (None, None) => queues.len() == 1,
        };
        for queue in queues.iter().filter(is_meant) {
            // What a limit is a limit of is certain only where the window is named.
            if let Some(limit) = window.limit.filter(|_| window.bucket.is_some() || window.length_ms.is_some()) {
                queue.told_limit(limit);
            }
            if let Some(left) = window.remaining {
                queue.remaining(left, window.reset_at);
            }
        }
    }
}

/// Stops the buckets that an answer refused for: one 429 stops all who wait.
fn block(outbound: &Outbound, origin: &str, bucket: Option<&str>, until: Option<Timestamp>, is_spent: bool) {
    let now = outbound.clock.now();
    for queue in outbound.queues.covering(origin) {
        let Some(window_ms) = queue.spec().window_ms() else { continue };
        if bucket.is_some_and(|name| queue.spec().name != name) {
            continue;
        }
        let until = match until {
            Some(until) => until,
            // A spent quota rests, or the provider is asked in vain all day; of a short limit its own window says enough.
            None if is_spent => now.plus(QUOTA_REST_MS.min(window_ms)),
            None => continue,
        };
        // A remote wait is capped, so that a wrong clock or a lie stops nobody for long.
        queue.block_until(until.min(now.plus(outbound.limits.block_ms)));
    }
}

fn is_redirect(status: u16) -> bool {
    matches!(status, 301 | 302 | 303 | 307 | 308)
}

/// A URL for an operator.
pub(super) fn shown_path(mask: &Mask, url: &Url) -> String {
    mask.text(&super::without_query(url.as_str())).into_owned()
}

/// The answer as the plugin gets it, and whether a secret in it was told.
fn answer(
    outbound: &Outbound,
    context: &CallContext,
    raw: Raw,
    url: &Url,
    request_id: Option<String>,
) -> (Response, bool) {
    let mask = outbound.mask();
    let may_be_kept = !raw.headers.contains_key(http::header::SET_COOKIE);
    let (body, mut has_found) = mask.bytes(raw.body);
    let most = usize::try_from(outbound.limits.headers).unwrap_or(usize::MAX);
    let mut headers = Vec::with_capacity(raw.headers.len().min(most));
    for (name, value) in raw.headers.iter().filter(|(name, _)| !header_is_secret(name.as_str())).take(most) {
        let value = match value.to_str() {
            Ok(visible) => Cow::Borrowed(visible),
            Err(_) => value.as_bytes().iter().map(|byte| char::from(*byte)).collect(),
        };
        let masked = mask.text(&value);
        has_found |= matches!(masked, Cow::Owned(_));
        headers.push((name.as_str().to_owned(), masked.into_owned()));
    }
    if has_found {
        outbound.tell_leak(context, &shown_path(&mask, url));
    }
    let response = Response {
        status: raw.status,
        headers,
        body: body.into(),
        url: mask.text(url.as_str()).into_owned(),
        source: AnswerSource::Live,
        age_ms: 0,
        attempts: 0,
        request_id: request_id.map(|id| shown(&mask.text(&id))),
        may_be_kept,
        mark: None,
        secret_url: None,
    };
    (response, has_found)
}

/// As it came: it is masked before it is cut.
fn request_id(headers: &HeaderMap, own: Option<&str>) -> Option<String> {
    let own = own.and_then(|name| headers.get(name));
    let mut found = own.into_iter().chain(REQUEST_ID_HEADERS.iter().filter_map(|name| headers.get(name)));
    found.find_map(|id| id.to_str().ok()).map(str::to_owned)
}

/// What a status means by itself. A 400 that calls itself temporary is (the guide's rule).
fn kind_of(status: u16, body: &str) -> Kind {
    match status {
        400 if body.to_ascii_lowercase().contains("temporarily") => Kind::Transient,
        400 | 422 => Kind::InvalidRequest(Vec::new()),
        401 => Kind::Unauthorized,
        403 => Kind::Forbidden,
        404 => Kind::NotFound,
        408 => Kind::Timeout,
        409 | 412 => Kind::Conflict,
        410 => Kind::CursorInvalid,
        425 | 429 => Kind::RateLimited,
        // What a server cannot do, in this method or version of HTTP, it cannot do in a minute either.
        501 | 505 => Kind::ProviderReported,
        500.. => Kind::Transient,
        _ => Kind::ProviderReported,
    }
}

fn sentence(kind: &Kind) -> &'static str {
    match kind {
        Kind::Transient => "the provider has trouble",
        Kind::InvalidRequest(_) => "the provider did not accept the request",
        Kind::Unauthorized => "the provider did not accept the credential",
        Kind::ReauthorizationNeeded => "the provider wants a person to sign in again",
        Kind::Forbidden => "the credential may not do this",
        Kind::NotFound => "the provider has no such thing",
        Kind::Timeout => "the provider gave up waiting",
        Kind::Conflict => "the provider's data is in another state",
        Kind::CursorInvalid => "the provider no longer has that place",
        Kind::RateLimited => "the provider says that there were too many requests",
        Kind::QuotaExhausted => "the provider says that the quota is spent",
        _ => "the provider refused",
    }
}

/// The start of a body without secrets, and whether there were any. Where the body goes on, what may be the start of one
/// that goes on as well is left out.
fn masked_body<'a>(mask: &Arc<Mask>, body: &'a [u8], most: usize) -> (Cow<'a, str>, bool) {
    if body.len() > most {
        let mut stream = MaskStream::new(mask.clone());
        let masked = stream.push(&body[..most]);
        return (String::from_utf8_lossy(&masked).into_owned().into(), stream.has_found);
    }
    let text = String::from_utf8_lossy(body);
    match mask.text(&text) {
        Cow::Owned(masked) => (masked.into(), true),
        Cow::Borrowed(_) => (text, false),
    }
}

/// At most `most` bytes of a text, cut between characters.
fn masked_start(text: &str, most: usize) -> String {
    let end = (0..=most.min(text.len())).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    text[..end].to_owned()
}

struct Ruled {
    kind: Kind,
    bucket: Option<String>,
    retry_after_s: Option<u64>,
    /// What the body says about when to come back.
    retry_at: Option<String>,
    code: Option<String>,
}

impl Ruled {
    /// When to come back: as the body says, else as the rule says.
    fn come_back_at(&self, raw: &Raw) -> Option<Timestamp> {
        let now = raw.received_at;
        let date = raw.headers.get(http::header::DATE).and_then(|value| value.to_str().ok());
        let said = self.retry_at.as_deref().and_then(|text| hints::time_in_body(text, date, now, WAIT_MS_MAX));
        said.or_else(|| self.retry_after_s.map(|seconds| now.plus(seconds.saturating_mul(1000))))
    }
}

/// The longest body that rules are asked about: what a provider says of itself is short, and data is not parsed twice.
const JUDGED_BYTES_MAX: usize = 256 << 10;

/// What finds texts, and the place of the rule that each is from.
type Searcher = (AhoCorasick, Vec<usize>);

/// The manifest's rules about bodies, ready to be asked.
pub(crate) struct Answers {
    rules: Vec<AnswerRule>,
    prefilter: Option<Prefilter>,
    /// Finds in one pass what the rules want a body to hold, where the prefilter lets anything through; made for the first
    /// that it does. Without a searcher every rule counts as possible: slower, and the same answer.
    searcher: OnceLock<Option<Searcher>>,
}

impl Answers {
    /// From a manifest's rules.
    pub(crate) fn new(rules: Vec<AnswerRule>) -> Self {
        let prefilter = Prefilter::new(searched(&rules).map(|(_, text)| text.as_bytes()));
        Self { rules, prefilter, searcher: OnceLock::new() }
    }

    /// The first rule that fits. The body is parsed only where one could.
    fn judge(&self, origin: &str, raw: &Raw) -> Option<Ruled> {
        if self.rules.is_empty() {
            return None;
        }
        let judged = if raw.body.len() > JUDGED_BYTES_MAX { &[] } else { raw.body.as_slice() };
        let found = OnceCell::new();
        let mut candidates = self
            .rules
            .iter()
            .enumerate()
            .filter(|(_, rule)| rule.origin.as_deref().is_none_or(|name| name == origin))
            .filter(|(_, rule)| rule.status.is_empty() || rule.status.contains(&raw.status))
            .filter(|(index, rule)| {
                let is_searched = rule.pointer.is_some() && rule.contains.is_some();
                !is_searched || found.get_or_init(|| self.found(judged)).as_ref().is_none_or(|found| found[*index])
            })
            .map(|(_, rule)| rule);
        let body = Lazy::new(judged);
        let rule = candidates.find(|rule| rule.conditions().all(|condition| fits(&condition, raw, &body)))?;
        let text = |pointer: &Option<String>| texts_at(body.value(), pointer.as_deref()?).into_iter().next();
        Some(Ruled {
            kind: Kind::from_answer_name(&rule.kind)?,
            bucket: rule.bucket.clone(),
            retry_after_s: rule.retry_after_s,
            retry_at: text(&rule.retry_at),
            code: text(&rule.code),
        })
    }

    /// Of each rule whether a body holds its text; nothing where that cannot be told.
    fn found(&self, body: &[u8]) -> Option<Vec<bool>> {
        let mut found = vec![false; self.rules.len()];
        if self.prefilter.as_ref().is_some_and(|prefilter| !prefilter.may_hold(body)) {
            return Some(found);
        }
        let make = || {
            let (rules, texts): (_, Vec<_>) = searched(&self.rules).unzip();
            let searcher = AhoCorasickBuilder::new().ascii_case_insensitive(true).build(texts);
            searcher.ok().map(|searcher| (searcher, rules))
        };
        let (searcher, rules) = self.searcher.get_or_init(make).as_ref()?;
        let mut left = rules.len();
        for one in searcher.find_overlapping_iter(body) {
            if !std::mem::replace(&mut found[rules[one.pattern().as_usize()]], true) {
                left -= 1;
            }
            if left == 0 {
                break;
            }
        }
        Some(found)
    }
}

/// The texts that rules want a body to hold, each with the place of its rule.
fn searched(rules: &[AnswerRule]) -> impl Iterator<Item = (usize, &str)> + Clone {
    let in_body = rules.iter().enumerate().filter(|(_, rule)| rule.pointer.is_some());
    in_body.filter_map(|(index, rule)| Some((index, rule.contains.as_deref()?)))
}

/// A body that is parsed when somebody asks for it, and only once.
struct Lazy<'a> {
    bytes: &'a [u8],
    value: OnceCell<Value>,
}

impl<'a> Lazy<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, value: OnceCell::new() }
    }

    /// The body as JSON; null where it is none.
    fn value(&self) -> &Value {
        self.value.get_or_init(|| serde_json::from_slice(self.bytes).unwrap_or(Value::Null))
    }
}

fn fits(condition: &Condition, raw: &Raw, body: &Lazy<'_>) -> bool {
    let texts = match (&condition.header, &condition.pointer) {
        (Some(name), _) => {
            raw.headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).map(str::to_owned).collect()
        }
        (None, Some(pointer)) => texts_at(body.value(), pointer),
        (None, None) => return false,
    };
    texts.iter().any(|text| match (&condition.contains, &condition.equals) {
        (Some(needle), _) => text.to_ascii_lowercase().contains(&needle.to_ascii_lowercase()),
        (None, Some(exact)) => text == exact,
        (None, None) => condition.any_of.contains(text),
    })
}

/// Most values that a pointer with `*` reaches; what is beyond is not looked at.
const REACHED_MAX: usize = 256;

/// Adds what a segment of a JSON Pointer leads to, where `*` stands for every item or member; false where it leads nowhere.
pub(crate) fn reach<'a>(value: &'a Value, segment: &str, reached: &mut Vec<&'a Value>) -> bool {
    match (segment, value) {
        ("*", Value::Array(items)) => reached.extend(items),
        ("*", Value::Object(members)) => reached.extend(members.values()),
        _ => match value.pointer(&format!("/{segment}")) {
            Some(found) => reached.push(found),
            None => return false,
        },
    }
    true
}

/// The texts, numbers and booleans at a JSON Pointer, in which `*` stands for any one item or member.
fn texts_at(body: &Value, pointer: &str) -> Vec<String> {
    let mut reached = vec![body];
    if !pointer.is_empty() {
        for segment in pointer.split('/').skip(1) {
            let mut next: Vec<&Value> = Vec::new();
            for value in reached {
                reach(value, segment, &mut next);
            }
            next.truncate(REACHED_MAX);
            reached = next;
        }
    }
    let text = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(truth) => Some(truth.to_string()),
        _ => None,
    };
    reached.into_iter().filter_map(text).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(status: u16, body: &str) -> Raw {
        Raw {
            status,
            headers: HeaderMap::new(),
            body: body.as_bytes().to_vec(),
            received_at: Timestamp::from_millis(0),
        }
    }

    fn rules() -> Answers {
        #[derive(serde::Deserialize)]
        struct File {
            answers: Vec<AnswerRule>,
        }
        let file: File = toml::from_str(
            "[[answers]]\npointer='/result'\ncontains='rate limit'\nand=[{pointer='/status',equals='0'}]\nkind='rate-limited'\nretry_after_s=1",
        )
        .unwrap();
        Answers::new(file.answers)
    }

    #[test]
    fn a_rate_message_in_a_200_is_a_rate_limit() {
        let ruled = rules().judge("api", &raw(200, r#"{"status":"0","result":"Max RATE limit reached"}"#)).unwrap();
        assert_eq!(ruled.kind, Kind::RateLimited);
        assert_eq!(ruled.retry_after_s, Some(1));
        assert!(rules().judge("api", &raw(200, r#"{"status":"1","result":"rate limit"}"#)).is_none());
        assert!(rules().judge("api", &raw(200, "rate limit, but no JSON")).is_none());
    }

    fn answers(text: &str) -> Answers {
        #[derive(serde::Deserialize)]
        struct File {
            answers: Vec<AnswerRule>,
        }
        Answers::new(toml::from_str::<File>(text).unwrap().answers)
    }

    /// What four providers say in a body, each in its own place.
    #[test]
    fn a_rule_finds_its_value_wherever_a_list_holds_it() {
        let rules = answers(
            r#"
            [[answers]]
            status = [403]
            pointer = "/error/errors/*/reason"
            any_of = ["rateLimitExceeded", "userRateLimitExceeded"]
            and = [{ pointer = "/error/errors/*/domain", equals = "usageLimits" }]
            kind = "rate-limited"
            retry_at = "/error/message"
            [[answers]]
            pointer = "/errors/*/extensions/code"
            equals = "THROTTLED"
            kind = "rate-limited"
            bucket = "points"
            code = "/errors/*/extensions/code"
            [[answers]]
            pointer = "/Fault/Error/*/code"
            equals = "3001"
            kind = "rate-limited"
            [[answers]]
            status = [403]
            header = "x-ratelimit-remaining"
            equals = "0"
            kind = "rate-limited"
            [[answers]]
            status = [418]
            kind = "transient"
            "#,
        );
        let kind = |status, body: &str| rules.judge("api", &raw(status, body)).map(|ruled| ruled.kind);
        let usage = |reason: &str| {
            format!(
                r#"{{"error":{{"message":"Retry after 1970-01-01T00:01:00Z","errors":[{{"domain":"usageLimits","reason":"{reason}"}}]}}}}"#
            )
        };
        let limited = rules.judge("api", &raw(403, &usage("userRateLimitExceeded"))).unwrap();
        assert_eq!(limited.come_back_at(&raw(403, "")), Some(Timestamp::from_millis(60_000)));
        assert_eq!(kind(403, &usage("insufficientPermissions")), None);
        assert_eq!(kind(200, &usage("userRateLimitExceeded")), None);
        let throttled = rules
            .judge("api", &raw(200, r#"{"errors":[{"message":"x"},{"extensions":{"code":"THROTTLED"}}]}"#))
            .unwrap();
        assert_eq!((throttled.bucket.as_deref(), throttled.code.as_deref()), (Some("points"), Some("THROTTLED")));
        assert_eq!(kind(200, r#"{"Fault":{"Error":[{"code":"3001"}]}}"#), Some(Kind::RateLimited));
        assert_eq!(kind(418, "no JSON at all"), Some(Kind::Transient));
        let mut refused = raw(403, "");
        assert!(rules.judge("api", &refused).is_none());
        refused.headers.insert("x-ratelimit-remaining", http::HeaderValue::from_static("0"));
        assert_eq!(rules.judge("api", &refused).unwrap().kind, Kind::RateLimited);
    }

    /// The host's clock is 20 minutes ahead of that of the provider, which says to wait for one.
    #[test]
    fn a_time_in_a_body_is_read_by_the_clock_of_who_wrote_it() {
        let rules = answers("[[answers]]\nstatus=[403]\nkind='rate-limited'\nretry_at='/until'");
        let mut refused = raw(403, r#"{"until":"1970-01-01T00:01:00Z"}"#);
        refused.received_at = Timestamp::from_millis(1_200_000);
        refused.headers.insert("date", http::HeaderValue::from_static("Thu, 01 Jan 1970 00:00:00 GMT"));
        let limited = rules.judge("api", &refused).unwrap();
        assert_eq!(limited.come_back_at(&refused), Some(Timestamp::from_millis(1_260_000)));
    }

    /// However often a body holds the texts, one mark for each rule is kept.
    #[test]
    fn a_text_that_is_found_at_every_byte_is_kept_once() {
        let rule = |contains: &str| format!("[[answers]]\npointer='/a'\ncontains='{contains}'\nkind='transient'\n");
        let rules = answers(&format!("{}{}", rule("a").repeat(63), rule("b")));
        let mut body = vec![b'a'; 4096];
        let mut wanted = vec![true; 64];
        wanted[63] = false;
        assert_eq!(rules.found(&body), Some(wanted));
        body[0] = b'B';
        assert_eq!(rules.found(&body), Some(vec![true; 64]));
        assert_eq!(rules.found(b"none"), Some(vec![false; 64]));
    }

    #[test]
    fn a_pointer_reaches_no_more_than_it_may() {
        let many = format!(r#"{{"a":[{}]}}"#, vec!["[1,2,3]"; 10_000].join(","));
        let body: Value = serde_json::from_str(&many).unwrap();
        assert_eq!(texts_at(&body, "/a/*/*").len(), REACHED_MAX);
        assert_eq!(texts_at(&body, "").len(), 0);
        assert_eq!(texts_at(&Value::from("x"), ""), ["x"]);
    }

    #[test]
    fn what_cannot_pass_is_permanent() {
        use crate::error::Severity;
        for status in [400, 401, 403, 404, 422] {
            assert_eq!(kind_of(status, "").severity(), Severity::Permanent, "{status}");
        }
        assert_eq!(kind_of(400, "Temporarily unavailable"), Kind::Transient);
        assert_eq!(kind_of(503, ""), Kind::Transient);
        for status in [501, 505] {
            assert_eq!(kind_of(status, ""), Kind::ProviderReported, "{status}");
        }
    }

    #[test]
    fn a_body_is_cut_between_characters() {
        assert_eq!(masked_start("aé", 2), "a");
        assert_eq!(masked_start("aé", 3), "aé");
    }
}
