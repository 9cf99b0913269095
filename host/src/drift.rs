//! Contract drift: does the provider still answer what the plugin says it does?
//!
//! Every output (of a list, every item) is held against the operation's output schema, as the operator sets it: `warn`
//! passes what differs and tells it once, `strict` refuses it, `off` does not look. What is kept is where, in which way,
//! how often and when, never a value; a key that the schema does not list and that does not look like the name of a field
//! is a `*`, as is every array index. The output goes on as the plugin wrote it: the check reads a copy.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer as _};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::artifact::Digest;
use crate::error::{Error, Kind, Result};
use crate::manifest::{Needs, Operation};
use crate::observe::metrics::Meter;
use crate::schema::{Found, Schema, steps_for};
use crate::time::Timestamp;

pub use crate::schema::DriftKind;

/// Most records of one connection; what is beyond is counted.
pub(crate) const RECORDS_MAX: usize = 200;
/// Most memory that an output, or an item of a list, may take when it is read to be looked at, in bytes.
const READ_BYTES_MAX: usize = 64 << 20;
/// What is expected of what cannot be read.
const CANNOT_BE_LOOKED_AT: &str = "something that can be looked at: no number is that large, nothing nests that deeply, \
                                   nothing takes more than 64 MiB when it is read";
/// Most misfits that an error names.
const NAMED_MAX: usize = 10;

/// What happens when an answer differs from its schema.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum DriftPolicy {
    /// The call fails with [`Kind::SchemaViolation`]. New fields pass.
    Strict,
    /// The answer passes and the difference is told, once for each place and kind.
    #[default]
    Warn,
    /// Nobody looks.
    Off,
}

impl DriftPolicy {
    /// As it is written in `wharfage.toml`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Strict => "strict",
            Self::Warn => "warn",
            Self::Off => "off",
        }
    }
}

/// One way in which answers differ from an operation's schema.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Drift {
    /// The operation.
    pub operation: String,
    /// Where, as a JSON Pointer (RFC 6901) into the output, or into an item of a list; `*` is any array index or key.
    pub path: String,
    /// In which way.
    pub kind: DriftKind,
    /// How often it was seen.
    pub count: u64,
    /// When it was seen first.
    pub first_seen: Timestamp,
    /// When it was seen last.
    pub last_seen: Timestamp,
    /// The version of the plugin that answered.
    pub plugin_version: String,
    /// The start of the schema's SHA-256, as hexadecimal digits.
    pub schema: String,
}

/// All that differed on a connection since it was made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Drifts {
    /// By operation, path and kind; at most 200.
    pub records: Vec<Drift>,
    /// How many differences were seen beyond those that are kept.
    pub beyond: u64,
}

/// The watch over one connection's answers.
pub(crate) struct Watch {
    policy: DriftPolicy,
    plugin_version: String,
    /// In the order of the operations, each read for the first call; empty when nobody looks.
    schemas: Vec<OnceLock<Result<Schema>>>,
    seen: Mutex<Seen>,
    meter: Option<Arc<Meter>>,
}

#[derive(Default)]
struct Seen {
    records: BTreeMap<(String, String, DriftKind), Drift>,
    beyond: u64,
}

impl Watch {
    /// Over the operations of a plugin, which has answered nothing yet.
    pub(crate) fn new(policy: DriftPolicy, needs: &Needs) -> Self {
        let operations = if policy == DriftPolicy::Off { &[][..] } else { &needs.operations };
        Self {
            policy,
            plugin_version: needs.manifest.plugin.version.to_string(),
            schemas: operations.iter().map(|_| OnceLock::new()).collect(),
            seen: Mutex::default(),
            meter: None,
        }
    }

    /// The same, with what is seen counted there.
    pub(crate) fn counted(self, meter: &Arc<Meter>) -> Self {
        Self { meter: Some(meter.clone()), ..self }
    }

    /// Reads the schema of an operation, the one at `index`: before anything is sent, for an answer that cannot be looked at
    /// would be lost.
    ///
    /// # Errors
    /// [`Kind::Component`] when it cannot be used.
    pub(crate) fn ready(&self, index: usize, operation: &Operation) -> Result<()> {
        self.schema(index, operation).map(drop)
    }

    /// Nothing where nobody looks.
    fn schema(&self, index: usize, operation: &Operation) -> Result<Option<&Schema>> {
        let Some(schema) = self.schemas.get(index) else { return Ok(None) };
        schema.get_or_init(|| operation.read_output_schema()).as_ref().map(Some).map_err(Error::clone)
    }

