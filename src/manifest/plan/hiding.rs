//! Texts about planned hooks, without endpoints that may come from the environment or a file.

use std::cmp::Reverse;

use super::PlannedHook;
use crate::domain::{TargetUrl, shown_endpoint, texts_of};

/// What stands in the place of a part of an endpoint.
const HIDDEN: &str = "****";

/// What stands in the command lines of hints, whatever a part of an endpoint is called.
const PROGRAM: &str = env!("CARGO_PKG_NAME");

/// The endpoints that texts about a hook must not repeat.
pub struct HiddenEndpoints<'a> {
    targets: Vec<&'a TargetUrl>,
    /// Texts, and what stands in their place, the longest first: a part of one that was hidden would leave the rest.
    replacements: Vec<(String, String)>,
}

impl PlannedHook {
    /// The endpoints that texts about it must not repeat, if there are any: that of the manifest, if it is secret, and that on
    /// record.
    pub fn hidden_endpoints(&self) -> Option<HiddenEndpoints<'_>> {
        if !self.may_be_secret() {
            return None;
        }
        let wanted = self.wanted.as_ref().map(|wanted| (&wanted.target_url, wanted.shown_target.as_str()));
        let recorded = self.record.as_ref().map(|record| &record.subscription.target_url);
        let name_of = |target: &TargetUrl| match wanted {
            Some((url, shown)) if target.is_same_endpoint(url) => shown.to_owned(),
            _ => shown_endpoint(target),
        };
        let mut replacements = vec![(PROGRAM.to_owned(), PROGRAM.to_owned())];
        for target in wanted.map(|wanted| wanted.0).into_iter().chain(recorded) {
            replacements.push((target.expose().to_owned(), name_of(target)));
            replacements.push((target.redacted().into_owned(), name_of(target)));
        }
        let is_secret = self.wanted.as_ref().is_some_and(|wanted| wanted.is_secret);
        let secret = wanted.filter(|_| is_secret).map(|wanted| wanted.0);
        let targets: Vec<&TargetUrl> = secret.into_iter().chain(recorded).collect();
        // What the manifest says in the open, such as the last part of a path, is no secret: it may be an ordinary word.
        let shown = wanted.map_or("", |(_, shown)| shown);
        let is_open = |part: &str| shown.split(['/', '?', '&', '=', '#']).any(|open| open == part);
        let parts = targets.iter().flat_map(|target| texts_of(target)).filter(|part| !is_open(part));
        replacements.extend(parts.map(|part| (part, HIDDEN.to_owned())));
        // Of the same text, the name stays before the part.
        replacements.sort_by_key(|(text, _)| Reverse(text.len()));
        Some(HiddenEndpoints { targets, replacements })
    }
}

impl HiddenEndpoints<'_> {
    /// The endpoints.
    pub fn targets(&self) -> &[&TargetUrl] {
        &self.targets
    }

    /// Whether a text repeats any of them, or a part that may be a key.
    pub fn is_in(&self, text: &str) -> bool {
        self.hide(text) != text
    }

    /// The text with names for the endpoints, and without any other part of them.
    pub fn hide(&self, text: &str) -> String {
        let Some((hidden, shown)) = self.replacements.iter().find(|(hidden, _)| text.contains(hidden.as_str())) else {
            return text.to_owned();
        };
        let between: Vec<String> = text.split(hidden.as_str()).map(|piece| self.hide(piece)).collect();
        between.join(shown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_has_its_name_and_parts_of_it_are_hidden() {
        let pairs = [
            ("https://h.example/k3y/bugfender", "https://h.example/${KEY}/bugfender"),
            ("https://h.example/k3y", "https://h.example/…"),
            (PROGRAM, PROGRAM),
            ("bugfender", HIDDEN),
            ("k3y", HIDDEN),
        ];
        let replacements = pairs.map(|(hidden, shown)| (hidden.to_owned(), shown.to_owned())).to_vec();
        let hidden = HiddenEndpoints { targets: Vec::new(), replacements };
        for (text, shown) in [
            ("to https://h.example/k3y/bugfender: no", "to https://h.example/${KEY}/bugfender: no"),
            ("https://h.example/k3y, k3y, /bugfender", "https://h.example/…, ****, /****"),
            ("run bugfender-hooks at https://h.example/other", "run bugfender-hooks at https://h.example/other"),
        ] {
            assert_eq!((hidden.hide(text).as_str(), hidden.is_in(text)), (shown, text != shown));
        }
    }
}
