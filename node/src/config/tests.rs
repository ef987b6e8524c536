use std::collections::BTreeSet;

use serde::de::{DeserializeOwned, Visitor};

use super::sections::ClientTable;
use super::*;

const EXAMPLE: &str = include_str!("../../../docs/node.toml");

fn parse(text: &str) -> Result<Config, ConfigError> {
    Config::parse(text, Path::new("/etc/peabiru/node.toml"))
}

fn mistake(from: &str, to: &str) -> (usize, String, String) {
    assert!(EXAMPLE.contains(from), "the example has `{from}`");
    match parse(&EXAMPLE.replacen(from, to, 1)).unwrap_err() {
        ConfigError::Mistake { line, key, reason, .. } => (line, key, reason),
        other => panic!("{other}"),
    }
}

fn line_of(text: &str) -> usize {
    EXAMPLE.lines().position(|line| line.starts_with(text)).unwrap() + 1
}

#[test]
fn the_documented_example_is_a_configuration() {
    let config = parse(EXAMPLE).unwrap();
    assert_eq!(config.node.folder, Path::new("/etc/peabiru/data"));
    assert_eq!(config.door.tls().unwrap().key, Path::new("/etc/peabiru/keys/door.pem"));
    assert_eq!(config.clients[2].credential, Credential::UnixUser(1000));
    assert_eq!(
        config.routes["population.ine.road"].purpose.as_ref().unwrap().as_str(),
        "connectivity-planning"
    );
}

#[test]
fn the_example_shows_every_key_and_its_default() {
    let documented = keys_of_text(EXAMPLE);
    assert_eq!(documented, keys_of_types());
    let least = "[node]\nid = 'PY/GOV/MEC/a'\nfolder = 'd'\ninstance_anchor = 'a'\n[keys]\nauthentication_key = 'k'\n\
                 authentication_certificate = 'c'\nstorage_key = 's'\n[[ledgers]]\nmember = 'PY/GOV/MEC'\n\
                 sealing_key = 'k'\nsealing_certificate = 'c'\n[link]\nlisten = '0.0.0.0:443'\n";
    let (least, example) = (parse(least).unwrap(), parse(EXAMPLE).unwrap());
    assert_eq!(least.node.drain_seconds, example.node.drain_seconds);
    assert_eq!(least.ledgers[0].epoch, example.ledgers[0].epoch);
    assert_eq!(
        (least.door.max_connections, least.door.max_calls_per_connection, least.door.max_calls),
        (example.door.max_connections, example.door.max_calls_per_connection, example.door.max_calls)
    );
    assert_eq!(format!("{:?}", least.storage), format!("{:?}", example.storage));
    assert_eq!(format!("{:?}", least.log), format!("{:?}", example.log));
    assert_eq!(least.link.carriers, example.link.carriers);
    assert_eq!(least.globalconf.refresh(), example.globalconf.refresh());
}

#[test]
fn a_misspelt_key_is_named_with_its_line_and_the_right_ones() {
    let (line, key, reason) = mistake("folder = ", "foldr = ");
    assert_eq!((line, key.as_str()), (line_of("folder = "), "[node] foldr"));
    assert!(reason.contains("unknown field `foldr`") && reason.contains("`folder`"), "{reason}");
}

#[test]
fn a_missing_key_is_named_with_its_table() {
    let (line, key, reason) = mistake("folder = \"data\"\n", "");
    assert_eq!((line, key.as_str()), (line_of("[node]"), "[node]"));
    assert!(reason.contains("missing field `folder`: add it"), "{reason}");
}

#[test]
fn wrong_values_are_named_where_they_stand() {
    let (line, key, reason) = mistake("member = \"PY/GOV/MEC\"", "member = \"PY/GOV\"");
    assert_eq!((line, key.as_str()), (line_of("member = "), "[[ledgers]] member"));
    assert!(reason.contains("INSTANCE/CLASS/MEMBER"), "{reason}");
    let (_, key, reason) = mistake("http://127.0.0.1:50051", "http://10.1.1.1:50051");
    assert_eq!(key, "[[services]] url");
    assert!(reason.contains("https://"), "{reason}");
    let (_, key, reason) = mistake("format = \"text\"", "format = \"yaml\"");
    assert_eq!(key, "[log] format");
    assert!(reason.contains("`text`"), "{reason}");
    let (_, key, _) = mistake("refresh_seconds = 60", "refresh_seconds = \"often\"");
    assert_eq!(key, "[globalconf] refresh_seconds");
    let (_, key, reason) = mistake("segment_mebibytes = 64", "segment_mebibytes = 0");
    assert_eq!(key, "[storage] segment_mebibytes");
    assert!(reason.contains("not between 4 and 4096"), "{reason}");
    let (_, key, reason) = mistake("memory_budget_mebibytes = 64", "memory_budget_mebibytes = 1");
    assert_eq!(key, "[link] memory_budget_mebibytes");
    assert!(reason.contains("1 is not between"), "{reason}");
    for (wrong, said) in
        [("[\"tcp\"]", "`tcp` is no carrier"), ("[]", "without a carrier"), ("[\"quic\", \"quic\"]", "twice")]
    {
        let (line, key, reason) = mistake("[\"quic\", \"http2\"]", wrong);
        assert_eq!((line, key.as_str()), (line_of("carriers"), "[link] carriers"));
        assert!(reason.contains(said), "{reason}");
    }
    let (_, key, reason) = mistake("token_sha256 = \"00", "token_sha256 = \"");
    assert_eq!(key, "[[clients]] token_sha256");
    assert!(reason.contains("64 lower-case hex digits"), "{reason}");
}

