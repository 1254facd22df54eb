//! HTTP/2 clients without a load balancer, at three round trips.
//!
//! With `CLOSING=0` the servers refuse at once, like a layer without `Phase::Closing`, and this test fails.

use std::error::Error;
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::runtime::Runtime;
use tokio::time::sleep;

use super::{Load, Seen, Server, delay, restart, restarts};

/// The number of clients of each kind. Each has a connection to each replica.
const CLIENTS: usize = 8;
/// The number of concurrent requests of each client.
const CALLERS: usize = 8;
/// The pause between two requests of a caller. This test measures failures, not throughput.
const PAUSE: Duration = Duration::from_millis(15);
/// The round trips, in milliseconds.
const ROUND_TRIPS: [u64; 3] = [0, 20, 60];

type Connection = SendRequest<Empty<Bytes>>;

/// The connections of one client, one to each replica. `None` while there is none.
struct Client {
    replicas: [(SocketAddr, Mutex<Option<Connection>>); 2],
    delay: Duration,
    /// The number of its kind.
    kind: usize,
    /// The path of its requests, and the answer.
    get: (&'static str, &'static str),
}

impl Client {
    fn connection(&self, replica: usize) -> Option<Connection> {
        let connection = self.replicas[replica].1.lock().unwrap();
        connection.clone().filter(Connection::is_ready)
    }

    /// Keeps a connection to the replica, whenever it accepts one.
    async fn keep_connected(self: Arc<Self>, replica: usize) {
        let (address, slot) = &self.replicas[replica];
        loop {
            if let Ok(io) = delay::connect(*address, self.delay).await {
                let handshake = http2::handshake(TokioExecutor::new(), TokioIo::new(io)).await;
                let (connection, driver) = handshake.unwrap();
                *slot.lock().unwrap() = Some(connection);
                // This ends with the connection.
                let _ = driver.await;
            }
            *slot.lock().unwrap() = None;
            sleep(Duration::from_millis(50)).await;
        }
    }

    async fn call_again_and_again(self: Arc<Self>, caller: usize, load: Arc<Load>) {
        let seen = &load.seen[self.kind];
        let mut turn = caller;
        while load.goes_on() {
            turn += 1;
            let replica = turn % 2;
            // While there is no connection, the next request goes to the other replica.
            if let Some(connection) = self.connection(replica) {
                seen.observe(call(connection, replica, self.get, seen))
                    .await;
            }
            sleep(PAUSE).await;
        }
    }
}

async fn call(
    mut connection: Connection,
    replica: usize,
    (path, expected): (&str, &str),
    seen: &Seen,
) {
    let request = Request::get(format!("http://here{path}"));
    let request = request.body(Empty::new()).unwrap();
    match connection.try_send_request(request).await {
        Ok(response) if response.status() == StatusCode::OK => {
            let body = response.into_body().collect().await;
            match body.map(|body| body.to_bytes()) {
                Ok(body) if body == expected => seen.answered(replica),
                other => seen.failed(&other),
            }
        }
        Ok(response) => seen.failed(&response.status()),
        Err(mut error) => {
            // The client library gave up the request, as it does with any server.
            let unsent = error.take_message().is_some() || is_goaway(error.error());
            if unsent {
                seen.unsent();
            } else {
                seen.failed(error.error());
            }
        }
    }
}

/// Whether h2 gave up the stream because of a GOAWAY that does not cover it.
fn is_goaway(error: &hyper::Error) -> bool {
    let source = error
        .source()
        .and_then(|source| source.downcast_ref::<h2::Error>());
    source.is_some_and(|error| {
        error.is_go_away() && error.is_remote() && error.reason() == Some(h2::Reason::NO_ERROR)
    })
}

/// Starts clients with this round trip, which count as this kind.
pub(super) fn start(runtime: &Runtime, load: &Arc<Load>, round_trip: u64, kind: usize) {
    for _ in 0..CLIENTS {
        start_one(runtime, load, (round_trip, kind), load.get, CALLERS);
    }
}

/// Starts a client with this round trip, kind, path and answer.
pub(super) fn start_one(
    runtime: &Runtime,
    load: &Arc<Load>,
    (round_trip, kind): (u64, usize),
    get: (&'static str, &'static str),
    callers: usize,
) {
    let client = Arc::new(Client {
        replicas: load.replicas.map(|address| (address, Mutex::default())),
        delay: Duration::from_millis(round_trip / 2),
        kind,
        get,
    });
    for replica in [0, 1] {
        runtime.spawn(client.clone().keep_connected(replica));
    }
    for caller in 0..callers {
        let client = client.clone();
        runtime.spawn(client.call_again_and_again(caller, load.clone()));
    }
}

/// Returns how many requests the client library gave up.
fn under_load(server: Server) -> usize {
    let seen = ROUND_TRIPS.map(|round_trip| Seen::new(format!("HTTP/2, {round_trip} ms")));
    let load = restart(
        server,
        Load::new(seen.into(), 4 * CLIENTS * CALLERS),
        |runtime, load| {
            for (kind, round_trip) in ROUND_TRIPS.into_iter().enumerate() {
                start(runtime, load, round_trip, kind);
            }
        },
        Load::warm_up,
    );
    let unsent = load
        .seen
        .iter()
        .map(|seen| seen.unsent.load(Ordering::Relaxed));
    unsent.sum()
}

#[test]
#[ignore = "takes minutes: .ci/run runs it"]
fn http2_clients_lose_nothing() {
    let alone = under_load(Server::Rust("plain", "0"));
    for server in ["drain", "watch-drain"] {
        let unsent = under_load(Server::Rust(server, "0"));
        // Not more than with axum alone, except by chance.
        let most = 2 * alone + restarts();
        assert!(unsent <= most, "{unsent} given up, and {alone} alone");
    }
    // Clients that come back in the lame duck are asked to leave again.
    under_load(Server::Rust("spread-drain", "0.5"));
}
