//! Everything a plugin may do over a connection, in lines that a person can read and compare.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{Debug, Write as _};

use crate::artifact::Digest;
use crate::capability::{self, KEY_BYTES_MAX, MADE_MAX, TEXT_BYTES_MAX};
use crate::component::{CODE_BYTES_MAX, COMPONENT_BYTES_MAX, FUNCTION_BYTES_MAX};
use crate::connection::Config;
use crate::drift::DriftPolicy;
use crate::engine::EnginePolicy;
use crate::event::EVENT_NAME_BYTES_MAX;
use crate::grant::Grant;
use crate::limits::Limit;
use crate::manifest::{
    CredentialFacts, Effect, JwtFacts, MANIFEST_BYTES_MAX, Needs, OPERATIONS_BYTES_MAX, OPERATIONS_MAX, Operation,
    Purpose, Recovery, SecretFacts, endpoint_parts,
};
use crate::outbound::Method;
use crate::outbound::buckets::Shape;
use crate::outbound::graphql::GraphqlRule;
use crate::outbound::scope::{OriginScope, REQUEST_COSTS_MAX};
use crate::outbound::secret_url::SECRET_URLS_MAX;
use crate::plugin::{DESCRIBE_COMPUTE_MS, DESCRIBE_MS};
use crate::policy::poll::PollPolicy;
use crate::policy::socket::SocketPolicy;
use crate::schema::{DEPTH_MAX, NODES_MAX, PATTERN_BYTES_MAX, PATTERN_TEXT_BYTES_MAX, PATTERNS_MAX, STEPS_MAX};
use crate::text::{is_unshowable, shown};

/// What the grant holds, section by section: what is linked, where requests may go and with which credential, how fast,
/// which operations, which limits differ from the defaults, and what is missing.
pub fn explain(needs: &Needs, grant: &Grant) -> String {
    let mut out = String::new();
    let plugin = &needs.manifest.plugin;
    let _ = writeln!(
        out,
        "{} {} for {}, over connection `{}`",
        plugin.name,
        plugin.version,
        shown(&plugin.provider),
        grant.connection
    );
    section(&mut out, "It may use", imports(grant));
    let private = grant.private_addresses.iter().map(|address| format!("private address {address}"));
    let told = grant.trace_context.then(|| "a header traceparent with each of these, which the host writes".to_owned());
    let sent = requests(needs, grant, &grant.scope.origins).into_iter().chain(private).chain(told).collect();
    section(&mut out, "It may send", sent);
    section(&mut out, "Only the host asks, to sign in and for keys", requests(needs, grant, &grant.authority.origins));
    section(&mut out, "Secrets, which it never reads", secrets(needs, grant));
    section(&mut out, "Credentials, which the host places", credentials(needs, grant));
    section(&mut out, "A sign-in asks for", scopes(grant));
    section(&mut out, "Paced by", budgets(grant));
    section(&mut out, "When the provider keeps failing", breaker(grant));
    section(&mut out, "Answers that mean something else than their status", answers(needs));
    section(&mut out, "Answers that are kept", cache(grant));
    section(&mut out, "Operations", operations(needs, grant));
    let defaults =
        grant.defaults.iter().map(|(name, value)| format!("{} = {}", shown(name), shown(&value.to_string())));
    section(&mut out, "Fields of their input that are filled in", defaults.collect());
    let probe =
        needs.manifest.health.iter().filter(|health| grant.check_operation(&health.operation).is_ok()).map(|health| {
            format!("{}, at most once a minute, and only where nobody has called", shown(&health.operation))
        });
    section(&mut out, "Asked to see how it is", probe.collect());
    section(&mut out, "Webhooks it takes", webhooks(needs));
    section(&mut out, "Polls it offers", polls(needs));
    section(&mut out, "Sockets it offers", sockets(needs, grant));
    let events = needs.manifest.events.iter();
    let events = events.map(|(name, facts)| format!("{name:<24} {}", shown(&facts.description)));
    section(&mut out, "Events it emits", events.collect());
    section(&mut out, "Answers that differ from their schema", vec![drift(grant)]);
    section(&mut out, "An instance", grant.warm.lines());
    section(&mut out, "Limits", limits(grant));
    let missing = grant.missing().iter().map(|missing| {
        let weight = if missing.is_essential { "it does not start without" } else { "it will be refused without" };
        format!("{} ({weight}); to allow it:   {}", missing.what, missing.line)
    });
    section(&mut out, "Not granted", missing.collect());
    section(&mut out, "As the manifest has them, for who compares", digests(needs, grant));
    out
}

