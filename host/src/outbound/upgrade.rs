//! A request whose answer makes its connection a WebSocket (RFC 6455).
//!
//! It goes the whole path as any other: scope, credential, budgets, breaker, pinned addresses, one TLS with one set of
//! trust roots. So a socket can lead nowhere a request could not, and the credential goes on this one request and nowhere
//! after it. `wss://` is an origin with `https://`, `ws://` one with `http://`. It is tried once: whoever keeps a socket
//! open has waits of its own.

#![cfg_attr(not(feature = "serve"), allow(dead_code, reason = "sockets are kept open by what listens"))]

use std::sync::Arc;

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderValue, header};

use super::ready::ReadyCredential;
use super::sending::Sending;
use super::stream::Rest;
use super::transport::{self, UpgradedIo};
use super::{CallContext, Outbound, Request, Response};
use crate::error::{Error, Kind, RequestSent, Result};

/// What a connection is to become.
#[derive(Clone)]
pub(crate) struct Upgrade {
    /// 128 random bits in base64, of which the answer must be made.
    key: String,
    protocol: Option<String>,
}

/// A connection that has become a WebSocket.
pub(crate) struct Upgraded {
    pub(crate) wire: Box<dyn UpgradedIo>,
    /// What the credential was made of.
    pub(crate) carried: Carried,
}

/// What a socket's credential was made of, for the case that it ends while the socket is open.
#[derive(Default)]
pub(crate) struct Carried(Option<Arc<ReadyCredential>>);

/// What a key is hashed with (RFC 6455, 1.3).
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

impl Upgrade {
    /// Of a key that nobody else has.
    ///
    /// # Errors
    /// [`Kind::Internal`] when the operating system gives no random bytes.
    pub(crate) fn new(protocol: Option<String>) -> Result<Self> {
        Ok(Self { key: STANDARD.encode(crate::random::bytes::<16>()?), protocol })
    }

    /// The header fields that ask for it. A guest may set none of them.
    pub(super) fn write(&self, headers: &mut HeaderMap) -> Result<()> {
        let value = |text: &str| HeaderValue::from_str(text).map_err(|_| Error::internal("a header cannot be written"));
        headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        headers.insert(header::SEC_WEBSOCKET_KEY, value(&self.key)?);
        if let Some(protocol) = &self.protocol {
            headers.insert(header::SEC_WEBSOCKET_PROTOCOL, value(protocol)?);
        }
        Ok(())
    }

    /// Whether an answer agrees to what was asked for (RFC 6455, 4.1).
    fn check(&self, response: &Response) -> Result<()> {
        let field = |name: header::HeaderName| {
            let found = response.headers.iter().find(|(own, _)| own.eq_ignore_ascii_case(name.as_str()));
            found.map(|(_, value)| value.trim())
        };
        let has = |name, wanted: &str| {
            field(name).is_some_and(|value| value.split(',').any(|part| part.trim().eq_ignore_ascii_case(wanted)))
        };
        let why = if response.status != 101 {
            "answered a request for a socket with something else"
        } else if !has(header::UPGRADE, "websocket") || !has(header::CONNECTION, "upgrade") {
            "switched to something else than a WebSocket"
        } else if field(header::SEC_WEBSOCKET_ACCEPT) != Some(&accept(&self.key)) {
            "opened a socket for another key"
        } else if field(header::SEC_WEBSOCKET_EXTENSIONS).is_some() {
            "opened a socket with an extension that was not asked for"
        } else if field(header::SEC_WEBSOCKET_PROTOCOL) != self.protocol.as_deref() {
            "opened a socket with another protocol"
        } else {
            return Ok(());
        };
        Err(Error::new(Kind::SchemaViolation, format!("the provider {why}"))
            .with_status(Some(response.status))
            .with_request_id(response.request_id.clone())
            .with_request_sent(RequestSent::Yes))
    }
}

/// What a server answers to a key.
fn accept(key: &str) -> String {
    let mut hash = digest::Context::new(&digest::SHA1_FOR_LEGACY_USE_ONLY);
    hash.update(key.as_bytes());
    hash.update(GUID);
    STANDARD.encode(hash.finish().as_ref())
}

