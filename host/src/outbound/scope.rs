//! Request -> Scoped: is this origin, method, path and size granted?
//!
//! The URL is judged as it will be sent. Whatever two parsers might read differently (backslashes, control characters,
//! encoded slashes and dots, dot segments, userinfo, fragments) is refused before parsing instead of being repaired;
//! what is left is parsed once, and scheme, host and port are compared exactly with an origin of the grant. Nothing is
//! looked up and nothing is sent from here. A redirect's target and every repetition pass through the same check, and
//! only this file makes a [`Scoped`].

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use http::HeaderName;
use url::{Position, Url};

use super::fields::{is_host_header, is_same_header};
use super::graphql::{self, GraphqlRule};
use super::path_pattern::{PathPattern, check_path};
use super::{CredentialChoice, Method, Request};
use crate::error::{Error, Kind, rule};
use crate::text::{is_token, short, toml_key};

/// Costs that one request may state.
pub(crate) const REQUEST_COSTS_MAX: usize = 64;

/// The edges of one connection's grant, as far as requests go. By default nothing is granted.
#[derive(Clone, Default)]
pub(crate) struct Scope {
    /// The plugin's name, for messages.
    pub(crate) plugin: String,
    /// The connection's name, for messages.
    pub(crate) connection: String,
    /// What may be asked. The same origin may stand here several times, with other methods and paths.
    pub(crate) origins: Vec<OriginScope>,
    /// What the manifest asks for, granted or not: a line of configuration helps only inside it.
    pub(crate) asked: Vec<Asked>,
    /// The origins that the connection states, for the line that would allow one more.
    pub(crate) stated: Vec<String>,
    /// Headers that a credential of this connection fills, in any case; a guest may not set them.
    pub(crate) credential_headers: Vec<String>,
    /// The longest URL, counted after `{name}` is replaced.
    pub(crate) url_bytes_max: usize,
    /// The largest request body.
    pub(crate) request_body_bytes_max: usize,
    /// The most headers that a guest may set on one request.
    pub(crate) header_count_max: usize,
    /// The most bytes of names and values of these headers together.
    pub(crate) header_bytes_max: usize,
}

/// One origin and what may be asked of it.
#[derive(Clone)]
pub(crate) struct OriginScope {
    /// What a plugin writes in braces at the start of a URL.
    pub(crate) name: String,
    /// Where `{name}` points; its path, if any, comes before what follows the brace. A query of it is not used.
    pub(crate) base: Url,
    /// The methods, exactly: `GET` does not imply `HEAD`.
    pub(crate) methods: Vec<Method>,
    /// Full paths, the base's path included.
    pub(crate) paths: Vec<PathPattern>,
    /// Where not empty, a path must match one of these too: what the operator left of `paths`.
    pub(crate) narrowed: Vec<PathPattern>,
    /// What of GraphQL is granted, where a request must be one.
    pub(crate) graphql: Option<GraphqlRule>,
    /// The credential that the manifest declares for this origin; it does not matter here.
    pub(crate) credential: Option<String>,
    /// Whether a request may go without it where nobody has given its secrets.
    pub(crate) credential_optional: bool,
    /// The header field of an answer whose URL stays in the host.
    pub(crate) kept_header: Option<HeaderName>,
}

/// An origin that a manifest asks for.
#[derive(Clone)]
pub(crate) struct Asked {
    /// Its name.
    pub(crate) name: String,
    /// Where it is.
    pub(crate) base: Url,
    /// The methods used there.
    pub(crate) methods: Vec<Method>,
    /// The paths used there.
    pub(crate) paths: Vec<PathPattern>,
}

/// A request inside its grant, with the URL as it will be sent.
pub(crate) struct Scoped {
    request: Arc<Request>,
    url: Url,
    origin: usize,
}

impl OriginScope {
    /// These methods at these paths, with nothing narrowed and no credential.
    pub(crate) fn new(name: &str, base: Url, methods: Vec<Method>, paths: Vec<PathPattern>) -> Self {
        Self {
            name: name.to_owned(),
            base,
            methods,
            paths,
            narrowed: Vec::new(),
            graphql: None,
            credential: None,
            credential_optional: false,
            kept_header: None,
        }
    }
}

