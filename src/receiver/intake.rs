//! From a request to its response: limits, verification, reading, storing, and only then 200.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use super::access::Access;
use super::body::{self, BufferedBody};
use super::clock::Clock;
use super::in_flight::InFlight;
use super::limits::{Budgets, Limits};
use super::metrics::Metrics;
use super::operators::{Operators, OperatorsPath};
use super::rejection::Rejection;
use super::response::{self, FullResponse};
use super::shares::{Share, Shares};
use super::verifier::Verifier;
use super::writer::Writer;
use crate::domain::delivery::{Delivery, Verified};
use crate::domain::event::most_events;
use crate::domain::signature::{LUCIQ_SIGNATURES, may_be_instabug};
use crate::domain::{Redaction, SELF_CHECK_HEADER, SelfCheckNonce};
use crate::store::EncodedDelivery;
use arc_swap::ArcSwap;
use bytes::Bytes;
use hyper::body::Body;
use hyper::header::{CONTENT_ENCODING, CONTENT_TYPE};
use hyper::{HeaderMap, Method, Request, StatusCode};
use jiff::Timestamp;
use serde_json::json;

/// Where Bugfender delivers; the key follows.
pub const BUGFENDER_PATH: &str = "/bugfender/";

/// Where Luciq delivers.
pub const LUCIQ_PATH: &str = "/luciq";

/// Where Luciq delivers too, under its former name.
pub const INSTABUG_PATH: &str = "/instabug";

/// Handles requests; shared by all connections.
pub struct RequestHandler {
    pub(super) verifier: Arc<ArcSwap<Verifier>>,
    pub(super) access: Access,
    pub(super) limits: Limits,
    pub(super) redaction: Option<Redaction>,
    pub(super) budgets: Budgets,
    pub(super) clock: Clock,
    /// All connections.
    pub(super) connections: Shares,
    /// All bodies of unknown senders.
    pub(super) unverified: Shares,
    pub(super) metrics: Arc<Metrics>,
    pub(super) writer: Writer,
    pub(super) operators: Arc<Operators>,
    /// Whether the paths for operators are served with those for deliveries.
    pub(super) serves_operators: bool,
    /// Requests without a response yet.
    pub(super) calls: InFlight,
}

/// What a path is for.
enum PathKind<'a> {
    Bugfender(&'a str),
    Instabug,
    Operators(OperatorsPath),
    Nothing,
}

