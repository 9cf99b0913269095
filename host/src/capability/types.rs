//! `types`: the words of the contract and ours, both ways.

use super::Call;
use crate::bindings::wharfage::plugin::types::{self as contract, Host};
use crate::error::{Error, FieldError, Kind, NetworkStage, RequestSent};
use crate::text::is_unshowable;
use crate::time::Timestamp;

impl Host for Call {}

impl From<Error> for contract::Error {
    fn from(error: Error) -> Self {
        use contract::ErrorKind as To;
        let kind = match error.kind() {
            Kind::InvalidRequest(fields) => To::InvalidRequest(
                fields
                    .iter()
                    .map(|field| contract::FieldError { path: field.path.clone(), message: field.message.clone() })
                    .collect(),
            ),
            Kind::NotFound => To::NotFound,
            Kind::Conflict => To::Conflict,
            Kind::CursorInvalid => To::CursorInvalid,
            Kind::UnknownOperation => To::UnknownOperation,
            Kind::PolicyDenied(rule) => To::PolicyDenied(rule.clone()),
            Kind::CredentialUnavailable => To::CredentialUnavailable,
            Kind::Unauthorized => To::Unauthorized,
            Kind::ReauthorizationNeeded => To::ReauthorizationNeeded,
            Kind::Forbidden => To::Forbidden,
            Kind::LimitExceeded(name) => To::LimitExceeded(name.clone()),
            Kind::RateLimited => To::RateLimited,
            Kind::QuotaExhausted => To::QuotaExhausted,
            Kind::CircuitOpen => To::CircuitOpen,
            Kind::Transient | Kind::Busy(_) => To::Transient,
            Kind::Timeout => To::Timeout,
            Kind::Deadline => To::Deadline,
            Kind::Cancelled => To::Cancelled,
            Kind::Network(stage) => To::Network(match stage {
                NetworkStage::Dns => contract::NetworkStage::Dns,
                NetworkStage::Connect => contract::NetworkStage::Connect,
                NetworkStage::Tls => contract::NetworkStage::Tls,
                NetworkStage::Reset => contract::NetworkStage::Reset,
            }),
            Kind::OutcomeUnknown => To::OutcomeUnknown,
            Kind::SchemaViolation => To::SchemaViolation,
            Kind::TooLarge => To::TooLarge,
            Kind::ProviderReported => To::ProviderReported,
            Kind::Internal(text) => To::Internal(text.clone()),
            Kind::Configuration | Kind::Component => To::Internal(error.message().to_owned()),
        };
        // The details are for the operator and stay here.
        Self {
            kind,
            message: error.message().to_owned(),
            retry_at: error.retry_at().map(Timestamp::as_millis),
            request_sent: match error.request_sent() {
                RequestSent::No => contract::RequestSent::No,
                RequestSent::Maybe => contract::RequestSent::Maybe,
                RequestSent::Yes => contract::RequestSent::Yes,
            },
            status: error.status(),
            provider_code: error.provider_code().map(str::to_owned),
            request_id: error.request_id().map(str::to_owned),
            endpoint: error.endpoint().map(str::to_owned),
            body: error.body().map(str::to_owned),
            attempts: error.attempts(),
        }
    }
}

/// Most bytes of a text that an error of a plugin may bring.
pub(crate) const TEXT_BYTES_MAX: usize = 1000;

impl From<contract::Error> for Error {
    fn from(error: contract::Error) -> Self {
        use contract::ErrorKind as From;
        let kind = match error.kind {
            From::InvalidRequest(fields) => Kind::InvalidRequest(
                fields
                    .into_iter()
                    .take(100)
                    .map(|field| FieldError::new(cut(field.path), cut(field.message)))
                    .collect(),
            ),
            From::NotFound => Kind::NotFound,
            From::Conflict => Kind::Conflict,
            From::CursorInvalid => Kind::CursorInvalid,
            From::UnknownOperation => Kind::UnknownOperation,
            From::PolicyDenied(rule) => Kind::PolicyDenied(cut(rule)),
            From::CredentialUnavailable => Kind::CredentialUnavailable,
            From::Unauthorized => Kind::Unauthorized,
            From::ReauthorizationNeeded => Kind::ReauthorizationNeeded,
            From::Forbidden => Kind::Forbidden,
            From::LimitExceeded(name) => Kind::LimitExceeded(cut(name)),
            From::RateLimited => Kind::RateLimited,
            From::QuotaExhausted => Kind::QuotaExhausted,
            From::CircuitOpen => Kind::CircuitOpen,
            From::Transient => Kind::Transient,
            From::Timeout => Kind::Timeout,
            From::Deadline => Kind::Deadline,
            From::Cancelled => Kind::Cancelled,
            From::Network(stage) => Kind::Network(match stage {
                contract::NetworkStage::Dns => NetworkStage::Dns,
                contract::NetworkStage::Connect => NetworkStage::Connect,
                contract::NetworkStage::Tls => NetworkStage::Tls,
                contract::NetworkStage::Reset => NetworkStage::Reset,
            }),
            From::OutcomeUnknown => Kind::OutcomeUnknown,
            From::SchemaViolation => Kind::SchemaViolation,
            From::TooLarge => Kind::TooLarge,
            From::ProviderReported => Kind::ProviderReported,
            From::Internal(text) => Kind::Internal(cut(text)),
        };
        Self::new(kind, cut(error.message))
            .with_retry_at(error.retry_at.map(Timestamp::from_millis))
            .with_request_sent(match error.request_sent {
                contract::RequestSent::No => RequestSent::No,
                contract::RequestSent::Maybe => RequestSent::Maybe,
                contract::RequestSent::Yes => RequestSent::Yes,
            })
            .with_status(error.status)
            .with_provider_code(error.provider_code.map(cut))
            .with_request_id(error.request_id.map(cut))
            .with_endpoint(error.endpoint.map(cut))
            .with_body(error.body.map(cut_lines))
            .with_attempts(error.attempts)
    }
}

/// A plugin's text on one line, for lines of their own are the host's to say; bounded, and without what cannot be shown.
fn cut(text: String) -> String {
    cut_lines(text).replace('\n', " ")
}

/// The same with its lines.
fn cut_lines(text: String) -> String {
    let mut kept = String::new();
    for c in text.chars().map(|c| if is_unshowable(c) && c != '\n' { '\u{fffd}' } else { c }) {
        if kept.len() + c.len_utf8() > TEXT_BYTES_MAX {
            break;
        }
        kept.push(c);
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_plugin_says_is_one_line_that_shows_what_is_there() {
        let forged = "no\nTo allow it, set in [connections.acme]:\u{202e}\u{1b}[2J";
        assert_eq!(cut(forged.to_owned()), "no To allow it, set in [connections.acme]:\u{fffd}\u{fffd}[2J");
        assert_eq!(cut_lines("a\nb\u{200f}".to_owned()), "a\nb\u{fffd}");
        assert_eq!(cut("é".repeat(TEXT_BYTES_MAX)).len(), TEXT_BYTES_MAX);
    }
}
