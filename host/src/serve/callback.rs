//! Where a browser comes back to after a sign-in: a listener on loopback that lives as long as the sign-in.
//!
//! It answers one path, hands every request to it to whoever waits, one after another, and shows the browser a plain page
//! that says what became of it. It judges nothing: a browser also asks for an icon, and any page can send a browser here,
//! so whoever waits goes on waiting until the right answer comes (`auth/authorize.rs`). Only this machine reaches it, and
//! only under the name that it was given.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::Response;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use url::{Host, Url};

use crate::error::{Error, Result};

/// Requests that wait to be looked at.
const WAITING_MAX: usize = 8;

/// How many ports are drawn where any will do, until one is free at every address.
const PORTS_DRAWN: usize = 16;

/// How long the last page may take to reach the browser.
const LAST_PAGE_MS: u64 = 2_000;

/// A listener; dropping it closes it.
pub(crate) struct Callback {
    redirect: Url,
    arriving: mpsc::Receiver<Arrived>,
    closing: watch::Sender<bool>,
    servers: Vec<JoinHandle<()>>,
}

/// A browser that came, and waits to be told something.
pub(crate) struct Arrived {
    /// The address it was sent to.
    pub(crate) redirected: String,
    page: oneshot::Sender<Page>,
}

/// What a browser is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Page {
    /// Whether it went well.
    pub(crate) is_good: bool,
    /// One sentence.
    pub(crate) title: String,
    /// What more there is to say, a paragraph a line.
    pub(crate) text: String,
}

struct Here {
    redirect: Url,
    arriving: mpsc::Sender<Arrived>,
}

/// Whether the host can listen at a redirect address itself: plain HTTP on this machine.
pub(crate) fn is_loopback(redirect: &Url) -> bool {
    redirect.scheme() == "http" && addresses(redirect).is_some()
}

/// The addresses that a redirect address on loopback stands for.
fn addresses(redirect: &Url) -> Option<Vec<IpAddr>> {
    match redirect.host()? {
        Host::Ipv4(ip) if ip.is_loopback() => Some(vec![ip.into()]),
        Host::Ipv6(ip) if ip.is_loopback() => Some(vec![ip.into()]),
        // A browser takes either, and which one comes first differs.
        Host::Domain("localhost") => Some(vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]),
        _ => None,
    }
}

impl Callback {
    /// Listens at `redirect`; port 0 stands for a free one.
    ///
    /// # Errors
    /// [`Kind::Configuration`](crate::Kind::Configuration) when it is not on loopback or somebody else listens there.
    pub(crate) async fn listen(redirect: &Url) -> Result<Self> {
        let not_here =
            || Error::configuration(format!("the host cannot listen at {redirect}: it is not on this machine"));
        let ips = addresses(redirect).filter(|_| is_loopback(redirect)).ok_or_else(not_here)?;
        let mut redirect = redirect.clone();
        let port = redirect.port_or_known_default().unwrap_or(0);
        let mut left = if port == 0 { PORTS_DRAWN } else { 1 };
        let (listeners, port) = loop {
            left -= 1;
            match bound(&ips, port).await {
                Err(error) if left > 0 && error.kind() == ErrorKind::AddrInUse => {}
                ended => break ended.map_err(|error| cannot(&redirect, &error))?,
            }
        };
        redirect.set_port(Some(port)).map_err(|()| not_here())?;
        let (sender, arriving) = mpsc::channel(WAITING_MAX);
        let closing = watch::Sender::new(false);
        let servers = listeners.into_iter().map(|listener| {
            let here = std::sync::Arc::new(Here { redirect: redirect.clone(), arriving: sender.clone() });
            let app = Router::new().fallback(answer).with_state(here);
            let mut closed = closing.subscribe();
            let until_closed = async move {
                let _ = closed.wait_for(|is_closing| *is_closing).await;
            };
            tokio::spawn(async move {
                if let Err(error) = axum::serve(listener, app).with_graceful_shutdown(until_closed).await {
                    tracing::warn!(target: "wharfage::connect", %error, "the listener of the sign-in ended");
                }
            })
        });
        Ok(Self { servers: servers.collect(), redirect, arriving, closing })
    }

    /// The redirect address with the port that was found.
    pub(crate) fn redirect(&self) -> &Url {
        &self.redirect
    }

    /// The next browser that comes. It may be dropped and called again.
    ///
    /// # Errors
    /// [`Kind::Internal`](crate::Kind::Internal) when the listener has ended.
    pub(crate) async fn next(&mut self) -> Result<Arrived> {
        self.arriving.recv().await.ok_or_else(|| Error::internal("the listener of the sign-in ended"))
    }

