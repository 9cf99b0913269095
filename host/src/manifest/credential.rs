//! What of `[credentials.<name>]` can be used: whether it says what it must, names what is declared, and goes where it may.

use std::collections::BTreeMap;

use super::{Manifest, OriginFacts, Purpose, dated, is_word, json_of};
use crate::auth::authorize::OWN_PARAMS;
use crate::auth::facts::{CredentialFacts, Oauth2Facts, Oauth2Flow, SelfSignedFacts, endpoint_parts};
use crate::auth::self_signed::LIFETIME_S_MAX;
use crate::auth::{Place, jwt, oauth2};
use crate::text::{is_token, is_unshowable, shown, toml_list};

impl SelfSignedFacts {
    fn check(&self) -> Result<(), String> {
        check_signing(&self.algorithm, self.lifetime_s)?;
        json_of(&self.claims).map(drop).map_err(|why| format!("has claims that are no JSON: {why}"))
    }
}

impl Oauth2Facts {
    fn check(&self, origins: &BTreeMap<String, OriginFacts>) -> Result<(), String> {
        dated(&self.source, &self.date).map_err(|why| format!("it {why}"))?;
        let host_asks =
            [("token", Some(&self.token)), ("revoke", self.revoke.as_ref()), ("device", self.device.as_ref())];
        let all = host_asks.into_iter().map(|(key, endpoint)| (key, endpoint, true));
        for (key, endpoint, is_asked) in all.chain([("authorize", self.authorize.as_ref(), false)]) {
            let Some(endpoint) = endpoint else { continue };
            let Some((origin, _)) = endpoint_parts(endpoint) else {
                return Err(format!("`{key}` is written {{origin}}/path, with an origin of this manifest"));
            };
            match origins.get(origin) {
                None => return Err(format!("`{key}` is at the origin `{}`, which is not declared", shown(origin))),
                Some(facts) if is_asked && !facts.host_only => {
                    return Err(format!("`{key}` is at the origin `{origin}`, which must say host_only = true"));
                }
                Some(_) => {}
            }
        }
        if let Some(name) = self.capture.iter().find(|name| !is_word(name) || origins.contains_key(*name)) {
            return Err(format!(
                "`capture` names `{}`: letters, digits, `_` and `-`, and no origin's name",
                shown(name)
            ));
        }
        if let Some(name) = self.authorize_params.keys().find(|name| OWN_PARAMS.contains(&name.as_str())) {
            return Err(format!("`authorize_params` names `{name}`, which only the host says"));
        }
        let has_params = !self.token_params.is_empty() || !self.scopes.is_empty();
        if self.flow == Oauth2Flow::Exchange && has_params {
            return Err("its flow sends no form: `scopes` and `token_params` are of other flows".to_owned());
        }
        if self.flow != Oauth2Flow::Exchange && !self.path_secrets().is_empty() {
            return Err("`token` has a secret's name in its path, which is for the flow `exchange`".to_owned());
        }
        if let Some(assertion) = &self.assertion {
            check_signing(&assertion.algorithm, None).map_err(|why| format!("`assertion` {why}"))?;
        }
        let most = oauth2::LIFETIME_S_MAX;
        if self.lifetime_s.is_some_and(|lifetime_s| !(1..=most).contains(&lifetime_s)) {
            return Err(format!("`lifetime_s` is not of 1 to {most}; leave it out for a token without an end"));
        }
        let needed = match self.flow {
            Oauth2Flow::AuthorizationCode => ("authorize", self.authorize.is_some()),
            Oauth2Flow::DeviceCode => ("device", self.device.is_some()),
            Oauth2Flow::JwtBearer | Oauth2Flow::Exchange => ("assertion", self.assertion.is_some()),
            Oauth2Flow::ClientCredentials => ("secret", self.secret.is_some()),
        };
        if needed.1 { Ok(()) } else { Err(format!("its flow needs `{}`", needed.0)) }
    }
}

