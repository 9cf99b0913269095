//! A listener of our own: it takes connections and reads requests within limits, and leaves to its owner what they are
//! answered.
//!
//! Nobody out there is known, so everything has an end: a head, a quiet connection and an answer that nobody reads by
//! time, a head and the number of connections by size. It speaks HTTP/1.1 without TLS; a proxy in front does that.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;

use axum::body::{Body, Bytes};
use axum::http::Request;
use axum::response::Response;
use futures_util::{Stream, StreamExt as _, stream};
pub(crate) use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinHandle, JoinSet};

use crate::time::{Clock, Timestamp};

/// Milliseconds to wait where a connection cannot be taken, as when there are no more descriptors.
const PAUSE_MS: u64 = 100;

/// The least bytes of a head that the HTTP crate can work with.
const HEAD_BYTES_MIN: usize = 8_192;

/// Whoever answers what arrives at a listener.
pub(crate) trait Answers: Send + Sync + 'static {
    /// What may be taken, as it stands now.
    fn limits(&self) -> ListenerLimits;

    /// What time it is.
    fn clock(&self) -> &Arc<dyn Clock>;

    /// Answers one request.
    fn answer(self: &Arc<Self>, request: Request<Incoming>, line: &Line) -> impl Future<Output = Response> + Send;
}

/// What a listener takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ListenerLimits {
    /// Connections at once; further ones wait.
    pub(crate) connections: u64,
    /// Milliseconds that the first head of a connection may take.
    pub(crate) head_ms: u64,
    /// Milliseconds from an answer to the end of the next head, and those for which nobody may read what is sent.
    pub(crate) idle_ms: u64,
    /// Bytes of a head.
    pub(crate) head_bytes: u64,
    /// Header fields of one.
    pub(crate) headers: u64,
    /// Milliseconds that work under way has to end when it closes.
    pub(crate) drain_ms: u64,
}

/// A listener at work; dropping it closes it.
pub(crate) struct Listener {
    address: SocketAddr,
    closing: watch::Sender<bool>,
    server: JoinHandle<()>,
}

/// A connection, as whoever answers on it sees it.
pub(crate) struct Line {
    /// Until when the other side must have done its part; no time while it is this side's turn.
    until: watch::Sender<Option<Timestamp>>,
    closing: watch::Receiver<bool>,
    clock: Arc<dyn Clock>,
    idle_ms: u64,
}

impl Listener {
    /// Listens at `address`; port 0 stands for a free one.
    ///
    /// # Errors
    /// When somebody else listens there.
    pub(crate) async fn open(address: SocketAddr, owner: Arc<impl Answers>) -> std::io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let closing = watch::Sender::new(false);
        let server = tokio::spawn(accept(listener, owner, closing.subscribe()));
        Ok(Self { address, closing, server })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// What takes connections, to see whether it still does.
    pub(crate) fn worker(&self) -> AbortHandle {
        self.server.abort_handle()
    }

    /// Takes nothing more, and ends when what is under way is answered or its time to drain is over.
    pub(crate) async fn close(mut self) {
        let _ = self.closing.send(true);
        let _ = (&mut self.server).await;
    }
}