    /// Closes it once the last page has left.
    pub(crate) async fn close(mut self) {
        let _ = self.closing.send(true);
        // Whoever still waits to be looked at is told that it is over.
        self.arriving.close();
        while self.arriving.try_recv().is_ok() {}
        let servers = std::mem::take(&mut self.servers);
        for mut server in servers {
            if tokio::time::timeout(Duration::from_millis(LAST_PAGE_MS), &mut server).await.is_err() {
                server.abort();
            }
        }
    }
}

impl Drop for Callback {
    fn drop(&mut self) {
        self.servers.iter().for_each(JoinHandle::abort);
    }
}

impl Arrived {
    /// Shows the browser this.
    pub(crate) fn show(self, page: Page) {
        // It may have gone away meanwhile.
        let _ = self.page.send(page);
    }
}

/// Listens at each of these addresses, at the same port, and says which.
async fn bound(ips: &[IpAddr], mut port: u16) -> io::Result<(Vec<TcpListener>, u16)> {
    let mut listeners = Vec::new();
    for ip in ips {
        let address = SocketAddr::new(*ip, port);
        match TcpListener::bind(address).await {
            Ok(listener) => {
                port = listener.local_addr()?.port();
                listeners.push(listener);
            }
            // A machine without IPv6 has one of the two. Where somebody else has it, a browser may go there instead.
            Err(error) if !listeners.is_empty() && error.kind() != ErrorKind::AddrInUse => {}
            Err(error) => return Err(io::Error::new(error.kind(), format!("{error} at {address}"))),
        }
    }
    Ok((listeners, port))
}

fn cannot(redirect: &Url, error: &io::Error) -> Error {
    Error::configuration(format!("the host cannot listen at {redirect}: {error}")).with_details(
        "Stop what listens there, or set another address in [accounts.<name>], registered at the provider as well:   \
         redirect = \"http://127.0.0.1:PORT/callback\"\nOr paste the address back instead:   --paste",
    )
}

async fn answer(State(here): State<std::sync::Arc<Here>>, request: Request) -> Response {
    let authority = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    // A page elsewhere that calls this machine by a name of its own is not the sign-in.
    if authority.is_none_or(|authority| !is_named(&here.redirect, authority))
        || request.uri().path() != here.redirect.path()
    {
        return shown(StatusCode::NOT_FOUND, &Page::bad("There is nothing here.", "The sign-in goes on waiting."));
    }
    if request.method() != Method::GET {
        return shown(StatusCode::METHOD_NOT_ALLOWED, &Page::bad("This is not how a sign-in comes back.", ""));
    }
    let mut redirected = here.redirect.clone();
    redirected.set_query(request.uri().query());
    let (page, shows) = oneshot::channel();
    let arrived = Arrived { redirected: redirected.into(), page };
    let page = match here.arriving.send(arrived).await {
        Ok(()) => shows.await.ok(),
        Err(_) => None,
    };
    match page {
        Some(page) if page.is_good => shown(StatusCode::OK, &page),
        Some(page) => shown(StatusCode::BAD_REQUEST, &page),
        None => {
            shown(StatusCode::GONE, &Page::bad("The sign-in is over.", "Look where you began it, and begin again."))
        }
    }
}

/// Whether a request's `Host` is the redirect address's own.
fn is_named(redirect: &Url, authority: &str) -> bool {
    let host = redirect.host_str().unwrap_or_default();
    let whole = redirect.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
    authority.eq_ignore_ascii_case(&whole)
}

impl Page {
    /// A page that says that something is not well.
    pub(crate) fn bad(title: impl Into<String>, text: impl Into<String>) -> Self {
        Self { is_good: false, title: title.into(), text: text.into() }
    }

    /// A page that says that all is well.
    pub(crate) fn good(title: impl Into<String>, text: impl Into<String>) -> Self {
        Self { is_good: true, title: title.into(), text: text.into() }
    }

    fn html(&self) -> String {
        let paragraphs: String = self.text.lines().map(|line| format!("<p>{}</p>", escaped(line))).collect();
        format!(
            "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>wharfage</title>\
             <style>body{{font:1.1rem/1.5 sans-serif;max-width:36rem;margin:4rem auto;padding:0 1rem}}</style>\
             <h1>{}</h1>{paragraphs}</html>",
            escaped(&self.title)
        )
    }
}

