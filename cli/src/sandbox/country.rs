//! Instance `PY` with five agencies: INE (statistics), MEC (education), MSPBS (health), CONATEL (telecommunications) and
//! MITIC (public spaces, planning).

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use data_encoding::HEXLOWER;
use peabiru_certs::pem::read_certificate;
use peabiru_certs::pilot_ca::PilotCa;
use peabiru_certs::{Passphrase, SecretKey};
use peabiru_example_connectivity::PURPOSE;
use peabiru_example_connectivity::agency::Service;
use peabiru_example_connectivity::data::Published;
use peabiru_proto::globalconf::ConfigurationAnchor;
use peabiru_proto::hash::Digest;
use peabiru_proto::language::Language;
use peabiru_proto::random::{Random as _, SystemRandom};
use peabiru_proto::time::{Clock as _, SystemClock};
use peabiru_proto::wire::{
    AddContractRequest, AddMemberRequest, AddSubsystemRequest, Grant, PutGrantRequest, SubsystemRecord,
};
use peabiru_registry::instance::{self, Instance, InstanceSpec};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use zeroize::Zeroizing;

use super::folder::REPORT;
use super::process::{Process, own_program};
use crate::CliError;
use crate::client;
use crate::officers::Officers;
use crate::output::{line, write_private};
use crate::ports::free_port;
use crate::site::{Site, SiteFolder, SiteSpec};

/// A country that runs.
pub(crate) struct Country {
    pub(crate) instance: Trust,
    /// Agencies that answer; MITIC, which asks, is the last.
    pub(crate) agencies: Vec<Agency>,
    /// Address of MITIC's door.
    pub(crate) door: SocketAddr,
    /// What the planner shows at that door.
    pub(crate) token: String,
    pub(super) registry: Process,
    pub(super) services: Services,
}

/// Whom everyone in the country trusts.
pub(crate) struct Trust {
    pub(crate) anchor: ConfigurationAnchor,
    pub(crate) anchor_file: PathBuf,
}

/// The agencies' services, in this process.
pub(super) struct Services {
    running: JoinSet<()>,
    stop: watch::Sender<()>,
}

/// An agency with its node.
pub(crate) struct Agency {
    /// As in `PY/GOV/INE`.
    pub(crate) code: &'static str,
    pub(crate) site: SiteFolder,
    node: Process,
}

/// What an agency is registered with.
pub(super) struct Plan {
    pub(super) code: &'static str,
    name: &'static str,
    subsystem: &'static str,
    subsystem_name: &'static str,
    pub(super) services: &'static [Offer],
}

/// A service, and the grant that lets MITIC's planner call it.
pub(super) struct Offer {
    pub(super) service: Service,
    pub(super) grant: &'static str,
}

const fn offer(service: Service) -> Offer {
    Offer { service, grant: PURPOSE }
}

/// MITIC is the last: once its node is ready, all others are.
pub(super) const PLANS: [Plan; 5] = [
    Plan {
        code: "INE",
        name: "Instituto Nacional de Estadística",
        subsystem: "census",
        subsystem_name: "Censo 2022",
        services: &[offer(Service::Districts)],
    },
    Plan {
        code: "MEC",
        name: "Ministerio de Educación y Ciencias",
        subsystem: "education",
        subsystem_name: "Registro de establecimientos",
        services: &[offer(Service::Schools), Offer { service: Service::SchoolsRest, grant: "school-lookup" }],
    },
    Plan {
        code: "MSPBS",
        name: "Ministerio de Salud Pública y Bienestar Social",
        subsystem: "health",
        subsystem_name: "Registro de establecimientos de salud",
        services: &[offer(Service::Facilities)],
    },
    Plan {
        code: "CONATEL",
        name: "Comisión Nacional de Telecomunicaciones",
        subsystem: "telecommunications",
        subsystem_name: "Indicadores y programas publicados",
        services: &[offer(Service::Publications)],
    },
    Plan {
        code: MITIC,
        name: "Ministerio de Tecnologías de la Información y Comunicación",
        subsystem: "planning",
        subsystem_name: "Planificación de conectividad",
        services: &[offer(Service::PublicSpaces)],
    },
];

