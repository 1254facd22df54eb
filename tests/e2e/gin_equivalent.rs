//! The example as a process, with real signals: checks responses, logs, exit code, and the database
//! afterwards.

use std::io::Write;
use std::net::{Shutdown, TcpStream};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::process::{Exited, PATIENCE, Process, answer, binary, read_by_the_server};

struct Server {
    process: Process,
    folder: tempfile::TempDir,
}

impl Server {
    fn start(timeout: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("visits.db");
        let env = [
            ("TIMEOUT", timeout),
            ("DATABASE", database.to_str().unwrap()),
        ];
        let process = Process::start("gin_equivalent", &env);
        Self { process, folder }
    }

    /// Sends a request, and waits until its handler runs.
    fn request(&mut self) -> TcpStream {
        let mut stream = self.process.connect();
        stream
            .write_all(b"GET / HTTP/1.1\r\nHost: here\r\n\r\n")
            .unwrap();
        self.process.logged("GET /");
        stream
    }

    fn exit(self) -> (Exited, tempfile::TempDir) {
        (self.process.exit(), self.folder)
    }
}

/// Returns how many visits are in the database, and for how many the worker has thanked: the next process logs it.
fn rows(folder: tempfile::TempDir) -> (i64, i64) {
    let database = folder.path().join("visits.db");
    let env = [("DATABASE", database.to_str().unwrap())];
    let next = Process::start("gin_equivalent", &env);
    let line = next.earlier(" visits so far, ");
    let mut numbers = line.split_whitespace().filter_map(|word| word.parse().ok());
    (numbers.next().unwrap(), numbers.next().unwrap())
}

#[test]
fn requests_on_open_connections_are_answered_and_the_rows_are_there() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let mut server = Server::start("30");
        // Half a request head. hyper lets it finish.
        let mut later = server.process.connect();
        later
            .write_all(b"GET / HTTP/1.1\r\nHost: here\r\n")
            .unwrap();
        read_by_the_server(&later);
        let running = [server.request(), server.request(), server.request()];
        server.process.signal(signal);
        server.process.logged("Shutdown Server ...");
        later.write_all(b"\r\n").unwrap();
        // axum closes the port in a separate task, while the requests still run.
        let start = Instant::now();
        while TcpStream::connect(server.process.address).is_ok() {
            assert!(start.elapsed() < PATIENCE, "the port stays open");
            thread::yield_now();
        }
        for stream in running.into_iter().chain([later]) {
            let answer = answer(stream);
            assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
            assert!(answer.contains("connection: close\r\n"), "{answer}");
            assert!(answer.ends_with("\r\n\r\nWelcome Gin Server"), "{answer}");
        }
        let (exited, folder) = server.exit();
        let exited = exited.with(0);
        let order = [
            "Shutdown Server ...",
            "job for visit 4 done",
            "Server exiting",
        ];
        assert!(order.map(|what| exited.said(what)).is_sorted());
        assert_eq!(rows(folder), (4, 4), "the jobs are done too");
    }
}

#[test]
fn the_worker_finishes_its_jobs() {
    let mut server = Server::start("30");
    let request = server.request();
    server.process.logged("job for visit 1 started");
    server.process.signal(Signal::SIGTERM);
    // Sent on a connection that is kept alive until the server closes it.
    assert!(answer(request).ends_with("Welcome Gin Server"));
    let (exited, folder) = server.exit();
    let exited = exited.with(0);
    let done = exited.said("job for visit 1 done");
    assert!(done < exited.said("Server exiting"));
    assert_eq!(rows(folder), (1, 1));
}