impl RequestHandler {
    /// Handles a request of a connection.
    pub(super) async fn answer<B>(&self, request: Request<B>, connection: &Share) -> FullResponse
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let (started, peer) = (Instant::now(), connection.address());
        let place = self.place(request.uri().path());
        // Before addresses are looked at: those of --allow-from are the senders', and this is the receiver itself.
        if let PathKind::Bugfender(segment) = place
            && let Some(answer) = self.self_check(segment, request.headers())
        {
            return answer;
        }
        let is_open = matches!(place, PathKind::Operators(path) if path.is_open_to(peer, request.headers()));
        if !is_open && !self.access.allows(peer, request.headers()) {
            return self.reject(peer, Rejection::Address);
        }
        match place {
            PathKind::Nothing => self.reject(peer, Rejection::Path),
            PathKind::Operators(path) => match self.operators.check(&request) {
                Ok(()) => self.operators.answer(path, request.method(), request.headers()).await,
                Err(why) => self.reject(peer, why),
            },
            PathKind::Bugfender(key) => {
                let verified = self.verifier.load().verify_bugfender(key);
                let answer = self.bugfender(request, peer, verified).await;
                self.time(answer, started)
            }
            PathKind::Instabug => {
                let answer = self.instabug(request, connection).await;
                self.time(answer, started)
            }
        }
    }

    fn place<'a>(&self, path: &'a str) -> PathKind<'a> {
        match path {
            LUCIQ_PATH | INSTABUG_PATH => PathKind::Instabug,
            _ => match (OperatorsPath::of(path), path.strip_prefix(BUGFENDER_PATH)) {
                (Some(path), _) if self.serves_operators => PathKind::Operators(path),
                (_, Some(key)) => PathKind::Bugfender(key),
                _ => PathKind::Nothing,
            },
        }
    }

    /// The answer to a request of this receiver, or of another one of its store, that checks whether deliveries arrive.
    /// Without the right proof it is none, and what is asked for is not there.
    fn self_check(&self, segment: &str, headers: &HeaderMap) -> Option<FullResponse> {
        let nonce = SelfCheckNonce::in_segment(segment)?;
        let proof = headers.get(SELF_CHECK_HEADER)?.to_str().ok()?;
        let answer = self.verifier.load().keys().self_check().answer(&nonce, proof, Timestamp::now())?;
        Some(response::json(StatusCode::OK, &json!({"self_check": answer})))
    }

    fn time(&self, answer: FullResponse, started: Instant) -> FullResponse {
        self.metrics.answered(answer.status().as_u16(), started.elapsed());
        answer
    }

    async fn bugfender<B>(&self, request: Request<B>, peer: IpAddr, verified: Option<Verified>) -> FullResponse
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let Some(verified) = verified else { return self.reject(peer, Rejection::Path) };
        if request.method() != Method::POST {
            return self.reject(peer, Rejection::Method);
        }
        let (head, body) = request.into_parts();
        match body::read(body, &head.headers, &self.limits, (&self.budgets.known, None)).await {
            Ok(whole) => self.store(&verified, &head.headers, peer, whole).await,
            Err(why) => self.reject(peer, why),
        }
    }

    async fn instabug<B>(&self, request: Request<B>, connection: &Share) -> FullResponse
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let peer = connection.address();
        let current = self.verifier.load_full();
        if !current.keys().knows_instabug() {
            return self.reject(peer, Rejection::Path);
        }
        if request.method() != Method::POST {
            return self.reject(peer, Rejection::Method);
        }
        let (head, body) = request.into_parts();
        // The signature is over the body; without one there is no need to read it.
        let Some(signatures) = signatures(&head.headers) else { return self.reject(peer, Rejection::Signature) };
        let whole = match self.read_unverified(&head.headers, body, connection).await {
            Ok(whole) => whole,
            Err(why) => return self.reject(peer, why),
        };
        match current.keys().verify_instabug_signatures(&signatures, &whole.bytes) {
            Some(verified) => self.store(&verified, &head.headers, peer, whole).await,
            None => self.reject(peer, Rejection::Signature),
        }
    }

    /// Reads a body that anybody may have sent.
    async fn read_unverified<B>(
        &self,
        headers: &HeaderMap,
        body: B,
        connection: &Share,
    ) -> Result<BufferedBody, Rejection>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let client = self.access.client(connection.address(), headers);
        let share = self.unverified.enter(client, usize::MAX).ok_or(Rejection::Overload)?;
        let _waits = connection.wait();
        body::read(body, headers, &self.limits, (&self.budgets.unverified, Some(&share))).await
    }

    async fn store(&self, verified: &Verified, headers: &HeaderMap, peer: IpAddr, whole: BufferedBody) -> FullResponse {
        let BufferedBody { bytes, permit } = whole;
        let content_type =
            headers.get(CONTENT_TYPE).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
        let compressed = is_compressed(headers);
        let Some(decoding) = self.budgets.decoding(most_events(&bytes)).await else {
            return self.reject(peer, Rejection::Overload);
        };
        // Not that of a clock that jumped: what is old by it would be removed when it is right again.
        let now = self.clock.now().time;
        let delivery = if compressed {
            let reason = "it is compressed, which no sender is known to do";
            let kept = if self.redaction.is_some() { Vec::new() } else { bytes };
            Delivery::unreadable(verified, now, content_type, kept, reason)
        } else {
            Delivery::read(verified, now, content_type, bytes, self.redaction.as_ref())
        };
        let malformed = delivery.malformed().map(ToString::to_string);
        let outcome = self.writer.deliver(EncodedDelivery::encode(delivery), [permit, decoding]).await;
        match (outcome, malformed) {
            (Err(error), _) => {
                tracing::debug!("not stored: {error}");
                self.reject(peer, Rejection::Store)
            }
            (Ok(_), Some(_)) if compressed => self.reject(peer, Rejection::Encoding),
            (Ok(_), Some(reason)) => {
                self.metrics.rejected(Rejection::Malformed);
                tracing::warn!("a delivery of {} is kept in quarantine: {reason}", verified.sender());
                response::error(StatusCode::BAD_REQUEST, &reason)
            }
            (Ok(receipt), None) => {
                let (stored, duplicates) = (receipt.stored(), receipt.duplicates());
                let body = format!(r#"{{"stored":{stored},"duplicates":{duplicates}}}"#);
                response::text(StatusCode::OK, "application/json", body)
            }
        }
    }

    fn reject(&self, peer: IpAddr, why: Rejection) -> FullResponse {
        self.operators.reject(peer, why)
    }
}

/// The signatures of Luciq, under both names of the header; `None` without any, or if one cannot be valid.
fn signatures(headers: &HeaderMap) -> Option<Vec<&str>> {
    let mut signatures = Vec::new();
    for value in LUCIQ_SIGNATURES.iter().flat_map(|name| headers.get_all(*name)) {
        signatures.push(value.to_str().ok().filter(|text| may_be_instabug(text))?);
    }
    (!signatures.is_empty()).then_some(signatures)
}

/// Whether a body has a content coding: a header may name several, and `identity` or an empty one is none.
fn is_compressed(headers: &HeaderMap) -> bool {
    let values = headers.get_all(CONTENT_ENCODING).iter();
    let mut codings = values.flat_map(|value| value.as_bytes().split(|byte| *byte == b',')).map(<[u8]>::trim_ascii);
    codings.any(|coding| !coding.is_empty() && !coding.eq_ignore_ascii_case(b"identity"))
}
