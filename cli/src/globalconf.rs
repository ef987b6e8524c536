//! `peabiru globalconf`: what a node knows of everyone, and until when.

use clap::Subcommand;
use peabiru_proto::language::Language;
use peabiru_proto::limits::STALE_AFTER;
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
    let language = connect.language();
    if status.globalconf_version == 0 {
        output::done(
            connect,
            language.of_both(
                "el nodo todavía no tiene configuración global: no alcanzó al registro",
                "the node has no global configuration yet: it has not reached the registry",
            ),
        );
        return Ok(());
    }
    let expires_at = Timestamp::from_ms(status.globalconf_expires_at_ms);
    let left = expires_at.since(SystemClock.now());
    output::fields(
        connect,
        &[
            ("node", "nodo", status.node),
            ("version", "versión", status.globalconf_version.to_string()),
            (
                "confirmed",
                "confirmada",
                confirmed(status.globalconf_confirmed_at_ms, SystemClock.now(), language),
            ),
            ("expires at", "vence el", expires_at.to_string()),
            (
                "hours left without the registry",
                "horas que quedan sin el registro",
                (left.as_secs() / 3600).to_string(),
            ),
        ],
    );
    Ok(())
}

/// When the registry last said that nothing is newer, and whether that is too long ago.
pub(crate) fn confirmed(at_ms: u64, now: Timestamp, language: Language) -> String {
    let at = Timestamp::from_ms(at_ms);
    let stale = now.since(at);
    if stale <= STALE_AFTER {
        return at.to_string();
    }
    let minutes = stale.as_secs() / 60;
    language.of_both(
        format!(
            "{at}: SIN NOVEDADES hace {minutes} minutos, puede seguir confiando en claves retiradas: haga que el nodo alcance al \
             registro"
        ),
        format!(
            "{at}: STALE for {minutes} minutes, withdrawn keys may still be trusted: let the node reach the registry"
        ),
    )
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_was_not_confirmed_for_a_quarter_of_an_hour_is_called_stale() {
        let at = Timestamp::from_ms(1_900_000_000_000);
        let language = Language::English;
        assert_eq!(confirmed(at.as_ms(), at.plus(STALE_AFTER), language), at.to_string());
        let late = confirmed(at.as_ms(), at.plus(STALE_AFTER + Duration::from_secs(60)), language);
        assert!(late.contains("STALE for 16 minutes"), "{late}");
    }
}
