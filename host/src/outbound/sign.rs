//! Pinned -> SignedRequest: the credential goes on here, nowhere else.
//!
//! What comes out is used for one attempt and never again. The URL for messages and for redirects stays the one
//! without the credential.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use std::net::SocketAddr;
use std::sync::atomic::AtomicBool;
use url::Url;
use zeroize::Zeroizing;

use super::address::Pinned;
use super::admit::Permit;
use super::circuit::Leave;
use super::ready::ReadyCredential;
use super::stream::UploadBody;
use super::{CallContext, KeyPlace, Method, Outbound, PathEvent, Request, place};
use crate::auth::{Outgoing, Payload, Placement};
use crate::error::{Error, Kind, Result};
use crate::mask::Once;
use crate::observe::trace::Trace;

/// A request that may leave, once.
pub struct SignedRequest {
    pub(super) method: Method,
    /// As it leaves, a credential in the query included.
    pub(super) url: Zeroizing<String>,
    /// As it may be shown and joined.
    pub(super) plain_url: Url,
    pub(super) origin: usize,
    pub(super) headers: HeaderMap,
    pub(super) body: Option<Bytes>,
    pub(super) upload: Option<UploadBody>,
    pub(super) addresses: Vec<SocketAddr>,
    /// There is no wire for it yet, so that nothing can have left.
    pub(super) is_dialling: AtomicBool,
    pub(super) timeout_ms: u64,
    pub(super) permit: Permit,
    pub(super) leave: Option<Leave>,
    /// What was made of secrets for this request alone, with what it is remembered as.
    once: Option<(String, Once)>,
}

// What leaves may hold a credential anywhere, in its path as well.
debug_shows!(SignedRequest, |this| method = this.method, addresses = this.addresses);

impl SignedRequest {
    /// The method.
    pub fn method(&self) -> Method {
        self.method
    }

    /// The URL as it leaves. It may hold a credential: for a [`Transport`](super::transport::Transport) only.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The header fields as they leave. They may hold a credential.
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// The body. That of an upload comes piece by piece, and only the host's own transport gets it.
    pub fn body(&self) -> Option<&Bytes> {
        self.body.as_ref()
    }

    /// The only addresses that may be dialled for it.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Bytes of its body, as far as that is there already.
    pub(super) fn body_bytes(&self) -> usize {
        self.body.as_ref().map_or(0, bytes::Bytes::len)
    }

    /// Tells the mask what was made for this request alone, where one of these texts may hold it. That takes a new mask, and
    /// hardly any answer holds it.
    pub(super) fn came<'a>(&self, outbound: &Outbound, texts: impl IntoIterator<Item = &'a [u8]>) {
        if self.once.as_ref().is_some_and(|(_, once)| texts.into_iter().any(|text| once.may_be_in(text))) {
            self.may_come(outbound);
        }
    }

    /// Tells the mask what was made for this request alone, for what nobody has looked at yet.
    pub(super) fn may_come(&self, outbound: &Outbound) {
        if let Some((label, once)) = &self.once {
            outbound.secrets.learn(label, [&once.value]);
        }
    }
}

/// Puts the credential on.
///
/// # Errors
/// Where it cannot be put on this request; the permit goes back, because nothing was sent.
pub(super) fn attach(outbound: &Outbound, context: &CallContext, pinned: Pinned) -> Result<Box<SignedRequest>> {
    let Pinned { admitted, addresses } = pinned;
    let (ready, permit, leave) = admitted.into_parts();
    let origin = ready.scoped.origin();
    let (request, plain_url) = ready.scoped.into_parts();
    let written = match written(outbound, context, &request, plain_url, ready.credential.as_deref()) {
        Ok(written) => written,
        Err(error) => {
            permit.cancel();
            return Err(error);
        }
    };
    let Written { url, plain_url, headers, body, once } = written;
    Ok(Box::new(SignedRequest {
        method: request.method,
        url,
        plain_url: request.secret_url.as_ref().map_or(plain_url, |url| url.shown.clone()),
        origin,
        headers,
        body,
        upload: request.upload.as_ref().map(UploadBody::of_attempt),
        addresses,
        is_dialling: AtomicBool::new(false),
        timeout_ms: request.timeout_ms.unwrap_or(u64::MAX).min(outbound.limits.attempt_ms).max(1),
        permit,
        leave,
        once,
    }))
}

/// A request as it leaves.
struct Written {
    url: Zeroizing<String>,
    plain_url: Url,
    headers: HeaderMap,
    body: Option<Bytes>,
    once: Option<(String, Once)>,
}

