//! Reads values from JSON text, in as little code as each type of a component can do with.
//!
//! `serde_json` copies its reader into every type that it reads, field by field, which made a third of a component. Here
//! all that does not depend on a type stands once: an object's next key, a text, a number, what went wrong. The grammar
//! stays `serde_json`'s: what has escapes, fractions or no reader is given to it piece by piece.
//!
//! Structs are read from objects only. What serde derives would take an array too, and no provider writes records as
//! arrays: one that did would be misread field by field.

use std::borrow::Cow;
use std::fmt::{self, Display};

use serde::de::value::StrDeserializer;
use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, Expected, IgnoredAny, MapAccess, SeqAccess,
    Unexpected, VariantAccess, Visitor,
};
use serde::forward_to_deserialize_any;
use serde_json::Number;

/// How deep objects and lists may stand in each other.
const DEPTH_MAX: u8 = 127;

/// A value of JSON text.
///
/// # Errors
/// Why it is none, and up to which byte it was one.
pub(crate) fn read<T: DeserializeOwned>(text: &str) -> Result<T, Misfit> {
    let mut reader = Reader { text, at: 0, depth: 0 };
    let value = T::deserialize(&mut reader).and_then(|value| reader.end().map(|()| value));
    value.map_err(|trouble| Misfit { at: reader.at, expected: trouble.0.expected })
}

/// A text that is no such value.
#[derive(Debug)]
pub(crate) struct Misfit {
    /// Where reading stopped.
    pub(crate) at: usize,
    /// What was expected there; nothing where the text is no JSON. It is made of our own types' names only, never of what was
    /// found, which may be anybody's.
    pub(crate) expected: Option<String>,
}

/// What goes wrong on the way. Where it did is where the reader stands then.
#[derive(Debug)]
struct Trouble(Box<Reason>);

#[derive(Debug)]
struct Reason {
    expected: Option<String>,
}

struct Reader<'de> {
    text: &'de str,
    at: usize,
    depth: u8,
}

impl<'de> Reader<'de> {
    /// The next byte that is no space; 0 at the end.
    fn peek(&mut self) -> u8 {
        let bytes = self.text.as_bytes();
        while let Some(byte) = bytes.get(self.at) {
            if !matches!(byte, b' ' | b'\n' | b'\r' | b'\t') {
                return *byte;
            }
            self.at += 1;
        }
        0
    }

    #[inline(never)]
    fn take(&mut self, wanted: u8) -> Result<(), Trouble> {
        if self.peek() != wanted {
            return Err(Trouble::no_json());
        }
        self.at += 1;
        Ok(())
    }

    fn end(&mut self) -> Result<(), Trouble> {
        self.peek();
        if self.at == self.text.len() { Ok(()) } else { Err(Trouble::no_json()) }
    }

    /// Goes into an object or a list.
    #[inline(never)]
    fn enter(&mut self, bracket: u8, expected: &dyn Expected) -> Result<(), Trouble> {
        if self.peek() != bracket {
            return Err(self.unlike(expected));
        }
        self.at += 1;
        self.depth += 1;
        if self.depth > DEPTH_MAX { Err(Trouble::no_json()) } else { Ok(()) }
    }

    #[inline(never)]
    fn leave(&mut self, bracket: u8) -> Result<(), Trouble> {
        self.depth -= 1;
        self.take(bracket)
    }

    /// Whether an object or a list goes on.
    #[inline(never)]
    fn goes_on(&mut self, is_first: &mut bool, bracket: u8) -> Result<bool, Trouble> {
        let was_first = std::mem::replace(is_first, false);
        match self.peek() {
            b',' if !was_first => {
                self.at += 1;
                // After a comma something must come.
                if self.peek() == bracket { Err(Trouble::no_json()) } else { Ok(true) }
            }
            byte if byte == bracket => Ok(false),
            _ if was_first => Ok(true),
            _ => Err(Trouble::no_json()),
        }
    }