#[test]
fn a_door_to_elsewhere_needs_tls() {
    let open = EXAMPLE.replace("tls_certificate = \"keys/door.crt\"\ntls_key = \"keys/door.pem\"\n", "");
    let error = parse(&open.replace("\"127.0.0.1:8443\"", "\"0.0.0.0:8443\"")).unwrap_err();
    let text = error.to_string();
    let line = line_of("listen = \"127.0.0.1:8443\"");
    assert!(
        text.starts_with(&format!("/etc/peabiru/node.toml:{line}: [door] listen: 0.0.0.0:8443 can")),
        "{text}"
    );
    assert!(text.contains("set tls_certificate and tls_key"), "{text}");
    assert!(parse(&open).is_ok());
    let (_, key, reason) = mistake("tls_key = \"keys/door.pem\"\n", "");
    assert_eq!(key, "[door] listen");
    assert!(reason.contains("both or none"));
}

#[test]
fn a_client_has_one_credential() {
    let (_, key, reason) = mistake("unix_uid = 1000", "");
    assert_eq!(key, "[[clients]]");
    assert!(reason.contains("exactly one of"), "{reason}");
}

#[test]
fn a_service_stands_once() {
    let twice = format!(
        "{EXAMPLE}\n[[services]]\nservice = \"PY/GOV/MEC/education/py.mec.v1.SchoolService\"\nurl = \"unix:x\"\n"
    );
    let text = parse(&twice).unwrap_err().to_string();
    assert!(text.contains("[[services]] service: the service PY/GOV/MEC/education"), "{text}");
}

#[test]
fn a_missing_file_is_named() {
    let error = Config::load(Path::new("/nowhere/node.toml")).unwrap_err();
    assert_eq!(error.code(), "config.unreadable");
    assert!(error.to_string().starts_with("/nowhere/node.toml: "));
}

#[test]
fn a_reload_lists_what_changed_and_only_that() {
    let before = parse(EXAMPLE).unwrap();
    assert_eq!(before.changes(&parse(EXAMPLE).unwrap()).unwrap(), []);
    let text = EXAMPLE
        .replace("max_body_mebibytes = 2048", "max_body_mebibytes = 16")
        .replace("http://127.0.0.1:50051", "http://127.0.0.1:50052")
        .replace("unix_uid = 1000", "unix_uid = 1001")
        .replace("\nspool_mebibytes = 16384", "")
        .replace("connectivity-planning", "census");
    let changes = before.changes(&parse(&text).unwrap()).unwrap();
    let said: Vec<_> = changes.iter().map(ToString::to_string).collect();
    let client = "[[clients]] PY/GOV/MEC/statistics user";
    assert_eq!(
        said,
        [
            format!("{client} 1000: removed"),
            format!("{client} 1001: added, \"may call\""),
            "[[services]] PY/GOV/MEC/education/py.mec.v1.SchoolService: \"http://127.0.0.1:50052\", before \
             \"http://127.0.0.1:50051\""
                .to_owned(),
            "[routes] population.ine.road: \"PY/GOV/INE/census/py.ine.v1.PopulationService for census\", before \
             \"PY/GOV/INE/census/py.ine.v1.PopulationService for connectivity-planning\""
                .to_owned(),
            "[storage] max_body_mebibytes: 16, before 2048".to_owned(),
        ]
    );
}

#[test]
fn a_reload_names_values_as_the_file_has_them() {
    let next = "next_sealing_key = \"keys/mec-sealing-2.pem\"\nnext_sealing_certificate = \"keys/mec-sealing-2.crt\"\n";
    let text =
        EXAMPLE.replace("\"7.8\"", "\"7.7\"").replace("keys/door.crt", "keys/door-2.crt").replace(next, "");
    let changes = parse(EXAMPLE).unwrap().changes(&parse(&text).unwrap()).unwrap();
    let (keys, own) = ("\"/etc/peabiru/keys", "mec-sealing.crt\", \"/etc/peabiru/keys/mec-sealing.pem\"");
    assert_eq!(
        changes.iter().map(ToString::to_string).collect::<Vec<_>>(),
        [
            format!(
                "[[ledgers]] PY/GOV/MEC sealing: {keys}/{own}, before {keys}/{own}, {keys}/mec-sealing-2.crt\", \
                 {keys}/mec-sealing-2.pem\""
            ),
            format!(
                "[door] tls_certificate: {keys}/door-2.crt\", {keys}/door.pem\", before {keys}/door.crt\", {keys}/door.pem\""
            ),
            "[door] xroad_faults: \"7.7\", before \"7.8\"".to_owned(),
        ]
    );
}

