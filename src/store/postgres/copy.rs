//! The rows of a store in a schema, to be copied into another store or out of it.

use tokio_postgres::Row;
use tokio_postgres::types::{ToSql, Type};

use super::fault::PostgresFault;
use super::inbox::sendable;
use super::keys::PostgresKeys;
use super::options::ConnectOptions;
use super::session::{Link, ServerSession, values};
use crate::error::Result;
use crate::store::copy::{Batch, TABLES};
use crate::store::error::{NAME_AN_EMPTY_STORE, Part, STOP_RECEIVERS};
use crate::store::{
    ColumnKind, CopiedRow, CopiedTable, CopiedValue, CopyState, Keys, LastNumbers, StoreError, StoreErrorKind,
    StoreExport, StoreImport,
};

/// The place of an event among those with its key.
const ORDINAL: &str = "coalesce((SELECT max(k.ordinal) + 1 FROM @events k WHERE k.key = r.key), 0) \
                       + row_number() OVER (PARTITION BY r.key ORDER BY r.id) - 1";

/// A store in a schema that is there.
pub(super) struct PostgresCopy {
    session: ServerSession,
    keys: PostgresKeys,
    place: String,
}

impl PostgresCopy {
    pub(super) fn new(session: ServerSession, options: &ConnectOptions) -> Self {
        Self { session, keys: PostgresKeys::new(options.clone()), place: options.shown().to_owned() }
    }

    /// The outcome of something that is about a table.
    fn outcome<T>(&self, table: &CopiedTable, outcome: Result<T, PostgresFault>) -> Result<T> {
        let part = if table.is_of_registry { Part::Registry } else { Part::Inbox };
        Ok(outcome.map_err(|fault| fault.at(part, &self.place))?)
    }

    fn refused(&self, kind: StoreErrorKind, what: &str, advice: &'static str) -> StoreError {
        StoreError::new(Part::Inbox, &*self.place, kind, what, advice)
    }
}

/// The expression for the key of a row.
fn key(table: &CopiedTable) -> &'static str {
    if table.is_of_attempts() { "forward * 16 + slot" } else { table.key_column() }
}

/// The order of the keys, in both directions, and the condition for those behind `$1`.
fn order(table: &CopiedTable) -> (String, String, String) {
    if table.is_of_attempts() {
        let behind = "(forward, slot) > ($1 / 16, ($1 % 16)::smallint)";
        return ("forward, slot".to_owned(), "forward DESC, slot DESC".to_owned(), behind.to_owned());
    }
    let key = table.key_column();
    (key.to_owned(), format!("{key} DESC"), format!("{key} > $1"))
}

/// Selects a batch. Of large rows, which have to be read as a whole, as many as fill it.
fn select(table: &CopiedTable) -> String {
    let column = |(name, kind): &(&str, ColumnKind)| match kind {
        ColumnKind::Number | ColumnKind::Second => format!("{name}::bigint"),
        ColumnKind::Text | ColumnKind::Bytes => (*name).to_owned(),
    };
    let columns = table.columns.iter().map(column).collect::<Vec<_>>().join(", ");
    let ((order, _, behind), name, rows) = (order(table), table.name, Batch::ROWS);
    let Some(large) = table.large else {
        return format!("SELECT {columns} FROM @{name} WHERE {behind} ORDER BY {order} LIMIT {rows}");
    };
    let bytes = Batch::BYTES;
    format!(
        "SELECT {columns} FROM @{name} WHERE {behind} AND id <= (
             SELECT max(id) FROM (
                 SELECT id, sum(bytes) OVER (ORDER BY id) - bytes AS before FROM (
                     SELECT id, octet_length({large}) AS bytes FROM @{name} WHERE {behind} ORDER BY id LIMIT {rows}) b) b
             WHERE before < {bytes})
         ORDER BY id"
    )
}

fn insert(table: &CopiedTable) -> String {
    let names = table.columns.iter().map(|(name, _)| *name).collect::<Vec<_>>();
    let array = |(place, (_, kind)): (usize, &(&str, ColumnKind))| {
        let array = match kind {
            ColumnKind::Number | ColumnKind::Second => "bigint",
            ColumnKind::Text => "text",
            ColumnKind::Bytes => "bytea",
        };
        format!("${}::{array}[]", place + 1)
    };
    let arrays = table.columns.iter().enumerate().map(array).collect::<Vec<_>>().join(", ");
    let columns = names.join(", ");
    let read = names.iter().map(|name| format!("r.{name}")).collect::<Vec<_>>().join(", ");
    let (also, ordinal) =
        if table.name == "events" { (", ordinal", format!(", {ORDINAL}")) } else { ("", String::new()) };
    format!(
        "INSERT INTO @{} ({columns}{also}) OVERRIDING SYSTEM VALUE
         SELECT {read}{ordinal} FROM unnest({arrays}) AS r ({columns})",
        table.name
    )
}

