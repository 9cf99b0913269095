//! Response -> Outcome: what an answer means, before anybody decides anything.
//!
//! The status speaks first, then the manifest's rules about bodies, so that a rate message inside a 200 is a rate limit
//! to the retry, the buckets and the caller alike. What goes on from here is masked: no known secret, no cookie, and of
//! an error's body no more than its start.

use std::collections::BTreeSet;

use aho_corasick::{AhoCorasick, AhoCorasickBuilder};
use http::HeaderMap;
use serde_json::Value;
use url::Url;

use super::hints::{self, Hint};
use super::transport::{Answered, Raw};
use super::{Outbound, Response, Source};
use crate::error::{Error, Kind, RequestSent};
use crate::manifest::{AnswerRule, Condition};
use crate::time::Timestamp;

/// Bytes kept of an error's body.
const BODY_BYTES_MAX: usize = 1000;

/// What is waited after a 429 that says nothing, for the caller's eyes; the guide's figure.
const RETRY_AFTER_MS: u64 = 60_000;

/// The longest wait that is believed at all: a year.
const WAIT_MS_MAX: u64 = 365 * 86_400_000;

/// Where providers put their id of a request.
pub(super) const REQUEST_ID_HEADERS: [&str; 4] = ["x-request-id", "request-id", "x-correlation-id", "x-amzn-requestid"];

/// What an attempt came to.
pub(super) enum Outcome {
    /// An answer for the plugin.
    Answer(Response),
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
    },
}

/// Judges an answer, and tells the buckets what it said.
pub(super) fn classify(outbound: &Outbound, answered: Answered) -> Outcome {
    let Answered { method, url, origin, result } = answered;
    let granted = &outbound.scope.origins[origin];
    // As the provider's documentation writes it: below the base URL.
    let root = granted.base.path().trim_end_matches('/');
    let endpoint = format!("{method} {}", url.path().strip_prefix(root).unwrap_or(url.path()));
    let raw = match result {
        Ok(raw) => raw,
        Err(error) => return Outcome::Failure { error: error.with_endpoint(Some(endpoint)), hint_at: None },
    };
    let origin = granted.name.as_str();
    let hint = hints::read(
        raw.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())),
        raw.received_at,
        WAIT_MS_MAX,
    );
    let ruled = outbound.answers.judge(origin, &raw);
    let limited = raw.status == 429 || ruled.as_ref().is_some_and(|ruled| ruled.is_about_limits());
    let hint_at = ruled
        .as_ref()
        .and_then(|ruled| ruled.retry_after_s)
        .map(|seconds| raw.received_at.plus(seconds.saturating_mul(1000)))
        .max(hint.come_back_at());
    feed_back(outbound, origin, &hint, if limited || raw.status == 503 { hint_at } else { None });
    if ruled.is_none()
        && is_redirect(raw.status)
        && let Some(location) = raw.headers.get(http::header::LOCATION).and_then(|value| value.to_str().ok())
    {
        return Outcome::Redirect { status: raw.status, location: location.to_owned(), from: url };
    }
    let request_id = request_id(&raw.headers);
    if ruled.is_none() && raw.status < 400 {
        return Outcome::Answer(answer(outbound, raw, &url, request_id));
    }
    let mask = outbound.mask();
    let body = masked_start(&mask.text(&String::from_utf8_lossy(start(&raw.body, BODY_BYTES_MAX * 4))), BODY_BYTES_MAX);
    let kind = ruled.as_ref().map_or_else(|| kind_of(raw.status, &body), |ruled| ruled.kind.clone());
    let retry_at = match &kind {
        Kind::RateLimited | Kind::QuotaExhausted => hint_at.or_else(|| Some(raw.received_at.plus(RETRY_AFTER_MS))),
        _ => hint_at,
    };
    let error = Error::new(kind.clone(), sentence(&kind))
        .with_status(Some(raw.status))
        .with_endpoint(Some(endpoint))
        .with_request_id(request_id.map(|id| mask.text(&id).into_owned()))
        .with_provider_code(ruled.and_then(|ruled| ruled.code).map(|code| masked_start(&mask.text(&code), 200)))
        .with_request_sent(RequestSent::Yes)
        .with_retry_at(retry_at)
        .with_body((!body.is_empty()).then_some(body));
    Outcome::Failure { error, hint_at }
}

/// Tells every bucket of the origin what the answer said: waiting for all, and what is left.
fn feed_back(outbound: &Outbound, origin: &str, hint: &Hint, blocked_until: Option<Timestamp>) {
    let windows = || outbound.lanes.covering(origin).filter(|lane| lane.spec().is_window());
    if let Some(until) = blocked_until {
        // A remote wait is capped, so that a wrong clock or a lie stops nobody for long.
        let until = until.min(outbound.clock.now().plus(outbound.limits.retry_wait_ms));
        windows().for_each(|lane| lane.block_until(until));
    }
    // With several windows it is not said which one the figure is about.
    if let (Some(left), 1) = (hint.remaining, windows().count()) {
        windows().for_each(|lane| lane.remaining(left));
    }
}

fn is_redirect(status: u16) -> bool {
    matches!(status, 301 | 302 | 303 | 307 | 308)
}

