//! `peabiru ledger`.

use std::fs;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use clap::Subcommand;
use data_encoding::HEXLOWER;
use peabiru_certs::pem::read_certificate;
use peabiru_ledger::LedgerError;
use peabiru_ledger::disk::{Disk, RealDisk};
use peabiru_ledger::ledger::Shutdown;
use peabiru_ledger::verify::{FolderReport, verify_folder};
use peabiru_proto::entry::{Body, Content, Entry, Verdict};
use peabiru_proto::hash::Digest;
use peabiru_proto::id::{MemberId, NodeId};
use peabiru_proto::language::Language;
use peabiru_proto::origin::Origin;
use peabiru_proto::wire::{
    AddLedgerCertificateRequest, AddLedgerRequest, ExportTilesRequest, GetEntryRequest, LedgerRecord,
    ListEntriesRequest, RemoveLedgerCertificateRequest, WithdrawLedgerRequest,
};

use crate::CliError;
use crate::approval::answered;
use crate::args::Connect;
use crate::output::{self, Table};

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Entries of a node's ledger.
    #[command(
        after_help = "Example:\n  peabiru ledger list --limit 20\n  peabiru ledger list --exchange 00112233445566778899aabbccddeeff"
    )]
    List {
        /// Of this member; needed if the node hosts several.
        #[arg(long)]
        member: Option<MemberId>,
        /// First index; the newest entries if none is given.
        #[arg(long)]
        start: Option<u64>,
        /// How many.
        #[arg(long, default_value_t = 20)]
        limit: u32,
        /// Only this exchange.
        #[arg(long)]
        exchange: Option<String>,
    },
    /// One entry in full.
    #[command(after_help = "Example:\n  peabiru ledger show 17")]
    Show {
        /// Its index.
        index: u64,
        /// Of this member; needed if the node hosts several.
        #[arg(long)]
        member: Option<MemberId>,
    },
    /// Checks the files of a stopped node, byte for byte.
    #[command(after_help = "Example:\n  peabiru ledger verify MEC/data/ledger")]
    Verify {
        /// The node's folder of ledgers.
        folder: PathBuf,
    },
    /// Writes tiles, entry bundles and checkpoint (C2SP tlog-tiles).
    #[command(after_help = "Example:\n  peabiru ledger export tiles")]
    Export {
        /// Where; made if it is not there.
        folder: PathBuf,
        /// Of this member; needed if the node hosts several.
        #[arg(long)]
        member: Option<MemberId>,
    },
    /// Withdraws a ledger whose sealing key is no longer to be believed; another officer approves.
    #[command(
        after_help = "Example:\n  peabiru ledger withdraw py.peabiru.example/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa/1"
    )]
    Withdraw {
        /// Its name.
        origin: Origin,
    },
    /// Registers a second sealing certificate of a ledger, of its next key or of the same key for longer; another officer
    /// approves.
    #[command(
        after_help = "Example:\n  peabiru ledger add-certificate py.peabiru.example/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa/1 --certificate MEC/keys/sealing-next.crt"
    )]
    AddCertificate {
        /// The ledger's name.
        origin: Origin,
        /// The certificate.
        #[arg(long, value_name = "FILE")]
        certificate: PathBuf,
    },
    /// Withdraws one of a ledger's two sealing certificates, once its node seals with the other key; another officer approves.
    #[command(
        after_help = "Example:\n  peabiru ledger remove-certificate py.peabiru.example/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa/1 --certificate MEC/keys/sealing.crt"
    )]
    RemoveCertificate {
        /// The ledger's name.
        origin: Origin,
        /// The certificate.
        #[arg(long, value_name = "FILE")]
        certificate: PathBuf,
    },
    /// Registers a member's ledger at a node; a security officer approves.
    #[command(
        after_help = "Example:\n  peabiru ledger register --member PY/GOV/MEC --node PY/GOV/MEC/node1 --origin py.peabiru.example/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa/1 --certificate MEC/keys/sealing.crt"
    )]
    Register {
        /// Whom it binds.
        #[arg(long)]
        member: MemberId,
        /// Who keeps it.
        #[arg(long)]
        node: NodeId,
        /// Its name.
        #[arg(long)]
        origin: Origin,
        /// Its sealing certificate.
        #[arg(long, value_name = "FILE")]
        certificate: PathBuf,
    },
}

