//! A key in a header, behind a prefix, or in the query.

use zeroize::Zeroizing;

use super::Placement;

#[derive(Clone, Debug)]
pub(super) struct ApiKey {
    header: Option<String>,
    query: Option<String>,
    prefix: String,
}

impl ApiKey {
    pub(super) fn new(header: Option<&str>, query: Option<&str>, prefix: &str) -> Self {
        Self { header: header.map(str::to_owned), query: query.map(str::to_owned), prefix: prefix.to_owned() }
    }

    pub(super) fn header(&self) -> Option<&str> {
        self.header.as_deref()
    }

    pub(super) fn query(&self) -> Option<&str> {
        self.query.as_deref()
    }

    pub(super) fn placement(&self, value: &str) -> Option<Placement> {
        let value = Zeroizing::new(format!("{}{value}", self.prefix));
        match (&self.header, &self.query) {
            (Some(name), None) => Some(Placement::Header { name: name.clone(), value }),
            (None, Some(name)) => Some(Placement::Query { name: name.clone(), value }),
            _ => None,
        }
    }
}
