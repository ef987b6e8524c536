//! `peabiru instance`: makes one, and lets its roots sign again.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use clap::Subcommand;
use peabiru_certs::SecretKey;
use peabiru_proto::globalconf::ConfigurationAnchor;
use peabiru_proto::id::InstanceId;
use peabiru_proto::origin::Domain;
use peabiru_proto::time::{Clock as _, SystemClock};
use peabiru_registry::delegation::Delegation;
use peabiru_registry::file::write_new;
use peabiru_registry::instance::InstanceSpec;

use crate::CliError;
use crate::args::Connect;
use crate::certificate::read_anchor;
use crate::output;

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Makes roots, pilot authority, registry keys and the first two officers, in a new folder.
    #[command(
        after_help = "Example:\n  peabiru instance create PY --instance PY --domain py.peabiru.example --roots 3 --threshold 2"
    )]
    Create {
        /// Where; made if it is not there.
        folder: PathBuf,
        /// Its name: first part of every identifier.
        #[arg(long)]
        instance: InstanceId,
        /// First part of every ledger's name. It can never change.
        #[arg(long)]
        domain: Domain,
        /// For people.
        #[arg(long)]
        name: Option<String>,
        /// How many root keys are made.
        #[arg(long, default_value_t = 3)]
        roots: u32,
        /// How many of them must sign.
        #[arg(long, default_value_t = 2)]
        threshold: u32,
        /// Names or addresses of the registry, the preferred one first.
        #[arg(long = "host", value_name = "HOST", default_value = "127.0.0.1")]
        hosts: Vec<String>,
        /// On which address the registry listens.
        #[arg(long, default_value = "127.0.0.1")]
        listen: IpAddr,
        /// Port of the admin API.
        #[arg(long, default_value_t = 5600)]
        admin_port: u16,
        /// Port of the distribution service.
        #[arg(long, default_value_t = 5601)]
        distribution_port: u16,
    },
    /// Writes a new delegation to the registry's keys, for 90 days from now, which the roots are to sign. It names the keys
    /// that the one before names.
    #[command(after_help = "Example:\n  peabiru instance renew PY/registry/delegation --out delegation-2")]
    Renew {
        /// The delegation before.
        delegation: PathBuf,
        /// The new file.
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Adds a root's signature to a delegation. Once enough have signed, the registry takes it at its next start.
    #[command(
        after_help = "Example:\n  peabiru instance sign delegation-2 --root PY/roots/root-1.key --anchor PY/anchor.toml"
    )]
    Sign {
        /// The file, to which the signature is added.
        delegation: PathBuf,
        /// The root's key.
        #[arg(long, value_name = "FILE")]
        root: PathBuf,
        /// Configuration anchor of the instance.
        #[arg(long, value_name = "FILE")]
        anchor: PathBuf,
    },
}

pub(crate) fn run(verb: Verb, connect: &Connect) -> Result<(), CliError> {
    match verb {
        Verb::Create {
            folder,
            instance,
            domain,
            name,
            roots,
            threshold,
            hosts,
            listen,
            admin_port,
            distribution_port,
        } => {
            let spec = InstanceSpec {
                instance,
                domain,
                name,
                roots,
                threshold,
                hosts,
                listen,
                admin_port,
                distribution_port,
            };
            create(&folder, &spec, connect)
        }
        Verb::Renew { delegation, out } => {
            let renewed = Delegation::read(&delegation)?.renewed(SystemClock.now());
            write_new(&out, &renewed)?;
            let waits = connect
                .language()
                .of_both("espera las firmas de las raíces", "waits for the signatures of the roots");
            output::done(connect, &format!("{} {waits}", out.display()));
            Ok(())
        }
        Verb::Sign { delegation, root, anchor } => sign(&delegation, &root, &read_anchor(&anchor)?, connect),
    }
}

fn sign(file: &Path, root: &Path, anchor: &ConfigurationAnchor, connect: &Connect) -> Result<(), CliError> {
    let mut delegation = Delegation::read(file)?;
    let (origin, key) = delegation.ledger()?;
    let passphrase = connect.passphrase().read(&root.display().to_string())?;
    let root = SecretKey::read_encrypted(root, &passphrase)?;
    let signed = delegation.sign_also(&root, anchor)?;
    std::fs::write(file, signed).map_err(CliError::file(file))?;
    let needed = connect.language().of_both("hacen falta", "needed");
    let signatures = format!("{}, {needed} {}", delegation.signatures(anchor), anchor.threshold);
    output::fields(
        connect,
        &[
            ("instance", "instancia", anchor.instance.to_string()),
            ("ledger", "libro", origin.to_string()),
            ("vkey", "vkey", key.vkey(&origin)),
            ("delegated until", "delegado hasta", delegation.expires_at().to_string()),
            ("signatures", "firmas", signatures),
        ],
    );
    Ok(())
}

fn create(folder: &Path, spec: &InstanceSpec, connect: &Connect) -> Result<(), CliError> {
    let passphrase =
        connect.passphrase().read(connect.language().of_both("las claves nuevas", "the new keys"))?;
    let made = peabiru_registry::instance::create(folder, spec, &passphrase, SystemClock.now())?;
    output::fields(
        connect,
        &[
            ("instance", "instancia", spec.instance.to_string()),
            ("configuration anchor", "ancla de configuración", made.anchor_file.display().to_string()),
            ("registry", "registro", made.registry_config.display().to_string()),
            (
                "registry certificate",
                "certificado del registro",
                made.registry_certificate_sha256.to_string(),
            ),
            (
                "registration officer",
                "oficial de inscripción",
                made.registration_officer.files().display().to_string(),
            ),
            ("security officer", "oficial de seguridad", made.security_officer.files().display().to_string()),
            ("pilot authority", "autoridad piloto", made.ca_certificate.display().to_string()),
            (
                "root keys, to be kept offline",
                "claves raíz, para guardar sin conexión",
                made.root_keys.iter().map(|key| key.display().to_string()).collect::<Vec<_>>().join("\n"),
            ),
        ],
    );
    Ok(())
}
