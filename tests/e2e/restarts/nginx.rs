//! Clients behind nginx, which has no active checks and does not repeat a POST.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command};

use super::http1::post_behind_a_balancer;
use super::{Load, Seen, Server, free_addresses, restart, wait_until};

const CLIENTS: usize = 8;

struct Nginx {
    address: SocketAddr,
    child: Child,
    _folder: tempfile::TempDir,
}

impl Nginx {
    fn start([a, b]: [SocketAddr; 2]) -> Self {
        let [address] = free_addresses();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().display();
        let configuration = format!(
            "daemon off;
             worker_processes 1;
             pid {path}/pid;
             error_log {path}/error.log;
             events {{ worker_connections 512; }}
             http {{
               access_log off;
               client_body_temp_path {path}/body;
               proxy_temp_path {path}/proxy;
               fastcgi_temp_path {path}/fastcgi;
               uwsgi_temp_path {path}/uwsgi;
               scgi_temp_path {path}/scgi;
               upstream replicas {{
                 server {a} max_fails=0;
                 server {b} max_fails=0;
                 keepalive 16;
               }}
               server {{
                 listen {address};
                 keepalive_requests 1000000;
                 location / {{
                   proxy_pass http://replicas;
                   proxy_http_version 1.1;
                   proxy_set_header Connection \"\";
                 }}
               }}
             }}"
        );
        let file = folder.path().join("nginx.conf");
        fs::write(&file, configuration).unwrap();
        let child = Command::new("nginx")
            .arg("-p")
            .arg(folder.path())
            .arg("-e")
            .arg(folder.path().join("error.log"))
            .arg("-c")
            .arg(file)
            .spawn()
            .expect("nginx, which has to be installed for this test");
        wait_until("nginx does not listen", || {
            TcpStream::connect(address).is_ok()
        });
        Self {
            address,
            child,
            _folder: folder,
        }
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // On this signal the master ends its workers, but not on SIGKILL.
        let pid = nix::unistd::Pid::from_raw(self.child.id().try_into().unwrap());
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM);
        let _ = self.child.wait();
    }
}

fn under_load(server: Server) {
    let load = Load::new(vec![Seen::new("behind nginx, POST")], 20);
    let nginx = Nginx::start(load.replicas);
    restart(
        server,
        load,
        |runtime, load| {
            for _ in 0..CLIENTS {
                runtime.spawn(post_behind_a_balancer(nginx.address, load.clone()));
            }
        },
        Load::warm_up,
    );
}

#[test]
#[ignore = "needs nginx, and takes minutes: .ci/run installs it and runs this"]
fn clients_behind_nginx_lose_nothing() {
    under_load(Server::Rust("plain", "0"));
    under_load(Server::Rust("drain", "0"));
}
