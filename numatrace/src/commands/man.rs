//! `numatrace man`: manual pages, made of the command line's own help, so that they never say anything else.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use anyhow::Context as _;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};

use crate::cli::{self, ManArgs};

/// Prints one page to standard output, or writes all of them into a folder.
///
/// # Errors
/// When standard output, the folder or a file in it cannot be written.
pub fn run(args: &ManArgs) -> anyhow::Result<()> {
    if let Some(dir) = &args.dir {
        return write_all(dir);
    }
    let wanted = args.command.as_ref().map_or("numatrace".to_owned(), |name| format!("numatrace-{name}"));
    let pages = pages()?;
    let (_, page) = pages.iter().find(|(name, _)| *name == wanted).with_context(|| format!("no page {wanted}"))?;
    let mut out = io::stdout().lock();
    out.write_all(page)?;
    Ok(out.flush()?)
}

fn write_all(dir: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(dir).with_context(|| format!("cannot make the folder {}", dir.display()))?;
    for (name, page) in pages()? {
        let path = dir.join(format!("{name}.1"));
        fs::write(&path, page).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

/// All pages, each with its name: that of the program first.
fn pages() -> io::Result<Vec<(String, Vec<u8>)>> {
    // A page about `numatrace help` would tell nobody anything.
    let mut root = cli::command().disable_help_subcommand(true);
    root.build();
    let subcommands: Vec<_> = root.get_subcommands().filter(|sub| !sub.is_hide_set()).cloned().collect();
    std::iter::once(root)
        .chain(subcommands)
        .map(|command| {
            let name = command.get_display_name().unwrap_or_else(|| command.get_name()).to_owned();
            let page = page(command, &name)?;
            Ok((name, page))
        })
        .collect()
}

fn page(command: clap::Command, name: &str) -> io::Result<Vec<u8>> {
    let has_subcommands = command.has_subcommands();
    let after = command.get_after_long_help().map(ToString::to_string).unwrap_or_default();
    let man = Man::new(command)
        .title(name.to_uppercase())
        .source(concat!("numatrace ", env!("CARGO_PKG_VERSION")))
        .manual("numatrace");
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    if has_subcommands {
        man.render_subcommands_section(&mut page)?;
    }
    let mut rest = Roff::new();
    sections(&after, &mut rest);
    if !has_subcommands {
        rest.control("SH", ["SEE ALSO"]);
        rest.text([bold("numatrace"), roman("(1)")]);
    }
    page.extend_from_slice(rest.to_roff().as_bytes());
    Ok(page)
}

/// What the help says behind the options, as sections of a page. A paragraph there begins with its heading and a colon; an indented
/// line is a command, with what it does behind it or below it.
fn sections(after_help: &str, roff: &mut Roff) {
    for paragraph in after_help.split("\n\n").filter(|paragraph| !paragraph.trim().is_empty()) {
        let (heading, text) = paragraph.split_once(':').unwrap_or(("Notes", paragraph));
        roff.control("SH", [heading.trim().to_uppercase().as_str()]);
        for line in text.lines().filter(|line| !line.trim().is_empty()) {
            match line.len() - line.trim_start().len() {
                2 => {
                    let (command, about) = line.trim().split_once("  ").unwrap_or((line.trim(), ""));
                    roff.control("TP", []);
                    roff.text([bold(command)]);
                    if !about.is_empty() {
                        roff.text([roman(about.trim())]);
                    }
                }
                _ => {
                    roff.text([roman(line.trim())]);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(name: &str) -> String {
        let pages = pages().expect("memory takes every write");
        let (_, page) = pages.iter().find(|(page, _)| page == name).expect("there is such a page");
        String::from_utf8(page.clone()).expect("a page is text")
    }

    #[test]
    fn every_subcommand_has_a_page() {
        let names: Vec<String> = pages().expect("memory").into_iter().map(|(name, _)| name).collect();
        assert_eq!(names[0], "numatrace");
        let root = cli::command();
        let wanted: Vec<String> = root.get_subcommands().map(|sub| format!("numatrace-{}", sub.get_name())).collect();
        assert!(wanted.iter().any(|name| name == "numatrace-man"));
        assert_eq!(names[1..], wanted);
    }

    #[test]
    fn a_page_has_the_sections_that_readers_of_manuals_look_for() {
        let page = text("numatrace");
        for line in [".SH NAME", ".SH SYNOPSIS", ".SH DESCRIPTION", ".SH SUBCOMMANDS", ".SH EXAMPLES", ".SH RIGHTS"] {
            assert!(page.lines().any(|there| there == line), "{line} is missing:\n{page}");
        }
        assert!(page.starts_with(".ie") || page.contains(".TH NUMATRACE 1"), "{page}");
        assert!(page.contains(".SH \"EXIT CODES\""), "{page}");
        assert!(text("numatrace-record").contains("SEE ALSO"));
    }

    #[test]
    fn no_heading_stands_above_nothing() {
        for (name, page) in pages().expect("memory takes every write") {
            let page = String::from_utf8(page).expect("a page is text");
            let lines: Vec<&str> = page.lines().collect();
            let empty = lines.windows(2).find(|pair| pair.iter().all(|line| line.starts_with(".SH")));
            assert_eq!(empty, None, "{name}");
            assert!(!lines.last().expect("a page has lines").starts_with(".SH"), "{name}");
        }
    }

    #[test]
    fn examples_are_commands_with_what_they_do_below() {
        let page = text("numatrace");
        let lines: Vec<&str> = page.lines().collect();
        let at = lines.iter().position(|line| line.contains("run.numatrace \\-\\-findings")).expect("the example");
        assert_eq!(lines[at - 1], ".TP");
        assert_eq!(lines[at], "\\fBnumatrace report run.numatrace \\-\\-findings\\fR");
        assert!(lines[at + 1].starts_with("what is wrong"), "{}", lines[at + 1]);
    }
}
