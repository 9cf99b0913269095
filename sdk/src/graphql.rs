//! GraphQL over POST. It fails on three levels, and a status of 200 says nothing about two of them:
//!
//! 1. HTTP: as any other request. Where the body of the failure names GraphQL errors, their code is read too.
//! 2. `errors[]`, maybe with data beside them: refused by [`Query::send`], handed over by [`Query::send_partial`].
//! 3. Errors inside the payload, as `userErrors` or `errors { field messages }`: read them as [`UserError`]s and pass them
//!    to [`accept`].
//!
//! Queries may be repeated although they are sent by POST. Mutations never are, unless they are [`Query::keyed`].
//!
//! What a body says about throttling (`THROTTLED`, `extensions.cost.throttleStatus`) is told to the host, so that all calls
//! of the account wait and not this one alone. So a plugin that sends queries imports `rate-limit` besides `http`.
//!
//! ```
//! use wharfage_sdk::{Cursor, Error, Page, graphql::{self, Connection, Query}, serde};
//!
//! #[derive(serde::Deserialize)]
//! #[serde(crate = "wharfage_sdk::serde")]
//! struct Data {
//!     products: Connection<Product>,
//! }
//! # #[derive(serde::Deserialize)]
//! # #[serde(crate = "wharfage_sdk::serde")]
//! # struct Product { id: String }
//!
//! const PRODUCTS: &str = "query GetProducts($first: Int, $after: String) {
//!     products(first: $first, after: $after) { edges { node { id } } pageInfo { hasNextPage endCursor } }
//! }";
//!
//! fn list(cursor: Option<Cursor>) -> Result<Page<Product>, Error> {
//!     graphql::page(cursor, |after| {
//!         let variables = wharfage_sdk::serde_json::json!({"first": 50, "after": after});
//!         let data: Data = Query::new(PRODUCTS).variables(variables).send("{api}/graphql")?;
//!         Ok(data.products)
//!     })
//! }
//! ```

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::error::{FieldError, RequestSent};
use crate::http::{Repeat, Request, Response};
use crate::json::Any;
use crate::rate_limit::{self, Feedback};
use crate::{Cursor, Error, ErrorKind, Page, Timestamp, clock};

pub use crate::page::{PageInfo, Relay};

/// How many errors of an answer are read.
const ERRORS_MAX: usize = 20;
/// How much of a provider's sentence is kept.
const MESSAGE_CHARS_MAX: usize = 300;
/// The longest wait that is believed.
const WAIT_MS_MAX: f64 = 86_400_000.0;

/// A query or a mutation.
#[derive(Clone, Debug)]
#[must_use = "a query does nothing until it is sent"]
pub struct Query<'a> {
    text: &'a str,
    variables: Value,
    operation: Option<&'a str>,
    is_keyed: bool,
    bucket: Option<&'a str>,
    units: u32,
}

/// Data, and what is missing of it.
#[derive(Clone, Debug)]
pub struct Partial<T> {
    /// What came. Where an error is, the schema lets a `null` stand.
    pub data: T,
    /// What did not.
    pub errors: Vec<Problem>,
}

/// One of `errors[]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Problem {
    /// The provider's sentence, its start. It may hold anything: show it to whoever called, do not log it.
    pub message: String,
    /// Which field of the data it is about, as a JSON Pointer; empty for the whole request.
    pub path: String,
    /// `extensions.code`, or `type` where a provider writes it so.
    pub code: Option<String>,
}

/// An error inside a payload, in each of its common forms: `field` is a name or a path, and there is a `message` or there
/// are `messages`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(from = "AnyUserError")]
pub struct UserError {
    /// Which field of the input it is about, as a JSON Pointer; empty for all of it.
    pub field: String,
    /// The provider's sentence, or several.
    pub message: String,
    /// The provider's code.
    pub code: Option<String>,
}

/// A Relay connection, or the shorter form with `nodes`. What is `null` in it is left out.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Connection<T> {
    #[serde(default = "none")]
    edges: Option<Vec<Option<Edge<T>>>>,
    #[serde(default = "none")]
    nodes: Option<Vec<Option<T>>>,
    /// Whether there is more, and where it begins.
    #[serde(default)]
    pub page_info: PageInfo,
}

