//! Reads values from JSON text, in as little code as each type of a component can do with.
//!
//! `serde_json` copies its reader into every type that it reads, field by field, which made a third of a component. Here
//! all that does not depend on a type stands once: an object's next key, a text, a number, what went wrong. What is JSON
//! and what is not is decided as `serde_json` does it, which the tests hold against it.
//!
//! Structs are read from objects only. What serde derives would take an array too, and no provider writes records as
//! arrays: one that did would be misread field by field.

use std::borrow::Cow;
use std::fmt::{self, Display};

use serde::de::value::StrDeserializer;
use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, Expected, MapAccess, SeqAccess, Unexpected,
    VariantAccess, Visitor,
};
use serde::forward_to_deserialize_any;
use serde_json::value::RawValue;

/// How deep objects and lists may stand in each other.
const DEPTH_MAX: u8 = 127;

/// A value of JSON text.
///
/// # Errors
/// Why it is none, and up to which byte it was one.
pub(crate) fn read<T: DeserializeOwned>(text: &str) -> Result<T, Misfit> {
    let mut reader = Reader { text, at: 0, depth: 0, has_left: false };
    let value = T::deserialize(&mut reader).and_then(|value| reader.end().map(|()| value));
    value.map_err(|trouble| Misfit { at: reader.at, has_left: reader.has_left, expected: trouble.0.expected })
}

/// A text that is a value of JSON, as such a value.
pub(crate) fn raw(text: String) -> Option<Box<RawValue>> {
    let mut reader = Reader { text: &text, at: 0, depth: 0, has_left: false };
    reader.skip().and_then(|_| reader.end()).ok()?;
    serde::Deserialize::deserialize(Whole(Cow::Owned(text))).ok()
}

/// A text that is no such value.
#[derive(Debug)]
pub(crate) struct Misfit {
    /// Where reading stopped.
    pub(crate) at: usize,
    /// Whether an object or a list had been read whole just before it.
    has_left: bool,
    /// What was expected there; nothing where the text is no JSON. It is made of our own types' names only, never of what was
    /// found, which may be anybody's.
    pub(crate) expected: Option<String>,
}

/// How what is told of a field begins that did not come.
const MISSING: &str = "missing field `";

impl Misfit {
    /// Whether a field did not come to the object that reading stopped in. One that is first kept and then made something of,
    /// as that of an enum by its tag, lies behind.
    pub(crate) fn is_missing_here(&self) -> bool {
        !self.has_left && self.expected.as_ref().is_some_and(|expected| expected.starts_with(MISSING))
    }
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
    /// Whether what was read last is the end of an object or a list.
    has_left: bool,
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

    /// Goes out of it. One that holds more than its type takes is JSON all the same, of another shape.
    #[inline(never)]
    fn leave(&mut self, bracket: u8) -> Result<(), Trouble> {
        self.depth -= 1;
        let (has_more, at) = (self.peek() == b',', self.at);
        while self.peek() == b',' {
            self.at += 1;
            self.skip_key(bracket)?;
            self.skip()?;
        }
        self.take(bracket)?;
        if !has_more {
            self.has_left = true;
            return Ok(());
        }
        self.at = at;
        let what = if bracket == b']' { "list" } else { "object" };
        Err(Trouble::told(&["expected the end of the ", what]))
    }

    /// Whether an object or a list goes on.
    #[inline(never)]
    fn goes_on(&mut self, is_first: &mut bool, bracket: u8) -> Result<bool, Trouble> {
        let was_first = std::mem::replace(is_first, false);
        self.has_left = false;
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
        let start = self.at + 1;
        self.at = start;
        if self.piece()? == b'"' {
            return Ok(Cow::Borrowed(self.since(start, 1)));
        }
        let mut text = self.since(start, 1).to_owned();
        loop {
            text.push(self.escape()?);
            let start = self.at;
            let end = self.piece()?;
            text.push_str(self.since(start, 1));
            if end == b'"' {
                return Ok(Cow::Owned(text));
            }
        }
    }

