//! Clients behind HAProxy, with active checks and without retries.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use tokio::time::sleep;
use tonic::transport::Endpoint;
use tonic_health::pb::health_client::HealthClient;

use super::http1::run_behind_a_balancer;
use super::{Load, Seen, Server, grpc, restart};
use crate::process::PATIENCE;

const CLIENTS: usize = 8;
/// The pause between two requests of a client. This test measures failures, not throughput.
const PAUSE: Duration = Duration::from_millis(2);
/// The pause between two checks of a replica by the load balancer.
const INTERVAL: Duration = Duration::from_millis(100);

/// The load balancer. Two replicas at fixed addresses, checked every 100 ms. One failure removes a replica,
/// one success adds it. Failed requests are not retried.
pub(crate) struct HaProxy {
    pub(crate) address: SocketAddr,
    folder: tempfile::TempDir,
    child: Child,
}

impl HaProxy {
    pub(crate) fn start(replicas: [SocketAddr; 2], http2: bool) -> Self {
        // Passed on, so that no other socket can take its address.
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
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
               bind fd@3 {bind}
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
        // Its `-q` closes standard input.
        let child = Command::new("sh")
            .arg("-c")
            .arg(r#"exec haproxy -q -f "$0" 3<&0 </dev/null"#)
            .arg(file)
            .stdin(OwnedFd::from(listener))
            .spawn()
            .unwrap();
        Self {
            address,
            folder,
            child,
        }
    }

    /// Waits until HAProxy uses both replicas.
    pub(crate) fn wait(&self) {
        let start = Instant::now();
        while ["a", "b"].map(|replica| self.is_up(replica)) != [true; 2] {
            assert!(
                start.elapsed() < PATIENCE,
                "HAProxy, which has to be installed, or a replica is not up: {:?}",
                self.table()
            );
            thread::sleep(Duration::from_millis(5));
        }
    }

    fn is_up(&self, replica: &str) -> bool {
        let table = self.table().unwrap_or_default();
        let row = table
            .lines()
            .find(|row| row.starts_with(&format!("replicas,{replica},")));
        // The 18th column is the status, and the 37th that of the last check.
        let fields: Vec<_> = row.unwrap_or_default().split(',').collect();
        fields.get(17) == Some(&"UP") && fields.get(36) == Some(&"L7OK")
    }

    /// What HAProxy says about the replicas. An error means that it does not run.
    fn table(&self) -> std::io::Result<String> {
        let mut socket = UnixStream::connect(self.folder.path().join("stats"))?;
        socket.write_all(b"show stat\n")?;
        let mut table = String::new();
        socket.read_to_string(&mut table)?;
        Ok(table)
    }
}

impl Drop for HaProxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Clients of the load balancer. HAProxy reports whether a replica is in use.
fn under_load(server: Server, http2: bool) {
    let load = Load::new(vec![Seen::new("behind HAProxy")], 20);
    let balancer = HaProxy::start(load.replicas, http2);
    let address = balancer.address;
    restart(
        server,
        load,
        |runtime, load| {
            balancer.wait();
            for number in 0..CLIENTS {
                let load = load.clone();
                if http2 {
                    runtime.spawn(run_grpc(address, load));
                } else {
                    runtime.spawn(run_behind_a_balancer(address, number, load));
                }
            }
        },
        |load, replica| {
            balancer.wait();
            // The restart may have been too short for HAProxy to notice. Let it check the new replica before
            // the other is stopped.
            thread::sleep(3 * INTERVAL);
            load.warm_up(replica);
        },
    );
}

/// Makes unary calls, over one connection for all calls of a client.
async fn run_grpc(address: SocketAddr, load: Arc<Load>) {
    let channel = Endpoint::from_shared(format!("http://{address}")).unwrap();
    let mut client = HealthClient::new(channel.connect_lazy());
    while load.goes_on() {
        let seen = &load.seen[0];
        seen.observe(grpc::call(&mut client, &load, seen)).await;
        sleep(PAUSE).await;
    }
}

#[test]
#[ignore = "needs HAProxy, and takes minutes: .ci/run installs it and runs this"]
fn http1_clients_behind_haproxy_lose_nothing() {
    under_load(Server::Rust("plain", "0"), false);
    under_load(Server::Rust("drain", "5"), false);
}

#[test]
#[ignore = "needs HAProxy, and takes minutes: .ci/run installs it and runs this"]
fn grpc_calls_behind_haproxy_do_not_fail() {
    under_load(Server::Rust("grpc-plain", "0"), true);
    under_load(Server::Rust("grpc-drain", "5"), true);
}