/// What starts a connection's plugin by itself, as a `wharfage.toml` has it: endpoints with their limits, polls and sockets;
/// nothing where there is nothing of a kind.
pub fn explain_starts(needs: &Needs, config: &Config, connection: &str) -> String {
    let mut lines = Vec::new();
    for (id, policy) in config.endpoints.iter().filter(|(_, policy)| policy.connection == connection) {
        lines.push(format!("POST /webhooks/{id} takes {}", shown(&policy.webhook)));
        lines.extend(policy.url.iter().map(|url| format!("    which the provider knows as {}", shown(url))));
        lines.extend(policy.limits.all().iter().map(|limit| format!("    {}", limit.line())));
    }
    let mut out = String::new();
    section(&mut out, "Endpoints", lines);
    let Some(connection) = config.connections.get(connection) else { return out };
    let poll = |(name, policy): (&String, &PollPolicy)| {
        let when = match (&policy.cron, policy.every_s) {
            (Some(cron), _) => format!("at {} {}", shown(cron), shown(policy.timezone.as_deref().unwrap_or("UTC"))),
            (None, Some(every_s)) => format!("every {every_s} s"),
            (None, None) => match needs.manifest.polls.get(name) {
                Some(facts) => format!("every {} s, as its plugin says", facts.every_s),
                None => "of which its plugin knows nothing".to_owned(),
            },
        };
        format!("{} {when}, at most {} pages a run", shown(name), policy.pages_max)
    };
    section(&mut out, "Polls", connection.polls.iter().map(poll).collect());
    let socket = |(name, policy): (&String, &SocketPolicy)| {
        let SocketPolicy { queue_messages_max, queue_bytes_max, message_bytes_max, attempts, .. } = policy;
        format!(
            "{}, at most {queue_messages_max} messages waiting (queue_messages_max) with {queue_bytes_max} bytes \
             (queue_bytes_max), {message_bytes_max} bytes each (message_bytes_max), handed over {attempts} times (attempts)",
            shown(name)
        )
    };
    section(&mut out, "Sockets", connection.sockets.iter().map(socket).collect());
    out
}

/// What all plugins share, and what nobody can set.
pub fn explain_host(engine: &EnginePolicy) -> String {
    let mut out = String::new();
    let shared = engine.limits.all().iter().map(Limit::line).collect();
    section(&mut out, "Limits that all plugins share, in [engine]", shared);
    let fixed = FIXED.iter().map(|(name, value, about)| format!("{name:<24} {value:>10}  {about}"));
    section(&mut out, "Limits that are the same everywhere", fixed.collect());
    out
}

/// What cannot be set: the contract says it, or what it guards could not be promised otherwise.
const FIXED: &[(&str, u64, &str)] = &[
    ("component_bytes_max", COMPONENT_BYTES_MAX as u64, "Bytes of a component."),
    ("code_bytes_max", CODE_BYTES_MAX as u64, "Bytes of code in a component."),
    ("function_bytes_max", FUNCTION_BYTES_MAX as u64, "Bytes of code in one function of it."),
    ("manifest_bytes_max", MANIFEST_BYTES_MAX as u64, "Bytes of a manifest."),
    ("operations_bytes_max", OPERATIONS_BYTES_MAX as u64, "Bytes of all operations of a plugin with their schemas."),
    ("operations_max", OPERATIONS_MAX as u64, "Operations of a plugin."),
    ("describe_ms", DESCRIBE_MS, "Milliseconds that a component has to describe itself when it is loaded."),
    ("describe_compute_ms", DESCRIBE_COMPUTE_MS, "Milliseconds of computing among them."),
    ("schema_nodes_max", NODES_MAX as u64, "Schemas inside one schema."),
    ("schema_patterns_max", PATTERNS_MAX as u64, "Patterns in one schema."),
    ("schema_pattern_bytes_max", PATTERN_BYTES_MAX as u64, "Bytes of one such pattern."),
    (
        "schema_steps",
        STEPS_MAX,
        "Steps of checking one input or output; a short one has a tenth of these, and 20 more for each of its bytes.",
    ),
    ("schema_depth", DEPTH_MAX as u64, "Schemas inside each other in such a check."),
    ("pattern_text_bytes", PATTERN_TEXT_BYTES_MAX as u64, "Bytes of a text that a pattern is matched with."),
    ("request_costs", REQUEST_COSTS_MAX as u64, "Costs that one request may state."),
    ("made_tokens", MADE_MAX as u64, "Tokens that one call may have made."),
    ("kept_urls", SECRET_URLS_MAX as u64, "URLs of answers that the host keeps for one call."),
    ("state_key_bytes", KEY_BYTES_MAX as u64, "Bytes of a key of state."),
    ("event_name_bytes", EVENT_NAME_BYTES_MAX as u64, "Bytes of an emitted event's type, and of its key."),
    ("error_text_bytes", TEXT_BYTES_MAX as u64, "Bytes of each text of a plugin's error; more is cut."),
];

