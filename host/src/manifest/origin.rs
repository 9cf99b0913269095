//! `[origins.<name>]` of a manifest: where the plugin talks to, and what goes with its requests there.

use serde::Deserialize;

use super::{CredentialFacts, Manifest, dated};
use crate::text::shown;

/// A place a plugin talks to.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct OriginFacts {
    /// The base URL that `{name}` stands for.
    pub url: String,
    /// Methods used there.
    pub methods: Vec<String>,
    /// Path patterns below the base URL's own path.
    pub paths: Vec<String>,
    /// The credential that goes on every request there; without it, the first whose audience holds this origin.
    pub credential: Option<String>,
    /// Whether a request of the plugin's may also go without that credential: where nobody has given its secrets.
    #[serde(default)]
    pub credential_optional: bool,
    /// Whether only the host talks to it, as to a token endpoint: no request of the plugin's goes there.
    #[serde(default)]
    pub host_only: bool,
    /// The header field of its answers whose URL works like a credential: the host keeps it, and the plugin gets a name for it
    /// that its further requests may go to.
    pub kept_header: Option<String>,
    /// Who says so.
    #[serde(default)]
    pub source: String,
    /// When that was read.
    #[serde(default)]
    pub date: String,
}

impl OriginFacts {
    /// What is wrong with it, if anything is, in words that follow its name.
    pub(super) fn check(&self, name: &str, manifest: &Manifest) -> Result<(), String> {
        if let Some(credential) = &self.credential
            && !manifest.credentials.contains_key(credential)
        {
            return Err(format!("wants the credential `{}`, which is not declared", shown(credential)));
        }
        // Whether somebody signed in is no question of a secret that is there or not.
        let credential = manifest.declared_credential(name).and_then(|credential| manifest.credentials.get(credential));
        if self.credential_optional && credential.is_none_or(|facts| matches!(facts, CredentialFacts::Oauth2(_))) {
            return Err(
                "says credential_optional, which is for an origin with a credential that is made of secrets".to_owned()
            );
        }
        if self.kept_header.as_ref().is_some_and(|header| http::HeaderName::from_bytes(header.as_bytes()).is_err()) {
            return Err("says kept_header, which is the name of one header field".to_owned());
        }
        dated(&self.source, &self.date)
    }
}
