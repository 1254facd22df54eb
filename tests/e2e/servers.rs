//! The examples of servers other than one HTTP port: running requests are answered after the signal.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread;

use nix::sys::signal::Signal::{SIGINT, SIGTERM};
use tonic::transport::Endpoint;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::process::{PATIENCE, Process, answer, read_by_the_server};
use crate::tls_client::tls;

const GET: &[u8] = b"GET / HTTP/1.1\r\nhost: here\r\n\r\n";

fn read_to_end(mut stream: impl Read) -> String {
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn is_hello(answer: &str) {
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.ends_with("\r\n\r\nhello\n"), "{answer}");
}

/// Returns the answer to a probe, on a new connection.
fn probe(address: std::net::SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: here\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    answer(stream)
}

fn status(address: std::net::SocketAddr, path: &str) -> String {
    probe(address, path)[9..12].to_owned()
}

#[test]
fn tls_answers_running_requests() {
    let server = Process::start("tls", &[]);
    let mut stream = tls(server.connect());
    stream.write_all(GET).unwrap();
    // The handshake is done, and the server has the request.
    read_by_the_server(&stream.sock);
    server.signal(SIGTERM);
    is_hello(&read_to_end(stream));
    server.exit().with(0);
}

#[test]
fn tls_ends_with_half_a_handshake_open() {
    let server = Process::start("tls", &[]);
    let mut silent = server.connect();
    // The first bytes of a ClientHello.
    silent.write_all(&[0x16, 0x03, 0x01]).unwrap();
    read_by_the_server(&silent);
    server.signal(SIGTERM);
    server.exit().with(0);
    assert_eq!(answer(silent), "");
}

#[test]
fn two_servers_end_together_and_the_admin_port_stays_open() {
    let free = [("GRPC_ADDR", "127.0.0.1:0"), ("ADMIN_ADDR", "127.0.0.1:0")];
    let mut server = Process::start("two_servers", &free);
    let grpc = server.logged_address("GRPC_ADDR").unwrap();
    let admin = server.logged_address("ADMIN_ADDR").unwrap();
    assert_eq!(
        ["/readyz", "/livez"].map(|path| status(admin, path)),
        ["200", "200"]
    );
    let mut stream = server.connect();
    stream.write_all(GET).unwrap();
    let metrics = || probe(admin, "/metrics");
    while !metrics().contains("drain_in_flight 1\n") {}
    assert!(metrics().contains("drain_phase 0\n"));

    server.signal(SIGTERM);
    server.logged("entering lame duck");
    // The failed probe ends the lame duck.
    assert_eq!(
        ["/livez", "/readyz"].map(|path| status(admin, path)),
        ["200", "503"]
    );
    server.logged(" closing");
    assert!(metrics().contains("drain_in_flight 1\n"), "{}", metrics());
    is_hello(&answer(stream));
    server.exit().with(0).said("in_flight_at_close=1");
    for port in [grpc, admin] {
        TcpStream::connect(port).unwrap_err();
    }
}

/// It is exempt, and its connection would stay open.
#[tokio::test(flavor = "multi_thread")]
async fn a_watch_of_the_health_service_holds_up_nothing() {
    let free = [("GRPC_ADDR", "127.0.0.1:0"), ("ADMIN_ADDR", "127.0.0.1:0")];
    for example in ["tonic", "two_servers"] {
        let mut server = Process::start(example, &free);
        let mut address = server.address;
        if example == "two_servers" {
            address = server.logged_address("GRPC_ADDR").unwrap();
        }
        let channel = Endpoint::from_shared(format!("http://{address}")).unwrap();
        let mut client = HealthClient::new(channel.connect().await.unwrap());
        let watch = client.watch(HealthCheckRequest::default()).await.unwrap();
        let mut watch = watch.into_inner();
        let status = watch.message().await.unwrap().unwrap().status();
        assert_eq!(status, ServingStatus::Serving);
        server.signal(SIGINT);
        while let Ok(Some(status)) = watch.message().await {
            assert_eq!(status.status(), ServingStatus::NotServing);
        }
        server.exit().with(0).said("ended_after=");
    }
}

