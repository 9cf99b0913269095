//! The HTTP client: what a request looks like on a wire, and what came back by it.
//!
//! It follows no redirect, repeats nothing that may have left, uses no proxy and sends no referer. Of codings it knows
//! gzip, which it takes off piece by piece.

use std::io::{Error as IoError, ErrorKind, Write as _};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::{Buf as _, Bytes};
use flate2::write::MultiGzDecoder;
use http::header::{
    ACCEPT, ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, HOST, HeaderValue, RANGE, UPGRADE, USER_AGENT,
};
use http::uri::{Scheme, Uri};
use http::{HeaderMap, Request};
use http_body::Body as _;
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use url::{Position, Url};

use super::Method;
use super::body::OutgoingBody;
use super::sign::SignedRequest;
use super::transport::{ResponseBody, ResponseHead, Transport, TransportError, UpgradedIo, unsent};
use super::wires::{Destination, Open, Single, Wires, broken, machine_tls};
use crate::error::{Error, NetworkStage, RequestSent, Result};
use crate::limits::Limits;
use crate::time::{BoxFuture, SystemClock};

/// The real thing: one for each operator's connection, with wires of its own.
pub(crate) struct Http {
    wires: Arc<Wires>,
}

impl Http {
    /// One without wires so far.
    ///
    /// # Errors
    /// [`Kind::Internal`](crate::Kind::Internal) when the machine's trust roots cannot be loaded.
    pub(crate) fn new(limits: &Limits) -> Result<Self> {
        let tls = machine_tls().map_err(|error| Error::internal(format!("the HTTP client cannot start: {error}")))?;
        Ok(Self { wires: Arc::new(Wires::new(limits, tls, Arc::new(SystemClock::new()))) })
    }

    async fn exchange(&self, signed: &SignedRequest) -> Result<ResponseHead, TransportError> {
        // It is read again only where a credential stands in it.
        let read;
        let url = match signed.plain_url.as_str() == signed.url.as_str() {
            true => &signed.plain_url,
            false => {
                read = Url::parse(&signed.url).map_err(|_| unsent("the URL cannot be read"))?;
                &read
            }
        };
        let to = Destination {
            origin: &url[..Position::BeforePath],
            proven: url.host().filter(|_| url.scheme() == "https"),
            addresses: &signed.addresses,
            is_upgrade: signed.headers.contains_key(UPGRADE),
        };
        loop {
            let kept = self.wires.take(&to);
            let is_kept = kept.is_some();
            let mut wire = match kept {
                Some(wire) => wire,
                // Seldom, and large.
                None => {
                    signed.is_dialling.store(true, Ordering::Relaxed);
                    let dialled = Box::pin(self.wires.dial(&to)).await;
                    signed.is_dialling.store(false, Ordering::Relaxed);
                    dialled?
                }
            };
            let request = written(signed, url, wire.is_shared())?;
            match wire.send(request).await {
                Ok(answer) => return Ok(head(answer, wire, self.wires.clone())),
                Err(Some(lost)) => return Err(lost),
                // The other end hung up before it was sent any of this.
                Err(None) if is_kept => {
                    if wire.is_shared() {
                        self.wires.leave(to.origin);
                    }
                }
                Err(None) => return Err(unsent("the connection closed before it took the request")),
            }
        }
    }
}

impl Transport for Http {
    fn send<'a>(&'a self, signed: &'a SignedRequest) -> BoxFuture<'a, Result<ResponseHead, TransportError>> {
        Box::pin(self.exchange(signed))
    }
}

