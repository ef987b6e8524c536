//! `peabiru exchange`: what became of a call.

use clap::Subcommand;
use peabiru_proto::entry::ExchangeId;
use peabiru_proto::time::Timestamp;
use peabiru_proto::wire::{ExchangeState, GetExchangeStatusRequest, GetExchangeStatusResponse};

use crate::CliError;
use crate::args::Connect;
use crate::output;

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// What became of an exchange that a node asked for: after `exchange.outcome_unknown`, before it is asked again.
    #[command(after_help = "Example:\n  peabiru exchange status 00112233445566778899aabbccddeeff")]
    Status {
        /// As the fault named it.
        exchange: ExchangeId,
    },
}

pub(crate) async fn run(verb: Verb, connect: &Connect) -> Result<(), CliError> {
    let Verb::Status { exchange } = verb;
    let request = GetExchangeStatusRequest { exchange_id: exchange.to_string() };
    let status = connect.node().await?.get_exchange_status(request).await?.into_inner();
    let (state, means) = describe(&status);
    output::fields(
        connect.output,
        &[
            ("exchange", exchange.to_string()),
            ("asked", format!("{} {}", status.service, status.method)),
            ("of", status.addressee),
            ("asked at", Timestamp::from_ms(status.asked_at_ms).to_string()),
            ("expires at", Timestamp::from_ms(status.expires_at_ms).to_string()),
            ("state", state.to_owned()),
            ("that is", means),
        ],
    );
    Ok(())
}

fn describe(status: &GetExchangeStatusResponse) -> (&'static str, String) {
    match status.state() {
        ExchangeState::Answered => {
            // Of a stream that a node broke off.
            let why = if status.reason.is_empty() { String::new() } else { format!(" ({})", status.reason) };
            ("answered", format!("gRPC {}{why}; see `peabiru evidence export`", status.outcome))
        }
        ExchangeState::Refused => ("refused", status.reason.clone()),
        ExchangeState::Received => {
            ("received", "the provider's node has it and holds no answer yet: ask later".to_owned())
        }
        ExchangeState::NeverAnswered => {
            let why = if status.reason.is_empty() { String::new() } else { format!(" ({})", status.reason) };
            (
                "never answered",
                format!("the provider's node received it and will not answer any more{why}: only the service knows what it did"),
            )
        }
        ExchangeState::NotReceived => {
            ("not received", "the provider's node does not have it, and still may get it: ask later".to_owned())
        }
        ExchangeState::NeverReceived => (
            "never received",
            "the provider's node says that it does not have it, and would refuse it now: if that is so, nothing was \
             done and it may be asked again"
                .to_owned(),
        ),
        ExchangeState::Unreachable => {
            ("not known", format!("the provider's node cannot be asked now: {}", status.reason))
        }
        ExchangeState::Unclosed => (
            "not closed",
            "a stream whose answer began: it goes on, or was broken off; see `peabiru evidence export`".to_owned(),
        ),
        ExchangeState::Unspecified => ("not known", "the node is of a newer version".to_owned()),
    }
}
