//! Credential schemes: how secrets become something on a request.
//!
//! A scheme describes a placement; it does no I/O and keeps no value. `outbound/sign.rs` asks for the placement at the
//! last step and is the only one that sees it. One file per scheme; [`Credential::new`] is the list.

mod api_key;
pub(crate) mod authorize;
mod basic;
mod bearer;
pub(crate) mod device;
pub(crate) mod facts;
pub(crate) mod hmac;
pub(crate) mod jwt;
pub(crate) mod oauth2;
pub(crate) mod scopes;
pub(crate) mod self_signed;
mod sigv4;

use std::sync::Arc;

use http::HeaderMap;
use url::Url;
use zeroize::Zeroizing;

pub(crate) use self::api_key::Place;
use crate::auth::facts::{AwsFacts, CredentialFacts};
use crate::error::Result;
use crate::time::Timestamp;

/// A credential as a connection may use it.
#[derive(Clone, Debug)]
pub(crate) struct Credential {
    /// Its name in the manifest.
    pub name: String,
    /// The origins it may go to, by their names in the manifest.
    pub audience: Vec<String>,
    /// The methods it goes with; any when empty.
    pub methods: Vec<String>,
    /// Path patterns below an origin's own path that it goes to; any when empty.
    pub paths: Vec<String>,
    /// The secrets it is made of, in the order the scheme wants them.
    pub secrets: Vec<String>,
    /// What its sign-in leaves behind besides, which goes into paths where `{name}` stands.
    pub captures: Vec<String>,
    scheme: Scheme,
}

#[derive(Clone, Debug)]
enum Scheme {
    ApiKey(api_key::ApiKey),
    Bearer,
    Basic,
    /// Its one value is the access token, which the host keeps.
    Oauth2,
    /// A token that the host signs.
    SelfSigned(Box<self_signed::SelfSigned>),
    /// A signature over the request.
    Aws(Box<AwsFacts>),
    /// A client's id and secret at a token endpoint, as a user and a password (RFC 6749, 2.3.1).
    Client,
}

/// What goes on a request, and where. It has no `Debug`, for it holds the value.
pub(crate) enum Placement {
    /// A header field.
    Header {
        /// The name.
        name: String,
        /// The value.
        value: Zeroizing<String>,
    },
    /// A parameter of the query.
    Query {
        /// The name.
        name: String,
        /// The value, not yet encoded.
        value: Zeroizing<String>,
    },
    /// A cookie.
    Cookie {
        /// The name.
        name: String,
        /// The value.
        value: Zeroizing<String>,
    },
    /// A field of a body that is a form or a JSON object.
    Body {
        /// The field's name.
        field: String,
        /// The value, not yet encoded.
        value: Zeroizing<String>,
    },
    /// A part of the path.
    Path {
        /// What stands there until then.
        marker: String,
        /// The value, not yet encoded.
        value: Zeroizing<String>,
    },
    /// Several header fields, of which the last is `authorization`.
    Headers(Vec<(&'static str, Zeroizing<String>)>),
}

/// What a credential goes on, for schemes that sign it.
pub(crate) struct Outgoing<'a> {
    /// Now.
    pub now: Timestamp,
    /// The method.
    pub method: &'a str,
    /// The URL as it will be sent.
    pub url: &'a Url,
    /// The header fields so far.
    pub headers: &'a HeaderMap,
    /// The body.
    pub payload: Payload<'a>,
}

/// A body, to be signed.
#[derive(Clone, Copy)]
pub(crate) enum Payload<'a> {
    /// There as a whole, or empty.
    Whole(&'a [u8]),
    /// Written piece by piece.
    InPieces,
}

/// A placement, and what was made for it that must not come back.
pub(crate) struct Placed {
    /// What goes where.
    pub placement: Placement,
    /// Made of secrets, and as good as one.
    pub made: Option<Zeroizing<String>>,
    /// Whether that is for this request alone, as a signature is.
    pub is_made_once: bool,
}

impl Credential {
    /// The credential that a manifest declares.
    pub(crate) fn new(name: &str, facts: &CredentialFacts) -> Self {
        let scheme = match facts {
            CredentialFacts::ApiKey { prefix, .. } => Scheme::ApiKey(api_key::ApiKey::new(facts.place().0, prefix)),
            CredentialFacts::Bearer { .. } => Scheme::Bearer,
            CredentialFacts::Basic { .. } => Scheme::Basic,
            CredentialFacts::Oauth2(_) => Scheme::Oauth2,
            CredentialFacts::Jwt(facts) => Scheme::SelfSigned(Box::new(self_signed::SelfSigned::new(facts))),
            CredentialFacts::AwsSigv4(facts) => Scheme::Aws(facts.clone()),
        };
        let (methods, paths) = facts.narrowed();
        Self {
            name: name.to_owned(),
            audience: facts.origins().to_vec(),
            methods: methods.to_vec(),
            paths: paths.to_vec(),
            secrets: match facts {
                // Of these the host makes tokens; what is placed is an access token.
                CredentialFacts::Oauth2(_) => Vec::new(),
                other => other.secrets().into_iter().map(str::to_owned).collect(),
            },
            captures: match facts {
                CredentialFacts::Oauth2(facts) => facts.capture.clone(),
                _ => Vec::new(),
            },
            scheme,
        }
    }

