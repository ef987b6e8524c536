//! Where the need is: maps of districts, sites by kind and zone, and the departments in numbers.

use super::super::language::{Language, Text, text};
use super::land::{Land, Lead, Shapes, Sign, key, label, legend, looks};
use super::page::{Html, Page, Row, Table};
use super::scale::{REMOTE, Scale, UNKNOWN};
use super::{FOLDER, Report};
use crate::figure::Figure;
use crate::gap::Gap;
use crate::site::{Kind, Placed, Zone};

pub(super) fn section(out: &mut Page<'_>, report: &Report<'_>) {
    match &report.land {
        Some(land) => {
            choropleth(out, report, land, &REMOTE, Lead::Departments);
            departments(out, report);
            out.subheading(SITES);
            sites(out, report, land);
            out.subheading(MISSING);
            choropleth(out, report, land, &UNKNOWN, Lead::Nowhere);
        }
        None => {
            out.paragraph(NO_MAP, &[]);
            departments(out, report);
        }
    }
}

fn choropleth(out: &mut Page<'_>, report: &Report<'_>, land: &Land, scale: &Scale, lead: Lead) {
    let Scale { id, title, counts, .. } = scale;
    let role = match lead {
        // Its links are not hidden from those who do not see it.
        Lead::Departments => "group",
        Lead::Nowhere => "img",
    };
    out.add_markup(&format!(
        "<figure class=\"map beside\"><svg viewBox=\"-4 -4 {} {}\" role=\"{role}\" aria-labelledby=\"{id}-t\" aria-describedby=\"{id}-d\">\n<title \
         id=\"{id}-t\">{}</title>\n<desc id=\"{id}-d\">{}</desc>",
        land.canvas.width + 8,
        land.canvas.height + 8,
        Html::text(out.say(*title)),
        Html::text(out.say(*counts)),
    ));
    let looks = looks(&report.groups, scale);
    let look = |group: &str| looks.get(group).copied().unwrap_or("k6");
    let language = out.language;
    out.add_markup(&land.districts(Shapes::Shared, look, |code| open(report, language, scale, lead, code)));
    if let Some(inset) = &report.inset {
        out.add_markup(&enlarged(report, inset, land, language, &look));
    }
    out.add_markup(&format!("{}</svg>\n<figcaption>", land.labels()));
    out.add_markup(&format!("<strong>{}</strong>", Html::text(out.say(*title))));
    legend(out, &report.groups, scale);
    let note = Html::text(out.say(*counts));
    out.add_markup(&format!("{note} {}</figcaption></figure>", Html::text(out.say(GROUPS))));
}

/// Opens and closes a department's shapes: a link to its page, if the map leads there.
fn open(
    report: &Report<'_>,
    language: Language,
    scale: &Scale,
    lead: Lead,
    code: &str,
) -> (String, &'static str) {
    let line = report.plan.analysis.departments.get(code);
    match (lead, line) {
        (Lead::Departments, Some(line)) => {
            let name = label(language, &line.department.value().name, &line.gap, scale);
            let to = format!("{}/{code}.html", FOLDER.said(language));
            (format!("<a href=\"{}\" aria-label=\"{}\">", Html::text(&to), Html::text(&name)), "</a>")
        }
        _ => (String::new(), ""),
    }
}

/// The crowded part, larger, in the empty corner of the south-west.
fn enlarged(
    report: &Report<'_>,
    inset: &Land,
    land: &Land,
    language: Language,
    look: &impl Fn(&str) -> &'static str,
) -> String {
    let (left, top) = (14, land.canvas.height - inset.canvas.height - 24);
    let frame = land.frame_of(&super::CROWDED).map(|[x, y, width, height]| {
        format!("<rect class=\"frame\" x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\"/>")
    });
    let names: Vec<String> = super::CROWDED
        .iter()
        .filter_map(|code| report.plan.analysis.departments.get(*code))
        .map(|line| line.department.value().name.clone())
        .collect();
    format!(
        "{}<g transform=\"translate({left} {top})\"><rect class=\"frame\" x=\"-10\" y=\"-10\" width=\"{}\" height=\"{}\"/>{}{}</g>\
         <text class=\"label named\" x=\"{}\" y=\"{}\">{}</text>\n",
        frame.unwrap_or_default(),
        inset.canvas.width + 20,
        inset.canvas.height + 20,
        inset.districts(Shapes::Own, look, |_| (String::new(), "")),
        inset.labels(),
        left - 10,
        top - 24,
        Html::text(&language.list(&names)),
    )
}

