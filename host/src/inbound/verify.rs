//! Whether a delivery is the provider's own, and what identifies it: a recipe, keys, the bytes as received and the time,
//! and nothing else. No I/O, no clock, no lock.
//!
//! A refusal takes as long as a pass: the hash is made whether a signature is there or not, every key is tried, and what
//! is right is only said at the end. Why something was refused nobody outside learns; a time that is no time is the one
//! thing that is told apart, because it is no secret of ours. A header that stands there twice is not there, so that
//! nobody can have one of them checked and the other believed.

use std::borrow::Cow;
use std::cell::OnceCell;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use serde_json::Value;
use zeroize::Zeroizing;

use crate::auth::jwt::{self, Keys, Rules};
use crate::hex::{hex, unhex};
use crate::manifest::{
    ConditionFacts, PartFacts, Piece, SecretEncoding, SignatureEncoding, SignatureFacts, SignatureForm, TimeFacts,
    TimeForm, VerifyFacts, WebhookFacts,
};
use crate::outbound::classify::reach;
use crate::time::Timestamp;

/// Signatures of one delivery that are looked at; those beyond are not.
const SIGNATURES_MAX: usize = 16;
/// Bytes of a key, or of an order, that is written as it is; a longer one is known by its hash.
const KEY_BYTES_MAX: usize = 256;
/// Most values that a pointer with `*` may reach.
const REACHED_MAX: usize = 4_096;
/// Most fields of a form that is what is signed. One with more proves nothing: sorting it costs many times what a
/// signature does, and anybody may send it.
const FORM_FIELDS_MAX: usize = 1_000;
/// Most bytes of an answer to a challenge.
const CHALLENGE_BYTES_MAX: usize = 4 << 10;

/// Headers that a plugin does not see, besides the one that proves a delivery: they carry what is good for more than one.
const WITHHELD: [&str; 3] = ["authorization", "proxy-authorization", "cookie"];

/// A delivery, as it came.
pub(crate) struct Delivery<'a> {
    /// Its header fields.
    pub(crate) headers: &'a HeaderMap,
    /// Where it went, as the provider knows it: the public URL of the endpoint. Nothing where it is not known.
    pub(crate) url: Option<&'a str>,
    /// The query, letter by letter.
    pub(crate) query: Option<&'a str>,
    /// The body.
    pub(crate) body: &'a [u8],
}

/// What a delivery is checked with.
pub(crate) enum Proof<'a> {
    /// Every version of the secret.
    Secrets(&'a [Zeroizing<String>]),
    /// The keys of the token's algorithm, what it must say, and whose `email` it must have.
    Tokens(&'a Keys, &'a Rules, Option<&'a str>),
}

/// A delivery that is the provider's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verified {
    /// It is to be handed over.
    Event(Identified),
    /// It is to be acknowledged, and that is all.
    Ignored,
    /// It wants to hear this.
    Challenge(String),
}

/// What identifies a delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Identified {
    /// Deliveries with the same are the same.
    pub(crate) key: String,
    /// Those with the same are handled one after the other.
    pub(crate) order: Option<String>,
    /// Its header fields, without those that carry signatures.
    pub(crate) headers: Vec<(String, String)>,
}

/// Why a delivery is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// Nothing proves whose it is.
    Unproven,
    /// It was signed too long ago, or is to be.
    Stale,
    /// Its time is no time.
    MalformedTime,
}