#[derive(Clone, Debug, Deserialize)]
struct Edge<T> {
    #[serde(default = "none")]
    node: Option<T>,
}

fn none<T>() -> Option<T> {
    None
}

impl<'a> Query<'a> {
    /// The document.
    pub fn new(text: &'a str) -> Self {
        Self { text, variables: Value::Null, operation: None, is_keyed: false, bucket: None, units: 0 }
    }

    /// Its variables, an object. Values belong here and never into the text.
    pub fn variables(mut self, variables: Value) -> Self {
        self.variables = variables;
        self
    }

    /// Which operation of the document; needed where it has several.
    pub fn operation(mut self, name: &'a str) -> Self {
        self.operation = Some(name);
        self
    }

    /// Lets a mutation be repeated, with an idempotency key that the host makes and keeps. The manifest says in which header.
    pub fn keyed(mut self) -> Self {
        self.is_keyed = true;
        self
    }

    /// Spends `units` of a bucket that counts the cost of queries. What an answer says is left then goes to this bucket.
    pub fn cost(mut self, bucket: &'a str, units: u32) -> Self {
        (self.bucket, self.units) = (Some(bucket), units);
        self
    }

    /// Sends it and reads `data` as `T`.
    ///
    /// # Errors
    /// Those of any request. For `errors[]`, even if there is data beside them: `rate-limited`, `unauthorized`, `forbidden`,
    /// `not-found`, `invalid-request` or `transient` where a code says so, else `provider-reported`. `schema-violation` for
    /// data of another shape.
    pub fn send<T: DeserializeOwned>(self, url: &str) -> Result<T, Error> {
        let answer = self.answer(url)?;
        if let Some(error) = answer.refusal() {
            return Err(error);
        }
        answer.data()
    }

    /// Sends it and hands over what came: errors are refused only where there is no data beside them.
    ///
    /// # Errors
    /// As for [`send`](Self::send).
    pub fn send_partial<T: DeserializeOwned>(self, url: &str) -> Result<Partial<T>, Error> {
        let answer = self.answer(url)?;
        match answer.refusal() {
            Some(error) if answer.data.is_none() => Err(error),
            _ => Ok(Partial { data: answer.data()?, errors: answer.errors }),
        }
    }

    /// All that does not depend on the type of the data.
    fn answer(self, url: &str) -> Result<Answered, Error> {
        #[derive(Serialize)]
        struct Body<'a> {
            query: &'a str,
            #[serde(skip_serializing_if = "Value::is_null")]
            variables: Value,
            #[serde(rename = "operationName", skip_serializing_if = "Option::is_none")]
            operation: Option<&'a str>,
        }
        let repeat = match kind_of(self.text, self.operation) {
            Kind::Query => Repeat::Safe,
            Kind::Mutation if self.is_keyed => Repeat::Keyed,
            Kind::Mutation => Repeat::Never,
            Kind::Subscription => return Err(Error::internal("a subscription is no request: it needs a socket")),
        };
        // Asked for the newer type, servers answer refused documents with a status of 400, whose body is cut short on its way.
        let mut request = Request::post(url).header("Accept", "application/json").repeat(repeat);
        if let Some(bucket) = self.bucket {
            request = request.cost(bucket, self.units);
        }
        let body = Body { query: self.text, variables: self.variables, operation: self.operation };
        let response = request.json(&body)?.send().map_err(refined)?;
        Answered::read(response, self.bucket)
    }
}

/// An answer, read as far as it is the same for all.
struct Answered {
    response: Response,
    data: Option<Box<RawValue>>,
    errors: Vec<Problem>,
    retry_at: Option<Timestamp>,
}

crate::answer! {
    struct Envelope {
        #[serde(default)]
        data: Option<Box<RawValue>>,
        #[serde(default)]
        errors: Option<Vec<Any>>,
        #[serde(default)]
        extensions: Option<Extensions>,
    }

    #[derive(Default)]
    struct Extensions {
        #[serde(default)]
        cost: Any,
    }
}

