//! The HTTP server: few connections, small requests, and a time for everything. Place in the flow: behind `answers`, before the world.
//!
//! One thread runs it all. Whoever wants to hold it up (slow, huge, malformed, many) costs one of [`Limits::connections`] for a
//! bounded time, and no memory beyond it.

mod connection;
mod pages;
mod watch;

use std::{
    io,
    net::{Ipv6Addr, SocketAddr, TcpListener},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::task::JoinSet;

use super::{Collect, answers::Answers, web_config::WebConfig};
use crate::rights::{self, Role};
use watch::Connections;

/// Between two looks at who is too slow, and at whether to stop.
const LOOK: Duration = Duration::from_millis(100);
/// Connections that the kernel holds until they are accepted: many at once are told that there are too many, not left waiting.
const BACKLOG: i32 = 1_024;
/// When accepting fails (no file descriptor is free), this long passes before the next try.
const PAUSE: Duration = Duration::from_millis(100);

/// What a client can take at most.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections at once.
    pub connections: usize,
    /// Bytes of a request's head.
    pub head_bytes: usize,
    /// Bytes of answers that are still being sent, beyond the newest; then the slowest client has to go.
    pub answer_bytes: usize,
    /// For TLS to be agreed upon, and for the head of a request to come.
    pub head: Duration,
    /// For an answer to be made and sent.
    pub answer: Duration,
    /// Between two requests.
    pub idle: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            connections: 64,
            head_bytes: 16 << 10,
            answer_bytes: 64 << 20,
            head: Duration::from_secs(5),
            answer: Duration::from_secs(30),
            // Longer than Prometheus waits between two scrapes, mostly.
            idle: Duration::from_secs(150),
        }
    }
}

/// How to serve.
#[derive(Debug)]
pub struct Config {
    /// Where to listen: of each list the first address that this machine can have.
    pub listen: Vec<Vec<SocketAddr>>,
    /// TLS and basic authentication.
    pub web_config: WebConfig,
    /// What a client can take at most.
    pub limits: Limits,
}

/// Why serving did not begin, or ended.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// An address is not free, or not this machine's.
    #[error("cannot listen at {0}: {1}")]
    Listen(SocketAddr, #[source] io::Error),
    /// A thread or the runtime could not be made.
    #[error("cannot start the HTTP server")]
    Start(#[source] io::Error),
    /// The thread that collects panicked.
    #[error("the thread that collects has ended unexpectedly")]
    Ended,
}

/// How many connections and requests were refused, by reason.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    /// All connections were in use: the new one was refused, or one that had not asked for anything yet had to go.
    pub(super) limit: AtomicU64,
    /// TLS was not agreed upon.
    pub(super) tls: AtomicU64,
    /// A request did not come, or an answer did not go, in time.
    pub(super) slow: AtomicU64,
    /// The request was malformed, had a body or a head that was too long.
    pub(super) malformed: AtomicU64,
    /// No, or wrong, credentials.
    pub(super) unauthorized: AtomicU64,
    /// Too many wrong ones in a second.
    pub(super) too_many_failures: AtomicU64,
}

impl Refusals {
    pub(super) fn counts(&self) -> Vec<(&'static str, u64)> {
        let all = [
            ("limit", &self.limit),
            ("tls", &self.tls),
            ("slow", &self.slow),
            ("malformed", &self.malformed),
            ("unauthorized", &self.unauthorized),
            ("too_many_failures", &self.too_many_failures),
        ];
        all.map(|(reason, count)| (reason, count.load(Ordering::Relaxed))).to_vec()
    }
}

/// Counts a refusal.
fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// What all connections share.
struct Shared {
    answers: Answers,
    web_config: WebConfig,
    refusals: Arc<Refusals>,
    connections: Connections,
    limits: Limits,
}

/// A server that listens, but does not answer yet.
#[derive(Debug)]
pub struct Server {
    listeners: Vec<TcpListener>,
    addresses: Vec<SocketAddr>,
    web_config: WebConfig,
    limits: Limits,
}

impl Server {
    /// Listens where it should, and nowhere else.
    ///
    /// # Errors
    /// When an address is not free or not this machine's.
    pub fn bind(config: Config) -> Result<Server, ServeError> {
        let listeners = config.listen.iter().map(|addresses| listen(addresses)).collect::<Result<Vec<_>, _>>()?;
        let addresses =
            listeners.iter().map(TcpListener::local_addr).collect::<Result<_, _>>().map_err(ServeError::Start)?;
        Ok(Server { listeners, addresses, web_config: config.web_config, limits: config.limits })
    }

