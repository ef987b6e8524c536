//! What stands in a member's ledger.

use std::collections::BTreeSet;

use peabiru_ledger::evidence::{Outcome, verify};
use peabiru_proto::entry::{Body, Entry, ExchangeId};
use peabiru_proto::globalconf::ConfigurationAnchor;
use peabiru_proto::wire::ListEntriesRequest;

use crate::evidence::export;
use crate::federation::Member;

/// All entries, oldest first.
pub async fn entries(member: &Member) -> Vec<Entry> {
    let (mut entries, mut admin) = (Vec::new(), member.admin().await);
    loop {
        let request =
            ListEntriesRequest { start: entries.len() as u64, limit: 100, ..ListEntriesRequest::default() };
        let listed = admin.list_entries(request).await.unwrap().into_inner().entries;
        if listed.is_empty() {
            return entries;
        }
        entries.extend(listed.into_iter().map(|listed| Entry::decode(listed.entry).unwrap()));
    }
}

/// Streams that this member opened in its direction, and of which its ledger does not say how that ended.
#[must_use]
pub fn left_open(entries: &[Entry]) -> BTreeSet<ExchangeId> {
    let exchanges = |of: fn(&Body) -> bool| -> BTreeSet<ExchangeId> {
        entries.iter().filter(|entry| of(entry.body())).map(Entry::exchange).collect()
    };
    let opened = exchanges(|body| match body {
        Body::Request(head) => head.content.is_stream(),
        Body::Response(head) => head.content.is_stream(),
        _ => false,
    });
    let closed = exchanges(|body| matches!(body, Body::Close(_)));
    opened.difference(&closed).copied().collect()
}

/// Exports the evidence of everything that the member asked or was asked: all of it holds, or says what is missing. Gives how
/// many files there were, and of how many something is missing.
pub async fn all_hold(member: &Member, anchor: &ConfigurationAnchor) -> (usize, usize) {
    let asked = |entry: &Entry| match entry.body() {
        Body::Request(_) => true,
        Body::Received(head) => head.expires_at.is_some(),
        _ => false,
    };
    let entries = entries(member).await;
    let exchanges: BTreeSet<_> = entries.iter().filter(|entry| asked(entry)).map(Entry::exchange).collect();
    let (mut admin, mut incomplete) = (member.admin().await, 0);
    for exchange in &exchanges {
        let tar = export(&mut admin, &exchange.to_string()).await.unwrap();
        let report = verify(&tar, Some(anchor));
        assert_eq!((report.outcome, &report.failures[..]), (Outcome::Verified, &[][..]), "{report:?}");
        incomplete += usize::from(!report.missing.is_empty());
    }
    (exchanges.len(), incomplete)
}
