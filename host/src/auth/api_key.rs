//! A key in a header, behind a prefix, in the query, a cookie, a field of the body, or a part of the path.

use zeroize::Zeroizing;

use super::Placement;

#[derive(Clone, Debug)]
pub(super) struct ApiKey {
    place: Option<Place>,
    prefix: String,
}

/// Where a key goes: one of these, by its name there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// The header of this name.
    Header(String),
    /// The query parameter of this name.
    Query(String),
    /// The cookie of this name.
    Cookie(String),
    /// The field of this name in a form or a JSON object.
    Body(String),
    /// Where the plugin writes this marker, as `{key}`, in the path.
    Path(String),
}

impl ApiKey {
    pub(super) fn new(place: Option<Place>, prefix: &str) -> Self {
        Self { place, prefix: prefix.to_owned() }
    }

    pub(super) fn place(&self) -> Option<&Place> {
        self.place.as_ref()
    }

    pub(super) fn placement(&self, value: &str) -> Option<Placement> {
        let value = Zeroizing::new(format!("{}{value}", self.prefix));
        Some(match self.place.clone()? {
            Place::Header(name) => Placement::Header { name, value },
            Place::Query(name) => Placement::Query { name, value },
            Place::Cookie(name) => Placement::Cookie { name, value },
            Place::Body(field) => Placement::Body { field, value },
            Place::Path(marker) => Placement::Path { marker, value },
        })
    }
}
