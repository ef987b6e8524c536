//! What a verification says: each sentence in Spanish and in English, side by side. One without the other does not compile.

use std::fmt::Display;

use peabiru_proto::entry::Verdict;
use peabiru_proto::hash::Digest;
use peabiru_proto::id::{MemberId, ServiceId};
use peabiru_proto::language::Language;
use peabiru_proto::origin::Origin;

/// A sentence in both languages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Words {
    spanish: String,
    english: String,
}

impl Words {
    pub(super) fn said(self, language: Language) -> String {
        language.of_both(self.spanish, self.english)
    }
}

macro_rules! wrong {
    ($($name:ident $spanish:literal $english:literal;)*) => {
        /// What is wrong with a file, where nothing more is to be said.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(super) enum Wrong { $($name,)* }

        impl From<Wrong> for Words {
            fn from(wrong: Wrong) -> Self {
                match wrong { $(Wrong::$name => both($spanish, $english),)* }
            }
        }
    };
}

wrong! {
    Leftover "no corresponde a nada de lo que hay en la evidencia"
        "it belongs to nothing that is in the file";
    NoRequest "sin la consulta no hay nada que probar"
        "without the request there is nothing to prove";
    NotRequest "no es un REQUEST"
        "it is no REQUEST";
    NoSuchFile "no es un archivo de este formato, o no es la parte que dice su nombre"
        "it is no file of this format, or not the part that its name says";
    NotSnapshot "no es una edición firmada"
        "it is no signed snapshot";
    OtherVersion "no es la edición de esta versión"
        "it is no snapshot of this version";
    NoDelegation "no tiene delegación"
        "it has no delegation";
    NotNotice "no es el NOTICE del registro sobre esta edición"
        "it is not the registry's NOTICE of this snapshot";
    NoEntry "está su prueba, y este archivo no"
        "its proof is there, and it is not";
    NoProof "está su asiento, y este archivo no"
        "its entry is there, and it is not";
    OtherLedger "su punto de control es de otro libro que el asiento"
        "its checkpoint is of another ledger than the entry";
    OtherExchange "es de otro intercambio"
        "it is of another exchange";
    NoAnswer "no es ni RESPONSE ni FAULT"
        "it is neither RESPONSE nor FAULT";
    OtherRequest "responde a otra consulta"
        "it answers another request";
    BeforeRequest "se hizo antes que la consulta"
        "it was made before the request";
    OtherAddressee "no está dirigido al nodo que consultó"
        "it is not addressed to the node that asked";
    NotReceived "no es un RECEIVED"
        "it is no RECEIVED";
    OtherMessage "nombra otro mensaje que el enviado"
        "it names another message than the one sent";
    TooEarly "lo que nombra llegó antes de hacerse"
        "what it names came before it was made";
    NoSalt "están sus trozos, y este archivo no"
        "its chunks are there, and it is not";
    NoSuchPayload "ningún asiento de la evidencia tiene este contenido"
        "no entry in the file has this payload";
    SaltLength "una sal tiene 32 bytes"
        "a salt has 32 bytes";
    OtherContent "sal y trozos no dan la raíz del contenido del asiento"
        "salt and chunks do not have the content root of the entry";
    NotOpened "ningún asiento de la evidencia abre este flujo"
        "no entry in the file opens this stream";
    NoNote "un flujo lleva esta nota"
        "a stream has this note beside it";
    OtherNote "no es la nota de este formato"
        "it is not the note of this format";
    OtherEntry "no es el asiento que dice su nombre"
        "it is not the entry that its name says";
    OtherStream "es de otro flujo, o va en el otro sentido"
        "it is of another stream, or goes the other way";
    MadeBeforePrevious "se hizo antes que el anterior"
        "it was made before the one before it";
    StandsBeforePrevious "está en su libro antes que el anterior"
        "it stands in its ledger before the one before it";
    DoesNotFollow "no sigue al anterior"
        "it does not follow the one before it";
    TookLess "dice haber tomado menos que el anterior"
        "it says to have taken less than the one before it";
    BeforeTaken "se hizo antes que lo que dice haber tomado"
        "it was made before what it says to have taken";
    TookOther "lo que dice haber tomado no es lo que hizo la otra parte"
        "what it says to have taken is not what the other side made";
    OtherDigest "su SHA-256 no es el de MANIFEST.txt"
        "its SHA-256 is not the one in MANIFEST.txt";
    NotListed "MANIFEST.txt no lo nombra"
        "MANIFEST.txt does not list it";
    ListedOnly "MANIFEST.txt lo nombra, y no está"
        "MANIFEST.txt lists it, and it is not there";
    NotCanonical "no está en forma canónica"
        "it is not in canonical form";
    OtherAnswerElsewhere "otro archivo tiene otra respuesta de este intercambio"
        "another file has another answer of this exchange";
    OtherEntryElsewhere "otro archivo tiene otro asiento en su lugar"
        "another file has another entry in its place";
    DoesNotFollowElsewhere "no sigue a lo que otro archivo tiene antes"
        "it does not follow what another file has before it";
}

