//! Is this GraphQL request one of those that the operator granted? Decided from its bytes alone.
//!
//! A server and this reader must never read the same body differently, so whatever they might is refused instead of
//! being understood: another method or type than POST of `application/json`, a query in the URL (some servers prefer it
//! to the body), a batch, a key twice, a key that is not known (`id`, `documentId`, `hash` name documents that nobody
//! sees), extensions (as persisted queries), definitions that are not executable, control characters. A document is read
//! into its tokens as the specification writes them (October 2021, section 2); every operation in it must be granted,
//! whichever the server would choose.
//!
//! A name of an operation is chosen by the plugin. What a provider acts on are the fields at the top; they are found
//! behind aliases, fragments and inline fragments.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use url::Url;

use super::object::Object;
use super::{Method, Request};
use crate::text::shown;

/// What of a GraphQL endpoint is granted. What is set must hold together.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct GraphqlLimit {
    /// Neither mutations nor subscriptions.
    #[serde(default)]
    pub queries_only: bool,
    /// Operations of these names. A name is what the plugin calls it: `fields` is what the provider acts on.
    pub operations: Option<Vec<String>>,
    /// Only these fields at the top of an operation, whatever they are renamed to.
    pub fields: Option<Vec<String>>,
}

/// Most tokens of one document.
const TOKENS_MAX: usize = 100_000;
/// Most operations in one document.
const OPERATIONS_MAX: usize = 50;
/// How deeply fragments may stand inside each other at the top of an operation.
const FRAGMENTS_MAX: usize = 32;

/// What of a GraphQL endpoint is granted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct GraphqlRule(GraphqlLimit);

/// A refusal: what was wanted, and what to write so that it is granted.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) what: String,
    pub(crate) allow: String,
}

impl GraphqlRule {
    /// Reads a rule.
    ///
    /// # Errors
    /// A sentence, when it says nothing or a name could not be one.
    pub(crate) fn new(limit: GraphqlLimit) -> Result<Self, String> {
        let names = limit.operations.iter().chain(&limit.fields).flatten();
        if let Some(wrong) = names.clone().find(|name| !is_name(name)) {
            return Err(format!("graphql names `{}`, which cannot be a name in GraphQL", shown(wrong)));
        }
        if !limit.queries_only && limit.operations.is_none() && limit.fields.is_none() {
            return Err(
                "graphql = {} says nothing; write queries_only = true, operations = […] or fields = […]".to_owned()
            );
        }
        Ok(Self(limit))
    }

    /// What it grants, in lines.
    pub(crate) fn lines(&self) -> Vec<String> {
        let GraphqlLimit { queries_only, operations, fields } = &self.0;
        let mut lines = Vec::new();
        if *queries_only {
            lines.push("queries only".to_owned());
        }
        lines.extend(operations.iter().map(|names| format!("operations named {}", names.join(", "))));
        lines.extend(fields.iter().map(|names| format!("fields at the top: {}", names.join(", "))));
        lines
    }

    /// Judges a request.
    ///
    /// # Errors
    /// What was wanted and is not granted.
    pub(crate) fn check(&self, request: &Request, url: &Url) -> Result<(), Refused> {
        let body = envelope(request, url).map_err(unreadable)?;
        let document = Document::read(&body.query).map_err(unreadable)?;
        document.check_choice(body.operation_name.as_deref()).map_err(unreadable)?;
        document.operations.iter().try_for_each(|operation| self.check_operation(operation, &document))
    }

