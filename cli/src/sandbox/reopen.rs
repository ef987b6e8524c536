//! The country of an earlier run, started again from its folder: the same keys and ledgers, and what happened meanwhile.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;
use peabiru_example_connectivity::agency::Service;
use peabiru_example_connectivity::data::Published;
use peabiru_proto::language::Language;
use peabiru_proto::wire::{GrantState, ListGrantsRequest, RevokeGrantRequest};
use tokio::net::TcpListener;

use super::country::{
    Agency, Country, ENVIRONMENT, PASSPHRASE, PLANS, Plan, Services, TOKEN_FILE, Trust, bind, grant,
    local_address, start_nodes, word_after, write_environment,
};
use super::process::Process;
use crate::certificate::read_anchor;
use crate::output::line;
use crate::site::SiteFolder;
use crate::{CliError, client};

/// What happened since the last run.
#[derive(Debug, Args)]
pub(crate) struct Meanwhile {
    /// The agencies have newer data: files of this folder, named and built like those of examples/connectivity/data. What is
    /// not there is as before.
    #[arg(long, value_name = "FOLDER", requires = "update")]
    data: Option<PathBuf>,
    /// This agency's node is down.
    #[arg(long, value_name = "AGENCY", requires = "update", value_parser = ["INE", "MEC", "MSPBS", "CONATEL"])]
    stopped: Vec<String>,
    /// This agency has taken its grants back.
    #[arg(long, value_name = "AGENCY", requires = "update", value_parser = ["INE", "MEC", "MSPBS", "CONATEL"])]
    revoked: Vec<String>,
}

impl Country {
    /// Starts what an earlier run left in the folder.
    pub(super) async fn reopen(
        folder: &Path,
        meanwhile: &Meanwhile,
        language: Language,
    ) -> Result<Self, CliError> {
        let passphrase = passphrase(folder)?;
        let token_file = folder.join(TOKEN_FILE);
        let token = fs::read_to_string(&token_file).map_err(CliError::file(&token_file))?;
        let anchor_file = folder.join("PY/anchor.toml");
        let instance = Trust { anchor: read_anchor(&anchor_file)?, anchor_file };
        line(
            language.of_both("[1/3] el registro de la última corrida", "[1/3] the registry of the last run"),
        );
        let config = folder.join("PY/registry/registry.toml");
        let (registry, ready) =
            Process::start("registry", &config, &folder.join("registry.log"), &passphrase).await?;
        let admin = word_after(&ready, "admin ").unwrap_or_default();
        let published = meanwhile.data.clone().map_or_else(Published::shipped, Published::in_folder);
        let mut listeners = Vec::new();
        for plan in &PLANS {
            listeners.extend(listen(&site(folder, plan), plan).await?);
        }
        let services = Services::start(listeners, &published);
        let is_up = |plan: &&Plan| !meanwhile.stopped.iter().any(|stopped| stopped == plan.code);
        let nodes =
            language.of_both("[2/3] los nodos de la última corrida", "[2/3] the nodes of the last run");
        line(&format!("{nodes}{}", without(&meanwhile.stopped, language)));
        let sites = PLANS.iter().filter(is_up).map(|plan| (plan.code, site(folder, plan)));
        let (agencies, door) = start_nodes(sites, &passphrase).await?;
        let grants = language.of_both("[3/3] sus autorizaciones", "[3/3] their grants");
        line(&format!("{grants}{}", without(&meanwhile.revoked, language)));
        for agency in &agencies {
            let plan = PLANS.iter().find(|plan| plan.code == agency.code);
            let revoked = meanwhile.revoked.iter().any(|revoked| revoked == agency.code);
            if let Some(plan) = plan {
                settle(agency, plan, if revoked { GrantState::Revoked } else { GrantState::Active }).await?;
            }
        }
        let country = Self { instance, agencies, door, token, registry, services };
        write_environment(folder, &country, &admin, &passphrase)?;
        Ok(country)
    }
}

fn site(folder: &Path, plan: &Plan) -> SiteFolder {
    SiteFolder(folder.join(plan.code))
}

fn without(agencies: &[String], language: Language) -> String {
    if agencies.is_empty() {
        return String::new();
    }
    format!("{}{}", language.of_both(", salvo ", ", but for "), language.list(agencies))
}

fn passphrase(folder: &Path) -> Result<String, CliError> {
    let file = folder.join(ENVIRONMENT);
    let text = fs::read_to_string(&file).map_err(CliError::file(&file))?;
    let start = format!("export {PASSPHRASE}='");
    let value = text.lines().find_map(|line| line.strip_prefix(&start)?.strip_suffix('\''));
    let none = || CliError::Scenario(format!("{} has no passphrase", file.display()));
    value.map(str::to_owned).ok_or_else(none)
}

/// Listeners for the agency's services. Their ports are others than before, and `node.toml` learns them.
async fn listen(site: &SiteFolder, plan: &Plan) -> Result<Vec<(Service, TcpListener)>, CliError> {
    let config = site.config();
    let mut text = fs::read_to_string(&config).map_err(CliError::file(&config))?;
    let mut listeners = Vec::new();
    for offer in plan.services {
        let listener = bind().await?;
        let url = format!("http://{}", local_address(&listener)?);
        text = readdressed(&text, offer.service.code(), &url).ok_or_else(|| {
            CliError::Scenario(format!("{}: no {}", config.display(), offer.service.code()))
        })?;
        listeners.push((offer.service, listener));
    }
    fs::write(&config, text).map_err(CliError::file(&config))?;
    Ok(listeners)
}

/// The file with another URL after the line that names the service.
fn readdressed(text: &str, service: &str, url: &str) -> Option<String> {
    let named = text.find(&format!("/{service}\"\n"))?;
    let begin = named + text[named..].find("url = \"")? + "url = \"".len();
    let end = begin + text[begin..].find('"')?;
    Some(format!("{}{url}{}", &text[..begin], &text[end..]))
}

/// The agency's grants are as they should be.
async fn settle(agency: &Agency, plan: &Plan, wanted: GrantState) -> Result<(), CliError> {
    let mut node = client::node(&agency.site.admin_socket()).await?;
    let grants = node.list_grants(ListGrantsRequest {}).await?.into_inner().grants;
    let as_wanted = |id: &str| grants.iter().any(|it| it.id == id && it.state() == wanted);
    let ids: Vec<_> = plan.services.iter().map(|offer| offer.grant).filter(|id| !as_wanted(id)).collect();
    match wanted {
        GrantState::Revoked => {
            for id in ids {
                let member = format!("PY/GOV/{}", agency.code);
                node.revoke_grant(RevokeGrantRequest { id: id.to_owned(), member }).await?;
            }
        }
        GrantState::Active | GrantState::Unspecified if ids.is_empty() => {}
        GrantState::Active | GrantState::Unspecified => grant(agency, plan).await?,
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_url_of_the_named_service_changes() {
        let text = "[[services]]\nservice = \"PY/GOV/MEC/e/one\"\nurl = \"http://a:1\"\n\n[[services]]\nservice = \"PY/GOV/MEC/e/two\"\nurl = \"http://a:2\"\n";
        let changed = readdressed(text, "two", "http://b:3").unwrap();
        assert_eq!(changed, text.replace("http://a:2", "http://b:3"));
        assert_eq!(readdressed(text, "three", "http://b:3"), None);
    }
}
