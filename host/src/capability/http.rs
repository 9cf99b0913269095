//! `http`: requests, within the grant.

use std::sync::Arc;

use wasmtime::StoreContextMut;
use wasmtime::component::{ComponentType, HasSelf, Linker, Lower, Resource};

use super::Call;
use crate::bindings::wharfage::plugin::http::{self as contract, Host};
use crate::bindings::wharfage::plugin::types;
use crate::error::{Error, Result};
use crate::outbound::cache::Keep;
use crate::outbound::secret_url::SECRET_URLS_MAX;
use crate::outbound::stream::{Place, Stream, Upload};
use crate::outbound::{AnswerSource, CredentialChoice, Method, Repeat, Request, Response};

/// An answer on its way into the guest: the body that is kept of it is the one that is copied there, and no other.
#[derive(ComponentType, Lower)]
#[component(record)]
struct Answer {
    status: u16,
    headers: Vec<types::Header>,
    body: Arc<Vec<u8>>,
    url: String,
    source: contract::Source,
    #[component(name = "age-ms")]
    age_ms: u64,
    attempts: u32,
    #[component(name = "request-id")]
    request_id: Option<String>,
}

/// Links the interface as it is generated, and then `send` once more: of what is generated a body is a vector of its own.
pub(super) fn link(linker: &mut Linker<Call>) -> wasmtime::Result<()> {
    contract::add_to_linker::<Call, HasSelf<Call>>(linker, |call| call)?;
    linker.allow_shadowing(true);
    let mut http = linker.instance("wharfage:plugin/http@0.1.0")?;
    http.func_wrap_async("send", |mut call: StoreContextMut<'_, Call>, (request,): (contract::Request,)| {
        Box::new(async move { Ok((call.data_mut().answer(request).await,)) })
    })?;
    linker.allow_shadowing(false);
    Ok(())
}

impl Host for Call {
    async fn send(&mut self, request: contract::Request) -> Result<contract::Response, types::Error> {
        self.answer(request).await.map(Into::into)
    }

    async fn open(&mut self, request: contract::Request) -> Result<contract::Opened, types::Error> {
        let first = self.spend(1)?;
        let request = self.request(request, first);
        let (outbound, context) = (self.outbound.clone(), self.context.clone());
        let opened = match self.place() {
            Ok(place) => {
                self.off_stack.run(|| Box::pin(async move { outbound.open(&context, request, place).await })).await
            }
            Err(error) => Err(error),
        };
        let (response, stream) = match opened {
            Ok((response, stream)) => (self.receive(Ok(response))?, stream),
            Err(error) => return Err(self.refuse(error)),
        };
        let Answer { status, headers, url, attempts, request_id, .. } = response;
        let body = self.keep_open(stream)?;
        Ok(contract::Opened { status, headers, url, attempts, request_id, body })
    }

    async fn start(
        &mut self,
        request: contract::Request,
        length: Option<u64>,
    ) -> Result<Resource<Upload>, types::Error> {
        let first = self.spend(1)?;
        let outbound = self.outbound.clone();
        let started = match self.place() {
            Ok(place) => outbound.start(&self.context, self.request(request, first), length, place).await,
            Err(error) => Err(error),
        };
        match started {
            Ok(upload) => self.keep_open(upload),
            Err(error) => Err(self.refuse(error)),
        }
    }

    async fn send_all(
        &mut self,
        requests: Vec<contract::Request>,
    ) -> wasmtime::Result<Vec<Result<contract::Response, types::Error>>> {
        let (wanted, most) = (requests.len(), self.limits.requests);
        // As many errors as a plugin likes would be as much memory as it likes.
        if wanted as u64 > most {
            return Err(wasmtime::Error::msg(format!("{wanted} {TOO_MANY_AT_ONCE} of {most}")));
        }
        let first = match self.spend(wanted as u64) {
            Ok(first) => first,
            Err(error) => {
                drop(requests);
                return Ok(vec![Err(error); wanted]);
            }
        };
        let requests = (first..).zip(requests).map(|(number, request)| self.request(request, number).into());
        let requests = requests.collect();
        let (outbound, context) = (self.outbound.clone(), self.context.clone());
        let results = self.off_stack.run(|| Box::pin(async move { outbound.send_all(&context, requests).await })).await;
        Ok(results.into_iter().map(|result| self.receive(result).map(Into::into)).collect())
    }
}

