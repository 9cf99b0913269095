//! What a connection is assembled of: its outbound path, with the tokens, secrets and buckets of whoever holds it.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Semaphore;

use super::Host;
use crate::account::{Account, SecretSource, SecretValue};
use crate::artifact::Digest;
use crate::auth::Credential;
use crate::error::{Error, Result};
use crate::grant::Grant;
use crate::limits::Limits;
use crate::manifest::{BudgetScope, CredentialFacts, Needs, SecretFacts};
use crate::observe::audit::AuditContext;
use crate::outbound::admit::{BucketQueue, BucketQueues};
use crate::outbound::buckets::Shape;
use crate::outbound::cache::Cache;
use crate::outbound::circuit::Circuits;
use crate::outbound::classify::Answers;
use crate::outbound::client::Http;
use crate::outbound::key_sets::KeySets;
use crate::outbound::retry::RetryBudget;
use crate::outbound::scope::Asked;
use crate::outbound::session::{CLIENT, Session, Tokens};
use crate::outbound::tape::{NO_SECRET, Tape};
use crate::outbound::{KeyPlace, Outbound};
use crate::store::{Ledger, WRITTEN_DOWN_MS};
use crate::vault::{Granted, Secrets, SecretsContext};

/// Most bytes of a token endpoint's answer.
const TOKEN_ANSWER_BYTES_MAX: u64 = 256 << 10;

/// Who holds what is assembled: a connection, with its account.
#[derive(Clone, Copy)]
pub(crate) struct Holder<'a> {
    pub(crate) connection: &'a str,
    /// The name of its account in a `wharfage.toml`; an account that code hands in has none.
    pub(crate) account_name: Option<&'a str>,
    pub(crate) account: Option<&'a Account>,
}

impl Holder<'_> {
    /// Whose budgets, tokens and records a connection uses: its account's, or its own where it has none.
    fn owner(self) -> String {
        let Self { connection, account_name, .. } = self;
        account_name.map_or_else(|| format!("connection {connection}"), |account| format!("account {account}"))
    }
}

