//! The page of a department: its districts, what is there, what is not known, and what is planned when.

use std::ops::Bound;

use super::super::language::{Language, Text, filled, text};
use super::super::planned::Planned;
use super::super::provenance::Provenance;
use super::chart::{Bar, Panel, panels};
use super::land::{Land, Shapes, Sign, label, legend, looks};
use super::need::{COLUMNS, TOTAL, cells};
use super::page::{Frame, Html, Page, Place, Row, Table};
use super::scale::REMOTE;
use super::years::name;
use super::{COUNTRY_UNITS, FOLDER, INDEX, Report, chart, scale};
use crate::gap::{DepartmentGap, DistrictGap, Gap};
use crate::site::{Kind, Placed};

pub(super) fn page(
    report: &Report<'_>,
    code: &str,
    language: Language,
    provenance: &mut Provenance,
) -> String {
    let mut page = Page::new(language, Place::Folder, provenance);
    let out = &mut page;
    let Some(line) = report.plan.analysis.departments.get(code) else { return String::new() };
    let department = line.department.value().name.clone();
    let title = filled(out.say(TITLE), &[&department]);
    let markup = format!(
        "<svg class=\"defs\" aria-hidden=\"true\" focusable=\"false\"><defs>\n{}{}</defs></svg>",
        scale::PATTERNS,
        chart::PATTERNS
    );
    out.add_markup(&markup);
    out.title(&title);
    facts(out, &line.gap);
    out.paragraph(LIMIT, &[]);
    map(out, report, code, line);
    let districts: Vec<(&str, &DistrictGap)> = report
        .plan
        .analysis
        .districts
        .iter()
        .filter(|(_, it)| it.district.value().department_code == code)
        .map(|(code, it)| (code.as_str(), it))
        .collect();
    out.heading("districts", DISTRICTS);
    need(out, &districts, line);
    out.heading("plan", PLAN);
    match &report.planned {
        Some(planned) => plan(out, report, planned, &districts),
        None => out.paragraph(NO_PLAN, &[]),
    }
    around(out, report, code);
    let address = |language: Language| format!("../{}/{code}.html", FOLDER.said(language));
    let mut languages = [
        ("Español", "es", Some(address(Language::Spanish))),
        ("English", "en", Some(address(Language::English))),
        ("Avañe'ẽ", "gn", Some(format!("../{}", super::GUARANI))),
    ];
    languages[usize::from(language == Language::English)].2 = None;
    let up = Some((format!("../{}", INDEX.said(language)), UP.said(language)));
    page.framed(&Frame { lang: language.of_both("es", "en"), title: &title, languages, up })
}

/// The largest figures, large.
fn facts(out: &mut Page<'_>, gap: &Gap) {
    let schools = &gap.schools;
    let health = gap.hospitals.clone() + gap.social_security.clone();
    let numbers = [
        (schools.all.map(|it| it.sites), text("locales escolares", "school sites")),
        (schools.remote.map(|it| it.sites), text("son remotos", "are remote")),
        (
            schools.unknown_remoteness.map(|it| it.sites),
            text("no se sabe si son remotos", "not known if remote"),
        ),
        (schools.all.map(|it| it.girls), text("niñas", "girls")),
        (schools.all.map(|it| it.boys), text("niños", "boys")),
        (health, text("hospitales e IPS", "hospitals and IPS")),
        (
            gap.spaces.map(|it| it.in_service),
            text("espacios con Internet, informados", "spaces with Internet, reported"),
        ),
    ];
    let mut items = String::new();
    for (number, words) in &numbers {
        items.push_str(&format!("<li><b>{}</b> {}</li>", out.number(number), Html::text(out.say(*words))));
    }
    items.push_str(&format!(
        "<li><b>{}</b> {}</li>",
        out.percent(&gap.unknown),
        Html::text(out.say(MISSING))
    ));
    out.add_markup(&format!("<ul class=\"facts\">{items}</ul>"));
}

