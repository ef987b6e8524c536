//! Who enters the plan: the settings' rule in words, and how many sites it leaves out, by reason.

use super::super::language::{Text, text};
use super::Report;
use super::page::{Html, Page, Row, Table};
use crate::figure::Figure;
use crate::priority::{Selection, Sifted};
use crate::settings::{InstitutionName, SectorName};
use crate::site::Reason;

pub(super) fn section(out: &mut Page<'_>, report: &Report<'_>) {
    out.subheading(TITLE);
    let rule = &report.plan.settings.candidates;
    let said = |names: Vec<Text>| {
        let names: Vec<String> = names.into_iter().map(|name| out.say(name).to_owned()).collect();
        Html::text(&out.language.list(&names))
    };
    let sectors = said(rule.sectors.iter().map(|name| sector(*name)).collect());
    let institutions = said(rule.institutions.iter().map(|name| institution(*name)).collect());
    out.paragraph(RULE, &[&sectors, &institutions]);
    let Selection { schools, health } = Selection::of(&report.plan.analysis);
    let of = |sifted: &Sifted, reason: Reason| {
        sifted.left_out.iter().find(|(own, _)| *own == reason).map(|(_, count)| count.clone())
    };
    let mut row = |name: Text, counts: [Option<Figure<Option<u64>>>; 2]| {
        let cells = counts.map(|count| count.map_or_else(Html::default, |count| out.known(&count)));
        Row::new(Html::text(out.say(name)), cells.into())
    };
    let mut rows = vec![row(LISTED, [&schools, &health].map(|it| Some(it.listed.clone())))];
    rows.extend(
        Reason::ALL.map(|reason| row(left_out(reason), [&schools, &health].map(|it| of(it, reason)))),
    );
    let foot = vec![row(CANDIDATES, [&schools, &health].map(|it| Some(it.candidates.clone())))];
    let columns = COLUMNS.map(|name| Html::text(out.say(name))).into();
    let caption = Html::text(out.say(CAPTION));
    out.table(&Table { id: "selection".to_owned(), caption, columns, rows, foot, ..Table::default() });
}

fn sector(name: SectorName) -> Text {
    match name {
        SectorName::Public => text("oficial", "public"),
        SectorName::Private => text("privado", "private"),
        SectorName::PrivateSubsidised => text("privado subvencionado", "private subsidised"),
    }
}

fn institution(name: InstitutionName) -> Text {
    match name {
        InstitutionName::Mspbs => text("MSPBS", "MSPBS"),
        InstitutionName::Ips => text("IPS", "IPS"),
    }
}

fn left_out(reason: Reason) -> Text {
    match reason {
        Reason::NoPupils => text(
            "No entran: sin alumnado de 1.º a 9.º grado, o sin dato de alumnado",
            "Left out: no pupils of grades 1 to 9, or no number of pupils",
        ),
        Reason::UnknownSector => text(
            "No entran: el MEC no dice de qué sector son",
            "Left out: MEC does not say of which sector they are",
        ),
        Reason::OtherSector => text("No entran: de otro sector", "Left out: of another sector"),
        Reason::OtherInstitution => {
            text("No entran: de otra institución", "Left out: of another institution")
        }
    }
}

const TITLE: Text = text("Quién entra en el plan", "Who enters the plan");
const RULE: Text = text(
    "Son candidatos los locales escolares con alumnado de 1.º a 9.º grado (2023) y alguna institución de estos sectores: {0}; y los \
     establecimientos de salud de estas instituciones: {1}. Es una decisión de los parámetros.",
    "Candidates are school sites with pupils of grades 1 to 9 (2023) and an institution of these sectors: {0}; and health facilities of these \
     institutions: {1}. The settings decide so.",
);
const CAPTION: Text = text(
    "De todos los locales a los candidatos. Cada local que no entra se cuenta una vez, con la primera razón que le toca, de arriba abajo.",
    "From all sites to the candidates. Each site that is left out is counted once, with the first reason that holds, from the top down.",
);
const COLUMNS: [Text; 3] = [
    text("Locales", "Sites"),
    text("Escuelas", "Schools"),
    text("Establecimientos de salud", "Health facilities"),
];
const LISTED: Text = text("En la lista de su institución", "In the list of their agency");
const CANDIDATES: Text = text("Candidatos", "Candidates");
