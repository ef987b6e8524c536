//! Findings in Spanish and English: what it is about, what was found, what to do.

use std::time::Duration;

use peabiru_proto::language::Language;
use peabiru_proto::time::Timestamp;
use peabiru_proto::wire::CertificateRole;

use super::judge::{Fact, Level};

/// A finding in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) about: String,
    pub(super) finding: String,
    /// Of use only if not all is well.
    pub(super) to_do: String,
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
    let in_both = match fact {
        Fact::Clock { other, ahead_ms } => clock(other, *ahead_ms),
        Fact::ClockUnknown { other } => clock_unknown(other),
        Fact::RegistryAnswers { url } => {
            let finding = [format!("{url} answers"), format!("{url} responde")];
            InBoth { about: REGISTRY, finding, to_do: NOTHING }
        }
        Fact::RegistrySilent { url, failure } => registry_silent(url, failure),
        Fact::NoGlobalconf => no_globalconf(),
        Fact::Globalconf { version, age, left } => globalconf(*version, *age, *left),
        Fact::GlobalconfExpired { version, at } => globalconf_expired(*version, *at),
        Fact::Listens { address, carriers, registered } => listens(address, carriers, registered),
        Fact::NotReachable { address } => not_reachable(address),
        Fact::PeerReached { node, carrier } => {
            let finding =
                [format!("{node} is reached over {carrier}"), format!("se llega a {node} por {carrier}")];
            InBoth { about: PEER, finding, to_do: NOTHING }
        }
        Fact::PeerWithoutQuic { node, why } => peer_without_quic(node, why),
        Fact::PeerNotReached { node, failure } => peer_not_reached(node, failure),
        Fact::PeerSilent { node } => peer_silent(node),
        Fact::PeersLeftOut { count } => {
            let finding = [
                format!("{count} more nodes were not looked at"),
                format!("{count} nodos más no se miraron"),
            ];
            InBoth { about: PEER, finding, to_do: NOTHING }
        }
        Fact::Certificate { role, member, left } => certificate(*role, member, *left),
        Fact::CertificateExpired { role, member, at } => certificate_expired(*role, member, *at),
        Fact::CertificateUnregistered { role, member } => certificate_unregistered(*role, member),
        Fact::Disk { free_bytes, needed_bytes } => disk(*free_bytes, *needed_bytes),
        Fact::NoGrants => {
            let finding = ["none is given".to_owned(), "no hay ninguna dada".to_owned()];
            InBoth { about: GRANTS, finding, to_do: NOTHING }
        }
        Fact::GrantsLast { count } => {
            let finding = [
                format!("{count} last for 30 days or more"),
                format!("{count} con vigencia de 30 días o más"),
            ];
            InBoth { about: GRANTS, finding, to_do: NOTHING }
        }
        Fact::GrantEnds { id, consumer, left } => grant_ends(id, consumer, *left),
    };
    in_both.of(language)
}

