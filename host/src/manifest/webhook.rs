//! `[webhooks.<name>]` of a manifest: how a provider proves that a delivery is its own, and what identifies one.
//!
//! The shapes are the host's, and there are three: a signature over a template, a token that is compared, and a JSON Web
//! Token. Which header, which template and which key is the provider's, and stands here as data. A recipe that would
//! prove less than it seems to (a body that no signature covers, a time that nobody signed) is refused when it is read.

use std::fmt;

use serde::Deserialize;

use super::{Manifest, Purpose, SecretFacts, dated};
use crate::auth::hmac::Function;
use crate::text::{is_token, shown};

/// Seconds that a signed time may be away from now, where the recipe does not say.
const TOLERANCE_S: u64 = 300;
/// Most of them.
const TOLERANCE_S_MAX: u64 = 3_600;
/// Milliseconds that a delivery is known, beyond the time in which its provider sends it again: longer than any tolerance.
const KNOWN_MS: u64 = 24 * 60 * 60 * 1_000;
/// Most seconds in which a provider sends a delivery again.
const RETRIES_FOR_S_MAX: u64 = 30 * 24 * 60 * 60;
/// Most bytes of a template, a name or a value of a recipe.
const TEXT_BYTES_MAX: usize = 1 << 10;
/// Most ways to find a key, most parts of one, and most rules about what is not handed over.
const ROWS_MAX: usize = 16;

/// A webhook: how the provider signs it, and what identifies one.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct WebhookFacts {
    /// What it tells of, in a sentence.
    #[serde(default)]
    pub description: String,
    /// How a delivery proves whose it is.
    pub verify: VerifyFacts,
    /// Where its signed time is.
    pub time: Option<TimeFacts>,
    /// A header with the date (RFC 9110, 5.6.7) from which on it is good no more.
    pub ends: Option<String>,
    /// What identifies a delivery: the first of these that is all there.
    pub keys: Vec<PartFacts>,
    /// What deliveries have in common that are handled one after the other.
    pub order: Option<PartFacts>,
    /// A question of the provider's that is answered at once.
    pub challenge: Option<ChallengeFacts>,
    /// What a delivery that was taken is answered, where the provider reads the answer.
    pub answer: Option<AnswerFacts>,
    /// Deliveries that are acknowledged and not handed over, as pings.
    #[serde(default)]
    pub ignored: Vec<ConditionFacts>,
    /// Seconds in which the provider sends a delivery again that was not acknowledged.
    pub retries_for_s: Option<u64>,
    /// Who says so.
    #[serde(default)]
    pub source: String,
    /// When that was read.
    #[serde(default)]
    pub date: String,
}

/// How a delivery proves whose it is.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(tag = "scheme", rename_all = "kebab-case", deny_unknown_fields)]
#[non_exhaustive]
pub enum VerifyFacts {
    /// A keyed hash, or an Ed25519 signature, over a template.
    Signature(Box<SignatureFacts>),
    /// A secret that both sides know, sent as it is.
    Token(TokenFacts),
    /// A token that the provider signs (RFC 7519).
    Jwt(JwtWebhookFacts),
}

/// A signature over a template.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct SignatureFacts {
    /// The key's secret; its purpose is `verify`.
    pub secret: String,
    /// How the secret's text stands for the key's bytes.
    #[serde(default)]
    pub secret_encoding: SecretEncoding,
    /// What stands before the key in the secret's text, where it is there, as `whsec_`.
    #[serde(default)]
    pub secret_prefix: String,
    /// The header with the signature.
    pub header: String,
    /// How the header is taken apart.
    #[serde(default)]
    pub form: SignatureForm,
    /// What stands before a signature that is the whole header, as `sha256=`.
    #[serde(default)]
    pub prefix: String,
    /// The name of the signatures in a header of pairs or of a list, as `v1`; others are passed over.
    pub name: Option<String>,
    /// With what it is made.
    pub algorithm: SignatureAlgorithm,
    /// How it is written.
    pub encoding: SignatureEncoding,
    /// What is signed.
    pub content: Template,
    /// The header that `{id}` stands for.
    pub id: Option<String>,
    /// The query parameter that holds the SHA-256 of a body that is no form, in hexadecimal digits; with `{url}` signed,
    /// it covers the body.
    pub body_hash: Option<String>,
}

