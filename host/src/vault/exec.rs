//! A program that prints a secret: a door to every vault there is, without knowing one.
//!
//! There is no shell, and the environment holds what the source names and nothing else (R17). It gets no input, a time
//! and a length; when either is over, it is ended with all it started. What it prints on its output is the secret, what
//! it prints beside is thrown away, and neither is ever shown.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;

use tokio::io::AsyncReadExt as _;
use tokio::process::{Child, Command};
use zeroize::Zeroizing;

use super::{SECRET_BYTES_MAX, env};
use crate::account::SecretProgram;
use crate::time::Clock;

/// What the program prints, trimmed.
///
/// # Errors
/// A sentence for the operator, which holds nothing of what was printed.
pub(super) async fn read(program: &SecretProgram, clock: &Arc<dyn Clock>) -> Result<Zeroizing<String>, String> {
    let shown = program.shown();
    let mut command = command(program)?;
    // The time that starting takes counts.
    let until = clock.now().plus(program.timeout_ms);
    // Starting a process stops its thread for a while.
    let started = tokio::task::spawn_blocking(move || command.spawn()).await;
    let child = started.map_err(|_| format!("{shown} could not be started"))?;
    let child = child.map_err(|error| format!("{shown} cannot be started: {error}"))?;
    let mut family = Family(child);
    let over = clock.alarm(until);
    tokio::select! {
        biased;
        printed = printed(&mut family.0, &shown) => printed,
        () = over => Err(format!(
            "{shown} took longer than timeout_ms = {} and was ended; set timeout_ms beside program to allow more",
            program.timeout_ms
        )),
    }
}

async fn printed(child: &mut Child, shown: &str) -> Result<Zeroizing<String>, String> {
    let mut output = child.stdout.take().ok_or_else(|| format!("{shown} has no output"))?;
    // All the room there may be, so that nothing is copied while it grows.
    let mut bytes = Zeroizing::new(vec![0; SECRET_BYTES_MAX + 1]);
    let mut length = 0;
    while length < bytes.len() {
        match output.read(&mut bytes[length..]).await {
            Ok(0) => break,
            Ok(count) => length += count,
            Err(error) => return Err(format!("the output of {shown} cannot be read: {}", error.kind())),
        }
    }
    if length > SECRET_BYTES_MAX {
        return Err(format!("{shown} printed more than {SECRET_BYTES_MAX} bytes, which is no secret, and was ended"));
    }
    let status = child.wait().await.map_err(|error| format!("{shown} was lost: {}", error.kind()))?;
    if !status.success() {
        return Err(format!(
            "{shown} failed ({status}); run it by hand to see why, with only what env = […] names set"
        ));
    }
    let text = std::str::from_utf8(&bytes[..length]).map_err(|_| format!("{shown} printed what is no text"))?;
    let text = text.trim();
    if text.is_empty() {
        return Err(format!("{shown} printed nothing"));
    }
    Ok(Zeroizing::new(text.to_owned()))
}

