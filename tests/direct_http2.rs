//! Restarts under direct HTTP/2 clients, with no load balancer before the servers and a round trip between
//! them: two replicas as processes, restarted in turn, beside axum alone in the same run.
//!
//! ```sh
//! cargo test --release --test direct_http2 -- --nocapture
//! ```
//!
//! `RESTARTS` sets how often the replicas are restarted at each delay (default 10). `CLOSING` sets the
//! seconds of closing; with 0 the server refuses at once, and this test fails.

#![cfg(target_os = "linux")]
#![allow(missing_docs)]

mod process;

use std::env;
use std::error::Error;
use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use nix::sys::signal::Signal;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, duplex, split};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::{sleep, sleep_until};

use process::{PATIENCE, Process};

/// Each with a connection to each replica.
const CLIENTS: usize = 8;
/// Requests at a time, of each client.
const CALLERS: usize = 8;
/// Between two requests of a caller. This is about requests that fail, not about throughput.
const PAUSE: Duration = Duration::from_millis(5);

// A connection with a round trip.

/// Connects through a proxy that delays what passes, both ways.
async fn connect(address: SocketAddr, delay: Duration) -> io::Result<DuplexStream> {
    sleep(delay).await;
    let server = TcpStream::connect(address).await;
    sleep(delay).await;
    let server = server?;
    server.set_nodelay(true)?;
    let (client, proxy) = duplex(1 << 16);
    let (from_client, to_client) = split(proxy);
    let (from_server, to_server) = server.into_split();
    pass(from_client, to_server, delay);
    pass(from_server, to_client, delay);
    Ok(client)
}

fn pass<R, W>(mut from: R, mut to: W, delay: Duration)
where
    R: AsyncRead + Unpin + Send + 'static,
    W: AsyncWrite + Unpin + Send + 'static,
{
    let (sender, mut on_the_way) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        let mut buffer = vec![0; 1 << 14];
        while let Ok(length @ 1..) = from.read(&mut buffer).await {
            let arrival = tokio::time::Instant::now() + delay;
            let _ = sender.send((arrival, buffer[..length].to_vec()));
        }
        sleep(delay).await;
    });
    tokio::spawn(async move {
        while let Some((arrival, bytes)) = on_the_way.recv().await {
            sleep_until(arrival).await;
            if to.write_all(&bytes).await.is_err() {
                return;
            }
        }
        let _ = to.shutdown().await;
    });
}

// The clients.

/// What the clients saw.
#[derive(Debug, Default)]
struct Seen {
    answered: AtomicUsize,
    /// A 503: the server refused it.
    refused: AtomicUsize,
    /// An error after it was sent.
    cut: AtomicUsize,
    /// Never sent: the client library gave up at a GOAWAY, as it does with any server.
    given_up: AtomicUsize,
}

impl Seen {
    fn failed(&self) -> usize {
        self.refused.load(Ordering::Relaxed) + self.cut.load(Ordering::Relaxed)
    }

    fn count(&self, counter: &AtomicUsize, example: &dyn fmt::Debug) {
        if counter.fetch_add(1, Ordering::Relaxed) < 3 {
            println!("  for example {example:?}");
        }
    }
}

type Connection = SendRequest<Empty<Bytes>>;

/// The connections of one client, one to each replica. `None` while there is none.
struct Client {
    replicas: [(SocketAddr, Mutex<Option<Connection>>); 2],
    delay: Duration,
}

impl Client {
    fn connection(&self, replica: usize) -> Option<Connection> {
        let connection = self.replicas[replica].1.lock().unwrap();
        connection.clone().filter(Connection::is_ready)
    }

    /// Keeps a connection to the replica, as far as there is something to connect to.
    async fn keep_connected(self: Arc<Self>, replica: usize) {
        let (address, slot) = &self.replicas[replica];
        loop {
            if let Ok(io) = connect(*address, self.delay).await {
                let handshake = http2::handshake(TokioExecutor::new(), TokioIo::new(io)).await;
                let (connection, driver) = handshake.unwrap();
                *slot.lock().unwrap() = Some(connection);
                // Ends with the connection.
                let _ = driver.await;
            }
            *slot.lock().unwrap() = None;
            sleep(Duration::from_millis(50)).await;
        }
    }

    async fn call_again_and_again(self: Arc<Self>, caller: usize, load: Arc<Load>) {
        let mut turn = caller;
        while !load.stop.load(Ordering::Relaxed) {
            turn += 1;
            let connection = self
                .connection(turn % 2)
                .map(|connection| (turn % 2, connection));
            match connection {
                Some((replica, connection)) => {
                    call(connection, &load.seen).await;
                    load.answers[replica].fetch_add(1, Ordering::Relaxed);
                }
                // The other replica gets the next one.
                None => tokio::task::yield_now().await,
            }
            sleep(PAUSE).await;
        }
    }
}