fn read(row: &Row, table: &CopiedTable) -> Result<CopiedRow, PostgresFault> {
    let value = |(place, (_, kind)): (usize, &(&str, ColumnKind))| {
        let value = match kind {
            ColumnKind::Number | ColumnKind::Second => row.try_get::<_, Option<i64>>(place)?.map(CopiedValue::Number),
            ColumnKind::Text => row.try_get::<_, Option<String>>(place)?.map(CopiedValue::Text),
            ColumnKind::Bytes => row.try_get::<_, Option<Vec<u8>>>(place)?.map(CopiedValue::Bytes),
        };
        Ok(value.unwrap_or(CopiedValue::Empty))
    };
    table.columns.iter().enumerate().map(value).collect()
}

/// A column of many rows, as it is sent.
fn column(rows: &[CopiedRow], place: usize, kind: ColumnKind) -> (Box<dyn ToSql + Sync + '_>, Type) {
    let values = rows.iter().map(|row| &row[place]);
    match kind {
        ColumnKind::Number | ColumnKind::Second => {
            (Box::new(values.map(CopiedValue::number).collect::<Vec<_>>()), Type::INT8_ARRAY)
        }
        ColumnKind::Text => {
            let texts = values.map(|value| value.text().map(sendable));
            (Box::new(texts.collect::<Vec<_>>()), Type::TEXT_ARRAY)
        }
        ColumnKind::Bytes => (Box::new(values.map(CopiedValue::bytes).collect::<Vec<_>>()), Type::BYTEA_ARRAY),
    }
}

/// What gives numbers of each kind: a sequence, or that of a column of a table.
const SEQUENCES: [(&str, Option<&str>); 7] = [
    ("row_ids", None),
    ("history", Some("number")),
    ("delivery_ids", None),
    ("event_ids", None),
    ("forward_ids", None),
    ("targets", Some("id")),
    ("quarantine", Some("id")),
];

/// Tables whose rows are numbered one after another, and never removed.
const COUNTED: [&str; 3] = ["arrivals", "polls", "missed"];

/// The sequence whose name is `$1`, or that of the column `$2` of the table `$1`.
const SEQUENCE: &str =
    "CASE WHEN $2::text IS NULL THEN $1::text ELSE pg_catalog.pg_get_serial_sequence($1, $2) END::regclass";

async fn last_numbers(link: &Link) -> Result<[i64; SEQUENCES.len()], PostgresFault> {
    let mut numbers = [0; SEQUENCES.len()];
    for (number, (name, column)) in numbers.iter_mut().zip(SEQUENCES) {
        let sql = format!("SELECT pg_catalog.pg_sequence_last_value({SEQUENCE})");
        *number = link.number(&sql, values![link.table(name) => TEXT, column => TEXT]).await?;
    }
    Ok(numbers)
}

