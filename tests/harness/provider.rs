//! A provider made of a plain socket, so that it can do what no server library would let it: reset, cut a body short,
//! dribble, never answer, answer garbage or without end.
//!
//! It keeps every request as it arrived, with the time on a clock where it was given one, and counts what a test wants to
//! know of it: bytes written, writes executed, requests beyond its limit.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use wharfage::{Clock, ManualClock, Timestamp};

/// A port where nobody listens, and its URL. Nobody else gets it as long as the socket is held.
///
/// # Panics
/// When there is none.
pub fn nobody() -> (TcpSocket, String) {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind(SocketAddr::from(([127, 0, 0, 1], 0))).expect("a free port");
    let address = socket.local_addr().expect("it has an address");
    (socket, format!("http://{address}"))
}

/// A listening provider. It ends when it is dropped.
pub struct Provider {
    address: SocketAddr,
    stage: Arc<Stage>,
    listening: JoinHandle<()>,
}

/// A request as it arrived.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Which request of this provider it is; the first is 1.
    pub number: usize,
    /// Which connection it came over; the first is 1.
    pub connection: u64,
    /// Which request of its connection it is; the first is 1.
    pub nth: usize,
    /// How many requests of this provider are not answered yet, this one included.
    pub under_way: usize,
    /// The method.
    pub method: String,
    /// Path and query as they were written.
    pub target: String,
    /// The header fields in their order.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
    /// The time on the host's clock, if the provider was given it.
    pub at: Option<Timestamp>,
}

/// What the provider does with a request.
#[derive(Clone, Debug)]
pub struct Reply(Shape);

#[derive(Clone, Debug)]
enum Shape {
    Whole { status: u16, headers: Vec<(String, String)>, body: Vec<u8> },
    Parts(Vec<Part>),
}

#[derive(Clone, Debug)]
enum Part {
    Write(Vec<u8>),
    /// Until this many requests were seen.
    UntilSeen(usize),
    /// For as good as ever ([`FOR_EVER_BYTES`]), or until the client goes.
    Repeat(Vec<u8>),
    /// So many milliseconds on the provider's clock.
    Wait(u64),
    Count(Count),
    Reset,
    Close,
    /// Neither answers nor closes.
    Hang,
}

/// What a provider counts of its own answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Count {
    /// Writes that were done.
    Executed,
    /// Requests beyond what it allows.
    OverLimit,
    /// Requests while it had trouble.
    InTrouble,
}

/// More than anybody should read, and little enough for the machine of whoever does.
const FOR_EVER_BYTES: u64 = 256 << 20;

/// What a provider makes of a request.
pub type Answer = dyn Fn(&Seen) -> Reply + Send + Sync;

struct Stage {
    answer: Box<Answer>,
    clock: Option<Arc<dyn Clock>>,
    seen: Mutex<Vec<Seen>>,
    count: watch::Sender<usize>,
    connections: AtomicU64,
    bytes_written: AtomicU64,
    under_way: AtomicUsize,
    counts: [AtomicUsize; 3],
}

impl Provider {
    /// Answers each request with what `answer` makes of it.
    pub async fn answering(answer: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Self {
        Self::start(Box::new(answer), None).await
    }

    /// Answers the first request with the first reply and so on; the last one is for all that follow.
    pub async fn scripted(replies: impl IntoIterator<Item = Reply>) -> Self {
        Self::start(script(replies), None).await
    }

    /// Like [`Provider::scripted`], and notes when each request came.
    pub async fn scripted_at(clock: &ManualClock, replies: impl IntoIterator<Item = Reply>) -> Self {
        Self::start(script(replies), Some(Arc::new(clock.clone()))).await
    }

    /// Like [`Provider::answering`] on a clock of any kind: when each request came, and what passes while it waits.
    pub async fn answering_at(clock: Arc<dyn Clock>, answer: Box<Answer>) -> Self {
        Self::start(answer, Some(clock)).await
    }

    async fn start(answer: Box<Answer>, clock: Option<Arc<dyn Clock>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it has an address");
        let stage = Arc::new(Stage {
            answer,
            clock,
            seen: Mutex::default(),
            count: watch::Sender::new(0),
            connections: AtomicU64::new(0),
            bytes_written: AtomicU64::new(0),
            under_way: AtomicUsize::new(0),
            counts: Default::default(),
        });
        let listening = tokio::spawn({
            let stage = stage.clone();
            async move {
                let mut connections = tokio::task::JoinSet::new();
                while let Ok((stream, _)) = listener.accept().await {
                    while connections.try_join_next().is_some() {}
                    connections.spawn(serve(stage.clone(), stream));
                }
            }
        });
        Self { address, stage, listening }
    }

    /// `http://127.0.0.1:<port>`
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// The requests so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.stage.seen().clone()
    }

