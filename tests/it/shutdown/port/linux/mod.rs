//! What only Linux can do: the filter, and what the kernel says about the connections.

mod delivery;
mod filter;
mod others;
mod settle;

use std::net::SocketAddr;

use socket2::{Domain, Socket, Type};

use super::*;
use crate::support::spin_until;

/// Polls until the kernel's answers have led to this phase. The clock moves on while none is under way: if an answer took
/// long, the next question is due later.
pub(super) async fn until<F>(run: &mut Spawn<F>, drain: &Drain, phase: Phase)
where
    F: Future<Output = Outcome>,
{
    let start = std::time::Instant::now();
    while drain.phase() < phase {
        assert!(start.elapsed() < PATIENCE, "{:?}", drain.phase());
        answered(run);
        if drain.phase() < phase && !run.is_woken() {
            advance(20 * MILLISECOND).await;
        }
    }
}

/// Waits for the kernel's answer to the question under way. It may have come within the last poll.
#[track_caller]
pub(super) fn answered<F: Future<Output = Outcome>>(run: &mut Spawn<F>) {
    let start = std::time::Instant::now();
    while !run.is_woken() && start.elapsed() < 100 * MILLISECOND {
        thread::yield_now();
    }
    assert_pending!(run.poll());
}

/// Starts to connect.
pub(super) fn connecting(address: SocketAddr) -> Socket {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).unwrap();
    socket.set_nonblocking(true).unwrap();
    if let Err(error) = socket.connect(&address.into()) {
        assert_eq!(
            error.raw_os_error(),
            Some(nix::errno::Errno::EINPROGRESS as i32)
        );
    }
    socket
}

pub(super) fn is_connected(socket: &Socket) -> bool {
    socket.peer_addr().is_ok()
}

/// Asserts that a new connection gets no answer, while another listener's does.
#[track_caller]
pub(in crate::shutdown::port) fn assert_silent(address: SocketAddr) {
    let silent = connecting(address);
    let other = local();
    let control = connecting(other.local_addr().unwrap());
    spin_until(|| is_connected(&control));
    assert!(!is_connected(&silent), "it has been answered");
    assert!(
        silent.take_error().unwrap().is_none(),
        "it has been refused"
    );
}