/// Checks a delivery against a recipe.
///
/// # Errors
/// [`Refused`]; towards the outside, the first two are alike.
pub(crate) fn verify(
    facts: &WebhookFacts,
    proof: &Proof<'_>,
    delivery: &Delivery<'_>,
    now: Timestamp,
) -> Result<Verified, Refused> {
    let time = facts.time.as_ref().map(|time| read_time(time, delivery.headers));
    let is_proven = match (&facts.verify, proof) {
        (VerifyFacts::Signature(signature), Proof::Secrets(secrets)) => {
            let timestamp = match &time {
                Some(Ok((text, _))) => text,
                _ => &[][..],
            };
            is_signed(signature, secrets, timestamp, delivery)
        }
        (VerifyFacts::Token(token), Proof::Secrets(secrets)) => {
            let given = after(only(delivery.headers, &token.header).unwrap_or_default(), &token.prefix);
            secrets.iter().fold(false, |is_right, secret| is_right | are_equal(secret.as_bytes(), given))
        }
        (VerifyFacts::Jwt(_), Proof::Tokens(keys, rules, email)) => {
            token(facts, delivery.headers).is_some_and(|token| {
                jwt::verify(token, keys, rules, now)
                    .is_ok_and(|claims| email.is_none_or(|email| is_from(&claims, email)))
            })
        }
        // What it is checked with is not what it wants: nothing passes.
        _ => false,
    };
    let ends = facts.ends.as_ref().map(|header| end(header, delivery.headers));
    match (time, ends) {
        (Some(Err(TimeTrouble::Malformed)), _) | (_, Some(Err(TimeTrouble::Malformed))) => {
            return Err(Refused::MalformedTime);
        }
        _ if !is_proven => return Err(Refused::Unproven),
        (Some(Err(TimeTrouble::Missing)), _) => return Err(Refused::Unproven),
        (Some(Ok((_, at))), _) if facts.time.as_ref().is_some_and(|time| is_away(time, at, now)) => {
            return Err(Refused::Stale);
        }
        (_, Some(Ok(end))) if now >= end => return Err(Refused::Stale),
        _ => {}
    }
    let parts = Parts::new(facts, delivery);
    if let Some(challenge) = &facts.challenge
        && parts.text(&challenge.pointer).is_some_and(|text| text == challenge.equals)
    {
        let answer = parts.text(&challenge.answer).filter(|answer| answer.len() <= CHALLENGE_BYTES_MAX);
        return Ok(Verified::Challenge(answer.unwrap_or_default()));
    }
    if facts.ignored.iter().any(|condition| parts.holds(condition)) {
        return Ok(Verified::Ignored);
    }
    Ok(Verified::Event(Identified {
        key: parts.key(&facts.keys),
        order: facts.order.as_ref().and_then(|order| parts.named(order)),
        headers: shown_headers(facts, delivery.headers),
    }))
}

/// The token of a delivery that is proven by one.
pub(crate) fn token<'a>(facts: &WebhookFacts, headers: &'a HeaderMap) -> Option<&'a str> {
    let VerifyFacts::Jwt(jwt) = &facts.verify else { return None };
    std::str::from_utf8(after(only(headers, &jwt.header)?, &jwt.prefix)).ok().filter(|token| !token.is_empty())
}

/// The bytes of a key, as a secret's text stands for them; nothing where it does not.
pub(crate) fn key_bytes(facts: &SignatureFacts, secret: &str) -> Option<Zeroizing<Vec<u8>>> {
    let text = secret.strip_prefix(&facts.secret_prefix).unwrap_or(secret);
    let bytes = match facts.secret_encoding {
        SecretEncoding::Text => text.as_bytes().to_vec(),
        SecretEncoding::Base64 => STANDARD.decode(text.trim()).ok()?,
        SecretEncoding::Hex => unhex(text.trim().as_bytes())?,
    };
    let bytes = Zeroizing::new(bytes);
    // Whoever knows an empty key is everybody.
    let is_key = match facts.algorithm.function() {
        Some(_) => !bytes.is_empty(),
        None => bytes.len() == 32,
    };
    is_key.then_some(bytes)
}

/// The work of checking a delivery whose endpoint there is not, so that it takes as long as one whose is.
pub(crate) fn check_in_vain(body: &[u8]) {
    let mac = crate::auth::hmac::Function::Sha256.mac_of(&[0; 32], [body]);
    std::hint::black_box(mac);
}

