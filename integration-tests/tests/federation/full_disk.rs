//! What callers get while a node's disk is full: nothing is lost, nothing half done passes for not done, and the node
//! goes on by itself once there is room.

use std::sync::Arc;

use peabiru_integration_tests::disk::LimitedDisk;
use peabiru_integration_tests::echo::wire::{NoteRequest, SayRequest, TalkRequest};
use peabiru_integration_tests::evidence::{exchange_of, export};
use peabiru_integration_tests::federation::{Caller, Federation, Member};
use peabiru_ledger::evidence::{Outcome, verify};
use peabiru_node::node::Environment;
use peabiru_proto::fault::{Fault, FaultCode, Place};
use peabiru_proto::globalconf::ConfigurationAnchor;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_consumer_without_space_asks_nothing_and_goes_on_when_there_is_room() {
    let mut federation = Federation::start().await;
    let anchor = federation.instance.anchor.clone();
    let (mitic, mec) = (federation.enrol("MITIC").await, federation.enrol("MEC").await);
    let disk = LimitedDisk::roomy();
    let (mitic, mec) = (mitic.start_in(&on(&disk)).await, mec.start().await);
    mec.grant("MITIC").await;
    let mut caller = mitic.caller("MEC").await;
    disk.fill();
    let mut told = until_refused(&mut caller, Place::ConsumerNode).await;
    // Small ones may find their place behind the large ones.
    let refused = loop {
        match caller.note(note("small", 0)).await {
            Ok(answer) => told.push(exchange_of(answer.metadata())),
            Err(status) => break fault(&status),
        }
    };
    assert_eq!((refused.code, refused.place), (FaultCode::NodeDiskFull, Place::ConsumerNode), "{refused}");
    let heard = mec.status().await.ledgers[0].tree_size;
    assert_eq!(fault(&caller.note(note("never", 0)).await.unwrap_err()).code, FaultCode::NodeDiskFull);
    assert_eq!(mec.status().await.ledgers[0].tree_size, heard, "nothing was asked");
    assert!(!mec.agency.echo.noted().contains_key("never"));

    disk.make_room();
    told.push(exchange_of(caller.note(note("with room", 0)).await.unwrap().metadata()));
    all_verify(&mitic, &told, &anchor).await;
    // And what is on disk is whole.
    let mitic = mitic.stop().await.start().await;
    all_verify(&mitic, &told, &anchor).await;
}

