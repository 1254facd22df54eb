//! Pods behind a service address, as in Kubernetes: the address leads to one pod, is changed some time after its
//! SIGTERM, and the pod's interface goes with its process.

use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;
use tokio::runtime::Runtime;

use super::http1::{self, Exchange};
use super::{Load, Seen, Server, report, restarts};
use crate::network::{Conditions, Network, ip};
use crate::process::{Process, binary};

const SERVICE: &str = "10.214.0.1:80";
/// From the signal until connections go to the other pod.
const UPDATED_AFTER: Duration = Duration::from_millis(1500);

/// The rule by which connections to the service go to a pod. It goes with it.
struct Endpoint(String);

impl Endpoint {
    fn new(pod: SocketAddr) -> Self {
        let rule = format!("OUTPUT -t nat -p tcp -d 10.214.0.1 --dport 80 -j DNAT --to {pod}");
        iptables("-A", &rule);
        Self(rule)
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        iptables("-D", &self.0);
    }
}

fn iptables(action: &str, rule: &str) {
    let mut command = Command::new("iptables");
    let status = command.arg(action).args(rule.split(' ')).status();
    assert!(status.expect("iptables is installed").success(), "{rule}");
}

fn get() -> Exchange {
    http1::get("/work", "close", "worked")
}

fn start(pod: &Network, server: &str, lame_duck: &str) -> Process {
    let mut command = pod.command(binary("test_server"));
    command
        .env("ADDR", pod.address(8001).to_string())
        .env("SERVER", server)
        .env("LAME_DUCK", lame_duck);
    Process::spawn(&mut command)
}

fn under_load(server: &'static str, lame_duck: &'static str) -> Option<Load> {
    let conditions = Conditions {
        one_way: Duration::from_millis(2),
        ..Conditions::default()
    };
    let pods = [Network::new(conditions)?, Network::new(conditions)?];
    // Before its destination is changed, a packet needs some route.
    ip(&format!("route add 10.214.0.1 dev {}", pods[0].gateway()));
    let load = Arc::new(Load {
        replicas: [0, 1].map(|pod| pods[pod].address(8001)),
        ..Load::new(vec![Seen::new("through the service")], 20)
    });
    let mut processes = [0, 1].map(|pod| start(&pods[pod], server, lame_duck));
    let mut endpoint = Endpoint::new(load.replicas[0]);
    let runtime = Runtime::new().unwrap();
    let service: SocketAddr = SERVICE.parse().unwrap();
    for _ in 0..16 {
        let pause = Duration::from_millis(5);
        runtime.spawn(http1::again_and_again(service, get, pause, load.clone(), 0));
    }
    for turn in 0..restarts() {
        let [old, next] = [turn % 2, (turn + 1) % 2];
        load.warm_up(old);
        processes[old].signal(Signal::SIGTERM);
        thread::scope(|scope| {
            let update = scope.spawn(|| {
                thread::sleep(UPDATED_AFTER);
                endpoint = Endpoint::new(load.replicas[next]);
            });
            processes[old].wait().with(0);
            pods[old].cut();
            update.join().unwrap();
        });
        pods[old].mend();
        processes[old] = start(&pods[old], server, lame_duck);
    }
    load.warm_up(restarts() % 2);
    let load = Load::end(load);
    runtime.shutdown_background();
    report(
        &Server::Rust(server, lame_duck).to_string(),
        restarts(),
        &load,
    );
    Some(load)
}

#[test]
#[ignore = "needs root and iptables, and takes a minute: .ci/run runs it"]
fn pods_behind_a_service_address_lose_nothing() {
    if under_load("plain", "0").is_none() {
        return;
    }
    let load = under_load("drain", "3").unwrap();
    let failed = load.seen[0].failed.load(Ordering::Relaxed);
    let unsent = load.seen[0].unsent.load(Ordering::Relaxed);
    assert_eq!((failed, unsent), (0, 0), "lost, and refused");
}
