//! Needs with Connection -> Grant: the only place where a yes is made.
//!
//! A grant is what both ask for: what the plugin's manifest and imports need, cut down to what the connection states.
//! What the connection states beyond the needs gives nothing. What is needed and not stated is missing, and each
//! missing thing comes with the line that would allow it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use ipnet::IpNet;
use url::Url;

use crate::account::{Account, BudgetOverride};
use crate::auth::{Credential, scopes};
use crate::capability;
use crate::connection::{Allow, Connection};
use crate::drift::DriftPolicy;
use crate::error::{Error, Result, rule};
use crate::limits::Limits;
use crate::manifest::{BudgetFacts, BudgetScope, CredentialFacts, Needs, WeightFacts, json_of};
use crate::outbound::Method;
use crate::outbound::admit::{Coverage, Weight};
use crate::outbound::breaker::BreakerPolicy;
use crate::outbound::buckets::{BucketSpec, Shape};
use crate::outbound::cache::CachePolicy;
use crate::outbound::graphql::GraphqlRule;
use crate::outbound::path_pattern::PathPattern;
use crate::outbound::scope::{Asked, OriginScope, Scope};
use crate::policy::poll::PollPolicy;
use crate::policy::socket::SocketPolicy;
use crate::text::{list_line, shown, suggestion, toml_key, toml_list};
use crate::vault::Granted;
use crate::warm::WarmPolicy;

/// What a plugin may do over one connection.
pub struct Grant {
    /// The connection's name.
    pub(crate) connection: String,
    /// The interfaces that are linked.
    pub(crate) imports: BTreeSet<String>,
    /// The edges of its requests.
    pub(crate) scope: Scope,
    /// The edges of what the host itself asks there, as a token endpoint. No request of the plugin's is in them.
    pub(crate) authority: Scope,
    /// Addresses outside the public internet it may dial.
    pub(crate) private_addresses: Vec<IpNet>,
    /// The operations that may be called; all where there is nothing.
    pub(crate) operations: Option<BTreeSet<String>>,
    /// The credentials it may have placed.
    pub(crate) credentials: Vec<Credential>,
    /// What a sign-in asks for over this connection alone, by credentials of the scheme `oauth2`.
    pub(crate) scopes: BTreeMap<String, Vec<String>>,
    /// The secrets it may have used.
    pub(crate) secrets: BTreeMap<String, Granted>,
    /// The buckets it draws on.
    pub(crate) budgets: Vec<Budget>,
    /// Budgets that the account sets and this plugin does not have: another plugin's, or a slip of the pen.
    pub(crate) strange_budgets: Vec<String>,
    /// When the host stops asking.
    pub(crate) breaker: BreakerPolicy,
    /// What of the answers is kept.
    pub(crate) cache: CachePolicy,
    /// What happens when an answer differs from its schema.
    pub(crate) drift: DriftPolicy,
    /// Whether the provider is told of traces.
    pub(crate) trace_context: bool,
    /// Whether instances stay between calls.
    pub(crate) warm: WarmPolicy,
    /// Its limits.
    pub(crate) limits: Limits,
    /// Fields filled into an input.
    pub(crate) defaults: serde_json::Map<String, serde_json::Value>,
    /// What is needed and not granted, with the line that would allow it.
    pub(crate) missing: Vec<Missing>,
}

debug_shows!(Grant, |this| connection = this.connection);

/// A bucket with who shares it and which origins it covers.
pub(crate) struct Budget {
    pub(crate) spec: BucketSpec,
    pub(crate) scope: BudgetScope,
    pub(crate) coverage: Coverage,
    pub(crate) source: String,
}

impl Connection {
    /// The connection that grants everything a plugin's manifest asks for, and no private address: for a first look, and
    /// for a check.
    pub fn granting(needs: &Needs) -> Self {
        let origins = needs.manifest.origins.values().filter_map(|facts| Url::parse(&facts.url).ok());
        Self {
            plugin: needs.manifest.plugin.name.clone(),
            imports: needs.imports.iter().cloned().collect(),
            origins: origins.map(|url| url.origin().ascii_serialization()).collect(),
            secrets: needs.manifest.secrets.keys().cloned().collect(),
            ..Self::default()
        }
    }
}

/// Something needed that the connection does not state.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Missing {
    /// What, as `the import state`.
    pub what: String,
    /// The line below `[connections.<name>]` that would allow it.
    pub line: String,
    /// Whether nothing works without it.
    pub is_essential: bool,
}

