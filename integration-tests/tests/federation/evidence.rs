//! What an exchange leaves behind, and who can check it.

use peabiru_integration_tests::echo::wire::{NoteRequest, SayRequest};
use peabiru_integration_tests::evidence::{self, exchange_of};
use peabiru_integration_tests::federation::{Federation, Member};
use peabiru_ledger::evidence::{Failure, Outcome, Report, verify};
use peabiru_proto::globalconf::ConfigurationAnchor;
use peabiru_proto::wire::{ErasePayloadRequest, ListEntriesRequest};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_sides_export_evidence_that_needs_nothing_but_the_anchor() {
    let mut federation = Federation::start().await;
    let anchor = federation.instance.anchor.clone();
    let [mitic, mec] = federation.members(["MITIC", "MEC"]).await;
    mec.grant("MITIC").await;
    let mut caller = mitic.caller("MEC").await;
    let answer = caller.say(SayRequest { body: "who?".into(), ..SayRequest::default() }).await.unwrap();
    let exchange = exchange_of(answer.metadata());
    for member in [&mitic, &mec] {
        let report = verify(&export(member, &exchange).await, Some(&anchor));
        assert_eq!((report.outcome, &report.failures[..]), (Outcome::Verified, &[][..]), "{report:?}");
        assert_eq!(report.missing, Vec::<String>::new());
        let facts = report.facts.unwrap();
        assert_eq!((facts.exchange, facts.method.as_str()), (exchange.clone(), "Say"));
        assert_eq!(facts.outcome.as_deref(), Some("gRPC 0"));
    }
    let tar = export(&mitic, &exchange).await;
    assert_eq!(verify(&tar, None).outcome, Outcome::Consistent);
    let stranger = ConfigurationAnchor { root_keys: vec![[7; 32]], ..anchor };
    assert_eq!(verify(&tar, Some(&stranger)).outcome, Outcome::Failed);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fault_after_a_valid_seal_is_evidence_too() {
    let mut federation = Federation::start().await;
    let anchor = federation.instance.anchor.clone();
    let [mitic, mec] = federation.members(["MITIC", "MEC"]).await;
    let refused = mitic.caller("MEC").await.say(SayRequest::default()).await.unwrap_err();
    let exchange = exchange_of(refused.metadata());
    let report = verify(&export(&mec, &exchange).await, Some(&anchor));
    assert_eq!(report.outcome, Outcome::Verified, "{report:?}");
    assert_eq!(report.facts.unwrap().outcome.as_deref(), Some("access.no_grant"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_changed_byte_is_found_and_its_file_named() {
    let mut federation = Federation::start().await;
    let anchor = federation.instance.anchor.clone();
    let [mitic, mec] = federation.members(["MITIC", "MEC"]).await;
    mec.grant("MITIC").await;
    let mut caller = mitic.caller("MEC").await;
    let answer = caller.note(NoteRequest { text: "x".to_owned() }).await.unwrap();
    let tar = export(&mitic, &exchange_of(answer.metadata())).await;
    let files = layout(&tar);
    // Every byte of the small files, some of the large ones, and of the padding between them.
    let mut changed = tar.clone();
    for (name, start, end) in &files {
        let step = ((end - start) / 64).max(1);
        for at in (*start..*end).step_by(step) {
            changed[at] ^= 1;
            let Report { outcome, failures, .. } = verify(&changed, Some(&anchor));
            assert_eq!(outcome, Outcome::Failed, "byte {at} of {name}");
            // A header that no longer parses is named by the file before it.
            let named = |failure: &Failure| {
                failure.to_string().contains(name.as_str())
                    || failure.file.starts_with("after ")
                    || failure.file == "the beginning"
            };
            assert!(failures.iter().any(named), "byte {at} of {name}: {failures:?}");
            changed[at] ^= 1;
        }
    }
    assert_eq!(verify(&changed, Some(&anchor)).outcome, Outcome::Verified);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_had_is_listed_as_missing() {
    let mut federation = Federation::start().await;
    let anchor = federation.instance.anchor.clone();
    let [mitic, mec] = federation.members(["MITIC", "MEC"]).await;
    mec.grant("MITIC").await;
    let answer =
        mitic.caller("MEC").await.say(SayRequest { body: "private".into(), ..SayRequest::default() }).await;
    let exchange = exchange_of(answer.unwrap().metadata());
    mitic.stop().await;
    let report = verify(&export(&mec, &exchange).await, Some(&anchor));
    assert_eq!(
        (report.outcome, report.missing),
        (Outcome::Verified, vec!["entries/4-received-by-consumer.entry".to_owned()])
    );
    // Erased by the provider: the heads still prove that the exchange took place.
    let mut admin = mec.admin().await;
    let entries = ListEntriesRequest { exchange_id: exchange.clone(), ..ListEntriesRequest::default() };
    let entries = admin.list_entries(entries).await.unwrap().into_inner().entries;
    for entry in &entries {
        let erase = ErasePayloadRequest {
            index: entry.index,
            reason: "retention.over".to_owned(),
            ..Default::default()
        };
        admin.erase_payload(erase).await.unwrap();
    }
    let tar = export(&mec, &exchange).await;
    let report = verify(&tar, Some(&anchor));
    assert_eq!(report.outcome, Outcome::Verified, "{report:?}");
    assert!(report.missing.contains(&"payloads/request: withheld or erased".to_owned()), "{report:?}");
    assert!(!tar.windows(7).any(|window| window == b"private"));
}

async fn export(member: &Member, exchange: &str) -> Vec<u8> {
    evidence::export(&mut member.admin().await, exchange).await.unwrap()
}

/// Name, first and last byte of each file's header, content and padding.
fn layout(tar: &[u8]) -> Vec<(String, usize, usize)> {
    let (mut files, mut at) = (Vec::new(), 0);
    while tar[at] != 0 {
        let text = |from: usize, to: usize| {
            String::from_utf8_lossy(&tar[at + from..at + to]).trim_end_matches('\0').to_owned()
        };
        let bytes = usize::from_str_radix(&text(124, 135), 8).unwrap();
        let end = at + 512 + bytes.next_multiple_of(512);
        files.push((text(0, 100), at, end));
        at = end;
    }
    files.push(("the end of the tar".to_owned(), at, tar.len()));
    files
}
