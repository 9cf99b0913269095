//! Where the private listener is reached, and with which token.

use std::net::SocketAddr;
use std::path::PathBuf;

/// Where the private listener is reached.
#[derive(Clone)]
#[non_exhaustive]
pub struct ConsoleAddress {
    /// Where it listens.
    pub address: SocketAddr,
    /// The file that its token is kept in; none without a state folder.
    pub token_file: Option<PathBuf>,
    token: String,
}

debug_shows!(ConsoleAddress, |this| address = this.address, token_file = this.token_file);

impl ConsoleAddress {
    /// The file of its token, in the state folder.
    pub const TOKEN_FILE: &str = crate::artifact::TOKEN_FILE;

    pub(crate) fn new(address: SocketAddr, token_file: Option<PathBuf>, token: String) -> Self {
        Self { address, token_file, token }
    }

    /// The page without the token, which it asks for.
    pub fn page(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// The page with the token behind the `#`, which no browser sends. Whoever has this link sees and replays everything:
    /// it belongs on a person's terminal and into no log.
    pub fn link(&self) -> String {
        format!("{}#token={}", self.page(), self.token)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_of_the_address_is_not_its_token() {
        let address = ConsoleAddress::new(SocketAddr::from(([127, 0, 0, 1], 80)), None, "a".repeat(64));
        assert_eq!(format!("{address:?}"), "ConsoleAddress { address: 127.0.0.1:80, token_file: None, .. }");
    }
}