impl Country {
    /// Makes everything and starts it. Says each stage as it begins.
    pub(crate) async fn start(folder: &Path, language: Language) -> Result<Self, CliError> {
        let passphrase = random_hex();
        line(language.of_both(
            "[1/4] instancia PY: claves raíz, autoridad piloto, registro",
            "[1/4] instance PY: root keys, pilot authority, registry",
        ));
        let (instance, ca) = make_instance(folder, &passphrase).await?;
        let log = folder.join("registry.log");
        let (registry, ready) =
            Process::start("registry", &instance.registry_config, &log, &passphrase).await?;
        let admin = word_after(&ready, "admin ").unwrap_or_default();
        let mut officers = Officers::connect(&instance, &admin, &secret(&passphrase)).await?;
        line(language.of_both(
            "[2/4] miembros INE, MEC, MSPBS, CONATEL, MITIC: claves, certificados, contratos",
            "[2/4] members INE, MEC, MSPBS, CONATEL, MITIC: keys, certificates, contracts",
        ));
        let token = random_hex();
        let (mut sites, mut listeners) = (Vec::new(), Vec::new());
        for plan in &PLANS {
            let mut addresses = Vec::new();
            for offer in plan.services {
                let listener = bind().await?;
                addresses.push(local_address(&listener)?);
                listeners.push((offer.service, listener));
            }
            let site =
                enrol(folder, plan, &addresses, &token, &ca, &instance, &passphrase, &mut officers).await?;
            sites.push(site);
        }
        let services = Services::start(listeners, &Published::shipped());
        line(language.of_both(
            "[3/4] un nodo para cada uno: recuperación, enlaces QUIC, puertas",
            "[3/4] a node for each: recovery, QUIC links, doors",
        ));
        let sites = sites.into_iter().zip(&PLANS).map(|(site, plan)| (plan.code, SiteFolder(site.folder)));
        let (agencies, door) = start_nodes(sites, &passphrase).await?;
        line(language.of_both(
            "[4/4] autorizaciones: cada institución autoriza al planificador del MITIC, para planificar la conectividad, por un año",
            "[4/4] grants: each agency allows MITIC's planner, for connectivity planning, for a year",
        ));
        for (agency, plan) in agencies.iter().zip(&PLANS) {
            grant(agency, plan).await?;
        }
        let instance = Trust { anchor: instance.anchor, anchor_file: instance.anchor_file };
        let country = Self { instance, agencies, door, token, registry, services };
        write_environment(folder, &country, &admin, &passphrase)?;
        Ok(country)
    }

    /// The node that asks.
    pub(crate) fn mitic(&self) -> Result<&Agency, CliError> {
        let mitic = self.agencies.iter().find(|agency| agency.code == MITIC);
        mitic.ok_or_else(|| CliError::Scenario("MITIC has no node".to_owned()))
    }

    /// Nodes first, then what they depend on.
    pub(crate) async fn stop(mut self) {
        for agency in self.agencies.drain(..).rev() {
            agency.node.stop().await;
        }
        self.registry.stop().await;
        self.services.stop.send_replace(());
        while self.services.running.join_next().await.is_some() {}
    }
}

