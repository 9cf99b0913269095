//! Wires to providers: dialled, kept, and used again.
//!
//! A wire leads to an address that was pinned for the very request that it carries: others are not dialled, and a kept one
//! that leads elsewhere is not used. One of HTTP/1.1 carries one request at a time and is driven by whoever waits for the
//! answer, so no other task is woken on the way. One of HTTP/2 carries many, and a task drives it.
//!
//! What is kept and how long a dial may take goes by the machine's own clock: a test that turns the clock of calls ends no
//! sockets with it.

use std::collections::HashMap;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::ServerName;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use url::Host;

use super::body::OutgoingBody;
use super::transport::{TransportError, unsent};
use crate::error::{NetworkStage, RequestSent};
use crate::limits::Limits;
use crate::time::{BoxFuture, Clock, Timestamp};

/// How long a wire is kept that nobody uses.
const IDLE_MS: u64 = 60_000;
/// How long one address may take before the next is tried beside it (RFC 8305, section 8).
const NEXT_ADDRESS_MS: u64 = 250;

/// After how long without a word a wire is asked whether it stands, and how long what was sent may stay unconfirmed.
const SILENCE: Duration = Duration::from_secs(15);
#[cfg(target_os = "linux")]
const UNHEARD: Duration = Duration::from_secs(30);
/// How many sessions of TLS may be taken up again.
const SESSIONS_KEPT: usize = 32;

const HTTP_1: &[u8] = b"http/1.1";
const HTTP_2: &[u8] = b"h2";

/// Bytes there and back, by TLS or without.
trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Wire for T {}

/// Where a request goes.
pub(super) struct Destination<'a> {
    /// The URL up to its path.
    pub(super) origin: &'a str,
    /// Who the other end proves to be with TLS; without TLS nobody.
    pub(super) proven: Option<Host<&'a str>>,
    /// The only addresses that may be dialled.
    pub(super) addresses: &'a [SocketAddr],
    /// It becomes something else, which is not kept, and which HTTP/2 has another way for.
    pub(super) is_upgrade: bool,
}

/// One that is open.
pub(super) enum Open {
    Single(Box<Single>),
    Shared(Shared),
}

/// One of HTTP/1.1.
pub(super) struct Single {
    sender: http1::SendRequest<OutgoingBody>,
    driver: Driver,
    /// Where it is kept, if it is.
    origin: Option<Arc<str>>,
    peer: SocketAddr,
}

/// One of HTTP/2.
#[derive(Clone)]
pub(super) struct Shared {
    sender: http2::SendRequest<OutgoingBody>,
    peer: SocketAddr,
}

