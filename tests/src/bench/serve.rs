//! `numatrace serve` beside a load: scraped once a second, and its memory after very many threads.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};

use crate::live::program;

/// Between two scrapes.
const PERIOD: Duration = Duration::from_secs(1);
/// Threads that are made and end.
const THREADS: u32 = 1_000_000;
/// Processes that are made and end.
const PROCESSES: u32 = 50_000;

/// A server and its only client; both end when this is dropped.
pub struct Scraped {
    child: Child,
    address: SocketAddr,
    stop: Option<mpsc::Sender<()>>,
    scraper: Option<thread::JoinHandle<()>>,
}

impl Scraped {
    /// Starts it, and returns when it is attached and has been scraped once.
    pub fn start(flags: &[&str]) -> Result<Scraped> {
        let mut child = Command::new(program("numatrace")?)
            .args(["serve", "--listen", "127.0.0.1:0"])
            .args(flags)
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .context("cannot start numatrace serve")?;
        let stderr = child.stderr.take().context("stderr is a pipe")?;
        let mut line = String::new();
        BufReader::new(stderr).read_line(&mut line)?;
        let address =
            line.split("//").nth(1).and_then(|rest| rest.split('/').next()).and_then(|text| text.parse().ok());
        let address = address.with_context(|| format!("numatrace serve says: {line}"))?;
        let mut scraped = Scraped { child, address, stop: None, scraper: None };
        scrape(address)?;
        let (stop, stopped) = mpsc::channel();
        scraped.stop = Some(stop);
        scraped.scraper = Some(thread::spawn(move || {
            while stopped.recv_timeout(PERIOD) == Err(mpsc::RecvTimeoutError::Timeout) {
                // One that fails shows in what is measured after.
                let _ = scrape(address);
            }
        }));
        Ok(scraped)
    }

    /// Resident memory, KiB.
    fn memory(&self) -> Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
        Ok(line.trim().trim_end_matches(" kB").trim().parse()?)
    }
}

impl Drop for Scraped {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(scraper) = self.scraper.take() {
            let _ = scraper.join();
        }
        // SAFETY: a process of ours that is not waited for yet.
        unsafe { libc::kill(self.child.id() as libc::pid_t, libc::SIGTERM) };
        let _ = self.child.wait();
    }
}

/// The numbers as text.
fn scrape(address: SocketAddr) -> Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: numatrace\r\nConnection: close\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    ensure!(text.starts_with("HTTP/1.1 200"), "a scrape failed: {}", text.lines().next().unwrap_or_default());
    Ok(text)
}

/// A process that ends at once.
fn fork_and_wait() -> Result<()> {
    // SAFETY: the child does nothing but end, which is allowed after a fork of a process with threads.
    match unsafe { libc::fork() } {
        -1 => Err(std::io::Error::last_os_error().into()),
        // SAFETY: as above.
        0 => unsafe { libc::_exit(0) },
        child => {
            // SAFETY: a child of ours that is not waited for yet, and no place for its status.
            let ended = unsafe { libc::waitpid(child, std::ptr::null_mut(), 0) };
            ensure!(ended == child, "a child is lost: {}", std::io::Error::last_os_error());
            Ok(())
        }
    }
}

/// Memory before and after very many threads and processes.
pub fn threads() -> Result<()> {
    println!("## Memory of serve and short-lived threads\n");
    let scraped = Scraped::start(&[])?;
    thread::sleep(2 * PERIOD);
    let before = scraped.memory()?;
    for _ in 0..THREADS {
        let made = thread::Builder::new().stack_size(64 << 10).spawn(|| {}).context("cannot make a thread")?;
        made.join().map_err(|_| anyhow::anyhow!("a thread failed"))?;
    }
    thread::sleep(2 * PERIOD);
    let after_threads = scraped.memory()?;
    for _ in 0..PROCESSES {
        fork_and_wait()?;
    }
    thread::sleep(2 * PERIOD);
    let after = scraped.memory()?;
    let text = scrape(scraped.address)?;
    let own = format!("pid=\"{}\"", std::process::id());
    let count = text
        .lines()
        .find(|line| line.starts_with("numatrace_process_runq_latency_seconds_count") && line.contains(&own))
        .context("this process has no series")?;
    let lost: Vec<&str> = text.lines().filter(|line| line.starts_with("numatrace_lost")).collect();
    println!(
        "{THREADS} threads of one process, then {PROCESSES} processes: {:.1} MiB before, {:.1} MiB after the threads, {:.1} MiB after the processes; {} waits of this process counted; {}.\n",
        before as f64 / 1024.0,
        after_threads as f64 / 1024.0,
        after as f64 / 1024.0,
        count.rsplit(' ').next().unwrap_or_default(),
        lost.join(", ")
    );
    Ok(())
}
