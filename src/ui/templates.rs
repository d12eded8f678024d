//! The templates of the page. All that they are given is escaped but what [`SafeHtml`](super::markdown) made.

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use minijinja::value::Value;
use minijinja::{AutoEscape, Environment, UndefinedBehavior, context};

use super::{PageState, assets};
use crate::error::{Error, ErrorKind, Result};

/// The templates by their names.
const SOURCES: &[(&str, &str)] = &[
    ("layout.html", include_str!("templates/layout.html")),
    ("events.html", include_str!("templates/events.html")),
    ("rows.html", include_str!("templates/rows.html")),
    ("event.html", include_str!("templates/event.html")),
    ("overview.html", include_str!("templates/overview.html")),
    ("targets.html", include_str!("templates/targets.html")),
    ("quarantine.html", include_str!("templates/quarantine.html")),
    ("quarantined.html", include_str!("templates/quarantined.html")),
    ("hooks.html", include_str!("templates/hooks.html")),
    ("history.html", include_str!("templates/history.html")),
    ("job.html", include_str!("templates/job.html")),
    ("sign_in.html", include_str!("templates/sign_in.html")),
    ("failure.html", include_str!("templates/failure.html")),
];

/// What a template is filled in with: names with values that can be serialised, and behind a semicolon more of them.
macro_rules! content {
    (@value $key:ident) => { minijinja::value::Value::from(minijinja::value::Serde(&$key)) };
    (@value $key:ident, $value:expr) => { minijinja::value::Value::from(minijinja::value::Serde(&$value)) };
    ($($key:ident $(=> $value:expr)?),* $(,)?) => {
        minijinja::context! { $($key => content!(@value $key $(, $value)?)),* }
    };
    ($($key:ident $(=> $value:expr)?),*; $rest:expr) => {
        minijinja::context! { $($key => content!(@value $key $(, $value)?),)* ..$rest }
    };
}
pub(super) use content;

/// The environment of all templates.
pub(super) struct Templates(Environment<'static>);

impl Templates {
    /// Reads them.
    ///
    /// # Errors
    /// When one is wrong, which is a bug.
    pub(super) fn new() -> Result<Self> {
        let mut environment = Environment::new();
        environment.set_auto_escape_callback(|_| AutoEscape::Html);
        environment.set_undefined_behavior(UndefinedBehavior::SemiStrict);
        for (name, source) in SOURCES {
            environment.add_template(name, source).map_err(|error| wrong(&error))?;
        }
        Ok(Self(environment))
    }

    /// Fills a template in.
    pub(super) fn render(&self, page: &PageState, name: &str, content: Value) -> Result<String> {
        let options = &page.options;
        let common = context! {
            base => options.base_path.clone(),
            read_only => options.read_only,
            style => assets::STYLE.address(),
            script => assets::SCRIPT.address(),
            icon => assets::ICON.address(),
            may_sign_out => options.access.has_token(),
            ..content
        };
        let template = self.0.get_template(name).map_err(|error| wrong(&error))?;
        template.render(common).map_err(|error| wrong(&error))
    }

    /// A response with a page.
    pub(super) fn respond(&self, page: &PageState, status: StatusCode, name: &str, content: Value) -> Response<Body> {
        match self.render(page, name, content) {
            Ok(html) => html_response(status, html),
            Err(error) => {
                tracing::error!(%error, name, "a page could not be made: this is a bug");
                let text = "This page could not be made, which is a bug of bugfender-hooks.";
                html_response(StatusCode::INTERNAL_SERVER_ERROR, text.to_owned())
            }
        }
    }
}

fn html_response(status: StatusCode, html: String) -> Response<Body> {
    let mut response = Response::new(Body::from(html));
    *response.status_mut() = status;
    let of_html = HeaderValue::from_static("text/html; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, of_html);
    response
}

fn wrong(error: &minijinja::Error) -> Error {
    Error::new(ErrorKind::Other, format!("a template of the page is wrong: {error:#}"))
}
