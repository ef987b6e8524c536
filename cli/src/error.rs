//! What can go wrong with a command, and with which exit code it ends.

use std::io;
use std::path::PathBuf;

use peabiru_certs::CertsError;
use peabiru_ledger::LedgerError;
use peabiru_node::NodeError;
use peabiru_proto::fault::Fault;
use peabiru_proto::language::Language;
use peabiru_registry::RegistryError;

/// Why a command did not do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CliError {
    /// Arguments that contradict each other, or a text that is not what it should be.
    #[error("{0}")]
    Usage(String),
    /// A file or folder.
    #[error("{path}: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Keys and certificates.
    #[error(transparent)]
    Certs(#[from] CertsError),
    /// Nobody answers.
    #[error("{}: {reason}", .whom.said(Language::English))]
    Unreachable {
        /// Who was asked.
        whom: Whom,
        /// What happened.
        reason: String,
    },
    /// The node or the registry refuses, with a fault of its own.
    #[error("{}", describe(.0, Language::English))]
    Refused(Box<Fault>),
    /// Something else that gRPC says.
    #[error("{code}: {message}")]
    Status {
        /// gRPC's name of it.
        code: tonic::Code,
        /// For people.
        message: String,
    },
    /// A ledger's folder.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// A registry that does not start, or stopped.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// A node that does not start, or stopped.
    #[error(transparent)]
    Node(#[from] NodeError),
    /// A process that was started and did not become ready.
    #[error("{what} did not start: {reason}")]
    Process {
        /// Which.
        what: String,
        /// What it said.
        reason: String,
    },
    /// Evidence or a ledger that does not hold. What is wrong was printed.
    #[error("not verified")]
    NotVerified,
    /// Evidence that is consistent, but nobody said whom to trust. What was found was printed.
    #[error("consistent, trust not established: give the configuration anchor with --trust")]
    TrustNotEstablished,
    /// `doctor` found what will need mending. It was printed.
    #[error("something needs care soon")]
    NeedsCare,
    /// `doctor` found what does not work. It was printed.
    #[error("something does not work")]
    Broken,
    /// Grants that another node does not take. The others are there.
    #[error("{} grants are not there; mend what is said of each and share again:\n{}", .refused.len(), .refused.join("\n"))]
    Unshared {
        /// Each with the reason.
        refused: Vec<String>,
    },
    /// A country runs in this folder: its files are in use.
    #[error(
        "{folder}: a country runs there. Stop it with Ctrl-C in its terminal, or name another folder with --folder"
    )]
    SandboxRuns {
        /// Which.
        folder: PathBuf,
    },
    /// What is in the folder is somebody else's.
    #[error("{folder} is there and no sandbox made it: name another folder with --folder")]
    NoSandbox {
        /// Which.
        folder: PathBuf,
    },
    /// There is nothing to compare with.
    #[error("{folder} holds no earlier run: run without --update first")]
    NoEarlierRun {
        /// Which.
        folder: PathBuf,
    },
    /// A run that was stopped by a signal.
    #[error("it was stopped before its end")]
    Interrupted,
    /// A scenario that could not be carried through.
    #[error("{0}")]
    Scenario(String),
}

/// Who does not answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Whom {
    /// A node, at its admin socket.
    Node(PathBuf),
    /// The registry, at its URL.
    Registry(String),
    /// A node's door.
    Door(String),
    /// Somebody who answered before.
    Connected,
}

impl Whom {
    fn said(&self, language: Language) -> String {
        match self {
            Self::Node(socket) => {
                format!("{} {}", language.of_both("el nodo en", "node at"), socket.display())
            }
            Self::Registry(url) => format!("{} {url}", language.of_both("el registro", "registry")),
            Self::Door(door) => format!("{} {door}", language.of_both("la puerta", "door")),
            Self::Connected => language.of_both("quien estaba conectado", "the connection").to_owned(),
        }
    }
}