    #[inline(never)]
    fn key(&mut self, is_first: &mut bool) -> Result<Option<Cow<'de, str>>, Trouble> {
        if !self.goes_on(is_first, b'}')? {
            return Ok(None);
        }
        if self.peek() != b'"' {
            return Err(Trouble::no_json());
        }
        let key = self.string()?;
        self.take(b':')?;
        Ok(Some(key))
    }

    /// The text that begins here.
    #[inline(never)]
    fn string(&mut self) -> Result<Cow<'de, str>, Trouble> {
        let bytes = self.text.as_bytes();
        let start = self.at;
        let mut end = start + 1;
        let mut is_plain = true;
        loop {
            match bytes.get(end) {
                Some(b'"') => break,
                Some(b'\\') => {
                    is_plain = false;
                    end += 2;
                }
                Some(0x20..) => end += 1,
                _ => return Err(Trouble::no_json()),
            }
        }
        self.at = end + 1;
        if is_plain {
            return Ok(Cow::Borrowed(self.text.get(start + 1..end).unwrap_or_default()));
        }
        let written = self.text.get(start..=end).unwrap_or_default();
        serde_json::from_str(written).map(Cow::Owned).map_err(|_| Trouble::no_json())
    }

    #[inline(never)]
    fn text(&mut self, expected: &dyn Expected) -> Result<Cow<'de, str>, Trouble> {
        if self.peek() == b'"' { self.string() } else { Err(self.unlike(expected)) }
    }

    #[inline(never)]
    fn number(&mut self, expected: &dyn Expected) -> Result<Number, Trouble> {
        if !matches!(self.peek(), b'-' | b'0'..=b'9') {
            return Err(self.unlike(expected));
        }
        let rest = self.text.get(self.at..).unwrap_or_default();
        let end = rest.bytes().position(|byte| !matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E'));
        let written = rest.get(..end.unwrap_or(rest.len())).unwrap_or_default();
        let number = serde_json::from_str(written).map_err(|_| Trouble::no_json())?;
        self.at += written.len();
        Ok(number)
    }

    /// Whether `true` or `false` stands here; neither is nothing.
    #[inline(never)]
    fn flag(&mut self) -> Result<Option<bool>, Trouble> {
        let (word, flag) = match self.peek() {
            b't' => ("true", Some(true)),
            b'f' => ("false", Some(false)),
            _ => return Ok(None),
        };
        self.word(word)?;
        Ok(flag)
    }

    /// Reads `null`, if that stands here.
    #[inline(never)]
    fn null(&mut self) -> Result<bool, Trouble> {
        if self.peek() != b'n' {
            return Ok(false);
        }
        self.word("null")?;
        Ok(true)
    }

    fn word(&mut self, word: &str) -> Result<(), Trouble> {
        if !self.text.get(self.at..).unwrap_or_default().starts_with(word) {
            return Err(Trouble::no_json());
        }
        self.at += word.len();
        Ok(())
    }

    /// Passes over a value and gives its text.
    #[inline(never)]
    fn skip(&mut self) -> Result<&'de str, Trouble> {
        self.peek();
        let rest = self.text.get(self.at..).unwrap_or_default();
        let mut values = serde_json::Deserializer::from_str(rest).into_iter::<IgnoredAny>();
        match values.next() {
            Some(Ok(_)) => {
                let length = values.byte_offset();
                self.at += length;
                Ok(rest.get(..length).unwrap_or_default())
            }
            _ => Err(Trouble::no_json()),
        }
    }

    /// Something else stands here. What is no JSON at all is not called something else.
    #[cold]
    #[inline(never)]
    fn unlike(&mut self, expected: &dyn Expected) -> Trouble {
        match self.peek() {
            b'{' | b'[' => Trouble::expected(expected),
            _ => self.skip().map_or_else(|trouble| trouble, |_| Trouble::expected(expected)),
        }
    }
}

macro_rules! numbers {
    ($($method:ident)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Trouble> {
            let number = self.number(&visitor)?;
            visit_number(&number, visitor)
        }
    )*};
}

fn visit_number<'de, V: Visitor<'de>>(number: &Number, visitor: V) -> Result<V::Value, Trouble> {
    if let Some(number) = number.as_u64() {
        visitor.visit_u64(number)
    } else if let Some(number) = number.as_i64() {
        visitor.visit_i64(number)
    } else {
        visitor.visit_f64(number.as_f64().unwrap_or_default())
    }
}

