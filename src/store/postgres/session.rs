//! A connection in a thread that waits for it, renewed when it breaks.
#![allow(clippy::needless_pass_by_value, reason = "work reads better where it is given without an ampersand")]

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Runtime};
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Row};

use super::fault::PostgresFault;
use super::options::ConnectOptions;
use crate::store::StoreError;
use crate::store::error::Part;

/// The first and the longest wait before a server that was not available is tried again.
const FIRST_REST: Duration = Duration::from_millis(100);
const LONGEST_REST: Duration = Duration::from_secs(5);

/// How often a transaction is tried that another one was in the way of.
const TRIES: u32 = 5;

/// The values of a statement, with their types.
pub(super) type Values<'a> = [(&'a (dyn ToSql + Sync), Type)];

/// The values of a statement: `values![id => INT8, name => TEXT]`.
macro_rules! values {
    ($($value:expr => $type:ident),* $(,)?) => {
        &[$((&$value as &(dyn tokio_postgres::types::ToSql + Sync), tokio_postgres::types::Type::$type)),*]
    };
}
pub(super) use values;

/// A connection that is made when it is needed. To be used by a thread outside any runtime.
pub(super) struct ServerSession {
    options: ConnectOptions,
    part: Part,
    runtime: Runtime,
    link: RefCell<Option<Link>>,
    /// How often in a row no connection could be made, and when it is tried again.
    failures: Cell<u32>,
    rest_until: Cell<Option<Instant>>,
    /// Why no connection could be made.
    trouble: RefCell<String>,
    timeout: Cell<Duration>,
    /// How long a transaction waits for another one's locks, if not as long as [`BEGIN`] lets it.
    lock_timeout: Cell<Option<Duration>>,
}

/// An open connection, and the schema that its statements are about.
pub(super) struct Link {
    client: Client,
    /// The name of the schema, and what stands before the names of its tables.
    schema_name: String,
    schema: String,
    timeout: Duration,
}

impl ServerSession {
    /// A session for this part of the store. Nothing is connected yet.
    pub(super) fn new(options: ConnectOptions, part: Part) -> Result<Self, StoreError> {
        let runtime = Builder::new_current_thread().enable_all().build().map_err(|error| {
            let kind = crate::store::StoreErrorKind::System;
            StoreError::new(part, options.shown(), kind, error.to_string(), "free some memory, then try again")
        })?;
        let timeout = Cell::new(options.timeout());
        Ok(Self {
            options,
            part,
            runtime,
            link: RefCell::default(),
            failures: Cell::default(),
            rest_until: Cell::default(),
            trouble: RefCell::default(),
            timeout,
            lock_timeout: Cell::default(),
        })
    }

    /// From now on, waits no longer than this for an answer.
    pub(super) fn set_timeout(&self, timeout: Duration) {
        self.timeout.set(timeout.min(self.options.timeout()));
    }

    /// From now on, transactions wait no longer than this for each other's locks; the server gives up, and says so.
    pub(super) fn set_lock_timeout(&self, timeout: Duration) {
        self.lock_timeout.set(Some(timeout));
    }

