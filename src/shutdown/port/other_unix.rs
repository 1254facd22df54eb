//! What takes the place of `linux/` on other Unix systems: none of it can be done there.

use std::io;
use std::os::fd::RawFd;

use socket2::SockRef;
use tokio::time::Instant;

use super::socket::{Identity, Socket};
use super::tcp::TcpSocket;

/// The kernel cannot be asked.
#[derive(Clone, Debug)]
pub(super) enum Kernel {}

impl Kernel {
    pub(super) fn next(&self) -> Instant {
        match *self {}
    }

    pub(super) async fn sockets(&mut self, _: bool) -> io::Result<Vec<TcpSocket>> {
        match *self {}
    }
}

pub(super) fn add_port(_: &mut Option<Kernel>, _: &Socket) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Nothing tells a listener from a connection: both pass.
pub(super) fn is_listener(_: &SockRef<'_>) -> io::Result<bool> {
    Ok(true)
}

pub(super) fn attach_filter(_: &SockRef<'_>) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

pub(super) fn detach_filter(_: &SockRef<'_>) -> io::Result<()> {
    Ok(())
}

pub(super) fn identity_of(_: RawFd) -> Option<Identity> {
    None
}