    /// Forgets the requests so far, where more come than can be kept.
    pub fn forget(&self) {
        self.stage.seen().clear();
    }

    /// How many requests there were.
    pub fn count(&self) -> usize {
        self.stage.seen().len()
    }

    /// How many connections were opened.
    pub fn connections(&self) -> u64 {
        self.stage.connections.load(Ordering::SeqCst)
    }

    /// How many bytes it has put on its sockets.
    pub fn bytes_written(&self) -> u64 {
        self.stage.bytes_written.load(Ordering::SeqCst)
    }

    /// How many of its answers counted so.
    pub fn counted(&self, count: Count) -> usize {
        self.stage.counts[count as usize].load(Ordering::SeqCst)
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

fn script(replies: impl IntoIterator<Item = Reply>) -> Box<Answer> {
    let replies: Vec<Reply> = replies.into_iter().collect();
    Box::new(move |seen| replies.get(seen.number - 1).or(replies.last()).expect("a script has a reply").clone())
}

impl Stage {
    fn seen(&self) -> std::sync::MutexGuard<'_, Vec<Seen>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seen {
    /// The value of a header field.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(own, _)| own.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// All of it as text: what an attacker on the other side would read.
    pub fn text(&self) -> String {
        let headers: String = self.headers.iter().map(|(name, value)| format!("{name}: {value}\n")).collect();
        format!("{} {}\n{headers}\n{}", self.method, self.target, String::from_utf8_lossy(&self.body))
    }
}

impl Reply {
    /// A whole answer with an empty body.
    pub fn status(status: u16) -> Self {
        Self(Shape::Whole { status, headers: Vec::new(), body: Vec::new() })
    }

    /// 200 with JSON.
    pub fn json(body: &Value) -> Self {
        Self::status(200).header("content-type", "application/json").body(body.to_string())
    }

    /// A redirect.
    pub fn redirect(status: u16, location: &str) -> Self {
        Self::status(status).header("location", location)
    }

    /// With this header field.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        if let Shape::Whole { headers, .. } = &mut self.0 {
            headers.push((name.to_owned(), value.to_owned()));
        }
        self
    }

    /// With this body.
    pub fn body(mut self, text: impl Into<Vec<u8>>) -> Self {
        if let Shape::Whole { body, .. } = &mut self.0 {
            *body = text.into();
        }
        self
    }

    /// Held back until the provider has seen so many requests.
    pub fn once_seen(self, requests: usize) -> Self {
        self.led_by(Part::UntilSeen(requests))
    }

    /// These bytes, then the end of the connection.
    pub fn raw(bytes: impl Into<Vec<u8>>) -> Self {
        Self(Shape::Parts(vec![Part::Write(bytes.into()), Part::Close]))
    }

