//! `secrets`: what can be done with a secret without reading it, as far as its manifest says (R13).

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value};
use zeroize::Zeroizing;

use super::Call;
use crate::auth::Credential;
use crate::auth::hmac::{self, Function};
use crate::auth::jwt::{self, Keys, Rules};
use crate::auth::self_signed::{LIFETIME_S, stamp};
use crate::bindings::wharfage::plugin::secrets::{Algorithm, Host};
use crate::bindings::wharfage::plugin::types;
use crate::error::{Error, Result, rule};
use crate::manifest::{JwtFacts, Purpose, SecretFacts};
use crate::observe::audit::AuditAction;
use crate::outbound::tape::Tape;
use crate::outbound::{CallContext, Made, Outbound};
use crate::time::Timestamp;
use crate::vault::Secrets;

type Facts = BTreeMap<String, SecretFacts>;

impl Host for Call {
    async fn is_available(&mut self, name: String) -> bool {
        // Public keys are no value; they are asked for when a token is there to be checked.
        if self.secrets.is_granted(&name) && self.facts.get(&name).is_some_and(SecretFacts::has_key_set) {
            return true;
        }
        for purpose in [Purpose::Credential, Purpose::Sign, Purpose::Verify] {
            if self.secrets.is_available(&name, purpose).await {
                return true;
            }
        }
        false
    }

    async fn sign(&mut self, name: String, algorithm: Algorithm, data: Vec<u8>) -> Result<Vec<u8>, types::Error> {
        let ticks = &mut self.spent.ticks;
        let signed = sign(&self.secrets, &self.facts, &name, algorithm.into(), &data, ticks).await;
        self.told(&name, AuditAction::Sign, signed)
    }

    async fn verify(
        &mut self,
        name: String,
        algorithm: Algorithm,
        data: Vec<u8>,
        mac: Vec<u8>,
    ) -> Result<bool, types::Error> {
        let ticks = &mut self.spent.ticks;
        let verified = verify(&self.secrets, &self.facts, &name, algorithm.into(), &data, &mac, ticks).await;
        self.told(&name, AuditAction::Verify, verified)
    }

    async fn make_jwt(&mut self, name: String, claims: String) -> Result<String, types::Error> {
        let made = match self.spent.made.len() {
            full if full >= MADE_MAX => {
                let message = format!("the limit made_tokens of {MADE_MAX} per call is reached");
                Err(Error::limit("made_tokens", message).with_details(crate::limits::FIXED))
            }
            before => {
                // In a replay there are no keys, and nothing is sent.
                let is_played = self.outbound.tape.as_ref().is_some_and(Tape::is_strict);
                let key = if is_played { None } else { Some(&*self.secrets) };
                let claims_max = self.limits.claims_bytes;
                make_jwt(key, &self.facts, self.clock.wall(), before + 1, &name, &claims, claims_max).await
            }
        };
        let made = made.map(|made| {
            let handle = made.credential.name.clone();
            self.spent.made.push(Arc::new(made));
            handle
        });
        self.told(&name, AuditAction::Sign, made)
    }

    async fn verify_jwt(&mut self, name: String, token: String) -> Result<String, types::Error> {
        let now = self.clock.wall();
        let verified = verify_jwt(&self.secrets, &self.facts, &self.outbound, &self.context, now, &name, &token).await;
        self.told(&name, AuditAction::Verify, verified)
    }
}

/// Tokens that one call may have made; as many of one secret as the mask remembers.
pub(crate) const MADE_MAX: usize = 8;

