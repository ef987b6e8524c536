//! The page: limits first, then needs by department, the years, and the exchanges that every figure came from. In Spanish, with
//! English beside it; self-contained, no scripts.

use std::fmt::Write as _;

use super::Plan;
use super::limits::LIMITS;
use super::summary::{Language, summary};
use crate::equity::Equity;
use crate::gap::Gap;
use crate::roadmap::{Reach, Roadmap, Scenario};

/// The same plan always gives the same page.
pub(super) fn page(plan: &Plan<'_>) -> String {
    let mut out = String::from(HEAD);
    for (spanish, english) in summary(plan, Language::Spanish).iter().zip(summary(plan, Language::English)) {
        pair(&mut out, "p", spanish, &english);
    }
    heading(&mut out, "Lo que estas cifras no dicen", "What these figures do not say");
    out.push_str("<ul>\n");
    LIMITS.iter().for_each(|(spanish, english)| pair(&mut out, "li", spanish, english));
    out.push_str("</ul>\n");
    departments(&mut out, plan);
    match &plan.roadmap {
        Ok(roadmap) => years(&mut out, plan, roadmap),
        Err(reason) => pair(
            &mut out,
            "p",
            &format!("Sin plan de inversión: {reason}."),
            &format!("No plan in money: {reason}."),
        ),
    }
    kept_out(&mut out, plan);
    exchanges(&mut out, plan);
    out.push_str(FOOT);
    out
}

fn departments(out: &mut String, plan: &Plan<'_>) {
    heading(out, "La necesidad por departamento", "Need by department");
    let columns = [
        "Departamento",
        "Escuelas",
        "Rurales",
        "Remotas",
        "No se sabe si remotas",
        "Niñas",
        "Niños",
        "Mujeres",
        "Hombres",
        "Hospitales",
        "IPS",
        "Dato que falta, ‰",
    ];
    table(
        out,
        "Locales, alumnado de 1.º a 9.º grado (2023) y población (2022). / Sites, pupils, people.",
        &columns,
    );
    for line in plan.analysis.departments.values() {
        row(out, &line.department.value().name, &cells(&line.gap));
    }
    row(out, "Sin distrito / No district", &cells(&plan.analysis.without_district));
    out.push_str("</tbody><tfoot>\n");
    row(out, "Total", &cells(&plan.analysis.total));
    out.push_str("</tfoot></table></div>\n");
}

fn cells(gap: &Gap) -> Vec<String> {
    let schools = &gap.schools;
    let (all, people) = (schools.all.value(), gap.people.value());
    let numbers = [
        all.sites,
        schools.rural.value().sites,
        schools.remote.value().sites,
        schools.unknown_remoteness.value().sites,
        all.girls,
        all.boys,
        people.women,
        people.men,
        *gap.hospitals.value(),
        *gap.social_security.value(),
    ];
    let unknown =
        gap.unknown.value().per_thousand().map_or_else(|| "—".to_owned(), |share| share.to_string());
    numbers.iter().map(|number| grouped(*number)).chain([unknown]).collect()
}

fn years(out: &mut String, plan: &Plan<'_>, roadmap: &Roadmap) {
    heading(out, "El plan por año", "The plan by year");
    for (rule, scenario) in plan.settings.scenarios.iter().zip(&roadmap.scenarios) {
        let budget = grouped(*scenario.budget.value());
        let gap = scenario.gap_per_million.value();
        let name = match scenario.name.as_str() {
            "low" => "bajo",
            "middle" => "medio",
            "high" => "alto",
            other => other,
        };
        let _ = writeln!(
            out,
            "<h3>Presupuesto {} <span lang=\"en\">{} budget</span></h3>",
            escaped(name),
            escaped(&scenario.name)
        );
        pair(
            out,
            "p",
            &format!("{budget} guaraníes por año. Ningún plan supera a este en más de {gap} por millón."),
            &format!(
                "{budget} guaraníes a year: {}. No plan is better by more than {gap} per million.",
                rule.note
            ),
        );
        chart(out, scenario);
        let columns = [
            "Año",
            "Escuelas",
            "Salud",
            "Rurales",
            "Remotos",
            "Niñas",
            "Niños",
            "Mujeres, a lo sumo",
            "Hombres, a lo sumo",
            "Guaraníes",
        ];
        table(out, "Lo que se conecta cada año. / What is connected each year.", &columns);
        for year in &scenario.years {
            row(out, &year.year.to_string(), &reached(year.reach.value()));
        }
        out.push_str("</tbody></table></div>\n");
        findings(out, plan, scenario, roadmap);
    }
}

fn findings(out: &mut String, plan: &Plan<'_>, scenario: &Scenario, roadmap: &Roadmap) {
    out.push_str("<ul>\n");
    for year in &scenario.years {
        for equity in Equity::of(year, &roadmap.need) {
            let standing = equity.standing(&plan.settings.equity);
            let words = (
                standing.value().en_palabras(equity.group, year.year),
                standing.value().in_words(equity.group, year.year),
            );
            if let (Some(spanish), Some(english)) = words {
                pair(out, "li", &spanish, &english);
            }
        }
    }
    out.push_str("</ul>\n");
}