/// With what a signature is made.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum SignatureAlgorithm {
    /// HMAC with SHA-1, for providers that know no better.
    HmacSha1,
    /// HMAC with SHA-256.
    HmacSha256,
    /// HMAC with SHA-512.
    HmacSha512,
    /// Ed25519 (RFC 8032); the secret is the provider's public key.
    Ed25519,
}

impl SignatureAlgorithm {
    /// The keyed hash, if it is one.
    pub(crate) const fn function(self) -> Option<Function> {
        match self {
            Self::HmacSha1 => Some(Function::Sha1),
            Self::HmacSha256 => Some(Function::Sha256),
            Self::HmacSha512 => Some(Function::Sha512),
            Self::Ed25519 => None,
        }
    }

    fn name(self) -> &'static str {
        self.function().map_or("ed25519", Function::name)
    }
}

/// How a header with signatures is taken apart.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum SignatureForm {
    /// It is one signature.
    #[default]
    Whole,
    /// `t=1,v1=…,v1=…`.
    Pairs,
    /// `v1,… v1,…`.
    List,
}

/// How a signature is written.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum SignatureEncoding {
    /// Hexadecimal digits.
    Hex,
    /// Base64 with padding (RFC 4648, 4).
    Base64,
}

/// How a secret's text stands for the bytes of a key.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum SecretEncoding {
    /// The text's own bytes.
    #[default]
    Text,
    /// Base64 with padding.
    Base64,
    /// Hexadecimal digits.
    Hex,
}

/// A secret that both sides know, sent as it is. It proves nothing about the body.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct TokenFacts {
    /// The secret; its purpose is `verify`.
    pub secret: String,
    /// The header with it.
    pub header: String,
    /// What stands before it.
    #[serde(default)]
    pub prefix: String,
}

/// A token that the provider signs. It proves nothing about the body.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct JwtWebhookFacts {
    /// The secret whose `jwt` says what such a token must be; its purpose is `verify`.
    pub secret: String,
    /// The header with it.
    pub header: String,
    /// What stands before it, as `Bearer `.
    #[serde(default)]
    pub prefix: String,
    /// A secret whose value the claim `email` must be, with `email_verified`: the account that the provider signs for.
    pub email_secret: Option<String>,
}

/// Where a signed time is.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct TimeFacts {
    /// The header.
    pub header: String,
    /// Its name there, where the header is of pairs.
    pub name: Option<String>,
    /// How it is written.
    #[serde(default)]
    pub form: TimeForm,
    /// Seconds that it may be away from now, before and after; 300 where it is left out, at most 3600.
    pub tolerance_s: Option<u64>,
}

impl TimeFacts {
    /// Milliseconds that it may be away from now.
    pub(crate) fn tolerance_ms(&self) -> u64 {
        self.tolerance_s.unwrap_or(TOLERANCE_S) * 1_000
    }
}

/// How a time is written.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum TimeForm {
    /// Seconds since 1970.
    #[default]
    UnixS,
    /// Milliseconds since 1970.
    UnixMs,
    /// A date (RFC 3339).
    Rfc3339,
}

/// Parts of a delivery that belong together. All of them must be there.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct PartFacts {
    /// Headers. One that no signature covers can be another when a delivery is sent again by somebody else.
    #[serde(default)]
    pub headers: Vec<String>,
    /// JSON Pointers into the body; `*` stands for every item or member, one after the other.
    #[serde(default)]
    pub pointers: Vec<String>,
    /// Fields of a body that is a form.
    #[serde(default)]
    pub fields: Vec<String>,
    /// The hash of the whole body, instead: the last resort, because two deliveries may rightly be equal.
    #[serde(default)]
    pub hash: bool,
}