impl Scope {
    /// What the host asks for itself at one origin, within these limits. The names are for messages.
    #[cfg(any(feature = "serve", feature = "trace"))]
    pub(crate) fn of_own(plugin: &str, connection: &str, origin: OriginScope, limits: &crate::limits::Limits) -> Self {
        let size = |limit: u64| usize::try_from(limit).unwrap_or(usize::MAX);
        Self {
            plugin: plugin.to_owned(),
            connection: connection.to_owned(),
            origins: vec![origin],
            url_bytes_max: size(limits.url_bytes),
            request_body_bytes_max: size(limits.request_body_bytes),
            header_count_max: size(limits.headers),
            header_bytes_max: size(limits.header_bytes),
            ..Self::default()
        }
    }

    /// Judges a request of a guest.
    ///
    /// # Errors
    /// `policy-denied` by the rule `origin`, `method`, `path`, `url` or `header`, with the lines that would allow it
    /// where lines can; `limit-exceeded` naming the limit.
    pub(crate) fn check(&self, request: impl Into<Arc<Request>>) -> Result<Scoped, Error> {
        let request = request.into();
        self.check_costs(&request.costs)?;
        self.check_headers(&request.headers)?;
        self.check_size("request_body_bytes", request.body.as_ref().map_or(0, |b| b.len()), |s| {
            s.request_body_bytes_max
        })?;
        self.check_size("url_bytes", request.url.len(), |s| s.url_bytes_max)?;
        let (written, named) = match &request.secret_url {
            Some(kept) => (kept.url.as_str().into(), None),
            None => self.expand(&request.url)?,
        };
        self.check_size("url_bytes", written.len(), |s| s.url_bytes_max)?;
        let url = parse(&written).map_err(|why| self.refused_url(why))?;
        self.judge(request, url, named)
    }