    fn check_operation(&self, operation: &Definition<'_>, document: &Document<'_>) -> Result<(), Refused> {
        let GraphqlLimit { queries_only, operations, fields } = &self.0;
        let what = match operation.name {
            Some(name) => format!("the {} `{}`", operation.kind, shown(name)),
            None => format!("a {} without a name", operation.kind),
        };
        let refused = |what: String, change: &dyn Fn(&mut GraphqlLimit)| {
            let mut limit = self.0.clone();
            change(&mut limit);
            Err(Refused { what, allow: line(&limit) })
        };
        if *queries_only && operation.kind != "query" {
            return refused(what, &|limit| limit.queries_only = false);
        }
        match (operations, operation.name) {
            (Some(granted), Some(name)) if !granted.iter().any(|granted| granted == name) => {
                return refused(what, &|limit| limit.operations = with(granted, name));
            }
            (Some(_), None) => return refused(what, &|limit| limit.operations = None),
            _ => {}
        }
        if let Some(granted) = fields {
            let asked = document.top_fields(operation).map_err(unreadable)?;
            let other = asked.into_iter().find(|field| *field != "__typename" && !granted.iter().any(|g| g == field));
            if let Some(field) = other {
                let what = format!("the field `{}` in {what}", shown(field));
                return refused(what, &|limit| limit.fields = with(granted, field));
            }
        }
        Ok(())
    }
}

/// Nobody can say what such a request asks for.
fn unreadable(why: impl Into<String>) -> Refused {
    Refused { what: format!("a GraphQL request that {}", why.into()), allow: line(&GraphqlLimit::default()) }
}

fn with(granted: &[String], more: &str) -> Option<Vec<String>> {
    Some(granted.iter().cloned().chain(std::iter::once(shown(more))).collect())
}

/// The line that grants this much.
fn line(limit: &GraphqlLimit) -> String {
    let list = |key: &str, names: &Option<Vec<String>>| {
        names.as_ref().map(|names| format!("{key} = {}", crate::text::toml_list(names)))
    };
    let only = limit.queries_only.then(|| "queries_only = true".to_owned());
    let lists = [list("operations", &limit.operations), list("fields", &limit.fields)];
    let parts: Vec<String> = only.into_iter().chain(lists.into_iter().flatten()).collect();
    match parts.is_empty() {
        true => "nothing for graphql, which grants everything there".to_owned(),
        false => format!("graphql = {{ {} }}", parts.join(", ")),
    }
}

/// The one form of a body that is read. Unknown and repeated keys are errors.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    query: String,
    #[serde(default, rename = "operationName")]
    operation_name: Option<String>,
    #[serde(default)]
    #[allow(dead_code, reason = "values do not change what is asked for")]
    variables: Option<Object>,
    #[serde(default)]
    extensions: Option<Object>,
}

fn envelope(request: &Request, url: &Url) -> Result<Body, &'static str> {
    if request.method != Method::Post {
        return Err("is no POST");
    }
    if url.query().is_some() {
        return Err("has a query in its URL, which some servers read instead of the body");
    }
    let is_named = |name: &str, wanted: &str| name.eq_ignore_ascii_case(wanted);
    let types = request.headers.iter().filter(|(name, _)| is_named(name, "content-type"));
    let types: Vec<String> = types.map(|(_, value)| value.to_ascii_lowercase().replace([' ', '"'], "")).collect();
    if !matches!(types.as_slice(), [one] if matches!(one.as_str(), "application/json" | "application/json;charset=utf-8"))
    {
        return Err("is not of the type application/json");
    }
    if request.headers.iter().any(|(name, _)| is_named(name, "content-encoding")) {
        return Err("has an encoded body");
    }
    let whole = request.body.as_deref().filter(|_| request.upload.is_none());
    let body = whole.ok_or("has no body that can be read before it is sent")?;
    // A struct reads from an array too.
    if body.iter().find(|byte| !byte.is_ascii_whitespace()) != Some(&b'{') {
        return Err("is not one JSON object (batches are not read)");
    }
    let body: Body = serde_json::from_slice(body)
        .map_err(|_| "is not one JSON object with `query`, `variables` and `operationName`, each at most once")?;
    match &body.extensions {
        Some(extensions) if !extensions.is_empty => Err("has extensions, which can name another document"),
        _ => Ok(body),
    }
}

/// A token. Strings and numbers hold nothing that matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token<'d> {
    Name(&'d str),
    Mark(char),
    Spread,
    Literal,
}

/// One operation, or one fragment.
#[derive(Debug)]
struct Definition<'d> {
    kind: &'d str,
    name: Option<&'d str>,
    /// The tokens inside its outermost braces.
    selection: std::ops::Range<usize>,
}

