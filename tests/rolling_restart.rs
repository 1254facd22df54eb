//! Rolling restarts behind a real load balancer: two replicas as processes behind HAProxy, with active checks
//! and without retries, restarted in turn under load. No request may fail. What a server without the sequence
//! loses is printed beside it.
//!
//! ```sh
//! cargo test --release --test rolling_restart -- --ignored --nocapture --test-threads 1
//! ```
//!
//! `RESTARTS` sets how many each server gets (default 20).

#![cfg(target_os = "linux")]
#![allow(missing_docs)]

mod process;

use std::env;
use std::fmt;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use nix::sys::signal::Signal;
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::time::sleep;
use tonic::transport::Endpoint;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use process::{PATIENCE, Process};

const CLIENTS: usize = 8;
/// Between two requests of a client. This is about requests that fail, not about throughput.
const PAUSE: Duration = Duration::from_millis(2);

/// Between two checks of a replica by the balancer.
const INTERVAL: Duration = Duration::from_millis(100);

/// What the clients saw.
#[derive(Default)]
struct Load {
    stop: AtomicBool,
    answered: AtomicU64,
    failed: AtomicU64,
}

impl Load {
    fn count<E: fmt::Display>(&self, outcome: Result<(), E>) {
        let (counter, failure) = match outcome {
            Ok(()) => (&self.answered, None),
            Err(error) => (&self.failed, Some(error)),
        };
        let earlier = counter.fetch_add(1, Ordering::Relaxed);
        if let Some(failure) = failure.filter(|_| earlier < 3) {
            println!("  e.g. {failure}");
        }
    }

    fn goes_on(&self) -> bool {
        !self.stop.load(Ordering::Relaxed)
    }
}

/// The load balancer. Two replicas at fixed addresses, checked every 100 ms. One failure takes a replica out,
/// one success puts it in. Failed requests are not retried.
struct HaProxy {
    address: SocketAddr,
    folder: tempfile::TempDir,
    child: Child,
}

impl HaProxy {
    fn start(replicas: [SocketAddr; 2], http2: bool) -> Self {
        let [address] = free_addresses();
        let folder = tempfile::tempdir().unwrap();
        let (bind, server) = match http2 {
            false => ("", ""),
            true => ("proto h2", "proto h2 check-proto h2"),
        };
        let [a, b] = replicas;
        let socket = folder.path().join("stats");
        let configuration = format!(
            "global
               stats socket {socket} mode 600 level user
             defaults
               mode http
               retries 0
               timeout connect 2s
               timeout client 60s
               timeout server 60s
               option httpchk GET /readyz
               http-check expect status 200
             frontend front
               bind {address} {bind}
               default_backend replicas
             backend replicas
               balance roundrobin
               default-server check inter {interval} fall 1 rise 1 {server}
               server a {a}
               server b {b}
",
            socket = socket.display(),
            interval = INTERVAL.as_millis(),
        );
        let file = folder.path().join("haproxy.cfg");
        fs::write(&file, configuration).unwrap();
        let child = Command::new("haproxy")
            .arg("-q")
            .arg("-f")
            .arg(file)
            .spawn()
            .expect("haproxy, which has to be installed for this test");
        let balancer = Self {
            address,
            folder,
            child,
        };
        balancer.wait_for("a");
        balancer.wait_for("b");
        balancer
    }

    /// Waits until HAProxy sends requests to this replica.
    fn wait_for(&self, replica: &str) {
        let start = Instant::now();
        while !self.is_up(replica).unwrap_or(false) {
            assert!(start.elapsed() < PATIENCE, "{replica} does not come up");
            thread::sleep(Duration::from_millis(10));
        }
    }

    fn is_up(&self, replica: &str) -> std::io::Result<bool> {
        let mut socket = UnixStream::connect(self.folder.path().join("stats"))?;
        socket.write_all(b"show stat\n")?;
        let mut table = String::new();
        socket.read_to_string(&mut table)?;
        let row = table
            .lines()
            .find(|row| row.starts_with(&format!("replicas,{replica},")));
        // The 18th column is the status, and the 37th that of the last check.
        let fields: Vec<_> = row.unwrap_or_default().split(',').collect();
        Ok(fields.get(17) == Some(&"UP") && fields.get(36) == Some(&"L7OK"))
    }
}

impl Drop for HaProxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_addresses<const N: usize>() -> [SocketAddr; N] {
    let listeners = [(); N].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    listeners.map(|listener| listener.local_addr().unwrap())
}

fn replica(server: &str, address: SocketAddr) -> Process {
    let address = address.to_string();
    let env = [
        ("SERVER", server),
        ("ADDR", &address),
        ("LAME_DUCK", "5"),
        ("QUIET", "0.2"),
    ];
    Process::start("test_server", &env)
}