impl Outbound {
    /// Opens a socket. `before` is what an earlier one went with and the provider does not take any more.
    ///
    /// # Errors
    /// As for [`Outbound::send`]; [`Kind::SchemaViolation`] for an answer that opens none.
    pub(crate) async fn upgrade(
        &self,
        context: &CallContext,
        url: &str,
        protocol: Option<&String>,
        before: Option<&Carried>,
    ) -> Result<Upgraded> {
        if self.tape.is_some() {
            return Err(Error::configuration("a tape holds requests and their answers, and no sockets"));
        }
        let upgrade = Upgrade::new(protocol.cloned())?;
        let request = Request { upgrade: Some(upgrade.clone()), ..Request::get(url) };
        let mut sending = Sending::begin(self, context, request.into())?;
        sending.is_opened = true;
        sending.rejected = before.and_then(|carried| carried.0.as_ref()?.version);
        let (response, rest) = self.send_traced(context, &mut sending).await.map_err(|error| sending.count(error))?;
        upgrade.check(&response).map_err(|error| sending.count(error))?;
        // With the rest the permit goes back: what a budget counts are requests, and this one has its answer.
        let Some(Rest { pieces, .. }) = rest else { return Err(Error::internal("a socket has no connection")) };
        let upgraded = tokio::select! {
            biased;
            upgraded = pieces.upgrade() => upgraded.map_err(|lost| transport::lost(self, lost))?,
            () = self.clock.alarm(context.deadline) => {
                return Err(Error::new(Kind::Deadline, "the socket was not there in time"));
            }
        };
        Ok(Upgraded { wire: upgraded, carried: Carried(sending.used) })
    }

    /// A message without what a provider sends back of the connection's secrets; `url` is where it came from.
    pub(crate) fn masked(&self, message: Vec<u8>, url: &str) -> Vec<u8> {
        let (message, has_found) = self.mask().bytes(message);
        if has_found {
            let context = CallContext { deadline: self.clock.now(), observer: None, event: None, operation: None };
            self.tell_leak(&context, url.split('?').next().unwrap_or_default());
        }
        message
    }

    /// Whether there is another credential to try, after the provider closed a socket because of this one.
    pub(crate) async fn has_replacement(&self, carried: &Carried) -> bool {
        let Some(carried) = &carried.0 else { return false };
        // Tokens are renewed, where this version is still the one in use.
        let mut has_another = carried.version.is_some();
        for (name, value) in carried.credential.secrets.iter().zip(&carried.values) {
            has_another |= self.secrets.try_next(name, value).await;
        }
        has_another
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, headers: &[(&str, &str)]) -> Response {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Response { headers, ..Response::bare(status) }
    }

    /// RFC 6455, 1.3.
    const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
    const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

    #[test]
    fn only_an_answer_to_this_very_request_opens_a_socket() {
        let upgrade = Upgrade { key: KEY.to_owned(), protocol: None };
        let good = [("upgrade", "WebSocket"), ("connection", "keep-alive, Upgrade"), ("sec-websocket-accept", ACCEPT)];
        upgrade.check(&answer(101, &good)).unwrap();
        let with = |index: usize, field: (&'static str, &'static str)| {
            let mut fields = good.to_vec();
            fields[index] = field;
            fields
        };
        let and = |field| [&good[..], &[field]].concat();
        for (status, fields, says) in [
            (200, good.to_vec(), "something else"),
            (101, with(0, ("upgrade", "h2c")), "than a WebSocket"),
            (101, with(1, ("connection", "close")), "than a WebSocket"),
            (101, with(2, ("sec-websocket-accept", KEY)), "another key"),
            (101, good[..2].to_vec(), "another key"),
            (101, and(("sec-websocket-extensions", "permessage-deflate")), "extension"),
            (101, and(("sec-websocket-protocol", "chat")), "another protocol"),
        ] {
            let error = upgrade.check(&answer(status, &fields)).unwrap_err();
            assert!(error.message().contains(says), "{error}");
        }
        let upgrade = Upgrade { protocol: Some("chat".to_owned()), ..upgrade };
        assert!(upgrade.check(&answer(101, &good)).is_err());
        upgrade.check(&answer(101, &and(("sec-websocket-protocol", "chat")))).unwrap();
    }
}
