//! What `serve` takes.

use std::{
    net::{Ipv6Addr, SocketAddr},
    path::PathBuf,
    str::FromStr,
};

use clap::Args;

use super::{PageSource, RootArgs};

/// Arguments of `serve`.
#[derive(Args, Clone, Debug)]
pub struct ServeArgs {
    /// Listen here (repeatable): 127.0.0.1:9925, [::1]:9925; :9925 is every address of this machine
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9925", allow_hyphen_values = true)]
    pub listen: Vec<Listen>,
    /// TLS and basic authentication, in a file as other Prometheus exporters have it; it is read again when it changes
    #[arg(long, value_name = "FILE", alias = "web.config.file")]
    pub web_config: Option<PathBuf>,
    /// Processes with series of their own, 2000 at most
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = most, allow_hyphen_values = true, help_heading = "Series")]
    pub max_processes: u32,
    /// Cgroups with series of their own, 2000 at most
    #[arg(long, value_name = "N", default_value_t = 500, value_parser = most, allow_hyphen_values = true, help_heading = "Series")]
    pub max_cgroups: u32,
    /// Series of the threads of a process that have one name, too
    #[arg(long, help_heading = "Series")]
    pub thread_groups: bool,
    /// Such groups with series of their own, 2000 at most
    #[arg(long, value_name = "N", default_value_t = 500, value_parser = most, allow_hyphen_values = true, requires = "thread_groups", help_heading = "Series")]
    pub max_thread_groups: u32,
    /// Where page touches are taken; off: not at all, which costs less on machines with many page faults
    #[arg(long, value_enum, default_value_t, value_name = "KIND", help_heading = "Tracing")]
    pub page_source: PageSource,
    /// No notes on standard error; errors are still told
    #[arg(short, long)]
    pub quiet: bool,
    /// Where /proc and /sys are.
    #[command(flatten)]
    pub roots: RootArgs,
}

/// 2,000 of one kind are 80,000 series and 20 MB of text for Prometheus to keep, for each machine.
fn most(text: &str) -> Result<u32, String> {
    super::values::at_most(text, 2_000)
}

/// Where to listen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listen {
    /// One address.
    At(SocketAddr),
    /// Every address of this machine, IPv4 and IPv6. Where there is IPv6, one socket has both.
    Everywhere(u16),
}

impl Listen {
    /// The addresses to try, the first that this machine can have.
    pub fn addresses(self) -> Vec<SocketAddr> {
        match self {
            Listen::At(address) => vec![address],
            Listen::Everywhere(port) => {
                vec![SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port), SocketAddr::from(([0; 4], port))]
            }
        }
    }
}

impl FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Listen, String> {
        let everywhere = text.strip_prefix(':').and_then(|port| port.parse().ok()).map(Listen::Everywhere);
        everywhere.or_else(|| text.parse().ok().map(Listen::At)).ok_or_else(|| {
            "an address of this machine and a port are needed, such as 127.0.0.1:9925, [::1]:9925, or :9925 for every address"
                .to_owned()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_taken_as_it_is_given() {
        assert_eq!("127.0.0.1:9925".parse(), Ok(Listen::At(SocketAddr::from(([127, 0, 0, 1], 9925)))));
        assert_eq!("[::1]:9925".parse(), Ok(Listen::At(SocketAddr::from((Ipv6Addr::LOCALHOST, 9925)))));
        assert_eq!(":9925".parse(), Ok(Listen::Everywhere(9925)));
        for bad in ["", ":", "9925", "localhost:9925", "::1:99250", "127.0.0.1", "127.0.0.1:65536", ":-1"] {
            assert!(bad.parse::<Listen>().is_err(), "{bad}");
        }
    }
}
