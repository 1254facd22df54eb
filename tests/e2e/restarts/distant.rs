//! Distant clients, on a network that loses segments.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::time::sleep;

use super::http1::{self, Client, Exchange};
use super::{Load, Seen, Server, http2, restart};
use crate::network::{Conditions, Network};

/// The numbers of clients of each kind: enough for thousands of requests, few enough for two cores.
const FRESH: usize = 32;
const UPLOADS: usize = 4;
const KEEP_ALIVE: usize = 24;
const HTTP2: usize = 4;

/// The size of an upload.
const UPLOAD: usize = 500_000;
/// What `/bulk` answers.
const BULK: &str = match std::str::from_utf8(&[b'.'; 100_000]) {
    Ok(bulk) => bulk,
    Err(_) => unreachable!(),
};

fn get() -> Exchange {
    http1::get("/work", "keep-alive", "worked")
}

fn get_once() -> Exchange {
    http1::get("/work", "close", "worked")
}

fn upload() -> Exchange {
    let body = Full::from(Bytes::from_static(&[b'.'; UPLOAD]));
    let request = Request::post("/count").header("connection", "close");
    (
        request.header("host", "here").body(body).unwrap(),
        UPLOAD.to_string(),
    )
}

/// Uses a connection for as long as the server keeps it, with pauses of up to half a second.
async fn keep_alive(address: SocketAddr, number: usize, load: Arc<Load>, kind: usize) {
    let seen = &load.seen[kind];
    let mut open: Option<Client> = None;
    for turn in number.. {
        if !load.goes_on() {
            return;
        }
        if open.is_none() {
            if let Some(stream) = http1::connected(TcpStream::connect(address).await, seen) {
                open = Some(http1::handshake(stream).await);
            }
        }
        if let Some(client) = &mut open {
            seen.observe(http1::ask(client, get(), &load, seen)).await;
        }
        sleep(Duration::from_millis(37 * (turn as u64 % 14))).await;
        if let Some(client) = &mut open {
            if client.ready().await.is_err() {
                open = None;
            }
        }
    }
}

fn start(runtime: &Runtime, load: &Arc<Load>) {
    let address = |client: usize| load.replicas[client % 2];
    for client in 0..FRESH {
        runtime.spawn(http1::again_and_again(
            address(client),
            get_once,
            Duration::ZERO,
            load.clone(),
            0,
        ));
    }
    for client in 0..UPLOADS {
        runtime.spawn(http1::again_and_again(
            address(client),
            upload,
            Duration::ZERO,
            load.clone(),
            1,
        ));
    }
    for client in 0..KEEP_ALIVE {
        runtime.spawn(keep_alive(address(client), client / 2, load.clone(), 2));
    }
    for _ in 0..HTTP2 {
        http2::start_one(runtime, load, (0, 3), ("/bulk", BULK), 2);
    }
}

/// Returns how many requests failed, and how many were answered.
fn under_load(server: Server, conditions: Conditions) -> Option<(usize, usize)> {
    let kinds = [
        "new connections",
        "uploads of 0.5 MB",
        "keep-alive, pauses",
        "HTTP/2, 100 kB",
    ];
    let network = Network::new(conditions)?;
    println!("{conditions}:");
    let load = Load {
        replicas: [8001, 8002].map(|port| network.address(port)),
        network: Some(network),
        ..Load::new(kinds.map(Seen::new).into(), 4)
    };
    let load = restart(server, load, start, Load::warm_up);
    let failed = load
        .seen
        .iter()
        .map(|seen| seen.failed.load(Ordering::Relaxed));
    let answered = load
        .seen
        .iter()
        .map(|seen| seen.answers(0) + seen.answers(1));
    let outcome = (failed.sum(), answered.sum());
    println!("  in all {} failed, {} answered", outcome.0, outcome.1);
    Some(outcome)
}

#[test]
#[ignore = "needs root, and takes minutes: .ci/run runs it"]
fn distant_clients_that_lose_segments_lose_no_request() {
    for (one_way, loss) in [(30, 0.0), (30, 0.01), (30, 0.05), (5, 0.01), (100, 0.01)] {
        let conditions = Conditions {
            one_way: Duration::from_millis(one_way),
            jitter: Duration::from_millis(5),
            loss,
            rate: None,
        };
        let Some((alone, _)) = under_load(Server::Rust("plain", "0"), conditions) else {
            return;
        };
        let (failed, answered) = under_load(Server::Rust("drain", "1"), conditions).unwrap();
        // What is left at 5 % has lost several segments of one connection.
        let most = if loss == 0.0 {
            0
        } else if loss < 0.02 {
            1
        } else {
            2 + answered / 4_000
        };
        assert!(
            failed <= most,
            "{failed} of {answered}, {alone} with axum alone"
        );
    }
}