async fn call(mut connection: Connection, seen: &Seen) {
    let request = Request::get("http://here/work").body(Empty::new()).unwrap();
    match connection.try_send_request(request).await {
        Ok(response) if response.status() == StatusCode::OK => {
            match response
                .into_body()
                .collect()
                .await
                .map(|body| body.to_bytes())
            {
                Ok(body) if body == "worked" => {
                    seen.answered.fetch_add(1, Ordering::Relaxed);
                }
                other => seen.count(&seen.cut, &other),
            }
        }
        Ok(response) => seen.count(&seen.refused, &response.status()),
        Err(mut error) => {
            if error.take_message().is_some() || is_goaway(error.error()) {
                seen.given_up.fetch_add(1, Ordering::Relaxed);
            } else {
                seen.count(&seen.cut, &error);
            }
        }
    }
}

/// Whether h2 gave the stream up because of a GOAWAY that does not cover it.
fn is_goaway(error: &hyper::Error) -> bool {
    let source = error
        .source()
        .and_then(|source| source.downcast_ref::<h2::Error>());
    source.is_some_and(|error| {
        error.is_go_away() && error.is_remote() && error.reason() == Some(h2::Reason::NO_ERROR)
    })
}

// The restarts.

#[derive(Default)]
struct Load {
    seen: Seen,
    stop: AtomicBool,
    /// Calls that have ended, by replica.
    answers: [AtomicUsize; 2],
}

fn free_addresses() -> [SocketAddr; 2] {
    let listeners = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    listeners.map(|listener| listener.local_addr().unwrap())
}

/// Every other replica goes through a lame duck first.
fn replica(server: &str, address: SocketAddr, turn: usize) -> Process {
    let address = address.to_string();
    let closing = env::var("CLOSING").unwrap_or_else(|_| "1".into());
    let env = [
        ("SERVER", server),
        ("ADDR", &address),
        ("CLOSING", &closing),
        ("LAME_DUCK", if turn % 4 < 2 { "0" } else { "0.3" }),
    ];
    Process::start("test_server", &env)
}

/// Restarts two replicas in turn under load.
fn restart(server: &str, delay: Duration, restarts: usize) -> Seen {
    let addresses = free_addresses();
    let mut replicas = addresses.map(|address| replica(server, address, 0));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let load = Arc::new(Load::default());
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        let replicas = addresses.map(|address| (address, Mutex::new(None)));
        let client = Arc::new(Client { replicas, delay });
        for replica in [0, 1] {
            runtime.spawn(client.clone().keep_connected(replica));
        }
        for caller in 0..CALLERS {
            runtime.spawn(client.clone().call_again_and_again(caller, load.clone()));
        }
        clients.push(client);
    }
    for turn in 0..restarts {
        let which = turn % 2;
        // Each client is connected to both, and has had an answer on the connection to the one that goes.
        wait_until(|| {
            clients
                .iter()
                .all(|client| [0, 1].map(|it| client.connection(it).is_some()) == [true; 2])
        });
        let before = load.answers[which].load(Ordering::Relaxed);
        wait_until(|| load.answers[which].load(Ordering::Relaxed) > before + 4 * CLIENTS * CALLERS);
        let old = &mut replicas[which];
        old.signal(Signal::SIGTERM);
        old.wait().with(0);
        replicas[which] = replica(server, addresses[which], turn + 2);
    }
    load.stop.store(true, Ordering::Relaxed);
    // Until the calls under way have ended.
    let calling = || Arc::strong_count(&load) > 1;
    wait_until(|| !calling());
    runtime.shutdown_background();
    let seen = Arc::into_inner(load).expect("no caller is left").seen;
    println!(
        "{server}, round trip {} ms, {restarts} restarts: {seen:?}",
        2 * delay.as_millis()
    );
    seen
}

fn wait_until(condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE, "the condition never holds");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn direct_http2_clients_lose_nothing_at_any_round_trip() {
    let restarts = env::var("RESTARTS").map_or(10, |number| number.parse().unwrap());
    let mut given_up = [0, 0];
    let mut failed = Vec::new();
    for delay in [0, 10, 30].map(Duration::from_millis) {
        for (index, server) in ["plain", "drain"].into_iter().enumerate() {
            let seen = restart(server, delay, restarts);
            assert!(seen.answered.load(Ordering::Relaxed) > 100 * restarts);
            given_up[index] += seen.given_up.load(Ordering::Relaxed);
            failed.push(seen.failed());
        }
    }
    assert_eq!(failed, [0; 6], "requests refused or cut");
    println!("given up by the client library: {given_up:?}");
    // Not more than beside axum alone, but for chance.
    let [plain, drain] = given_up;
    assert!(drain <= 2 * plain + restarts, "{given_up:?}");
}