/// A request as it goes onto a wire.
fn written(signed: &SignedRequest, url: &Url, is_shared: bool) -> Result<Request<OutgoingBody>, TransportError> {
    let mut request = Request::new(OutgoingBody::of(signed));
    *request.method_mut() = match signed.method {
        Method::Get => http::Method::GET,
        Method::Head => http::Method::HEAD,
        Method::Post => http::Method::POST,
        Method::Put => http::Method::PUT,
        Method::Patch => http::Method::PATCH,
        Method::Delete => http::Method::DELETE,
    };
    let host = &url[Position::BeforeHost..Position::AfterPort];
    let mut uri = Uri::builder().path_and_query(&url[Position::BeforePath..Position::AfterQuery]);
    let mut headers = signed.headers.clone();
    if is_shared {
        uri = uri.scheme(Scheme::HTTPS).authority(host);
    } else {
        headers.insert(HOST, HeaderValue::from_str(host).map_err(|_| unsent("the host cannot be sent"))?);
    }
    *request.uri_mut() = uri.build().map_err(|_| unsent("the URL cannot be sent"))?;
    // With these a length is expected although there is no body (RFC 9110, 8.6).
    let may_carry = matches!(signed.method, Method::Post | Method::Put | Method::Patch);
    if may_carry && matches!(request.body(), OutgoingBody::Whole(None)) {
        headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
    }
    headers.entry(ACCEPT).or_insert(HeaderValue::from_static("*/*"));
    headers.entry(USER_AGENT).or_insert(HeaderValue::from_static(concat!("wharfage/", env!("CARGO_PKG_VERSION"))));
    // A part of something coded cannot be decoded.
    if !headers.contains_key(RANGE) {
        headers.entry(ACCEPT_ENCODING).or_insert(HeaderValue::from_static("gzip"));
    }
    *request.headers_mut() = headers;
    Ok(request)
}

fn head(mut answer: http::Response<Incoming>, wire: Open, wires: Arc<Wires>) -> ResponseHead {
    let upgrade = (answer.status() == http::StatusCode::SWITCHING_PROTOCOLS).then(|| hyper::upgrade::on(&mut answer));
    let (parts, body) = answer.into_parts();
    let mut headers = parts.headers;
    let single = match wire {
        Open::Single(single) => Some(single),
        Open::Shared(_) => None,
    };
    let gunzip = take_gzip(&mut headers).then(Gunzip::default);
    let pieces = Pieces { body, is_over: false, single, wires, gunzip, upgrade };
    ResponseHead { status: parts.status.as_u16(), headers, body: Box::new(pieces) }
}

/// Whether the body is coded, which the head does not say any more.
fn take_gzip(headers: &mut HeaderMap) -> bool {
    let is_gzip = |coding: &[u8]| coding.eq_ignore_ascii_case(b"gzip") || coding.eq_ignore_ascii_case(b"x-gzip");
    let is_coded = headers.get(CONTENT_ENCODING).is_some_and(|coding| is_gzip(coding.as_bytes()));
    if is_coded {
        headers.remove(CONTENT_ENCODING);
        headers.remove(CONTENT_LENGTH);
    }
    is_coded
}

/// The body of an answer, and the wire that it comes by.
struct Pieces {
    body: Incoming,
    is_over: bool,
    /// There until the body is whole, unless others use it too.
    single: Option<Box<Single>>,
    wires: Arc<Wires>,
    gunzip: Option<Gunzip>,
    upgrade: Option<OnUpgrade>,
}

impl Pieces {
    /// The next piece as it came.
    async fn received(&mut self) -> Result<Option<Bytes>, TransportError> {
        while !self.is_over {
            let frame = std::future::poll_fn(|cx| Pin::new(&mut self.body).poll_frame(cx));
            let frame = match &mut self.single {
                Some(single) => single.until(pin!(frame)).await,
                None => frame.await,
            };
            let frame = frame.transpose().map_err(|error| broken(&error))?;
            // Over HTTP/2 a body also ends so where it was cut off without an error.
            if frame.is_none() && self.single.is_none() && !self.body.is_end_stream() {
                let details = "the answer was cut off".to_owned();
                return Err(TransportError { stage: NetworkStage::Reset, sent: RequestSent::Yes, details });
            }
            if frame.is_none() || self.body.is_end_stream() {
                self.is_over = true;
                if let Some(single) = self.single.take() {
                    self.wires.put(single);
                }
            }
            // What is no data are trailers, which nobody asks for.
            if let Some(data) = frame.and_then(|frame| frame.into_data().ok()).filter(|data| !data.is_empty()) {
                return Ok(Some(data));
            }
        }
        Ok(None)
    }

