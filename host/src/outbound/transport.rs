//! SignedRequest -> an answer, by the client of `client.rs` or what an embedder puts in its place.
//!
//! Bodies are counted after decoding and cut at their limit.

use std::sync::atomic::Ordering;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use tokio::io::{AsyncRead, AsyncWrite};
use url::Url;

use super::circuit::Leave;
use super::sign::SignedRequest;
use super::stream::Rest;
use super::{CallContext, Method, Outbound};
use crate::error::{Error, Kind, NetworkStage, RequestSent, Result};
use crate::limits::Limits;
use crate::time::{BoxFuture, Timestamp};

/// What carries a signed request to its address. Tests put a provider of their own here.
///
/// What the host promises of requests holds only where a transport keeps to this:
///
/// - It sends once. It repeats nothing and follows no redirect: each attempt and each hop is judged, paced and signed
///   anew.
/// - It dials [`SignedRequest::addresses`] and nothing else: it resolves no name and asks no proxy.
/// - URL, header fields and body leave as they are. It adds what the wire wants, as `host` and `content-length`, and
///   neither cookies nor credentials of its own.
/// - The answer comes back as it came, whatever its status. It takes off a coding that it has asked for itself, together
///   with `content-encoding` and `content-length`; any other is refused.
/// - Where the future or the [`ResponseBody`] is dropped, it stops. Limits of time and size are the host's.
/// - [`TransportError::sent`] says no only where nothing can have left, for then the request is sent again.
///
/// The body of an upload comes piece by piece, and only the host's own transport gets it: with another, uploads are
/// refused before anything is sent.
pub trait Transport: Send + Sync + 'static {
    /// Sends it and waits for the head of the answer.
    fn send<'a>(&'a self, signed: &'a SignedRequest) -> BoxFuture<'a, Result<ResponseHead, TransportError>>;
}

/// The head of an answer, with the body to come.
pub struct ResponseHead {
    /// The status.
    pub status: u16,
    /// The header fields.
    pub headers: HeaderMap,
    /// The body.
    pub body: Box<dyn ResponseBody>,
}

debug_shows!(ResponseHead, |this| status = this.status);

/// The decoded body of an answer, piece by piece.
pub trait ResponseBody: Send {
    /// The next piece; nothing at the end.
    fn chunk(&mut self) -> BoxFuture<'_, Result<Option<Bytes>, TransportError>>;

    /// The connection itself, after an answer that it carries something else from now on (101).
    fn upgrade(self: Box<Self>) -> BoxFuture<'static, Result<Box<dyn UpgradedIo>, TransportError>> {
        let details = "this transport carries nothing but requests".to_owned();
        let lost = TransportError { stage: NetworkStage::Connect, sent: RequestSent::Yes, details };
        Box::pin(std::future::ready(Err(lost)))
    }
}

/// A connection that carries what both ends have agreed on.
pub trait UpgradedIo: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> UpgradedIo for T {}

/// Why no answer came.
#[derive(Debug)]
pub struct TransportError {
    /// At which stage.
    pub stage: NetworkStage,
    /// Whether anything may have reached the provider.
    pub sent: RequestSent,
    /// For the operator; it holds no URL.
    pub details: String,
}

/// Why a request did not leave.
pub(super) fn unsent(details: impl Into<String>) -> TransportError {
    TransportError { stage: NetworkStage::Connect, sent: RequestSent::No, details: details.into() }
}

/// A whole body that is there already.
impl ResponseBody for Option<Bytes> {
    fn chunk(&mut self) -> BoxFuture<'_, Result<Option<Bytes>, TransportError>> {
        let chunk = self.take();
        Box::pin(std::future::ready(Ok(chunk)))
    }
}

/// An answer as it came, or why none did, with what the next steps need to know of the request.
pub(super) struct Answered {
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) origin: usize,
    pub(super) result: Result<Raw>,
    /// What of the body is left to be read.
    pub(super) rest: Option<Rest>,
    /// The breaker's leave, to be concluded by whoever judges the answer.
    pub(super) leave: Option<Leave>,
}