fn departments(out: &mut Page<'_>, report: &Report<'_>) {
    let columns = [text("Departamento", "Department")].into_iter().chain(COLUMNS);
    let columns = columns.map(|name| Html::text(out.say(name))).collect();
    let caption = Html::text(out.say(DEPARTMENTS));
    let mut rows = Vec::new();
    for (code, line) in &report.plan.analysis.departments {
        let name = Html::text(&format!("{code} {}", line.department.value().name));
        let link = Html::link(&format!("{}/{code}.html", out.say(FOLDER)), &name);
        rows.push(Row::new(link, cells(out, &line.gap)));
    }
    let outside = Html::text(out.say(NO_DISTRICT));
    rows.push(Row::new(outside, cells(out, &report.plan.analysis.without_district)));
    let total = Html::text(out.say(TOTAL));
    let foot = vec![Row::new(total, cells(out, &report.plan.analysis.total))];
    out.table(&Table { id: "departments".to_owned(), caption, columns, rows, foot, ..Table::default() });
}

/// A place in numbers, as [`COLUMNS`] names them.
pub(super) fn cells(out: &mut Page<'_>, gap: &Gap) -> Vec<Html> {
    let schools = &gap.schools;
    let numbers = [
        schools.all.map(|it| it.sites),
        schools.rural.map(|it| it.sites),
        schools.remote.map(|it| it.sites),
        schools.unknown_remoteness.map(|it| it.sites),
        schools.all.map(|it| it.girls),
        schools.all.map(|it| it.boys),
        schools.remote.map(|it| it.girls),
        schools.remote.map(|it| it.boys),
        gap.people.map(|it| it.women),
        gap.people.map(|it| it.men),
        gap.hospitals.clone(),
        gap.social_security.clone(),
    ];
    let mut cells: Vec<Html> = numbers.iter().map(|number| out.number(number)).collect();
    cells.push(out.percent(&gap.unknown));
    cells
}

/// Where sites are, each kind and zone on a map of its own: no colour has to be told from another.
fn sites(out: &mut Page<'_>, report: &Report<'_>, land: &Land) {
    out.add_markup("<div class=\"pair\">");
    for (at, layer) in LAYERS.iter().enumerate() {
        let mut points = String::new();
        for sort in layer.sorts {
            let chosen = report.plan.analysis.sites.iter().filter(|placed| (sort.is)(placed));
            points.push_str(&land.points(chosen, sort.sign));
        }
        let describes = Html::text(out.say(layer.describes));
        land.point_map(out, &format!("points-{at}"), layer.title, &describes, &points);
    }
    out.add_markup("</div>");
    let caption = Html::text(out.say(SITES_TABLE));
    let columns = SITES_COLUMNS.map(|name| Html::text(out.say(name))).into();
    let mut rows = Vec::new();
    for sort in LAYERS.iter().flat_map(|layer| layer.sorts) {
        let count = |of: fn(&Placed) -> bool| -> Figure<u64> {
            let chosen = report.plan.analysis.sites.iter().filter(|placed| (sort.is)(placed));
            chosen.map(|placed| placed.site.map(|_| u64::from(of(placed)))).sum()
        };
        let all = count(|_| true);
        let shown = count(|placed| placed.site.value().point.is_some());
        let lost = count(|placed| placed.site.value().point.is_none());
        let name = Html::markup(format!("{} {}", key_of(sort.sign), Html::text(out.say(sort.name))));
        let cells = [all, shown, lost].iter().map(|number| out.number(number)).collect();
        rows.push(Row::new(name, cells));
    }
    let spaces = report.plan.analysis.total.spaces.map(|it| it.in_service + it.planned);
    let name = Html::text(out.say(SPACES));
    let cells = [spaces.clone(), spaces.map(|_| 0), spaces].iter().map(|number| out.number(number)).collect();
    rows.push(Row::new(name, cells));
    out.table(&Table { id: "sites".to_owned(), caption, columns, rows, ..Table::default() });
}

