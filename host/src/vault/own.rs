//! A store of the embedding program's own: a door to every vault that it has a client for.
//!
//! What answers is code of that program's, and may hang or panic as any may: it has a time and a length, and a panic of it
//! is an error of this one secret. What it gives is never shown.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt as _;
use zeroize::Zeroizing;

use super::SECRET_BYTES_MAX;
use super::source::Trouble;
use crate::account::SecretAsk;
use crate::time::Clock;

/// What it gives; nothing where it does not have the secret.
///
/// # Errors
/// Its own error, or a sentence for the operator.
pub(super) async fn read(ask: &SecretAsk, clock: &Arc<dyn Clock>) -> Result<Option<Zeroizing<String>>, Trouble> {
    let over = clock.alarm(clock.now().plus(ask.timeout_ms));
    let answer = AssertUnwindSafe(async {
        // It may panic before there is anything to wait for, too.
        let answer = ask.answer();
        answer.await
    });
    let words = |said: String| Err(Trouble::Words(format!("the embedding program's own store {said}")));
    let answered = tokio::select! {
        biased;
        answered = answer.catch_unwind() => answered,
        () = over => return words(format!("did not answer within timeout_ms = {}", ask.timeout_ms)),
    };
    match answered {
        Ok(Ok(Some(value))) if (1..=SECRET_BYTES_MAX).contains(&value.0.len()) => Ok(Some(value.0)),
        Ok(Ok(Some(value))) => words(format!("gave {} bytes; a secret has 1 to {SECRET_BYTES_MAX}", value.0.len())),
        Ok(Ok(None)) => Ok(None),
        Ok(Err(error)) => Err(Trouble::Known(error)),
        Err(_) => words("panicked".to_owned()),
    }
}
