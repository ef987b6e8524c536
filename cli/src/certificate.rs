//! `peabiru certificate`: requests, the pilot authority, what the registry trusts.

use std::path::{Path, PathBuf};

use clap::{Subcommand, ValueEnum};
use peabiru_certs::chain::named_ledger;
use peabiru_certs::key::{Algorithm, change_passphrase};
use peabiru_certs::pem::{read_certificate, write_certificate};
use peabiru_certs::pilot_ca::PilotCa;
use peabiru_certs::profile::Subject;
use peabiru_certs::{Passphrase, PassphraseSource, SecretKey, request};
use peabiru_ledger::checkpoint::VerifyingKey;
use peabiru_proto::globalconf::ConfigurationAnchor;
use peabiru_proto::hash::Digest;
use peabiru_proto::id::{MemberId, NodeId};
use peabiru_proto::language::Language;
use peabiru_proto::origin::{Epoch, Origin};
use peabiru_proto::time::{Clock as _, SystemClock};
use peabiru_proto::wire::{AddAuthorityRequest, CertificateAuthority, KeyPurpose, WithdrawAuthorityRequest};

use crate::CliError;
use crate::approval::answered;
use crate::args::Connect;
use crate::output;

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Makes a key, and a request for its certificate (PKCS#10).
    #[command(
        after_help = "Example:\n  peabiru certificate request keys/authentication --kind node --name PY/GOV/MEC/node1"
    )]
    Request {
        /// Writes PREFIX.key and PREFIX.csr.
        prefix: PathBuf,
        /// What the key is for.
        #[arg(long, value_enum)]
        kind: Kind,
        /// Name that the request asks for.
        #[arg(long)]
        name: String,
    },
    /// Encrypts a key file under another passphrase: of a node, an officer, a root.
    #[command(
        after_help = "Example:\n  peabiru certificate passphrase roots/root-1.key --new-passphrase-fd 4"
    )]
    Passphrase {
        /// The key file.
        file: PathBuf,
        /// Read the new passphrase from this inherited file descriptor. Otherwise it is asked for, twice.
        #[arg(long, value_name = "N")]
        new_passphrase_fd: Option<u32>,
    },
    /// Lets the pilot authority of an instance certify a request. Not for production.
    #[command(
        after_help = "Example:\n  peabiru certificate issue keys/sealing.csr --instance-folder PY --kind sealing --node PY/GOV/MEC/node1 --member PY/GOV/MEC\n  peabiru certificate issue keys/authentication.csr --instance-folder PY --kind node --node PY/GOV/MEC/node1 --host 10.0.0.7"
    )]
    Issue {
        /// The request.
        request: PathBuf,
        /// Folder that `instance create` made.
        #[arg(long, value_name = "FOLDER")]
        instance_folder: PathBuf,
        /// What the key is for.
        #[arg(long, value_enum)]
        kind: Kind,
        /// The node; for kinds node and sealing.
        #[arg(long)]
        node: Option<NodeId>,
        /// The member that the ledger binds; for kind sealing.
        #[arg(long)]
        member: Option<MemberId>,
        /// Names or addresses of the node; for kind node.
        #[arg(long = "host", value_name = "HOST")]
        hosts: Vec<String>,
        /// Name of the operator; for kind operator.
        #[arg(long)]
        name: Option<String>,
    },
    /// What a certificate is known by. Of a sealing certificate also the ledger, and its verifier key for tools that
    /// check C2SP signed notes.
    #[command(after_help = "Example:\n  peabiru certificate show keys/sealing.crt")]
    Show {
        /// PEM or DER.
        file: PathBuf,
    },
    /// Lets the registry trust an authority no more: what it certified falls. Another officer approves.
    #[command(after_help = "Example:\n  peabiru certificate distrust ca.crt")]
    Distrust {
        /// Its certificate.
        file: PathBuf,
    },
    /// Lets the registry trust an authority: a security officer proposes, a registration officer approves.
    #[command(
        after_help = "Example:\n  peabiru certificate trust ca.crt --name 'Autoridad Certificadora Raíz' --purpose node --purpose sealing"
    )]
    Trust {
        /// Its certificate.
        file: PathBuf,
        /// For people.
        #[arg(long)]
        name: String,
        /// What its certificates may be used for.
        #[arg(long = "purpose", value_enum, required = true)]
        purposes: Vec<Kind>,
    },
}

/// What a key is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// TLS of a node.
    Node,
    /// Checkpoints of a ledger.
    Sealing,
    /// An operator of the registry.
    Operator,
}

