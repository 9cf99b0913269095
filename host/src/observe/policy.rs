//! `[observe]` of a `wharfage.toml`: where what the host sees of itself goes.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::Path;

use ipnet::IpNet;
use serde::Deserialize;
use url::{Host, Url};

use crate::account::SecretSource;

/// `[observe]` of a `wharfage.toml`.
///
/// ```toml
/// [observe]
/// otlp = "http://127.0.0.1:4318"                 # spans go to /v1/traces there, metrics to /v1/metrics
/// otlp_secret = { env = "OTLP_AUTHORIZATION" }   # the whole value of a header field, where the receiver wants one
/// otlp_header = "authorization"
/// otlp_metrics_every_s = 60                      # or otlp_metrics = false
/// ```
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(try_from = "Written")]
#[non_exhaustive]
pub struct ObservePolicy {
    /// The base address of a receiver of OpenTelemetry's protocol over HTTP.
    pub otlp: Option<Url>,
    /// The header field that says who sends.
    pub otlp_header: String,
    /// Its whole value.
    pub otlp_secret: Option<SecretSource>,
    /// Whether metrics are sent there too.
    pub otlp_metrics: bool,
    /// Seconds from one reading of the metrics that is sent to the next.
    pub otlp_metrics_every_s: u64,
    /// Addresses outside the public internet that may be dialled for it. An address that `otlp` itself names may be.
    pub private_addresses: Vec<IpNet>,
}

impl Default for ObservePolicy {
    fn default() -> Self {
        Self {
            otlp: None,
            otlp_header: "authorization".to_owned(),
            otlp_secret: None,
            otlp_metrics: true,
            otlp_metrics_every_s: METRICS_EVERY_S,
            private_addresses: Vec::new(),
        }
    }
}

/// Seconds from one reading that is sent to the next where nothing is said, as OpenTelemetry has it.
const METRICS_EVERY_S: u64 = 60;

/// The most that may be said.
const METRICS_EVERY_S_MAX: u64 = 3_600;

impl ObservePolicy {
    /// Says which file it stands in.
    pub(crate) fn found_in(&mut self, file: &Path) {
        if let Some(secret) = &mut self.otlp_secret {
            secret.found_in(file);
        }
    }
}

/// As it stands in a file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    otlp: Option<String>,
    otlp_header: Option<String>,
    otlp_secret: Option<SecretSource>,
    otlp_metrics: Option<bool>,
    otlp_metrics_every_s: Option<u64>,
    #[serde(default)]
    private_addresses: Vec<IpNet>,
}

impl TryFrom<Written> for ObservePolicy {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        let Written { otlp, otlp_header, otlp_secret, otlp_metrics, otlp_metrics_every_s, mut private_addresses } =
            written;
        let is_about_it = otlp_header.is_some() || otlp_secret.is_some();
        if otlp.is_none() && (is_about_it || otlp_metrics.is_some() || otlp_metrics_every_s.is_some()) {
            return Err("what begins with otlp_ is for a receiver: otlp = \"https://otlp.example.org\"".to_owned());
        }
        let otlp_metrics_every_s = otlp_metrics_every_s.unwrap_or(METRICS_EVERY_S);
        if !(1..=METRICS_EVERY_S_MAX).contains(&otlp_metrics_every_s) {
            return Err(format!(
                "otlp_metrics_every_s = {otlp_metrics_every_s} is not of 1 to {METRICS_EVERY_S_MAX}; for the default, \
                 otlp_metrics_every_s = {METRICS_EVERY_S}; for none, otlp_metrics = false"
            ));
        }
        if otlp_secret.as_ref().is_some_and(|secret| secret.each().contains(&&SecretSource::Sealed)) {
            return Err(
                "the sealed store keeps the secrets of connections; otlp_secret comes from env, env_file, file or \
                        program"
                    .to_owned(),
            );
        }
        let otlp = otlp.map(|otlp| address(&otlp, &mut private_addresses)).transpose()?;
        let otlp_header = otlp_header.unwrap_or_else(|| Self::default().otlp_header);
        let otlp_metrics = otlp_metrics.unwrap_or(true);
        Ok(Self { otlp, otlp_header, otlp_secret, otlp_metrics, otlp_metrics_every_s, private_addresses })
    }
}

/// The address of a receiver. It may hold a key, so no message shows it.
fn address(written: &str, private_addresses: &mut Vec<IpNet>) -> Result<Url, String> {
    let url = Url::parse(written)
        .map_err(|error| format!("otlp cannot be read ({error}); write it whole, as http://127.0.0.1:4318"))?;
    let named = match url.host() {
        Some(Host::Ipv4(address)) => vec![IpNet::from(std::net::IpAddr::from(address))],
        Some(Host::Ipv6(address)) => vec![IpNet::from(std::net::IpAddr::from(address))],
        Some(Host::Domain("localhost")) => [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]
            .map(|address: std::net::IpAddr| address.into())
            .to_vec(),
        _ => Vec::new(),
    };
    private_addresses.extend(named);
    match url.scheme() {
        "https" => {}
        "http" if !private_addresses.is_empty() => {}
        "http" => {
            return Err("otlp begins with https://; http:// is for a network of your own, which private_addresses = \
                        [\"10.1.2.3/32\"] names"
                .to_owned());
        }
        _ => return Err("otlp begins with https:// or http://".to_owned()),
    }
    let has_user = !url.username().is_empty() || url.password().is_some();
    if has_user || url.query().is_some() || url.fragment().is_some() || url.path().contains('*') {
        return Err("otlp is the base of an address, without user, query, fragment and `*`; who sends, \
                    otlp_secret = { env = \"NAME\" } says"
            .to_owned());
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<ObservePolicy, String> {
        toml::from_str(text).map_err(|error: toml::de::Error| error.message().to_owned())
    }

    #[test]
    fn a_receiver_of_ones_own_needs_no_more_than_its_address() {
        let policy = read("otlp = 'http://127.0.0.1:4318'").unwrap();
        assert_eq!(policy.private_addresses, ["127.0.0.1/32".parse().unwrap()]);
        assert_eq!(read("otlp = 'http://localhost:4318'").unwrap().private_addresses.len(), 2);
        assert_eq!(read("otlp = 'https://otlp.example.org/x'").unwrap().private_addresses, []);
        assert_eq!(read("").unwrap(), ObservePolicy::default());
    }

    #[test]
    fn a_wrong_receiver_is_refused_with_what_would_help_and_is_not_shown() {
        for (text, help) in [
            ("otlp = 'http://otlp.example.org'", "private_addresses = ["),
            ("otlp = 'ftp://x'", "https://"),
            ("otlp = '127.0.0.1:4318'", "write it whole, as http://127.0.0.1:4318"),
            ("otlp = 'https://u:s3cret@x'", "otlp_secret = "),
            ("otlp = 'https://x/?key=s3cret'", "otlp_secret = "),
            ("otlp_header = 'x'", "otlp = "),
            ("otlp_metrics = false", "otlp = "),
            ("otlp = 'https://x'\notlp_metrics_every_s = 0", "otlp_metrics_every_s = 60"),
            ("otlp = 'https://x'\notlp_metrics_every_s = 3601", "is not of 1 to 3600"),
            ("otlp = 'https://x'\notlp_secret = { sealed = true }", "env"),
        ] {
            let refused = read(text).unwrap_err();
            assert!(refused.contains(help) && !refused.contains("s3cret"), "{text}: {refused}");
        }
    }
}
