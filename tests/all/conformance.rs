//! Every fixture of every plugin folder, played through the real component, without naming one but for what it does without
//! ([`DOES_WITHOUT`]).
//!
//! The same files are replayed natively while a plugin is written; here they prove that component, host and provider
//! agree. Then each is broken, request by request, in every way a provider breaks.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use wharfage::tape::Fixture;
use wharfage::{Blame, Connection, Effect, Kind};
use wharfage_tests::fixture::{Break, Theatre, compare, error_json};
use wharfage_tests::{API_KEY, PLUGINS, PluginFolder, Provider, Reply};

fn assert_none(accounts: Vec<String>) {
    assert!(accounts.is_empty(), "\n{}\n", accounts.join("\n\n"));
}

#[tokio::test]
async fn every_fixture_comes_out_as_it_says() {
    let mut accounts = Vec::new();
    for plugin in PLUGINS {
        let theatre = Theatre::of(*plugin).await;
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        let mut signed = 0;
        for (name, text) in theatre.fixtures() {
            let (fixture, played) = theatre.play(&text, None).await;
            let mut troubles = played.troubles.clone();
            troubles.extend(compare(&fixture.expect, &played).err());
            // An operation needs the key for all of its requests or for none.
            if played.signed > 0 && played.signed < played.requests {
                troubles.push(format!("{} of {} requests carried the credential", played.signed, played.requests));
            }
            signed += played.signed;
            if let Ok(output) = &played.outcome {
                troubles.extend(misfits(&theatre, &fixture, output));
            }
            if !troubles.is_empty() {
                accounts.push(format!("plugins/{}/fixtures/{name}.json: {}", plugin.name, troubles.join("\n")));
            }
            *counts.entry(fixture.from.to_string()).or_default() += 1;
        }
        let counts: Vec<String> = counts.iter().map(|(from, count)| format!("{count} {from}")).collect();
        println!("{}: {} fixtures", plugin.name, counts.join(", "));
        assert!(
            signed > 0 || theatre.needs.manifest.credentials.is_empty(),
            "{} never came with its credential",
            plugin.name
        );
    }
    assert_none(accounts);
}

/// The same through a tape: with the real component, and without a socket, a key or a provider.
#[tokio::test]
async fn every_fixture_is_replayed_from_its_tape_without_a_socket() {
    let mut accounts = Vec::new();
    let mut count = 0;
    for plugin in PLUGINS {
        let theatre = Theatre::of(*plugin).await;
        for (name, text) in theatre.fixtures() {
            let (fixture, played) = theatre.replay(&text).await;
            let troubles: Vec<String> =
                played.troubles.iter().cloned().chain(compare(&fixture.expect, &played).err()).collect();
            if !troubles.is_empty() {
                accounts.push(format!("plugins/{}/fixtures/{name}.json: {}", plugin.name, troubles.join("\n")));
            }
            count += 1;
        }
    }
    println!("{count} fixtures");
    assert!(count > 50, "only {count} fixtures were replayed");
    assert_none(accounts);
}

/// What was played over loopback with a tape in the host comes out of the tape as it came then.
#[tokio::test]
async fn every_fixture_that_is_recorded_replays_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let mut accounts = Vec::new();
    for plugin in PLUGINS {
        let theatre = Theatre::of(*plugin).await;
        for (name, text) in theatre.fixtures() {
            let original = Fixture::parse(&text).unwrap();
            if original.exchanges.is_empty() {
                continue;
            }
            let path = folder.path().join(format!("{name}.json"));
            theatre.record(&text, &path).await;
            let recorded = std::fs::read_to_string(&path).unwrap();
            let recorded = with_files(&recorded, &original);
            let told = |what: &str| format!("{} {name}: {what}\n{recorded}", plugin.name);
            if recorded.contains(API_KEY) {
                accounts.push(told("it holds what it must not"));
            }
            let (fixture, played) = theatre.replay(&recorded).await;
            let troubles: Vec<String> =
                played.troubles.iter().cloned().chain(compare(&fixture.expect, &played).err()).collect();
            if !troubles.is_empty() {
                accounts.push(told(&troubles.join("\n")));
            }
            // And what is on the new tape is what was on the old one.
            let count = |fixture: &Fixture| (fixture.exchanges.len(), fixture.expect.pages, fixture.expect.goes_on);
            let (old, new) = (count(&original), count(&fixture));
            if (old.0, old.2) != (new.0, new.2) || old.1.is_some_and(|pages| new.1 != Some(pages)) {
                accounts.push(told(&format!("{old:?} became {new:?}")));
            }
        }
    }
    assert_none(accounts);
}

