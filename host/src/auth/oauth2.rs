//! OAuth 2.0 (RFC 6749): what a token request says, what a token answer means, and when a token is renewed.
//!
//! Pure: no request, no clock, no store. `outbound/session.rs` performs what stands here.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use zeroize::Zeroizing;

use crate::auth::facts::{ClientAuth, Oauth2Facts, Oauth2Flow};
use crate::error::{Error, Kind, Result};
use crate::text::shown;
use crate::time::Timestamp;

/// How long before its end a token is renewed, and never more than half of its life.
pub(crate) const EARLY_MS: u64 = 5 * 60_000;
/// Most bytes of a token.
const TOKEN_BYTES_MAX: usize = 16 << 10;
/// Most seconds that a token answer, or a manifest instead of it, may promise: ten years.
pub(crate) const LIFETIME_S_MAX: u64 = 10 * 366 * 86_400;

/// A token, which shows itself to nobody.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Token(pub(crate) Zeroizing<String>);

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[token]")
    }
}

impl Serialize for Token {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Token {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Self(Zeroizing::new(text)))
    }
}

/// What a token request is for.
pub(crate) enum Exchange {
    /// The code of a redirect (RFC 6749, 4.1.3; RFC 7636, 4.5).
    Code {
        /// The code.
        code: Zeroizing<String>,
        /// What the challenge was made of.
        verifier: Zeroizing<String>,
        /// Where the browser was sent back to.
        redirect: String,
    },
    /// The client stands for itself.
    ClientCredentials,
    /// A person has been asked on another device (RFC 8628, 3.4).
    Device {
        /// The device's code.
        code: Zeroizing<String>,
    },
    /// What the client asserts and signs (RFC 7523).
    Assertion,
    /// The same as a bearer token instead of in a form.
    Signed,
    /// A new access token for a refresh token.
    Refresh {
        /// The refresh token.
        token: Zeroizing<String>,
    },
}

impl Exchange {
    /// The one of a flow in which nobody signs in.
    pub(crate) fn without_person(flow: Oauth2Flow) -> Option<Self> {
        match flow {
            Oauth2Flow::ClientCredentials => Some(Self::ClientCredentials),
            Oauth2Flow::JwtBearer => Some(Self::Assertion),
            Oauth2Flow::Exchange => Some(Self::Signed),
            Oauth2Flow::AuthorizationCode | Oauth2Flow::DeviceCode => None,
        }
    }
}

/// The form of a token request, without the client's own proof. `assertion` is the signed one, where one is asked for.
pub(crate) fn form(
    exchange: &Exchange,
    facts: &Oauth2Facts,
    scopes: &[String],
    assertion: Option<Zeroizing<String>>,
) -> Vec<(String, Zeroizing<String>)> {
    let plain = |text: &str| Zeroizing::new(text.to_owned());
    let mut form = Vec::new();
    let mut put = |name: &str, value: Zeroizing<String>| form.push((name.to_owned(), value));
    let mut says_scopes = false;
    match exchange {
        Exchange::Code { code, verifier, redirect } => {
            put("grant_type", plain("authorization_code"));
            put("code", code.clone());
            put("redirect_uri", plain(redirect));
            put("code_verifier", verifier.clone());
        }
        Exchange::ClientCredentials => {
            put("grant_type", plain("client_credentials"));
            says_scopes = true;
        }
        Exchange::Device { code } => {
            put("grant_type", plain("urn:ietf:params:oauth:grant-type:device_code"));
            put("device_code", code.clone());
        }
        Exchange::Assertion => {
            put("grant_type", plain("urn:ietf:params:oauth:grant-type:jwt-bearer"));
            put("assertion", assertion.unwrap_or_default());
            says_scopes = true;
        }
        Exchange::Signed => {}
        // Scopes are left out: what is renewed is what was granted (RFC 6749, 6).
        Exchange::Refresh { token } => {
            put("grant_type", plain("refresh_token"));
            put("refresh_token", token.clone());
        }
    }
    if says_scopes && !scopes.is_empty() {
        put("scope", Zeroizing::new(scopes.join(separator(facts))));
    }
    for (name, value) in &facts.token_params {
        put(name, plain(value));
    }
    form
}

