//! `wharfage secret`: keeps secrets in the sealed store, and tells how old they are. A value comes from a prompt that does
//! not show it or from standard input, never from an argument, which every user of the machine could read; none is
//! ever printed.

use std::io::{IsTerminal as _, Read as _, Write as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Args, Subcommand};
use serde_json::value::RawValue;
use wharfage::secrets::{SecretSlot, SecretState};
use wharfage::{Clock as _, Config, Host, Kind, SecretValue, Secrets, SystemClock};
use zeroize::Zeroizing;

use super::text::{self, DIM, GREEN, YELLOW};
use super::{Common, INTERRUPTED, Told, programs, read_config};

/// Days after which a secret is old where its provider says nothing.
const AGE_DAYS: u32 = 90;

const DAY_MS: u64 = 24 * 60 * 60 * 1000;

/// Most bytes of a value, as the sealed store has it.
const VALUE_BYTES_MAX: usize = 64 << 10;

#[derive(Args)]
pub(super) struct Secret {
    #[command(subcommand)]
    what: What,
    /// The file that names connections; by default the wharfage.toml here
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
}

#[derive(Subcommand)]
enum What {
    /// Keep a value, used from now on; the one before becomes the previous one
    Set(Named),
    /// Keep the next value: it is used when the provider refuses the current one, and current when it has worked
    Rotate(Named),
    /// Take a secret away
    Remove {
        #[command(flatten)]
        named: Named,
        /// Only its previous value
        #[arg(long)]
        previous: bool,
    },
    /// Where each secret comes from and since when; no value
    List(Which),
    /// Which secrets should be replaced; ends with code 3 if one should
    Age(Which),
    /// Seal everything with a new key, and forget the old one
    RotateKey,
}

#[derive(Args)]
struct Named {
    /// A connection of wharfage.toml
    connection: String,
    /// The secret, by the name that the plugin gives it
    secret: String,
}

#[derive(Args)]
struct Which {
    /// A connection of wharfage.toml; all of them without one
    connection: Option<String>,
    /// JSON, one secret a line, also on a terminal
    #[arg(long)]
    json: bool,
}

impl Secret {
    pub(super) async fn run(self, common: &Common) -> anyhow::Result<()> {
        common.check_state_folder()?;
        let host = common.host().build()?;
        let path = self.config.as_deref().unwrap_or(Path::new(programs::FOUND));
        match self.what {
            What::RotateKey => rotate_key(&host).await,
            What::Set(named) => keep(&host, &read_config(path)?, &named, SecretSlot::Current).await,
            What::Rotate(named) => keep(&host, &read_config(path)?, &named, SecretSlot::Next).await,
            What::Remove { named, previous } => remove(&host, &read_config(path)?, &named, previous).await,
            What::List(some) => list(&host, &read_config(path)?, &some).await,
            What::Age(some) => age(&host, &read_config(path)?, &some).await,
        }
    }
}

async fn keep(host: &Host, config: &Config, named: &Named, slot: SecretSlot) -> anyhow::Result<()> {
    let Named { connection, secret } = named;
    let secrets = host.secrets(config, connection)?;
    secrets.may_keep(secret)?;
    let version = secrets.keep(secret, &value(secret)?, slot).await?;
    let word = if slot == SecretSlot::Next { "next value " } else { "" };
    note!("{GREEN}kept{GREEN:#} the {word}{secret} of {connection}, sealed, version {version}");
    let state = secrets.states().await.into_iter().find(|state| state.name == *secret);
    if let Some(state) = state.filter(|state| state.version.is_none()) {
        note!(
            "{YELLOW}{} comes before it, and is what {connection} uses{YELLOW:#}",
            text::one_line(&state.source, 200)
        );
    }
    Ok(())
}

/// The value, from a prompt that does not show it, or from standard input.
fn value(secret: &str) -> anyhow::Result<SecretValue> {
    let wrong = |message: String| wharfage::Error::new(Kind::InvalidRequest(Vec::new()), message);
    let too_long = || wrong(format!("the value of {secret} is longer than {VALUE_BYTES_MAX} bytes"));
    let text = if std::io::stdin().is_terminal() {
        typed(secret)?
    } else {
        // One more than may be there, and the end of its line.
        let most = VALUE_BYTES_MAX + 3;
        let mut bytes = Zeroizing::new(Vec::<u8>::with_capacity(most));
        let read = std::io::stdin().lock().take(most as u64).read_to_end(&mut bytes);
        read.map_err(|error| wrong(format!("standard input cannot be read: {error}")))?;
        // What `echo` and editors put behind a value.
        let line = bytes.strip_suffix(b"\n").map_or(bytes.as_slice(), |line| line.strip_suffix(b"\r").unwrap_or(line));
        // What is cut off may end within a letter.
        if line.len() > VALUE_BYTES_MAX {
            return Err(too_long().into());
        }
        let text = std::str::from_utf8(line).map_err(|_| wrong("standard input holds no text".to_owned()))?;
        text.to_owned()
    };
    match text.len() {
        0 => Err(wrong(format!("the value of {secret} is empty")).into()),
        1..=VALUE_BYTES_MAX => Ok(SecretValue::new(text)),
        _ => Err(too_long().into()),
    }
}

