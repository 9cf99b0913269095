//! Paths of the host's own: by one method to one URL, and nowhere else.

use std::collections::BTreeMap;
use std::sync::Arc;

use url::Url;

use super::address::Resolver;
use super::path_pattern::PathPattern;
use super::scope::{OriginScope, Scope};
use super::transport::Transport;
use super::{Method, Outbound};
use crate::account::SecretSource;
use crate::limits::Limits;
use crate::manifest::Purpose;
use crate::vault::{Granted, Secrets, SecretsContext};

/// What a request of the host's own is sent with: the transport, the resolver, and where its secrets are read.
pub(crate) struct OwnPath {
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) resolver: Arc<Resolver>,
    /// What its secrets are read with, by whom, and where their use is told.
    pub(crate) secrets: SecretsContext,
}

/// Its one secret, as the operator grants it.
pub(crate) fn granted(name: &str, purpose: Purpose, source: &SecretSource) -> BTreeMap<String, Granted> {
    let granted = Granted { purpose, source: Some(source.clone()), max_age_days: None };
    BTreeMap::from([(name.to_owned(), granted)])
}

impl Outbound {
    /// To exactly this URL, whose path may be a pattern. In messages `who` asks; a request may call where by `origin`.
    ///
    /// # Errors
    /// A sentence that says why the path of the URL cannot be granted.
    pub(crate) fn to_url(
        who: &str,
        origin: &str,
        method: Method,
        url: &Url,
        secrets: Secrets,
        own_path: &OwnPath,
        limits: Limits,
    ) -> Result<Self, String> {
        let path = PathPattern::parse(url.path())?;
        let mut base = url.clone();
        base.set_path("");
        base.set_query(None);
        let origin = OriginScope::new(origin, base, vec![method], vec![path]);
        let context = &own_path.secrets;
        Ok(Self {
            scope: Scope::of_own(who, &context.owner, origin, &limits),
            limits,
            resolver: own_path.resolver.clone(),
            transport: own_path.transport.clone(),
            audit_context: context.audit_context.clone(),
            hides_path: true,
            ..Self::nowhere(Arc::new(secrets.used_by(who).with(context.clone())), context.clock.clone())
        })
    }
}
