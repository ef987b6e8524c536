//! `peabiru registry history`: the registry's ledger in words.

use data_encoding::HEXLOWER;
use peabiru_proto::entry::{Body, Entry};
use peabiru_proto::wire::{ListNoticesRequest, RegistryEvent};
use prost::Message as _;

use crate::CliError;
use crate::approval::what;
use crate::args::Connect;
use crate::output::Table;

pub(crate) async fn run(start: Option<u64>, limit: u32, connect: &Connect) -> Result<(), CliError> {
    let mut registry = connect.registry().await?;
    let start = match start {
        Some(start) => start,
        None => {
            let size = ListNoticesRequest { start: u64::MAX, limit: 1 };
            registry.list_notices(size).await?.into_inner().tree_size.saturating_sub(limit.into())
        }
    };
    let listed = registry.list_notices(ListNoticesRequest { start, limit }).await?.into_inner();
    let mut table = Table::new(&[
        ("index", "índice"),
        ("made_at", "hecho_el"),
        ("code", "código"),
        ("what", "qué"),
        ("operator", "operador"),
    ]);
    for notice in listed.notices {
        let unreadable = |error: &dyn std::fmt::Display| CliError::Status {
            code: tonic::Code::Internal,
            message: format!("the registry gave an entry that does not decode: {error}"),
        };
        let entry = Entry::decode(notice.entry).map_err(|error| unreadable(&error))?;
        let Body::Notice(head) = entry.body() else { continue };
        let (said, operator) = if EVENTS.contains(&head.code.as_str()) {
            let event = RegistryEvent::decode(notice.body).map_err(|error| unreadable(&error))?;
            (what(&event, connect.language()), HEXLOWER.encode(&event.operator_certificate_sha256))
        } else {
            (head.subject.clone(), String::new())
        };
        table.row([
            notice.index.to_string(),
            entry.common().created_at.to_string(),
            head.code.clone(),
            said,
            operator,
        ]);
    }
    table.print(connect);
    Ok(())
}

/// Codes of notices whose body is an event.
const EVENTS: [&str; 4] = ["registry.changed", "registry.proposed", "registry.approved", "registry.rejected"];
