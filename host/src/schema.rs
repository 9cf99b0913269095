//! JSON Schema (2020-12): does a value fit, and if not, where and what was expected.
//!
//! Schemas come from plugins and values from callers and providers, so neither is trusted. A schema is read once into
//! flat nodes: bounded in number, references only into itself, patterns on the linear engine and bounded in size. A
//! check then counts its steps and gives up at a limit, so that a schema that goes round in circles or branches without
//! end costs a bounded time: an error of the limit's, which says whether the schema or the input is too much. What it finds
//! is told in the schema's own words (types, allowed values, names of fields), never in those of the value.
//!
//! Inputs are checked as the schema says. Outputs are checked openly: fields that the schema does not list pass, wherever
//! it closes an object, and are told as new.
//!
//! An own reader, because the crate that was here could neither be stopped nor asked for words without values in them.
//! It is the second opinion in the tests below.

mod check;

use std::collections::{BTreeMap, HashMap};

use regex::{Regex, RegexBuilder};
use serde_json::{Map, Number, Value};

use crate::error::{Error, FieldError, Kind, Result};
use crate::percent;
use crate::text::{shown, shown_lines};

use check::{Check, Mode};
pub(crate) use check::{DEPTH_MAX, Found, PATTERN_TEXT_BYTES_MAX, STEPS_MAX, steps_for};

/// Most schemas inside one schema.
pub(crate) const NODES_MAX: usize = 20_000;
/// Most bytes of one pattern.
pub(crate) const PATTERN_BYTES_MAX: usize = 1_000;
/// Most bytes that one pattern takes once it is compiled.
const PATTERN_COMPILED_BYTES_MAX: usize = 256 << 10;
/// Most patterns inside one schema.
pub(crate) const PATTERNS_MAX: usize = 100;

/// In which way a value differs from a schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum DriftKind {
    /// A field that must be there is not.
    Missing,
    /// The value is of another type.
    Type,
    /// The value is none of those that are allowed.
    Enum,
    /// The text is not written in the format or pattern that is told.
    Format,
    /// A field that is not told at all. It passes.
    New,
    /// A limit of size or number, or a combination, does not hold, or the check could not come to an end.
    Other,
}

impl DriftKind {
    /// Its name in lower case.
    pub fn name(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Type => "type",
            Self::Enum => "enum",
            Self::Format => "format",
            Self::New => "new",
            Self::Other => "other",
        }
    }
}

/// A compiled schema.
pub(crate) struct Schema {
    nodes: Vec<Node>,
}

/// One schema inside: what must hold of a value, the type first.
type Node = Vec<Rule>;

/// Values of which it must be one.
struct Allowed {
    values: Vec<Value>,
    /// The first of them as a sentence says them, one more than it names.
    named: Vec<String>,
    /// Steps that comparing with all of them counts for.
    steps: u64,
}

impl Allowed {
    fn new(values: Vec<Value>) -> Self {
        let named = values.iter().take(check::NAMED_MAX + 1).map(|value| shown(&value.to_string())).collect();
        let steps = values.iter().map(check::weight).sum();
        Self { values, named, steps }
    }
}

/// One thing that must hold. Numbers without a name are indices of nodes.
enum Rule {
    /// The schema `false`.
    Never,
    Types(Types),
    /// `enum` and `const`.
    Values(Allowed),
    AtLeast(Number),
    Above(Number),
    AtMost(Number),
    Below(Number),
    MultipleOf(Number),
    Length {
        min: u64,
        max: u64,
    },
    Pattern(Box<Regex>, String),
    Format(Format),
    ItemCount {
        min: u64,
        max: u64,
    },
    Unique,
    Contains {
        node: usize,
        min: u64,
        max: u64,
    },
    Items {
        first: Vec<usize>,
        rest: Option<usize>,
    },
    UnevaluatedItems(usize),
    FieldCount {
        min: u64,
        max: u64,
    },
    Required(Vec<String>),
    DependentRequired(Vec<(String, Vec<String>)>),
    FieldNames(usize),
    Fields {
        named: BTreeMap<String, usize>,
        patterns: Vec<(Regex, usize)>,
        rest: Option<usize>,
    },
    UnevaluatedFields(usize),
    DependentSchemas(Vec<(String, usize)>),
    /// `allOf` and `$ref`.
    All(Vec<usize>),
    Any(Vec<usize>),
    One(Vec<usize>),
    Not(usize),
    If {
        condition: usize,
        then: Option<usize>,
        otherwise: Option<usize>,
    },
}

