//! One port, handed from process to process under load: clients are neither refused nor cut off. Three ways: systemd
//! keeps the socket, a process hands it to its child, or two processes share the port.

use std::net::{SocketAddr, TcpListener};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::runtime::Runtime;

use super::{Load, Seen, free_addresses, http1, http2, report};
use crate::network::{Conditions, Network};
use crate::process::{Process, binary};

const HANDOVERS: usize = 20;

/// Runs all kinds of clients while `hand_over` is called again and again. Asserts that none failed or was refused.
fn under_load(what: &str, address: SocketAddr, mut hand_over: impl FnMut(usize)) {
    let mut seen = http1::kinds();
    let http2 = seen.len();
    seen.push(Seen::new("HTTP/2, 20 ms"));
    let load = Arc::new(Load {
        replicas: [address; 2],
        get: ("/", "hello\n"),
        posts: false,
        ..Load::new(seen, 20)
    });
    let runtime = Runtime::new().unwrap();
    http1::start(&runtime, &load);
    http2::start(&runtime, &load, 20, http2);
    for turn in 0..HANDOVERS {
        load.warm_up(0);
        hand_over(turn);
    }
    load.warm_up(0);
    let load = Load::end(load);
    runtime.shutdown_background();
    report(what, HANDOVERS, &load);
    for (kind, seen) in load.seen.iter().enumerate() {
        assert_eq!(seen.failed.load(Ordering::Relaxed), 0, "{}", seen.kind);
        // Requests that h2 gives up by itself at a GOAWAY were not refused.
        let refused = if kind == http2 {
            0
        } else {
            seen.unsent.load(Ordering::Relaxed)
        };
        assert_eq!(refused, 0, "{}", seen.kind);
    }
}

#[test]
#[ignore = "takes a minute: .ci/run runs it"]
fn a_socket_that_systemd_keeps_refuses_no_client() {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let start = || Process::start_with_socket("systemd", &socket, &[]);
    let mut current = start();
    under_load("systemd's socket", socket.local_addr().unwrap(), |turn| {
        // The next process starts before the old one has ended, or after.
        let next = (turn % 2 == 0).then(start);
        current.signal(Signal::SIGTERM);
        current.wait().with(0);
        current = next.unwrap_or_else(start);
    });
}

#[test]
#[ignore = "takes a minute: .ci/run runs it"]
fn a_process_that_restarts_in_place_refuses_no_client() {
    let [address] = free_addresses();
    let mut command = Command::new(binary("restart_in_place"));
    // The child inherits standard error, and so this log goes on.
    let mut process = Process::spawn(command.env("ADDR", address.to_string()));
    let started = |process: &Process| {
        let line = process.last(" listening on ");
        let (_, line) = line.split_once("process ").unwrap();
        let (id, _) = line.split_once(' ').unwrap();
        Pid::from_raw(id.parse().unwrap())
    };
    let mut current = started(&process);
    under_load("a restart in place", address, |_| {
        kill(current, Signal::SIGUSR2).unwrap();
        process.logged("listening on ");
        let next = started(&process);
        assert_ne!(current, next);
        process.logged("shutdown finished");
        current = next;
    });
    kill(current, Signal::SIGTERM).unwrap();
    process.logged("shutdown finished");
}

#[test]
#[ignore = "needs root, and takes a minute: .ci/run runs it"]
fn processes_that_share_a_port_refuse_no_client() {
    let conditions = Conditions {
        one_way: Duration::from_millis(5),
        ..Conditions::default()
    };
    let Some(network) = Network::new(conditions) else {
        return;
    };
    let mut sysctl = network.command("sysctl");
    let set = sysctl
        .args(["-q", "-w", "net.ipv4.tcp_migrate_req=1"])
        .status();
    assert!(set.unwrap().success());
    let address = network.address(8001);
    let start = || {
        let mut command = network.command(binary("reuse_port"));
        Process::spawn(command.env("ADDR", address.to_string()))
    };
    let mut current = start();
    under_load("a port that two processes share", address, |_| {
        let next = start();
        current.signal(Signal::SIGTERM);
        current.wait().with(0);
        current = next;
    });
}
