//! Keyed hashes (RFC 2104), and over what they may be made.
//!
//! A hash with the right key works like a credential wherever a provider takes one for it. What a plugin may have hashed
//! is therefore a template that its manifest states and an operator reads before granting.

use aho_corasick::AhoCorasick;
use aws_lc_rs::hmac;

/// A keyed hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Function {
    /// HMAC with SHA-1, for providers that know no better.
    Sha1,
    /// HMAC with SHA-256.
    Sha256,
    /// HMAC with SHA-512.
    Sha512,
}

impl Function {
    /// All there are.
    pub(crate) const ALL: [Self; 3] = [Self::Sha1, Self::Sha256, Self::Sha512];

    /// As the contract and the manifest write it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Sha1 => "hmac-sha1",
            Self::Sha256 => "hmac-sha256",
            Self::Sha512 => "hmac-sha512",
        }
    }

    /// The one of this name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|function| function.name() == name)
    }

    /// The hash of `data`.
    pub(crate) fn mac(self, key: &[u8], data: &[u8]) -> Vec<u8> {
        hmac::sign(&hmac::Key::new(self.algorithm(), key), data).as_ref().to_vec()
    }

    /// The hash of these one after the other.
    pub(crate) fn mac_of<'a>(self, key: &[u8], parts: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
        let mut hashing = self.begin(key);
        parts.into_iter().for_each(|part| hashing.add(part));
        hashing.end()
    }

    /// A hash that is made part by part.
    pub(crate) fn begin(self, key: &[u8]) -> Hashing {
        Hashing(hmac::Context::with_key(&hmac::Key::new(self.algorithm(), key)))
    }

    const fn algorithm(self) -> hmac::Algorithm {
        match self {
            Self::Sha1 => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
            Self::Sha256 => hmac::HMAC_SHA256,
            Self::Sha512 => hmac::HMAC_SHA512,
        }
    }
}

/// A keyed hash that is being made.
pub(crate) struct Hashing(hmac::Context);

impl Hashing {
    /// The next part of the data.
    pub(crate) fn add(&mut self, part: &[u8]) {
        self.0.update(part);
    }

    /// The hash of all of them.
    pub(crate) fn end(self) -> Vec<u8> {
        self.0.sign().as_ref().to_vec()
    }
}

/// Whether `mac` is this hash, whole, in a time that does not tell how much of it is right.
pub(crate) fn is_same(made: &[u8], mac: &[u8]) -> bool {
    aws_lc_rs::constant_time::verify_slices_are_equal(made, mac).is_ok()
}

/// Whether data are of a template's form, in which `*` stands for any bytes. An empty template covers nothing.
pub(crate) fn is_covered(template: &str, data: &[u8]) -> bool {
    let Some((start, rest)) = template.split_once('*') else {
        return !template.is_empty() && template.as_bytes() == data;
    };
    let Some(mut data) = data.strip_prefix(start.as_bytes()) else { return false };
    let (middle, end) = rest.rsplit_once('*').unwrap_or(("", rest));
    match data.strip_suffix(end.as_bytes()) {
        Some(inner) => data = inner,
        None => return false,
    }
    // The first place where a part is found leaves the most for those after it.
    for part in middle.split('*').filter(|part| !part.is_empty()) {
        let Ok(searcher) = AhoCorasick::new([part]) else { return false };
        match searcher.find(data) {
            Some(found) => data = data.get(found.end()..).unwrap_or_default(),
            None => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bytes(hex: &str) -> Vec<u8> {
        let digit = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
        if hex == "-" { Vec::new() } else { (0..hex.len()).step_by(2).map(digit).collect() }
    }

    #[test]
    fn wycheproof_agrees() {
        let mut results = [0, 0];
        for line in include_str!("hmac_cases.txt").lines().filter(|line| !line.starts_with('#')) {
            let [name, number, bits, key, message, tag, result] =
                line.split(' ').collect::<Vec<_>>().try_into().unwrap();
            let function = Function::named(name).unwrap();
            let (key, message, tag, is_valid) = (bytes(key), bytes(message), bytes(tag), result == "valid");
            let mac = function.mac(&key, &message);
            assert_eq!(bits.parse::<usize>().unwrap() / 8, tag.len());
            // A shortened hash is a weaker proof, and is none here.
            let is_whole = tag.len() == mac.len();
            assert_eq!(mac.starts_with(&tag), is_valid, "{name} {number}");
            let (start, end) = message.split_at(message.len() / 2);
            assert_eq!(function.mac_of(&key, [start, end]), mac);
            assert_eq!(is_same(&mac, &tag), is_valid && is_whole, "{name} {number}");
            results[usize::from(is_valid)] += 1;
        }
        assert!(results[0] >= 30 && results[1] >= 40, "{results:?}");
    }

    /// RFC 4231, 4.3 and RFC 2202, 3, case 2.
    #[test]
    fn the_specifications_examples_hold() {
        let (key, data) = (b"Jefe", b"what do ya want for nothing?");
        let hex =
            |function: Function| function.mac(key, data).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        assert_eq!(hex(Function::Sha1), "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79");
        assert_eq!(hex(Function::Sha256), "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
        assert!(hex(Function::Sha512).starts_with("164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea250554"));
    }

    #[test]
    fn a_template_covers_its_form_only() {
        for (template, covered, others) in [
            ("a", vec!["a"], vec!["", "aa", "b"]),
            ("*", vec!["", "a\nb"], vec![]),
            ("v1:*", vec!["v1:", "v1:x"], vec!["v1", "", "xv1:"]),
            ("*.json", vec![".json", "x.json"], vec!["json", ".json "]),
            ("a*a", vec!["aa", "aba"], vec!["a", "ab"]),
            ("a*b*b*c", vec!["abbc", "axbxbxc"], vec!["abc", "abxc"]),
            ("", vec![], vec!["", "a"]),
        ] {
            for data in covered {
                assert!(is_covered(template, data.as_bytes()), "{template} {data}");
            }
            for data in others {
                assert!(!is_covered(template, data.as_bytes()), "{template} {data}");
            }
        }
        assert!(is_covered("a*", b"a\xff\x00"));
    }

    proptest! {
        /// As every way to cut the data would have it.
        #[test]
        fn a_template_covers_what_the_definition_says(template in "[ab*]{0,7}", data in "[ab]{0,9}") {
            fn slow(template: &[u8], data: &[u8]) -> bool {
                match (template, data) {
                    ([], _) => data.is_empty(),
                    ([b'*', rest @ ..], _) => (0..=data.len()).any(|cut| slow(rest, &data[cut..])),
                    ([t, rest @ ..], [d, more @ ..]) => t == d && slow(rest, more),
                    _ => false,
                }
            }
            let expected = !template.is_empty() && slow(template.as_bytes(), data.as_bytes());
            prop_assert_eq!(is_covered(&template, data.as_bytes()), expected);
        }
    }
}
