//! `serve` with TLS: certificates of both sides, what is refused, and new ones while it runs.

use std::{
    fs,
    io::{Read, Write},
    path::Path,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use numatrace::serve::{http::Limits, web_config::WebConfig};
use numatrace_tests::{
    made_sums,
    serving::{Reply, Serving, ask, is_closed, read_reply},
};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio_rustls::rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned, SupportedProtocolVersion,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName},
    version::{TLS12, TLS13},
};

/// One that signs.
struct Authority(CertifiedIssuer<'static, KeyPair>);

/// What it signed.
#[derive(Clone)]
struct Identity {
    pem: String,
    key_pem: String,
    der: CertificateDer<'static>,
    key: Vec<u8>,
}

impl Authority {
    fn new() -> Authority {
        let mut params = CertificateParams::new(Vec::new()).expect("parameters");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Authority(CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("a certificate"))
    }

    fn sign(&self) -> Identity {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(vec!["localhost".into()]).expect("parameters");
        let certificate = params.signed_by(&key, &self.0).expect("a certificate");
        Identity {
            pem: certificate.pem(),
            key_pem: key.serialize_pem(),
            der: certificate.der().clone(),
            key: key.serialize_der(),
        }
    }

    fn pem(&self) -> String {
        self.0.pem()
    }

    fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone()).expect("a root");
        roots
    }
}

fn write(folder: &Path, files: &[(&str, &str)]) {
    for (name, text) in files {
        fs::write(folder.join(name), text).expect("written");
    }
}

fn serve(folder: &Path) -> Serving {
    let config = WebConfig::open(&folder.join("web.yml")).unwrap_or_else(|error| panic!("{error}"));
    assert!(config.has_tls());
    let limits = Limits { head: Duration::from_secs(2), ..Limits::default() };
    Serving::start(limits, config, || Ok(made_sums::sums()))
}

/// Asks for numbers with TLS; `None` where it is not agreed upon.
fn get(
    serving: &Serving,
    roots: &RootCertStore,
    identity: Option<&Identity>,
    version: &'static SupportedProtocolVersion,
) -> Option<(Reply, CertificateDer<'static>)> {
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[version])
        .expect("a version")
        .with_root_certificates(roots.clone());
    let config = match identity {
        Some(identity) => {
            let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(identity.key.clone()));
            builder.with_client_auth_cert(vec![identity.der.clone()], key).expect("a certificate")
        }
        None => builder.with_no_client_auth(),
    };
    let name = ServerName::try_from("localhost").expect("a name");
    let connection = ClientConnection::new(Arc::new(config), name).expect("a client");
    let mut stream = StreamOwned::new(connection, serving.connect());
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: here\r\n\r\n").ok()?;
    let reply = read_reply(&mut stream, true)?;
    let shown = stream.conn.peer_certificates()?.first()?.clone().into_owned();
    Some((reply, shown))
}

#[test]
fn numbers_come_through_tls_alone() {
    let (folder, authority) = (tempfile::tempdir().expect("a folder"), Authority::new());
    let identity = authority.sign();
    let config = "tls_server_config:\n  cert_file: server.crt\n  key_file: server.key\n";
    write(folder.path(), &[("server.crt", &identity.pem), ("server.key", &identity.key_pem), ("web.yml", config)]);
    let serving = serve(folder.path());
    for version in [&TLS12, &TLS13] {
        let (reply, _) = get(&serving, &authority.roots(), None, version).expect("agreed");
        assert_eq!(reply.status, 200);
        assert!(reply.text().contains("\nnumatrace_tracked_threads 321\n"));
    }
    // A client that does not know who signed.
    assert!(get(&serving, &Authority::new().roots(), None, &TLS13).is_none());
    // Plain HTTP gets no answer, nor does silence.
    let mut plain = serving.connect();
    ask(&mut plain, "GET", "/metrics", "");
    let mut said = Vec::new();
    let _ = plain.read_to_end(&mut said);
    assert!(!String::from_utf8_lossy(&said).contains("HTTP/"), "{said:?}");
    assert!(is_closed(&mut serving.connect()));
    thread::sleep(Duration::from_millis(1_100));
    let (reply, _) = get(&serving, &authority.roots(), None, &TLS13).expect("agreed");
    let refused = |reason| format!("numatrace_connections_refused_total{{reason=\"{reason}\"}} ");
    assert!(!reply.text().contains(&format!("{}0\n", refused("tls"))));
    assert!(reply.text().contains(&format!("{}1\n", refused("slow"))), "{}", reply.text());
}

