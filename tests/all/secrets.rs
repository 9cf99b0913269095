//! `secrets`: what can be done with one without reading it.

use serde_json::json;
use wharfage::Kind;
use wharfage_tests::{API_KEY, SIGNING, Scene, guests};

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
