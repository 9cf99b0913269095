//! `http`: requests, within the grant.

use super::Call;
use crate::bindings::wharfage::plugin::http::{self as contract, Host};
use crate::bindings::wharfage::plugin::types;
use crate::error::{Error, Result};
use crate::outbound::{CredentialChoice, Method, Repeat, Request, Response, Source};

impl Host for Call {
    async fn send(&mut self, request: contract::Request) -> Result<contract::Response, types::Error> {
        let first = self.spend(1)?;
        let outbound = self.outbound.clone();
        let result = outbound.send(&self.context, Request::from(request).numbered(first)).await;
        self.receive(result)
    }

    async fn send_all(&mut self, requests: Vec<contract::Request>) -> Vec<Result<contract::Response, types::Error>> {
        let first = match self.spend(requests.len() as u64) {
            Ok(first) => first,
            Err(error) => return requests.iter().map(|_| Err(error.clone())).collect(),
        };
        let outbound = self.outbound.clone();
        let requests = (first..).zip(requests).map(|(number, request)| Request::from(request).numbered(number));
        let results = outbound.send_all(&self.context, requests.collect()).await;
        results.into_iter().map(|result| self.receive(result)).collect()
    }
}

impl Call {
    /// Counts requests of this call; answers the number of the first.
    fn spend(&mut self, requests: u64) -> Result<u64, types::Error> {
        let most = self.limits.requests;
        if self.spent.requests.saturating_add(requests) > most {
            let error = Error::limit("requests", format!("the limit requests of {most} per call is reached"));
            return Err(error.into());
        }
        let first = self.spent.requests;
        self.spent.requests += requests;
        Ok(first)
    }

    /// Counts what an answer cost and where it came from.
    fn receive(&mut self, result: Result<Response>) -> Result<contract::Response, types::Error> {
        match result {
            Ok(response) => {
                self.spent.attempts = self.spent.attempts.saturating_add(response.attempts);
                self.spent.source = self.spent.source.max(response.source);
                self.spent.age_ms = self.spent.age_ms.max(response.age_ms);
                Ok(response.into())
            }
            Err(error) => {
                self.spent.attempts = self.spent.attempts.saturating_add(error.attempts());
                if error.kind().name() == "policy-denied" {
                    self.context.refused(&error);
                    tracing::debug!(
                        target: "wharfage::outbound",
                        plugin = &*self.plugin,
                        connection = &*self.connection,
                        "refused: {error}"
                    );
                }
                self.spent.error = Some(error.clone());
                Err(error.into())
            }
        }
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
        }
    }
}

impl From<Response> for contract::Response {
    fn from(response: Response) -> Self {
        Self {
            status: response.status,
            headers: response.headers.into_iter().map(|(name, value)| types::Header { name, value }).collect(),
            body: response.body,
            url: response.url,
            source: match response.source {
                Source::Live => contract::Source::Live,
                Source::Cache => contract::Source::Cache,
                Source::Stale => contract::Source::Stale,
            },
            age_ms: response.age_ms,
            attempts: response.attempts,
            request_id: response.request_id,
        }
    }
}
