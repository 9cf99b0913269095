//! Connecting an account: a person's consent, or the client's own word, becomes tokens that the host keeps.
//!
//! [`Authorization`] is what [`Host::authorize`](crate::Host::authorize) gives. It offers the ways that a manifest
//! declares: a sign-in in a browser whose answer the host receives ([`LoopbackSignIn`]) or is handed ([`SignIn`]), a
//! sign-in on another device ([`DeviceSignIn`]), and none at all, where the client stands for itself. Each ends with the
//! tokens stored, and says what was granted of what was asked for. What a token is and how it is renewed is not this
//! file's.

use std::sync::Arc;

use url::Url;
use zeroize::Zeroizing;

use crate::account::Account;
use crate::auth::authorize::{Answered, Pending, RANDOM_BYTES, Refused};
use crate::auth::device::{self, DeviceAnswer};
use crate::auth::oauth2::{self, Connected, Consent, Exchange, Fixed};
use crate::auth::scopes;
use crate::connection::{Config, Connection};
#[cfg(feature = "serve")]
use crate::error::Kind;
use crate::error::{Error, Result};
use crate::grant::Grant;
use crate::host::{Host, Stated};
use crate::manifest::{CredentialFacts, Needs, Oauth2Facts, Oauth2Flow};
use crate::outbound::cache::KeptAnswers;
use crate::outbound::session::{self, Revoked, Session};
use crate::random;
#[cfg(feature = "serve")]
use crate::serve::callback::{Callback, Page, is_loopback};
use crate::time::Clock;
#[cfg(feature = "serve")]
use crate::time::Timestamp;
use crate::vault::Secrets;

/// Milliseconds that the host waits for a browser to come back.
#[cfg(feature = "serve")]
const WAIT_MS: u64 = 120_000;

/// Where a sign-in leads back to where the account does not say.
const REDIRECT: &str = "http://127.0.0.1:0/callback";

/// An account that can be connected, and disconnected.
///
/// ```no_run
/// # fn pasted() -> String { String::new() }
/// # async fn example(host: &wharfage::Host, config: &wharfage::Config) -> wharfage::Result<()> {
/// use wharfage::sign_in::SignInKind;
///
/// let account = host.authorize(config, "acme-orders", None).await?;
/// let connected = match account.kind() {
///     // With the feature `serve`, `listen` waits for the browser to come back by itself.
///     SignInKind::Browser => {
///         let mut sign_in = account.sign_in().await?;
///         println!("Open {} and paste the address that it ends at.", sign_in.link());
///         sign_in.finish(&pasted()).await?
///     }
///     SignInKind::Device => {
///         let sign_in = account.device().await?;
///         println!("Type {} at {}.", sign_in.user_code(), sign_in.address());
///         sign_in.wait().await?
///     }
///     _ => account.obtain().await?,
/// };
/// println!("{connected}");
/// # Ok(())
/// # }
/// ```
pub struct Authorization {
    session: Arc<Session>,
    secrets: Arc<Secrets>,
    connection: String,
    redirect: Url,
    consent: Consent,
    clock: Arc<dyn Clock>,
    kept: KeptAnswers,
}

debug_shows!(Authorization, |this| connection = this.connection);

/// How an account is connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SignInKind {
    /// A person signs in in a browser, which is sent back: `Authorization::listen` or [`Authorization::sign_in`].
    Browser,
    /// A person signs in on another device: [`Authorization::device`].
    Device,
    /// Nobody signs in: [`Authorization::obtain`].
    Direct,
}

/// How a disconnecting ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Disconnected {
    /// The provider revoked the tokens, and they are gone here.
    Revoked,
    /// The tokens are gone here; the manifest names no address for revoking them.
    RemovedLocally,
    /// The tokens are gone here; the provider could not be told, and this is why.
    RemovedLocallyUntold(Error),
    /// There were none.
    Nothing,
}

/// A sign-in in a browser, whose redirected address is handed in.
pub struct SignIn {
    session: Arc<Session>,
    secrets: Arc<Secrets>,
    clock: Arc<dyn Clock>,
    pending: Pending,
    link: Url,
    consent: Consent,
    again: String,
    is_over: bool,
}