impl Grant {
    /// Judges what a plugin needs against what a connection states.
    ///
    /// # Errors
    /// [`Kind::Configuration`](crate::Kind::Configuration) where a value cannot be understood. What is merely missing
    /// is no error here: see [`Grant::check`].
    pub fn new(needs: &Needs, name: &str, connection: &Connection, account: Option<&Account>) -> Result<Self> {
        let wrong = |text: String| Error::configuration(format!("[connections.{}]: {text}", toml_key(name)));
        let mut missing = Vec::new();
        let imports = granted_imports(needs, connection, &mut missing, &wrong)?;
        let (origins, asked) = granted_origins(needs, connection, &mut missing, &wrong)?;
        let is_host_only = |name: &str| needs.manifest.origins.get(name).is_some_and(|facts| facts.host_only);
        let (authorities, origins): (Vec<OriginScope>, Vec<OriginScope>) =
            origins.into_iter().partition(|origin| is_host_only(&origin.name));
        let names: BTreeSet<&str> = origins.iter().map(|origin| origin.name.as_str()).collect();
        let secrets = granted_secrets(needs, connection, account, &mut missing);
        let credentials: Vec<Credential> = needs
            .manifest
            .credentials
            .iter()
            .map(|(credential, facts)| Credential::new(credential, facts))
            .filter(|credential| credential.audience.iter().any(|origin| names.contains(origin.as_str())))
            .collect();
        check_names(needs, connection, &wrong)?;
        let scopes = needs.manifest.credentials.iter().filter_map(|(credential, facts)| match facts {
            CredentialFacts::Oauth2(facts) if facts.has_scopes() => {
                let stated = account.map(|account| account.scopes.clone()).filter(|scopes| !scopes.is_empty());
                Some((credential.clone(), stated.unwrap_or_else(|| needs.scopes(connection, credential))))
            }
            _ => None,
        });
        let scopes = scopes.collect();
        check_audience(&credentials, &wrong)?;
        check_triggers(needs, connection, &wrong)?;
        let limits = connection.limits;
        limits.check().map_err(|error| error.context(format!("connection `{}`", shown(name))))?;
        let bounded = |value: u64| usize::try_from(value).unwrap_or(usize::MAX);
        let mut credential_headers: Vec<String> =
            credentials.iter().filter_map(Credential::header_name).map(str::to_owned).collect();
        credential_headers.extend(needs.manifest.idempotency.iter().filter_map(|place| place.header.clone()));
        let scope = |origins, asked, credential_headers| Scope {
            plugin: needs.manifest.plugin.name.clone(),
            connection: name.to_owned(),
            origins,
            asked,
            stated: connection.origins.clone(),
            credential_headers,
            url_bytes_max: bounded(limits.url_bytes),
            request_body_bytes_max: bounded(limits.request_body_bytes),
            header_count_max: bounded(limits.headers),
            header_bytes_max: bounded(limits.header_bytes),
        };
        let (of_host, of_plugin) = asked.into_iter().partition(|asked| is_host_only(&asked.name));
        Ok(Self {
            connection: name.to_owned(),
            imports,
            scope: scope(origins, of_plugin, credential_headers),
            authority: scope(authorities, of_host, Vec::new()),
            private_addresses: connection.private_addresses.clone(),
            operations: connection.operations.as_ref().map(|names| names.iter().cloned().collect()),
            credentials,
            scopes,
            secrets,
            budgets: budgets(needs, connection, account, &wrong)?,
            strange_budgets: account
                .into_iter()
                .flat_map(|account| account.budgets.keys())
                .filter(|name| !needs.manifest.budgets.contains_key(*name))
                .cloned()
                .collect(),
            breaker: connection.breaker,
            cache: connection.cache,
            drift: connection.drift,
            trace_context: connection.trace_context,
            warm: connection.warm,
            limits,
            defaults: defaults(needs, connection, &wrong)?,
            missing,
        })
    }

    /// What is needed and not granted.
    pub fn missing(&self) -> &[Missing] {
        &self.missing
    }