fn is_signed(facts: &SignatureFacts, secrets: &[Zeroizing<String>], timestamp: &[u8], delivery: &Delivery<'_>) -> bool {
    let given = signatures(facts, delivery.headers);
    let id = facts.id.as_ref().map(|header| only(delivery.headers, header));
    let (form, is_covered) = covered(facts, delivery);
    let mut is_right = false;
    for url in urls(facts, delivery) {
        let parts: Vec<&[u8]> = facts
            .content
            .0
            .iter()
            .map(|piece| match piece {
                Piece::Text(text) => text.as_bytes(),
                Piece::Timestamp => timestamp,
                Piece::Id => id.flatten().unwrap_or_default(),
                Piece::Body => delivery.body,
                Piece::Url => url.as_bytes(),
                Piece::Form => form.as_slice(),
            })
            .collect();
        for secret in secrets {
            let Some(key) = key_bytes(facts, secret) else { continue };
            match facts.algorithm.function() {
                Some(function) => {
                    let mac = function.mac_of(&key, parts.iter().copied());
                    is_right |= given.iter().fold(false, |is_right, given| is_right | are_equal(&mac, given));
                }
                None => {
                    let content = parts.concat();
                    let public = UnparsedPublicKey::new(&ED25519, key.as_slice());
                    is_right |= given.iter().any(|given| public.verify(&content, given).is_ok());
                }
            }
        }
    }
    // An id that is signed has to be there: an empty one is another delivery's.
    let has_id = id.is_none_or(|id| id.is_some_and(|id| !id.is_empty()));
    is_right && is_covered && has_id
}

/// What `{form}` stands for, and whether the body is covered at all.
fn covered(facts: &SignatureFacts, delivery: &Delivery<'_>) -> (Vec<u8>, bool) {
    if !facts.content.has(&Piece::Form) {
        return (Vec::new(), true);
    }
    let hash = facts.body_hash.as_ref().and_then(|name| query_value(delivery.query, name));
    if let Some(hash) = hash {
        let is_hash = are_equal(hex(digest(&SHA256, delivery.body).as_ref()).as_bytes(), hash.as_bytes());
        return (Vec::new(), is_hash);
    }
    let fields = delivery.body.split(|byte| *byte == b'&').count();
    match (fields <= FORM_FIELDS_MAX).then_some(delivery).and_then(form) {
        Some(form) => {
            let texts = form.into_iter().flat_map(|(name, value)| [name, value]);
            (texts.collect::<String>().into_bytes(), true)
        }
        None => (Vec::new(), delivery.body.is_empty()),
    }
}

/// The fields of a body that is a form, sorted by name and then by value, each once.
fn form<'a>(delivery: &Delivery<'a>) -> Option<Vec<(Cow<'a, str>, Cow<'a, str>)>> {
    let kind = std::str::from_utf8(only(delivery.headers, "content-type")?).ok()?;
    let is_form = kind.split(';').next()?.trim().eq_ignore_ascii_case("application/x-www-form-urlencoded");
    is_form.then(|| {
        let mut fields: Vec<_> = url::form_urlencoded::parse(delivery.body).collect();
        fields.sort_unstable();
        fields.dedup();
        fields
    })
}

fn query_value(query: Option<&str>, name: &str) -> Option<String> {
    let mut values = url::form_urlencoded::parse(query?.as_bytes()).filter(|(known, _)| known == name);
    let first = values.next()?.1.into_owned();
    // One of two could be the one that is believed.
    values.next().is_none().then_some(first)
}

/// The URLs that may be signed: with its port and without, for providers differ and so do proxies.
fn urls(facts: &SignatureFacts, delivery: &Delivery<'_>) -> Vec<String> {
    if !facts.content.has(&Piece::Url) {
        return vec![String::new()];
    }
    let url = delivery.url.unwrap_or_default();
    let (scheme, rest) = url.split_once("://").unwrap_or(("https", url));
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => (host, port),
        _ => (authority, if scheme.eq_ignore_ascii_case("http") { "80" } else { "443" }),
    };
    let query = delivery.query.map(|query| format!("?{query}")).unwrap_or_default();
    vec![format!("{scheme}://{host}{path}{query}"), format!("{scheme}://{host}:{port}{path}{query}")]
}

