//! `peabiru globalconf`: what a node knows of everyone, and until when.

use clap::Subcommand;
use peabiru_proto::time::{Clock as _, SystemClock, Timestamp};
use peabiru_proto::wire::GetStatusRequest;

use crate::CliError;
use crate::args::Connect;
use crate::output;

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Version and end of the snapshot that a node works with.
    #[command(after_help = "Example:\n  peabiru globalconf show")]
    Show,
}

pub(crate) async fn run(verb: Verb, connect: &Connect) -> Result<(), CliError> {
    let Verb::Show = verb;
    let status = connect.node().await?.get_status(GetStatusRequest {}).await?.into_inner();
    if status.globalconf_version == 0 {
        output::done(
            connect.output,
            "the node has no global configuration yet: it has not reached the registry",
        );
        return Ok(());
    }
    let expires_at = Timestamp::from_ms(status.globalconf_expires_at_ms);
    let left = expires_at.since(SystemClock.now());
    output::fields(
        connect.output,
        &[
            ("node", status.node),
            ("version", status.globalconf_version.to_string()),
            ("expires at", expires_at.to_string()),
            ("hours left without the registry", (left.as_secs() / 3600).to_string()),
        ],
    );
    Ok(())
}
