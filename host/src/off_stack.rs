//! What an import waits for, done on the stack of whoever runs the call and not on the guest's.
//!
//! A guest's stack is its own for as long as its call lasts, and stays as deep in memory as it ever was. The way of a
//! request to its socket is deep. So an import leaves its request here and waits, and [`OffStack::drive`], which runs the
//! guest, does it in between. The guest stands still meanwhile, as it would anyway, and who drops the call drops both.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use crate::time::BoxFuture;

/// What one guest waits for. Clones are the same.
#[derive(Clone, Default)]
pub(crate) struct OffStack(Arc<Mutex<Option<Task>>>);

/// It is begun where it is done, so that nothing large is made on the guest's stack.
type Task = Box<dyn FnOnce() -> BoxFuture<'static, ()> + Send>;

/// Something under way, and where it puts what comes of it. It is polled where it lies: what is waited for is large, and
/// each layer around it would move it once more.
struct Doing<T> {
    what: BoxFuture<'static, T>,
    came: Arc<Mutex<Option<T>>>,
}

impl<T> Future for Doing<T> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let it = ready!(self.what.as_mut().poll(cx));
        *lock(&self.came) = Some(it);
        Poll::Ready(())
    }
}

impl OffStack {
    /// Has this done, and waits for what comes of it. Nobody does it where no [`OffStack::drive`] runs the guest.
    pub(crate) async fn run<T>(&self, task: impl FnOnce() -> BoxFuture<'static, T> + Send + 'static) -> T
    where
        T: Send + 'static,
    {
        let done = Arc::new(Mutex::new(None));
        let came = done.clone();
        *lock(&self.0) = Some(Box::new(move || Box::pin(Doing { what: task(), came })));
        // No waker: the guest goes on as soon as it is done.
        poll_fn(|_| lock(&done).take().map_or(Poll::Pending, Poll::Ready)).await
    }

    /// Runs a guest, and whatever it waits for.
    pub(crate) async fn drive<T>(&self, mut guest: Pin<&mut impl Future<Output = T>>) -> T {
        let mut under_way: Option<BoxFuture<'static, ()>> = None;
        poll_fn(|cx| {
            loop {
                if let Some(task) = &mut under_way {
                    ready!(task.as_mut().poll(cx));
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
    use std::pin::pin;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    #[tokio::test]
    async fn a_guest_goes_on_with_what_came_of_each_of_its_tasks() {
        let off_stack = OffStack::default();
        let guest = async {
            let mut sum = 0;
            for number in 1..=3_u64 {
                sum += off_stack
                    .run(move || {
                        Box::pin(async move {
                            tokio::task::yield_now().await;
                            number
                        })
                    })
                    .await;
                tokio::task::yield_now().await;
            }
            sum
        };
        assert_eq!(off_stack.drive(pin!(guest)).await, 6);
    }

    #[tokio::test]
    async fn a_task_ends_with_its_guest_and_a_guest_that_waits_is_not_run() {
        struct Told(Arc<AtomicU64>);
        impl Drop for Told {
            fn drop(&mut self) {
                self.0.fetch_add(1, Ordering::SeqCst);
            }
        }
        let (off_stack, ended, polled) = (OffStack::default(), Arc::new(AtomicU64::new(0)), AtomicU64::new(0));
        let told = Told(ended.clone());
        let guest = async {
            let waits = off_stack.run(move || {
                Box::pin(async move {
                    let _told = told;
                    std::future::pending::<()>().await;
                })
            });
            let mut waits = pin!(waits);
            poll_fn(|cx| {
                polled.fetch_add(1, Ordering::SeqCst);
                waits.as_mut().poll(cx)
            })
            .await;
        };
        let mut guest = Box::pin(guest);
        let mut call = Box::pin(off_stack.drive(guest.as_mut()));
        for _ in 0..3 {
            assert!(futures_util::poll!(&mut call).is_pending());
        }
        assert_eq!((polled.load(Ordering::SeqCst), ended.load(Ordering::SeqCst)), (1, 0));
        drop(call);
        assert_eq!(ended.load(Ordering::SeqCst), 1);
    }
}