pub(crate) async fn run(verb: Verb, connect: &Connect) -> Result<(), CliError> {
    let language = connect.language();
    let text = |member: Option<MemberId>| member.map(|member| member.to_string()).unwrap_or_default();
    match verb {
        Verb::List { member, start, limit, exchange } => {
            list(text(member), start, limit, exchange.unwrap_or_default(), connect).await
        }
        Verb::Show { index, member } => show(text(member), index, connect).await,
        Verb::Verify { folder } => verify(&folder, connect),
        Verb::Export { folder, member } => export(&folder, text(member), connect).await,
        Verb::Register { member, node, origin, certificate } => {
            let ledger = LedgerRecord {
                epoch: origin.epoch().number(),
                origin: origin.to_string(),
                node: node.to_string(),
                sealing_certificate: read_certificate(&certificate)?,
                ..LedgerRecord::default()
            };
            let request = AddLedgerRequest { member: member.to_string(), ledger: Some(ledger) };
            let added = connect.registry().await?.add_ledger(request).await?.into_inner();
            let done = format!("{origin} {}", language.of_both("queda registrado", "is registered"));
            answered(connect, &done, added.globalconf_version, added.proposal);
            Ok(())
        }
        Verb::AddCertificate { origin, certificate } => {
            let certificate = read_certificate(&certificate)?;
            let request = AddLedgerCertificateRequest { origin: origin.to_string(), certificate };
            let added = connect.registry().await?.add_ledger_certificate(request).await?.into_inner();
            let done = format!(
                "{origin} {}",
                language.of_both("tiene otro certificado de sellado", "has another sealing certificate")
            );
            answered(connect, &done, added.globalconf_version, added.proposal);
            Ok(())
        }
        Verb::RemoveCertificate { origin, certificate } => {
            let certificate_sha256 = Digest::of(&read_certificate(&certificate)?).as_bytes().to_vec().into();
            let request = RemoveLedgerCertificateRequest { origin: origin.to_string(), certificate_sha256 };
            let removed = connect.registry().await?.remove_ledger_certificate(request).await?.into_inner();
            let done = format!(
                "{} {origin}",
                language.of_both("el certificado ya no sella", "the certificate no longer seals")
            );
            answered(connect, &done, removed.globalconf_version, removed.proposal);
            Ok(())
        }
        Verb::Withdraw { origin } => {
            let request = WithdrawLedgerRequest { origin: origin.to_string() };
            let withdrawn = connect.registry().await?.withdraw_ledger(request).await?.into_inner();
            let done = format!("{origin} {}", language.of_both("queda retirado", "is withdrawn"));
            answered(connect, &done, withdrawn.globalconf_version, withdrawn.proposal);
            Ok(())
        }
    }
}

async fn list(
    member: String,
    start: Option<u64>,
    limit: u32,
    exchange_id: String,
    connect: &Connect,
) -> Result<(), CliError> {
    let mut node = connect.node().await?;
    let start = match start {
        Some(start) => start,
        None => {
            let size = ListEntriesRequest {
                member: member.clone(),
                start: u64::MAX,
                limit: 1,
                ..Default::default()
            };
            let size = node.list_entries(size).await?.into_inner().tree_size;
            size.saturating_sub(limit.into())
        }
    };
    let request = ListEntriesRequest { member, start, limit, exchange_id };
    let listed = node.list_entries(request).await?.into_inner();
    let mut table = Table::new(&[
        ("index", "índice"),
        ("kind", "clase"),
        ("exchange", "intercambio"),
        ("made_at", "hecho_el"),
        ("about", "asunto"),
    ]);
    for indexed in listed.entries {
        let entry = decode(indexed.entry)?;
        table.row([
            indexed.index.to_string(),
            kind(&entry).to_owned(),
            entry.exchange().to_string(),
            entry.common().created_at.to_string(),
            about(&entry, connect.language()),
        ]);
    }
    table.print(connect);
    Ok(())
}

/// As design and glossary write it: `REQUEST`, `KEY_CHANGE`.
fn kind(entry: &Entry) -> &'static str {
    entry.kind().as_str_name().trim_start_matches("ENTRY_KIND_")
}

fn about(entry: &Entry, language: Language) -> String {
    match entry.body() {
        Body::Request(head) => {
            let asks = language.of_both("consulta", "asks");
            format!("{} {asks} {} {}", head.consumer, head.service, head.method)
        }
        Body::Received(head) => {
            let verdict = match head.verdict {
                Verdict::Accepted => language.of_both("aceptado: asiento", "accepted: entry"),
                _ => language.of_both("rechazado: asiento", "refused: entry"),
            };
            let of = language.of_both("de", "of");
            format!("{verdict} {} {of} {}", head.peer_index, head.peer_origin)
        }
        Body::Response(head) => {
            let what = match head.content {
                Content::Whole { body_bytes, .. } => format!("gRPC {}, {body_bytes} bytes", head.outcome),
                Content::Stream { .. } => language.of_both("un flujo", "a stream").to_owned(),
            };
            format!("{what}, {} {}", language.of_both("para", "to"), head.addressee)
        }
        Body::Fault(head) => format!("{}, {} {}", head.code, language.of_both("para", "to"), head.addressee),
        Body::Batch(head) => {
            let (bytes, first) = (head.body_bytes, head.first_chunk);
            language.of_both(
                format!("{bytes} bytes de un flujo, desde el trozo {first}"),
                format!("{bytes} bytes of a stream, from chunk {first}"),
            )
        }
        Body::Close(head) => {
            let (chunks, outcome) = (head.chunks, head.outcome);
            language.of_both(
                format!("el fin de un flujo, {chunks} trozos, gRPC {outcome}"),
                format!("the end of a stream, {chunks} chunks, gRPC {outcome}"),
            )
        }
        Body::KeyChange(head) => {
            let key = HEXLOWER.encode(&head.next_key);
            language.of_both(
                format!("desde aquí sella la clave {key}"),
                format!("from here on the key {key} seals"),
            )
        }
        Body::Notice(head) => format!("{} {}", head.code, head.subject),
    }
}