debug_shows!(SignIn, |this| is_over = this.is_over);

/// A sign-in in a browser that the host waits for.
#[cfg(feature = "serve")]
pub struct LoopbackSignIn {
    sign_in: SignIn,
    callback: Callback,
    until: Timestamp,
}

#[cfg(feature = "serve")]
debug_shows!(LoopbackSignIn);

/// A sign-in on another device.
pub struct DeviceSignIn {
    session: Arc<Session>,
    clock: Arc<dyn Clock>,
    answer: DeviceAnswer,
    consent: Consent,
    again: String,
}

debug_shows!(DeviceSignIn);

impl Host {
    /// What connects the account of a connection, or disconnects it: its OAuth 2.0 credential's sign-in. `credential`
    /// chooses one where a plugin has several.
    ///
    /// # Errors
    /// As for [`Host::open`], and [`Kind::Configuration`](crate::Kind::Configuration) when the plugin has no such
    /// credential, or several and none is chosen.
    pub async fn authorize(&self, config: &Config, name: &str, credential: Option<&str>) -> Result<Authorization> {
        let stated = Stated::read_apart(config, name).await?;
        let needs = Needs::read(&stated.bytes)?;
        let holder = stated.holder;
        let grant = Grant::new(&needs, name, stated.connection, holder.account)?;
        let outbound = self.outbound(&needs, stated.digest, &grant, holder)?;
        let names: Vec<&str> = outbound.sessions.iter().map(|(name, _)| name.as_str()).collect();
        let wanted = match (credential, names.as_slice()) {
            (_, []) => {
                return Err(Error::configuration(format!("connection `{name}` has nothing to sign in for"))
                    .with_details(
                        "Its plugin declares no credential of the scheme oauth2, or its origins are not granted",
                    ));
            }
            (Some(wanted), _) => wanted,
            (None, [only]) => only,
            (None, [first, ..]) => {
                let message =
                    format!("connection `{name}` has several credentials to sign in for: {}", names.join(", "));
                let help = format!("Say which:   wharfage connect {name} --credential {first}");
                return Err(Error::configuration(message).with_details(help));
            }
        };
        let Some((chosen, session)) = outbound.sessions.iter().find(|(name, _)| name == wanted) else {
            let message = format!("connection `{name}` has no credential `{wanted}` to sign in for");
            return Err(Error::configuration(message).with_details(crate::text::suggestion(wanted, &names)));
        };
        let consent = consent(config, name, &needs, chosen)?;
        // What was answered to its tokens: all connections of the account have them.
        let sharing = config.connections.iter().filter(|(other, connection)| {
            other.as_str() == name
                || (holder.account_name.is_some() && connection.account.as_deref() == holder.account_name)
        });
        let lineages = sharing.map(|(other, _)| self.lineage(other, chosen)).collect();
        let kept = KeptAnswers { store: self.store().clone(), lineages };
        let clock = self.clock().clone();
        Authorization::new(session.clone(), outbound.secrets.clone(), clock, name, holder.account, consent, kept)
    }
}

impl Authorization {
    /// For one credential of a connection.
    ///
    /// # Errors
    /// [`Kind::Configuration`] when the account's redirect address is none.
    pub(crate) fn new(
        session: Arc<Session>,
        secrets: Arc<Secrets>,
        clock: Arc<dyn Clock>,
        connection: &str,
        account: Option<&Account>,
        consent: Consent,
        kept: KeptAnswers,
    ) -> Result<Self> {
        let redirect = redirect(account.and_then(|account| account.redirect.as_deref()))?;
        Ok(Self { session, secrets, connection: connection.to_owned(), redirect, consent, clock, kept })
    }

    /// The kind of sign-in that the manifest declares.
    pub fn kind(&self) -> SignInKind {
        match self.session.facts().flow {
            Oauth2Flow::AuthorizationCode => SignInKind::Browser,
            Oauth2Flow::DeviceCode => SignInKind::Device,
            Oauth2Flow::ClientCredentials | Oauth2Flow::JwtBearer | Oauth2Flow::Exchange => SignInKind::Direct,
        }
    }

