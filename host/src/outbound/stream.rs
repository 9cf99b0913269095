//! Bodies piece by piece, both ways (R9).
//!
//! A [`Stream`] is an answer of which only the head was read. It takes a piece off the socket when the plugin asks for
//! one, so whoever does not read is not sent more than the sockets hold. An [`Upload`] is a request whose body comes the
//! same way: one piece is on its way, and who writes the next waits. Both end with their call, for they lie in its table.

// The generated contract names them, and what is generated is public within the crate.
#![allow(unreachable_pub)]

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::sync::{Notify, OwnedSemaphorePermit, mpsc};

use super::admit::Permit;
use super::sending::{Sending, lost_write};
use super::transport::{self, ResponseBody};
use super::{CallContext, Outbound, Request, Response};
use crate::error::{Error, Kind, RequestSent, Result};
use crate::mask::MaskStream;
use crate::time::{BoxFuture, Timestamp};

/// How much one reading answers at most, whatever was asked for.
const READ_BYTES_MAX: usize = 1 << 20;

/// How much of an upload is handed on at once.
const PIECE_BYTES_MAX: usize = 256 << 10;

/// One of the streams that a call may have open; dropping it makes room.
pub(crate) type Place = Arc<()>;

/// The unread rest of an answer, with what it holds as long as it is not read.
pub(super) struct Rest {
    pub(super) pieces: Box<dyn ResponseBody>,
    /// The permit of the request. A stream of events, which may last for hours, has given it back.
    permit: Option<Permit>,
    /// Whether the head held a secret, which was told already.
    is_told: bool,
}

impl Rest {
    pub(super) fn new(headers: &http::HeaderMap, pieces: Box<dyn ResponseBody>, permit: Permit) -> Self {
        let content_type = headers.get(http::header::CONTENT_TYPE).map_or(&b""[..], |value| value.as_bytes());
        Self { pieces, permit: (!is_events(content_type)).then_some(permit), is_told: false }
    }

    /// The same, knowing whether a secret in the head was told.
    pub(super) fn told(self, is_told: bool) -> Self {
        Self { is_told, ..self }
    }

    /// Whether it takes a place among the connection's streams of events.
    fn is_events(&self) -> bool {
        self.permit.is_none()
    }
}

/// Whether a media type is the one of server-sent events, whatever its parameters.
fn is_events(media_type: &[u8]) -> bool {
    let essence = media_type.split(|byte| *byte == b';').next().unwrap_or_default();
    essence.trim_ascii().eq_ignore_ascii_case(b"text/event-stream")
}

/// Whether a request takes server-sent events and nothing else. Of one that takes other answers too, the answer says it.
fn wants_events(request: &Request) -> bool {
    let accepted = request.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("accept"));
    let mut accepted = accepted.flat_map(|(_, value)| value.split(',')).peekable();
    accepted.peek().is_some() && accepted.all(|media_type| is_events(media_type.as_bytes()))
}

/// An answer whose body is read piece by piece.
pub struct Stream {
    outbound: Arc<Outbound>,
    context: CallContext,
    mask: MaskStream,
    /// What was read and masked and not asked for yet.
    ready: Bytes,
    read_bytes: u64,
    status: u16,
    endpoint: String,
    /// Where it comes from, as long as no secret in it was told.
    path: String,
    state: State,
}

enum State {
    Reading { rest: Rest, _place: Place, _events: Option<OwnedSemaphorePermit> },
    Over,
    Broken(Error),
}

