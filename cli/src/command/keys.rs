//! `trivium keys`: API keys for the callers of a server.

use std::{io::Write, path::PathBuf};

use trivium_service_kit::auth::new_key;

use crate::output;

/// The commands about keys.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Make a key: prints it once, and writes its hash into the file of keys
    New(NewArgs),
}

/// Arguments of `trivium keys new`.
#[derive(Debug, clap::Args)]
pub struct NewArgs {
    /// The tenant that the key is for
    #[arg(long, value_name = "NAME")]
    tenant: String,
    /// What people call the key
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    name: String,
    /// Let it change what all tenants share: models and the policy
    #[arg(long)]
    operator: bool,
    /// The file of keys, which is made if it is not there [default: print the entry after the key]
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
}

/// Runs one of them.
pub fn run(command: &Command) -> anyhow::Result<()> {
    let Command::New(args) = command;
    let new = new_key(&args.name, &args.tenant, args.operator)?;
    match &args.file {
        // Whoever sees the key must be able to use it, so the file comes first.
        Some(path) => {
            let mut file = fs_err::OpenOptions::new().create(true).append(true).open(path)?;
            file.write_all(format!("{}\n", new.entry).as_bytes())?;
            file.sync_all()?;
            Ok(output::line(&new.key)?)
        }
        None => {
            output::line(&new.key)?;
            Ok(output::line(&new.entry)?)
        }
    }
}