/// A set of JSON's types.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Types(u8);

const TYPES: [(&str, &str); 7] = [
    ("null", "null"),
    ("boolean", "a boolean"),
    ("object", "an object"),
    ("array", "an array"),
    ("string", "a string"),
    ("integer", "an integer"),
    ("number", "a number"),
];

impl Types {
    fn add(&mut self, name: &str) -> bool {
        let at = TYPES.iter().position(|(known, _)| *known == name);
        self.0 |= at.map_or(0, |at| 1 << at);
        at.is_some()
    }

    fn words(self) -> impl Iterator<Item = &'static str> {
        TYPES.iter().enumerate().filter(move |(at, _)| self.0 & (1 << at) != 0).map(|(_, (_, words))| *words)
    }

    fn has(self, value: &Value) -> bool {
        let own = match value {
            Value::Null => 0b1,
            Value::Bool(_) => 0b10,
            Value::Object(_) => 0b100,
            Value::Array(_) => 0b1000,
            Value::String(_) => 0b1_0000,
            Value::Number(number) if is_whole(number) => 0b110_0000,
            Value::Number(_) => 0b100_0000,
        };
        self.0 & own != 0
    }
}

/// The words for what a value is.
fn words(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Object(_) => "an object",
        Value::Array(_) => "an array",
        Value::String(_) => "a string",
        Value::Number(number) if is_whole(number) => "an integer",
        Value::Number(_) => "a number",
    }
}

fn is_whole(number: &Number) -> bool {
    number.is_i64() || number.is_u64() || number.as_f64().is_some_and(|number| number.fract() == 0.0)
}

/// The formats that are looked at; all others let everything pass.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Format {
    DateTime,
    Date,
    Email,
    Uri,
    Uuid,
    Ipv4,
    Ipv6,
}

impl Format {
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "date-time" => Self::DateTime,
            "date" => Self::Date,
            "email" => Self::Email,
            "uri" => Self::Uri,
            "uuid" => Self::Uuid,
            "ipv4" => Self::Ipv4,
            "ipv6" => Self::Ipv6,
            _ => return None,
        })
    }

    fn words(self) -> &'static str {
        match self {
            Self::DateTime => "a date with time, as 2026-01-31T12:00:00Z",
            Self::Date => "a date, as 2026-01-31",
            Self::Email => "an e-mail address",
            Self::Uri => "an absolute URL",
            Self::Uuid => "a UUID",
            Self::Ipv4 => "an IPv4 address",
            Self::Ipv6 => "an IPv6 address",
        }
    }

    fn has(self, text: &str) -> bool {
        match self {
            Self::Date => is_date(text),
            Self::DateTime => {
                text.split_at_checked(10).is_some_and(|(date, rest)| is_date(date) && is_time_after_date(rest))
            }
            Self::Email => text.split_once('@').is_some_and(|(name, host)| {
                !name.is_empty() && !host.is_empty() && !text.contains(char::is_whitespace) && !host.contains('@')
            }),
            Self::Uri => url::Url::parse(text).is_ok(),
            Self::Uuid => {
                text.len() == 36
                    && text.bytes().enumerate().all(|(at, byte)| match at {
                        8 | 13 | 18 | 23 => byte == b'-',
                        _ => byte.is_ascii_hexdigit(),
                    })
            }
            Self::Ipv4 => text.parse::<std::net::Ipv4Addr>().is_ok(),
            Self::Ipv6 => text.parse::<std::net::Ipv6Addr>().is_ok(),
        }
    }
}

/// Whether `text` has the shape, where `0` stands for a digit, and no number in it is above its most.
fn is_shaped(text: &str, shape: &str) -> bool {
    text.len() == shape.len()
        && text.bytes().zip(shape.bytes()).all(|(byte, shape)| match shape {
            b'0' => byte.is_ascii_digit(),
            shape => byte == shape,
        })
}

fn is_date(text: &str) -> bool {
    is_shaped(text, "0000-00-00")
        && (1..=12).contains(&text[5..7].parse().unwrap_or(0))
        && (1..=31).contains(&text[8..10].parse().unwrap_or(0))
}