/// The provider stops reading before its last words are on the disk: the caller hears those, and not that nobody reads.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_finds_no_space_at_the_provider_ends_with_that_reason() {
    let mut federation = Federation::start().await;
    let (mitic, mec) = (federation.enrol("MITIC").await, federation.enrol("MEC").await);
    let disk = LimitedDisk::roomy();
    let (mitic, mec) = (mitic.start().await, mec.start_in(&on(&disk)).await);
    mec.grant("MITIC").await;
    disk.fill();
    for _ in 0..8 {
        let (requests, stream) = mpsc::channel(1);
        requests.send(TalkRequest { body: "petei".into() }).await.unwrap();
        let mut caller = mitic.caller("MEC").await;
        let refused = match caller.talk(ReceiverStream::new(stream)).await {
            Ok(talk) => talk.into_inner().message().await.unwrap_err(),
            Err(status) => status,
        };
        let refused = fault(&refused);
        assert_eq!(
            (refused.code, refused.place),
            (FaultCode::NodeDiskFull, Place::ProviderNode),
            "{refused}"
        );
    }
    disk.make_room();
    mitic.stop().await;
    mec.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_is_told_that_there_was_no_space_for_what_was_done() {
    let mut federation = Federation::start().await;
    let (mitic, mec) = (federation.enrol("MITIC").await, federation.enrol("MEC").await);
    let disk = LimitedDisk::roomy();
    let (mitic, mec) = (mitic.start_in(&on(&disk)).await, mec.start().await);
    mec.grant("MITIC").await;
    disk.fill();
    let mut callers = JoinSet::new();
    for number in 0..CALLERS {
        let mut caller = mitic.caller("MEC").await;
        callers.spawn(async move {
            let mut refused = Vec::new();
            for round in 0.. {
                let note = note(&format!("{number}-{round}"), LARGE_BYTES / 2);
                let text = note.text.clone();
                match caller.note(note).await.as_ref().map_err(fault) {
                    Ok(_) => continue,
                    Err(fault) if fault.code == FaultCode::NodeDiskFull => refused.push(text),
                    Err(fault) => assert_eq!(fault.code, FaultCode::ExchangeOutcomeUnknown, "{fault}"),
                }
                if refused.len() == 3 {
                    break;
                }
            }
            refused
        });
    }
    while let Some(refused) = callers.join_next().await {
        for text in refused.unwrap() {
            assert!(!mec.agency.echo.noted().contains_key(&text), "{} ran", text.trim_end());
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provider_without_space_runs_nothing_or_says_that_the_outcome_is_unknown() {
    let mut federation = Federation::start().await;
    let anchor = federation.instance.anchor.clone();
    let (mitic, mec) = (federation.enrol("MITIC").await, federation.enrol("MEC").await);
    let disk = LimitedDisk::roomy();
    let (mitic, mec) = (mitic.start().await, mec.start_in(&on(&disk)).await);
    mec.grant("MITIC").await;
    let mut caller = mitic.caller("MEC").await;
    disk.fill();
    let (mut told, mut done) = (Vec::new(), Vec::new());
    let unknown = loop {
        told.append(&mut until_refused(&mut caller, Place::ProviderNode).await);
        if let Some(unknown) = between_received_and_response(&mut caller, &mut done).await {
            break unknown;
        }
        // The last page was taken: once more, with other segments.
        disk.make_room();
        caller.say(SayRequest::default()).await.unwrap();
        disk.fill();
    };
    let mut ran = mec.agency.echo.noted();
    assert_eq!(ran.remove(&unknown), Some(1), "it ran, and its caller does not know");
    for text in ran.keys() {
        assert!(done.contains(text), "{} ran, and its caller was told that it had not", text.trim_end());
    }

    disk.make_room();
    told.push(exchange_of(caller.note(note("with room", 0)).await.unwrap().metadata()));
    all_verify(&mec, &told, &anchor).await;
    let mec = mec.stop().await.start().await;
    all_verify(&mec, &told, &anchor).await;
}

/// Large reads until there is no space. Gives the exchanges that succeeded.
async fn until_refused(caller: &mut Caller, place: Place) -> Vec<String> {
    let mut told = Vec::new();
    loop {
        let request = SayRequest { body: vec![7; LARGE_BYTES].into(), ..SayRequest::default() };
        match caller.say(request).await {
            Ok(answer) => told.push(exchange_of(answer.metadata())),
            Err(status) => {
                let fault = fault(&status);
                assert_eq!((status.code(), fault.code), (Code::ResourceExhausted, FaultCode::NodeDiskFull));
                assert_eq!(fault.place, place, "{fault}");
                assert!(!told.is_empty(), "the segments that were there took some");
                return told;
            }
        }
    }
}

/// Each write is a page shorter than one that found no room, until one finds room for its RECEIVED and none for its
/// RESPONSE. Gives its text; none if not even the shortest found room.
async fn between_received_and_response(caller: &mut Caller, done: &mut Vec<String>) -> Option<String> {
    let (mut pages, mut number) = (LARGE_BYTES / PAGE_BYTES, 0);
    loop {
        number += 1;
        let note = note(&format!("{number} of {pages} pages"), pages * PAGE_BYTES);
        let text = note.text.clone();
        match caller.note(note).await {
            Ok(_) => done.push(text),
            Err(status) => match (fault(&status).code, pages) {
                (FaultCode::ExchangeOutcomeUnknown, _) => return Some(text),
                (FaultCode::NodeDiskFull, 0) => return None,
                (FaultCode::NodeDiskFull, _) => pages -= 1,
                (other, _) => panic!("{other}: {status:?}"),
            },
        }
    }
}

async fn all_verify(member: &Member, exchanges: &[String], anchor: &ConfigurationAnchor) {
    let mut admin = member.admin().await;
    for exchange in exchanges {
        let tar = export(&mut admin, exchange).await.unwrap();
        let report = verify(&tar, Some(anchor));
        assert_eq!((report.outcome, &report.missing[..]), (Outcome::Verified, &[][..]), "{report:?}");
    }
}

/// A text that says what it is and is about so long.
fn note(text: &str, bytes: usize) -> NoteRequest {
    NoteRequest { text: format!("{text}{}", " ".repeat(bytes)) }
}

fn fault(status: &Status) -> Fault {
    Fault::from_grpc_details(status.details()).unwrap_or_else(|| panic!("no fault: {status:?}"))
}

fn on(disk: &LimitedDisk) -> Environment {
    Environment { disk: Arc::new(disk.clone()), ..Environment::default() }
}

const CALLERS: usize = 16;
const LARGE_BYTES: usize = 60_000;
/// Records are whole pages.
const PAGE_BYTES: usize = 4096;
