//! The workload's command line: a command, a count, and options with values.

use std::{collections::HashMap, io};

use super::usage;

/// Options that have no value.
const FLAGS: [&str; 3] = ["now", "queued", "apart"];

/// What was asked for.
#[derive(Debug, Default)]
pub struct Args {
    words: Vec<String>,
    options: HashMap<String, String>,
}

impl Args {
    /// Sorts words from options.
    pub fn parse(mut args: impl Iterator<Item = String>) -> Result<Args, String> {
        let mut parsed = Args::default();
        while let Some(arg) = args.next() {
            match arg.strip_prefix("--") {
                Some(flag) if FLAGS.contains(&flag) => {
                    parsed.options.insert(flag.into(), String::new());
                }
                Some(option) => {
                    let value = args.next().ok_or_else(|| format!("--{option} needs a value"))?;
                    parsed.options.insert(option.into(), value);
                }
                None => parsed.words.push(arg),
            }
        }
        Ok(parsed)
    }

    /// The first word.
    pub fn command(&self) -> &str {
        self.word(0)
    }

    /// A word by its position, empty when there are not so many.
    pub fn word(&self, position: usize) -> &str {
        self.words.get(position).map_or("", String::as_str)
    }

    /// The number behind the command.
    pub fn count(&self) -> Result<usize, String> {
        let word = self.words.get(1).ok_or_else(|| format!("'{}' needs a number", self.command()))?;
        word.parse().map_err(|_| format!("'{word}' is not a number"))
    }

    /// Whether an option is there.
    pub fn flag(&self, name: &str) -> bool {
        self.options.contains_key(name)
    }

    /// A word that must be there.
    pub fn text(&self, name: &str) -> io::Result<&str> {
        let value = self.options.get(name).map(String::as_str);
        value.ok_or_else(|| usage(format!("'{}' needs --{name}", self.command())))
    }

    /// A number, `None` when the option is not there.
    pub fn optional(&self, name: &str) -> io::Result<Option<u64>> {
        let parse = |value: &String| value.parse().map_err(|_| usage(format!("--{name} {value} is not a number")));
        self.options.get(name).map(parse).transpose()
    }

    /// A number that must be there.
    pub fn number(&self, name: &str) -> io::Result<u64> {
        self.optional(name)?.ok_or_else(|| usage(format!("'{}' needs --{name}", self.command())))
    }

    /// Two numbers with a comma between.
    pub fn pair(&self, name: &str) -> io::Result<(usize, usize)> {
        let value = self.options.get(name).ok_or_else(|| usage(format!("'{}' needs --{name} A,B", self.command())))?;
        let pair = value.split_once(',').and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)));
        pair.ok_or_else(|| usage(format!("--{name} {value} is not two numbers")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Args {
        Args::parse(line.split_whitespace().map(ToOwned::to_owned)).unwrap()
    }

    #[test]
    fn words_and_options_may_mix() {
        let args = parse("--now hops 5 --cpus 0,3 --millis 20");
        assert_eq!((args.command(), args.count()), ("hops", Ok(5)));
        assert!(args.flag("now") && !args.flag("queued"));
        assert_eq!(args.pair("cpus").unwrap(), (0, 3));
        assert_eq!((args.number("millis").unwrap(), args.optional("cpu").unwrap()), (20, None));
        assert_eq!(args.text("millis").unwrap(), "20");
    }

    #[test]
    fn nonsense_is_refused() {
        assert!(parse("hops").count().is_err());
        assert!(parse("hops x").count().is_err());
        assert!(parse("hops 1 --cpus 3").pair("cpus").is_err());
        assert!(parse("hogs 1 --millis ten").number("millis").is_err());
        assert!(parse("hogs 1").number("millis").is_err());
        assert!(parse("touch 1").text("kind").is_err());
        assert!(Args::parse(["--cpu".to_owned()].into_iter()).is_err());
    }
}
