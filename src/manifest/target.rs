//! The endpoints of a manifest: as they are written, from variables (`${NAME}`) and from files (`@FILE`).

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::diagnostics::{Diagnostics, Spot};
use crate::config::environment;
use crate::config::text_file::read_file;
use crate::config::toml_text::shown_key;
use crate::domain::TargetUrl;
use crate::error::Error;

/// The credentials of this tool, which are for Bugfender and the store alone.
const OWN_SECRETS: [&str; 4] =
    [environment::API_TOKEN, environment::REFRESH_TOKEN, environment::CLIENT_SECRET, environment::PGPASSWORD];

/// What is done about variables that are not set and files that are not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MissingValues {
    /// They are errors.
    Refuse,
    /// They are warnings: the endpoint stays unknown.
    Tolerate,
}

/// An endpoint.
pub(super) struct ManifestTarget {
    /// It may be unknown if missing values are tolerated.
    pub(super) url: Option<TargetUrl>,
    /// As it is written, without passwords.
    pub(super) shown: String,
    /// Whether a part of it comes from the environment or a file.
    pub(super) is_secret: bool,
    /// The same number for the same endpoint.
    pub(super) endpoint: usize,
}

/// Resolves endpoints, each once.
pub(super) struct TargetResolver<'v> {
    variable: &'v dyn Fn(&str) -> Option<String>,
    missing: MissingValues,
    known: HashMap<String, Rc<ManifestTarget>>,
    endpoints: HashMap<String, usize>,
    /// The variables and files that were said to be missing.
    said: HashSet<String>,
    /// The files that endpoints were read from.
    files: Vec<PathBuf>,
}

/// What came of looking an endpoint up. What is wrong was said.
enum Lookup {
    Wrong,
    Unknown,
    Found(TargetUrl),
}

/// An endpoint as it is written.
struct WrittenTarget {
    lookup: Lookup,
    /// What is shown of one that is not written as it is.
    shown: Option<String>,
}

impl WrittenTarget {
    /// The endpoint, if it is known, and what is shown of it.
    fn checked(self, spot: Spot, diagnostics: &mut Diagnostics) -> Option<(Option<TargetUrl>, String)> {
        match (self.lookup, self.shown) {
            (Lookup::Wrong, _) => None,
            (Lookup::Unknown, shown) => Some((None, shown.unwrap_or_default())),
            (Lookup::Found(url), _) if url.is_redacted() => {
                let wrong = Error::usage("`target_url` has a redacted password (****)");
                diagnostics.error(spot, wrong.hint("use ${NAME} for the password, or @FILE for all of the URL"));
                None
            }
            (Lookup::Found(url), Some(shown)) => Some((Some(url), shown)),
            (Lookup::Found(url), None) => {
                if url.has_secret() {
                    warn_of_password(spot, diagnostics);
                }
                let shown = url.redacted().into_owned();
                Some((Some(url), shown))
            }
        }
    }
}

impl<'v> TargetResolver<'v> {
    pub(super) fn new(variable: &'v dyn Fn(&str) -> Option<String>, missing: MissingValues) -> Self {
        let (known, endpoints, said) = (HashMap::new(), HashMap::new(), HashSet::new());
        Self { variable, missing, known, endpoints, said, files: Vec::new() }
    }

    /// The files that endpoints were read from.
    pub(super) fn into_files(self) -> Vec<PathBuf> {
        self.files
    }

