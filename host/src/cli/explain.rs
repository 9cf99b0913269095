//! `wharfage explain`: what a plugin may do, what an upgrade would change, and the lines it needs.

use std::io::Write as _;
use std::path::PathBuf;

use clap::Args;
use wharfage::{Digest, Grant, Needs};

use super::{Common, read_config};

#[derive(Args)]
pub(super) struct Explain {
    /// A connection of wharfage.toml; with --suggest, a component's file
    target: String,
    /// The file that names connections
    #[arg(long, value_name = "FILE", default_value = "wharfage.toml")]
    config: PathBuf,
    /// Print the lines of wharfage.toml that everything the component needs would take
    #[arg(long)]
    suggest: bool,
    /// Show what would change if the connection's plugin were this component
    #[arg(long, value_name = "COMPONENT", conflicts_with = "suggest")]
    against: Option<PathBuf>,
}

impl Explain {
    pub(super) async fn run(self, _: &Common) -> anyhow::Result<()> {
        if self.suggest {
            let bytes = wharfage::read_component(self.target.as_ref())?;
            let needs = Needs::read(&bytes)?;
            let digest = Digest::of(&bytes).to_string();
            write!(
                anstream::stdout(),
                "{}",
                wharfage::suggest(&needs, &self.target, &digest, &needs.manifest.plugin.name)
            )?;
            return Ok(());
        }
        let config = read_config(&self.config)?;
        let connection = config.connection(&self.target)?;
        let account = connection.account.as_ref().and_then(|name| config.accounts.get(name));
        let explained = |needs: &Needs| -> anyhow::Result<String> {
            let grant = Grant::new(needs, &self.target, connection, account)?;
            Ok(wharfage::explain(needs, &grant))
        };
        let source = &config.plugins[&connection.plugin];
        let now = wharfage::read_component(&source.component)?;
        let needs = Needs::read(&now)?;
        match &self.against {
            None => {
                write!(anstream::stdout(), "{}", explained(&needs)?)?;
                write!(anstream::stdout(), "{}", wharfage::explain_starts(&needs, &config, &self.target))?;
                write!(anstream::stdout(), "{}", wharfage::explain_host(&config.engine))?;
                let found = Digest::of(&now).to_string();
                match &source.digest {
                    Some(pinned) if pinned.eq_ignore_ascii_case(&found) => say!("\nPinned: {found}"),
                    Some(pinned) => say!("\nNot the pinned component: pinned {pinned}, found {found}"),
                    None => {
                        say!("\nNot pinned. To pin it, add to [plugins.{}]:   digest = \"{found}\"", connection.plugin)
                    }
                }
            }
            Some(path) => {
                let then = Needs::read(&wharfage::read_component(path)?)?;
                write!(anstream::stdout(), "{}", wharfage::explain_change(&explained(&needs)?, &explained(&then)?))?;
            }
        }
        Ok(())
    }
}