/// Whether the end of a stream was received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    There,
    NotThere,
}

fn both(spanish: impl Into<String>, english: impl Into<String>) -> Words {
    Words { spanish: spanish.into(), english: english.into() }
}

/// What a parser or a signature check says, which has one language.
pub(super) fn technical(error: &dyn Display) -> Words {
    both(error.to_string(), error.to_string())
}

pub(super) fn differs(byte: usize) -> Words {
    both(
        format!("el tar difiere de su forma canónica en el byte {byte}"),
        format!("the tar differs from its canonical form at byte {byte}"),
    )
}

pub(super) fn globalconf() -> Words {
    both("la configuración global vigente", "the global configuration in force")
}

pub(super) fn snapshot_signed(version: u64) -> Words {
    both(
        format!("la edición {version} la firmó el registro en el que delegaron las raíces"),
        format!("snapshot {version} is signed by the registry that the roots delegated"),
    )
}

pub(super) fn snapshot_sealed(version: u64) -> Words {
    both(
        format!("la edición {version} es un asiento del libro del registro"),
        format!("snapshot {version} is an entry of the registry's ledger"),
    )
}

pub(super) fn snapshot_named(version: u64, entry_file: &str) -> Words {
    both(
        format!("la edición {version}, que nombra {entry_file}"),
        format!("snapshot {version}, which {entry_file} names"),
    )
}

pub(super) fn unregistered(origin: &Origin) -> Words {
    both(
        format!("ninguna edición de la evidencia registra el libro {origin}"),
        format!("no snapshot in the file registers the ledger {origin}"),
    )
}

pub(super) fn sealed_by(entry_file: &str, origin: &Origin) -> Words {
    both(format!("{entry_file} lo selló {origin}"), format!("{entry_file} is sealed by {origin}"))
}

pub(super) fn sealed_by_other(by: &MemberId, member: &MemberId) -> Words {
    both(
        format!("lo selló {by}, y no {member}, que es de este intercambio"),
        format!("it is sealed by {by}, not by this exchange's {member}"),
    )
}

pub(super) fn commits(file: &str) -> Words {
    both(
        format!("{file} compromete el punto de control que selló lo que llegó"),
        format!("{file} commits to the checkpoint that sealed what arrived"),
    )
}

pub(super) fn checkpoint_of(file: &str) -> Words {
    both(
        format!("el punto de control que compromete {file}"),
        format!("the checkpoint that {file} commits to"),
    )
}

pub(super) fn binds(file: &str, member: &MemberId) -> Words {
    both(format!("{file} obliga a {member}"), format!("{file} binds {member}"))
}

pub(super) fn contract_here(service: &ServiceId, version: u32) -> Words {
    both(
        format!("el contrato de {service}, versión {version}, está aquí"),
        format!("the contract of {service}, version {version}, is here"),
    )
}

pub(super) fn contract_lacks(digest: &Digest, service: &ServiceId) -> Words {
    both(format!("el contrato {digest} de {service}"), format!("the contract {digest} of {service}"))
}

