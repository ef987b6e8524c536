//! What the node writes about itself: structured lines with exchange ids, never a payload, never a secret.

use std::sync::OnceLock;

use tracing_subscriber::EnvFilter;

use crate::config::{LogFormat, LogSection};

type Refilter = Box<dyn Fn(EnvFilter) -> Result<(), tracing_subscriber::reload::Error> + Send + Sync>;

/// Of the process: it has one log.
static REFILTER: OnceLock<Refilter> = OnceLock::new();

/// Writes to stderr from now on. Whoever embeds the node may have set up something else: that stays.
pub(crate) fn init(section: &LogSection) {
    let builder = tracing_subscriber::fmt().with_env_filter(filter(section)).with_writer(std::io::stderr);
    // An error means that a subscriber is installed already.
    match section.format {
        LogFormat::Text => {
            let builder = builder.with_filter_reloading();
            let handle = builder.reload_handle();
            if builder.try_init().is_ok() {
                let _ = REFILTER.set(Box::new(move |filter| handle.reload(filter)));
            }
        }
        LogFormat::Json => {
            let builder = builder.json().with_filter_reloading();
            let handle = builder.reload_handle();
            if builder.try_init().is_ok() {
                let _ = REFILTER.set(Box::new(move |filter| handle.reload(filter)));
            }
        }
    }
}

/// Changes what is written, if this node set up the log.
pub(crate) fn refilter(section: &LogSection) {
    if let Some(refilter) = REFILTER.get()
        && let Err(error) = refilter(filter(section))
    {
        tracing::error!(%error, "the log's filter stays as it was");
    }
}

/// The configuration was refused if it is none.
fn filter(section: &LogSection) -> EnvFilter {
    EnvFilter::builder().parse_lossy(&section.filter)
}