async fn show(member: String, index: u64, connect: &Connect) -> Result<(), CliError> {
    let held = connect.node().await?.get_entry(GetEntryRequest { member, index }).await?.into_inner();
    let held = held.entry.unwrap_or_default();
    let entry = decode(held.entry)?;
    let language = connect.language();
    let payload = held.payload.map_or_else(
        || language.of_both("ninguno, o suprimido", "none, or erased").to_owned(),
        |payload| format!("{} {}", payload.chunks.len(), language.of_both("trozos", "chunks")),
    );
    output::fields(
        connect,
        &[
            ("index", "índice", index.to_string()),
            ("kind", "clase", kind(&entry).to_owned()),
            ("ledger", "libro", entry.origin().to_string()),
            ("exchange", "intercambio", entry.exchange().to_string()),
            ("made at", "hecho el", entry.common().created_at.to_string()),
            ("leaf hash", "hash de hoja", entry.leaf_hash().to_string()),
            ("about", "asunto", about(&entry, language)),
            ("payload", "contenido", payload),
            ("head", "cabecera", format!("{:#?}", entry.body())),
            ("checkpoint", "punto de control", String::from_utf8_lossy(&held.checkpoint).into_owned()),
        ],
    );
    Ok(())
}

fn decode(entry: bytes::Bytes) -> Result<Entry, CliError> {
    Entry::decode(entry).map_err(|error| CliError::Status {
        code: tonic::Code::Internal,
        message: format!("the node gave an entry that does not decode: {error}"),
    })
}

fn verify(folder: &Path, connect: &Connect) -> Result<(), CliError> {
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    match verify_folder(&disk, folder) {
        Ok(FolderReport { records, ledgers, shutdown }) => {
            let language = connect.language();
            let ended = match shutdown {
                Shutdown::New => language.of_both("ninguno", "never begun"),
                Shutdown::Clean => language.of_both("limpio", "clean"),
                Shutdown::Crashed => language.of_both("interrumpido", "crashed"),
            };
            let roots = ledgers.iter().map(|ledger| {
                let (entries, root) = (ledger.entries, ledger.root);
                let said = language.of_both(
                    format!("{entries} asientos, raíz {root}"),
                    format!("{entries} entries, root {root}"),
                );
                (ledger.origin.to_string(), said)
            });
            let roots: Vec<_> = roots.collect();
            let mut fields = vec![
                ("folder", "carpeta", folder.display().to_string()),
                ("records", "registros", records.to_string()),
                ("ended", "cierre", ended.to_owned()),
            ];
            fields
                .extend(roots.iter().map(|(origin, said)| (origin.as_str(), origin.as_str(), said.clone())));
            output::fields(connect, &fields);
            Ok(())
        }
        Err(error @ LedgerError::Corrupt { .. }) => {
            let code = error.code().to_owned();
            output::fields(connect, &[("failed", "falla", error.to_string()), ("code", "código", code)]);
            Err(CliError::NotVerified)
        }
        Err(error) => Err(error.into()),
    }
}

async fn export(folder: &Path, member: String, connect: &Connect) -> Result<(), CliError> {
    let mut files = connect.node().await?.export_tiles(ExportTilesRequest { member }).await?.into_inner();
    let mut written = 0;
    while let Some(file) = files.message().await? {
        let path = Path::new(&file.path);
        // A node of ours never names another place; one that was taken over might.
        if !path.components().all(|component| matches!(component, Component::Normal(_))) {
            return Err(CliError::Usage(format!("the node names the file `{}`", file.path)));
        }
        let path = folder.join(path);
        let parent = path.parent().unwrap_or(folder);
        fs::create_dir_all(parent).map_err(CliError::file(parent))?;
        fs::write(&path, &file.content).map_err(CliError::file(&path))?;
        written += 1;
    }
    let files = connect.language().of_both("archivos en", "files in");
    output::done(connect, &format!("{written} {files} {}", folder.display()));
    Ok(())
}
