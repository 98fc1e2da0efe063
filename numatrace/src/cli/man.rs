//! Arguments of `man`.

use std::path::PathBuf;

use clap::Args;

use crate::text::visible;

/// Arguments of `man`.
#[derive(Args, Clone, Debug)]
pub struct ManArgs {
    /// The subcommand whose page is printed [default: that of numatrace itself]
    #[arg(value_name = "COMMAND", value_parser = subcommand)]
    pub command: Option<String>,
    /// Write all pages into this folder, which is made where it is missing: numatrace.1, numatrace-record.1 and so on
    #[arg(long, value_name = "DIR", conflicts_with = "command")]
    pub dir: Option<PathBuf>,
}

/// The name of a subcommand that has a page.
fn subcommand(name: &str) -> Result<String, String> {
    let root = super::command();
    let names: Vec<&str> =
        root.get_subcommands().filter(|sub| !sub.is_hide_set()).map(clap::Command::get_name).collect();
    if names.contains(&name) {
        return Ok(name.to_owned());
    }
    Err(format!("there is no subcommand {}; there are {}", visible(name), names.join(", ")))
}