impl Stream {
    /// The next bytes, at most `most` of them; none at the end.
    ///
    /// # Errors
    /// [`Kind::TooLarge`], [`Kind::Timeout`], [`Kind::Deadline`] or [`Kind::Network`]; what follows is the same error.
    pub(crate) async fn read(&mut self, most: usize) -> Result<Vec<u8>> {
        let most = most.clamp(1, READ_BYTES_MAX);
        while self.ready.is_empty() {
            let rest = match &mut self.state {
                State::Reading { rest, .. } => rest,
                State::Over => return Ok(Vec::new()),
                State::Broken(error) => return Err(error.clone()),
            };
            let limits = &self.outbound.limits;
            let idle_at = self.outbound.clock.now().plus(limits.stream_idle_ms);
            let piece = tokio::select! {
                biased;
                piece = rest.pieces.chunk() => piece.map_err(|mut broken| {
                    broken.sent = RequestSent::Yes;
                    transport::lost(&self.outbound, broken)
                }),
                () = self.outbound.clock.alarm(idle_at.min(self.context.deadline)) => {
                    Err(idle(&self.outbound, &self.context, idle_at, "sent nothing"))
                }
            };
            match piece {
                Ok(Some(piece)) => {
                    self.read_bytes = self.read_bytes.saturating_add(piece.len() as u64);
                    if let Some(meter) = self.outbound.meter_of(&self.context) {
                        meter.received(piece.len());
                    }
                    if self.read_bytes > limits.stream_bytes {
                        return self.break_off(transport::too_large("stream_bytes", limits.stream_bytes, self.status));
                    }
                    self.ready = self.mask.push(&piece).into();
                }
                Ok(None) => {
                    self.ready = self.mask.finish().into();
                    self.state = State::Over;
                }
                Err(error) => return self.break_off(error.with_status(Some(self.status))),
            }
            if std::mem::take(&mut self.mask.has_found) {
                self.outbound.tell_leak(&self.context, &self.path);
                self.path.clear();
            }
        }
        Ok(self.ready.split_to(most.min(self.ready.len())).into())
    }

    /// Nothing more comes, and what was held goes back.
    fn break_off(&mut self, error: Error) -> Result<Vec<u8>> {
        let error = error.with_endpoint(Some(self.endpoint.clone())).with_attempts(1);
        self.state = State::Broken(error.clone());
        Err(error)
    }
}

/// The body of an upload, between who writes it and the HTTP client.
#[derive(Clone)]
pub(crate) struct UploadBody {
    of: Arc<UploadState>,
    /// The attempt that it is the body of.
    attempt: u64,
}

struct UploadState {
    pieces: Mutex<mpsc::Receiver<Bytes>>,
    length: Option<u64>,
    /// Somebody wants the body: the connection stands.
    is_wanted: Notify,
    /// The attempt that may take pieces: what is left of one before it may not.
    attempt: AtomicU64,
    /// Something of it has left.
    has_begun: AtomicBool,
    /// All of it was written.
    is_whole: AtomicBool,
}

impl std::fmt::Debug for UploadBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("UploadBody")
    }
}

impl UploadBody {
    fn new(pieces: mpsc::Receiver<Bytes>, length: Option<u64>) -> Self {
        let of = Arc::new(UploadState {
            pieces: Mutex::new(pieces),
            length,
            is_wanted: Notify::new(),
            attempt: AtomicU64::new(0),
            has_begun: AtomicBool::new(false),
            is_whole: AtomicBool::new(false),
        });
        Self { of, attempt: 0 }
    }

    /// For the attempt that leaves now.
    pub(super) fn of_attempt(&self) -> Self {
        Self { of: self.of.clone(), attempt: self.of.attempt.load(Ordering::SeqCst) }
    }

    /// The attempt is over, and what is left of it takes nothing any more. Whether nothing of the body has left, so that
    /// there may be another.
    pub(super) fn take_back(&self) -> bool {
        let _pieces = self.of.pieces.lock().unwrap_or_else(PoisonError::into_inner);
        self.of.attempt.fetch_add(1, Ordering::SeqCst);
        !self.has_begun()
    }

    /// How long it will be, if that is known.
    pub(super) fn length(&self) -> Option<u64> {
        self.of.length
    }

    /// Whether anything of it has left, after which it is never sent again.
    fn has_begun(&self) -> bool {
        self.of.has_begun.load(Ordering::SeqCst)
    }

    /// All of it; nothing where it is empty.
    async fn gather(&self, most: u64) -> Result<Option<Bytes>> {
        let mut body = Vec::new();
        while let Some(piece) = std::future::poll_fn(|cx| self.poll(cx)).await {
            body.extend_from_slice(&piece.map_err(|error| Error::internal(error.to_string()))?);
            if body.len() as u64 > most {
                let message =
                    format!("with a tape, an upload is not longer than the limit request_body_bytes of {most}");
                return Err(Error::limit("request_body_bytes", message).with_more("request_body_bytes"));
            }
        }
        Ok((!body.is_empty()).then(|| body.into()))
    }

    /// Whether nobody but the writer is left, who may then stop.
    fn is_abandoned(&self) -> bool {
        Arc::strong_count(&self.of) == 1
    }

