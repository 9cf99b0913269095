//! An open WebSocket: frames in and out, within limits.
//!
//! What is sent is queued and leaves while something is waited for, so that two ends that both write do not wait for each
//! other. A peer that asks and asks and takes no answer is not read any more, so that the answers to its questions do not
//! pile up here.

use std::task::Poll;

use futures_util::{SinkExt, StreamExt};
use tokio_websockets::{ClientBuilder, CloseCode, Error, Limits, Message, WebSocketStream};

use crate::outbound::transport::UpgradedIo;
use crate::time::Timestamp;

/// Frames that may wait to be taken before nothing more is read.
const WAITING_MAX: u32 = 64;

/// An open WebSocket, read and written by one task.
pub(super) struct FrameStream {
    stream: WebSocketStream<Box<dyn UpgradedIo>>,
    /// Since when frames wait to be taken.
    waiting_since: Option<Timestamp>,
    waiting: u32,
}

/// What came.
#[derive(Debug)]
pub(super) enum Came {
    /// A message.
    Message(Vec<u8>),
    /// A sign of life.
    Sign,
    /// The provider closes it, with a code where it gave one.
    Closed(Option<u16>),
    /// It broke, or the provider broke the rules; the sentence says which.
    Broken(String),
}

impl FrameStream {
    /// Over a connection that has become a WebSocket.
    pub(super) fn over(wire: Box<dyn UpgradedIo>, message_bytes_max: u64) -> Self {
        let most = usize::try_from(message_bytes_max).unwrap_or(usize::MAX);
        let limits = Limits::default().max_payload_len(Some(most));
        let stream = ClientBuilder::new().limits(limits).take_over(wire);
        Self { stream, waiting_since: None, waiting: 0 }
    }

    /// Puts a message on its way. False where the line is closing.
    pub(super) fn send(&mut self, message: Message, now: Timestamp) -> bool {
        let is_taken = self.stream.start_send_unpin(message).is_ok();
        if is_taken {
            self.owe(now);
        }
        is_taken
    }

    /// Since when the provider takes nothing of what is on its way.
    pub(super) fn waiting_since(&self) -> Option<Timestamp> {
        self.waiting_since
    }

    /// Waits for what comes next, while what is on its way leaves. Cancel-safe.
    pub(super) async fn next(&mut self, now: impl Fn() -> Timestamp) -> Came {
        let next = std::future::poll_fn(|cx| {
            if self.waiting_since.is_some() {
                match self.stream.poll_flush_unpin(cx) {
                    Poll::Ready(Ok(())) => {
                        self.waiting_since = None;
                        self.waiting = 0;
                    }
                    Poll::Ready(Err(error)) => return Poll::Ready(Some(Err(error))),
                    Poll::Pending if self.waiting >= WAITING_MAX => return Poll::Pending,
                    Poll::Pending => {}
                }
            }
            self.stream.poll_next_unpin(cx)
        })
        .await;
        match next {
            None => Came::Broken("the connection ended without a close".to_owned()),
            Some(Ok(message)) if message.is_close() => {
                let code = message.as_close().map(|(code, _)| u16::from(code));
                Came::Closed(code.filter(|code| *code != u16::from(CloseCode::NO_STATUS_RECEIVED)))
            }
            Some(Ok(message)) if message.is_ping() => {
                // Its answer is on its way already.
                self.owe(now());
                Came::Sign
            }
            Some(Ok(message)) if message.is_pong() => Came::Sign,
            Some(Ok(message)) => Came::Message(bytes::Bytes::from(message.into_payload()).into()),
            Some(Err(error)) => Came::Broken(self.broken(error)),
        }
    }

    /// Waits until what is on its way has left. False where the line broke. Cancel-safe.
    pub(super) async fn flush(&mut self) -> bool {
        let has_left = self.stream.flush().await.is_ok();
        if has_left {
            self.waiting_since = None;
            self.waiting = 0;
        }
        has_left
    }

    /// Says goodbye, unless that was said.
    pub(super) fn close(&mut self, code: CloseCode) {
        let _ = self.stream.start_send_unpin(Message::close(Some(code), ""));
    }

    /// Waits until the other end has taken the last frames and closed too. What still comes is not read.
    pub(super) async fn end(&mut self) {
        while self.stream.flush().await.is_ok() {
            match self.stream.next().await {
                Some(Ok(_)) => {}
                _ => break,
            }
        }
        let _ = self.stream.flush().await;
    }

    /// What the provider did, for the operator; it is told by a close what was wrong.
    fn broken(&mut self, error: Error) -> String {
        match error {
            Error::PayloadTooLong { max_len, .. } => {
                self.close(CloseCode::MESSAGE_TOO_BIG);
                format!("the provider sent a message of more than the limit message_bytes_max of {max_len} bytes")
            }
            Error::Protocol(why) => format!("the provider broke the protocol: {why}"),
            Error::Io(why) => format!("the connection broke: {}", why.kind()),
            _ => "the connection broke".to_owned(),
        }
    }

    fn owe(&mut self, now: Timestamp) {
        self.waiting_since.get_or_insert(now);
        self.waiting = self.waiting.saturating_add(1);
    }
}
