//! What URL and environment say about a connection.

use crate::config::{Environment, PostgresUrl};
use crate::domain::is_unsafe_char;
use crate::error::{Error, Result};

/// The URL and the environment.
pub(super) struct Given<'a> {
    pub(super) url: &'a PostgresUrl,
    pub(super) environment: &'a Environment,
}

/// A value, and what errors call it.
#[derive(Clone, Copy)]
pub(super) struct GivenText<'a> {
    pub(super) value: &'a str,
    name: &'static str,
    in_url: bool,
}

impl<'a> Given<'a> {
    /// The value of a parameter, else of a variable.
    pub(super) fn text(&self, parameter: &'static str, variable: &'static str) -> Result<Option<GivenText<'a>>> {
        if let Some(of_url) = self.parameter(parameter) {
            return Ok(Some(of_url));
        }
        let Some(value) = self.environment.text(variable)? else { return Ok(None) };
        let text = GivenText { value, name: variable, in_url: false };
        if value.contains(is_unsafe_char) { Err(text.wrong("contains an invisible character")) } else { Ok(Some(text)) }
    }

    /// The value of a parameter that no variable stands for.
    pub(super) fn parameter(&self, parameter: &'static str) -> Option<GivenText<'a>> {
        self.url.get(parameter).map(|value| GivenText { value, name: parameter, in_url: true })
    }
}

impl GivenText<'_> {
    /// The usage error of a value that is not valid. It does not repeat the value.
    pub(super) fn wrong(&self, what: &str) -> Error {
        let name = self.name;
        let named = if self.in_url { format!("`{name}` in the URL of the store") } else { name.to_owned() };
        Error::usage(format!("{named} {what}"))
    }
}
