//! `peabiru ledger`.

use std::fs;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use clap::Subcommand;
use data_encoding::HEXLOWER;
use peabiru_certs::pem::read_certificate;
use peabiru_ledger::LedgerError;
use peabiru_ledger::disk::{Disk, RealDisk};
use peabiru_ledger::verify::{FolderReport, verify_folder};
use peabiru_proto::entry::{Body, Content, Entry, Verdict};
use peabiru_proto::hash::Digest;
use peabiru_proto::id::{MemberId, NodeId};
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
            let done = format!("{origin} is registered");
            answered(connect.output, &done, added.globalconf_version, added.proposal);
            Ok(())
        }
        Verb::AddCertificate { origin, certificate } => {
            let certificate = read_certificate(&certificate)?;
            let request = AddLedgerCertificateRequest { origin: origin.to_string(), certificate };
            let added = connect.registry().await?.add_ledger_certificate(request).await?.into_inner();
            let done = format!("{origin} has another sealing certificate");
            answered(connect.output, &done, added.globalconf_version, added.proposal);
            Ok(())
        }
        Verb::RemoveCertificate { origin, certificate } => {
            let certificate_sha256 = Digest::of(&read_certificate(&certificate)?).as_bytes().to_vec().into();
            let request = RemoveLedgerCertificateRequest { origin: origin.to_string(), certificate_sha256 };
            let removed = connect.registry().await?.remove_ledger_certificate(request).await?.into_inner();
            let done = format!("the certificate seals {origin} no more");
            answered(connect.output, &done, removed.globalconf_version, removed.proposal);
            Ok(())
        }
        Verb::Withdraw { origin } => {
            let request = WithdrawLedgerRequest { origin: origin.to_string() };
            let withdrawn = connect.registry().await?.withdraw_ledger(request).await?.into_inner();
            let done = format!("{origin} is withdrawn");
            answered(connect.output, &done, withdrawn.globalconf_version, withdrawn.proposal);
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
    let mut table = Table::new(&["index", "kind", "exchange", "made_at", "about"]);
    for indexed in listed.entries {
        let entry = decode(indexed.entry)?;
        table.row([
            indexed.index.to_string(),
            format!("{:?}", entry.kind()).to_uppercase(),
            entry.exchange().to_string(),
            entry.common().created_at.to_string(),
            about(&entry),
        ]);
    }
    table.print(connect.output);
    Ok(())
}

fn about(entry: &Entry) -> String {
    match entry.body() {
        Body::Request(head) => format!("{} asks {} {}", head.consumer, head.service, head.method),
        Body::Received(head) => {
            let verdict = if head.verdict == Verdict::Accepted { "accepted" } else { "refused" };
            format!("{verdict}: entry {} of {}", head.peer_index, head.peer_origin)
        }
        Body::Response(head) => {
            let what = match head.content {
                Content::Whole { body_bytes, .. } => format!("gRPC {}, {body_bytes} bytes", head.outcome),
                Content::Stream { .. } => "a stream".to_owned(),
            };
            format!("{what}, to {}", head.addressee)
        }
        Body::Fault(head) => format!("{}, to {}", head.code, head.addressee),
        Body::Batch(head) => {
            format!("{} bytes of a stream, from chunk {}", head.body_bytes, head.first_chunk)
        }
        Body::Close(head) => format!("the end of a stream, {} chunks, gRPC {}", head.chunks, head.outcome),
        Body::KeyChange(head) => format!("from here on the key {} seals", HEXLOWER.encode(&head.next_key)),
        Body::Notice(head) => format!("{} {}", head.code, head.subject),
    }
}

async fn show(member: String, index: u64, connect: &Connect) -> Result<(), CliError> {
    let held = connect.node().await?.get_entry(GetEntryRequest { member, index }).await?.into_inner();
    let held = held.entry.unwrap_or_default();
    let entry = decode(held.entry)?;
    let payload = held
        .payload
        .map_or_else(|| "none, or erased".to_owned(), |payload| format!("{} chunks", payload.chunks.len()));
    output::fields(
        connect.output,
        &[
            ("index", index.to_string()),
            ("kind", format!("{:?}", entry.kind()).to_uppercase()),
            ("ledger", entry.origin().to_string()),
            ("exchange", entry.exchange().to_string()),
            ("made at", entry.common().created_at.to_string()),
            ("leaf hash", entry.leaf_hash().to_string()),
            ("about", about(&entry)),
            ("payload", payload),
            ("head", format!("{:#?}", entry.body())),
            ("checkpoint", String::from_utf8_lossy(&held.checkpoint).into_owned()),
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
            let mut fields = vec![
                ("folder".to_owned(), folder.display().to_string()),
                ("records".to_owned(), records.to_string()),
                ("ended".to_owned(), format!("{shutdown:?}").to_lowercase()),
            ];
            for ledger in ledgers {
                fields.push((
                    ledger.origin.to_string(),
                    format!("{} entries, root {}", ledger.entries, ledger.root),
                ));
            }
            let fields: Vec<_> = fields.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
            output::fields(connect.output, &fields);
            Ok(())
        }
        Err(error @ LedgerError::Corrupt { .. }) => {
            output::fields(
                connect.output,
                &[("failed", error.to_string()), ("code", error.code().to_owned())],
            );
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
    output::done(connect.output, &format!("{written} files in {}", folder.display()));
    Ok(())
}