/// Bars of sites by year. The table beside it says the same in numbers.
fn chart(out: &mut String, scenario: &Scenario) {
    let sites: Vec<u64> =
        scenario.years.iter().map(|year| year.reach.value().schools + year.reach.value().health).collect();
    let most = sites.iter().copied().max().unwrap_or_default().max(1);
    let width = sites.len() * BAR_STEP;
    let _ = writeln!(
        out,
        "<svg viewBox=\"0 0 {width} 140\" role=\"img\" aria-label=\"Locales por año; la tabla da los números. Sites by year.\">"
    );
    for (at, (year, sites)) in scenario.years.iter().zip(&sites).enumerate() {
        let (height, left) = (sites * 100 / most, at * BAR_STEP + 8);
        let _ = writeln!(
            out,
            "<rect x=\"{left}\" y=\"{}\" width=\"44\" height=\"{height}\" fill=\"#7a1f1f\"/><text x=\"{}\" y=\"{}\">{sites}</text>\
             <text x=\"{}\" y=\"136\">{}</text>",
            120 - height,
            left + 22,
            115 - height,
            left + 22,
            year.year
        );
    }
    out.push_str("</svg>\n");
}

fn reached(reach: &Reach) -> Vec<String> {
    let numbers = [
        reach.schools,
        reach.health,
        reach.rural_sites,
        reach.remote_sites,
        reach.girls,
        reach.boys,
        reach.women,
        reach.men,
        reach.money,
    ];
    numbers.map(grouped).to_vec()
}

fn kept_out(out: &mut String, plan: &Plan<'_>) {
    heading(out, "Filas apartadas y consultas sin respuesta", "Rows kept out, questions without answer");
    let (rejected, missing) = (&plan.findings.accepted.rejected, &plan.findings.missing);
    if rejected.is_empty() && missing.is_empty() {
        return pair(out, "p", "Ninguna.", "None.");
    }
    out.push_str("<ul lang=\"en\">\n");
    for it in rejected {
        let exchange = plan.findings.exchanges.get(it.exchange).map_or("", |source| source.exchange.as_str());
        let _ = writeln!(
            out,
            "<li>{} {}: {}. <code>{}</code></li>",
            it.kind,
            escaped(&it.code),
            it.wrong,
            escaped(exchange)
        );
    }
    for it in missing {
        let _ = writeln!(out, "<li>{} {}: {}</li>", it.service, it.method, escaped(it.status.message()));
    }
    out.push_str("</ul>\n");
}

fn exchanges(out: &mut String, plan: &Plan<'_>) {
    heading(out, "Intercambios", "Exchanges");
    pair(
        out,
        "p",
        "Cada cifra nombra en roadmap.json los intercambios de los que sale. Su evidencia está en evidence/.",
        "Each figure names in roadmap.json the exchanges that it came from. Their evidence is in evidence/.",
    );
    table(
        out,
        "En orden de consulta. / In the order of asking.",
        &["Intercambio", "Servicio", "Método", "Filas"],
    );
    for source in &plan.findings.exchanges {
        let link = format!("evidence/{}.tar", source.exchange);
        let _ = writeln!(
            out,
            "<tr><th scope=\"row\"><a href=\"{0}\"><code>{1}</code></a></th><td>{2}</td><td>{3}</td><td>{4}</td></tr>",
            escaped(&link),
            escaped(&source.exchange),
            source.service,
            source.method,
            source.rows
        );
    }
    out.push_str("</tbody></table></div>\n");
}

fn heading(out: &mut String, spanish: &str, english: &str) {
    let _ = writeln!(out, "<h2>{spanish} <span lang=\"en\">{english}</span></h2>");
}

fn pair(out: &mut String, tag: &str, spanish: &str, english: &str) {
    let _ =
        writeln!(out, "<{tag}>{} <span lang=\"en\">{}</span></{tag}>", escaped(spanish), escaped(english));
}

fn table(out: &mut String, caption: &str, columns: &[&str]) {
    let _ = write!(
        out,
        "<div class=\"wide\" tabindex=\"0\" role=\"region\" aria-label=\"{caption}\"><table><caption>{caption}</caption><thead><tr>"
    );
    columns.iter().for_each(|column| {
        let _ = write!(out, "<th scope=\"col\">{column}</th>");
    });
    out.push_str("</tr></thead><tbody>\n");
}

fn row(out: &mut String, name: &str, cells: &[String]) {
    let _ = write!(out, "<tr><th scope=\"row\">{}</th>", escaped(name));
    for cell in cells {
        let _ = write!(out, "<td>{}</td>", escaped(cell));
    }
    out.push_str("</tr>\n");
}

fn grouped(number: u64) -> String {
    super::summary::number_in(Language::Spanish, number)
}

/// What agencies send may hold anything.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

const BAR_STEP: usize = 60;
const HEAD: &str = include_str!("head.html");
const FOOT: &str = include_str!("foot.html");