/// What moves the bytes of a single wire; nothing once it has ended. Whoever waits for something of it is told by then, and
/// what it did not take comes back.
struct Driver(Option<BoxFuture<'static, hyper::Result<()>>>);

impl Driver {
    /// Moves what can be moved.
    fn poll(&mut self, cx: &mut Context<'_>) {
        if self.0.as_mut().is_some_and(|driven| driven.as_mut().poll(cx).is_ready()) {
            self.0 = None;
        }
    }
}

impl Single {
    /// Moves bytes until this is ready.
    pub(super) async fn until<F: Future>(&mut self, mut future: Pin<&mut F>) -> F::Output {
        std::future::poll_fn(|cx| {
            if let Poll::Ready(output) = future.as_mut().poll(cx) {
                return Poll::Ready(output);
            }
            self.driver.poll(cx);
            future.as_mut().poll(cx)
        })
        .await
    }

    /// Whether it takes another request: the last answer is whole, and the other end has not hung up. Nobody is woken by it
    /// from now on.
    fn is_ready(&mut self) -> bool {
        let looked = std::future::poll_fn(|cx| {
            self.driver.poll(cx);
            Poll::Ready(())
        });
        // However much this task has done already.
        let _ = pin!(tokio::task::unconstrained(looked)).poll(&mut Context::from_waker(Waker::noop()));
        self.driver.0.is_some() && self.sender.is_ready()
    }
}

impl Open {
    /// Whether requests take the form of HTTP/2.
    pub(super) fn is_shared(&self) -> bool {
        matches!(self, Self::Shared(_))
    }

    /// Sends it and waits for the head. Nothing was sent where the error is none.
    pub(super) async fn send(
        &mut self,
        request: Request<OutgoingBody>,
    ) -> Result<Response<Incoming>, Option<TransportError>> {
        let has_body = !matches!(request.body(), OutgoingBody::Whole(None));
        let sent = match self {
            Self::Single(single) => {
                let answer = single.sender.try_send_request(request);
                single.until(pin!(answer)).await
            }
            Self::Shared(shared) => shared.sender.try_send_request(request).await,
        };
        sent.map_err(|mut error: TrySendError<_>| {
            if error.take_message().is_some() {
                return None;
            }
            let error = error.into_error();
            let sent = if is_unprocessed(&error, has_body) { RequestSent::No } else { RequestSent::Maybe };
            Some(TransportError { sent, ..broken(&error) })
        })
    }
}

/// Those of one operator's connection.
pub(super) struct Wires {
    limits: Limits,
    clock: Arc<dyn Clock>,
    /// For HTTP/2 and HTTP/1.1, and for the latter alone.
    tls: [TlsConnector; 2],
    kept: Mutex<Pools>,
}

#[derive(Default)]
struct Pools {
    origins: HashMap<Arc<str>, Origin>,
    /// Somebody looks after those that nobody uses.
    is_swept: bool,
}

/// The open ones to one origin.
#[derive(Default)]
struct Origin {
    /// With the moment since when nobody uses it; the latest at the end.
    idle: Vec<(Box<Single>, Timestamp)>,
    /// With the moment when somebody began to use it last.
    shared: Option<(Shared, Timestamp)>,
}

/// How much of one answer an HTTP/2 wire takes before somebody reads it.
const UNREAD_BYTES_MAX: u32 = 512 << 10;
/// And of all answers together, the most that HTTP/2 knows: one that nobody reads must not keep the others from coming.
const WINDOW_BYTES_MAX: u32 = (1 << 31) - 1;

impl Wires {
    /// None so far.
    pub(super) fn new(limits: &Limits, tls: &rustls::ClientConfig, clock: Arc<dyn Clock>) -> Self {
        let speaking = |protocols: &[&[u8]]| {
            let mut tls = tls.clone();
            // Who was met before is nobody else's to know.
            tls.resumption = rustls::client::Resumption::in_memory_sessions(SESSIONS_KEPT);
            tls.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
            TlsConnector::from(Arc::new(tls))
        };
        Self { limits: *limits, clock, tls: [speaking(&[HTTP_2, HTTP_1]), speaking(&[HTTP_1])], kept: Mutex::default() }
    }

    fn kept(&self) -> MutexGuard<'_, Pools> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A kept one that is still good.
    pub(super) fn take(&self, to: &Destination<'_>) -> Option<Open> {
        if to.is_upgrade {
            return None;
        }
        let now = self.clock.now();
        let mut kept = self.kept();
        let origin = kept.origins.get_mut(to.origin)?;
        if let Some((shared, used_at)) = &mut origin.shared
            && !shared.sender.is_closed()
            && to.addresses.contains(&shared.peer)
        {
            *used_at = now;
            return Some(Open::Shared(shared.clone()));
        }
        // One to another address of the name may be wanted again: it is left to the sweep.
        let fits = |(single, since): &(Box<Single>, Timestamp)| {
            now.since(*since) < IDLE_MS && to.addresses.contains(&single.peer)
        };
        while let Some(at) = origin.idle.iter().rposition(fits) {
            let (mut single, _) = origin.idle.remove(at);
            if single.is_ready() {
                return Some(Open::Single(single));
            }
        }
        None
    }

    /// Has no other request sent by the shared one to this origin that was closed. Another may have dialled anew since.
    pub(super) fn leave(&self, origin: &str) {
        if let Some(origin) = self.kept().origins.get_mut(origin) {
            origin.shared.take_if(|(shared, _)| shared.sender.is_closed());
        }
    }

    /// Keeps one whose answer is whole, if it can be used again. Where there are as many as may be, the oldest goes: it may
    /// lead to an address that the name has no more.
    pub(super) fn put(self: &Arc<Self>, mut single: Box<Single>) {
        let Some(origin) = single.origin.clone().filter(|_| single.is_ready()) else { return };
        let most = usize::try_from(self.limits.calls).unwrap_or(usize::MAX);
        let mut kept = self.kept();
        let idle = &mut kept.origins.entry(origin).or_default().idle;
        idle.drain(..(idle.len() + 1).saturating_sub(most.max(1)));
        idle.push((single, self.clock.now()));
        self.look_after(&mut kept);
    }

    /// Has those closed that nobody used for a while, which the other end may have closed already.
    fn look_after(self: &Arc<Self>, kept: &mut Pools) {
        if std::mem::replace(&mut kept.is_swept, true) {
            return;
        }
        let (wires, clock) = (Arc::downgrade(self), self.clock.clone());
        tokio::spawn(async move {
            loop {
                clock.alarm(clock.now().plus(IDLE_MS)).await;
                let Some(wires) = wires.upgrade() else { return };
                if !wires.sweep() {
                    return;
                }
            }
        });
    }

    /// Whether any are left.
    fn sweep(&self) -> bool {
        let now = self.clock.now();
        let mut kept = self.kept();
        kept.origins.retain(|_, origin| {
            origin.idle.retain(|(_, since)| now.since(*since) < IDLE_MS);
            origin.shared.take_if(|(shared, at)| shared.sender.is_closed() || now.since(*at) >= IDLE_MS);
            !origin.idle.is_empty() || origin.shared.is_some()
        });
        kept.is_swept = !kept.origins.is_empty();
        kept.is_swept
    }

    /// A new one.
    ///
    /// # Errors
    /// Nothing was sent.
    pub(super) async fn dial(self: &Arc<Self>, to: &Destination<'_>) -> Result<Open, TransportError> {
        let dialled = async {
            let (wire, peer, is_shared) = self.reach(to).await?;
            let wire = TokioIo::new(wire);
            match is_shared {
                true => self.share(to, wire, peer).await.map(Open::Shared),
                false => self.open(to, wire, peer).await.map(|single| Open::Single(Box::new(single))),
            }
        };
        let most_ms = self.limits.connect_ms;
        tokio::select! {
            biased;
            dialled = dialled => dialled,
            () = self.clock.alarm(self.clock.now().plus(most_ms)) => {
                Err(unsent(format!("none within the limit connect_ms of {most_ms}")))
            }
        }
    }

    async fn open(
        &self,
        to: &Destination<'_>,
        wire: TokioIo<Box<dyn Wire>>,
        peer: SocketAddr,
    ) -> Result<Single, TransportError> {
        let mut settings = http1::Builder::new();
        settings.max_headers(usize::try_from(self.limits.headers).unwrap_or(usize::MAX));
        let (sender, connection) = settings.handshake(wire).await.map_err(|error| unopened(&error))?;
        let driver = Driver(Some(Box::pin(connection.with_upgrades())));
        let origin = (!to.is_upgrade).then(|| to.origin.into());
        Ok(Single { sender, driver, origin, peer })
    }

    async fn share(
        self: &Arc<Self>,
        to: &Destination<'_>,
        wire: TokioIo<Box<dyn Wire>>,
        peer: SocketAddr,
    ) -> Result<Shared, TransportError> {
        let mut settings = http2::Builder::new(TokioExecutor::new());
        // HTTP/2 counts 32 bytes more for each field, and refuses a head in a way that looks like a broken wire. So one
        // that is too large has room here, to be told as such.
        let most = self.limits.header_bytes.saturating_mul(2).saturating_add(self.limits.headers.saturating_mul(32));
        settings.max_header_list_size(u32::try_from(most).unwrap_or(u32::MAX));
        settings.initial_stream_window_size(UNREAD_BYTES_MAX).initial_connection_window_size(WINDOW_BYTES_MAX);
        let (sender, connection) = settings.handshake(wire).await.map_err(|error| unopened(&error))?;
        // It ends with the last sender; what breaks it, the requests on it are told.
        tokio::spawn(async move { drop(connection.await) });
        let shared = Shared { sender, peer };
        let mut kept = self.kept();
        kept.origins.entry(to.origin.into()).or_default().shared = Some((shared.clone(), self.clock.now()));
        self.look_after(&mut kept);
        Ok(shared)
    }

    /// Bytes there and back, by TLS where that is asked for; and whether they are HTTP/2's.
    async fn reach(&self, to: &Destination<'_>) -> Result<(Box<dyn Wire>, SocketAddr, bool), TransportError> {
        let name = to.proven.as_ref().map(server_name).transpose()?;
        let (stream, peer) = first_reached(to.addresses, &*self.clock).await?;
        tune(&stream);
        let Some(name) = name else { return Ok((Box::new(stream), peer, false)) };
        let secured = self.tls[usize::from(to.is_upgrade)].connect(name, stream).await;
        let secured = secured.map_err(|error| {
            let is_refused = error.get_ref().is_some_and(|inner| inner.is::<rustls::Error>());
            let stage = if is_refused { NetworkStage::Tls } else { NetworkStage::Connect };
            TransportError { stage, sent: RequestSent::No, details: error.to_string() }
        })?;
        let is_shared = secured.get_ref().1.alpn_protocol() == Some(HTTP_2);
        Ok((Box::new(secured), peer, is_shared))
    }
}

/// Sends what is written at once, and notices when nobody is there any more. A machine that does not know one of these goes
/// on without it.
fn tune(stream: &TcpStream) {
    let asked = TcpKeepalive::new().with_time(SILENCE).with_interval(SILENCE);
    let _ = stream.set_nodelay(true);
    let socket = SockRef::from(stream);
    let _ = socket.set_tcp_keepalive(&asked);
    #[cfg(target_os = "linux")]
    let _ = socket.set_tcp_user_timeout(Some(UNHEARD));
}

/// Dials one after the other, of both kinds by turns, the next when one fails or takes long; the first that answers is it.
async fn first_reached(addresses: &[SocketAddr], clock: &dyn Clock) -> Result<(TcpStream, SocketAddr), TransportError> {
    let mut waiting = by_turns(addresses).into_iter();
    let mut under_way = FuturesUnordered::new();
    let mut failed = "there is no address to dial".to_owned();
    loop {
        if let Some(address) = waiting.next() {
            under_way.push(async move { (TcpStream::connect(address).await, address) });
        }
        tokio::select! {
            biased;
            reached = under_way.next() => match reached {
                Some((Ok(stream), address)) => return Ok((stream, address)),
                Some((Err(error), address)) => failed = format!("{address}: {error}"),
                None => return Err(unsent(failed)),
            },
            () = clock.alarm(clock.now().plus(NEXT_ADDRESS_MS)), if waiting.len() > 0 => {}
        }
    }
}

/// The name that a certificate is for.
///
/// # Errors
/// When none can be for this host.
fn server_name(host: &Host<&str>) -> Result<ServerName<'static>, TransportError> {
    match host {
        Host::Domain(name) => ServerName::try_from(name.trim_end_matches('.').to_owned())
            .map_err(|_| unsent("no certificate can be for the host of this URL")),
        Host::Ipv4(address) => Ok(IpAddr::from(*address).into()),
        Host::Ipv6(address) => Ok(IpAddr::from(*address).into()),
    }
}