/// A tape does not hold the files that were handed over: whoever plays it hands them over again.
fn with_files(recorded: &str, original: &Fixture) -> String {
    let mut fixture = Fixture::parse(recorded).unwrap();
    if original.files.is_empty() && original.expect.files.is_empty() {
        return recorded.to_owned();
    }
    fixture.files.clone_from(&original.files);
    fixture.expect.files.clone_from(&original.expect.files);
    fixture.to_text().unwrap()
}

/// Where an output does not fit the schema that the plugin gave for it.
fn misfits(theatre: &Theatre, fixture: &Fixture, output: &Value) -> Vec<String> {
    let Some(operation) = theatre.needs.operations.iter().find(|operation| operation.name == fixture.operation) else {
        return vec![format!("there is no operation {}", fixture.operation)];
    };
    let schema = match jsonschema::validator_for(&operation.output_schema) {
        Ok(schema) => schema,
        Err(error) => return vec![format!("the output schema of {} is none: {error}", operation.name)],
    };
    let items = if operation.is_list { output.as_array().cloned().unwrap_or_default() } else { vec![output.clone()] };
    let told = |item: &Value| -> Vec<String> {
        schema
            .iter_errors(item)
            .take(3)
            .map(|error| format!("{} does not fit its schema: {error}", error.instance_path()))
            .collect()
    };
    items.iter().flat_map(told).take(5).collect()
}

#[tokio::test]
async fn every_operation_has_a_case_that_succeeds_and_one_that_fails() {
    let mut accounts = Vec::new();
    for plugin in PLUGINS {
        let theatre = Theatre::of(*plugin).await;
        let (mut good, mut bad) = (BTreeSet::new(), BTreeSet::new());
        for (name, text) in theatre.fixtures() {
            let fixture: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
            let operation = fixture["operation"].as_str().unwrap_or_default().to_owned();
            if name != operation && !name.starts_with(&format!("{operation}-")) {
                accounts.push(format!("plugins/{}/fixtures/{name}.json is not named after {operation}", plugin.name));
            }
            if fixture["expect"]["error"].is_object() {
                bad.insert(operation)
            } else {
                good.insert(operation)
            };
        }
        for operation in &theatre.needs.operations {
            for (cases, what) in [(&good, "succeeds"), (&bad, "fails")] {
                if !cases.contains(&operation.name) {
                    accounts.push(format!("{} {} has no fixture that {what}", plugin.name, operation.name));
                }
            }
        }
        for stranger in
            good.union(&bad).filter(|name| theatre.needs.operations.iter().all(|operation| operation.name != **name))
        {
            accounts.push(format!("{} has a fixture of {stranger}, which it cannot do", plugin.name));
        }
    }
    assert_none(accounts);
}

