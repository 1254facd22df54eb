//! WebSockets, event streams and long polls leave one by one. Prints when they end.
//!
//! ```sh
//! cargo test --test e2e herd -- --ignored --nocapture
//! ```

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::future::join_all;
use nix::sys::signal::Signal::SIGTERM;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::Message;

use crate::process::{Process, more_files};

const OF_EACH: usize = 900;
/// In seconds. That of the example.
const LAME_DUCK: u32 = 3;

/// Opened, for as long as this is not dropped.
type Opening = mpsc::Sender<()>;

async fn websocket(address: SocketAddr, opening: Opening) -> Instant {
    let url = format!("ws://{address}/");
    let (mut socket, _) = connect_async(url).await.unwrap();
    drop(opening);
    let last = socket.next().await.unwrap().unwrap();
    assert!(matches!(last, Message::Close(Some(frame)) if u16::from(frame.code) == 1001));
    let end = Instant::now();
    assert!(socket.next().await.is_none());
    end
}

/// Sends a request, and returns once the server has received it.
async fn get(address: SocketAddr, path: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: here\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    stream
}

async fn events(address: SocketAddr, opening: Opening) -> Instant {
    let mut stream = get(address, "/silent").await;
    let mut opening = Some(opening);
    let mut seen = String::new();
    // The connection stays open.
    while !seen.ends_with("\r\n0\r\n\r\n") {
        seen.push(stream.read_u8().await.unwrap().into());
        if seen.ends_with("data: only") {
            opening = None;
        }
    }
    drop(opening);
    Instant::now()
}

async fn poll(address: SocketAddr, opening: Opening) -> Instant {
    let mut stream = get(address, "/poll").await;
    drop(opening);
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 204 "), "{answer}");
    Instant::now()
}

/// The number of ends in each tenth of the second half of the lame duck, those before, and those after.
fn histogram(ends: &[Instant], start: Instant) -> ([usize; 10], usize, usize) {
    let half = Duration::from_secs(LAME_DUCK.into()) / 2;
    let (mut tenths, mut before, mut after) = ([0; 10], 0, 0);
    for end in ends {
        match (*end - start).checked_sub(half) {
            None => before += 1,
            Some(since) => {
                match tenths.get_mut((since.as_millis() * 10 / half.as_millis()) as usize) {
                    Some(tenth) => *tenth += 1,
                    None => after += 1,
                }
            }
        }
    }
    (tenths, before, after)
}

#[tokio::test]
#[ignore = "prints figures: .ci/run runs it"]
async fn nothing_of_a_herd_ends_together() {
    more_files(8 * OF_EACH as u64);
    let lame_duck = LAME_DUCK.to_string();
    let mut server = Process::start("test_server", &[("LAME_DUCK", &lame_duck)]);
    let mut sockets = Process::start("websocket", &[]);
    let address = server.address;
    let (opening, mut all_open) = mpsc::channel(1);
    let mut work = [const { Vec::new() }; 3];
    // Some at a time, as the server's queue is short.
    for _ in 0..OF_EACH {
        work[0].push(tokio::spawn(websocket(sockets.address, opening.clone())));
        work[1].push(tokio::spawn(events(address, opening.clone())));
        work[2].push(tokio::spawn(poll(address, opening.clone())));
        tokio::task::yield_now().await;
    }
    drop(opening);
    assert!(all_open.recv().await.is_none());
    let servers = [&mut sockets, &mut server];
    for server in servers {
        server.signal(SIGTERM);
        server.logged("entering lame duck");
    }
    let start = Instant::now();
    let mut all = Vec::new();
    println!(
        "ends in each tenth of the second half of a lame duck of {LAME_DUCK} s, before and after it:"
    );
    for (work, kind) in work
        .into_iter()
        .zip(["WebSockets", "event streams", "long polls"])
    {
        let ends: Vec<_> = join_all(work)
            .await
            .into_iter()
            .map(Result::unwrap)
            .collect();
        let (tenths, before, after) = histogram(&ends, start);
        println!("{OF_EACH} {kind:<15} {tenths:?}, {before} and {after}");
        all.extend(ends);
    }
    let (tenths, before, after) = histogram(&all, start);
    println!("all {tenths:?}, {before} and {after}");
    server
        .exit()
        .with(0)
        .said("lame duck ended: maximum reached");
}
