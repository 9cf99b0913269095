//! `secrets`: keyed hashes, without the key.

use aws_lc_rs::hmac;
use zeroize::Zeroizing;

use super::Call;
use crate::bindings::wharfage::plugin::secrets::{Algorithm, Host};
use crate::bindings::wharfage::plugin::types;
use crate::error::Result;
use crate::manifest::Purpose;
use crate::observe::audit::Deed;

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
        let value = self.used(&name, Purpose::Sign, Deed::Sign).await?;
        let key = hmac::Key::new(hash(algorithm), value.as_bytes());
        Ok(hmac::sign(&key, &data).as_ref().to_vec())
    }

    async fn verify(
        &mut self,
        name: String,
        algorithm: Algorithm,
        data: Vec<u8>,
        mac: Vec<u8>,
    ) -> Result<bool, types::Error> {
        // All of them are compared, so that the time tells nobody which one it was.
        let mut is_right = false;
        let values = self.secrets.versions(&name, Purpose::Verify).await;
        self.outbound.tell_use(&self.context, &name, Deed::Verify, values.as_ref().map(|_| ()));
        for value in values? {
            let key = hmac::Key::new(hash(algorithm), value.as_bytes());
            is_right |= hmac::verify(&key, &data, &mac).is_ok();
        }
        Ok(is_right)
    }
}

impl Call {
    /// A secret's value, and a word of it to the audit trail, also where it is refused.
    async fn used(&mut self, name: &str, purpose: Purpose, deed: Deed) -> Result<Zeroizing<String>> {
        let value = self.secrets.value(name, purpose).await;
        self.outbound.tell_use(&self.context, name, deed, value.as_ref().map(|_| ()));
        value
    }
}

fn hash(algorithm: Algorithm) -> hmac::Algorithm {
    match algorithm {
        Algorithm::HmacSha1 => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
        Algorithm::HmacSha256 => hmac::HMAC_SHA256,
        Algorithm::HmacSha512 => hmac::HMAC_SHA512,
    }
}
