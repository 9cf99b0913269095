//! JSON Web Tokens (RFC 7519): made with a key, and checked.
//!
//! A key has one algorithm, and what a token says of itself is only compared with it: `none`, a public key taken for a
//! shared secret and a weaker algorithm than was meant are so all one refusal. Times are those of the host's clock.
//! Checking says what is wrong in words, for whoever configures it; it never shows the token.

use std::sync::Once;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header};
use serde_json::Value;
use zeroize::Zeroizing;

use crate::error::{Error, Kind, Result};
use crate::time::Timestamp;

/// Most bytes of a token that is checked.
pub(crate) const JWT_BYTES_MAX: usize = 16 << 10;
/// Most keys of a key set; those beyond are not read.
pub(crate) const KEYS_MAX: usize = 64;
/// Seconds by which the clocks of two machines may differ.
pub(crate) const LEEWAY_S: u64 = 60;

/// The algorithms there are, by their names in RFC 7518 and RFC 8037.
const ALGORITHMS: [(&str, Algorithm); 12] = [
    ("HS256", Algorithm::HS256),
    ("HS384", Algorithm::HS384),
    ("HS512", Algorithm::HS512),
    ("RS256", Algorithm::RS256),
    ("RS384", Algorithm::RS384),
    ("RS512", Algorithm::RS512),
    ("PS256", Algorithm::PS256),
    ("PS384", Algorithm::PS384),
    ("PS512", Algorithm::PS512),
    ("ES256", Algorithm::ES256),
    ("ES384", Algorithm::ES384),
    ("EdDSA", Algorithm::EdDSA),
];

/// Whether tokens can be made and checked with an algorithm of this name.
pub(crate) fn is_algorithm(name: &str) -> bool {
    ALGORITHMS.iter().any(|(known, _)| *known == name)
}

/// The names of the algorithms there are, for messages.
pub(crate) fn algorithm_names() -> String {
    ALGORITHMS.map(|(name, _)| name).join(", ")
}

/// Makes a token: `key` is a secret's text for HS256 and its like, and a private key in PEM (PKCS #8; for RS and PS
/// PKCS #1 as well) for the others.
///
/// # Errors
/// [`Kind::Configuration`] for an unknown algorithm, [`Kind::CredentialUnavailable`] for a key that does not fit it.
pub(crate) fn sign(algorithm: &str, key: &str, claims: &Value, key_id: Option<&str>) -> Result<Zeroizing<String>> {
    install_backend();
    let chosen = named(algorithm)?;
    // What the library says of a key it cannot read is not shown: it could quote it.
    let unfit = || {
        Error::new(Kind::CredentialUnavailable, format!("the key cannot sign with {algorithm}")).with_details(
            "HS256, HS384 and HS512 take the secret as it is; the others take a private key in PEM (-----BEGIN PRIVATE KEY-----) of their own kind",
        )
    };
    let pem = key.trim().as_bytes();
    let key = match family(chosen) {
        Family::Shared => EncodingKey::from_secret(key.as_bytes()),
        Family::Rsa => EncodingKey::from_rsa_pem(pem).map_err(|_| unfit())?,
        Family::Curve => EncodingKey::from_ec_pem(pem).map_err(|_| unfit())?,
        Family::Edwards => EncodingKey::from_ed_pem(pem).map_err(|_| unfit())?,
    };
    let header = Header { kid: key_id.map(str::to_owned), ..Header::new(chosen) };
    jsonwebtoken::encode(&header, claims, &key).map(Zeroizing::new).map_err(|_| unfit())
}

/// What a token must say.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rules {
    /// Who must have made it.
    pub(crate) issuer: Option<String>,
    /// For whom it must be: one of these.
    pub(crate) audience: Vec<String>,
    /// What it must allow: all of these.
    pub(crate) scopes: Vec<String>,
    /// Seconds by which clocks may differ.
    pub(crate) leeway_s: u64,
}

/// The keys that tokens may be signed with, each for one algorithm.
#[derive(Clone, Default)]
pub(crate) struct Keys(Vec<Key>);

