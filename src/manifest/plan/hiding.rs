//! Texts about planned hooks, without endpoints that may come from the environment or a file.

use super::PlannedHook;
use crate::domain::{TargetUrl, shown_endpoint, texts_of};

/// What stands in the place of a part of an endpoint.
const HIDDEN: &str = "****";

/// The endpoints that texts about a hook must not repeat.
pub struct HiddenEndpoints<'a> {
    targets: Vec<&'a TargetUrl>,
    /// Endpoints, the longest first, and what each is called: as the manifest has it, or where it is.
    names: Vec<(String, String)>,
    /// What is hidden wherever else it stands, the longest first.
    parts: Vec<String>,
}

impl PlannedHook {
    /// The endpoints that texts about it must not repeat, if there are any: that of the manifest, if it is secret, and that on
    /// record.
    pub fn hidden_endpoints(&self) -> Option<HiddenEndpoints<'_>> {
        if !self.may_be_secret() {
            return None;
        }
        let wanted = self.wanted.as_ref();
        let recorded = self.record.as_ref().map(|record| &record.subscription.target_url);
        let name_of = |target: &TargetUrl| match wanted.filter(|wanted| target.is_same_endpoint(&wanted.target_url)) {
            Some(wanted) => wanted.shown_target.clone(),
            None => shown_endpoint(target),
        };
        let mut names = Vec::new();
        for target in wanted.map(|wanted| &wanted.target_url).into_iter().chain(recorded) {
            names.push((target.expose().to_owned(), name_of(target)));
            names.push((target.redacted().into_owned(), name_of(target)));
        }
        let secret = wanted.filter(|wanted| wanted.is_secret).map(|wanted| &wanted.target_url);
        let targets: Vec<&TargetUrl> = secret.into_iter().chain(recorded).collect();
        let mut parts: Vec<String> = targets.iter().flat_map(|target| texts_of(target)).collect();
        // A part of one that was hidden would leave the rest.
        names.sort_by_key(|(url, _)| std::cmp::Reverse(url.len()));
        parts.sort_by_key(|part| std::cmp::Reverse(part.len()));
        Some(HiddenEndpoints { targets, names, parts })
    }
}

impl HiddenEndpoints<'_> {
    /// The endpoints.
    pub fn targets(&self) -> &[&TargetUrl] {
        &self.targets
    }

    /// Whether a text repeats any of them, or a part that may be a key.
    pub fn is_in(&self, text: &str) -> bool {
        self.parts.iter().any(|part| text.contains(part.as_str()))
    }

    /// The text with names for the endpoints, and without any part of them.
    pub fn hide(&self, text: &str) -> String {
        match self.names.iter().find(|(endpoint, _)| text.contains(endpoint.as_str())) {
            Some((endpoint, name)) => {
                let between: Vec<String> = text.split(endpoint.as_str()).map(|piece| self.hide(piece)).collect();
                between.join(name)
            }
            None => self.parts.iter().fold(text.to_owned(), |text, part| text.replace(part.as_str(), HIDDEN)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_has_its_name_and_parts_of_it_are_hidden() {
        let pair = |url: &str, name: &str| (url.to_owned(), name.to_owned());
        let hidden = HiddenEndpoints {
            targets: Vec::new(),
            names: vec![
                pair("https://h.example/k3y/bugfender", "https://h.example/${KEY}/bugfender"),
                pair("https://h.example/k3y", "https://h.example/…"),
            ],
            parts: vec!["bugfender".to_owned(), "k3y".to_owned()],
        };
        for (text, shown) in [
            ("to https://h.example/k3y/bugfender: no", "to https://h.example/${KEY}/bugfender: no"),
            ("https://h.example/k3y, k3y, /bugfender", "https://h.example/…, ****, /****"),
            ("https://h.example/other", "https://h.example/other"),
        ] {
            assert_eq!((hidden.hide(text).as_str(), hidden.is_in(text)), (shown, text != shown));
        }
    }
}
