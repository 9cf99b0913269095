//! Missed -> Ready: the credential is there before any permit is held.
//!
//! A credential that cannot be had ends the request here, so that nothing is ever sent without the key it should
//! carry, and no permit waits for a refresh.

use std::sync::Arc;

use zeroize::Zeroizing;

use super::cache::Missed;
use super::scope::Scoped;
use super::{CredentialChoice, Outbound, audience, place};
use crate::auth::Credential;
use crate::error::{Error, Result, rule};
use crate::manifest::Purpose;

/// A request whose credential can be had.
pub(super) struct Ready {
    pub(super) scoped: Scoped,
    /// Shared with the sending, which asks afterwards what the provider refused.
    pub(super) credential: Option<Arc<ReadyCredential>>,
}

/// A credential with its values.
pub(super) struct ReadyCredential {
    pub(super) credential: Arc<Credential>,
    pub(super) values: Vec<Zeroizing<String>>,
    /// Of an access token, the version of its record.
    pub(super) version: Option<u64>,
    /// What stands for markers in the path: the marker and what the sign-in left behind.
    pub(super) captured: Vec<(String, String)>,
}

impl Ready {
    fn with(scoped: Scoped, credential: Arc<Credential>, values: Vec<Zeroizing<String>>, version: Option<u64>) -> Self {
        let ready = ReadyCredential { credential, values, version, captured: Vec::new() };
        Self { scoped, credential: Some(Arc::new(ready)) }
    }
}

/// Finds the request's credential and its values. A token that has ended, or is the `rejected` one, is renewed here.
pub(super) async fn ensure(outbound: &Outbound, missed: Missed, rejected: Option<u64>) -> Result<Ready> {
    let scoped = missed.into_scoped();
    let chosen = match &scoped.request().credential {
        CredentialChoice::Named(name) => Some(find(outbound, name)?),
        _ => outbound.chosen(&scoped),
    };
    audience::check(outbound, chosen.map(Arc::as_ref), &scoped)?;
    let Some(credential) = chosen.cloned() else {
        return Ok(Ready { scoped, credential: None });
    };
    if let CredentialChoice::Made(made) = &scoped.request().credential {
        let values = vec![made.token.clone()];
        return Ok(Ready::with(scoped, credential, values, None));
    }
    if credential.is_oauth2() {
        let session = outbound.session(&credential)?;
        let access = session.access(rejected).await?;
        let mut captured = Vec::new();
        for (name, marker) in credential.captures.iter().zip(credential.capture_markers()) {
            if place::markers(scoped.url().path(), &marker) > 0 {
                let value = access.captured.get(name).ok_or_else(|| session.has_not_captured(name))?;
                captured.push((marker, value.clone()));
            }
        }
        let ready = ReadyCredential { credential, values: vec![access.token], version: access.version, captured };
        return Ok(Ready { scoped, credential: Some(Arc::new(ready)) });
    }
    let mut values = Vec::with_capacity(credential.secrets.len());
    for name in &credential.secrets {
        values.push(outbound.secrets.value(name, Purpose::Credential).await?);
    }
    Ok(Ready::with(scoped, credential, values, None))
}

/// Leaves the credential away where the origin may be asked without it and nobody has given one of its secrets. Says then
/// what would help to have it, for an answer that refuses. What is decided here holds from here to the provider: to the
/// cache as well this is a request without a credential.
pub(super) async fn settle(outbound: &Outbound, scoped: Scoped) -> (Scoped, Option<String>) {
    let is_optional = outbound.scope.origin_of(&scoped).credential_optional
        && matches!(scoped.request().credential, CredentialChoice::Declared);
    let Some(credential) = outbound.chosen(&scoped).filter(|_| is_optional).cloned() else { return (scoped, None) };
    for secret in &credential.secrets {
        if let Some(advice) = outbound.secrets.not_given(secret).await {
            let name = &credential.name;
            let without = format!("It was asked without the credential `{name}`, which nobody has given. {advice}");
            return (scoped.without_credential(), Some(without));
        }
    }
    (scoped, None)
}

fn find<'a>(outbound: &'a Outbound, name: &str) -> Result<&'a Arc<Credential>> {
    outbound.credentials.iter().find(|credential| credential.name == name).ok_or_else(|| {
        Error::denied(rule::CREDENTIAL, format!("there is no credential `{}`", crate::text::shown(name)), "")
    })
}
