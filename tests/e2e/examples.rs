//! The smaller examples, each as a process. They do what their module docs say.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixDatagram;

use nix::sys::signal::Signal::{SIGINT, SIGTERM};

use crate::process::{PATIENCE, Process, answer, read_by_the_server};

fn get(server: &Process, path: &str, more: &str) -> TcpStream {
    let mut stream = server.connect();
    let request = format!("GET {path} HTTP/1.1\r\nHost: here\r\n{more}\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    stream
}

/// Reads until this has arrived.
fn read_to(stream: &mut TcpStream, what: &str) -> String {
    let mut seen = Vec::new();
    while !String::from_utf8_lossy(&seen).contains(what) {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        seen.push(byte[0]);
    }
    String::from_utf8(seen).unwrap()
}

/// A WebSocket, after its handshake.
pub(crate) fn websocket(server: &Process) -> TcpStream {
    let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let mut socket = get(server, "/", upgrade);
    let head = read_to(&mut socket, "\r\n\r\n");
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    socket
}

#[test]
fn websocket_says_goodbye_and_keeps_the_drain_waiting_until_then() {
    let server = Process::start("websocket", &[]);
    let mut socket = websocket(&server);
    // Text, one byte, with a mask of zeros. The echo has no mask.
    socket.write_all(&[0x81, 0x81, 0, 0, 0, 0, b'x']).unwrap();
    let mut echo = [0; 3];
    socket.read_exact(&mut echo).unwrap();
    assert_eq!(echo, [0x81, 1, b'x']);

    server.signal(SIGTERM);
    let mut goodbye = [0; 4];
    socket.read_exact(&mut goodbye).unwrap();
    let [opcode, _, code @ ..] = goodbye;
    assert_eq!((opcode, u16::from_be_bytes(code)), (0x88, 1001));
    server.exit().with(0).said("in_flight_at_close=1");
}

#[test]
fn websocket_answers_a_goodbye() {
    let server = Process::start("websocket", &[]);
    let mut socket = websocket(&server);
    // Code 1000, after a mask of zeros. The echo has no mask, and then the connection ends.
    let code = [0x03, 0xE8];
    socket
        .write_all(&[[0x88, 0x82].as_slice(), &[0; 4], &code].concat())
        .unwrap();
    let mut goodbye = Vec::new();
    socket.read_to_end(&mut goodbye).unwrap();
    assert_eq!(goodbye, [0x88, 2, 0x03, 0xE8]);
    server.signal(SIGTERM);
    server.exit().with(0);
}

#[test]
fn sse_ends_its_stream() {
    let server = Process::start("sse", &[]);
    let mut stream = get(&server, "/", "");
    read_to(&mut stream, "data: tick");
    server.signal(SIGTERM);
    let rest = answer(stream);
    assert!(rest.ends_with("\r\n0\r\n\r\n"), "cut off: {rest:?}");
    let exited = server.exit().with(0);
    exited.said("entering lame duck in_flight=1");
    exited.said("in_flight_at_close=0");
}

#[test]
fn systemd_is_notified() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    manager.set_read_timeout(Some(PATIENCE)).unwrap();
    let message = || {
        let mut bytes = [0; 200];
        let length = manager.recv(&mut bytes).unwrap();
        String::from_utf8(bytes[..length].to_vec()).unwrap()
    };
    let server = Process::start("systemd", &[("NOTIFY_SOCKET", path.to_str().unwrap())]);
    assert_eq!(message(), "READY=1\nSTATUS=serving\n");
    server.signal(SIGTERM);
    assert!(message().starts_with("STATUS=lame duck"));
    for _ in 0..3 {
        answer(get(&server, "/readyz", ""));
    }
    assert_eq!(message(), "STOPPING=1\nSTATUS=closing: 0 in flight\n");
    server.exit().with(0);
}

#[test]
fn hyper_and_tonic_end() {
    for example in ["hyper", "tonic"] {
        let server = Process::start(example, &[]);
        server.signal(SIGINT);
        server.exit().with(0).said("in_flight_at_close=0");
    }
}

#[test]
fn a_silent_connection_does_not_hold_them_up() {
    for (example, half) in [
        ("hyper", "GET / HTTP/1.1\r\n"),
        ("tonic", "PRI * HTTP/2.0\r\n"),
    ] {
        let server = Process::start(example, &[]);
        let mut silent = server.connect();
        silent.write_all(half.as_bytes()).unwrap();
        read_by_the_server(&silent);
        server.signal(SIGINT);
        server
            .exit()
            .with(0)
            .said("connections were still open: abandoned");
    }
}

#[test]
fn hyper_answers_running_requests() {
    let server = Process::start("hyper", &[]);
    let stream = get(&server, "/", "");
    read_by_the_server(&stream);
    server.signal(SIGTERM);
    assert!(answer(stream).ends_with("\r\n\r\nhello\n"));
    server.exit().with(0);
}
