//! What a network between client and server does to a shutdown: lost handshakes, slow readers, interfaces that go
//! with their process.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use nix::sys::signal::Signal::SIGTERM;
use tokio::time::{sleep, timeout};

use crate::network::{Conditions, Network};
use crate::process::{PATIENCE, Process, binary};

const MILLISECOND: Duration = Duration::from_millis(1);

fn start(network: &Network, server: &str) -> Process {
    let mut command = network.command(binary("test_server"));
    command
        .env("ADDR", network.address(8001).to_string())
        .env("SERVER", server)
        .env("TIMEOUT", "60");
    Process::spawn(&mut command)
}

/// What became of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Answered,
    Refused,
    /// Connected, and then reset or closed.
    Lost,
}

fn ask(address: SocketAddr) -> Outcome {
    let Ok(mut stream) = TcpStream::connect_timeout(&address, PATIENCE) else {
        return Outcome::Refused;
    };
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut answer = String::new();
    let answered = stream
        .write_all(b"GET / HTTP/1.1\r\nhost: here\r\nconnection: close\r\n\r\n")
        .and_then(|()| stream.read_to_string(&mut answer));
    match answered {
        Ok(_) if answer.ends_with("hello") => Outcome::Answered,
        _ => Outcome::Lost,
    }
}

/// Each client loses one SYN/ACK, at another moment around the signal.
fn lose_a_syn_ack(network: &Network, server: &str) -> Vec<(i64, Outcome)> {
    let moments = [
        -1500, -1100, -900, -600, -300, -200, -100, -50, -20, -5, 0, 5, 20, 50,
    ];
    let around = |moment: i64| {
        let process = start(network, server);
        let address = process.address;
        network.lose_syn_acks(1);
        let wait = |milliseconds: i64| {
            thread::sleep(Duration::from_millis(milliseconds.max(0).unsigned_abs()));
        };
        let client = thread::spawn(move || {
            wait(moment);
            ask(address)
        });
        wait(-moment);
        process.signal(SIGTERM);
        process.exit().with(0);
        (moment, client.join().unwrap())
    };
    moments.map(around).into()
}

#[test]
#[ignore = "needs root, and takes a minute: .ci/run runs it"]
fn a_client_whose_syn_ack_is_lost_is_answered_or_refused() {
    let one_way = Duration::from_millis(1);
    let Some(network) = Network::new(Conditions {
        one_way,
        ..Conditions::default()
    }) else {
        return;
    };
    for server in ["plain", "drain"] {
        let outcomes = lose_a_syn_ack(&network, server);
        println!("{server}: {outcomes:?}");
        let lost = outcomes
            .iter()
            .any(|(_, outcome)| *outcome == Outcome::Lost);
        assert!(!lost || server == "plain");
    }
}

/// A connection that has been used.
fn kept_alive(address: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
        .write_all(b"GET / HTTP/1.1\r\nhost: here\r\n\r\n")
        .unwrap();
    let mut answer = [0; 1024];
    assert!(stream.read(&mut answer).unwrap() > 0);
    stream
}

/// The end of the stream is all that it has not acknowledged.
#[test]
#[ignore = "needs root: .ci/run runs it"]
fn a_dead_keep_alive_peer_is_not_waited_for() {
    let Some(network) = Network::new(Conditions::default()) else {
        return;
    };
    let process = start(&network, "drain");
    let _streams = [(); 3].map(|()| kept_alive(process.address));
    network.cut();
    process.signal(SIGTERM);
    let exited = process.exit().with(0);
    let unsaid = |what: &str| !exited.log.iter().any(|line| line.contains(what));
    assert!(unsaid("abandoned") && unsaid("acknowledged"), "{exited:#?}");
    exited.said("ended_after=");
}

/// A filter that stays after the server has closed its listener would make them wait for a second.
#[test]
#[ignore = "needs root: .ci/run runs it"]
fn clients_that_dial_again_when_their_connection_ends_do_not_wait() {
    let Some(network) = Network::new(Conditions {
        one_way: MILLISECOND,
        ..Conditions::default()
    }) else {
        return;
    };
    for server in ["plain", "drain"] {
        let process = start(&network, server);
        let address = process.address;
        let dial_again = |mut stream: TcpStream| {
            while stream.read(&mut [0; 1024]).is_ok_and(|read| read > 0) {}
            let error = TcpStream::connect_timeout(&address, 500 * MILLISECOND).unwrap_err();
            error.kind() == io::ErrorKind::TimedOut
        };
        let streams = [(); 30].map(|()| kept_alive(address));
        let waits = thread::scope(|scope| {
            let clients = streams.map(|stream| scope.spawn(move || dial_again(stream)));
            process.signal(SIGTERM);
            clients.map(|client| client.join().unwrap())
        });
        let waits = waits.into_iter().filter(|waits| *waits).count();
        println!("{server}: {waits} of 30 wait");
        process.exit().with(0);
        assert_eq!(waits, 0);
    }
}

