//! WebSockets of the example: clients that send all the time see 1001 and not 1006, and one that never reads holds up
//! nothing.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use futures_util::future::join_all;
use futures_util::{SinkExt, StreamExt};
use nix::sys::signal::Signal::SIGTERM;
use tokio::sync::mpsc;
use tokio::time::{Duration, sleep, timeout};
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::Message;

use crate::examples::websocket;
use crate::process::{PATIENCE, Process};

const CLIENTS: usize = 50;

/// Opens a WebSocket that sends 2 kB each 5 ms. Returns the code with which it was closed.
async fn client(url: String, echo: mpsc::Sender<()>) -> u16 {
    let (socket, _) = connect_async(url).await.unwrap();
    let (mut sink, mut stream) = socket.split();
    let sending = tokio::spawn(async move {
        while sink.send("x".repeat(2_000).into()).await.is_ok() {
            sleep(Duration::from_millis(5)).await;
        }
    });
    let mut code = 1006;
    let mut echo = Some(echo);
    while let Some(Ok(message)) = stream.next().await {
        echo = None;
        if let Message::Close(Some(frame)) = message {
            code = frame.code.into();
        }
    }
    drop(echo);
    sending.abort();
    code
}

#[tokio::test]
async fn fifty_busy_clients_of_tungstenite_see_1001() {
    let server = Process::start("websocket", &[]);
    let url = format!("ws://{}/", server.address);
    let (echo, mut all_echo) = mpsc::channel(1);
    let clients = (0..CLIENTS).map(|_| tokio::spawn(client(url.clone(), echo.clone())));
    let clients: Vec<_> = clients.collect();
    drop(echo);
    assert!(timeout(PATIENCE, all_echo.recv()).await.unwrap().is_none());
    server.signal(SIGTERM);
    let codes = timeout(PATIENCE, join_all(clients)).await.unwrap();
    let codes: Vec<_> = codes.into_iter().map(Result::unwrap).collect();
    assert_eq!(codes, [1001; CLIENTS]);
    server.exit().with(0);
}

/// The same with the clients of a program.
#[track_caller]
fn all_see_1001(program: &mut Command, source: &str) {
    let server = Process::start("websocket", &[]);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/e2e/websockets");
    let mut clients = program
        .arg(folder.join(source))
        .arg(format!("ws://{}/", server.address))
        .arg(CLIENTS.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .expect("it is installed");
    let mut lines = BufReader::new(clients.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "all echo");
    server.signal(SIGTERM);
    let codes: Vec<_> = lines.map(Result::unwrap).collect();
    assert_eq!(codes, ["closed 1001"; CLIENTS]);
    assert!(clients.wait().unwrap().success());
    server.exit().with(0);
}

#[test]
#[ignore = "needs ws for Node.js: .ci/run installs it and runs this"]
fn fifty_busy_clients_of_ws_see_1001() {
    let mut node = Command::new("node");
    node.env("NODE_PATH", "target/node/usr/share/nodejs");
    all_see_1001(&mut node, "clients.js");
}

#[test]
#[ignore = "needs websockets for Python: .ci/run installs it and runs this"]
fn fifty_busy_clients_of_websockets_see_1001() {
    all_see_1001(&mut Command::new("target/venv/bin/python"), "clients.py");
}

#[test]
fn a_client_that_never_reads_holds_up_nothing() {
    let server = Process::start("websocket", &[]);
    let mut socket = websocket(&server);
    socket.set_nonblocking(true).unwrap();
    // Text of 65,535 bytes, with a mask of zeros.
    let frame = [
        &[0x81, 0xFE, 0xFF, 0xFF, 0, 0, 0, 0],
        [b'x'; 65_535].as_slice(),
    ]
    .concat();
    let mut rest = frame.as_slice();
    let mut full = 0;
    // Until the server no longer reads, because its answers are not read.
    while full < 10 {
        if let Ok(length) = socket.write(rest) {
            full = 0;
            rest = match &rest[length..] {
                [] => &frame,
                rest => rest,
            };
        } else {
            full += 1;
            std::thread::sleep(Duration::from_millis(10));
        }
    }
    server.signal(SIGTERM);
    server.exit().with(0);
}