/// What an upgrade would change: the lines of [`explain`] that go and that come, each with its section and the line that it
/// belongs to, for the same words mean something else in another place.
pub fn explain_change(before: &str, after: &str) -> String {
    let (old, new) = (placed(before), placed(after));
    let mut out = String::new();
    for line in beyond(&old, &new) {
        let _ = writeln!(out, "- {line}");
    }
    for line in beyond(&new, &old) {
        let _ = writeln!(out, "+ {line}");
    }
    if out.is_empty() { "nothing changes\n".to_owned() } else { out }
}

/// The lines of an explanation, each behind its section and the line that it belongs to.
fn placed(text: &str) -> Vec<String> {
    let (mut section, mut parent) = ("", "");
    let mut lines = Vec::new();
    for line in text.lines().filter(|line| !line.is_empty()) {
        let said = line.trim_start();
        let place = match line.len() - said.len() {
            0 => {
                (section, parent) = (said.strip_suffix(':').unwrap_or_default(), "");
                if !section.is_empty() {
                    continue;
                }
                ["", ""]
            }
            1..=2 => {
                parent = said;
                [section, ""]
            }
            _ => [section, parent],
        };
        let place = place.iter().filter(|part| !part.is_empty()).map(|part| format!("{part}: ")).collect::<String>();
        lines.push(place + said);
    }
    lines
}

/// The lines that are there more often than among the others.
fn beyond<'a>(lines: &'a [String], others: &[String]) -> Vec<&'a String> {
    let mut left: BTreeMap<&str, usize> = BTreeMap::new();
    for line in others {
        *left.entry(line.as_str()).or_default() += 1;
    }
    let is_more = |line: &&String| match left.get_mut(line.as_str()) {
        Some(number) if *number > 0 => {
            *number -= 1;
            false
        }
        _ => true,
    };
    lines.iter().filter(is_more).collect()
}

fn section(out: &mut String, title: &str, lines: Vec<String>) {
    if lines.is_empty() {
        return;
    }
    let _ = writeln!(out, "\n{title}:");
    for line in lines {
        let _ = writeln!(out, "  {line}");
    }
}

fn imports(grant: &Grant) -> Vec<String> {
    capability::ALL
        .iter()
        .filter(|capability| grant.imports.contains(capability.name))
        .map(|capability| format!("{:<11} {}", capability.name, capability.about))
        .collect()
}

fn requests(needs: &Needs, grant: &Grant, origins: &[OriginScope]) -> Vec<String> {
    let mut lines = Vec::new();
    for origin in origins {
        let methods: Vec<&str> = origin.methods.iter().copied().map(Method::as_str).collect();
        let paths = if origin.narrowed.is_empty() { &origin.paths } else { &origin.narrowed };
        // Where nothing may be sent, what follows would seem to be about the origin before.
        if methods.is_empty() || paths.is_empty() {
            continue;
        }
        for path in paths {
            lines.push(format!("{} {}{path}", methods.join(", "), origin.base.origin().ascii_serialization()));
        }
        if !origin.narrowed.is_empty() {
            let asked: Vec<String> = origin.paths.iter().map(ToString::to_string).collect();
            lines.push(format!("    of these only what the plugin asks for: {}", asked.join(", ")));
        }
        lines.extend(origin.graphql.iter().flat_map(GraphqlRule::lines).map(|line| format!("    GraphQL: {line}")));
        let credential = origin
            .credential
            .as_ref()
            .and_then(|name| grant.credentials.iter().find(|credential| &credential.name == name));
        if let Some(credential) = credential {
            let optional = if origin.credential_optional { ", where somebody has given it" } else { "" };
            lines.push(format!(
                "    signed by the host with `{}` in {}{optional}",
                credential.name,
                shown(&credential.place())
            ));
        }
        lines.extend(origin.kept_header.iter().map(|header| {
            format!("    the URL in an answer's header {header} stays with the host, which asks there for the plugin")
        }));
        if let Some(facts) = needs.manifest.origins.get(&origin.name) {
            lines.push(format!("    as of {}, {}", shown(&facts.source), shown(&facts.date)));
        }
    }
    lines
}

