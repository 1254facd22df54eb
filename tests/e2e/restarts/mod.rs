//! Restarts two replicas in turn under load, without retries. Reports the results of each kind of client,
//! next to the results with axum, tonic or Go alone.
//!
//! ```sh
//! RESTARTS=100 cargo test --test e2e restarts -- --ignored --nocapture --test-threads 1
//! ```
//!
//! `RESTARTS` is the number of restarts of each server (default 10).

mod busy;
mod delay;
mod distant;
mod grpc;
mod handover;
pub(crate) mod haproxy;
mod http1;
mod http2;
mod nginx;
mod service;
mod unix;

use std::env;
use std::fmt;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use tokio::runtime::Runtime;
use tokio::time::timeout;

use crate::network::Network;
use crate::process::{PATIENCE, Process, binary};

fn restarts() -> usize {
    env::var("RESTARTS").map_or(10, |number| number.parse().expect("RESTARTS is a number"))
}

pub(crate) fn free_addresses<const N: usize>() -> [SocketAddr; N] {
    let listeners = [(); N].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    listeners.map(|listener| listener.local_addr().unwrap())
}

/// A server under test: with this crate, or one to compare it with.
#[derive(Clone, Copy, PartialEq)]
enum Server {
    /// A `SERVER` of `test_server`, and the longest lame duck, in seconds.
    Rust(&'static str, &'static str),
    /// Go's `http.Server.Shutdown`.
    Go,
}

impl Server {
    /// Starts a replica, on the other side of the network if there is one.
    fn start(self, address: SocketAddr, load: &Load) -> Process {
        let command = |program: PathBuf| match &load.network {
            Some(network) => network.command(program),
            None if load.is_nice => {
                let mut nice = Command::new("nice");
                nice.args(["-n", "19"]).arg(program);
                nice
            }
            None => Command::new(program),
        };
        let mut server = match self {
            Self::Rust(server, lame_duck) => {
                let mut command = command(binary("test_server"));
                command.env("SERVER", server).env("LAME_DUCK", lame_duck);
                command.env("BACKLOG", load.backlog.to_string());
                command
            }
            Self::Go => command(go_server().expect("Go is installed")),
        };
        let server = server.env("ADDR", address.to_string()).stdin(Stdio::null());
        Process::spawn(server)
    }

    /// Whether it must lose nothing. That needs what only Linux can do.
    fn is_ours(self) -> bool {
        let has_filter = cfg!(not(tower_drain_other_unix));
        matches!(self, Self::Rust(server, _) if server.ends_with("drain") && has_filter)
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Rust("plain", _) => "axum alone",
            Self::Rust("grpc-plain", _) => "tonic alone",
            Self::Rust("grpc-drain", _) => "tonic with tower-drain",
            Self::Rust("watch-drain", _) => "an accept loop with tower-drain",
            Self::Rust("spread-drain", _) => "the same, with spread_goodbye",
            Self::Rust("until-lame-duck", _) => "axum that stops accepting first",
            Self::Rust(..) => "axum with tower-drain",
            Self::Go => "Go",
        })
    }
}

/// Builds Go's server. `None` if Go is not installed.
fn go_server() -> Option<std::path::PathBuf> {
    Command::new("go").arg("version").output().ok()?;
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/e2e/restarts/server.go");
    let binary = Path::new(env!("CARGO_TARGET_TMPDIR")).join("go_server");
    let mut build = Command::new("go");
    build.args(["build", "-o"]).arg(&binary).arg(source);
    let built = build.env("GO111MODULE", "off").status().unwrap();
    assert!(built.success());
    Some(binary)
}

/// An answer that takes longer counts as lost.
const ANSWER_TIME: Duration = Duration::from_secs(20);

/// Results of the clients of one kind.
#[derive(Debug, Default)]
struct Seen {
    kind: String,
    /// By replica, if the client knows it.
    answered: [AtomicUsize; 2],
    /// Requests that were refused, or got no answer or only part of one.
    failed: AtomicUsize,
    /// Requests that did not reach the server: the connection was refused, or the client library gave up
    /// before it sent them.
    unsent: AtomicUsize,
}

impl Seen {
    fn new(kind: impl Into<String>) -> Self {
        Self {
            kind: kind.into(),
            ..Self::default()
        }
    }

    fn answered(&self, replica: usize) {
        self.answered[replica].fetch_add(1, Ordering::Relaxed);
    }

    fn failed(&self, error: &dyn fmt::Debug) {
        if self.failed.fetch_add(1, Ordering::Relaxed) < 3 {
            println!("  {}, for example: {error:?}", self.kind);
        }
    }

