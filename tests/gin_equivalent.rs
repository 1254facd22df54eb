//! The example as a process of its own, with real signals: what its clients get, what it logs, how
//! it exits, and what is in its database afterwards.
//!
//! Nothing here sleeps for a while and hopes: each step waits for what the one before it shows, a
//! line of the log or the state of a socket.

#![cfg(target_os = "linux")]
#![allow(missing_docs)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{OnceLock, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use sqlx::{Connection, SqliteConnection, sqlite::SqliteConnectOptions};

/// No step may take longer: then something hangs.
const PATIENCE: Duration = Duration::from_secs(30);

/// The example's binary, built if it is not: `cargo test --test gin_equivalent` alone does not.
fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        let mut build = Command::new(env!("CARGO"));
        build.args(["build", "--quiet", "--example", "gin_equivalent"]);
        if !cfg!(debug_assertions) {
            build.arg("--release");
        }
        assert!(build.status().unwrap().success());
        // This test's own binary is in `deps`, beside `examples`.
        let deps = std::env::current_exe().unwrap();
        let target = deps.parent().and_then(Path::parent).unwrap();
        target.join("examples/gin_equivalent")
    })
}

struct Server {
    child: Child,
    address: SocketAddr,
    log: mpsc::Receiver<String>,
    seen: Vec<String>,
    folder: tempfile::TempDir,
}

impl Server {
    fn start(timeout: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut child = Command::new(binary())
            .env("ADDR", "127.0.0.1:0")
            .env("TIMEOUT", timeout)
            .env("DATABASE", folder.path().join("visits.db"))
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (lines, log) = mpsc::channel();
        thread::spawn(move || {
            for line in stderr.lines() {
                let _ = lines.send(line.unwrap());
            }
        });
        let address = SocketAddr::from(([0; 4], 0));
        let mut server = Self {
            child,
            address,
            log,
            seen: Vec::new(),
            folder,
        };
        let line = server.logged("listening on ");
        server.address = line.rsplit(' ').next().unwrap().parse().unwrap();
        server
    }

    /// Waits for a line of the log.
    fn logged(&mut self, what: &str) -> String {
        loop {
            let line = self.log.recv_timeout(PATIENCE);
            let line = line.unwrap_or_else(|_| panic!("no {what:?} in {:#?}", self.seen));
            self.seen.push(line.clone());
            if line.contains(what) {
                return line;
            }
        }
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().try_into().unwrap()), signal).unwrap();
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// Sends a request, and waits until its handler runs.
    fn request(&mut self) -> TcpStream {
        let mut stream = self.connect();
        stream
            .write_all(b"GET / HTTP/1.1\r\nHost: here\r\n\r\n")
            .unwrap();
        self.logged("GET /");
        stream
    }

    /// The exit code, and what was logged to the end.
    fn exit(mut self) -> (ExitStatus, Vec<String>, tempfile::TempDir) {
        let status = self.child.wait().unwrap();
        self.seen.extend(self.log.iter());
        (status, std::mem::take(&mut self.seen), self.folder)
    }
}

/// What comes until the server closes the connection.
fn answer(mut stream: TcpStream) -> String {
    let mut answer = String::new();
    // A reset is an end, too; the tests look at what came before it.
    let _ = stream.read_to_string(&mut answer);
    answer
}

/// Waits until the server has read all that was sent to it on `stream`, by the kernel's own word.
fn read_by_the_server(stream: &TcpStream) {
    let hex = |address: SocketAddr| format!(":{:04X}", address.port());
    let (client, server) = (stream.local_addr().unwrap(), stream.peer_addr().unwrap());
    let waits = || {
        let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
        table.lines().any(|line| {
            let fields: Vec<_> = line.split_whitespace().collect();
            let unread = !fields[4].ends_with(":00000000");
            fields[1].ends_with(&hex(server)) && fields[2].ends_with(&hex(client)) && unread
        })
    };
    while waits() {
        thread::yield_now();
    }
}

fn rows(folder: &tempfile::TempDir) -> (i64, i64) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.unwrap().block_on(async {
        let options = SqliteConnectOptions::new().filename(folder.path().join("visits.db"));
        let mut database = SqliteConnection::connect_with(&options).await.unwrap();
        let query = sqlx::query_as("SELECT count(*), total(thanked) = count(*) FROM visits");
        query.fetch_one(&mut database).await.unwrap()
    })
}