/// An answer with its body.
pub(super) struct Raw {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
    pub(super) received_at: Timestamp,
}

/// Sends once and reads the answer within the limits of size and time: the whole of it, or only the head of one that is
/// to be opened.
pub(super) async fn exchange(
    outbound: &Outbound,
    context: &CallContext,
    mut signed: Box<SignedRequest>,
    is_opened: bool,
) -> Answered {
    let now = outbound.clock.now();
    // How long an upload takes is for whoever writes it; how long it may stand still is watched there.
    let most_ms = if signed.upload.is_some() { u64::MAX } else { signed.timeout_ms };
    let deadline = now.plus(most_ms).min(context.deadline);
    let result = tokio::select! {
        biased;
        result = perform(outbound, &mut signed, is_opened) => result,
        () = outbound.clock.alarm(deadline) => {
            let (kind, limit) =
                if deadline < context.deadline { (Kind::Timeout, "attempt_ms") } else { (Kind::Deadline, "call_ms") };
            let (what, sent) = match signed.is_dialling.load(Ordering::Relaxed) {
                true => ("no connection", RequestSent::No),
                false => ("no whole answer", RequestSent::Maybe),
            };
            Err(Error::new(kind, format!("{what} within {} ms", deadline.since(now)))
                .with_more(limit)
                .with_request_sent(sent))
        }
    };
    let SignedRequest { method, plain_url, origin, permit, leave, .. } = *signed;
    let (result, rest) = match result {
        Ok((raw, None)) => {
            drop(permit);
            (Ok(raw), None)
        }
        Ok((raw, Some(pieces))) => {
            let rest = Rest::new(&raw.headers, pieces, permit);
            (Ok(raw), Some(rest))
        }
        Err(error) => {
            if error.request_sent() == RequestSent::No {
                permit.cancel();
            }
            (Err(error), None)
        }
    };
    Answered { method, url: plain_url, origin, result, rest, leave }
}