#[derive(Clone)]
struct Key {
    id: Option<String>,
    algorithm: Algorithm,
    /// Itself; of one that is changed, each of its versions.
    versions: Vec<DecodingKey>,
}

impl Keys {
    /// One key: a shared secret's text, or a public key in PEM.
    ///
    /// # Errors
    /// As for [`sign`].
    pub(crate) fn one(algorithm: &str, key: &str) -> Result<Self> {
        let chosen = named(algorithm)?;
        let unfit = |_| {
            Error::new(Kind::CredentialUnavailable, format!("the key cannot check what {algorithm} has signed"))
                .with_details("It takes a public key in PEM (-----BEGIN PUBLIC KEY-----), and for HS256 and its like the secret as it is")
        };
        let pem = key.trim().as_bytes();
        let key = match family(chosen) {
            Family::Shared => DecodingKey::from_secret(key.as_bytes()),
            Family::Rsa => DecodingKey::from_rsa_pem(pem).map_err(unfit)?,
            Family::Curve => DecodingKey::from_ec_pem(pem).map_err(unfit)?,
            Family::Edwards => DecodingKey::from_ed_pem(pem).map_err(unfit)?,
        };
        Ok(Self(vec![Key { id: None, algorithm: chosen, versions: vec![key] }]))
    }

    /// The same in all its versions, any of which may have signed. One that does not fit is passed over where another does.
    ///
    /// # Errors
    /// As for [`sign`].
    pub(crate) fn one_of(algorithm: &str, versions: &[Zeroizing<String>]) -> Result<Self> {
        let (mut known, mut unfit) = (Vec::new(), None);
        for version in versions {
            match Self::one(algorithm, version) {
                Ok(keys) => known.extend(keys.0.into_iter().flat_map(|key| key.versions)),
                Err(error) => unfit = unfit.or(Some(error)),
            }
        }
        match unfit {
            Some(error) if known.is_empty() => Err(error),
            _ => Ok(Self(vec![Key { id: None, algorithm: named(algorithm)?, versions: known }])),
        }
    }

    /// The keys of a set (RFC 7517) that are for signatures with this algorithm. One that is of another kind, or that
    /// cannot be read, is passed over (R24); a shared secret has no place in a public set.
    ///
    /// # Errors
    /// [`Kind::SchemaViolation`] where it is no key set, [`Kind::Configuration`] for an unknown algorithm.
    pub(crate) fn of_set(algorithm: &str, set: &[u8]) -> Result<Self> {
        let chosen = named(algorithm)?;
        let no_set = || Error::new(Kind::SchemaViolation, "the provider's key set is no JSON with a list `keys`");
        let set: Value = serde_json::from_slice(set).map_err(|_| no_set())?;
        let listed = set.get("keys").and_then(Value::as_array).ok_or_else(no_set)?;
        let key = |value: &Value| {
            // A key of a kind that is not known yet is no reason to refuse the others.
            let says = value.get("alg").and_then(Value::as_str);
            if says.is_some_and(|says| says != algorithm) {
                return None;
            }
            let jwk: Jwk = serde_json::from_value(value.clone()).ok()?;
            let is_for_signatures = !matches!(jwk.common.public_key_use, Some(PublicKeyUse::Encryption));
            let key = DecodingKey::from_jwk(&jwk).ok()?;
            (is_for_signatures && fits(&jwk.algorithm, chosen)).then(|| Key {
                id: jwk.common.key_id,
                algorithm: chosen,
                versions: vec![key],
            })
        };
        Ok(Self(listed.iter().take(KEYS_MAX).filter_map(key).collect()))
    }

    /// Whether a token could be signed with one of these, as far as its key id says.
    pub(crate) fn has(&self, id: Option<&str>) -> bool {
        self.find(id).is_some()
    }

