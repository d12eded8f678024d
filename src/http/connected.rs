//! Tracks whether a client has established a connection; before that, nothing can have been sent.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use tower_layer::Layer;
use tower_service::Service;

/// A connector layer that records whether a connection was established.
#[derive(Debug, Clone, Default)]
pub(super) struct Connected(Arc<AtomicBool>);

impl Connected {
    /// Whether a connection was established, including proxy and TLS where they are used.
    pub(super) fn once(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl<S> Layer<S> for Connected {
    type Service = RecordingConnector<S>;

    fn layer(&self, connector: S) -> RecordingConnector<S> {
        RecordingConnector { connector, connected: self.clone() }
    }
}

/// A connector that records its success.
#[derive(Debug, Clone)]
pub(super) struct RecordingConnector<S> {
    connector: S,
    connected: Connected,
}

impl<S, Target> Service<Target> for RecordingConnector<S>
where
    S: Service<Target>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.connector.poll_ready(context)
    }

    fn call(&mut self, target: Target) -> Self::Future {
        let (connecting, Connected(connected)) = (self.connector.call(target), self.connected.clone());
        Box::pin(async move {
            let connection = connecting.await?;
            connected.store(true, Ordering::Relaxed);
            Ok(connection)
        })
    }
}
