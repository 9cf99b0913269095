//! A bearer credential (RFC 6750, section 2.1).

use zeroize::Zeroizing;

use super::Placement;

pub(super) fn placement(value: &str) -> Placement {
    Placement::Header { name: "Authorization".into(), value: Zeroizing::new(format!("Bearer {value}")) }
}
