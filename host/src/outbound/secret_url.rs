//! URLs that work like credentials (R13): whoever has one may act, as in the session of an upload.
//!
//! Where the manifest names the header field of an answer that holds one (`kept_header`), the host takes it out of the
//! answer before anybody sees it. The plugin gets a name for it, good for requests of the same call. It must lie at the
//! origin that gave it; on the way out it is judged like any URL, is followed nowhere and kept by no cache. Wherever a
//! URL is shown, what it adds to the one that was asked for is masked.

use std::fmt;
use std::sync::Arc;

use http::{HeaderName, HeaderValue};
use url::Url;
use zeroize::Zeroizing;

use super::Outbound;
use super::transport::Answered;
use crate::error::{Error, RequestSent, rule};
use crate::mask::MASKED;

/// Kept URLs that one call may have.
pub(crate) const SECRET_URLS_MAX: usize = 64;

/// A secret part of such a URL that is searched in answers by itself; a shorter one would be found everywhere.
const PART_BYTES_MIN: usize = 16;

/// A URL that stays in the host.
pub(crate) struct SecretUrl {
    /// What the plugin calls it.
    pub(crate) name: String,
    /// The header field that it came in.
    pub(super) header: HeaderName,
    /// As it is sent.
    pub(super) url: Url,
    /// As it may be shown.
    pub(super) shown: Url,
    /// Whether it lies at the origin that gave it.
    is_inside: bool,
    status: u16,
}

/// Takes the URL out of an answer, where the manifest says that there may be one. `number` is that of the request.
pub(super) fn take(outbound: &Outbound, answered: &mut Answered, number: u64) -> Option<Arc<SecretUrl>> {
    let header = outbound.scope.origins.get(answered.origin)?.kept_header.clone()?;
    let raw = answered.result.as_mut().ok().filter(|raw| (200..300).contains(&raw.status))?;
    let value = raw.headers.remove(&header)?;
    let url = value.to_str().ok().and_then(|value| answered.url.join(value).ok())?;
    let (shown, parts) = shown(&url, &answered.url);
    outbound.secrets.learn("kept URL", &parts);
    let name = format!("{{kept:{number}}}");
    raw.headers.insert(header.clone(), HeaderValue::from_str(&name).ok()?);
    let is_bare = url.username().is_empty() && url.password().is_none() && url.fragment().is_none();
    let is_inside = is_bare && url.origin() == answered.url.origin();
    Some(Arc::new(SecretUrl { name, header, url, shown, is_inside, status: raw.status }))
}

impl SecretUrl {
    /// Why it is not kept, if it is not: credential and content go where the answer came from, or nowhere.
    pub(super) fn refused(&self) -> Option<Error> {
        let message = format!(
            "the provider named a URL at {} for what follows, which is no plain one at the origin that answered; nothing goes there",
            self.url.origin().ascii_serialization()
        );
        let refused = || {
            Error::denied(rule::KEPT_URL, message, "")
                .with_request_sent(RequestSent::Yes)
                .with_status(Some(self.status))
        };
        (!self.is_inside).then(refused)
    }
}

/// The URL with everything masked that the one which was asked for does not hold, and what an answer is searched for.
fn shown(url: &Url, asked: &Url) -> (Url, Vec<Zeroizing<String>>) {
    let mut parts: Vec<Zeroizing<String>> = Vec::new();
    let mut hide = |part: &str| {
        if part.len() >= PART_BYTES_MIN {
            parts.push(Zeroizing::new(part.to_owned()));
        }
        MASKED
    };
    let known: Vec<&str> = asked.path().split('/').collect();
    let segments = url.path().split('/').map(|segment| if known.contains(&segment) { segment } else { hide(segment) });
    let path = segments.collect::<Vec<_>>().join("/");
    let known: Vec<&str> = asked.query().unwrap_or_default().split('&').collect();
    let query = url.query().map(|query| {
        let pairs = query.split('&').map(|pair| match pair.split_once('=') {
            _ if known.contains(&pair) => pair.to_owned(),
            Some((name, value)) => format!("{name}={}", hide(value)),
            None => hide(pair).to_owned(),
        });
        pairs.collect::<Vec<_>>().join("&")
    });
    if parts.is_empty() {
        parts.push(Zeroizing::new(url[url::Position::BeforePath..].to_owned()));
    }
    let mut shown = url.clone();
    shown.set_path(&path);
    shown.set_query(query.as_deref());
    shown.set_fragment(None);
    let _ = shown.set_username("");
    let _ = shown.set_password(None);
    (shown, parts)
}

/// What the plugin calls it.
impl fmt::Debug for SecretUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretUrl({})", self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_answer_adds_is_masked_wherever_it_stands() {
        let asked = Url::parse("https://api.test/up/files?type=resumable").unwrap();
        for (url, expected, searched) in [
            (
                "https://api.test/up/files?type=resumable&id=0123456789abcdef",
                "https://api.test/up/files?type=resumable&id=[masked]",
                "0123456789abcdef",
            ),
            ("https://api.test/up/sessions/s1", "https://api.test/up/[masked]/[masked]", "/up/sessions/s1"),
            ("https://u:p@api.test/up/files?s1#f", "https://api.test/up/files?[masked]", "/up/files?s1#f"),
        ] {
            let (shown, parts) = shown(&Url::parse(url).unwrap(), &asked);
            assert_eq!(shown.as_str(), expected);
            assert_eq!(parts.iter().map(|part| part.as_str()).collect::<Vec<_>>(), [searched]);
        }
    }
}