impl Host {
    /// The outbound path of a connection, with the tokens of its credentials.
    pub(crate) fn outbound(
        &self,
        needs: &Needs,
        digest: Digest,
        grant: &Grant,
        holder: Holder<'_>,
    ) -> Result<Outbound> {
        let inner = &self.0;
        let Holder { connection, account_name, .. } = holder;
        let granted = match &inner.tape {
            Some(tape) => taped(tape, &grant.secrets),
            None => grant.secrets.clone(),
        };
        let secrets = Arc::new(self.secrets_of(needs, granted, holder));
        let transport = match &inner.transport {
            Some(transport) => transport.clone(),
            None => Arc::new(Http::new(&grant.limits)?),
        };
        let queues = self.queues(needs, grant, holder)?;
        let plugin = &needs.manifest.plugin.name;
        let audit_context = AuditContext::new(inner.audit.clone(), plugin, connection, account_name);
        let operations = needs.operations.iter().map(|operation| operation.name.as_str());
        let mut outbound = Outbound {
            scope: grant.scope.clone(),
            private_addresses: grant.private_addresses.clone(),
            credentials: grant.credentials.iter().cloned().map(Arc::new).collect(),
            answers: Answers::new(needs.manifest.answers.clone()),
            rate_headers: needs.manifest.rate_headers.clone(),
            retry_header: needs.manifest.retry.as_ref().map(|retry| retry.header.clone()),
            idempotency: needs.manifest.idempotency.as_ref().and_then(KeyPlace::of),
            request_id_header: needs.manifest.request_id.as_ref().map(|id| id.header.clone()),
            limits: grant.limits,
            trace_context: grant.trace_context,
            queues,
            cache: (grant.cache.enabled && inner.tape.is_none()).then(|| {
                let account = account_name.unwrap_or_default().to_owned();
                // Everything that the grant holds: whoever gets less starts without what more was answered to.
                let granted = crate::explain::explain(needs, grant);
                let place = vec![account, connection.to_owned(), digest.to_string(), granted];
                let disk = inner.is_durable.then(|| inner.store.clone());
                Cache::new(grant.cache, &inner.path_key, &place, &grant.limits, disk)
            }),
            circuits: Circuits::new(connection, grant.breaker, &grant.scope.origins, &inner.clock),
            retry_budget: Mutex::new(RetryBudget::new(inner.clock.now())),
            event_streams: Arc::new(Semaphore::new(
                usize::try_from(grant.limits.event_streams).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS),
            )),
            leaks: AtomicU64::new(0),
            key: inner.path_key,
            resolver: inner.resolver.clone(),
            transport,
            takes_uploads: inner.transport.is_none(),
            secrets,
            audit_context,
            meter: Some(inner.meters.of(connection, account_name, plugin, operations)),
            refusals: inner.refusals.of(connection),
            clock: inner.clock.clone(),
            tape: inner.tape.clone(),
            sessions: Vec::new(),
            key_sets: None,
            is_authority: false,
            hides_path: false,
        };
        let asked: Vec<Asked> = grant.scope.asked.iter().chain(&grant.authority.asked).cloned().collect();
        if needs.manifest.secrets.values().any(SecretFacts::has_key_set) {
            let authority = self.authority(&outbound, grant, None);
            outbound.key_sets = Some(Arc::new(KeySets::new(authority, &asked)));
        }
        outbound.sessions = self.sessions(needs, grant, holder, &outbound, &asked)?;
        Ok(outbound)
    }

    /// The tokens of its OAuth 2.0 credentials, by their names.
    fn sessions(
        &self,
        needs: &Needs,
        grant: &Grant,
        holder: Holder<'_>,
        outbound: &Outbound,
        asked: &[Asked],
    ) -> Result<Vec<(String, Arc<Session>)>> {
        let Holder { connection, account_name, account } = holder;
        let mut sessions = Vec::new();
        for credential in grant.credentials.iter().filter(|credential| credential.is_oauth2()) {
            let Some(CredentialFacts::Oauth2(facts)) = needs.manifest.credentials.get(&credential.name) else {
                continue;
            };
            let tokens = self.tokens(&holder.owner(), &credential.name)?;
            let audience = grant.authority.origins.iter().map(|origin| origin.name.clone()).collect();
            let secret = facts.secret.as_ref();
            let client = secret.map(|secret| Credential::client(CLIENT, audience, &facts.client_id, secret));
            let authority = self.authority(outbound, grant, client);
            let stated_by = account.filter(|account| !account.scopes.is_empty()).and(account_name);
            let scopes = grant.scopes.get(&credential.name).cloned().unwrap_or_default();
            let given = account.and_then(|account| account.access.get(&credential.name)).cloned();
            let session = Session::new(tokens, facts, connection, scopes, authority, asked)?.with_access(given)?;
            let session = session.stated_by(stated_by.map(str::to_owned));
            sessions.push((credential.name.clone(), Arc::new(session)));
        }
        Ok(sessions)
    }

    /// The tokens of an owner; the same for all its connections.
    fn tokens(&self, owner: &str, credential: &str) -> Result<Arc<Tokens>> {
        let inner = &self.0;
        let key = (owner.to_owned(), credential.to_owned());
        let mut all = inner.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(tokens) = all.get(&key) {
            return Ok(tokens.clone());
        }
        // What is written down is read again by whoever comes back.
        if is_crowded(all.len()) {
            all.retain(|_, tokens| Arc::strong_count(tokens) > 1);
        }
        let tokens = Arc::new(Tokens::new(owner, credential, inner.sealed.clone(), inner.clock.clone())?);
        all.insert(key, tokens.clone());
        Ok(tokens)
    }

    /// Waits until no tokens are being renewed, whichever connection wanted them.
    #[cfg(feature = "serve")]
    pub(crate) async fn settle_tokens(&self) {
        let all: Vec<_> = self.0.tokens.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect();
        for tokens in all {
            tokens.settled().await;
        }
    }

    /// The host's own path beside a connection's: to the endpoints that only the host asks.
    fn authority(&self, outbound: &Outbound, grant: &Grant, client: Option<Credential>) -> Outbound {
        let name = format!("{} (sign-in)", grant.connection);
        Outbound {
            scope: grant.authority.clone(),
            private_addresses: grant.private_addresses.clone(),
            credentials: client.into_iter().map(Arc::new).collect(),
            limits: Limits {
                response_body_bytes: TOKEN_ANSWER_BYTES_MAX.min(grant.limits.response_body_bytes),
                ..grant.limits
            },
            circuits: Circuits::new(&name, grant.breaker, &grant.authority.origins, &self.0.clock),
            key: outbound.key,
            resolver: outbound.resolver.clone(),
            transport: outbound.transport.clone(),
            audit_context: outbound.audit_context.clone(),
            meter: outbound.meter.clone(),
            is_authority: true,
            ..Outbound::nowhere(outbound.secrets.clone(), outbound.clock.clone())
        }
    }

    /// The secrets of a connection.
    pub(super) fn secrets_of(&self, needs: &Needs, granted: BTreeMap<String, Granted>, holder: Holder<'_>) -> Secrets {
        let Holder { connection, account_name, .. } = holder;
        Secrets::new(&needs.manifest.plugin.name, connection, granted).with(SecretsContext {
            sealed: Some(self.0.sealed.clone()),
            owner: holder.owner(),
            clock: self.0.clock.clone(),
            run_programs: self.0.run_programs,
            audit_context: AuditContext::new(
                self.0.audit.clone(),
                &needs.manifest.plugin.name,
                connection,
                account_name,
            ),
        })
    }

    /// The buckets of a connection; those of an account are the same for all its connections.
    fn queues(&self, needs: &Needs, grant: &Grant, holder: Holder<'_>) -> Result<BucketQueues> {
        let inner = &self.0;
        let Holder { connection, account, .. } = holder;
        let mut shared = inner.queues.lock().unwrap_or_else(PoisonError::into_inner);
        let mut queues = BucketQueues::of(connection);
        let own = holder.owner();
        let named = |kind: &str, name: Option<&String>| name.map(|name| format!("{kind} {name}"));
        for budget in &grant.budgets {
            let wider = match budget.scope {
                BudgetScope::Account => None,
                BudgetScope::Connection => Some(format!("connection {connection}")),
                BudgetScope::User => named("user", account.and_then(|account| account.user.as_ref())),
                BudgetScope::Project => named("project", account.and_then(|account| account.project.as_ref())),
                BudgetScope::Plugin => Some(format!("plugin {}", needs.manifest.plugin.name)),
            };
            // Nobody else shares one of a user or a project that the account does not name.
            let scope = wider.as_ref().map_or(BudgetScope::Account, |_| budget.scope);
            let owner = wider.unwrap_or_else(|| own.clone());
            let key = (owner.clone(), budget.spec.name.clone());
            let full_name = format!("{owner}/{}", budget.spec.name);
            // Before each that comes: between two connections their number may pass over any.
            if !shared.contains_key(&key) && is_crowded(shared.len()) {
                let now = inner.clock.now();
                shared.retain(|_, queue| Arc::strong_count(queue) > 1 || !queue.is_at_rest(now));
            }
            let made = || {
                let queue = BucketQueue::new(&full_name, budget.spec.clone(), inner.clock.clone());
                Arc::new(queue.shared(scope, &budget.coverage))
            };
            let queue = shared.entry(key).or_insert_with(made);
            let ledger = match budget.spec.shape {
                Shape::Window { limit, window_ms } if window_ms >= WRITTEN_DOWN_MS && inner.is_durable => {
                    Some(Ledger::new(inner.store.clone(), &full_name, limit, window_ms))
                }
                _ => None,
            };
            if !queues.claim(queue.clone(), budget.coverage.clone(), &budget.spec, ledger) {
                return Err(Error::configuration(format!(
                    "two plugins declare the budget `{}` of {owner} differently",
                    budget.spec.name
                ))
                .with_details(format!("Say which holds: [accounts.….budgets.{}]", budget.spec.name)));
            }
        }
        Ok(queues)
    }
}

