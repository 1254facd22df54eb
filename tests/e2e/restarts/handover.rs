//! One socket, handed from process to process under load: clients are neither refused nor cut off.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use nix::sys::signal::Signal;
use tokio::runtime::Runtime;

use super::{Load, Seen, http1, http2, report};
use crate::process::Process;

const HANDOVERS: usize = 20;

fn start(socket: &TcpListener) -> Process {
    Process::start_with_socket("systemd", socket, &[])
}

#[test]
#[ignore = "takes a minute: .ci/run runs it"]
fn a_socket_that_is_handed_over_refuses_no_client() {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address: SocketAddr = socket.local_addr().unwrap();
    let mut seen = http1::kinds();
    let http2 = seen.len();
    seen.push(Seen::new("HTTP/2, 20 ms"));
    let load = Arc::new(Load {
        replicas: [address; 2],
        get: ("/", "hello\n"),
        posts: false,
        ..Load::new(seen, 20)
    });
    let mut current = start(&socket);
    let runtime = Runtime::new().unwrap();
    http1::start(&runtime, &load);
    http2::start(&runtime, &load, 20, http2);
    for turn in 0..HANDOVERS {
        load.warm_up(0);
        // The next process starts before the old one has ended, or after.
        let next = (turn % 2 == 0).then(|| start(&socket));
        current.signal(Signal::SIGTERM);
        current.wait().with(0);
        current = next.unwrap_or_else(|| start(&socket));
    }
    load.warm_up(0);
    let load = Load::end(load);
    runtime.shutdown_background();
    report("A socket handed over", HANDOVERS, &load);
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
