//! Two officers, as people are: each with a key file and the command line. What one proposes another approves, and a key
//! that they withdraw seals nothing any more.

use std::path::{Path, PathBuf};

use peabiru_certs::pem::write_certificate;
use peabiru_certs::pilot_ca::PilotCa;
use peabiru_integration_tests::echo::wire::SayRequest;
use peabiru_integration_tests::federation::{Federation, Member, PASSPHRASE};
use peabiru_integration_tests::process::{Ended, run};
use peabiru_proto::fault::Fault;
use peabiru_proto::time::{Clock as _, SystemClock};
use peabiru_proto::wire::{ListMembersRequest, WithdrawLedgerRequest};

const PROGRAM: &str = env!("CARGO_BIN_EXE_peabiru-spawned");

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_is_enrolled_by_two_officers_at_the_command_line() {
    let federation = Federation::start().await;
    let (registration, security) =
        (federation.instance.registration_officer.files(), federation.instance.security_officer.files());
    let desk = Desk { url: federation.admin_url(), certificate: registry_certificate(&federation) };
    let health = ["member", "add", "PY/GOV/MSPBS", "--name", "Ministerio de Salud"];
    let proposed = desk.types(&registration, &health).await;
    said(&proposed, &["proposed, number 1: enrol the member PY/GOV/MSPBS", "needs a security officer"]);
    said(&desk.types(&registration, &["member", "list"]).await, &["none"]);

    let refusals: [(&Path, &[&str], &str, &str); 5] = [
        (
            &registration,
            &["approval", "approve", "1"],
            "approval.same_person",
            "Let another officer approve it",
        ),
        (&security, &health, "operator.not_allowed", "is no registration officer"),
        (&registration, &health, "registry.refused", "asks for the same"),
        (&security, &["approval", "approve", "2"], "registry.refused", "there is no proposal 2"),
        (&registration, &["registry", "history"], "", ""),
    ];
    for (officer, words, code, reason) in refusals {
        let ended = desk.types(officer, words).await;
        let expected = i32::from(!code.is_empty());
        assert_eq!(ended.code, Some(expected), "{words:?}: {ended:?}");
        assert!(ended.stderr.contains(code) && ended.stderr.contains(reason), "{words:?}: {}", ended.stderr);
    }

    said(&desk.types(&security, &["approval", "show", "1"]).await, &["Ministerio de Salud", "open"]);
    let approved = desk.types(&security, &["approval", "approve", "1"]).await;
    said(&approved, &["proposal 1 is approved: enrol the member PY/GOV/MSPBS"]);
    said(&desk.types(&security, &["member", "list"]).await, &["PY/GOV/MSPBS"]);
    let again = desk.types(&security, &["approval", "approve", "1"]).await;
    assert_eq!(again.code, Some(1));
    assert!(again.stderr.contains("registry.proposal_closed"), "{}", again.stderr);

    said(&desk.types(&registration, &["member", "add", "PY/GOV/INE", "--name", "INE"]).await, &["number 2"]);
    said(&desk.types(&security, &["approval", "reject", "2"]).await, &["proposal 2 is rejected"]);
    said(&desk.types(&security, &["approval", "list"]).await, &["none"]);
    let all = desk.types(&security, &["approval", "list", "--all"]).await;
    said(&all, &["approved by security officer", "rejected by security officer"]);
    let history = desk.types(&security, &["registry", "history", "--start", "0"]).await;
    said(&history, &["registry.proposed", "registry.approved", "registry.rejected", "the operators are"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_for_an_officer_survives_a_restart_of_the_registry() {
    let mut federation = Federation::start().await;
    let desk = Desk { url: federation.admin_url(), certificate: registry_certificate(&federation) };
    let registration = federation.instance.registration_officer.files();
    let security = federation.instance.security_officer.files();
    desk.types(&registration, &["member", "add", "PY/GOV/INE", "--name", "INE"]).await;
    federation.stop_registry().await;
    federation.start_registry().await;
    said(&desk.types(&security, &["approval", "approve", "1"]).await, &["proposal 1 is approved"]);
    said(&desk.types(&security, &["member", "list"]).await, &["PY/GOV/INE"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_withdrawn_sealing_key_seals_nothing_for_anyone() {
    let mut federation = Federation::start().await;
    let [mitic, mec] = federation.members(["MITIC", "MEC"]).await;
    mec.grant("MITIC").await;
    let mut caller = mitic.caller("MEC").await;
    let say = || SayRequest { body: b"sealed".to_vec().into(), ..SayRequest::default() };
    caller.say(say()).await.unwrap();
    let request = WithdrawLedgerRequest { origin: mitic.agency.site.origin.to_string() };
    let proposed = federation.officers.registration.withdraw_ledger(request).await.unwrap().into_inner();
    caller.say(say()).await.expect("a proposal withdraws nothing");
    federation.officers.approve(proposed.proposal).await.unwrap();
    let listed = federation.officers.security.list_members(ListMembersRequest {}).await.unwrap();
    hears(&mec, listed.into_inner().globalconf_version).await;
    let refused = caller.say(say()).await.unwrap_err();
    let fault = Fault::from_grpc_details(refused.details()).unwrap();
    assert_eq!(fault.code.as_str(), "seal.unknown_ledger", "{refused:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_authority_is_trusted_and_withdrawn_by_two_officers_and_never_the_last_one() {
    let federation = Federation::start().await;
    let desk = Desk { url: federation.admin_url(), certificate: registry_certificate(&federation) };
    let registration = federation.instance.registration_officer.files();
    let security = federation.instance.security_officer.files();
    let other = PilotCa::create(&"PY".parse().unwrap(), SystemClock.now()).unwrap();
    let file = federation.folder.path().join("other.crt");
    write_certificate(&file, other.certificate()).unwrap();
    let file = file.display().to_string();
    let trust =
        ["certificate", "trust", &file, "--name", "Otra", "--purpose", "node", "--purpose", "sealing"];
    let refused = desk.types(&registration, &trust).await;
    assert!(refused.stderr.contains("is no security officer"), "{refused:?}");
    said(
        &desk.types(&security, &trust).await,
        &["trust the authority `Otra`", "needs a registration officer"],
    );
    said(&desk.types(&registration, &["approval", "approve", "1"]).await, &["is approved"]);
    let distrust = ["certificate", "distrust", &file];
    said(&desk.types(&security, &distrust).await, &["number 2", "no longer trust the authority"]);
    said(&desk.types(&registration, &["approval", "approve", "2"]).await, &["is approved"]);
    let unknown = desk.types(&security, &distrust).await;
    assert!(unknown.stderr.contains("registry.unknown_certificate"), "{unknown:?}");
    let last = federation.instance.ca_certificate.display().to_string();
    let refused = desk.types(&security, &["certificate", "distrust", &last]).await;
    assert!(refused.code == Some(1) && refused.stderr.contains("the last authority"), "{refused:?}");
}

/// Where an officer types.
struct Desk {
    url: String,
    certificate: PathBuf,
}

impl Desk {
    /// A command with the officer's key files.
    async fn types(&self, officer: &Path, words: &[&str]) -> Ended {
        let certificate = self.certificate.display().to_string();
        let connect = ["--registry", &self.url, "--registry-certificate", &certificate, "--operator"];
        run(PROGRAM, PASSPHRASE, &[words, &connect].concat(), officer).await
    }
}

fn registry_certificate(federation: &Federation) -> PathBuf {
    federation.instance.registry_config.with_file_name("tls.crt")
}

fn said(ended: &Ended, expected: &[&str]) {
    assert_eq!(ended.code, Some(0), "{ended:?}");
    for text in expected {
        assert!(ended.stdout.contains(text), "`{text}` in {}", ended.stdout);
    }
}

async fn hears(member: &Member, version: u64) {
    let heard = async {
        while member.status().await.globalconf_version < version {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(30), heard).await.expect("the node hears of it");
}