/// How the client says who it is: in the form, or by these two as HTTP Basic.
pub(crate) fn client_in_form(facts: &Oauth2Facts) -> bool {
    facts.secret.is_none() || facts.client_auth == ClientAuth::Body
}

/// What stands between scopes.
pub(crate) fn separator(facts: &Oauth2Facts) -> &str {
    facts.scope_separator.as_deref().unwrap_or(" ")
}

/// What a token endpoint answered.
pub(crate) struct TokenAnswer {
    access: Token,
    refresh: Option<Token>,
    lifetime_ms: Option<u64>,
    /// When the access token ends, where the provider says a date.
    ends_at: Option<Timestamp>,
    refresh_lifetime_ms: Option<u64>,
    /// The scopes granted, where it says.
    scopes: Option<Vec<String>>,
}

impl TokenAnswer {
    /// Reads the answer's body. Numbers may be written as text, and an error may come with a status of success: both occur.
    /// What an error shows of it passes `mask`.
    ///
    /// # Errors
    /// What the provider refused, with its code, or [`Kind::SchemaViolation`] with no more of the body than its token type.
    pub(crate) fn parse(body: &[u8], facts: &Oauth2Facts, mask: &dyn Fn(&str) -> String) -> Result<Self> {
        let strange = |what: &str| {
            Error::new(Kind::SchemaViolation, format!("the token endpoint's answer {what}")).with_details(
                "Check that the manifest's `token` names the token endpoint; nothing that was kept is lost",
            )
        };
        let value: Value = serde_json::from_slice(body).map_err(|_| strange("is not JSON"))?;
        if let Some(error) = refusal(&value, mask) {
            return Err(error);
        }
        let Value::Object(mut fields) = value else { return Err(strange("is not a JSON object")) };
        let mut token = |name: &str| match fields.remove(name) {
            Some(Value::String(text)) if text.len() > TOKEN_BYTES_MAX => {
                Err(strange(&format!("has a `{name}` of more than {TOKEN_BYTES_MAX} bytes")))
            }
            Some(Value::String(text)) if !text.is_empty() => Ok(Some(Token(Zeroizing::new(text)))),
            Some(Value::Null | Value::String(_)) | None => Ok(None),
            Some(_) => Err(strange(&format!("has a `{name}` that is no text"))),
        };
        let name = facts.answer.access_token.as_deref().unwrap_or("access_token");
        let access = token(name)?.ok_or_else(|| strange(&format!("has no `{}`", shown(name))))?;
        if !access.0.bytes().all(|byte| (0x21..0x7f).contains(&byte)) {
            return Err(strange(&format!("has an `{}` that no header can carry", shown(name))));
        }
        let refresh = token("refresh_token")?;
        if let Some(kind) = fields.get("token_type").and_then(Value::as_str)
            && !kind.eq_ignore_ascii_case("bearer")
        {
            return Err(strange(&format!("has the token type `{}`; only Bearer is known", shown(&mask(kind)))));
        }
        let seconds = |name: &str| seconds(fields.get(name)?);
        let lifetime_s = seconds("expires_in").or(facts.lifetime_s);
        let ends_at = facts.answer.expires_at.as_ref().and_then(|name| Timestamp::parse(fields.get(name)?.as_str()?));
        let refresh_lifetime_s = facts.refresh_lifetime.as_deref().and_then(seconds);
        let scopes = match fields.get("scope") {
            Some(Value::String(text)) => Some(split(text, separator(facts))),
            Some(Value::Array(items)) => {
                Some(items.iter().filter_map(Value::as_str).map(str::to_owned).collect::<Vec<_>>())
            }
            _ => None,
        };
        Ok(Self {
            access,
            refresh,
            lifetime_ms: lifetime_s.map(|seconds| seconds * 1_000),
            ends_at,
            refresh_lifetime_ms: refresh_lifetime_s.map(|seconds| seconds * 1_000),
            scopes: scopes.filter(|scopes| !scopes.is_empty()),
        })
    }

    /// What it holds that must not be seen.
    pub(crate) fn values(&self) -> impl Iterator<Item = &Zeroizing<String>> {
        [Some(&self.access), self.refresh.as_ref()].into_iter().flatten().map(|token| &token.0)
    }
}

