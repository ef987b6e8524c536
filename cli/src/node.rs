//! `peabiru node`.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::{ArgGroup, Subcommand};
use peabiru_certs::SecretKey;
use peabiru_certs::pem::read_certificate;
use peabiru_certs::pilot_ca::PilotCa;
use peabiru_proto::globalconf::ConfigurationAnchor;
use peabiru_proto::hash::Digest;
use peabiru_proto::id::{MemberId, NodeId};
use peabiru_proto::language::Language;
use peabiru_proto::time::{Clock as _, SystemClock, Timestamp};
use peabiru_proto::wire::{
    AddNodeCertificateRequest, AddNodeRequest, DirectAddress, GetStatusRequest, NodeAddress, NodeRecord,
    PeerStatus, ReloadRequest, ReloadResponse, RemoveNodeCertificateRequest, SetNodeAddressesRequest,
    node_address,
};

use crate::CliError;
use crate::approval::answered;
use crate::args::Connect;
use crate::certificate::read_anchor;
use crate::globalconf::confirmed;
use crate::output;
use crate::site::{self, Site, SiteSpec};

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Runs a node until SIGTERM or SIGINT.
    #[command(after_help = "Example:\n  peabiru node run --config MEC/node.toml")]
    Run {
        /// node.toml
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
    /// Makes a node's folder: keys, node.toml, and requests for the certificates; of a pilot the certificates themselves.
    #[command(
        group = ArgGroup::new("trust").required(true),
        after_help = "Example:\n  peabiru node init MEC --instance-folder PY --id PY/GOV/MEC/node1 --member PY/GOV/MEC --listen 10.0.0.7:443\n  peabiru node init MEC-2 --anchor PY/anchor.toml --id PY/GOV/MEC/node2 --member PY/GOV/MEC --listen 10.0.0.8:443"
    )]
    Init {
        /// Where; made if it is not there.
        folder: PathBuf,
        /// Folder that `instance create` made: its pilot authority issues the certificates at once.
        #[arg(long, value_name = "FOLDER", group = "trust")]
        instance_folder: Option<PathBuf>,
        /// Configuration anchor of the instance: requests are written, for an authority elsewhere.
        #[arg(long, value_name = "FILE", group = "trust")]
        anchor: Option<PathBuf>,
        /// MEMBER/SERVER
        #[arg(long)]
        id: NodeId,
        /// Whom it hosts.
        #[arg(long)]
        member: MemberId,
        /// Address on which other nodes reach it (UDP and TCP).
        #[arg(long)]
        listen: SocketAddr,
    },
    /// Registers a node's folder: the node with its address, and the member's ledger.
    #[command(
        after_help = "Example:\n  peabiru node add PY/GOV/MEC/node1 --certificate MEC/keys/authentication.crt --address 10.0.0.7:443"
    )]
    Add {
        /// MEMBER/SERVER
        id: NodeId,
        /// Its authentication certificate.
        #[arg(long, value_name = "FILE")]
        certificate: PathBuf,
        /// HOST:PORT, the preferred one first; or `dial-out`.
        #[arg(long = "address", value_name = "ADDRESS", required = true)]
        addresses: Vec<String>,
    },
    /// Replaces a node's addresses.
    #[command(after_help = "Example:\n  peabiru node address PY/GOV/MEC/node1 --address nodo.mec.gov.py:443")]
    Address {
        /// MEMBER/SERVER
        id: NodeId,
        /// HOST:PORT, the preferred one first; or `dial-out`.
        #[arg(long = "address", value_name = "ADDRESS", required = true)]
        addresses: Vec<String>,
    },
    /// Registers one more authentication certificate, or withdraws one.
    #[command(
        after_help = "Example:\n  peabiru node certificate PY/GOV/MEC/node1 --add new.crt\n  peabiru node certificate PY/GOV/MEC/node1 --remove old.crt"
    )]
    Certificate {
        /// MEMBER/SERVER
        id: NodeId,
        /// Registers this one.
        #[arg(long, value_name = "FILE", required_unless_present = "remove")]
        add: Option<PathBuf>,
        /// Withdraws this one.
        #[arg(long, value_name = "FILE", conflicts_with = "add")]
        remove: Option<PathBuf>,
    },
    /// How a node does.
    #[command(after_help = "Example:\n  peabiru node status --admin-socket MEC/data/admin.sock")]
    Status,
    /// Makes a running node read its node.toml again. All of it is put in force, or nothing, and no exchange is dropped.
    /// SIGHUP does the same; the node's log then says what came of it.
    #[command(after_help = "Example:\n  peabiru node reload --admin-socket MEC/data/admin.sock")]
    Reload,
}