pub(crate) async fn run(verb: Verb, connect: &Connect) -> Result<(), CliError> {
    let language = connect.language();
    match verb {
        Verb::Request { prefix, kind, name } => {
            let algorithm = match kind {
                Kind::Sealing => Algorithm::Ed25519,
                Kind::Node | Kind::Operator => Algorithm::P256,
            };
            let passphrase = connect.passphrase().read(language.of_both("la clave nueva", "the new key"))?;
            let key = SecretKey::generate(algorithm);
            let request = request::make(&key, &name)?;
            key.write_encrypted(&suffixed(&prefix, "key"), &passphrase)?;
            let file = suffixed(&prefix, "csr");
            std::fs::write(&file, request).map_err(CliError::file(&file))?;
            let asks = language.of_both("pide un certificado para", "asks for a certificate of");
            output::done(connect, &format!("{} {asks} {name}", file.display()));
        }
        Verb::Passphrase { file, new_passphrase_fd } => {
            let old = connect.passphrase().read(&file.display().to_string())?;
            change_passphrase(&file, &old, &new_passphrase(new_passphrase_fd, language)?)?;
            let changed = language.of_both("tiene otra contraseña", "has another passphrase");
            output::done(connect, &format!("{} {changed}", file.display()));
        }
        Verb::Issue { request, instance_folder, kind, node, member, hosts, name } => {
            let bytes = std::fs::read(&request).map_err(CliError::file(&request))?;
            let anchor = read_anchor(&instance_folder.join("anchor.toml"))?;
            let subject = subject(kind, node, member, hosts, name, &anchor, language)?;
            let passphrase = connect
                .passphrase()
                .read(language.of_both("la clave de la autoridad piloto", "the pilot authority's key"))?;
            let ca = instance_folder.join("ca/pilot-ca");
            let key = SecretKey::read_encrypted(&suffixed(&ca, "key"), &passphrase)?;
            let ca = PilotCa::open(&anchor.instance, read_certificate(&suffixed(&ca, "crt"))?, key)?;
            let certificate = ca.issue(&request::verify(&bytes)?, subject, SystemClock.now())?;
            let file = request.with_extension("crt");
            write_certificate(&file, &certificate)?;
            show(&file, connect)?;
        }
        Verb::Show { file } => show(&file, connect)?,
        Verb::Trust { file, name, purposes } => {
            let purpose = |kind: Kind| match kind {
                Kind::Node => KeyPurpose::Authentication,
                Kind::Sealing => KeyPurpose::Sealing,
                Kind::Operator => KeyPurpose::Operator,
            };
            let purposes = purposes.into_iter().map(|kind| purpose(kind).into()).collect();
            let authority = CertificateAuthority { certificate: read_certificate(&file)?, purposes, name };
            let request = AddAuthorityRequest { authority: Some(authority) };
            let added = connect.registry().await?.add_authority(request).await?.into_inner();
            let trusted = language.of_both("es de confianza", "is trusted");
            let done = format!("{} {trusted}", file.display());
            answered(connect, &done, added.globalconf_version, added.proposal);
        }
        Verb::Distrust { file } => {
            let certificate_sha256 = Digest::of(&read_certificate(&file)?).as_bytes().to_vec().into();
            let request = WithdrawAuthorityRequest { certificate_sha256 };
            let withdrawn = connect.registry().await?.withdraw_authority(request).await?.into_inner();
            let distrusted = language.of_both("ya no es de confianza", "is no longer trusted");
            let done = format!("{} {distrusted}", file.display());
            answered(connect, &done, withdrawn.globalconf_version, withdrawn.proposal);
        }
    }
    Ok(())
}

/// A slip of the hand would lock the key away: what is typed is asked for twice.
fn new_passphrase(descriptor: Option<u32>, language: Language) -> Result<Passphrase, CliError> {
    if let Some(number) = descriptor {
        return Ok(PassphraseSource::FileDescriptor(number)
            .read(language.of_both("la contraseña nueva", "the new passphrase"))?);
    }
    let [once, twice] = language.of_both(
        ["la clave desde ahora", "la clave desde ahora, otra vez"],
        ["the key from now on", "the key from now on, again"],
    );
    let typed = PassphraseSource::Prompt.read(once)?;
    let again = PassphraseSource::Prompt.read(twice)?;
    if typed != again {
        let differ = language.of_both(
            "las dos contraseñas difieren: no se cambió nada",
            "the two passphrases differ: nothing was changed",
        );
        return Err(CliError::Usage(differ.to_owned()));
    }
    Ok(typed)
}

fn subject(
    kind: Kind,
    node: Option<NodeId>,
    member: Option<MemberId>,
    hosts: Vec<String>,
    name: Option<String>,
    anchor: &ConfigurationAnchor,
    language: Language,
) -> Result<Subject, CliError> {
    let missing = |flag: &str| {
        CliError::Usage(
            language
                .of_both(format!("para esta clase falta {flag}"), format!("{flag} is needed for this kind")),
        )
    };
    Ok(match kind {
        Kind::Node => Subject::Node { id: node.ok_or_else(|| missing("--node"))?, hosts },
        Kind::Sealing => {
            let (node, member) =
                (node.ok_or_else(|| missing("--node"))?, member.ok_or_else(|| missing("--member"))?);
            let origin = Origin::of_ledger(&anchor.domain, &member, &node, Epoch::FIRST);
            Subject::Sealing { origin, member }
        }
        Kind::Operator => Subject::Operator { name: name.ok_or_else(|| missing("--name"))? },
    })
}

fn show(file: &Path, connect: &Connect) -> Result<(), CliError> {
    let certificate = read_certificate(file)?;
    let mut fields = vec![
        ("file", "archivo", file.display().to_string()),
        ("sha256", "sha256", Digest::of(&certificate).to_string()),
    ];
    if let Some((origin, key)) = named_ledger(&certificate)? {
        fields.push(("ledger", "libro", origin.to_string()));
        fields.push(("vkey", "vkey", VerifyingKey::from_bytes(key).vkey(&origin)));
    }
    output::fields(connect, &fields);
    Ok(())
}

pub(crate) fn read_anchor(path: &Path) -> Result<ConfigurationAnchor, CliError> {
    let text = std::fs::read_to_string(path).map_err(CliError::file(path))?;
    ConfigurationAnchor::parse(&text).map_err(|error| CliError::Usage(format!("{}: {error}", path.display())))
}

fn suffixed(prefix: &Path, suffix: &str) -> PathBuf {
    let mut path = prefix.as_os_str().to_owned();
    path.push(".");
    path.push(suffix);
    path.into()
}
