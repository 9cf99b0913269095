//! A request as it is wanted, before anybody has judged it, and an answer with a status below 400.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use zeroize::Zeroizing;

use super::cache::{Keep, Mark};
use super::secret_url::SecretUrl;
use super::stream::UploadBody;
use super::upgrade::Upgrade;
use crate::auth::Credential;
use crate::manifest::Idempotency;
use crate::observe::states::AnswerSource;

/// The method of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Method {
    /// Read.
    Get,
    /// Read the header only.
    Head,
    /// Create, or whatever the provider makes of it.
    Post,
    /// Replace.
    Put,
    /// Change.
    Patch,
    /// Remove.
    Delete,
}

impl Method {
    /// All there are.
    pub const ALL: &'static [Self] = &[Self::Get, Self::Head, Self::Post, Self::Put, Self::Patch, Self::Delete];

    /// As it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
        }
    }

    /// The method written so.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|method| method.as_str() == text)
    }

    /// Whether sending it twice is as sending it once (RFC 9110, 9.2.2).
    pub const fn is_idempotent(self) -> bool {
        !matches!(self, Self::Post | Self::Patch)
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Whether a request may be sent a second time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Repeat {
    /// As the method says.
    #[default]
    ByMethod,
    /// It does no harm.
    Safe,
    /// The host makes an idempotency key and keeps it over all attempts.
    Keyed,
    /// Never, unless the provider provably did not act.
    Never,
}

/// Which credential goes on a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum CredentialChoice {
    /// The one the manifest declares for the origin.
    #[default]
    Declared,
    /// None.
    Anonymous,
    /// The one of this name.
    Named(String),
    /// A token that the plugin had made in this call.
    Made(Arc<Made>),
}

/// A token that a plugin had made, and where it may go. The plugin knows it by the credential's name alone (R13).
pub(crate) struct Made {
    pub(crate) credential: Arc<Credential>,
    pub(crate) token: Zeroizing<String>,
}

impl fmt::Debug for Made {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Made({})", self.credential.name)
    }
}

impl PartialEq for Made {
    fn eq(&self, other: &Self) -> bool {
        self.credential.name == other.credential.name && self.token == other.token
    }
}

impl Eq for Made {}

/// One request, as a plugin wants it. It has no `Debug`: that of a token's renewal holds what it is renewed with.
#[derive(Clone)]
pub(crate) struct Request {
    /// The method.
    pub method: Method,
    /// An absolute URL, or `{origin}/path?query`.
    pub url: String,
    /// Header fields.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Option<Bytes>,
    /// The body, where it is written piece by piece.
    pub(crate) upload: Option<UploadBody>,
    /// Which credential.
    pub credential: CredentialChoice,
    /// May it be repeated.
    pub repeat: Repeat,
    /// Further costs, by name of the bucket.
    pub costs: Vec<(String, u32)>,
    /// Milliseconds for one attempt, if less than the limit.
    pub timeout_ms: Option<u64>,
    /// Which request of its call it is; the first is 0.
    pub(crate) number: u64,
    /// The key that the host made for all attempts of a keyed request.
    pub(crate) idempotency_key: Option<String>,
    /// Whether it belongs to an exchange of secrets, which no tape may hold and no cache keep.
    pub(crate) is_confidential: bool,
    /// What the plugin says of how long the answer holds.
    pub(crate) keep: Keep,
    /// What the connection is to become, where it is to carry something else after the answer.
    pub(crate) upgrade: Option<Upgrade>,
    /// The URL that it goes to, where that stays in the host.
    pub(crate) secret_url: Option<Arc<SecretUrl>>,
}

impl Request {
    /// A plain GET.
    pub(crate) fn get(url: &str) -> Self {
        Self {
            method: Method::Get,
            url: url.to_owned(),
            headers: Vec::new(),
            body: None,
            upload: None,
            credential: CredentialChoice::Declared,
            repeat: Repeat::ByMethod,
            costs: Vec::new(),
            timeout_ms: None,
            number: 0,
            idempotency_key: None,
            is_confidential: false,
            keep: Keep::default(),
            upgrade: None,
            secret_url: None,
        }
    }

    /// Whether sending it twice does no harm.
    pub(super) fn may_repeat(&self) -> bool {
        match self.repeat {
            Repeat::ByMethod => self.method.is_idempotent(),
            Repeat::Safe | Repeat::Keyed => true,
            Repeat::Never => false,
        }
    }
}

/// An answer with a status below 400. It has no `Debug`: a token comes in one.
#[derive(Clone)]
pub(crate) struct Response {
    /// The status.
    pub status: u16,
    /// Header fields, without those that carry credentials.
    pub headers: Vec<(String, String)>,
    /// The decoded body; what is kept of an answer has the same bytes.
    pub body: Arc<Vec<u8>>,
    /// The URL that answered, masked.
    pub url: String,
    /// Where it came from.
    pub source: AnswerSource,
    /// Its age in milliseconds.
    pub age_ms: u64,
    /// How many requests it cost.
    pub attempts: u32,
    /// The provider's id of the request.
    pub request_id: Option<String>,
    /// Whether nothing on it forbids to keep it, as a cookie would.
    pub(crate) may_be_kept: bool,
    /// Where it was kept, for the case that the plugin finds it to be an error.
    pub(crate) mark: Option<Mark>,
    /// The URL in it that stays in the host.
    pub(crate) secret_url: Option<Arc<SecretUrl>>,
}

#[cfg(test)]
impl Response {
    /// One with a status, for tests.
    pub(crate) fn bare(status: u16) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: Arc::default(),
            url: String::new(),
            source: AnswerSource::Live,
            age_ms: 0,
            attempts: 1,
            request_id: None,
            may_be_kept: false,
            mark: None,
            secret_url: None,
        }
    }
}

/// Where the host puts an idempotency key that it made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum KeyPlace {
    /// Into this header.
    Header(String),
    /// Into this parameter of the query.
    Query(String),
}

impl KeyPlace {
    /// The place that a manifest names.
    pub(crate) fn of(facts: &Idempotency) -> Option<Self> {
        let query = || facts.query.clone().map(Self::Query);
        facts.header.clone().map(Self::Header).or_else(query)
    }
}