impl CliError {
    /// With which the command ends.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) | Self::NoSandbox { .. } | Self::NoEarlierRun { .. } => 2,
            Self::Unreachable { .. } => 3,
            Self::NotVerified => 4,
            Self::TrustNotEstablished => 5,
            Self::NeedsCare => 6,
            Self::Broken => 7,
            _ => 1,
        }
    }

    /// The stable code of the error.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Usage(_) => "cli.usage",
            Self::File { .. } => "cli.file",
            Self::Certs(error) => error.code(),
            Self::Unreachable { .. } => "cli.unreachable",
            Self::Refused(fault) => fault.code.as_str(),
            Self::Status { .. } => "cli.status",
            Self::Ledger(error) => error.code(),
            Self::Registry(error) => error.code(),
            Self::Node(error) => error.code(),
            Self::Process { .. } => "cli.process",
            Self::NotVerified => "cli.not_verified",
            Self::TrustNotEstablished => "cli.trust_not_established",
            Self::NeedsCare => "cli.needs_care",
            Self::Broken => "cli.broken",
            Self::Unshared { .. } => "cli.unshared",
            Self::SandboxRuns { .. } => "cli.sandbox_runs",
            Self::NoSandbox { .. } => "cli.no_sandbox",
            Self::NoEarlierRun { .. } => "cli.no_earlier_run",
            Self::Interrupted => "cli.interrupted",
            Self::Scenario(_) => "cli.scenario",
        }
    }

    /// For people. What other programs and the system say stays as they say it.
    #[must_use]
    pub fn said(&self, language: Language) -> String {
        match language {
            Language::English => self.to_string(),
            Language::Spanish => self.in_spanish(),
        }
    }

    fn in_spanish(&self) -> String {
        let spanish = Language::Spanish;
        match self {
            Self::Certs(error)
            | Self::Registry(RegistryError::Certs(error))
            | Self::Node(NodeError::Certs(error)) => error.said(spanish),
            Self::Refused(fault) => describe(fault, spanish),
            Self::NotVerified => "no verificado".to_owned(),
            Self::TrustNotEstablished => {
                "coherente, confianza no establecida: dé el ancla de configuración con --trust".to_owned()
            }
            Self::NeedsCare => "algo necesita atención pronto".to_owned(),
            Self::Broken => "algo no funciona".to_owned(),
            Self::Unreachable { whom, reason } => format!("no responde {}: {reason}", whom.said(spanish)),
            Self::Process { what, reason } => format!("{what} no arrancó: {reason}"),
            Self::Unshared { refused } => format!(
                "{} autorizaciones no están allí; remedie lo que se dice de cada una y compártalas otra vez:\n{}",
                refused.len(),
                refused.join("\n")
            ),
            Self::SandboxRuns { folder } => format!(
                "{}: allí hay un país en marcha. Deténgalo con Ctrl-C en su terminal, o nombre otra carpeta con --folder",
                folder.display()
            ),
            Self::NoSandbox { folder } => format!(
                "{} existe y no la hizo ningún sandbox: nombre otra carpeta con --folder",
                folder.display()
            ),
            Self::NoEarlierRun { folder } => format!(
                "{} no tiene ninguna corrida anterior: ejecute primero sin --update",
                folder.display()
            ),
            Self::Interrupted => "se detuvo antes de terminar".to_owned(),
            // A ledger's folder, a registry or a node that does not start: for their log, in its language.
            Self::Ledger(_) | Self::Registry(_) | Self::Node(_) => self.to_string(),
            // Said in the right language where it was made, or by the system.
            Self::Usage(_) | Self::File { .. } | Self::Status { .. } | Self::Scenario(_) => self.to_string(),
        }
    }

    pub(crate) fn unreachable(whom: Whom, error: &dyn std::error::Error) -> Self {
        let mut reason = error.to_string();
        let mut source = error.source();
        while let Some(error) = source {
            reason = format!("{reason}: {error}");
            source = error.source();
        }
        Self::Unreachable { whom, reason }
    }

    pub(crate) fn file(path: &std::path::Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File { path, source }
    }
}

impl From<tonic::Status> for CliError {
    fn from(status: tonic::Status) -> Self {
        match Fault::from_grpc_details(status.details()) {
            Some(fault) => Self::Refused(Box::new(fault)),
            None if status.code() == tonic::Code::Unavailable => Self::unreachable(Whom::Connected, &status),
            None => Self::Status { code: status.code(), message: status.message().to_owned() },
        }
    }
}

/// A fault for people: what happened, who can mend it, what to do.
fn describe(fault: &Fault, language: Language) -> String {
    let [blame, hint] = fault.advice(language);
    let [who, what] = match language {
        Language::English => ["who can mend it", "what to do"],
        Language::Spanish => ["quién puede remediarlo", "qué hacer"],
    };
    format!("{}\n  {who}: {blame}\n  {what}: {hint}", fault.happened(language))
}
