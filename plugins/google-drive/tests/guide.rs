//! What went wrong in the guide's own Google client, and must not here.

const MANIFESTS: [&str; 3] = [
    include_str!("../plugin.toml"),
    include_str!("../../google-docs/plugin.toml"),
    include_str!("../../google-sheets/plugin.toml"),
];

/// What is asked for: the first of the scopes that serve an operation or a poll.
fn asked(manifest: &str) -> Vec<&str> {
    let lists = manifest.split("\nscopes = [").skip(1);
    lists
        .filter_map(|list| list.split('"').find_map(|word| word.strip_prefix("https://www.googleapis.com/auth/")))
        .collect()
}

/// What went wrong: a broad scope was asked for together with a narrow one that it holds, so a person agreed to more than
/// was used and the narrow one said nothing.
#[test]
fn guide_s20_no_scope_holds_another() {
    for manifest in MANIFESTS {
        let asked = asked(manifest);
        assert!(!asked.is_empty() && !asked.contains(&"drive"), "`drive` holds all of {asked:?}");
    }
}

/// What went wrong: a refresh token came with the first consent only, and was lost with it (the guide's own warning, item 82).
/// And the five plugins must say the same, or one consent does not serve them all.
#[test]
fn one_consent_serves_all_and_comes_with_a_refresh_token() {
    let sign_in = |manifest: &'static str| -> Vec<&'static str> {
        let from = manifest.find("[credentials.google]").unwrap();
        let keys = [
            "scheme",
            "flow",
            "authorize",
            "token",
            "revoke",
            "client_id",
            "secret",
            "client_auth",
            "authorize_params",
        ];
        let is_shared = |line: &&str| keys.iter().any(|key| line.split(" = ").next() == Some(*key));
        manifest[from..].lines().take_while(|line| !line.starts_with("[budgets")).filter(is_shared).collect()
    };
    let first = sign_in(MANIFESTS[0]);
    assert_eq!(first.len(), 9);
    assert!(
        first.iter().any(|line| line.contains("access_type = \"offline\"") && line.contains("prompt = \"consent\""))
    );
    assert!(MANIFESTS.iter().all(|manifest| sign_in(manifest) == first));
}
