//! `peabiru instance`.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::Subcommand;
use peabiru_proto::id::InstanceId;
use peabiru_proto::origin::Domain;
use peabiru_proto::time::{Clock as _, SystemClock};
use peabiru_registry::instance::{InstanceSpec, create};

use crate::CliError;
use crate::args::Connect;
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
}

pub(crate) fn run(verb: Verb, connect: &Connect) -> Result<(), CliError> {
    let Verb::Create {
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
    } = verb;
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
    let passphrase =
        connect.passphrase().read(connect.language().of_both("las claves nuevas", "the new keys"))?;
    let made = create(&folder, &spec, &passphrase, SystemClock.now())?;
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