impl Answered {
    fn read(response: Response, bucket: Option<&str>) -> Result<Self, Error> {
        let envelope: Envelope = response.json()?;
        let errors = problems(envelope.errors.as_deref().unwrap_or_default());
        let throttle = Throttle::of(&envelope.extensions.unwrap_or_default().cost.0);
        let is_throttled =
            errors.iter().any(|error| kind_of_code(error.code.as_deref()) == Some(ErrorKind::RateLimited));
        let retry_at = throttle.wait_ms().filter(|_| is_throttled).map(|wait_ms| clock::now().plus_ms(wait_ms));
        if let Some(feedback) = throttle.feedback(bucket, is_throttled, retry_at) {
            // It is a courtesy: a bucket that is not declared does not spoil the answer.
            _ = rate_limit::report(feedback);
        }
        Ok(Self { response, data: envelope.data, errors, retry_at })
    }

    fn data<T: DeserializeOwned>(&self) -> Result<T, Error> {
        let Some(raw) = &self.data else {
            let message = "the answer has neither data nor errors";
            return Err(self.response.error(ErrorKind::SchemaViolation, message));
        };
        self.response.part(raw.clone(), "/data").map(|kept| kept.value)
    }

    fn refusal(&self) -> Option<Error> {
        let (kind, code) = judged(&self.errors)?;
        let mut error = self.response.error(kind, sentence(&self.errors));
        error.provider_code = code;
        error.retry_at = self.retry_at;
        Some(error)
    }
}

/// What `extensions.cost` says.
#[derive(Default)]
struct Throttle {
    requested: Option<f64>,
    maximum: Option<f64>,
    available: Option<f64>,
    restored_per_s: Option<f64>,
}

impl Throttle {
    fn of(cost: &Value) -> Self {
        let status = &cost["throttleStatus"];
        Self {
            requested: cost["requestedQueryCost"].as_f64(),
            maximum: status["maximumAvailable"].as_f64(),
            available: status["currentlyAvailable"].as_f64(),
            restored_per_s: status["restoreRate"].as_f64(),
        }
    }

    /// Until there is enough again; none where waiting does not help or nobody knows.
    fn wait_ms(&self) -> Option<i64> {
        let (requested, available) = (self.requested?, self.available?);
        if self.maximum.is_some_and(|maximum| requested > maximum) {
            return None;
        }
        let wait_ms = ((requested - available) / self.restored_per_s? * 1000.0).ceil();
        // Also what is no number at all.
        (wait_ms > 0.0 && wait_ms <= WAIT_MS_MAX).then_some(wait_ms as i64)
    }

    fn feedback(&self, bucket: Option<&str>, is_throttled: bool, until: Option<Timestamp>) -> Option<Feedback> {
        // Points are not requests: what is left of them says something about a bucket of points only.
        let remaining = self.available.filter(|left| bucket.is_some() && *left >= 0.0).map(|left| left as u32);
        let blocked_until = until.filter(|_| is_throttled);
        let bucket = bucket.map(str::to_owned);
        (remaining.is_some() || blocked_until.is_some()).then_some(Feedback { bucket, blocked_until, remaining })
    }
}

fn problems(errors: &[Any]) -> Vec<Problem> {
    let text = |value: &Value| value.as_str().map(|text| text.chars().take(MESSAGE_CHARS_MAX).collect::<String>());
    let problem = |Any(error): &Any| Problem {
        message: text(&error["message"]).unwrap_or_default(),
        path: pointer(&error["path"]),
        code: text(&error["extensions"]["code"]).or_else(|| text(&error["type"])),
    };
    errors.iter().take(ERRORS_MAX).map(problem).collect()
}

/// A path of GraphQL (names and numbers, or names joined by dots) as a JSON Pointer.
fn pointer(path: &Value) -> String {
    let escaped = |name: &str| name.replace('~', "~0").replace('/', "~1");
    match path {
        Value::String(names) if names.is_empty() => String::new(),
        Value::String(names) => names.split('.').map(|name| format!("/{}", escaped(name))).collect(),
        Value::Array(parts) => {
            let part = |part: &Value| part.as_str().map_or_else(|| part.to_string(), &escaped);
            parts.iter().map(|own| format!("/{}", part(own))).collect()
        }
        _ => String::new(),
    }
}