/// Makes a token. What the manifest says of it a plugin cannot say otherwise, and when it ends only the host says.
async fn make_jwt(
    secrets: Option<&Secrets>,
    all: &Facts,
    now: Timestamp,
    number: usize,
    name: &str,
    claims: &str,
    claims_bytes_max: u64,
) -> Result<Made> {
    let key = match secrets {
        Some(secrets) => Some(secrets.value(name, Purpose::Sign).await?),
        None => None,
    };
    let facts = token_facts(all, name)?;
    if claims.len() as u64 > claims_bytes_max {
        let message = format!("the claims are longer than the limit claims_bytes of {claims_bytes_max}");
        return Err(Error::limit("claims_bytes", message).with_more("claims_bytes"));
    }
    let read = serde_json::from_str(claims);
    let mut claims: Map<String, Value> =
        read.map_err(|_| Error::invalid("/claims", "the claims are no JSON object"))?;
    for claim in ["iat", "exp"] {
        if claims.contains_key(claim) {
            return Err(Error::invalid(format!("/claims/{claim}"), "when a token begins and ends the host says"));
        }
    }
    let audience = match facts.audience.as_slice() {
        [] => None,
        [one] => Some(Value::from(one.as_str())),
        several => Some(several.to_vec().into()),
    };
    for (claim, fixed) in [("iss", facts.issuer.clone().map(Value::from)), ("aud", audience)] {
        let Some(fixed) = fixed else { continue };
        if claims.get(claim).is_some_and(|said| *said != fixed) {
            return Err(Error::denied(
                rule::SECRET,
                format!("tokens of the secret `{name}` say `{claim}` as the manifest has it"),
                format!("It says {fixed}, in [secrets.{name}.jwt] of plugin.toml."),
            ));
        }
        claims.insert(claim.to_owned(), fixed);
    }
    stamp(&mut claims, facts.lifetime_s.unwrap_or(LIFETIME_S), now);
    let token = match (&key, secrets) {
        (Some(key), Some(secrets)) => {
            let token = jwt::sign(&facts.algorithm, key, &Value::Object(claims), facts.key_id.as_deref())?;
            secrets.learn(&format!("made of {name}"), [&token]);
            token
        }
        _ => Zeroizing::new("taped".to_owned()),
    };
    Ok(Made { credential: Credential::made(&format!("jwt:{number}"), facts.origins.clone()), token })
}

async fn verify_jwt(
    secrets: &Secrets,
    all: &Facts,
    outbound: &Outbound,
    context: &CallContext,
    now: Timestamp,
    name: &str,
    token: &str,
) -> Result<String> {
    let is_set = secrets.is_granted(name) && all.get(name).is_some_and(SecretFacts::has_key_set);
    let keys = if is_set {
        let facts = token_facts(all, name)?;
        let sets = outbound.key_sets.as_ref().ok_or_else(|| Error::internal("there are no key sets"))?;
        let endpoint = facts.jwks.as_deref().unwrap_or_default();
        sets.keys(context, endpoint, &facts.algorithm, jwt::key_id(token)?.as_deref()).await?
    } else {
        let versions = secrets.versions(name, Purpose::Verify).await?;
        Keys::one_of(&token_facts(all, name)?.algorithm, &versions)?
    };
    let facts = token_facts(all, name)?;
    let mut audience = facts.audience.clone();
    if let Some(secret) = &facts.audience_secret {
        audience.push(secrets.value(secret, Purpose::Credential).await?.to_string());
    }
    let leeway_s = facts.leeway_s.unwrap_or(jwt::LEEWAY_S);
    let rules = Rules { issuer: facts.issuer.clone(), audience, scopes: facts.scopes.clone(), leeway_s };
    Ok(jwt::verify(token, &keys, &rules, now)?.to_string())
}

/// What the manifest says of tokens of a secret.
fn token_facts<'a>(all: &'a Facts, name: &str) -> Result<&'a JwtFacts> {
    all.get(name).and_then(|facts| facts.jwt.as_ref()).ok_or_else(|| {
        Error::denied(
            rule::SECRET,
            format!("the secret `{name}` is not for tokens"),
            format!("To allow it, set in [secrets.{name}] of plugin.toml instead of algorithms and template:   jwt = {{ algorithm = \"…\", … }}"),
        )
    })
}

impl Call {
    /// What came of using a secret, with a word to the audit trail, also where it is refused.
    fn told<T>(&mut self, name: &str, action: AuditAction, used: Result<T>) -> Result<T, types::Error> {
        self.outbound.tell_use(&self.context, name, action, used.as_ref().map(|_| ()));
        used.map_err(|error| self.keep(error))
    }
}

