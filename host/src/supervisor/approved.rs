//! What a component does with secrets: where they go, and which keys stand in for one. Another component that does otherwise
//! is not taken up while the one before runs, unless it is the pinned one (R12).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use crate::connection::Config;
use crate::error::{Error, Result, rule};
use crate::explain::place;
use crate::grant::Grant;
use crate::manifest::{CredentialFacts, Needs, endpoint_parts};
use crate::plugin::Plugin;
use crate::text::shown;
use crate::text::toml_key;

/// Refuses a component that does with a secret of the connection what the one before did not, where none is pinned. What it
/// does less is no matter.
///
/// # Errors
/// [`Kind::PolicyDenied`](crate::Kind::PolicyDenied) with the line that approves it.
pub(super) fn check(config: &Config, name: &str, before: Option<&Plugin>, after: &Plugin) -> Result<()> {
    let plugin = &config.connection(name)?.plugin;
    // Opening it has compared it with its pin.
    let is_pinned = config.plugins.get(plugin).is_some_and(|source| source.digest.is_some());
    let Some(before) = before.filter(|before| !is_pinned && before.digest() != after.digest()) else { return Ok(()) };
    let known = uses(before.needs(), before.grant());
    let mut more = Vec::new();
    for (secret, all) in uses(after.needs(), after.grant()) {
        // One that the component before did not have was granted since.
        let Some(known) = known.get(&secret) else { continue };
        more.extend(all.difference(known).map(|said| format!("{} {}", shown(&secret), shown(said))));
    }
    let Some(first) = more.first() else { return Ok(()) };
    let mut details = String::from("What is new:");
    for said in &more {
        let _ = write!(details, "\n  {said}");
    }
    let _ = write!(
        details,
        "\nTo see all that changes, put the one before back, and then:   wharfage explain {name} --against NEW.wasm\n\
         To approve it, set in [plugins.{}]:   digest = \"{}\"",
        toml_key(plugin),
        after.digest()
    );
    let message = format!(
        "plugin `{}` has another component, with which {first} over connection `{}`; it is not taken up unasked",
        shown(plugin),
        shown(name)
    );
    Err(Error::denied(rule::CREDENTIAL, message, details))
}

/// What is done with each granted secret, in words that follow its name. They are whole, for whoever writes both components
/// could make two begin alike.
fn uses(needs: &Needs, grant: &Grant) -> BTreeMap<String, BTreeSet<String>> {
    let mut uses: BTreeMap<String, BTreeSet<String>> =
        grant.secrets.keys().map(|name| (name.clone(), BTreeSet::new())).collect();
    let mut put = |secret: &str, said: String| {
        if let Some(uses) = uses.get_mut(secret) {
            uses.insert(said);
        }
    };
    let endpoint = |written: &str| match endpoint_parts(written) {
        Some((origin, path)) => format!("{}{path}", place(grant, origin)),
        None => written.to_owned(),
    };
    for facts in needs.manifest.credentials.values() {
        let narrowed = match facts.narrowed() {
            ([], []) => String::new(),
            (methods, paths) => format!(", with {methods:?} below {paths:?}"),
        };
        let origins = facts.origins().iter().map(|origin| format!("{}{narrowed}", place(grant, origin)));
        let mut places: Vec<String> = origins.collect();
        if let CredentialFacts::Oauth2(facts) = facts {
            let all = [Some(&facts.token), facts.revoke.as_ref(), facts.device.as_ref()];
            places.extend(all.into_iter().flatten().map(|written| endpoint(written)));
        }
        for secret in facts.secrets() {
            places.iter().for_each(|to| put(secret, format!("goes to {to}")));
        }
    }
    for (name, facts) in &needs.manifest.secrets {
        let Some(jwt) = &facts.jwt else { continue };
        jwt.origins.iter().for_each(|origin| put(name, format!("goes to {}", place(grant, origin))));
        jwt.jwks.iter().for_each(|jwks| put(name, format!("has its keys at {}", endpoint(jwks))));
    }
    uses
}