#[test]
fn queued_jobs_are_done_although_a_request_was_late() {
    let mut server = Server::start("0.5");
    let answered = [server.request(), server.request(), server.request()];
    // They are queued together.
    server.process.logged("job for visit 1 started");
    let late = server.request();
    server.process.signal(Signal::SIGTERM);
    let (exited, folder) = server.exit();
    let exited = exited.with(1);
    assert!(exited.said("drain timed out in_flight=1") < exited.said("job for visit 3 done"));
    assert!(exited.said("job for visit 3 done") < exited.said("Server exiting"));
    for stream in answered {
        assert!(answer(stream).ends_with("Welcome Gin Server"));
    }
    assert!(answer(late).starts_with("HTTP/1.1 503 "));
    assert_eq!(rows(folder), (3, 3));
}

#[test]
fn a_later_signal_ends_the_wait_for_the_worker() {
    let mut server = Server::start("3600");
    let requests: Vec<_> = (0..8).map(|_| server.request()).collect();
    server.process.logged("job for visit 1 started");
    server.process.signal(Signal::SIGTERM);
    server.process.logged("shutdown finished");
    // Until it listens again.
    while server.process.is_running() {
        server.process.signal(Signal::SIGINT);
        thread::sleep(Duration::from_millis(10));
    }
    let (exited, _) = server.exit();
    exited.with(1).said("Error: \"the worker did not finish\"");
    drop(requests);
}

#[test]
fn with_nothing_in_flight_it_exits_at_once() {
    let server = Server::start("30");
    server.process.signal(Signal::SIGTERM);
    let (exited, folder) = server.exit();
    exited.with(0);
    assert_eq!(rows(folder).0, 0);
}

#[test]
fn requests_in_flight_at_the_deadline_are_abandoned_and_counted() {
    let mut server = Server::start("0.5");
    let running = [server.request(), server.request()];
    server.process.signal(Signal::SIGTERM);
    let (exited, folder) = server.exit();
    let exited = exited.with(1);
    let line = &exited.log[exited.said("Error: drain timed out: 2 still in flight")];
    assert!(line.contains("GET / (handler, "), "{line}");
    for stream in running {
        let answer = answer(stream);
        assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
        assert!(answer.contains("connection: close\r\n"), "{answer}");
    }
    assert_eq!(rows(folder).0, 0);
}

#[test]
fn a_silent_connection_is_no_failure() {
    let server = Server::start("3600");
    let mut half = server.process.connect();
    half.write_all(b"GET / HTTP/1.1\r\n").unwrap();
    read_by_the_server(&half);
    server.process.signal(Signal::SIGTERM);
    let (exited, _) = server.exit();
    exited.with(0).said("connections were still open");
}

#[test]
fn a_later_interrupt_ends_it_at_once() {
    let mut server = Server::start("3600");
    let running = server.request();
    server.process.signal(Signal::SIGINT);
    server.process.logged("Shutdown Server ...");
    server.process.logged("still closing in_flight=1");
    server.process.signal(Signal::SIGINT);
    let (exited, _) = server.exit();
    let exited = exited.with(1);
    exited.said("Error: forced to stop: 1 still in flight");
    assert!(answer(running).starts_with("HTTP/1.1 503 "));
}

#[test]
fn a_client_that_hangs_up_is_not_waited_for() {
    let mut server = Server::start("3600");
    let running = server.request();
    running.shutdown(Shutdown::Both).unwrap();
    drop(running);
    server.process.signal(Signal::SIGTERM);
    let (exited, folder) = server.exit();
    exited.with(0);
    assert_eq!(rows(folder).0, 0);
}

#[test]
fn bad_settings_are_named() {
    let folder = tempfile::tempdir().unwrap();
    for (name, value, said) in [
        ("TIMEOUT", "soon", "TIMEOUT=soon: not a time in seconds"),
        ("TIMEOUT", "-1", "TIMEOUT=-1: not a time in seconds"),
        ("ADDR", "nowhere", "invalid socket address"),
    ] {
        let output = Command::new(binary("gin_equivalent"))
            .env("DATABASE", folder.path().join("visits.db"))
            .env(name, value)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(1));
        let errors = String::from_utf8(output.stderr).unwrap();
        assert!(errors.contains(said), "{errors}");
    }
}
