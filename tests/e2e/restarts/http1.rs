//! HTTP/1 clients without a load balancer: with a connection for each request and a pause before the request,
//! and with connections that are kept alive.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::time::sleep;

use super::{Load, Seen, Server, delay, go_server, restart};

/// The number of clients of each kind.
const CLIENTS: usize = 8;
/// The pause between two requests of a client. This test measures failures, not throughput.
const PAUSE: Duration = Duration::from_millis(5);

/// A kind of client, in milliseconds.
#[derive(Clone, Copy)]
enum Kind {
    /// A connection for each request, with the time between connecting and sending the request.
    NewConnection(u64),
    /// The round trip.
    KeepAlive(u64),
}

const KINDS: [Kind; 6] = [
    Kind::NewConnection(0),
    Kind::NewConnection(10),
    Kind::NewConnection(50),
    Kind::KeepAlive(0),
    Kind::KeepAlive(20),
    Kind::KeepAlive(60),
];

impl Kind {
    fn seen(self) -> Seen {
        Seen::new(match self {
            Self::NewConnection(gap) => format!("new connections, {gap} ms"),
            Self::KeepAlive(round_trip) => format!("keep-alive, {round_trip} ms"),
        })
    }
}

pub(super) type Client = SendRequest<Full<Bytes>>;
/// A request, and the expected answer.
pub(super) type Exchange = (Request<Full<Bytes>>, String);

pub(super) async fn handshake<T>(io: T) -> Client
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    // This reads and writes nothing yet.
    let (client, connection) = http1::handshake(TokioIo::new(io)).await.unwrap();
    tokio::spawn(connection);
    client
}

/// Returns GET and POST requests in turn, with the expected answer.
fn request(turn: usize, connection: &str, load: &Load) -> Exchange {
    let (request, body, expected) = if load.posts && turn % 2 == 1 {
        let order = format!("order {turn}");
        (Request::post("/echo"), order.clone(), order)
    } else {
        (Request::get(load.get.0), String::new(), load.get.1.into())
    };
    let request = request
        .header("host", "here")
        .header("connection", connection);
    (request.body(Full::from(body)).unwrap(), expected)
}

async fn check(response: Response<Incoming>, expected: &str) -> Result<(), String> {
    let status = response.status();
    let body = response.into_body().collect().await;
    let body = body.map_err(|error| format!("{status}, then {error:?}"))?;
    let body = body.to_bytes();
    if status == StatusCode::OK && body == expected {
        Ok(())
    } else {
        Err(format!("{status} {body:?}"))
    }
}

pub(super) fn connected<T>(result: io::Result<T>, seen: &Seen) -> Option<T> {
    match result {
        Ok(stream) => return Some(stream),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => seen.unsent(),
        Err(error) => seen.failed(&error),
    }
    None
}

/// Sends a request, and counts its outcome.
pub(super) async fn ask(client: &mut Client, exchange: Exchange, load: &Load, seen: &Seen) {
    let (request, expected) = exchange;
    let is_kept = request.headers()["connection"] == "keep-alive";
    match client.try_send_request(request).await {
        Ok(response) => {
            let replica = response.headers().get("replica").cloned();
            match check(response, &expected).await {
                Ok(()) => {
                    // With two replicas, each names itself.
                    let replica = replica.as_ref().map(|replica| replica.to_str().unwrap());
                    seen.answered(replica.map_or(0, |replica| load.replica(replica)));
                }
                Err(error) => seen.failed(&error),
            }
        }
        Err(mut error) => {
            // An open connection that was closed before anything was sent.
            let unsent = error.take_message().is_some() && is_kept;
            if unsent {
                seen.unsent();
            } else {
                seen.failed(error.error());
            }
        }
    }
}

/// Opens a connection for each request.
async fn run_with_new_connections(gap: Duration, number: usize, load: Arc<Load>, kind: usize) {
    let seen = &load.seen[kind];
    let address = load.replicas[number % 2];
    let mut turn = number;
    while load.goes_on() {
        turn += 1;
        if let Some(stream) = connected(TcpStream::connect(address).await, seen) {
            // So far, the server has only the connection.
            sleep(gap).await;
            let mut client = handshake(stream).await;
            let exchange = request(turn / 2, "close", &load);
            let asked = ask(&mut client, exchange, &load, seen);
            seen.observe(asked).await;
        }
        sleep(PAUSE).await;
    }
}