/// The provider's refusal, if that is what it says (RFC 6749, 5.2). It may repeat what it was asked with, so its words pass
/// `mask`, before they are cut.
pub(crate) fn refusal(body: &Value, mask: &dyn Fn(&str) -> String) -> Option<Error> {
    let code = match body.get("error")? {
        Value::String(code) => code.clone(),
        Value::Object(inner) => inner.get("code").or_else(|| inner.get("status"))?.as_str()?.to_owned(),
        _ => return None,
    };
    let code: String = shown(&mask(&code)).chars().take(64).collect();
    let words = body.get("error_description").and_then(Value::as_str).unwrap_or_default();
    let words: String = shown(&mask(words)).chars().take(200).collect();
    let kind = match code.as_str() {
        "invalid_grant" => Kind::ReauthorizationNeeded,
        "invalid_client" | "unauthorized_client" => Kind::Unauthorized,
        "access_denied" => Kind::Forbidden,
        "temporarily_unavailable" | "server_error" => Kind::Transient,
        _ => Kind::ProviderReported,
    };
    let said = if words.is_empty() { String::new() } else { format!(": {words}") };
    Some(Error::new(kind, format!("the token endpoint refused with `{code}`{said}")).with_provider_code(Some(code)))
}

/// Whole seconds, also where they are written as text or with a fraction; nothing for what cannot be a lifetime.
pub(super) fn seconds(value: &Value) -> Option<u64> {
    let seconds = match value {
        Value::Number(number) => number.as_u64().or_else(|| number.as_f64().map(|float| float.max(0.0) as u64)),
        Value::String(text) => text.trim().split('.').next()?.parse().ok(),
        _ => None,
    };
    seconds.filter(|seconds| *seconds > 0).map(|seconds| seconds.min(LIFETIME_S_MAX))
}

fn split(text: &str, separator: &str) -> Vec<String> {
    let parts = text.split(|c: char| c.is_whitespace() || separator.trim().contains(c));
    parts.filter(|scope| !scope.is_empty()).take(1_000).map(str::to_owned).collect()
}

/// What is kept of a connected account. It is sealed before it is stored.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct TokenSet {
    access: Token,
    refresh: Option<Token>,
    /// The refresh token that this one came for. It stays until this one has worked: an answer may have been lost.
    before: Option<Token>,
    pub(crate) obtained_at_ms: u64,
    expires_at_ms: Option<u64>,
    pub(crate) refresh_expires_at_ms: Option<u64>,
    pub(crate) asked: Vec<String>,
    pub(crate) granted: Vec<String>,
    /// What the redirect said besides, as the id of a company.
    pub(crate) extra: BTreeMap<String, String>,
    /// Where its tokens may go and be renewed, as of when the account was connected.
    pub(crate) fixed: Fixed,
    /// Of which connecting it is; renewing does not change that.
    pub(crate) identity: String,
    /// What the provider said when it refused to renew. Only connecting again ends that.
    pub(crate) refused: Option<String>,
}

/// What one sign-in is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Consent {
    /// What it asks for.
    pub(crate) scopes: Vec<String>,
    /// Where its tokens may go, over all connections that use them.
    pub(crate) fixed: Fixed,
}

/// What a manifest may not change behind an operator's back (R12).
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub(crate) struct Fixed {
    /// Where access tokens go: scheme, host, port and path.
    pub audience: BTreeSet<String>,
    /// Where refresh tokens go.
    pub token: String,
    /// Where tokens go to be revoked.
    pub revoke: Option<String>,
}

impl Fixed {
    /// With where the tokens go over another connection of the account.
    pub(crate) fn with(mut self, other: Self) -> Self {
        self.audience.extend(other.audience);
        self.revoke = self.revoke.or(other.revoke);
        self
    }

    /// What differs from what was approved, in words.
    pub(crate) fn difference(&self, now: &Self) -> Option<String> {
        if self.token != now.token {
            return Some(format!("the token endpoint was {} and is {}", shown(&self.token), shown(&now.token)));
        }
        if now.revoke.is_some() && self.revoke != now.revoke {
            return Some("the endpoint that revokes is another".to_owned());
        }
        let more: Vec<&String> = now.audience.difference(&self.audience).collect();
        more.first().map(|origin| format!("its tokens would now also go to {}", shown(origin)))
    }
}

/// What to do with a set of tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    /// It serves.
    No,
    /// It serves for now and should be renewed.
    Soon,
    /// It does not serve any more.
    Now,
}