    /// Refuses an operation that the connection does not state, where it states some.
    ///
    /// # Errors
    /// [`Kind::PolicyDenied`](crate::Kind::PolicyDenied) with the line that would allow it.
    pub(crate) fn check_operation(&self, name: &String) -> Result<()> {
        match &self.operations {
            Some(stated) if !stated.contains(name) => Err(Error::denied(
                rule::OPERATION,
                format!("{name} is an operation that connection `{}` does not grant", self.connection),
                format!(
                    "To allow it, set in [connections.{}] of wharfage.toml:   {}",
                    toml_key(&self.connection),
                    list_line("operations", stated.iter(), name)
                ),
            )),
            _ => Ok(()),
        }
    }

    /// Refuses if something is missing without which the component cannot start.
    ///
    /// # Errors
    /// [`Kind::PolicyDenied`](crate::Kind::PolicyDenied) with every line that would allow it.
    pub fn check(&self, needs: &Needs) -> Result<()> {
        let essential: Vec<&Missing> = self.missing.iter().filter(|missing| missing.is_essential).collect();
        if essential.is_empty() {
            return Ok(());
        }
        let what: Vec<&str> = essential.iter().map(|missing| missing.what.as_str()).collect();
        let key = toml_key(&self.connection);
        let mut lines = format!("To allow it, set in [connections.{key}] of wharfage.toml:");
        for missing in &essential {
            let _ = write!(lines, "   {}", missing.line);
        }
        Err(Error::denied(
            rule::IMPORT,
            format!(
                "{} needs {}, which connection `{}` does not grant.",
                needs.manifest.plugin.name,
                what.join(", "),
                self.connection
            ),
            lines,
        ))
    }
}

/// Checks that the operations and the credential that a connection names are the plugin's.
fn check_names(needs: &Needs, connection: &Connection, wrong: &dyn Fn(String) -> Error) -> Result<()> {
    for name in connection.operations.iter().flatten() {
        let known: Vec<&str> = needs.operations.iter().map(|operation| operation.name.as_str()).collect();
        if !known.contains(&name.as_str()) {
            return Err(wrong(format!("operations names `{}`, which is no operation of the plugin", shown(name)))
                .with_details(suggestion(name, &known)));
        }
    }
    if let Some(name) = &connection.credential
        && !needs.manifest.credentials.contains_key(name)
    {
        let known: Vec<&str> = needs.manifest.credentials.keys().map(String::as_str).collect();
        return Err(wrong(format!("credential names `{}`, which is no credential of the plugin", shown(name)))
            .with_details(suggestion(name, &known)));
    }
    Ok(())
}

/// Checks the methods and paths that credentials are for.
fn check_audience(credentials: &[Credential], wrong: &dyn Fn(String) -> Error) -> Result<()> {
    for credential in credentials {
        for method in &credential.methods {
            method_of(method, wrong)?;
        }
        for path in &credential.paths {
            pattern(path, wrong)?;
        }
    }
    Ok(())
}

/// Checks that the polls and sockets that a connection runs are the plugin's, and as the plugin allows.
fn check_triggers(needs: &Needs, connection: &Connection, wrong: &dyn Fn(String) -> Error) -> Result<()> {
    let manifest = &needs.manifest;
    check_stated("poll", &connection.polls, &manifest.polls, PollPolicy::check_against, wrong)?;
    check_stated("socket", &connection.sockets, &manifest.sockets, SocketPolicy::check_against, wrong)
}

/// Checks what a connection states of one kind, by name, against what the plugin declares.
fn check_stated<P, F>(
    kind: &str,
    stated: &BTreeMap<String, P>,
    declared: &BTreeMap<String, F>,
    check: impl Fn(&P, &F) -> std::result::Result<(), String>,
    wrong: &dyn Fn(String) -> Error,
) -> Result<()> {
    for (name, policy) in stated {
        let Some(facts) = declared.get(name) else {
            let names: Vec<&str> = declared.keys().map(String::as_str).collect();
            return Err(wrong(format!("{kind}s.{}: the plugin has no such {kind}", shown(name)))
                .with_details(suggestion(name, &names)));
        };
        check(policy, facts).map_err(|why| wrong(format!("{kind}s.{name} {why}")))?;
    }
    Ok(())
}

