//! What only Linux can do. `other_unix.rs` has the same names.

mod filter;
mod inet_diag;
mod kernel;

use std::os::fd::RawFd;
use std::{fs, io};

use socket2::SockRef;

pub(super) use self::filter::{attach_filter, detach_filter};
pub(super) use self::kernel::{Kernel, add_port};
use super::socket::{Identity, identity};

pub(super) fn is_listener(socket: &SockRef<'_>) -> io::Result<bool> {
    socket.is_listener()
}

/// Identifies the open file behind the number of a descriptor. `None` without `/proc`.
pub(super) fn identity_of(descriptor: RawFd) -> Option<Identity> {
    let file = fs::metadata(format!("/proc/self/fd/{descriptor}")).ok()?;
    Some(identity(&file))
}