/// A plugin asks for no method and no path that none of its operations uses, as far as its fixtures show.
#[tokio::test]
async fn needs_are_no_wider_than_what_is_used() {
    let mut accounts = Vec::new();
    for plugin in PLUGINS {
        let theatre = Theatre::of(*plugin).await;
        let mut used: BTreeMap<String, Vec<(String, String)>> = BTreeMap::new();
        for (name, text) in theatre.fixtures() {
            let fixture: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
            for exchange in fixture["exchanges"].as_array().into_iter().flatten() {
                let text = |field: &str| exchange["request"][field].as_str().unwrap_or_default();
                let Some((origin, path)) = text("url").strip_prefix('{').and_then(|rest| rest.split_once('}')) else {
                    continue;
                };
                let path = path.split_once('?').map_or(path, |(path, _)| path);
                used.entry(origin.to_owned()).or_default().push((text("method").to_owned(), path.to_owned()));
            }
        }
        for (origin, facts) in theatre.needs.manifest.origins.iter().filter(|(_, facts)| !facts.host_only) {
            let used = used.remove(origin).unwrap_or_default();
            let methods = facts.methods.iter().filter(|method| used.iter().all(|(own, _)| own != *method));
            let paths = facts.paths.iter().filter(|pattern| used.iter().all(|(_, path)| !covers(pattern, path)));
            for unused in methods.chain(paths) {
                accounts.push(format!("{} asks for {unused} at {origin}, and no fixture uses it", plugin.name));
            }
        }
    }
    assert_none(accounts);
}

/// Whether a path pattern of a manifest covers a path, as the host has it.
fn covers(pattern: &str, path: &str) -> bool {
    let mut parts = path.split('/');
    for wanted in pattern.split('/') {
        match (wanted, parts.next()) {
            ("**", _) => return true,
            ("*", Some(part)) if !part.is_empty() => {}
            (wanted, Some(part)) if wanted == part => {}
            _ => return false,
        }
    }
    parts.next().is_none()
}

/// Most bytes of a component, as the compiler made it. Fresh pages are what a fresh instance costs, and what a person waits
/// for who loads it the first time.
const COMPONENT_BYTES_MAX: usize = 300_000;

#[test]
fn components_are_small() {
    let mut accounts = Vec::new();
    for plugin in PLUGINS {
        let bytes = plugin.compiled().0.len();
        println!("{}: {} kB", plugin.name, bytes / 1000);
        if bytes > COMPONENT_BYTES_MAX {
            accounts
                .push(format!("the component of {} has {bytes} bytes; the most is {COMPONENT_BYTES_MAX}", plugin.name));
        }
    }
    assert_none(accounts);
}

#[tokio::test]
async fn descriptions_are_whole() {
    let mut accounts = Vec::new();
    for plugin in PLUGINS {
        let needs = Theatre::of(*plugin).await.needs;
        let mut said = |operation: &str, what: &str| accounts.push(format!("{} {operation}: {what}", plugin.name));
        for operation in &needs.operations {
            if !operation.description.ends_with('.') || operation.description.len() < 10 {
                said(&operation.name, "its description is no sentence");
            }
            if operation.input_schema["type"] != "object" {
                said(&operation.name, "its input is no object");
            }
            if operation.input_schema["additionalProperties"] != json!(false) {
                said(&operation.name, "it takes fields it does not know, so a typing error passes");
            }
            for (name, field) in operation.input_schema["properties"].as_object().into_iter().flatten() {
                if field["description"].as_str().is_none_or(str::is_empty) {
                    said(&operation.name, &format!("its input `{name}` is not described"));
                }
            }
            match needs.manifest.operations.get(&operation.name) {
                None => said(&operation.name, "plugin.toml does not know it"),
                Some(facts) if facts.columns.is_empty() => said(&operation.name, "plugin.toml names no columns for it"),
                Some(_) => {}
            }
        }
    }
    assert_none(accounts);
}

