//! What a component says about itself, read before any of it is compiled or run.
//!
//! `wharfage build` writes two custom sections at the component's top level: the text of `plugin.toml`, and the
//! operations with their JSON Schemas. One file so says all: what the plugin needs, and what it can do. A component
//! without them, with two of one, or with one hidden inside a nested module is refused, for what an operator read must
//! be what the host enforces. Nothing here runs guest code; everything here is untrusted text with a size limit.

mod health;
mod poll;
mod socket;
mod webhook;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use wasmparser::{Encoding, Parser, Payload};

use crate::auth::authorize::OWN_PARAMS;
use crate::auth::hmac::Function;
use crate::auth::scopes::{self, Needed};
use crate::auth::self_signed::LIFETIME_S_MAX;
use crate::auth::{Place, jwt};
use crate::connection::Connection;
use crate::error::{Error, Kind, Result};
use crate::schema::Schema;

pub use health::HealthFacts;
pub(crate) use poll::EVERY_S_MAX;
pub use poll::{PollFacts, Recovery};
pub use socket::{PingFacts, SocketFacts};
pub(crate) use webhook::Piece;
pub use webhook::{
    AnswerFacts, ChallengeFacts, ConditionFacts, JwtWebhookFacts, PartFacts, SecretEncoding, SignatureAlgorithm,
    SignatureEncoding, SignatureFacts, SignatureForm, Template, TimeFacts, TimeForm, TokenFacts, VerifyFacts,
    WebhookFacts,
};

/// The contract this host speaks.
pub(crate) const CONTRACT: semver::Version = semver::Version::new(0, 1, 0);

/// The custom section that holds `plugin.toml`.
pub(crate) const MANIFEST_SECTION: &str = "wharfage:manifest";
/// The custom section that holds the operations.
pub(crate) const OPERATIONS_SECTION: &str = "wharfage:operations";

/// Most bytes of a component.
pub(crate) const COMPONENT_BYTES_MAX: usize = 64 << 20;
/// Most bytes of code in a component, and in one function of it: what is made to be hard to compile takes ten times as long
/// in a function that is four times as large.
pub(crate) const CODE_BYTES_MAX: usize = 24 << 20;
pub(crate) const FUNCTION_BYTES_MAX: usize = 256 << 10;
/// Most bytes of a manifest.
pub(crate) const MANIFEST_BYTES_MAX: usize = 256 << 10;
/// Most bytes of all operations with their schemas.
pub(crate) const OPERATIONS_BYTES_MAX: usize = 1 << 20;
/// Most operations of a plugin.
pub(crate) const OPERATIONS_MAX: usize = 500;

/// Most origins of a manifest.
const ORIGINS_MAX: usize = 32;
/// Most budgets of a manifest.
const BUDGETS_MAX: usize = 64;
/// Most weights of a budget.
const WEIGHTS_MAX: usize = 64;
/// Most rows of `rate_headers`.
const RATE_HEADERS_MAX: usize = 32;
/// Most rows of `answers`: each is asked about every answer.
const ANSWERS_MAX: usize = 64;
/// Most conditions of one of these.
const CONDITIONS_MAX: usize = 8;
/// Most texts of a condition's `any_of`.
const ANY_OF_MAX: usize = 64;

/// Most bytes of an event's type.
const EVENT_TYPE_BYTES_MAX: usize = 128;

/// Most scopes that an operation or a poll names.
const SCOPES_MAX: usize = 32;
/// Most bytes of one of them.
const SCOPE_BYTES_MAX: usize = 1 << 10;

const PACKAGE: &str = "wharfage:plugin/";

/// `plugin.toml`: a provider's facts.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// What it is.
    pub plugin: PluginFacts,
    /// Where it talks to, by the name that `{name}` stands for in request URLs.
    #[serde(default)]
    pub origins: BTreeMap<String, OriginFacts>,
    /// The secrets it uses, by name.
    #[serde(default)]
    pub secrets: BTreeMap<String, SecretFacts>,
    /// How secrets become credentials, by name.
    #[serde(default)]
    pub credentials: BTreeMap<String, CredentialFacts>,
    /// How fast the provider allows requests, by name of the bucket.
    #[serde(default)]
    pub budgets: BTreeMap<String, BudgetFacts>,
    /// What the body of an answer means, first match wins.
    #[serde(default)]
    pub answers: Vec<AnswerRule>,
    /// Headers that say how much is left, where they are not the usual ones.
    #[serde(default)]
    pub rate_headers: Vec<RateHeaders>,
    /// Where the host places an idempotency key it made.
    pub idempotency: Option<Idempotency>,
    /// A header by which the provider says whether trying again is of use.
    pub retry: Option<RetryHeader>,
    /// A header with the provider's id of a request, where it is not one of the usual ones.
    pub request_id: Option<RequestIdHeader>,
    /// What the operations do.
    #[serde(default)]
    pub operations: BTreeMap<String, OperationFacts>,
    /// The webhooks it takes, by name.
    #[serde(default)]
    pub webhooks: BTreeMap<String, WebhookFacts>,
    /// What it asks for anew from time to time, by name.
    #[serde(default)]
    pub polls: BTreeMap<String, PollFacts>,
    /// The sockets whose messages it takes, by name.
    #[serde(default)]
    pub sockets: BTreeMap<String, SocketFacts>,
    /// The events it emits, by type; nothing else leaves it.
    #[serde(default)]
    pub events: BTreeMap<String, EventFacts>,
    /// How a connection is probed.
    pub health: Option<HealthFacts>,
}

/// A type of event that a plugin emits.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct EventFacts {
    /// When it is emitted and what its data say, in a sentence.
    pub description: String,
}

/// The head of a manifest.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct PluginFacts {
    /// Its name: lower-case letters, digits and hyphens, beginning with a letter.
    pub name: String,
    /// Its version.
    pub version: semver::Version,
    /// The version of the contract it was made for.
    pub contract: semver::Version,
    /// The remote service's name.
    pub provider: String,
    /// A sentence.
    #[serde(default)]
    pub description: String,
}

/// A place a plugin talks to.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct OriginFacts {
    /// The base URL that `{name}` stands for.
    pub url: String,
    /// Methods used there.
    pub methods: Vec<String>,
    /// Path patterns below the base URL's own path.
    pub paths: Vec<String>,
    /// The credential that goes on every request there; without it, the first whose audience holds this origin.
    pub credential: Option<String>,
    /// Whether a request of the plugin's may also go without that credential: where nobody has given its secrets.
    #[serde(default)]
    pub credential_optional: bool,
    /// Whether only the host talks to it, as to a token endpoint: no request of the plugin's goes there.
    #[serde(default)]
    pub host_only: bool,
    /// The header field of its answers whose URL works like a credential: the host keeps it, and the plugin gets a name for it
    /// that its further requests may go to.
    pub kept_header: Option<String>,
    /// Who says so.
    #[serde(default)]
    pub source: String,
    /// When that was read.
    #[serde(default)]
    pub date: String,
}

/// A secret that a plugin names.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct SecretFacts {
    /// What it is and where a person gets it.
    #[serde(default)]
    pub description: String,
    /// What it may be used for.
    #[serde(default)]
    pub purpose: Purpose,
    /// Days after which it should be replaced, where the provider says so; `wharfage secret age` reminds of it.
    pub max_age_days: Option<u32>,
    /// The keyed hashes that may be asked for, as `hmac-sha256`; for verifying, every one when empty.
    #[serde(default)]
    pub algorithms: Vec<String>,
    /// What may be signed: text in which `*` stands for any bytes.
    pub template: Option<String>,
    /// The tokens that are made or checked with it, instead of keyed hashes.
    pub jwt: Option<JwtFacts>,
    /// Who says so.
    #[serde(default)]
    pub source: String,
    /// When that was read.
    #[serde(default)]
    pub date: String,
}

/// Tokens (RFC 7519) that a secret makes, or checks.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct JwtFacts {
    /// RS256, ES256 and their like: the one that the key is for.
    pub algorithm: String,
    /// The key's id, written into tokens that are made.
    pub key_id: Option<String>,
    /// Who says it (`iss`).
    pub issuer: Option<String>,
    /// To whom (`aud`): one of these.
    #[serde(default)]
    pub audience: Vec<String>,
    /// A secret whose value is one more of them, as the id that a provider gave its client.
    pub audience_secret: Option<String>,
    /// What a token that is checked must allow.
    #[serde(default)]
    pub scopes: Vec<String>,
    /// Seconds until a token that is made ends; 300 where it is left out, at most 3600.
    pub lifetime_s: Option<u64>,
    /// Seconds by which clocks may differ; 60 where it is left out.
    pub leeway_s: Option<u64>,
    /// Where the provider's public keys are, written `{origin}/path`, at an origin that is `host_only`.
    pub jwks: Option<String>,
    /// Where a token that is made may go, by names of origins.
    #[serde(default)]
    pub origins: Vec<String>,
}

