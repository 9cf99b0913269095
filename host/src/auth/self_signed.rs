//! A short-lived token that the host signs for each while it serves, as an app's: a JWT as a bearer credential.

use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::digest;
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use super::jwt;
use crate::auth::facts::SelfSignedFacts;
use crate::error::Result;
use crate::time::Timestamp;

/// Seconds that a token is valid where the manifest does not say.
pub(crate) const LIFETIME_S: u64 = 300;
/// Most seconds that a token may be valid.
pub(crate) const LIFETIME_S_MAX: u64 = 3600;
/// Milliseconds before its end from which a token is made anew: as long as a request may take.
const EARLY_MS: u64 = 60_000;

#[derive(Clone, Debug)]
pub(super) struct SelfSigned {
    facts: SelfSignedFacts,
    held: Arc<Mutex<Option<Held>>>,
}

struct Held {
    /// A hash of what it was made of.
    of: Vec<u8>,
    at: Timestamp,
    until: Timestamp,
    token: Zeroizing<String>,
}

impl std::fmt::Debug for Held {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Held(until {:?})", self.until)
    }
}

impl SelfSigned {
    pub(super) fn new(facts: &SelfSignedFacts) -> Self {
        Self { facts: facts.clone(), held: Arc::default() }
    }

    /// A token that is valid now; the same as before, if that is good for a while and made of the same.
    pub(super) fn token(&self, values: &[Zeroizing<String>], now: Timestamp) -> Result<Option<Zeroizing<String>>> {
        let of = fingerprint(values);
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(held) = held.as_ref().filter(|held| held.of == of && held.serves(now)) {
            return Ok(Some(held.token.clone()));
        }
        let mut values = values.iter();
        let Some(key) = values.next() else { return Ok(None) };
        let facts = &self.facts;
        let mut next = |named: &Option<String>| named.as_ref().and_then(|_| values.next()).map(|value| value.as_str());
        let (key_id, issuer, subject) = (next(&facts.key_id), next(&facts.issuer), next(&facts.subject));
        let mut claims: Map<String, Value> = facts.claims.clone();
        let named = [("iss", issuer), ("sub", subject), ("aud", facts.audience.as_deref())];
        for (claim, value) in named.into_iter().filter_map(|(claim, value)| Some((claim, value?))) {
            claims.insert(claim.to_owned(), value.into());
        }
        let until = stamp(&mut claims, facts.lifetime_s.unwrap_or(LIFETIME_S), now);
        let token = jwt::sign(&facts.algorithm, key, &Value::Object(claims), key_id)?;
        *held = Some(Held { of, at: now, until, token: token.clone() });
        Ok(Some(token))
    }
}

impl Held {
    fn serves(&self, now: Timestamp) -> bool {
        // Before it was made the clock was another, and what it says of the end is not to be relied on.
        now >= self.at && self.until.since(now) > EARLY_MS
    }
}

/// Says when a token begins and ends, and answers the end. It begins a moment ago, for a provider's clock may be late.
pub(crate) fn stamp(claims: &mut Map<String, Value>, lifetime_s: u64, now: Timestamp) -> Timestamp {
    let now_s = now.as_millis() / 1000;
    let end_s = now_s.saturating_add(lifetime_s);
    claims.insert("iat".to_owned(), now_s.saturating_sub(30).into());
    claims.insert("exp".to_owned(), end_s.into());
    Timestamp::from_millis(end_s.saturating_mul(1000))
}

fn fingerprint(values: &[Zeroizing<String>]) -> Vec<u8> {
    let mut context = digest::Context::new(&digest::SHA256);
    for value in values {
        context.update(&(value.len() as u64).to_be_bytes());
        context.update(value.as_bytes());
    }
    context.finish().as_ref().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> SelfSignedFacts {
        toml::from_str(
            "secret='k'\nalgorithm='HS256'\nkey_id='id'\nissuer='app'\naudience='them'\nlifetime_s=600\norigins=[]\n[claims]\nadmin=true",
        )
        .unwrap()
    }

    fn values(list: [&str; 3]) -> Vec<Zeroizing<String>> {
        list.map(|value| Zeroizing::new(value.to_owned())).to_vec()
    }

    #[test]
    fn a_token_serves_until_shortly_before_its_end() {
        let (scheme, at) = (SelfSigned::new(&facts()), |seconds: u64| Timestamp::from_millis(seconds * 1000));
        let made = |seconds, key: &str| scheme.token(&values([key, "k1", "app-7"]), at(seconds)).unwrap().unwrap();
        let first = made(1000, "one");
        assert_eq!(*made(1539, "one"), *first);
        let second = made(1540, "one");
        assert_ne!(*second, *first);
        assert_ne!(*made(1541, "two"), *second, "another key is another token");
        let back = made(10, "two");
        assert!(jwt::verify(&back, &jwt::Keys::one("HS256", "two").unwrap(), &jwt::Rules::default(), at(609)).is_ok());
        assert!(jwt::verify(&back, &jwt::Keys::one("HS256", "two").unwrap(), &jwt::Rules::default(), at(610)).is_err());
        let claims =
            jwt::verify(&first, &jwt::Keys::one("HS256", "one").unwrap(), &jwt::Rules::default(), at(1000)).unwrap();
        assert_eq!((&claims["iss"], &claims["aud"], &claims["admin"]), (&"app-7".into(), &"them".into(), &true.into()));
        assert_eq!((claims["iat"].as_u64(), claims["exp"].as_u64()), (Some(970), Some(1600)));
        assert_eq!(jwt::key_id(&first).unwrap().as_deref(), Some("k1"));
        assert!(!format!("{scheme:?}").contains(first.as_str()));
    }
}
