//! Instance `PY` with three agencies: INE (statistics), MEC (education), MITIC (planning).

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use data_encoding::HEXLOWER;
use peabiru_certs::pem::read_certificate;
use peabiru_certs::pilot_ca::PilotCa;
use peabiru_certs::{Passphrase, SecretKey};
use peabiru_example_connectivity::ine::Ine;
use peabiru_example_connectivity::mec::Mec;
use peabiru_example_connectivity::mec_rest::MecRest;
use peabiru_example_connectivity::{
    DISTRICT_CONTRACT, DISTRICT_SERVICE, PURPOSE, SCHOOL_CONTRACT, SCHOOL_REST_CONTRACT, SCHOOL_REST_SERVICE,
    SCHOOL_SERVICE,
};
use peabiru_proto::hash::Digest;
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

use super::process::{Process, own_program};
use crate::CliError;
use crate::client;
use crate::officers::Officers;
use crate::output::{line, write_private};
use crate::ports::free_port;
use crate::site::{Site, SiteSpec};

/// A country that runs.
pub(crate) struct Country {
    pub(crate) instance: Instance,
    pub(crate) mitic: Agency,
    pub(crate) others: [Agency; 2],
    /// Address of MITIC's door.
    pub(crate) door: SocketAddr,
    /// What the planner shows at that door.
    pub(crate) token: String,
    registry: Process,
    services: JoinSet<()>,
    stop_services: watch::Sender<()>,
}

/// An agency with its node.
pub(crate) struct Agency {
    pub(crate) site: Site,
    node: Process,
}

/// What an agency is registered with.
struct Plan {
    code: &'static str,
    name: &'static str,
    subsystem: &'static str,
    subsystem_name: &'static str,
    services: &'static [Offer],
}

/// A service, and the grant that lets MITIC's planner call it.
struct Offer {
    name: &'static str,
    contract: &'static [u8],
    grant: &'static str,
}

const PLANS: [Plan; 3] = [
    Plan {
        code: "INE",
        name: "Instituto Nacional de Estadística",
        subsystem: "census",
        subsystem_name: "Censo 2022",
        services: &[Offer {
            name: DISTRICT_SERVICE,
            contract: DISTRICT_CONTRACT,
            grant: "connectivity-planning",
        }],
    },
    Plan {
        code: "MEC",
        name: "Ministerio de Educación y Ciencias",
        subsystem: "education",
        subsystem_name: "Registro de establecimientos",
        services: &[
            Offer { name: SCHOOL_SERVICE, contract: SCHOOL_CONTRACT, grant: "connectivity-planning" },
            Offer { name: SCHOOL_REST_SERVICE, contract: SCHOOL_REST_CONTRACT, grant: "school-lookup" },
        ],
    },
    Plan {
        code: "MITIC",
        name: "Ministerio de Tecnologías de la Información y Comunicación",
        subsystem: "planning",
        subsystem_name: "Planificación de conectividad",
        services: &[],
    },
];

impl Country {
    /// Makes everything and starts it. Says each stage as it begins.
    pub(crate) async fn start(folder: &Path) -> Result<Self, CliError> {
        let passphrase = random_hex();
        line("[1/4] instance PY: root keys, pilot authority, registry");
        let (instance, ca) = make_instance(folder, &passphrase).await?;
        let log = folder.join("registry.log");
        let (registry, ready) =
            Process::start("registry", &instance.registry_config, &log, &passphrase).await?;
        let admin = word_after(&ready, "admin ").unwrap_or_default();
        let mut officers = Officers::connect(&instance, &admin, &secret(&passphrase)).await?;
        line("[2/4] members INE, MEC, MITIC: keys, certificates, contracts");
        let token = random_hex();
        let (mut sites, mut listeners) = (Vec::new(), Vec::new());
        for plan in &PLANS {
            let mut addresses = Vec::new();
            for _ in plan.services {
                let listener = bind().await?;
                addresses.push(local_address(&listener)?);
                listeners.push(listener);
            }
            let site =
                enrol(folder, plan, &addresses, &token, &ca, &instance, &passphrase, &mut officers).await?;
            sites.push(site);
        }
        let (stop_services, stopped) = watch::channel(());
        let services = serve(listeners, &stopped)?;
        line("[3/4] nodes of INE, MEC, MITIC: recovery, QUIC links, doors");
        let mut agencies = Vec::new();
        let mut door = None;
        for site in sites {
            let log = site.folder.join("node.log");
            let (node, ready) = Process::start("node", &site.config(), &log, &passphrase).await?;
            door = word_after(&ready, "door ").and_then(|door| door.parse().ok());
            agencies.push(Agency { site, node });
        }
        let [ine, mec, mitic] =
            <[Agency; 3]>::try_from(agencies).unwrap_or_else(|_| unreachable!("one agency for each plan"));
        let door = door.ok_or_else(|| CliError::Scenario("MITIC's node has no door".to_owned()))?;
        line("[4/4] grants: INE and MEC allow MITIC's planner, for connectivity planning, for a year");
        grant(&ine, &PLANS[0]).await?;
        grant(&mec, &PLANS[1]).await?;
        write_environment(folder, &instance, &mitic.site, &admin, &passphrase, door, &token)?;
        Ok(Self { instance, mitic, others: [ine, mec], door, token, registry, services, stop_services })
    }