fn map(out: &mut Page<'_>, report: &Report<'_>, code: &str, line: &DepartmentGap) {
    let Some(land) = Land::of(&report.plan.findings.accepted, std::iter::once(code), COUNTRY_UNITS / 2)
    else {
        return;
    };
    let looks = looks(&report.groups, &REMOTE);
    let look = |group: &str| looks.get(group).copied().unwrap_or("k6");
    let districts = &report.plan.analysis.districts;
    let is_inside = |district: &str| {
        districts.get(district).is_some_and(|it| it.district.value().department_code == code)
    };
    let inside = |placed: &&Placed| placed.site.value().district.as_deref().is_some_and(is_inside);
    let sites = || report.plan.analysis.sites.iter().filter(inside);
    let is_school = |it: &Placed| it.site.value().kind == Kind::School;
    let schools = land.points(sites().filter(|it| is_school(it)), Sign::Dot("small"));
    let health = land.points(sites().filter(|it| !is_school(it)), Sign::Cross);
    let name = &line.department.value().name;
    let described = filled(out.say(MAP), &[&label(out.language, name, &line.gap, &REMOTE)]);
    out.add_markup(&format!(
        "<figure class=\"map beside fine\"><svg viewBox=\"-6 -6 {} {}\" role=\"img\" aria-labelledby=\"map-t map-d\">\n<title id=\"map-t\">{}</title>\n\
         <desc id=\"map-d\">{}</desc>\n{}{schools}{health}</svg>\n<figcaption>",
        land.canvas.width + 12,
        land.canvas.height + 12,
        Html::text(out.say(REMOTE.title)),
        Html::text(&described),
        land.districts(Shapes::Own, look, |_| (String::new(), "")),
    ));
    out.add_markup(&format!("<strong>{}</strong>", Html::text(out.say(REMOTE.title))));
    let groups = report.groups.iter().filter(|(group, _)| is_inside(group));
    let groups = groups.map(|(group, gap)| (group.clone(), gap.clone())).collect();
    legend(out, &groups, &REMOTE);
    out.add_markup(&format!("{}</figcaption></figure>", Html::text(out.say(SIGNS))));
}

fn need(out: &mut Page<'_>, districts: &[(&str, &DistrictGap)], line: &DepartmentGap) {
    let mut rows = Vec::new();
    for (_, district) in districts {
        let mut cells = cells(out, &district.gap);
        let language = out.language;
        let density = out.figure(&district.density_tenths, |density| {
            density.map_or_else(|| "—".to_owned(), |density| language.tenths(density))
        });
        cells.push(density);
        rows.push(Row::new(Html::text(&district.district.value().name), cells));
    }
    let mut total = cells(out, &line.gap);
    total.push(Html::default());
    let foot = vec![Row::new(Html::text(out.say(TOTAL)), total)];
    let columns = [text("Distrito", "District")].into_iter().chain(COLUMNS).chain([DENSITY]);
    let columns = columns.map(|name| Html::text(out.say(name))).collect();
    let caption = Html::text(out.say(CAPTION));
    out.table(&Table { id: "district-table".to_owned(), caption, columns, rows, foot, ..Table::default() });
}

fn plan(out: &mut Page<'_>, report: &Report<'_>, planned: &Planned, districts: &[(&str, &DistrictGap)]) {
    let rules = &report.plan.settings.scenarios;
    let codes: Vec<&str> = districts.iter().map(|(code, _)| *code).collect();
    let mut all = Vec::new();
    for (at, rule) in rules.iter().enumerate() {
        let years = planned.years(at, &codes);
        let bars: Vec<Bar> = report
            .plan
            .settings
            .years
            .each()
            .map(|year| {
                let sites = years.value().get(&year).copied().unwrap_or_default();
                Bar { year, parts: vec![sites], label: out.language.number(sites) }
            })
            .collect();
        let said: Vec<String> = bars.iter().map(|bar| format!("{}: {}", bar.year, bar.label)).collect();
        let title = Html::text(&filled(out.say(BARS), &[&name(out, rule)]));
        all.push(Panel {
            id: format!("plan{at}"),
            title,
            describes: Html::text(&said.join("; ")),
            bars,
            limit: None,
        });
    }
    panels(out, &["b0"], &all);
    by_year(out, report, planned, &codes);
    by_district(out, report, planned, districts);
}

fn by_year(out: &mut Page<'_>, report: &Report<'_>, planned: &Planned, codes: &[&str]) {
    let rules = &report.plan.settings.scenarios;
    let columns = [text("Año", "Year")].map(|name| Html::text(out.say(name))).into_iter();
    let columns = columns.chain(rules.iter().map(|rule| budget(out, name(out, rule)))).collect();
    let mut rows = Vec::new();
    for year in report.plan.settings.years.each() {
        let cells = (0..rules.len()).map(|at| {
            let sites = planned.years(at, codes).map(|years| years.get(&year).copied().unwrap_or_default());
            out.number(&sites)
        });
        rows.push(Row::new(Html::text(&year.to_string()), cells.collect()));
    }
    let total = (0..rules.len())
        .map(|at| out.number(&planned.years(at, codes).map(|years| years.values().sum())))
        .collect();
    let foot = vec![Row::new(Html::text(out.say(TOTAL)), total)];
    let caption = Html::text(out.say(BY_YEAR));
    out.table(&Table { id: "year-table".to_owned(), caption, columns, rows, foot, ..Table::default() });
}