/// Most seconds by which clocks may differ.
const LEEWAY_S_MAX: u64 = 600;

impl JwtFacts {
    fn check(&self, purpose: Purpose, manifest: &Manifest) -> std::result::Result<(), String> {
        check_signing(&self.algorithm, self.lifetime_s)?;
        if self.leeway_s.is_some_and(|leeway_s| leeway_s > LEEWAY_S_MAX) {
            return Err(format!("has a leeway_s of more than {LEEWAY_S_MAX}"));
        }
        if purpose == Purpose::Sign {
            if self.jwks.is_some()
                || !self.scopes.is_empty()
                || self.leeway_s.is_some()
                || self.audience_secret.is_some()
            {
                return Err("makes tokens; jwks, scopes, leeway_s and audience_secret are for checking".to_owned());
            }
            let is_plugins = |name: &String| manifest.origins.get(name).is_some_and(|facts| !facts.host_only);
            return match self.origins.iter().find(|name| !is_plugins(name)) {
                None if self.origins.is_empty() => Err("makes tokens: say for where:   origins = [\"api\"]".to_owned()),
                None => Ok(()),
                Some(name) => Err(format!("makes tokens for `{}`, which is no origin the plugin asks", shown(name))),
            };
        }
        // Without these, what a provider signed for anybody else would pass.
        if self.issuer.is_none() {
            return Err("checks tokens: say whose:   issuer = \"https://…\"".to_owned());
        }
        if self.audience.is_empty() && self.audience_secret.is_none() {
            return Err(
                "checks tokens: say for whom:   audience = [\"…\"] or audience_secret = \"client_id\"".to_owned()
            );
        }
        if !self.origins.is_empty() || self.lifetime_s.is_some() || self.key_id.is_some() {
            return Err("checks tokens; origins, lifetime_s and key_id are for making".to_owned());
        }
        if let Some(name) = &self.audience_secret
            && manifest.secrets.get(name).is_none_or(|facts| facts.purpose != Purpose::Credential)
        {
            return Err(format!("wants the secret `{}`, which is not declared as a credential", shown(name)));
        }
        let Some(endpoint) = &self.jwks else { return Ok(()) };
        if self.algorithm.starts_with("HS") {
            return Err(format!("cannot check {} with public keys", self.algorithm));
        }
        let place = endpoint.strip_prefix('{').and_then(|rest| rest.split_once('}'));
        let is_hosts = place.is_some_and(|(origin, path)| {
            path.starts_with('/') && manifest.origins.get(origin).is_some_and(|facts| facts.host_only)
        });
        if is_hosts {
            Ok(())
        } else {
            Err("has a jwks that is not {origin}/path at an origin with host_only = true".to_owned())
        }
    }
}

/// Most bytes of a template.
const TEMPLATE_BYTES_MAX: usize = 1 << 10;

impl SecretFacts {
    /// The keyed hashes that may be asked for.
    pub(crate) fn functions(&self) -> Vec<Function> {
        if self.jwt.is_some() {
            return Vec::new();
        }
        match self.algorithms.as_slice() {
            [] => Function::ALL.to_vec(),
            some => some.iter().filter_map(|name| Function::named(name)).collect(),
        }
    }

    /// Whether it is no value but the place of a provider's public keys.
    pub(crate) fn has_key_set(&self) -> bool {
        self.jwt.as_ref().is_some_and(|jwt| jwt.jwks.is_some())
    }

    fn check(&self, manifest: &Manifest) -> std::result::Result<(), String> {
        if let Some(jwt) = &self.jwt {
            if self.purpose == Purpose::Credential || self.template.is_some() || !self.algorithms.is_empty() {
                return Err(
                    "has jwt: its purpose is sign or verify, and it has neither algorithms nor a template".to_owned()
                );
            }
            return jwt.check(self.purpose, manifest);
        }
        if let Some(stranger) = self.algorithms.iter().find(|name| Function::named(name).is_none()) {
            let known: Vec<&str> = Function::ALL.iter().map(|function| function.name()).collect();
            return Err(format!("wants the algorithm `{}`; there are {}", shown(stranger), known.join(", ")));
        }
        let is_over = |template: &String| template.is_empty() || template.len() > TEMPLATE_BYTES_MAX;
        if self.template.as_ref().is_some_and(is_over) {
            return Err(format!("has a template that is not of 1 to {TEMPLATE_BYTES_MAX} bytes"));
        }
        match self.purpose {
            Purpose::Sign if self.algorithms.is_empty() => {
                Err("signs: say with what:   algorithms = [\"hmac-sha256\"]".to_owned())
            }
            Purpose::Sign if self.template.is_none() => {
                Err("signs: say what, with `*` for what varies:   template = \"v1:*:*\"".to_owned())
            }
            Purpose::Verify if self.template.is_some() => {
                Err("has a template, and its purpose is not to sign".to_owned())
            }
            Purpose::Credential if self.template.is_some() || !self.algorithms.is_empty() => {
                Err("has a template or algorithms, and its purpose is to be placed on requests".to_owned())
            }
            _ => Ok(()),
        }
    }
}

/// What a secret may be used for: one purpose a secret.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum Purpose {
    /// To be placed on requests by the host.
    #[default]
    Credential,
    /// For keyed hashes the plugin asks for.
    Sign,
    /// For checking keyed hashes.
    Verify,
}

/// How a credential is made of secrets and placed.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(tag = "scheme", rename_all = "kebab-case", deny_unknown_fields)]
pub enum CredentialFacts {
    /// A key in one place: a header, the query, a cookie, a field of the body, or a part of the path.
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
    /// Seconds that an access token lives where the answer does not say.
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
    fn check(&self, origins: &BTreeMap<String, OriginFacts>) -> std::result::Result<(), String> {
        if self.source.is_empty() || self.date.is_empty() {
            return Err("it is a fact: say its source and date".to_owned());
        }
        let host_asks =
            [("token", Some(&self.token)), ("revoke", self.revoke.as_ref()), ("device", self.device.as_ref())];
        let all = host_asks.into_iter().map(|(key, endpoint)| (key, endpoint, true));
        for (key, endpoint, is_asked) in all.chain([("authorize", self.authorize.as_ref(), false)]) {
            let Some(endpoint) = endpoint else { continue };
            let Some((origin, _)) = endpoint_parts(endpoint) else {
                return Err(format!("`{key}` is written {{origin}}/path, with an origin of this manifest"));
            };
            match origins.get(origin) {
                None => return Err(format!("`{key}` is at the origin `{}`, which is not declared", shown(origin))),
                Some(facts) if is_asked && !facts.host_only => {
                    return Err(format!("`{key}` is at the origin `{origin}`, which must say host_only = true"));
                }
                Some(_) => {}
            }
        }
        let is_word = |name: &String| {
            !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
        };
        if let Some(name) = self.capture.iter().find(|name| !is_word(name) || origins.contains_key(*name)) {
            return Err(format!(
                "`capture` names `{}`: letters, digits, `_` and `-`, and no origin's name",
                shown(name)
            ));
        }
        if let Some(name) = self.authorize_params.keys().find(|name| OWN_PARAMS.contains(&name.as_str())) {
            return Err(format!("`authorize_params` names `{name}`, which only the host says"));
        }
        let has_params = !self.token_params.is_empty() || !self.scopes.is_empty();
        if self.flow == Oauth2Flow::Exchange && has_params {
            return Err("its flow sends no form: `scopes` and `token_params` are of other flows".to_owned());
        }
        if self.flow != Oauth2Flow::Exchange && !self.path_secrets().is_empty() {
            return Err("`token` has a secret's name in its path, which is for the flow `exchange`".to_owned());
        }
        let needed = match self.flow {
            Oauth2Flow::AuthorizationCode => ("authorize", self.authorize.is_some()),
            Oauth2Flow::DeviceCode => ("device", self.device.is_some()),
            Oauth2Flow::JwtBearer | Oauth2Flow::Exchange => ("assertion", self.assertion.is_some()),
            Oauth2Flow::ClientCredentials => ("secret", self.secret.is_some()),
        };
        if needed.1 { Ok(()) } else { Err(format!("its flow needs `{}`", needed.0)) }
    }

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
pub struct TokenAnswerFacts {
    /// The access token; `access_token` where it is left out.
    pub access_token: Option<String>,
    /// When it ends, as a date (RFC 3339), instead of `expires_in`.
    pub expires_at: Option<String>,
}

/// How a client says who it is at the token endpoint (RFC 6749, 2.3.1).
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
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
    fn has_scopes(&self) -> bool {
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

/// A quota: how many per time, or how many at once.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct BudgetFacts {
    /// Units per window.
    pub limit: Option<u32>,
    /// The window, in seconds.
    pub window_s: Option<u64>,
    /// Requests at once, instead of a window.
    pub concurrency: Option<u32>,
    /// Who shares it.
    #[serde(default)]
    pub scope: BudgetScope,
    /// The origins whose every request takes one unit; all when empty.
    #[serde(default)]
    pub origins: Vec<String>,
    /// Requests that cost something else than one unit; the first that fits decides.
    #[serde(default)]
    pub weights: Vec<WeightFacts>,
    /// Who says so.
    #[serde(default)]
    pub source: String,
    /// When that was read.
    #[serde(default)]
    pub date: String,
}

/// What some requests cost of a budget.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct WeightFacts {
    /// Methods; any when empty.
    #[serde(default)]
    pub methods: Vec<String>,
    /// Path patterns below the base URL's own path; any when empty.
    #[serde(default)]
    pub paths: Vec<String>,
    /// What such a request costs; 0 is nothing.
    pub units: u32,
}