    /// The next piece; nothing at the end.
    ///
    /// # Errors
    /// When whoever wrote it went away before the end, which must not look like one.
    pub(super) fn poll(&self, cx: &mut Context<'_>) -> Poll<Option<std::io::Result<Bytes>>> {
        let mut pieces = self.of.pieces.lock().unwrap_or_else(PoisonError::into_inner);
        if self.of.attempt.load(Ordering::SeqCst) != self.attempt {
            return Poll::Ready(Some(Err(std::io::Error::other("the attempt is over"))));
        }
        self.of.is_wanted.notify_one();
        match pieces.poll_recv(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Some(piece)) => {
                self.of.has_begun.store(true, Ordering::SeqCst);
                Poll::Ready(Some(Ok(piece)))
            }
            Poll::Ready(None) if self.of.is_whole.load(Ordering::SeqCst) => Poll::Ready(None),
            Poll::Ready(None) => Poll::Ready(Some(Err(std::io::Error::other("the upload was broken off")))),
        }
    }
}

/// A request whose body is written piece by piece.
pub struct Upload {
    outbound: Arc<Outbound>,
    context: CallContext,
    pieces: mpsc::Sender<Bytes>,
    upload: UploadBody,
    may_repeat: bool,
    written_bytes: u64,
    running: BoxFuture<'static, Result<Response>>,
    /// What came of it, as soon as that is known.
    done: Option<Result<Response>>,
    /// It was answered, and no more of its body is sent.
    is_over: bool,
    _place: Place,
}

impl Upload {
    /// Hands these bytes on, and waits while the provider takes none.
    ///
    /// # Errors
    /// [`Kind::LimitExceeded`], [`Kind::InvalidRequest`] beyond the stated length, or what ended the request; what
    /// follows is the same error.
    pub(crate) async fn write(&mut self, bytes: Vec<u8>) -> Result<()> {
        let total = self.written_bytes.saturating_add(bytes.len() as u64);
        let most = self.outbound.limits.upload_bytes;
        if total > most {
            return self.fail(too_long(most));
        }
        if self.upload.length().is_some_and(|length| total > length) {
            return self.fail(Error::invalid("/length", "more was written than the length that was stated"));
        }
        self.written_bytes = total;
        if let Some(meter) = self.outbound.meter_of(&self.context) {
            meter.sent(bytes.len());
        }
        let mut bytes = Bytes::from(bytes);
        while !bytes.is_empty() {
            let piece = bytes.split_to(bytes.len().min(PIECE_BYTES_MAX));
            self.hand_on(piece).await?;
        }
        Ok(())
    }

    async fn hand_on(&mut self, piece: Bytes) -> Result<()> {
        let idle_at = self.outbound.clock.now().plus(self.outbound.limits.stream_idle_ms);
        let alarm = self.outbound.clock.alarm(idle_at.min(self.context.deadline));
        tokio::pin!(alarm);
        loop {
            match &self.done {
                Some(Err(error)) => return Err(error.clone()),
                // Who has answered already may want no more of it.
                Some(Ok(_)) if self.is_over || self.upload.is_abandoned() => return Ok(()),
                _ => {}
            }
            tokio::select! {
                biased;
                done = &mut self.running, if self.done.is_none() => self.done = Some(done),
                room = self.pieces.clone().reserve_owned() => {
                    match room {
                        Ok(room) => drop(room.send(piece)),
                        Err(_) => return self.fail(Error::internal("the upload lost its request")),
                    }
                    break;
                }
                () = &mut alarm => {
                    if matches!(self.done, Some(Ok(_))) {
                        // Who does not get this piece gets none after it.
                        self.upload.take_back();
                        self.is_over = true;
                        return Ok(());
                    }
                    if self.upload.is_abandoned() {
                        continue;
                    }
                    let error = idle(&self.outbound, &self.context, idle_at, "took nothing");
                    return self.fail(lost_write(self.may_repeat, error.with_attempts(1)));
                }
            }
        }
        // Who waits for the answer moves the bytes, and until the next piece nobody does: as much as there is room for goes now.
        if self.done.is_none()
            && let Poll::Ready(done) = std::future::poll_fn(|cx| Poll::Ready(self.running.as_mut().poll(cx))).await
        {
            self.done = Some(done);
        }
        Ok(())
    }

