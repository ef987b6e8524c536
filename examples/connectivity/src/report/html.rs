//! The page: method and limits first, figures, then the exchanges that every figure came from.

use std::fmt::Write as _;

use crate::plan::{Count, Figures, Plan, THINLY_PER_KM2};
use crate::planner::Findings;

/// The page in Spanish, with English beside it. Nothing is fetched from elsewhere.
#[must_use]
pub fn page(plan: &Plan, findings: &Findings) -> String {
    let mut out = String::from(HEAD);
    summary(&mut out, plan);
    out.push_str(METHOD);
    let _ = writeln!(
        out,
        "<p>Remota: zona rural y menos de {THINLY_PER_KM2} habitantes por km² en el grupo de límites de 2012 del distrito. \
         <span lang=\"en\">Remote: rural zone, and fewer than {THINLY_PER_KM2} inhabitants per km² in the district's \
         2012 boundary group.</span></p>"
    );
    remote_table(&mut out, plan);
    full_table(&mut out, plan);
    exchanges(&mut out, findings);
    out.push_str(FOOT);
    out
}

fn summary(out: &mut String, plan: &Plan) {
    let Figures { all, remote, unknown_remoteness, .. } = plan.total;
    let (sites, boys, girls) = (number(remote.sites), number(remote.boys), number(remote.girls));
    let _ = write!(
        out,
        "<p class=\"lead\"><strong>{sites}</strong> de {} locales escolares son remotos; en ellos estudian \
         <strong>{girls}</strong> niñas y <strong>{boys}</strong> niños de 1.º a 9.º grado. De {} locales no se sabe.</p>\n\
         <p class=\"lead\" lang=\"en\"><strong>{sites}</strong> of {} school sites are remote; <strong>{girls}</strong> girls \
         and <strong>{boys}</strong> boys of grades 1 to 9 go there. Of {} sites it is not known.</p>\n",
        number(all.sites),
        number(unknown_remoteness.sites),
        number(all.sites),
        number(unknown_remoteness.sites),
    );
}

fn remote_table(out: &mut String, plan: &Plan) {
    let mut remote: Vec<_> = plan.districts.iter().filter(|line| line.figures.remote.sites > 0).collect();
    remote.sort_by_key(|line| (std::cmp::Reverse(line.figures.remote.sites), line.district.code.clone()));
    out.push_str(
        "<h2>Distritos con escuelas remotas <span lang=\"en\">Districts with remote schools</span></h2>\n",
    );
    table_head(
        out,
        "Locales remotos por distrito, los de más locales primero. / Remote sites by district, most sites first.",
        &["Distrito", "hab./km²", "Remotos", "Niñas", "Niños", "Sin dato de alumnos"],
    );
    for line in remote {
        let Count { sites, sites_without_pupils, boys, girls } = line.figures.remote;
        let density = line.density.map_or_else(unknown, |density| format!("{density:.1}").replace('.', ","));
        row(
            out,
            &line.district.name,
            &[density, number(sites), number(girls), number(boys), number(sites_without_pupils)],
        );
    }
    out.push_str("</tbody></table></div>\n");
}

fn full_table(out: &mut String, plan: &Plan) {
    out.push_str("<h2>Todos los distritos <span lang=\"en\">All districts</span></h2>\n");
    table_head(
        out,
        "Locales y alumnado de 1.º a 9.º grado, 2023. / Sites and pupils of grades 1 to 9, 2023.",
        &[
            "Distrito",
            "Locales",
            "Niñas",
            "Niños",
            "Urbanos",
            "Niñas urb.",
            "Niños urb.",
            "Rurales",
            "Niñas rur.",
            "Niños rur.",
            "Zona desconocida",
            "Remotos",
            "Sin dato de alumnos",
        ],
    );
    for line in &plan.districts {
        row(out, &format!("{} {}", line.district.code, line.district.name), &cells(&line.figures));
    }
    row(out, "Sin distrito / No district", &cells(&plan.without_district));
    out.push_str("</tbody><tfoot>\n");
    row(out, "Total", &cells(&plan.total));
    out.push_str("</tfoot></table></div>\n");
}

fn cells(figures: &Figures) -> Vec<String> {
    let Figures { all, urban, rural, unknown_zone, remote, .. } = figures;
    [
        all.sites,
        all.girls,
        all.boys,
        urban.sites,
        urban.girls,
        urban.boys,
        rural.sites,
        rural.girls,
        rural.boys,
        unknown_zone.sites,
        remote.sites,
        all.sites_without_pupils,
    ]
    .map(number)
    .to_vec()
}

fn exchanges(out: &mut String, findings: &Findings) {
    let _ = write!(
        out,
        "<h2>Intercambios <span lang=\"en\">Exchanges</span></h2>\n<p>Cada cifra sale de estos {0} intercambios sellados. \
         Su evidencia está en <code>evidence/</code>; <code>peabiru evidence verify</code> la comprueba. <span \
         lang=\"en\">Every figure comes from these {0} sealed exchanges. Their evidence is in <code>evidence/</code>; \
         <code>peabiru evidence verify</code> checks it.</span></p>\n",
        findings.exchanges.len()
    );
    table_head(
        out,
        "Intercambios en orden de consulta. / Exchanges in the order of asking.",
        &["Intercambio", "Servicio", "Filas"],
    );
    for source in &findings.exchanges {
        let id = if source.exchange.is_empty() { unknown() } else { source.exchange.clone() };
        row(out, &id, &[source.service.to_owned(), source.rows.to_string()]);
    }
    out.push_str("</tbody></table></div>\n");
}