/// What a person types. An interrupt that is listened to ends the prompt and not the program, so that the terminal
/// shows again what is typed.
fn typed(secret: &str) -> anyhow::Result<String> {
    #[cfg(unix)]
    let _listening = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::interrupt());
    match rpassword::prompt_password(format!("{secret} (it is not shown): ")) {
        Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {
            note!("\n{YELLOW}interrupted{YELLOW:#}: nothing was kept");
            Err(Told(INTERRUPTED).into())
        }
        typed => typed.context("read the value"),
    }
}

async fn remove(host: &Host, config: &Config, named: &Named, only_previous: bool) -> anyhow::Result<()> {
    let Named { connection, secret } = named;
    let secrets = host.secrets(config, connection)?;
    let (was_there, what) = match only_previous {
        true => (secrets.remove_previous(secret).await?, "the previous value of "),
        false => (secrets.remove(secret).await?, ""),
    };
    if !was_there {
        let message = format!("{what}{secret} of {connection} is not in the sealed store");
        return Err(wharfage::Error::new(Kind::NotFound, message)
            .with_details(format!("What there is:   wharfage secret list {connection}"))
            .into());
    }
    note!("{GREEN}removed{GREEN:#} {what}{secret} of {connection}");
    Ok(())
}

async fn rotate_key(host: &Host) -> anyhow::Result<()> {
    let change = host.change_sealing_key().await?;
    match change.resealed {
        0 => note!(
            "{YELLOW}nothing was sealed anew{YELLOW:#}: no record that opens has another key than the one that seals"
        ),
        resealed => note!("{GREEN}sealed{GREEN:#} {} with a new key", text::count(resealed, "record")),
    }
    if change.environment_holds_old {
        note!("Only the first key of WHARFAGE_SEALING_KEY is needed now; take the others away.");
    }
    if change.unopened.is_empty() {
        return Ok(());
    }
    let message = format!("{} did not open and stayed as it was", text::count(change.unopened.len(), "record"));
    Err(wharfage::Error::new(Kind::CredentialUnavailable, message).with_details(change.unopened.join("\n")).into())
}

/// The secrets of one connection, or of each.
fn connections(host: &Host, config: &Config, some: &Which) -> anyhow::Result<Vec<(String, Secrets)>> {
    let names = match &some.connection {
        Some(name) => vec![name.clone()],
        None => config.connections.keys().cloned().collect(),
    };
    names.into_iter().map(|name| Ok((name.clone(), host.secrets(config, &name)?))).collect()
}

async fn list(host: &Host, config: &Config, some: &Which) -> anyhow::Result<()> {
    let mut rows = Vec::new();
    for (connection, secrets) in connections(host, config, some)? {
        for state in secrets.states().await {
            let beside = [(state.has_next, "next"), (state.has_previous, "previous")];
            let beside: Vec<&str> = beside.iter().filter(|(is_there, _)| *is_there).map(|(_, name)| *name).collect();
            rows.push(serde_json::json!({
                "connection": connection, "secret": state.name, "from": state.source, "version": state.version,
                "since": state.since.map(|at| at.to_string()), "beside": beside.join(", "), "trouble": state.trouble,
            }));
        }
    }
    print(rows, &["connection", "secret", "from", "version", "since", "beside", "trouble"], some.json)
}

async fn age(host: &Host, config: &Config, some: &Which) -> anyhow::Result<()> {
    let now = SystemClock::new().now();
    let (mut rows, mut old) = (Vec::new(), Vec::new());
    for (connection, secrets) in connections(host, config, some)? {
        for state in secrets.states().await {
            let days = state.since.map(|since| now.since(since) / DAY_MS);
            let most = state.max_age_days.unwrap_or(AGE_DAYS);
            let is_old = days.is_some_and(|days| days >= u64::from(most));
            if is_old {
                old.push(replacement(&connection, &state));
            }
            rows.push(serde_json::json!({
                "connection": connection, "secret": state.name, "days": days, "days_max": most, "is_old": is_old,
            }));
        }
    }
    let printed = print(rows, &["connection", "secret", "days", "days_max", "is_old"], some.json);
    if old.is_empty() {
        return printed;
    }
    let message = format!("{} should be replaced", text::count(old.len(), "secret"));
    Err(wharfage::Error::new(Kind::Configuration, message).with_details(old.join("\n")).into())
}

/// How a secret is replaced.
fn replacement(connection: &str, state: &SecretState) -> String {
    let name = &state.name;
    match state.version {
        Some(_) => format!("Draw a new one at the provider, then:   wharfage secret rotate {connection} {name}"),
        None => format!(
            "Draw a new {name} of {connection} at the provider, and put it beside as the next one: {}",
            state.source
        ),
    }
}

fn print(rows: Vec<serde_json::Value>, columns: &[&str], as_json: bool) -> anyhow::Result<()> {
    if as_json || !std::io::stdout().is_terminal() {
        let mut out = std::io::stdout().lock();
        for row in rows {
            writeln!(out, "{row}")?;
        }
        return Ok(());
    }
    if rows.is_empty() {
        note!("{DIM}no connection here has a secret{DIM:#}");
    }
    let columns: Vec<String> = columns.iter().map(|column| (*column).to_owned()).collect();
    let rows: Vec<Box<RawValue>> = rows.iter().map(serde_json::value::to_raw_value).collect::<Result<_, _>>()?;
    Ok(text::Rows::new(&columns).print(&rows)?)
}
