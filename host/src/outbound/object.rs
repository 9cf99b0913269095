//! What little is to be known of a JSON object, with nothing of it kept: a body of many short keys would weigh many
//! times itself.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, de};

/// A JSON object.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Object {
    pub(super) is_empty: bool,
    /// Whether the key stands in it that was looked for.
    pub(super) has_key: bool,
}

impl Object {
    /// Reads these bytes, which are one object and nothing else, and looks for a key.
    pub(super) fn read(bytes: &[u8], key: &str) -> serde_json::Result<Self> {
        let mut reader = serde_json::Deserializer::from_slice(bytes);
        let object = Looking(Some(key)).deserialize(&mut reader)?;
        reader.end()?;
        Ok(object)
    }
}

/// No key is looked for.
impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Looking(None).deserialize(from)
    }
}

struct Looking<'k>(Option<&'k str>);

impl<'de> DeserializeSeed<'de> for Looking<'_> {
    type Value = Object;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Object, D::Error> {
        from.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Looking<'_> {
    type Value = Object;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object, A::Error> {
        let mut object = Object { is_empty: true, has_key: false };
        while let Some(is_key) = map.next_key_seed(Key(self.0))? {
            map.next_value::<IgnoredAny>()?;
            object.is_empty = false;
            object.has_key |= is_key;
        }
        Ok(object)
    }
}

/// Whether a key is the one that is looked for.
struct Key<'k>(Option<&'k str>);

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<bool, D::Error> {
        from.deserialize_str(self)
    }
}

impl Visitor<'_> for Key<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: de::Error>(self, key: &str) -> Result<bool, E> {
        Ok(self.0 == Some(key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_tells_whether_it_is_empty_and_has_the_key() {
        for (text, is_empty, has_key) in [
            ("{}", true, false),
            (r#" {"b": {"key": 1}, "c": ["key"]} "#, false, false),
            (r#"{"key": null}"#, false, true),
            (r#"{"\u006bey": 1, "b": 2, "b": 3}"#, false, true),
            (r#"{"b": 1, "key": 1, "key": 2}"#, false, true),
        ] {
            assert_eq!(Object::read(text.as_bytes(), "key").unwrap(), Object { is_empty, has_key }, "{text}");
            let read: Object = serde_json::from_str(text).unwrap();
            assert_eq!(read, Object { is_empty, has_key: false }, "{text}");
        }
        for wrong in ["", "null", "[]", "\"key\"", "{", "{} {}", "{1: 2}", "{\"a\"}"] {
            assert!(Object::read(wrong.as_bytes(), "key").is_err(), "{wrong}");
        }
        assert!(Object::read(b"{\"\xff\": 1}", "key").is_err());
    }
}