/// Signs of the maps, small.
fn key_of(sign: Sign) -> String {
    let path = match sign {
        Sign::Dot(class) => format!("<path class=\"dot {class}\" d=\"M10 10h0\"/>"),
        Sign::Cross => "<path class=\"cross\" d=\"M3 10h14m-7-7v14\"/>".to_owned(),
        Sign::Square => "<path class=\"square\" d=\"M5 5h10v10h-10z\"/>".to_owned(),
    };
    format!("<svg class=\"sign\" viewBox=\"0 0 20 20\" aria-hidden=\"true\" focusable=\"false\">{path}</svg>")
}

/// The map by itself, with its colours inside, for documents. In Spanish.
pub(super) fn picture(report: &Report<'_>) -> Option<String> {
    let land = report.land.as_ref()?;
    let language = Language::Spanish;
    let looks = looks(&report.groups, &REMOTE);
    let look = |group: &str| looks.get(group).copied().unwrap_or("k6");
    let used = REMOTE.classes.iter().filter(|class| looks.values().any(|look| *look == class.look));
    let lines = used.enumerate().map(|(at, class)| {
        let y = at * 38;
        let sample =
            key(class.look).replace("<svg ", &format!("<svg x=\"0\" y=\"{y}\" width=\"44\" height=\"26\" "));
        format!(
            "{sample}<text class=\"words\" x=\"56\" y=\"{}\">{}</text>",
            y + 20,
            Html::text(class.words.said(language))
        )
    });
    let style: Vec<&str> =
        STYLE.lines().filter(|line| PICTURED.iter().any(|start| line.starts_with(start))).collect();
    let inset =
        report.inset.as_ref().map(|inset| enlarged(report, inset, land, language, &look)).unwrap_or_default();
    Some(format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"-20 -70 {} {}\" role=\"img\" aria-labelledby=\"t\">\n<title id=\"t\">{}</title>\n\
         <style>\n{}\n.words {{ font: 24px system-ui, \"Noto Sans\", sans-serif; fill: #1c1a18 }}\n</style>\n<defs>\n{}{}</defs>\n\
         <rect x=\"-20\" y=\"-70\" width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n<text class=\"words\" x=\"0\" y=\"-30\">{}</text>\n{}{inset}{}\
         <g transform=\"translate({} 20)\">{}</g>\n</svg>\n",
        land.canvas.width + 40,
        land.canvas.height + 100,
        Html::text(REMOTE.title.said(language)),
        style.join("\n"),
        super::scale::PATTERNS,
        land.shared(),
        Html::text(REMOTE.title.said(language)),
        land.districts(Shapes::Shared, look, |_| (String::new(), "")),
        land.labels(),
        land.canvas.width - 420,
        lines.collect::<String>(),
    ))
}

/// Columns of a place, after its name.
pub(super) const COLUMNS: [Text; 13] = [
    text("Locales escolares", "School sites"),
    text("Rurales", "Rural"),
    text("Remotos", "Remote"),
    text("No se sabe si remotos", "Not known if remote"),
    text("Niñas", "Girls"),
    text("Niños", "Boys"),
    text("Niñas en remotos", "Girls in remote ones"),
    text("Niños en remotos", "Boys in remote ones"),
    text("Mujeres", "Women"),
    text("Hombres", "Men"),
    text("Hospitales", "Hospitals"),
    text("IPS", "IPS"),
    text("Datos que faltan", "Missing data"),
];

/// Sites of a kind.
struct Sort {
    name: Text,
    sign: Sign,
    is: fn(&Placed) -> bool,
}

/// A map of sites.
struct Layer {
    title: Text,
    describes: Text,
    sorts: &'static [Sort],
}

