//! Tokens in use: renewed once for everybody, once more when refused, and never lost.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use wharfage::{Config, Host, Kind, ManualClock, Plugin};
use wharfage_tests::provider::{Reply, Seen};
use wharfage_tests::scene::{account, host};
use wharfage_tests::{NOW, Provider, Scene, guests, until};

use crate::vault::changing_key;

/// A provider that rotates: a refresh token is good until the one after it was used.
#[derive(Default)]
struct Setup {
    issued: usize,
    /// The refresh tokens that are good.
    good: Vec<usize>,
    /// Access tokens up to this one are refused.
    refused_to: usize,
    /// Every refresh is refused.
    is_revoked: bool,
    /// In these words.
    words: String,
    /// So many answers are lost after the token was rotated.
    lose: usize,
    /// Whoever asks for a token is not answered.
    is_silent: bool,
    /// Or not before the provider has seen so many requests.
    held_to: usize,
}

fn answer(setup: &Mutex<Setup>, seen: &Seen) -> Reply {
    let mut setup = setup.lock().unwrap();
    if seen.target != "/token" {
        let shown = seen.header("authorization").and_then(|value| value.strip_prefix("Bearer access-token-"));
        let number: usize = shown.unwrap().parse().unwrap();
        return Reply::status(if number > setup.refused_to { 200 } else { 401 });
    }
    if setup.is_silent {
        return Reply::never();
    }
    let form = String::from_utf8(seen.body.clone()).unwrap();
    if let Some(at) = form.find("refresh-token-") {
        let used: usize = form[at + 14..].split('&').next().unwrap().parse().unwrap();
        if setup.is_revoked || !setup.good.contains(&used) {
            let body = json!({"error": "invalid_grant", "error_description": setup.words});
            return Reply::status(400).header("content-type", "application/json").body(body.to_string());
        }
        // The one that was used stays good; those before it end.
        setup.good = vec![used];
    }
    setup.issued += 1;
    let number = setup.issued;
    setup.good.push(number);
    if setup.lose > 0 {
        setup.lose -= 1;
        return Reply::reset();
    }
    let given = Reply::json(&json!({
        "access_token": format!("access-token-{number}"), "refresh_token": format!("refresh-token-{number}"),
        "token_type": "Bearer", "expires_in": 3600,
    }));
    if setup.held_to > 0 { given.once_seen(setup.held_to) } else { given }
}

struct Set {
    setup: Arc<Mutex<Setup>>,
    provider: Provider,
    clock: ManualClock,
    state: tempfile::TempDir,
}

impl Set {
    async fn new() -> Self {
        let setup = Arc::new(Mutex::new(Setup::default()));
        let provider = Provider::answering({
            let setup = setup.clone();
            move |seen| answer(&setup, seen)
        })
        .await;
        Self { setup, provider, clock: ManualClock::skipping(NOW, 1), state: tempfile::tempdir().unwrap() }
    }

    /// One more host on the same state, as another process is.
    async fn open(&self) -> Plugin {
        self.open_in(&host(self.state.path(), self.clock.clone())).await
    }

    async fn open_in(&self, host: &Host) -> Plugin {
        Scene::of(guests::HTTP_SEND)
            .with(&self.provider)
            .signed_in(&self.provider.url())
            .grant(|connection| connection.cache.enabled = false)
            .connect(host, &account(""))
            .await
            .unwrap()
    }

    fn asked(&self) -> usize {
        self.provider.seen().iter().filter(|seen| seen.target == "/token").count()
    }
}

async fn send(plugin: &Plugin) -> Result<(), wharfage::Error> {
    plugin.call::<serde_json::Value>("send", &json!({"url": "{api}/orders"})).await.map(drop)
}

#[tokio::test]
async fn guide_s15_many_who_need_a_token_ask_once() {
    let set = Set::new().await;
    let (one, other) = (set.open().await, set.open().await);
    let calls = (0..32).map(|number| send(if number % 2 == 0 { &one } else { &other }));
    for sent in futures_util::future::join_all(calls).await {
        sent.unwrap();
    }
    assert_eq!(set.asked(), 1, "two hosts and sixteen calls each");
    set.clock.advance(3_590_000);
    let calls = (0..32).map(|number| send(if number % 2 == 0 { &one } else { &other }));
    for sent in futures_util::future::join_all(calls).await {
        sent.unwrap();
    }
    assert_eq!(set.asked(), 2, "it was to be renewed, and once");
}