/// TLS as this machine trusts it; what it trusts is read once.
///
/// # Errors
/// When it cannot be read.
pub(super) fn machine_tls() -> Result<&'static rustls::ClientConfig, String> {
    static TLS: OnceLock<Result<rustls::ClientConfig, String>> = OnceLock::new();
    let made = || {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let roots = rustls_platform_verifier::Verifier::new(provider.clone())?;
        let tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(roots));
        Ok(tls.with_no_client_auth())
    };
    TLS.get_or_init(|| made().map_err(|error: rustls::Error| error.to_string())).as_ref().map_err(Clone::clone)
}

/// One of each kind by turns, beginning with the kind of the first.
fn by_turns(addresses: &[SocketAddr]) -> Vec<SocketAddr> {
    let is_first = |address: &&SocketAddr| addresses.first().is_some_and(|first| first.is_ipv4() == address.is_ipv4());
    let (one, other): (Vec<&SocketAddr>, Vec<&SocketAddr>) = addresses.iter().partition(is_first);
    let longer = one.len().max(other.len());
    (0..longer).flat_map(|at| [one.get(at), other.get(at)]).flatten().map(|address| **address).collect()
}

/// An open wire that did not become one for requests.
fn unopened(error: &hyper::Error) -> TransportError {
    unsent(broken(error).details)
}

