//! An accept loop with tokio-rustls, as `tower_drain::recipes::servers` shows it.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio_rustls::{TlsAcceptor, TlsConnector};
use tokio_util::task::TaskTracker;
use tower_drain::Shutdown;

use super::*;

async fn serve(tls: TlsAcceptor, stream: TcpStream, drain: Drain) -> Result<(), BoxError> {
    let leaving = async {
        drain.closing().await;
        sleep(Duration::from_secs(1)).await;
    };
    let stream = tokio::select! {
        stream = tls.accept(stream) => stream?,
        () = leaving => return Ok(()),
    };
    let builder = auto::Builder::new(TokioExecutor::new());
    let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), service!(drain));
    drain.watch(connection.into_owned()).await
}

async fn accept(listener: TcpListener, tls: TlsAcceptor, drain: Drain, closing: Reached) {
    let tasks = TaskTracker::new();
    let mut closing = pin!(closing);
    loop {
        let (stream, _) = tokio::select! {
            accepted = listener.accept() => accepted.unwrap(),
            () = &mut closing => break,
        };
        tasks.spawn(serve(tls.clone(), stream, drain.clone()));
    }
    drop(listener);
    tasks.close();
    tasks.wait().await;
}

/// Returns both ends, with a certificate for `localhost`.
fn tls() -> (TlsAcceptor, TlsConnector) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let certificate: CertificateDer<'static> = made.cert.der().clone();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone()).unwrap();
    let client = ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let server = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    (Arc::new(server).into(), Arc::new(client).into())
}

#[tokio::test]
async fn running_requests_are_answered_and_half_a_handshake_ends_a_second_after_the_close() {
    let (acceptor, connector) = tls();
    let drain = Drain::new();
    let (listener, address) = bind().await;
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let shutdown = Shutdown::new(&drain, async { stopped.await.unwrap() })
        .closing(Duration::MAX)
        .timeout(Duration::MAX);
    let server = drain.clone();
    let run = tokio::spawn(shutdown.run(|closing| accept(listener, acceptor, server, closing)));

    let mut half = TcpStream::connect(address).await.unwrap();
    half.write_all(&[0x16, 0x03, 0x01]).await.unwrap();
    let stream = TcpStream::connect(address).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let mut client = connector.connect(name, stream).await.unwrap();
    let request = b"POST / HTTP/1.1\r\nhost: here\r\ncontent-length: 5\r\n\r\n";
    client.write_all(request).await.unwrap();
    until(|| drain.in_flight() == 1).await;

    stop.send(()).unwrap();
    drain.closing().await;
    client.write_all(b"order").await.unwrap();
    let answer = read_to_end(client).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.ends_with("order"), "{answer}");
    until(|| drain.connections() == 0).await;
    assert_eq!(read_to_end(half).await, "");
    let report = run.await.unwrap().unwrap();
    assert!(
        report.ended_after().is_some(),
        "the server has ended by itself"
    );
}
