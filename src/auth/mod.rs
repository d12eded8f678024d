//! Authentication: where credentials come from and are stored, and how tokens are obtained and renewed.

mod assertion;
mod browser;
mod credential;
mod endpoint;
mod find;
mod keyring;
mod lock;
mod renewer;
mod response;
mod session;
mod slot;
mod vault;

pub use assertion::{TYPE as ASSERTION_TYPE, read_key};
pub use browser::{Callback, Loopback, Page};
pub use credential::{Credential, Grant, Kind, Proof, Token};
pub use endpoint::{Authorization, GrantedToken, Refusal, TokenEndpoint, token_url};
pub use find::{StoredCredential, TokenSource, advice, find, service_proof};
pub use lock::{NoLock, SlotLock};
pub use renewer::Origin;
pub use session::Session;
pub use slot::Slot;
pub use vault::{CredentialLocation, Kept, KeyringTimeout, Listed, Pending, Vault};