fn secrets(needs: &Needs, grant: &Grant) -> Vec<String> {
    grant
        .secrets
        .iter()
        .map(|(name, granted)| {
            let purpose = match granted.purpose {
                Purpose::Credential => "placed on requests by the host",
                Purpose::Sign => "for keyed hashes it asks for",
                Purpose::Verify => "for checking keyed hashes",
            };
            let Some(facts) = needs.manifest.secrets.get(name) else { return format!("{name}: {purpose}.") };
            if let Some(jwt) = &facts.jwt {
                let about = format!("{} {}", tokens(jwt, grant), shown(&facts.description));
                return format!("{name}: {}", about.trim_end());
            }
            let scope = match granted.purpose {
                Purpose::Credential => String::new(),
                Purpose::Sign => {
                    let template = facts.template.as_deref().unwrap_or_default();
                    match template.trim_matches('*').is_empty() {
                        true => format!(": {} over anything", functions(facts)),
                        false => format!(": {} over `{}`", functions(facts), shown(template)),
                    }
                }
                Purpose::Verify => format!(": {}", functions(facts)),
            };
            format!("{name}: {purpose}{scope}. {}", shown(&facts.description)).trim_end().to_owned()
        })
        .collect()
}

/// A digest of all that a manifest says of something, so that an upgrade shows that it says something else. It is whole,
/// for whoever writes both could make two begin alike.
fn digest(facts: &impl Debug) -> String {
    Digest::of(format!("{facts:?}").as_bytes()).to_string()
}

/// A digest of each thing of which not all that a manifest says has a line.
fn digests(needs: &Needs, grant: &Grant) -> Vec<String> {
    let manifest = &needs.manifest;
    let secrets = grant.secrets.keys().filter_map(|name| Some((name, manifest.secrets.get(name)?.jwt.as_ref()?)));
    let secrets = secrets.map(|(name, jwt)| format!("secret {name}: {}", digest(jwt)));
    let credentials = grant.credentials.iter().map(|credential| &credential.name);
    let credentials = credentials.filter_map(|name| Some((name, manifest.credentials.get(name)?)));
    let credentials = credentials.map(|(name, facts)| format!("credential {name}: {}", digest(facts)));
    let webhooks = manifest.webhooks.iter().map(|(name, facts)| format!("webhook {name}: {}", digest(facts)));
    let sockets = manifest.sockets.iter().map(|(name, facts)| format!("socket {name}: {}", digest(facts)));
    secrets.chain(credentials).chain(webhooks).chain(sockets).collect()
}

/// Where an origin of the manifest is, granted or not; its name stands for nothing until it is looked up.
pub(crate) fn place(grant: &Grant, name: &str) -> String {
    let mut asked = grant.scope.asked.iter().chain(&grant.authority.asked);
    let base = asked.find(|asked| asked.name == name).map(|asked| asked.base.as_str().trim_end_matches('/'));
    base.map_or_else(|| shown(name), str::to_owned)
}

/// The same of what is written `{origin}/path`.
fn endpoint(grant: &Grant, written: &str) -> String {
    match endpoint_parts(written) {
        Some((origin, path)) => format!("{}{}", place(grant, origin), path.replace(is_unshowable, "\u{fffd}")),
        None => shown(written),
    }
}

/// What each credential is made of, and where it may go: a plugin may choose among them.
fn credentials(needs: &Needs, grant: &Grant) -> Vec<String> {
    let mut lines = Vec::new();
    for credential in &grant.credentials {
        let Some(facts) = needs.manifest.credentials.get(&credential.name) else { continue };
        let joined = |all: &[String]| all.iter().map(|one| shown(one)).collect::<Vec<_>>().join(", ");
        let secrets: Vec<String> = facts.secrets().into_iter().map(shown).collect();
        let mut to: Vec<String> = Vec::new();
        for origin in credential.audience.iter().map(|name| place(grant, name)) {
            // Several origins of a manifest may be at one place.
            if !to.contains(&origin) {
                to.push(origin);
            }
        }
        let mut line = format!("{}: of {}, to {}", credential.name, secrets.join(", "), to.join(", "));
        let (methods, paths) = facts.narrowed();
        if !methods.is_empty() {
            let _ = write!(line, ", only with {}", joined(methods));
        }
        if !paths.is_empty() {
            let _ = write!(line, ", only below {}", joined(paths));
        }
        lines.push(line);
        if let CredentialFacts::Oauth2(facts) = facts {
            let all = [Some(&facts.token), facts.revoke.as_ref(), facts.device.as_ref(), facts.authorize.as_ref()];
            let all: Vec<String> = all.into_iter().flatten().map(|written| endpoint(grant, written)).collect();
            lines.push(format!("    its tokens are had at {}", all.join(", ")));
        }
    }
    lines
}

/// How many rules say what an answer means, and what they make of it.
fn answers(needs: &Needs) -> Vec<String> {
    let rules = &needs.manifest.answers;
    let kinds: BTreeSet<&str> = rules.iter().map(|rule| rule.kind.as_str()).collect();
    let kinds: Vec<&str> = kinds.into_iter().collect();
    let line = || format!("rules of the manifest: {}, for {} ({})", rules.len(), kinds.join(", "), digest(rules));
    (!rules.is_empty()).then(line).into_iter().collect()
}

