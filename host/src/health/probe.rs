//! How a connection is: judged by what its calls have told, and by one cheap read where nobody has called for a while.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::value::RawValue;

use crate::auth::Credential;
use crate::error::{Error, Kind, Result};
use crate::files::Files;
use crate::health::{Facts, Health, PROBE_MS, judge, short};
use crate::manifest::{CredentialFacts, HealthFacts};
use crate::observe::pulse::{PROBE, PROBE_EVERY_MS, Probe};
use crate::outbound::session::What;
use crate::plugin::run::PageCall;
use crate::plugin::{Answer, Loaded, Plugin, said};

impl Plugin {
    /// How its connection is, by what calls have told and without asking the provider.
    pub async fn health(&self) -> Health {
        judge(&self.facts().await, self.0.clock.now())
    }

    /// The same, after the provider was asked, where nobody has seen it for a minute and the plugin says how: one cheap
    /// read, which takes at most 10 s, waits for nobody and leaves the last permit of a budget to calls.
    ///
    /// # Cancellation
    /// Dropping the future breaks the probe off, and nothing is told of it.
    pub async fn probe(&self) -> Health {
        self.ask().await;
        self.health().await
    }

    async fn ask(&self) {
        let loaded = &*self.0;
        let Some(facts) = loaded.health_facts().await else { return };
        let _single = loaded.vitals.probing.lock().await;
        let began = loaded.clock.now();
        if loaded.outbound.tape.is_some() || !self.is_unseen(PROBE_EVERY_MS) {
            return;
        }
        let deadline = began.plus(PROBE_MS);
        // Inside, the same deadline is known by another name. Whoever notices it first, it is told as the probe's own.
        let asked = tokio::select! {
            biased;
            () = loaded.clock.alarm(deadline) => None,
            asked = loaded.ask(facts, deadline) => Some(asked),
        };
        let asked = asked.filter(|asked| asked.as_ref().err().map(Error::kind) != Some(&Kind::Deadline));
        let asked = asked.unwrap_or_else(|| {
            let message = format!("the provider did not answer a probe within {PROBE_MS} ms");
            Err(Error::new(Kind::Timeout, message).with_request_sent(crate::error::RequestSent::Maybe))
        });
        let now = loaded.clock.now();
        let has_given_way =
            |error: &Error| *error.kind() == Kind::RateLimited && error.request_sent() == crate::error::RequestSent::No;
        if !asked.as_ref().is_err_and(has_given_way) {
            loaded.vitals.pulse.ended(began, now, said(&asked));
        }
        let error = asked.err();
        loaded.vitals.probed(Probe {
            at: now,
            latency_ms: now.since(began),
            error: error.as_ref().map(|error| error.kind().name()),
            message: error.map(|error| short(&error.to_string())),
        });
    }

    /// Whether nobody has seen the provider for so long, nor tried to with a probe.
    pub(crate) fn is_unseen(&self, for_ms: u64) -> bool {
        self.0.vitals.is_due(self.0.clock.now(), for_ms)
    }

    /// What the connection is judged by.
    pub(crate) async fn facts(&self) -> Facts {
        let Loaded { needs, outbound, grant, vitals, clock, .. } = &*self.0;
        let (tokens, unreadable) = match self.token_states().await {
            Ok(tokens) => (tokens, None),
            Err(error) => (Vec::new(), Some(error.message().to_owned())),
        };
        let declared: Vec<&str> =
            outbound.scope.origins.iter().filter_map(|origin| origin.credential.as_deref()).collect();
        // Another credential than the one that goes on requests by itself is for a plugin that has several.
        let is_used = |name: &String| declared.is_empty() || declared.contains(&name.as_str());
        let is_key =
            |credential: &&Arc<Credential>| !credential.is_oauth2() && declared.contains(&credential.name.as_str());
        let key = outbound.credentials.iter().find(is_key).and_then(|credential| credential.secrets.last());
        let mut needed = BTreeMap::new();
        for name in &declared {
            // What is optional anywhere leaves something to do without it.
            let is_optional = outbound
                .scope
                .origins
                .iter()
                .any(|origin| origin.credential_optional && origin.credential.as_deref() == Some(*name));
            let made_of = needs.manifest.credentials.get(*name).map(CredentialFacts::secrets).unwrap_or_default();
            for secret in made_of {
                *needed.entry(secret.to_owned()).or_insert(false) |= !is_optional;
            }
        }
        // What is checked with the provider's own keys has no value here.
        let jwt_of = |name: &String| needs.manifest.secrets.get(name).and_then(|secret| secret.jwt.as_ref());
        let mut secrets = self.secrets().states().await;
        secrets.retain(|secret| jwt_of(&secret.name).is_none_or(|jwt| jwt.jwks.is_none()));
        Facts {
            connection: grant.connection.clone(),
            plugin: needs.manifest.plugin.name.clone(),
            traffic: vitals.pulse.read(clock.now()),
            probe: vitals.probe(),
            probes_with: self.0.health_facts().await.map(|health| health.operation.clone()),
            circuits: self.circuits(),
            budgets: outbound.queues.all().map(|queue| queue.told()).collect(),
            tokens: tokens.into_iter().filter(|(name, _)| is_used(name)).collect(),
            secrets,
            needed,
            key: key.cloned(),
            drifts: self.drift(),
            leaks: self.leaks(),
            unreadable,
            #[cfg(feature = "serve")]
            work: crate::health::Work::default(),
        }
    }
}

impl Loaded {
    /// How the provider is asked how it is. Where the connection may not call that, or no consent gave a scope for it, it
    /// would be refused however well the provider is: only calls tell then.
    async fn health_facts(&self) -> Option<&HealthFacts> {
        let facts = self.needs.manifest.health.as_ref()?;
        self.grant.check_operation(&facts.operation).ok()?;
        let needed = self.needs.manifest.scopes_of_operation(&facts.operation);
        match self.check_scopes(&What::Operation(&facts.operation), needed).await {
            Err(error) if *error.kind() == Kind::ReauthorizationNeeded => None,
            _ => Some(facts),
        }
    }

    /// Asks what the manifest asks to see how the provider is. It waits for no place.
    async fn ask(&self, facts: &HealthFacts, deadline: crate::time::Timestamp) -> Result<Answer<Box<RawValue>>> {
        let operation = self.needs.operation(&facts.operation)?;
        let input = facts.input_json().map_err(|why| Error::configuration(format!("[health] {why}")))?;
        let input = self.input(operation, &input.to_string())?;
        let busy = || Error::new(Kind::RateLimited, "the probe gives way: as many calls run as may");
        let _place = self.calls.try_acquire().map_err(|_| busy())?;
        let call = PageCall { operation, input: &input, cursor: None, files: &Files::default(), deadline };
        self.run_as(PROBE, &call).await
    }
}