/// Who shares a budget.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum BudgetScope {
    /// Everything that uses the account.
    #[default]
    Account,
    /// One connection.
    Connection,
    /// Every account that names the same `user`; an account that names none is a user of its own.
    User,
    /// Every account that names the same `project`; an account that names none is a project of its own.
    Project,
    /// Every connection of the plugin.
    Plugin,
}

/// Headers of an answer that say how much of a budget is left.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct RateHeaders {
    /// The budget they are about; without it, the one with a window if there is only one.
    pub bucket: Option<String>,
    /// The header with the units of the whole window.
    pub limit: Option<String>,
    /// The header with the units that are left.
    pub remaining: Option<String>,
    /// The header with the time when the window begins anew, in any of the usual forms.
    pub reset: Option<String>,
    /// Who says so.
    #[serde(default)]
    pub source: String,
    /// When that was read.
    #[serde(default)]
    pub date: String,
}

impl RateHeaders {
    /// The headers it names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        [&self.limit, &self.remaining, &self.reset].into_iter().filter_map(|name| name.as_deref())
    }
}

/// A header of an answer that overrules what its status says about trying again: `true` or `false`.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct RetryHeader {
    /// The header's name.
    pub header: String,
    /// Who says so.
    #[serde(default)]
    pub source: String,
    /// When that was read.
    #[serde(default)]
    pub date: String,
}

/// A header of an answer that holds the provider's id of the request, to quote in a support case.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct RequestIdHeader {
    /// The header's name.
    pub header: String,
    /// Who says so.
    #[serde(default)]
    pub source: String,
    /// When that was read.
    #[serde(default)]
    pub date: String,
}

/// What an answer means.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct AnswerRule {
    /// The origin it is about; any when absent.
    pub origin: Option<String>,
    /// Statuses it is about; any when empty.
    #[serde(default)]
    pub status: Vec<u16>,
    /// JSON Pointer to a text, number or boolean: its first condition. `*` stands for any one item or member.
    pub pointer: Option<String>,
    /// The name of a header: its first condition, instead of `pointer`.
    pub header: Option<String>,
    /// That value holds this, in any case of letters.
    pub contains: Option<String>,
    /// That value is exactly this.
    pub equals: Option<String>,
    /// That value is one of these.
    #[serde(default)]
    pub any_of: Vec<String>,
    /// Further conditions, all of which must hold.
    #[serde(default)]
    pub and: Vec<Condition>,
    /// The error kind it means.
    pub kind: String,
    /// The budget it is about, for limits; without it, every budget with a window that covers the origin.
    pub bucket: Option<String>,
    /// Seconds to wait, where the answer itself does not say.
    pub retry_after_s: Option<u64>,
    /// JSON Pointer to when to come back: seconds, a date, a duration, or a sentence that holds a date (RFC 3339).
    pub retry_at: Option<String>,
    /// JSON Pointer to the provider's code.
    pub code: Option<String>,
    /// Who says so.
    #[serde(default)]
    pub source: String,
    /// When that was read.
    #[serde(default)]
    pub date: String,
}

impl AnswerRule {
    /// All its conditions.
    pub fn conditions(&self) -> impl Iterator<Item = Condition> + '_ {
        let has_first = self.pointer.is_some() || self.header.is_some();
        let first = has_first.then(|| Condition {
            pointer: self.pointer.clone(),
            header: self.header.clone(),
            contains: self.contains.clone(),
            equals: self.equals.clone(),
            any_of: self.any_of.clone(),
        });
        first.into_iter().chain(self.and.iter().cloned())
    }
}

/// A condition on one value of an answer.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Condition {
    /// JSON Pointer to a text, number or boolean of the body. `*` stands for any one item or member.
    pub pointer: Option<String>,
    /// The name of a header, instead.
    pub header: Option<String>,
    /// It holds this, in any case of letters.
    pub contains: Option<String>,
    /// It is exactly this.
    pub equals: Option<String>,
    /// It is one of these.
    #[serde(default)]
    pub any_of: Vec<String>,
}

impl Condition {
    /// What is wrong with it, if anything.
    fn check(&self) -> std::result::Result<(), String> {
        let tests = [self.contains.is_some(), self.equals.is_some(), !self.any_of.is_empty()];
        if tests.into_iter().filter(|is_there| *is_there).count() != 1 {
            return Err("a condition needs one of `contains`, `equals` and `any_of`".to_owned());
        }
        if self.pointer.is_some() == self.header.is_some() {
            return Err("a condition is about a `pointer` or a `header`, and not both".to_owned());
        }
        if self.header.as_ref().is_some_and(|name| !is_token(name)) {
            return Err("a condition is about a `header` of a name that no header can have".to_owned());
        }
        // Of a header it says that it is there; in a body it would be found at every byte.
        if self.pointer.is_some() && self.contains.as_ref().is_some_and(String::is_empty) {
            return Err("a condition about a `pointer` has an empty `contains`".to_owned());
        }
        if self.any_of.len() > ANY_OF_MAX {
            return Err(format!("a condition has more than {ANY_OF_MAX} texts in `any_of`"));
        }
        Ok(())
    }
}

/// Where an idempotency key goes: into a header or into the query.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Idempotency {
    /// The header's name.
    pub header: Option<String>,
    /// The query parameter's name.
    pub query: Option<String>,
    /// Who says so.
    #[serde(default)]
    pub source: String,
    /// When that was read.
    #[serde(default)]
    pub date: String,
}

/// What the manifest adds to an operation.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct OperationFacts {
    /// What it does to the provider's data.
    pub effect: Effect,
    /// The columns a table shows, as dotted paths.
    #[serde(default)]
    pub columns: Vec<String>,
    /// The scopes of an OAuth 2.0 credential with which it works: one of these is enough. The first is the least, which a
    /// sign-in asks for unless another of them is asked for anyway. Several that are needed together are written with a space
    /// between them (RFC 6749, 3.3).
    #[serde(default)]
    pub scopes: Vec<String>,
    /// Scopes with which it does a part of what it says, as for objects that are the client's own. Nobody is asked for them,
    /// and who has one is not refused.
    #[serde(default)]
    pub partial_scopes: Vec<String>,
    /// The credential whose scopes these are; the only one of the scheme `oauth2` where it is left out.
    pub credential: Option<String>,
    /// Who says so.
    #[serde(default)]
    pub source: String,
    /// When that was read.
    #[serde(default)]
    pub date: String,
}

/// What an operation does to the provider's data.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum Effect {
    /// Nothing.
    #[default]
    Read,
    /// It changes something; twice is as once.
    Idempotent,
    /// It changes something each time.
    Write,
}

/// One operation, as `describe` names it and as the component carries it.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Operation {
    /// Its name, as `orders.list`.
    pub name: String,
    /// A sentence.
    pub description: String,
    /// JSON Schema of the input.
    pub input_schema: serde_json::Value,
    /// JSON Schema of the output, of one item where it lists.
    pub output_schema: serde_json::Value,
    /// What it does.
    pub effect: Effect,
    /// Whether it is read page by page.
    pub is_list: bool,
}

impl Operation {
    /// The schema of its input, ready to be asked.
    ///
    /// # Errors
    /// [`Kind::Component`] when it cannot be used.
    pub(crate) fn read_input_schema(&self) -> Result<Schema> {
        Schema::new(&self.input_schema).map_err(|error| error.context(format!("operation `{}`: its input", self.name)))
    }

    /// The same of its output.
    ///
    /// # Errors
    /// Likewise.
    pub(crate) fn read_output_schema(&self) -> Result<Schema> {
        Schema::new(&self.output_schema)
            .map_err(|error| error.context(format!("operation `{}`: its output", self.name)))
    }

    /// Whether both can be used.
    ///
    /// # Errors
    /// Likewise.
    pub(crate) fn check_schemas(&self) -> Result<()> {
        self.read_input_schema()?;
        self.read_output_schema().map(drop)
    }
}

