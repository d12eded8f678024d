//! The style, the script and the icon. They are part of the program, and known by their content, so that browsers keep them.

use std::sync::LazyLock;

use axum::body::Body;
use axum::extract::Path;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use ring::digest::{SHA256, digest};

/// A file of the page.
pub(super) struct Asset {
    name: &'static str,
    content_type: &'static str,
    content: &'static str,
    address: LazyLock<String>,
}

macro_rules! asset {
    ($name:literal, $content_type:literal) => {
        Asset {
            name: $name,
            content_type: $content_type,
            content: include_str!(concat!("assets/", $name)),
            address: LazyLock::new(|| addressed($name, include_str!(concat!("assets/", $name)))),
        }
    };
}

pub(super) static STYLE: Asset = asset!("page.css", "text/css; charset=utf-8");
pub(super) static SCRIPT: Asset = asset!("page.js", "text/javascript; charset=utf-8");
pub(super) static ICON: Asset = asset!("icon.svg", "image/svg+xml");

impl Asset {
    /// Its name in addresses.
    pub(super) fn address(&self) -> &str {
        &self.address
    }
}

fn addressed(name: &str, content: &str) -> String {
    let hash = hex::encode(&digest(&SHA256, content.as_bytes()).as_ref()[..6]);
    name.replacen('.', &format!("-{hash}."), 1)
}

/// Answers with a file.
pub(super) async fn asset(Path(name): Path<String>) -> Response<Body> {
    let found = [&STYLE, &SCRIPT, &ICON].into_iter().find(|asset| asset.address() == name || asset.name == name);
    let Some(asset) = found else {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NOT_FOUND;
        return response;
    };
    let mut response = Response::new(Body::from(asset.content));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(asset.content_type));
    // One that has changed has another address.
    let kept = if asset.address() == name { "public, max-age=31536000, immutable" } else { "no-cache" };
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(kept));
    response
}
