//! Pages in a browser: the status page, and a page that follows an event stream.

use std::io::Write;
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::sys::signal::Signal;

use crate::process::{PATIENCE, Process, answer};

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

#[test]
#[ignore = "needs Chromium: .ci/run installs it and runs this"]
fn an_event_source_continues_at_the_next_server() {
    let mut server = Process::start("test_server", &[]);
    let address = server.address.to_string();
    let profile = tempfile::tempdir().unwrap();
    let mut browser = chromium(profile.path())
        .args([
            "--remote-debugging-port=0",
            &format!("http://{address}/page"),
        ])
        .stderr(Stdio::null())
        .spawn()
        .expect(MISSING);
    server.logged("seen 1 2 3");
    server.signal(Signal::SIGTERM);
    let exited = server.exit().with(0);
    let last = exited
        .log
        .iter()
        .rfind(|line| line.contains("seen "))
        .unwrap();
    let before = last.split_once("seen ").unwrap().1.to_owned();

    let mut next = Process::start("test_server", &[("ADDR", &address)]);
    let after = next.logged("seen ");
    browser.kill().unwrap();
    browser.wait().unwrap();
    let seen = after.split_once("seen ").unwrap().1;
    assert!(seen.starts_with(&before), "{before}, then {seen}");
    let ids: Vec<usize> = seen.split(' ').map(|id| id.parse().unwrap()).collect();
    assert!(ids.iter().copied().eq(1..=ids.len()), "{seen}");
}
