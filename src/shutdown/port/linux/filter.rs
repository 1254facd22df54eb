//! A socket filter that drops the first segment of each handshake.

use std::io;

use socket2::{SockFilter, SockRef};

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

/// Attaches it to a listening TCP socket. Handshakes under way complete.
pub(in crate::shutdown::port) fn attach_filter(socket: &SockRef<'_>) -> io::Result<()> {
    socket.attach_filter(&[
        SockFilter::new(LOAD_BYTE, 0, 0, FLAGS),
        SockFilter::new(AND, 0, 0, SYN | ACK),
        SockFilter::new(JUMP_IF_EQUAL, 1, 0, SYN),
        SockFilter::new(RETURN, 0, 0, PASS),
        SockFilter::new(RETURN, 0, 0, DROP),
    ])
}

/// Fails only if there is none.
pub(in crate::shutdown::port) fn detach_filter(socket: &SockRef<'_>) -> io::Result<()> {
    socket.detach_filter()
}
