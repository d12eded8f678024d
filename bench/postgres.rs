//! What the store in PostgreSQL is measured with and against, for `bench/postgres`.
//!
//! | mode | what it does |
//! |---|---|
//! | `rows FROM INTO GROUP` | inserts the rows of a store into an empty one with plain statements, so many deliveries in a transaction |
//! | `commits FROM INTO GROUP` | the same deliveries by the store's own statement |
//! | `single ADDRESS KEY STORE` | the receiver, with a transaction for each delivery |
//! | `fill STORE NUMBER` | so many forwards of one event each, to the target on record, or to one that is made |
//! | `drain STORE BATCH` | claims and settles all forwards |
//! | `target ADDRESS` | an endpoint that accepts everything at once |
//! | `delay LISTEN SERVER MICROSECONDS` | a proxy that holds up each direction for so long, and limits nothing else |

use std::error::Error;
use std::io::{Read, Write, stdout};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use axum::body::Bytes;
use bugfender_hooks::config::{Environment, PostgresUrl};
use bugfender_hooks::domain::Secret;
use bugfender_hooks::domain::delivery::{Delivery, DeliveryKeys};
use bugfender_hooks::http::Roots;
use bugfender_hooks::platform::StopSignals;
use bugfender_hooks::receiver::{self, Limits, Receiver, ReceiverOptions};
use bugfender_hooks::store::postgres::{ConnectOptions, PostgresStore};
use bugfender_hooks::store::{
    AttemptOutcome, AttemptReport, ClaimRequest, EncodedDelivery, Route, Settlement, Store, TargetName,
};
use jiff::Timestamp;
use lz4_flex::block;
use tokio::runtime::{Builder, Runtime};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, NoTls, Row};

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

const USAGE: &str = "usage: postgres rows FROM INTO GROUP | commits FROM INTO GROUP | single ADDRESS KEY STORE | \
                     fill STORE NUMBER | drain STORE BATCH | target ADDRESS | delay LISTEN SERVER MICROSECONDS";

fn main() -> Outcome {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["rows", from, into, group] => rows(from, into, group.parse()?),
        ["commits", from, into, group] => commits(from, into, group.parse()?),
        ["single", address, key, store] => single(address, key, store),
        ["fill", store, number] => fill(store, number.parse()?),
        ["drain", store, batch] => drain(store, batch.parse()?),
        ["target", address] => target(address),
        ["delay", listen, server, microseconds] => delay(listen, server, Duration::from_micros(microseconds.parse()?)),
        _ => Err(USAGE.into()),
    }
}

/// Says how many were done in a second.
fn say_rate(number: usize, took: Duration) -> Outcome {
    #[allow(clippy::cast_precision_loss, reason = "it is far below the limit")]
    let rate = number as f64 / took.as_secs_f64();
    Ok(writeln!(stdout(), "{rate}")?)
}

fn store(url: &str) -> Outcome<PostgresStore> {
    let environment = Environment::from_lookup(|name| (name == "PGPASSFILE").then(|| "/dev/null".into()));
    let load = |_: &_| Roots::System.load();
    let options = ConnectOptions::parse(&PostgresUrl::parse(url)?, &environment, Duration::from_secs(30), load)?;
    Ok(PostgresStore::new(options))
}

fn runtime() -> Outcome<Runtime> {
    let threads = std::thread::available_parallelism()?.get().min(4);
    Ok(Builder::new_multi_thread().worker_threads(threads).enable_all().build()?)
}

async fn connect(url: &str) -> Outcome<Client> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    tokio::spawn(connection);
    client.batch_execute("SET search_path = bugfender_hooks; SET synchronous_commit = on; SET jit = off").await?;
    Ok(client)
}

/// A column of rows, for `unnest`.
macro_rules! column {
    ($rows:expr, $place:expr, $type:ty) => {
        $rows.iter().map(|row| row.try_get::<_, $type>($place)).collect::<Result<Vec<$type>, _>>()?
    };
}

const DELIVERIES: &str = "INSERT INTO deliveries (id, sender, received_at, content_type, events, first_event,
                                                  last_event, length, body)
    SELECT * FROM unnest($1::bigint[], $2::text[], $3::bigint[], $4::text[], $5::integer[], $6::bigint[],
                         $7::bigint[], $8::integer[], $9::bytea[])";

const EVENTS: &str =
    "INSERT INTO events (id, delivery, start, length, key, ordinal, event_id, type, app_id, app, title)
    SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::integer[], $4::integer[], $5::bytea[], $6::integer[],
                         $7::text[], $8::text[], $9::bigint[], $10::bigint[], $11::text[])
    ON CONFLICT (key, ordinal) DO NOTHING";