fn granted_imports(
    needs: &Needs,
    connection: &Connection,
    missing: &mut Vec<Missing>,
    wrong: &dyn Fn(String) -> Error,
) -> Result<BTreeSet<String>> {
    let known: Vec<&str> = capability::ALL.iter().map(|capability| capability.name).collect();
    if let Some(stranger) = connection.imports.iter().find(|name| !known.contains(&name.as_str())) {
        let help = crate::text::suggestion(stranger, &known);
        return Err(
            wrong(format!("imports names `{stranger}`, which is no interface of the contract")).with_details(help)
        );
    }
    let mut granted: BTreeSet<String> = capability::ALWAYS.iter().map(|name| (*name).to_owned()).collect();
    for name in &needs.imports {
        if !known.contains(&name.as_str()) {
            let name = shown(name);
            return Err(Error::component(format!("the component imports wharfage:plugin/{name}, which there is not")));
        }
        if connection.imports.contains(name) {
            granted.insert(name.clone());
        } else if !granted.contains(name) {
            let wanted = connection.imports.iter().chain(needs.imports.iter());
            let wanted: BTreeSet<&String> =
                wanted.filter(|name| !capability::ALWAYS.contains(&name.as_str())).collect();
            missing.push(Missing {
                what: format!("the import {name}"),
                line: format!("imports = {}", toml_list(wanted)),
                is_essential: true,
            });
        }
    }
    missing.dedup_by(|a, b| {
        let same = a.line == b.line;
        if same {
            b.what = format!("{} and {}", b.what, a.what.trim_start_matches("the import "));
        }
        same
    });
    Ok(granted)
}

fn granted_secrets(
    needs: &Needs,
    connection: &Connection,
    account: Option<&Account>,
    missing: &mut Vec<Missing>,
) -> BTreeMap<String, Granted> {
    let mut granted = BTreeMap::new();
    for (secret, facts) in &needs.manifest.secrets {
        if connection.secrets.contains(secret) {
            let source = account.and_then(|account| account.secrets.get(secret)).cloned();
            let (purpose, max_age_days) = (facts.purpose, facts.max_age_days);
            granted.insert(secret.clone(), Granted { purpose, source, max_age_days });
        } else {
            missing.push(Missing {
                what: format!("the secret {secret}"),
                line: list_line("secrets", connection.secrets.iter(), secret),
                is_essential: false,
            });
        }
    }
    granted
}

fn granted_origins(
    needs: &Needs,
    connection: &Connection,
    missing: &mut Vec<Missing>,
    wrong: &dyn Fn(String) -> Error,
) -> Result<(Vec<OriginScope>, Vec<Asked>)> {
    if let Some(stranger) = connection.base.keys().find(|name| !needs.manifest.origins.contains_key(*name)) {
        let known: Vec<&str> = needs.manifest.origins.keys().map(String::as_str).collect();
        let help = crate::text::suggestion(stranger, &known);
        return Err(wrong(format!("base names `{stranger}`, which is no origin of the plugin")).with_details(help));
    }
    // An empty list grants nothing, and none stands for every path of the manifest.
    if let Some(Allow { origin, .. }) = connection.allow.iter().find(|allow| allow.paths.is_empty()) {
        let others = connection.origins.iter().filter(|other| *other != origin);
        let line = list_line("origins", others, origin);
        let help = format!(
            "To grant nothing there, take it out; to grant all that the manifest asks for there, set instead:   {line}"
        );
        return Err(wrong(format!("allow for `{}` has no paths", shown(origin))).with_details(help));
    }
    let stated =
        connection.origins.iter().map(|origin| parse_origin(origin).map_err(wrong)).collect::<Result<Vec<Url>>>()?;
    // Both together would be the wider one, whoever wrote the narrower one beside it.
    for Allow { origin, .. } in &connection.allow {
        let narrowed = parse_origin(origin).map_err(wrong)?;
        if stated.iter().any(|stated| stated.origin() == narrowed.origin()) {
            let others = connection.origins.iter().zip(&stated).filter(|(_, url)| url.origin() != narrowed.origin());
            let line = toml_list(others.map(|(origin, _)| origin));
            let help = format!("To grant only what allow says there, set:   origins = {line}");
            return Err(wrong(format!("`{}` stands in origins and in allow", shown(origin))).with_details(help));
        }
    }
    let (mut origins, mut all) = (Vec::new(), Vec::new());
    for (name, facts) in &needs.manifest.origins {
        let base = base_of(name, &facts.url, connection, wrong)?;
        let methods = facts.methods.iter().map(|method| method_of(method, wrong)).collect::<Result<Vec<_>>>()?;
        let root = base.path().trim_end_matches('/').to_owned();
        let paths = facts
            .paths
            .iter()
            .map(|path| pattern(&format!("{root}{path}"), wrong))
            .collect::<Result<Vec<PathPattern>>>()?;
        let covers = |chosen: &&String| {
            let facts = needs.manifest.credentials.get(*chosen);
            facts.is_some_and(|facts| facts.origins().contains(name))
        };
        // Whoever chooses one wants it, and no request without.
        let chosen = connection.credential.as_ref().filter(covers);
        let declared = || needs.manifest.declared_credential(name).map(str::to_owned);
        let credential = chosen.cloned().or_else(declared);
        let credential_optional = facts.credential_optional && chosen.is_none();
        let kept_header =
            facts.kept_header.as_ref().and_then(|header| http::HeaderName::from_bytes(header.as_bytes()).ok());
        all.push(Asked { name: name.clone(), base: base.clone(), methods: methods.clone(), paths: paths.clone() });
        let before = origins.len();
        if stated.iter().any(|origin| origin.origin() == base.origin()) {
            origins.push(OriginScope {
                credential: credential.clone(),
                credential_optional,
                kept_header: kept_header.clone(),
                ..OriginScope::new(name, base.clone(), methods.clone(), paths.clone())
            });
        }
        for allow in &connection.allow {
            if parse_origin(&allow.origin).map_err(wrong)?.origin() == base.origin() {
                let narrowed = narrowed(name, &base, &methods, &paths, allow, credential.clone(), wrong)?;
                origins.push(OriginScope { credential_optional, kept_header: kept_header.clone(), ..narrowed });
            }
        }
        if origins.len() == before {
            let origin = base.origin().ascii_serialization();
            missing.push(Missing {
                what: format!("the origin {origin}"),
                line: list_line("origins", connection.origins.iter(), &origin),
                is_essential: false,
            });
        }
    }
    Ok((origins, all))
}