/// What a secret's tokens are for.
fn tokens(jwt: &JwtFacts, grant: &Grant) -> String {
    let algorithm = &jwt.algorithm;
    let issuer = jwt.issuer.as_deref().map(shown).unwrap_or_else(|| "whom the plugin says".to_owned());
    if !jwt.origins.is_empty() {
        let to: Vec<String> = jwt.origins.iter().map(|name| place(grant, name)).collect();
        return format!("makes {algorithm} tokens that go to {}, issued by {issuer}.", to.join(", "));
    }
    let keys = jwt.jwks.as_ref().map(|jwks| format!(", with the keys at {}", endpoint(grant, jwks)));
    let keys = keys.unwrap_or_default();
    let whom = jwt.audience_secret.as_ref().map(|name| format!(" for the value of {}", shown(name)));
    let whom = whom.unwrap_or_default();
    format!("checks {algorithm} tokens of {issuer}{whom}{keys}.")
}

fn functions(facts: &SecretFacts) -> String {
    let names: Vec<&str> = facts.functions().iter().map(|function| function.name()).collect();
    names.join(", ")
}

fn budgets(grant: &Grant) -> Vec<String> {
    let strange = grant.strange_budgets.iter();
    let strange = strange.map(|name| format!("budgets.{} of the account is none of this plugin's", shown(name)));
    grant
        .budgets
        .iter()
        .map(|budget| {
            let rate = match budget.spec.shape {
                Shape::Window { limit, window_ms } => format!("{limit} in {} s", window_ms / 1000),
                Shape::Concurrency { limit } => format!("{limit} at once"),
            };
            let scope = format!("{:?}", budget.scope).to_lowercase();
            format!("{}: {rate}, per {scope} ({})", budget.spec.name, shown(&budget.source))
        })
        .chain(strange)
        .collect()
}

fn cache(grant: &Grant) -> Vec<String> {
    let policy = &grant.cache;
    if !policy.enabled {
        return vec!["none: cache.enabled is false".to_owned()];
    }
    let mut lines = vec!["for as long as the provider's headers or the plugin say".to_owned()];
    if policy.fall_back {
        let end = if policy.beyond {
            "for as long as there is room (cache.beyond)".to_owned()
        } else {
            format!("up to {} s", policy.kept_ms / 1000)
        };
        lines.push(format!(
            "the last good one serves while the provider is in trouble, {end}, and is called stale from {} s on",
            policy.stale_from_ms / 1000
        ));
    }
    lines
}

fn breaker(grant: &Grant) -> Vec<String> {
    let policy = &grant.breaker;
    if !policy.enabled {
        return vec!["it is asked all the same: breaker.enabled is false".to_owned()];
    }
    let mut when = format!("{} failures in a row", policy.failures);
    if let Some(percent) = policy.failure_percent {
        let _ =
            write!(when, " or {percent} % of at least {} requests in {} s", policy.volume_min, policy.window_ms / 1000);
    }
    vec![format!(
        "after {when} an origin is not asked for {} s, each time twice as long up to {} s; then {} at once may try, and {} \
         in a row that succeed end it",
        policy.open_ms / 1000,
        policy.open_ms_max / 1000,
        policy.probes,
        policy.successes
    )]
}

/// What this connection brings to the consent of its account.
fn scopes(grant: &Grant) -> Vec<String> {
    let each = |(credential, scopes): (&String, &Vec<String>)| -> Vec<String> {
        scopes.iter().map(|scope| format!("{} (credential `{credential}`)", shown(scope))).collect()
    };
    grant.scopes.iter().flat_map(each).collect()
}

fn operations(needs: &Needs, grant: &Grant) -> Vec<String> {
    let is_granted = |name: &String| grant.operations.as_ref().is_none_or(|stated| stated.contains(name));
    let (granted, others): (Vec<&Operation>, Vec<&Operation>) =
        needs.operations.iter().partition(|operation| is_granted(&operation.name));
    let mut lines: Vec<String> = granted
        .iter()
        .flat_map(|operation| {
            let effect = match operation.effect {
                Effect::Read => "reads",
                Effect::Idempotent => "changes, safe to repeat",
                Effect::Write => "writes",
            };
            let about = format!("{:<24} {effect}: {}", operation.name, shown(&operation.description));
            std::iter::once(about).chain(needs.scope_line(&operation.name).map(|line| format!("    {line}")))
        })
        .collect();
    if !others.is_empty() {
        let names: Vec<&str> = others.iter().map(|operation| operation.name.as_str()).collect();
        lines.push(format!("not granted, for `operations` does not name them: {}", names.join(", ")));
    }
    lines
}

