//! An endpoint that is open: its recipe, its secret, and where its deliveries go.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use http::HeaderMap;
use tokio::sync::{Semaphore, SemaphorePermit};
use tracing::field::{self, Empty};
use zeroize::Zeroizing;

use crate::auth::jwt::{self, Keys, Rules};
use crate::error::{Error, Kind, Result};
use crate::inbound::inbox::{Inbox, Webhook};
use crate::inbound::verify::{self, Delivery, Identified, Proof, Refused, Verified};
use crate::manifest::{AnswerFacts, JwtFacts, Purpose, VerifyFacts, WebhookFacts};
use crate::observe::audit::AuditAction;
use crate::observe::trace::{Here, Trace};
use crate::outbound::{CallContext, Outbound};
use crate::plugin::Plugin;
use crate::policy::webhook::{EndpointLimits, EndpointPolicy};
use crate::store::arrival::Claimed;
use crate::text::{shown, suggestion};
use crate::time::BoxFuture;

/// Milliseconds that asking for a provider's keys may take.
const KEYS_MS: u64 = 10_000;

/// Who stores deliveries: an inbox, or a script in a test.
pub(crate) trait Receives: Send + Sync + 'static {
    /// Stores one, durable when this ends, unless its key is known.
    fn receive(&self, webhook: Webhook) -> BoxFuture<'_, Result<Claimed>>;
}

impl Receives for Inbox {
    fn receive(&self, webhook: Webhook) -> BoxFuture<'_, Result<Claimed>> {
        Box::pin(Self::receive(self, webhook))
    }
}

/// An endpoint that is open.
pub(crate) struct Endpoint {
    id: String,
    policy: EndpointPolicy,
    facts: WebhookFacts,
    /// What tokens must be, where it is proven by one.
    jwt: Option<JwtFacts>,
    outbound: Arc<Outbound>,
    receives: Arc<dyn Receives>,
    in_flight: Arc<Semaphore>,
    tally: Arc<Tally>,
}

/// The counters.
#[derive(Default)]
struct Tally {
    received: AtomicU64,
    repeated: AtomicU64,
    refused: AtomicU64,
    turned_away: AtomicU64,
    proven: AtomicU64,
}

/// What became of deliveries since the endpoint was opened first, over reloads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct WebhookCounts {
    /// Acknowledged for the first time.
    pub received: u64,
    /// Acknowledged again.
    pub repeated: u64,
    /// Not the provider's own.
    pub refused: u64,
    /// Told to come again, because there was no room or the store was in trouble.
    pub turned_away: u64,
    /// The provider's own, whatever became of them: also what asks for a challenge, or is ignored.
    pub proven: u64,
}

/// What a delivery is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    /// It is stored, or was.
    Received,
    /// What the provider wants to hear.
    Challenge(String),
    /// It is not the provider's own.
    Unauthorized,
    /// Its time is no time.
    Malformed,
    /// It is to come again.
    Busy,
}

impl Reply {
    /// The status that it is answered with.
    fn status(&self) -> u16 {
        match self {
            Self::Received | Self::Challenge(_) => 200,
            Self::Malformed => 400,
            Self::Unauthorized => 401,
            Self::Busy => 503,
        }
    }
}

impl Endpoint {
    /// Opens an endpoint over a plugin: its recipe is in the manifest, and its secret can be had.
    ///
    /// # Errors
    /// [`Kind::Configuration`] where the manifest has no such webhook or the URL that it signs is not stated;
    /// [`Kind::CredentialUnavailable`] where the secret cannot be had, with the command that sets it. There is no endpoint
    /// without one.
    pub(crate) async fn open(
        id: &str,
        policy: &EndpointPolicy,
        plugin: &Plugin,
        receives: Arc<dyn Receives>,
    ) -> Result<Self> {
        let manifest = &plugin.needs().manifest;
        let Some(facts) = manifest.webhooks.get(&policy.webhook) else {
            let names: Vec<&str> = manifest.webhooks.keys().map(String::as_str).collect();
            let message =
                format!("[endpoints.{id}]: {} has no webhook `{}`", manifest.plugin.name, shown(&policy.webhook));
            return Err(Error::configuration(message).with_details(suggestion(&policy.webhook, &names)));
        };
        let jwt = manifest.secrets.get(facts.verify.secret()).and_then(|secret| secret.jwt.clone());
        Self::over(id, policy, facts, jwt, plugin.outbound().clone(), receives).await
    }