    /// Replaces `{name}` at the start by where it points, with one slash between. Answers the name as well.
    pub(crate) fn expand<'a>(&self, written: &'a str) -> Result<(Cow<'a, str>, Option<&str>), Error> {
        let Some(inner) = written.strip_prefix('{') else {
            return Ok((written.into(), None));
        };
        let Some((name, rest)) = inner.split_once('}') else {
            return Err(self.refused_url("begins with a brace that does not close"));
        };
        let Some(origin) = self.origins.iter().find(|o| o.name == name) else {
            if let Some(asked) = self.asked.iter().find(|asked| asked.name == name) {
                let origin = asked.base.origin().ascii_serialization();
                let (plugin, connection) = (&self.plugin, &self.connection);
                let message = format!("{plugin} wanted {origin}, which connection `{connection}` does not grant.");
                return Err(Error::denied(rule::ORIGIN, message, self.origin_line(&origin)));
            }
            let mut known: Vec<String> = self.origins.iter().map(|o| format!("`{{{}}}`", o.name)).collect();
            known.dedup();
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            let (plugin, name) = (&self.plugin, short(name));
            let message = format!("{plugin} wanted `{{{name}}}`, which is not a name of an origin. Known: {known}.");
            return Err(Error::new(Kind::PolicyDenied(rule::ORIGIN.to_owned()), message));
        };
        let (start, path) = (&origin.base[..Position::BeforePath], origin.base.path());
        let written = match rest.bytes().next() {
            Some(b'/') => [start, path.trim_end_matches('/'), rest].concat(),
            Some(b'?') | None => [start, path, rest].concat(),
            Some(_) => return Err(self.refused_url("goes on after `{name}` with something else than `/` or `?`")),
        };
        Ok((written.into(), Some(&origin.name)))
    }

    /// Finds the first origin that allows method and path. Of several at one place the one that was named comes first:
    /// its budgets, its credential and what it says about answers are the ones that were meant.
    fn judge(&self, request: Arc<Request>, url: Url, named: Option<&str>) -> Result<Scoped, Error> {
        let is_named = |granted: &OriginScope| named == Some(&granted.name);
        let with =
            |wanted: bool| self.origins.iter().enumerate().filter(move |(_, granted)| is_named(granted) == wanted);
        let mut rule = rule::ORIGIN;
        let mut unlike = None;
        for (origin, granted) in with(true).chain(with(false)) {
            if !is_same_origin(&granted.base, &url) {
                continue;
            }
            if !granted.has_path(url.path()) {
                rule = if rule == rule::ORIGIN { rule::PATH } else { rule };
            } else if !granted.methods.contains(&request.method) {
                rule = rule::METHOD;
            } else if let Some(Err(why)) = granted.graphql.as_ref().map(|rule| rule.check(&request, &url)) {
                rule = rule::GRAPHQL;
                unlike = Some(why);
            } else {
                self.check_range(&request, granted)?;
                return Ok(Scoped { request, url, origin });
            }
        }
        match unlike {
            Some(why) => Err(self.refused_graphql(&why, &request, &url)),
            None => Err(self.refused(rule, &request, &url)),
        }
    }

    /// A part of a thing that only a credential opens could be put together with another's (R10).
    fn check_range(&self, request: &Request, granted: &OriginScope) -> Result<(), Error> {
        let is_signed = match &request.credential {
            CredentialChoice::Anonymous => false,
            CredentialChoice::Declared => granted.credential.is_some(),
            CredentialChoice::Named(_) | CredentialChoice::Made(_) => true,
        };
        if is_signed && request.headers.iter().any(|(name, _)| is_same_header(name, "range")) {
            let plugin = &self.plugin;
            let message = format!("{plugin} wanted to send header `Range` with a request that carries a credential.");
            return Err(Error::new(Kind::PolicyDenied(rule::HEADER.to_owned()), message)
                .with_details("It may go with a request without a credential, as to a link that is signed itself."));
        }
        Ok(())
    }

    /// The origin that allowed a request.
    pub(crate) fn origin_of(&self, scoped: &Scoped) -> &OriginScope {
        // Only `judge` makes indices, and the list does not change.
        &self.origins[scoped.origin]
    }

    fn refused(&self, rule: &str, request: &Request, url: &Url) -> Error {
        let (plugin, connection, method) = (&self.plugin, &self.connection, request.method.as_str());
        let shown = request.secret_url.as_ref().map_or(url, |kept| &kept.shown);
        let (origin, path) = (url.origin().ascii_serialization(), short(shown.path()));
        let message =
            format!("{plugin} wanted {method} {origin}{path}, which connection `{connection}` does not grant.");
        let is_asked = self.asked.iter().filter(|asked| is_same_origin(&asked.base, url)).any(|asked| {
            asked.methods.contains(&request.method) && asked.paths.iter().any(|pattern| pattern.matches(url.path()))
        });
        let allow = match rule {
            _ if !is_asked => format!(
                "The manifest of {plugin} does not ask for this, so no line in wharfage.toml allows it. If it belongs to \
                 the provider, the plugin must declare it under [origins]."
            ),
            rule::ORIGIN => self.origin_line(&origin),
            _ => format!(
                "To allow it, add to wharfage.toml:\n[[connections.{key}.allow]]\norigin = \"{origin}\"\nmethods = \
                 [\"{method}\"]\npaths = [\"{path}\"]",
                key = toml_key(connection)
            ),
        };
        Error::denied(rule, message, allow)
    }

    /// A request to a GraphQL endpoint of which something else is granted.
    fn refused_graphql(&self, why: &graphql::Refused, request: &Request, url: &Url) -> Error {
        let (plugin, connection, method) = (&self.plugin, &self.connection, request.method.as_str());
        let (origin, path) = (url.origin().ascii_serialization(), short(url.path()));
        let message = format!(
            "{plugin} wanted {what} at {method} {origin}{path}, which connection `{connection}` does not grant.",
            what = why.what
        );
        let place = format!("[[connections.{}.allow]] for {origin} in wharfage.toml", toml_key(connection));
        Error::denied(rule::GRAPHQL, message, format!("To allow it, set in {place}:   {}", why.allow))
    }

    /// The line that grants one more origin: the whole list, for a key stands once.
    fn origin_line(&self, origin: &str) -> String {
        let more = [origin.to_owned()];
        let list = crate::text::toml_list(self.stated.iter().chain(&more));
        format!("To allow it, set in [connections.{}] of wharfage.toml:   origins = {list}", toml_key(&self.connection))
    }

    /// A URL that nobody could allow. It is not shown: it may hold anything.
    fn refused_url(&self, why: &str) -> Error {
        Error::new(Kind::PolicyDenied(rule::URL.to_owned()), format!("{} wanted a URL that {why}.", self.plugin))
    }

    fn check_size(&self, limit: &str, bytes: usize, max: fn(&Self) -> usize) -> Result<(), Error> {
        let max = max(self);
        if bytes <= max {
            return Ok(());
        }
        let message = format!("{} wanted to send {bytes}, where {limit} is {max}.", self.plugin);
        Err(Error::limit(limit, message).with_more(limit))
    }

    /// Each of them is looked for among the connection's budgets.
    fn check_costs(&self, costs: &[(String, u32)]) -> Result<(), Error> {
        if costs.len() <= REQUEST_COSTS_MAX {
            return Ok(());
        }
        let (plugin, stated) = (&self.plugin, costs.len());
        let message = format!("{plugin} wanted to state {stated} costs, where request_costs is {REQUEST_COSTS_MAX}.");
        Err(Error::limit("request_costs", message).with_details("It is the same on every connection"))
    }

    fn check_headers(&self, headers: &[(String, String)]) -> Result<(), Error> {
        self.check_size("headers", headers.len(), |s| s.header_count_max)?;
        let bytes = headers.iter().fold(0usize, |sum, (n, v)| sum.saturating_add(n.len()).saturating_add(v.len()));
        self.check_size("header_bytes", bytes, |s| s.header_bytes_max)?;
        for (position, (name, value)) in headers.iter().enumerate() {
            let refuse = |why: &str| {
                let message = format!("{} wanted to send header `{}`, {why}.", self.plugin, short(name));
                Err(Error::new(Kind::PolicyDenied(rule::HEADER.to_owned()), message))
            };
            if !is_token(name) {
                return refuse("which is not a header name");
            }
            if !value.bytes().all(|b| matches!(b, b'\t' | b' '..=b'~')) {
                return refuse("whose value is not visible ASCII");
            }
            if is_host_header(name) {
                return refuse("which only the host sets");
            }
            if self.credential_headers.iter().any(|c| is_same_header(c, name)) {
                return refuse("which a credential of the connection fills");
            }
            let may_repeat = name.eq_ignore_ascii_case("accept");
            if !may_repeat && headers.iter().take(position).any(|(n, _)| n.eq_ignore_ascii_case(name)) {
                return refuse("twice");
            }
        }
        Ok(())
    }
}