/// Everything a component says before it runs: what it needs.
#[derive(Clone, Debug, PartialEq)]
pub struct Needs {
    /// The facts.
    pub manifest: Manifest,
    /// The operations, in the order the plugin names them.
    pub operations: Vec<Operation>,
    /// The interfaces of the contract it imports, as `http`.
    pub imports: BTreeSet<String>,
    /// Everything else it imports, as `wasi:cli/stderr@0.2.6`.
    pub foreign_imports: BTreeSet<String>,
}

/// The outline of a component: its imports and our sections, without judging them.
#[derive(Debug, Default)]
pub(crate) struct Outline<'a> {
    imports: Vec<&'a str>,
    exports: Vec<&'a str>,
    manifests: Vec<&'a [u8]>,
    operations: Vec<&'a [u8]>,
}

impl<'a> Outline<'a> {
    /// Reads the outline of a component.
    ///
    /// # Errors
    /// [`Kind::Component`] for anything that is not a whole component, or that hides one of our sections inside.
    pub(crate) fn read(bytes: &'a [u8]) -> Result<Self> {
        if bytes.len() > COMPONENT_BYTES_MAX {
            return Err(Error::component(format!(
                "the component is {} bytes long; the limit component_bytes_max is {COMPONENT_BYTES_MAX}",
                bytes.len()
            )));
        }
        let mut outline = Self::default();
        let (mut depth, mut code_bytes) = (0usize, 0usize);
        let too_much = |what: &str, limit: &str, most: usize| {
            Err(Error::component(format!("{what} than the limit {limit} of {most} allows"))
                .with_details("Build it with optimisation, for size, and leave out what is not used"))
        };
        for payload in Parser::new(0).parse_all(bytes) {
            let payload = payload.map_err(|error| not_a_component(bytes, &error.to_string()))?;
            match payload {
                Payload::Version { encoding: Encoding::Module, .. } if depth == 0 => {
                    return Err(Error::component("this is a core module, not a component").with_details(
                        "Build for the target wasm32-wasip2, or wrap it: wasm-tools component new module.wasm",
                    ));
                }
                Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
                Payload::End(_) => depth = depth.saturating_sub(1),
                Payload::CodeSectionEntry(body) => {
                    let bytes = body.range().len();
                    code_bytes += bytes;
                    if bytes > FUNCTION_BYTES_MAX {
                        return too_much(
                            "a function of the component is longer",
                            "function_bytes_max",
                            FUNCTION_BYTES_MAX,
                        );
                    }
                    if code_bytes > CODE_BYTES_MAX {
                        return too_much("the component has more code", "code_bytes_max", CODE_BYTES_MAX);
                    }
                }
                Payload::CustomSection(section) if [MANIFEST_SECTION, OPERATIONS_SECTION].contains(&section.name()) => {
                    if depth > 0 {
                        return Err(Error::component(format!(
                            "a section `{}` is hidden inside a nested module; only one at the top level is read",
                            section.name()
                        )));
                    }
                    match section.name() {
                        MANIFEST_SECTION => outline.manifests.push(section.data()),
                        _ => outline.operations.push(section.data()),
                    }
                }
                Payload::ComponentImportSection(reader) if depth == 0 => {
                    for import in reader {
                        let import = import.map_err(|error| not_a_component(bytes, &error.to_string()))?;
                        outline.imports.push(import.name.name);
                    }
                }
                Payload::ComponentExportSection(reader) if depth == 0 => {
                    for export in reader {
                        let export = export.map_err(|error| not_a_component(bytes, &error.to_string()))?;
                        outline.exports.push(export.name.name);
                    }
                }
                _ => {}
            }
        }
        Ok(outline)
    }

    /// Whether `wharfage build` has been over it.
    pub(crate) fn is_built(&self) -> bool {
        !self.manifests.is_empty() || !self.operations.is_empty()
    }

    /// Checks that the component speaks this host's contract.
    ///
    /// # Errors
    /// [`Kind::Component`] naming the version it was made for, or what it does not export.
    pub(crate) fn check_contract(&self) -> Result<()> {
        // Names are read before the component is known to be valid, and shown by whoever looks at it.
        if let Some(name) = self.imports.iter().chain(&self.exports).find(|name| name.chars().any(is_unshowable)) {
            return Err(Error::component(format!(
                "the component names `{}`, which no interface is called",
                shown(name)
            )));
        }
        for name in self.imports.iter().chain(&self.exports) {
            let Some((interface, version)) = contract_item(name) else { continue };
            let version = semver::Version::parse(version).map_err(|_| {
                Error::component(format!("the component names `{}` without a version", shown(interface)))
            })?;
            if version != CONTRACT {
                let help = if version > CONTRACT { "Update wharfage" } else { "Build the plugin again with this SDK" };
                return Err(Error::component(format!(
                    "the component was made for contract {version}; this host speaks {CONTRACT}"
                ))
                .with_details(help));
            }
        }
        for interface in ["operations", "events"] {
            if !self.exports.iter().any(|name| contract_item(name).is_some_and(|(item, _)| item == interface)) {
                return Err(Error::component(format!(
                    "the component does not export wharfage:plugin/{interface}@{CONTRACT}, so it is not a plugin"
                )));
            }
        }
        Ok(())
    }

    /// The names of the contract's interfaces it imports, and of everything else.
    fn imports(&self) -> (BTreeSet<String>, BTreeSet<String>) {
        let mut ours = BTreeSet::new();
        let mut foreign = BTreeSet::new();
        for name in &self.imports {
            match contract_item(name) {
                Some(("types", _)) => {}
                Some((interface, _)) => drop(ours.insert(interface.to_owned())),
                None => drop(foreign.insert((*name).to_owned())),
            }
        }
        (ours, foreign)
    }
}

impl Needs {
    /// Reads what a component says about itself.
    ///
    /// # Errors
    /// [`Kind::Component`] where it is no plugin or says nothing; [`Kind::Configuration`] where its manifest is wrong.
    pub fn read(bytes: &[u8]) -> Result<Self> {
        let outline = Outline::read(bytes)?;
        outline.check_contract()?;
        let manifest = Manifest::from_bytes(only(&outline.manifests, "manifest")?)?;
        let operations = operations_from_bytes(only(&outline.operations, "operations")?)?;
        let (imports, foreign_imports) = outline.imports();
        if let Some(stranger) = foreign_imports.iter().find(|name| !name.starts_with("wasi:")) {
            return Err(Error::component(format!(
                "the component imports `{}`, which no host of this contract offers",
                shown(stranger)
            )));
        }
        manifest.check_against(&operations)?;
        Ok(Self { manifest, operations, imports, foreign_imports })
    }

    /// Reads the schemas of all operations, as a host does with each when it needs it first.
    ///
    /// # Errors
    /// [`Kind::Component`] for the first that cannot be used.
    pub fn check_schemas(&self) -> Result<()> {
        self.operations.iter().try_for_each(Operation::check_schemas)
    }

    /// The least scopes that a sign-in for a credential asks for over one connection: for the operations and polls that it
    /// states. Others of the account's connections add what they need.
    pub fn scopes(&self, connection: &Connection, credential: &str) -> Vec<String> {
        scopes::least(self.scopes_always(credential), &self.scopes_wanted(connection, credential))
    }

    /// The scopes of a credential that are asked for in any case.
    pub(crate) fn scopes_always(&self, credential: &str) -> &[String] {
        match self.manifest.credentials.get(credential) {
            Some(CredentialFacts::Oauth2(facts)) => &facts.scopes,
            _ => &[],
        }
    }

    /// What each operation and poll that a connection states needs of a credential.
    pub(crate) fn scopes_wanted(&self, connection: &Connection, credential: &str) -> Vec<&[String]> {
        let is_stated = |name: &String| connection.operations.as_ref().is_none_or(|stated| stated.contains(name));
        let names = self.operations.iter().map(|operation| &operation.name).filter(|name| is_stated(name));
        let operations = names.filter_map(|name| self.manifest.scopes_of_operation(name));
        let polls = connection.polls.keys().filter_map(|name| self.manifest.scopes_of_poll(name));
        let all = operations.chain(polls).filter(|needed| needed.credential == credential);
        all.map(|needed| needed.any_of).collect()
    }

    /// Which scopes an operation needs, in words: `scope a; or b, c`. Nothing where it needs none.
    pub fn scope_line(&self, operation: &str) -> Option<String> {
        let needed = self.manifest.scopes_of_operation(operation)?;
        let (first, others) = needed.any_of.split_first()?;
        let mut line = format!("scope {}", shown(first));
        for (what, list) in [("or", others), ("in part", needed.in_part)] {
            if !list.is_empty() {
                line += &format!("; {what} {}", list.iter().map(|scope| shown(scope)).collect::<Vec<_>>().join(", "));
            }
        }
        Some(line)
    }