/// What came of a request that was under way.
pub(super) fn broken(error: &hyper::Error) -> TransportError {
    let mut details = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        details = format!("{details}: {inner}");
        cause = inner.source();
    }
    TransportError { stage: NetworkStage::Reset, sent: RequestSent::Maybe, details }
}

/// Whether the other end of HTTP/2 says that it did nothing with a request that it was sent (RFC 9113, 6.8 and 8.7).
///
/// Where it goes away, that is taken from it of one with a body only: the same error ends one that was just begun, whose
/// head may still leave, and without a body that is all of it. Of one with a body, what remains is that moment: its head
/// leaves and is taken back at once, and whoever acts on a head and reads no body may act twice.
fn is_unprocessed(error: &hyper::Error, has_body: bool) -> bool {
    let cause = std::error::Error::source(error).and_then(|cause| cause.downcast_ref::<h2::Error>());
    cause.is_some_and(|cause| {
        let is_refused = cause.is_reset() && cause.reason() == Some(h2::Reason::REFUSED_STREAM);
        cause.is_remote() && (is_refused || (cause.is_go_away() && has_body))
    })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use bytes::Bytes;
    use hyper::body::Body as _;
    use hyper::service::service_fn;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;
    use tokio_rustls::TlsAcceptor;

    use super::*;
    use crate::time::ManualClock;

    /// What `leaf.der` is for; `ca.der` says so. Made once with openssl, good until 2126, and trusted by nobody else.
    const NAME: &str = "provider.test";

    const MINUTE: std::time::Duration = std::time::Duration::from_secs(60);

    /// Answers each request with its version.
    #[derive(Clone)]
    struct Provider {
        address: SocketAddr,
        accepted: Arc<AtomicUsize>,
        /// Ends the connections that are open.
        hang_up: tokio::sync::watch::Sender<()>,
    }

    impl Provider {
        /// One that speaks these protocols over TLS.
        async fn start(protocols: &[&[u8]]) -> Self {
            let leaf = CertificateDer::from(&include_bytes!("wires/leaf.der")[..]);
            let key = PrivateKeyDer::try_from(&include_bytes!("wires/leaf-key.der")[..]).unwrap();
            let mut tls = rustls::ServerConfig::builder_with_provider(provider())
                .with_safe_default_protocol_versions()
                .unwrap()
                .with_no_client_auth()
                .with_single_cert(vec![leaf], key)
                .unwrap();
            tls.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
            Self::listen(Some(TlsAcceptor::from(Arc::new(tls)))).await
        }

        async fn listen(tls: Option<TlsAcceptor>) -> Self {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let provider = Self { address, accepted: Arc::default(), hang_up: tokio::sync::watch::Sender::new(()) };
            let (accepted, hang_up) = (provider.accepted.clone(), provider.hang_up.clone());
            tokio::spawn(async move {
                while let Ok((stream, _)) = listener.accept().await {
                    accepted.fetch_add(1, Ordering::SeqCst);
                    let (tls, mut hung_up) = (tls.clone(), hang_up.subscribe());
                    tokio::spawn(async move {
                        tokio::select! {
                            () = serve(stream, tls) => {}
                            _ = hung_up.changed() => {}
                        }
                    });
                }
            });
            provider
        }

        fn accepted(&self) -> usize {
            self.accepted.load(Ordering::SeqCst)
        }
    }

    async fn serve(stream: TcpStream, tls: Option<TlsAcceptor>) {
        let answer = service_fn(async |request: Request<Incoming>| {
            let version = match request.uri().path() {
                "/large" => Bytes::from(vec![b'x'; 4 << 20]),
                _ => Bytes::from(format!("{:?}", request.version())),
            };
            let mut answer = Response::new(OutgoingBody::Whole(Some(version)));
            if request.uri().path() == "/wide" {
                answer.headers_mut().insert("x-wide", "y".repeat(60 << 10).parse().unwrap());
            }
            Ok::<_, std::io::Error>(answer)
        });
        let Some(tls) = tls else {
            let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await;
            return;
        };
        let Ok(stream) = tls.accept(stream).await else { return };
        let is_shared = stream.get_ref().1.alpn_protocol() == Some(HTTP_2);
        let stream = TokioIo::new(stream);
        let _ = match is_shared {
            true => {
                hyper::server::conn::http2::Builder::new(TokioExecutor::new()).serve_connection(stream, answer).await
            }
            false => hyper::server::conn::http1::Builder::new().serve_connection(stream, answer).await,
        };
    }

    fn provider() -> Arc<rustls::crypto::CryptoProvider> {
        Arc::new(rustls::crypto::aws_lc_rs::default_provider())
    }

    /// Wires that trust the tests' authority.
    fn wires(clock: &ManualClock) -> Arc<Wires> {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from(&include_bytes!("wires/ca.der")[..])).unwrap();
        let tls = rustls::ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        Arc::new(Wires::new(&Limits::default(), &tls, Arc::new(clock.clone())))
    }

    /// Yields until this says so.
    async fn until(mut is_so: impl FnMut() -> bool) {
        let waited = async {
            while !is_so() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(MINUTE, waited).await.expect("it comes within a minute");
    }

    fn clock() -> ManualClock {
        ManualClock::new(Timestamp::from_millis(1_800_000_000_000), 1)
    }

    fn secured<'a>(name: &'a str, addresses: &'a [SocketAddr]) -> Destination<'a> {
        let proven = Some(name.parse().map_or(Host::Domain(name), Host::Ipv4));
        Destination { origin: "https://provider.test", proven, addresses, is_upgrade: false }
    }

    fn plain(addresses: &[SocketAddr]) -> Destination<'_> {
        Destination { origin: "http://provider.test", proven: None, addresses, is_upgrade: false }
    }

    /// One request by a wire that is kept or dialled; what was answered.
    async fn asked(wires: &Arc<Wires>, to: &Destination<'_>) -> String {
        let mut wire = match wires.take(to) {
            Some(wire) => wire,
            None => wires.dial(to).await.unwrap(),
        };
        let mut request = Request::new(OutgoingBody::Whole(None));
        *request.uri_mut() = if wire.is_shared() { "https://provider.test/" } else { "/" }.parse().unwrap();
        let mut body = wire.send(request).await.unwrap().into_body();
        let mut frame = std::future::poll_fn(|cx| std::pin::Pin::new(&mut body).poll_frame(cx));
        let said = match wire {
            Open::Single(mut single) => {
                let said = single.until(Pin::new(&mut frame)).await;
                wires.put(single);
                said
            }
            Open::Shared(_) => frame.await,
        };
        String::from_utf8(said.unwrap().unwrap().into_data().unwrap().to_vec()).unwrap()
    }

    #[tokio::test]
    async fn what_both_ends_speak_best_is_spoken_and_the_wire_is_used_again() {
        for (protocols, spoken) in [(&[HTTP_2, HTTP_1][..], "HTTP/2.0"), (&[HTTP_1][..], "HTTP/1.1"), (&[], "HTTP/1.1")]
        {
            let provider = Provider::start(protocols).await;
            let (wires, addresses) = (wires(&clock()), [provider.address]);
            for _ in 0..3 {
                assert_eq!(asked(&wires, &secured(NAME, &addresses)).await, spoken);
            }
            assert_eq!(provider.accepted(), 1, "{spoken}");
        }
    }

    #[tokio::test]
    async fn answers_that_nobody_reads_keep_no_other_from_coming() {
        let provider = Provider::start(&[HTTP_2]).await;
        let (wires, addresses) = (wires(&clock()), [provider.address]);
        let to = secured(NAME, &addresses);
        asked(&wires, &to).await;
        let mut unread = Vec::new();
        for _ in 0..16 {
            let mut request = Request::new(OutgoingBody::Whole(None));
            *request.uri_mut() = "https://provider.test/large".parse().unwrap();
            unread.push(wires.take(&to).unwrap().send(request).await.unwrap());
        }
        let small = tokio::time::timeout(MINUTE, asked(&wires, &to)).await;
        assert_eq!((small.unwrap().as_str(), provider.accepted()), ("HTTP/2.0", 1));
    }

    /// So it is told as too large and asked for once, as over HTTP/1.1.
    #[tokio::test]
    async fn a_head_that_is_too_large_comes_by_http_2_all_the_same() {
        let provider = Provider::start(&[HTTP_2]).await;
        let (wires, addresses) = (wires(&clock()), [provider.address]);
        let mut wire = wires.dial(&secured(NAME, &addresses)).await.unwrap();
        let mut request = Request::new(OutgoingBody::Whole(None));
        *request.uri_mut() = "https://provider.test/wide".parse().unwrap();
        let answer = wire.send(request).await.unwrap();
        assert!(answer.headers()["x-wide"].len() as u64 > Limits::default().header_bytes);
    }

    #[tokio::test]
    async fn who_leaves_a_wire_of_http_2_leaves_one_that_works_to_the_others() {
        let provider = Provider::start(&[HTTP_2]).await;
        let (wires, addresses) = (wires(&clock()), [provider.address]);
        let to = secured(NAME, &addresses);
        asked(&wires, &to).await;
        wires.leave(to.origin);
        assert!(wires.take(&to).is_some());
    }

    #[tokio::test]
    async fn what_becomes_something_else_has_a_wire_of_its_own_and_no_http_2() {
        let provider = Provider::start(&[HTTP_2, HTTP_1]).await;
        let (wires, addresses) = (wires(&clock()), [provider.address]);
        assert_eq!(asked(&wires, &secured(NAME, &addresses)).await, "HTTP/2.0");
        let upgrade = Destination { is_upgrade: true, ..secured(NAME, &addresses) };
        assert!(wires.take(&upgrade).is_none());
        assert!(!wires.dial(&upgrade).await.unwrap().is_shared());
    }

    /// What is said on this thread, at every level, with the fields of all lines and spans.
    #[derive(Clone, Default)]
    struct Heard(Arc<Mutex<String>>);

    impl Heard {
        fn put(&self, line: &str) {
            let mut text = self.0.lock().unwrap();
            text.push_str(line);
            text.push('\n');
        }
    }

    impl tracing::field::Visit for Heard {
        fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn std::fmt::Debug) {
            self.put(&format!("{field}={value:?}"));
        }
    }

    impl tracing::Subscriber for Heard {
        fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
            true
        }

        fn new_span(&self, span: &tracing::span::Attributes<'_>) -> tracing::span::Id {
            span.record(&mut self.clone());
            tracing::span::Id::from_u64(1)
        }

        fn record(&self, _: &tracing::span::Id, values: &tracing::span::Record<'_>) {
            values.record(&mut self.clone());
        }

        fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

        fn event(&self, event: &tracing::Event<'_>) {
            self.put(event.metadata().target());
            event.record(&mut self.clone());
        }

        fn enter(&self, _: &tracing::span::Id) {}

        fn exit(&self, _: &tracing::span::Id) {}
    }

    /// R6: whatever the crates of HTTP/2 and TLS say at their finest level, nothing of what is sent is in it.
    #[tokio::test]
    async fn r6_no_line_of_tls_or_http_2_holds_what_is_sent() {
        // With one dispatcher alone, a line that another test's thread comes to first is never heard.
        let _second = tracing::Dispatch::new(tracing::subscriber::NoSubscriber::new());
        let heard = Heard::default();
        let _listening = tracing::subscriber::set_default(heard.clone());
        for protocols in [&[HTTP_2][..], &[HTTP_1][..]] {
            let provider = Provider::start(protocols).await;
            let (wires, addresses) = (wires(&clock()), [provider.address]);
            let mut wire = wires.dial(&secured(NAME, &addresses)).await.unwrap();
            let mut request = Request::new(OutgoingBody::Whole(Some(Bytes::from("s3cret-body"))));
            let origin = if wire.is_shared() { "https://provider.test" } else { "" };
            *request.uri_mut() = format!("{origin}/s3cret-path?key=s3cret-key").parse().unwrap();
            let mut token = http::HeaderValue::from_static("Bearer s3cret-token");
            token.set_sensitive(true);
            request.headers_mut().insert(http::header::AUTHORIZATION, token);
            assert!(wire.send(request).await.unwrap().status().is_success());
        }
        let text = heard.0.lock().unwrap();
        assert!(text.contains("h2::"), "nobody listens:\n{text}");
        assert!(!text.contains("s3cret"), "{text}");
    }

    #[tokio::test]
    async fn who_does_not_prove_the_name_is_sent_nothing() {
        let provider = Provider::start(&[HTTP_1]).await;
        let addresses = [provider.address];
        let machines = Arc::new(Wires::new(&Limits::default(), machine_tls().unwrap(), Arc::new(clock())));
        // Another name, an address, and an authority that this machine does not know.
        for (wires, name) in [(wires(&clock()), "other.test"), (wires(&clock()), "127.0.0.1"), (machines, NAME)] {
            let lost = wires.dial(&secured(name, &addresses)).await.err().unwrap();
            assert!(lost.stage == NetworkStage::Tls && lost.sent == RequestSent::No, "{name}: {lost:?}");
            assert!(lost.details.contains("certificate"), "{name}: {lost:?}");
        }
    }

    #[tokio::test]
    async fn a_kept_wire_is_not_used_for_other_addresses_than_its_own() {
        let provider = Provider::start(&[HTTP_2, HTTP_1]).await;
        let other = Provider::listen(None).await;
        let wires = wires(&clock());
        asked(&wires, &secured(NAME, &[provider.address])).await;
        asked(&wires, &plain(&[other.address])).await;
        let elsewhere = ["127.0.0.1:9".parse().unwrap()];
        assert!(wires.take(&secured(NAME, &elsewhere)).is_none());
        assert!(wires.take(&plain(&elsewhere)).is_none());
        assert!(wires.take(&plain(&[other.address])).is_some(), "it was closed meanwhile");
    }

    #[tokio::test]
    async fn a_wire_that_the_other_end_closed_is_not_used_and_nothing_is_lost() {
        for protocols in [None, Some(&[HTTP_1][..]), Some(&[HTTP_2][..])] {
            let provider = match protocols {
                Some(protocols) => Provider::start(protocols).await,
                None => Provider::listen(None).await,
            };
            let (wires, addresses) = (wires(&clock()), [provider.address]);
            let to = if protocols.is_some() { secured(NAME, &addresses) } else { plain(&addresses) };
            let said = asked(&wires, &to).await;
            provider.hang_up.send(()).unwrap();
            until(|| match wires.take(&to) {
                Some(Open::Single(single)) => {
                    wires.put(single);
                    false
                }
                Some(Open::Shared(_)) => false,
                None => true,
            })
            .await;
            assert_eq!(asked(&wires, &to).await, said);
            assert_eq!(provider.accepted(), 2);
        }
    }

    /// A wire whose other end is in this process.
    async fn within(wires: &Arc<Wires>) -> (Open, tokio::io::DuplexStream) {
        let (near, far) = tokio::io::duplex(4096);
        let to = plain(&[]);
        let peer = "127.0.0.1:9".parse().unwrap();
        let single = wires.open(&to, TokioIo::new(Box::new(near)), peer).await.unwrap();
        (Open::Single(Box::new(single)), far)
    }

    /// A frame of HTTP/2 (RFC 9113, 4.1).
    fn frame(kind: u8, stream: u32, payload: &[u32]) -> Vec<u8> {
        let payload: Vec<u8> = payload.iter().flat_map(|word| word.to_be_bytes()).collect();
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&length[1..], &[kind, 0], &stream.to_be_bytes(), &payload[..]].concat()
    }

    /// A wire of HTTP/2 whose other end says this as soon as it was sent the head of a request.
    async fn shared_within(wires: &Arc<Wires>, said: Vec<u8>) -> Open {
        let (near, mut far) = tokio::io::duplex(64 << 10);
        tokio::spawn(async move {
            far.write_all(&frame(4, 0, &[])).await.unwrap();
            far.read_exact(&mut [0; 24]).await.unwrap();
            let mut head = [0; 9];
            while head[3] != 1 {
                far.read_exact(&mut head).await.unwrap();
                let bytes = u32::from_be_bytes([0, head[0], head[1], head[2]]);
                far.read_exact(&mut vec![0; bytes as usize]).await.unwrap();
            }
            far.write_all(&said).await.unwrap();
            let _ = tokio::io::copy(&mut far, &mut tokio::io::sink()).await;
        });
        let peer = "127.0.0.1:9".parse().unwrap();
        Open::Shared(wires.share(&plain(&[]), TokioIo::new(Box::new(near)), peer).await.unwrap())
    }

    /// The first request of a wire has the stream 1.
    #[tokio::test]
    async fn what_the_other_end_says_it_did_nothing_with_was_not_sent() {
        let (reset, go_away) = (|reason| frame(3, 1, &[reason]), |last, reason| frame(7, 0, &[last, reason]));
        for (said, body, sent) in [
            (reset(7), None, RequestSent::No), // REFUSED_STREAM
            (reset(7), Some("{}"), RequestSent::No),
            (reset(2), Some("{}"), RequestSent::Maybe), // INTERNAL_ERROR
            (go_away(0, 0), Some("{}"), RequestSent::No),
            (go_away(0, 2), Some("{}"), RequestSent::No),
            (go_away(0, 0), None, RequestSent::Maybe),
        ] {
            let mut wire = shared_within(&wires(&clock()), said.clone()).await;
            let mut request = Request::new(OutgoingBody::Whole(body.map(Bytes::from)));
            *request.uri_mut() = "https://provider.test/".parse().unwrap();
            let lost = wire.send(request).await.unwrap_err().expect("it was taken");
            assert_eq!(lost.sent, sent, "{said:?} {body:?}: {lost:?}");
        }
    }

    /// As when it hangs up after the wire was looked at.
    #[tokio::test]
    async fn what_a_closed_wire_did_not_take_was_not_sent() {
        let (mut wire, far) = within(&wires(&clock())).await;
        drop(far);
        let sent = wire.send(Request::new(OutgoingBody::Whole(None))).await;
        assert!(matches!(sent, Err(None)), "{sent:?}");
    }

    /// A task that has done so much already, whenever this is looked at: the runtime lets it wait for what is there.
    async fn busy<F: Future>(done: usize, future: F) -> F::Output {
        let mut future = pin!(future);
        std::future::poll_fn(|cx| {
            for _ in 0..done {
                let _ = pin!(tokio::task::consume_budget()).poll(cx);
            }
            future.as_mut().poll(cx)
        })
        .await
    }

    #[tokio::test]
    async fn an_answer_that_came_with_the_end_of_its_wire_is_not_lost() {
        for done in 0..128 {
            let said = b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok";
            let (mut wire, mut far) = within(&wires(&clock())).await;
            let provider = tokio::spawn(async move {
                let mut asked = [0; 512];
                assert_ne!(far.read(&mut asked).await.unwrap(), 0);
                far.write_all(said).await.unwrap();
            });
            let answer = busy(done, wire.send(Request::new(OutgoingBody::Whole(None)))).await;
            let mut body = answer.unwrap_or_else(|lost| panic!("{done}: {lost:?}")).into_body();
            let frame = std::future::poll_fn(|cx| std::pin::Pin::new(&mut body).poll_frame(cx));
            let Open::Single(mut single) = wire else { panic!("it is HTTP/1.1") };
            let frame = busy(done, single.until(pin!(frame))).await.unwrap().unwrap();
            assert_eq!(frame.into_data().unwrap(), "ok", "{done}");
            provider.await.unwrap();
        }
    }

    #[tokio::test]
    async fn what_nobody_uses_is_closed_after_a_while() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (addresses, clock) = ([listener.local_addr().unwrap()], clock());
        let wires = wires(&clock);
        let answered = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut asked = [0; 4096];
            assert_ne!(stream.read(&mut asked).await.unwrap(), 0);
            tokio::io::AsyncWriteExt::write_all(&mut stream, b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
                .await
                .unwrap();
            stream.read(&mut asked).await.unwrap()
        });
        assert_eq!(asked(&wires, &plain(&addresses)).await, "ok");
        clock.advance(IDLE_MS - 1);
        let wire = wires.take(&plain(&addresses)).expect("it is kept so long");
        let Open::Single(single) = wire else { panic!("it is HTTP/1.1") };
        wires.put(single);
        until(|| {
            clock.advance(IDLE_MS);
            answered.is_finished()
        })
        .await;
        assert_eq!(answered.await.unwrap(), 0, "the other end sees it closed");
        assert!(wires.kept().origins.is_empty() && !wires.kept().is_swept);
    }

    #[tokio::test]
    async fn no_more_are_kept_than_there_may_be_calls_and_those_are_the_latest() {
        let (before, now) = (Provider::listen(None).await, Provider::listen(None).await);
        let limits = Limits { calls: 2, ..Limits::default() };
        let wires = Arc::new(Wires::new(&limits, machine_tls().unwrap(), Arc::new(clock())));
        for provider in [&before, &before, &now] {
            let addresses = [provider.address];
            let Open::Single(mut single) = wires.dial(&plain(&addresses)).await.unwrap() else { panic!("HTTP/1.1") };
            // Nothing was asked yet, and so it becomes ready with the first look.
            let _ = single.is_ready();
            wires.put(single);
        }
        assert_eq!(wires.kept().origins[plain(&[]).origin].idle.len(), 2);
        assert!(wires.take(&plain(&[now.address])).is_some(), "the name leads there by now");
    }

    #[tokio::test]
    async fn an_address_that_does_not_answer_is_followed_by_the_next() {
        let provider = Provider::listen(None).await;
        // Nobody listens, and as long as it is held nobody else gets the port.
        let held = tokio::net::TcpSocket::new_v4().unwrap();
        held.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let closed = held.local_addr().unwrap();
        let wires = wires(&clock());
        assert_eq!(asked(&wires, &plain(&[closed, provider.address])).await, "HTTP/1.1");
        let lost = wires.dial(&plain(&[closed])).await.err().unwrap();
        assert!(lost.stage == NetworkStage::Connect && lost.sent == RequestSent::No, "{lost:?}");
        assert!(lost.details.contains(&closed.to_string()), "{lost:?}");
        assert!(wires.dial(&plain(&[])).await.is_err());
    }

    #[tokio::test]
    async fn a_dial_has_its_time() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (addresses, clock) = ([listener.local_addr().unwrap()], clock());
        let wires = wires(&clock);
        let dialled = tokio::spawn(async move { wires.dial(&secured(NAME, &addresses)).await.err().unwrap() });
        // The machine takes the connection, and nobody says a word of TLS.
        let _silent = listener.accept().await.unwrap();
        until(|| {
            clock.advance(Limits::default().connect_ms);
            dialled.is_finished()
        })
        .await;
        let lost = dialled.await.unwrap();
        assert!(lost.details.contains("connect_ms") && lost.sent == RequestSent::No, "{lost:?}");
    }

    #[test]
    fn both_kinds_of_addresses_have_their_turn() {
        let addresses =
            |written: &[&str]| -> Vec<SocketAddr> { written.iter().map(|one| one.parse().unwrap()).collect() };
        let mixed = addresses(&["1.1.1.1:1", "1.1.1.2:1", "1.1.1.3:1", "[::1]:1", "[::2]:1"]);
        let turns = addresses(&["1.1.1.1:1", "[::1]:1", "1.1.1.2:1", "[::2]:1", "1.1.1.3:1"]);
        assert_eq!(by_turns(&mixed), turns);
        assert_eq!(by_turns(&[]), []);
    }
}
