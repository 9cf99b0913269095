//! The fields of a form, in the names that Twilio gives them.

use wharfage_sdk::{Error, Request, Response};

/// A form that is being filled in.
pub(crate) struct Form(Vec<(&'static str, String)>);

impl Form {
    /// An empty one.
    pub(crate) fn new() -> Self {
        Self(Vec::new())
    }

    /// With this field.
    pub(crate) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.0.push((name, value.into()));
        self
    }

    /// With this field, if there is a value.
    pub(crate) fn with_some(self, name: &'static str, value: Option<String>) -> Self {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }

    /// With this field once for each value, as Twilio wants its lists.
    pub(crate) fn with_all(mut self, name: &'static str, values: Vec<String>) -> Self {
        self.0.extend(values.into_iter().map(|value| (name, value)));
        self
    }

    /// Sends it.
    pub(crate) fn post(self, url: String) -> Result<Response, Error> {
        Request::post(url).form(&self.0).send()
    }
}
