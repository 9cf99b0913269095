//! R13: a URL that works like a credential stays in the host; a plugin has a name for it, for the rest of the call.

use serde_json::{Value, json};
use wharfage::Host;
use wharfage_tests::scene::account;
use wharfage_tests::{Open, Provider, Reply, Scene, Seen, compiled_code, guests, skipping};

use crate::log::Logged;

/// In a query, and in a path.
const IN_QUERY: &str = "/up?type=resumable&id=SessionCanary0123456789";
const IN_PATH: &str = "/up/SessionCanary0123456789";

/// A provider that opens a session here, and sends its URL back in whatever it says.
async fn provider(place: &'static str) -> Provider {
    Provider::answering(move |seen: &Seen| match (&*seen.method, &*seen.target) {
        ("POST", _) => Reply::json(&json!({"at": place})).header("location", place),
        ("DELETE", target) if target == place => Reply::redirect(307, "/elsewhere"),
        ("PATCH", target) if target == place => Reply::status(422).body(format!("no such thing as {place}")),
        (_, target) if target == place => Reply::json(&json!({"you asked": place})),
        _ => Reply::status(404),
    })
    .await
}

fn scene(provider: &Provider) -> Scene {
    let kept = "credential = \"key\"\nkept_header = \"Location\"";
    Scene::of(guests::HTTP_KEPT).with(provider).manifest_with("credential = \"key\"", kept)
}

fn asked(requests: Value) -> Value {
    json!({ "requests": requests })
}

fn begin() -> Value {
    json!({"method": "POST", "url": "{api}/up?type=resumable"})
}

async fn send(open: &Open, requests: Value) -> Value {
    open.output("send", asked(requests)).await
}