/// A question that a provider asks before it delivers anything, and what it wants to hear.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct ChallengeFacts {
    /// JSON Pointer to what says that it is one.
    pub pointer: String,
    /// What stands there.
    pub equals: String,
    /// JSON Pointer to the text that is the answer.
    pub answer: String,
}

/// What a provider reads that acts upon the answer: an empty document in its own language, so that it does nothing.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct AnswerFacts {
    /// The value of `Content-Type`.
    pub content_type: String,
    /// The body.
    pub body: String,
}

/// What holds of some deliveries.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct ConditionFacts {
    /// A header.
    pub header: Option<String>,
    /// Or a JSON Pointer into the body.
    pub pointer: Option<String>,
    /// What stands there.
    pub equals: String,
}

/// What is signed: text in which `{timestamp}`, `{id}`, `{body}`, `{url}` and `{form}` stand for parts of a delivery.
/// `{form}` is the fields of a body that is a form, sorted by name and then by value, each once, name and value side by
/// side; nothing for any other body.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(try_from = "String")]
pub struct Template(pub(crate) Vec<Piece>);

/// A piece of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    /// Itself.
    Text(String),
    /// The time, as its header has it.
    Timestamp,
    /// The id, as its header has it.
    Id,
    /// The body as received.
    Body,
    /// The endpoint's public URL with the query as received.
    Url,
    /// The fields of a form.
    Form,
}

impl Piece {
    const NAMED: [(&str, Self); 5] = [
        ("{timestamp}", Self::Timestamp),
        ("{id}", Self::Id),
        ("{body}", Self::Body),
        ("{url}", Self::Url),
        ("{form}", Self::Form),
    ];
}

impl TryFrom<String> for Template {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if text.is_empty() || text.len() > TEXT_BYTES_MAX {
            return Err(format!("what is signed is written in 1 to {TEXT_BYTES_MAX} bytes"));
        }
        let mut pieces = Vec::new();
        let mut rest = text.as_str();
        while let Some(at) = rest.find('{') {
            let (before, from) = rest.split_at(at);
            if !before.is_empty() {
                pieces.push(Piece::Text(before.to_owned()));
            }
            let Some((name, piece)) = Piece::NAMED.into_iter().find(|(name, _)| from.starts_with(name)) else {
                let names = Piece::NAMED.map(|(name, _)| name).join(", ");
                return Err(format!("`{}` begins with none of {names}", shown(from)));
            };
            // Twice the same would hash a large body twice.
            if pieces.contains(&piece) {
                return Err(format!("{name} stands there twice"));
            }
            pieces.push(piece);
            rest = &from[name.len()..];
        }
        if !rest.is_empty() {
            pieces.push(Piece::Text(rest.to_owned()));
        }
        Ok(Self(pieces))
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|piece| match piece {
            Piece::Text(text) => f.write_str(text),
            named => {
                let name = Piece::NAMED.iter().find(|(_, known)| known == named).map_or("", |(name, _)| *name);
                f.write_str(name)
            }
        })
    }
}

impl Template {
    pub(crate) fn has(&self, piece: &Piece) -> bool {
        self.0.contains(piece)
    }
}

impl VerifyFacts {
    /// The secret that it is checked with.
    pub fn secret(&self) -> &str {
        match self {
            Self::Signature(facts) => &facts.secret,
            Self::Token(facts) => &facts.secret,
            Self::Jwt(facts) => &facts.secret,
        }
    }

    /// The header that proves it.
    pub fn header(&self) -> &str {
        match self {
            Self::Signature(facts) => &facts.header,
            Self::Token(facts) => &facts.header,
            Self::Jwt(facts) => &facts.header,
        }
    }
}

