//! Clients of a Unix socket that wait before they send their request.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;

use super::{Load, Seen, report, restarts};
use crate::process::{PATIENCE, Process, binary};

/// The time between connecting and sending the request.
const GAP: Duration = Duration::from_millis(50);

fn start(path: &Path, server: &str) -> Process {
    // axum alone leaves it.
    let _ = std::fs::remove_file(path);
    let mut command = Command::new(binary("test_server"));
    command.env("ADDR", path).env("SERVER", server);
    Process::spawn(command.stdin(Stdio::null()))
}

fn ask(path: &Path, seen: &Seen) {
    let mut stream = match UnixStream::connect(path) {
        Ok(stream) => stream,
        Err(error)
            if [ErrorKind::ConnectionRefused, ErrorKind::NotFound].contains(&error.kind()) =>
        {
            seen.unsent();
            return thread::sleep(GAP);
        }
        Err(error) => return seen.failed(&error),
    };
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    thread::sleep(GAP);
    let mut answer = String::new();
    let answered = stream
        .write_all(b"GET /work HTTP/1.1\r\nhost: here\r\nconnection: close\r\n\r\n")
        .and_then(|()| stream.read_to_string(&mut answer));
    match answered {
        Ok(_) if answer.ends_with("worked") => seen.answered(0),
        Ok(_) => seen.failed(&answer),
        Err(error) => seen.failed(&error),
    }
}

fn under_load(server: &str) -> Load {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let load = Arc::new(Load::new(vec![Seen::new("Unix socket, 50 ms")], 40));
    let mut process = start(&path, server);
    let clients: Vec<_> = (0..32)
        .map(|_| {
            let (load, path) = (load.clone(), path.clone());
            thread::spawn(move || {
                while load.goes_on() {
                    ask(&path, &load.seen[0]);
                }
            })
        })
        .collect();
    for _ in 0..restarts() {
        load.warm_up(0);
        process.signal(Signal::SIGTERM);
        process.wait().with(0);
        process = start(&path, server);
    }
    load.warm_up(0);
    let load = Load::end(load);
    for client in clients {
        client.join().unwrap();
    }
    report(server, restarts(), &load);
    load
}

#[test]
#[ignore = "takes a minute: .ci/run runs it"]
fn clients_of_a_unix_socket_lose_nothing() {
    under_load("unix-plain");
    let load = under_load("unix-drain");
    assert_eq!(load.seen[0].failed.load(Ordering::Relaxed), 0);
}
