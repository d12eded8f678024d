//! The page: events, targets and hooks in a browser, served from the same store that receivers use.
//!
//! Every page is HTML that works without JavaScript; a script adds what is live. Whoever asks passes [`guard`] first: the
//! name of the host, where the request comes from, and who is signed in. Texts of events reach a page through templates
//! only, which escape them.

mod access;
mod assets;
mod chart;
mod event_page;
mod event_query;
mod events_page;
mod failure;
mod guard;
mod hooks_page;
mod job_work;
mod jobs;
mod jobs_page;
mod markdown;
mod notices;
mod overview;
mod quarantine_page;
mod readers;
mod redirect;
mod replay;
mod row_view;
mod serve;
mod sessions;
mod stream;
mod target_test;
mod targets_page;
mod templates;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;
use axum::middleware;
use axum::response::Response;
use axum::routing::{get, post};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};

pub use self::access::AccessRule;
pub use self::hooks_page::{HookDirectory, HookLine};
pub use self::overview::SelfCheckView;
pub use self::replay::{AllowedHost, ReplayClients};

use self::failure::WebFailure;
use self::jobs::Jobs;
use self::notices::Notices;
use self::readers::Readers;
use self::sessions::Sessions;
use self::templates::Templates;
use crate::domain::Secret;
use crate::error::Result;
use crate::http::ServedHosts;
use crate::store::Store;

/// How the page is served.
pub struct PageOptions {
    /// What is shown.
    pub store: Arc<dyn Store>,
    /// Whether nothing may be changed from it.
    pub read_only: bool,
    /// The path before all others, such as `/hooks`; empty for none.
    pub base_path: String,
    /// The names of hosts that it is served under, beside addresses and loopback names.
    pub hosts: ServedHosts,
    /// Who may look.
    pub access: AccessRule,
    /// The hosts that events may be replayed to.
    pub allowed_hosts: Vec<AllowedHost>,
    /// How requests of replays are made.
    pub clients: ReplayClients,
    /// A sample event to try a target with, in a JSON array.
    pub sample: Box<dyn Fn() -> Result<Vec<u8>> + Send + Sync>,
    /// What is known of whether deliveries arrive.
    pub self_check: Box<dyn Fn() -> SelfCheckView + Send + Sync>,
    /// The hooks on record.
    pub hooks: Box<dyn HookDirectory>,
    /// Told of every change, with who made it.
    pub changes: Box<dyn Fn(&str) + Send + Sync>,
}

/// What all requests share.
struct PageState {
    options: PageOptions,
    /// What makes a browser that opens the address a visitor.
    token: Secret,
    sessions: Sessions,
    readers: Readers,
    templates: Templates,
    notices: Notices,
    jobs: Jobs,
    /// Places for streams.
    streams: Arc<Semaphore>,
    /// Ends streams when the page is no longer served.
    stop: watch::Receiver<bool>,
}

type SharedPage = Arc<PageState>;

/// A page that can be served.
pub struct WebPage {
    shared: SharedPage,
    stop: watch::Sender<bool>,
}

impl WebPage {
    /// Opens the store for it.
    ///
    /// # Errors
    /// When the store cannot be opened.
    pub fn open(options: PageOptions) -> Result<Self> {
        let (stop, stopped) = watch::channel(false);
        let readers = Readers::open(&*options.store)?;
        let shared = PageState {
            token: sessions::new_token()?,
            sessions: Sessions::default(),
            templates: Templates::new()?,
            notices: Notices::default(),
            jobs: Jobs::default(),
            streams: Arc::new(Semaphore::new(stream::MAX_STREAMS)),
            readers,
            stop: stopped,
            options,
        };
        Ok(Self { shared: Arc::new(shared), stop })
    }

    /// The address to open, of a page that is served at this one: with its token, if there is one.
    pub fn address(&self, base: &str) -> String {
        self.address_with(base, &self.shared.token)
    }

    /// The same for a program that is told to open it, which everybody on a machine sees: its token is good once, for a
    /// minute.
    ///
    /// # Errors
    /// When the system gives no random bytes.
    pub fn address_to_open(&self, base: &str) -> Result<String> {
        Ok(self.address_with(base, &self.shared.sessions.opening_token()?))
    }