/// What helps where an address of this table cannot be listened at.
pub(crate) fn another(error: &std::io::Error, table: &str) -> String {
    let first = match error.kind() {
        std::io::ErrorKind::AddrNotAvailable => "This machine has no such address: set one that it has",
        std::io::ErrorKind::PermissionDenied => "This port is the system's: set another address",
        _ => "Stop what listens there, or set another address",
    };
    format!("{first} in [{table}]:   listen = \"127.0.0.1:PORT\"")
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Line {
    /// A body that is made piece by piece. It ends when the listener closes, and whoever does not read it is cut off.
    pub(crate) fn pour(&self, pieces: impl Stream<Item = Bytes> + Send + 'static) -> Body {
        let (until, clock, idle_ms, mut closing) =
            (self.until.clone(), self.clock.clone(), self.idle_ms, self.closing.clone());
        let closed = async move {
            let _ = closing.wait_for(|is_closing| *is_closing).await;
        };
        let mut pieces = Box::pin(pieces.take_until(Box::pin(closed)));
        Body::from_stream(stream::poll_fn(move |context| {
            let piece = pieces.as_mut().poll_next(context);
            // Whoever asks for the next piece has taken those before it.
            until.send_replace(match piece {
                Poll::Pending => None,
                Poll::Ready(_) => Some(clock.now().plus(idle_ms)),
            });
            piece.map(|piece| piece.map(Ok::<_, Infallible>))
        }))
    }
}

/// A limit as the machine counts.
pub(crate) fn bounded(limit: u64) -> usize {
    usize::try_from(limit).unwrap_or(usize::MAX).min(tokio::sync::Semaphore::MAX_PERMITS)
}

/// Takes connections, never more at once than may be; the others wait in the system's queue.
async fn accept(listener: TcpListener, owner: Arc<impl Answers>, mut closing: watch::Receiver<bool>) {
    let clock = owner.clock().clone();
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let is_closing = closing.clone();
        let has_room = (connections.len() as u64) < owner.limits().connections;
        let taken = tokio::select! {
            biased;
            _ = closing.wait_for(|is_closing| *is_closing) => break,
            _ = connections.join_next(), if !has_room => continue,
            taken = listener.accept(), if has_room => taken,
        };
        match taken {
            Ok((stream, _)) => drop(connections.spawn(serve(stream, owner.clone(), is_closing))),
            Err(error) => {
                tracing::warn!(target: "wharfage::serve", "a connection cannot be taken: {error}");
                clock.sleep_until(clock.now().plus(PAUSE_MS)).await;
            }
        }
    }
    drop(listener);
    let end = clock.alarm(clock.now().plus(owner.limits().drain_ms));
    let drained = async { while connections.join_next().await.is_some() {} };
    // What is not over by then is cut off when the set goes.
    tokio::select! {
        () = drained => {}
        () = end => {}
    }
}