    /// The next piece without its coding.
    async fn decoded(&mut self) -> Result<Option<Bytes>, TransportError> {
        let wrong = |error: IoError| {
            let details = format!("the gzip coding of the answer is damaged: {error}");
            TransportError { stage: NetworkStage::Reset, sent: RequestSent::Yes, details }
        };
        loop {
            if let Some(gunzip) = &mut self.gunzip
                && let Some(piece) = gunzip.next().map_err(wrong)?
            {
                return Ok(Some(piece));
            }
            let received = self.received().await?;
            match (&mut self.gunzip, received) {
                (Some(gunzip), Some(received)) => gunzip.coded = received,
                (None, received) => return Ok(received),
                (Some(gunzip), None) => {
                    let last = gunzip.finish().map_err(wrong)?;
                    self.gunzip = None;
                    return Ok(last);
                }
            }
        }
    }
}

impl ResponseBody for Pieces {
    fn chunk(&mut self) -> BoxFuture<'_, Result<Option<Bytes>, TransportError>> {
        Box::pin(self.decoded())
    }

    fn upgrade(self: Box<Self>) -> BoxFuture<'static, Result<Box<dyn UpgradedIo>, TransportError>> {
        let Self { single, upgrade, .. } = *self;
        Box::pin(async move {
            let (Some(mut single), Some(upgrade)) = (single, upgrade) else {
                return Err(unsent("the connection carries nothing but requests"));
            };
            let upgraded = single.until(pin!(upgrade)).await.map_err(|error| broken(&error))?;
            Ok(Box::new(TokioIo::new(upgraded)) as Box<dyn UpgradedIo>)
        })
    }
}

/// Takes gzip off, some 32 KiB at a time however much a piece may hold.
struct Gunzip {
    decoder: MultiGzDecoder<Vec<u8>>,
    /// What it has not seen yet.
    coded: Bytes,
    has_begun: bool,
}

impl Default for Gunzip {
    fn default() -> Self {
        Self { decoder: MultiGzDecoder::new(Vec::new()), coded: Bytes::new(), has_begun: false }
    }
}

impl Gunzip {
    /// The next bytes of what it was given; nothing when it wants more.
    fn next(&mut self) -> std::io::Result<Option<Bytes>> {
        while !self.coded.is_empty() {
            self.has_begun = true;
            let taken = self.decoder.write(&self.coded)?;
            self.coded.advance(taken);
            if self.coded.is_empty() {
                // An event in a stream is due now, and not with the next one.
                self.decoder.flush()?;
            }
            let made = std::mem::take(self.decoder.get_mut());
            if !made.is_empty() {
                return Ok(Some(made.into()));
            }
            if taken == 0 {
                return Err(ErrorKind::InvalidData.into());
            }
        }
        Ok(None)
    }

    /// The last bytes. An empty body is whole.
    fn finish(&mut self) -> std::io::Result<Option<Bytes>> {
        if self.has_begun {
            self.decoder.try_finish()?;
        }
        let made = std::mem::take(self.decoder.get_mut());
        Ok((!made.is_empty()).then(|| made.into()))
    }
}

#[cfg(test)]
mod tests {
    use hyper::client::conn::http2;
    use hyper_util::rt::TokioExecutor;

    use super::*;

    /// As by a server whose handler goes away without an error. A reset right behind a whole answer says that the rest of
    /// what is sent is not wanted (RFC 9113, 8.1).
    #[tokio::test]
    async fn an_answer_that_is_cut_off_without_an_error_is_not_whole() {
        for is_whole in [true, false] {
            let (near, far) = tokio::io::duplex(64 << 10);
            let (answered, was_answered) = tokio::sync::oneshot::channel::<()>();
            tokio::spawn(async move {
                let mut connection = h2::server::handshake(far).await.unwrap();
                let (_asked, mut answer) = connection.accept().await.unwrap().unwrap();
                let mut body = answer.send_response(http::Response::new(()), false).unwrap();
                body.send_data(Bytes::from_static(b"half"), is_whole).unwrap();
                tokio::select! {
                    _ = connection.accept() => {}
                    _ = was_answered => body.send_reset(h2::Reason::NO_ERROR),
                }
                connection.accept().await
            });
            let (mut sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(near)).await.unwrap();
            tokio::spawn(connection);
            // More than fits in the window of one who does not read it.
            let mut request = Request::new(OutgoingBody::Whole(Some(vec![0_u8; 128 << 10].into())));
            *request.method_mut() = http::Method::POST;
            *request.uri_mut() = Uri::from_static("https://provider.test/");
            let body = sender.send_request(request).await.unwrap().into_body();
            let wires = Http::new(&Limits::default()).unwrap().wires;
            let mut pieces = Pieces { body, is_over: false, single: None, wires, gunzip: None, upgrade: None };
            answered.send(()).unwrap();
            for _ in 0..50 {
                tokio::task::yield_now().await;
            }
            assert_eq!(pieces.chunk().await.unwrap().unwrap(), "half");
            match pieces.chunk().await {
                Ok(piece) => assert!(piece.is_none() && is_whole),
                Err(lost) => assert!(lost.sent == RequestSent::Yes && !is_whole, "{lost:?}"),
            }
        }
    }