    /// The key of this id; without one, the only key there is.
    fn find(&self, id: Option<&str>) -> Option<&Key> {
        match (id, self.0.as_slice()) {
            // A key that was given by hand has no id, and is the one whatever a token calls it.
            (_, [only]) if only.id.is_none() => Some(only),
            (Some(id), keys) => keys.iter().find(|key| key.id.as_deref() == Some(id)),
            (None, [only]) => Some(only),
            (None, _) => None,
        }
    }
}

/// The id of the key that a token says it was signed with.
///
/// # Errors
/// As for [`verify`], for what is no token.
pub(crate) fn key_id(token: &str) -> Result<Option<String>> {
    Ok(Parts::of(token)?.text("kid"))
}

/// Checks a token and answers what it says.
///
/// # Errors
/// [`Kind::InvalidRequest`] with what is wrong: its form, algorithm, key, signature, `exp`, `nbf`, `iss`, `aud` or the
/// scopes that are missing.
pub(crate) fn verify(token: &str, keys: &Keys, rules: &Rules, now: Timestamp) -> Result<Value> {
    install_backend();
    let parts = Parts::of(token)?;
    if parts.header.get("crit").is_some() {
        return Err(refused("says that something must be understood (`crit`) that is not"));
    }
    let Some(key) = keys.find(parts.text("kid").as_deref()) else {
        return Err(refused("names no key (`kid`) that is known here"));
    };
    let expected = ALGORITHMS.iter().find(|(_, algorithm)| *algorithm == key.algorithm).map_or("", |(name, _)| *name);
    let says = parts.text("alg").unwrap_or_default();
    if says != expected {
        let says = crate::text::shown(&says);
        return Err(refused(&format!("is signed with `{says}`, where its key is for {expected} and nothing else")));
    }
    let is_signed_with = |version: &DecodingKey| {
        jsonwebtoken::crypto::verify(parts.signature, parts.message.as_bytes(), version, key.algorithm).unwrap_or(false)
    };
    if !key.versions.iter().any(is_signed_with) {
        return Err(refused("is not signed with the key"));
    }
    let claims =
        json_of(parts.claims).filter(Value::is_object).ok_or_else(|| refused("says nothing that is a JSON object"))?;
    check_times(&claims, rules.leeway_s, now)?;
    check_names(&claims, rules)?;
    Ok(claims)
}

/// When it must be over, or not have begun (RFC 7519, 4.1.4 and 4.1.5). Who signs without an end signs for ever, so an
/// end is asked for.
fn check_times(claims: &Value, leeway_s: u64, now: Timestamp) -> Result<()> {
    let seconds = |name: &str| match claims.get(name) {
        None => Ok(None),
        Some(value) => match value.as_f64() {
            Some(seconds) => Ok(Some(seconds)),
            None => Err(refused(&format!("has a time `{name}` that is no number"))),
        },
    };
    let now_s = now.as_millis() as f64 / 1000.0;
    let leeway_s = leeway_s as f64;
    match seconds("exp")? {
        None => return Err(refused("does not say when it ends (`exp`)")),
        Some(end) if now_s >= end + leeway_s => return Err(refused("has ended (`exp`)")),
        Some(_) => {}
    }
    match seconds("nbf")? {
        Some(start) if now_s + leeway_s < start => Err(refused("is not valid yet (`nbf`)")),
        _ => Ok(()),
    }
}

