//! `secrets`: what can be done with a secret without reading it, as far as its manifest says (R13).

use std::collections::BTreeMap;

use super::Call;
use crate::auth::hmac::{self, Function};
use crate::bindings::wharfage::plugin::secrets::{Algorithm, Host};
use crate::bindings::wharfage::plugin::types;
use crate::error::{Error, Result};
use crate::manifest::{Purpose, SecretFacts};
use crate::observe::audit::Deed;
use crate::vault::Secrets;

type Facts = BTreeMap<String, SecretFacts>;

impl Host for Call {
    async fn is_available(&mut self, name: String) -> bool {
        for purpose in [Purpose::Credential, Purpose::Sign, Purpose::Verify] {
            if self.secrets.is_available(&name, purpose).await {
                return true;
            }
        }
        false
    }

    async fn sign(&mut self, name: String, algorithm: Algorithm, data: Vec<u8>) -> Result<Vec<u8>, types::Error> {
        let signed = sign(&self.secrets, &self.facts, &name, algorithm.into(), &data).await;
        self.told(&name, Deed::Sign, signed)
    }

    async fn verify(
        &mut self,
        name: String,
        algorithm: Algorithm,
        data: Vec<u8>,
        mac: Vec<u8>,
    ) -> Result<bool, types::Error> {
        let verified = verify(&self.secrets, &self.facts, &name, algorithm.into(), &data, &mac).await;
        self.told(&name, Deed::Verify, verified)
    }
}

impl Call {
    /// What came of using a secret, with a word to the audit trail, also where it is refused.
    fn told<T>(&mut self, name: &str, deed: Deed, used: Result<T>) -> Result<T, types::Error> {
        self.outbound.tell_use(&self.context, name, deed, used.as_ref().map(|_| ()));
        used.map_err(|error| self.keep(error))
    }
}

async fn sign(secrets: &Secrets, all: &Facts, name: &str, function: Function, data: &[u8]) -> Result<Vec<u8>> {
    let value = secrets.value(name, Purpose::Sign).await?;
    let template = allowed(all, name, function)?.template.as_deref().unwrap_or_default();
    if hmac::is_covered(template, data) {
        return Ok(function.mac(value.as_bytes(), data));
    }
    let template = toml::Value::from(template);
    Err(Error::denied(
        "secret",
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
) -> Result<bool> {
    let values = secrets.versions(name, Purpose::Verify).await?;
    allowed(all, name, function)?;
    // All of them are compared, so that the time tells nobody which one it was.
    Ok(values.iter().fold(false, |is_right, value| is_right | function.check(value.as_bytes(), data, mac)))
}

/// What the manifest says of a secret, if it may be asked for this function.
fn allowed<'a>(all: &'a Facts, name: &str, function: Function) -> Result<&'a SecretFacts> {
    let facts = all.get(name).ok_or_else(|| Error::internal("a granted secret is not in the manifest"))?;
    if facts.functions().contains(&function) {
        return Ok(facts);
    }
    let function = function.name();
    Err(Error::denied(
        "secret",
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