    /// Passes over what stands in a text as it is read, up to its end or an escape, and over the byte that tells which.
    #[inline(never)]
    fn piece(&mut self) -> Result<u8, Trouble> {
        let rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
        let length = rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | ..0x20)).unwrap_or(rest.len());
        self.at += length;
        match rest.get(length) {
            Some(end @ (b'"' | b'\\')) => {
                self.at += 1;
                Ok(*end)
            }
            _ => Err(Trouble::no_json()),
        }
    }

    /// What was passed since `start`, without its last bytes.
    fn since(&self, start: usize, last: usize) -> &'de str {
        self.text.get(start..self.at - last).unwrap_or_default()
    }

    /// The character that an escape stands for, behind its backslash.
    #[inline(never)]
    fn escape(&mut self) -> Result<char, Trouble> {
        let letter = self.text.as_bytes().get(self.at);
        self.at += 1;
        Ok(match letter {
            Some(letter @ (b'"' | b'\\' | b'/')) => char::from(*letter),
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => {
                let mut code = self.hex()?;
                if let (0xd800..0xdc00, Some(rest)) = (code, self.text.get(self.at..)) {
                    // The half of a character; the other half must follow.
                    if rest.starts_with("\\u") {
                        self.at += 2;
                        let low = self.hex()?.wrapping_sub(0xdc00);
                        code = if low < 0x400 { 0x1_0000 + ((code - 0xd800) << 10) + low } else { code };
                    }
                }
                return char::from_u32(code).ok_or_else(Trouble::no_json);
            }
            _ => return Err(Trouble::no_json()),
        })
    }

    fn hex(&mut self) -> Result<u32, Trouble> {
        let digits = self.text.as_bytes().get(self.at..self.at + 4).ok_or_else(Trouble::no_json)?;
        self.at += 4;
        let mut code = 0;
        for digit in digits {
            code = code << 4 | char::from(*digit).to_digit(16).ok_or_else(Trouble::no_json)?;
        }
        Ok(code)
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
        self.written_number()?.value().ok_or_else(Trouble::no_json)
    }

    #[inline(never)]
    fn written_number(&mut self) -> Result<Written, Trouble> {
        let mut number =
            Written { is_negative: self.is_next(b"-"), is_whole: true, is_full: false, digits: 0, exponent: 0 };
        let leading = self.at;
        self.digits(|digit| number.add(digit, 0))?;
        if self.at > leading + 1 && self.text.as_bytes().get(leading) == Some(&b'0') {
            return Err(Trouble::no_json());
        }
        if self.is_next(b".") {
            number.is_whole = false;
            self.digits(|digit| number.add(digit, -1))?;
        }
        if self.is_next(b"eE") {
            number.is_whole = false;
            let sign = if self.is_next(b"-") { -1 } else { 1 };
            _ = sign > 0 && self.is_next(b"+");
            let mut exponent = 0_i32;
            self.digits(|digit| exponent = exponent.saturating_mul(10).saturating_add(i32::from(digit)))?;
            number.exponent = number.exponent.saturating_add(sign * exponent);
        }
        Ok(number)
    }

    /// Goes through digits, of which there must be one.
    fn digits(&mut self, mut each: impl FnMut(u8)) -> Result<(), Trouble> {
        let start = self.at;
        while let Some(digit @ b'0'..=b'9') = self.text.as_bytes().get(self.at) {
            each(digit - b'0');
            self.at += 1;
        }
        if self.at == start { Err(Trouble::no_json()) } else { Ok(()) }
    }

    /// Passes over the next byte, if it is one of these.
    fn is_next(&mut self, wanted: &[u8]) -> bool {
        let is_it = self.text.as_bytes().get(self.at).is_some_and(|byte| wanted.contains(byte));
        self.at += usize::from(is_it);
        is_it
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

    /// Passes over a value, however deep it is, and gives its text.
    #[inline(never)]
    fn skip(&mut self) -> Result<&'de str, Trouble> {
        self.peek();
        let start = self.at;
        // What closes the objects and lists that are open.
        let mut open = Vec::new();
        loop {
            match self.peek() {
                b'"' => self.skip_text()?,
                b't' => self.word("true")?,
                b'f' => self.word("false")?,
                b'n' => self.word("null")?,
                bracket @ (b'{' | b'[') => {
                    self.at += 1;
                    open.push(bracket + 2);
                    if self.peek() != bracket + 2 {
                        self.skip_key(bracket + 2)?;
                        continue;
                    }
                }
                _ => _ = self.written_number()?,
            }
            loop {
                let Some(closing) = open.last() else { return Ok(self.since(start, 0)) };
                let next = self.peek();
                if next != *closing {
                    self.take(b',')?;
                    self.skip_key(*closing)?;
                    break;
                }
                self.at += 1;
                open.pop();
            }
        }
    }

    /// Passes over the key that stands before each value of an object.
    fn skip_key(&mut self, closing: u8) -> Result<(), Trouble> {
        if closing == b']' {
            return Ok(());
        }
        if self.peek() != b'"' {
            return Err(Trouble::no_json());
        }
        self.skip_text()?;
        self.take(b':')
    }

    /// Passes over a text. What its escapes stand for does not matter.
    #[inline(never)]
    fn skip_text(&mut self) -> Result<(), Trouble> {
        self.at += 1;
        while self.piece()? != b'"' {
            if self.is_next(b"u") {
                self.hex()?;
            } else if !self.is_next(b"\"\\/bfnrt") {
                return Err(Trouble::no_json());
            }
        }
        Ok(())
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
            self.number(&visitor)?.visit(visitor)
        }
    )*};
}

