//! Several nodes of one member, several members on one node.

use std::net::{Ipv4Addr, SocketAddr};

use peabiru_certs::SecretKey;
use peabiru_certs::key::Algorithm;
use peabiru_certs::pem::write_certificate;
use peabiru_certs::profile::Subject;
use peabiru_cli::site::{Site, SiteSpec};
use peabiru_proto::hash::Digest;
use peabiru_proto::id::MemberId;
use peabiru_proto::origin::{Epoch, Origin};
use peabiru_proto::time::{Clock as _, SystemClock};
use peabiru_proto::wire::{AddLedgerRequest, LedgerRecord};

use super::{Agency, Federation, free_port, passphrase, sections};
use crate::echo::NAME;

impl Federation {
    /// One more node of the member, before the same service.
    pub async fn second_node(&mut self, of: &Agency) -> Agency {
        let Agency { name, echo, service, token, site } = of;
        let spec = SiteSpec {
            node: format!("{}/second", site.member).parse().unwrap(),
            member: site.member.clone(),
            link: SocketAddr::from((Ipv4Addr::LOCALHOST, free_port())),
            sections: sections(name, token, *service, ""),
        };
        let folder = self.folder.path().join(format!("{name}-second"));
        let anchor = self.instance.anchor.clone();
        let site = Site::make(&folder, &spec, &self.ca, &anchor, &passphrase(), SystemClock.now()).unwrap();
        site.register(&mut self.officers).await.unwrap();
        Agency { name: name.clone(), site, echo: echo.clone(), service: *service, token: token.clone() }
    }

    /// One more member on the agency's node, before the same service: enrolled, with a ledger, keys and a client.
    pub async fn host(&mut self, at: &Agency, name: &str) {
        let member: MemberId = format!("PY/GOV/{name}").parse().unwrap();
        let (domain, node) = (&self.instance.anchor.domain, &at.site.node);
        let origin = Origin::of_ledger(domain, &member, node, Epoch::FIRST);
        let key = SecretKey::generate(Algorithm::Ed25519);
        let subject = Subject::Sealing { origin: origin.clone(), member: member.clone() };
        let certificate = self.ca.issue_for_key(&key, subject, SystemClock.now()).unwrap();
        let keys = at.site.folder.join("keys");
        key.write_encrypted(&keys.join(format!("{name}.key")), &passphrase()).unwrap();
        write_certificate(&keys.join(format!("{name}.crt")), &certificate).unwrap();
        let more = format!(
            r#"
[[ledgers]]
member = "{member}"
sealing_key = "keys/{name}.key"
sealing_certificate = "keys/{name}.crt"

[[clients]]
subsystem = "{member}/app"
token_sha256 = "{}"

[[services]]
service = "{member}/app/{NAME}"
url = "http://{}"
"#,
            Digest::of(format!("token of {name}").as_bytes()),
            at.service
        );
        let config = std::fs::read_to_string(at.site.config()).unwrap();
        std::fs::write(at.site.config(), config + &more).unwrap();
        self.enlist(&member).await;
        let ledger = LedgerRecord {
            origin: origin.to_string(),
            node: node.to_string(),
            epoch: Epoch::FIRST.number(),
            sealing_certificate: certificate,
            ..Default::default()
        };
        let request = AddLedgerRequest { member: member.to_string(), ledger: Some(ledger) };
        let added = self.officers.registration.add_ledger(request).await.unwrap().into_inner();
        self.officers.approve(added.proposal).await.unwrap();
        self.offer(&member).await;
    }
}