    /// The operation of that name.
    ///
    /// # Errors
    /// [`Kind::UnknownOperation`] with the nearest names.
    pub fn operation(&self, name: &str) -> Result<&Operation> {
        self.operations.iter().find(|operation| operation.name == name).ok_or_else(|| {
            let names: Vec<&str> = self.operations.iter().map(|operation| operation.name.as_str()).collect();
            Error::new(
                Kind::UnknownOperation,
                format!("{} has no operation `{}`", self.manifest.plugin.name, shown(name)),
            )
            .with_details(suggestion(name, &names))
        })
    }
}

impl Manifest {
    /// Reads a `plugin.toml`.
    ///
    /// # Errors
    /// [`Kind::Configuration`] with line, caret and what was expected.
    pub fn parse(text: &str) -> Result<Self> {
        let manifest: Self = toml::from_str(text).map_err(|error| {
            Error::configuration("plugin.toml cannot be read").with_details(shown_lines(&error.to_string()))
        })?;
        manifest.check()?;
        Ok(manifest)
    }

    /// The credential that goes on requests to an origin unless the plugin asks for another.
    pub fn declared_credential(&self, origin: &str) -> Option<&str> {
        let first = || {
            let covers = |facts: &&CredentialFacts| facts.origins().iter().any(|name| name == origin);
            self.credentials.iter().find(|(_, facts)| covers(facts)).map(|(name, _)| name.as_str())
        };
        self.origins.get(origin)?.credential.as_deref().or_else(first)
    }

    /// Whether a person's or a client's consent is asked for, which has scopes.
    pub fn has_consent(&self) -> bool {
        self.credentials.values().any(CredentialFacts::has_scopes)
    }

