//! Why something is missing, in the reader's language.

use tonic::Code;

use super::language::{Language, Text, text};
use super::summary::{Sentence, Shown};
use crate::changes::RowChange;
use crate::money::NoMoney;
use crate::planner::Missing;
use crate::receive::{Rejected, Wrong};

/// Why there is no plan in money.
pub(super) fn no_plan(reason: &NoMoney) -> Sentence {
    let (words, programme) = match reason {
        NoMoney::NoProgramme(id) => (
            text(
                "Sin plan de inversión: no se recibió el programa {0}, y sin él no hay costo ni presupuesto.",
                "No plan in money: programme {0} was not received, and without it there is no cost and no budget.",
            ),
            Some(id),
        ),
        NoMoney::NoAmount(id) => (
            text(
                "Sin plan de inversión: el programa {0} no tiene monto en guaraníes o dólares, o no dice cuántos lugares.",
                "No plan in money: programme {0} has no amount in guaraníes or dollars, or does not say how many places.",
            ),
            Some(id),
        ),
        NoMoney::TooDear(id) => (
            text(
                "Sin plan de inversión: el programa {0} cuesta por lugar más de lo que se puede creer.",
                "No plan in money: programme {0} costs more for each place than can be believed.",
            ),
            Some(id),
        ),
        NoMoney::Range => (
            text(
                "Sin plan de inversión: el costo unitario bajo es cero o mayor que el alto.",
                "No plan in money: the low unit cost is nothing, or above the high one.",
            ),
            None,
        ),
    };
    Sentence { words, shown: programme.map(|id| Shown::Name(id.clone())).into_iter().collect() }
}

/// What is wrong with a row.
pub(super) fn wrong(wrong: Wrong) -> Text {
    match wrong {
        Wrong::NoCode => text("su código está vacío", "its code is empty"),
        Wrong::Duplicate => text("ya llegó otra fila con este código", "a row with this code came before"),
        Wrong::UnknownDistrict => text("el INE no registra ese distrito", "INE lists no such district"),
        Wrong::UnknownDepartment => {
            text("el INE no registra ese departamento", "INE lists no such department")
        }
        Wrong::NegativePupils => text("un número negativo de alumnos", "fewer pupils than none"),
        Wrong::TooManyPupils => {
            text("más alumnos de los que puede tener un local", "more pupils than a site can have")
        }
        Wrong::OneSexOnly => {
            text("niños sin niñas, o niñas sin niños", "boys without girls, or girls without boys")
        }
        Wrong::SexesDoNotAddUp => text(
            "hombres y mujeres no suman el total de la población",
            "men and women are not the population",
        ),
        Wrong::Area => {
            text("su superficie no es un número positivo de km²", "its area is no positive number of km²")
        }
        Wrong::FarAway => text("sus coordenadas quedan lejos del Paraguay", "its place is far from Paraguay"),
        Wrong::NegativeAmount => text("un monto menor que cero", "an amount below nothing"),
        Wrong::NegativeFigure => text("una cifra menor que cero", "a figure below nothing"),
    }
}

/// What a row that was kept out is a row of.
pub(super) fn row(kind: &'static str) -> Text {
    match kind {
        "department" => text("departamento", "department"),
        "district" => text("distrito", "district"),
        "boundary" => text("límite", "boundary"),
        "school" => text("local escolar", "school site"),
        "facility" => text("establecimiento de salud", "health facility"),
        "space" => text("espacio público", "public space"),
        "indicator" => text("indicador", "indicator"),
        "programme" => text("programa", "programme"),
        other => text(other, other),
    }
}

/// What a method gives.
pub(super) fn given(method: &'static str) -> Text {
    match method {
        "list_departments" => text("departamentos", "departments"),
        "list_districts" => text("distritos", "districts"),
        "list_boundaries" => text("límites", "boundaries"),
        "list_schools" => text("locales escolares", "school sites"),
        "list_facilities" => text("establecimientos de salud", "health facilities"),
        "list_indicators" => text("indicadores publicados", "published indicators"),
        "list_programmes" => text("programas publicados", "published programmes"),
        "list_public_spaces" => text("espacios públicos", "public spaces"),
        other => text(other, other),
    }
}

/// Why an agency gave no answer.
pub(super) fn no_answer(code: Code) -> Text {
    match code {
        Code::PermissionDenied => text("no autoriza esta consulta", "does not allow this question"),
        Code::Unavailable => text("no estaba disponible", "could not be reached"),
        Code::DeadlineExceeded => text("no respondió a tiempo", "did not answer in time"),
        Code::Unimplemented | Code::NotFound => {
            text("no ofrece este servicio", "does not offer this service")
        }
        Code::ResourceExhausted => text("estaba sobrecargada", "had no room for the question"),
        _ => text("no pudo responder", "could not answer"),
    }
}

/// A row that was kept out, in one line of a terminal.
#[must_use]
pub fn kept_out(rejected: &Rejected, exchange: &str, language: Language) -> String {
    let (row, wrong) = (row(rejected.kind).said(language), wrong(rejected.wrong));
    let (code, stable) = (&rejected.code, rejected.wrong.code());
    let exchanged = language.of_both("intercambio", "exchange");
    format!("{row} {code}: {} ({stable}), {exchanged} {exchange}", wrong.said(language))
}

/// A row that is another than before, in one line.
#[must_use]
pub fn changed(change: &RowChange, language: Language) -> String {
    if language == Language::English {
        return change.to_string();
    }
    let (row, code) = (row(change.kind).said(language), &change.code);
    match (&change.before, &change.after) {
        (Some(before), Some(after)) => {
            format!("{row} {code}, con cambios: intercambio {after}, antes {before}")
        }
        (None, Some(after)) => format!("{row} {code}, nueva fila: intercambio {after}"),
        (Some(before), None) => format!("{row} {code}, ya no cuenta: intercambio {before}"),
        (None, None) => format!("{row} {code}"),
    }
}

/// A method that gave nothing, or not all, in one line.
#[must_use]
pub fn unanswered(missing: &Missing, language: Language) -> String {
    let (service, method) = (missing.service, missing.method);
    let why = no_answer(missing.status.code()).said(language);
    format!("{service} {method}: {}: {why}", given(method).said(language))
}
