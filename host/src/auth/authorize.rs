//! A person's sign-in with a redirect (RFC 6749, 4.1): the address to open, and what to make of where it leads back.
//!
//! Pure: random bytes, time and the redirected address are handed in. What it promises: PKCE with S256 always (RFC 7636),
//! a `state` that is compared in constant time and good for one answer within [`SIGN_IN_MS`], and that an address which
//! is not this sign-in's answer changes nothing, so that whoever waits can go on waiting.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use url::Url;
use zeroize::Zeroizing;

use super::oauth2::separator;
use crate::auth::facts::Oauth2Facts;
use crate::error::{Error, Kind, Result};
use crate::text::shown;
use crate::time::Timestamp;

/// Milliseconds after which a sign-in's answer is not taken any more.
pub(crate) const SIGN_IN_MS: u64 = 10 * 60 * 1000;

/// Random bytes that a sign-in takes: 32 for the verifier, 16 for the `state`.
pub(crate) const RANDOM_BYTES: usize = 48;

/// Most bytes of a redirected address.
pub(crate) const REDIRECTED_BYTES_MAX: usize = 16 << 10;

/// Most bytes of a kept parameter.
const CAPTURED_BYTES_MAX: usize = 1 << 10;

/// What the host itself says in the sign-in address. A manifest's `authorize_params` cannot say otherwise.
pub(crate) const OWN_PARAMS: [&str; 7] =
    ["response_type", "client_id", "redirect_uri", "scope", "state", "code_challenge", "code_challenge_method"];

/// A sign-in that waits for its answer. It has no `Debug`, for it holds the verifier and the `state`.
pub(crate) struct Pending {
    verifier: Zeroizing<String>,
    state: Zeroizing<String>,
    redirect: Url,
    issuer: Option<String>,
    capture: Vec<String>,
    until: Timestamp,
    is_used: bool,
}

/// What a sign-in answered: what the token endpoint wants to have.
pub(crate) struct Answered {
    /// The code.
    pub(crate) code: Zeroizing<String>,
    /// The verifier of its challenge.
    pub(crate) verifier: Zeroizing<String>,
    /// The redirect address, as it was in the sign-in address.
    pub(crate) redirect: String,
    /// The parameters of the redirect that the manifest wants kept.
    pub(crate) captured: BTreeMap<String, String>,
}

/// Why a redirected address is not the answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// It is too long to be one.
    TooLong,
    /// It is no address at all, or another than the redirect address.
    Elsewhere,
    /// It answers another sign-in, or none: the `state` is not ours.
    Foreign,
    /// It answers this sign-in, which has had its answer.
    Again,
    /// It comes too late.
    Late,
    /// It has a parameter twice, so that nobody can say which one counts.
    Twice(&'static str),
    /// It has neither a code nor an error.
    Nothing,
    /// It names another authorization server than the manifest (RFC 9207).
    Issuer(String),
    /// The provider, or the person, refused.
    Provider {
        /// OAuth's code.
        code: String,
        /// The provider's words.
        words: Option<String>,
    },
}

impl Pending {
    /// Begins a sign-in that leads back to `redirect`.
    pub(crate) fn new(facts: &Oauth2Facts, redirect: Url, random: &[u8; RANDOM_BYTES], now: Timestamp) -> Self {
        let (verifier, state) = random.split_at(32);
        Self {
            verifier: Zeroizing::new(URL_SAFE_NO_PAD.encode(verifier)),
            state: Zeroizing::new(URL_SAFE_NO_PAD.encode(state)),
            redirect,
            issuer: facts.issuer.clone(),
            capture: facts.capture.clone(),
            until: now.plus(SIGN_IN_MS),
            is_used: false,
        }
    }