impl WebhookFacts {
    /// For how long a delivery is known, so that it is taken once: a day longer than the provider sends it again, and so
    /// longer than any signed time is good.
    pub(crate) fn known_ms(&self) -> u64 {
        KNOWN_MS + self.retries_for_s.unwrap_or(0) * 1_000
    }

    #[cfg(feature = "serve")]
    /// Whether the public URL is signed, which only an operator can know.
    pub(crate) fn signs_url(&self) -> bool {
        matches!(&self.verify, VerifyFacts::Signature(facts) if facts.content.has(&Piece::Url))
    }

    /// What is wrong with it, if anything, in words that follow its name.
    pub(crate) fn check(&self, manifest: &Manifest) -> Result<(), String> {
        dated(&self.source, &self.date)?;
        let secret = self.verify.secret();
        let facts = match manifest.secrets.get(secret) {
            None => return Err(format!("is checked with the secret `{}`, which is not declared", shown(secret))),
            Some(facts) if facts.purpose != Purpose::Verify => {
                return Err(format!(
                    "is checked with the secret `{secret}`: set in [secrets.{secret}]   purpose = \"verify\""
                ));
            }
            Some(facts) => facts,
        };
        self.verify.check(facts, manifest)?;
        self.check_headers()?;
        self.check_time()?;
        if self.keys.is_empty() {
            return Err(
                "does not say what identifies a delivery: keys = [{ headers = [\"…\"] }], or [{ hash = true }] \
                        where nothing does"
                    .to_owned(),
            );
        }
        let rows = self.keys.len().max(self.ignored.len());
        if rows > ROWS_MAX {
            return Err(format!("has more than {ROWS_MAX} rows of `keys` or `ignored`"));
        }
        let last = self.keys.len() - 1;
        for (at, key) in self.keys.iter().enumerate() {
            key.check().map_err(|why| format!("has a row of `keys` that {why}"))?;
            if key.hash && at != last {
                return Err("has a row of `keys` after `hash = true`, which is always there".to_owned());
            }
        }
        if let Some(order) = &self.order {
            order.check().map_err(|why| format!("has an `order` that {why}"))?;
            if order.hash {
                return Err("has an `order` by the body's hash, which no two deliveries share".to_owned());
            }
        }
        if let Some(ChallengeFacts { pointer, answer, .. }) = &self.challenge
            && let Some(wrong) = [pointer, answer].into_iter().find(|pointer| !is_pointer(pointer))
        {
            return Err(format!("has a challenge with `{}`, which is no JSON Pointer", shown(wrong)));
        }
        if let Some(AnswerFacts { content_type, body }) = &self.answer {
            check_text("answer.body", body)?;
            check_text("answer.content_type", content_type)?;
            if content_type.is_empty() || !content_type.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
                return Err(format!("answers as `{}`, which is no content type", shown(content_type)));
            }
        }
        for ConditionFacts { header, pointer, .. } in &self.ignored {
            match (header, pointer) {
                (Some(_), None) => {}
                (None, Some(pointer)) if is_pointer(pointer) => {}
                (None, Some(pointer)) => {
                    return Err(format!("ignores by `{}`, which is no JSON Pointer", shown(pointer)));
                }
                _ => return Err("ignores by neither `header` nor `pointer`, or by both".to_owned()),
            }
        }
        match self.retries_for_s {
            Some(0) => Err("has retries_for_s = 0; leave it out".to_owned()),
            Some(seconds) if seconds > RETRIES_FOR_S_MAX => {
                Err(format!("has retries_for_s of more than {RETRIES_FOR_S_MAX}"))
            }
            _ => Ok(()),
        }
    }

    fn check_headers(&self) -> Result<(), String> {
        let parts = self.keys.iter().chain(&self.order).flat_map(|part| &part.headers);
        let conditions = self.ignored.iter().filter_map(|condition| condition.header.as_ref());
        let time = self.time.iter().map(|time| &time.header);
        let id = match &self.verify {
            VerifyFacts::Signature(facts) => facts.id.as_ref(),
            _ => None,
        };
        let header = self.verify.header();
        let all = parts.chain(conditions).chain(time).chain(&self.ends).chain(id).map(String::as_str);
        match all.chain([header]).find(|name| !is_token(name) || name.len() > TEXT_BYTES_MAX) {
            Some(wrong) => Err(format!("names the header `{}`, which none can be called", shown(wrong))),
            None => Ok(()),
        }
    }

    fn check_time(&self) -> Result<(), String> {
        let signs_time = matches!(&self.verify, VerifyFacts::Signature(facts) if facts.content.has(&Piece::Timestamp));
        let Some(time) = &self.time else {
            return match signs_time {
                true => Err("signs {timestamp} and does not say where it is: time = { header = \"…\" }".to_owned()),
                false => Ok(()),
            };
        };
        if !signs_time {
            return Err(
                "has a time that is not signed, and so proves nothing: content = \"{timestamp}.{body}\"".to_owned()
            );
        }
        match time.tolerance_s {
            Some(0) => Err("has a tolerance_s of 0, which lets nothing pass".to_owned()),
            Some(seconds) if seconds > TOLERANCE_S_MAX => {
                Err(format!("has a tolerance_s of more than {TOLERANCE_S_MAX}"))
            }
            _ => Ok(()),
        }
    }

    /// The recipe in lines that a person can read.
    pub(crate) fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        let (header, secret) = (shown(self.verify.header()), shown(self.verify.secret()));
        match &self.verify {
            VerifyFacts::Signature(facts) => {
                let encoding = format!("{:?}", facts.encoding).to_lowercase();
                let content = shown(&facts.content.to_string());
                lines.push(format!(
                    "verified by {header}: {} in {encoding} over `{content}`, with the secret {secret}",
                    facts.algorithm.name()
                ));
            }
            VerifyFacts::Token(_) => {
                lines.push(format!("verified by {header}: the secret {secret} itself, not over the body"));
            }
            VerifyFacts::Jwt(_) => {
                lines.push(format!("verified by {header}: a token as {secret} says, not over the body"));
            }
        }
        if let Some(time) = &self.time {
            let (header, within) = (shown(&time.header), time.tolerance_ms() / 1_000);
            lines.push(format!("good for {within} s around the time in {header}"));
        }
        let keys: Vec<String> = self.keys.iter().map(PartFacts::words).collect();
        lines.push(format!("taken once by {}; known for {} h", keys.join(", else by "), self.known_ms() / 3_600_000));
        if let Some(answer) = &self.answer {
            lines.push(format!("answered with {}: {}", shown(&answer.content_type), shown(&answer.body)));
        }
        if let Some(order) = &self.order {
            lines.push(format!("those with one {} one after the other", order.words()));
        }
        lines
    }
}

