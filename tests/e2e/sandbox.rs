//! Where the kernel cannot be asked, or the process cannot see itself, fixed times apply.

use std::io::ErrorKind;
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::sys::signal::Signal::{SIGKILL, SIGTERM};

use crate::network::{Conditions, Network};
use crate::process::{Exited, PATIENCE, Process, binary};

/// How long the port took to settle, in milliseconds.
fn settled_after(exited: &Exited) -> f64 {
    let line = &exited.log[exited.said("the port has settled")];
    let (_, elapsed) = line.split_once("elapsed=").unwrap();
    let elapsed = elapsed.split_whitespace().next().unwrap();
    elapsed
        .trim_end_matches("ms")
        .parse()
        .expect("milliseconds")
}

/// Forbids sockets of netlink, and runs a program.
const WITHOUT_NETLINK: &str = r#"
import ctypes, os, platform, struct, sys
socket = {"x86_64": 41, "aarch64": 198}[platform.machine()]
def instruction(code, k, yes=0, no=0):
    return struct.pack("HBBI", code, yes, no, k)
filter = ctypes.create_string_buffer(b"".join([
    instruction(0x20, 0), instruction(0x15, socket, 0, 3),         # the system call
    instruction(0x20, 16), instruction(0x15, 16, 0, 1),            # AF_NETLINK
    instruction(0x06, 0x00050000 | 97), instruction(0x06, 0x7fff0000), # EAFNOSUPPORT, or allow
]))
program = ctypes.create_string_buffer(struct.pack("HP", 6, ctypes.addressof(filter)))
libc = ctypes.CDLL(None, use_errno=True)
assert libc.prctl(38, 1, 0, 0, 0) == 0 and libc.prctl(22, 2, program, 0, 0) == 0
os.execv(sys.argv[1], sys.argv[1:])
"#;

#[test]
#[ignore = "needs Python: .ci/run runs it"]
fn without_netlink_an_idle_port_takes_the_fixed_time() {
    let mut command = Command::new("python3");
    command
        .args(["-c", WITHOUT_NETLINK])
        .arg(binary("test_server"))
        .env("ADDR", "127.0.0.1:0")
        .stdin(Stdio::null());
    let process = Process::spawn(&mut command);
    process.signal(SIGTERM);
    assert!(settled_after(&process.exit().with(0)) >= 300.0);
    // With it, there is nothing to wait for.
    let process = Process::start("test_server", &[]);
    process.signal(SIGTERM);
    let exited = process.exit().with(0);
    let waits = |line: &String| line.contains("settling the port");
    assert!(!exited.log.iter().any(waits), "{:#?}", exited.log);
}

#[test]
#[ignore = "needs root: .ci/run runs it"]
fn a_socket_of_another_namespace_takes_the_fixed_time() {
    let Some(network) = Network::new(Conditions::default()) else {
        return;
    };
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut command = network.command("sh");
    command
        .args([
            "-c",
            r#"LISTEN_PID=$$ LISTEN_FDS=1 exec "$0" 3<&0 </dev/null"#,
        ])
        .arg(binary("test_server"))
        .stdin(std::os::fd::OwnedFd::from(socket));
    let process = Process::spawn(&mut command);
    process.signal(SIGTERM);
    assert!(settled_after(&process.exit().with(0)) >= 300.0);
}

/// It cannot be seen when the server closes its descriptor, so the filter stays until the server has ended.
#[test]
#[ignore = "needs root: .ci/run runs it"]
fn without_proc_new_connections_wait_until_the_server_has_ended() {
    if !nix::unistd::geteuid().is_root() {
        return println!("skipped: a mount needs root");
    }
    let mut command = Command::new("unshare");
    command
        .args([
            "--mount",
            "sh",
            "-c",
            r#"mount -t tmpfs none /proc && exec "$0""#,
        ])
        .arg(binary("test_server"))
        .env("ADDR", "127.0.0.1:0")
        .env("TIMEOUT", "3")
        .stdin(Stdio::null());
    let mut process = Process::spawn(&mut command);
    let stream = process.connect();
    std::io::Write::write_all(&mut &stream, b"GET /never HTTP/1.1\r\nhost: here\r\n\r\n").unwrap();
    process.logged("runs /never");
    process.signal(SIGTERM);
    process.logged("still closing");
    let connect = || TcpStream::connect_timeout(&process.address, Duration::from_millis(200));
    assert_eq!(connect().unwrap_err().kind(), ErrorKind::TimedOut);
    let address = process.address;
    process.exit().with(1);
    let error = TcpStream::connect_timeout(&address, PATIENCE).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
}

/// A filter on it would outlive the process, and no next process would hear of new connections.
#[test]
fn a_duplicate_of_a_passed_socket_gets_no_filter() {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let env = [("DUPLICATE", "1"), ("SETTLE", "60")];
    let mut process = Process::start_with_socket("test_server", &socket, &env);
    // Without a connection, there would be nothing to wait for.
    let _stream = process.connect();
    process.signal(SIGTERM);
    process.logged("settling the port");
    process.signal(SIGKILL);
    process.wait();
    socket.set_nonblocking(true).unwrap();
    while socket.accept().is_ok() {}
    TcpStream::connect_timeout(&socket.local_addr().unwrap(), PATIENCE).unwrap();
}
