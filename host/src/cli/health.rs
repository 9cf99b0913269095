//! `wharfage health`: how connections are, what keeps them from being well, and what to type about it. It needs no
//! `wharfage serve` that runs: each connection is opened and its provider asked, all side by side.

use std::io::{IsTerminal as _, Write as _};
use std::path::PathBuf;

use clap::Args;
use wharfage::health::{HealthState, Subject};

use super::text::{DIM, GREEN, RED, YELLOW, one_line};
use super::{Common, Told, programs};

/// Longest line of what is told.
const LINE_CHARS_MAX: usize = 500;

#[derive(Args)]
#[command(after_help = EXIT_CODES)]
pub(super) struct Health {
    /// Connections of wharfage.toml; all of them without one
    connections: Vec<String>,
    /// The file that names connections; by default the wharfage.toml here
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Ask no provider: only what is known here
    #[arg(long)]
    no_probe: bool,
    /// JSON, one connection a line, also on a terminal
    #[arg(long)]
    json: bool,
}

const EXIT_CODES: &str = "Exit codes: 0 all healthy · 1 something is degraded or unknown · 3 something is unhealthy or needs \
connecting · 2 the arguments were wrong";

impl Health {
    pub(super) async fn run(self, common: &Common) -> anyhow::Result<()> {
        // Tokens, polls and dead letters that lie elsewhere would be told as none.
        common.check_state_folder()?;
        let (config, host) = programs::open_all(common, self.config.as_deref())?;
        for name in &self.connections {
            config.connection(name)?;
        }
        let report = host.build()?.health(&config, &self.connections, !self.no_probe).await;
        let lines: Vec<String> = match self.json || !std::io::stdout().is_terminal() {
            true => report.all.iter().map(serde_json::to_string).collect::<Result<_, _>>()?,
            false => lines(&report.all),
        };
        let mut out = anstream::stdout().lock();
        let printed = lines.iter().try_for_each(|line| writeln!(out, "{line}"));
        // The code says it also to whoever reads no further.
        match code(report.state) {
            0 => Ok(printed?),
            code => Err(Told(code).into()),
        }
    }
}

/// What a script goes by. 2 is for wrong arguments.
fn code(state: HealthState) -> u8 {
    match state {
        HealthState::Healthy => 0,
        HealthState::Unknown | HealthState::Degraded => 1,
        // It does not work, or is in a state that this program does not know.
        _ => 3,
    }
}

/// A line for each, with its state, and two for each finding: the cause, and what to do.
fn lines(all: &[wharfage::health::Health]) -> Vec<String> {
    let name = |health: &wharfage::health::Health| match health.subject {
        Subject::Sink => format!("sink {}", health.name),
        _ => health.name.clone(),
    };
    let widest = all.iter().map(|health| name(health).chars().count()).max().unwrap_or_default();
    let mut lines = Vec::new();
    for health in all {
        let style = match health.state {
            HealthState::Healthy => GREEN,
            HealthState::Unknown | HealthState::Degraded => YELLOW,
            _ => RED,
        };
        let mut head = format!("{:<widest$}  {style}{:<16}{style:#}", name(health), health.state);
        for finding in &health.findings {
            let about = if finding.about.is_empty() { String::new() } else { format!(" {}", finding.about) };
            let told = one_line(&format!("{}{about}: {}", finding.cause, finding.message), LINE_CHARS_MAX);
            lines.push(format!("{head}  {told}"));
            head = " ".repeat(widest + 18);
            if !finding.help.is_empty() {
                lines.push(format!("{head}  {DIM}{}{DIM:#}", one_line(&finding.help, LINE_CHARS_MAX)));
            }
        }
        if health.findings.is_empty() {
            let probe = health.probe.as_ref().map(|probe| format!("  answered in {} ms", probe.latency_ms));
            lines.push(head.trim_end().to_owned() + &probe.unwrap_or_default());
        }
    }
    lines
}
