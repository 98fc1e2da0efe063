//! The server of `serve` under clients that are many, slow and greedy: it goes on, and its memory stays flat. Also where it listens.
//! One test at a time, because they measure this process.

use std::{
    collections::HashSet,
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    sync::{Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use numatrace::serve::{
    http::{Config, Limits, Server},
    sums::{Cgroup, Sums},
    web_config::WebConfig,
};
use numatrace_tests::{
    made_sums,
    serving::{Serving, ask, is_closed, read_reply},
};

fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Resident memory of this process, bytes.
fn resident() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("status");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("VmRSS");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") << 10
}

fn refused(metrics: &str, reason: &str) -> u64 {
    let series = format!("numatrace_connections_refused_total{{reason=\"{reason}\"}} ");
    metrics.lines().find_map(|line| line.strip_prefix(&series)).expect("the series").parse().expect("a number")
}

/// About ten megabytes of text.
fn large() -> Sums {
    let mut sums = made_sums::sums();
    let numbers = made_sums::numbers(3);
    sums.cgroups = (0..1_000)
        .map(|n| Cgroup { path: format!("/{}/{n}", "x".repeat(200)).into_bytes(), numbers: numbers.clone() })
        .collect();
    sums
}

#[test]
fn a_thousand_connections_that_say_nothing_cost_little() {
    let _alone = alone();
    let limits = Limits { head: Duration::from_secs(2), ..Limits::default() };
    let serving = Serving::start(limits, WebConfig::default(), || Ok(made_sums::sums()));
    serving.get("/metrics", "");
    let before = resident();
    let held: Vec<TcpStream> = (0..1_000).map(|_| serving.connect()).collect();
    let grown = resident().saturating_sub(before);
    assert!(grown < 32 << 20, "{grown}");
    // Whoever asks has a place at once, though all are still held and more come.
    let mut more = Vec::new();
    for path in ["/-/healthy", "/metrics", "/-/healthy"] {
        more.extend((0..100).map(|_| serving.connect()));
        assert_eq!(serving.get(path, "").status, 200, "{path}");
    }
    // Numbers are as old as their collection; meanwhile those that have a place have had their time.
    thread::sleep(limits.head + Duration::from_millis(1_100));
    let metrics = serving.get("/metrics", "");
    assert_eq!(metrics.status, 200);
    // Each of them had to go for another, or said nothing for too long.
    let (limit, slow) = (refused(metrics.text(), "limit"), refused(metrics.text(), "slow"));
    assert!(limit > 0, "{limit} {slow}");
    assert_eq!(limit + slow, (held.len() + more.len()) as u64);
    drop(more);
    drop(held);
}

#[test]
fn connections_that_are_kept_but_not_used_make_room() {
    let _alone = alone();
    let serving = Serving::plain();
    let mut kept = Vec::new();
    for _ in 0..200 {
        let mut stream = serving.connect();
        ask(&mut stream, "GET", "/-/healthy", "");
        assert_eq!(read_reply(&mut stream, true).expect("an answer").status, 200);
        kept.push(stream);
    }
    assert_eq!(serving.get("/metrics", "").status, 200);
    // Of the oldest nothing is left, the newest is as it was.
    assert!(is_closed(&mut kept[0]));
    let newest = kept.last_mut().expect("it is kept");
    ask(newest, "GET", "/-/healthy", "");
    assert_eq!(read_reply(newest, true).expect("an answer").status, 200);
}

#[test]
fn a_request_that_does_not_end_is_not_waited_for() {
    let _alone = alone();
    let limits = Limits { head: Duration::from_secs(1), ..Limits::default() };
    let serving = Serving::start(limits, WebConfig::default(), || Ok(made_sums::sums()));
    let mut first = serving.connect();
    let mut second = serving.connect();
    ask(&mut second, "GET", "/-/healthy", "");
    assert_eq!(read_reply(&mut second, true).expect("an answer").status, 200);
    for stream in [&mut first, &mut second] {
        let begin = Instant::now();
        // A byte at a time does not make it longer.
        for byte in b"GET /metrics HTTP/1.1\r\nX: ".iter().chain(std::iter::repeat(&b'x')) {
            if stream.write_all(&[*byte]).is_err() {
                break;
            }
            assert!(begin.elapsed() < Duration::from_secs(20));
            thread::sleep(Duration::from_millis(20));
        }
        assert!(begin.elapsed() >= Duration::from_millis(900));
        assert!(is_closed(stream));
    }
}

#[test]
fn answers_that_are_not_read_are_not_kept() {
    let _alone = alone();
    let limits = Limits { answer_bytes: 30 << 20, ..Limits::default() };
    let serving = Serving::start(limits, WebConfig::default(), || Ok(large()));
    let length = serving.get("/metrics", "").body.len() as u64;
    assert!((8 << 20..20 << 20).contains(&length), "{length}");
    let before = resident();
    let mut most = 0;
    // Over several collections: without a bound there would be as many answers, for the thirty seconds that each has.
    let mut slow = Vec::new();
    for _ in 0..12 {
        for _ in 0..4 {
            let mut stream = serving.connect();
            ask(&mut stream, "GET", "/metrics", "");
            slow.push(stream);
        }
        thread::sleep(Duration::from_millis(1_100));
        most = most.max(resident().saturating_sub(before));
    }
    // What may be kept, the newest, one that is being made, and what the allocator holds back.
    assert!(most < limits.answer_bytes as u64 + 4 * length, "{most}");
    let begin = Instant::now();
    let metrics = loop {
        let mut stream = serving.connect();
        ask(&mut stream, "GET", "/metrics", "");
        if let Some(reply) = read_reply(&mut stream, true) {
            break reply;
        }
        assert!(begin.elapsed() < Duration::from_secs(30));
        thread::sleep(Duration::from_millis(100));
    };
    assert!(refused(metrics.text(), "slow") > 0);
    // The rest of the first one never comes.
    let mut got = 0;
    let mut buffer = vec![0; 1 << 16];
    while let Ok(count @ 1..) = slow[0].read(&mut buffer) {
        got += count as u64;
    }
    assert!(got < length, "{got} of {length}");
}

/// Where this process listens, by the kernel.
fn listening() -> HashSet<String> {
    let sockets = fs::read_dir("/proc/self/fd").expect("fds").filter_map(|entry| {
        let link = fs::read_link(entry.ok()?.path()).ok()?;
        Some(link.to_str()?.strip_prefix("socket:[")?.trim_end_matches(']').to_owned())
    });
    let own: HashSet<String> = sockets.collect();
    let mut all = HashSet::new();
    for table in ["tcp", "tcp6", "udp", "udp6"] {
        let text = fs::read_to_string(format!("/proc/self/net/{table}")).unwrap_or_default();
        for line in text.lines().skip(1) {
            let columns: Vec<&str> = line.split_whitespace().collect();
            // 0A: LISTEN; a datagram socket that is bound has 07.
            let open = matches!((&table[..3], columns[3]), ("tcp", "0A") | ("udp", "07"));
            if open && own.contains(columns[9]) {
                all.insert(format!("{table} {}", columns[1]));
            }
        }
    }
    all
}

#[test]
fn it_listens_where_it_is_asked_to_and_nowhere_else() {
    let _alone = alone();
    let at = |address: &str| vec![address.parse::<SocketAddr>().expect("an address")];
    let mut listen = vec![at("127.0.0.1:0"), at("127.0.0.2:0")];
    if TcpStream::connect("[::1]:1").is_err_and(|error| error.raw_os_error() == Some(libc::ECONNREFUSED)) {
        listen.push(at("[::1]:0"));
    } else {
        println!("[::1] is skipped: this machine has no IPv6");
    }
    assert_eq!(listening(), HashSet::new());
    let server =
        Server::bind(Config { listen, web_config: WebConfig::default(), limits: Limits::default() }).expect("free");
    let wanted = server.addresses().iter().map(|address| match address {
        SocketAddr::V4(v4) => format!("tcp {:08X}:{:04X}", u32::from_ne_bytes(v4.ip().octets()), v4.port()),
        SocketAddr::V6(v6) => format!("tcp6 {}{:08X}:{:04X}", "0".repeat(24), 1_u32.to_be(), v6.port()),
    });
    assert_eq!(listening(), wanted.collect());
    drop(server);
    let serving = Serving::plain();
    assert_eq!(serving.get("/metrics", "").status, 200);
    let only = format!("tcp {:08X}:{:04X}", u32::from_ne_bytes([127, 0, 0, 1]), serving.address.port());
    assert_eq!(listening(), HashSet::from([only]));
}
