//! A server of a test's own, in a thread with a runtime of its own.

use std::net::SocketAddr;
use std::thread::JoinHandle;

use axum::Router;
use tokio::sync::oneshot;

/// What serves a router on a free port. It ends when it is dropped.
pub struct ServedRouter {
    pub url: String,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl ServedRouter {
    pub fn start(router: Router) -> Self {
        let (stop, stopped) = oneshot::channel::<()>();
        let (ready, is_ready) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let address: SocketAddr = "127.0.0.1:0".parse().unwrap();
                let listener = tokio::net::TcpListener::bind(address).await.unwrap();
                ready.send(listener.local_addr().unwrap()).unwrap();
                let served = std::future::IntoFuture::into_future(axum::serve(listener, router));
                tokio::select! { _ = served => {}, _ = stopped => {} }
            });
        });
        let url = format!("http://{}", is_ready.recv().unwrap());
        Self { url, stop: Some(stop), thread: Some(thread) }
    }
}

impl Drop for ServedRouter {
    fn drop(&mut self) {
        drop(self.stop.take());
        let _ = self.thread.take().map(JoinHandle::join);
    }
}