fn check_names(claims: &Value, rules: &Rules) -> Result<()> {
    if let Some(issuer) = &rules.issuer
        && claims.get("iss").and_then(Value::as_str) != Some(issuer)
    {
        return Err(refused(&format!("is not from `{issuer}` (`iss`)")));
    }
    // One text or a list of them (RFC 7519, 4.1.3).
    let audience: Vec<&str> = match claims.get("aud") {
        Some(Value::String(one)) => vec![one],
        Some(Value::Array(several)) => several.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    if !rules.audience.is_empty() && !rules.audience.iter().any(|wanted| audience.contains(&wanted.as_str())) {
        // For whom it must be may be the value of a secret.
        return Err(refused("is not for whom it must be (`aud`)"));
    }
    let allowed = scopes(claims);
    let missing: Vec<&str> =
        rules.scopes.iter().map(String::as_str).filter(|wanted| !allowed.contains(wanted)).collect();
    if !missing.is_empty() {
        return Err(refused(&format!("lacks the scope `{}`", missing.join("`, `"))));
    }
    Ok(())
}

/// What a token allows: `scope` (RFC 8693, 4.2) or `scp`, one text with spaces or a list.
fn scopes(claims: &Value) -> Vec<&str> {
    let mut all = Vec::new();
    for name in ["scope", "scp", "scopes"] {
        match claims.get(name) {
            Some(Value::String(text)) => all.extend(text.split_whitespace()),
            Some(Value::Array(list)) => all.extend(list.iter().filter_map(Value::as_str)),
            _ => {}
        }
    }
    all
}

/// A token in its parts, not yet believed.
struct Parts<'a> {
    header: Value,
    message: &'a str,
    claims: &'a str,
    signature: &'a str,
}

impl<'a> Parts<'a> {
    fn of(token: &'a str) -> Result<Self> {
        if token.len() > JWT_BYTES_MAX {
            return Err(refused(&format!("is longer than the limit jwt_bytes, {JWT_BYTES_MAX}")));
        }
        let no_token = || refused("is none: it must be three parts of base64url with dots between them");
        let (message, signature) = token.rsplit_once('.').ok_or_else(no_token)?;
        let (header, claims) = message.split_once('.').ok_or_else(no_token)?;
        let header = json_of(header).filter(Value::is_object).ok_or_else(no_token)?;
        if claims.contains('.') {
            return Err(no_token());
        }
        Ok(Self { header, message, claims, signature })
    }

    fn text(&self, name: &str) -> Option<String> {
        self.header.get(name).and_then(Value::as_str).map(str::to_owned)
    }
}

fn json_of(part: &str) -> Option<Value> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok()
}

fn refused(what: &str) -> Error {
    Error::invalid("/token", format!("the token {what}"))
}

fn named(name: &str) -> Result<Algorithm> {
    ALGORITHMS.iter().find(|(known, _)| *known == name).map(|(_, algorithm)| *algorithm).ok_or_else(|| {
        let name = crate::text::shown(name);
        Error::configuration(format!(
            "`{name}` is no algorithm that tokens are signed with; there are {}",
            algorithm_names()
        ))
    })
}

/// What kind of key an algorithm takes.
enum Family {
    Shared,
    Rsa,
    Curve,
    Edwards,
}

fn family(algorithm: Algorithm) -> Family {
    match algorithm {
        Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512 => Family::Shared,
        Algorithm::ES256 | Algorithm::ES384 => Family::Curve,
        Algorithm::EdDSA => Family::Edwards,
        _ => Family::Rsa,
    }
}

/// Whether a key of a set is of the kind that an algorithm takes.
fn fits(parameters: &AlgorithmParameters, algorithm: Algorithm) -> bool {
    match (family(algorithm), parameters) {
        (Family::Rsa, AlgorithmParameters::RSA(_)) => true,
        (Family::Curve, AlgorithmParameters::EllipticCurve(key)) => match algorithm {
            Algorithm::ES256 => key.curve == EllipticCurve::P256,
            _ => key.curve == EllipticCurve::P384,
        },
        (Family::Edwards, AlgorithmParameters::OctetKeyPair(key)) => key.curve == EllipticCurve::Ed25519,
        _ => false,
    }
}