async fn perform(
    outbound: &Outbound,
    signed: &mut SignedRequest,
    is_opened: bool,
) -> Result<(Raw, Option<Box<dyn ResponseBody>>)> {
    let head = outbound.transport.send(signed).await.map_err(|broken| {
        signed.came(outbound, [broken.details.as_bytes()]);
        lost(outbound, broken)
    })?;
    signed.permit.settle_windows();
    signed.came(outbound, head.headers.values().map(HeaderValue::as_bytes));
    let received_at = outbound.clock.now();
    check_head(outbound, &head)?;
    let is_left = is_opened && is_left(head.status, &head.headers);
    let (limit, most) = match is_left {
        true => ("stream_bytes", outbound.limits.stream_bytes),
        false => ("response_body_bytes", outbound.limits.response_body_bytes),
    };
    let declared = head.headers.get(http::header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    // Others state the length of what they do not carry.
    let has_body = signed.method != Method::Head && head.status != 304;
    if declared.is_some_and(|declared: u64| declared > most) && has_body {
        return Err(too_large(limit, most, head.status));
    }
    let ResponseHead { status, headers, body } = head;
    if is_left {
        signed.may_come(outbound);
        return Ok((Raw { status, headers, body: Vec::new(), received_at }, Some(body)));
    }
    let body = read_whole(outbound, signed, body, declared, status).await?;
    signed.came(outbound, [body.as_slice()]);
    Ok((Raw { status, headers, body, received_at }, None))
}

/// Whether the body of an answer that is to be opened is left to whoever wanted it: one that is an error or leads elsewhere
/// is read here.
pub(super) fn is_left(status: u16, headers: &HeaderMap) -> bool {
    let leads_on = (300..400).contains(&status) && headers.contains_key(http::header::LOCATION);
    status < 400 && !leads_on
}

/// Refuses a head that nobody asked for or that is too large.
fn check_head(outbound: &Outbound, head: &ResponseHead) -> Result<()> {
    let is_none = |coding: &&HeaderValue| coding.as_bytes().eq_ignore_ascii_case(b"identity");
    if let Some(coding) = head.headers.get(http::header::CONTENT_ENCODING).filter(|coding| !is_none(coding)) {
        return Err(Error::new(Kind::SchemaViolation, "the answer has a content encoding that was not asked for")
            .with_details(format!(
                "Content-Encoding: {}",
                crate::text::shown(&outbound.mask().text(&String::from_utf8_lossy(coding.as_bytes())))
            ))
            .with_request_sent(RequestSent::Yes)
            .with_status(Some(head.status)));
    }
    let header_bytes: usize = head.headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    if header_bytes > usize::try_from(outbound.limits.header_bytes).unwrap_or(usize::MAX) {
        return Err(too_large("header_bytes", outbound.limits.header_bytes, head.status));
    }
    if head.headers.len() > usize::try_from(outbound.limits.headers).unwrap_or(usize::MAX) {
        return Err(head_too_large(&outbound.limits).with_status(Some(head.status)));
    }
    Ok(())
}

async fn read_whole(
    outbound: &Outbound,
    signed: &SignedRequest,
    mut pieces: Box<dyn ResponseBody>,
    declared: Option<u64>,
    status: u16,
) -> Result<Vec<u8>> {
    let limit = usize::try_from(outbound.limits.response_body_bytes).unwrap_or(usize::MAX);
    let declared = declared.and_then(|declared| usize::try_from(declared).ok());
    let mut body = Vec::new();
    while let Some(chunk) = pieces.chunk().await.map_err(|mut broken| {
        broken.sent = RequestSent::Yes;
        signed.came(outbound, [broken.details.as_bytes()]);
        lost(outbound, broken)
    })? {
        if body.len() + chunk.len() > limit {
            return Err(too_large("response_body_bytes", outbound.limits.response_body_bytes, status));
        }
        if body.is_empty() {
            // Takes the piece over without copying where it is ours alone; most answers are one piece.
            body = Vec::from(chunk);
            if let Some(declared) = declared {
                body.reserve_exact(declared.saturating_sub(body.len()));
            }
        } else {
            body.extend_from_slice(&chunk);
        }
    }
    Ok(body)
}

pub(super) fn lost(outbound: &Outbound, lost: TransportError) -> Error {
    if lost.details.contains(HEAD_TOO_LARGE) {
        return head_too_large(&outbound.limits);
    }
    let message = match lost.stage {
        NetworkStage::Dns => "the provider's name did not resolve",
        NetworkStage::Connect => "no connection to the provider came about",
        NetworkStage::Tls => "the provider's certificate or TLS handshake was not acceptable",
        NetworkStage::Reset => "the connection broke before the whole answer was there",
    };
    Error::new(Kind::Network(lost.stage), message)
        .with_request_sent(lost.sent)
        .with_details(outbound.mask().text(&lost.details))
}

pub(super) fn too_large(limit: &str, value: u64, status: u16) -> Error {
    let error = Error::new(Kind::TooLarge, format!("the answer is larger than the limit {limit} of {value} bytes"))
        .with_more(limit)
        .with_request_sent(RequestSent::Yes)
        .with_status(Some(status));
    match limit {
        "response_body_bytes" => error.with_details("A plugin reads a larger one piece by piece, with `open`"),
        _ => error,
    }
}

/// How the client says that a head has more fields than it was told to read, or more bytes than it ever reads.
const HEAD_TOO_LARGE: &str = "message head is too large";

/// Asking again makes a head no smaller, so this is no broken connection.
fn head_too_large(limits: &Limits) -> Error {
    let (headers, bytes) = (limits.headers, limits.header_bytes);
    Error::new(
        Kind::TooLarge,
        format!("the head of the answer is larger than the limits headers of {headers} fields and header_bytes of {bytes} bytes"),
    )
    .with_details("To allow more, set limits.headers and limits.header_bytes on the connection")
    .with_request_sent(RequestSent::Yes)
}

/// Leads nowhere: for what must not send, whatever else goes wrong.
pub(crate) struct Nowhere;

impl Transport for Nowhere {
    fn send<'a>(&'a self, _: &'a SignedRequest) -> BoxFuture<'a, Result<ResponseHead, TransportError>> {
        Box::pin(std::future::ready(Err(unsent("nothing leaves from here"))))
    }
}