    /// Ends the body and waits for the answer, as long as an attempt may last.
    ///
    /// # Errors
    /// What ended the request.
    pub(crate) async fn finish(mut self) -> Result<Response> {
        if let Some(Err(error)) = self.done {
            return Err(error);
        }
        if self.upload.length().is_some_and(|length| self.written_bytes < length) {
            return Err(Error::invalid("/length", "less was written than the length that was stated")
                .with_request_sent(RequestSent::Maybe)
                .with_attempts(1));
        }
        self.upload.of.is_whole.store(true, Ordering::SeqCst);
        drop(self.pieces);
        if let Some(done) = self.done {
            return done;
        }
        let now = self.outbound.clock.now();
        let late_at = now.plus(self.outbound.limits.attempt_ms).min(self.context.deadline);
        tokio::select! {
            biased;
            done = &mut self.running => done,
            () = self.outbound.clock.alarm(late_at) => {
                let kind = if late_at < self.context.deadline { Kind::Timeout } else { Kind::Deadline };
                let error = Error::new(kind, format!("no whole answer within {} ms", late_at.since(now)));
                Err(lost_write(self.may_repeat, error.with_request_sent(RequestSent::Maybe)).with_attempts(1))
            }
        }
    }

    /// Breaks the request off.
    fn fail(&mut self, error: Error) -> Result<()> {
        let sent = if self.upload.has_begun() { RequestSent::Maybe } else { RequestSent::No };
        let error = error.with_request_sent(sent);
        self.done = Some(Err(error.clone()));
        self.running = Box::pin(std::future::pending());
        Err(error)
    }
}

/// The provider stood still for too long, or the call is over.
fn idle(outbound: &Outbound, context: &CallContext, idle_at: Timestamp, what: &str) -> Error {
    let most = outbound.limits.stream_idle_ms;
    let error = if idle_at < context.deadline {
        Error::new(Kind::Timeout, format!("the provider {what} within the limit stream_idle_ms of {most}"))
            .with_more("stream_idle_ms")
    } else {
        Error::new(Kind::Deadline, "the call was over before the body was")
    };
    error.with_request_sent(RequestSent::Maybe)
}

fn too_long(most: u64) -> Error {
    Error::limit("upload_bytes", format!("an upload is longer than the limit upload_bytes of {most} bytes"))
        .with_more("upload_bytes")
}

impl Outbound {
    /// Sends one request and waits for the head of its answer; the body stays to be read.
    ///
    /// # Errors
    /// As for [`Outbound::send`]. After the head nothing is repeated.
    pub(crate) async fn open(
        self: &Arc<Self>,
        context: &CallContext,
        request: Request,
        place: Place,
    ) -> Result<(Response, Stream)> {
        // Who wants events is refused before anything leaves, for it may be a write that is answered in them.
        let mut events = wants_events(&request).then(|| self.events_place()).transpose()?;
        let mut sending = Sending::begin(self, context, request.into())?;
        sending.is_opened = true;
        let (mut response, rest) =
            self.send_traced(context, &mut sending).await.map_err(|error| sending.count(error))?;
        let path = self.mask().text(&super::without_query(&response.url)).into_owned();
        let endpoint = format!("{} {path}", sending.request.method);
        match &rest {
            Some(rest) if rest.is_events() => {
                if events.is_none() {
                    let refused = |error: Error| {
                        error
                            .with_status(Some(response.status))
                            .with_endpoint(Some(endpoint.clone()))
                            .with_request_id(response.request_id.clone())
                            .with_request_sent(RequestSent::Yes)
                            .with_attempts(sending.attempts)
                    };
                    events = Some(self.events_place().map_err(refused)?);
                }
            }
            _ => events = None,
        }
        let stream = Stream {
            outbound: self.clone(),
            context: context.clone(),
            mask: MaskStream::new(self.mask()),
            ready: Arc::unwrap_or_clone(std::mem::take(&mut response.body)).into(),
            read_bytes: 0,
            status: response.status,
            endpoint,
            path: if rest.as_ref().is_some_and(|rest| rest.is_told) { String::new() } else { path },
            state: rest.map_or(State::Over, |rest| State::Reading { rest, _place: place, _events: events }),
        };
        Ok((response, stream))
    }

    /// A place among the streams of events that the connection reads at once.
    fn events_place(&self) -> Result<OwnedSemaphorePermit> {
        let most = self.limits.event_streams;
        self.event_streams.clone().try_acquire_owned().map_err(|_| {
            Error::limit(
                "event_streams",
                format!("the connection reads as many streams of events as the limit event_streams of {most} allows"),
            )
            .with_more("event_streams")
        })
    }