/// A response that goes on comes faster.
const STALLED: Duration = Duration::from_secs(4);

/// Reads a response of so many bytes over HTTP/1, and returns how many arrived.
fn read_http1(address: SocketAddr, path: &str) -> io::Result<usize> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(STALLED))?;
    write!(stream, "GET {path} HTTP/1.0\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let head = answer.windows(4).position(|end| end == b"\r\n\r\n");
    Ok(answer.len() - head.map_or(0, |head| head + 4))
}

/// The same over HTTP/2, with a pause after each part if it is read at a `rate`.
fn read_http2(address: SocketAddr, path: &str, rate: Option<f64>) -> io::Result<usize> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let stream = tokio::net::TcpStream::connect(address).await?;
        let handshake = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await;
        let (mut client, connection) = handshake.map_err(io::Error::other)?;
        tokio::spawn(connection);
        let request = Request::get(format!("http://here{path}")).body(Empty::<Bytes>::new());
        let response = client.send_request(request.unwrap()).await;
        let mut body = response.map_err(io::Error::other)?.into_body();
        let mut length = 0;
        while let Some(frame) = timeout(STALLED, body.frame()).await? {
            match frame {
                Ok(frame) => {
                    let part = frame.into_data().map_or(0, |data| data.len());
                    length += part;
                    if let Some(rate) = rate {
                        sleep(Duration::from_secs_f64(part as f64 / rate)).await;
                    }
                }
                Err(error) => return Err(io::Error::other(format!("{error:?} after {length}"))),
            }
        }
        Ok(length)
    })
}

/// Starts to read, sends the signal, and takes the server from the network when it has exited, as a pod's interface
/// goes with it. Returns whether all has arrived.
fn is_complete(
    network: &Network,
    server: &str,
    (path, length): (&str, usize),
    read: impl FnOnce(SocketAddr, &str) -> io::Result<usize> + Send,
) -> bool {
    let mut process = start(network, server);
    let address = process.address;
    let result = thread::scope(|scope| {
        let reader = scope.spawn(|| read(address, &format!("{path}/{length}")));
        process.logged(&format!("runs {path}"));
        process.signal(SIGTERM);
        process.exit().with(0);
        network.cut();
        reader.join().unwrap()
    });
    network.mend();
    println!("  {server}: {length} bytes from {path}: {result:?}");
    matches!(result, Ok(read) if read == length)
}

const BODIES: [(&str, usize); 2] = [("/chunks", 1_500_000), ("/bytes", 5_000_000)];

#[test]
#[ignore = "needs root, and takes minutes: .ci/run runs it"]
fn slow_readers_get_all_of_a_large_body() {
    let conditions = Conditions {
        one_way: 10 * MILLISECOND,
        ..Conditions::default()
    };
    let Some(network) = Network::new(conditions) else {
        return;
    };
    for body in BODIES {
        let rate = body.1 as f64 / 6.0;
        // The network is slow: what the server has sent waits on its side.
        network.set(Conditions {
            rate: Some(rate),
            ..conditions
        });
        println!("HTTP/1, {:.0} kB/s", rate / 1e3);
        is_complete(&network, "plain", body, read_http1);
        assert!(is_complete(&network, "drain", body, read_http1));
        // No layer can prevent what happens now and then over HTTP/2: hyper closes a connection whose last bytes are on
        // their way, and what the client sends to it resets it.
        println!("HTTP/2, {:.0} kB/s", rate / 1e3);
        is_complete(&network, "drain", body, |address, path| {
            read_http2(address, path, None)
        });
        // The client is slow.
        network.set(conditions);
        println!("HTTP/2, read at {:.0} kB/s", rate / 1e3);
        let read = |address: SocketAddr, path: &str| read_http2(address, path, Some(rate));
        is_complete(&network, "plain", body, read);
        assert!(is_complete(&network, "drain", body, read));
    }
}