fn written(
    outbound: &Outbound,
    context: &CallContext,
    request: &Request,
    mut plain_url: Url,
    credential: Option<&ReadyCredential>,
) -> Result<Written> {
    let mut headers = HeaderMap::with_capacity(request.headers.len() + 4);
    for (name, value) in &request.headers {
        headers.append(header_name(name)?, header_value(value)?);
    }
    match (&outbound.idempotency, &request.idempotency_key) {
        (Some(KeyPlace::Header(name)), Some(key)) => drop(headers.insert(header_name(name)?, header_value(key)?)),
        (Some(KeyPlace::Query(name)), Some(key)) => place::key(&mut plain_url, name, key)?,
        _ => {}
    }
    if let Some(upgrade) = &request.upgrade {
        upgrade.write(&mut headers)?;
    }
    if let Some(trace) = Trace::current().filter(|_| outbound.trace_context) {
        headers.insert("traceparent", header_value(&trace.traceparent())?);
    }
    headers.entry(http::header::ACCEPT).or_insert(HeaderValue::from_static("application/json"));
    let mut url = Zeroizing::new(String::from(plain_url.as_str()));
    let mut body = request.body.clone();
    let mut once = None;
    if let Some(ready) = credential {
        let name = &ready.credential.name;
        let incomplete = || Error::new(Kind::CredentialUnavailable, format!("the credential `{name}` is incomplete"));
        if ready.values.iter().any(|value| value.is_empty()) {
            return Err(incomplete());
        }
        let payload = match (&request.upload, &body) {
            (Some(_), _) => Payload::InPieces,
            (None, body) => Payload::Whole(body.as_deref().unwrap_or_default()),
        };
        let (now, method) = (outbound.clock.wall(), request.method.as_str());
        let outgoing = Outgoing { now, method, url: &plain_url, headers: &headers, payload };
        let placed = ready.credential.placement(&ready.values, &outgoing)?.ok_or_else(incomplete)?;
        if let Some(made) = placed.made {
            let label = format!("made by {name}");
            match placed.is_made_once {
                true => once = Some((label, Once::new(made))),
                false => outbound.secrets.learn(&label, [&made]),
            }
        }
        match placed.placement {
            Placement::Headers(all) => {
                for (header, value) in &all {
                    place::header(&mut headers, name, header, value)?;
                }
            }
            Placement::Header { name: header, value } => place::header(&mut headers, name, &header, &value)?,
            Placement::Cookie { name: cookie, value } => place::cookie(&mut headers, name, &cookie, &value)?,
            Placement::Query { name: parameter, value } => url = place::query(&plain_url, name, &parameter, &value)?,
            Placement::Path { marker, value } => url = place::path(&plain_url, name, &marker, &value)?,
            Placement::Body { field, value } => {
                let whole = body.as_ref().filter(|_| request.upload.is_none());
                body = Some(place::body(&headers, whole, name, &field, &value)?);
            }
        }
        for (marker, value) in &ready.captured {
            let at = Url::parse(&url).map_err(|_| Error::internal("a signed URL cannot be read"))?;
            url = place::path(&at, name, marker, value)?;
        }
        context.observe(|| PathEvent::Signed {
            credential: ready.credential.name.clone(),
            place: ready.credential.place(),
        });
    }
    Ok(Written { url, plain_url, headers, body, once })
}

pub(super) fn header_name(name: &str) -> Result<HeaderName> {
    HeaderName::from_bytes(name.as_bytes()).map_err(|_| Error::invalid("/headers", "a header's name is not a token"))
}

fn header_value(value: &str) -> Result<HeaderValue> {
    HeaderValue::from_str(value).map_err(|_| Error::invalid("/headers", "a header's value has forbidden characters"))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::admit;
    use super::*;
    use crate::time::{ManualClock, Timestamp};
    use crate::vault::Secrets;

    /// Each request has another one, and each took a new mask of all that the connection knows.
    #[tokio::test]
    async fn a_signature_takes_a_new_mask_only_where_it_came_back() {
        let clock = Arc::new(ManualClock::new(Timestamp::from_millis(0), 1));
        let outbound = Outbound::nowhere(Arc::new(Secrets::new("p", "acme", Default::default())), clock.clone());
        let context = CallContext { deadline: Timestamp::from_millis(1), observer: None, event: None, operation: None };
        let signature = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
        let signed = SignedRequest {
            method: Method::Get,
            url: Zeroizing::default(),
            plain_url: Url::parse("https://x.test/").unwrap(),
            origin: 0,
            headers: HeaderMap::new(),
            body: None,
            upload: None,
            addresses: Vec::new(),
            is_dialling: AtomicBool::new(false),
            timeout_ms: 1,
            permit: admit::wait(&*clock, &context, &[]).await.unwrap(),
            leave: None,
            once: Some(("made by x".to_owned(), Once::new(Zeroizing::new(signature.to_owned())))),
        };
        let before = outbound.mask();
        signed.came(&outbound, [&b"an answer"[..], b"about something else"]);
        assert!(Arc::ptr_eq(&before, &outbound.mask()));
        signed.came(&outbound, [&b"an answer"[..], format!("you sent {signature}").as_bytes()]);
        assert_eq!(outbound.mask().text(signature), "[masked]");
    }
}