pub(crate) async fn run(verb: Verb, connect: &Connect) -> Result<(), CliError> {
    let language = connect.language();
    match verb {
        Verb::Run { .. } => unreachable!("a node brings its own runtime"),
        Verb::Init { folder, instance_folder, anchor, id, member, listen } => {
            let spec = SiteSpec { node: id, member, link: listen, sections: SECTIONS.to_owned() };
            let anchor = anchor.as_deref().map(read_anchor).transpose()?;
            match (anchor, instance_folder) {
                (Some(anchor), _) => prepare(&folder, &spec, &anchor, connect)?,
                (None, Some(of_instance)) => make(&folder, &spec, &of_instance, connect)?,
                (None, None) => {
                    let missing = language.of_both(
                        "falta --anchor o --instance-folder: ¿en quién debe confiar el nodo?",
                        "--anchor or --instance-folder is needed: whom should the node trust?",
                    );
                    return Err(CliError::Usage(missing.to_owned()));
                }
            }
        }
        Verb::Add { id, certificate, addresses } => {
            let node = NodeRecord {
                id: id.to_string(),
                addresses: addresses
                    .iter()
                    .map(|address| parse_address(address, language))
                    .collect::<Result<_, _>>()?,
                authentication_certificates: vec![read_certificate(&certificate)?],
            };
            let mut registry = connect.registry().await?;
            let added = registry.add_node(AddNodeRequest { node: Some(node) }).await?.into_inner();
            let done = format!("{id} {}", language.of_both("queda registrado", "is registered"));
            answered(connect, &done, added.globalconf_version, added.proposal);
        }
        Verb::Address { id, addresses } => {
            let addresses =
                addresses.iter().map(|address| parse_address(address, language)).collect::<Result<_, _>>()?;
            let request = SetNodeAddressesRequest { node: id.to_string(), addresses };
            let set = connect.registry().await?.set_node_addresses(request).await?.into_inner();
            let version = set.globalconf_version;
            output::done(
                connect,
                &language.of_both(
                    format!("{id} tiene direcciones nuevas (configuración global {version})"),
                    format!("{id} has new addresses (global configuration {version})"),
                ),
            );
        }
        Verb::Certificate { id, add, remove } => certificate(&id, add, remove, connect).await?,
        Verb::Status => status(connect).await?,
        Verb::Reload => reload(connect).await?,
    }
    Ok(())
}

/// One more authentication certificate, or one less.
async fn certificate(
    id: &NodeId,
    add: Option<PathBuf>,
    remove: Option<PathBuf>,
    connect: &Connect,
) -> Result<(), CliError> {
    let language = connect.language();
    let mut registry = connect.registry().await?;
    if let Some(file) = add {
        let certificate = read_certificate(&file)?;
        let request = AddNodeCertificateRequest { node: id.to_string(), certificate };
        let added = registry.add_node_certificate(request).await?.into_inner();
        let registered = language.of_both("queda registrado para", "is registered for");
        let done = format!("{} {registered} {id}", file.display());
        answered(connect, &done, added.globalconf_version, added.proposal);
    }
    if let Some(file) = remove {
        let sha256 = Digest::of(&read_certificate(&file)?);
        let certificate_sha256 = sha256.as_bytes().to_vec().into();
        let request = RemoveNodeCertificateRequest { node: id.to_string(), certificate_sha256 };
        let removed = registry.remove_node_certificate(request).await?.into_inner();
        let withdrawn = language.of_both("queda retirado de", "is withdrawn from");
        let done = format!("{} {withdrawn} {id}", file.display());
        answered(connect, &done, removed.globalconf_version, removed.proposal);
    }
    Ok(())
}

/// With certificates by the pilot authority.
fn make(folder: &Path, spec: &SiteSpec, instance_folder: &Path, connect: &Connect) -> Result<(), CliError> {
    let anchor = read_anchor(&instance_folder.join("anchor.toml"))?;
    let what = connect.language().of_both(
        "la clave de la autoridad piloto y las claves nuevas",
        "the pilot authority's key, and the new keys",
    );
    let passphrase = connect.passphrase().read(what)?;
    let ca = instance_folder.join("ca");
    let key = SecretKey::read_encrypted(&ca.join("pilot-ca.key"), &passphrase)?;
    let ca = PilotCa::open(&anchor.instance, read_certificate(&ca.join("pilot-ca.crt"))?, key)?;
    let site = Site::make(folder, spec, &ca, &anchor, &passphrase, SystemClock.now())?;
    output::fields(
        connect,
        &[
            ("node", "nodo", site.node.to_string()),
            ("configuration", "configuración", site.config().display().to_string()),
            ("ledger", "libro", site.origin.to_string()),
            (
                "authentication certificate",
                "certificado de autenticación",
                Digest::of(&site.authentication_certificate).to_string(),
            ),
        ],
    );
    Ok(())
}