    /// The scopes that an operation needs, where it needs some.
    pub(crate) fn scopes_of_operation(&self, name: &str) -> Option<Needed<'_>> {
        let facts = self.operations.get(name)?;
        self.needed(facts.credential.as_deref(), &facts.scopes, &facts.partial_scopes)
    }

    /// The scopes that a poll needs, where it needs some.
    pub(crate) fn scopes_of_poll(&self, name: &str) -> Option<Needed<'_>> {
        let facts = self.polls.get(name)?;
        self.needed(facts.credential.as_deref(), &facts.scopes, &facts.partial_scopes)
    }

    fn needed<'a>(&'a self, named: Option<&'a str>, any_of: &'a [String], in_part: &'a [String]) -> Option<Needed<'a>> {
        let credential = named.or_else(|| self.consented())?;
        (!any_of.is_empty()).then_some(Needed { credential, any_of, in_part })
    }

    /// The credential that a consent with scopes is for, if there is one such.
    fn consented(&self) -> Option<&str> {
        let mut all = self.credentials.iter().filter(|(_, facts)| facts.has_scopes());
        let first = all.next().map(|(name, _)| name.as_str());
        first.filter(|_| all.next().is_none())
    }

    /// Checks what an operation or a poll says of scopes.
    fn check_scopes(
        &self,
        credential: Option<&String>,
        any_of: &[String],
        in_part: &[String],
        (source, date): (&str, &str),
    ) -> std::result::Result<(), String> {
        if any_of.is_empty() {
            return match credential.is_some() || !in_part.is_empty() {
                true => Err("says nothing about `scopes`, and something about which".to_owned()),
                false => Ok(()),
            };
        }
        if any_of.len() + in_part.len() > SCOPES_MAX {
            return Err(format!("names more than {SCOPES_MAX} scopes"));
        }
        let is_octet = |byte: u8| matches!(byte, 0x21 | 0x23..=0x5b | 0x5d..=0x7e);
        let is_scope = |part: &str| !part.is_empty() && part.bytes().all(is_octet);
        let is_good = |written: &String| written.len() <= SCOPE_BYTES_MAX && written.split(' ').all(is_scope);
        if let Some(wrong) = any_of.iter().chain(in_part).find(|written| !is_good(written)) {
            return Err(format!("has the scope `{}`: it is written as RFC 6749, 3.3, has it", shown(wrong)));
        }
        if source.is_empty() || date.is_empty() {
            return Err("has scopes, which are facts: say their source and date".to_owned());
        }
        let named = credential.map(String::as_str).or_else(|| self.consented());
        match named.map(|name| (name, self.credentials.get(name))) {
            Some((_, Some(CredentialFacts::Oauth2(facts)))) if facts.has_scopes() => Ok(()),
            Some((name, _)) => {
                Err(format!("has scopes of the credential `{}`, which is none that a consent is for", shown(name)))
            }
            None => Err("has scopes: say of which credential of the scheme oauth2:   credential = \"…\"".to_owned()),
        }
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self> {
        if bytes.len() > MANIFEST_BYTES_MAX {
            return Err(Error::component(format!(
                "the manifest is {} bytes long; the limit manifest_bytes_max is {MANIFEST_BYTES_MAX}",
                bytes.len()
            )));
        }
        let text = std::str::from_utf8(bytes).map_err(|_| Error::component("the manifest is not UTF-8 text"))?;
        Self::parse(text)
    }

    /// Checks that names point at something.
    fn check(&self) -> Result<()> {
        let wrong = |text: String| Err(Error::configuration(format!("plugin.toml: {text}")));
        if !is_name(&self.plugin.name) {
            return wrong(format!(
                "plugin.name `{}` must be 1 to 64 lower-case letters, digits and hyphens, beginning with a letter",
                shown(&self.plugin.name)
            ));
        }
        self.check_names().or_else(wrong)?;
        self.check_numbers().or_else(wrong)?;
        for (name, origin) in &self.origins {
            if let Some(credential) = &origin.credential
                && !self.credentials.contains_key(credential)
            {
                return wrong(format!(
                    "origins.{name} wants the credential `{}`, which is not declared",
                    shown(credential)
                ));
            }
            // Whether somebody signed in is no question of a secret that is there or not.
            let credential = self.declared_credential(name).and_then(|credential| self.credentials.get(credential));
            if origin.credential_optional && credential.is_none_or(|facts| matches!(facts, CredentialFacts::Oauth2(_)))
            {
                return wrong(format!(
                    "origins.{name} says credential_optional, which is for an origin with a credential that is made of secrets"
                ));
            }
            if origin
                .kept_header
                .as_ref()
                .is_some_and(|header| http::HeaderName::from_bytes(header.as_bytes()).is_err())
            {
                return wrong(format!("origins.{name} says kept_header, which is the name of one header field"));
            }
            if origin.source.is_empty() || origin.date.is_empty() {
                return wrong(format!("origins.{name} is a fact: say its source and date"));
            }
        }
        for (name, secret) in &self.secrets {
            if let Err(why) = secret.check(self) {
                return wrong(format!("secrets.{name} {why}"));
            }
        }
        for (name, credential) in &self.credentials {
            for secret in credential.secrets() {
                match self.secrets.get(secret) {
                    None => {
                        return wrong(format!(
                            "credentials.{name} uses the secret `{}`, which is not declared",
                            shown(secret)
                        ));
                    }
                    Some(facts) if facts.purpose != Purpose::Credential => {
                        return wrong(format!(
                            "credentials.{name} uses the secret `{secret}`, whose purpose is another"
                        ));
                    }
                    Some(_) => {}
                }
            }
            for origin in credential.origins() {
                match self.origins.get(origin) {
                    None => {
                        return wrong(format!(
                            "credentials.{name} goes to the origin `{}`, which is not declared",
                            shown(origin)
                        ));
                    }
                    Some(facts) if facts.host_only => {
                        return wrong(format!(
                            "credentials.{name} goes to the origin `{origin}`, where only the host asks (host_only)"
                        ));
                    }
                    Some(_) => {}
                }
            }
            if let CredentialFacts::Oauth2(facts) = credential
                && let Err(why) = facts.check(&self.origins)
            {
                return wrong(format!("credentials.{name}: {why}"));
            }
            if let CredentialFacts::Jwt(facts) = credential
                && let Err(why) = check_signing(&facts.algorithm, facts.lifetime_s)
            {
                return wrong(format!("credentials.{name} {why}"));
            }
            if let CredentialFacts::ApiKey { .. } = credential {
                match credential.place() {
                    (Some(place), 1) => {
                        if let Some(why) = misplaced(&place) {
                            return wrong(format!("credentials.{name}: {why}"));
                        }
                    }
                    _ => {
                        return wrong(format!(
                            "credentials.{name} needs exactly one place for its key: `header`, `query`, `cookie`, `body` or `path`"
                        ));
                    }
                }
            }
        }
        for (name, webhook) in &self.webhooks {
            if !is_name(name) {
                return wrong(format!(
                    "webhooks.{} must be called in lower-case letters, digits and hyphens",
                    shown(name)
                ));
            }
            if let Err(why) = webhook.check(self) {
                return wrong(format!("webhooks.{name} {why}"));
            }
        }
        for (name, budget) in &self.budgets {
            match (budget.limit, budget.window_s, budget.concurrency) {
                (Some(1..), Some(1..), None) | (None, None, Some(1..)) => {}
                _ => {
                    return wrong(format!(
                        "budgets.{name} needs `limit` and `window_s`, or `concurrency`, each at least 1"
                    ));
                }
            }
            if budget.source.is_empty() || budget.date.is_empty() {
                return wrong(format!("budgets.{name} is a fact: say its source and date"));
            }
            if let Some(origin) = budget.origins.iter().find(|origin| !self.origins.contains_key(*origin)) {
                return wrong(format!("budgets.{name} covers the origin `{}`, which is not declared", shown(origin)));
            }
            if budget.weights.len() > WEIGHTS_MAX {
                return wrong(format!("budgets.{name} has more than {WEIGHTS_MAX} weights"));
            }
            let whole = budget.limit.or(budget.concurrency).unwrap_or(1);
            if let Some(weight) = budget.weights.iter().find(|weight| weight.units > whole) {
                return wrong(format!("budgets.{name} has a weight of {}, more than all of it", weight.units));
            }
        }
        for (name, poll) in &self.polls {
            if !is_name(name) {
                return wrong(format!(
                    "polls: `{}` must be a name of lower-case letters, digits and hyphens",
                    shown(name)
                ));
            }
            let dated = (poll.source.as_str(), poll.date.as_str());
            let scopes = || self.check_scopes(poll.credential.as_ref(), &poll.scopes, &poll.partial_scopes, dated);
            if let Err(why) = poll.check().and_then(|()| scopes()) {
                return wrong(format!("polls.{name} {why}"));
            }
        }
        if let Some(health) = &self.health
            && let Err(why) = health.check()
        {
            return wrong(format!("[health] {why}"));
        }
        for (name, socket) in &self.sockets {
            if !is_name(name) {
                return wrong(format!(
                    "sockets: `{}` must be a name of lower-case letters, digits and hyphens",
                    shown(name)
                ));
            }
            if let Err(why) = socket.check(self) {
                return wrong(format!("sockets.{name} {why}"));
            }
        }
        if let Some(name) = self.events.keys().find(|name| name.starts_with("wharfage.")) {
            return wrong(format!("events.\"{}\" begins like the host's own events; call it otherwise", shown(name)));
        }
        for (name, facts) in &self.operations {
            let dated = (facts.source.as_str(), facts.date.as_str());
            let checked = self.check_scopes(facts.credential.as_ref(), &facts.scopes, &facts.partial_scopes, dated);
            if let Err(why) = checked {
                return wrong(format!("operations.\"{}\" {why}", shown(name)));
            }
        }
        for (index, rule) in self.answers.iter().enumerate() {
            if Kind::from_answer_name(&rule.kind).is_none() {
                return wrong(format!("answers[{index}].kind `{}` is no kind an answer can have", shown(&rule.kind)));
            }
            if rule.pointer.is_none() && rule.header.is_none() && rule.status.is_empty() {
                return wrong(format!(
                    "answers[{index}] says nothing about when it holds: `status`, `pointer` or `header`"
                ));
            }
            if rule.conditions().count() > CONDITIONS_MAX {
                return wrong(format!("answers[{index}] has more than {CONDITIONS_MAX} conditions"));
            }
            for condition in rule.conditions() {
                if let Err(why) = condition.check() {
                    return wrong(format!("answers[{index}]: {why}"));
                }
            }
            if let Some(bucket) = rule.bucket.as_ref().filter(|bucket| !self.budgets.contains_key(*bucket)) {
                return wrong(format!(
                    "answers[{index}] is about the budget `{}`, which is not declared",
                    shown(bucket)
                ));
            }
        }
        if self.idempotency.as_ref().is_some_and(|place| place.header.is_some() == place.query.is_some()) {
            return wrong("idempotency needs one place for its key: `header` or `query`".to_owned());
        }
        for (index, named) in self.rate_headers.iter().enumerate() {
            if named.names().next().is_none() {
                return wrong(format!("rate_headers[{index}] names no header: `limit`, `remaining` or `reset`"));
            }
            if let Some(bucket) = named.bucket.as_ref().filter(|bucket| !self.budgets.contains_key(*bucket)) {
                return wrong(format!(
                    "rate_headers[{index}] is about the budget `{}`, which is not declared",
                    shown(bucket)
                ));
            }
        }
        Ok(())
    }

    /// Checks what things are called: a name becomes a line of configuration, a file and a text that people read.
    fn check_names(&self) -> std::result::Result<(), String> {
        let mut names = self
            .origins
            .keys()
            .map(|name| ("origins", name))
            .chain(self.secrets.keys().map(|name| ("secrets", name)))
            .chain(self.credentials.keys().map(|name| ("credentials", name)))
            .chain(self.budgets.keys().map(|name| ("budgets", name)));
        if let Some((table, name)) = names.find(|(_, name)| !is_word(name)) {
            return Err(format!("{table}: `{}` must be 1 to 64 letters, digits, `-` and `_`", shown(name)));
        }
        let is_type = |name: &String| name.len() <= EVENT_TYPE_BYTES_MAX && name.split('.').all(is_word);
        if let Some(name) = self.events.keys().find(|name| !is_type(name)) {
            return Err(format!(
                "events: `{}` must be words of letters, digits, `-` and `_`, joined by dots, at most \
                 {EVENT_TYPE_BYTES_MAX} bytes together",
                shown(name)
            ));
        }
        let single = [
            self.idempotency.as_ref().and_then(|place| place.header.as_deref()),
            self.retry.as_ref().map(|retry| retry.header.as_str()),
            self.request_id.as_ref().map(|id| id.header.as_str()),
        ];
        let mut headers = single.into_iter().flatten().chain(self.rate_headers.iter().flat_map(RateHeaders::names));
        match headers.find(|name| !is_token(name)) {
            Some(name) => Err(format!("`{}` is no name that a header can have", shown(name))),
            None => Ok(()),
        }
    }

    /// Checks how many there are of what every request or answer is asked about.
    fn check_numbers(&self) -> std::result::Result<(), String> {
        let numbers = [
            ("origins", self.origins.len(), ORIGINS_MAX),
            ("budgets", self.budgets.len(), BUDGETS_MAX),
            ("rate_headers", self.rate_headers.len(), RATE_HEADERS_MAX),
            ("answers", self.answers.len(), ANSWERS_MAX),
        ];
        match numbers.into_iter().find(|(_, number, most)| number > most) {
            Some((table, number, most)) => Err(format!("{number} {table} are more than the {most} there may be")),
            None => Ok(()),
        }
    }

    /// Checks that manifest and operations speak of the same.
    fn check_against(&self, operations: &[Operation]) -> Result<()> {
        for (name, facts) in &self.operations {
            match operations.iter().find(|operation| &operation.name == name) {
                None => {
                    return Err(Error::component(format!(
                        "the manifest speaks of the operation `{}`, which the plugin does not have",
                        shown(name)
                    )));
                }
                Some(operation) if operation.effect != facts.effect => {
                    return Err(Error::component(format!(
                        "the manifest says that `{}` is {:?}, the plugin says {:?}",
                        shown(name),
                        facts.effect,
                        operation.effect
                    )));
                }
                Some(_) => {}
            }
        }
        if let Some(health) = &self.health
            && let Err(why) = health.check_against(operations)
        {
            return Err(Error::component(format!("the manifest's [health] {why}")));
        }
        Ok(())
    }
}

/// Puts manifest and operations into a component, at its top level.
///
/// # Errors
/// [`Kind::Component`] if the component carries some already, or is not one.
pub(crate) fn embed(component: &[u8], manifest: &str, operations: &[Operation]) -> Result<Vec<u8>> {
    let outline = Outline::read(component)?;
    if outline.is_built() {
        return Err(Error::component("the component carries a manifest already; build from the compiler's output"));
    }
    Manifest::parse(manifest)?.check_against(operations)?;
    let operations = serde_json::to_vec(operations).map_err(|error| Error::internal(error.to_string()))?;
    let mut out = component.to_vec();
    for (name, data) in [(MANIFEST_SECTION, manifest.as_bytes()), (OPERATIONS_SECTION, &operations)] {
        let section = wasm_encoder::CustomSection { name: name.into(), data: data.into() };
        wasm_encoder::ComponentSection::append_to_component(&section, &mut out);
    }
    Ok(out)
}