#[test]
fn versions_and_suites_are_as_configured() {
    let (folder, authority) = (tempfile::tempdir().expect("a folder"), Authority::new());
    let identity = authority.sign();
    let indented = |pem: &str| pem.replace('\n', "\n    ");
    let config = format!(
        "tls_server_config:\n  min_version: TLS13\n  curve_preferences: [CurveP384]\n  cert: |\n    {}\n  key: |\n    {}\n",
        indented(identity.pem.trim()),
        indented(identity.key_pem.trim())
    );
    write(folder.path(), &[("web.yml", &config)]);
    let serving = serve(folder.path());
    assert!(get(&serving, &authority.roots(), None, &TLS12).is_none());
    assert!(get(&serving, &authority.roots(), None, &TLS13).is_some());
    drop(serving);
    let config = config.replace(
        "min_version: TLS13",
        "max_version: TLS12\n  cipher_suites: [TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384]",
    );
    write(folder.path(), &[("web.yml", &config)]);
    let serving = serve(folder.path());
    assert!(get(&serving, &authority.roots(), None, &TLS12).is_some());
    assert!(get(&serving, &authority.roots(), None, &TLS13).is_none());
}

#[test]
fn clients_show_certificates_where_they_have_to() {
    let (folder, authority, clients) = (tempfile::tempdir().expect("a folder"), Authority::new(), Authority::new());
    let (server, known, stranger) = (authority.sign(), clients.sign(), authority.sign());
    write(folder.path(), &[("s.crt", &server.pem), ("s.key", &server.key_pem), ("ca.crt", &clients.pem())]);
    // Who is let in: without a certificate, with one that was signed, with any.
    let kinds = [
        ("NoClientCert", [true, true, true]),
        ("RequestClientCert", [true, true, true]),
        ("RequireAnyClientCert", [false, true, true]),
        ("VerifyClientCertIfGiven", [true, true, false]),
        ("RequireAndVerifyClientCert", [false, true, false]),
    ];
    for (kind, wanted) in kinds {
        let ca = if kind.contains("Verify") { "  client_ca_file: ca.crt\n" } else { "" };
        let config =
            format!("tls_server_config:\n  cert_file: s.crt\n  key_file: s.key\n{ca}  client_auth_type: {kind}\n");
        write(folder.path(), &[("web.yml", &config)]);
        let serving = serve(folder.path());
        for version in [&TLS12, &TLS13] {
            let got = [None, Some(&known), Some(&stranger)]
                .map(|identity| get(&serving, &authority.roots(), identity, version).is_some());
            assert_eq!(got, wanted, "{kind} {version:?}");
        }
    }
}