/// The guide wrote tokens as plain text, and made the file its owner's afterwards.
#[tokio::test]
async fn guide_s16_tokens_lie_sealed_in_files_that_are_their_owner_s_alone() {
    let set = Set::new().await;
    send(&set.open().await).await.unwrap();
    set.clock.advance(3_600_000);
    let plugin = set.open().await;
    send(&plugin).await.unwrap();
    plugin.flush().await;
    let mut names = Vec::new();
    for entry in std::fs::read_dir(set.state.path()).unwrap().map(Result::unwrap) {
        let (name, bytes) = (entry.file_name().into_string().unwrap(), std::fs::read(entry.path()).unwrap());
        for token in ["access-token-", "refresh-token-"] {
            let is_there = bytes.windows(token.len()).any(|part| part == token.as_bytes());
            assert!(!is_there, "{token} lies in {name} in the clear");
        }
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = entry.metadata().unwrap().permissions().mode();
            assert_eq!(mode & 0o077, 0, "{name} can be read by others: {mode:o}");
        }
        names.push(name);
    }
    assert!(
        names.iter().any(|name| name == "state.sqlite") && names.iter().any(|name| name == "sealing.key"),
        "{names:?}"
    );
}

#[tokio::test]
async fn a_refused_token_is_renewed_once_and_the_call_goes_on() {
    let set = Set::new().await;
    let plugin = set.open().await;
    send(&plugin).await.unwrap();
    set.setup.lock().unwrap().refused_to = 1;
    send(&plugin).await.unwrap();
    assert_eq!(set.asked(), 2);
    set.clock.advance(30_000);
    set.setup.lock().unwrap().refused_to = usize::MAX;
    let before = set.provider.count();
    let error = send(&plugin).await.unwrap_err();
    assert_eq!((error.kind(), set.asked()), (&Kind::Unauthorized, 3));
    assert_eq!(set.provider.count() - before, 3, "refused, renewed, refused, and no more");
}

/// As of a suspended account: its tokens are renewed without end, and none of them helps.
#[tokio::test]
async fn tokens_that_are_all_refused_are_renewed_once_in_a_while() {
    let set = Set::new().await;
    let plugin = set.open().await;
    set.setup.lock().unwrap().refused_to = usize::MAX;
    for (advance_ms, asked) in [(0, 2), (0, 2), (30_000, 3), (0, 3)] {
        set.clock.advance(advance_ms);
        assert_eq!(*send(&plugin).await.unwrap_err().kind(), Kind::Unauthorized);
        assert_eq!(set.asked(), asked, "after {advance_ms} ms");
    }
}

/// A token endpoint that took the request and did not answer held every call of the account for a minute, with a token in
/// hand that was good for five.
#[tokio::test]
async fn a_renewal_that_hangs_holds_nobody_up_whose_token_serves() {
    let set = Set { clock: ManualClock::new(NOW, 1), ..Set::new().await };
    let plugin = set.open().await;
    send(&plugin).await.unwrap();
    set.clock.advance(3_400_000);
    set.setup.lock().unwrap().is_silent = true;
    let first = tokio::spawn({
        let plugin = plugin.clone();
        async move { send(&plugin).await }
    });
    until!(set.asked() == 2);
    send(&plugin).await.unwrap();
    assert!(!first.is_finished(), "who has it renewed waits a little");
    set.clock.advance(2_000);
    first.await.unwrap().unwrap();
    assert_eq!(set.asked(), 2);
}

/// What the provider gave for the token that was used came to nobody where the program had ended by then.
#[tokio::test]
async fn a_program_that_ends_in_order_waits_for_the_renewal_that_it_began() {
    for is_serving in [false, true] {
        let set = Set { clock: ManualClock::new(NOW, 1), ..Set::new().await };
        let host = host(set.state.path(), set.clock.clone());
        let (plugin, serving) = (set.open_in(&host).await, host.serve(&Config::default()).await.unwrap());
        send(&plugin).await.unwrap();
        let before = plugin.token_states().await.unwrap();
        set.clock.advance(3_400_000);
        // The renewal, the call that began it, and another one.
        set.setup.lock().unwrap().held_to = set.provider.count() + 3;
        let first = tokio::spawn({
            let plugin = plugin.clone();
            async move { send(&plugin).await }
        });
        until!(set.asked() == 2);
        set.clock.advance(2_000);
        first.await.unwrap().unwrap();
        let ended = async {
            match is_serving {
                true => assert!(serving.drain().await),
                false => plugin.flush().await,
            }
            plugin.token_states().await.unwrap()
        };
        let (after, sent) = tokio::join!(ended, send(&plugin));
        sent.unwrap();
        assert_ne!(after, before, "it ended before the answer was kept, with is_serving = {is_serving}");
    }
}

#[tokio::test]
async fn a_lost_answer_loses_no_token() {
    let set = Set::new().await;
    let plugin = set.open().await;
    send(&plugin).await.unwrap();
    set.clock.advance(3_600_000);
    set.setup.lock().unwrap().lose = 2;
    send(&plugin).await.unwrap();
    set.clock.advance(3_600_000);
    send(&set.open().await).await.unwrap();
}

