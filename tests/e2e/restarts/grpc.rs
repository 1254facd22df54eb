//! gRPC with client-side balancing over both replicas: tonic's channel, and that of gRPC's C core (grpcio).

use std::error::Error;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tokio::time::sleep;
use tonic::Status;
use tonic::transport::{Channel, Endpoint};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use super::{Load, Seen, Server, restart};

const CLIENTS: usize = 8;
const PAUSE: Duration = Duration::from_millis(5);

pub(super) async fn call(client: &mut HealthClient<Channel>, load: &Load, seen: &Seen) {
    match client.check(HealthCheckRequest::default()).await {
        Ok(response) => match response.metadata().get("replica") {
            Some(replica) => seen.answered(load.replica(replica.to_str().unwrap())),
            None => seen.failed(&response),
        },
        Err(status) if was_not_sent(&status) => seen.unsent(),
        Err(status) => seen.failed(&status),
    }
}

/// Whether the channel had no connection, or gave up the call at a GOAWAY that does not cover it. A server's
/// own status has no source.
fn was_not_sent(status: &Status) -> bool {
    let mut source = status.source();
    while let Some(error) = source {
        if let Some(error) = error.downcast_ref::<hyper::Error>() {
            if error.is_canceled() {
                return true;
            }
        }
        if let Some(error) = error.downcast_ref::<h2::Error>() {
            let reason = error.reason();
            return error.is_go_away() && error.is_remote() && reason == Some(h2::Reason::NO_ERROR);
        }
        if let Some(error) = error.downcast_ref::<std::io::Error>() {
            return error.kind() == std::io::ErrorKind::ConnectionRefused;
        }
        source = error.source();
    }
    false
}

async fn run_tonic(load: Arc<Load>) {
    let endpoints = load
        .replicas
        .map(|address| Endpoint::from_shared(format!("http://{address}")).unwrap());
    let mut client = HealthClient::new(Channel::balance_list(endpoints.into_iter()));
    while load.goes_on() {
        let seen = &load.seen[0];
        seen.observe(call(&mut client, &load, seen)).await;
        sleep(PAUSE).await;
    }
}

/// Runs `grpcio_client.py` until the load ends, and counts what it prints.
fn run_grpcio(load: &Load) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let venv = root.join("target/venv/bin/python");
    let python = if venv.exists() {
        venv
    } else {
        "python3".into()
    };
    let mut child = Command::new(python)
        .arg(root.join("tests/e2e/restarts/grpcio_client.py"))
        .arg(CLIENTS.to_string())
        .args(load.replicas.map(|address| address.to_string()))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("Python, which has to be installed for this test");
    let mut stdin = child.stdin.take();
    let seen = &load.seen[1];
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        let line = line.unwrap();
        match line.split_once(' ').unwrap_or((&line, "")) {
            ("answered", replica) => seen.answered(load.replica(replica)),
            ("unsent", _) => seen.unsent(),
            _ => seen.failed(&line),
        }
        if !load.goes_on() {
            // Asks the client to end.
            stdin = None;
        }
    }
    drop(stdin);
    assert!(
        child.wait().unwrap().success(),
        "it needs grpcio: pip install grpcio"
    );
}

fn under_load(server: Server) {
    restart(
        server,
        Load::new(
            vec![
                Seen::new("tonic's channel"),
                Seen::new("grpcio, round robin"),
            ],
            40,
        ),
        |runtime, load| {
            for _ in 0..CLIENTS {
                runtime.spawn(run_tonic(load.clone()));
            }
            let load = load.clone();
            thread::spawn(move || run_grpcio(&load));
        },
        Load::warm_up,
    );
}

#[test]
#[ignore = "needs grpcio from PyPI, and takes minutes: .ci/run installs it and runs this"]
fn grpc_calls_with_client_side_balancing_do_not_fail() {
    under_load(Server::Rust("grpc-plain", "0"));
    under_load(Server::Rust("grpc-drain", "0"));
}
