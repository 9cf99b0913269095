//! The tasks of everything at work, in groups that stop together.

use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Tasks that stop together, in one of the ways that they know.
pub(super) struct Group<S = bool> {
    pub(super) stop: watch::Sender<S>,
    pub(super) tasks: Vec<JoinHandle<()>>,
}

impl<S: Default> Group<S> {
    pub(super) fn new() -> Self {
        Self { stop: watch::channel(S::default()).0, tasks: Vec::new() }
    }

    pub(super) fn spawn(&mut self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.push(tokio::spawn(task));
    }

    pub(super) fn end(&self, how: S) {
        self.stop.send_replace(how);
    }

    pub(super) async fn ended(&mut self) {
        for task in &mut self.tasks {
            let _ = task.await;
        }
    }
}

impl<S> Drop for Group<S> {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}