pub(super) fn withheld(path: &str) -> Words {
    both(format!("{path}: reservado o suprimido"), format!("{path}: withheld or erased"))
}

pub(super) fn payload(path: &str, bytes: u64) -> Words {
    both(
        format!("{path}: {bytes} bytes son lo que se selló"),
        format!("{path}: {bytes} bytes are what was sealed"),
    )
}

pub(super) fn let_in(receipt: &str) -> Words {
    both(
        format!("un FAULT responde a un flujo que se dejó entrar, como dice {receipt}"),
        format!("a FAULT answers a stream that was let in, as {receipt} says"),
    )
}

pub(super) fn stream_sealed(folder: &str, batches: u64, bytes: u64, broken_off: Option<&str>) -> Words {
    let [lotes, batches] = counted(batches);
    let [causa, why] = broken_off.map_or_else(Default::default, |code| {
        [format!(", que puso su nodo: {code}"), format!(", which its node made: {code}")]
    });
    both(
        format!("{folder}: sellado: {lotes}, {bytes} bytes, y su fin{causa}"),
        format!("{folder}: sealed: {batches}, {bytes} bytes, and its end{why}"),
    )
}

pub(super) fn stream_received(folder: &str, verdict: Verdict, batches: u64, end: End) -> Words {
    let [lotes, batches] = counted(batches);
    let [que, what] = match verdict {
        Verdict::Accepted => ["recibido", "received"],
        Verdict::Refused => ["rechazado", "refused"],
    };
    let [fin, end] = match end {
        End::There => ["y el fin", "and the end"],
        End::NotThere => ["no el fin", "not the end"],
    };
    both(
        format!("{folder}: {que}, como selló quien lo recibió: {lotes}, {fin}"),
        format!("{folder}: {what}, as the receiver sealed: {batches}, {end}"),
    )
}

pub(super) fn no_close(folder: &str, chunks: u64) -> Words {
    both(
        format!("{folder}: incompleto: no hay CLOSE después de {chunks} trozos"),
        format!("{folder}: incomplete: no CLOSE after {chunks} chunks"),
    )
}

pub(super) fn gap(folder: &str, from: u64, to: u64, file: &str) -> Words {
    both(
        format!("{folder}: trozos {from} a {to}, antes de {file}"),
        format!("{folder}: chunks {from} to {to}, before {file}"),
    )
}

/// Entries of one direction say to have taken what is not in the file of the other.
pub(super) fn taken(folder: &str, entries: u64, of_folder: &str) -> Words {
    let [dicen, say] = match entries {
        1 => [format!("dice haber tomado 1 asiento de {of_folder}"), format!("1 entry of {of_folder} says")],
        more => [
            format!("dicen haber tomado {more} asientos de {of_folder}"),
            format!("{more} entries of {of_folder} say"),
        ],
    };
    both(format!("{folder}: lo que {dicen}"), format!("{folder}: what {say} to have taken"))
}

pub(super) fn ends(file: &str, chunks: Option<u64>, folder: &str) -> Words {
    match chunks {
        None => both(
            format!("{file} termina, según dice, antes de que se tomara nada de {folder}"),
            format!("{file} ends, as it says, before anything of {folder} was taken"),
        ),
        Some(chunks) => both(
            format!("{file} termina, según dice, después de tomar {chunks} trozos de {folder}"),
            format!("{file} ends, as it says, after {chunks} chunks of {folder} were taken"),
        ),
    }
}

pub(super) fn had_more(receipt: &str) -> Words {
    both(
        format!("su autor había tomado más, como dice {receipt}"),
        format!("its author had taken more, as {receipt} says"),
    )
}

pub(super) fn had_refused(receipt: &str) -> Words {
    both(
        format!("dice haber tomado lo que su autor rechazó, como dice {receipt}"),
        format!("it says to have taken what its author refused, as {receipt} says"),
    )
}

fn counted(batches: u64) -> [String; 2] {
    match batches {
        1 => ["1 lote".to_owned(), "1 batch".to_owned()],
        more => [format!("{more} lotes"), format!("{more} batches")],
    }
}