    /// The endpoint that a value of `target_url` stands for, in a file in `dir`.
    pub(super) fn resolve(
        &mut self,
        text: &str,
        spot: Spot,
        dir: &Path,
        diagnostics: &mut Diagnostics,
    ) -> Option<Rc<ManifestTarget>> {
        let text = text.trim();
        if text == "@" {
            diagnostics.wrong(spot, "`target_url` names no file: it is written as @FILE");
            return None;
        }
        let path = text.strip_prefix('@').map(|path| dir.join(path));
        let key = path.as_ref().map_or(Cow::Borrowed(text), |path| Cow::Owned(format!("@{}", path.display())));
        if let Some(known) = self.known.get(&*key) {
            return Some(known.clone());
        }
        let written = match &path {
            Some(path) => WrittenTarget { lookup: self.in_file(path, spot, diagnostics), shown: Some(text.to_owned()) },
            None => self.written(text, spot, diagnostics)?,
        };
        let is_secret = written.shown.is_some();
        let (url, shown) = written.checked(spot, diagnostics)?;
        let endpoint = url.as_ref().map_or_else(|| format!("?{key}"), |url| url.endpoint().into_owned());
        let next = self.endpoints.len();
        let endpoint = *self.endpoints.entry(endpoint).or_insert(next);
        let target = Rc::new(ManifestTarget { url, shown, is_secret, endpoint });
        self.known.insert(key.into_owned(), Rc::clone(&target));
        Some(target)
    }

    /// An endpoint that is written as a URL, maybe with variables.
    fn written(&mut self, text: &str, spot: Spot, diagnostics: &mut Diagnostics) -> Option<WrittenTarget> {
        let parts = parts(text).map_err(|what| diagnostics.wrong(spot, what)).ok()?;
        let has_variables = parts.iter().any(|part| matches!(part, TextPart::Variable(_)));
        let shown = has_variables.then(|| {
            redacted_template(text).map_or_else(
                || text.to_owned(),
                |redacted| {
                    warn_of_password(spot, diagnostics);
                    redacted
                },
            )
        });
        Some(WrittenTarget { lookup: self.expanded(&parts, spot, diagnostics), shown })
    }

    fn expanded(&mut self, parts: &[TextPart], spot: Spot, diagnostics: &mut Diagnostics) -> Lookup {
        let (mut text, mut lookup) = (String::new(), None);
        for part in parts {
            match part {
                TextPart::Literal(literal) => text.push_str(literal),
                TextPart::Variable(name) if OWN_SECRETS.contains(name) => {
                    diagnostics.wrong(spot, format!("{name} is a credential of bugfender-hooks: it is never in a URL"));
                    lookup = Some(Lookup::Wrong);
                }
                TextPart::Variable(name) => {
                    if let Some(value) = (self.variable)(name).filter(|value| !value.is_empty()) {
                        text.push_str(&value);
                        continue;
                    }
                    let message = format!("the variable {} is not set", shown_key(name));
                    let missing = self.missing(name, message, spot, diagnostics);
                    lookup.get_or_insert(missing);
                }
            }
        }
        lookup.unwrap_or_else(|| parsed(text.parse(), spot, diagnostics))
    }

    fn in_file(&mut self, path: &Path, spot: Spot, diagnostics: &mut Diagnostics) -> Lookup {
        match read_file(path) {
            Err(error) if !path.exists() => {
                let name = format!("@{}", path.display());
                self.missing(&name, error.message().to_owned(), spot, diagnostics)
            }
            Err(error) => {
                diagnostics.error(spot, error);
                Lookup::Wrong
            }
            Ok(text) => {
                self.files.push(path.to_owned());
                parsed(text.parse().map_err(|error: Error| error.about(path.display())), spot, diagnostics)
            }
        }
    }

    /// Says once that a value is missing. The endpoint is unknown then, which does not hide what else is wrong.
    fn missing(&mut self, name: &str, message: String, spot: Spot, diagnostics: &mut Diagnostics) -> Lookup {
        if self.said.insert(name.to_owned()) {
            match self.missing {
                MissingValues::Tolerate => diagnostics.warning(spot, message),
                MissingValues::Refuse => diagnostics.wrong(spot, message),
            }
        }
        Lookup::Unknown
    }
}