    /// What is asked for.
    pub fn scopes(&self) -> &[String] {
        &self.consent.scopes
    }

    /// Where the tokens may go from then on, over all connections of the account that use them. What wants more later is
    /// refused until the account is connected again.
    pub fn audience(&self) -> impl Iterator<Item = &str> {
        self.consent.fixed.audience.iter().map(String::as_str)
    }

    /// Whether the browser comes back to this machine, so that the host can listen; else the address is pasted.
    #[cfg(feature = "serve")]
    pub fn can_listen(&self) -> bool {
        is_loopback(&self.redirect)
    }

    /// Begins a sign-in in a browser whose redirected address the caller will hand in: pasted by a person, or received
    /// by a web server of the caller's own.
    ///
    /// # Errors
    /// [`Kind::Configuration`](crate::Kind::Configuration) when the manifest declares no sign-in;
    /// [`Kind::CredentialUnavailable`](crate::Kind::CredentialUnavailable) when the client's id cannot be had.
    pub async fn sign_in(&self) -> Result<SignIn> {
        let mut redirect = self.redirect.clone();
        if redirect.port() == Some(0) {
            // Nobody needs to listen there; it only has to be a port that a browser goes to.
            let [high, low] = random::bytes()?;
            let port = 49_152 + u16::from_be_bytes([high, low]) % 16_384;
            let _ = redirect.set_port(Some(port));
        }
        self.begin(redirect).await
    }

    /// Begins a sign-in in a browser and listens for its return.
    ///
    /// # Errors
    /// As for [`Authorization::sign_in`], and [`Kind::Configuration`] when the host cannot listen at the redirect address.
    #[cfg(feature = "serve")]
    pub async fn listen(&self) -> Result<LoopbackSignIn> {
        let callback = Callback::listen(&self.redirect).await?;
        let sign_in = self.begin(callback.redirect().clone()).await?;
        Ok(LoopbackSignIn { sign_in, callback, until: self.clock.now().plus(WAIT_MS) })
    }

    async fn begin(&self, redirect: Url) -> Result<SignIn> {
        self.session.check()?;
        let facts = self.session.facts();
        let endpoint = facts.authorize.as_deref().ok_or_else(|| self.has_no("authorize", "sign-in in a browser"))?;
        let endpoint = self.session.endpoint(endpoint)?;
        let client_id = self.session.client_id().await?;
        let random = Zeroizing::new(random::bytes::<RANDOM_BYTES>()?);
        let pending = Pending::new(facts, redirect, &random, self.clock.now());
        let link = pending.address(&endpoint, facts, &client_id, &self.consent.scopes);
        Ok(SignIn {
            session: self.session.clone(),
            secrets: self.secrets.clone(),
            clock: self.clock.clone(),
            pending,
            link,
            consent: self.consent.clone(),
            again: self.again(),
            is_over: false,
        })
    }

    /// Begins a sign-in on another device.
    ///
    /// # Errors
    /// [`Kind::Configuration`](crate::Kind::Configuration) when the manifest has no device endpoint, and whatever asking it
    /// can end with.
    pub async fn device(&self) -> Result<DeviceSignIn> {
        let endpoint = self.session.facts().device.as_deref();
        let endpoint = endpoint.ok_or_else(|| self.has_no("device", "sign-in on another device"))?;
        self.session.check()?;
        let mut form = vec![("client_id".to_owned(), self.session.client_id().await?)];
        let scope = self.consent.scopes.join(oauth2::separator(self.session.facts()));
        if !scope.is_empty() {
            form.push(("scope".to_owned(), Zeroizing::new(scope)));
        }
        let answer = DeviceAnswer::read(&self.session.ask(endpoint, form).await?, self.clock.now())?;
        self.secrets.learn("device_code", [&answer.code]);
        Ok(DeviceSignIn {
            session: self.session.clone(),
            clock: self.clock.clone(),
            answer,
            consent: self.consent.clone(),
            again: self.again(),
        })
    }