/// The signatures that a header holds, as bytes; none for a header that is not there.
fn signatures(facts: &SignatureFacts, headers: &HeaderMap) -> Vec<Vec<u8>> {
    let header = only(headers, &facts.header).unwrap_or_default();
    let decoded = |text: &[u8]| match facts.encoding {
        SignatureEncoding::Hex => unhex(text),
        SignatureEncoding::Base64 => STANDARD.decode(text).ok(),
    };
    let name = facts.name.as_deref().unwrap_or_default().as_bytes();
    let named = |item: &[u8], separator: u8| {
        let at = item.iter().position(|byte| *byte == separator)?;
        (item[..at].trim_ascii() == name).then(|| decoded(item[at + 1..].trim_ascii()))?
    };
    let all: Vec<Vec<u8>> = match facts.form {
        SignatureForm::Whole => header.strip_prefix(facts.prefix.as_bytes()).and_then(decoded).into_iter().collect(),
        SignatureForm::Pairs => {
            let items = header.split(|byte| *byte == b',');
            items.filter_map(|item| named(item, b'=')).take(SIGNATURES_MAX).collect()
        }
        SignatureForm::List => {
            let items = header.split(|byte| *byte == b' ');
            items.filter_map(|item| named(item, b',')).take(SIGNATURES_MAX).collect()
        }
    };
    all.into_iter().filter(|signature| !signature.is_empty()).collect()
}

/// Why there is no time.
enum TimeTrouble {
    Missing,
    Malformed,
}

/// A time, as it is written and what that means.
fn read_time<'a>(facts: &TimeFacts, headers: &'a HeaderMap) -> Result<(&'a [u8], Timestamp), TimeTrouble> {
    let header = only(headers, &facts.header).ok_or(TimeTrouble::Missing)?;
    let text = match &facts.name {
        None => header,
        Some(name) => {
            let mut named = header.split(|byte| *byte == b',').filter_map(|item| {
                let at = item.iter().position(|byte| *byte == b'=')?;
                (item[..at].trim_ascii() == name.as_bytes()).then(|| item[at + 1..].trim_ascii())
            });
            let first = named.next().ok_or(TimeTrouble::Missing)?;
            match named.next() {
                None => first,
                Some(_) => return Err(TimeTrouble::Malformed),
            }
        }
    };
    let read = || {
        let text = std::str::from_utf8(text).ok()?;
        let number = || text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse::<u64>().ok())?;
        match facts.form {
            TimeForm::UnixS => Some(Timestamp::from_millis(number()?.checked_mul(1_000)?)),
            TimeForm::UnixMs => Some(Timestamp::from_millis(number()?)),
            TimeForm::Rfc3339 => Timestamp::parse(text),
        }
    };
    read().map(|at| (text, at)).ok_or(TimeTrouble::Malformed)
}

fn end(header: &str, headers: &HeaderMap) -> Result<Timestamp, TimeTrouble> {
    // A channel without an end does not say one.
    let text = only(headers, header).ok_or(TimeTrouble::Missing)?;
    let date = std::str::from_utf8(text).ok().and_then(|text| httpdate::parse_http_date(text.trim()).ok());
    date.map(Timestamp::from).ok_or(TimeTrouble::Malformed)
}

fn is_away(facts: &TimeFacts, at: Timestamp, now: Timestamp) -> bool {
    at.since(now).max(now.since(at)) > facts.tolerance_ms()
}

fn is_from(claims: &Value, email: &str) -> bool {
    let says = claims.get("email").and_then(Value::as_str).unwrap_or_default();
    are_equal(says.as_bytes(), email.as_bytes()) && claims.get("email_verified") == Some(&Value::Bool(true))
}

fn are_equal(a: &[u8], b: &[u8]) -> bool {
    verify_slices_are_equal(a, b).is_ok() && !a.is_empty()
}

/// The value of a header that stands there once.
fn only<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a [u8]> {
    let mut values = headers.get_all(name).iter();
    let first = values.next()?.as_bytes();
    values.next().is_none().then_some(first)
}

/// What stands after a prefix; nothing where it does not stand there.
fn after<'a>(text: &'a [u8], prefix: &str) -> &'a [u8] {
    let scheme = prefix.strip_suffix(' ');
    match scheme {
        // The name of an authentication scheme is so in any case of letters (RFC 9110, 11.1).
        Some(_) => match text.split_at_checked(prefix.len()) {
            Some((start, rest)) if start.eq_ignore_ascii_case(prefix.as_bytes()) => rest,
            _ => &[],
        },
        None => text.strip_prefix(prefix.as_bytes()).unwrap_or_default(),
    }
}

fn shown_headers(facts: &WebhookFacts, headers: &HeaderMap) -> Vec<(String, String)> {
    let is_withheld = |name: &str| WITHHELD.contains(&name) || name.eq_ignore_ascii_case(facts.verify.header());
    let shown = headers.iter().filter(|(name, _)| !is_withheld(name.as_str()));
    shown.map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned())).collect()
}

