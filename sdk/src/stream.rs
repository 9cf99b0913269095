//! Bodies piece by piece: answers too large to be held at once, those that do not end, and uploads.
//!
//! Nothing is taken off the socket that nobody reads, and writing waits while the provider takes no more:
//!
//! ```no_run
//! # fn main() -> Result<(), wharfage_sdk::Error> {
//! use wharfage_sdk::Request;
//!
//! for event in Request::get("{api}/events").header("Accept", "text/event-stream").open()?.events() {
//!     let event = event?;
//!     println!("{}: {}", event.name, event.data);
//! }
//!
//! let mut upload = Request::put("{api}/files/7").start(None)?;
//! upload.write(b"as much as there is")?;
//! let _answer = upload.finish()?;
//! # Ok(())
//! # }
//! ```
//!
//! A body that is cut short ends with an error, never as if it were whole.

use std::{fmt, io};

use crate::bindings::wharfage::plugin::http as wire;
use crate::http::{Method, Request, Response, endpoint};
use crate::{Error, ErrorKind};

#[cfg(target_arch = "wasm32")]
use crate::bindings::wharfage::plugin::http as import;
#[cfg(not(target_arch = "wasm32"))]
use crate::testing::host::http as import;

/// How much is asked for at once where nobody says.
const READ_BYTES: u32 = 64 << 10;

/// How long a line may be, of text or of an event, and how much data one event may carry.
const LINE_BYTES_MAX: usize = 1 << 20;

/// An answer with a status below 400 whose body is read piece by piece. Dropping it ends it.
#[non_exhaustive]
pub struct Stream {
    /// The HTTP status.
    pub status: u16,
    /// Its header fields, without those that carry credentials or cookies.
    pub headers: Vec<(String, String)>,
    /// The URL that answers, after redirects, masked.
    pub url: String,
    /// How many requests it cost.
    pub attempts: u32,
    /// The provider's id of the request.
    pub request_id: Option<String>,
    method: Method,
    body: import::Body,
    /// What was read and not asked for yet, from `at` on.
    unread: Vec<u8>,
    at: usize,
}

/// Without header fields and body, which are the provider's.
impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream").field("status", &self.status).field("url", &self.url).finish_non_exhaustive()
    }
}

impl Request {
    /// Sends it and waits for the head of an answer with a status below 400; the body stays to be read.
    ///
    /// # Errors
    /// As [`send`](Request::send), but what `[[answers]]` make of a body: it is not read yet.
    pub fn open(self) -> Result<Stream, Error> {
        let request = self.into_wire();
        let opened = import::open(&request).map_err(Error::from_wire)?;
        Ok(Stream {
            status: opened.status,
            headers: opened.headers.into_iter().map(|header| (header.name, header.value)).collect(),
            url: opened.url,
            attempts: opened.attempts,
            request_id: opened.request_id,
            method: request.method,
            body: opened.body,
            unread: Vec::new(),
            at: 0,
        })
    }

    /// Begins a request whose body is written piece by piece. `length` is how many bytes it will have, if that is known;
    /// many providers want it.
    ///
    /// # Errors
    /// As [`send`](Request::send), as far as it is known before the first byte.
    pub fn start(self, length: Option<u64>) -> Result<Upload, Error> {
        let request = self.into_wire();
        let upload = import::start(&request, length).map_err(Error::from_wire)?;
        Ok(Upload { request, upload })
    }
}

impl Stream {
    /// The value of a header field, its name compared without regard to case; the first, if there are several.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(own, _)| own.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The next bytes, at least one and at most `bytes_max`; none at the end. They come when their line ends, when 512 more
    /// are there, or with the end, for a secret among them is masked.
    ///
    /// # Errors
    /// `network` when the body is cut short, `timeout` when the provider stands still, `too-large` beyond the
    /// connection's `stream_bytes`.
    pub fn read(&mut self, bytes_max: u32) -> Result<Vec<u8>, Error> {
        if self.at < self.unread.len() {
            let end = self.unread.len().min(self.at.saturating_add(usize::try_from(bytes_max).unwrap_or(usize::MAX)));
            let piece = self.unread[self.at..end].to_vec();
            self.at = end;
            return Ok(piece);
        }
        self.body.read(bytes_max).map_err(Error::from_wire)
    }