async fn is_empty(link: &Link) -> Result<bool, PostgresFault> {
    for table in TABLES.iter().map(|table| table.name).chain(["receiver_keys"]) {
        let sql = format!("SELECT 1 FROM @{table} LIMIT 1");
        if link.row(&sql, values![]).await?.is_some() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Takes the store for a copy; `None` if it holds something else.
async fn begin(link: &Link, source: &str) -> Result<Option<CopyState>, PostgresFault> {
    link.batch("LOCK TABLE @copied IN SHARE ROW EXCLUSIVE MODE").await?;
    let found = link.row("SELECT done FROM @copied WHERE source = $1", values![source => TEXT]).await?;
    if let Some(found) = found {
        return Ok(Some(if found.try_get(0)? { CopyState::Complete } else { CopyState::Interrupted }));
    }
    if !is_empty(link).await? {
        return Ok(None);
    }
    let note = "INSERT INTO @copied (id, source, done) VALUES (1, $1, false)
                ON CONFLICT (id) DO UPDATE SET source = excluded.source, done = false";
    link.execute(note, values![source => TEXT]).await?;
    Ok(Some(CopyState::New))
}

impl StoreExport for PostgresCopy {
    fn place(&self) -> String {
        self.place.clone()
    }

    fn count(&mut self, table: &'static CopiedTable) -> Result<u64> {
        let sql = format!("SELECT count(*) FROM @{}", table.name);
        let count = self.session.try_run(async |link| link.number(&sql, values![]).await);
        Ok(u64::try_from(self.outcome(table, count)?).unwrap_or(0))
    }

    fn rows(&mut self, table: &'static CopiedTable, after: i64) -> Result<Vec<CopiedRow>> {
        let sql = select(table);
        let rows = self.session.try_run(async |link| {
            let rows = link.rows(&sql, values![after => INT8]).await?;
            rows.iter().map(|row| read(row, table)).collect()
        });
        self.outcome(table, rows)
    }

    fn last_numbers(&mut self) -> Result<LastNumbers> {
        let [rows, changes, deliveries, events, forwards, targets, quarantined] = self.session.run(last_numbers)?;
        Ok(LastNumbers { rows, changes, deliveries, events, forwards, targets, quarantined })
    }

    fn keys(&mut self) -> Result<Option<Keys>> {
        self.keys.existing()
    }

    fn check_idle(&mut self) -> Result<()> {
        let sql = "SELECT 1 FROM @roles WHERE name = 'receiver' AND until > now() LIMIT 1";
        if self.session.run(async |link| link.row(sql, values![]).await)?.is_some() {
            let what = "a `bugfender-hooks listen` receives into it";
            return Err(self.refused(StoreErrorKind::InUse, what, STOP_RECEIVERS).into());
        }
        Ok(())
    }
}

impl StoreImport for PostgresCopy {
    fn begin(&mut self, source: &str) -> Result<CopyState> {
        let begun = self.session.commit(async |link| begin(link, source).await)?;
        let what = "it holds something else than a copy of that store";
        Ok(begun.ok_or_else(|| self.refused(StoreErrorKind::Foreign, what, NAME_AN_EMPTY_STORE))?)
    }

    fn reached(&mut self, table: &'static CopiedTable) -> Result<i64> {
        let sql = format!("SELECT ({})::bigint FROM @{} ORDER BY {} LIMIT 1", key(table), table.name, order(table).1);
        let row = self.session.try_run(async |link| link.row(&sql, values![]).await);
        Ok(self.outcome(table, row)?.map_or(0, |row| row.get(0)))
    }

    fn write(&mut self, table: &'static CopiedTable, rows: &[CopiedRow]) -> Result<()> {
        let sql = insert(table);
        let columns = table.columns.iter().enumerate();
        let columns: Vec<_> = columns.map(|(place, (_, kind))| column(rows, place, *kind)).collect();
        let values: Vec<(&(dyn ToSql + Sync), Type)> =
            columns.iter().map(|(array, of)| (&**array, of.clone())).collect();
        let written = self.session.try_commit(async |link| link.execute(&sql, &values).await);
        self.outcome(table, written.map(drop))
    }

    fn raise_numbers(&mut self, numbers: &LastNumbers) -> Result<()> {
        let LastNumbers { rows, changes, deliveries, events, forwards, targets, quarantined } = *numbers;
        let wanted = [rows, changes, deliveries, events, forwards, targets, quarantined];
        Ok(self.session.commit(async |link| {
            let given = last_numbers(link).await?;
            for ((wanted, given), (name, column)) in wanted.into_iter().zip(given).zip(SEQUENCES) {
                if wanted > given {
                    let sql = format!("SELECT pg_catalog.setval({SEQUENCE}, $3)");
                    let values = values![link.table(name) => TEXT, column => TEXT, wanted => INT8];
                    link.rows(&sql, values).await?;
                }
            }
            for name in COUNTED {
                let sql = format!("SELECT pg_catalog.setval({SEQUENCE}, max(id)) FROM @{name} HAVING max(id) > 0");
                link.rows(&sql, values![link.table(name) => TEXT, "id" => TEXT]).await?;
            }
            Ok(())
        })?)
    }

    fn put_keys(&mut self, keys: &Keys) -> Result<()> {
        self.keys.put(keys)
    }

    fn finish(&mut self) -> Result<()> {
        let done = "UPDATE @copied SET done = true WHERE id = 1";
        Ok(self.session.commit(async |link| link.execute(done, values![]).await.map(drop))?)
    }
}
