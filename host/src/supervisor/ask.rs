//! Asks a running `wharfage serve`, over its private listener: the other end of what the console serves.
//!
//! It goes the way that everything goes out, to exactly that address, with the token of its state folder. Whoever listens
//! there may be somebody else by now, so the token goes only to who has shown that it has it.

use std::net::SocketAddr;
use std::sync::Arc;

use serde_json::Value;
use serde_json::value::RawValue;
use url::Url;
use zeroize::Zeroizing;

use crate::auth::Credential;
use crate::auth::hmac::{self, Function};
use crate::error::{Error, Kind, Result};
use crate::hex::hex;
use crate::host::Host;
use crate::limits::Limits;
use crate::observe::audit::AuditContext;
use crate::outbound::{CallContext, CredentialChoice, Made, Method, Outbound, Request};
use crate::vault::Secrets;

/// What an answer may weigh.
const ANSWER_BYTES_MAX: u64 = 64 << 20;

/// How long an answer may take.
const ANSWER_MS: u64 = 10_000;

impl Host {
    /// What a running `wharfage serve` answers at a path of its private listener, as `/api/metrics`. `token` is the one that
    /// it keeps in its state folder.
    ///
    /// # Errors
    /// [`Kind::Network`] where nobody answers, with what to type; [`Kind::Unauthorized`] where who answers does not show
    /// that it has the token, which is then not sent.
    pub async fn ask_serve(&self, address: SocketAddr, token: &str, path: &str) -> Result<Box<RawValue>> {
        let limits = Limits {
            attempts: 1,
            redirects: 0,
            attempt_ms: ANSWER_MS,
            connect_ms: ANSWER_MS,
            request_body_bytes: 0,
            response_body_bytes: ANSWER_BYTES_MAX,
            ..Limits::default()
        };
        let clock = self.clock().clone();
        let own_path = self.own_path(&limits, "serve", None, AuditContext::closed())?;
        let secrets = Secrets::new("", "serve", Default::default());
        let url =
            Url::parse(&format!("http://{address}/api/**")).map_err(|error| Error::internal(error.to_string()))?;
        let mut outbound = Outbound::to_url("wharfage", ORIGIN, Method::Get, &url, secrets, &own_path, limits)
            .map_err(Error::internal)?;
        outbound.private_addresses.push(address.ip().into());
        let context =
            CallContext { deadline: clock.now().plus(2 * ANSWER_MS), observer: None, event: None, operation: None };
        let drawn = hex(&crate::random::bytes::<32>()?);
        let request = Request {
            credential: CredentialChoice::Anonymous,
            ..Request::get(&format!("{{{ORIGIN}}}{PROOF_PATH}?of={drawn}"))
        };
        let shown: Value = match outbound.send(&context, request.into()).await {
            Ok(response) => serde_json::from_slice(&response.body).unwrap_or_default(),
            // Something else altogether.
            Err(error) if *error.kind() == Kind::NotFound => Value::Null,
            Err(error) => return Err(told(error, address)),
        };
        let expected = proof(token, address, &drawn);
        let has_token =
            shown["proof"].as_str().is_some_and(|shown| hmac::is_same(expected.as_bytes(), shown.as_bytes()));
        if !has_token {
            return Err(stranger(address));
        }
        let token = Zeroizing::new(token.to_owned());
        let made = Made { credential: Credential::made("console", vec![ORIGIN.to_owned()]), token };
        let request = Request {
            credential: CredentialChoice::Made(Arc::new(made)),
            ..Request::get(&format!("{{{ORIGIN}}}{path}"))
        };
        let response = outbound.send(&context, request.into()).await.map_err(|error| told(error, address))?;
        serde_json::from_slice(&response.body).map_err(|error| {
            Error::new(Kind::SchemaViolation, "the running `wharfage serve` answered no JSON")
                .with_details(error.to_string())
        })
    }
}

const ORIGIN: &str = "serve";

/// Where the private listener shows that it has the token.
pub(super) const PROOF_PATH: &str = "/api/proof";

/// What shows that who listens at this address has the token, and does not tell it: a hash with it over the address and
/// what whoever asks has drawn. Who hands the question on to the right one gets what is right for another address.
pub(super) fn proof(token: &str, address: SocketAddr, drawn: &str) -> String {
    let shown = format!("wharfage console at {address} of {drawn}");
    hex(&Function::Sha256.mac(token.as_bytes(), shown.as_bytes()))
}

/// A failure in the words of whoever asked.
fn told(error: Error, address: SocketAddr) -> Error {
    match error.kind() {
        Kind::Network(_) => Error::new(error.kind().clone(), format!("no `wharfage serve` answers at {address}"))
            .with_details("Start it:   wharfage serve"),
        Kind::Unauthorized | Kind::Forbidden => stranger(address),
        _ => error,
    }
}

fn stranger(address: SocketAddr) -> Error {
    let message = format!("what answers at {address} does not show that it has this state folder's token");
    Error::new(Kind::Unauthorized, message).with_details(
        "The token is not sent to whoever listens there. Give the --state-dir and the --config that the running \
         `wharfage serve` has; where it is of an earlier version, start it again with this one; where the address is a \
         forwarded port, ask on the machine itself",
    )
}