fn parsed(url: Result<TargetUrl, Error>, spot: Spot, diagnostics: &mut Diagnostics) -> Lookup {
    match url {
        Ok(url) => Lookup::Found(url),
        Err(error) => {
            diagnostics.error(spot, error);
            Lookup::Wrong
        }
    }
}

fn warn_of_password(spot: Spot, diagnostics: &mut Diagnostics) {
    diagnostics.warning(spot, "`target_url` has a password in it: ${NAME} or @FILE would keep it out of the manifest");
}

/// A part of a value with variables.
#[derive(Debug, PartialEq, Eq)]
enum TextPart<'a> {
    Literal(&'a str),
    Variable(&'a str),
}

/// Takes a value apart; the error repeats none of it.
fn parts(text: &str) -> Result<Vec<TextPart<'_>>, &'static str> {
    let (mut parts, mut rest) = (Vec::new(), text);
    while let Some((before, after)) = rest.split_once('$') {
        parts.push(TextPart::Literal(before));
        if let Some(after) = after.strip_prefix('$') {
            parts.push(TextPart::Literal("$"));
            rest = after;
            continue;
        }
        let Some(inside) = after.strip_prefix('{') else {
            return Err("`$` begins a variable, as in ${NAME}; a dollar sign is written as $$");
        };
        let (name, after) = inside.split_once('}').unwrap_or_default();
        if !is_variable(name) {
            return Err("a variable is written as ${NAME}, with letters, digits and _ in its name");
        }
        parts.push(TextPart::Variable(name));
        rest = after;
    }
    parts.push(TextPart::Literal(rest));
    Ok(parts)
}

fn is_variable(name: &str) -> bool {
    !name.starts_with(|c: char| c.is_ascii_digit())
        && !name.is_empty()
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// A URL with variables in it, without a password that is not one of them; `None` if it has none.
fn redacted_template(text: &str) -> Option<String> {
    let start = text.find("://").map_or(0, |scheme| scheme + 3);
    let end = text[start..].find(['/', '?', '#', '\\']).map_or(text.len(), |end| start + end);
    let at = start + text[start..end].rfind('@')?;
    let (user, password) = match text[start..at].split_once(':') {
        Some((user, password)) => (format!("{user}:"), password),
        None => (String::new(), &text[start..at]),
    };
    let has_literal = parts(password)
        .map_or(true, |parts| parts.iter().any(|part| matches!(part, TextPart::Literal(text) if !text.is_empty())));
    has_literal.then(|| format!("{}{user}****{}", &text[..start], &text[at..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_and_dollars_are_told_apart() {
        use TextPart::{Literal, Variable};
        assert_eq!(
            parts("a$$b${C_1}"),
            Ok(vec![Literal("a"), Literal("$"), Literal("b"), Variable("C_1"), Literal("")])
        );
        for wrong in ["$", "$A", "${", "${}", "${A", "${1}", "${A B}", "${A-b}", "${A:-b}"] {
            assert!(parts(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn only_passwords_that_are_written_are_redacted() {
        let shown = |text: &str| redacted_template(text).unwrap_or_else(|| text.to_owned());
        for (text, expected) in [
            ("https://h.example/${KEY}", "https://h.example/${KEY}"),
            ("https://ci:${PW}@h.example/", "https://ci:${PW}@h.example/"),
            ("https://${TOKEN}@h.example/", "https://${TOKEN}@h.example/"),
            ("https://ci:s3cret@h.example/${KEY}", "https://ci:****@h.example/${KEY}"),
            ("https://s3cret@${HOST}/x", "https://****@${HOST}/x"),
            ("https://ci:a${B}@h.example", "https://ci:****@h.example"),
            ("https://h.example/a@b/${KEY}", "https://h.example/a@b/${KEY}"),
            ("${BASE}/a@b", "${BASE}/a@b"),
            ("${SCHEME}ci:s3cret@h.example/", "${SCHEME}ci:****@h.example/"),
        ] {
            assert_eq!(shown(text), expected);
        }
    }
}