/// What a code means, where many providers agree.
fn kind_of_code(code: Option<&str>) -> Option<ErrorKind> {
    Some(match code? {
        "THROTTLED" | "RATE_LIMITED" | "RATE_LIMIT_EXCEEDED" | "TOO_MANY_REQUESTS" => ErrorKind::RateLimited,
        "UNAUTHENTICATED" => ErrorKind::Unauthorized,
        "FORBIDDEN" | "ACCESS_DENIED" => ErrorKind::Forbidden,
        "BAD_USER_INPUT"
        | "GRAPHQL_VALIDATION_FAILED"
        | "GRAPHQL_PARSE_FAILED"
        | "BAD_REQUEST"
        | "MAX_COST_EXCEEDED" => ErrorKind::InvalidRequest(Vec::new()),
        "NOT_FOUND" => ErrorKind::NotFound,
        "INTERNAL_SERVER_ERROR" | "INTERNAL" | "SERVICE_UNAVAILABLE" | "TIMEOUT" => ErrorKind::Transient,
        _ => return None,
    })
}

/// What errors mean together, with the code that says so: the first of them that is known, limits before all else.
fn judged(errors: &[Problem]) -> Option<(ErrorKind, Option<String>)> {
    let first = errors.first()?;
    let known: Vec<(ErrorKind, &Problem)> =
        errors.iter().filter_map(|error| Some((kind_of_code(error.code.as_deref())?, error))).collect();
    let limit = known.iter().find(|(kind, _)| *kind == ErrorKind::RateLimited);
    Some(match limit.or(known.first()) {
        Some((ErrorKind::InvalidRequest(_), error)) => (ErrorKind::InvalidRequest(fields(errors)), error.code.clone()),
        Some((kind, error)) => (kind.clone(), error.code.clone()),
        None => (ErrorKind::ProviderReported, first.code.clone()),
    })
}

fn fields(errors: &[Problem]) -> Vec<FieldError> {
    let field = |error: &Problem| FieldError { path: error.path.clone(), message: error.message.clone() };
    errors.iter().map(field).collect()
}

/// A sentence of our own: theirs may hold anything.
fn sentence(errors: &[Problem]) -> String {
    let place = errors.iter().map(|error| error.path.as_str()).find(|path| !path.is_empty());
    let count = match errors.len() {
        1 => "a GraphQL error".to_owned(),
        count => format!("{count} GraphQL errors"),
    };
    match place {
        Some(place) => format!("the provider answered with {count} at {place}"),
        None => format!("the provider answered with {count}"),
    }
}

/// A failure of HTTP whose body is that of GraphQL.
fn refined(mut error: Error) -> Error {
    let body = error.body.as_deref().filter(|_| error.status.is_some());
    let Some(Envelope { errors: Some(errors), .. }) = body.and_then(|body| crate::json::read(body).ok()) else {
        return error;
    };
    // What the status and the host's rules say of waiting and repeating is not undone.
    let errors = problems(&errors);
    if let Some((kind, code)) = judged(&errors) {
        if error.kind == ErrorKind::InvalidRequest(Vec::new()) {
            error.kind = ErrorKind::InvalidRequest(fields(&errors));
        }
        if !error.may_retry() && kind != ErrorKind::ProviderReported {
            error.kind = kind;
        }
        error.provider_code = error.provider_code.take().or(code);
    }
    error
}

crate::answer! {
    struct AnyUserError {
        #[serde(default)]
        field: Any,
        #[serde(default)]
        message: Option<String>,
        #[serde(default)]
        messages: Option<Vec<String>>,
        #[serde(default)]
        code: Option<String>,
    }
}

impl From<AnyUserError> for UserError {
    fn from(error: AnyUserError) -> Self {
        let mut all = error.messages.unwrap_or_default();
        if let Some(message) = error.message {
            all.insert(0, message);
        }
        let message = all.join("; ").chars().take(MESSAGE_CHARS_MAX).collect();
        Self { field: pointer(&error.field.0), message, code: error.code }
    }
}