/// Starts the nodes in these folders, one after the other. Gives also the door of the last.
pub(super) async fn start_nodes(
    sites: impl Iterator<Item = (&'static str, SiteFolder)>,
    passphrase: &str,
) -> Result<(Vec<Agency>, SocketAddr), CliError> {
    let mut agencies = Vec::new();
    let mut door = None;
    for (code, site) in sites {
        let log = site.0.join("node.log");
        let (node, ready) = Process::start("node", &site.config(), &log, passphrase).await?;
        door = word_after(&ready, "door ").and_then(|door| door.parse().ok());
        agencies.push(Agency { code, site, node });
    }
    let door = door.ok_or_else(|| CliError::Scenario("MITIC's node has no door".to_owned()))?;
    Ok((agencies, door))
}

async fn make_instance(folder: &Path, passphrase: &str) -> Result<(Instance, PilotCa), CliError> {
    let spec = InstanceSpec {
        instance: "PY".parse().expect("a part of an identifier"),
        domain: "py.peabiru.example".parse().expect("a domain"),
        name: Some("Paraguay (sandbox)".to_owned()),
        roots: 3,
        threshold: 2,
        hosts: vec![Ipv4Addr::LOCALHOST.to_string()],
        listen: Ipv4Addr::LOCALHOST.into(),
        admin_port: free_port().map_err(no_port)?,
        distribution_port: free_port().map_err(no_port)?,
    };
    let (path, passphrase) = (folder.join("PY"), secret(passphrase));
    blocking(move || {
        let instance = instance::create(&path, &spec, &passphrase, SystemClock.now())?;
        let key = SecretKey::read_encrypted(&instance.ca_key, &passphrase)?;
        let ca = PilotCa::open(&spec.instance, read_certificate(&instance.ca_certificate)?, key)?;
        Ok((instance, ca))
    })
    .await
}

#[allow(clippy::too_many_arguments, reason = "called once; each is a thing of its own")]
async fn enrol(
    folder: &Path,
    plan: &Plan,
    addresses: &[SocketAddr],
    token: &str,
    ca: &PilotCa,
    instance: &Instance,
    passphrase: &str,
    officers: &mut Officers,
) -> Result<Site, CliError> {
    let member = format!("PY/GOV/{}", plan.code);
    let subsystem = format!("{member}/{}", plan.subsystem);
    let spec = SiteSpec {
        node: parse(&format!("{member}/node1"))?,
        member: parse(&member)?,
        link: free_address()?,
        sections: sections(plan, &subsystem, addresses, token),
    };
    let path = folder.join(plan.code);
    let site = Site::make(&path, &spec, ca, &instance.anchor, &secret(passphrase), SystemClock.now())?;
    let request = AddMemberRequest { member, name: plan.name.to_owned() };
    let added = officers.registration.add_member(request).await?.into_inner();
    officers.approve(added.proposal).await?;
    let record = SubsystemRecord { id: subsystem.clone(), name: plan.subsystem_name.to_owned() };
    officers.registration.add_subsystem(AddSubsystemRequest { subsystem: Some(record) }).await?;
    site.register(officers).await?;
    for offer in plan.services {
        let service = format!("{subsystem}/{}", offer.service.code());
        let request = AddContractRequest { service, document: offer.service.contract().into() };
        officers.registration.add_contract(request).await?;
    }
    Ok(site)
}

/// What is particular to an agency's node.toml.
fn sections(plan: &Plan, subsystem: &str, addresses: &[SocketAddr], token: &str) -> String {
    let mut text = String::new();
    for (offer, address) in plan.services.iter().zip(addresses) {
        let name = offer.service.code();
        text.push_str(&format!(
            "[[services]]\nservice = \"{subsystem}/{name}\"\nurl = \"http://{address}\"\n\n"
        ));
    }
    if plan.code == MITIC {
        text.push_str(&format!(
            "[door]\nlisten = \"127.0.0.1:0\"\nunix_socket = \"door.sock\"\n\n[[clients]]\nsubsystem = \"{subsystem}\"\n\
             token_sha256 = \"{}\"\n\n[[clients]]\nsubsystem = \"{subsystem}\"\nunix_uid = {}\n\n",
            Digest::of(token.as_bytes()),
            rustix::process::getuid().as_raw(),
        ));
    }
    text.push_str("[metrics]\nlisten = \"127.0.0.1:0\"\n\n[globalconf]\nrefresh_seconds = 2\n\n[storage]\nsegment_mebibytes = 16\n");
    text
}

impl Services {
    /// Answers from these files.
    pub(super) fn start(listeners: Vec<(Service, TcpListener)>, published: &Published) -> Self {
        let (stop, stopped) = watch::channel(());
        let mut running = JoinSet::new();
        for (service, listener) in listeners {
            let (mut stopped, published) = (stopped.clone(), published.clone());
            let stop = async move {
                // An error means that the sender is gone, which is a stop too.
                let _ = stopped.changed().await;
            };
            running.spawn(async move {
                if let Err(error) = service.serve(&published, listener, stop).await {
                    tracing::error!(service = service.code(), %error, "an agency's service ended");
                }
            });
        }
        Self { running, stop }
    }
}

pub(super) async fn grant(provider: &Agency, plan: &Plan) -> Result<(), CliError> {
    let now = SystemClock.now();
    let mut node = client::node(&provider.site.admin_socket()).await?;
    for offer in plan.services {
        let grant = Grant {
            id: offer.grant.to_owned(),
            consumer: "PY/GOV/MITIC/planning".to_owned(),
            service: format!("PY/GOV/{}/{}/{}", plan.code, plan.subsystem, offer.service.code()),
            purposes: vec![PURPOSE.to_owned()],
            valid_from_ms: now.as_ms(),
            expires_at_ms: now.plus(YEAR).as_ms(),
            ..Grant::default()
        };
        node.put_grant(PutGrantRequest { grant: Some(grant) }).await?;
    }
    Ok(())
}

pub(super) fn write_environment(
    folder: &Path,
    country: &Country,
    admin: &str,
    passphrase: &str,
) -> Result<(), CliError> {
    let Country { door, token, .. } = country;
    let token_file = folder.join(TOKEN_FILE);
    write_private(&token_file, token.as_bytes())?;
    let operator = folder.join("PY/operators/registration-officer");
    let registry_certificate = folder.join("PY/registry/tls.crt");
    let lines = [
        (PASSPHRASE, passphrase.to_owned()),
        ("PEABIRU_REGISTRY", format!("https://{admin}")),
        ("PEABIRU_REGISTRY_CERTIFICATE", registry_certificate.display().to_string()),
        ("PEABIRU_OPERATOR", operator.display().to_string()),
        ("PEABIRU_ADMIN_SOCKET", country.mitic()?.site.admin_socket().display().to_string()),
        ("PEABIRU_DOOR", format!("http://{door}")),
        ("PEABIRU_TOKEN_FILE", token_file.display().to_string()),
    ];
    let mut text = String::from("# For a shell: the sandbox's registry, and MITIC's node and door.\n");
    for (name, value) in lines {
        text.push_str(&format!("export {name}='{value}'\n"));
    }
    // So that `peabiru` alone is found.
    let program = own_program()?;
    if let Some(folder) = program.parent() {
        text.push_str(&format!("export PATH='{}':\"$PATH\"\n", folder.display()));
    }
    write_private(&folder.join(ENVIRONMENT), text.as_bytes())
}

pub(super) async fn bind() -> Result<TcpListener, CliError> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(no_port)
}