impl OriginScope {
    /// The pattern that a path matches: of all such paths the same.
    pub(super) fn template(&self, path: &str) -> Option<&PathPattern> {
        self.narrowed.iter().chain(&self.paths).find(|pattern| pattern.matches(path))
    }

    fn has_path(&self, path: &str) -> bool {
        let is_in = |patterns: &[PathPattern]| patterns.iter().any(|pattern| pattern.matches(path));
        is_in(&self.paths) && (self.narrowed.is_empty() || is_in(&self.narrowed))
    }
}

impl Scoped {
    /// What was asked.
    pub(crate) fn request(&self) -> &Arc<Request> {
        &self.request
    }

    /// The URL as it will be sent, without userinfo and fragment.
    pub(crate) fn url(&self) -> &Url {
        &self.url
    }

    /// The same as it may be shown.
    pub(crate) fn shown_url(&self) -> &Url {
        self.request.secret_url.as_ref().map_or(&self.url, |kept| &kept.shown)
    }

    /// Which of [`Scope::origins`] allowed it.
    pub(crate) fn origin(&self) -> usize {
        self.origin
    }

    /// Adds the headers by which the host asks about an answer that it has kept.
    pub(super) fn add_conditions(&mut self, conditions: Vec<(String, String)>) {
        Arc::make_mut(&mut self.request).headers.extend(conditions);
    }

    /// The same without a credential.
    pub(super) fn without_credential(mut self) -> Self {
        Arc::make_mut(&mut self.request).credential = CredentialChoice::Anonymous;
        self
    }

    /// Takes it apart, to be signed.
    pub(crate) fn into_parts(self) -> (Arc<Request>, Url) {
        (self.request, self.url)
    }
}

/// Method and URL without query.
impl fmt::Debug for Scoped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let url = self.shown_url();
        let origin = url.origin().ascii_serialization();
        write!(f, "Scoped({} {origin}{})", self.request.method.as_str(), short(url.path()))
    }
}

/// Reads an absolute URL that every parser reads alike; an error completes "a URL that ...".
fn parse(written: &str) -> Result<Url, &'static str> {
    // The URL Standard drops tabs and newlines anywhere and trims spaces; nobody should depend on that.
    if written.bytes().any(|b| b <= b' ' || b == 0x7f) {
        return Err("holds a space or a control character");
    }
    if written.contains('#') {
        return Err("has a fragment");
    }
    let Some((scheme, rest)) = written.split_once("://") else {
        return Err("is not absolute");
    };
    if !scheme.eq_ignore_ascii_case("https") && !scheme.eq_ignore_ascii_case("http") {
        return Err("is neither https nor http");
    }
    let (authority, rest) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    if authority.is_empty() {
        return Err("names no host");
    }
    if authority.contains('@') {
        return Err("carries a user name or password");
    }
    if authority.contains(['\\', '%']) {
        return Err("has a backslash or an escape in its host");
    }
    check_path(rest.split('?').next().unwrap_or(""))?;
    let url = Url::parse(written).map_err(|_| "cannot be read")?;
    let host = url.host_str().unwrap_or("");
    if host.is_empty() || host.ends_with('.') {
        return Err("names no host, or one with a dot at its end");
    }
    let is_plain = url.username().is_empty() && url.password().is_none() && url.fragment().is_none();
    if !is_plain || !matches!(url.scheme(), "https" | "http") {
        return Err("reads differently than it is written");
    }
    Ok(url)
}

