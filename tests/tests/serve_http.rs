//! The HTTP server of `serve`: what it answers, and what it does not.

use std::{
    io::{Read, Write},
    process::Command,
    sync::atomic::Ordering,
    thread,
    time::{Duration, Instant},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use numatrace::serve::{exposition::schema::MetricFamily, http::Limits, web_config::WebConfig};
use numatrace_tests::{
    live::program,
    made_sums,
    serving::{Serving, ask, is_closed, read_reply},
};
use prost::Message;

const PROTOBUF: &str =
    "Accept: application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited\r\n";

#[test]
fn metrics_are_told_in_the_form_that_is_asked_for() {
    let serving = Serving::plain();
    let text = serving.get("/metrics", "");
    assert_eq!((text.status, text.header("content-type")), (200, Some("text/plain; version=0.0.4; charset=utf-8")));
    assert!(text.text().contains("\nnumatrace_tracked_threads 321\n"));
    assert!(!text.text().contains("# EOF"));
    let open = serving.get("/metrics?x=y", "Accept: application/openmetrics-text;version=1.0.0,*/*;q=0.1\r\n");
    assert!(
        open.header("content-type").is_some_and(|kind| kind.starts_with("application/openmetrics-text; version=1.0.0"))
    );
    assert!(open.text().ends_with("\n# EOF\n"));
    let packed = serving.get("/metrics", &format!("{PROTOBUF}Accept-Encoding: gzip\r\n"));
    assert_eq!(packed.header("content-encoding"), Some("gzip"));
    let mut bytes = Vec::new();
    flate2::read::GzDecoder::new(packed.body.as_slice()).read_to_end(&mut bytes).expect("gzip");
    let first = MetricFamily::decode_length_delimited(bytes.as_slice()).expect("a family");
    assert_eq!(first.name.as_deref(), Some("numatrace_runq_latency_seconds"));
    assert_eq!(serving.get("/metrics", PROTOBUF).body, bytes);
}

#[test]
fn there_are_few_pages() {
    let serving = Serving::plain();
    assert!(serving.get("/", "").text().contains("href=\"/metrics\""));
    assert_eq!(serving.get("/-/healthy", "").text(), "healthy\n");
    for nowhere in ["/metrics/", "/..", "/%2e", "//"] {
        assert_eq!(serving.get(nowhere, "").status, 404, "{nowhere}");
    }
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "NONSENSE"] {
        let mut stream = serving.connect();
        ask(&mut stream, method, "/metrics", "");
        let reply = read_reply(&mut stream, true).expect("an answer");
        assert_eq!((reply.status, reply.header("allow")), (405, Some("GET, HEAD")), "{method}");
    }
    // Nothing of these needs numbers.
    assert_eq!(serving.collected.load(Ordering::SeqCst), 0);
}

#[test]
fn a_connection_is_kept_and_head_has_no_body() {
    let serving = Serving::plain();
    let mut stream = serving.connect();
    for _ in 0..3 {
        ask(&mut stream, "HEAD", "/metrics", "");
        let head = read_reply(&mut stream, false).expect("an answer");
        ask(&mut stream, "GET", "/metrics", "");
        let reply = read_reply(&mut stream, true).expect("an answer");
        assert_eq!(head.header("content-length"), reply.header("content-length"));
        assert!(reply.text().ends_with('\n'));
    }
    // Two at once are answered in turn.
    ask(&mut stream, "GET", "/-/healthy", "");
    ask(&mut stream, "GET", "/", "");
    assert_eq!(read_reply(&mut stream, true).expect("an answer").text(), "healthy\n");
    assert!(read_reply(&mut stream, true).expect("an answer").text().contains("numatrace"));
}