/// The secrets of a replay: those that the tape names are there, and nobody needs their values.
fn taped(tape: &Tape, granted: &BTreeMap<String, Granted>) -> BTreeMap<String, Granted> {
    let Some(fixture) = tape.fixture().filter(|_| tape.is_strict()) else { return granted.clone() };
    let there = fixture.secrets.as_deref().unwrap_or_default();
    let named = granted.iter().filter(|(name, _)| there.contains(name));
    let value = || Some(SecretSource::Value(SecretValue::new(NO_SECRET)));
    named.map(|(name, granted)| (name.clone(), Granted { source: value(), ..granted.clone() })).collect()
}

/// Whether it is time to look what of so many nobody uses any more: seldom, so that opening stays cheap however many there
/// are.
fn is_crowded(known: usize) -> bool {
    known >= KNOWN_MIN && known.is_power_of_two()
}

/// From so many buckets, or tokens, on it is looked which of them nobody uses any more.
const KNOWN_MIN: usize = 256;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::connection::Connection;
    use crate::manifest::Manifest;

    /// A plugin with budgets of these names and scopes.
    fn needs(budgets: &[(&str, &str)]) -> Needs {
        let mut text = "[plugin]\nname='acme'\nversion='1.0.0'\ncontract='0.1.0'\nprovider='Acme'\n".to_owned();
        for (name, scope) in budgets {
            text += &format!("[budgets.{name}]\nconcurrency=1\nscope='{scope}'\nsource='s'\ndate='d'\n");
        }
        let (imports, foreign_imports) = (BTreeSet::new(), BTreeSet::new());
        Needs { manifest: Manifest::parse(&text).unwrap(), operations: Vec::new(), imports, foreign_imports }
    }

    /// Whoever waits has the turns of the buckets before: what it waits for alone stands before what others share.
    #[test]
    fn a_budget_of_a_project_that_the_account_does_not_name_is_as_narrow_as_the_account() {
        let needs = needs(&[("each", "user"), ("all", "project")]);
        let host = Host::builder().build().unwrap();
        for (named, in_order) in [("user = 'ada'", ["all", "each"]), ("user = 'ada'\nproject = 'p'", ["each", "all"])] {
            let account: Account = toml::from_str(named).unwrap();
            let grant = Grant::new(&needs, "acme", &Connection::default(), Some(&account)).unwrap();
            let account_name = Some(if account.project.is_some() { "one" } else { "other" });
            let holder = Holder { connection: "acme", account_name, account: Some(&account) };
            let queues = host.queues(&needs, &grant, holder).unwrap();
            let entered: Vec<String> = queues.all().map(|queue| queue.told().0).collect();
            assert_eq!(entered, in_order, "{named}");
        }
    }

    /// A plugin of three budgets brings three buckets at once.
    #[test]
    fn lanes_of_closed_connections_are_let_go_however_many_each_brings() {
        let needs = needs(&["a", "b", "c"].map(|name| (name, "account")));
        let host = Host::builder().build().unwrap();
        for number in 0..KNOWN_MIN {
            let name = format!("tenant-{number}");
            let grant = Grant::new(&needs, &name, &Connection::default(), None).unwrap();
            let holder = Holder { connection: &name, account_name: None, account: None };
            let queues = host.queues(&needs, &grant, holder).unwrap();
            assert_eq!(queues.all().count(), 3);
        }
        let known = host.0.queues.lock().unwrap().len();
        assert!(known <= KNOWN_MIN, "{known} queues are there");
    }
}