    #[test]
    fn gzip_has_two_names_in_any_case() {
        for (coding, is_gzip) in [("gzip", true), ("GZIP", true), ("X-Gzip", true), ("br", false), ("gzip2", false)] {
            let mut headers = HeaderMap::from_iter([(CONTENT_ENCODING, HeaderValue::from_static(coding))]);
            assert_eq!((take_gzip(&mut headers), headers.is_empty()), (is_gzip, is_gzip), "{coding}");
        }
    }

    /// All of it, given in pieces of so many bytes.
    fn gunzipped(coded: &[u8], piece_bytes: usize) -> std::io::Result<(Vec<u8>, usize)> {
        let (mut gunzip, mut plain, mut largest) = (Gunzip::default(), Vec::new(), 0);
        for piece in coded.chunks(piece_bytes) {
            gunzip.coded = Bytes::copy_from_slice(piece);
            while let Some(made) = gunzip.next()? {
                largest = largest.max(made.len());
                plain.extend_from_slice(&made);
            }
        }
        plain.extend(gunzip.finish()?.unwrap_or_default());
        Ok((plain, largest))
    }

    fn gzipped(plain: &[u8]) -> Vec<u8> {
        let mut coder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        coder.write_all(plain).unwrap();
        coder.finish().unwrap()
    }

    #[test]
    fn gzip_comes_off_however_it_is_cut() {
        let plain: Vec<u8> = (0..50_000_u32).flat_map(|number| (number * number).to_le_bytes()).collect();
        let mut coded = gzipped(&plain);
        coded.extend(gzipped(b"and a second member"));
        for piece_bytes in [1, 7, 1000, coded.len()] {
            let (made, _) = gunzipped(&coded, piece_bytes).unwrap();
            assert!(made.strip_prefix(&plain[..]) == Some(b"and a second member"), "{piece_bytes}");
        }
        assert!(gunzipped(b"", 1).unwrap().0.is_empty(), "an empty body is whole");
    }

    #[test]
    fn a_bomb_comes_apart_in_small_pieces() {
        let coded = gzipped(&vec![0; 32 << 20]);
        assert!(coded.len() < 64 << 10);
        let (made, largest) = gunzipped(&coded, coded.len()).unwrap();
        assert_eq!(made.len(), 32 << 20);
        assert!(largest <= 64 << 10, "{largest}");
    }

    #[test]
    fn damaged_gzip_is_an_error_and_not_a_shorter_body() {
        let coded = gzipped(b"twenty bytes of text");
        for cut in 1..coded.len() {
            assert!(gunzipped(&coded[..cut], 1000).is_err(), "{cut}");
        }
        for at in [0, 12, coded.len() - 1] {
            let mut damaged = coded.clone();
            damaged[at] ^= 0x55;
            assert!(gunzipped(&damaged, 1000).is_err(), "{at}");
        }
    }

    #[test]
    fn an_event_is_there_before_the_next_one() {
        let mut coder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        coder.write_all(b"data: 1\n\n").unwrap();
        coder.flush().unwrap();
        let mut gunzip = Gunzip { coded: std::mem::take(coder.get_mut()).into(), ..Gunzip::default() };
        assert_eq!(gunzip.next().unwrap().unwrap(), "data: 1\n\n");
        assert!(gunzip.next().unwrap().is_none());
    }
}
