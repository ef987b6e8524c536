//! `peabiru exchange`: what became of a call.

use clap::Subcommand;
use peabiru_proto::entry::ExchangeId;
use peabiru_proto::language::Language;
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
    let (state, means) = describe(&status, connect.language());
    output::fields(
        connect,
        &[
            ("exchange", "intercambio", exchange.to_string()),
            ("asked", "consulta", format!("{} {}", status.service, status.method)),
            ("of", "a", status.addressee),
            ("asked at", "hecha el", Timestamp::from_ms(status.asked_at_ms).to_string()),
            ("expires at", "vence el", Timestamp::from_ms(status.expires_at_ms).to_string()),
            ("state", "estado", state.to_owned()),
            ("that is", "es decir", means),
        ],
    );
    Ok(())
}

fn describe(status: &GetExchangeStatusResponse, language: Language) -> (&'static str, String) {
    let reason = &status.reason;
    // Of what a node broke off.
    let why = if reason.is_empty() { String::new() } else { format!(" ({reason})") };
    let (spanish, english) = match status.state() {
        ExchangeState::Answered => {
            let what = format!("gRPC {}{why}", status.outcome);
            (
                ("respondido", format!("{what}; véase `peabiru evidence export`")),
                ("answered", format!("{what}; see `peabiru evidence export`")),
            )
        }
        ExchangeState::Refused => (("rechazado", reason.clone()), ("refused", reason.clone())),
        ExchangeState::NeverAnswered => (
            (
                "sin respuesta",
                format!(
                    "el nodo del proveedor lo recibió y ya no responderá{why}: solo el servicio sabe lo que hizo"
                ),
            ),
            (
                "never answered",
                format!(
                    "the provider's node received it and will not answer any more{why}: only the service knows what it did"
                ),
            ),
        ),
        ExchangeState::Unreachable => (
            ("no se sabe", format!("ahora no se puede preguntar al nodo del proveedor: {reason}")),
            ("not known", format!("the provider's node cannot be asked now: {reason}")),
        ),
        state => {
            let (spanish, english) = described(state);
            ((spanish.0, spanish.1.to_owned()), (english.0, english.1.to_owned()))
        }
    };
    language.of_both(spanish, english)
}

type Described = (&'static str, &'static str);

/// States that are said without details: in Spanish, then in English.
fn described(state: ExchangeState) -> (Described, Described) {
    match state {
        ExchangeState::Received => (
            ("recibido", "el nodo del proveedor lo tiene y todavía no hay respuesta: pregunte más tarde"),
            ("received", "the provider's node has it and holds no answer yet: ask later"),
        ),
        ExchangeState::NotReceived => (
            (
                "no recibido",
                "el nodo del proveedor no lo tiene, y todavía puede llegarle: pregunte más tarde",
            ),
            ("not received", "the provider's node does not have it, and still may get it: ask later"),
        ),
        ExchangeState::NeverReceived => (
            (
                "nunca recibido",
                "el nodo del proveedor dice que no lo tiene, y ahora lo rechazaría: si es así, no se hizo nada y se puede \
                 consultar otra vez",
            ),
            (
                "never received",
                "the provider's node says that it does not have it, and would refuse it now: if that is so, nothing was done \
                 and it may be asked again",
            ),
        ),
        ExchangeState::Unclosed => (
            (
                "sin cerrar",
                "un flujo cuya respuesta empezó: sigue, o se interrumpió; véase `peabiru evidence export`",
            ),
            (
                "not closed",
                "a stream whose answer began: it goes on, or was broken off; see `peabiru evidence export`",
            ),
        ),
        _ => (
            ("no se sabe", "el nodo es de una versión más nueva"),
            ("not known", "the node is of a newer version"),
        ),
    }
}