    /// The next line without its end, or nothing when there is none; a last one need not be ended. Lines end in LF or CRLF.
    ///
    /// # Errors
    /// As [`read`](Self::read), and `too-large` for a line beyond a mebibyte.
    pub fn line(&mut self) -> Result<Option<Vec<u8>>, Error> {
        let mut line = Vec::new();
        loop {
            if self.at == self.unread.len() && !self.fill()? {
                return Ok((!line.is_empty()).then_some(line));
            }
            let rest = &self.unread[self.at..];
            let (taken, is_over) = match rest.iter().position(|byte| *byte == b'\n') {
                Some(end) => (end, true),
                None => (rest.len(), false),
            };
            line.extend_from_slice(&rest[..taken]);
            self.at += taken + usize::from(is_over);
            if line.len() > LINE_BYTES_MAX {
                return Err(self.error(ErrorKind::TooLarge, "a line of the answer is longer than a mebibyte"));
            }
            if is_over {
                line.pop_if(|byte| *byte == b'\r');
                return Ok(Some(line));
            }
        }
    }

    /// The body as server-sent events (WHATWG HTML, 9.2), until it ends.
    pub fn events(self) -> Events {
        Events { stream: self, reader: EventReader::default(), is_over: false }
    }

    /// An error about this answer: its status, endpoint and request id are filled in.
    pub fn error(&self, kind: ErrorKind, message: impl Into<String>) -> Error {
        let mut error =
            Error::new(kind, message).with_status(self.status).with_endpoint(endpoint(self.method, &self.url));
        error.request_id.clone_from(&self.request_id);
        error.attempts = self.attempts;
        error
    }

    fn fill(&mut self) -> Result<bool, Error> {
        self.unread = self.body.read(READ_BYTES).map_err(Error::from_wire)?;
        self.at = 0;
        Ok(!self.unread.is_empty())
    }
}

impl io::Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        let most = u32::try_from(buffer.len()).unwrap_or(u32::MAX);
        let piece = Stream::read(self, most).map_err(io::Error::other)?;
        buffer[..piece.len()].copy_from_slice(&piece);
        Ok(piece.len())
    }
}

/// A request whose body is written piece by piece. Dropping it before [`finish`](Upload::finish) breaks it off.
pub struct Upload {
    request: wire::Request,
    upload: import::Upload,
}

impl fmt::Debug for Upload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upload").field("request", &self.request).finish_non_exhaustive()
    }
}

impl Upload {
    /// Writes all of these bytes, and waits while the provider takes no more.
    ///
    /// # Errors
    /// What ended the request: also a provider's refusal that came before the end. Nothing more can be written then.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.upload.write(bytes).map_err(Error::from_wire)
    }

    /// Ends the body and waits for an answer with a status below 400.
    ///
    /// # Errors
    /// As [`send`](Request::send). A write whose answer was lost midway is `outcome-unknown`: it is never sent twice.
    pub fn finish(self) -> Result<Response, Error> {
        let Self { request, upload } = self;
        import::Upload::finish(upload).map(|response| Response::from_wire(&request, response)).map_err(Error::from_wire)
    }
}

/// What flushes does nothing: what was written is on its way.
impl io::Write for Upload {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Upload::write(self, bytes).map_err(io::Error::other)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// One server-sent event.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServerEvent {
    /// Its type; `message` where the provider names none.
    pub name: String,
    /// Its data; several lines are joined with LF.
    pub data: String,
    /// The last id that was given, by this event or one before: where to go on, in the field `Last-Event-ID`.
    pub id: String,
    /// How long to wait before coming back, as last told.
    pub retry_ms: Option<u64>,
}

/// The events of a stream; see [`Stream::events`]. It ends with the body, or after the first error.
pub struct Events {
    stream: Stream,
    reader: EventReader,
    is_over: bool,
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events").field("stream", &self.stream).finish_non_exhaustive()
    }
}

impl Events {
    /// The last id that was given, also by what was no event: where to go on.
    pub fn last_id(&self) -> &str {
        &self.reader.id
    }

    /// How long the provider wants one to wait before coming back, as last told.
    pub fn retry_ms(&self) -> Option<u64> {
        self.reader.retry_ms
    }
}