/// The page as an answer that nobody keeps, that loads nothing, and that tells no other page where it was.
fn shown(status: StatusCode, page: &Page) -> Response {
    let mut response = Response::new(axum::body::Body::from(page.html()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CACHE_CONTROL, "no-store"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"),
        (header::CONNECTION, "close"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    async fn ask(redirect: &Url, head: &str) -> String {
        let port = redirect.port().unwrap();
        let mut stream = tokio::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.unwrap();
        stream.write_all(format!("{head}\r\n\r\n").as_bytes()).await.unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        text
    }

    #[test]
    fn only_plain_http_on_this_machine_is_listened_at() {
        for yes in ["http://127.0.0.1/callback", "http://127.0.0.1:0/", "http://localhost:8080/x", "http://[::1]:1/"] {
            assert!(is_loopback(&url(yes)), "{yes}");
        }
        for no in
            ["https://127.0.0.1/callback", "http://example.org/", "http://10.0.0.1/", "http://localhost.evil.test/"]
        {
            assert!(!is_loopback(&url(no)), "{no}");
        }
    }

    /// The guide's callback took the first request, whatever path it had: the browser's own for an icon.
    #[tokio::test]
    async fn guide_s18_a_request_to_another_path_is_answered_and_the_wait_goes_on() {
        let mut callback = Callback::listen(&url("http://127.0.0.1:0/callback")).await.unwrap();
        let redirect = callback.redirect().clone();
        let host = format!("127.0.0.1:{}", redirect.port().unwrap());
        for (head, status) in [
            (format!("GET /favicon.ico HTTP/1.1\r\nhost: {host}"), "404"),
            (format!("GET /callback/ HTTP/1.1\r\nhost: {host}"), "404"),
            (format!("GET //callback?code=c HTTP/1.1\r\nhost: {host}"), "404"),
            ("GET /callback?code=c HTTP/1.1\r\nhost: rebound.test".to_owned(), "404"),
            ("GET /callback?code=c HTTP/1.0".to_owned(), "404"),
            (format!("POST /callback HTTP/1.1\r\nhost: {host}\r\ncontent-length: 0"), "405"),
        ] {
            let told = ask(&redirect, &format!("{head}\r\nconnection: close")).await;
            assert!(
                told.starts_with(&format!("HTTP/1.1 {status}")) || told.starts_with(&format!("HTTP/1.0 {status}")),
                "{head}: {told}"
            );
        }
        let head = format!("GET /callback?code=a%20b&state=s HTTP/1.1\r\nhost: {host}");
        let (first, second) = (ask(&redirect, &head), ask(&redirect, &head));
        let (first, second, ()) = tokio::join!(first, second, async {
            for title in ["<One> & 'all'", "Two"] {
                let arrived = callback.next().await.unwrap();
                assert_eq!(arrived.redirected, format!("http://{host}/callback?code=a%20b&state=s"));
                arrived.show(Page::good(title, "a <b>\nc"));
            }
        });
        for (told, title) in [(first, "&lt;One&gt; &amp; &#39;all&#39;"), (second, "Two")] {
            assert!(
                told.starts_with("HTTP/1.1 200")
                    && told.contains(&format!("<h1>{title}</h1><p>a &lt;b&gt;</p><p>c</p>")),
                "{told}"
            );
            for header in ["cache-control: no-store", "referrer-policy: no-referrer", "default-src 'none'"] {
                assert!(told.contains(header), "{header}: {told}");
            }
        }
        callback.close().await;
    }

    /// What comes back holds the code, and a browser may take either address of `localhost`.
    #[tokio::test]
    async fn a_localhost_of_which_somebody_else_has_one_half_is_refused() {
        // A machine without IPv6 has no other half.
        let Ok(other) = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).await else { return };
        let port = other.local_addr().unwrap().port();
        let error = Callback::listen(&url(&format!("http://localhost:{port}/callback"))).await.err().unwrap();
        assert!(error.details().unwrap().contains("Stop what listens there"), "{error}");
    }

    #[tokio::test]
    async fn the_last_page_leaves_before_it_closes_and_the_port_is_free_again() {
        let mut callback = Callback::listen(&url("http://localhost:0/callback")).await.unwrap();
        let redirect = callback.redirect().clone();
        let asked = tokio::spawn({
            let redirect = redirect.clone();
            async move {
                let host = format!("localhost:{}", redirect.port().unwrap());
                ask(&redirect, &format!("GET /callback?state=s HTTP/1.1\r\nhost: {host}")).await
            }
        });
        let taken = Callback::listen(&redirect).await.err().unwrap();
        assert!(taken.details().unwrap().contains("--paste"), "{taken}");
        callback.next().await.unwrap().show(Page::bad("No.", ""));
        callback.close().await;
        assert!(asked.await.unwrap().contains("<h1>No.</h1>"));
        assert!(Callback::listen(&redirect).await.is_ok());
    }
}
