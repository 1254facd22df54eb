/// What a process is told to stop by. It makes one difference: [`Terminate`](Self::Terminate) comes
/// from a supervisor, which has a balancer to think of, and [`Interrupt`](Self::Interrupt) from
/// somebody who waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Signal {
    /// SIGINT, or Ctrl-C at a terminal. A [`Shutdown`](crate::Shutdown) then skips the lame duck.
    Interrupt,
    /// SIGTERM: what systemd, Kubernetes and `kill` send.
    Terminate,
}
