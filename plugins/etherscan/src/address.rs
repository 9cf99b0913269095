//! Account addresses: 20 bytes, written in hex, with the checksum of EIP-55 in the case of the letters.
//!
//! Whoever types an address in mixed case has a checksum in it, so one wrong letter is refused before anything is
//! asked. All lower or all upper case carries none and is taken as it is. Whatever leaves this plugin is in
//! checksummed form.

use std::borrow::Cow;
use std::fmt::{self, Display, Write};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, de};
use sha3::{Digest, Keccak256};

/// An address that is 20 bytes long and whose checksum, if it had one, was right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Address([u8; BYTES]);

impl Address {
    /// The EIP-55 form of an address in an answer.
    ///
    /// Nothing is written as an empty text (`to` of a transaction that creates a contract), and the rows of the genesis
    /// block say `GENESIS`: that word is passed on.
    pub(crate) fn shown(text: &str) -> Option<String> {
        match (text, Self::read(&text.to_ascii_lowercase())) {
            ("", _) => None,
            (_, Ok(address)) => Some(address.to_string()),
            (_, Err(_)) => Some(text.to_owned()),
        }
    }

    fn read(text: &str) -> Result<Self, Defect> {
        let digits = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")).ok_or(Defect::Shape)?.as_bytes();
        if digits.len() != 2 * BYTES {
            return Err(Defect::Shape);
        }
        let mut bytes = [0; BYTES];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = nibble(pair[0]).ok_or(Defect::Shape)? << 4 | nibble(pair[1]).ok_or(Defect::Shape)?;
        }
        let address = Self(bytes);
        let has_checksum = digits.iter().any(u8::is_ascii_lowercase) && digits.iter().any(u8::is_ascii_uppercase);
        if has_checksum && address.checksummed() != digits {
            return Err(Defect::Checksum);
        }
        Ok(address)
    }

    /// The 40 digits as EIP-55 writes them: a letter is upper case where the hash of the lower-case digits has 8 or
    /// more.
    fn checksummed(&self) -> [u8; 2 * BYTES] {
        let mut digits = [0; 2 * BYTES];
        for (pair, byte) in digits.chunks_exact_mut(2).zip(self.0) {
            pair[0] = HEX[usize::from(byte >> 4)];
            pair[1] = HEX[usize::from(byte & 15)];
        }
        let hash = Keccak256::digest(digits);
        for (at, digit) in digits.iter_mut().enumerate() {
            let nibble = if at % 2 == 0 { hash[at / 2] >> 4 } else { hash[at / 2] & 15 };
            if nibble >= 8 {
                digit.make_ascii_uppercase();
            }
        }
        digits
    }
}

impl Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("0x")?;
        self.checksummed().iter().try_for_each(|digit| f.write_char(char::from(*digit)))
    }
}

/// The error says what was expected and not what was there; the SDK adds the path.
impl<'de> Deserialize<'de> for Address {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl de::Visitor<'_> for Visitor {
            type Value = Address;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(Defect::Shape.expected())
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Address, E> {
                Address::read(text)
                    .map_err(|defect| E::invalid_value(de::Unexpected::Other("text"), &defect.expected()))
            }
        }

        deserializer.deserialize_str(Visitor)
    }
}

impl JsonSchema for Address {
    fn schema_name() -> Cow<'static, str> {
        "Address".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "pattern": "^0[xX][0-9a-fA-F]{40}$"})
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Defect {
    Shape,
    Checksum,
}

impl Defect {
    fn expected(&self) -> &'static str {
        match self {
            Self::Shape => "an address: 0x and 40 hex digits",
            Self::Checksum => {
                "an address that passes its EIP-55 checksum; a letter or digit is wrong, \
                 or write it in lower case to use it without a checksum"
            }
        }
    }
}

/// The first eight bytes of the Keccak-256 hash of `text`: enough to tell the rows of one block apart.
pub(crate) fn fingerprint(text: &str) -> u64 {
    Keccak256::digest(text.as_bytes()).iter().take(8).fold(0, |sum, byte| sum << 8 | u64::from(*byte))
}

fn nibble(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

const BYTES: usize = 20;
const HEX: &[u8; 16] = b"0123456789abcdef";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The test cases in the text of EIP-55, <https://eips.ethereum.org/EIPS/eip-55>.
    const VECTORS: [&str; 8] = [
        "0x52908400098527886E0F7030069857D2E4169EE7",
        "0x8617E340B3D01FA5F11F306F4090FD50E238070D",
        "0xde709f2102306220921060314715629080e2fb77",
        "0x27b1fdb04752bbc536007a920d24acb045561c26",
        "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
        "0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359",
        "0xdbF03B407c01E7cD3CBea99509d93f8DDDC8C6FB",
        "0xD1220A0cf47c7B9Be7A2E6BA89F429762e7b9aDb",
    ];

    #[test]
    fn eip_55_vectors_are_written_and_read() {
        for vector in VECTORS {
            assert_eq!(Address::shown(&vector.to_lowercase()).as_deref(), Some(vector));
            assert_eq!(Address::read(vector).map(|address| address.to_string()), Ok(vector.to_owned()));
        }
    }

    #[test]
    fn one_letter_in_the_wrong_case_is_refused() {
        let wrong = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1Beaed";
        assert_eq!(Address::read(wrong), Err(Defect::Checksum));
        assert!(Address::read(&wrong.to_lowercase()).is_ok(), "lower case carries no checksum");
        let said = serde_json::from_value::<Address>(wrong.into()).map_err(|error| error.to_string());
        assert!(said.is_err_and(|text| text.contains("EIP-55") && !text.contains(wrong)));
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for wrong in [
            "",
            "0x",
            "vitalik.eth",
            "5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
            "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAe",
            "0xgg08400098527886E0F7030069857D2E4169EE7",
        ] {
            assert_eq!(Address::read(wrong), Err(Defect::Shape), "{wrong}");
        }
    }

    #[test]
    fn what_an_answer_writes_instead_of_an_address_is_kept() {
        assert_eq!(Address::shown(""), None);
        assert_eq!(Address::shown("GENESIS").as_deref(), Some("GENESIS"));
    }

    proptest! {
        #[test]
        fn every_address_survives_being_written_and_read(bytes: [u8; BYTES]) {
            let address = Address(bytes);
            prop_assert_eq!(Address::read(&address.to_string()), Ok(address));
        }

        #[test]
        fn no_text_makes_the_reader_panic(text: String) {
            _ = (Address::read(&text), Address::shown(&text));
        }
    }
}
