//! What a schema says of a value, its words for people, hostile schemas, and the second opinion.

use proptest::prelude::*;
use serde_json::json;

use super::*;

/// Checks a value of which as many bytes were written as there must be.
fn checked(schema: &Schema, value: &Value) -> Result<()> {
    schema.check_input(value, value.to_string().len())
}

fn refusal(schema: Value, value: Value) -> Vec<(String, String)> {
    let error = checked(&Schema::new(&schema).unwrap(), &value).unwrap_err();
    match error.kind() {
        Kind::InvalidRequest(fields) => fields.iter().map(|f| (f.path.clone(), f.message.clone())).collect(),
        kind => panic!("{kind:?}"),
    }
}

#[test]
fn a_misfit_is_told_with_place_and_expectation() {
    let schema = json!({
        "type": "object",
        "properties": {
            "limit": {"type": "integer", "minimum": 1, "maximum": 100},
            "status": {"anyOf": [{"enum": ["open", "closed"]}, {"type": "null"}]},
            "since": {"type": ["string", "null"]},
            "tags": {"type": "array", "items": {"type": "string", "pattern": "^[a-z]+$"}},
            "by": {"oneOf": [{"const": "name", "description": "x"}, {"const": "date"}]}
        },
        "required": ["limit"],
        "additionalProperties": false
    });
    let told = |value: Value, path: &str, message: &str| {
        assert_eq!(refusal(schema.clone(), value), [(path.to_owned(), message.to_owned())]);
    };
    told(json!({"limit": "s3cret"}), "/limit", "expected an integer, and it is a string");
    told(json!({"limit": 1.5}), "/limit", "expected an integer, and it is a number");
    told(json!({"limit": 500}), "/limit", "expected at most 100");
    told(json!({"limit": 5, "limt": 5}), "", "unknown field `limt`. Did you mean limit?");
    told(json!({"limit": 5, "a b s3cret": 5}), "", "unknown field `*`. There are: by, limit, since, status, tags");
    told(json!({}), "", "the field `limit` is missing");
    told(json!({"limit": 1, "status": "s3cret"}), "/status", r#"expected null or one of "open", "closed""#);
    told(json!({"limit": 1, "since": 1}), "/since", "expected null or a string, and it is an integer");
    told(json!({"limit": 1, "tags": ["a", "S3CRET"]}), "/tags/1", "expected text like the pattern ^[a-z]+$");
    told(json!({"limit": 1, "by": "s3cret"}), "/by", r#"expected one of "name", "date""#);
    told(json!([1]), "", "expected an object, and it is an array");
}

#[test]
fn of_several_alternatives_the_nearest_is_told() {
    let schema = json!({"oneOf": [
        {"type": "object", "properties": {"kind": {"const": "card"}, "number": {"type": "string"}},
         "required": ["kind", "number"]},
        {"type": "object", "properties": {"kind": {"const": "bank"}, "iban": {"type": "string"}},
         "required": ["kind", "iban"]}
    ]});
    assert_eq!(
        refusal(schema.clone(), json!({"kind": "bank", "iban": 7})),
        [("/iban".to_owned(), "expected a string, and it is an integer".to_owned())]
    );
    assert_eq!(refusal(schema, json!(7)), [("".to_owned(), "expected an object".to_owned())]);
}

#[test]
fn reasons_are_bounded() {
    let schema = json!({"type": "array", "items": {"type": "string"}});
    assert_eq!(refusal(schema, json!((0..1000).collect::<Vec<_>>())).len(), 10);
}

#[test]
fn a_schema_that_is_none_or_too_large_says_why() {
    let refused = |schema: Value, why: &str| {
        let error = Schema::new(&schema).map(drop).unwrap_err();
        assert_eq!(*error.kind(), Kind::Component);
        assert!(error.to_string().contains(why), "{error}");
    };
    refused(json!({"type": 7}), "`type` is one or several of null");
    refused(json!({"properties": {"a": {"minLength": -1}}}), "/properties/a: `minLength` is an integer");
    refused(json!({"$ref": "http://127.0.0.1:1/schema.json"}), "reaches outside");
    refused(json!({"$ref": "file:///etc/passwd"}), "reaches outside");
    refused(json!({"$ref": "#/$defs/none"}), "points to nothing");
    refused(json!({"$dynamicRef": "#x"}), "is not known");
    refused(json!({"properties": {"a": {"$id": "x", "$ref": "#"}}}), "would move its references");
    refused(json!({"pattern": "(?=a)"}), "linear engine");
    refused(json!({"pattern": "(a{1000}){1000}"}), "linear engine");
    refused(json!({"pattern": format!("{}a{}", "(".repeat(200), ")".repeat(200))}), "linear engine");
    refused(json!({"pattern": "a".repeat(2_000)}), "schema_pattern_bytes_max");
    refused(
        json!({"allOf": (0..200).map(|n| json!({"pattern": format!("a{n}")})).collect::<Vec<_>>()}),
        "schema_patterns_max",
    );
    refused(json!({"enum": [], "anyOf": vec![json!({"type": "null"}); 30_000]}), "schema_nodes_max");
    refused(json!(7), "an object or a boolean");
    refused(json!({"items": [true]}), "an object or a boolean");
}

fn limit(name: &str) -> Kind {
    Kind::LimitExceeded(name.to_owned())
}

/// Bounded by steps, not by luck: each of these would go on for ever, or overflow the stack.
#[test]
fn a_hostile_schema_ends() {
    let deep = |levels: usize| (0..levels).fold(json!(1), |inner, _| json!({"x": inner}));
    let halves = |count: usize| {
        let defs: serde_json::Map<String, Value> = (0..count)
            .map(|n| {
                let next = json!({"$ref": format!("#/$defs/d{}", n + 1)});
                (format!("d{n}"), json!({"allOf": [next, next]}))
            })
            .chain([(format!("d{count}"), json!(true))])
            .collect();
        json!({"$ref": "#/$defs/d0", "$defs": defs})
    };
    let branches = vec![json!({"properties": {"x": {"$ref": "#"}}, "required": ["y"]}); 1_000];
    for (schema, value) in [
        (json!({"$ref": "#"}), json!(1)),
        (json!({"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}}), json!(1)),
        (json!({"anyOf": [{"$ref": "#"}, {"not": {"$ref": "#"}}]}), json!(1)),
        (json!({"unevaluatedProperties": {"$ref": "#"}, "allOf": [{"$ref": "#"}]}), deep(3)),
        (halves(60), json!(1)),
        (json!({"allOf": [{"properties": {"x": {"$ref": "#"}}}, {"properties": {"x": {"$ref": "#"}}}]}), deep(120)),
        (json!({"anyOf": branches}), deep(120)),
    ] {
        let compiled = Schema::new(&schema).unwrap();
        let refused = checked(&compiled, &value).unwrap_err();
        let is_limit = ["schema_steps", "schema_depth"].iter().any(|name| *refused.kind() == limit(name));
        assert!(is_limit || refused.to_string().contains("missing"), "{refused}");
        let (mut steps, mut found) = (1_000_000, Found::of_outputs());
        compiled.check_output(&value, &mut steps, &mut found);
        assert!(!found.is_empty());
    }
    // A long text does not outlast its pattern.
    let slow = Schema::new(&json!({"pattern": "(a|aa|aaa)*b|(x+x+)+y"})).unwrap();
    assert!(checked(&slow, &json!("a".repeat(1 << 20))).is_err());
    assert!(checked(&slow, &json!("a".repeat(10 << 10))).is_err());
    // A tree is no reason to refuse.
    let tree = json!({"properties": {"l": {"$ref": "#"}, "r": {"$ref": "#"}}, "additionalProperties": false});
    assert!(checked(&Schema::new(&tree).unwrap(), &json!({"l": {"r": {}}, "r": {"l": {"l": {}}}})).is_ok());
}

/// Whoever is told of a limit learns which it is, and whether the plugin or the input has to change.
#[test]
fn a_check_without_an_end_is_a_limit_and_says_whose_fault_that_is() {
    let told = |schema: Value, value: Value, name: &str, words: &str| {
        let error = checked(&Schema::new(&schema).unwrap(), &value).unwrap_err();
        assert_eq!(*error.kind(), limit(name), "{error}");
        assert!(error.message().contains(words) && error.message().contains(name), "{error}");
        assert_eq!(error.details(), Some(crate::limits::FIXED));
    };
    let nested = |levels: usize| (0..levels).fold(json!(1), |inner, _| json!([inner]));
    told(json!({"$ref": "#"}), json!({}), "schema_depth", "the plugin's schema goes round");
    told(json!({"items": {"allOf": [{"$ref": "#"}]}}), nested(120), "schema_depth", "the input nests too deeply");
    let costly = || json!({"items": {"enum": (0..10_000).collect::<Vec<_>>()}});
    told(costly(), json!(vec![0; 1_000]), "schema_steps", "the plugin's schema asks for too much");
    told(costly(), json!(vec![0; 1_000_000]), "schema_steps", "the input is too large");
    let long = "a".repeat(PATTERN_TEXT_BYTES_MAX + 1);
    let pattern = || json!({"properties": {"a": {"pattern": "^a+$"}}});
    told(pattern(), json!({"a": &long}), "pattern_text_bytes", "/a is longer than");
    // What differs all the same is told, for that can be put right.
    let both = json!({"required": ["b"], "properties": {"a": {"pattern": "^a+$"}}});
    assert_eq!(refusal(both, json!({"a": &long})), [(String::new(), "the field `b` is missing".to_owned())]);
    // Nor does it matter where another form fits, and nobody knows where that decides.
    let any = |other: &str| json!({"anyOf": [{"type": "string", "pattern": "^[0-9]+$"}, {"type": other}]});
    checked(&Schema::new(&any("string")).unwrap(), &json!(&long)).unwrap();
    told(any("object"), json!(&long), "pattern_text_bytes", "a text or a name in the input");
    let one = json!({"oneOf": [{"pattern": "^a+$"}, {"type": "object"}, {"type": "string"}, {"minLength": 1}]});
    assert!(refusal(one, json!(&long))[0].1.contains("several fit"));
    checked(&Schema::new(&json!({"contains": {"pattern": "^b$"}})).unwrap(), &json!([&long, "b"])).unwrap();
    told(json!({"contains": {"pattern": "^b$"}}), json!([&long, "a"]), "pattern_text_bytes", "is longer than");
    // Of an output it is told as what it is, and the rest is looked at.
    let (mut steps, mut found) = (steps_for(0), Found::of_outputs());
    Schema::new(&pattern()).unwrap().check_output(&json!({"a": &long, "b": 1}), &mut steps, &mut found);
    let kinds: Vec<_> = found.misfits().map(|(path, kind, ..)| (path.to_owned(), kind)).collect();
    assert_eq!(kinds, [("/a".to_owned(), DriftKind::Other), ("/b".to_owned(), DriftKind::New)]);
}

/// A table of more than a megabyte, which a provider takes at once.
#[test]
fn an_input_has_steps_for_its_length() {
    let cell = json!({"type": ["string", "number"]});
    let schema = json!({"items": {"items": {"$ref": "#/$defs/cell"}}, "$defs": {"cell": cell}});
    checked(&Schema::new(&schema).unwrap(), &json!([vec![7; 600_000]])).unwrap();
}

#[test]
fn what_waits_to_be_read_takes_little_however_long_the_names_above_it() {
    let many: Map<String, Value> = (0..1_000).map(|at| (at.to_string(), json!({}))).collect();
    let schema = json!({ "properties": { "~".repeat(100_000): { "properties": many } } });
    let mut reader =
        Reader { root: &schema, nodes: Vec::new(), known: HashMap::new(), waiting: Vec::new(), patterns: 0 };
    reader.node("", &schema).unwrap();
    while let Some((_, place, value)) = reader.waiting.pop() {
        reader.rules(&place, value).unwrap();
        let bytes: usize = reader.waiting.iter().map(|(_, place, _)| place.len()).sum();
        assert!(bytes <= 1_000 * 4 * 160, "{bytes}");
    }
    assert_eq!(reader.nodes.len(), 1_002);
}

#[test]
fn telling_takes_of_the_steps_and_copies_no_long_name() {
    let name = "~".repeat(100_000);
    let values: Vec<Value> = (0..100_000).map(Value::from).collect();
    let schema = Schema::new(&json!({ "properties": { &name: { "items": { "const": values } } } })).unwrap();
    let (mut steps, mut found) = (20_000_000, Found::of_outputs());
    schema.check_output(&json!({ &name: vec![1; 1_000_000] }), &mut steps, &mut found);
    assert_eq!(steps, 0, "each misfit counts for all that is compared and written out");
    assert!(found.misfits().all(|(path, _, expected, _)| path.len() < 700 && expected.len() < 700));
    let told: u64 = found.misfits().filter(|(_, kind, ..)| *kind == DriftKind::Enum).map(|(.., count)| count).sum();
    assert!((100..200).contains(&told), "{told}");

    let names: Map<String, Value> = (0..100_000).map(|at| (at.to_string(), json!(["a"]))).collect();
    let schema = Schema::new(&json!({ "items": { "dependentRequired": names } })).unwrap();
    let (mut steps, mut found) = (1_000_000, Found::of_outputs());
    schema.check_output(&json!(vec![json!({}); 1_000]), &mut steps, &mut found);
    assert_eq!(steps, 0, "each object is asked for all names");
}

#[test]
fn fields_spread_over_several_schemas_are_known() {
    let schema = json!({
        "allOf": [{"$ref": "#/$defs/base"}], "properties": {"b": true}, "unevaluatedProperties": false,
        "$defs": {"base": {"properties": {"a": {"type": "integer"}}}}
    });
    let schema = Schema::new(&schema).unwrap();
    assert!(checked(&schema, &json!({"a": 1, "b": 2})).is_ok());
    let error = checked(&schema, &json!({"a": 1, "c": 2})).unwrap_err();
    assert!(error.to_string().contains("unknown field `c`"), "{error}");
    let (mut steps, mut found) = (1_000, Found::of_outputs());
    schema.check_output(&json!({"a": 1, "c": 2}), &mut steps, &mut found);
    let told: Vec<_> = found.misfits().map(|(path, kind, ..)| (path.to_owned(), kind)).collect();
    assert_eq!(told, [("/c".to_owned(), DriftKind::New)]);
}

#[test]
fn formats() {
    for (format, good, bad) in [
        ("date-time", "2026-01-31T23:59:60.123+14:00", "2026-01-31 10:00:00"),
        ("date-time", "1985-04-12t23:20:50z", "2026-01-31T24:00:00Z"),
        ("date", "2026-12-31", "2026-13-01"),
        ("email", "a@b.example", "a b@c"),
        ("uri", "https://a.example/x?y", "/x"),
        ("uuid", "01234567-89ab-cdef-0123-456789abcdef", "0123456789abcdef0123456789abcdef"),
        ("ipv4", "192.0.2.1", "192.0.2.256"),
        ("ipv6", "::1", "1"),
    ] {
        let format = Format::named(format).unwrap();
        assert!(format.has(good), "{good}");
        assert!(!format.has(bad) && !format.has("") && !format.has("ä2026-01-31"), "{bad}");
    }
}

/// Schemas as programs write them, with names and values that meet.
fn schemas() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(json!(true)),
        Just(json!(false)),
        Just(json!({"$ref": "#"})),
        prop::sample::select(vec!["null", "boolean", "object", "array", "string", "integer", "number"])
            .prop_map(|name| json!({"type": name})),
        prop::sample::subsequence(vec!["null", "integer", "string"], 1..3).prop_map(|names| json!({"type": names})),
        prop::collection::vec(values(), 1..3).prop_map(|values| json!({"enum": values})),
        values().prop_map(|value| json!({"const": value})),
        (-3i32..4).prop_map(|n| json!({"minimum": n, "exclusiveMaximum": n + 3})),
        (1i32..4).prop_map(|n| json!({"multipleOf": n})),
        (0u32..3).prop_map(|n| json!({"minLength": n, "maxItems": n + 1, "minProperties": n, "maxLength": n + 1})),
        Just(json!({"uniqueItems": true})),
        Just(json!({"pattern": "^[ab]\\w?$"})),
        prop::sample::subsequence(vec!["a", "b", "c"], 1..3).prop_map(|names| json!({"required": names})),
        Just(json!({"dependentRequired": {"a": ["b"]}})),
        Just(json!({"propertyNames": {"maxLength": 1}})),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        let one = inner.clone();
        let several = prop::collection::vec(inner.clone(), 1..4);
        prop_oneof![
            several.clone().prop_map(|all| json!({"allOf": all})),
            several.clone().prop_map(|all| json!({"anyOf": all})),
            several.clone().prop_map(|all| json!({"oneOf": all})),
            one.clone().prop_map(|one| json!({"not": one})),
            (one.clone(), one.clone(), one.clone()).prop_map(|(a, b, c)| json!({"if": a, "then": b, "else": c})),
            one.clone().prop_map(|one| json!({"items": one})),
            (several.clone(), one.clone()).prop_map(|(all, one)| json!({"prefixItems": all, "items": one})),
            (several, one.clone()).prop_map(|(all, one)| json!({"prefixItems": all, "unevaluatedItems": one})),
            (one.clone(), 0u32..3)
                .prop_map(|(one, n)| json!({"contains": one, "minContains": n, "maxContains": n + 1})),
            one.clone().prop_map(|one| json!({"properties": {"a": one}, "additionalProperties": false})),
            (one.clone(), one.clone()).prop_map(|(a, b)| json!({"properties": {"a": a}, "additionalProperties": b})),
            (one.clone(), one.clone())
                .prop_map(|(a, b)| json!({"patternProperties": {"^[ab]": a}, "properties": {"b": b}})),
            one.clone().prop_map(|one| json!({"dependentSchemas": {"a": one}})),
            (one.clone(), one.clone(), one).prop_map(|(a, b, c)| {
                json!({"anyOf": [{"properties": {"a": a}}, {"properties": {"b": b}}], "unevaluatedProperties": c})
            }),
        ]
    })
}

fn values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(json!(null)),
        any::<bool>().prop_map(Value::from),
        (-3i64..7).prop_map(Value::from),
        prop::sample::select(vec![1.0, 0.5, -2.0, 3.5]).prop_map(Value::from),
        prop::sample::select(vec!["", "a", "b", "ab", "aä", "abc"]).prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(prop::sample::select(vec!["a", "b", "c", "dd"]), inner, 0..4)
                .prop_map(|fields| fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// The crate that knows all of the specification says the same. (It leaves out references in a circle, and so do we
    /// where the check does not come to an end.)
    #[test]
    fn another_reader_says_the_same(schema in schemas(), value in values()) {
        let other = jsonschema::options().with_draft(jsonschema::Draft::Draft202012).build(&schema);
        let own = Schema::new(&schema);
        prop_assert_eq!(own.is_ok(), other.is_ok(), "{:?}", own.map(drop));
        if let (Ok(own), Ok(other)) = (own, other) {
            let said = checked(&own, &value);
            let is_without_end = said.as_ref().is_err_and(|error| matches!(error.kind(), Kind::LimitExceeded(_)));
            if !is_without_end && !goes_round(&schema) {
                prop_assert_eq!(said.is_ok(), other.is_valid(&value), "{:?}", said);
            }
        }
    }

    #[test]
    fn nothing_makes_it_panic(schema in schemas(), value in values()) {
        if let Ok(schema) = Schema::new(&schema) {
            let (mut steps, mut found) = (50_000, Found::of_outputs());
            schema.check_output(&value, &mut steps, &mut found);
        }
    }

    #[test]
    fn whatever_a_pattern_is_it_is_read_or_refused(pattern in "[\\[\\]a\\\\dw&~^$().*+?{}|-]{0,12}", text in "\\PC{0,8}") {
        if let Ok(schema) = Schema::new(&json!({"pattern": pattern})) {
            _ = checked(&schema, &json!(text));
        }
    }
}

/// Whether a reference stands where no step into the value lies between it and the top.
fn goes_round(schema: &Value) -> bool {
    let Some(fields) = schema.as_object() else { return false };
    fields.iter().any(|(keyword, value)| match keyword.as_str() {
        "$ref" => true,
        "allOf" | "anyOf" | "oneOf" => value.as_array().is_some_and(|all| all.iter().any(goes_round)),
        "not" | "if" | "then" | "else" => goes_round(value),
        "dependentSchemas" => value.as_object().is_some_and(|all| all.values().any(goes_round)),
        _ => false,
    })
}
