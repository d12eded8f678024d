//! Schema versions. A version once released is never edited; changes come as a further file. In them `@` stands for the
//! schema, as in all statements here.

use super::fault::PostgresFault;
use super::session::{Link, ServerSession, values};

/// Every version's step, first to last.
const STEPS: &[&str] = &[
    include_str!("../../../migrations/postgres/0001.sql"),
    include_str!("../../../migrations/postgres/0002.sql"),
    include_str!("../../../migrations/postgres/0003.sql"),
];

/// The table that says which steps were taken.
const VERSIONS: &str =
    "CREATE TABLE @migrations (version bigint PRIMARY KEY, made_at timestamptz NOT NULL DEFAULT now());\n";

/// The newest version.
pub(super) fn known() -> i64 {
    i64::try_from(STEPS.len()).unwrap_or(i64::MAX)
}

/// The version that the schema has: 0 if it is not there.
pub(super) async fn version(link: &Link) -> Result<i64, PostgresFault> {
    if !has_table(link, "migrations").await? {
        return Ok(0);
    }
    let found = link.number("SELECT max(version) FROM @migrations", values![]).await?;
    if found > known() {
        return Err(PostgresFault::Newer { found, known: known() });
    }
    Ok(found)
}

/// Whether the schema has a table of this name.
pub(super) async fn has_table(link: &Link, name: &str) -> Result<bool, PostgresFault> {
    // By a query of the catalog: what functions such as to_regclass know may be of a time before this statement.
    let sql =
        "SELECT EXISTS (SELECT 1 FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
                              WHERE n.nspname = $1::text::name AND c.relname = $2::text::name)";
    let row = link.row(sql, values![link.schema_name() => TEXT, name => TEXT]).await?;
    Ok(row.is_some_and(|row| row.get(0)))
}

/// Brings the schema to the newest version, unless it is.
///
/// One process does it at a time, in one transaction: whoever is killed leaves nothing half done.
pub(super) fn prepare(session: &ServerSession) -> Result<(), PostgresFault> {
    if session.try_run(version)? == known() {
        return Ok(());
    }
    session.try_commit(async |link| {
        lock(link).await?;
        // Another process may have done it by now.
        let from = version(link).await?;
        if from == 0 {
            // Who may not make schemas may have been given one.
            let exists = "SELECT EXISTS (SELECT 1 FROM pg_catalog.pg_namespace WHERE nspname = $1::text::name)";
            let exists = link.row(exists, values![link.schema_name() => TEXT]).await?;
            if !exists.is_some_and(|row| row.get(0)) {
                link.batch(&format!("CREATE SCHEMA {}", link.schema())).await?;
            }
            link.batch(VERSIONS).await?;
        }
        for (step, version) in STEPS.iter().zip(1_i64..).filter(|(_, version)| *version > from) {
            link.batch(step).await?;
            link.execute("INSERT INTO @migrations (version) VALUES ($1)", values![version => INT8]).await?;
        }
        Ok(())
    })
}

/// What has to be run to bring the schema from this version to the newest; nothing if it is.
pub(super) fn script(prefix: &str, from: i64) -> String {
    if from == known() {
        return String::new();
    }
    let schema = format!("CREATE SCHEMA IF NOT EXISTS {};\n{VERSIONS}", prefix.trim_end_matches('.'));
    let begin = if from == 0 { schema } else { String::new() };
    let steps = STEPS.iter().zip(1_i64..).filter(|(_, version)| *version > from);
    let steps = steps.map(|(step, version)| format!("{step}INSERT INTO @migrations (version) VALUES ({version});\n"));
    let body: String = std::iter::once(begin).chain(steps).collect();
    format!("BEGIN;\n{}COMMIT;\n", body.replace('@', prefix))
}

/// Checks whether the schema can be made, or is there and can be filled.
pub(super) async fn check_creatable(link: &Link) -> Result<(), PostgresFault> {
    let sql = "SELECT coalesce(has_schema_privilege(to_regnamespace($1), 'CREATE'),
                               has_database_privilege(current_database(), 'CREATE'))";
    let row = link.row(sql, values![link.schema() => TEXT]).await?;
    if row.is_some_and(|row| row.get(0)) { Ok(()) } else { Err(PostgresFault::NoRights(link.schema().to_owned())) }
}

/// Keeps other processes from migrating until this transaction ends.
async fn lock(link: &Link) -> Result<(), PostgresFault> {
    link.batch("SET LOCAL lock_timeout = '30s'").await?;
    let sql = "SELECT pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtextextended($1, 0))";
    link.rows(sql, values![format!("bugfender-hooks migration of {}", link.schema()) => TEXT]).await?;
    Ok(())
}