#[tokio::test]
async fn what_was_withdrawn_is_said_kept_and_not_asked_for_again() {
    let set = Set::new().await;
    let plugin = set.open().await;
    send(&plugin).await.unwrap();
    set.clock.advance(3_600_000);
    set.setup.lock().unwrap().is_revoked = true;
    let error = send(&plugin).await.unwrap_err();
    assert_eq!(*error.kind(), Kind::ReauthorizationNeeded);
    assert!(error.to_string().contains("wharfage connect acme"), "{error}");
    let asked = set.asked();
    assert_eq!(*send(&set.open().await).await.unwrap_err().kind(), Kind::ReauthorizationNeeded);
    assert_eq!(set.asked(), asked, "another process asked again for what is over");
    let states = plugin.token_states().await.unwrap();
    assert!(format!("{states:?}").contains("NeedsConnecting"), "{states:?}");
}

/// A provider of many words is understood, and few of them are told.
#[tokio::test]
async fn a_long_refusal_is_one_too() {
    let set = Set::new().await;
    let plugin = set.open().await;
    send(&plugin).await.unwrap();
    set.clock.advance(3_600_000);
    *set.setup.lock().unwrap() = Setup { is_revoked: true, words: "revoked ".repeat(1_000), ..Setup::default() };
    let error = send(&plugin).await.unwrap_err();
    assert_eq!((error.kind(), error.body()), (&Kind::ReauthorizationNeeded, None));
    assert!(error.message().contains("invalid_grant") && error.to_string().len() < 1_000, "{error}");
    let asked = set.asked();
    assert_eq!(*send(&set.open().await).await.unwrap_err().kind(), Kind::ReauthorizationNeeded);
    assert_eq!(set.asked(), asked, "it is written down");
}

/// Also by the first renewal after a start, and where the words are cut within a token.
#[tokio::test]
async fn a_refusal_that_repeats_what_it_was_asked_with_is_masked() {
    let set = Set::new().await;
    send(&set.open().await).await.unwrap();
    set.clock.advance(3_600_000);
    let words = format!("refresh-token-1 {} refresh-token-1", "x".repeat(130));
    *set.setup.lock().unwrap() = Setup { is_revoked: true, words, ..Setup::default() };
    let plugin = set.open().await;
    let error = send(&plugin).await.unwrap_err();
    let shown = format!("{error:?} {:?}", plugin.token_states().await.unwrap());
    assert!(shown.contains("`: [masked] xxx") && !shown.contains("refresh-t"), "{shown}");
}

/// Whether the provider wants it in a header or, as many do, in the form.
#[tokio::test]
async fn a_client_secret_that_is_refused_gives_way_to_what_its_store_has_by_now() {
    for client_auth in ["basic", "body"] {
        let provider = Provider::answering(|seen| {
            if seen.target != "/token" {
                return Reply::status(200);
            }
            let form = String::from_utf8_lossy(&seen.body);
            let basic = seen.header("authorization").and_then(|value| value.strip_prefix("Basic ")).unwrap_or_default();
            let basic = String::from_utf8(STANDARD.decode(basic).unwrap()).unwrap();
            match form.contains("client_secret=the-new-key") || basic.ends_with(":the-new-key") {
                true => Reply::json(&json!({"access_token": "t-1", "token_type": "Bearer", "expires_in": 3600})),
                false => Reply::status(401)
                    .header("content-type", "application/json")
                    .body(json!({"error": "invalid_client"}).to_string()),
            }
        })
        .await;
        let (key, asked) = changing_key();
        let account = account("").with_secret("api_key", key);
        let state = tempfile::tempdir().unwrap();
        let plugin = Scene::of(guests::HTTP_SEND)
            .with(&provider)
            .signed_in(&provider.url())
            .manifest_with(
                "secret = \"api_key\"\norigins = [\"api\"]\nsource",
                &format!("secret = \"api_key\"\nclient_auth = \"{client_auth}\"\norigins = [\"api\"]\nsource"),
            )
            .connect(&host(state.path(), ManualClock::skipping(NOW, 1)), &account)
            .await
            .unwrap();
        send(&plugin).await.unwrap();
        let tokens = provider.seen().iter().filter(|seen| seen.target == "/token").count();
        assert_eq!((tokens, asked.load(Ordering::SeqCst)), (2, 2), "{client_auth}");
    }
}

/// Tokens come in these answers, so nothing keeps them and no guest may ask for them.
#[tokio::test]
async fn no_request_of_a_plugin_goes_where_tokens_are_given() {
    let set = Set::new().await;
    let plugin = set.open().await;
    let url = json!({"url": format!("{}/token", "{auth}"), "method": "POST"});
    let error = plugin.call::<serde_json::Value>("write", &url).await.unwrap_err();
    assert!(matches!(error.kind(), Kind::PolicyDenied(_) | Kind::InvalidRequest(_)), "{error:?}");
    assert_eq!(set.asked(), 0);
}
