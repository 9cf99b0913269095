//! What stands nested in GitHub's answers and is told flat: who it was, which license, which milestone, which labels.

use serde::Deserialize;
use serde::de::Deserializer;
use serde_json::value::RawValue;

/// Any of them: each has one of these, and what else it has is passed over.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Part {
    login: Option<String>,
    name: Option<String>,
    title: Option<String>,
    label: Option<String>,
    spdx_id: Option<String>,
}

fn part<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Part, D::Error> {
    Ok(Option::<Part>::deserialize(deserializer)?.unwrap_or_default())
}

/// The name of a person or an organization; none where the account is gone.
pub(crate) fn login<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    part(deserializer).map(|part| part.login)
}

/// The identifier of a license, as `MIT`.
pub(crate) fn license<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    // What GitHub says of a license that it does not know.
    part(deserializer).map(|part| part.spdx_id.filter(|id| id != "NOASSERTION").or(part.name))
}

/// The title of a milestone.
pub(crate) fn title<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    part(deserializer).map(|part| part.title)
}

/// A branch with its owner, as `octocat:fix`.
pub(crate) fn branch<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    part(deserializer).map(|part| part.label)
}

/// The names of several people.
pub(crate) fn logins<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let parts = Option::<Vec<Part>>::deserialize(deserializer)?.unwrap_or_default();
    Ok(parts.into_iter().filter_map(|part| part.login).collect())
}

/// The names of labels, which GitHub writes as objects and, as its specification says, now and then as texts.
pub(crate) fn labels<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let raw = Option::<Vec<Box<RawValue>>>::deserialize(deserializer)?.unwrap_or_default();
    let name = |raw: Box<RawValue>| {
        let part: Result<Part, _> = serde_json::from_str(raw.get());
        part.map_or_else(|_| serde_json::from_str(raw.get()).ok(), |part| part.name)
    };
    Ok(raw.into_iter().filter_map(name).collect())
}

/// Whether something is there.
pub(crate) fn is_there<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    Ok(Option::<Box<RawValue>>::deserialize(deserializer)?.is_some_and(|raw| raw.get() != "null"))
}
