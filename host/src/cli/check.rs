//! `wharfage check`: what the host would refuse, before an operator meets it.

use std::path::PathBuf;

use anyhow::bail;
use clap::Args;
use wharfage::{Connection, Digest, Needs};

use super::Common;
use super::text::{DIM, GREEN, YELLOW, count};

#[derive(Args)]
pub(super) struct Check {
    /// A built component
    component: PathBuf,
}

impl Check {
    pub(super) async fn run(self, common: &Common) -> anyhow::Result<()> {
        let bytes = wharfage::read_component(&self.component)?;
        let needs = Needs::read(&bytes)?;
        let host = common.host().build()?;
        let name = needs.manifest.plugin.name.clone();
        // Connecting compiles, links and compares `describe` with what the component carries.
        host.connect(&name, &bytes, &Connection::granting(&needs), None).await?;
        needs.check_schemas()?;
        let mut remarks = Vec::new();
        for operation in &needs.operations {
            if operation.description.trim().is_empty() {
                remarks.push(format!("{} has no description", operation.name));
            }
            if needs.manifest.has_consent() && needs.scope_line(&operation.name).is_none() {
                remarks.push(format!("{} names no scopes: add them to [operations.\"{0}\"]", operation.name));
            }
            if !needs.manifest.operations.contains_key(&operation.name) {
                remarks.push(format!("plugin.toml says nothing about {}: add [operations.\"{0}\"]", operation.name));
            }
        }
        if bytes.len() > 500_000 {
            remarks.push(format!("{} kB is much for a plugin; most need less than 500", bytes.len() / 1000));
        }
        for operation in &needs.operations {
            if let Some(line) = needs.scope_line(&operation.name) {
                say!("{:<24} {DIM}{line}{DIM:#}", operation.name);
            }
        }
        for remark in &remarks {
            say!("{YELLOW}remark{YELLOW:#} {remark}");
        }
        if needs.operations.is_empty() {
            bail!("{name} has no operations");
        }
        say!(
            "{GREEN}good{GREEN:#} {name} {}, {}, {}",
            needs.manifest.plugin.version,
            count(needs.operations.len(), "operation"),
            Digest::of(&bytes)
        );
        Ok(())
    }
}