/// The values of a statement.
type Columns = Vec<Box<dyn ToSql + Sync + Send>>;

/// Deliveries and their events, as columns.
fn columns(deliveries: &[Row], events: &[Row]) -> Outcome<(Columns, Columns)> {
    let of_deliveries: Columns = vec![
        Box::new(column!(deliveries, 0, i64)),
        Box::new(column!(deliveries, 1, String)),
        Box::new(column!(deliveries, 2, i64)),
        Box::new(column!(deliveries, 3, Option<String>)),
        Box::new(column!(deliveries, 4, i32)),
        Box::new(column!(deliveries, 5, i64)),
        Box::new(column!(deliveries, 6, i64)),
        Box::new(column!(deliveries, 7, Option<i32>)),
        Box::new(column!(deliveries, 8, Vec<u8>)),
    ];
    let of_events: Columns = vec![
        Box::new(column!(events, 0, i64)),
        Box::new(column!(events, 1, i64)),
        Box::new(column!(events, 2, i32)),
        Box::new(column!(events, 3, i32)),
        Box::new(column!(events, 4, Vec<u8>)),
        Box::new(column!(events, 5, i32)),
        Box::new(column!(events, 6, String)),
        Box::new(column!(events, 7, Option<String>)),
        Box::new(column!(events, 8, Option<i64>)),
        Box::new(column!(events, 9, Option<i64>)),
        Box::new(column!(events, 10, Option<String>)),
    ];
    Ok((of_deliveries, of_events))
}

/// The least that a client can do: prepared statements, all of a group sent at once.
fn rows(from: &str, into: &str, group: usize) -> Outcome {
    store(into)?.receiver_inbox()?;
    runtime()?.block_on(async {
        let (from, into) = (connect(from).await?, connect(into).await?);
        let sql = "SELECT id, sender, received_at, content_type, events, first_event, last_event, length, body
                   FROM deliveries ORDER BY id";
        let deliveries = from.query(sql, &[]).await?;
        let sql = "SELECT id, delivery, start, length, key, ordinal, event_id, type, app_id, app, title
                   FROM events ORDER BY delivery, id";
        let events = from.query(sql, &[]).await?;
        let mut left = events.as_slice();
        let mut groups = Vec::new();
        for chunk in deliveries.chunks(group) {
            let last = chunk.last().map_or(0, |row| row.get::<_, i64>(0));
            let (theirs, rest) = left.split_at(left.partition_point(|row| row.get::<_, i64>(1) <= last));
            groups.push(columns(chunk, theirs)?);
            left = rest;
        }
        let (events, number) = (into.prepare(EVENTS).await?, deliveries.len());
        let deliveries = into.prepare(DELIVERIES).await?;
        let started = Instant::now();
        for (of_deliveries, of_events) in groups {
            let (begun, of_events, of_deliveries, committed) = tokio::join!(
                biased;
                into.batch_execute("BEGIN"),
                into.execute_raw(&events, of_events.iter().map(|column| &**column as &(dyn ToSql + Sync))),
                into.execute_raw(&deliveries, of_deliveries.iter().map(|column| &**column as &(dyn ToSql + Sync))),
                into.batch_execute("COMMIT"),
            );
            let _ = (begun?, of_events?, of_deliveries?, committed?);
        }
        say_rate(number, started.elapsed())
    })
}

/// What the receiver does to the store, without the receiver.
fn commits(from: &str, into: &str, group: usize) -> Outcome {
    let mut inbox = store(into)?.receiver_inbox()?;
    let bodies = runtime()?.block_on(async {
        let rows = connect(from).await?.query("SELECT length, body FROM deliveries ORDER BY id", &[]).await?;
        let body = |row: &Row| -> Outcome<Vec<u8>> {
            let (length, stored): (Option<i32>, &[u8]) = (row.try_get(0)?, row.try_get(1)?);
            Ok(match length {
                Some(length) => block::decompress(stored, usize::try_from(length)?)?,
                None => stored.to_vec(),
            })
        };
        rows.iter().map(body).collect::<Outcome<Vec<_>>>()
    })?;
    let deliveries = encoded(bodies)?;
    let started = Instant::now();
    for group in deliveries.chunks(group) {
        inbox.commit(group, &[])?;
    }
    say_rate(deliveries.len(), started.elapsed())
}