/// What is said of a list of requests that no call could send.
pub(crate) const TOO_MANY_AT_ONCE: &str = "requests at once are more than the limit requests";

impl contract::HostBody for Call {
    async fn read(&mut self, body: Resource<Stream>, bytes_max: u32) -> Result<Vec<u8>, types::Error> {
        let read = match self.table.get_mut(&body) {
            Ok(stream) => stream.read(usize::try_from(bytes_max).unwrap_or(usize::MAX)).await,
            Err(_) => Err(Error::internal("there is no such body")),
        };
        read.map_err(|error| self.keep(error))
    }

    fn drop(&mut self, body: Resource<Stream>) -> wasmtime::Result<()> {
        self.table.delete(body)?;
        Ok(())
    }
}

impl contract::HostUpload for Call {
    async fn write(&mut self, upload: Resource<Upload>, bytes: Vec<u8>) -> Result<(), types::Error> {
        let written = match self.table.get_mut(&upload) {
            Ok(upload) => upload.write(bytes).await,
            Err(_) => Err(Error::internal("there is no such upload")),
        };
        written.map_err(|error| self.keep(error))
    }

    async fn finish(&mut self, upload: Resource<Upload>) -> Result<contract::Response, types::Error> {
        let result = match self.table.delete(upload) {
            Ok(upload) => upload.finish().await,
            Err(_) => Err(Error::internal("there is no such upload")),
        };
        self.receive(result).map(Into::into)
    }

    fn drop(&mut self, upload: Resource<Upload>) -> wasmtime::Result<()> {
        self.table.delete(upload)?;
        Ok(())
    }
}

impl Call {
    /// A place for one more body that is read or written piece by piece.
    fn place(&self) -> Result<Place> {
        let (open, most) = (Arc::strong_count(&self.spent.streams) - 1, self.limits.streams);
        if open as u64 >= most {
            return Err(Error::limit(
                "streams",
                format!("the call has as many streams open as the limit streams of {most} allows"),
            )
            .with_details("Drop one that is no longer wanted; to allow more, set limits.streams on the connection"));
        }
        Ok(self.spent.streams.clone())
    }

    /// Puts something into the call's table.
    fn keep_open<T: Send + 'static>(&mut self, value: T) -> Result<Resource<T>, types::Error> {
        let most = self.limits.resources;
        self.table.push(value).map_err(|_| {
            let error = Error::limit("resources", format!("the limit resources of {most} handles is reached"));
            self.keep(error.with_more("resources"))
        })
    }

    /// The request of this call with this number, with what it names of the call: a token that it made, a URL that an answer
    /// left in the host.
    fn request(&self, request: contract::Request, number: u64) -> Request {
        let mut request = Request::from(request);
        request.number = number;
        if let CredentialChoice::Named(name) = &request.credential
            && let Some(made) = self.spent.made.iter().find(|made| made.credential.name == *name)
        {
            request.credential = CredentialChoice::Made(made.clone());
        }
        request.secret_url = self.spent.kept.iter().find(|kept| kept.name == request.url).cloned();
        request
    }

    /// Counts requests of this call; answers the number of the first.
    fn spend(&mut self, requests: u64) -> Result<u64, types::Error> {
        let most = self.limits.requests;
        if self.spent.requests.saturating_add(requests) > most {
            let error = Error::limit("requests", format!("the limit requests of {most} per call is reached"));
            return Err(self.keep(error.with_more("requests")));
        }
        let first = self.spent.requests;
        self.spent.requests += requests;
        Ok(first)
    }

    /// Sends one request.
    async fn answer(&mut self, request: contract::Request) -> Result<Answer, types::Error> {
        let first = self.spend(1)?;
        let request = Arc::new(self.request(request, first));
        let (outbound, context) = (self.outbound.clone(), self.context.clone());
        let result = self.off_stack.run(|| Box::pin(async move { outbound.send(&context, request).await })).await;
        self.receive(result)
    }

    /// Counts what an answer cost and where it came from.
    fn receive(&mut self, result: Result<Response>) -> Result<Answer, types::Error> {
        match result {
            Ok(mut response) => {
                if let Some(mark) = response.mark.take() {
                    self.spent.marked(mark);
                }
                if let Some(kept) = response.secret_url.take() {
                    if self.spent.kept.len() == SECRET_URLS_MAX {
                        let message = format!("the limit kept_urls of {SECRET_URLS_MAX} per call is reached");
                        return Err(self.refuse(Error::limit("kept_urls", message).with_details(crate::limits::FIXED)));
                    }
                    self.spent.kept.push(kept);
                }
                self.spent.attempts = self.spent.attempts.saturating_add(response.attempts);
                self.spent.source = self.spent.source.max(response.source);
                self.spent.age_ms = self.spent.age_ms.max(response.age_ms);
                Ok(response.into())
            }
            Err(error) => Err(self.refuse(error)),
        }
    }

    /// Counts what a request cost that had no answer.
    fn refuse(&mut self, error: Error) -> types::Error {
        self.spent.attempts = self.spent.attempts.saturating_add(error.attempts());
        self.keep(error)
    }
}

