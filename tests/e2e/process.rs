//! Runs examples as processes.
//!
//! Each step waits for a visible effect of the step before: a line of the log, or the state of a socket.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read};
use std::net::{AddrParseError, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{LazyLock, Mutex, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// No step takes longer, unless something hangs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Returns the binary of an example, and builds it if necessary: `cargo test --test` does not.
pub(crate) fn binary(example: &str) -> PathBuf {
    static BUILT: LazyLock<Mutex<HashMap<String, PathBuf>>> = LazyLock::new(Mutex::default);
    let mut built = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
    let build = || {
        let mut build = Command::new(env!("CARGO"));
        build.args(["build", "--quiet", "--example", example]);
        if !cfg!(debug_assertions) {
            build.arg("--release");
        }
        assert!(build.status().unwrap().success());
        // This test's own binary is in `deps`, beside `examples`.
        let deps = std::env::current_exe().unwrap();
        let target = deps.parent().and_then(Path::parent).unwrap();
        target.join("examples").join(example)
    };
    built.entry(example.into()).or_insert_with(build).clone()
}

fn send_lines(output: impl Read + Send + 'static, lines: mpsc::Sender<String>) {
    thread::spawn(move || {
        for line in BufReader::new(output).lines() {
            let _ = lines.send(line.unwrap());
        }
    });
}

/// An example that listens. It is killed if the test ends before it exits.
pub(crate) struct Process {
    pub(crate) address: SocketAddr,
    child: Child,
    log: mpsc::Receiver<String>,
    seen: Vec<String>,
}

impl Process {
    /// Starts it, on a free port unless `env` says otherwise.
    pub(crate) fn start(example: &str, env: &[(&str, &str)]) -> Self {
        let mut command = Command::new(binary(example));
        command.env("ADDR", "127.0.0.1:0");
        Self::spawn(command.envs(env.iter().copied()).stdin(Stdio::null()))
    }

    /// Starts it as systemd does: with the socket as descriptor 3. `env` may set another process or descriptor.
    pub(crate) fn start_with_socket(
        example: &str,
        socket: &TcpListener,
        env: &[(&str, &str)],
    ) -> Self {
        let mut shell = Command::new("sh");
        shell
            .arg("-c")
            .arg(
                r#"export LISTEN_PID="${LISTEN_PID-$$}" LISTEN_FDS=1
                eval "exec \"\$0\" ${LISTEN_FDS_FIRST_FD-3}<&0 </dev/null""#,
            )
            .arg(binary(example))
            .envs(env.iter().copied())
            .stdin(OwnedFd::from(socket.try_clone().unwrap()));
        Self::spawn(&mut shell)
    }

    /// Starts a program that logs where it listens.
    pub(crate) fn spawn(command: &mut Command) -> Self {
        let mut child = command
            .env("NO_COLOR", "1")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (lines, log) = mpsc::channel();
        send_lines(child.stdout.take().unwrap(), lines.clone());
        send_lines(child.stderr.take().unwrap(), lines);
        let mut process = Self {
            address: SocketAddr::from(([0; 4], 0)),
            child,
            log,
            seen: Vec::new(),
        };
        // A Unix socket has no such address.
        if let Ok(address) = process.logged_address("listening on ") {
            process.address = address;
        }
        process
    }

    /// Waits for a line of the log.
    pub(crate) fn logged(&mut self, what: &str) -> String {
        loop {
            let line = self.log.recv_timeout(PATIENCE);
            let line = line.unwrap_or_else(|_| panic!("no {what:?} in {:#?}", self.seen));
            self.seen.push(line.clone());
            if line.contains(what) {
                return line;
            }
        }
    }

    /// Waits for a line of the log that ends with an address.
    pub(crate) fn logged_address(&mut self, what: &str) -> Result<SocketAddr, AddrParseError> {
        self.logged(what).rsplit(' ').next().unwrap().parse()
    }

    /// Returns a line that was already logged.
    pub(crate) fn earlier(&self, what: &str) -> String {
        let line = self.seen.iter().find(|line| line.contains(what));
        line.unwrap_or_else(|| panic!("no {what:?} in {:#?}", self.seen))
            .clone()
    }

    /// Returns the last such line that was logged.
    pub(crate) fn last(&self, what: &str) -> String {
        let line = self.seen.iter().rfind(|line| line.contains(what));
        line.expect("it was logged").clone()
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().try_into().unwrap()), signal).unwrap();
    }

    pub(crate) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// Waits for the process to exit. Returns its exit status and its whole log.
    pub(crate) fn exit(mut self) -> Exited {
        self.wait()
    }

    /// Like [`exit`](Self::exit), by reference.
    pub(crate) fn wait(&mut self) -> Exited {
        let start = Instant::now();
        let status = loop {
            match self.child.try_wait().unwrap() {
                Some(status) => break status,
                None if start.elapsed() > PATIENCE => panic!("no exit: {:#?}", self.seen),
                None => thread::sleep(Duration::from_millis(1)),
            }
        };
        let mut log = std::mem::take(&mut self.seen);
        log.extend(self.log.iter());
        Exited {
            id: self.id(),
            status,
            log,
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[derive(Debug)]
pub(crate) struct Exited {
    pub(crate) id: u32,
    pub(crate) status: ExitStatus,
    pub(crate) log: Vec<String>,
}

impl Exited {
    /// Asserts the exit code.
    #[track_caller]
    pub(crate) fn with(self, code: i32) -> Self {
        assert_eq!(self.status.code(), Some(code), "{self:#?}");
        self
    }

    /// Asserts that this was logged, and returns the line number.
    #[track_caller]
    pub(crate) fn said(&self, what: &str) -> usize {
        let at = self.log.iter().position(|line| line.contains(what));
        at.unwrap_or_else(|| panic!("no {what:?} in {self:#?}"))
    }
}

/// Lets this process, and those that it starts, open so many files.
pub(crate) fn more_files(wanted: u64) {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    assert!(
        hard >= wanted,
        "this takes {wanted} files, and {hard} may be open"
    );
    setrlimit(Resource::RLIMIT_NOFILE, soft.max(wanted), hard).unwrap();
}

/// Reads until the server closes the connection.
pub(crate) fn answer(mut stream: TcpStream) -> String {
    let mut answer = Vec::new();
    // A reset is an end too. The tests check what came before it.
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8(answer).unwrap()
}

/// Waits until the server has read all that was sent to it on `stream`, according to the kernel.
pub(crate) fn read_by_the_server(stream: &TcpStream) {
    let hex = |address: SocketAddr| format!(":{:04X}", address.port());
    let (client, server) = (stream.local_addr().unwrap(), stream.peer_addr().unwrap());
    let waits = || {
        let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
        table.lines().any(|line| {
            let fields: Vec<_> = line.split_whitespace().collect();
            let unread = !fields[4].ends_with(":00000000");
            fields[1].ends_with(&hex(server)) && fields[2].ends_with(&hex(client)) && unread
        })
    };
    while waits() {
        thread::yield_now();
    }
}
