//! `secrets`: what can be done with one without reading it.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use wharfage::PathEvent;
use wharfage::{Account, Host, Kind, ManualClock, Plugin, RequestSent, SecretSource, SecretValue, Timestamp};
use wharfage_tests::scene::{KEYS, secret_file};
use wharfage_tests::{API_KEY, Provider, Reply, SIGNING, Scene, guests};

use crate::assert_exists;

wharfage_tests::foreach_secrets!(assert_exists);

/// The value is one that `printf data | openssl dgst -sha256 -hmac signing-key-of-the-tests` made.
const MAC: &str = "e00300de3e41d21113118d5085c93d37b1baaf36d426c7f75385cf01b9032990";

#[tokio::test]
async fn secrets_sign_verify() {
    let open = Scene::of(guests::SECRETS_SIGN_VERIFY).open().await;
    let signed = open.output("sign", json!({"name": "signing", "data": "data"})).await;
    assert_eq!(signed, json!(MAC));
    for (algorithm, digits) in [("sha1", 40), ("sha256", 64), ("sha512", 128)] {
        let mac = open.output("sign", json!({"name": "signing", "algorithm": algorithm, "data": "data"})).await;
        assert_eq!(mac.as_str().unwrap().len(), digits, "{algorithm}");
    }
    assert_eq!(open.output("is-available", json!({"name": "signing"})).await, json!(true));
    let mac = "46b1a204aa8d03abea1e7520633e7dbc3b299cbf062ea081bdf43e894f48e25b";
    let verify = |mac: &str| json!({"name": "verifying", "data": "data", "mac": mac});
    assert_eq!(open.output("verify", verify(mac)).await, json!(true));
    for wrong in ["", "00", &mac.replace('a', "b"), &mac[2..]] {
        assert_eq!(open.output("verify", verify(wrong)).await, json!(false), "{wrong}");
    }
}

#[tokio::test]
async fn one_purpose_a_secret() {
    let open = Scene::of(guests::SECRETS_SIGN_VERIFY).open().await;
    for (operation, name) in [("sign", "verifying"), ("sign", "api_key"), ("verify", "signing"), ("verify", "api_key")]
    {
        let error = open.error(operation, json!({"name": name, "data": "data", "mac": MAC})).await;
        assert_eq!(*error.kind(), Kind::CredentialUnavailable, "{operation} with {name}");
    }
}

/// A raw hash works like a credential where a provider takes one for it: so only over what was granted.
#[tokio::test]
async fn r13_a_raw_mac_is_made_over_a_granted_template_only() {
    let open = Scene::of(guests::SECRETS_SIGN_VERIFY)
        .manifest_with("template = \"data*\"", "template = \"v1:*:end\"")
        .open()
        .await;
    for data in ["v1::end", "v1:anything:at:all:end"] {
        assert!(open.output("sign", json!({"name": "signing", "data": data})).await.is_string(), "{data}");
    }
    for data in ["", "data", "v1:end", "v1:x:end ", "eyJhbGciOiJIUzI1NiJ9.e30"] {
        let error = open.error("sign", json!({"name": "signing", "data": data})).await;
        assert_eq!(*error.kind(), Kind::PolicyDenied("secret".to_owned()), "{data}");
        let details = error.details().unwrap();
        assert!(details.contains("[secrets.signing]") && details.contains("\"v1:*:end\""), "{details}");
    }
}

#[tokio::test]
async fn a_secret_is_asked_for_its_own_functions_only() {
    let manifest = r#"purpose = "verify"
algorithms = ["hmac-sha512"]"#;
    let open = Scene::of(guests::SECRETS_SIGN_VERIFY)
        .manifest_with("\"hmac-sha1\", \"hmac-sha256\", ", "\"hmac-sha256\", ")
        .manifest_with("purpose = \"verify\"", manifest)
        .open()
        .await;
    for (operation, name, algorithm, is_allowed) in [
        ("sign", "signing", "sha1", false),
        ("sign", "signing", "sha256", true),
        ("verify", "verifying", "sha256", false),
        ("verify", "verifying", "sha512", true),
    ] {
        let input = json!({"name": name, "algorithm": algorithm, "data": "data", "mac": "00"});
        match open.call(operation, input).await {
            Ok(_) => assert!(is_allowed, "{operation} {algorithm}"),
            Err(error) => {
                assert!(
                    !is_allowed && error.details().unwrap().contains(&format!("[\"hmac-{algorithm}\"]")),
                    "{error:?}"
                );
            }
        }
    }
}

