//! What the kernel knows about the connections of the ports. Only a server that is leaving asks, seldom, and on a
//! thread of its own.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use std::{fs, io, thread};

use socket2::{Domain, SockRef};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::inet_diag::InetDiag;
use crate::gate::lock;
use crate::shutdown::port::socket::{Socket, not_tcp};
use crate::shutdown::port::tcp::{TcpSocket, TcpState};

/// The shortest time from an answer to the next question.
const INTERVAL: Duration = Duration::from_millis(20);
/// The same, as a multiple of what the answer took: questions take at most 5 % of one core.
const INTERVAL_FACTOR: u32 = 20;
/// The longest, on a machine that is too busy to answer.
const LONGEST_INTERVAL: Duration = Duration::from_millis(500);

/// The ports about which the kernel can be asked.
#[derive(Clone, Debug)]
pub(in crate::shutdown::port) struct Kernel {
    netlink: Arc<Mutex<InetDiag>>,
    ports: Vec<(Domain, u16)>,
    /// Inodes of the listeners themselves.
    listeners: HashSet<u64>,
    /// Whether another process accepts from one of these listeners too.
    is_shared: bool,
    next: Instant,
}

/// Adds the port of a listener to those about which the kernel is asked.
pub(in crate::shutdown::port) fn add_port(
    kernel: &mut Option<Kernel>,
    listener: &Socket,
) -> io::Result<()> {
    let address = SockRef::from(&listener.descriptor).local_addr()?;
    let port = address.as_socket().ok_or_else(not_tcp)?.port();
    let mut asked = match kernel.take() {
        Some(kernel) => kernel,
        None => Kernel::open()?,
    };
    let (_, inode) = listener.identity;
    let added = asked.add(listener.domain, port, inode, listener.inherited);
    *kernel = Some(asked).filter(|kernel| !kernel.ports.is_empty());
    added
}

impl Kernel {
    fn open() -> io::Result<Self> {
        Ok(Self {
            netlink: Arc::new(Mutex::new(InetDiag::open()?)),
            ports: Vec::new(),
            listeners: HashSet::new(),
            is_shared: false,
            next: Instant::now(),
        })
    }

    /// Adds a listener, if the kernel's answer shows it. In another network namespace, it does not.
    fn add(&mut self, family: Domain, port: u16, inode: u64, is_shared: bool) -> io::Result<()> {
        let sockets = self.ask_about(&[(family, port)])?;
        if !sockets
            .iter()
            .any(|socket| u64::from(socket.inode) == inode)
        {
            return Err(io::Error::new(io::ErrorKind::NotFound, "not this listener"));
        }
        if !self.ports.contains(&(family, port)) {
            self.ports.push((family, port));
        }
        self.listeners.insert(inode);
        self.is_shared |= is_shared;
        Ok(())
    }

    /// Returns when the next question is due. A few may come earlier.
    pub(in crate::shutdown::port) fn next(&self) -> Instant {
        self.next
    }

    /// Returns the sockets of the ports, without our listeners. `only_own` leaves out those of other processes that
    /// listen on one of the ports.
    pub(in crate::shutdown::port) async fn sockets(
        &mut self,
        only_own: bool,
    ) -> io::Result<Vec<TcpSocket>> {
        let (sender, answer) = oneshot::channel();
        let kernel = self.clone();
        let question = move || {
            let began = std::time::Instant::now();
            let answer = kernel.ask(only_own);
            (answer, began.elapsed())
        };
        // With 10,000 connections an answer takes milliseconds, in which other tasks would wait.
        let thread = thread::Builder::new().name("tower-drain".into());
        let asked = thread.spawn({
            let question = question.clone();
            // The future that waits for the answer may have been dropped.
            move || drop(sender.send(question()))
        });
        let (answer, took) = match asked {
            Ok(_) => answer.await.map_err(io::Error::other)?,
            // No more threads: better late than not at all.
            Err(_) => question(),
        };
        let interval = INTERVAL.max(INTERVAL_FACTOR * took).min(LONGEST_INTERVAL);
        self.next = Instant::now() + interval;
        answer
    }

    fn ask(&self, only_own: bool) -> io::Result<Vec<TcpSocket>> {
        let mut sockets = self.ask_about(&self.ports)?;
        sockets.retain(|socket| !self.listeners.contains(&socket.inode.into()));
        let listens = |socket: &TcpSocket| socket.state == TcpState::Listening;
        if only_own && (self.is_shared || sockets.iter().any(listens)) {
            let own = own_inodes()?;
            // What the server has closed has no inode. What waits to be accepted has none either, and may be another
            // process's; ours has been accepted.
            let may_be_ours = |socket: &TcpSocket| {
                matches!(socket.state, TcpState::Closing | TcpState::Closed) && socket.inode == 0
            };
            sockets.retain(|socket| may_be_ours(socket) || own.contains(&socket.inode));
        }
        Ok(sockets)
    }

    fn ask_about(&self, ports: &[(Domain, u16)]) -> io::Result<Vec<TcpSocket>> {
        let ask = |netlink: &mut InetDiag| {
            let mut sockets = Vec::new();
            for (family, port) in ports {
                sockets.extend(netlink.sockets(*family, *port)?);
            }
            Ok(sockets)
        };
        let mut netlink = lock(&self.netlink);
        // Once more after an error (no memory, for example), on a socket without the rest of an answer.
        ask(&mut netlink).or_else(|_: io::Error| {
            *netlink = InetDiag::open()?;
            ask(&mut netlink)
        })
    }
}

/// Returns the inodes of the sockets that this process has open.
fn own_inodes() -> io::Result<HashSet<u32>> {
    let mut inodes = HashSet::new();
    for descriptor in fs::read_dir("/proc/self/fd")? {
        // It may be closed by now.
        let Ok(target) = fs::read_link(descriptor?.path()) else {
            continue;
        };
        let target = target.to_string_lossy();
        let inode = target
            .strip_prefix("socket:[")
            .and_then(|rest| rest.strip_suffix(']'));
        inodes.extend(inode.and_then(|inode| inode.parse::<u32>().ok()));
    }
    Ok(inodes)
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::time::Instant;

    use super::*;

    /// The time that a question takes, by the number of connections to the port.
    #[test]
    #[ignore = "a benchmark, of something private: .ci/run runs it, benches/README.md has the figures"]
    fn cost_of_a_question() {
        use nix::sys::resource::{Resource, getrlimit, setrlimit};

        let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        setrlimit(Resource::RLIMIT_NOFILE, most, most).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let mut kernel = Kernel::open().unwrap();
        kernel.ports.push((Domain::IPV4, address.port()));
        let mut open = Vec::new();
        for connections in [0, 1_000, 9_000] {
            while open.len() < connections {
                let client = TcpStream::connect(address).unwrap();
                open.push((client, listener.accept().unwrap()));
            }
            for only_own in [false, true] {
                kernel.is_shared = only_own;
                let took = (0..20).map(|_| {
                    let began = Instant::now();
                    assert!(kernel.ask(only_own).unwrap().len() >= connections);
                    began.elapsed()
                });
                println!(
                    "{connections} connections, own sockets only: {only_own}: {:?}",
                    took.min()
                );
            }
        }
    }
}
