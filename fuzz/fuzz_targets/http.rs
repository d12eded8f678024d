//! The HTTP path: whatever comes over a connection, it ends, and what is answered is HTTP.

#![no_main]

use std::net::{IpAddr, Ipv4Addr};
use std::sync::OnceLock;
use std::time::Duration;

use bugfender_hooks::domain::Secret;
use bugfender_hooks::domain::delivery::DeliveryKeys;
use bugfender_hooks::receiver::{Access, Limits, ReceiverOptions, Receiver};
use bugfender_hooks::store::sqlite::SqliteStore;
use libfuzzer_sys::fuzz_target;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::runtime::{Builder, Runtime};

/// What fuzzed requests may name.
const KEY: &str = "0123456789abcdef";

struct Bench {
    runtime: Runtime,
    receiver: Receiver,
    _dir: tempfile::TempDir,
}

static BENCH: OnceLock<Bench> = OnceLock::new();

fn bench() -> Bench {
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    let dir = tempfile::tempdir().expect("a directory");
    let secret = |text: &str| Secret::parse("the secret", text).expect("a secret");
    let delivery_keys = DeliveryKeys::new(&secret(KEY), vec![secret("instabug")]).expect("a gate");
    let options = ReceiverOptions {
        access: Access { allow_from: vec!["10.0.0.0/8".parse().expect("a network")], trust_proxy: true },
        limits: Limits {
            max_body: 4096,
            header_timeout: Duration::from_millis(200),
            body_timeout: Duration::from_millis(200),
            ..Limits::default()
        },
        ..ReceiverOptions::new(delivery_keys)
    };
    let receiver = {
        let _within = runtime.enter();
        Receiver::open(&SqliteStore::at(&dir.path().join("fuzz.db")), options).expect("a receiver")
    };
    Bench { runtime, receiver, _dir: dir }
}

fuzz_target!(|data: &[u8]| {
    let Bench { runtime, receiver, .. } = BENCH.get_or_init(bench);
    let answer = runtime.block_on(async {
        let (mut ours, theirs) = tokio::io::duplex(64 * 1024);
        let serve = receiver.serve_stream(theirs, IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)));
        let call = async {
            // The other side may have closed before all is written.
            let _ = ours.write_all(data).await;
            let _ = ours.shutdown().await;
            let mut answer = Vec::new();
            let _ = ours.read_to_end(&mut answer).await;
            answer
        };
        let (_, answer) = tokio::time::timeout(Duration::from_secs(10), async { tokio::join!(serve, call) })
            .await
            .expect("every connection ends");
        answer
    });
    assert!(answer.is_empty() || answer.starts_with(b"HTTP/1."), "{}", String::from_utf8_lossy(&answer));
});