/// What is behind a consent says with which scopes it works, the least first; a connection that wants everything asks for
/// what serves all of it, and for nothing beyond.
#[tokio::test]
async fn what_needs_a_consent_says_its_scopes() {
    let mut accounts = Vec::new();
    for plugin in PLUGINS {
        let needs = Theatre::of(*plugin).await.needs;
        if !needs.manifest.has_consent() {
            continue;
        }
        let mut wanted: Vec<(String, Vec<String>)> = Vec::new();
        for operation in &needs.operations {
            let scopes = needs.manifest.operations.get(&operation.name).map(|facts| facts.scopes.clone());
            wanted.push((operation.name.clone(), scopes.unwrap_or_default()));
        }
        let mut connection = Connection::granting(&needs);
        for (name, facts) in &needs.manifest.polls {
            wanted.push((format!("the poll {name}"), facts.scopes.clone()));
            connection.polls.insert(name.clone(), Default::default());
        }
        let asked: Vec<String> =
            needs.manifest.credentials.keys().flat_map(|name| needs.scopes(&connection, name)).collect();
        println!("{} asks for {}", plugin.name, asked.join(" "));
        let serves = |asked: &[String], scopes: &[String]| {
            scopes.iter().any(|written| written.split(' ').all(|scope| asked.iter().any(|asked| asked == scope)))
        };
        for (name, scopes) in wanted.iter().filter(|(_, scopes)| !serves(&asked, scopes)) {
            accounts.push(format!("{}: {name} is not served by what is asked for: {scopes:?}", plugin.name));
        }
        for scope in &asked {
            let without: Vec<String> = asked.iter().filter(|other| *other != scope).cloned().collect();
            if wanted.iter().all(|(_, scopes)| serves(&without, scopes)) {
                accounts.push(format!("{} asks for {scope}, which nothing needs", plugin.name));
            }
        }
    }
    assert_none(accounts);
}

/// Plugins may do without one of several answers, and say less then: the plugin, the fixture, the request, and what is wrong
/// with it; anything, where nothing is named.
const DOES_WITHOUT: [(&str, &str, usize, Option<&str>); 4] = [
    // An order without its customer's name is worth more than no order.
    ("leaflink", "orders.get-guide", 2, None),
    // A message may be gone between the list and the look at it.
    ("google-gmail", "messages.list-guide", 2, Some("404")),
    ("google-gmail", "messages.list-guide", 3, Some("404")),
    // A part of a file may be anything, and this is as long as the file.
    ("google-drive", "files.download-from-the-middle", 2, Some("half of JSON")),
];

fn does_without(plugin: &str, fixture: &str, at: usize, what: &str) -> bool {
    DOES_WITHOUT.iter().any(|(own, case, number, wrong)| {
        (*own, *case, *number) == (plugin, fixture, at) && wrong.is_none_or(|wrong| wrong == what)
    })
}

/// What Google's scopes hold of the others that plugins here ask for, without the beginning that most of them share. A
/// manifest does not say it, and to the host a scope is a name.
const HELD: &[(&str, &[&str])] = &[
    (
        "drive",
        &[
            "drive.readonly",
            "drive.metadata",
            "drive.metadata.readonly",
            "drive.file",
            "drive.meet.readonly",
            "documents",
            "documents.readonly",
            "spreadsheets",
            "spreadsheets.readonly",
        ],
    ),
    (
        "drive.readonly",
        &["drive.metadata.readonly", "drive.meet.readonly", "documents.readonly", "spreadsheets.readonly"],
    ),
    ("drive.metadata", &["drive.metadata.readonly"]),
    ("documents", &["documents.readonly"]),
    ("spreadsheets", &["spreadsheets.readonly"]),
    (
        "calendar",
        &[
            "calendar.readonly",
            "calendar.events",
            "calendar.events.readonly",
            "calendar.events.owned",
            "calendar.events.owned.readonly",
            "calendar.events.public.readonly",
            "calendar.events.freebusy",
            "calendar.freebusy",
            "calendar.calendarlist",
            "calendar.calendarlist.readonly",
            "calendar.app.created",
        ],
    ),
    (
        "calendar.readonly",
        &[
            "calendar.events.readonly",
            "calendar.events.owned.readonly",
            "calendar.events.public.readonly",
            "calendar.events.freebusy",
            "calendar.freebusy",
            "calendar.calendarlist.readonly",
        ],
    ),
    (
        "calendar.events",
        &[
            "calendar.events.readonly",
            "calendar.events.owned",
            "calendar.events.owned.readonly",
            "calendar.events.public.readonly",
        ],
    ),
    ("calendar.events.owned", &["calendar.events.owned.readonly"]),
    ("calendar.calendarlist", &["calendar.calendarlist.readonly"]),
    (
        "https://mail.google.com/",
        &["gmail.modify", "gmail.compose", "gmail.readonly", "gmail.metadata", "gmail.labels", "gmail.send"],
    ),
    ("gmail.modify", &["gmail.compose", "gmail.readonly", "gmail.metadata", "gmail.labels", "gmail.send"]),
    ("gmail.compose", &["gmail.send"]),
    ("gmail.readonly", &["gmail.metadata"]),
];

