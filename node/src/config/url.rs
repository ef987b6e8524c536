//! Where an agency's service listens.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;

use peabiru_proto::path::RestPath;
use serde::Deserialize;

/// Address of a gRPC or HTTP server, with the path below which it serves.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum ServiceUrl {
    /// `http://127.0.0.1:50051`: without TLS, on this machine only.
    Http {
        /// `localhost` or a loopback address.
        host: String,
        /// TCP.
        port: u16,
        /// Empty, or `/api/v1` without a slash at its end.
        base: String,
    },
    /// `https://host:port`.
    Https {
        /// Name or address, checked against the certificate.
        host: String,
        /// TCP.
        port: u16,
        /// Empty, or `/api/v1` without a slash at its end.
        base: String,
    },
    /// `unix:/run/agency/service.sock`.
    Unix(PathBuf),
}

/// A text is no address of a service.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no address of a service: {reason}")]
pub struct InvalidUrl {
    text: String,
    reason: &'static str,
}

impl FromStr for ServiceUrl {
    type Err = InvalidUrl;

    fn from_str(text: &str) -> Result<Self, InvalidUrl> {
        let invalid = |reason| InvalidUrl { text: text.to_owned(), reason };
        if let Some(path) = text.strip_prefix("unix:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            return if path.is_empty() {
                Err(invalid("a path is missing"))
            } else {
                Ok(Self::Unix(path.into()))
            };
        }
        let (tls, rest) = match (text.strip_prefix("http://"), text.strip_prefix("https://")) {
            (Some(rest), None) => (None, rest),
            (None, Some(rest)) => (Some(()), rest),
            _ => return Err(invalid("write http://127.0.0.1:PORT, unix:PATH or https://HOST:PORT")),
        };
        let (authority, base) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let base = base.strip_suffix('/').unwrap_or(base).to_owned();
        RestPath::parse(&base)
            .map_err(|_| invalid("after HOST:PORT stands a path without a query, or nothing"))?;
        let authority: http::uri::Authority =
            authority.parse().map_err(|_| invalid("after the scheme stands HOST:PORT and perhaps a path"))?;
        let port = authority.port_u16().ok_or_else(|| invalid("the port is missing"))?;
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        match tls {
            Some(()) => Ok(Self::Https { host, port, base }),
            None if is_loopback(&host) => Ok(Self::Http { host, port, base }),
            None => Err(invalid(
                "without TLS only this machine is allowed: use https:// with ca_file, or loopback",
            )),
        }
    }
}

impl TryFrom<String> for ServiceUrl {
    type Error = InvalidUrl;

    fn try_from(text: String) -> Result<Self, InvalidUrl> {
        text.parse()
    }
}

impl fmt::Display for ServiceUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http { host, port, base } => write!(f, "http://{}:{port}{base}", bracketed(host)),
            Self::Https { host, port, base } => write!(f, "https://{}:{port}{base}", bracketed(host)),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl ServiceUrl {
    /// Host and port as a connection needs them.
    #[must_use]
    pub fn authority(&self) -> String {
        match self {
            Self::Http { host, port, .. } | Self::Https { host, port, .. } => {
                format!("{}:{port}", bracketed(host))
            }
            Self::Unix(_) => "localhost".to_owned(),
        }
    }

    /// The path below which it serves.
    #[must_use]
    pub fn base(&self) -> &str {
        match self {
            Self::Http { base, .. } | Self::Https { base, .. } => base,
            Self::Unix(_) => "",
        }
    }
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn bracketed(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_on_this_machine_need_no_tls() {
        for text in
            ["http://127.0.0.1:50051", "http://[::1]:9", "http://localhost:1/api/v1", "unix:/run/a.sock"]
        {
            assert_eq!(text.parse::<ServiceUrl>().unwrap().to_string(), text);
        }
        assert_eq!("unix:///a.sock".parse(), Ok(ServiceUrl::Unix("/a.sock".into())));
        assert!("https://mec.gov.py:443/".parse::<ServiceUrl>().is_ok());
    }

    #[test]
    fn others_do_and_the_reason_says_what_to_write() {
        let reason = |text: &str| text.parse::<ServiceUrl>().unwrap_err().reason;
        assert!(reason("http://10.0.0.1:50051").contains("https://"));
        assert!(reason("127.0.0.1:50051").starts_with("write http://"));
        assert_eq!(reason("https://mec.gov.py"), "the port is missing");
        assert!(reason("http://127.0.0.1:1/a/../b").contains("a path without"));
        assert!(reason("http://127.0.0.1:1/a?b").contains("a path without"));
        assert_eq!(reason("unix:"), "a path is missing");
    }
}