fn webhooks(needs: &Needs) -> Vec<String> {
    let mut lines = Vec::new();
    for (name, facts) in &needs.manifest.webhooks {
        lines.push(format!("{name:<24} {}", shown(&facts.description)).trim_end().to_owned());
        lines.extend(facts.lines().into_iter().map(|line| format!("    {line}")));
        lines.push(format!("    as of {}, {}", shown(&facts.source), shown(&facts.date)));
    }
    lines
}

fn polls(needs: &Needs) -> Vec<String> {
    let mut lines = Vec::new();
    for (name, facts) in &needs.manifest.polls {
        lines.push(format!("{name:<24} {}", shown(&facts.description)).trim_end().to_owned());
        let (every_s, least_s) = (facts.every_s, facts.least_s);
        lines.push(format!("    every {every_s} s where nothing is said, never more often than every {least_s} s"));
        let recovery = match facts.cursor_invalid {
            Recovery::Restart => "reads everything anew",
            Recovery::FromNow => "goes on from then, and may miss something",
        };
        lines.push(format!("    with a cursor that is not understood any more it {recovery}"));
        lines.push(format!("    as of {}, {}", shown(&facts.source), shown(&facts.date)));
    }
    lines
}

fn sockets(needs: &Needs, grant: &Grant) -> Vec<String> {
    let mut lines = Vec::new();
    for (name, facts) in &needs.manifest.sockets {
        lines.push(format!("{name:<24} {}", shown(&facts.description)).trim_end().to_owned());
        lines.push(format!("    open at {}{}", place(grant, &facts.origin), shown(&facts.path)));
        let parameters: Vec<String> = facts.parameters.iter().map(|name| format!("values.{name}")).collect();
        if !parameters.is_empty() {
            lines.push(format!("    where a connection says {}", parameters.join(", ")));
        }
        lines.push(format!("    as of {}, {}", shown(&facts.source), shown(&facts.date)));
    }
    lines
}

fn drift(grant: &Grant) -> String {
    let about = match grant.drift {
        DriftPolicy::Strict => "are refused, but for new fields",
        DriftPolicy::Warn => "pass and are told, once for each place",
        DriftPolicy::Off => "are not looked for",
    };
    format!("drift = \"{}\": they {about}", grant.drift.name())
}