impl Iterator for Events {
    type Item = Result<ServerEvent, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.is_over {
            while self.stream.at < self.stream.unread.len() {
                let byte = self.stream.unread[self.stream.at];
                self.stream.at += 1;
                match self.reader.push(byte) {
                    Ok(None) => {}
                    Ok(Some(event)) => return Some(Ok(event)),
                    Err(TooLong) => {
                        self.is_over = true;
                        let message = "a server-sent event is larger than a mebibyte";
                        return Some(Err(self.stream.error(ErrorKind::TooLarge, message)));
                    }
                }
            }
            match self.stream.fill() {
                Ok(true) => {}
                // An event whose empty line did not come is not one.
                Ok(false) => self.is_over = true,
                Err(error) => {
                    self.is_over = true;
                    return Some(Err(error));
                }
            }
        }
        None
    }
}

/// Reads events byte by byte, so that it does not matter how they are cut.
#[derive(Default)]
struct EventReader {
    line: Vec<u8>,
    /// Whether the byte before was a CR: an LF after it ends no further line.
    after_cr: bool,
    /// Whether the first line, which may begin with a byte order mark, is behind.
    has_begun: bool,
    name: String,
    data: String,
    id: String,
    retry_ms: Option<u64>,
}

struct TooLong;

impl EventReader {
    fn push(&mut self, byte: u8) -> Result<Option<ServerEvent>, TooLong> {
        let after_cr = std::mem::replace(&mut self.after_cr, byte == b'\r');
        match byte {
            b'\n' if after_cr => Ok(None),
            b'\n' | b'\r' => self.end_line(),
            _ if self.line.len() + self.data.len() >= LINE_BYTES_MAX => Err(TooLong),
            _ => {
                self.line.push(byte);
                Ok(None)
            }
        }
    }

