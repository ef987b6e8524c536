//! What the command says follows `LANG`, but for JSON, which is for programs. And one country at a time runs in a folder.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test says by failing what went wrong")]

mod sandbox;

use std::path::Path;
use std::process::{Command, Output};

use sandbox::Sandbox;

/// What is typed, with which code it ends, and what it says.
const SPANISH: &[(&str, i32, &[&str])] = &[
    (
        "peabiru call py.mec.v1.SchoolService ListSchools --data '{\"pageSize\": 1}' --purpose connectivity-planning",
        0,
        &["intercambio "],
    ),
    ("peabiru ledger list --limit 1", 0, &["ÍNDICE", "CLASE", "HECHO EL", "aceptado: asiento"]),
    ("peabiru ledger show 0", 0, &["clase", "punto de control"]),
    ("peabiru member list", 0, &["MIEMBRO", "SUBSISTEMAS"]),
    ("peabiru contract list", 0, &["SERVICIO", "FINALIDADES"]),
    ("peabiru globalconf show", 0, &["versión", "horas que quedan sin el registro"]),
    ("peabiru node status", 0, &["asientos sellados", "conectado con"]),
    ("peabiru grant list --admin-socket MEC/data/admin.sock", 0, &["CONSUMIDOR", "vigente", "todos"]),
    ("peabiru evidence export --out evidence.tar", 0, &["evidence.tar ("]),
    (
        "peabiru evidence verify evidence.tar --trust PY/anchor.toml",
        0,
        &[
            "evidence.tar: verificado",
            "consultado por",
            "se sostiene: entries/3-answer.entry obliga a PY/GOV/MEC",
            "hora: afirmada, no probada",
        ],
    ),
    ("peabiru evidence verify evidence.tar", 5, &["coherente, confianza no establecida"]),
    (
        "printf X | dd of=evidence.tar bs=1 seek=3000 conv=notrunc status=none; peabiru evidence verify evidence.tar",
        4,
        &["evidence.tar: no se sostiene", "  FALLA: "],
    ),
    (
        "peabiru member add PY/GOV/MAG --name Agricultura",
        0,
        &["propuesta número 16: inscribir al miembro PY/GOV/MAG", "un oficial de seguridad hasta el"],
    ),
    ("peabiru approval list", 0, &["LA APRUEBA", "oficial de seguridad", "abierta"]),
    (
        "peabiru approval approve 16",
        1,
        &["approval.same_person: nadie aprueba su propia propuesta", "Debe aprobarla otro oficial"],
    ),
    (
        "peabiru approval approve 16 --operator PY/operators/security-officer",
        0,
        &["propuesta 16 aprobada: inscribir al miembro PY/GOV/MAG (configuración global "],
    ),
    ("peabiru registry history --limit 5", 0, &["propuesta 16 aprobada", "QUÉ"]),
    (
        "PEABIRU_PASSPHRASE=wrong peabiru member list",
        1,
        &["certs.wrong_passphrase: ", "la contraseña no abre esta clave"],
    ),
    ("peabiru node reload", 0, &["cambió  nada"]),
    ("peabiru exchange status 00112233445566778899aabbccddeeff", 1, &["evidence.unknown: ningún asiento"]),
    (
        "peabiru sandbox up --folder .",
        1,
        &["cli.sandbox_runs: .: allí hay un país en marcha. Deténgalo con Ctrl-C en su terminal"],
    ),
    (
        "peabiru node status --admin-socket nowhere/admin.sock",
        3,
        &["cli.unreachable: no responde el nodo en nowhere/admin.sock: "],
    ),
    ("peabiru sandbox connectivity --folder .", 1, &["cli.sandbox_runs"]),
    ("peabiru sandbox up --folder MEC", 2, &["cli.no_sandbox: MEC existe y no la hizo ningún sandbox"]),
    ("peabiru sandbox connectivity --update --folder nowhere", 2, &["cli.no_earlier_run: nowhere no tiene"]),
    ("peabiru contract list --output json", 0, &["\"side_effects\": \"no\"", "\"method\""]),
    ("peabiru contract list", 0, &["py.mec.v1.SchoolService"]),
];

#[test]
fn the_command_speaks_spanish_to_whom_lang_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let _road = Sandbox::up(folder.path());
    let sandbox = folder.path().join("peabiru-sandbox");
    for (line, code, says) in SPANISH {
        let ended = typed(line, &sandbox);
        let said = String::from_utf8_lossy(&ended.stdout) + String::from_utf8_lossy(&ended.stderr);
        assert_eq!(ended.status.code(), Some(*code), "{line}: {said}");
        for words in *says {
            assert!(said.contains(words), "{line} does not say `{words}`: {said}");
        }
    }
}

fn typed(line: &str, folder: &Path) -> Output {
    let mut shell = Command::new("bash");
    shell.args(["-c", &format!(". ./env.sh\n{line}")]).current_dir(folder);
    shell.env_remove("LC_ALL").env_remove("LC_MESSAGES").env("LANG", "es_PY.UTF-8").output().unwrap()
}
