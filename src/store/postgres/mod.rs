//! The store in a PostgreSQL database, for teams: any number of commands, CI jobs and receivers work on it at once.
//!
//! | module | what it does |
//! |---|---|
//! | `options`, `given`, `password`, `tls` | where the server is, from URL and environment; signing in, and as whom it must prove itself |
//! | `connect`, `server`, `session` | making a connection, and its renewal |
//! | `fault`, `diagnosis` | what goes wrong with it, and what to do about that |
//! | `migrations` | the schema |
//! | `inbox`, `registry`, `keys` | the parts of the store |
//!
//! Nothing here needs a session of the server's: no statement is named, no setting or lock outlives its transaction. So
//! PgBouncer may stand in between and give each transaction another connection.

mod connect;
mod diagnosis;
mod fault;
mod given;
mod options;
mod password;
mod probe;
mod server;
mod session;
mod tls;

pub use self::options::{Authorities, ConnectOptions};
