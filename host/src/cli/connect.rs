//! `wharfage connect`: a person's consent, or the client's own word, becomes tokens that the host keeps.

use std::io::{BufRead as _, IsTerminal as _, Read as _};
use std::path::PathBuf;
use std::process::Stdio;

use clap::Args;
use tokio::process::Command;
use wharfage::sign_in::{Connected, SignIn, SignInKind};
use wharfage::{Authorization, Clock as _, Kind, SystemClock};

use super::text::{self, BOLD, DIM, GREEN, YELLOW};
use super::{Common, INTERRUPTED, Told, programs, with_only};

#[derive(Args)]
pub(super) struct Connect {
    /// A connection of wharfage.toml
    connection: String,
    /// The file that names connections; by default the wharfage.toml here
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Paste the address back on which the sign-in ends, where the browser is on another machine or is sent elsewhere
    #[arg(long, conflicts_with = "device")]
    paste: bool,
    /// Print the link instead of opening a browser
    #[arg(long)]
    no_browser: bool,
    /// Sign in on another device, with a code that is typed in there
    #[arg(long)]
    device: bool,
    /// Which credential, where the plugin has several that are connected
    #[arg(long, value_name = "NAME")]
    credential: Option<String>,
}

/// How often a wrong address may be pasted.
const PASTES_MAX: usize = 5;

/// Most bytes that are read for one address.
const STDIN_BYTES_MAX: u64 = 64 << 10;

/// After how many milliseconds what opens a browser has not failed.
const OPENED_MS: u64 = 250;

/// What a browser gets of the environment: what finds the desktop and the person's own files. It may run for days, and
/// gives it to all that it starts.
const PASSED: [&str; 33] = [
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "SHELL",
    "TMPDIR",
    "LANG",
    "LANGUAGE",
    "LC_ALL",
    "LC_CTYPE",
    "LC_MESSAGES",
    "BROWSER",
    "DISPLAY",
    "WAYLAND_DISPLAY",
    "XAUTHORITY",
    "DBUS_SESSION_BUS_ADDRESS",
    "DESKTOP_SESSION",
    "KDE_FULL_SESSION",
    "KDE_SESSION_VERSION",
    "XDG_CACHE_HOME",
    "XDG_CONFIG_DIRS",
    "XDG_CONFIG_HOME",
    "XDG_CURRENT_DESKTOP",
    "XDG_DATA_DIRS",
    "XDG_DATA_HOME",
    "XDG_RUNTIME_DIR",
    "XDG_SESSION_DESKTOP",
    "XDG_SESSION_TYPE",
    "XDG_STATE_HOME",
    "WSL_DISTRO_NAME",
    "WSL_INTEROP",
    "SYSTEMROOT",
    "USERPROFILE",
];

impl Connect {
    pub(super) async fn run(self, common: &Common) -> anyhow::Result<()> {
        common.check_state_folder()?;
        let (config, host) = programs::open(common, self.config.as_deref(), &self.connection)?;
        let authorization = host.build()?.authorize(&config, &self.connection, self.credential.as_deref()).await?;
        if !authorization.scopes().is_empty() {
            let asked = text::one_line(&authorization.scopes().join(" "), 1_000);
            note!("{DIM}asks for: {asked}{DIM:#}");
        }
        let audience: Vec<&str> = authorization.audience().collect();
        if !audience.is_empty() {
            let places = text::one_line(&audience.join(", "), 1_000);
            note!("{DIM}its tokens go to: {places}{DIM:#}");
        }
        let connected = match authorization.kind() {
            _ if self.device => self.on_device(&authorization).await,
            SignInKind::Device => self.on_device(&authorization).await,
            SignInKind::Direct => Ok(authorization.obtain().await?),
            SignInKind::Browser if self.paste || !authorization.can_listen() => self.pasted(&authorization).await,
            _ => self.listened(&authorization).await,
        }?;
        self.tell(&connected, authorization.kind())?;
        Ok(())
    }

    /// The browser comes back to this machine.
    async fn listened(&self, authorization: &Authorization) -> anyhow::Result<Connected> {
        let listening = authorization.listen().await?;
        self.show("Sign in here:", listening.link()).await;
        note!("{DIM}waiting at {} for the browser to come back{DIM:#}", listening.redirect());
        tokio::select! {
            connected = listening.wait() => Ok(connected?),
            _ = tokio::signal::ctrl_c() => Err(interrupted().into()),
        }
    }

    /// The browser is sent elsewhere, and a person brings the address.
    async fn pasted(&self, authorization: &Authorization) -> anyhow::Result<Connected> {
        let mut sign_in = authorization.sign_in().await?;
        self.show("Sign in here:", sign_in.link()).await;
        note!(
            "The sign-in ends on an address that begins with {BOLD}{}{BOLD:#}\n\
             (the page itself may not open). Paste that whole address here and press enter:",
            sign_in.redirect()
        );
        for _ in 0..PASTES_MAX {
            let Some(line) = read_line().await? else { break };
            match sign_in.finish(&line).await {
                Ok(connected) => return Ok(connected),
                Err(error) if sign_in.is_over() => return Err(error.into()),
                Err(error) => {
                    note!("{YELLOW}not that{YELLOW:#}: {error}");
                }
            }
        }
        Err(nothing_pasted(&sign_in, &self.connection).into())
    }

