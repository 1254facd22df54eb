//! A duplicate of a listening socket.

use std::io;
use std::ops::Range;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::fs::MetadataExt;
use std::{env, fs, process};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use socket2::{SockRef, Type};

/// A duplicate of a listening socket. It can keep the kernel from accepting new connections.
#[derive(Debug)]
pub(super) struct Socket {
    descriptor: OwnedFd,
    /// The descriptor that was duplicated. The server closes it.
    original: RawFd,
    /// Whether the supervisor passed the socket, and continues to use it.
    inherited: bool,
    filtered: bool,
}

impl Socket {
    pub(super) fn duplicate(
        listener: BorrowedFd<'_>,
        inherited: &InheritedSockets,
    ) -> io::Result<Self> {
        let socket = SockRef::from(&listener);
        // Fails if this is not a socket.
        let kind = socket.r#type()?;
        #[cfg(any(target_os = "linux", target_os = "android"))]
        let listens = socket.is_listener()?;
        #[cfg(not(any(target_os = "linux", target_os = "android")))]
        let listens = true;
        if kind != Type::STREAM || !listens {
            let message = "not a stream socket that listens";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        Ok(Self {
            descriptor: listener.try_clone_to_owned()?,
            original: listener.as_raw_fd(),
            inherited: inherited.0.contains(&listener.as_raw_fd()),
            filtered: false,
        })
    }

    /// Makes the kernel drop the first segment of new connections, where that is possible. Handshakes under
    /// way complete.
    pub(super) fn refuse_handshakes(&mut self) {
        match self.attach_filter() {
            Ok(()) => self.filtered = true,
            Err(_error) => event!(
                debug,
                error = %_error,
                "no socket filter: new connections still arrive"
            ),
        }
    }

    #[cfg(any(target_os = "linux", target_os = "android"))]
    fn attach_filter(&self) -> io::Result<()> {
        use socket2::{Domain, SockFilter};

        // Classic BPF, from linux/bpf_common.h. The data begins with the TCP header.
        const LOAD_BYTE: u16 = 0x30; // ld  | b | abs
        const AND: u16 = 0x54; //       alu | and | k
        const JUMP_IF_EQUAL: u16 = 0x15; // jmp | jeq | k
        const RETURN: u16 = 0x06; //    ret | k
        const FLAGS: u32 = 13;
        const SYN: u32 = 0x02;
        const ACK: u32 = 0x10;
        const PASS: u32 = u32::MAX;
        const DROP: u32 = 0;

        let socket = SockRef::from(&self.descriptor);
        // A Unix socket would take the filter, but has no such segments.
        if ![Domain::IPV4, Domain::IPV6].contains(&socket.domain()?) {
            return Err(io::Error::new(io::ErrorKind::Unsupported, "not TCP"));
        }
        // A filter belongs to the socket, not to this descriptor of it.
        if self.inherited {
            let message = "the socket belongs to the supervisor";
            return Err(io::Error::new(io::ErrorKind::Unsupported, message));
        }
        let first_segments = [
            SockFilter::new(LOAD_BYTE, 0, 0, FLAGS),
            SockFilter::new(AND, 0, 0, SYN | ACK),
            SockFilter::new(JUMP_IF_EQUAL, 1, 0, SYN),
            SockFilter::new(RETURN, 0, 0, PASS),
            SockFilter::new(RETURN, 0, 0, DROP),
        ];
        socket.attach_filter(&first_segments)
    }

    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    fn attach_filter(&self) -> io::Result<()> {
        let _ = self.inherited;
        Err(io::ErrorKind::Unsupported.into())
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

    /// Whether the server still has the socket open. On systems other than Linux this is always false.
    pub(super) fn is_in_use(&self) -> bool {
        // The number alone may belong to another file by now.
        let original = identity(self.original);
        original.is_some() && original == identity(self.descriptor.as_raw_fd())
    }
}

/// Identifies the open file behind a descriptor: device and inode.
fn identity(descriptor: RawFd) -> Option<(u64, u64)> {
    let file = fs::metadata(format!("/proc/self/fd/{descriptor}")).ok()?;
    Some((file.dev(), file.ino()))
}

impl Drop for Socket {
    fn drop(&mut self) {
        #[cfg(any(target_os = "linux", target_os = "android"))]
        if self.filtered {
            // Another process may continue to use the socket. Fails only if the filter is gone.
            let _ = SockRef::from(&self.descriptor).detach_filter();
        }
    }
}

/// The descriptors that systemd, or a program like it, has passed to this process.
#[derive(Debug)]
pub(super) struct InheritedSockets(Range<RawFd>);

impl InheritedSockets {
    /// `SD_LISTEN_FDS_START`.
    const FIRST: RawFd = 3;

    pub(super) fn from_env() -> Self {
        let number = |name| env::var(name).ok()?.parse::<RawFd>().ok();
        // systemfd sets no process, and may begin with another descriptor.
        let ours = match env::var("LISTEN_PID") {
            Ok(process) if !process.is_empty() => process == process::id().to_string(),
            _ => true,
        };
        let first = number("LISTEN_FDS_FIRST_FD").unwrap_or(Self::FIRST);
        let count = number("LISTEN_FDS").filter(|_| ours).unwrap_or(0);
        Self(first..first.saturating_add(count))
    }
}