    /// Holds an output against the schema of its operation, the one at `index`, and tells what is seen for the first time.
    ///
    /// # Errors
    /// [`Kind::SchemaViolation`] when the policy is strict and something differs that is not merely new. What was seen is
    /// kept in either case, and told to `tell`. Otherwise as [`Watch::ready`].
    pub(crate) fn look(
        &self,
        index: usize,
        operation: &Operation,
        output: &str,
        now: Timestamp,
        tell: impl FnMut(&Drift),
    ) -> Result<()> {
        let Some(schema) = self.schema(index, operation)?.filter(|schema| !schema.says_nothing()) else {
            return Ok(());
        };
        let found = look(schema, operation.is_list, output);
        if found.is_empty() {
            return Ok(());
        }
        if let Some(meter) = &self.meter {
            let all: u64 = found.misfits().map(|(.., count)| count).sum();
            meter.operation(index).drifted(all.saturating_add(found.beyond()));
        }
        self.keep(operation, &found, now, tell);
        if self.policy == DriftPolicy::Strict && found.misfits().any(|(_, kind, ..)| kind != DriftKind::New) {
            return Err(refusal(&operation.name, &found));
        }
        Ok(())
    }

    /// All that was seen.
    pub(crate) fn drifts(&self) -> Drifts {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        Drifts { records: seen.records.values().cloned().collect(), beyond: seen.beyond }
    }

    fn keep(&self, operation: &Operation, found: &Found, now: Timestamp, mut tell: impl FnMut(&Drift)) {
        let mut first = Vec::new();
        let schema = OnceCell::new();
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.beyond = seen.beyond.saturating_add(found.beyond());
        for (path, kind, _, count) in found.misfits() {
            let key = (operation.name.clone(), path.to_owned(), kind);
            if let Some(known) = seen.records.get_mut(&key) {
                known.count = known.count.saturating_add(count);
                known.last_seen = known.last_seen.max(now);
            } else if seen.records.len() < RECORDS_MAX {
                let drift = Drift {
                    operation: operation.name.clone(),
                    path: path.to_owned(),
                    kind,
                    count,
                    first_seen: now,
                    last_seen: now,
                    plugin_version: self.plugin_version.clone(),
                    schema: schema.get_or_init(|| digest(&operation.output_schema)).clone(),
                };
                first.push(drift.clone());
                seen.records.insert(key, drift);
            } else {
                seen.beyond = seen.beyond.saturating_add(count);
            }
        }
        drop(seen);
        first.iter().for_each(&mut tell);
    }
}

/// In which ways an output differs from the schema. Of a list one item is read at a time.
fn look(schema: &Schema, is_list: bool, output: &str) -> Found {
    let mut found = Found::of_outputs();
    let mut steps = steps_for(output.len());
    let mut look_at = |text: &str| {
        if steps == 0 {
            return;
        }
        let text = Some(text).filter(|text| takes(text) <= READ_BYTES_MAX);
        match text.and_then(|text| serde_json::from_str(text).ok()) {
            Some(value) => schema.check_output(&value, &mut steps, &mut found),
            None => found.add(String::new(), DriftKind::Other, CANNOT_BE_LOOKED_AT.to_owned(), 1),
        }
    };
    if !is_list {
        look_at(output);
        return found;
    }
    let items = Items(|item: &RawValue| look_at(item.get()));
    if serde_json::Deserializer::from_str(output).deserialize_seq(items).is_err() {
        found.add(String::new(), DriftKind::Other, CANNOT_BE_LOOKED_AT.to_owned(), 1);
    }
    found
}

/// What is done with each item of a list, while the list is read.
struct Items<F>(F);

impl<'de, F: FnMut(&'de RawValue)> Visitor<'de> for Items<F> {
    type Value = ();

    fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut items: A) -> std::result::Result<(), A::Error> {
        while let Some(item) = items.next_element()? {
            (self.0)(item);
        }
        Ok(())
    }
}

/// The memory in bytes that a text takes when it is read into values, at most. Where even the densest text is below what it
/// may take, that is said without looking.
fn takes(text: &str) -> usize {
    /// Of an object, which holds places for eleven fields; of an array; and of one more item or field.
    const OBJECT: usize = 600;
    const ARRAY: usize = 128;
    const MORE: usize = 112;
    if text.len() <= READ_BYTES_MAX / OBJECT {
        return text.len() * OBJECT;
    }
    let (mut bytes, mut is_text) = (text.len(), false);
    let mut letters = text.bytes();
    while let Some(letter) = letters.next() {
        match letter {
            b'"' => is_text = !is_text,
            b'\\' if is_text => _ = letters.next(),
            b'{' if !is_text => bytes += OBJECT,
            b'[' if !is_text => bytes += ARRAY,
            b',' if !is_text => bytes += MORE,
            _ => {}
        }
    }
    bytes
}

/// The start of a schema's SHA-256.
fn digest(schema: &Value) -> String {
    let digest = Digest::of(schema.to_string().as_bytes()).to_string();
    digest.trim_start_matches("sha256:").chars().take(12).collect()
}

