//! Who may look: whoever has the token that the command printed, knows the password, or is named by a proxy.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use axum::Form;
use axum::body::Body;
use axum::extract::{ConnectInfo, Extension, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use axum::response::Response;
use jiff::Timestamp;
use serde::Deserialize;

use super::redirect::see_other;
use super::sessions::hash;
use super::templates::content;
use super::{PageState, SharedPage};
use crate::domain::{Secret, excerpt, is_unsafe_char};

/// Who is signed in, for the log of changes.
#[derive(Debug, Clone)]
pub(super) struct Visitor(pub(super) String);

/// How one becomes a visitor.
pub enum AccessRule {
    /// By opening the address with the token.
    Token,
    /// By this password. The token is good as well.
    Password(Secret),
    /// A proxy in front of the page has checked it, and says who it is in this header.
    Header(HeaderName),
}

impl AccessRule {
    /// Whether the address has a token.
    pub fn has_token(&self) -> bool {
        !matches!(self, Self::Header(_))
    }
}

impl fmt::Debug for AccessRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Token => "Token",
            Self::Password(_) => "Password",
            Self::Header(_) => "Header",
        })
    }
}

/// The longest name of a visitor that is logged.
const MAX_NAME: usize = 100;

/// The name of the cookie. Those of one host share a browser's cookies whatever their ports: it has the one that was asked.
fn cookie_name(headers: &HeaderMap) -> String {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let port = host.rsplit_once(':').map(|(_, port)| port).filter(|port| port.bytes().all(|b| b.is_ascii_digit()));
    format!("bugfender_hooks_{}", port.unwrap_or("0"))
}

fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let pairs = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = pairs.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(known, _)| *known == name).map(|(_, value)| value)
}

impl PageState {
    /// Who asks, if it is a visitor.
    pub(super) fn visitor(&self, headers: &HeaderMap, peer: Option<IpAddr>) -> Option<Visitor> {
        match &self.options.access {
            AccessRule::Header(name) => {
                let mut values = headers.get_all(name).iter();
                let value = String::from_utf8_lossy(values.next()?.as_bytes());
                let value = Some(value.trim()).filter(|value| !value.is_empty())?;
                // A proxy that adds its header to one of the visitor's own says nothing.
                values.next().is_none().then(|| Visitor(shown_name(value)))
            }
            AccessRule::Token | AccessRule::Password(_) => {
                let name = self.sessions.name(cookie(headers, &cookie_name(headers))?, Timestamp::now())?;
                Some(Visitor(peer.map_or_else(|| name.clone(), |peer| format!("{name} at {peer}"))))
            }
        }
    }

    /// Notes that whoever asks is there.
    pub(super) fn note_use(&self, headers: &HeaderMap) {
        if let Some(cookie) = cookie(headers, &cookie_name(headers)) {
            self.sessions.note_use(cookie, Timestamp::now());
        }
    }

    /// Signs in whoever asks with the token, and leads to the address without it.
    pub(super) fn sign_in_by_token(&self, uri: &Uri) -> Option<Response<Body>> {
        let token = url::form_urlencoded::parse(uri.query()?.as_bytes()).find(|(name, _)| name == "token")?.1;
        let is_token = hash(&token) == hash(self.token.expose()) || self.sessions.is_opening(&token);
        let is_right = self.options.access.has_token() && is_token;
        // The address of the redirect is the same for any token: no wrong one stays in the browser's history.
        let mut response = see_other(&format!("{}/", self.options.base_path));
        if is_right {
            let session = self.sessions.begin("a browser with the token".to_owned(), Timestamp::now()).ok()?;
            response.extensions_mut().insert(NewSession(session));
        }
        Some(response)
    }

    /// What whoever is no visitor gets.
    pub(super) fn ask_to_sign_in(&self, method: &Method, headers: &HeaderMap) -> Response<Body> {
        let is_page = method == Method::GET
            && headers
                .get(header::ACCEPT)
                .is_some_and(|accept| accept.as_bytes().windows(9).any(|it| it == b"text/html"));
        if is_page && matches!(self.options.access, AccessRule::Password(_)) {
            return see_other(&format!("{}/sign-in", self.options.base_path));
        }
        self.sign_in_form(StatusCode::UNAUTHORIZED, None)
    }

