//! Missed -> Ready: the credential is there before any permit is held.
//!
//! A credential that cannot be had ends the request here, so that nothing is ever sent without the key it should
//! carry, and no permit waits for a refresh.

use zeroize::Zeroizing;

use super::cache::Missed;
use super::scope::Scoped;
use super::{CredentialChoice, Outbound, audience};
use crate::auth::Credential;
use crate::error::{Error, Result};
use crate::manifest::Purpose;

/// A request whose credential can be had.
pub(super) struct Ready {
    pub(super) scoped: Scoped,
    pub(super) credential: Option<ReadyCredential>,
}

/// A credential with its values.
pub(super) struct ReadyCredential {
    pub(super) credential: Credential,
    pub(super) values: Vec<Zeroizing<String>>,
    /// Of an access token, the version of its record.
    version: Option<u64>,
}

impl Ready {
    /// The version of the tokens it goes with.
    pub(super) fn access(&self) -> Option<u64> {
        self.credential.as_ref()?.version
    }

    /// The secrets it goes with, by name; none for a token, which is renewed and not replaced.
    pub(super) fn carried(&self) -> Vec<(String, Zeroizing<String>)> {
        let credential = self.credential.as_ref().filter(|credential| credential.version.is_none());
        let pairs = |ready: &ReadyCredential| {
            ready.credential.secrets.iter().cloned().zip(ready.values.iter().cloned()).collect()
        };
        credential.map(pairs).unwrap_or_default()
    }
}

/// Finds the request's credential and its values. A token that has ended, or is the `rejected` one, is renewed here.
pub(super) async fn ensure(outbound: &Outbound, missed: Missed, rejected: Option<u64>) -> Result<Ready> {
    let scoped = missed.into_scoped();
    let chosen = match &scoped.request().credential {
        CredentialChoice::Named(name) => Some(find(outbound, name)?),
        _ => outbound.chosen(&scoped),
    };
    audience::check(outbound, chosen, &scoped)?;
    let Some(credential) = chosen.cloned() else {
        return Ok(Ready { scoped, credential: None });
    };
    if let CredentialChoice::Made(made) = &scoped.request().credential {
        let credential = ReadyCredential { credential, values: vec![made.token.clone()], version: None };
        return Ok(Ready { scoped, credential: Some(credential) });
    }
    if credential.is_oauth2() {
        let access = outbound.session(&credential)?.access(rejected).await?;
        let credential = ReadyCredential { credential, values: vec![access.token], version: Some(access.version) };
        return Ok(Ready { scoped, credential: Some(credential) });
    }
    let mut values = Vec::with_capacity(credential.secrets.len());
    for name in &credential.secrets {
        values.push(outbound.secrets.value(name, Purpose::Credential).await?);
    }
    Ok(Ready { scoped, credential: Some(ReadyCredential { credential, values, version: None }) })
}

fn find<'a>(outbound: &'a Outbound, name: &str) -> Result<&'a Credential> {
    outbound.credentials.iter().find(|credential| credential.name == name).ok_or_else(|| {
        Error::denied("credential", format!("there is no credential `{}`", crate::manifest::shown(name)), "")
    })
}
