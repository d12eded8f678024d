//! What an error of the server's means for the store, and what to do about it.

use rustls::CertificateError;
use tokio_postgres::error::SqlState;

use crate::store::StoreErrorKind;
use StoreErrorKind::{Busy, Damaged, Failed, Full, ReadOnly, System, Unavailable};

/// A kind, what to do, and whether the reason may pass by itself.
#[derive(Debug, Clone, Copy)]
pub(super) struct Diagnosis {
    pub(super) kind: StoreErrorKind,
    pub(super) advice: &'static str,
    pub(super) may_pass: bool,
}

impl Diagnosis {
    pub(super) fn passing(kind: StoreErrorKind, advice: &'static str) -> Self {
        Self { kind, advice, may_pass: true }
    }

    pub(super) fn lasting(kind: StoreErrorKind, advice: &'static str) -> Self {
        Self { kind, advice, may_pass: false }
    }
}

const NO_DATABASE: &str = "make it with `createdb`, or name another one in the URL of the store; without a name it is that \
                           of the user";
pub(super) const NO_RIGHTS: &str = "the role needs CONNECT on the database, and CREATE on it to make the schema; in a schema that another \
                         role has made: USAGE on it, SELECT, INSERT, UPDATE and DELETE on its tables, USAGE on its sequences";
const NO_TABLES: &str =
    "check `schema` in the URL of the store; if tables were removed, restore the database from a backup";
const WRONG_PASSWORD: &str =
    "check the user and the password: in PGPASSWORD, in ~/.pgpass, or in the file of --store @FILE";
const REJECTED: &str = "check the user, and the rules for it in the server's pg_hba.conf; a rule of hostssl needs TLS: add \
                        sslmode=verify-full to the URL of the store";
const TOO_MANY: &str = "close other connections, or raise max_connections of the server or the limit of the role; with many \
                        clients, use PgBouncer";
const STOPPED: &str = "wait until the server is up again";
const STANDBY: &str = "the server may be a standby: name the primary server in the URL of the store; if the database or the \
                       role is set to default_transaction_read_only, change that";
pub(super) const IN_THE_WAY: &str =
    "try again; something else may hold a lock on the tables for long, such as a migration or a backup";

/// What a code of the server's means; PgBouncer has one for almost all that it says.
pub(super) fn of_server(code: &SqlState, message: &str) -> Diagnosis {
    let (lasting, passing) = (Diagnosis::lasting, Diagnosis::passing);
    match code.code() {
        "08P01" => of_pooler(message),
        "3D000" | "57P04" => lasting(Unavailable, NO_DATABASE),
        "28P01" => lasting(Unavailable, WRONG_PASSWORD),
        "42501" => no_rights(),
        "3F000" | "42P01" => lasting(Failed, NO_TABLES),
        "25006" => lasting(ReadOnly, STANDBY),
        "53100" => passing(Full, "free some space on the server's disk"),
        "53200" => passing(System, "the server is out of memory: give it more, or lower its settings for memory"),
        "53300" | "53400" => passing(Unavailable, TOO_MANY),
        "57014" => {
            passing(Busy, "try again; the statement was stopped by somebody, or by the server's statement_timeout")
        }
        "57P01" | "57P02" | "57P03" | "57P05" => passing(Unavailable, STOPPED),
        "58030" | "58P01" => lasting(System, "the server's disk or file system fails: see its log"),
        "XX001" | "XX002" => {
            lasting(Damaged, "the database is damaged: see the server's log, and restore it from a backup")
        }
        other => match &other[..2] {
            "08" => of_lost_connection(),
            "28" => lasting(Unavailable, REJECTED),
            "40" | "55" | "25" => passing(Busy, IN_THE_WAY),
            "53" | "57" => passing(Unavailable, STOPPED),
            "58" | "XX" => lasting(System, "see the server's log"),
            _ => lasting(Failed, "`bugfender-hooks doctor` checks the store; see the server's log"),
        },
    }
}

/// What PgBouncer says means something by its text only, which is never translated.
fn of_pooler(message: &str) -> Diagnosis {
    let says = |text: &str| message.contains(text);
    if says("no more connections allowed") {
        return Diagnosis::passing(Unavailable, "raise max_client_conn of PgBouncer, or close other connections to it");
    }
    if says("no such database") {
        return Diagnosis::lasting(Unavailable, "add the database to the section [databases] of PgBouncer's settings");
    }
    // What the server behind it says.
    if says("database") && says("does not exist") {
        return Diagnosis::lasting(Unavailable, NO_DATABASE);
    }
    if says("authentication failed") || says("no such user") || says("auth failed") {
        return Diagnosis::lasting(
            Unavailable,
            "check user and password; PgBouncer must know the user (auth_file, auth_query)",
        );
    }
    if says("unsupported startup parameter") {
        return Diagnosis::lasting(Unavailable, "name the parameter in ignore_startup_parameters of PgBouncer");
    }
    Diagnosis::passing(Unavailable, "the server behind PgBouncer may be down or overloaded: see PgBouncer's log")
}

/// What the role may not do.
pub(super) fn no_rights() -> Diagnosis {
    Diagnosis::lasting(ReadOnly, NO_RIGHTS)
}

/// A connection that broke, or was never made.
pub(super) fn of_lost_connection() -> Diagnosis {
    Diagnosis::passing(Unavailable, "check the network, and that the server is up")
}

/// A handshake that failed.
pub(super) fn of_tls(error: &rustls::Error) -> Diagnosis {
    Diagnosis::lasting(
        Unavailable,
        match error {
            rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            ) => {
                "use the host name that the server's certificate is for, or issue it one for this name (subjectAltName); \
             sslmode=verify-ca with sslrootcert=FILE accepts any name"
            }
            // One that has the name of the right one, but another key.
            rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer | CertificateError::BadSignature) => {
                "name the authority that signed the server's certificate: add sslrootcert=FILE to the URL of the store, or set \
             PGSSLROOTCERT"
            }
            rustls::Error::InvalidCertificate(CertificateError::Other(_)) => {
                "the server may have the certificate of an authority as its own: issue it one without CA:TRUE, which that \
             authority can sign"
            }
            rustls::Error::InvalidCertificate(_) => {
                "renew the server's certificate, or check the clock of this machine"
            }
            _ => "the server must speak TLS 1.2 or newer; check host and port in the URL of the store",
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_decide_what_may_pass() {
        for (code, kind, may_pass) in [
            ("3D000", Unavailable, false),
            ("28000", Unavailable, false),
            ("42501", ReadOnly, false),
            ("42703", Failed, false),
            ("53100", Full, true),
            ("53300", Unavailable, true),
            ("55P03", Busy, true),
            ("57P03", Unavailable, true),
            ("40P01", Busy, true),
            ("25006", ReadOnly, false),
            ("XX001", Damaged, false),
            ("XX000", System, false),
            ("08006", Unavailable, true),
        ] {
            let found = of_server(&SqlState::from_code(code), "");
            assert_eq!((found.kind, found.may_pass), (kind, may_pass), "{code}");
        }
        let pooler = |text| of_server(&SqlState::PROTOCOL_VIOLATION, text);
        assert!(pooler("no more connections allowed (max_client_conn)").may_pass);
        assert!(!pooler("no such database: x").may_pass && pooler("server login failing").may_pass);
    }
}