/// What the manifest asks for at an origin, cut down to one `allow`.
fn narrowed(
    name: &str,
    base: &Url,
    methods: &[Method],
    paths: &[PathPattern],
    allow: &Allow,
    credential: Option<String>,
    wrong: &dyn Fn(String) -> Error,
) -> Result<OriginScope> {
    let allowed = allow.methods.iter().map(|method| method_of(method, wrong)).collect::<Result<Vec<_>>>()?;
    let methods = methods.iter().copied().filter(|method| allowed.contains(method)).collect();
    Ok(OriginScope {
        graphql: allow.graphql.clone().map(|limit| GraphqlRule::new(limit).map_err(wrong)).transpose()?,
        narrowed: allow.paths.iter().map(|path| pattern(path, wrong)).collect::<Result<Vec<_>>>()?,
        credential,
        ..OriginScope::new(name, base.clone(), methods, paths.to_vec())
    })
}

fn budgets(
    needs: &Needs,
    connection: &Connection,
    account: Option<&Account>,
    wrong: &dyn Fn(String) -> Error,
) -> Result<Vec<Budget>> {
    let budget = |(name, facts): (&String, &BudgetFacts)| {
        let set = account.and_then(|account| account.budgets.get(name)).copied();
        if let Some(set) = set {
            set.check_against(name, facts).map_err(|why| wrong(format!("budgets.{name} of its account {why}")))?;
        }
        let BudgetOverride { limit, window_s, concurrency } = set.unwrap_or_default();
        let shape = match concurrency.or(facts.concurrency) {
            Some(limit) => Shape::Concurrency { limit: limit.max(1) },
            None => Shape::Window {
                limit: limit.or(facts.limit).unwrap_or(1).max(1),
                window_ms: window_s.or(facts.window_s).unwrap_or(1).max(1).saturating_mul(1000),
            },
        };
        let source =
            if set.is_some() { "wharfage.toml".to_owned() } else { format!("{}, {}", facts.source, facts.date) };
        let weights = facts.weights.iter().map(|weight| weight_of(needs, connection, weight, wrong));
        Ok(Budget {
            spec: BucketSpec { name: name.clone(), shape },
            scope: facts.scope,
            coverage: Coverage { origins: facts.origins.clone(), weights: weights.collect::<Result<_>>()? },
            source,
        })
    };
    needs.manifest.budgets.iter().map(budget).collect()
}