#[test]
fn what_a_running_node_does_not_take_is_named_with_its_line() {
    let before = parse(EXAMPLE).unwrap();
    let refused = |from: &str, to: &str| {
        assert!(EXAMPLE.contains(from), "the example has `{from}`");
        match before.changes(&parse(&EXAMPLE.replacen(from, to, 1)).unwrap()) {
            Err(ConfigError::NeedsRestart { line, key, before, .. }) => (line, key, before),
            other => panic!("{other:?}"),
        }
    };
    let (line, key, before) = refused("0.0.0.0:443", "0.0.0.0:444");
    assert_eq!((line, key.as_str()), (line_of("listen = \"0.0.0.0:443"), "[link] listen"));
    assert_eq!(before, "0.0.0.0:443");
    let (line, key, _) = refused("worker_threads = 0", "worker_threads = 2");
    assert_eq!((line, key.as_str()), (line_of("worker_threads"), "[node] worker_threads"));
    // The table of the member; the section of a key that is gone.
    let (line, key, _) = refused("epoch = 1", "epoch = 2");
    assert_eq!((line, key.as_str()), (line_of("member = \"PY/GOV/MEC\""), "[[ledgers]] PY/GOV/MEC"));
    let (line, key, _) = refused("unix_socket = \"door.sock\"\n", "");
    assert_eq!((line, key.as_str()), (line_of("[door]"), "[door] unix_socket"));
}

#[test]
fn a_wrong_log_filter_is_no_configuration() {
    let (_, key, reason) = mistake("filter = \"info\"", "filter = \"loud=loud=loud\"");
    assert_eq!(key, "[log] filter");
    assert!(reason.contains("is no filter"), "{reason}");
}

#[test]
fn a_route_is_a_host_name_and_stands_once() {
    for wrong in ["population.ine.road:443", "a b", "", "-a.road", "a..road", "población.road"] {
        let (line, _, reason) = mistake("population.ine.road", wrong);
        assert_eq!(line, line_of("service = \"PY/GOV/INE/census"), "{wrong}");
        assert!(reason.contains("is no host name"), "{wrong}: {reason}");
    }
    let twice = format!("{EXAMPLE}\n[routes.\"Population.INE.road\"]\nservice = \"PY/GOV/INE/census/x\"\n");
    assert!(parse(&twice).unwrap_err().to_string().contains("upper and lower case"));
}

fn keys_of_text(text: &str) -> BTreeSet<(String, String)> {
    let table: toml::Table = text.parse().unwrap();
    table.into_iter().flat_map(|(section, value)| keys_of_section(&section, &value)).collect()
}

fn keys_of_section(section: &str, value: &toml::Value) -> Vec<(String, String)> {
    let tables: Vec<&toml::Table> = match value {
        toml::Value::Array(tables) => tables.iter().filter_map(toml::Value::as_table).collect(),
        toml::Value::Table(routes) if section == "routes" => {
            routes.values().filter_map(toml::Value::as_table).collect()
        }
        other => other.as_table().into_iter().collect(),
    };
    let named = |key: &String| (section.to_owned(), key.clone());
    tables.into_iter().flat_map(toml::Table::keys).map(named).collect()
}

fn keys_of_types() -> BTreeSet<(String, String)> {
    let keys = |section: &str| match section {
        "node" => fields::<NodeSection>(),
        "keys" => fields::<KeysSection>(),
        "ledgers" => fields::<LedgerSection>(),
        "link" => fields::<LinkSection>(),
        "door" => fields::<DoorSection>(),
        "clients" => fields::<ClientTable>(),
        "services" => fields::<ServiceSection>(),
        "routes" => fields::<RouteSection>(),
        "metrics" => fields::<MetricsSection>(),
        "globalconf" => fields::<GlobalconfSection>(),
        "storage" => fields::<StorageSection>(),
        "log" => fields::<LogSection>(),
        other => panic!("the new section [{other}] belongs here"),
    };
    let named =
        |section: &'static str| keys(section).iter().map(move |key| (section.to_owned(), (*key).to_owned()));
    fields::<Config>().iter().flat_map(|section| named(section)).collect()
}

/// The fields that a type asks its deserialiser for.
fn fields<T: DeserializeOwned>() -> &'static [&'static str] {
    let mut found: &'static [&'static str] = &[];
    assert!(T::deserialize(Fields(&mut found)).is_err(), "nothing is given");
    found
}

struct Fields<'a>(&'a mut &'static [&'static str]);

impl<'de> serde::Deserializer<'de> for Fields<'_> {
    type Error = serde::de::value::Error;

    fn deserialize_any<V: Visitor<'de>>(self, _visitor: V) -> Result<V::Value, Self::Error> {
        Err(serde::de::Error::custom("only structs"))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        _visitor: V,
    ) -> Result<V::Value, Self::Error> {
        *self.0 = fields;
        Err(serde::de::Error::custom("seen"))
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}
