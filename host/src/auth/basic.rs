//! User and password (RFC 7617).

use base64::Engine as _;
use zeroize::Zeroizing;

use super::Placement;

pub(super) fn placement(user: &str, password: &str) -> Placement {
    let pair = Zeroizing::new(format!("{user}:{password}"));
    let encoded = Zeroizing::new(base64::engine::general_purpose::STANDARD.encode(pair.as_bytes()));
    Placement::Header { name: "Authorization".into(), value: Zeroizing::new(format!("Basic {}", *encoded)) }
}
