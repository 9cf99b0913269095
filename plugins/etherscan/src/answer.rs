//! What an answer means, and the one way to ask for it.
//!
//! Etherscan answers errors with HTTP 200 and says so in the body: `{"status":"0","message":…,"result":…}`. What the
//! host must act on (limits, keys, passing troubles) is told to it as `[[answers]]` in the manifest and never arrives
//! here. This file judges the rest: an empty set, which also has status 0, and a refusal. `module=proxy` answers
//! JSON-RPC, but its limiter and key errors come in the envelope too; the chain list is only a `result`.

use std::rc::Rc;

use wharfage_sdk::{Error, Request, Response, http::Keep, json, log};

use crate::record::{Fields, Name, Of, Row, misfit};

/// One question to `{api}/api`.
#[derive(Clone)]
pub(crate) struct Question {
    name: String,
    keep: Keep,
    parameters: Vec<(&'static str, String)>,
}

impl Question {
    /// Asks `action` of `module` about one chain.
    pub(crate) fn new(chainid: u64, module: &'static str, action: &'static str) -> Self {
        let name = [module, "/", action].concat();
        Self { name, keep: Keep::AsAnswered, parameters: Vec::new() }
            .with("chainid", chainid)
            .with("module", module)
            .with("action", action)
    }

    /// Adds one parameter.
    pub(crate) fn with(mut self, name: &'static str, value: impl std::fmt::Display) -> Self {
        self.parameters.push((name, value.to_string()));
        self
    }

    /// Says how long the answer holds. Most do not: a list of transactions counts its confirmations anew with each block.
    pub(crate) fn keep(self, keep: Keep) -> Self {
        Self { keep, ..self }
    }

    /// What makes this question differ from another.
    pub(crate) fn identity(&self) -> String {
        format!("{:?}", self.parameters)
    }

    /// Asks; `None` is an empty set.
    #[inline(never)]
    pub(crate) fn ask(&self) -> Result<Option<Found>, Error> {
        let request = Request::get("{api}/api").keep(self.keep);
        let request = self.parameters.iter().fold(request, |request, (name, value)| request.query(name, value));
        read(&self.name, request.send()?)
    }

    /// Asks for rows, of which there may be none.
    pub(crate) fn rows(&self, of: Of) -> Result<Vec<Row>, Error> {
        self.ask()?.map_or(Ok(Vec::new()), |found| found.rows(of))
    }

    /// Asks for one thing, which cannot be an empty set.
    #[inline(never)]
    pub(crate) fn ask_one(&self) -> Result<Found, Error> {
        self.ask()?.ok_or_else(|| Error::not_found(["Etherscan has no data for ", &self.name].concat()))
    }
}

/// Reads the answer to the question `name`; `None` is an empty set.
///
/// # Errors
///
/// The refusal, as `message: result`, or a schema violation where the answer has another shape than documented.
pub(crate) fn read(name: &str, response: Response) -> Result<Option<Found>, Error> {
    let body = response.json()?;
    let answer = judge(&body).map_err(|refusal| {
        let mut error = response.error(refusal.kind.clone(), refusal.message.as_str());
        error.provider_code.clone_from(&refusal.provider_code);
        error
    })?;
    match answer {
        Answer::Empty => Ok(None),
        Answer::Found { warning } => {
            if let Some(warning) = warning {
                log::warn("Etherscan answered with a warning", &[("question", &name), ("warning", &masked(&warning))]);
            }
            Ok(Some(Found { response: Rc::new(response), body }))
        }
    }
}

/// What was asked for.
pub(crate) struct Found {
    response: Rc<Response>,
    body: Fields,
}

impl Found {
    /// A text, or a number by its own text.
    ///
    /// # Errors
    /// `schema-violation` when it is none.
    pub(crate) fn text(&self) -> Result<&str, Error> {
        self.body.text(Name::Result).ok_or_else(|| self.misfit("a text"))
    }

    /// A number, as `is_number` knows it.
    ///
    /// # Errors
    /// `schema-violation` when it is none, with what was `expected`.
    pub(crate) fn number(&self, is_number: fn(&str) -> bool, expected: &str) -> Result<&str, Error> {
        self.body.text(Name::Result).filter(|text| is_number(text)).ok_or_else(|| self.misfit(expected))
    }

