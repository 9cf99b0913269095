//! Ends the run where a test hangs, with that test's name: whoever runs the tests elsewhere would see only that they never
//! ended.

use std::io::Write as _;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::Duration;

/// Of real time: no test takes as long on the slowest machine.
const HANGS: Duration = Duration::from_secs(20 * 60);

thread_local! {
    /// Lives as long as its thread, which is as long as the test.
    static WATCHED: Option<Sender<()>> = begin();
}

/// Watches over the test on whose thread this is.
pub(crate) fn watch() {
    WATCHED.with(|_| ());
}

fn begin() -> Option<Sender<()>> {
    let thread = std::thread::current();
    // The thread of a test has its name. With `--test-threads 1` there is none, and programs have none either.
    let test = thread.name().filter(|name| name.contains("::"))?.to_owned();
    let (lives, ended) = channel::<()>();
    std::thread::spawn(move || {
        if let Err(RecvTimeoutError::Timeout) = ended.recv_timeout(HANGS) {
            // Not by `eprintln!`, which the test would keep to itself.
            let told = format!("\n{test} has hung for {} minutes; the run ends here\n", HANGS.as_secs() / 60);
            let _ = std::io::stderr().write_all(told.as_bytes());
            std::process::exit(101);
        }
    });
    Some(lives)
}