    fn address_with(&self, base: &str, token: &Secret) -> String {
        let options = &self.shared.options;
        let address = format!("{}{}/", base.trim_end_matches('/'), options.base_path);
        if options.access.has_token() { format!("{address}?token={}", token.expose()) } else { address }
    }

    /// Serves it until told to stop. Streams end then; what is being changed is changed.
    pub async fn serve(self, listener: TcpListener, stop: impl Future<Output = ()> + Send + 'static) {
        self.serve_with(Router::new(), listener, stop).await;
    }

    /// The same with other paths beside it, which are open to everybody.
    pub async fn serve_with(
        self,
        others: Router,
        listener: TcpListener,
        stop: impl Future<Output = ()> + Send + 'static,
    ) {
        let router = router(Arc::clone(&self.shared)).merge(others);
        let Self { shared, stop: tell } = self;
        let stopped = tell.subscribe();
        let stopping = async move {
            stop.await;
            shared.jobs.cancel_all();
            // Cannot fail: what serves listens to it.
            let _ = tell.send(true);
        };
        tokio::join!(stopping, serve::serve(listener, router, stopped));
    }
}

/// The paths of the page.
fn router(shared: SharedPage) -> Router {
    let changes = Router::new()
        .route("/events/{seq}/retry", post(event_page::retry))
        .route("/events/{seq}/replay", post(event_page::replay))
        .route("/events/{seq}/delete", post(event_page::delete))
        .route("/targets/{target}/{change}", post(targets_page::change))
        .route("/targets/{target}/test", post(target_test::send))
        .route("/quarantine/reread", post(quarantine_page::reread_all))
        .route("/quarantine/{number}/reread", post(quarantine_page::reread))
        .route("/jobs", post(jobs_page::begin))
        .route("/jobs/{job}/cancel", post(jobs_page::cancel))
        .layer(middleware::from_fn_with_state(Arc::clone(&shared), guard::may_change));
    // What an open page asks for by itself: nobody needs to be there.
    let live = Router::new()
        .route("/events/stream", get(stream::stream))
        .route("/events/new", get(stream::new_rows))
        .route("/events/states", get(stream::states));
    let pages = Router::new()
        .route("/", get(events_page::show))
        .route("/events/{seq}", get(event_page::show))
        .route("/events/{seq}/raw", get(event_page::raw))
        .route("/overview", get(overview::show))
        .route("/targets", get(targets_page::show))
        .route("/quarantine", get(quarantine_page::list))
        .route("/quarantine/{number}", get(quarantine_page::show))
        .route("/hooks", get(hooks_page::show))
        .route("/hooks/{hook}", get(hooks_page::history))
        .route("/jobs/{job}", get(jobs_page::show))
        .route("/sign-out", post(access::sign_out))
        .merge(changes)
        .fallback(not_found)
        .layer(middleware::from_fn_with_state(Arc::clone(&shared), guard::in_use))
        .merge(live)
        .layer(middleware::from_fn_with_state(Arc::clone(&shared), guard::signed_in));
    let open = Router::new()
        .route("/assets/{name}", get(assets::asset))
        .route("/sign-in", get(access::sign_in_page).post(access::sign_in));
    let all = open.merge(pages);
    let base_path = &shared.options.base_path;
    let all = if base_path.is_empty() {
        all
    } else {
        let signed_in = middleware::from_fn_with_state(Arc::clone(&shared), guard::signed_in);
        let in_use = middleware::from_fn_with_state(Arc::clone(&shared), guard::in_use);
        let list = get(events_page::show).layer(in_use).layer(signed_in);
        // A nested path ends without a slash.
        Router::new()
            .nest(base_path, all)
            .route(&format!("{base_path}/"), list)
            .fallback(|| async { StatusCode::NOT_FOUND })
    };
    all.layer(middleware::from_fn_with_state(Arc::clone(&shared), guard::checked)).with_state(shared)
}

async fn not_found(State(page): State<SharedPage>) -> Response<Body> {
    WebFailure::not_found("there is no such page").response(&page)
}