    fn end_line(&mut self) -> Result<Option<ServerEvent>, TooLong> {
        let line = std::mem::take(&mut self.line);
        let line = String::from_utf8_lossy(&line);
        let is_first = !std::mem::replace(&mut self.has_begun, true);
        let line = if is_first { line.strip_prefix('\u{feff}').unwrap_or(&line) } else { &line };
        if line.is_empty() {
            return Ok(self.dispatch());
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => self.name = value.to_owned(),
            "data" if self.data.len() + value.len() >= LINE_BYTES_MAX => return Err(TooLong),
            "data" => {
                self.data.push_str(value);
                self.data.push('\n');
            }
            "id" if !value.contains('\0') => self.id = value.to_owned(),
            "retry" if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) => {
                self.retry_ms = value.parse().ok();
            }
            // A comment, or what nobody knows.
            _ => {}
        }
        Ok(None)
    }

    fn dispatch(&mut self) -> Option<ServerEvent> {
        let name = std::mem::take(&mut self.name);
        let mut data = std::mem::take(&mut self.data);
        // The LF that the last line of data brought; without any line there is no event.
        data.pop()?;
        let name = if name.is_empty() { "message".to_owned() } else { name };
        Some(ServerEvent { name, data, id: self.id.clone(), retry_ms: self.retry_ms })
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use proptest::prelude::*;

    use super::*;
    use crate::testing::with_exchanges;

    fn read(bytes: &[u8]) -> Vec<(String, String, String)> {
        let mut reader = EventReader::default();
        let events = bytes.iter().filter_map(|byte| reader.push(*byte).ok().flatten());
        events.map(|event| (event.name, event.data, event.id)).collect()
    }

    fn event(name: &str, data: &str, id: &str) -> (String, String, String) {
        (name.to_owned(), data.to_owned(), id.to_owned())
    }

    /// The examples of the standard, and what it says besides.
    #[test]
    fn events_are_read_as_the_standard_says() {
        for (text, events) in [
            ("data: YHOO\ndata: +2\ndata: 10\n\n", vec![event("message", "YHOO\n+2\n10", "")]),
            (
                ": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n\n",
                vec![
                    event("message", "first event", "1"),
                    event("message", "second event", ""),
                    event("message", " third event", ""),
                ],
            ),
            ("data\n\ndata\ndata\n\ndata:", vec![event("message", "", ""), event("message", "\n", "")]),
            ("data:test\n\ndata: test\n\n", vec![event("message", "test", ""), event("message", "test", "")]),
            (
                "event: add\rdata: 1\r\revent: add\r\ndata: 2\r\n\r\n",
                vec![event("add", "1", ""), event("add", "2", "")],
            ),
            ("\u{feff}data: 1\n\n\u{feff}data: 2\n\n", vec![event("message", "1", "")]),
            ("event: gone\n\ndata: 1\n\n", vec![event("message", "1", "")]),
            (
                "id: a\0b\nid: 7\ndata: 1\n\nid: 8\n\ndata: 2\n\n",
                vec![event("message", "1", "7"), event("message", "2", "8")],
            ),
            ("data: never ended\n", vec![]),
            ("Data: 1\n data: 2\n\n", vec![]),
        ] {
            assert_eq!(read(text.as_bytes()), events, "{text:?}");
        }
        let mut reader = EventReader::default();
        for text in ["retry: 3000\n", "retry: soon\n", "retry:\n", "retry: 1.5\n", "retry: 99999999999999999999999\n"] {
            text.bytes().for_each(|byte| assert!(matches!(reader.push(byte), Ok(None))));
            assert_eq!(reader.retry_ms, if text.len() > 30 { None } else { Some(3_000) }, "{text}");
        }
    }

    #[test]
    fn an_event_has_a_limit() {
        let mut reader = EventReader::default();
        let endless = b"data: x\n".iter().cycle().take(8 << 20);
        assert!(endless.map(|byte| reader.push(*byte)).any(|pushed| pushed.is_err()), "lines without end");
        let mut reader = EventReader::default();
        assert!(std::iter::repeat_n(b'x', 2 << 20).map(|byte| reader.push(byte)).any(|pushed| pushed.is_err()));
    }

    proptest! {
        #[test]
        fn no_bytes_break_the_reader(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            read(&bytes);
        }

        #[test]
        fn the_end_of_a_line_does_not_matter(
            lines in prop::collection::vec("(data|id|event|other)?(: ?)?[a-z:]{0,4}", 0..12),
        ) {
            let with = |end: &str| read((lines.join(end) + end + end).as_bytes());
            prop_assert_eq!(with("\n"), with("\r"));
            prop_assert_eq!(with("\n"), with("\r\n"));
        }
    }

    fn opened(text: &str, run: impl FnOnce(Stream)) {
        let exchange = serde_json::json!([{
            "request": {"method": "GET", "url": "{api}/x"},
            "response": {"status": 200, "headers": {"X-A": "b"}, "text": text},
        }]);
        with_exchanges(&exchange.to_string(), || run(Request::get("{api}/x").open().unwrap()));
    }

    #[test]
    fn a_fixture_answers_piece_by_piece() {
        opened("first\r\n\nthird", |mut stream| {
            assert_eq!((stream.status, stream.header("x-a")), (200, Some("b")));
            let line = |text: &str| Some(text.as_bytes().to_vec());
            assert_eq!(stream.line().unwrap(), line("first"));
            assert_eq!(stream.line().unwrap(), line(""));
            assert_eq!(stream.read(2).unwrap(), b"th");
            let mut rest = String::new();
            stream.read_to_string(&mut rest).unwrap();
            assert_eq!((rest.as_str(), stream.line().unwrap(), stream.read(9).unwrap().len()), ("ird", None, 0));
        });
        opened("id: 1\ndata: a\n\nretry: 5\nid: 2\n\ndata: b", |stream| {
            let mut events = stream.events();
            assert_eq!(events.next().unwrap().unwrap().data, "a");
            assert!(events.next().is_none());
            assert_eq!((events.last_id(), events.retry_ms()), ("2", Some(5)));
        });
    }

    #[test]
    fn a_fixture_takes_an_upload() {
        let exchange = serde_json::json!([
            {"request": {"method": "PUT", "url": "{api}/x", "text": "one two"}, "response": {"status": 201}},
            {"request": {"method": "PUT", "url": "{api}/x"}, "response": {"status": 413}},
        ]);
        with_exchanges(&exchange.to_string(), || {
            let mut upload = Request::put("{api}/x").start(Some(7)).unwrap();
            upload.write(b"one ").unwrap();
            upload.write(b"two").unwrap();
            assert_eq!(upload.finish().unwrap().status, 201);
            assert_eq!(Request::put("{api}/x").start(None).unwrap().finish().unwrap_err().status, Some(413));
        });
    }
}