/// Serves one connection until it is closed, or too slow.
async fn serve(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    owner: Arc<impl Answers>,
    mut closing: watch::Receiver<bool>,
) {
    let ListenerLimits { head_ms, idle_ms, head_bytes, headers, .. } = owner.limits();
    let clock = owner.clock().clone();
    // Until when the next head has to be there; no time while a request is worked on, which has times of its own.
    let (until, mut waits) = watch::channel(Some(clock.now().plus(head_ms)));
    let line = Arc::new(Line { until, closing: closing.clone(), clock: clock.clone(), idle_ms });
    let taken = service_fn(|request: Request<Incoming>| {
        let (owner, line) = (owner.clone(), line.clone());
        async move {
            line.until.send_replace(None);
            let response = owner.answer(request, &line).await;
            line.until.send_replace(Some(line.clock.now().plus(idle_ms)));
            Ok::<_, Infallible>(response)
        }
    });
    let connection = http1::Builder::new()
        .max_buf_size(bounded(head_bytes).max(HEAD_BYTES_MIN))
        .max_headers(bounded(headers))
        .half_close(false)
        .serve_connection(TokioIo::new(stream), taken);
    let mut connection = pin!(connection);
    let mut is_closing = false;
    loop {
        let until = *waits.borrow_and_update();
        let alarm: Pin<Box<dyn Future<Output = ()> + Send>> = match until {
            Some(at) => clock.alarm(at),
            None => Box::pin(std::future::pending()),
        };
        tokio::select! {
            biased;
            ended = connection.as_mut() => {
                if let Err(error) = ended {
                    tracing::debug!(target: "wharfage::serve", "a connection ended: {error}");
                }
                return;
            }
            _ = waits.changed() => {}
            () = alarm => return,
            _ = closing.wait_for(|is_closing| *is_closing), if !is_closing => {
                is_closing = true;
                connection.as_mut().graceful_shutdown();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::*;
    use crate::time::ManualClock;

    const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n";

    /// Pours a kilobyte a second, for ever.
    struct Spring {
        clock: Arc<dyn Clock>,
        poured: Arc<AtomicU64>,
    }

    impl Answers for Spring {
        fn limits(&self) -> ListenerLimits {
            ListenerLimits {
                connections: 4,
                head_ms: 10_000,
                idle_ms: 30_000,
                head_bytes: 8_192,
                headers: 20,
                drain_ms: 5_000,
            }
        }

        fn clock(&self) -> &Arc<dyn Clock> {
            &self.clock
        }

        async fn answer(self: &Arc<Self>, _: Request<Incoming>, line: &Line) -> Response {
            let spring = self.clone();
            Response::new(line.pour(stream::unfold((), move |()| {
                let spring = spring.clone();
                async move {
                    spring.clock.alarm(spring.clock.now().plus(1_000)).await;
                    spring.poured.fetch_add(1, Ordering::SeqCst);
                    Some((Bytes::from(vec![b'.'; 1_024]), ()))
                }
            })))
        }
    }

    struct Scene {
        clock: ManualClock,
        poured: Arc<AtomicU64>,
        owner: Arc<Spring>,
    }

    fn scene() -> Scene {
        let clock = ManualClock::new(Timestamp::from_millis(1_000_000), 1);
        let poured = Arc::new(AtomicU64::new(0));
        let owner = Arc::new(Spring { clock: Arc::new(clock.clone()), poured: poured.clone() });
        Scene { clock, poured, owner }
    }

    /// Lets time pass, second by second, until `work` is done. Answers how much passed.
    async fn while_time_passes(clock: &ManualClock, work: impl Future<Output = ()>) -> u64 {
        let mut work = pin!(work);
        let began = clock.now();
        for _ in 0..10_000 {
            for _ in 0..20 {
                tokio::select! {
                    biased;
                    () = work.as_mut() => return clock.now().since(began),
                    () = tokio::task::yield_now() => {}
                }
            }
            clock.advance(1_000);
        }
        panic!("it never ends");
    }

    /// R20: whoever takes nothing of what is sent is cut off, however little it is.
    #[tokio::test]
    async fn r20_who_does_not_read_is_cut_off() {
        let Scene { clock, poured, owner } = scene();
        let (mut here, there) = duplex(256);
        let closing = watch::Sender::new(false);
        here.write_all(REQUEST).await.unwrap();
        let passed_ms = while_time_passes(&clock, serve(there, owner, closing.subscribe())).await;
        // What the HTTP crate keeps for later is bounded too.
        assert!(poured.load(Ordering::SeqCst) < 200, "{poured:?}");
        assert!((30_000..400_000).contains(&passed_ms), "{passed_ms}");
    }

    #[tokio::test]
    async fn who_reads_goes_on_for_as_long_as_it_likes_and_closing_ends_it() {
        let Scene { clock, poured, owner } = scene();
        let (mut here, there) = duplex(64 << 10);
        let closing = watch::Sender::new(false);
        let serving = tokio::spawn(serve(there, owner, closing.subscribe()));
        here.write_all(REQUEST).await.unwrap();
        let reading = async {
            let mut text = vec![0; 4_096];
            while poured.load(Ordering::SeqCst) < 500 {
                assert!(here.read(&mut text).await.unwrap() > 0, "it was cut off");
            }
        };
        while_time_passes(&clock, reading).await;
        closing.send_replace(true);
        let mut rest = Vec::new();
        let ended = async {
            here.read_to_end(&mut rest).await.unwrap();
            serving.await.unwrap();
        };
        while_time_passes(&clock, ended).await;
        assert!(rest.ends_with(b"0\r\n\r\n"), "the body has no end");
    }
}