/// Numbers that may be larger than those that are handed on; they are read from their own text.
macro_rules! wide_numbers {
    ($($method:ident $number:ty, $visit:ident;)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Trouble> {
            self.peek();
            let start = self.at;
            let number = self.number(&visitor)?;
            match self.since(start, 0).parse::<$number>() {
                Ok(wide) => visitor.$visit(wide),
                Err(_) => number.visit(visitor),
            }
        }
    )*};
}

/// A number as its digits are written.
struct Written {
    is_negative: bool,
    /// Whether there is neither a fraction nor an exponent.
    is_whole: bool,
    /// Whether there were more digits than are kept.
    is_full: bool,
    digits: u64,
    /// How many times ten the digits are.
    exponent: i32,
}

impl Written {
    /// Takes a digit, which moves the point by `step`. One for which there is no room is a zero.
    fn add(&mut self, digit: u8, step: i32) {
        match self.digits.checked_mul(10).and_then(|digits| digits.checked_add(u64::from(digit))) {
            Some(digits) if !self.is_full => {
                self.digits = digits;
                self.exponent += step;
            }
            _ => {
                self.is_full = true;
                self.exponent += step + 1;
            }
        }
    }

    /// What it is; nothing where it is larger than any number here.
    fn value(self) -> Option<Number> {
        if self.is_whole && !self.is_full {
            match (self.is_negative, 0_i64.checked_sub_unsigned(self.digits)) {
                (false, _) => return Some(Number::Positive(self.digits)),
                (true, Some(negative @ ..0)) => return Some(Number::Negative(negative)),
                _ => {}
            }
        }
        let mut float = self.digits as f64;
        let mut rest = self.exponent.unsigned_abs().min(EXPONENT_MAX);
        while rest > 0 {
            let power = POWERS[POWERS.len().min(rest as usize) - 1];
            float = if self.exponent > 0 { float * power } else { float / power };
            rest = rest.saturating_sub(POWERS.len() as u32);
        }
        float.is_finite().then_some(Number::Float(if self.is_negative { -float } else { float }))
    }
}

/// Beyond it every number is too large or as good as nothing.
const EXPONENT_MAX: u32 = 400;