fn position(log: &[String], what: &str) -> usize {
    let at = log.iter().position(|line| line.contains(what));
    at.unwrap_or_else(|| panic!("no {what:?} in {log:#?}"))
}

#[test]
fn what_runs_is_answered_newcomers_are_not_and_the_rows_are_there() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let mut server = Server::start("30");
        // Half a head: hyper lets it finish, and the layer refuses what it becomes.
        let mut newcomer = server.connect();
        newcomer
            .write_all(b"GET / HTTP/1.1\r\nHost: here\r\n")
            .unwrap();
        read_by_the_server(&newcomer);
        let running = [server.request(), server.request(), server.request()];
        server.signal(signal);
        server.logged("Shutdown Server ...");
        server.logged("3 in flight");
        newcomer.write_all(b"\r\n").unwrap();
        let refused = answer(newcomer);
        assert!(refused.starts_with("HTTP/1.1 503 "), "{refused}");
        assert!(refused.contains("connection: close\r\n"), "{refused}");
        // axum closes the port on a task of its own, while the requests still run.
        let start = Instant::now();
        while TcpStream::connect(server.address).is_ok() {
            assert!(start.elapsed() < PATIENCE, "the port stays open");
            thread::yield_now();
        }
        for stream in running {
            let answer = answer(stream);
            assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
            assert!(answer.ends_with("\r\n\r\nWelcome Gin Server"), "{answer}");
        }
        let (status, log, folder) = server.exit();
        assert_eq!(status.code(), Some(0), "{log:#?}");
        assert!(position(&log, "Shutdown Server ...") < position(&log, "Server exiting"));
        assert_eq!(rows(&folder).0, 3);
    }
}

#[test]
fn the_worker_finishes_the_job_in_its_hands() {
    let mut server = Server::start("30");
    let running = server.request();
    server.signal(Signal::SIGTERM);
    assert!(answer(running).ends_with("Welcome Gin Server"));
    let (status, log, folder) = server.exit();
    assert_eq!(status.code(), Some(0));
    let done = position(&log, "job for visit 1 done");
    assert!(done < position(&log, "Server exiting"));
    assert_eq!(rows(&folder), (1, 1), "the job's row is there as well");
}

#[test]
fn with_nothing_in_flight_it_exits_at_once() {
    let server = Server::start("30");
    server.signal(Signal::SIGTERM);
    let (status, log, folder) = server.exit();
    assert_eq!(status.code(), Some(0), "{log:#?}");
    assert_eq!(rows(&folder).0, 0);
}

#[test]
fn what_is_in_flight_at_the_deadline_is_abandoned_and_counted() {
    let mut server = Server::start("0.5");
    let running = [server.request(), server.request()];
    server.signal(Signal::SIGTERM);
    let (status, log, folder) = server.exit();
    assert_eq!(status.code(), Some(1));
    position(&log, "2 still in flight; abandoned 2");
    position(&log, "Server exiting");
    for stream in running {
        assert_eq!(answer(stream), "");
    }
    assert_eq!(rows(&folder).0, 0);
}

#[test]
fn a_connection_open_at_the_deadline_is_no_success() {
    let server = Server::start("0.5");
    let mut half = server.connect();
    half.write_all(b"GET / HTTP/1.1\r\n").unwrap();
    read_by_the_server(&half);
    server.signal(Signal::SIGTERM);
    let (status, log, _) = server.exit();
    assert_eq!(status.code(), Some(1));
    position(&log, "connections still open");
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let mut server = Server::start("3600");
    let running = server.request();
    server.signal(Signal::SIGINT);
    server.logged("Shutdown Server ...");
    server.logged("1 in flight");
    server.signal(Signal::SIGINT);
    let (status, log, _) = server.exit();
    assert_eq!(status.code(), Some(1));
    position(&log, "second signal: abandoned 1 in flight");
    assert_eq!(answer(running), "");
}

#[test]
fn a_client_that_hangs_up_is_not_waited_for() {
    let mut server = Server::start("3600");
    let running = server.request();
    running.shutdown(Shutdown::Both).unwrap();
    drop(running);
    server.signal(Signal::SIGTERM);
    let (status, log, folder) = server.exit();
    assert_eq!(status.code(), Some(0), "{log:#?}");
    assert_eq!(rows(&folder).0, 0);
}