#[test]
fn bodies_are_refused_unread() {
    let serving = Serving::plain();
    for headers in ["Content-Length: 5\r\n", "Content-Length: 99999999999\r\n", "Transfer-Encoding: chunked\r\n"] {
        let mut stream = serving.connect();
        ask(&mut stream, "GET", "/metrics", headers);
        assert_eq!(read_reply(&mut stream, true).expect("an answer").status, 413, "{headers}");
        // It is not taken for the next request.
        let _ = stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: here\r\n\r\n");
        assert!(is_closed(&mut stream));
    }
    assert!(
        serving.get("/metrics", "").text().contains("numatrace_connections_refused_total{reason=\"malformed\"} 3\n")
    );
}

#[test]
fn malformed_and_huge_requests_end_their_connection() {
    let serving = Serving::plain();
    let long_line = format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(200_000));
    let long_head =
        format!("GET / HTTP/1.1\r\n{}\r\n", "X-Filler: yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\r\n".repeat(5_000));
    let endless = "G".repeat(1_000_000);
    let bad: [&[u8]; 8] = [
        b"\x00\xff\xfe\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        long_line.as_bytes(),
        long_head.as_bytes(),
        endless.as_bytes(),
    ];
    for bytes in bad {
        let mut stream = serving.connect();
        // It can be closed before all is written.
        let _ = stream.write_all(bytes);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        assert!(is_closed(&mut stream), "{}", String::from_utf8_lossy(&bytes[..bytes.len().min(40)]));
    }
    assert_eq!(serving.get("/-/healthy", "").status, 200);
}

#[test]
fn scrapes_within_a_second_cost_one_collection() {
    let serving = Serving::start(Limits::default(), WebConfig::default(), || {
        thread::sleep(Duration::from_millis(50));
        Ok(made_sums::sums())
    });
    let begin = Instant::now();
    thread::scope(|scope| {
        for _ in 0..20 {
            scope.spawn(|| {
                let mut stream = serving.connect();
                for _ in 0..50 {
                    ask(&mut stream, "GET", "/metrics", "");
                    assert_eq!(read_reply(&mut stream, true).expect("an answer").status, 200);
                }
            });
        }
    });
    let most = 1 + begin.elapsed().as_secs() as usize;
    assert!((1..=most).contains(&serving.collected.load(Ordering::SeqCst)));
}