#[tokio::test]
async fn refused_and_unknown_sound_alike() {
    let open = Scene::of(guests::SECRETS_SIGN_VERIFY).grant(|connection| connection.secrets.clear()).open().await;
    let said = async |name: &str| {
        let error = open.error("sign", json!({"name": name, "data": "data"})).await;
        (error.kind().clone(), error.to_string().replace(name, "NAME"))
    };
    assert_eq!(said("signing").await, said("no-such-name").await);
    for name in ["signing", "api_key", "no-such-name"] {
        assert_eq!(open.output("is-available", json!({"name": name})).await, json!(false), "{name}");
    }
}

/// What the guest answers passes through its own hands, so a hash is all it can tell.
#[tokio::test]
async fn no_answer_holds_a_value() {
    let open = Scene::of(guests::SECRETS_SIGN_VERIFY).open().await;
    for name in ["api_key", "signing", "verifying", "user"] {
        for operation in ["sign", "verify", "is-available"] {
            let said = format!("{:?}", open.call(operation, json!({"name": name, "data": "", "mac": ""})).await);
            assert!(!said.contains(API_KEY) && !said.contains(SIGNING), "{operation} {name}: {said}");
        }
    }
}

const TOKENS: &str = r#"algorithms = ["hmac-sha1", "hmac-sha256", "hmac-sha512"]
template = "data*""#;

/// The secret `signing` makes tokens for `api`.
fn making() -> Scene {
    let jwt =
        "jwt = { algorithm = \"HS256\", key_id = \"k1\", issuer = \"app\", lifetime_s = 600, origins = [\"api\"] }";
    Scene::of(guests::SECRETS_JWT).manifest_with(TOKENS, jwt)
}

