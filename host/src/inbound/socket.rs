//! Sockets that the host keeps open for plugins.

use serde::Deserialize;

/// `[connections.<name>.sockets.<socket>]` of a `wharfage.toml`: this socket is kept open.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct SocketPolicy {}