/// A delivery, with its body as JSON once somebody asked for it.
struct Parts<'a> {
    facts: &'a WebhookFacts,
    delivery: &'a Delivery<'a>,
    json: OnceCell<Option<Value>>,
}

impl<'a> Parts<'a> {
    fn new(facts: &'a WebhookFacts, delivery: &'a Delivery<'a>) -> Self {
        Self { facts, delivery, json: OnceCell::new() }
    }

    /// The first key that is all there; the body's hash where none is.
    fn key(&self, keys: &[PartFacts]) -> String {
        keys.iter().find_map(|key| self.named(key)).unwrap_or_else(|| self.hash())
    }

    /// The hash of the body, or of a form's fields where they are what is signed: what a signature does not tell apart is
    /// one delivery, or whoever writes it otherwise could send it again.
    fn hash(&self) -> String {
        match &self.facts.verify {
            VerifyFacts::Signature(facts) if facts.content.has(&Piece::Form) => match covered(facts, self.delivery) {
                (form, _) if !form.is_empty() => hashed(&form),
                _ => hashed(self.delivery.body),
            },
            _ => hashed(self.delivery.body),
        }
    }

    /// What these parts say together, if all of them are there.
    fn named(&self, part: &PartFacts) -> Option<String> {
        if part.hash {
            return Some(self.hash());
        }
        let mut all: Vec<String> = Vec::new();
        for header in &part.headers {
            all.push(std::str::from_utf8(only(self.delivery.headers, header)?).ok()?.to_owned());
        }
        for pointer in &part.pointers {
            all.extend(self.texts(pointer)?);
        }
        if !part.fields.is_empty() {
            let form = form(self.delivery)?;
            for field in &part.fields {
                let before = all.len();
                all.extend(form.iter().filter(|(name, _)| name == field).map(|(_, value)| value.to_string()));
                if all.len() == before {
                    return None;
                }
            }
        }
        // Of several, where one ends and the next begins is part of the name.
        let name = match all.as_slice() {
            [] => return None,
            [one] if !one.starts_with('[') => one.clone(),
            several => serde_json::to_string(several).ok()?,
        };
        match name.len() {
            0 => None,
            1..=KEY_BYTES_MAX => Some(name),
            _ => Some(hashed(name.as_bytes())),
        }
    }

    fn holds(&self, condition: &ConditionFacts) -> bool {
        match (&condition.header, &condition.pointer) {
            (Some(header), _) => only(self.delivery.headers, header) == Some(condition.equals.as_bytes()),
            (None, Some(pointer)) => self.text(pointer).is_some_and(|text| text == condition.equals),
            (None, None) => false,
        }
    }

    /// The one value at a pointer.
    fn text(&self, pointer: &str) -> Option<String> {
        self.texts(pointer).filter(|texts| texts.len() == 1).and_then(|texts| texts.into_iter().next())
    }

    /// The values at a pointer, in which `*` stands for every item or member; nothing where one of them is not there, or
    /// cannot be told exactly.
    fn texts(&self, pointer: &str) -> Option<Vec<String>> {
        let json = self.json.get_or_init(|| serde_json::from_slice(self.delivery.body).ok()).as_ref()?;
        let mut reached = vec![json];
        for segment in pointer.split('/').skip(1) {
            let mut next: Vec<&Value> = Vec::new();
            for value in reached {
                if !reach(value, segment, &mut next) {
                    return None;
                }
            }
            // Two that differ only in what is beyond would be one.
            if next.is_empty() || next.len() > REACHED_MAX {
                return None;
            }
            reached = next;
        }
        let text = |value: &Value| match value {
            Value::String(text) if !text.is_empty() => Some(text.clone()),
            // A number that is too long for an integer has lost digits here.
            Value::Number(number) if !number.is_f64() => Some(number.to_string()),
            Value::Bool(truth) => Some(truth.to_string()),
            _ => None,
        };
        reached.into_iter().map(text).collect()
    }
}

fn hashed(bytes: &[u8]) -> String {
    format!("sha256:{}", hex(digest(&SHA256, bytes).as_ref()))
}

#[cfg(test)]
mod tests;
