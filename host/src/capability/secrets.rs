//! `secrets`: keyed hashes, without the key.

use aws_lc_rs::hmac;

use super::Call;
use crate::bindings::wharfage::plugin::secrets::{Algorithm, Host};
use crate::bindings::wharfage::plugin::types;
use crate::error::Result;
use crate::manifest::Purpose;

impl Host for Call {
    fn is_available(&mut self, name: String) -> bool {
        [Purpose::Credential, Purpose::Sign, Purpose::Verify]
            .into_iter()
            .any(|purpose| self.secrets.is_available(&name, purpose))
    }

    fn sign(&mut self, name: String, algorithm: Algorithm, data: Vec<u8>) -> Result<Vec<u8>, types::Error> {
        let value = self.secrets.value(&name, Purpose::Sign)?;
        let key = hmac::Key::new(hash(algorithm), value.as_bytes());
        Ok(hmac::sign(&key, &data).as_ref().to_vec())
    }

    fn verify(
        &mut self,
        name: String,
        algorithm: Algorithm,
        data: Vec<u8>,
        mac: Vec<u8>,
    ) -> Result<bool, types::Error> {
        let value = self.secrets.value(&name, Purpose::Verify)?;
        let key = hmac::Key::new(hash(algorithm), value.as_bytes());
        Ok(hmac::verify(&key, &data, &mac).is_ok())
    }
}

fn hash(algorithm: Algorithm) -> hmac::Algorithm {
    match algorithm {
        Algorithm::HmacSha1 => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
        Algorithm::HmacSha256 => hmac::HMAC_SHA256,
        Algorithm::HmacSha512 => hmac::HMAC_SHA512,
    }
}
