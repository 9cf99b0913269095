//! `[endpoints.<id>]`: what an operator states about an endpoint that takes webhooks.

use serde::Deserialize;
use url::Url;

use crate::error::{Error, Result};
use crate::limits::limits;
use crate::text::shown;

/// `[endpoints.<id>]` of a `wharfage.toml`: `POST /webhooks/<id>` takes a webhook for a connection.
///
/// ```toml
/// [endpoints.orders-8c1f]
/// connection = "acme-orders"
/// webhook = "orders"
/// url = "https://hooks.example.org/webhooks/orders-8c1f"   # as the provider has it; needed where it signs it
/// limits.body_bytes = 262144
/// ```
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct EndpointPolicy {
    /// The connection whose plugin takes it.
    pub connection: String,
    /// The webhook's name in the manifest.
    pub webhook: String,
    /// The address that the provider was given, letter by letter, without a query.
    pub url: Option<String>,
    /// Seconds that a delivery is known, where that is to be longer than the manifest says.
    pub known_s: Option<u64>,
    /// Limits that differ from the defaults.
    #[serde(default)]
    pub limits: EndpointLimits,
}

limits! {
    /// Everything that deliveries to an endpoint can use up, with its limit. Units stand last in the names.
    EndpointLimits;

    body_bytes: 1 << 20, "Bytes of one delivery's body.";
    body_ms: 10_000, "Milliseconds from a delivery's head to the last byte of its body.";
    in_flight: 64, "Deliveries that are taken at once; further ones are told to come again.";
}

/// Most bytes of an endpoint's id.
const ID_BYTES_MAX: usize = 128;
/// Most seconds that a delivery is known.
const KNOWN_S_MAX: u64 = 366 * 24 * 60 * 60;

impl EndpointPolicy {
    /// Refuses what makes no sense, whatever the manifest says.
    ///
    /// # Errors
    /// [`Kind::Configuration`](crate::Kind::Configuration) with what to write instead.
    pub(crate) fn check(&self, id: &str) -> Result<()> {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        if !(1..=ID_BYTES_MAX).contains(&id.len()) || !id.bytes().all(is_plain) {
            return Err(Error::configuration(format!(
                "the id of an endpoint is 1 to {ID_BYTES_MAX} letters, digits, `-` and `_`"
            )));
        }
        if let Some(url) = &self.url {
            let is_whole = Url::parse(url).is_ok_and(|url| {
                matches!(url.scheme(), "http" | "https")
                    && url.has_host()
                    && url.username().is_empty()
                    && url.password().is_none()
                    && url.query().is_none()
                    && url.fragment().is_none()
            });
            if !is_whole {
                return Err(Error::configuration(format!("url = \"{}\" is no address without a query", shown(url)))
                    .with_details(format!(
                        "It is what the provider was given:   url = \"https://hooks.example.org/webhooks/{id}\""
                    )));
            }
        }
        match self.known_s {
            Some(0) => return Err(Error::configuration("known_s is 0; leave it out for what the manifest says")),
            Some(seconds) if seconds > KNOWN_S_MAX => {
                return Err(Error::configuration(format!("known_s is more than {KNOWN_S_MAX}")));
            }
            _ => {}
        }
        self.limits.check()
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::connection::Config;

    fn parse(endpoint: &str) -> Result<Config> {
        let text = format!("[plugins.p]\ncomponent='p.wasm'\n[connections.acme]\nplugin='p'\n{endpoint}");
        Config::parse(&text, Path::new("wharfage.toml"))
    }

    #[test]
    fn an_endpoint_is_read_with_its_limits() {
        let config = parse(
            "[endpoints.orders-8c1f]\nconnection='acme'\nwebhook='orders'\nurl='https://hooks.example.org:8443/w/x'\n\
             limits.body_bytes=9\n",
        )
        .unwrap();
        let limits = config.endpoints["orders-8c1f"].limits;
        assert_eq!((limits.body_bytes, limits.body_ms, limits.in_flight), (9, 10_000, 64));
    }

    #[test]
    fn an_endpoint_that_makes_no_sense_says_where_and_what() {
        for (id, more, expected) in [
            ("\"a/b\"", "", "letters, digits"),
            ("\"\"", "", "letters, digits"),
            ("\"\\u001b[2J\"", "", "letters, digits"),
            ("e", "url='hooks.example.org'", "url = \"https://hooks.example.org/webhooks/e\""),
            ("e", "url='https://a.test/w?x=1'", "without a query"),
            ("e", "url='https://u:p@a.test/w'", "without a query"),
            ("e", "known_s=0", "leave it out"),
            ("e", "limits.in_flight=0", "limits.in_flight is 0"),
            ("e", "limits.bodies=1", "unknown field"),
        ] {
            let error = parse(&format!("[endpoints.{id}]\nconnection='acme'\nwebhook='w'\n{more}\n")).unwrap_err();
            let error = error.to_string();
            assert!(error.contains(expected) && error.contains("wharfage.toml"), "{more}: {error}");
            assert!(!error.contains('\u{1b}'), "{error:?}");
        }
        let error = parse("[endpoints.e]\nconnection='acne'\nwebhook='w'\n").unwrap_err().to_string();
        assert!(error.contains("Did you mean acme?"), "{error}");
    }
}
