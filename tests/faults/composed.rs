//! The other side: `reqwest` 0.13 with `reqwest-middleware` 0.5, `reqwest-retry` 0.9, `governor` 0.10 and `failsafe` 1.3.
//!
//! It is composed as their READMEs say: a client with the retry as its middleware, the limiter's `until_ready` before a
//! request, the request as the breaker's future. Where a README leaves a choice open, it is made as does this client best:
//! limiter and breaker stand inside the retry, so that they see every attempt; the breaker counts a status of 500 and above
//! as a failure, as our own does, and not only a broken connection; and there is a time-out, which `reqwest` has none of by
//! itself. Its patience is the same as ours: five attempts, a second doubling up to a minute, a breaker of five failures
//! and a minute. Everything else is their default.

use std::num::NonZeroU32;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use failsafe::futures::CircuitBreaker as _;
use governor::{DefaultDirectRateLimiter, Quota};
use http::Extensions;
use reqwest::{Request, Response};
use reqwest_middleware::{ClientBuilder, ClientWithMiddleware, Error, Middleware, Next};
use reqwest_retry::policies::ExponentialBackoff;
use reqwest_retry::{RetryError, RetryTransientMiddleware};

use super::{ATTEMPT_MS, Ask, Ended, PER_SECOND, Place, TIMES, Told};
use crate::{API_KEY, Provider};

/// A client with all that its users put around it.
pub struct Composed {
    free: ClientWithMiddleware,
    paced: ClientWithMiddleware,
    url: String,
}

/// What a name that only a cloud's machines know stands for here, so that nobody's machine is asked in truth.
pub const METADATA_NAME: &str = "metadata.google.internal";

impl Composed {
    /// For this provider. Whoever asks the cloud for its metadata comes to `nowhere`.
    pub fn new(provider: &Provider, nowhere: &Provider) -> Self {
        let client = reqwest::Client::builder()
            .timeout(scaled(ATTEMPT_MS))
            .no_proxy()
            .resolve(METADATA_NAME, ([127, 0, 0, 1], nowhere.port()).into())
            .build()
            .expect("a client");
        let breaker = breaker();
        let retrying = || {
            let policy =
                ExponentialBackoff::builder().retry_bounds(scaled(1_000), scaled(60_000)).build_with_max_retries(4);
            ClientBuilder::new(client.clone()).with(RetryTransientMiddleware::new_with_policy(policy))
        };
        let per_second = NonZeroU32::new(PER_SECOND).expect("more than none");
        let quota = Quota::with_period(scaled(1_000) / PER_SECOND).expect("a period").allow_burst(per_second);
        let limiter = Arc::new(DefaultDirectRateLimiter::direct(quota));
        let free = retrying().with_arc(breaker.clone()).build();
        let paced = retrying().with_arc(pace(limiter)).with_arc(breaker).build();
        Self { free, paced, url: provider.url() }
    }

    /// One request.
    pub async fn ask(&self, ask: &Ask) -> Told {
        // None of the four has a limit of how many at once.
        let client = if ask.place == Place::Paced { &self.paced } else { &self.free };
        let url = ask.url.clone().unwrap_or_else(|| format!("{}/orders", self.url));
        let mut request = if ask.writes {
            client.post(url).header("content-type", "application/json").body("{\"item\":7}")
        } else {
            client.get(url)
        };
        if ask.keyed {
            // As one writes it down: made once, and so the same on every attempt.
            request = request.header("Idempotency-Key", "one-and-the-same");
        }
        request = if ask.key_header {
            request.header("X-Api-Key", API_KEY)
        } else {
            request.header("Authorization", format!("App {API_KEY}"))
        };
        match request.send().await {
            Ok(response) => answered(response).await,
            Err(error) => failed(name(&error), &error),
        }
    }
}

async fn answered(response: Response) -> Told {
    let status = response.status().as_u16();
    let headers = format!("{:?}", response.headers());
    match response.bytes().await {
        Ok(bytes) => {
            let body = String::from_utf8_lossy(&bytes[..bytes.len().min(4_000)]).into_owned();
            Told {
                ended: Ended::of(status, &body),
                shown: format!("{headers} {body}"),
                body,
                body_bytes: bytes.len() as u64,
            }
        }
        Err(error) => failed(of_client(&error), &error),
    }
}

fn failed(name: &str, error: &dyn std::error::Error) -> Told {
    Told { ended: Ended::Failure(name.to_owned()), shown: error.to_string(), body: String::new(), body_bytes: 0 }
}

/// How its user tells errors apart.
fn name(error: &Error) -> &'static str {
    match error {
        Error::Reqwest(error) => of_client(error),
        Error::Middleware(error) => match error.downcast_ref::<RetryError>() {
            Some(RetryError::Error(inner) | RetryError::WithRetries { err: inner, .. }) => name(inner),
            _ => REJECTED,
        },
    }
}

fn of_client(error: &reqwest::Error) -> &'static str {
    match error {
        error if error.is_timeout() => "timeout",
        error if error.is_connect() => "connect",
        error if error.is_redirect() => "redirect",
        error if error.is_body() => "body",
        error if error.is_decode() => "decode",
        _ => "request",
    }
}

const REJECTED: &str = "circuit open";

/// What the breaker counts.
enum Attempt {
    Refused(Box<Response>),
    Broken(Error),
}

type Answering<'a> = Pin<Box<dyn Future<Output = reqwest_middleware::Result<Response>> + Send + 'a>>;

/// Something around every attempt.
fn around<F>(work: F) -> Arc<dyn Middleware>
where
    F: for<'a> Fn(Request, &'a mut Extensions, Next<'a>) -> Answering<'a> + Send + Sync + 'static,
{
    Arc::new(work)
}

/// The breaker around every attempt.
fn breaker() -> Arc<dyn Middleware> {
    let policy = failsafe::failure_policy::consecutive_failures(5, failsafe::backoff::constant(scaled(60_000)));
    let breaker = failsafe::Config::new().failure_policy(policy).build();
    around(move |request, extensions, next| {
        let breaker = breaker.clone();
        Box::pin(async move {
            let attempt = async {
                match next.run(request, extensions).await {
                    Ok(response) if response.status().is_server_error() => Err(Attempt::Refused(Box::new(response))),
                    Ok(response) => Ok(response),
                    Err(error) => Err(Attempt::Broken(error)),
                }
            };
            match breaker.call(attempt).await {
                Ok(response) => Ok(response),
                Err(failsafe::Error::Inner(Attempt::Refused(response))) => Ok(*response),
                Err(failsafe::Error::Inner(Attempt::Broken(error))) => Err(error),
                Err(failsafe::Error::Rejected) => Err(Error::middleware(std::io::Error::other(REJECTED))),
            }
        })
    })
}

/// The limiter before every attempt.
fn pace(limiter: Arc<DefaultDirectRateLimiter>) -> Arc<dyn Middleware> {
    around(move |request, extensions, next| {
        let limiter = limiter.clone();
        Box::pin(async move {
            limiter.until_ready().await;
            next.run(request, extensions).await
        })
    })
}

/// A time of the settings as it is really waited.
fn scaled(ms: u64) -> Duration {
    Duration::from_millis(ms) / TIMES
}