    /// A body that ends before its declared length.
    pub fn cut() -> Self {
        Self::raw(&b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\ncontent-type: application/json\r\n\r\n{\"half\":"[..])
    }

    /// The connection is torn down without a word.
    pub fn reset() -> Self {
        Self(Shape::Parts(vec![Part::Reset]))
    }

    /// The connection is closed in an orderly way without a word.
    pub fn closed() -> Self {
        Self(Shape::Parts(vec![Part::Close]))
    }

    /// Nothing, ever.
    pub fn never() -> Self {
        Self(Shape::Parts(vec![Part::Hang]))
    }

    /// These bytes, then a connection that is torn down.
    pub fn raw_then_reset(bytes: impl Into<Vec<u8>>) -> Self {
        Self(Shape::Parts(vec![Part::Write(bytes.into()), Part::Reset]))
    }

    /// These pieces as the chunks of an answer of this type, each written by itself; the last is followed by the end.
    pub fn chunked<'a>(content_type: &str, pieces: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let head = format!("HTTP/1.1 200 OK\r\ncontent-type: {content_type}\r\ntransfer-encoding: chunked\r\n\r\n");
        let chunk = |piece: &[u8]| [format!("{:x}\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat();
        let mut parts = vec![Part::Write(head.into_bytes())];
        parts.extend(pieces.into_iter().map(|piece| Part::Write(chunk(piece))));
        parts.push(Part::Write(b"0\r\n\r\n".to_vec()));
        Self(Shape::Parts(parts))
    }

    /// And then nothing more, neither an end nor a close.
    pub fn then_never(self) -> Self {
        let mut parts = self.parts();
        parts.pop();
        parts.push(Part::Hang);
        Self(Shape::Parts(parts))
    }

    /// A head at once, and a body of which a piece follows every so many milliseconds on the provider's clock.
    pub fn in_pieces<'a>(pieces: impl IntoIterator<Item = &'a [u8]>, every_ms: u64) -> Self {
        let pieces: Vec<&[u8]> = pieces.into_iter().collect();
        let length: usize = pieces.iter().map(|piece| piece.len()).sum();
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n");
        let body = pieces.iter().flat_map(|piece| [Part::Wait(every_ms), Part::Write(piece.to_vec())]);
        Self(Shape::Parts(std::iter::once(Part::Write(head.into_bytes())).chain(body).collect()))
    }

    /// Not before so many milliseconds have passed on the provider's clock.
    pub fn after_ms(self, ms: u64) -> Self {
        self.led_by(Part::Wait(ms))
    }

    /// Whether it is a whole answer with a status of success.
    pub fn is_success(&self) -> bool {
        matches!(self.0, Shape::Whole { status: 200..300, .. })
    }

    /// Counted so.
    pub fn counted(self, count: Count) -> Self {
        self.led_by(Part::Count(count))
    }

    /// And then the connection is closed, without having said so.
    pub fn then_closed(self) -> Self {
        let mut parts = self.parts();
        parts.push(Part::Close);
        Self(Shape::Parts(parts))
    }

    fn led_by(self, part: Part) -> Self {
        let mut parts = self.parts();
        parts.insert(0, part);
        Self(Shape::Parts(parts))
    }

    /// A head, some bytes one by one, and then nothing more although more is declared.
    pub fn dribble() -> Self {
        let mut parts = vec![Part::Write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n".to_vec())];
        parts.extend(b"{\"slow\"".iter().map(|byte| Part::Write(vec![*byte])));
        parts.push(Part::Hang);
        Self(Shape::Parts(parts))
    }

    /// A length too large, declared; the bytes follow without end.
    pub fn declared(bytes: u64) -> Self {
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {bytes}\r\n\r\n");
        Self(Shape::Parts(vec![Part::Write(head.into_bytes()), Part::Repeat(vec![b'x'; 16 << 10]), Part::Close]))
    }

    /// Chunks without end.
    pub fn endless() -> Self {
        let chunk = [&b"4000\r\n"[..], &[b'x'; 16 << 10], b"\r\n"].concat();
        let head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
        Self(Shape::Parts(vec![Part::Write(head), Part::Repeat(chunk), Part::Close]))
    }

    /// So many zeros, packed.
    pub fn gzip_bomb(bytes: usize) -> Self {
        use std::io::Write;
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        let zeros = vec![0; 64 << 10];
        for _ in 0..bytes / zeros.len() {
            encoder.write_all(&zeros).expect("memory takes it");
        }
        Self::status(200).header("content-encoding", "gzip").body(encoder.finish().expect("memory takes it"))
    }

    fn parts(self) -> Vec<Part> {
        match self.0 {
            Shape::Parts(parts) => parts,
            Shape::Whole { status, headers, body } => {
                let mut head = format!("HTTP/1.1 {status} Said\r\n");
                for (name, value) in &headers {
                    head.push_str(&format!("{name}: {value}\r\n"));
                }
                if !matches!(status, 204 | 304) && !headers.iter().any(|(name, _)| name == "content-length") {
                    head.push_str(&format!("content-length: {}\r\n", body.len()));
                }
                head.push_str("\r\n");
                vec![Part::Write(head.into_bytes()), Part::Write(body)]
            }
        }
    }
}

/// One connection, request after request.
async fn serve(stage: Arc<Stage>, mut stream: TcpStream) {
    let connection = stage.connections.fetch_add(1, Ordering::SeqCst) + 1;
    let _ = stream.set_nodelay(true);
    let mut unread = Vec::new();
    let mut nth = 0;
    while let Some(mut seen) = read(&mut stream, &mut unread).await {
        nth += 1;
        seen.connection = connection;
        seen.nth = nth;
        let under_way = UnderWay::begin(&stage);
        seen.under_way = under_way.number;
        seen.at = stage.clock.as_ref().map(|clock| clock.now());
        let is_head = seen.method == "HEAD";
        {
            let mut all = stage.seen();
            seen.number = all.len() + 1;
            all.push(seen.clone());
        }
        stage.count.send_modify(|count| *count += 1);
        let mut parts = (stage.answer)(&seen).parts();
        if is_head {
            parts.truncate(1);
        }
        for part in parts {
            if act(&stage, &mut stream, part).await.is_break() {
                return;
            }
        }
        drop(under_way);
    }
}

/// A request that is being answered.
struct UnderWay<'a> {
    stage: &'a Stage,
    number: usize,
}

impl<'a> UnderWay<'a> {
    fn begin(stage: &'a Stage) -> Self {
        Self { stage, number: stage.under_way.fetch_add(1, Ordering::SeqCst) + 1 }
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.stage.under_way.fetch_sub(1, Ordering::SeqCst);
    }
}

async fn act(stage: &Stage, stream: &mut TcpStream, part: Part) -> std::ops::ControlFlow<()> {
    use std::ops::ControlFlow::{Break, Continue};
    match part {
        Part::Write(bytes) => {
            if stream.write_all(&bytes).await.is_err() {
                return Break(());
            }
            stage.bytes_written.fetch_add(bytes.len() as u64, Ordering::SeqCst);
            Continue(())
        }
        Part::Repeat(bytes) => {
            let mut left = FOR_EVER_BYTES;
            while left > 0 && stream.write_all(&bytes).await.is_ok() {
                stage.bytes_written.fetch_add(bytes.len() as u64, Ordering::SeqCst);
                left = left.saturating_sub(bytes.len() as u64);
                // Asked only so that a clock which watches for quiet sees that there is none.
                let _ = stage.clock.as_ref().map(|clock| clock.now());
            }
            Break(())
        }
        Part::Wait(ms) => {
            let clock = stage.clock.as_ref().expect("a provider that lets time pass is given a clock");
            clock.sleep_until(clock.now().plus(ms)).await;
            Continue(())
        }
        Part::Count(count) => {
            stage.counts[count as usize].fetch_add(1, Ordering::SeqCst);
            Continue(())
        }
        Part::UntilSeen(requests) => {
            let mut count = stage.count.subscribe();
            let _ = count.wait_for(|seen| *seen >= requests).await;
            Continue(())
        }
        Part::Reset => {
            let _ = stream.set_zero_linger();
            Break(())
        }
        Part::Close => {
            let _ = stream.shutdown().await;
            Break(())
        }
        Part::Hang => {
            let mut nothing = [0; 1024];
            while stream.read(&mut nothing).await.is_ok_and(|read| read > 0) {}
            Break(())
        }
    }
}

/// The next request, or nothing when the client is gone.
async fn read(stream: &mut TcpStream, unread: &mut Vec<u8>) -> Option<Seen> {
    let end = loop {
        if let Some(at) = unread.windows(4).position(|window| window == b"\r\n\r\n") {
            break at;
        }
        more(stream, unread).await?;
    };
    let head = String::from_utf8_lossy(&unread[..end]).into_owned();
    unread.drain(..end + 4);
    let mut lines = head.split("\r\n");
    let mut first = lines.next()?.split(' ');
    let (method, target) = (first.next()?.to_owned(), first.next()?.to_owned());
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
        .collect();
    let mut seen =
        Seen { number: 0, connection: 0, nth: 0, under_way: 0, method, target, headers, body: Vec::new(), at: None };
    let length: usize = seen.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    // As a target may say, a provider can make up its mind before it has read all.
    let patience = seen.target.split_once("patience=").and_then(|(_, bytes)| bytes.parse().ok()).unwrap_or(usize::MAX);
    if seen.header("transfer-encoding") == Some("chunked") {
        while seen.body.len() < patience {
            let size = usize::from_str_radix(&line(stream, unread).await?, 16).ok()?;
            while unread.len() < size + 2 {
                more(stream, unread).await?;
            }
            seen.body.extend(unread.drain(..size));
            unread.drain(..2);
            if size == 0 {
                break;
            }
        }
        return Some(seen);
    }
    let length = length.min(patience);
    while unread.len() < length {
        more(stream, unread).await?;
    }
    seen.body = unread.drain(..length).collect();
    Some(seen)
}

/// A line of its own, as between chunks.
async fn line(stream: &mut TcpStream, unread: &mut Vec<u8>) -> Option<String> {
    loop {
        if let Some(at) = unread.windows(2).position(|window| window == b"\r\n") {
            let line = unread.drain(..at + 2).collect::<Vec<u8>>();
            return Some(String::from_utf8_lossy(&line).trim().to_owned());
        }
        more(stream, unread).await?;
    }
}

async fn more(stream: &mut TcpStream, unread: &mut Vec<u8>) -> Option<()> {
    let read = stream.read_buf(unread).await.ok()?;
    (read > 0).then_some(())
}