const LAYERS: [Layer; 3] = [
    Layer {
        title: text("Escuelas urbanas", "Urban schools"),
        describes: text(
            "Cada punto es un lugar con uno o más locales que el MEC clasifica como urbanos, y en gris los que no clasifica.",
            "Each dot is a place with one or more sites that MEC classes as urban, and in grey those that it does not class.",
        ),
        sorts: &[
            Sort {
                name: text("Escuelas urbanas", "Urban schools"),
                sign: Sign::Dot("urban"),
                is: |it| is_school(it, Some(Zone::Urban)),
            },
            Sort {
                name: text("Escuelas sin zona conocida", "Schools of unknown zone"),
                sign: Sign::Dot("unzoned"),
                is: |it| is_school(it, None),
            },
        ],
    },
    Layer {
        title: text("Escuelas rurales", "Rural schools"),
        describes: text(
            "Cada punto es un lugar con uno o más locales que el MEC clasifica como rurales.",
            "Each dot is a place with one or more sites that MEC classes as rural.",
        ),
        sorts: &[Sort {
            name: text("Escuelas rurales", "Rural schools"),
            sign: Sign::Dot("rural"),
            is: |it| is_school(it, Some(Zone::Rural)),
        }],
    },
    Layer {
        title: text("Hospitales e IPS", "Hospitals and IPS"),
        describes: text(
            "Una cruz es un hospital del MSPBS; un cuadrado, un establecimiento del IPS. Su zona no está publicada.",
            "A cross is a hospital of MSPBS; a square, a facility of IPS. Their zone is not published.",
        ),
        sorts: &[
            Sort {
                name: text("Hospitales del MSPBS", "Hospitals of MSPBS"),
                sign: Sign::Cross,
                is: |it| it.site.value().kind == Kind::Hospital,
            },
            Sort {
                name: text("Establecimientos del IPS", "Facilities of IPS"),
                sign: Sign::Square,
                is: |it| it.site.value().kind == Kind::SocialSecurity,
            },
        ],
    },
];

fn is_school(placed: &Placed, zone: Option<Zone>) -> bool {
    let site = placed.site.value();
    site.kind == Kind::School && site.zone == zone
}

const NO_MAP: Text =
    text("El INE no entregó límites: no hay mapa.", "INE gave no boundaries: there is no map.");
const GROUPS: Text = text(
    "Entre paréntesis, cuántos distritos. Límites de 2012; un distrito creado después se cuenta con el que lo contiene. Los números del \
     mapa son los de la tabla.",
    "In brackets, how many districts. Boundaries of 2012; a district that was created later counts with the one that holds it. Numbers on \
     the map are those of the table.",
);
const DEPARTMENTS: Text = text(
    "Necesidad por departamento: locales, alumnado de 1.º a 9.º grado (2023), población (2022). El nombre lleva a la página del \
     departamento, con sus distritos.",
    "Need by department: sites, pupils of grades 1 to 9 (2023), population (2022). The name leads to the department's page, with its \
     districts.",
);
pub(super) const NO_DISTRICT: Text = text("Sin distrito", "No district");
pub(super) const TOTAL: Text = text("Total", "Total");
const SITES: Text = text("Dónde están los locales", "Where the sites are");
const MISSING: Text = text("Dónde faltan datos", "Where data is missing");
const SPACES: Text = text(
    "Espacios públicos con Internet gratuito, en servicio o previstos cuando se informó",
    "Public spaces with free Internet, in service or planned when they were reported",
);
const SITES_TABLE: Text = text(
    "Locales por clase y zona, y cuántos están en el mapa. Los que no tienen coordenadas no se pueden dibujar.",
    "Sites by kind and zone, and how many are on the map. Those without coordinates cannot be drawn.",
);
const SITES_COLUMNS: [Text; 4] = [
    text("Clase", "Kind"),
    text("Locales", "Sites"),
    text("En el mapa", "On the map"),
    text("Sin coordenadas", "Without coordinates"),
];
const STYLE: &str = include_str!("style.css");
/// Lines of the style sheet that the map needs.
const PICTURED: [&str; 5] = [".d {", ".k0 {", ".label {", ".named {", ".frame {"];
