//! Findings in Spanish and English: what it is about, what was found, what to do.

use std::time::Duration;

use peabiru_proto::wire::CertificateRole;

use super::judge::{Fact, Level};

/// Of the reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Language {
    English,
    Spanish,
}

/// A finding in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) about: String,
    pub(super) finding: String,
    /// Of use only if not all is well.
    pub(super) to_do: String,
}

impl Language {
    /// As POSIX chooses it: the first of `LC_ALL`, `LC_MESSAGES` and `LANG` that says something.
    pub(super) fn of_environment(read: impl Fn(&str) -> Option<String>) -> Self {
        let locale =
            ["LC_ALL", "LC_MESSAGES", "LANG"].into_iter().filter_map(read).find(|text| !text.is_empty());
        match locale {
            Some(locale) if locale.starts_with("es") => Self::Spanish,
            _ => Self::English,
        }
    }

    fn of<'a>(self, english: &'a str, spanish: &'a str) -> &'a str {
        match self {
            Self::English => english,
            Self::Spanish => spanish,
        }
    }
}

pub(super) fn level(level: Level, language: Language) -> &'static str {
    match (level, language) {
        (Level::Well, Language::English) => "well",
        (Level::Well, Language::Spanish) => "bien",
        (Level::Care, Language::English) => "care",
        (Level::Care, Language::Spanish) => "atención",
        (Level::Broken, Language::English) => "broken",
        (Level::Broken, Language::Spanish) => "falla",
    }
}

pub(super) fn say(fact: &Fact, language: Language) -> Said {
    match language {
        Language::English => english(fact),
        Language::Spanish => spanish(fact),
    }
}

fn said(about: impl Into<String>, finding: impl Into<String>, to_do: &str) -> Said {
    Said { about: about.into(), finding: finding.into(), to_do: to_do.to_owned() }
}

fn english(fact: &Fact) -> Said {
    let language = Language::English;
    match fact {
        Fact::Clock { other, ahead_ms } => {
            let (way, by) = (if *ahead_ms > 0 { "ahead of" } else { "behind" }, seconds(*ahead_ms));
            let to_do = "set this machine's clock by NTP (chronyc tracking), and ask the other side";
            said("clock", format!("{other} is {by} {way} this node; 60 s are borne"), to_do)
        }
        Fact::ClockUnknown { other } => said(
            "clock",
            format!("{other} does not say what time it is there"),
            "look whether a proxy before the registry drops the header date",
        ),
        Fact::RegistryAnswers { url } => said("registry", format!("{url} answers"), ""),
        Fact::RegistrySilent { url, failure } => said(
            "registry",
            format!("{url} does not answer: {failure}"),
            "open outgoing TCP to it in the firewall, or ask the registry's operator; exchanges go on meanwhile",
        ),
        Fact::NoGlobalconf => said(
            "global configuration",
            "this node has none yet, and carries nothing",
            "see the registry above; check instance_anchor of node.toml",
        ),
        Fact::Globalconf { version, age, left } => said(
            "global configuration",
            format!(
                "version {version}, {} old, good for {} more",
                time(*age, language),
                time(*left, language)
            ),
            "the registry must be reached before it ends",
        ),
        Fact::GlobalconfExpired { version, at } => said(
            "global configuration",
            format!("version {version} expired at {at}: this node carries nothing"),
            "make the registry answer again, or set the clock if that is wrong",
        ),
        Fact::Listens { address, carriers, registered } => {
            let finding = format!(
                "listens on {address} ({}), registered as {}",
                ports(carriers),
                registered.join(", ")
            );
            said("ports", finding, "")
        }
        Fact::NotReachable { address } => said(
            "ports",
            format!("listens on {address}, and the registry knows no address of this node"),
            "register it: peabiru node add, or peabiru node address",
        ),
        Fact::PeerReached { node, carrier } => said("peer", format!("{node} is reached over {carrier}"), ""),
        Fact::PeerWithoutQuic { node, why } => said(
            "peer",
            format!("{node} is reached over http2 on TCP; not over QUIC: {why}"),
            "open UDP on the same port, both ways, in both firewalls; it works without, and is slower",
        ),
        Fact::PeerNotReached { node, failure } => said(
            "peer",
            format!("{node} is not reached: {failure}"),
            "open outgoing UDP and TCP to its port, and ask its administrator whether it runs",
        ),
        Fact::PeerSilent { node } => said(
            "peer",
            format!("{node} only dials out, and is not connected now"),
            "nothing, unless it should be",
        ),
        Fact::PeersLeftOut { count } => said("peer", format!("{count} more nodes were not looked at"), ""),
        Fact::Certificate { role, member, left } => said(
            certificate(*role, member, language),
            format!("ends in {}", time(*left, language)),
            "order the next one and register it: peabiru node certificate --add",
        ),
        Fact::CertificateExpired { role, member, at } => said(
            certificate(*role, member, language),
            format!("ended at {at}"),
            "order a new one, register it, and name it in node.toml",
        ),
        Fact::CertificateUnregistered { role, member } => said(
            certificate(*role, member, language),
            "is not registered: other nodes turn this one away",
            "register it (peabiru node certificate --add, peabiru ledger add), or name the registered one in node.toml",
        ),
        Fact::Disk { free_bytes, needed_bytes } => said(
            "disk",
            format!(
                "{} MiB are free; below {} MiB nothing is accepted",
                mebibytes(*free_bytes),
                mebibytes(*needed_bytes)
            ),
            "make room, or move the folder to a larger disk",
        ),
        Fact::GrantsLast { count } => said("grants", format!("{count} last for 30 days and more"), ""),
        Fact::GrantEnds { id, consumer, left } => said(
            "grants",
            format!("{id} for {consumer} ends in {}", time(*left, language)),
            "agree on it again and give it: peabiru grant add",
        ),
    }
}