async fn sign(
    secrets: &Secrets,
    all: &Facts,
    name: &str,
    function: Function,
    data: &[u8],
    ticks: &mut u64,
) -> Result<Vec<u8>> {
    let value = secrets.value(name, Purpose::Sign).await?;
    let template = allowed(all, name, function)?.template.as_deref().unwrap_or_default();
    if hmac::is_covered(template, data) {
        return Ok(hash(function, value.as_bytes(), data, ticks).await);
    }
    let template = toml::Value::from(template);
    Err(Error::denied(
        rule::SECRET,
        format!("the secret `{name}` does not sign data of this form"),
        format!(
            "It signs what fits template = {template}. To allow it, set in [secrets.{name}] of plugin.toml, with `*` for what varies:   template = \"…\""
        ),
    ))
}

async fn verify(
    secrets: &Secrets,
    all: &Facts,
    name: &str,
    function: Function,
    data: &[u8],
    mac: &[u8],
    ticks: &mut u64,
) -> Result<bool> {
    let values = secrets.versions(name, Purpose::Verify).await?;
    allowed(all, name, function)?;
    // All of them are compared, so that the time tells nobody which one it was.
    let mut is_right = false;
    for value in &values {
        is_right |= hmac::is_same(&hash(function, value.as_bytes(), data, ticks).await, mac);
    }
    Ok(is_right)
}

/// The hash of data of any length. Between its parts it gives way to whoever waits for this thread, and some of them count
/// as a tick of computing: the instance itself sees one tick, however long it took.
async fn hash(function: Function, key: &[u8], data: &[u8], ticks: &mut u64) -> Vec<u8> {
    let mut hashing = function.begin(key);
    for (number, part) in data.chunks(PART_BYTES).enumerate() {
        hashing.add(part);
        if part.len() == PART_BYTES {
            *ticks += u64::from(number % PARTS_PER_TICK == PARTS_PER_TICK - 1);
            tokio::task::yield_now().await;
        }
    }
    hashing.end()
}

/// Bytes that are hashed at a time: some milliseconds' work at most.
const PART_BYTES: usize = 1 << 20;

/// So many parts are about a tick's work.
const PARTS_PER_TICK: usize = 4;

/// What the manifest says of a secret, if it may be asked for this function.
fn allowed<'a>(all: &'a Facts, name: &str, function: Function) -> Result<&'a SecretFacts> {
    let facts = all.get(name).ok_or_else(|| Error::internal("a granted secret is not in the manifest"))?;
    if facts.functions().contains(&function) {
        return Ok(facts);
    }
    let function = function.name();
    if facts.jwt.is_some() {
        return Err(Error::denied(
            rule::SECRET,
            format!("the secret `{name}` is for tokens and nothing else"),
            "One use a secret: a hash of its key would sign any token.",
        ));
    }
    Err(Error::denied(
        rule::SECRET,
        format!("the secret `{name}` may not be asked for {function}"),
        format!("To allow it, set in [secrets.{name}] of plugin.toml:   algorithms = [\"{function}\"]"),
    ))
}

impl From<Algorithm> for Function {
    fn from(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::HmacSha1 => Self::Sha1,
            Algorithm::HmacSha256 => Self::Sha256,
            Algorithm::HmacSha512 => Self::Sha512,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The largest data that a plugin may hand over held its thread for as long as the hash took.
    #[test]
    fn much_data_is_hashed_in_parts_that_give_way() {
        let (key, data) = (b"Jefe", vec![7; (4 << 20) + 1]);
        for function in Function::ALL {
            let mut ticks = 0;
            let (made, given_way) = {
                let mut hashing = std::pin::pin!(hash(function, key, &data, &mut ticks));
                let mut context = std::task::Context::from_waker(std::task::Waker::noop());
                let mut given_way = 0;
                loop {
                    match hashing.as_mut().poll(&mut context) {
                        std::task::Poll::Ready(made) => break (made, given_way),
                        std::task::Poll::Pending => given_way += 1,
                    }
                }
            };
            assert_eq!((made, given_way, ticks), (function.mac(key, &data), 4, 1), "four parts count as a tick");
        }
    }
}