/// Of each district how many sites, and from which year to which.
fn by_district(
    out: &mut Page<'_>,
    report: &Report<'_>,
    planned: &Planned,
    districts: &[(&str, &DistrictGap)],
) {
    let rules = &report.plan.settings.scenarios;
    let columns =
        [text("Distrito", "District"), CANDIDATES].map(|name| Html::text(out.say(name))).into_iter();
    let columns = columns.chain(rules.iter().map(|rule| budget(out, name(out, rule)))).collect();
    let mut rows = Vec::new();
    for (code, district) in districts {
        let mut cells = vec![out.number(&planned.candidates(&[code]))];
        for at in 0..rules.len() {
            let language = out.language;
            cells.push(out.figure(&planned.years(at, &[code]), |years| {
                let sites = language.number(years.values().sum());
                match (years.keys().next(), years.keys().next_back()) {
                    (Some(first), Some(last)) if first == last => format!("{sites} ({first})"),
                    (Some(first), Some(last)) => format!("{sites} ({first}–{last})"),
                    _ => sites,
                }
            }));
        }
        rows.push(Row::new(Html::text(&district.district.value().name), cells));
    }
    let caption = Html::text(out.say(BY_DISTRICT));
    out.table(&Table { id: "planned-table".to_owned(), caption, columns, rows, ..Table::default() });
}

fn budget(out: &Page<'_>, name: &str) -> Html {
    Html::text(&filled(out.say(BUDGET), &[&name]))
}

/// The departments before and after.
fn around(out: &mut Page<'_>, report: &Report<'_>, code: &str) {
    let all = &report.plan.analysis.departments;
    let before = all.range::<str, _>((Bound::Unbounded, Bound::Excluded(code))).next_back();
    let after = all.range::<str, _>((Bound::Excluded(code), Bound::Unbounded)).next();
    let link = |(code, line): (&String, &DepartmentGap), mark: [&str; 2]| {
        let name = format!("{}{}{}", mark[0], line.department.value().name, mark[1]);
        Html::link(&format!("{code}.html"), &Html::text(&name)).to_string()
    };
    let links = [before.map(|it| link(it, ["← ", ""])), after.map(|it| link(it, ["", " →"]))];
    let label = Html::text(out.say(AROUND));
    out.add_markup(&format!(
        "<nav class=\"around\" aria-label=\"{label}\">{}</nav>",
        links.into_iter().flatten().collect::<String>()
    ));
}

const TITLE: Text = text("{0}: necesidad y plan", "{0}: need and plan");
const UP: Text = text("← Todo el país", "← The whole country");
const MISSING: Text = text("de los datos falta", "of the data is missing");
const LIMIT: Text = text(
    "No está publicado qué locales tienen banda ancha: estas cifras muestran necesidades y datos que faltan, no miden cobertura. Cada cifra \
     lleva a los intercambios de los que sale.",
    "Which site has broadband is not published: these figures list need and missing data, they do not measure coverage. Each figure leads to \
     the exchanges that it came from.",
);
const MAP: Text = text(
    "Locales escolares remotos. {0}. La tabla da los números por distrito.",
    "Remote school sites. {0}. The table gives the numbers by district.",
);
const SIGNS: Text = text(
    "Puntos: locales escolares. Cruces: hospitales e IPS. Límites de 2012; un distrito creado después se cuenta con el que lo contiene.",
    "Dots: school sites. Crosses: hospitals and IPS. Boundaries of 2012; a district that was created later counts with the one that holds it.",
);
const DISTRICTS: Text = text("Sus distritos", "Its districts");
const CAPTION: Text = text(
    "Necesidad por distrito: locales, alumnado de 1.º a 9.º grado (2023), población (2022), habitantes por km² (del grupo de límites de 2012).",
    "Need by district: sites, pupils of grades 1 to 9 (2023), population (2022), inhabitants per km² (of the boundary group of 2012).",
);
const DENSITY: Text = text("Habitantes por km²", "Inhabitants per km²");
const PLAN: Text = text("Qué se conecta y cuándo", "What is connected, and when");
const NO_PLAN: Text = text(
    "No hay plan de inversión; la página del país dice por qué.",
    "There is no plan in money; the page of the country says why.",
);
const BARS: Text = text("Presupuesto {0}: locales por año", "The {0} budget: sites each year");
const BUDGET: Text = text("Presupuesto {0}", "The {0} budget");
const BY_YEAR: Text = text("Locales que se conectan cada año.", "Sites that are connected each year.");
const CANDIDATES: Text = text("Candidatos", "Candidates");
const BY_DISTRICT: Text = text(
    "Locales que se conectan en cada distrito y entre qué años. Cada local con su año está en plan.csv.",
    "Sites that are connected in each district, and between which years. Each site with its year is in plan.csv.",
);
const AROUND: Text = text("Otros departamentos", "Other departments");
