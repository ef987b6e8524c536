//! Two officers at one machine, for pilots and sandboxes: what one proposes, the other approves at once.

use peabiru_certs::peer::TlsIdentity;
use peabiru_certs::{Passphrase, SecretKey};
use peabiru_proto::wire::Proposal;
use peabiru_registry::instance::{Instance, Issued};

use crate::CliError;
use crate::approval::approval_of;
use crate::client::{self, RegistryClient};

/// The two officers that `instance create` made, connected.
pub struct Officers {
    /// Proposes members, nodes and ledgers; registers contracts.
    pub registration: RegistryClient,
    /// Approves.
    pub security: RegistryClient,
}

impl Officers {
    /// Connects both to the admin API at this address.
    ///
    /// # Errors
    /// `Certs`, `Unreachable`.
    pub async fn connect(
        instance: &Instance,
        admin: &str,
        passphrase: &Passphrase,
    ) -> Result<Self, CliError> {
        let url = format!("https://{admin}");
        let pinned = instance.registry_certificate_sha256;
        let registration = identity(&instance.registration_officer, passphrase).await?;
        let security = identity(&instance.security_officer, passphrase).await?;
        Ok(Self {
            registration: client::registry(&url, pinned, &registration).await?,
            security: client::registry(&url, pinned, &security).await?,
        })
    }

    /// Lets the second officer approve what the first one proposed.
    ///
    /// # Errors
    /// What the registry refuses.
    pub async fn approve(&mut self, proposal: Option<Proposal>) -> Result<(), CliError> {
        if let Some(proposal) = proposal {
            self.security.approve_proposal(approval_of(&proposal)).await?;
        }
        Ok(())
    }

    /// The registration officer approves what the security officer proposed.
    ///
    /// # Errors
    /// What the registry says.
    pub async fn approve_of_security(&mut self, proposal: Option<Proposal>) -> Result<(), CliError> {
        if let Some(proposal) = proposal {
            self.registration.approve_proposal(approval_of(&proposal)).await?;
        }
        Ok(())
    }
}

/// Key files are slow to open on purpose.
async fn identity(officer: &Issued, passphrase: &Passphrase) -> Result<TlsIdentity, CliError> {
    let (officer, passphrase) = (officer.clone(), passphrase.clone());
    let opened = tokio::task::spawn_blocking(move || {
        let key = SecretKey::read_encrypted(&officer.key_file, &passphrase)?;
        Ok(TlsIdentity { certificate: officer.certificate, key })
    });
    opened.await.map_err(|error| CliError::Scenario(error.to_string()))?
}