/// Deliveries of these bodies.
fn encoded(bodies: Vec<Vec<u8>>) -> Outcome<Vec<EncodedDelivery>> {
    let keys = DeliveryKeys::new(&Secret::parse("the key", "a-key-for-measurements-only")?, Vec::new())?;
    let verified = keys.verify_bugfender("a-key-for-measurements-only").ok_or("the key is not accepted")?;
    let content_type = || Some("application/json".to_owned());
    let read = |body| Delivery::read(&verified, Timestamp::now(), content_type(), body, None);
    Ok(bodies.into_iter().map(|body| EncodedDelivery::encode(read(body))).collect())
}

fn single(address: &str, key: &str, url: &str) -> Outcome {
    let limits = Limits { max_group: 1, ..Limits::default() };
    let keys = DeliveryKeys::new(&Secret::parse("the key", key)?, Vec::new())?;
    let options = ReceiverOptions { limits, ..ReceiverOptions::new(keys) };
    let runtime = runtime()?;
    let listener = runtime.block_on(receiver::bind(address.parse()?))?;
    let receiver = {
        let _within = runtime.enter();
        Receiver::open(&store(url)?, options)?
    };
    runtime.block_on(async {
        let mut signals = StopSignals::listen()?;
        let stop = async move {
            let _ = signals.next().await;
        };
        tokio::spawn(receiver.serve(vec![listener], stop)).await?;
        Ok(())
    })
}

/// How many deliveries are stored at once to fill a store.
const FILLED_AT_ONCE: usize = 500;

fn fill(url: &str, number: usize) -> Outcome {
    let mut inbox = store(url)?.receiver_inbox()?;
    let target = match inbox.target_records()?.first() {
        Some(record) => record.id,
        None => inbox.targets(&[TargetName { key: "target".to_owned(), shown: "target".to_owned() }])?[0],
    };
    let routes = [Route { target, types: Vec::new(), together: true }];
    let body = |number: &usize| {
        let stack = "at com.example.shop.cart.CartAdapter.onBindViewHolder(CartAdapter.kt:41)".repeat(5);
        format!(
            r#"[{{"id":"{:x}-{number}","title":"NullPointerException in CheckoutActivity","text":"{stack}",
            "app":{{"id":1001,"name":"Shop"}},"type":"crash","status":"open"}}]"#,
            fastrand::u64(..)
        )
        .into_bytes()
    };
    let numbers: Vec<usize> = (0..number).collect();
    for numbers in numbers.chunks(FILLED_AT_ONCE) {
        inbox.commit(&encoded(numbers.iter().map(body).collect())?, &routes)?;
    }
    Ok(())
}

fn drain(url: &str, batch: usize) -> Outcome {
    let mut inbox = store(url)?.receiver_inbox()?;
    let target = inbox.target_records()?.first().ok_or("there is no target")?.id;
    let report = AttemptReport { took: Duration::from_millis(1), status: Some(200), answer: Vec::new() };
    let (mut number, started) = (0, Instant::now());
    loop {
        let now = Timestamp::now();
        let claimed = inbox.claim(target, ClaimRequest::up_to(batch), now, Duration::from_secs(90))?;
        if claimed.is_empty() {
            return say_rate(number, started.elapsed());
        }
        number += claimed.len();
        let settlement =
            |lease| Settlement { lease, at: now, outcome: AttemptOutcome::Delivered, report: report.clone() };
        inbox.settle(&claimed.iter().map(|leased| settlement(leased.lease())).collect::<Vec<_>>())?;
    }
}

fn target(address: &str) -> Outcome {
    runtime()?.block_on(async {
        let listener = tokio::net::TcpListener::bind(address).await?;
        let accept = axum::Router::new().fallback(async |_: Bytes| {});
        Ok(axum::serve(listener, accept).await?)
    })
}

/// Threads sleep more exactly than a runtime's timer, which counts milliseconds.
fn delay(listen: &str, server: &str, time: Duration) -> Outcome {
    for client in TcpListener::bind(listen)?.incoming() {
        let (client, server) = (client?, TcpStream::connect(server)?);
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        hold_up(client.try_clone()?, server.try_clone()?, time);
        hold_up(server, client, time);
    }
    Ok(())
}

/// Passes on what comes, this much later.
fn hold_up(mut from: TcpStream, mut to: TcpStream, time: Duration) {
    let (send, pieces) = mpsc::channel::<(Instant, Vec<u8>)>();
    std::thread::spawn(move || {
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(length @ 1..) = from.read(&mut buffer) {
            if send.send((Instant::now() + time, buffer[..length].to_vec())).is_err() {
                break;
            }
        }
    });
    std::thread::spawn(move || {
        for (due, piece) in pieces {
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            if to.write_all(&piece).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Both);
    });
}