/// The powers of ten that a float holds exactly, from the first on.
const POWERS: [f64; 22] = [
    1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20,
    1e21, 1e22,
];

/// A number as it is handed on.
enum Number {
    Positive(u64),
    Negative(i64),
    Float(f64),
}

impl Number {
    fn visit<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Trouble> {
        match self {
            Self::Positive(number) => visitor.visit_u64(number),
            Self::Negative(number) => visitor.visit_i64(number),
            Self::Float(number) => visitor.visit_f64(number),
        }
    }
}

impl<'de> Deserializer<'de> for &mut Reader<'de> {
    type Error = Trouble;

    numbers!(
        deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_u8 deserialize_u16 deserialize_u32
        deserialize_u64 deserialize_f32 deserialize_f64
    );

    wide_numbers!(
        deserialize_i128 i128, visit_i128;
        deserialize_u128 u128, visit_u128;
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
        Whole(Cow::Borrowed(self.skip()?)).deserialize_newtype_struct(name, visitor)
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

/// The key of a field, or of an entry whose keys are numbers or flags.
struct Key<'a>(&'a str);

impl Key<'_> {
    /// The number that it is, if it is one.
    #[inline(never)]
    fn number(&self) -> Option<Number> {
        let mut reader = Reader { text: self.0, at: 0, depth: 0, has_left: false };
        let number = reader.written_number().ok()?.value();
        number.filter(|_| reader.at == self.0.len())
    }
}

macro_rules! number_keys {
    ($($method:ident)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Trouble> {
            match self.number() {
                Some(number) => number.visit(visitor),
                None => visitor.visit_str(self.0),
            }
        }
    )*};
}

macro_rules! wide_keys {
    ($($method:ident $number:ty, $visit:ident;)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Trouble> {
            match self.number().and_then(|_| self.0.parse::<$number>().ok()) {
                Some(wide) => visitor.$visit(wide),
                None => visitor.visit_str(self.0),
            }
        }
    )*};
}