fn spanish(fact: &Fact) -> Said {
    let language = Language::Spanish;
    match fact {
        Fact::Clock { other, ahead_ms } => {
            let (way, by) = (if *ahead_ms > 0 { "adelantado" } else { "atrasado" }, seconds(*ahead_ms));
            let to_do = "ajuste el reloj de esta máquina por NTP (chronyc tracking) y avise a la otra parte";
            said("reloj", format!("{other} está {by} {way} respecto a este nodo; se toleran 60 s"), to_do)
        }
        Fact::ClockUnknown { other } => said(
            "reloj",
            format!("{other} no dice qué hora tiene"),
            "vea si un proxy delante del registro quita la cabecera date",
        ),
        Fact::RegistryAnswers { url } => said("registro", format!("{url} responde"), ""),
        Fact::RegistrySilent { url, failure } => said(
            "registro",
            format!("{url} no responde: {failure}"),
            "abra el TCP saliente hacia él en el cortafuegos o avise a su operador; los intercambios siguen mientras tanto",
        ),
        Fact::NoGlobalconf => said(
            "configuración global",
            "este nodo todavía no tiene ninguna y no transporta nada",
            "vea el registro más arriba; revise instance_anchor en node.toml",
        ),
        Fact::Globalconf { version, age, left } => said(
            "configuración global",
            format!(
                "versión {version}, de hace {}, vale {} más",
                time(*age, language),
                time(*left, language)
            ),
            "el registro debe responder antes de que venza",
        ),
        Fact::GlobalconfExpired { version, at } => said(
            "configuración global",
            format!("la versión {version} venció el {at}: este nodo no transporta nada"),
            "haga que el registro vuelva a responder, o ajuste el reloj si está mal",
        ),
        Fact::Listens { address, carriers, registered } => {
            let finding = format!(
                "escucha en {address} ({}), registrado como {}",
                ports(carriers),
                registered.join(", ")
            );
            said("puertos", finding, "")
        }
        Fact::NotReachable { address } => said(
            "puertos",
            format!("escucha en {address}, y el registro no conoce ninguna dirección de este nodo"),
            "regístrelo: peabiru node add, o peabiru node address",
        ),
        Fact::PeerReached { node, carrier } => said("par", format!("se llega a {node} por {carrier}"), ""),
        Fact::PeerWithoutQuic { node, why } => said(
            "par",
            format!("se llega a {node} por http2 sobre TCP; no por QUIC: {why}"),
            "abra UDP en el mismo puerto, en ambos sentidos, en los dos cortafuegos; sin eso funciona, más lento",
        ),
        Fact::PeerNotReached { node, failure } => said(
            "par",
            format!("no se llega a {node}: {failure}"),
            "abra UDP y TCP salientes hacia su puerto y pregunte a su administrador si está en marcha",
        ),
        Fact::PeerSilent { node } => said(
            "par",
            format!("{node} solo llama hacia afuera y ahora no está conectado"),
            "nada, salvo que deba estarlo",
        ),
        Fact::PeersLeftOut { count } => said("par", format!("{count} nodos más no se miraron"), ""),
        Fact::Certificate { role, member, left } => said(
            certificate(*role, member, language),
            format!("vence en {}", time(*left, language)),
            "pida el siguiente y regístrelo: peabiru node certificate --add",
        ),
        Fact::CertificateExpired { role, member, at } => said(
            certificate(*role, member, language),
            format!("venció el {at}"),
            "pida uno nuevo, regístrelo y nómbrelo en node.toml",
        ),
        Fact::CertificateUnregistered { role, member } => said(
            certificate(*role, member, language),
            "no está registrado: los otros nodos rechazan a este",
            "regístrelo (peabiru node certificate --add, peabiru ledger add) o nombre en node.toml el registrado",
        ),
        Fact::Disk { free_bytes, needed_bytes } => said(
            "disco",
            format!(
                "hay {} MiB libres; con menos de {} MiB no se acepta nada",
                mebibytes(*free_bytes),
                mebibytes(*needed_bytes)
            ),
            "haga lugar, o mueva la carpeta a un disco mayor",
        ),
        Fact::GrantsLast { count } => said("permisos", format!("{count} valen 30 días o más"), ""),
        Fact::GrantEnds { id, consumer, left } => said(
            "permisos",
            format!("{id} para {consumer} termina en {}", time(*left, language)),
            "acuérdelo de nuevo y délo: peabiru grant add",
        ),
    }
}