/// `T12:00:00.123Z` or with an offset (RFC 3339).
fn is_time_after_date(rest: &str) -> bool {
    let Some(time) = rest.strip_prefix(['T', 't']) else { return false };
    let Some((clock, rest)) = time.split_at_checked(8) else { return false };
    let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
    let zone = match rest.strip_prefix('.') {
        Some(fraction) if digits(fraction) > 0 => &fraction[digits(fraction)..],
        Some(_) => return false,
        None => rest,
    };
    let is_zone = matches!(zone, "Z" | "z") || is_shaped(zone, "+00:00") || is_shaped(zone, "-00:00");
    is_shaped(clock, "00:00:00") && &clock[..2] <= "23" && &clock[3..5] <= "59" && &clock[6..] <= "60" && is_zone
}

impl Schema {
    /// Reads a schema.
    ///
    /// # Errors
    /// [`Kind::Component`] that says where and what is wrong with it, or which limit it is above.
    pub(crate) fn new(schema: &Value) -> Result<Self> {
        let mut reader =
            Reader { root: schema, nodes: Vec::new(), known: HashMap::new(), waiting: Vec::new(), patterns: 0 };
        let read = reader.node("", schema).and_then(|_| {
            while let Some((index, place, value)) = reader.waiting.pop() {
                let node = reader.rules(&place, value).map_err(|why| format!("{}: {why}", at(&place)))?;
                reader.nodes[index] = node;
            }
            Ok(())
        });
        match read {
            Ok(()) => Ok(Self { nodes: reader.nodes }),
            Err(why) => Err(Error::component("a schema of the plugin is not valid").with_details(shown_lines(&why))),
        }
    }

    /// Whether it lets everything pass.
    pub(crate) fn says_nothing(&self) -> bool {
        self.nodes.first().is_none_or(Vec::is_empty)
    }

    /// Checks an input, of which so many bytes were written.
    ///
    /// # Errors
    /// [`Kind::InvalidRequest`] with path and expectation of each misfit, up to a number; where none was found and the check
    /// did not come to an end, [`Kind::LimitExceeded`].
    pub(crate) fn check_input(&self, value: &Value, bytes: usize) -> Result<()> {
        let mut found = Found::new(Mode::Input);
        let steps = steps_for(bytes);
        let gave_up = Check::new(self, Mode::Input, steps).run(value, &mut found);
        let fields: Vec<FieldError> =
            found.into_entries().into_iter().map(|(path, message)| FieldError { path, message }).collect();
        if fields.is_empty() {
            return gave_up.map_or(Ok(()), |why| Err(why.error(value, steps)));
        }
        let shown: Vec<String> = fields
            .iter()
            .map(|field| format!("{}: {}", if field.path.is_empty() { "(input)" } else { &field.path }, field.message))
            .collect();
        Err(Error::new(Kind::InvalidRequest(fields), "the input does not fit").with_details(shown.join("\n")))
    }

    /// Checks one output, or one item of a list, and adds what differs to `found`. `steps` is what is left of the whole
    /// check, and is lowered.
    pub(crate) fn check_output(&self, value: &Value, steps: &mut u64, found: &mut Found) {
        let mut check = Check::new(self, Mode::Output, *steps);
        if let Some(why) = check.run(value, found) {
            let expected =
                format!("something simpler: the check did not come to an end within its limit {}", why.limit());
            found.add(String::new(), DriftKind::Other, expected, 1);
        }
        *steps = check.steps_left();
    }
}

fn at(place: &str) -> &str {
    if place.is_empty() { "its top" } else { place }
}

/// Reads schemas into nodes, one after the other and never one inside the other.
struct Reader<'v> {
    root: &'v Value,
    nodes: Vec<Node>,
    /// By address: a schema that several references lead to is one node.
    known: HashMap<*const Value, usize>,
    waiting: Vec<(usize, String, &'v Value)>,
    patterns: usize,
}

type Read<T> = std::result::Result<T, String>;

