//! `[secrets.<name>]` of a manifest: what a secret is for, and what may be signed or checked with it.

use serde::Deserialize;

use super::Manifest;
use super::credential::check_signing;
use crate::auth::hmac::Function;
use crate::text::shown;

/// A secret that a plugin names.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct SecretFacts {
    /// What it is and where a person gets it.
    #[serde(default)]
    pub description: String,
    /// What it may be used for.
    #[serde(default)]
    pub purpose: Purpose,
    /// Days after which it should be replaced, where the provider says so; `wharfage secret age` reminds of it.
    pub max_age_days: Option<u32>,
    /// The keyed hashes that may be asked for, as `hmac-sha256`; for verifying, every one when empty.
    #[serde(default)]
    pub algorithms: Vec<String>,
    /// What may be signed: text in which `*` stands for any bytes.
    pub template: Option<String>,
    /// The tokens that are made or checked with it, instead of keyed hashes.
    pub jwt: Option<JwtFacts>,
    /// Who says so.
    #[serde(default)]
    pub source: String,
    /// When that was read.
    #[serde(default)]
    pub date: String,
}

/// Tokens (RFC 7519) that a secret makes, or checks.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct JwtFacts {
    /// RS256, ES256 and their like: the one that the key is for.
    pub algorithm: String,
    /// The key's id, written into tokens that are made.
    pub key_id: Option<String>,
    /// Who says it (`iss`).
    pub issuer: Option<String>,
    /// To whom (`aud`): one of these.
    #[serde(default)]
    pub audience: Vec<String>,
    /// A secret whose value is one more of them, as the id that a provider gave its client.
    pub audience_secret: Option<String>,
    /// What a token that is checked must allow.
    #[serde(default)]
    pub scopes: Vec<String>,
    /// Seconds until a token that is made ends; 300 where it is left out, at most 3600.
    pub lifetime_s: Option<u64>,
    /// Seconds by which clocks may differ; 60 where it is left out.
    pub leeway_s: Option<u64>,
    /// Where the provider's public keys are, written `{origin}/path`, at an origin that is `host_only`.
    pub jwks: Option<String>,
    /// Where a token that is made may go, by names of origins.
    #[serde(default)]
    pub origins: Vec<String>,
}

/// Most seconds by which clocks may differ.
const LEEWAY_S_MAX: u64 = 600;

impl JwtFacts {
    fn check(&self, purpose: Purpose, manifest: &Manifest) -> Result<(), String> {
        check_signing(&self.algorithm, self.lifetime_s)?;
        if self.leeway_s.is_some_and(|leeway_s| leeway_s > LEEWAY_S_MAX) {
            return Err(format!("has a leeway_s of more than {LEEWAY_S_MAX}"));
        }
        if purpose == Purpose::Sign {
            if self.jwks.is_some()
                || !self.scopes.is_empty()
                || self.leeway_s.is_some()
                || self.audience_secret.is_some()
            {
                return Err("makes tokens; jwks, scopes, leeway_s and audience_secret are for checking".to_owned());
            }
            let is_plugins = |name: &String| manifest.origins.get(name).is_some_and(|facts| !facts.host_only);
            return match self.origins.iter().find(|name| !is_plugins(name)) {
                None if self.origins.is_empty() => Err("makes tokens: say for where:   origins = [\"api\"]".to_owned()),
                None => Ok(()),
                Some(name) => Err(format!("makes tokens for `{}`, which is no origin the plugin asks", shown(name))),
            };
        }
        // Without these, what a provider signed for anybody else would pass.
        if self.issuer.is_none() {
            return Err("checks tokens: say whose:   issuer = \"https://…\"".to_owned());
        }
        if self.audience.is_empty() && self.audience_secret.is_none() {
            return Err(
                "checks tokens: say for whom:   audience = [\"…\"] or audience_secret = \"client_id\"".to_owned()
            );
        }
        if !self.origins.is_empty() || self.lifetime_s.is_some() || self.key_id.is_some() {
            return Err("checks tokens; origins, lifetime_s and key_id are for making".to_owned());
        }
        if let Some(name) = &self.audience_secret
            && manifest.secrets.get(name).is_none_or(|facts| facts.purpose != Purpose::Credential)
        {
            return Err(format!("wants the secret `{}`, which is not declared as a credential", shown(name)));
        }
        let Some(endpoint) = &self.jwks else { return Ok(()) };
        if self.algorithm.starts_with("HS") {
            return Err(format!("cannot check {} with public keys", self.algorithm));
        }
        let place = endpoint.strip_prefix('{').and_then(|rest| rest.split_once('}'));
        let is_hosts = place.is_some_and(|(origin, path)| {
            path.starts_with('/') && manifest.origins.get(origin).is_some_and(|facts| facts.host_only)
        });
        if is_hosts {
            Ok(())
        } else {
            Err("has a jwks that is not {origin}/path at an origin with host_only = true".to_owned())
        }
    }
}

/// Most bytes of a template.
const TEMPLATE_BYTES_MAX: usize = 1 << 10;

impl SecretFacts {
    /// The keyed hashes that may be asked for.
    pub(crate) fn functions(&self) -> Vec<Function> {
        if self.jwt.is_some() {
            return Vec::new();
        }
        match self.algorithms.as_slice() {
            [] => Function::ALL.to_vec(),
            some => some.iter().filter_map(|name| Function::named(name)).collect(),
        }
    }

    /// Whether it is no value but the place of a provider's public keys.
    pub(crate) fn has_key_set(&self) -> bool {
        self.jwt.as_ref().is_some_and(|jwt| jwt.jwks.is_some())
    }

    /// What is wrong with it, if anything is, in words that follow its name.
    pub(super) fn check(&self, manifest: &Manifest) -> Result<(), String> {
        if let Some(jwt) = &self.jwt {
            if self.purpose == Purpose::Credential || self.template.is_some() || !self.algorithms.is_empty() {
                return Err(
                    "has jwt: its purpose is sign or verify, and it has neither algorithms nor a template".to_owned()
                );
            }
            return jwt.check(self.purpose, manifest);
        }
        if let Some(stranger) = self.algorithms.iter().find(|name| Function::named(name).is_none()) {
            let known: Vec<&str> = Function::ALL.iter().map(|function| function.name()).collect();
            return Err(format!("wants the algorithm `{}`; there are {}", shown(stranger), known.join(", ")));
        }
        let is_over = |template: &String| template.is_empty() || template.len() > TEMPLATE_BYTES_MAX;
        if self.template.as_ref().is_some_and(is_over) {
            return Err(format!("has a template that is not of 1 to {TEMPLATE_BYTES_MAX} bytes"));
        }
        match self.purpose {
            Purpose::Sign if self.algorithms.is_empty() => {
                Err("signs: say with what:   algorithms = [\"hmac-sha256\"]".to_owned())
            }
            Purpose::Sign if self.template.is_none() => {
                Err("signs: say what, with `*` for what varies:   template = \"v1:*:*\"".to_owned())
            }
            Purpose::Verify if self.template.is_some() => {
                Err("has a template, and its purpose is not to sign".to_owned())
            }
            Purpose::Credential if self.template.is_some() || !self.algorithms.is_empty() => {
                Err("has a template or algorithms, and its purpose is to be placed on requests".to_owned())
            }
            _ => Ok(()),
        }
    }
}

/// What a secret may be used for: one purpose a secret.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Purpose {
    /// To be placed on requests by the host.
    #[default]
    Credential,
    /// For keyed hashes the plugin asks for.
    Sign,
    /// For checking keyed hashes.
    Verify,
}