/// Restarts the two replicas in turn while `load` runs through the balancer.
fn restart(
    server: &str,
    http2: bool,
    load: impl Fn(&Runtime, SocketAddr, &Arc<Load>),
) -> Arc<Load> {
    let restarts = env::var("RESTARTS").map_or(20, |number| number.parse().unwrap());
    let addresses = free_addresses();
    let mut replicas = addresses.map(|address| replica(server, address));
    let balancer = HaProxy::start(addresses, http2);
    let runtime = Runtime::new().unwrap();
    let seen = Arc::new(Load::default());
    load(&runtime, balancer.address, &seen);
    for turn in 0..restarts {
        let which = turn % 2;
        let old = &mut replicas[which];
        old.signal(Signal::SIGTERM);
        old.wait().with(0);
        replicas[which] = replica(server, addresses[which]);
        balancer.wait_for(["a", "b"][which]);
        // The replica may have been away for less time than HAProxy takes to notice. Let it check the new
        // one before the other is stopped.
        thread::sleep(3 * INTERVAL);
    }
    seen.stop.store(true, Ordering::Relaxed);
    // Requests under way are counted too: each client holds the load until its last one has ended.
    let start = Instant::now();
    while Arc::strong_count(&seen) > 1 {
        assert!(start.elapsed() < PATIENCE, "a request does not end");
        thread::sleep(Duration::from_millis(5));
    }
    runtime.shutdown_background();
    println!(
        "{server}: {restarts} restarts, {} answered, {} failed",
        seen.answered.load(Ordering::Relaxed),
        seen.failed.load(Ordering::Relaxed),
    );
    seen
}

type Client = SendRequest<Full<Bytes>>;

async fn connect(address: SocketAddr) -> Result<Client, Box<dyn std::error::Error>> {
    let stream = TokioIo::new(TcpStream::connect(address).await?);
    let (client, connection) = http1::handshake(stream).await?;
    tokio::spawn(connection);
    Ok(client)
}

/// GET and POST in turn, on connections that are kept alive.
fn http1_load(runtime: &Runtime, balancer: SocketAddr, load: &Arc<Load>) {
    for _ in 0..CLIENTS {
        let load = load.clone();
        runtime.spawn(async move {
            let mut client = None;
            let mut turn = 0_u64;
            while load.goes_on() {
                turn += 1;
                load.count(one_request(&mut client, balancer, turn).await);
                sleep(PAUSE).await;
            }
        });
    }
}

async fn one_request(
    client: &mut Option<Client>,
    balancer: SocketAddr,
    turn: u64,
) -> Result<(), Box<dyn std::error::Error>> {
    // A connection that was closed between two requests is not a failed request.
    let mut open = match client.take() {
        Some(open) => open,
        None => connect(balancer).await?,
    };
    if open.ready().await.is_err() {
        open = connect(balancer).await?;
    }
    let (request, expected) = match turn % 2 {
        0 => (Request::get("/work"), "worked".into()),
        _ => (Request::post("/echo"), format!("order {turn}")),
    };
    let body = Bytes::from(expected.clone());
    let request = request.header("host", "here").body(Full::new(body))?;
    let response = open.send_request(request).await?;
    let status = response.status();
    let body = response.into_body().collect().await?.to_bytes();
    if status != StatusCode::OK || body != expected {
        return Err(format!("{status} {body:?}").into());
    }
    *client = Some(open);
    Ok(())
}

/// Unary calls, over one connection for all calls of a client.
fn grpc_load(runtime: &Runtime, balancer: SocketAddr, load: &Arc<Load>) {
    for _ in 0..CLIENTS {
        let load = load.clone();
        runtime.spawn(async move {
            let channel = Endpoint::from_shared(format!("http://{balancer}")).unwrap();
            let mut client = HealthClient::new(channel.connect_lazy());
            while load.goes_on() {
                let called = client.check(HealthCheckRequest::default()).await;
                load.count(called.map(drop));
                sleep(PAUSE).await;
            }
        });
    }
}

#[test]
#[ignore = "needs HAProxy, and takes a while: .ci/run installs it and runs this"]
fn http1_requests_do_not_fail() {
    restart("plain", false, http1_load);
    let load = restart("drain", false, http1_load);
    assert_eq!(load.failed.load(Ordering::Relaxed), 0);
    assert!(load.answered.load(Ordering::Relaxed) > 1_000);
}

#[test]
#[ignore = "needs HAProxy, and takes a while: .ci/run installs it and runs this"]
fn grpc_calls_do_not_fail() {
    restart("grpc-plain", true, grpc_load);
    let load = restart("grpc-drain", true, grpc_load);
    assert_eq!(load.failed.load(Ordering::Relaxed), 0);
    assert!(load.answered.load(Ordering::Relaxed) > 1_000);
}
