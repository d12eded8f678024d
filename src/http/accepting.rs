//! Accepting connections, for small servers.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

/// How long to wait after a connection could not be accepted: most often there is no file handle left.
pub const ACCEPT_RETRY_DELAY: Duration = Duration::from_millis(50);

/// Serves connections until told to stop, no more than so many at once: others wait until one ends. Returns those that are
/// still open.
pub async fn accept_up_to<F>(
    most: usize,
    listener: TcpListener,
    mut stop: watch::Receiver<bool>,
    serve: impl Fn(TcpStream, SocketAddr) -> F,
) -> JoinSet<()>
where
    F: Future<Output = ()> + Send + 'static,
{
    let places = Arc::new(Semaphore::new(most));
    let mut open = JoinSet::new();
    loop {
        let next = async {
            let place = Arc::clone(&places).acquire_owned().await;
            (place, listener.accept().await)
        };
        let (place, accepted) = tokio::select! {
            _ = stop.wait_for(|stop| *stop) => break,
            Some(_) = open.join_next() => continue,
            next = next => next,
        };
        match accepted {
            Ok((stream, peer)) => {
                let serving = serve(stream, peer);
                open.spawn(async move {
                    let _place = place;
                    serving.await;
                });
            }
            // The client may be gone, too: other connections go on.
            Err(error) => {
                tracing::debug!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_RETRY_DELAY).await;
            }
        }
    }
    open
}