/// A scope without that beginning.
fn short(scope: &str) -> &str {
    scope.strip_prefix("https://www.googleapis.com/auth/").unwrap_or(scope)
}

/// What went wrong: a broad scope was asked for together with a narrow one that it holds, or in its place, so a person agreed
/// to more than was used and the narrow one said nothing.
#[tokio::test]
async fn guide_s20_no_scope_holds_another() {
    let is_known = |scope: &str| HELD.iter().any(|(broad, held)| *broad == scope || held.contains(&scope));
    let holds = |broad: &str, narrow: &str| {
        HELD.iter().any(|(own, held)| *own == short(broad) && held.contains(&short(narrow)))
    };
    let mut accounts = Vec::new();
    for plugin in PLUGINS {
        let needs = Theatre::of(*plugin).await.needs;
        let (operations, polls) = (&needs.manifest.operations, &needs.manifest.polls);
        let of_operations = operations.iter().map(|(name, facts)| (name, &facts.scopes));
        for (name, scopes) in of_operations.chain(polls.iter().map(|(name, facts)| (name, &facts.scopes))) {
            // The first is asked for.
            let Some((first, others)) = scopes.split_first() else { continue };
            for narrow in others.iter().filter(|narrow| holds(first, narrow)) {
                accounts.push(format!("{} {name} asks for {first}, and {narrow} would do", plugin.name));
            }
            if first.contains(".google") && !is_known(short(first)) {
                accounts.push(format!("{} {name} asks for {first}, which stands in no row here", plugin.name));
            }
        }
        let mut all = Connection::granting(&needs);
        all.polls = polls.keys().map(|name| (name.clone(), Default::default())).collect();
        let alone = operations.keys().map(|name| {
            let mut one = Connection::granting(&needs);
            one.operations = Some(vec![name.clone()]);
            one
        });
        for connection in alone.chain([all]) {
            let credentials = needs.manifest.credentials.keys();
            let asked: Vec<String> = credentials.flat_map(|name| needs.scopes(&connection, name)).collect();
            for broad in &asked {
                for narrow in asked.iter().filter(|narrow| holds(broad, narrow)) {
                    accounts.push(format!("{} asks for {broad}, and for {narrow} beside it", plugin.name));
                }
            }
        }
    }
    assert_none(accounts);
}

/// Breaks each request of each good case. What passes by itself must come out as if nothing had been; what does not must
/// end in a typed error that blames who can act, with nothing secret in it.
///
/// A write is not made again where the provider may have acted on it, so for one of those an honest error is as good, except
/// where the provider said that it was only asked too often.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_request_may_break_in_every_way() {
    let elsewhere = Provider::scripted([Reply::status(200)]).await;
    let elsewhere_url = elsewhere.url() + "/";
    let tasks: Vec<_> = PLUGINS.iter().map(|plugin| tokio::spawn(breaks(*plugin, elsewhere_url.clone()))).collect();
    let (mut plays, mut accounts) = (0, Vec::new());
    for task in tasks {
        let (own, told) = task.await.unwrap();
        plays += own;
        accounts.extend(told);
    }
    assert_eq!(elsewhere.connections(), 0, "a redirect led away");
    println!("{plays} broken plays");
    assert!(plays > 100, "only {plays} plays were broken");
    assert_none(accounts);
}