fn command(program: &SecretProgram) -> Result<Command, String> {
    let (name, arguments) = program.argv.split_first().ok_or("a program has a name")?;
    let mut command = Command::new(find(name)?);
    command.args(arguments).env_clear();
    for name in &program.env {
        if let Some(value) = env::os(name) {
            command.env(name, value);
        }
    }
    if let Some(folder) = program.found_in.as_ref().and_then(|file| file.parent()).filter(|folder| folder.is_dir()) {
        command.current_dir(folder);
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
    // A group of its own, so that what it starts can be ended with it.
    #[cfg(unix)]
    command.process_group(0);
    Ok(command)
}

/// Where a program lies: looked up here, because the child has no `PATH`, and only in folders that have a place of their
/// own, so that none of the folder one happens to be in is run.
fn find(name: &str) -> Result<PathBuf, String> {
    let path = Path::new(name);
    if path.is_absolute() {
        return Ok(path.to_owned());
    }
    if path.components().count() != 1 {
        return Err(format!("{} is a relative path; write where the program lies, or its bare name", path.display()));
    }
    env::program_folders()
        .into_iter()
        .map(|folder| folder.join(name))
        .find(|path| path.is_file())
        .ok_or_else(|| format!("there is no program {name} in PATH"))
}

/// A child with all it started: both end with this.
struct Family(Child);

impl Drop for Family {
    fn drop(&mut self) {
        // Of a child that was waited for there is no number any more, and what it left running is its own affair.
        #[cfg(unix)]
        if let Some(group) = self.0.id().and_then(|id| i32::try_from(id).ok()).and_then(rustix::process::Pid::from_raw)
        {
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        }
        #[cfg(not(unix))]
        let _ = self.0.start_kill();
    }
}

#[cfg(unix)]
#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::{ManualClock, SystemClock, Timestamp};

    fn shell(script: &str) -> SecretProgram {
        SecretProgram::new(["/bin/sh", "-c", script])
    }

    fn clock() -> Arc<dyn Clock> {
        Arc::new(SystemClock::new())
    }

    async fn refusal(program: &SecretProgram) -> String {
        read(program, &clock()).await.unwrap_err()
    }

    /// R17: child processes start with an empty environment plus what is named.
    #[tokio::test]
    async fn r17_a_program_starts_with_an_empty_environment_plus_what_is_named() {
        let env = find("env").unwrap().display().to_string();
        assert!(env::os("HOME").is_some() && env::os("PATH").is_some(), "there is nothing that could be left out");
        let mut program = SecretProgram::new([env]);
        assert_eq!(read(&program, &clock()).await.unwrap_err(), format!("{} printed nothing", program.shown()));
        program.env = vec!["HOME".into(), "NO_SUCH_VARIABLE".into()];
        let home = env::os("HOME").unwrap();
        assert_eq!(read(&program, &clock()).await.unwrap().as_str(), format!("HOME={}", home.to_str().unwrap()));
    }

    #[tokio::test]
    async fn no_shell_reads_the_arguments() {
        let program = SecretProgram::new(["echo", "$HOME;", "`id`", "*"]);
        assert_eq!(read(&program, &clock()).await.unwrap().as_str(), "$HOME; `id` *");
    }

    #[tokio::test]
    async fn what_it_prints_is_never_shown() {
        for script in ["echo s3cret-value; exit 3", "echo s3cret-value >&2; exit 3", "printf 's3cret-value\\377'"] {
            let mut program = shell(script);
            program.argv[2] = script.into();
            let told = refusal(&program).await;
            let told = told.replace(&program.shown(), "");
            assert!(!told.contains("s3cret"), "{told}");
        }
        assert!(refusal(&shell("exit 3")).await.contains("exit status: 3"));
        assert!(refusal(&shell("true")).await.contains("printed nothing"));
    }

    #[tokio::test]
    async fn it_ends_at_its_length() {
        let program = shell("while :; do echo 0123456789012345678901234567890123456789; done");
        assert!(refusal(&program).await.contains("65536 bytes"));
        let whole = shell("head -c 65536 /dev/zero | /usr/bin/tr '\\000' x");
        assert_eq!(read(&whole, &clock()).await.unwrap().len(), SECRET_BYTES_MAX);
    }

    #[tokio::test]
    async fn it_ends_at_its_time_with_all_it_started() {
        let folder = tempfile::tempdir().unwrap();
        let pid_file = folder.path().join("pid");
        let script =
            format!("/bin/sh -c 'echo $$ > {0}.new; mv {0}.new {0}; exec sleep 600' & wait", pid_file.display());
        let mut program = shell(&script);
        program.env = vec!["PATH".into()];
        let clock = ManualClock::new(Timestamp::from_millis(0), 1);
        let turned: Arc<dyn Clock> = Arc::new(clock.clone());
        let reading = tokio::spawn(async move { read(&program, &turned).await });
        while !pid_file.exists() {
            tokio::task::yield_now().await;
        }
        clock.advance(29_999);
        assert!(!reading.is_finished());
        clock.advance(1);
        assert!(reading.await.unwrap().unwrap_err().contains("timeout_ms = 30000"));
        let pid: i32 = std::fs::read_to_string(pid_file).unwrap().trim().parse().unwrap();
        let pid = rustix::process::Pid::from_raw(pid).unwrap();
        // It is gone, or dead and waits for somebody who takes note.
        let stat = format!("/proc/{}/stat", pid.as_raw_nonzero());
        while std::fs::read_to_string(&stat).is_ok_and(|stat| !stat.contains(") Z ")) {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn a_program_that_is_not_there_is_named() {
        assert!(refusal(&SecretProgram::new(["no-such-program-anywhere"])).await.contains("in PATH"));
        assert!(refusal(&SecretProgram::new(["/no/such/program"])).await.contains("cannot be started"));
        assert!(refusal(&SecretProgram::new(["./here"])).await.contains("relative path"));
    }
}