struct Document<'d> {
    tokens: Vec<Token<'d>>,
    operations: Vec<Definition<'d>>,
    fragments: BTreeMap<&'d str, Definition<'d>>,
}

impl<'d> Document<'d> {
    fn read(text: &'d str) -> Result<Self, &'static str> {
        let mut document = Self { tokens: tokens(text)?, operations: Vec::new(), fragments: BTreeMap::new() };
        let mut at = 0;
        while at < document.tokens.len() {
            at = document.definition(at)?;
            if document.operations.len() > OPERATIONS_MAX {
                return Err("holds too many operations (graphql_operations_max is 50)");
            }
        }
        match document.operations.is_empty() {
            true => Err("holds no operation"),
            false => Ok(document),
        }
    }

    /// Reads the definition at `at`, and answers where the next begins.
    fn definition(&mut self, mut at: usize) -> Result<usize, &'static str> {
        let kind = match self.tokens[at] {
            Token::Mark('{') => {
                let end = self.closing(at)?;
                self.operations.push(Definition { kind: "query", name: None, selection: at + 1..end });
                return Ok(end + 1);
            }
            Token::Name(kind @ ("query" | "mutation" | "subscription" | "fragment")) => kind,
            _ => return Err("holds something else than operations and fragments"),
        };
        at += 1;
        let name = self.name(at);
        at += usize::from(name.is_some());
        if kind == "fragment" {
            if name.is_none_or(|name| name == "on") || self.name(at) != Some("on") || self.name(at + 1).is_none() {
                return Err("holds a fragment that cannot be read");
            }
            at += 2;
        } else if self.is(at, '(') {
            at = self.closing(at)? + 1;
        }
        at = self.after_directives(at)?;
        if !self.is(at, '{') {
            return Err("holds an operation that cannot be read");
        }
        let end = self.closing(at)?;
        let definition = Definition { kind, name, selection: at + 1..end };
        let is_known = match (kind, name) {
            ("fragment", Some(name)) => self.fragments.insert(name, definition).is_some(),
            _ => {
                let is_known = self.operations.iter().any(|other| other.name == name);
                self.operations.push(definition);
                is_known
            }
        };
        if is_known { Err("defines a name twice") } else { Ok(end + 1) }
    }