    /// What a client shows at a token endpoint.
    pub(crate) fn client(name: &str, audience: Vec<String>, id: &str, secret: &str) -> Self {
        let secrets = vec![id.to_owned(), secret.to_owned()];
        let (name, methods, paths) = (name.to_owned(), Vec::new(), Vec::new());
        Self { name, audience, methods, paths, secrets, captures: Vec::new(), scheme: Scheme::Client }
    }

    /// A header field whose whole value is a secret, where no manifest says so: for what the host itself sends.
    #[cfg(feature = "trace")]
    pub(crate) fn header(name: &str, audience: Vec<String>, header: &str, secret: &str) -> Self {
        let scheme = Scheme::ApiKey(api_key::ApiKey::new(Some(Place::Header(header.to_owned())), ""));
        let (name, methods, paths) = (name.to_owned(), Vec::new(), Vec::new());
        Self { name, audience, methods, paths, secrets: vec![secret.to_owned()], captures: Vec::new(), scheme }
    }

    /// A token that a plugin had made: its value is handed to whoever places it.
    pub(crate) fn made(name: &str, audience: Vec<String>) -> Arc<Self> {
        let (name, methods, paths) = (name.to_owned(), Vec::new(), Vec::new());
        let (secrets, captures) = (Vec::new(), Vec::new());
        Arc::new(Self { name, audience, methods, paths, secrets, captures, scheme: Scheme::Bearer })
    }

    /// Whether its value is an access token that the host keeps.
    pub(crate) fn is_oauth2(&self) -> bool {
        matches!(self.scheme, Scheme::Oauth2)
    }

    /// The parameter of the query that it goes into.
    pub(crate) fn query_name(&self) -> Option<&str> {
        match self.key_place() {
            Some(Place::Query(name)) => Some(name),
            _ => None,
        }
    }

    /// Where it goes, in words without the value: `header Authorization`.
    pub(crate) fn place(&self) -> String {
        match self.key_place() {
            Some(Place::Header(name)) => format!("header {name}"),
            Some(Place::Query(name)) => format!("query parameter {name}"),
            Some(Place::Cookie(name)) => format!("cookie {name}"),
            Some(Place::Body(field)) => format!("body field {field}"),
            Some(Place::Path(marker)) => format!("path at {marker}"),
            None => "header Authorization".to_owned(),
        }
    }

    /// The header it sets, if it sets one.
    pub(crate) fn header_name(&self) -> Option<&str> {
        match self.key_place() {
            Some(Place::Header(name)) => Some(name),
            Some(Place::Cookie(_)) => Some("cookie"),
            Some(Place::Query(_) | Place::Body(_) | Place::Path(_)) => None,
            None => Some("authorization"),
        }
    }

    /// What the plugin writes into the path where something goes that its sign-in left behind.
    pub(crate) fn capture_markers(&self) -> impl Iterator<Item = String> {
        self.captures.iter().map(|name| format!("{{{name}}}"))
    }

    /// What the plugin writes into the path where the value goes, if it goes there.
    pub(crate) fn marker(&self) -> Option<&str> {
        match self.key_place() {
            Some(Place::Path(marker)) => Some(marker),
            _ => None,
        }
    }

    fn key_place(&self) -> Option<&Place> {
        match &self.scheme {
            Scheme::ApiKey(key) => key.place(),
            _ => None,
        }
    }

