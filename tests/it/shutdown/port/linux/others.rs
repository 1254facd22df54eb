//! Other processes on the same port.

use std::os::fd::OwnedFd;
use std::process::{Child, Command};

use super::*;

/// Two listeners on one port, and a connection of the second one.
pub(super) fn shared_port() -> (TcpListener, TcpListener, (TcpStream, TcpStream)) {
    let bind = |address: &socket2::SockAddr| {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.set_reuse_port(true).unwrap();
        socket.bind(address).unwrap();
        socket
    };
    let second = bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into());
    let first = bind(&second.local_addr().unwrap());
    second.listen(1).unwrap();
    let second = TcpListener::from(second);
    // While the first one does not listen, it gets no connection.
    let connection = used(&second);
    first.listen(1).unwrap();
    (first.into(), second, connection)
}

/// A process that has a descriptor, until this is dropped.
pub(super) struct OtherProcess(Child);

impl OtherProcess {
    pub(super) fn with(descriptor: OwnedFd) -> Self {
        let mut sleep = Command::new("sleep");
        Self(sleep.arg("60").stdin(descriptor).spawn().unwrap())
    }
}

impl Drop for OtherProcess {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