#[test]
fn kubernetes_is_alive_but_not_ready() {
    let mut server = Process::start("kubernetes", &[("ADMIN_ADDR", "127.0.0.1:0")]);
    let admin = server.logged_address("admin port").unwrap();
    assert_eq!(
        ["/readyz", "/livez"].map(|path| status(admin, path)),
        ["200", "200"]
    );
    server.signal(SIGTERM);
    server.logged("entering lame duck");
    assert_eq!(
        ["/readyz", "/livez"].map(|path| status(admin, path)),
        ["503", "200"]
    );
    assert_eq!(status(server.address, "/"), "200");
    let exited = server.exit().with(0);
    assert!(exited.said("entering lame duck") < exited.said("drained "));
}

fn connect(path: &Path) -> UnixStream {
    let stream = UnixStream::connect(path).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

#[test]
fn the_next_process_takes_a_unix_socket_over() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hello.sock");
    let start = || Process::start("unix_socket", &[("SOCKET", path.to_str().unwrap())]);
    let old = start();
    let mut running = connect(&path);
    running.write_all(GET).unwrap();

    let new = start();
    old.signal(SIGTERM);
    is_hello(&read_to_end(running));
    old.exit().with(0);
    // The path belongs to the new process.
    let mut stream = connect(&path);
    stream.write_all(GET).unwrap();
    new.signal(SIGTERM);
    is_hello(&read_to_end(stream));
    new.exit().with(0);
    assert_eq!(folder.path().read_dir().unwrap().count(), 1);
}

/// An upstream server that echoes one connection, byte by byte. Returns the request's head.
fn echo(listener: TcpListener) -> String {
    let (mut stream, _) = listener.accept().unwrap();
    let mut seen = Vec::new();
    let mut byte = [0];
    while !seen.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).unwrap();
        seen.push(byte[0]);
    }
    let request = String::from_utf8(seen.clone()).unwrap();
    let head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    stream.write_all(head).unwrap();
    while !seen.ends_with(b"0\r\n\r\n") {
        stream.read_exact(&mut byte).unwrap();
        stream.write_all(&byte).unwrap();
        seen.push(byte[0]);
    }
    request
}

#[test]
fn reverse_proxy_streams_both_ways_to_the_last_byte() {
    let upstream = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = upstream.local_addr().unwrap().to_string();
    let echo = thread::spawn(move || echo(upstream));
    let mut server = Process::start("reverse_proxy", &[("UPSTREAM", &address)]);
    let mut stream = server.connect();
    // Few clients send a body with GET.
    let head = b"GET / HTTP/1.1\r\nhost: here\r\ntransfer-encoding: chunked\r\n\
        connection: x-hop\r\nx-hop: 1\r\n\r\n";
    stream.write_all(head).unwrap();
    let mut seen = String::new();
    let mut exchange = |sent: &[u8], is_echoed: &dyn Fn(&str) -> bool| {
        stream.write_all(sent).unwrap();
        while !is_echoed(&seen) {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            seen.push(byte[0].into());
        }
    };
    // The proxy may cut the data into other chunks. Their sizes are digits.
    let data = |seen: &str| seen.replace(|c: char| !c.is_ascii_alphabetic(), "");
    exchange(b"5\r\nfirst\r\n", &|seen| data(seen).ends_with("first"));
    server.signal(SIGTERM);
    server.logged(" closing");
    exchange(b"4\r\nlast\r\n", &|seen| data(seen).ends_with("last"));
    exchange(b"0\r\n\r\n", &|seen| seen.ends_with("\r\n0\r\n\r\n"));
    let head = echo.join().unwrap();
    assert!(head.contains("host: here\r\n"), "{head}");
    assert!(!head.contains("x-hop"), "{head}");
    server.exit().with(0).said("in_flight_at_close=1");
}

#[test]
fn reverse_proxy_without_an_upstream_says_so() {
    let nowhere = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let server = Process::start("reverse_proxy", &[("UPSTREAM", &nowhere.to_string())]);
    assert_eq!(status(server.address, "/"), "502");
    server.signal(SIGTERM);
    server.exit().with(0);
}