    /// The placement, from the values of [`Credential::secrets`] in their order; none where one is missing.
    ///
    /// # Errors
    /// [`Kind::CredentialUnavailable`](crate::Kind::CredentialUnavailable) for a key that cannot sign.
    pub(crate) fn placement(&self, values: &[Zeroizing<String>], outgoing: &Outgoing<'_>) -> Result<Option<Placed>> {
        let plain = |placement| Placed { placement, made: None, is_made_once: false };
        Ok(match (&self.scheme, values) {
            (Scheme::ApiKey(key), [value]) => key.placement(value).map(plain),
            (Scheme::Bearer | Scheme::Oauth2, [value]) => Some(plain(bearer::placement(value))),
            (Scheme::Basic, [user, password]) => Some(plain(basic::placement(user, password))),
            (Scheme::Client, [id, secret]) => Some(plain(basic::placement(&encoded(id), &encoded(secret)))),
            (Scheme::SelfSigned(scheme), values) => scheme.token(values, outgoing.now)?.map(|token| Placed {
                placement: bearer::placement(&token),
                made: Some(token),
                is_made_once: false,
            }),
            (Scheme::Aws(facts), [access_key, secret, rest @ ..]) => {
                let session = rest.first().map(|value| value.as_str());
                let signing =
                    sigv4::Signing { access_key, secret, session, region: &facts.region, service: &facts.service };
                let (headers, signature) = signing.headers(outgoing);
                Some(Placed { placement: Placement::Headers(headers), made: Some(signature), is_made_once: true })
            }
            _ => None,
        })
    }
}

/// As a form writes it.
fn encoded(value: &str) -> Zeroizing<String> {
    Zeroizing::new(url::form_urlencoded::byte_serialize(value.as_bytes()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(text: &str) -> CredentialFacts {
        toml::from_str(text).unwrap()
    }

    fn put(text: &str, values: &[Zeroizing<String>]) -> Option<Placed> {
        let (url, headers) = (Url::parse("https://api.test/").unwrap(), HeaderMap::new());
        let (now, payload) = (Timestamp::from_millis(1_000_000), Payload::Whole(b""));
        let outgoing = Outgoing { now, method: "GET", url: &url, headers: &headers, payload };
        Credential::new("c", &facts(text)).placement(values, &outgoing).unwrap()
    }

    fn placed(text: &str, values: &[&str]) -> String {
        let values: Vec<_> = values.iter().map(|value| Zeroizing::new((*value).to_owned())).collect();
        match put(text, &values).unwrap().placement {
            Placement::Header { name, value } => format!("{name}: {}", *value),
            Placement::Query { name, value } => format!("?{name}={}", *value),
            Placement::Cookie { name, value } => format!("Cookie: {name}={}", *value),
            Placement::Body { field, value } => format!("{{{field}: {}}}", *value),
            Placement::Path { marker, value } => format!("/{marker} -> {}", *value),
            Placement::Headers(all) => all.iter().map(|(name, value)| format!("{name}: {}\n", **value)).collect(),
        }
    }

    #[test]
    fn each_scheme_places_as_its_specification_says() {
        let key = "scheme='api-key'\nsecret='k'\nheader='Authorization'\nprefix='App '\norigins=[]";
        assert_eq!(placed(key, &["abc"]), "Authorization: App abc");
        assert_eq!(placed("scheme='api-key'\nsecret='k'\nquery='apikey'\norigins=[]", &["abc"]), "?apikey=abc");
        let at =
            |place: &str| placed(&format!("scheme='api-key'\nsecret='k'\n{place}\nprefix='p-'\norigins=[]"), &["abc"]);
        assert_eq!(at("cookie='session'"), "Cookie: session=p-abc");
        assert_eq!(at("body='api_key'"), "{api_key: p-abc}");
        assert_eq!(at("path='{key}'"), "/{key} -> p-abc");
        let jwt = "scheme='jwt'\nsecret='k'\nalgorithm='HS256'\norigins=[]";
        assert!(placed(jwt, &["abc"]).starts_with("Authorization: Bearer eyJ"));
        let aws = "scheme='aws-sigv4'\naccess_key='a'\nsecret='k'\nsession='s'\nregion='r'\nservice='x'\norigins=[]";
        assert!(
            placed(aws, &["id", "key", "temporary"]).contains("x-amz-security-token: temporary\nauthorization: AWS4")
        );
        assert_eq!(placed("scheme='bearer'\nsecret='k'\norigins=[]", &["abc"]), "Authorization: Bearer abc");
        // RFC 7617, section 2
        assert_eq!(
            placed("scheme='basic'\nuser='u'\nsecret='k'\norigins=[]", &["Aladdin", "open sesame"]),
            "Authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="
        );
    }

    #[test]
    fn a_missing_value_places_nothing() {
        assert!(put("scheme='bearer'\nsecret='k'\norigins=[]", &[]).is_none());
    }
}
