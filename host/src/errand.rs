//! What an import waits for, done on the stack of whoever runs the call and not on the guest's.
//!
//! A guest's stack is its own for as long as its call lasts, and stays as deep in memory as it ever was. The way of a
//! request to its socket is deep. So an import leaves its request here and waits, and [`Errands::attend`], which runs the
//! guest, does it in between. The guest stands still meanwhile, as it would anyway, and who drops the call drops both.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, ready};

use crate::time::BoxFuture;

/// What one guest waits for. Clones are the same.
#[derive(Clone, Default)]
pub(crate) struct Errands(Arc<Mutex<Option<Errand>>>);

/// It is begun where it is done, so that nothing large is made on the guest's stack.
type Errand = Box<dyn FnOnce() -> BoxFuture<'static, ()> + Send>;

impl Errands {
    /// Has this done, and waits for what comes of it. Nobody does it where no [`Errands::attend`] runs the guest.
    pub(crate) async fn run<F, T>(&self, errand: impl FnOnce() -> F + Send + 'static) -> T
    where
        F: Future<Output = T> + Send,
        T: Send + 'static,
    {
        let done = Arc::new(Mutex::new(None));
        let came = done.clone();
        *lock(&self.0) = Some(Box::new(move || {
            Box::pin(async move {
                let it = errand().await;
                *lock(&came) = Some(it);
            })
        }));
        // No waker: the guest goes on as soon as it is done.
        poll_fn(|_| lock(&done).take().map_or(Poll::Pending, Poll::Ready)).await
    }

    /// Runs a guest, and whatever it waits for.
    pub(crate) async fn attend<T>(&self, guest: impl Future<Output = T>) -> T {
        let mut guest = pin!(guest);
        let mut under_way: Option<BoxFuture<'static, ()>> = None;
        poll_fn(|cx| {
            loop {
                if let Some(errand) = &mut under_way {
                    ready!(errand.as_mut().poll(cx));
                    under_way = None;
                }
                if let Poll::Ready(came) = guest.as_mut().poll(cx) {
                    return Poll::Ready(came);
                }
                match lock(&self.0).take() {
                    Some(begin) => under_way = Some(begin()),
                    None => return Poll::Pending,
                }
            }
        })
        .await
    }
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    #[tokio::test]
    async fn a_guest_goes_on_with_what_came_of_each_of_its_errands() {
        let errands = Errands::default();
        let guest = async {
            let mut sum = 0;
            for number in 1..=3_u64 {
                sum += errands
                    .run(move || async move {
                        tokio::task::yield_now().await;
                        number
                    })
                    .await;
                tokio::task::yield_now().await;
            }
            sum
        };
        assert_eq!(errands.attend(guest).await, 6);
    }

    #[tokio::test]
    async fn an_errand_ends_with_its_guest_and_a_guest_that_waits_is_not_run() {
        struct Told(Arc<AtomicU64>);
        impl Drop for Told {
            fn drop(&mut self) {
                self.0.fetch_add(1, Ordering::SeqCst);
            }
        }
        let (errands, ended, polled) = (Errands::default(), Arc::new(AtomicU64::new(0)), AtomicU64::new(0));
        let told = Told(ended.clone());
        let guest = async {
            let waits = errands.run(move || async move {
                let _told = told;
                std::future::pending::<()>().await;
            });
            let mut waits = pin!(waits);
            poll_fn(|cx| {
                polled.fetch_add(1, Ordering::SeqCst);
                waits.as_mut().poll(cx)
            })
            .await;
        };
        let mut call = Box::pin(errands.attend(guest));
        for _ in 0..3 {
            assert!(futures_util::poll!(&mut call).is_pending());
        }
        assert_eq!((polled.load(Ordering::SeqCst), ended.load(Ordering::SeqCst)), (1, 0));
        drop(call);
        assert_eq!(ended.load(Ordering::SeqCst), 1);
    }
}