    /// The address that a person opens. What `endpoint` has as its query stays, unless the manifest or the host says it.
    pub(crate) fn address(&self, endpoint: &Url, facts: &Oauth2Facts, client_id: &str, scopes: &[String]) -> Url {
        let scope = scopes.join(separator(facts));
        let challenge = challenge(&self.verifier);
        let mut own: Vec<(&str, &str)> = vec![
            ("response_type", "code"),
            ("client_id", client_id),
            ("redirect_uri", self.redirect.as_str()),
            ("state", &self.state),
            ("code_challenge", &challenge),
            ("code_challenge_method", "S256"),
        ];
        if !scope.is_empty() {
            own.insert(3, ("scope", &scope));
        }
        let params = &facts.authorize_params;
        let is_own = |name: &str| OWN_PARAMS.contains(&name);
        let kept: Vec<(String, String)> = endpoint
            .query_pairs()
            .into_owned()
            .filter(|(name, _)| !is_own(name) && !params.contains_key(name))
            .collect();
        let mut address = endpoint.clone();
        address.set_fragment(None);
        address.set_query(None);
        address
            .query_pairs_mut()
            .extend_pairs(kept)
            .extend_pairs(own)
            .extend_pairs(params.iter().filter(|(name, _)| !is_own(name)));
        // A space as `%20` is understood by everybody, as a plus sign not; a real plus sign is written `%2B` here.
        let query = address.query().map(|query| query.replace('+', "%20"));
        address.set_query(query.as_deref());
        address
    }

    /// The redirect address.
    pub(crate) fn redirect(&self) -> &Url {
        &self.redirect
    }

    /// Judges an address to which a browser was sent. A code, a provider's refusal and a foreign issuer end the sign-in;
    /// everything else leaves it as it is.
    pub(crate) fn judge(&mut self, redirected: &str, now: Timestamp) -> Result<Answered, Refused> {
        if redirected.len() > REDIRECTED_BYTES_MAX {
            return Err(Refused::TooLong);
        }
        let Ok(url) = Url::parse(redirected.trim()) else { return Err(Refused::Elsewhere) };
        let is_here = url.scheme() == self.redirect.scheme()
            && url.host() == self.redirect.host()
            && url.port_or_known_default() == self.redirect.port_or_known_default()
            && url.path() == self.redirect.path();
        if !is_here {
            return Err(Refused::Elsewhere);
        }
        let pairs: Vec<(String, Zeroizing<String>)> =
            url.query_pairs().map(|(name, value)| (name.into_owned(), Zeroizing::new(value.into_owned()))).collect();
        let all = |wanted: &str| -> Vec<&Zeroizing<String>> {
            pairs.iter().filter(|(name, _)| name == wanted).map(|(_, value)| value).collect()
        };
        for name in ["state", "code", "error", "iss"] {
            if all(name).len() > 1 {
                return Err(Refused::Twice(name));
            }
        }
        let one = |name: &str| all(name).first().copied().filter(|value| !value.is_empty());
        let is_ours = one("state").is_some_and(|state| is_same(state, &self.state));
        if !is_ours {
            return Err(Refused::Foreign);
        }
        if self.is_used {
            return Err(Refused::Again);
        }
        if now >= self.until {
            return Err(Refused::Late);
        }
        if let (Some(issuer), Some(own)) = (one("iss"), &self.issuer)
            && issuer.as_str() != own
        {
            self.is_used = true;
            return Err(Refused::Issuer(shown(issuer)));
        }
        if let Some(code) = one("error") {
            self.is_used = true;
            let words = one("error_description").map(|words| shown(words));
            return Err(Refused::Provider { code: shown(code), words });
        }
        let Some(code) = one("code") else { return Err(Refused::Nothing) };
        self.is_used = true;
        let captured = self.capture.iter().filter_map(|name| {
            let value = one(name).filter(|value| value.len() <= CAPTURED_BYTES_MAX)?;
            Some((name.clone(), value.to_string()))
        });
        Ok(Answered {
            code: code.clone(),
            verifier: self.verifier.clone(),
            redirect: self.redirect.as_str().to_owned(),
            captured: captured.collect(),
        })
    }
}

impl Refused {
    /// Whether the sign-in is over. Otherwise the right answer may still come.
    pub(crate) fn is_final(&self) -> bool {
        matches!(self, Self::Again | Self::Late | Self::Issuer(_) | Self::Provider { .. })
    }

