//! `[credentials.<name>]` of a manifest: how secrets become a credential, where it is placed, and what it may go to.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::auth::Place;

/// How a credential is made of secrets and placed.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(tag = "scheme", rename_all = "kebab-case", deny_unknown_fields)]
#[non_exhaustive]
pub enum CredentialFacts {
    /// A key in one place: a header, the query, a cookie, a field of the body, or a part of the path.
    #[non_exhaustive]
    ApiKey {
        /// The secret.
        secret: String,
        /// The header's name.
        header: Option<String>,
        /// The query parameter's name.
        query: Option<String>,
        /// The cookie's name.
        cookie: Option<String>,
        /// The field's name in a body that is a form or a JSON object.
        body: Option<String>,
        /// The marker, as `{key}`, that the plugin writes into the path where the key goes.
        path: Option<String>,
        /// What stands before the key, as `App `.
        #[serde(default)]
        prefix: String,
        /// Its audience, by names of origins.
        origins: Vec<String>,
        /// The methods it goes with; any when empty.
        #[serde(default)]
        methods: Vec<String>,
        /// Path patterns below the base URL's own path that it goes to; any when empty.
        #[serde(default)]
        paths: Vec<String>,
        /// Who says so.
        #[serde(default)]
        source: String,
        /// When that was read.
        #[serde(default)]
        date: String,
    },
    /// `Authorization: Bearer` (RFC 6750).
    #[non_exhaustive]
    Bearer {
        /// The secret.
        secret: String,
        /// Its audience.
        origins: Vec<String>,
        /// The methods it goes with; any when empty.
        #[serde(default)]
        methods: Vec<String>,
        /// Path patterns below the base URL's own path that it goes to; any when empty.
        #[serde(default)]
        paths: Vec<String>,
        /// Who says so.
        #[serde(default)]
        source: String,
        /// When that was read.
        #[serde(default)]
        date: String,
    },
    /// `Authorization: Basic` (RFC 7617).
    #[non_exhaustive]
    Basic {
        /// The user's name, a secret's name as well.
        user: String,
        /// The password's secret.
        secret: String,
        /// Its audience.
        origins: Vec<String>,
        /// The methods it goes with; any when empty.
        #[serde(default)]
        methods: Vec<String>,
        /// Path patterns below the base URL's own path that it goes to; any when empty.
        #[serde(default)]
        paths: Vec<String>,
        /// Who says so.
        #[serde(default)]
        source: String,
        /// When that was read.
        #[serde(default)]
        date: String,
    },
    /// OAuth 2.0 (RFC 6749): the host keeps the tokens and renews them.
    Oauth2(Box<Oauth2Facts>),
    /// A short-lived token that the host signs (RFC 7519), as `Authorization: Bearer`.
    Jwt(Box<SelfSignedFacts>),
    /// AWS Signature Version 4.
    AwsSigv4(Box<AwsFacts>),
}

/// A token that the host signs, as an app's.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct SelfSignedFacts {
    /// The key's secret: in PEM, or what is shared for HS256 and its like.
    pub secret: String,
    /// RS256, ES256 and their like.
    pub algorithm: String,
    /// The key's id: a secret's name.
    pub key_id: Option<String>,
    /// Who says it (`iss`): a secret's name.
    pub issuer: Option<String>,
    /// About whom (`sub`): a secret's name.
    pub subject: Option<String>,
    /// To whom (`aud`).
    pub audience: Option<String>,
    /// What else it says.
    #[serde(default)]
    pub claims: serde_json::Map<String, serde_json::Value>,
    /// Seconds until it ends; 300 where it is left out, at most 3600.
    pub lifetime_s: Option<u64>,
    /// Its audience, by names of origins.
    pub origins: Vec<String>,
    /// The methods it goes with; any when empty.
    #[serde(default)]
    pub methods: Vec<String>,
    /// Path patterns below the base URL's own path that it goes to; any when empty.
    #[serde(default)]
    pub paths: Vec<String>,
    /// Who says so.
    #[serde(default)]
    pub source: String,
    /// When that was read.
    #[serde(default)]
    pub date: String,
}