fn answer(outbound: &Outbound, raw: Raw, url: &Url, request_id: Option<String>) -> Response {
    let mask = outbound.mask();
    let (body, found) = mask.bytes(raw.body);
    if found {
        tracing::warn!(target: "wharfage::outbound", path = url.path(), "the provider sent a secret back; it was masked");
    }
    let most = usize::try_from(outbound.limits.headers).unwrap_or(usize::MAX);
    let headers = raw
        .headers
        .iter()
        .filter(|(name, _)| !super::mask::header_is_secret(name.as_str()))
        .take(most)
        .map(|(name, value)| {
            let value: String = value.as_bytes().iter().map(|byte| char::from(*byte)).collect();
            (name.as_str().to_owned(), mask.text(&value).into_owned())
        })
        .collect();
    Response {
        status: raw.status,
        headers,
        body,
        url: mask.text(url.as_str()).into_owned(),
        source: Source::Live,
        age_ms: 0,
        attempts: 0,
        request_id: request_id.map(|id| mask.text(&id).into_owned()),
    }
}

fn request_id(headers: &HeaderMap) -> Option<String> {
    REQUEST_ID_HEADERS.iter().find_map(|name| headers.get(*name)?.to_str().ok()).map(crate::manifest::shown)
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

fn start(bytes: &[u8], most: usize) -> &[u8] {
    &bytes[..bytes.len().min(most)]
}

/// At most `most` bytes of a text, cut between characters.
fn masked_start(text: &str, most: usize) -> String {
    let end = (0..=most.min(text.len())).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    text[..end].to_owned()
}

struct Ruled {
    kind: Kind,
    retry_after_s: Option<u64>,
    code: Option<String>,
}

impl Ruled {
    fn is_about_limits(&self) -> bool {
        matches!(self.kind, Kind::RateLimited)
    }
}

/// The longest body that rules are asked about: what a provider says of itself is short, and data is not parsed twice.
const JUDGED_BYTES_MAX: usize = 256 << 10;

/// The manifest's rules about bodies, ready to be asked.
pub(crate) struct Answers {
    rules: Vec<AnswerRule>,
    /// Finds in one pass what the rules want a body to hold.
    searcher: Option<AhoCorasick>,
    /// The rule that each text of the searcher is from.
    rule_of: Vec<usize>,
}

impl Answers {
    /// From a manifest's rules.
    pub(crate) fn new(rules: Vec<AnswerRule>) -> Self {
        let texts = || rules.iter().enumerate().filter_map(|(index, rule)| Some((index, rule.contains.as_deref()?)));
        // Without a searcher every rule counts as possible: slower, and the same answer.
        let searcher = AhoCorasickBuilder::new().ascii_case_insensitive(true).build(texts().map(|(_, text)| text)).ok();
        let rule_of = texts().map(|(index, _)| index).collect();
        Self { rules, searcher, rule_of }
    }

    /// The first rule that fits. The body is parsed only where one could.
    fn judge(&self, origin: &str, raw: &Raw) -> Option<Ruled> {
        if self.rules.is_empty() || raw.body.len() > JUDGED_BYTES_MAX {
            return None;
        }
        let found: Option<BTreeSet<usize>> = self.searcher.as_ref().map(|searcher| {
            searcher.find_overlapping_iter(&raw.body).map(|found| self.rule_of[found.pattern().as_usize()]).collect()
        });
        let mut candidates = self
            .rules
            .iter()
            .enumerate()
            .filter(|(_, rule)| rule.origin.as_deref().is_none_or(|name| name == origin))
            .filter(|(_, rule)| rule.status.is_empty() || rule.status.contains(&raw.status))
            .filter(|(index, rule)| rule.contains.is_none() || found.as_ref().is_none_or(|found| found.contains(index)))
            .map(|(_, rule)| rule)
            .peekable();
        candidates.peek()?;
        let body: Value = serde_json::from_slice(&raw.body).ok()?;
        let rule = candidates.find(|rule| rule.conditions().all(|condition| fits(&condition, &body)))?;
        Some(Ruled {
            kind: Kind::from_answer_name(&rule.kind)?,
            retry_after_s: rule.retry_after_s,
            code: rule.code.as_deref().and_then(|pointer| text_at(&body, pointer)),
        })
    }
}

fn fits(condition: &Condition, body: &Value) -> bool {
    let Some(text) = text_at(body, &condition.pointer) else { return false };
    match (&condition.contains, &condition.equals) {
        (Some(needle), None) => text.to_ascii_lowercase().contains(&needle.to_ascii_lowercase()),
        (None, Some(exact)) => text == *exact,
        _ => false,
    }
}

fn text_at(body: &Value, pointer: &str) -> Option<String> {
    match body.pointer(pointer)? {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(truth) => Some(truth.to_string()),
        _ => None,
    }
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

    #[test]
    fn what_cannot_pass_is_permanent() {
        use crate::error::Severity;
        for status in [400, 401, 403, 404, 422] {
            assert_eq!(kind_of(status, "").severity(), Severity::Permanent, "{status}");
        }
        assert_eq!(kind_of(400, "Temporarily unavailable"), Kind::Transient);
        assert_eq!(kind_of(503, ""), Kind::Transient);
    }

    #[test]
    fn a_body_is_cut_between_characters() {
        assert_eq!(masked_start("aé", 2), "a");
        assert_eq!(masked_start("aé", 3), "aé");
    }
}
