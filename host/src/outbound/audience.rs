//! For whom a credential is: origins, and within them methods and paths where its manifest says so.
//!
//! What is granted to a plugin may be wider than what a credential is for; the narrower of the two counts. A marker
//! that stands in a path for a value that comes later never leaves as it is: where the credential does not fill it, the
//! request is refused.

use super::path_pattern::PathPattern;
use super::scope::Scoped;
use super::{Outbound, place};
use crate::auth::Credential;
use crate::error::{Error, Result, rule};

/// Judges the credential that goes on a request, or that none does.
pub(super) fn check(outbound: &Outbound, credential: Option<&Credential>, scoped: &Scoped) -> Result<()> {
    if let Some(credential) = credential {
        check_place(outbound, credential, scoped)?;
    }
    check_markers(outbound, credential, scoped)
}

fn check_place(outbound: &Outbound, credential: &Credential, scoped: &Scoped) -> Result<()> {
    let origin = outbound.scope.origin_of(scoped);
    let name = &credential.name;
    if !credential.audience.contains(&origin.name) {
        return Err(Error::denied(
            rule::CREDENTIAL,
            format!("the credential `{name}` is not for the origin `{}`", origin.name),
            format!(
                "A credential goes only to the origins its manifest names; this one to `{}`.",
                credential.audience.join("`, `")
            ),
        ));
    }
    let method = scoped.request().method.as_str();
    let has_method = credential.methods.is_empty() || credential.methods.iter().any(|allowed| allowed == method);
    let root = origin.base.path().trim_end_matches('/');
    let fits = |path: &String| {
        PathPattern::parse(&format!("{root}{path}")).is_ok_and(|pattern| pattern.matches(scoped.url().path()))
    };
    let has_path = credential.paths.is_empty() || credential.paths.iter().any(fits);
    if has_method && has_path {
        return Ok(());
    }
    let listed = |list: &[String]| if list.is_empty() { "any".to_owned() } else { list.join(", ") };
    Err(Error::denied(
        rule::CREDENTIAL,
        format!(
            "the credential `{name}` is not for {method} {}{}",
            origin.base.origin().ascii_serialization(),
            crate::text::shown(scoped.shown_url().path())
        ),
        format!(
            "At `{}` it goes with the methods {} to the paths {}. What it is for stands in [credentials.{name}] of plugin.toml.",
            origin.name,
            listed(&credential.methods),
            listed(&credential.paths)
        ),
    ))
}

/// A marker must be where its credential fills it, once, and nowhere else.
fn check_markers(outbound: &Outbound, credential: Option<&Credential>, scoped: &Scoped) -> Result<()> {
    let own = credential.and_then(Credential::marker);
    if let Some(marker) = own
        && place::markers(scoped.url().path(), marker) != 1
    {
        return Err(Error::denied(
            rule::CREDENTIAL,
            format!("the credential goes into the path where `{marker}` stands, and it must stand there once"),
            format!("Write it into the URL, as `{{origin}}/{marker}/items`."),
        ));
    }
    for marker in outbound.credentials.iter().filter_map(|credential| credential.marker()) {
        let expected = usize::from(own == Some(marker));
        if count_everywhere(scoped, marker) != expected {
            return Err(Error::denied(
                rule::CREDENTIAL,
                format!("`{marker}` stands for a credential, and nothing fills it in this request"),
                "It goes into the path of a request that carries its credential.",
            ));
        }
    }
    for own in &outbound.credentials {
        for marker in own.capture_markers() {
            let is_carried = credential.is_some_and(|credential| credential.name == own.name);
            let everywhere = count_everywhere(scoped, &marker);
            let in_path = place::markers(scoped.url().path(), &marker);
            if everywhere > usize::from(is_carried) || everywhere != in_path {
                return Err(Error::denied(
                    rule::CREDENTIAL,
                    format!("`{marker}` stands for what the sign-in left behind, and nothing fills it there"),
                    "It goes once into the path of a request that carries the credential of that sign-in.",
                ));
            }
        }
    }
    Ok(())
}

/// How often a marker stands in the URL and the header fields of a request.
fn count_everywhere(scoped: &Scoped, marker: &str) -> usize {
    let in_headers = scoped.request().headers.iter().map(|(_, value)| place::markers(value, marker)).sum::<usize>();
    in_headers + place::markers(scoped.url().as_str(), marker)
}
