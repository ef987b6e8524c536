//! Who says it: keys, certificates, TLS.
//!
//! A key's purpose is a type. Whether a certificate holds is said by [`chain::VerifiedCertificate`], which only
//! [`chain::verify`] makes; who a TLS peer is, by the global configuration alone ([`peer`]).

pub mod chain;
pub mod error;
pub mod key;
pub mod passphrase;
pub mod peer;
pub mod pem;
pub mod pilot_ca;
pub mod profile;
pub mod request;
mod signer;

pub use error::CertsError;
pub use key::{SecretKey, StorageKey};
pub use passphrase::{Passphrase, PassphraseSource};