    /// The refusal in words, with what to do next. `again` is the command that begins a new sign-in.
    pub(crate) fn error(&self, redirect: &Url, again: &str) -> Error {
        let (kind, message, next) = match self {
            Self::TooLong => (
                input(),
                format!("the address is longer than the limit redirected_bytes_max of {REDIRECTED_BYTES_MAX}"),
                format!("Copy the address of the page that the sign-in ended on; it begins with {redirect}"),
            ),
            Self::Elsewhere => (
                input(),
                "this is not the address that the sign-in leads back to".to_owned(),
                format!("Copy the whole address from the browser's address line; it begins with {redirect}"),
            ),
            Self::Foreign => (
                input(),
                "this is the answer to another sign-in, or to none".to_owned(),
                format!(
                    "Nothing was taken from it. Finish the sign-in in the page that was opened last, or begin again:   {again}"
                ),
            ),
            Self::Again => (
                input(),
                "this sign-in has had its answer, and an answer counts once".to_owned(),
                format!("If it did not end well, begin again:   {again}"),
            ),
            Self::Late => (
                Kind::Timeout,
                format!("this sign-in began more than {} minutes ago", SIGN_IN_MS / 60_000),
                format!("Begin again:   {again}"),
            ),
            Self::Twice(name) => (
                input(),
                format!("the address has `{name}` twice, so that nobody can say which one counts"),
                format!(
                    "Nothing was taken from it. If the provider sends it so, report it; else begin again:   {again}"
                ),
            ),
            Self::Nothing => (
                input(),
                "the address holds neither a code nor an error".to_owned(),
                format!("It may have been cut: copy it whole, or begin again:   {again}"),
            ),
            Self::Issuer(issuer) => (
                Kind::Unauthorized,
                format!("the answer comes from `{issuer}`, which is not the authorization server of the manifest"),
                format!("Nothing was sent there. Begin again, and look where the page leads:   {again}"),
            ),
            Self::Provider { code, words } => return provider_error(code, words.as_deref(), again),
        };
        Error::new(kind, message).with_details(next)
    }
}

/// OAuth's refusal of a sign-in (RFC 6749, 4.1.2.1) in words, with what to do next.
fn provider_error(code: &str, words: Option<&str>, again: &str) -> Error {
    let (kind, message, next) = match code {
        "access_denied" => (
            Kind::Forbidden,
            "the sign-in was refused, by the person or by the provider",
            "Agree to what is asked for, or ask for less: scopes = [\"…\"] in [accounts.<name>]",
        ),
        "invalid_scope" => (
            Kind::Configuration,
            "the provider does not know a scope that was asked for, or does not give it to this client",
            "Ask for less: scopes = [\"…\"] in [accounts.<name>]",
        ),
        "unauthorized_client" | "unsupported_response_type" => (
            Kind::Configuration,
            "the provider does not let this client sign people in",
            "Look at the client's settings at the provider: is it made for a web or desktop program?",
        ),
        "invalid_request" => (
            Kind::Configuration,
            "the provider did not understand the sign-in address",
            "Most often the redirect address is not registered there letter by letter: redirect = \"…\" in [accounts.<name>]",
        ),
        "server_error" | "temporarily_unavailable" => {
            (Kind::Transient, "the provider has trouble of its own", "Wait a little")
        }
        _ => (Kind::ProviderReported, "the provider refused the sign-in", "Its words may say why"),
    };
    let mut error = Error::new(kind, message).with_provider_code(Some(code.to_owned()));
    if let Some(words) = words {
        error = error.with_details(format!("The provider says: {words}"));
    }
    error.with_details(format!("{next}. Then begin again:   {again}"))
}

fn input() -> Kind {
    Kind::InvalidRequest(Vec::new())
}

/// The challenge that S256 makes of a verifier (RFC 7636, 4.2).
fn challenge(verifier: &str) -> String {
    URL_SAFE_NO_PAD.encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, verifier.as_bytes()))
}