    fn name(&self, at: usize) -> Option<&'d str> {
        match self.tokens.get(at) {
            Some(Token::Name(name)) => Some(name),
            _ => None,
        }
    }

    fn is(&self, at: usize, mark: char) -> bool {
        self.tokens.get(at) == Some(&Token::Mark(mark))
    }

    /// Where the bracket at `at` closes.
    fn closing(&self, at: usize) -> Result<usize, &'static str> {
        let mut open = Vec::new();
        for (position, token) in self.tokens.iter().enumerate().skip(at) {
            match token {
                Token::Mark('{') => open.push('}'),
                Token::Mark('(') => open.push(')'),
                Token::Mark('[') => open.push(']'),
                Token::Mark(mark @ ('}' | ')' | ']')) => {
                    if open.pop() != Some(*mark) {
                        return Err("holds brackets that do not match");
                    }
                    if open.is_empty() {
                        return Ok(position);
                    }
                }
                _ => {}
            }
        }
        Err("holds brackets that do not match")
    }

    /// Where directives, if there are any, end: `@name` and `@name(…)`.
    fn after_directives(&self, mut at: usize) -> Result<usize, &'static str> {
        while self.is(at, '@') {
            if self.name(at + 1).is_none() {
                return Err("holds a directive that cannot be read");
            }
            at += 2;
            if self.is(at, '(') {
                at = self.closing(at)? + 1;
            }
        }
        Ok(at)
    }

    /// With several operations the server must be told which, and with one it must be that.
    fn check_choice(&self, chosen: Option<&str>) -> Result<(), &'static str> {
        let is_there = |chosen: &str| self.operations.iter().any(|operation| operation.name == Some(chosen));
        match chosen {
            Some(chosen) if !is_there(chosen) => Err("chooses an operation that is not in it"),
            None if self.operations.len() > 1 => Err("holds several operations and chooses none"),
            _ => Ok(()),
        }
    }

    /// The fields at the top of an operation, without what they are renamed to.
    fn top_fields(&self, operation: &Definition<'d>) -> Result<BTreeSet<&'d str>, &'static str> {
        let (mut fields, mut seen) = (BTreeSet::new(), BTreeSet::new());
        let mut waiting = vec![(operation.selection.clone(), 0)];
        while let Some((selection, depth)) = waiting.pop() {
            if depth > FRAGMENTS_MAX {
                return Err("holds fragments that are too deep inside each other");
            }
            let mut at = selection.start;
            if at == selection.end {
                return Err("selects nothing");
            }
            while at < selection.end {
                if self.tokens[at] == Token::Spread {
                    at += 1;
                    match self.name(at) {
                        Some(name) if name != "on" => {
                            let fragment = self.fragments.get(name).ok_or("uses a fragment that is not in it")?;
                            if seen.insert(name) {
                                waiting.push((fragment.selection.clone(), depth + 1));
                            }
                            at = self.after_directives(at + 1)?;
                            continue;
                        }
                        Some(_) if self.name(at + 1).is_some() => at += 2,
                        Some(_) => return Err("holds a fragment that cannot be read"),
                        None => {}
                    }
                    at = self.after_directives(at)?;
                    if !self.is(at, '{') {
                        return Err("holds a fragment that cannot be read");
                    }
                    let end = self.closing(at)?;
                    waiting.push((at + 1..end, depth + 1));
                    at = end + 1;
                    continue;
                }
                let mut field = self.name(at).ok_or("holds a selection that cannot be read")?;
                at += 1;
                if self.is(at, ':') {
                    field = self.name(at + 1).ok_or("holds a selection that cannot be read")?;
                    at += 2;
                }
                fields.insert(field);
                if self.is(at, '(') {
                    at = self.closing(at)? + 1;
                }
                at = self.after_directives(at)?;
                if self.is(at, '{') {
                    at = self.closing(at)? + 1;
                }
            }
        }
        Ok(fields)
    }
}

/// A document as tokens.
fn tokens(text: &str) -> Result<Vec<Token<'_>>, &'static str> {
    // What some readers take for the end of a line and others do not.
    let is_odd = |c: char| c.is_control() && !matches!(c, '\t' | '\n' | '\r') || matches!(c, '\u{2028}' | '\u{2029}');
    if text.contains(is_odd) {
        return Err("holds control characters");
    }
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let (token, length) = match c {
            ' ' | '\t' | '\n' | '\r' | ',' | '\u{feff}' => (None, c.len_utf8()),
            '#' => (None, rest.find(['\n', '\r']).unwrap_or(rest.len())),
            '!' | '$' | '&' | '(' | ')' | ':' | '=' | '@' | '[' | ']' | '{' | '|' | '}' => (Some(Token::Mark(c)), 1),
            '.' if rest.starts_with("...") => (Some(Token::Spread), 3),
            'A'..='Z' | 'a'..='z' | '_' => {
                let length = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
                (Some(Token::Name(&rest[..length])), length)
            }
            '0'..='9' | '-' => (Some(Token::Literal), number(rest)?),
            '"' => (Some(Token::Literal), string(rest)?),
            _ => return Err("holds a character that GraphQL does not know"),
        };
        tokens.extend(token);
        if tokens.len() > TOKENS_MAX {
            return Err("holds too many tokens (graphql_tokens_max is 100000)");
        }
        rest = &rest[length..];
    }
    Ok(tokens)
}

/// How long the number at the start is. A name or a dot may not follow it.
fn number(text: &str) -> Result<usize, &'static str> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '+' | '-');
    let length = text.find(|c: char| !is_part(c)).unwrap_or(text.len());
    let is_number = serde_json::from_str::<serde_json::Number>(&text[..length]).is_ok();
    if is_number { Ok(length) } else { Err("holds a number that cannot be read") }
}