#[tokio::test]
async fn r13_a_kept_url_has_a_name_and_goes_nowhere_else() {
    for place in [IN_QUERY, IN_PATH] {
        let provider = provider(place).await;
        let open = scene(&provider).open().await;
        let told = send(
            &open,
            json!([begin(), {"method": "PUT", "url": 0, "body": "x"}, {"method": "PATCH", "url": 0}, {"method": "DELETE", "url": 0}, {"url": 0}]),
        )
        .await;
        assert!(told[0]["headers"].to_string().contains(r#"["location","{kept:0}"]"#), "{told:#}");
        assert_eq!((&told[1]["status"], &told[4]["status"]), (&json!(200), &json!(200)), "{told:#}");
        assert!(told[2].to_string().contains("InvalidRequest"), "{told:#}");
        assert!(told[3].to_string().contains("PolicyDenied") && told[3].to_string().contains("redirect"), "{told:#}");
        assert!(!told.to_string().contains("Canary"), "{told:#}");
        let went: Vec<String> = provider.seen().iter().map(|seen| seen.target.clone()).collect();
        assert_eq!(went, ["/up?type=resumable", place, place, place, place]);
        // The credential of its origin goes along, as with any request there.
        assert!(provider.seen().iter().all(|seen| seen.header("authorization").is_some()));
    }
}

/// A name is nothing outside of its call, and leads where it was given for and no further.
#[tokio::test]
async fn r13_the_name_of_a_kept_url_is_good_for_its_call() {
    let provider = provider(IN_QUERY).await;
    let open = scene(&provider).open().await;
    send(&open, json!([begin()])).await;
    let told = send(
        &open,
        json!([{"url": "{kept:0}"}, begin(), {"url": "{kept:0}"}, {"url": "{kept:1}&more=1"}, {"url": "{kept:1}"}]),
    )
    .await;
    for refused in [&told[0], &told[2], &told[3]] {
        assert!(refused.to_string().contains("PolicyDenied"), "{told:#}");
    }
    assert_eq!(told[4]["status"], json!(200));
}

/// The provider's word is judged like a plugin's: what lies elsewhere gets neither a body nor a credential.
#[tokio::test]
async fn r13_a_url_elsewhere_is_not_kept() {
    let elsewhere = Provider::scripted([Reply::status(200)]).await;
    let away = elsewhere.url() + "/up?id=SessionCanary0123456789";
    let user = |url: &str| url.replace("http://", "http://user:SessionCanary0123456789@");
    let provider = Provider::answering(move |seen| {
        let here = format!("http://{}/up", seen.header("host").unwrap());
        let place = if seen.target.contains("user") { user(&here) } else { away.clone() };
        Reply::status(200).header("location", &place)
    })
    .await;
    let open = scene(&provider).open().await;
    for url in ["{api}/up", "{api}/up?user"] {
        let told = send(&open, json!([{"method": "POST", "url": url}, {"method": "PUT", "url": "{kept:0}"}])).await;
        assert!(told[0].to_string().contains("kept-url"), "{told:#}");
        assert!(told[1].to_string().contains("PolicyDenied"), "{told:#}");
        assert!(!told.to_string().contains("Canary"), "{told:#}");
    }
    assert_eq!((elsewhere.connections(), provider.count()), (0, 2));
}

/// An operator's narrower grant holds for them too, and the refusal does not show them.
#[tokio::test]
async fn r13_a_kept_url_is_within_the_grant_or_refused() {
    let provider = provider(IN_PATH).await;
    let url = provider.url();
    let allow = format!("[[allow]]\norigin = \"{url}\"\nmethods = [\"POST\", \"PUT\"]\npaths = [\"/up\"]\n");
    let scene = scene(&provider).connection(&allow).grant(|connection| connection.origins.clear());
    let told = send(&scene.open().await, json!([begin(), {"method": "PUT", "url": 0}])).await;
    assert!(told[1].to_string().contains("PolicyDenied(\\\"path\\\")"), "{told:#}");
    assert!(!told.to_string().contains("Canary"), "{told:#}");
}

#[tokio::test]
async fn kept_urls_of_a_call_are_limited() {
    let provider = provider(IN_QUERY).await;
    let open = scene(&provider).open().await;
    let told = send(&open, (0..65).map(|_| begin()).collect()).await;
    assert!(told[64].to_string().contains("kept_urls") && told[63]["status"] == json!(200), "{:#}", told[64]);
}

/// Log, error, state, audit and the guest's view, with a provider that says it wherever it can.
#[tokio::test]
pub(crate) async fn r13_a_kept_url_stands_nowhere() {
    for place in [IN_QUERY, IN_PATH] {
        let folder = tempfile::tempdir().unwrap();
        let logged = Logged::default();
        let _listening = logged.listen("wharfage=trace,hyper=info,reqwest=info");
        let provider = provider(place).await;
        let host = Host::builder().state_dir(folder.path()).code_dir(compiled_code()).clock(skipping());
        let host = host.build().unwrap();
        let plugin = scene(&provider).connect(&host, &account("")).await.unwrap();
        let requests = json!([begin(), {"url": 0}, {"method": "PATCH", "url": 0}, {"method": "DELETE", "url": 0}]);
        let answer = plugin.page("send", &asked(requests).to_string(), None).await.unwrap();
        // A cursor keeps the name at most, and the next page has another call's.
        let next = plugin.page("send", &asked(json!([{"url": 0}])).to_string(), answer.next).await.unwrap();
        assert!(next.output.get().contains("PolicyDenied"), "{}", next.output.get());
        plugin.flush().await;
        let audit = format!("{:?}", host.audit().page(0, 100).await.unwrap());
        assert!(audit.contains("PATCH"), "{audit}");
        drop((plugin, host));
        let mut said = vec![("guest", answer.output.get().to_owned()), ("log", logged.text()), ("audit", audit)];
        for entry in std::fs::read_dir(folder.path()).unwrap() {
            let bytes = std::fs::read(entry.unwrap().path()).unwrap_or_default();
            said.push(("state", String::from_utf8_lossy(&bytes).into_owned()));
        }
        assert!(logged.text().contains("api_request"), "nobody listened: {}", logged.text());
        for (what, text) in said {
            assert!(!text.contains("Canary"), "{place} stands in the {what}:\n{text}");
        }
    }
}

/// An error of the connection itself does not show where it went.
#[tokio::test]
async fn r13_an_error_of_a_kept_url_does_not_show_it() {
    let provider = Provider::answering(|seen| match &*seen.method {
        "POST" => Reply::status(200).header("location", IN_PATH),
        _ => Reply::reset(),
    })
    .await;
    let open = scene(&provider).open().await;
    let told = send(&open, json!([begin(), {"method": "PUT", "url": 0, "repeat": "never"}])).await;
    assert!(told[1].to_string().contains("OutcomeUnknown"), "{told:#}");
    assert!(!told.to_string().contains("Canary"), "{told:#}");
}
