//! The documentation keeps its word: its blocks run, its links lead somewhere, its reference is the code's, and the book
//! is built and searched.

pub mod blocks;
mod book;
mod links;
pub mod pages;
mod picture;
mod reference;
