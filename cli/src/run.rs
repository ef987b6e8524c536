//! From arguments to the noun that answers them. The only module that runs a node or a registry in this process.

use std::future::Future;
use std::io::Write as _;
use std::path::Path;

use peabiru_certs::peer::TlsIdentity;
use peabiru_certs::pem::read_certificate;
use peabiru_certs::{PassphraseSource, SecretKey};
use peabiru_proto::hash::Digest;
use peabiru_proto::language::Language;
use peabiru_registry::config::Config;
use peabiru_registry::delegation::Delegation;
use tokio::runtime::Builder;

use crate::args::{Args, Connect, Noun, RegistryVerb};
use crate::client::{self, NodeClient, RegistryClient};
use crate::output::Format;
use crate::{
    CliError, approval, call, certificate, completions, contract, doctor, evidence, exchange, globalconf,
    grant, history, instance, ledger, member, node, output, sandbox,
};

pub(crate) fn run(args: Args) -> Result<(), CliError> {
    let connect = &args.connect;
    match args.noun {
        Noun::Instance(verb) => instance::run(verb, connect),
        Noun::Sandbox(verb) => block_on(sandbox::run(verb, connect)),
        Noun::Registry(RegistryVerb::Run { config }) => block_on(registry(&config, connect)),
        Noun::Registry(RegistryVerb::Show { config }) => show_registry(&config, connect),
        Noun::Registry(RegistryVerb::History { start, limit }) => {
            block_on(history::run(start, limit, connect))
        }
        Noun::Node(node::Verb::Run { config }) => run_node(&config, connect),
        Noun::Node(verb) => block_on(node::run(verb, connect)),
        Noun::Member(verb) => block_on(member::run(verb, connect)),
        Noun::Subsystem(verb) => block_on(member::run_subsystem(verb, connect)),
        Noun::Contract(verb) => block_on(contract::run(verb, connect)),
        Noun::Grant(verb) => block_on(grant::run(verb, connect)),
        Noun::Certificate(verb) => block_on(certificate::run(verb, connect)),
        Noun::Approval(verb) => block_on(approval::run(verb, connect)),
        Noun::Globalconf(verb) => block_on(globalconf::run(verb, connect)),
        Noun::Call(call) => block_on(call::run(call, connect)),
        Noun::Ledger(verb) => block_on(ledger::run(verb, connect)),
        Noun::Exchange(verb) => block_on(exchange::run(verb, connect)),
        Noun::Evidence(verb) => block_on(evidence::run(verb, connect)),
        Noun::Doctor(doctor::Doctor {}) => block_on(doctor::run(connect)),
        Noun::Completions(shell) => {
            completions::run(&shell);
            Ok(())
        }
    }
}

impl Connect {
    /// In which language this command speaks. JSON is for programs, and the same in all languages.
    pub(crate) fn language(&self) -> Language {
        match self.output {
            Format::Table => Language::of_environment(|name| std::env::var(name).ok()),
            Format::Json => Language::English,
        }
    }

    pub(crate) fn passphrase(&self) -> PassphraseSource {
        PassphraseSource::choose(self.passphrase_fd)
    }

    /// The registry, as the operator.
    pub(crate) async fn registry(&self) -> Result<RegistryClient, CliError> {
        let language = self.language();
        let missing = |flag: &str| {
            CliError::Usage(language.of_both(
                format!("falta {flag} para hablar con el registro"),
                format!("{flag} is needed to talk to the registry"),
            ))
        };
        let url = self.registry.as_deref().ok_or_else(|| missing("--registry (PEABIRU_REGISTRY)"))?;
        let pinned = self.registry_certificate.as_deref();
        let pinned =
            pinned.ok_or_else(|| missing("--registry-certificate (PEABIRU_REGISTRY_CERTIFICATE)"))?;
        let pinned: Digest = match pinned.parse() {
            Ok(sha256) => sha256,
            Err(_) => Digest::of(&read_certificate(Path::new(pinned))?),
        };
        let operator = self.operator.as_deref().ok_or_else(|| missing("--operator (PEABIRU_OPERATOR)"))?;
        let certificate = read_certificate(&suffixed(operator, "crt"))?;
        let whose = self.language().of_both("la clave del operador", "the operator's key");
        let passphrase = self.passphrase().read(whose)?;
        let key = SecretKey::read_encrypted(&suffixed(operator, "key"), &passphrase)?;
        client::registry(url, pinned, &TlsIdentity { certificate, key }).await
    }

    /// The node at the admin socket.
    pub(crate) async fn node(&self) -> Result<NodeClient, CliError> {
        let socket = self.admin_socket.as_deref();
        let missing = self.language().of_both(
            "falta --admin-socket (PEABIRU_ADMIN_SOCKET): admin.sock en la carpeta del nodo",
            "--admin-socket (PEABIRU_ADMIN_SOCKET) is needed: admin.sock in the node's folder",
        );
        client::node(socket.ok_or_else(|| CliError::Usage(missing.to_owned()))?).await
    }
}

async fn registry(config: &Path, connect: &Connect) -> Result<(), CliError> {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env();
    let filter = filter.unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    peabiru_registry::serve::run(config, &connect.passphrase(), |running| {
        say(&format!(
            "peabiru-registry is ready: admin {}, distribution {}",
            running.admin, running.distribution
        ));
    })
    .await?;
    Ok(())
}

fn show_registry(config: &Path, connect: &Connect) -> Result<(), CliError> {
    let delegation = Delegation::read(&Config::read(config)?.keys.delegation)?;
    let (origin, key) = delegation.ledger()?;
    output::fields(
        connect,
        &[
            ("ledger", "libro", origin.to_string()),
            ("vkey", "vkey", key.vkey(&origin)),
            ("delegated until", "delegado hasta", delegation.expires_at().to_string()),
        ],
    );
    Ok(())
}

fn run_node(config: &Path, connect: &Connect) -> Result<(), CliError> {
    peabiru_node::serve::run(config, &connect.passphrase(), |running| say(&running.ready_line()))?;
    Ok(())
}

/// Whoever started us may wait for the line, or may not read it at all.
fn say(line: &str) {
    let mut out = std::io::stdout();
    let _ = writeln!(out, "{line}");
    let _ = out.flush();
}

fn block_on(work: impl Future<Output = Result<(), CliError>>) -> Result<(), CliError> {
    let runtime = Builder::new_multi_thread().enable_all().build();
    let failed = |error: std::io::Error| CliError::Process {
        what: "the runtime".to_owned(),
        reason: error.to_string(),
    };
    runtime.map_err(failed)?.block_on(work)
}

fn suffixed(prefix: &Path, suffix: &str) -> std::path::PathBuf {
    let mut path = prefix.as_os_str().to_owned();
    path.push(".");
    path.push(suffix);
    path.into()
}