    /// Rows.
    ///
    /// # Errors
    /// `schema-violation` when it is no list of them.
    pub(crate) fn rows(&self, of: Of) -> Result<Vec<Row>, Error> {
        let rows = self.body.other(Name::Result).and_then(|rows| json::parse::<Vec<Fields>>(rows.as_bytes()));
        let rows = rows.ok_or_else(|| self.misfit("a list of objects"))?;
        let row = |(index, fields)| Row::new(self.response.clone(), Some(index), of, fields);
        rows.into_iter().enumerate().map(row).collect()
    }

    /// One row.
    ///
    /// # Errors
    /// `schema-violation` when it is none.
    pub(crate) fn row(&self) -> Result<Row, Error> {
        let fields = self.body.other(Name::Result).and_then(|row| json::parse(row.as_bytes()));
        Row::new(self.response.clone(), None, Of::Else, fields.ok_or_else(|| self.misfit("an object"))?)
    }

    pub(crate) fn misfit(&self, expected: &str) -> Error {
        misfit(&self.response, "/result", expected)
    }
}

enum Answer {
    Found { warning: Option<String> },
    Empty,
}

fn judge(body: &Fields) -> Result<Answer, Error> {
    let (status, message) = [Name::Status, Name::Message].map(|name| body.text(name).unwrap_or_default()).into();
    let result = body.text(Name::Result);
    let has_result = result.is_some() || body.other(Name::Result).is_some();
    if status == "0" {
        return refusal(message, result.unwrap_or_default());
    }
    // In JSON-RPC.
    if let Some(error) = body.other(Name::Error).and_then(|error| json::parse::<Fields>(error.as_bytes())) {
        let (code, message) = [Name::Code, Name::Message].map(|name| error.text(name).unwrap_or_default()).into();
        return Err(Error::provider_reported(code, masked(message)));
    }
    match status {
        // Seen: "OK-Missing/Invalid API Key, rate limit of 1/5sec applied". The data is good, the key is not.
        "1" if has_result => Ok(Answer::Found { warning: (message != "OK").then(|| message.to_owned()) }),
        "" if has_result => Ok(Answer::Found { warning: None }),
        _ => Err(Error::schema_violation("the answer has neither a known status nor a result")),
    }
}

fn refusal(message: &str, result: &str) -> Result<Answer, Error> {
    let spoken = message.to_ascii_lowercase();
    if EMPTY.iter().any(|known| spoken.contains(known)) {
        return Ok(Answer::Empty);
    }
    if result.contains("unsupported chainid") {
        return Err(Error::invalid_request(
            "/chainid",
            "Etherscan does not know this chain; chains.list names those it knows",
        ));
    }
    let whole = if result.is_empty() { masked(message) } else { masked(&format!("{message}: {result}")) };
    Err(Error::provider_reported(masked(message), whole))
}

/// `text` as it may stand in a message: one line, not long, and without anything as long and random as a key.
///
/// The host has masked the secrets it knows. This is for a key that somebody put elsewhere, and for others' text.
fn masked(text: &str) -> String {
    let mut line = String::new();
    let is_gap = |letter: char| letter.is_whitespace() || letter.is_control();
    for word in text.split(is_gap).filter(|word| !word.is_empty()) {
        if line.len() + word.len() > MESSAGE_BYTES_MAX {
            line.push_str(" …");
            break;
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(if is_key_like(word) { "***" } else { word });
    }
    line
}

fn is_key_like(word: &str) -> bool {
    let bare = word.trim_matches(|letter: char| !letter.is_ascii_alphanumeric());
    let run = bare.rsplit(|letter: char| !letter.is_ascii_alphanumeric()).map(str::len).max().unwrap_or(0);
    run >= KEY_LETTERS_MIN && !bare.starts_with("0x")
}

/// What `message` says of an empty set, lower case. Seen in the official client etherscan-cli, 2026-11-22; `result` is
/// then `[]`, the empty text or null. Any other message with an empty `result` is a refusal.
const EMPTY: [&str; 4] = ["no transactions found", "no transaction found", "no records found", "no data found"];

/// An API key has 34 letters and digits.
const KEY_LETTERS_MIN: usize = 30;

const MESSAGE_BYTES_MAX: usize = 300;

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(body: &str) -> Result<Option<String>, String> {
        let body: Fields = json::parse(body.as_bytes()).ok_or("no JSON")?;
        match judge(&body) {
            Ok(Answer::Found { .. }) => {
                Ok(body.text(Name::Result).or_else(|| body.other(Name::Result)).map(ToOwned::to_owned))
            }
            Ok(Answer::Empty) => Ok(None),
            Err(error) => Err(error.message.clone()),
        }
    }

    /// The empty set in the three forms of `result`, each of the four messages, and no regard to case.
    #[test]
    fn an_empty_set_is_told_by_the_message() {
        for message in ["No transactions found", "No transaction found", "No records found", "NO DATA FOUND"] {
            for result in ["[]", r#""""#, "null"] {
                assert_eq!(judged(&format!(r#"{{"status":"0","message":"{message}","result":{result}}}"#)), Ok(None));
            }
        }
    }

    /// An empty result alone says nothing: these blocks were not indexed yet, and the key of the second was wrong.
    #[test]
    fn an_empty_result_with_another_message_is_a_refusal() {
        let unprocessed =
            r#"{"status":"0","message":"Transactions of these blocks have not yet been processed","result":[]}"#;
        assert_eq!(judged(unprocessed), Err("Transactions of these blocks have not yet been processed".to_owned()));
        assert_eq!(judged(r#"{"status":"0","message":"NOTOK","result":""}"#), Err("NOTOK".to_owned()));
        let window = r#"{"status":"0","message":"Result window is too large","result":null}"#;
        assert_eq!(judged(window), Err("Result window is too large".to_owned()));
    }

    #[test]
    fn a_refusal_is_message_and_result() {
        let body = r#"{"status":"0","message":"NOTOK","result":"Error! Invalid address format"}"#;
        assert_eq!(judged(body), Err("NOTOK: Error! Invalid address format".to_owned()));
    }

    #[test]
    fn a_chain_that_is_not_known_is_the_callers_mistake() {
        let body = r#"{"status":"0","message":"NOTOK","result":"Missing or unsupported chainid parameter"}"#;
        let kind =
            judge(&json::parse(body.as_bytes()).unwrap()).map(|_| ()).map_err(|error| format!("{:?}", error.kind));
        assert!(kind.is_err_and(|kind| kind.contains("/chainid")));
    }

    #[test]
    fn json_rpc_and_the_chain_list_have_no_status() {
        assert_eq!(judged(r#"{"jsonrpc":"2.0","id":83,"result":"0x10d4f"}"#), Ok(Some("0x10d4f".to_owned())));
        assert_eq!(judged(r#"{"totalcount":0,"result":[]}"#), Ok(Some("[]".to_owned())));
        let error = r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32602,"message":"invalid argument 0"}}"#;
        assert_eq!(judged(error), Err("invalid argument 0".to_owned()));
        let envelope = r#"{"status":"0","message":"NOTOK","result":"Some refusal"}"#;
        assert_eq!(judged(envelope), Err("NOTOK: Some refusal".to_owned()), "of the proxy, too");
    }

    #[test]
    fn success_with_a_warning_is_success() {
        let body =
            r#"{"status":"1","message":"OK-Missing/Invalid API Key, rate limit of 1/5sec applied","result":"7"}"#;
        assert_eq!(judged(body), Ok(Some("7".to_owned())));
    }

    #[test]
    fn anything_else_is_no_answer() {
        for body in [r#"{"status":"2","message":"OK","result":[]}"#, r#"{"status":"1","message":"OK"}"#, "{}"] {
            assert!(judged(body).is_err(), "{body}");
        }
    }

    #[test]
    fn a_message_has_no_key_no_second_line_and_an_end() {
        let key = "QWERTYUIOPASDFGHJKLZXCVBNM12345678";
        assert_eq!(masked(&format!("bad key {key},\nthat is\u{7}apikey={key}")), "bad key *** that is ***");
        let hash = "0x5c9b0f9c6c32d2690771169ec62dd648fef7bce3d45fe8a6505d99fdcbade27a";
        assert_eq!(masked(hash), hash, "a hash is no key");
        assert!(masked(&"word ".repeat(1000)).len() <= MESSAGE_BYTES_MAX + 8);
    }
}