/// Says once with what the library computes. Where an embedding program has said so already, its choice stands.
fn install_backend() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let _ = jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER.install_default();
    });
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::encoding::AsDer;
    use aws_lc_rs::rand::SystemRandom;
    use aws_lc_rs::{rsa, signature};
    use base64::engine::general_purpose::STANDARD;
    use serde_json::json;

    use super::*;

    /// Made by openssl: a key, and what it signed: iss https://issuer.test, aud us and them, exp 2000, nbf 1000, scope
    /// "read write".
    const MODULUS: &str = "prF_VhzdlbfqEMauGoIhfVcPM4UGiPeExkg_7D5uqgZk_XBGieSvlAwCNrZIC6NhQdilnl1DpERNEb_CSQpj-3dfx4yMp0WXryLqEV_Xw9NSd-wFFIVb3boF7g317Oz4uXS2JfCHK_U1t5ZjMpm0_G5V3dzxzT6n4UN8uUu5Avb2N8GhBtGHNppIucBZynhXz5z9ksxIymwRp83djxKg1hQ2ZIfcCNEt2aJ_mcHAPMdEdljl2YUmGauzjvretUMIhtZa8D-xBL38l0q0EWJKWjbEVAM2Faz3DlHkJHCwRjSnnnO9R7vrvWf0tCFuAEf4DIoTfmIe8-tTpepmh1a74w";
    const RS256: &str = "eyJhbGciOiJSUzI1NiIsImtpZCI6ImsxIn0.eyJpc3MiOiJodHRwczovL2lzc3Vlci50ZXN0IiwiYXVkIjpbInVzIiwidGhlbSJdLCJleHAiOjIwMDAsIm5iZiI6MTAwMCwic2NvcGUiOiJyZWFkIHdyaXRlIn0.C5gr25JKFTbI6J-raF3HN9ixx-nqPSiq4TsGhMHRnjiq6kBjDMQlXcSyYH5sXoKMbMadzbUWmwLgwDbFfyJ3-zgx6Vho4-57onohekdy4BmEqC81ACuFS5KG1TjuZaE2J2pNrEMzNAsUYJXBIFn3TAsXvWH5U-fEs4DzuQ8-hWGOZcCdafpsRbt3BHZyMj8XRdZxxjfkUst7WbaL6voLUywuZA7Ik4jfbwIf60S3vwNXZYb0au5uylUot9P2M8GXl-E5buxtkE0vRRVjxb_whVH_Ruc0oz3AkPG38bCE05T7zCYV7ax04JUE7BHeyfGSZ5c2sFRkaVTZRoPfK8KaNg";
    /// The same claims, signed by `openssl dgst -sha256 -hmac shared-secret-of-the-test`.
    const HS256: &str = "eyJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJodHRwczovL2lzc3Vlci50ZXN0IiwiYXVkIjpbInVzIiwidGhlbSJdLCJleHAiOjIwMDAsIm5iZiI6MTAwMCwic2NvcGUiOiJyZWFkIHdyaXRlIn0.gcJP9-7HKqwMn8CUu6bLqEOFZyQ5vXzezbsV_9lZiXU";
    const SHARED: &str = "shared-secret-of-the-test";

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_millis(seconds * 1000)
    }

    fn shared() -> Keys {
        Keys::one("HS256", SHARED).unwrap()
    }

    fn set(keys: Value) -> Vec<u8> {
        json!({ "keys": keys }).to_string().into_bytes()
    }

    fn foreign_set() -> Vec<u8> {
        set(json!([{"kty": "RSA", "kid": "k1", "alg": "RS256", "use": "sig", "n": MODULUS, "e": "AQAB"}]))
    }

    fn rules() -> Rules {
        Rules { issuer: Some("https://issuer.test".into()), audience: vec!["us".into()], ..Rules::default() }
    }

    fn made(claims: Value) -> String {
        sign("HS256", SHARED, &claims, None).unwrap().to_string()
    }

    fn said(token: &str, keys: &Keys, rules: &Rules, seconds: u64) -> String {
        verify(token, keys, rules, at(seconds))
            .map_or_else(|error| error.message().to_owned(), |claims| claims.to_string())
    }

    /// Private keys in PEM, one for each kind.
    fn private_keys() -> [(&'static str, String); 4] {
        let pem =
            |der: &[u8]| format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", STANDARD.encode(der));
        let random = SystemRandom::new();
        let curve = |algorithm| signature::EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
        let rsa = rsa::KeyPair::generate(rsa::KeySize::Rsa2048).unwrap();
        [
            ("RS256", pem(rsa.as_der().unwrap().as_ref())),
            ("ES256", pem(curve(&signature::ECDSA_P256_SHA256_FIXED_SIGNING).as_ref())),
            ("ES384", pem(curve(&signature::ECDSA_P384_SHA384_FIXED_SIGNING).as_ref())),
            ("EdDSA", pem(signature::Ed25519KeyPair::generate_pkcs8v1(&random).unwrap().as_ref())),
        ]
    }

    fn public(algorithm: &str, key: &str, id: &str) -> Value {
        let pem = key.as_bytes();
        let private = match algorithm {
            "RS256" => EncodingKey::from_rsa_pem(pem),
            "EdDSA" => EncodingKey::from_ed_pem(pem),
            _ => EncodingKey::from_ec_pem(pem),
        };
        let mut jwk = Jwk::from_encoding_key(&private.unwrap(), named(algorithm).unwrap()).unwrap();
        jwk.common.key_id = Some(id.to_owned());
        serde_json::to_value(jwk).unwrap()
    }

    #[test]
    fn what_another_program_signed_is_checked() {
        let keys = Keys::of_set("RS256", &foreign_set()).unwrap();
        let claims = verify(RS256, &keys, &rules(), at(1500)).unwrap();
        assert_eq!(claims["scope"], "read write");
        assert_eq!(verify(HS256, &shared(), &rules(), at(1500)).unwrap(), claims);
        let others = RS256.replace("eyJpc3M", "eyJpc3N");
        assert_eq!(said(&others, &keys, &rules(), 1500), "the token is not signed with the key");
    }

    #[test]
    fn every_kind_of_key_signs_what_its_public_half_accepts() {
        install_backend();
        for (algorithm, key) in private_keys() {
            let token = sign(algorithm, &key, &json!({"exp": 2000, "sub": "me"}), Some("mine")).unwrap();
            let keys = Keys::of_set(algorithm, &set(json!([public(algorithm, &key, "mine")]))).unwrap();
            assert_eq!(verify(&token, &keys, &Rules::default(), at(1)).unwrap()["sub"], "me", "{algorithm}");
            assert_eq!(key_id(&token).unwrap().as_deref(), Some("mine"));
            // Another key of the same kind did not sign it.
            let (_, other) = private_keys().into_iter().find(|(name, _)| *name == algorithm).unwrap();
            let keys = Keys::of_set(algorithm, &set(json!([public(algorithm, &other, "mine")]))).unwrap();
            assert_eq!(
                said(&token, &keys, &Rules::default(), 1),
                "the token is not signed with the key",
                "{algorithm}"
            );
        }
        for algorithm in ["HS256", "HS384", "HS512"] {
            let token = sign(algorithm, SHARED, &json!({"exp": 2000}), None).unwrap();
            assert!(verify(&token, &Keys::one(algorithm, SHARED).unwrap(), &Rules::default(), at(1)).is_ok());
        }
    }

    /// While a key is changed, each of its versions checks.
    #[test]
    fn every_version_of_a_key_checks_what_it_signed() {
        let versions = |texts: &[&str]| texts.iter().map(|text| Zeroizing::new((*text).to_owned())).collect::<Vec<_>>();
        let keys = Keys::one_of("HS256", &versions(&["another", SHARED, "a third"])).unwrap();
        assert!(keys.has(Some("whatever it is called")));
        assert!(verify(HS256, &keys, &rules(), at(1500)).is_ok());
        let strange = sign("HS256", "a fourth", &json!({"exp": 2000}), None).unwrap();
        assert_eq!(said(&strange, &keys, &Rules::default(), 1), "the token is not signed with the key");
        // One that was typed wrong is passed over, and nothing checks where all of them were.
        let der = "MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=";
        let public = format!("-----BEGIN PUBLIC KEY-----\n{der}\n-----END PUBLIC KEY-----");
        assert!(Keys::one_of("EdDSA", &versions(&["s3cret", &public])).is_ok());
        let error = Keys::one_of("EdDSA", &versions(&["s3cret"])).err().unwrap();
        assert!(*error.kind() == Kind::CredentialUnavailable && !format!("{error:?}").contains("s3cret"), "{error:?}");
    }

    #[test]
    fn a_key_that_does_not_fit_is_refused_and_not_shown() {
        for (algorithm, key) in
            [("RS256", "s3cret-text"), ("ES256", "-----BEGIN PRIVATE KEY-----\nAAAA\n"), ("EdDSA", "")]
        {
            let error = sign(algorithm, key, &json!({}), None).unwrap_err();
            assert_eq!(*error.kind(), Kind::CredentialUnavailable, "{algorithm}");
            assert!(!format!("{error:?}").contains("s3cret") && error.details().unwrap().contains("PEM"), "{error:?}");
        }
        for unknown in ["none", "None", "HS1", ""] {
            assert_eq!(*sign(unknown, SHARED, &json!({}), None).unwrap_err().kind(), Kind::Configuration);
            assert!(!is_algorithm(unknown));
        }
    }

    /// RFC 8725, 2.1 and 3.1: the key says the algorithm, not the token.
    #[test]
    fn the_algorithm_is_the_keys() {
        let claims = HS256.split('.').nth(1).unwrap();
        for (header, signature) in
            [(r#"{"alg":"none"}"#, ""), (r#"{"alg":"nOnE"}"#, "AA"), (r"{}", "AA"), (r#"{"alg":7}"#, "AA")]
        {
            let token = format!("{}.{claims}.{signature}", URL_SAFE_NO_PAD.encode(header));
            assert!(
                said(&token, &shared(), &rules(), 1500).contains("its key is for HS256 and nothing else"),
                "{header}"
            );
        }
        // A public key is no shared secret, whatever the token says.
        let modulus_as_secret = sign("HS256", MODULUS, &json!({"exp": 2000}), Some("k1")).unwrap();
        let keys = Keys::of_set("RS256", &foreign_set()).unwrap();
        assert!(said(&modulus_as_secret, &keys, &Rules::default(), 1).contains("is for RS256 and nothing else"));
        // A weaker hash of the same kind is another algorithm.
        let weaker = sign("HS256", SHARED, &json!({"exp": 2000}), None).unwrap();
        assert!(said(&weaker, &Keys::one("HS512", SHARED).unwrap(), &Rules::default(), 1).contains("for HS512"));
    }

    #[test]
    fn guide_s39_a_token_without_issuer_or_audience_passed() {
        for claims in [
            json!({"exp": 2000}),
            json!({"exp": 2000, "iss": "https://issuer.test"}),
            json!({"exp": 2000, "aud": "us"}),
            json!({"exp": 2000, "iss": "https://other.test", "aud": "us"}),
            json!({"exp": 2000, "iss": "https://issuer.test", "aud": "them"}),
            json!({"exp": 2000, "iss": ["https://issuer.test"], "aud": {"us": 1}}),
        ] {
            let said = said(&made(claims.clone()), &shared(), &rules(), 1);
            assert!(said.contains("is not from") || said.contains("is not for"), "{claims}: {said}");
        }
        let good = json!({"exp": 2000, "iss": "https://issuer.test", "aud": ["them", "us"]});
        assert!(verify(&made(good), &shared(), &rules(), at(1)).is_ok());
    }

    #[test]
    fn for_whom_a_token_must_be_is_not_told() {
        let wants = Rules { audience: vec!["s3cret".into(), "us".into()], ..Rules::default() };
        let said = said(&made(json!({"exp": 2000, "aud": "them"})), &shared(), &wants, 1);
        assert_eq!(said, "the token is not for whom it must be (`aud`)");
    }

    #[test]
    fn guide_s39_scopes_as_a_list_were_not_read() {
        let wants = Rules { scopes: vec!["read".into(), "write".into()], ..Rules::default() };
        for scopes in [
            json!({"scope": "write read"}),
            json!({"scp": ["read", "write"]}),
            json!({"scope": ["write", "read", "x"]}),
        ] {
            let mut claims = scopes;
            claims["exp"] = json!(2000);
            assert!(verify(&made(claims), &shared(), &wants, at(1)).is_ok());
        }
        for (scopes, missing) in
            [(json!("read"), "`write`"), (json!(["reader", "write"]), "`read`"), (json!(7), "`read`, `write`")]
        {
            let said = said(&made(json!({"exp": 2000, "scope": scopes})), &shared(), &wants, 1);
            assert_eq!(said, format!("the token lacks the scope {missing}"));
        }
    }

    #[test]
    fn times_hold_to_the_second_of_the_leeway() {
        let wants = Rules { leeway_s: 60, ..Rules::default() };
        let token = made(json!({"exp": 2000, "nbf": 1000}));
        for (seconds, expected) in [(939, "not valid yet"), (940, "exp"), (2059, "exp"), (2060, "has ended")] {
            let said = said(&token, &shared(), &wants, seconds);
            assert!(said.contains(expected) && said.contains("the token") != (expected == "exp"), "{seconds}: {said}");
        }
        assert!(said(&made(json!({})), &shared(), &wants, 1).contains("does not say when it ends"));
        assert!(said(&made(json!({"exp": "2000"})), &shared(), &wants, 1).contains("no number"));
        assert!(said(&made(json!({"exp": 2000, "nbf": []})), &shared(), &wants, 1).contains("no number"));
    }

    #[test]
    fn a_set_holds_the_keys_that_fit() {
        install_backend();
        let [(_, rsa), (_, curve), (_, larger), (_, edwards)] = private_keys();
        let mut encrypts = public("RS256", &rsa, "encrypts");
        encrypts["use"] = json!("enc");
        let all = set(json!([
            {"kty": "oct", "kid": "shared", "k": "c2VjcmV0"},
            {"kty": "something-new", "kid": "new"},
            "text",
            encrypts,
            public("RS256", &rsa, "rsa"),
            public("ES256", &curve, "curve"),
            public("ES384", &larger, "larger"),
            public("EdDSA", &edwards, "edwards"),
        ]));
        for (algorithm, id) in [("RS256", "rsa"), ("ES256", "curve"), ("ES384", "larger"), ("EdDSA", "edwards")] {
            let keys = Keys::of_set(algorithm, &all).unwrap();
            let ids: Vec<_> = keys.0.iter().map(|key| key.id.as_deref().unwrap()).collect();
            assert_eq!(ids, [id], "{algorithm}");
            assert!(keys.has(Some(id)) && keys.has(None) && !keys.has(Some("other")));
        }
        assert!(Keys::of_set("HS256", &all).unwrap().0.is_empty(), "a public set holds no shared secret");
        for garbage in ["", "<html>", "[]", r#"{"keys": 7}"#] {
            assert_eq!(*Keys::of_set("RS256", garbage.as_bytes()).err().unwrap().kind(), Kind::SchemaViolation);
        }
    }

    #[test]
    fn no_input_breaks_it() {
        let part = |json: &str| URL_SAFE_NO_PAD.encode(json);
        for token in [
            String::new(),
            "a.b".into(),
            "a.b.c.d".into(),
            "...".into(),
            "é.é.é".into(),
            HS256.replace('.', ".."),
            format!("{}.{}.", part("[]"), part("{}")),
            format!("{}.{}.AA", part(r#"{"alg":"HS256","crit":["exp"]}"#), part("{}")),
            "x".repeat(JWT_BYTES_MAX + 1),
        ] {
            let error = verify(&token, &shared(), &Rules::default(), at(1)).unwrap_err();
            assert!(matches!(error.kind(), Kind::InvalidRequest(_)), "{token}");
        }
        let list = sign("HS256", SHARED, &json!(["exp"]), None).unwrap();
        assert!(said(&list, &shared(), &Rules::default(), 1).contains("JSON object"));
    }
}