    /// Obtains tokens where nobody signs in: the client stands for itself, or signs an assertion.
    ///
    /// # Errors
    /// [`Kind::Configuration`](crate::Kind::Configuration) when the manifest wants a person, and whatever the exchange can
    /// end with.
    pub async fn obtain(&self) -> Result<Connected> {
        let Some(exchange) = Exchange::without_person(self.session.facts().flow) else {
            return Err(Error::configuration("this credential needs a person who signs in")
                .with_details(format!("Connect it:   {}", self.again())));
        };
        let answer = self.session.exchange(exchange, &self.consent.scopes).await?;
        self.session.keep(answer, self.consent.clone(), Default::default()).await
    }

    /// Revokes the tokens at the provider, where it has an endpoint for that, and takes them away here, with the answers
    /// that were kept for them. With `force` they are taken away also where the provider cannot be told.
    ///
    /// # Errors
    /// Without `force`, whatever the provider can answer. Then the tokens are still here.
    pub async fn disconnect(&self, force: bool) -> Result<Disconnected> {
        let ended = match self.session.revoke().await {
            Ok(Revoked::Told) => Disconnected::Revoked,
            Ok(Revoked::RemovedLocally) => Disconnected::RemovedLocally,
            Ok(Revoked::Nothing) => Disconnected::Nothing,
            Err(error) if force => {
                self.session.forget().await?;
                Disconnected::RemovedLocallyUntold(error)
            }
            Err(error) => {
                return Err(error
                    .context("the tokens are still here, for the provider could not be told")
                    .with_details(format!(
                        "Try again later, or take them away here alone:   wharfage disconnect {} --force",
                        self.connection
                    )));
            }
        };
        self.kept.delete().await?;
        Ok(ended)
    }

    fn again(&self) -> String {
        format!("wharfage connect {}", self.connection)
    }

    fn has_no(&self, key: &str, what: &str) -> Error {
        let other = match self.kind() {
            SignInKind::Device if key != "device" => "   --device",
            _ => "",
        };
        Error::configuration(format!("the plugin's manifest declares no `{key}`, so there is no {what}"))
            .with_details(format!("Connect it the way it declares:   {}{other}", self.again()))
    }
}

impl SignIn {
    /// The address that a person opens.
    pub fn link(&self) -> &str {
        self.link.as_str()
    }

    /// The address that the browser is sent back to, as far as it is known before.
    pub fn redirect(&self) -> &str {
        self.pending.redirect().as_str()
    }

    /// Whether it has ended, well or not. After an error it may not have: then the right address can still be handed in.
    pub fn is_over(&self) -> bool {
        self.is_over
    }

    /// Takes the address that the browser was sent back to, and obtains the tokens.
    ///
    /// # Errors
    /// [`Kind::InvalidRequest`](crate::Kind::InvalidRequest) when it is not the answer to this sign-in; the provider's
    /// refusal in words; whatever the exchange can end with. Each says what to do next.
    pub async fn finish(&mut self, redirected: &str) -> Result<Connected> {
        match self.judge(redirected) {
            Ok(answered) => self.redeem(answered).await,
            Err((error, _)) => Err(error),
        }
    }

    fn judge(&mut self, redirected: &str) -> Result<Answered, (Error, Refused)> {
        let judged = self.pending.judge(redirected, self.clock.now());
        judged.map_err(|refused| {
            self.is_over |= refused.is_final();
            (self.refusal(&refused), refused)
        })
    }

    /// The refusal in words. What a provider says there may repeat what it was told.
    fn refusal(&self, refused: &Refused) -> Error {
        let mask = self.secrets.mask();
        let masked = match refused {
            Refused::Provider { code, words } => Refused::Provider {
                code: mask.text(code).into_owned(),
                words: words.as_deref().map(|words| mask.text(words).into_owned()),
            },
            other => other.clone(),
        };
        masked.error(self.pending.redirect(), &self.again)
    }