pub(super) fn get(path: &str, connection: &str, expected: &str) -> Exchange {
    let request = Request::get(path)
        .header("host", "here")
        .header("connection", connection);
    (request.body(Full::default()).unwrap(), expected.into())
}

/// Opens a connection for each request.
pub(super) async fn again_and_again(
    address: SocketAddr,
    exchange: fn() -> Exchange,
    pause: Duration,
    load: Arc<Load>,
    kind: usize,
) {
    let seen = &load.seen[kind];
    while load.goes_on() {
        if let Some(stream) = connected(TcpStream::connect(address).await, seen) {
            let mut client = handshake(stream).await;
            seen.observe(ask(&mut client, exchange(), &load, seen))
                .await;
            sleep(pause).await;
        } else {
            sleep(Duration::from_millis(50)).await;
        }
    }
}

/// Uses a connection for as long as the server keeps it.
async fn run_with_keep_alive(
    address: SocketAddr,
    delay: Duration,
    turns: impl Iterator<Item = usize>,
    load: Arc<Load>,
    kind: usize,
) {
    let seen = &load.seen[kind];
    let mut open: Option<Client> = None;
    for turn in turns {
        if !load.goes_on() {
            return;
        }
        if open.is_none() {
            let stream = connected(delay::connect(address, delay).await, seen);
            if let Some(stream) = stream {
                open = Some(handshake(stream).await);
            }
        }
        if let Some(client) = &mut open {
            let exchange = request(turn, "keep-alive", &load);
            let asked = ask(client, exchange, &load, seen);
            seen.observe(asked).await;
        }
        sleep(PAUSE).await;
        if let Some(client) = &mut open {
            if client.ready().await.is_err() {
                open = None;
            }
        }
    }
}

/// Sends GET and POST in turn to a load balancer, on connections that are kept alive.
pub(super) async fn run_behind_a_balancer(address: SocketAddr, number: usize, load: Arc<Load>) {
    run_with_keep_alive(address, Duration::ZERO, number.., load, 0).await;
}

/// The same with POST only, which load balancers do not repeat.
pub(super) async fn post_behind_a_balancer(address: SocketAddr, load: Arc<Load>) {
    run_with_keep_alive(address, Duration::ZERO, (1..).step_by(2), load, 0).await;
}

/// Starts clients of all kinds.
pub(super) fn start(runtime: &Runtime, load: &Arc<Load>) {
    for (number, kind) in KINDS.into_iter().enumerate() {
        for client in 0..CLIENTS {
            let load = load.clone();
            match kind {
                Kind::NewConnection(gap) => {
                    let gap = Duration::from_millis(gap);
                    runtime.spawn(run_with_new_connections(gap, client, load, number));
                }
                Kind::KeepAlive(round_trip) => {
                    let address = load.replicas[client % 2];
                    let delay = Duration::from_millis(round_trip / 2);
                    let turns = client / 2..;
                    runtime.spawn(run_with_keep_alive(address, delay, turns, load, number));
                }
            }
        }
    }
}

/// The results of each kind of client.
pub(super) fn kinds() -> Vec<Seen> {
    KINDS.map(Kind::seen).into()
}

fn under_load(server: Server) {
    restart(server, Load::new(kinds(), 20), start, Load::warm_up);
}

#[test]
#[ignore = "takes minutes: .ci/run runs it"]
fn http1_clients_lose_nothing() {
    under_load(Server::Rust("plain", "0"));
    match go_server() {
        Some(_) => under_load(Server::Go),
        None => println!("Go is not installed: no comparison with it"),
    }
    under_load(Server::Rust("drain", "0"));
    under_load(Server::Rust("watch-drain", "0"));
    // The recipe for other systems, which loses hardly anything.
    if cfg!(tower_drain_other_unix) {
        under_load(Server::Rust("until-lame-duck", "1"));
    }
}