impl TokenSet {
    /// The first set of a connected account.
    pub(crate) fn first(
        answer: TokenAnswer,
        asked: Vec<String>,
        extra: BTreeMap<String, String>,
        fixed: Fixed,
        identity: String,
        now: Timestamp,
    ) -> Self {
        let granted = answer.scopes.clone().unwrap_or_else(|| asked.clone());
        let mut set = Self {
            access: answer.access.clone(),
            refresh: None,
            before: None,
            obtained_at_ms: 0,
            expires_at_ms: None,
            refresh_expires_at_ms: None,
            asked,
            granted,
            extra,
            fixed,
            identity,
            refused: None,
        };
        set.take(answer, now);
        set
    }

    /// The set after a renewal. A refresh token that came back replaces the old one, which stays behind it; where none
    /// came, the one that was just used goes on (RFC 6749, 6).
    pub(crate) fn renewed(&self, used: &Zeroizing<String>, answer: TokenAnswer, now: Timestamp) -> Self {
        let mut set = Self { refused: None, ..self.clone() };
        if let Some(scopes) = &answer.scopes {
            set.granted.clone_from(scopes);
        }
        set.refresh = Some(Token(used.clone()));
        set.before = None;
        set.take(answer, now);
        set
    }

    fn take(&mut self, answer: TokenAnswer, now: Timestamp) {
        self.access = answer.access;
        self.obtained_at_ms = now.as_millis();
        // A date that is over by this clock would have every call renew it.
        let ends_at = answer.ends_at.filter(|at| *at > now && at.since(now) <= LIFETIME_S_MAX * 1_000);
        let ends_at = ends_at.or_else(|| answer.lifetime_ms.map(|lifetime| now.plus(lifetime)));
        self.expires_at_ms = ends_at.map(Timestamp::as_millis);
        if let Some(refresh) = answer.refresh.filter(|new| self.refresh.as_ref() != Some(new)) {
            self.before = self.refresh.replace(refresh);
        }
        if let Some(lifetime) = answer.refresh_lifetime_ms {
            self.refresh_expires_at_ms = Some(now.plus(lifetime).as_millis());
        }
    }

    /// The access token.
    pub(crate) fn access(&self) -> &Zeroizing<String> {
        &self.access.0
    }

    /// The refresh tokens in the order in which they are tried.
    pub(crate) fn refreshes(&self) -> Vec<Zeroizing<String>> {
        [&self.refresh, &self.before].into_iter().flatten().map(|token| token.0.clone()).collect()
    }

    /// Everything it holds that must not be seen.
    pub(crate) fn values(&self) -> impl Iterator<Item = &Zeroizing<String>> {
        [Some(&self.access), self.refresh.as_ref(), self.before.as_ref()].into_iter().flatten().map(|token| &token.0)
    }

    /// Whether it must be renewed. A clock that was set back makes no token live longer than it was said to.
    pub(crate) fn due(&self, now: Timestamp) -> Due {
        let Some(end) = self.expires_at_ms else { return Due::No };
        let lifetime = end.saturating_sub(self.obtained_at_ms);
        if now.as_millis() >= end {
            Due::Now
        } else if now.as_millis() >= end - EARLY_MS.min(lifetime / 2) || now.as_millis() < self.obtained_at_ms {
            Due::Soon
        } else {
            Due::No
        }
    }

    /// Scopes that were asked for and not granted.
    pub(crate) fn missing(&self) -> Vec<String> {
        self.asked.iter().filter(|scope| !self.granted.contains(scope)).cloned().collect()
    }
}

/// What connecting came to.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Connected {
    /// What was granted.
    pub granted: Vec<String>,
    /// What was asked for and not granted.
    pub missing: Vec<String>,
    /// Until when the access token serves, where that is known.
    pub until: Option<Timestamp>,
    /// Whether the host can renew it without a person.
    pub is_renewable: bool,
    /// What the redirect said besides and is kept.
    pub extra: BTreeMap<String, String>,
}

impl Connected {
    pub(crate) fn of(set: &TokenSet) -> Self {
        Self {
            granted: set.granted.clone(),
            missing: set.missing(),
            until: set.expires_at_ms.map(Timestamp::from_millis),
            is_renewable: set.refresh.is_some(),
            extra: set.extra.clone(),
        }
    }
}

