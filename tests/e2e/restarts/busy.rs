//! Servers that are slow to accept and to read: blocked workers with a short queue, many clients, the lowest priority.

use std::process::{Child, Command};
use std::sync::Arc;
use std::time::Duration;

use super::http1::{self, Exchange};
use super::{Load, Seen, Server, restart};

fn work() -> Exchange {
    http1::get("/work", "close", "worked")
}

fn block() -> Exchange {
    http1::get("/block", "close", "blocked")
}

/// Clients of one kind: their number, their request, and the pause after each.
struct Clients(&'static str, usize, fn() -> Exchange, Duration);

/// Compares axum alone with this crate, which loses nothing.
fn compare(clients: &[Clients], change: fn(&mut Load)) {
    for server in [Server::Rust("plain", "0"), Server::Rust("drain", "0")] {
        let seen = clients.iter().map(|Clients(kind, ..)| Seen::new(*kind));
        let mut load = Load::new(seen.collect(), 20);
        change(&mut load);
        let start = |runtime: &tokio::runtime::Runtime, load: &Arc<Load>| {
            for (kind, Clients(_, number, exchange, pause)) in clients.iter().enumerate() {
                for client in 0..*number {
                    let address = load.replicas[client % 2];
                    let load = load.clone();
                    runtime.spawn(http1::again_and_again(
                        address, *exchange, *pause, load, kind,
                    ));
                }
            }
        };
        restart(server, load, start, Load::warm_up);
    }
}

#[test]
#[ignore = "takes a minute: .ci/run runs it"]
fn blocked_workers_and_a_short_queue_lose_nothing() {
    const PAUSE: Duration = Duration::from_millis(5);
    compare(
        &[
            Clients("beside blocked workers", 120, work, PAUSE),
            Clients("that block a worker", 8, block, PAUSE),
        ],
        |load| load.backlog = 64,
    );
}

#[test]
#[ignore = "takes a minute: .ci/run runs it"]
fn a_thousand_clients_lose_nothing() {
    let pause = Duration::from_millis(900);
    compare(&[Clients("1,000 clients", 1_000, work, pause)], |load| {
        load.warm_up = 800;
    });
}

/// A process that uses a core.
struct Burner(Child);

impl Burner {
    fn new() -> Self {
        let mut burn = Command::new("sh");
        Self(burn.args(["-c", "while :; do :; done"]).spawn().unwrap())
    }
}

impl Drop for Burner {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
#[ignore = "takes a minute: .ci/run runs it"]
fn the_lowest_priority_beside_busy_processes_loses_nothing() {
    let _burners = [Burner::new(), Burner::new()];
    let pause = Duration::from_millis(20);
    compare(&[Clients("nice 19", 32, work, pause)], |load| {
        load.is_nice = true;
        load.warm_up = 10;
    });
}