impl<'v> Reader<'v> {
    /// The node of the schema in `value`, to be read when its turn comes.
    fn node(&mut self, place: &str, value: &'v Value) -> Read<usize> {
        if let Some(index) = self.known.get(&std::ptr::from_ref(value)) {
            return Ok(*index);
        }
        if self.nodes.len() >= NODES_MAX {
            return Err(format!("it holds more than {NODES_MAX} schemas (schema_nodes_max)"));
        }
        let index = self.nodes.len();
        self.nodes.push(Node::new());
        self.known.insert(value, index);
        // Only errors show it, and those its start: whole, the places of many inside one long name would be gigabytes.
        self.waiting.push((index, check::start(place).to_owned(), value));
        Ok(index)
    }

    fn rules(&mut self, place: &str, value: &'v Value) -> Read<Node> {
        let schema = match value {
            Value::Bool(true) => return Ok(Vec::new()),
            Value::Bool(false) => return Ok(vec![Rule::Never]),
            Value::Object(schema) => schema,
            _ => return Err("a schema is an object or a boolean".to_owned()),
        };
        for keyword in ["$dynamicRef", "$recursiveRef"] {
            if schema.contains_key(keyword) {
                return Err(format!("`{keyword}` is not known; use `$ref`"));
            }
        }
        if schema.contains_key("$id") && !place.is_empty() {
            return Err("`$id` inside a schema would move its references".to_owned());
        }
        let mut rules = Vec::new();
        self.values(schema, &mut rules)?;
        self.texts_and_numbers(schema, &mut rules)?;
        self.arrays(place, schema, &mut rules)?;
        self.objects(place, schema, &mut rules)?;
        self.combinations(place, schema, &mut rules)?;
        // What others in this node evaluated must be known first.
        if let Some(value) = schema.get("unevaluatedItems") {
            rules.push(Rule::UnevaluatedItems(self.node(&format!("{place}/unevaluatedItems"), value)?));
        }
        if let Some(value) = schema.get("unevaluatedProperties") {
            rules.push(Rule::UnevaluatedFields(self.node(&format!("{place}/unevaluatedProperties"), value)?));
        }
        Ok(rules)
    }

    fn values(&mut self, schema: &'v Map<String, Value>, rules: &mut Node) -> Read<()> {
        let mut types = Types::default();
        let is_known = match schema.get("type") {
            None => true,
            Some(Value::String(name)) => types.add(name),
            Some(Value::Array(names)) if !names.is_empty() => {
                names.iter().all(|name| name.as_str().is_some_and(|name| types.add(name)))
            }
            Some(_) => false,
        };
        if !is_known {
            let names: Vec<&str> = TYPES.iter().map(|(name, _)| *name).collect();
            return Err(format!("`type` is one or several of {}", names.join(", ")));
        }
        if types != Types::default() {
            rules.push(Rule::Types(types));
        }
        match schema.get("enum") {
            None => {}
            Some(Value::Array(values)) => rules.push(Rule::Values(Allowed::new(values.clone()))),
            Some(_) => return Err("`enum` is an array".to_owned()),
        }
        if let Some(value) = schema.get("const") {
            rules.push(Rule::Values(Allowed::new(vec![value.clone()])));
        }
        Ok(())
    }

    fn texts_and_numbers(&mut self, schema: &'v Map<String, Value>, rules: &mut Node) -> Read<()> {
        type OfNumber = fn(Number) -> Rule;
        let limits: [(&str, OfNumber); 5] = [
            ("minimum", Rule::AtLeast),
            ("exclusiveMinimum", Rule::Above),
            ("maximum", Rule::AtMost),
            ("exclusiveMaximum", Rule::Below),
            ("multipleOf", Rule::MultipleOf),
        ];
        for (keyword, rule) in limits {
            match schema.get(keyword) {
                None => {}
                Some(Value::Number(number)) if keyword != "multipleOf" || number.as_f64() > Some(0.0) => {
                    rules.push(rule(number.clone()));
                }
                Some(_) => return Err(format!("`{keyword}` is a number, and `multipleOf` above 0")),
            }
        }
        if let Some((min, max)) = range(schema, "minLength", "maxLength")? {
            rules.push(Rule::Length { min, max });
        }
        if let Some(pattern) = schema.get("pattern") {
            let text = pattern.as_str().ok_or("`pattern` is a string")?;
            rules.push(Rule::Pattern(Box::new(self.pattern(text)?), shown(text)));
        }
        if let Some(format) = schema.get("format") {
            let name = format.as_str().ok_or("`format` is a string")?;
            rules.extend(Format::named(name).map(Rule::Format));
        }
        Ok(())
    }