/// A signature over each request.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct AwsFacts {
    /// The key's id: a secret's name.
    pub access_key: String,
    /// The key's secret.
    pub secret: String,
    /// The session of a temporary key: a secret's name.
    pub session: Option<String>,
    /// As `us-east-1`.
    pub region: String,
    /// As `s3`.
    pub service: String,
    /// Its audience, by names of origins.
    pub origins: Vec<String>,
    /// The methods it goes with; any when empty.
    #[serde(default)]
    pub methods: Vec<String>,
    /// Path patterns below the base URL's own path that it goes to; any when empty.
    #[serde(default)]
    pub paths: Vec<String>,
    /// Who says so.
    #[serde(default)]
    pub source: String,
    /// When that was read.
    #[serde(default)]
    pub date: String,
}

/// How a provider does OAuth 2.0. Endpoints are written `{origin}/path`, where the origin is one of the manifest's that
/// is `host_only`.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Oauth2Facts {
    /// How the first tokens are had.
    #[serde(default)]
    pub flow: Oauth2Flow,
    /// Where a person signs in (RFC 6749, 3.1); only the browser goes there.
    pub authorize: Option<String>,
    /// The token endpoint (RFC 6749, 3.2). With the flow `exchange` the name of a secret may stand in its path, as
    /// `{installation}`, where the host puts the value.
    pub token: String,
    /// Where a token is revoked (RFC 7009).
    pub revoke: Option<String>,
    /// How the token is written there.
    #[serde(default)]
    pub revoke_form: BodyForm,
    /// Where a device code is had (RFC 8628).
    pub device: Option<String>,
    /// The authorization server's identifier, compared with `iss` in the redirect where it comes (RFC 9207).
    pub issuer: Option<String>,
    /// The client's id: a secret's name.
    pub client_id: String,
    /// The client's secret: a secret's name; none for a public client.
    pub secret: Option<String>,
    /// How the client says who it is at the token endpoint.
    #[serde(default)]
    pub client_auth: ClientAuth,
    /// What is asked for in any case. What single operations and polls need stands with them.
    #[serde(default)]
    pub scopes: Vec<String>,
    /// What stands between scopes; a space where the provider follows RFC 6749.
    pub scope_separator: Option<String>,
    /// Further parameters of the sign-in address.
    #[serde(default)]
    pub authorize_params: BTreeMap<String, String>,
    /// Further parameters of every token request.
    #[serde(default)]
    pub token_params: BTreeMap<String, String>,
    /// Parameters of the redirect that are kept beside the tokens, as the id of a company. A plugin writes `{name}` into
    /// the path of a request that carries this credential, and the host puts the value there.
    #[serde(default)]
    pub capture: Vec<String>,
    /// Seconds that an access token lives where the answer does not say, at most ten years.
    pub lifetime_s: Option<u64>,
    /// The field of a token answer that says in how many seconds the refresh token ends.
    pub refresh_lifetime: Option<String>,
    /// For `jwt-bearer` and `exchange`: what the assertion says (RFC 7523).
    pub assertion: Option<AssertionFacts>,
    /// Fields of a token answer that are called otherwise than in RFC 6749.
    #[serde(default)]
    pub answer: TokenAnswerFacts,
    /// Its audience, by names of origins.
    pub origins: Vec<String>,
    /// The methods an access token goes with; any when empty.
    #[serde(default)]
    pub methods: Vec<String>,
    /// Path patterns below the base URL's own path that it goes to; any when empty.
    #[serde(default)]
    pub paths: Vec<String>,
    /// Who says so.
    #[serde(default)]
    pub source: String,
    /// When that was read.
    #[serde(default)]
    pub date: String,
}

impl Oauth2Facts {
    /// The names of secrets that stand in the path of the token endpoint.
    pub(crate) fn path_secrets(&self) -> Vec<&str> {
        let path = endpoint_parts(&self.token).map_or("", |(_, path)| path);
        let named = path.split('{').skip(1).filter_map(|rest| rest.split_once('}'));
        named.map(|(name, _)| name).collect()
    }

    /// Whether a consent for it has scopes.
    pub(crate) fn has_scopes(&self) -> bool {
        self.flow != Oauth2Flow::Exchange
    }
}

/// The origin and the path of an endpoint that is written `{origin}/path`.
pub(crate) fn endpoint_parts(written: &str) -> Option<(&str, &str)> {
    written.strip_prefix('{')?.split_once('}').filter(|(_, path)| path.starts_with('/'))
}

/// How the first tokens are had.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Oauth2Flow {
    /// A person signs in and is sent back with a code (RFC 6749, 4.1, with RFC 7636).
    #[default]
    AuthorizationCode,
    /// The client stands for itself (RFC 6749, 4.4).
    ClientCredentials,
    /// A person signs in on another device (RFC 8628).
    DeviceCode,
    /// The client signs an assertion (RFC 7523).
    JwtBearer,
    /// The client signs an assertion, which goes to the token endpoint as a bearer token, with an empty body. No grant of
    /// OAuth 2.0; what comes back is an access token all the same.
    Exchange,
}