/// Reads the operations a component carries.
fn operations_from_bytes(bytes: &[u8]) -> Result<Vec<Operation>> {
    check_operations_size(0, bytes.len())?;
    let operations: Vec<Operation> = serde_json::from_slice(bytes).map_err(|error| {
        Error::component("the operations cannot be read").with_details(shown_lines(&error.to_string()))
    })?;
    check_operations(&operations)?;
    Ok(operations)
}

/// Refuses too many operations, and too many bytes of them, before any schema is read.
pub(crate) fn check_operations_size(number: usize, bytes: usize) -> Result<()> {
    if number > OPERATIONS_MAX {
        return Err(Error::component(format!(
            "the plugin names {number} operations; the limit operations_max is {OPERATIONS_MAX}"
        )));
    }
    if bytes > OPERATIONS_BYTES_MAX {
        return Err(Error::component(format!(
            "the operations are {bytes} bytes long; the limit operations_bytes_max is {OPERATIONS_BYTES_MAX}"
        )));
    }
    Ok(())
}

/// Checks names, number and doubles.
pub(crate) fn check_operations(operations: &[Operation]) -> Result<()> {
    check_operations_size(operations.len(), 0)?;
    let mut seen = BTreeSet::new();
    for operation in operations {
        let name = &operation.name;
        let is_plain = !name.is_empty() && name.len() <= 128 && name.split('.').all(is_name);
        if !is_plain {
            return Err(Error::component(format!(
                "the operation name `{}` must be words of lower-case letters, digits and hyphens, joined by dots",
                shown(name)
            )));
        }
        if !seen.insert(name) {
            return Err(Error::component(format!("the plugin names the operation `{name}` twice")));
        }
    }
    Ok(())
}

fn only<'a>(sections: &[&'a [u8]], what: &str) -> Result<&'a [u8]> {
    match sections {
        [one] => Ok(one),
        [] => Err(Error::component(format!("the component carries no {what}")).with_details(
            "It was compiled but not built. Run `wharfage build` in the plugin's folder, or `wharfage build --component FILE --manifest plugin.toml`",
        )),
        several => Err(Error::component(format!(
            "the component carries {} {what} sections; what was read must be what is enforced, so only one is allowed",
            several.len()
        ))),
    }
}

fn not_a_component(bytes: &[u8], error: &str) -> Error {
    let what =
        if bytes.starts_with(b"\0asm") { "the component is broken" } else { "this is not a WebAssembly component" };
    Error::component(what).with_details(shown_lines(error))
}

fn contract_item(name: &str) -> Option<(&str, &str)> {
    let rest = name.strip_prefix(PACKAGE)?;
    Some(rest.split_once('@').unwrap_or((rest, "")))
}

/// Whether tokens can be signed so, and end.
fn check_signing(algorithm: &str, lifetime_s: Option<u64>) -> std::result::Result<(), String> {
    if !jwt::is_algorithm(algorithm) {
        return Err(format!("wants the algorithm `{}`; there are {}", shown(algorithm), jwt::algorithm_names()));
    }
    match lifetime_s {
        None | Some(1..=LIFETIME_S_MAX) => Ok(()),
        Some(_) => Err(format!("has a lifetime_s that is not of 1 to {LIFETIME_S_MAX}")),
    }
}

/// What is wrong with the name of a place, if anything is.
fn misplaced(place: &Place) -> Option<String> {
    match place {
        Place::Header(name) | Place::Cookie(name) if !is_token(name) => {
            Some(format!("`{}` is no name that a header or a cookie can have", shown(name)))
        }
        Place::Query(name) | Place::Body(name) if name.is_empty() => Some("the name is empty".to_owned()),
        Place::Query(name) | Place::Body(name) if name.contains(is_unshowable) => {
            Some(format!("the name `{}` cannot be shown", shown(name)))
        }
        Place::Path(marker) => {
            let inner = marker.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).unwrap_or_default();
            (!is_word(inner)).then(|| {
                format!("path = \"{}\" must be letters, digits, `-` and `_` in braces, as `{{key}}`", shown(marker))
            })
        }
        _ => None,
    }
}

/// Whether a header can be called so (RFC 9110, 5.6.2).
fn is_token(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

/// Whether it is of 1 to 64 letters, digits, `-` and `_`, which no shell, file or line of configuration reads otherwise.
fn is_word(name: &str) -> bool {
    (1..=64).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
}

fn is_name(name: &str) -> bool {
    name.len() <= 64
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
}

/// Characters of untrusted text that are shown at once.
pub(crate) const SHOWN_CHARS_MAX: usize = 160;

/// Untrusted text as it may be shown: no control characters, not too long.
pub(crate) fn shown(text: &str) -> String {
    if text.len() <= SHOWN_CHARS_MAX && text.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        return text.to_owned();
    }
    let mut out: String =
        text.chars().take(SHOWN_CHARS_MAX).map(|c| if is_unshowable(c) { '\u{fffd}' } else { c }).collect();
    if text.chars().nth(SHOWN_CHARS_MAX).is_some() {
        out.push('…');
    }
    out
}