#[test]
fn new_certificates_are_taken_and_broken_ones_are_not() {
    let (folder, authority) = (tempfile::tempdir().expect("a folder"), Authority::new());
    let (old, new) = (authority.sign(), authority.sign());
    let config = "tls_server_config: {cert_file: server.crt, key_file: server.key}\n";
    write(folder.path(), &[("server.crt", &old.pem), ("server.key", &old.key_pem), ("web.yml", config)]);
    let serving = serve(folder.path());
    let shown = || get(&serving, &authority.roots(), None, &TLS13).expect("agreed").1;
    assert_eq!(shown(), old.der);
    // Half of a pair, no certificate, no file, a configuration without TLS: the old one stays.
    let broken: [&[(&str, &str)]; 4] = [
        &[("server.crt", &new.pem)],
        &[("server.crt", "nonsense")],
        &[("web.yml", "")],
        &[("web.yml", "tls_server_config: [")],
    ];
    for files in broken {
        write(folder.path(), files);
        thread::sleep(Duration::from_millis(1_100));
        assert_eq!(shown(), old.der, "{files:?}");
    }
    fs::remove_file(folder.path().join("server.key")).expect("removed");
    thread::sleep(Duration::from_millis(1_100));
    assert_eq!(shown(), old.der);
    write(folder.path(), &[("server.crt", &new.pem), ("server.key", &new.key_pem), ("web.yml", config)]);
    let begin = Instant::now();
    while shown() != new.der {
        assert!(begin.elapsed() < Duration::from_secs(30));
        thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn a_file_that_was_written_in_part_opens_nothing() {
    let (folder, authority, clients) = (tempfile::tempdir().expect("a folder"), Authority::new(), Authority::new());
    let (server, known) = (authority.sign(), clients.sign());
    let whole = "tls_server_config:\n  cert_file: s.crt\n  key_file: s.key\n  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ca.crt\n";
    let files =
        [("s.crt", server.pem.as_str()), ("s.key", &server.key_pem), ("ca.crt", &clients.pem()), ("web.yml", whole)];
    write(folder.path(), &files);
    let serving = serve(folder.path());
    for end in [0, whole.find("  client_auth").expect("the key"), whole.find("  client_ca").expect("the key")] {
        write(folder.path(), &[("web.yml", &whole[..end])]);
        thread::sleep(Duration::from_millis(1_100));
        assert!(get(&serving, &authority.roots(), None, &TLS13).is_none(), "{}", &whole[..end]);
        assert!(get(&serving, &authority.roots(), Some(&known), &TLS13).is_some(), "{}", &whole[..end]);
    }
}

#[test]
fn what_a_configuration_lacks_is_said_in_a_sentence() {
    let (folder, authority) = (tempfile::tempdir().expect("a folder"), Authority::new());
    let (one, other) = (authority.sign(), authority.sign());
    write(
        folder.path(),
        &[("one.crt", &one.pem), ("one.key", &one.key_pem), ("other.key", &other.key_pem), ("no", "nothing")],
    );
    fs::create_dir(folder.path().join("folder")).expect("made");
    let tls = |rest: &str| format!("tls_server_config:\n  cert_file: one.crt\n  key_file: one.key\n{rest}");
    let users = |hash: &str| format!("basic_auth_users:\n  alice: {hash}\n");
    let cases = [
        ("tls_server_configuration: {}".to_owned(), "unknown field `tls_server_configuration`"),
        (tls("  cert_fil: x\n"), "unknown field `cert_fil`"),
        ("tls_server_config: {}".into(), "tls_server_config has neither cert_file nor key_file"),
        ("tls_server_config: {cert_file: one.crt}".into(), "tls_server_config has no key_file"),
        ("tls_server_config: {key_file: one.key}".into(), "tls_server_config has no cert_file"),
        (
            "tls_server_config: {cert_file: gone, key_file: one.key}".into(),
            "cert_file gone cannot be read: No such file",
        ),
        ("tls_server_config: {cert_file: folder, key_file: one.key}".into(), "cert_file folder is no file"),
        ("tls_server_config: {cert_file: no, key_file: one.key}".into(), "there is no certificate in cert_file"),
        ("tls_server_config: {cert_file: one.crt, key_file: no}".into(), "there is no private key in key_file"),
        (
            "tls_server_config: {cert_file: one.crt, key_file: other.key}".into(),
            "cert_file and key_file cannot be used",
        ),
        (tls("  cert: x\n"), "has both cert and cert_file"),
        (tls("  min_version: TLS10\n"), "TLS10"),
        (tls("  min_version: TLS13\n  max_version: TLS12\n"), "min_version is above max_version"),
        (
            tls("  cipher_suites: [TLS_RSA_WITH_RC4_128_SHA]\n"),
            "TLS_RSA_WITH_RC4_128_SHA is not supported; there are TLS_",
        ),
        (tls("  curve_preferences: [CurveP521]\n"), "CurveP521 is not supported"),
        (tls("  client_auth_type: RequireAndVerifyClientCert\n"), "RequireAndVerifyClientCert needs a client_ca_file"),
        (tls("  client_ca_file: one.crt\n"), "does not ask for certificates"),
        (tls("  client_auth_type: Sometimes\n"), "Sometimes"),
        (tls("  client_allowed_sans: [a]\n"), "client_allowed_sans is not supported"),
        ("http_server_config: {http2: true}".into(), "http_server_config.http2: true is not supported"),
        ("http_server_config: {headers: {Server: x}}".into(), "unknown field `Server`"),
        ("http_server_config: {headers: {X-Frame-Options: maybe}}".into(), "X-Frame-Options can be deny or sameorigin"),
        ("rate_limit: {interval: 1s}".into(), "rate_limit is not supported"),
        (users("secret"), "the password of alice is no bcrypt hash"),
        (users("$2y$31$X0h1gDsPszWURQaxFh.zoubFi6DXncSjhoQNJgRrnGs7EsimhC7zG"), "the hash of alice has a cost of 31"),
        ("basic_auth_users: {'a:b': x}".into(), "a name is empty or has a colon"),
        ("a: &a [x,x]\nb: &b [*a,*a,*a]\nc: [*b,*b,*b]".into(), "unknown field"),
        ("\u{1b}[2J: x".into(), "web configuration"),
        ("- 1".into(), "web configuration"),
    ];
    let file = folder.path().join("web.yml");
    for (text, wanted) in cases {
        fs::write(&file, &text).expect("written");
        let error = WebConfig::open(&file).expect_err(&text).to_string();
        assert!(error.contains(wanted), "{text}\n{error}");
        assert!(error.starts_with("web configuration ") && error.contains("web.yml"), "{error}");
        assert!(!error.contains(char::is_control), "{error:?}");
        assert!(!error.contains("secret"), "{error}");
        println!("{error}");
    }
    for (bytes, wanted) in [(&b"\xff\xfe"[..], "UTF-8"), (&[b'#'; (1 << 20) + 1], "is larger than")] {
        fs::write(&file, bytes).expect("written");
        let error = WebConfig::open(&file).expect_err("it is bad").to_string();
        assert!(error.contains(wanted), "{error}");
    }
    for good in
        ["", "---\n", "# nothing\n", "tls_server_config:\nbasic_auth_users:\n", "http_server_config: {http2: false}"]
    {
        fs::write(&file, good).expect("written");
        assert!(!WebConfig::open(&file).unwrap_or_else(|error| panic!("{good}: {error}")).has_tls());
    }
    let gone = WebConfig::open(&folder.path().join("gone.yml")).expect_err("it is gone").to_string();
    assert!(gone.ends_with("gone.yml: it cannot be read: No such file or directory (os error 2)"), "{gone}");
}
