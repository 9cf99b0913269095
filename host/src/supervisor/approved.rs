//! What a component does with secrets: where they go, and which keys stand in for one. Another component that does otherwise
//! is not taken up while the one before runs, unless it is the pinned one (R12).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fmt::Write as _;
use std::rc::Rc;

use crate::connection::Config;
use crate::error::{Error, Result, rule};
use crate::explain::place;
use crate::grant::Grant;
use crate::manifest::{CredentialFacts, Needs, endpoint_parts};
use crate::plugin::Plugin;
use crate::supervisor::Ready;
use crate::text::{shown, toml_key};

/// Refuses a component that does with a secret of the connection what the one before did not, where none is pinned. What it
/// does less is no matter, as far as lists of methods and paths tell. A connection that is given another plugin, or a
/// secret, is given it by the operator.
///
/// # Errors
/// [`Kind::PolicyDenied`](crate::Kind::PolicyDenied) with the line that approves it.
pub(super) fn check(config: &Config, name: &str, before: Option<&Ready>, after: &Plugin) -> Result<()> {
    let plugin = &config.connection(name)?.plugin;
    // Opening it has compared it with its pin.
    let is_pinned = config.plugins.get(plugin).is_some_and(|source| source.digest.is_some());
    let Some(before) = before.filter(|before| !is_pinned && before.plugin.digest() != after.digest()) else {
        return Ok(());
    };
    let stated = &before.stated.connection;
    if stated.plugin != *plugin {
        return Ok(());
    }
    let known = uses(before.plugin.needs(), before.plugin.grant());
    let mut more = Vec::new();
    for (secret, all) in uses(after.needs(), after.grant()) {
        // One that the connection did not state was granted since. One that the component before did not have was not:
        // that one did nothing with it.
        if !stated.secrets.iter().any(|stated| stated == secret) {
            continue;
        }
        for (said, narrowed) in all {
            let known = known.get(secret).and_then(|known| known.get(&said));
            let is_new = |one: &&Rc<Narrowed<'_>>| !known.into_iter().flatten().any(|known| known.covers(one));
            let new = narrowed.iter().filter(is_new);
            more.extend(new.map(|narrowed| format!("{} {}", shown(secret), shown(&format!("{said}{narrowed}")))));
        }
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

/// The methods and the paths that a use is narrowed to; any where there are none.
#[derive(Default, PartialEq, Eq, PartialOrd, Ord)]
struct Narrowed<'a> {
    methods: BTreeSet<&'a str>,
    paths: BTreeSet<&'a str>,
}

impl<'a> Narrowed<'a> {
    fn new((methods, paths): (&'a [String], &'a [String])) -> Self {
        let all = |list: &'a [String]| list.iter().map(String::as_str).collect();
        Self { methods: all(methods), paths: all(paths) }
    }

    /// Whether another one goes beyond it in nothing.
    fn covers(&self, other: &Narrowed<'_>) -> bool {
        holds(&self.methods, &other.methods) && holds(&self.paths, &other.paths)
    }
}

impl fmt::Display for Narrowed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (word, all) in [("with", &self.methods), ("to", &self.paths)] {
            if !all.is_empty() {
                write!(f, ", {word} {all:?}")?;
            }
        }
        Ok(())
    }
}

/// Whether one list, which means any where it is empty, holds all of another.
fn holds(own: &BTreeSet<&str>, other: &BTreeSet<&str>) -> bool {
    own.is_empty() || (!other.is_empty() && other.iter().all(|one| own.contains(*one)))
}

/// What is done with a secret, in words that follow its name, and what each of it is narrowed to. The words are whole, for
/// whoever writes both components could make two begin alike.
type Uses<'a> = BTreeMap<String, BTreeSet<Rc<Narrowed<'a>>>>;

/// What is done with each granted secret.
fn uses<'a>(needs: &'a Needs, grant: &'a Grant) -> BTreeMap<&'a str, Uses<'a>> {
    let mut uses: BTreeMap<&str, Uses<'_>> =
        grant.secrets.keys().map(|name| (name.as_str(), BTreeMap::new())).collect();
    let mut put = |secret: &str, said: String, narrowed: &Rc<Narrowed<'a>>| {
        if let Some(uses) = uses.get_mut(secret) {
            uses.entry(said).or_default().insert(narrowed.clone());
        }
    };
    let anything = Rc::new(Narrowed::default());
    let endpoint = |written: &str| match endpoint_parts(written) {
        Some((origin, path)) => format!("{}{path}", place(grant, origin)),
        None => written.to_owned(),
    };
    for facts in needs.manifest.credentials.values() {
        let narrowed = Rc::new(Narrowed::new(facts.narrowed()));
        let mut places: Vec<_> =
            facts.origins().iter().map(|origin| (place(grant, origin), narrowed.clone())).collect();
        if let CredentialFacts::Oauth2(facts) = facts {
            let all = [Some(&facts.token), facts.revoke.as_ref(), facts.device.as_ref()];
            places.extend(all.into_iter().flatten().map(|written| (endpoint(written), anything.clone())));
        }
        for secret in facts.secrets() {
            places.iter().for_each(|(to, narrowed)| put(secret, format!("goes to {to}"), narrowed));
        }
    }
    for (name, facts) in &needs.manifest.secrets {
        let Some(jwt) = &facts.jwt else { continue };
        jwt.origins.iter().for_each(|origin| put(name, format!("goes to {}", place(grant, origin)), &anything));
        jwt.jwks.iter().for_each(|jwks| put(name, format!("has its keys at {}", endpoint(jwks)), &anything));
    }
    uses
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn less_is_covered_and_more_is_not() {
        let lists = |all: &[&str]| all.iter().map(|one| (*one).to_owned()).collect::<Vec<String>>();
        let (any, get, both, other) = (lists(&[]), lists(&["GET"]), lists(&["POST", "GET"]), lists(&["PUT", "GET"]));
        let turned = lists(&["GET", "POST"]);
        for (before, after, is_covered) in [
            (&any, &any, true),
            (&any, &get, true),
            (&both, &get, true),
            (&both, &turned, true),
            (&get, &any, false),
            (&get, &both, false),
            (&both, &other, false),
        ] {
            for (before, after) in [((before, &any), (after, &any)), ((&any, before), (&any, after))] {
                let [before, after] = [before, after].map(|(methods, paths)| Narrowed::new((methods, paths)));
                assert_eq!(before.covers(&after), is_covered, "{before} {after}");
            }
        }
        assert!(!Narrowed::new((&get, &any)).covers(&Narrowed::new((&any, &get))), "one for the other");
    }
}
