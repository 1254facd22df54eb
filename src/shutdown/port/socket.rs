//! A duplicate of a listening socket.

use std::fs::{self, File, Metadata};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::fs::MetadataExt;
use std::path::{self, PathBuf};
use std::{env, process};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use socket2::{Domain, SockRef, Type};

use super::system::{attach_filter, detach_filter, identity_of, is_listener};

/// A duplicate of a listening socket. It can keep the kernel from accepting new connections.
#[derive(Debug)]
pub(super) struct Socket {
    pub(super) descriptor: OwnedFd,
    /// The descriptor that was duplicated. The server closes it.
    original: RawFd,
    pub(super) identity: Identity,
    pub(super) domain: Domain,
    /// The path of a Unix socket, unless it is gone.
    path: Option<(PathBuf, Identity)>,
    /// Whether the supervisor passed the socket, and continues to use it.
    pub(super) inherited: bool,
    filtered: bool,
}

/// Identifies an open file, whatever its descriptor: device and inode.
pub(super) type Identity = (u64, u64);

impl Socket {
    pub(super) fn duplicate(
        listener: BorrowedFd<'_>,
        inherited: &InheritedSockets,
    ) -> io::Result<Self> {
        let socket = SockRef::from(&listener);
        // Fails if this is not a socket.
        let kind = socket.r#type()?;
        if kind != Type::STREAM || !is_listener(&socket)? {
            let message = "not a stream socket that listens";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        let address = socket.local_addr()?;
        let path = address.as_pathname().and_then(|path| {
            let path = path::absolute(path).ok()?;
            let identity = identity(&fs::symlink_metadata(&path).ok()?);
            Some((path, identity))
        });
        let file = File::from(listener.try_clone_to_owned()?);
        let identity = identity(&file.metadata()?);
        Ok(Self {
            descriptor: file.into(),
            original: listener.as_raw_fd(),
            identity,
            domain: address.domain(),
            path,
            inherited: inherited.contains(listener.as_raw_fd(), identity),
            filtered: false,
        })
    }

    /// Makes the kernel drop the first segment of new connections, where that is possible. Handshakes under
    /// way complete. Removes the path of a Unix socket.
    pub(super) fn refuse_handshakes(&mut self) {
        if self.unlink() {
            return;
        }
        match self.attach_filter() {
            Ok(()) => self.filtered = true,
            Err(_error) => event!(
                debug,
                error = %_error,
                "no socket filter: new connections still arrive"
            ),
        }
    }

    /// Removes the path of a Unix socket, unless somebody else has taken it over. Returns whether it did.
    fn unlink(&mut self) -> bool {
        let Some((path, bound)) = self.path.take().filter(|_| !self.inherited) else {
            return false;
        };
        let now = fs::symlink_metadata(&path).map(|file| identity(&file));
        now.is_ok_and(|now| now == bound) && fs::remove_file(&path).is_ok()
    }

    fn attach_filter(&self) -> io::Result<()> {
        // A Unix socket would take the filter, but has no such segments.
        if ![Domain::IPV4, Domain::IPV6].contains(&self.domain) {
            return Err(not_tcp());
        }
        // A filter belongs to the socket, not to this descriptor of it.
        if self.inherited {
            let message = "the socket belongs to the supervisor";
            return Err(io::Error::new(io::ErrorKind::Unsupported, message));
        }
        attach_filter(&SockRef::from(&self.descriptor))
    }

    /// Whether the filter is attached, so that the kernel accepts no new connections.
    pub(super) fn is_filtered(&self) -> bool {
        self.filtered
    }

    /// Whether a connection waits to be accepted.
    pub(super) fn has_waiting(&self) -> bool {
        let mut sockets = [PollFd::new(&self.descriptor, PollFlags::IN)];
        // On an error (a signal, no memory), do not wait.
        let now = Timespec::default();
        poll(&mut sockets, Some(&now)).is_ok_and(|ready| ready > 0)
            && sockets[0].revents().contains(PollFlags::IN)
    }

    /// Whether the server still has the socket open. Without `/proc`, or on systems other than Linux, it is not
    /// known, and this is true.
    pub(super) fn is_in_use(&self) -> bool {
        // The number alone may belong to another file by now.
        identity_of(self.original) == Some(self.identity)
            || identity_of(self.descriptor.as_raw_fd()).is_none()
    }
}

pub(super) fn not_tcp() -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, "not TCP")
}

pub(super) fn identity(file: &Metadata) -> Identity {
    (file.dev(), file.ino())
}

impl Drop for Socket {
    fn drop(&mut self) {
        if self.filtered {
            // Another process may continue to use the socket. Fails only if the filter is gone.
            let _ = detach_filter(&SockRef::from(&self.descriptor));
        }
    }
}

/// The sockets that systemd, or a program like it, has passed to this process: numbers of descriptors, and what
/// is behind them.
#[derive(Debug)]
pub(super) struct InheritedSockets(Vec<(RawFd, Option<Identity>)>);

impl InheritedSockets {
    /// `SD_LISTEN_FDS_START`.
    const FIRST: RawFd = 3;
    /// More are not looked at: the number may be nonsense.
    const MOST: RawFd = 1 << 10;

    pub(super) fn from_env() -> Self {
        let number = |name| env::var(name).ok()?.parse::<RawFd>().ok();
        // systemfd sets no process, and may begin with another descriptor.
        let ours = match env::var("LISTEN_PID") {
            Ok(process) if !process.is_empty() => process == process::id().to_string(),
            _ => true,
        };
        let first = number("LISTEN_FDS_FIRST_FD").unwrap_or(Self::FIRST);
        let count = number("LISTEN_FDS").filter(|_| ours).unwrap_or(0);
        let passed = first..first.saturating_add(count.min(Self::MOST));
        Self(passed.map(|number| (number, identity_of(number))).collect())
    }

    /// Whether this is one of them, or a duplicate of one.
    fn contains(&self, number: RawFd, identity: Identity) -> bool {
        self.0.iter().any(|(passed, known)| match known {
            Some(known) => *known == identity,
            None => *passed == number,
        })
    }
}
