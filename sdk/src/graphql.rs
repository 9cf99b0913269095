//! GraphQL over POST. It fails on three levels, and a status of 200 says nothing about two of them:
//!
//! 1. HTTP: as any other request.
//! 2. `errors[]` beside the data: refused here, its code mapped where it means a limit or a missing right.
//! 3. Errors inside the payload, as `userErrors`: part of your type, left to you.

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::http::{Repeat, Request, Response};
use crate::{Error, ErrorKind};

pub use crate::page::{PageInfo, Relay};

/// A query or a mutation. Queries may be repeated although they are sent by POST; mutations never are.
#[derive(Clone, Debug)]
#[must_use = "a query does nothing until it is sent"]
pub struct Query<'a> {
    text: &'a str,
    variables: Value,
}

impl<'a> Query<'a> {
    /// The document, with one operation in it.
    pub fn new(text: &'a str) -> Self {
        Self { text, variables: Value::Null }
    }

    /// Its variables, an object. Values belong here and never into the text.
    pub fn variables(mut self, variables: Value) -> Self {
        self.variables = variables;
        self
    }

    /// Sends it and reads `data` as `T`.
    ///
    /// # Errors
    /// Those of any request; `rate-limited`, `unauthorized`, `forbidden` or `provider-reported` for `errors[]`, even if there
    /// is data beside them; `schema-violation` for data of another shape.
    pub fn send<T: DeserializeOwned>(self, url: &str) -> Result<T, Error> {
        #[derive(Serialize)]
        struct Body<'a> {
            query: &'a str,
            #[serde(skip_serializing_if = "Value::is_null")]
            variables: Value,
        }
        let repeat = if changes_something(self.text) { Repeat::Never } else { Repeat::Safe };
        let request = Request::post(url).header("Accept", "application/json").repeat(repeat);
        data(&request.json(&Body { query: self.text, variables: self.variables })?.send()?)
    }
}

fn data<T: DeserializeOwned>(response: &Response) -> Result<T, Error> {
    #[derive(Deserialize)]
    struct Envelope {
        #[serde(default)]
        errors: Option<Vec<Value>>,
    }
    #[derive(Deserialize)]
    struct Data<T> {
        data: T,
    }
    // Read twice, because errors come with data of any shape, mostly null.
    let envelope: Envelope = response.json()?;
    match envelope.errors.as_deref() {
        None | Some([]) => Ok(response.json::<Data<T>>()?.data),
        Some(errors) => Err(refusal(response, errors)),
    }
}

fn refusal(response: &Response, errors: &[Value]) -> Error {
    let codes: Vec<&str> = errors.iter().filter_map(|error| error["extensions"]["code"].as_str()).collect();
    let has = |names: &[&str]| codes.iter().find(|code| names.contains(code)).copied();
    let (kind, code) = if let Some(code) = has(&["THROTTLED", "RATE_LIMITED"]) {
        (ErrorKind::RateLimited, Some(code))
    } else if let Some(code) = has(&["UNAUTHENTICATED"]) {
        (ErrorKind::Unauthorized, Some(code))
    } else if let Some(code) = has(&["FORBIDDEN", "ACCESS_DENIED"]) {
        (ErrorKind::Forbidden, Some(code))
    } else {
        (ErrorKind::ProviderReported, codes.first().copied())
    };
    let error = response.error(kind, format!("the provider answered with {} GraphQL errors", errors.len()));
    match code {
        Some(code) => error.with_provider_code(code),
        None => error,
    }
}

/// Whether the document defines anything but queries and fragments: the words before each outermost `{`.
fn changes_something(text: &str) -> bool {
    let mut depth = 0_u32;
    let mut word = String::new();
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        if letter.is_alphanumeric() || letter == '_' {
            word.push(letter);
            continue;
        }
        if depth == 0 && matches!(word.as_str(), "mutation" | "subscription") {
            return true;
        }
        word.clear();
        match letter {
            '{' | '(' => depth += 1,
            '}' | ')' => depth = depth.saturating_sub(1),
            '#' => _ = letters.find(|letter| *letter == '\n'),
            '"' => {
                let mut is_escaped = false;
                _ = letters.find(|letter| {
                    let is_end = *letter == '"' && !is_escaped;
                    is_escaped = *letter == '\\' && !is_escaped;
                    is_end
                });
            }
            _ => {}
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::with_exchanges;

    fn ask(answer: &str) -> Result<Value, Error> {
        let exchanges = format!(
            r#"[{{"request": {{"method": "POST", "url": "{{api}}/graphql", "json": {{"query": "{{ a }}", "variables": {{"first": 1}}}}}},
                 "response": {{"status": 200, "json": {answer}}}}}]"#
        );
        with_exchanges(&exchanges, || {
            Query::new("{ a }").variables(serde_json::json!({"first": 1})).send("{api}/graphql")
        })
    }

    #[test]
    fn a_status_of_200_may_be_a_refusal() {
        assert_eq!(ask(r#"{"data": {"a": 1}}"#).unwrap()["a"], 1);
        assert_eq!(ask(r#"{"data": {"a": 1}, "errors": []}"#).unwrap()["a"], 1);

        let refused = |answer: &str| ask(answer).unwrap_err();
        let error = refused(r#"{"data": null, "errors": [{"message": "x", "extensions": {"code": "THROTTLED"}}]}"#);
        assert_eq!((error.kind.name(), error.provider_code.as_deref()), ("rate-limited", Some("THROTTLED")));
        let error = refused(r#"{"errors": [{"message": "x", "extensions": {"code": "UNAUTHENTICATED"}}]}"#);
        assert_eq!(error.kind, ErrorKind::Unauthorized);
        let error = refused(r#"{"data": {"a": 1}, "errors": [{"message": "half of it failed"}]}"#);
        assert_eq!((error.kind.name(), error.status), ("provider-reported", Some(200)));
        assert_eq!(refused(r#"{"neither": 1}"#).kind, ErrorKind::SchemaViolation);
    }

    #[test]
    fn only_what_changes_nothing_is_repeated() {
        for query in [
            "{ a }",
            "query A($mutation: Int) { mutation }",
            "# mutation\n{ a }",
            "fragment F on T { a } query { ...F }",
        ] {
            assert!(!changes_something(query), "{query}");
        }
        for change in ["mutation { a }", "fragment F on T { a } mutation M($i: I!) { b }", "subscription{a}"] {
            assert!(changes_something(change), "{change}");
        }
    }
}