impl VerifyFacts {
    fn check(&self, secret: &SecretFacts, manifest: &Manifest) -> Result<(), String> {
        let name = self.secret();
        match self {
            Self::Signature(facts) => facts.check(secret),
            Self::Token(_) if secret.jwt.is_some() => Err(format!("compares the secret `{name}`, which is for tokens")),
            Self::Token(facts) => check_text("prefix", &facts.prefix),
            Self::Jwt(facts) => {
                if secret.jwt.is_none() {
                    return Err(format!(
                        "has tokens checked with `{name}`: set in [secrets.{name}]   jwt = {{ algorithm = \"RS256\", issuer = \"https://…\", … }}"
                    ));
                }
                if let Some(email) = &facts.email_secret
                    && manifest.secrets.get(email).is_none_or(|facts| facts.purpose != Purpose::Credential)
                {
                    return Err(format!("wants the secret `{}`, which is not declared as a credential", shown(email)));
                }
                check_text("prefix", &facts.prefix)
            }
        }
    }
}

impl SignatureFacts {
    fn check(&self, secret: &SecretFacts) -> Result<(), String> {
        let name = &self.secret;
        check_text("prefix", &self.prefix)?;
        check_text("secret_prefix", &self.secret_prefix)?;
        if secret.jwt.is_some() {
            return Err(format!("has signatures checked with the secret `{name}`, which is for tokens"));
        }
        match self.algorithm.function() {
            Some(function) if !secret.functions().contains(&function) => {
                let function = function.name();
                return Err(format!(
                    "is signed with {function}: add to [secrets.{name}]   algorithms = [\"{function}\"]"
                ));
            }
            None if self.secret_encoding == SecretEncoding::Text => {
                return Err("is signed with ed25519: its key is bytes, so say secret_encoding = \"base64\"".to_owned());
            }
            _ => {}
        }
        match (self.form, &self.name) {
            (SignatureForm::Whole, Some(_)) => {
                return Err("names its signatures, and its header is one: form = \"pairs\" or \"list\"".to_owned());
            }
            (SignatureForm::Pairs | SignatureForm::List, None) => {
                return Err("has a header with several signatures: say which, name = \"v1\"".to_owned());
            }
            (SignatureForm::Pairs | SignatureForm::List, Some(_)) if !self.prefix.is_empty() => {
                return Err("has a prefix, and its header is not one signature".to_owned());
            }
            (_, Some(name)) if name.is_empty() || name.contains([',', '=', ' ']) => {
                return Err("has a `name` that is empty or holds what separates them".to_owned());
            }
            _ => {}
        }
        let (has_body, has_form) = (self.content.has(&Piece::Body), self.content.has(&Piece::Form));
        if !has_body && !has_form {
            return Err("does not cover the body, which anybody could change: content = \"{body}\"".to_owned());
        }
        if has_body && self.body_hash.is_some() {
            return Err("has a body_hash, and {body} is signed itself".to_owned());
        }
        if self.body_hash.is_some() && !self.content.has(&Piece::Url) {
            return Err("has a body_hash in a URL that is not signed: content = \"{url}{form}\"".to_owned());
        }
        match (&self.id, self.content.has(&Piece::Id)) {
            (None, true) => Err("signs {id} and does not say where it is: id = \"…\"".to_owned()),
            (Some(_), false) => Err("has an id that is not signed: content = \"{id}.{timestamp}.{body}\"".to_owned()),
            _ => Ok(()),
        }
    }
}

