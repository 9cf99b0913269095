//! `wharfage inspect`: what a component says about itself. Nothing of it is compiled or run.

use std::path::PathBuf;

use clap::Args;
use wharfage::{Digest, Needs};

use super::text::{BOLD, DIM, one_line};

#[derive(Args)]
pub(super) struct Inspect {
    /// The component's file
    component: PathBuf,
    /// Show the schemas of this operation
    #[arg(long, value_name = "OPERATION")]
    operation: Option<String>,
    /// Its head, its imports and its operations with their schemas, as JSON
    #[arg(long)]
    json: bool,
}

impl Inspect {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let bytes = wharfage::read_component(&self.component)?;
        let needs = Needs::read(&bytes)?;
        let plugin = &needs.manifest.plugin;
        if let Some(name) = &self.operation {
            let operation = needs.operation(name)?;
            say!("{}", serde_json::to_string_pretty(operation)?);
            return Ok(());
        }
        if self.json {
            let all = serde_json::json!({
                "name": plugin.name, "version": plugin.version.to_string(), "contract": plugin.contract.to_string(),
                "provider": plugin.provider, "digest": Digest::of(&bytes).to_string(), "bytes": bytes.len(),
                "imports": needs.imports, "foreign_imports": needs.foreign_imports, "operations": needs.operations,
            });
            say!("{}", serde_json::to_string_pretty(&all)?);
            return Ok(());
        }
        say!("{BOLD}{} {}{BOLD:#} for {}", plugin.name, plugin.version, one_line(&plugin.provider, 80));
        if !plugin.description.is_empty() {
            say!("{}", one_line(&plugin.description, 300));
        }
        say!("{DIM}{} · contract {} · {} kB{DIM:#}", Digest::of(&bytes), plugin.contract, bytes.len() / 1000);
        let imports: Vec<&str> = needs.imports.iter().map(String::as_str).collect();
        say!("\nImports: {}", if imports.is_empty() { "nothing".to_owned() } else { imports.join(", ") });
        for (name, origin) in &needs.manifest.origins {
            let (url, methods) = (one_line(&origin.url, 200), one_line(&origin.methods.join(", "), 200));
            say!("Origin {}: {url} ({methods})", one_line(name, 64));
        }
        for (name, secret) in &needs.manifest.secrets {
            say!("Secret {}: {}", one_line(name, 64), one_line(&secret.description, 200));
        }
        say!("\nOperations:");
        for operation in &needs.operations {
            let list = if operation.is_list { " (list)" } else { "" };
            say!("  {BOLD}{}{BOLD:#}{list}  {}", operation.name, one_line(&operation.description, 200));
        }
        Ok(())
    }
}
