//! How the figures were made, what they do not say, and where the data are from.

use super::super::language::{Text, text};
use super::super::limits::LIMITS;
use super::Report;
use super::page::{Html, ListTag, Page};
use crate::settings::CRITERIA;

pub(super) fn section(out: &mut Page<'_>, report: &Report<'_>) {
    let settings = report.plan.settings;
    let number = |number: u32| Html::text(&out.language.number(number.into()));
    let (km, thin) =
        (number(settings.remote.km_from_capital), number(settings.remote.inhabitants_per_km2_below));
    let weights = settings.weights.all().into_iter().zip(CRITERION);
    let weights = weights
        .map(|((_, weight), name)| format!("{} {}", out.say(name), out.language.number(weight.into())));
    let weights = Html::text(&weights.collect::<Vec<_>>().join("; "));
    let tolerance = Html::text(&out.language.percent(settings.equity.tolerance_per_thousand.into()));
    let rule = if settings.remote.without_grid_in_2014 { COUNT } else { COUNT_WITHOUT_GRID };
    let steps = [
        out.fill(RECEIVE, &[]),
        out.fill(rule, &[&km, &thin]),
        out.fill(ORDER, &[&weights]),
        out.fill(FILL_YEARS, &[]),
        out.fill(COMPARE, &[&tolerance]),
    ];
    let limits = LIMITS.map(|limit| Html::text(out.say(limit)));
    out.add_markup("<div class=\"pair\"><div>");
    out.subheading(LIMITED);
    out.list(ListTag::Unordered, &limits);
    out.add_markup("</div><div>");
    out.subheading(MADE);
    out.list(ListTag::Ordered, &steps);
    out.add_markup("</div></div>");
    out.add_markup(&format!("<p class=\"note\">{}</p>", Html::text(out.say(ZERO))));
}

/// Last on the page.
pub(super) fn sources(out: &mut Page<'_>) {
    let items = SOURCES.map(|source| Html::text(out.say(source)));
    out.list(ListTag::Unordered, &items);
}

/// In the order of [`crate::settings::Weights::all`].
pub(super) const CRITERION: [Text; CRITERIA] = [
    text("ruralidad", "rural"),
    text("lejanía", "remote"),
    text("alumnado", "pupils"),
    text("niñas y mujeres", "girls and women"),
    text("salud", "health"),
    text("datos que faltan", "missing data"),
];
const LIMITED: Text = text("Lo que estas cifras no dicen", "What these figures do not say");
const MADE: Text = text("Cómo se hicieron", "How they were made");
const RECEIVE: Text = text(
    "Recibir. El planificador pregunta a cada institución por la red. Cada fila se revisa al llegar; la que tiene un error no entra en \
     ninguna suma y se nombra abajo.",
    "Receive. The planner asks each agency over the road. Each row is judged when it comes; a wrong one is kept out of every sum and named \
     below.",
);
const COUNT: Text = text(
    "Contar. Un local es remoto si es rural y además está a {0} km o más, en línea recta, de las escuelas de la capital departamental, o \
     en una zona de menos de {1} habitantes por km², o no tenía red eléctrica en 2014. Si falta el dato que decide, la respuesta es «no \
     se sabe».",
    "Count. A site is remote if it is rural and also {0} km or more, in a straight line, from the schools of the department's capital, or \
     where fewer than {1} people live on a km², or was without grid in 2014. Where the datum that decides is missing, the answer is “not \
     known”.",
);
const COUNT_WITHOUT_GRID: Text = text(
    "Contar. Un local es remoto si es rural y además está a {0} km o más, en línea recta, de las escuelas de la capital departamental, o \
     en una zona de menos de {1} habitantes por km². Si falta el dato que decide, la respuesta es «no se sabe».",
    "Count. A site is remote if it is rural and also {0} km or more, in a straight line, from the schools of the department's capital, or \
     where fewer than {1} people live on a km². Where the datum that decides is missing, the answer is “not known”.",
);
const ORDER: Text = text(
    "Ordenar. Seis criterios dan a cada local de 0 a 1.000 puntos. Pesan así: {0}.",
    "Order. Six criteria give each site 0 to 1,000 points. They weigh: {0}.",
);
const FILL_YEARS: Text = text(
    "Distribuir en años. Primero van los locales con más prioridad por guaraní, mientras alcanza el presupuesto del año; lo que sobra pasa \
     al año siguiente.",
    "Fill the years. Sites are taken by priority for each guaraní while the year's budget lasts; what is left goes to the next year.",
);
const COMPARE: Text = text(
    "Comparar. La parte de los lugares rurales y remotos, de las niñas y de las mujeres en cada año se compara con su parte de la \
     necesidad; si es menor por más de {0}, se señala.",
    "Compare. The share of rural and remote places, of girls and of women in each year stands beside their share of the need; where it is \
     less by more than {0}, that is said.",
);
const ZERO: Text = text(
    "Un cero sin enlace se apoya en todas las páginas de la institución: ninguna fila nombra ese lugar. Las cifras del plan se apoyan en \
     todos los candidatos: un local más en cualquier lugar podría haber ido antes.",
    "A zero without a link rests on all pages of the agency: no row names that place. Figures of the plan rest on all candidates: one more \
     site anywhere could have come first.",
);
const SOURCES: [Text; 6] = [
    text(
        "INE, Censo Nacional de Población y Viviendas 2022, resultados finales. Estadística oficial; se cita al INE.",
        "INE, National Census of Population and Housing 2022, final results. Official statistics; credit to INE.",
    ),
    text(
        "DGEEC (hoy INE), cartografía censal 2012, simplificada; copia del repositorio openfonacide (LGPL-3.0); geoBoundaries publica los \
         mismos límites con CC BY 4.0. Sirve para mapas, no para mensura.",
        "DGEEC (now INE), census cartography 2012, simplified; copy in the repository openfonacide (LGPL-3.0); geoBoundaries publishes the \
         same boundaries under CC BY 4.0. Good for maps, not for surveying.",
    ),
    text(
        "MEC, datos abiertos de establecimientos (2021, y 2012 a 2014) y matriculaciones de educación escolar básica (2023). Las copias no \
         traen texto de licencia; se cita al MEC.",
        "MEC, open data of establishments (2021, and 2012 to 2014) and enrolment in basic education (2023). The copies carry no licence \
         text; credit to MEC.",
    ),
    text(
        "MSPBS e IPS, hospitales y establecimientos, capa de salud del mapa logístico del MIC (2026). Licencia no declarada.",
        "MSPBS and IPS, hospitals and facilities, health layer of the MIC logistics map (2026). Licence not stated.",
    ),
    text(
        "CONATEL, MITIC, INE y prensa: indicadores y programas publicados, cada uno con su fuente. Hechos citados.",
        "CONATEL, MITIC, INE and the press: published indicators and programmes, each with its source. Cited facts.",
    ),
    text(
        "Qué es cada archivo de datos, de dónde se copió y qué se cambió: examples/connectivity/data/README.md.",
        "What each data file is, where it was copied from and what was changed: examples/connectivity/data/README.md.",
    ),
];
