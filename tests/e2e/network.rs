//! A network that delays, reorders, loses and limits: this process is on one side, and a network namespace with
//! the servers on the other. A TUN device on each side leads to a forwarder in this process.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{self, Command};
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_tun::Tun;

/// Packets that wait because of a rate take no more bytes than this.
const LONGEST_QUEUE: f64 = 200_000.0;
const LONGEST_PACKET: usize = 1500;

/// What the network does to packets, in each direction.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Conditions {
    pub(crate) one_way: Duration,
    /// At most as much is added, at random, so that packets overtake each other.
    pub(crate) jitter: Duration,
    /// The part of the packets that is lost, of 1.
    pub(crate) loss: f64,
    /// To each port of a client, in bytes per second.
    pub(crate) rate: Option<f64>,
}

impl fmt::Display for Conditions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:?} one way, {} % lost",
            self.one_way,
            self.loss * 100.0
        )?;
        if let Some(rate) = self.rate {
            write!(f, ", {} kB/s", rate / 1000.0)?;
        }
        Ok(())
    }
}

/// A namespace and the way to it. Both go with it.
pub(crate) struct Network {
    namespace: String,
    servers: Ipv4Addr,
    state: Arc<State>,
    _forwarder: oneshot::Sender<()>,
}

struct State {
    conditions: Mutex<Conditions>,
    /// How many of the next SYN/ACKs are lost.
    lost_syn_acks: AtomicUsize,
}

pub(crate) fn ip(arguments: &str) {
    let status = Command::new("ip")
        .args(arguments.split(' '))
        .status()
        .expect("iproute2 is installed");
    assert!(status.success(), "ip {arguments}");
}

impl Network {
    /// Builds a network. `None`, and a message, if this is not allowed.
    pub(crate) fn new(conditions: Conditions) -> Option<Self> {
        static NUMBER: AtomicU8 = AtomicU8::new(0);
        let has_tun = std::path::Path::new("/dev/net/tun").exists();
        if !nix::unistd::geteuid().is_root() || !has_tun {
            println!("skipped: a network needs root and /dev/net/tun");
            return None;
        }
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let [id, net] = [process::id(), number.into()];
        let namespace = format!("drain-{id}-{net}");
        let address = |host| Ipv4Addr::new(10, 213, number, host);
        let names = ["c", "s"].map(|side| format!("d{id}{side}{net}"));
        let state = Arc::new(State {
            conditions: Mutex::new(conditions),
            lost_syn_acks: AtomicUsize::new(0),
        });
        let (forwarder, end) = oneshot::channel();
        let (built, is_built) = std::sync::mpsc::channel();
        let [here, there] = names.clone();
        let forwards = state.clone();
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            runtime.unwrap().block_on(async {
                let tun = |name: &str| {
                    let tun = Tun::builder().name(name).mtu(LONGEST_PACKET as i32).build();
                    Arc::new(tun.expect("/dev/net/tun").pop().unwrap())
                };
                let [here, there] = [tun(&here), tun(&there)];
                built.send(()).unwrap();
                tokio::select! {
                    () = forward(&here, &there, &forwards, false) => {}
                    () = forward(&there, &here, &forwards, true) => {}
                    _ = end => {}
                }
            });
        });
        is_built.recv().expect("/dev/net/tun");
        let [here, there] = names;
        ip(&format!("netns add {namespace}"));
        ip(&format!("link set {there} netns {namespace}"));
        for (prefix, device, host) in [
            (String::new(), here, 1),
            (format!("-n {namespace} "), there, 2),
        ] {
            // A queue that does not lose by itself.
            ip(&format!("{prefix}link set {device} txqueuelen 20000 up"));
            ip(&format!(
                "{prefix}addr add {}/24 dev {device}",
                address(host)
            ));
        }
        ip(&format!("-n {namespace} link set lo up"));
        let network = Self {
            namespace,
            servers: address(2),
            state,
            _forwarder: forwarder,
        };
        network.mend();
        Some(network)
    }

    /// An address on the other side.
    pub(crate) fn address(&self, port: u16) -> SocketAddr {
        (self.servers, port).into()
    }

    /// The device on this side.
    pub(crate) fn gateway(&self) -> String {
        let [_, _, number, _] = self.servers.octets();
        format!("d{}c{number}", process::id())
    }

    /// Runs a program on the other side.
    pub(crate) fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("ip");
        command
            .args(["netns", "exec", &self.namespace])
            .arg(program);
        command
    }

    pub(crate) fn set(&self, conditions: Conditions) {
        *self.state.conditions.lock().unwrap() = conditions;
    }

    /// The next SYN/ACK, and so many after it, are lost.
    pub(crate) fn lose_syn_acks(&self, number: usize) {
        self.state.lost_syn_acks.store(number, Ordering::Relaxed);
    }

    /// Takes the other side from the network, as when a pod ends.
    pub(crate) fn cut(&self) {
        self.set_link("down");
    }

    pub(crate) fn mend(&self) {
        self.set_link("up");
        // It is gone with the link.
        let (namespace, device) = (&self.namespace, self.device());
        ip(&format!("-n {namespace} route add default dev {device}"));
    }

    fn set_link(&self, state: &str) {
        let (namespace, device) = (&self.namespace, self.device());
        ip(&format!("-n {namespace} link set {device} {state}"));
    }

    fn device(&self) -> String {
        let [_, _, number, _] = self.servers.octets();
        format!("d{}s{number}", process::id())
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        ip(&format!("netns del {}", self.namespace));
    }
}