impl From<contract::Request> for Request {
    fn from(request: contract::Request) -> Self {
        Self {
            method: match request.method {
                contract::Method::Get => Method::Get,
                contract::Method::Head => Method::Head,
                contract::Method::Post => Method::Post,
                contract::Method::Put => Method::Put,
                contract::Method::Patch => Method::Patch,
                contract::Method::Delete => Method::Delete,
            },
            url: request.url,
            headers: request.headers.into_iter().map(|header| (header.name, header.value)).collect(),
            body: request.body.map(Into::into),
            upload: None,
            credential: match request.credential {
                contract::Credential::Declared => CredentialChoice::Declared,
                contract::Credential::Anonymous => CredentialChoice::Anonymous,
                contract::Credential::Named(name) => CredentialChoice::Named(name),
            },
            repeat: match request.repeat {
                contract::Repeat::ByMethod => Repeat::ByMethod,
                contract::Repeat::Safe => Repeat::Safe,
                contract::Repeat::Keyed => Repeat::Keyed,
                contract::Repeat::Never => Repeat::Never,
            },
            costs: request.costs.into_iter().map(|cost| (cost.bucket, cost.units)).collect(),
            timeout_ms: request.timeout_ms.map(u64::from),
            number: 0,
            idempotency_key: None,
            is_confidential: false,
            keep: match request.keep {
                contract::Keep::AsAnswered => Keep::AsAnswered,
                contract::Keep::Seconds(seconds) => Keep::Seconds(seconds),
                contract::Keep::Immutable => Keep::Immutable,
                contract::Keep::Never => Keep::Never,
            },
            upgrade: None,
            secret_url: None,
        }
    }
}

impl From<Answer> for contract::Response {
    fn from(answer: Answer) -> Self {
        let Answer { status, headers, body, url, source, age_ms, attempts, request_id } = answer;
        Self { status, headers, body: Arc::unwrap_or_clone(body), url, source, age_ms, attempts, request_id }
    }
}

impl From<Response> for Answer {
    fn from(response: Response) -> Self {
        Self {
            status: response.status,
            headers: response.headers.into_iter().map(|(name, value)| types::Header { name, value }).collect(),
            body: response.body,
            url: response.url,
            source: match response.source {
                AnswerSource::Live => contract::Source::Live,
                AnswerSource::Cache => contract::Source::Cache,
                AnswerSource::Stale => contract::Source::Stale,
            },
            age_ms: response.age_ms,
            attempts: response.attempts,
            request_id: response.request_id,
        }
    }
}