fn weight_of(
    needs: &Needs,
    connection: &Connection,
    facts: &WeightFacts,
    wrong: &dyn Fn(String) -> Error,
) -> Result<Weight> {
    let mut paths = Vec::new();
    for (name, origin) in &needs.manifest.origins {
        let root = base_of(name, &origin.url, connection, wrong)?.path().trim_end_matches('/').to_owned();
        for path in &facts.paths {
            paths.push((name.clone(), pattern(&format!("{root}{path}"), wrong)?));
        }
    }
    Ok(Weight {
        methods: facts.methods.iter().map(|method| method_of(method, wrong)).collect::<Result<_>>()?,
        paths: (!facts.paths.is_empty()).then_some(paths),
        units: facts.units,
    })
}

/// Where an origin of the manifest is over this connection.
fn base_of(name: &str, url: &str, connection: &Connection, wrong: &dyn Fn(String) -> Error) -> Result<Url> {
    let written = connection.base.get(name).map_or(url, String::as_str);
    let base = Url::parse(written).map_err(|_| wrong(format!("the base of `{name}` is no URL: {written}")))?;
    if !matches!(base.scheme(), "http" | "https") || base.host().is_none() || base.query().is_some() {
        return Err(wrong(format!("the base of `{name}` must be http(s)://host/path without a query: {written}")));
    }
    Ok(base)
}

fn defaults(
    needs: &Needs,
    connection: &Connection,
    wrong: &dyn Fn(String) -> Error,
) -> Result<serde_json::Map<String, serde_json::Value>> {
    let properties =
        needs.operations.iter().filter_map(|operation| operation.input_schema.pointer("/properties")?.as_object());
    let known: BTreeSet<&String> = properties.flat_map(|properties| properties.keys()).collect();
    connection
        .defaults
        .iter()
        .map(|(name, value)| {
            let here = format!("defaults.{}", shown(name));
            if !known.contains(name) {
                let known: Vec<String> = known.iter().map(|name| shown(name)).collect();
                let known: Vec<&str> = known.iter().map(String::as_str).collect();
                return Err(wrong(format!("{here} is a field that no operation of the plugin takes"))
                    .with_details(suggestion(name, &known)));
            }
            let value = json_of(value).map_err(|why| wrong(format!("{here} is no JSON: {why}")))?;
            Ok((name.clone(), value))
        })
        .collect()
}

fn parse_origin(text: &str) -> std::result::Result<Url, String> {
    let wrong = || format!("`{text}` is no origin; write scheme, host and port, as https://api.example.org");
    let url = Url::parse(text).map_err(|_| wrong())?;
    let is_bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none() && url.username().is_empty();
    if is_bare && matches!(url.scheme(), "http" | "https") && url.host().is_some() { Ok(url) } else { Err(wrong()) }
}

fn method_of(text: &str, wrong: &dyn Fn(String) -> Error) -> Result<Method> {
    Method::parse(text).ok_or_else(|| {
        let known: Vec<&str> = Method::ALL.iter().map(|method| method.as_str()).collect();
        wrong(format!("`{text}` is no method; there are {}", known.join(", ")))
    })
}

fn pattern(text: &str, wrong: &dyn Fn(String) -> Error) -> Result<PathPattern> {
    PathPattern::parse(text).map_err(|reason| wrong(format!("the path pattern `{text}`: {reason}")))
}