impl CredentialFacts {
    /// What is wrong with it, if anything is, in a sentence that names it.
    pub(crate) fn check(&self, name: &str, manifest: &Manifest) -> Result<(), String> {
        self.check_names(manifest).map_err(|why| format!("credentials.{name} {why}"))?;
        if let Self::Oauth2(facts) = self {
            facts.check(&manifest.origins).map_err(|why| format!("credentials.{name}: {why}"))?;
        }
        // Its requests would be refused one by one, or go without it where its own origins are not granted.
        let is_stray = |(origin, facts): &(&String, &OriginFacts)| {
            facts.credential.as_deref() == Some(name) && !facts.host_only && !self.origins().contains(*origin)
        };
        if let Some((origin, _)) = manifest.origins.iter().find(is_stray) {
            let line = toml_list(self.origins().iter().chain([origin]));
            return Err(format!(
                "origins.{origin} wants the credential `{name}`, which does not go there: \
                 set in [credentials.{name}]   origins = {line}"
            ));
        }
        match self {
            Self::Jwt(facts) => facts.check().map_err(|why| format!("credentials.{name} {why}")),
            Self::ApiKey { .. } => match self.place() {
                (Some(place), 1) => match misplaced(&place) {
                    Some(why) => Err(format!("credentials.{name}: {why}")),
                    None => Ok(()),
                },
                _ => Err(format!(
                    "credentials.{name} needs exactly one place for its key: `header`, `query`, `cookie`, `body` or \
                     `path`"
                )),
            },
            _ => Ok(()),
        }
    }

    /// Whether its secrets and origins are declared, and such as it may have.
    fn check_names(&self, manifest: &Manifest) -> Result<(), String> {
        for secret in self.secrets() {
            match manifest.secrets.get(secret) {
                None => return Err(format!("uses the secret `{}`, which is not declared", shown(secret))),
                Some(facts) if facts.purpose != Purpose::Credential => {
                    return Err(format!("uses the secret `{secret}`, whose purpose is another"));
                }
                Some(_) => {}
            }
        }
        for origin in self.origins() {
            match manifest.origins.get(origin) {
                None => return Err(format!("goes to the origin `{}`, which is not declared", shown(origin))),
                Some(facts) if facts.host_only => {
                    return Err(format!("goes to the origin `{origin}`, where only the host asks (host_only)"));
                }
                Some(_) => {}
            }
        }
        Ok(())
    }
}

/// Whether tokens can be signed so, and end.
pub(crate) fn check_signing(algorithm: &str, lifetime_s: Option<u64>) -> Result<(), String> {
    if !jwt::is_algorithm(algorithm) {
        return Err(format!("wants the algorithm `{}`; there are {}", shown(algorithm), jwt::algorithm_names()));
    }
    match lifetime_s {
        None | Some(1..=LIFETIME_S_MAX) => Ok(()),
        Some(_) => Err(format!("has a lifetime_s that is not of 1 to {LIFETIME_S_MAX}")),
    }
}

/// What is wrong with the name of a place, if anything is.
fn misplaced(place: &Place) -> Option<String> {
    match place {
        Place::Header(name) | Place::Cookie(name) if !is_token(name) => {
            Some(format!("`{}` is no name that a header or a cookie can have", shown(name)))
        }
        Place::Query(name) | Place::Body(name) if name.is_empty() => Some("the name is empty".to_owned()),
        Place::Query(name) | Place::Body(name) if name.contains(is_unshowable) => {
            Some(format!("the name `{}` cannot be shown", shown(name)))
        }
        Place::Path(marker) => {
            let inner = marker.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).unwrap_or_default();
            (!is_word(inner)).then(|| {
                format!("path = \"{}\" must be letters, digits, `-` and `_` in braces, as `{{key}}`", shown(marker))
            })
        }
        _ => None,
    }
}
