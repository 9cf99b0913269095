//! Structs that take little code to read: what [`input!`](crate::input!) and [`answer!`](crate::answer!) make is built of
//! these.
//!
//! What serde derives for a struct is written anew for every field. Here a field is a name in a list and one call, and what
//! is not its own stands once for all types.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, Visitor};
use serde::forward_to_deserialize_any;

/// Stands for the end of an object among the places of its fields.
pub const END: usize = usize::MAX;

/// Which field comes next, as its place in `names`. `seen` has a bit for each that came.
///
/// # Errors
/// For a name that is not among them, unless `others` may stand there too; and for one that comes again.
#[inline(never)]
pub fn next_field<'de, A: MapAccess<'de>>(
    fields: &mut A,
    names: &'static [&'static str],
    others: bool,
    seen: &mut u64,
) -> Result<usize, A::Error> {
    while let Some(place) = fields.next_key_seed(Name { names, others })? {
        if place == END {
            fields.next_value::<IgnoredAny>()?;
            continue;
        }
        let bit = 1 << place;
        if *seen & bit != 0 {
            return Err(A::Error::duplicate_field(names[place]));
        }
        *seen |= bit;
        return Ok(place);
    }
    Ok(END)
}

/// What a field is called in JSON: its name, without the `r#` before one that is a word of Rust's.
pub const fn plain(name: &'static str) -> &'static str {
    match name.as_bytes() {
        [b'r', b'#', rest @ ..] => match std::str::from_utf8(rest) {
            Ok(rest) => rest,
            Err(_) => name,
        },
        _ => name,
    }
}

/// Reads a field that need not come.
///
/// # Errors
/// As its type reads it.
#[inline(never)]
pub fn fill<'de, A: MapAccess<'de>, T: Deserialize<'de>>(fields: &mut A, field: &mut T) -> Result<(), A::Error> {
    *field = fields.next_value()?;
    Ok(())
}

/// A field that must come.
#[derive(Debug)]
pub struct Needed<T>(Option<T>);

impl<T> Needed<T> {
    /// Before it came.
    pub const NONE: Self = Self(None);
}

impl<'de, T: Deserialize<'de>> Needed<T> {
    /// What came; nothing, if its type has a word for that.
    ///
    /// # Errors
    /// When nothing came.
    pub fn present<E: Error>(self, name: &'static str) -> Result<T, E> {
        match self.0 {
            Some(value) => Ok(value),
            None => T::deserialize(Absent { name, error: PhantomData }),
        }
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Needed<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        T::deserialize(deserializer).map(|value| Self(Some(value)))
    }
}

/// Which of these words is read, as its place among them.
///
/// # Errors
/// When it is none of them.
#[inline(never)]
pub fn word<'de, D: Deserializer<'de>>(deserializer: D, words: &'static [&'static str]) -> Result<usize, D::Error> {
    deserializer.deserialize_str(Word(words))
}

struct Word(&'static [&'static str]);

impl Visitor<'_> for Word {
    type Value = usize;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a word")
    }

    fn visit_str<E: Error>(self, word: &str) -> Result<usize, E> {
        let place = self.0.iter().position(|own| *own == word);
        place.ok_or_else(|| E::unknown_variant(word, self.0))
    }
}

struct Name {
    names: &'static [&'static str],
    others: bool,
}

impl<'de> DeserializeSeed<'de> for Name {
    type Value = usize;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<usize, D::Error> {
        deserializer.deserialize_identifier(self)
    }
}

impl Visitor<'_> for Name {
    type Value = usize;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a field's name")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<usize, E> {
        match self.names.iter().position(|own| *own == name) {
            Some(place) => Ok(place),
            None if self.others => Ok(END),
            None => Err(E::unknown_field(name, self.names)),
        }
    }
}

struct Absent<E> {
    name: &'static str,
    error: PhantomData<E>,
}