/// With requests for an authority elsewhere.
fn prepare(
    folder: &Path,
    spec: &SiteSpec,
    anchor: &ConfigurationAnchor,
    connect: &Connect,
) -> Result<(), CliError> {
    let what = connect.language().of_both("las claves nuevas", "the new keys");
    let passphrase = connect.passphrase().read(what)?;
    let requests = site::prepare(folder, spec, anchor, &passphrase)?;
    output::fields(
        connect,
        &[
            ("node", "nodo", spec.node.to_string()),
            ("configuration", "configuración", requests.config.display().to_string()),
            ("ledger", "libro", requests.origin.to_string()),
            (
                "request for authentication",
                "pedido de autenticación",
                requests.authentication.display().to_string(),
            ),
            ("request for sealing", "pedido de sellado", requests.sealing.display().to_string()),
        ],
    );
    Ok(())
}

async fn status(connect: &Connect) -> Result<(), CliError> {
    let status = connect.node().await?.get_status(GetStatusRequest {}).await?.into_inner();
    let counters = status.counters.unwrap_or_default();
    let language = connect.language();
    let [entries, until] = language.of_both(["asientos", "hasta el"], ["entries", "until"]);
    let ledgers: Vec<_> = status
        .ledgers
        .iter()
        .map(|ledger| format!("{}  {} {entries}  {}", ledger.member, ledger.tree_size, ledger.origin))
        .collect();
    let peers: Vec<_> = status.peers.iter().map(|peer| connected(peer, language)).collect();
    let expires_at = Timestamp::from_ms(status.globalconf_expires_at_ms);
    let confirmed = confirmed(status.globalconf_confirmed_at_ms, SystemClock.now(), language);
    let globalconf = format!("{}, {until} {expires_at}", status.globalconf_version);
    output::fields(
        connect,
        &[
            ("node", "nodo", status.node),
            ("software", "programa", status.software),
            ("global configuration", "configuración global", globalconf),
            ("confirmed", "confirmada", confirmed),
            ("ledgers", "libros", ledgers.join("\n")),
            ("connected to", "conectado con", peers.join("\n")),
            ("exchanges asked", "intercambios consultados", counters.exchanges_asked.to_string()),
            ("exchanges answered", "intercambios respondidos", counters.exchanges_answered.to_string()),
            ("refusals", "rechazos", counters.refusals.to_string()),
            ("entries sealed", "asientos sellados", counters.entries.to_string()),
            ("commits", "confirmaciones en disco", counters.commits.to_string()),
            ("syncs", "sincronizaciones", counters.syncs.to_string()),
            ("signatures", "firmas", counters.signatures.to_string()),
        ],
    );
    Ok(())
}

async fn reload(connect: &Connect) -> Result<(), CliError> {
    let ReloadResponse { changes } = connect.node().await?.reload(ReloadRequest {}).await?.into_inner();
    let changed = match changes.as_slice() {
        [] => connect.language().of_both("nada", "nothing").to_owned(),
        changes => changes.join("\n"),
    };
    output::fields(connect, &[("changed", "cambió", changed)]);
    Ok(())
}

/// A peer in one line: over what, and why not over the better one.
fn connected(peer: &PeerStatus, language: Language) -> String {
    let PeerStatus { node, address, carrier, without_quic, .. } = peer;
    let why = if without_quic.is_empty() {
        String::new()
    } else {
        format!(" ({} quic: {without_quic})", language.of_both("sin", "not"))
    };
    format!("{node}  {address}  {carrier}{why}")
}

fn parse_address(text: &str, language: Language) -> Result<NodeAddress, CliError> {
    let invalid = || {
        CliError::Usage(language.of_both(
            format!("`{text}` no es una dirección: escriba HOST:PUERTO o dial-out"),
            format!("`{text}` is no address: write HOST:PORT or dial-out"),
        ))
    };
    let address = if text == "dial-out" {
        node_address::Address::DialOut(peabiru_proto::wire::DialOutAddress {})
    } else {
        let (host, port) = text.rsplit_once(':').ok_or_else(invalid)?;
        let port: u16 = port.parse().map_err(|_| invalid())?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        node_address::Address::Direct(DirectAddress { host: host.to_owned(), port: port.into() })
    };
    Ok(NodeAddress { address: Some(address) })
}

/// What a new node.toml has beside its identity.
const SECTIONS: &str = r#"[door]
unix_socket = "door.sock"

# One table for each credential of an application:
# [[clients]]
# subsystem = "INSTANCE/CLASS/MEMBER/SUBSYSTEM"
# unix_uid = 1000

# One table for each service of the agency:
# [[services]]
# service = "INSTANCE/CLASS/MEMBER/SUBSYSTEM/package.v1.Service"
# url = "http://127.0.0.1:50051"
"#;