    /// Begins a transaction.
    fn begin(&self) -> Cow<'static, str> {
        let Some(timeout) = self.lock_timeout.get() else { return BEGIN.into() };
        // 0 would switch the limit off.
        format!("{BEGIN}; SET LOCAL lock_timeout = '{}ms'", timeout.as_millis().max(1)).into()
    }

    /// Does work that may be done again if the connection breaks in the middle of it: it reads, or does nothing the second
    /// time.
    pub(super) fn run<T>(&self, work: impl AsyncFn(&Link) -> Result<T, PostgresFault>) -> Result<T, StoreError> {
        self.try_run(work).map_err(|fault| self.store_error(fault))
    }

    /// The same, with the fault as it is.
    pub(super) fn try_run<T>(&self, work: impl AsyncFn(&Link) -> Result<T, PostgresFault>) -> Result<T, PostgresFault> {
        match self.once(&work) {
            // An old connection may have been cut off since it was used last.
            Err(fault) if self.has_broken(&fault) => self.once(&work),
            outcome => outcome,
        }
    }

    /// Whether this is the end of a connection that was open, and not a failure to make one.
    pub(super) fn has_broken(&self, fault: &PostgresFault) -> bool {
        self.failures.get() == 0 && fault.is_broken_connection()
    }

    /// Does work once; if it fails with the connection, what became of it is not known.
    pub(super) fn once<T>(&self, work: impl AsyncFn(&Link) -> Result<T, PostgresFault>) -> Result<T, PostgresFault> {
        self.runtime.block_on(async {
            let link = Link { timeout: self.timeout.get(), ..self.connected().await? };
            let outcome = work(&link).await;
            if !outcome.as_ref().is_err_and(PostgresFault::ends_connection) {
                self.link.replace(Some(link));
            }
            outcome
        })
    }

    /// Runs work in a transaction, which is durable when this returns. It is tried again if another transaction was in the
    /// way.
    pub(super) fn commit<T>(&self, work: impl AsyncFn(&Link) -> Result<T, PostgresFault>) -> Result<T, StoreError> {
        self.try_commit(work).map_err(|fault| self.store_error(fault))
    }

    /// The same, with the fault as it is.
    pub(super) fn try_commit<T>(
        &self,
        work: impl AsyncFn(&Link) -> Result<T, PostgresFault>,
    ) -> Result<T, PostgresFault> {
        let opening = self.begin();
        let transaction = async |link: &Link| {
            // The work is sent at once: if the transaction did not begin, the connection is of no use to it either.
            let (begun, outcome) = tokio::join!(biased; link.batch(&opening), work(link));
            let outcome = begun.and(outcome);
            let end = if outcome.is_ok() { "COMMIT" } else { "ROLLBACK" };
            match (outcome, link.batch(end).await) {
                (Ok(_), Err(fault)) => Err(fault),
                (outcome, _) => outcome,
            }
        };
        let mut tries = 1;
        loop {
            match self.once(transaction) {
                Err(fault) if fault.is_of_concurrency() && tries < TRIES => tries += 1,
                outcome => return outcome,
            }
        }
    }

    /// Reads several things as they are at one moment.
    pub(super) fn read<T>(&self, work: impl AsyncFn(&Link) -> Result<T, PostgresFault>) -> Result<T, PostgresFault> {
        self.once(async |link| {
            link.batch("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL jit = off").await?;
            let outcome = work(link).await;
            // Nothing is written: how it ends is of no matter, but it must.
            link.batch("ROLLBACK").await?;
            outcome
        })
    }

    /// The error of this session's part of the store.
    pub(super) fn store_error(&self, fault: PostgresFault) -> StoreError {
        fault.at(self.part, self.options.shown())
    }

    /// The connection, made if need be. A server that was not available is left alone for a while, so that whoever waits
    /// hears of it soon.
    async fn connected(&self) -> Result<Link, PostgresFault> {
        if let Some(link) = self.link.take() {
            // Lets the connection's task see whether the server has closed it.
            tokio::task::yield_now().await;
            if !link.client.is_closed() {
                return Ok(link);
            }
        }
        if self.rest_until.get().is_some_and(|until| Instant::now() < until) {
            return Err(PostgresFault::Resting(self.trouble.borrow().clone()));
        }
        match self.options.connect().await {
            Ok(client) => {
                self.failures.set(0);
                self.rest_until.set(None);
                Ok(Link {
                    client,
                    schema_name: self.options.schema().to_owned(),
                    schema: self.options.schema_prefix(),
                    timeout: self.options.timeout(),
                })
            }
            Err(fault) => {
                self.trouble.replace(fault.to_string());
                let failures = self.failures.get().min(10);
                self.failures.set(failures + 1);
                let rest = FIRST_REST.saturating_mul(1 << failures).min(LONGEST_REST);
                self.rest_until.set(Some(Instant::now() + rest.mul_f64(0.5 + fastrand::f64() / 2.0)));
                Err(fault)
            }
        }
    }
}

