//! Asks Linux for the TCP sockets of a port, over netlink, as `ss` does. Needs no privilege.
//!
//! The numbers and offsets are those of linux/netlink.h, linux/inet_diag.h and linux/tcp.h, which are stable.

use std::fmt;
use std::io::{self, Read, Write};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

use crate::shutdown::port::tcp::{TcpSocket, TcpState};

const AF_NETLINK: i32 = 16;
const NETLINK_SOCK_DIAG: i32 = 4;
const SOCK_DIAG_BY_FAMILY: u16 = 20;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
/// `NLM_F_REQUEST | NLM_F_DUMP`.
const DUMP: u16 = 0x301;
const INET_DIAG_INFO: u16 = 2;
const IPPROTO_TCP: u8 = 6;
/// All but those that have nothing to say: SYN_SENT (2), TIME_WAIT (6) and CLOSE (7).
const STATES: u32 = 0xfff & !(1 << 2 | 1 << 6 | 1 << 7);

/// Sizes of `nlmsghdr`, `inet_diag_msg` and `rtattr`.
const HEADER: usize = 16;
const MESSAGE: usize = 72;
const ATTRIBUTE: usize = 4;

/// A netlink socket.
pub(super) struct InetDiag {
    socket: Socket,
    questions: u32,
    buffer: Vec<u8>,
}

/// Not the buffer, which has the sockets of others.
impl fmt::Debug for InetDiag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InetDiag").finish_non_exhaustive()
    }
}

impl InetDiag {
    pub(super) fn open() -> io::Result<Self> {
        let protocol = Some(Protocol::from(NETLINK_SOCK_DIAG));
        let socket = Socket::new(Domain::from(AF_NETLINK), Type::RAW, protocol)?;
        // The kernel answers as it is read. Should it not, this is an error and no wait.
        socket.set_nonblocking(true)?;
        Ok(Self {
            socket,
            questions: 0,
            buffer: vec![0; 1 << 16],
        })
    }

    /// Returns the sockets of a local port. `family` is that of the listener: a dual-stack one has its IPv4
    /// clients among its own.
    pub(super) fn sockets(&mut self, family: Domain, port: u16) -> io::Result<Vec<TcpSocket>> {
        self.questions = self.questions.wrapping_add(1);
        let question = question(self.questions, family, port);
        // Not connected to any process: it goes to the kernel.
        self.socket.write_all(&question)?;
        let mut sockets = Vec::new();
        loop {
            let read = self.socket.read(&mut self.buffer)?;
            let mut rest = &self.buffer[..read];
            while let Some(length) = u32_at(rest, 0) {
                let (message, after) = cut(rest, length)?;
                rest = after;
                if u32_at(message, 8) != Some(self.questions) {
                    // Of a question that was given up.
                    continue;
                }
                match u16_at(message, 4) {
                    Some(SOCK_DIAG_BY_FAMILY) => {
                        let message = message.get(HEADER..).and_then(socket);
                        sockets.push(message.ok_or_else(too_short)?);
                    }
                    // Both have the number of an error, negative, or zero.
                    Some(NLMSG_DONE | NLMSG_ERROR) => {
                        let error = u32_at(message, HEADER).ok_or_else(too_short)? as i32;
                        return match error {
                            0 => Ok(sockets),
                            _ => Err(io::Error::from_raw_os_error(error.wrapping_neg())),
                        };
                    }
                    _ => {}
                }
            }
        }
    }
}

/// `nlmsghdr`, then `inet_diag_req_v2`.
fn question(number: u32, family: Domain, port: u16) -> Vec<u8> {
    const REQUEST: usize = 56;
    let mut question = Vec::with_capacity(HEADER + REQUEST);
    question.extend(((HEADER + REQUEST) as u32).to_ne_bytes());
    question.extend(SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    question.extend(DUMP.to_ne_bytes());
    question.extend(number.to_ne_bytes());
    question.extend(0_u32.to_ne_bytes());
    let information = 1 << (INET_DIAG_INFO - 1);
    // AF_INET is 2 and AF_INET6 is 10.
    question.extend([i32::from(family) as u8, IPPROTO_TCP, information, 0]);
    question.extend(STATES.to_ne_bytes());
    question.extend(port.to_be_bytes());
    question.resize(HEADER + REQUEST, 0);
    question
}

/// `inet_diag_msg`, then attributes, of which one is `tcp_info`.
fn socket(message: &[u8]) -> Option<TcpSocket> {
    let state = match *message.get(1)? {
        3 => TcpState::HalfOpen,
        10 => TcpState::Listening,
        // FIN_WAIT1, LAST_ACK, CLOSING: our FIN is in the queue, and counts as a byte there.
        4 | 9 | 11 => TcpState::Closing,
        // FIN_WAIT2: the peer has acknowledged everything.
        5 => TcpState::Closed,
        _ => TcpState::Open,
    };
    let queued = u32_at(message, 60)?;
    let mut socket = TcpSocket {
        cookie: u64::from(u32_at(message, 44)?) | u64::from(u32_at(message, 48)?) << 32,
        state,
        inode: u32_at(message, 68)?,
        unread: u32_at(message, 56)?,
        unacknowledged: match state {
            TcpState::Open => queued,
            TcpState::Closing => queued.saturating_sub(1),
            // A listener's is the length of its queue.
            TcpState::HalfOpen | TcpState::Listening | TcpState::Closed => 0,
        },
        // Of the SYN/ACK, until there is a `tcp_info`.
        retransmitted: (*message.get(3)?).into(),
        ..TcpSocket::default()
    };
    let mut rest = message.get(MESSAGE..)?;
    while let Some(length) = u16_at(rest, 0) {
        let (attribute, after) = cut(rest, length.into()).ok()?;
        if u16_at(attribute, 2) == Some(INET_DIAG_INFO) {
            let info = attribute.get(ATTRIBUTE..)?;
            socket.rto = Duration::from_micros(u32_at(info, 8)?.into());
            socket.quiet = Duration::from_millis(u32_at(info, 52)?.into());
            socket.rtt = Duration::from_micros(u32_at(info, 68)?.into());
            socket.retransmitted = u32_at(info, 100)?;
            socket.acknowledged = u64_at(info, 120)?;
            socket.received = u64_at(info, 128)?;
        }
        rest = after;
    }
    Some(socket)
}

/// Cuts off a part of this length, padded to four bytes.
fn cut(bytes: &[u8], length: u32) -> io::Result<(&[u8], &[u8])> {
    let length = length as usize;
    let part = bytes.get(..length).ok_or_else(too_short)?;
    // A part is as long as the field that says so, at least: or the rest would never end.
    if length < ATTRIBUTE {
        return Err(too_short());
    }
    Ok((part, bytes.get(length.next_multiple_of(4)..).unwrap_or(&[])))
}

fn too_short() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "a message that is too short")
}

fn bytes_at<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at + N)?.try_into().ok()
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes_at(bytes, at).map(u16::from_ne_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes_at(bytes, at).map(u32::from_ne_bytes)
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes_at(bytes, at).map(u64::from_ne_bytes)
}