/// Accepts a payload without errors.
///
/// # Errors
/// `invalid-request` with each field and what the provider says of it.
pub fn accept(errors: &[UserError]) -> Result<(), Error> {
    let Some(first) = errors.first() else { return Ok(()) };
    let fields: Vec<&str> =
        errors.iter().map(|error| if error.field.is_empty() { "the input" } else { &error.field }).collect();
    let message = format!("the provider refused {}", fields.join(", "));
    let field = |error: &UserError| FieldError { path: error.field.clone(), message: error.message.clone() };
    let mut error = Error::new(ErrorKind::InvalidRequest(errors.iter().map(field).collect()), message);
    error.provider_code.clone_from(&first.code);
    error.request_sent = RequestSent::Yes;
    Err(error)
}

impl<T> Connection<T> {
    /// Its items.
    pub fn into_items(self) -> Vec<T> {
        let nodes = self.nodes.into_iter().flatten().flatten();
        self.edges.into_iter().flatten().flatten().filter_map(|edge| edge.node).chain(nodes).collect()
    }
}

/// One page of an operation that lists a connection: `ask` gets what to send as `after`.
///
/// # Errors
/// Those of `ask`; `cursor-invalid`; `schema-violation` when more is promised and no new place named; `limit-exceeded`.
pub fn page<T>(
    cursor: Option<Cursor>,
    ask: impl FnOnce(Option<&str>) -> Result<Connection<T>, Error>,
) -> Result<Page<T>, Error> {
    let at = Relay::resume(cursor)?;
    let connection = ask(at.after())?;
    let next = at.advance(&connection.page_info)?;
    Page::new(connection.into_items(), next.as_ref())
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Query,
    Mutation,
    Subscription,
}

/// What is sent: the chosen operation, or the one that changes most. What cannot be read might change something.
fn kind_of(text: &str, chosen: Option<&str>) -> Kind {
    let kind = |(word, name): (&str, Option<&str>)| match word {
        "fragment" => None,
        _ if chosen.is_some() && name != chosen => None,
        "query" => Some(Kind::Query),
        "subscription" => Some(Kind::Subscription),
        _ => Some(Kind::Mutation),
    };
    definitions(text).into_iter().filter_map(kind).max().unwrap_or(Kind::Mutation)
}

/// The first two words before each outermost `{`: what is defined, and its name.
fn definitions(text: &str) -> Vec<(&str, Option<&str>)> {
    let (mut found, mut words, mut depth) = (Vec::new(), Vec::new(), 0_usize);
    let mut rest = text;
    while let Some(letter) = rest.chars().next() {
        let mut length = letter.len_utf8();
        match letter {
            '{' | '(' | '[' => {
                if letter == '{' && depth == 0 {
                    found.push((words.first().copied().unwrap_or("query"), words.get(1).copied()));
                    words.clear();
                }
                depth += 1;
            }
            '}' | ')' | ']' => depth = depth.saturating_sub(1),
            '#' => length = rest.find(['\n', '\r']).unwrap_or(rest.len()),
            '"' => length = string(rest),
            _ if letter.is_alphabetic() || letter == '_' => {
                length = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
                if depth == 0 {
                    words.push(&rest[..length]);
                }
            }
            _ => {}
        }
        rest = &rest[length..];
    }
    found
}

