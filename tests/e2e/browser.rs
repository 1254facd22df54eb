//! Pages in a browser: the status page, and a page that follows an event stream.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use nix::sys::signal::Signal;
use tempfile::TempDir;

use crate::process::{PATIENCE, Process, answer};
use crate::restarts::free_addresses;
use crate::restarts::haproxy::HaProxy;

/// A headless browser.
fn chromium(profile: &Path) -> Command {
    let mut chromium = Command::new("chromium");
    chromium
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
        ])
        .arg(format!("--user-data-dir={}", profile.display()));
    chromium
}

const MISSING: &str = "chromium, which has to be installed for this test";

/// Returns the page after two seconds of the browser's clock.
fn dom(url: &str) -> String {
    let profile = tempfile::tempdir().unwrap();
    let mut chromium = chromium(profile.path());
    chromium.args(["--virtual-time-budget=2000", "--dump-dom", url]);
    String::from_utf8(chromium.output().expect(MISSING).stdout).unwrap()
}

fn ask(mut stream: TcpStream, path: &str) -> TcpStream {
    let request = format!("GET {path} HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    stream
}

/// Waits until the status JSON contains `what`. `url` is that of the page.
fn until(url: &str, what: &str) {
    let address = url.trim_start_matches("http://").trim_end_matches('/');
    let json = || answer(ask(TcpStream::connect(address).unwrap(), "/status.json"));
    let start = std::time::Instant::now();
    while !json().contains(what) {
        assert!(start.elapsed() < PATIENCE, "{}", json());
        std::thread::yield_now();
    }
}

#[track_caller]
fn shows(dom: &str, what: &[&str]) {
    for what in what {
        assert!(dom.contains(what), "no {what} in {dom}");
    }
}

#[test]
#[ignore = "needs Chromium: .ci/run installs it and runs this"]
fn the_page_shows_the_requests_that_are_left() {
    let mut server = Process::start("status_page", &[("ADMIN", "127.0.0.1:0")]);
    let line = server.earlier("status page on ");
    let url = line.rsplit(' ').next().unwrap();
    let mut slow: Vec<_> = (0..3)
        .map(|_| ask(server.connect(), "/slow/3600?token=secret"))
        .collect();
    until(url, r#""in_flight":3"#);
    let page = dom(url);
    let row = r"<td>GET</td><td>/slow/3600</td><td>handler</td>";
    shows(
        &page,
        &[r#"<li class="now">Serving"#, r#"in_flight">3<"#, row],
    );
    assert!(!page.contains("secret"), "{page}");

    server.signal(Signal::SIGINT);
    server.logged("draining ");
    slow.pop();
    until(url, r#""in_flight":2"#);
    shows(
        &dom(url),
        &[r#"<li class="now">Draining"#, r#"in_flight">2<"#, row],
    );

    server.signal(Signal::SIGINT);
    server.exit().with(1);
    for stream in slow {
        assert!(answer(stream).starts_with("HTTP/1.1 503 "));
    }
}

/// A browser that shows a page. It is killed if the test ends.
struct Browser {
    child: Child,
    _profile: TempDir,
}

impl Browser {
    fn open(url: &str) -> Self {
        let profile = tempfile::tempdir().unwrap();
        let mut chromium = chromium(profile.path());
        chromium.args(["--remote-debugging-port=0", url]);
        Self {
            child: chromium.stderr(Stdio::null()).spawn().expect(MISSING),
            _profile: profile,
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a stream of the page has brought, by the last report of it in `log`: the senders of the events 1, 2 and so on.
#[track_caller]
fn senders(log: &[String], stream: usize) -> Vec<String> {
    let report = format!("seen {stream}: ");
    let reports = log.iter().filter_map(|line| line.split_once(&report));
    // They may overtake each other.
    let last = reports.map(|(_, seen)| seen).max_by_key(|seen| seen.len());
    let seen = last.unwrap_or_default().split_whitespace();
    let seen = seen.map(|event| event.split_once('@').unwrap());
    let (ids, senders): (Vec<usize>, _) = seen
        .map(|(id, sender)| (id.parse::<usize>().unwrap(), sender.to_owned()))
        .unzip();
    assert!(ids.iter().copied().eq(1..=ids.len()), "{ids:?}");
    senders
}

/// Waits until a stream gets events from this server. Returns the senders of all its events.
#[track_caller]
fn goes_on(server: &mut Process, stream: usize) -> Vec<String> {
    let mut log = Vec::new();
    loop {
        log.push(server.logged(&format!("seen {stream}: ")));
        let senders = senders(&log, stream);
        if senders.last() == Some(&server.id().to_string()) {
            return senders;
        }
    }
}

#[test]
#[ignore = "needs Chromium: .ci/run installs it and runs this"]
fn an_event_source_continues_at_the_next_server() {
    let mut server = Process::start("test_server", &[]);
    let address = server.address.to_string();
    let _browser = Browser::open(&format!("http://{address}/page"));
    server.logged("seen 0: 1@");
    server.signal(Signal::SIGTERM);
    let before = senders(&server.exit().with(0).log, 0);

    let mut next = Process::start("test_server", &[("ADDR", &address)]);
    let after = goes_on(&mut next, 0);
    assert!(after.starts_with(&before), "{before:?}, then {after:?}");
}

/// The streams of a page, behind a load balancer.
#[test]
#[ignore = "needs Chromium and HAProxy: .ci/run installs them and runs this"]
fn event_sources_move_to_the_other_server_one_by_one() {
    const STREAMS: usize = 4;
    let replicas = free_addresses::<2>();
    let start = |address: SocketAddr| {
        // Otherwise the lame duck ends as soon as HAProxy has noticed, and with it all streams.
        let env = [
            ("LAME_DUCK", "3"),
            ("QUIET", "10"),
            ("ADDR", &address.to_string()),
        ];
        Process::start("test_server", &env)
    };
    let [old, mut new] = replicas.map(start);
    let balancer = HaProxy::start(replicas, false);
    balancer.wait();
    let _browser = Browser::open(&format!("http://{}/page#{STREAMS}", balancer.address));
    for stream in 0..STREAMS {
        new.logged(&format!("seen {stream}: "));
    }
    old.signal(Signal::SIGTERM);
    let exited = old.exit().with(0);
    exited.said("lame duck ended: maximum reached");
    exited.said("in_flight_at_close=0");
    let old = exited.id.to_string();
    let moved = (0..STREAMS).filter(|stream| goes_on(&mut new, *stream).contains(&old));
    assert!(moved.count() > 0, "no stream was with the server that left");
}
