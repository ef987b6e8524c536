//! News of a new snapshot: from head to head while the registry is down, and from nobody who does not have it.

use std::path::PathBuf;
use std::time::Duration;

use peabiru_integration_tests::echo::wire::SayRequest;
use peabiru_integration_tests::federation::{Agency, Federation, Member};
use peabiru_integration_tests::metrics::counter;
use peabiru_proto::fault::{Fault, FaultCode};
use peabiru_proto::wire::{AddSubsystemRequest, SubsystemRecord};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn news_goes_from_node_to_node_while_the_registry_is_down() {
    let mut federation = Federation::start().await;
    let [mitic, mec, ine] = one_asks_often(&mut federation).await;
    let news = publish(&mut federation, &mitic).await;
    federation.stop_registry().await;
    assert_eq!((version(&mec).await, version(&ine).await), (news - 1, news - 1));
    // In the head of a request,
    mitic.caller("MEC").await.say(SayRequest::default()).await.unwrap();
    reaches(&mec, news).await;
    assert_eq!(version(&ine).await, news - 1);
    // and in that of an answer.
    ine.caller("MEC").await.say(SayRequest::default()).await.unwrap();
    reaches(&ine, news).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_shows_what_it_does_not_have_changes_nothing() {
    let mut federation = Federation::start().await;
    let [mitic, mec, ine] = one_asks_often(&mut federation).await;
    let held = version(&mec).await;
    let news = publish(&mut federation, &mitic).await;
    federation.stop_registry().await;
    // It gives one of before for the newest.
    let newest = conf_folder(&mitic).join(format!("snapshots/{news}"));
    let whole = std::fs::read(&newest).unwrap();
    std::fs::copy(conf_folder(&mitic).join(format!("snapshots/{held}")), &newest).unwrap();
    refused(&mitic, &mec, "MEC").await;
    // It gives the newest, and a part that is cut.
    std::fs::write(&newest, whole).unwrap();
    for part in std::fs::read_dir(conf_folder(&mitic).join("parts")).unwrap() {
        let part = part.unwrap();
        if !conf_folder(&ine).join("parts").join(part.file_name()).exists() {
            std::fs::write(part.path(), "cut").unwrap();
        }
    }
    refused(&mitic, &ine, "INE").await;
    for member in [&mec, &ine] {
        assert_eq!(version(member).await, held);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_may_demand_fresher_news_than_the_snapshots_end() {
    let mut federation = Federation::start().await;
    let (mitic, mec) = (federation.enrol("MITIC").await, federation.enrol("MEC").await);
    let config = std::fs::read_to_string(mec.site.config()).unwrap();
    let url = format!("url = \"http://{}\"\n", mec.service);
    let demanding = config.replace(&url, &format!("{url}max_staleness_seconds = 10\n"));
    assert_ne!(demanding, config);
    std::fs::write(mec.site.config(), demanding).unwrap();
    let (mitic, mec) = (mitic.start().await, mec.start().await);
    mec.grant("MITIC").await;
    let mut caller = mitic.caller("MEC").await;
    let refusal = async {
        loop {
            if let Err(status) = caller.say(SayRequest::default()).await {
                return Fault::from_grpc_details(status.details()).unwrap();
            }
        }
    };
    // The registry notes each minute that nothing is newer.
    let refusal = tokio::time::timeout(WAIT, refusal).await.expect("news gets old");
    assert_eq!(refusal.code, FaultCode::GlobalconfStale, "{refusal}");
    publish(&mut federation, &mec).await;
    let mut caller = mitic.caller("MEC").await;
    caller.say(SayRequest::default()).await.expect("a new snapshot is news");
}

/// Three members, each of which may call the others; all but the first ask the registry at their start alone.
async fn one_asks_often(federation: &mut Federation) -> [Member; 3] {
    let names = ["MITIC", "MEC", "INE"];
    let mut agencies = Vec::new();
    for name in names {
        agencies.push(federation.enrol(name).await);
    }
    agencies[1..].iter().for_each(seldom);
    let mut members = Vec::new();
    for agency in agencies {
        members.push(agency.start().await);
    }
    for member in &members {
        for other in names.into_iter().filter(|name| *name != member.agency.name) {
            member.grant(other).await;
        }
    }
    members.try_into().unwrap_or_else(|_| unreachable!("one member for each name"))
}

fn seldom(agency: &Agency) {
    let config = std::fs::read_to_string(agency.site.config()).unwrap();
    let config = config.replace("refresh_seconds = 1", "refresh_seconds = 3600");
    std::fs::write(agency.site.config(), config).unwrap();
}

/// A new snapshot; waits until the member has it, and gives its version.
async fn publish(federation: &mut Federation, member: &Member) -> u64 {
    let subsystem = SubsystemRecord { id: "PY/GOV/MITIC/another".to_owned(), name: "Another".to_owned() };
    let request = AddSubsystemRequest { subsystem: Some(subsystem) };
    let added = federation.officers.registration.add_subsystem(request).await.unwrap();
    let news = added.into_inner().globalconf_version;
    reaches(member, news).await;
    news
}

/// A call is answered, and what its head shows is followed in vain.
async fn refused(from: &Member, to: &Member, name: &str) {
    let page = to.node.metrics.unwrap();
    let count = async || counter(page, "peabiru_globalconf_refusals_total", "code=\"globalconf.peer\"").await;
    let before = count().await;
    from.caller(name).await.say(SayRequest::default()).await.unwrap();
    let more = async {
        while count().await == before {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(WAIT, more).await.expect("it asks, and takes nothing");
}

async fn reaches(member: &Member, news: u64) {
    let reached = async {
        while version(member).await < news {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(WAIT, reached).await.expect("the news comes");
}

async fn version(member: &Member) -> u64 {
    member.status().await.globalconf_version
}

fn conf_folder(member: &Member) -> PathBuf {
    member.agency.site.folder.join("data/globalconf")
}

const WAIT: Duration = Duration::from_secs(30);