impl Needs {
    /// The least scopes that a sign-in for a credential asks for over one connection: for the operations and polls that it
    /// states. Others of the account's connections add what they need.
    pub fn scopes(&self, connection: &Connection, credential: &str) -> Vec<String> {
        scopes::least(self.scopes_always(credential), &self.scopes_wanted(connection, credential))
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
}

/// The `wharfage.toml` lines that everything a plugin needs would take: `wharfage explain --suggest`.
pub fn suggest(needs: &Needs, component: &str, digest: &str, name: &str) -> String {
    let plugin = &needs.manifest.plugin.name;
    let imports: Vec<&String> =
        needs.imports.iter().filter(|import| !capability::ALWAYS.contains(&import.as_str())).collect();
    let origins: BTreeSet<String> = needs
        .manifest
        .origins
        .values()
        .filter_map(|facts| Url::parse(&facts.url).ok())
        .map(|url| url.origin().ascii_serialization())
        .collect();
    let text = |text: &str| toml::Value::from(text).to_string();
    let mut out = String::new();
    let _ = writeln!(out, "[plugins.{plugin}]\ncomponent = {}\ndigest = {}\n", text(component), text(digest));
    let _ = writeln!(out, "[accounts.{name}]");
    for (secret, facts) in &needs.manifest.secrets {
        // It names no secret otherwise, and a line stays one all the same.
        let secret = shown(secret);
        let _ = writeln!(out, "# secrets.{secret}: {}", shown(&facts.description));
        let places = "a variable, a file below ~/.config, the sealed store";
        let _ = writeln!(out, "# secrets.{secret} = {{ env = \"…\" }} or {{ file = \"…\" }}; without it: {places}");
    }
    let _ = writeln!(out, "\n[connections.{name}]\nplugin = {}\naccount = {}", text(plugin), text(name));
    let _ = writeln!(out, "imports = {}", toml_list(imports));
    let _ = writeln!(out, "origins = {}", toml_list(&origins));
    let _ = writeln!(out, "secrets = {}", toml_list(needs.manifest.secrets.keys()));
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::explain::explain;
    use crate::manifest::Manifest;

    const HEAD: &str = "[plugin]\nname='acme'\nversion='1.0.0'\ncontract='0.1.0'\nprovider='Acme'\n";

    fn needs(manifest: Manifest) -> Needs {
        let (imports, foreign_imports) = (BTreeSet::new(), BTreeSet::new());
        Needs { manifest, operations: Vec::new(), imports, foreign_imports }
    }

    /// What a budget is set to holds, or is refused with the line that would.
    #[test]
    fn a_budget_is_set_to_what_can_hold() {
        let facts = "source='s'\ndate='d'\n";
        let weights = "weights=[{methods=['POST'],units=5}]";
        let manifest = format!(
            "{HEAD}[budgets.at-once]\nconcurrency=10\n{facts}[budgets.pace]\nlimit=500\nwindow_s=60\n{weights}\n{facts}"
        );
        let needs = needs(Manifest::parse(&manifest).unwrap());
        let granted = |budgets: &str| {
            let account: Account = toml::from_str(&format!("[budgets]\n{budgets}")).unwrap();
            Grant::new(&needs, "acme", &Connection::default(), Some(&account))
        };
        for (wrong, right) in [
            ("at-once = { limit = 5 }", "at-once = { concurrency = 5 }"),
            ("at-once = { window_s = 5 }", "at-once = { concurrency = 10 }"),
            ("at-once = { concurrency = 0 }", "at-once = { concurrency = 1 }"),
            ("at-once = {}", "at-once = { concurrency = 10 }"),
            ("pace = { concurrency = 4 }", "pace = { limit = 500, window_s = 60 }"),
            ("pace = { limit = 0 }", "pace = { limit = 5, window_s = 60 }"),
            ("pace = { limit = 3, window_s = 1 }", "pace = { limit = 5, window_s = 1 }"),
            ("pace = { window_s = 0 }", "pace = { limit = 500, window_s = 1 }"),
            ("pace = {}", "pace = { limit = 500, window_s = 60 }"),
        ] {
            let error = granted(wrong).map(drop).unwrap_err();
            assert!(error.message().ends_with(&format!("Write   budgets.{right}")), "{wrong}: {error}");
            granted(right).map(drop).unwrap();
        }
        let text = explain(&needs, &granted("per_minute = { limit = 5, window_s = 60 }").unwrap());
        assert!(text.contains("\n  budgets.per_minute of the account is none of this plugin's\n"), "{text}");
    }

    #[test]
    fn a_connection_is_named_as_the_file_has_to() {
        let needs = needs(Manifest::parse(HEAD).unwrap());
        let connection = Connection { credential: Some("key".to_owned()), ..Connection::default() };
        let error = Grant::new(&needs, "acme.eu", &connection, None).map(drop).unwrap_err();
        assert!(error.message().starts_with("[connections.\"acme.eu\"]: credential names `key`"), "{error}");
    }

    /// A manifest that names a secret so is refused; should one get here, it is a name all the same.
    #[test]
    fn no_name_of_a_secret_adds_lines_to_what_is_suggested() {
        let mut manifest = Manifest::parse(&format!("{HEAD}[secrets.key]\n")).unwrap();
        let facts = manifest.secrets["key"].clone();
        manifest.secrets.insert("k\n[plugins.evil]\ncomponent = 'evil.wasm'\n#".to_owned(), facts);
        let text = suggest(&needs(manifest), "acme.wasm", "sha256:0", "acme");
        let read: toml::Table = toml::from_str(&text).unwrap();
        let plugins: Vec<&String> = read["plugins"].as_table().unwrap().keys().collect();
        assert_eq!(plugins, ["acme"], "{text}");
    }
}
