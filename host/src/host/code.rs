//! The code of components: already here, kept on disk, or compiled, one after the other.

use std::collections::HashMap;
use std::sync::{Arc, MutexGuard, PoisonError, Weak};

use super::Host;
use crate::artifact::{self, Code, Compiling, Digest};
use crate::error::{Error, Result};

impl Host {
    /// The component's code: already here, on disk, or compiled now. Reading and compiling happen on threads of their own,
    /// and one component is compiled after the other, which takes all cores by itself.
    pub(super) async fn component(&self, plugin: &str, digest: Digest, bytes: &[u8]) -> Result<Arc<Code>> {
        if let Some(component) = self.loaded(digest) {
            return Ok(component);
        }
        let host = self.clone();
        if let Some(component) = apart(move || host.kept(digest)).await? {
            return Ok(component);
        }
        let turn = self.0.compiler.clone().lock_owned().await;
        let (host, plugin, bytes) = (self.clone(), plugin.to_owned(), bytes.to_vec());
        // Whoever goes away meanwhile leaves the turn to what is being compiled.
        apart(move || {
            let _turn = turn;
            // Somebody may have wanted the same.
            match host.loaded(digest).or_else(|| host.kept(digest)) {
                Some(component) => Ok(component),
                None => host.compiled(&plugin, digest, &bytes),
            }
        })
        .await?
    }

    /// The code that a plugin here is made of.
    fn loaded(&self, digest: Digest) -> Option<Arc<Code>> {
        self.components().get(&digest).and_then(Weak::upgrade)
    }

    /// The code that is kept on disk.
    fn kept(&self, digest: Digest) -> Option<Arc<Code>> {
        let artifacts = self.0.artifacts.as_ref()?;
        Some(self.remember(digest, artifacts.find(&self.0.engine, digest)?))
    }

    fn compiled(&self, plugin: &str, digest: Digest, bytes: &[u8]) -> Result<Arc<Code>> {
        let inner = &self.0;
        let (component_bytes, began) = (bytes.len(), inner.clock.now());
        self.tell(Compiling::Begun { plugin, component_bytes });
        let compiled = match &inner.artifacts {
            Some(artifacts) => artifacts.make(&inner.engine, digest, bytes),
            None => artifact::compile(&inner.engine, bytes),
        };
        let taken_ms = inner.clock.now().since(began);
        self.tell(Compiling::Ended { taken_ms });
        tracing::info!(target: "wharfage::artifact", plugin, component_bytes, taken_ms, "compiled");
        Ok(self.remember(digest, compiled?))
    }

    fn remember(&self, digest: Digest, code: Code) -> Arc<Code> {
        let code = Arc::new(code);
        let mut components = self.components();
        components.retain(|_, code| code.strong_count() > 0);
        components.insert(digest, Arc::downgrade(&code));
        code
    }

    fn components(&self) -> MutexGuard<'_, HashMap<Digest, Weak<Code>>> {
        self.0.components.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, compiling: Compiling<'_>) {
        if let Some(listener) = &self.0.compiling {
            listener(compiling);
        }
    }
}

/// Does what takes a while on a thread that nobody else waits for.
pub(super) async fn apart<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(|_| Error::internal("a thread that works for the host has failed"))
}