    async fn redeem(&mut self, answered: Answered) -> Result<Connected> {
        self.is_over = true;
        let Answered { code, verifier, redirect, captured } = answered;
        self.secrets.learn("code", [&code]);
        let again = |error: Error| error.with_details(format!("A code counts once. Begin again:   {}", self.again));
        let exchange = Exchange::Code { code, verifier, redirect };
        let answer = self.session.exchange(exchange, &self.consent.scopes).await.map_err(again)?;
        self.session.keep(answer, self.consent.clone(), captured).await
    }
}

#[cfg(feature = "serve")]
impl LoopbackSignIn {
    /// The address that a person opens.
    pub fn link(&self) -> &str {
        self.sign_in.link()
    }

    /// The address that the browser is sent back to.
    pub fn redirect(&self) -> &str {
        self.sign_in.redirect()
    }

    /// Waits until the sign-in ends, at most until 120 seconds after it began. Requests that are not its answer are told so and change nothing.
    ///
    /// # Errors
    /// As for [`SignIn::finish`], and [`Kind::Timeout`] when nobody came back.
    pub async fn wait(mut self) -> Result<Connected> {
        let clock = self.sign_in.clock.clone();
        let ended = loop {
            let arrived = tokio::select! {
                arrived = self.callback.next() => arrived?,
                () = clock.alarm(self.until) => break Err(self.nobody_came()),
            };
            match self.sign_in.judge(&arrived.redirected) {
                Ok(answered) => {
                    let ended = self.sign_in.redeem(answered).await;
                    arrived.show(match &ended {
                        Ok(connected) => Page::good("Connected.", format!("{connected}\nYou can close this page.")),
                        Err(error) => page(error),
                    });
                    break ended;
                }
                Err((error, refused)) => {
                    arrived.show(page(&error));
                    if refused.is_final() {
                        break Err(error);
                    }
                    tracing::warn!(target: "wharfage::connect", "{}; the sign-in goes on waiting", error.message());
                }
            }
        };
        self.callback.close().await;
        ended
    }

    fn nobody_came(&self) -> Error {
        Error::new(Kind::Timeout, format!("nobody came back from the sign-in within {} seconds", WAIT_MS / 1000))
            .with_details(format!(
                "Begin again:   {again}\nWhere the browser is on another machine, paste the address back:   {again} --paste",
                again = self.sign_in.again
            ))
    }
}

#[cfg(feature = "serve")]
fn page(error: &Error) -> Page {
    Page::bad(
        format!("Not connected: {}.", error.message()),
        crate::text::shown_lines(error.details().unwrap_or_default()),
    )
}

impl DeviceSignIn {
    /// What a person types in.
    pub fn user_code(&self) -> &str {
        &self.answer.user_code
    }

    /// Where.
    pub fn address(&self) -> &str {
        self.answer.address.as_str()
    }

    /// The same with the code already in it, where the provider has that.
    pub fn whole_address(&self) -> Option<&str> {
        self.answer.whole_address.as_ref().map(Url::as_str)
    }

    /// Asks the provider, as often as it allows, until the person is done or the code has ended.
    ///
    /// # Errors
    /// [`Kind::Forbidden`](crate::Kind::Forbidden) when the person refuses,
    /// [`Kind::Timeout`](crate::Kind::Timeout) when the code ends first, and whatever the exchange
    /// can end with.
    pub async fn wait(self) -> Result<Connected> {
        let mut pace = self.answer.pace;
        loop {
            let Some(next) = pace.next(self.clock.now()) else { return Err(device::expired(&self.again)) };
            self.clock.sleep_until(next).await;
            let exchange = Exchange::Device { code: self.answer.code.clone() };
            match self.session.exchange(exchange, &self.consent.scopes).await {
                Ok(answer) => return self.session.keep(answer, self.consent.clone(), Default::default()).await,
                Err(error) if pace.heard(&error) => {}
                Err(error) => return Err(device::ended(error, &self.again)),
            }
        }
    }
}