    /// Runs a request, which counts its own outcome. A request that is never answered counts as failed.
    async fn observe(&self, request: impl Future<Output = ()>) {
        if let Err(never) = timeout(ANSWER_TIME, request).await {
            self.failed(&never);
        }
    }

    fn unsent(&self) {
        self.unsent.fetch_add(1, Ordering::Relaxed);
    }

    fn answers(&self, replica: usize) -> usize {
        self.answered[replica].load(Ordering::Relaxed)
    }
}

/// State shared by clients and restarts.
struct Load {
    replicas: [SocketAddr; 2],
    stop: AtomicBool,
    seen: Vec<Seen>,
    /// The number of answers that each kind of client gets from a replica before the replica is stopped.
    warm_up: usize,
    /// The path of GET requests, and the answer.
    get: (&'static str, &'static str),
    /// Whether every other request is a POST.
    posts: bool,
    /// The way to the replicas, if they are not on this machine.
    network: Option<Network>,
    /// Whether the replicas run at the lowest priority.
    is_nice: bool,
    /// How many connections may wait to be accepted.
    backlog: u32,
}

impl Load {
    /// Creates the load for two replicas of `test_server`.
    fn new(seen: Vec<Seen>, warm_up: usize) -> Self {
        Self {
            replicas: free_addresses(),
            stop: AtomicBool::new(false),
            seen,
            warm_up,
            get: ("/work", "worked"),
            posts: true,
            network: None,
            is_nice: false,
            backlog: 1024,
        }
    }

    /// The number of the replica with this address.
    fn replica(&self, address: &str) -> usize {
        let mut replicas = self.replicas.iter();
        let number = replicas.position(|replica| replica.to_string() == address);
        number.expect("the address of a replica")
    }

    fn goes_on(&self) -> bool {
        !self.stop.load(Ordering::Relaxed)
    }

    /// Stops the clients. Running requests are counted too: each client holds the load until its last request
    /// has ended.
    fn end(load: Arc<Self>) -> Self {
        load.stop.store(true, Ordering::Relaxed);
        let last = || Arc::strong_count(&load) == 1;
        wait_until("a request does not end", last);
        Arc::into_inner(load).expect("the last one")
    }

    /// Waits until each kind of client has got some more answers from this replica.
    fn warm_up(&self, replica: usize) {
        let enough: Vec<_> = self
            .seen
            .iter()
            .map(|seen| seen.answers(replica) + self.warm_up)
            .collect();
        for (seen, enough) in self.seen.iter().zip(enough) {
            let what = format!("{} gets no answers", seen.kind);
            wait_until(&what, || seen.answers(replica) >= enough);
        }
    }
}

fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE, "{what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Restarts the two replicas in turn. `start` starts the clients once both listen, and `ready` returns when
/// a replica is in use and may be stopped.
///
/// If the server uses this crate, asserts that no request failed.
fn restart(
    server: Server,
    load: Load,
    start: impl FnOnce(&Runtime, &Arc<Load>),
    ready: impl Fn(&Load, usize),
) -> Load {
    let load = Arc::new(load);
    let start_replica = |address| server.start(address, &load);
    let mut replicas = load.replicas.map(start_replica);
    let runtime = Runtime::new().unwrap();
    start(&runtime, &load);
    let restarts = restarts();
    for turn in 0..restarts {
        let which = turn % 2;
        ready(&load, which);
        let old = &mut replicas[which];
        old.signal(Signal::SIGTERM);
        old.wait().with(0);
        replicas[which] = start_replica(load.replicas[which]);
    }
    ready(&load, restarts % 2);
    let load = Load::end(load);
    runtime.shutdown_background();
    report(&server.to_string(), restarts, &load);
    // What a network may lose, its test says.
    if server.is_ours() && load.network.is_none() {
        for seen in &load.seen {
            let failed = seen.failed.load(Ordering::Relaxed);
            assert_eq!(failed, 0, "{}, with {server}", seen.kind);
        }
    }
    load
}

fn report(what: &str, restarts: usize, load: &Load) {
    println!("{what}, {restarts} restarts:");
    for seen in &load.seen {
        let [a, b] = [0, 1].map(|replica| seen.answers(replica));
        println!(
            "  {:<28} {:>7} answered {:>5} failed {:>5} never sent",
            seen.kind,
            a + b,
            seen.failed.load(Ordering::Relaxed),
            seen.unsent.load(Ordering::Relaxed)
        );
    }
}