    fn arrays(&mut self, place: &str, schema: &'v Map<String, Value>, rules: &mut Node) -> Read<()> {
        if let Some((min, max)) = range(schema, "minItems", "maxItems")? {
            rules.push(Rule::ItemCount { min, max });
        }
        match schema.get("uniqueItems") {
            None | Some(Value::Bool(false)) => {}
            Some(Value::Bool(true)) => rules.push(Rule::Unique),
            Some(_) => return Err("`uniqueItems` is a boolean".to_owned()),
        }
        let first = self.several(place, schema, "prefixItems")?.unwrap_or_default();
        let rest = self.one(place, schema, "items")?;
        if !first.is_empty() || rest.is_some() {
            rules.push(Rule::Items { first, rest });
        }
        let (min, max) = range(schema, "minContains", "maxContains")?.unwrap_or((1, u64::MAX));
        let min = if schema.contains_key("minContains") { min } else { 1 };
        if let Some(node) = self.one(place, schema, "contains")? {
            rules.push(Rule::Contains { node, min, max });
        }
        Ok(())
    }

    fn objects(&mut self, place: &str, schema: &'v Map<String, Value>, rules: &mut Node) -> Read<()> {
        if let Some((min, max)) = range(schema, "minProperties", "maxProperties")? {
            rules.push(Rule::FieldCount { min, max });
        }
        if let Some(required) = schema.get("required") {
            rules.push(Rule::Required(names(required, "required")?));
        }
        if let Some(dependent) = schema.get("dependentRequired") {
            let fields = dependent.as_object().ok_or("`dependentRequired` is an object")?;
            let fields = fields.iter().map(|(name, needs)| Ok((name.clone(), names(needs, "dependentRequired")?)));
            rules.push(Rule::DependentRequired(fields.collect::<Read<_>>()?));
        }
        if let Some(node) = self.one(place, schema, "propertyNames")? {
            rules.push(Rule::FieldNames(node));
        }
        let named = self.by_name(place, schema, "properties")?;
        let patterns = self.by_name(place, schema, "patternProperties")?;
        let patterns = patterns.into_iter().map(|(pattern, node)| Ok((self.pattern(&pattern)?, node)));
        let patterns = patterns.collect::<Read<Vec<_>>>()?;
        let rest = self.one(place, schema, "additionalProperties")?;
        if !named.is_empty() || !patterns.is_empty() || rest.is_some() {
            rules.push(Rule::Fields { named: named.into_iter().collect(), patterns, rest });
        }
        let dependent = self.by_name(place, schema, "dependentSchemas")?;
        if !dependent.is_empty() {
            rules.push(Rule::DependentSchemas(dependent));
        }
        Ok(())
    }

    fn combinations(&mut self, place: &str, schema: &'v Map<String, Value>, rules: &mut Node) -> Read<()> {
        if let Some(reference) = schema.get("$ref") {
            rules.push(Rule::All(vec![self.referred(reference)?]));
        }
        type OfNodes = fn(Vec<usize>) -> Rule;
        let several: [(&str, OfNodes); 3] = [("allOf", Rule::All), ("anyOf", Rule::Any), ("oneOf", Rule::One)];
        for (keyword, rule) in several {
            if let Some(nodes) = self.several(place, schema, keyword)? {
                rules.push(rule(nodes));
            }
        }
        if let Some(node) = self.one(place, schema, "not")? {
            rules.push(Rule::Not(node));
        }
        let (condition, then) = (self.one(place, schema, "if")?, self.one(place, schema, "then")?);
        let otherwise = self.one(place, schema, "else")?;
        if let Some(condition) = condition {
            rules.push(Rule::If { condition, then, otherwise });
        }
        Ok(())
    }

    /// The schema a reference points to. It points inside.
    fn referred(&mut self, reference: &Value) -> Read<usize> {
        let text = reference.as_str().ok_or("`$ref` is a string")?;
        let pointer = text
            .strip_prefix('#')
            .filter(|pointer| pointer.is_empty() || pointer.starts_with('/'))
            .ok_or_else(|| format!("the reference `{text}` reaches outside; write it as #/$defs/name"))?;
        let pointer = String::from_utf8_lossy(&percent::decoded(pointer)).into_owned();
        let value = self.root.pointer(&pointer).ok_or_else(|| format!("the reference `{text}` points to nothing"))?;
        self.node(&pointer, value)
    }