fn limits(grant: &Grant) -> Vec<String> {
    grant.limits.all().iter().map(Limit::line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connection::Connection;
    use crate::limits::Limits;
    use crate::manifest::Manifest;

    /// Each has a name with its unit last, a default, a sentence that begins with the unit, and a line of its own that says
    /// how it is set now; and each can be set.
    #[test]
    fn every_limit_is_named_set_and_explained() {
        for limit in Limits::default().all() {
            let Limit { name, default, most, about, .. } = limit;
            let unit = match name.rsplit('_').next() {
                Some("bytes") => "Bytes",
                Some("ms") => "Milliseconds",
                Some("percent") => "percent",
                _ => "",
            };
            assert!(about.contains(unit) && about.ends_with('.') && default > 0, "{name}: {about}");
            let policy = Connection::parse(&format!("limits.{name} = 7")).unwrap();
            let all = policy.limits.all();
            let set = all.iter().find(|other| other.name == name).unwrap();
            assert_eq!((set.value, set.default, set.most), (7, default, most));
            assert!(all.iter().all(|other| other.name == name || other.value == other.default), "{name} sets another");
            let line = set.line();
            let is_shown = [name, " 7", &format!("(default {default})"), about].iter().all(|part| line.contains(part));
            assert!(is_shown || default == 7, "{line}");
            assert_eq!(line.contains("At most"), most != u64::MAX, "{line}");
            let nothing = Connection::parse(&format!("limits.{name} = 0")).unwrap_err();
            assert!(nothing.message().contains(&format!("limits.{name} is 0")), "{nothing}");
            if most != u64::MAX {
                let more = Connection::parse(&format!("limits.{name} = {}", most + 1)).unwrap_err();
                let details = more.details().unwrap();
                assert!(details.contains(&format!("limits.{name} = {most}")), "{more}");
                Connection::parse(&format!("limits.{name} = {most}")).unwrap();
            }
        }
    }

    #[test]
    fn what_all_share_and_what_is_fixed_is_explained() {
        let config = Config::parse("[engine]\nlimits.stack_bytes = 65536", "wharfage.toml".as_ref()).unwrap();
        let text = explain_host(&config.engine);
        for line in [
            "stack_bytes                   65536 (default 524288)",
            "instances_alive                1000",
            "component_bytes_max        67108864",
            "code_bytes_max             25165824",
            "function_bytes_max           262144",
            "manifest_bytes_max           262144",
            "operations_bytes_max        1048576",
            "request_costs                    64",
            "operations_max                  500",
            "schema_steps               20000000",
            "schema_depth                    256",
            "pattern_text_bytes            16384",
            "schema_nodes_max              20000",
            "schema_patterns_max             100",
            "schema_pattern_bytes_max       1000",
            "made_tokens",
        ] {
            assert!(text.contains(line), "{text}");
        }
        let shown: BTreeSet<&str> = text.lines().filter_map(|line| line.split_whitespace().next()).collect();
        let is_settable = |name: &str| Limits::default().all().iter().any(|limit| limit.name == name);
        assert!(!shown.iter().any(|name| is_settable(name)), "one stands in two lists: {text}");
        for (text, told) in
            [("limits.stack_bytes = 0", "limits.stack_bytes is 0"), ("limits.stack_bytes = 99999999", "at most")]
        {
            let error = Config::parse(&format!("[engine]\n{text}"), "wharfage.toml".as_ref()).unwrap_err();
            assert!(error.message().contains("[engine]") && error.message().contains(told), "{error}");
        }
    }

    #[test]
    fn a_change_shows_what_goes_and_what_comes() {
        assert_eq!(explain_change("a\n  b\n", "a\n  c\n"), "- b\n+ c\n");
        assert_eq!(explain_change("a\n", "a\n"), "nothing changes\n");
        let text = |first: &str, second: &str| format!("\nA:\n  one\n{first}  two\n{second}");
        let (before, after) = (text("    signed\n", ""), text("", "    signed\n"));
        assert_eq!(explain_change(&before, &after), "- A: one: signed\n+ A: two: signed\n");
        assert_eq!(explain_change("\nA:\n  x\n  x\n", "\nA:\n  x\n"), "- A: x\n");
        assert_eq!(explain_change("\nA:\n  x\n\nB:\n  y\n", "\nA:\n  y\n\nB:\n  x\n").lines().count(), 4);
    }

    fn explained(manifest: &str) -> String {
        explained_over(manifest, Connection::granting)
    }

    fn needs_of(manifest: &str) -> Needs {
        let head = "[plugin]\nname='acme'\nversion='1.0.0'\ncontract='0.1.0'\nprovider='Acme'\n";
        let manifest = Manifest::parse(&format!("{head}{manifest}")).unwrap();
        let (imports, foreign_imports) = (BTreeSet::new(), BTreeSet::new());
        Needs { manifest, operations: Vec::new(), imports, foreign_imports }
    }

    fn explained_over(manifest: &str, connection: impl FnOnce(&Needs) -> Connection) -> String {
        let needs = needs_of(manifest);
        let grant = Grant::new(&needs, "acme", &connection(&needs), None).unwrap();
        explain(&needs, &grant)
    }

    const ORIGIN: &str = "[origins.a]\nurl='https://a.test'\nmethods=['GET']\nsource='s'\ndate='d'\n";

    /// Nobody could state it otherwise: which there are, how often they run, and what a sink may ask for.
    #[test]
    fn what_a_plugin_may_start_and_emit_is_explained_with_its_pace() {
        let text = [
            ORIGIN,
            "paths=['/**']\n",
            "[polls.ticks]\ndescription='New things'\nevery_s=900\nleast_s=60\nsource='s'\ndate='d'\n",
            "[sockets.feed]\norigin='a'\npath='/ws/{market}'\nparameters=['market']\nsource='s'\ndate='d'\n",
            "[events.'thing.seen']\ndescription='One was seen.'\n",
        ]
        .concat();
        let told = explained(&text);
        for lines in [
            "\nPolls it offers:\n  ticks                    New things\n      every 900 s where",
            " nothing is said, never more often than every 60 s\n      with a cursor that is not understood any more",
            "\nSockets it offers:\n  feed\n      open at https://a.test/ws/{market}\n",
            "      where a connection says values.market\n",
            "\nEvents it emits:\n  thing.seen               One was seen.\n",
        ] {
            assert!(told.contains(lines), "{lines}: {told}");
        }
        let text_of_file = "[plugins.p]\ncomponent='p'\n[connections.acme]\nplugin='p'\npolls.ticks={}\n";
        let config = Config::parse(text_of_file, "wharfage.toml".as_ref()).unwrap();
        let starts = explain_starts(&needs_of(&text), &config, "acme");
        assert!(starts.contains("  ticks every 900 s, as its plugin says, at most "), "{starts}");
    }

    #[test]
    fn a_place_that_has_several_names_is_told_once() {
        let origin = |name: &str| ORIGIN.replace("[origins.a]", &format!("[origins.{name}]\npaths=['/{name}']"));
        let key = "[secrets.s]\n[credentials.k]\nscheme='bearer'\nsecret='s'\norigins=['a','b']\n";
        let told = explained(&[origin("a"), origin("b"), key.to_owned()].concat());
        assert!(told.contains("  k: of s, to https://a.test\n"), "{told}");
    }

    /// What the operator left is wider than what the manifest asks for, and only both together are granted.
    #[test]
    fn an_update_that_asks_for_more_of_a_narrowed_origin_changes_something() {
        let with = |paths: &str| {
            let allow = "[[allow]]\norigin='https://a.test'\nmethods=['GET']\npaths=['/v2/**']";
            explained_over(&format!("{ORIGIN}paths={paths}\n"), |_| Connection::parse(allow).unwrap())
        };
        let more = explain_change(&with("['/v2/orders/**']"), &with("['/v2/orders/**','/v2/users/**']"));
        let line = "GET https://a.test/v2/**: of these only what the plugin asks for: /v2/orders/**, /v2/users/**\n";
        assert!(more.contains(&format!("+ It may send: {line}")), "{more}");
    }

    /// None of these has a line of its own, and each is what something is proved by or may say.
    #[test]
    fn an_update_that_proves_less_or_says_more_changes_something() {
        let text = [
            ORIGIN,
            "paths=['/**']\n[secrets.k]\n[secrets.email]\n[secrets.tokens]\npurpose='verify'\n",
            "jwt={algorithm='RS256',issuer='https://i.test',audience=['us']}\n",
            "[credentials.c]\nscheme='jwt'\nsecret='k'\nalgorithm='HS256'\naudience='them'\norigins=['a']\n",
            "[webhooks.w]\nsource='s'\ndate='d'\nkeys=[{hash=true}]\n[webhooks.w.verify]\nscheme='jwt'\n",
            "secret='tokens'\nheader='Authorization'\nemail_secret='email'\n",
        ]
        .concat();
        let before = explained(&text);
        for (from, to, what) in [
            ("email_secret='email'\n", "", "webhook w"),
            ("true}]", "true}]\nignored=[{header='X-A',equals='b'}]", "webhook w"),
            ("audience=['us']", "audience=['us','others']", "secret tokens"),
            ("audience='them'", "audience='others'", "credential c"),
        ] {
            assert!(text.contains(from), "{from}");
            let change = explain_change(&before, &explained(&text.replace(from, to)));
            let line = format!("+ As the manifest has them, for who compares: {what}: sha256:");
            assert!(change.contains(&line), "{from}: {change}");
        }
    }

    /// Whoever grants it sees which of the secrets tokens are compared with.
    #[test]
    fn a_secret_that_says_for_whom_tokens_are_is_explained() {
        let secrets = "[secrets.us]\n[secrets.tokens]\npurpose='verify'\n";
        let jwt = "jwt={algorithm='HS256',issuer='https://i.test',audience_secret='us'}\n";
        let told = explained(&format!("{ORIGIN}paths=['/**']\n{secrets}{jwt}"));
        assert!(told.contains("  tokens: checks HS256 tokens of https://i.test for the value of us.\n"), "{told}");
    }

    /// Both origins are granted and both keys are given already: only which key goes where is new.
    #[test]
    fn an_update_that_sends_a_key_elsewhere_changes_something() {
        let with = |origin: &str, first: &str, second: &str| {
            let place = |name: &str| {
                format!(
                    "[origins.{name}]\nurl='https://{name}.test'\nmethods=['GET']\npaths=['/**']\nsource='s'\ndate='d'\n"
                )
            };
            let key = |name: &str, secret: &str, to: &str| {
                format!("[credentials.{name}]\nscheme='bearer'\nsecret='{secret}'\norigins={to}\n")
            };
            let keys = [key("k", first, origin), key("l", second, "['b']")].concat();
            explained(&[place("a"), place("b"), "[secrets.s]\n[secrets.t]\n".to_owned(), keys].concat())
        };
        let before = with("['a']", "s", "t");
        assert_eq!(explain_change(&before, &before), "nothing changes\n");
        let more = explain_change(&before, &with("['a','b']", "s", "t"));
        for line in [
            "+ Credentials, which the host places: k: of s, to https://a.test, https://b.test",
            "+ It may send: GET https://b.test/**: signed by the host with `k`",
        ] {
            assert!(more.contains(line), "{more}");
        }
        let other = explain_change(&before, &with("['a']", "t", "s"));
        assert!(other.contains("+ Credentials, which the host places: k: of t, to https://a.test"), "{other}");
    }
}