    /// The same over its parts.
    pub(crate) async fn over(
        id: &str,
        policy: &EndpointPolicy,
        facts: &WebhookFacts,
        jwt: Option<JwtFacts>,
        outbound: Arc<Outbound>,
        receives: Arc<dyn Receives>,
    ) -> Result<Self> {
        if facts.signs_url() && policy.url.is_none() {
            let message =
                format!("[endpoints.{id}]: the provider signs the address that it was given, and none is stated");
            return Err(Error::configuration(message).with_details(format!(
                "Add, letter by letter as the provider has it:   url = \"https://hooks.example.org/webhooks/{id}\""
            )));
        }
        let in_flight = usize::try_from(policy.limits.in_flight).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS);
        let endpoint = Self {
            id: id.to_owned(),
            policy: policy.clone(),
            facts: facts.clone(),
            jwt,
            outbound,
            receives,
            in_flight: Arc::new(Semaphore::new(in_flight)),
            tally: Arc::default(),
        };
        endpoint.check_secret().await.map_err(|error| error.context(format!("open [endpoints.{id}]")))?;
        Ok(endpoint)
    }

    /// The same, which goes on where the one before it stands: what that one counts, and the places that it has given away.
    pub(crate) fn after(self, before: &Self) -> Self {
        let (now, then) = (&self.policy, &before.policy);
        let is_same = now.connection == then.connection && now.webhook == then.webhook;
        let has_as_many = now.limits.in_flight == then.limits.in_flight;
        Self {
            tally: if is_same { before.tally.clone() } else { self.tally },
            in_flight: if has_as_many { before.in_flight.clone() } else { self.in_flight },
            ..self
        }
    }

    /// Its id: the last part of its path.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// The connection that it is for.
    pub(crate) fn connection(&self) -> &str {
        &self.policy.connection
    }

    /// The secret that proves whose a delivery is.
    pub(crate) fn secret(&self) -> &str {
        self.facts.verify.secret()
    }

    /// Its limits.
    pub(crate) fn limits(&self) -> &EndpointLimits {
        &self.policy.limits
    }

    /// What a delivery that was taken is answered, where the provider reads that.
    pub(crate) fn answer(&self) -> Option<&AnswerFacts> {
        self.facts.answer.as_ref()
    }

    /// A place for one more delivery, if there is one.
    pub(crate) fn admit(&self) -> Option<SemaphorePermit<'_>> {
        let permit = self.in_flight.try_acquire().ok();
        if permit.is_none() {
            count(&self.tally.turned_away);
        }
        permit
    }

    /// What became of deliveries.
    pub(crate) fn counts(&self) -> WebhookCounts {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        WebhookCounts {
            received: read(&self.tally.received),
            repeated: read(&self.tally.repeated),
            refused: read(&self.tally.refused),
            turned_away: read(&self.tally.turned_away),
            proven: read(&self.tally.proven),
        }
    }

    /// Takes a delivery: verifies and stores it. It is acknowledged only when it is stored. What comes of it is a part of
    /// the trace that the provider names, where it names one.
    pub(crate) async fn take(&self, headers: &HeaderMap, query: Option<&str>, body: Vec<u8>) -> Reply {
        let before = headers.get("traceparent").and_then(|field| Trace::parse(field.to_str().ok()?));
        let here = Here::after(before);
        let span = tracing::error_span!(
            target: "wharfage::inbound", "delivery", otel.kind = "server", otel.name = "POST /webhooks/{id}",
            trace_id = %here.trace_id(), span_id = %here.span_id(), parent_id = here.parent_id(),
            connection = self.policy.connection, webhook = self.policy.webhook,
            http.request.method = "POST", http.route = "/webhooks/{id}", http.response.status_code = Empty, error.type = Empty
        );
        let reply = here.run(span.clone(), self.taken(headers, query, body)).await;
        span.record("http.response.status_code", reply.status());
        if matches!(reply, Reply::Busy) {
            span.record("error.type", field::display(reply.status()));
        }
        reply
    }

    async fn taken(&self, headers: &HeaderMap, query: Option<&str>, body: Vec<u8>) -> Reply {
        let endpoint = self.id.as_str();
        let verified = match self.verify(headers, query, &body).await {
            Ok(verified) => verified,
            Err(error) => {
                tracing::error!(target: "wharfage::inbound", endpoint, "a delivery cannot be verified: {error}");
                count(&self.tally.turned_away);
                return Reply::Busy;
            }
        };
        if verified.is_ok() {
            count(&self.tally.proven);
        }
        let event = match verified {
            Ok(Verified::Event(event)) => event,
            Ok(Verified::Ignored) => return Reply::Received,
            Ok(Verified::Challenge(answer)) => return Reply::Challenge(answer),
            Err(refused) => {
                count(&self.tally.refused);
                let why = self.why(refused);
                tracing::info!(
                    target: "wharfage::inbound", endpoint,
                    "a delivery was refused: {why}; what helps:   wharfage alerts runbook webhooks-refused"
                );
                return match refused {
                    Refused::Unproven | Refused::Stale => Reply::Unauthorized,
                    Refused::MalformedTime => Reply::Malformed,
                };
            }
        };
        match self.receives.receive(self.webhook(event, body)).await {
            Ok(Claimed::New(_)) => {
                count(&self.tally.received);
                Reply::Received
            }
            Ok(Claimed::Repeated) => {
                count(&self.tally.repeated);
                tracing::debug!(target: "wharfage::inbound", endpoint, "a delivery came again");
                Reply::Received
            }
            Ok(Claimed::Full(limit)) => {
                count(&self.tally.turned_away);
                tracing::error!(
                    target: "wharfage::inbound", endpoint,
                    "a delivery is turned away: the limit {limit} is reached; to let more wait, set serve.limits.{limit}"
                );
                Reply::Busy
            }
            Err(error) => {
                count(&self.tally.turned_away);
                tracing::error!(target: "wharfage::inbound", endpoint, "a delivery cannot be stored: {error}");
                Reply::Busy
            }
        }
    }

    /// Why a delivery is refused, which nobody outside learns.
    fn why(&self, refused: Refused) -> String {
        match (refused, &self.facts.time) {
            (Refused::Unproven, _) => format!("nothing in it fits the secret `{}`", self.secret()),
            (Refused::Stale, Some(time)) => {
                format!("its time is over, or more than {} s away from this machine's", time.tolerance_ms() / 1_000)
            }
            (Refused::Stale, None) => "its time is over".to_owned(),
            (Refused::MalformedTime, _) => "its time is no time".to_owned(),
        }
    }

    fn webhook(&self, event: Identified, body: Vec<u8>) -> Webhook {
        let Identified { key, order, headers } = event;
        let known_ms = self.facts.known_ms().max(self.policy.known_s.unwrap_or(0) * 1_000);
        Webhook { name: self.policy.webhook.clone(), key, order, known_ms, headers, body }
    }

    /// Verifies a delivery, and tells the audit trail that the secret was used.
    ///
    /// # Errors
    /// What is our trouble and not the delivery's: no secret, no keys of the provider.
    async fn verify(
        &self,
        headers: &HeaderMap,
        query: Option<&str>,
        body: &[u8],
    ) -> Result<std::result::Result<Verified, Refused>> {
        let now = self.outbound.clock.wall();
        let delivery = Delivery { headers, url: self.policy.url.as_deref(), query, body };
        let context = self.context();
        let verified = match &self.jwt {
            Some(facts) => match self.tokens(&context, facts, headers).await? {
                Some((keys, rules, email)) => {
                    let email = email.as_ref().map(|email| email.as_str());
                    verify::verify(&self.facts, &Proof::Tokens(&keys, &rules, email), &delivery, now)
                }
                None => Err(Refused::Unproven),
            },
            None => {
                let secrets = self.outbound.secrets.versions(self.facts.verify.secret(), Purpose::Verify).await?;
                verify::verify(&self.facts, &Proof::Secrets(&secrets), &delivery, now)
            }
        };
        let refused = Error::new(Kind::Unauthorized, "a delivery was refused");
        let outcome = verified.as_ref().map(|_| ()).map_err(|_| &refused);
        self.outbound.tell_use(&context, self.facts.verify.secret(), AuditAction::Verify, outcome);
        Ok(verified)
    }

    /// What a token is checked with; nothing where there is no token that could be.
    async fn tokens(
        &self,
        context: &CallContext,
        facts: &JwtFacts,
        headers: &HeaderMap,
    ) -> Result<Option<(Keys, Rules, Option<Zeroizing<String>>)>> {
        let Some(token) = verify::token(&self.facts, headers) else { return Ok(None) };
        let Ok(key_id) = jwt::key_id(token) else { return Ok(None) };
        let secrets = &self.outbound.secrets;
        let secret = self.facts.verify.secret();
        let keys = match &facts.jwks {
            Some(endpoint) => {
                let sets = self.outbound.key_sets.as_ref().ok_or_else(|| Error::internal("there are no key sets"))?;
                sets.keys(context, endpoint, &facts.algorithm, key_id.as_deref()).await?
            }
            None => Keys::one_of(&facts.algorithm, &secrets.versions(secret, Purpose::Verify).await?)?,
        };
        let mut audience = facts.audience.clone();
        if let Some(name) = &facts.audience_secret {
            audience.push(secrets.value(name, Purpose::Credential).await?.to_string());
        }
        let email = match &self.facts.verify {
            VerifyFacts::Jwt(webhook) => webhook.email_secret.as_ref(),
            _ => None,
        };
        let email = match email {
            Some(name) => Some(secrets.value(name, Purpose::Credential).await?),
            None => None,
        };
        let leeway_s = facts.leeway_s.unwrap_or(jwt::LEEWAY_S);
        let rules = Rules { issuer: facts.issuer.clone(), audience, scopes: facts.scopes.clone(), leeway_s };
        Ok(Some((keys, rules, email)))
    }

    /// Whether everything is there that a delivery is checked with.
    async fn check_secret(&self) -> Result<()> {
        let secrets = &self.outbound.secrets;
        let name = self.facts.verify.secret();
        if let Some(facts) = &self.jwt {
            let email = match &self.facts.verify {
                VerifyFacts::Jwt(webhook) => webhook.email_secret.as_ref(),
                _ => None,
            };
            for needed in facts.audience_secret.iter().chain(email) {
                secrets.value(needed, Purpose::Credential).await?;
            }
            if facts.jwks.is_some() {
                // Its keys are asked for when the first token is there; whether they may be is the grant's.
                return match secrets.is_granted(name) {
                    true => Ok(()),
                    false => secrets.value(name, Purpose::Verify).await.map(drop),
                };
            }
            return Keys::one_of(&facts.algorithm, &secrets.versions(name, Purpose::Verify).await?).map(drop);
        }
        let versions = secrets.versions(name, Purpose::Verify).await?;
        let VerifyFacts::Signature(facts) = &self.facts.verify else { return Ok(()) };
        if versions.iter().any(|version| verify::key_bytes(facts, version).is_some()) {
            return Ok(());
        }
        let message = format!("the secret `{name}` is there, and is no key of this webhook's");
        let encoding = format!("{:?}", facts.secret_encoding).to_lowercase();
        Err(Error::new(Kind::CredentialUnavailable, message).with_details(format!(
            "Its text is read as {encoding}{}. Copy it again:   wharfage secret set {} {name}",
            match facts.secret_prefix.as_str() {
                "" => String::new(),
                prefix => format!(", with `{}` before it or without", shown(prefix)),
            },
            self.policy.connection
        )))
    }

    fn context(&self) -> CallContext {
        let deadline = self.outbound.clock.now().plus(KEYS_MS);
        let operation = Some(format!("webhook {}", self.policy.webhook).into());
        CallContext { deadline, observer: None, event: None, operation }
    }
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}