    fn one(&mut self, place: &str, schema: &'v Map<String, Value>, keyword: &str) -> Read<Option<usize>> {
        schema.get(keyword).map(|value| self.node(&format!("{place}/{keyword}"), value)).transpose()
    }

    fn several(&mut self, place: &str, schema: &'v Map<String, Value>, keyword: &str) -> Read<Option<Vec<usize>>> {
        let Some(value) = schema.get(keyword) else { return Ok(None) };
        let values = value.as_array().filter(|values| !values.is_empty());
        let values = values.ok_or_else(|| format!("`{keyword}` is an array that is not empty"))?;
        let nodes = values.iter().enumerate().map(|(at, value)| self.node(&format!("{place}/{keyword}/{at}"), value));
        nodes.collect::<Read<Vec<_>>>().map(Some)
    }

    fn by_name(&mut self, place: &str, schema: &'v Map<String, Value>, keyword: &str) -> Read<Vec<(String, usize)>> {
        let Some(value) = schema.get(keyword) else { return Ok(Vec::new()) };
        let fields = value.as_object().ok_or_else(|| format!("`{keyword}` is an object"))?;
        let nodes = fields.iter().map(|(name, value)| {
            Ok((name.clone(), self.node(&format!("{place}/{keyword}/{}", check::escaped(name)), value)?))
        });
        nodes.collect()
    }

    fn pattern(&mut self, text: &str) -> Read<Regex> {
        self.patterns += 1;
        if self.patterns > PATTERNS_MAX {
            return Err(format!("it holds more than {PATTERNS_MAX} patterns (schema_patterns_max)"));
        }
        if text.len() > PATTERN_BYTES_MAX {
            return Err(format!("a pattern is longer than {PATTERN_BYTES_MAX} bytes (schema_pattern_bytes_max)"));
        }
        RegexBuilder::new(&translated(text))
            .size_limit(PATTERN_COMPILED_BYTES_MAX)
            .dfa_size_limit(PATTERN_COMPILED_BYTES_MAX)
            .nest_limit(50)
            .build()
            .map_err(|_| format!("the pattern `{}` is too large, or not one of the linear engine", shown(text)))
    }
}

/// A pattern of ECMA-262 as the engine writes it: the short classes are ASCII, and in brackets a bracket is a bracket.
fn translated(text: &str) -> String {
    let mut out = String::new();
    let mut is_class = false;
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => match letters.next() {
                Some('d') => out.push_str("[0-9]"),
                Some('D') => out.push_str("[^0-9]"),
                Some('w') => out.push_str("[A-Za-z0-9_]"),
                Some('W') => out.push_str("[^A-Za-z0-9_]"),
                Some(other) => out.extend(['\\', other]),
                None => out.push('\\'),
            },
            '[' if !is_class => {
                is_class = true;
                out.push('[');
            }
            ']' => {
                is_class = false;
                out.push(']');
            }
            '[' | '&' | '~' if is_class => out.extend(['\\', letter]),
            other => out.push(other),
        }
    }
    out
}

fn range(schema: &Map<String, Value>, min: &str, max: &str) -> Read<Option<(u64, u64)>> {
    let number = |keyword: &str| match schema.get(keyword) {
        None => Ok(None),
        // 3.0 is an integer too.
        Some(Value::Number(number)) if is_whole(number) && number.as_f64() >= Some(0.0) => {
            Ok(Some(number.as_u64().unwrap_or_else(|| number.as_f64().map_or(u64::MAX, |number| number as u64))))
        }
        Some(_) => Err(format!("`{keyword}` is an integer of at least 0")),
    };
    let (min, max) = (number(min)?, number(max)?);
    Ok((min.is_some() || max.is_some()).then(|| (min.unwrap_or(0), max.unwrap_or(u64::MAX))))
}

fn names(value: &Value, keyword: &str) -> Read<Vec<String>> {
    let names = value.as_array().map(|names| names.iter().map(|name| name.as_str().map(str::to_owned)).collect());
    names.flatten().ok_or_else(|| format!("`{keyword}` is an array of strings"))
}

#[cfg(test)]
mod tests;