fn table_head(out: &mut String, caption: &str, columns: &[&str]) {
    let _ = write!(
        out,
        "<div class=\"wide\" tabindex=\"0\" role=\"region\" aria-label=\"{caption}\"><table><caption>{caption}</caption><thead><tr>"
    );
    for column in columns {
        let _ = write!(out, "<th scope=\"col\">{column}</th>");
    }
    out.push_str("</tr></thead><tbody>\n");
}

fn row(out: &mut String, name: &str, cells: &[String]) {
    let _ = write!(out, "<tr><th scope=\"row\">{}</th>", escaped(name));
    for cell in cells {
        let _ = write!(out, "<td>{}</td>", escaped(cell));
    }
    out.push_str("</tr>\n");
}

fn unknown() -> String {
    "—".to_owned()
}

/// Thousands apart by a point, as in Paraguay.
fn number(number: u32) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            out.push('.');
        }
        out.push(digit);
    }
    out
}

/// What an agency says never becomes markup.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

const HEAD: &str = r#"<!doctype html>
<html lang="es">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Escuelas remotas del Paraguay</title>
<style>
:root { color-scheme: light }
body { font: 1rem/1.5 system-ui, sans-serif; color: #1a1a1a; background: #fff; max-width: 72rem; margin: 0 auto; padding: 1rem }
h1 { font-size: 1.7rem; line-height: 1.2 } h2 { font-size: 1.25rem; margin-top: 2rem; border-top: 2px solid #7a1f1f; padding-top: .5rem }
[lang=en] { color: #4a4a4a } h1 [lang=en], h2 [lang=en] { font-weight: 400; font-size: .8em; margin-left: .4em }
.lead { font-size: 1.15rem }
.wide { overflow-x: auto } .wide:focus { outline: 2px solid #7a1f1f }
table { border-collapse: collapse; font-size: .875rem; font-variant-numeric: tabular-nums }
caption { text-align: left; padding: .5rem 0; color: #4a4a4a }
th, td { padding: .25rem .6rem; border-bottom: 1px solid #ddd; text-align: right; white-space: nowrap }
th:first-child { text-align: left } thead th { vertical-align: bottom; white-space: normal; border-bottom: 2px solid #1a1a1a }
tfoot th, tfoot td { font-weight: 700; border-top: 2px solid #1a1a1a }
tbody tr:nth-child(even) { background: #f7f5f2 }
@media print { body { max-width: none; font-size: 9pt } .wide { overflow: visible } table { font-size: 7pt } th, td { padding: 1pt 3pt } thead { display: table-header-group } tr { break-inside: avoid } }
</style>
</head>
<body>
<h1>Escuelas remotas del Paraguay <span lang="en">Remote schools of Paraguay</span></h1>
"#;
const METHOD: &str = r#"<h2>Método y límites <span lang="en">Method and limits</span></h2>
<p>Los distritos los respondió el INE; los locales y el alumnado, el MEC; ambos por el camino, nunca por archivo. Esto es una lista de
necesidad, no una medición de cobertura: nadie publica la conexión de cada escuela. Una raya o un «desconocido» dice que la fuente
calla; nada se completó ni se estimó. El alumnado es de educación escolar básica de 2023; faltan inicial y media.</p>
<p lang="en">INE answered the districts, MEC the sites and pupils, both over the road, never by file. This is a list of need, not a
measurement of coverage: nobody publishes the connection of each school. A dash or “unknown” says that the source is silent; nothing
was filled in or estimated. Pupils are those of basic education in 2023; initial and secondary education are missing.</p>
"#;
const FOOT: &str = r#"<h2>Fuentes <span lang="en">Sources</span></h2>
<p>INE, Censo Nacional de Población y Viviendas 2022; DGEEC/INE, cartografía censal 2012; MEC, datos abiertos de establecimientos y
matriculaciones. Los archivos, sus copias y sus licencias se describen en <code>examples/connectivity/data/README.md</code>.
<span lang="en">Files, where they were copied from and their licences are described there.</span></p>
</body>
</html>
"#;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data;
    use crate::wire::ine::District;

    #[test]
    fn what_an_agency_says_never_becomes_markup() {
        let hostile =
            District { code: "0101".to_owned(), name: "<script>&\"".to_owned(), ..District::default() };
        let page = page(&Plan::of(&[hostile], &[]), &Findings::default());
        assert!(page.contains("0101 &lt;script&gt;&amp;&quot;"));
        assert!(!page.contains("<script"));
    }

    #[test]
    fn the_page_names_totals_and_asks_nothing_of_other_servers() {
        let findings = Findings {
            districts: data::districts().unwrap(),
            schools: data::schools().unwrap(),
            exchanges: Vec::new(),
        };
        let page = page(&Plan::of(&findings.districts, &findings.schools), &findings);
        assert!(page.contains("<strong>485</strong> de 9.223"));
        assert!(!page.contains("src=") && !page.contains("href=") && !page.contains("url("));
        assert_eq!(page.matches("<tr>").count(), page.matches("</tr>").count());
    }

    #[test]
    fn numbers_are_written_as_in_paraguay() {
        assert_eq!(
            [0, 999, 1_000, 9_223, 1_234_567].map(number),
            ["0", "999", "1.000", "9.223", "1.234.567"]
        );
    }
}