impl<'de> Deserializer<'de> for Key<'_> {
    type Error = Trouble;

    number_keys!(
        deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_u8 deserialize_u16 deserialize_u32
        deserialize_u64 deserialize_f32 deserialize_f64
    );

    wide_keys!(
        deserialize_i128 i128, visit_i128;
        deserialize_u128 u128, visit_u128;
    );

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Trouble> {
        visitor.visit_str(self.0)
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Trouble> {
        match self.0 {
            "true" => visitor.visit_bool(true),
            "false" => visitor.visit_bool(false),
            other => visitor.visit_str(other),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Trouble> {
        visitor.visit_some(self)
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
        char str string bytes byte_buf unit unit_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}

/// The text of a value that is kept as it stands. `serde_json` hands such a value over as a record of one field, whose name
/// is that of the type.
struct Whole<'de>(Cow<'de, str>);

impl<'de> Deserializer<'de> for Whole<'de> {
    type Error = Trouble;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Trouble> {
        match self.0 {
            Cow::Borrowed(text) => visitor.visit_borrowed_str(text),
            Cow::Owned(text) => visitor.visit_string(text),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value, Trouble> {
        visitor.visit_map(WholeField { name, text: Some(self.0) })
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct seq
        tuple tuple_struct map struct enum identifier ignored_any
    }
}

struct WholeField<'de> {
    name: &'static str,
    text: Option<Cow<'de, str>>,
}

impl<'de> MapAccess<'de> for WholeField<'de> {
    type Error = Trouble;

    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Trouble> {
        self.text.is_some().then(|| seed.deserialize(Key(self.name))).transpose()
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Trouble> {
        seed.deserialize(Whole(self.text.take().unwrap_or_default()))
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
        Self::told(&[MISSING, name, "`"])
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

    #[test]
    fn wide_numbers_and_keys_are_those_of_serde_json() {
        for number in [
            "0",
            "-0",
            "-1",
            "7.0",
            "7e2",
            "07",
            "+7",
            " 7",
            "100000000000000000000",
            "-170141183460469231731687303715884105728",
            "340282366920938463463374607431768211455",
            "340282366920938463463374607431768211456",
            "x",
        ] {
            assert_eq!(read::<u128>(number).ok(), serde_json::from_str::<u128>(number).ok(), "{number}");
            assert_eq!(read::<i128>(number).ok(), serde_json::from_str::<i128>(number).ok(), "{number}");
            let text = &format!(r#"{{"{number}": 1}}"#);
            let own = read::<BTreeMap<u128, u8>>(text).ok();
            assert_eq!(own, serde_json::from_str::<BTreeMap<u128, u8>>(text).ok(), "{text}");
            let own = read::<BTreeMap<i128, u8>>(text).ok();
            assert_eq!(own, serde_json::from_str::<BTreeMap<i128, u8>>(text).ok(), "{text}");
            let own = read::<BTreeMap<Option<u8>, u8>>(text).ok();
            assert_eq!(own, serde_json::from_str::<BTreeMap<Option<u8>, u8>>(text).ok(), "{text}");
        }
        for text in [r#"{"true": 1, "false": 2}"#, r#"{"True": 1}"#, "{}"] {
            let own = read::<BTreeMap<bool, u8>>(text).ok();
            assert_eq!(own, serde_json::from_str::<BTreeMap<bool, u8>>(text).ok(), "{text}");
        }
        assert_eq!(expected::<u128>("-1").unwrap(), "expected u128");
    }

    #[test]
    fn what_holds_more_than_its_type_takes_is_another_shape() {
        assert_eq!(expected::<(u8, u8)>("[1, 2, 3]").unwrap(), "expected the end of the list");
        assert_eq!(expected::<Case>(r#"{"Two": [1, -2, 3]}"#).unwrap(), "expected the end of the list");
        assert_eq!(expected::<Case>(r#"{"One": 1, "Two": [1, -2]}"#).unwrap(), "expected the end of the object");
        for text in ["[1, 2 3]", "[1, 2}", "[1, 2", "[1, 2,", "[1, 2,]", "[1, 2, [3}", "[1, 2, 3"] {
            assert_eq!(expected::<(u8, u8)>(text), None, "{text} is no JSON");
        }
        for text in [r#"{"One": 1, "#, r#"{"One": 1, "Two""#, r#"{"One": 1, "Two": "#, r#"{"One": 1, 2}"#] {
            assert_eq!(expected::<Case>(text), None, "{text} is no JSON");
        }
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

    /// Of floats, the last digits may differ: `serde_json` and this reader come to them by other steps.
    fn is_same(own: &Value, theirs: &Value) -> bool {
        match (own, theirs) {
            (Value::Number(own), Value::Number(theirs)) if own.is_f64() && theirs.is_f64() => {
                let (own, theirs) = (own.as_f64().unwrap(), theirs.as_f64().unwrap());
                (own - theirs).abs() <= theirs.abs() * 1e-15
            }
            (Value::Array(own), Value::Array(theirs)) => {
                own.len() == theirs.len() && own.iter().zip(theirs).all(|(own, theirs)| is_same(own, theirs))
            }
            (Value::Object(own), Value::Object(theirs)) => {
                own.len() == theirs.len()
                    && own.iter().zip(theirs).all(|(own, theirs)| own.0 == theirs.0 && is_same(own.1, theirs.1))
            }
            _ => own == theirs,
        }
    }

    fn agree(text: &str) -> bool {
        match (read::<Value>(text), serde_json::from_str::<Value>(text)) {
            (Ok(own), Ok(theirs)) => is_same(&own, &theirs),
            (own, theirs) => own.is_err() && theirs.is_err(),
        }
    }

    #[test]
    fn numbers_are_those_of_serde_json() {
        for text in [
            "0",
            "-0",
            "18446744073709551615",
            "18446744073709551616",
            "-9223372036854775808",
            "-9223372036854775809",
            "0.1",
            "1.10",
            "0.30000000000000004",
            "123456789012345678901234567890.123456789012345678901234567890",
            "1e22",
            "1e23",
            "1e308",
            "1e309",
            "-1e400",
            "1e-300",
            "1e-400",
            "0e999999999999",
            "1e-999999999999",
            "0.00000000000000000000000000000000000001e40",
            "01",
            "-",
            "1.",
            ".5",
            "1e",
            "1e+",
            "+1",
            "1.5.5",
            "0x10",
            "--1",
        ] {
            assert!(agree(text), "{text}: {:?}", read::<Value>(text));
        }
        assert_eq!(read::<f64>("0.1").unwrap(), 0.1);
        assert_eq!(read::<f64>("-1234.5678").unwrap(), -1234.5678);
        assert_eq!(read::<i64>("-9223372036854775808").unwrap(), i64::MIN);
        assert!(read::<i64>("-0").is_err(), "it is a float, as for serde_json");
    }

    #[test]
    fn texts_are_those_of_serde_json() {
        for text in [
            r#""""#,
            r#""a\"\\\/\b\f\n\r\tb""#,
            r#""\u0041\u00e9\u20AC\ud83d\ude00x""#,
            r#""\ud83d""#,
            r#""\ude00""#,
            r#""\ud83dx""#,
            r#""\ud83d\ud83d""#,
            r#""\ud83d\n""#,
            r#""\u12""#,
            r#""\u12g4""#,
            r#""\x""#,
            r#""\"#,
            r#"""#,
            "\"\n\"",
            "\"\u{7f}é€😀\"",
        ] {
            assert!(agree(text), "{text}: {:?}", read::<Value>(text));
            let kept = read::<Box<RawValue>>(text).ok().map(|raw| raw.get().to_owned());
            assert_eq!(
                kept,
                serde_json::from_str::<Box<RawValue>>(text).ok().map(|raw| raw.get().to_owned()),
                "{text}"
            );
        }
    }

    #[test]
    fn a_text_of_ours_is_kept_if_it_is_json() {
        for text in [r#"{"a": [1, -2.50, "x"]}"#, "12.50", "[]", "{} ", "", "1 2", "+1", "{a: 1}", "[1,]", r#"{"a" 1}"#]
        {
            let theirs = RawValue::from_string(text.to_owned()).ok().map(|raw| raw.get().to_owned());
            let own = raw(text.to_owned()).map(|raw| raw.get().trim().to_owned());
            assert_eq!(own, theirs, "{text}");
        }
    }

    proptest! {
        #[test]
        fn it_reads_what_serde_json_reads(text in json()) {
            prop_assert!(agree(&text), "{}", text);
            prop_assert_eq!(read::<crate::json::Any>(&text).unwrap().0, read::<Value>(&text).unwrap());
            let text = format!(" {text}\n");
            let kept = read::<Box<RawValue>>(&text).ok().map(|raw| raw.get().to_owned());
            prop_assert_eq!(kept, serde_json::from_str::<Box<RawValue>>(&text).ok().map(|raw| raw.get().to_owned()));
        }

        #[test]
        fn it_refuses_what_serde_json_refuses(text in json(), at in 0_usize..40, instead in r#"[\[\]{}:,"\\ a0.\-]"#) {
            let mut broken: Vec<char> = text.chars().collect();
            let at = at % broken.len();
            broken.splice(at..=at, instead.chars());
            let broken: String = broken.into_iter().collect();
            prop_assert!(agree(&broken), "{}", broken);
            let kept = read::<Box<RawValue>>(&broken).ok().map(|raw| raw.get().to_owned());
            prop_assert_eq!(kept, serde_json::from_str::<Box<RawValue>>(&broken).ok().map(|raw| raw.get().to_owned()));
        }

        #[test]
        fn no_text_makes_it_panic(text in ".{0,60}") {
            _ = read::<Value>(&text);
            _ = read::<Outer>(&format!(r#"{{"inner": {text}"#));
            _ = read::<Box<RawValue>>(&text);
        }
    }
}