/// A packet on its way: when it arrives, and its number.
type OnTheWay = Reverse<(Instant, u64, Vec<u8>)>;

/// Forwards in one direction.
async fn forward(from: &Tun, to: &Tun, state: &State, to_clients: bool) {
    let random = RandomState::new();
    let mut number = 0;
    let mut on_the_way = BinaryHeap::<OnTheWay>::new();
    // Until when the way to each port is busy.
    let mut busy = HashMap::<u16, Instant>::new();
    let mut buffer = [0; LONGEST_PACKET];
    loop {
        let arrives = on_the_way.peek().map(|Reverse((at, ..))| *at);
        let arrival = async {
            match arrives {
                Some(at) => sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            // A link that is down takes nothing, and gives nothing.
            received = from.recv(&mut buffer) => {
                let Ok(length) = received else {
                    sleep(Duration::from_millis(1)).await;
                    continue;
                };
                number += 1;
                let packet = &buffer[..length];
                // Of 1.
                let chance = |what| random.hash_one((number, what)) as f64 / u64::MAX as f64;
                let conditions = *state.conditions.lock().unwrap();
                if chance("loss") < conditions.loss || is_lost_syn_ack(packet, state) {
                    continue;
                }
                let mut at = Instant::now();
                if let Some((rate, port)) = conditions.rate.filter(|_| to_clients).zip(to_port(packet)) {
                    let free = busy.entry(port).or_insert(at);
                    let waits = free.saturating_duration_since(at);
                    if waits.as_secs_f64() * rate > LONGEST_QUEUE {
                        continue;
                    }
                    *free = at + waits + Duration::from_secs_f64(length as f64 / rate);
                    at = *free;
                }
                at += conditions.one_way + conditions.jitter.mul_f64(chance("jitter"));
                on_the_way.push(Reverse((at, number, packet.to_vec())));
            }
            () = arrival => {
                let Reverse((.., packet)) = on_the_way.pop().unwrap();
                let _ = to.send(&packet).await;
            }
        }
    }
}

/// The TCP header of an IPv4 packet.
fn tcp(packet: &[u8]) -> Option<&[u8]> {
    let is_tcp = packet.first()? >> 4 == 4 && *packet.get(9)? == 6;
    packet
        .get(usize::from(packet[0] & 15) * 4..)
        .filter(|_| is_tcp)
}

fn to_port(packet: &[u8]) -> Option<u16> {
    let tcp = tcp(packet)?;
    Some(u16::from_be_bytes([*tcp.get(2)?, *tcp.get(3)?]))
}

fn is_lost_syn_ack(packet: &[u8], state: &State) -> bool {
    let flags = tcp(packet).and_then(|tcp| tcp.get(13));
    let one_less = |number: usize| number.checked_sub(1);
    flags.is_some_and(|flags| flags & 0x12 == 0x12)
        && state
            .lost_syn_acks
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less)
            .is_ok()
}