impl PartFacts {
    fn check(&self) -> Result<(), String> {
        let parts = self.headers.len() + self.pointers.len() + self.fields.len();
        if self.hash != (parts == 0) {
            return Err("needs `headers`, `pointers` or `fields`, or `hash = true` and nothing else".to_owned());
        }
        if parts > ROWS_MAX {
            return Err(format!("has more than {ROWS_MAX} parts"));
        }
        match self.pointers.iter().find(|pointer| !is_pointer(pointer)) {
            Some(wrong) => Err(format!("has `{}`, which is no JSON Pointer (RFC 6901)", shown(wrong))),
            None => Ok(()),
        }
    }

    fn words(&self) -> String {
        if self.hash {
            return "the hash of its body".to_owned();
        }
        let parts = self.headers.iter().chain(&self.pointers).chain(&self.fields);
        parts.map(|part| shown(part)).collect::<Vec<_>>().join(" + ")
    }
}

fn is_pointer(text: &str) -> bool {
    text.starts_with('/') && text.len() <= TEXT_BYTES_MAX
}

fn check_text(name: &str, text: &str) -> Result<(), String> {
    if text.len() > TEXT_BYTES_MAX { Err(format!("has a {name} of more than {TEXT_BYTES_MAX} bytes")) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "[plugin]\nname='acme'\nversion='1.2.3'\ncontract='0.1.0'\nprovider='Acme'\n\
        [secrets.hook]\npurpose='verify'\nalgorithms=['hmac-sha256']\n\
        [secrets.id]\n\
        [secrets.tokens]\npurpose='verify'\njwt={algorithm='RS256',issuer='https://i.test',audience=['us']}\n";

    const PLAIN: &str = "[webhooks.orders]\nsource='docs'\ndate='2026-11-24'\nkeys=[{headers=['X-Id']}]\n\
        time={header='X-Time'}\n\
        [webhooks.orders.verify]\nscheme='signature'\nsecret='hook'\nheader='X-Sign'\nalgorithm='hmac-sha256'\n\
        encoding='hex'\ncontent='v0:{timestamp}:{body}'\n";

    fn parse(webhook: &str) -> crate::Result<Manifest> {
        Manifest::parse(&format!("{HEAD}{webhook}"))
    }

    #[test]
    fn a_recipe_is_read_and_shown() {
        let manifest = parse(PLAIN).unwrap();
        let facts = &manifest.webhooks["orders"];
        assert_eq!(facts.known_ms(), 24 * 3_600_000);
        assert!(!facts.signs_url());
        let lines = facts.lines();
        assert_eq!(
            lines[0],
            "verified by X-Sign: hmac-sha256 in hex over `v0:{timestamp}:{body}`, with the secret hook"
        );
        assert_eq!(lines[1], "good for 300 s around the time in X-Time");
        assert_eq!(lines[2], "taken once by X-Id; known for 24 h");
    }

    /// R20: a claim outlives any replay window.
    #[test]
    fn r20_a_delivery_is_known_longer_than_it_can_be_sent_again() {
        for (more, hours) in [("", 24), ("retries_for_s=259200\n", 96)] {
            let facts = parse(&PLAIN.replace("source=", &format!("{more}source="))).unwrap();
            let known_ms = facts.webhooks["orders"].known_ms();
            assert_eq!(known_ms, hours * 3_600_000);
            assert!(known_ms > 2 * TOLERANCE_S_MAX * 1_000);
        }
    }

    #[test]
    fn a_wrong_recipe_says_what_is_wrong() {
        for (from, to, expected) in [
            ("source='docs'", "source=''", "source and date"),
            ("secret='hook'", "secret='other'", "not declared"),
            ("secret='hook'", "secret='id'", "purpose = \"verify\""),
            ("secret='hook'", "secret='tokens'", "for tokens"),
            ("algorithm='hmac-sha256'", "algorithm='hmac-sha1'", "algorithms = [\"hmac-sha1\"]"),
            ("algorithm='hmac-sha256'", "algorithm='md5'", "unknown variant"),
            ("algorithm='hmac-sha256'", "algorithm='ed25519'", "secret_encoding"),
            ("header='X-Sign'", "header='X Sign'", "none can be called"),
            ("'v0:{timestamp}:{body}'", "'v0:{timestamp}'", "does not cover the body"),
            ("'v0:{timestamp}:{body}'", "'{body}'", "not signed"),
            ("'v0:{timestamp}:{body}'", "'{timestamp}{body}{body}'", "twice"),
            ("'v0:{timestamp}:{body}'", "'{payload}'", "none of {timestamp}, {id}"),
            ("'v0:{timestamp}:{body}'", "'{timestamp}.{id}.{body}'", "id = "),
            ("'v0:{timestamp}:{body}'", "''", "1 to 1024"),
            ("time={header='X-Time'}\n", "", "time = { header"),
            ("time={header='X-Time'}", "time={header='X-Time',tolerance_s=0}", "lets nothing pass"),
            ("time={header='X-Time'}", "time={header='X-Time',tolerance_s=86400}", "more than 3600"),
            ("scheme='signature'", "scheme='signature'\nname='v1'", "form ="),
            ("scheme='signature'", "scheme='signature'\nform='pairs'", "name = \"v1\""),
            ("scheme='signature'", "scheme='signature'\nform='list'\nname='v1,'", "separates"),
            ("scheme='signature'", "scheme='signature'\nform='list'\nname='v1'\nprefix='x'", "prefix"),
            ("scheme='signature'", "scheme='signature'\nbody_hash='sha'", "{body} is signed itself"),
            ("scheme='signature'", "scheme='signature'\nid='X-Id'", "id that is not signed"),
            ("scheme='signature'", "scheme='signature'\nunknown=1", "unknown field"),
            ("scheme='signature'", "scheme='none'", "unknown variant"),
            ("keys=[{headers=['X-Id']}]", "keys=[]", "hash = true"),
            ("keys=[{headers=['X-Id']}]", "keys=[{}]", "hash = true"),
            ("keys=[{headers=['X-Id']}]", "keys=[{hash=true,pointers=['/id']}]", "nothing else"),
            ("keys=[{headers=['X-Id']}]", "keys=[{hash=true},{pointers=['/id']}]", "always there"),
            ("keys=[{headers=['X-Id']}]", "keys=[{pointers=['id']}]", "no JSON Pointer"),
            ("source='docs'", "source='docs'\norder={hash=true}", "no two deliveries"),
            ("source='docs'", "source='docs'\nignored=[{equals='x'}]", "neither"),
            ("source='docs'", "source='docs'\nignored=[{pointer='x',equals='x'}]", "no JSON Pointer"),
            ("source='docs'", "source='docs'\nchallenge={pointer='/a',equals='b',answer='c'}", "no JSON Pointer"),
            ("source='docs'", "source='docs'\nanswer={content_type='',body=''}", "no content type"),
            ("source='docs'", "source='docs'\nanswer={content_type=\"a\\nb\",body=''}", "no content type"),
            ("source='docs'", "source='docs'\nretries_for_s=0", "leave it out"),
            ("source='docs'", "source='docs'\nretries_for_s=99999999", "more than"),
        ] {
            assert!(PLAIN.contains(from), "{from}");
            let error = parse(&PLAIN.replace(from, to)).unwrap_err().to_string();
            assert!(error.contains(expected), "{to}: {error}");
            assert!(error.contains("webhooks.orders") || error.contains('^'), "it does not say where: {error}");
        }
    }

    #[test]
    fn the_other_schemes_ask_for_their_own() {
        let with = |verify: &str| {
            parse(&format!("[webhooks.w]\nsource='s'\ndate='d'\nkeys=[{{hash=true}}]\n[webhooks.w.verify]\n{verify}\n"))
        };
        for good in [
            "scheme='token'\nsecret='hook'\nheader='X-Token'",
            "scheme='jwt'\nsecret='tokens'\nheader='Authorization'\nprefix='Bearer '\nemail_secret='id'",
            "scheme='signature'\nsecret='hook'\nheader='X-S'\nalgorithm='hmac-sha256'\nencoding='base64'\n\
             content='{url}{form}'\nbody_hash='sha'",
            "scheme='signature'\nsecret='hook'\nsecret_encoding='base64'\nheader='X-S'\nalgorithm='ed25519'\n\
             encoding='base64'\nform='list'\nname='v1a'\ncontent='{body}'",
        ] {
            assert!(with(good).is_ok(), "{good}: {:?}", with(good).err());
        }
        for (bad, expected) in [
            ("scheme='token'\nsecret='tokens'\nheader='X-Token'", "for tokens"),
            ("scheme='jwt'\nsecret='hook'\nheader='Authorization'", "jwt = {"),
            ("scheme='jwt'\nsecret='tokens'\nheader='Authorization'\nemail_secret='hook'", "as a credential"),
            (
                "scheme='signature'\nsecret='hook'\nheader='X-S'\nalgorithm='hmac-sha256'\nencoding='base64'\n\
                 content='{form}'\nbody_hash='sha'",
                "not signed",
            ),
        ] {
            let error = with(bad).unwrap_err().to_string();
            assert!(error.contains(expected), "{bad}: {error}");
        }
    }

    #[test]
    fn a_template_shows_as_it_is_written() {
        for text in ["{body}", "v0:{timestamp}:{body}", "{id}.{timestamp}.{body}", "{url}{form}", "a}b{body}c"] {
            assert_eq!(Template::try_from(text.to_owned()).unwrap().to_string(), text);
        }
    }
}