/// English, then Spanish.
struct InBoth {
    about: [&'static str; 2],
    finding: [String; 2],
    to_do: [&'static str; 2],
}

impl InBoth {
    fn of(self, language: Language) -> Said {
        let Self { about: [about, asunto], finding: [finding, hallazgo], to_do: [to_do, que_hacer] } = self;
        let (about, to_do) = (language.of_both(asunto, about), language.of_both(que_hacer, to_do));
        Said {
            about: about.to_owned(),
            finding: language.of_both(hallazgo, finding),
            to_do: to_do.to_owned(),
        }
    }
}

fn clock(other: &str, ahead_ms: i64) -> InBoth {
    let tenths = ahead_ms.unsigned_abs() / 100;
    let [by, diferencia] = [Language::English, Language::Spanish].map(|language| language.tenths(tenths));
    let [way, sentido] = if ahead_ms > 0 { ["ahead of", "adelantado"] } else { ["behind", "atrasado"] };
    InBoth {
        about: CLOCK,
        finding: [
            format!("{other} is {by} s {way} this node; 60 s are borne"),
            format!("{other} está {diferencia} s {sentido} respecto a este nodo; se toleran 60 s"),
        ],
        to_do: [
            "set this machine's clock by NTP (chronyc tracking), and ask the other side",
            "ajuste el reloj de esta máquina por NTP (chronyc tracking) y avise a la otra parte",
        ],
    }
}

fn clock_unknown(other: &str) -> InBoth {
    InBoth {
        about: CLOCK,
        finding: [
            format!("{other} does not say what time it is there"),
            format!("{other} no dice qué hora tiene"),
        ],
        to_do: [
            "look whether a proxy before the registry drops the header date",
            "vea si un proxy delante del registro quita la cabecera date",
        ],
    }
}

fn registry_silent(url: &str, failure: &str) -> InBoth {
    InBoth {
        about: REGISTRY,
        finding: [format!("{url} does not answer: {failure}"), format!("{url} no responde: {failure}")],
        to_do: [
            "open outgoing TCP to it in the firewall, or ask the registry's operator; exchanges go on meanwhile",
            "abra el TCP saliente hacia él en el cortafuegos o avise a su operador; los intercambios siguen mientras tanto",
        ],
    }
}

fn no_globalconf() -> InBoth {
    InBoth {
        about: GLOBALCONF,
        finding: [
            "this node has none yet, and carries nothing".to_owned(),
            "este nodo todavía no tiene ninguna y no transporta nada".to_owned(),
        ],
        to_do: [
            "see what is said of the registry; check instance_anchor of node.toml",
            "vea lo que se dice del registro; revise instance_anchor en node.toml",
        ],
    }
}

fn globalconf(version: u64, age: Duration, left: Duration) -> InBoth {
    let ([age, edad], [left, resto]) = (time(age), time(left));
    InBoth {
        about: GLOBALCONF,
        finding: [
            format!("version {version}, {age} old, good for {left} more"),
            format!("versión {version}, de hace {edad}, vale {resto} más"),
        ],
        to_do: [
            "the registry must be reached before it ends",
            "el registro debe responder antes de que venza",
        ],
    }
}

fn globalconf_expired(version: u64, at: Timestamp) -> InBoth {
    InBoth {
        about: GLOBALCONF,
        finding: [
            format!("version {version} expired at {at}: this node carries nothing"),
            format!("la versión {version} venció el {at}: este nodo no transporta nada"),
        ],
        to_do: [
            "make the registry answer again, or set the clock if that is wrong",
            "haga que el registro vuelva a responder, o ajuste el reloj si está mal",
        ],
    }
}

fn listens(address: &str, carriers: &[String], registered: &[String]) -> InBoth {
    let port = |carrier: &String| if carrier == "quic" { "UDP: quic" } else { "TCP: http2" };
    let ports = carriers.iter().map(port).collect::<Vec<_>>().join(", ");
    let registered = registered.join(", ");
    InBoth {
        about: PORTS,
        finding: [
            format!("listens on {address} ({ports}), registered as {registered}"),
            format!("escucha en {address} ({ports}), registrado como {registered}"),
        ],
        to_do: NOTHING,
    }
}

fn not_reachable(address: &str) -> InBoth {
    InBoth {
        about: PORTS,
        finding: [
            format!("listens on {address}, and the registry knows no address of this node"),
            format!("escucha en {address}, y el registro no conoce ninguna dirección de este nodo"),
        ],
        to_do: [
            "register it: peabiru node add, or peabiru node address",
            "regístrelo: peabiru node add, o peabiru node address",
        ],
    }
}

fn peer_without_quic(node: &str, why: &str) -> InBoth {
    InBoth {
        about: PEER,
        finding: [
            format!("{node} is reached over http2 on TCP; not over QUIC: {why}"),
            format!("se llega a {node} por http2 sobre TCP; no por QUIC: {why}"),
        ],
        to_do: [
            "open UDP on the same port, both ways, in both firewalls; it works without, and is slower",
            "abra UDP en el mismo puerto, en ambos sentidos, en los dos cortafuegos; sin eso funciona, más lento",
        ],
    }
}

fn peer_not_reached(node: &str, failure: &str) -> InBoth {
    InBoth {
        about: PEER,
        finding: [format!("{node} is not reached: {failure}"), format!("no se llega a {node}: {failure}")],
        to_do: [
            "open outgoing UDP and TCP to its port, and ask its administrator whether it runs",
            "abra UDP y TCP salientes hacia su puerto y pregunte a su administrador si está en marcha",
        ],
    }
}

fn peer_silent(node: &str) -> InBoth {
    InBoth {
        about: PEER,
        finding: [
            format!("{node} only dials out, and is not connected now"),
            format!("{node} solo llama hacia afuera y ahora no está conectado"),
        ],
        to_do: NOTHING,
    }
}

fn certificate(role: CertificateRole, member: &str, left: Duration) -> InBoth {
    let ([name, nombre], [left, resto]) = (named(role, member), time(left));
    InBoth {
        about: CERTIFICATE,
        finding: [format!("{name}: ends in {left}"), format!("{nombre}: vence en {resto}")],
        to_do: [
            "order the next one and register it: peabiru node certificate --add",
            "pida el siguiente y regístrelo: peabiru node certificate --add",
        ],
    }
}

fn certificate_expired(role: CertificateRole, member: &str, at: Timestamp) -> InBoth {
    let [name, nombre] = named(role, member);
    InBoth {
        about: CERTIFICATE,
        finding: [format!("{name}: ended at {at}"), format!("{nombre}: venció el {at}")],
        to_do: [
            "order a new one, register it, and name it in node.toml",
            "pida uno nuevo, regístrelo y nómbrelo en node.toml",
        ],
    }
}

fn certificate_unregistered(role: CertificateRole, member: &str) -> InBoth {
    let [name, nombre] = named(role, member);
    InBoth {
        about: CERTIFICATE,
        finding: [
            format!("{name}: not registered, so other nodes turn this one away"),
            format!("{nombre}: no está registrado, y los otros nodos rechazan a este"),
        ],
        to_do: [
            "register it (peabiru node certificate --add, peabiru ledger register), or name the registered one in node.toml",
            "regístrelo (peabiru node certificate --add, peabiru ledger register) o nombre en node.toml el registrado",
        ],
    }
}

fn disk(free_bytes: u64, needed_bytes: u64) -> InBoth {
    let [free, needed] = [free_bytes, needed_bytes].map(|bytes| bytes / (1024 * 1024));
    InBoth {
        about: DISK,
        finding: [
            format!("{free} MiB are free; below {needed} MiB nothing is accepted"),
            format!("hay {free} MiB libres; con menos de {needed} MiB no se acepta nada"),
        ],
        to_do: [
            "make room, or move the folder to a larger disk",
            "haga lugar, o mueva la carpeta a un disco mayor",
        ],
    }
}

fn grant_ends(id: &str, consumer: &str, left: Duration) -> InBoth {
    let [left, resto] = time(left);
    InBoth {
        about: GRANTS,
        finding: [
            format!("{id} for {consumer} ends in {left}"),
            format!("{id} para {consumer} termina en {resto}"),
        ],
        to_do: [
            "agree on it again and give it: peabiru grant give",
            "acuérdelo de nuevo y délo: peabiru grant give",
        ],
    }
}

fn named(role: CertificateRole, member: &str) -> [String; 2] {
    match role {
        CertificateRole::Sealing => [format!("sealing of {member}"), format!("sellado de {member}")],
        CertificateRole::Door => ["door".to_owned(), "puerta".to_owned()],
        CertificateRole::Authentication | CertificateRole::Unspecified => {
            ["authentication".to_owned(), "autenticación".to_owned()]
        }
    }
}

/// Days, hours or minutes: the largest of which there are two, to the nearest.
fn time(duration: Duration) -> [String; 2] {
    let minutes = duration.as_secs() / 60;
    match minutes {
        0 => ["less than 1 min".to_owned(), "menos de 1 min".to_owned()],
        1..120 => [format!("{minutes} min"), format!("{minutes} min")],
        120..2880 => [(minutes + 30) / 60; 2].map(|hours| format!("{hours} h")),
        _ => {
            let days = (minutes + 720) / 1440;
            [format!("{days} days"), format!("{days} días")]
        }
    }
}

const CLOCK: [&str; 2] = ["clock", "reloj"];
const REGISTRY: [&str; 2] = ["registry", "registro"];
const GLOBALCONF: [&str; 2] = ["global configuration", "configuración global"];
const PORTS: [&str; 2] = ["ports", "puertos"];
const PEER: [&str; 2] = ["peer", "par"];
const CERTIFICATE: [&str; 2] = ["certificate", "certificado"];
const DISK: [&str; 2] = ["disk", "disco"];
const GRANTS: [&str; 2] = ["grants", "autorizaciones"];
const NOTHING: [&str; 2] = ["", ""];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_said_in_its_largest_unit() {
        let said = |seconds| time(Duration::from_secs(seconds));
        assert_eq!(said(59), ["less than 1 min", "menos de 1 min"]);
        assert_eq!(said(7200), ["2 h", "2 h"]);
        assert_eq!(said(3 * 86_400), ["3 days", "3 días"]);
        // What was given for 90 days a minute ago.
        assert_eq!(said(90 * 86_400 - 60), ["90 days", "90 días"]);
    }
}