fn claims_of(token: &str) -> Value {
    let part = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

#[tokio::test]
async fn secrets_jwt() {
    let clock = ManualClock::skipping(Timestamp::from_millis(1_000_000), 1);
    let provider = Provider::answering(|seen| Reply::status(200).body(seen.text())).await;
    let open = making().with(&provider).clock(&clock).open().await;
    let input = json!({"name": "signing", "claims": {"sub": "me"}, "url": "{api}/x"});
    let told = open.output("make-and-send", input).await;
    assert_eq!(told["handle"], "jwt:1");
    let seen = provider.seen().pop().unwrap();
    let token = seen.header("authorization").unwrap().strip_prefix("Bearer ").unwrap().to_owned();
    assert_eq!(claims_of(&token), json!({"sub": "me", "iss": "app", "iat": 970, "exp": 1600}));
    // The provider sent it back, and the plugin got nothing of it.
    let signature = token.rsplit('.').next().unwrap();
    let shown = format!("{told} {:?}", open.steps());
    assert!(shown.contains("[masked]") && !shown.contains(signature) && !shown.contains(SIGNING), "{shown}");
    assert!(
        open.steps().iter().any(|step| matches!(step, PathEvent::Signed { credential, .. } if credential == "jwt:1"))
    );
}

/// R13: what works like a credential has a name and no value, and its name leads nowhere else.
#[tokio::test]
async fn r13_a_made_token_is_a_handle_of_its_call() {
    let (api, other) = (Provider::scripted([Reply::status(200)]).await, Provider::scripted([Reply::status(200)]).await);
    let open = making().with(&api).at("other", &other.url()).open().await;
    assert_eq!(
        open.output("make", json!({"name": "signing", "claims": {}, "times": 2})).await,
        json!(["jwt:1", "jwt:2"])
    );
    let denied = |rule: &str| Kind::PolicyDenied(rule.to_owned());
    let elsewhere = json!({"name": "signing", "claims": {}, "url": "{other}/x"});
    let error = open.error("make-and-send", elsewhere).await;
    assert_eq!((error.kind(), error.request_sent()), (&denied("credential"), RequestSent::No));
    assert_eq!((api.count(), other.count()), (0, 0));
    let too_many = open.error("make", json!({"name": "signing", "claims": {}, "times": 9})).await;
    assert_eq!(*too_many.kind(), Kind::LimitExceeded("made_tokens".to_owned()));
    for (claims, expected) in [
        (json!({"iss": "somebody else"}), denied("secret")),
        (json!([]), Kind::InvalidRequest(Vec::new())),
        (json!({"exp": 9_999_999_999_u64}), Kind::InvalidRequest(Vec::new())),
        (json!({"iat": 1}), Kind::InvalidRequest(Vec::new())),
        (json!({"x": "x".repeat(9_000)}), Kind::LimitExceeded("claims_bytes".to_owned())),
    ] {
        let error = open.error("make", json!({"name": "signing", "claims": claims})).await;
        assert_eq!(error.kind().name(), expected.name(), "{claims}: {error:?}");
    }
    // One use a secret: no hash with the key of tokens, no token with the key of hashes.
    for name in ["verifying", "api_key", "no-such-name"] {
        let error = open.error("make", json!({"name": name, "claims": {}})).await;
        assert_eq!(*error.kind(), Kind::CredentialUnavailable, "{name}");
    }
    let plain = Scene::of(guests::SECRETS_JWT).open().await;
    let error = plain.error("make", json!({"name": "signing", "claims": {}})).await;
    assert_eq!(*error.kind(), denied("secret"));
}

/// Made by openssl: a key, and what it signed: iss https://issuer.test, aud us and them, exp 2000, nbf 1000, scope
/// "read write".
pub(crate) const MODULUS: &str = "prF_VhzdlbfqEMauGoIhfVcPM4UGiPeExkg_7D5uqgZk_XBGieSvlAwCNrZIC6NhQdilnl1DpERNEb_CSQpj-3dfx4yMp0WXryLqEV_Xw9NSd-wFFIVb3boF7g317Oz4uXS2JfCHK_U1t5ZjMpm0_G5V3dzxzT6n4UN8uUu5Avb2N8GhBtGHNppIucBZynhXz5z9ksxIymwRp83djxKg1hQ2ZIfcCNEt2aJ_mcHAPMdEdljl2YUmGauzjvretUMIhtZa8D-xBL38l0q0EWJKWjbEVAM2Faz3DlHkJHCwRjSnnnO9R7vrvWf0tCFuAEf4DIoTfmIe8-tTpepmh1a74w";
pub(crate) const RS256: &str = "eyJhbGciOiJSUzI1NiIsImtpZCI6ImsxIn0.eyJpc3MiOiJodHRwczovL2lzc3Vlci50ZXN0IiwiYXVkIjpbInVzIiwidGhlbSJdLCJleHAiOjIwMDAsIm5iZiI6MTAwMCwic2NvcGUiOiJyZWFkIHdyaXRlIn0.C5gr25JKFTbI6J-raF3HN9ixx-nqPSiq4TsGhMHRnjiq6kBjDMQlXcSyYH5sXoKMbMadzbUWmwLgwDbFfyJ3-zgx6Vho4-57onohekdy4BmEqC81ACuFS5KG1TjuZaE2J2pNrEMzNAsUYJXBIFn3TAsXvWH5U-fEs4DzuQ8-hWGOZcCdafpsRbt3BHZyMj8XRdZxxjfkUst7WbaL6voLUywuZA7Ik4jfbwIf60S3vwNXZYb0au5uylUot9P2M8GXl-E5buxtkE0vRRVjxb_whVH_Ruc0oz3AkPG38bCE05T7zCYV7ax04JUE7BHeyfGSZ5c2sFRkaVTZRoPfK8KaNg";

#[tokio::test]
async fn a_token_is_checked_with_the_providers_keys_which_are_asked_for_once() {
    let clock = ManualClock::skipping(Timestamp::from_millis(1_500_000), 1);
    let set = json!({"keys": [{"kty": "RSA", "kid": "k1", "alg": "RS256", "n": MODULUS, "e": "AQAB"}]});
    let keys = Provider::scripted([Reply::status(200).body(set.to_string())]).await;
    let manifest = r#"
[secrets.tokens]
purpose = "verify"
[secrets.tokens.jwt]
algorithm = "RS256"
issuer = "https://issuer.test"
audience = ["us"]
jwks = "{keys}/jwks"
"#;
    let scene = Scene::of(guests::SECRETS_JWT).manifest(KEYS).manifest(manifest).at("keys", &keys.url()).clock(&clock);
    let open = scene.grant(|connection| connection.secrets.push("tokens".to_owned())).open().await;
    assert_eq!(open.output("is-available", json!({"name": "tokens"})).await, json!(true));
    assert_eq!(keys.count(), 0);
    for _ in 0..3 {
        let said = open.output("verify", json!({"name": "tokens", "token": RS256})).await;
        assert_eq!(serde_json::from_str::<Value>(said.as_str().unwrap()).unwrap()["scope"], "read write");
    }
    assert_eq!(keys.count(), 1);
    // R20: whoever makes key ids up makes the host ask once a minute.
    let unknown =
        format!("{}.{}", URL_SAFE_NO_PAD.encode(r#"{"alg":"RS256","kid":"k2"}"#), RS256.split_once('.').unwrap().1);
    for (advance_ms, asked) in [(0, 1), (59_999, 1), (1, 2), (59_999, 2)] {
        clock.advance(advance_ms);
        let error = open.error("verify", json!({"name": "tokens", "token": unknown})).await;
        assert!(error.message().contains("`kid`"), "{error:?}");
        assert_eq!(keys.count(), asked, "after {advance_ms} ms");
    }
    for (token, said) in [("", "is none"), (&*RS256.replace("eyJpc3M", "eyJpc3N"), "not signed with the key")] {
        let error = open.error("verify", json!({"name": "tokens", "token": token})).await;
        assert!(matches!(error.kind(), Kind::InvalidRequest(_)) && error.message().contains(said), "{error:?}");
    }
    clock.advance(3_600_000);
    let error = open.error("verify", json!({"name": "tokens", "token": RS256})).await;
    assert!(error.message().contains("has ended"), "{error:?}");
    assert_eq!(keys.count(), 3, "an hour later the keys are read anew");
}

/// Made by openssl with the key `shared-secret-of-the-test`, of the same claims.
pub(crate) const HS256: &str = "eyJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJodHRwczovL2lzc3Vlci50ZXN0IiwiYXVkIjpbInVzIiwidGhlbSJdLCJleHAiOjIwMDAsIm5iZiI6MTAwMCwic2NvcGUiOiJyZWFkIHdyaXRlIn0.gcJP9-7HKqwMn8CUu6bLqEOFZyQ5vXzezbsV_9lZiXU";

/// The secret `tokens` in this folder, which checks tokens by itself and is being changed: none of them is signed with the
/// current version.
pub(crate) fn changing_key(folder: &std::path::Path, beside: &str) -> (&'static str, SecretSource) {
    let path = folder.join("tokens");
    secret_file(&path, "another-secret-of-the-test");
    secret_file(&folder.join(format!("tokens.{beside}")), "shared-secret-of-the-test");
    let manifest = r#"
[secrets.tokens]
purpose = "verify"
jwt = { algorithm = "HS256", issuer = "https://issuer.test", audience = ["us"] }
"#;
    (manifest, SecretSource::File(path))
}

#[tokio::test]
async fn a_token_is_checked_with_every_version_of_a_key() {
    for beside in ["next", "previous"] {
        let folder = tempfile::tempdir().unwrap();
        let (manifest, source) = changing_key(folder.path(), beside);
        let clock = ManualClock::skipping(Timestamp::from_millis(1_500_000), 1);
        let host = Host::builder().clock(clock).build().unwrap();
        let scene = Scene::of(guests::SECRETS_JWT).manifest(manifest);
        let scene = scene.grant(|connection| connection.secrets.push("tokens".to_owned()));
        let plugin = scene.connect(&host, &Account::default().with_secret("tokens", source)).await.unwrap();
        let token = json!({"name": "tokens", "token": HS256});
        let said = plugin.call::<String>("verify", &token).await.unwrap().output;
        assert!(said.contains("read write"), "{beside}: {said}");
        let strange = json!({"name": "tokens", "token": HS256.replace("gcJP9", "gcJP8")});
        let error = plugin.call::<String>("verify", &strange).await.unwrap_err();
        assert!(error.message().contains("not signed with the key"), "{beside}: {error}");
    }
}

/// A credential that an origin can do without is left away where nobody gave it, and only there: what is said to be in one
/// place and is not, is missed. Who is refused without it reads how to have it.
#[tokio::test]
async fn a_credential_that_is_optional_goes_along_where_it_was_given() {
    let provider = Provider::answering(|seen| match seen.target.as_str() {
        "/public" => Reply::status(200).header("cache-control", "max-age=60"),
        _ => Reply::status(404),
    })
    .await;
    let optional = |is_granted: bool| {
        let scene = Scene::of(guests::HTTP_SEND).with(&provider);
        let scene = scene.manifest_with("credential = \"key\"", "credential = \"key\"\ncredential_optional = true");
        scene.grant(move |connection| connection.secrets.retain(|name| is_granted || name != "api_key"))
    };
    let host = Host::builder().build().unwrap();
    let carried = || provider.seen().last().unwrap().header("authorization").map(str::to_owned);
    let send = |plugin: Plugin, target: &'static str| async move {
        plugin.call::<Value>("send", &json!({"url": format!("{{api}}{target}")})).await
    };

    let given = Account::default().with_secret("api_key", SecretSource::Value(SecretValue::new(API_KEY)));
    send(optional(true).connect(&host, &given).await.unwrap(), "/public").await.unwrap();
    assert_eq!(carried(), Some(format!("App {API_KEY}")));
    let missing = SecretSource::Env("WHARFAGE_TESTS_NOBODY_SETS_THIS".to_owned());
    let stated = Account::default().with_secret("api_key", missing);
    let error = send(optional(true).connect(&host, &stated).await.unwrap(), "/public").await.unwrap_err();
    assert_eq!((error.kind(), error.request_sent()), (&Kind::CredentialUnavailable, RequestSent::No));

    for (is_granted, help) in [
        (true, "set the environment variable HTTP_SEND_API_KEY"),
        (false, "secrets = [\"signing\", \"user\", \"verifying\", \"api_key\"]"),
    ] {
        let plugin = optional(is_granted).connect(&host, &Account::default()).await.unwrap();
        let before = provider.count();
        for _ in 0..2 {
            send(plugin.clone(), "/public").await.unwrap();
        }
        assert_eq!((carried(), provider.count()), (None, before + 1), "what is answered without it is kept as well");
        let error = send(plugin, "/private").await.unwrap_err();
        assert_eq!(*error.kind(), Kind::NotFound);
        let details = error.details().unwrap();
        assert!(details.contains("asked without the credential `key`") && details.contains(help), "{details}");
    }
    // Where the origin does not say so, nothing leaves.
    let strict = Scene::of(guests::HTTP_SEND).with(&provider).grant(|connection| connection.secrets.clear());
    let error = send(strict.connect(&host, &Account::default()).await.unwrap(), "/public").await.unwrap_err();
    assert_eq!(*error.kind(), Kind::CredentialUnavailable);
}