    /// Begins a request whose body comes piece by piece, and waits until the provider takes the first.
    ///
    /// # Errors
    /// As for [`Outbound::send`].
    pub(crate) async fn start(
        self: &Arc<Self>,
        context: &CallContext,
        request: Request,
        length: Option<u64>,
        place: Place,
    ) -> Result<Upload> {
        if request.body.is_some() {
            return Err(Error::invalid("/body", "the body of an upload is written, and here it was given"));
        }
        let most = self.limits.upload_bytes;
        if length.is_some_and(|length| length > most) {
            return Err(too_long(most));
        }
        // With a tape it is put together before it is sent.
        if !self.takes_uploads && self.tape.is_none() {
            let error = Error::configuration("an upload cannot be sent: the host has another transport than its own");
            let details = "The program that embeds it has set `HostBuilder::transport`, which gets whole bodies only";
            return Err(error.with_details(details));
        }
        let (pieces, receiver) = mpsc::channel(1);
        let upload = UploadBody::new(receiver, length);
        let request = Request { upload: Some(upload.clone()), ..request };
        let may_repeat = request.may_repeat();
        let (outbound, call) = (self.clone(), context.clone());
        let mut running: BoxFuture<'static, Result<Response>> = Box::pin(async move {
            let mut request = request;
            // A tape holds whole requests, so with one it is put together first; it is sent once all the same.
            if let (Some(_), Some(upload)) = (&outbound.tape, &request.upload) {
                request.body = upload.gather(outbound.limits.request_body_bytes).await?;
            }
            outbound.send(&call, request.into()).await
        });
        let done = tokio::select! {
            biased;
            done = &mut running => Some(Ok(done?)),
            () = upload.of.is_wanted.notified() => None,
        };
        let (outbound, context) = (self.clone(), context.clone());
        Ok(Upload {
            outbound,
            context,
            pieces,
            upload,
            may_repeat,
            written_bytes: 0,
            running,
            done,
            is_over: false,
            _place: place,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::ManualClock;
    use crate::vault::Secrets;

    /// As over HTTP/2, where a provider may answer before it has the whole body, and take no more of it.
    #[tokio::test]
    async fn an_early_answer_stays_although_no_more_of_its_upload_is_taken() {
        let clock = ManualClock::new(Timestamp::from_millis(0), 1);
        let secrets = Arc::new(Secrets::new("p", "acme", Default::default()));
        let (pieces, taken) = mpsc::channel(1);
        let mut upload = Upload {
            outbound: Arc::new(Outbound::nowhere(secrets, Arc::new(clock.clone()))),
            context: CallContext { deadline: Timestamp::MAX, observer: None, event: None, operation: None },
            pieces,
            upload: UploadBody::new(taken, None),
            may_repeat: false,
            written_bytes: 0,
            running: Box::pin(std::future::pending()),
            done: Some(Ok(Response::bare(200))),
            is_over: false,
            _place: Place::default(),
        };
        let body = upload.upload.of_attempt();
        upload.write(b"one".to_vec()).await.unwrap();
        let turn = async {
            while !clock.advance_to_next() {
                tokio::task::yield_now().await;
            }
        };
        let (written, ()) = tokio::join!(upload.write(b"two".to_vec()), turn);
        written.unwrap();
        upload.write(b"three".to_vec()).await.unwrap();
        let mut cx = Context::from_waker(std::task::Waker::noop());
        assert!(matches!(body.poll(&mut cx), Poll::Ready(Some(Err(_)))), "it has a hole and no end");
        assert_eq!(upload.finish().await.unwrap().status, 200);
    }

    #[tokio::test]
    async fn what_is_left_of_an_attempt_takes_nothing_of_the_next() {
        let (pieces, taken) = mpsc::channel(1);
        let upload = UploadBody::new(taken, None);
        let first = upload.of_attempt();
        let mut cx = Context::from_waker(std::task::Waker::noop());
        assert!(first.poll(&mut cx).is_pending());
        assert!(upload.take_back(), "nothing has left");
        pieces.send(Bytes::from_static(b"one")).await.unwrap();
        assert!(matches!(first.poll(&mut cx), Poll::Ready(Some(Err(_)))));
        let second = upload.of_attempt();
        assert!(matches!(second.poll(&mut cx), Poll::Ready(Some(Ok(piece))) if piece == "one"));
        assert!(!upload.take_back(), "it was sent, and is never sent again");
    }
}