/// How the body of a request is written.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum BodyForm {
    /// As a form, as RFC 6749 and RFC 7009 have it.
    #[default]
    Form,
    /// As a JSON object.
    Json,
}

/// The names of fields of a token answer, where they are others than in RFC 6749.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct TokenAnswerFacts {
    /// The access token; `access_token` where it is left out.
    pub access_token: Option<String>,
    /// When it ends, as a date (RFC 3339), instead of `expires_in`.
    pub expires_at: Option<String>,
}

/// How a client says who it is at the token endpoint (RFC 6749, 2.3.1).
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ClientAuth {
    /// Id and secret as HTTP Basic.
    #[default]
    Basic,
    /// Id and secret in the body.
    Body,
}

/// The assertion of a client that signs (RFC 7523).
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct AssertionFacts {
    /// The key's secret, in PEM.
    pub key: String,
    /// RS256, ES256 and their like.
    pub algorithm: String,
    /// The key's id: a secret's name.
    pub key_id: Option<String>,
    /// Who asserts; the client's id where it is left out.
    pub issuer: Option<String>,
    /// For whom: a secret's name.
    pub subject: Option<String>,
    /// To whom; the token endpoint where it is left out.
    pub audience: Option<String>,
}

impl CredentialFacts {
    /// The origins it may go to.
    pub fn origins(&self) -> &[String] {
        match self {
            Self::ApiKey { origins, .. } | Self::Bearer { origins, .. } | Self::Basic { origins, .. } => origins,
            Self::Oauth2(facts) => &facts.origins,
            Self::Jwt(facts) => &facts.origins,
            Self::AwsSigv4(facts) => &facts.origins,
        }
    }

    /// The methods and the path patterns that its audience is narrowed to; any where empty.
    pub fn narrowed(&self) -> (&[String], &[String]) {
        match self {
            Self::ApiKey { methods, paths, .. }
            | Self::Bearer { methods, paths, .. }
            | Self::Basic { methods, paths, .. } => (methods, paths),
            Self::Oauth2(facts) => (&facts.methods, &facts.paths),
            Self::Jwt(facts) => (&facts.methods, &facts.paths),
            Self::AwsSigv4(facts) => (&facts.methods, &facts.paths),
        }
    }

    /// Whether a consent for it has scopes.
    pub(crate) fn has_scopes(&self) -> bool {
        matches!(self, Self::Oauth2(facts) if facts.has_scopes())
    }

    /// Where a key goes, and how many places are named: it must be one.
    pub(crate) fn place(&self) -> (Option<Place>, usize) {
        let Self::ApiKey { header, query, cookie, body, path, .. } = self else { return (None, 0) };
        let places = [
            header.clone().map(Place::Header),
            query.clone().map(Place::Query),
            cookie.clone().map(Place::Cookie),
            body.clone().map(Place::Body),
            path.clone().map(Place::Path),
        ];
        let mut named = places.into_iter().flatten();
        let first = named.next();
        let number = usize::from(first.is_some()) + named.count();
        (first, number)
    }

    /// The secrets it is made of.
    pub fn secrets(&self) -> Vec<&str> {
        match self {
            Self::ApiKey { secret, .. } | Self::Bearer { secret, .. } => vec![secret],
            Self::Basic { user, secret, .. } => vec![user, secret],
            Self::Jwt(facts) => {
                let all = [Some(&facts.secret), facts.key_id.as_ref(), facts.issuer.as_ref(), facts.subject.as_ref()];
                all.into_iter().flatten().map(String::as_str).collect()
            }
            Self::AwsSigv4(facts) => {
                let all = [Some(&facts.access_key), Some(&facts.secret), facts.session.as_ref()];
                all.into_iter().flatten().map(String::as_str).collect()
            }
            Self::Oauth2(facts) => {
                let key = facts.assertion.as_ref().map(|assertion| &assertion.key);
                let key_id = facts.assertion.as_ref().and_then(|assertion| assertion.key_id.as_ref());
                let subject = facts.assertion.as_ref().and_then(|assertion| assertion.subject.as_ref());
                let all = [Some(&facts.client_id), facts.secret.as_ref(), key, key_id, subject];
                all.into_iter().flatten().map(String::as_str).chain(facts.path_secrets()).collect()
            }
        }
    }
}