pub(super) fn local_address(listener: &TcpListener) -> Result<SocketAddr, CliError> {
    listener.local_addr().map_err(no_port)
}

/// For a process that starts later.
fn free_address() -> Result<SocketAddr, CliError> {
    free_port().map(|port| (Ipv4Addr::LOCALHOST, port).into()).map_err(no_port)
}

#[allow(clippy::needless_pass_by_value, reason = "it stands in map_err")]
fn no_port(error: std::io::Error) -> CliError {
    CliError::Process { what: "a listener on 127.0.0.1".to_owned(), reason: error.to_string() }
}

fn parse<T: std::str::FromStr>(text: &str) -> Result<T, CliError>
where
    T::Err: std::fmt::Display,
{
    text.parse().map_err(|error: T::Err| CliError::Scenario(error.to_string()))
}

pub(super) fn word_after(line: &str, label: &str) -> Option<String> {
    let (_, rest) = line.split_once(label)?;
    rest.split([',', ' ']).next().map(str::to_owned)
}

fn random_hex() -> String {
    let mut bytes = [0; 16];
    SystemRandom::default().fill(&mut bytes);
    HEXLOWER.encode(&bytes)
}

fn secret(passphrase: &str) -> Passphrase {
    Passphrase::new(Zeroizing::new(passphrase.to_owned())).expect("it is not empty")
}

/// Key files are slow to make on purpose.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, CliError> + Send + 'static,
) -> Result<T, CliError> {
    let ended = |error: tokio::task::JoinError| CliError::Scenario(error.to_string());
    tokio::task::spawn_blocking(work).await.map_err(ended)?
}

/// Whose planner asks.
const MITIC: &str = "MITIC";
/// Shell variables that name everything in the sandbox.
pub(crate) const ENVIRONMENT: &str = "env.sh";
/// One of them.
pub(super) const PASSPHRASE: &str = "PEABIRU_PASSPHRASE";
/// What the planner shows at the door.
pub(super) const TOKEN_FILE: &str = "planner.token";
const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);

impl Country {
    /// Folder of an agency's evidence.
    pub(crate) fn evidence_folder(folder: &Path) -> PathBuf {
        folder.join(REPORT).join("evidence")
    }
}