/// Begins a transaction whose commit is durable, whatever the server's settings are. Nobody waits for one whose client is
/// gone; and compiling statements that run for milliseconds would take seconds.
pub(super) const BEGIN: &str = "BEGIN; SET LOCAL synchronous_commit = on; SET LOCAL lock_timeout = '5s'; \
                                SET LOCAL jit = off; SET LOCAL idle_in_transaction_session_timeout = '30s'";

/// The same for what may be undone when the server crashes: the commit waits for no disk.
pub(super) const BEGIN_LAX: &str = "BEGIN; SET LOCAL synchronous_commit = off; SET LOCAL lock_timeout = '5s'; \
                                    SET LOCAL jit = off; SET LOCAL idle_in_transaction_session_timeout = '30s'";

impl Link {
    /// A statement with `@` for the schema, as in `@events`.
    fn sql(&self, sql: &str) -> String {
        sql.replace('@', &self.schema)
    }

    /// The name of the schema.
    pub(super) fn schema_name(&self) -> &str {
        &self.schema_name
    }

    /// The schema, quoted.
    pub(super) fn schema(&self) -> &str {
        self.schema.trim_end_matches('.')
    }

    /// A table of the schema, quoted.
    pub(super) fn table(&self, name: &str) -> String {
        format!("{}{name}", self.schema)
    }

    /// Waits for the server's answer, up to a timeout.
    async fn answer<T>(
        &self,
        answer: impl Future<Output = Result<T, tokio_postgres::Error>>,
    ) -> Result<T, PostgresFault> {
        let answer = tokio::time::timeout(self.timeout, answer).await.map_err(|_| PostgresFault::TimedOut)?;
        Ok(answer?)
    }

    /// The rows of a statement.
    pub(super) async fn rows(&self, sql: &str, values: &Values<'_>) -> Result<Vec<Row>, PostgresFault> {
        self.answer(self.client.query_typed(&self.sql(sql), values)).await
    }

    /// The first row of a statement, if there is one.
    pub(super) async fn row(&self, sql: &str, values: &Values<'_>) -> Result<Option<Row>, PostgresFault> {
        Ok(self.rows(sql, values).await?.into_iter().next())
    }

    /// The one number that a statement gives; 0 for NULL.
    pub(super) async fn number(&self, sql: &str, values: &Values<'_>) -> Result<i64, PostgresFault> {
        let row = self.row(sql, values).await?.ok_or_else(|| PostgresFault::Damaged("a row is missing".to_owned()))?;
        Ok(row.try_get::<_, Option<i64>>(0)?.unwrap_or(0))
    }

    /// Runs a statement; returns how many rows it changed.
    pub(super) async fn execute(&self, sql: &str, values: &Values<'_>) -> Result<u64, PostgresFault> {
        self.answer(self.client.execute_typed(&self.sql(sql), values)).await
    }

    /// Runs statements without values.
    pub(super) async fn batch(&self, sql: &str) -> Result<(), PostgresFault> {
        self.answer(self.client.batch_execute(&self.sql(sql))).await
    }

    /// Runs a statement as a durable transaction of its own, in one round trip: all three parts are sent at once.
    pub(super) async fn commit_one(&self, sql: &str, values: &Values<'_>) -> Result<Vec<Row>, PostgresFault> {
        self.commit_after(BEGIN, sql, values).await
    }

    /// The same, after a transaction was begun in this way.
    pub(super) async fn commit_after(
        &self,
        begin: &str,
        sql: &str,
        values: &Values<'_>,
    ) -> Result<Vec<Row>, PostgresFault> {
        let sql = self.sql(sql);
        let parts = async {
            let begin = self.client.batch_execute(begin);
            let statement = self.client.query_typed(&sql, values);
            let (opened, rows, committed) = tokio::join!(biased; begin, statement, self.client.batch_execute("COMMIT"));
            opened?;
            let rows = rows?;
            committed.map(|()| rows)
        };
        self.answer(parts).await
    }
}
