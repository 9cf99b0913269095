//! Sealing: AES-256-GCM, bound to what the value is for.
//!
//! A sealed value opens only with the same key and the same context (connection, key, version), so a record copied
//! elsewhere or changed by a bit is refused. Every value has a nonce of its own from the operating system.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};

use crate::error::{Error, Result};
use crate::random;

/// Seals and opens.
pub(crate) struct Seal {
    key: Option<LessSafeKey>,
}

impl Seal {
    /// With this key.
    pub(crate) fn new(key: &[u8; 32]) -> Self {
        Self { key: UnboundKey::new(&AES_256_GCM, key).ok().map(LessSafeKey::new) }
    }

    /// Nonce, then ciphertext and tag.
    pub(crate) fn seal(&self, context: &[&str], plain: &[u8]) -> Result<Vec<u8>> {
        let failed = || Error::internal("a value could not be sealed");
        let key = self.key.as_ref().ok_or_else(failed)?;
        let nonce = random::bytes::<NONCE_LEN>()?;
        let mut sealed = Vec::with_capacity(NONCE_LEN + plain.len() + AES_256_GCM.tag_len());
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(plain);
        let body = &mut sealed[NONCE_LEN..];
        let tag = key.seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), Aad::from(bound(context)), body);
        sealed.extend_from_slice(tag.map_err(|_| failed())?.as_ref());
        Ok(sealed)
    }

    /// The plain value, if it was sealed with this key for this context.
    pub(crate) fn open(&self, context: &[&str], sealed: &[u8]) -> Option<Vec<u8>> {
        let (nonce, body) = sealed.split_at_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut body = body.to_vec();
        let length = self.key.as_ref()?.open_in_place(nonce, Aad::from(bound(context)), &mut body).ok()?.len();
        body.truncate(length);
        Some(body)
    }
}

/// Lengths go in as well, so that no two contexts read alike.
fn bound(context: &[&str]) -> Vec<u8> {
    let mut out = Vec::new();
    for part in context {
        out.extend_from_slice(&(part.len() as u64).to_be_bytes());
        out.extend_from_slice(part.as_bytes());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opens_only_for_its_own_context() {
        let seal = Seal::new(&[1; 32]);
        let sealed = seal.seal(&["a", "bc"], b"value").unwrap();
        assert_eq!(seal.open(&["a", "bc"], &sealed).unwrap(), b"value");
        assert_ne!(seal.seal(&["a", "bc"], b"value").unwrap(), sealed, "each has a nonce of its own");
        assert!(seal.open(&["ab", "c"], &sealed).is_none());
        assert!(Seal::new(&[2; 32]).open(&["a", "bc"], &sealed).is_none());
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert!(seal.open(&["a", "bc"], &changed).is_none(), "byte {at}");
        }
        assert!(seal.open(&[], &[]).is_none());
    }
}