impl fmt::Display for Connected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |scopes: &[String]| shown(&scopes.join(" "));
        match self.granted.is_empty() {
            true => f.write_str("connected")?,
            false => write!(f, "granted: {}", list(&self.granted))?,
        }
        if !self.missing.is_empty() {
            write!(f, "\nasked for and not granted: {}", list(&self.missing))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FACTS: &str = "token='{a}/token'\nclient_id='id'\norigins=[]\nrefresh_lifetime='x_end'";

    fn facts(more: &str) -> Oauth2Facts {
        toml::from_str(&format!("{more}\n{FACTS}")).unwrap()
    }

    fn at(millis: u64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    fn answer(text: &str) -> TokenAnswer {
        parse(text.as_bytes(), &facts("")).ok().unwrap()
    }

    fn parse(body: &[u8], facts: &Oauth2Facts) -> Result<TokenAnswer> {
        TokenAnswer::parse(body, facts, &str::to_owned)
    }

    fn set(text: &str) -> TokenSet {
        let fixed = Fixed { audience: BTreeSet::new(), token: "t".into(), revoke: None };
        TokenSet::first(answer(text), vec!["a".into(), "b".into()], BTreeMap::new(), fixed, "1".into(), at(1_000))
    }

    fn refreshes(set: &TokenSet) -> Vec<String> {
        set.refreshes().iter().map(|token| token.to_string()).collect()
    }

    #[test]
    fn renewed_early_and_never_before_half_its_life() {
        let hour = set(r#"{"access_token":"x","expires_in":3600}"#);
        assert_eq!(hour.due(at(3_300_999)), Due::No);
        assert_eq!(hour.due(at(3_301_000)), Due::Soon);
        assert_eq!(hour.due(at(3_601_000)), Due::Now);
        let short = set(r#"{"access_token":"x","expires_in":"300"}"#);
        assert_eq!((short.due(at(150_999)), short.due(at(151_000))), (Due::No, Due::Soon));
        assert_eq!(hour.due(at(500)), Due::Soon, "the clock was set back");
        assert_eq!(set(r#"{"access_token":"x"}"#).due(at(u64::MAX)), Due::No, "nobody said when it ends");
        let said: Oauth2Facts = facts("lifetime_s = 10");
        assert_eq!(parse(br#"{"access_token":"x"}"#, &said).ok().unwrap().lifetime_ms, Some(10_000));
    }

    #[test]
    fn guide_s14_a_returned_refresh_token_replaces_the_old_one() {
        let first = set(r#"{"access_token":"x","refresh_token":"r1"}"#);
        assert_eq!(refreshes(&first), ["r1"]);
        let used = Zeroizing::new("r1".to_owned());
        let second = first.renewed(&used, answer(r#"{"access_token":"y","refresh_token":"r2"}"#), at(2));
        assert_eq!(refreshes(&second), ["r2", "r1"], "the old one stays until the new one has worked");
        let used = Zeroizing::new("r2".to_owned());
        let third = second.renewed(&used, answer(r#"{"access_token":"z"}"#), at(3));
        assert_eq!(refreshes(&third), ["r2"], "none came back, and the one that worked goes on");
        let used = Zeroizing::new("r1".to_owned());
        let fallen_back = second.renewed(&used, answer(r#"{"access_token":"z","refresh_token":"r3"}"#), at(3));
        assert_eq!(refreshes(&fallen_back), ["r3", "r1"]);
    }

    #[test]
    fn guide_s17_ends_are_counted_in_universal_time() {
        let set = set(r#"{"access_token":"x","expires_in":60,"x_end":"8640"}"#);
        assert_eq!((set.expires_at_ms, set.refresh_expires_at_ms), (Some(61_000), Some(8_641_000)));
    }

    #[test]
    fn strange_answers_are_told_without_their_text() {
        for (body, said) in [
            ("<html>s3cret</html>", "is not JSON"),
            ("[\"s3cret\"]", "is not a JSON object"),
            (r#"{"token":"s3cret"}"#, "has no `access_token`"),
            (r#"{"access_token":7}"#, "is no text"),
            (r#"{"access_token":"s3cret\n"}"#, "no header can carry"),
            (r#"{"access_token":"s3cret","token_type":"mac"}"#, "only Bearer"),
        ] {
            let error = parse(body.as_bytes(), &facts("")).err().unwrap();
            let text = format!("{error} {error:?}");
            assert!(text.contains(said) && !text.contains("s3cret"), "{body}: {text}");
        }
        let refused = br#"{"error":"invalid_grant","error_description":"Token has been\u001b[2J revoked."}"#;
        let error = parse(refused, &facts("")).err().unwrap();
        assert_eq!((error.kind(), error.provider_code()), (&Kind::ReauthorizationNeeded, Some("invalid_grant")));
        assert!(!error.message().contains('\u{1b}'));
    }

    #[test]
    fn lifetimes_that_are_none_are_as_if_unsaid() {
        for text in ["-5", "\"soon\"", "null", "0", "{}", "\"-1\""] {
            let body = format!(r#"{{"access_token":"x","expires_in":{text}}}"#);
            assert_eq!(answer(&body).lifetime_ms, None, "{text}");
        }
        let long = answer(r#"{"access_token":"x","expires_in":18446744073709551615}"#);
        assert_eq!(long.lifetime_ms, Some(LIFETIME_S_MAX * 1_000));
        assert_eq!(answer(r#"{"access_token":"x","expires_in":59.9}"#).lifetime_ms, Some(59_000));
    }

    #[test]
    fn a_provider_may_call_the_fields_otherwise_and_say_a_date() {
        let named = facts("lifetime_s = 60\nanswer = { access_token = 'token', expires_at = 'until' }");
        let end = |until: &str| {
            let body = format!(r#"{{"token":"x","access_token":7,"until":{until}}}"#);
            let answer = parse(body.as_bytes(), &named).ok().unwrap();
            let fixed = Fixed { audience: BTreeSet::new(), token: "t".into(), revoke: None };
            TokenSet::first(answer, Vec::new(), BTreeMap::new(), fixed, "1".into(), at(1_000)).expires_at_ms
        };
        assert_eq!(end(r#""1970-01-01T01:00:00Z""#), Some(3_600_000));
        for none in [r#""1970-01-01T00:00:01Z""#, r#""soon""#, "3600", "null", r#""9999-01-01T00:00:00Z""#] {
            assert_eq!(end(none), Some(61_000), "{none}: as if unsaid");
        }
        let error = parse(br#"{"access_token":"s3cret"}"#, &named).err().unwrap();
        assert!(error.message().contains("has no `token`"), "{error}");
    }

    #[test]
    fn guide_s20_what_was_asked_and_what_was_granted_are_compared() {
        assert_eq!(set(r#"{"access_token":"x","scope":"a"}"#).missing(), ["b"]);
        assert!(set(r#"{"access_token":"x"}"#).missing().is_empty(), "unsaid is as asked (RFC 6749, 5.1)");
        assert!(set(r#"{"access_token":"x","scope":["b","a"]}"#).missing().is_empty());
    }

    #[test]
    fn r12_more_than_was_approved_is_seen() {
        let fixed = |audience: &[&str], token: &str| Fixed {
            audience: audience.iter().map(|origin| (*origin).to_owned()).collect(),
            token: token.to_owned(),
            revoke: None,
        };
        let approved = fixed(&["https://a", "https://b"], "https://t");
        assert_eq!(approved.difference(&fixed(&["https://a"], "https://t")), None, "less is no harm");
        assert!(approved.difference(&fixed(&["https://c"], "https://t")).unwrap().contains("https://c"));
        assert!(approved.difference(&fixed(&["https://a"], "https://u")).unwrap().contains("token endpoint"));
        let revoking = Fixed { revoke: Some("https://r".to_owned()), ..fixed(&["https://c"], "https://t") };
        assert!(approved.difference(&revoking).unwrap().contains("revokes"));
        let both = approved.clone().with(revoking.clone());
        assert_eq!((both.difference(&approved), both.difference(&revoking)), (None, None));
        assert!(both.difference(&fixed(&["https://d"], "https://t")).unwrap().contains("https://d"));
    }

    #[test]
    fn shows_nothing_of_what_it_holds() {
        let set = set(r#"{"access_token":"s3cret-a","refresh_token":"s3cret-r"}"#);
        assert!(!format!("{set:?}").contains("s3cret"));
    }
}
