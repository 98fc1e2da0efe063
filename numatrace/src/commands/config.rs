//! `numatrace config`, and the configuration of every command that draws the dashboard.

use std::{
    io::{self, Write},
    path::Path,
    process::ExitCode,
    time::Duration,
};

use crate::{
    cli::{ConfigArgs, FindingArgs, LookArgs},
    config::{Config, Flags, Refused, Surroundings, place, print},
    findings::Settings,
    report::SortKey,
    rights::user,
    tui::layout::Column,
};

use super::replay::refuse;

/// Prints the configuration, or where its file is.
///
/// # Errors
/// When standard output cannot be written.
pub fn run(args: &ConfigArgs) -> anyhow::Result<ExitCode> {
    let mut out = io::stdout().lock();
    if args.path {
        return Ok(match path(&args.look) {
            Some(path) => {
                writeln!(out, "{path}")?;
                ExitCode::SUCCESS
            }
            None => {
                // A closed standard error is no reason to panic.
                let _ = writeln!(io::stderr(), "numatrace: there is no place for a file: set XDG_CONFIG_HOME or HOME");
                ExitCode::FAILURE
            }
        });
    }
    match load(&args.look, &args.findings, None, None) {
        Ok(config) => out.write_all(print::toml(&config).as_bytes())?,
        Err(refused) => return Ok(refuse(&refused.to_string())),
    }
    Ok(ExitCode::SUCCESS)
}

/// Where the file is, or would be.
fn path(look: &LookArgs) -> Option<String> {
    let place = place::Place::find(look.config.as_deref(), &around(&var))?;
    Some(crate::text::visible(&place.path.to_string_lossy()))
}

/// The configuration of a dashboard for which this was asked.
///
/// # Errors
/// When its file cannot be used.
pub fn load(
    look: &LookArgs,
    findings: &FindingArgs,
    interval: Option<Duration>,
    sort: Option<SortKey>,
) -> Result<Config, Refused> {
    let flags = Flags {
        file: look.config.clone(),
        theme: look.theme,
        colours: look.colours,
        ascii: look.ascii,
        interval,
        sort: sort.map(column),
        findings: findings.limit.clone(),
    };
    Config::load(&flags, &around(&var))
}

/// From which numbers on a report has findings: as the command line says, else the file, else as usual. Nobody named the
/// file of the user: where it cannot be used a note says so, and the report comes all the same.
///
/// # Errors
/// When a file that was named cannot be used.
pub fn findings(named: Option<&Path>, findings: &FindingArgs) -> Result<Settings, Refused> {
    let look = LookArgs { config: named.map(Into::into), ..LookArgs::default() };
    match load(&look, findings, None, None) {
        Ok(config) => Ok(config.findings()),
        Err(refused) if named.is_some() => Err(refused),
        Err(refused) => {
            // A closed standard error is no reason to panic.
            let _ = writeln!(io::stderr(), "numatrace: {refused}; findings go by their usual limits");
            Ok(Settings::with(&findings.limit))
        }
    }
}

fn var(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

fn around(var: &dyn Fn(&str) -> Option<String>) -> Surroundings<'_> {
    // SAFETY: no preconditions.
    let (uid, gid) = unsafe { (libc::geteuid(), libc::getegid()) };
    let reader = (uid == 0).then(|| {
        let (uid, gid) = user::invoking_user().map_or((uid, gid), |user| (user.uid, user.gid));
        place::Reader { uid, gid, home: user::home_of(uid) }
    });
    Surroundings { var, reader }
}

/// The column that is sorted by as reports are.
fn column(key: SortKey) -> Column {
    match key {
        SortKey::Cpu => Column::Cpu,
        SortKey::Wait => Column::Wait,
        SortKey::P99 => Column::P99,
        SortKey::Max => Column::Max,
        SortKey::Switches => Column::Voluntary,
        SortKey::Migrations => Column::Migrations,
        SortKey::CrossNode => Column::CrossNode,
        SortKey::Touches => Column::Touches,
        SortKey::Remote => Column::Remote,
        SortKey::Tid => Column::Tid,
        SortKey::Comm => Column::Name,
    }
}