/// Breaks one plugin's requests: how many plays that were, and what went otherwise than it should.
async fn breaks(plugin: PluginFolder, elsewhere: String) -> (usize, Vec<String>) {
    let passing: Vec<(&str, Reply)> = vec![
        ("429 without a word", Reply::status(429)),
        ("429 in seconds", Reply::status(429).header("retry-after", "2")),
        (
            "429 at a date",
            Reply::status(429)
                .header("date", "Sun, 22 Nov 2026 08:49:37 GMT")
                .header("retry-after", "Sun, 22 Nov 2026 08:49:40 GMT"),
        ),
        ("429 with a reset", Reply::status(429).header("x-ratelimit-remaining", "0").header("x-ratelimit-reset", "3")),
        ("500", Reply::status(500).body("<html>oops</html>")),
        ("503", Reply::status(503).header("retry-after", "1")),
        ("reset", Reply::reset()),
        ("cut", Reply::cut()),
        ("garbage", Reply::raw(vec![0; 64])),
    ];
    let lasting: Vec<(&str, Reply)> = vec![
        ("401", Reply::status(401).body("{}")),
        ("403", Reply::status(403).body("{}")),
        ("404", Reply::status(404).body("<html>no</html>")),
        ("a page of HTML", Reply::status(200).header("content-type", "text/html").body("<html>Just a moment</html>")),
        ("nothing", Reply::status(200)),
        ("half of JSON", Reply::status(200).header("content-type", "application/json").body("{\"results\": [")),
        ("other JSON", Reply::json(&json!([[["?"]], null]))),
        ("too much", Reply::declared(1 << 40)),
        ("elsewhere", Reply::redirect(302, &elsewhere)),
    ];
    let mut accounts = Vec::new();
    let mut plays = 0;
    let theatre = Theatre::of(plugin).await;
    let mut tried: BTreeSet<String> = BTreeSet::new();
    let renews = plugin.manifest().contains("scheme = \"oauth2\"");
    for (name, text) in theatre.fixtures() {
        let raw: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
        let operation = raw["operation"].as_str().unwrap_or_default().to_owned();
        // One good case of each operation is enough.
        let about = theatre.needs.operations.iter().find(|about| about.name == operation);
        let is_write = about.is_some_and(|about| about.effect == Effect::Write);
        if raw["expect"].get("output").is_none() || !tried.insert(operation) {
            continue;
        }
        let (fixture, whole) = theatre.play(&text, None).await;
        if compare(&fixture.expect, &whole).is_err() {
            continue; // told by the test above
        }
        for at in 1..=whole.requests {
            plays += passing.len() + lasting.len();
            for (what, reply) in &passing {
                let (fixture, played) = theatre.play(&text, Some(Break { at, reply: reply.clone() })).await;
                let is_honest = |error: &wharfage::Error| {
                    !matches!(error.kind(), Kind::Internal(_)) && error.kind().blame() != Blame::Caller
                };
                if is_write && !what.starts_with("429") && played.outcome.as_ref().is_err_and(is_honest) {
                    continue;
                }
                if played.outcome.is_ok() && does_without(plugin.name, &name, at, what) {
                    continue;
                }
                if let Err(account) = compare(&fixture.expect, &played) {
                    accounts.push(format!("{} {name}: {what} at request {at} does not pass: {account}", plugin.name));
                }
            }
            for (what, reply) in &lasting {
                let (fixture, played) = theatre.play(&text, Some(Break { at, reply: reply.clone() })).await;
                // A token that is refused is renewed, once; and what is asked for again or elsewhere is all there.
                let may_pass = whole.requests > 1 || (renews && *what == "401");
                let account = match &played.outcome {
                    Ok(_) if may_pass && compare(&fixture.expect, &played).is_ok() => continue,
                    Ok(_) if does_without(plugin.name, &name, at, what) => continue,
                    Ok(output) => format!("comes out as {output:#}"),
                    Err(error) if matches!(error.kind(), Kind::Internal(_)) => {
                        format!("is taken for a defect: {error:?}")
                    }
                    Err(error) if error.kind().blame() == Blame::Caller && !matches!(*what, "404") => {
                        format!("is blamed on the caller: {error:?}")
                    }
                    Err(error) if error_json(error).to_string().contains(API_KEY) => "shows the key".to_owned(),
                    Err(_) => continue,
                };
                accounts.push(format!("{} {name}: {what} at request {at} {account:.600}", plugin.name));
            }
        }
    }
    (plays, accounts)
}