/// Reads an account's redirect address.
fn redirect(stated: Option<&str>) -> Result<Url> {
    let text = stated.unwrap_or(REDIRECT);
    let wrong = |why: &str| {
        Error::configuration(format!("the account's redirect `{}` {why}", crate::text::shown(text))).with_details(
            "Set it in [accounts.<name>] as it is registered at the provider:   redirect = \"http://127.0.0.1:8080/callback\"",
        )
    };
    let url = Url::parse(text).map_err(|_| wrong("is no absolute address"))?;
    if url.host().is_none() || url.cannot_be_a_base() {
        return Err(wrong("is no absolute address"));
    }
    if url.fragment().is_some() || !url.username().is_empty() || url.password().is_some() {
        return Err(wrong("may hold neither a fragment nor a user (RFC 6749, 3.1.2)"));
    }
    Ok(url)
}

/// What one sign-in is for. It asks for the least that the account's connections need of this credential together, so that
/// one consent serves them all; or for what the account says, where it says something. Its tokens may go wherever these
/// connections take them.
///
/// # Errors
/// [`Kind::Component`] when the connection's own component cannot be read.
pub(crate) fn consent(config: &Config, name: &str, own: &Needs, credential: &str) -> Result<Consent> {
    let connection = config.connection(name)?;
    let facts = oauth2(own, credential).ok_or_else(|| Error::internal("a credential to sign in for is gone"))?;
    let mut fixed = fixed_over(own, facts, connection)?;
    let mut others = Vec::new();
    for (other_name, other) in &config.connections {
        if connection.account.is_none() || other.account != connection.account || other_name == name {
            continue;
        }
        let read = match Stated::read(config, other_name).and_then(|stated| Needs::read(&stated.bytes)) {
            Ok(read) => read,
            Err(error) => {
                let message = error.message();
                tracing::warn!(target: "wharfage::connect", "what connection `{other_name}` needs is not asked for: {message}");
                continue;
            }
        };
        let there = oauth2(&read, credential).and_then(|facts| fixed_over(&read, facts, other).ok());
        // A credential of the same name at another provider is another one.
        if let Some(there) = there.filter(|there| there.token == fixed.token) {
            fixed = fixed.with(there);
            others.push((read, other));
        }
    }
    let account = connection.account.as_ref().and_then(|account| config.accounts.get(account));
    if let Some(account) = account.filter(|account| !account.scopes.is_empty()) {
        return Ok(Consent { scopes: account.scopes.clone(), fixed });
    }
    let all = || std::iter::once((own, connection)).chain(others.iter().map(|(needs, other)| (needs, *other)));
    let always = all().flat_map(|(needs, _)| needs.scopes_always(credential));
    let wanted: Vec<&[String]> =
        all().flat_map(|(needs, connection)| needs.scopes_wanted(connection, credential)).collect();
    Ok(Consent { scopes: scopes::least(always, &wanted), fixed })
}

fn oauth2<'a>(needs: &'a Needs, credential: &str) -> Option<&'a Oauth2Facts> {
    match needs.manifest.credentials.get(credential)? {
        CredentialFacts::Oauth2(facts) => Some(facts),
        _ => None,
    }
}

/// Where the tokens of a credential go and are renewed over a connection.
fn fixed_over(needs: &Needs, facts: &Oauth2Facts, connection: &Connection) -> Result<Fixed> {
    let origins = needs.manifest.origins.iter();
    let places = origins.filter_map(|(name, origin)| {
        let base = Url::parse(connection.base.get(name).unwrap_or(&origin.url)).ok()?;
        Some((name.clone(), base))
    });
    session::fixed(facts, &places.collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redirect_address_is_one_that_a_provider_can_register() {
        assert_eq!(redirect(None).unwrap().as_str(), REDIRECT);
        for good in ["https://app.test/oauth/callback?a=1", "http://localhost:8080/callback", "com.app.test://back"] {
            assert_eq!(redirect(Some(good)).unwrap().as_str(), good);
        }
        for bad in ["", "/callback", "localhost:8080", "https://", "https://app.test/#x", "https://u:p@app.test/"] {
            let error = redirect(Some(bad)).unwrap_err();
            assert!(error.details().unwrap().contains("redirect = "), "{bad}: {error}");
        }
    }
}