impl<'de> Deserializer<'de> for &mut Reader<'de> {
    type Error = Trouble;

    numbers!(
        deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_i128 deserialize_u8 deserialize_u16
        deserialize_u32 deserialize_u64 deserialize_u128 deserialize_f32 deserialize_f64
    );

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Trouble> {
        match self.peek() {
            b'{' => self.deserialize_map(visitor),
            b'[' => self.deserialize_seq(visitor),
            b'"' => self.deserialize_string(visitor),
            b't' | b'f' => self.deserialize_bool(visitor),
            b'n' => self.deserialize_unit(visitor),
            _ => self.deserialize_f64(visitor),
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Trouble> {
        match self.flag()? {
            Some(flag) => visitor.visit_bool(flag),
            None => Err(self.unlike(&visitor)),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Trouble> {
        let text = self.text(&visitor)?;
        visitor.visit_string(text.into_owned())
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Trouble> {
        let text = self.text(&visitor)?;
        visitor.visit_str(&text)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Trouble> {
        if self.null()? { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Trouble> {
        if self.null()? { visitor.visit_unit() } else { Err(self.unlike(&visitor)) }
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Trouble> {
        self.deserialize_unit(visitor)
    }

    /// A value that is kept as its text is `serde_json`'s own; it goes by a name that no struct has.
    fn deserialize_newtype_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value, Trouble> {
        if !name.starts_with('$') {
            return visitor.visit_newtype_struct(self);
        }
        let mut kept = serde_json::Deserializer::from_str(self.skip()?);
        kept.deserialize_newtype_struct(name, visitor).map_err(|_| Trouble::no_json())
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Trouble> {
        self.enter(b'[', &visitor)?;
        let value = visitor.visit_seq(Inside { reader: self, is_first: true })?;
        self.leave(b']')?;
        Ok(value)
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Trouble> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, Trouble> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Trouble> {
        self.enter(b'{', &visitor)?;
        let value = visitor.visit_map(Inside { reader: self, is_first: true })?;
        self.leave(b'}')?;
        Ok(value)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Trouble> {
        self.deserialize_map(visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Trouble> {
        if self.peek() == b'"' {
            let name = self.string()?;
            return visitor.visit_enum(Variant { name, reader: None });
        }
        self.enter(b'{', &visitor)?;
        let name = self.key(&mut true)?.ok_or_else(|| Trouble::expected(&visitor))?;
        let value = visitor.visit_enum(Variant { name, reader: Some(&mut *self) })?;
        self.leave(b'}')?;
        Ok(value)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Trouble> {
        self.skip()?;
        visitor.visit_unit()
    }

    forward_to_deserialize_any! { bytes byte_buf }

    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Trouble> {
        self.deserialize_str(visitor)
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Trouble> {
        self.deserialize_str(visitor)
    }
}

/// What stands in an object or a list.
struct Inside<'a, 'de> {
    reader: &'a mut Reader<'de>,
    is_first: bool,
}

impl<'de> SeqAccess<'de> for Inside<'_, 'de> {
    type Error = Trouble;

    #[inline(never)]
    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Trouble> {
        if !self.reader.goes_on(&mut self.is_first, b']')? {
            return Ok(None);
        }
        seed.deserialize(&mut *self.reader).map(Some)
    }
}

impl<'de> MapAccess<'de> for Inside<'_, 'de> {
    type Error = Trouble;

    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Trouble> {
        match self.reader.key(&mut self.is_first)? {
            Some(key) => seed.deserialize(Key(&key)).map(Some),
            None => Ok(None),
        }
    }

    #[inline(never)]
    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Trouble> {
        seed.deserialize(&mut *self.reader)
    }
}

/// The key of a field, or of an entry whose keys are numbers.
struct Key<'a>(&'a str);

macro_rules! number_keys {
    ($($method:ident)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Trouble> {
            match serde_json::from_str::<Number>(self.0) {
                Ok(number) => visit_number(&number, visitor),
                Err(_) => visitor.visit_str(self.0),
            }
        }
    )*};
}

impl<'de> Deserializer<'de> for Key<'_> {
    type Error = Trouble;

    number_keys!(
        deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_u8 deserialize_u16 deserialize_u32
        deserialize_u64
    );

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Trouble> {
        visitor.visit_str(self.0)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Trouble> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Trouble> {
        visitor.visit_enum(StrDeserializer::new(self.0))
    }

    forward_to_deserialize_any! {
        bool i128 u128 f32 f64 char str string bytes byte_buf option unit unit_struct seq tuple tuple_struct map struct
        identifier ignored_any
    }
}

/// A case of an enum by its name, and what it holds.
struct Variant<'a, 'de> {
    name: Cow<'de, str>,
    reader: Option<&'a mut Reader<'de>>,
}

impl<'de> EnumAccess<'de> for Variant<'_, 'de> {
    type Error = Trouble;
    type Variant = Self;

    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self), Trouble> {
        Ok((seed.deserialize(Key(&self.name))?, self))
    }
}

impl<'a, 'de> Variant<'a, 'de> {
    fn holding(self) -> Result<&'a mut Reader<'de>, Trouble> {
        self.reader.ok_or_else(|| Trouble::expected(&"an object"))
    }
}

impl<'de> VariantAccess<'de> for Variant<'_, 'de> {
    type Error = Trouble;

    fn unit_variant(self) -> Result<(), Trouble> {
        self.reader.map_or(Ok(()), serde::Deserialize::deserialize)
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, Trouble> {
        seed.deserialize(self.holding()?)
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Trouble> {
        self.holding()?.deserialize_seq(visitor)
    }

    fn struct_variant<V: Visitor<'de>>(self, _: &'static [&'static str], visitor: V) -> Result<V::Value, Trouble> {
        self.holding()?.deserialize_map(visitor)
    }
}

impl Trouble {
    #[cold]
    #[inline(never)]
    fn no_json() -> Self {
        Self(Box::new(Reason { expected: None }))
    }

    #[cold]
    #[inline(never)]
    fn told(parts: &[&str]) -> Self {
        Self(Box::new(Reason { expected: Some(parts.concat()) }))
    }

    #[cold]
    #[inline(never)]
    fn expected(expected: &dyn Expected) -> Self {
        Self::told(&["expected ", &expected.to_string()])
    }
}

/// Serde begins its messages with what it found. Ours leave it out.
impl serde::de::Error for Trouble {
    #[cold]
    fn custom<T: Display>(message: T) -> Self {
        let message = message.to_string();
        match message.rsplit_once(", expected ") {
            Some((_, expected)) => Self::told(&["expected ", expected]),
            None => Self::told(&["a value that does not fit"]),
        }
    }

    fn invalid_type(_: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::expected(expected)
    }

    fn invalid_value(_: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::expected(expected)
    }

    fn invalid_length(_: usize, expected: &dyn Expected) -> Self {
        Self::expected(expected)
    }

    #[cold]
    #[inline(never)]
    fn unknown_variant(_: &str, names: &'static [&'static str]) -> Self {
        match names {
            [] => Self::told(&["a value that does not fit"]),
            names => Self::told(&["expected ", &one_of(names)]),
        }
    }

    #[cold]
    #[inline(never)]
    fn unknown_field(_: &str, names: &'static [&'static str]) -> Self {
        match names {
            [] => Self::told(&["unknown field, there are none"]),
            names => Self::told(&["unknown field, expected ", &one_of(names)]),
        }
    }

    #[cold]
    #[inline(never)]
    fn missing_field(name: &'static str) -> Self {
        Self::told(&["missing field `", name, "`"])
    }

    #[cold]
    #[inline(never)]
    fn duplicate_field(name: &'static str) -> Self {
        Self::told(&["duplicate field `", name, "`"])
    }
}

impl std::error::Error for Trouble {}

impl Display for Trouble {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.0.expected.as_deref().unwrap_or("expected JSON"))
    }
}

fn one_of(names: &[&str]) -> String {
    match names {
        [one] => ["`", one, "`"].concat(),
        [one, other] => ["`", one, "` or `", other, "`"].concat(),
        names => ["one of `", &names.join("`, `"), "`"].concat(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use serde::Deserialize;
    use serde_json::Value;
    use serde_json::value::RawValue;

    use super::*;

    #[derive(Debug, Deserialize)]
    struct Outer {
        inner: Vec<Option<Inner>>,
        raw: Box<RawValue>,
        either: Either,
        #[serde(default)]
        word: Option<String>,
    }

    #[derive(Debug, Deserialize, PartialEq)]
    struct Inner {
        number: u64,
    }

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(untagged)]
    enum Either {
        Number(u64),
        Inner(Inner),
    }

    #[derive(Debug, Deserialize, PartialEq)]
    enum Case {
        Plain,
        One(u8),
        Two(u8, i8),
        Named { flag: bool },
    }

    fn expected<T: DeserializeOwned + fmt::Debug>(text: &str) -> Option<String> {
        read::<T>(text).unwrap_err().expected
    }

    #[test]
    fn objects_are_read_however_deep() {
        let text = r#"{"inner": [{"number": 1, "more": [2]}, null], "raw": {"a":  1.10}, "either": {"number": 3}}"#;
        let outer: Outer = read(text).unwrap();
        assert_eq!(outer.inner, [Some(Inner { number: 1 }), None]);
        assert_eq!((outer.raw.get(), outer.either), (r#"{"a":  1.10}"#, Either::Inner(Inner { number: 3 })));
        assert_eq!(outer.word, None);
        assert_eq!(read::<Either>("7").unwrap(), Either::Number(7));
    }

    #[test]
    fn an_array_is_no_record() {
        assert_eq!(expected::<Inner>("[1]").unwrap(), "expected struct Inner");
        assert!(read::<Outer>(r#"{"inner": [[1]], "raw": 1, "either": 1}"#).is_err());
        assert!(read::<Vec<Inner>>("[[1]]").is_err());
        assert_eq!(expected::<Inner>(r#"{"number": 1} 2"#), None, "what follows is no part of it");
    }

    #[test]
    fn enums_keys_and_numbers_are_read_as_serde_writes_them() {
        let cases: Vec<Case> = read(r#"["Plain", {"One": 1}, {"Two": [1, -2]}, {"Named": {"flag": true}}]"#).unwrap();
        assert_eq!(cases, [Case::Plain, Case::One(1), Case::Two(1, -2), Case::Named { flag: true }]);
        assert_eq!(read::<BTreeMap<u64, i64>>(r#"{"7": -7}"#).unwrap(), BTreeMap::from([(7, -7)]));
        assert_eq!(read::<f64>("2").unwrap(), 2.0);
        assert_eq!(expected::<u8>("256").unwrap(), "expected u8");
        assert_eq!(expected::<u8>("1.5").unwrap(), "expected u8");
        assert_eq!(expected::<Case>(r#""Other""#).unwrap(), "expected one of `Plain`, `One`, `Two`, `Named`");
        assert_eq!(read::<(String, char)>(r#"["a\u00e9\n", "\ud83d\ude00"]"#).unwrap(), ("aé\n".to_owned(), '😀'));
    }

    // A list in a list in a list has no end otherwise, and the stack has one.
    #[test]
    fn what_stands_too_deep_is_refused() {
        for depth in [127, 128, 10_000] {
            let text = ["[".repeat(depth), "]".repeat(depth)].concat();
            assert_eq!(read::<Value>(&text).is_ok(), serde_json::from_str::<Value>(&text).is_ok(), "{depth}");
        }
    }

    fn json() -> impl Strategy<Value = String> {
        let leaf = prop_oneof![
            Just("null".to_owned()),
            Just(" true ".to_owned()),
            "-?(0|[1-9][0-9]{0,20})(\\.[0-9]{1,3})?([eE][+-]?[0-9]{1,2})?",
            any::<String>().prop_map(|text| Value::String(text).to_string()),
            Just(r#""\u00e9\ud83d\ude00\/\b""#.to_owned()),
        ];
        leaf.prop_recursive(4, 32, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(|items| format!("[{}]", items.join(" ,"))),
                prop::collection::vec(("[a-z\"\\\\]{0,3}", inner), 0..5).prop_map(|fields| {
                    let field = |(key, value): &(String, String)| format!("{}: {value}", Value::String(key.clone()));
                    format!("{{{}}}", fields.iter().map(field).collect::<Vec<_>>().join(",\n"))
                }),
            ]
        })
    }

    proptest! {
        #[test]
        fn it_reads_what_serde_json_reads(text in json()) {
            prop_assert_eq!(read::<Value>(&text).ok(), serde_json::from_str::<Value>(&text).ok());
        }

        #[test]
        fn it_refuses_what_serde_json_refuses(text in json(), at in 0_usize..40, instead in r#"[\[\]{}:,"\\ a0.\-]"#) {
            let mut broken: Vec<char> = text.chars().collect();
            let at = at % broken.len();
            broken.splice(at..=at, instead.chars());
            let broken: String = broken.into_iter().collect();
            prop_assert_eq!(read::<Value>(&broken).ok(), serde_json::from_str::<Value>(&broken).ok());
        }

        #[test]
        fn no_text_makes_it_panic(text in ".{0,60}") {
            _ = read::<Value>(&text);
            _ = read::<Outer>(&format!(r#"{{"inner": {text}"#));
        }
    }
}