    fn sign_in_form(&self, status: StatusCode, problem: Option<&str>) -> Response<Body> {
        let context = content! {
            with_password => matches!(self.options.access, AccessRule::Password(_)),
            by_header => matches!(self.options.access, AccessRule::Header(_)),
            problem => problem,
            signed_out => true,
        };
        self.templates.respond(self, status, "sign_in.html", context)
    }
}

/// A session that has begun, whose cookie goes with the response.
#[derive(Clone)]
pub(super) struct NewSession(String);

impl NewSession {
    /// The header for it.
    pub(super) fn cookie(&self, request: &HeaderMap, base_path: &str) -> Option<HeaderValue> {
        let name = cookie_name(request);
        let path = if base_path.is_empty() { "/" } else { base_path };
        // What came by https goes back by nothing else. Who only says so is given a cookie that is of no use.
        let is_https = request.get("x-forwarded-proto").is_some_and(|proto| proto == "https");
        let secure = if is_https { "; Secure" } else { "" };
        HeaderValue::from_str(&format!("{name}={}; Path={path}; HttpOnly; SameSite=Strict{secure}", self.0)).ok()
    }
}

fn shown_name(name: &str) -> String {
    excerpt(&name.replace(is_unsafe_char, "\u{fffd}"), MAX_NAME)
}

/// The form that a password is asked by.
pub(super) async fn sign_in_page(State(page): State<SharedPage>) -> Response<Body> {
    page.sign_in_form(StatusCode::OK, None)
}

#[derive(Deserialize)]
pub(super) struct SignInForm {
    password: String,
}

impl fmt::Debug for SignInForm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SignInForm")
    }
}

/// Looks at a password.
pub(super) async fn sign_in(
    State(page): State<SharedPage>,
    Extension(ConnectInfo(peer)): Extension<ConnectInfo<SocketAddr>>,
    Form(form): Form<SignInForm>,
) -> Response<Body> {
    let AccessRule::Password(password) = &page.options.access else {
        return page.sign_in_form(StatusCode::UNAUTHORIZED, None);
    };
    let Ok(_place) = page.sessions.waiting.try_acquire() else {
        let problem = "Too many passwords are tried at once: try again in a minute.";
        return page.sign_in_form(StatusCode::TOO_MANY_REQUESTS, Some(problem));
    };
    let _turn = page.sessions.turn.lock().await;
    tokio::time::sleep(page.sessions.delay()).await;
    if hash(&form.password) != hash(password.expose()) {
        page.sessions.note_failure();
        (page.options.changes)(&format!("somebody at {} tried to sign in with a wrong password", peer.ip()));
        return page.sign_in_form(StatusCode::UNAUTHORIZED, Some("The password is wrong."));
    }
    let mut response = see_other(&format!("{}/", page.options.base_path));
    if let Ok(session) = page.sessions.begin("a browser with the password".to_owned(), Timestamp::now()) {
        response.extensions_mut().insert(NewSession(session));
    }
    response
}

/// Signs a browser out.
pub(super) async fn sign_out(
    State(page): State<SharedPage>,
    Extension(Visitor(_)): Extension<Visitor>,
    headers: HeaderMap,
) -> Response<Body> {
    if let Some(cookie) = cookie(&headers, &cookie_name(&headers)) {
        page.sessions.end(cookie);
    }
    page.sign_in_form(StatusCode::OK, None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cookies_are_found_by_the_port_that_was_asked() {
        let headers = |host: &str, cookie: &str| {
            let pairs = [("host", host), ("cookie", cookie)];
            pairs
                .into_iter()
                .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
                .collect::<HeaderMap>()
        };
        let found = |host: &str, text: &str| {
            let headers = headers(host, text);
            cookie(&headers, &cookie_name(&headers)).map(str::to_owned)
        };
        assert_eq!(found("localhost:4002", "a=b; bugfender_hooks_4002=x; c").as_deref(), Some("x"));
        assert_eq!(found("localhost:4003", "bugfender_hooks_4002=x"), None);
        assert_eq!(found("page.example", "bugfender_hooks_0=y").as_deref(), Some("y"));
        assert_eq!(found("[::1]", "bugfender_hooks_0=z").as_deref(), Some("z"));
    }
}
