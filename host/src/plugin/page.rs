//! One page of an operation: its input against the schema before it runs, its output after, and where the list stands.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::pin::pin;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::run::PageCall;
use super::{Answer, Cursor, Loaded, to_json};
use crate::component::CONTRACT;
use crate::drift::Drift;
use crate::error::{Error, Kind, Result};
use crate::files::Files;
use crate::manifest::{Effect, Operation};
use crate::outbound::PathEvent;
use crate::outbound::session::What;
use crate::outbound::tape::Ended;

impl Loaded {
    /// One page of an operation, within its deadline.
    pub(crate) async fn page(
        &self,
        operation: &Operation,
        input: &str,
        cursor: Option<Cursor>,
        files: &Files,
    ) -> Result<Answer<Box<RawValue>>> {
        self.grant.check_operation(&operation.name)?;
        let input = self.input(operation, input)?;
        let wanted = What::Operation(&operation.name);
        self.check_scopes(&wanted, self.needs.manifest.scopes_of_operation(&operation.name)).await?;
        let cursor = cursor.map(|cursor| self.open(operation, &cursor)).transpose()?;
        if let Some(tape) = &self.outbound.tape {
            tape.begins(&self.outbound, &operation.name, &input)?;
        }
        let deadline = self.deadline();
        let result = {
            let call = PageCall { operation, input: &input, cursor: cursor.as_deref(), files, deadline };
            let run = pin!(self.run(&call));
            tokio::select! {
                biased;
                answer = run => answer,
                () = self.clock.alarm(deadline) => Err(match operation.effect {
                    Effect::Read => self.late(&operation.name),
                    _ => self.late(&operation.name).with_request_sent(crate::error::RequestSent::Maybe),
                }),
            }
        };
        if let Some(tape) = &self.outbound.tape {
            let result = result.as_ref().map(|answer| (&*answer.output, answer.next.is_some()));
            let is_continued = cursor.is_some();
            let ended =
                Ended { operation: &operation.name, is_list: operation.is_list, input: &input, is_continued, result };
            tape.ended(&self.outbound, &ended);
        }
        result
    }

    /// The input with the connection's defaults, checked against the operation's schema. Values go on as they were
    /// written, so that no number passes a float.
    pub(crate) fn input(&self, operation: &Operation, input: &str) -> Result<String> {
        let is_none = |error| Error::invalid("", format!("the input is no JSON object: {error}"));
        let written = if input.trim().is_empty() { "{}" } else { input };
        let given: Map<String, Value> = serde_json::from_str(written).map_err(is_none)?;
        let mut value = Value::Object(given);
        let mut text = Cow::Borrowed(written);
        let known = |name: &String| operation.input_schema.pointer("/properties").and_then(|known| known.get(name));
        let is_missing = |(name, _): &(&String, &Value)| known(name).is_some() && value.get(name.as_str()).is_none();
        let missing: Vec<_> = self.grant.defaults.iter().filter(is_missing).collect();
        if !missing.is_empty() {
            let mut fields: BTreeMap<String, Box<RawValue>> = serde_json::from_str(written).map_err(is_none)?;
            for (name, default) in missing {
                let raw = RawValue::from_string(default.to_string());
                fields.insert(name.clone(), raw.map_err(|error| Error::internal(error.to_string()))?);
                value[name] = default.clone();
            }
            text = to_json(&fields)?.into();
        }
        let index = self.index(operation);
        match self.schemas[index].get_or_init(|| operation.read_input_schema()) {
            Ok(schema) => schema.check_input(&value, text.len()).map_err(|error| error.context(&operation.name))?,
            Err(error) => return Err(error.clone()),
        }
        self.drift.ready(index, operation)?;
        Ok(text.into_owned())
    }

    /// Holds the output against its schema, as far as the connection wants that.
    pub(crate) fn look(&self, operation: &Operation, output: &str, attempts: u32) -> Result<()> {
        let tell = |drift: &Drift| {
            let (operation, path, kind) = (&drift.operation, &drift.path, drift.kind.name());
            tracing::warn!(
                target: "wharfage::drift", plugin = &*self.name, connection = &*self.connection, operation, path, kind,
                "an answer differs from its schema"
            );
            if let Some(observer) = &self.observer {
                observer(&PathEvent::Drifted {
                    operation: operation.clone(),
                    path: path.clone(),
                    kind,
                    count: drift.count,
                });
            }
        };
        let now = self.clock.now();
        let looked = self.drift.look(self.index(operation), operation, output, now, tell);
        looked.map_err(|error| {
            let sent = if attempts > 0 { crate::error::RequestSent::Yes } else { crate::error::RequestSent::No };
            // In the error only: whoever called may see it, and no log.
            error.with_attempts(attempts).with_request_sent(sent).with_body(Some(self.beginning(output)))
        })
    }

    /// The masked start of an output. More than the start is masked, so that no secret is cut in two and passes.
    fn beginning(&self, output: &str) -> String {
        const BYTES_MAX: usize = 500;
        const MASKED_BYTES_MAX: usize = 16 << 10;
        let masked = self.outbound.mask().text(&output[..output.floor_char_boundary(MASKED_BYTES_MAX)]).into_owned();
        masked[..masked.floor_char_boundary(BYTES_MAX)].to_owned()
    }

    fn context<'a>(&'a self, operation: &'a Operation, contract: &'a str) -> [&'a str; 4] {
        ["cursor", &self.connection, &operation.name, contract]
    }

    pub(crate) fn seal(&self, operation: &Operation, cursor: &str) -> Result<Cursor> {
        let most = self.grant.limits.cursor_bytes;
        if cursor.len() as u64 > most {
            return Err(Error::limit(
                "cursor_bytes",
                format!("the cursor is longer than the limit cursor_bytes of {most}"),
            )
            .with_more("cursor_bytes"));
        }
        let sealed = self.seal.seal(&self.context(operation, &CONTRACT.to_string()), cursor.as_bytes())?;
        Ok(Cursor(URL_SAFE_NO_PAD.encode(sealed)))
    }

    fn open(&self, operation: &Operation, cursor: &Cursor) -> Result<String> {
        URL_SAFE_NO_PAD
            .decode(&cursor.0)
            .ok()
            .and_then(|sealed| self.seal.open(&self.context(operation, &CONTRACT.to_string()), &sealed))
            .and_then(|plain| String::from_utf8(plain).ok())
            .ok_or_else(|| {
                Error::new(
                    Kind::CursorInvalid,
                    format!("the cursor is not one that {} gave on this connection", operation.name),
                )
                .with_details("Start again without a cursor")
            })
    }
}