/// Whether they are the same, in a time that does not tell where they differ.
fn is_same(a: &str, b: &str) -> bool {
    aws_lc_rs::constant_time::verify_slices_are_equal(a.as_bytes(), b.as_bytes()).is_ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_000_000);
    const REDIRECT: &str = "http://127.0.0.1:4000/callback";

    fn facts(more: &str) -> Oauth2Facts {
        let text = "token='{auth}/token'\nauthorize='{auth}/a'\nclient_id='id'\norigins=['api']\n";
        toml::from_str(&format!("{text}{more}")).unwrap()
    }

    fn pending(more: &str) -> Pending {
        let mut random = [0; RANDOM_BYTES];
        random.iter_mut().zip(0..).for_each(|(byte, at)| *byte = at);
        Pending::new(&facts(more), Url::parse(REDIRECT).unwrap(), &random, NOW)
    }

    fn answer(pending: &Pending, rest: &str) -> String {
        format!("{REDIRECT}?state={}{rest}", *pending.state)
    }

    fn refused(pending: &mut Pending, redirected: &str) -> Refused {
        match pending.judge(redirected, NOW) {
            Ok(_) => panic!("{redirected} is taken"),
            Err(refused) => refused,
        }
    }

    #[test]
    fn the_challenge_is_rfc_7636_appendix_b() {
        let verifier = [
            116, 24, 223, 180, 151, 153, 224, 37, 79, 250, 96, 125, 216, 173, 187, 186, 22, 212, 37, 77, 105, 214, 191,
            240, 91, 88, 5, 88, 83, 132, 141, 121,
        ];
        let mut random = [0; RANDOM_BYTES];
        random[..32].copy_from_slice(&verifier);
        let pending = Pending::new(&facts(""), Url::parse(REDIRECT).unwrap(), &random, NOW);
        assert_eq!(pending.verifier.as_str(), "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk");
        assert_eq!(challenge(&pending.verifier), "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
    }

    #[test]
    fn the_address_says_what_the_manifest_says_and_nothing_against_the_host() {
        let facts =
            facts("scope_separator=','\n[authorize_params]\nprompt='consent'\nstate='fixed'\naccess_type='offline'");
        let pending = pending("");
        let endpoint = Url::parse("https://auth.test/a?tenant=a+b&prompt=none&scope=all#x").unwrap();
        let scopes = ["read orders".to_owned(), "write".to_owned()];
        let address = pending.address(&endpoint, &facts, "the id", &scopes);
        assert_eq!(
            address.as_str(),
            format!(
                "https://auth.test/a?tenant=a%20b&response_type=code&client_id=the%20id\
                 &redirect_uri=http%3A%2F%2F127.0.0.1%3A4000%2Fcallback&scope=read%20orders%2Cwrite&state={}\
                 &code_challenge={}&code_challenge_method=S256&access_type=offline&prompt=consent",
                *pending.state,
                challenge(&pending.verifier)
            )
        );
        assert!(!address.as_str().contains(pending.verifier.as_str()));
        let bare = pending.address(&endpoint, &self::facts(""), "id", &[]);
        assert!(!bare.as_str().contains("scope="), "{bare}");
    }

    #[test]
    fn the_right_answer_is_taken_once() {
        let mut pending = pending("capture=['realmId','absent']");
        let right = answer(&pending, "&code=the%20code&realmId=4620816365&other=1");
        let granted = pending.judge(&format!("  {right}\n"), NOW).ok().unwrap();
        assert_eq!((granted.code.as_str(), granted.redirect.as_str()), ("the code", REDIRECT));
        assert_eq!(granted.captured, BTreeMap::from([("realmId".to_owned(), "4620816365".to_owned())]));
        assert_eq!(granted.verifier, pending.verifier);
        assert_eq!(refused(&mut pending, &right), Refused::Again);
    }

    /// The guide's callback took the first request to any path, had no `state` to compare and did not look at `error=`.
    #[test]
    fn guide_s18_a_callback_that_is_not_the_answer_takes_nothing() {
        let mut pending = pending("issuer='https://auth.test'");
        let state = pending.state.to_string();
        for (redirected, wanted) in [
            (format!("http://127.0.0.1:4000/favicon.ico?state={state}&code=c"), Refused::Elsewhere),
            (format!("http://127.0.0.1:4000/callback/?state={state}&code=c"), Refused::Elsewhere),
            (format!("http://127.0.0.1:4001/callback?state={state}&code=c"), Refused::Elsewhere),
            (format!("https://127.0.0.1:4000/callback?state={state}&code=c"), Refused::Elsewhere),
            (format!("http://localhost:4000/callback?state={state}&code=c"), Refused::Elsewhere),
            ("no address".to_owned(), Refused::Elsewhere),
            (String::new(), Refused::Elsewhere),
            (format!("{REDIRECT}?code=c"), Refused::Foreign),
            (format!("{REDIRECT}?code=c&state="), Refused::Foreign),
            (format!("{REDIRECT}?code=c&state={}", state.to_uppercase()), Refused::Foreign),
            (format!("{REDIRECT}?code=c&state={state}x"), Refused::Foreign),
            (format!("{REDIRECT}?error=access_denied"), Refused::Foreign),
            (format!("{REDIRECT}?code=c&state=other&state={state}"), Refused::Twice("state")),
            (format!("{REDIRECT}?state={state}&code=c&code=d"), Refused::Twice("code")),
            (format!("{REDIRECT}?state={state}"), Refused::Nothing),
            (format!("{REDIRECT}?state={state}&code="), Refused::Nothing),
            (format!("{REDIRECT}?state={state}&code={}", "c".repeat(REDIRECTED_BYTES_MAX)), Refused::TooLong),
        ] {
            let refusal = refused(&mut pending, &redirected);
            assert_eq!(refusal, wanted, "{redirected}");
            assert!(!refusal.is_final());
            let error = refusal.error(pending.redirect(), "wharfage connect acme");
            assert!(error.details().is_some_and(|next| next.contains("acme") || next.contains(REDIRECT)), "{error}");
            assert!(!error.to_string().contains(&state), "{error}");
        }
        assert!(pending.judge(&answer(&pending, "&code=c&iss=https://auth.test"), NOW).is_ok(), "nothing was lost");
    }

    #[test]
    fn an_answer_that_is_late_or_from_elsewhere_or_a_refusal_ends_the_sign_in() {
        let mut late = pending("");
        let right = answer(&late, "&code=c");
        assert_eq!(late.judge(&right, NOW.plus(SIGN_IN_MS)).err(), Some(Refused::Late));
        assert!(late.judge(&right, NOW.plus(SIGN_IN_MS - 1)).is_ok());

        let mut foreign = pending("issuer='https://auth.test'");
        let mixed_up = answer(&foreign, "&code=c&iss=https://evil.test");
        assert_eq!(refused(&mut foreign, &mixed_up), Refused::Issuer("https://evil.test".to_owned()));
        assert_eq!(refused(&mut foreign, &mixed_up), Refused::Again);
        let mut unnamed = pending("");
        let right = answer(&unnamed, "&code=c&iss=https://any.test");
        assert!(unnamed.judge(&right, NOW).is_ok(), "without one in the manifest there is nothing to compare");

        let mut denied = pending("");
        let said = answer(&denied, "&error=access_denied&error_description=No%1b[2J%0Aentry&code=c");
        let refusal = refused(&mut denied, &said);
        assert!(refusal.is_final());
        let error = refusal.error(denied.redirect(), "wharfage connect acme");
        assert_eq!((error.kind(), error.provider_code()), (&Kind::Forbidden, Some("access_denied")));
        let text = error.to_string();
        assert!(
            text.contains("The provider says: No\u{fffd}[2J\u{fffd}entry") && text.contains("wharfage connect acme")
        );
        assert!(text.chars().all(|c| c == '\n' || !c.is_control()), "{text:?}");
        assert_eq!(refused(&mut denied, &said), Refused::Again);
    }

    #[test]
    fn every_refusal_of_the_specification_is_said_in_words() {
        for (code, kind) in [
            ("access_denied", Kind::Forbidden),
            ("invalid_scope", Kind::Configuration),
            ("unauthorized_client", Kind::Configuration),
            ("unsupported_response_type", Kind::Configuration),
            ("invalid_request", Kind::Configuration),
            ("server_error", Kind::Transient),
            ("temporarily_unavailable", Kind::Transient),
            ("anything_else", Kind::ProviderReported),
        ] {
            let error = provider_error(code, None, "again");
            assert_eq!((error.kind(), error.provider_code()), (&kind, Some(code)));
            assert!(error.details().unwrap().ends_with("again"), "{error}");
        }
    }

    proptest! {
        #[test]
        fn no_address_breaks_it_and_only_ours_is_taken(text in "\\PC{0,200}", query in "[a-z=&%0-9+]{0,80}") {
            let mut pending = pending("capture=['a']");
            for redirected in [text, format!("{REDIRECT}?{query}")] {
                prop_assert!(pending.judge(&redirected, NOW).is_err());
            }
            let right = answer(&pending, "&code=c");
            prop_assert!(pending.judge(&right, NOW).is_ok());
        }
    }
}
