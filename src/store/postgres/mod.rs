//! The store in a PostgreSQL database, for teams: any number of commands, CI jobs and receivers work on it at once.
//!
//! | module | what it does |
//! |---|---|
//! | `options`, `session`, `fault` | where the server is, the connection and its renewal, what goes wrong with it |
//! | `migrations` | the schema |
//! | `inbox`, `registry`, `keys` | the parts of the store |
//!
//! Nothing here needs a session of the server's: no statement is named, no setting or lock outlives its transaction. So
//! PgBouncer may stand in between and give each transaction another connection.

mod fault;
mod options;
mod session;

pub use self::options::ConnectOptions;