    /// Nodes first, then what they depend on.
    pub(crate) async fn stop(mut self) {
        let [ine, mec] = self.others;
        for agency in [self.mitic, mec, ine] {
            agency.node.stop().await;
        }
        self.registry.stop().await;
        self.stop_services.send_replace(());
        while self.services.join_next().await.is_some() {}
    }
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
        let service = format!("{subsystem}/{}", offer.name);
        let request = AddContractRequest { service, document: offer.contract.into() };
        officers.registration.add_contract(request).await?;
    }
    Ok(site)
}

/// What is particular to an agency's node.toml.
fn sections(plan: &Plan, subsystem: &str, addresses: &[SocketAddr], token: &str) -> String {
    let mut text = String::new();
    for (offer, address) in plan.services.iter().zip(addresses) {
        let name = offer.name;
        text.push_str(&format!(
            "[[services]]\nservice = \"{subsystem}/{name}\"\nurl = \"http://{address}\"\n\n"
        ));
    }
    if plan.services.is_empty() {
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

fn serve(listeners: Vec<TcpListener>, stopped: &watch::Receiver<()>) -> Result<JoinSet<()>, CliError> {
    let unreadable =
        |error: peabiru_example_connectivity::data::DataError| CliError::Scenario(error.to_string());
    let (ine, mec) = (Ine::open().map_err(unreadable)?, Mec::open().map_err(unreadable)?);
    let mec_rest = MecRest::open().map_err(unreadable)?;
    let stop = || {
        let mut stopped = stopped.clone();
        async move {
            // An error means that the sender is gone, which is a stop too.
            let _ = stopped.changed().await;
        }
    };
    let mut services = JoinSet::new();
    let mut listeners = listeners.into_iter();
    if let (Some(of_ine), Some(of_mec), Some(of_rest)) =
        (listeners.next(), listeners.next(), listeners.next())
    {
        let (ine, mec) = (ine.serve(of_ine, stop()), mec.serve(of_mec, stop()));
        let mec_rest = mec_rest.serve(of_rest, stop());
        services.spawn(async move { ended(ine.await) });
        services.spawn(async move { ended(mec.await) });
        services.spawn(async move { ended(mec_rest.await) });
    }
    Ok(services)
}

fn ended(result: Result<(), impl std::fmt::Display>) {
    if let Err(error) = result {
        tracing::error!(%error, "an agency's service ended");
    }
}

async fn grant(provider: &Agency, plan: &Plan) -> Result<(), CliError> {
    let now = SystemClock.now();
    let mut node = client::node(&provider.site.admin_socket()).await?;
    for offer in plan.services {
        let grant = Grant {
            id: offer.grant.to_owned(),
            consumer: "PY/GOV/MITIC/planning".to_owned(),
            service: format!("PY/GOV/{}/{}/{}", plan.code, plan.subsystem, offer.name),
            purposes: vec![PURPOSE.to_owned()],
            valid_from_ms: now.as_ms(),
            expires_at_ms: now.plus(YEAR).as_ms(),
            ..Grant::default()
        };
        node.put_grant(PutGrantRequest { grant: Some(grant) }).await?;
    }
    Ok(())
}

#[allow(clippy::too_many_arguments, reason = "called once; each is a line of the file")]
fn write_environment(
    folder: &Path,
    instance: &Instance,
    mitic: &Site,
    admin: &str,
    passphrase: &str,
    door: SocketAddr,
    token: &str,
) -> Result<(), CliError> {
    let token_file = folder.join("planner.token");
    write_private(&token_file, token.as_bytes())?;
    let operator = instance.registration_officer.files();
    let registry_certificate = instance.registry_config.with_file_name("tls.crt");
    let lines = [
        ("PEABIRU_PASSPHRASE", passphrase.to_owned()),
        ("PEABIRU_REGISTRY", format!("https://{admin}")),
        ("PEABIRU_REGISTRY_CERTIFICATE", registry_certificate.display().to_string()),
        ("PEABIRU_OPERATOR", operator.display().to_string()),
        ("PEABIRU_ADMIN_SOCKET", mitic.admin_socket().display().to_string()),
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

async fn bind() -> Result<TcpListener, CliError> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(no_port)
}

fn local_address(listener: &TcpListener) -> Result<SocketAddr, CliError> {
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

fn word_after(line: &str, label: &str) -> Option<String> {
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

/// Shell variables that name everything in the sandbox.
pub(crate) const ENVIRONMENT: &str = "env.sh";
const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);

impl Country {
    /// Folder of an agency's evidence.
    pub(crate) fn evidence_folder(folder: &Path) -> PathBuf {
        folder.join("report/evidence")
    }
}
