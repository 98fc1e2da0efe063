//! `cargo xtask screens`: see `numatrace_tests::picture`.

use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use numatrace_tests::gallery;

fn main() -> ExitCode {
    match run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("screens: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<ExitCode> {
    let (folder, args) = (gallery::folder(), std::env::args().skip(1).collect::<Vec<_>>());
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => {
            let written = gallery::write(&folder).with_context(|| format!("cannot write {}", folder.display()))?;
            written
                .iter()
                .filter_map(|path| path.file_name())
                .for_each(|name| println!("docs/pictures/{}", name.display()));
            Ok(ExitCode::SUCCESS)
        }
        ["--check"] => {
            let complaints =
                gallery::complaints(&folder).with_context(|| format!("cannot read {}", folder.display()))?;
            if complaints.is_empty() {
                return Ok(ExitCode::SUCCESS);
            }
            complaints.iter().for_each(|complaint| eprintln!("{complaint}"));
            eprintln!("{}", gallery::REMEDY);
            Ok(ExitCode::FAILURE)
        }
        _ => bail!("usage: screens [--check]"),
    }
}