fn is_same_origin(granted: &Url, asked: &Url) -> bool {
    granted.scheme() == asked.scheme()
        && granted.host().is_some()
        && granted.host() == asked.host()
        && granted.port_or_known_default() == asked.port_or_known_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::fields::HOST_HEADERS;
    use super::*;

    fn origin(name: &str, base: &str, method: Method, path: &str) -> OriginScope {
        let paths = vec![PathPattern::parse(path).unwrap()];
        OriginScope::new(name, Url::parse(base).unwrap(), vec![method], paths)
    }

    fn scope() -> Scope {
        Scope {
            plugin: "sample".to_owned(),
            connection: "acme".to_owned(),
            origins: vec![
                origin("api", "https://api.test/v2", Method::Get, "/v2/**"),
                origin("api", "https://api.test/v2", Method::Post, "/v2/orders/*/lines"),
                origin("files", "http://files.test:8080", Method::Get, "/f/*"),
            ],
            asked: vec![
                asked("api", "https://api.test/v2", &["/v2/**"]),
                asked("else", "https://example.org", &["/**"]),
            ],
            stated: vec!["https://api.test".to_owned()],
            credential_headers: vec!["X-Key".to_owned()],
            url_bytes_max: 2_000,
            request_body_bytes_max: 10,
            header_count_max: 4,
            header_bytes_max: 100,
        }
    }

    /// Two origins of a manifest at one place (a part of the API with a budget of its own, say) were told apart by their
    /// order alone: whoever named the second was counted, signed and judged as the first.
    #[test]
    fn the_origin_that_was_named_is_the_one() {
        let mut scope = scope();
        for (name, path) in [("reports", "/v2/**"), ("narrow", "/v2/orders/*")] {
            scope.origins.push(origin(name, "https://api.test/v2", Method::Get, path));
        }
        let origin = |url: &str| {
            let scoped = scope.check(request(Method::Get, url, &[])).unwrap();
            scope.origin_of(&scoped).name.clone()
        };
        assert_eq!(["{api}/x", "{reports}/x", "{narrow}/orders/1"].map(origin), ["api", "reports", "narrow"]);
        assert_eq!(
            ["https://api.test/v2/x", "{narrow}/x"].map(origin),
            ["api", "api"],
            "else the first that allows it"
        );
    }

    fn asked(name: &str, base: &str, paths: &[&str]) -> Asked {
        let paths = paths.iter().map(|path| PathPattern::parse(path).unwrap()).collect();
        Asked { name: name.to_owned(), base: Url::parse(base).unwrap(), methods: Method::ALL.to_vec(), paths }
    }

    fn request(method: Method, url: &str, headers: &[(&str, &str)]) -> Request {
        Request {
            method,
            headers: headers.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect(),
            ..Request::get(url)
        }
    }

    fn get(url: &str) -> Result<Scoped, Error> {
        scope().check(request(Method::Get, url, &[]))
    }

    fn rule(answer: Result<Scoped, Error>) -> String {
        match answer.unwrap_err().kind() {
            Kind::PolicyDenied(rule) | Kind::LimitExceeded(rule) => rule.clone(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn passes_what_is_granted_and_normalises_it() {
        for (written, sent) in [
            ("{api}/orders", "https://api.test/v2/orders"),
            ("{api}", "https://api.test/v2"),
            ("{api}?a=b", "https://api.test/v2?a=b"),
            ("{api}/orders/?next=/../%2e%2e\\@x", "https://api.test/v2/orders/?next=/../%2e%2e\\@x"),
            ("HTTPS://API.Test:443/v2/x", "https://api.test/v2/x"),
            ("https://api.test:/v2/%C3%A9", "https://api.test/v2/%C3%A9"),
            ("https://api.test/v2/a*b", "https://api.test/v2/a*b"),
            ("{files}/f/x", "http://files.test:8080/f/x"),
        ] {
            assert_eq!(get(written).unwrap().url().as_str(), sent, "{written}");
        }
        let lines = scope().check(request(Method::Post, "{api}/orders/7/lines", &[])).unwrap();
        assert_eq!(lines.origin(), 1);
        assert_eq!(scope().origin_of(&lines).methods, [Method::Post]);
        assert_eq!(lines.url().as_str(), "https://api.test/v2/orders/7/lines");
        assert_eq!(format!("{lines:?}"), "Scoped(POST https://api.test/v2/orders/7/lines)");
        assert_eq!(lines.into_parts().0.method, Method::Post);
    }

    #[test]
    fn an_operator_narrows_what_a_manifest_asks() {
        let mut scope = scope();
        scope.origins[0].narrowed =
            vec![PathPattern::parse("/v2/orders/**").unwrap(), PathPattern::parse("/x").unwrap()];
        let ask = |url| scope.check(request(Method::Get, url, &[]));
        assert!(ask("{api}/orders/7").is_ok());
        assert_eq!(rule(ask("{api}/customers")), "path");
        assert_eq!(rule(ask("https://api.test/x")), "path");
    }

    #[test]
    fn refuses_by_rule() {
        for (rule_name, urls) in [
            (
                "origin",
                &[
                    "https://evil.test/v2/x",
                    "http://api.test/v2/x",
                    "https://api.test:8443/v2/x",
                    "http://files.test/f/x",
                    "https://files.test:8080/f/x",
                    "https://api.test.evil.test/v2/x",
                    "https://evil.test?https://api.test/v2",
                    "https://xn--pi-7kc.test/v2/x",
                    "https://аpi.test/v2/x", // a Cyrillic letter
                    "https://0177.0.0.1/v2/x",
                    "https://2130706433/v2/x",
                    "https://[::ffff:127.0.0.1]/v2/x",
                    "{nope}/x",
                ][..],
            ),
            (
                "path",
                &["https://api.test/", "https://api.test/v2x", "https://api.test/V2/x", "{files}/f/", "{files}/f/x/y"],
            ),
            (
                "url",
                &[
                    "",
                    "{api",
                    "{api}x",
                    "{api}.evil.test/",
                    "{api}@evil.test/",
                    "{api}:1/",
                    "/v2/x",
                    "//api.test/v2/x",
                    "https:api.test/v2/x",
                    "https:/api.test/v2/x",
                    "https:///api.test/v2/x",
                    "https://",
                    "ftp://api.test/v2/x",
                    "javascript://api.test/v2/x",
                    "https://api.test@evil.test/v2/x",
                    "https://user:pass@api.test/v2/x",
                    "https://@api.test/v2/x",
                    "https://api.test\\@evil.test/v2/x",
                    "https:\\\\api.test\\v2\\x",
                    "https://api.test/v2\\x",
                    "https://api.test./v2/x",
                    "https://api.test%2eevil.test/v2/x",
                    "https://%61pi.test/v2/x",
                    " https://api.test/v2/x",
                    "https://api.test/v2/x ",
                    "https://api.\ttest/v2/x",
                    "https://api.test/v2/x\r\nHost:evil.test",
                    "https://api.test/v2/x#y",
                    "https://api.test/v2/../x",
                    "https://api.test/v2/./x",
                    "https://api.test/v2/..",
                    "https://api.test/v2/..;a/x",
                    "https://api.test/v2/%2E%2e/x",
                    "https://api.test/v2/a%2Fb",
                    "https://api.test/v2/a%5cb",
                    "https://api.test/v2/%00",
                    "https://api.test/v2/%",
                    "https://api.test/v2/%+1",
                    "{api}/../x",
                    "https://api.test:99999/v2/x",
                ],
            ),
        ] {
            for url in urls {
                assert_eq!(rule(get(url)), rule_name, "{url}");
            }
        }
        assert_eq!(rule(scope().check(request(Method::Post, "{api}/orders/7", &[]))), "method");
        assert_eq!(rule(scope().check(request(Method::Post, "{files}/", &[]))), "path");
    }

    #[test]
    fn a_refusal_says_what_would_allow_it() {
        let error = scope().check(request(Method::Post, "https://example.org/x?key=1", &[])).unwrap_err();
        assert_eq!(
            error.to_string(),
            "sample wanted POST https://example.org/x, which connection `acme` does not grant.\n\
             To allow it, set in [connections.acme] of wharfage.toml:   \
             origins = [\"https://api.test\", \"https://example.org\"]"
        );
        let error = scope().check(request(Method::Delete, "{api}/orders/7?key=1", &[])).unwrap_err();
        assert_eq!(
            error.to_string(),
            "sample wanted DELETE https://api.test/v2/orders/7, which connection `acme` does not grant.\n\
             To allow it, add to wharfage.toml:\n[[connections.acme.allow]]\norigin = \"https://api.test\"\n\
             methods = [\"DELETE\"]\npaths = [\"/v2/orders/7\"]"
        );
        let error = get("{else}/x").unwrap_err();
        assert!(error.to_string().contains("origins = [\"https://api.test\", \"https://example.org\"]"), "{error}");
        let error = get("https://elsewhere.test/x").unwrap_err();
        assert!(error.to_string().contains("does not ask for this"), "{error}");
        let error = get("{nope}/x").unwrap_err();
        assert_eq!(
            error.message(),
            "sample wanted `{nope}`, which is not a name of an origin. Known: `{api}`, `{files}`."
        );
        assert!(!get("https://user:hunter22@api.test/").unwrap_err().to_string().contains("hunter22"));
    }

    /// The WHATWG's own test data, where it is at hand: what the scope lets pass goes exactly where that says it goes.
    #[test]
    #[allow(clippy::disallowed_methods, reason = "where the data lies is the machine's business")]
    fn what_passes_of_the_whatwg_data_goes_where_the_whatwg_says() {
        let Ok(cases) = std::env::var("WHARFAGE_CASES") else {
            // As `skipped` of the tests' harness, which depends on this crate.
            let required = std::env::var("WHARFAGE_REQUIRED").unwrap_or_default();
            let is_required = required.split(',').map(str::trim).any(|name| name == "WHARFAGE_CASES" || name == "all");
            assert!(!is_required, "WHARFAGE_REQUIRED asks for WHARFAGE_CASES, and it would be skipped");
            // Not by `println!`, which the test would keep to itself.
            let told = b"\nSKIPPED WHARFAGE_CASES: it names no folder with url/urltestdata.json\n";
            return drop(std::io::Write::write_all(&mut std::io::stderr(), told));
        };
        let text = std::fs::read_to_string(format!("{cases}/url/urltestdata.json")).unwrap();
        let data: Vec<serde_json::Value> = serde_json::from_str(&text).unwrap();
        let rows = || data.iter().filter_map(|row| Some((row["input"].as_str()?, row)));
        // Every place that the data knows is granted, so that only the way there is judged.
        let places = rows().filter_map(|(_, row)| Url::parse(row["href"].as_str()?).ok());
        let origins = places.filter(|url| matches!(url.scheme(), "http" | "https")).map(|mut base| {
            base.set_path("/");
            base.set_query(None);
            base.set_fragment(None);
            origin("any", base.as_str(), Method::Get, "/**")
        });
        let scope = Scope { origins: origins.collect(), ..scope() };
        let mut passed = 0;
        for (input, row) in rows() {
            if let Ok(scoped) = scope.check(request(Method::Get, input, &[])) {
                assert_eq!(Some(scoped.url().as_str()), row["href"].as_str(), "{input:?}");
                passed += 1;
            }
        }
        println!("{passed} of {} pass", data.len());
        assert!(passed > 20, "{passed} is too few to mean anything");
    }

    #[test]
    fn a_hop_is_judged_like_a_request() {
        let hop = |url: &str| scope().check(request(Method::Get, url, &[]));
        let scoped = hop("https://api.test/v2/done").unwrap();
        assert_eq!((scoped.url().as_str(), scoped.request().method), ("https://api.test/v2/done", Method::Get));
        assert_eq!(rule(hop("https://evil.test/v2/done")), "origin");
        assert_eq!(rule(hop("http://api.test/v2/done")), "origin");
        assert_eq!(rule(hop("https://u@api.test/v2/done")), "url");
        assert_eq!(rule(hop("https://api.test/v2/%2e%2e%2fx")), "url");
        assert_eq!(rule(hop("file:///etc/passwd")), "url");
    }

    #[test]
    fn headers_of_the_host_stay_with_the_host() {
        let with = |headers: &[(&str, &str)]| scope().check(request(Method::Get, "{api}/x", headers));
        for name in HOST_HEADERS {
            assert_eq!(rule(with(&[(name, "x")])), "header", "{name}");
            assert_eq!(rule(with(&[(&name.to_uppercase().replace('-', "_"), "x")])), "header", "{name}");
        }
        for name in ["Proxy-Authorization", "x_forwarded_For", "X-KEY", "", "a b", "a:b", "ä", "a\r\n", ":path"] {
            assert_eq!(rule(with(&[(name, "x")])), "header", "{name}");
        }
        for value in ["a\r\nb: c", "a\0", "ä", "\u{7f}"] {
            assert_eq!(rule(with(&[("a", value)])), "header", "{value:?}");
        }
        assert_eq!(rule(with(&[("a", "1"), ("A", "2")])), "header");
        assert!(with(&[("accept", "a"), ("Accept", "b"), ("if-none-match", "\"x\""), ("proxy", "\t ~")]).is_ok());
    }

    #[test]
    fn sizes_have_limits_with_names() {
        let big = Request { body: Some(vec![0; 11].into()), ..request(Method::Get, "{api}/x", &[]) };
        assert_eq!(rule(scope().check(big)), "request_body_bytes");
        assert_eq!(rule(get(&format!("{{api}}/{}", "x".repeat(2_000)))), "url_bytes");
        assert_eq!(rule(get(&format!("{{api}}/{}", "x".repeat(1_985)))), "url_bytes");
        let many: Vec<(&str, &str)> = vec![("accept", "x"); 5];
        assert_eq!(rule(scope().check(request(Method::Get, "{api}/x", &many))), "headers");
        let long = "x".repeat(100);
        assert_eq!(rule(scope().check(request(Method::Get, "{api}/x", &[("a", &long)]))), "header_bytes");
    }

    /// A million of them were each looked for among all budgets, twice, with nobody else on the thread.
    #[test]
    fn the_costs_of_one_request_are_limited() {
        let stating = |costs| {
            let costs = vec![("a".to_owned(), 1); costs];
            scope().check(Request { costs, ..request(Method::Get, "{api}/x", &[]) })
        };
        assert!(stating(REQUEST_COSTS_MAX).is_ok());
        assert_eq!(rule(stating(REQUEST_COSTS_MAX + 1)), "request_costs");
    }

    /// Strings made of what confuses parsers, mostly near the granted origin.
    fn tricky() -> impl Strategy<Value = String> {
        #[rustfmt::skip]
        const PARTS: &[&str] = &[
            "https", "http", "HTTPS", "://", ":", "/", "//", "\\", "@", "api.test", "API.test", "files.test",
            "evil.test", ".", "..", "%2e", "%2F", "%5c", "%00", "%40", "?", "#", "\t", "\n", " ", "v2", "f", ":443",
            ":8080", ":80",
            ";", "{api}", "{files}", "{", "}", "[::1]", "0x7f.1", "127.0.0.1", "xn--", "。",
            "／", "ａ", "\u{ad}", "user:pw@",
        ];
        prop_oneof![
            prop::collection::vec(prop::sample::select(PARTS), 0..10).prop_map(|p| p.concat()),
            prop::collection::vec(prop::sample::select(PARTS), 0..6)
                .prop_map(|p| format!("https://api.test{}", p.concat())),
            prop::collection::vec(prop::sample::select(PARTS), 0..6).prop_map(|p| format!("{{api}}{}", p.concat())),
            "\\PC{0,20}".prop_map(|p| format!("https://api.test/v2/{p}")),
            any::<String>(),
        ]
    }

    fn assert_inside(scoped: &Scoped) -> Result<(), TestCaseError> {
        let url = scoped.url();
        let is_api = url.scheme() == "https" && url.host_str() == Some("api.test") && url.port().is_none();
        let is_files = url.scheme() == "http" && url.host_str() == Some("files.test") && url.port() == Some(8080);
        prop_assert!(is_api && url.path().starts_with("/v2") || is_files && url.path().starts_with("/f/"), "{url}");
        prop_assert!(url.username().is_empty() && url.password().is_none() && url.fragment().is_none());
        prop_assert!(url.path().split('/').all(|s| s != "." && s != ".."));
        // What is sent is read the same way by whoever reads it next.
        prop_assert_eq!(&Url::parse(url.as_str()).unwrap(), url);
        let sent = url.as_str().split_once("://").unwrap().1;
        let authority = sent.split(['/', '?', '#', '\\']).next().unwrap();
        prop_assert!(matches!(authority, "api.test" | "files.test:8080"), "{authority}");
        prop_assert!(sent.bytes().all(|b| b.is_ascii_graphic()));
        Ok(())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn nothing_outside_the_grant_ever_passes(text in tricky()) {
            if let Ok(scoped) = get(&text) {
                assert_inside(&scoped)?;
            }
        }

        #[test]
        fn no_hop_ever_leaves_the_grant(text in tricky()) {
            let here = Url::parse("https://api.test/v2/here").unwrap();
            if let Ok(url) = here.join(&text)
                && let Ok(scoped) = scope().check(request(Method::Get, url.as_str(), &[]))
            {
                assert_inside(&scoped)?;
            }
        }

        #[test]
        fn a_refusal_never_shows_the_query(text in tricky()) {
            let asked = format!("{text}?secret-in-query");
            if let Err(error) = get(&asked) {
                prop_assert!(!error.to_string().contains("secret-in-query"), "{error}");
            }
        }

    }
}