/// How long the string at the start is, its quotes included.
fn string(text: &str) -> Result<usize, &'static str> {
    const OPEN: &str = "holds a string that does not end";
    if let Some(mut inside) = text.strip_prefix("\"\"\"") {
        loop {
            let end = inside.find("\"\"\"").ok_or(OPEN)?;
            // `\"""` is no end. Nothing else is an escape in a block.
            if !inside[..end].ends_with('\\') {
                return Ok(text.len() - inside.len() + end + 3);
            }
            inside = &inside[end + 3..];
        }
    }
    let mut letters = text.char_indices().skip(1);
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return Ok(at + 1),
            '\n' | '\r' => return Err(OPEN),
            '\\' => match letters.next() {
                Some((_, '"' | '\\' | '/' | 'b' | 'f' | 'n' | 'r' | 't' | 'u')) => {}
                _ => return Err("holds an escape that GraphQL does not know"),
            },
            _ => {}
        }
    }
    Err(OPEN)
}

fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn rule(text: &str) -> GraphqlRule {
        GraphqlRule::new(toml::from_str(text).unwrap()).unwrap()
    }

    fn post(body: impl Into<Vec<u8>>) -> Request {
        Request {
            method: Method::Post,
            headers: vec![("Content-Type".to_owned(), "application/json".to_owned())],
            body: Some(body.into().into()),
            ..Request::get("")
        }
    }

    fn judged(rule: &GraphqlRule, request: &Request) -> Result<(), String> {
        let url = Url::parse("https://api.test/graphql").unwrap();
        rule.check(request, &url).map_err(|refused| refused.what)
    }

    fn asked(rule: &GraphqlRule, document: &str) -> Result<(), String> {
        judged(rule, &post(json!({"query": document}).to_string()))
    }

    #[test]
    fn queries_pass_where_only_queries_do() {
        let rule = rule("queries_only = true");
        for query in [
            "{ a }",
            "query{a}",
            "\u{feff} # mutation { x }\r\n query A($m: [In!]! = [{mutation: \"}\"}], $b: Int = -1.5e3) @d(a: \"\"\"x \\\"\"\" } mutation\"\"\") { a }",
            "query mutation { mutation { subscription } }",
            "fragment mutation on T { a } query,,, Q { ...mutation }",
            "query Q { a(s: \"mutation { x }\\\"\") ... on T @include(if: true) { b } ... { c } }",
        ] {
            assert_eq!(asked(&rule, query), Ok(()), "{query}");
        }
        for (document, why) in [
            ("mutation { a }", "a mutation without a name"),
            ("mutation M { a }", "the mutation `M`"),
            ("query A { a } mutation B { b }", "chooses none"),
            ("#\rmutation { a }", "a mutation"),
            ("#\n mutation{a}", "a mutation"),
            ("query A($a: String = \"\"\" \" \"\"\") { a } mutation B { b }", "chooses none"),
            ("subscription { a }", "a subscription"),
            ("query A { a } query A { b }", "a name twice"),
            ("{ a } { b }", "chooses none"),
            ("{ a", "brackets"),
            ("{ a) }", "brackets"),
            ("{ a } }", "something else"),
            (&"query A { a }".repeat(2), "a name twice"),
            (&(0..100).map(|n| format!("query Q{n} {{ a }}")).collect::<String>(), "too many operations"),
            ("type A { a: Int }", "something else"),
            ("\"\"\"a\"\"\" query { a }", "something else"),
            ("extend type Query { a: Int } query { a }", "something else"),
            ("fragment on on T { a } { a }", "fragment"),
            ("fragment F($a: Int) on T { a } { a }", "fragment"),
            ("fragment F on T { a }", "no operation"),
            ("", "no operation"),
            ("query A \u{2028} { a }", "control"),
            ("{ a } # \u{0}", "control"),
            ("query \u{00e4} { a }", "character"),
            ("query A { a(b: \"x\n\") }", "does not end"),
            ("query A { a(b: \"\"\"x) }", "does not end"),
            ("query A { a(b: \"\\x\") }", "escape"),
            ("query A { a(b: 1a) }", "number"),
            ("query A { a .. b }", "character"),
        ] {
            let refused = asked(&rule, document).unwrap_err();
            assert!(refused.contains(why), "{document}: {refused}");
        }
    }

    #[test]
    fn the_chosen_operation_is_one_of_those_that_may_be() {
        let rule = rule("operations = ['A', 'B']");
        let body = |document: &str, chosen: serde_json::Value| {
            judged(&rule, &post(json!({"query": document, "operationName": chosen}).to_string()))
        };
        assert_eq!(body("query A { a } mutation B { b }", json!("A")), Ok(()));
        assert_eq!(body("query A { a }", json!(null)), Ok(()));
        assert!(body("query A { a } query C { c }", json!("A")).unwrap_err().contains("the query `C`"));
        assert!(body("query A { a }", json!("C")).unwrap_err().contains("chooses an operation"));
        assert!(body("query A { a } query B { b }", json!(null)).unwrap_err().contains("chooses none"));
        assert!(body("{ a }", json!(null)).unwrap_err().contains("without a name"));
        assert!(body("{ a }", json!(7)).is_err());
    }

    #[test]
    fn fields_are_found_wherever_they_hide() {
        let rule = rule("queries_only = true\nfields = ['products']");
        for document in [
            "query A { products(first: 1) { delete } }",
            "{ mine: products { a } __typename }",
            "query A { ...F } fragment F on Query { products { a } ...G } fragment G on Query { ...F products { b } }",
            "{ ... on Query { products { a } } ... @skip(if: false) { products { b } } }",
        ] {
            assert_eq!(asked(&rule, document), Ok(()), "{document}");
        }
        for document in [
            "{ products: customers { a } }",
            "{ products { a } customers { a } }",
            "{ products @x customers { a } }",
            "{ ...F } fragment F on Query { customers { a } }",
            "{ ...F products { a } } fragment F on Query { ...G } fragment G on Query { ... { customers } }",
            "{ ... on Query { customers } }",
            "{ ... { customers } }",
            "{ __schema { types { name } } }",
        ] {
            let refused = asked(&rule, document).unwrap_err();
            assert!(refused.contains("the field `customers`") || refused.contains("__schema"), "{document}: {refused}");
        }
        let deep = format!("{}products{}", "{ ... ".repeat(100), "}".repeat(100));
        for document in ["{ ...None }", "{ }", "{ ... on }", "{ \"a\" }", &deep] {
            assert!(asked(&rule, document).is_err(), "{document}");
        }
    }

    #[test]
    fn only_one_form_of_request_is_read() {
        let rule = rule("queries_only = true");
        let good = r#"{"query":"{ a }","variables":{"a":[1]},"operationName":null,"extensions":{}}"#;
        assert_eq!(judged(&rule, &post(good)), Ok(()));
        for body in [
            r#"[{"query":"{ a }"}]"#,
            r#"["{ a }"]"#,
            r#"{"query":"{ a }"} {"query":"mutation { a }"}"#,
            r#"{"query":"{ a }","query":"mutation { a }"}"#,
            r#"{"query":"{ a }","qu\u0065ry":"mutation { a }"}"#,
            r#"{"query":"{ a }","id":"123"}"#,
            r#"{"query":"{ a }","extensions":{"persistedQuery":{"version":1,"sha256Hash":"x"}}}"#,
            r#"{"extensions":{"persistedQuery":{"version":1,"sha256Hash":"x"}}}"#,
            r#"{"query":null}"#,
            r#"{"query":["{ a }"]}"#,
            r#"{"query":"{ a }","variables":[]}"#,
            r#"{"query":"{ a } \ud800"}"#,
            "\u{feff}{\"query\":\"{ a }\"}",
            "query=%7Ba%7D",
            "{ a }",
            "",
        ] {
            assert!(judged(&rule, &post(body)).is_err(), "{body}");
        }
        assert!(judged(&rule, &post(*b"{\"query\":\"{ a } #\xff\"}")).is_err());
        let with = |change: fn(&mut Request)| {
            let mut request = post(good);
            change(&mut request);
            judged(&rule, &request)
        };
        assert!(with(|request| request.method = Method::Get).is_err());
        assert!(with(|request| request.body = None).is_err());
        assert!(with(|request| request.headers.clear()).is_err());
        for other in
            ["application/graphql", "multipart/form-data; boundary=x", "application/json; charset=utf-7", "text/plain"]
        {
            let mut request = post(good);
            request.headers[0].1 = other.to_owned();
            assert!(judged(&rule, &request).is_err(), "{other}");
        }
        assert!(with(|request| request.headers.push(("content-encoding".into(), "gzip".into()))).is_err());
        assert!(with(|request| request.headers[0].1 = "Application/JSON; charset=\"UTF-8\"".into()).is_ok());
        let url = Url::parse("https://api.test/graphql?query=mutation%7Ba%7D").unwrap();
        assert!(rule.check(&post(good), &url).is_err());
    }

    #[test]
    fn a_rule_that_says_nothing_is_refused() {
        assert!(GraphqlRule::new(GraphqlLimit::default()).is_err());
        assert!(GraphqlRule::new(toml::from_str("operations = ['a b']").unwrap()).is_err());
        assert!(toml::from_str::<GraphqlLimit>("queries = true").is_err());
        let refused = rule("operations = ['A']")
            .check(&post(r#"{"query":"mutation B { b }"}"#), &Url::parse("https://api.test/graphql").unwrap());
        assert_eq!(refused.unwrap_err().allow, r#"graphql = { operations = ["A", "B"] }"#);
    }

    /// What the property below found: in braces, the words of a mutation are fields of a query, for every server too.
    #[test]
    fn a_mutation_inside_a_query_is_none() {
        let document = "{\nmutation M { drop }\n}";
        assert_eq!(asked(&rule("queries_only = true"), document), Ok(()));
        let refused = asked(&rule("fields = [\"a\", \"M\"]"), document).unwrap_err();
        assert!(refused.contains("the field `mutation`"), "{refused}");
        assert!(asked(&rule("queries_only = true"), "{ a }\nmutation M { drop }").is_err());
    }

    proptest! {
        #[test]
        fn nothing_makes_it_panic(document in "[{}()a-c\"#\\\\ \n.:@$!\\[\\],ä-]{0,40}", body in "\\PC{0,40}") {
            _ = asked(&rule("fields = ['a']"), &document);
            _ = judged(&rule("queries_only = true"), &post(body));
        }

        /// Whatever stands around a mutation, in strings and comments too, it is found, or nothing is read at all.
        #[test]
        fn no_noise_hides_a_mutation(before in noise(), after in noise()) {
            // Inside of a block string it would be none.
            prop_assume!(!before.contains("\"\"\""));
            let document = format!("{before}\nmutation M {{ drop }}\n{after}");
            if asked(&rule("queries_only = true"), &document).is_ok() {
                // Then it is none: it stands in braces that are still open, where `mutation` and `M` are fields.
                prop_assert!(Document::read(&format!("{before}\n{{ a }}")).is_err(), "{}", document);
            }
        }

        /// And whatever stands in strings and comments, a query is none the less one.
        #[test]
        fn no_noise_makes_a_query_a_mutation(text in "[a-z{}()# ]{0,12}") {
            let document = format!("# {text}\nquery Q($a: S = \"{text}\") {{ a(b: \"\"\"{text}\"\"\") }} # {text}");
            prop_assert_eq!(asked(&rule("queries_only = true"), &document), Ok(()));
        }
    }

    fn noise() -> impl Strategy<Value = String> {
        let piece = prop::sample::select(vec![
            "query A { a }",
            "fragment F on T { a }",
            "#",
            "\"",
            "\"\"\"",
            "\\\"\"\"",
            "{",
            "}",
            "(",
            ")",
            "\n",
            "\r",
            " ",
            ",",
            "\u{feff}",
            "query",
            "mutation",
            "...",
            "a",
            "$a: S = \"x\"",
            "@d",
            "\u{2028}",
            "1",
            "\\",
            "[",
            "]",
        ]);
        prop::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat())
    }
}
