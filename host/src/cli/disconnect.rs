//! `wharfage disconnect`: the consent is withdrawn at the provider, and the tokens are taken away.

use std::path::PathBuf;

use clap::Args;
use wharfage::sign_in::Disconnected;

use super::text::{DIM, GREEN, YELLOW};
use super::{Common, programs};

#[derive(Args)]
pub(super) struct Disconnect {
    /// A connection of wharfage.toml; every connection of its account loses the tokens
    connection: String,
    /// The file that names connections; by default the wharfage.toml here
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Take the tokens away here also where the provider cannot be told
    #[arg(long)]
    force: bool,
    /// Which credential, where the plugin has several that are connected
    #[arg(long, value_name = "NAME")]
    credential: Option<String>,
}

impl Disconnect {
    pub(super) async fn run(self, common: &Common) -> anyhow::Result<()> {
        common.check_state_folder()?;
        let (config, host) = programs::open(common, self.config.as_deref(), &self.connection)?;
        let authorization = host.build()?.authorize(&config, &self.connection, self.credential.as_deref()).await?;
        let name = &self.connection;
        match authorization.disconnect(self.force).await? {
            Disconnected::Revoked => {
                say!("{GREEN}disconnected{GREEN:#} {name}: the tokens are revoked at the provider and gone here")
            }
            Disconnected::RemovedLocally => say!(
                "{GREEN}disconnected{GREEN:#} {name}: the tokens are gone here\n\
                 {DIM}The plugin names no address for revoking them: withdraw the consent in the provider's own pages.{DIM:#}"
            ),
            Disconnected::RemovedLocallyUntold(error) => {
                say!("{GREEN}disconnected{GREEN:#} {name}: the tokens are gone here");
                note!(
                    "{YELLOW}the provider could not be told{YELLOW:#}: {error}\n\
                     Whoever has a copy can use them: withdraw the consent in the provider's own pages."
                );
            }
            Disconnected::Nothing => note!("{DIM}{name} was not connected{DIM:#}"),
            _ => {}
        }
        Ok(())
    }
}