fn refusal(operation: &str, found: &Found) -> Error {
    let place = |path: &str| if path.is_empty() { "(output)".to_owned() } else { path.to_owned() };
    let misfits: Vec<_> = found.misfits().filter(|(_, kind, ..)| *kind != DriftKind::New).collect();
    let lines = misfits.iter().take(NAMED_MAX).map(|(path, kind, expected, count)| {
        let often = if *count > 1 { format!(", {count} times") } else { String::new() };
        format!("{} {}: {expected}{often}", place(path), kind.name())
    });
    let mut details: Vec<String> = lines.collect();
    if misfits.len() > NAMED_MAX {
        details.push(format!("and {} more", misfits.len() - NAMED_MAX));
    }
    details.push("To let it pass and be told of it, set on the connection:   drift = \"warn\"".to_owned());
    let first = misfits.first().map(|(path, kind, ..)| format!("{} ({})", place(path), kind.name()));
    let first = first.unwrap_or_default();
    Error::new(Kind::SchemaViolation, format!("{operation} answered something else than its schema tells, at {first}"))
        .with_details(details.join("\n"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::error::RequestSent;

    const CANARY: &str = "s3cret-canary";

    /// A watch over one operation, and that.
    struct Watching(Watch, Operation);

    fn watch(policy: DriftPolicy, schema: &Value) -> Watching {
        let (plugin_version, schemas) = ("1.2.3".to_owned(), vec![OnceLock::new()]);
        let operation = Operation {
            name: "orders.list".to_owned(),
            description: String::new(),
            input_schema: json!({}),
            output_schema: schema.clone(),
            effect: crate::manifest::Effect::Read,
            is_list: false,
        };
        Watching(Watch { policy, plugin_version, schemas, seen: Mutex::default(), meter: None }, operation)
    }

    impl Watching {
        fn look(&self, is_list: bool, output: &str, at_ms: u64, tell: impl FnMut(&Drift)) -> Result<()> {
            let operation = Operation { is_list, ..self.1.clone() };
            self.0.look(0, &operation, output, Timestamp::from_millis(at_ms), tell)
        }

        fn drifts(&self) -> Drifts {
            self.0.drifts()
        }
    }

    fn order() -> Value {
        json!({
            "type": "object",
            "required": ["id"],
            "properties": {
                "id": {"type": "string"},
                "status": {"enum": ["open", "closed"]},
                "at": {"type": "string", "format": "date-time"},
                "lines": {"type": "array", "items": {"type": "object", "properties": {"sku": {"type": "string"}}}},
                "labels": {"type": "object", "additionalProperties": {"type": "string"}}
            },
            "additionalProperties": false
        })
    }

    fn seen(schema: &Value, output: &Value) -> Vec<(String, &'static str, u64)> {
        let watch = watch(DriftPolicy::Warn, schema);
        watch.look(output.is_array(), &output.to_string(), 1, |_| {}).unwrap();
        let records = watch.drifts().records;
        records.into_iter().map(|drift| (drift.path, drift.kind.name(), drift.count)).collect()
    }

    #[test]
    fn each_kind_is_told_with_its_place() {
        let told = |output: Value, path: &str, kind: &str| {
            assert_eq!(
                seen(&order(), &output),
                [(path.to_owned(), kind, 1)].map(|(p, k, c)| (p, k_of(k), c)),
                "{output}"
            );
        };
        told(json!({"status": "open"}), "/id", "missing");
        told(json!({"id": 7}), "/id", "type");
        told(json!({"id": "a", "status": CANARY}), "/status", "enum");
        told(json!({"id": "a", "at": CANARY}), "/at", "format");
        told(json!({"id": "a", "more": CANARY}), "/more", "new");
        told(json!({"id": "a", "lines": [{"sku": "x"}, {"sku": 1}]}), "/lines/*/sku", "type");
        told(json!({"id": "a", "labels": {CANARY: 1}}), "/labels/*", "type");
        told(json!({"id": "a", "user@example.org": 1}), "/*", "new");
        told(json!("x"), "", "type");
        assert_eq!(seen(&order(), &json!({"id": "a", "lines": [], "at": "2026-01-31T10:00:00.5+01:00"})), []);
    }

    fn k_of(name: &str) -> &'static str {
        use DriftKind::*;
        [Missing, Type, Enum, Format, New, Other].into_iter().map(DriftKind::name).find(|own| *own == name).unwrap()
    }

    #[test]
    fn items_of_a_list_are_counted_together() {
        let output = json!([{"id": "a"}, {"id": 1}, {"id": 2, "more": 1}, {}]);
        assert_eq!(
            seen(&order(), &output),
            [("/id".to_owned(), "missing", 1), ("/id".to_owned(), "type", 2), ("/more".to_owned(), "new", 1)]
        );
    }

    #[test]
    fn one_of_several_alternatives_is_enough() {
        let schema = json!({"oneOf": [
            {"type": "object", "properties": {"kind": {"const": "a"}, "a": {"type": "integer"}}, "required": ["kind"]},
            {"type": "object", "properties": {"kind": {"const": "b"}, "b": {"type": "integer"}}, "required": ["kind"]},
            {"type": "null"}
        ]});
        assert_eq!(seen(&schema, &json!({"kind": "b", "b": 1})), []);
        assert_eq!(seen(&schema, &json!({"kind": "b", "b": "x"})), [("/b".to_owned(), "type", 1)]);
        assert_eq!(seen(&schema, &json!({"kind": "b", "c": "x"})), [("/c".to_owned(), "new", 1)]);
        assert_eq!(seen(&schema, &json!(7)), [("".to_owned(), "type", 1)]);
    }

    #[test]
    fn strict_refuses_and_new_fields_pass() {
        let watch = watch(DriftPolicy::Strict, &order());
        let look = |output: Value| watch.look(true, &output.to_string(), 1, |_| {});
        assert!(look(json!([{"id": "a", "more": 1}])).is_ok());
        let error = look(json!([{"id": "a"}, {"id": "b", "status": CANARY}])).unwrap_err();
        assert_eq!((error.kind(), error.request_sent()), (&Kind::SchemaViolation, RequestSent::No));
        assert!(error.message().contains("/status (enum)"), "{error}");
        assert!(error.to_string().contains(r#"expected one of "open", "closed""#), "{error}");
        assert!(error.to_string().contains("drift = \"warn\""), "{error}");
        assert!(!format!("{error:?}{:?}", watch.drifts()).contains(CANARY));
        // Kept all the same, so that it can be looked at later.
        assert_eq!(watch.drifts().records.len(), 2);
    }

    #[test]
    fn records_are_bounded_and_told_once() {
        let watch = watch(DriftPolicy::Warn, &order());
        let mut told = 0;
        for round in 0..3u64 {
            for from in [0, 150] {
                let mut fields: serde_json::Map<String, Value> =
                    (from..from + 150).map(|n| (format!("new_{n}"), Value::Null)).collect();
                fields.insert("id".into(), "a".into());
                let output = Value::from(fields).to_string();
                watch.look(false, &output, round, |_| told += 1).unwrap();
            }
        }
        let drifts = watch.drifts();
        assert_eq!((drifts.records.len(), told, drifts.beyond), (RECORDS_MAX, RECORDS_MAX, 3 * 100));
        let first = &drifts.records[0];
        assert_eq!(
            (first.count, first.first_seen, first.last_seen),
            (3, Timestamp::from_millis(0), Timestamp::from_millis(2))
        );
        assert_eq!((&*first.plugin_version, &first.schema), ("1.2.3", &digest(&order())));
    }

    #[test]
    fn a_schema_that_cannot_be_used_is_no_schema_that_everything_fits() {
        let watch = watch(DriftPolicy::Warn, &json!({"type": "circle"}));
        for _ in 0..2 {
            let (ready, error) = (watch.0.ready(0, &watch.1), watch.look(false, "1", 0, |_| {}).unwrap_err());
            assert_eq!((error.kind(), ready.unwrap_err().kind()), (&Kind::Component, &Kind::Component));
            assert!(error.message().starts_with("operation `orders.list`: its output: "), "{error}");
        }
    }

    #[test]
    fn an_output_that_takes_much_more_than_its_text_is_not_read_whole() {
        let text = format!("[{}1]", r#"{"":1},"#.repeat(200_000));
        assert!(text.len() < 2 << 20 && takes(&text) > READ_BYTES_MAX);
        let watch = watch(DriftPolicy::Strict, &json!({"type": "array"}));
        let error = watch.look(false, &text, 0, |_| {}).unwrap_err();
        assert!(error.details().unwrap().contains("64 MiB"), "{error:?}");
        // Item by item it is little, and what stands in a text is text.
        let watch = self::watch(DriftPolicy::Strict, &json!({}));
        watch.look(true, &text, 0, |_| {}).unwrap();
        assert_eq!(
            takes(&json!("{[,\"\\".repeat(200_000)).to_string()),
            json!("{[,\"\\".repeat(200_000)).to_string().len()
        );
    }

    #[test]
    fn what_cannot_be_looked_at_is_told_and_not_passed_as_right() {
        let watch = watch(DriftPolicy::Strict, &order());
        let deep = format!("{}1{}", "[".repeat(500), "]".repeat(500));
        for output in ["{\"id\": 1e999}", &deep] {
            let error = watch.look(false, output, 0, |_| {}).unwrap_err();
            assert!(error.message().contains("(output) (other)"), "{error}");
        }
    }
}