fn certificate(role: CertificateRole, member: &str, language: Language) -> String {
    match role {
        CertificateRole::Sealing => {
            format!("{} {member}", language.of("sealing certificate of", "certificado de sello de"))
        }
        CertificateRole::Door => language.of("door certificate", "certificado de la puerta").to_owned(),
        CertificateRole::Authentication | CertificateRole::Unspecified => {
            language.of("authentication certificate", "certificado de autenticación").to_owned()
        }
    }
}

fn ports(carriers: &[String]) -> String {
    let port = |carrier: &String| if carrier == "quic" { "UDP: quic" } else { "TCP: http2" };
    carriers.iter().map(port).collect::<Vec<_>>().join(", ")
}

fn seconds(ahead_ms: i64) -> String {
    format!("{:.1} s", Duration::from_millis(ahead_ms.unsigned_abs()).as_secs_f64())
}

/// Days, hours or minutes: the largest of which there are two.
fn time(duration: Duration, language: Language) -> String {
    let minutes = duration.as_secs() / 60;
    match minutes {
        0..120 => format!("{minutes} min"),
        120..2880 => format!("{} h", minutes / 60),
        _ => format!("{} {}", minutes / 1440, language.of("days", "días")),
    }
}

fn mebibytes(bytes: u64) -> u64 {
    bytes / (1024 * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(variables: &[(&str, &str)]) -> Language {
        let read = |name: &str| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        };
        Language::of_environment(read)
    }

    #[test]
    fn the_environment_chooses_the_language() {
        assert_eq!(chosen(&[("LANG", "es_PY.UTF-8")]), Language::Spanish);
        assert_eq!(chosen(&[("LANG", "es_PY.UTF-8"), ("LC_ALL", "C")]), Language::English);
        assert_eq!(chosen(&[("LANG", "en_US"), ("LC_ALL", ""), ("LC_MESSAGES", "es")]), Language::Spanish);
        assert_eq!(chosen(&[]), Language::English);
    }

    #[test]
    fn a_time_is_said_in_its_largest_unit() {
        let said = |seconds| time(Duration::from_secs(seconds), Language::Spanish);
        assert_eq!((said(59), said(7200)), ("0 min".to_owned(), "2 h".to_owned()));
        assert_eq!(said(3 * 86_400), "3 días");
    }
}