/// How long the string at the start is. In a block, `\"""` is the one escape.
fn string(text: &str) -> usize {
    let (mark, escape) = if text.starts_with("\"\"\"") { ("\"\"\"", "\\\"\"\"") } else { ("\"", "\\") };
    let mut position = mark.len();
    while position < text.len() {
        let rest = &text[position..];
        if rest.starts_with(mark) {
            return position + mark.len();
        }
        let skipped = if rest.starts_with(escape) { escape.len() } else { 0 };
        let after = rest[skipped..].chars().next().filter(|_| skipped < 2);
        position += skipped + after.map_or(0, char::len_utf8);
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::testing::with_exchanges;

    fn exchange(status: u16, answer: &str) -> String {
        format!(
            r#"{{"request": {{"method": "POST", "url": "{{api}}/graphql", "json": {{"query": "{{ a }}", "variables": {{"first": 1}}}}}},
                 "response": {{"status": {status}, "json": {answer}}}}}"#
        )
    }

    fn query() -> Query<'static> {
        Query::new("{ a }").variables(json!({"first": 1}))
    }

    fn ask(answer: &str) -> Result<Value, Error> {
        with_exchanges(&format!("[{}]", exchange(200, answer)), || query().send("{api}/graphql"))
    }

    fn refused(answer: &str) -> Error {
        ask(answer).unwrap_err()
    }

    #[test]
    fn a_status_of_200_may_be_a_refusal() {
        assert_eq!(ask(r#"{"data": {"a": 1}}"#).unwrap()["a"], 1);
        assert_eq!(ask(r#"{"data": {"a": 1}, "errors": []}"#).unwrap()["a"], 1);
        assert_eq!(ask(r#"{"data": {"a": 1}, "errors": null, "extensions": null}"#).unwrap()["a"], 1);

        let error = refused(r#"{"data": null, "errors": [{"message": "x", "extensions": {"code": "THROTTLED"}}]}"#);
        assert_eq!((error.kind.name(), error.provider_code.as_deref()), ("rate-limited", Some("THROTTLED")));
        let error =
            refused(r#"{"data": {"a": 1}, "errors": [{"message": "half of it failed", "path": ["a", 0, "b"]}]}"#);
        assert_eq!((error.kind.name(), error.status), ("provider-reported", Some(200)));
        assert_eq!(error.message, "the provider answered with a GraphQL error at /a/0/b");
        assert_eq!(refused(r#"{"neither": 1}"#).kind, ErrorKind::SchemaViolation);
        assert_eq!(refused(r#"{"data": null}"#).kind, ErrorKind::SchemaViolation);
        assert_eq!(refused(r#"{"errors": ["odd", 7, null]}"#).kind, ErrorKind::ProviderReported);
    }

    #[test]
    fn codes_mean_what_providers_agree_on() {
        for (code, kind) in [
            ("RATE_LIMITED", "rate-limited"),
            ("UNAUTHENTICATED", "unauthorized"),
            ("FORBIDDEN", "forbidden"),
            ("BAD_USER_INPUT", "invalid-request"),
            ("GRAPHQL_VALIDATION_FAILED", "invalid-request"),
            ("INTERNAL_SERVER_ERROR", "transient"),
            ("NOT_FOUND", "not-found"),
            ("MADE_UP", "provider-reported"),
        ] {
            let error = refused(&format!(r#"{{"errors": [{{"message": "x", "extensions": {{"code": "{code}"}}}}]}}"#));
            assert_eq!((error.kind.name(), error.provider_code.as_deref()), (kind, Some(code)));
            let error = refused(&format!(r#"{{"errors": [{{"type": "{code}", "message": "x"}}]}}"#));
            assert_eq!(error.kind.name(), kind);
        }
        // A limit counts before anything else that went wrong.
        let error =
            refused(r#"{"errors": [{"extensions": {"code": "FORBIDDEN"}}, {"extensions": {"code": "THROTTLED"}}]}"#);
        assert_eq!(error.kind, ErrorKind::RateLimited);
        let error = refused(
            r#"{"errors": [{"message": "first is too large", "path": ["a"], "extensions": {"code": "BAD_USER_INPUT"}}]}"#,
        );
        let ErrorKind::InvalidRequest(fields) = &error.kind else { panic!("{error:?}") };
        assert_eq!((fields[0].path.as_str(), fields[0].message.as_str()), ("/a", "first is too large"));
        assert!(!error.to_string().contains("too large"), "a foreign sentence stands in ours: {error}");
    }

    #[test]
    fn half_an_answer_is_for_who_asks_for_it() {
        let answer = r#"{"data": {"a": null, "b": 2}, "errors": [{"message": "no a", "path": ["a"], "extensions": {"code": "X"}}]}"#;
        let partial: Partial<Value> =
            with_exchanges(&format!("[{}]", exchange(200, answer)), || query().send_partial("{api}/graphql")).unwrap();
        assert_eq!(partial.data["b"], 2);
        let problem = Problem { message: "no a".into(), path: "/a".into(), code: Some("X".into()) };
        assert_eq!(partial.errors, [problem]);

        let nothing = r#"{"data": null, "errors": [{"message": "x"}]}"#;
        let refused: Result<Partial<Value>, Error> =
            with_exchanges(&format!("[{}]", exchange(200, nothing)), || query().send_partial("{api}/graphql"));
        assert_eq!(refused.unwrap_err().kind, ErrorKind::ProviderReported);
        let whole = with_exchanges(&format!("[{}]", exchange(200, r#"{"data": {"a": 1}}"#)), || {
            query().send_partial::<Value>("{api}/graphql")
        });
        assert!(whole.unwrap().errors.is_empty());
    }

    #[test]
    fn a_failure_of_http_may_name_a_code() {
        let refused = |status: u16, code: &str| {
            let answer = format!(r#"{{"errors": [{{"message": "x", "extensions": {{"code": "{code}"}}}}]}}"#);
            with_exchanges(&format!("[{}]", exchange(status, &answer)), || query().send::<Value>("{api}/graphql"))
                .unwrap_err()
        };
        let error = refused(400, "UNAUTHENTICATED");
        assert_eq!((error.kind.name(), error.status), ("unauthorized", Some(400)));
        let error = refused(429, "UNAUTHENTICATED");
        assert_eq!((error.kind.name(), error.provider_code.as_deref()), ("rate-limited", Some("UNAUTHENTICATED")));
        assert_eq!(refused(403, "MADE_UP").kind.name(), "forbidden");
        let ErrorKind::InvalidRequest(fields) = &refused(400, "MADE_UP").kind else { panic!("another kind") };
        assert_eq!(fields[0].message, "x");
    }

    #[test]
    fn a_throttled_query_says_when_to_come_back() {
        let cost = |requested: f64, maximum: f64, available: f64, rate: f64| {
            Throttle::of(&json!({"requestedQueryCost": requested, "throttleStatus": {
                "maximumAvailable": maximum, "currentlyAvailable": available, "restoreRate": rate}}))
        };
        assert_eq!(cost(752.0, 1000.0, 252.0, 50.0).wait_ms(), Some(10_000));
        assert_eq!(cost(100.0, 1000.0, 99.99, 50.0).wait_ms(), Some(1));
        // Waiting does not help, or nobody can say.
        for (requested, maximum, available, rate) in [
            (2000.0, 1000.0, 1000.0, 50.0),
            (10.0, 1000.0, 500.0, 50.0),
            (10.0, 1000.0, 0.0, 0.0),
            (10.0, 1000.0, 0.0, -1.0),
            (10.0, 1000.0, -1e300, 1e-9),
        ] {
            assert_eq!(cost(requested, maximum, available, rate).wait_ms(), None, "{requested} {available} {rate}");
        }
        assert_eq!(Throttle::of(&json!("odd")).wait_ms(), None);

        let at = Timestamp::from_ms(1);
        let throttled = cost(20.0, 100.0, 10.0, 5.0);
        assert_eq!(
            throttled.feedback(None, true, Some(at)),
            Some(Feedback { bucket: None, blocked_until: Some(at), remaining: None })
        );
        assert_eq!(
            throttled.feedback(Some("points"), false, None),
            Some(Feedback { bucket: Some("points".into()), blocked_until: None, remaining: Some(10) })
        );
        assert_eq!(throttled.feedback(None, false, None), None);

        let answer = r#"{"errors": [{"message": "Throttled", "extensions": {"code": "THROTTLED"}}], "extensions": {"cost":
            {"requestedQueryCost": 202, "actualQueryCost": null, "throttleStatus":
            {"maximumAvailable": 1000.0, "currentlyAvailable": 118, "restoreRate": 50.0}}}}"#;
        let error = refused(answer);
        let wait = with_exchanges("[]", || error.retry_at.unwrap().as_ms() - clock::now().as_ms());
        assert_eq!(wait, 1_680);
    }

    #[test]
    fn errors_inside_a_payload_name_their_fields() {
        let errors: Vec<UserError> = serde_json::from_value(json!([
            {"field": "adjustment", "messages": ["must not be 0", "must be whole"]},
            {"field": ["input", "lines", 0, "sku"], "message": "is unknown", "code": "INVALID"},
            {"field": null, "message": "not today"},
            {}
        ]))
        .unwrap();
        let error = accept(&errors).unwrap_err();
        assert_eq!(error.message, "the provider refused /adjustment, /input/lines/0/sku, the input, the input");
        assert_eq!(error.request_sent, RequestSent::Yes);
        let ErrorKind::InvalidRequest(fields) = &error.kind else { panic!("{error:?}") };
        assert_eq!(
            (fields[0].path.as_str(), fields[0].message.as_str()),
            ("/adjustment", "must not be 0; must be whole")
        );
        assert_eq!(fields[2].path, "");
        assert!(accept(&[]).is_ok());
    }

    fn connection(value: Value) -> Connection<u32> {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn a_connection_is_read_page_by_page() {
        let first = page(None, |after| {
            assert_eq!(after, None);
            Ok(connection(json!({"edges": [{"node": 1, "cursor": "x"}, null, {"node": null}, {"node": 2}],
                "pageInfo": {"hasNextPage": true, "endCursor": "x"}})))
        })
        .unwrap();
        assert_eq!(first.items, [1, 2]);
        let last = page(first.next.clone(), |after| {
            assert_eq!(after, Some("x"));
            Ok(connection(json!({"nodes": [3, null], "edges": null, "pageInfo": {"hasNextPage": false}})))
        })
        .unwrap();
        assert_eq!((last.items, last.next), (vec![3], None));
        // A server that stays where it is ends with an error.
        let stuck = page(first.next, |_| {
            Ok(connection(json!({"edges": [], "pageInfo": {"hasNextPage": true, "endCursor": "x"}})))
        });
        assert_eq!(stuck.unwrap_err().kind, ErrorKind::SchemaViolation);
    }

    #[test]
    fn only_what_changes_nothing_is_repeated() {
        for query in [
            "{ a }",
            "query A($mutation: Int) { mutation }",
            "# mutation\n{ a }",
            "fragment F on T { a } query { ...F }",
            "query A($a: I = {b: [1]}) @d(e: \"}\") { a(b: \"\"\"x \" } \\\"\"\" mutation { \"\"\") }",
            "query mutation { a }",
        ] {
            assert_eq!(kind_of(query, None), Kind::Query, "{query}");
        }
        for change in [
            "mutation { a }",
            "fragment F on T { a } mutation M($i: I!) { b }",
            "query A($a: S = \"\"\"x \" y\"\"\") { a } mutation B { b }",
            "query A { a(b: \"\\\\\") } mutation B { b }",
            "query A { a } #\rmutation B { b }",
            "nonsense { a }",
            "",
        ] {
            assert_eq!(kind_of(change, None), Kind::Mutation, "{change}");
        }
        let both = "query A { a } mutation B { b }";
        assert_eq!((kind_of(both, Some("A")), kind_of(both, Some("B"))), (Kind::Query, Kind::Mutation));
        assert_eq!(kind_of(both, Some("C")), Kind::Mutation);
        assert_eq!(
            Query::new("subscription { a }").send::<Value>("{api}/graphql").unwrap_err().kind.name(),
            "internal"
        );
    }

    #[test]
    fn a_named_operation_is_sent_with_its_name() {
        let exchanges = r#"[{"request": {"method": "POST", "url": "{api}/graphql",
                "json": {"query": "query A { a } query B { b }", "operationName": "B"}},
            "response": {"status": 200, "json": {"data": {"b": 1}}}}]"#;
        let data: Value = with_exchanges(exchanges, || {
            Query::new("query A { a } query B { b }").operation("B").send("{api}/graphql")
        })
        .unwrap();
        assert_eq!(data["b"], 1);
    }

    proptest! {
        #[test]
        fn no_document_makes_it_panic(text in "[{}()\\[\\]a-c\"#\\\\ \n@$ä]{0,40}") {
            _ = kind_of(&text, Some("a"));
        }

        #[test]
        fn no_answer_makes_it_panic(text in "[{}\\[\\]:,\"a-z0-9 ]{0,40}") {
            if let Ok(value) = serde_json::from_str::<Value>(&text) {
                _ = problems(&[Any(value.clone())]);
                _ = Throttle::of(&value).wait_ms();
                _ = pointer(&value);
            }
        }
    }
}
