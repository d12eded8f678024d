//! The integration tests: the real binary, real sockets, a real SQLite file, real shells.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr, missing_docs)]

mod apply;
mod auth;
mod catching_up;
mod check;
mod ci_examples;
mod completions;
mod concurrency;
mod contrib;
mod crash;
mod demo;
mod doctor;
mod events;
mod help;
mod history;
mod http;
mod import_forget;
mod keyring;
mod layout;
mod list;
mod listen;
mod manifest;
mod migrate;
mod new_store;
mod output;
mod polling;
mod postgres;
mod profiles;
mod readme;
mod registry_file;
mod renewal;
mod replace;
mod sandbox;
mod secrets;
mod service_account;
mod store;
mod store_copy;
mod store_story;
mod subscribe;
mod support;
mod tls;
mod trigger;
mod unsubscribe;
mod verify;
mod web;
