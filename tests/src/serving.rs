//! The server of `serve` in this process, over made-up sums, and a client that does what no library would.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use numatrace::{
    container::Container,
    serve::{
        Collect,
        http::{Config, Limits, ServeError, Server},
        sums::Sums,
        web_config::WebConfig,
    },
};

use crate::made_sums;

/// Longer than anything here takes: a test that waits this long has failed.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Gives what it is told to, and counts how often it is asked.
pub struct Made<F>(pub F, pub Arc<AtomicUsize>);

impl<F: FnMut() -> anyhow::Result<Sums> + Send> Collect for Made<F> {
    fn collect(&mut self) -> anyhow::Result<Sums> {
        self.1.fetch_add(1, Ordering::SeqCst);
        self.0()
    }

    fn container(&mut self, path: &[u8]) -> Option<Container> {
        made_sums::container(path)
    }
}

/// A server that runs until this is dropped.
pub struct Serving {
    /// Where.
    pub address: SocketAddr,
    /// How often it collected.
    pub collected: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<(), ServeError>>>,
}

impl Serving {
    /// Serves [`made_sums::sums`] on a free port.
    pub fn plain() -> Serving {
        Serving::start(Limits::default(), WebConfig::default(), || Ok(made_sums::sums()))
    }

    /// Serves what `collect` gives on a free port.
    pub fn start(
        limits: Limits,
        web_config: WebConfig,
        collect: impl FnMut() -> anyhow::Result<Sums> + Send + 'static,
    ) -> Serving {
        let listen = vec![vec![SocketAddr::from(([127, 0, 0, 1], 0))]];
        let server = Server::bind(Config { listen, web_config, limits }).expect("a free port");
        let address = server.addresses()[0];
        let (stop, collected) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let collector = Box::new(Made(collect, Arc::clone(&collected)));
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || server.run(collector, &stopped));
        Serving { address, collected, stop, thread: Some(thread) }
    }

    /// Connects.
    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).expect("it listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream.set_write_timeout(Some(PATIENCE)).expect("a timeout");
        stream
    }

    /// Asks for a path on a connection of its own.
    pub fn get(&self, path: &str, headers: &str) -> Reply {
        let mut stream = self.connect();
        ask(&mut stream, "GET", path, headers);
        read_reply(&mut stream, true).expect("an answer")
    }

    /// How it ended: by itself, or now.
    pub fn end(mut self, wait: bool) -> Result<(), ServeError> {
        if !wait {
            self.stop.store(true, Ordering::SeqCst);
        }
        self.thread.take().expect("it runs").join().expect("no panic")
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            let outcome = thread.join();
            if !thread::panicking() {
                outcome.expect("no panic").expect("served");
            }
        }
    }
}

/// Writes a request; each of `headers` ends with `\r\n`.
pub fn ask(stream: &mut impl Write, method: &str, path: &str, headers: &str) {
    let request = format!("{method} {path} HTTP/1.1\r\nHost: here\r\n{headers}\r\n");
    stream.write_all(request.as_bytes()).expect("a request");
}

/// An answer.
#[derive(Debug)]
pub struct Reply {
    /// Its status.
    pub status: u16,
    /// Its head, as it came.
    pub head: String,
    /// Its body.
    pub body: Vec<u8>,
}

impl Reply {
    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (known, value) = line.split_once(':')?;
            known.eq_ignore_ascii_case(name).then_some(value.trim())
        })
    }

    /// The body as text.
    pub fn text(&self) -> &str {
        str::from_utf8(&self.body).expect("text")
    }
}

/// Reads one answer, of a request that wants a body or not; `None` where the connection ends before.
pub fn read_reply(stream: &mut impl Read, body: bool) -> Option<Reply> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        match stream.read(&mut byte) {
            Ok(1) => head.push(byte[0]),
            _ => return None,
        }
    }
    let head = String::from_utf8(head).expect("a head");
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    let mut reply = Reply { status, head, body: Vec::new() };
    if body {
        let length = reply.header("content-length").and_then(|length| length.parse().ok()).expect("a length");
        reply.body = vec![0; length];
        stream.read_exact(&mut reply.body).ok()?;
    }
    Some(reply)
}

/// Whether the other side closes, before much time has passed; what it says before is left out.
pub fn is_closed(stream: &mut TcpStream) -> bool {
    let mut rest = [0; 4_096];
    loop {
        match stream.read(&mut rest) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) => return error.kind() == std::io::ErrorKind::ConnectionReset,
        }
    }
}