#[test]
fn what_cannot_be_collected_is_said() {
    let mut first = true;
    let serving = Serving::start(Limits::default(), WebConfig::default(), move || {
        anyhow::ensure!(!std::mem::take(&mut first), "no\nmaps");
        Ok(made_sums::sums())
    });
    let reply = serving.get("/metrics", "");
    assert_eq!((reply.status, reply.text()), (503, "cannot collect: no\\x0amaps\n"));
    let begin = Instant::now();
    while serving.get("/metrics", "").status != 200 {
        assert!(begin.elapsed() < Duration::from_secs(30));
        thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_collector_that_panics_ends_serving() {
    let serving = Serving::start(Limits::default(), WebConfig::default(), || panic!("on purpose"));
    let mut stream = serving.connect();
    ask(&mut stream, "GET", "/metrics", "");
    let reply = read_reply(&mut stream, true);
    assert!(reply.is_none_or(|reply| reply.status == 503));
    let error = serving.end(true).expect_err("it ended").to_string();
    assert_eq!(error, "the thread that collects has ended unexpectedly");
}

#[test]
fn an_address_that_is_taken_is_said() {
    use numatrace::serve::http::{Config, Server};
    let serving = Serving::plain();
    let again = Server::bind(Config {
        listen: vec![vec![serving.address]],
        web_config: WebConfig::default(),
        limits: Limits::default(),
    });
    let error = again.expect_err("it is taken").to_string();
    assert!(error.starts_with(&format!("cannot listen at {}: Address already in use", serving.address)), "{error}");
    serving.end(false).expect("served");
}

fn basic(credentials: &str) -> String {
    format!("Authorization: Basic {}\r\n", BASE64_STANDARD.encode(credentials))
}

#[test]
fn only_users_see_numbers() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("web.yml");
    // "secret" and "other", with the least cost that there is.
    let hash = |password| bcrypt::hash(password, 4).expect("a hash");
    let users = |password| format!("basic_auth_users:\n  alice: {}\n", hash(password));
    std::fs::write(&file, format!("http_server_config:\n  headers:\n    X-Frame-Options: deny\n{}", users("secret")))
        .expect("written");
    let serving = Serving::start(Limits::default(), WebConfig::open(&file).expect("good"), || Ok(made_sums::sums()));
    let none = serving.get("/metrics", "");
    assert_eq!((none.status, none.header("x-frame-options")), (401, Some("deny")));
    assert!(none.header("www-authenticate").is_some_and(|how| how.starts_with("Basic realm=")));
    assert_eq!(serving.get("/", "").status, 401);
    assert_eq!(serving.get("/metrics", &basic("alice:wrong")).status, 401);
    assert_eq!(serving.get("/metrics", &basic("bob:secret")).status, 401);
    assert_eq!(serving.get("/-/healthy", "").status, 200);
    assert_eq!(serving.collected.load(Ordering::SeqCst), 0);
    assert_eq!(serving.get("/metrics", &basic("alice:secret")).status, 200);
    let floods: Vec<u16> = (0..50).map(|n| serving.get("/metrics", &basic(&format!("alice:{n}"))).status).collect();
    assert!(floods.contains(&429) && floods.iter().all(|status| matches!(status, 401 | 429)), "{floods:?}");
    assert_eq!(serving.get("/metrics", &basic("alice:secret")).status, 200);
    // A new password holds within a second or two, on old connections too; a file without users changes nothing.
    let mut old = serving.connect();
    ask(&mut old, "GET", "/metrics", &basic("alice:secret"));
    assert_eq!(read_reply(&mut old, true).expect("an answer").status, 200);
    std::fs::write(&file, users("other")).expect("written");
    let begin = Instant::now();
    loop {
        ask(&mut old, "GET", "/metrics", &basic("alice:secret"));
        match read_reply(&mut old, true).expect("an answer").status {
            401 => break,
            status => assert!(matches!(status, 200 | 429) && begin.elapsed() < Duration::from_secs(30), "{status}"),
        }
        thread::sleep(Duration::from_millis(50));
    }
    std::fs::write(&file, "").expect("written");
    thread::sleep(Duration::from_millis(1_100));
    assert_eq!(serving.get("/metrics", "").status, 401);
    assert_eq!(serving.get("/metrics", &basic("alice:other")).status, 200);
}

#[test]
fn the_command_says_what_is_wrong_before_it_does_anything() {
    let serve = |args: &[&str]| {
        let output =
            Command::new(program("numatrace").expect("it is built")).arg("serve").args(args).output().expect("it runs");
        (output.status.code(), String::from_utf8(output.stderr).expect("UTF-8"))
    };
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("web.yml");
    std::fs::write(&file, "tls_server_config: {cert_file: gone, key_file: gone}").expect("written");
    let (code, said) = serve(&["--web.config.file", file.to_str().expect("UTF-8")]);
    assert_eq!((code, said.lines().count()), (Some(2), 1), "{said}");
    assert!(said.contains("tls_server_config.cert_file gone cannot be read: No such file"), "{said}");
    let serving = Serving::plain();
    let (code, said) = serve(&["--listen", &serving.address.to_string()]);
    assert_eq!((code, said.lines().count()), (Some(1), 1), "{said}");
    assert!(said.starts_with(&format!("numatrace: cannot listen at {}: ", serving.address)), "{said}");
    let bad = ["--listen=localhost:9925", "--max-processes=2001", "--max-cgroups=-1", "--max-thread-groups=5"];
    for arg in bad {
        assert_eq!(serve(&[arg]).0, Some(2), "{arg}");
    }
}