    async fn on_device(&self, authorization: &Authorization) -> anyhow::Result<Connected> {
        let device = authorization.device().await?;
        self.show("On any device, open:", device.whole_address().unwrap_or(device.address())).await;
        note!("and type in, or compare:   {BOLD}{}{BOLD:#}", device.user_code());
        tokio::select! {
            connected = device.wait() => Ok(connected?),
            _ = tokio::signal::ctrl_c() => Err(interrupted().into()),
        }
    }

    /// Opens the link where a person sits in front, and prints it in any case.
    async fn show(&self, what: &str, link: &str) {
        note!("{what}\n\n  {link}\n");
        if !self.no_browser && std::io::stdout().is_terminal() && !browse(link).await {
            note!("{DIM}no browser could be opened here{DIM:#}");
        }
    }

    fn tell(&self, connected: &Connected, kind: SignInKind) -> std::io::Result<()> {
        let name = &self.connection;
        let list = |scopes: &[String]| text::one_line(&scopes.join(" "), 500);
        match connected.granted.is_empty() {
            true => say!("{GREEN}connected{GREEN:#} {name}"),
            false => say!("{GREEN}connected{GREEN:#} {name}: {}", list(&connected.granted)),
        }
        for (what, value) in &connected.extra {
            say!("{what} = {}", text::one_line(value, 100));
        }
        if !connected.missing.is_empty() {
            note!(
                "{YELLOW}asked for and not granted{YELLOW:#}: {}\n\
                 Calls that need it are refused. To ask again:   wharfage connect {name}",
                list(&connected.missing)
            );
        }
        match (connected.is_renewable, connected.until) {
            (true, _) => note!("{DIM}the tokens are kept sealed, and renewed by themselves{DIM:#}"),
            (false, Some(until)) if kind == SignInKind::Direct => {
                note!("{DIM}the token serves until {until}, and the next one comes by itself{DIM:#}");
            }
            (false, Some(until)) => {
                note!("{DIM}the token serves until {until}, and the provider gave nothing to renew it with{DIM:#}")
            }
            (false, None) => {}
        }
        Ok(())
    }
}

/// Has a browser open the link, by the first program that can; false where none could.
async fn browse(link: &str) -> bool {
    let clock = SystemClock::new();
    for command in open::commands(link) {
        let Ok(mut child) = browser(command).spawn() else { continue };
        let has_opened = tokio::select! {
            ended = child.wait() => ended.is_ok_and(|status| status.success()),
            () = clock.sleep_until(clock.now().plus(OPENED_MS)) => true,
        };
        if has_opened {
            return true;
        }
    }
    false
}

/// What opens a browser: with nothing of this terminal, for it outlives this program.
fn browser(mut command: std::process::Command) -> Command {
    with_only(&mut command, &PASSED);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    command.into()
}

/// A line of standard input, without stopping what else goes on; nothing at its end. An empty line is skipped.
async fn read_line() -> anyhow::Result<Option<String>> {
    let read = tokio::task::spawn_blocking(|| {
        let mut lines = std::io::stdin().lock().take(STDIN_BYTES_MAX).lines();
        loop {
            match lines.next() {
                Some(Ok(line)) if line.trim().is_empty() => {}
                other => return other.transpose(),
            }
        }
    });
    Ok(read.await??)
}

fn nothing_pasted(sign_in: &SignIn, connection: &str) -> wharfage::Error {
    wharfage::Error::new(Kind::InvalidRequest(Vec::new()), "the address that the sign-in ends on was not pasted")
        .with_details(format!(
            "It begins with {}. Begin again:   wharfage connect {connection} --paste",
            sign_in.redirect()
        ))
}

fn interrupted() -> Told {
    note!("{YELLOW}interrupted{YELLOW:#} before the sign-in ended: nothing was stored");
    Told(INTERRUPTED)
}

#[cfg(unix)]
#[cfg(test)]
mod tests {
    use super::super::build;
    use super::*;

    /// R17: child processes start with an empty environment plus what is named.
    #[tokio::test]
    async fn r17_a_browser_and_a_toolchain_start_with_what_is_named_of_the_environment() {
        let browser = browser(std::process::Command::new("env"));
        for (mut child, passed) in [(browser, &PASSED[..]), (build::child("env").into(), &build::PASSED[..])] {
            let here = || std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
            assert!(here().any(|name| !passed.contains(&&*name)), "there is nothing that could be left out");
            let printed = String::from_utf8(child.stdout(Stdio::piped()).output().await.unwrap().stdout).unwrap();
            let got: Vec<&str> = printed.lines().filter_map(|line| line.split('=').next()).collect();
            assert!(got.contains(&"PATH") && got.iter().all(|name| passed.contains(name)), "{got:?}");
        }
    }
}
