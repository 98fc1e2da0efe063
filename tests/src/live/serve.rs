//! A running `numatrace serve`, Prometheus beside it, and the little HTTP that asks both.

use std::{
    collections::BTreeSet,
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use super::{PATIENCE, eventually, program};
use crate::prometheus::Programs;

/// A program that serves; killed when dropped.
#[derive(Debug)]
pub struct Server {
    child: Child,
    lines: mpsc::Receiver<String>,
    /// Where it says that it listens.
    pub address: SocketAddr,
}

impl Server {
    /// Starts `numatrace serve` on a free port of this machine, and returns when it serves.
    ///
    /// # Errors
    /// When it ends instead, with what it said.
    pub fn start(args: &[&str]) -> Result<Server> {
        let mut command = Command::new(program("numatrace")?);
        command.args(["serve", "--listen", "127.0.0.1:0"]).args(args);
        Server::spawn(command)
    }

    /// The same from a command that ends up in it.
    ///
    /// # Errors
    /// As [`Server::start`].
    pub fn spawn(mut command: Command) -> Result<Server> {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("cannot start {command:?}"))?;
        let stderr = child.stderr.take().context("stderr is a pipe")?;
        let (tell, lines) = mpsc::channel();
        thread::spawn(move || {
            BufReader::new(stderr).lines().map_while(Result::ok).try_for_each(|line| tell.send(line))
        });
        let mut server = Server { child, lines, address: SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)) };
        let mut said = Vec::new();
        loop {
            let Ok(line) = server.lines.recv_timeout(PATIENCE) else {
                bail!("numatrace serve ended instead of serving: {}", said.join("\n"));
            };
            let address = line.split_once("://").and_then(|(_, rest)| rest.split('/').next()?.parse().ok());
            if let Some(address) = address {
                server.address = address;
                return Ok(server);
            }
            said.push(line);
        }
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it serves, as text.
    ///
    /// # Errors
    /// When it does not answer with success.
    pub fn metrics(&self) -> Result<String> {
        let (status, body) = get(self.address, "/metrics")?;
        ensure!(status == 200, "/metrics answers {status}: {body}");
        Ok(body)
    }

    /// Its resident memory, bytes.
    ///
    /// # Errors
    /// When it is gone.
    pub fn resident(&self) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid()))?;
        let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB"));
        Ok(kib.context("VmRSS")?.trim().parse::<u64>()? << 10)
    }

    /// Addresses at which it listens, from the kernel's own tables.
    ///
    /// # Errors
    /// When it is gone.
    pub fn listeners(&self) -> Result<Vec<String>> {
        let mut own = BTreeSet::new();
        for entry in fs::read_dir(format!("/proc/{}/fd", self.pid()))?.flatten() {
            let target = fs::read_link(entry.path()).unwrap_or_default();
            own.extend(
                target.to_str().and_then(|name| name.strip_prefix("socket:[")?.strip_suffix(']')).map(str::to_owned),
            );
        }
        let mut found = Vec::new();
        for (table, listens) in
            [("tcp", Some("0A")), ("tcp6", Some("0A")), ("udp", None), ("udp6", None), ("raw", None)]
        {
            let text = fs::read_to_string(format!("/proc/{}/net/{table}", self.pid())).unwrap_or_default();
            for line in text.lines().skip(1) {
                let fields: Vec<&str> = line.split_whitespace().collect();
                let [_, local, _, state, _, _, _, _, _, inode, ..] = fields[..] else { continue };
                if own.contains(inode) && listens.is_none_or(|listens| state == listens) {
                    found.push(format!("{table} {local}"));
                }
            }
        }
        Ok(found)
    }

    /// Ends it as a service manager does.
    ///
    /// # Errors
    /// When it does not end with success.
    pub fn stop(mut self) -> Result<()> {
        // SAFETY: kill has no memory effect here; the child has not been waited for, so the id is its own.
        crate::workload::os::check(unsafe { libc::kill(self.pid() as libc::pid_t, libc::SIGTERM) })?;
        let mut status = None;
        eventually("numatrace serve has ended", Duration::from_secs(30), || {
            status = self.child.try_wait()?;
            Ok(status.is_some())
        })?;
        let status = status.context("it has ended")?;
        let said: Vec<String> = self.lines.try_iter().collect();
        ensure!(status.success(), "numatrace serve ended with {status}: {}", said.join("\n"));
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A running Prometheus with a folder of its own; killed when dropped.
#[derive(Debug)]
pub struct Prometheus {
    child: Child,
    folder: PathBuf,
    /// Where it answers.
    pub address: SocketAddr,
}

impl Prometheus {
    /// Starts it with this configuration (JSON is YAML), and returns when it is ready.
    ///
    /// # Errors
    /// When it does not get ready, with what it said.
    pub fn start(programs: &Programs, folder: &Path, configuration: &Value, args: &[&str]) -> Result<Prometheus> {
        fs::create_dir_all(folder)?;
        let file = folder.join("prometheus.yml");
        fs::write(&file, configuration.to_string())?;
        let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        let log = fs::File::create(folder.join("log"))?;
        let mut command = Command::new(&programs.prometheus);
        command.arg(format!("--config.file={}", file.display()));
        command.arg(format!("--storage.tsdb.path={}", folder.join("data").display()));
        command.arg(format!("--web.listen-address={address}")).arg("--log.level=warn").args(args);
        let child = command.current_dir(folder).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn();
        let child = child.with_context(|| format!("cannot start {command:?}"))?;
        let mut prometheus = Prometheus { child, folder: folder.to_owned(), address };
        let ready = eventually("Prometheus is ready", Duration::from_secs(60), || {
            if let Some(status) = prometheus.child.try_wait()? {
                bail!("Prometheus ended with {status}");
            }
            Ok(get(address, "/-/ready").is_ok_and(|(status, _)| status == 200))
        });
        ready.with_context(|| prometheus.log())?;
        Ok(prometheus)
    }

    /// What it said.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }

    /// The `data` of an answer of its API.
    ///
    /// # Errors
    /// When it does not answer with success.
    pub fn api(&self, path: &str) -> Result<Value> {
        let (status, body) = get(self.address, path)?;
        let mut answer: Value = serde_json::from_str(&body).with_context(|| format!("{path}: {status} {body}"))?;
        ensure!(answer["status"] == "success", "{path}: {body}");
        Ok(answer["data"].take())
    }

    /// The series that an expression has now.
    ///
    /// # Errors
    /// When Prometheus cannot evaluate it.
    pub fn query(&self, expression: &str) -> Result<Vec<Value>> {
        let data = self.api(&format!("/api/v1/query?query={}", escaped(expression)));
        let mut data = data.with_context(|| expression.to_owned())?;
        match data["result"].take() {
            // A scalar is one.
            Value::Array(series) if data["resultType"] == "vector" => Ok(series),
            other => Ok(vec![other]),
        }
    }

    /// The number of the one series that an expression has now.
    ///
    /// # Errors
    /// When it has none, or several.
    pub fn number(&self, expression: &str) -> Result<f64> {
        let series = self.query(expression)?;
        let [one] = &series[..] else { bail!("{expression} has {} series: {series:?}", series.len()) };
        Ok(one["value"][1].as_str().with_context(|| format!("{expression} is {one}"))?.parse()?)
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Status and body of an answer. Of HTTP 1.0, in which bodies have no chunks.
///
/// # Errors
/// When there is none.
pub fn get(address: SocketAddr, path: &str) -> Result<(u16, String)> {
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(10))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n").as_bytes())?;
    let (mut bytes, begun) = (Vec::new(), Instant::now());
    stream.read_to_end(&mut bytes).with_context(|| format!("{path} after {:?}", begun.elapsed()))?;
    let text = String::from_utf8(bytes)?;
    let (head, body) = text.split_once("\r\n\r\n").with_context(|| format!("no answer: {text:?}"))?;
    let status = head.split(' ').nth(1).context("a status")?.parse()?;
    Ok((status, body.to_owned()))
}

/// For a query of an address.
fn escaped(text: &str) -> String {
    text.bytes()
        .map(|byte| if byte.is_ascii_alphanumeric() { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

/// The value of a series of the text format; `None` where there is none.
pub fn value(metrics: &str, series: &str) -> Option<f64> {
    metrics.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_series_is_found_by_its_whole_name() {
        let text = "# TYPE a gauge\na_b 1\na{x=\"1\"} 2\na 3.5\n";
        assert_eq!(value(text, "a"), Some(3.5));
        assert_eq!(value(text, "a{x=\"1\"}"), Some(2.0));
        assert_eq!(value(text, "b"), None);
    }

    #[test]
    fn everything_but_letters_and_digits_is_escaped() {
        assert_eq!(escaped("a{b=\"ü\"}[5m] + 1"), "a%7Bb%3D%22%C3%BC%22%7D%5B5m%5D%20%2B%201");
    }
}