impl<'de, E: Error> Deserializer<'de> for Absent<E> {
    type Error = E;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, E> {
        Err(E::missing_field(self.name))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, E> {
        visitor.visit_none()
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct newtype_struct
        seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

/// Makes a struct that an operation reads: with a schema, and with a reader that refuses what is no field of it.
///
/// It does what `#[derive(Deserialize, JsonSchema)]` with `#[serde(deny_unknown_fields)]` does, in a fifth of the code: in
/// a component with many operations that is the difference. A field without a value may be left out if it is an `Option`;
/// one with `#[serde(default)]` or `= value` may be left out in any case: its type has a `Default`, and a value stands in the
/// schema, so that the type of one is `Serialize` as well, as those of [`words!`](crate::words!) are. A struct has at most
/// 64 fields.
///
/// A field is called in JSON what it is called here. The reader would not hear of another name, so this does not compile:
///
/// ```compile_fail
/// wharfage_sdk::input! {
///     struct Input {
///         #[schemars(rename = "customer-id")]
///         customer: String,
///     }
/// }
/// ```
///
/// ```
/// use wharfage_sdk::input;
///
/// input! {
///     /// Which orders.
///     #[derive(Clone, Debug)]
///     pub struct Input {
///         /// The customer's id.
///         customer: String,
///         /// Only those in this status.
///         #[serde(default)]
///         status: Option<String>,
///         /// How many to a page.
///         #[schemars(range(min = 1, max = 100))]
///         limit: u32 = 100,
///     }
/// }
///
/// let input: Input = wharfage_sdk::json::parse(br#"{"customer": "7"}"#).unwrap();
/// assert_eq!((input.customer.as_str(), input.status, input.limit), ("7", None, 100));
/// assert!(wharfage_sdk::json::parse::<Input>(br#"{"customer": "7", "limt": 1}"#).is_none());
/// ```
#[macro_export]
macro_rules! input {
    ($(
        $(#[doc = $about:expr])*
        $(#[derive($($derive:ident),+)])?
        $visible:vis struct $name:ident {
            $(
                $(#[doc = $doc:expr])*
                $(#[serde($serde:ident)])?
                $(#[schemars($($schemars:tt)*)])?
                $field_visible:vis $field:ident: $type:ty $(= $value:expr)?
            ),* $(,)?
        }
    )+) => {$(
        $(#[doc = $about])*
        $(#[derive($($derive),+)])?
        #[derive($crate::schemars::JsonSchema)]
        #[schemars(crate = "wharfage_sdk::schemars")]
        #[serde(deny_unknown_fields)]
        $visible struct $name {
            $(
                $(#[doc = $doc])*
                $(#[serde($serde)])?
                $(#[serde(default)] #[schemars(extend("default" = $value))])?
                $(#[schemars($($schemars)*)])?
                $field_visible $field: $type,
            )*
        }

        $($($crate::__input!(@schema $($schemars)*);)?)*
        $crate::__input!(@read $name false $($field: $type, $($serde)?, $($value)?,;)*);
    )+};
}

/// Makes an enum that is one of some words, which it is read from and written as: with a schema, and in a fraction of the
/// code that `#[derive(Deserialize)]` makes of it. `Clone` and `Copy` must be derived.
///
/// ```
/// use wharfage_sdk::words;
///
/// words! {
///     /// Which end comes first.
///     #[derive(Clone, Copy, Debug, PartialEq)]
///     pub enum Sort {
///         /// The oldest.
///         Ascending = "asc",
///         /// The newest.
///         Descending = "desc",
///     }
/// }
///
/// assert_eq!(wharfage_sdk::json::parse(br#""asc""#), Some(Sort::Ascending));
/// assert_eq!(wharfage_sdk::json::parse::<Sort>(br#""Ascending""#), None);
/// assert_eq!(Sort::Descending.word(), "desc");
/// ```
#[macro_export]
macro_rules! words {
    (
        $(#[doc = $about:expr])*
        #[derive($($derive:ident),+)]
        $visible:vis enum $name:ident {
            $($(#[$attribute:meta])* $case:ident = $word:literal,)+
        }
    ) => {
        $(#[doc = $about])*
        #[derive($($derive,)+ $crate::schemars::JsonSchema)]
        #[schemars(crate = "wharfage_sdk::schemars")]
        $visible enum $name {
            $($(#[$attribute])* #[serde(rename = $word)] $case,)+
        }

        impl<'de> $crate::serde::Deserialize<'de> for $name {
            fn deserialize<D: $crate::serde::Deserializer<'de>>(
                deserializer: D,
            ) -> ::std::result::Result<Self, D::Error> {
                const CASES: &[$name] = &[$($name::$case),+];
                $crate::json::input::word(deserializer, &[$($word),+]).map(|place| CASES[place])
            }
        }

        impl $crate::serde::Serialize for $name {
            fn serialize<S: $crate::serde::Serializer>(
                &self,
                serializer: S,
            ) -> ::std::result::Result<S::Ok, S::Error> {
                serializer.serialize_str(self.word())
            }
        }

        impl $name {
            /// The word that it is read from.
            #[allow(dead_code)] // not every plugin writes it
            $visible fn word(self) -> &'static str {
                match self {
                    $(Self::$case => $word,)+
                }
            }
        }
    };
}

/// Makes a struct that is read from what a provider answers: fields that it does not name are passed over.
///
/// It does what `#[derive(Deserialize)]` does, in a fifth of the code: in a component with many kinds of records that is
/// the difference. A field may be left out as in [`input!`](crate::input!); one that the provider calls something else has
/// that name behind it. A struct has at most 64 fields.
///
/// ```
/// use wharfage_sdk::answer;
///
/// answer! {
///     struct Order {
///         number: String = "orderNumber",
///         note: Option<String>,
///     }
/// }
///
/// let order: Order = wharfage_sdk::json::parse(br#"{"orderNumber": "7", "is_new": true}"#).unwrap();
/// assert_eq!((order.number.as_str(), order.note), ("7", None));
/// ```
#[macro_export]
macro_rules! answer {
    ($(
        $(#[doc = $about:expr])*
        $(#[derive($($derive:ident),+)])?
        $visible:vis struct $name:ident {
            $(
                $(#[doc = $doc:expr])*
                $(#[serde($serde:ident)])?
                $field_visible:vis $field:ident: $type:ty $(= $key:literal)?
            ),* $(,)?
        }
    )+) => {$(
        $(#[doc = $about])*
        $(#[derive($($derive),+)])?
        $visible struct $name {
            $(
                $(#[doc = $doc])*
                $field_visible $field: $type,
            )*
        }

        $crate::__input!(@read $name true $($field: $type, $($serde)?,, $($key)?;)*);
    )+};
}

#[doc(hidden)]
#[macro_export]
macro_rules! __input {
    (@read $name:ident $others:literal
        $($field:ident: $type:ty, $($serde:ident)?, $($value:expr)?, $($key:literal)?;)*
    ) => {
        impl<'de> $crate::serde::Deserialize<'de> for $name {
            fn deserialize<D: $crate::serde::Deserializer<'de>>(
                deserializer: D,
            ) -> ::std::result::Result<Self, D::Error> {
                const NAMES: &[&str] = &[$($crate::__input!(@name $field $($key)?)),*];
                // Which came is a bit each.
                const _: () = assert!(NAMES.len() <= 64, "a struct that is read has at most 64 fields");

                #[allow(non_camel_case_types)]
                enum Place {
                    $($field),*
                }

                struct Object;

                impl<'de> $crate::serde::de::Visitor<'de> for Object {
                    type Value = $name;

                    fn expecting(&self, formatter: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                        formatter.write_str(concat!("struct ", stringify!($name)))
                    }

                    #[allow(clippy::never_loop)] // of a struct without fields
                    fn visit_map<A: $crate::serde::de::MapAccess<'de>>(
                        self,
                        mut fields: A,
                    ) -> ::std::result::Result<$name, A::Error> {
                        use $crate::json::input as reading;

                        let mut seen = 0;
                        $(let mut $field = $crate::__input!(@start $type; $($serde)?; $($value)?);)*
                        loop {
                            let place = reading::next_field(&mut fields, NAMES, $others, &mut seen)?;
                            match place {
                                $(_ if place == Place::$field as usize => reading::fill(&mut fields, &mut $field)?,)*
                                _ => break,
                            }
                        }
                        Ok($name { $($field: $crate::__input!(@end $field; $($serde)?; $($value)?; $($key)?)),* })
                    }
                }

                deserializer.deserialize_struct(stringify!($name), NAMES, Object)
            }
        }
    };
    (@schema) => {};
    (@schema rename $($rest:tt)*) => {
        compile_error!("a field of input! is called in JSON what it is called here: its reader hears of no `rename`");
    };
    (@schema $other:tt $($rest:tt)*) => {
        $crate::__input!(@schema $($rest)*);
    };
    (@start $type:ty; default;) => {
        <$type as Default>::default()
    };
    (@start $type:ty;; $value:expr) => {{
        let value: $type = $value;
        value
    }};
    (@start $type:ty;;) => {
        $crate::json::input::Needed::<$type>::NONE
    };
    (@end $field:ident; default;; $($key:literal)?) => {
        $field
    };
    (@end $field:ident;; $value:expr;) => {
        $field
    };
    (@end $field:ident;;; $($key:literal)?) => {
        $field.present($crate::__input!(@name $field $($key)?))?
    };
    (@name $field:ident) => {
        const { $crate::json::input::plain(stringify!($field)) }
    };
    (@name $field:ident $key:literal) => {
        $key
    };
}

#[cfg(test)]
mod tests {
    use serde::{Deserialize, Serialize};

    crate::input! {
        /// Which orders.
        #[derive(Clone)]
        struct Input {
            /// The customer.
            id: u32,
            /// Nothing needs to be said.
            note: Option<String>,
            /// Some of them.
            #[serde(default)]
            #[schemars(length(max = 2))]
            names: Vec<String>,
            /// How many.
            #[schemars(range(min = 1, max = 9))]
            limit: u32 = LIMIT,
            /// Which kind.
            r#type: Option<String>,
        }
    }

    const LIMIT: u32 = 7;

    #[derive(Deserialize, Serialize, schemars::JsonSchema)]
    #[serde(deny_unknown_fields)]
    #[schemars(rename = "Input")]
    /// Which orders.
    struct Derived {
        /// The customer.
        id: u32,
        /// Nothing needs to be said.
        note: Option<String>,
        /// Some of them.
        #[serde(default)]
        #[schemars(length(max = 2))]
        names: Vec<String>,
        /// How many.
        #[serde(default = "limit")]
        #[schemars(range(min = 1, max = 9))]
        limit: u32,
        /// Which kind.
        r#type: Option<String>,
    }

    fn limit() -> u32 {
        LIMIT
    }

    #[test]
    fn its_schema_is_that_of_a_derived_one() {
        let settings = schemars::generate::SchemaSettings::draft2020_12().for_deserialize();
        let own = settings.clone().into_generator().into_root_schema_for::<Input>();
        assert_eq!(own, settings.into_generator().into_root_schema_for::<Derived>());
    }

    crate::words! {
        /// Which end comes first.
        #[derive(Clone, Copy, Debug, Default, PartialEq)]
        enum Sort {
            /// The oldest.
            #[default]
            Ascending = "asc",
            /// The newest.
            Descending = "desc",
        }
    }

    crate::input! {
        /// How.
        #[derive(Debug, PartialEq)]
        struct Sorted {
            /// Which end comes first.
            sort: Sort = Sort::Descending,
        }
    }

    #[test]
    fn a_word_may_be_what_a_field_is_without_one() {
        assert_eq!(crate::json::read::<Sorted>("{}").unwrap(), Sorted { sort: Sort::Descending });
        assert_eq!(crate::json::read::<Sorted>(r#"{"sort": "asc"}"#).unwrap(), Sorted { sort: Sort::Ascending });
        let schema = schemars::schema_for!(Sorted);
        assert_eq!(schema.as_value()["properties"]["sort"]["default"], "desc");
    }

    /// What a plugin calls `Result` need not be what everybody does.
    mod with_a_result_of_its_own {
        type Result<T> = std::result::Result<T, crate::Error>;

        crate::words! {
            #[derive(Clone, Copy)]
            enum Unit {
                Metre = "m",
            }
        }
        crate::input! {
            struct Input {
                length: u32,
                unit: Unit,
            }
        }
        crate::answer! {
            struct Answer {
                length: u32,
            }
        }
        crate::operations! {
            /// Measures.
            read "lengths.get" => measured;
        }
        crate::plugin!();

        fn measured(input: Input) -> Result<String> {
            let answer: Answer =
                crate::json::parse(br#"{"length": 7}"#).ok_or_else(|| crate::Error::internal("none"))?;
            Ok(format!("{} {}", input.length + answer.length, input.unit.word()))
        }
    }

    #[test]
    fn a_plugin_may_have_a_result_of_its_own() {
        let [operation] = with_a_result_of_its_own::OPERATIONS else { panic!("it has one operation") };
        assert_eq!(operation.run(r#"{"length": 1, "unit": "m"}"#, None).unwrap().output, r#""8 m""#);
    }

    crate::answer! {
        /// An order.
        #[derive(Serialize)]
        struct Order {
            number: String,
            note: Option<String>,
            #[serde(default)]
            lines: Vec<u32> = "lineNumbers",
            kind: Option<String> = "type",
        }
        struct Match {
            r#match: String,
        }
    }

    #[derive(Deserialize, Serialize)]
    struct DerivedOrder {
        number: String,
        note: Option<String>,
        #[serde(default, rename(deserialize = "lineNumbers"))]
        lines: Vec<u32>,
        #[serde(rename(deserialize = "type"))]
        kind: Option<String>,
    }

    #[test]
    fn an_answer_is_read_and_refused_as_a_derived_one() {
        for text in [
            r#"{"number": "7"}"#,
            r#"{"is_new": {"a": [1]}, "number": "7", "note": "x", "other": null, "lineNumbers": [1, 2], "type": "z", "lines": 1}"#,
            r#"{"other": 1, "other": 2, "number": "7"}"#,
            r#"{"note": "x"}"#,
            r#"{"number": "7", "note": 1}"#,
            r#"{"number": "7", "number": "8"}"#,
            r#"{"number": "7", "lineNumbers": null}"#,
            "[]",
            "null",
            r#"{"number": "7""#,
        ] {
            let own = crate::json::read::<Order>(text).map(|order| serde_json::to_string(&order).unwrap());
            let derived = crate::json::read::<DerivedOrder>(text).map(|order| serde_json::to_string(&order).unwrap());
            let told = |read: Result<String, crate::json::Misfit>| match read {
                Ok(order) => order,
                Err(misfit) => format!("{} {:?}", misfit.at, misfit.expected),
            };
            assert_eq!(told(own), told(derived).replace("DerivedOrder", "Order"), "{text}");
        }
    }

    #[test]
    fn a_field_may_be_called_a_word_of_rust() {
        let read = |text| crate::json::read::<Match>(text).map(|read| read.r#match);
        assert_eq!(read(r#"{"match": "x"}"#).unwrap(), "x");
        assert_eq!(read("{}").unwrap_err().expected.unwrap(), "missing field `match`");
    }

    #[test]
    fn it_reads_and_refuses_as_a_derived_one() {
        for text in [
            r#"{"id": 1}"#,
            r#"{"id": 1, "note": null, "names": ["a"], "limit": 2}"#,
            r#"{"note": "x"}"#,
            r#"{"id": null}"#,
            r#"{"id": 1, "names": null}"#,
            r#"{"id": 1, "type": "x"}"#,
            r#"{"id": 1, "r#type": "x"}"#,
            r#"{"id": 1, "id": 2}"#,
            r#"{"id": 1, "limt": 2}"#,
            r#"{"id": 1, "limit": "2"}"#,
            "[1]",
            "7",
            "{",
        ] {
            let own = crate::json::parse_input::<Input>(text);
            let own = own.map(|Input { id, note, names, limit, r#type }| Derived { id, note, names, limit, r#type });
            let told = |input: Result<Derived, crate::Error>| match input {
                Ok(input) => serde_json::to_string(&input).unwrap(),
                Err(error) => error.message.clone(),
            };
            let told_of = |own| told(own).replace("struct Derived", "struct Input");
            assert_eq!(told_of(own), told_of(crate::json::parse_input::<Derived>(text)), "{text}");
        }
    }
}
