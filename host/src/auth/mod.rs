//! Credential schemes: how secrets become something on a request.
//!
//! A scheme describes a placement; it does no I/O and keeps no value. `outbound/sign.rs` asks for the placement at the
//! last step and is the only one that sees it. One file per scheme; [`Credential::new`] is the list.

mod api_key;
pub(crate) mod authorize;
mod basic;
mod bearer;
pub(crate) mod device;
pub(crate) mod hmac;
#[allow(dead_code, reason = "checking a token waits for webhooks and for its place in secrets.wit")]
pub(crate) mod jwt;
pub(crate) mod oauth2;

use zeroize::Zeroizing;

pub(crate) use self::api_key::Place;
use crate::manifest::CredentialFacts;

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
    scheme: Scheme,
}

#[derive(Clone, Debug)]
enum Scheme {
    ApiKey(api_key::ApiKey),
    Bearer,
    Basic,
    /// Its one value is the access token, which the host keeps.
    Oauth2,
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
}

impl Credential {
    /// The credential that a manifest declares.
    pub(crate) fn new(name: &str, facts: &CredentialFacts) -> Self {
        let scheme = match facts {
            CredentialFacts::ApiKey { prefix, .. } => Scheme::ApiKey(api_key::ApiKey::new(facts.place().0, prefix)),
            CredentialFacts::Bearer { .. } => Scheme::Bearer,
            CredentialFacts::Basic { .. } => Scheme::Basic,
            CredentialFacts::Oauth2(_) => Scheme::Oauth2,
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
            scheme,
        }
    }

    /// What a client shows at a token endpoint.
    pub(crate) fn client(name: &str, audience: Vec<String>, id: &str, secret: &str) -> Self {
        let secrets = vec![id.to_owned(), secret.to_owned()];
        let (name, methods, paths) = (name.to_owned(), Vec::new(), Vec::new());
        Self { name, audience, methods, paths, secrets, scheme: Scheme::Client }
    }

    /// Whether its value is an access token that the host keeps.
    pub(crate) fn is_oauth2(&self) -> bool {
        matches!(self.scheme, Scheme::Oauth2)
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
            Scheme::Bearer | Scheme::Basic | Scheme::Oauth2 | Scheme::Client => None,
        }
    }

    /// The placement, from the values of [`Credential::secrets`] in their order.
    pub(crate) fn placement(&self, values: &[Zeroizing<String>]) -> Option<Placement> {
        match (&self.scheme, values) {
            (Scheme::ApiKey(key), [value]) => key.placement(value),
            (Scheme::Bearer | Scheme::Oauth2, [value]) => Some(bearer::placement(value)),
            (Scheme::Client, [id, secret]) => Some(basic::placement(&encoded(id), &encoded(secret))),
            (Scheme::Basic, [user, password]) => Some(basic::placement(user, password)),
            _ => None,
        }
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

    fn placed(text: &str, values: &[&str]) -> String {
        let values: Vec<_> = values.iter().map(|value| Zeroizing::new((*value).to_owned())).collect();
        match Credential::new("c", &facts(text)).placement(&values).unwrap() {
            Placement::Header { name, value } => format!("{name}: {}", *value),
            Placement::Query { name, value } => format!("?{name}={}", *value),
            Placement::Cookie { name, value } => format!("Cookie: {name}={}", *value),
            Placement::Body { field, value } => format!("{{{field}: {}}}", *value),
            Placement::Path { marker, value } => format!("/{marker} -> {}", *value),
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
        assert_eq!(placed("scheme='bearer'\nsecret='k'\norigins=[]", &["abc"]), "Authorization: Bearer abc");
        // RFC 7617, section 2
        assert_eq!(
            placed("scheme='basic'\nuser='u'\nsecret='k'\norigins=[]", &["Aladdin", "open sesame"]),
            "Authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="
        );
    }

    #[test]
    fn a_missing_value_places_nothing() {
        assert!(Credential::new("c", &facts("scheme='bearer'\nsecret='k'\norigins=[]")).placement(&[]).is_none());
    }
}