    /// Where it listens.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Answers until `stop`, on the thread that calls; collecting has a thread of its own.
    ///
    /// # Errors
    /// When threads cannot be started, or when the one that collects panics.
    pub fn run(self, collector: Box<dyn Collect>, stop: &AtomicBool) -> Result<(), ServeError> {
        let refusals = Arc::new(Refusals::default());
        let answers =
            Answers::start(collector, Arc::clone(&refusals), self.limits.connections).map_err(ServeError::Start)?;
        // Collecting is on its way with what it needs.
        rights::settle(Role::Http).map_err(|error| ServeError::Start(error.into()))?;
        let shared = Arc::new(Shared {
            answers,
            web_config: self.web_config,
            refusals,
            connections: Connections::default(),
            limits: self.limits,
        });
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            // For bcrypt alone, one at a time.
            .max_blocking_threads(1)
            .thread_name("numatrace-auth")
            .build()
            .map_err(ServeError::Start)?;
        let outcome = runtime.block_on(serve(&shared, self.listeners, stop));
        // Connections end with the runtime; a bcrypt that is under way is not waited for.
        runtime.shutdown_background();
        outcome
    }
}

/// The first of these addresses that this machine can have.
fn listen(addresses: &[SocketAddr]) -> Result<TcpListener, ServeError> {
    let mut failure = None;
    for address in addresses {
        match listen_at(*address) {
            Ok(listener) => return Ok(listener),
            Err(error) => {
                // Another address is tried where this machine has no IPv6, not where the port is taken.
                let absent = matches!(error.raw_os_error(), Some(libc::EAFNOSUPPORT | libc::EADDRNOTAVAIL));
                failure = Some(ServeError::Listen(*address, error));
                if !absent {
                    break;
                }
            }
        }
    }
    Err(failure.unwrap_or_else(|| ServeError::Start(io::Error::other("no address was given"))))
}

fn listen_at(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // As the standard library does: a port is free again at once when `serve` is started anew.
    socket.set_reuse_address(true)?;
    if address.ip() == Ipv6Addr::UNSPECIFIED {
        // IPv4, too, also where net.ipv6.bindv6only says otherwise.
        socket.set_only_v6(false)?;
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

async fn serve(shared: &Arc<Shared>, listeners: Vec<TcpListener>, stop: &AtomicBool) -> Result<(), ServeError> {
    let mut accepting = JoinSet::new();
    for listener in listeners {
        let listener = tokio::net::TcpListener::from_std(listener).map_err(ServeError::Start)?;
        accepting.spawn(accept(listener, Arc::clone(shared)));
    }
    let mut look = tokio::time::interval(LOOK);
    look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    while !stop.load(Ordering::Relaxed) {
        look.tick().await;
        shared.connections.close_late(&shared.limits, &shared.refusals);
        if shared.answers.older_bytes() > shared.limits.answer_bytes {
            shared.connections.close_slowest(shared.answers.newest(), &shared.refusals);
        }
        if shared.answers.has_ended() {
            return Err(ServeError::Ended);
        }
    }
    Ok(())
}

async fn accept(listener: tokio::net::TcpListener, shared: Arc<Shared>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                if let Some(watch) = shared.connections.open(shared.limits.connections, &shared.refusals) {
                    tokio::spawn(connection::run(stream, watch, Arc::clone(&shared)));
                    // What it has sent is read before the next one comes, which could take its place.
                    tokio::task::yield_now().await;
                }
            }
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use socket2::SockRef;

    use super::*;

    /// In a network namespace of its own, where IPv6 sockets are for IPv6 alone until they say otherwise.
    #[test]
    fn every_address_is_ipv4_too_whatever_the_machine_says() {
        let listens = std::thread::spawn(|| {
            // SAFETY: changes the network namespace of this thread, which ends below.
            if unsafe { libc::unshare(libc::CLONE_NEWNET) } != 0 {
                return Err(format!("no network namespace can be made: {}", io::Error::last_os_error()));
            }
            std::fs::write("/proc/sys/net/ipv6/bindv6only", "1")
                .map_err(|error| format!("net.ipv6.bindv6only cannot be set: {error}"))?;
            let everywhere = SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0));
            let plain = TcpListener::bind(everywhere).unwrap();
            assert!(SockRef::from(&plain).only_v6().unwrap(), "the setting does something");
            Ok(SockRef::from(&listen_at(everywhere).unwrap()).only_v6().unwrap())
        });
        match listens.join().unwrap() {
            Ok(only_v6) => assert!(!only_v6),
            Err(why) => eprintln!("skipped: {why}"),
        }
    }

    #[test]
    fn what_listens_takes_many_and_blocks_nobody() {
        let listener = listen_at(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        assert_eq!(listener.accept().unwrap_err().kind(), io::ErrorKind::WouldBlock);
        let again = listen_at(listener.local_addr().unwrap()).unwrap_err();
        assert_eq!(again.kind(), io::ErrorKind::AddrInUse);
    }
}
