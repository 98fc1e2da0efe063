//! Names that a hostile program gives its threads: never raw in what numatrace prints.

use std::{
    fs,
    process::{Command, Stdio},
};

use anyhow::{Result, ensure};
use numatrace_tests::live::{Report, Workload, bpf::wait_until_attached, program};

use crate::{Case, Scratch};

pub const CASES: &[Case] = &[("hostile_names_never_come_out_raw", names)];

fn names() -> Result<()> {
    let scratch = Scratch::new("hostile")?;
    for format in ["text", "json"] {
        let (stdout, file) = (scratch.0.join(format), scratch.0.join(format!("{format}.out")));
        let mut workload = Workload::start(&["rename"])?;
        let renamed = workload.tid("hostile-0")?;
        let mut command = Command::new(program("numatrace")?);
        command
            .args(["live", "--interval", "100ms", "--format", format, "--pid", &workload.pid.to_string(), "-o"])
            .arg(&file);
        let mut child = command.stdin(Stdio::null()).stdout(fs::File::create(&stdout)?).spawn()?;
        wait_until_attached(child.id())?;
        workload.run()?;
        workload.finish()?;
        ensure!(child.wait()?.success(), "numatrace failed");
        for path in [&stdout, &file] {
            no_raw_names(&fs::read(path)?)?;
        }
        let bytes = fs::read(&file)?;
        ensure!(!bytes.is_empty(), "there is no report");
        if format == "json" {
            let report = Report(serde_json::from_slice(&bytes)?);
            let thread = report.thread(renamed)?;
            // Followed: neither the name it was born with nor nothing, but what can be shown of the new one.
            ensure!(thread.comm().contains("red") && !thread.comm().contains("hostile"), "named '{}'", thread.comm());
        }
    }
    Ok(())
}

/// Output must be text: valid UTF-8, no control character but the end of a line, nothing that turns the direction.
fn no_raw_names(bytes: &[u8]) -> Result<()> {
    let text = std::str::from_utf8(bytes)?;
    let raw = text.chars().find(|c| {
        (c.is_control() && *c != '\n')
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}')
    });
    ensure!(raw.is_none(), "raw {raw:?} in {text}");
    // A name with an end of line in it would begin a line.
    ensure!(!text.lines().any(|line| line.starts_with("y\t") || line.starts_with("y ")), "a name broke a line: {text}");
    Ok(())
}