/// Whether a character could make a terminal or a reader of logs show something else than what is there: controls, the
/// separators of lines and paragraphs, what has no width, and the marks that turn the direction of what follows (Unicode
/// Standard Annex #9, 2.).
pub(crate) fn is_unshowable(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// Untrusted text over several lines, bounded and escaped.
pub(crate) fn shown_lines(text: &str) -> String {
    let kept: String = text.chars().take(2_000).collect();
    kept.chars()
        .map(|c| if is_unshowable(c) && c != '\n' { '\u{fffd}' } else { c })
        .collect::<String>()
        .trim_end()
        .to_owned()
}

/// `Did you mean …?` or all there is.
pub(crate) fn suggestion(wrong: &str, names: &[&str]) -> String {
    let mut near: Vec<(usize, &str)> = names.iter().map(|name| (distance(wrong, name), *name)).collect();
    near.sort();
    let near: Vec<&str> =
        near.into_iter().filter(|(d, name)| *d <= 3 || name.contains(wrong)).map(|(_, name)| name).take(3).collect();
    match (near.is_empty(), names.is_empty()) {
        (false, _) => format!("Did you mean {}?", near.join(" or ")),
        (true, false) => format!("There are: {}", names.join(", ")),
        (true, true) => "There are none".to_owned(),
    }
}

/// Levenshtein's distance, on the first 64 characters.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().take(64).collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().take(64).enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, cb) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(ca != *cb);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: &str = r#"
        [plugin]
        name = "acme"
        version = "1.2.3"
        contract = "0.1.0"
        provider = "Acme"
        [origins.api]
        url = "https://api.test"
        methods = ["GET"]
        paths = ["/**"]
        credential = "key"
        source = "docs"
        date = "2026-01-01"
        [secrets.api_key]
        [credentials.key]
        scheme = "api-key"
        secret = "api_key"
        query = "apikey"
        origins = ["api"]
    "#;

    /// A credential of the flow `exchange`, before the secrets.
    fn signed(more: &str) -> String {
        format!(
            "[origins.host]\nurl='https://h.test'\nmethods=['POST']\npaths=['/**']\nhost_only=true\nsource='s'\ndate='d'\n\
             [credentials.app]\nscheme='oauth2'\nflow = 'exchange'\ntoken='{{host}}/of/{{api_key}}/tokens'\nclient_id='api_key'\n\
             assertion={{ key='api_key', algorithm='RS256' }}\norigins=['api']\nsource='s'\ndate='d'\n{more}\n[secrets.api_key]"
        )
    }

    #[test]
    fn reads_a_plain_manifest() {
        let app = Manifest::parse(&PLAIN.replace("[secrets.api_key]", &signed(""))).unwrap();
        assert!(!app.has_consent() && app.credentials["app"].secrets().len() == 3);
        let manifest = Manifest::parse(PLAIN).unwrap();
        assert_eq!(manifest.plugin.name, "acme");
        assert_eq!(manifest.secrets["api_key"].purpose, Purpose::Credential);
    }

    #[test]
    fn a_wrong_manifest_says_where_and_what() {
        for (from, to, expected) in [
            ("secret = \"api_key\"", "secret = \"other\"", "not declared"),
            ("source = \"docs\"", "source = \"\"", "say its source and date"),
            ("name = \"acme\"", "name = \"Acme Corp\"", "lower-case"),
            ("query = \"apikey\"", "query = \"a\"\nheader = \"b\"", "exactly one place"),
            ("query = \"apikey\"", "body = \"a\"\ncookie = \"b\"\npath = \"{c}\"", "exactly one place"),
            ("query = \"apikey\"", "prefix = \"a\"", "exactly one place"),
            ("query = \"apikey\"", "cookie = \"a=b;c\"", "no name"),
            ("query = \"apikey\"", "header = \"\"", "no name"),
            ("query = \"apikey\"", "body = \"\"", "empty"),
            ("query = \"apikey\"", "path = \"key\"", "in braces"),
            ("query = \"apikey\"", "path = \"{a/b}\"", "in braces"),
            (
                "[credentials.key]",
                "[credentials.\"jwt:1\"]\nscheme = 'bearer'\nsecret = 'api_key'\norigins = []\n[credentials.key]",
                "credentials: `jwt:1` must be",
            ),
            ("[secrets.api_key]", "[secrets.s]\npurpose = 'sign'\n[secrets.api_key]", "algorithms = [\"hmac-sha256\"]"),
            (
                "[secrets.api_key]",
                "[secrets.s]\npurpose = 'sign'\nalgorithms = ['hmac-sha256']\n[secrets.api_key]",
                "template = ",
            ),
            ("[secrets.api_key]", "[secrets.s]\npurpose = 'verify'\nalgorithms = ['md5']\n[secrets.api_key]", "`md5`"),
            ("[secrets.api_key]", "[secrets.api_key]\ntemplate = 'v1*'", "purpose"),
            ("[secrets.api_key]", "[secrets.api_key]\njwt = { algorithm = 'RS256' }", "purpose"),
            (
                "[secrets.api_key]",
                "[secrets.s]\npurpose='sign'\njwt = { algorithm = 'none' }\n[secrets.api_key]",
                "`none`",
            ),
            (
                "[secrets.api_key]",
                "[secrets.s]\npurpose='sign'\njwt = { algorithm = 'RS256' }\n[secrets.api_key]",
                "origins =",
            ),
            (
                "[secrets.api_key]",
                "[secrets.s]\npurpose='verify'\njwt = { algorithm = 'RS256' }\n[secrets.api_key]",
                "issuer =",
            ),
            (
                "[secrets.api_key]",
                "[secrets.s]\npurpose='verify'\njwt = { algorithm = 'RS256', issuer = 'i' }\n[secrets.api_key]",
                "audience =",
            ),
            (
                "[secrets.api_key]",
                "[secrets.s]\npurpose='verify'\njwt = { algorithm = 'RS256', issuer = 'i', audience = ['a'], jwks = '{api}/k' }\n[secrets.api_key]",
                "host_only",
            ),
            ("[secrets.api_key]", "[operations.o]\neffect='read'\nscopes=['a']\n[secrets.api_key]", "source and date"),
            (
                "[secrets.api_key]",
                "[operations.o]\neffect='read'\nscopes=['a']\nsource='s'\ndate='d'\n[secrets.api_key]",
                "credential =",
            ),
            (
                "[secrets.api_key]",
                "[operations.o]\neffect='read'\nscopes=['a']\ncredential='key'\nsource='s'\ndate='d'\n[secrets.api_key]",
                "none that a consent is for",
            ),
            (
                "[secrets.api_key]",
                "[operations.o]\neffect='read'\nscopes=['a  b']\nsource='s'\ndate='d'\n[secrets.api_key]",
                "RFC 6749",
            ),
            (
                "[secrets.api_key]",
                "[operations.o]\neffect='read'\npartial_scopes=['a']\n[secrets.api_key]",
                "nothing about",
            ),
            ("[secrets.api_key]", &signed("token_params = { a = 'b' }"), "sends no form"),
            ("[secrets.api_key]", &signed("scopes = ['a']"), "sends no form"),
            (
                "[secrets.api_key]",
                &signed("flow = 'client-credentials'").replace("flow = 'exchange'\n", ""),
                "flow `exchange`",
            ),
            ("[secrets.api_key]", &signed("").replace("{api_key}", "{other}"), "not declared"),
            ("methods = [\"GET\"]", "method = [\"GET\"]", "method"),
            (
                "origins = [\"api\"]",
                "origins = []\n[origins.o]\nurl='https://o.test'\nmethods=[]\npaths=[]\nsource='s'\ndate='d'\ncredential_optional = true",
                "credential_optional",
            ),
        ] {
            let error = Manifest::parse(&PLAIN.replace(from, to)).unwrap_err();
            assert!(error.to_string().contains(expected), "{error}");
        }
    }

    /// A name goes into paths, into lines of configuration and onto terminals.
    #[test]
    fn a_name_that_is_no_word_is_refused_in_every_table_and_not_shown_as_it_is() {
        let long = "a".repeat(65);
        for name in ["", "a b", "../key", "/etc/key", "a.b", "a:b", "a\nb", "a\u{1b}[2J", "a\u{202e}b", long.as_str()] {
            // What JSON writes as text is a key to TOML.
            let key = serde_json::Value::from(name);
            for (table, rest) in [
                ("origins", "url='https://o.test'\nmethods=[]\npaths=[]\nsource='s'\ndate='d'"),
                ("secrets", ""),
                ("credentials", "scheme='bearer'\nsecret='api_key'\norigins=[]"),
                ("budgets", "concurrency=1\nsource='s'\ndate='d'"),
                ("events", "description='d'"),
            ] {
                let parsed = Manifest::parse(&format!("{PLAIN}\n[{table}.{key}]\n{rest}"));
                if (table, name) == ("events", "a.b") {
                    parsed.unwrap();
                    continue;
                }
                let error = parsed.unwrap_err();
                assert!(error.message().starts_with(&format!("plugin.toml: {table}: `")), "{name:?}: {error}");
                assert!(!error.to_string().contains(is_unshowable), "{name:?}: {error:?}");
            }
        }
        for more in [
            "[idempotency]\nheader = \"a b\"",
            "[retry]\nheader = \"a\\nb\"",
            "[request_id]\nheader = \"\"",
            "[[rate_headers]]\nreset = \"a:\"",
            "[[answers]]\nheader = \"a b\"\nequals = \"c\"\nkind = \"transient\"",
        ] {
            let error = Manifest::parse(&format!("{PLAIN}\n{more}")).unwrap_err();
            assert!(error.message().contains("header can have"), "{error}");
        }
    }

    #[test]
    fn there_are_only_so_many_of_what_every_answer_is_asked_about() {
        let rule = "\n[[answers]]\npointer='/a'\ncontains='b'\nkind='transient'\n";
        let facts = "source='s'\ndate='d'\n";
        let many = |number: usize, each: &dyn Fn(usize) -> String| (0..number).map(each).collect::<String>();
        let budget = |at: usize| format!("\n[budgets.b{at}]\nconcurrency=1\n{facts}");
        let origin = |at: usize| format!("\n[origins.o{at}]\nurl='https://o{at}.test'\nmethods=[]\npaths=[]\n{facts}");
        let weight = |_: usize| "{units=0},".to_owned();
        let condition = |_: usize| "{pointer='/a',equals='b'},".to_owned();
        let text = |_: usize| "'b',".to_owned();
        let row = |_: usize| "\n[[rate_headers]]\nreset='x'\n".to_owned();
        let weighed = |number| format!("{}weights=[{}]", budget(0), many(number, &weight));
        let conditioned = |number| format!("{rule}and=[{}]", many(number, &condition));
        let any_of = |number| rule.replace("contains='b'", &format!("any_of=[{}]", many(number, &text)));
        for (most, more, told) in [
            (many(ORIGINS_MAX - 1, &origin), many(ORIGINS_MAX, &origin), "33 origins"),
            (many(BUDGETS_MAX, &budget), many(BUDGETS_MAX + 1, &budget), "65 budgets"),
            (many(RATE_HEADERS_MAX, &row), many(RATE_HEADERS_MAX + 1, &row), "33 rate_headers"),
            (rule.repeat(ANSWERS_MAX), rule.repeat(ANSWERS_MAX + 1), "65 answers"),
            (weighed(WEIGHTS_MAX), weighed(WEIGHTS_MAX + 1), "64 weights"),
            (conditioned(CONDITIONS_MAX - 1), conditioned(CONDITIONS_MAX), "8 conditions"),
            (any_of(ANY_OF_MAX), any_of(ANY_OF_MAX + 1), "64 texts"),
            (rule.to_owned(), rule.replace("'b'", "''"), "empty `contains`"),
        ] {
            Manifest::parse(&format!("{PLAIN}{most}")).unwrap();
            let error = Manifest::parse(&format!("{PLAIN}{more}")).unwrap_err();
            assert!(error.message().contains(told), "{error}");
        }
    }

    #[test]
    fn names_near_a_wrong_one() {
        assert_eq!(suggestion("order.list", &["orders.list", "products.list"]), "Did you mean orders.list?");
        assert_eq!(suggestion("x", &["orders.list"]), "There are: orders.list");
    }

    #[test]
    fn text_is_no_component() {
        let error = Outline::read(b"<html>not found</html>").unwrap_err();
        assert_eq!(error.message(), "this is not a WebAssembly component");
    }

    #[test]
    fn shown_text_has_no_control_characters() {
        assert_eq!(shown("a\u{1b}[31mb"), "a\u{fffd}[31mb");
    }
}
